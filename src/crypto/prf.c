#include "crypto/aesmac.h"
#include "crypto/crypto.h"
#include "crypto/hmac.h"

#include <string.h>

enum { PRF_SEEDS_MAX = 6 };

static void update_parts(struct hash *h, const struct bytes *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hash_update(h, parts[i].at, parts[i].len);
}

void hmac_parts(enum hash_kind kind, struct bytes key, const struct bytes *parts, size_t count,
                uint8_t *out)
{
    struct hmac_key pads;
    struct hash h;

    hmac_key_init(&pads, kind, key);
    hmac_start(&h, kind, &pads);
    update_parts(&h, parts, count);
    hmac_finish(&h, &pads, out);
    secret_wipe(&pads, sizeof(pads));
}

/* T1 = prf(K, S | 1), Tn = prf(K, Tn-1 | S | n): RFC 7296 section 2.13. */
int hmac_expand(enum hash_kind kind, struct bytes key, const struct bytes *seed, size_t count,
                uint8_t *out, size_t out_len)
{
    size_t len = hash_len(kind), done = 0;
    struct hmac_key pads;
    struct hash h;
    uint8_t block[HASH_MAX];

    if (out_len > 255 * len)
        return ERR_ARGUMENT;
    hmac_key_init(&pads, kind, key);
    for (uint8_t n = 1; done < out_len; n++) {
        size_t take = out_len - done < len ? out_len - done : len;

        hmac_start(&h, kind, &pads);
        if (n > 1)
            hash_update(&h, block, len);
        update_parts(&h, seed, count);
        hash_update(&h, &n, 1);
        hmac_finish(&h, &pads, block);
        memcpy(out + done, block, take);
        done += take;
    }
    secret_wipe(block, sizeof(block));
    secret_wipe(&pads, sizeof(pads));
    return 0;
}

static bool is_aes(const struct prf_alg *alg)
{
    return alg->id == 4 || alg->id == 8;
}

static enum aesmac_kind aes_kind(const struct prf_alg *alg)
{
    return alg->id == 8 ? AESMAC_CMAC : AESMAC_XCBC;
}

/* prf+ over AES: as in hmac_expand(). */
static int aes_expand(enum aesmac_kind kind, struct bytes key, const struct bytes *seed,
                      size_t count, uint8_t *out, size_t out_len)
{
    struct bytes parts[2 + PRF_SEEDS_MAX];
    uint8_t block[AESMAC_LEN];
    int rc = 0;

    if (out_len > 255u * AESMAC_LEN || count > PRF_SEEDS_MAX)
        return ERR_ARGUMENT;
    for (size_t i = 0; i < count; i++)
        parts[1 + i] = seed[i];
    parts[0] = (struct bytes){block, 0};
    for (uint8_t n = 1; rc == 0 && out_len > 0; n++) {
        size_t take = out_len < AESMAC_LEN ? out_len : AESMAC_LEN;

        parts[1 + count] = (struct bytes){&n, 1};
        rc = aesmac_prf(kind, key, parts, count + 2, block);
        parts[0].len = AESMAC_LEN;
        memcpy(out, block, take);
        out += take;
        out_len -= take;
    }
    secret_wipe(block, sizeof(block));
    return rc;
}

int prf(const struct prf_alg *alg, struct bytes key, const struct bytes *parts, size_t count,
        uint8_t *out)
{
    enum hash_kind kind = hash_of_prf(alg->id);

    if (is_aes(alg))
        return aesmac_prf(aes_kind(alg), key, parts, count, out);
    if (kind == HASH_NONE)
        return ERR_UNSUPPORTED;
    hmac_parts(kind, key, parts, count, out);
    return 0;
}

int prf_plus(const struct prf_alg *alg, struct bytes key, const struct bytes *seed, size_t count,
             uint8_t *out, size_t out_len)
{
    enum hash_kind kind = hash_of_prf(alg->id);

    if (is_aes(alg))
        return aes_expand(aes_kind(alg), key, seed, count, out, out_len);
    return kind == HASH_NONE ? ERR_UNSUPPORTED : hmac_expand(kind, key, seed, count, out, out_len);
}

void hash_sha1(const struct bytes *parts, size_t count, uint8_t out[static 20])
{
    struct hash h;

    hash_start(&h, HASH_SHA1);
    update_parts(&h, parts, count);
    hash_finish(&h, out);
}

void hash_sha256(const struct bytes *parts, size_t count, uint8_t out[static 32])
{
    struct hash h;

    hash_start(&h, HASH_SHA256);
    update_parts(&h, parts, count);
    hash_finish(&h, out);
}
