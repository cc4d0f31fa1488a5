#include <string.h>

#include "base/base.h"

struct reader reader_of(const void *data, size_t len)
{
    return (struct reader){.at = data, .left = len};
}

struct reader reader_of_bytes(struct bytes bytes)
{
    return reader_of(bytes.at, bytes.len);
}

/* The one place where a reader moves: NULL when fewer than len octets are left, and nothing is left
 * after that. */
static const uint8_t *take(struct reader *r, size_t len)
{
    if (r->bad || len > r->left) {
        r->bad = true;
        r->left = 0;
        return NULL;
    }
    const uint8_t *at = r->at;
    if (len > 0)
        r->at += len;
    r->left -= len;
    return at;
}

uint8_t reader_u8(struct reader *r)
{
    const uint8_t *p = take(r, 1);
    return p ? p[0] : 0;
}

uint16_t reader_u16(struct reader *r)
{
    const uint8_t *p = take(r, 2);
    return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

uint32_t reader_u32(struct reader *r)
{
    const uint8_t *p = take(r, 4);
    return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

uint64_t reader_u64(struct reader *r)
{
    if (r->left < 8) {
        take(r, 8);
        return 0;
    }
    uint64_t high = reader_u32(r);
    return high << 32 | reader_u32(r);
}

void reader_copy(struct reader *r, void *to, size_t len)
{
    const uint8_t *p = take(r, len);
    if (len == 0)
        return;
    if (p)
        memcpy(to, p, len);
    else
        memset(to, 0, len);
}

struct bytes reader_bytes(struct reader *r, size_t len)
{
    const uint8_t *p = take(r, len);
    return (struct bytes){.at = p, .len = p ? len : 0};
}

struct bytes reader_rest(struct reader *r)
{
    return reader_bytes(r, r->left);
}

struct reader reader_sub(struct reader *r, size_t len)
{
    const uint8_t *p = take(r, len);
    return (struct reader){.at = p, .left = r->bad ? 0 : len, .bad = r->bad};
}

void reader_skip(struct reader *r, size_t len)
{
    take(r, len);
}

bool reader_done(const struct reader *r)
{
    return !r->bad && r->left == 0;
}

struct writer writer_of(void *data, size_t cap)
{
    return (struct writer){.start = data, .cap = cap};
}

static uint8_t *place(struct writer *w, size_t len)
{
    if (w->bad || len > w->cap - w->len) {
        w->bad = true;
        return NULL;
    }
    uint8_t *at = w->start + w->len;
    w->len += len;
    return at;
}

static void put(uint8_t *at, uint64_t v, size_t len)
{
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(v >> (8 * (len - 1 - i)));
}

static void write_number(struct writer *w, uint64_t v, size_t len)
{
    uint8_t *at = place(w, len);
    if (at)
        put(at, v, len);
}

void writer_u8(struct writer *w, uint8_t v)
{
    write_number(w, v, 1);
}

void writer_u16(struct writer *w, uint16_t v)
{
    write_number(w, v, 2);
}

void writer_u32(struct writer *w, uint32_t v)
{
    write_number(w, v, 4);
}

void writer_u64(struct writer *w, uint64_t v)
{
    write_number(w, v, 8);
}

void writer_bytes(struct writer *w, const void *data, size_t len)
{
    uint8_t *at = place(w, len);
    if (at && len > 0)
        memcpy(at, data, len);
}

uint8_t *writer_reserve(struct writer *w, size_t len)
{
    uint8_t *at = place(w, len);
    if (at)
        memset(at, 0, len);
    return at;
}

size_t writer_open16(struct writer *w)
{
    size_t mark = w->len;
    writer_u16(w, 0);
    return mark;
}

void writer_close16(struct writer *w, size_t mark, size_t counted_from)
{
    size_t len = w->len - counted_from;
    if (counted_from > w->len || len > UINT16_MAX)
        w->bad = true;
    else
        writer_patch_u16(w, mark, (uint16_t)len);
}

static void patch(struct writer *w, size_t at, uint64_t v, size_t len)
{
    if (w->bad || at > w->len || len > w->len - at)
        w->bad = true;
    else
        put(w->start + at, v, len);
}

void writer_patch_u8(struct writer *w, size_t at, uint8_t v)
{
    patch(w, at, v, 1);
}

void writer_patch_u16(struct writer *w, size_t at, uint16_t v)
{
    patch(w, at, v, 2);
}

void writer_patch_u32(struct writer *w, size_t at, uint32_t v)
{
    patch(w, at, v, 4);
}

struct bytes writer_view(const struct writer *w)
{
    return w->bad ? (struct bytes){0} : (struct bytes){.at = w->start, .len = w->len};
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}
