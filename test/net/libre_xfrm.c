/* libre_xfrm: loaded before libreswan's pluto where the kernel has no ESP (LD_PRELOAD).
 *
 * What pluto tells the kernel of SAs goes to the abstract socket "xfrm" of its network namespace,
 * where libre_esp.py carries their packets, and is answered as a kernel answers that has done it.
 * All else passes: SPIs and policies any Linux has. */
#define _GNU_SOURCE
#include <linux/netlink.h>
#include <linux/xfrm.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

enum { FDS = 1024 };
static unsigned char is_xfrm[FDS];
static struct nlmsghdr answered[FDS]; /* the request that still wants its answer; length 0: none */

int socket(int domain, int type, int protocol)
{
    int fd = (int)syscall(SYS_socket, domain, type, protocol);
    if (fd >= 0 && fd < FDS)
        is_xfrm[fd] = domain == AF_NETLINK && protocol == NETLINK_XFRM;
    return fd;
}

static void hand_on(const void *message, size_t len)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "\0xfrm"};
    int fd = (int)syscall(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, message, len, 0, (struct sockaddr *)&to,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 5));
    close(fd);
}

ssize_t write(int fd, const void *octets, size_t len)
{
    if (fd >= 0 && fd < FDS && is_xfrm[fd] && len >= sizeof(struct nlmsghdr)) {
        struct nlmsghdr header;
        memcpy(&header, octets, sizeof(header));
        if (header.nlmsg_type == XFRM_MSG_NEWSA || header.nlmsg_type == XFRM_MSG_UPDSA ||
            header.nlmsg_type == XFRM_MSG_DELSA) {
            hand_on(octets, len);
            answered[fd] = header;
            return (ssize_t)len;
        }
    }
    return syscall(SYS_write, fd, octets, len);
}

ssize_t recvfrom(int fd, void *octets, size_t size, int flags, struct sockaddr *from,
                 socklen_t *from_len)
{
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
    } ack = {{.nlmsg_len = sizeof(ack), .nlmsg_type = NLMSG_ERROR}, {0}};
    if (fd < 0 || fd >= FDS || answered[fd].nlmsg_len == 0 || size < sizeof(ack))
        return syscall(SYS_recvfrom, fd, octets, size, flags, from, from_len);
    ack.header.nlmsg_seq = answered[fd].nlmsg_seq;
    ack.error.msg = answered[fd];
    answered[fd].nlmsg_len = 0;
    memcpy(octets, &ack, sizeof(ack));
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (from && from_len && *from_len >= sizeof(kernel)) {
        memcpy(from, &kernel, sizeof(kernel));
        *from_len = sizeof(kernel);
    }
    return sizeof(ack);
}
