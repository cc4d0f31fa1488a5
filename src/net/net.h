/* net: sockets, TUN, netlink, routes, DNS and nft: the kernel's side of things, no protocol.
 *
 * udp      the two IKE sockets and the SO_REUSEPORT group of port 4500 with its classic-BPF
 * selector: four zero octets after the UDP header = IKE (the first socket of the group), otherwise
 * the worker whose number is spi % workers. Non-blocking, IP_PKTINFO, no fragments
 *          (IP_MTU_DISCOVER), UDP_GRO on the workers' sockets. One IPv4 and one IPv6 socket each.
 * raw      raw sockets, protocols 50 (ESP) and 51 (AH).
 * tun      a multi-queue TUN device with virtio headers and TSO/USO offloads.
 * netlink  addresses, links, routes, rules (libmnl); and watching them.
 * flows    two hosts in transport mode: rules, routes, and a guard that nothing goes beside them.
 * route    a client's routes: a table and a firewall mark of their own for default routes, plain
 * routes for the rest; all taken back. nft      masquerade and MSS rules of a gateway: table inet
 * shrike_NAME, replaced and removed whole, by running nft. dns      a client's resolver, by
 * systemd-resolved, resolvconf or /etc/resolv.conf, and back.
 *
 * Everything here runs in the monitor (before and after its children are made); the other processes
 * get descriptors only. Errors carry a sentence in `why`.
 */
#ifndef SHRIKE_NET_H
#define SHRIKE_NET_H

#include "base/base.h"

enum { NET_WORKERS_MAX = 64, NET_WHY = 256 };

/* ---- udp
 * ----------------------------------------------------------------------------------------------------------------------
 */

/* Sockets for one address family; -1 where there is none. */
struct net_udp_group {
    int ike_500;                  /* IKE without marker */
    int ike_natt;                 /* IKE with the non-ESP marker */
    int worker[NET_WORKERS_MAX];  /* ESP in UDP, one per worker, same port as ike_natt */
    uint16_t port_500, port_natt; /* as bound */
};
/* Binds to `ip` (any = all addresses of that family). Port 0 = ephemeral: for a client; the group
 * still shares one port. mark: SO_MARK for all sockets (0 = none). ERR_BUSY names the process that
 * holds the port, when it can be found. */
int net_udp_open(const struct ip *ip, uint16_t port_500, uint16_t port_natt, uint16_t workers,
                 uint32_t mark, struct net_udp_group *out, char why[static NET_WHY]) MUST_USE;
void net_udp_close(struct net_udp_group *group);
/* Raw sockets for plain ESP or AH, one a worker, each seeing only the packets whose spi % workers
 * is its own. AH protects the outer header: over IPv4 the caller writes it, all but the checksum;
 * over IPv6 the kernel does, and hands over the destination (IPV6_PKTINFO) of what comes in. */
struct net_raw_group {
    int worker[NET_WORKERS_MAX]; /* -1 where there is none */
};
int net_raw_open_group(uint8_t family, bool ah, uint16_t workers, uint32_t mark,
                       struct net_raw_group *out, char why[static NET_WHY]) MUST_USE;
void net_raw_close(struct net_raw_group *group);

/* One datagram with its addresses. 0 with *len set, ERR_AGAIN, or ERR_SYSTEM. Call it until it says
 * ERR_AGAIN: the kernel may hand over several at once, and poll() does not know of the rest. */
int net_receive(int fd, uint8_t *buffer, size_t cap, size_t *len, struct endpoint *local,
                struct endpoint *remote, uint32_t *interface) MUST_USE;
/* From now on the socket keeps what ICMP says of its datagrams; poll() shows an error then. */
int net_hear_unreachable(int fd, uint8_t family) MUST_USE;
/* One of those: 0 when a port was closed, with where we had sent to and as much of our datagram as
 * the report quotes; ERR_UNSUPPORTED for another report; ERR_AGAIN when there is none. Anybody can
 * forge one. */
int net_unreachable(int fd, uint8_t *buffer, size_t cap, size_t *len,
                    struct endpoint *remote) MUST_USE;
/* interface: to leave by, when `local` says an address; 0 = by route. */
int net_send(int fd, struct bytes a, struct bytes b, const struct endpoint *local,
             const struct endpoint *remote, uint32_t interface) MUST_USE;

/* ---- tun
 * ----------------------------------------------------------------------------------------------------------------------
 */

struct net_tun {
    char name[16];
    uint32_t index;
    uint16_t queues;
    bool uso; /* the kernel takes UDP super-packets */
    int fd[NET_WORKERS_MAX];
};
int net_tun_open(const char *name, uint16_t queues, uint16_t mtu, struct net_tun *out,
                 char why[static NET_WHY]) MUST_USE;
void net_tun_close(struct net_tun *tun);

/* ---- netlink
 * --------------------------------------------------------------------------------------------------------------------
 */

int net_link_up(uint32_t index, uint16_t mtu, char why[static NET_WHY]) MUST_USE;
uint16_t net_link_mtu(uint32_t index); /* 0 = unknown */
int net_address_add(uint32_t index, const struct prefix *address,
                    char why[static NET_WHY]) MUST_USE;
int net_address_del(uint32_t index, const struct prefix *address,
                    char why[static NET_WHY]) MUST_USE;
/* An address of this host inside a network: ERR_NOT_FOUND when it has none there. */
int net_address_within(const struct prefix *network, struct ip *out) MUST_USE;
/* Packets that the kernel had for the device and dropped, as its queue was full; 0 also when it
 * does not say. */
uint64_t net_link_dropped(uint32_t index);
/* table 0 = main. */
int net_route_add(uint32_t index, const struct prefix *to, const struct ip *source, uint32_t table,
                  char why[static NET_WHY]) MUST_USE;
int net_route_del(uint32_t index, const struct prefix *to, uint32_t table,
                  char why[static NET_WHY]) MUST_USE;
/* The local address and interface the kernel would use towards `to`, and the MTU of that path. */
int net_route_to(const struct ip *to, uint32_t mark, struct ip *source, uint32_t *interface,
                 uint16_t *mtu, char why[static NET_WHY]) MUST_USE;
/* Addresses of this host to send from. */
struct net_source {
    struct ip ip;
    uint32_t interface;
    uint32_t metric; /* 0: what the kernel would choose; else the route's, and one more */
};
/* All that are known beyond their link, but those of the interface `except` and of links that are
 * down. ERR_LIMIT: these, and there may be more; ERR_SYSTEM: the kernel did not tell. */
int net_sources_all(uint32_t except, struct net_source *out, size_t max, size_t *count) MUST_USE;
/* One for each interface and family by which `to` (or, of the other family, the internet) can be
 * reached: the best `max`, the best of all first. ERR_SYSTEM. */
int net_sources_to(const struct ip *to, uint32_t mark, uint32_t except, struct net_source *out,
                   size_t max, size_t *count) MUST_USE;
/* A descriptor that is readable when links, addresses or routes changed; or an enum err. */
int net_watch_open(char why[static NET_WHY]) MUST_USE;
/* Takes all that waits. True when a link other than `except` went up or down. */
bool net_watch_drain(int fd, uint32_t except);
/* The name of the interface with the default route of that family. */
int net_default_interface(uint8_t family, char name[static 16]) MUST_USE;
/* Name to addresses, blocking, by the system's resolver; at most max. */
int net_resolve(const char *host, struct ip *out, size_t max, char why[static NET_WHY]) MUST_USE;

/* ---- a client's routes, DNS
 * -------------------------------------------------------------------------------------------------------
 */

/* Sends `prefixes` into the device. A /0, a prefix that holds `outer` (the gateway's own address)
 * and one that holds an `except` prefix go into a table of their own, whose number is `mark`, by
 * two rules: main without its default routes first, then `not fwmark MARK lookup TABLE`; the others
 * are plain routes in main. `except` prefixes keep their way (throw routes in that table). What was
 * done is recorded, and net_client_routes_down() takes all of it back, also after a failure. NULL
 * with `why`, and nothing left behind. */
struct net_client_plan {
    uint32_t index; /* of the TUN device */
    uint32_t mark;
    const struct prefix *prefixes;
    size_t count;
    const struct prefix *except;
    size_t except_count;
    struct ip outer;
    struct ip source4, source6; /* our inner addresses, or family 0 */
};
struct net_client_routes;
struct net_client_routes *net_client_routes_up(const struct net_client_plan *plan,
                                               char why[static NET_WHY]);
/* The tunnel goes to another address of the gateway now, by `interface` (0 = by route): a prefix
 * that holds it moves to the table, and is in one of the two at each moment; the reverse path
 * filter of the new interface lets in what comes back. */
int net_client_routes_move(struct net_client_routes *routes, const struct ip *outer,
                           uint32_t interface, char why[static NET_WHY]) MUST_USE;
void net_client_routes_down(struct net_client_routes *routes);
/* Takes away rules and routes that a program of this mark left behind when it was killed. */
void net_client_routes_sweep(uint32_t mark);

/* Transport mode: what this host itself has to say to another one goes into the device, and nothing
 * of it goes, or is let in, beside it. A flow is a pair of selectors of one address each; protocol
 * and ports are kept apart as far as routing rules can (ICMP only as a whole). Rules before those
 * of table main lead into a table whose number is `mark`; an nft table shrike_flows_DEVICE drops
 * what is not in the device, but what carries the mark, what comes for `ports` (our own sockets),
 * ESP and AH, and IPv6's neighbour discovery. All is taken back by net_flows_free(). */
enum { NET_FLOWS = 256, NET_FLOWS_OWNED = 32, NET_FLOW_PORTS = 16 };
struct net_flow {
    struct selector local, remote;
};
struct net_flows_plan {
    const char *device;
    uint32_t index, mark;
    uint16_t ports[NET_FLOW_PORTS];
    size_t port_count;
};
struct net_flows;
/* NULL with `why`: nft is missing. */
struct net_flows *net_flows_create(const struct net_flows_plan *plan, char why[static NET_WHY]);
/* All of them or none; what the owner has already counts once. An owner has NET_FLOWS_OWNED at the
 * most, so that none takes the places of all. */
int net_flows_add(struct net_flows *flows, uint64_t owner, const struct net_flow *list,
                  size_t count, char why[static NET_WHY]) MUST_USE;
int net_flows_del(struct net_flows *flows, uint64_t owner, char why[static NET_WHY]) MUST_USE;
/* Those with that host whose owner's number is lower: it has come anew. */
int net_flows_del_former(struct net_flows *flows, uint64_t before, const struct ip *remote,
                         char why[static NET_WHY]) MUST_USE;
void net_flows_free(struct net_flows *flows);
/* Takes away what a program of this mark left behind when it was killed. */
void net_flows_sweep(const char *device, uint32_t mark);

/* A client's resolver: systemd-resolved when it runs, else resolvconf, else /etc/resolv.conf with
 * what it held kept beside it, to be put back. Only systemd-resolved can ask these servers for some
 * domains and others for the rest; with the other two they are asked for all names. */
struct net_dns_plan {
    const char *device;
    const struct ip *servers;
    size_t count;
    const char *const *domains; /* none = all names */
    size_t domain_count;
};
int net_dns_up(const struct net_dns_plan *plan, char why[static NET_WHY]) MUST_USE;
void net_dns_down(const char *device);
/* Takes back what a killed run left: its resolvers may answer only through the tunnel that is gone,
 * and the gateway's name must be looked up before there is a new one. */
void net_dns_sweep(const char *device);

/* Gateway: forwarding on; when `masquerade`, what comes from `pools` leaves by `outside` under the
 * gateway's address unless it goes to another pool; unless `between_clients`, what came in from one
 * client does not go out to another. Table inet shrike_DEVICE, replaced whole in one transaction.
 */
struct net_gateway_plan {
    const char *device, *outside;
    const struct prefix *pools;
    size_t count;
    bool masquerade, between_clients;
};
int net_gateway_up(const struct net_gateway_plan *plan, char why[static NET_WHY]) MUST_USE;
void net_gateway_down(const char *device);

#endif
