/* Several key exchanges for one SA (RFC 9370): in IKE_INTERMEDIATE (RFC 9242), message by message.
 */
#include "ike/internal.h"

#include "pair.h"

#define IKE1 "aes256gcm16-prfsha384-x25519-ke1_ecp256"
#define IKE3 "aes256gcm16-prfsha256-x25519-ke1_ecp384-ke2_modp3072-ke7_x448"
#define CBC  "aes256-sha512-prfsha512-ecp256-ke2_x25519"
#define ESP  "aes256gcm16-x25519"
#define ESP1 "aes256gcm16-x25519-ke1_ecp256"
#define ESP3 "aes256gcm16-x25519-ke1_ecp384-ke3_x448-ke4_modp2048"

static void add_proposal(struct sim_host *host, const char *ike)
{
    struct bytes bad;
    assert_int_equal(suite_parse(ike, PROTOCOL_IKE, &host->conf.ike[host->conf.ike_count++], &bad),
                     0);
}

static struct pair multi_pair(const char *client, const char *gateway)
{
    struct pair p = pair_make();
    sim_proposals(p.client, client, ESP);
    sim_proposals(p.gateway, gateway, ESP);
    return p;
}

static void expect_kes(const struct sim_host *host, const char *kes)
{
    struct sim_view view;
    char text[512];
    sim_view(host, &view);
    suite_print_proposal(&view.last.suite, text);
    if (!strstr(text, kes))
        fail_msg("%s: %s has no %s", host->name, text, kes);
}

static void one(const char *ike, const char *kes, size_t exchanges)
{
    struct pair p = multi_pair(ike, ike);
    pair_up(&p);
    assert_int_equal(pair_sent(&p, EXCHANGE_IKE_INTERMEDIATE, false), exchanges);
    assert_int_equal(pair_sent(&p, EXCHANGE_IKE_INTERMEDIATE, true), exchanges);
    assert_int_equal(pair_sent(&p, EXCHANGE_IKE_AUTH, false), 1);
    expect_kes(p.client, kes);
    expect_kes(p.gateway, kes);
    pair_end(&p);
}

static void test_plain(void **state)
{
    (void)state;
    one(IKE1, "x25519-ke1_ecp256", 1);
    one(IKE3, "x25519-ke1_ecp384-ke2_modp3072-ke7_x448", 3);
    one(CBC, "ecp256-ke2_x25519", 1);
    one("chacha20poly1305-prfsha512-x25519-ke1_ecp256-ke2_ecp384-ke3_ecp521-ke4_x448-ke5_modp2048-"
        "ke6_modp3072-ke7_modp4096",
        "ke7_modp4096", 7);
}

/* Who does not know of it gets what it can; and NONE is as good as nothing. */
static void test_fallback(void **state)
{
    (void)state;
    static const struct {
        const char *client[2], *gateway[2], *kes;
        size_t exchanges;
    } cases[] = {
        {{IKE1, "aes256gcm16-prfsha384-x25519"}, {"aes256gcm16-prfsha384-x25519"}, "x25519", 0},
        {{"aes256gcm16-prfsha384-x25519"}, {IKE1, "aes256gcm16-prfsha384-x25519"}, "x25519", 0},
        {{IKE1 "-ke1_none"}, {"aes256gcm16-prfsha384-x25519"}, "x25519", 0},
        {{"aes256gcm16-prfsha384-x25519"}, {IKE1 "-ke1_none"}, "x25519", 0},
        {{IKE1 "-ke1_none-ke2_x448-ke2_none"}, {IKE1}, "x25519-ke1_ecp256", 1},
        /* Not the same twice, in whatever order. */
        {{"aes256gcm16-prfsha384-x25519-ke1_ecp256-ke1_ecp384-ke2_ecp256"},
         {"aes256gcm16-prfsha384-x25519-ke1_ecp256-ke1_ecp384-ke2_ecp256"},
         "x25519-ke1_ecp384-ke2_ecp256",
         2},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair p = multi_pair(cases[i].client[0], cases[i].gateway[0]);
        if (cases[i].client[1])
            add_proposal(p.client, cases[i].client[1]);
        if (cases[i].gateway[1])
            add_proposal(p.gateway, cases[i].gateway[1]);
        pair_up(&p);
        assert_int_equal(pair_sent(&p, EXCHANGE_IKE_INTERMEDIATE, false), cases[i].exchanges);
        expect_kes(p.client, cases[i].kes);
        expect_kes(p.gateway, cases[i].kes);
        pair_end(&p);
    }
}

static void test_nothing_in_common(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {IKE1, "aes256gcm16-prfsha384-x25519"},
        {"aes256gcm16-prfsha384-x25519", IKE1},
        {IKE1, "aes256gcm16-prfsha384-x25519-ke1_ecp384"},
        {IKE1, "aes256gcm16-prfsha384-x25519-ke2_ecp256"},
        {"aes256gcm16-prfsha384-x25519-ke1_x25519", "aes256gcm16-prfsha384-x25519-ke1_x25519"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair p = multi_pair(cases[i][0], cases[i][1]);
        pair_start(&p);
        pair_expect_failure(&p, ERR_NO_PROPOSAL, NOTIFY_NO_PROPOSAL_CHOSEN);
    }
}

/* INVALID_KE_PAYLOAD is about the first exchange only. */
static void test_other_group(void **state)
{
    (void)state;
    struct pair p = multi_pair("aes256gcm16-prfsha384-x448-x25519-ke1_ecp256",
                               "aes256gcm16-prfsha384-x25519-ke1_ecp256");
    pair_up(&p);
    assert_int_equal(pair_sent(&p, EXCHANGE_IKE_SA_INIT, false), 2);
    expect_kes(p.gateway, "x25519-ke1_ecp256");
    pair_end(&p);
}

/* ---- a network that loses, doubles and delays each message in turn */

static struct {
    unsigned number, seen, times;
    time_us delay;
    bool twice;
} trouble;

static void deliver_again(struct sim *sim, const struct sim_datagram *d)
{
    sim_inject(sim, &d->from, &d->to, (struct bytes){d->octets, d->len});
}

static enum sim_fate make_trouble(struct sim *sim, struct sim_datagram *d)
{
    if (!d->sender)
        return SIM_PASS; /* the copy */
    if (trouble.times == 0 || ++trouble.seen < trouble.number)
        return SIM_PASS;
    trouble.times--;
    if (!trouble.twice)
        return SIM_DROP;
    deliver_again(sim, d);
    return SIM_PASS;
}

/* Each of the handshake's datagrams is lost, once or three times in a row; or comes twice. */
static void test_each_message(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++)
        for (unsigned n = 1; n <= 12; n++) {
            struct pair p = multi_pair(IKE3, IKE3);
            memset(&trouble, 0, sizeof(trouble));
            trouble.number = n;
            trouble.times = kind == 1 ? 3 : 1;
            trouble.twice = kind == 2;
            p.sim->filter = make_trouble;
            pair_start(&p);
            (void)sim_until(p.sim, sim_settled, 25 * TIME_SECOND);
            sim_check_pair(p.sim, p.client, p.gateway);
            expect_kes(p.gateway, "x25519-ke1_ecp384-ke2_modp3072-ke7_x448");
            p.sim->filter = NULL;
            pair_end(&p);
        }
}

/* An old answer, or an old request, out of place. */
static void test_replays(void **state)
{
    (void)state;
    struct pair p = multi_pair(IKE3, IKE3);
    pair_up(&p);
    size_t events = p.client->event_count + p.gateway->event_count;
    struct sim_datagram *last = p.sim->log;
    for (size_t n = p.sim->log_count; n > 0; n--, last = last->next)
        deliver_again(p.sim, last);
    sim_run(p.sim, TIME_SECOND);
    assert_int_equal(p.client->event_count + p.gateway->event_count, events);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

static void test_bad_network(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct pair p = pair_make_seeded(seed);
        p.sim->link = sim_bad_link;
        sim_proposals(p.client, IKE3, ESP);
        sim_proposals(p.gateway, IKE3, ESP);
        p.client->conf.fragment = p.gateway->conf.fragment = seed % 2 ? 576 : 1280;
        p.client->redial = p.gateway;
        pair_start(&p);
        SIM_CHECK(p.sim, sim_until(p.sim, sim_settled, 240 * TIME_SECOND), "not up");
        p.sim->link = sim_good_link;
        pair_end(&p);
    }
}

/* ---- fragments */

static enum sim_fate only_small(struct sim *sim, struct sim_datagram *d)
{
    (void)sim;
    return d->len > 600 && d->octets[19] & FLAG_RESPONSE ? SIM_DROP : SIM_PASS;
}

/* The way back carries small datagrams only: the request comes again in smaller pieces, under the
 * keys it had; so does the answer. */
static void test_small_path(void **state)
{
    (void)state;
    for (unsigned cbc = 0; cbc < 2; cbc++) {
        const char *ike = cbc ? "aes256-sha256-prfsha256-x25519-ke1_modp8192-ke2_modp6144"
                              : "aes256gcm16-prfsha256-x25519-ke1_modp8192-ke2_modp6144";
        struct pair p = multi_pair(ike, ike);
        p.client->conf.fragment = p.gateway->conf.fragment = 900;
        p.sim->filter = only_small;
        pair_start(&p);
        (void)sim_until(p.sim, sim_settled, 40 * TIME_SECOND);
        sim_check_pair(p.sim, p.client, p.gateway);
        expect_kes(p.gateway, "x25519-ke1_modp8192-ke2_modp6144");
        assert_true(ike_counters(p.gateway->engine)->in_fragmented >= 2);
        p.sim->filter = NULL;
        pair_end(&p);
    }
}

/* ---- a man in the middle who knows no key */

static struct {
    uint16_t notify; /* that he makes another one */
    bool responses;
} strip;

/* Turns the notify into one that nobody knows. */
static enum sim_fate strip_notify(struct sim *sim, struct sim_datagram *d)
{
    (void)sim;
    if (d->len < 28 || d->octets[18] != EXCHANGE_IKE_SA_INIT ||
        !!(d->octets[19] & FLAG_RESPONSE) != strip.responses)
        return SIM_PASS;
    for (size_t i = 28; i + 8 <= d->len; i++)
        if (d->octets[i + 2] == 0 && d->octets[i + 3] == 8 && d->octets[i + 4] == 0 &&
            d->octets[i + 5] == 0 && d->octets[i + 6] == strip.notify >> 8 &&
            d->octets[i + 7] == (strip.notify & 0xff))
            d->octets[i + 6] = 0x9f;
    return SIM_PASS;
}

/* The offer is cut down on the way to what is easier to break later: both AUTHs cover what each
 * side really sent. */
static void test_downgrade_is_noticed(void **state)
{
    (void)state;
    struct pair p = multi_pair(IKE1, IKE1);
    add_proposal(p.client, "aes256gcm16-prfsha384-x25519");
    add_proposal(p.gateway, "aes256gcm16-prfsha384-x25519");
    strip.notify = NOTIFY_INTERMEDIATE_EXCHANGE_SUPPORTED;
    strip.responses = false;
    p.sim->filter = strip_notify;
    pair_start(&p);
    pair_expect_failure(&p, ERR_AUTH, NOTIFY_AUTHENTICATION_FAILED);
}

/* The answer lacks it: nothing that could be gone on with. */
static void test_stripped_answer(void **state)
{
    (void)state;
    struct pair p = multi_pair(IKE1, IKE1);
    strip.notify = NOTIFY_INTERMEDIATE_EXCHANGE_SUPPORTED;
    strip.responses = true;
    p.sim->filter = strip_notify;
    pair_start(&p);
    sim_run(p.sim, 70 * TIME_SECOND);
    assert_non_null(sim_event(p.client, IKE_EVENT_FAILED));
    assert_null(sim_event(p.client, IKE_EVENT_ESTABLISHED));
    assert_null(sim_event(p.gateway, IKE_EVENT_ESTABLISHED));
    assert_int_equal(pair_sent(&p, EXCHANGE_IKE_INTERMEDIATE, false), 0);
    p.sim->filter = NULL;
    pair_end(&p);
}

/* ---- rekeys: IKE_FOLLOWUP_KE */

static void traffic(struct sim *sim)
{
    sim->traffic = 5 * TIME_MILLISECOND;
    sim_schedule(sim, sim->now, SIM_TRAFFIC, NULL, NULL);
}

static struct pair rekey_pair(const char *ike, const char *esp)
{
    struct pair p = pair_make();
    sim_proposals(p.client, ike, esp);
    sim_proposals(p.gateway, ike, esp);
    traffic(p.sim);
    pair_up(&p);
    sim_log_clear(p.sim);
    return p;
}

static void expect_child_kes(const struct sim_host *host, const char *kes)
{
    char text[512];
    assert_string_equal(ike_kes_print(&pair_child(host)->kes, text), kes);
}

static void rekeys(const char *ike, const char *esp, size_t ike_more, size_t child_more,
                   const char *child_kes)
{
    struct pair p = rekey_pair(ike, esp);
    for (unsigned i = 0; i < 4; i++) {
        struct sim_host *by = i & 1 ? p.gateway : p.client;
        bool child = i & 2;
        uint32_t before = pair_child(p.client)->spi_in;
        struct sim_view old, now;
        sim_view(p.client, &old);
        sim_log_clear(p.sim);
        assert_int_equal(sim_command(by, child ? IKE_REKEY_CHILD : IKE_REKEY_IKE, 0), 0);
        sim_run(p.sim, 5 * TIME_SECOND);
        sim_check_pair(p.sim, p.client, p.gateway);
        size_t more = child ? child_more : ike_more;
        assert_int_equal(pair_sent(&p, EXCHANGE_IKE_FOLLOWUP_KE, false), more);
        assert_int_equal(pair_sent(&p, EXCHANGE_IKE_FOLLOWUP_KE, true), more);
        sim_view(p.client, &now);
        assert_true((before != pair_child(p.client)->spi_in) == child);
        assert_true((old.last.spi_i != now.last.spi_i) == !child);
        if (child)
            expect_child_kes(p.gateway, child_kes);
        else
            expect_kes(p.client, strstr(ike, "x25519"));
    }
    assert_int_equal(p.client->packets_lost + p.gateway->packets_lost, 0);
    assert_true(p.client->packets_opened > 100);
    pair_end(&p);
}

static void test_rekeys(void **state)
{
    (void)state;
    rekeys(IKE1, ESP1, 1, 1, "x25519-ke1_ecp256");
    rekeys(IKE3, ESP3, 3, 3, "x25519-ke1_ecp384-ke3_x448-ke4_modp2048");
    rekeys("aes256gcm16-prfsha384-x25519", ESP1, 0, 1, "x25519-ke1_ecp256");
    rekeys(IKE1, ESP, 1, 0, "x25519");
    /* Without groups of its own the child has the IKE SA's exchanges. */
    rekeys(IKE1, "aes256gcm16", 1, 1, "x25519-ke1_ecp256");
}

/* A peer that does not know of additional exchanges for children. */
static void test_rekey_fallback(void **state)
{
    (void)state;
    struct pair p = pair_make();
    sim_proposals(p.client, IKE1, "aes256gcm16");
    sim_proposals(p.gateway, IKE1, ESP);
    add_proposal(p.client, "aes256gcm16-prfsha384-x25519");
    pair_up(&p);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(sim_command(i ? p.gateway : p.client, IKE_REKEY_CHILD, 0), 0);
        sim_run(p.sim, 5 * TIME_SECOND);
        sim_check_pair(p.sim, p.client, p.gateway);
        expect_child_kes(p.client, "x25519");
    }
    pair_end(&p);
}

/* Each datagram of a rekey is lost, once or three times, or comes twice. */
static void test_rekey_each_message(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++)
        for (unsigned n = 1; n <= 10; n++)
            for (unsigned who = 0; who < 4; who++) {
                struct pair p = rekey_pair(IKE3, ESP3);
                struct sim_host *by = who & 1 ? p.gateway : p.client;
                memset(&trouble, 0, sizeof(trouble));
                trouble.number = n;
                trouble.times = kind == 1 ? 3 : 1;
                trouble.twice = kind == 2;
                p.sim->filter = make_trouble;
                assert_int_equal(sim_command(by, who & 2 ? IKE_REKEY_CHILD : IKE_REKEY_IKE, 0), 0);
                sim_run(p.sim, 30 * TIME_SECOND);
                p.sim->filter = NULL;
                sim_check_pair(p.sim, p.client, p.gateway);
                assert_int_equal(p.client->packets_lost + p.gateway->packets_lost, 0);
                assert_int_equal(
                    sim_events(p.client, who & 2 ? IKE_EVENT_REKEYED_CHILD : IKE_EVENT_REKEYED_IKE),
                    1);
                pair_end(&p);
            }
}

/* Both sides at once, at all offsets that make a difference. */
static void collide(uint64_t seed, uint32_t a, uint32_t b, time_us apart, const char *ike,
                    const char *esp, bool bad)
{
    struct pair p = pair_make_seeded(seed);
    sim_proposals(p.client, ike, esp);
    sim_proposals(p.gateway, ike, esp);
    traffic(p.sim);
    pair_up(&p);
    if (bad)
        p.sim->link = sim_bad_link;
    p.sim->packets_may_be_lost = bad;
    assert_int_equal(sim_command(p.client, a, 0), 0);
    sim_after(p.sim, apart, p.gateway, b);
    sim_run(p.sim, 150 * TIME_SECOND);
    p.sim->link = sim_good_link;
    sim_run(p.sim, 70 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    if (!bad)
        SIM_CHECK(p.sim, p.client->packets_lost + p.gateway->packets_lost == 0, "lost");
    struct ike_usage u;
    ike_usage(p.client->engine, &u);
    assert_int_equal(u.sas, 1);
    assert_int_equal(u.children, 1);
    ike_usage(p.gateway->engine, &u);
    assert_int_equal(u.sas, 1);
    assert_int_equal(u.children, 1);
    pair_end(&p);
}

static void test_collisions(void **state)
{
    (void)state;
    static const uint32_t kinds[][2] = {
        {IKE_REKEY_CHILD, IKE_REKEY_CHILD},  {IKE_REKEY_IKE, IKE_REKEY_IKE},
        {IKE_REKEY_IKE, IKE_REKEY_CHILD},    {IKE_REKEY_CHILD, IKE_REKEY_IKE},
        {IKE_REKEY_CHILD, IKE_CREATE_CHILD}, {IKE_REKEY_CHILD, IKE_DELETE_CHILD}};
    for (size_t k = 0; k < 4; k++)
        for (unsigned step = 0; step < 40; step++)
            collide(0x1000 * k + step, kinds[k][0], kinds[k][1], step * 3 * TIME_MILLISECOND,
                    step % 2 ? IKE1 : IKE3, step % 3 ? ESP1 : ESP3, false);
    for (size_t k = 0; k < 4; k++)
        for (unsigned step = 0; step < 15; step++)
            collide(0x9000 + 0x1000 * k + step, kinds[k][0], kinds[k][1],
                    step * 7 * TIME_MILLISECOND, IKE1, ESP1, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_fallback),
        cmocka_unit_test(test_nothing_in_common),
        cmocka_unit_test(test_other_group),
        cmocka_unit_test(test_each_message),
        cmocka_unit_test(test_replays),
        cmocka_unit_test(test_bad_network),
        cmocka_unit_test(test_small_path),
        cmocka_unit_test(test_downgrade_is_noticed),
        cmocka_unit_test(test_stripped_answer),
        cmocka_unit_test(test_rekeys),
        cmocka_unit_test(test_rekey_fallback),
        cmocka_unit_test(test_rekey_each_message),
        cmocka_unit_test(test_collisions),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
