/* Looking at engines and planes from outside. */
#include "sim.h"

static void visit(void *context, const struct ike_status *status)
{
    struct sim_view *view = context;
    if (status->state == IKE_STATE_DELETING && status->child_count == 0)
        return;
    view->count++;
    view->established += status->state == IKE_STATE_ESTABLISHED;
    view->children += status->child_count;
    view->last = *status;
    view->last.children = NULL;
}

void sim_view(const struct sim_host *host, struct sim_view *view)
{
    *view = (struct sim_view){0};
    ike_walk(host->engine, visit, view);
}

static const struct sim_sa *only_sa(const struct sim_host *host)
{
    return sim_live_sas(host) == 1 ? sim_active(host) : NULL;
}

static bool keys_match(const struct sim_sa *a, const struct sim_sa *b)
{
    size_t len = a->child.keymat_len;
    return a->child.spi_in == b->child.spi_out && a->child.spi_out == b->child.spi_in &&
           len == b->child.keymat_len &&
           memcmp(a->child.keymat_in, b->child.keymat_out, len) == 0 &&
           memcmp(a->child.keymat_out, b->child.keymat_in, len) == 0 &&
           memcmp(a->child.keymat_in, a->child.keymat_out, len) != 0;
}

static bool pair_settled(const struct sim_host *a, const struct sim_host *b)
{
    struct sim_view va, vb;
    sim_view(a, &va);
    sim_view(b, &vb);
    if (va.count != 1 || vb.count != 1 || va.established != 1 || vb.established != 1)
        return false;
    if (va.last.spi_i != vb.last.spi_i || va.last.spi_r != vb.last.spi_r)
        return false;
    const struct sim_sa *sa = only_sa(a), *sb = only_sa(b);
    return va.children == 1 && vb.children == 1 && sa && sb && keys_match(sa, sb);
}

bool sim_settled(struct sim *sim)
{
    return pair_settled(sim->hosts[0], sim->hosts[1]);
}

/* Transport mode through NAT: the same selector as the peer has it. */
static struct selector as_seen(const struct selector *s, const struct ip *seen)
{
    struct selector out = *s;
    if (seen->family)
        out.low = out.high = *seen;
    return out;
}

static bool fit(const struct selector *own, const struct ip *seen, const struct selector *theirs,
                size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct selector one = as_seen(&own[i], seen);
        if (!selector_equal(&one, &theirs[i]))
            return false;
    }
    return true;
}

void sim_check_pair(struct sim *sim, const struct sim_host *a, const struct sim_host *b)
{
    struct sim_view va, vb;
    sim_view(a, &va);
    sim_view(b, &vb);
    SIM_CHECK(sim, pair_settled(a, b),
              "not settled: %s has %zu IKE SAs (%zu established), %zu children, %zu in the plane; "
              "%s %zu (%zu), %zu, %zu",
              a->name, va.count, va.established, va.children, sim_live_sas(a), b->name, vb.count,
              vb.established, vb.children, sim_live_sas(b));
    const struct ike_child *ca = &only_sa(a)->child, *cb = &only_sa(b)->child;
    SIM_CHECK(sim,
              ca->encr == cb->encr && ca->encr_bits == cb->encr_bits && ca->integ == cb->integ &&
                  ca->esn == cb->esn && ca->udp == cb->udp && ca->transport == cb->transport,
              "the two ends of a child differ");
    SIM_CHECK(sim, ca->local_count == cb->remote_count && ca->remote_count == cb->local_count,
              "the two ends have different numbers of selectors");
    SIM_CHECK(sim,
              fit(ca->local_ts, &ca->seen_local, cb->remote_ts, ca->local_count) &&
                  fit(ca->remote_ts, &ca->seen_remote, cb->local_ts, ca->remote_count) &&
                  fit(cb->local_ts, &cb->seen_local, ca->remote_ts, cb->local_count) &&
                  fit(cb->remote_ts, &cb->seen_remote, ca->local_ts, cb->remote_count),
              "selectors differ");
    SIM_CHECK(sim, ca->transport || (!ca->seen_local.family && !ca->seen_remote.family),
              "addresses of transport mode in tunnel mode");
}

static bool holds_nothing(const struct sim_host *host)
{
    struct ike_usage usage;
    if (!host->engine)
        return true;
    ike_usage(host->engine, &usage);
    return usage.sas == 0 && usage.children == 0 && usage.messages == 0 && usage.timers == 0 &&
           usage.half_open == 0 && usage.actions == 0 && usage.fragments == 0 &&
           sim_live_sas(host) == 0 && host->leases == 0;
}

bool sim_empty(struct sim *sim)
{
    for (size_t i = 0; i < sim->host_count; i++)
        if (!holds_nothing(sim->hosts[i]))
            return false;
    return true;
}

void sim_check_empty(struct sim *sim)
{
    for (size_t i = 0; i < sim->host_count; i++) {
        const struct sim_host *host = sim->hosts[i];
        struct ike_usage u = {0};
        if (host->engine)
            ike_usage(host->engine, &u);
        SIM_CHECK(sim, holds_nothing(host),
                  "%s holds %zu SAs, %zu children, %zu messages, %zu timers, %zu half-open, %zu "
                  "actions, %zu in the plane, %u leases",
                  host->name, u.sas, u.children, u.messages, u.timers, u.half_open, u.actions,
                  sim_live_sas(host), host->leases);
        SIM_CHECK(sim, host->net_ups == host->net_downs, "%s: NET_UP %u times, NET_DOWN %u times",
                  host->name, host->net_ups, host->net_downs);
    }
    SIM_CHECK(sim, sim->marker_faults == 0, "IKE was taken for ESP %u times", sim->marker_faults);
}

const struct ike_event *sim_event(const struct sim_host *host, uint32_t kind)
{
    for (size_t i = host->event_count; i > 0; i--)
        if (host->events[i - 1].kind == kind)
            return &host->events[i - 1];
    return NULL;
}

size_t sim_events(const struct sim_host *host, uint32_t kind)
{
    size_t count = 0;
    for (size_t i = 0; i < host->event_count; i++)
        count += host->events[i].kind == kind;
    return count;
}

void sim_events_clear(struct sim_host *host)
{
    free(host->events);
    host->events = NULL;
    host->event_count = 0;
}
