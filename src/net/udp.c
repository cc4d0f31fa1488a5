#include "net/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    WORKER_BUFFER = 8 << 20, /* octets each way */
    IKE_BUFFER = 2 << 20,
    NATT_RUN_MAX = 65536,
};

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value));
}

static void set_buffers(int fd, int octets)
{
    /* Beyond the system's limit where that is allowed, else as much as there is. */
    if (set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, octets) != 0)
        (void)set_int(fd, SOL_SOCKET, SO_RCVBUF, octets);
    if (set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, octets) != 0)
        (void)set_int(fd, SOL_SOCKET, SO_SNDBUF, octets);
}

/* Never an ESP packet in fragments: a smaller path is learnt and answered inside the tunnel. IKE
 * may be fragmented, as long as its own fragmentation (RFC 7383) is not agreed. */
static int set_path(int fd, uint8_t family, bool fragments)
{
    if (family == 4)
        return set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER,
                       fragments ? IP_PMTUDISC_DONT : IP_PMTUDISC_DO);
    return set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER,
                   fragments ? IPV6_PMTUDISC_DONT : IPV6_PMTUDISC_DO);
}

static int set_common(int fd, uint8_t family, uint32_t mark)
{
    if (mark != 0 && set_int(fd, SOL_SOCKET, SO_MARK, (int)mark) != 0)
        return -1;
    if (family == 6 && set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) != 0)
        return -1;
    return fcntl(fd, F_SETFL, O_NONBLOCK);
}

static int set_ike(int fd, uint8_t family)
{
    set_buffers(fd, IKE_BUFFER);
    /* PKTINFO tells the interface, ORIGDSTADDR address and port. */
    int err = family == 4 ? set_int(fd, IPPROTO_IP, IP_PKTINFO, 1) ||
                                set_int(fd, IPPROTO_IP, IP_RECVORIGDSTADDR, 1)
                          : set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) ||
                                set_int(fd, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1);
    return err != 0 ? -1 : set_path(fd, family, true);
}

static int set_worker(int fd, uint8_t family)
{
    set_buffers(fd, WORKER_BUFFER);
    (void)set_int(fd, SOL_SOCKET, SO_RXQ_OVFL, 1); /* what did not fit is counted */
    int err = family == 4 ? set_int(fd, IPPROTO_IP, IP_RECVTOS, 1)
                          : set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    return err != 0 ? err : set_path(fd, family, false);
}

static socklen_t address_of(const struct ip *ip, uint16_t port, struct sockaddr_storage *out)
{
    struct endpoint e = {.ip = *ip, .port = port};
    return endpoint_to_sockaddr(&e, out);
}

static int open_one(const struct ip *ip, uint16_t *port, uint32_t mark, bool shared, bool ike)
{
    struct sockaddr_storage address;
    struct endpoint bound;
    int fd = socket(ip->family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    socklen_t len = address_of(ip, *port, &address);
    if (set_common(fd, ip->family, mark) != 0 ||
        (ike ? set_ike(fd, ip->family) : set_worker(fd, ip->family)) != 0 ||
        (shared && set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) != 0) ||
        (shared && set_int(fd, IPPROTO_UDP, UDP_GRO, 1) != 0) ||
        bind(fd, (struct sockaddr *)&address, len) != 0)
        goto failed;
    len = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        goto failed;
    if (endpoint_from_sockaddr(&address, &bound))
        *port = bound.port;
    return fd;
failed:;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Which socket of the group takes a datagram: 0 for IKE (four zero octets) and for what is shorter
 * than that (keepalives: the load fails, which returns 0), else 1 + SPI % workers. A group is in
 * the order in which its sockets were bound. */
static int attach_selector(int fd, uint16_t workers)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, workers),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program = {.len = ARRAY_LEN(code), .filter = code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program));
}

/* ---- who holds the port --------------------------------------------------------------------- */

static unsigned long inode_of_port(uint8_t family, uint16_t port)
{
    char line[512];
    unsigned long inode = 0;
    FILE *f = fopen(family == 4 ? "/proc/net/udp" : "/proc/net/udp6", "re");
    while (f && inode == 0 && fgets(line, sizeof(line), f)) {
        unsigned found;
        unsigned long number;
        if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*s %*s %*s %*s %*s %*u %*u %lu", &found,
                   &number) == 2 &&
            found == port)
            inode = number;
    }
    if (f)
        fclose(f);
    return inode;
}

static bool holds(const char *pid, const char *link)
{
    char path[320], target[64];
    bool found = false;
    snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && !found && (entry = readdir(dir))) {
        ssize_t len = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
        if (len < 0)
            continue;
        target[len] = 0;
        found = strcmp(target, link) == 0;
    }
    if (dir)
        closedir(dir);
    return found;
}

/* "charon (pid 812)", or "another process". */
static void name_holder(uint8_t family, uint16_t port, char text[static 64])
{
    char link[64], path[64], name[32] = "";
    unsigned long inode = inode_of_port(family, port);
    snprintf(text, 64, "another process");
    DIR *proc = inode != 0 ? opendir("/proc") : NULL;
    struct dirent *entry;
    snprintf(link, sizeof(link), "socket:[%lu]", inode);
    while (proc && (entry = readdir(proc))) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || !holds(entry->d_name, link))
            continue;
        snprintf(path, sizeof(path), "/proc/%.20s/comm", entry->d_name);
        FILE *f = fopen(path, "re");
        if (f && fgets(name, sizeof(name), f)) {
            name[strcspn(name, "\n")] = 0;
            snprintf(text, 64, "%s (pid %.10s)", name, entry->d_name);
        }
        if (f)
            fclose(f);
        break;
    }
    if (proc)
        closedir(proc);
}

static int explain(const struct ip *ip, uint16_t port, char why[static NET_WHY])
{
    char address[ADDR_TEXT], holder[64];
    int error = errno;
    if (error != EADDRINUSE)
        return net_fail(why, error, "cannot open UDP port %u on %s", port, ip_print(ip, address));
    name_holder(ip->family, port, holder);
    snprintf(why, NET_WHY, "UDP port %u on %s is in use by %s; stop it, or configure other ports",
             port, ip_print(ip, address), holder);
    return ERR_BUSY;
}

/* ---- the group ------------------------------------------------------------------------------ */

int net_udp_open(const struct ip *ip, uint16_t port_500, uint16_t port_natt, uint16_t workers,
                 uint32_t mark, struct net_udp_group *out, char why[static NET_WHY])
{
    uint16_t tried = port_500;
    *out = (struct net_udp_group){
        .ike_500 = -1, .ike_natt = -1, .port_500 = port_500, .port_natt = port_natt};
    for (size_t i = 0; i < NET_WORKERS_MAX; i++)
        out->worker[i] = -1;
    if (workers == 0 || workers > NET_WORKERS_MAX || (ip->family != 4 && ip->family != 6)) {
        snprintf(why, NET_WHY, "%u workers cannot be had, 1 to %d can", workers, NET_WORKERS_MAX);
        return ERR_ARGUMENT;
    }
    out->ike_500 = open_one(ip, &out->port_500, mark, false, true);
    if (out->ike_500 < 0)
        goto failed;
    /* A port of a group can be shared by mistake, too: see that it is free before it is shared. */
    tried = port_natt;
    if (port_natt != 0) {
        int probe = open_one(ip, &tried, mark, false, true);
        if (probe < 0)
            goto failed;
        close(probe);
    }
    out->ike_natt = open_one(ip, &out->port_natt, mark, true, true);
    if (out->ike_natt < 0)
        goto failed;
    for (uint16_t i = 0; i < workers; i++) {
        out->worker[i] = open_one(ip, &out->port_natt, mark, true, false);
        if (out->worker[i] < 0)
            goto failed;
    }
    if (attach_selector(out->ike_natt, workers) != 0)
        goto failed;
    return 0;
failed:;
    int err = explain(ip, tried, why);
    net_udp_close(out);
    return err;
}

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void net_udp_close(struct net_udp_group *group)
{
    close_one(&group->ike_500);
    close_one(&group->ike_natt);
    for (size_t i = 0; i < NET_WORKERS_MAX; i++)
        close_one(&group->worker[i]);
}

/* ---- datagrams of IKE ----------------------------------------------------------------------- */

/* The kernel may join datagrams of one sender on the sockets of a group, and the IKE socket has to
 * take part, or now and then none of the group's traffic would be joined. So what came joined is
 * handed on one by one. One such run is kept a thread; when another socket is asked before it is
 * used up, the rest is lost, as datagrams may be. */
struct joined {
    int fd;
    size_t at, len, stride;
    struct endpoint local, remote;
    uint32_t interface;
    uint8_t data[NATT_RUN_MAX];
};
static _Thread_local struct joined rest;

static void read_control(struct msghdr *msg, struct joined *run)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            run->interface = (uint32_t)info.ipi_ifindex;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            run->interface = info.ipi6_ifindex;
        } else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_ORIGDSTADDR) ||
                   (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_ORIGDSTADDR)) {
            struct sockaddr_storage to = {0};
            size_t room = c->cmsg_len - CMSG_LEN(0);
            memcpy(&to, CMSG_DATA(c), room < sizeof(to) ? room : sizeof(to));
            (void)endpoint_from_sockaddr(&to, &run->local);
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int stride;
            memcpy(&stride, CMSG_DATA(c), sizeof(stride));
            run->stride = (size_t)stride;
        }
    }
}

static int receive_run(int fd)
{
    struct sockaddr_storage from;
    _Alignas(struct cmsghdr) uint8_t control[256];
    struct iovec iov = {.iov_base = rest.data, .iov_len = sizeof(rest.data)};
    struct msghdr msg = {.msg_name = &from,
                         .msg_namelen = sizeof(from),
                         .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    rest.len = rest.at = 0;
    ssize_t len = recvmsg(fd, &msg, MSG_DONTWAIT);
    if (len < 0)
        /* A pending ICMP error is not this datagram's business. */
        return errno == EAGAIN || errno == EINTR || errno == ECONNREFUSED || errno == EHOSTUNREACH
                   ? ERR_AGAIN
                   : ERR_SYSTEM;
    if (!endpoint_from_sockaddr(&from, &rest.remote))
        return ERR_AGAIN;
    rest.fd = fd;
    rest.len = (size_t)len;
    rest.stride = 0;
    rest.local = (struct endpoint){0};
    read_control(&msg, &rest);
    if (rest.stride == 0)
        rest.stride = rest.len;
    return 0;
}

int net_receive(int fd, uint8_t *buffer, size_t cap, size_t *len, struct endpoint *local,
                struct endpoint *remote, uint32_t *interface)
{
    if (rest.fd != fd || rest.at >= rest.len) {
        int err = receive_run(fd);
        if (err)
            return err;
    }
    size_t now = rest.len - rest.at < rest.stride ? rest.len - rest.at : rest.stride;
    *len = now < cap ? now : cap;
    memcpy(buffer, rest.data + rest.at, *len);
    rest.at += now;
    *local = rest.local;
    *remote = rest.remote;
    *interface = rest.interface;
    return 0;
}

static void put_source(struct msghdr *msg, const struct ip *from, uint32_t interface)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    if (from->family == 4) {
        struct in_pktinfo info = {.ipi_ifindex = (int)interface};
        memcpy(&info.ipi_spec_dst, from->octets, 4);
        c->cmsg_level = IPPROTO_IP;
        c->cmsg_type = IP_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof(info));
        memcpy(CMSG_DATA(c), &info, sizeof(info));
        msg->msg_controllen = CMSG_SPACE(sizeof(info));
    } else {
        struct in6_pktinfo info = {.ipi6_ifindex = interface};
        memcpy(&info.ipi6_addr, from->octets, 16);
        c->cmsg_level = IPPROTO_IPV6;
        c->cmsg_type = IPV6_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof(info));
        memcpy(CMSG_DATA(c), &info, sizeof(info));
        msg->msg_controllen = CMSG_SPACE(sizeof(info));
    }
}

int net_send(int fd, struct bytes a, struct bytes b, const struct endpoint *local,
             const struct endpoint *remote, uint32_t interface)
{
    struct sockaddr_storage to;
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(struct in6_pktinfo))] = {0};
    struct iovec iov[2] = {{.iov_base = (void *)(uintptr_t)a.at, .iov_len = a.len},
                           {.iov_base = (void *)(uintptr_t)b.at, .iov_len = b.len}};
    struct msghdr msg = {.msg_name = &to,
                         .msg_namelen = endpoint_to_sockaddr(remote, &to),
                         .msg_iov = iov,
                         .msg_iovlen = 2,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    if (local && local->ip.family == remote->ip.family && !ip_is_any(&local->ip)) {
        put_source(&msg, &local->ip, interface);
    } else {
        msg.msg_control = NULL;
        msg.msg_controllen = 0;
    }
    /* An ICMP error of an earlier datagram is reported once, instead of sending: try again. */
    for (int tries = 0; tries < 2; tries++) {
        if (sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno != ECONNREFUSED && errno != EHOSTUNREACH)
            break;
    }
    return errno == EAGAIN ? ERR_AGAIN : ERR_SYSTEM;
}
