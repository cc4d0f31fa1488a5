/* What strangers send as ML-KEM: encapsulation keys and ciphertexts. The first octet says which,
 * and of which size of ML-KEM. What is accepted must be right, and the same in every version of the
 * code. */
#include "crypto/crypto.h"
#include "crypto/mlkem.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t octets[MLKEM_SEED] = {1, 2, 3};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static bool below_q(const struct mlkem *m, struct bytes ek)
{
    for (size_t i = 0; i < (size_t)m->k * POLY_OCTETS; i += 3) {
        const uint8_t *at = ek.at + i;
        if ((at[0] | (at[1] & 15) << 8) >= MLKEM_Q || (at[1] >> 4 | at[2] << 4) >= MLKEM_Q)
            return false;
    }
    return true;
}

static void try_key(const struct mlkem *m, const struct mlkem *plain, struct bytes ek)
{
    uint8_t ct[2][MLKEM_CT_MAX], secrets[2][MLKEM_OCTETS];
    int rc = mlkem_encapsulate(m, ek, octets, ct[0], secrets[0]);
    require(rc == mlkem_encapsulate(plain, ek, octets, ct[1], secrets[1]));
    require((rc == 0) == (ek.len == mlkem_ek_len(m) && below_q(m, ek)));
    if (rc < 0)
        return;
    require(memcmp(ct[0], ct[1], mlkem_ct_len(m)) == 0);
    require(memcmp(secrets[0], secrets[1], MLKEM_OCTETS) == 0);
}

static void try_ciphertext(const struct mlkem *m, const struct mlkem *plain, struct bytes ct)
{
    uint8_t ek[MLKEM_EK_MAX], dk[MLKEM_DK_MAX], secrets[2][MLKEM_OCTETS];
    const struct bytes key = {dk, mlkem_dk_len(m)};
    require(mlkem_create(m, octets, ek, dk) == 0);
    int rc = mlkem_decapsulate(m, key, ct, secrets[0]);
    require(rc == mlkem_decapsulate(plain, key, ct, secrets[1]));
    require((rc == 0) == (ct.len == mlkem_ct_len(m)));
    if (rc == 0)
        require(memcmp(secrets[0], secrets[1], MLKEM_OCTETS) == 0);
}

/* The same through what the engine calls. */
static void try_exchange(uint16_t id, struct bytes value)
{
    static const struct random *const random = &random_system;
    uint8_t ours[KEX_SECRET_MAX], theirs[KEX_SECRET_MAX];
    const struct kex_alg *alg = suite_kex(id);
    struct kex *answer, *kex;
    if (kex_answer(alg, random, value, &answer) == 0) {
        require(kex_value(answer).len == alg->answer_len);
        require(kex_derive(answer, value, theirs) == 0);
        kex_free(answer);
    }
    require(kex_create(alg, random, &kex) == 0);
    require((kex_derive(kex, value, ours) == 0) == (value.len == alg->answer_len));
    kex_free(kex);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mlkem m, plain;
    if (size < 1)
        return 0;
    uint16_t id = (uint16_t)(35 + data[0] % 3);
    struct bytes value = {data + 1, size - 1};
    require(mlkem_of(id, &m));
    plain = m;
    plain.code = &poly_code_plain;
    if (data[0] < 128)
        try_key(&m, &plain, value);
    else
        try_ciphertext(&m, &plain, value);
    try_exchange(id, value);
    return 0;
}
