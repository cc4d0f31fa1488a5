/* ctl: the control protocol: JSON objects over a UNIX stream socket, Varlink framing (an object,
 * then a zero octet).
 *
 * Call:   {"method": "org.shrike.Status", "parameters": {...}, "more": true}
 * Reply:  {"parameters": {...}, "continues": true}
 * Error:  {"error": "org.shrike.NotConnected", "parameters": {"what": "...", "next": "..."}}
 *
 * A message is at most CTL_MESSAGE_MAX octets; more, or bytes that are no JSON object, end the
 * connection. The server never blocks on a client: what does not fit the socket is kept up to
 * CTL_BACKLOG_MAX, then the connection ends. Calls on one connection are answered in order; a call
 * while a stream ("more") is open on the connection ends that stream. Who may connect is decided by
 * the socket's mode (0600, its folder 0755) and SO_PEERCRED. The socket is RUN_DIR/NAME.sock.
 *
 * Times: "since" and "time" are seconds since 1970 (real), "*_ms" milliseconds (real), "*_s" whole
 * seconds. SPIs are texts: "0x" and 8 digits (ESP) or 16 digits (IKE). Addresses are texts; an
 * endpoint is "192.0.2.1:4500". A field that has no value is absent, never null or "". Readers
 * ignore fields they do not know. Tunnel ids are integers (JSON, 63 bit).
 *
 * Methods (all with the prefix org.shrike.; unknown parameters are ignored):
 *
 *   Version {} -> {"version": 1, "program": "0.1.0", "role": "gateway"|"client", "name", "pid"}
 *
 *   Status {"limit": 256, "after": id} -> one object, with at most `limit` tunnels (default and
 * most 256), those whose id is over `after`, in ascending order: a reader asks on until
 *     "more_tunnels" is absent:
 *     {"version": 1, "program", "role": "gateway"|"client", "name", "pid", "since", "file",
 *      "config_read": when that file was read last,
 *      "state": "starting"|"connecting"|"established"|"serving"|"stopping",
 *                    (client: connecting until established; gateway: serving)
 *      "listen": ["0.0.0.0:500", ...],
 *      "tunnels": [TUNNEL...], "tunnel_count": all there are, "more_tunnels": true,
 *      "counters": {"esp": {name: integer of ESP_COUNTER_LIST},
 *                   "ike": {name: integer of IKE_COUNTER_LIST}},
 *      "processes": [{"name": "monitor"|"keys"|"ike"|"esp", "pid", "uid", "restarts"}],
 *      "interface", "mtu", "workers", "dns": ["9.9.9.9"...],
 *      "pools": [{"prefix": "10.99.0.0/16", "used": 3, "size": 65533}],   (gateway)
 *      "flood": {"half_open": n, "cookies": are they asked of all, "puzzle_bits": 0 = none},
 * (gateway) "last_error": EVENT,                              (client: the last failure, if any)
 *      "refused": [REFUSAL...],                          (gateway: the last 16, newest first)
 *      "warnings": ["a sentence"...]}
 *   TUNNEL:
 *     {"id", "peer": "alice" (its [client] name, if any), "peer_id": "alice@example.com",
 *      "own_id", "state": "established" (ike_state_name in lower case, '-' for '_'),
 *      "initiator": bool, "local": endpoint, "remote": endpoint, "ip4", "ip6",
 *      "suite": "aes256gcm16-prfsha384-x25519", "nat": "none"|"local"|"remote"|"both", "udp": bool,
 *      "spi_i", "spi_r", "since", "age_s", "idle_s", "rekey_in_s",
 *      "rekeys": {"ike": n, "child": n}, "retransmissions": n,
 *      "established_ms": what the handshake took, "messages": datagrams it took,
 *      "children": [{"spi_in", "spi_out", "protocol": "esp"|"ah", "suite": "aes256gcm16-esn",
 *                    "ke": "x25519",
 *                    "local_ts": ["10.0.0.0/8"...], "remote_ts": [...], "active": bool, "age_s",
 *                    "in_bytes", "in_packets", "out_bytes", "out_packets",
 *                    "drops": {"replay", "integrity", "source"}}]}
 *
 *   Counters {} -> {"version": 1, "esp": {...}, "ike": {...}} as in Status.
 *
 *   Explain {"who": "alice"} -> {"version": 1, "program", "role", "name", "pid",
 *     "refusals": [REFUSAL...], "nameless": how many never said who they are}. Newest first; who
 *     (left out: all) is an identity, its part before the @, the name of a [client] section or an
 *     address. A client's own failed attempts are told in the same form.
 *
 *   Up {} (client) with more: EVENTs with "continues" until one of kind "established" or "failed",
 *     which is the last. When the tunnel stands already, the one reply is its "established" with
 *     "already": true. "established" carries "tunnel_status": TUNNEL. When a connection attempt has
 *     failed and the next is being waited for, Up starts the next one at once.
 *
 *   Down {"tunnel": id} -> {"tunnels": n deleted}. Without "tunnel": every peer is told, the reply
 *     is sent, the program ends; the connection closes when it has cleaned up.
 *
 *   Rekey {"what": "ike"|"child"|"all", "tunnel": id} -> {"started": n}. Without "tunnel": all.
 *     The ends are seen by Watch.
 *
 *   Reload {} -> when all has been done:
 *     {"version": 1, "name", "file", "changed": [{"section", "option", "before", "after"}...],
 *      "clients": {"added": [name...], "added_count": n, the same for "removed" and "changed"},
 *      "secrets": shared secrets that are another, "certificate": is ours another?,
 *      "authorities": are they other ones?, "stayed": tunnels, "ended": tunnels,
 *      "ended_tunnels": [EVENT...], "warnings": [a line...], "elapsed_ms"}
 *     Errors: Refused (nothing has changed; "faults": [a line...] and "configuration": true when it
 *     is the file's), InProgress, Broken (keys and ike are made anew with the new configuration).
 *
 *   Watch {} with more: {"event": "watching"} at once, then every EVENT as it happens.
 *
 *   EVENT:
 *     {"event": "established"|"failed"|"down"|"rekeyed-ike"|"rekeyed-child"|"child-up"|
 *               "child-down"|"refused"|"retransmit", "time", "tunnel": id, "peer_id",
 *      "remote": endpoint, "error": err_word(), "notify": "NO_PROPOSAL_CHOSEN", "text": a sentence,
 *      "elapsed_ms", "messages"}
 *
 *   REFUSAL: an EVENT, "time" that of the last one, with "first", "count": so often since then,
 *     "client": the name of its [client] section, "step": "IKE_SA_INIT"|"IKE_AUTH", "doing": the
 *     failing step in words, "reason": "algorithms"|"identity"|"proof"|"certificate"|"address"|
 *     "selectors"|"unfinished"|"full"|"syntax"|"other" as in the counters refused_*, "offered" and
 *     "accepted" (lists), "cause", "fix", "closest": the configured identity most like the unknown.
 *
 * Errors: org.shrike.MethodNotFound, InvalidParameter ("parameter" names it), NotFound (no such
 * tunnel), NotConnected, WrongRole, Internal; each with "what" and perhaps "next".
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
/* The call is borrowed; method is without its prefix org.shrike. Reply with ctl_reply() now or
 * later; parameters never NULL (an empty object). */
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
/* error: with or without the prefix org.shrike. Steals `parameters`. */
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
