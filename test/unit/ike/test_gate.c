/* Strangers, and what they may cost a responder: cookies, buckets, puzzles, penalties, the row of
 * half-open SAs. */
#include "ike/gate.h"
#include "pair.h"

#include <stdio.h>

/* ---- sources */

static void buckets_fill_slowly(void **state)
{
    (void)state;
    struct source b = {.key = 1};
    time_us now = 5 * TIME_SECOND;
    for (int i = 0; i < 5; i++)
        assert_true(source_take(&b, now, 20, 5));
    assert_false(source_take(&b, now, 20, 5));
    now += 49 * TIME_MILLISECOND;
    assert_false(source_take(&b, now, 20, 5));
    now += TIME_MILLISECOND;
    assert_true(source_take(&b, now, 20, 5));
    assert_false(source_take(&b, now, 20, 5));
    unsigned got = 0;
    for (int i = 0; i < 10000; i++) /* a second of asking ten times a millisecond */
        got += source_take(&b, now += 100, 20, 5);
    assert_in_range(got, 19, 20);
    now += 2 * 3600 * TIME_SECOND;
    for (int i = 0; i < 5; i++)
        assert_true(source_take(&b, now, 20, 5));
    assert_false(source_take(&b, now, 20, 5));
}

static void tables_keep_their_size(void **state)
{
    (void)state;
    struct source_table t;
    assert_int_equal(source_table_init(&t, 64), 0);
    for (uint64_t key = 1; key <= 1000; key++) {
        struct source *s = source_find(&t, key, true);
        assert_int_equal(s->key, key);
        s->at = key;
        assert_ptr_equal(source_find(&t, key, false), s);
    }
    assert_null(source_find(&t, 1, false)); /* the oldest have made room */
    assert_non_null(source_find(&t, 1000, false));
    assert_int_equal(t.sets, 16);
    source_table_free(&t);
}

static void penalties_grow(void **state)
{
    (void)state;
    struct source s = {.key = 1};
    time_us now = 100 * TIME_SECOND, most = 600 * TIME_SECOND;
    assert_int_equal(penalty_add(&s, now, most), now);
    assert_int_equal(penalty_add(&s, now, most), now);
    assert_int_equal(penalty_add(&s, now, most), now + 5 * TIME_SECOND);
    assert_int_equal(penalty_add(&s, now, most), now + 10 * TIME_SECOND);
    for (int i = 0; i < 500; i++)
        assert_true(penalty_add(&s, now, most) <= now + most);
    assert_int_equal(s.at, now + most);
    now = s.at + most - 1;
    assert_int_equal(penalty_add(&s, now, most), now + most);
    now = s.at + most;
    assert_int_equal(penalty_add(&s, now, most), now); /* forgotten */
}

/* ---- first requests by hand */

/* The model with another SPI, from another address. */
static struct packet request(const struct packet *model, uint32_t n, const char *from)
{
    struct packet k = *model;
    memcpy(k.octets + 4, &n, sizeof(n)); /* in the initiator's SPI */
    assert_true(ip_parse(from, &k.path.remote.ip));
    k.path.local.ip.family = k.path.remote.ip.family;
    return k;
}

/* With what the engine answers, at most one datagram. */
static struct packet knock(struct pair *p, const struct packet *k)
{
    struct packet answer = {0};
    struct ike_action a;
    ike_input(p->side[1].engine, p->now, &k->path, (struct bytes){k->octets, k->len});
    while (ike_next(p->side[1].engine, &a)) {
        if (a.kind != IKE_SEND)
            continue;
        assert_int_equal(answer.len, 0);
        answer.len = a.send.datagram.len;
        assert_true(answer.len <= sizeof(answer.octets));
        memcpy(answer.octets, a.send.datagram.at, answer.len);
    }
    return answer;
}

static bool notify_of(const struct packet *k, uint16_t type, struct wire_notify_view *out)
{
    struct wire_header h;
    static struct wire_chain chain;
    struct bytes all = {k->octets, k->len};
    if (k->len == 0)
        return false;
    assert_int_equal(wire_header_read(all, &h), 0);
    struct bytes rest = {all.at + WIRE_HEADER_LEN, all.len - WIRE_HEADER_LEN};
    assert_int_equal(wire_walk(h.next_payload, rest, &chain), 0);
    return wire_notify_find(&chain, type, out);
}

/* The request again with the cookie of the answer in front, and a solution (or none). */
static struct packet with_cookie(const struct packet *k, const struct packet *answer,
                                 struct bytes solution)
{
    struct packet out = *k;
    struct wire_notify_view cookie;
    struct wire_header h;
    struct wire_builder b;
    assert_true(notify_of(answer, NOTIFY_COOKIE, &cookie));
    assert_int_equal(wire_header_read((struct bytes){k->octets, k->len}, &h), 0);
    wire_begin(&b, out.octets, sizeof(out.octets), &h);
    wire_put_notify(&b, NOTIFY_COOKIE, cookie.data);
    if (solution.len)
        wire_put(&b, PAYLOAD_PS, solution);
    struct wire_chain chain;
    struct bytes rest = {k->octets + WIRE_HEADER_LEN, k->len - WIRE_HEADER_LEN};
    assert_int_equal(wire_walk(h.next_payload, rest, &chain), 0);
    for (size_t i = 0; i < chain.count; i++)
        wire_put(&b, chain.at[i].type, chain.at[i].body);
    out.len = wire_finish(&b).len;
    assert_true(out.len > k->len);
    return out;
}

static bool is_full_answer(const struct packet *answer)
{
    struct wire_notify_view n;
    return answer->len > 0 && !notify_of(answer, NOTIFY_COOKIE, &n);
}

/* A gateway with many places, a client whose first request is not delivered but is the model. */
static struct pair *make(struct packet *model)
{
    struct pair *p = pair_make();
    p->side[1].conf.max_tunnels = 1000;
    p->side[1].conf.handshakes = 20;
    p->side[1].conf.ban = 600;
    pair_start(p);
    *model = p->wire[0];
    return p;
}

static const char *address(unsigned network, unsigned host)
{
    static char text[32];
    snprintf(text, sizeof(text), "10.%u.%u.%u", network / 200, network % 200, host);
    return text;
}

/* Fills so many half-open places, each from a network of its own, with as many cookies as needed.
 */
static void fill(struct pair *p, const struct packet *model, unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        struct packet k = request(model, 100000 + n, address(n, 7)), answer = knock(p, &k);
        if (!is_full_answer(&answer)) {
            k = with_cookie(&k, &answer, (struct bytes){0});
            answer = knock(p, &k);
        }
        assert_true(is_full_answer(&answer));
    }
    assert_int_equal(gate_half_open(p->side[1].engine), count);
}

static void done(struct pair *p)
{
    pair_sleep(p, 2 * GATE_LIFE);
    pair_finish(p);
}

/* ---- cookies */

static void cookies_from_64_on(void **state)
{
    (void)state;
    struct packet model, k, answer;
    struct pair *p = make(&model);
    for (unsigned n = 0; n < 64; n++) {
        k = request(&model, n, address(n, 1));
        answer = knock(p, &k);
        assert_true(is_full_answer(&answer));
    }
    k = request(&model, 64, address(64, 1));
    answer = knock(p, &k);
    assert_false(is_full_answer(&answer));
    assert_true(answer.len > 0 && answer.len < k.len); /* no gain for who forges addresses */
    assert_int_equal(gate_half_open(p->side[1].engine), 64);
    k = with_cookie(&k, &answer, (struct bytes){0});
    answer = knock(p, &k);
    assert_true(is_full_answer(&answer));
    assert_int_equal(gate_half_open(p->side[1].engine), 65);
    done(p);
}

static void cookies_from_4_of_a_network_on(void **state)
{
    (void)state;
    static const char *const from[2][6] = {
        {"192.0.2.1", "192.0.2.77", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.3.5"},
        {"2001:db8::1", "2001:db8::1:2:3:4", "2001:db8::3", "2001:db8::4", "2001:db8::5",
         "2001:db8:0:1::5"}};
    struct packet model;
    struct pair *p = make(&model);
    for (unsigned family = 0; family < 2; family++)
        for (unsigned n = 0; n < 6; n++) {
            struct packet k = request(&model, 10 * family + n, from[family][n]);
            struct packet answer = knock(p, &k);
            assert_int_equal(is_full_answer(&answer), n != 4);
        }
    assert_int_equal(ike_counters(p->side[1].engine)->cookies_asked, 2);
    done(p);
}

/* However many forge addresses: no more places are taken than those without a cookie, memory stays
 * as it is, and who can receive gets in, by our own initiator's answer to the cookie. */
static void flood_locks_nobody_out(void **state)
{
    (void)state;
    struct packet model;
    struct pair *p = make(&model);
    struct ike_engine *e = p->side[1].engine;
    size_t messages = 0;
    for (uint32_t n = 1; n <= 20000; n++) {
        struct packet k = request(&model, n, "192.0.2.1");
        k.path.remote.ip = ip_add(k.path.remote.ip, n * 256);
        struct packet answer = knock(p, &k);
        assert_true(answer.len > 0);
        if (n == 64)
            messages = e->message_count;
    }
    assert_int_equal(gate_half_open(e), 64);
    assert_in_range(e->message_count, messages - 1, messages + 1);
    assert_int_equal(ike_counters(e)->cookies_asked, 20000 - 64);
    pair_settle(p); /* the client's request came last */
    assert_non_null(pair_event(&p->side[0], IKE_EVENT_ESTABLISHED));
    assert_int_equal(pair_event(&p->side[0], IKE_EVENT_ESTABLISHED)->messages, 6);
    done(p);
}

/* A cookie is good for who got it, for what it asked with, and for a minute or two. */
static void cookies_are_personal(void **state)
{
    (void)state;
    struct packet model;
    struct pair *p = make(&model);
    struct ike_engine *e = p->side[1].engine;
    struct input in = {.path = p->wire[0].path, .header = {.spi_i = 77}};
    struct bytes nonce = {(const uint8_t *)"sixteen octets..", 16};
    struct bytes other = {(const uint8_t *)"sixteen octets.!", 16};
    uint8_t body[4 + COOKIE_OF_OURS] = {0, 0, NOTIFY_COOKIE >> 8, NOTIFY_COOKIE & 255}, bits;
    struct wire_chain chain = {.count = 1};
    chain.at[0] = (struct wire_payload_view){.type = PAYLOAD_NOTIFY, .body = {body, sizeof(body)}};
    in.outer = &chain;
    e->now = p->now;
    assert_false(cookie_is_right(e, &in, nonce, &bits)); /* zeros, before there is a secret */
    body[4] = 255;
    assert_false(cookie_is_right(e, &in, nonce, &bits));
    cookie_make(e, &in, nonce, 9, body + 4);
    assert_true(cookie_is_right(e, &in, nonce, &bits));
    assert_int_equal(bits, 9);
    assert_false(cookie_is_right(e, &in, other, &bits));
    in.path.remote.port++;
    assert_false(cookie_is_right(e, &in, nonce, &bits));
    in.path.remote.port--;
    in.path.remote.ip.octets[3]++;
    assert_false(cookie_is_right(e, &in, nonce, &bits));
    in.path.remote.ip.octets[3]--;
    in.header.spi_i++;
    assert_false(cookie_is_right(e, &in, nonce, &bits));
    in.header.spi_i--;
    for (size_t i = 4; i < sizeof(body); i++) { /* its difficulty, too, cannot be changed */
        body[i] ^= 1;
        assert_false(cookie_is_right(e, &in, nonce, &bits));
        body[i] ^= 1;
    }
    e->now += COOKIE_LIFE + TIME_SECOND;
    assert_true(cookie_is_right(e, &in, nonce, &bits));
    e->now += COOKIE_LIFE + TIME_SECOND;
    assert_false(cookie_is_right(e, &in, nonce, &bits));
    cookie_make(e, &in, nonce, 0, body + 4);
    e->now += 10 * COOKIE_LIFE; /* nobody asked meanwhile: no secret is older than two lives */
    assert_false(cookie_is_right(e, &in, nonce, &bits));
    p->now = e->now;
    pair_settle(p);
    done(p);
}

/* ---- buckets */

static void one_address_gets_20_a_second(void **state)
{
    (void)state;
    struct packet model;
    struct pair *p = make(&model);
    fill(p, &model, 64);
    struct ike_engine *e = p->side[1].engine;
    unsigned full = 0;
    for (unsigned n = 0; n < 200; n++) { /* a second */
        p->now += 5 * TIME_MILLISECOND;
        struct packet k = request(&model, n, "203.0.113.9"), answer = knock(p, &k);
        assert_false(is_full_answer(&answer));
        k = with_cookie(&k, &answer, (struct bytes){0});
        answer = knock(p, &k);
        full += is_full_answer(&answer);
    }
    assert_in_range(full, 24, 25);
    assert_int_equal(ike_counters(e)->drop_rate, 200 - full);
    p->side[1].conf.handshakes = 0; /* no limit: only the share of one network in all places */
    struct packet k = request(&model, 1000, "203.0.113.9"), answer = knock(p, &k);
    k = with_cookie(&k, &answer, (struct bytes){0});
    answer = knock(p, &k);
    assert_true(is_full_answer(&answer));
    done(p);
}

/* ---- puzzles */

static struct packet puzzled(struct pair *p, const struct packet *k, uint8_t *bits)
{
    struct packet answer = knock(p, k);
    struct wire_notify_view n;
    assert_true(notify_of(&answer, NOTIFY_PUZZLE, &n));
    assert_int_equal(n.data.len, 3);
    assert_int_equal(n.data.at[0] << 8 | n.data.at[1], 5);
    *bits = n.data.at[2];
    assert_true(answer.len < k->len);
    return answer;
}

static void solve(const struct packet *answer, uint8_t bits, uint8_t keys[static 16])
{
    struct wire_notify_view cookie;
    assert_true(notify_of(answer, NOTIFY_COOKIE, &cookie));
    uint32_t key = 0;
    uint8_t mac[SECRET_MAX];
    for (size_t found = 0; found < 4; key++) {
        uint8_t *at = keys + 4 * found;
        memcpy(at, &key, 4);
        assert_int_equal(prf(suite_prf(5), (struct bytes){at, 4}, &cookie.data, 1, mac), 0);
        uint32_t end = (uint32_t)mac[28] << 24 | (uint32_t)mac[29] << 16 | mac[30] << 8 | mac[31];
        found += (end & ((1u << bits) - 1)) == 0;
    }
    struct bytes four = {keys, 16}, three = {keys, 12}, none = {0};
    assert_true(puzzle_is_solved(5, cookie.data, four, bits));
    assert_false(puzzle_is_solved(5, cookie.data, four, 64));
    assert_false(puzzle_is_solved(5, cookie.data, three, bits));
    assert_false(puzzle_is_solved(5, cookie.data, none, bits));
    assert_false(puzzle_is_solved(0, cookie.data, four, bits));
    uint8_t same[16];
    for (size_t i = 0; i < 4; i++)
        memcpy(same + 4 * i, keys, 4);
    assert_false(puzzle_is_solved(5, cookie.data, (struct bytes){same, 16}, bits));
}

/* Three quarters of the places taken: who works gets in, who brings nonsense does not, and who does
 * not know puzzles gets in as far as the budget goes. */
static void work_for_a_place(void **state)
{
    (void)state;
    struct packet model;
    struct pair *p = make(&model);
    struct ike_engine *e = p->side[1].engine;
    fill(p, &model, (unsigned)(e->gate->limit * 3 + 3) / 4);
    assert_int_equal(e->gate->difficulty, 0);
    p->now += TIME_SECOND;
    uint8_t bits, keys[16];
    struct packet k = request(&model, 1, "203.0.113.1"), answer = puzzled(p, &k, &bits), again;
    assert_int_equal(bits, PUZZLE_FIRST);
    solve(&answer, bits, keys);
    keys[15] ^= 1;
    again = with_cookie(&k, &answer, (struct bytes){keys, 16});
    assert_int_equal(knock(p, &again).len, 0);
    assert_int_equal(ike_counters(e)->drop_puzzle, 1);
    keys[15] ^= 1;
    again = with_cookie(&k, &answer, (struct bytes){keys, 16});
    answer = knock(p, &again);
    assert_true(is_full_answer(&answer));
    unsigned in = 0;
    for (unsigned n = 0; n < 60; n++) {
        k = request(&model, 10 + n, address(2000 + n, 1));
        answer = puzzled(p, &k, &bits);
        again = with_cookie(&k, &answer, (struct bytes){0});
        answer = knock(p, &again);
        in += is_full_answer(&answer);
    }
    assert_int_equal(in, GATE_UNSOLVED_RATE);
    for (unsigned n = 0; n < 20; n++) {
        p->now += TIME_SECOND / 4;
        k = request(&model, 100 + n, "203.0.113.2");
        (void)puzzled(p, &k, &bits);
    }
    assert_int_equal(bits, PUZZLE_FIRST + 5); /* harder each second, as long as it does not help */
    for (unsigned n = 0; n < 30; n++) {
        p->now += TIME_SECOND;
        ike_tick(e, p->now);
        pair_drain(p, 1);
    }
    p->queued = 0;
    assert_int_equal(gate_half_open(e), 0);
    k = request(&model, 200, "203.0.113.3");
    answer = knock(p, &k);
    assert_true(is_full_answer(&answer));
    assert_int_equal(e->gate->difficulty, 0);
    pair_sleep(p, 100 * TIME_SECOND);
    pair_finish(p);
}

/* Our own initiator solves it in slices, and the signature covers what it sent with it. */
static void initiator_solves(void **state)
{
    (void)state;
    struct packet model;
    struct pair *p = make(&model);
    struct ike_engine *e = p->side[1].engine, *client = p->side[0].engine;
    fill(p, &model, 64);
    e->gate->difficulty = 12;
    e->gate->adapted = p->now;
    pair_round(p); /* the request; the cookie and the puzzle */
    pair_round(p);
    assert_int_equal(p->queued, 0);
    unsigned slices = 0;
    while (p->queued == 0) {
        assert_true(ike_deadline(client) <= p->now + 1);
        ike_tick(client, ++p->now);
        pair_drain(p, 0);
        assert_true(++slices < 1000);
    }
    assert_in_range(slices, 2, 64);
    assert_int_equal(p->queued, 1);
    pair_settle(p);
    assert_non_null(pair_event(&p->side[0], IKE_EVENT_ESTABLISHED));
    assert_non_null(pair_event(&p->side[1], IKE_EVENT_ESTABLISHED));
    assert_int_equal(ike_counters(e)->puzzles_asked, 1);
    assert_int_equal(ike_counters(e)->drop_puzzle, 0);
    done(p);
}

/* Too hard to be solved: the cookie goes back alone, at once, and the budget lets it in. */
static void initiator_declines(void **state)
{
    (void)state;
    struct packet model;
    struct pair *p = make(&model);
    struct ike_engine *e = p->side[1].engine;
    fill(p, &model, 64);
    e->gate->difficulty = 40;
    e->gate->adapted = p->now;
    pair_settle(p);
    assert_non_null(pair_event(&p->side[0], IKE_EVENT_ESTABLISHED));
    assert_int_equal(ike_counters(e)->puzzles_asked, 1);
    done(p);
}

/* ---- the row of half-open SAs */

static void crowded_means_shorter_lives(void **state)
{
    (void)state;
    struct packet model;
    struct pair *p = make(&model);
    struct ike_engine *e = p->side[1].engine;
    time_us begun = p->now;
    fill(p, &model, 63);
    assert_int_equal(gate_deadline(e), begun + GATE_LIFE);
    struct packet k = request(&model, 1, "203.0.113.1");
    (void)knock(p, &k);
    assert_int_equal(ike_deadline(e), begun + GATE_LIFE_CROWDED);
    ike_tick(e, begun + GATE_LIFE_CROWDED - 1);
    assert_int_equal(gate_half_open(e), 64);
    ike_tick(e, begun + GATE_LIFE_CROWDED); /* one goes, and there is no crowd any more */
    assert_int_equal(gate_half_open(e), 63);
    pair_drain(p, 1);
    p->queued = 0;
    p->now = begun + GATE_LIFE_CROWDED;
    pair_sleep(p, 100 * TIME_SECOND);
    assert_int_equal(gate_half_open(e), 0);
    pair_finish(p);
}

/* All places taken: the oldest makes room, unless it has hardly begun. */
static void oldest_makes_room(void **state)
{
    (void)state;
    struct packet model;
    struct pair *p = make(&model);
    struct ike_engine *e = p->side[1].engine;
    unsigned limit = (unsigned)e->gate->limit;
    p->side[1].conf.ban = 0;
    fill(p, &model, limit);
    struct packet k = request(&model, 1, "203.0.113.1"), answer = knock(p, &k);
    k = with_cookie(&k, &answer, (struct bytes){0});
    assert_int_equal(knock(p, &k).len, 0);
    assert_int_equal(ike_counters(e)->drop_half_open, 1);
    p->now += GATE_LIFE_LEAST;
    e->gate->adapted = p->now;
    const struct sa *second = e->gate->first->handshake->row_after;
    answer = knock(p, &k);
    assert_true(is_full_answer(&answer));
    assert_int_equal(gate_half_open(e), limit);
    assert_ptr_equal(e->gate->first, second);
    done(p);
}

/* ---- penalties */

/* One handshake with a wrong key; returns whether the gateway looked at it. */
static bool guess(struct pair *p)
{
    struct ike_command c = {.kind = IKE_INITIATE};
    p->side[0].event_count = p->side[1].event_count = 0;
    assert_true(endpoint_parse("192.0.2.1:500", 0, &c.path.local));
    assert_true(endpoint_parse("192.0.2.2:500", 0, &c.path.remote));
    assert_int_equal(ike_command(p->side[0].engine, p->now, &c, &p->tunnel), 0);
    pair_drain(p, 0);
    pair_settle(p);
    bool refused = pair_event(&p->side[1], IKE_EVENT_REFUSED) != NULL;
    if (!refused)
        pair_sleep(p, 70 * TIME_SECOND);
    return refused;
}

static void guessing_takes_longer_and_longer(void **state)
{
    (void)state;
    struct packet model;
    struct pair *p = make(&model);
    struct ike_engine *e = p->side[1].engine;
    struct ip other;
    p->side[0].psk = "another secret phrase";
    pair_settle(p);
    assert_non_null(pair_event(&p->side[1], IKE_EVENT_REFUSED));
    assert_true(guess(p));
    assert_true(guess(p));
    time_us third = p->now;
    assert_true(gate_blocks(e, &model.path.remote.ip));
    assert_true(ip_parse("192.0.2.77", &other));
    assert_false(gate_blocks(e, &other));
    struct packet k = request(&model, 1, "192.0.2.1");
    assert_int_equal(knock(p, &k).len, 0);
    k = request(&model, 1, "192.0.2.3");
    assert_true(knock(p, &k).len > 0); /* others go on */
    pair_sleep(p, third + 5 * TIME_SECOND - p->now);
    assert_false(gate_blocks(e, &model.path.remote.ip));
    for (unsigned n = 2; n <= 10; n++) {
        assert_true(guess(p));
        third = p->now;
        pair_sleep(p, n * 5 * TIME_SECOND - 10 * TIME_MILLISECOND);
        assert_true(gate_blocks(e, &model.path.remote.ip));
        pair_sleep(p, third + n * 5 * TIME_SECOND - p->now);
        assert_false(gate_blocks(e, &model.path.remote.ip));
    }
    p->side[1].conf.ban = 0;
    for (int n = 0; n < 5; n++)
        assert_true(guess(p));
    done(p);
}

/* Who is in stays in, whoever shares its address and fails. */
static void penalties_leave_the_established_alone(void **state)
{
    (void)state;
    struct packet model;
    struct pair *p = make(&model);
    struct ike_engine *e = p->side[1].engine;
    pair_settle(p);
    assert_non_null(pair_event(&p->side[0], IKE_EVENT_ESTABLISHED));
    struct source *s =
        source_find(&e->gate->penalties, source_key(e, &model.path.remote.ip, 32, 64), true);
    s->at = p->now + 600 * TIME_SECOND;
    pair_command(p, 0, IKE_REKEY_CHILD);
    pair_settle(p);
    pair_command(p, 0, IKE_REKEY_IKE);
    pair_settle(p);
    assert_non_null(pair_event(&p->side[0], IKE_EVENT_REKEYED_IKE));
    assert_non_null(pair_event(&p->side[0], IKE_EVENT_REKEYED_CHILD));
    done(p);
}

/* The failing IKE_AUTH comes from a forged address: the one that received our answer pays. */
static void nobody_pays_for_others(void **state)
{
    (void)state;
    struct packet model;
    struct pair *p = make(&model);
    struct ike_engine *e = p->side[1].engine;
    struct ip own = model.path.remote.ip, victim;
    assert_true(ip_parse("198.51.100.1", &victim));
    p->side[0].psk = "another secret phrase";
    for (int n = 0; n < 3; n++) {
        if (n > 0) {
            struct ike_command c = {.kind = IKE_INITIATE, .path = model.path};
            c.path.local = model.path.remote;
            c.path.remote = model.path.local;
            assert_int_equal(ike_command(p->side[0].engine, p->now, &c, NULL), 0);
            pair_drain(p, 0);
        }
        pair_round(p);
        pair_round(p);
        assert_int_equal(p->queued, 1);
        p->wire[0].path.remote.ip = victim;
        pair_round(p);
        pair_settle(p);
    }
    assert_false(gate_blocks(e, &victim));
    assert_true(gate_blocks(e, &own));
    done(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_fill_slowly),
        cmocka_unit_test(tables_keep_their_size),
        cmocka_unit_test(penalties_grow),
        cmocka_unit_test(cookies_from_64_on),
        cmocka_unit_test(cookies_from_4_of_a_network_on),
        cmocka_unit_test(flood_locks_nobody_out),
        cmocka_unit_test(cookies_are_personal),
        cmocka_unit_test(one_address_gets_20_a_second),
        cmocka_unit_test(work_for_a_place),
        cmocka_unit_test(initiator_solves),
        cmocka_unit_test(initiator_declines),
        cmocka_unit_test(crowded_means_shorter_lives),
        cmocka_unit_test(oldest_makes_room),
        cmocka_unit_test(guessing_takes_longer_and_longer),
        cmocka_unit_test(penalties_leave_the_established_alone),
        cmocka_unit_test(nobody_pays_for_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
