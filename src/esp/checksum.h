/* The internet checksum (RFC 1071). Sums are 64 bits wide, in memory order, and folded at the end;
 * pieces that are added must start at even offsets of what is summed. */
#ifndef SHRIKE_ESP_CHECKSUM_H
#define SHRIKE_ESP_CHECKSUM_H

#include <arpa/inet.h>

#include "esp/esp.h"

uint64_t sum_add(uint64_t sum, const void *data, size_t len);
/* Copies and sums in one pass over the data. The two must not overlap. */
uint64_t sum_copy(uint64_t sum, void *restrict to, const void *restrict from, size_t len);
/* The 16-bit sum, not yet complemented, to be stored as it is. */
static inline uint16_t sum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}
/* A number in host order, as a summand. */
static inline uint64_t sum_of_u16(uint16_t value)
{
    return htons(value);
}
/* RFC 1624: the checksum after a 16-bit word in memory order changed. */
uint16_t checksum_adjust(uint16_t checksum, uint16_t old_word, uint16_t new_word);

#endif
