/* A running gateway's network, or a client's resolvers, under another configuration: see
 * net_apply.h. */
#include "run/net_apply.h"

#include <string.h>

static bool same_prefix(const struct prefix *a, const struct prefix *b)
{
    return a->bits == b->bits && ip_equal(&a->ip, &b->ip);
}

static bool has_pool(const struct conf *conf, const struct prefix *pool)
{
    for (size_t i = 0; i < conf->pool_count; i++)
        if (same_prefix(&conf->pools[i], pool))
            return true;
    return false;
}

/* ---- the first step */

static void remove_address(const struct net_apply *net, const struct prefix *pool)
{
    char why[NET_WHY];
    struct prefix own = net_pool_address(pool);
    if (net_address_del(net->tun->index, &own, why))
        log_warn("%s", why);
}

static int add_pools(const struct net_apply *net, const struct conf *conf, size_t *done,
                     char why[static NET_WHY])
{
    int result = 0;
    for (*done = 0; *done < conf->pool_count && result == 0; ++*done) {
        struct prefix own = net_pool_address(&conf->pools[*done]);
        if (!has_pool(net->conf, &conf->pools[*done]))
            result = net_address_add(net->tun->index, &own, why);
    }
    return result;
}

static void take_back(const struct net_apply *net, const struct conf *conf, size_t done)
{
    for (size_t i = 0; i < done; i++)
        if (!has_pool(net->conf, &conf->pools[i]))
            remove_address(net, &conf->pools[i]);
}

/* Replaced in one transaction; where none are wanted any more the table goes. */
static int change_rules(struct net_apply *net, const struct conf *conf, char why[static NET_WHY])
{
    bool wanted = conf->pool_count && (conf->nat || !conf->client_to_client);
    if (!wanted && net->rules)
        net_gateway_down(net->tun->name);
    net->rules &= wanted;
    return conf->pool_count ? net_apply_rules(net, conf, why) : 0; /* forwarding, too */
}

/* Those of before hold again: without them clients might reach each other, or leave with their
 * inner addresses. */
static void rules_back(struct net_apply *net)
{
    char why[NET_WHY];
    if (net->conf->pool_count && net_apply_rules(net, net->conf, why))
        log_error("the rules of before cannot be put back: %s", why);
}

static int change_gateway(struct net_apply *net, const struct conf *conf, char why[static NET_WHY])
{
    size_t done;
    int result = add_pools(net, conf, &done, why);
    if (result == 0)
        result = change_rules(net, conf, why);
    if (result) {
        take_back(net, conf, done);
        rules_back(net);
        return result;
    }
    net->leaving_count = 0;
    for (size_t i = 0; i < net->conf->pool_count; i++)
        if (!has_pool(conf, &net->conf->pools[i]))
            net->leaving[net->leaving_count++] = net->conf->pools[i];
    return 0;
}

/* What the gateway told when the tunnel came up. */
static int change_client(struct net_apply *net, const struct conf *conf, char why[static NET_WHY])
{
    bool wanted = conf->dns_from_gateway && net->applied.dns_count > 0;
    if (!net->up || wanted == net->dns)
        return 0;
    if (!wanted) {
        net_dns_down(net->tun->name);
        net->dns = false;
        return 0;
    }
    int result = net_apply_resolvers(net, &net->applied, why);
    net->dns = result == 0;
    return result;
}

int net_apply_change(struct net_apply *net, const struct conf *conf, char why[static NET_WHY])
{
    int result = conf->gateway ? change_gateway(net, conf, why) : change_client(net, conf, why);
    if (result == 0)
        net->conf = conf;
    return result;
}

/* ---- the second step */

static const struct prefix *pool_of_same_address(const struct conf *conf, const struct prefix *pool)
{
    struct ip own = lease_gateway_address(pool);
    for (size_t i = 0; i < conf->pool_count; i++) {
        struct ip other = lease_gateway_address(&conf->pools[i]);
        if (ip_equal(&own, &other))
            return &conf->pools[i];
    }
    return NULL;
}

/* The two halves of what both pools have. */
static void halves_of(const struct prefix *a, const struct prefix *b, struct prefix out[static 2])
{
    out[0] = a->bits > b->bits ? *a : *b;
    out[0].bits++;
    out[1] = out[0];
    size_t bit = out[1].bits - 1u;
    out[1].ip.octets[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
}

/* The same address of ours with another length. IPv6 has it once only: while it is changed, two
 * routes keep the clients' addresses in the device, as nothing of theirs may leave beside it. */
static void change_length(const struct net_apply *net, const struct prefix *from,
                          const struct prefix *to)
{
    struct prefix halves[2], own = net_pool_address(to);
    bool split = from->bits < ip_len(&from->ip) * 8 && to->bits < ip_len(&to->ip) * 8;
    char why[NET_WHY];
    halves_of(from, to, halves);
    for (size_t i = 0; split && i < 2; i++)
        if (net_route_add(net->tun->index, &halves[i], NULL, 0, why))
            log_warn("%s", why);
    remove_address(net, from);
    if (net_address_add(net->tun->index, &own, why))
        log_error("%s", why);
    for (size_t i = 0; split && i < 2; i++)
        if (net_route_del(net->tun->index, &halves[i], 0, why))
            log_warn("%s", why);
}

static void drop_sites(struct net_apply *net)
{
    char why[NET_WHY];
    for (size_t i = net->site_count; i-- > 0;) {
        struct prefix to = net->sites[i].to;
        struct selector ts = selector_from_prefix(&to);
        if (net_site_configured(net->conf, &ts))
            continue;
        net->sites[i] = net->sites[--net->site_count];
        bool other = false;
        for (size_t j = 0; j < net->site_count; j++)
            other |= same_prefix(&net->sites[j].to, &to);
        if (!other && net_route_del(net->tun->index, &to, 0, why))
            log_warn("%s", why);
    }
}

void net_apply_settle(struct net_apply *net)
{
    if (!net->conf->gateway)
        return;
    for (size_t i = 0; i < net->leaving_count; i++) {
        const struct prefix *pool = &net->leaving[i];
        const struct prefix *heir = pool_of_same_address(net->conf, pool);
        if (heir && heir->ip.family == 6)
            change_length(net, pool, heir);
        else
            remove_address(net, pool);
    }
    net->leaving_count = 0;
    drop_sites(net);
}
