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

static int make_keys(struct ike_engine *e, const struct sa *old, struct sa *made,
                     const struct negotiation *n, const struct exchange_values *v)
{
    int err = kex_derive(n->kex, v->ke.value, e->secret);
    if (err < 0)
        return err;
    uint8_t sk_p[2][SECRET_MAX];
    struct bytes own = {n->nonce_own, NONCE_LEN};
    struct keymat_input k = {
        .secret = {e->secret, kex_alg(n->kex)->secret_len},
        .nonce_i = made->initiator ? own : v->nonce,
        .nonce_r = made->initiator ? v->nonce : own,
        .spi_i = made->initiator ? made->spi_own : made->spi_peer,
        .spi_r = made->initiator ? made->spi_peer : made->spi_own,
        .old_prf = old->chosen.prf,
        .old_d = {old->keys.d, suite_prf(old->chosen.prf)->len},
    };
    err = keymat_ike(&made->chosen, &k, &made->keys, sk_p);
    secret_wipe(e->secret, k.secret.len);
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
    struct select_wish wish = {.protocol = PROTOCOL_IKE,
                               .spi = spi_bytes(c->made->spi_own, spi),
                               .with_ke = true,
                               .single = true};
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

static int learn(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                 const struct creation *c, struct exchange_values *v)
{
    const struct wire_payload_view *p = wire_find(chain, PAYLOAD_SA);
    int count = p ? wire_sa_read(p->body, e->offered, PROPOSALS_MAX) : ERR_SYNTAX;
    struct select_wish wish = {.protocol = PROTOCOL_IKE, .with_ke = true, .single = true};
    size_t offers = select_offer(former_conf(e, c), &wish, e->offer);
    if (count != 1 || init_values(chain, v) < 0 || !v->has_ke ||
        read_spi(&e->offered[0], &c->made->spi_peer) < 0)
        return ERR_SYNTAX;
    if (select_check(e->offer, offers, &e->offered[0], SELECT_KE_MUST, e->conf->pq) < 0)
        return ERR_NO_PROPOSAL;
    c->made->chosen = select_chosen(&e->offered[0]);
    if (c->made->chosen.kes.ke != c->group || v->ke.group != c->group)
        return ERR_KE;
    return make_keys(e, sa, c->made, &c->n, v);
}

static void delete_sa(struct ike_engine *e, struct sa *sa)
{
    task_first(e, sa, (struct task){.kind = TASK_DELETE_IKE});
    task_run(e, sa);
}

/* Both sides made one: the one with the lowest of the four nonces goes, by the hand of who made it.
 */
static void settle(struct ike_engine *e, struct sa *old, struct sa *made, struct creation *c,
                   struct bytes peer_nonce)
{
    struct bytes own = {c->n.nonce_own, NONCE_LEN};
    struct sa *loser = rival_sa(e, c);
    if (loser && rival_is_higher(c->rival, own, peer_nonce)) {
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

/* The SA ended, or the peer's own successor took its place, while our request was out. What the
 * peer made for us it would keep for ever: who asked for it deletes it. */
static void came_too_late(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                          struct creation *c)
{
    struct wire_notify_view n;
    struct exchange_values v;
    if (wire_notify_error(chain, &n) || learn(e, sa, chain, c, &v) < 0)
        return;
    struct sa *made = c->made;
    c->made = NULL;
    sa_established(e, made);
    delete_sa(e, made);
}

int rekey_ike_response(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct exchange *done = &e->done;
    struct creation *c = done->creation;
    struct wire_notify_view n;
    struct exchange_values v;
    if (sa->state != IKE_STATE_ESTABLISHED || !sa->tunnel || sa->tunnel->sa != sa) {
        came_too_late(e, sa, in->inner, c);
        return 0;
    }
    if (wire_notify_error(in->inner, &n)) {
        if (retry_group(e, sa, done, &n) || adopt_rival(e, sa, c))
            return 0;
        if (n.type == NOTIFY_TEMPORARY_FAILURE) {
            task_hold(e, sa, done->task);
            return 0;
        }
        if (peer_is_logged(e))
            log_warn("ike: the peer refused to rekey the IKE SA (notify %u)", n.type);
        rekey_ike_failed(e, sa, TIME_NEVER);
        reauth_instead(e, sa->tunnel);
        return 0;
    }
    int err = learn(e, sa, in->inner, c, &v);
    if (err < 0) {
        if (peer_is_logged(e))
            log_warn("ike: the peer's answer to a rekey is not usable: %s", err_sentence(err));
        if (!adopt_rival(e, sa, c))
            rekey_ike_failed(e, sa, 30 * TIME_SECOND);
        return 0;
    }
    struct sa *made = c->made;
    c->made = NULL;
    sa_established(e, made);
    crash_read_token(e, made, in->inner);
    reload_judge_ike(e, c, made);
    settle(e, sa, made, c, v.nonce);
    crash_send_token(e, made);
    return 0;
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
                          .ke_sent = v->ke.group,
                          .single = true};
    return create_select(e, &s);
}

static int make(struct ike_engine *e, struct sa *sa, struct sa *made,
                const struct exchange_values *v, struct negotiation *n)
{
    made->chosen = select_chosen(&e->picked);
    inherit(made, sa);
    int err = read_spi(&e->picked, &made->spi_peer);
    if (err == 0)
        err = negotiation_create(e, n, made->chosen.kes.ke, &v->ke);
    return err < 0 ? err : make_keys(e, sa, made, n, v);
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

/* With our own request out, it stays open which of the two succeeds. */
static void succeed(struct ike_engine *e, struct sa *sa, struct sa *made, struct bytes nonce_i,
                    struct bytes nonce_r)
{
    struct creation *own =
        sa->out.request && sa->out.task.kind == TASK_REKEY_IKE ? sa->out.creation : NULL;
    sa_established(e, made);
    if (own && !own->rival) {
        own->rival = rival_create(nonce_i, nonce_r);
        if (own->rival) {
            own->rival->spi = made->spi_own;
            return;
        }
    }
    if (own)
        rekey_drop_rival(e, sa); /* a second one of theirs takes the place of the first */
    rekey_adopt(e, sa, made);
}

int rekey_ike_request(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct exchange_values v;
    if (child_work_is_out(sa))
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
    int err = make(e, sa, made, &v, &n);
    if (err == 0) {
        put_answer(e, made, &n);
        succeed(e, sa, made, v.nonce, (struct bytes){n.nonce_own, NONCE_LEN});
    } else {
        sa_bury(e, made);
    }
    negotiation_free(&n);
    return err == 0 ? 0 : NOTIFY_INVALID_SYNTAX;
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

/* Has the peer made a better successor of the same child, that is still there? */
bool rekey_child_lost(const struct sa *sa, const struct exchange *done, struct bytes nonce_i,
                      struct bytes nonce_r)
{
    const struct rival *rival = done->creation->rival;
    const struct child *theirs = rival ? child_find(sa, (uint32_t)rival->spi) : NULL;
    return theirs && theirs->state == CHILD_UP && rival_is_higher(rival, nonce_i, nonce_r);
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
    if (theirs)
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
