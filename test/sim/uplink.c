/* Hosts with several ways into the network, which come and go, and NATs that forget. */
#include "sim.h"

struct sim_uplink *sim_uplink(struct sim_host *host, const char *ip, const char *nat_ip)
{
    assert_true(host->uplink_count < SIM_UPLINKS);
    struct sim_uplink *up = &host->uplinks[host->uplink_count++];
    assert_true(ip_parse(ip, &up->ip));
    if (nat_ip)
        assert_true(ip_parse(nat_ip, &up->nat_ip));
    up->nat_shift = nat_ip ? 10000 : 0;
    return up;
}

void sim_addresses(struct sim_host *host, const struct sim_host *gateway)
{
    struct ike_command command = {.kind = IKE_ADDRESSES};
    struct ike_addresses *a = &command.addresses;
    for (size_t i = 0; i < host->uplink_count; i++) {
        const struct sim_uplink *up = &host->uplinks[i];
        if (up->down)
            continue;
        a->local[a->local_count++] =
            (struct ike_local){.at = {up->ip, 4500}, .interface = 0, .rank = (uint32_t)i};
    }
    for (size_t i = 0; gateway && i < gateway->uplink_count; i++)
        a->remote[a->remote_count++] = gateway->uplinks[i].ip;
    assert_int_equal(ike_command(host->engine, host->sim->now, &command, NULL), 0);
    sim_drain(host);
}

static bool forgotten(const struct sim_host *host, const struct sim_uplink *up)
{
    return up->nat_life && host->sim->now > up->nat_used + up->nat_life;
}

bool sim_uplink_out(struct sim_host *from, struct endpoint *local)
{
    for (size_t i = 0; i < from->uplink_count; i++) {
        struct sim_uplink *up = &from->uplinks[i];
        if (up->down || !ip_equal(&up->ip, &local->ip))
            continue;
        if (up->nat_ip.family == 0)
            return true;
        if (forgotten(from, up) && !up->nat_keeps)
            up->nat_shift++;
        up->nat_used = from->sim->now;
        *local = (struct endpoint){up->nat_ip, (uint16_t)(local->port + up->nat_shift)};
        return true;
    }
    return false;
}

bool sim_uplink_in(struct sim_host *host, struct endpoint *to)
{
    for (size_t i = 0; i < host->uplink_count; i++) {
        const struct sim_uplink *up = &host->uplinks[i];
        bool nat = up->nat_ip.family != 0;
        if (up->down || !ip_equal(nat ? &up->nat_ip : &up->ip, &to->ip) ||
            (nat && forgotten(host, up)))
            continue;
        *to = (struct endpoint){up->ip, (uint16_t)(to->port - up->nat_shift)};
        return true;
    }
    return false;
}
