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

#include "crypto/aesmac.h"
#include "crypto/crypto.h"
#include "crypto/hmac.h"

/* The common ones come first in each half; the rare ones are libcrypto's alone. */
enum aead_cipher {
    AEAD_AES128_GCM,
    AEAD_AES256_GCM,
    AEAD_CHACHA20,
    AEAD_AES192_GCM,
    AEAD_AES128_GCM_SHORT, /* ICV of 8 or 12 octets */
    AEAD_AES192_GCM_SHORT,
    AEAD_AES256_GCM_SHORT,
    AEAD_AES128_CCM,
    AEAD_AES192_CCM,
    AEAD_AES256_CCM,
    AEAD_AES128_GMAC, /* of ESP; with MAC_AES_GMAC that of AH */
    AEAD_AES192_GMAC,
    AEAD_AES256_GMAC,
    AEAD_AES128_CBC, /* from here on with a MAC of its own */
    AEAD_AES256_CBC,
    AEAD_AES192_CBC,
    AEAD_CAMELLIA128_CBC,
    AEAD_CAMELLIA192_CBC,
    AEAD_CAMELLIA256_CBC,
    AEAD_3DES_CBC,
    AEAD_BLOWFISH128_CBC,
    AEAD_BLOWFISH192_CBC,
    AEAD_BLOWFISH256_CBC,
    AEAD_AES128_CTR,
    AEAD_AES192_CTR,
    AEAD_AES256_CTR,
    AEAD_CAMELLIA128_CTR,
    AEAD_CAMELLIA192_CTR,
    AEAD_CAMELLIA256_CTR,
    AEAD_NULL,
    AEAD_CIPHERS
};
/* After the kinds of hash. */
enum { MAC_AES_XCBC = HASH_SHA512 + 1, MAC_AES_CMAC, MAC_AES_GMAC, MAC_KINDS };
enum { AEAD_CONTEXTS = 32, AEAD_TAG_MAX = 64 };

union mac_key {
    struct hmac_key hmac;
    struct aesmac_key aes;
};

struct aead {
    uint64_t serial;
    uint8_t cipher;
    uint8_t mac; /* enum hash_kind or MAC_AES_*; HASH_NONE for AEAD */
    uint8_t icv_len;
    uint8_t block;
    uint8_t salt[4]; /* the last octets of it, where a salt is shorter */
    _Alignas(16) uint8_t key[32];
    union mac_key mac_key[]; /* one, unless AEAD */
};

struct aead_context {
    uint64_t serial; /* 0 = empty */
    void *cipher;    /* EVP_CIPHER_CTX */
};

struct aead_engine {
    struct mb *mb;     /* NULL where ipsec-mb is absent or brings nothing */
    bool few;          /* jobs also for few messages, where libcrypto is faster: tests want that */
    void *mac_context; /* of AES-XCBC and AES-CMAC; made on first use */
    struct aead_context contexts[AEAD_CONTEXTS];
};

/* Encrypt-then-MAC, by two algorithms: there is a mac_key. */
static inline bool aead_has_mac(const struct aead *a)
{
    return a->cipher >= AEAD_AES128_CBC;
}

/* libcrypto, one message. */
void aead_ossl_run(struct aead_engine *engine, struct aead_op *op, bool seal);
void aead_ossl_forget(struct aead_engine *engine); /* frees all contexts */
bool aead_ossl_ready(void);                        /* the ciphers of the defaults can be had */
/* Takes a cipher from libcrypto, from its legacy provider if need be. Not after the sandbox closed.
 */
bool aead_ossl_fetch(enum aead_cipher cipher);
bool aead_ossl_has(enum aead_cipher cipher); /* it was fetched */
enum aead_cipher aead_cipher_of(const struct encr_alg *encr);
enum aead_cipher aead_gmac_of(const struct integ_alg *integ); /* of one that is GMAC */
/* HASH_NONE: not one of ours. */
uint8_t aead_mac_of(uint16_t integ_id);

/* ipsec-mb, a run of up to AEAD_BATCH messages. */
bool aead_mb_usable(void); /* built in, and the CPU has what makes it worthwhile */
const char *aead_mb_name(void);
bool aead_mb_create(struct aead_engine *engine);
void aead_mb_free(struct aead_engine *engine);
void aead_mb_run(struct aead_engine *engine, struct aead_op *ops, size_t count, bool seal);

/* For tests: from now on new engines have no ipsec-mb. */
void aead_force_portable(bool on);

#endif
