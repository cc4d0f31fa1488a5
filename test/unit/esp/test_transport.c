/* Transport mode: a is 10.0.0.1 / fd00::1, b is 10.1.0.1 / fd01::1, nobody else. */
#include "pair.h"

#include "esp/ah.h"
#include "esp/transport.h"

static uint8_t frame_in[70000];
static const uint8_t families[] = {4, 6};

static struct ip address(const char *text)
{
    struct ip ip;
    assert_true(ip_parse(text, &ip));
    return ip;
}

static struct esp_sa_config hosts(uint32_t n, uint8_t family)
{
    struct esp_sa_config c = pair_config(n);
    struct ip a = address(family == 4 ? "10.0.0.1" : "fd00::1");
    struct ip b = address(family == 4 ? "10.1.0.1" : "fd01::1");
    c.transport = true;
    c.local_count = c.remote_count = 1;
    c.local_ts[0] = selector_from_ip(&a);
    c.remote_ts[0] = selector_from_ip(&b);
    return c;
}

/* b behind one NAT, a behind another: what b has, and what a thinks. */
static struct esp_sa_config through_nat(const struct esp_sa_config *c, uint8_t family)
{
    struct esp_sa_config m = pair_mirror(c);
    struct ip local = address(family == 4 ? "192.168.9.2" : "fd77::9:2");
    struct ip remote = address(family == 4 ? "198.51.100.7" : "2001:db8:5::7");
    m.seen_local = m.local_ts[0].low;
    m.seen_remote = m.remote_ts[0].low;
    m.local_ts[0] = selector_from_ip(&local);
    m.remote_ts[0] = selector_from_ip(&remote);
    return m;
}

static void add_both(struct pair *pair, const struct esp_sa_config *a,
                     const struct esp_sa_config *b)
{
    assert_int_equal(esp_add(pair->a.plane, a, 0), 0);
    assert_int_equal(esp_add(pair->b.plane, b, 0), 0);
}

static uint8_t *delivered(struct pair *pair, size_t n)
{
    assert_true(n < pair->b.frame_count);
    return pair->b.tun + pair->b.frames[n].at + ESP_FRAME_HEADER;
}

static void carry_one(struct pair *pair, size_t len)
{
    end_clear(&pair->a);
    end_clear(&pair->b);
    end_put(&pair->a, frame_in, len);
    assert_int_equal(pair->a.send_count, 1);
    pair_carry(&pair->a, &pair->b);
}

/* Only what stands behind the IP header travels, and the header is made anew. */
static void carried(void **state)
{
    (void)state;
    static const uint8_t protocols[] = {PROTO_TCP, PROTO_UDP, 99, PROTO_IPIP};
    for (size_t f = 0; f < ARRAY_LEN(families); f++) {
        struct pair *pair = pair_open();
        struct esp_sa_config c = hosts(1, families[f]);
        uint32_t head = families[f] == 4 ? IP4_HEADER : IP6_HEADER;
        pair_child(pair, &c);
        for (size_t p = 0; p < ARRAY_LEN(protocols); p++)
            for (uint16_t payload = 0; payload < 1300; payload += 61) {
                struct make m = {.family = families[f],
                                 .protocol = protocols[p],
                                 .tos = 0xb9,
                                 .payload = payload,
                                 .source_port = 7,
                                 .destination_port = 9};
                size_t len = make_frame(&m, frame_in);
                const uint8_t *before = frame_in + ESP_FRAME_HEADER;
                uint32_t text = (uint32_t)len - ESP_FRAME_HEADER - head;
                carry_one(pair, len);
                assert_int_equal(pair->a.wire_len, ESP_HEADER + 8 + (text + 2 + 3) / 4 * 4 + 16);
                assert_int_equal(pair->a.sends[0].tos, 0xb9);
                assert_int_equal(pair->b.frame_count, 1);
                uint8_t *after = delivered(pair, 0);
                struct inner in;
                assert_true(inner_parse(after, head + text, &in));
                assert_int_equal(in.len, head + text);
                assert_int_equal(in.protocol, protocols[p]);
                assert_int_equal(in.tos, 0xb9);
                assert_memory_equal(inner_source(&in), before + (families[f] == 4 ? 12 : 8),
                                    families[f] == 4 ? 8 : 32);
                assert_memory_equal(after + head, before + head, text);
                if (families[f] == 4)
                    assert_int_equal(slow_sum(0, after, IP4_HEADER), UINT16_MAX);
            }
        pair_close(pair);
    }
}

/* Super-packets are cut as in tunnel mode, and joined again; more of them than the room holds. */
static void super_packets(void **state)
{
    (void)state;
    for (size_t f = 0; f < ARRAY_LEN(families); f++) {
        struct pair *pair = pair_open();
        struct esp_sa_config c = hosts(1, families[f]);
        struct make m = {.family = families[f],
                         .protocol = PROTO_TCP,
                         .payload = 60000,
                         .piece = 1300,
                         .source_port = 7,
                         .destination_port = 9,
                         .flags = TCP_ACK};
        uint64_t octets = 0;
        pair_child(pair, &c);
        for (int i = 0; i < 12; i++) {
            m.sequence = (uint32_t)i * 60000;
            size_t len = make_frame(&m, frame_in);
            end_put(&pair->a, frame_in, len);
        }
        pair_carry(&pair->a, &pair->b);
        for (size_t i = 0; i < pair->b.frame_count; i++) {
            uint8_t *packet = delivered(pair, i);
            struct inner in;
            struct frame frame;
            assert_true(inner_parse(packet, 65535, &in));
            memcpy(&frame, packet - ESP_FRAME_HEADER, sizeof(frame));
            uint32_t from = in.head + TCP_HEADER;
            const struct tcp_header *tcp = (const void *)(packet + in.head);
            for (uint32_t at = from; at < in.len; at++) {
                uint32_t place = (ntohl(tcp->sequence) + at - from) % 60000;
                assert_int_equal(packet[at], (uint8_t)(place * 7 + place / 251));
            }
            octets += in.len - from;
            if (frame.kind == FRAME_WHOLE)
                assert_int_equal(transport_sum(packet), UINT16_MAX);
        }
        assert_int_equal(octets, 12 * 60000);
        assert_true(pair->b.frame_count < 40);
        assert_int_equal(end_counters(&pair->b).in_packets, 12 * 47);
        pair_close(pair);
    }
}

static size_t make_icmp6(uint8_t *out)
{
    struct make m = {.family = 6, .protocol = PROTO_ICMP6, .payload = 333};
    size_t len = make_frame(&m, out);
    uint8_t *packet = out + ESP_FRAME_HEADER;
    packet[IP6_HEADER] = 128;
    uint16_t sum = htons((uint16_t)~transport_sum(packet));
    memcpy(packet + IP6_HEADER + 2, &sum, sizeof(sum));
    return len;
}

/* The peer has summed over other addresses than those that its packets arrive with. */
static void checksums_behind_nat(void **state)
{
    (void)state;
    for (size_t f = 0; f < ARRAY_LEN(families); f++) {
        struct pair *pair = pair_open();
        struct esp_sa_config c = hosts(1, families[f]), m = through_nat(&c, families[f]);
        add_both(pair, &c, &m);
        for (int kind = 0; kind < 3; kind++)
            for (uint16_t payload = 0; payload < 700; payload++) {
                struct make make = {.family = families[f],
                                    .protocol = kind == 0 ? PROTO_TCP : PROTO_UDP,
                                    .payload = payload,
                                    .source_port = payload,
                                    .destination_port = 9};
                if (kind == 2 && families[f] == 4)
                    continue;
                size_t len = kind == 2 ? make_icmp6(frame_in) : make_frame(&make, frame_in);
                carry_one(pair, len);
                struct inner in;
                assert_int_equal(pair->b.frame_count, 1);
                assert_true(inner_parse(delivered(pair, 0), 65535, &in));
                assert_memory_equal(inner_source(&in), m.remote_ts[0].low.octets,
                                    families[f] == 4 ? 4 : 16);
                assert_memory_equal(inner_destination(&in), m.local_ts[0].low.octets,
                                    families[f] == 4 ? 4 : 16);
                assert_int_equal(transport_sum(delivered(pair, 0)), UINT16_MAX);
            }
        pair_close(pair);
    }
}

/* What was wrong stays wrong, what had no checksum gets none, and a checksum never becomes none. */
static void checksums_are_not_made_up(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = hosts(1, 4), m = through_nat(&c, 4);
    struct make make = {.family = 4, .protocol = PROTO_UDP, .payload = 2};
    uint8_t *udp = frame_in + ESP_FRAME_HEADER + IP4_HEADER;
    size_t len = make_frame(&make, frame_in);
    unsigned full = 0;
    add_both(pair, &c, &m);
    udp[6] ^= 0x40;
    carry_one(pair, len);
    assert_int_not_equal(transport_sum(delivered(pair, 0)), UINT16_MAX);
    udp[6] = udp[7] = 0;
    carry_one(pair, len);
    assert_int_equal(delivered(pair, 0)[IP4_HEADER + 6] | delivered(pair, 0)[IP4_HEADER + 7], 0);
    for (unsigned word = 0; word <= UINT16_MAX; word++) {
        udp[8] = (uint8_t)(word >> 8);
        udp[9] = (uint8_t)word;
        udp[6] = udp[7] = 0;
        uint16_t sum = htons((uint16_t)~transport_sum(frame_in + ESP_FRAME_HEADER));
        if (sum == 0)
            sum = UINT16_MAX;
        memcpy(udp + 6, &sum, sizeof(sum));
        carry_one(pair, len);
        const uint8_t *at = delivered(pair, 0) + IP4_HEADER;
        assert_int_not_equal(at[6] | at[7], 0);
        full += at[6] == 0xff && at[7] == 0xff;
        assert_int_equal(transport_sum(delivered(pair, 0)), UINT16_MAX);
    }
    assert_true(full >= 1); /* it was met */
    pair_close(pair);
}

static void goes_not_out(struct pair *pair, size_t len)
{
    uint64_t before = end_counters(&pair->a).drop_out_transport;
    end_clear(&pair->a);
    end_put(&pair->a, frame_in, len);
    assert_int_equal(pair->a.send_count, 0);
    assert_int_equal(end_counters(&pair->a).drop_out_transport, before + 1);
}

static void refused_out(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c4 = hosts(1, 4), c6 = hosts(2, 6);
    struct make m = {.family = 4, .protocol = PROTO_UDP, .payload = 100};
    struct ip4_header *ip4 = (void *)(frame_in + ESP_FRAME_HEADER);
    struct ip6_header *ip6 = (void *)(frame_in + ESP_FRAME_HEADER);
    pair_child(pair, &c4);
    pair_child(pair, &c6);
    size_t len = make_frame(&m, frame_in);
    ip4->fragment = htons(0x2000); /* the first of more */
    goes_not_out(pair, len);
    ip4->fragment = htons(3); /* the last */
    goes_not_out(pair, len);
    ip4->fragment = 0;
    ip4->version_ihl = 0x46; /* options */
    goes_not_out(pair, len);
    static const uint8_t extensions[] = {PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_FRAGMENT,
                                         PROTO_OPTIONS};
    m.family = 6;
    for (size_t i = 0; i < ARRAY_LEN(extensions); i++) {
        len = make_frame(&m, frame_in);
        ip6->next = extensions[i];
        memcpy(ip6 + 1, (uint8_t[]){PROTO_UDP, 0, 0, 0, 0, 0, 0, 0}, 8);
        goes_not_out(pair, len);
    }
    /* Not even where IPv4 would allow fragments: the stack is asked for smaller packets. */
    m = (struct make){.family = 4, .protocol = PROTO_UDP, .payload = 1420, .fragmentable = true};
    len = make_frame(&m, frame_in);
    end_clear(&pair->a);
    end_put(&pair->a, frame_in, len);
    assert_int_equal(pair->a.send_count, 0);
    assert_int_equal(pair->a.frame_count, 1);
    assert_int_equal(end_counters(&pair->a).drop_out_too_big, 1);
    pair_close(pair);
}

/* A payload as a peer might send it, with any next header. */
static void send_raw(struct pair *pair, uint32_t spi_in, const uint8_t *payload, uint32_t len,
                     uint8_t next)
{
    struct end *a = &pair->a;
    struct sa *sa = sad_find(a->plane, spi_in);
    uint64_t first;
    struct out_to to = {.sa = sa, .path = atomic_load(&sa->path), .next_header = next};
    end_clear(a);
    end_clear(&pair->b);
    assert_true(seal_numbers(a->out, sa, 1, &first));
    memcpy(seal_place(a->out, sa, len, TIME_SECOND), payload, len);
    sa->rare = false; /* as it stands */
    seal_take(a->out, &to, first, len);
    sa->rare = true;
    esp_out_flush(a->out, TIME_SECOND);
    pair_carry(a, &pair->b);
}

static void refused_in(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c4 = hosts(1, 4), c6 = hosts(2, 6);
    uint8_t payload[64] = {PROTO_UDP};
    static const uint8_t extensions[] = {PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_FRAGMENT,
                                         PROTO_OPTIONS, PROTO_AH};
    c4.remote_ts[0].protocol = PROTO_UDP;
    c4.remote_ts[0].port_low = c4.remote_ts[0].port_high = 53;
    pair_child(pair, &c4);
    pair_child(pair, &c6);
    for (size_t i = 0; i < ARRAY_LEN(extensions); i++) {
        send_raw(pair, c6.spi_in, payload, sizeof(payload), extensions[i]);
        assert_int_equal(pair->b.frame_count, 0);
        assert_int_equal(end_counters(&pair->b).drop_in_next_header, i + 1);
    }
    send_raw(pair, c6.spi_in, payload, 4, PROTO_OPTIONS); /* cut short */
    assert_int_equal(pair->b.frame_count, 0);
    assert_int_equal(end_counters(&pair->b).drop_in_malformed, 1);
    send_raw(pair, c6.spi_in, payload, 0, PROTO_NONE);
    assert_int_equal(end_counters(&pair->b).drop_in_dummy, 1);
    /* What the selectors do not name. */
    send_raw(pair, c4.spi_in, payload, sizeof(payload), PROTO_TCP);
    send_raw(pair, c4.spi_in, payload, sizeof(payload), PROTO_UDP);
    send_raw(pair, c4.spi_in, payload, 1, PROTO_UDP); /* no ports to be seen */
    assert_int_equal(pair->b.frame_count, 0);
    assert_int_equal(end_counters(&pair->b).drop_in_destination, 3);
    payload[2] = 0;
    payload[3] = 53;
    send_raw(pair, c4.spi_in, payload, sizeof(payload), PROTO_UDP);
    assert_int_equal(pair->b.frame_count, 1);
    /* One octet of TCP behind NAT: there is no checksum to be found. */
    struct esp_sa_config n = hosts(3, 6), m = through_nat(&n, 6);
    add_both(pair, &n, &m);
    for (uint32_t len = 0; len < 20; len++)
        send_raw(pair, n.spi_in, payload, len, PROTO_TCP);
    assert_int_equal(end_counters(&pair->b).in_packets, 1 + 20);
    pair_close(pair);
}

/* One side in transport mode, the other in tunnel mode: nothing passes. */
static void modes_do_not_mix(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        struct pair *pair = pair_open();
        struct esp_sa_config c = hosts(1, 4), m = pair_mirror(&c);
        struct make make = {.family = 4,
                            .protocol = PROTO_UDP,
                            .payload = 200,
                            .source_port = 1,
                            .destination_port = 2};
        *(way ? &c.transport : &m.transport) = false;
        add_both(pair, &c, &m);
        carry_one(pair, make_frame(&make, frame_in));
        if (way == 0) {
            assert_int_equal(pair->b.frame_count, 0);
            assert_int_equal(end_counters(&pair->b).drop_in_next_header, 1);
        } else { /* a packet of protocol 4 between the two hosts, which is what it looks like */
            assert_int_equal(pair->b.frame_count, 1);
            assert_int_equal(delivered(pair, 0)[9], PROTO_IPIP);
        }
        pair_close(pair);
    }
}

static void insane(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = hosts(1, 4);
    c.local_ts[0].high = address("10.0.0.2");
    assert_int_equal(esp_add(pair->a.plane, &c, 0), ERR_ARGUMENT);
    c = hosts(1, 4);
    c.remote_ts[1] = c.local_ts[0];
    c.remote_count = 2;
    assert_int_equal(esp_add(pair->a.plane, &c, 0), ERR_ARGUMENT);
    c = hosts(1, 4);
    c.remote_ts[0] = hosts(1, 6).remote_ts[0];
    assert_int_equal(esp_add(pair->a.plane, &c, 0), ERR_ARGUMENT);
    c = hosts(1, 4);
    c.seen_local = address("fd00::5");
    assert_int_equal(esp_add(pair->a.plane, &c, 0), ERR_ARGUMENT);
    c = hosts(1, 4);
    c.seen_remote = address("192.168.1.1");
    assert_int_equal(esp_add(pair->a.plane, &c, 0), 0);
    pair_close(pair);
}

/* Ports may change, which is what a NAT does; another address ends the SA. */
static void moved(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = hosts(1, 4);
    struct esp_fact fact;
    c.local.ip = c.local_ts[0].low;
    c.remote.ip = c.remote_ts[0].low;
    pair_child(pair, &c);
    c.remote.port = 4711;
    assert_int_equal(esp_move(pair->a.plane, 1, &c.local, &c.remote, 0, true), 0);
    struct make make = {.family = 4, .protocol = PROTO_UDP, .payload = 200};
    carry_one(pair, make_frame(&make, frame_in));
    assert_int_equal(pair->b.frame_count, 1);
    c.remote.ip = address("10.1.0.2");
    assert_int_equal(esp_move(pair->a.plane, 1, &c.local, &c.remote, 0, true), ERR_NOT_FOUND);
    end_clear(&pair->a);
    end_put(&pair->a, frame_in, make_frame(&make, frame_in));
    assert_int_equal(pair->a.send_count, 0);
    esp_tick(pair->a.plane, TIME_SECOND);
    assert_true(esp_next_fact(pair->a.plane, &fact));
    assert_int_equal(fact.kind, ESP_FACT_HARD);
    pair_close(pair);
}

/* AH covers the outer header, which in transport mode is all the header there is. */
static void ah_too(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = hosts(1, 4);
    struct make make = {.family = 4, .protocol = PROTO_UDP, .payload = 200};
    struct sockaddr_storage from;
    c.ah = true;
    c.encr = c.encr_bits = 0;
    c.integ = 12;
    c.keymat_len_in = c.keymat_len_out = 32;
    c.udp = false;
    c.local.ip = c.local_ts[0].low;
    c.remote.ip = c.remote_ts[0].low;
    pair_child(pair, &c);
    end_put(&pair->a, frame_in, make_frame(&make, frame_in));
    assert_int_equal(pair->a.send_count, 1);
    assert_int_equal(pair->a.wire_len, IP4_HEADER + AH_HEADER + 16 + UDP_HEADER + 200);
    assert_int_equal(pair->a.wire[IP4_HEADER], PROTO_UDP);
    (void)endpoint_to_sockaddr(&c.local, &from);
    struct esp_datagrams d = {
        .data = pair->a.wire, .len = (uint32_t)pair->a.wire_len, .ah = true, .from = &from};
    esp_in_receive(pair->b.in, &d, 1, TIME_SECOND);
    assert_int_equal(pair->b.frame_count, 1);
    assert_memory_equal(delivered(pair, 0) + IP4_HEADER, frame_in + ESP_FRAME_HEADER + IP4_HEADER,
                        UDP_HEADER + 200);
    assert_int_equal(transport_sum(delivered(pair, 0)), UINT16_MAX);
    pair_close(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carried),
        cmocka_unit_test(super_packets),
        cmocka_unit_test(checksums_behind_nat),
        cmocka_unit_test(checksums_are_not_made_up),
        cmocka_unit_test(refused_out),
        cmocka_unit_test(refused_in),
        cmocka_unit_test(modes_do_not_mix),
        cmocka_unit_test(insane),
        cmocka_unit_test(moved),
        cmocka_unit_test(ah_too),
    };
    if (crypto_init())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
