#include <stdlib.h>

#include "ike/internal.h"

/* Another configuration, while tunnels stand. Handlers read e->conf whenever they need it, so most
 * of it holds as soon as the pointer is another one. What is left: timers that were armed by the
 * old one, suites and children that the new one would not make, and exchanges that began with the
 * old one. Of those the peer's are answered within one call; ours end by what they began with
 * (struct former), because a peer that has made an SA for us does not take it back. Handshakes are
 * judged anew from their beginning (responder), or begun anew (initiator). */

#define SPREAD     (60 * TIME_SECOND)      /* what is due at once comes within this time */
#define SPREAD_ONE (10 * TIME_MILLISECOND) /* and longer for each tunnel that there is */
#define SPREAD_CAP (1800 * TIME_SECOND)

/* ---- what exchanges under way began with */

const struct conf_tunnel *former_conf(const struct ike_engine *e, const struct creation *c)
{
    return c->former ? &c->former->conf : e->conf;
}

void former_drop(struct former **at)
{
    struct former *f = *at;
    *at = NULL;
    if (f && --f->refs == 0)
        free(f);
}

/* ---- is it another one? */

static bool same_proposals(const struct proposal *a, size_t a_count, const struct proposal *b,
                           size_t b_count)
{
    bool same = a_count == b_count;
    for (size_t i = 0; i < a_count && same; i++) {
        same = a[i].protocol == b[i].protocol && a[i].count == b[i].count;
        for (size_t j = 0; j < a[i].count && same; j++)
            same = transform_equal(&a[i].transforms[j], &b[i].transforms[j]);
    }
    return same;
}

static bool same_selectors(const struct selector *a, size_t a_count, const struct selector *b,
                           size_t b_count)
{
    bool same = a_count == b_count;
    for (size_t i = 0; i < a_count && same; i++)
        same = selector_equal(&a[i], &b[i]);
    return same;
}

static bool same_traffic(const struct conf_tunnel *a, const struct conf_tunnel *b)
{
    bool same = a->transport == b->transport && a->child_count == b->child_count &&
                same_selectors(a->local_ts, a->local_ts_count, b->local_ts, b->local_ts_count) &&
                same_selectors(a->remote_ts, a->remote_ts_count, b->remote_ts, b->remote_ts_count);
    for (size_t i = 0; i < a->child_count && same; i++) {
        const struct conf_child *x = &a->children[i], *y = &b->children[i];
        same = same_selectors(x->local_ts, x->local_ts_count, y->local_ts, y->local_ts_count) &&
               same_selectors(x->remote_ts, x->remote_ts_count, y->remote_ts, y->remote_ts_count);
    }
    return same;
}

static bool same_suites(const struct conf_tunnel *a, const struct conf_tunnel *b)
{
    return same_proposals(a->ike, a->ike_count, b->ike, b->ike_count) &&
           same_proposals(a->esp, a->esp_count, b->esp, b->esp_count) && a->esn == b->esn &&
           a->pq == b->pq;
}

static bool same_certs(const struct ike_setup *a, const struct ike_setup *b)
{
    bool same = a->own_cert_count == b->own_cert_count;
    for (size_t i = 0; i < a->own_cert_count && same; i++)
        same = bytes_equal(cert_der(a->own_certs[i]), cert_der(b->own_certs[i]));
    return same;
}

static bool trusts(const struct cert_trust *trust, const struct cert *anchor)
{
    size_t count = trust ? cert_trust_count(trust) : 0;
    for (size_t i = 0; i < count; i++)
        if (bytes_equal(cert_der(cert_trust_at(trust, i)), cert_der(anchor)))
            return true;
    return false;
}

/* One more anchor makes nothing false that was proven before; one less may. */
static bool loses_anchor(const struct cert_trust *old, const struct cert_trust *now)
{
    size_t count = old ? cert_trust_count(old) : 0;
    for (size_t i = 0; i < count; i++)
        if (!trusts(now, cert_trust_at(old, i)))
            return true;
    return false;
}

/* Does a client's tunnel stand on something else now? */
static bool stands_on_other(const struct ike_setup *a, const struct ike_setup *b)
{
    const struct conf_tunnel *x = a->tunnel, *y = b->tunnel;
    return !identity_equal(&a->own_id, &b->own_id) ||
           !identity_equal(&x->remote_id, &y->remote_id) || x->local_auth != y->local_auth ||
           x->remote_auth != y->remote_auth || !same_certs(a, b) ||
           loses_anchor(a->trust, b->trust) || !same_suites(x, y) || !same_traffic(x, y) ||
           x->request_ip4 != y->request_ip4 || x->request_ip6 != y->request_ip6 ||
           x->send_from_gateway != y->send_from_gateway || x->roam != y->roam ||
           x->encap != y->encap || x->refuse_nat != y->refuse_nat;
}

/* ---- time */

/* Soon, and not all in one instant. `life` 0 = for ever. */
static time_us spread_of(const struct ike_engine *e, uint32_t life)
{
    time_us spread = SPREAD + e->tunnels.used * SPREAD_ONE;
    spread = spread < SPREAD_CAP ? spread : SPREAD_CAP;
    time_us half = life * TIME_SECOND / 2;
    return life > 0 && half < spread ? half : spread;
}

static time_us soon(struct ike_engine *e, uint32_t life)
{
    time_us spread = spread_of(e, life);
    return e->now + random_u32(e->setup.random) % (spread + 1);
}

static time_us later_of(time_us a, time_us b)
{
    return a > b ? a : b;
}

/* When an SA of that age is to be replaced, and when it ends. */
struct life {
    time_us soft, hard;
};
static struct life life_of(struct ike_engine *e, time_us created, uint32_t seconds)
{
    if (seconds == 0)
        return (struct life){TIME_NEVER, TIME_NEVER};
    time_us soft = created + soft_after(e, seconds);
    return (struct life){
        .soft = soft > e->now ? soft : soon(e, seconds),
        .hard = later_of(created + seconds * TIME_SECOND, e->now + 2 * spread_of(e, seconds))};
}

/* `was`: seconds, by the configuration of before. An SA whose replacement is under way, or was
 * refused, keeps it so; what is due already stays due. */
static void time_ike(struct ike_engine *e, struct sa *sa, uint32_t was)
{
    if (was == e->conf->ike_lifetime || sa->expire_at <= e->now || sa->rekey_at <= e->now)
        return;
    struct life life = life_of(e, sa->created, e->conf->ike_lifetime);
    if (was == 0 || sa->rekey_at != TIME_NEVER)
        sa->rekey_at = life.soft;
    sa->expire_at = life.hard;
}

static void time_child(struct ike_engine *e, struct child *c, uint32_t was)
{
    uint32_t now = e->conf->child_lifetime;
    bool soft_waits = c->hard == TIME_NEVER || (c->timer.place && c->timer.deadline < c->hard);
    if (was == now || c->state != CHILD_UP || c->mute || c->hard <= e->now)
        return;
    time_us created = was > 0 && c->hard != TIME_NEVER ? c->hard - was * TIME_SECOND : e->now;
    struct life life = life_of(e, created, now);
    c->hard = life.hard;
    sa_arm(e, &c->timer, soft_waits ? life.soft : life.hard);
}

/* ---- algorithms */

static struct proposal as_proposal(const struct chosen *c, uint8_t protocol)
{
    struct proposal p = {.protocol = protocol};
    if (c->encr)
        (void)proposal_add(&p, TRANSFORM_ENCR, c->encr, c->encr_bits);
    if (c->integ)
        (void)proposal_add(&p, TRANSFORM_INTEG, c->integ, 0);
    if (c->prf)
        (void)proposal_add(&p, TRANSFORM_PRF, c->prf, 0);
    if (c->sn)
        (void)proposal_add(&p, TRANSFORM_SN, c->sn, 0);
    if (c->kes.ke)
        kes_add(&c->kes, NULL, &p);
    return p;
}

/* What we would offer now, groups included. */
struct offers {
    struct proposal ike[OFFERS_MAX], child[OFFERS_MAX];
    size_t ike_count, child_count;
};

static void make_offers(const struct ike_engine *e, struct offers *o)
{
    struct select_wish ike = {.protocol = PROTOCOL_IKE, .with_ke = true};
    struct select_wish child = {.protocol = child_protocol(e), .with_ke = true, .more = true};
    o->ike_count = select_offer(e->conf, &ike, o->ike);
    o->child_count = select_offer(e->conf, &child, o->child);
}

static bool allows_ike(const struct ike_engine *e, const struct offers *o, const struct sa *sa)
{
    struct proposal p = as_proposal(&sa->chosen, PROTOCOL_IKE);
    return select_check(o->ike, o->ike_count, &p, SELECT_KE_MUST, e->conf->pq) == 0;
}

/* Where ML-KEM is required, a child's keys must come of it too: by an exchange of its own, or by
 * those of the IKE SA. */
static bool allows_child(const struct ike_engine *e, const struct offers *o, const struct child *c)
{
    struct proposal p = as_proposal(&c->chosen, protocol_of(c));
    if (e->conf->pq == CONF_PQ_REQUIRE && !kes_are_pq(&c->chosen.kes) &&
        !kes_are_pq(&c->sa->chosen.kes))
        return false;
    return select_check(o->child, o->child_count, &p, SELECT_KE_OPTIONAL, e->conf->pq) == 0;
}

bool reload_allows(const struct ike_engine *e, const struct sa *sa)
{
    struct offers o;
    if (e->reloaded_at == 0 || sa->created > e->reloaded_at)
        return true;
    make_offers(e, &o);
    return allows_ike(e, &o, sa);
}

static void judge_ike(struct ike_engine *e, const struct offers *o, struct sa *sa)
{
    if (sa->rekey_at <= e->now || allows_ike(e, o, sa))
        return;
    time_us at = soon(e, e->conf->ike_lifetime);
    sa->rekey_at = at < sa->rekey_at ? at : sa->rekey_at;
    sa_plan_duty(e, sa);
}

static void judge_child(struct ike_engine *e, const struct offers *o, struct child *c)
{
    if (c->state != CHILD_UP || c->mute || allows_child(e, o, c))
        return;
    time_us at = soon(e, e->conf->child_lifetime);
    if (c->timer.place == 0 || at < c->timer.deadline)
        sa_arm(e, &c->timer, at);
}

void reload_judge_ike(struct ike_engine *e, const struct creation *by, struct sa *sa)
{
    struct offers o;
    if (!by->former)
        return;
    make_offers(e, &o);
    judge_ike(e, &o, sa);
}

/* Its selectors are those of the child before, which may have ended meanwhile (stay.c). */
void reload_judge_child(struct ike_engine *e, const struct creation *by, struct child *c)
{
    struct offers o;
    if (by->former) {
        make_offers(e, &o);
        judge_child(e, &o, c);
    }
    if (e->reloaded_at == 0 || c->sa->tunnel->initiator)
        return;
    stay_yield(e, c->sa);
    stay_narrow(e, c->sa->tunnel);
}

/* ---- what stands */

/* offers NULL: as before, or a client, which makes all anew when they are others. */
static void look_at(struct ike_engine *e, struct sa *sa, const struct conf_tunnel *was,
                    const struct offers *offers)
{
    if (sa->state != IKE_STATE_ESTABLISHED || sa->lingering)
        return;
    time_ike(e, sa, was->ike_lifetime);
    if (offers)
        judge_ike(e, offers, sa);
    for (struct child *c = sa->children; c; c = c->next) {
        time_child(e, c, was->child_lifetime);
        if (offers)
            judge_child(e, offers, c);
    }
    sa_plan_duty(e, sa);
}

static void look_at_all(struct ike_engine *e, const struct conf_tunnel *was, struct former *former)
{
    bool suites = !e->conf->initiator && !same_suites(was, e->conf);
    struct offers offers;
    if (suites)
        make_offers(e, &offers);
    size_t cursor = 0;
    struct sa *sa;
    while ((sa = map_next(&e->sas, &cursor)))
        followup_drop(e, sa); /* the peer begins it anew; it may take an SA out of the map */
    cursor = 0;
    while ((sa = map_next(&e->sas, &cursor))) {
        struct creation *c = sa->out.creation;
        if (c && !c->former) {
            c->former = former;
            former->refs++;
        }
        look_at(e, sa, was, suites ? &offers : NULL);
    }
}

static bool is_attempt(const struct tunnel *t)
{
    return t->sa && t->sa->handshake;
}

static void go_on(struct ike_engine *e, struct tunnel *t, bool other)
{
    if (is_attempt(t) && t->initiator && other)
        reauth_restart(e, t);
    else if (is_attempt(t) && t->sa->ticket)
        auth_ask_again(e, t->sa);
    else if (!is_attempt(t) && t->sa && t->initiator && other)
        reauth_stale(e, t);
    else if (t->initiator)
        reauth_sooner(e, t);
}

/* ---- the entry */

static int can_reload(const struct ike_engine *e, const struct ike_setup *setup)
{
    const struct conf_tunnel *a = e->conf, *b = setup->tunnel;
    return b && a->initiator == b->initiator && a->max_tunnels == b->max_tunnels ? 0 : ERR_ARGUMENT;
}

static void take_over(struct ike_engine *e, const struct ike_setup *setup)
{
    e->setup.tunnel = e->conf = setup->tunnel;
    e->setup.trust = setup->trust;
    e->setup.own_cert_count = setup->own_cert_count;
    for (size_t i = 0; i < IKE_CERTS_OWN; i++)
        e->setup.own_certs[i] = i < setup->own_cert_count ? setup->own_certs[i] : NULL;
    e->setup.own_id = setup->own_id;
    e->reloaded_at = e->now;
}

/* Takes the sweep. */
static void reload(struct ike_engine *e, const struct ike_setup *setup, struct former *former,
                   struct sweep *sweep)
{
    bool other = e->conf->initiator && stands_on_other(&e->setup, setup);
    e->anchor_lost |= loses_anchor(e->setup.trust, setup->trust);
    take_over(e, setup);
    look_at_all(e, &former->conf, former);
    size_t cursor = 0;
    struct tunnel *t;
    while ((t = map_next(&e->tunnels, &cursor)))
        go_on(e, t, other);
    stay_begin(e, sweep);
}

int ike_reload(struct ike_engine *e, time_us now, const struct ike_setup *setup)
{
    int err = can_reload(e, setup);
    struct auth_cache *certs = err == 0 ? auth_cache_create(CERT_CACHE) : NULL;
    struct former *former = certs ? malloc(sizeof(*former)) : NULL;
    struct sweep *sweep = former ? stay_create(e) : NULL;
    if (!sweep) {
        auth_cache_free(certs);
        free(former);
        return err < 0 ? err : ERR_MEMORY;
    }
    *former = (struct former){.refs = 1, .conf = *e->conf};
    auth_cache_free(e->certs); /* verdicts by anchors that may be gone */
    e->certs = certs;
    engine_begin(e, now);
    reload(e, setup, former, sweep);
    former_drop(&former);
    engine_end(e);
    return 0;
}
