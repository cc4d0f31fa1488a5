/* Traffic flow confidentiality: padding behind the inner packet (RFC 4303 2.7), which the receiver
 * takes off by the length in the IP header, and dummy packets (section 2.6).
 *
 * Cover: a tunnel that has sent nothing since the last look sends one dummy. Looks go round all
 * SAs, a few at a time, so that many tunnels neither send all at once nor need a timer each; the
 * pauses are drawn anew each time, as an even beat would tell dummies from the packets beside it.
 */
#include <stdlib.h>
#include <string.h>

#include "esp/seal.h"

enum {
    PAUSE_LEAST = 10 * 1000, /* microseconds */
    LOOKS_MOST = 1024,       /* after a pause: at most 100,000 dummies a second in all */
    DUMMY_LEAST = 40,
};

struct cover {
    struct esp_out *out;
    struct sa *cursor; /* the next to be looked at */
    time_us due;
    uint64_t owed; /* looks, times the length of a round */
};

static uint32_t full_len(const struct sa *sa)
{
    uint32_t mtu = atomic_load_explicit(&sa->out_mtu, memory_order_relaxed);
    return sa->tfc < mtu ? sa->tfc : mtu;
}

uint32_t tfc_fill(const struct sa *sa, uint8_t *packet, uint32_t len)
{
    uint32_t full = full_len(sa);
    if (len >= full)
        return len;
    memset(packet + len, 0, full - len);
    return full;
}

/* ---- dummies -------------------------------------------------------------------------------- */

int esp_cover_open(struct esp_plane *plane, const struct esp_out_calls *calls)
{
    struct cover *cover = calloc(1, sizeof(*cover));
    if (!cover)
        return ERR_MEMORY;
    cover->out = seal_create(plane, plane_cover_side(plane), calls);
    if (!cover->out) {
        free(cover);
        return ERR_MEMORY;
    }
    cover->out->dummies = true;
    plane->cover = cover;
    return 0;
}

void cover_free(struct esp_plane *plane)
{
    if (plane->cover)
        esp_out_free(plane->cover->out);
    free(plane->cover);
    plane->cover = NULL;
}

void cover_forget(struct esp_plane *plane, const struct sa *sa)
{
    if (plane->cover && plane->cover->cursor == sa)
        plane->cover->cursor = sa->next;
}

/* As long as padded packets are; without padding of any length, as those are, too. */
static uint32_t dummy_len(const struct esp_plane *plane, const struct sa *sa)
{
    uint32_t mtu = atomic_load_explicit(&sa->out_mtu, memory_order_relaxed);
    if (sa->tfc)
        return full_len(sa);
    return DUMMY_LEAST + random_u32(plane->config.random) % (mtu - DUMMY_LEAST + 1);
}

static void send_dummy(struct cover *cover, const struct esp_plane *plane, struct sa *sa,
                       time_us now)
{
    struct out_to to = {.sa = sa,
                        .path = atomic_load_explicit(&sa->path, memory_order_acquire),
                        .next_header = PROTO_NONE};
    uint64_t sequence;
    uint32_t len = dummy_len(plane, sa);
    if (!seal_numbers(cover->out, sa, 1, &sequence))
        return;
    memset(seal_place(cover->out, sa, len, now), 0, len);
    seal_take(cover->out, &to, sequence, len);
}

static bool sends(const struct sa *sa)
{
    uint32_t flags = atomic_load_explicit(&sa->flags, memory_order_relaxed);
    return sa->cover && sa->linked_out && !(flags & (SA_OUT_WAITS | SA_OUT_ENDED | SA_DEAD));
}

static void look(struct cover *cover, const struct esp_plane *plane, struct sa *sa, time_us now)
{
    if (!sends(sa))
        return;
    if (atomic_load_explicit(&sa->sequence, memory_order_relaxed) == sa->cover_mark)
        send_dummy(cover, plane, sa, now);
    sa->cover_mark = atomic_load_explicit(&sa->sequence, memory_order_relaxed);
}

/* Between half and one and a half of what is wanted. */
static time_us vary(const struct esp_plane *plane, time_us pause)
{
    return pause / 2 + random_u32(plane->config.random) % (pause + 1);
}

time_us esp_cover(struct esp_plane *plane, time_us now)
{
    struct cover *cover = plane->cover;
    if (!cover || plane->config.dummies == 0)
        return TIME_NEVER;
    if (now < cover->due)
        return cover->due;
    time_us round = TIME_SECOND / plane->config.dummies;
    time_us pause = round / (plane->count ? plane->count : 1);
    if (pause < PAUSE_LEAST)
        pause = PAUSE_LEAST;
    cover->owed += plane->count * pause;
    uint64_t looks = cover->owed / round;
    cover->owed %= round;
    for (uint64_t i = 0; i < looks && i < LOOKS_MOST && plane->all; i++) {
        struct sa *sa = cover->cursor ? cover->cursor : plane->all;
        cover->cursor = sa->next;
        look(cover, plane, sa, now);
    }
    esp_out_flush(cover->out, now);
    cover->due = now + vary(plane, pause);
    return cover->due;
}
