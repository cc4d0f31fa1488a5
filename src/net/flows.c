/* Which packets of this host go into the device in transport mode: rules and routes. */
#include "net/internal.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

/* In this order, before those of a tunnel (route.c) and of table main: what carries our mark leaps
 * over the flows. An inverted match would not do: it inverts all of a rule. */
enum { PRIORITY_LEAP = 31990, PRIORITY_FLOW = 31991, PRIORITY_LANDING = 31992 };
enum { LOOSE = 4 };

struct net_flows {
    struct net_flows_plan plan;
    char device[IF_NAMESIZE];
    bool rules4, rules6;
    struct net_loose loose[LOOSE];
    size_t count;
    struct flow_entry list[NET_FLOWS];
};

/* ---- one flow */

static bool has_ports(uint8_t protocol)
{
    return protocol == 6 || protocol == 17 || protocol == 33 || protocol == 132 || protocol == 136;
}

static bool any_port(const struct selector *s)
{
    return selector_any_port(s) || selector_is_opaque(s);
}

/* False: no packet can be of it. */
bool flow_match(const struct net_flow *flow, struct flow_match *out)
{
    const struct selector *l = &flow->local, *r = &flow->remote;
    if (l->protocol && r->protocol && l->protocol != r->protocol)
        return false;
    out->protocol = l->protocol ? l->protocol : r->protocol;
    out->ports = has_ports(out->protocol) && !(any_port(l) && any_port(r));
    return true;
}

static bool flow_equal(const struct net_flow *a, const struct net_flow *b)
{
    return selector_equal(&a->local, &b->local) && selector_equal(&a->remote, &b->remote);
}

static bool is_sane(const struct net_flow *flow)
{
    struct flow_match match;
    return ip_equal(&flow->local.low, &flow->local.high) &&
           ip_equal(&flow->remote.low, &flow->remote.high) &&
           flow->local.low.family == flow->remote.low.family && ip_is_host(&flow->local.low) &&
           ip_is_host(&flow->remote.low) && flow_match(flow, &match);
}

/* ---- rules */

static struct fib_rule_hdr *begin_rule(struct netlink_request *request, uint16_t type,
                                       uint8_t family, uint32_t priority, uint8_t action)
{
    uint16_t flags = type == RTM_NEWRULE ? NLM_F_CREATE | NLM_F_EXCL : 0;
    struct fib_rule_hdr *rule = netlink_begin(request, type, flags, sizeof(*rule));
    rule->family = netlink_family(family);
    rule->action = action;
    mnl_attr_put_u32(request->header, FRA_PRIORITY, priority);
    return rule;
}

static int change_leap(uint16_t type, uint8_t family, uint32_t mark, bool landing)
{
    struct netlink_request request;
    begin_rule(&request, type, family, landing ? PRIORITY_LANDING : PRIORITY_LEAP,
               landing ? FR_ACT_NOP : FR_ACT_GOTO);
    if (!landing)
        mnl_attr_put_u32(request.header, FRA_GOTO, PRIORITY_LANDING);
    mnl_attr_put_u32(request.header, FRA_FWMARK, mark);
    mnl_attr_put_u32(request.header, FRA_FWMASK, UINT32_MAX);
    return netlink_do(&request);
}

/* The kernel has no range with port 0 or 65535 in it: those the guard keeps from going beside. */
static void put_ports(struct netlink_request *request, uint16_t attribute, const struct selector *s)
{
    struct fib_rule_port_range range = {.start = s->port_low ? s->port_low : 1,
                                        .end = s->port_high};
    if (range.end == UINT16_MAX)
        range.end--;
    if (!any_port(s) && range.start <= range.end)
        mnl_attr_put(request->header, attribute, sizeof(range), &range);
}

/* Of this host's own traffic only: what it forwards is not between the two. */
static int change_flow(uint16_t type, const struct net_flow *flow, uint32_t mark)
{
    struct netlink_request request;
    struct flow_match match;
    const struct ip *to = &flow->remote.low;
    if (!flow_match(flow, &match))
        return -EINVAL;
    struct fib_rule_hdr *rule =
        begin_rule(&request, type, to->family, PRIORITY_FLOW, FR_ACT_TO_TBL);
    rule->dst_len = (uint8_t)(ip_len(to) * 8);
    netlink_put_ip(&request, FRA_DST, to);
    mnl_attr_put_strz(request.header, FRA_IIFNAME, "lo");
    mnl_attr_put_u32(request.header, FRA_TABLE, mark);
    if (match.protocol)
        mnl_attr_put_u8(request.header, FRA_IP_PROTO, match.protocol);
    if (match.ports) {
        put_ports(&request, FRA_SPORT_RANGE, &flow->local);
        put_ports(&request, FRA_DPORT_RANGE, &flow->remote);
    }
    return netlink_do(&request);
}

static int leap_up(struct net_flows *f, uint8_t family)
{
    bool *have = family == 6 ? &f->rules6 : &f->rules4;
    if (*have)
        return 0;
    int result = change_leap(RTM_NEWRULE, family, f->plan.mark, true);
    if (result == 0 || result == -EEXIST)
        result = change_leap(RTM_NEWRULE, family, f->plan.mark, false);
    *have = true; /* so that it is taken back, as far as it came */
    return result == -EEXIST ? 0 : result;
}

static void leap_down(uint8_t family, uint32_t mark)
{
    (void)change_leap(RTM_DELRULE, family, mark, false);
    (void)change_leap(RTM_DELRULE, family, mark, true);
}

/* ---- all flows */

/* Is there another one, by flow or only by the remote address? */
static bool is_there(const struct net_flows *f, const struct net_flow *flow, bool address)
{
    for (size_t i = 0; i < f->count; i++)
        if (address ? ip_equal(&f->list[i].flow.remote.low, &flow->remote.low)
                    : flow_equal(&f->list[i].flow, flow))
            return true;
    return false;
}

static void loosen(struct net_flows *f, const struct net_flow *flow)
{
    struct ip source;
    uint32_t interface;
    uint16_t mtu;
    char why[NET_WHY];
    size_t i = 0;
    while (i < LOOSE && f->loose[i].interface[0])
        i++;
    if (i < LOOSE && flow->remote.low.family == 4 &&
        !net_route_to(&flow->remote.low, f->plan.mark, &source, &interface, &mtu, why))
        net_loosen(interface, &f->loose[i]);
}

static int up(struct net_flows *f, const struct net_flow *flow, char why[static NET_WHY])
{
    struct prefix to = {.ip = flow->remote.low, .bits = (uint8_t)(ip_len(&flow->remote.low) * 8)};
    bool route = !is_there(f, flow, true);
    int result = leap_up(f, to.ip.family);
    loosen(f, flow);
    if (result)
        return net_fail(why, -result, "cannot set the routing rules of transport mode");
    if (route) {
        result = net_route_add(f->plan.index, &to, &flow->local.low, f->plan.mark, why);
        if (result && result != ERR_EXISTS)
            return result;
    }
    result = is_there(f, flow, false) ? 0 : change_flow(RTM_NEWRULE, flow, f->plan.mark);
    if (result && result != -EEXIST)
        return net_fail(why, -result, "cannot set a routing rule of transport mode");
    return 0;
}

/* It is in the list no more. */
static void down(struct net_flows *f, const struct net_flow *flow)
{
    struct prefix to = {.ip = flow->remote.low, .bits = (uint8_t)(ip_len(&flow->remote.low) * 8)};
    char why[NET_WHY];
    if (!is_there(f, flow, false))
        (void)change_flow(RTM_DELRULE, flow, f->plan.mark);
    if (!is_there(f, flow, true))
        (void)!net_route_del(f->plan.index, &to, f->plan.mark, why);
}

struct net_flows *net_flows_create(const struct net_flows_plan *plan, char why[static NET_WHY])
{
    struct net_flows *f = calloc(1, sizeof(*f));
    if (!f) {
        (void)net_fail(why, ENOMEM, "cannot keep the flows of transport mode");
        return NULL;
    }
    f->plan = *plan;
    strncpy(f->device, plan->device, sizeof(f->device) - 1);
    f->plan.device = f->device;
    if (guard_set(&f->plan, NULL, 0, why)) {
        free(f);
        return NULL;
    }
    return f;
}

/* Back to `count` entries. */
static void cut(struct net_flows *f, size_t count)
{
    while (f->count > count) {
        struct net_flow last = f->list[--f->count].flow;
        down(f, &last);
    }
}

int net_flows_add(struct net_flows *f, uint64_t owner, const struct net_flow *list, size_t count,
                  char why[static NET_WHY])
{
    size_t before = f->count, i;
    int result = 0;
    for (i = 0; i < count && result == 0; i++) {
        if (!is_sane(&list[i]))
            result = net_fail(why, EINVAL, "a flow of transport mode is none between two hosts");
        else if (f->count == NET_FLOWS)
            result =
                net_fail(why, ENOSPC, "there are %d flows of transport mode already", NET_FLOWS);
        else
            result = up(f, &list[i], why);
        if (result == 0)
            f->list[f->count++] = (struct flow_entry){owner, list[i]};
    }
    if (result == 0)
        result = guard_set(&f->plan, f->list, f->count, why);
    if (result)
        cut(f, before);
    return result;
}

void net_flows_remove(struct net_flows *f, uint64_t owner)
{
    char why[NET_WHY];
    bool any = false;
    for (size_t i = f->count; i-- > 0;) {
        if (f->list[i].owner != owner)
            continue;
        struct net_flow gone = f->list[i].flow;
        f->list[i] = f->list[--f->count];
        down(f, &gone);
        any = true;
    }
    if (any)
        (void)!guard_set(&f->plan, f->list, f->count, why);
}

void net_flows_free(struct net_flows *f)
{
    char why[NET_WHY];
    if (!f)
        return;
    cut(f, 0);
    (void)!guard_set(&f->plan, NULL, 0, why);
    for (size_t i = 0; i < LOOSE; i++)
        net_tighten(&f->loose[i]);
    if (f->rules4)
        leap_down(4, f->plan.mark);
    if (f->rules6)
        leap_down(6, f->plan.mark);
    free(f);
}

/* ---- what was left behind */

struct sweep {
    uint32_t mark;
    bool found;
};

static uint32_t number(const struct nlmsghdr *header, uint16_t type)
{
    const struct nlattr *a = netlink_find(header, sizeof(struct fib_rule_hdr), type);
    return a ? mnl_attr_get_u32(a) : 0;
}

static int visit_rule(const struct nlmsghdr *header, void *context)
{
    struct netlink_request request;
    struct sweep *sweep = context;
    uint32_t priority = number(header, FRA_PRIORITY);
    bool ours = priority == PRIORITY_FLOW ? number(header, FRA_TABLE) == sweep->mark
                                          : number(header, FRA_FWMARK) == sweep->mark;
    if (header->nlmsg_type != RTM_NEWRULE || priority < PRIORITY_LEAP ||
        priority > PRIORITY_LANDING || !ours || header->nlmsg_len > sizeof(request.buffer))
        return MNL_CB_OK;
    memcpy(request.buffer, header, header->nlmsg_len);
    request.header = (struct nlmsghdr *)(void *)request.buffer;
    request.header->nlmsg_type = RTM_DELRULE;
    request.header->nlmsg_flags = NLM_F_REQUEST;
    request.header->nlmsg_seq = 1;
    request.header->nlmsg_pid = 0;
    (void)netlink_do(&request);
    sweep->found = true;
    return MNL_CB_OK;
}

void net_flows_sweep(const char *device, uint32_t mark)
{
    static const uint8_t families[] = {4, 6};
    struct sweep sweep = {.mark = mark};
    struct net_flows_plan plan = {.device = device, .mark = mark};
    char why[NET_WHY];
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct netlink_request request;
        struct fib_rule_hdr *rule = netlink_begin(&request, RTM_GETRULE, NLM_F_DUMP, sizeof(*rule));
        rule->family = netlink_family(families[i]);
        (void)netlink_ask(&request, visit_rule, &sweep);
    }
    if (sweep.found)
        (void)!guard_set(&plan, NULL, 0, why);
}
