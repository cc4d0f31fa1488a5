#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

/* IKE_FOLLOWUP_KE (RFC 9370 2.2.4), both roles: the additional key exchanges of a CREATE_CHILD_SA,
 * one each. Keys come of all secrets together, so nothing is usable before the last.
 *
 * The initiator goes on without letting other work between: to the rest of the engine it is the
 * same task, with the same struct creation. A responder keeps one thing unfinished for each IKE SA,
 * for as long as the peer would repeat its request; what the peer asks for next by CREATE_CHILD_SA
 * says that it has given that up. Meanwhile no work of our own that makes an SA begins.
 *
 * When both sides rekey the same SA at once, the nonces of the two CREATE_CHILD_SA exchanges say
 * who goes on (RFC 7296 2.8.1): who has lost sends nothing more, who has won forgets what the other
 * had begun. */

enum { LINK_MAX = 255, LINK_LEN = 16 };

struct followup {
    uint8_t methods[ADDKE_MAX], count, done;
    struct kex *kex;                  /* initiator: ours of the exchange that is out */
    uint8_t link_len, link[LINK_MAX]; /* what the responder wants to see again */
    bool rest;                        /* initiator: ADDITIONAL_TS_POSSIBLE came */
    struct timer timer;               /* responder: the end of its patience */
    struct sa *made;                  /* responder: a new IKE SA, not usable yet, */
    uint32_t spi_in, old_in;          /* or a child; and the one it replaces, 0 = none */
    uint16_t nonce_i_len, nonce_r_len;
    uint8_t nonce_i[WIRE_NONCE_MAX], nonce_r[WIRE_NONCE_MAX];
    uint16_t first_len, len;
    uint8_t secrets[]; /* SK(0), SK(1), ...; room for all */
};

struct followup *followup_create(const struct kes *kes, const struct secrets *s)
{
    uint8_t methods[ADDKE_MAX];
    size_t count = kes_additional(kes, methods), room = s->first.len;
    for (size_t i = 0; i < count; i++)
        room += suite_kex(methods[i])->secret_len;
    struct followup *f = calloc(1, sizeof(*f) + room);
    if (!f || s->nonce_i.len > WIRE_NONCE_MAX || s->nonce_r.len > WIRE_NONCE_MAX) {
        free(f);
        return NULL;
    }
    memcpy(f->methods, methods, sizeof(methods));
    f->count = (uint8_t)count;
    f->nonce_i_len = (uint16_t)s->nonce_i.len;
    f->nonce_r_len = (uint16_t)s->nonce_r.len;
    memcpy(f->nonce_i, s->nonce_i.at, s->nonce_i.len);
    memcpy(f->nonce_r, s->nonce_r.at, s->nonce_r.len);
    f->first_len = f->len = (uint16_t)s->first.len;
    memcpy(f->secrets, s->first.at, s->first.len);
    return f;
}

static struct secrets secrets_of(const struct followup *f)
{
    return (struct secrets){
        .first = {f->secrets, f->first_len},
        .more = {f->secrets + f->first_len, (size_t)(f->len - f->first_len)},
        .nonce_i = {f->nonce_i, f->nonce_i_len},
        .nonce_r = {f->nonce_r, f->nonce_r_len},
    };
}

void followup_free(struct ike_engine *e, struct followup **at)
{
    struct followup *f = *at;
    *at = NULL;
    if (!f)
        return;
    sa_disarm(e, &f->timer);
    kex_free(f->kex);
    if (f->made)
        sa_bury(e, f->made);
    secret_wipe(f, sizeof(*f) + f->len);
    free(f);
}

/* The KE payload that is due. */
static int read_ke(const struct followup *f, const struct wire_chain *chain, struct wire_ke *ke)
{
    const struct wire_payload_view *p = wire_find(chain, PAYLOAD_KE);
    if (!p || wire_ke_read(p->body, ke) < 0)
        return ERR_SYNTAX;
    return f->done < f->count && ke->group == f->methods[f->done] ? 0 : ERR_SYNTAX;
}

static int add_secret(struct ike_engine *e, struct followup *f, const struct kex *kex,
                      struct bytes peer)
{
    size_t len = kex_alg(kex)->secret_len;
    int err = kex_derive(kex, peer, e->secret);
    if (err == 0) {
        memcpy(f->secrets + f->len, e->secret, len);
        f->len = (uint16_t)(f->len + len);
        f->done++;
    }
    secret_wipe(e->secret, len);
    return err;
}

static void put_link(const struct followup *f, struct wire_builder *b)
{
    wire_put_notify(b, NOTIFY_ADDITIONAL_KEY_EXCHANGE, (struct bytes){f->link, f->link_len});
}

/* ---- initiator */

static int read_link(struct followup *f, const struct wire_chain *chain)
{
    struct wire_notify_view n;
    if (!wire_notify_find(chain, NOTIFY_ADDITIONAL_KEY_EXCHANGE, &n) || n.data.len > LINK_MAX)
        return ERR_SYNTAX;
    memcpy(f->link, n.data.at, n.data.len);
    f->link_len = (uint8_t)n.data.len;
    return 0;
}

/* The next request, by the creation out of e->done. */
static int send_request(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain)
{
    struct creation *c = e->done.creation;
    struct followup *f = c->followup;
    struct wire_builder b;
    int err = read_link(f, chain);
    if (err == 0)
        err = kex_create(suite_kex(f->methods[f->done]), e->setup.random, &f->kex);
    if (err < 0)
        return err;
    sk_begin(e, &b);
    wire_put_ke(&b, f->methods[f->done], kex_value(f->kex));
    put_link(f, &b);
    struct message *m = sk_seal(e, sa, EXCHANGE_IKE_FOLLOWUP_KE, false, sa->next_out, &b);
    if (!m)
        return ERR_MEMORY;
    e->done.creation = NULL;
    sa->out.creation = c;
    window_open(e, sa, e->done.task, m);
    return 0;
}

int followup_begin(struct ike_engine *e, struct sa *sa, const struct kes *kes,
                   const struct secrets *s, const struct wire_chain *chain)
{
    struct wire_notify_view n;
    struct creation *c = e->done.creation;
    c->followup = followup_create(kes, s);
    if (!c->followup)
        return ERR_MEMORY;
    c->followup->rest = wire_notify_find(chain, NOTIFY_ADDITIONAL_TS_POSSIBLE, &n);
    return send_request(e, sa, chain);
}

static int learn(struct ike_engine *e, struct followup *f, const struct wire_chain *chain)
{
    struct wire_ke ke;
    int err = read_ke(f, chain, &ke);
    if (err == 0)
        err = add_secret(e, f, f->kex, ke.value);
    kex_free(f->kex);
    f->kex = NULL;
    return err;
}

int followup_response(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct wire_notify_view n;
    struct exchange *done = &e->done;
    struct followup *f = done->creation ? done->creation->followup : NULL;
    bool ike = done->task.kind == TASK_REKEY_IKE;
    if (!f)
        return ERR_STATE;
    if (wire_notify_error(in->inner, &n)) {
        if (ike)
            rekey_ike_refused(e, sa, &n);
        else
            create_refused(e, sa, &n);
        return 0;
    }
    int err = learn(e, f, in->inner);
    if (err == 0 && f->done < f->count && sa->state == IKE_STATE_ESTABLISHED && sa->tunnel)
        err = send_request(e, sa, in->inner);
    else if (f->done == f->count || err < 0) {
        struct secrets s = secrets_of(f);
        err = ike ? rekey_ike_finish(e, sa, err, &s) : create_finish(e, sa, err, &s, f->rest);
        return err;
    }
    if (err < 0)
        return ike ? rekey_ike_finish(e, sa, err, NULL) : create_finish(e, sa, err, NULL, false);
    return 0;
}

/* ---- responder */

/* Takes f, or the IKE SA ends. Its link goes into e->reply. */
void followup_wait(struct ike_engine *e, struct sa *sa, struct followup *f,
                   const struct followup_subject *subject)
{
    f->made = subject->made;
    f->spi_in = subject->child;
    f->old_in = subject->old;
    f->link_len = LINK_LEN;
    random_fill(e->setup.random, f->link, LINK_LEN);
    f->timer = (struct timer){.owner = sa, .kind = TIMER_FOLLOWUP};
    sa->followup = f;
    sa_arm(e, &f->timer, e->now + FOLLOWUP_LIFE);
    put_link(f, &e->reply);
}

bool followup_makes_ike(const struct sa *sa)
{
    return sa->followup && sa->followup->made;
}

bool followup_makes_child(const struct sa *sa, uint32_t spi_in)
{
    return sa->followup && spi_in != 0 && sa->followup->spi_in == spi_in;
}

void followup_drop(struct ike_engine *e, struct sa *sa)
{
    struct followup *f = sa->followup;
    if (!f)
        return;
    struct child *c = f->spi_in ? child_find(sa, f->spi_in) : NULL;
    if (c)
        child_free(e, c);
    followup_free(e, &sa->followup);
}

/* The peer has not gone on: who began is free to begin again, and so are we. */
void followup_expired(struct ike_engine *e, struct sa *sa)
{
    struct child *old = sa->followup->old_in ? child_find(sa, sa->followup->old_in) : NULL;
    followup_drop(e, sa);
    if (old && old->state == CHILD_UP)
        child_retry(e, old, 5 * TIME_SECOND);
    task_run(e, sa);
}

static bool is_linked(const struct followup *f, const struct wire_chain *chain)
{
    struct wire_notify_view n;
    return wire_notify_find(chain, NOTIFY_ADDITIONAL_KEY_EXCHANGE, &n) &&
           bytes_equal(n.data, (struct bytes){f->link, f->link_len});
}

/* Is what it is to replace still there, and the tunnel? */
static bool stands(const struct sa *sa, const struct followup *f)
{
    if (sa->state != IKE_STATE_ESTABLISHED || !sa->tunnel || sa->tunnel->sa != sa)
        return false;
    return f->made || (child_find(sa, f->spi_in) && (!f->old_in || child_find(sa, f->old_in)));
}

static int finish(struct ike_engine *e, struct sa *sa, struct followup *f)
{
    struct secrets s = secrets_of(f);
    if (f->made) {
        struct sa *made = f->made;
        f->made = NULL;
        return rekey_ike_grant(e, sa, made, &s);
    }
    struct child *old = f->old_in ? child_find(sa, f->old_in) : NULL;
    return create_grant(e, sa, child_find(sa, f->spi_in), old, &s);
}

/* 0, or a notify; f goes with any of these but one that asks for more. */
static int work(struct ike_engine *e, struct followup *f, const struct wire_chain *chain)
{
    struct wire_ke ke;
    struct kex *kex = NULL;
    int err = read_ke(f, chain, &ke);
    if (err == 0)
        err = kex_answer(suite_kex(ke.group), e->setup.random, ke.value, &kex);
    if (err == 0)
        err = add_secret(e, f, kex, ke.value);
    if (err == 0) {
        sk_begin(e, &e->reply);
        wire_put_ke(&e->reply, ke.group, kex_value(kex));
        if (f->done < f->count)
            put_link(f, &e->reply);
    }
    kex_free(kex);
    return err == 0 ? 0 : NOTIFY_INVALID_SYNTAX;
}

int followup_request(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct followup *f = sa->followup;
    if (!f || !is_linked(f, in->inner))
        return NOTIFY_STATE_NOT_FOUND;
    if (!stands(sa, f)) {
        followup_drop(e, sa);
        return NOTIFY_STATE_NOT_FOUND;
    }
    int notify = work(e, f, in->inner);
    if (notify != 0) {
        followup_drop(e, sa);
        return notify;
    }
    if (f->done < f->count) {
        sa_arm(e, &f->timer, e->now + FOLLOWUP_LIFE);
        return 0;
    }
    sa->followup = NULL;
    notify = finish(e, sa, f);
    followup_free(e, &f);
    return notify;
}
