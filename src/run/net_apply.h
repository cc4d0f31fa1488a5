/* net_apply: what the host needs for the tunnels: addresses, routes, DNS, the gateway's rules. All
 * that is set is known here and taken back by net_apply_close(), in the opposite order. */
#ifndef SHRIKE_RUN_NET_APPLY_H
#define SHRIKE_RUN_NET_APPLY_H

#include "run/internal.h"

enum { NET_APPLY_SITES = 256, NET_APPLY_ADDRESSES = 2 };

/* A network behind a peer of the gateway. */
struct net_site {
    uint64_t tunnel;
    struct prefix to;
};
struct net_apply {
    const struct conf *conf;
    const struct net_tun *tun;
    const struct run_sockets *sockets; /* whose ports are let in, in transport mode */
    uint32_t mark;
    struct net_flows *flows; /* transport mode; NULL = there is none */
    uint64_t flow_owner;     /* of a client's flows: 0 and 1 by turns */
    /* client */
    bool up;
    struct ike_net applied;
    struct prefix addresses[NET_APPLY_ADDRESSES];
    size_t address_count;
    struct net_client_routes *routes;
    bool dns;
    /* gateway */
    bool rules;
    struct net_site sites[NET_APPLY_SITES];
    size_t site_count;
    struct prefix leaving[CONF_POOLS]; /* pools that the new configuration has not */
    size_t leaving_count;
};

/* The firewall mark of a client's own sockets, the same for every run of a tunnel on this device.
 */
uint32_t net_apply_mark(const char *device);
/* Gateway: addresses, pool routes and rules, from the start. */
int net_apply_open(struct net_apply *net, char why[static NET_WHY]) MUST_USE;
int net_apply_up(struct net_apply *net, const struct ike_net *wanted,
                 char why[static NET_WHY]) MUST_USE;
/* A client's tunnel goes another way: the device's MTU, routes around the gateway's address. */
int net_apply_moved(struct net_apply *net, const struct ike_path *path,
                    char why[static NET_WHY]) MUST_USE;
/* A client keeps addresses and routes until it is told to stop: while it connects again, nothing
 * may leave beside the tunnel. So this takes back a gateway's routes only. */
void net_apply_down(struct net_apply *net, uint64_t tunnel);
void net_apply_close(struct net_apply *net);
/* Another configuration, in two steps: what it adds, and rules that suit it, so that who stays has
 * no moment without; 0 and `conf` holds, or nothing has changed. Then, when those who cannot stay
 * have been told, what it has not any more is taken away. (net_change.c) */
int net_apply_change(struct net_apply *net, const struct conf *conf,
                     char why[static NET_WHY]) MUST_USE;
void net_apply_settle(struct net_apply *net);
/* For those: a pool's own address as the device has it, the rules for conf, a site that conf has,
 * and a client's resolvers. */
struct prefix net_pool_address(const struct prefix *pool);
int net_apply_rules(struct net_apply *net, const struct conf *conf,
                    char why[static NET_WHY]) MUST_USE;
bool net_site_configured(const struct conf *conf, const struct selector *ts);
int net_apply_resolvers(struct net_apply *net, const struct ike_net *wanted,
                        char why[static NET_WHY]) MUST_USE;

#endif
