/* What the files of esp/ share. See esp.h for the theory; here is which thread may touch what.
 *
 * Members of struct sa are written before the SA is published, except: `path`, `out_mtu`, `flags`
 * (any thread, atomic); the part of the in side (the thread of sa->worker only); the part of the
 * out side (any out thread, atomic); the last part (control thread only). Plain integers that one
 * thread writes and others read go through note() and seen().
 */
#ifndef SHRIKE_ESP_INTERNAL_H
#define SHRIKE_ESP_INTERNAL_H

#include <stdatomic.h>

#include "esp/inner.h"
#include "esp/replay.h"

/* A counter with one writer. */
static inline void note(uint64_t *counter, uint64_t more)
{
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + more, __ATOMIC_RELAXED);
}
static inline void put(uint64_t *place, uint64_t value)
{
    __atomic_store_n(place, value, __ATOMIC_RELAXED);
}
static inline uint64_t seen(const uint64_t *place)
{
    return __atomic_load_n(place, __ATOMIC_RELAXED);
}

enum {
    ESP_HEADER = 8,
    AH_HEADER = 12, /* before the ICV */
    AH_HEADS = 96,  /* outer header, AH, the longest ICV with its padding */
};

/* Memory that readers may still look at. */
struct retired {
    struct retired *next;
    uint64_t epoch;
    void (*release)(struct retired *retired);
};

/* Where the peer is: replaced as a whole when it moves. */
struct sa_path {
    struct retired retired;
    struct sockaddr_storage *to; /* inside this allocation, cut to to_len */
    socklen_t to_len;
    bool udp;
    struct ip local;
    uint32_t interface;
    struct endpoint remote;
};

/* One remote selector of one SA in the table of destinations. */
struct spd_node {
    struct spd_node *_Atomic next;
    struct sa *sa;
    uint64_t high, low; /* the prefix, left-aligned, as numbers */
    uint8_t family, bits;
    uint8_t rank; /* with protocol or ports: before those that take everything */
};

struct volume {
    uint64_t in_packets, in_bytes, out_packets, out_bytes;
};

enum sa_flag {
    SA_OUT_WAITS = 0x01, /* the peer was not heard on it yet */
    SA_OUT_ENDED = 0x02, /* no longer for sending */
    SA_DEAD = 0x04,      /* carries nothing any more */
    /* Facts to be told. */
    SA_SAY_SOFT = 0x10,
    SA_SAY_HARD = 0x20,
    SA_SAY_HEARD = 0x40,
    SA_SAY_SENT = 0x80,
    SA_SAY = SA_SAY_SOFT | SA_SAY_HARD | SA_SAY_HEARD | SA_SAY_SENT,
    SA_SOFT_SAID = 0x100,
};

struct sa {
    struct retired retired;
    struct sa *_Atomic spi_next;
    struct sa_path *_Atomic path;
    _Atomic uint32_t flags; /* enum sa_flag */
    _Atomic uint16_t out_mtu;
    uint16_t worker;
    uint32_t spi_in, spi_out;
    const struct aead *aead_in, *aead_out;
    const struct selector *local_ts, *remote_ts;
    struct spd_node *nodes; /* remote_count of them */
    uint8_t local_count, remote_count;
    uint8_t iv_len, icv_len, align; /* align: unit of padding, at least 4 */
    uint8_t head_len; /* octets of ours before the inner packet; with AH over IPv4 the outer header
                         too */
    bool esn, aead, iv_counts, ah, transport;
    bool rare;               /* ah, transport or tfc: one branch for all others */
    uint16_t checksum_shift; /* transport.h */
    uint16_t tfc;            /* as configured; tfc.c */
    uint32_t size;           /* of the whole block */
    uint64_t soft_bytes, hard_bytes, soft_packets, hard_packets;

    /* in side */
    _Alignas(64) struct replay replay;
    uint64_t in_packets, in_bytes, last_in;
    uint64_t drop_replay, drop_integrity, drop_source;

    /* out side */
    _Alignas(64) _Atomic uint64_t sequence; /* the last one taken */
    _Atomic uint64_t out_packets, out_bytes;
    uint64_t last_out;

    /* control thread */
    _Alignas(64) struct sa *next, **link;
    uint64_t tunnel;
    time_us added, end_at, remove_at, told_at, mtu_until;
    struct volume carried; /* taken over from the SAs before it, less what was handed on */
    uint32_t generation;
    uint16_t mtu_wanted, mtu_full; /* mtu_full: out_mtu when the path takes everything */
    bool linked_in, linked_out, cover;
    uint64_t cover_mark; /* the sequence number at the last look for silence */
};

/* A mailbox with one slot, for facts that carry an address: the side fills it when it is empty, the
 * control thread empties it. */
struct letter {
    _Atomic uint32_t full;
    struct esp_fact fact;
};

/* A thread's side: when it was last quiet, and its counters. A cache line of its own. */
struct side {
    _Alignas(
        64) _Atomic uint64_t epoch; /* the plane's epoch at the last quiet point, SIDE_ASLEEP */
    struct esp_counters counters;
    struct letter unknown, moved, strayed;
};
#define SIDE_ASLEEP UINT64_MAX

struct esp_plane {
    struct esp_plane_config config;
    struct aead_engine *engine; /* of the control thread */
    struct side *sides;         /* out sides, then in sides */
    size_t side_count;
    /* Tables of chains; their sizes are fixed at start: 2^(64 - shift). */
    struct sa *_Atomic *spi_heads;
    struct spd_node *_Atomic *destination_heads;
    uint32_t spi_shift, destination_shift;
    uint64_t hash_seed;
    _Atomic uint64_t lengths4, lengths6[3]; /* which prefix lengths are in use */
    uint32_t length_users4[33], length_users6[129];

    _Atomic uint32_t ends;      /* how often an SA ceased to send */
    _Atomic uint32_t additions; /* how often an SA came */
    _Atomic uint64_t epoch;
    struct retired *retired, **retired_tail;

    struct sa *all, *fact_cursor;
    struct cover *cover; /* NULL: no dummies */
    uint32_t count;
    time_us now; /* of the last tick */
};

struct side *plane_out_side(struct esp_plane *plane, uint16_t worker);
struct side *plane_in_side(struct esp_plane *plane, uint16_t worker);
/* The control thread's own, for dummies; never awake, as what is freed is freed by that thread. */
struct side *plane_cover_side(struct esp_plane *plane);
void side_awake(struct esp_plane *plane, struct side *side);
void side_asleep(struct side *side);
/* Dropped when the last one was not fetched yet. */
void letter_post(struct letter *letter, const struct esp_fact *fact);

/* Any thread that is awake. The SA stays until its next quiet point. */
struct sa *sad_find(const struct esp_plane *plane, uint32_t spi);
/* The SA that is to carry this packet out, or NULL. */
struct sa *spd_find(const struct esp_plane *plane, const struct inner *inner);
/* Sets flags that are not yet set, without touching the line when they are. */
void sa_raise(struct sa *sa, uint32_t flags);
/* Volume limits after a direction's counters moved. */
void sa_check_volume(const struct esp_plane *plane, struct sa *sa, uint64_t packets,
                     uint64_t bytes);
/* Raises flags that the control thread should know of soon. */
void sa_alarm(const struct esp_plane *plane, struct sa *sa, uint32_t flags);
/* The longest inner packet that an outer one of `outer` octets can carry. */
uint16_t sa_fit(const struct sa *sa, const struct sa_path *path, uint32_t outer);
/* An ESP packet of `len` octets was too big for the path: assume the next smaller usual MTU. */
void sa_shrink(struct sa *sa, const struct sa_path *path, uint32_t len);

/* Control thread. */
void cover_free(struct esp_plane *plane);
/* The SA ends. */
void cover_forget(struct esp_plane *plane, const struct sa *sa);
void sad_link(struct esp_plane *plane, struct sa *sa);
void sad_unlink(struct esp_plane *plane, struct sa *sa);
void spd_link(struct esp_plane *plane, struct sa *sa);
void spd_unlink(struct esp_plane *plane, struct sa *sa);
/* The one that carries on for it: of the same tunnel, with the same selectors; or NULL. */
struct sa *spd_find_heir(struct esp_plane *plane, const struct sa *sa);
/* One of an older generation for the very same remote selectors, or NULL. */
struct sa *spd_find_older(struct esp_plane *plane, const struct sa *sa);
int sad_create(struct esp_plane *plane, const struct esp_sa_config *config,
               struct sa **out) MUST_USE;
void sa_free(struct sa *sa);
void sa_set_mtu(struct esp_plane *plane, struct sa *sa, const struct sa_path *path);
struct sa_path *path_create(const struct endpoint *local, const struct endpoint *remote,
                            uint32_t interface, bool udp);

#endif
