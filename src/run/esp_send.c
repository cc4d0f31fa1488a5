#include "run/esp_send.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

enum {
    ONE_BY_ONE = 64,          /* packets of one sendmmsg */
    OLD_KERNEL_SEGMENTS = 64, /* UDP_MAX_SEGMENTS before Linux 6.9 */
    GSO_PAUSE = 4096,         /* sends between two tries on a device that cannot */
    CONTROL_MAX = 128,
};

/* Ancillary data of one send: source address, TOS, segment size. */
struct control {
    _Alignas(struct cmsghdr) uint8_t octets[CONTROL_MAX];
    size_t len;
};

void esp_send_prepare(struct esp_sender *sender, const struct run_sockets *sockets,
                      const struct net_raw_group *raw4, const struct net_raw_group *raw6,
                      uint16_t worker)
{
    *sender = (struct esp_sender){.count = sockets->count, .most = ESP_RUN_SEGMENTS};
    sender->raw4 = raw4 ? raw4->worker[worker] : -1;
    sender->raw6 = raw6 ? raw6->worker[worker] : -1;
    for (size_t i = 0; i < sockets->count; i++) {
        sender->udp[i].ip = sockets->ip[i];
        sender->udp[i].fd = sockets->group[i].worker[worker];
    }
}

static void put(struct control *control, int level, int type, const void *data, size_t len)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)(control->octets + control->len);
    memset(c, 0, CMSG_SPACE(len));
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), data, len);
    control->len += CMSG_SPACE(len);
}

static void put_common(struct control *control, const struct esp_send *send, bool source)
{
    bool ip6 = send->to->ss_family == AF_INET6;
    control->len = 0;
    if (source && send->from->family == 4 && !ip6) {
        struct in_pktinfo info = {.ipi_ifindex = (int)send->interface};
        memcpy(&info.ipi_spec_dst, send->from->octets, 4);
        put(control, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    } else if (source && send->from->family == 6 && ip6) {
        struct in6_pktinfo info = {.ipi6_ifindex = send->interface};
        memcpy(&info.ipi6_addr, send->from->octets, 16);
        put(control, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    }
    if (send->tos != 0) {
        int tos = send->tos;
        put(control, ip6 ? IPPROTO_IPV6 : IPPROTO_IP, ip6 ? IPV6_TCLASS : IP_TOS, &tos,
            sizeof(tos));
    }
}

static void fill(struct msghdr *msg, struct iovec *iov, const struct esp_send *send,
                 struct control *control, uint32_t at, uint32_t len)
{
    *iov = (struct iovec){.iov_base = (void *)(uintptr_t)(send->data + at), .iov_len = len};
    *msg = (struct msghdr){.msg_name = (void *)(uintptr_t)send->to,
                           .msg_namelen = send->to_len,
                           .msg_iov = iov,
                           .msg_iovlen = 1,
                           .msg_control = control->len ? control->octets : NULL,
                           .msg_controllen = control->len};
}

static bool is_full(int error)
{
    return error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

/* Packets [first, first + count) by sendmmsg. A packet that is refused is passed over. */
static void send_singly(int fd, struct esp_send *send, struct control *control, uint16_t first,
                        uint16_t count)
{
    struct mmsghdr messages[ONE_BY_ONE];
    struct iovec iov[ONE_BY_ONE];
    uint16_t end = (uint16_t)(first + count);
    while (first < end) {
        uint16_t now = end - first < ONE_BY_ONE ? (uint16_t)(end - first) : (uint16_t)ONE_BY_ONE;
        for (uint16_t i = 0; i < now; i++) {
            uint32_t at = (uint32_t)(first + i) * send->stride;
            uint32_t len = send->len - at < send->stride ? send->len - at : send->stride;
            fill(&messages[i].msg_hdr, &iov[i], send, control, at, len);
        }
        int sent = sendmmsg(fd, messages, now, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            send->sent += (uint16_t)sent;
            first += (uint16_t)sent;
        } else if (is_full(errno)) {
            send->full += (uint16_t)(end - first);
            return;
        } else {
            if (errno == EMSGSIZE)
                send->too_big++;
            first++;
        }
    }
}

/* One send of `count` packets from `first`. 0 or errno. */
static int send_joined(int fd, struct esp_send *send, const struct control *common, uint16_t first,
                       uint16_t count)
{
    struct msghdr msg;
    struct iovec iov;
    struct control control = *common;
    uint32_t at = (uint32_t)first * send->stride;
    uint32_t len = (uint32_t)count * send->stride;
    uint16_t stride = (uint16_t)send->stride;
    if (len > send->len - at)
        len = send->len - at;
    if (count > 1)
        put(&control, IPPROTO_UDP, UDP_SEGMENT, &stride, sizeof(stride));
    fill(&msg, &iov, send, &control, at, len);
    return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ? 0 : errno;
}

static void send_udp(struct esp_sender *sender, int fd, struct esp_send *send,
                     struct control *control)
{
    if (sender->without_gso > 0 && send->count > 1) {
        sender->without_gso--;
        send_singly(fd, send, control, 0, send->count);
        return;
    }
    for (uint16_t first = 0; first < send->count;) {
        uint16_t left = (uint16_t)(send->count - first);
        uint16_t count = left < sender->most ? left : sender->most;
        int error = send_joined(fd, send, control, first, count);
        if (error == EINVAL && count > OLD_KERNEL_SEGMENTS) {
            sender->most = OLD_KERNEL_SEGMENTS;
            continue;
        }
        if (error == 0) {
            send->sent += count;
        } else if (is_full(error)) {
            send->full += left;
            return;
        } else {
            if (error == EIO) /* the device cannot sum checksums */
                sender->without_gso = GSO_PAUSE;
            send_singly(fd, send, control, first, count);
        }
        first += count;
    }
}

/* The socket bound to the address the SA has here, or to all of the family. */
static int choose(const struct esp_sender *sender, const struct esp_send *send, bool *any)
{
    uint8_t family = send->to->ss_family == AF_INET6 ? 6 : 4;
    int found = -1;
    for (size_t i = 0; i < sender->count; i++) {
        if (sender->udp[i].ip.family != family)
            continue;
        if (ip_is_any(&sender->udp[i].ip)) {
            found = sender->udp[i].fd;
            *any = true;
        } else if (found < 0 || ip_equal(&sender->udp[i].ip, send->from)) {
            found = sender->udp[i].fd;
            *any = false;
            if (ip_equal(&sender->udp[i].ip, send->from))
                break;
        }
    }
    return found;
}

void esp_send_run(struct esp_sender *sender, struct esp_send *send)
{
    struct control control;
    bool any = false;
    if (send->udp) {
        int fd = choose(sender, send, &any);
        put_common(&control, send, any && !ip_is_any(send->from));
        if (fd >= 0)
            send_udp(sender, fd, send, &control);
        return;
    }
    /* A raw socket takes a port for a protocol, which for IPv6 must be its own or none. */
    struct sockaddr_storage to = {0};
    memcpy(&to, send->to, send->to_len);
    if (to.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)&to)->sin6_port = 0;
    send->to = &to;
    int fd = to.ss_family == AF_INET6 ? sender->raw6 : sender->raw4;
    put_common(&control, send, !ip_is_any(send->from));
    if (fd >= 0)
        send_singly(fd, send, &control, 0, send->count);
}
