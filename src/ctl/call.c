/* The client side: one connection, calls one after the other, blocking with a limit. */
#include "ctl/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct ctl_call {
    int fd;
    struct pile in;
};

static int connect_error(void)
{
    switch (errno) {
    case EACCES:
    case EPERM:
        return ERR_PERMISSION;
    case ENOENT:
    case ECONNREFUSED:
        return ERR_NOT_FOUND;
    case EAGAIN:
        return ERR_BUSY;
    default:
        return ERR_SYSTEM;
    }
}

struct ctl_call *ctl_connect(const char *path, int *err)
{
    struct sockaddr_un address;
    struct ctl_call *call = calloc(1, sizeof *call);
    *err = call ? 0 : ERR_MEMORY;
    if (!call)
        return NULL;
    call->fd = -1;
    if (!unix_address(path, &address)) {
        *err = ERR_LIMIT;
    } else {
        call->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (call->fd < 0 || connect(call->fd, (struct sockaddr *)&address, sizeof address))
            *err = connect_error();
    }
    if (!*err)
        return call;
    ctl_hang_up(call);
    return NULL;
}

void ctl_hang_up(struct ctl_call *call)
{
    if (!call)
        return;
    if (call->fd >= 0)
        close(call->fd);
    pile_free(&call->in);
    free(call);
}

static int send_all(int fd, const struct pile *out)
{
    for (size_t sent = 0; sent < out->len;) {
        ssize_t n = send(fd, out->at + sent, out->len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return errno == EPIPE || errno == ECONNRESET ? ERR_CLOSED : ERR_SYSTEM;
        sent += (size_t)n;
    }
    return 0;
}

int ctl_send(struct ctl_call *call, const char *method, json_t *parameters, bool more)
{
    struct pile out = {0};
    json_t *object = json_pack("{s:o, s:o}", "method", json_sprintf("org.shrike.%s", method),
                               "parameters", parameters ? parameters : json_object());
    if (more && object)
        json_object_set_new(object, "more", json_true());
    int err = object ? frame_write(object, &out) : ERR_MEMORY;
    json_decref(object);
    if (!err)
        err = send_all(call->fd, &out);
    pile_free(&out);
    return err;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Reads what is there, waiting until `until` (< 0: for ever). */
static int read_more(struct ctl_call *call, int64_t until)
{
    struct pollfd p = {.fd = call->fd, .events = POLLIN};
    int64_t left = until < 0 ? -1 : until - now_ms();
    if (until >= 0 && left < 0)
        left = 0;
    int ready = poll(&p, 1, (int)left);
    if (ready < 0)
        return errno == EINTR ? ERR_AGAIN : ERR_SYSTEM;
    if (!ready)
        return ERR_TIMEOUT;
    if (!pile_reserve(&call->in, 16384))
        return ERR_MEMORY;
    ssize_t n = recv(call->fd, call->in.at + call->in.len, call->in.room - call->in.len, 0);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return ERR_AGAIN;
    if (n <= 0)
        return ERR_CLOSED;
    call->in.len += (size_t)n;
    return 0;
}

static void take_reply(json_t *message, json_t **parameters, char **error, bool *continues)
{
    const char *name = json_string_value(json_object_get(message, "error"));
    json_t *given = json_object_get(message, "parameters");
    *parameters = json_is_object(given) ? json_incref(given) : json_object();
    *error = name ? strdup(name) : NULL;
    *continues = json_is_true(json_object_get(message, "continues"));
}

int ctl_receive(struct ctl_call *call, int timeout_ms, json_t **parameters, char **error,
                bool *continues)
{
    int64_t until = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
    *parameters = NULL;
    *error = NULL;
    *continues = false;
    for (;;) {
        json_t *message;
        size_t used;
        int err = ctl_frame((struct bytes){call->in.at, call->in.len}, &message, &used);
        if (err)
            return err;
        if (used) {
            pile_drop(&call->in, used);
            take_reply(message, parameters, error, continues);
            json_decref(message);
            return *parameters ? 0 : ERR_MEMORY;
        }
        err = read_more(call, until);
        if (err && err != ERR_AGAIN)
            return err;
    }
}
