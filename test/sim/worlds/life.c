/* The life of a world, from its beginning to the judgement. */
#include "worlds.h"

/* In so many seconds everybody has noticed whose peer is gone: the longest liveness interval, and
 * all repetitions. */
enum { DOUBT = 115 };
/* After which keys that were silent are asked again, and have answered. */
enum { KEYS = 35 };

/* ---- one world */

static void run_blows(struct world *w, uint64_t skip)
{
    uint64_t fate = sim_random(&w->dice), after;
    unsigned count = 10 + dice(w, (w->small ? BLOWS_MAX / 2 : BLOWS_MAX) - 9);
    for (unsigned i = 0; i < count; i++) {
        after = w->dice = fate + i * UINT64_C(0x9e3779b97f4a7c15);
        if (!(skip >> i & 1))
            blow(w);
        w->dice = ~after;
        judge_always(w);
        sim_run(w->sim, dice(w, chance(w, 10) ? 40000 : 3000) * TIME_MILLISECOND);
        judge_always(w);
    }
    w->dice = ~fate;
}

/* Whoever may not stay is gone by now; then everybody is let in again. */
static void let_in_all(struct world *w)
{
    sim_run(w->sim, KEYS * TIME_SECOND);
    judge_away(w);
    for (size_t i = 0; i < w->gateway_count; i++) {
        struct sim_host *gateway = w->gateways[i];
        gateway->away = (struct identity){0};
        draw_all_networks(w, gateway);
        reload(w, member_of(gateway));
    }
}

static void clear_up(struct world *w)
{
    tell(w, "the weather clears");
    net_calm(w);
    for (size_t i = 0; i < w->member_count; i++) {
        struct member *m = &w->members[i];
        m->host->keys_silent = false;
        m->host->admit = 0;
        if (!m->host->engine)
            sim_start(m->host);
        place_calm(w, m);
        if (m->wanted && m->host->tunnel == 0)
            dial(w, m, 0);
    }
    let_in_all(w);
    traffic_start(w, 3 * TIME_SECOND);
    sim_run(w->sim, DOUBT * TIME_SECOND);
    (void)sim_until(w->sim, judge_settled, 700 * TIME_SECOND);
    judge_always(w);
    judge_unsettled(w);
}

/* Further children that people asked for have been looked at; now every tunnel begins anew. */
static void one_child_each(struct world *w)
{
    if (!w->creates && !w->narrowed)
        return;
    tell(w, "all tunnels begin anew");
    for (size_t i = 0; i < w->member_count; i++)
        if (w->members[i].gateway)
            (void)sim_command(w->members[i].host, IKE_DELETE, 0);
    sim_run(w->sim, 2 * TIME_SECOND);
    w->creates = false;
    (void)sim_until(w->sim, judge_settled, 300 * TIME_SECOND);
    judge_unsettled(w);
}

/* On a good network nothing is lost, whoever rekeys what, and when. */
static void rekey_without_loss(struct world *w)
{
    static const uint32_t kinds[] = {IKE_REKEY_CHILD, IKE_REKEY_CHILD, IKE_REKEY_IKE};
    tell(w, "from here on not one packet may be lost");
    w->strict = true;
    traffic_start(w, 150 * TIME_MILLISECOND);
    for (unsigned i = 0, n = 1 + dice(w, 4); i < n; i++) {
        struct member *m = &w->members[dice(w, (unsigned)w->member_count)];
        if (chance(w, 40)) {
            draw_settings(w, m);
            reload(w, m);
        }
        (void)sim_command(m->host, kinds[dice(w, 3)], 0);
        if (m->gateway && chance(w, 50)) {
            sim_run(w->sim, dice(w, 40) * TIME_MILLISECOND);
            (void)sim_command(m->gateway, kinds[dice(w, 3)], 0);
        }
        sim_run(w->sim, dice(w, 2500) * TIME_MILLISECOND);
    }
    sim_run(w->sim, TIME_SECOND);
    (void)sim_until(w->sim, judge_settled, 60 * TIME_SECOND);
    judge_unsettled(w);
    traffic_start(w, 0);
    sim_run(w->sim, TIME_SECOND);
    w->strict = false;
}

static void take_down(struct world *w)
{
    tell(w, "all is deleted");
    for (size_t i = 0; i < w->member_count; i++) {
        struct member *m = &w->members[i];
        m->wanted = false;
        if (m->gateway && chance(w, 20))
            crash(w, m); /* the gateway finds out by itself */
        else if (chance(w, m->gateway ? 60 : 30))
            (void)sim_command(m->host, IKE_DELETE, 0);
    }
    sim_run(w->sim, dice(w, 1000) * TIME_MILLISECOND);
    for (size_t i = 0; i < w->member_count; i++)
        if (w->members[i].gateway && w->members[i].host->engine)
            (void)sim_command(w->members[i].host, IKE_DELETE, 0);
    (void)sim_until(w->sim, judge_empty, 400 * TIME_SECOND);
    judge_end(w);
}

uint64_t world_run(uint64_t seed, uint64_t skip, struct tally *tally)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    dull_random(seed);
    w->dice = seed ^ 0x776f726c64;
    w->sim = sim_create(seed, &sim_good_link);
    w->sim->world = w;
    w->small = seed % 16 != 0;
    toy_kex(seed % 16 > 1);
    w->sim->carry = net_carry;
    w->sim->hosts_move = w->sim->packets_may_be_lost = true;
    w->sim->on_event = on_event;
    w->tally = tally;
    w->watch = watch_create();
    draw(w);
    for (size_t i = 0; i < w->member_count; i++) {
        if (chance(w, 50))
            place_tell(w, &w->members[i]);
        if (w->members[i].wanted)
            dial(w, &w->members[i], dice(w, 5000) * TIME_MILLISECOND);
    }
    traffic_start(w, (500 + dice(w, 4000)) * TIME_MILLISECOND);
    sim_run(w->sim, dice(w, 8000) * TIME_MILLISECOND);
    run_blows(w, skip);
    clear_up(w);
    one_child_each(w);
    rekey_without_loss(w);
    take_down(w);
    uint64_t hash = w->sim->trace_hash;
    net_free(w);
    for (size_t i = 0; i < w->gateway_count; i++)
        if (w->gateways[i]->engine)
            sim_stop(w->gateways[i]);
    for (size_t i = 0; i < w->gateway_count; i++) {
        lease_book_free(w->gateways[i]->book);
        w->gateways[i]->book = NULL;
    }
    watch_free(w->watch);
    sim_free(w->sim);
    free(w);
    return hash;
}
