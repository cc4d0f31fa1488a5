/* The secrets of the keys process, as they were configured. */
#ifndef SHRIKE_RUN_KEYS_H
#define SHRIKE_RUN_KEYS_H

#include "run/internal.h"
#include "store/store.h"

/* One peer with its shared secret; psk_len 0: it proves itself by certificate. */
struct ring_peer {
    uint16_t psk_len;
    uint8_t psk[CONF_PSK_MAX];
};
struct keyring {
    const struct conf *conf;
    struct conf_credentials credentials; /* our private key; its certificate to compare with */
    struct ring_peer *peers;             /* gateway: one per conf_peer; client: one */
    size_t count;
    struct map by_identity;   /* gateway */
    struct ring_peer *anyone; /* the peer without an identity of its own, or NULL */
};
/* Reads what the configuration names; ERR_CONFIG and faults. */
int ring_load(struct keyring *ring, const struct conf *conf, struct conf_faults *faults) MUST_USE;
void ring_free(struct keyring *ring); /* wipes */
/* Who that is; NULL = nobody we know. A client knows one: its gateway. */
const struct ring_peer *ring_find(const struct keyring *ring, const struct identity *id);
/* Empty for NULL and for peers without one. */
struct bytes ring_psk(const struct keyring *ring, const struct ring_peer *peer);
const struct conf_peer *ring_conf(const struct keyring *ring, const struct ring_peer *peer);

/* ---- handover.c: a keys process hands on what it knows to its successor
 *
 * The leases, and every shared secret: over a pair that nobody else has, because only the two
 * together can tell whose secret has changed. The successor compares and forgets. */
struct handover {
    bool known;            /* there was a predecessor */
    struct map verdicts;   /* by identity: has its secret changed? */
    struct ring_peer rest; /* the former secret of those without one of their own */
    struct ipc_taken_over sum;
};
/* All of it, waiting for room a second at a time; ERR_CLOSED, ERR_AGAIN. */
int handover_send(int fd, const struct keyring *ring, const struct lease_book *book) MUST_USE;
/* One message of it. 1: that was the last; ERR_SYNTAX, ERR_STATE, ERR_MEMORY. */
int handover_take(struct handover *h, const struct ipc_message *message, const struct keyring *ring,
                  struct lease_book *book) MUST_USE;
/* Did this identity have the same shared secret before? */
bool handover_same_secret(const struct handover *h, const struct keyring *ring,
                          const struct identity *id);
void handover_free(struct handover *h); /* wipes */

#endif
