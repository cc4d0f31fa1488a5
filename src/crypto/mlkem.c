#include "crypto/mlkem.h"

#include <string.h>

enum {
    BLOCKS_MAX = 16, /* of SHAKE128 for one polynomial: 3 are nearly always enough */
    ETA2 = 2,
    NOISE_MAX = 192, /* 64 eta1 */
};

static const struct mlkem sets[] = {
    {.id = 35, .k = 2, .eta1 = 3, .du = 10, .dv = 4},
    {.id = 36, .k = 3, .eta1 = 2, .du = 10, .dv = 4},
    {.id = 37, .k = 4, .eta1 = 2, .du = 11, .dv = 5},
};

bool mlkem_of(uint16_t id, struct mlkem *out)
{
    for (size_t i = 0; i < ARRAY_LEN(sets); i++)
        if (sets[i].id == id) {
            *out = sets[i];
            out->code = poly_code_best();
            return true;
        }
    return false;
}

size_t mlkem_ek_len(const struct mlkem *m)
{
    return (size_t)m->k * POLY_OCTETS + 32;
}

size_t mlkem_dk_len(const struct mlkem *m)
{
    return (size_t)m->k * POLY_OCTETS + mlkem_ek_len(m) + 64;
}

size_t mlkem_ct_len(const struct mlkem *m)
{
    return 32u * ((size_t)m->du * m->k + m->dv);
}

/* ---- sampling ---- */

/* Row i of the matrix A, or of its transpose (FIPS 203 algorithm 7): SHAKE128 of rho, column, row.
 */
static int sample_row(const struct mlkem *m, const uint8_t *rho, uint8_t row, bool transposed,
                      struct poly *out)
{
    uint8_t seeds[KECCAK_FOUR][34], blocks[KECCAK_FOUR][SHAKE128_RATE];
    const uint8_t *in[KECCAK_FOUR];
    uint8_t *at[KECCAK_FOUR] = {NULL};
    size_t have[KECCAK_FOUR] = {0};
    struct keccak4 state;

    for (uint8_t j = 0; j < KECCAK_FOUR; j++) {
        memcpy(seeds[j], rho, 32);
        seeds[j][32] = transposed ? row : j;
        seeds[j][33] = transposed ? j : row;
        in[j] = seeds[j];
        if (j < m->k)
            at[j] = blocks[j];
    }
    keccak4_absorb(&state, in, sizeof(seeds[0]), SHAKE128_RATE);
    for (int n = 0; n < BLOCKS_MAX; n++) {
        bool done = true;

        keccak4_squeeze(&state, m->code->permute, at, SHAKE128_RATE);
        for (size_t j = 0; j < m->k; j++) {
            have[j] = poly_uniform(&out[j], have[j], blocks[j]);
            done = done && have[j] == POLY_N;
        }
        if (!done)
            continue;
        for (size_t j = 0; j < m->k; j++)
            poly_to_rows(&out[j]);
        return 0;
    }
    return ERR_KE; /* nobody has ever seen such a rho */
}

/* `count` small polynomials: SHAKE256 of the key and a number, from `first` on (FIPS 203 section
 * 4.1). */
static void sample_noise(const struct mlkem *m, const uint8_t *key, uint8_t first, unsigned eta,
                         struct poly *out, size_t count)
{
    uint8_t seeds[KECCAK_FOUR][33], octets[KECCAK_FOUR][2 * SHAKE256_RATE];
    const uint8_t *in[KECCAK_FOUR];
    struct keccak4 state;

    for (size_t done = 0; done < count; done += KECCAK_FOUR) {
        uint8_t *at[KECCAK_FOUR] = {NULL};
        size_t here = count - done < KECCAK_FOUR ? count - done : KECCAK_FOUR;

        for (size_t j = 0; j < KECCAK_FOUR; j++) {
            memcpy(seeds[j], key, 32);
            seeds[j][32] = (uint8_t)(first + done + j);
            in[j] = seeds[j];
            if (j < here)
                at[j] = octets[j];
        }
        keccak4_absorb(&state, in, sizeof(seeds[0]), SHAKE256_RATE);
        for (size_t have = 0; have < 64 * (size_t)eta; have += SHAKE256_RATE) {
            keccak4_squeeze(&state, m->code->permute, at, SHAKE256_RATE);
            for (size_t j = 0; j < here; j++)
                at[j] += SHAKE256_RATE;
        }
        for (size_t j = 0; j < here; j++)
            poly_binomial(&out[done + j], octets[j], eta);
    }
    secret_wipe(seeds, sizeof(seeds));
    secret_wipe(octets, sizeof(octets));
    secret_wipe(&state, sizeof(state));
}

/* ---- K-PKE (FIPS 203 section 5) ---- */

/* All that a call makes, in one place, so that it is wiped at once. */
struct work {
    struct poly s[MLKEM_K_MAX]; /* the secret vector, or r of an encryption */
    struct poly noise[MLKEM_K_MAX + 1];
    struct poly row[MLKEM_K_MAX]; /* of the matrix, or another vector to multiply with */
    struct poly sum;
};

/* K-PKE.KeyGen, from its two seeds. */
static int make_keys(const struct mlkem *m, struct work *w, const uint8_t *rho,
                     const uint8_t *sigma, uint8_t *ek, uint8_t *dk)
{
    sample_noise(m, sigma, 0, m->eta1, w->s, m->k);
    sample_noise(m, sigma, m->k, m->eta1, w->noise, m->k);
    for (size_t i = 0; i < m->k; i++) {
        m->code->transform(&w->s[i]);
        poly_freeze(&w->s[i]);
        poly_encode(&w->s[i], dk + i * POLY_OCTETS);
        m->code->transform(&w->noise[i]);
        poly_freeze(&w->noise[i]);
    }
    for (uint8_t i = 0; i < m->k; i++) {
        int rc = sample_row(m, rho, i, false, w->row);

        if (rc < 0)
            return rc;
        m->code->product(&w->sum, w->row, w->s, m->k);
        poly_unscale(&w->sum);
        poly_add(&w->sum, &w->noise[i]);
        poly_freeze(&w->sum);
        poly_encode(&w->sum, ek + i * POLY_OCTETS);
    }
    memcpy(ek + (size_t)m->k * POLY_OCTETS, rho, 32);
    return 0;
}

/* The second half of a ciphertext: t r + noise + message. */
static int put_message(const struct mlkem *m, struct work *w, const uint8_t *ek,
                       const uint8_t *message, uint8_t *ct)
{
    struct poly *bits = &w->noise[0];

    for (size_t i = 0; i < m->k; i++)
        if (!poly_decode(&w->row[i], ek + i * POLY_OCTETS))
            return ERR_KE;
    m->code->product(&w->sum, w->row, w->s, m->k);
    m->code->restore(&w->sum);
    poly_add(&w->sum, &w->noise[m->k]);
    poly_decompress(bits, message, 1);
    poly_add(&w->sum, bits);
    poly_freeze(&w->sum);
    poly_compress(&w->sum, ct + 32u * m->du * m->k, m->dv);
    return 0;
}

/* K-PKE.Encrypt. ERR_KE: ek holds a number that is not below q. */
static int encrypt(const struct mlkem *m, struct work *w, const uint8_t *ek, const uint8_t *message,
                   const uint8_t *coins, uint8_t *ct)
{
    sample_noise(m, coins, 0, m->eta1, w->s, m->k);
    sample_noise(m, coins, m->k, ETA2, w->noise, m->k + 1u);
    for (size_t i = 0; i < m->k; i++)
        m->code->transform(&w->s[i]);
    for (uint8_t i = 0; i < m->k; i++) {
        int rc = sample_row(m, ek + (size_t)m->k * POLY_OCTETS, i, true, w->row);

        if (rc < 0)
            return rc;
        m->code->product(&w->sum, w->row, w->s, m->k);
        m->code->restore(&w->sum);
        poly_add(&w->sum, &w->noise[i]);
        poly_freeze(&w->sum);
        poly_compress(&w->sum, ct + 32u * m->du * i, m->du);
    }
    return put_message(m, w, ek, message, ct);
}

/* K-PKE.Decrypt: v - s u, rounded to bits. */
static void decrypt(const struct mlkem *m, struct work *w, const uint8_t *dk, const uint8_t *ct,
                    uint8_t message[static 32])
{
    struct poly *v = &w->noise[0];

    for (size_t i = 0; i < m->k; i++) {
        poly_decompress(&w->row[i], ct + 32u * m->du * i, m->du);
        m->code->transform(&w->row[i]);
        (void)poly_decode(&w->s[i], dk + i * POLY_OCTETS); /* ours, below q */
    }
    m->code->product(&w->sum, w->s, w->row, m->k);
    m->code->restore(&w->sum);
    poly_decompress(v, ct + 32u * m->du * m->k, m->dv);
    poly_subtract(v, &w->sum);
    poly_freeze(v);
    poly_compress(v, message, 1);
}

/* ---- ML-KEM (FIPS 203 section 6) ---- */

int mlkem_expand(const struct mlkem *m, const uint8_t rho[static 32],
                 const uint8_t sigma[static 32], const uint8_t z[static 32], uint8_t *ek,
                 uint8_t *dk)
{
    size_t ek_len = mlkem_ek_len(m);
    uint8_t *at = dk + (size_t)m->k * POLY_OCTETS;
    const struct bytes part = {ek, ek_len};
    struct work w;
    int rc = make_keys(m, &w, rho, sigma, ek, dk);

    secret_wipe(&w, sizeof(w));
    if (rc < 0)
        return rc;
    memcpy(at, ek, ek_len);
    keccak_sha3_256(&part, 1, at + ek_len);
    memcpy(at + ek_len + 32, z, 32);
    return 0;
}

int mlkem_create(const struct mlkem *m, const uint8_t seed[static MLKEM_SEED], uint8_t *ek,
                 uint8_t *dk)
{
    uint8_t rho_sigma[64];
    const struct bytes parts[] = {{seed, 32}, {&m->k, 1}};
    int rc;

    keccak_sha3_512(parts, ARRAY_LEN(parts), rho_sigma);
    rc = mlkem_expand(m, rho_sigma, rho_sigma + 32, seed + 32, ek, dk);
    secret_wipe(rho_sigma, sizeof(rho_sigma));
    return rc;
}

int mlkem_encapsulate(const struct mlkem *m, struct bytes ek,
                      const uint8_t random[static MLKEM_OCTETS], uint8_t *ct,
                      uint8_t secret[static MLKEM_OCTETS])
{
    uint8_t hash[32], secret_coins[64];
    const struct bytes parts[] = {{random, MLKEM_OCTETS}, {hash, sizeof(hash)}};
    struct work w;
    int rc;

    if (ek.len != mlkem_ek_len(m))
        return ERR_KE;
    keccak_sha3_256(&ek, 1, hash);
    keccak_sha3_512(parts, ARRAY_LEN(parts), secret_coins);
    rc = encrypt(m, &w, ek.at, random, secret_coins + 32, ct);
    if (rc == 0)
        memcpy(secret, secret_coins, MLKEM_OCTETS);
    secret_wipe(secret_coins, sizeof(secret_coins));
    secret_wipe(&w, sizeof(w));
    return rc;
}

/* to = from where same, without a branch. */
static void choose(uint8_t *to, const uint8_t *from, size_t len, bool same)
{
    uint32_t mask = 0u - (uint32_t)same;

    __asm__("" : "+r"(mask)); /* else a compiler may see that it is all or nothing */
    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)(to[i] ^ (mask & (to[i] ^ from[i])));
}

/* An encapsulation key and its hash, as they stand in a decapsulation key. */
static bool is_whole(const uint8_t *ek, size_t ek_len)
{
    const struct bytes part = {ek, ek_len};
    uint8_t hash[32];

    keccak_sha3_256(&part, 1, hash);
    return memcmp(hash, ek + ek_len, sizeof(hash)) == 0;
}

int mlkem_decapsulate(const struct mlkem *m, struct bytes dk, struct bytes ct,
                      uint8_t secret[static MLKEM_OCTETS])
{
    const uint8_t *ek = dk.at + (size_t)m->k * POLY_OCTETS, *hash = ek + mlkem_ek_len(m);
    uint8_t message[32], secret_coins[64], again[MLKEM_CT_MAX];
    struct work w;
    int rc;

    if (dk.len != mlkem_dk_len(m) || ct.len != mlkem_ct_len(m) || !is_whole(ek, mlkem_ek_len(m)))
        return ERR_KE;
    const struct bytes made[] = {{message, 32}, {hash, 32}}, refused[] = {{hash + 32, 32}, ct};
    decrypt(m, &w, dk.at, ct.at, message);
    keccak_sha3_512(made, ARRAY_LEN(made), secret_coins);
    keccak_shake256(refused, ARRAY_LEN(refused), secret);
    rc = encrypt(m, &w, ek, message, secret_coins + 32, again);
    choose(secret, secret_coins, MLKEM_OCTETS, secret_equal(again, ct.at, ct.len));
    secret_wipe(message, sizeof(message));
    secret_wipe(secret_coins, sizeof(secret_coins));
    secret_wipe(again, sizeof(again));
    secret_wipe(&w, sizeof(w));
    return rc;
}
