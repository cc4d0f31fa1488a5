#include "crypto/mlkem_poly.h"

#include <string.h>

enum {
    WIDTH = 16,         /* coefficients a row */
    Q_INVERSE = -3327,  /* modulo 2^16 */
    BARRETT = 20159,    /* 2^26 / q, rounded */
    ROOM = 1353,        /* 2^32 modulo q */
    ROOM_BY_128 = 1441, /* 2^32 / 128 modulo q */
};

/* The powers of 17 in the order of FIPS 203 appendix A, times 2^16, centred: those of the layers
 * whose blocks are whole rows. */
static const int16_t zetas[16] = {-1044, -758, -359, -1517, 1493, 1422,  287,   202,
                                  -171,  622,  1577, 182,   962,  -1202, -1474, 1468};
/* Those of the last three layers, where block b of 16 coefficients is column b: one row for the
 * layer of length 8, two for 4, four for 2; and their order on the way back. */
static const int16_t columns[7][WIDTH] __attribute__((aligned(32))) = {
    {573, -1325, 264, 383, -829, 1458, -1602, -130, -681, 1017, 732, 608, -1542, 411, -205, -1571},
    {1223, -552, -1293, -282, 516, -320, -1618, 126, -853, -271, 107, -247, -398, -1508, 448, 677},
    {652, 1015, 1491, -1544, -8, -666, -1162, 1469, -90, 830, -1421, -951, 961, -725, -1065, -1275},
    {-1103, -1251, 422, -291, -246, -777, -1590, 418, 817, 1322, -1215, -874, -1185, -1510, -108,
     958},
    {430, 871, 587, -460, 778, 1483, 644, 329, 1097, -1285, -136, 220, -1530, -854, -308, -1460},
    {555, 1550, 177, 1574, 1159, -602, -872, -156, 603, -1465, 1218, -1187, -1278, -870, 996, 1522},
    {843, 105, -235, 1653, -147, 1119, 349, -75, 610, 384, -1335, -1659, 794, 478, 991, 1628}};
static const int16_t columns_back[7][WIDTH] __attribute__((aligned(32))) = {
    {-1571, -205, 411, -1542, 608, 732, 1017, -681, -130, -1602, 1458, -829, 383, 264, -1325, 573},
    {-1275, -1065, -725, 961, -951, -1421, 830, -90, 1469, -1162, -666, -8, -1544, 1491, 1015, 652},
    {677, 448, -1508, -398, -247, 107, -271, -853, 126, -1618, -320, 516, -282, -1293, -552, 1223},
    {1628, 991, 478, 794, -1659, -1335, 384, 610, -75, 349, 1119, -147, 1653, -235, 105, 843},
    {1522, 996, -870, -1278, -1187, 1218, -1465, 603, -156, -872, -602, 1159, 1574, 177, 1550, 555},
    {-1460, -308, -854, -1530, 220, -136, -1285, 1097, 329, 644, 1483, 778, -460, 587, 871, 430},
    {958, -108, -1510, -1185, -874, -1215, 1322, 817, 418, -1590, -777, -246, -291, 422, -1251,
     -1103}};

/* ---- arithmetic ---- */

/* The upper half of a product. */
ALWAYS_INLINE int16_t high(int16_t a, int16_t b)
{
    return (int16_t)((int32_t)a * b >> 16);
}

ALWAYS_INLINE int16_t low(int16_t a, int16_t b)
{
    return (int16_t)(uint16_t)((uint32_t)(uint16_t)a * (uint16_t)b);
}

/* a b / 2^16 modulo q (Montgomery), in -q..q, for |a b| < 2^15 q. */
ALWAYS_INLINE int16_t multiply(int16_t a, int16_t b)
{
    return (int16_t)(high(a, b) - high(low(low(a, b), Q_INVERSE), MLKEM_Q));
}

/* To -q/2..q/2 (Barrett), from any number of 16 bits. */
ALWAYS_INLINE int16_t reduce(int16_t a)
{
    int16_t quotient = (int16_t)((high(a, BARRETT) + 512) >> 10);

    return (int16_t)(a - quotient * MLKEM_Q);
}

ALWAYS_INLINE void reduce_all(struct poly *p)
{
    for (size_t i = 0; i < POLY_N; i++)
        p->c[i] = reduce(p->c[i]);
}

/* ---- the transform (FIPS 203 algorithms 9 and 10) ---- */

/* One row against another, with a factor a column. */
ALWAYS_INLINE void cross(int16_t *restrict a, int16_t *restrict b, const int16_t *restrict factors)
{
    for (size_t i = 0; i < WIDTH; i++) {
        int16_t t = multiply(b[i], factors[i]);

        b[i] = (int16_t)(a[i] - t);
        a[i] = (int16_t)(a[i] + t);
    }
}

ALWAYS_INLINE void cross_back(int16_t *restrict a, int16_t *restrict b,
                              const int16_t *restrict factors)
{
    for (size_t i = 0; i < WIDTH; i++) {
        int16_t t = a[i];

        a[i] = (int16_t)(t + b[i]);
        b[i] = multiply((int16_t)(b[i] - t), factors[i]);
    }
}

ALWAYS_INLINE void fill(int16_t row[WIDTH], int16_t factor)
{
    for (size_t i = 0; i < WIDTH; i++)
        row[i] = factor;
}

/* Blocks of 2 len coefficients, whole rows: len is 128 to 16. */
ALWAYS_INLINE void layer(struct poly *p, size_t len)
{
    size_t zeta = POLY_N / 2 / len;

    for (size_t start = 0; start < POLY_N; start += 2 * len, zeta++) {
        int16_t factors[WIDTH];

        fill(factors, zetas[zeta]);
        for (size_t i = start; i < start + len; i += WIDTH)
            cross(p->c + i, p->c + i + len, factors);
    }
}

ALWAYS_INLINE void layer_back(struct poly *p, size_t len)
{
    size_t zeta = POLY_N / len - 1;

    for (size_t start = 0; start < POLY_N; start += 2 * len, zeta--) {
        int16_t factors[WIDTH];

        fill(factors, zetas[zeta]);
        for (size_t i = start; i < start + len; i += WIDTH)
            cross_back(p->c + i, p->c + i + len, factors);
    }
}

ALWAYS_INLINE void transpose(struct poly *p)
{
    struct poly from = *p;

    for (size_t row = 0; row < WIDTH; row++)
        for (size_t column = 0; column < WIDTH; column++)
            p->c[WIDTH * row + column] = from.c[WIDTH * column + row];
    secret_wipe(&from, sizeof(from));
}

/* Layers of length 8, 4 and 2: rows `len` apart. */
ALWAYS_INLINE void transform(struct poly *p)
{
    for (size_t len = POLY_N / 2; len >= WIDTH; len /= 2)
        layer(p, len);
    transpose(p);
    for (size_t len = 8, first = 0; len >= 2; len /= 2, first = 2 * first + 1)
        for (size_t row = 0; row < WIDTH; row++)
            if ((row & len) == 0)
                cross(p->c + WIDTH * row, p->c + WIDTH * (row + len),
                      columns[first + row / (2 * len)]);
}

/* From q/2 each layer doubles at most, so four layers fit, and then three. */
ALWAYS_INLINE void restore(struct poly *p)
{
    const int16_t scale = ROOM_BY_128;

    reduce_all(p);
    for (size_t len = 2, first = 3; len <= 8; len *= 2, first /= 2)
        for (size_t row = 0; row < WIDTH; row++)
            if ((row & len) == 0)
                cross_back(p->c + WIDTH * row, p->c + WIDTH * (row + len),
                           columns_back[first + row / (2 * len)]);
    transpose(p);
    layer_back(p, 16);
    reduce_all(p);
    for (size_t len = 32; len < POLY_N; len *= 2)
        layer_back(p, len);
    for (size_t i = 0; i < POLY_N; i++)
        p->c[i] = multiply(p->c[i], scale);
}

/* Products of pairs modulo X^2 - gamma (FIPS 203 algorithms 11 and 12); gamma is one of the last
 * layer's factors, negative for every other pair. */
ALWAYS_INLINE void product(struct poly *sum, const struct poly *a, const struct poly *b,
                           size_t count)
{
    for (size_t pair = 0; pair < 8; pair++) {
        const int16_t *gamma = columns[3 + pair / 2];
        int16_t sign = pair % 2 == 0 ? 1 : -1;
        size_t even = 2 * pair * WIDTH, odd = even + WIDTH;
        int16_t s0[WIDTH] = {0}, s1[WIDTH] = {0};

        for (size_t j = 0; j < count; j++)
            for (size_t i = 0; i < WIDTH; i++) {
                int16_t a0 = a[j].c[even + i], a1 = a[j].c[odd + i];
                int16_t b0 = b[j].c[even + i], b1 = b[j].c[odd + i];
                int16_t top = multiply(multiply(a1, b1), gamma[i]);

                s0[i] = (int16_t)(s0[i] + multiply(a0, b0) + sign * top);
                s1[i] = (int16_t)(s1[i] + multiply(a0, b1) + multiply(a1, b0));
            }
        memcpy(sum->c + even, s0, sizeof(s0));
        memcpy(sum->c + odd, s1, sizeof(s1));
    }
}

#define VERSION(name, target)                                                                      \
    target static void transform_##name(struct poly *p)                                            \
    {                                                                                              \
        transform(p);                                                                              \
    }                                                                                              \
    target static void restore_##name(struct poly *p)                                              \
    {                                                                                              \
        restore(p);                                                                                \
    }                                                                                              \
    target static void product_##name(struct poly *sum, const struct poly *a,                      \
                                      const struct poly *b, size_t count)                          \
    {                                                                                              \
        product(sum, a, b, count);                                                                 \
    }                                                                                              \
    const struct poly_code poly_code_##name = {transform_##name, restore_##name, product_##name,   \
                                               keccak4_permute_##name}

VERSION(plain, );
#ifdef __x86_64__
VERSION(avx2, __attribute__((target("avx2"))));
#endif

const struct poly_code *poly_code_best(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2"))
        return &poly_code_avx2;
#endif
    return &poly_code_plain;
}

/* ---- coefficient by coefficient ---- */

void poly_to_rows(struct poly *p)
{
    transpose(p);
}

void poly_unscale(struct poly *p)
{
    for (size_t i = 0; i < POLY_N; i++)
        p->c[i] = multiply(p->c[i], ROOM);
}

void poly_add(struct poly *sum, const struct poly *p)
{
    for (size_t i = 0; i < POLY_N; i++)
        sum->c[i] = (int16_t)(sum->c[i] + p->c[i]);
}

void poly_subtract(struct poly *from, const struct poly *p)
{
    for (size_t i = 0; i < POLY_N; i++)
        from->c[i] = (int16_t)(from->c[i] - p->c[i]);
}

void poly_freeze(struct poly *p)
{
    for (size_t i = 0; i < POLY_N; i++) {
        int16_t c = reduce(p->c[i]);

        p->c[i] = (int16_t)(c + (c >> 15 & MLKEM_Q));
    }
}
