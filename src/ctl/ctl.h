/* ctl: the control protocol: JSON objects over a UNIX stream socket, Varlink framing (an object,
 * then a zero octet).
 *
 * Call:   {"method": "org.shrike.Status", "parameters": {...}, "more": true}
 * Reply:  {"parameters": {...}, "continues": true}  or  {"error": "org.shrike.NotConnected",
 * "parameters": {"what":..., "next":...}} Methods: Status, Up (waits: events stream until
 * established or failed), Down, Rekey, Counters, Version, Watch. A message is at most
 * CTL_MESSAGE_MAX octets; more, or bytes that are no JSON object, end the connection. The server
 * never blocks on a client: what does not fit the socket is kept up to CTL_BACKLOG_MAX, then the
 * connection ends. Who may connect is decided by the socket's mode (0600, its folder 0755) and
 * SO_PEERCRED.
 */
#ifndef SHRIKE_CTL_H
#define SHRIKE_CTL_H

#include <jansson.h>
#include "base/base.h"

enum { CTL_MESSAGE_MAX = 1 << 20, CTL_BACKLOG_MAX = 1 << 22, CTL_CLIENTS_MAX = 32 };

struct ctl_server;
struct ctl_client_ref { /* a connection of the server, by slot and serial so that a stale one is
                           noticed */
    uint32_t slot;
    uint32_t serial;
};
/* The call is borrowed. Reply with ctl_reply() now or later; parameters never NULL (an empty
 * object). */
typedef void ctl_handler(void *context, struct ctl_client_ref client, const char *method,
                         json_t *parameters, bool more);

struct ctl_server *ctl_listen(const char *path, ctl_handler *handler, void *context,
                              char why[static 256]);
void ctl_close(struct ctl_server *server); /* removes the socket file */
int ctl_poll_fd(
    const struct ctl_server *server); /* an epoll descriptor: readable = call ctl_serve() */
void ctl_serve(struct ctl_server *server);
/* Steals `parameters`. continues: more replies to this call will follow. ERR_CLOSED when the client
 * has gone. */
int ctl_reply(struct ctl_server *server, struct ctl_client_ref client, json_t *parameters,
              bool continues) MUST_USE;
int ctl_error(struct ctl_server *server, struct ctl_client_ref client, const char *error,
              json_t *parameters) MUST_USE;
bool ctl_alive(const struct ctl_server *server, struct ctl_client_ref client);

/* Client side, blocking with a time limit per message. */
struct ctl_call;
struct ctl_call *ctl_connect(const char *path, int *err);
int ctl_send(struct ctl_call *call, const char *method, json_t *parameters,
             bool more) MUST_USE; /* steals parameters */
/* The next reply: *parameters is new, *error is NULL or a new string. timeout_ms < 0: no limit. */
int ctl_receive(struct ctl_call *call, int timeout_ms, json_t **parameters, char **error,
                bool *continues) MUST_USE;
void ctl_hang_up(struct ctl_call *call);

/* Framing alone, for fuzzing and both sides: looks for one whole message in bytes; *used = octets
 * consumed (0 = more are needed). */
int ctl_frame(struct bytes bytes, json_t **message, size_t *used) MUST_USE;

#endif
