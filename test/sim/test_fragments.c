/* IKE messages in fragments (RFC 7383), cut, lost, repeated and cut smaller; both roles, both
 * families, both kinds of cipher. */
#include "pair.h"

enum { FRAGMENT_AT = 28 + 4, OVER_UDP4 = 28 + 4, OVER_UDP6 = 48 + 4 };

/* Both send a chain of four RSA certificates: about 3 kB. */
static struct pair chain_pair_on(const char *client, const char *gateway, uint64_t seed)
{
    static const char *const more[] = {"one.example.org", "two.example.org", "three.example.org"};
    struct pair p = {.sim = sim_create(seed, &sim_good_link)};
    p.client = sim_client(p.sim, "client", client);
    p.gateway = sim_gateway(p.sim, "gateway", gateway);
    p.sim->keep_log = true;
    sim_use_cert(p.client, sim_credential(0, "client.example.org", KEY_RSA, CERT_FOR_CLIENT, false),
                 sim_trust(0));
    sim_use_cert(p.gateway,
                 sim_credential(0, "gateway.example.org", KEY_RSA, CERT_FOR_GATEWAY, false),
                 sim_trust(0));
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        struct cert *cert = sim_credential(0, more[i], KEY_RSA, CERT_FOR_GATEWAY, false)->cert;
        p.client->setup.own_certs[p.client->setup.own_cert_count++] = cert;
        p.gateway->setup.own_certs[p.gateway->setup.own_cert_count++] = cert;
    }
    assert_true(identity_parse("gateway.example.org", &p.client->conf.remote_id));
    return p;
}

static struct pair chain_pair(void)
{
    return chain_pair_on("192.0.2.2", "192.0.2.1", 0x66726167);
}

static bool is_fragment(const struct sim_datagram *d)
{
    return d->len > FRAGMENT_AT + 4 && d->octets[16] == PAYLOAD_SKF;
}

static unsigned number_of(const struct sim_datagram *d)
{
    return (unsigned)d->octets[FRAGMENT_AT] << 8 | d->octets[FRAGMENT_AT + 1];
}

static unsigned total_of(const struct sim_datagram *d)
{
    return (unsigned)d->octets[FRAGMENT_AT + 2] << 8 | d->octets[FRAGMENT_AT + 3];
}

static size_t largest(const struct sim *sim)
{
    size_t most = 0;
    for (const struct sim_datagram *d = sim->log; d; d = d->next)
        if (d->len > most)
            most = d->len;
    return most;
}

static size_t fragments(const struct sim *sim, bool response)
{
    size_t count = 0;
    for (const struct sim_datagram *d = sim->log; d; d = d->next)
        count += is_fragment(d) && !!(d->octets[19] & FLAG_RESPONSE) == response;
    return count;
}

/* In order, with the next payload in the first one only (RFC 7383 2.5). */
static void check_form(const struct sim *sim)
{
    for (const struct sim_datagram *d = sim->log; d; d = d->next) {
        if (!is_fragment(d))
            continue;
        assert_in_range(number_of(d), 1, total_of(d));
        assert_in_range(total_of(d), 2, 64);
        if (number_of(d) == 1)
            assert_int_not_equal(d->octets[28], 0);
        else
            assert_int_equal(d->octets[28], 0);
    }
}

static void up_in_fragments(const char *client, const char *gateway, size_t over, const char *ike)
{
    struct pair p = chain_pair_on(client, gateway, 7);
    sim_proposals(p.client, ike, "aes256gcm16-x25519");
    sim_proposals(p.gateway, ike, "aes256gcm16-x25519");
    pair_up(&p);
    assert_true(largest(p.sim) <= 1280 - over);
    assert_true(largest(p.sim) > 1280 - over - 40); /* and not cut needlessly small */
    assert_int_equal(fragments(p.sim, false), 4);
    assert_in_range(fragments(p.sim, true), 3, 4);
    check_form(p.sim);
    for (int i = 0; i < 2; i++) {
        const struct ike_counters *c = ike_counters((i ? p.gateway : p.client)->engine);
        assert_int_equal(c->in_fragmented, 1);
        assert_int_equal(c->out_fragmented, 1);
        assert_int_equal(c->drop_fragment + c->drop_integrity + c->drop_message_id, 0);
    }
    assert_int_equal(sim_command(p.client, IKE_REKEY_IKE, 0), 0); /* both still know about it */
    sim_run(p.sim, TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

static void test_both_ways(void **state)
{
    (void)state;
    up_in_fragments("192.0.2.2", "192.0.2.1", OVER_UDP4, "aes256gcm16-prfsha384-x25519");
    up_in_fragments("2001:db8::2", "2001:db8::1", OVER_UDP6, "aes256gcm16-prfsha384-x25519");
    up_in_fragments("192.0.2.2", "192.0.2.1", OVER_UDP4, "aes128-sha256-prfsha256-x25519");
    up_in_fragments("192.0.2.2", "192.0.2.1", OVER_UDP4, "chacha20poly1305-prfsha256-x25519");
}

/* One of both does not want it: whole messages, and a fragment that comes all the same is not
 * looked at. */
static void test_not_agreed(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct pair p = chain_pair();
        (side ? p.client : p.gateway)->conf.fragment = 0;
        pair_up(&p);
        assert_true(largest(p.sim) > 3000);
        assert_int_equal(fragments(p.sim, false) + fragments(p.sim, true), 0);
        pair_end(&p);
    }
}

/* ---- loss */

struct lost {
    unsigned number;
    bool response;
    unsigned times;
};

static enum sim_fate lose(struct sim *sim, struct sim_datagram *d)
{
    struct lost *lost = sim->filter_context;
    if (!is_fragment(d) || number_of(d) != lost->number ||
        !!(d->octets[19] & FLAG_RESPONSE) != lost->response || lost->times == 0)
        return SIM_PASS;
    lost->times--;
    return SIM_DROP;
}

/* All datagrams of one direction and number are the same octets. */
static void check_identical(const struct sim *sim)
{
    for (const struct sim_datagram *a = sim->log; a; a = a->next)
        for (const struct sim_datagram *b = a->next; b; b = b->next)
            if (is_fragment(a) && is_fragment(b) && a->octets[19] == b->octets[19] &&
                total_of(a) == total_of(b) && number_of(a) == number_of(b)) {
                assert_int_equal(a->len, b->len);
                assert_memory_equal(a->octets, b->octets, a->len);
            }
}

static void test_each_lost(void **state)
{
    (void)state;
    for (unsigned number = 1; number <= 3; number++)
        for (int response = 0; response < 2; response++) {
            struct pair p = chain_pair();
            struct lost lost = {.number = number, .response = response, .times = 1};
            p.sim->filter = lose;
            p.sim->filter_context = &lost;
            pair_up(&p);
            assert_int_equal(lost.times, 0);
            assert_int_equal(ike_counters(p.client->engine)->retransmitted, 1);
            assert_int_equal(ike_counters(p.gateway->engine)->replayed, response ? 1 : 0);
            assert_int_equal(fragments(p.sim, false), 8); /* all were repeated */
            check_identical(p.sim);
            pair_end(&p);
        }
}

/* The first fragment of an answered request brings the whole answer again; the others, and another
 * first one that is not authentic, bring nothing. */
static void test_answered_again(void **state)
{
    (void)state;
    struct pair p = chain_pair();
    pair_up(&p);
    const struct sim_datagram *of[64] = {0};
    for (const struct sim_datagram *d = p.sim->log; d; d = d->next)
        if (is_fragment(d) && !(d->octets[19] & FLAG_RESPONSE))
            of[number_of(d)] = d;
    size_t before = fragments(p.sim, true);
    for (unsigned i = 4; i >= 1; i--) {
        struct bytes octets = {of[i]->octets, of[i]->len};
        sim_inject(p.sim, &of[i]->from, &of[i]->to, octets);
        sim_run(p.sim, TIME_SECOND / 10);
        assert_int_equal(fragments(p.sim, true), i == 1 ? 2 * before : before);
    }
    check_identical(p.sim);
    uint8_t forged[2048];
    memcpy(forged, of[1]->octets, of[1]->len);
    forged[of[1]->len - 1] ^= 1;
    sim_inject(p.sim, &of[1]->from, &of[1]->to, (struct bytes){forged, of[1]->len});
    sim_run(p.sim, TIME_SECOND / 10);
    assert_int_equal(fragments(p.sim, true), 2 * before);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* ---- a path that carries less */

static enum sim_fate narrow_path(struct sim *sim, struct sim_datagram *d)
{
    const size_t *most = sim->filter_context;
    return d->len > *most ? SIM_DROP : SIM_PASS;
}

/* No IV twice under one key: the key is that of a SPI pair and a direction. */
static void check_ivs(const struct sim *sim)
{
    enum { SEALED_AT = FRAGMENT_AT + 4 };
    for (const struct sim_datagram *a = sim->log; a; a = a->next)
        for (const struct sim_datagram *b = a->next; b; b = b->next) {
            if (a->len < 48 || b->len < 48 || memcmp(a->octets, b->octets, 16) != 0 ||
                (a->octets[19] & FLAG_INITIATOR) != (b->octets[19] & FLAG_INITIATOR) ||
                (a->octets[16] != PAYLOAD_SKF && a->octets[16] != PAYLOAD_SK) ||
                (b->octets[16] != PAYLOAD_SKF && b->octets[16] != PAYLOAD_SK))
                continue;
            size_t at_a = is_fragment(a) ? SEALED_AT : FRAGMENT_AT;
            size_t at_b = is_fragment(b) ? SEALED_AT : FRAGMENT_AT;
            bool same = a->len == b->len && memcmp(a->octets, b->octets, a->len) == 0;
            if (!same)
                assert_memory_not_equal(a->octets + at_a, b->octets + at_b, 8);
        }
}

static void up_on_narrow_path(uint16_t fragment, size_t carries, size_t expect)
{
    struct pair p = chain_pair();
    p.client->conf.fragment = fragment;
    p.gateway->conf.fragment = fragment;
    carries -= OVER_UDP4;
    p.sim->filter = narrow_path;
    p.sim->filter_context = &carries;
    pair_up(&p);
    size_t passed = 0;
    for (const struct sim_datagram *d = p.sim->log; d; d = d->next)
        if (is_fragment(d) && d->octets[19] & FLAG_RESPONSE && d->len > passed)
            passed = d->len; /* of the answer, which was never too large */
    assert_true(passed <= expect - OVER_UDP4);
    check_form(p.sim);
    check_ivs(p.sim);
    pair_end(&p);
}

static void test_narrow_path(void **state)
{
    (void)state;
    up_on_narrow_path(1280, 600, 576);
    up_on_narrow_path(9000, 1300, 1280);
    up_on_narrow_path(9000, 600, 576);
}

static enum sim_fate narrow_back(struct sim *sim, struct sim_datagram *d)
{
    return d->octets[19] & FLAG_RESPONSE ? narrow_path(sim, d) : SIM_PASS;
}

/* The request as it was sent last, in how many pieces. */
static size_t last_request(const struct sim *sim, const struct sim_datagram *out[static 16])
{
    size_t count = 0, total = 1;
    for (const struct sim_datagram *d = sim->log; d; d = d->next) {
        if (d->octets[18] != EXCHANGE_IKE_AUTH || d->octets[19] & FLAG_RESPONSE)
            continue;
        total = is_fragment(d) ? total_of(d) : 1;
        if (total == 1 || number_of(d) == 1)
            count = 0;
        out[count++ % 16] = d;
    }
    assert_int_equal(count, total);
    return count;
}

/* Requests pass, and large answers do not: nothing tells the gateway but that it is asked again. */
static void answer_on_narrow_path(uint16_t fragment, size_t carries, size_t expect)
{
    struct pair p = chain_pair();
    p.client->conf.local_auth = p.gateway->conf.remote_auth = CONF_AUTH_PSK;
    sim_psk(p.client, NULL, PSK);
    sim_psk(p.gateway, p.client, PSK);
    p.client->conf.fragment = p.gateway->conf.fragment = fragment;
    carries -= OVER_UDP4;
    p.sim->filter = narrow_back;
    p.sim->filter_context = &carries;
    pair_start(&p);
    assert_true(sim_until(p.sim, sim_settled, 15 * TIME_SECOND));
    sim_check_pair(p.sim, p.client, p.gateway);
    const struct sim_datagram *last = NULL, *request[16];
    for (const struct sim_datagram *d = p.sim->log; d; d = d->next)
        if (is_fragment(d) && number_of(d) == 1 && d->octets[19] & FLAG_RESPONSE)
            last = d;
    assert_non_null(last);
    assert_in_range(last->len, expect - OVER_UDP4 - 40, expect - OVER_UDP4);
    check_form(p.sim);
    check_ivs(p.sim);
    /* and who only repeats what it saw makes no later answer smaller */
    size_t before = fragments(p.sim, true), pieces = last_request(p.sim, request);
    for (int i = 0; i < 10; i++) {
        for (size_t k = 0; k < pieces; k++)
            sim_inject(p.sim, &request[k]->from, &request[k]->to,
                       (struct bytes){request[k]->octets, request[k]->len});
        sim_run(p.sim, TIME_SECOND / 10);
    }
    assert_true(fragments(p.sim, true) >= before + 10 * total_of(last));
    check_ivs(p.sim);
    pair_end(&p);
}

static void test_narrow_answer(void **state)
{
    (void)state;
    answer_on_narrow_path(1280, 600, 576);
    answer_on_narrow_path(1500, 1300, 1280);
    answer_on_narrow_path(9000, 600, 576);
}

/* ---- what is held */

static enum sim_fate no_second(struct sim *sim, struct sim_datagram *d)
{
    (void)sim;
    return is_fragment(d) && number_of(d) == 2 ? SIM_DROP : SIM_PASS;
}

static bool gateway_collects(struct sim *sim)
{
    struct ike_usage u;
    ike_usage(sim->hosts[1]->engine, &u);
    return u.fragments > 3000;
}

/* A piece never comes: what is there goes with the half-open SA, and with the engine. */
static void test_given_up(void **state)
{
    (void)state;
    struct pair p = chain_pair();
    p.sim->filter = no_second;
    pair_start(&p);
    assert_true(sim_until(p.sim, gateway_collects, TIME_SECOND));
    sim_run(p.sim, 70 * TIME_SECOND);
    assert_int_equal(sim_event(p.client, IKE_EVENT_FAILED)->err, ERR_TIMEOUT);
    sim_check_empty(p.sim);
    sim_initiate(p.client, p.gateway);
    assert_true(sim_until(p.sim, gateway_collects, TIME_SECOND));
    sim_stop(p.gateway); /* leak checkers look */
    sim_free(p.sim);
}

/* Loss, repetition and disorder: it takes longer, and that is all. */
static void test_bad_links(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct pair p = chain_pair_on("192.0.2.2", "192.0.2.1", seed);
        p.sim->link = (struct sim_link){.loss = 150,
                                        .duplicate = 200,
                                        .delay_min = 10 * TIME_MILLISECOND,
                                        .delay_max = 100 * TIME_MILLISECOND,
                                        .late = 100,
                                        .late_max = TIME_SECOND};
        p.client->redial = p.gateway;
        p.client->conf.fragment = (uint16_t)(576 + seed * 20);
        pair_start(&p);
        SIM_CHECK(p.sim, sim_until(p.sim, sim_settled, 120 * TIME_SECOND), "not up");
        check_form(p.sim);
        check_ivs(p.sim);
        pair_end(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),   cmocka_unit_test(test_not_agreed),
        cmocka_unit_test(test_each_lost),   cmocka_unit_test(test_answered_again),
        cmocka_unit_test(test_narrow_path), cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_bad_links),   cmocka_unit_test(test_narrow_answer),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
