/* NAT: found out, the move to port 4500, keepalives, and a NAT that changes its mind. */
#include "pair.h"

static void before_nat(struct pair *p)
{
    assert_true(ip_parse("198.51.100.9", &p->client->nat_ip));
    p->client->nat_shift = 10000;
    p->client->conf.encap = p->gateway->conf.encap = CONF_ENCAP_AUTO;
    p->client->conf.roam = false;
}

static void test_client_behind_nat(void **state)
{
    (void)state;
    struct pair p = pair_make();
    before_nat(&p);
    pair_up(&p);
    struct sim_view view;
    sim_view(p.client, &view);
    assert_true(view.last.nat_local && !view.last.nat_remote && view.last.udp);
    assert_int_equal(view.last.path.remote.port, 4500);
    sim_view(p.gateway, &view);
    assert_true(view.last.nat_remote && !view.last.nat_local && view.last.udp);
    assert_int_equal(view.last.path.remote.port, 14500);
    assert_int_equal(view.last.path.port, IKE_PORT_NATT);
    assert_true(pair_child(p.client)->udp && pair_child(p.gateway)->udp);
    assert_int_equal(pair_child(p.gateway)->path.remote.port, 14500);
    size_t on_500 = 0;
    for (const struct sim_datagram *d = p.sim->log; d; d = d->next)
        on_500 += !d->marked;
    assert_int_equal(on_500, 2); /* IKE_SA_INIT only */
    pair_end(&p);
}

static void test_gateway_behind_nat(void **state)
{
    (void)state;
    struct pair p = pair_make();
    assert_true(ip_parse("203.0.113.5", &p.gateway->nat_ip)); /* ports are kept */
    p.client->conf.encap = p.gateway->conf.encap = CONF_ENCAP_AUTO;
    pair_up(&p);
    struct sim_view view;
    sim_view(p.client, &view);
    assert_true(view.last.nat_remote && !view.last.nat_local && view.last.udp);
    sim_view(p.gateway, &view);
    assert_true(view.last.nat_local && view.last.udp);
    pair_end(&p);
}

static void test_no_nat(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.client->conf.encap = p.gateway->conf.encap = CONF_ENCAP_AUTO;
    pair_up(&p);
    struct sim_view view;
    sim_view(p.client, &view);
    assert_false(view.last.nat_local || view.last.nat_remote);
    assert_false(pair_child(p.client)->udp || pair_child(p.gateway)->udp);
    pair_end(&p);
}

static void test_always_udp(void **state)
{
    (void)state;
    struct pair p = pair_make(); /* CONF_ENCAP_UDP is the default */
    pair_up(&p);
    assert_true(pair_child(p.client)->udp && pair_child(p.gateway)->udp);
    assert_int_equal(pair_child(p.client)->path.remote.port, 4500);
    pair_end(&p);
}

static void test_keepalives(void **state)
{
    (void)state;
    struct pair p = pair_make();
    before_nat(&p);
    p.client->conf.idle_check = p.gateway->conf.idle_check = 0;
    pair_up(&p);
    sim_log_clear(p.sim);
    sim_run(p.sim, 200 * TIME_SECOND);
    size_t keepalives = 0;
    for (const struct sim_datagram *d = p.sim->log; d; d = d->next) {
        assert_int_equal(d->len, 1);
        assert_int_equal(d->octets[0], 0xff);
        assert_int_equal(d->to.port, 4500);
        keepalives++;
    }
    assert_in_range(keepalives, 9, 11);
    pair_end(&p);
}

/* The NAT gives another port: the first new authentic message moves the path, a replay does not. */
static void test_rebinding(void **state)
{
    (void)state;
    struct pair p = pair_make();
    before_nat(&p);
    pair_up(&p);
    p.client->nat_shift = 20000;
    assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
    sim_run(p.sim, 2 * TIME_SECOND);
    struct sim_view view;
    sim_view(p.gateway, &view);
    assert_int_equal(view.last.path.remote.port, 24500);
    assert_int_equal(p.gateway->esp_moves, 1);
    assert_int_equal(p.gateway->esp_path.remote.port, 24500);
    const struct sim_datagram *last = NULL;
    for (const struct sim_datagram *d = p.sim->log; d; d = d->next)
        if (d->octets[18] == EXCHANGE_INFORMATIONAL && !(d->octets[19] & FLAG_RESPONSE))
            last = d;
    assert_non_null(last);
    struct endpoint thief = {p.client->nat_ip, 666};
    sim_inject(p.sim, &thief, &last->to, (struct bytes){last->octets, last->len});
    sim_run(p.sim, 2 * TIME_SECOND);
    sim_view(p.gateway, &view);
    assert_int_equal(view.last.path.remote.port, 24500);
    assert_int_equal(p.gateway->esp_moves, 1);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_behind_nat),
        cmocka_unit_test(test_gateway_behind_nat),
        cmocka_unit_test(test_no_nat),
        cmocka_unit_test(test_always_udp),
        cmocka_unit_test(test_keepalives),
        cmocka_unit_test(test_rebinding),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
