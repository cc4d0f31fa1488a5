/* Repetition: of our requests on their schedule, of our answers octet by octet; and who is still
 * there. */
#include "pair.h"

static enum sim_fate drop_all(struct sim *sim, struct sim_datagram *d)
{
    (void)sim, (void)d;
    return SIM_DROP;
}

static enum sim_fate drop_exchange(struct sim *sim, struct sim_datagram *d)
{
    const uint8_t *exchange = sim->filter_context;
    return d->octets[18] == *exchange ? SIM_DROP : SIM_PASS;
}

/* 0.5 s, then 1.8 times as long each, at most 10 s, 60 s in all; each up to a quarter off. How many
 * came. */
static unsigned check_schedule(const struct sim *sim, const struct sim_host *from, uint8_t exchange)
{
    const struct sim_datagram *before = NULL;
    double interval = 0.5;
    time_us started = 0;
    unsigned count = 0;
    for (const struct sim_datagram *d = sim->log; d; d = d->next) {
        if (d->octets[18] != exchange || !ip_equal(&d->from.ip, &from->ip) ||
            (before && memcmp(d->octets, before->octets, 16) != 0))
            continue; /* of another exchange, or another IKE SA */
        count++;
        if (!before) {
            started = d->sent;
            before = d;
            continue;
        }
        double seconds = (double)(d->sent - before->sent) / 1e6;
        if (seconds < interval * 0.75 || seconds > interval * 1.25)
            fail_msg("%.3f s between two, not about %.3f", seconds, interval);
        interval = interval * 1.8 < 10 ? interval * 1.8 : 10;
        assert_int_equal(d->len, before->len);
        assert_memory_equal(d->octets, before->octets, d->len);
        assert_true(d->sent <= started + 60 * TIME_SECOND);
        before = d;
    }
    assert_true(count >= 9);
    return count;
}

/* A request that gets no answer is repeated and given up, and with it what it was about: a client's
 * attempt (kind 0), or a gateway's IKE SA. */
static void give_up(uint8_t exchange, uint32_t kind)
{
    struct pair p = pair_make();
    struct sim_host *host = kind ? p.gateway : p.client;
    uint32_t end = kind ? IKE_EVENT_DOWN : IKE_EVENT_FAILED;
    if (kind)
        pair_up(&p);
    sim_log_clear(p.sim);
    p.sim->filter = drop_exchange;
    p.sim->filter_context = &exchange;
    if (kind)
        assert_int_equal(sim_command(host, kind, 0), 0);
    else
        pair_start(&p);
    sim_run(p.sim, 59 * TIME_SECOND);
    assert_null(sim_event(host, end));
    sim_run(p.sim, 3 * TIME_SECOND);
    const struct ike_event *event = sim_event(host, end);
    assert_non_null(event);
    assert_int_equal(event->err, ERR_TIMEOUT);
    assert_true(strlen(event->text) > 20);
    unsigned sent = check_schedule(p.sim, host, exchange);
    assert_int_equal(ike_counters(host->engine)->retransmitted, sent - 1);
    sim_run(p.sim, 60 * TIME_SECOND); /* and then there is silence */
    assert_int_equal(check_schedule(p.sim, host, exchange), sent);
    p.sim->filter = NULL;
    pair_end(&p);
}

static void test_schedule(void **state)
{
    (void)state;
    give_up(EXCHANGE_IKE_SA_INIT, 0);
    give_up(EXCHANGE_IKE_AUTH, 0);
    give_up(EXCHANGE_CREATE_CHILD_SA, IKE_REKEY_CHILD);
    give_up(EXCHANGE_CREATE_CHILD_SA, IKE_REKEY_IKE);
    give_up(EXCHANGE_INFORMATIONAL, IKE_CHECK);
}

/* Finds the n-th datagram of this exchange and direction. */
static const struct sim_datagram *nth(const struct sim *sim, uint8_t exchange, bool response,
                                      unsigned n)
{
    for (const struct sim_datagram *d = sim->log; d; d = d->next)
        if (d->octets[18] == exchange && !!(d->octets[19] & FLAG_RESPONSE) == response && n-- == 0)
            return d;
    return NULL;
}

/* The last request of an exchange comes again: the same octets are the answer, nothing else
 * happens. */
static void replay(struct pair *p, uint8_t exchange)
{
    unsigned before = 0; /* a client that roams says where it is after a look, too */
    while (nth(p->sim, exchange, true, before))
        before++;
    const struct sim_datagram *request = nth(p->sim, exchange, false, before - 1);
    const struct sim_datagram *answer = nth(p->sim, exchange, true, before - 1);
    assert_non_null(request);
    assert_non_null(answer);
    uint64_t replayed = ike_counters(p->gateway->engine)->replayed;
    size_t events = p->gateway->event_count;
    for (unsigned i = 0; i < 3; i++) {
        sim_inject(p->sim, &request->from, &request->to,
                   (struct bytes){request->octets, request->len});
        sim_run(p->sim, TIME_SECOND / 10);
        const struct sim_datagram *again = nth(p->sim, exchange, true, before + i);
        assert_non_null(again);
        assert_int_equal(again->len, answer->len);
        assert_memory_equal(again->octets, answer->octets, answer->len);
    }
    assert_int_equal(ike_counters(p->gateway->engine)->replayed, replayed + 3);
    assert_int_equal(p->gateway->event_count, events);
}

static void test_replayed_answers(void **state)
{
    (void)state;
    struct pair p = pair_make();
    pair_up(&p);
    replay(&p, EXCHANGE_IKE_AUTH);
    sim_check_pair(p.sim, p.client, p.gateway);
    sim_log_clear(p.sim);
    assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
    sim_run(p.sim, TIME_SECOND);
    replay(&p, EXCHANGE_INFORMATIONAL);
    sim_check_pair(p.sim, p.client, p.gateway);
    sim_log_clear(p.sim);
    assert_int_equal(sim_command(p.client, IKE_CREATE_CHILD, 0), 0);
    sim_run(p.sim, TIME_SECOND);
    assert_int_equal(sim_live_sas(p.gateway), 2);
    replay(&p, EXCHANGE_CREATE_CHILD_SA); /* and makes no third */
    assert_int_equal(sim_live_sas(p.gateway), 2);
    pair_end(&p);
}

static bool gateway_waits(struct sim *sim)
{
    struct sim_view view;
    sim_view(sim->hosts[1], &view);
    return view.count == 1;
}

/* A repeated IKE_SA_INIT request makes no second half-open SA. */
static void test_replayed_init(void **state)
{
    (void)state;
    struct pair p = pair_make();
    pair_start(&p);
    assert_true(sim_until(p.sim, gateway_waits, TIME_SECOND));
    const struct sim_datagram *request = nth(p.sim, EXCHANGE_IKE_SA_INIT, false, 0);
    p.sim->filter = drop_all; /* the client's answer does not come */
    struct ike_path path = {{p.gateway->ip, 500}, request->from, 0, IKE_PORT_500};
    uint64_t sent = p.gateway->sent;
    for (int i = 0; i < 3; i++) {
        ike_input(p.gateway->engine, p.sim->now, &path,
                  (struct bytes){request->octets, request->len});
        sim_drain(p.gateway);
    }
    const struct sim_datagram *answer = nth(p.sim, EXCHANGE_IKE_SA_INIT, true, 0);
    const struct sim_datagram *last = nth(p.sim, EXCHANGE_IKE_SA_INIT, true, 3);
    assert_int_equal(p.gateway->sent, sent + 3);
    assert_int_equal(last->len, answer->len);
    assert_memory_equal(last->octets, answer->octets, answer->len);
    struct sim_view view;
    sim_view(p.gateway, &view);
    assert_int_equal(view.count, 1);
    p.sim->filter = NULL;
    pair_end(&p);
}

/* Old message IDs, broken tags: nothing moves. */
static void test_old_and_broken(void **state)
{
    (void)state;
    struct pair p = pair_make();
    pair_up(&p);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
        sim_run(p.sim, TIME_SECOND);
    }
    const struct sim_datagram *old = nth(p.sim, EXCHANGE_INFORMATIONAL, false, 0);
    uint64_t sent = p.gateway->sent;
    sim_inject(p.sim, &old->from, &old->to, (struct bytes){old->octets, old->len});
    uint8_t copy[2048];
    for (size_t at = 0; at < old->len; at++) { /* every octet broken in the one to be repeated */
        const struct sim_datagram *last = nth(p.sim, EXCHANGE_INFORMATIONAL, false, 2);
        memcpy(copy, last->octets, last->len);
        copy[at] ^= 0x40;
        sim_inject(p.sim, &old->from, &old->to, (struct bytes){copy, old->len});
    }
    sim_run(p.sim, TIME_SECOND);
    /* a changed exchange type, flag or version may be told, but the SA must be unmoved */
    assert_in_range(p.gateway->sent - sent, 0, 8);
    sim_check_pair(p.sim, p.client, p.gateway);
    assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
    sim_run(p.sim, TIME_SECOND);
    assert_null(sim_event(p.client, IKE_EVENT_DOWN));
    pair_end(&p);
}

static void test_liveness(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.gateway->conf.dpd = p.gateway->conf.idle_check = 0;
    pair_up(&p);
    sim_log_clear(p.sim);
    sim_run(p.sim, 100 * TIME_SECOND);
    assert_in_range(pair_sent(&p, EXCHANGE_INFORMATIONAL, false), 2, 4);
    assert_null(sim_event(p.client, IKE_EVENT_DOWN));
    sim_stop(p.gateway);
    sim_run(p.sim, 100 * TIME_SECOND);
    const struct ike_event *down = sim_event(p.client, IKE_EVENT_DOWN);
    assert_non_null(down);
    assert_int_equal(down->err, ERR_TIMEOUT);
    assert_int_equal(p.client->net_downs, 1);
    assert_int_equal(sim_live_sas(p.client), 0);
    pair_end(&p);
}

/* Traffic that is heard is life enough. */
static void test_traffic_is_life(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.sim->traffic = TIME_SECOND;
    pair_up(&p);
    sim_schedule(p.sim, p.sim->now, SIM_TRAFFIC, NULL, NULL);
    sim_log_clear(p.sim);
    sim_run(p.sim, 300 * TIME_SECOND);
    assert_int_equal(pair_sent(&p, EXCHANGE_INFORMATIONAL, false), 0);
    assert_true(p.client->packets_opened > 290);
    pair_end(&p);
}

static void test_lifetimes(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.client->conf.child_lifetime = 600;
    p.client->conf.ike_lifetime = 1500;
    p.sim->traffic = TIME_SECOND;
    pair_up(&p);
    sim_schedule(p.sim, p.sim->now, SIM_TRAFFIC, NULL, NULL);
    sim_run(p.sim, 7200 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    assert_in_range(sim_events(p.client, IKE_EVENT_REKEYED_CHILD), 10, 18);
    assert_in_range(sim_events(p.client, IKE_EVENT_REKEYED_IKE), 4, 8);
    assert_null(sim_event(p.client, IKE_EVENT_DOWN));
    assert_int_equal(p.client->packets_lost + p.gateway->packets_lost, 0);
    pair_end(&p);
}

static void test_volume(void **state)
{
    (void)state;
    struct pair p = pair_make();
    pair_up(&p);
    struct ike_fact fact = {.kind = IKE_FACT_CHILD_SOFT,
                            .spi_in = pair_child(p.gateway)->spi_in,
                            .tunnel = pair_child(p.gateway)->tunnel};
    ike_fact(p.gateway->engine, p.sim->now, &fact);
    sim_drain(p.gateway);
    sim_run(p.sim, 2 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    assert_int_equal(sim_events(p.client, IKE_EVENT_REKEYED_CHILD), 1);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_CHILD), 1);
    assert_int_not_equal(pair_child(p.gateway)->spi_in, fact.spi_in);
    ike_fact(p.gateway->engine, p.sim->now, &fact); /* an old one is nobody's business */
    sim_drain(p.gateway);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_int_equal(sim_events(p.client, IKE_EVENT_REKEYED_CHILD), 1);
    pair_end(&p);
}

/* The keys process does not answer: the half-open SA goes by itself. */
static void test_silent_keys(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.gateway->keys_silent = true;
    pair_start(&p);
    sim_run(p.sim, 100 * TIME_SECOND);
    assert_non_null(sim_event(p.client, IKE_EVENT_FAILED));
    pair_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedule),      cmocka_unit_test(test_replayed_answers),
        cmocka_unit_test(test_replayed_init), cmocka_unit_test(test_old_and_broken),
        cmocka_unit_test(test_liveness),      cmocka_unit_test(test_traffic_is_life),
        cmocka_unit_test(test_lifetimes),     cmocka_unit_test(test_volume),
        cmocka_unit_test(test_silent_keys),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
