#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

/* IKE_INTERMEDIATE (RFC 9242), both roles: exchanges between IKE_SA_INIT and IKE_AUTH. Each holds
 * at most one additional key exchange (RFC 9370 2.2.2), and the keys of the SA change with it. What
 * else may ride in it is a payload more in put_request() and in the two handlers: an exchange
 * without a key exchange is answered, too.
 *
 * Nobody is proven yet. So that nobody can change these messages unseen, AUTH covers them: a chain
 * of MACs each way over what was said, made with the SK_p that were valid before each exchange. */

enum { EXCHANGES_MAX = ADDKE_MAX + 4 };

struct intermediate {
    uint8_t methods[ADDKE_MAX], count, done;
    uint8_t exchanges;
    bool sent_ke;                /* initiator: in the request that is out */
    struct kex *kex;             /* initiator: ours of the exchange that is out */
    uint8_t said[2][SECRET_MAX]; /* IntAuth_i, IntAuth_r */
    uint32_t auth_id;            /* of the first IKE_AUTH request */
    /* Responder: messages with lower IDs have these keys, for a request that comes once more, cut
     * in another way. */
    struct keys former;
    uint32_t former_until;
};

int intermediate_agree(struct sa *sa, const struct chosen *chosen)
{
    struct intermediate *x = calloc(1, sizeof(*x));
    if (!x)
        return ERR_MEMORY;
    x->count = (uint8_t)kes_additional(&chosen->kes, x->methods);
    sa->handshake->intermediate = x;
    return 0;
}

void intermediate_free(struct handshake *h)
{
    struct intermediate *x = h->intermediate;
    h->intermediate = NULL;
    if (!x)
        return;
    kex_free(x->kex);
    secret_wipe(x, sizeof(*x));
    free(x);
}

bool intermediate_is_agreed(const struct sa *sa)
{
    return sa->handshake && sa->handshake->intermediate;
}

bool intermediate_is_due(const struct sa *sa)
{
    const struct intermediate *x = sa->handshake->intermediate;
    return x && x->done < x->count;
}

/* libreswan 5.2 then lets its AUTH cover the Message ID all the same, which is for when one was
 * held (RFC 9242 3.3.2). */
bool intermediate_is_idle(const struct sa *sa)
{
    return intermediate_is_agreed(sa) && sa->handshake->intermediate->exchanges == 0;
}

const struct keys *intermediate_keys(const struct sa *sa, uint32_t id)
{
    const struct intermediate *x = sa->handshake ? sa->handshake->intermediate : NULL;
    return x && id < x->former_until ? &x->former : &sa->keys;
}

/* ---- what AUTH covers (RFC 9242 3.3.2) */

/* A message as it would be with nothing encrypted, and whole: its header and that of SK say so in
 * their lengths. */
struct plain {
    struct wire_header header;
    struct bytes before; /* payloads outside of SK */
    uint8_t first, flags;
    struct bytes inner;
};

static void write_header(struct writer *w, const struct wire_header *h, size_t length)
{
    writer_u64(w, h->spi_i);
    writer_u64(w, h->spi_r);
    writer_u8(w, h->next_payload);
    writer_u8(w, h->version);
    writer_u8(w, h->exchange);
    writer_u8(w, h->flags);
    writer_u32(w, h->message_id);
    writer_u32(w, (uint32_t)length);
}

static int cover(struct sa *sa, const struct plain *p)
{
    struct handshake *h = sa->handshake;
    struct intermediate *x = h->intermediate;
    const struct prf_alg *alg = suite_prf(sa->chosen.prf);
    uint8_t head[WIRE_HEADER_LEN], sk[WIRE_PAYLOAD_HEADER_LEN], mac[SECRET_MAX];
    struct writer wh = writer_of(head, sizeof(head)), ws = writer_of(sk, sizeof(sk));
    unsigned side = p->header.flags & FLAG_INITIATOR ? 0 : 1;
    size_t sk_len = sizeof(sk) + p->inner.len;
    write_header(&wh, &p->header, sizeof(head) + p->before.len + sk_len);
    writer_u8(&ws, p->first);
    writer_u8(&ws, p->flags);
    writer_u16(&ws, (uint16_t)sk_len);
    const struct bytes parts[] = {{x->said[side], x->exchanges > 0 ? alg->len : 0},
                                  writer_view(&wh),
                                  p->before,
                                  writer_view(&ws),
                                  p->inner};
    int err = prf(alg, (struct bytes){h->sk_p[side], alg->len}, parts, ARRAY_LEN(parts), mac);
    if (err == 0)
        memcpy(x->said[side], mac, alg->len);
    return err;
}

static int cover_received(struct sa *sa, const struct input *in)
{
    struct plain p = {.header = in->header, .first = in->inner_first, .inner = in->inner_octets};
    p.header.next_payload = PAYLOAD_SK;
    if (in->fragment.number == 0) {
        const struct wire_payload_view *last = &in->outer->at[in->outer->count - 1];
        const uint8_t *start = in->datagram.at + WIRE_HEADER_LEN;
        const uint8_t *generic = last->body.at - WIRE_PAYLOAD_HEADER_LEN;
        p.header.next_payload = in->header.next_payload;
        p.before = (struct bytes){start, (size_t)(generic - start)};
        p.flags = generic[1];
    }
    return cover(sa, &p);
}

static int cover_own(struct sa *sa, bool response, uint32_t id, const struct wire_builder *b)
{
    uint8_t flags = sa->initiator ? FLAG_INITIATOR : 0;
    struct plain p = {.header = {.spi_i = sa->initiator ? sa->spi_own : sa->spi_peer,
                                 .spi_r = sa->initiator ? sa->spi_peer : sa->spi_own,
                                 .next_payload = PAYLOAD_SK,
                                 .version = 0x20,
                                 .exchange = EXCHANGE_IKE_INTERMEDIATE,
                                 .flags = response ? flags | FLAG_RESPONSE : flags,
                                 .message_id = id},
                      .first = wire_first(b),
                      .inner = {b->w.start, b->w.len}};
    return b->w.bad ? ERR_LIMIT : cover(sa, &p);
}

void intermediate_end(struct sa *sa, uint32_t auth_id)
{
    if (sa->handshake->intermediate)
        sa->handshake->intermediate->auth_id = auth_id;
}

struct bytes intermediate_octets(const struct sa *sa, uint8_t out[static AUTH_INTERMEDIATE_MAX])
{
    const struct intermediate *x = sa->handshake->intermediate;
    const struct prf_alg *alg = suite_prf(sa->chosen.prf);
    struct writer w = writer_of(out, AUTH_INTERMEDIATE_MAX);
    if (!x || x->exchanges == 0)
        return (struct bytes){0};
    writer_bytes(&w, x->said[0], alg->len);
    writer_bytes(&w, x->said[1], alg->len);
    writer_u32(&w, x->auth_id);
    return writer_view(&w);
}

/* ---- keys */

struct fresh {
    struct keys keys;
    uint8_t sk_p[2][SECRET_MAX];
};

/* SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr): as if the SA were rekeyed, with the nonces and
 * SPIs that it has. */
static int derive(struct ike_engine *e, const struct sa *sa, const struct kex *kex,
                  struct bytes value, struct fresh *out)
{
    const struct handshake *h = sa->handshake;
    struct bytes own = {h->n.nonce_own, NONCE_LEN};
    struct bytes peer = {h->n.nonce_peer, h->n.nonce_peer_len};
    int err = kex_derive(kex, value, e->secret);
    struct keymat_input k = {
        .secret = {e->secret, kex_alg(kex)->secret_len},
        .nonce_i = sa->initiator ? own : peer,
        .nonce_r = sa->initiator ? peer : own,
        .spi_i = sa->initiator ? sa->spi_own : sa->spi_peer,
        .spi_r = sa->initiator ? sa->spi_peer : sa->spi_own,
        .old_prf = sa->chosen.prf,
        .old_d = {sa->keys.d, suite_prf(sa->chosen.prf)->len},
    };
    if (err == 0)
        err = keymat_ike(&sa->chosen, &k, &out->keys, out->sk_p);
    secret_wipe(e->secret, kex_alg(kex)->secret_len);
    return err;
}

static void take_over(struct sa *sa, struct fresh *fresh)
{
    struct handshake *h = sa->handshake;
    sa->keys = fresh->keys;
    memcpy(h->sk_p, fresh->sk_p, sizeof(h->sk_p));
    h->intermediate->done++;
}

/* The KE payload that is due, when there is one; ERR_SYNTAX: another one, or one too many. */
static int read_ke(const struct intermediate *x, const struct wire_chain *chain, struct wire_ke *ke,
                   bool *has_ke)
{
    const struct wire_payload_view *p = wire_find(chain, PAYLOAD_KE);
    *has_ke = p;
    if (!p)
        return 0;
    if (x->done >= x->count || wire_ke_read(p->body, ke) < 0)
        return ERR_SYNTAX;
    return ke->group == x->methods[x->done] ? 0 : ERR_SYNTAX;
}

/* ---- initiator */

static int put_request(struct ike_engine *e, struct intermediate *x, struct wire_builder *b)
{
    x->sent_ke = x->done < x->count;
    if (!x->sent_ke)
        return 0;
    int err = kex_create(suite_kex(x->methods[x->done]), e->setup.random, &x->kex);
    if (err == 0)
        wire_put_ke(b, x->methods[x->done], kex_value(x->kex));
    return err;
}

static int send_request(struct ike_engine *e, struct sa *sa)
{
    struct wire_builder b;
    sk_begin(e, &b);
    int err = put_request(e, sa->handshake->intermediate, &b);
    if (err == 0)
        err = cover_own(sa, false, sa->next_out, &b);
    if (err < 0)
        return err;
    struct message *m = sk_seal(e, sa, EXCHANGE_IKE_INTERMEDIATE, false, sa->next_out, &b);
    if (!m)
        return ERR_MEMORY;
    sa_set_state(e, sa, IKE_STATE_INTERMEDIATE_SENT);
    window_open(e, sa, (struct task){.kind = TASK_INTERMEDIATE}, m);
    return 0;
}

int intermediate_go_on(struct ike_engine *e, struct sa *sa)
{
    if (!intermediate_is_due(sa)) {
        intermediate_end(sa, sa->next_out);
        return auth_begin(e, sa);
    }
    int err = send_request(e, sa);
    if (err < 0)
        attempt_failed(
            e, sa, err, 0, false,
            explain(e, "an additional key exchange could not be begun: %s", err_sentence(err)));
    return 0;
}

static int learn(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct intermediate *x = sa->handshake->intermediate;
    struct fresh fresh;
    struct wire_ke ke;
    bool has_ke;
    int err = read_ke(x, in->inner, &ke, &has_ke);
    if (err == 0 && has_ke != x->sent_ke)
        err = ERR_SYNTAX;
    if (err == 0)
        err = cover_received(sa, in);
    if (err < 0)
        return err;
    x->exchanges++;
    if (has_ke)
        err = derive(e, sa, x->kex, ke.value, &fresh);
    if (has_ke && err == 0)
        take_over(sa, &fresh);
    secret_wipe(&fresh, sizeof(fresh));
    kex_free(x->kex);
    x->kex = NULL;
    return err;
}

int intermediate_response(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct wire_notify_view n;
    if (wire_notify_error(in->inner, &n)) {
        attempt_failed(e, sa, explain_error(n.type), n.type, false, explain_notify(e, sa, n.type));
        return 0;
    }
    int err = learn(e, sa, in);
    if (err < 0)
        attempt_failed(e, sa, err, 0, false,
                       explain(e, "the gateway's answer to an additional key exchange cannot be "
                                  "used; its log may say more"));
    return err < 0 ? err : intermediate_go_on(e, sa);
}

/* ---- responder */

/* The answer into e->reply, sealed with the keys that the request had; then, and not before, the
 * new keys hold. */
static int answer(struct ike_engine *e, struct sa *sa, const struct input *in,
                  const struct kex *kex, struct fresh *fresh)
{
    struct intermediate *x = sa->handshake->intermediate;
    sk_begin(e, &e->reply);
    if (kex)
        wire_put_ke(&e->reply, kex_alg(kex)->id, kex_value(kex));
    int err = cover_own(sa, true, in->header.message_id, &e->reply);
    if (err < 0)
        return err;
    struct message *m = sk_seal(e, sa, EXCHANGE_IKE_INTERMEDIATE, true, sa->next_in, &e->reply);
    if (!m)
        return ERR_MEMORY;
    sa->request_hash = in->hash;
    window_answer(e, sa, m, &in->path);
    x->exchanges++;
    x->former = sa->keys;
    x->former_until = sa->next_in;
    if (kex)
        take_over(sa, fresh);
    return 0;
}

static int work(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct intermediate *x = sa->handshake->intermediate;
    struct kex *kex = NULL;
    struct fresh fresh;
    struct wire_ke ke;
    bool has_ke;
    int err = x->exchanges >= EXCHANGES_MAX ? ERR_SYNTAX : 0;
    if (err == 0)
        err = read_ke(x, in->inner, &ke, &has_ke);
    if (err == 0 && has_ke)
        err = kex_answer(suite_kex(ke.group), e->setup.random, ke.value, &kex);
    if (err == 0 && has_ke)
        err = derive(e, sa, kex, ke.value, &fresh);
    if (err == 0)
        err = cover_received(sa, in);
    if (err == 0)
        err = answer(e, sa, in, kex, &fresh);
    secret_wipe(&fresh, sizeof(fresh));
    kex_free(kex);
    return err;
}

int intermediate_request(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    path_settle(sa, &in->path);
    int err = work(e, sa, in);
    if (err < 0) {
        sa->request_hash = in->hash;
        attempt_refused(e, sa, EXCHANGE_IKE_INTERMEDIATE, ERR_SYNTAX, NOTIFY_INVALID_SYNTAX,
                        explain(e, "the peer's additional key exchange cannot be read, or is not "
                                   "the one agreed on"));
    }
    return LATER;
}
