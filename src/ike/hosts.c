#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

/* Transport mode (RFC 7296 1.3.1): asked for by USE_TRANSPORT_MODE, granted by the same. Its
 * selectors are the two ends themselves, so each side puts the address that it knows in the place
 * of the one that a NAT has made meaningless (2.23.1). What the peer had there is kept: its TCP and
 * UDP checksums are made with it. What children in tunnel mode do not need stands in struct hosts,
 * which they do not have. */

bool hosts_wanted(const struct ike_engine *e, const struct sa *sa, const struct child *rekeyed)
{
    return rekeyed ? rekeyed->hosts != NULL : sa->tunnel->initiator && e->conf->transport;
}

int hosts_begin(struct ike_engine *e, struct child *c)
{
    const struct ike_path *path = &c->sa->path;
    if (ip_is_any(&path->local.ip) || path->local.ip.family != path->remote.ip.family) {
        explain(e, "transport mode needs to know the address that this host sends from, and has "
                   "none; use tunnel mode");
        return ERR_STATE;
    }
    c->hosts = calloc(1, sizeof(*c->hosts));
    if (!c->hosts)
        return ERR_MEMORY;
    c->hosts->child = c;
    c->hosts->next = e->hosts;
    e->hosts = c->hosts;
    return 0;
}

void hosts_end(struct ike_engine *e, struct child *c)
{
    struct hosts **at = &e->hosts;
    while (*at && *at != c->hosts)
        at = &(*at)->next;
    if (*at)
        *at = c->hosts->next;
    free(c->hosts);
    c->hosts = NULL;
}

void hosts_put(const struct child *c, struct wire_builder *b)
{
    if (c->hosts)
        wire_put_notify(b, NOTIFY_USE_TRANSPORT_MODE, (struct bytes){0});
}

static bool told(const struct wire_chain *chain)
{
    struct wire_notify_view n;
    return wire_notify_find(chain, NOTIFY_USE_TRANSPORT_MODE, &n);
}

/* ---- addresses through NAT */

static bool one_address(const struct selector *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!ip_equal(&list[i].low, &list[0].low) || !ip_equal(&list[i].high, &list[0].low))
            return false;
    return count > 0;
}

static void put_address(struct selector *list, size_t count, const struct ip *ip)
{
    for (size_t i = 0; i < count; i++)
        list[i].low = list[i].high = *ip;
}

/* What is in e->ts_i and e->ts_r, by whose selectors they are. */
struct view {
    struct selector *local, *remote;
    size_t local_count, remote_count;
};

/* The addresses become ours; what they were goes to *seen. False: not one address on each side, or
 * of another family than the outer ones, as behind a NAT64. */
static bool substitute(const struct sa *sa, const struct view *view, struct ip seen[static 2])
{
    const struct ip *local = &sa->path.local.ip, *remote = &sa->path.remote.ip;
    if (!one_address(view->local, view->local_count) ||
        !one_address(view->remote, view->remote_count) ||
        view->local[0].low.family != local->family || view->remote[0].low.family != remote->family)
        return false;
    seen[0] = view->local[0].low;
    seen[1] = view->remote[0].low;
    if (sa->nat_local)
        put_address(view->local, view->local_count, local);
    if (sa->nat_remote)
        put_address(view->remote, view->remote_count, remote);
    return true;
}

static void keep_seen(struct child *c, const struct ip seen[static 2])
{
    c->hosts->seen_local = seen[0];
    c->hosts->seen_remote = seen[1];
}

void hosts_describe(const struct child *c, struct ike_child *out)
{
    out->transport = c->hosts != NULL;
    if (!c->hosts || !c->selectors)
        return;
    const struct selector *local = c->selectors, *remote = c->selectors + c->local_count;
    if (!ip_equal(&c->hosts->seen_local, &local->low))
        out->seen_local = c->hosts->seen_local;
    if (!ip_equal(&c->hosts->seen_remote, &remote->low))
        out->seen_remote = c->hosts->seen_remote;
}

/* ---- initiator */

int hosts_answer(struct ike_engine *e, struct child *c, const struct wire_chain *chain,
                 size_t count_i, size_t count_r)
{
    struct view view = {e->ts_i, e->ts_r, count_i, count_r};
    struct ip seen[2];
    bool granted = told(chain);
    if (!c->hosts && !granted)
        return 0;
    if (!c->hosts) {
        explain(e, "the peer answered in transport mode, which we did not ask for");
        return ERR_TS;
    }
    if (!granted) {
        explain(e, "the peer answered in tunnel mode, and only transport mode will do here; grant "
                   "it there, or set mode = tunnel in [traffic] here");
        return ERR_TS;
    }
    if (!substitute(c->sa, &view, seen)) {
        explain(e, "the peer answered in transport mode with more than one address on a side");
        return ERR_TS;
    }
    keep_seen(c, seen);
    return 0;
}

/* ---- responder */

static bool overlap(const struct selector *a, size_t a_count, const struct selector *b,
                    size_t b_count)
{
    struct selector common;
    for (size_t i = 0; i < a_count; i++)
        for (size_t j = 0; j < b_count; j++)
            if (selector_intersect(&a[i], &b[j], &common))
                return true;
    return false;
}

/* Somebody else at the same address, as behind one NAT, has such traffic already: what we send
 * could not be told apart (RFC 3948 5.2). */
static bool is_taken(const struct ike_engine *e, const struct child *c)
{
    for (const struct hosts *h = e->hosts; h; h = h->next) {
        const struct child *o = h->child;
        const struct tunnel *t = o->sa->tunnel;
        if (o->selectors && t && o->state == CHILD_UP && t != c->sa->tunnel &&
            t->identity_key != c->sa->tunnel->identity_key &&
            overlap(c->selectors, c->local_count, o->selectors, o->local_count) &&
            overlap(c->selectors + c->local_count, c->remote_count, o->selectors + o->local_count,
                    o->remote_count))
            return true;
    }
    return false;
}

/* May a new child be in transport mode? Not where the tunnel may move (RFC 4555 is about tunnel
 * mode only). */
static bool is_granted(const struct ike_engine *e, const struct sa *sa, const struct child *old)
{
    return old ? old->hosts != NULL : e->conf->transport && !sa->tunnel->mobike;
}

static int choose(struct ike_engine *e, const struct sa *sa, const struct wire_chain *chain,
                  const struct view *view, struct child *c)
{
    struct ip seen[2];
    if (!substitute(sa, view, seen)) {
        explain(e, "the peer asks for transport mode with more than one address on a side");
        return NOTIFY_TS_UNACCEPTABLE;
    }
    int err = hosts_begin(e, c);
    if (err == ERR_MEMORY)
        explain(e, "%s", err_sentence(err));
    int notify = err < 0 ? NOTIFY_TS_UNACCEPTABLE
                         : traffic_choose(e, sa, chain, view->remote_count, view->local_count, c);
    if (notify == 0) {
        keep_seen(c, seen);
        return 0;
    }
    if (c->hosts)
        hosts_end(e, c);
    put_address(view->local, view->local_count, &seen[0]);
    put_address(view->remote, view->remote_count, &seen[1]);
    return notify;
}

/* Transport mode where it is asked for and granted and the selectors are right; else as if it had
 * not been asked for (2.23.1). */
int hosts_choose(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                 size_t count_i, size_t count_r, const struct child *old, struct child *c)
{
    struct view view = {e->ts_r, e->ts_i, count_r, count_i};
    bool asked = told(chain), only = hosts_wanted(e, sa, old);
    int notify = NOTIFY_TS_UNACCEPTABLE;
    if (asked && is_granted(e, sa, old)) {
        notify = choose(e, sa, chain, &view, c);
        if (notify == 0 && is_taken(e, c)) {
            explain(e, "another peer at the same address, as behind one NAT, has this traffic in "
                       "transport mode already; use tunnel mode for one of them");
            return NOTIFY_TS_UNACCEPTABLE;
        }
        if (notify == 0 || only)
            return notify;
    }
    if (only) {
        explain(e,
                "the peer wants a child SA in tunnel mode, and only transport mode will do here");
        return NOTIFY_TS_UNACCEPTABLE;
    }
    notify = traffic_choose(e, sa, chain, count_i, count_r, c);
    if (notify != 0 && asked && !e->conf->transport)
        explain(e, "the peer asks for transport mode, which is not granted here; set mode = "
                   "transport in [network], or mode = tunnel there");
    return notify;
}

/* ---- the peer is elsewhere */

void hosts_moved(struct ike_engine *e, struct sa *sa)
{
    for (struct child *c = sa->children; c; c = c->next)
        if (c->hosts && c->state == CHILD_UP &&
            task_add(e, sa, (struct task){.kind = TASK_DELETE_CHILD, .spi_in = c->spi_in}) < 0)
            e->counters.drop_memory++;
}
