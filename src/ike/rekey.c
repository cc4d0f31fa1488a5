#include <string.h>

#include "ike/internal.h"

/* A new IKE SA in place of an old one (RFC 7296 1.3.2, 2.18), and who wins when both sides began at
 * once (2.8.1, 2.25). The tunnel, its children and the work that waits move to the successor; the
 * old SA stays until it is deleted. */

/* One replaced SA a tunnel may wait for its Delete. A peer that rekeys without ever deleting would
 * else fill the memory for all. */
static void let_former_go(struct ike_engine *e, struct tunnel *t)
{
    struct sa *former = t->former ? map_get(&e->sas, t->former) : NULL;
    if (former && former->state == IKE_STATE_REKEYED && !former->tunnel)
        sa_linger(e, former);
}

/* What does not change by rekeying. */
static void inherit(struct sa *to, const struct sa *from)
{
    to->path = from->path;
    to->nat_local = from->nat_local;
    to->nat_remote = from->nat_remote;
    to->nat_peer_aware = from->nat_peer_aware;
    to->udp = from->udp;
    to->feigns_nat = from->feigns_nat;
    to->fragment = from->fragment; /* agreed on for good, RFC 7383 2.3 */
    to->childless_at = from->childless_at;
}

/* Where the peer is, that SA knows on which it was heard last: it may have moved while the rekey
 * was out. */
static void take_over_path(struct ike_engine *e, const struct sa *old, struct sa *successor)
{
    if (old->last_heard >= successor->last_heard)
        inherit(successor, old);
    else if (!endpoint_equal(&old->path.remote, &successor->path.remote))
        queue_move(e, successor);
}

void rekey_adopt(struct ike_engine *e, struct sa *old, struct sa *successor)
{
    struct tunnel *t = old->tunnel;
    followup_drop(e, old);
    let_former_go(e, t);
    t->former = old->spi_own;
    successor->tunnel = t;
    old->tunnel = NULL;
    t->sa = successor;
    t->rekeys_ike++;
    take_over_path(e, old, successor);
    while (old->children)
        child_move(old->children, successor);
    task_move(e, old, successor);
    e->woken = successor;                   /* its work starts after the answer to the peer */
    successor->close_now |= old->close_now; /* a command that has not had its turn */
    if (successor->close_now)
        sa_plan_duty(e, successor);
    sa_set_state(e, old, IKE_STATE_REKEYED);
    old->close_now = false;
    old->rekey_at = TIME_NEVER;
    old->expire_at = e->now + REKEYED_LIFE;
    sa_plan_duty(e, old);
    queue_event(e, IKE_EVENT_REKEYED_IKE, t, &successor->path, 0, NULL);
}

/* SK(0), into e->secret. */
static int derive(struct ike_engine *e, const struct negotiation *n,
                  const struct exchange_values *v, struct secrets *s)
{
    s->first = (struct bytes){e->secret, kex_alg(n->kex)->secret_len};
    return kex_derive(n->kex, v->ke.value, e->secret);
}

static int make_keys(const struct sa *old, struct sa *made, const struct secrets *s)
{
    uint8_t sk_p[2][SECRET_MAX];
    struct keymat_input k = {
        .secret = s->first,
        .more = s->more,
        .nonce_i = s->nonce_i,
        .nonce_r = s->nonce_r,
        .spi_i = made->initiator ? made->spi_own : made->spi_peer,
        .spi_r = made->initiator ? made->spi_peer : made->spi_own,
        .old_prf = old->chosen.prf,
        .old_d = {old->keys.d, suite_prf(old->chosen.prf)->len},
    };
    int err = keymat_ike(&made->chosen, &k, &made->keys, sk_p);
    secret_wipe(sk_p, sizeof(sk_p));
    return err;
}

static int read_spi(const struct proposal *p, uint64_t *spi)
{
    struct reader r = reader_of(p->spi, p->spi_len);
    *spi = reader_u64(&r);
    return reader_done(&r) && *spi != 0 ? 0 : ERR_SYNTAX;
}

static struct bytes spi_bytes(uint64_t spi, uint8_t octets[8])
{
    struct writer w = writer_of(octets, 8);
    writer_u64(&w, spi);
    return writer_view(&w);
}

/* ---- initiator */

static int start_with(struct ike_engine *e, struct sa *sa, struct task task, uint16_t group,
                      uint8_t ke_count)
{
    uint8_t spi[8];
    struct wire_builder b;
    if (sa->state != IKE_STATE_ESTABLISHED || !sa->tunnel || sa->tunnel->sa != sa)
        return ERR_STATE;
    struct creation *c = creation_create(e, group);
    if (c)
        c->made = sa_create(e, true, &sa->path);
    if (!c || !c->made) {
        creation_free(e, &c);
        return ERR_LIMIT;
    }
    c->ke_count = ke_count;
    inherit(c->made, sa);
    sk_begin(e, &b);
    struct select_wish wish = {
        .protocol = PROTOCOL_IKE, .spi = spi_bytes(c->made->spi_own, spi), .with_ke = true};
    size_t count = select_offer(e->conf, &wish, e->offer);
    wire_put_sa(&b, e->offer, count);
    negotiation_put(&b, &c->n);
    struct message *m = sk_seal(e, sa, EXCHANGE_CREATE_CHILD_SA, false, sa->next_out, &b);
    if (!m) {
        creation_free(e, &c);
        return ERR_MEMORY;
    }
    sa->out.creation = c;
    window_open(e, sa, task, m);
    return 0;
}

int rekey_ike_start(struct ike_engine *e, struct sa *sa, struct task task)
{
    uint16_t group = sa->chosen.kes.ke;
    if (!select_offers_group(e->conf->ike, e->conf->ike_count, group))
        group = select_first_group(e->conf->ike, e->conf->ike_count);
    int err = start_with(e, sa, task, group, 0);
    if (err == ERR_LIMIT || err == ERR_MEMORY)
        rekey_ike_failed(e, sa, 10 * TIME_SECOND);
    return err;
}

static bool retry_group(struct ike_engine *e, struct sa *sa, const struct exchange *done,
                        const struct wire_notify_view *n)
{
    struct reader r = reader_of_bytes(n->data);
    uint16_t group = reader_u16(&r);
    return n->type == NOTIFY_INVALID_KE_PAYLOAD && done->creation->ke_count < KE_RETRIES &&
           group != done->creation->group && !done->creation->rival &&
           select_offers_group(e->conf->ike, e->conf->ike_count, group) &&
           start_with(e, sa, done->task, group, (uint8_t)(done->creation->ke_count + 1)) == 0;
}

/* The IKE SA that the peer made at the same time; NULL when there is none, or none any more. */
static struct sa *rival_sa(const struct ike_engine *e, const struct creation *c)
{
    struct sa *sa = c && c->rival && c->rival->spi ? map_get(&e->sas, c->rival->spi) : NULL;
    return sa && sa->state == IKE_STATE_ESTABLISHED ? sa : NULL;
}

/* The successor that the peer made stands alone now. */
static bool adopt_rival(struct ike_engine *e, struct sa *sa, struct creation *c)
{
    struct sa *rival = rival_sa(e, c);
    if (!rival || !sa->tunnel)
        return false;
    rekey_adopt(e, sa, rival);
    c->rival->spi = 0;
    return true;
}

/* What has the SA to wait for: another try, or its end. */
void rekey_ike_failed(struct ike_engine *e, struct sa *sa, time_us again)
{
    sa->rekey_at =
        again == TIME_NEVER ? TIME_NEVER : e->now + again + random_u32(e->setup.random) % again;
    sa_plan_duty(e, sa);
}

/* What the answer to our CREATE_CHILD_SA says; its secret in e->secret. */
static int learn(struct ike_engine *e, const struct wire_chain *chain, const struct creation *c,
                 struct secrets *s)
{
    struct exchange_values values, *v = &values;
    const struct wire_payload_view *p = wire_find(chain, PAYLOAD_SA);
    int count = p ? wire_sa_read(p->body, e->offered, PROPOSALS_MAX) : ERR_SYNTAX;
    struct select_wish wish = {.protocol = PROTOCOL_IKE, .with_ke = true};
    size_t offers = select_offer(former_conf(e, c), &wish, e->offer);
    if (count != 1 || init_values(chain, v) < 0 || !v->has_ke ||
        read_spi(&e->offered[0], &c->made->spi_peer) < 0)
        return ERR_SYNTAX;
    if (select_check(e->offer, offers, &e->offered[0], SELECT_KE_MUST, e->conf->pq) < 0)
        return ERR_NO_PROPOSAL;
    c->made->chosen = select_chosen(&e->offered[0]);
    if (c->made->chosen.kes.ke != c->group || v->ke.group != c->group)
        return ERR_KE;
    crash_read_token(e, c->made, chain);
    s->nonce_i = (struct bytes){c->n.nonce_own, NONCE_LEN};
    s->nonce_r = v->nonce;
    return derive(e, &c->n, v, s);
}

static void delete_sa(struct ike_engine *e, struct sa *sa)
{
    task_first(e, sa, (struct task){.kind = TASK_DELETE_IKE});
    task_run(e, sa);
}

/* Both sides made one: the one with the lowest of the four nonces goes, by the hand of who made it.
 */
static void settle(struct ike_engine *e, struct sa *old, struct sa *made, struct creation *c,
                   const struct secrets *s)
{
    struct sa *loser = rival_sa(e, c);
    if (loser && rival_is_higher(c->rival, s->nonce_i, s->nonce_r)) {
        adopt_rival(e, old, c);
        sa_set_state(e, made, IKE_STATE_REKEYED);
        delete_sa(e, made);
        return;
    }
    rekey_adopt(e, old, made);
    delete_sa(e, old);
    if (loser) {
        sa_set_state(e, loser, IKE_STATE_REKEYED);
        loser->tunnel = NULL;
        loser->expire_at = e->now + REKEYED_LIFE;
        sa_plan_duty(e, loser);
        c->rival->spi = 0;
    }
}

static bool is_current(const struct sa *sa)
{
    return sa->state == IKE_STATE_ESTABLISHED && sa->tunnel && sa->tunnel->sa == sa;
}

/* The SA ended, or the peer's own successor took its place, while our request was out. What the
 * peer made for us it would keep for ever: who asked for it deletes it. */
static int complete(struct ike_engine *e, struct sa *sa, struct creation *c,
                    const struct secrets *s)
{
    struct sa *made = c->made;
    int err = make_keys(sa, made, s);
    if (err < 0)
        return err;
    c->made = NULL;
    sa_established(e, made);
    if (!is_current(sa)) {
        delete_sa(e, made);
        return 0;
    }
    sa->busy_count = 0;
    reload_judge_ike(e, c, made);
    settle(e, sa, made, c, s);
    crash_send_token(e, made);
    return 0;
}

int rekey_ike_finish(struct ike_engine *e, struct sa *sa, int err, const struct secrets *s)
{
    struct creation *c = e->done.creation;
    if (err == 0)
        err = complete(e, sa, c, s);
    if (err == 0 || !is_current(sa))
        return 0;
    if (peer_is_logged(e))
        log_warn("ike: the peer's answer to a rekey is not usable: %s", err_sentence(err));
    if (!adopt_rival(e, sa, c))
        rekey_ike_failed(e, sa, 30 * TIME_SECOND);
    return 0;
}

void rekey_ike_refused(struct ike_engine *e, struct sa *sa, const struct wire_notify_view *n)
{
    struct exchange *done = &e->done;
    if (!task_is_to_be_held(n->type))
        sa->busy_count = 0;
    if (!is_current(sa) || retry_group(e, sa, done, n) || adopt_rival(e, sa, done->creation))
        return;
    if (task_is_to_be_held(n->type)) {
        task_hold(e, sa, done->task);
        return;
    }
    if (peer_is_logged(e))
        log_warn("ike: the peer refused to rekey the IKE SA (notify %u)", n->type);
    rekey_ike_failed(e, sa, TIME_NEVER);
    reauth_instead(e, sa->tunnel);
}

/* More exchanges are to come, unless the peer rekeys it too and has won already: then the rest is
 * up to it. */
static int go_on(struct ike_engine *e, struct sa *sa, struct creation *c, const struct secrets *s,
                 const struct wire_chain *chain)
{
    bool waits = c->rival && followup_makes_ike(sa);
    if ((waits || rival_sa(e, c)) && rival_is_higher(c->rival, s->nonce_i, s->nonce_r)) {
        if (!adopt_rival(e, sa, c))
            rekey_ike_failed(e, sa, 30 * TIME_SECOND);
        return 0;
    }
    if (waits)
        followup_drop(e, sa);
    return followup_begin(e, sa, &c->made->chosen.kes, s, chain);
}

int rekey_ike_response(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct creation *c = e->done.creation;
    struct wire_notify_view n;
    struct secrets s = {0};
    uint8_t additional[ADDKE_MAX];
    if (wire_notify_error(in->inner, &n)) {
        rekey_ike_refused(e, sa, &n);
        return 0;
    }
    int err = learn(e, in->inner, c, &s);
    bool more = err == 0 && kes_additional(&c->made->chosen.kes, additional) > 0;
    if (more && is_current(sa)) /* else the peer has made nothing yet */
        err = go_on(e, sa, c, &s, in->inner);
    if (!more || err < 0)
        err = rekey_ike_finish(e, sa, err, &s);
    secret_wipe(e->secret, sizeof(e->secret));
    return err;
}

/* ---- responder */

static bool child_work_is_out(const struct sa *sa)
{
    uint8_t kind = sa->out.request ? sa->out.task.kind : TASK_NONE;
    return kind == TASK_CREATE_CHILD || kind == TASK_REKEY_CHILD || kind == TASK_DELETE_CHILD;
}

static int choose(struct ike_engine *e, const struct wire_chain *chain,
                  const struct exchange_values *v)
{
    const struct wire_payload_view *p = wire_find(chain, PAYLOAD_SA);
    int count = p ? wire_sa_read(p->body, e->offered, PROPOSALS_MAX) : ERR_SYNTAX;
    if (count < 0 || !v->has_ke)
        return NOTIFY_INVALID_SYNTAX;
    struct selection s = {.own = e->conf->ike,
                          .own_count = e->conf->ike_count,
                          .offered = e->offered,
                          .offered_count = (size_t)count,
                          .ke = SELECT_KE_MUST,
                          .pq = e->conf->pq,
                          .ke_sent = v->ke.group};
    return terms_select(e, &s);
}

static int make(struct ike_engine *e, struct sa *sa, struct sa *made,
                const struct exchange_values *v, struct negotiation *n, struct secrets *s)
{
    made->chosen = select_chosen(&e->picked);
    inherit(made, sa);
    int err = read_spi(&e->picked, &made->spi_peer);
    if (err == 0)
        err = negotiation_create(e, n, made->chosen.kes.ke, &v->ke);
    if (err < 0)
        return err;
    s->nonce_i = v->nonce;
    s->nonce_r = (struct bytes){n->nonce_own, NONCE_LEN};
    return derive(e, n, v, s);
}

static void put_answer(struct ike_engine *e, const struct sa *made, const struct negotiation *n)
{
    uint8_t spi[8];
    spi_bytes(made->spi_own, spi);
    memcpy(e->picked.spi, spi, sizeof(spi));
    sk_begin(e, &e->reply);
    wire_put_sa(&e->reply, &e->picked, 1);
    negotiation_put(&e->reply, n);
    crash_put_token(e, made, &e->reply);
}

static struct creation *own_rekey(const struct sa *sa)
{
    return sa->out.request && sa->out.task.kind == TASK_REKEY_IKE ? sa->out.creation : NULL;
}

/* With our own request out, it stays open which of the two succeeds. */
static bool note_rival(const struct sa *sa, const struct sa *made, const struct secrets *s)
{
    struct creation *own = own_rekey(sa);
    if (!own || own->rival)
        return false;
    own->rival = rival_create(s->nonce_i, s->nonce_r);
    if (own->rival)
        own->rival->spi = made->spi_own;
    return own->rival;
}

static void succeed(struct ike_engine *e, struct sa *sa, struct sa *made, const struct secrets *s)
{
    struct creation *own = own_rekey(sa);
    sa_established(e, made);
    if ((own && own->rival && own->rival->spi == made->spi_own) || note_rival(sa, made, s))
        return;
    if (own)
        rekey_drop_rival(e, sa); /* a second one of theirs takes the place of the first */
    rekey_adopt(e, sa, made);
}

int rekey_ike_grant(struct ike_engine *e, struct sa *sa, struct sa *made, const struct secrets *s)
{
    if (make_keys(sa, made, s) < 0) {
        sa_bury(e, made);
        return NOTIFY_INVALID_SYNTAX;
    }
    succeed(e, sa, made, s);
    return 0;
}

/* Agreed on; the keys come with the last of the additional exchanges. */
static int grant_later(struct ike_engine *e, struct sa *sa, struct sa *made,
                       const struct secrets *s)
{
    struct followup *f = followup_create(&made->chosen.kes, s);
    if (!f) {
        sa_bury(e, made);
        return NOTIFY_TEMPORARY_FAILURE;
    }
    (void)note_rival(sa, made, s);
    followup_wait(e, sa, f, &(struct followup_subject){.made = made});
    return 0;
}

/* Our own rekey is past its first exchange, so the peer knows what it asks for too late. */
static bool is_decided(const struct sa *sa)
{
    return own_rekey(sa) && own_rekey(sa)->followup;
}

int rekey_ike_request(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct exchange_values v;
    struct secrets s = {0};
    uint8_t additional[ADDKE_MAX];
    if (child_work_is_out(sa) || is_decided(sa))
        return NOTIFY_TEMPORARY_FAILURE;
    if (init_values(in->inner, &v) < 0)
        return NOTIFY_INVALID_SYNTAX;
    int notify = choose(e, in->inner, &v);
    if (notify != 0)
        return notify;
    struct sa *made = sa_create(e, false, &sa->path);
    if (!made)
        return NOTIFY_TEMPORARY_FAILURE;
    struct negotiation n = {0};
    if (make(e, sa, made, &v, &n, &s) == 0) {
        put_answer(e, made, &n);
        notify = kes_additional(&made->chosen.kes, additional) > 0
                     ? grant_later(e, sa, made, &s)
                     : rekey_ike_grant(e, sa, made, &s);
    } else {
        sa_bury(e, made);
        notify = NOTIFY_INVALID_SYNTAX;
    }
    negotiation_free(&n);
    secret_wipe(e->secret, sizeof(e->secret));
    return notify;
}

/* The old SA ends while our own rekey of it is still out. */
bool rekey_settle_deleted(struct ike_engine *e, struct sa *sa)
{
    return adopt_rival(e, sa, sa->out.creation);
}

/* To the peer it may be the one that counts, so it must hear of its end. */
void rekey_drop_rival(struct ike_engine *e, struct sa *sa)
{
    struct creation *c = sa->out.creation ? sa->out.creation : e->done.creation;
    struct sa *rival = rival_sa(e, c);
    if (!rival)
        return;
    c->rival->spi = 0;
    delete_sa(e, rival);
}

/* ---- children */

/* Before more is made: who rekeys all at once would else fill the room for children. */
static void delete_child(struct ike_engine *e, struct sa *sa, struct child *c)
{
    task_first(e, sa, (struct task){.kind = TASK_DELETE_CHILD, .spi_in = c->spi_in});
}

/* Has the peer made, or begun, a better successor of the same child? */
bool rekey_child_lost(const struct sa *sa, const struct exchange *done, struct bytes nonce_i,
                      struct bytes nonce_r)
{
    const struct rival *rival = done->creation->rival;
    const struct child *theirs = rival ? child_find(sa, (uint32_t)rival->spi) : NULL;
    bool stands = theirs && (theirs->state == CHILD_UP || followup_makes_child(sa, theirs->spi_in));
    return stands && rival_is_higher(rival, nonce_i, nonce_r);
}

/* Of two successors the one with the lowest nonce goes, by who made it; the maker of the other one
 * deletes the old child. */
void rekey_child_done(struct ike_engine *e, struct sa *sa, struct child *old, struct child *made,
                      struct bytes nonce_i, struct bytes nonce_r)
{
    if (rekey_child_lost(sa, &e->done, nonce_i, nonce_r)) {
        made->state = CHILD_REKEYED;
        made->replaced = true;
        delete_child(e, sa, made);
        return;
    }
    const struct rival *rival = e->done.creation->rival;
    struct child *theirs = rival ? child_find(sa, (uint32_t)rival->spi) : NULL;
    if (theirs && followup_makes_child(sa, theirs->spi_in))
        followup_drop(e, sa);
    else if (theirs)
        theirs->replaced = true; /* the peer will delete it */
    sa->tunnel->rekeys_child++;
    queue_event(e, IKE_EVENT_REKEYED_CHILD, sa->tunnel, &sa->path, 0, NULL);
    if (!old)
        return;
    old->state = CHILD_REKEYED;
    old->replaced = true;
    if (e->now + REKEYED_LIFE < old->hard)
        old->hard = e->now + REKEYED_LIFE;
    delete_child(e, sa, old);
}
