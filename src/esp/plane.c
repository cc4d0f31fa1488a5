/* The control thread: adding, moving and ending SAs, memory that readers may still see, time, and
 * what is told to the IKE side. */
#include <stdlib.h>
#include <string.h>

#include "esp/ah.h"
#include "esp/transport.h"

enum { OLD_GENERATION_LINGERS = 10 * 1000 * 1000, MTU_RETRY = 600 * 1000 * 1000 };

/* ---- quiet points --------------------------------------------------------------------------- */

/* An awake side carries the plane's epoch of its last quiet point. What was taken out of the tables
 * in epoch e may go when every side is asleep or has seen a later one. The control thread reads a
 * side's epoch by a read-modify-write too: then a side that it took for asleep, and that wakes
 * meanwhile, is sure to see the tables without what is being freed. */
void side_awake(struct esp_plane *plane, struct side *side)
{
    uint64_t epoch = atomic_load_explicit(&plane->epoch, memory_order_acquire);
    if (atomic_load_explicit(&side->epoch, memory_order_relaxed) != epoch)
        atomic_exchange_explicit(&side->epoch, epoch, memory_order_acq_rel);
}

void side_asleep(struct side *side)
{
    atomic_exchange_explicit(&side->epoch, SIDE_ASLEEP, memory_order_acq_rel);
}

struct side *plane_out_side(struct esp_plane *plane, uint16_t worker)
{
    return &plane->sides[worker];
}

struct side *plane_in_side(struct esp_plane *plane, uint16_t worker)
{
    return &plane->sides[plane->config.workers + worker];
}

struct side *plane_cover_side(struct esp_plane *plane)
{
    return &plane->sides[plane->side_count - 1];
}

static void retire(struct esp_plane *plane, struct retired *retired,
                   void (*release)(struct retired *))
{
    retired->next = NULL;
    retired->release = release;
    retired->epoch = atomic_fetch_add_explicit(&plane->epoch, 1, memory_order_acq_rel) + 1;
    *plane->retired_tail = retired;
    plane->retired_tail = &retired->next;
}

static void reclaim(struct esp_plane *plane)
{
    uint64_t oldest = SIDE_ASLEEP;
    if (!plane->retired)
        return;
    for (size_t i = 0; i < plane->side_count; i++) {
        uint64_t epoch = atomic_fetch_add_explicit(&plane->sides[i].epoch, 0, memory_order_acq_rel);
        oldest = epoch < oldest ? epoch : oldest;
    }
    while (plane->retired && plane->retired->epoch <= oldest) {
        struct retired *gone = plane->retired;
        plane->retired = gone->next;
        if (!plane->retired)
            plane->retired_tail = &plane->retired;
        gone->release(gone);
    }
}

static void release_sa(struct retired *retired)
{
    sa_free((struct sa *)retired); /* its first member */
}

static void release_path(struct retired *retired)
{
    free(retired);
}

/* ---- the plane ------------------------------------------------------------------------------ */

static uint32_t shift_for(uint32_t entries)
{
    uint32_t shift = 64 - 4;
    while (shift > 64 - 22 && UINT64_C(1) << (64 - shift) < entries)
        shift--;
    return shift;
}

struct esp_plane *esp_create(const struct esp_plane_config *config)
{
    struct esp_plane *plane = calloc(1, sizeof(*plane));
    if (!plane)
        return NULL;
    plane->config = *config;
    if (plane->config.workers == 0)
        plane->config.workers = 1;
    plane->retired_tail = &plane->retired;
    plane->side_count = 2u * plane->config.workers + 1;
    plane->spi_shift = shift_for(config->max_sas);
    plane->destination_shift =
        shift_for(config->max_sas > UINT32_MAX / 2 ? UINT32_MAX : 2 * config->max_sas);
    plane->hash_seed = random_u64(config->random);
    plane->engine = aead_engine_create();
    plane->sides = aligned_alloc(64, plane->side_count * sizeof(struct side));
    plane->spi_heads = calloc(UINT64_C(1) << (64 - plane->spi_shift), sizeof(void *));
    plane->destination_heads =
        calloc(UINT64_C(1) << (64 - plane->destination_shift), sizeof(void *));
    if (!plane->engine || !plane->sides || !plane->spi_heads || !plane->destination_heads) {
        esp_free(plane);
        return NULL;
    }
    memset(plane->sides, 0, plane->side_count * sizeof(struct side));
    for (size_t i = 0; i < plane->side_count; i++)
        atomic_init(&plane->sides[i].epoch, SIDE_ASLEEP);
    return plane;
}

static void drop(struct esp_plane *plane, struct sa *sa);

void esp_free(struct esp_plane *plane)
{
    if (!plane)
        return;
    while (plane->all)
        drop(plane, plane->all);
    cover_free(plane);
    while (plane->retired) {
        struct retired *gone = plane->retired;
        plane->retired = gone->next;
        gone->release(gone);
    }
    if (plane->engine)
        aead_engine_free(plane->engine);
    free(plane->sides);
    free(plane->spi_heads);
    free(plane->destination_heads);
    free(plane);
}

/* ---- SAs ------------------------------------------------------------------------------------ */

static struct volume volume_of(const struct sa *sa)
{
    const struct volume *c = &sa->carried;
    return (struct volume){
        .in_packets = c->in_packets + seen(&sa->in_packets),
        .in_bytes = c->in_bytes + seen(&sa->in_bytes),
        .out_packets =
            c->out_packets + atomic_load_explicit(&sa->out_packets, memory_order_relaxed),
        .out_bytes = c->out_bytes + atomic_load_explicit(&sa->out_bytes, memory_order_relaxed)};
}

/* What an SA carried stands in its heir's account from now on, so that a tunnel's traffic only
 * grows; at its end once more, for what came while it lingered. */
static void hand_on(struct esp_plane *plane, struct sa *sa)
{
    struct sa *heir = spd_find_heir(plane, sa);
    if (!heir)
        return;
    struct volume v = volume_of(sa);
    heir->carried.in_packets += v.in_packets;
    heir->carried.in_bytes += v.in_bytes;
    heir->carried.out_packets += v.out_packets;
    heir->carried.out_bytes += v.out_bytes;
    sa->carried.in_packets -= v.in_packets; /* of what it counts itself nothing is left */
    sa->carried.in_bytes -= v.in_bytes;
    sa->carried.out_packets -= v.out_packets;
    sa->carried.out_bytes -= v.out_bytes;
}

/* Out of the tables and out of memory. */
static void drop(struct esp_plane *plane, struct sa *sa)
{
    hand_on(plane, sa);
    spd_unlink(plane, sa);
    sad_unlink(plane, sa);
    if (plane->fact_cursor == sa)
        plane->fact_cursor = sa->next;
    cover_forget(plane, sa);
    *sa->link = sa->next;
    if (sa->next)
        sa->next->link = sa->link;
    plane->count--;
    retire(plane, &sa->retired, release_sa);
}

static void end(struct esp_plane *plane, struct sa *sa, time_us now, time_us linger)
{
    hand_on(plane, sa);
    spd_unlink(plane, sa);
    if (linger == 0)
        drop(plane, sa);
    else if (now + linger < sa->remove_at)
        sa->remove_at = now + linger;
}

/* The one that has lingered for longest makes room: else a peer that makes and deletes SAs as fast
 * as it can would leave none for the others. */
static bool make_room(struct esp_plane *plane)
{
    struct sa *oldest = NULL;
    for (struct sa *sa = plane->all; sa; sa = sa->next)
        if (sa->remove_at != TIME_NEVER && (!oldest || sa->remove_at < oldest->remove_at))
            oldest = sa;
    if (oldest)
        drop(plane, oldest);
    reclaim(plane);
    return oldest;
}

int esp_add(struct esp_plane *plane, const struct esp_sa_config *config, time_us now)
{
    struct sa *sa, *older;
    if (plane->count >= plane->config.max_sas && !make_room(plane))
        return ERR_LIMIT;
    if (sad_find(plane, config->spi_in))
        return ERR_EXISTS;
    int err = sad_create(plane, config, &sa);
    if (err)
        return err;
    sa->added = now;
    sa->remove_at = TIME_NEVER;
    sa->end_at = config->hard_seconds ? now + config->hard_seconds * TIME_SECOND : TIME_NEVER;
    sa->next = plane->all;
    if (sa->next)
        sa->next->link = &sa->next;
    sa->link = &plane->all;
    plane->all = sa;
    plane->count++;
    sad_link(plane, sa);
    spd_link(plane, sa);
    while ((older = spd_find_older(plane, sa)))
        end(plane, older, now, OLD_GENERATION_LINGERS);
    return 0;
}

int esp_remove(struct esp_plane *plane, uint32_t spi_in, time_us now, time_us linger)
{
    struct sa *sa = sad_find(plane, spi_in);
    if (!sa)
        return ERR_NOT_FOUND;
    end(plane, sa, now, linger);
    reclaim(plane);
    return 0;
}

int esp_move(struct esp_plane *plane, uint64_t tunnel, const struct endpoint *local,
             const struct endpoint *remote, uint32_t interface, bool udp)
{
    bool found = false;
    if (remote->ip.family != 4 && remote->ip.family != 6)
        return ERR_ARGUMENT;
    for (struct sa *sa = plane->all; sa; sa = sa->next) {
        if (sa->tunnel != tunnel)
            continue;
        if ((sa->ah && !ah_may_move(sa, local, remote)) ||
            (sa->transport && !transport_may_move(sa, local, remote))) {
            sa_raise(sa, SA_DEAD | SA_SAY_HARD);
            continue;
        }
        struct sa_path *path = path_create(local, remote, interface, udp && !sa->ah);
        if (!path)
            return ERR_MEMORY;
        struct sa_path *old = atomic_exchange_explicit(&sa->path, path, memory_order_acq_rel);
        sa_set_mtu(plane, sa, path);
        retire(plane, &old->retired, release_path);
        found = true;
    }
    reclaim(plane);
    return found ? 0 : ERR_NOT_FOUND;
}

/* ---- time ----------------------------------------------------------------------------------- */

/* Nothing goes through it any more; it stays until its end is told. */
static void kill(struct esp_plane *plane, struct sa *sa)
{
    sa_raise(sa, SA_DEAD | SA_SAY_HARD);
    spd_unlink(plane, sa);
    sad_unlink(plane, sa);
}

static void raise_mtu_again(struct sa *sa, time_us now)
{
    if (atomic_load_explicit(&sa->out_mtu, memory_order_relaxed) >= sa->mtu_full)
        return;
    if (sa->mtu_until == 0) {
        sa->mtu_until = now + MTU_RETRY;
    } else if (now >= sa->mtu_until) {
        sa->mtu_until = 0;
        atomic_store_explicit(&sa->out_mtu, sa->mtu_full, memory_order_relaxed);
    }
}

void esp_tick(struct esp_plane *plane, time_us now)
{
    struct sa *next;
    plane->now = now;
    for (struct sa *sa = plane->all; sa; sa = next) {
        next = sa->next;
        uint32_t flags = atomic_load_explicit(&sa->flags, memory_order_relaxed);
        if (now >= sa->remove_at)
            drop(plane, sa);
        else if (now >= sa->end_at || (flags & SA_DEAD))
            kill(plane, sa);
        else
            raise_mtu_again(sa, now);
    }
    plane->fact_cursor = plane->all;
    reclaim(plane);
}

/* ---- facts ---------------------------------------------------------------------------------- */

void letter_post(struct letter *letter, const struct esp_fact *fact)
{
    if (atomic_load_explicit(&letter->full, memory_order_acquire))
        return;
    letter->fact = *fact;
    atomic_store_explicit(&letter->full, 1, memory_order_release);
}

static bool fetch(struct letter *letter, struct esp_fact *out)
{
    if (!atomic_load_explicit(&letter->full, memory_order_acquire))
        return false;
    *out = letter->fact;
    atomic_store_explicit(&letter->full, 0, memory_order_release);
    return true;
}

/* The next thing to tell of this SA: the most urgent first, "heard" at most once a second, and
 * "sent" only when nothing was heard. 0 = nothing. */
static uint32_t choose(struct sa *sa, time_us now)
{
    uint32_t flags = atomic_load_explicit(&sa->flags, memory_order_relaxed);
    if (flags & SA_SAY_HARD)
        return SA_SAY_HARD;
    if (flags & SA_SAY_SOFT)
        return SA_SAY_SOFT;
    if (!(flags & (SA_SAY_HEARD | SA_SAY_SENT)) || now < sa->told_at + TIME_SECOND)
        return 0;
    sa->told_at = now;
    return flags & SA_SAY_HEARD ? SA_SAY_HEARD | SA_SAY_SENT : SA_SAY_SENT;
}

static uint32_t fact_kind(uint32_t say)
{
    return say & SA_SAY_HARD    ? ESP_FACT_HARD
           : say & SA_SAY_SOFT  ? ESP_FACT_SOFT
           : say & SA_SAY_HEARD ? ESP_FACT_HEARD
                                : ESP_FACT_SENT;
}

bool esp_next_fact(struct esp_plane *plane, struct esp_fact *out)
{
    for (size_t i = 0; i < plane->side_count; i++) {
        struct side *side = &plane->sides[i];
        if (fetch(&side->moved, out) || fetch(&side->unknown, out) || fetch(&side->strayed, out))
            return true;
    }
    while (plane->fact_cursor) {
        struct sa *sa = plane->fact_cursor;
        uint32_t say = choose(sa, plane->now);
        if (say == 0) {
            plane->fact_cursor = sa->next;
            continue;
        }
        uint32_t said = atomic_fetch_and_explicit(&sa->flags, ~say, memory_order_relaxed);
        *out = (struct esp_fact){.kind = fact_kind(say),
                                 .spi_in = sa->spi_in,
                                 .tunnel = sa->tunnel,
                                 .sent = said & SA_SAY_SENT};
        if (say == SA_SAY_HARD)
            drop(plane, sa);
        return true;
    }
    return false;
}

/* ---- looking in ----------------------------------------------------------------------------- */

static void describe(struct sa *sa, struct esp_sa_status *out)
{
    uint32_t flags = atomic_load_explicit(&sa->flags, memory_order_relaxed);
    struct volume total = volume_of(sa);
    *out = (struct esp_sa_status){
        .tunnel = sa->tunnel,
        .spi_in = sa->spi_in,
        .spi_out = sa->spi_out,
        .active_out = sa->linked_out && !(flags & (SA_OUT_WAITS | SA_OUT_ENDED | SA_DEAD)),
        .in_packets = total.in_packets,
        .in_bytes = total.in_bytes,
        .out_packets = total.out_packets,
        .out_bytes = total.out_bytes,
        .out_sequence = atomic_load_explicit(&sa->sequence, memory_order_relaxed),
        .in_top = seen(&sa->replay.top),
        .drop_replay = seen(&sa->drop_replay),
        .drop_integrity = seen(&sa->drop_integrity),
        .drop_source = seen(&sa->drop_source),
        .added = sa->added,
        .last_in = seen(&sa->last_in),
        .last_out = seen(&sa->last_out),
        .remote = atomic_load_explicit(&sa->path, memory_order_relaxed)->remote,
    };
}

void esp_walk(struct esp_plane *plane,
              void (*visit)(void *context, const struct esp_sa_status *status), void *context)
{
    for (struct sa *sa = plane->all; sa; sa = sa->next) {
        struct esp_sa_status status;
        describe(sa, &status);
        visit(context, &status);
    }
}

void esp_counters(struct esp_plane *plane, struct esp_counters *out)
{
    *out = (struct esp_counters){0};
    for (size_t i = 0; i < plane->side_count; i++) {
        const struct esp_counters *one = &plane->sides[i].counters;
#define X(name, help) out->name += seen(&one->name);
        ESP_COUNTER_LIST(X)
#undef X
    }
}
