/* store: what outlives a connection. In this version: leases of virtual addresses, in memory,
 * sticky per identity.
 *
 * A pool is a prefix; its first usable address is the gateway's own. An identity gets the address
 * it had before when it is free, else the next never-used one, else the longest-unused one. One
 * identity may hold several leases at once (two devices): the second gets another address. Owner:
 * the keys process. No clock: `now` is an argument. Memory: one entry per lease ever given, bounded
 * by the pool.
 */
#ifndef SHRIKE_STORE_H
#define SHRIKE_STORE_H

#include "base/base.h"

struct lease_book;
struct lease_book *lease_book_create(const struct prefix *pools, size_t count, size_t limit,
                                     const struct random *random);
void lease_book_free(struct lease_book *book);
/* The gateway's own address in pool i (first usable), for the TUN device. */
struct ip lease_gateway_address(const struct prefix *pool);
/* The addresses that clients can get from a pool. */
uint64_t lease_pool_size(const struct prefix *pool);
/* An owner that has one of that family already gets the same again; of several that were handed
 * over to it the wanted one, and the others are free. A `fixed` address is moved to
 * the newest owner that asks for it. wanted: an address the client asks to keep, or family 0.
 * fixed: configured for this identity, or family 0. owner: the tunnel (constant over IKE rekeys).
 * ERR_ADDRESS when no pool of that family has room. */
int lease_take(struct lease_book *book, uint8_t family, const struct identity *id, uint64_t owner,
               const struct ip *fixed, const struct ip *wanted, time_us now,
               struct ip *out) MUST_USE;
/* This address is configured for somebody: never given to another. ERR_LIMIT, ERR_MEMORY. */
int lease_reserve(struct lease_book *book, const struct ip *ip) MUST_USE;
/* What this identity holds now belongs to `owner`: its tunnel has replaced the others. */
void lease_hand_over(struct lease_book *book, const struct identity *id, uint64_t owner);
/* What `from` holds under this identity belongs to `to` from now on, or is free, where `to` has one
 * of that family. */
void lease_move(struct lease_book *book, const struct identity *id, uint64_t from, uint64_t to);
/* All leases of that owner. */
void lease_release(struct lease_book *book, uint64_t owner, time_us now);
/* All leases of all owners: those who held them are gone together. They stay remembered. */
void lease_release_all(struct lease_book *book, time_us now);
size_t lease_count(const struct lease_book *book); /* held now */
/* The owner holds this very address. */
bool lease_holds(const struct lease_book *book, uint64_t owner, const struct ip *ip);
bool lease_is_reserved(const struct lease_book *book, const struct ip *ip);

/* ---- from one book to its successor, in another process and perhaps with other pools
 *
 * Identities are kept as keyed hashes only, so the successor takes the key over first. */
struct lease_key {
    uint64_t word[2];
};
struct lease_record {
    struct ip ip;
    uint64_t who, owner; /* owner 0: free, but remembered */
};
struct lease_walk { /* {0} begins; the book must not change meanwhile */
    bool free_ones;
    size_t pool, cursor;
    const struct lease *at;
};
struct lease_key lease_key_of(const struct lease_book *book);
/* ERR_STATE: the book knows somebody already. */
int lease_take_key(struct lease_book *book, const struct lease_key *key) MUST_USE;
/* The next records, at most max: the held ones, then the free ones by their age. 0 = the end. */
size_t lease_export(const struct lease_book *book, struct lease_walk *walk,
                    struct lease_record *out, size_t max);
/* ERR_ADDRESS: this book does not have it for clients; ERR_EXISTS; ERR_LIMIT, ERR_MEMORY. */
int lease_import(struct lease_book *book, const struct lease_record *record) MUST_USE;

#endif
