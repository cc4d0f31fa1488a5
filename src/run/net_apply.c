/* Addresses, routes, DNS and rules of the host: see net_apply.h. */
#include "run/net_apply.h"

#include "store/store.h"

#include <stdio.h>
#include <string.h>

/* Room for IPv6, UDP, ESP with the longest ICV we offer by default, and padding. */
enum { OUTER_OVERHEAD = 40 + 8 + 8 + 8 + 16 + 2 + 3, LEAST_MTU = 1280 };

uint32_t net_apply_mark(const char *device)
{
    uint32_t hash = 2166136261U; /* FNV-1a */
    for (; *device; device++)
        hash = (hash ^ (uint8_t)*device) * 16777619U;
    return 0x53680000U | (hash & 0xffff);
}

static uint8_t full_bits(const struct ip *ip)
{
    return (uint8_t)(ip_len(ip) * 8);
}

/* ---- gateway */

/* The pool's own length makes the kernel's connected route the pool's route. */
struct prefix net_pool_address(const struct prefix *pool)
{
    return (struct prefix){.ip = lease_gateway_address(pool), .bits = pool->bits};
}

static int pool_up(struct net_apply *net, const struct prefix *pool, char why[static NET_WHY])
{
    struct prefix own = net_pool_address(pool);
    return net_address_add(net->tun->index, &own, why);
}

int net_apply_rules(struct net_apply *net, const struct conf *conf, char why[static NET_WHY])
{
    char outside[16] = "";
    struct net_gateway_plan plan = {.device = net->tun->name,
                                    .outside = outside,
                                    .pools = conf->pools,
                                    .count = conf->pool_count,
                                    .masquerade = conf->nat,
                                    .between_clients = conf->client_to_client};
    snprintf(outside, sizeof(outside), "%s", conf->outside);
    if (plan.masquerade && !outside[0] && net_default_interface(4, outside) &&
        net_default_interface(6, outside)) {
        log_warn("nat is on, but there is no default route to leave by: no addresses will be "
                 "translated; set outside = INTERFACE");
        plan.masquerade = false;
    }
    int result = net_gateway_up(&plan, why);
    net->rules = result == 0;
    return result;
}

/* ---- transport mode */

static int open_flows(struct net_apply *net, char why[static NET_WHY])
{
    struct net_flows_plan plan = {
        .device = net->tun->name, .index = net->tun->index, .mark = net->mark};
    for (size_t i = 0; i < net->sockets->count; i++) {
        if (plan.port_count + 2 > NET_FLOW_PORTS)
            return ERR_LIMIT;
        plan.ports[plan.port_count++] = net->sockets->group[i].port_500;
        plan.ports[plan.port_count++] = net->sockets->group[i].port_natt;
    }
    net->flows = net_flows_create(&plan, why);
    return net->flows ? 0 : ERR_SYSTEM;
}

static bool is_within(const struct selector *list, size_t count, const struct selector *ts)
{
    for (size_t i = 0; i < count; i++)
        if (selector_is_subset(ts, &list[i]))
            return true;
    return false;
}

/* Only what goes to the host that the tunnel goes to, and at a gateway only what its clients may
 * reach. Which host that is, ike says: nobody else has spoken with it. */
static bool may_flow(const struct net_apply *net, const struct ike_net *wanted,
                     const struct net_flow *flow)
{
    const struct conf_tunnel *t = &net->conf->tunnel;
    return ip_equal(&flow->remote.low, &wanted->path.remote.ip) &&
           (!net->conf->gateway || is_within(t->local_ts, t->local_ts_count, &flow->local));
}

/* What goes between each local and each remote selector. */
static int flows_up(struct net_apply *net, const struct ike_net *wanted, uint64_t owner,
                    char why[static NET_WHY])
{
    char text[SELECTOR_TEXT];
    struct net_flow list[NET_FLOWS];
    size_t count = 0;
    if (!net->flows)
        return ERR_STATE;
    for (size_t i = 0; i < wanted->local_count; i++)
        for (size_t j = 0; j < wanted->remote_count; j++) {
            struct net_flow flow = {wanted->local_ts[i], wanted->remote_ts[j]};
            if (count == NET_FLOWS)
                return ERR_LIMIT;
            if (!may_flow(net, wanted, &flow)) {
                snprintf(why, NET_WHY, "nothing in the configuration allows traffic with %s",
                         selector_print(&flow.remote, text));
                return ERR_ARGUMENT;
            }
            list[count++] = flow;
        }
    return net_flows_add(net->flows, owner, list, count, why);
}

static void flows_down(struct net_apply *net, uint64_t owner)
{
    char why[NET_WHY];
    if (net->flows && net_flows_del(net->flows, owner, why))
        log_error("what a tunnel in transport mode has left behind still drops packets: %s", why);
}

/* After ike was made anew it knows nothing of its former tunnels: what they have set goes when
 * their peer has connected again. The number of a tunnel begins with that of the process. */
static int gateway_flows_up(struct net_apply *net, const struct ike_net *wanted,
                            char why[static NET_WHY])
{
    uint64_t before = wanted->tunnel >> 32 << 32;
    int result = flows_up(net, wanted, wanted->tunnel, why);
    return result ? result : net_flows_del_former(net->flows, before, &wanted->path.remote.ip, why);
}

/* Another address of ours, after the first: the new flows come before the old ones go, so that
 * there is no moment without; and when they cannot come, the old ones stay. */
static int client_flows_up(struct net_apply *net, const struct ike_net *wanted,
                           char why[static NET_WHY])
{
    uint64_t owner = !net->flow_owner;
    int result = flows_up(net, wanted, owner, why);
    if (result)
        return result;
    flows_down(net, net->flow_owner);
    net->flow_owner = owner;
    return 0;
}

int net_apply_open(struct net_apply *net, char why[static NET_WHY])
{
    int result = net->conf->tunnel.transport ? open_flows(net, why) : 0;
    if (result)
        return result;
    net_flows_sweep(net->tun->name, net->mark);
    if (!net->conf->gateway) {
        net_client_routes_sweep(net->mark);
        net_dns_sweep(net->tun->name);
        return 0;
    }
    for (size_t i = 0; i < net->conf->pool_count && result == 0; i++)
        result = pool_up(net, &net->conf->pools[i], why);
    if (result == 0)
        result = net_link_up(net->tun->index, 0, why);
    if (result == 0 && net->conf->pool_count)
        result = net_apply_rules(net, net->conf, why);
    return result;
}

static bool in_pools(const struct conf *conf, const struct prefix *p)
{
    for (size_t i = 0; i < conf->pool_count; i++)
        if (prefix_contains(&conf->pools[i], &p->ip))
            return true;
    return false;
}

/* tunnel 0: of any. */
static bool site_known(const struct net_apply *net, uint64_t tunnel, const struct prefix *to)
{
    for (size_t i = 0; i < net->site_count; i++)
        if ((tunnel == 0 || net->sites[i].tunnel == tunnel) && net->sites[i].to.bits == to->bits &&
            ip_equal(&net->sites[i].to.ip, &to->ip))
            return true;
    return false;
}

/* Only what the configuration gives to some peer becomes a route, whatever ike says. */
bool net_site_configured(const struct conf *conf, const struct selector *ts)
{
    for (size_t i = 0; i < conf->peer_count; i++)
        for (size_t n = 0; n < conf->peers[i].network_count; n++)
            if (selector_is_subset(ts, &conf->peers[i].networks[n]))
                return true;
    return false;
}

static int gateway_up(struct net_apply *net, const struct ike_net *wanted, char why[static NET_WHY])
{
    int result = 0;
    if (wanted->transport)
        return gateway_flows_up(net, wanted, why);
    for (size_t i = 0; i < wanted->remote_count && result == 0; i++) {
        struct prefix to;
        if (!selector_to_prefix(&wanted->remote_ts[i], &to) || in_pools(net->conf, &to) ||
            !net_site_configured(net->conf, &wanted->remote_ts[i]) ||
            site_known(net, wanted->tunnel, &to))
            continue;
        if (net->site_count == NET_APPLY_SITES)
            return ERR_LIMIT;
        if (!site_known(net, 0, &to))
            result = net_route_add(net->tun->index, &to, NULL, 0, why);
        if (result == 0 || result == ERR_EXISTS) {
            net->sites[net->site_count++] = (struct net_site){wanted->tunnel, to};
            result = 0;
        }
    }
    return result;
}

static void gateway_down(struct net_apply *net, uint64_t tunnel)
{
    char why[NET_WHY];
    flows_down(net, tunnel);
    for (size_t i = net->site_count; i-- > 0;) {
        if (net->sites[i].tunnel != tunnel)
            continue;
        struct prefix to = net->sites[i].to;
        net->sites[i] = net->sites[--net->site_count];
        if (!site_known(net, 0, &to)) /* another tunnel of that peer may have taken over */
            (void)!net_route_del(net->tun->index, &to, 0, why);
    }
}

/* ---- client */

static uint16_t outer_mtu(const struct net_apply *net, const struct ike_path *path)
{
    struct ip source;
    uint32_t interface;
    uint16_t mtu;
    char why[NET_WHY];
    if (path->interface)
        return net_link_mtu(path->interface);
    return net_route_to(&path->remote.ip, net->mark, &source, &interface, &mtu, why) ? 0 : mtu;
}

static uint16_t device_mtu(const struct net_apply *net, const struct ike_path *path)
{
    if (net->conf->mtu)
        return net->conf->mtu;
    uint16_t outer = outer_mtu(net, path);
    if (outer == 0 || outer >= RUN_DEFAULT_MTU + OUTER_OVERHEAD)
        return RUN_DEFAULT_MTU;
    return outer >= LEAST_MTU + OUTER_OVERHEAD ? (uint16_t)(outer - OUTER_OVERHEAD) : LEAST_MTU;
}

static int addresses_up(struct net_apply *net, const struct ike_net *wanted,
                        char why[static NET_WHY])
{
    const struct ip *own[] = {&wanted->ip4, &wanted->ip6};
    int result = 0;
    for (size_t i = 0; i < ARRAY_LEN(own) && result == 0; i++) {
        if (own[i]->family == 0)
            continue;
        struct prefix address = {.ip = *own[i], .bits = full_bits(own[i])};
        result = net_address_add(net->tun->index, &address, why);
        if (result == 0)
            net->addresses[net->address_count++] = address;
    }
    return result;
}

/* What we asked to send, and nothing more. */
static bool asked_for(const struct conf_tunnel *tunnel, const struct selector *ts)
{
    for (size_t i = 0; i < tunnel->child_count; i++)
        if (is_within(tunnel->children[i].remote_ts, tunnel->children[i].remote_ts_count, ts))
            return true;
    return tunnel->remote_ts_count == 0 ||
           is_within(tunnel->remote_ts, tunnel->remote_ts_count, ts);
}

static void find_source(const struct selector *list, size_t count, uint8_t family, struct ip *own)
{
    for (size_t i = 0; i < count && own->family == 0; i++) {
        struct prefix network;
        if (selector_to_prefix(&list[i], &network) && network.ip.family == family &&
            net_address_within(&network, own))
            own->family = 0;
    }
}

/* Site to site without an inner address: this host's own traffic must come from the network that
 * the peer expects, or it is dropped at the first check. */
static struct ip site_source(const struct net_apply *net, const struct ip *inner, uint8_t family)
{
    const struct conf_tunnel *tunnel = &net->conf->tunnel;
    struct ip own = *inner;
    find_source(tunnel->local_ts, tunnel->local_ts_count, family, &own);
    for (size_t i = 0; i < tunnel->child_count; i++)
        find_source(tunnel->children[i].local_ts, tunnel->children[i].local_ts_count, family, &own);
    return own;
}

static bool routed_already(const struct prefix *list, size_t count, const struct prefix *to)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].bits == to->bits && ip_equal(&list[i].ip, &to->ip))
            return true;
    return false;
}

static int routes_up(struct net_apply *net, const struct ike_net *wanted, char why[static NET_WHY])
{
    struct prefix to[CONF_ROUTES];
    struct net_client_plan plan = {.index = net->tun->index,
                                   .mark = net->mark,
                                   .prefixes = to,
                                   .except = net->conf->except,
                                   .except_count = net->conf->except_count,
                                   .outer = wanted->path.remote.ip,
                                   .source4 = site_source(net, &wanted->ip4, 4),
                                   .source6 = site_source(net, &wanted->ip6, 6)};
    for (size_t i = 0; i < wanted->remote_count; i++) {
        char text[SELECTOR_TEXT];
        if (!asked_for(&net->conf->tunnel, &wanted->remote_ts[i]))
            continue;
        if (selector_to_prefix(&wanted->remote_ts[i], &to[plan.count]))
            plan.count += !routed_already(to, plan.count, &to[plan.count]);
        else
            log_warn("the gateway gave us %s, which is no prefix: it gets no route",
                     selector_print(&wanted->remote_ts[i], text));
    }
    net->routes = net_client_routes_up(&plan, why);
    return net->routes ? 0 : ERR_SYSTEM;
}

static void client_down(struct net_apply *net)
{
    char why[NET_WHY];
    if (net->dns)
        net_dns_down(net->tun->name);
    net_client_routes_down(net->routes);
    flows_down(net, net->flow_owner);
    while (net->address_count > 0)
        (void)!net_address_del(net->tun->index, &net->addresses[--net->address_count], why);
    net->routes = NULL;
    net->dns = net->up = false;
}

static bool same_need(const struct ike_net *a, const struct ike_net *b)
{
    bool same = ip_equal(&a->ip4, &b->ip4) && ip_equal(&a->ip6, &b->ip6) &&
                ip_equal(&a->path.remote.ip, &b->path.remote.ip) && a->dns_count == b->dns_count &&
                a->remote_count == b->remote_count;
    for (size_t i = 0; same && i < a->dns_count; i++)
        same = ip_equal(&a->dns[i], &b->dns[i]);
    same = same && a->domain_count == b->domain_count && a->transport == b->transport &&
           a->local_count == b->local_count;
    for (size_t i = 0; same && i < a->local_count; i++)
        same = selector_equal(&a->local_ts[i], &b->local_ts[i]);
    for (size_t i = 0; same && i < a->domain_count; i++)
        same = strcmp(a->domains[i], b->domains[i]) == 0;
    for (size_t i = 0; same && i < a->remote_count; i++)
        same = selector_equal(&a->remote_ts[i], &b->remote_ts[i]);
    return same;
}

int net_apply_resolvers(struct net_apply *net, const struct ike_net *wanted,
                        char why[static NET_WHY])
{
    const char *domains[CONF_DOMAINS];
    struct net_dns_plan plan = {.device = net->tun->name,
                                .servers = wanted->dns,
                                .count = wanted->dns_count,
                                .domains = domains};
    for (; plan.domain_count < wanted->domain_count; plan.domain_count++)
        domains[plan.domain_count] = wanted->domains[plan.domain_count];
    return net_dns_up(&plan, why);
}

static int client_up(struct net_apply *net, const struct ike_net *wanted, char why[static NET_WHY])
{
    if (net->up && same_need(&net->applied, wanted))
        return 0; /* the tunnel that came back keeps everything */
    if (net->up && net->applied.transport && wanted->transport) {
        int changed = client_flows_up(net, wanted, why);
        if (changed == 0)
            net->applied = *wanted;
        return changed;
    }
    if (net->up)
        client_down(net);
    int result = addresses_up(net, wanted, why);
    if (result == 0)
        result = net_link_up(net->tun->index, device_mtu(net, &wanted->path), why);
    if (result == 0)
        result =
            wanted->transport ? client_flows_up(net, wanted, why) : routes_up(net, wanted, why);
    if (result == 0 && net->conf->dns_from_gateway && wanted->dns_count) {
        net->dns = true;
        result = net_apply_resolvers(net, wanted, why);
    }
    net->up = true;
    net->applied = *wanted;
    if (result)
        client_down(net);
    return result;
}

int net_apply_moved(struct net_apply *net, const struct ike_path *path, char why[static NET_WHY])
{
    if (net->conf->gateway || !net->up)
        return 0;
    net->applied.path = *path;
    int result = net_link_up(net->tun->index, device_mtu(net, path), why);
    int routes = net->routes
                     ? net_client_routes_move(net->routes, &path->remote.ip, path->interface, why)
                     : 0;
    return routes ? routes : result;
}

/* ---- both */

int net_apply_up(struct net_apply *net, const struct ike_net *wanted, char why[static NET_WHY])
{
    if (wanted->remote_count > CONF_ROUTES || wanted->dns_count > CONF_DNS ||
        wanted->domain_count > CONF_DOMAINS || wanted->local_count > CONF_SELECTORS)
        return ERR_ARGUMENT;
    return net->conf->gateway ? gateway_up(net, wanted, why) : client_up(net, wanted, why);
}

void net_apply_down(struct net_apply *net, uint64_t tunnel)
{
    if (net->conf->gateway)
        gateway_down(net, tunnel);
}

/* Addresses and routes of a gateway go with its device. */
void net_apply_close(struct net_apply *net)
{
    if (net->up)
        client_down(net);
    if (net->rules)
        net_gateway_down(net->tun->name);
    net->rules = false;
    net_flows_free(net->flows);
    net->flows = NULL;
}
