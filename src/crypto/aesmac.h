/* AES-XCBC (RFC 3566, 4434) and AES-CMAC (RFC 4493, 4494, 4615): two ways to close a CBC chain over
 * AES-128. libcrypto has the second one only, at the price of a look-up per message; both are the
 * same chain but for what is added to the last block.
 *
 * One running MAC belongs to one thread. Nothing here allocates per message: the cipher context
 * comes from the caller, who may keep it.
 */
#ifndef SHRIKE_CRYPTO_AESMAC_H
#define SHRIKE_CRYPTO_AESMAC_H

#include "base/base.h"

enum aesmac_kind { AESMAC_XCBC, AESMAC_CMAC };
enum { AESMAC_LEN = 16 };

struct aesmac_key {
    uint8_t chain[16];          /* keys the cipher */
    uint8_t whole[16], cut[16]; /* added to the last block: when it is complete, when padded */
};
/* A key of 16 octets. ERR_CRYPTO, ERR_MEMORY */
int aesmac_key_init(struct aesmac_key *key, enum aesmac_kind kind,
                    const uint8_t octets[static 16]) MUST_USE;

struct aesmac {
    void *context; /* EVP_CIPHER_CTX */
    const struct aesmac_key *key;
    uint8_t block[16];
    uint8_t have;
    bool failed;
};
void *aesmac_context_create(void); /* NULL: no memory */
void aesmac_context_free(void *context);
void aesmac_start(struct aesmac *mac, void *context, const struct aesmac_key *key);
void aesmac_update(struct aesmac *mac, const void *data, size_t len);
/* False, and nothing to be used, when libcrypto failed on the way. */
bool aesmac_finish(struct aesmac *mac, uint8_t out[static AESMAC_LEN]);

/* PRF_AES128_XCBC and PRF_AES128_CMAC take keys of any length (RFC 4434 section 2, 4615 section 3).
 */
int aesmac_prf(enum aesmac_kind kind, struct bytes key, const struct bytes *parts, size_t count,
               uint8_t out[static AESMAC_LEN]) MUST_USE;

#endif
