/* A hash map from 64-bit keys (SPIs) to pointers. Keyed, because peers choose some of the keys;
 * bounded, because strangers must not grow it. */
#ifndef SHRIKE_BASE_MAP_H
#define SHRIKE_BASE_MAP_H

#include "base/secret.h"

struct map_slot;
struct map {
    struct map_slot *slots;
    size_t capacity; /* slots, a power of two; grows up to what `limit` needs */
    size_t used;
    size_t limit;
    uint64_t seed[2];
};

int map_init(struct map *map, size_t limit, const struct random *random)
    __attribute__((warn_unused_result));
void map_free(struct map *map);
void *map_get(const struct map *map, uint64_t key); /* NULL when absent */
int map_put(struct map *map, uint64_t key, void *value)
    __attribute__((warn_unused_result));         /* ERR_EXISTS, ERR_LIMIT, ERR_MEMORY */
void *map_remove(struct map *map, uint64_t key); /* what was there, or NULL */
uint64_t map_hash_bytes(const struct map *map, const void *data,
                        size_t len); /* a key for longer things, e.g. endpoint + SPI */
/* Iteration: start with *cursor = 0; returns NULL at the end. Removing the entry just returned is
 * allowed. */
void *map_next(const struct map *map, size_t *cursor);

#endif
