/* A heap of deadlines. A timer is embedded in its owner; setting it again moves it. */
#ifndef SHRIKE_BASE_TIMER_H
#define SHRIKE_BASE_TIMER_H

#include <stddef.h>
#include <stdint.h>

struct timer {
    uint64_t deadline; /* time_us */
    size_t place;      /* index + 1 in the heap; 0 = not set */
    uint16_t kind;     /* the owner's own numbering */
    void *owner;
};

struct timer_heap {
    struct timer **heap;
    size_t count, capacity;
};

void timer_heap_init(struct timer_heap *heap);
void timer_heap_free(struct timer_heap *heap);
int timer_set(struct timer_heap *heap, struct timer *timer, uint64_t deadline)
    __attribute__((warn_unused_result));
void timer_clear(struct timer_heap *heap, struct timer *timer); /* no-op when it is not set */
uint64_t timer_next(
    const struct timer_heap *heap); /* the earliest deadline, TIME_NEVER when there is none */
struct timer *timer_expired(struct timer_heap *heap,
                            uint64_t now); /* takes out one that is due, or NULL */

#endif
