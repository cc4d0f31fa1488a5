#include <stdlib.h>
#include <string.h>

#include "ike/gate.h"

/* The face of the engine: its life, the entries, time, and the look inside. */

void engine_begin(struct ike_engine *e, time_us now)
{
    queue_begin_call(e);
    if (now > e->now)
        e->now = now;
    e->notify_len = 0;
    e->why[0] = e->why_offered[0] = e->why_accepted[0] = '\0';
}

void engine_end(struct ike_engine *e)
{
    if (e->woken && !e->woken->buried)
        task_run(e, e->woken);
    e->woken = NULL;
    sa_grave_empty(e);
}

static int set_up(struct ike_engine *e)
{
    size_t tunnels = e->conf->max_tunnels ? e->conf->max_tunnels : 16;
    size_t sas = tunnels + tunnels / 4 + 16;
    slab_init(&e->sa_slab, sizeof(struct sa), sas);
    slab_init(&e->tunnel_slab, sizeof(struct tunnel), tunnels);
    slab_init(&e->child_slab, sizeof(struct child), 3 * tunnels + 16);
    slab_init(&e->handshake_slab, sizeof(struct handshake), tunnels);
    slab_init(&e->creation_slab, sizeof(struct creation), tunnels);
    timer_heap_init(&e->timers);
    if (!e->conf->initiator && gate_open(e, tunnels) < 0)
        return ERR_MEMORY;
    const struct random *random = e->setup.random;
    if (map_init(&e->sas, sas, random) < 0 || map_init(&e->half_open, sas, random) < 0 ||
        map_init(&e->tunnels, tunnels, random) < 0 ||
        map_init(&e->identities, tunnels, random) < 0 ||
        map_init(&e->children, 3 * tunnels + 16, random) < 0 ||
        map_init(&e->tickets, sas, random) < 0)
        return ERR_MEMORY;
    e->aead_engine = aead_engine_create();
    e->certs = auth_cache_create(CERT_CACHE);
    return e->aead_engine && e->certs ? 0 : ERR_MEMORY;
}

struct ike_engine *ike_create(const struct ike_setup *setup, time_us now)
{
    struct ike_engine *e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    e->setup = *setup;
    e->conf = setup->tunnel;
    e->now = now;
    e->next_tunnel = setup->id_base ? setup->id_base : 1;
    if (set_up(e) < 0) {
        ike_free(e);
        return NULL;
    }
    return e;
}

void ike_free(struct ike_engine *e)
{
    if (!e)
        return;
    size_t cursor = 0;
    struct sa *sa;
    struct tunnel *t;
    while ((t = map_next(&e->tunnels, &cursor)))
        tunnel_forget(e, t);
    cursor = 0;
    while ((sa = map_next(&e->sas, &cursor))) {
        sa_bury(e, sa);
        cursor = 0; /* burying one may bury its unfinished successor */
    }
    sa_grave_empty(e);
    stay_end(e);
    queue_free(e);
    map_free(&e->sas);
    map_free(&e->half_open);
    map_free(&e->tunnels);
    map_free(&e->identities);
    map_free(&e->children);
    map_free(&e->tickets);
    slab_free(&e->sa_slab);
    slab_free(&e->tunnel_slab);
    slab_free(&e->child_slab);
    slab_free(&e->handshake_slab);
    slab_free(&e->creation_slab);
    timer_heap_free(&e->timers);
    gate_free(e);
    auth_cache_free(e->certs);
    aead_engine_free(e->aead_engine);
    free(e->aead);
    secret_wipe(e, sizeof(*e));
    free(e);
}

/* ---- a datagram */

static bool read_outside(struct ike_engine *e, struct input *in)
{
    if (wire_header_read(in->datagram, &in->header) < 0) {
        e->counters.drop_malformed++;
        return false;
    }
    if (in->header.version >> 4 != 2) {
        e->counters.drop_version++;
        init_other_version(e, in);
        return false;
    }
    struct bytes payloads = {in->datagram.at + WIRE_HEADER_LEN, in->datagram.len - WIRE_HEADER_LEN};
    if (wire_walk(in->header.next_payload, payloads, &e->outer_chain) < 0) {
        e->counters.drop_malformed++;
        return false;
    }
    in->outer = &e->outer_chain;
    return true;
}

static void nobody(struct ike_engine *e, const struct input *in)
{
    e->counters.drop_unknown_spi++;
    if (!crash_heard_spi(e, in))
        crash_unknown_sa(e, in);
}

void ike_input(struct ike_engine *e, time_us now, const struct ike_path *path,
               struct bytes datagram)
{
    engine_begin(e, now);
    e->counters.in_datagrams++;
    struct input *in = &e->input;
    *in = (struct input){.path = *path, .datagram = datagram};
    if (datagram.len > WIRE_MESSAGE_MAX || !read_outside(e, in))
        return;
    const struct wire_header *h = &in->header;
    if (h->exchange == EXCHANGE_IKE_SA_INIT && !(h->flags & FLAG_RESPONSE)) {
        init_request(e, in);
    } else {
        struct sa *sa = map_get(&e->sas, h->flags & FLAG_INITIATOR ? h->spi_r : h->spi_i);
        if (sa)
            sa_input(e, sa, in);
        else
            nobody(e, in);
    }
    engine_end(e);
}

/* ---- time */

/* All that is planned for an established SA; each condition looks at the clock by itself. */
static void duty(struct ike_engine *e, struct sa *sa)
{
    if (sa->close_now && sa->tunnel && sa->tunnel->sa == sa) {
        tunnel_close(e, sa->tunnel, ERR_DELETED, 0, "closed by command");
        return;
    }
    if (e->now >= sa->expire_at) {
        if (sa->tunnel && sa->tunnel->sa == sa) {
            tunnel_close(e, sa->tunnel, ERR_LIFETIME, 0,
                         "the IKE SA reached the end of its life before a rekey succeeded");
        } else {
            sa->expire_at = TIME_NEVER;
            task_first(e, sa, (struct task){.kind = TASK_DELETE_IKE});
            task_run(e, sa);
        }
        return;
    }
    if (e->now >= sa->childless_at) {
        sa->childless_at = TIME_NEVER;
        if (sa->child_count == 0 && sa->tunnel && sa->tunnel->sa == sa) {
            tunnel_close(e, sa->tunnel, ERR_DELETED, 0,
                         "no child SA is left, so the connection was closed");
            return;
        }
    }
    if (e->now >= sa->rekey_at) {
        sa->rekey_at = TIME_NEVER;
        if (task_add(e, sa, (struct task){.kind = TASK_REKEY_IKE}) < 0)
            sa->rekey_at = e->now + 5 * TIME_SECOND;
    }
    if (sa->tunnel && sa->tunnel->sa == sa && e->now >= sa->tunnel->wish_at)
        wish_missing(e, sa);
    if (sa->tunnel && sa->tunnel->sa == sa && e->now >= sa->tunnel->wake_at)
        keepalive_wake(e, sa);
    if (sa->tunnel && sa->tunnel->sa == sa && e->now >= sa->tunnel->reauth_at)
        reauth_due(e, sa->tunnel);
    if (e->now >= liveness_at(e, sa))
        check_liveness(e, sa);
    if (e->now >= keepalive_at(e, sa))
        keepalive_send(e, sa);
    if (e->now >= roam_at(sa))
        roam_time(e, sa);
    task_run(e, sa);
    sa_plan_duty(e, sa);
}

void check_liveness(struct ike_engine *e, struct sa *sa)
{
    if (sa->state != IKE_STATE_ESTABLISHED || sa->out.request)
        return; /* any exchange shows whether the peer lives */
    if (task_add(e, sa, (struct task){.kind = TASK_LIVENESS}) == 0)
        task_run(e, sa);
}

void ike_tick(struct ike_engine *e, time_us now)
{
    engine_begin(e, now);
    for (int i = 0; i < TICK_TIMERS; i++) {
        struct timer *timer = timer_expired(&e->timers, e->now);
        if (!timer)
            break;
        e->timer_count--;
        if (timer->kind == TIMER_CHILD)
            child_time(e, timer->owner);
        else if (timer->kind == TIMER_OUT)
            window_timer(e, timer->owner);
        else if (timer->kind == TIMER_FRAGMENTS)
            fragment_drop(e, timer->owner);
        else if (timer->kind == TIMER_FOLLOWUP)
            followup_expired(e, timer->owner);
        else if (timer->kind == TIMER_STAY)
            stay_run(e);
        else
            duty(e, timer->owner);
    }
    gate_tick(e, TICK_TIMERS);
    engine_end(e);
}

time_us ike_deadline(const struct ike_engine *e)
{
    time_us timers = timer_next(&e->timers), gate = gate_deadline(e);
    return timers < gate ? timers : gate;
}

/* ---- the look inside */

static void status_of(const struct ike_engine *e, const struct sa *sa, struct ike_status *s)
{
    const struct tunnel *t = sa->tunnel;
    s->spi_i = sa->initiator ? sa->spi_own : sa->spi_peer;
    s->spi_r = sa->initiator ? sa->spi_peer : sa->spi_own;
    s->state = sa->state;
    s->nat_local = sa->nat_local;
    s->nat_remote = sa->nat_remote;
    s->udp = sa->udp;
    s->mobike = t && t->mobike;
    s->path = sa->path;
    s->created = sa->created;
    s->last_heard = sa->last_heard;
    s->rekey_at = sa->rekey_at;
    proof_own_identity(e, sa, NULL, &s->own);
    proposal_add(&s->suite, TRANSFORM_ENCR, sa->chosen.encr, sa->chosen.encr_bits);
    if (sa->chosen.integ)
        proposal_add(&s->suite, TRANSFORM_INTEG, sa->chosen.integ, 0);
    proposal_add(&s->suite, TRANSFORM_PRF, sa->chosen.prf, 0);
    kes_add(&sa->chosen.kes, NULL, &s->suite);
    s->suite.protocol = PROTOCOL_IKE;
    if (!t)
        return;
    s->tunnel = t->id;
    s->initiator = t->initiator;
    tunnel_peer(t, &s->peer);
    s->established = t->established_at;
    s->rekeys_ike = t->rekeys_ike;
    s->rekeys_child = t->rekeys_child;
    s->retransmissions = t->retransmissions;
    s->ip4 = t->ip4;
    s->ip6 = t->ip6;
    if (t->peer_name)
        strncpy(s->peer_name, t->peer_name, sizeof(s->peer_name) - 1);
}

void ike_walk(const struct ike_engine *e,
              void (*visit)(void *context, const struct ike_status *status), void *context)
{
    struct ike_child children[CHILDREN_LIMIT];
    size_t cursor = 0;
    const struct sa *sa;
    while ((sa = map_next(&e->sas, &cursor))) {
        if (sa->state == IKE_STATE_NONE || sa->lingering)
            continue; /* not yet, or not any more */
        struct ike_status s = {.children = children};
        status_of(e, sa, &s);
        for (const struct child *c = sa->children; c; c = c->next) {
            if (c->state == CHILD_CREATING)
                continue;
            children[s.child_count] = (struct ike_child){0};
            child_describe(c, &children[s.child_count++]);
        }
        visit(context, &s);
    }
}

const struct ike_counters *ike_counters(const struct ike_engine *e)
{
    return &e->counters;
}

void ike_usage(const struct ike_engine *e, struct ike_usage *out)
{
    *out = (struct ike_usage){.sas = e->sas.used,
                              .children = e->children.used,
                              .messages = e->message_count - queue_spent_messages(e),
                              .timers = e->timer_count,
                              .half_open = gate_half_open(e),
                              .cookies = gate_is_crowded(e),
                              .puzzle = e->gate ? e->gate->difficulty : 0,
                              .actions = e->action_count,
                              .judging = e->sweep != NULL,
                              .fragments = e->fragment_octets};
}
