/* The data plane's rules that matter to IKE (esp/esp.h): the newest SA sends, one that waits only
 * when it was heard or nothing else is left, and then the oldest of them; a removed SA still
 * receives for a while. */
#include "sim.h"

#define LINGER (10 * TIME_SECOND)

void sim_plane_add(struct sim_host *host, const struct ike_child *child)
{
    for (struct sim_sa *sa = host->sas; sa; sa = sa->next)
        SIM_CHECK(host->sim, sa->child.spi_in != child->spi_in, "%s: SPI %08x twice", host->name,
                  child->spi_in);
    SIM_CHECK(host->sim, child->keymat_len > 0 && child->local_count > 0 && child->remote_count > 0,
              "%s: a child without keys or selectors", host->name);
    struct sim_sa *sa = calloc(1, sizeof(*sa));
    assert_non_null(sa);
    *sa = (struct sim_sa){.next = host->sas, .child = *child, .until = TIME_NEVER};
    sa->added = sa->heard = host->sim->now;
    host->sas = sa;
    if (host->sim->trace)
        printf("%9.3f  %s: add in %08x out %08x%s\n", (double)host->sim->now / 1e6, host->name,
               child->spi_in, child->spi_out, child->out_waits ? ", waits" : "");
}

void sim_plane_del(struct sim_host *host, const struct ike_esp_del *del)
{
    for (struct sim_sa *sa = host->sas; sa; sa = sa->next) {
        if (sa->child.spi_in != del->spi_in)
            continue;
        SIM_CHECK(host->sim, !sa->gone, "%s: SPI %08x deleted twice", host->name, del->spi_in);
        sa->gone = true;
        if (host->sim->trace)
            printf("%9.3f  %s: del in %08x%s\n", (double)host->sim->now / 1e6, host->name,
                   del->spi_in, del->linger ? ", lingers" : "");
        sa->until = host->sim->now + (del->linger ? LINGER : 0);
        return;
    }
    SIM_CHECK(host->sim, false, "%s deletes SPI %08x, which is not there", host->name, del->spi_in);
}

void sim_plane_move(struct sim_host *host, const struct ike_net *net)
{
    for (struct sim_sa *sa = host->sas; sa; sa = sa->next) {
        if (sa->child.tunnel != net->tunnel)
            continue;
        sa->child.path = net->path;
        sa->child.udp = net->udp;
    }
}

void sim_plane_free(struct sim_host *host)
{
    while (host->sas) {
        struct sim_sa *sa = host->sas;
        host->sas = sa->next;
        free(sa);
    }
}

struct sim_sa *sim_active(const struct sim_host *host)
{
    struct sim_sa *waiting = NULL;
    for (struct sim_sa *sa = host->sas; sa; sa = sa->next) {
        if (sa->gone)
            continue;
        if (!sa->child.out_waits)
            return sa;
        waiting = sa;
    }
    return waiting;
}

size_t sim_live_sas(const struct sim_host *host)
{
    size_t count = 0;
    for (const struct sim_sa *sa = host->sas; sa; sa = sa->next)
        count += !sa->gone;
    return count;
}

static void send_packet(struct sim_host *from, struct sim_host *to)
{
    struct sim *sim = from->sim;
    const struct sim_sa *sa = sim_active(from);
    if (!sa || sim_lost(sim))
        return;
    struct endpoint seen = sa->child.path.local;
    if (sim->packets_take_paths) {
        from->packets_sent++;
        if (!sim_uplink_out(from, &seen))
            return;
    }
    struct sim_packet *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    p->spi = sa->child.spi_out;
    p->key_len = sa->child.keymat_len;
    memcpy(p->key, sa->child.keymat_out, p->key_len);
    p->from = from;
    p->from_tunnel = sa->child.tunnel;
    p->seen = seen;
    p->to = sa->child.path.remote;
    from->packets_sent += !sim->packets_take_paths;
    sim_schedule(sim, sim->now + sim_delay(sim), SIM_PACKET, to, p);
}

/* Test packets both ways between the first two hosts, again and again. */
void sim_plane_traffic(struct sim *sim)
{
    if (sim->host_count >= 2) {
        send_packet(sim->hosts[0], sim->hosts[1]);
        send_packet(sim->hosts[1], sim->hosts[0]);
    }
    if (sim->traffic)
        sim_schedule(sim, sim->now + sim->traffic, SIM_TRAFFIC, NULL, NULL);
}

static struct sim_sa *find(const struct sim_host *host, uint32_t spi)
{
    for (struct sim_sa *sa = host->sas; sa; sa = sa->next)
        if (sa->child.spi_in == spi)
            return sa;
    return NULL;
}

/* It had ended for good, with its tunnel, before this one came in another tunnel. */
static bool is_of_dead_tunnel(const struct sim_sa *sa, const struct sim_sa *later)
{
    return sa && sa->gone && sa->child.tunnel != later->child.tunnel && sa->until < later->added;
}

/* Does this host still have a living SA that belongs together with one of the sender's tunnel? If
 * not, the tunnel itself came to its end, and what was under way is nobody's loss. A sender that
 * has not noticed, and connects a second time beside it, goes on as the same tunnel. */
static bool still_paired(const struct sim_host *host, const struct sim_packet *packet,
                         const struct sim_sa *sa)
{
    for (const struct sim_sa *mine = host->sas; mine; mine = mine->next) {
        const struct sim_sa *theirs = mine->gone ? NULL : find(packet->from, mine->child.spi_out);
        if (theirs && theirs->child.tunnel == packet->from_tunnel && !is_of_dead_tunnel(sa, mine))
            return true;
    }
    return false;
}

void sim_plane_packet(struct sim_host *host, const struct sim_packet *packet)
{
    struct sim *sim = host->sim;
    struct sim_sa *sa = find(host, packet->spi);
    struct endpoint own = packet->to;
    if (sim->packets_take_paths && !sim_uplink_in(host, &own))
        return;
    if (sa && (!sa->gone || sim->now <= sa->until)) {
        SIM_CHECK(sim,
                  packet->key_len == sa->child.keymat_len &&
                      memcmp(packet->key, sa->child.keymat_in, packet->key_len) == 0,
                  "%s: the keys of SPI %08x differ", host->name, packet->spi);
        sa->child.out_waits = false;
        host->packets_opened++;
        bool moved =
            sim->packets_take_paths && !endpoint_equal(&packet->seen, &sa->child.path.remote);
        if (host->engine && !sa->gone &&
            (moved || sim->now >= host->last_heard_fact + TIME_SECOND)) {
            struct ike_fact fact = {.kind = IKE_FACT_HEARD,
                                    .spi_in = packet->spi,
                                    .tunnel = sa->child.tunnel,
                                    .sent = true};
            if (moved)
                fact.remote = packet->seen;
            host->last_heard_fact = sim->now;
            ike_fact(host->engine, sim->now, &fact);
        }
        return;
    }
    if (!still_paired(host, packet, sa))
        return;
    host->packets_lost++;
    SIM_CHECK(sim, sim->packets_may_be_lost, "%s cannot open a packet for SPI %08x (%s)",
              host->name, packet->spi, sa ? "deleted" : "never heard of");
}
