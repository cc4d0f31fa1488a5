/* A peer that comes back without state (RFC 6290): tokens tell at once, hints lead to a question,
 * and what anyone could send leads to nothing else. */
#include "ike/internal.h"

#include "pair.h"

static void give_secret(struct sim_host *host, uint8_t octet)
{
    host->setup.has_crash_secret = true;
    memset(host->setup.crash_secret, octet, sizeof(host->setup.crash_secret));
}

static struct pair crash_pair(bool client, bool gateway)
{
    struct pair p = pair_make();
    p.client->conf.dpd = 10;
    p.client->redial = p.gateway;
    if (client)
        give_secret(p.client, 1);
    if (gateway)
        give_secret(p.gateway, 2);
    return p;
}

static void restart(struct sim_host *host)
{
    sim_stop(host);
    sim_start(host);
}

static bool told(struct sim *sim)
{
    for (size_t i = 0; i < sim->host_count; i++)
        if (sim_event(sim->hosts[i], IKE_EVENT_DOWN))
            return true;
    return false;
}

static void gateway_restarts(bool rekeyed)
{
    struct pair p = crash_pair(false, true);
    pair_up(&p);
    if (rekeyed) { /* the new SA has a token of its own, whoever began */
        assert_int_equal(sim_command(p.gateway, IKE_REKEY_IKE, 0), 0);
        sim_run(p.sim, TIME_SECOND);
        assert_int_equal(sim_command(p.client, IKE_REKEY_IKE, 0), 0);
        sim_run(p.sim, TIME_SECOND);
        sim_check_pair(p.sim, p.client, p.gateway);
    }
    restart(p.gateway);
    time_us asked = p.sim->now;
    assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
    assert_true(sim_until(p.sim, told, TIME_SECOND));
    assert_true(p.sim->now - asked <= 30 * TIME_MILLISECOND); /* one round trip */
    const struct ike_event *down = sim_event(p.client, IKE_EVENT_DOWN);
    assert_int_equal(down->notify, NOTIFY_INVALID_IKE_SPI);
    assert_int_equal(ike_counters(p.client->engine)->crash_heard, 1);
    assert_int_equal(ike_counters(p.gateway->engine)->crash_told, 1);
    assert_true(sim_until(p.sim, sim_settled, 5 * TIME_SECOND));
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

static void test_gateway_restarts(void **state)
{
    (void)state;
    gateway_restarts(false);
}

static void test_after_rekeys(void **state)
{
    (void)state;
    gateway_restarts(true);
}

/* Both make tokens: after a rekey each knows the other's, and the gateway learns of the client. */
static void test_client_restarts(void **state)
{
    (void)state;
    for (int rekeyed = 0; rekeyed < 3; rekeyed++) {
        struct pair p = crash_pair(true, true);
        pair_up(&p);
        if (rekeyed)
            assert_int_equal(sim_command(rekeyed == 1 ? p.client : p.gateway, IKE_REKEY_IKE, 0), 0);
        sim_run(p.sim, TIME_SECOND);
        p.client->redial = NULL;
        restart(p.client);
        assert_int_equal(sim_command(p.gateway, IKE_CHECK, 0), 0);
        assert_true(sim_until(p.sim, told, TIME_SECOND));
        assert_int_equal(ike_counters(p.gateway->engine)->crash_heard, 1);
        assert_int_equal(p.gateway->leases, 0);
        pair_end(&p);
    }
}

/* Another secret, or none: no token fits, the SA stands until its own timers end it. */
static void test_wrong_token(void **state)
{
    (void)state;
    struct pair p = crash_pair(false, true);
    pair_up(&p);
    sim_stop(p.gateway);
    give_secret(p.gateway, 3);
    sim_start(p.gateway);
    assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
    sim_run(p.sim, 5 * TIME_SECOND);
    assert_null(sim_event(p.client, IKE_EVENT_DOWN));
    assert_int_equal(ike_counters(p.client->engine)->crash_heard, 0);
    assert_true(ike_counters(p.gateway->engine)->crash_told > 2);
    assert_true(sim_until(p.sim, sim_settled, 120 * TIME_SECOND));
    pair_end(&p);
}

/* The SPIs of an SA that stands, written in every way: nobody gets its token. */
static void test_no_token_of_the_living(void **state)
{
    (void)state;
    struct pair p = crash_pair(true, true);
    pair_up(&p);
    struct sim_view view;
    sim_view(p.gateway, &view);
    const uint64_t spis[] = {view.last.spi_i, view.last.spi_r, 0, 0x1122334455667788};
    struct endpoint from, to = {p.gateway->ip, 4500};
    assert_true(endpoint_parse("192.0.2.77:4500", 0, &from));
    sim_log_clear(p.sim);
    for (size_t i = 0; i < 4; i++)
        for (size_t r = 0; r < 4; r++)
            for (int flags = 0; flags < 4; flags++) {
                uint8_t octets[28 + 40] = {0};
                struct writer w = writer_of(octets, sizeof(octets));
                writer_u64(&w, spis[i]);
                writer_u64(&w, spis[r]);
                writer_u8(&w, PAYLOAD_SK);
                writer_u8(&w, 0x20);
                writer_u8(&w, EXCHANGE_INFORMATIONAL);
                writer_u8(&w, (uint8_t)((flags & 1 ? FLAG_INITIATOR : 0) |
                                        (flags & 2 ? FLAG_RESPONSE : 0)));
                writer_u32(&w, 7);
                writer_u32(&w, sizeof(octets));
                writer_u16(&w, 0);
                writer_u16(&w, 40);
                sim_inject(p.sim, &from, &to, (struct bytes){octets, sizeof(octets)});
            }
    sim_run(p.sim, TIME_SECOND);
    size_t answers = 0;
    for (const struct sim_datagram *d = p.sim->log; d; d = d->next) {
        if (!ip_equal(&d->from.ip, &p.gateway->ip))
            continue;
        answers++;
        uint8_t spi[8]; /* the gateway's own: in no answer, so there is none about that pair */
        struct writer w = writer_of(spi, sizeof(spi));
        writer_u64(&w, spis[1]);
        assert_memory_not_equal(d->octets, spi, 8);
        assert_memory_not_equal(d->octets + 8, spi, 8);
    }
    assert_int_equal(answers, 8); /* to requests with the two others, each with both flags */
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* Unprotected words ask for a sign of life, once a second at most, and do nothing else. */
static void test_hints(void **state)
{
    (void)state;
    struct pair p = crash_pair(false, true);
    pair_up(&p);
    sim_run(p.sim, 3 * TIME_SECOND);
    uint32_t spi = pair_child(p.client)->spi_out;
    uint8_t octets[28 + 12] = {[16] = PAYLOAD_NOTIFY,
                               [17] = 0x20,
                               [18] = EXCHANGE_INFORMATIONAL,
                               [19] = FLAG_INITIATOR,
                               [27] = 40,
                               [31] = 12,
                               [35] = NOTIFY_INVALID_SPI,
                               [36] = (uint8_t)(spi >> 24),
                               [37] = (uint8_t)(spi >> 16),
                               [38] = (uint8_t)(spi >> 8),
                               [39] = (uint8_t)spi};
    struct sim_view view;
    sim_view(p.client, &view);
    struct endpoint from = view.last.path.remote, to = view.last.path.local, other = from;
    sim_log_clear(p.sim);
    for (int i = 0; i < 50; i++) {
        sim_inject(p.sim, &from, &to, (struct bytes){octets, sizeof(octets)});
        sim_run(p.sim, TIME_SECOND / 10);
    }
    assert_in_range(pair_sent(&p, EXCHANGE_INFORMATIONAL, true), 3, 6);
    sim_log_clear(p.sim);
    assert_true(ip_parse("192.0.2.99", &other.ip)); /* not from the peer's address */
    sim_run(p.sim, 2 * TIME_SECOND);
    sim_inject(p.sim, &other, &to, (struct bytes){octets, sizeof(octets)});
    octets[39] ^= 1; /* not an SPI of ours */
    sim_inject(p.sim, &from, &to, (struct bytes){octets, sizeof(octets)});
    sim_run(p.sim, TIME_SECOND);
    assert_int_equal(pair_sent(&p, EXCHANGE_INFORMATIONAL, true), 0);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* ESP that the restarted gateway does not know: the client hears of it, asks, and is told. */
static void test_esp_tells(void **state)
{
    (void)state;
    struct pair p = crash_pair(false, true);
    pair_up(&p);
    sim_run(p.sim, 3 * TIME_SECOND);
    struct sim_view view;
    sim_view(p.client, &view);
    struct ike_fact fact = {.kind = IKE_FACT_UNKNOWN_SPI,
                            .spi_in = pair_child(p.client)->spi_out,
                            .remote = view.last.path.local};
    restart(p.gateway);
    time_us since = p.sim->now;
    ike_fact(p.gateway->engine, p.sim->now, &fact);
    sim_drain(p.gateway);
    assert_true(sim_until(p.sim, told, TIME_SECOND));
    assert_true(p.sim->now - since <= 45 * TIME_MILLISECOND); /* one and a half round trips */
    assert_true(sim_until(p.sim, sim_settled, 5 * TIME_SECOND));
    pair_end(&p);
}

static struct child *creating(const struct ike_engine *e)
{
    struct child *c;
    size_t cursor = 0;
    while ((c = map_next(&e->children, &cursor)))
        if (c->state == CHILD_CREATING)
            return c;
    return NULL;
}

/* A peer that sends on the new SA before its answer is here is not told that there is none. */
static void test_early_is_not_unknown(void **state)
{
    (void)state;
    struct pair p = crash_pair(false, true);
    struct child *c;
    pair_up(&p);
    sim_run(p.sim, 3 * TIME_SECOND);
    assert_int_equal(sim_command(p.client, IKE_REKEY_CHILD, 0), 0);
    for (int i = 0; i < 1000 && !creating(p.client->engine); i++)
        sim_run(p.sim, TIME_MILLISECOND);
    c = creating(p.client->engine);
    assert_non_null(c);
    struct ike_fact fact = {
        .kind = IKE_FACT_UNKNOWN_SPI, .spi_in = c->spi_in, .remote = {p.gateway->ip, 4500}};
    ike_fact(p.client->engine, p.sim->now, &fact);
    assert_int_equal(ike_counters(p.client->engine)->crash_told, 0);
    fact.spi_in ^= 1;
    ike_fact(p.client->engine, p.sim->now, &fact);
    assert_int_equal(ike_counters(p.client->engine)->crash_told, 1);
    sim_drain(p.client);
    sim_run(p.sim, 3 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* Stateless, and not for ever: a flood of unknown SPIs gets a thousand answers a second. */
static void test_answers_are_limited(void **state)
{
    (void)state;
    struct pair p = crash_pair(false, true);
    pair_up(&p);
    struct ike_path path = {{p.gateway->ip, 4500}, {p.client->ip, 4500}, 0, IKE_PORT_NATT};
    uint8_t octets[28 + 40] = {[16] = PAYLOAD_SK,     [17] = 0x20, [18] = EXCHANGE_INFORMATIONAL,
                               [19] = FLAG_INITIATOR, [27] = 68,   [31] = 40};
    struct ike_usage before, after;
    ike_usage(p.gateway->engine, &before);
    p.sim->filter = NULL;
    for (unsigned i = 1; i <= 5000; i++) {
        octets[0] = (uint8_t)(i >> 8);
        octets[1] = octets[15] = (uint8_t)(i | 1);
        ike_input(p.gateway->engine, p.sim->now, &path, (struct bytes){octets, sizeof(octets)});
        sim_drain(p.gateway);
    }
    ike_usage(p.gateway->engine, &after);
    assert_int_equal(before.sas, after.sas);
    assert_int_equal(ike_counters(p.gateway->engine)->crash_told, 1000);
    pair_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gateway_restarts),
        cmocka_unit_test(test_after_rekeys),
        cmocka_unit_test(test_client_restarts),
        cmocka_unit_test(test_wrong_token),
        cmocka_unit_test(test_no_token_of_the_living),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_esp_tells),
        cmocka_unit_test(test_early_is_not_unknown),
        cmocka_unit_test(test_answers_are_limited),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
