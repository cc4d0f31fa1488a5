/* The server side: never waits, never trusts, holds a bounded amount for each client. */
#include "ctl/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* One connection. A call is open from its arrival to its last reply; its serial is what the handler
 * holds, so that an answer to an older call or to a client that has gone finds nobody. */
struct client {
    int fd; /* -1 = free */
    uint32_t serial;
    bool open;   /* a call waits for (more of) its reply */
    bool stream; /* it asked for more than one */
    bool eof;    /* the client sends no more; close when the open call is answered */
    uint32_t events;
    struct pile in, out;
};

struct ctl_server {
    int listener, epoll, again;
    char path[108];
    ctl_handler *handler;
    void *context;
    uint32_t last_serial;
    struct client clients[CTL_CLIENTS_MAX];
};

static const char prefix[] = "org.shrike.";

enum { KEY_LISTENER = CTL_CLIENTS_MAX, KEY_AGAIN };

static int watch(struct ctl_server *s, int fd, uint32_t events, uint32_t key)
{
    struct epoll_event e = {.events = events, .data.u32 = key};
    return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e);
}

/* ---- listening ---- */

static bool somebody_listens(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    bool yes = !connect(fd, (const struct sockaddr *)address, sizeof *address) || errno == EAGAIN;
    close(fd);
    return yes;
}

static bool make_folder(const char *path, char why[static 256])
{
    char folder[108];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return true;
    *slash = 0;
    if (!mkdir(folder, 0755) || errno == EEXIST)
        return true;
    snprintf(why, 256, "the folder %s cannot be made: %s", folder, strerror(errno));
    return false;
}

static bool bind_private(int fd, const struct sockaddr_un *address)
{
    mode_t old = umask(0177);
    int err = bind(fd, (const struct sockaddr *)address, sizeof *address);
    umask(old);
    return !err;
}

static int open_listener(const char *path, char why[static 256])
{
    struct sockaddr_un address;
    if (!unix_address(path, &address)) {
        snprintf(why, 256, "the control socket's path %.120s is too long", path);
        return -1;
    }
    if (!make_folder(path, why))
        return -1;
    if (somebody_listens(&address)) {
        snprintf(why, 256, "it is running already: %s answers", path);
        return -1;
    }
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || !bind_private(fd, &address) || listen(fd, 16)) {
        snprintf(why, 256, "the control socket %s cannot be opened: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

struct ctl_server *ctl_listen(const char *path, ctl_handler *handler, void *context,
                              char why[static 256])
{
    struct ctl_server *s = calloc(1, sizeof *s);
    if (!s) {
        snprintf(why, 256, "out of memory");
        return NULL;
    }
    *s = (struct ctl_server){.handler = handler, .context = context, .epoll = -1, .again = -1};
    for (size_t i = 0; i < CTL_CLIENTS_MAX; i++)
        s->clients[i].fd = -1;
    s->listener = open_listener(path, why);
    if (s->listener < 0) {
        free(s);
        return NULL;
    }
    snprintf(s->path, sizeof s->path, "%s", path);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->again = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->epoll < 0 || s->again < 0 || watch(s, s->listener, EPOLLIN, KEY_LISTENER) ||
        watch(s, s->again, EPOLLIN, KEY_AGAIN)) {
        snprintf(why, 256, "the control socket cannot be watched: %s", strerror(errno));
        ctl_close(s);
        return NULL;
    }
    return s;
}

int ctl_poll_fd(const struct ctl_server *server)
{
    return server->epoll;
}

static void drop_client(struct client *c)
{
    if (c->fd < 0)
        return;
    close(c->fd); /* which also takes it out of the epoll set */
    pile_free(&c->in);
    pile_free(&c->out);
    *c = (struct client){.fd = -1};
}

void ctl_close(struct ctl_server *server)
{
    if (!server)
        return;
    for (size_t i = 0; i < CTL_CLIENTS_MAX; i++)
        drop_client(&server->clients[i]);
    if (server->listener >= 0) {
        close(server->listener);
        unlink(server->path);
    }
    if (server->epoll >= 0)
        close(server->epoll);
    if (server->again >= 0)
        close(server->again);
    free(server);
}

/* ---- writing ---- */

/* What the client is watched for: no input while a plain call is open, so that it cannot pile up
 * calls; output while something waits. */
static void update_events(struct ctl_server *s, struct client *c)
{
    bool wants_input = !c->eof && (!c->open || c->stream);
    uint32_t events = (wants_input ? (uint32_t)EPOLLIN : 0) | (c->out.len ? (uint32_t)EPOLLOUT : 0);
    if (events == c->events)
        return;
    struct epoll_event e = {.events = events, .data.u32 = (uint32_t)(c - s->clients)};
    c->events = events;
    if (epoll_ctl(s->epoll, EPOLL_CTL_MOD, c->fd, &e))
        drop_client(c);
}

static void flush(struct ctl_server *s, struct client *c)
{
    while (c->out.len) {
        ssize_t n = send(c->fd, c->out.at, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            drop_client(c);
            return;
        }
        pile_drop(&c->out, (size_t)n);
    }
    if (c->eof && !c->open && !c->out.len)
        drop_client(c);
    else
        update_events(s, c);
}

static struct client *find(struct ctl_server *s, struct ctl_client_ref ref)
{
    if (ref.slot >= CTL_CLIENTS_MAX)
        return NULL;
    struct client *c = &s->clients[ref.slot];
    return c->fd >= 0 && c->open && c->serial == ref.serial ? c : NULL;
}

bool ctl_alive(const struct ctl_server *server, struct ctl_client_ref client)
{
    if (client.slot >= CTL_CLIENTS_MAX)
        return false;
    const struct client *c = &server->clients[client.slot];
    return c->fd >= 0 && c->open && c->serial == client.serial;
}

static json_t *internal_error(const char *what)
{
    return json_pack("{s:s, s:{s:s}}", "error", "org.shrike.Internal", "parameters", "what", what);
}

/* Sends one reply; steals it. */
static int answer(struct ctl_server *s, struct ctl_client_ref ref, json_t *reply, bool continues)
{
    struct client *c = find(s, ref);
    if (!c || !reply) {
        json_decref(reply);
        return c ? ERR_MEMORY : ERR_CLOSED;
    }
    int err = frame_write(reply, &c->out);
    json_decref(reply);
    if (err == ERR_LIMIT) {
        json_t *instead = internal_error("the answer is larger than a message may be");
        err = frame_write(instead, &c->out);
        json_decref(instead);
        continues = false;
    }
    if (err || c->out.len > CTL_BACKLOG_MAX) {
        drop_client(c);
        return err ? err : ERR_CLOSED;
    }
    if (!continues || !c->stream) {
        c->open = c->stream = false;
        if (c->in.len && eventfd_write(s->again, 1))
            drop_client(c);
    }
    if (c->fd >= 0)
        flush(s, c);
    return 0;
}

int ctl_reply(struct ctl_server *server, struct ctl_client_ref client, json_t *parameters,
              bool continues)
{
    json_t *reply = json_pack("{s:o}", "parameters", parameters ? parameters : json_object());
    if (reply && continues)
        json_object_set_new(reply, "continues", json_true());
    return answer(server, client, reply, continues);
}

int ctl_error(struct ctl_server *server, struct ctl_client_ref client, const char *error,
              json_t *parameters)
{
    bool whole = !strncmp(error, prefix, sizeof prefix - 1);
    json_t *reply =
        json_pack("{s:o, s:o}", "error", json_sprintf("%s%s", whole ? "" : prefix, error),
                  "parameters", parameters ? parameters : json_object());
    return answer(server, client, reply, false);
}

/* ---- reading ---- */

/* False when it is no call at all: then the connection ends. */
static bool dispatch(struct ctl_server *s, struct client *c, json_t *message)
{
    const char *method = json_string_value(json_object_get(message, "method"));
    json_t *given = json_object_get(message, "parameters");
    if (!method || (given && !json_is_object(given) && !json_is_null(given)))
        return false;
    c->serial = ++s->last_serial;
    c->open = true;
    c->stream = json_is_true(json_object_get(message, "more"));
    struct ctl_client_ref ref = {(uint32_t)(c - s->clients), c->serial};
    if (strncmp(method, prefix, sizeof prefix - 1)) {
        /* the client may have gone while it was answered: nothing to do then */
        return !ctl_error(s, ref, "MethodNotFound",
                          json_pack("{s:s}", "what", "methods begin with org.shrike."));
    }
    json_t *parameters = json_is_object(given) ? json_incref(given) : json_object();
    s->handler(s->context, ref, method + sizeof prefix - 1, parameters, c->stream);
    json_decref(parameters);
    return true;
}

/* Calls that have arrived, as far as they may run now. */
static void run_calls(struct ctl_server *s, struct client *c)
{
    while (c->fd >= 0 && c->in.len && (!c->open || c->stream)) {
        json_t *message;
        size_t used;
        int err = ctl_frame((struct bytes){c->in.at, c->in.len}, &message, &used);
        if (!err && !used)
            break;
        if (!err) {
            pile_drop(&c->in, used);
            bool ok = dispatch(s, c, message);
            json_decref(message);
            if (ok)
                continue;
        }
        drop_client(c);
        return;
    }
    if (c->fd >= 0)
        flush(s, c);
}

static void read_client(struct ctl_server *s, struct client *c)
{
    if (!pile_reserve(&c->in, 4096)) {
        drop_client(c);
        return;
    }
    ssize_t n = recv(c->fd, c->in.at + c->in.len, c->in.room - c->in.len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0 || (n == 0 && c->stream)) {
        drop_client(c);
        return;
    }
    c->eof = n == 0;
    c->in.len += (size_t)n;
    run_calls(s, c);
}

static bool may_connect(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static void accept_client(struct ctl_server *s)
{
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    uint32_t slot = 0;
    while (slot < CTL_CLIENTS_MAX && s->clients[slot].fd >= 0)
        slot++;
    if (slot == CTL_CLIENTS_MAX || !may_connect(fd) || watch(s, fd, EPOLLIN, slot)) {
        close(fd);
        return;
    }
    s->clients[slot] = (struct client){.fd = fd, .events = EPOLLIN};
}

static void serve_client(struct ctl_server *s, struct client *c, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLOUT)) {
        if (events & EPOLLOUT)
            flush(s, c);
        if (events & EPOLLIN && c->fd >= 0)
            read_client(s, c);
    } else if (events & (EPOLLHUP | EPOLLERR)) {
        drop_client(c);
    }
}

static void serve_again(struct ctl_server *s)
{
    eventfd_t n;
    if (eventfd_read(s->again, &n))
        return;
    for (size_t i = 0; i < CTL_CLIENTS_MAX; i++) {
        if (s->clients[i].fd >= 0)
            run_calls(s, &s->clients[i]);
    }
}

void ctl_serve(struct ctl_server *server)
{
    struct epoll_event events[CTL_CLIENTS_MAX + 2];
    int n = epoll_wait(server->epoll, events, ARRAY_LEN(events), 0);
    for (int i = 0; i < n; i++) {
        uint32_t key = events[i].data.u32;
        if (key == KEY_LISTENER)
            accept_client(server);
        else if (key == KEY_AGAIN)
            serve_again(server);
        else if (server->clients[key].fd >= 0)
            serve_client(server, &server->clients[key], events[i].events);
    }
}
