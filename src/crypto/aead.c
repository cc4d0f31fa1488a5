/* The face of the keyed ciphers: sizes, keys, and which back end does the work. */
#include "crypto/aead_form.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct aead) == 48, "the head of a keyed cipher");

static bool portable;
static _Atomic uint64_t serials;

void aead_force_portable(bool on)
{
    portable = on;
}

/* By IANA number; with one cipher for all sizes of key, or three. */
static const struct {
    uint8_t small, middle, large;
} by_number[] = {
    [3] = {AEAD_3DES_CBC, AEAD_3DES_CBC, AEAD_3DES_CBC},
    [7] = {AEAD_BLOWFISH128_CBC, AEAD_BLOWFISH192_CBC, AEAD_BLOWFISH256_CBC},
    [ENCR_NULL] = {AEAD_NULL, AEAD_NULL, AEAD_NULL},
    [12] = {AEAD_AES128_CBC, AEAD_AES192_CBC, AEAD_AES256_CBC},
    [13] = {AEAD_AES128_CTR, AEAD_AES192_CTR, AEAD_AES256_CTR},
    [14] = {AEAD_AES128_CCM, AEAD_AES192_CCM, AEAD_AES256_CCM},
    [15] = {AEAD_AES128_CCM, AEAD_AES192_CCM, AEAD_AES256_CCM},
    [16] = {AEAD_AES128_CCM, AEAD_AES192_CCM, AEAD_AES256_CCM},
    [18] = {AEAD_AES128_GCM_SHORT, AEAD_AES192_GCM_SHORT, AEAD_AES256_GCM_SHORT},
    [19] = {AEAD_AES128_GCM_SHORT, AEAD_AES192_GCM_SHORT, AEAD_AES256_GCM_SHORT},
    [20] = {AEAD_AES128_GCM, AEAD_AES192_GCM, AEAD_AES256_GCM},
    [ENCR_NULL_GMAC] = {AEAD_AES128_GMAC, AEAD_AES192_GMAC, AEAD_AES256_GMAC},
    [23] = {AEAD_CAMELLIA128_CBC, AEAD_CAMELLIA192_CBC, AEAD_CAMELLIA256_CBC},
    [24] = {AEAD_CAMELLIA128_CTR, AEAD_CAMELLIA192_CTR, AEAD_CAMELLIA256_CTR},
    [28] = {AEAD_CHACHA20, AEAD_CHACHA20, AEAD_CHACHA20},
};

enum aead_cipher aead_cipher_of(const struct encr_alg *encr)
{
    return encr->key_len <= 16   ? by_number[encr->id].small
           : encr->key_len == 24 ? by_number[encr->id].middle
                                 : by_number[encr->id].large;
}

uint8_t aead_mac_of(uint16_t integ_id)
{
    switch (integ_id) {
    case 5:
        return MAC_AES_XCBC;
    case 8:
        return MAC_AES_CMAC;
    case 9:
    case 10:
    case 11:
        return MAC_AES_GMAC;
    default:
        return (uint8_t)hash_of_integ(integ_id);
    }
}

enum aead_cipher aead_gmac_of(const struct integ_alg *integ)
{
    return (enum aead_cipher)(AEAD_AES128_GMAC + integ->id - 9);
}

/* ---- engines ---- */

struct aead_engine *aead_engine_create(void)
{
    struct aead_engine *engine = calloc(1, sizeof(*engine));

    if (engine == NULL || !aead_ossl_ready() ||
        (!portable && aead_mb_usable() && !aead_mb_create(engine))) {
        aead_engine_free(engine);
        return NULL;
    }
    return engine;
}

void aead_engine_free(struct aead_engine *engine)
{
    if (engine == NULL)
        return;
    aead_ossl_forget(engine);
    aead_mb_free(engine);
    free(engine);
}

/* ---- keys ---- */

size_t aead_size(const struct encr_alg *encr, const struct integ_alg *integ)
{
    (void)integ; /* one size fits all MACs */
    return sizeof(struct aead) + (encr->aead ? 0 : sizeof(union mac_key));
}

static int mac_init(struct aead *aead, const struct integ_alg *integ, const uint8_t *key)
{
    union mac_key *mac = aead->mac_key;

    aead->mac = aead_mac_of(integ->id);
    if (aead->mac >= MAC_AES_XCBC)
        return aesmac_key_init(&mac->aes, aead->mac == MAC_AES_CMAC ? AESMAC_CMAC : AESMAC_XCBC,
                               key);
    hmac_key_init(&mac->hmac, aead->mac, (struct bytes){key, integ->key_len});
    return 0;
}

/* AH's: one algorithm, which has no need of a mac_key. */
static int gmac_init(struct aead *aead, const struct encr_alg *encr, const struct integ_alg *integ,
                     const uint8_t *key)
{
    size_t key_len = integ->key_len - sizeof(aead->salt);

    if (encr->id != ENCR_NULL || !aead_ossl_has(aead_gmac_of(integ)))
        return ERR_UNSUPPORTED;
    aead->cipher = (uint8_t)aead_gmac_of(integ);
    aead->mac = MAC_AES_GMAC;
    memcpy(aead->key, key, key_len);
    memcpy(aead->salt, key + key_len, sizeof(aead->salt));
    return 0;
}

int aead_init(struct aead *aead, struct aead_engine *engine, const struct encr_alg *encr,
              const uint8_t *key, const struct integ_alg *integ, const uint8_t *integ_key)
{
    (void)engine;
    if (encr->aead != (integ == NULL) || (integ != NULL && integ_key == NULL))
        return ERR_ARGUMENT;
    if (!aead_ossl_has(aead_cipher_of(encr)) ||
        (integ != NULL && aead_mac_of(integ->id) == HASH_NONE))
        return ERR_UNSUPPORTED;
    memset(aead, 0, aead_size(encr, integ));
    aead->serial = atomic_fetch_add(&serials, 1) + 1;
    aead->icv_len = encr->aead ? encr->icv_len : integ->icv_len;
    aead->block = encr->block;
    if (integ != NULL && integ->gmac)
        return gmac_init(aead, encr, integ, integ_key);
    aead->cipher = (uint8_t)aead_cipher_of(encr);
    memcpy(aead->key, key, encr->key_len);
    memcpy(aead->salt + sizeof(aead->salt) - encr->salt_len, key + encr->key_len, encr->salt_len);
    return integ != NULL ? mac_init(aead, integ, integ_key) : 0;
}

void aead_wipe(struct aead *aead)
{
    secret_wipe(aead, sizeof(*aead) + (aead_has_mac(aead) ? sizeof(union mac_key) : 0));
}

size_t aead_iv_len(const struct aead *aead)
{
    return aead->cipher == AEAD_NULL ? 0 : aead->block > 1 ? aead->block : 8;
}

bool aead_iv_counts(const struct aead *aead)
{
    return aead->block == 1 && aead->cipher != AEAD_NULL;
}

size_t aead_icv_len(const struct aead *aead)
{
    return aead->icv_len;
}

size_t aead_block(const struct aead *aead)
{
    return aead->block;
}

/* ---- messages ---- */

/* A cipher text of CBC is one block or more, and nothing but blocks. */
static bool well_formed(const struct aead_op *op)
{
    return op->aead->block == 1 ||
           (op->text_len > 0 && (op->text_len & (op->aead->block - 1u)) == 0);
}

/* ipsec-mb works on runs, so that its lanes fill. */
static void run(struct aead_engine *engine, struct aead_op *ops, size_t count, bool seal)
{
    size_t i = 0, n;

    while (i < count) {
        for (n = 0; i + n < count && n < AEAD_BATCH && well_formed(&ops[i + n]); n++)
            ops[i + n].ok = false;
        if (n == 0) {
            ops[i++].ok = false;
        } else if (engine->mb != NULL) {
            aead_mb_run(engine, ops + i, n, seal);
        } else {
            for (size_t k = 0; k < n; k++)
                aead_ossl_run(engine, &ops[i + k], seal);
        }
        i += n;
    }
}

void aead_seal(struct aead_engine *engine, struct aead_op *ops, size_t count)
{
    run(engine, ops, count, true);
}

void aead_open(struct aead_engine *engine, struct aead_op *ops, size_t count)
{
    run(engine, ops, count, false);
}
