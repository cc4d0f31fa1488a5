/* Selectors with protocols and ports, both ways: which SA carries a packet, and which one may have
 * brought it (RFC 4301 4.4.1.1, 5.1, 5.2). */
#include "pair.h"

static uint8_t frame[ESP_FRAME_MAX];

static struct selector parsed(const char *text)
{
    struct selector s;
    assert_true(selector_parse(text, &s));
    return s;
}

/* Child n of the pair with these selectors instead of the usual ones. */
static struct esp_sa_config child(uint32_t n, const char *local, const char *remote)
{
    struct esp_sa_config c = pair_config(n);
    c.local_ts[0] = parsed(local);
    c.remote_ts[0] = parsed(remote);
    c.local_count = c.remote_count = 1;
    return c;
}

static uint32_t spi_of(const struct end *end)
{
    uint32_t spi;
    if (end->send_count == 0)
        return 0;
    memcpy(&spi, end->wire, sizeof(spi));
    return ntohl(spi);
}

/* The SPI that carried it, 0 when none did. */
static uint32_t send_one(struct pair *pair, const struct make *m)
{
    size_t len = make_frame(m, frame);
    end_clear(&pair->a);
    end_clear(&pair->b);
    end_put(&pair->a, frame, len);
    return spi_of(&pair->a);
}

static struct make udp_to(uint16_t port)
{
    return (struct make){.family = 4,
                         .protocol = PROTO_UDP,
                         .payload = 20,
                         .source_port = 4000,
                         .destination_port = port};
}

static void the_narrower_one_carries(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config ports = child(1, "10.0.0.1", "10.1.0.0/16[udp/5000-5010]");
    struct esp_sa_config proto = child(2, "10.0.0.1", "10.1.0.0/16[udp]");
    struct esp_sa_config all = child(3, "10.0.0.1", "10.1.0.0/16");
    pair_child(pair, &ports);
    pair_child(pair, &proto);
    pair_child(pair, &all); /* the newest, as after a rekey */
    struct make m = udp_to(5000);
    assert_int_equal(send_one(pair, &m), ports.spi_out);
    m = udp_to(5010);
    assert_int_equal(send_one(pair, &m), ports.spi_out);
    m = udp_to(5011);
    assert_int_equal(send_one(pair, &m), proto.spi_out);
    m = udp_to(5000);
    m.protocol = PROTO_TCP;
    assert_int_equal(send_one(pair, &m), all.spi_out);
    m.protocol = PROTO_ICMP;
    assert_int_equal(send_one(pair, &m), all.spi_out);
    /* each goes, and the next one takes its traffic */
    assert_int_equal(esp_remove(pair->a.plane, ports.spi_in, 1, 0), 0);
    m = udp_to(5000);
    assert_int_equal(send_one(pair, &m), proto.spi_out);
    assert_int_equal(esp_remove(pair->a.plane, proto.spi_in, 1, 0), 0);
    assert_int_equal(send_one(pair, &m), all.spi_out);
    assert_int_equal(esp_remove(pair->a.plane, all.spi_in, 1, 0), 0);
    assert_int_equal(send_one(pair, &m), 0);
    assert_int_equal(end_counters(&pair->a).drop_out_no_sa, 1);
    pair_close(pair);
}

/* The two ends disagree: what the sender may send the receiver must not take. */
static void the_receiver_looks_too(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = child(1, "10.0.0.1", "10.1.0.0/16");
    struct esp_sa_config m = pair_mirror(&c);
    m.local_ts[0] = parsed("10.1.0.0/16[udp/53]");
    assert_int_equal(esp_add(pair->a.plane, &c, 0), 0);
    assert_int_equal(esp_add(pair->b.plane, &m, 0), 0);
    struct make packet = udp_to(53);
    assert_int_equal(send_one(pair, &packet), c.spi_out);
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(pair->b.frame_count, 1);
    packet = udp_to(54);
    assert_int_equal(send_one(pair, &packet), c.spi_out);
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(pair->b.frame_count, 0);
    assert_int_equal(end_counters(&pair->b).drop_in_destination, 1);
    /* and says so, with the head of the packet */
    struct esp_fact fact = {0};
    esp_tick(pair->b.plane, TIME_SECOND);
    while (esp_next_fact(pair->b.plane, &fact) && fact.kind != ESP_FACT_STRAYED)
        ;
    assert_int_equal(fact.kind, ESP_FACT_STRAYED);
    assert_int_equal(fact.spi_in, m.spi_in);
    assert_int_equal(fact.tunnel, m.tunnel);
    assert_int_equal(fact.stray_len, 48);
    assert_memory_equal(fact.stray, frame + ESP_FRAME_HEADER, 48);
    pair_close(pair);
}

static void icmp_goes_by_type_and_code(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = child(1, "10.0.0.1", "10.1.0.0/16[icmp/8]");
    pair_child(pair, &c);
    struct make m = {.family = 4, .protocol = PROTO_ICMP, .payload = 20};
    size_t len = make_frame(&m, frame);
    for (unsigned type = 0; type < 256; type++) {
        end_clear(&pair->a);
        frame[ESP_FRAME_HEADER + IP4_HEADER] = (uint8_t)type;
        end_put(&pair->a, frame, len);
        assert_int_equal(spi_of(&pair->a), type == 8 ? c.spi_out : 0);
    }
    pair_close(pair);
}

/* Later fragments show no ports: OPAQUE takes them, and ANY; a range of ports does not. */
static void fragments_need_opaque(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config ports = child(1, "10.0.0.1", "10.1.0.0/16[udp/5000]");
    pair_child(pair, &ports);
    struct make m = udp_to(5000);
    m.fragmentable = true;
    size_t len = make_frame(&m, frame);
    struct ip4_header *ip = (void *)(frame + ESP_FRAME_HEADER);
    ip->fragment = htons(100);
    ip4_header_checksum(ip, IP4_HEADER);
    end_clear(&pair->a);
    end_put(&pair->a, frame, len);
    assert_int_equal(spi_of(&pair->a), 0);
    struct esp_sa_config opaque = child(2, "10.0.0.1", "10.1.0.0/16[udp/opaque]");
    pair_child(pair, &opaque);
    end_put(&pair->a, frame, len);
    assert_int_equal(spi_of(&pair->a), opaque.spi_out);
    end_clear(&pair->b);
    pair_carry(&pair->a, &pair->b);
    assert_int_equal(pair->b.frame_count, 1);
    m = udp_to(5000);
    assert_int_equal(send_one(pair, &m), ports.spi_out);
    m = udp_to(5001);
    assert_int_equal(send_one(pair, &m), 0);
    pair_close(pair);
}

static void sum(void *context, const struct esp_sa_status *status)
{
    uint64_t *packets = context;
    packets[0] += status->out_packets;
    packets[1] += status->in_packets;
}

/* A tunnel's traffic only grows, rekey by rekey, also by what the old SA carries while it lingers;
 * and a child for something else inherits nothing. */
static void traffic_only_grows(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config other = child(99, "10.0.0.1", "10.1.0.0/16[tcp]");
    pair_child(pair, &other);
    uint64_t sent = 0;
    for (uint32_t n = 1; n <= 4; n++) {
        struct esp_sa_config c = child(n, "10.0.0.1", "10.1.0.0/16[udp]");
        struct make m = udp_to(5000);
        if (n > 1) { /* still under way on the old one */
            (void)send_one(pair, &m);
            sent++;
        }
        pair_child(pair, &c);
        if (n > 1) {
            assert_int_equal(esp_remove(pair->a.plane, c.spi_in - 1, n * TIME_SECOND, TIME_SECOND),
                             0);
            assert_int_equal(esp_remove(pair->b.plane, c.spi_out - 1, n * TIME_SECOND, TIME_SECOND),
                             0);
            pair_carry(&pair->a, &pair->b);
        }
        assert_int_equal(send_one(pair, &m), c.spi_out);
        pair_carry(&pair->a, &pair->b);
        sent++;
        uint64_t at_a[2] = {0}, at_b[2] = {0};
        esp_walk(pair->a.plane, sum, at_a);
        esp_walk(pair->b.plane, sum, at_b);
        assert_int_equal(at_a[0], sent);
        assert_int_equal(at_b[1], sent);
        esp_tick(pair->a.plane, (n + 1) * TIME_SECOND);
        esp_tick(pair->b.plane, (n + 1) * TIME_SECOND);
        memset(at_a, 0, sizeof(at_a));
        memset(at_b, 0, sizeof(at_b));
        esp_walk(pair->a.plane, sum, at_a);
        esp_walk(pair->b.plane, sum, at_b);
        assert_int_equal(at_a[0], sent);
        assert_int_equal(at_b[1], sent);
    }
    struct sa *sa = sad_find(pair->a.plane, other.spi_in);
    assert_non_null(sa);
    assert_int_equal(sa->carried.out_packets, 0);
    pair_close(pair);
}

static int init(void **state)
{
    (void)state;
    return crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_narrower_one_carries),   cmocka_unit_test(the_receiver_looks_too),
        cmocka_unit_test(icmp_goes_by_type_and_code), cmocka_unit_test(fragments_need_opaque),
        cmocka_unit_test(traffic_only_grows),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
