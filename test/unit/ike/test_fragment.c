/* Fragments made by hand (RFC 7383 2.6): what is stored, what is not, and what an authentic but odd
 * peer can do with them. */
#include "pair.h"

enum { INNER = 60000 };

struct bench {
    struct pair *p;
    struct sa *client, *gateway;
    uint8_t inner[INNER + 8];
    size_t inner_len;
};

static struct sa *only_sa(struct ike_engine *e)
{
    size_t cursor = 0;
    return map_next(&e->sas, &cursor);
}

/* An established pair, and the inside of an INFORMATIONAL request with one vendor ID. */
static struct bench bench_make(size_t body)
{
    static const uint8_t zeros[INNER];
    struct bench b = {.p = pair_make()};
    struct wire_builder w;
    pair_start(b.p);
    pair_settle(b.p);
    b.client = only_sa(b.p->side[0].engine);
    b.gateway = only_sa(b.p->side[1].engine);
    assert_int_equal(b.gateway->state, IKE_STATE_ESTABLISHED);
    wire_begin_inner(&w, b.inner, sizeof(b.inner));
    wire_put(&w, PAYLOAD_VENDOR, (struct bytes){zeros, body});
    b.inner_len = wire_finish(&w).len;
    assert_true(b.inner_len > body);
    return b;
}

static const struct ike_counters *counters(const struct bench *b)
{
    return ike_counters(b->p->side[1].engine);
}

static size_t held(const struct bench *b)
{
    struct ike_usage u;
    ike_usage(b->p->side[1].engine, &u);
    return u.fragments;
}

/* Fragment `number` of `total`, sealed by the client. */
static struct bytes make(struct bench *b, uint16_t number, uint16_t total, struct bytes text)
{
    struct ike_engine *e = b->p->side[0].engine;
    struct wire_header h = {.spi_i = b->client->spi_own,
                            .spi_r = b->client->spi_peer,
                            .exchange = EXCHANGE_INFORMATIONAL,
                            .flags = FLAG_INITIATOR,
                            .message_id = b->gateway->next_in};
    struct sk_part part = {
        .first = number == 1 ? PAYLOAD_VENDOR : 0, .number = number, .total = total, .text = text};
    const struct encr_alg *encr = suite_encr(b->client->chosen.encr, b->client->chosen.encr_bits);
    assert_int_equal(aead_init(e->aead, e->aead_engine, encr, b->client->keys.e[0], NULL, NULL), 0);
    struct bytes out = sk_seal_part(e, b->client, &h, &part);
    assert_true(out.len > 0);
    return out;
}

static void feed(struct bench *b, struct bytes datagram)
{
    struct ike_path path = {b->client->path.remote, b->client->path.local, 0, b->client->path.port};
    ike_input(b->p->side[1].engine, b->p->now, &path, datagram);
    pair_drain(b->p, 1);
}

/* The n-th of `total` even pieces of the inside. */
static struct bytes piece(const struct bench *b, uint16_t number, uint16_t total)
{
    size_t each = (b->inner_len + total - 1) / total, at = (number - 1u) * each;
    size_t left = b->inner_len > at ? b->inner_len - at : 0;
    return (struct bytes){b->inner + at, left < each ? left : each};
}

static void give(struct bench *b, uint16_t number, uint16_t total)
{
    feed(b, make(b, number, total, piece(b, number, total)));
}

/* How many answers came; the wire is empty then. */
static size_t answers(struct bench *b)
{
    size_t count = b->p->queued;
    b->p->queued = 0;
    return count;
}

static void finish(struct bench *b)
{
    b->p->queued = 0;
    pair_free(b->p);
}

static void any_order_with_gaps(void **state)
{
    (void)state;
    struct bench b = bench_make(1000);
    uint32_t id = b.gateway->next_in;
    static const uint16_t order[] = {3, 5, 1, 4, 2};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        assert_int_equal(answers(&b), 0);
        assert_int_equal(b.gateway->next_in, id);
        give(&b, order[i], 5);
    }
    assert_int_equal(answers(&b), 1);
    assert_int_equal(b.gateway->next_in, id + 1);
    assert_int_equal(held(&b), 0);
    assert_int_equal(counters(&b)->in_fragmented, 1);
    finish(&b);
}

static void one_of_one_and_sixty_four(void **state)
{
    (void)state;
    struct bench b = bench_make(50000);
    give(&b, 1, 1);
    assert_int_equal(answers(&b), 1);
    for (uint16_t i = 64; i >= 1; i--)
        give(&b, i, 64);
    assert_int_equal(answers(&b), 1);
    assert_int_equal(counters(&b)->in_fragmented, 2);
    for (uint16_t i = 1; i <= 65; i++) /* more than that is not begun */
        give(&b, i, 65);
    assert_int_equal(answers(&b), 0);
    assert_int_equal(counters(&b)->drop_fragment, 65);
    assert_int_equal(held(&b), 0);
    finish(&b);
}

static void forged_pieces_leave_no_trace(void **state)
{
    (void)state;
    struct bench b = bench_make(1000);
    uint8_t forged[2048];
    uint32_t id = b.gateway->next_in;
    for (uint16_t i = 1; i <= 3; i++) {
        struct bytes good = make(&b, i, 3, piece(&b, i, 3));
        for (size_t at = 0; at < good.len; at++) {
            memcpy(forged, good.at, good.len);
            forged[at] ^= 0x41;
            feed(&b, (struct bytes){forged, good.len});
            if (held(&b) > 0)
                fail_msg("octet %zu of fragment %u is not under the integrity check", at, i);
        }
    }
    (void)answers(&b); /* to another version, which needs no SA */
    assert_int_equal(b.gateway->next_in, id);
    for (uint16_t i = 1; i <= 3; i++)
        give(&b, i, 3);
    assert_int_equal(answers(&b), 1);
    finish(&b);
}

/* Numbers that cannot be: 0, above the total, total 0 and 65535. */
static void odd_numbers(void **state)
{
    (void)state;
    static const uint16_t odd[][2] = {{0, 0}, {0, 3}, {1, 0}, {4, 3}, {65535, 65535}, {1, 65535}};
    struct bench b = bench_make(1000);
    uint8_t copy[2048];
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        struct bytes good = make(&b, 1, 3, piece(&b, 1, 3));
        memcpy(copy, good.at, good.len);
        copy[32] = (uint8_t)(odd[i][0] >> 8);
        copy[33] = (uint8_t)odd[i][0];
        copy[34] = (uint8_t)(odd[i][1] >> 8);
        copy[35] = (uint8_t)odd[i][1];
        feed(&b, (struct bytes){copy, good.len});
        assert_int_equal(held(&b), 0);
    }
    assert_int_equal(counters(&b)->drop_fragment, ARRAY_LEN(odd));
    finish(&b);
}

static void totals_and_duplicates(void **state)
{
    (void)state;
    struct bench b = bench_make(1000);
    give(&b, 1, 3);
    give(&b, 2, 3);
    size_t two = held(&b);
    give(&b, 2, 3); /* a duplicate */
    give(&b, 1, 2); /* of an older attempt, and so is what follows */
    give(&b, 2, 2);
    assert_int_equal(held(&b), two);
    assert_int_equal(counters(&b)->drop_fragment, 3);
    give(&b, 1, 5); /* a new attempt: what was there goes */
    assert_true(held(&b) < two);
    give(&b, 3, 3); /* which the old one would have been complete with */
    assert_int_equal(answers(&b), 0);
    for (uint16_t i = 2; i <= 5; i++)
        give(&b, i, 5);
    assert_int_equal(answers(&b), 1);
    finish(&b);
}

/* A restart needs the integrity check too: else anyone could throw away what is there. */
static void forged_total_restarts_nothing(void **state)
{
    (void)state;
    struct bench b = bench_make(1000);
    uint8_t forged[2048];
    give(&b, 1, 3);
    size_t one = held(&b);
    struct bytes good = make(&b, 2, 3, piece(&b, 2, 3));
    memcpy(forged, good.at, good.len);
    forged[35] = 9;
    feed(&b, (struct bytes){forged, good.len});
    assert_int_equal(held(&b), one);
    finish(&b);
}

/* 64 pieces of more than 1 kB are more than a message can be. */
static void no_more_than_a_message(void **state)
{
    (void)state;
    static uint8_t much[1100];
    struct bench b = bench_make(1000);
    for (uint16_t i = 1; i <= 64; i++)
        feed(&b, make(&b, i, 64, (struct bytes){much, sizeof(much)}));
    assert_int_equal(answers(&b), 0);
    assert_true(held(&b) <= 65535 + sizeof(struct reassembly));
    assert_true(counters(&b)->drop_memory >= 64 - 65535 / 1100);
    pair_sleep(b.p, 61 * TIME_SECOND); /* nothing is kept for longer */
    assert_int_equal(held(&b), 0);
    finish(&b);
}

/* Over all SAs: what is not established has half of it. */
static void memory_of_all(void **state)
{
    (void)state;
    struct bench b = bench_make(1000);
    struct ike_engine *e = b.p->side[1].engine;
    e->fragment_octets = FRAGMENT_MEMORY;
    give(&b, 1, 3);
    assert_null(b.gateway->reassembly);
    assert_int_equal(counters(&b)->drop_memory, 1);
    e->fragment_octets = FRAGMENT_MEMORY / 2;
    give(&b, 1, 3);
    assert_non_null(b.gateway->reassembly);
    fragment_drop(e, b.gateway);
    b.gateway->state = IKE_STATE_INIT_DONE;
    struct input in = {.header.message_id = 7, .fragment = {.number = 1, .total = 2}};
    assert_false(fragment_take(e, b.gateway, &in));
    assert_null(b.gateway->reassembly);
    b.gateway->state = IKE_STATE_ESTABLISHED;
    e->fragment_octets = 0;
    finish(&b);
}

/* 1 to 200 payloads that nobody knows before the fragment (libreswan CVE-2026-12413). */
static void many_outer_payloads(void **state)
{
    (void)state;
    struct bench b = bench_make(1000);
    static uint8_t datagram[4096];
    for (size_t count = 1; count <= 200; count++) {
        struct bytes good = make(&b, 1, 3, piece(&b, 1, 3));
        struct writer w = writer_of(datagram, sizeof(datagram));
        writer_bytes(&w, good.at, WIRE_HEADER_LEN);
        for (size_t i = 0; i < count; i++) {
            writer_u8(&w, i + 1 < count ? 200 : PAYLOAD_SKF);
            writer_u8(&w, 0);
            writer_u16(&w, 4);
        }
        writer_bytes(&w, good.at + WIRE_HEADER_LEN, good.len - WIRE_HEADER_LEN);
        writer_patch_u8(&w, 16, 200);
        writer_patch_u32(&w, 24, (uint32_t)w.len);
        feed(&b, writer_view(&w));
        assert_int_equal(held(&b), 0);
    }
    assert_int_equal(counters(&b)->drop_malformed + counters(&b)->drop_integrity, 200);
    assert_true(counters(&b)->drop_malformed >= 200 - WIRE_PAYLOADS_MAX);
    for (uint16_t i = 1; i <= 3; i++)
        give(&b, i, 3);
    assert_int_equal(answers(&b), 1);
    finish(&b);
}

/* Nobody has agreed on fragments. */
static void not_agreed_on(void **state)
{
    (void)state;
    struct bench b = bench_make(1000);
    b.gateway->fragment = 0;
    for (uint16_t i = 1; i <= 3; i++)
        give(&b, i, 3);
    assert_int_equal(answers(&b), 0);
    assert_int_equal(counters(&b)->drop_fragment, 3);
    finish(&b);
}

/* Another message takes the place of one whose rest never came; a whole one ends it. */
static void one_at_a_time(void **state)
{
    (void)state;
    struct bench b = bench_make(1000);
    give(&b, 1, 3);
    give(&b, 2, 3);
    pair_command(b.p, 0, IKE_CHECK); /* the same message ID, whole */
    pair_settle(b.p);
    assert_int_equal(held(&b), 0);
    give(&b, 1, 3);
    give(&b, 3, 3);
    assert_int_equal(answers(&b), 0);
    give(&b, 2, 3);
    assert_int_equal(answers(&b), 1);
    finish(&b);
}

/* As many as may be, and no IV twice. */
static void cut_into_sixty_four(void **state)
{
    (void)state;
    struct bench b = bench_make(1000);
    struct ike_engine *e = b.p->side[0].engine;
    struct wire_builder w;
    static const uint8_t zeros[INNER_MAX - 8];
    b.client->fragment = 300;
    sk_begin(e, &w);
    wire_put(&w, PAYLOAD_VENDOR, (struct bytes){zeros, 63 * 207 + 100});
    uint64_t iv = b.client->iv;
    struct message *m = sk_seal(e, b.client, EXCHANGE_INFORMATIONAL, false, b.gateway->next_in, &w);
    assert_non_null(m);
    assert_int_equal(message_parts(m), 64);
    assert_int_equal(b.client->iv, iv + 64);
    for (uint32_t at = 0; at < m->len; at += m->part)
        feed(&b, (struct bytes){m->octets + at, m->part < m->len - at ? m->part : m->len - at});
    assert_int_equal(answers(&b), 1);
    message_drop(e, &m);
    sk_begin(e, &w);
    wire_put(&w, PAYLOAD_VENDOR, (struct bytes){zeros, 64 * 207});
    assert_null(sk_seal(e, b.client, EXCHANGE_INFORMATIONAL, false, b.gateway->next_in, &w));
    finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_with_gaps),
        cmocka_unit_test(one_of_one_and_sixty_four),
        cmocka_unit_test(forged_pieces_leave_no_trace),
        cmocka_unit_test(odd_numbers),
        cmocka_unit_test(totals_and_duplicates),
        cmocka_unit_test(forged_total_restarts_nothing),
        cmocka_unit_test(no_more_than_a_message),
        cmocka_unit_test(memory_of_all),
        cmocka_unit_test(many_outer_payloads),
        cmocka_unit_test(not_agreed_on),
        cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(cut_into_sixty_four),
    };
    if (crypto_init() != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
