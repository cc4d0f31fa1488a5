/* Inside store/: what a book is made of. */
#ifndef SHRIKE_STORE_LEASE_H
#define SHRIKE_STORE_LEASE_H

#include "store/store.h"

enum { LEASE_POOLS_MAX = 16 };

/* One address that was given out at least once. It stands in up to four lists: of its identity, of
 * its owner, by address, and, while nobody holds it, in the queue of its pool. */
struct lease {
    struct ip ip;
    uint8_t pool; /* LEASE_POOLS_MAX: of none */
    bool reserved;
    uint64_t who;   /* keyed hash of the identity, 0 = nobody yet */
    uint64_t owner; /* 0 = free */
    struct lease *next_of_who, *next_of_owner;
    struct lease *older, *newer; /* queue of free ones */
};

struct pool {
    struct prefix prefix;
    uint64_t size, next; /* addresses for clients; the first never given out */
    struct lease *oldest, *newest;
};

struct lease_book {
    struct pool pools[LEASE_POOLS_MAX];
    size_t pool_count, held;
    struct slab leases;
    struct map by_who, by_owner, by_ip;
};

static inline uint64_t lease_ip_key(const struct lease_book *book, const struct ip *ip)
{
    return map_hash_bytes(&book->by_ip, ip, sizeof(*ip));
}

/* lease.c, for succession.c */
/* A lease for this address as if it had just been given back: newest of its pool's queue. NULL: it
 * is not for clients, it is known already, or there is no memory. */
struct lease *lease_enter_free(struct lease_book *book, const struct ip *ip);
/* Gives a free lease to this identity and owner; owner 0: it is only remembered. */
int lease_give(struct lease_book *book, struct lease *lease, uint64_t who, uint64_t owner);

#endif
