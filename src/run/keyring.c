/* From configured paths to secrets in memory, before the sandbox closes. */
#include "run/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static uint64_t identity_key(const struct keyring *ring, const struct identity *id)
{
    uint8_t flat[1 + IDENTITY_MAX];
    size_t len = identity_flat(id, flat);
    return map_hash_bytes(&ring->by_identity, flat, len);
}

static int load_psk(struct keyring *ring, const struct conf_peer *peer, struct ring_peer *out,
                    struct conf_faults *faults)
{
    size_t len = 0;
    int result = conf_psk_read(ring->conf, peer, out->psk, &len, faults);
    out->psk_len = result == 0 ? (uint16_t)len : 0;
    return result == ERR_NOT_FOUND ? 0 : result;
}

static int load_peers(struct keyring *ring, struct conf_faults *faults)
{
    for (size_t i = 0; i < ring->conf->peer_count; i++) {
        const struct conf_peer *peer = &ring->conf->peers[i];
        struct identity id; /* as ike asks for it */
        cert_identity_canonical(&peer->id, &id);
        int result = load_psk(ring, peer, &ring->peers[i], faults);
        if (result)
            return result;
        if (peer->id.type == IDENTITY_NONE)
            ring->anyone = &ring->peers[i];
        else if ((result = map_put(&ring->by_identity, identity_key(ring, &id), &ring->peers[i])) &&
                 result != ERR_EXISTS)
            return result;
    }
    return 0;
}

static int say(struct conf_faults *faults, const struct conf *conf, const char *what,
               const char *next)
{
    struct conf_fault *fault = &faults->at[0];
    if (faults->count == 0) {
        memset(fault, 0, sizeof(*fault));
        snprintf(fault->file, sizeof(fault->file), "%s", conf->file);
        snprintf(fault->what, sizeof(fault->what), "%s", what);
        snprintf(fault->next, sizeof(fault->next), "%s", next);
        faults->count = 1;
    }
    return ERR_CONFIG;
}

static int load_key(struct keyring *ring, struct conf_faults *faults)
{
    struct conf_credentials *c = &ring->credentials;
    if (!ring->conf->cert[0] && !ring->conf->key[0])
        return 0;
    int result = conf_credentials_read(ring->conf, CONF_WANT_CERTS | CONF_WANT_KEY, c, faults);
    if (result)
        return result;
    if (!c->key)
        return say(faults, ring->conf, "there is no private key for the certificate",
                   "name its file with key =");
    if (c->chain_count && !cert_matches_key(c->chain[0], c->key))
        return say(faults, ring->conf, "the private key does not belong to the certificate",
                   "give the key that was made with this certificate");
    return 0;
}

int ring_load(struct keyring *ring, const struct conf *conf, struct conf_faults *faults)
{
    size_t slots = conf->gateway ? conf->peer_count : 1;
    memset(ring, 0, sizeof(*ring));
    ring->conf = conf;
    ring->peers = calloc(slots ? slots : 1, sizeof(*ring->peers));
    ring->count = slots;
    if (!ring->peers || map_init(&ring->by_identity, slots + 1, &random_system))
        return say(faults, conf, "the clients do not fit into memory", "");
    /* Not into swap, as far as the limit goes: with ten thousand clients it may not. */
    (void)mlock(ring->peers, slots * sizeof(*ring->peers));
    int result =
        conf->gateway ? load_peers(ring, faults) : load_psk(ring, NULL, &ring->peers[0], faults);
    if (result == 0)
        result = load_key(ring, faults);
    return result ? say(faults, conf, "the secrets cannot be read", "") : 0;
}

void ring_free(struct keyring *ring)
{
    if (ring->peers) {
        secret_wipe(ring->peers, ring->count * sizeof(*ring->peers));
        free(ring->peers);
    }
    map_free(&ring->by_identity);
    conf_credentials_free(&ring->credentials);
    memset(ring, 0, sizeof(*ring));
}

const struct ring_peer *ring_find(const struct keyring *ring, const struct identity *id)
{
    if (!ring->conf->gateway)
        return &ring->peers[0];
    const struct ring_peer *peer = map_get(&ring->by_identity, identity_key(ring, id));
    return peer ? peer : ring->anyone;
}

struct bytes ring_psk(const struct keyring *ring, const struct ring_peer *peer)
{
    (void)ring;
    return peer ? (struct bytes){peer->psk, peer->psk_len} : (struct bytes){NULL, 0};
}

const struct conf_peer *ring_conf(const struct keyring *ring, const struct ring_peer *peer)
{
    return peer && ring->conf->gateway ? &ring->conf->peers[peer - ring->peers] : NULL;
}
