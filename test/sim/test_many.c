/* More than two: several clients of one gateway on a bad network; further children; strangers who
 * begin handshakes and never finish them. */
#include "pair.h"

enum { CLIENTS = 7, STRANGERS = 5000 };

static bool all_up(struct sim *sim)
{
    struct sim_view view;
    for (size_t i = 0; i < sim->host_count; i++) {
        sim_view(sim->hosts[i], &view);
        size_t want = i == 0 ? CLIENTS : 1;
        if (view.count != want || view.established != want || view.children != want ||
            sim_live_sas(sim->hosts[i]) != want)
            return false;
    }
    return true;
}

static void check_addresses_differ(const struct sim *sim)
{
    for (size_t i = 1; i <= CLIENTS; i++)
        for (size_t k = 1; k < i; k++)
            assert_false(ip_equal(&sim->hosts[i]->net.ip4, &sim->hosts[k]->net.ip4));
}

static void test_many_clients(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        char name[24], ip[32];
        struct sim *sim = sim_create(seed, &sim_bad_link);
        struct sim_host *gateway = sim_gateway(sim, "gateway", "192.0.2.1");
        sim_psk(gateway, NULL, PSK);
        sim_start(gateway);
        for (unsigned i = 0; i < CLIENTS; i++) {
            snprintf(name, sizeof(name), "client%u", i);
            snprintf(ip, sizeof(ip), "192.0.2.%u", 10 + i);
            struct sim_host *client = sim_client(sim, name, ip);
            sim_psk(client, NULL, PSK);
            sim_start(client);
            client->redial = gateway;
            sim_initiate(client, gateway);
        }
        SIM_CHECK(sim, sim_until(sim, all_up, 600 * TIME_SECOND), "not all came up");
        check_addresses_differ(sim);
        assert_int_equal(sim_command(gateway, IKE_REKEY_CHILD, 0), 0);
        sim_run(sim, 20 * TIME_SECOND);
        SIM_CHECK(sim, sim_until(sim, all_up, 600 * TIME_SECOND), "not all were rekeyed");
        assert_int_equal(sim_command(gateway, IKE_REKEY_IKE, 0), 0);
        sim_run(sim, 20 * TIME_SECOND);
        SIM_CHECK(sim, sim_until(sim, all_up, 600 * TIME_SECOND), "not all IKE SAs were rekeyed");
        for (unsigned i = 1; i <= CLIENTS; i++)
            sim->hosts[i]->redial = NULL;
        assert_int_equal(sim_command(gateway, IKE_DELETE, 0), 0);
        (void)sim_until(sim, sim_empty, 600 * TIME_SECOND);
        sim_check_empty(sim);
        sim_free(sim);
    }
}

static void test_further_child(void **state)
{
    (void)state;
    struct pair p = pair_make();
    pair_up(&p);
    uint32_t first = pair_child(p.client)->spi_in;
    assert_int_equal(sim_command(p.client, IKE_CREATE_CHILD, 0), 0);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_int_equal(sim_live_sas(p.client), 2);
    assert_int_equal(sim_live_sas(p.gateway), 2);
    assert_int_equal(sim_events(p.client, IKE_EVENT_CHILD_UP), 1);
    struct ike_command command = {
        .kind = IKE_DELETE_CHILD, .tunnel = p.client->tunnel, .spi_in = first};
    assert_int_equal(ike_command(p.client->engine, p.sim->now, &command, NULL), 0);
    sim_drain(p.client);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_int_equal(sim_live_sas(p.client), 1);
    assert_int_equal(sim_live_sas(p.gateway), 1);
    assert_int_not_equal(pair_child(p.client)->spi_in, first);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* An IKE_SA_INIT request of nobody: all in order, but the rest never comes. */
static struct bytes stranger(const struct sim_datagram *model, uint64_t n, uint8_t *buffer)
{
    memcpy(buffer, model->octets, model->len);
    for (int i = 0; i < 8; i++)
        buffer[i] = (uint8_t)(0xa5 ^ n >> (8 * i));
    return (struct bytes){buffer, model->len};
}

static void test_half_open_flood(void **state)
{
    (void)state;
    static uint8_t buffer[4096];
    struct pair p = pair_make();
    p.gateway->conf.max_tunnels = 256;
    pair_up(&p);
    const struct sim_datagram *model = p.sim->log;
    struct ike_path path = sim_path(p.gateway, p.client, 500);
    struct ike_usage before, usage;
    ike_usage(p.gateway->engine, &before);
    for (uint64_t n = 1; n <= STRANGERS; n++) {
        path.remote.ip = ip_add(p.client->ip, 1000 + n);
        ike_input(p.gateway->engine, p.sim->now, &path, stranger(model, n, buffer));
        sim_drain(p.gateway);
        ike_usage(p.gateway->engine, &usage);
        assert_in_range(usage.half_open, 1, 129);
    }
    assert_true(ike_counters(p.gateway->engine)->cookies_asked > STRANGERS / 2);
    /* Who is in, stays in, and can rekey both. */
    assert_int_equal(sim_command(p.client, IKE_REKEY_CHILD, 0), 0);
    sim_run(p.sim, 5 * TIME_SECOND);
    assert_int_equal(sim_command(p.client, IKE_REKEY_IKE, 0), 0);
    sim_run(p.sim, 5 * TIME_SECOND);
    struct sim_view view;
    sim_view(p.client, &view);
    assert_int_equal(view.established, 1);
    assert_int_equal(sim_events(p.client, IKE_EVENT_REKEYED_CHILD), 1);
    assert_int_equal(sim_events(p.client, IKE_EVENT_REKEYED_IKE), 1);
    pair_end(&p);
}

static bool half_open_gone(struct sim *sim)
{
    struct ike_usage usage;
    ike_usage(sim->hosts[1]->engine, &usage);
    return usage.half_open == 0;
}

static void test_half_open_reaper(void **state)
{
    (void)state;
    static uint8_t buffer[4096];
    struct pair p = pair_make();
    pair_up(&p);
    struct ike_path path = sim_path(p.gateway, p.client, 500);
    const struct sim_datagram *model = p.sim->log;
    for (uint64_t n = 1; n <= 20; n++) {
        ike_input(p.gateway->engine, p.sim->now, &path, stranger(model, n, buffer));
        sim_drain(p.gateway);
    }
    assert_false(half_open_gone(p.sim));
    time_us start = p.sim->now;
    assert_true(sim_until(p.sim, half_open_gone, 60 * TIME_SECOND));
    assert_in_range(p.sim->now - start, 25 * TIME_SECOND, 35 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* A cap on tunnels: who comes too late is refused and told so, the others go on. */
static void test_full(void **state)
{
    (void)state;
    struct pair p = pair_make();
    struct sim_host *late = sim_client(p.sim, "late", "192.0.2.3");
    sim_psk(late, NULL, PSK);
    sim_psk(p.gateway, late, PSK);
    p.gateway->conf.max_tunnels = 1;
    pair_up(&p);
    sim_start(late);
    sim_initiate(late, p.gateway);
    sim_run(p.sim, 70 * TIME_SECOND);
    assert_non_null(sim_event(late, IKE_EVENT_FAILED));
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* One identity comes again and again without INITIAL_CONTACT: its oldest tunnels give way, those of
 * others do not. The one that it had last from the same place stands beside the limit: it may be
 * authenticating anew, and then closes that one itself. */
static void test_tunnels_of_one_identity(void **state)
{
    (void)state;
    struct pair p = pair_make();
    struct sim_host *other = sim_client(p.sim, "other", "192.0.2.3");
    struct sim_view view;
    sim_psk(other, NULL, PSK);
    sim_psk(p.gateway, other, PSK);
    p.gateway->conf.per_identity = 3;
    p.gateway->conf.unique = false;
    sim_start(p.client);
    sim_start(p.gateway);
    sim_start(other);
    sim_initiate(other, p.gateway);
    sim_run(p.sim, 2 * TIME_SECOND);
    uint64_t first = sim_initiate(p.client, p.gateway), last = first;
    for (int i = 1; i < 6; i++) {
        sim_run(p.sim, 2 * TIME_SECOND);
        last = sim_initiate(p.client, p.gateway);
    }
    sim_run(p.sim, 5 * TIME_SECOND);
    sim_view(p.gateway, &view);
    assert_int_equal(view.established, 3 + 1 + 1);
    sim_view(p.client, &view);
    assert_int_equal(view.established, 3 + 1);
    sim_view(other, &view);
    assert_int_equal(view.established, 1);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_DOWN), 2);
    assert_int_equal(sim_event(p.gateway, IKE_EVENT_DOWN)->err, ERR_LIMIT);
    assert_int_equal(sim_events(p.client, IKE_EVENT_DOWN), 2); /* by a Delete, not by silence */
    assert_int_equal(sim_event(p.client, IKE_EVENT_DOWN)->err, ERR_DELETED);
    assert_int_not_equal(sim_event(p.client, IKE_EVENT_DOWN)->tunnel, last);
    assert_int_equal(sim_command(other, IKE_DELETE, 0), 0);
    pair_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_clients),
        cmocka_unit_test(test_further_child),
        cmocka_unit_test(test_half_open_flood),
        cmocka_unit_test(test_half_open_reaper),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_tunnels_of_one_identity),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
