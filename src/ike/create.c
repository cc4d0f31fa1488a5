#include <string.h>

#include "ike/internal.h"

/* CREATE_CHILD_SA for a child: new or in place of an old one (RFC 7296 1.3.1, 1.3.3, 2.8), both
 * roles, and what IKE_AUTH shares with it. */

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

/* ---- the child part of a message, IKE_AUTH included */

void create_offer_ts(struct ike_engine *e, const struct sa *sa, const struct child *made,
                     const struct child *rekeyed, struct wire_builder *b)
{
    struct traffic t;
    traffic_offer(e, sa, made, rekeyed, &t);
    wire_put_ts(b, PAYLOAD_TSi, t.local, t.local_count);
    wire_put_ts(b, PAYLOAD_TSr, t.remote, t.remote_count);
}

static int read_ts(struct ike_engine *e, const struct wire_chain *chain, int *count_i, int *count_r)
{
    const struct wire_payload_view *i = wire_find(chain, PAYLOAD_TSi);
    const struct wire_payload_view *r = wire_find(chain, PAYLOAD_TSr);
    *count_i = i ? wire_ts_read(i->body, e->ts_i, WIRE_SELECTORS_MAX) : ERR_SYNTAX;
    *count_r = r ? wire_ts_read(r->body, e->ts_r, WIRE_SELECTORS_MAX) : ERR_SYNTAX;
    return *count_i < 0 || *count_r < 0 ? ERR_SYNTAX : 0;
}

static int read_spi(const struct proposal *p, uint32_t *spi)
{
    struct reader r = reader_of(p->spi, p->spi_len);
    *spi = reader_u32(&r);
    return reader_done(&r) && *spi > 255 ? 0 : ERR_SYNTAX;
}

int create_explain_nat(struct ike_engine *e)
{
    explain(e, "AH cannot pass the NAT between the two sides, nor a peer that wants everything in "
               "UDP; use ESP: take `ah` out of [crypto] on both sides");
    return ERR_NO_PROPOSAL;
}

int create_select(struct ike_engine *e, const struct selection *s)
{
    uint16_t group = 0;
    int notify = select_proposal(s, &e->picked, &group);
    if (notify == NOTIFY_INVALID_KE_PAYLOAD) {
        struct writer w = writer_of(e->notify_data, sizeof(e->notify_data));
        writer_u16(&w, group);
        e->notify_len = 2;
    } else if (notify != 0) {
        explain_proposals(e, s->offered, s->offered_count, s->own, s->own_count);
    }
    return notify;
}

static int choose_algorithms(struct ike_engine *e, const struct sa *sa,
                             const struct wire_chain *chain, enum select_ke ke, uint16_t ke_sent)
{
    if (path_bars_ah(e, sa)) {
        (void)create_explain_nat(e);
        return NOTIFY_NO_PROPOSAL_CHOSEN;
    }
    const struct wire_payload_view *p = wire_find(chain, PAYLOAD_SA);
    int count = p ? wire_sa_read(p->body, e->offered, PROPOSALS_MAX) : ERR_SYNTAX;
    if (count < 0)
        return NOTIFY_INVALID_SYNTAX;
    struct selection s = {.own = e->conf->esp,
                          .own_count = e->conf->esp_count,
                          .offered = e->offered,
                          .offered_count = (size_t)count,
                          .groups = e->conf->ike,
                          .group_count = e->conf->ike_count,
                          .ke = ke,
                          .pq = e->conf->pq,
                          .ke_sent = ke_sent,
                          .single = true,
                          .esn = e->conf->esn};
    return create_select(e, &s);
}

int create_choose_child(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                        const struct child *old, enum select_ke ke, uint16_t ke_sent,
                        struct child **out)
{
    int count_i, count_r;
    uint32_t spi_out;
    int notify = choose_algorithms(e, sa, chain, ke, ke_sent);
    if (notify != 0)
        return notify;
    if (read_ts(e, chain, &count_i, &count_r) < 0 || read_spi(&e->picked, &spi_out) < 0)
        return NOTIFY_INVALID_SYNTAX;
    struct child *c = child_create(e, sa, old);
    if (!c)
        return NOTIFY_NO_ADDITIONAL_SAS;
    c->spi_out = spi_out;
    c->out_waits = true; /* if another one can carry it, until the peer was heard on this one */
    c->chosen = select_chosen(&e->picked);
    child_heed(e, c, chain);
    notify = hosts_choose(e, sa, chain, (size_t)count_i, (size_t)count_r, old, c);
    if (notify != 0) {
        child_free(e, c);
        return notify;
    }
    *out = c;
    return 0;
}

void create_put_child(struct ike_engine *e, const struct child *c, const struct negotiation *n,
                      struct wire_builder *b)
{
    struct writer w = writer_of(e->picked.spi, sizeof(e->picked.spi));
    writer_u32(&w, c->spi_in);
    e->picked.spi_len = 4;
    wire_put_sa(b, &e->picked, 1);
    if (n)
        negotiation_put(b, n);
    wire_put_ts(b, PAYLOAD_TSi, c->selectors + c->local_count, c->remote_count);
    wire_put_ts(b, PAYLOAD_TSr, c->selectors, c->local_count);
    hosts_put(c, b);
    if (e->ts_left_out)
        wire_put_notify(b, NOTIFY_ADDITIONAL_TS_POSSIBLE, (struct bytes){0});
}

static bool all_inside(const struct selector *answer, size_t count, const struct selector *offer,
                       size_t offer_count)
{
    for (size_t i = 0; i < count; i++) {
        bool inside = false;
        for (size_t j = 0; j < offer_count && !inside; j++)
            inside = selector_is_subset(&answer[i], &offer[j]);
        if (!inside)
            return false;
    }
    return count > 0;
}

/* What came back must lie inside what we offered; where we could not yet name our addresses, it is
 * cut to them now. */
static int accept_ts(struct ike_engine *e, struct sa *sa, struct child *c,
                     const struct child *rekeyed, const struct wire_chain *chain,
                     const struct traffic *offer)
{
    struct traffic policy, t;
    int count_i, count_r;
    bool left_out = false;
    if (read_ts(e, chain, &count_i, &count_r) < 0)
        return ERR_SYNTAX;
    int err = hosts_answer(e, c, chain, (size_t)count_i, (size_t)count_r);
    if (err < 0)
        return err;
    if (!all_inside(e->ts_i, (size_t)count_i, offer->local, offer->local_count) ||
        !all_inside(e->ts_r, (size_t)count_r, offer->remote, offer->remote_count)) {
        explain(e, "the peer answered with traffic selectors that we did not offer");
        return ERR_TS;
    }
    if (rekeyed || c->pair > 0)
        policy = *offer;
    else
        traffic_policy(e, sa, c->wish, c->hosts, &policy);
    t.local_count =
        narrow(e->ts_i, (size_t)count_i, policy.local, policy.local_count, t.local, &left_out);
    t.remote_count =
        narrow(e->ts_r, (size_t)count_r, policy.remote, policy.remote_count, t.remote, &left_out);
    if (t.local_count == 0 || t.remote_count == 0) {
        explain_ts(e, e->ts_i, (size_t)count_i, policy.local, policy.local_count);
        return ERR_TS;
    }
    return child_set_selectors(c, t.local, t.local_count, t.remote, t.remote_count);
}

/* Into e->offer. */
static size_t put_offer(struct ike_engine *e, const struct sa *sa, struct bytes spi, uint16_t group)
{
    (void)sa;
    struct select_wish wish = {.protocol = child_protocol(e),
                               .spi = spi,
                               .with_ke = group != 0,
                               .single = true,
                               .first_group = group};
    return select_offer(e->conf, &wish, e->offer);
}

int create_accept_child(struct ike_engine *e, struct sa *sa, struct child *c,
                        const struct child *rekeyed, const struct wire_chain *chain,
                        enum select_ke ke, uint16_t group)
{
    struct traffic offer;
    const struct wire_payload_view *p = wire_find(chain, PAYLOAD_SA);
    int count = p ? wire_sa_read(p->body, e->offered, PROPOSALS_MAX) : ERR_SYNTAX;
    if (count != 1 || read_spi(&e->offered[0], &c->spi_out) < 0) {
        explain(e, "the peer's answer for the child SA cannot be read");
        return ERR_SYNTAX;
    }
    size_t offers = put_offer(e, sa, (struct bytes){0}, group);
    if (select_check(e->offer, offers, &e->offered[0], ke, e->conf->pq) < 0) {
        explain(e, "the peer chose algorithms for the child SA that we did not offer");
        return ERR_NO_PROPOSAL;
    }
    c->chosen = select_chosen(&e->offered[0]);
    child_heed(e, c, chain);
    struct ip ip4 = sa->tunnel->ip4, ip6 = sa->tunnel->ip6;
    if (!rekeyed && ke == SELECT_KE_NEVER)
        sa->tunnel->ip4 = sa->tunnel->ip6 = (struct ip){0}; /* as they were when we asked */
    traffic_offer(e, sa, c, rekeyed, &offer);
    sa->tunnel->ip4 = ip4;
    sa->tunnel->ip6 = ip6;
    return accept_ts(e, sa, c, rekeyed, chain, &offer);
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
    size_t count = put_offer(e, sa, writer_view(&w), creation->group);
    wire_put_sa(&b, e->offer, count);
    negotiation_put(&b, &creation->n);
    create_offer_ts(e, sa, made, old, &b);
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
    size_t offers = put_offer(e, sa, (struct bytes){0}, was->group);
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
    } else if (n->type == NOTIFY_TEMPORARY_FAILURE &&
               (done->task.kind == TASK_CREATE_CHILD || (old && old->state == CHILD_UP))) {
        task_hold(e, sa, done->task);
    } else if (done->task.kind == TASK_CREATE_CHILD) {
        if (sa->child_count == 0 && sa->childless_at == TIME_NEVER)
            sa->childless_at = e->now + CHILDLESS_LIFE;
        wish_refused(e, sa, &done->task, n->type);
    }
}

static int derive(struct ike_engine *e, const struct negotiation *n, uint16_t group,
                  const struct exchange_values *v, struct bytes *secret)
{
    *secret = (struct bytes){0};
    if (group == 0)
        return 0;
    if (!n->kex || !v->has_ke || v->ke.group != group)
        return ERR_KE;
    int err = kex_derive(n->kex, v->ke.value, e->secret);
    *secret = (struct bytes){e->secret, kex_alg(n->kex)->secret_len};
    return err;
}

/* A new one, not in place of another. */
static void child_stands(struct ike_engine *e, struct sa *sa, const struct child *made,
                         const struct wire_chain *chain)
{
    struct wire_notify_view n;
    const char *name = wish_name(e, made->wish);
    queue_event(e, IKE_EVENT_CHILD_UP, sa->tunnel, &sa->path, 0,
                name[0] ? explain(e, "child SA %s is up", name) : NULL);
    tunnel_up(e, sa->tunnel, made);
    if (wire_notify_find(chain, NOTIFY_ADDITIONAL_TS_POSSIBLE, &n))
        wish_rest(e, sa, made);
}

/* All or nothing: a child that cannot be finished is undone on the peer's side too. */
static int complete(struct ike_engine *e, struct sa *sa, const struct exchange *done,
                    const struct wire_chain *chain, struct child *made)
{
    struct exchange_values v;
    struct bytes secret;
    struct child *old =
        done->task.kind == TASK_REKEY_CHILD ? child_find(sa, done->task.spi_in) : NULL;
    const struct negotiation *n = &done->creation->n;
    const struct conf_tunnel *now = e->conf;
    e->conf = former_conf(e, done->creation); /* the answer is to what we asked */
    int err = init_values(chain, &v);
    if (err == 0)
        err =
            create_accept_child(e, sa, made, old, chain, SELECT_KE_OPTIONAL, done->creation->group);
    if (err == 0)
        err = derive(e, n, made->chosen.kes.ke, &v, &secret);
    e->conf = now;
    const struct bytes own = {n->nonce_own, NONCE_LEN};
    if (err == 0 && done->task.kind == TASK_REKEY_CHILD) /* deleted at once: never sends */
        made->out_waits = rekey_child_lost(sa, done, own, v.nonce);
    if (err == 0)
        err = child_install(e, made, secret, own, v.nonce);
    secret_wipe(e->secret, sizeof(e->secret));
    if (err == 0 && done->task.kind == TASK_REKEY_CHILD)
        rekey_child_done(e, sa, old, made, own, v.nonce);
    else if (err == 0)
        child_stands(e, sa, made, chain);
    if (err == 0)
        sa->childless_at = TIME_NEVER;
    if (err == 0)
        reload_judge_child(e, done->creation, made);
    return err;
}

int create_response(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct exchange *done = &e->done;
    struct wire_notify_view n;
    if (!done->creation)
        return ERR_STATE;
    if (!wire_notify_find(in->inner, NOTIFY_TEMPORARY_FAILURE, &n))
        sa->busy_count = 0;
    if (done->task.kind == TASK_REKEY_IKE)
        return rekey_ike_response(e, sa, in);
    struct child *made = child_find(sa, done->creation->spi_in);
    if (!made || !sa->tunnel || sa->state != IKE_STATE_ESTABLISHED)
        return 0;
    if (wire_notify_error(in->inner, &n)) {
        child_free(e, made);
        refused(e, sa, done, &n);
        return 0;
    }
    int err = complete(e, sa, done, in->inner, made);
    if (err == 0)
        return 0;
    if (peer_is_logged(e))
        log_warn("ike: the peer's answer for a child SA is not usable: %s",
                 err == ERR_TS ? e->why : err_sentence(err));
    struct child *old = child_find(sa, done->task.spi_in);
    if (old && old->state == CHILD_UP)
        child_retry(e, old, 30 * TIME_SECOND);
    /* The peer has it: it must be deleted there, so it stays here until then. */
    made->state = CHILD_REKEYED;
    made->replaced = true;
    made->mute = true; /* the data plane never had it */
    return task_add(e, sa, (struct task){.kind = TASK_DELETE_CHILD, .spi_in = made->spi_in});
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

static int make_child(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                      const struct exchange_values *v, struct negotiation *n, struct child *old)
{
    struct child *c = NULL;
    struct bytes secret;
    int notify =
        create_choose_child(e, sa, chain, old, SELECT_KE_OPTIONAL, v->has_ke ? v->ke.group : 0, &c);
    if (notify != 0)
        return notify;
    struct bytes own = {n->nonce_own, NONCE_LEN};
    int err = negotiation_create(e, n, c->chosen.kes.ke, &v->ke);
    if (err == 0)
        err = derive(e, n, c->chosen.kes.ke, v, &secret);
    if (err == 0) {
        c->wish = old ? old->wish : c->wish;
        c->pair = old ? old->pair : 0;
        c->stopgap = old && old->stopgap;
        err = child_install(e, c, secret, v->nonce, own);
    }
    secret_wipe(e->secret, sizeof(e->secret));
    if (err < 0) {
        child_free(e, c);
        return err == ERR_MEMORY ? NOTIFY_NO_ADDITIONAL_SAS : NOTIFY_INVALID_SYNTAX;
    }
    sk_begin(e, &e->reply);
    create_put_child(e, c, n, &e->reply);
    sa->childless_at = TIME_NEVER;
    if (old) {
        note_rival(sa, old, c, v->nonce, own);
        replaced(e, sa, old);
    } else {
        queue_event(e, IKE_EVENT_CHILD_UP, sa->tunnel, &sa->path, 0, NULL);
        tunnel_up(e, sa->tunnel, c);
        stay_yield(e, sa);
    }
    return 0;
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
    }
    struct negotiation negotiation = {0};
    int result = make_child(e, sa, in->inner, &v, &negotiation, old);
    negotiation_free(&negotiation);
    return result;
}
