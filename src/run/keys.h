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

#endif
