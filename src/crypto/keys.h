/* Private to crypto/: what stands behind the key and certificate handles. */
#ifndef SHRIKE_CRYPTO_KEYS_H
#define SHRIKE_CRYPTO_KEYS_H

#include "crypto/crypto.h"
#include "crypto/openssl.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192, RSA_BITS_EVER = 1024 };

struct private_key {
    EVP_PKEY *pkey;
    enum key_kind kind;
};

struct public_key {
    EVP_PKEY *pkey;
    enum key_kind kind;
    unsigned bits;
    bool sound; /* RSA: a modulus and an exponent nobody has to be afraid of */
};

struct cert {
    X509 *x509;
    struct public_key key;
    GENERAL_NAMES *names; /* subjectAltName, NULL when absent */
    uint8_t *der;
    size_t der_len;
    int64_t not_before, not_after;
};

/* Fills `out` from a key that the caller goes on owning. */
void public_key_init(struct public_key *out, EVP_PKEY *pkey);
/* Takes the key over, also on failure. */
int private_key_take(EVP_PKEY *pkey, struct private_key **out) MUST_USE;
/* Takes the certificate over, also on failure. */
int cert_take(X509 *x509, struct cert **out) MUST_USE;
/* RFC 4514 text in printable ASCII, cut with "..." when it does not fit. */
const char *name_print(const X509_NAME *name, char *text, size_t size);
/* 2026-11-23 21:00:00 UTC */
enum { DATE_TEXT = 40 };
const char *date_print(int64_t seconds, char text[static DATE_TEXT]);
/* Forgets what libcrypto has to say about a failure and returns `err`. */
int crypto_failed(int err);

#endif
