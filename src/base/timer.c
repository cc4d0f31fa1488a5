#include <stdlib.h>

#include "base/base.h"

void timer_heap_init(struct timer_heap *heap)
{
    *heap = (struct timer_heap){0};
}

void timer_heap_free(struct timer_heap *heap)
{
    free(heap->heap);
    timer_heap_init(heap);
}

static void settle(struct timer_heap *heap, size_t at, struct timer *timer)
{
    heap->heap[at] = timer;
    timer->place = at + 1;
}

static void sift_up(struct timer_heap *heap, size_t at)
{
    struct timer *timer = heap->heap[at];
    while (at > 0 && heap->heap[(at - 1) / 2]->deadline > timer->deadline) {
        settle(heap, at, heap->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    settle(heap, at, timer);
}

static void sift_down(struct timer_heap *heap, size_t at)
{
    struct timer *timer = heap->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count &&
            heap->heap[child + 1]->deadline < heap->heap[child]->deadline)
            child++;
        if (heap->heap[child]->deadline >= timer->deadline)
            break;
        settle(heap, at, heap->heap[child]);
        at = child;
    }
    settle(heap, at, timer);
}

static int make_room(struct timer_heap *heap)
{
    if (heap->count < heap->capacity)
        return 0;
    size_t capacity = heap->capacity ? heap->capacity * 2 : 64;
    struct timer **bigger = realloc(heap->heap, capacity * sizeof(*bigger));
    if (!bigger)
        return ERR_MEMORY;
    heap->heap = bigger;
    heap->capacity = capacity;
    return 0;
}

int timer_set(struct timer_heap *heap, struct timer *timer, uint64_t deadline)
{
    if (timer->place == 0) {
        int err = make_room(heap);
        if (err < 0)
            return err;
        settle(heap, heap->count++, timer);
    }
    timer->deadline = deadline;
    sift_up(heap, timer->place - 1);
    sift_down(heap, timer->place - 1);
    return 0;
}

void timer_clear(struct timer_heap *heap, struct timer *timer)
{
    if (timer->place == 0)
        return;
    size_t at = timer->place - 1;
    struct timer *last = heap->heap[--heap->count];
    timer->place = 0;
    if (last == timer)
        return;
    settle(heap, at, last);
    sift_up(heap, at);
    sift_down(heap, last->place - 1);
}

uint64_t timer_next(const struct timer_heap *heap)
{
    return heap->count > 0 ? heap->heap[0]->deadline : TIME_NEVER;
}

struct timer *timer_expired(struct timer_heap *heap, uint64_t now)
{
    if (timer_next(heap) > now || heap->count == 0)
        return NULL;
    struct timer *timer = heap->heap[0];
    timer_clear(heap, timer);
    return timer;
}
