#include <string.h>

#include "ike/internal.h"

/* NAT keepalives (RFC 3948 4): as few as the NAT on the way lets us, because each wakes a radio.
 *
 * A client with MOBIKE learns how long its mapping lives by being silent and being called: it asks
 * the gateway for a request of its own after so many seconds (a Vendor ID payload that names the
 * time; who does not know it says nothing, and then nothing is learnt). When that comes after all
 * the silence, authentic and on this path, the mapping outlives so much, whatever kind of NAT that
 * is; when it does not come, the mapping does not, and after three more seconds we are back at what
 * is proven. So a mapping is never lost for longer than a step and those three seconds.
 *
 * What the gateway sees of us tells only of a NAT that gives a new port after it forgot; one that
 * gives the same port again looks as if it had never forgotten. So that alone proves no interval,
 * but refutes one: the path is updated then (RFC 4555 3.8).
 *
 * What is proven is tried again after an hour, in place of two keepalives. Whoever has no such
 * gateway uses the configured interval, or a longer silence that the gateway happened to break. Any
 * other traffic puts the next keepalive off. */

enum { STEP = 15, LEAST_OF_ANY_NAT = 119, LONGEST = 300, WAKE_LEAST = 5 }; /* seconds */
#define GRACE       (3 * TIME_SECOND)
#define PROVE_AGAIN (3600 * TIME_SECOND)

/* The Vendor ID: this, and two octets of seconds; the answer has the same. */
static const uint8_t wake_id[] = {'s', 'h', 'r', 'i', 'k', 'e', '-', 'w',
                                  'a', 'k', 'e', '-', 'm', 'e', '-', '1'};
enum { WAKE_LEN = sizeof(wake_id) + 2 };

static bool learns(const struct sa *sa)
{
    const struct tunnel *t = sa->tunnel;
    return t && t->sa == sa && t->mobike && t->initiator && t->roam;
}

/* ---- the call */

static void put_wake(struct wire_builder *b, uint16_t seconds)
{
    uint8_t octets[WAKE_LEN];
    struct writer w = writer_of(octets, sizeof(octets));
    writer_bytes(&w, wake_id, sizeof(wake_id));
    writer_u16(&w, seconds);
    wire_put(b, PAYLOAD_VENDOR, writer_view(&w));
}

/* The seconds, or 0. */
static uint16_t find_wake(const struct wire_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++) {
        struct reader r = reader_of_bytes(chain->at[i].body);
        struct bytes id = reader_bytes(&r, sizeof(wake_id));
        uint16_t seconds = reader_u16(&r);
        if (chain->at[i].type == PAYLOAD_VENDOR && !r.bad && reader_rest(&r).len == 0 &&
            memcmp(id.at, wake_id, sizeof(wake_id)) == 0)
            return seconds;
    }
    return 0;
}

void keepalive_put_request(struct ike_engine *e, const struct sa *sa, struct wire_builder *b)
{
    struct roam *r = learns(sa) ? sa->tunnel->roam : NULL;
    if (!r || r->wish == 0)
        return;
    put_wake(b, r->wish);
    r->awaited = r->wish;
    r->awaited_since = e->now;
    r->wish = 0;
}

void keepalive_request(struct ike_engine *e, struct sa *sa, const struct input *in,
                       struct wire_builder *b)
{
    uint16_t seconds = find_wake(in->inner);
    if (sa->tunnel->initiator || seconds < WAKE_LEAST || seconds > LONGEST)
        return;
    sa->tunnel->wake_at = e->now + seconds * TIME_SECOND;
    put_wake(b, seconds);
    sa_plan_duty(e, sa);
}

void keepalive_wake(struct ike_engine *e, struct sa *sa)
{
    sa->tunnel->wake_at = TIME_NEVER;
    check_liveness(e, sa);
}

/* ---- what is proven */

/* Configured is where it begins. */
static uint32_t proven(const struct ike_engine *e, const struct roam *r)
{
    return r->proven > e->conf->keepalive ? r->proven : e->conf->keepalive;
}

/* The next silence to be tried; 0 when there is nothing more to learn. */
static uint16_t next_trial(const struct ike_engine *e, const struct roam *r)
{
    uint32_t good = proven(e, r), next = good + STEP;
    if (good < LEAST_OF_ANY_NAT && next > LEAST_OF_ANY_NAT)
        next = LEAST_OF_ANY_NAT; /* RFC 4787, REQ-5; many keep that and not a second more */
    bool refuted = r->refuted != 0 && next >= r->refuted;
    return r->deaf || refuted || next > LONGEST ? 0 : (uint16_t)next;
}

void keepalive_reset(struct roam *r)
{
    r->proven = r->refuted = r->wish = r->awaited = 0;
    r->baseline_spi = 0;
}

/* The mapping did not outlive so much silence. When that was proven before, then the NAT has
 * changed its mind, and all begins anew. */
static void refute(struct roam *r, uint32_t seconds)
{
    r->refuted = (uint16_t)(seconds < LONGEST ? seconds : LONGEST);
    if (r->proven >= r->refuted)
        r->proven = 0;
}

/* We are silent since we asked to be called. */
static bool waits_for_call(const struct sa *sa)
{
    const struct roam *r = sa->tunnel->roam;
    return r->awaited != 0 && r->awaited_since == sa->last_sent;
}

/* A new authentic request of the peer, before it counts as heard: so long both were silent. */
void keepalive_called(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    time_us since = sa->last_heard > sa->last_sent ? sa->last_heard : sa->last_sent;
    if (!learns(sa) || (in->header.flags & FLAG_RESPONSE) || !path_equal(&in->path, &sa->path))
        return;
    struct roam *r = sa->tunnel->roam;
    time_us seconds = (e->now - since + TIME_SECOND / 2) / TIME_SECOND;
    uint16_t silent = (uint16_t)(seconds < LONGEST ? seconds : LONGEST);
    if (waits_for_call(sa))
        r->awaited = 0;
    if (silent >= r->proven) {
        r->proven = silent;
        r->proven_at = e->now;
    }
    if (r->refuted != 0 && r->proven >= r->refuted)
        r->refuted = 0; /* it was lost for another reason then */
}

/* ---- sending */

time_us keepalive_at(const struct ike_engine *e, const struct sa *sa)
{
    if (!sa->nat_local || sa->path.port != IKE_PORT_NATT || e->conf->keepalive == 0 ||
        sa->out.request)
        return TIME_NEVER; /* a request that is repeated keeps it, too */
    if (!learns(sa))
        return sa->last_sent + e->conf->keepalive * TIME_SECOND;
    const struct roam *r = sa->tunnel->roam;
    if (waits_for_call(sa))
        return sa->last_sent + r->awaited * TIME_SECOND + GRACE;
    return sa->last_sent + proven(e, r) * TIME_SECOND;
}

/* Then the look at an idle tunnel takes the place of a keepalive. */
static bool sign_of_life_due(const struct ike_engine *e, const struct sa *sa)
{
    time_us soon = e->conf->idle_check * TIME_SECOND / 8 * 7;
    return soon > 0 && e->now - sa->last_heard >= soon;
}

/* Is an exchange to go in place of the octet? What it asks for is noted. */
static bool wants_exchange(struct ike_engine *e, struct sa *sa)
{
    bool look = sign_of_life_due(e, sa);
    if (!learns(sa))
        return look;
    struct roam *r = sa->tunnel->roam;
    bool uncalled = waits_for_call(sa);
    if (uncalled)
        refute(r, r->awaited);
    r->awaited = 0;
    r->wish = uncalled ? 0 : next_trial(e, r);
    if (!uncalled && r->wish == 0 && !r->deaf && r->proven > 0 &&
        e->now - r->proven_at >= PROVE_AGAIN)
        r->wish = r->proven;
    return look || uncalled || r->wish != 0 || r->baseline_spi != sa->spi_own;
}

void keepalive_send(struct ike_engine *e, struct sa *sa)
{
    static const uint8_t octet[] = {0xff};
    if (wants_exchange(e, sa) && task_add(e, sa, (struct task){.kind = TASK_LIVENESS}) == 0)
        return;
    struct message *m = message_create(e, (struct bytes){octet, sizeof(octet)});
    sa->last_sent = e->now;
    if (!m)
        return;
    queue_send(e, roam_path(e, sa), m);
    message_drop(e, &m);
}

/* The hash is about the SPIs, too: after a rekey there is nothing to compare with, and an update
 * makes sure that the peer goes by what we learn now (RFC 4555 3.8). */
void keepalive_learn(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct roam *r = sa->tunnel->roam;
    struct nat_view view;
    if (!r || !learns(sa))
        return;
    bool asked = r->awaited != 0 && e->done.task.kind == TASK_LIVENESS &&
                 e->done.first_sent == r->awaited_since;
    if (asked && find_wake(in->inner) != r->awaited) {
        r->deaf = true;
        r->awaited = 0;
    }
    path_look(in, in->inner, &view);
    if (!view.seen)
        return;
    bool updated = e->done.task.kind == TASK_UPDATE, known = r->baseline_spi == sa->spi_own;
    bool same = memcmp(r->baseline, view.destination, sizeof(r->baseline)) == 0;
    uint32_t good = proven(e, r), idle = e->done.idle;
    r->baseline_spi = sa->spi_own;
    memcpy(r->baseline, view.destination, sizeof(r->baseline));
    if (updated || (known && same))
        return; /* this is what the peer goes by now */
    if (known && idle >= e->conf->keepalive && (r->refuted == 0 || idle < r->refuted))
        refute(r, idle < good ? idle : good);
    roam_update(e, sa);
}
