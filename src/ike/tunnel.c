#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

struct tunnel *tunnel_create(struct ike_engine *e, bool initiator)
{
    struct tunnel *t = slab_take(&e->tunnel_slab);
    if (!t) {
        e->counters.drop_memory++;
        return NULL;
    }
    t->id = e->next_tunnel++;
    t->initiator = initiator;
    t->created = e->now;
    t->wish_at = t->wake_at = TIME_NEVER;
    t->reauth_at = TIME_NEVER;
    if (map_put(&e->tunnels, t->id, t) < 0) {
        slab_give(&e->tunnel_slab, t);
        return NULL;
    }
    return t;
}

/* Identities that are equal must get equal keys: names without regard to case, DNs to spelling. */
static uint64_t identity_hash(const struct ike_engine *e, const struct identity *id)
{
    struct identity one;
    cert_identity_canonical(id, &one);
    uint64_t key =
        map_hash_bytes(&e->identities, &one, offsetof(struct identity, octets) + one.len);
    return key ? key : 1;
}

static bool same_peer(const struct tunnel *a, const struct tunnel *b)
{
    struct identity x, y, one, other;
    tunnel_peer(a, &x);
    tunnel_peer(b, &y);
    cert_identity_canonical(&x, &one);
    cert_identity_canonical(&y, &other);
    return identity_equal(&one, &other);
}

static void identity_unlink(struct ike_engine *e, struct tunnel *t)
{
    if (t->identity_key == 0)
        return;
    struct tunnel *first = map_get(&e->identities, t->identity_key);
    if (first == t) {
        map_remove(&e->identities, t->identity_key);
        if (t->same_next && map_put(&e->identities, t->identity_key, t->same_next) < 0)
            e->counters.drop_memory++;
    }
    for (struct tunnel *at = first; at; at = at->same_next)
        if (at->same_next == t)
            at->same_next = t->same_next;
    t->same_next = NULL;
    t->identity_key = 0;
}

static int identity_link(struct ike_engine *e, struct tunnel *t, const struct identity *peer)
{
    uint64_t key = identity_hash(e, peer);
    struct tunnel *first = map_get(&e->identities, key);
    if (first) {
        t->same_next = first->same_next;
        first->same_next = t;
    } else {
        int err = map_put(&e->identities, key, t);
        if (err < 0)
            return err;
    }
    t->identity_key = key;
    return 0;
}

int tunnel_set_peer(struct ike_engine *e, struct tunnel *t, const struct identity *peer)
{
    struct identity *kept = malloc(offsetof(struct identity, octets) + peer->len);
    if (!kept)
        return ERR_MEMORY;
    memcpy(kept, peer, offsetof(struct identity, octets) + peer->len);
    identity_unlink(e, t);
    free(t->peer);
    t->peer = kept;
    return identity_link(e, t, peer);
}

void tunnel_peer(const struct tunnel *t, struct identity *out)
{
    if (t->peer) {
        memcpy(out, t->peer, offsetof(struct identity, octets) + t->peer->len);
    } else {
        out->type = IDENTITY_NONE;
        out->len = 0;
    }
}

void tunnel_up(struct ike_engine *e, struct tunnel *t, const struct child *c)
{
    char who[IDENTITY_TEXT];
    struct identity peer;
    if (!t->net_up || t->stale || (c->hosts && !t->initiator))
        queue_net(e, IKE_NET_UP, t, c);
    t->net_up = true;
    t->stale = false;
    if (t->established)
        return;
    t->established = true;
    t->established_at = e->now;
    e->counters.established++;
    tunnel_peer(t, &peer);
    identity_text(&peer, who);
    struct ike_event *event = queue_event(e, IKE_EVENT_ESTABLISHED, t, &t->sa->path, 0,
                                          explain(e, "connected with %.200s", who));
    if (event) {
        event->messages = t->sa->messages;
        event->elapsed_us = (uint32_t)(e->now - t->created);
    }
}

void tunnel_forget(struct ike_engine *e, struct tunnel *t)
{
    identity_unlink(e, t);
    stay_forget(e, t->id);
    map_remove(&e->tunnels, t->id);
    free(t->peer);
    free(t->peer_name);
    free(t->dns);
    free(t->given);
    free(t->networks);
    free(t->roam);
    slab_give(&e->tunnel_slab, t);
}

/* With another one in its place, what the peer sent on this one just before is still welcome. */
static void children_down(struct ike_engine *e, const struct tunnel *t)
{
    bool linger = t->renewing && !t->initiator;
    while (t->sa->children)
        child_remove(e, t->sa->children, linger, 0);
}

void tunnel_end(struct ike_engine *e, struct tunnel *t, uint32_t event, int err, uint16_t notify,
                const char *text)
{
    struct sa *sa = t->sa;
    if (event == IKE_EVENT_DOWN && !t->established) /* it never had a child SA */
        event = t->initiator ? IKE_EVENT_FAILED : IKE_EVENT_REFUSED;
    if (sa)
        children_down(e, t);
    if (t->net_up)
        queue_net(e, IKE_NET_DOWN, t, NULL);
    if (t->admitted)
        queue_release(e, t);
    reauth_failed(e, t, text);
    bool silent = t->refused && !t->established;
    struct ike_event *what =
        silent ? NULL : queue_event(e, event, t, sa ? &sa->path : NULL, err, text);
    if (what) {
        what->notify = notify;
        what->exchange = event == IKE_EVENT_REFUSED ? EXCHANGE_IKE_AUTH : sa ? sa->out.exchange : 0;
        what->messages = sa ? sa->messages : 0;
        what->elapsed_us = (uint32_t)(e->now - t->created);
    }
    if (event == IKE_EVENT_FAILED && !silent)
        e->counters.failed++;
    if (event == IKE_EVENT_REFUSED && !silent)
        refusal_count(e, err);
    if (sa) {
        sa->tunnel = NULL;
        sa->close_now = false; /* it was about this tunnel */
    }
    reauth_forsake(e, t);
    tunnel_forget(e, t);
}

void tunnel_close(struct ike_engine *e, struct tunnel *t, int err, uint16_t notify,
                  const char *text)
{
    struct sa *sa = t->sa;
    uint32_t event = t->established ? IKE_EVENT_DOWN : IKE_EVENT_FAILED;
    bool known = sa && (sa->state == IKE_STATE_ESTABLISHED || sa->state == IKE_STATE_REKEYED);
    tunnel_end(e, t, event, err, notify, text);
    if (!sa)
        return;
    if (sa->state == IKE_STATE_AUTH_SENT && sa->out.request)
        return; /* the peer may be about to establish it: its answer will be met with a Delete */
    if (!known) {
        sa_bury(e, sa);
        return;
    }
    sa_set_state(e, sa, IKE_STATE_DELETING);
    sa_disarm(e, &sa->timer_duty);
    sa->task_count = 0;
    rekey_drop_rival(e, sa);
    task_first(e, sa, (struct task){.kind = TASK_DELETE_IKE, .notify = notify});
    task_run(e, sa);
}

struct tunnel *tunnel_find(const struct ike_engine *e, const struct identity *peer,
                           const struct endpoint *remote)
{
    struct identity one, other, theirs;
    struct tunnel *at = map_get(&e->identities, identity_hash(e, peer));
    cert_identity_canonical(peer, &one);
    for (; at; at = at->same_next) {
        tunnel_peer(at, &theirs);
        cert_identity_canonical(&theirs, &other);
        if (at->established && at->sa && identity_equal(&one, &other) &&
            endpoint_equal(&at->sa->path.remote, remote))
            return at;
    }
    return NULL;
}

/* Nobody is told: the peer has said that it knows of no other (RFC 7296 2.4). */
void tunnel_replace_others(struct ike_engine *e, struct tunnel *t)
{
    struct tunnel *next, *at = map_get(&e->identities, t->identity_key);
    for (; at; at = next) {
        next = at->same_next;
        if (at == t || !at->established || !same_peer(at, t))
            continue;
        struct sa *sa = at->sa;
        tunnel_end(e, at, IKE_EVENT_DOWN, ERR_REPLACED, NOTIFY_INITIAL_CONTACT,
                   "the same peer has connected anew, so its former tunnel was removed");
        if (sa)
            sa_bury(e, sa);
    }
}

void tunnel_limit_others(struct ike_engine *e, struct tunnel *t)
{
    struct tunnel *oldest = NULL;
    uint32_t count = 1;
    if (e->conf->per_identity == 0)
        return; /* and do not walk what may be thousands */
    for (struct tunnel *at = map_get(&e->identities, t->identity_key); at; at = at->same_next) {
        if (at == t || at->id == t->renews || !at->established || !same_peer(at, t))
            continue; /* that one is about to be closed by its client */
        count++;
        if (!oldest || at->established_at < oldest->established_at)
            oldest = at;
    }
    if (oldest && count > e->conf->per_identity)
        tunnel_close(e, oldest, ERR_LIMIT, 0,
                     "the same identity has connected once more than `tunnels-per-client` allows, "
                     "so its oldest connection was closed");
}
