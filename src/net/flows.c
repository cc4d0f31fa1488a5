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
enum { LOOSE = 16 }; /* interfaces with a strict rp_filter; what comes by others is dropped there */

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

static bool is_owned(const struct net_flows *f, uint64_t owner, const struct net_flow *flow)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->list[i].owner == owner && flow_equal(&f->list[i].flow, flow))
            return true;
    return false;
}

static size_t owned(const struct net_flows *f, uint64_t owner)
{
    size_t count = 0;
    for (size_t i = 0; i < f->count; i++)
        count += f->list[i].owner == owner;
    return count;
}

static int add_one(struct net_flows *f, uint64_t owner, const struct net_flow *flow,
                   char why[static NET_WHY])
{
    if (!is_sane(flow))
        return net_fail(why, EINVAL, "a flow of transport mode is none between two hosts");
    if (owned(f, owner) >= NET_FLOWS_OWNED)
        return net_fail(why, ENOSPC, "one tunnel in transport mode may have %d pairs of selectors",
                        NET_FLOWS_OWNED);
    if (f->count == NET_FLOWS)
        return net_fail(why, ENOSPC, "all %d flows of transport mode are taken", NET_FLOWS);
    int result = up(f, flow, why);
    if (result == 0)
        f->list[f->count++] = (struct flow_entry){owner, *flow};
    return result;
}

int net_flows_add(struct net_flows *f, uint64_t owner, const struct net_flow *list, size_t count,
                  char why[static NET_WHY])
{
    size_t before = f->count;
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++)
        if (!is_owned(f, owner, &list[i]))
            result = add_one(f, owner, &list[i], why);
    if (result == 0)
        result = guard_set(&f->plan, f->list, f->count, why);
    if (result)
        cut(f, before);
    return result;
}

/* Those that `goes` picks; what is left is guarded as before. */
static int drop(struct net_flows *f, bool (*goes)(const struct flow_entry *, const void *),
                const void *context, char why[static NET_WHY])
{
    bool any = false;
    for (size_t i = f->count; i-- > 0;) {
        if (!goes(&f->list[i], context))
            continue;
        struct net_flow gone = f->list[i].flow;
        f->list[i] = f->list[--f->count];
        down(f, &gone);
        any = true;
    }
    return any ? guard_set(&f->plan, f->list, f->count, why) : 0;
}

static bool is_of(const struct flow_entry *entry, const void *owner)
{
    return entry->owner == *(const uint64_t *)owner;
}

int net_flows_del(struct net_flows *f, uint64_t owner, char why[static NET_WHY])
{
    return drop(f, is_of, &owner, why);
}

struct former {
    uint64_t before;
    const struct ip *remote;
};

static bool is_former(const struct flow_entry *entry, const void *context)
{
    const struct former *former = context;
    return entry->owner < former->before && ip_equal(&entry->flow.remote.low, former->remote);
}

int net_flows_del_former(struct net_flows *f, uint64_t before, const struct ip *remote,
                         char why[static NET_WHY])
{
    struct former former = {before, remote};
    return drop(f, is_former, &former, why);
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

enum { SWEPT = 32 }; /* in one pass; the kernel goes on by place, so nothing goes meanwhile */

struct sweep {
    uint32_t mark;
    size_t count;
    struct netlink_request rules[SWEPT];
};

static uint32_t number(const struct nlmsghdr *header, uint16_t type)
{
    const struct nlattr *a = netlink_find(header, sizeof(struct fib_rule_hdr), type);
    return a ? mnl_attr_get_u32(a) : 0;
}

static int visit_rule(const struct nlmsghdr *header, void *context)
{
    struct sweep *sweep = context;
    uint32_t priority = number(header, FRA_PRIORITY);
    bool ours = priority == PRIORITY_FLOW ? number(header, FRA_TABLE) == sweep->mark
                                          : number(header, FRA_FWMARK) == sweep->mark;
    if (header->nlmsg_type != RTM_NEWRULE || priority < PRIORITY_LEAP ||
        priority > PRIORITY_LANDING || !ours || sweep->count == SWEPT ||
        header->nlmsg_len > sizeof(sweep->rules[0].buffer))
        return MNL_CB_OK;
    struct netlink_request *request = &sweep->rules[sweep->count++];
    memcpy(request->buffer, header, header->nlmsg_len);
    request->header = (struct nlmsghdr *)(void *)request->buffer;
    request->header->nlmsg_type = RTM_DELRULE;
    request->header->nlmsg_flags = NLM_F_REQUEST;
    request->header->nlmsg_seq = 1;
    request->header->nlmsg_pid = 0;
    return MNL_CB_OK;
}

/* How many rules of that family it has taken away. */
static size_t sweep_pass(uint8_t family, uint32_t mark)
{
    struct sweep sweep = {.mark = mark};
    struct netlink_request request;
    struct fib_rule_hdr *rule = netlink_begin(&request, RTM_GETRULE, NLM_F_DUMP, sizeof(*rule));
    rule->family = netlink_family(family);
    (void)netlink_ask(&request, visit_rule, &sweep); /* what it has found goes all the same */
    for (size_t i = 0; i < sweep.count; i++)
        (void)netlink_do(&sweep.rules[i]);
    return sweep.count;
}

void net_flows_sweep(const char *device, uint32_t mark)
{
    static const uint8_t families[] = {4, 6};
    struct net_flows_plan plan = {.device = device, .mark = mark};
    char why[NET_WHY];
    bool found = false;
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        for (size_t pass = 0; pass <= NET_FLOWS / SWEPT && sweep_pass(families[i], mark) > 0;
             pass++)
            found = true;
    if (found)
        (void)!guard_set(&plan, NULL, 0, why);
}
