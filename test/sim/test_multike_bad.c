/* Additional key exchanges that are out of order, wrong, forgotten, or that somebody on the way
 * does away with; cookies and fragments before and around them. */
#include "ike/gate.h"

#include "stages.h"

#define IKE2 "aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke2_ecp384"
#define ESP2 "aes256gcm16-x25519-ke1_mlkem768-ke2_ecp384"

static struct pair multi_pair(const char *ike, const char *esp)
{
    struct pair p = pair_make();
    sim_proposals(p.client, ike, esp);
    sim_proposals(p.gateway, ike, esp);
    return p;
}

static struct {
    uint8_t exchange;
    bool response;
} lost;

static enum sim_fate lose(struct sim *sim, struct sim_datagram *d)
{
    (void)sim;
    return d->len >= 28 && d->octets[18] == lost.exchange &&
                   !!(d->octets[19] & FLAG_RESPONSE) == lost.response
               ? SIM_DROP
               : SIM_PASS;
}

/* The gateway has answered IKE_SA_INIT; what the client says next is lost. */
static struct pair half_open_pair(void)
{
    struct pair p = multi_pair(IKE2, ESP2);
    p.client->conf.fragment = p.gateway->conf.fragment = 0;
    lost.exchange = EXCHANGE_IKE_INTERMEDIATE;
    lost.response = false;
    p.sim->filter = lose;
    pair_start(&p);
    sim_run(p.sim, TIME_SECOND / 10);
    assert_int_equal(stage_sa(p.client->engine, 0)->state, IKE_STATE_INTERMEDIATE_SENT);
    assert_int_equal(stage_sa(p.gateway->engine, 0)->state, IKE_STATE_INIT_DONE);
    return p;
}

/* By the client's keys to the gateway, now. */
static void tell_gateway(struct pair *p, uint8_t exchange, uint32_t id, struct wire_builder *b)
{
    struct ike_engine *e = p->client->engine;
    struct sa *sa = stage_sa(e, 0);
    struct ike_path path = stage_sa(p->gateway->engine, 0)->path;
    struct message *m = sk_seal(e, sa, exchange, false, id, b);
    assert_non_null(m);
    ike_input(p->gateway->engine, p->sim->now, &path, message_bytes(m));
    sim_drain(p->gateway);
    message_drop(e, &m);
}

static void expect_refused(struct pair *p)
{
    const struct ike_event *refused = sim_event(p->gateway, IKE_EVENT_REFUSED);
    assert_non_null(refused);
    assert_int_equal(refused->err, ERR_SYNTAX);
    assert_int_equal(refused->notify, NOTIFY_INVALID_SYNTAX);
    assert_true(strlen(refused->text) > 20);
    assert_null(sim_event(p->gateway, IKE_EVENT_ESTABLISHED));
    p->sim->filter = NULL;
    sim_run(p->sim, 70 * TIME_SECOND);
    pair_end(p);
}

static void test_auth_too_early(void **state)
{
    (void)state;
    struct pair p = half_open_pair();
    struct wire_builder b;
    static const uint8_t some[64] = {1};
    sk_begin(p.client->engine, &b);
    wire_put(&b, PAYLOAD_IDi, (struct bytes){some, 12});
    wire_put_auth(&b, AUTH_SHARED_KEY, (struct bytes){some, 48});
    wire_put(&b, PAYLOAD_SA, (struct bytes){some, 44});
    wire_put(&b, PAYLOAD_TSi, (struct bytes){some, 24});
    wire_put(&b, PAYLOAD_TSr, (struct bytes){some, 24});
    tell_gateway(&p, EXCHANGE_IKE_AUTH, 1, &b);
    expect_refused(&p);
}

static void test_wrong_exchange(void **state)
{
    (void)state;
    static const struct {
        uint16_t group, len;
        unsigned times;
    } cases[] = {
        {20, 96, 1},                  /* the second one first */
        {36, 1184, 2},                /* two at once */
        {36, 1183, 1}, {36, 1088, 1}, /* an answer */
        {31, 32, 1},   {36, 1, 1},
    };
    static const uint8_t some[1184] = {1};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair p = half_open_pair();
        struct wire_builder b;
        sk_begin(p.client->engine, &b);
        for (unsigned n = 0; n < cases[i].times; n++)
            wire_put_ke(&b, cases[i].group, (struct bytes){some, cases[i].len});
        tell_gateway(&p, EXCHANGE_IKE_INTERMEDIATE, 1, &b);
        expect_refused(&p);
    }
}

/* Without a key exchange one is answered as well: something else may be in it. Not for ever. */
static void test_empty_exchanges(void **state)
{
    (void)state;
    struct pair p = half_open_pair();
    struct wire_builder b;
    for (uint32_t id = 1; id <= 11; id++) {
        sk_begin(p.client->engine, &b);
        wire_put_notify(&b, 40000, (struct bytes){0});
        tell_gateway(&p, EXCHANGE_IKE_INTERMEDIATE, id, &b);
        assert_int_equal(stage_sa(p.gateway->engine, 0)->state, IKE_STATE_INIT_DONE);
        assert_int_equal(stage_sa(p.gateway->engine, 0)->next_in, id + 1);
    }
    sk_begin(p.client->engine, &b);
    tell_gateway(&p, EXCHANGE_IKE_INTERMEDIATE, 12, &b);
    expect_refused(&p);
}

/* The client is told an error in place of an answer, or something else that it cannot use. */
static void test_bad_answers(void **state)
{
    (void)state;
    static const uint8_t some[1088] = {1};
    for (unsigned kind = 0; kind < 5; kind++) {
        struct pair p = half_open_pair();
        struct ike_engine *e = p.gateway->engine;
        struct wire_builder b;
        sk_begin(e, &b);
        if (kind == 0)
            wire_put_notify(&b, NOTIFY_INVALID_SYNTAX, (struct bytes){0});
        for (unsigned n = 0; n < kind && kind < 3; n++)
            wire_put_ke(&b, kind == 1 ? 20 : 36, (struct bytes){some, kind == 1 ? 96 : 1088});
        if (kind == 3)
            wire_put_ke(&b, 36, (struct bytes){some, 1087});
        struct message *m = sk_seal(e, stage_sa(e, 0), EXCHANGE_IKE_INTERMEDIATE, true, 1, &b);
        struct ike_path path = stage_sa(p.client->engine, 0)->path;
        ike_input(p.client->engine, p.sim->now, &path, message_bytes(m));
        sim_drain(p.client);
        message_drop(e, &m);
        const struct ike_event *failed = sim_event(p.client, IKE_EVENT_FAILED);
        assert_non_null(failed);
        assert_true(strlen(failed->text) > 20);
        if (kind == 0)
            assert_int_equal(failed->notify, NOTIFY_INVALID_SYNTAX);
        p.sim->filter = NULL;
        sim_run(p.sim, 70 * TIME_SECOND);
        pair_end(&p);
    }
}

/* Cookie, puzzle, fragments of the smallest size, three key exchanges, a bad network. */
static void test_all_at_once(void **state)
{
    (void)state;
    enum { OTHERS = 20 };
    for (unsigned i = 0; i < 12; i++) {
        struct pair p = pair_make_seeded(i);
        bool cbc = i & 1;
        const char *ike = cbc ? "aes256-sha512-prfsha512-x25519-ke1_mlkem1024-ke2_mlkem768"
                              : "aes256gcm16-prfsha384-x25519-ke1_mlkem1024-ke2_mlkem768";
        sim_proposals(p.client, ike, ESP2);
        sim_proposals(p.gateway, ike, ESP2);
        p.client->conf.fragment = p.gateway->conf.fragment = 576;
        sim_start(p.client);
        sim_start(p.gateway);
        if (i & 2)
            p.sim->link = sim_bad_link;
        p.gateway->engine->gate->half_open += OTHERS;
        p.gateway->engine->gate->difficulty = PUZZLE_FIRST;
        p.client->redial = p.gateway;
        sim_initiate(p.client, p.gateway);
        for (unsigned s = 0; s < 200 && !sim_settled(p.sim); s++) {
            sim_run(p.sim, TIME_SECOND);
            p.gateway->engine->gate->difficulty = PUZZLE_FIRST; /* the row is not really full */
        }
        sim_check_pair(p.sim, p.client, p.gateway);
        assert_true(ike_counters(p.gateway->engine)->puzzles_asked > 0);
        assert_true(ike_counters(p.gateway->engine)->in_fragmented >= 2);
        p.gateway->engine->gate->half_open -= OTHERS;
        p.sim->link = sim_good_link;
        pair_end(&p);
    }
}

/* ---- the offer is cut down on the way */

static enum sim_fate spoil_offer(struct sim *sim, struct sim_datagram *d)
{
    (void)sim;
    if (d->len < 28 || d->octets[18] != EXCHANGE_IKE_SA_INIT || d->octets[19] & FLAG_RESPONSE)
        return SIM_PASS;
    for (size_t i = 28; i + 6 <= d->len; i++)
        if (memcmp(d->octets + i, "\x00\x08\x06\x00\x00\x24", 6) == 0)
            d->octets[i + 2] = 200; /* a type that nobody knows: the proposal is ignored */
    return SIM_PASS;
}

static void test_spoiled_offer(void **state)
{
    (void)state;
    struct bytes bad;
    struct pair p = multi_pair("aes256gcm16-prfsha384-x25519-ke1_mlkem768", ESP2);
    struct sim_host *both[] = {p.client, p.gateway};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(suite_parse("aes256gcm16-prfsha384-x25519", PROTOCOL_IKE,
                                     &both[i]->conf.ike[both[i]->conf.ike_count++], &bad),
                         0);
    p.sim->filter = spoil_offer;
    pair_start(&p);
    pair_expect_failure(&p, ERR_AUTH, NOTIFY_AUTHENTICATION_FAILED);
}

/* With `pq = require` it ends where it begins. */
static void test_required(void **state)
{
    (void)state;
    struct pair p = multi_pair("aes256gcm16-prfsha384-x25519-ke1_mlkem768", ESP2);
    p.gateway->conf.pq = CONF_PQ_REQUIRE;
    sim_proposals(p.client, "aes256gcm16-prfsha384-x25519", "aes256gcm16-x25519");
    pair_start(&p);
    sim_run(p.sim, 10 * TIME_SECOND);
    assert_non_null(strstr(sim_event(p.gateway, IKE_EVENT_REFUSED)->text, "pq = require"));
    pair_expect_failure(&p, ERR_NO_PROPOSAL, NOTIFY_NO_PROPOSAL_CHOSEN);
    p = multi_pair("aes256gcm16-prfsha384-x25519-ke1_mlkem768", ESP2);
    p.client->conf.pq = CONF_PQ_REQUIRE;
    sim_proposals(p.gateway, "aes256gcm16-prfsha384-x25519", "aes256gcm16-x25519");
    pair_start(&p);
    sim_run(p.sim, 10 * TIME_SECOND);
    assert_non_null(strstr(sim_event(p.client, IKE_EVENT_FAILED)->text, "pq = require"));
    pair_expect_failure(&p, ERR_NO_PROPOSAL, NOTIFY_NO_PROPOSAL_CHOSEN);
}

/* The gateway knows IKE_INTERMEDIATE and takes one key exchange: refused then, the client names
 * what libreswan does with that. Not when an exchange was held. */
static void test_idle_and_refused(void **state)
{
    (void)state;
    static const char hint[] = "intermediate=yes";
    for (unsigned held = 0; held < 2; held++) {
        struct pair p = multi_pair("aes256gcm16-prfsha384-x25519-ke1_mlkem768", ESP2);
        struct conf_tunnel *c = &p.client->conf;
        struct bytes bad;
        assert_int_equal(suite_parse("aes256gcm16-prfsha384-x25519", PROTOCOL_IKE,
                                     &c->ike[c->ike_count++], &bad),
                         0);
        if (!held)
            sim_proposals(p.gateway, "aes256gcm16-prfsha384-x25519", ESP2);
        p.client->psk[0] = "something else entirely";
        pair_start(&p);
        sim_run(p.sim, 10 * TIME_SECOND);
        assert_int_equal(!!strstr(sim_event(p.client, IKE_EVENT_FAILED)->text, hint), !held);
        pair_expect_failure(&p, ERR_AUTH, NOTIFY_AUTHENTICATION_FAILED);
    }
}

/* ---- IKE_FOLLOWUP_KE */

/* The client dies in the middle: the gateway waits a minute, then nothing of it is left. */
static void test_forsaken(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 2; kind++) {
        struct pair p = multi_pair(IKE2, ESP2);
        struct ike_usage u;
        p.gateway->conf.idle_check = p.gateway->conf.dpd = 0;
        pair_up(&p);
        lost.exchange = EXCHANGE_IKE_FOLLOWUP_KE;
        lost.response = false;
        p.sim->filter = lose;
        assert_int_equal(sim_command(p.client, kind ? IKE_REKEY_CHILD : IKE_REKEY_IKE, 0), 0);
        sim_run(p.sim, TIME_SECOND);
        ike_usage(p.gateway->engine, &u);
        assert_int_equal(u.children, kind ? 2 : 1);
        assert_int_equal(u.sas, kind ? 1 : 2);
        /* work of our own that makes an SA waits */
        assert_int_equal(sim_command(p.gateway, IKE_REKEY_IKE, 0), 0);
        sim_log_clear(p.sim);
        sim_stop(p.client);
        sim_run(p.sim, 50 * TIME_SECOND);
        assert_int_equal(pair_sent(&p, EXCHANGE_CREATE_CHILD_SA, false), 0);
        sim_run(p.sim, 15 * TIME_SECOND);
        assert_true(pair_sent(&p, EXCHANGE_CREATE_CHILD_SA, false) > 0);
        ike_usage(p.gateway->engine, &u);
        assert_int_equal(u.children, 1);
        assert_int_equal(u.sas, 2); /* the own rekey's */
        sim_run(p.sim, 90 * TIME_SECOND);
        sim_check_empty(p.sim);
        sim_free(p.sim);
    }
}

/* A reload ends what is unfinished; what has waited for its end begins, with no other event. */
static void test_reload_meanwhile(void **state)
{
    (void)state;
    struct pair p = multi_pair(IKE2, ESP2);
    p.gateway->conf.idle_check = p.gateway->conf.dpd = 0;
    pair_up(&p);
    struct sa *sa = stage_sa(p.gateway->engine, 0);
    lost.exchange = EXCHANGE_IKE_FOLLOWUP_KE;
    lost.response = false;
    p.sim->filter = lose;
    assert_int_equal(sim_command(p.client, IKE_REKEY_IKE, 0), 0);
    sim_run(p.sim, TIME_SECOND);
    assert_int_equal(sim_command(p.gateway, IKE_REKEY_CHILD, 0), 0);
    sim_stop(p.client);
    sim_log_clear(p.sim);
    sim_run(p.sim, TIME_SECOND);
    assert_non_null(sa->followup);
    assert_int_equal(p.sim->log_count, 0);
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, TIME_SECOND);
    assert_null(sa->followup);
    assert_true(pair_sent(&p, EXCHANGE_CREATE_CHILD_SA, false) > 0);
    sim_free(p.sim);
}

/* ML-KEM is wanted while a tunnel stands without it: the IKE SA is rekeyed, and the child too,
 * whose keys come from what the IKE SA had; a child's rekey before that is no empty offer. */
static void test_reload_to_required(void **state)
{
    (void)state;
    for (unsigned early = 0; early < 2; early++) {
        struct pair p = multi_pair("aes256gcm16-prfsha384-x25519", "aes256gcm16");
        p.client->conf.ike[1] = p.client->conf.ike[0];
        sim_proposals(p.client, IKE2, "aes256gcm16");
        p.client->conf.ike_count = 2;
        pair_up(&p);
        assert_int_equal(pair_child(p.gateway)->kes.ke, 0);
        sim_proposals(p.gateway, IKE2, "aes256gcm16");
        p.gateway->conf.pq = CONF_PQ_REQUIRE;
        assert_int_equal(sim_reload(p.gateway), 0);
        if (early)
            assert_int_equal(sim_command(p.gateway, IKE_REKEY_CHILD, 0), 0);
        sim_run(p.sim, early ? TIME_SECOND : 900 * TIME_SECOND);
        sim_check_pair(p.sim, p.client, p.gateway);
        assert_null(sim_event(p.client, IKE_EVENT_DOWN));
        assert_int_equal(pair_child(p.gateway)->kes.add[0], 36);
        pair_end(&p);
    }
}

/* The gateway has forgotten: the client begins anew by itself. */
static void test_forgotten(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 2; kind++)
        for (unsigned done = 0; done < 2; done++) {
            struct pair p = multi_pair(IKE2, ESP2);
            pair_up(&p);
            assert_int_equal(sim_command(p.client, kind ? IKE_REKEY_CHILD : IKE_REKEY_IKE, 0), 0);
            struct sa *sa = stage_sa(p.gateway->engine, 0);
            uint32_t first = sa->next_in;
            while (sa->next_in < first + 1 + done)
                assert_true(sim_step(p.sim, p.sim->now + TIME_SECOND));
            assert_non_null(sa->followup);
            followup_drop(p.gateway->engine, sa);
            sim_run(p.sim, 30 * TIME_SECOND);
            sim_check_pair(p.sim, p.client, p.gateway);
            assert_int_equal(
                sim_events(p.client, kind ? IKE_EVENT_REKEYED_CHILD : IKE_EVENT_REKEYED_IKE), 1);
            pair_end(&p);
        }
}

/* Nothing waits, or not for this. */
static void test_unknown_link(void **state)
{
    (void)state;
    static const uint8_t some[1184] = {1};
    for (unsigned begun = 0; begun < 2; begun++) {
        struct pair p = multi_pair(IKE2, ESP2);
        struct wire_builder b;
        p.client->conf.fragment = p.gateway->conf.fragment = 0;
        pair_up(&p);
        lost.exchange = EXCHANGE_IKE_FOLLOWUP_KE;
        lost.response = false;
        p.sim->filter = lose;
        if (begun)
            assert_int_equal(sim_command(p.client, IKE_REKEY_CHILD, 0), 0);
        sim_run(p.sim, TIME_SECOND / 4);
        struct sa *sa = stage_sa(p.gateway->engine, 0);
        uint32_t id = sa->next_in;
        sk_begin(p.client->engine, &b);
        wire_put_ke(&b, 36, (struct bytes){some, sizeof(some)});
        if (begun)
            wire_put_notify(&b, NOTIFY_ADDITIONAL_KEY_EXCHANGE, (struct bytes){some, 16});
        tell_gateway(&p, EXCHANGE_IKE_FOLLOWUP_KE, id, &b);
        assert_int_equal(sa->next_in, id + 1);
        assert_int_equal(sa->state, IKE_STATE_ESTABLISHED);
        assert_true(begun ? !!sa->followup : !sa->followup);
        p.sim->packets_may_be_lost = true;
        sim_free(p.sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auth_too_early),   cmocka_unit_test(test_wrong_exchange),
        cmocka_unit_test(test_empty_exchanges),  cmocka_unit_test(test_bad_answers),
        cmocka_unit_test(test_all_at_once),      cmocka_unit_test(test_spoiled_offer),
        cmocka_unit_test(test_required),         cmocka_unit_test(test_forsaken),
        cmocka_unit_test(test_forgotten),        cmocka_unit_test(test_unknown_link),
        cmocka_unit_test(test_reload_meanwhile), cmocka_unit_test(test_reload_to_required),
        cmocka_unit_test(test_idle_and_refused),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
