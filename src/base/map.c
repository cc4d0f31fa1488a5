#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* Open addressing with linear probing and backward-shift deletion: no tombstones, so that churn
 * costs nothing. At most half full. */
struct map_slot {
    uint64_t key;
    void *value; /* NULL = free */
};

enum { CAPACITY_MIN = 16 };

static uint64_t rotate(uint64_t v, unsigned by)
{
    return v << by | v >> (64 - by);
}

struct sip {
    uint64_t v[4];
};

static void sip_round(struct sip *s)
{
    uint64_t *v = s->v;
    v[0] += v[1], v[1] = rotate(v[1], 13), v[1] ^= v[0], v[0] = rotate(v[0], 32);
    v[2] += v[3], v[3] = rotate(v[3], 16), v[3] ^= v[2];
    v[0] += v[3], v[3] = rotate(v[3], 21), v[3] ^= v[0];
    v[2] += v[1], v[1] = rotate(v[1], 17), v[1] ^= v[2], v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 (Aumasson and Bernstein), the variant for hash tables. */
uint64_t map_hash_bytes(const struct map *map, const void *data, size_t len)
{
    struct sip s = {{map->seed[0] ^ 0x736f6d6570736575, map->seed[1] ^ 0x646f72616e646f6d,
                     map->seed[0] ^ 0x6c7967656e657261, map->seed[1] ^ 0x7465646279746573}};
    const uint8_t *at = data;
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++) {
        word |= (uint64_t)at[i] << (8 * (i % 8));
        if (i % 8 == 7) {
            s.v[3] ^= word;
            sip_round(&s);
            s.v[0] ^= word;
            word = 0;
        }
    }
    word |= (uint64_t)len << 56;
    s.v[3] ^= word;
    sip_round(&s);
    s.v[0] ^= word;
    s.v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&s);
    return s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3];
}

static size_t home(const struct map *map, uint64_t key)
{
    return map_hash_bytes(map, &key, sizeof(key)) & (map->capacity - 1);
}

int map_init(struct map *map, size_t limit, const struct random *random)
{
    *map = (struct map){.limit = limit, .capacity = CAPACITY_MIN};
    random_fill(random, map->seed, sizeof(map->seed));
    map->slots = calloc(map->capacity, sizeof(*map->slots));
    return map->slots ? 0 : ERR_MEMORY;
}

void map_free(struct map *map)
{
    free(map->slots);
    *map = (struct map){0};
}

/* The slot of the key, or the free one where it would go. */
static struct map_slot *locate(const struct map *map, uint64_t key)
{
    size_t at = home(map, key);
    while (map->slots[at].value && map->slots[at].key != key)
        at = (at + 1) & (map->capacity - 1);
    return &map->slots[at];
}

void *map_get(const struct map *map, uint64_t key)
{
    return map->slots ? locate(map, key)->value : NULL;
}

static int grow(struct map *map)
{
    struct map bigger = *map;
    bigger.capacity = map->capacity * 2;
    bigger.slots = calloc(bigger.capacity, sizeof(*bigger.slots));
    if (!bigger.slots)
        return ERR_MEMORY;
    for (size_t i = 0; i < map->capacity; i++)
        if (map->slots[i].value)
            *locate(&bigger, map->slots[i].key) = map->slots[i];
    free(map->slots);
    *map = bigger;
    return 0;
}

int map_put(struct map *map, uint64_t key, void *value)
{
    if (!value || !map->slots)
        return ERR_ARGUMENT;
    if (locate(map, key)->value)
        return ERR_EXISTS;
    if (map->used >= map->limit)
        return ERR_LIMIT;
    if ((map->used + 1) * 2 > map->capacity) {
        int err = grow(map);
        if (err < 0)
            return err;
    }
    *locate(map, key) = (struct map_slot){.key = key, .value = value};
    map->used++;
    return 0;
}

void *map_remove(struct map *map, uint64_t key)
{
    if (!map->slots)
        return NULL;
    struct map_slot *slot = locate(map, key);
    void *value = slot->value;
    if (!value)
        return NULL;
    map->used--;
    size_t hole = (size_t)(slot - map->slots), mask = map->capacity - 1;
    for (size_t at = (hole + 1) & mask; map->slots[at].value; at = (at + 1) & mask) {
        /* What sits at `at` may move into the hole unless its home lies behind the hole. */
        size_t from = home(map, map->slots[at].key);
        if (((at - from) & mask) < ((at - hole) & mask))
            continue;
        map->slots[hole] = map->slots[at];
        hole = at;
    }
    map->slots[hole] = (struct map_slot){0};
    return value;
}

/* Walks downwards, starting from a free slot: a removal shifts only entries that come later in the
 * probe order of the same run, and those the walk has passed already. The cursor keeps the start in
 * its upper half and the steps done in its lower. */
void *map_next(const struct map *map, size_t *cursor)
{
    if (*cursor == 0 && map->slots) {
        size_t start = 0;
        while (map->slots[start].value)
            start++;
        *cursor = (start << 32) | 1;
    }
    size_t start = *cursor >> 32, mask = map->capacity - 1;
    for (size_t step = *cursor & UINT32_MAX; step < map->capacity; step++) {
        void *value = map->slots[(start - step) & mask].value;
        if (value) {
            *cursor = start << 32 | (step + 1);
            return value;
        }
    }
    return NULL;
}
