#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

/* IKE messages in pieces (RFC 7383), so that no IP fragment is needed where these are dropped.
 *
 * Sending: what does not fit the size that the SA's path is believed to carry is cut; all pieces
 * are one struct message, so that a repetition sends the same octets again. Our own request that
 * gets no answer is cut smaller (2.5.1): it is opened again with our own key and sealed with fresh
 * IVs; and so is our answer when the same request comes a third time. A responder answers in pieces
 * no larger than those that the request came in.
 *
 * Receiving: a piece is stored only when its integrity check was right. One message per SA is
 * collected at a time; what it holds is bounded by pieces, octets, time, and over all SAs. */

enum {
    IP4_AND_UDP = 20 + 8,
    IP6_AND_UDP = 40 + 8,
    NON_ESP_MARKER = 4,
    FRAGMENT_AROUND = WIRE_HEADER_LEN + WIRE_PAYLOAD_HEADER_LEN + 4, /* and IV, ICV, padding */
};

static size_t below(const struct ike_path *path)
{
    return (size_t)(path->remote.ip.family == 6 ? IP6_AND_UDP : IP4_AND_UDP) +
           (path->port == IKE_PORT_NATT ? NON_ESP_MARKER : 0);
}

size_t fragment_room(const struct sa *sa)
{
    return sa->fragment ? sa->fragment - below(&sa->path) : SIZE_MAX;
}

/* ---- sending */

/* Octets of text in each piece: whole blocks, one octet of them for the length of the padding. */
static size_t text_of_piece(const struct ike_engine *e, const struct sa *sa)
{
    size_t room =
        fragment_room(sa) - FRAGMENT_AROUND - aead_iv_len(e->aead) - aead_icv_len(e->aead);
    return room - room % aead_block(e->aead) - 1;
}

static bool append(struct message **at, struct bytes piece, size_t *len, size_t room)
{
    if (piece.len == 0 || *len + piece.len > room)
        return false;
    memcpy((*at)->octets + *len, piece.at, piece.len);
    *len += piece.len;
    return true;
}

struct message *fragment_seal(struct ike_engine *e, struct sa *sa, const struct wire_header *header,
                              uint8_t first, struct bytes inner)
{
    size_t each = text_of_piece(e, sa), total = (inner.len + each - 1) / each, len = 0;
    size_t room = total * fragment_room(sa);
    struct message *m = total <= FRAGMENTS_MAX ? message_reserve(e, room) : NULL;
    struct reader text = reader_of_bytes(inner);
    for (size_t i = 1; m && i <= total; i++) {
        struct sk_part part = {.first = i == 1 ? first : PAYLOAD_NONE,
                               .number = (uint16_t)i,
                               .total = (uint16_t)total,
                               .text = reader_bytes(&text, i < total ? each : text.left)};
        if (!append(&m, sk_seal_part(e, sa, header, &part), &len, room))
            message_drop(e, &m);
        else if (i == 1)
            m->part = (uint16_t)len;
    }
    if (m)
        m->len = (uint32_t)len;
    return m;
}

static struct bytes first_part(const struct message *m)
{
    return (struct bytes){m->octets, m->part ? m->part : m->len};
}

/* Opens a message of ours again. */
static bool uncut(struct ike_engine *e, const struct sa *sa, const struct message *m,
                  struct wire_builder *b)
{
    struct reader parts = reader_of_bytes(message_bytes(m));
    sk_begin(e, b);
    while (parts.left > 0) {
        size_t len = m->part && m->part < parts.left ? m->part : parts.left;
        struct input in = {.datagram = reader_bytes(&parts, len), .outer = &e->outer_chain};
        struct bytes payloads = {in.datagram.at + WIRE_HEADER_LEN, len - WIRE_HEADER_LEN};
        if (wire_header_read(in.datagram, &in.header) < 0 ||
            wire_walk(in.header.next_payload, payloads, &e->outer_chain) < 0 ||
            !fragment_read(e, sa, &in) || sk_open_own(e, sa, &in) < 0)
            return false;
        if (b->w.len == 0)
            b->first = in.inner_first;
        writer_bytes(&b->w, in.inner_octets.at, in.inner_octets.len);
        secret_wipe(e->in_buffer, len);
    }
    return !b->w.bad;
}

/* The message sealed anew, in more pieces than before, or the peer could not tell the new ones from
 * the old; NULL when that is not to be had. */
static struct message *recut(struct ike_engine *e, struct sa *sa, const struct message *m)
{
    struct wire_builder b;
    struct wire_header h;
    struct message *smaller = NULL;
    if (uncut(e, sa, m, &b) && wire_header_read(first_part(m), &h) == 0)
        smaller = sk_seal(e, sa, h.exchange, h.flags & FLAG_RESPONSE, h.message_id, &b);
    secret_wipe(e->inner_buffer, b.w.len);
    if (smaller && message_parts(smaller) <= message_parts(m))
        message_drop(e, &smaller);
    return smaller;
}

/* The message in smaller pieces, of the first size that makes more of them; sa->fragment is that of
 * the last try. NULL: it is small enough for any path. */
static struct message *cut_smaller(struct ike_engine *e, struct sa *sa, const struct message *m)
{
    static const uint16_t sizes[] = {FRAGMENT_COMMON, FRAGMENT_FLOOR};
    size_t largest = first_part(m).len + below(&sa->path);
    struct message *smaller = NULL;
    for (size_t i = 0; i < ARRAY_LEN(sizes) && !smaller; i++) {
        if (sizes[i] >= sa->fragment || sizes[i] >= largest)
            continue;
        sa->fragment = sizes[i];
        smaller = recut(e, sa, m);
    }
    return smaller;
}

void fragment_shrink(struct ike_engine *e, struct sa *sa)
{
    struct message *smaller =
        sa->out.exchange == EXCHANGE_IKE_SA_INIT ? NULL : cut_smaller(e, sa, sa->out.request);
    if (!smaller)
        return;
    message_drop(e, &sa->out.request);
    sa->out.request = smaller;
}

/* Anyone can repeat a request, so what we believe of the path stays as it is. */
void fragment_shrink_reply(struct ike_engine *e, struct sa *sa)
{
    uint16_t believed = sa->fragment;
    struct message *smaller = cut_smaller(e, sa, sa->reply);
    sa->fragment = believed;
    if (!smaller)
        return;
    message_drop(e, &sa->reply);
    sa->reply = smaller;
}

/* ---- receiving */

bool fragment_read(struct ike_engine *e, const struct sa *sa, struct input *in)
{
    const struct wire_chain *outer = in->outer;
    const struct wire_payload_view *last = outer->count ? &outer->at[outer->count - 1] : NULL;
    in->fragment = (struct wire_fragment){0};
    if (!last || last->type != PAYLOAD_SKF)
        return true;
    if (sa->fragment && wire_fragment_read(last->body, &in->fragment) == 0 &&
        in->fragment.total <= FRAGMENTS_MAX)
        return true;
    e->counters.drop_fragment++;
    return false;
}

static bool is_of(const struct reassembly *r, const struct wire_header *h)
{
    return r->id == h->message_id && r->response == !!(h->flags & FLAG_RESPONSE);
}

/* RFC 7383 2.6: a smaller total is an older attempt of the peer, a larger one a new one. */
bool fragment_is_missing(const struct sa *sa, const struct input *in)
{
    const struct reassembly *r = sa->reassembly;
    const struct wire_fragment *f = &in->fragment;
    if (f->number == 0 || !r || !is_of(r, &in->header))
        return true;
    return f->total > r->total || (f->total == r->total && !r->pieces[f->number - 1].at);
}

void fragment_drop(struct ike_engine *e, struct sa *sa)
{
    struct reassembly *r = sa->reassembly;
    sa->reassembly = NULL;
    if (!r)
        return;
    for (size_t i = 0; i < FRAGMENTS_MAX; i++) {
        if (r->pieces[i].at)
            secret_wipe(r->pieces[i].at, r->pieces[i].len);
        free(r->pieces[i].at);
    }
    sa_disarm(e, &r->timer);
    e->fragment_octets -= sizeof(*r) + r->octets;
    free(r);
}

/* Whoever is not proven yet cannot keep the others from it. */
static bool memory_allows(const struct ike_engine *e, const struct sa *sa, size_t more)
{
    size_t limit = sa->state >= IKE_STATE_ESTABLISHED ? FRAGMENT_MEMORY : FRAGMENT_MEMORY / 2;
    return e->fragment_octets + more <= limit;
}

static struct reassembly *begin(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct reassembly *r = memory_allows(e, sa, sizeof(*r)) ? calloc(1, sizeof(*r)) : NULL;
    if (!r)
        return NULL;
    r->timer = (struct timer){.owner = sa, .kind = TIMER_FRAGMENTS};
    r->id = in->header.message_id;
    r->response = in->header.flags & FLAG_RESPONSE;
    r->total = in->fragment.total;
    e->fragment_octets += sizeof(*r);
    sa_arm(e, &r->timer, e->now + FRAGMENT_LIFE);
    return r;
}

static int store(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct reassembly *r = sa->reassembly;
    struct piece *p = &r->pieces[in->fragment.number - 1];
    size_t len = in->inner_octets.len;
    if (r->octets + len > WIRE_MESSAGE_MAX || !memory_allows(e, sa, len))
        return ERR_LIMIT;
    p->at = malloc(len ? len : 1);
    if (!p->at)
        return ERR_MEMORY;
    memcpy(p->at, in->inner_octets.at, len);
    p->len = (uint16_t)len;
    r->octets += (uint32_t)len;
    e->fragment_octets += len;
    r->count++;
    if (in->datagram.len > r->largest)
        r->largest = (uint32_t)in->datagram.len;
    if (in->fragment.number == 1) {
        r->first = in->inner_first;
        r->hash = window_hash(e, in->datagram);
    }
    return 0;
}

/* What comes in small pieces is answered in small pieces: the path may carry no others. */
static void learn_size(struct sa *sa, const struct reassembly *r)
{
    size_t size = r->largest + below(&sa->path);
    if (r->total == 1 || r->response || size >= sa->fragment)
        return;
    sa->fragment = (uint16_t)(size > FRAGMENT_FLOOR ? size : FRAGMENT_FLOOR);
}

static void join(struct ike_engine *e, struct sa *sa, struct input *in)
{
    const struct reassembly *r = sa->reassembly;
    struct writer w = writer_of(e->in_buffer, sizeof(e->in_buffer));
    for (size_t i = 0; i < r->total; i++)
        writer_bytes(&w, r->pieces[i].at, r->pieces[i].len);
    in->inner_octets = (struct bytes){e->in_buffer, w.len};
    in->inner_first = r->first;
    in->hash = r->hash;
    learn_size(sa, r);
    fragment_drop(e, sa);
    e->counters.in_fragmented++;
}

bool fragment_take(struct ike_engine *e, struct sa *sa, struct input *in)
{
    struct reassembly *r = sa->reassembly;
    bool whole = in->fragment.number == 0;
    if (r &&
        (whole ? is_of(r, &in->header) : !is_of(r, &in->header) || in->fragment.total > r->total)) {
        fragment_drop(e, sa);
        r = NULL;
    }
    if (whole) {
        in->hash = window_hash(e, in->datagram);
        return true;
    }
    if (!r)
        r = sa->reassembly = begin(e, sa, in);
    if (!r || store(e, sa, in) < 0) {
        e->counters.drop_memory++;
        return false;
    }
    if (r->count < r->total)
        return false;
    join(e, sa, in);
    return true;
}
