/* What a client may send to the control socket: framing alone, then a whole server. */
#include "ctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ctl_server *server;
static char path[64];
static struct ctl_client_ref later;

static void handler(void *context, struct ctl_client_ref client, const char *method,
                    json_t *parameters, bool more)
{
    (void)context;
    if (!json_is_object(parameters))
        abort();
    if (!strcmp(method, "Later") || more)
        later = client; /* answered, or not, when the next call comes */
    else if (!strcmp(method, "Down"))
        (void)!ctl_error(server, client, "NotFound", NULL);
    else
        (void)!ctl_reply(server, client, json_incref(parameters), false);
    if (!strcmp(method, "Tell"))
        (void)!ctl_reply(server, later, NULL, true);
}

static void close_server(void)
{
    ctl_close(server);
}

static void open_server(void)
{
    char why[256];
    snprintf(path, sizeof path, "/tmp/shrike-fuzz-ctl-%d.sock", (int)getpid());
    server = ctl_listen(path, handler, NULL, why);
    if (!server) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    atexit(close_server);
}

static void frames(struct bytes all)
{
    while (all.len) {
        json_t *message;
        size_t used;
        int err = ctl_frame(all, &message, &used);
        if (!err && !used != !message)
            abort();
        json_decref(message);
        if (err || !used)
            return;
        if (used > all.len)
            abort();
        all.at += used;
        all.len -= used;
    }
}

static void converse(struct bytes all)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a))
        abort();
    char sink[4096];
    ctl_serve(server);
    for (size_t at = 0, part = 1; at < all.len; part = part * 3 + 1) {
        size_t n = all.len - at < part ? all.len - at : part;
        ssize_t sent = send(fd, all.at + at, n, MSG_NOSIGNAL);
        ctl_serve(server);
        if (recv(fd, sink, sizeof sink, 0) == 0 || sent <= 0)
            break;
        at += (size_t)sent;
    }
    ctl_serve(server);
    close(fd);
    ctl_serve(server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!server)
        open_server();
    frames((struct bytes){data, size});
    converse((struct bytes){data, size});
    return 0;
}
