/* What the random worlds have found (doc/simulation.md), each written out so that it stays found.
 */
#include "pair.h"

static bool holding;

/* The gateway's answers to CREATE_CHILD_SA are lost while `holding`. */
static enum sim_fate hold_answers(struct sim *sim, struct sim_datagram *d)
{
    (void)sim;
    bool answer = d->len >= 28 && d->octets[18] == EXCHANGE_CREATE_CHILD_SA &&
                  (d->octets[19] & FLAG_RESPONSE) && d->sender == sim->hosts[1];
    return answer && holding ? SIM_DROP : SIM_PASS;
}

/* The gateway rekeys a child that its own answer has made, and the answer is still on its way: the
 * client does not know that child yet, and must not say that there is none. */
static void test_rekey_before_answer(void **state)
{
    (void)state;
    struct pair p = pair_make();
    pair_up(&p);
    p.sim->filter = hold_answers;
    holding = true;
    assert_int_equal(sim_command(p.client, IKE_REKEY_CHILD, 0), 0);
    sim_run(p.sim, 50 * TIME_MILLISECOND);
    assert_int_equal(sim_live_sas(p.gateway), 2);
    assert_int_equal(sim_live_sas(p.client), 1);
    uint32_t made = p.gateway->sas->child.spi_in;
    assert_int_equal(sim_command(p.gateway, IKE_REKEY_CHILD, 0), 0);
    sim_run(p.sim, 50 * TIME_MILLISECOND);
    assert_int_equal(sim_live_sas(p.gateway), 2);
    assert_int_equal(p.gateway->sas->child.spi_in, made);
    holding = false;
    sim_run(p.sim, 20 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rekey_before_answer)};
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
