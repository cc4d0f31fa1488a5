#include <stdlib.h>
#include <string.h>

#include "base/base.h"

enum { ALIGN = 64, CHUNK_OCTETS = 64 * 1024 };

/* A chunk starts with a link to the one before, in a first cache line of its own. */
struct chunk {
    struct chunk *before;
};

void slab_init(struct slab *slab, size_t object_size, size_t limit)
{
    *slab = (struct slab){.size = (object_size + ALIGN - 1) / ALIGN * ALIGN, .limit = limit};
}

static bool grow(struct slab *slab)
{
    size_t objects = CHUNK_OCTETS / slab->size > 0 ? CHUNK_OCTETS / slab->size : 1;
    struct chunk *chunk = aligned_alloc(ALIGN, ALIGN + objects * slab->size);
    if (!chunk)
        return false;
    chunk->before = slab->chunks;
    slab->chunks = chunk;
    slab->fresh = 0;
    slab->chunk_left = objects;
    return true;
}

void *slab_take(struct slab *slab)
{
    if (slab->used >= slab->limit)
        return NULL;
    void *object = slab->free_list;
    if (object) {
        memcpy(&slab->free_list, object, sizeof(void *));
    } else {
        if (slab->chunk_left == 0 && !grow(slab))
            return NULL;
        object = (uint8_t *)slab->chunks + ALIGN + slab->fresh * slab->size;
        slab->fresh++;
        slab->chunk_left--;
    }
    slab->used++;
    memset(object, 0, slab->size);
    return object;
}

void slab_give(struct slab *slab, void *object)
{
    secret_wipe(object, slab->size);
    memcpy(object, &slab->free_list, sizeof(void *));
    slab->free_list = object;
    slab->used--;
}

void slab_free(struct slab *slab)
{
    size_t objects = CHUNK_OCTETS / slab->size > 0 ? CHUNK_OCTETS / slab->size : 1;
    struct chunk *chunk = slab->chunks;
    while (chunk) {
        struct chunk *before = chunk->before;
        secret_wipe(chunk, ALIGN + objects * slab->size);
        free(chunk);
        chunk = before;
    }
    slab_init(slab, slab->size, slab->limit);
}
