/* A client's routes and rules, and the way back. */
#include "net/internal.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Just before the rule of table main (32766), and in this order. */
enum { PRIORITY_MAIN = 32000, PRIORITY_TUNNEL = 32001 };
/* Own prefixes and the exceptions of both families. */
enum { DONE_MAX = 128 };

struct done {
    struct prefix to;
    uint32_t index; /* 0 = throw */
    uint32_t table;
    struct ip source; /* family 0 = none */
};

struct net_client_routes {
    uint32_t mark;
    bool rules4, rules6;
    struct net_loose loose;
    size_t count;
    struct done done[DONE_MAX];
};

/* Main without its default routes, then, for what we did not send ourselves, the tunnel's table. */
static int change_rule(uint16_t type, uint8_t family, uint32_t mark, bool main_first)
{
    struct netlink_request request;
    uint16_t flags = type == RTM_NEWRULE ? NLM_F_CREATE | NLM_F_EXCL : 0;
    struct fib_rule_hdr *rule = netlink_begin(&request, type, flags, sizeof(*rule));
    rule->family = netlink_family(family);
    rule->action = FR_ACT_TO_TBL;
    rule->flags = FIB_RULE_INVERT;
    mnl_attr_put_u32(request.header, FRA_PRIORITY, main_first ? PRIORITY_MAIN : PRIORITY_TUNNEL);
    mnl_attr_put_u32(request.header, FRA_FWMARK, mark);
    mnl_attr_put_u32(request.header, FRA_FWMASK, UINT32_MAX);
    mnl_attr_put_u32(request.header, FRA_TABLE, main_first ? (uint32_t)RT_TABLE_MAIN : mark);
    if (main_first)
        mnl_attr_put_u32(request.header, FRA_SUPPRESS_PREFIXLEN, 0);
    return netlink_do(&request);
}

static uint32_t way_to(const struct ip *outer, uint32_t mark)
{
    struct ip source;
    uint32_t index;
    uint16_t mtu;
    char why[NET_WHY];
    return net_route_to(outer, mark, &source, &index, &mtu, why) ? 0 : index;
}

/* ---- rules and routes */

static int rules_up(struct net_client_routes *routes, uint8_t family, char why[static NET_WHY])
{
    bool *have = family == 6 ? &routes->rules6 : &routes->rules4;
    if (*have)
        return 0;
    int result = change_rule(RTM_NEWRULE, family, routes->mark, true);
    if (result == 0 || result == -EEXIST)
        result = change_rule(RTM_NEWRULE, family, routes->mark, false);
    if (result && result != -EEXIST)
        return net_fail(why, -result, "cannot set the routing rules of the tunnel");
    *have = true;
    return 0;
}

static int add(struct net_client_routes *routes, uint32_t index, const struct prefix *to,
               const struct ip *source, uint32_t table, char why[static NET_WHY])
{
    if (routes->count == DONE_MAX)
        return net_fail(why, ENOSPC, "too many routes");
    int result = net_route_add(index, to, source, table, why);
    if (result)
        return result;
    struct done *done = &routes->done[routes->count++];
    *done = (struct done){.to = *to, .index = index, .table = table};
    if (source)
        done->source = *source;
    return 0;
}

static bool within(const struct prefix *outer, const struct prefix *inner)
{
    return outer->bits <= inner->bits && prefix_contains(outer, &inner->ip);
}

/* Whether a prefix needs the table of its own: see net.h. */
static bool needs_table(const struct net_client_plan *plan, const struct prefix *to)
{
    if (to->bits == 0 || prefix_contains(to, &plan->outer))
        return true;
    for (size_t i = 0; i < plan->except_count; i++)
        if (within(to, &plan->except[i]))
            return true;
    return false;
}

static int add_exceptions(struct net_client_routes *routes, const struct net_client_plan *plan,
                          char why[static NET_WHY])
{
    for (size_t i = 0; i < plan->except_count; i++) {
        bool wanted = plan->except[i].ip.family == 6 ? routes->rules6 : routes->rules4;
        int result = wanted ? add(routes, 0, &plan->except[i], NULL, routes->mark, why) : 0;
        if (result && result != ERR_EXISTS)
            return result;
    }
    return 0;
}

static int add_prefix(struct net_client_routes *routes, const struct net_client_plan *plan,
                      const struct prefix *to, char why[static NET_WHY])
{
    const struct ip *source = to->ip.family == 6 ? &plan->source6 : &plan->source4;
    bool own = needs_table(plan, to);
    int result = own ? rules_up(routes, to->ip.family, why) : 0;
    if (result == 0)
        result = add(routes, plan->index, to, source, own ? plan->mark : 0, why);
    return result;
}

struct net_client_routes *net_client_routes_up(const struct net_client_plan *plan,
                                               char why[static NET_WHY])
{
    struct net_client_routes *routes = calloc(1, sizeof(*routes));
    int result = routes ? 0 : net_fail(why, ENOMEM, "cannot keep the routes");
    if (routes)
        routes->mark = plan->mark;
    for (size_t i = 0; i < plan->count && result == 0; i++)
        result = add_prefix(routes, plan, &plan->prefixes[i], why);
    if (result == 0)
        result = add_exceptions(routes, plan, why);
    if (result == 0 && routes->rules4 && plan->outer.family == 4)
        net_loosen(way_to(&plan->outer, plan->mark), &routes->loose);
    if (result == 0)
        return routes;
    net_client_routes_down(routes);
    return NULL;
}

/* Into the table first, then out of main. */
static int into_table(struct net_client_routes *routes, struct done *done, char why[static NET_WHY])
{
    int result = rules_up(routes, done->to.ip.family, why);
    if (result == 0)
        result = net_route_add(done->index, &done->to, &done->source, routes->mark, why);
    if (result == 0 || result == ERR_EXISTS) /* from a move that got no further */
        result = net_route_del(done->index, &done->to, done->table, why);
    if (result == 0)
        done->table = routes->mark;
    return result;
}

int net_client_routes_move(struct net_client_routes *routes, const struct ip *outer,
                           uint32_t interface, char why[static NET_WHY])
{
    int result = 0;
    for (size_t i = 0; i < routes->count && result == 0; i++) {
        struct done *done = &routes->done[i];
        if (done->index && done->table == 0 && prefix_contains(&done->to, outer))
            result = into_table(routes, done, why);
    }
    if (result == 0 && outer->family == 4 && routes->rules4) {
        net_tighten(&routes->loose);
        net_loosen(interface ? interface : way_to(outer, routes->mark), &routes->loose);
    }
    return result;
}

static void rules_down(uint8_t family, uint32_t mark)
{
    /* The kernel may have taken some of it away itself, with the device. */
    (void)change_rule(RTM_DELRULE, family, mark, false);
    (void)change_rule(RTM_DELRULE, family, mark, true);
}

void net_client_routes_down(struct net_client_routes *routes)
{
    char why[NET_WHY];
    if (!routes)
        return;
    for (size_t i = routes->count; i-- > 0;) {
        const struct done *done = &routes->done[i];
        (void)!net_route_del(done->index, &done->to, done->table, why);
    }
    net_tighten(&routes->loose);
    if (routes->rules4)
        rules_down(4, routes->mark);
    if (routes->rules6)
        rules_down(6, routes->mark);
    free(routes);
}

static int visit_left_behind(const struct nlmsghdr *header, void *context)
{
    struct netlink_request request;
    const struct rtmsg *found = mnl_nlmsg_get_payload(header);
    const struct nlattr *table = netlink_find(header, sizeof(*found), RTA_TABLE);
    const struct nlattr *to = netlink_find(header, sizeof(*found), RTA_DST);
    const uint32_t *mark = context;
    if (header->nlmsg_type != RTM_NEWROUTE || !table || mnl_attr_get_u32(table) != *mark)
        return MNL_CB_OK;
    struct rtmsg *route = netlink_begin(&request, RTM_DELROUTE, 0, sizeof(*route));
    *route = *found;
    mnl_attr_put_u32(request.header, RTA_TABLE, *mark);
    if (to)
        mnl_attr_put(request.header, RTA_DST, mnl_attr_get_payload_len(to),
                     mnl_attr_get_payload(to));
    (void)netlink_do(&request);
    return MNL_CB_OK;
}

void net_client_routes_sweep(uint32_t mark)
{
    static const uint8_t families[] = {4, 6};
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct netlink_request request;
        struct rtmsg *route = netlink_begin(&request, RTM_GETROUTE, NLM_F_DUMP, sizeof(*route));
        route->rtm_family = netlink_family(families[i]);
        (void)netlink_ask(&request, visit_left_behind, &mark);
        rules_down(families[i], mark);
    }
}
