/* SHA-3 and SHAKE (FIPS 202) as ML-KEM uses them: mostly short inputs, often four at once, and an
 * output whose length is not known beforehand. libcrypto before 3.3 cannot go on with an output,
 * and the work of setting it up would be the greater part of ML-KEM's cost. */
#ifndef SHRIKE_CRYPTO_KECCAK_H
#define SHRIKE_CRYPTO_KECCAK_H

#include "base/base.h"

enum {
    SHAKE128_RATE = 168,
    SHAKE256_RATE = 136,
    KECCAK_LANES = 25,
    KECCAK_FOUR = 4,
};

void keccak_sha3_256(const struct bytes *parts, size_t count, uint8_t out[static 32]);
void keccak_sha3_512(const struct bytes *parts, size_t count, uint8_t out[static 64]);
void keccak_shake256(const struct bytes *parts, size_t count, uint8_t out[static 32]);

/* Four states; lane i of state j is lanes[i][j]. What held a secret is wiped by the caller. */
struct keccak4 {
    uint64_t lanes[KECCAK_LANES][KECCAK_FOUR] __attribute__((aligned(32)));
};
typedef void keccak4_permute(struct keccak4 *k);

/* Absorbs four inputs of `len` octets, less than a block, for SHAKE. */
void keccak4_absorb(struct keccak4 *k, const uint8_t *const in[KECCAK_FOUR], size_t len,
                    size_t rate);
/* The next block of each output: `rate` octets; out[j] may be NULL. */
void keccak4_squeeze(struct keccak4 *k, keccak4_permute *permute, uint8_t *const out[KECCAK_FOUR],
                     size_t rate);

keccak4_permute keccak4_permute_plain;
#ifdef __x86_64__
keccak4_permute keccak4_permute_avx2;
#endif

#endif
