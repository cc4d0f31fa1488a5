/* How a keyed cipher lies in memory, and the two back ends behind aead.c.
 *
 * An SA may be idle for hours, and a gateway has thousands: a struct aead holds key octets only, no
 * schedule. What a key expands to (1 kB for AES-GCM with ipsec-mb, about as much in libcrypto's
 * contexts) lives in the engines, in a direct-mapped cache by serial number. Expanding costs 0.1 to
 * 0.2 us, less than fetching that kilobyte from cold memory would. Serials are never used twice, so
 * a stale entry is never mistaken for a new key; keys of one tunnel have neighbouring serials and
 * do not fight over a slot.
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
enum { AEAD_CONTEXTS = 32, AEAD_TAG_MAX = 64 };

struct aead {
    uint64_t serial;
    uint8_t cipher;
    uint8_t mac; /* enum hash_kind; HASH_NONE for AEAD */
    uint8_t icv_len;
    uint8_t salt[4];
    _Alignas(16) uint8_t key[32];
    struct hmac_key hmac[]; /* one, unless AEAD */
};

struct aead_context {
    uint64_t serial; /* 0 = empty */
    void *cipher;    /* EVP_CIPHER_CTX */
};

struct aead_engine {
    struct mb *mb; /* NULL where ipsec-mb is absent or brings nothing */
    bool few;      /* jobs also for few messages, where libcrypto is faster: tests want that */
    struct aead_context contexts[AEAD_CONTEXTS];
};

static inline bool aead_is_cbc(const struct aead *a)
{
    return a->cipher >= AEAD_AES128_CBC;
}

static inline size_t aead_key_len(const struct aead *a)
{
    return a->cipher == AEAD_AES128_GCM || a->cipher == AEAD_AES128_CBC ? 16 : 32;
}

/* libcrypto, one message. */
void aead_ossl_run(struct aead_engine *engine, struct aead_op *op, bool seal);
void aead_ossl_forget(struct aead_engine *engine); /* frees all contexts */
bool aead_ossl_ready(void);                        /* all ciphers can be had */

/* ipsec-mb, a run of up to AEAD_BATCH messages. */
bool aead_mb_usable(void); /* built in, and the CPU has what makes it worthwhile */
const char *aead_mb_name(void);
bool aead_mb_create(struct aead_engine *engine);
void aead_mb_free(struct aead_engine *engine);
void aead_mb_run(struct aead_engine *engine, struct aead_op *ops, size_t count, bool seal);

/* For tests: from now on new engines have no ipsec-mb. */
void aead_force_portable(bool on);

#endif
