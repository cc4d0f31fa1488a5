/* What the files of net/ share. */
#ifndef SHRIKE_NET_INTERNAL_H
#define SHRIKE_NET_INTERNAL_H

#include "net/net.h"

#include <libmnl/libmnl.h>
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

/* Writes the sentence of a failure and returns the error that fits errno. */
int net_fail(char why[static NET_WHY], int error, const char *format, ...) PRINTF_LIKE(3, 4);

/* Runs a program found in the usual places, `input` (may be NULL) on its standard input; what it
 * says on its error output is kept in `said`. Returns its exit status, or a negative enum err. */
int net_execute(const char *const *argv, const char *input, char *said, size_t said_size) MUST_USE;
bool net_has_program(const char *name);

#endif
