#include "crypto/aesmac.h"
#include "crypto/openssl.h"

#include <pthread.h>
#include <string.h>

#include <openssl/evp.h>

enum { CHUNK = 256 };

static EVP_CIPHER *aes;
static pthread_once_t aes_once = PTHREAD_ONCE_INIT;

static void fetch_aes(void)
{
    aes = EVP_CIPHER_fetch(NULL, "AES-128-CBC", NULL);
}

void *aesmac_context_create(void)
{
    pthread_once(&aes_once, fetch_aes);
    return aes == NULL ? NULL : EVP_CIPHER_CTX_new();
}

void aesmac_context_free(void *context)
{
    EVP_CIPHER_CTX_free(context);
}

static bool key_up(EVP_CIPHER_CTX *ctx, const uint8_t key[static 16])
{
    static const uint8_t zero[16];

    return EVP_EncryptInit_ex2(ctx, aes, key, zero, NULL) == 1 &&
           EVP_CIPHER_CTX_set_padding(ctx, 0) == 1;
}

/* One block under a fresh chain: plain AES. */
static bool encrypt_one(EVP_CIPHER_CTX *ctx, const uint8_t key[static 16],
                        const uint8_t in[static 16], uint8_t out[static 16])
{
    int n;

    return key_up(ctx, key) && EVP_EncryptUpdate(ctx, out, &n, in, 16) == 1 && n == 16;
}

/* Multiplication by x in GF(2^128), most significant octet first; no branch on the secret. */
static void twice(const uint8_t in[static 16], uint8_t out[static 16])
{
    uint8_t over = (uint8_t)(0 - (in[0] >> 7));

    for (size_t i = 0; i < 15; i++)
        out[i] = (uint8_t)(in[i] << 1 | in[i + 1] >> 7);
    out[15] = (uint8_t)(in[15] << 1 ^ (over & 0x87));
}

static bool derive_cmac(EVP_CIPHER_CTX *ctx, struct aesmac_key *key, const uint8_t *octets)
{
    static const uint8_t zero[16];
    uint8_t l[16];
    bool ok = encrypt_one(ctx, octets, zero, l);

    memcpy(key->chain, octets, 16);
    twice(l, key->whole);
    twice(key->whole, key->cut);
    secret_wipe(l, sizeof(l));
    return ok;
}

static bool derive_xcbc(EVP_CIPHER_CTX *ctx, struct aesmac_key *key, const uint8_t *octets)
{
    uint8_t block[16], *const to[] = {key->chain, key->whole, key->cut};
    bool ok = true;

    for (uint8_t i = 0; ok && i < ARRAY_LEN(to); i++) {
        memset(block, i + 1, sizeof(block));
        ok = encrypt_one(ctx, octets, block, to[i]);
    }
    return ok;
}

int aesmac_key_init(struct aesmac_key *key, enum aesmac_kind kind, const uint8_t octets[static 16])
{
    EVP_CIPHER_CTX *ctx = aesmac_context_create();
    bool ok;

    if (ctx == NULL)
        return ERR_MEMORY;
    ok = kind == AESMAC_CMAC ? derive_cmac(ctx, key, octets) : derive_xcbc(ctx, key, octets);
    EVP_CIPHER_CTX_free(ctx);
    if (!ok) {
        ERR_clear_error();
        secret_wipe(key, sizeof(*key));
    }
    return ok ? 0 : ERR_CRYPTO;
}

void aesmac_start(struct aesmac *mac, void *context, const struct aesmac_key *key)
{
    *mac = (struct aesmac){.context = context, .key = key};
    mac->failed = context == NULL || !key_up(context, key->chain);
}

/* Whole blocks into the chain; what comes out is of no interest before the last one. */
static void chain(struct aesmac *mac, const uint8_t *data, size_t len)
{
    uint8_t out[CHUNK];
    int n;

    for (size_t done = 0; done < len && !mac->failed; done += (size_t)n) {
        size_t take = len - done < CHUNK ? len - done : CHUNK;

        mac->failed =
            EVP_EncryptUpdate(mac->context, out, &n, data + done, (int)take) != 1 || n != (int)take;
    }
    secret_wipe(out, sizeof(out));
}

/* The last block is held back, be it complete or not: it is closed in another way. */
void aesmac_update(struct aesmac *mac, const void *data, size_t len)
{
    const uint8_t *at = data;

    if (len > 16u - mac->have) {
        size_t fill = 16u - mac->have, blocks;

        if (mac->have > 0) {
            memcpy(mac->block + mac->have, at, fill);
            chain(mac, mac->block, 16);
            at += fill;
            len -= fill;
            mac->have = 0;
        }
        blocks = (len - 1) / 16 * 16;
        chain(mac, at, blocks);
        at += blocks;
        len -= blocks;
    }
    if (len > 0)
        memcpy(mac->block + mac->have, at, len);
    mac->have += (uint8_t)len;
}

bool aesmac_finish(struct aesmac *mac, uint8_t out[static AESMAC_LEN])
{
    const uint8_t *add = mac->have == 16 ? mac->key->whole : mac->key->cut;
    int n;

    if (mac->have < 16) {
        memset(mac->block + mac->have, 0, 16u - mac->have);
        mac->block[mac->have] = 0x80;
    }
    for (size_t i = 0; i < 16; i++)
        mac->block[i] ^= add[i];
    mac->failed = mac->failed || EVP_EncryptUpdate(mac->context, out, &n, mac->block, 16) != 1;
    secret_wipe(mac->block, sizeof(mac->block));
    if (mac->failed)
        ERR_clear_error();
    return !mac->failed;
}

static int once(enum aesmac_kind kind, const uint8_t key_octets[static 16],
                const struct bytes *parts, size_t count, uint8_t *out)
{
    struct aesmac_key key;
    struct aesmac mac;
    void *context = aesmac_context_create();
    int rc = context == NULL ? ERR_MEMORY : aesmac_key_init(&key, kind, key_octets);

    if (rc == 0) {
        aesmac_start(&mac, context, &key);
        for (size_t i = 0; i < count; i++)
            aesmac_update(&mac, parts[i].at, parts[i].len);
        rc = aesmac_finish(&mac, out) ? 0 : ERR_CRYPTO;
    }
    aesmac_context_free(context);
    secret_wipe(&key, sizeof(key));
    return rc;
}

/* A key of another length becomes one of 16 octets: XCBC pads a shorter one with zeros, everything
 * else goes through the MAC under a key of zeros. */
int aesmac_prf(enum aesmac_kind kind, struct bytes key, const struct bytes *parts, size_t count,
               uint8_t out[static AESMAC_LEN])
{
    static const uint8_t zero[16];
    uint8_t fixed[16] = {0};
    int rc = 0;

    if (key.len == 16 || (key.len < 16 && kind == AESMAC_XCBC)) {
        if (key.len > 0)
            memcpy(fixed, key.at, key.len);
    } else {
        rc = once(kind, zero, &key, 1, fixed);
    }
    if (rc == 0)
        rc = once(kind, fixed, parts, count, out);
    secret_wipe(fixed, sizeof(fixed));
    return rc;
}
