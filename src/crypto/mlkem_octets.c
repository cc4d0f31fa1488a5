/* Polynomials of ML-KEM out of octets and into octets. */
#include "crypto/mlkem_poly.h"

#include <endian.h>
#include <string.h>

enum { RECIPROCAL = 1290168 /* 2^32 / q, rounded up */ };

/* What a compiler knows to be 0 or 1 it may turn into a branch. */
#define HIDE(number) __asm__("" : "+r"(number))

/* ---- sampling ---- */

static uint64_t get_word(const uint8_t *from)
{
    uint64_t word;

    memcpy(&word, from, sizeof(word));
    return le64toh(word);
}

/* Two bits less two bits a coefficient, sixteen coefficients at once: their sums side by side in
 * fields of two bits, the differences, with 4 added, in fields of four. */
static void binomial_2(struct poly *p, const uint8_t *octets)
{
    for (size_t i = 0; i < POLY_N; i += 16) {
        uint64_t o = get_word(octets + i / 2), sums, differences;

        sums = (o & 0x5555555555555555) + (o >> 1 & 0x5555555555555555);
        differences =
            (sums & 0x3333333333333333) + 0x4444444444444444 - (sums >> 2 & 0x3333333333333333);
        for (size_t j = 0; j < 16; j++)
            p->c[i + j] = (int16_t)((int)(differences >> 4 * j & 15) - 4);
    }
}

/* Three bits less three bits, four coefficients out of three octets. */
static void binomial_3(struct poly *p, const uint8_t *octets)
{
    for (size_t i = 0; i < POLY_N; i += 4, octets += 3) {
        uint32_t o = octets[0] | (uint32_t)octets[1] << 8 | (uint32_t)octets[2] << 16;
        uint32_t sums = (o & 0x249249) + (o >> 1 & 0x249249) + (o >> 2 & 0x249249);

        for (size_t j = 0; j < 4; j++)
            p->c[i + j] = (int16_t)((int)(sums >> 6 * j & 7) - (int)(sums >> (6 * j + 3) & 7));
    }
}

void poly_binomial(struct poly *p, const uint8_t *octets, unsigned eta)
{
    if (eta == 2)
        binomial_2(p, octets);
    else
        binomial_3(p, octets);
}

size_t poly_uniform(struct poly *p, size_t have, const uint8_t block[static SHAKE128_RATE])
{
    for (size_t i = 0; i < SHAKE128_RATE; i += 3) {
        int first = block[i] | (block[i + 1] & 15) << 8;
        int second = block[i + 1] >> 4 | block[i + 2] << 4;

        if (have == POLY_N)
            break;
        p->c[have] = (int16_t)first;
        have += first < MLKEM_Q;
        if (have == POLY_N)
            break;
        p->c[have] = (int16_t)second;
        have += second < MLKEM_Q;
    }
    return have;
}

/* ---- encoding ---- */

/* Eight numbers of d bits, at most 12, in d octets. */
ALWAYS_INLINE void pack(uint8_t *out, const uint16_t v[8], unsigned d)
{
    uint64_t half[2] = {0};

#pragma GCC unroll 8
    for (unsigned i = 0; i < 8; i++)
        half[i / 4] |= (uint64_t)v[i] << d * (i % 4);
    const uint64_t word[2] = {half[0] | half[1] << 4 * d, half[1] >> (64 - 4 * d)};
#pragma GCC unroll 12
    for (unsigned i = 0; i < d; i++)
        out[i] = (uint8_t)(word[i / 8] >> 8 * (i % 8));
}

ALWAYS_INLINE void unpack(uint16_t v[8], const uint8_t *in, unsigned d)
{
    uint64_t word[2] = {0};

#pragma GCC unroll 12
    for (unsigned i = 0; i < d; i++)
        word[i / 8] |= (uint64_t)in[i] << 8 * (i % 8);
    const uint64_t half[2] = {word[0], word[0] >> 4 * d | word[1] << (64 - 4 * d)};
#pragma GCC unroll 8
    for (unsigned i = 0; i < 8; i++)
        v[i] = (uint16_t)(half[i / 4] >> d * (i % 4) & ((1u << d) - 1));
}

void poly_encode(const struct poly *p, uint8_t out[static POLY_OCTETS])
{
    uint16_t v[8];

    for (size_t n = 0; n < POLY_N; n += 8) {
        for (size_t i = 0; i < 8; i++)
            v[i] = (uint16_t)p->c[poly_row_place(n + i)];
        pack(out + n / 8 * 12, v, 12);
    }
    secret_wipe(v, sizeof(v));
}

bool poly_decode(struct poly *p, const uint8_t in[static POLY_OCTETS])
{
    uint16_t v[8];
    uint32_t over = 0;

    for (size_t n = 0; n < POLY_N; n += 8) {
        unpack(v, in + n / 8 * 12, 12);
        for (size_t i = 0; i < 8; i++) {
            over |= (uint32_t)(MLKEM_Q - 1 - v[i]);
            p->c[poly_row_place(n + i)] = (int16_t)v[i];
        }
    }
    secret_wipe(v, sizeof(v));
    return over >> 31 == 0;
}

/* (2^d c + (q - 1) / 2) / q, rounded down, modulo 2^d: the quotient as a product, for a division
 * may take a time that tells what was divided. Exact for all c below q and d up to 11. */
ALWAYS_INLINE uint16_t compress(int16_t c, unsigned d)
{
    uint64_t n = ((uint64_t)(uint16_t)c << d) + (MLKEM_Q - 1) / 2;

    return (uint16_t)(n * RECIPROCAL >> 32 & ((1u << d) - 1));
}

ALWAYS_INLINE void compress_all(const struct poly *p, uint8_t *out, unsigned d)
{
    uint16_t v[8];

    for (size_t n = 0; n < POLY_N; n += 8, out += d) {
        for (size_t i = 0; i < 8; i++)
            v[i] = compress(p->c[n + i], d);
        pack(out, v, d);
    }
    secret_wipe(v, sizeof(v));
}

ALWAYS_INLINE void decompress_all(struct poly *p, const uint8_t *in, unsigned d)
{
    uint16_t v[8];

    for (size_t n = 0; n < POLY_N; n += 8, in += d) {
        unpack(v, in, d);
        for (size_t i = 0; i < 8; i++) {
            uint32_t number = v[i];

            if (d == 1)
                HIDE(number);
            p->c[n + i] = (int16_t)((number * MLKEM_Q + (1u << (d - 1))) >> d);
        }
    }
    secret_wipe(v, sizeof(v));
}

/* A constant d makes straight code of the shifts. */
void poly_compress(const struct poly *p, uint8_t *out, unsigned d)
{
    switch (d) {
    case 1:
        compress_all(p, out, 1);
        break;
    case 4:
        compress_all(p, out, 4);
        break;
    case 5:
        compress_all(p, out, 5);
        break;
    case 10:
        compress_all(p, out, 10);
        break;
    default:
        compress_all(p, out, 11);
        break;
    }
}

void poly_decompress(struct poly *p, const uint8_t *in, unsigned d)
{
    switch (d) {
    case 1:
        decompress_all(p, in, 1);
        break;
    case 4:
        decompress_all(p, in, 4);
        break;
    case 5:
        decompress_all(p, in, 5);
        break;
    case 10:
        decompress_all(p, in, 10);
        break;
    default:
        decompress_all(p, in, 11);
        break;
    }
}
