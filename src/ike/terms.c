#include <string.h>

#include "ike/internal.h"

/* What the two sides agree on for a child SA: algorithms, traffic selectors, SPIs (RFC
 * 7296 2.7, 2.9, 3.3), in IKE_AUTH and in CREATE_CHILD_SA, both roles. */

void terms_offer_ts(struct ike_engine *e, const struct sa *sa, const struct child *made,
                    const struct child *rekeyed, struct wire_builder *b)
{
    struct traffic t;
    traffic_offer(e, sa, made, rekeyed, &t);
    wire_put_ts(b, PAYLOAD_TSi, t.local, t.local_count);
    wire_put_ts(b, PAYLOAD_TSr, t.remote, t.remote_count);
}

static int read_ts(struct ike_engine *e, const struct wire_chain *chain, int *count_i, int *count_r)
{
    const struct wire_payload_view *i = wire_find(chain, PAYLOAD_TSi);
    const struct wire_payload_view *r = wire_find(chain, PAYLOAD_TSr);
    *count_i = i ? wire_ts_read(i->body, e->ts_i, WIRE_SELECTORS_MAX) : ERR_SYNTAX;
    *count_r = r ? wire_ts_read(r->body, e->ts_r, WIRE_SELECTORS_MAX) : ERR_SYNTAX;
    return *count_i < 0 || *count_r < 0 ? ERR_SYNTAX : 0;
}

static int read_spi(const struct proposal *p, uint32_t *spi)
{
    struct reader r = reader_of(p->spi, p->spi_len);
    *spi = reader_u32(&r);
    return reader_done(&r) && *spi > 255 ? 0 : ERR_SYNTAX;
}

int terms_explain_nat(struct ike_engine *e)
{
    explain(e, "AH cannot pass the NAT between the two sides, nor a peer that wants everything in "
               "UDP; use ESP: take `ah` out of [crypto] on both sides");
    return ERR_NO_PROPOSAL;
}

int terms_select(struct ike_engine *e, const struct selection *s)
{
    uint16_t group = 0;
    int notify = select_proposal(s, &e->picked, &group);
    if (notify == NOTIFY_INVALID_KE_PAYLOAD) {
        struct writer w = writer_of(e->notify_data, sizeof(e->notify_data));
        writer_u16(&w, group);
        e->notify_len = 2;
    } else if (notify != 0) {
        explain_proposals(e, s->offered, s->offered_count, s->own, s->own_count);
    }
    return notify;
}

static int choose_algorithms(struct ike_engine *e, const struct sa *sa,
                             const struct wire_chain *chain, enum select_ke ke, uint16_t ke_sent)
{
    if (path_bars_ah(e, sa)) {
        (void)terms_explain_nat(e);
        return NOTIFY_NO_PROPOSAL_CHOSEN;
    }
    const struct wire_payload_view *p = wire_find(chain, PAYLOAD_SA);
    int count = p ? wire_sa_read(p->body, e->offered, PROPOSALS_MAX) : ERR_SYNTAX;
    if (count < 0)
        return NOTIFY_INVALID_SYNTAX;
    struct selection s = {.own = e->conf->esp,
                          .own_count = e->conf->esp_count,
                          .offered = e->offered,
                          .offered_count = (size_t)count,
                          .groups = e->conf->ike,
                          .group_count = e->conf->ike_count,
                          .ke = ke,
                          .pq = e->conf->pq,
                          .ke_sent = ke_sent,
                          .esn = e->conf->esn};
    return terms_select(e, &s);
}

int terms_choose(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                 const struct child *old, enum select_ke ke, uint16_t ke_sent, struct child **out)
{
    int count_i, count_r;
    uint32_t spi_out;
    int notify = choose_algorithms(e, sa, chain, ke, ke_sent);
    if (notify != 0)
        return notify;
    if (read_ts(e, chain, &count_i, &count_r) < 0 || read_spi(&e->picked, &spi_out) < 0)
        return NOTIFY_INVALID_SYNTAX;
    struct child *c = child_create(e, sa, old);
    if (!c)
        return NOTIFY_NO_ADDITIONAL_SAS;
    c->spi_out = spi_out;
    c->out_waits = true; /* if another one can carry it, until the peer was heard on this one */
    c->chosen = select_chosen(&e->picked);
    child_heed(e, c, chain);
    notify = hosts_choose(e, sa, chain, (size_t)count_i, (size_t)count_r, old, c);
    if (notify != 0) {
        child_free(e, c);
        return notify;
    }
    *out = c;
    return 0;
}

void terms_put(struct ike_engine *e, const struct child *c, const struct negotiation *n,
               struct wire_builder *b)
{
    struct writer w = writer_of(e->picked.spi, sizeof(e->picked.spi));
    writer_u32(&w, c->spi_in);
    e->picked.spi_len = 4;
    wire_put_sa(b, &e->picked, 1);
    if (n)
        negotiation_put(b, n);
    wire_put_ts(b, PAYLOAD_TSi, c->selectors + c->local_count, c->remote_count);
    wire_put_ts(b, PAYLOAD_TSr, c->selectors, c->local_count);
    hosts_put(c, b);
    if (e->ts_left_out)
        wire_put_notify(b, NOTIFY_ADDITIONAL_TS_POSSIBLE, (struct bytes){0});
}

static bool all_inside(const struct selector *answer, size_t count, const struct selector *offer,
                       size_t offer_count)
{
    for (size_t i = 0; i < count; i++) {
        bool inside = false;
        for (size_t j = 0; j < offer_count && !inside; j++)
            inside = selector_is_subset(&answer[i], &offer[j]);
        if (!inside)
            return false;
    }
    return count > 0;
}

/* What came back must lie inside what we offered; where we could not yet name our addresses, it is
 * cut to them now. */
static int accept_ts(struct ike_engine *e, struct sa *sa, struct child *c,
                     const struct child *rekeyed, const struct wire_chain *chain,
                     const struct traffic *offer)
{
    struct traffic policy, t;
    int count_i, count_r;
    bool left_out = false;
    if (read_ts(e, chain, &count_i, &count_r) < 0)
        return ERR_SYNTAX;
    int err = hosts_answer(e, c, chain, (size_t)count_i, (size_t)count_r);
    if (err < 0)
        return err;
    if (!all_inside(e->ts_i, (size_t)count_i, offer->local, offer->local_count) ||
        !all_inside(e->ts_r, (size_t)count_r, offer->remote, offer->remote_count)) {
        explain(e, "the peer answered with traffic selectors that we did not offer");
        return ERR_TS;
    }
    if (rekeyed || c->pair > 0)
        policy = *offer;
    else
        traffic_policy(e, sa, c->wish, c->hosts, &policy);
    t.local_count =
        narrow(e->ts_i, (size_t)count_i, policy.local, policy.local_count, t.local, &left_out);
    t.remote_count =
        narrow(e->ts_r, (size_t)count_r, policy.remote, policy.remote_count, t.remote, &left_out);
    if (t.local_count == 0 || t.remote_count == 0) {
        explain_ts(e, e->ts_i, (size_t)count_i, policy.local, policy.local_count);
        return ERR_TS;
    }
    return child_set_selectors(c, t.local, t.local_count, t.remote, t.remote_count);
}

size_t terms_offer(struct ike_engine *e, const struct sa *sa, struct bytes spi, uint16_t group)
{
    uint8_t additional[ADDKE_MAX];
    struct select_wish wish = {.protocol = child_protocol(e),
                               .spi = spi,
                               .with_ke = group != 0,
                               .more = kes_additional(&sa->chosen.kes, additional) > 0,
                               .first_group = group};
    return select_offer(e->conf, &wish, e->offer);
}

int terms_accept(struct ike_engine *e, struct sa *sa, struct child *c, const struct child *rekeyed,
                 const struct wire_chain *chain, enum select_ke ke, uint16_t group)
{
    struct traffic offer;
    const struct wire_payload_view *p = wire_find(chain, PAYLOAD_SA);
    int count = p ? wire_sa_read(p->body, e->offered, PROPOSALS_MAX) : ERR_SYNTAX;
    if (count != 1 || read_spi(&e->offered[0], &c->spi_out) < 0) {
        explain(e, "the peer's answer for the child SA cannot be read");
        return ERR_SYNTAX;
    }
    size_t offers = terms_offer(e, sa, (struct bytes){0}, group);
    if (select_check(e->offer, offers, &e->offered[0], ke, e->conf->pq) < 0) {
        explain(e, "the peer chose algorithms for the child SA that we did not offer");
        return ERR_NO_PROPOSAL;
    }
    c->chosen = select_chosen(&e->offered[0]);
    child_heed(e, c, chain);
    struct ip ip4 = sa->tunnel->ip4, ip6 = sa->tunnel->ip6;
    if (!rekeyed && ke == SELECT_KE_NEVER)
        sa->tunnel->ip4 = sa->tunnel->ip6 = (struct ip){0}; /* as they were when we asked */
    traffic_offer(e, sa, c, rekeyed, &offer);
    sa->tunnel->ip4 = ip4;
    sa->tunnel->ip6 = ip6;
    return accept_ts(e, sa, c, rekeyed, chain, &offer);
}
