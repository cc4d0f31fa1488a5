#include <stdlib.h>

#include "ike/internal.h"

/* Reauthentication (RFC 7296 2.8.3, RFC 4478), made before the break: a new IKE SA with a child of
 * its own is set up beside the old one, under a tunnel that nobody is told of; when it stands, the
 * old tunnel moves to it and the old IKE SA is deleted. So the tunnel keeps its id, its addresses
 * and its routes, and traffic finds a child at every moment. Without success the old IKE SA simply
 * goes on, as long as it may.
 *
 * The same is done when the gateway does not answer: one that came back without its state, and
 * without a token to prove it (crash.c), is so reached within seconds, and one that only was slow
 * keeps the IKE SA that it has. The new one says no INITIAL_CONTACT, as it is not known yet which
 * of the two will stand. */

#define AGAIN       (30 * TIME_SECOND) /* after an attempt that came to nothing */
#define DOUBT_AFTER (10 * TIME_SECOND) /* without an answer */

static void plan(struct ike_engine *e, struct tunnel *t, time_us at)
{
    if (at >= t->reauth_at)
        return;
    t->reauth_at = at;
    if (t->sa && t->sa->state == IKE_STATE_ESTABLISHED)
        sa_plan_duty(e, t->sa);
}

/* The peer's limit, if it has told us one: in IKE_AUTH or at any time later (RFC 4478). */
void reauth_heed(struct ike_engine *e, struct tunnel *t, const struct wire_chain *chain)
{
    struct wire_notify_view n;
    if (!t->initiator || !wire_notify_find(chain, NOTIFY_AUTH_LIFETIME, &n) || n.data.len != 4)
        return;
    struct reader r = reader_of_bytes(n.data);
    plan(e, t, e->now + soft_after(e, reader_u32(&r)));
}

void reauth_begin(struct ike_engine *e, struct tunnel *t, const struct wire_chain *chain)
{
    t->reauth_at = TIME_NEVER;
    t->renewing = false;
    if (t->initiator && e->conf->reauth > 0)
        plan(e, t, e->now + soft_after(e, e->conf->reauth));
    reauth_heed(e, t, chain);
}

void reauth_instead(struct ike_engine *e, struct tunnel *t)
{
    if (t->initiator)
        plan(e, t, e->now);
}

/* A client has few tunnels. */
static struct tunnel *next_of(const struct ike_engine *e, const struct tunnel *t)
{
    size_t cursor = 0;
    struct tunnel *at;
    while ((at = map_next(&e->tunnels, &cursor)))
        if (at->initiator && at->renews == t->id)
            return at;
    return NULL;
}

void reauth_stale(struct ike_engine *e, struct tunnel *t)
{
    t->stale = true;
    t->wish_at = TIME_NEVER; /* its children are those of before, and go with it */
    size_t kept = 0;
    for (size_t i = 0; i < t->sa->task_count; i++)
        if (t->sa->tasks[i].kind != TASK_CREATE_CHILD)
            t->sa->tasks[kept++] = t->sa->tasks[i];
    t->sa->task_count = (uint8_t)kept;
    plan(e, t, e->now);
}

void reauth_sooner(struct ike_engine *e, struct tunnel *t)
{
    if (e->conf->reauth > 0)
        plan(e, t, e->now + soft_after(e, e->conf->reauth));
}

/* What the peer knows of the attempt that is left: nothing yet; an SA that stands, perhaps, whose
 * answer is met with a Delete; or one that stands. */
static void leave(struct ike_engine *e, struct sa *sa)
{
    sa->tunnel = NULL;
    while (sa->children)
        child_free(e, sa->children);
    if (sa->state == IKE_STATE_AUTH_SENT && !sa->out.request)
        attempt_failed(e, sa, ERR_DELETED, 0, true, NULL);
    else if (sa->state != IKE_STATE_AUTH_SENT)
        sa_bury(e, sa);
}

void reauth_restart(struct ike_engine *e, struct tunnel *t)
{
    struct sa *old = t->sa, *sa = sa_create(e, true, &old->path);
    int err = sa ? 0 : ERR_LIMIT;
    if (err == 0) {
        sa->initial_contact = old->initial_contact;
        sa->tunnel = t;
        t->sa = sa;
        leave(e, old);
        err = init_start(e, sa);
    }
    if (err < 0)
        tunnel_close(e, t, err, 0, err_sentence(err));
}

static int start(struct ike_engine *e, const struct tunnel *t)
{
    struct tunnel *next = tunnel_create(e, true);
    struct sa *sa = next ? sa_create(e, true, &t->sa->path) : NULL;
    int err = sa ? 0 : ERR_LIMIT;
    if (err == 0) {
        next->refused = true; /* ends in silence */
        next->sa = sa;
        sa->tunnel = next;
        err = init_start(e, sa);
    }
    if (err == 0) {
        next->renews = t->id;
        return 0;
    }
    if (next)
        tunnel_forget(e, next);
    if (sa) {
        sa->tunnel = NULL;
        sa_bury(e, sa);
    }
    return err;
}

void reauth_due(struct ike_engine *e, struct tunnel *t)
{
    t->reauth_at = e->now + AGAIN + random_u32(e->setup.random) % AGAIN;
    if (t->renewing)
        return;
    int err = start(e, t);
    t->renewing = err == 0;
    if (err < 0 && peer_is_logged(e))
        log_warn("ike: no new IKE SA to authenticate anew: %s", err_sentence(err));
}

void reauth_doubt(struct ike_engine *e, const struct sa *sa)
{
    struct tunnel *t = sa->tunnel;
    if (!t || t->sa != sa || !t->initiator || !t->established || t->renewing ||
        sa->state != IKE_STATE_ESTABLISHED || (t->roam && t->roam->offline) ||
        e->now - sa->out.first_sent < DOUBT_AFTER || e->now - sa->last_heard < DOUBT_AFTER)
        return;
    t->renewing = start(e, t) == 0;
    if (!t->renewing)
        return;
    next_of(e, t)->spare = true;
    log_info("ike: no answer for 10 s: a second IKE SA is tried beside the first");
}

void reauth_answered(struct ike_engine *e, const struct sa *sa)
{
    struct tunnel *t = sa->tunnel, *next;
    if (!t || t->sa != sa || !t->initiator || !t->renewing)
        return;
    next = next_of(e, t);
    if (next && next->spare && next->sa && next->sa->state == IKE_STATE_INIT_SENT)
        tunnel_close(e, next, ERR_DELETED, 0, "the present IKE SA is answered again");
}

void reauth_forsake(struct ike_engine *e, const struct tunnel *t)
{
    struct tunnel *next = t->initiator && t->renewing ? next_of(e, t) : NULL;
    if (next)
        tunnel_close(e, next, ERR_DELETED, 0, "the tunnel whose place it was to take has ended");
}

void reauth_stands(struct ike_engine *e, const struct tunnel *next)
{
    struct tunnel *t = next->renews ? map_get(&e->tunnels, next->renews) : NULL;
    if (t)
        t->renewing = true;
}

void reauth_failed(struct ike_engine *e, const struct tunnel *next, const char *why)
{
    struct tunnel *t = next->renews ? map_get(&e->tunnels, next->renews) : NULL;
    if (!t)
        return;
    t->renewing = false;
    if (next->initiator && !next->spare && peer_is_logged(e))
        log_warn("ike: authenticating anew failed, the present IKE SA goes on: %s", why ? why : "");
}

static bool same_identity(const struct tunnel *a, const struct tunnel *b)
{
    struct identity x, y;
    tunnel_peer(a, &x);
    tunnel_peer(b, &y);
    return identity_equal(&x, &y);
}

/* The configuration may want another gateway now. */
static int adopt_peer(struct ike_engine *e, struct tunnel *t, const struct tunnel *next)
{
    struct identity peer;
    tunnel_peer(next, &peer);
    return tunnel_set_peer(e, t, &peer);
}

/* Other addresses than before: the host has to know. */
static void new_addresses(struct ike_engine *e, struct tunnel *t, const struct tunnel *next)
{
    if (ip_equal(&t->ip4, &next->ip4) && ip_equal(&t->ip6, &next->ip6))
        return;
    if (t->net_up)
        queue_net(e, IKE_NET_DOWN, t, NULL);
    t->net_up = false;
    t->ip4 = next->ip4;
    t->ip6 = next->ip6;
}

int reauth_take_over(struct ike_engine *e, struct sa *sa, struct sa **old)
{
    struct tunnel *next = sa->tunnel, *t = map_get(&e->tunnels, next->renews);
    if (!t || !t->sa || t->sa->state != IKE_STATE_ESTABLISHED ||
        (!t->stale && !same_identity(t, next)))
        return ERR_STATE; /* closed meanwhile, or the gateway is another one */
    if (t->stale && adopt_peer(e, t, next) < 0)
        return ERR_MEMORY;
    *old = t->sa;
    new_addresses(e, t, next);
    free(t->dns);
    t->dns = next->dns;
    t->dns_count = next->dns_count;
    next->dns = NULL;
    sa->tunnel = t;
    t->sa = sa;
    if (t->roam)
        roam_forget(t->roam); /* a path has been found */
    t->rekeys_ike++;
    queue_event(e, IKE_EVENT_REKEYED_IKE, t, &sa->path, 0, "authenticated anew");
    tunnel_forget(e, next);
    return 0;
}

/* Its children go after the new one has come, so that traffic has one at every moment. */
void reauth_retire(struct ike_engine *e, struct sa *old)
{
    while (old->children)
        child_remove(e, old->children, true, 0);
    old->tunnel = NULL;
    old->task_count = 0;
    sa_set_state(e, old, IKE_STATE_DELETING);
    sa_disarm(e, &old->timer_duty);
    rekey_drop_rival(e, old);
    task_first(e, old, (struct task){.kind = TASK_DELETE_IKE});
    task_run(e, old);
}
