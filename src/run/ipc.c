/* Fixed-size structs over a pair of sockets. */
#include "run/ipc.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for some hundred of the longest question (ike_ask), so that counted questions never wait. */
enum { BUFFER_OCTETS = 8 << 20 };

static const struct {
    const char *name;
    size_t body;
} kinds[IPC_KINDS] = {
#define X(kind, size) {#kind, size},
    IPC_LIST(X)
#undef X
};

static const size_t head = offsetof(struct ipc_message, peer);

size_t ipc_size(uint32_t kind)
{
    return kind > IPC_NONE && kind < IPC_KINDS ? head + kinds[kind].body : 0;
}

/* Of a question only as much travels as is in use: a tenth, mostly. */
static const size_t ask_head = offsetof(struct ipc_message, ask) + offsetof(struct ike_ask, octets);

size_t ipc_length(const struct ipc_message *message)
{
    if (message->kind != IPC_ASK)
        return ipc_size(message->kind);
    size_t octets = (size_t)message->ask.own_len + message->ask.peer_len;
    return octets <= sizeof(message->ask.octets) ? ask_head + octets : 0;
}

/* Is what came, `got` octets, a whole message? */
static bool is_whole(const struct ipc_message *message, size_t got)
{
    if (got < head || (message->kind == IPC_ASK && got < ask_head))
        return false;
    return got == ipc_length(message);
}

const char *ipc_kind_name(uint32_t kind)
{
    return kind < IPC_KINDS ? kinds[kind].name + strlen("IPC_") : "unknown";
}

const char *run_role_name(enum run_role role)
{
    static const char *const names[ROLE_COUNT] = {"monitor", "keys", "ike", "esp"};
    return role < ROLE_COUNT ? names[role] : "unknown";
}

/* As root the limit of net.core.wmem_max does not hold; else we take what we get. */
static void widen(int fd)
{
    int size = BUFFER_OCTETS;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

int ipc_pair(int pair[static 2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return ERR_SYSTEM;
    widen(pair[0]);
    widen(pair[1]);
    return 0;
}

void ipc_prepare(struct ipc_message *message, enum ipc_kind kind, uint32_t serial)
{
    memset(message, 0, kind == IPC_ASK ? ask_head : ipc_size(kind));
    message->kind = kind;
    message->serial = serial;
}

void ipc_wipe(struct ipc_message *message)
{
    secret_wipe(message, ipc_length(message));
}

static int send_result(ssize_t sent)
{
    if (sent >= 0)
        return 0;
    switch (errno) {
    case EAGAIN:
    case ENOBUFS:
    case ETOOMANYREFS:
        return ERR_AGAIN;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
    case EBADF:
        return ERR_CLOSED;
    default:
        return ERR_SYSTEM;
    }
}

int ipc_send(int fd, const struct ipc_message *message, int attach)
{
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    size_t size = ipc_length(message);
    struct iovec part = {.iov_base = (void *)(uintptr_t)message, .iov_len = size};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (size == 0)
        return ERR_ARGUMENT;
    if (attach >= 0) {
        header.msg_control = control.space;
        header.msg_controllen = sizeof(control.space);
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &attach, sizeof(int));
    }
    ssize_t sent;
    do
        sent = sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return send_result(sent);
}

int ipc_send_parts(int fd, const struct ipc_part *parts, size_t count)
{
    struct mmsghdr headers[IPC_PARTS_MAX];
    struct iovec iov[IPC_PARTS_MAX];
    if (count > IPC_PARTS_MAX)
        count = IPC_PARTS_MAX;
    for (size_t i = 0; i < count; i++) {
        iov[i] =
            (struct iovec){.iov_base = (void *)(uintptr_t)parts[i].octets, .iov_len = parts[i].len};
        headers[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
    }
    int sent;
    do
        sent = sendmmsg(fd, headers, (unsigned)count, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent > 0 ? sent : send_result(-1);
}

int ipc_send_wait(int fd, const struct ipc_message *message, int attach, int wait_ms)
{
    int result = ipc_send(fd, message, attach);
    if (result != ERR_AGAIN)
        return result;
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    if (poll(&room, 1, wait_ms) <= 0)
        return ERR_AGAIN;
    return ipc_send(fd, message, attach);
}

/* The descriptor that came along, or -1. Alignment leaves room for a second one, which nobody who
 * means well sends: both are closed. */
static int attached_descriptor(struct msghdr *header)
{
    int fds[2] = {-1, -1};
    struct cmsghdr *c = CMSG_FIRSTHDR(header);
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
        c->cmsg_len < CMSG_LEN(sizeof(int)))
        return -1;
    size_t len = c->cmsg_len - CMSG_LEN(0);
    memcpy(fds, CMSG_DATA(c), len < sizeof(fds) ? len : sizeof(fds));
    if (fds[1] < 0)
        return fds[0];
    close(fds[0]);
    close(fds[1]);
    return -1;
}

int ipc_receive(int fd, struct ipc_message *message, int *attached)
{
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = message, .iov_len = sizeof(*message)};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.space,
                            .msg_controllen = sizeof(control.space)};
    if (attached)
        *attached = -1;
    ssize_t got;
    do
        got = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EAGAIN ? ERR_AGAIN : ERR_CLOSED;
    if (got == 0)
        return ERR_CLOSED;
    int passed = attached_descriptor(&header);
    bool whole = !(header.msg_flags & MSG_TRUNC) && is_whole(message, (size_t)got);
    if (passed >= 0 && (!attached || !whole))
        close(passed);
    else if (attached)
        *attached = passed;
    return whole ? 0 : ERR_SYNTAX;
}
