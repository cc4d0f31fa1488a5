/* Pools of equal objects, taken and given back in O(1), with a limit fixed at start. Memory comes
 * in chunks on first need, is aligned to 64 octets, is zeroed when taken and wiped when given back.
 */
#ifndef SHRIKE_BASE_SLAB_H
#define SHRIKE_BASE_SLAB_H

#include <stddef.h>

struct slab {
    size_t size;  /* octets an object, rounded up */
    size_t limit; /* objects */
    size_t used;
    void *free_list;
    void *chunks;
    size_t fresh, chunk_left;
};

void slab_init(struct slab *slab, size_t object_size, size_t limit);
void *slab_take(struct slab *slab); /* NULL when the limit is reached or memory is out */
void slab_give(struct slab *slab, void *object);
void slab_free(struct slab *slab); /* all objects at once; those still out become invalid */

#endif
