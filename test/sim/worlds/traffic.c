/* Inner packets. Each is offered where policy protects it, and ends in exactly one way, which is
 * counted. The rules are those of esp/: the newest SA that covers the packet and is ready sends;
 * what arrives must belong to the SA's selectors; a removed SA still receives for a while. */
#include "worlds.h"

struct esp { /* stands in a datagram's octets */
    uint64_t mark;
    uint32_t spi;
    uint8_t key_len, key[IKE_KEYMAT_MAX];
    uint64_t number, tunnel;
    struct ip source, destination;
    uint8_t protocol;
    uint16_t port;
};
#define MARK UINT64_C(0x657370657370657f)

bool traffic_is_esp(const struct sim_datagram *d)
{
    struct esp p;
    if (d->len != sizeof(p) || !d->sender)
        return false;
    memcpy(&p.mark, d->octets, sizeof(p.mark));
    return p.mark == MARK;
}

static void ends(struct world *w, enum fate fate, const struct sim_host *host, const struct esp *p)
{
    static const char *const words[FATES] = {"offered",
                                             "has no SA",
                                             "sent",
                                             "lost on the way",
                                             "has an SPI that is not there",
                                             "comes too late",
                                             "comes from the wrong source",
                                             "delivered"};
    w->packets[fate]++;
    w->tally->delivered += fate == DELIVERED;
    if (fate != DELIVERED && fate != SENT)
        tell(w, "%s: packet %llu %s (SPI %08x)", host->name, (unsigned long long)p->number,
             words[fate], p->spi);
    SIM_CHECK(w->sim, !w->strict || fate == SENT || fate == DELIVERED,
              "%s: packet %llu %s (SPI %08x), and the weather is fine", host->name,
              (unsigned long long)p->number, words[fate], p->spi);
}

void traffic_lost(struct world *w, const struct sim_datagram *d)
{
    struct esp p;
    memcpy(&p, d->octets, sizeof(p));
    ends(w, LOST, d->sender, &p);
}

static bool any_matches(const struct selector *s, size_t count, const struct ip *ip,
                        const struct esp *p)
{
    for (size_t i = 0; i < count; i++)
        if (selector_matches(&s[i], ip, p->protocol, p->port))
            return true;
    return false;
}

/* Both ports are the same, whoever sends. */
static bool covers(const struct sim_sa *sa, const struct ip *local, const struct ip *remote,
                   const struct esp *p)
{
    return any_matches(sa->child.local_ts, sa->child.local_count, local, p) &&
           any_matches(sa->child.remote_ts, sa->child.remote_count, remote, p);
}

static struct sim_sa *route(const struct sim_host *host, const struct esp *p)
{
    struct sim_sa *waiting = NULL;
    for (struct sim_sa *sa = host->sas; sa; sa = sa->next) {
        if (sa->gone || !covers(sa, &p->source, &p->destination, p))
            continue;
        if (!sa->child.out_waits)
            return sa;
        waiting = sa;
    }
    return waiting;
}

/* Sent, and nothing heard for a while: a fact for the engine, once a second. */
static void tell_engine(struct sim_host *host, struct sim_sa *sa, uint32_t kind)
{
    struct ike_fact fact = {.kind = kind, .spi_in = sa->child.spi_in, .tunnel = sa->child.tunnel};
    if (host->sim->now < sa->told + TIME_SECOND)
        return;
    sa->told = host->sim->now;
    ike_fact(host->engine, host->sim->now, &fact);
    sim_drain(host);
}

static void post(struct sim_host *host, const struct sim_sa *sa, const struct esp *p)
{
    struct sim_datagram *d = calloc(1, sizeof(*d) + sizeof(*p));
    assert_non_null(d);
    d->sent = host->sim->now;
    d->sender = host;
    d->from = sa->child.path.local;
    d->to = sa->child.path.remote;
    if (!sa->child.udp)
        d->from.port = d->to.port = 0;
    d->len = sizeof(*p);
    memcpy(d->octets, p, sizeof(*p));
    net_carry(host->sim, d);
    free(d);
}

static void offer(struct sim_host *host, const struct ip *from, const struct ip *to, unsigned which)
{
    static const struct {
        uint8_t protocol;
        uint16_t port;
    } kinds[] = {{17, 4711}, {17, 5005}, {6, 443}, {6, 80}, {1, 0}};
    struct world *w = world_of(host);
    struct esp p = {.mark = MARK,
                    .number = ++w->packets[OFFERED],
                    .source = *from,
                    .destination = *to,
                    .protocol = kinds[which % ARRAY_LEN(kinds)].protocol,
                    .port = kinds[which % ARRAY_LEN(kinds)].port};
    struct sim_sa *sa = route(host, &p);
    w->tally->packets++;
    if (!sa) {
        ends(w, NO_SA, host, &p);
        return;
    }
    p.spi = sa->child.spi_out;
    p.tunnel = sa->child.tunnel;
    p.key_len = sa->child.keymat_len;
    memcpy(p.key, sa->child.keymat_out, p.key_len);
    ends(w, SENT, host, &p);
    post(host, sa, &p);
    if (host->sim->now - sa->heard > TIME_SECOND)
        tell_engine(host, sa, IKE_FACT_SENT);
}

static struct sim_sa *find(const struct sim_host *host, uint32_t spi)
{
    for (struct sim_sa *sa = host->sas; sa; sa = sa->next)
        if (sa->child.spi_in == spi)
            return sa;
    return NULL;
}

/* Whose SPI is not there: said at most once a second. */
static void tell_unknown(struct sim_host *host, const struct sim_datagram *d, uint32_t spi)
{
    struct member *m = member_of(host);
    struct ike_fact fact = {.kind = IKE_FACT_UNKNOWN_SPI, .spi_in = spi, .remote = d->from};
    if (!host->engine || host->sim->now < m->unknown_told + TIME_SECOND)
        return;
    m->unknown_told = host->sim->now;
    ike_fact(host->engine, host->sim->now, &fact);
    sim_drain(host);
}

/* The newest packet says where the peer is; said at once when that is another place. */
static void tell_heard(struct sim_host *host, struct sim_sa *sa, const struct sim_datagram *d,
                       const struct esp *p)
{
    bool moved = p->number > sa->highest && sa->child.udp &&
                 !endpoint_equal(&d->from, &sa->child.path.remote);
    if (p->number > sa->highest)
        sa->highest = p->number;
    if (!moved) {
        tell_engine(host, sa, IKE_FACT_HEARD);
        return;
    }
    struct ike_fact fact = {.kind = IKE_FACT_HEARD,
                            .spi_in = sa->child.spi_in,
                            .tunnel = sa->child.tunnel,
                            .remote = d->from};
    ike_fact(host->engine, host->sim->now, &fact);
    sim_drain(host);
}

void traffic_arrive(struct sim_host *host, const struct sim_datagram *d)
{
    struct world *w = world_of(host);
    struct esp p;
    memcpy(&p, d->octets, sizeof(p));
    struct sim_sa *sa = host->engine ? find(host, p.spi) : NULL;
    if (!sa || (sa->gone && w->sim->now > sa->until)) {
        ends(w, sa ? TOO_LATE : NO_SPI, host, &p);
        if (!sa)
            tell_unknown(host, d, p.spi);
        return;
    }
    SIM_CHECK(w->sim,
              p.key_len == sa->child.keymat_len &&
                  memcmp(p.key, sa->child.keymat_in, p.key_len) == 0,
              "%s: the keys of SPI %08x differ at the two ends", host->name, p.spi);
    if (!covers(sa, &p.destination, &p.source, &p)) {
        ends(w, WRONG_SOURCE, host, &p);
        return;
    }
    ends(w, DELIVERED, host, &p);
    sa->child.out_waits = false;
    sa->heard = w->sim->now;
    if (!sa->gone)
        tell_heard(host, sa, d, &p);
}

/* One packet each way, of a family that the tunnel carries. */
static void both_ways(struct world *w, struct member *m)
{
    struct ip inner = m->site ? m->net4 : m->host->net.ip4, far;
    unsigned which = w->wishes ? dice(w, 5) : 0;
    assert_true(ip_parse("10.200.0.1", &far));
    if (inner.family == 0 || dice(w, 3) == 0) {
        struct ip six = m->site ? m->net6 : m->host->net.ip6;
        if (six.family) {
            inner = six;
            assert_true(ip_parse("fd00:200::1", &far));
        }
    }
    if (inner.family == 0)
        return;
    if (m->site)
        inner = ip_add(inner, 1 + dice(w, 100));
    offer(m->host, &inner, &far, which);
    if (m->gateway->engine)
        offer(m->gateway, &far, &inner, which);
}

struct beat {
    struct sim_call call;
    time_us interval;
};

static void beat(struct sim *sim, void *data);

static void again(struct sim *sim, time_us interval)
{
    struct beat *b = malloc(sizeof(*b));
    assert_non_null(b);
    *b = (struct beat){{beat}, interval};
    sim_schedule(sim, sim->now + interval, SIM_CALL, NULL, b);
}

static void beat(struct sim *sim, void *data)
{
    struct world *w = sim->world;
    const struct beat *b = data;
    if (sim->traffic != b->interval)
        return; /* another rhythm began */
    for (size_t i = 0; i < w->member_count; i++)
        if (w->members[i].gateway && w->members[i].host->net_ups > w->members[i].host->net_downs)
            both_ways(w, &w->members[i]);
    again(sim, b->interval);
}

void traffic_start(struct world *w, time_us interval)
{
    w->sim->traffic = interval;
    if (interval)
        again(w->sim, interval);
}
