/* Polynomials of ML-KEM (FIPS 203 section 4.3): 256 coefficients modulo q = 3329, kept as signed
 * numbers of 16 bits that may lie outside 0..q-1; each function says how far.
 *
 * Coefficients of a transformed polynomial are stored in rows: coefficient n = 16 b + p stands at
 * 16 p + b. So that all seven layers of the transform, and the products, work on 16 neighbours at
 * once, which is what a vector unit wants; the compiler sees to the rest. Nothing here branches on,
 * or indexes by, a coefficient, and nothing divides. */
#ifndef SHRIKE_CRYPTO_MLKEM_POLY_H
#define SHRIKE_CRYPTO_MLKEM_POLY_H

#include "crypto/keccak.h"

enum { MLKEM_Q = 3329, POLY_N = 256, POLY_OCTETS = 384 };

struct poly {
    int16_t c[POLY_N] __attribute__((aligned(32)));
};

/* Where coefficient n of a transformed polynomial stands. */
static inline size_t poly_row_place(size_t n)
{
    return (n & 15) << 4 | n >> 4;
}

/* What is worth compiling for more than one kind of CPU. */
struct poly_code {
    /* |c| < q to |c| < 8 q, in rows. */
    void (*transform)(struct poly *p);
    /* The inverse, times 2^16: of a product it makes the product's true coefficients, |c| < q. */
    void (*restore)(struct poly *p);
    /* The sum of count (at most 4) products a[i] b[i], over 2^16; |c| < 8 q. Of a[i] and b[i], one
     * must be in -q..q and the other below 8 q. */
    void (*product)(struct poly *sum, const struct poly *a, const struct poly *b, size_t count);
    keccak4_permute *permute;
};
extern const struct poly_code poly_code_plain;
#ifdef __x86_64__
extern const struct poly_code poly_code_avx2;
#endif
/* The best one for this CPU. */
const struct poly_code *poly_code_best(void);

/* A transformed polynomial into rows. */
void poly_to_rows(struct poly *p);
/* Times 2^16, which `product` has divided by; |c| < q. */
void poly_unscale(struct poly *p);
void poly_add(struct poly *sum, const struct poly *p);
void poly_subtract(struct poly *from, const struct poly *p);
/* To 0..q-1, from any number of 16 bits. */
void poly_freeze(struct poly *p);

/* A centred binomial distribution out of 64 eta octets; eta is 2 or 3. */
void poly_binomial(struct poly *p, const uint8_t *octets, unsigned eta);
/* The next coefficients of a uniform polynomial, not yet in rows, out of a block of SHAKE128;
 * `have` are there already; returns how many there are now. Of public octets only. */
size_t poly_uniform(struct poly *p, size_t have, const uint8_t block[static SHAKE128_RATE]);

/* ByteEncode_12 and ByteDecode_12 of a polynomial in rows, 0..q-1. decode: false when one is q or
 * more. */
void poly_encode(const struct poly *p, uint8_t out[static POLY_OCTETS]);
bool poly_decode(struct poly *p, const uint8_t in[static POLY_OCTETS]);
/* Compress_d with ByteEncode_d, of 0..q-1, 32 d octets, and back; d is 1, 4, 5, 10 or 11. */
void poly_compress(const struct poly *p, uint8_t *out, unsigned d);
void poly_decompress(struct poly *p, const uint8_t *in, unsigned d);

#endif
