#include "net/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Linux 6.2; older headers lack the names. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum {
    VNET_HEADER = 10,
    QUEUE_LENGTH = 1000,
    SEND_MAX = 65507, /* what one UDP_SEGMENT send carries */
    ESP_OVERHEAD = 34 /* AES-GCM: header, IV, trailer, ICV */
};

/* The first queue must make the device: joining one that is there would take its packets away. */
static int open_queue(const char *name, bool first, struct ifreq *request)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -1;
    memset(request, 0, sizeof(*request));
    request->ifr_flags =
        (short)(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE | (first ? IFF_TUN_EXCL : 0));
    snprintf(request->ifr_name, sizeof(request->ifr_name), "%s", name);
    if (ioctl(fd, TUNSETIFF, request) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int set_offloads(int fd, bool *uso)
{
    int header = VNET_HEADER;
    unsigned long basic = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    if (ioctl(fd, TUNSETVNETHDRSZ, &header) != 0)
        return -1;
    *uso = ioctl(fd, TUNSETOFFLOAD, basic | TUN_F_USO4 | TUN_F_USO6) == 0;
    return *uso ? 0 : ioctl(fd, TUNSETOFFLOAD, basic);
}

/* As many packets in a super-packet as one send takes: else each read becomes two sends. */
static int shape(uint32_t index, uint16_t mtu)
{
    struct netlink_request request;
    struct ifinfomsg *info = netlink_begin(&request, RTM_NEWLINK, 0, sizeof(*info));
    info->ifi_family = AF_UNSPEC;
    info->ifi_index = (int)index;
    mnl_attr_put_u32(request.header, IFLA_MTU, mtu);
    mnl_attr_put_u32(request.header, IFLA_TXQLEN, QUEUE_LENGTH);
    mnl_attr_put_u32(request.header, IFLA_GSO_MAX_SEGS, SEND_MAX / (mtu + (uint32_t)ESP_OVERHEAD));
    return netlink_do(&request);
}

int net_tun_open(const char *name, uint16_t queues, uint16_t mtu, struct net_tun *out,
                 char why[static NET_WHY])
{
    struct ifreq request;
    *out = (struct net_tun){0};
    if (queues == 0 || queues > NET_WORKERS_MAX || strlen(name) >= sizeof(out->name)) {
        snprintf(why, NET_WHY, "a TUN device needs 1 to %d queues and a name of at most 15 letters",
                 NET_WORKERS_MAX);
        return ERR_ARGUMENT;
    }
    for (; out->queues < queues; out->queues++) {
        int fd = open_queue(out->queues == 0 ? name : out->name, out->queues == 0, &request);
        if (fd < 0)
            goto failed;
        out->fd[out->queues] = fd;
        snprintf(out->name, sizeof(out->name), "%s", request.ifr_name);
        if (set_offloads(fd, &out->uso) != 0) {
            out->queues++;
            goto failed;
        }
    }
    out->index = if_nametoindex(out->name);
    int error = out->index == 0 ? errno : -shape(out->index, mtu);
    if (error == 0)
        return 0;
    net_tun_close(out);
    return net_fail(why, error, "cannot set up the TUN device %s", name);
failed:
    error = errno;
    net_tun_close(out);
    if (error == ENOENT || error == ENODEV || error == ENXIO) {
        snprintf(why, NET_WHY,
                 "this kernel has no TUN (/dev/net/tun); load it with `modprobe tun`, or give the "
                 "container /dev/net/tun");
        return ERR_UNSUPPORTED;
    }
    if (error == EBUSY) {
        snprintf(why, NET_WHY, "the TUN device %s is in use; choose another name", name);
        return ERR_BUSY;
    }
    return net_fail(why, error, "cannot make the TUN device %s", name);
}

void net_tun_close(struct net_tun *tun)
{
    for (uint16_t i = 0; i < tun->queues; i++)
        close(tun->fd[i]);
    tun->queues = 0;
}
