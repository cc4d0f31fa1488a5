#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

/* The SK payload (RFC 7296 3.14, RFC 5282). Keys are kept as octets and set up per message: ten
 * thousand idle SAs should not hold ten thousand key schedules. Fragments (RFC 7383) belong here.
 */

enum { SK_AT = WIRE_HEADER_LEN, BODY_AT = WIRE_HEADER_LEN + WIRE_PAYLOAD_HEADER_LEN };

/* Direction 0 is what the SA's initiator sends. */
static int key_up(struct ike_engine *e, const struct sa *sa, unsigned direction)
{
    const struct encr_alg *encr = suite_encr(sa->chosen.encr, sa->chosen.encr_bits);
    const struct integ_alg *integ = sa->chosen.integ ? suite_integ(sa->chosen.integ) : NULL;
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
    return aead_init(e->aead, e->aead_engine, encr, sa->keys.e[direction], integ,
                     integ ? sa->keys.a[direction] : NULL);
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

int sk_open(struct ike_engine *e, const struct sa *sa, struct input *in)
{
    const struct wire_chain *outer = in->outer;
    const struct wire_payload_view *sk = outer->count ? &outer->at[outer->count - 1] : NULL;
    if (!sk || sk->type != PAYLOAD_SK)
        return ERR_SYNTAX;
    size_t body_at = (size_t)(sk->body.at - in->datagram.at);
    int err = key_up(e, sa, sa->initiator ? 1 : 0);
    if (err < 0)
        return err;
    size_t iv_len = aead_iv_len(e->aead), icv_len = aead_icv_len(e->aead);
    size_t around = iv_len + icv_len;
    if (body_at > UINT8_MAX || sk->body.len <= around ||
        (sk->body.len - around) % aead_block(e->aead) != 0) {
        aead_wipe(e->aead);
        return ERR_SYNTAX;
    }
    memcpy(e->in_buffer, in->datagram.at, in->datagram.len);
    struct aead_op op = {
        .aead = e->aead,
        .aad = e->in_buffer,
        .aad_len = (uint8_t)body_at,
        .iv = e->in_buffer + body_at,
        .text = e->in_buffer + body_at + iv_len,
        .text_len = (uint32_t)(sk->body.len - around),
        .icv = e->in_buffer + body_at + sk->body.len - icv_len,
    };
    aead_open(e->aead_engine, &op, 1);
    aead_wipe(e->aead);
    return op.ok ? strip(in, op.text, op.text_len, sk->next) : ERR_INTEGRITY;
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

static struct bytes seal(struct ike_engine *e, struct sa *sa, const struct wire_header *header,
                         uint8_t first, struct bytes inner)
{
    struct wire_builder out;
    size_t iv_len = aead_iv_len(e->aead), icv_len = aead_icv_len(e->aead);
    size_t block = aead_block(e->aead);
    size_t pad = (block - (inner.len + 1) % block) % block;
    wire_begin(&out, e->out_buffer, sizeof(e->out_buffer), header);
    wire_open(&out, PAYLOAD_SK);
    writer_patch_u8(&out.w, SK_AT, first);
    uint8_t *iv = writer_reserve(&out.w, iv_len);
    uint8_t *text = writer_reserve(&out.w, inner.len + pad + 1);
    uint8_t *icv = writer_reserve(&out.w, icv_len);
    wire_close(&out);
    struct bytes whole = wire_finish(&out);
    if (whole.len == 0)
        return whole;
    write_iv(e, sa, iv, iv_len);
    if (inner.len > 0)
        memcpy(text, inner.at, inner.len);
    text[inner.len + pad] = (uint8_t)pad;
    struct aead_op op = {.aead = e->aead,
                         .aad = e->out_buffer,
                         .aad_len = BODY_AT,
                         .iv = iv,
                         .text = text,
                         .text_len = (uint32_t)(inner.len + pad + 1),
                         .icv = icv};
    aead_seal(e->aead_engine, &op, 1);
    return op.ok ? whole : (struct bytes){0};
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
    if (b->w.bad || key_up(e, sa, sa->initiator ? 0 : 1) < 0)
        return NULL;
    struct bytes inner = {b->w.start, b->w.len};
    struct bytes whole = seal(e, sa, &header, wire_first(b), inner);
    aead_wipe(e->aead);
    secret_wipe(b->w.start, b->w.len);
    return message_create(e, whole);
}
