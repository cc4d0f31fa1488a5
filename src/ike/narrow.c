#include "ike/internal.h"

/* Traffic selectors (RFC 7296 2.9). */

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

/* In the order in which they are offered: the first one is that of the packet for which the peer
 * wants the SA, and must be among those that are kept. */
size_t narrow(const struct selector *offered, size_t offered_count, const struct selector *policy,
              size_t policy_count, struct selector out[static CONF_SELECTORS], bool *left_out)
{
    size_t n = 0;
    struct selector common;
    for (size_t i = 0; i < offered_count; i++)
        for (size_t j = 0; j < policy_count; j++)
            if (selector_intersect(&offered[i], &policy[j], &common) && !keep(out, &n, &common))
                *left_out = true;
    return n;
}

static size_t add_ip(struct selector *out, size_t n, const struct ip *ip)
{
    if (ip->family != 0 && n < CONF_SELECTORS)
        out[n++] = selector_from_ip(ip);
    return n;
}

static size_t copy(const struct selector *from, size_t count, struct selector *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = from[i];
    return count;
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

size_t policy_local(const struct ike_engine *e, const struct sa *sa,
                    struct selector out[static CONF_SELECTORS])
{
    if (e->conf->local_ts_count > 0)
        return copy(e->conf->local_ts, e->conf->local_ts_count, out);
    if (sa->tunnel->initiator)
        return own_addresses(sa, out);
    return add_ip(out, 0, &sa->path.local.ip);
}

size_t policy_remote(const struct ike_engine *e, const struct sa *sa,
                     struct selector out[static CONF_SELECTORS])
{
    const struct tunnel *t = sa->tunnel;
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
