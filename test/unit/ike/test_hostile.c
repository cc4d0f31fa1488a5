/* What a peer that means no good could try once it is let in, and what it must not get by it. */
#include "ike/gate.h"
#include "pair.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outer_address_is_no_selector),
        cmocka_unit_test(rekeys_without_deletes_stay_bounded),
        cmocka_unit_test(question_outlives_half_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
