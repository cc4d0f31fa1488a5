/* The portable back end: libcrypto's ciphers, and the MACs from hmac.c and aesmac.c. */
#include "crypto/aead_form.h"
#include "crypto/openssl.h"

#include <pthread.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/provider.h>

static const char *const names[AEAD_CIPHERS] = {
    [AEAD_AES128_GCM] = "AES-128-GCM",           [AEAD_AES256_GCM] = "AES-256-GCM",
    [AEAD_CHACHA20] = "ChaCha20-Poly1305",       [AEAD_AES192_GCM] = "AES-192-GCM",
    [AEAD_AES128_GCM_SHORT] = "AES-128-GCM",     [AEAD_AES192_GCM_SHORT] = "AES-192-GCM",
    [AEAD_AES256_GCM_SHORT] = "AES-256-GCM",     [AEAD_AES128_CCM] = "AES-128-CCM",
    [AEAD_AES192_CCM] = "AES-192-CCM",           [AEAD_AES256_CCM] = "AES-256-CCM",
    [AEAD_AES128_GMAC] = "AES-128-GCM",          [AEAD_AES192_GMAC] = "AES-192-GCM",
    [AEAD_AES256_GMAC] = "AES-256-GCM",          [AEAD_AES128_CBC] = "AES-128-CBC",
    [AEAD_AES256_CBC] = "AES-256-CBC",           [AEAD_AES192_CBC] = "AES-192-CBC",
    [AEAD_CAMELLIA128_CBC] = "CAMELLIA-128-CBC", [AEAD_CAMELLIA192_CBC] = "CAMELLIA-192-CBC",
    [AEAD_CAMELLIA256_CBC] = "CAMELLIA-256-CBC", [AEAD_3DES_CBC] = "DES-EDE3-CBC",
    [AEAD_BLOWFISH128_CBC] = "BF-CBC",           [AEAD_BLOWFISH192_CBC] = "BF-CBC",
    [AEAD_BLOWFISH256_CBC] = "BF-CBC",           [AEAD_AES128_CTR] = "AES-128-CTR",
    [AEAD_AES192_CTR] = "AES-192-CTR",           [AEAD_AES256_CTR] = "AES-256-CTR",
    [AEAD_CAMELLIA128_CTR] = "CAMELLIA-128-CTR", [AEAD_CAMELLIA192_CTR] = "CAMELLIA-192-CTR",
    [AEAD_CAMELLIA256_CTR] = "CAMELLIA-256-CTR",
};
static EVP_CIPHER *_Atomic ciphers[AEAD_CIPHERS];
static pthread_mutex_t fetching = PTHREAD_MUTEX_INITIALIZER;

static bool is_blowfish(enum aead_cipher cipher)
{
    return cipher >= AEAD_BLOWFISH128_CBC && cipher <= AEAD_BLOWFISH256_CBC;
}

/* The legacy provider lives in a library context of its own: in the common one its presence would
 * change what everybody else gets. */
static EVP_CIPHER *fetch_legacy(const char *name)
{
    static OSSL_LIB_CTX *legacy;

    if (legacy == NULL) {
        legacy = OSSL_LIB_CTX_new();
        if (legacy != NULL && OSSL_PROVIDER_load(legacy, "legacy") == NULL) {
            OSSL_LIB_CTX_free(legacy);
            legacy = NULL;
        }
    }
    return legacy == NULL ? NULL : EVP_CIPHER_fetch(legacy, name, NULL);
}

bool aead_ossl_fetch(enum aead_cipher cipher)
{
    if (cipher == AEAD_NULL || ciphers[cipher] != NULL)
        return true;
    pthread_mutex_lock(&fetching);
    if (ciphers[cipher] == NULL)
        ciphers[cipher] = is_blowfish(cipher) ? fetch_legacy(names[cipher])
                                              : EVP_CIPHER_fetch(NULL, names[cipher], NULL);
    pthread_mutex_unlock(&fetching);
    ERR_clear_error();
    return ciphers[cipher] != NULL;
}

bool aead_ossl_has(enum aead_cipher cipher)
{
    return cipher == AEAD_NULL || ciphers[cipher] != NULL;
}

bool aead_ossl_ready(void)
{
    static const uint8_t common[] = {AEAD_AES128_GCM, AEAD_AES256_GCM, AEAD_CHACHA20,
                                     AEAD_AES128_CBC, AEAD_AES256_CBC};

    for (size_t i = 0; i < ARRAY_LEN(common); i++)
        if (!aead_ossl_fetch(common[i]))
            return false;
    return true;
}

void aead_ossl_forget(struct aead_engine *engine)
{
    for (size_t i = 0; i < AEAD_CONTEXTS; i++) {
        EVP_CIPHER_CTX_free(engine->contexts[i].cipher);
        engine->contexts[i] = (struct aead_context){0};
    }
    aesmac_context_free(engine->mac_context);
    engine->mac_context = NULL;
}

static bool is_ccm(const struct aead *aead)
{
    return aead->cipher >= AEAD_AES128_CCM && aead->cipher <= AEAD_AES256_CCM;
}

static bool is_gmac(const struct aead *aead)
{
    return aead->cipher >= AEAD_AES128_GMAC && aead->cipher <= AEAD_AES256_GMAC;
}

static bool is_ctr(const struct aead *aead)
{
    return aead->cipher >= AEAD_AES128_CTR && aead->cipher <= AEAD_CAMELLIA256_CTR;
}

/* The nonce of CCM has 11 octets, salt and IV (RFC 4309); it and the length of the tag must be told
 * before the key. */
static bool key_up(EVP_CIPHER_CTX *ctx, const struct aead *aead, bool seal)
{
    if (EVP_CIPHER_CTX_reset(ctx) != 1 ||
        EVP_CipherInit_ex2(ctx, ciphers[aead->cipher], NULL, NULL, seal, NULL) != 1)
        return false;
    if (is_ccm(aead) && (EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, 11, NULL) != 1 ||
                         EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, aead->icv_len, NULL) != 1))
        return false;
    if (is_blowfish(aead->cipher) &&
        EVP_CIPHER_CTX_set_key_length(ctx, 16 + 8 * (aead->cipher - AEAD_BLOWFISH128_CBC)) != 1)
        return false;
    return EVP_CipherInit_ex2(ctx, NULL, aead->key, NULL, seal, NULL) == 1 &&
           EVP_CIPHER_CTX_set_padding(ctx, 0) == 1;
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
    if (slot->cipher == NULL || !key_up(slot->cipher, aead, seal))
        return NULL;
    slot->serial = aead->serial;
    return slot->cipher;
}

/* CCM is one pass over a text whose length is told first; opening ends with it. */
static bool ccm_run(EVP_CIPHER_CTX *ctx, struct aead_op *op, bool seal)
{
    uint8_t nonce[11];
    int len = op->aead->icv_len, text_len = (int)op->text_len, n;

    memcpy(nonce, op->aead->salt + 1, 3);
    memcpy(nonce + 3, op->iv, 8);
    if (EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, seal, NULL) != 1 ||
        (!seal && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, len, op->icv) != 1) ||
        EVP_CipherUpdate(ctx, NULL, &n, NULL, text_len) != 1)
        return false;
    if (op->aad_len > 0 && EVP_CipherUpdate(ctx, NULL, &n, op->aad, op->aad_len) != 1)
        return false;
    if (EVP_CipherUpdate(ctx, op->text, &n, op->text, text_len) != 1)
        return false;
    return !seal || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, len, op->icv) == 1;
}

/* A cipher that makes its own tag, over what is put in between these two. */
static bool tagged_begin(EVP_CIPHER_CTX *ctx, const struct aead_op *op, bool seal)
{
    uint8_t nonce[12];

    memcpy(nonce, op->aead->salt, 4);
    memcpy(nonce + 4, op->iv, 8);
    return EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, seal, NULL) == 1 &&
           (seal ||
            EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, op->aead->icv_len, op->icv) == 1);
}

static bool tagged_end(EVP_CIPHER_CTX *ctx, const struct aead_op *op, bool seal)
{
    uint8_t none[16];
    int n;

    return EVP_CipherFinal_ex(ctx, none, &n) == 1 &&
           (!seal ||
            EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, op->aead->icv_len, op->icv) == 1);
}

/* RFC 4543: all is additional data, and nothing is text. ESP's IV is covered (section 3.3); AH's
 * stands in the field of the ICV, which counts as zeros (section 4). */
static bool gmac_run(EVP_CIPHER_CTX *ctx, struct aead_op *op, bool seal)
{
    bool esp = op->aead->mac != MAC_AES_GMAC;
    uint8_t high[4] = {(uint8_t)(op->esn_high >> 24), (uint8_t)(op->esn_high >> 16),
                       (uint8_t)(op->esn_high >> 8), (uint8_t)op->esn_high};
    const struct bytes covered[] = {{op->aad, op->aad_len},
                                    {op->iv, esp ? 8 : 0},
                                    {op->text, op->text_len},
                                    {high, op->has_esn_high ? sizeof(high) : 0}};
    int n;

    if (!tagged_begin(ctx, op, seal))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(covered); i++)
        if (covered[i].len > 0 &&
            EVP_CipherUpdate(ctx, NULL, &n, covered[i].at, (int)covered[i].len) != 1)
            return false;
    return tagged_end(ctx, op, seal);
}

static bool aead_run(EVP_CIPHER_CTX *ctx, struct aead_op *op, bool seal)
{
    int n;

    if (!tagged_begin(ctx, op, seal))
        return false;
    if (op->aad_len > 0 && EVP_CipherUpdate(ctx, NULL, &n, op->aad, op->aad_len) != 1)
        return false;
    if (op->text_len > 0 && EVP_CipherUpdate(ctx, op->text, &n, op->text, (int)op->text_len) != 1)
        return false;
    return tagged_end(ctx, op, seal);
}

/* CBC, CTR with RFC 3686's counter block (salt, IV, a count from 1), or nothing at all. */
static bool cipher_run(EVP_CIPHER_CTX *ctx, struct aead_op *op, bool seal)
{
    uint8_t counter[16] = {0};
    const uint8_t *iv = op->iv;
    int n;

    if (op->aead->cipher == AEAD_NULL || op->text_len == 0)
        return true;
    if (is_ctr(op->aead)) {
        memcpy(counter, op->aead->salt, 4);
        memcpy(counter + 4, op->iv, 8);
        counter[15] = 1;
        iv = counter;
    }
    return EVP_CipherInit_ex2(ctx, NULL, NULL, iv, seal, NULL) == 1 &&
           EVP_CipherUpdate(ctx, op->text, &n, op->text, (int)op->text_len) == 1 &&
           n == (int)op->text_len;
}

static bool aes_mac(struct aead_engine *engine, const struct aead_op *op, const uint8_t *high,
                    uint8_t *out)
{
    struct aesmac m;

    if (engine->mac_context == NULL)
        engine->mac_context = aesmac_context_create();
    aesmac_start(&m, engine->mac_context, &op->aead->mac_key->aes);
    aesmac_update(&m, op->aad, op->aad_len);
    aesmac_update(&m, op->iv, aead_iv_len(op->aead));
    aesmac_update(&m, op->text, op->text_len);
    if (op->has_esn_high)
        aesmac_update(&m, high, 4);
    return aesmac_finish(&m, out);
}

static bool mac(struct aead_engine *engine, const struct aead_op *op, uint8_t *out)
{
    const struct hmac_key *key = &op->aead->mac_key->hmac;
    uint8_t high[4] = {(uint8_t)(op->esn_high >> 24), (uint8_t)(op->esn_high >> 16),
                       (uint8_t)(op->esn_high >> 8), (uint8_t)op->esn_high};
    struct hash h;

    if (op->aead->mac >= MAC_AES_XCBC)
        return aes_mac(engine, op, high, out);
    hmac_start(&h, op->aead->mac, key);
    hash_update(&h, op->aad, op->aad_len);
    hash_update(&h, op->iv, aead_iv_len(op->aead));
    hash_update(&h, op->text, op->text_len);
    if (op->has_esn_high)
        hash_update(&h, high, sizeof(high));
    hmac_finish(&h, key, out);
    return true;
}

void aead_ossl_run(struct aead_engine *engine, struct aead_op *op, bool seal)
{
    bool null = op->aead->cipher == AEAD_NULL;
    EVP_CIPHER_CTX *ctx = null ? NULL : keyed(engine, op->aead, seal);
    uint8_t tag[HASH_MAX];

    op->ok = false;
    if ((ctx == NULL && !null) || op->text_len > INT32_MAX) {
        ERR_clear_error();
        return;
    }
    if (is_ccm(op->aead)) {
        op->ok = ccm_run(ctx, op, seal);
    } else if (is_gmac(op->aead)) {
        op->ok = gmac_run(ctx, op, seal);
    } else if (!aead_has_mac(op->aead)) {
        op->ok = aead_run(ctx, op, seal);
    } else if (seal) {
        op->ok = cipher_run(ctx, op, true) && mac(engine, op, tag);
        memcpy(op->icv, tag, op->ok ? op->aead->icv_len : 0);
    } else {
        op->ok = mac(engine, op, tag) && secret_equal(tag, op->icv, op->aead->icv_len) &&
                 cipher_run(ctx, op, false);
    }
    if (!op->ok)
        ERR_clear_error();
}
