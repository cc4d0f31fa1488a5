#include "stages.h"

const struct stage stages[STAGES] = {
    {"INIT_SENT", IKE_STATE_INIT_SENT, true},
    {"INIT_DONE", IKE_STATE_INIT_DONE, false},
    {"AUTH_ASKED", IKE_STATE_AUTH_ASKED, false},
    {"AUTH_SENT", IKE_STATE_AUTH_SENT, true},
    {"ESTABLISHED (client)", IKE_STATE_ESTABLISHED, true},
    {"ESTABLISHED (gateway)", IKE_STATE_ESTABLISHED, false},
    {"REKEYED", IKE_STATE_REKEYED, false},
    {"DELETING (client)", IKE_STATE_DELETING, true},
    {"DELETING (gateway)", IKE_STATE_DELETING, false},
};

static struct {
    uint8_t exchange;
    bool response;
} dropped;

enum sim_fate stage_drop(struct sim *sim, struct sim_datagram *d)
{
    (void)sim;
    bool response = d->len >= 28 && (d->octets[19] & FLAG_RESPONSE);
    return d->len >= 28 && d->octets[18] == dropped.exchange && response == dropped.response
               ? SIM_DROP
               : SIM_PASS;
}

struct sa *stage_sa(struct ike_engine *e, uint64_t spi_peer)
{
    size_t cursor = 0;
    struct sa *sa;
    while ((sa = map_next(&e->sas, &cursor)))
        if (spi_peer == 0 || sa->spi_peer == spi_peer || sa->spi_own == spi_peer)
            return sa;
    return NULL;
}

uint64_t stage_reach(struct pair *p, const struct stage *stage)
{
    struct sim_host *host = stage->client ? p->client : p->gateway;
    p->sim->filter = stage_drop;
    dropped.exchange = 0;
    switch (stage->state) {
    case IKE_STATE_INIT_SENT:
        dropped.exchange = EXCHANGE_IKE_SA_INIT;
        dropped.response = true;
        break;
    case IKE_STATE_INIT_DONE:
    case IKE_STATE_AUTH_SENT:
        dropped.exchange = EXCHANGE_IKE_AUTH;
        dropped.response = stage->state == IKE_STATE_AUTH_SENT;
        break;
    case IKE_STATE_AUTH_ASKED:
        p->gateway->keys_silent = true;
        break;
    }
    pair_start(p);
    sim_run(p->sim, TIME_SECOND / 5);
    struct sa *sa = stage_sa(host->engine, 0);
    assert_non_null(sa);
    uint64_t spi = sa->spi_own;
    if (stage->state == IKE_STATE_REKEYED || stage->state == IKE_STATE_DELETING) {
        dropped.exchange = EXCHANGE_INFORMATIONAL;
        dropped.response = stage->state == IKE_STATE_DELETING;
        struct sim_host *by = stage->state == IKE_STATE_REKEYED ? p->client : host;
        assert_int_equal(
            sim_command(by, stage->state == IKE_STATE_REKEYED ? IKE_REKEY_IKE : IKE_DELETE, 0), 0);
        sim_run(p->sim, TIME_SECOND / 5);
    }
    p->sim->filter = NULL;
    sa = map_get(&host->engine->sas, spi);
    if (!sa || sa->state != stage->state)
        fail_msg("%s is not reached: %s", stage->name, sa ? ike_state_name(sa->state) : "gone");
    return spi;
}
