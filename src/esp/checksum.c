#include <arpa/inet.h>
#include <string.h>

#include "esp/checksum.h"

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

static inline __attribute__((always_inline)) uint64_t add_tail(uint64_t sum, uint8_t *to,
                                                               const uint8_t *from, size_t len)
{
    while (len > 0) {
        size_t now = len < 8 ? len : 8;
        uint64_t word = 0;
        memcpy(&word, from, now);
        if (to) {
            memcpy(to, &word, now);
            to += now;
        }
        sum = add_carry(sum, word);
        from += now;
        len -= now;
    }
    return sum;
}

static inline __attribute__((always_inline)) uint64_t sum_pass(uint64_t sum, uint8_t *to,
                                                               const uint8_t *from, size_t len)
{
    lanes low = {0}, high = {0};
    size_t whole = len / sizeof(lanes) * sizeof(lanes);
    for (size_t i = 0; i < whole; i += sizeof(lanes)) {
        lanes v = *(const lanes_anywhere *)(const void *)(from + i);
        if (to)
            *(lanes_anywhere *)(void *)(to + i) = v;
        low += v & 0xffffffffu;
        high += v >> 32;
    }
    low += high;
    for (int i = 0; i < 4; i++)
        sum = add_carry(sum, low[i]);
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
    return has_avx2() ? add_avx2(sum, data, len) : add_base(sum, data, len);
}

uint64_t sum_copy(uint64_t sum, void *restrict to, const void *restrict from, size_t len)
{
    return has_avx2() ? copy_avx2(sum, to, from, len) : copy_base(sum, to, from, len);
}

uint16_t sum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

uint64_t sum_of_u16(uint16_t value)
{
    return htons(value);
}

uint64_t sum_of_u32(uint32_t value)
{
    return htonl(value);
}

uint16_t checksum_adjust(uint16_t checksum, uint16_t old_word, uint16_t new_word)
{
    uint64_t sum = (uint64_t)(uint16_t)~checksum + (uint16_t)~old_word + new_word;
    return (uint16_t)~sum_fold(sum);
}
