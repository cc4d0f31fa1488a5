/* Bounded cursors: the only way to walk over bytes that came from outside, or to build bytes that
 * go out. Integers are big-endian on the wire. Failure is sticky: after an over-read everything
 * read is zero or empty and `bad` stays set. */
#ifndef SHRIKE_BASE_BUF_H
#define SHRIKE_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A borrowed view; whoever made it says how long it lives. */
struct bytes {
    const uint8_t *at;
    size_t len;
};

struct reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

struct reader reader_of(const void *data, size_t len);
struct reader reader_of_bytes(struct bytes bytes);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
void reader_copy(struct reader *r, void *to, size_t len); /* on failure `to` is zeroed */
struct bytes reader_bytes(struct reader *r, size_t len);  /* a view of the next len octets */
struct bytes reader_rest(struct reader *r);               /* all that is left; may be empty */
struct reader reader_sub(
    struct reader *r, size_t len); /* a reader over the next len octets; bad if there are fewer */
void reader_skip(struct reader *r, size_t len);
/* True when all was consumed and nothing was missing. */
bool reader_done(const struct reader *r);

struct writer {
    uint8_t *start;
    size_t len; /* octets written so far */
    size_t cap;
    bool bad; /* something did not fit: the content is not to be used */
};

struct writer writer_of(void *data, size_t cap);
void writer_u8(struct writer *w, uint8_t v);
void writer_u16(struct writer *w, uint16_t v);
void writer_u32(struct writer *w, uint32_t v);
void writer_u64(struct writer *w, uint64_t v);
void writer_bytes(struct writer *w, const void *data, size_t len);
/* Reserves len zeroed octets and returns where they are, NULL when they do not fit. */
uint8_t *writer_reserve(struct writer *w, size_t len);
/* A 16-bit length to be known later: open remembers the place, close writes len - from there (both
 * offsets into the writer). */
size_t writer_open16(struct writer *w);
void writer_close16(struct writer *w, size_t mark, size_t counted_from);
/* Overwrites octets already written; sets bad when out of range. */
void writer_patch_u8(struct writer *w, size_t at, uint8_t v);
void writer_patch_u16(struct writer *w, size_t at, uint16_t v);
void writer_patch_u32(struct writer *w, size_t at, uint32_t v);
struct bytes writer_view(const struct writer *w); /* empty when bad */

bool bytes_equal(struct bytes a, struct bytes b); /* not for secrets */

#endif
