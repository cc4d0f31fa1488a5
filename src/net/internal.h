/* What the files of net/ share. */
#ifndef SHRIKE_NET_INTERNAL_H
#define SHRIKE_NET_INTERNAL_H

#include "net/net.h"

#include <libmnl/libmnl.h>
#include <net/if.h>
#include <stdarg.h>

/* Every request fits easily; the kernel's answers may be longer. */
enum { NETLINK_REQUEST_MAX = 1024 };

/* One request to rtnetlink; body is appended by the caller with mnl_*. */
struct netlink_request {
    char buffer[NETLINK_REQUEST_MAX];
    struct nlmsghdr *header;
};
/* Starts a request with `extra` zeroed octets for the family's own header, returned. */
void *netlink_begin(struct netlink_request *request, uint16_t type, uint16_t flags, size_t extra);
void netlink_put_ip(struct netlink_request *request, uint16_t attribute, const struct ip *ip);
/* Sends and takes the acknowledgement: 0 or -errno. */
int netlink_do(struct netlink_request *request);
/* Sends and hands every answering message to `visit`: 0 or -errno. */
int netlink_ask(struct netlink_request *request, mnl_cb_t visit, void *context);
uint8_t netlink_family(uint8_t family); /* 4 or 6 to AF_* */
/* The first attribute of that type behind the family's own header, or NULL. */
const struct nlattr *netlink_find(const struct nlmsghdr *header, size_t extra, uint16_t type);

/* An address of this host to send from, when the message is about one. */
bool netlink_source(const struct nlmsghdr *header, uint32_t except, struct net_source *out);
/* The interface that the kernel would choose, 0 = there is no way. */
uint32_t netlink_preferred(const struct ip *to, uint32_t mark);
/* Is there a route by this interface? Its metric, and the source the kernel would choose. */
bool netlink_route_by(const struct ip *to, uint32_t mark, uint32_t interface, uint32_t *metric,
                      struct ip *source);

/* The interface whose rp_filter was changed, or empty. */
struct net_loose {
    char interface[IF_NAMESIZE];
    char was;
};
/* That what comes in by it is not dropped because our way back leads into a tunnel. */
void net_loosen(uint32_t interface, struct net_loose *out);
void net_tighten(struct net_loose *loose);

/* ---- flows.c and guard.c: one flow of this host with another, as it is in force */
struct flow_entry {
    uint64_t owner;
    struct net_flow flow;
};
/* The protocol and the ports that tell a flow from the rest between the two hosts: 0 = all. */
struct flow_match {
    uint8_t protocol;
    bool ports;
};
bool flow_match(const struct net_flow *flow, struct flow_match *out);
/* The whole guard, replaced in one transaction; count 0 takes it away. */
int guard_set(const struct net_flows_plan *plan, const struct flow_entry *list, size_t count,
              char why[static NET_WHY]) MUST_USE;

/* A script for nft, written into room that the caller has; a piece too long makes it bad. */
struct nft_script {
    char *at;
    size_t len, room;
    bool bad;
};
void nft_say(struct nft_script *script, const char *format, ...) PRINTF_LIKE(2, 3);
/* "head table inet shrike_KIND_DEVICE tail", the name as nft can take it. */
void nft_say_table(struct nft_script *script, const char *head, const char *kind,
                   const char *device, const char *tail);
/* All of it or nothing. For the sentence: whose rules these are, and what to set without nft. */
int nft_run(const struct nft_script *script, const char *whose, const char *without,
            char why[static NET_WHY]) MUST_USE;

/* Writes the sentence of a failure and returns the error that fits errno. */
int net_fail(char why[static NET_WHY], int error, const char *format, ...) PRINTF_LIKE(3, 4);

/* Runs a program found in the usual places, `input` (may be NULL) on its standard input; what it
 * says on its error output is kept in `said`. Returns its exit status, or a negative enum err. */
int net_execute(const char *const *argv, const char *input, char *said, size_t said_size) MUST_USE;
bool net_has_program(const char *name);

#endif
