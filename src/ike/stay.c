#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

/* After a reload: each peer that was let in by a configuration of before is asked about, a bounded
 * number at a time, so that a hundred thousand of them make neither a long call nor a full queue.
 * Who they are is written down at the reload, by the ids of their tunnels: others come and go
 * meanwhile, and the map moves its entries then. A question that keys does not answer (it may just
 * be made anew) is asked again. */

struct sweep {
    struct timer timer;
    struct stay {
        uint64_t ticket, tunnel; /* ticket 0 = free */
        time_us until;
    } open[IKE_STAYS];
    size_t count, next;
    uint64_t ids[];
};

struct sweep *stay_create(const struct ike_engine *e)
{
    struct sweep *s = calloc(1, sizeof(*s) + e->tunnels.used * sizeof(s->ids[0]));
    if (s)
        s->timer = (struct timer){.owner = s, .kind = TIMER_STAY};
    return s;
}

static void drop(struct ike_engine *e)
{
    if (e->sweep)
        sa_disarm(e, &e->sweep->timer);
    free(e->sweep);
    e->sweep = NULL;
}

void stay_end(struct ike_engine *e)
{
    drop(e);
    e->anchor_lost = false;
}

/* Also one for whom there was no address, whose IKE SA stands without leases. Handshakes are judged
 * by the new configuration anyway. */
static bool was_let_in(const struct tunnel *t)
{
    return !t->initiator && t->peer && t->sa && !t->sa->handshake;
}

/* Answers about the configuration before find their questions gone. */
void stay_begin(struct ike_engine *e, struct sweep *sweep)
{
    size_t cursor = 0;
    const struct tunnel *t;
    drop(e);
    e->sweep = sweep;
    while ((t = map_next(&e->tunnels, &cursor)))
        if (was_let_in(t))
            sweep->ids[sweep->count++] = t->id;
    stay_run(e);
}

void stay_forget(struct ike_engine *e, uint64_t tunnel)
{
    for (size_t i = 0; e->sweep && i < IKE_STAYS; i++)
        if (e->sweep->open[i].tunnel == tunnel)
            e->sweep->open[i] = (struct stay){0};
}

/* ---- whom to ask about */

static struct tunnel *next_of(struct ike_engine *e)
{
    struct sweep *s = e->sweep;
    struct tunnel *t = NULL;
    while (!t && s->next < s->count)
        t = map_get(&e->tunnels, s->ids[s->next++]);
    return t;
}

static void ask(struct ike_engine *e, struct stay *place, uint64_t tunnel)
{
    *place = (struct stay){++e->next_ticket, tunnel, e->now + ASK_LIFE};
    queue_stay(e, place->ticket, tunnel);
}

void stay_fill(const struct ike_engine *e, const struct tunnel *t, struct ike_ask *out)
{
    struct identity peer;
    tunnel_peer(t, &peer);
    cert_identity_canonical(&peer, &out->peer);
    proof_own_identity(e, t->sa, NULL, &out->own);
    out->want = IKE_WANT_STAY;
    out->tunnel = t->id;
    out->peer_by = t->peer_by;
    out->ask_ip4 = t->ip4.family;
    out->ask_ip6 = t->ip6.family;
    out->wanted_ip4 = t->ip4;
    out->wanted_ip6 = t->ip6;
}

static void lost_anchor(struct ike_engine *e, struct tunnel *t)
{
    tunnel_close(e, t, ERR_CERT_CHAIN, 0,
                 explain(e,
                         "a CA was taken out of the configuration, so who has proven itself by a "
                         "certificate must do so anew; it may connect again if its certificate "
                         "still holds"));
}

/* One tunnel a place. What we know by ourselves needs no question. */
static void fill(struct ike_engine *e, struct stay *place)
{
    struct tunnel *t = next_of(e);
    if (!t)
        return;
    if (e->anchor_lost && t->peer_by == CONF_AUTH_CERT) {
        lost_anchor(e, t);
        return;
    }
    stay_narrow(e, t);
    ask(e, place, t->id);
}

/* Once more what keys has not answered; then the next ones, as many as there are places. */
void stay_run(struct ike_engine *e)
{
    struct sweep *s = e->sweep;
    time_us at = TIME_NEVER, soon = e->now + TIME_MILLISECOND;
    for (struct stay *place = s->open; place < s->open + IKE_STAYS; place++) {
        if (place->ticket == 0)
            fill(e, place);
        else if (place->until <= e->now)
            ask(e, place, place->tunnel);
        if (place->ticket == 0 && s->next < s->count)
            at = soon;
        else if (place->ticket && place->until < at)
            at = place->until;
    }
    if (at == TIME_NEVER)
        stay_end(e);
    else
        sa_arm(e, &s->timer, at);
}

/* ---- the answer */

static bool same_address(const struct ip *has, const struct ip *may)
{
    return has->family == 0 || ip_equal(has, may);
}

static const char *way_back(int err)
{
    return err == ERR_UNKNOWN_PEER
               ? "name it in a [client] section and reload, if it is to come back"
           : err == ERR_ADDRESS ? "it may connect again and gets another one"
                                : "give it the new secret, or look at `methods` in [auth]";
}

static void send_away(struct ike_engine *e, struct tunnel *t, int err)
{
    char who[IDENTITY_TEXT];
    struct identity peer;
    tunnel_peer(t, &peer);
    identity_text(&peer, who);
    tunnel_close(e, t, err, 0,
                 explain(e, "the configuration does not let it in any more: %.120s: %.100s; %s",
                         who,
                         err == ERR_AUTH      ? "its secret or its method is another now"
                         : err == ERR_ADDRESS ? "its inner address is none that it may have now"
                                              : err_sentence(err),
                         way_back(err)));
}

static void other_address(struct ike_engine *e, struct tunnel *t, const struct ike_answer *answer)
{
    bool four = !same_address(&t->ip4, &answer->ip4);
    char has[ADDR_TEXT];
    tunnel_close(e, t, ERR_ADDRESS, 0,
                 explain(e,
                         "the configuration does not let it in any more with the inner address %s, "
                         "which is not this peer's now; it may connect again and gets another one",
                         ip_print(four ? &t->ip4 : &t->ip6, has)));
}

static bool has_all(const struct selector *list, size_t count, const struct selector *of,
                    size_t of_count)
{
    for (size_t i = 0; i < of_count; i++) {
        bool found = false;
        for (size_t j = 0; j < count && !found; j++)
            found = selector_equal(&list[j], &of[i]);
        if (!found)
            return false;
    }
    return true;
}

/* Routes to a site follow its networks. */
static void new_routes(struct ike_engine *e, struct tunnel *t, bool some_go)
{
    const struct child *c = t->sa->children;
    while (c && (c->state != CHILD_UP || c->hosts))
        c = c->next;
    if (!t->net_up || !c)
        return;
    if (some_go) {
        queue_net(e, IKE_NET_DOWN, t, NULL);
        t->net_up = false;
    }
    queue_net(e, IKE_NET_UP, t, c);
    t->net_up = true;
}

static int take_networks(struct ike_engine *e, struct tunnel *t, const struct ike_answer *answer)
{
    struct selector *kept = NULL;
    size_t count = answer->network_count;
    if (count > ARRAY_LEN(answer->networks))
        return ERR_ARGUMENT;
    bool all_stay = has_all(answer->networks, count, t->networks, t->network_count);
    if (all_stay && has_all(t->networks, t->network_count, answer->networks, count))
        return 0;
    if (count > 0) {
        kept = malloc(count * sizeof(*kept));
        if (!kept)
            return ERR_MEMORY;
        memcpy(kept, answer->networks, count * sizeof(*kept));
    }
    free(t->networks);
    t->networks = kept;
    t->network_count = (uint8_t)count;
    new_routes(e, t, !all_stay);
    return 0;
}

static int take_name(struct tunnel *t, const struct ike_answer *answer)
{
    if (t->peer_name ? strncmp(t->peer_name, answer->peer_name, CONF_NAME_MAX - 1) == 0
                     : answer->peer_name[0] == '\0')
        return 0;
    char *name = strndup(answer->peer_name, CONF_NAME_MAX - 1);
    if (!name)
        return ERR_MEMORY;
    free(t->peer_name);
    t->peer_name = name;
    return 0;
}

static void settle(struct ike_engine *e, struct tunnel *t, const struct ike_answer *answer)
{
    int err = answer->result;
    if (err == 0)
        err = take_name(t, answer);
    if (err == 0)
        err = take_networks(e, t, answer);
    if (err < 0)
        send_away(e, t, err);
    else if (!same_address(&t->ip4, &answer->ip4) || !same_address(&t->ip6, &answer->ip6))
        other_address(e, t, answer);
    else
        stay_narrow(e, t);
}

bool stay_answered(struct ike_engine *e, const struct ike_answer *answer)
{
    for (size_t i = 0; e->sweep && answer->ticket && i < IKE_STAYS; i++) {
        struct stay *place = &e->sweep->open[i];
        if (place->ticket != answer->ticket)
            continue;
        struct tunnel *t = map_get(&e->tunnels, place->tunnel);
        *place = (struct stay){0};
        if (t && t->sa)
            settle(e, t, answer);
        stay_run(e);
        return true;
    }
    return false;
}

/* ---- children */

static bool inside(const struct selector *list, size_t count, const struct selector *policy,
                   size_t policy_count)
{
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        for (size_t j = 0; j < policy_count && !found; j++)
            found = selector_is_subset(&list[i], &policy[j]);
        if (!found)
            return false;
    }
    return true;
}

static bool is_allowed(const struct ike_engine *e, const struct child *c)
{
    struct traffic policy;
    if ((c->hosts && !e->conf->transport) || protocol_of(c) != child_protocol(e))
        return false;
    traffic_policy(e, c->sa, 0, c->hosts, &policy);
    return inside(c->selectors, c->local_count, policy.local, policy.local_count) &&
           inside(c->selectors + c->local_count, c->remote_count, policy.remote,
                  policy.remote_count);
}

/* Nothing passes from now on; the peer hears of it by the Delete, which comes before a rekey that
 * waits. */
static void end_child(struct ike_engine *e, struct child *c)
{
    const struct tunnel *t = c->sa->tunnel;
    queue_esp_del(e, t->id, c->spi_in, false);
    c->mute = true;
    if (c->state != CHILD_UP)
        return;
    if (!c->replaced)
        queue_event(e, IKE_EVENT_CHILD_DOWN, t, &c->sa->path, ERR_TS,
                    explain(e,
                            "the configuration does not allow all that this child SA carries "
                            "any more, so it was ended; what is still allowed gets another one"));
    c->replaced = true;
    task_first(e, c->sa, (struct task){.kind = TASK_DELETE_CHILD, .spi_in = c->spi_in});
}

static bool carries(const struct sa *sa)
{
    for (const struct child *c = sa->children; c; c = c->next)
        if (c->state == CHILD_UP && !c->mute)
            return true;
    return false;
}

/* Is one under way, or about to be? */
static bool asks_for_child(const struct sa *sa)
{
    bool asks = sa->out.request && sa->out.task.kind == TASK_CREATE_CHILD;
    for (size_t i = 0; i < sa->task_count; i++)
        asks |= sa->tasks[i].kind == TASK_CREATE_CHILD;
    return asks;
}

void stay_narrow(struct ike_engine *e, struct tunnel *t)
{
    struct sa *sa = t->sa;
    bool carried = carries(sa), ended = false;
    struct traffic policy;
    for (struct child *c = sa->children; c; c = c->next) {
        if ((c->state != CHILD_UP && c->state != CHILD_REKEYED) || c->mute || is_allowed(e, c))
            continue;
        end_child(e, c);
        ended = true;
    }
    if (!ended)
        return;
    /* With none left the tunnel would end: before the Delete we ask for what is allowed. */
    traffic_policy(e, sa, 0, false, &policy);
    if (carried && !carries(sa) && !asks_for_child(sa) && policy.local_count > 0 &&
        policy.remote_count > 0)
        task_first(e, sa, (struct task){.kind = TASK_CREATE_CHILD, .spi_in = STOPGAP});
    task_run(e, sa);
}

static bool covers(const struct child *c, const struct child *other)
{
    return c->state == CHILD_UP && !c->mute && !c->stopgap &&
           inside(other->selectors, other->local_count, c->selectors, c->local_count) &&
           inside(other->selectors + other->local_count, other->remote_count,
                  c->selectors + c->local_count, c->remote_count);
}

/* The client wants its children itself, and asks when one has ended; where that crosses with what
 * we ask for, there would be two. */
void stay_yield(struct ike_engine *e, struct sa *sa)
{
    for (struct child *c = sa->children; c; c = c->next) {
        if (!c->stopgap || c->state != CHILD_UP || c->replaced)
            continue;
        const struct child *other = sa->children;
        while (other && !covers(other, c))
            other = other->next;
        if (!other)
            continue;
        c->replaced = true;
        task_first(e, sa, (struct task){.kind = TASK_DELETE_CHILD, .spi_in = c->spi_in});
    }
}
