/* Cut, sealed, opened, joined: what comes out is what went in. */
#include "pair.h"

#include "esp/checksum.h"

static uint8_t frame_in[ESP_FRAME_MAX];

/* TCP and UDP of every size: the payload's stream, and each packet's checksums, are right. */
static void super_packets_come_back(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = pair_config(0);
    pair_child(pair, &c);
    for (int i = 0; i < 600; i++) {
        bool tcp = i % 2 == 0;
        struct make m = {.family = i % 4 < 2 ? 4 : 6,
                         .protocol = tcp ? PROTO_TCP : PROTO_UDP,
                         .tos = (uint8_t)(i % 3),
                         .piece = (uint16_t)(100 + pair_random(&pair->seed) % 1250),
                         .source_port = 5,
                         .destination_port = (uint16_t)i,
                         .sequence = pair_random(&pair->seed) * 2,
                         .options = (uint8_t)(i % 5 * 4),
                         .flags = TCP_ACK | (i % 7 ? 0 : TCP_PSH)};
        m.payload = (uint16_t)(m.piece * (1 + pair_random(&pair->seed) % 45) +
                               pair_random(&pair->seed) % m.piece);
        if (m.payload > 60000)
            m.payload = 60000;
        size_t len = make_frame(&m, frame_in);
        end_clear(&pair->a);
        end_clear(&pair->b);
        end_put(&pair->a, frame_in, len);
        pair_carry(&pair->a, &pair->b);
        size_t head = (m.family == 4 ? 20u : 40u) + (tcp ? 20u + m.options : 8u);
        size_t pieces = (m.payload + m.piece - 1u) / m.piece, at = 0;
        assert_int_equal(pair->b.frame_count, tcp ? (pieces + 127) / 128 : (pieces + 63) / 64);
        for (size_t f = 0; f < pair->b.frame_count; f++) {
            uint8_t *got = pair->b.tun + pair->b.frames[f].at;
            size_t payload = pair->b.frames[f].len - ESP_FRAME_HEADER - head;
            struct frame frame;
            memcpy(&frame, got, sizeof(frame));
            assert_memory_equal(got + ESP_FRAME_HEADER + head,
                                frame_in + ESP_FRAME_HEADER + head + at, payload);
            at += payload;
            if (payload > m.piece) {
                assert_int_equal(frame.piece, m.piece);
                assert_int_equal(frame.head_len, head);
                assert_int_equal(frame.flags, FRAME_NEEDS_CHECKSUM);
                assert_int_equal(frame.checksum_start, head - (tcp ? 20u + m.options : 8u));
            } else {
                assert_int_equal(frame.flags, 0);
                assert_int_equal(transport_sum(got + ESP_FRAME_HEADER), 0xffff);
            }
        }
        assert_int_equal(at, m.payload);
        if (pair->b.frame_count == 1 && pieces > 1) /* headers and all */
            assert_memory_equal(pair->b.tun, frame_in, len);
    }
    pair_close(pair);
}

/* Without joining: each packet by itself has right checksums, numbers and flags. */
static void each_piece_is_right(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = pair_config(0);
    pair_child(pair, &c);
    for (int family = 4; family <= 6; family += 2) {
        struct make m = {.family = (uint8_t)family,
                         .protocol = PROTO_TCP,
                         .piece = 1000,
                         .payload = 3500,
                         .source_port = 5,
                         .destination_port = 6,
                         .sequence = 0xfffffff0,
                         .flags = TCP_ACK | TCP_PSH | TCP_FIN | TCP_CWR};
        size_t len = make_frame(&m, frame_in);
        end_clear(&pair->a);
        end_clear(&pair->b);
        end_put(&pair->a, frame_in, len);
        assert_int_equal(pair->a.send_count, 1);
        struct sent all = pair->a.sends[0];
        assert_int_equal(all.count, 4);
        for (uint32_t i = 0; i < 4; i++) {
            pair->a.sends[0] = all;
            pair->a.sends[0].at += i * all.stride;
            pair->a.sends[0].len = i < 3 ? all.stride : all.len - 3 * all.stride;
            end_clear(&pair->b);
            pair_carry(&pair->a, &pair->b);
            assert_int_equal(pair->b.frame_count, 1);
            uint8_t *packet = pair->b.tun + ESP_FRAME_HEADER;
            struct inner in;
            assert_true(inner_parse(packet, pair->b.tun_len - ESP_FRAME_HEADER, &in));
            assert_int_equal(transport_sum(packet), 0xffff);
            if (family == 4) {
                assert_int_equal(slow_sum(0, packet, 20), 0xffff);
                assert_int_equal(packet[4] << 8 | packet[5], 77 + i);
            }
            struct tcp_header *tcp = (void *)(packet + in.head);
            assert_int_equal(ntohl(tcp->sequence), (uint32_t)(0xfffffff0 + 1000 * i));
            assert_int_equal(tcp->flags,
                             TCP_ACK | (i == 0 ? TCP_CWR : 0) | (i == 3 ? TCP_PSH | TCP_FIN : 0));
        }
    }
    pair_close(pair);
}

static void checksum_of_single_packets(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = pair_config(0);
    pair_child(pair, &c);
    for (uint16_t i = 0; i < 1200; i++) {
        struct make m = {.family = i % 2 ? 4 : 6,
                         .protocol = i % 4 < 2 ? PROTO_TCP : PROTO_UDP,
                         .payload = i,
                         .source_port = i,
                         .flags = TCP_ACK,
                         .partial = i % 3 != 0};
        size_t len = make_frame(&m, frame_in);
        end_clear(&pair->a);
        end_clear(&pair->b);
        end_put(&pair->a, frame_in, len);
        pair_carry(&pair->a, &pair->b);
        assert_int_equal(pair->b.frame_count, 1);
        assert_int_equal(pair->b.frames[0].len, len);
        assert_int_equal(transport_sum(pair->b.tun + ESP_FRAME_HEADER), 0xffff);
    }
    pair_close(pair);
}

static void fast_sum_equals_slow_sum(void **state)
{
    (void)state;
    static uint8_t data[4096], copy[4096];
    uint64_t seed = 1;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(pair_random(&seed) % 5 ? pair_random(&seed) : 0xff);
    for (size_t len = 0; len < 1500; len++) {
        size_t at = len % 37;
        uint16_t want = htons(slow_sum(0, data + at, len));
        uint16_t a = sum_fold(sum_add(0, data + at, len));
        uint16_t b = sum_fold(sum_copy(0, copy, data + at, len));
        assert_true(a == want || (uint16_t)(a ^ want) == 0xffff); /* the two zeros */
        assert_int_equal(a, b);
        assert_memory_equal(copy, data + at, len);
    }
}

/* Several flows through each other, some with bad checksums or odd flags: nothing is lost, nothing
 * changes its order within a flow, nothing bad is claimed to be good. */
static void flows_do_not_mix(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = pair_config(0);
    pair_child(pair, &c);
    uint32_t next[7], want[7] = {0};
    for (int f = 0; f < 7; f++)
        next[f] = 1000u * (uint32_t)f;
    memcpy(want, next, sizeof(want));
    for (int i = 0; i < 3000; i++) {
        uint32_t f = pair_random(&pair->seed) % 7;
        uint32_t odd = pair_random(&pair->seed) % 40;
        struct make m = {.family = f % 2 ? 4 : 6,
                         .protocol = PROTO_TCP,
                         .payload = (uint16_t)(odd == 1   ? 30
                                               : odd == 2 ? 200
                                                          : 100),
                         .source_port = (uint16_t)f,
                         .sequence = next[f],
                         .flags = odd == 3   ? TCP_ACK | TCP_PSH
                                  : odd == 4 ? 0x30
                                             : TCP_ACK};
        next[f] += m.payload;
        size_t len = make_frame(&m, frame_in);
        if (odd == 5)
            frame_in[len - 1] ^= 1;
        if (i % 500 == 0) {
            end_clear(&pair->a);
            end_clear(&pair->b);
        }
        esp_out_packet(pair->a.out, frame_in, len, 1);
        if (i % 500 != 499)
            continue;
        esp_out_flush(pair->a.out, 1);
        pair_carry(&pair->a, &pair->b);
        for (size_t k = 0; k < pair->b.frame_count; k++) {
            uint8_t *packet = pair->b.tun + pair->b.frames[k].at + ESP_FRAME_HEADER;
            struct inner in;
            struct frame frame;
            assert_true(inner_parse(packet, pair->b.frames[k].len - ESP_FRAME_HEADER, &in));
            memcpy(&frame, packet - ESP_FRAME_HEADER, sizeof(frame));
            struct tcp_header *tcp = (void *)(packet + in.head);
            assert_int_equal(ntohl(tcp->sequence), want[in.source_port]);
            want[in.source_port] += in.len - in.head - TCP_HEADER;
            if (frame.kind == FRAME_WHOLE)
                continue;
            /* The payload's octets are as made_frame() makes them, so none is broken. */
            uint8_t *payload = packet + in.head + TCP_HEADER;
            for (uint32_t o = 0; o < in.len - in.head - TCP_HEADER; o++) {
                uint32_t x = o % frame.piece;
                assert_int_equal(payload[o], (uint8_t)(x * 7 + x / 251));
            }
        }
    }
    assert_memory_equal(want, next, sizeof(want));
    assert_true(end_counters(&pair->b).in_super > 100);
    pair_close(pair);
}

/* Suites of all shapes, and a window of numbers without ESN. */
static void every_suite(void **state)
{
    (void)state;
    static const struct {
        uint16_t encr, bits, integ;
        uint8_t keymat;
    } suites[] = {{20, 128, 0, 20},  {20, 256, 0, 36},  {28, 0, 0, 36},   {12, 128, 12, 48},
                  {12, 256, 13, 80}, {12, 256, 14, 96}, {11, 0, 12, 32},  {14, 128, 0, 19},
                  {13, 256, 8, 52},  {3, 0, 2, 44},     {7, 192, 5, 40},  {23, 256, 12, 64},
                  {24, 128, 12, 52}, {18, 192, 0, 28},  {21, 128, 0, 20}, {21, 256, 0, 36}};
    struct pair *pair = pair_open();
    for (uint32_t i = 0; i < 2 * ARRAY_LEN(suites); i++) {
        struct esp_sa_config c = pair_config(i);
        c.encr = suites[i / 2].encr;
        c.encr_bits = suites[i / 2].bits;
        c.integ = suites[i / 2].integ;
        c.keymat_len_in = c.keymat_len_out = suites[i / 2].keymat;
        c.esn = i % 2;
        c.mtu = 1466; /* more than any of them leaves */
        assert_int_equal(suite_ready(&(struct transform){TRANSFORM_ENCR, c.encr, c.encr_bits}), 0);
        pair_child(pair, &c);
        for (uint16_t payload = 0; payload < 2000; payload += 37) {
            struct make m = {.family = 4,
                             .protocol = PROTO_TCP,
                             .payload = payload,
                             .piece = 700,
                             .flags = TCP_ACK};
            size_t len = make_frame(&m, frame_in);
            end_clear(&pair->a);
            end_clear(&pair->b);
            end_put(&pair->a, frame_in, len);
            pair_carry(&pair->a, &pair->b);
            assert_int_equal(pair->b.frame_count, 1);
            assert_memory_equal(pair->b.tun + 60, frame_in + 60, payload > 10 ? payload - 10 : 0);
        }
        assert_int_equal(end_counters(&pair->b).drop_in_integrity, 0);
        /* The longest packet that fits leaves less than a padding unit of 1500 unused. */
        struct make full = {.family = 4, .protocol = PROTO_UDP};
        uint16_t mtu = sad_find(pair->a.plane, c.spi_in)->out_mtu;
        full.payload = (uint16_t)(mtu - 28);
        size_t len = make_frame(&full, frame_in);
        end_clear(&pair->a);
        end_put(&pair->a, frame_in, len);
        assert_int_equal(pair->a.send_count, 1);
        assert_in_range(pair->a.sends[0].len, 1472 - (c.integ ? 15 : 3), 1472);
        pair_carry(&pair->a, &pair->b);
    }
    pair_close(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_sum_equals_slow_sum), cmocka_unit_test(checksum_of_single_packets),
        cmocka_unit_test(each_piece_is_right),      cmocka_unit_test(super_packets_come_back),
        cmocka_unit_test(flows_do_not_mix),         cmocka_unit_test(every_suite),
    };
    if (crypto_init() != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
