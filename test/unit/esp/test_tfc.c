/* Padding that hides lengths, and dummies that hide silence (RFC 4303 2.6, 2.7). */
#include "pair.h"

static uint8_t frame[ESP_FRAME_MAX];

enum { TFC_MTU = UINT16_MAX };

static struct pair *open_padded(struct esp_sa_config *c, uint16_t tfc)
{
    struct pair *pair = pair_open();
    *c = pair_config(0);
    c->tfc = tfc;
    pair_child(pair, c);
    return pair;
}

static size_t send_one(struct pair *pair, const struct make *m)
{
    size_t len = make_frame(m, frame);
    end_clear(&pair->a);
    end_clear(&pair->b);
    end_put(&pair->a, frame, len);
    return len;
}

static uint16_t mtu_of(const struct pair *pair)
{
    return atomic_load(&sad_find(pair->a.plane, 0x1000)->out_mtu);
}

/* ESP around an inner packet of `len`, with AES-GCM. */
static uint32_t around(uint32_t len)
{
    return 8 + 8 + (len + 2 + 3) / 4 * 4 + 16;
}

/* Everything that left a is of one length: how many packets. */
static size_t all_are(const struct pair *pair, uint32_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < pair->a.send_count; i++) {
        const struct sent *s = &pair->a.sends[i];
        assert_int_equal(s->stride, len);
        assert_int_equal(s->len, s->count * len);
        count += s->count;
    }
    return count;
}

static const struct make singles[] = {
    {.family = 4, .protocol = PROTO_UDP, .payload = 0},
    {.family = 4, .protocol = PROTO_UDP, .payload = 700, .partial = true},
    {.family = 6, .protocol = PROTO_UDP, .payload = 33},
    {.family = 6, .protocol = PROTO_TCP, .payload = 1, .flags = TCP_SYN, .options = 12},
    {.family = 4, .protocol = PROTO_ICMP, .payload = 56},
    {.family = 4, .protocol = PROTO_UDP, .payload = 1410},
};

static void all_of_one_length(void **state)
{
    (void)state;
    struct esp_sa_config c;
    struct pair *pair = open_padded(&c, TFC_MTU);
    for (size_t i = 0; i < ARRAY_LEN(singles); i++) {
        size_t len = send_one(pair, &singles[i]);
        assert_int_equal(all_are(pair, around(mtu_of(pair))), 1);
        pair_carry(&pair->a, &pair->b);
        assert_int_equal(pair->b.frame_count, 1);
        assert_int_equal(pair->b.frames[0].len, len);
        uint8_t *inside = pair->b.tun + ESP_FRAME_HEADER;
        if (singles[i].protocol != PROTO_ICMP)
            assert_int_equal(transport_sum(inside), 0xffff);
    }
    assert_int_equal(end_counters(&pair->b).in_packets, ARRAY_LEN(singles));
    pair_close(pair);
}

/* At least so many octets; what is longer stays as it is, and nothing is longer than the MTU. */
static void at_least(void **state)
{
    (void)state;
    struct esp_sa_config c;
    struct pair *pair = open_padded(&c, 500);
    for (size_t i = 0; i < ARRAY_LEN(singles); i++) {
        uint32_t len = (uint32_t)send_one(pair, &singles[i]) - ESP_FRAME_HEADER;
        assert_int_equal(all_are(pair, around(len < 500 ? 500 : len)), 1);
        pair_carry(&pair->a, &pair->b);
        assert_int_equal(pair->b.frame_count, 1);
    }
    pair_close(pair);
    pair = open_padded(&c, 9000);
    send_one(pair, &singles[0]);
    assert_int_equal(all_are(pair, around(mtu_of(pair))), 1);
    /* The path turns out to carry less. */
    uint16_t before = mtu_of(pair);
    pair->a.refuse_over = 1400;
    send_one(pair, &singles[0]);
    assert_int_equal(pair->a.send_count, 0);
    pair->a.refuse_over = 0;
    assert_true(mtu_of(pair) < before);
    send_one(pair, &singles[0]);
    assert_int_equal(all_are(pair, around(mtu_of(pair))), 1);
    pair_close(pair);
}

/* Each segment of a super-packet, and the short last one; joined again at the other end. */
static void segments(void **state)
{
    (void)state;
    static const struct make supers[] = {
        {.family = 4, .protocol = PROTO_TCP, .payload = 20001, .piece = 1300, .flags = TCP_ACK},
        {.family = 6, .protocol = PROTO_TCP, .payload = 60000, .piece = 400, .flags = TCP_ACK},
        {.family = 4, .protocol = PROTO_UDP, .payload = 5050, .piece = 1000},
        {.family = 6, .protocol = PROTO_UDP, .payload = 1501, .piece = 100},
    };
    for (size_t i = 0; i < ARRAY_LEN(supers); i++) {
        struct esp_sa_config c;
        struct pair *pair = open_padded(&c, TFC_MTU);
        const struct make *m = &supers[i];
        send_one(pair, m);
        size_t count = (m->payload + m->piece - 1u) / m->piece;
        assert_int_equal(all_are(pair, around(mtu_of(pair))), count);
        pair_carry(&pair->a, &pair->b);
        assert_int_equal(end_counters(&pair->b).in_packets, count);
        uint32_t payload = 0;
        for (size_t k = 0; k < pair->b.frame_count; k++) {
            struct inner in;
            const struct got *got = &pair->b.frames[k];
            assert_true(inner_parse(pair->b.tun + got->at + ESP_FRAME_HEADER,
                                    got->len - ESP_FRAME_HEADER, &in));
            assert_int_equal(in.len, got->len - ESP_FRAME_HEADER); /* no padding comes out */
            payload += in.len - in.head - (m->protocol == PROTO_TCP ? TCP_HEADER : UDP_HEADER);
        }
        assert_int_equal(payload, m->payload);
        pair_close(pair);
    }
}

static void fragments(void **state)
{
    (void)state;
    struct esp_sa_config c;
    struct pair *pair = open_padded(&c, TFC_MTU);
    struct make m = {.family = 4, .protocol = PROTO_UDP, .payload = 3000, .fragmentable = true};
    send_one(pair, &m);
    assert_int_equal(all_are(pair, around(mtu_of(pair))), 3);
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(pair->b.frame_count, 3);
    pair_close(pair);
}

/* Long padding behind many short packets: the buffer is flushed in time, nothing is written behind
 * it. */
static void many_short_ones(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = pair_config(0);
    end_close(&pair->a);
    end_open(&pair->a, 9200);
    c.tfc = TFC_MTU;
    pair_child(pair, &c);
    size_t len = make_frame(&singles[0], frame);
    for (int i = 0; i < 300; i++)
        esp_out_packet(pair->a.out, frame, len, 1);
    esp_out_flush(pair->a.out, 1);
    assert_true(mtu_of(pair) > 9000);
    assert_int_equal(all_are(pair, around(mtu_of(pair))), 300);
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(pair->b.frame_count, 300);
    pair_close(pair);
}

/* CBC has longer units of padding; AH has nothing to hide in. */
static void other_suites(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = pair_config(0), ah = pair_config(0);
    c.encr = 12;
    c.integ = 12;
    c.keymat_len_in = c.keymat_len_out = 64;
    c.tfc = 1000;
    pair_child(pair, &c);
    send_one(pair, &singles[0]);
    assert_int_equal(all_are(pair, 8 + 16 + 1008 + 16), 1);
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(pair->b.frame_count, 1);
    pair_close(pair);
    pair = pair_open();
    ah.ah = ah.cover = true;
    ah.encr = ah.encr_bits = 0;
    ah.integ = 12;
    ah.keymat_len_in = ah.keymat_len_out = 32;
    ah.tfc = TFC_MTU;
    pair_child(pair, &ah);
    size_t len = send_one(pair, &singles[0]) - ESP_FRAME_HEADER;
    assert_int_equal(all_are(pair, IP4_HEADER + AH_HEADER + 16 + (uint32_t)len), 1);
    pair_close(pair);
}

/* ---- dummies -------------------------------------------------------------------------------- */

/* a again, with a rate. */
static struct pair *open_covered(uint16_t rate)
{
    struct pair *pair = pair_open();
    struct esp_plane_config config = {.workers = 1,
                                      .max_sas = 4000,
                                      .device_mtu = 1438,
                                      .dummies = rate,
                                      .random = &random_system};
    struct esp_out_calls calls = {.context = &pair->a, .send = end_send, .reply = end_tun};
    struct esp_in_calls in = {.context = &pair->a, .deliver = end_tun};
    esp_in_free(pair->a.in);
    esp_out_free(pair->a.out);
    esp_free(pair->a.plane);
    pair->a.plane = esp_create(&config);
    assert_non_null(pair->a.plane);
    pair->a.out = esp_out_create(pair->a.plane, 0, &calls);
    pair->a.in = esp_in_create(pair->a.plane, 0, true, &in);
    assert_true(pair->a.out && pair->a.in);
    assert_int_equal(esp_cover_open(pair->a.plane, &calls), 0);
    return pair;
}

/* From now to end, as the loop of the process does it; the last call's answer. */
static time_us run(struct pair *pair, time_us now, time_us end)
{
    while (now < end) {
        time_us due = esp_cover(pair->a.plane, now);
        assert_true(due > now);
        now = due;
    }
    return now;
}

static size_t sent(const struct pair *pair)
{
    size_t count = 0;
    for (size_t i = 0; i < pair->a.send_count; i++)
        count += pair->a.sends[i].count;
    return count;
}

static void off_by_default(void **state)
{
    (void)state;
    struct esp_sa_config c;
    struct pair *pair = open_padded(&c, TFC_MTU);
    assert_true(esp_cover(pair->a.plane, 1) == TIME_NEVER);
    assert_int_equal(pair->a.send_count, 0);
    pair_close(pair);
}

static void silence_is_filled(void **state)
{
    (void)state;
    struct pair *pair = open_covered(10);
    struct esp_sa_config c = pair_config(0);
    c.cover = true;
    c.tfc = TFC_MTU;
    pair_child(pair, &c);
    run(pair, TIME_SECOND, 11 * TIME_SECOND);
    size_t dummies = sent(pair);
    assert_in_range(dummies, 85, 120);
    assert_int_equal(all_are(pair, around(mtu_of(pair))), dummies);
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(pair->b.frame_count, 0);
    assert_int_equal(end_counters(&pair->b).drop_in_dummy, dummies);
    struct esp_counters k = end_counters(&pair->a);
    assert_int_equal(k.out_dummies, dummies);
    assert_int_equal(k.out_packets + k.out_bytes, 0);
    /* They are no traffic that waits for an answer, and prove to the other end that we are there.
     */
    struct esp_fact fact;
    esp_tick(pair->a.plane, 20 * TIME_SECOND);
    assert_false(esp_next_fact(pair->a.plane, &fact));
    esp_tick(pair->b.plane, 20 * TIME_SECOND);
    assert_true(esp_next_fact(pair->b.plane, &fact));
    assert_int_equal(fact.kind, ESP_FACT_HEARD);
    pair_close(pair);
}

/* Who sends often enough sends none; one packet replaces one dummy. */
static void traffic_is_cover(void **state)
{
    (void)state;
    struct pair *pair = open_covered(10);
    struct esp_sa_config c = pair_config(0);
    c.cover = true;
    pair_child(pair, &c);
    time_us now = TIME_SECOND;
    for (int i = 0; i < 100; i++) {
        size_t len = make_frame(&singles[0], frame);
        esp_out_packet(pair->a.out, frame, len, now);
        esp_out_flush(pair->a.out, now);
        now = esp_cover(pair->a.plane, now);
    }
    assert_int_equal(end_counters(&pair->a).out_dummies, 0);
    run(pair, now, now + TIME_SECOND);
    assert_in_range(end_counters(&pair->a).out_dummies, 6, 15);
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(end_counters(&pair->b).in_packets, 100);
    assert_int_equal(end_counters(&pair->b).drop_in_dummy, end_counters(&pair->a).out_dummies);
    pair_close(pair);
}

/* Without padding real packets have many lengths; so have dummies. */
static void lengths_without_padding(void **state)
{
    (void)state;
    struct pair *pair = open_covered(100);
    struct esp_sa_config c = pair_config(0);
    c.cover = true;
    pair_child(pair, &c);
    run(pair, TIME_SECOND, 4 * TIME_SECOND);
    uint32_t shortest = UINT32_MAX, longest = 0;
    for (size_t i = 0; i < pair->a.send_count; i++) {
        uint32_t len = pair->a.sends[i].len;
        shortest = len < shortest ? len : shortest;
        longest = len > longest ? len : longest;
    }
    assert_true(shortest < 200 && longest > 1300 && longest <= around(mtu_of(pair)));
    pair_close(pair);
}

/* Transport mode has no IP header inside by whose length padding could be taken off. */
static void not_in_transport_mode(void **state)
{
    (void)state;
    struct pair *pair = open_covered(50);
    struct esp_sa_config c = pair_config(0);
    struct prefix p;
    c.transport = c.cover = true;
    c.tfc = TFC_MTU;
    c.local_count = c.remote_count = 1;
    assert_true(prefix_parse("10.1.0.1", &p));
    c.remote_ts[0] = selector_from_prefix(&p);
    pair_child(pair, &c);
    run(pair, TIME_SECOND, 2 * TIME_SECOND);
    assert_int_equal(pair->a.send_count, 0);
    uint32_t len = (uint32_t)send_one(pair, &singles[0]) - ESP_FRAME_HEADER;
    assert_int_equal(all_are(pair, around(len - IP4_HEADER)), 1);
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(pair->b.frame_count, 1);
    pair_close(pair);
}

/* Not on an SA that waits for its peer, has ended, or was not asked for it; and an SA may go at any
 * time. */
static void only_where_it_may(void **state)
{
    (void)state;
    struct pair *pair = open_covered(50);
    struct esp_sa_config waits = pair_config(0), plain = pair_config(1), goes = pair_config(2);
    waits.cover = waits.out_waits = goes.cover = true;
    pair_child(pair, &waits);
    pair_child(pair, &plain);
    time_us now = run(pair, TIME_SECOND, 2 * TIME_SECOND);
    assert_int_equal(pair->a.send_count, 0);
    pair_child(pair, &goes);
    now = run(pair, now, now + TIME_SECOND);
    size_t before = sent(pair);
    assert_in_range(before, 35, 65);
    assert_int_equal(esp_remove(pair->a.plane, goes.spi_in, now, TIME_SECOND), 0);
    now = run(pair, now, now + TIME_SECOND);
    esp_tick(pair->a.plane, now + TIME_SECOND);
    run(pair, now, now + TIME_SECOND);
    assert_int_equal(sent(pair), before);
    pair_close(pair);
}

/* Many tunnels: each its share, a few at a time. */
static void many_tunnels(void **state)
{
    (void)state;
    enum { TUNNELS = 2000 };
    struct pair *pair = open_covered(5);
    static uint32_t of[TUNNELS];
    size_t most = 0;
    for (uint32_t i = 0; i < TUNNELS; i++) {
        struct esp_sa_config c = pair_config(i % 100);
        c.spi_in = 0x10000 + i;
        c.spi_out = 0x20000 + i;
        c.cover = true;
        c.tfc = 64;
        assert_int_equal(esp_add(pair->a.plane, &c, 0), 0);
    }
    for (time_us now = TIME_SECOND; now < 3 * TIME_SECOND;) {
        end_clear(&pair->a);
        now = esp_cover(pair->a.plane, now);
        most = pair->a.send_count > most ? pair->a.send_count : most;
        for (size_t i = 0; i < pair->a.send_count; i++) {
            uint32_t spi;
            memcpy(&spi, pair->a.wire + pair->a.sends[i].at, 4);
            of[ntohl(spi) - 0x20000]++;
        }
    }
    for (size_t i = 0; i < TUNNELS; i++)
        assert_in_range(of[i], 7, 13);
    assert_in_range(most, 90, 110); /* of 2,000, as a round takes 200 ms and a pause 10 */
    pair_close(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_one_length),
        cmocka_unit_test(at_least),
        cmocka_unit_test(segments),
        cmocka_unit_test(fragments),
        cmocka_unit_test(many_short_ones),
        cmocka_unit_test(other_suites),
        cmocka_unit_test(off_by_default),
        cmocka_unit_test(silence_is_filled),
        cmocka_unit_test(traffic_is_cover),
        cmocka_unit_test(lengths_without_padding),
        cmocka_unit_test(not_in_transport_mode),
        cmocka_unit_test(only_where_it_may),
        cmocka_unit_test(many_tunnels),
    };
    if (crypto_init() != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
