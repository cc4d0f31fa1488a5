/* IKE SAs without a child in IKE_AUTH (RFC 6023): the first one comes by an exchange of its own. */
#include "pair.h"

static struct pair childless(void)
{
    struct pair p = pair_make();
    p.client->conf.childless = true;
    return p;
}

/* The exchanges that the client began, in their order, once each. */
static size_t exchanges(const struct pair *p, uint8_t out[static 16])
{
    size_t count = 0;
    for (const struct sim_datagram *d = p->sim->log; d; d = d->next) {
        bool again = count > 0 && out[count - 1] == d->octets[18];
        if (d->sender == p->client && !(d->octets[19] & FLAG_RESPONSE) && !again && count < 16)
            out[count++] = d->octets[18];
    }
    return count;
}

static const struct ike_child *only_child(const struct sim_host *host)
{
    assert_int_equal(sim_live_sas(host), 1);
    for (const struct sim_sa *sa = host->sas; sa; sa = sa->next)
        if (!sa->gone)
            return &sa->child;
    return NULL;
}

/* Addresses, MOBIKE and all else of the IKE SA are there; and the child has keys of its own. */
static void test_first_child(void **state)
{
    static const uint8_t want[] = {EXCHANGE_IKE_SA_INIT, EXCHANGE_IKE_AUTH,
                                   EXCHANGE_CREATE_CHILD_SA};
    (void)state;
    struct pair p = childless();
    uint8_t seen[16];
    pair_up(&p);
    assert_int_equal(exchanges(&p, seen), sizeof(want));
    assert_memory_equal(seen, want, sizeof(want));
    assert_true(only_child(p.client)->kes.ke != 0);
    assert_int_equal(only_child(p.client)->kes.ke, only_child(p.gateway)->kes.ke);
    assert_int_equal(p.client->net_ups, 1);
    assert_true(p.client->net.ip4.family == 4);
    struct sim_view view;
    sim_view(p.client, &view);
    assert_int_equal(view.last.mobike, p.client->conf.roam && p.gateway->conf.roam);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REFUSED), 0);
    sim_run(p.sim, 60 * TIME_SECOND); /* and it stays */
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

static void test_two_children(void **state)
{
    (void)state;
    struct pair p = childless();
    struct conf_child *c = &p.client->conf.children[p.client->conf.child_count++];
    snprintf(c->name, sizeof(c->name), "web");
    assert_true(selector_parse("10.2.0.0/16", &c->remote_ts[c->remote_ts_count++]));
    assert_true(selector_parse("10.1.0.0/16", &p.client->conf.remote_ts[0]));
    assert_true(selector_parse("10.0.0.0/8", &p.gateway->conf.local_ts[0]));
    p.client->conf.remote_ts_count = p.gateway->conf.local_ts_count = 1;
    p.client->conf.request_ip6 = false;
    pair_start(&p);
    sim_run(p.sim, 5 * TIME_SECOND);
    assert_int_equal(sim_live_sas(p.client), 2);
    assert_int_equal(sim_live_sas(p.gateway), 2);
    assert_int_equal(sim_events(p.client, IKE_EVENT_ESTABLISHED), 1);
    pair_end(&p);
}

/* Without PFS there is nothing that the child's keys could have of their own but nonces. */
static void test_without_pfs(void **state)
{
    (void)state;
    struct pair p = childless();
    p.client->conf.pfs = false;
    pair_up(&p);
    assert_int_equal(only_child(p.client)->kes.ke, 0);
    pair_end(&p);
}

/* Every third datagram is lost, then every second; it comes up all the same. */
static enum sim_fate lose_some(struct sim *sim, struct sim_datagram *d)
{
    unsigned *count = sim->filter_context;
    (void)d;
    return ++*count % 3 == 0 ? SIM_DROP : SIM_PASS;
}

static void test_lossy(void **state)
{
    (void)state;
    unsigned count = 0;
    struct pair p = childless();
    p.sim->filter = lose_some;
    p.sim->filter_context = &count;
    pair_start(&p);
    assert_true(sim_until(p.sim, sim_settled, 60 * TIME_SECOND));
    sim_check_pair(p.sim, p.client, p.gateway);
    p.sim->filter = NULL;
    pair_end(&p);
}

/* Nothing but the IKE SA comes through: neither end keeps it for ever, and nobody has said that it
 * is up. */
static enum sim_fate no_child(struct sim *sim, struct sim_datagram *d)
{
    (void)sim;
    return d->octets[18] == EXCHANGE_CREATE_CHILD_SA ? SIM_DROP : SIM_PASS;
}

static void test_none_comes(void **state)
{
    (void)state;
    struct pair p = childless();
    p.sim->filter = no_child;
    pair_start(&p);
    sim_run(p.sim, TIME_SECOND);
    struct sim_view view;
    sim_view(p.gateway, &view);
    assert_int_equal(view.established, 1);
    sim_run(p.sim, 200 * TIME_SECOND);
    sim_view(p.gateway, &view);
    assert_int_equal(view.count, 0);
    assert_int_equal(sim_events(p.client, IKE_EVENT_ESTABLISHED), 0);
    assert_int_equal(p.client->net_ups, 0);
    assert_non_null(sim_event(p.client, IKE_EVENT_FAILED));
    pair_end(&p);
}

/* Who authenticates anew has the new child at once: nothing is lost between. */
static void test_reauth(void **state)
{
    static const uint8_t want[] = {EXCHANGE_IKE_SA_INIT, EXCHANGE_IKE_AUTH,
                                   EXCHANGE_CREATE_CHILD_SA, EXCHANGE_IKE_SA_INIT,
                                   EXCHANGE_IKE_AUTH};
    (void)state;
    struct pair p = childless();
    uint8_t seen[16] = {0};
    p.client->conf.reauth = 600;
    p.client->conf.dpd = p.client->conf.idle_check = 0;
    p.client->conf.child_lifetime = p.client->conf.ike_lifetime = 0;
    pair_up(&p);
    sim_run(p.sim, 700 * TIME_SECOND);
    assert_true(exchanges(&p, seen) >= sizeof(want));
    assert_memory_equal(seen, want, sizeof(want));
    sim_check_pair(p.sim, p.client, p.gateway);
    assert_int_equal(only_child(p.client)->kes.ke, 0);
    pair_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_child), cmocka_unit_test(test_two_children),
        cmocka_unit_test(test_without_pfs), cmocka_unit_test(test_lossy),
        cmocka_unit_test(test_none_comes),  cmocka_unit_test(test_reauth),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
