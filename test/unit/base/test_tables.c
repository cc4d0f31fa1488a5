/* map, slab and timer against a naive model, with a fixed seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

static uint64_t lcg = 1;

static uint32_t next(void)
{
    lcg = lcg * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(lcg >> 33);
}

static void lcg_fill(void *context, void *to, size_t len)
{
    (void)context;
    for (uint8_t *at = to; len > 0; len--)
        *at++ = (uint8_t)next();
}

static const struct random seeded = {.fill = lcg_fill};

static void map_agrees_with_an_array(void **state)
{
    (void)state;
    enum { KEYS = 512, STEPS = 200000 };
    static char values[KEYS];
    bool there[KEYS] = {0};
    size_t used = 0;
    struct map map;
    assert_int_equal(map_init(&map, KEYS / 2, &seeded), 0);
    for (size_t step = 0; step < STEPS; step++) {
        size_t key = next() % KEYS;
        if (next() % 2) {
            int want = there[key] ? ERR_EXISTS : used >= KEYS / 2 ? ERR_LIMIT : 0;
            assert_int_equal(map_put(&map, key * 0x100000001, &values[key]), want);
            if (want == 0)
                there[key] = true, used++;
        } else {
            assert_ptr_equal(map_remove(&map, key * 0x100000001), there[key] ? &values[key] : NULL);
            used -= there[key];
            there[key] = false;
        }
        key = next() % KEYS;
        assert_ptr_equal(map_get(&map, key * 0x100000001), there[key] ? &values[key] : NULL);
        assert_int_equal(map.used, used);
    }
    map_free(&map);
}

/* Removing what was just returned must not hide any other entry from the walk. */
static void a_walk_that_removes_sees_all(void **state)
{
    (void)state;
    enum { KEYS = 100 };
    static char values[KEYS];
    for (unsigned round = 0; round < 500; round++) {
        struct map map;
        assert_int_equal(map_init(&map, KEYS, &seeded), 0);
        size_t count = next() % KEYS + 1, seen = 0, cursor = 0;
        for (size_t i = 0; i < count; i++)
            assert_int_equal(map_put(&map, i, &values[i]), 0);
        for (char *v; (v = map_next(&map, &cursor)); seen++)
            if (next() % 3)
                assert_ptr_equal(map_remove(&map, (uint64_t)(v - values)), v);
        assert_int_equal(seen, count);
        map_free(&map);
    }
}

static void slab_keeps_its_limit_and_wipes(void **state)
{
    (void)state;
    struct slab slab;
    slab_init(&slab, 100, 3000);
    static uint8_t *out[3000];
    for (size_t i = 0; i < 3000; i++) {
        out[i] = slab_take(&slab);
        assert_non_null(out[i]);
        assert_int_equal((uintptr_t)out[i] % 64, 0);
        memset(out[i], 0x5a, 100);
    }
    assert_null(slab_take(&slab));
    slab_give(&slab, out[7]);
    uint8_t *again = slab_take(&slab);
    assert_ptr_equal(again, out[7]);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(again[i], 0);
    slab_free(&slab);
    assert_int_equal(slab.used, 0);
}

static void timers_expire_in_order(void **state)
{
    (void)state;
    enum { TIMERS = 300 };
    struct timer timers[TIMERS] = {0};
    struct timer_heap heap;
    timer_heap_init(&heap);
    for (size_t step = 0; step < 5000; step++) {
        struct timer *t = &timers[next() % TIMERS];
        if (next() % 4)
            assert_int_equal(timer_set(&heap, t, next() % 100000), 0);
        else
            timer_clear(&heap, t);
        uint64_t earliest = TIME_NEVER;
        for (size_t i = 0; i < TIMERS; i++)
            if (timers[i].place && timers[i].deadline < earliest)
                earliest = timers[i].deadline;
        assert_int_equal(timer_next(&heap), earliest);
    }
    uint64_t last = 0;
    size_t left = heap.count;
    assert_null(timer_expired(&heap, 0));
    for (struct timer *t; (t = timer_expired(&heap, UINT64_MAX - 1)); left--) {
        assert_true(t->deadline >= last);
        last = t->deadline;
    }
    assert_int_equal(left, 0);
    timer_heap_free(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_agrees_with_an_array),
        cmocka_unit_test(a_walk_that_removes_sees_all),
        cmocka_unit_test(slab_keeps_its_limit_and_wipes),
        cmocka_unit_test(timers_expire_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
