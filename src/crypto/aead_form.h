/* How a keyed cipher lies in memory, and the two back ends behind aead.c.
 *
 * A struct aead has one of two forms. COMPACT holds the key octets (and for HMAC the two chaining
 * values) and is worked by libcrypto, whose contexts live in the engine: a small cache by serial
 * number, so that a busy SA is keyed once and an idle one costs nothing. EXPANDED holds the key
 * schedule as ipsec-mb wants it. In both forms the body begins with the cipher key's octets (an AES
 * key schedule does by itself), so the compact back end can work any aead: the other hands over to
 * it what it cannot do itself.
 *
 *   COMPACT  AEAD      head, key                                                  48 octets
 *   COMPACT  CBC+HMAC  head, key, chaining values                                176
 *   EXPANDED AES-GCM   head, struct gcm_key_data                                1024
 *   EXPANDED ChaCha20  head, key                                                  48
 *   EXPANDED CBC+HMAC  head, both key schedules, chaining values                 624
 */
#ifndef SHRIKE_CRYPTO_AEAD_FORM_H
#define SHRIKE_CRYPTO_AEAD_FORM_H

#include "crypto/crypto.h"
#include "crypto/hmac.h"

enum aead_cipher {
    AEAD_AES128_GCM,
    AEAD_AES256_GCM,
    AEAD_CHACHA20,
    AEAD_AES128_CBC,
    AEAD_AES256_CBC,
    AEAD_CIPHERS
};
enum aead_form { FORM_COMPACT, FORM_EXPANDED };
enum { AEAD_CACHE = 32, AEAD_TAG_MAX = 64 };

/* 16 octets, so that in the GCM form the powers of the hash key begin on a cache line. */
struct aead {
    uint64_t serial; /* never used twice in a process */
    uint8_t cipher, form;
    uint8_t mac; /* enum hash_kind; HASH_NONE for AEAD */
    uint8_t icv_len;
    uint8_t salt[4];
    _Alignas(16) uint8_t body[];
};

struct aead_slot {
    uint64_t serial; /* 0 = empty */
    void *context;   /* EVP_CIPHER_CTX */
};

struct aead_engine {
    void *mb;     /* IMB_MGR, or NULL where ipsec-mb is absent or brings nothing */
    void *mb_ctx; /* its scratch */
    bool few;     /* jobs also for few messages, where libcrypto is faster: tests want that */
    struct aead_slot slots[AEAD_CACHE];
};

static inline bool aead_is_cbc(const struct aead *a)
{
    return a->cipher >= AEAD_AES128_CBC;
}

static inline size_t aead_key_len(const struct aead *a)
{
    return a->cipher == AEAD_AES128_GCM || a->cipher == AEAD_AES128_CBC ? 16 : 32;
}

/* The HMAC key, behind the cipher's part of the body. */
enum { COMPACT_KEY = 32, EXPANDED_KEYS = 2 * 240 };
static inline struct hmac_key *aead_hmac_key(const struct aead *a)
{
    size_t at = a->form == FORM_EXPANDED ? EXPANDED_KEYS : COMPACT_KEY;

    return (struct hmac_key *)(uintptr_t)(a->body + at);
}

/* libcrypto, one message. */
void aead_ossl_run(struct aead_engine *engine, struct aead_op *op, bool seal);
void aead_ossl_forget(struct aead_engine *engine); /* frees all contexts */
bool aead_ossl_ready(void);                        /* all ciphers can be had */

/* ipsec-mb, a run of up to AEAD_BATCH messages whose aead are all EXPANDED. */
bool aead_mb_usable(void); /* built in, and the CPU has what makes it worthwhile */
const char *aead_mb_name(void);
bool aead_mb_create(struct aead_engine *engine);
void aead_mb_free(struct aead_engine *engine);
size_t aead_mb_body(enum aead_cipher cipher); /* octets of the cipher's part of the body */
void aead_mb_key(struct aead_engine *engine, struct aead *aead, const uint8_t *key);
void aead_mb_run(struct aead_engine *engine, struct aead_op *ops, size_t count, bool seal);

/* For tests: from now on new keys are compact and new engines have no ipsec-mb. */
void aead_force_portable(bool on);

#endif
