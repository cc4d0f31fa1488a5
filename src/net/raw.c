/* Plain ESP and AH: raw sockets, one a worker. Every raw socket sees every packet of the protocol,
 * so each has a filter that lets through only what is for its worker. */
#include "net/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RAW_BUFFER = 8 << 20 };

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value));
}

static int set_options(int fd, uint8_t family, bool ah, uint32_t mark)
{
    if (set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, RAW_BUFFER) != 0)
        (void)set_int(fd, SOL_SOCKET, SO_RCVBUF, RAW_BUFFER);
    if (set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, RAW_BUFFER) != 0)
        (void)set_int(fd, SOL_SOCKET, SO_SNDBUF, RAW_BUFFER);
    (void)set_int(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
    if (mark != 0 && set_int(fd, SOL_SOCKET, SO_MARK, (int)mark) != 0)
        return -1;
    if (ah && set_int(fd, family == 4 ? IPPROTO_IP : IPPROTO_IPV6,
                      family == 4 ? IP_HDRINCL : IPV6_RECVPKTINFO, 1) != 0)
        return -1;
    if (family == 4)
        return set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
    if (set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) != 0)
        return -1;
    return set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO);
}

static int open_one(uint8_t family, bool ah, uint32_t mark, char why[static NET_WHY])
{
    int fd = socket(family == 4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    ah ? IPPROTO_AH : IPPROTO_ESP);
    if (fd >= 0 && set_options(fd, family, ah, mark) == 0)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    return net_fail(why, error,
                    ah ? "cannot open a raw socket for AH"
                       : "cannot open a raw socket for plain ESP");
}

/* IPv4 hands the packet with its header, IPv6 without. */
static int attach_filter(int fd, uint8_t family, bool ah, uint16_t workers, uint16_t worker)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_IND, ah ? 4 : 0), /* the SPI */
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, workers),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, worker, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    if (family == 4)
        code[0] = (struct sock_filter)BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0);
    struct sock_fprog program = {.len = ARRAY_LEN(code), .filter = code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

int net_raw_open_group(uint8_t family, bool ah, uint16_t workers, uint32_t mark,
                       struct net_raw_group *out, char why[static NET_WHY])
{
    for (size_t i = 0; i < NET_WORKERS_MAX; i++)
        out->worker[i] = -1;
    if (workers == 0 || workers > NET_WORKERS_MAX)
        return ERR_ARGUMENT;
    for (uint16_t i = 0; i < workers; i++) {
        int fd = open_one(family, ah, mark, why);
        if (fd < 0) {
            net_raw_close(out);
            return fd;
        }
        out->worker[i] = fd;
        if (attach_filter(fd, family, ah, workers, i) != 0) {
            int err = net_fail(why, errno, "cannot attach a filter to a raw socket");
            net_raw_close(out);
            return err;
        }
    }
    return 0;
}

void net_raw_close(struct net_raw_group *group)
{
    for (size_t i = 0; i < NET_WORKERS_MAX; i++) {
        if (group->worker[i] >= 0)
            close(group->worker[i]);
        group->worker[i] = -1;
    }
}
