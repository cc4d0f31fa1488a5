/* What one family of groups (Montgomery curves, ECP, MODP) provides to kex.c. */
#ifndef SHRIKE_CRYPTO_KEX_METHOD_H
#define SHRIKE_CRYPTO_KEX_METHOD_H

#include "crypto/crypto.h"

enum { KEX_PRIVATE_MAX = 80 };

struct kex {
    const struct kex_alg *alg;
    const struct kex_method *method;
    void *handle;        /* the method's own object, or NULL */
    bool answers;        /* made by kex_answer */
    uint8_t private_len; /* octets of priv in use */
    uint8_t priv[KEX_PRIVATE_MAX];
    uint8_t pub[]; /* our value, as on the wire */
};

struct kex_method {
    /* Fills pub and whatever private form the method uses, from `random` alone. */
    int (*create)(struct kex *kex, const struct random *random);
    /* The same out of the peer's value, which has the right length; NULL: create will do. */
    int (*answer)(struct kex *kex, const struct random *random, const uint8_t *peer);
    /* peer has the right length; secret has room for alg->secret_len octets. */
    int (*derive)(const struct kex *kex, const uint8_t *peer, uint8_t *secret);
    void (*release)(struct kex *kex); /* may be NULL */
};

extern const struct kex_method kex_xdh, kex_ecp, kex_modp;
/* ML-KEM of our own, and libcrypto's. */
extern const struct kex_method kex_mlkem, kex_mlkem_ossl;

/* Whose work a transform is; NULL: nobody's. */
const struct kex_method *kex_method_of(uint16_t id);
/* What kex_create, with peer NULL, and kex_answer do with the method of their choice. */
int kex_make(const struct kex_method *method, const struct kex_alg *alg,
             const struct random *random, const struct bytes *peer, struct kex **out) MUST_USE;

/* Group parameters are made once per process, before the sandbox closes; false when libcrypto
 * lacks one of the defaults. Later calls cost nothing. */
bool kex_ecp_ready(void);
bool kex_modp_ready(void);
/* Of the ECP groups, brainpool's are missing in some builds of libcrypto. */
bool kex_ecp_has(uint16_t id);
/* libcrypto has ML-KEM since 3.5. */
bool kex_mlkem_ossl_has(uint16_t id);

#endif
