/* The portable back end: libcrypto's ciphers, and HMAC from hmac.c. */
#include "crypto/aead_form.h"
#include "crypto/openssl.h"

#include <pthread.h>
#include <string.h>

#include <openssl/evp.h>

static EVP_CIPHER *ciphers[AEAD_CIPHERS];
static pthread_once_t ciphers_once = PTHREAD_ONCE_INIT;

static void fetch_ciphers(void)
{
    static const char *const names[AEAD_CIPHERS] = {
        [AEAD_AES128_GCM] = "AES-128-GCM",     [AEAD_AES256_GCM] = "AES-256-GCM",
        [AEAD_CHACHA20] = "ChaCha20-Poly1305", [AEAD_AES128_CBC] = "AES-128-CBC",
        [AEAD_AES256_CBC] = "AES-256-CBC",
    };

    for (size_t i = 0; i < AEAD_CIPHERS; i++)
        ciphers[i] = EVP_CIPHER_fetch(NULL, names[i], NULL);
    ERR_clear_error();
}

bool aead_ossl_ready(void)
{
    pthread_once(&ciphers_once, fetch_ciphers);
    for (size_t i = 0; i < AEAD_CIPHERS; i++)
        if (ciphers[i] == NULL)
            return false;
    return true;
}

void aead_ossl_forget(struct aead_engine *engine)
{
    for (size_t i = 0; i < AEAD_CONTEXTS; i++) {
        EVP_CIPHER_CTX_free(engine->contexts[i].cipher);
        engine->contexts[i] = (struct aead_context){0};
    }
}

/* The context keyed for this aead and direction: the cached one, or the slot's keyed anew. */
static EVP_CIPHER_CTX *keyed(struct aead_engine *engine, const struct aead *aead, bool seal)
{
    struct aead_context *slot = &engine->contexts[(aead->serial * 2 + seal) % AEAD_CONTEXTS];

    if (slot->serial == aead->serial)
        return slot->cipher;
    slot->serial = 0;
    if (slot->cipher == NULL)
        slot->cipher = EVP_CIPHER_CTX_new();
    if (slot->cipher == NULL || EVP_CIPHER_CTX_reset(slot->cipher) != 1 ||
        EVP_CipherInit_ex2(slot->cipher, ciphers[aead->cipher], aead->key, NULL, seal, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(slot->cipher, 0) != 1)
        return NULL;
    slot->serial = aead->serial;
    return slot->cipher;
}

static bool aead_run(EVP_CIPHER_CTX *ctx, struct aead_op *op, bool seal)
{
    uint8_t nonce[12], none[16];
    int len = op->aead->icv_len, n;

    memcpy(nonce, op->aead->salt, 4);
    memcpy(nonce + 4, op->iv, 8);
    if (EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, seal, NULL) != 1 ||
        (!seal && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, len, op->icv) != 1))
        return false;
    if (op->aad_len > 0 && EVP_CipherUpdate(ctx, NULL, &n, op->aad, op->aad_len) != 1)
        return false;
    if (op->text_len > 0 && EVP_CipherUpdate(ctx, op->text, &n, op->text, (int)op->text_len) != 1)
        return false;
    if (EVP_CipherFinal_ex(ctx, none, &n) != 1)
        return false;
    return !seal || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, len, op->icv) == 1;
}

static bool cbc_run(EVP_CIPHER_CTX *ctx, struct aead_op *op, bool seal)
{
    int n;

    return EVP_CipherInit_ex2(ctx, NULL, NULL, op->iv, seal, NULL) == 1 &&
           EVP_CipherUpdate(ctx, op->text, &n, op->text, (int)op->text_len) == 1 &&
           n == (int)op->text_len;
}

static void mac(const struct aead_op *op, uint8_t *out)
{
    const struct hmac_key *key = op->aead->hmac;
    uint8_t high[4] = {(uint8_t)(op->esn_high >> 24), (uint8_t)(op->esn_high >> 16),
                       (uint8_t)(op->esn_high >> 8), (uint8_t)op->esn_high};
    struct hash h;

    hmac_start(&h, op->aead->mac, key);
    hash_update(&h, op->aad, op->aad_len);
    hash_update(&h, op->iv, 16);
    hash_update(&h, op->text, op->text_len);
    if (op->has_esn_high)
        hash_update(&h, high, sizeof(high));
    hmac_finish(&h, key, out);
}

void aead_ossl_run(struct aead_engine *engine, struct aead_op *op, bool seal)
{
    EVP_CIPHER_CTX *ctx = keyed(engine, op->aead, seal);
    uint8_t tag[HASH_MAX];

    op->ok = false;
    if (ctx == NULL || op->text_len > INT32_MAX) {
        ERR_clear_error();
        return;
    }
    if (!aead_is_cbc(op->aead)) {
        op->ok = aead_run(ctx, op, seal);
    } else if (seal) {
        op->ok = cbc_run(ctx, op, true);
        mac(op, tag);
        memcpy(op->icv, tag, op->aead->icv_len);
    } else {
        mac(op, tag);
        op->ok = secret_equal(tag, op->icv, op->aead->icv_len) && cbc_run(ctx, op, false);
    }
    if (!op->ok)
        ERR_clear_error();
}
