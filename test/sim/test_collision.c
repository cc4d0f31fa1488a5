/* Both sides rekey at once, written out: who wins, who deletes what, and what happens when half of
 * it is lost for a long time. */
#include "pair.h"

static struct {
    const struct sim_host *to; /* answers to CREATE_CHILD_SA for this host are lost ... */
    time_us until;             /* ... up to this time */
} outage;

static enum sim_fate lose_answers(struct sim *sim, struct sim_datagram *d)
{
    bool answer = d->len >= 28 && d->octets[18] == EXCHANGE_CREATE_CHILD_SA &&
                  (d->octets[19] & FLAG_RESPONSE);
    return answer && sim->now < outage.until && ip_equal(&d->to.ip, &outage.to->ip) ? SIM_DROP
                                                                                    : SIM_PASS;
}

/* Both start the same rekey; answers to one side come only after `seconds`. */
static void collide(uint64_t seed, uint32_t kind, bool lose_to_client, unsigned seconds)
{
    struct pair p = pair_make_seeded(seed);
    p.sim->traffic = TIME_SECOND / 4;
    sim_schedule(p.sim, p.sim->now, SIM_TRAFFIC, NULL, NULL);
    pair_up(&p);
    outage.to = lose_to_client ? p.client : p.gateway;
    outage.until = p.sim->now + seconds * TIME_SECOND;
    p.sim->filter = lose_answers;
    assert_int_equal(sim_command(p.client, kind, 0), 0);
    assert_int_equal(sim_command(p.gateway, kind, 0), 0);
    sim_run(p.sim, 150 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    assert_null(sim_event(p.client, IKE_EVENT_DOWN));
    assert_null(sim_event(p.gateway, IKE_EVENT_DOWN));
    assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
    sim_run(p.sim, 5 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

static void collide_all(uint32_t kind)
{
    static const unsigned outages[] = {0, 1, 5, 20, 45};
    for (uint64_t seed = 1; seed <= 8; seed++)
        for (size_t i = 0; i < ARRAY_LEN(outages); i++)
            for (int client = 0; client < 2; client++)
                collide(seed, kind, client, outages[i]);
}

static void test_child(void **state)
{
    (void)state;
    collide_all(IKE_REKEY_CHILD);
}

static void test_ike(void **state)
{
    (void)state;
    collide_all(IKE_REKEY_IKE);
}

/* A rekey meets the end: whatever comes first, nothing is left. */
static void test_rekey_meets_delete(void **state)
{
    (void)state;
    static const uint32_t kinds[] = {IKE_REKEY_CHILD, IKE_REKEY_IKE};
    for (uint64_t seed = 1; seed <= 8; seed++)
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
            for (int client = 0; client < 2; client++) {
                struct pair p = pair_make_seeded(seed);
                pair_up(&p);
                assert_int_equal(sim_command(client ? p.client : p.gateway, kinds[i], 0), 0);
                sim_run(p.sim, seed * 3 * TIME_MILLISECOND);
                assert_int_equal(sim_command(client ? p.gateway : p.client, IKE_DELETE, 0), 0);
                sim_run(p.sim, 10 * TIME_SECOND);
                assert_int_equal(sim_live_sas(p.client) + sim_live_sas(p.gateway), 0);
                pair_end(&p);
            }
}

/* Both delete at once. */
static void test_delete_meets_delete(void **state)
{
    (void)state;
    struct pair p = pair_make();
    pair_up(&p);
    assert_int_equal(sim_command(p.gateway, IKE_DELETE, 0), 0);
    pair_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_child),
        cmocka_unit_test(test_ike),
        cmocka_unit_test(test_rekey_meets_delete),
        cmocka_unit_test(test_delete_meets_delete),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
