#include "crypto/hmac.h"
#include "crypto/crypto.h"

#include <string.h>

size_t hash_len(enum hash_kind kind)
{
    static const uint8_t len[] = {0, 20, 28, 32, 48, 64};

    return len[kind];
}

static size_t block_len(enum hash_kind kind)
{
    return kind >= HASH_SHA384 ? 128 : 64;
}

void hash_start(struct hash *h, enum hash_kind kind)
{
    h->kind = kind;
    if (kind == HASH_SHA1)
        SHA1_Init(&h->sha1);
    else if (kind == HASH_SHA224)
        SHA224_Init(&h->sha256);
    else if (kind == HASH_SHA256)
        SHA256_Init(&h->sha256);
    else if (kind == HASH_SHA384)
        SHA384_Init(&h->sha512);
    else
        SHA512_Init(&h->sha512);
}

void hash_update(struct hash *h, const void *data, size_t len)
{
    if (len == 0)
        return;
    if (h->kind == HASH_SHA1)
        SHA1_Update(&h->sha1, data, len);
    else if (h->kind <= HASH_SHA256)
        SHA256_Update(&h->sha256, data, len);
    else
        SHA512_Update(&h->sha512, data, len);
}

static void digest(struct hash *h, uint8_t *out)
{
    if (h->kind == HASH_SHA1)
        SHA1_Final(out, &h->sha1);
    else if (h->kind <= HASH_SHA256)
        SHA256_Final(out, &h->sha256);
    else
        SHA512_Final(out, &h->sha512);
}

void hash_finish(struct hash *h, uint8_t *out)
{
    digest(h, out);
    secret_wipe(h, sizeof(*h));
}

/* The chaining value of a context that has taken whole blocks only. */
static void state_save(const struct hash *h, uint8_t to[static HASH_STATE])
{
    memset(to, 0, HASH_STATE);
    if (h->kind == HASH_SHA1) {
        uint32_t v[5] = {h->sha1.h0, h->sha1.h1, h->sha1.h2, h->sha1.h3, h->sha1.h4};

        memcpy(to, v, sizeof(v));
        secret_wipe(v, sizeof(v));
    } else if (h->kind <= HASH_SHA256) {
        memcpy(to, h->sha256.h, sizeof(h->sha256.h));
    } else {
        memcpy(to, h->sha512.h, sizeof(h->sha512.h));
    }
}

/* A context as it was after one block, from its chaining value. */
static void state_load(struct hash *h, enum hash_kind kind, const uint8_t from[static HASH_STATE])
{
    hash_start(h, kind);
    if (kind == HASH_SHA1) {
        uint32_t v[5];

        memcpy(v, from, sizeof(v));
        h->sha1.h0 = v[0], h->sha1.h1 = v[1], h->sha1.h2 = v[2];
        h->sha1.h3 = v[3], h->sha1.h4 = v[4];
        h->sha1.Nl = 64 * 8;
        secret_wipe(v, sizeof(v));
    } else if (kind <= HASH_SHA256) {
        memcpy(h->sha256.h, from, sizeof(h->sha256.h));
        h->sha256.Nl = 64 * 8;
    } else {
        memcpy(h->sha512.h, from, sizeof(h->sha512.h));
        h->sha512.Nl = 128 * 8;
    }
}

enum hash_kind hash_of_prf(uint16_t prf_id)
{
    switch (prf_id) {
    case 2:
        return HASH_SHA1;
    case 5:
        return HASH_SHA256;
    case 6:
        return HASH_SHA384;
    case 7:
        return HASH_SHA512;
    default:
        return HASH_NONE;
    }
}

enum hash_kind hash_of_integ(uint16_t integ_id)
{
    switch (integ_id) {
    case 2:
        return HASH_SHA1;
    case 12:
        return HASH_SHA256;
    case 13:
        return HASH_SHA384;
    case 14:
        return HASH_SHA512;
    default:
        return HASH_NONE;
    }
}

void hmac_key_init(struct hmac_key *key, enum hash_kind kind, struct bytes octets)
{
    uint8_t pad[128] = {0};
    struct hash h;
    size_t block = block_len(kind);

    if (octets.len > block) {
        hash_start(&h, kind);
        hash_update(&h, octets.at, octets.len);
        digest(&h, pad);
    } else if (octets.len > 0) {
        memcpy(pad, octets.at, octets.len);
    }
    for (size_t i = 0; i < block; i++)
        pad[i] ^= 0x36;
    hash_start(&h, kind);
    hash_update(&h, pad, block);
    state_save(&h, key->inner);
    for (size_t i = 0; i < block; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    hash_start(&h, kind);
    hash_update(&h, pad, block);
    state_save(&h, key->outer);
    secret_wipe(pad, sizeof(pad));
    secret_wipe(&h, sizeof(h));
}

void hmac_start(struct hash *h, enum hash_kind kind, const struct hmac_key *key)
{
    state_load(h, kind, key->inner);
}

void hmac_finish(struct hash *h, const struct hmac_key *key, uint8_t *out)
{
    uint8_t inner[HASH_MAX];
    enum hash_kind kind = h->kind;

    digest(h, inner);
    state_load(h, kind, key->outer);
    hash_update(h, inner, hash_len(kind));
    hash_finish(h, out);
    secret_wipe(inner, sizeof(inner));
}
