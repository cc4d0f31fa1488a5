/* SAs as they come, move and go; what is refused, and under which name. */
#include "pair.h"

static uint8_t frame[ESP_FRAME_MAX];

static size_t udp_to(uint8_t last, uint16_t port, uint16_t payload)
{
    struct make m = {.family = 4,
                     .protocol = PROTO_UDP,
                     .payload = payload,
                     .source_port = 9,
                     .destination_port = port,
                     .last = last};
    return make_frame(&m, frame);
}

/* The SPI a frame goes out on, 0 when it does not. */
static uint32_t spi_of(struct pair *pair, size_t len)
{
    uint32_t spi;
    end_clear(&pair->a);
    end_put(&pair->a, frame, len);
    if (pair->a.send_count == 0)
        return 0;
    memcpy(&spi, pair->a.wire, 4);
    return ntohl(spi);
}

static void carry_one(struct pair *pair)
{
    end_clear(&pair->b);
    pair_carry(&pair->a, &pair->b);
}

struct tally {
    uint32_t kinds[8], count;
    struct esp_fact last;
};

static struct tally facts(struct esp_plane *plane, time_us now)
{
    struct tally t = {0};
    esp_tick(plane, now);
    while (esp_next_fact(plane, &t.last)) {
        t.kinds[t.last.kind]++;
        t.count++;
    }
    return t;
}

/* ---- destinations --------------------------------------------------------------------------- */

static void newest_that_is_ready_sends(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c0 = pair_config(0), c1 = pair_config(1);
    size_t len = udp_to(1, 7, 10);
    assert_int_equal(spi_of(pair, len), 0);
    assert_int_equal(end_counters(&pair->a).drop_out_no_sa, 1);
    pair_child(pair, &c0);
    assert_int_equal(spi_of(pair, len), 0x2000);
    c1.out_waits = true;
    pair_child(pair, &c1);
    assert_int_equal(spi_of(pair, len), 0x2000);
    /* The peer is heard on the new one: it sends. */
    struct make back = {.family = 4, .protocol = PROTO_UDP, .payload = 5};
    assert_int_equal(esp_remove(pair->b.plane, 0x2000, 0, 0), 0);
    size_t back_len = make_frame(&back, frame);
    struct ip4_header *ip = (void *)(frame + ESP_FRAME_HEADER);
    for (int i = 0; i < 4; i++) {
        uint8_t swap = ip->source[i];
        ip->source[i] = ip->destination[i];
        ip->destination[i] = swap;
    }
    end_clear(&pair->b);
    end_put(&pair->b, frame, back_len);
    end_clear(&pair->a);
    pair_carry(&pair->b, &pair->a);
    assert_int_equal(end_counters(&pair->a).in_packets, 1);
    len = udp_to(1, 7, 10);
    assert_int_equal(spi_of(pair, len), 0x2001);
    /* Its end moves traffic back, at once. */
    assert_int_equal(esp_remove(pair->a.plane, 0x1001, 0, 0), 0);
    assert_int_equal(spi_of(pair, len), 0x2000);
    assert_int_equal(esp_remove(pair->a.plane, 0x1001, 0, 0), ERR_NOT_FOUND);
    pair_close(pair);
}

static void waiting_one_sends_when_alone(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c0 = pair_config(0), c1 = pair_config(1);
    c1.out_waits = true;
    pair_child(pair, &c0);
    pair_child(pair, &c1);
    size_t len = udp_to(1, 7, 10);
    assert_int_equal(spi_of(pair, len), 0x2000);
    assert_int_equal(esp_remove(pair->a.plane, 0x1000, 0, TIME_SECOND), 0);
    assert_int_equal(spi_of(pair, len), 0x2001);
    pair_close(pair);
}

static void longest_prefix_and_selectors(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    static const char *const remotes[] = {"0.0.0.0/0", "10.1.0.0/16", "10.1.0.64/26",
                                          "10.1.0.200/32"};
    for (uint32_t i = 0; i < ARRAY_LEN(remotes); i++) {
        struct esp_sa_config c = pair_config(i);
        struct prefix p;
        assert_true(prefix_parse(remotes[i], &p));
        c.remote_ts[0] = selector_from_prefix(&p);
        c.remote_count = 1;
        pair_child(pair, &c);
    }
    /* A range that is no prefix, for one protocol and port. */
    struct esp_sa_config c = pair_config(9);
    assert_true(ip_parse("10.1.0.3", &c.remote_ts[0].low));
    assert_true(ip_parse("10.1.0.9", &c.remote_ts[0].high));
    c.remote_ts[0].protocol = PROTO_UDP;
    c.remote_ts[0].port_low = c.remote_ts[0].port_high = 53;
    c.remote_count = 1;
    pair_child(pair, &c);
    assert_int_equal(spi_of(pair, udp_to(200, 7, 1)), 0x2003);
    assert_int_equal(spi_of(pair, udp_to(100, 7, 1)), 0x2002);
    assert_int_equal(spi_of(pair, udp_to(5, 7, 1)), 0x2001);
    assert_int_equal(spi_of(pair, udp_to(5, 53, 1)), 0x2009);
    assert_int_equal(spi_of(pair, udp_to(10, 53, 1)), 0x2001);
    size_t len = udp_to(5, 53, 1);
    frame[ESP_FRAME_HEADER + 16] = 11; /* 11.1.0.5 */
    assert_int_equal(spi_of(pair, len), 0x2000);
    len = udp_to(5, 53, 1);
    frame[ESP_FRAME_HEADER + 6] = 0x20; /* a later fragment has no ports */
    frame[ESP_FRAME_HEADER + 7] = 9;
    assert_int_equal(spi_of(pair, len), 0x2001);
    pair_close(pair);
}

/* Many SAs, added and removed at random, against a naive search. */
static void tables_against_model(void **state)
{
    (void)state;
    enum { SAS = 90 };
    struct pair *pair = pair_open();
    struct esp_sa_config c[SAS];
    uint32_t order[SAS] = {0}, clock = 0;
    for (uint32_t i = 0; i < SAS; i++) {
        c[i] = pair_config(i);
        char text[64];
        struct prefix p;
        snprintf(text, sizeof(text), "10.1.0.%u/%u", i % 8 * 32, i % 3 == 0 ? 27 : 32);
        assert_true(prefix_parse(text, &p));
        c[i].remote_ts[0] = selector_from_prefix(&p);
        c[i].remote_count = 1;
    }
    for (int step = 0; step < 4000; step++) {
        uint32_t i = pair_random(&pair->seed) % SAS;
        if (order[i]) {
            order[i] = 0;
            assert_int_equal(esp_remove(pair->a.plane, c[i].spi_in, 0, 0), 0);
        } else {
            order[i] = ++clock;
            assert_int_equal(esp_add(pair->a.plane, &c[i], 0), 0);
        }
        uint8_t last = (uint8_t)(1 + pair_random(&pair->seed) % 255);
        uint32_t want = 0, best = 0;
        for (uint32_t k = 0; k < SAS; k++) {
            bool host = k % 3 != 0;
            uint32_t base = k % 8 * 32;
            if (!order[k] || (host ? last != base : last / 32 != base / 32))
                continue;
            uint32_t rank = order[k] + (host ? 1u << 24 : 0);
            if (rank > best) {
                best = rank;
                want = c[k].spi_out;
            }
        }
        assert_int_equal(spi_of(pair, udp_to(last, 1, 1)), want);
    }
    pair_close(pair);
}

static void new_generation_replaces(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c0 = pair_config(0), c1 = pair_config(1), other = pair_config(2);
    c0.generation = 1;
    other.generation = 1;
    other.remote_count = 1;
    c1.generation = 2;
    c1.out_waits = true;
    pair_child(pair, &c0);
    pair_child(pair, &other);
    assert_int_equal(esp_add(pair->a.plane, &c1, 0), 0);
    (void)facts(pair->a.plane, 1);
    assert_int_equal(esp_remove(pair->a.plane, 0x1000, 0, 0), 0); /* lingering still */
    assert_int_equal(esp_add(pair->a.plane, &c0, 0), 0);
    struct esp_sa_config c3 = pair_config(3);
    c3.generation = 3;
    assert_int_equal(esp_add(pair->a.plane, &c3, 0), 0);
    (void)facts(pair->a.plane, 11 * TIME_SECOND);
    assert_int_equal(esp_remove(pair->a.plane, 0x1000, 0, 0), ERR_NOT_FOUND);
    assert_int_equal(esp_remove(pair->a.plane, 0x1001, 0, 0), ERR_NOT_FOUND);
    assert_int_equal(esp_remove(pair->a.plane, 0x1002, 0, 0), 0);
    pair_close(pair);
}

static void limits_and_arguments(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = pair_config(0);
    assert_int_equal(esp_add(pair->a.plane, &c, 0), 0);
    assert_int_equal(esp_add(pair->a.plane, &c, 0), ERR_EXISTS);
    for (uint32_t i = 1; i < 100; i++) {
        c = pair_config(i);
        assert_int_equal(esp_add(pair->a.plane, &c, 0), 0);
    }
    c = pair_config(100);
    assert_int_equal(esp_add(pair->a.plane, &c, 0), ERR_LIMIT);
    /* One that only lingers makes room, and the others stay. */
    assert_int_equal(esp_remove(pair->a.plane, pair_config(7).spi_in, 0, TIME_SECOND), 0);
    assert_int_equal(esp_add(pair->a.plane, &c, 0), 0);
    assert_int_equal(esp_remove(pair->a.plane, pair_config(7).spi_in, 0, 0), ERR_NOT_FOUND);
    assert_int_equal(esp_add(pair->a.plane, &(struct esp_sa_config){0}, 0), ERR_LIMIT);
    c.keymat_len_in = 35;
    assert_int_equal(esp_add(pair->b.plane, &c, 0), ERR_ARGUMENT);
    c = pair_config(1);
    c.encr = 99;
    assert_int_equal(esp_add(pair->b.plane, &c, 0), ERR_UNSUPPORTED);
    c = pair_config(1);
    c.integ = 12;
    assert_int_equal(esp_add(pair->b.plane, &c, 0), ERR_UNSUPPORTED);
    c = pair_config(1);
    c.remote_count = 17;
    assert_int_equal(esp_add(pair->b.plane, &c, 0), ERR_ARGUMENT);
    c = pair_config(1);
    c.local_ts[0].high.family = 6;
    assert_int_equal(esp_add(pair->b.plane, &c, 0), ERR_ARGUMENT);
    c = pair_config(1);
    c.spi_in = 255;
    assert_int_equal(esp_add(pair->b.plane, &c, 0), ERR_ARGUMENT);
    pair_close(pair);
}

/* ---- facts ---------------------------------------------------------------------------------- */

static void facts_are_told(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = pair_config(0);
    c.soft_packets = 3;
    c.hard_packets = 5;
    pair_child(pair, &c);
    size_t len = udp_to(1, 7, 10);
    assert_int_equal(spi_of(pair, len), 0x2000);
    carry_one(pair);
    struct tally a = facts(pair->a.plane, 2 * TIME_SECOND);
    struct tally b = facts(pair->b.plane, 2 * TIME_SECOND);
    assert_int_equal(a.kinds[ESP_FACT_SENT], 1);
    assert_int_equal(b.kinds[ESP_FACT_HEARD], 1);
    assert_int_equal(a.count + b.count, 2);
    assert_int_equal(b.last.remote.ip.family, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(spi_of(pair, len), 0x2000);
    a = facts(pair->a.plane, 2 * TIME_SECOND + 1);
    assert_int_equal(a.kinds[ESP_FACT_SOFT], 1);
    assert_int_equal(a.count, 1); /* "sent" once a second */
    for (int i = 0; i < 2; i++)
        assert_int_equal(spi_of(pair, len), 0x2000);
    assert_int_equal(spi_of(pair, len), 0); /* over */
    a = facts(pair->a.plane, 2 * TIME_SECOND + 2);
    assert_int_equal(a.kinds[ESP_FACT_HARD], 1);
    assert_int_equal(a.kinds[ESP_FACT_SOFT], 0);
    assert_int_equal(facts(pair->a.plane, 9 * TIME_SECOND).count, 0);
    assert_int_equal(esp_remove(pair->a.plane, 0x1000, 0, 0), ERR_NOT_FOUND);
    pair_close(pair);
}

static void count_call(void *context)
{
    ++*(int *)context;
}

/* A limit calls the control thread once, soft and hard each. */
static void limits_are_urgent(void **state)
{
    (void)state;
    int calls = 0;
    struct pair *pair = pair_open();
    struct esp_sa_config c = pair_config(0);
    pair->a.plane->config.urgent = count_call;
    pair->a.plane->config.urgent_context = &calls;
    c.soft_bytes = 100;
    c.hard_bytes = 300;
    pair_child(pair, &c);
    for (int i = 0; i < 12; i++) {
        (void)spi_of(pair, udp_to(1, 7, 10)); /* 38 octets */
        assert_int_equal(calls, i < 2 ? 0 : i < 7 ? 1 : 2);
    }
    struct tally t = facts(pair->a.plane, 1);
    assert_int_equal(t.kinds[ESP_FACT_HARD], 1);
    pair_close(pair);
}

static void time_ends_it(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = pair_config(0);
    c.hard_seconds = 10;
    pair_child(pair, &c);
    assert_int_equal(facts(pair->a.plane, 9 * TIME_SECOND).count, 0);
    struct tally t = facts(pair->a.plane, 10 * TIME_SECOND);
    assert_int_equal(t.kinds[ESP_FACT_HARD], 1);
    assert_int_equal(t.last.spi_in, 0x1000);
    assert_int_equal(spi_of(pair, udp_to(1, 7, 10)), 0);
    pair_close(pair);
}

static void linger_receives_on(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = pair_config(0);
    pair_child(pair, &c);
    assert_int_equal(spi_of(pair, udp_to(1, 7, 10)), 0x2000);
    assert_int_equal(esp_remove(pair->b.plane, 0x2000, 0, 5 * TIME_SECOND), 0);
    carry_one(pair);
    assert_int_equal(pair->b.frame_count, 1);
    (void)facts(pair->b.plane, 5 * TIME_SECOND);
    assert_int_equal(spi_of(pair, udp_to(1, 7, 10)), 0x2000);
    carry_one(pair);
    assert_int_equal(pair->b.frame_count, 0);
    struct tally t = facts(pair->b.plane, 6 * TIME_SECOND);
    assert_int_equal(t.kinds[ESP_FACT_UNKNOWN_SPI], 1);
    assert_int_equal(t.last.remote.port, 4500);
    pair_close(pair);
}

static void a_moved_peer_is_told(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = pair_config(0), m = pair_mirror(&c);
    m.remote.port = 4501;
    assert_int_equal(esp_add(pair->a.plane, &c, 0), 0);
    assert_int_equal(esp_add(pair->b.plane, &m, 0), 0);
    assert_int_equal(spi_of(pair, udp_to(1, 7, 10)), 0x2000);
    carry_one(pair);
    struct esp_fact fact;
    esp_tick(pair->b.plane, 1);
    assert_true(esp_next_fact(pair->b.plane, &fact));
    assert_int_equal(fact.kind, ESP_FACT_HEARD);
    assert_int_equal(fact.remote.port, 4500);
    assert_int_equal(esp_move(pair->b.plane, 1, &m.local, &fact.remote, 0, true), 0);
    while (esp_next_fact(pair->b.plane, &fact)) {
    }
    assert_int_equal(spi_of(pair, udp_to(1, 7, 10)), 0x2000);
    carry_one(pair);
    esp_tick(pair->b.plane, 2 * TIME_SECOND);
    assert_true(esp_next_fact(pair->b.plane, &fact));
    assert_int_equal(fact.remote.ip.family, 0);
    assert_int_equal(esp_move(pair->b.plane, 2, &m.local, &fact.remote, 0, true), ERR_ARGUMENT);
    assert_int_equal(esp_move(pair->b.plane, 2, &m.local, &m.remote, 0, true), ERR_NOT_FOUND);
    pair_close(pair);
}

static void numbers_end_without_esn(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = pair_config(0);
    c.esn = false;
    pair_child(pair, &c);
    struct sa *sa = sad_find(pair->a.plane, 0x1000);
    atomic_store(&sa->sequence, UINT32_MAX - 1);
    size_t len = udp_to(1, 7, 10);
    assert_int_equal(spi_of(pair, len), 0x2000);
    carry_one(pair);
    assert_int_equal(pair->b.frame_count, 1);
    assert_int_equal(spi_of(pair, len), 0);
    assert_int_equal(end_counters(&pair->a).drop_out_sequence, 1);
    assert_int_equal(facts(pair->a.plane, 1).kinds[ESP_FACT_HARD], 1);
    pair_close(pair);
}

/* With ESN the high half counts on, and is part of what is authentic. */
static void numbers_go_on_with_esn(void **state)
{
    (void)state;
    static const uint16_t integ[] = {0, 12};
    for (size_t i = 0; i < ARRAY_LEN(integ); i++) {
        struct pair *pair = pair_open();
        struct esp_sa_config c = pair_config(0);
        c.integ = integ[i];
        c.encr = integ[i] ? 12 : 20;
        c.keymat_len_in = c.keymat_len_out = integ[i] ? 64 : 36;
        pair_child(pair, &c);
        atomic_store(&sad_find(pair->a.plane, 0x1000)->sequence, UINT32_MAX - 5ull);
        for (int k = 0; k < 12; k++) {
            assert_int_equal(spi_of(pair, udp_to(1, 7, 10)), 0x2000);
            carry_one(pair);
            assert_int_equal(pair->b.frame_count, 1);
        }
        assert_int_equal(sad_find(pair->b.plane, 0x2000)->replay.top, UINT32_MAX + 7ull);
        pair_close(pair);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newest_that_is_ready_sends),
        cmocka_unit_test(waiting_one_sends_when_alone),
        cmocka_unit_test(longest_prefix_and_selectors),
        cmocka_unit_test(tables_against_model),
        cmocka_unit_test(new_generation_replaces),
        cmocka_unit_test(limits_and_arguments),
        cmocka_unit_test(facts_are_told),
        cmocka_unit_test(limits_are_urgent),
        cmocka_unit_test(time_ends_it),
        cmocka_unit_test(linger_receives_on),
        cmocka_unit_test(a_moved_peer_is_told),
        cmocka_unit_test(numbers_end_without_esn),
        cmocka_unit_test(numbers_go_on_with_esn),
    };
    if (crypto_init() != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
