#include <string.h>

#include "ike/internal.h"

/* NAT keepalives (RFC 3948 4): as few as the NAT on the way lets us, because each wakes a radio.
 *
 * A client with MOBIKE learns how long its mapping lives. While there is something to learn, a
 * keepalive is an exchange with NAT detection, sent one step later than what is proven; the answer
 * says how the peer sees us. The same as before: the longer silence is proven. Another: the mapping
 * died of it, so that silence is refuted, and the path is updated (RFC 4555 3.8). So a mapping is
 * never lost for longer than a step. A NAT that always gives the same port cannot be seen this way;
 * no interval is longer than what RFC 4787 (REQ-5) makes every NAT keep.
 *
 * Whoever has no such answers uses the configured interval. Any other traffic puts the next
 * keepalive off. */

enum { STEP = 15, LONGEST = 119 }; /* seconds */

static bool learns(const struct sa *sa)
{
    const struct tunnel *t = sa->tunnel;
    return t && t->sa == sa && t->mobike && t->initiator && t->roam;
}

/* Configured is where it begins. */
static uint32_t proven(const struct ike_engine *e, const struct roam *r)
{
    return r->proven > e->conf->keepalive ? r->proven : e->conf->keepalive;
}

/* The next silence to be tried, or the proven one when there is nothing more to learn. */
static uint32_t interval(const struct ike_engine *e, const struct sa *sa, bool *probe)
{
    const struct roam *r = sa->tunnel->roam;
    uint32_t good = proven(e, r), next = good + STEP < LONGEST ? good + STEP : LONGEST;
    *probe = true;
    if (r->baseline_spi != sa->spi_own)
        return good;
    if (next > good && (r->refuted == 0 || next < r->refuted))
        return next;
    *probe = false;
    return good;
}

time_us keepalive_at(const struct ike_engine *e, const struct sa *sa)
{
    bool probe;
    if (!sa->nat_local || sa->path.port != IKE_PORT_NATT || e->conf->keepalive == 0 ||
        sa->out.request)
        return TIME_NEVER; /* a request that is repeated keeps it, too */
    uint32_t seconds = learns(sa) ? interval(e, sa, &probe) : e->conf->keepalive;
    return sa->last_sent + seconds * TIME_SECOND;
}

/* Then the look at an idle tunnel takes the place of a keepalive. */
static bool sign_of_life_due(const struct ike_engine *e, const struct sa *sa)
{
    time_us soon = e->conf->idle_check * TIME_SECOND / 8 * 7;
    return soon > 0 && e->now - sa->last_heard >= soon;
}

void keepalive_send(struct ike_engine *e, struct sa *sa)
{
    static const uint8_t octet[] = {0xff};
    bool probe = false;
    if (learns(sa))
        (void)interval(e, sa, &probe);
    if ((probe || sign_of_life_due(e, sa)) &&
        task_add(e, sa, (struct task){.kind = TASK_LIVENESS}) == 0)
        return;
    struct message *m = message_create(e, (struct bytes){octet, sizeof(octet)});
    sa->last_sent = e->now;
    if (!m)
        return;
    queue_send(e, roam_path(e, sa), m);
    message_drop(e, &m);
}

void keepalive_reset(struct roam *r)
{
    r->proven = r->refuted = 0;
    r->baseline_spi = 0;
}

/* The mapping did not outlive so much silence. */
static void refute(struct roam *r, uint32_t seconds)
{
    r->refuted = (uint16_t)(seconds < LONGEST ? seconds : LONGEST);
    if (r->proven >= r->refuted)
        r->proven = (uint16_t)(r->refuted > STEP ? r->refuted - STEP : 0);
}

/* The hash is about the SPIs, too: after a rekey there is nothing to compare with, and an update
 * makes sure that the peer goes by what we learn now (RFC 4555 3.8). */
void keepalive_learn(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct roam *r = sa->tunnel->roam;
    struct nat_view view;
    path_look(in, in->inner, &view);
    if (!view.seen || !r || !learns(sa))
        return;
    if (!sa->nat_local && e->done.task.kind == TASK_LIVENESS) {
        if (view.local) /* a NAT has come between us */
            roam_update(e, sa);
        return;
    }
    bool updated = e->done.task.kind == TASK_UPDATE, known = r->baseline_spi == sa->spi_own;
    bool same = memcmp(r->baseline, view.destination, sizeof(r->baseline)) == 0;
    uint32_t good = proven(e, r), idle = e->done.idle;
    r->baseline_spi = sa->spi_own;
    memcpy(r->baseline, view.destination, sizeof(r->baseline));
    if (updated)
        return; /* this is what the peer goes by now */
    if (known && same) {
        if (idle > good)
            r->proven = (uint16_t)(idle < LONGEST ? idle : LONGEST);
        return;
    }
    if (known)
        refute(r, idle > good ? idle : good);
    roam_update(e, sa);
}
