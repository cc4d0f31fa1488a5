/* Another configuration: what is refused, what is asked, and how long SAs live by it. Whole runs
 * are in test/sim/test_reload.c. */
#include "pair.h"

static struct conf_tunnel next; /* what is reloaded */

static int reload(struct pair *p, int which)
{
    struct ike_setup setup = pair_setup(p, which);
    setup.tunnel = &next;
    int err = ike_reload(p->side[which].engine, p->now, &setup);
    pair_drain(p, which);
    return err;
}

static struct pair *up(uint32_t ike_life, uint32_t child_life)
{
    struct pair *p = pair_make();
    for (int w = 0; w < 2; w++) {
        p->side[w].conf.ike_lifetime = ike_life;
        p->side[w].conf.child_lifetime = child_life;
    }
    pair_start(p);
    pair_settle(p);
    pair_check_children(p, 1);
    return p;
}

static void what_is_refused(void **state)
{
    (void)state;
    struct pair *p = up(0, 0);
    const struct ike_engine *e = p->side[1].engine;
    const struct auth_cache *certs = e->certs;
    next = p->side[1].conf;
    next.max_tunnels--;
    assert_int_equal(reload(p, 1), ERR_ARGUMENT);
    next = p->side[0].conf;
    assert_int_equal(reload(p, 1), ERR_ARGUMENT);
    assert_ptr_equal(e->conf, &p->side[1].conf);
    assert_ptr_equal(e->certs, certs);
    assert_null(e->sweep);
    assert_int_equal(p->side[1].stays, 0);
    pair_finish(p);
}

static void what_is_asked(void **state)
{
    (void)state;
    struct pair *p = up(0, 0);
    struct identity client, gateway;
    struct ip leased;
    assert_true(identity_parse("me@example.org", &client));
    assert_true(identity_parse("gw.example.org", &gateway));
    assert_true(ip_parse("10.9.0.5", &leased));
    next = p->side[1].conf;
    assert_int_equal(reload(p, 1), 0);
    const struct ike_ask *ask = &p->side[1].asked;
    assert_int_equal(p->side[1].stays, 1);
    assert_int_equal(ask->want, IKE_WANT_STAY);
    assert_int_equal(ask->peer_by, CONF_AUTH_PSK);
    assert_true(identity_equal(&ask->peer, &client));
    assert_true(identity_equal(&ask->own, &gateway));
    assert_true(ask->ask_ip4 && !ask->ask_ip6);
    assert_true(ip_equal(&ask->wanted_ip4, &leased));
    assert_int_equal(ask->wanted_ip6.family, 0);
    assert_int_equal(ask->own_len + ask->peer_len + ask->peer_auth_len, 0);
    /* The same answer again, or that of another question, is no answer. */
    struct ike_answer late = {.ticket = ask->ticket, .result = ERR_UNKNOWN_PEER};
    ike_answer(p->side[1].engine, p->now, &late);
    late.ticket = 0;
    ike_answer(p->side[1].engine, p->now, &late);
    pair_drain(p, 1);
    pair_check_children(p, 1);
    assert_null(p->side[1].engine->sweep); /* done */
    assert_int_equal(reload(p, 0), ERR_ARGUMENT);
    next = p->side[0].conf;
    assert_int_equal(reload(p, 0), 0); /* a client asks nothing */
    assert_int_equal(p->side[0].stays, 0);
    pair_finish(p);
}

/* The tunnel ends between question and answer: both fall on the floor. */
static void gone_meanwhile(void **state)
{
    (void)state;
    struct pair *p = up(0, 0);
    struct side *s = &p->side[1];
    struct ike_setup setup = pair_setup(p, 1);
    struct ike_action a;
    assert_int_equal(ike_reload(s->engine, p->now, &setup), 0);
    struct ike_answer late = {0};
    while (ike_next(s->engine, &a))
        if (a.kind == IKE_ASK)
            late.ticket = a.ask->ticket;
    assert_true(late.ticket != 0);
    pair_command(p, 0, IKE_DELETE);
    pair_settle(p);
    ike_answer(s->engine, p->now, &late);
    pair_drain(p, 1);
    pair_sleep(p, 200 * TIME_SECOND);
    pair_check_empty(p);
    pair_free(p);
    /* And before the question was even taken. */
    p = up(0, 0);
    s = &p->side[1];
    setup = pair_setup(p, 1);
    assert_int_equal(ike_reload(s->engine, p->now, &setup), 0);
    struct ike_command c = {.kind = IKE_DELETE};
    size_t cursor = 0;
    c.tunnel = ((const struct tunnel *)map_next(&s->engine->tunnels, &cursor))->id;
    assert_int_equal(ike_command(s->engine, p->now, &c, NULL), 0);
    pair_drain(p, 1);
    assert_int_equal(s->stays, 0);
    pair_sleep(p, 200 * TIME_SECOND);
    pair_check_empty(p);
    pair_free(p);
}

static void sent_away(void **state)
{
    (void)state;
    struct pair *p = up(0, 0);
    next = p->side[1].conf;
    p->side[1].stay = ERR_UNKNOWN_PEER;
    assert_int_equal(reload(p, 1), 0);
    const struct ike_event *down = pair_event(&p->side[1], IKE_EVENT_DOWN);
    assert_non_null(down);
    assert_int_equal(down->err, ERR_UNKNOWN_PEER);
    assert_non_null(strstr(down->text, "me@example.org"));
    assert_non_null(strstr(down->text, "; ")); /* what to do */
    assert_int_equal(p->side[1].released, 1);
    assert_int_equal(p->side[1].net_up, 0);
    pair_settle(p);
    pair_sleep(p, 100 * TIME_SECOND);
    pair_check_empty(p);
    pair_free(p);
}

/* Seconds: lives before and after, the age at the reload, and between which ages the IKE SA is
 * rekeyed and ends then; 0 = never. The gateway's timers are looked at. */
static void lives(void **state)
{
    (void)state;
    static const struct {
        uint32_t was, now, age, soft_from, soft_to, hard_from, hard_to;
    } rows[] = {
        {1000, 1000, 500, 800, 900, 1000, 1000},
        {1000, 2000, 500, 1600, 1800, 2000, 2000},
        {2000, 1000, 500, 800, 900, 1000, 1000},
        {2000, 1000, 900, 900, 961, 1000, 1022},
        {2000, 300, 1000, 1000, 1061, 1120, 1122},
        {2000, 60, 1000, 1000, 1031, 1060, 1062},
        {1000, 0, 500, 0, 0, 0, 0},
        {0, 1000, 500, 800, 900, 1000, 1000},
        {0, 1000, 5000, 5000, 5061, 5120, 5122},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pair *p = up(rows[i].was, rows[i].was);
        struct ike_engine *e = p->side[1].engine;
        size_t cursor = 0;
        const struct sa *sa = map_next(&e->sas, &cursor);
        const struct child *c = sa->children;
        p->now = sa->created + rows[i].age * TIME_SECOND;
        next = p->side[1].conf;
        next.ike_lifetime = next.child_lifetime = rows[i].now;
        assert_int_equal(reload(p, 1), 0);
        if (rows[i].soft_to == 0) {
            assert_true(sa->rekey_at == TIME_NEVER && sa->expire_at == TIME_NEVER);
            assert_true(c->hard == TIME_NEVER && c->timer.place == 0);
        } else {
            time_us born = sa->created;
            assert_in_range(sa->rekey_at - born, rows[i].soft_from * TIME_SECOND,
                            rows[i].soft_to * TIME_SECOND);
            assert_in_range(sa->expire_at - born, rows[i].hard_from * TIME_SECOND,
                            (rows[i].hard_to + 1) * TIME_SECOND);
            /* How old a child is, is known by its end only. */
            if (rows[i].was == 0)
                born = sa->created + rows[i].age * TIME_SECOND;
            bool anew = rows[i].was == 0 && rows[i].age > 0;
            assert_in_range(
                c->timer.deadline - born,
                anew ? rows[i].now * TIME_SECOND / 10 * 8 : rows[i].soft_from * TIME_SECOND,
                anew ? rows[i].now * TIME_SECOND / 10 * 9 : (rows[i].soft_to + 1) * TIME_SECOND);
            assert_true(c->hard > c->timer.deadline);
        }

        pair_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_refused), cmocka_unit_test(what_is_asked),
        cmocka_unit_test(gone_meanwhile),  cmocka_unit_test(sent_away),
        cmocka_unit_test(lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
