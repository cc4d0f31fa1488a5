/* The SA payload, RFC 7296 section 3.3: proposals, transforms, attributes. */
#include <string.h>

#include "wire/wire.h"

enum {
    LAST = 0,
    MORE_PROPOSALS = 2,
    MORE_TRANSFORMS = 3,
    PROPOSAL_HEADER_LEN = 8,
    TRANSFORM_HEADER_LEN = 8,
    ATTRIBUTE_TV = 0x8000, /* two octets of value in place of a length */
    ATTRIBUTE_KEY_LENGTH = 14,
};

/* What became of a transform or proposal that reads well. */
enum verdict { KEEP, DROP };

/* Reads attributes up to the end of r. DROP: one that we cannot know about, or that makes no sense.
 */
static enum verdict read_attributes(struct reader *r, uint16_t *key_bits)
{
    enum verdict verdict = KEEP;
    while (r->left > 0) {
        uint16_t type = reader_u16(r);
        uint16_t value = reader_u16(r);
        if (!(type & ATTRIBUTE_TV))
            reader_skip(r, value);
        if (type == ATTRIBUTE_KEY_LENGTH)
            r->bad = true; /* must not be written with a length of its own, section 3.3.5 */
        if (type != (ATTRIBUTE_TV | ATTRIBUTE_KEY_LENGTH) || value == 0 || *key_bits != 0)
            verdict = DROP;
        else
            *key_bits = value;
    }
    return verdict;
}

/* A substructure's "last or more" octet must agree with what follows it. */
static void check_last(struct reader *outer, uint8_t last, uint8_t more)
{
    if (last != (outer->left > 0 ? more : LAST))
        outer->bad = true;
}

static enum verdict read_transform(struct reader *r, struct transform *out)
{
    uint8_t last = reader_u8(r);
    reader_skip(r, 1);
    uint16_t length = reader_u16(r);
    if (length < TRANSFORM_HEADER_LEN)
        r->bad = true;
    struct reader in = reader_sub(r, r->bad ? 0 : length - 4u);
    check_last(r, last, MORE_TRANSFORMS);
    *out = (struct transform){.type = reader_u8(&in)};
    reader_skip(&in, 1);
    out->id = reader_u16(&in);
    enum verdict verdict = read_attributes(&in, &out->key_bits);
    if (!reader_done(&in))
        r->bad = true;
    return verdict;
}

static bool known_type(uint8_t type)
{
    return type >= TRANSFORM_ENCR && type <= TRANSFORM_ADDKE7;
}

static enum verdict read_transforms(struct reader *r, size_t count, struct proposal *out)
{
    enum verdict verdict = KEEP;
    for (size_t i = 0; i < count && !r->bad; i++) {
        struct transform t;
        enum verdict one = read_transform(r, &t);
        if (!known_type(t.type))
            verdict = DROP;
        else if (one == KEEP && !r->bad)
            proposal_add(out, t.type, t.id, t.key_bits); /* fits: count was checked */
    }
    return verdict;
}

static bool is_zero(const uint8_t *octets, size_t len)
{
    uint8_t all = 0;
    for (size_t i = 0; i < len; i++)
        all |= octets[i];
    return all == 0;
}

/* The SPI: none or 8 octets for IKE, 4 for ESP and AH, and never zero. */
static void read_spi(struct reader *r, struct proposal *out)
{
    bool fits =
        out->protocol == PROTOCOL_IKE ? out->spi_len == 0 || out->spi_len == 8 : out->spi_len == 4;
    if (!fits) {
        r->bad = true;
        return;
    }
    reader_copy(r, out->spi, out->spi_len);
    if (out->spi_len > 0 && is_zero(out->spi, out->spi_len))
        r->bad = true;
}

/* Reads one proposal; 0 and *verdict, or an error. */
static int read_proposal(struct reader *r, struct proposal *out, enum verdict *verdict)
{
    uint8_t last = reader_u8(r);
    reader_skip(r, 1);
    uint16_t length = reader_u16(r);
    if (length < PROPOSAL_HEADER_LEN)
        return ERR_SYNTAX;
    struct reader in = reader_sub(r, length - 4u);
    check_last(r, last, MORE_PROPOSALS);
    *out = (struct proposal){.number = reader_u8(&in)};
    out->protocol = reader_u8(&in);
    out->spi_len = reader_u8(&in);
    uint8_t transforms = reader_u8(&in);
    if (r->bad)
        return ERR_SYNTAX;
    *verdict = DROP;
    if (out->protocol < PROTOCOL_IKE || out->protocol > PROTOCOL_ESP)
        return 0; /* of a protocol we don't know, not even the SPI's length is known */
    if (transforms == 0)
        return ERR_SYNTAX;
    if (transforms > PROPOSAL_TRANSFORMS)
        return ERR_LIMIT;
    read_spi(&in, out);
    *verdict = read_transforms(&in, transforms, out);
    return reader_done(&in) ? 0 : ERR_SYNTAX;
}

int wire_sa_read(struct bytes body, struct proposal *out, size_t max)
{
    struct reader r = reader_of_bytes(body);
    size_t seen = 0, kept = 0;
    bool numbered = true;
    while (r.left > 0) {
        struct proposal p;
        enum verdict verdict;
        if (seen == max || seen == PROPOSALS_MAX)
            return ERR_LIMIT;
        int err = read_proposal(&r, &p, &verdict);
        if (err)
            return err;
        if (p.number != ++seen)
            numbered = false;
        if (verdict == KEEP)
            out[kept++] = p;
    }
    if (seen == 0 || (seen > 1 && !numbered) || !reader_done(&r))
        return ERR_SYNTAX;
    return (int)kept;
}

static void write_transform(struct writer *w, const struct transform *t, bool last)
{
    writer_u8(w, last ? LAST : MORE_TRANSFORMS);
    writer_u8(w, 0);
    size_t mark = writer_open16(w);
    writer_u8(w, t->type);
    writer_u8(w, 0);
    writer_u16(w, t->id);
    if (t->key_bits > 0) {
        writer_u16(w, ATTRIBUTE_TV | ATTRIBUTE_KEY_LENGTH);
        writer_u16(w, t->key_bits);
    }
    writer_close16(w, mark, mark - 2);
}

static void write_proposal(struct writer *w, const struct proposal *p, uint8_t number, bool last)
{
    if (p->spi_len > sizeof(p->spi) || p->count > PROPOSAL_TRANSFORMS || p->count == 0) {
        w->bad = true;
        return;
    }
    writer_u8(w, last ? LAST : MORE_PROPOSALS);
    writer_u8(w, 0);
    size_t mark = writer_open16(w);
    writer_u8(w, number);
    writer_u8(w, p->protocol);
    writer_u8(w, p->spi_len);
    writer_u8(w, p->count);
    writer_bytes(w, p->spi, p->spi_len);
    for (size_t i = 0; i < p->count; i++)
        write_transform(w, &p->transforms[i], i + 1u == p->count);
    writer_close16(w, mark, mark - 2);
}

void wire_put_sa(struct wire_builder *b, const struct proposal *proposals, size_t count)
{
    wire_open(b, PAYLOAD_SA);
    if (count == 0 || count > PROPOSALS_MAX)
        b->w.bad = true;
    for (size_t i = 0; i < count && !b->w.bad; i++) {
        const struct proposal *p = &proposals[i];
        write_proposal(&b->w, p, p->number ? p->number : (uint8_t)(i + 1), i + 1 == count);
    }
    wire_close(b);
}
