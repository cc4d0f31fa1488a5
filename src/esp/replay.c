#include "esp/replay.h"

size_t replay_words(uint32_t window)
{
    return window == 0 ? 0 : (size_t)(window + 63) / 64 + 1;
}

void replay_init(struct replay *replay, uint32_t window, uint64_t *bits)
{
    *replay =
        (struct replay){.window = window, .words = (uint32_t)replay_words(window), .bits = bits};
}

uint64_t replay_number(const struct replay *replay, uint32_t low, bool esn)
{
    if (!esn)
        return low;
    int64_t distance = (int32_t)(low - (uint32_t)replay->top);
    if (distance < 0 && replay->top < (uint64_t)-distance)
        return low; /* there is nothing below zero */
    return replay->top + (uint64_t)distance;
}

static uint64_t *word_of(const struct replay *replay, uint64_t number)
{
    return &replay->bits[(number / 64) % replay->words];
}

bool replay_fresh(const struct replay *replay, uint64_t number)
{
    if (number == 0)
        return false; /* numbers start at 1 */
    if (replay->window == 0 || number > replay->top)
        return true;
    if (replay->top - number >= replay->window)
        return false;
    return !(*word_of(replay, number) & UINT64_C(1) << number % 64);
}

static void move_top(struct replay *replay, uint64_t number)
{
    uint64_t steps = number / 64 - replay->top / 64;
    if (steps > replay->words)
        steps = replay->words;
    for (uint64_t i = 0; i < steps; i++)
        *word_of(replay, number - 64 * i) = 0;
    __atomic_store_n(&replay->top, number, __ATOMIC_RELAXED);
}

bool replay_mark(struct replay *replay, uint64_t number)
{
    if (!replay_fresh(replay, number))
        return false;
    if (replay->window == 0) {
        if (number > replay->top)
            __atomic_store_n(&replay->top, number, __ATOMIC_RELAXED);
        return true;
    }
    if (number > replay->top)
        move_top(replay, number);
    *word_of(replay, number) |= UINT64_C(1) << number % 64;
    return true;
}
