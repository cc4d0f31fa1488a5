/* Leases of virtual addresses: who has which, who had which. */
#include "store/lease.h"

#include <stdlib.h>
#include <string.h>

enum {
    LOOK_BACK = 32, /* leases of one identity that are looked at: a shared one may hold thousands */
};

/* Network address, our own, and for IPv4 the broadcast address are not for clients. */
static uint64_t client_addresses(const struct prefix *pool)
{
    unsigned host_bits = (unsigned)ip_len(&pool->ip) * 8 - pool->bits;
    uint64_t all = host_bits > 62 ? (uint64_t)1 << 62 : (uint64_t)1 << host_bits;
    uint64_t kept = pool->ip.family == 4 ? 3 : 2;
    return all > kept ? all - kept : 0;
}

uint64_t lease_pool_size(const struct prefix *pool)
{
    return client_addresses(pool);
}

struct ip lease_gateway_address(const struct prefix *pool)
{
    bool alone = pool->bits == ip_len(&pool->ip) * 8;
    return alone ? pool->ip : ip_add(pool->ip, 1);
}

static struct ip client_address(const struct pool *pool, uint64_t n)
{
    return ip_add(pool->prefix.ip, 2 + n);
}

struct lease_book *lease_book_create(const struct prefix *pools, size_t count, size_t limit,
                                     const struct random *random)
{
    struct lease_book *book = calloc(1, sizeof(*book));
    if (!book || count > LEASE_POOLS_MAX)
        goto failed;
    for (size_t i = 0; i < count; i++)
        book->pools[i] = (struct pool){.prefix = pools[i], .size = client_addresses(&pools[i])};
    book->pool_count = count;
    slab_init(&book->leases, sizeof(struct lease), limit);
    if (map_init(&book->by_who, limit, random) || map_init(&book->by_owner, limit, random) ||
        map_init(&book->by_ip, limit, random))
        goto failed;
    return book;
failed:
    lease_book_free(book);
    return NULL;
}

void lease_book_free(struct lease_book *book)
{
    if (!book)
        return;
    map_free(&book->by_who);
    map_free(&book->by_owner);
    map_free(&book->by_ip);
    slab_free(&book->leases);
    free(book);
}

size_t lease_count(const struct lease_book *book)
{
    return book->held;
}

/* Never 0. */
static uint64_t who_key(const struct lease_book *book, const struct identity *id)
{
    uint8_t flat[1 + IDENTITY_MAX];
    size_t len = identity_flat(id, flat);
    uint64_t key = map_hash_bytes(&book->by_who, flat, len);
    return key ? key : 1;
}

/* Puts `lease` at the head of the list a map has for key. */
static int list_add(struct map *map, uint64_t key, struct lease *lease, struct lease **link)
{
    *link = map_remove(map, key);
    return map_put(map, key, lease);
}

static void who_remove(struct lease_book *book, struct lease *lease)
{
    struct lease *first = lease->who ? map_remove(&book->by_who, lease->who) : NULL;
    struct lease **at = &first;
    while (*at && *at != lease)
        at = &(*at)->next_of_who;
    if (*at)
        *at = lease->next_of_who;
    if (first)
        (void)!map_put(&book->by_who, first->who, first); /* the room was just made */
    lease->who = 0;
    lease->next_of_who = NULL;
}

static void owner_remove(struct lease_book *book, struct lease *lease)
{
    struct lease *first = map_remove(&book->by_owner, lease->owner);
    struct lease **at = &first;
    while (*at && *at != lease)
        at = &(*at)->next_of_owner;
    if (*at)
        *at = lease->next_of_owner;
    if (first)
        (void)!map_put(&book->by_owner, first->owner, first);
    lease->owner = 0;
    lease->next_of_owner = NULL;
    book->held--;
}

static void queue_add(struct lease_book *book, struct lease *lease)
{
    if (lease->pool >= book->pool_count || lease->reserved)
        return;
    struct pool *pool = &book->pools[lease->pool];
    lease->older = pool->newest;
    lease->newer = NULL;
    if (pool->newest)
        pool->newest->newer = lease;
    else
        pool->oldest = lease;
    pool->newest = lease;
}

static void queue_remove(struct lease_book *book, struct lease *lease)
{
    if (lease->pool >= book->pool_count || lease->reserved)
        return;
    struct pool *pool = &book->pools[lease->pool];
    if (lease->older)
        lease->older->newer = lease->newer;
    else
        pool->oldest = lease->newer;
    if (lease->newer)
        lease->newer->older = lease->older;
    else
        pool->newest = lease->older;
    lease->older = lease->newer = NULL;
}

/* A new lease, free and in no queue. */
static struct lease *enter(struct lease_book *book, const struct ip *ip, uint8_t pool)
{
    struct lease *lease = slab_take(&book->leases);
    if (!lease)
        return NULL;
    lease->ip = *ip;
    lease->pool = pool;
    if (map_put(&book->by_ip, lease_ip_key(book, ip), lease)) {
        slab_give(&book->leases, lease);
        return NULL;
    }
    return lease;
}

static uint8_t pool_of(const struct lease_book *book, const struct ip *ip)
{
    for (size_t i = 0; i < book->pool_count; i++)
        if (prefix_contains(&book->pools[i].prefix, ip))
            return (uint8_t)i;
    return LEASE_POOLS_MAX;
}

int lease_reserve(struct lease_book *book, const struct ip *ip)
{
    if (map_get(&book->by_ip, lease_ip_key(book, ip)))
        return 0;
    struct lease *lease = enter(book, ip, pool_of(book, ip));
    if (!lease)
        return ERR_LIMIT;
    lease->reserved = true;
    return 0;
}

/* The wanted one of them, when there are several after a hand-over. */
static struct lease *held_already(const struct lease_book *book, uint64_t owner, uint8_t family,
                                  const struct ip *wanted)
{
    struct lease *first = NULL, *l = map_get(&book->by_owner, owner);
    for (; l; l = l->next_of_owner) {
        if (l->ip.family != family)
            continue;
        if (wanted && ip_equal(&l->ip, wanted))
            return l;
        first = first ? first : l;
    }
    return first;
}

/* Nobody has use for two of one family. */
static void keep_only(struct lease_book *book, uint64_t owner, const struct ip *kept)
{
    struct lease *next, *l = map_get(&book->by_owner, owner);
    for (; l; l = next) {
        next = l->next_of_owner;
        if (l->ip.family != kept->family || ip_equal(&l->ip, kept))
            continue;
        owner_remove(book, l);
        queue_add(book, l);
    }
}

/* What this identity had before; the wanted one of them when there are several. */
static struct lease *had_before(const struct lease_book *book, uint64_t who, uint8_t family,
                                const struct ip *wanted)
{
    struct lease *best = NULL, *l = map_get(&book->by_who, who);
    for (unsigned i = 0; l && i < LOOK_BACK; l = l->next_of_who, i++) {
        if (l->owner || l->ip.family != family || l->reserved)
            continue;
        if (wanted && ip_equal(&l->ip, wanted))
            return l;
        best = l;
    }
    return best;
}

static bool for_clients(const struct pool *pool, const struct ip *ip)
{
    struct ip first = client_address(pool, 0);
    struct ip last = prefix_last(&pool->prefix);
    if (pool->size == 0 || ip_compare(ip, &first) < 0)
        return false;
    return ip->family == 6 || ip_compare(ip, &last) < 0;
}

struct lease *lease_enter_free(struct lease_book *book, const struct ip *wanted)
{
    uint8_t pool = pool_of(book, wanted);
    if (pool == LEASE_POOLS_MAX || !for_clients(&book->pools[pool], wanted) ||
        map_get(&book->by_ip, lease_ip_key(book, wanted)))
        return NULL;
    struct lease *lease = enter(book, wanted, pool);
    if (lease)
        queue_add(book, lease);
    return lease;
}

static struct lease *never_used(struct lease_book *book, uint8_t family)
{
    for (size_t i = 0; i < book->pool_count; i++) {
        struct pool *pool = &book->pools[i];
        if (pool->prefix.ip.family != family)
            continue;
        while (pool->next < pool->size) { /* what is skipped was entered before: bounded by that */
            struct ip ip = client_address(pool, pool->next);
            if (map_get(&book->by_ip, lease_ip_key(book, &ip))) {
                pool->next++;
                continue;
            }
            struct lease *lease = enter(book, &ip, (uint8_t)i);
            if (!lease)
                return NULL;
            pool->next++;
            queue_add(book, lease);
            return lease;
        }
    }
    return NULL;
}

static struct lease *longest_unused(struct lease_book *book, uint8_t family)
{
    for (size_t i = 0; i < book->pool_count; i++)
        if (book->pools[i].prefix.ip.family == family && book->pools[i].oldest)
            return book->pools[i].oldest;
    return NULL;
}

int lease_give(struct lease_book *book, struct lease *lease, uint64_t who, uint64_t owner)
{
    int result = 0;
    queue_remove(book, lease);
    if (lease->who != who) {
        who_remove(book, lease);
        result = list_add(&book->by_who, who, lease, &lease->next_of_who);
        if (result == 0)
            lease->who = who;
    }
    if (result == 0 && owner)
        result = list_add(&book->by_owner, owner, lease, &lease->next_of_owner);
    if (result || owner == 0) {
        queue_add(book, lease);
        return result;
    }
    lease->owner = owner;
    book->held++;
    return 0;
}

static int take_fixed(struct lease_book *book, const struct ip *fixed, uint64_t who, uint64_t owner)
{
    int result = lease_reserve(book, fixed);
    if (result)
        return result;
    struct lease *lease = map_get(&book->by_ip, lease_ip_key(book, fixed));
    if (lease->owner == owner)
        return 0;
    if (lease->owner)
        owner_remove(book, lease);
    else
        queue_remove(book, lease);
    lease->reserved = true;
    return lease_give(book, lease, who, owner);
}

int lease_take(struct lease_book *book, uint8_t family, const struct identity *id, uint64_t owner,
               const struct ip *fixed, const struct ip *wanted, time_us now, struct ip *out)
{
    uint64_t who = who_key(book, id);
    (void)now; /* the queue keeps the order of release, which is all that matters in memory */
    if (owner == 0)
        return ERR_ARGUMENT;
    if (wanted && (wanted->family != family || ip_is_any(wanted)))
        wanted = NULL;
    if (fixed && fixed->family == family) {
        *out = *fixed;
        keep_only(book, owner, fixed);
        return take_fixed(book, fixed, who, owner);
    }
    struct lease *lease = held_already(book, owner, family, wanted);
    if (lease) {
        *out = lease->ip;
        keep_only(book, owner, out);
        return 0;
    }
    lease = had_before(book, who, family, wanted);
    if (!lease && wanted)
        lease = lease_enter_free(book, wanted);
    if (!lease)
        lease = never_used(book, family);
    if (!lease)
        lease = longest_unused(book, family);
    if (!lease)
        return ERR_ADDRESS;
    *out = lease->ip;
    return lease_give(book, lease, who, owner);
}

static void change_owner(struct lease_book *book, struct lease *lease, uint64_t owner)
{
    owner_remove(book, lease);
    if (list_add(&book->by_owner, owner, lease, &lease->next_of_owner)) {
        queue_add(book, lease); /* no memory: then it is free */
        return;
    }
    lease->owner = owner;
    book->held++;
}

void lease_hand_over(struct lease_book *book, const struct identity *id, uint64_t owner)
{
    struct lease *lease = map_get(&book->by_who, who_key(book, id));
    for (; lease && owner; lease = lease->next_of_who)
        if (lease->owner && lease->owner != owner)
            change_owner(book, lease, owner);
}

void lease_move(struct lease_book *book, const struct identity *id, uint64_t from, uint64_t to)
{
    struct lease *lease = map_get(&book->by_who, who_key(book, id));
    for (; lease && from && to; lease = lease->next_of_who) {
        if (lease->owner != from)
            continue;
        const struct lease *own = held_already(book, to, lease->ip.family, NULL);
        change_owner(book, lease, to);
        if (own)
            keep_only(book, to, &own->ip);
    }
}

void lease_release(struct lease_book *book, uint64_t owner, time_us now)
{
    struct lease *lease = map_remove(&book->by_owner, owner);
    (void)now;
    while (lease) {
        struct lease *next = lease->next_of_owner;
        lease->owner = 0;
        lease->next_of_owner = NULL;
        book->held--;
        queue_add(book, lease);
        lease = next;
    }
}

void lease_release_all(struct lease_book *book, time_us now)
{
    size_t cursor = 0;
    struct lease *lease;
    while ((lease = map_next(&book->by_owner, &cursor))) {
        lease_release(book, lease->owner, now);
    }
}
