/* Everything at random: both sides rekey, add and delete children, check, end and are killed, the
 * NAT changes, keys answer late or refuse, the data plane reports; on a bad network. Then the
 * weather clears: both must be settled again, and after the end nothing may be held. */
#include "sim.h"

enum { BLOWS = 30 };

static unsigned seeds(void)
{
    const char *text = getenv("SEEDS");
    return text ? (unsigned)strtoul(text, NULL, 0) : 100;
}

static void delete_some_child(struct sim_host *host)
{
    const struct sim_sa *sa = sim_active(host);
    if (!sa)
        return;
    struct ike_command command = {
        .kind = IKE_DELETE_CHILD, .tunnel = sa->child.tunnel, .spi_in = sa->child.spi_in};
    (void)!ike_command(host->engine, host->sim->now, &command, NULL);
    sim_drain(host);
}

static void report(struct sim_host *host, uint64_t *dice)
{
    const struct sim_sa *sa = sim_active(host);
    struct ike_fact fact = {.kind = sim_below(dice, 5),
                            .spi_in = sa && sim_below(dice, 4) ? sa->child.spi_in : 77,
                            .tunnel = sa ? sa->child.tunnel : 78,
                            .stray_len = 20};
    ike_fact(host->engine, host->sim->now, &fact);
    sim_drain(host);
}

static void kill_and_restart(struct sim_host *host)
{
    sim_stop(host);
    sim_start(host);
    if (host->redial)
        sim_initiate(host, host->redial);
}

static void blow(struct sim *sim, uint64_t *dice)
{
    struct sim_host *host = sim->hosts[sim_below(dice, 2)];
    switch (sim_below(dice, 16)) {
    case 0:
    case 1:
    case 2:
        (void)sim_command(host, IKE_REKEY_CHILD, 0);
        break;
    case 3:
    case 4:
        (void)sim_command(host, IKE_REKEY_IKE, 0);
        break;
    case 5:
        (void)sim_command(host, IKE_CREATE_CHILD, 0);
        break;
    case 6:
        delete_some_child(host);
        break;
    case 7:
        (void)sim_command(host, IKE_CHECK, 0);
        break;
    case 8:
        (void)sim_command(host, IKE_DELETE, 0);
        break;
    case 9:
        sim->hosts[0]->nat_shift = (uint16_t)(10000 + sim_below(dice, 4) * 1000);
        break;
    case 10:
        host->keys_silent = sim_below(dice, 2);
        break;
    case 11:
        sim->hosts[1]->admit = sim_below(dice, 2) ? ERR_ADDRESS : 0;
        break;
    case 12:
        kill_and_restart(host);
        break;
    default:
        report(host, dice);
    }
}

static void calm(struct sim *sim)
{
    sim->link = sim_good_link;
    sim->hosts[0]->keys_silent = sim->hosts[1]->keys_silent = false;
    sim->hosts[1]->admit = 0;
    sim_run(sim, 200 * TIME_SECOND);
    sim->hosts[0]->redial = NULL;
    (void)sim_command(sim->hosts[0], IKE_DELETE, 0); /* further children go with it */
    sim_run(sim, 2 * TIME_SECOND);
    sim->hosts[0]->redial = sim->hosts[1];
    sim_initiate(sim->hosts[0], sim->hosts[1]);
    SIM_CHECK(sim, sim_until(sim, sim_settled, 300 * TIME_SECOND), "never settled again");
    sim_check_pair(sim, sim->hosts[0], sim->hosts[1]);
}

static void run(uint64_t seed)
{
    uint64_t dice = seed ^ 0x6368616f73;
    struct sim *sim = sim_create(seed, &sim_bad_link);
    struct sim_host *client = sim_client(sim, "client", "192.0.2.2");
    struct sim_host *gateway = sim_gateway(sim, "gateway", "192.0.2.1");
    assert_true(ip_parse("198.51.100.7", &client->nat_ip));
    client->nat_shift = 20000;
    sim_psk(client, NULL, "correct horse battery staple");
    sim_psk(gateway, client, "correct horse battery staple");
    sim_start(client);
    sim_start(gateway);
    client->redial = gateway;
    sim->packets_may_be_lost = true; /* people delete children that carry traffic */
    sim->traffic = 500 * TIME_MILLISECOND;
    sim_schedule(sim, sim->now, SIM_TRAFFIC, NULL, NULL);
    sim_initiate(client, gateway);
    sim_run(sim, 5 * TIME_SECOND);
    for (int i = 0; i < BLOWS; i++) {
        blow(sim, &dice);
        sim_run(sim, sim_below(&dice, 6000) * TIME_MILLISECOND);
    }
    calm(sim);
    client->redial = NULL;
    (void)sim_command(sim->hosts[sim_below(&dice, 2)], IKE_DELETE, 0);
    (void)sim_until(sim, sim_empty, 300 * TIME_SECOND);
    sim_check_empty(sim);
    sim_free(sim);
}

static void test_chaos(void **state)
{
    (void)state;
    const char *one = getenv("SIM_SEED");
    if (one)
        run(strtoull(one, NULL, 0));
    for (uint64_t i = 0; !one && i < seeds(); i++) {
        uint64_t state_of_seed = i + 1000000;
        run(sim_random(&state_of_seed));
    }
}

static int start(void **state)
{
    (void)state;
    return crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_chaos)};
    return cmocka_run_group_tests(tests, start, NULL);
}
