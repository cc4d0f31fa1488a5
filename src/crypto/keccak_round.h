/* One round of Keccak-f[1600] (FIPS 202 section 3.2), from one set of 25 lanes into another.
 * keccak.c includes this twice: for one state of 64-bit lanes, and for four states side by side.
 * LANE is the type, ROUND the name. Macros instead of functions: a vector of 256 bits is passed to
 * a function by value only where AVX2 is. */
#define ROTATE(x, by)   ((x) << (by) | (x) >> (64 - (by)))
#define PARITY(x)       (a[x] ^ a[(x) + 5] ^ a[(x) + 10] ^ a[(x) + 15] ^ a[(x) + 20])
#define MOVED(from, by) ROTATE(a[from] ^ d[(from) % 5], by)
#define ROW(to, b, c)                                                                              \
    do {                                                                                           \
        e[(to) + 0] = b[0] ^ (~b[1] & b[2]) ^ (c);                                                 \
        e[(to) + 1] = b[1] ^ (~b[2] & b[3]);                                                       \
        e[(to) + 2] = b[2] ^ (~b[3] & b[4]);                                                       \
        e[(to) + 3] = b[3] ^ (~b[4] & b[0]);                                                       \
        e[(to) + 4] = b[4] ^ (~b[0] & b[1]);                                                       \
    } while (0)

ALWAYS_INLINE void ROUND(const LANE a[25], LANE e[25], uint64_t constant)
{
    const LANE c[5] = {PARITY(0), PARITY(1), PARITY(2), PARITY(3), PARITY(4)};
    const LANE d[5] = {c[4] ^ ROTATE(c[1], 1), c[0] ^ ROTATE(c[2], 1), c[1] ^ ROTATE(c[3], 1),
                       c[2] ^ ROTATE(c[4], 1), c[3] ^ ROTATE(c[0], 1)};
    const LANE b0[5] = {a[0] ^ d[0], MOVED(6, 44), MOVED(12, 43), MOVED(18, 21), MOVED(24, 14)};
    const LANE b1[5] = {MOVED(3, 28), MOVED(9, 20), MOVED(10, 3), MOVED(16, 45), MOVED(22, 61)};
    const LANE b2[5] = {MOVED(1, 1), MOVED(7, 6), MOVED(13, 25), MOVED(19, 8), MOVED(20, 18)};
    const LANE b3[5] = {MOVED(4, 27), MOVED(5, 36), MOVED(11, 10), MOVED(17, 15), MOVED(23, 56)};
    const LANE b4[5] = {MOVED(2, 62), MOVED(8, 55), MOVED(14, 39), MOVED(15, 41), MOVED(21, 2)};

    ROW(0, b0, constant);
    ROW(5, b1, 0);
    ROW(10, b2, 0);
    ROW(15, b3, 0);
    ROW(20, b4, 0);
}

#undef ROTATE
#undef PARITY
#undef MOVED
#undef ROW
