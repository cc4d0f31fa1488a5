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

static enum aead_cipher cipher_of(const struct encr_alg *encr)
{
    if (encr->id == 28)
        return AEAD_CHACHA20;
    if (encr->id == 20)
        return encr->key_len == 16 ? AEAD_AES128_GCM : AEAD_AES256_GCM;
    return encr->key_len == 16 ? AEAD_AES128_CBC : AEAD_AES256_CBC;
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
    return sizeof(struct aead) + (encr->aead ? 0 : sizeof(struct hmac_key));
}

int aead_init(struct aead *aead, struct aead_engine *engine, const struct encr_alg *encr,
              const uint8_t *key, const struct integ_alg *integ, const uint8_t *integ_key)
{
    (void)engine;
    if (encr->aead != (integ == NULL) || (integ != NULL && integ_key == NULL))
        return ERR_ARGUMENT;
    if (integ != NULL && hash_of_integ(integ->id) == HASH_NONE)
        return ERR_UNSUPPORTED;
    memset(aead, 0, aead_size(encr, integ));
    aead->serial = atomic_fetch_add(&serials, 1) + 1;
    aead->cipher = (uint8_t)cipher_of(encr);
    memcpy(aead->key, key, encr->key_len);
    memcpy(aead->salt, key + encr->key_len, encr->salt_len);
    aead->icv_len = encr->aead ? encr->icv_len : integ->icv_len;
    if (integ != NULL) {
        aead->mac = (uint8_t)hash_of_integ(integ->id);
        hmac_key_init(aead->hmac, aead->mac, (struct bytes){integ_key, integ->key_len});
    }
    return 0;
}

void aead_wipe(struct aead *aead)
{
    secret_wipe(aead, sizeof(*aead) + (aead_is_cbc(aead) ? sizeof(struct hmac_key) : 0));
}

size_t aead_iv_len(const struct aead *aead)
{
    return aead_is_cbc(aead) ? 16 : 8;
}

size_t aead_icv_len(const struct aead *aead)
{
    return aead->icv_len;
}

size_t aead_block(const struct aead *aead)
{
    return aead_is_cbc(aead) ? 16 : 1;
}

/* ---- messages ---- */

/* A cipher text of CBC is one block or more, and nothing but blocks. */
static bool well_formed(const struct aead_op *op)
{
    return !aead_is_cbc(op->aead) || (op->text_len > 0 && op->text_len % 16 == 0);
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
