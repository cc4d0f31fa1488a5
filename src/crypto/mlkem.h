/* ML-KEM (FIPS 203) of our own, for a libcrypto that does not have it (before 3.5).
 *
 * Constant in time: no branch, index, division or length depends on a secret; test_constant_time
 * looks at that with valgrind. Deterministic: random octets are arguments. An encapsulation key is
 * checked as section 7.2 asks, a decapsulation key and a ciphertext as 7.3 does, each time. A
 * ciphertext that was not made for the key gives a secret that nobody else has, and no error
 * (implicit rejection). */
#ifndef SHRIKE_CRYPTO_MLKEM_H
#define SHRIKE_CRYPTO_MLKEM_H

#include "crypto/mlkem_poly.h"

enum {
    MLKEM_K_MAX = 4,
    MLKEM_SEED = 64,   /* d | z */
    MLKEM_OCTETS = 32, /* of the shared secret, and of what it is made from */
    MLKEM_EK_MAX = 1568,
    MLKEM_DK_MAX = 3168,
    MLKEM_CT_MAX = 1568,
};

/* A row of FIPS 203 table 2. */
struct mlkem {
    uint16_t id; /* of the transform: 35, 36, 37 */
    uint8_t k, eta1, du, dv;
    const struct poly_code *code;
};

/* The parameter set, with the best code for this CPU; false for other transforms. */
bool mlkem_of(uint16_t id, struct mlkem *out);
size_t mlkem_ek_len(const struct mlkem *m);
size_t mlkem_dk_len(const struct mlkem *m);
size_t mlkem_ct_len(const struct mlkem *m);

int mlkem_create(const struct mlkem *m, const uint8_t seed[static MLKEM_SEED], uint8_t *ek,
                 uint8_t *dk) MUST_USE;
/* The same with d already expanded: rho is public, the rest is not. */
int mlkem_expand(const struct mlkem *m, const uint8_t rho[static 32],
                 const uint8_t sigma[static 32], const uint8_t z[static 32], uint8_t *ek,
                 uint8_t *dk) MUST_USE;
/* ERR_KE: ek is none. ct receives mlkem_ct_len() octets. */
int mlkem_encapsulate(const struct mlkem *m, struct bytes ek,
                      const uint8_t random[static MLKEM_OCTETS], uint8_t *ct,
                      uint8_t secret[static MLKEM_OCTETS]) MUST_USE;
/* ERR_KE: dk is none, or ct has another length. */
int mlkem_decapsulate(const struct mlkem *m, struct bytes dk, struct bytes ct,
                      uint8_t secret[static MLKEM_OCTETS]) MUST_USE;

#endif
