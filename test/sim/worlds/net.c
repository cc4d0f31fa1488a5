/* How datagrams travel in a random world. A datagram is translated where it leaves its NAT box, may
 * be lost, doubled, damaged, late, or run into a direction that is cut; at its arrival the address
 * says whose it is. */
#include "worlds.h"

#include "wire/wire.h"

struct journey {
    struct sim_call call;
    struct sim_datagram *datagram;
};

static void hash(struct sim *sim, const void *data, size_t len)
{
    const uint8_t *at = data;
    for (size_t i = 0; i < len; i++)
        sim->trace_hash = (sim->trace_hash ^ at[i]) * 0x100000001b3;
}

static void note(struct world *w, const struct sim_datagram *d, const char *fate)
{
    hash(w->sim, &w->sim->now, sizeof(w->sim->now));
    hash(w->sim, d->octets, d->len);
    hash(w->sim, fate, strlen(fate));
    if (w->sim->trace)
        tell_datagram(w, d, fate);
}

static struct sim_datagram *copy(const struct sim_datagram *d)
{
    struct sim_datagram *c = malloc(sizeof(*c) + d->len);
    assert_non_null(c);
    memcpy(c, d, sizeof(*c) + d->len);
    return c;
}

/* ---- NAT */

static bool alive(const struct world *w, const struct nat *nat, const struct mapping *m)
{
    return m->port != 0 && w->sim->now - m->used <= nat->life;
}

static struct mapping *by_port(struct world *w, struct nat *nat, uint16_t port)
{
    for (size_t i = 0; i < MAPPINGS; i++)
        if (nat->at[i].port == port && alive(w, nat, &nat->at[i]))
            return &nat->at[i];
    return NULL;
}

static uint16_t free_port(struct world *w, struct nat *nat, uint16_t wish)
{
    uint16_t port = wish;
    if (!nat->keeps_ports)
        port = 0;
    while (port == 0 || by_port(w, nat, port))
        port = (uint16_t)(1024 + sim_below(&w->sim->network_state, 60000));
    return port;
}

static struct mapping *mapping(struct world *w, struct nat *nat, const struct endpoint *inside)
{
    struct mapping *oldest = &nat->at[0];
    for (size_t i = 0; i < MAPPINGS; i++) {
        struct mapping *m = &nat->at[i];
        if (alive(w, nat, m) && endpoint_equal(&m->inside, inside))
            return m;
        if (!alive(w, nat, m) || (alive(w, nat, oldest) && m->used < oldest->used))
            oldest = m;
    }
    uint16_t port = free_port(w, nat, inside->port);
    *oldest = (struct mapping){.inside = *inside, .port = port, .used = w->sim->now};
    return oldest;
}

/* Plain ESP has no ports to be told apart by. */
static bool leave(struct world *w, struct nat *nat, struct sim_datagram *d)
{
    if (traffic_is_esp(d) && d->from.port == 0)
        return false;
    struct mapping *m = mapping(w, nat, &d->from);
    m->used = w->sim->now;
    m->peer = d->to;
    d->from = (struct endpoint){nat->outside, m->port};
    return true;
}

void net_forget(struct nat *nat)
{
    memset(nat->at, 0, sizeof(nat->at));
}

/* ---- on the way */

static bool is_cut(const struct world *w, const struct sim_host *from, const struct sim_host *to)
{
    for (size_t i = 0; from && i < CUTS; i++)
        if (w->cuts[i].from == from && w->cuts[i].to == to && w->sim->now < w->cuts[i].until)
            return true;
    return false;
}

static struct nat *nat_at(struct world *w, const struct ip *ip)
{
    for (size_t i = 0; i < w->nat_count; i++)
        if (ip_equal(&w->nats[i].outside, ip))
            return &w->nats[i];
    return NULL;
}

/* Whose it is; *at becomes the host's own address and port. */
static struct sim_host *owner(struct world *w, const struct sim_datagram *d, struct endpoint *at)
{
    struct nat *nat = nat_at(w, &d->to.ip);
    const struct mapping *m = nat ? by_port(w, nat, d->to.port) : NULL;
    if (nat && (!m || (nat->strict && !endpoint_equal(&m->peer, &d->from))))
        return NULL;
    const struct endpoint *to = m ? &m->inside : &d->to;
    *at = *to;
    for (size_t i = 0; i < w->member_count; i++) {
        const struct place *p = place_of(&w->members[i], &to->ip);
        if (p && p->nat == nat && !p->dead)
            return w->members[i].host;
    }
    return NULL;
}

static void lose(struct world *w, const struct sim_datagram *d, const char *fate)
{
    note(w, d, fate);
    if (traffic_is_esp(d))
        traffic_lost(w, d);
}

static bool is_request(const struct sim_datagram *d)
{
    enum { FLAGS_AT = 19 };
    return d->len > FLAGS_AT && !(d->octets[FLAGS_AT] & FLAG_RESPONSE);
}

static void give(struct sim_host *host, const struct sim_datagram *d, const struct endpoint *at)
{
    struct sim *sim = host->sim;
    bool keepalive = d->len == 1;
    uint16_t port = at->port;
    if (!host->engine || keepalive || (port != 500 && port != 4500))
        return;
    if ((port == 4500) != d->marked) { /* an answer to where a stranger claimed to be may do that */
        const struct world *w = sim->world;
        SIM_CHECK(sim, !d->sender || d->damaged || !is_request(d) || w->meddled,
                  "%s: IKE is taken for ESP", host->name);
        return;
    }
    struct ike_path path = {
        .local = *at, .remote = d->from, .port = port == 500 ? IKE_PORT_500 : IKE_PORT_NATT};
    ike_input(host->engine, sim->now, &path, (struct bytes){d->octets, d->len});
    sim_drain(host);
}

static void arrive(struct sim *sim, void *data)
{
    struct world *w = sim->world;
    struct sim_datagram *d = ((struct journey *)data)->datagram;
    struct endpoint at = {0};
    struct sim_host *host = owner(w, d, &at);
    if (!host || is_cut(w, d->sender, host))
        lose(w, d, host ? "arrives at a cut" : "arrives at nobody's");
    else if (traffic_is_esp(d))
        traffic_arrive(host, d);
    else
        give(host, d, &at);
    free(d);
}

/* A few bits turn over. What IKE protects must not notice more than that something was lost. */
static void damage(struct world *w, struct sim_datagram *d)
{
    uint64_t *state = &w->sim->network_state;
    if (traffic_is_esp(d) || d->len == 0 || sim_below(state, 1000) >= w->corrupt)
        return;
    for (unsigned i = 0, n = 1 + sim_below(state, 3); i < n; i++)
        d->octets[sim_below(state, (unsigned)d->len)] ^= (uint8_t)(1 << sim_below(state, 8));
    d->damaged = true;
    w->tally->corrupted++;
}

static void keep(struct world *w, const struct sim_datagram *d)
{
    uint64_t at = w->seen++;
    if (traffic_is_esp(d) || d->len < 2)
        return;
    if (at >= RING) /* each datagram so far has the same chance to be there */
        at = sim_random(&w->sim->network_state) % w->seen;
    if (at >= RING)
        return;
    free(w->ring[at]);
    w->ring[at] = copy(d);
}

static void depart(struct world *w, const struct sim_datagram *d)
{
    struct journey *j = malloc(sizeof(*j));
    assert_non_null(j);
    *j = (struct journey){{arrive}, copy(d)};
    damage(w, j->datagram);
    sim_schedule(w->sim, w->sim->now + sim_delay(w->sim), SIM_CALL, NULL, j);
}

/* IKE only: that the data plane keeps its packets small enough is not looked at here. */
static bool is_too_large(const struct world *w, const struct sim_datagram *d)
{
    size_t around = (d->to.ip.family == 6 ? 40u : 20u) + 8 + (d->marked && d->len > 1 ? 4 : 0);
    return w->mtu && !traffic_is_esp(d) && d->len + around > w->mtu;
}

/* Why it does not even begin to travel, or NULL; behind a NAT box its source becomes another. */
static const char *stays(struct world *w, struct sim_datagram *d)
{
    struct place *p = d->sender ? place_of(member_of(d->sender), &d->from.ip) : NULL;
    if (d->sender && !p)
        return "cannot leave: the address is gone";
    if (p && p->dead)
        return "lost: the link is dead";
    if (p && p->nat && !leave(w, p->nat, d))
        return "lost at the NAT box";
    if (is_too_large(w, d))
        return "lost: too large";
    return sim_lost(w->sim) ? "lost" : NULL;
}

void net_carry(struct sim *sim, const struct sim_datagram *datagram)
{
    struct world *w = sim->world;
    struct sim_datagram *d = copy(datagram);
    w->tally->datagrams++;
    if (!traffic_is_esp(d))
        watch_sent(w, d);
    const char *why = stays(w, d);
    if (why) {
        w->copies += traffic_is_esp(d);
        lose(w, d, why);
    } else {
        bool twice = sim_below(&sim->network_state, 1000) < sim->link.duplicate;
        w->copies += traffic_is_esp(d) ? 1u + twice : 0;
        note(w, d, twice ? "twice" : "");
        keep(w, d);
        for (int i = 0; i <= twice; i++)
            depart(w, d);
    }
    free(d);
}

void net_calm(struct world *w)
{
    w->sim->link = sim_good_link;
    w->corrupt = 0;
    memset(w->cuts, 0, sizeof(w->cuts));
    for (size_t i = 0; i < w->nat_count; i++)
        w->nats[i].life = 180 * TIME_SECOND;
}

void net_free(struct world *w)
{
    struct sim *sim = w->sim;
    for (size_t i = 0; i < RING; i++)
        free(w->ring[i]);
    for (size_t i = 0; i < sim->heap_count; i++)
        if (sim->heap[i].kind == SIM_CALL && ((struct sim_call *)sim->heap[i].data)->run == arrive)
            free(((struct journey *)sim->heap[i].data)->datagram);
}
