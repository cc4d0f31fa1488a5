/* Floods: of forged sources, of a botnet that answers cookies, of handshakes that nobody finishes.
 * Whoever is in stays in and can rekey; who comes by rights gets in; what is held stays bounded. */
#include "pair.h"

#include "wire/wire.h"

enum { FORGED_A_SECOND = 5000, BOTS = 4096, SECONDS = 20, WAITING_MAX = 1000 };

/* The flood: copies of one request. Bots answer cookies, forgers never get one. */
static struct flood {
    struct pair p;
    struct sim_host *late;
    uint8_t model[4096];
    size_t len;
    bool bots;
    uint64_t sent, answered;
    size_t most;
} flood;

static size_t build(uint32_t n, struct bytes cookie, uint8_t *out, size_t cap)
{
    struct wire_header h;
    struct wire_chain chain;
    struct wire_builder b;
    struct bytes all = {flood.model, flood.len};
    assert_int_equal(wire_header_read(all, &h), 0);
    struct bytes rest = {all.at + WIRE_HEADER_LEN, all.len - WIRE_HEADER_LEN};
    assert_int_equal(wire_walk(h.next_payload, rest, &chain), 0);
    h.spi_i = 0xb07 + ((uint64_t)n << 32) + flood.p.sim->now / TIME_SECOND * 1000;
    wire_begin(&b, out, cap, &h);
    if (cookie.len)
        wire_put_notify(&b, NOTIFY_COOKIE, cookie);
    for (size_t i = 0; i < chain.count; i++)
        wire_put(&b, chain.at[i].type, chain.at[i].body);
    return wire_finish(&b).len;
}

static struct endpoint source(uint32_t n)
{
    struct endpoint e = {.port = 500};
    assert_true(ip_parse("10.0.0.9", &e.ip));
    e.ip = ip_add(e.ip, (uint64_t)n * (flood.bots ? 64 : 17));
    return e;
}

static void ask(uint32_t n, struct bytes cookie)
{
    static uint8_t buffer[4096];
    struct endpoint from = source(n), to = {flood.p.gateway->ip, 500};
    size_t len = build(n, cookie, buffer, sizeof(buffer));
    sim_inject(flood.p.sim, &from, &to, (struct bytes){buffer, len});
    flood.sent++;
}

/* What the gateway sends to the bots. */
static enum sim_fate bot_hears(struct sim *sim, struct sim_datagram *d)
{
    struct wire_header h;
    struct wire_chain chain;
    struct wire_notify_view n;
    (void)sim;
    if (d->to.ip.family != 4 || d->to.ip.octets[0] != 10)
        return SIM_PASS;
    struct bytes all = {d->octets, d->len};
    assert_int_equal(wire_header_read(all, &h), 0);
    struct bytes rest = {all.at + WIRE_HEADER_LEN, all.len - WIRE_HEADER_LEN};
    if (flood.bots && wire_walk(h.next_payload, rest, &chain) == 0 &&
        wire_notify_find(&chain, NOTIFY_COOKIE, &n)) {
        flood.answered++;
        ask((uint32_t)(h.spi_i >> 32), n.data);
    }
    return SIM_DROP;
}

static void start(bool bots, uint64_t seed)
{
    struct ip ip;
    flood = (struct flood){.p = pair_make_seeded(seed), .bots = bots};
    struct conf_tunnel *c = &flood.p.gateway->conf;
    c->max_tunnels = 20000;
    c->handshakes = 20;
    c->ban = 600;
    flood.late = sim_client(flood.p.sim, "late", "203.0.113.7");
    sim_psk(flood.late, NULL, PSK);
    sim_psk(flood.p.gateway, flood.late, PSK);
    assert_true(ip_parse("203.0.113.7", &ip));
    pair_up(&flood.p);
    flood.len = flood.p.sim->log->len;
    assert_true(flood.len <= sizeof(flood.model));
    memcpy(flood.model, flood.p.sim->log->octets, flood.len);
    flood.p.sim->keep_log = false;
    sim_log_clear(flood.p.sim);
    flood.p.sim->filter = bot_hears;
    flood.p.sim->traffic = 100 * TIME_MILLISECOND;
    sim_start(flood.late);
}

static void look(void)
{
    struct ike_usage usage;
    ike_usage(flood.p.gateway->engine, &usage);
    flood.most = usage.half_open > flood.most ? usage.half_open : flood.most;
    /* two messages for each half-open SA, one for each other */
    SIM_CHECK(flood.p.sim, usage.messages < 3 * WAITING_MAX && usage.sas < 2 * WAITING_MAX + 100,
              "%zu messages, %zu SAs", usage.messages, usage.sas);
}

/* So many a second, evenly, for a while. */
static void pour(unsigned a_second, unsigned seconds)
{
    uint32_t n = (uint32_t)flood.sent;
    for (unsigned i = 0; i < a_second * seconds / 64; i++) {
        for (unsigned k = 0; k < 64; k++, n++)
            ask(flood.bots ? n % BOTS : n, (struct bytes){0});
        sim_run(flood.p.sim, TIME_SECOND * 64 / a_second);
        look();
    }
}

static void stop(void)
{
    struct ike_usage usage;
    struct pair *p = &flood.p;
    p->sim->traffic = 0;
    sim_run(p->sim, 40 * TIME_SECOND); /* the reaper */
    ike_usage(p->gateway->engine, &usage);
    assert_int_equal(usage.half_open, 0);
    assert_int_equal(sim_events(p->client, IKE_EVENT_DOWN), 0);
    assert_int_equal(sim_events(p->gateway, IKE_EVENT_DOWN), 0);
    assert_int_equal(p->client->packets_lost + p->gateway->packets_lost, 0);
    (void)sim_command(flood.late, IKE_DELETE, 0);
    p->sim->filter = NULL;
    pair_end(p);
}

static void rekey_both(struct sim_host *host)
{
    assert_int_equal(sim_command(host, IKE_REKEY_CHILD, 0), 0);
    pour(FORGED_A_SECOND, 2);
    assert_int_equal(sim_command(host, IKE_REKEY_IKE, 0), 0);
    pour(FORGED_A_SECOND, 2);
    assert_int_equal(sim_events(host, IKE_EVENT_REKEYED_CHILD), 1);
    assert_int_equal(sim_events(host, IKE_EVENT_REKEYED_IKE), 1);
}

static void forged_sources(void **state)
{
    (void)state;
    start(false, 0xf00d);
    pour(FORGED_A_SECOND, 2);
    sim_initiate(flood.late, flood.p.gateway);
    pour(FORGED_A_SECOND, 1);
    assert_int_equal(sim_events(flood.late, IKE_EVENT_ESTABLISHED), 1);
    /* one more round trip, and no more than that */
    assert_in_range(sim_event(flood.late, IKE_EVENT_ESTABLISHED)->messages, 6, 6);
    rekey_both(flood.p.client);
    const struct ike_counters *c = ike_counters(flood.p.gateway->engine);
    assert_in_range(c->cookies_asked, flood.sent - 300, flood.sent);
    assert_int_equal(c->puzzles_asked, 0);
    assert_in_range(flood.most, 64, 65);
    stop();
}

/* Each comes once a second from an address of its own, 64 networks of 64: the buckets do not stop
 * that, and the places run out. */
static void botnet(void **state)
{
    (void)state;
    start(true, 0xb07);
    pour(BOTS, 10);
    assert_in_range(flood.most, 300, WAITING_MAX);
    sim_initiate(flood.late, flood.p.gateway);
    pour(BOTS, SECONDS);
    assert_int_equal(sim_events(flood.late, IKE_EVENT_ESTABLISHED), 1);
    rekey_both(flood.p.client);
    const struct ike_counters *c = ike_counters(flood.p.gateway->engine);
    assert_true(flood.answered > 10000);
    assert_true(c->puzzles_asked > 0);
    assert_true(c->drop_rate + c->drop_puzzle + c->drop_half_open > 10000);
    assert_true(flood.most <= WAITING_MAX);
    stop();
}

/* A few addresses that begin and never finish: their share is small, whatever they do. */
static void hoarders(void **state)
{
    (void)state;
    start(true, 0x40a2d);
    for (unsigned i = 0; i < 400; i++) {
        ask(i % 4, (struct bytes){0}); /* four addresses of one network */
        sim_run(flood.p.sim, 25 * TIME_MILLISECOND);
        look();
    }
    assert_in_range(flood.most, 4, 126);
    sim_initiate(flood.late, flood.p.gateway);
    sim_run(flood.p.sim, TIME_SECOND);
    assert_int_equal(sim_events(flood.late, IKE_EVENT_ESTABLISHED), 1);
    assert_true(ike_counters(flood.p.gateway->engine)->cookies_asked > 0);
    stop();
}

/* ---- guessing */

/* One refused handshake; the octets of IKE_AUTH's answer that are not encrypted, and its length. */
static size_t refused(const char *psk, int admit, uint8_t header[static 28])
{
    struct pair p = pair_make();
    size_t len = 0;
    p.client->psk[0] = psk;
    p.gateway->admit = admit;
    pair_start(&p);
    sim_run(p.sim, 2 * TIME_SECOND);
    const struct ike_event *failed = sim_event(p.client, IKE_EVENT_FAILED);
    assert_non_null(failed);
    assert_int_equal(failed->notify, NOTIFY_AUTHENTICATION_FAILED);
    for (const struct sim_datagram *d = p.sim->log; d; d = d->next) {
        if (d->octets[18] != EXCHANGE_IKE_AUTH || !(d->octets[19] & FLAG_RESPONSE))
            continue;
        len = d->len;
        memcpy(header, d->octets, 28);
    }
    memset(header, 0, 16); /* the SPIs are random */
    pair_end(&p);
    return len;
}

/* Who guesses does not learn whether it was the name or the key. */
static void one_answer_to_all_guesses(void **state)
{
    (void)state;
    uint8_t key[28], name[28];
    size_t with_key = refused("another phrase of the same sort", 0, key);
    size_t with_name = refused(PSK, ERR_UNKNOWN_PEER, name);
    assert_true(with_key > 28);
    assert_int_equal(with_key, with_name);
    assert_memory_equal(key, name, 28);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forged_sources),
        cmocka_unit_test(botnet),
        cmocka_unit_test(hoarders),
        cmocka_unit_test(one_answer_to_all_guesses),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
