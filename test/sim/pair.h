/* The usual two: a client and a gateway with one shared key, on a good link. */
#ifndef SHRIKE_TEST_SIM_PAIR_H
#define SHRIKE_TEST_SIM_PAIR_H

#include "sim.h"

#define PSK "correct horse battery staple"

struct pair {
    struct sim *sim;
    struct sim_host *client, *gateway;
};

static inline struct pair pair_make_seeded(uint64_t seed)
{
    struct pair p = {.sim = sim_create(seed, &sim_good_link)};
    p.client = sim_client(p.sim, "client", "192.0.2.2");
    p.gateway = sim_gateway(p.sim, "gateway", "192.0.2.1");
    sim_psk(p.client, NULL, PSK);
    sim_psk(p.gateway, p.client, PSK);
    p.sim->keep_log = true;
    return p;
}

static inline struct pair pair_make(void)
{
    return pair_make_seeded(0x70616972);
}

static inline void pair_start(struct pair *p)
{
    sim_start(p->client);
    sim_start(p->gateway);
    sim_initiate(p->client, p->gateway);
}

/* Up, or the test is over. */
static inline void pair_up(struct pair *p)
{
    pair_start(p);
    (void)sim_until(p->sim, sim_settled, 5 * TIME_SECOND);
    sim_check_pair(p->sim, p->client, p->gateway);
    assert_non_null(sim_event(p->client, IKE_EVENT_ESTABLISHED));
    assert_non_null(sim_event(p->gateway, IKE_EVENT_ESTABLISHED));
}

/* Deletes, and looks whether anything is left. */
static inline void pair_end(struct pair *p)
{
    p->client->redial = NULL;
    if (p->client->engine)
        (void)sim_command(p->client, IKE_DELETE, 0);
    (void)sim_until(p->sim, sim_empty, 200 * TIME_SECOND);
    sim_check_empty(p->sim);
    sim_free(p->sim);
}

/* Both say why: the client by FAILED with the notify it was told, the gateway by REFUSED with the
 * reason itself. */
static inline void pair_expect_failure(struct pair *p, int err, uint16_t notify)
{
    sim_run(p->sim, 70 * TIME_SECOND);
    const struct ike_event *failed = sim_event(p->client, IKE_EVENT_FAILED);
    const struct ike_event *refused = sim_event(p->gateway, IKE_EVENT_REFUSED);
    assert_non_null(failed);
    assert_int_equal(failed->err, notify == NOTIFY_NO_PROPOSAL_CHOSEN ? ERR_NO_PROPOSAL
                                  : notify == NOTIFY_TS_UNACCEPTABLE  ? ERR_TS
                                                                      : ERR_AUTH);
    assert_int_equal(failed->notify, notify);
    assert_true(strlen(failed->text) > 20);
    assert_non_null(refused);
    if (refused->err != err)
        fail_msg("%s (%s), not %s", err_word(refused->err), refused->text, err_word(err));
    assert_int_equal(refused->notify, notify);
    assert_true(strlen(refused->text) > 20);
    assert_null(sim_event(p->client, IKE_EVENT_ESTABLISHED));
    assert_null(sim_event(p->gateway, IKE_EVENT_ESTABLISHED));
    assert_int_equal(p->client->net_ups, 0);
    pair_end(p);
}

static inline const struct ike_child *pair_child(const struct sim_host *host)
{
    const struct sim_sa *sa = sim_active(host);
    assert_non_null(sa);
    return &sa->child;
}

/* How many datagrams of this exchange and direction were sent (retransmissions included). */
static inline size_t pair_sent(const struct pair *p, uint8_t exchange, bool response)
{
    size_t count = 0;
    for (const struct sim_datagram *d = p->sim->log; d; d = d->next)
        count += d->len >= 28 && d->octets[18] == exchange &&
                 !!(d->octets[19] & FLAG_RESPONSE) == response;
    return count;
}

static inline int pair_group_start(void **state)
{
    (void)state;
    return crypto_init();
}

static inline int pair_group_end(void **state)
{
    (void)state;
    sim_pki_free();
    return 0;
}

#endif
