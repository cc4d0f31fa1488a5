/* What must be refused on the way in, and what is answered or changed on the way. */
#include "pair.h"

static uint8_t frame[ESP_FRAME_MAX];

static struct pair *open_one(struct esp_sa_config *c)
{
    struct pair *pair = pair_open();
    *c = pair_config(0);
    pair_child(pair, c);
    return pair;
}

static void send_one(struct pair *pair, const struct make *m)
{
    size_t len = make_frame(m, frame);
    end_clear(&pair->a);
    end_clear(&pair->b);
    end_put(&pair->a, frame, len);
}

static const struct make small = {
    .family = 4, .protocol = PROTO_UDP, .payload = 20, .source_port = 4, .destination_port = 5};

/* ---- the outside ---------------------------------------------------------------------------- */

static void every_truncation(void **state)
{
    (void)state;
    struct esp_sa_config c;
    struct pair *pair = open_one(&c);
    send_one(pair, &small);
    uint32_t whole = pair->a.sends[0].len;
    for (uint32_t len = 0; len < whole; len++) {
        pair->a.sends[0].len = pair->a.sends[0].stride = len;
        uint8_t *copy = malloc(len + 1); /* so that a sanitizer sees what is read behind it */
        memcpy(copy, pair->a.wire, len);
        struct sockaddr_storage from = pair->a.sends[0].to;
        struct esp_datagrams d = {
            .data = copy, .len = len, .stride = len, .udp = true, .from = &from};
        esp_in_receive(pair->b.in, &d, 1, 1);
        free(copy);
    }
    assert_int_equal(pair->b.frame_count, 0);
    struct esp_counters k = end_counters(&pair->b);
    assert_int_equal(k.drop_in_short + k.drop_in_integrity, whole - 1); /* none of them empty */
    assert_int_equal(k.drop_in_short, 8 + 8 + 16 + 2 - 1);
    pair->a.sends[0].len = pair->a.sends[0].stride = whole;
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(pair->b.frame_count, 1);
    pair_close(pair);
}

static void every_flipped_bit(void **state)
{
    (void)state;
    struct esp_sa_config c;
    struct pair *pair = open_one(&c);
    send_one(pair, &small);
    static uint8_t original[2000];
    uint32_t len = pair->a.sends[0].len;
    memcpy(original, pair->a.wire, len);
    for (uint32_t bit = 0; bit < len * 8; bit++) {
        memcpy(pair->a.wire, original, len);
        pair->a.wire[bit / 8] ^= (uint8_t)(1 << bit % 8);
        pair_carry(&pair->a, &pair->b);
        assert_int_equal(pair->b.frame_count, 0);
    }
    struct esp_counters k = end_counters(&pair->b);
    assert_int_equal(k.drop_in_spi, 32);
    assert_int_equal(k.drop_in_spi + k.drop_in_integrity + k.drop_in_replay, len * 8);
    memcpy(pair->a.wire, original, len);
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(pair->b.frame_count, 1);
    pair_close(pair);
}

static void replays(void **state)
{
    (void)state;
    struct esp_sa_config c;
    struct pair *pair = open_one(&c);
    send_one(pair, &small);
    static uint8_t original[2000];
    uint32_t len = pair->a.sends[0].len;
    memcpy(original, pair->a.wire, len);
    pair_carry(&pair->a, &pair->b);
    memcpy(pair->a.wire, original, len);
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(pair->b.frame_count, 1);
    assert_int_equal(end_counters(&pair->b).drop_in_replay, 1);
    /* The same packet twice in one batch. */
    send_one(pair, &small);
    len = pair->a.sends[0].len;
    memcpy(pair->a.wire + len, pair->a.wire, len);
    pair->a.sends[0].len = 2 * len;
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(pair->b.frame_count, 1);
    assert_int_equal(end_counters(&pair->b).drop_in_replay, 2);
    pair_close(pair);
}

static void keepalives_and_strangers(void **state)
{
    (void)state;
    struct esp_sa_config c;
    struct pair *pair = open_one(&c);
    pair->a.wire[0] = 0xff;
    pair->a.sends[0] = (struct sent){.len = 1, .stride = 1};
    pair->a.send_count = 1;
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(end_counters(&pair->b).in_keepalive, 1);
    memset(pair->a.wire, 0x77, 3000);
    pair->a.sends[0] = (struct sent){.len = 3000, .stride = 1000};
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(end_counters(&pair->b).drop_in_spi, 3);
    pair_close(pair);
}

/* ---- the inside ----------------------------------------------------------------------------- */

/* Seals any octets with any next header and trailing padding as a's next packet. */
static void seal_raw(struct pair *pair, const uint8_t *text, uint32_t text_len)
{
    struct sa *sa = sad_find(pair->a.plane, 0x1000);
    struct aead_engine *engine = aead_engine_create();
    uint64_t number = atomic_fetch_add(&sa->sequence, 1) + 1, iv = htobe64(number);
    uint32_t head[2] = {htonl(sa->spi_out), htonl((uint32_t)number)};
    uint32_t aad[3] = {head[0], 0, head[1]};
    uint8_t *at = pair->a.wire;
    memcpy(at, head, 8);
    memcpy(at + 8, &iv, 8);
    memcpy(at + 16, text, text_len);
    struct aead_op op = {.aead = sa->aead_out,
                         .aad = (uint8_t *)aad,
                         .aad_len = 12,
                         .iv = at + 8,
                         .text = at + 16,
                         .text_len = text_len,
                         .icv = at + 16 + text_len};
    aead_seal(engine, &op, 1);
    assert_true(op.ok);
    aead_engine_free(engine);
    uint32_t len = 16 + text_len + 16;
    pair->a.sends[0] = (struct sent){.len = len, .stride = len};
    pair->a.send_count = 1;
    end_clear(&pair->b);
    pair_carry(&pair->a, &pair->b);
}

static void trailers(void **state)
{
    (void)state;
    struct esp_sa_config c;
    struct pair *pair = open_one(&c);
    uint8_t text[600] = {0};
    size_t len = make_frame(&small, frame) - ESP_FRAME_HEADER;
    memcpy(text, frame + ESP_FRAME_HEADER, len);
    text[len] = 0;
    text[len + 1] = 4;
    seal_raw(pair, text, (uint32_t)len + 2); /* no padding at all */
    assert_int_equal(pair->b.frame_count, 1);
    assert_int_equal(pair->b.frames[0].len, len + ESP_FRAME_HEADER);
    text[len + 1] = 41; /* an IPv4 packet that says it is IPv6 */
    seal_raw(pair, text, (uint32_t)len + 2);
    assert_int_equal(end_counters(&pair->b).drop_in_malformed, 1);
    text[len + 1] = 6;
    seal_raw(pair, text, (uint32_t)len + 2);
    assert_int_equal(end_counters(&pair->b).drop_in_next_header, 1);
    text[len + 1] = 59;
    seal_raw(pair, text, (uint32_t)len + 2);
    assert_int_equal(end_counters(&pair->b).drop_in_dummy, 1);
    text[0] = 0; /* nothing but a dummy's trailer */
    text[1] = 59;
    seal_raw(pair, text, 2);
    assert_int_equal(end_counters(&pair->b).drop_in_dummy, 2);
    /* Padding longer than the packet, and padding of other octets. */
    memcpy(text, frame + ESP_FRAME_HEADER, len);
    text[len] = 255;
    text[len + 1] = 4;
    seal_raw(pair, text, (uint32_t)len + 2);
    memset(text + len, 0, 4);
    text[len + 4] = 4;
    text[len + 5] = 4;
    seal_raw(pair, text, (uint32_t)len + 6);
    assert_int_equal(end_counters(&pair->b).drop_in_padding, 2);
    /* TFC padding, then 255 octets of right padding. */
    memset(text + len, 9, 50);
    for (int i = 0; i < 255; i++)
        text[len + 50 + (size_t)i] = (uint8_t)(i + 1);
    text[len + 305] = 255;
    text[len + 306] = 4;
    seal_raw(pair, text, (uint32_t)len + 307);
    assert_int_equal(pair->b.frame_count, 1);
    assert_int_equal(pair->b.frames[0].len, len + ESP_FRAME_HEADER);
    pair_close(pair);
}

/* Each prefix of an inner packet, sealed properly: never more read than is there. */
static void inner_truncations(void **state)
{
    (void)state;
    static const struct make kinds[] = {
        {.family = 4, .protocol = PROTO_TCP, .payload = 10, .options = 12, .flags = TCP_SYN},
        {.family = 6, .protocol = PROTO_UDP, .payload = 10},
        {.family = 4, .protocol = PROTO_ICMP, .payload = 10}};
    struct esp_sa_config c;
    struct pair *pair = open_one(&c);
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        size_t whole = make_frame(&kinds[k], frame) - ESP_FRAME_HEADER;
        for (size_t len = 0; len < whole; len++) {
            uint8_t text[200];
            memcpy(text, frame + ESP_FRAME_HEADER, len);
            text[len] = 0;
            text[len + 1] = kinds[k].family == 4 ? 4 : 41;
            seal_raw(pair, text, (uint32_t)len + 2);
            assert_int_equal(pair->b.frame_count, 0);
            /* The same, with a length that says it is all. */
            if (len < 20)
                continue;
            if (kinds[k].family == 4)
                text[3] = (uint8_t)len;
            else
                text[5] = (uint8_t)(len - 40);
            seal_raw(pair, text, (uint32_t)len + 2);
        }
    }
    pair_close(pair);
}

static void foreign_addresses(void **state)
{
    (void)state;
    struct esp_sa_config c = pair_config(0), m = pair_mirror(&c);
    struct pair *pair = pair_open();
    assert_int_equal(esp_add(pair->a.plane, &c, 0), 0);
    struct prefix p;
    assert_true(prefix_parse("10.0.0.2", &p));
    m.remote_ts[0] = selector_from_prefix(&p);
    m.local_ts[1].port_low = m.local_ts[1].port_high = 80;
    assert_int_equal(esp_add(pair->b.plane, &m, 0), 0);
    send_one(pair, &small);
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(end_counters(&pair->b).drop_in_source, 1);
    struct make six = small;
    six.family = 6;
    send_one(pair, &six);
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(end_counters(&pair->b).drop_in_destination, 1);
    six.destination_port = 80;
    send_one(pair, &six);
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(pair->b.frame_count, 1);
    pair_close(pair);
}

/* RFC 6040 figure 4: rows inner, columns outer, both 0 = not ECT, 1 = ECT(1), 2 = ECT(0), 3 = CE.
 */
static void ecn_table(void **state)
{
    (void)state;
    static const int want[4][4] = {{0, 0, 0, -1}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
    struct esp_sa_config c;
    struct pair *pair = open_one(&c);
    for (int family = 4; family <= 6; family += 2) {
        for (int inner = 0; inner < 4; inner++) {
            for (int outer = 0; outer < 4; outer++) {
                struct make m = small;
                m.family = (uint8_t)family;
                m.tos = (uint8_t)(0xb8 | inner);
                send_one(pair, &m);
                assert_int_equal(pair->a.sends[0].tos, 0xb8 | inner);
                pair_carry_tos(&pair->a, &pair->b, outer);
                if (want[inner][outer] < 0) {
                    assert_int_equal(pair->b.frame_count, 0);
                    continue;
                }
                assert_int_equal(pair->b.frame_count, 1);
                uint8_t *packet = pair->b.tun + ESP_FRAME_HEADER;
                struct inner in;
                assert_true(inner_parse(packet, pair->b.tun_len - ESP_FRAME_HEADER, &in));
                assert_int_equal(in.tos, 0xb8 | want[inner][outer]);
                if (family == 4)
                    assert_int_equal(slow_sum(0, packet, 20), 0xffff);
            }
        }
    }
    assert_int_equal(end_counters(&pair->b).drop_in_ecn, 2);
    pair_close(pair);
}

/* ---- sizes ---------------------------------------------------------------------------------- */

static void mss_is_clamped(void **state)
{
    (void)state;
    struct esp_sa_config c;
    struct pair *pair = open_one(&c);
    for (int i = 0; i < 16; i++) {
        struct make m = {.family = i & 1 ? 6 : 4,
                         .protocol = PROTO_TCP,
                         .options = 8,
                         .flags = TCP_SYN,
                         .partial = i & 2};
        size_t len = make_frame(&m, frame);
        uint8_t *option = frame + len - 8 + (i & 4 ? 1 : 0);
        uint16_t mss = i & 8 ? 1460 : 536, was[2];
        memcpy(was, frame + len - 8, 4);
        uint8_t *tcp = frame + len - 28;
        uint8_t set[4] = {2, 4, (uint8_t)(mss >> 8), (uint8_t)mss};
        memcpy(option, set, 4);
        if (!m.partial) { /* sum it again */
            memset(tcp + 16, 0, 2);
            uint16_t sum = htons((uint16_t)~transport_sum(frame + ESP_FRAME_HEADER));
            memcpy(tcp + 16, &sum, 2);
        }
        end_clear(&pair->a);
        end_clear(&pair->b);
        end_put(&pair->a, frame, len);
        pair_carry(&pair->a, &pair->b);
        assert_int_equal(pair->b.frame_count, 1);
        uint8_t *got = pair->b.tun + len - 8 + (i & 4 ? 1 : 0);
        uint16_t most = i & 1 ? 1438 - 60 : 1438 - 40;
        assert_int_equal(got[2] << 8 | got[3], mss < most ? mss : most);
        assert_int_equal(transport_sum(pair->b.tun + ESP_FRAME_HEADER), 0xffff);
    }
    pair_close(pair);
}

static void too_big_is_answered(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = pair_config(0);
    c.mtu = 1300;
    pair_child(pair, &c);
    for (int family = 4; family <= 6; family += 2) {
        struct make m = small;
        m.family = (uint8_t)family;
        m.payload = 1400;
        send_one(pair, &m);
        assert_int_equal(pair->a.send_count, 0);
        assert_int_equal(pair->a.frame_count, 1);
        uint8_t *packet = pair->a.tun + ESP_FRAME_HEADER;
        struct inner in;
        assert_true(inner_parse(packet, pair->a.tun_len - ESP_FRAME_HEADER, &in));
        assert_memory_equal(inner_destination(&in),
                            frame + ESP_FRAME_HEADER + (family == 4 ? 12 : 8),
                            family == 4 ? 4 : 16);
        if (family == 4) {
            assert_int_equal(slow_sum(0, packet, 20), 0xffff);
            assert_int_equal(slow_sum(0, packet + 20, in.len - 20), 0xffff);
            assert_int_equal(packet[20] << 8 | packet[21], 0x304);
            assert_int_equal(packet[26] << 8 | packet[27], 1300);
        } else {
            assert_int_equal(transport_sum(packet), 0xffff);
            assert_int_equal(packet[40], 2);
            assert_int_equal(packet[46] << 8 | packet[47], 1300);
        }
    }
    /* TCP is cut smaller instead. */
    struct make tcp = {
        .family = 4, .protocol = PROTO_TCP, .payload = 5000, .piece = 1390, .flags = TCP_ACK};
    send_one(pair, &tcp);
    assert_int_equal(pair->a.sends[0].count, 4);
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(pair->b.frame_count, 1);
    /* Not more than a hundred a second. */
    struct make m = small;
    m.payload = 1400;
    size_t len = make_frame(&m, frame);
    end_clear(&pair->a);
    for (int i = 0; i < 1000; i++)
        end_put(&pair->a, frame, len);
    assert_true(pair->a.frame_count <= 100);
    assert_int_equal(end_counters(&pair->a).drop_out_too_big, 1002);
    pair_close(pair);
}

static void what_may_be_cut_is_cut(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = pair_config(0);
    c.mtu = 700;
    pair_child(pair, &c);
    struct make m = small;
    m.payload = 1400;
    m.fragmentable = true;
    send_one(pair, &m);
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(pair->b.frame_count, 3);
    size_t at = 0;
    for (size_t i = 0; i < 3; i++) {
        uint8_t *packet = pair->b.tun + pair->b.frames[i].at + ESP_FRAME_HEADER;
        size_t len = pair->b.frames[i].len - ESP_FRAME_HEADER;
        assert_true(len <= 700);
        assert_int_equal(slow_sum(0, packet, 20), 0xffff);
        assert_int_equal((packet[6] << 8 | packet[7]) & 0x3fff, at / 8 | (i < 2 ? 0x2000 : 0));
        assert_memory_equal(packet + 20, frame + ESP_FRAME_HEADER + 20 + at, len - 20);
        at += len - 20;
    }
    assert_int_equal(at, 1408);
    pair_close(pair);
}

/* The path takes less than was thought: what follows fits, and after a while it is tried again. */
static void path_mtu_is_learnt(void **state)
{
    (void)state;
    struct esp_sa_config c;
    struct pair *pair = open_one(&c);
    pair->a.refuse_over = 1420 - 28;
    struct make tcp = {
        .family = 4, .protocol = PROTO_TCP, .payload = 5000, .piece = 1390, .flags = TCP_ACK};
    int tries = 0;
    do {
        send_one(pair, &tcp);
        tries++;
    } while (pair->a.send_count == 0 && tries < 10);
    assert_true(tries > 1 && tries < 6);
    struct sa *sa = sad_find(pair->a.plane, 0x1000);
    assert_int_equal(sa->out_mtu, 1420 - 28 - 8 - 8 - 16 - 2);
    esp_tick(pair->a.plane, TIME_SECOND);
    esp_tick(pair->a.plane, 1000 * TIME_SECOND);
    assert_int_equal(sa->out_mtu, 1438);
    pair_close(pair);
}

static void malformed_frames(void **state)
{
    (void)state;
    struct esp_sa_config c;
    struct pair *pair = open_one(&c);
    struct make m = {
        .family = 4, .protocol = PROTO_TCP, .payload = 3000, .piece = 1000, .flags = TCP_ACK};
    size_t len = make_frame(&m, frame);
    static uint8_t copy[ESP_FRAME_MAX];
    for (size_t cut = 0; cut < len; cut += cut < 100 ? 1 : 97) {
        uint8_t *exact = malloc(cut + 1);
        memcpy(exact, frame, cut);
        esp_out_packet(pair->a.out, exact, cut, 1);
        free(exact);
    }
    assert_int_equal(pair->a.send_count, 0);
    for (size_t i = 0; i < 62; i++) {
        for (int v = 0; v < 256; v++) {
            memcpy(copy, frame, len);
            copy[i] = (uint8_t)v;
            end_clear(&pair->a);
            end_put(&pair->a, copy, len);
            end_clear(&pair->b);
            pair_carry(&pair->a, &pair->b);
        }
    }
    pair_close(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_truncation),
        cmocka_unit_test(every_flipped_bit),
        cmocka_unit_test(replays),
        cmocka_unit_test(keepalives_and_strangers),
        cmocka_unit_test(trailers),
        cmocka_unit_test(inner_truncations),
        cmocka_unit_test(foreign_addresses),
        cmocka_unit_test(ecn_table),
        cmocka_unit_test(mss_is_clamped),
        cmocka_unit_test(too_big_is_answered),
        cmocka_unit_test(what_may_be_cut_is_cut),
        cmocka_unit_test(path_mtu_is_learnt),
        cmocka_unit_test(malformed_frames),
    };
    if (crypto_init() != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
