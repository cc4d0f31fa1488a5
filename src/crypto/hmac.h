/* HMAC over SHA-1 and SHA-2 (RFC 2104), the one implementation under prf, prf+, and AES-CBC's MAC.
 *
 * A key is kept as the two chaining values after the padded key's block, in the CPU's byte order:
 * half the work per message, no allocation, and exactly the form ipsec-mb takes. libcrypto's
 * EVP_MAC would cost more in look-ups than the hash itself on messages of this size, so the block
 * functions are used directly. */
#ifndef SHRIKE_CRYPTO_HMAC_H
#define SHRIKE_CRYPTO_HMAC_H

#define OPENSSL_SUPPRESS_DEPRECATED /* SHA256_Init and its kin: see above */
#include <openssl/sha.h>

#include "base/base.h"

/* SHA-224 has no number in IKEv2; it is here for the sake of public test data. */
enum hash_kind { HASH_NONE, HASH_SHA1, HASH_SHA224, HASH_SHA256, HASH_SHA384, HASH_SHA512 };
enum { HASH_MAX = 64, HASH_STATE = 64 };

struct hash {
    enum hash_kind kind;
    union {
        SHA_CTX sha1;
        SHA256_CTX sha256; /* also SHA-224 */
        SHA512_CTX sha512; /* also SHA-384 */
    };
};

size_t hash_len(enum hash_kind kind);
void hash_start(struct hash *h, enum hash_kind kind);
void hash_update(struct hash *h, const void *data, size_t len);
void hash_finish(struct hash *h, uint8_t *out); /* hash_len() octets; wipes h */

/* The chaining values, as ipsec-mb wants them. */
struct hmac_key {
    _Alignas(16) uint8_t inner[HASH_STATE];
    uint8_t outer[HASH_STATE];
};

enum hash_kind hash_of_prf(uint16_t prf_id);     /* HASH_NONE: not one of ours */
enum hash_kind hash_of_integ(uint16_t integ_id); /* HASH_NONE: not one of ours */

void hmac_key_init(struct hmac_key *key, enum hash_kind kind, struct bytes octets);
void hmac_start(struct hash *h, enum hash_kind kind, const struct hmac_key *key);
/* hash_len() octets into out; wipes h. */
void hmac_finish(struct hash *h, const struct hmac_key *key, uint8_t *out);

/* prf() and prf_plus() by hash. */
void hmac_parts(enum hash_kind kind, struct bytes key, const struct bytes *parts, size_t count,
                uint8_t *out);
int hmac_expand(enum hash_kind kind, struct bytes key, const struct bytes *seed, size_t count,
                uint8_t *out, size_t out_len) MUST_USE;

#endif
