#include "sim.h"

#include "wire/wire.h"

bool sim_lost(struct sim *sim)
{
    return sim_below(&sim->network_state, 1000) < sim->link.loss;
}

time_us sim_delay(struct sim *sim)
{
    const struct sim_link *link = &sim->link;
    uint64_t span = link->delay_max - link->delay_min + 1;
    time_us delay = link->delay_min + sim_random(&sim->network_state) % span;
    if (sim_below(&sim->network_state, 1000) < link->late)
        delay += sim_random(&sim->network_state) % (link->late_max + 1);
    return delay;
}

static uint16_t nat_port(const struct sim_host *host, uint16_t port)
{
    return (uint16_t)(port + host->nat_shift);
}

static struct ip public_ip(const struct sim_host *host)
{
    if (host->uplink_count)
        return host->uplinks[0].nat_ip.family ? host->uplinks[0].nat_ip : host->uplinks[0].ip;
    return host->nat_ip.family ? host->nat_ip : host->ip;
}

struct ike_path sim_path(const struct sim_host *from, const struct sim_host *to, uint16_t port)
{
    return (struct ike_path){.local = {from->uplink_count ? from->uplinks[0].ip : from->ip, port},
                             .remote = {public_ip(to), port},
                             .port = port == 500 ? IKE_PORT_500 : IKE_PORT_NATT};
}

/* FNV-1a over what was sent, where, when and what became of it. */
static void hash(struct sim *sim, const void *data, size_t len)
{
    const uint8_t *at = data;
    for (size_t i = 0; i < len; i++)
        sim->trace_hash = (sim->trace_hash ^ at[i]) * 0x100000001b3;
}

static void trace(struct sim *sim, const struct sim_datagram *d, const char *fate)
{
    struct wire_header h;
    struct bytes octets = {d->octets, d->len};
    char name[WIRE_NAME_TEXT], from[ADDR_TEXT], to[ADDR_TEXT], first[WIRE_NAME_TEXT];
    hash(sim, &sim->now, sizeof(sim->now));
    hash(sim, d->octets, d->len);
    hash(sim, fate, strlen(fate));
    if (!sim->trace)
        return;
    printf("%9.3f  %s > %s  ", (double)sim->now / 1e6, endpoint_print(&d->from, from),
           endpoint_print(&d->to, to));
    if (wire_header_read(octets, &h) != 0)
        printf("%zu octets, not IKE", d->len);
    else
        printf("%s %s id %u, %zu octets, SPI %08x../%08x.. first %s",
               wire_exchange_name(h.exchange, name),
               h.flags & FLAG_RESPONSE ? "response" : "request", h.message_id, d->len,
               (unsigned)(h.spi_i >> 32), (unsigned)(h.spi_r >> 32),
               wire_payload_name(h.next_payload, first));
    printf("  %s\n", fate);
}

/* Whose address is this; NULL: nobody's. *port becomes the host's own. */
static struct sim_host *owner(struct sim *sim, const struct endpoint *to, uint16_t *port)
{
    struct sim_host *found = NULL; /* behind one NAT there may be several */
    for (size_t i = 0; i < sim->host_count; i++) {
        struct sim_host *h = sim->hosts[i];
        bool nat = h->nat_ip.family != 0;
        struct endpoint own = *to;
        if (h->uplink_count > 0) {
            if (!sim_uplink_in(h, &own))
                continue;
            *port = own.port;
            return h;
        }
        if (!ip_equal(nat ? &h->nat_ip : &h->ip, &to->ip))
            continue;
        uint16_t behind = nat ? (uint16_t)(to->port - h->nat_shift) : to->port;
        bool exact = !nat || behind == 500 || behind == 4500;
        if (found && !exact)
            continue;
        found = h;
        *port = behind;
        if (exact)
            break;
    }
    return found;
}

static struct sim_datagram *copy(const struct sim_datagram *d)
{
    struct sim_datagram *c = malloc(sizeof(*c) + d->len);
    assert_non_null(c);
    memcpy(c, d, sizeof(*c) + d->len);
    c->next = NULL;
    return c;
}

static void travel(struct sim *sim, const struct sim_datagram *d)
{
    uint16_t port;
    struct sim_host *to = owner(sim, &d->to, &port);
    if (sim_lost(sim) || !to) {
        trace(sim, d, to ? "lost" : "to nobody");
        return;
    }
    bool twice = sim_below(&sim->network_state, 1000) < sim->link.duplicate;
    trace(sim, d, twice ? "twice" : "");
    for (int i = 0; i <= twice; i++)
        sim_schedule(sim, sim->now + sim_delay(sim), SIM_DATAGRAM, to, copy(d));
}

static void launch(struct sim *sim, struct sim_datagram *d)
{
    if (sim->carry) {
        sim->carry(sim, d);
        free(d);
        return;
    }
    if (sim->keep_log) {
        *sim->log_end = copy(d);
        sim->log_end = &(*sim->log_end)->next;
        sim->log_count++;
    }
    if (sim->filter && sim->filter(sim, d) == SIM_DROP)
        trace(sim, d, "dropped");
    else
        travel(sim, d);
    free(d);
}

static struct sim_datagram *make(struct sim *sim, struct bytes octets)
{
    struct sim_datagram *d = calloc(1, sizeof(*d) + octets.len);
    assert_non_null(d);
    d->sent = sim->now;
    d->len = octets.len;
    if (octets.len > 0)
        memcpy(d->octets, octets.at, octets.len);
    return d;
}

void sim_send(struct sim_host *from, const struct ike_path *path, struct bytes datagram)
{
    struct sim_datagram *d = make(from->sim, datagram);
    bool any = ip_is_any(&path->local.ip); /* the socket chooses */
    SIM_CHECK(from->sim,
              any || from->sim->hosts_move || from->uplink_count > 0 ||
                  ip_equal(&path->local.ip, &from->ip),
              "%s sends from another's address", from->name);
    SIM_CHECK(from->sim, (path->port == IKE_PORT_500) == (path->local.port == 500),
              "%s: port and socket disagree", from->name);
    d->sender = from;
    d->from = (struct endpoint){any ? from->ip : path->local.ip, path->local.port};
    d->to = path->remote;
    d->marked = path->port == IKE_PORT_NATT;
    if (from->nat_ip.family) {
        d->from.ip = from->nat_ip;
        d->from.port = nat_port(from, d->from.port);
    }
    from->sent++;
    if (from->uplink_count > 0 && !sim_uplink_out(from, &d->from)) {
        trace(from->sim, d, "from nowhere");
        free(d);
        return;
    }
    launch(from->sim, d);
}

void sim_inject(struct sim *sim, const struct endpoint *from, const struct endpoint *to,
                struct bytes datagram)
{
    struct sim_datagram *d = make(sim, datagram);
    d->from = *from;
    d->to = *to;
    d->marked = from->port != 500 && to->port != 500;
    launch(sim, d);
}

void sim_deliver(struct sim_host *host, struct sim_datagram *d)
{
    uint16_t port;
    if (owner(host->sim, &d->to, &port) != host)
        return; /* the NAT has forgotten it */
    bool keepalive = d->len == 1;
    if (port != 500 && port != 4500)
        return;
    if ((port == 4500) != d->marked && !keepalive) {
        host->sim->marker_faults++; /* would be taken for ESP, or for an IKE header of zeros */
        return;
    }
    if (host->on_datagram)
        host->on_datagram(host, d);
    if (!host->engine || keepalive)
        return;
    struct endpoint own = d->to;
    if (host->uplink_count > 0)
        (void)sim_uplink_in(host, &own);
    else
        own = (struct endpoint){host->ip, port};
    struct ike_path path = {
        .local = own, .remote = d->from, .port = port == 500 ? IKE_PORT_500 : IKE_PORT_NATT};
    ike_input(host->engine, host->sim->now, &path, (struct bytes){d->octets, d->len});
}

void sim_log_clear(struct sim *sim)
{
    while (sim->log) {
        struct sim_datagram *d = sim->log;
        sim->log = d->next;
        free(d);
    }
    sim->log_end = &sim->log;
    sim->log_count = 0;
}
