#include <string.h>

#include "ike/internal.h"

/* CREATE_CHILD_SA for a child: new or in place of an old one (RFC 7296 1.3.1, 1.3.3, 2.8), both
 * roles. */

struct creation *creation_create(struct ike_engine *e, uint16_t group)
{
    struct creation *c = slab_take(&e->creation_slab);
    if (!c)
        return NULL;
    c->group = group;
    if (negotiation_create(e, &c->n, group, NULL) < 0)
        creation_free(e, &c);
    return c;
}

/* ---- initiator */

static uint16_t wanted_group(const struct ike_engine *e, const struct sa *sa)
{
    if (!e->conf->pfs)
        return 0;
    uint16_t group = select_first_group(e->conf->esp, e->conf->esp_count);
    return group ? group : sa->chosen.kes.ke;
}

static void put_rekey_notify(struct wire_builder *b, uint16_t notify, uint8_t protocol,
                             uint32_t spi)
{
    uint8_t octets[4];
    struct writer w = writer_of(octets, sizeof(octets));
    writer_u32(&w, spi);
    wire_put_notify_spi(b, protocol, writer_view(&w), notify, (struct bytes){0});
}

static struct message *build_request(struct ike_engine *e, struct sa *sa, const struct child *old,
                                     const struct child *made, const struct creation *creation)
{
    struct wire_builder b;
    uint8_t spi[4];
    struct writer w = writer_of(spi, sizeof(spi));
    writer_u32(&w, made->spi_in);
    sk_begin(e, &b);
    if (old)
        put_rekey_notify(&b, NOTIFY_REKEY_SA, protocol_of(old), old->spi_in);
    hosts_put(made, &b);
    size_t count = terms_offer(e, sa, writer_view(&w), creation->group);
    wire_put_sa(&b, e->offer, count);
    negotiation_put(&b, &creation->n);
    terms_offer_ts(e, sa, made, old, &b);
    return sk_seal(e, sa, EXCHANGE_CREATE_CHILD_SA, false, sa->next_out, &b);
}

static int start_with(struct ike_engine *e, struct sa *sa, struct task task, uint16_t group,
                      uint8_t ke_count)
{
    struct child *old = NULL;
    if (task.kind == TASK_REKEY_CHILD) {
        old = child_find(sa, task.spi_in);
        if (!old || old->state != CHILD_UP)
            return ERR_NOT_FOUND;
    }
    if (sa->state != IKE_STATE_ESTABLISHED || !sa->tunnel)
        return ERR_STATE;
    struct creation *creation = creation_create(e, group);
    struct child *made = creation ? child_create(e, sa, old) : NULL;
    struct message *m = NULL;
    if (made) {
        made->initiator = true;
        made->wish = old ? old->wish : task.wish;
        made->pair = old ? old->pair : task.pair;
        made->stopgap = old ? old->stopgap : task.spi_in == STOPGAP;
        creation->spi_in = made->spi_in;
        creation->ke_count = ke_count;
        bool good = !hosts_wanted(e, sa, old) || hosts_begin(e, made) == 0;
        m = good ? build_request(e, sa, old, made, creation) : NULL;
    }
    if (!m) {
        if (made)
            child_free(e, made);
        creation_free(e, &creation);
        return ERR_LIMIT;
    }
    sa->out.creation = creation;
    window_open(e, sa, task, m);
    return 0;
}

int create_start(struct ike_engine *e, struct sa *sa, struct task task)
{
    int err = start_with(e, sa, task, wanted_group(e, sa), 0);
    struct child *old = task.kind == TASK_REKEY_CHILD ? child_find(sa, task.spi_in) : NULL;
    if (err == ERR_LIMIT && old)
        child_retry(e, old, 5 * TIME_SECOND);
    return err;
}

/* The peer has it no more: from scratch, if there is no other already (RFC 7296 2.25.1). */
static void child_vanished(struct ike_engine *e, struct sa *sa, struct child *old)
{
    if (!old || old->state != CHILD_UP)
        return;
    bool wanted = !child_has_successor(old);
    struct task again = {.kind = TASK_CREATE_CHILD,
                         .wish = old->wish,
                         .pair = old->pair,
                         .spi_in = old->stopgap ? STOPGAP : 0};
    child_gone(e, old, 0);
    if (wanted && task_add(e, sa, again) < 0)
        e->counters.drop_memory++;
}

static bool retry_group(struct ike_engine *e, struct sa *sa, struct task task,
                        const struct creation *was, const struct wire_notify_view *n)
{
    struct reader r = reader_of_bytes(n->data);
    uint16_t group = reader_u16(&r);
    if (!e->conf->pfs || was->ke_count >= KE_RETRIES || group == was->group)
        return false;
    size_t offers = terms_offer(e, sa, (struct bytes){0}, was->group);
    if (group != 0 && !select_offers_group(e->offer, offers, group))
        return false;
    return start_with(e, sa, task, group, (uint8_t)(was->ke_count + 1)) == 0;
}

/* Windows says why in a number of its own: 13863 = it will not have its child rekeyed from here. */
static void log_refusal(struct ike_engine *e, const struct sa *sa, const struct wire_notify_view *n)
{
    char name[WIRE_NAME_TEXT], where[ADDR_TEXT];
    if (!peer_is_logged(e))
        return;
    struct reader r = reader_of_bytes(n->data);
    uint32_t status = n->type == NOTIFY_MS_STATUS ? reader_u32(&r) : 0;
    log_info("ike: %s refused a child SA: %s%s%.0u", endpoint_print(&sa->path.remote, where),
             wire_notify_name(n->type, name), status ? ", status " : "", status);
}

/* An authenticated no. Peers differ in how they refuse a group: some say NO_PROPOSAL_CHOSEN. A
 * child whose rekey is refused for good lives until its hard limit: the peer may want to do it
 * itself. */
static void refused(struct ike_engine *e, struct sa *sa, const struct exchange *done,
                    const struct wire_notify_view *n)
{
    struct child *old = child_find(sa, done->task.spi_in);
    struct wire_notify_view none = {0};
    uint8_t zero[2] = {0};
    none.data = (struct bytes){zero, sizeof(zero)};
    if (n->type == NOTIFY_INVALID_KE_PAYLOAD && retry_group(e, sa, done->task, done->creation, n))
        return;
    if (n->type == NOTIFY_NO_PROPOSAL_CHOSEN && done->creation->group != 0 &&
        retry_group(e, sa, done->task, done->creation, &none))
        return;
    log_refusal(e, sa, n);
    /* One child an IKE SA and no more: the next one needs a new IKE SA (RFC 7296 1.3, 2.8). */
    if (n->type == NOTIFY_NO_ADDITIONAL_SAS && old && old->state == CHILD_UP)
        reauth_instead(e, sa->tunnel);
    if (n->type == NOTIFY_CHILD_SA_NOT_FOUND) {
        child_vanished(e, sa, old);
    } else if (task_is_to_be_held(n->type) &&
               (done->task.kind == TASK_CREATE_CHILD || (old && old->state == CHILD_UP))) {
        task_hold(e, sa, done->task);
    } else if (done->task.kind == TASK_CREATE_CHILD) {
        if (sa->child_count == 0 && sa->childless_at == TIME_NEVER)
            sa->childless_at = e->now + CHILDLESS_LIFE;
        wish_refused(e, sa, &done->task, n->type);
    }
}

static int derive(struct ike_engine *e, const struct negotiation *n, uint16_t group,
                  const struct exchange_values *v, struct secrets *s)
{
    if (group == 0)
        return 0;
    if (!n->kex || !v->has_ke || v->ke.group != group)
        return ERR_KE;
    s->first = (struct bytes){e->secret, kex_alg(n->kex)->secret_len};
    return kex_derive(n->kex, v->ke.value, e->secret);
}

/* A new one, not in place of another. */
static void child_stands(struct ike_engine *e, struct sa *sa, const struct child *made, bool rest)
{
    const char *name = wish_name(e, made->wish);
    queue_event(e, IKE_EVENT_CHILD_UP, sa->tunnel, &sa->path, 0,
                name[0] ? explain(e, "child SA %s is up", name) : NULL);
    tunnel_up(e, sa->tunnel, made);
    if (rest)
        wish_rest(e, sa, made);
}

static struct child *old_of(const struct sa *sa, const struct exchange *done)
{
    return done->task.kind == TASK_REKEY_CHILD ? child_find(sa, done->task.spi_in) : NULL;
}

static int install(struct ike_engine *e, struct sa *sa, struct child *made, const struct secrets *s,
                   bool rest)
{
    const struct exchange *done = &e->done;
    bool rekey = done->task.kind == TASK_REKEY_CHILD;
    if (rekey) /* deleted at once: never sends */
        made->out_waits = rekey_child_lost(sa, done, s->nonce_i, s->nonce_r);
    int err = child_install(e, made, s);
    if (err < 0)
        return err;
    if (rekey)
        rekey_child_done(e, sa, old_of(sa, done), made, s->nonce_i, s->nonce_r);
    else
        child_stands(e, sa, made, rest);
    sa->childless_at = TIME_NEVER;
    sa->busy_count = 0;
    reload_judge_child(e, done->creation, made);
    return 0;
}

/* All or nothing: a child that cannot be finished is undone on the peer's side too. */
int create_finish(struct ike_engine *e, struct sa *sa, int err, const struct secrets *s, bool rest)
{
    struct child *made = child_find(sa, e->done.creation->spi_in), *old = old_of(sa, &e->done);
    if (!made || !sa->tunnel || sa->state != IKE_STATE_ESTABLISHED)
        return 0;
    if (err == 0)
        err = install(e, sa, made, s, rest);
    if (err == 0)
        return 0;
    if (peer_is_logged(e))
        log_warn("ike: the peer's answer for a child SA is not usable: %s",
                 err == ERR_TS ? e->why : err_sentence(err));
    if (old && old->state == CHILD_UP)
        child_retry(e, old, 30 * TIME_SECOND);
    /* The peer has it: it must be deleted there, so it stays here until then. */
    made->state = CHILD_REKEYED;
    made->replaced = true;
    made->mute = true; /* the data plane never had it */
    return task_add(e, sa, (struct task){.kind = TASK_DELETE_CHILD, .spi_in = made->spi_in});
}

void create_refused(struct ike_engine *e, struct sa *sa, const struct wire_notify_view *n)
{
    struct child *made = child_find(sa, e->done.creation->spi_in);
    if (!made || !sa->tunnel || sa->state != IKE_STATE_ESTABLISHED)
        return;
    child_free(e, made);
    if (!task_is_to_be_held(n->type))
        sa->busy_count = 0;
    refused(e, sa, &e->done, n);
}

/* More exchanges are to come, unless the peer rekeys the same child and has won already: then the
 * rest is up to it. */
static int go_on(struct ike_engine *e, struct sa *sa, struct child *made, const struct secrets *s,
                 const struct wire_chain *chain)
{
    struct child *old = old_of(sa, &e->done);
    const struct rival *rival = e->done.creation->rival;
    if (rekey_child_lost(sa, &e->done, s->nonce_i, s->nonce_r)) {
        child_free(e, made);
        if (old && old->state == CHILD_UP)
            child_retry(e, old, 30 * TIME_SECOND);
        return 0;
    }
    if (rival && followup_makes_child(sa, (uint32_t)rival->spi))
        followup_drop(e, sa);
    return followup_begin(e, sa, &made->chosen.kes, s, chain);
}

/* What the answer says, with the first of the secrets in e->secret. */
static int learn(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                 struct child *made, struct secrets *s)
{
    const struct creation *c = e->done.creation;
    const struct conf_tunnel *now = e->conf;
    struct exchange_values v;
    e->conf = former_conf(e, c); /* the answer is to what we asked */
    int err = init_values(chain, &v);
    if (err == 0)
        err = terms_accept(e, sa, made, old_of(sa, &e->done), chain, SELECT_KE_OPTIONAL, c->group);
    if (err == 0)
        err = derive(e, &c->n, made->chosen.kes.ke, &v, s);
    e->conf = now;
    s->nonce_i = (struct bytes){c->n.nonce_own, NONCE_LEN};
    s->nonce_r = v.nonce;
    return err;
}

int create_response(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct wire_notify_view n;
    struct secrets s = {0};
    uint8_t additional[ADDKE_MAX];
    if (!e->done.creation)
        return ERR_STATE;
    if (e->done.task.kind == TASK_REKEY_IKE)
        return rekey_ike_response(e, sa, in);
    struct child *made = child_find(sa, e->done.creation->spi_in);
    if (!made || !sa->tunnel || sa->state != IKE_STATE_ESTABLISHED)
        return 0;
    if (wire_notify_error(in->inner, &n)) {
        create_refused(e, sa, &n);
        return 0;
    }
    int err = learn(e, sa, in->inner, made, &s);
    bool more = err == 0 && kes_additional(&made->chosen.kes, additional) > 0;
    if (more)
        err = go_on(e, sa, made, &s, in->inner);
    if (!more || err < 0)
        err = create_finish(e, sa, err, &s,
                            wire_notify_find(in->inner, NOTIFY_ADDITIONAL_TS_POSSIBLE, &n));
    secret_wipe(e->secret, sizeof(e->secret));
    return err;
}

/* ---- responder */

bool create_is_under_way(const struct sa *sa)
{
    uint8_t kind = sa->out.request ? sa->out.task.kind : TASK_NONE;
    return kind == TASK_CREATE_CHILD || kind == TASK_REKEY_CHILD;
}

/* The child to be replaced: 0, or a notify (RFC 7296 2.25.1). One that we do not know may be the
 * one that an answer on its way to us has made. */
static int find_old(struct ike_engine *e, struct sa *sa, const struct wire_notify_view *n,
                    struct child **old)
{
    struct reader r = reader_of_bytes(n->spi);
    uint32_t spi = reader_u32(&r);
    if ((n->protocol != PROTOCOL_ESP && n->protocol != PROTOCOL_AH) || !reader_done(&r))
        return NOTIFY_INVALID_SYNTAX;
    *old = child_find_out(sa, spi);
    if (*old && protocol_of(*old) != n->protocol)
        *old = NULL;
    if (!*old && create_is_under_way(sa))
        return NOTIFY_TEMPORARY_FAILURE;
    if (!*old) {
        sk_begin(e, &e->reply);
        put_rekey_notify(&e->reply, NOTIFY_CHILD_SA_NOT_FOUND, n->protocol, spi);
        return 0;
    }
    bool closing =
        (*old)->state == CHILD_DELETING || task_waits(sa, TASK_DELETE_CHILD, (*old)->spi_in);
    return closing ? NOTIFY_TEMPORARY_FAILURE : 0;
}

/* Our own rekey of the same child is out: who wins is known when its answer comes. Until then the
 * peer may replace what it has made, again and again. */
static void note_rival(struct sa *sa, const struct child *old, const struct child *made,
                       struct bytes nonce_i, struct bytes nonce_r)
{
    struct creation *own = sa->out.creation;
    if (!own || sa->out.task.kind != TASK_REKEY_CHILD)
        return;
    if (own->rival && own->rival->spi == old->spi_in)
        own->rival->spi = made->spi_in;
    if (sa->out.task.spi_in != old->spi_in || own->rival)
        return;
    own->rival = rival_create(nonce_i, nonce_r);
    if (own->rival)
        own->rival->spi = made->spi_in;
}

static void replaced(struct ike_engine *e, struct sa *sa, struct child *old)
{
    struct tunnel *t = sa->tunnel;
    t->rekeys_child++;
    old->state = CHILD_REKEYED;
    old->replaced = true;
    if (e->now + REKEYED_LIFE < old->hard)
        old->hard = e->now + REKEYED_LIFE;
    sa_arm(e, &old->timer, old->hard);
    queue_event(e, IKE_EVENT_REKEYED_CHILD, t, &sa->path, 0, NULL);
}

int create_grant(struct ike_engine *e, struct sa *sa, struct child *c, struct child *old,
                 const struct secrets *s)
{
    int err = child_install(e, c, s);
    if (err < 0) {
        child_free(e, c);
        return err == ERR_MEMORY ? NOTIFY_NO_ADDITIONAL_SAS : NOTIFY_INVALID_SYNTAX;
    }
    sa->childless_at = TIME_NEVER;
    if (old) {
        note_rival(sa, old, c, s->nonce_i, s->nonce_r);
        replaced(e, sa, old);
    } else {
        queue_event(e, IKE_EVENT_CHILD_UP, sa->tunnel, &sa->path, 0, NULL);
        tunnel_up(e, sa->tunnel, c);
        stay_yield(e, sa);
    }
    return 0;
}

/* Agreed on; the keys come with the last of the additional exchanges. */
static int grant_later(struct ike_engine *e, struct sa *sa, struct child *c,
                       const struct child *old, const struct secrets *s)
{
    struct followup *f = followup_create(&c->chosen.kes, s);
    if (!f) {
        child_free(e, c);
        return NOTIFY_NO_ADDITIONAL_SAS;
    }
    if (old && sa->out.creation && !sa->out.creation->rival)
        note_rival(sa, old, c, s->nonce_i, s->nonce_r);
    followup_wait(e, sa, f,
                  &(struct followup_subject){.child = c->spi_in, .old = old ? old->spi_in : 0});
    return 0;
}

static int make_child(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                      const struct exchange_values *v, struct negotiation *n, struct child *old)
{
    struct child *c = NULL;
    uint8_t additional[ADDKE_MAX];
    int notify =
        terms_choose(e, sa, chain, old, SELECT_KE_OPTIONAL, v->has_ke ? v->ke.group : 0, &c);
    if (notify != 0)
        return notify;
    struct secrets s = {.nonce_i = v->nonce, .nonce_r = {n->nonce_own, NONCE_LEN}};
    int err = negotiation_create(e, n, c->chosen.kes.ke, &v->ke);
    if (err == 0)
        err = derive(e, n, c->chosen.kes.ke, v, &s);
    if (err < 0) {
        child_free(e, c);
        return err == ERR_MEMORY ? NOTIFY_NO_ADDITIONAL_SAS : NOTIFY_INVALID_SYNTAX;
    }
    c->wish = old ? old->wish : c->wish;
    c->pair = old ? old->pair : 0;
    c->stopgap = old && old->stopgap;
    sk_begin(e, &e->reply);
    terms_put(e, c, n, &e->reply);
    return kes_additional(&c->chosen.kes, additional) > 0 ? grant_later(e, sa, c, old, &s)
                                                          : create_grant(e, sa, c, old, &s);
}

/* Our own rekey of it is past its first exchange, so the peer knows what it asks for too late. */
static bool is_decided(const struct sa *sa, const struct child *old)
{
    return sa->out.creation && sa->out.creation->followup &&
           sa->out.task.kind == TASK_REKEY_CHILD && sa->out.task.spi_in == old->spi_in;
}

static bool is_ike_rekey(struct ike_engine *e, const struct wire_chain *chain)
{
    const struct wire_payload_view *p = wire_find(chain, PAYLOAD_SA);
    int count = p ? wire_sa_read(p->body, e->offered, PROPOSALS_MAX) : 0;
    return count > 0 && e->offered[0].protocol == PROTOCOL_IKE;
}

int create_request(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct wire_notify_view n;
    struct exchange_values v;
    struct child *old = NULL;
    if (sa->state != IKE_STATE_ESTABLISHED || !sa->tunnel || sa->tunnel->sa != sa)
        return NOTIFY_TEMPORARY_FAILURE;
    followup_drop(e, sa);
    if (is_ike_rekey(e, in->inner))
        return rekey_ike_request(e, sa, in);
    if (sa->out.request && sa->out.task.kind == TASK_REKEY_IKE)
        return NOTIFY_TEMPORARY_FAILURE;
    if (init_values(in->inner, &v) < 0)
        return NOTIFY_INVALID_SYNTAX;
    if (wire_notify_find(in->inner, NOTIFY_REKEY_SA, &n)) {
        int notify = find_old(e, sa, &n, &old);
        if (notify != 0 || !old)
            return notify;
        if (is_decided(sa, old))
            return NOTIFY_TEMPORARY_FAILURE;
    }
    struct negotiation negotiation = {0};
    int result = make_child(e, sa, in->inner, &v, &negotiation, old);
    secret_wipe(e->secret, sizeof(e->secret));
    negotiation_free(&negotiation);
    return result;
}
