/* Another configuration while tunnels stand: whom it does not concern hears nothing of it, and who
 * may not stay goes (ike_reload). */
#include "pair.h"

static void traffic(struct sim *sim)
{
    sim->traffic = TIME_SECOND / 4;
    sim_schedule(sim, sim->now, SIM_TRAFFIC, NULL, NULL);
}

static struct selector ts(const char *text)
{
    struct selector s;
    if (!selector_parse(text, &s))
        fail_msg("%s", text);
    return s;
}

/* Without what time brings of its own: keepalives, liveness. */
static struct pair quiet_pair(void)
{
    struct pair p = pair_make();
    p.client->conf.idle_check = p.gateway->conf.idle_check = 0;
    p.client->conf.keepalive = p.gateway->conf.keepalive = 0;
    return p;
}

/* ---- nothing that concerns it */

static void test_unchanged(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    traffic(p.sim);
    pair_up(&p);
    sim_log_clear(p.sim);
    uint32_t spi = sim_active(p.client)->child.spi_in;
    p.gateway->conf.handshakes = 7;
    p.gateway->conf.dpd = 20;
    assert_int_equal(sim_reload(p.gateway), 0);
    assert_int_equal(sim_reload(p.client), 0);
    sim_run(p.sim, 100 * TIME_SECOND);
    assert_int_equal(p.sim->log_count, 0);
    assert_int_equal(p.gateway->stays, 1);
    assert_int_equal(p.client->packets_lost + p.gateway->packets_lost, 0);
    assert_int_equal(sim_active(p.client)->child.spi_in, spi);
    assert_int_equal(p.client->net_ups, 1);
    assert_int_equal(p.gateway->net_ups, 1);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

static void test_refused_reload(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    pair_up(&p);
    p.gateway->conf.max_tunnels++;
    assert_int_equal(sim_reload(p.gateway), ERR_ARGUMENT);
    p.gateway->conf.max_tunnels--;
    p.gateway->conf.initiator = true;
    assert_int_equal(sim_reload(p.gateway), ERR_ARGUMENT);
    p.gateway->conf.initiator = false;
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* ---- who may stay */

/* Two clients; hosts[0] and hosts[1], which the packets go between, are the one that stays. */
static void test_client_removed(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    traffic(p.sim);
    struct sim_host *other = sim_client(p.sim, "other", "192.0.2.3");
    sim_psk(other, NULL, PSK);
    sim_psk(p.gateway, other, PSK);
    pair_up(&p);
    sim_start(other);
    sim_initiate(other, p.gateway);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_non_null(sim_event(other, IKE_EVENT_ESTABLISHED));
    p.gateway->packets_sent = p.client->packets_opened = 0;
    p.gateway->away = other->conf.local_id;
    sim_log_clear(p.sim);
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 10 * TIME_SECOND);
    const struct ike_event *down = sim_event(p.gateway, IKE_EVENT_DOWN);
    assert_non_null(down);
    assert_int_equal(down->err, ERR_UNKNOWN_PEER);
    assert_non_null(strstr(down->text, "the configuration does not let it in any more"));
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_DOWN), 1);
    assert_non_null(sim_event(other, IKE_EVENT_DOWN));
    assert_null(sim_event(p.client, IKE_EVENT_DOWN));
    assert_int_equal(sim_live_sas(other), 0);
    assert_int_equal(sim_live_sas(p.gateway), 1);
    assert_int_equal(p.gateway->leases, 1);
    assert_int_equal(p.gateway->net_downs, 1);
    assert_int_equal(p.sim->log_count, 2); /* the Delete and its answer */
    /* It does not come in again, and then it does. */
    sim_initiate(other, p.gateway);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_non_null(sim_event(other, IKE_EVENT_FAILED));
    p.gateway->away = (struct identity){0};
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_initiate(other, p.gateway);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_int_equal(sim_live_sas(other), 1);
    assert_int_equal(sim_command(other, IKE_DELETE, 0), 0);
    sim_run(p.sim, TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* Keys that say nothing are asked again until they speak. */
static void test_keys_silent(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    pair_up(&p);
    p.gateway->keys_silent = true;
    p.gateway->away = p.client->conf.local_id;
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 100 * TIME_SECOND);
    assert_int_equal(sim_live_sas(p.gateway), 1);
    p.gateway->keys_silent = false;
    sim_run(p.sim, 31 * TIME_SECOND);
    assert_int_equal(sim_live_sas(p.gateway), 0);
    assert_int_equal(sim_live_sas(p.client), 0);
    pair_end(&p);
}

/* ---- what was negotiated */

static uint16_t suite_of(const struct sim_host *host)
{
    struct sim_view view;
    sim_view(host, &view);
    return view.last.suite.transforms[0].id;
}

static void two_suites(struct sim_host *host)
{
    sim_proposals(host, "aes256-sha256-prfsha256-x25519", "aes256-sha256-x25519");
    host->conf.ike[1] = host->conf.ike[0];
    host->conf.esp[1] = host->conf.esp[0];
    sim_proposals(host, "aes256gcm16-prfsha384-x25519", "aes256gcm16-x25519");
    host->conf.ike_count = host->conf.esp_count = 2;
}

/* The client takes both; the gateway stops taking the one in use. */
static void test_suite_forbidden(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    traffic(p.sim);
    two_suites(p.client);
    pair_up(&p);
    assert_int_equal(suite_of(p.gateway), ENCR_AES_GCM_16);
    sim_proposals(p.gateway, "aes256-sha256-prfsha256-x25519", "aes256-sha256-x25519");
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 70 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    assert_int_equal(suite_of(p.gateway), ENCR_AES_CBC);
    assert_int_equal(sim_active(p.gateway)->child.encr, ENCR_AES_CBC);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_IKE), 1);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_CHILD), 1);
    assert_int_equal(p.client->packets_lost + p.gateway->packets_lost, 0);
    pair_end(&p);
}

/* Nothing in common any more: what stands lives out its time, and no new one comes. */
static void test_no_suite_left(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    p.gateway->conf.child_lifetime = p.gateway->conf.ike_lifetime = 300;
    pair_up(&p);
    sim_proposals(p.gateway, "aes256-sha256-prfsha256-x25519", "aes256-sha256-x25519");
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 200 * TIME_SECOND);
    assert_int_equal(sim_live_sas(p.gateway), 1);
    sim_run(p.sim, 110 * TIME_SECOND);
    assert_int_equal(sim_live_sas(p.gateway), 0);
    assert_int_equal(sim_event(p.gateway, IKE_EVENT_DOWN)->err, ERR_LIFETIME);
    pair_end(&p);
}

/* A shorter life than what has gone by already: rekeyed soon, without loss. */
static void test_shorter_life(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    traffic(p.sim);
    pair_up(&p);
    sim_run(p.sim, 1000 * TIME_SECOND);
    p.gateway->conf.child_lifetime = 600;
    p.gateway->conf.ike_lifetime = 900;
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 70 * TIME_SECOND);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_IKE), 1);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_CHILD), 1);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

static void test_longer_life(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    p.gateway->conf.child_lifetime = p.gateway->conf.ike_lifetime = 300;
    pair_up(&p);
    p.gateway->conf.child_lifetime = p.gateway->conf.ike_lifetime = 0;
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 1000 * TIME_SECOND);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_IKE), 0);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_CHILD), 0);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* A network behind the gateway goes: the child that reached it ends at once, another one comes. */
static void test_network_removed(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    p.client->conf.request_ip6 = false;
    p.client->conf.remote_ts_count = 1;
    p.gateway->conf.local_ts[0] = ts("10.1.0.0/16");
    p.gateway->conf.local_ts[1] = ts("10.2.0.0/16");
    pair_up(&p);
    assert_int_equal(sim_active(p.client)->child.remote_count, 2);
    p.gateway->conf.local_ts_count = 1;
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 3 * TIME_MILLISECOND); /* keys have answered, the client has not */
    assert_int_equal(sim_live_sas(p.gateway), 0);
    const struct ike_event *gone = sim_event(p.gateway, IKE_EVENT_CHILD_DOWN);
    assert_non_null(gone);
    assert_non_null(strstr(gone->text, "configuration"));
    sim_run(p.sim, 60 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    assert_int_equal(sim_active(p.client)->child.remote_count, 1);
    assert_true(
        selector_equal(&sim_active(p.client)->child.remote_ts[0], &p.gateway->conf.local_ts[0]));
    assert_null(sim_event(p.client, IKE_EVENT_DOWN));
    pair_end(&p);
}

/* ---- a client */

/* What it wants through the tunnel changes: a new IKE SA first, then the old one goes. */
static void test_client_selectors(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    traffic(p.sim);
    p.client->conf.request_ip6 = false;
    p.client->conf.remote_ts[0] = ts("10.1.0.0/16");
    p.client->conf.remote_ts_count = 1;
    struct prefix pool;
    assert_true(prefix_parse("10.99.0.0/24", &pool));
    p.gateway->book = lease_book_create(&pool, 1, 100, &p.gateway->random);
    pair_up(&p);
    uint64_t tunnel = p.client->tunnel;
    p.client->conf.remote_ts[0] = ts("10.2.0.0/16");
    sim_log_clear(p.sim);
    assert_int_equal(sim_reload(p.client), 0);
    sim_run(p.sim, 10 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    assert_true(
        selector_equal(&sim_active(p.client)->child.remote_ts[0], &p.client->conf.remote_ts[0]));
    assert_int_equal(sim_active(p.client)->child.tunnel, tunnel);
    assert_null(sim_event(p.client, IKE_EVENT_DOWN));
    assert_int_equal(p.client->packets_lost + p.gateway->packets_lost, 0);
    assert_true(selector_equal(&p.client->net.remote_ts[0], &p.client->conf.remote_ts[0]));
    assert_true(p.client->net.more && p.client->net_downs == 0);
    struct lease_book *book = p.gateway->book;
    pair_end(&p);
    lease_book_free(book);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unchanged),       cmocka_unit_test(test_refused_reload),
        cmocka_unit_test(test_client_removed),  cmocka_unit_test(test_keys_silent),
        cmocka_unit_test(test_suite_forbidden), cmocka_unit_test(test_no_suite_left),
        cmocka_unit_test(test_shorter_life),    cmocka_unit_test(test_longer_life),
        cmocka_unit_test(test_network_removed), cmocka_unit_test(test_client_selectors),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
