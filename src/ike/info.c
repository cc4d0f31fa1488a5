#include "ike/internal.h"

/* INFORMATIONAL (RFC 7296 1.4): delete and liveness, both roles; what moves is in mobike.c. */

/* ---- initiator */

static int put_child_delete(struct sa *sa, uint32_t spi_in, struct wire_builder *b)
{
    struct child *c = child_find(sa, spi_in);
    if (!c || c->state == CHILD_CREATING || c->state == CHILD_DELETING)
        return ERR_NOT_FOUND;
    c->state = CHILD_DELETING;
    wire_put_delete_children(b, protocol_of(c), &c->spi_in, 1);
    return 0;
}

int info_start(struct ike_engine *e, struct sa *sa, struct task task)
{
    struct wire_builder b;
    sk_begin(e, &b);
    if (task.kind == TASK_DELETE_CHILD) {
        int err = put_child_delete(sa, task.spi_in, &b);
        if (err < 0)
            return err;
    } else if (task.kind == TASK_DELETE_IKE) {
        if (task.notify)
            wire_put_notify(&b, task.notify, (struct bytes){0});
        wire_put_delete_ike(&b);
        sa_set_state(e, sa, IKE_STATE_DELETING);
        sa_disarm(e, &sa->timer_duty);
    } else {
        mobike_put_request(e, sa, &task, &b);
    }
    if (task.kind == TASK_TOKEN)
        crash_put_token(e, sa, &b);
    struct message *m = sk_seal(e, sa, EXCHANGE_INFORMATIONAL, false, sa->next_out, &b);
    if (!m)
        return ERR_MEMORY;
    window_open(e, sa, task, m);
    return 0;
}

/* The child goes now and not when the Delete was sent: until then the peer might still use it. */
int info_response(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    const struct task *task = &e->done.task;
    if (task->kind == TASK_DELETE_IKE) {
        sa_bury(e, sa);
    } else if (task->kind == TASK_DELETE_CHILD) {
        struct child *c = child_find(sa, task->spi_in);
        if (c)
            child_gone(e, c, ERR_DELETED);
    } else if (sa->tunnel && sa->tunnel->sa == sa) {
        mobike_response(e, sa, in);
    }
    return 0;
}

/* ---- responder */

/* A child ends. A tunnel without one is given a little time to get another. */
void child_gone(struct ike_engine *e, struct child *c, int err)
{
    struct sa *sa = c->sa;
    child_remove(e, c, true, c->replaced ? 0 : err);
    if (sa->child_count == 0 && sa->tunnel && sa->tunnel->sa == sa) {
        sa->childless_at = e->now + CHILDLESS_LIFE;
        sa_plan_duty(e, sa);
    }
    wish_later(e, sa, WISH_AGAIN); /* also when another child comes first, and the tunnel stays */
}

/* What went, by protocol: a reload may leave a tunnel with children of ESP and of AH. */
struct gone {
    uint32_t spis[CHILDREN_LIMIT];
    size_t count;
};

static struct gone *gone_of(struct gone gone[static 2], uint8_t protocol)
{
    return &gone[protocol == PROTOCOL_AH];
}

/* Children the peer deletes; those whose Delete we have sent ourselves are not named in the answer
 * (RFC 7296 1.4.1). */
static void delete_children(struct ike_engine *e, struct sa *sa, const struct wire_delete *d,
                            struct gone *gone)
{
    struct reader r = reader_of_bytes(d->spis);
    for (size_t i = 0; i < d->count; i++) {
        struct child *c = child_find_out(sa, reader_u32(&r));
        if (!c || protocol_of(c) != d->protocol || gone->count >= CHILDREN_LIMIT)
            continue;
        if (c->state == CHILD_DELETING) {
            child_mute(e, c);
            continue;
        }
        gone->spis[gone->count++] = c->spi_in;
        child_gone(e, c, ERR_DELETED);
    }
}

/* The peer deletes a child that we do not know, and ours is under way: it may be the one that the
 * answer on its way to us has made. The peer asks again, and then we know. */
static bool names_child_under_way(const struct sa *sa, const struct wire_delete *d)
{
    struct reader r = reader_of_bytes(d->spis);
    if (!create_is_under_way(sa))
        return false;
    for (size_t i = 0; i < d->count; i++)
        if (!child_find_out(sa, reader_u32(&r)))
            return true;
    return false;
}

static void ike_deleted(struct ike_engine *e, struct sa *sa)
{
    if (sa->tunnel && sa->tunnel->sa == sa && !rekey_settle_deleted(e, sa))
        tunnel_end(e, sa->tunnel, IKE_EVENT_DOWN, ERR_DELETED, 0, "the peer closed the connection");
    sa->peer_deleted = true;
}

/* It knows only now: our proof comes with the last message of the handshake. */
static const char *refused_our_proof(struct ike_engine *e, const struct sa *sa)
{
    char own[IDENTITY_TEXT];
    struct identity id;
    proof_own_identity(e, sa, NULL, &id);
    identity_text(&id, own);
    return explain(
        e,
        "the peer was let in but does not believe that we are %.120s; give it the CA of "
        "our certificate (or the same key) and let it expect this identity; its log says "
        "more",
        own);
}

static void ike_refused(struct ike_engine *e, struct sa *sa, uint16_t notify)
{
    if (sa->tunnel && sa->tunnel->sa == sa)
        tunnel_end(e, sa->tunnel, IKE_EVENT_DOWN, ERR_PEER, notify,
                   notify == NOTIFY_AUTHENTICATION_FAILED
                       ? refused_our_proof(e, sa)
                       : "the peer ended the connection with an error; its log says why");
    sa->peer_deleted = true;
}

static bool deletes_children(const struct wire_chain *chain)
{
    struct wire_delete d;
    for (size_t i = 0; i < chain->count; i++)
        if (chain->at[i].type == PAYLOAD_DELETE && wire_delete_read(chain->at[i].body, &d) == 0 &&
            d.protocol != PROTOCOL_IKE)
            return true;
    return false;
}

static bool is_for_tunnel(const struct wire_chain *chain)
{
    static const uint16_t types[] = {NOTIFY_UPDATE_SA_ADDRESSES, NOTIFY_ADDITIONAL_IP4_ADDRESS,
                                     NOTIFY_ADDITIONAL_IP6_ADDRESS, NOTIFY_NO_ADDITIONAL_ADDRESSES,
                                     NOTIFY_AUTH_LIFETIME};
    struct wire_notify_view n;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (wire_notify_find(chain, types[i], &n))
            return true;
    return false;
}

/* An initiator that could not accept our IKE_AUTH answer says so in its next request, and that ends
 * the SA without a Delete (RFC 7296 2.21.2). Later only what cannot be read does (2.21.3). */
static bool is_fatal(const struct sa *sa, uint16_t notify)
{
    return notify == NOTIFY_INVALID_SYNTAX ||
           (sa->auth_fresh && (notify == NOTIFY_AUTHENTICATION_FAILED ||
                               notify == NOTIFY_UNSUPPORTED_CRITICAL_PAYLOAD));
}

/* All Deletes are read before any is heeded: 0, NOTIFY_INVALID_SYNTAX, or LATER. */
static int look_at_deletes(const struct sa *sa, const struct wire_chain *chain)
{
    bool of_ike = false, later = false;
    for (size_t i = 0; i < chain->count; i++) {
        struct wire_delete d;
        if (chain->at[i].type != PAYLOAD_DELETE)
            continue;
        if (wire_delete_read(chain->at[i].body, &d) < 0)
            return NOTIFY_INVALID_SYNTAX;
        of_ike |= d.protocol == PROTOCOL_IKE;
        later |= d.protocol != PROTOCOL_IKE && names_child_under_way(sa, &d);
    }
    return later && !of_ike ? LATER : 0;
}

static void heed_deletes(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                         struct gone gone[static 2])
{
    for (size_t i = 0; i < chain->count; i++) {
        struct wire_delete d;
        if (chain->at[i].type != PAYLOAD_DELETE || wire_delete_read(chain->at[i].body, &d) < 0)
            continue;
        if (d.protocol == PROTOCOL_IKE)
            ike_deleted(e, sa);
        else
            delete_children(e, sa, &d, gone_of(gone, d.protocol));
    }
}

static void put_gone(struct wire_builder *b, struct gone gone[static 2])
{
    static const uint8_t protocols[] = {PROTOCOL_ESP, PROTOCOL_AH};
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++) {
        const struct gone *of = gone_of(gone, protocols[i]);
        if (of->count > 0)
            wire_put_delete_children(b, protocols[i], of->spis, of->count);
    }
}

int info_request(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct gone gone[2] = {0};
    struct wire_notify_view n;
    /* Of two successors the peer already works on its own, and we have not yet seen by our answer
     * that it wins. It asks again when the tunnel and its children are here. */
    if (sa->state == IKE_STATE_ESTABLISHED && !sa->tunnel &&
        (deletes_children(in->inner) || is_for_tunnel(in->inner)))
        return LATER;
    int result = look_at_deletes(sa, in->inner);
    if (result != 0)
        return result;
    heed_deletes(e, sa, in->inner, gone);
    stray_heard(e, sa, in->inner);
    if (!sa->peer_deleted && wire_notify_error(in->inner, &n) && is_fatal(sa, n.type))
        ike_refused(e, sa, n.type);
    if (!sa->peer_deleted && sa->tunnel)
        reauth_heed(e, sa->tunnel, in->inner);
    crash_read_token(e, sa, in->inner);
    sk_begin(e, &e->reply);
    if (!sa->peer_deleted)
        put_gone(&e->reply, gone);
    if (sa->tunnel && sa->tunnel->sa == sa)
        config_reply(e, sa->tunnel, in->inner, &e->reply);
    if (!sa->peer_deleted && sa->tunnel && sa->tunnel->sa == sa && sa->tunnel->mobike)
        mobike_request(e, sa, in, &e->reply);
    return 0;
}
