/* AH: what is covered and what may change on the way, over both families outside. */
#include "pair.h"

#include "esp/ah.h"

static uint8_t frame_in[70000];

static struct esp_sa_config config(uint32_t n, uint8_t family, uint16_t integ)
{
    struct esp_sa_config c = pair_config(n);
    c.ah = true;
    c.encr = c.encr_bits = 0;
    c.integ = integ;
    c.keymat_len_in = c.keymat_len_out = suite_integ(integ)->key_len;
    if (family == 6) {
        assert_true(endpoint_parse("2001:db8::1", 500, &c.local));
        assert_true(endpoint_parse("2001:db8::2", 500, &c.remote));
    }
    return c;
}

/* One inner packet through a's SA; the outer packet as the peer's kernel would hand it over. */
static uint32_t seal_one(struct pair *pair, const struct esp_sa_config *c, uint16_t payload,
                         uint8_t packet[static 2048])
{
    struct make m = {.family = 4, .protocol = PROTO_UDP, .payload = payload};
    struct end *a = &pair->a;
    uint32_t outer = c->remote.ip.family == 6 ? IP6_HEADER : 0;
    size_t len = make_frame(&m, frame_in);
    end_clear(a);
    end_put(a, frame_in, len);
    assert_int_equal(a->send_count, 1);
    assert_int_equal(a->sends[0].count, 1);
    if (outer) {
        struct ip6_header ip = {.version_class_flow = htonl(0x6ab12345),
                                .payload_len = htons((uint16_t)a->sends[0].len),
                                .next = PROTO_AH,
                                .hops = 61};
        memcpy(ip.source, c->local.ip.octets, 16);
        memcpy(ip.destination, c->remote.ip.octets, 16);
        memcpy(packet, &ip, sizeof(ip));
    }
    memcpy(packet + outer, a->wire, a->sends[0].len);
    return a->sends[0].len + outer;
}

/* How many frames came out at b. */
static size_t receive(struct pair *pair, const struct esp_sa_config *c, const uint8_t *packet,
                      uint32_t len, bool ah)
{
    uint8_t copy[2048];
    struct sockaddr_storage from;
    (void)endpoint_to_sockaddr(&c->local, &from);
    memcpy(copy, packet, len);
    struct esp_datagrams d = {.data = copy, .len = len, .ah = ah, .from = &from};
    end_clear(&pair->b);
    esp_in_receive(pair->b.in, &d, 1, TIME_SECOND);
    return pair->b.frame_count;
}

static const uint8_t families[] = {4, 6};
static const uint16_t integs[] = {12, 13, 14, 2, 5, 8, 9, 10, 11};

/* The field of the ICV: GMAC's IV stands in it, too (RFC 4543 section 4). */
static uint32_t field_len(uint16_t integ)
{
    return suite_integ(integ)->icv_len + (suite_integ(integ)->gmac ? 8u : 0);
}

static int make_ready(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(integs); i++)
        if (suite_ready(&(struct transform){TRANSFORM_INTEG, integs[i], 0}))
            return -1;
    return 0;
}

static void carried(void **state)
{
    (void)state;
    for (size_t f = 0; f < ARRAY_LEN(families); f++)
        for (size_t i = 0; i < ARRAY_LEN(integs); i++) {
            struct pair *pair = pair_open();
            struct esp_sa_config c = config(1, families[f], integs[i]);
            uint8_t packet[2048];
            c.esn = i % 2;
            pair_child(pair, &c);
            for (uint16_t payload = 0; payload < 1200; payload += 173) {
                uint32_t len = seal_one(pair, &c, payload, packet);
                uint32_t inner = IP4_HEADER + UDP_HEADER + (uint32_t)payload;
                uint32_t unit = families[f] == 6 ? 8 : 4, icv = field_len(integs[i]);
                uint32_t outer = families[f] == 6 ? IP6_HEADER : IP4_HEADER;
                assert_int_equal(len, outer + (AH_HEADER + icv + unit - 1) / unit * unit + inner);
                assert_int_equal(receive(pair, &c, packet, len, true), 1);
                assert_memory_equal(pair->b.tun + ESP_FRAME_HEADER, frame_in + ESP_FRAME_HEADER,
                                    inner);
            }
            pair_close(pair);
        }
}

/* RFC 4302 section 3.3.3 by its words, with the PRF's HMAC: sequence 2^32 + 1 has a high half. */
static void icv_is_the_rfcs(void **state)
{
    (void)state;
    for (size_t f = 0; f < ARRAY_LEN(families); f++) {
        struct pair *pair = pair_open();
        struct esp_sa_config c = config(1, families[f], 12);
        uint8_t packet[2048], expected[32], high[4] = {0, 0, 0, 1};
        pair_child(pair, &c);
        atomic_store(&sad_find(pair->a.plane, c.spi_in)->sequence, UINT32_MAX + UINT64_C(1));
        uint32_t outer = families[f] == 6 ? IP6_HEADER : IP4_HEADER;
        uint32_t head = families[f] == 6 ? 32 : 28, len = seal_one(pair, &c, 100, packet);
        uint8_t *ah = packet + outer, icv[16];
        assert_int_equal(ah[0], PROTO_IPIP);
        assert_int_equal(ah[1], head / 4 - 2);
        assert_int_equal(ah[2] | ah[3], 0);
        assert_memory_equal(ah + 4, ((uint8_t[]){0, 0, 0x20, 1, 0, 0, 0, 1}), 8);
        memcpy(icv, ah + AH_HEADER, sizeof(icv));
        memset(ah + AH_HEADER, 0, head - AH_HEADER);
        if (families[f] == 4) { /* TOS, fragment, TTL, checksum */
            packet[1] = packet[6] = packet[7] = packet[8] = packet[10] = packet[11] = 0;
        } else { /* class, flow, hops */
            memcpy(packet, (uint8_t[]){0x60, 0, 0, 0}, 4);
            packet[7] = 0;
        }
        struct bytes parts[] = {{packet, len}, {high, 4}};
        struct bytes key = {c.keymat_out, 32};
        assert_int_equal(prf(suite_prf(5), key, parts, 2, expected), 0);
        assert_memory_equal(icv, expected, sizeof(icv));
        pair_close(pair);
    }
}

/* RFC 4543 section 4, with GCM of an empty text: the field is IV and tag, and counts as zeros. */
static void gmac_is_the_rfcs(void **state)
{
    (void)state;
    for (size_t f = 0; f < ARRAY_LEN(families); f++) {
        struct pair *pair = pair_open();
        struct esp_sa_config c = config(1, families[f], 11);
        const struct encr_alg *gcm = suite_encr(20, 256);
        uint8_t packet[2048], iv[8], tag[16], expected[16], text[1];
        pair_child(pair, &c);
        atomic_store(&sad_find(pair->a.plane, c.spi_in)->sequence, UINT32_MAX + UINT64_C(1));
        uint32_t outer = families[f] == 6 ? IP6_HEADER : IP4_HEADER;
        uint32_t head = families[f] == 6 ? 40 : 36, len = seal_one(pair, &c, 100, packet);
        uint8_t *ah = packet + outer;
        assert_int_equal(ah[1], head / 4 - 2);
        memcpy(iv, ah + AH_HEADER, sizeof(iv));
        memcpy(tag, ah + AH_HEADER + 8, sizeof(tag));
        assert_memory_equal(iv, ((uint8_t[]){0, 0, 0, 1, 0, 0, 0, 1}), 8); /* counts */
        memset(ah + AH_HEADER, 0, head - AH_HEADER);
        if (families[f] == 4) {
            packet[1] = packet[6] = packet[7] = packet[8] = packet[10] = packet[11] = 0;
        } else {
            memcpy(packet, (uint8_t[]){0x60, 0, 0, 0}, 4);
            packet[7] = 0;
        }
        memcpy(packet + len, (uint8_t[]){0, 0, 0, 1}, 4); /* the high half */
        struct aead *aead = aligned_alloc(64, 64 * (aead_size(gcm, NULL) / 64 + 1));
        struct aead_engine *engine = aead_engine_create();
        assert_int_equal(aead_init(aead, NULL, gcm, c.keymat_out, NULL, NULL), 0);
        struct aead_op op = {.aead = aead,
                             .aad = packet,
                             .aad_len = (uint16_t)(len + 4),
                             .iv = iv,
                             .text = text,
                             .icv = expected};
        aead_seal(engine, &op, 1);
        assert_true(op.ok);
        assert_memory_equal(tag, expected, sizeof(tag));
        aead_engine_free(engine);
        aead_wipe(aead);
        free(aead);
        pair_close(pair);
    }
}

static bool may_change(uint8_t family, uint32_t at)
{
    if (family == 4)
        return at == 1 || at == 8 || at == 10 || at == 11;
    return at <= 3 || at == 7;
}

/* Every octet: what routers change goes through, everything else is noticed. */
static void every_octet(void **state)
{
    (void)state;
    for (size_t f = 0; f < 2 * ARRAY_LEN(families); f++) {
        struct pair *pair = pair_open();
        const uint8_t family = families[f / 2];
        struct esp_sa_config c = config(1, family, f % 2 ? 9 : 14);
        uint8_t packet[2048];
        pair_child(pair, &c);
        uint32_t len = seal_one(pair, &c, 40, packet), through = 0;
        for (uint32_t at = 0; at < len; at++) {
            uint8_t before = packet[at];
            packet[at] ^= 0x04; /* no ECN mark */
            if (may_change(family, at)) {
                len = seal_one(pair, &c, 40, packet); /* a fresh number */
                packet[at] ^= 0x04;
                assert_int_equal(receive(pair, &c, packet, len, true), 1);
                len = seal_one(pair, &c, 40, packet);
                through++;
                continue;
            }
            assert_int_equal(receive(pair, &c, packet, len, true), 0);
            packet[at] = before;
        }
        assert_int_equal(through, family == 4 ? 4 : 5);
        assert_int_equal(receive(pair, &c, packet, len, true), 1);
        assert_int_equal(receive(pair, &c, packet, len, true), 0);
        assert_int_equal(end_counters(&pair->b).drop_in_replay, 1);
        for (uint32_t cut = 0; cut < len; cut++)
            assert_int_equal(receive(pair, &c, packet, cut, true), 0);
        pair_close(pair);
    }
}

/* DF may be cleared on the way (section 3.3.3.1.1.1); a fragment is not a packet. */
static void fragments_and_options(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = config(1, 4, 12);
    uint8_t packet[2048];
    pair_child(pair, &c);
    uint32_t len = seal_one(pair, &c, 40, packet);
    assert_int_equal(packet[6], 0x40);
    packet[6] = 0x20; /* more fragments */
    assert_int_equal(receive(pair, &c, packet, len, true), 0);
    packet[6] = 0, packet[7] = 1; /* an offset */
    assert_int_equal(receive(pair, &c, packet, len, true), 0);
    assert_int_equal(end_counters(&pair->b).drop_in_ah, 2);
    packet[7] = 0;
    packet[0] = 0x46; /* options */
    assert_int_equal(receive(pair, &c, packet, len, true), 0);
    packet[0] = 0x45;
    assert_int_equal(receive(pair, &c, packet, len, true), 1);
    pair_close(pair);
}

/* A head aligned to 8 octets over IPv4, as old Linux has it. */
static void aligned_to_eight(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = config(1, 4, 12);
    uint8_t packet[2048], wide[2048], mac[32], high[4] = {0};
    pair_child(pair, &c);
    uint32_t len = seal_one(pair, &c, 40, packet);
    memcpy(wide, packet, 48);
    memset(wide + 48, 0, 4);
    memcpy(wide + 52, packet + 48, len - 48);
    len += 4;
    wide[3] = (uint8_t)(wide[3] + 4);
    wide[21]++;
    memset(wide + 32, 0, 20);
    wide[1] = wide[6] = wide[7] = wide[8] = wide[10] = wide[11] = 0;
    struct bytes parts[] = {{wide, len}, {high, 4}};
    assert_int_equal(prf(suite_prf(5), (struct bytes){c.keymat_out, 32}, parts, 2, mac), 0);
    memcpy(wide + 32, mac, 16);
    assert_int_equal(receive(pair, &c, wide, len, true), 1);
    wide[21]++; /* longer than any alignment makes it */
    assert_int_equal(receive(pair, &c, wide, len, true), 0);
    assert_int_equal(end_counters(&pair->b).drop_in_ah, 1);
    pair_close(pair);
}

/* An SPI of the one protocol is none of the other. */
static void protocols_do_not_mix(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config ah = config(1, 4, 12), esp = pair_config(2);
    uint8_t packet[2048];
    pair_child(pair, &ah);
    uint32_t len = seal_one(pair, &ah, 40, packet);
    assert_int_equal(receive(pair, &ah, packet + IP4_HEADER + 4, len - IP4_HEADER - 4, false), 0);
    assert_int_equal(end_counters(&pair->b).drop_in_spi, 1);
    assert_int_equal(receive(pair, &ah, packet, len, true), 1);
    pair_child(pair, &esp);
    uint8_t spi[] = {0, 0, 0x20, 2};
    memcpy(packet + IP4_HEADER + 4, spi, 4);
    assert_int_equal(receive(pair, &ah, packet, len, true), 0);
    assert_int_equal(end_counters(&pair->b).drop_in_spi, 2);
    pair_close(pair);
}

static void the_longest_packet(void **state)
{
    (void)state;
    for (size_t f = 0; f < ARRAY_LEN(families); f++) {
        struct pair *pair = pair_open();
        struct esp_sa_config c = config(1, families[f], 12);
        uint8_t packet[2048];
        c.mtu = 9000;
        pair_child(pair, &c);
        uint16_t mtu = sad_find(pair->a.plane, c.spi_in)->out_mtu;
        assert_int_equal(seal_one(pair, &c, (uint16_t)(mtu - 28), packet), 1500);
        pair_close(pair);
    }
}

static void what_is_refused(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = config(1, 4, 12);
    c.encr = 12;
    assert_int_equal(esp_add(pair->a.plane, &c, 0), ERR_ARGUMENT);
    c = config(1, 4, 12);
    memset(&c.local.ip.octets, 0, 4);
    assert_int_equal(esp_add(pair->a.plane, &c, 0), ERR_ARGUMENT);
    c = config(1, 6, 12);
    assert_true(endpoint_parse("192.0.2.1", 500, &c.local));
    assert_int_equal(esp_add(pair->a.plane, &c, 0), ERR_ARGUMENT);
    c = config(1, 4, 12);
    c.integ = 0;
    assert_int_not_equal(esp_add(pair->a.plane, &c, 0), 0);
    pair_close(pair);
}

/* Within a family it follows its peer; to the other one it cannot, and says so. */
static void moves(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    struct esp_sa_config c = config(1, 4, 12);
    struct endpoint there, local6, remote6;
    uint8_t packet[2048];
    struct esp_fact fact;
    pair_child(pair, &c);
    assert_true(endpoint_parse("198.51.100.9", 500, &there));
    assert_int_equal(esp_move(pair->a.plane, 1, &there, &c.remote, 0, true), 0);
    assert_int_equal(esp_move(pair->b.plane, 1, &c.remote, &there, 0, false), 0);
    c.local = there;
    uint32_t len = seal_one(pair, &c, 40, packet);
    assert_memory_equal(packet + 12, there.ip.octets, 4);
    assert_int_equal(receive(pair, &c, packet, len, true), 1);
    assert_true(endpoint_parse("2001:db8::1", 500, &local6));
    assert_true(endpoint_parse("2001:db8::2", 500, &remote6));
    assert_int_equal(esp_move(pair->a.plane, 1, &local6, &remote6, 0, false), ERR_NOT_FOUND);
    esp_tick(pair->a.plane, TIME_SECOND);
    assert_true(esp_next_fact(pair->a.plane, &fact));
    assert_int_equal(fact.kind, ESP_FACT_HARD);
    pair_close(pair);
}

static time_us second(void)
{
    return TIME_SECOND;
}

/* What comes before its SA waits for it, as ESP does: the SPI stands elsewhere in AH. */
static void waits_for_its_sa(void **state)
{
    (void)state;
    for (size_t f = 0; f < ARRAY_LEN(families); f++) {
        struct pair *pair = pair_open();
        struct esp_sa_config c = config(1, families[f], 12), other = pair_mirror(&c);
        uint8_t packet[2048];
        int pause;
        assert_int_equal(esp_add(pair->a.plane, &c, 1), 0);
        for (uint16_t i = 0; i < 3; i++)
            assert_int_equal(
                receive(pair, &c, packet, seal_one(pair, &c, (uint16_t)(100 + i), packet), true),
                0);
        assert_int_equal(esp_add(pair->b.plane, &other, 1), 0);
        end_clear(&pair->b);
        assert_false(esp_in_early(pair->b.in, second, &pause));
        assert_int_equal(pair->b.frame_count, 3);
        assert_int_equal(end_counters(&pair->b).in_early, 3);
        pair_close(pair);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carried),
        cmocka_unit_test(waits_for_its_sa),
        cmocka_unit_test(icv_is_the_rfcs),
        cmocka_unit_test(gmac_is_the_rfcs),
        cmocka_unit_test(every_octet),
        cmocka_unit_test(fragments_and_options),
        cmocka_unit_test(aligned_to_eight),
        cmocka_unit_test(protocols_do_not_mix),
        cmocka_unit_test(the_longest_packet),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(moves),
    };
    return cmocka_run_group_tests(tests, make_ready, NULL);
}
