#include <string.h>

#include "esp/checksum.h"

enum { SHORT = 64 };

/* Octets that are summed as pairs of 32-bit halves in vector lanes of 64 bits: with at most 64 KiB
 * a lane cannot overflow. GNU vectors become SSE2, AVX2 or NEON, as the function's target allows.
 */
typedef uint64_t lanes __attribute__((vector_size(32)));
typedef uint64_t lanes_anywhere __attribute__((vector_size(32), aligned(1), may_alias));

static inline uint64_t add_carry(uint64_t sum, uint64_t value)
{
    sum += value;
    return sum + (sum < value);
}

ALWAYS_INLINE uint64_t add_tail(uint64_t sum, uint8_t *to, const uint8_t *from, size_t len)
{
    uint64_t word;
    for (; len >= sizeof(word); len -= sizeof(word)) {
        memcpy(&word, from, sizeof(word));
        if (to) {
            memcpy(to, &word, sizeof(word));
            to += sizeof(word);
        }
        sum = add_carry(sum, word);
        from += sizeof(word);
    }
    if (len == 0)
        return sum;
    word = 0;
    memcpy(&word, from, len);
    if (to)
        memcpy(to, from, len);
    return add_carry(sum, word);
}

/* Two vectors a turn: their sums do not wait for each other. */
ALWAYS_INLINE uint64_t sum_pass(uint64_t sum, uint8_t *to, const uint8_t *from, size_t len)
{
    lanes a = {0}, b = {0}, c = {0}, d = {0};
    size_t whole = len / (2 * sizeof(lanes)) * (2 * sizeof(lanes));
    for (size_t i = 0; i < whole; i += 2 * sizeof(lanes)) {
        lanes v = *(const lanes_anywhere *)(const void *)(from + i);
        lanes w = *(const lanes_anywhere *)(const void *)(from + i + sizeof(lanes));
        if (to) {
            *(lanes_anywhere *)(void *)(to + i) = v;
            *(lanes_anywhere *)(void *)(to + i + sizeof(lanes)) = w;
        }
        a += v & 0xffffffffu;
        b += v >> 32;
        c += w & 0xffffffffu;
        d += w >> 32;
    }
    a += b + c + d;
    for (int i = 0; i < 4; i++)
        sum = add_carry(sum, a[i]);
    return add_tail(sum, to ? to + whole : NULL, from + whole, len - whole);
}

static uint64_t add_base(uint64_t sum, const void *data, size_t len)
{
    return sum_pass(sum, NULL, data, len);
}

static uint64_t copy_base(uint64_t sum, void *to, const void *from, size_t len)
{
    return sum_pass(sum, to, from, len);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t add_avx2(uint64_t sum, const void *data, size_t len)
{
    return sum_pass(sum, NULL, data, len);
}

__attribute__((target("avx2"))) static uint64_t copy_avx2(uint64_t sum, void *to, const void *from,
                                                          size_t len)
{
    return sum_pass(sum, to, from, len);
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}
#else
#define add_avx2  add_base
#define copy_avx2 copy_base
static bool has_avx2(void)
{
    return false;
}
#endif

uint64_t sum_add(uint64_t sum, const void *data, size_t len)
{
    if (len < SHORT) /* a header: not worth a vector */
        return add_tail(sum, NULL, data, len);
    return has_avx2() ? add_avx2(sum, data, len) : add_base(sum, data, len);
}

uint64_t sum_copy(uint64_t sum, void *restrict to, const void *restrict from, size_t len)
{
    return has_avx2() ? copy_avx2(sum, to, from, len) : copy_base(sum, to, from, len);
}

uint16_t checksum_adjust(uint16_t checksum, uint16_t old_word, uint16_t new_word)
{
    uint64_t sum = (uint64_t)(uint16_t)~checksum + (uint16_t)~old_word + new_word;
    return (uint16_t)~sum_fold(sum);
}
