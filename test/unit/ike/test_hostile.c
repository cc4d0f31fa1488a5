/* What a peer that means no good could try once it is let in, and what it must not get by it. */
#include "ike/gate.h"
#include "mangle.h"

/* Without a lease and without networks of its own a client may claim nothing: not the address it
 * comes from, which our own packets to it go to, and which it may share with others. */
static void outer_address_is_no_selector(void **state)
{
    (void)state;
    struct pair *p = pair_make();
    p->side[0].conf.request_ip4 = false;
    pair_start(p);
    pair_settle(p);
    const struct ike_event *refused = pair_event(&p->side[1], IKE_EVENT_REFUSED);
    assert_non_null(refused);
    assert_int_equal(refused->notify, NOTIFY_FAILED_CP_REQUIRED);
    assert_int_equal(p->side[1].child_count, 0);
    assert_int_equal(p->side[1].net_up, 0);
    pair_finish(p);
}

static size_t living(const struct ike_engine *e)
{
    size_t cursor = 0, n = 0;
    const struct sa *sa;
    while ((sa = map_next(&e->sas, &cursor)))
        n += !sa->lingering;
    return n;
}

/* Deletes never arrive: then the replaced SAs of one tunnel must not fill the memory of all. */
static void rekeys_without_deletes_stay_bounded(void **state)
{
    (void)state;
    struct pair *p = pair_make();
    struct ike_engine *gateway;
    p->side[0].conf.max_tunnels = 1000;
    pair_start(p);
    pair_settle(p);
    gateway = p->side[1].engine;
    for (uint32_t i = 1; i <= 300; i++) {
        pair_command(p, 0, IKE_REKEY_IKE);
        pair_round(p); /* the request */
        pair_round(p); /* the answer; now the Delete is on the wire */
        p->queued = 0;
        size_t cursor = 0;
        const struct tunnel *t = map_next(&gateway->tunnels, &cursor);
        assert_int_equal(t->rekeys_ike, i);
        assert_true(living(gateway) <= 2);
    }
    assert_int_equal(ike_counters(gateway)->drop_memory, 0);
    pair_sleep(p, 100 * TIME_SECOND); /* they give up repeating it */
    assert_int_equal(living(gateway), 1);
    pair_finish(p);
}

/* An IKE_AUTH that comes just before the half-open SA's end: that end would give leases back while
 * keys is moving them here from another tunnel. So the question has its own time. */
static void question_outlives_half_open(void **state)
{
    (void)state;
    struct pair *p = pair_make();
    struct ike_action a;
    size_t asked = 0, released = 0;
    pair_start(p);
    pair_round(p); /* IKE_SA_INIT */
    pair_round(p); /* its answer; the client sends IKE_AUTH */
    assert_int_equal(p->queued, 1);
    p->now += GATE_LIFE - TIME_MILLISECOND;
    struct ike_engine *e = p->side[1].engine;
    ike_input(e, p->now, &p->wire[0].path, (struct bytes){p->wire[0].octets, p->wire[0].len});
    p->queued = 0;
    for (int i = 0; i < 4; i++) {
        while (ike_next(e, &a)) {
            asked += a.kind == IKE_ASK && !(a.ask->want & IKE_WANT_RELEASE);
            released += a.kind == IKE_ASK && a.ask->want & IKE_WANT_RELEASE;
        }
        p->now += TIME_SECOND;
        ike_tick(e, p->now);
    }
    assert_int_equal(asked, 1);
    assert_int_equal(released, 0);
    assert_int_equal(e->tickets.used, 1);
    p->now += ASK_LIFE;
    ike_tick(e, p->now);
    assert_int_equal(e->tickets.used, 0); /* but not for ever */
    pair_drain(p, 1);
    assert_int_equal(p->side[1].released, 1);
    pair_finish(p);
}

/* Selectors that lie in an answer, or that cover more than was asked for, give no child SA. */
static void answers_with_other_selectors(void **state)
{
    (void)state;
    static struct text t, out;
    static const uint8_t bodies[][20] = {
        {0, 0, 0, 0},                                                            /* none */
        {255, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255, 10, 20, 0, 0, 10, 20, 0, 1}, /* 255 said */
        {1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255, 10, 20, 0, 9, 10, 20, 0, 1},   /* backwards */
        {1, 0, 0, 0, 7, 0, 255, 255, 0, 0, 255, 255, 10, 20, 0, 0, 10, 20, 0, 1},
        {1, 0, 0, 0, 9, 0, 0, 16, 0, 0, 255, 255, 10, 20, 0, 0, 10, 20, 0, 1},
        {1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255}, /* all */
        {1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255, 10, 19, 0, 0, 10, 20, 0, 1}, /* one net more */
        {1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255, 10, 99, 0, 0, 10, 99, 0, 1}, /* elsewhere */
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        for (int first = 0; first < 2; first++) {
            struct pair *p = mangle_reach(first ? AUTH_ANSWER : CHILD_ANSWER);
            uint32_t had = first ? 0 : p->side[0].children[0].spi_in;
            struct edit edit;
            mangle_open(p, &t);
            mangle_nothing(&edit);
            edit.at = mangle_index(&t, PAYLOAD_TSr);
            edit.body = (struct bytes){bodies[i], i == 0 ? 4 : 20};
            mangle_write(&t, &edit, &out);
            mangle_close(p, &out);
            pair_round(p);
            for (size_t c = 0; c < p->side[0].child_count; c++)
                assert_int_equal(p->side[0].children[c].spi_in, had);
            pair_settle(p);
            pair_finish(p);
        }
}

/* SPIs 0 to 255 are reserved (RFC 4303 2.1), 0 may never be on the wire: a proposal with one is
 * refused by either side, and the child SA of before stays as it was. */
static void reserved_spis(void **state)
{
    (void)state;
    static struct text t;
    for (uint32_t spi = 0; spi <= 256; spi++)
        for (int answer = 0; answer < 2; answer++) {
            struct pair *p = mangle_reach(answer ? CHILD_ANSWER : CHILD_REQUEST);
            mangle_open(p, &t);
            size_t sa = (size_t)(t.chain.at[mangle_index(&t, PAYLOAD_SA)].body.at - t.octets);
            memset(t.octets + sa + 8, 0, 4);
            t.octets[sa + 10] = (uint8_t)(spi >> 8), t.octets[sa + 11] = (uint8_t)spi;
            mangle_close(p, &t);
            pair_round(p);
            const struct side *reader = &p->side[answer ? 0 : 1];
            bool taken = false;
            for (size_t c = 0; c < reader->child_count; c++)
                taken |= reader->children[c].spi_out == spi;
            assert_int_equal(taken, spi > 255);
            pair_free(p);
        }
}

/* What a stranger may send is bounded: a first message of 4,096 octets is read, one more is not. */
static void first_message_too_long(void **state)
{
    (void)state;
    static uint8_t octets[AUTH_MESSAGE_MAX + 1];
    for (size_t over = 0; over < 2; over++) {
        struct pair *p = pair_make();
        pair_start(p);
        const struct packet *k = &p->wire[0];
        size_t len = AUTH_MESSAGE_MAX + over, body = len - k->len;
        memset(octets, 0, sizeof(octets));
        memcpy(octets, k->octets, WIRE_HEADER_LEN);
        octets[16] = PAYLOAD_VENDOR;
        uint8_t *put = octets + WIRE_HEADER_LEN;
        put[0] = k->octets[16];
        put[2] = (uint8_t)(body >> 8), put[3] = (uint8_t)body;
        memcpy(put + body, k->octets + WIRE_HEADER_LEN, k->len - WIRE_HEADER_LEN);
        octets[26] = (uint8_t)(len >> 8), octets[27] = (uint8_t)len;
        struct ike_usage u;
        ike_input(p->side[1].engine, p->now, &k->path, (struct bytes){octets, len});
        ike_usage(p->side[1].engine, &u);
        assert_int_equal(u.sas, over ? 0 : 1);
        assert_int_equal(ike_counters(p->side[1].engine)->drop_rule, over);
        pair_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outer_address_is_no_selector),
        cmocka_unit_test(rekeys_without_deletes_stay_bounded),
        cmocka_unit_test(question_outlives_half_open),
        cmocka_unit_test(answers_with_other_selectors),
        cmocka_unit_test(reserved_spis),
        cmocka_unit_test(first_message_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
