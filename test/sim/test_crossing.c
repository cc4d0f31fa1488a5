/* Exchanges that cross (RFC 7296 2.8.1, 2.8.2, 2.25): two operations begin at the same moment, one
 * on each side, and a relay lets the two requests and the two answers through in every possible
 * order. crossing.h says for every pair and order, after each message, what the answer says and
 * which SAs both sides hold.
 *
 * In an order, A is A's request reaching B, a is B's answer to it reaching A, and B and b the
 * other way round. Each row is played twice, with A as the client and as the gateway. */
#include <ctype.h>

#include "relay.h"

enum { STEP_TEXT = 4 * RELAY_TEXT };
enum op { REKEY_CHILD, REKEY_IKE, DELETE_CHILD, DELETE_IKE, CREATE_CHILD, OP_COUNT };
static const char *const op_names[] = {"rekey-child", "rekey-ike", "delete-child", "delete-ike",
                                       "create-child"};

struct row {
    enum op a, b;
    char lowest;       /* whose exchange must hold the lowest nonce; 0 = either */
    const char *order; /* of the four messages */
    /* For each message: what it says (answers only), and the states of A and of B after it; then
     * the states when all has settled. */
    const char *steps[4], *end;
};
#include "crossing.h"

struct side {
    struct sim_host *host;
    enum op op;
    bool nonce_seen;
    size_t nonce_len;
    uint8_t nonce[WIRE_NONCE_MAX]; /* the lower one of its exchange */
};

struct play {
    struct pair pair;
    struct relay relay;
    struct side a, b;
    const struct row *row;
    char steps[4][STEP_TEXT], end[STEP_TEXT];
};

static void begin(struct side *side)
{
    static const uint32_t commands[] = {IKE_REKEY_CHILD, IKE_REKEY_IKE, IKE_DELETE_CHILD,
                                        IKE_DELETE, IKE_CREATE_CHILD};
    struct sim_host *host = side->host;
    const struct sim_sa *sa = sim_active(host);
    assert_non_null(sa);
    struct ike_command command = {.kind = commands[side->op], .tunnel = sa->child.tunnel};
    if (side->op == DELETE_CHILD)
        command.spi_in = sa->child.spi_in;
    assert_int_equal(ike_command(host->engine, host->sim->now, &command, NULL), 0);
    sim_drain(host);
}

static void note_nonce(struct play *play, struct side *side, int at)
{
    uint8_t nonce[WIRE_NONCE_MAX];
    size_t len;
    if (!relay_nonce(&play->relay, at, nonce, &len))
        return;
    size_t common = len < side->nonce_len ? len : side->nonce_len;
    int order = side->nonce_seen ? memcmp(nonce, side->nonce, common) : -1;
    if (order > 0 || (order == 0 && len >= side->nonce_len))
        return;
    memcpy(side->nonce, nonce, len);
    side->nonce_len = len;
    side->nonce_seen = true;
}

static void states(const struct play *play, const char *said, char *text)
{
    char a[RELAY_TEXT], b[RELAY_TEXT];
    relay_state(play->a.host, a);
    relay_state(play->b.host, b);
    snprintf(text, STEP_TEXT, "%s%s%s %s", said, said[0] ? ": " : "", a, b);
}

/* In the end it matters no more which one sends. */
static void end_states(struct play *play)
{
    bool child = false;
    states(play, "", play->end);
    for (char *at = play->end; *at; at++) {
        child = *at == '(' || (child && *at != ')');
        *at = child ? (char)tolower(*at) : *at;
    }
}

/* One message; returns whether it was there. */
static bool step(struct play *play, char message, bool lose, char *text)
{
    char said[RELAY_TEXT] = "";
    bool answer = message >= 'a';
    struct side *asker = message == 'A' || message == 'a' ? &play->a : &play->b;
    struct side *other = asker == &play->a ? &play->b : &play->a;
    int at = relay_find(&play->relay, answer ? other->host : asker->host, answer);
    if (at < 0)
        return false;
    note_nonce(play, asker, at);
    if (answer) {
        relay_text(&play->relay, at, said);
        if (!said[0])
            snprintf(said, sizeof(said), "empty");
    }
    if (lose) {
        relay_lose(&play->relay, at);
        return true;
    }
    relay_deliver(&play->relay, at);
    states(play, said, text);
    SIM_CHECK(play->pair.sim, relay_carries(&play->pair),
              "%s x %s, %s: after %c (%s) a packet is lost", op_names[play->a.op],
              op_names[play->b.op], play->row->order, message, text);
    return true;
}

static void play_open(struct play *play, const struct row *row, bool mirrored, uint64_t seed)
{
    *play = (struct play){.pair = pair_make_seeded(seed), .row = row};
    struct pair *p = &play->pair;
    play->a.host = mirrored ? p->gateway : p->client;
    play->b.host = mirrored ? p->client : p->gateway;
    play->a.op = row->a;
    play->b.op = row->b;
    pair_up(p);
    sim_run(p->sim, TIME_SECOND);
    relay_begin(&play->relay, p);
    begin(&play->a);
    begin(&play->b);
    assert_int_equal(play->relay.count, 2);
}

/* Lets all that was held go on, in the order in which it was sent, and waits. */
static void settle(struct play *play, time_us time)
{
    while (play->relay.count > 0)
        relay_deliver(&play->relay, 0);
    relay_end(&play->relay);
    sim_run(play->pair.sim, time);
}

static void play_close(struct play *play)
{
    play->pair.client->redial = NULL;
    (void)sim_command(play->pair.client, IKE_DELETE, 0);
    pair_end(&play->pair);
}

/* 'A' or 'B': in whose exchange the lowest of the four nonces is. */
static char lowest(const struct play *play)
{
    if (!play->a.nonce_seen || !play->b.nonce_seen)
        return 0;
    size_t len = play->a.nonce_len < play->b.nonce_len ? play->a.nonce_len : play->b.nonce_len;
    return memcmp(play->a.nonce, play->b.nonce, len) < 0 ? 'A' : 'B';
}

/* Of two new IKE SAs the one with the lowest nonce has to go. */
static void check_winner(const struct play *play)
{
    size_t cursor = 0;
    const struct tunnel *t = map_next(&play->a.host->engine->tunnels, &cursor);
    assert_non_null(t);
    assert_true(t->sa->initiator == (play->row->lowest == 'B'));
}

static void show(const struct play *play)
{
    for (int i = 0; i < 4; i++)
        print_message("%c  %s\n", play->row->order[i], play->steps[i]);
    print_message("end: %s\n", play->end);
}

static void expect(const struct play *play)
{
    bool same = strcmp(play->end, play->row->end) == 0;
    for (int i = 0; i < 4; i++)
        same = same && strcmp(play->steps[i], play->row->steps[i]) == 0;
    if (same)
        return;
    show(play);
    fail_msg("%s x %s, %s (A is %s): not as written above", op_names[play->a.op],
             op_names[play->b.op], play->row->order, play->a.host->name);
}

/* False when the nonces fell the other way. */
static bool play_row(const struct row *row, bool mirrored, uint64_t seed)
{
    struct play play;
    play_open(&play, row, mirrored, seed);
    for (int i = 0; i < 4; i++)
        if (!step(&play, row->order[i], false, play.steps[i]))
            states(&play, "none", play.steps[i]); /* the answerer is gone */
    settle(&play, 25 * TIME_SECOND);
    end_states(&play);
    bool fits = row->lowest == 0 || lowest(&play) == row->lowest;
    if (fits)
        expect(&play);
    if (fits && row->lowest && row->a == REKEY_IKE)
        check_winner(&play);
    play_close(&play);
    return fits;
}

static void test_orders(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (int mirrored = 0; mirrored < 2; mirrored++) {
            uint64_t seed = 1;
            while (!play_row(&rows[i], mirrored, seed))
                assert_true(++seed < 64);
        }
}

/* Every pair is there, in every order that is not the mirror image of another one. */
static void test_complete(void **state)
{
    (void)state;
    static const char *const orders[] = {"AaBb", "ABab", "ABba", "BAab", "BAba", "BbAa"};
    for (int a = 0; a < OP_COUNT; a++)
        for (int b = a; b < OP_COUNT; b++)
            for (size_t o = 0; o < (a == b ? 3 : 6); o++) {
                size_t found = 0;
                for (size_t i = 0; i < ARRAY_LEN(rows); i++)
                    found += rows[i].a == (enum op)a && rows[i].b == (enum op)b &&
                             strcmp(rows[i].order, orders[o]) == 0;
                if (found == 0)
                    fail_msg("%s x %s, %s is missing", op_names[a], op_names[b], orders[o]);
            }
}

/* Both ends hold the same: IKE SAs and children in pairs, none half done. */
static void check_same(const struct play *play)
{
    char a[RELAY_TEXT], b[RELAY_TEXT];
    struct sim_view va, vb;
    struct sim *sim = play->pair.sim;
    relay_state(play->a.host, a);
    relay_state(play->b.host, b);
    sim_view(play->a.host, &va);
    sim_view(play->b.host, &vb);
    bool closes = play->a.op == DELETE_CHILD || play->b.op == DELETE_CHILD ||
                  play->a.op == DELETE_IKE || play->b.op == DELETE_IKE;
    size_t creates = (play->a.op == CREATE_CHILD) + (play->b.op == CREATE_CHILD);
    bool good = va.count == vb.count && va.count <= 1 && va.established == va.count &&
                vb.established == vb.count && va.children == vb.children &&
                va.children == sim_live_sas(play->a.host) &&
                vb.children == sim_live_sas(play->b.host) && va.last.spi_i == vb.last.spi_i;
    if (!closes)
        good = good && va.count == 1 && va.children == 1 + creates;
    for (const struct sim_sa *x = play->a.host->sas; x && good; x = x->next) {
        size_t match = 0;
        for (const struct sim_sa *y = play->b.host->sas; y; y = y->next)
            match += !y->gone && y->child.spi_in == x->child.spi_out &&
                     y->child.spi_out == x->child.spi_in;
        good = x->gone || match == 1;
    }
    SIM_CHECK(sim, good,
              "%s x %s, %s: the ends differ or are left with too much or too little: %s %s",
              op_names[play->a.op], op_names[play->b.op], play->row->order, a, b);
}

/* One of the four messages is lost, and is sent again half a second later, when all else that
 * follows from the others has long been done. */
static void play_lossy(const struct row *row, bool mirrored, int lost)
{
    struct play play;
    play_open(&play, row, mirrored, 77);
    for (int i = 0; i < 4; i++)
        (void)step(&play, row->order[i], i == lost, play.steps[i]);
    settle(&play, 150 * TIME_SECOND);
    check_same(&play);
    play_close(&play);
}

static void test_losses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (int mirrored = 0; mirrored < 2; mirrored++)
            for (int lost = 0; lost < 4; lost++)
                play_lossy(&rows[i], mirrored, lost);
}

/* One of two who rekey closes the tunnel in the midst of it, after any number of messages: both
 * ends must be rid of it at once, with all successors, and not only when liveness fails. */
static void close_midway(const struct row *row, bool mirrored, bool by_a, bool at_once, int after)
{
    struct play play;
    play_open(&play, row, mirrored, 5);
    for (int i = 0; i < after; i++)
        assert_true(step(&play, row->order[i], false, play.steps[i]));
    struct side *side = by_a ? &play.a : &play.b;
    uint64_t tunnel = sim_active(side->host) ? sim_active(side->host)->child.tunnel : 0;
    int err = sim_command(side->host, IKE_DELETE, at_once ? tunnel : 0);
    assert_int_equal(err, 0);
    settle(&play, 5 * TIME_SECOND);
    states(&play, "", play.end);
    if (strcmp(play.end, "- -") != 0)
        fail_msg("%s x %s, %s closed by %s after %d messages leaves %s", op_names[row->a],
                 op_names[row->b], row->order, by_a ? "A" : "B", after, play.end);
    play_close(&play);
}

static void test_close_midway(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (int bits = 0; bits < 8 && rows[i].b != DELETE_IKE && rows[i].a != DELETE_IKE; bits++)
            for (int after = 0; after <= 4; after++)
                close_midway(&rows[i], bits & 1, bits & 2, bits & 4, after);
}

/* A gateway that is always busy: its SA is held in a state from which it refuses every
 * CREATE_CHILD_SA. */
static void stay_busy(const struct pair *p)
{
    size_t cursor = 0;
    struct sa *sa = map_next(&p->gateway->engine->sas, &cursor);
    assert_non_null(sa);
    sa->state = IKE_STATE_REKEYED;
}

/* The waits after TEMPORARY_FAILURE: 4 s, 8 s ... 60 s, each up to half as much longer. */
static void check_waits(const struct sim *sim)
{
    time_us wait = 4 * TIME_SECOND, before = 0;
    for (const struct sim_datagram *d = sim->log; d; d = d->next) {
        if (d->octets[18] != EXCHANGE_CREATE_CHILD_SA || d->octets[19] & FLAG_RESPONSE)
            continue;
        if (before) {
            assert_in_range(d->sent - before, wait, wait * 3 / 2 + TIME_SECOND / 2);
            wait = wait < 30 * TIME_SECOND ? 2 * wait : 60 * TIME_SECOND;
        }
        before = d->sent;
    }
}

static void test_busy(void **state)
{
    (void)state;
    static const uint32_t kinds[] = {IKE_REKEY_CHILD, IKE_REKEY_IKE, IKE_CREATE_CHILD};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct pair p = pair_make();
        pair_up(&p);
        sim_log_clear(p.sim);
        stay_busy(&p);
        assert_int_equal(sim_command(p.client, kinds[i], 0), 0);
        sim_run(p.sim, 200 * TIME_SECOND);
        assert_null(sim_event(p.client, IKE_EVENT_DOWN));
        assert_in_range(pair_sent(&p, EXCHANGE_CREATE_CHILD_SA, false), 6, 8);
        sim_run(p.sim, 400 * TIME_SECOND);
        check_waits(p.sim);
        assert_int_equal(pair_sent(&p, EXCHANGE_CREATE_CHILD_SA, false), 9);
        assert_int_equal(sim_event(p.client, IKE_EVENT_DOWN)->err, ERR_PEER);
        assert_non_null(sim_event(p.gateway, IKE_EVENT_DOWN));
        pair_end(&p);
    }
}

/* It stops being busy: what waited is done, and the waits begin small again. */
static void test_busy_no_more(void **state)
{
    (void)state;
    struct pair p = pair_make();
    pair_up(&p);
    stay_busy(&p);
    assert_int_equal(sim_command(p.client, IKE_REKEY_CHILD, 0), 0);
    assert_int_equal(sim_command(p.client, IKE_CREATE_CHILD, 0), 0);
    sim_run(p.sim, 10 * TIME_SECOND);
    size_t cursor = 0;
    struct sa *sa = map_next(&p.gateway->engine->sas, &cursor);
    sa->state = IKE_STATE_ESTABLISHED;
    assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0); /* this need not wait */
    sim_run(p.sim, 20 * TIME_SECOND);
    struct sim_view view;
    sim_view(p.client, &view);
    assert_int_equal(view.children, 2);
    assert_int_equal(sim_events(p.client, IKE_EVENT_REKEYED_CHILD), 1);
    cursor = 0;
    sa = map_next(&p.client->engine->sas, &cursor);
    assert_int_equal(sa->busy_count, 0);
    pair_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_complete), cmocka_unit_test(test_orders),
        cmocka_unit_test(test_losses),   cmocka_unit_test(test_close_midway),
        cmocka_unit_test(test_busy),     cmocka_unit_test(test_busy_no_more),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
