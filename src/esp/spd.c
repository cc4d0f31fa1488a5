/* Destinations to outbound SAs: a hash of prefixes, searched from the longest length in use to the
 * shortest. A selector that is not a prefix stands under the smallest prefix around it; whether it
 * really covers the packet is asked of the SA's selectors anyway. A chain has those with ports
 * first, then those with a protocol, then the others, and of each kind the newest first: two SAs
 * for the same network share it by what they name, not by which was rekeyed last. */
#include <arpa/inet.h>
#include <string.h>

#include "esp/internal.h"

enum { TRIES = 8 };

struct key {
    uint64_t high, low;
};

static uint64_t be64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof(v));
    return be64toh(v);
}

static struct key key_of(uint8_t family, const uint8_t *address)
{
    if (family == 6)
        return (struct key){be64(address), be64(address + 8)};
    uint32_t v;
    memcpy(&v, address, sizeof(v));
    return (struct key){(uint64_t)ntohl(v) << 32, 0};
}

static struct key cut(struct key key, unsigned bits)
{
    if (bits <= 64)
        return (struct key){bits == 0 ? 0 : key.high & ~UINT64_C(0) << (64 - bits), 0};
    return (struct key){key.high, key.low & ~UINT64_C(0) << (128 - bits)};
}

static struct spd_node *_Atomic *chain_of(const struct esp_plane *plane, uint8_t family,
                                          unsigned bits, struct key key)
{
    uint64_t h = plane->hash_seed ^ (family * UINT64_C(0x100) + bits);
    h = (h ^ key.high) * UINT64_C(0x9e3779b97f4a7c15);
    h = ((h ^ h >> 32) ^ key.low) * UINT64_C(0xd6e8feb86659fd93);
    h = (h ^ h >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    return &plane->destination_heads[h >> plane->destination_shift];
}

static bool covers(const struct sa *sa, const struct inner *inner)
{
    return selectors_match(sa->remote_ts, sa->remote_count, inner->family, inner_destination(inner),
                           inner, inner->destination_port) &&
           selectors_match(sa->local_ts, sa->local_count, inner->family, inner_source(inner), inner,
                           inner->source_port);
}

/* The newest that is ready; else the oldest that waits for its peer: a peer that goes on to replace
 * an SA has it, and may not have the one that replaces it. */
static struct sa *search_chain(const struct esp_plane *plane, const struct inner *inner,
                               unsigned bits, struct key key)
{
    struct sa *waiting = NULL;
    struct spd_node *_Atomic *head = chain_of(plane, inner->family, bits, key);
    for (struct spd_node *node = atomic_load_explicit(head, memory_order_acquire); node;
         node = atomic_load_explicit(&node->next, memory_order_acquire)) {
        if (node->bits != bits || node->family != inner->family || node->high != key.high ||
            node->low != key.low)
            continue;
        uint32_t flags = atomic_load_explicit(&node->sa->flags, memory_order_acquire);
        if (flags & (SA_OUT_ENDED | SA_DEAD) || !covers(node->sa, inner))
            continue;
        if (!(flags & SA_OUT_WAITS))
            return node->sa;
        waiting = node->sa;
    }
    return waiting;
}

static struct sa *search_lengths(const struct esp_plane *plane, const struct inner *inner)
{
    struct key key = key_of(inner->family, inner_destination(inner));
    int words = inner->family == 4 ? 1 : 3;
    for (int w = words - 1; w >= 0; w--) {
        uint64_t lengths = atomic_load_explicit(
            inner->family == 4 ? &plane->lengths4 : &plane->lengths6[w], memory_order_acquire);
        while (lengths) {
            unsigned top = 63 - (unsigned)__builtin_clzll(lengths);
            unsigned bits = top + 64 * (unsigned)w;
            lengths &= ~(UINT64_C(1) << top);
            struct sa *sa = search_chain(plane, inner, bits, cut(key, bits));
            if (sa)
                return sa;
        }
    }
    return NULL;
}

/* A search that was under way while one SA took over from another may have come too late for the
 * old one and too early for the new one: it then sees that something ended meanwhile. */
struct sa *spd_find(const struct esp_plane *plane, const struct inner *inner)
{
    for (int tries = 0; tries < TRIES; tries++) {
        uint32_t ends = atomic_load_explicit(&plane->ends, memory_order_acquire);
        struct sa *sa = search_lengths(plane, inner);
        if (sa || ends == atomic_load_explicit(&plane->ends, memory_order_acquire))
            return sa;
    }
    return NULL;
}

static void use_length(struct esp_plane *plane, const struct spd_node *node, bool use)
{
    uint32_t *users =
        node->family == 4 ? &plane->length_users4[node->bits] : &plane->length_users6[node->bits];
    _Atomic uint64_t *word =
        node->family == 4 ? &plane->lengths4 : &plane->lengths6[node->bits / 64];
    uint64_t bit = UINT64_C(1) << node->bits % 64;
    if (use && (*users)++ == 0)
        atomic_fetch_or_explicit(word, bit, memory_order_release);
    if (!use && --(*users) == 0)
        atomic_fetch_and_explicit(word, ~bit, memory_order_release);
}

static void fill_node(struct spd_node *node, struct sa *sa, const struct selector *s)
{
    struct key low = key_of(s->low.family, s->low.octets);
    struct key high = key_of(s->high.family, s->high.octets);
    unsigned most = s->low.family == 4 ? 32 : 128, bits = most;
    if (low.high != high.high)
        bits = (unsigned)__builtin_clzll(low.high ^ high.high);
    else if (low.low != high.low)
        bits = 64 + (unsigned)__builtin_clzll(low.low ^ high.low);
    struct key key = cut(low, bits);
    node->sa = sa;
    node->family = s->low.family;
    node->bits = (uint8_t)bits;
    node->high = key.high;
    node->low = key.low;
    node->rank = !selector_any_port(s) ? 2 : s->protocol != 0;
}

static bool node_equal(const struct spd_node *a, const struct spd_node *b)
{
    return a->family == b->family && a->bits == b->bits && a->high == b->high && a->low == b->low;
}

void spd_link(struct esp_plane *plane, struct sa *sa)
{
    for (size_t i = 0; i < sa->remote_count; i++) {
        struct spd_node *node = &sa->nodes[i];
        fill_node(node, sa, &sa->remote_ts[i]);
        struct spd_node *_Atomic *link =
            chain_of(plane, node->family, node->bits, (struct key){node->high, node->low});
        struct spd_node *at;
        while ((at = atomic_load_explicit(link, memory_order_relaxed)) && at->rank > node->rank)
            link = &at->next;
        atomic_store_explicit(&node->next, at, memory_order_relaxed);
        atomic_store_explicit(link, node, memory_order_release);
        use_length(plane, node, true);
    }
    sa->linked_out = true;
}

void spd_unlink(struct esp_plane *plane, struct sa *sa)
{
    if (!sa->linked_out)
        return;
    atomic_fetch_add_explicit(&plane->ends, 1, memory_order_release);
    sa_raise(sa, SA_OUT_ENDED);
    for (size_t i = 0; i < sa->remote_count; i++) {
        struct spd_node *node = &sa->nodes[i];
        struct spd_node *_Atomic *link =
            chain_of(plane, node->family, node->bits, (struct key){node->high, node->low});
        struct spd_node *at;
        while ((at = atomic_load_explicit(link, memory_order_relaxed)) != node)
            link = &at->next;
        atomic_store_explicit(link, atomic_load_explicit(&node->next, memory_order_relaxed),
                              memory_order_release);
        use_length(plane, node, false);
    }
    sa->linked_out = false;
}

struct sa *spd_find_heir(struct esp_plane *plane, const struct sa *sa)
{
    const struct spd_node *first = &sa->nodes[0];
    struct spd_node *_Atomic *head =
        chain_of(plane, first->family, first->bits, (struct key){first->high, first->low});
    for (struct spd_node *node = atomic_load_explicit(head, memory_order_relaxed); node;
         node = atomic_load_explicit(&node->next, memory_order_relaxed)) {
        const struct sa *other = node->sa;
        uint32_t flags = atomic_load_explicit(&other->flags, memory_order_relaxed);
        if (other != sa && other->tunnel == sa->tunnel && !(flags & (SA_OUT_ENDED | SA_DEAD)) &&
            selector_equal(&other->remote_ts[0], &sa->remote_ts[0]) &&
            selector_equal(&other->local_ts[0], &sa->local_ts[0]))
            return node->sa;
    }
    return NULL;
}

struct sa *spd_find_older(struct esp_plane *plane, const struct sa *sa)
{
    const struct spd_node *first = &sa->nodes[0];
    struct spd_node *_Atomic *head =
        chain_of(plane, first->family, first->bits, (struct key){first->high, first->low});
    for (struct spd_node *node = atomic_load_explicit(head, memory_order_relaxed); node;
         node = atomic_load_explicit(&node->next, memory_order_relaxed)) {
        const struct sa *other = node->sa;
        if (!node_equal(node, first) || (int32_t)(sa->generation - other->generation) <= 0 ||
            other->remote_count != sa->remote_count)
            continue;
        bool same = true;
        for (size_t i = 0; i < sa->remote_count; i++)
            same &= selector_equal(&sa->remote_ts[i], &other->remote_ts[i]);
        if (same)
            return node->sa;
    }
    return NULL;
}
