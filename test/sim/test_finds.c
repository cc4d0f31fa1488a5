/* What the random worlds have found (doc/simulation.md), each written out so that it stays found.
 */
#include "relay.h"

static bool holding;

/* The gateway's answers to CREATE_CHILD_SA are lost while `holding`. */
static enum sim_fate hold_answers(struct sim *sim, struct sim_datagram *d)
{
    (void)sim;
    bool answer = d->len >= 28 && d->octets[18] == EXCHANGE_CREATE_CHILD_SA &&
                  (d->octets[19] & FLAG_RESPONSE) && d->sender == sim->hosts[1];
    return answer && holding ? SIM_DROP : SIM_PASS;
}

/* The gateway rekeys a child that its own answer has made, and the answer is still on its way: the
 * client does not know that child yet, and must not say that there is none. */
static void test_rekey_before_answer(void **state)
{
    (void)state;
    struct pair p = pair_make();
    pair_up(&p);
    p.sim->filter = hold_answers;
    holding = true;
    assert_int_equal(sim_command(p.client, IKE_REKEY_CHILD, 0), 0);
    sim_run(p.sim, 50 * TIME_MILLISECOND);
    assert_int_equal(sim_live_sas(p.gateway), 2);
    assert_int_equal(sim_live_sas(p.client), 1);
    uint32_t made = p.gateway->sas->child.spi_in;
    assert_int_equal(sim_command(p.gateway, IKE_REKEY_CHILD, 0), 0);
    sim_run(p.sim, 50 * TIME_MILLISECOND);
    assert_int_equal(sim_live_sas(p.gateway), 2);
    assert_int_equal(p.gateway->sas->child.spi_in, made);
    holding = false;
    sim_run(p.sim, 20 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* The gateway deletes the child that its answer has made, before the client has that answer. */
static void test_delete_before_answer(void **state)
{
    (void)state;
    struct pair p = pair_make();
    pair_up(&p);
    p.sim->filter = hold_answers;
    holding = true;
    assert_int_equal(sim_command(p.client, IKE_CREATE_CHILD, 0), 0);
    sim_run(p.sim, 50 * TIME_MILLISECOND);
    assert_int_equal(sim_live_sas(p.gateway), 2);
    assert_int_equal(sim_live_sas(p.client), 1);
    struct ike_command command = {.kind = IKE_DELETE_CHILD,
                                  .tunnel = p.gateway->sas->child.tunnel,
                                  .spi_in = p.gateway->sas->child.spi_in};
    assert_int_equal(ike_command(p.gateway->engine, p.sim->now, &command, NULL), 0);
    sim_drain(p.gateway);
    sim_run(p.sim, 50 * TIME_MILLISECOND);
    assert_int_equal(sim_live_sas(p.gateway), 2); /* the client does not answer that yet */
    holding = false;
    sim_run(p.sim, 20 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* Every answer of the gateway is a forged error, and the first comes in the last seconds of an
 * attempt: the attempt ends in its time, and no second has more than a few repetitions. */
static unsigned requests;

static enum sim_fate forge_late(struct sim *sim, struct sim_datagram *d)
{
    uint8_t buffer[64];
    struct wire_builder b;
    struct wire_header h;
    if (d->sender != sim->hosts[0] || wire_header_read((struct bytes){d->octets, d->len}, &h) != 0)
        return SIM_PASS;
    requests++;
    if (sim->now < 55 * TIME_SECOND)
        return SIM_DROP;
    h.flags = FLAG_RESPONSE;
    wire_begin(&b, buffer, sizeof(buffer), &h);
    wire_put_notify(&b, NOTIFY_NO_PROPOSAL_CHOSEN, (struct bytes){0});
    sim->filter = NULL;
    sim_inject(sim, &d->to, &d->from, wire_finish(&b));
    sim->filter = forge_late;
    return SIM_DROP;
}

static void test_error_at_the_end(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.sim->filter = forge_late;
    requests = 0;
    pair_start(&p);
    sim_run(p.sim, 70 * TIME_SECOND);
    assert_non_null(sim_event(p.client, IKE_EVENT_FAILED));
    assert_in_range(requests, 5, 15);
    pair_end(&p);
}

/* The NAT box takes another port while the gateway rekeys the IKE SA: its answer comes from there.
 */
static enum sim_fate other_port(struct sim *sim, struct sim_datagram *d)
{
    struct sim_host *client = sim->hosts[0];
    if (d->sender != client || d->octets[18] != EXCHANGE_CREATE_CHILD_SA)
        return SIM_PASS;
    client->nat_shift = 21000;
    d->from.port = 4500 + 21000;
    sim->filter = NULL;
    return SIM_PASS;
}

static void test_move_during_rekey(void **state)
{
    (void)state;
    struct pair p = pair_make();
    struct sim_view view;
    assert_true(ip_parse("198.51.100.7", &p.client->nat_ip));
    p.client->nat_shift = 20000;
    p.client->conf.roam = false; /* with MOBIKE it would have to say so */
    pair_up(&p);
    p.sim->filter = other_port;
    assert_int_equal(sim_command(p.gateway, IKE_REKEY_IKE, 0), 0);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_IKE), 1);
    sim_view(p.gateway, &view);
    assert_int_equal(view.last.path.remote.port, 4500 + 21000);
    assert_int_equal(p.gateway->esp_path.remote.port, 4500 + 21000);
    assert_int_equal(sim_command(p.gateway, IKE_REKEY_CHILD, 0), 0);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_int_equal(sim_events(p.client, IKE_EVENT_REKEYED_CHILD), 1);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* The client has another address and no MOBIKE; the gateway does not know. Somebody on the way
 * brings it what the gateway sends to the old one. */
static struct ip gone, there;

static enum sim_fate relay(struct sim *sim, struct sim_datagram *d)
{
    if (d->sender == sim->hosts[0])
        return ip_equal(&d->from.ip, &gone) ? SIM_DROP : SIM_PASS;
    if (ip_equal(&d->to.ip, &gone)) {
        struct endpoint to = {there, d->to.port};
        sim->filter = NULL;
        sim_inject(sim, &d->from, &to, (struct bytes){d->octets, d->len});
        sim->filter = relay;
    }
    return SIM_PASS;
}

static void tell_client(struct pair *p, const struct ip *ip)
{
    struct ike_command command = {.kind = IKE_ADDRESSES};
    command.addresses.local_count = 1;
    command.addresses.local[0].at = (struct endpoint){*ip, 4500};
    assert_int_equal(ike_command(p->client->engine, p->sim->now, &command, NULL), 0);
    sim_drain(p->client);
}

static void pair_moved(struct pair *p)
{
    *p = pair_make();
    p->client->conf.roam = false;
    p->client->conf.encap = CONF_ENCAP_UDP; /* so the gateway follows, RFC 7296 2.23 */
    p->sim->hosts_move = true;
    gone = p->client->ip;
    assert_true(ip_parse("192.0.2.77", &there));
    pair_up(p);
    p->client->ip = there;
    p->sim->filter = relay;
}

static void test_heard_elsewhere(void **state)
{
    (void)state;
    struct pair p;
    struct sim_view view;
    pair_moved(&p);
    tell_client(&p, &there);
    assert_int_equal(p.client->esp_moves, 0); /* it cannot tell its gateway */
    assert_int_equal(sim_command(p.gateway, IKE_CHECK, 0), 0);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_int_equal(p.client->esp_moves, 1);
    assert_true(ip_equal(&p.client->esp_path.local.ip, &there));
    assert_true(ip_equal(&p.gateway->esp_path.remote.ip, &there));
    assert_int_equal(sim_command(p.gateway, IKE_REKEY_IKE, 0), 0);
    sim_run(p.sim, 2 * TIME_SECOND);
    sim_view(p.client, &view);
    assert_true(ip_equal(&view.last.path.local.ip, &there));
    assert_int_equal(sim_command(p.client, IKE_REKEY_CHILD, 0), 0);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_int_equal(sim_events(p.client, IKE_EVENT_REKEYED_CHILD), 1);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* As long as its address is its own, nobody chooses another one for it. */
static void test_heard_elsewhere_and_here(void **state)
{
    (void)state;
    struct pair p;
    pair_moved(&p);
    tell_client(&p, &gone);
    assert_int_equal(sim_command(p.gateway, IKE_CHECK, 0), 0);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_int_equal(p.client->esp_moves, 0);
    p.client->ip = gone;
    p.sim->filter = NULL;
    pair_end(&p);
}

/* Both rekey the IKE SA; the gateway has answered and does not know yet which of the two successors
 * will stand. The client does, and says on it that it has moved. */
static void test_update_on_successor(void **state)
{
    (void)state;
    struct pair p = pair_make();
    struct relay r;
    struct sim_view view;
    p.sim->hosts_move = true;
    pair_up(&p);
    relay_begin(&r, &p);
    assert_int_equal(sim_command(p.client, IKE_REKEY_IKE, 0), 0);
    assert_int_equal(sim_command(p.gateway, IKE_REKEY_IKE, 0), 0);
    sim_run(p.sim, TIME_MILLISECOND);
    relay_lose(&r, relay_find(&r, p.gateway, false));
    relay_deliver(&r, relay_find(&r, p.client, false));
    assert_true(ip_parse("192.0.2.77", &there));
    p.client->ip = there;
    tell_client(&p, &there);
    while (relay_find(&r, p.client, false) >= 0) /* the rekey, again and from there */
        relay_lose(&r, relay_find(&r, p.client, false));
    r.held[relay_find(&r, p.gateway, true)]->to.ip = there;
    relay_deliver(&r, relay_find(&r, p.gateway, true));
    assert_int_equal(r.count, 2); /* the Delete, and the update on the new SA */
    relay_deliver(&r, 1);
    assert_int_equal(relay_find(&r, p.gateway, true), -1); /* not yet */
    relay_deliver(&r, 0);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_IKE), 1);
    relay_end(&r);
    sim_run(p.sim, 2 * TIME_SECOND); /* it asks again */
    sim_view(p.gateway, &view);
    assert_true(ip_equal(&view.last.path.remote.ip, &there));
    assert_true(ip_equal(&p.gateway->esp_path.remote.ip, &there));
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

static void deliver_all(struct relay *r)
{
    while (r->count > 0)
        relay_deliver(r, 0);
}

static uint64_t tunnel_of(const struct sim_host *host)
{
    struct sim_view view;
    sim_view(host, &view);
    return view.last.tunnel;
}

/* The youngest child that this side has made by a request of its own. */
static void rekey_own(struct sim_host *host)
{
    struct ike_command command = {.kind = IKE_REKEY_CHILD};
    for (const struct sim_sa *sa = host->sas; sa && command.spi_in == 0; sa = sa->next)
        if (!sa->gone && sa->child.initiator) {
            command.tunnel = sa->child.tunnel;
            command.spi_in = sa->child.spi_in;
        }
    assert_int_equal(ike_command(host->engine, host->sim->now, &command, NULL), 0);
    sim_drain(host);
}

/* Both rekey a child; the gateway's answer is still on its way when the gateway replaces the
 * successor that it has made. The client's own rekey competes with that one's heir now. Whichever
 * nonce is lower, one child remains. */
static void rival_is_replaced(uint64_t seed)
{
    struct pair p = pair_make_seeded(seed);
    struct relay r;
    pair_up(&p);
    relay_begin(&r, &p);
    assert_int_equal(sim_command(p.client, IKE_REKEY_CHILD, tunnel_of(p.client)), 0);
    assert_int_equal(sim_command(p.gateway, IKE_REKEY_CHILD, tunnel_of(p.gateway)), 0);
    relay_deliver(&r, relay_find(&r, p.gateway, false));
    relay_deliver(&r, relay_find(&r, p.client, false));
    int at = relay_find(&r, p.gateway, true);
    struct sim_datagram *late = r.held[at];
    r.held[at] = r.held[--r.count];
    deliver_all(&r);
    for (int i = 0; i < 2; i++) {
        rekey_own(p.gateway);
        deliver_all(&r);
    }
    r.held[r.count++] = late;
    deliver_all(&r);
    relay_end(&r);
    sim_run(p.sim, 100 * TIME_SECOND); /* what was refused for the moment is tried again */
    assert_int_equal(sim_live_sas(p.client), 1);
    assert_int_equal(sim_live_sas(p.gateway), 1);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

static void test_rival_is_replaced(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 16; seed++)
        rival_is_replaced(seed);
}

/* Somebody on the way brings IKE_AUTH to port 500 instead of 4500. */
static enum sim_fate to_port_500(struct sim *sim, struct sim_datagram *d)
{
    if (d->sender != sim->hosts[0] || d->octets[18] != EXCHANGE_IKE_AUTH)
        return SIM_PASS;
    struct endpoint to = {d->to.ip, 500};
    sim->filter = NULL;
    sim_inject(sim, &d->from, &to, (struct bytes){d->octets, d->len});
    return SIM_DROP;
}

static void test_auth_at_wrong_port(void **state)
{
    (void)state;
    struct pair p = pair_make();
    struct sim_view view;
    p.sim->filter = to_port_500;
    pair_start(&p);
    assert_true(sim_until(p.sim, sim_settled, 5 * TIME_SECOND));
    sim_view(p.gateway, &view);
    assert_int_equal(view.last.path.port, IKE_PORT_500);
    assert_int_equal(p.sim->marker_faults, 1); /* where its first answer went */
    p.sim->marker_faults = 0;
    assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
    sim_run(p.sim, TIME_SECOND);
    sim_view(p.gateway, &view);
    assert_int_equal(view.last.path.port, IKE_PORT_NATT);
    assert_true(view.last.udp);
    assert_int_equal(sim_command(p.gateway, IKE_REKEY_CHILD, 0), 0);
    sim_run(p.sim, TIME_SECOND);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_CHILD), 1);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* Our address stays as it is, and behind it comes a NAT: a look at the tunnel shows it. */
static void test_nat_comes_between(void **state)
{
    (void)state;
    struct pair p = pair_make();
    struct sim_view view;
    p.client->conf.encap = p.gateway->conf.encap = CONF_ENCAP_AUTO;
    pair_up(&p);
    sim_view(p.client, &view);
    assert_true(view.last.mobike && !view.last.nat_local && !view.last.udp);
    assert_true(ip_parse("198.51.100.7", &p.client->nat_ip));
    p.client->nat_shift = 20000;
    assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
    sim_run(p.sim, TIME_SECOND);
    sim_view(p.gateway, &view);
    assert_true(ip_equal(&view.last.path.remote.ip, &p.client->nat_ip));
    assert_true(view.last.udp && view.last.nat_remote);
    sim_view(p.client, &view);
    assert_true(view.last.udp && view.last.nat_local);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* Nothing of the client's arrives: a request of its own, and then its answers to the gateway's
 * rekey of the IKE SA. It gives up the request, and not the SA that the answer belongs to: else it
 * would tell the gateway, which asks once more, that it has lost all. */
static enum sim_fate client_is_mute(struct sim *sim, struct sim_datagram *d)
{
    return d->sender == sim->hosts[0] ? SIM_DROP : SIM_PASS;
}

static void test_request_of_replaced_sa(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.client->setup.has_crash_secret = true;
    pair_up(&p);
    p.sim->filter = client_is_mute;
    assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
    sim_run(p.sim, 25 * TIME_SECOND);
    assert_int_equal(sim_command(p.gateway, IKE_REKEY_IKE, 0), 0);
    sim_run(p.sim, 40 * TIME_SECOND);
    assert_int_equal(sim_events(p.client, IKE_EVENT_REKEYED_IKE), 1);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_IKE), 0);
    p.sim->filter = NULL;
    sim_run(p.sim, 15 * TIME_SECOND);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_IKE), 1);
    assert_int_equal(ike_counters(p.client->engine)->crash_told, 0);
    sim_run(p.sim, 120 * TIME_SECOND);
    assert_int_equal(sim_events(p.client, IKE_EVENT_DOWN), 0);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rekey_before_answer),
                                       cmocka_unit_test(test_delete_before_answer),
                                       cmocka_unit_test(test_error_at_the_end),
                                       cmocka_unit_test(test_move_during_rekey),
                                       cmocka_unit_test(test_heard_elsewhere),
                                       cmocka_unit_test(test_heard_elsewhere_and_here),
                                       cmocka_unit_test(test_update_on_successor),
                                       cmocka_unit_test(test_rival_is_replaced),
                                       cmocka_unit_test(test_auth_at_wrong_port),
                                       cmocka_unit_test(test_nat_comes_between),
                                       cmocka_unit_test(test_request_of_replaced_sa)};
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
