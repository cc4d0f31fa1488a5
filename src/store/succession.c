/* A book of leases that goes on as another one. */
#include "store/lease.h"

bool lease_holds(const struct lease_book *book, uint64_t owner, const struct ip *ip)
{
    const struct lease *lease = map_get(&book->by_ip, lease_ip_key(book, ip));
    return owner && lease && lease->owner == owner;
}

bool lease_is_reserved(const struct lease_book *book, const struct ip *ip)
{
    const struct lease *lease = map_get(&book->by_ip, lease_ip_key(book, ip));
    return lease && lease->reserved;
}

struct lease_key lease_key_of(const struct lease_book *book)
{
    return (struct lease_key){{book->by_who.seed[0], book->by_who.seed[1]}};
}

/* The same number hides identities and keeps the map from being aimed at; it stays among those who
 * know the identities anyway. */
int lease_take_key(struct lease_book *book, const struct lease_key *key)
{
    if (book->by_who.used > 0)
        return ERR_STATE;
    book->by_who.seed[0] = key->word[0];
    book->by_who.seed[1] = key->word[1];
    return 0;
}

static struct lease_record record_of(const struct lease *lease)
{
    return (struct lease_record){.ip = lease->ip, .who = lease->who, .owner = lease->owner};
}

/* The owners' lists, then the queue of one pool after the other: a successor that has less room
 * forgets, and takes from nobody. */
static const struct lease *next_lease(const struct lease_book *book, struct lease_walk *walk)
{
    if (!walk->free_ones) {
        walk->at = walk->at ? walk->at->next_of_owner : NULL;
        if (!walk->at)
            walk->at = map_next(&book->by_owner, &walk->cursor);
        if (walk->at)
            return walk->at;
        walk->free_ones = true;
    }
    while (walk->pool < book->pool_count) {
        walk->at = walk->at ? walk->at->newer : book->pools[walk->pool].oldest;
        if (walk->at)
            return walk->at;
        walk->pool++;
    }
    return NULL;
}

size_t lease_export(const struct lease_book *book, struct lease_walk *walk,
                    struct lease_record *out, size_t max)
{
    size_t count = 0;
    const struct lease *lease;
    while (count < max && (lease = next_lease(book, walk)))
        if (lease->who)
            out[count++] = record_of(lease);
    return count;
}

/* A fixed address has its entry already; who may hold it is the caller's to judge. */
int lease_import(struct lease_book *book, const struct lease_record *record)
{
    struct lease *lease = map_get(&book->by_ip, lease_ip_key(book, &record->ip));
    if (record->who == 0)
        return ERR_ARGUMENT;
    if (lease && (lease->owner || !lease->reserved))
        return ERR_EXISTS;
    if (lease && record->owner == 0)
        return 0;
    if (!lease)
        lease = lease_enter_free(book, &record->ip);
    return lease ? lease_give(book, lease, record->who, record->owner) : ERR_ADDRESS;
}
