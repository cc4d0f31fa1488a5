#include <string.h>

#include "ike/internal.h"

/* Traffic selectors (RFC 7296 2.9). */

static size_t copy(const struct selector *from, size_t count, struct selector *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = from[i];
    return count;
}

/* Keeps the list free of selectors that lie inside another. False when there was no room. */
static bool keep(struct selector *out, size_t *count, const struct selector *s)
{
    size_t n = 0;
    for (size_t i = 0; i < *count; i++)
        if (selector_is_subset(s, &out[i]))
            return true;
    for (size_t i = 0; i < *count; i++)
        if (!selector_is_subset(&out[i], s))
            out[n++] = out[i];
    bool room = n < CONF_SELECTORS;
    if (room)
        out[n++] = *s;
    *count = n;
    return room;
}

/* One offered selector with all of the policy; false when not all of that has room. */
static bool narrow_one(const struct selector *offered, const struct selector *policy,
                       size_t policy_count, struct selector *out, size_t *count)
{
    bool room = true;
    struct selector common;
    for (size_t j = 0; j < policy_count && room; j++)
        if (selector_intersect(offered, &policy[j], &common))
            room = keep(out, count, &common);
    return room;
}

/* In the order in which they are offered: the first one is that of the packet for which the peer
 * wants the SA, and must be among those that are kept. The others are kept whole or not at all, so
 * that the peer can see which of them to ask for again. */
size_t narrow(const struct selector *offered, size_t offered_count, const struct selector *policy,
              size_t policy_count, struct selector out[static CONF_SELECTORS], bool *left_out)
{
    size_t n = 0;
    struct selector before[CONF_SELECTORS];
    for (size_t i = 0; i < offered_count; i++) {
        size_t had = copy(out, n, before);
        if (narrow_one(&offered[i], policy, policy_count, out, &n))
            continue;
        *left_out = true;
        if (had > 0)
            n = copy(before, had, out);
    }
    return n;
}

static size_t add_ip(struct selector *out, size_t n, const struct ip *ip)
{
    if (ip->family != 0 && n < CONF_SELECTORS)
        out[n++] = selector_from_ip(ip);
    return n;
}

/* A client without configured networks sends from the addresses it was given; without those, from
 * its own. */
static size_t own_addresses(const struct sa *sa, struct selector *out)
{
    size_t n = add_ip(out, 0, &sa->tunnel->ip4);
    n = add_ip(out, n, &sa->tunnel->ip6);
    n = n > 0 ? n : add_ip(out, 0, &sa->path.local.ip);
    if (n == 0) /* not known before the first packet: the gateway may narrow it */
        out[n++] = selector_any(sa->path.remote.ip.family);
    return n;
}

/* ---- policy */

size_t policy_count(const struct ike_engine *e, const struct tunnel *t)
{
    return t->initiator ? 1u + e->conf->child_count : 1;
}

static size_t policy_local(const struct ike_engine *e, const struct sa *sa, uint8_t wish,
                           struct selector out[static CONF_SELECTORS])
{
    const struct conf_child *child = wish > 0 ? &e->conf->children[wish - 1] : NULL;
    if (child && child->local_ts_count > 0)
        return copy(child->local_ts, child->local_ts_count, out);
    if (!child && e->conf->local_ts_count > 0)
        return copy(e->conf->local_ts, e->conf->local_ts_count, out);
    if (sa->tunnel->initiator)
        return own_addresses(sa, out);
    return add_ip(out, 0, &sa->path.local.ip);
}

static size_t policy_remote(const struct ike_engine *e, const struct sa *sa, uint8_t wish,
                            struct selector out[static CONF_SELECTORS])
{
    const struct tunnel *t = sa->tunnel;
    if (wish > 0)
        return copy(e->conf->children[wish - 1].remote_ts,
                    e->conf->children[wish - 1].remote_ts_count, out);
    if (e->conf->remote_ts_count > 0)
        return copy(e->conf->remote_ts, e->conf->remote_ts_count, out);
    if (t->initiator)
        return add_ip(out, 0, &sa->path.remote.ip);
    size_t n = add_ip(out, 0, &t->ip4);
    n = add_ip(out, n, &t->ip6);
    for (size_t i = 0; i < t->network_count && n < CONF_SELECTORS; i++)
        out[n++] = t->networks[i];
    /* Never where the peer comes from: our own packets to it would go into its tunnel again, and so
     * would those to everybody else behind its NAT. */
    return n;
}

/* Transport mode: the two ends alone, and of them what the configuration allows. */
static size_t host(const struct ip *ip, const struct selector *list, size_t count,
                   struct selector out[static CONF_SELECTORS])
{
    struct selector own = selector_from_ip(ip), common;
    size_t n = 0;
    if (count == 0)
        return add_ip(out, 0, ip);
    for (size_t i = 0; i < count; i++)
        if (selector_intersect(&own, &list[i], &common))
            (void)keep(out, &n, &common);
    return n;
}

static void hosts_policy(const struct ike_engine *e, const struct sa *sa, uint8_t wish,
                         struct traffic *out)
{
    const struct conf_child *child = wish > 0 ? &e->conf->children[wish - 1] : NULL;
    out->local_count = host(&sa->path.local.ip, child ? child->local_ts : e->conf->local_ts,
                            child ? child->local_ts_count : e->conf->local_ts_count, out->local);
    out->remote_count =
        host(&sa->path.remote.ip, child ? child->remote_ts : e->conf->remote_ts,
             child ? child->remote_ts_count : e->conf->remote_ts_count, out->remote);
}

void traffic_policy(const struct ike_engine *e, const struct sa *sa, uint8_t wish, bool transport,
                    struct traffic *out)
{
    if (wish > e->conf->child_count) { /* of a configuration of before */
        out->local_count = out->remote_count = 0;
        return;
    }
    if (transport) {
        hosts_policy(e, sa, wish, out);
        return;
    }
    out->local_count = policy_local(e, sa, wish, out->local);
    out->remote_count = policy_remote(e, sa, wish, out->remote);
}

bool traffic_pair(struct traffic *t, uint16_t pair)
{
    if (t->remote_count == 0)
        return false;
    size_t i = (pair - 1u) / t->remote_count, j = (pair - 1u) % t->remote_count;
    if (i >= t->local_count || t->local[i].low.family != t->remote[j].low.family)
        return false;
    t->local[0] = t->local[i];
    t->remote[0] = t->remote[j];
    t->local_count = t->remote_count = 1;
    return true;
}

/* ---- what we offer */

/* A client that has not got its addresses yet cannot name them. */
static void addresses_unknown(const struct ike_engine *e, const struct sa *sa, struct traffic *out)
{
    const struct conf_tunnel *conf = e->conf;
    const struct tunnel *t = sa->tunnel;
    bool unknown = t->initiator && conf->local_ts_count == 0 && !t->ip4.family && !t->ip6.family;
    if (!unknown || !(conf->request_ip4 || conf->request_ip6))
        return;
    out->local_count = 0;
    if (conf->request_ip4)
        out->local[out->local_count++] = selector_any(4);
    if (conf->request_ip6)
        out->local[out->local_count++] = selector_any(6);
}

void traffic_offer(const struct ike_engine *e, const struct sa *sa, const struct child *made,
                   const struct child *rekeyed, struct traffic *out)
{
    if (rekeyed) {
        out->local_count = copy(rekeyed->selectors, rekeyed->local_count, out->local);
        out->remote_count =
            copy(rekeyed->selectors + rekeyed->local_count, rekeyed->remote_count, out->remote);
        return;
    }
    traffic_policy(e, sa, made->wish, made->hosts, out);
    if (made->wish == 0 && !made->hosts)
        addresses_unknown(e, sa, out);
    if (made->pair > 0 && !traffic_pair(out, made->pair))
        out->local_count = out->remote_count = 0;
}

/* ---- what we accept of an offer, which is in e->ts_i and e->ts_r */

static bool holds(const struct selector *list, size_t count, const struct selector *s)
{
    for (size_t i = 0; i < count; i++)
        if (selector_is_subset(s, &list[i]))
            return true;
    return false;
}

/* The packet for which the peer wants the SA (RFC 7296 2.9). */
static bool holds_first(const struct ike_engine *e, const struct traffic *t)
{
    return holds(t->remote, t->remote_count, &e->ts_i[0]) &&
           holds(t->local, t->local_count, &e->ts_r[0]);
}

static bool cut(const struct ike_engine *e, const struct traffic *policy, size_t count_i,
                size_t count_r, struct traffic *out, bool *left_out)
{
    *left_out = false;
    out->remote_count =
        narrow(e->ts_i, count_i, policy->remote, policy->remote_count, out->remote, left_out);
    out->local_count =
        narrow(e->ts_r, count_r, policy->local, policy->local_count, out->local, left_out);
    return out->remote_count > 0 && out->local_count > 0;
}

/* Why not: the first policy is the one that most peers mean. */
static int refuse(struct ike_engine *e, const struct sa *sa, const struct wire_chain *chain,
                  size_t count_i, size_t count_r, const struct child *c)
{
    struct traffic policy, none;
    bool ignored;
    traffic_policy(e, sa, 0, c->hosts, &policy);
    if (policy.remote_count == 0) {
        bool asked = wire_find(chain, PAYLOAD_CP);
        explain(e, asked ? "the pools have no address of the kind that the peer asked for; add one "
                           "to `pool` here, or give it `networks`"
                         : "the peer asked for no inner address and no networks are configured for "
                           "it; turn on `request` there, or give it `networks` here");
        return asked ? NOTIFY_INTERNAL_ADDRESS_FAILURE : NOTIFY_FAILED_CP_REQUIRED;
    }
    (void)cut(e, &policy, count_i, count_r, &none, &ignored);
    if (none.remote_count == 0)
        explain_ts(e, e->ts_i, count_i, policy.remote, policy.remote_count);
    else
        explain_ts(e, e->ts_r, count_r, policy.local, policy.local_count);
    return NOTIFY_TS_UNACCEPTABLE;
}

int traffic_choose(struct ike_engine *e, const struct sa *sa, const struct wire_chain *chain,
                   size_t count_i, size_t count_r, struct child *c)
{
    struct traffic policy, found, best = {0};
    bool left_out;
    size_t wishes = policy_count(e, sa->tunnel);
    for (uint8_t wish = 0; wish < wishes; wish++) {
        traffic_policy(e, sa, wish, c->hosts, &policy);
        if (!cut(e, &policy, count_i, count_r, &found, &left_out))
            continue;
        bool first = holds_first(e, &found);
        if (best.local_count > 0 && !first)
            continue;
        best = found;
        e->ts_left_out = left_out;
        c->wish = wish;
        if (first)
            break;
    }
    if (best.local_count == 0)
        return refuse(e, sa, chain, count_i, count_r, c);
    int err = child_set_selectors(c, best.local, best.local_count, best.remote, best.remote_count);
    return err < 0 ? NOTIFY_NO_ADDITIONAL_SAS : 0;
}
