/* What must hold. */
#include "worlds.h"

enum { SAS = 160, CHILDREN = 32, OVERLAP = 240 };

struct seen {
    const struct sim_host *host;
    uint64_t spi_i, spi_r, tunnel;
    uint8_t state;
    bool initiator;
    struct ip ip4, ip6;
    size_t child_count;
    struct {
        uint32_t in, out;
        uint8_t wish;
    } children[CHILDREN];
};
struct view {
    size_t count;
    struct seen at[SAS];
};

static char why[200];

static bool no(const char *format, ...) PRINTF_LIKE(1, 2);
static bool no(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    return false;
}

struct visit {
    struct view *view;
    const struct sim_host *host;
};

static void visit(void *context, const struct ike_status *s)
{
    const struct visit *v = context;
    if (s->state == IKE_STATE_DELETING && s->child_count == 0)
        return;
    assert_true(v->view->count < SAS);
    struct seen *seen = &v->view->at[v->view->count++];
    *seen = (struct seen){.host = v->host,
                          .spi_i = s->spi_i,
                          .spi_r = s->spi_r,
                          .tunnel = s->tunnel,
                          .state = s->state,
                          .initiator = s->initiator,
                          .ip4 = s->ip4,
                          .ip6 = s->ip6};
    for (size_t i = 0; i < s->child_count && i < CHILDREN; i++) {
        seen->children[seen->child_count].in = s->children[i].spi_in;
        seen->children[seen->child_count].wish = s->children[i].wish;
        seen->children[seen->child_count++].out = s->children[i].spi_out;
    }
}

static void look(const struct sim_host *host, struct view *view)
{
    struct visit v = {view, host};
    view->count = 0;
    if (host->engine)
        ike_walk(host->engine, visit, &v);
}

static const struct sim_sa *plane_find(const struct sim_host *host, uint32_t spi_in)
{
    for (const struct sim_sa *sa = host->sas; sa; sa = sa->next)
        if (!sa->gone && sa->child.spi_in == spi_in)
            return sa;
    return NULL;
}

/* ---- one child at its two ends */

static bool same_selectors(const struct selector *a, size_t a_count, const struct selector *b,
                           size_t b_count)
{
    if (a_count != b_count)
        return false;
    for (size_t i = 0; i < a_count; i++)
        if (!selector_equal(&a[i], &b[i]))
            return false;
    return true;
}

/* A stranger on the way can make one end believe in a NAT: either way of sending is received. */
static bool ends_fit(const struct ike_child *a, const struct ike_child *b, bool meddled)
{
    size_t len = a->keymat_len;
    return a->spi_out == b->spi_in && len == b->keymat_len && len > 0 &&
           memcmp(a->keymat_in, b->keymat_out, len) == 0 &&
           memcmp(a->keymat_out, b->keymat_in, len) == 0 && a->encr == b->encr &&
           a->encr_bits == b->encr_bits && a->integ == b->integ && a->esn == b->esn &&
           (meddled || a->udp == b->udp) && a->initiator != b->initiator &&
           same_selectors(a->local_ts, a->local_count, b->remote_ts, b->remote_count) &&
           same_selectors(a->remote_ts, a->remote_count, b->local_ts, b->local_count);
}

static bool children_fit(const struct seen *a, const struct seen *b)
{
    if (a->child_count != b->child_count)
        return no("%s has %zu children, %s %zu", a->host->name, a->child_count, b->host->name,
                  b->child_count);
    for (size_t i = 0; i < a->child_count; i++) {
        const struct sim_sa *near = plane_find(a->host, a->children[i].in);
        const struct sim_sa *far = plane_find(b->host, a->children[i].out);
        if (!near || !far)
            return no("child %08x of %s is not in both planes", a->children[i].in, a->host->name);
        if (near->child.tunnel != a->tunnel || far->child.tunnel != b->tunnel)
            return no("child %08x of %s belongs to another tunnel", a->children[i].in,
                      a->host->name);
        if (!ends_fit(&near->child, &far->child, world_of(a->host)->meddled))
            return no("child %08x of %s: keys or selectors differ", a->children[i].in,
                      a->host->name);
    }
    return true;
}

/* ---- settled */

/* One child for each of the selectors that this client wants. */
static bool wishes_granted(const struct world *w, const struct member *m, const struct seen *s)
{
    size_t wanted = 1u + m->host->conf.child_count;
    for (size_t wish = 0; wish < wanted; wish++) {
        size_t count = 0;
        for (size_t i = 0; i < s->child_count; i++)
            count += s->children[i].wish == wish;
        if (count != 1 && !(w->creates && wish == 0 && count > 1))
            return no("%s has %zu children of wish %zu", m->host->name, count, wish);
    }
    return true;
}

/* What the gateway has leased is what the client has. */
static bool addresses_fit(const struct member *m, const struct seen *near, const struct seen *far)
{
    const struct sim_host *host = m->host;
    if (!ip_equal(&near->ip4, &far->ip4) || !ip_equal(&near->ip6, &far->ip6) ||
        !ip_equal(&near->ip4, &host->net.ip4) || !ip_equal(&near->ip6, &host->net.ip6))
        return no("%s and %s do not agree on its addresses", host->name, m->gateway->name);
    if (host->net_ups != host->net_downs + 1)
        return no("%s: NET_UP %u times, NET_DOWN %u times", host->name, host->net_ups,
                  host->net_downs);
    return true;
}

static bool client_settled(const struct world *w, const struct member *m, const struct view *far)
{
    static struct view near;
    look(m->host, &near);
    if (near.count != 1 || near.at[0].state != IKE_STATE_ESTABLISHED)
        return no("%s has %zu IKE SAs%s%s", m->host->name, near.count,
                  near.count ? ", the first in " : "",
                  near.count ? ike_state_name(near.at[0].state) : "");
    const struct seen *s = &near.at[0];
    if (!wishes_granted(w, m, s))
        return false;
    if (sim_live_sas(m->host) != s->child_count)
        return no("%s has %zu children, and %zu SAs in the plane", m->host->name, s->child_count,
                  sim_live_sas(m->host));
    for (size_t i = 0; i < far->count; i++)
        if (far->at[i].spi_i == s->spi_i && far->at[i].spi_r == s->spi_r)
            return far->at[i].state == IKE_STATE_ESTABLISHED
                       ? children_fit(s, &far->at[i]) && addresses_fit(m, s, &far->at[i])
                       : no("the SA of %s is %s at %s", m->host->name,
                            ike_state_name(far->at[i].state), m->gateway->name);
    return no("%s does not know the SA of %s", m->gateway->name, m->host->name);
}

static bool gateway_settled(const struct world *w, const struct sim_host *gateway)
{
    static struct view far;
    size_t mine = 0, children = 0, leases = 0;
    look(gateway, &far);
    for (size_t i = 0; i < w->member_count; i++) {
        const struct member *m = &w->members[i];
        if (m->gateway != gateway)
            continue;
        mine++;
        if (!client_settled(w, m, &far))
            return false;
    }
    for (size_t i = 0; i < far.count; i++) {
        children += far.at[i].child_count;
        leases += (far.at[i].ip4.family != 0) + (size_t)(far.at[i].ip6.family != 0);
    }
    if (far.count != mine)
        return no("%s has %zu IKE SAs for %zu clients", gateway->name, far.count, mine);
    if (sim_live_sas(gateway) != children)
        return no("%s has %zu children, and %zu SAs in the plane", gateway->name, children,
                  sim_live_sas(gateway));
    if (lease_count(gateway->book) != leases)
        return no("%s holds %zu leases for %zu addresses", gateway->name,
                  lease_count(gateway->book), leases);
    return gateway->net_ups == gateway->net_downs + mine ||
           no("%s: NET_UP %u times, NET_DOWN %u times for %zu clients", gateway->name,
              gateway->net_ups, gateway->net_downs, mine);
}

bool judge_settled(struct sim *sim)
{
    const struct world *w = sim->world;
    for (size_t i = 0; i < w->gateway_count; i++)
        if (!gateway_settled(w, w->gateways[i]))
            return false;
    return true;
}

void judge_unsettled(struct world *w)
{
    bool settled = judge_settled(w->sim);
    SIM_CHECK(w->sim, settled, "it does not settle: %s", why);
}

/* ---- who may not stay */

struct away {
    const struct sim_host *gateway;
    size_t count;
};

static void count_away(void *context, const struct ike_status *s)
{
    struct away *away = context;
    away->count += s->tunnel && s->established && identity_equal(&s->peer, &away->gateway->away);
}

void judge_away(struct world *w)
{
    for (size_t i = 0; i < w->gateway_count; i++) {
        struct away away = {.gateway = w->gateways[i]};
        if (!away.gateway->engine || away.gateway->away.type == IDENTITY_NONE)
            continue;
        ike_walk(away.gateway->engine, count_away, &away);
        SIM_CHECK(w->sim, away.count == 0, "%s still has %zu tunnels of a peer that may not stay",
                  away.gateway->name, away.count);
    }
}

/* ---- all the time */

/* Two SAs for the same selectors of one tunnel are an overlap, and an overlap ends. */
static void check_generations(struct world *w, const struct sim_host *host)
{
    for (const struct sim_sa *sa = host->sas; sa; sa = sa->next) {
        if (sa->gone || w->sim->now < sa->added + OVERLAP * TIME_SECOND)
            continue;
        for (const struct sim_sa *old = sa->next; old; old = old->next)
            SIM_CHECK(w->sim,
                      old->gone || old->child.tunnel != sa->child.tunnel ||
                          !same_selectors(old->child.local_ts, old->child.local_count,
                                          sa->child.local_ts, sa->child.local_count) ||
                          !same_selectors(old->child.remote_ts, old->child.remote_count,
                                          sa->child.remote_ts, sa->child.remote_count),
                      "%s: SPI %08x is still there %d s after %08x came", host->name,
                      old->child.spi_in, OVERLAP, sa->child.spi_in);
    }
}

static void check_keys_differ(struct world *w, const struct sim_host *host)
{
    for (const struct sim_sa *a = host->sas; a; a = a->next) {
        size_t len = a->child.keymat_len;
        SIM_CHECK(w->sim, memcmp(a->child.keymat_in, a->child.keymat_out, len) != 0,
                  "%s: one key for both directions", host->name);
        for (const struct sim_sa *b = a->next; b; b = b->next)
            SIM_CHECK(w->sim,
                      memcmp(a->child.keymat_in, b->child.keymat_in, len) != 0 &&
                          memcmp(a->child.keymat_out, b->child.keymat_out, len) != 0,
                      "%s: SPIs %08x and %08x have the same keys", host->name, a->child.spi_in,
                      b->child.spi_in);
    }
}

void judge_always(struct world *w)
{
    for (size_t i = 0; i < w->member_count; i++) {
        const struct sim_host *host = w->members[i].host;
        size_t tunnels = host->conf.max_tunnels;
        struct ike_usage u;
        if (!host->engine)
            continue;
        ike_usage(host->engine, &u);
        SIM_CHECK(w->sim, ike_counters(host->engine)->illegal_moves == 0, "%s: an illegal move",
                  host->name);
        SIM_CHECK(w->sim,
                  u.sas <= tunnels + tunnels / 4 + 16 && u.children <= 3 * tunnels + 16 &&
                      u.half_open <= tunnels / 2 + 1 && u.actions == 0,
                  "%s holds %zu SAs, %zu children, %zu half-open, %zu actions", host->name, u.sas,
                  u.children, u.half_open, u.actions);
        if (!w->creates)
            check_generations(w, host);
    }
}

/* ---- the end */

static bool holds_nothing(const struct sim_host *host)
{
    struct ike_usage u = {0};
    if (host->engine)
        ike_usage(host->engine, &u);
    size_t leases = host->book ? lease_count(host->book) : 0;
    if (u.sas || u.children || u.messages || u.timers || u.half_open || u.actions || u.fragments ||
        sim_live_sas(host) || leases || host->leases)
        return no("%s holds %zu SAs, %zu children, %zu messages, %zu timers, %zu half-open, %zu in "
                  "the plane, %zu leases (%u)",
                  host->name, u.sas, u.children, u.messages, u.timers, u.half_open,
                  sim_live_sas(host), leases, host->leases);
    if (host->net_ups != host->net_downs)
        return no("%s: NET_UP %u times, NET_DOWN %u times", host->name, host->net_ups,
                  host->net_downs);
    return true;
}

bool judge_empty(struct sim *sim)
{
    const struct world *w = sim->world;
    for (size_t i = 0; i < w->member_count; i++)
        if (!holds_nothing(w->members[i].host))
            return false;
    return true;
}

void judge_counters(struct world *w, const struct sim_host *host)
{
    const struct ike_counters *c = ike_counters(host->engine);
    struct tally *t = w->tally;
    t->integrity += c->drop_integrity;
    t->replayed += c->replayed;
    t->fragmented += c->in_fragmented;
    t->cookies += c->cookies_asked;
    t->puzzles += c->puzzles_asked;
    t->crash_told += c->crash_told;
    t->crash_heard += c->crash_heard;
    t->strays += c->strays_heard;
}

/* Each packet had an SA or not; each copy of one that was sent had an end, and only one. */
static void check_packets(struct world *w)
{
    const uint64_t *p = w->packets;
    uint64_t ended = p[LOST] + p[NO_SPI] + p[TOO_LATE] + p[WRONG_SOURCE] + p[DELIVERED];
    SIM_CHECK(
        w->sim, p[OFFERED] == p[NO_SA] + p[SENT] && w->copies >= p[SENT] && w->copies == ended,
        "a packet was not counted: %llu offered, %llu without an SA, %llu sent, %llu copies, "
        "%llu ends",
        (unsigned long long)p[OFFERED], (unsigned long long)p[NO_SA], (unsigned long long)p[SENT],
        (unsigned long long)w->copies, (unsigned long long)ended);
}

void judge_end(struct world *w)
{
    bool empty = judge_empty(w->sim);
    SIM_CHECK(w->sim, empty, "not all was given back: %s", why);
    check_packets(w);
    for (size_t i = 0; i < w->member_count; i++) {
        check_keys_differ(w, w->members[i].host);
        if (w->members[i].host->engine)
            judge_counters(w, w->members[i].host);
    }
}
