/* The face of the keyed ciphers: sizes, keys, and which back end does the work. */
#include "crypto/aead_form.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct aead) == 16, "the head of a keyed cipher");

static bool portable;
static _Atomic uint64_t serials;

void aead_force_portable(bool on)
{
    portable = on;
}

static bool expand(void)
{
    return !portable && aead_mb_usable();
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

    if (engine == NULL || !aead_ossl_ready() || (expand() && !aead_mb_create(engine))) {
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

static size_t size_of(enum aead_form form, enum aead_cipher cipher)
{
    size_t body = form == FORM_EXPANDED ? aead_mb_body(cipher) : COMPACT_KEY;

    if (cipher >= AEAD_AES128_CBC)
        body += sizeof(struct hmac_key);
    return sizeof(struct aead) + body;
}

size_t aead_size(const struct encr_alg *encr, const struct integ_alg *integ)
{
    (void)integ; /* one size fits all MACs */
    return size_of(expand() ? FORM_EXPANDED : FORM_COMPACT, cipher_of(encr));
}

size_t aead_size_compact(const struct encr_alg *encr, const struct integ_alg *integ)
{
    (void)integ;
    return size_of(FORM_COMPACT, cipher_of(encr));
}

static int init(struct aead *aead, struct aead_engine *engine, enum aead_form form,
                const struct encr_alg *encr, const uint8_t *key, const struct integ_alg *integ,
                const uint8_t *integ_key)
{
    if (encr->aead != (integ == NULL) || (integ != NULL && integ_key == NULL))
        return ERR_ARGUMENT;
    memset(aead, 0, sizeof(*aead));
    aead->cipher = (uint8_t)cipher_of(encr);
    aead->form = (uint8_t)form;
    aead->serial = atomic_fetch_add(&serials, 1) + 1;
    aead->icv_len = encr->aead ? encr->icv_len : integ->icv_len;
    memcpy(aead->salt, key + encr->key_len, encr->salt_len);
    if (form == FORM_EXPANDED) {
        aead_mb_key(engine, aead, key);
    } else {
        memset(aead->body, 0, COMPACT_KEY);
        memcpy(aead->body, key, encr->key_len);
    }
    if (integ != NULL) {
        aead->mac = (uint8_t)hash_of_integ(integ->id);
        if (aead->mac == HASH_NONE)
            return ERR_UNSUPPORTED;
        hmac_key_init(aead_hmac_key(aead), aead->mac, (struct bytes){integ_key, integ->key_len});
    }
    return 0;
}

int aead_init(struct aead *aead, struct aead_engine *engine, const struct encr_alg *encr,
              const uint8_t *key, const struct integ_alg *integ, const uint8_t *integ_key)
{
    if (!expand())
        return init(aead, engine, FORM_COMPACT, encr, key, integ, integ_key);
    if (engine == NULL || engine->mb == NULL)
        return ERR_ARGUMENT;
    return init(aead, engine, FORM_EXPANDED, encr, key, integ, integ_key);
}

int aead_init_compact(struct aead *aead, const struct encr_alg *encr, const uint8_t *key,
                      const struct integ_alg *integ, const uint8_t *integ_key)
{
    return init(aead, NULL, FORM_COMPACT, encr, key, integ, integ_key);
}

void aead_wipe(struct aead *aead)
{
    secret_wipe(aead, size_of(aead->form, aead->cipher));
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

/* ipsec-mb works on runs, so that its lanes fill; anything else goes one by one. */
static void run(struct aead_engine *engine, struct aead_op *ops, size_t count, bool seal)
{
    size_t i = 0;

    while (i < count) {
        size_t n = 0;

        while (i + n < count && n < AEAD_BATCH && ops[i + n].aead->form == FORM_EXPANDED &&
               well_formed(&ops[i + n]))
            n++;
        if (n > 0 && engine->mb != NULL) {
            aead_mb_run(engine, ops + i, n, seal);
            i += n;
            continue;
        }
        ops[i].ok = false;
        if (well_formed(&ops[i]))
            aead_ossl_run(engine, &ops[i], seal);
        i++;
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
