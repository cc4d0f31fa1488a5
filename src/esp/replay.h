/* The anti-replay window of one inbound SA (RFC 4303 section 3.4.3, RFC 6479). One thread looks and
 * marks; `top` may be read by others. */
#ifndef SHRIKE_ESP_REPLAY_H
#define SHRIKE_ESP_REPLAY_H

#include "esp/esp.h"

/* Bits are kept in 64-bit words used as a ring: number n has bit n % 64 of word (n / 64) % words.
 * There is one word more than the window needs, so whole words can be cleared as the top moves. */
struct replay {
    uint64_t top;    /* the highest authentic number so far */
    uint32_t window; /* 0 = every number is fresh */
    uint32_t words;
    uint64_t *bits;
};

size_t replay_words(uint32_t window);
/* `bits` are replay_words(window) zeroed words that live as long as the window. */
void replay_init(struct replay *replay, uint32_t window, uint64_t *bits);
/* The whole number for the 32 bits on the wire. With ESN: the one closest to the top. Appendix A of
 * RFC 4303 instead takes everything behind the window for the next 2^32; the two differ only after
 * 2^31 packets lost in a row, and this one names an old packet a replay without a cipher pass. */
uint64_t replay_number(const struct replay *replay, uint32_t low, bool esn);
/* Before the cipher: could this number be accepted? */
bool replay_fresh(const struct replay *replay, uint64_t number);
/* After the tag was found right: takes the number; false when it was taken meanwhile. */
bool replay_mark(struct replay *replay, uint64_t number);

#endif
