/* What ICMP says of our datagrams, from a socket's error queue (ip(7), IP_RECVERR). */
#include "net/internal.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

int net_hear_unreachable(int fd, uint8_t family)
{
    int on = 1;
    return setsockopt(fd, family == 4 ? IPPROTO_IP : IPPROTO_IPV6,
                      family == 4 ? IP_RECVERR : IPV6_RECVERR, &on, sizeof(on))
               ? ERR_SYSTEM
               : 0;
}

/* "Port unreachable" came from a network, and is no fault of our own kernel's. */
static bool is_closed_port(struct msghdr *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        struct sock_extended_err why;
        bool ours = (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
                    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
        if (!ours || c->cmsg_len < CMSG_LEN(sizeof(why)))
            continue;
        memcpy(&why, CMSG_DATA(c), sizeof(why));
        return why.ee_errno == ECONNREFUSED &&
               (why.ee_origin == SO_EE_ORIGIN_ICMP || why.ee_origin == SO_EE_ORIGIN_ICMP6);
    }
    return false;
}

int net_unreachable(int fd, uint8_t *buffer, size_t cap, size_t *len, struct endpoint *remote)
{
    struct sockaddr_storage to;
    _Alignas(struct cmsghdr) uint8_t control[512];
    struct iovec iov = {.iov_base = buffer, .iov_len = cap};
    struct msghdr msg = {.msg_name = &to,
                         .msg_namelen = sizeof(to),
                         .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    ssize_t got = recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (got < 0)
        return ERR_AGAIN;
    *len = (size_t)got;
    return is_closed_port(&msg) && endpoint_from_sockaddr(&to, remote) ? 0 : ERR_UNSUPPORTED;
}
