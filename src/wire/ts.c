/* Traffic selectors, RFC 7296 section 3.13. */
#include "wire/wire.h"

enum { TS_IPV4 = 7, TS_IPV6 = 8, TS_HEADER_LEN = 4 };

static struct ip read_ip(struct reader *r, uint8_t family)
{
    uint8_t octets[16];
    reader_copy(r, octets, family == 4 ? 4 : 16);
    return ip_from_octets(family, octets);
}

/* One selector; *keep says whether it is of a kind we know. Failure shows in r->bad. */
static struct selector read_selector(struct reader *r, bool *keep)
{
    uint8_t type = reader_u8(r);
    struct selector s = {.protocol = reader_u8(r)};
    uint16_t length = reader_u16(r);
    *keep = type == TS_IPV4 || type == TS_IPV6;
    if (length < TS_HEADER_LEN)
        r->bad = true;
    struct reader in = reader_sub(r, r->bad ? 0 : length - TS_HEADER_LEN);
    if (!*keep || r->bad)
        return s;
    uint8_t family = type == TS_IPV4 ? 4 : 6;
    s.port_low = reader_u16(&in);
    s.port_high = reader_u16(&in);
    s.low = read_ip(&in, family);
    s.high = read_ip(&in, family);
    if (!reader_done(&in) || ip_compare(&s.low, &s.high) > 0 ||
        (s.port_low > s.port_high && !selector_is_opaque(&s)))
        r->bad = true;
    return s;
}

int wire_ts_read(struct bytes body, struct selector *out, size_t max)
{
    struct reader r = reader_of_bytes(body);
    uint8_t count = reader_u8(&r);
    size_t kept = 0;
    reader_skip(&r, 3);
    if (r.bad || count == 0)
        return ERR_SYNTAX;
    for (size_t i = 0; i < count && !r.bad; i++) {
        bool keep;
        struct selector s = read_selector(&r, &keep);
        if (r.bad || !keep)
            continue;
        if (kept == max)
            return ERR_LIMIT;
        out[kept++] = s;
    }
    return reader_done(&r) ? (int)kept : ERR_SYNTAX;
}

static void write_selector(struct writer *w, const struct selector *s)
{
    size_t len = ip_len(&s->low);
    if (len == 0 || s->high.family != s->low.family) {
        w->bad = true;
        return;
    }
    writer_u8(w, len == 4 ? TS_IPV4 : TS_IPV6);
    writer_u8(w, s->protocol);
    size_t mark = writer_open16(w);
    writer_u16(w, s->port_low);
    writer_u16(w, s->port_high);
    writer_bytes(w, s->low.octets, len);
    writer_bytes(w, s->high.octets, len);
    writer_close16(w, mark, mark - 2);
}

void wire_put_ts(struct wire_builder *b, uint8_t payload, const struct selector *selectors,
                 size_t count)
{
    wire_open(b, payload);
    if (count == 0 || count > WIRE_SELECTORS_MAX)
        b->w.bad = true;
    writer_u8(&b->w, (uint8_t)count);
    writer_reserve(&b->w, 3);
    for (size_t i = 0; i < count && !b->w.bad; i++)
        write_selector(&b->w, &selectors[i]);
    wire_close(b);
}
