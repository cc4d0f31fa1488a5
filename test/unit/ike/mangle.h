/* A message of a pair of engines is caught on the wire, opened with its receiver's keys, changed,
 * sealed again with its sender's, and delivered: what an authenticated peer could send. */
#ifndef SHRIKE_TEST_IKE_MANGLE_H
#define SHRIKE_TEST_IKE_MANGLE_H

#include "pair.h"

enum moment {
    INIT_REQUEST,
    INIT_ANSWER,
    AUTH_REQUEST,
    AUTH_ANSWER,
    CHILD_REQUEST,
    CHILD_ANSWER,
    DELETE_REQUEST,
    DELETE_ANSWER,
    IKE_REQUEST,
    IKE_ANSWER,
    CHECK_REQUEST,
    CHECK_ANSWER,
    MOMENTS
};

enum { TEXT_MAX = 9000 };
/* The payloads of one message, in the clear. */
struct text {
    uint8_t first;
    size_t len;
    uint8_t octets[TEXT_MAX];
    struct wire_chain chain; /* points into octets */
};

/* A pair that has just put the message of that moment on the wire, alone. */
static inline struct pair *mangle_reach_pair(struct pair *p, enum moment moment)
{
    pair_start(p);
    if (moment >= CHILD_REQUEST) {
        pair_settle(p);
        pair_check_children(p, 1);
        pair_command(p, 0,
                     moment >= CHECK_REQUEST ? IKE_CHECK
                     : moment >= IKE_REQUEST ? IKE_REKEY_IKE
                                             : IKE_REKEY_CHILD);
    }
    int moments = moment;
    int rounds = moments >= CHECK_REQUEST   ? moments - CHECK_REQUEST
                 : moments >= IKE_REQUEST   ? moments - IKE_REQUEST
                 : moments >= CHILD_REQUEST ? moments - CHILD_REQUEST
                                            : moments;
    for (int i = 0; i < rounds; i++)
        pair_round(p);
    assert_int_equal(p->queued, 1);
    return p;
}

static inline struct pair *mangle_reach(enum moment moment)
{
    return mangle_reach_pair(pair_make(), moment);
}

static inline struct wire_header mangle_header(const struct packet *k)
{
    struct wire_header h;
    assert_int_equal(wire_header_read((struct bytes){k->octets, k->len}, &h), 0);
    return h;
}

static inline void mangle_walk(struct text *t)
{
    assert_int_equal(wire_walk(t->first, (struct bytes){t->octets, t->len}, &t->chain), 0);
}

static inline struct sa *mangle_sa(struct ike_engine *e, const struct wire_header *h)
{
    struct sa *sa = map_get(&e->sas, h->spi_i);
    return sa ? sa : map_get(&e->sas, h->spi_r);
}

static inline void mangle_open(struct pair *p, struct text *t)
{
    struct packet *k = &p->wire[0];
    struct wire_header h = mangle_header(k);
    if (h.exchange == EXCHANGE_IKE_SA_INIT) {
        t->first = h.next_payload;
        t->len = k->len - WIRE_HEADER_LEN;
        memcpy(t->octets, k->octets + WIRE_HEADER_LEN, t->len);
    } else {
        struct ike_engine *e = p->side[k->to].engine;
        static struct wire_chain outer;
        struct bytes body = {k->octets + WIRE_HEADER_LEN, k->len - WIRE_HEADER_LEN};
        struct input in = {.header = h, .datagram = {k->octets, k->len}, .outer = &outer};
        assert_int_equal(wire_walk(h.next_payload, body, &outer), 0);
        assert_int_equal(sk_open(e, mangle_sa(e, &h), &in), 0);
        t->first = in.inner_first;
        t->len = in.inner_octets.len;
        assert_true(t->len <= TEXT_MAX);
        memcpy(t->octets, in.inner_octets.at, t->len);
    }
    mangle_walk(t);
}

/* Puts the text in the place of the message on the wire, in one datagram however long it is. */
static inline void mangle_close(struct pair *p, const struct text *t)
{
    struct packet *k = &p->wire[0];
    struct wire_header h = mangle_header(k);
    if (h.exchange == EXCHANGE_IKE_SA_INIT) {
        k->len = WIRE_HEADER_LEN + t->len;
        memcpy(k->octets + WIRE_HEADER_LEN, t->octets, t->len);
        k->octets[16] = t->first;
        for (int i = 0; i < 4; i++)
            k->octets[24 + i] = (uint8_t)(k->len >> (24 - 8 * i));
        return;
    }
    struct ike_engine *e = p->side[!k->to].engine;
    struct sa *sa = mangle_sa(e, &h);
    uint16_t fragment = sa->fragment;
    struct wire_builder b;
    sk_begin(e, &b);
    b.first = t->first;
    writer_bytes(&b.w, t->octets, t->len);
    sa->fragment = 0;
    struct message *m =
        sk_seal(e, sa, h.exchange, (h.flags & FLAG_RESPONSE) != 0, h.message_id, &b);
    sa->fragment = fragment;
    assert_non_null(m);
    assert_true(m->len <= sizeof(k->octets));
    k->len = m->len;
    memcpy(k->octets, m->octets, m->len);
    message_drop(e, &m);
}

/* Writes the payloads of `from` anew: without one (skip), one twice (twice), one with another body;
 * SIZE_MAX is none of them. */
struct edit {
    size_t skip, twice, at;
    struct bytes body;
    bool reverse;
    uint8_t critical_bits; /* into the second octet of each payload */
};
static inline void mangle_put(struct text *t, uint8_t **next, uint8_t type, struct bytes body,
                              uint8_t bits)
{
    assert_true(t->len + 4 + body.len <= TEXT_MAX);
    uint8_t *at = t->octets + t->len;
    **next = type;
    *next = at;
    at[0] = 0;
    at[1] = bits;
    at[2] = (uint8_t)((4 + body.len) >> 8);
    at[3] = (uint8_t)(4 + body.len);
    memmove(at + 4, body.at, body.len);
    t->len += 4 + body.len;
}

static inline void mangle_write(const struct text *from, const struct edit *edit, struct text *to)
{
    uint8_t *next = &to->first;
    to->first = 0;
    to->len = 0;
    for (size_t i = 0; i < from->chain.count; i++) {
        size_t n = edit->reverse ? from->chain.count - 1 - i : i;
        const struct wire_payload_view *v = &from->chain.at[n];
        if (n == edit->skip)
            continue;
        mangle_put(to, &next, v->type, n == edit->at ? edit->body : v->body, edit->critical_bits);
        if (n == edit->twice)
            mangle_put(to, &next, v->type, v->body, edit->critical_bits);
    }
}

static inline size_t mangle_index(const struct text *t, uint8_t type)
{
    for (size_t i = 0; i < t->chain.count; i++)
        if (t->chain.at[i].type == type)
            return i;
    return SIZE_MAX;
}

static inline const struct edit *mangle_nothing(struct edit *edit)
{
    *edit = (struct edit){.skip = SIZE_MAX, .twice = SIZE_MAX, .at = SIZE_MAX};
    return edit;
}

#endif
