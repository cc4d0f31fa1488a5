#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

/* The SK payload (RFC 7296 3.14, RFC 5282). Keys are kept as octets and set up per message: ten
 * thousand idle SAs should not hold ten thousand key schedules. A fragment (RFC 7383) is sealed
 * like a message of its own, with its number and their total under the integrity check.
 */

enum { SK_AT = WIRE_HEADER_LEN };

/* Direction 0 is what the SA's initiator sends. */
static int key_up(struct ike_engine *e, const struct sa *sa, unsigned direction, uint32_t id)
{
    const struct encr_alg *encr = suite_encr(sa->chosen.encr, sa->chosen.encr_bits);
    const struct integ_alg *integ = sa->chosen.integ ? suite_integ(sa->chosen.integ) : NULL;
    const struct keys *keys = intermediate_keys(sa, id);
    if (!encr)
        return ERR_UNSUPPORTED;
    size_t size = (aead_size(encr, integ) + 63) / 64 * 64;
    if (size > e->aead_cap) {
        free(e->aead);
        e->aead = aligned_alloc(64, size);
        e->aead_cap = e->aead ? size : 0;
        if (!e->aead)
            return ERR_MEMORY;
    }
    return aead_init(e->aead, e->aead_engine, encr, keys->e[direction], integ,
                     integ ? keys->a[direction] : NULL);
}

/* Cuts the opened text: payloads, padding, pad length. */
static int strip(struct input *in, const uint8_t *text, size_t len, uint8_t first)
{
    size_t pad = text[len - 1];
    if (pad + 1 > len)
        return ERR_INTEGRITY;
    in->inner_first = first;
    in->inner_octets = (struct bytes){text, len - 1 - pad};
    return 0;
}

/* The sealed octets: of SK its body; of SKF what follows the two numbers. */
static int find_sealed(const struct input *in, const struct wire_payload_view **payload,
                       struct bytes *sealed)
{
    const struct wire_chain *outer = in->outer;
    const struct wire_payload_view *last = outer->count ? &outer->at[outer->count - 1] : NULL;
    if (!last || last->type != (in->fragment.number ? PAYLOAD_SKF : PAYLOAD_SK))
        return ERR_SYNTAX;
    *payload = last;
    *sealed = in->fragment.number ? in->fragment.sealed : last->body;
    return 0;
}

static int open_with(struct ike_engine *e, const struct sa *sa, unsigned direction,
                     struct input *in)
{
    const struct wire_payload_view *payload;
    struct bytes sealed;
    int err = find_sealed(in, &payload, &sealed);
    if (err == 0)
        err = key_up(e, sa, direction, in->header.message_id);
    if (err < 0)
        return err;
    size_t iv_len = aead_iv_len(e->aead), icv_len = aead_icv_len(e->aead);
    size_t around = iv_len + icv_len, at = (size_t)(sealed.at - in->datagram.at);
    if (at > UINT8_MAX || sealed.len <= around ||
        (sealed.len - around) % aead_block(e->aead) != 0) {
        aead_wipe(e->aead);
        return ERR_SYNTAX;
    }
    memcpy(e->in_buffer, in->datagram.at, in->datagram.len);
    struct aead_op op = {
        .aead = e->aead,
        .aad = e->in_buffer,
        .aad_len = (uint8_t)at,
        .iv = e->in_buffer + at,
        .text = e->in_buffer + at + iv_len,
        .text_len = (uint32_t)(sealed.len - around),
        .icv = e->in_buffer + at + sealed.len - icv_len,
    };
    aead_open(e->aead_engine, &op, 1);
    aead_wipe(e->aead);
    return op.ok ? strip(in, op.text, op.text_len, payload->next) : ERR_INTEGRITY;
}

int sk_open(struct ike_engine *e, const struct sa *sa, struct input *in)
{
    return open_with(e, sa, sa->initiator ? 1 : 0, in);
}

/* A message of ours. */
int sk_open_own(struct ike_engine *e, const struct sa *sa, struct input *in)
{
    return open_with(e, sa, sa->initiator ? 0 : 1, in);
}

void sk_begin(struct ike_engine *e, struct wire_builder *b)
{
    wire_begin_inner(b, e->inner_buffer, sizeof(e->inner_buffer));
}

/* A counter never repeats under one key; CBC wants what cannot be foreseen. */
static void write_iv(struct ike_engine *e, struct sa *sa, uint8_t *at, size_t len)
{
    if (aead_iv_counts(e->aead)) {
        struct writer w = writer_of(at, len);
        writer_u64(&w, sa->iv++);
    } else {
        random_fill(e->setup.random, at, len);
    }
}

struct bytes sk_seal_part(struct ike_engine *e, struct sa *sa, const struct wire_header *header,
                          const struct sk_part *part)
{
    struct wire_builder out;
    size_t iv_len = aead_iv_len(e->aead), icv_len = aead_icv_len(e->aead);
    size_t block = aead_block(e->aead), len = part->text.len;
    size_t pad = (block - (len + 1) % block) % block;
    wire_begin(&out, e->out_buffer, sizeof(e->out_buffer), header);
    wire_open(&out, part->number ? PAYLOAD_SKF : PAYLOAD_SK);
    writer_patch_u8(&out.w, SK_AT, part->first);
    if (part->number) {
        writer_u16(&out.w, part->number);
        writer_u16(&out.w, part->total);
    }
    size_t aad_len = out.w.len;
    uint8_t *iv = writer_reserve(&out.w, iv_len);
    uint8_t *text = writer_reserve(&out.w, len + pad + 1);
    uint8_t *icv = writer_reserve(&out.w, icv_len);
    wire_close(&out);
    struct bytes whole = wire_finish(&out);
    if (whole.len == 0)
        return whole;
    write_iv(e, sa, iv, iv_len);
    if (len > 0)
        memcpy(text, part->text.at, len);
    text[len + pad] = (uint8_t)pad;
    struct aead_op op = {.aead = e->aead,
                         .aad = e->out_buffer,
                         .aad_len = (uint8_t)aad_len,
                         .iv = iv,
                         .text = text,
                         .text_len = (uint32_t)(len + pad + 1),
                         .icv = icv};
    aead_seal(e->aead_engine, &op, 1);
    return op.ok ? whole : (struct bytes){0};
}

static struct message *seal(struct ike_engine *e, struct sa *sa, const struct wire_header *header,
                            uint8_t first, struct bytes inner)
{
    struct sk_part all = {.first = first, .text = inner};
    size_t around = WIRE_HEADER_LEN + WIRE_PAYLOAD_HEADER_LEN + aead_iv_len(e->aead) +
                    aead_icv_len(e->aead) + aead_block(e->aead);
    if (inner.len + around > fragment_room(sa))
        return fragment_seal(e, sa, header, first, inner);
    return message_create(e, sk_seal_part(e, sa, header, &all));
}

struct message *sk_seal(struct ike_engine *e, struct sa *sa, uint8_t exchange, bool response,
                        uint32_t id, struct wire_builder *b)
{
    struct wire_header header = {
        .spi_i = sa->initiator ? sa->spi_own : sa->spi_peer,
        .spi_r = sa->initiator ? sa->spi_peer : sa->spi_own,
        .version = 0x20,
        .exchange = exchange,
        .flags = (uint8_t)((sa->initiator ? FLAG_INITIATOR : 0) | (response ? FLAG_RESPONSE : 0)),
        .message_id = id,
    };
    if (b->w.bad || key_up(e, sa, sa->initiator ? 0 : 1, id) < 0)
        return NULL;
    struct message *m = seal(e, sa, &header, wire_first(b), (struct bytes){b->w.start, b->w.len});
    aead_wipe(e->aead);
    secret_wipe(b->w.start, b->w.len);
    return m;
}
