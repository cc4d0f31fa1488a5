/* The replay window against a model that remembers every number. */
#include "esp/replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NUMBERS = 20000 };

struct model {
    bool taken[NUMBERS];
    uint64_t top, window;
};

static bool model_fresh(const struct model *m, uint64_t n)
{
    return n != 0 && !m->taken[n] && (n > m->top || m->top - n < m->window);
}

static void against_model(void **state)
{
    (void)state;
    static const uint32_t windows[] = {1, 32, 63, 64, 65, 128, 1000, 1024, 8192};
    for (size_t w = 0; w < ARRAY_LEN(windows); w++) {
        static uint64_t bits[200];
        static struct model model;
        struct replay replay;
        memset(bits, 0, sizeof(bits));
        memset(&model, 0, sizeof(model));
        model.window = windows[w];
        assert_true(replay_words(windows[w]) <= ARRAY_LEN(bits));
        replay_init(&replay, windows[w], bits);
        srandom(3);
        for (int i = 0; i < 200000; i++) {
            uint64_t spread = random() % 8 == 0 ? 4 * windows[w] : 40;
            uint64_t base = model.top + 20 > spread ? model.top + 20 - spread : 0;
            uint64_t n = base + (uint64_t)random() % (spread + 10);
            if (n >= NUMBERS)
                break;
            bool fresh = model_fresh(&model, n);
            assert_int_equal(replay_fresh(&replay, n), fresh);
            assert_int_equal(replay_number(&replay, (uint32_t)n, true), n);
            if (random() % 3 == 0)
                continue; /* looked at, but not authentic */
            assert_int_equal(replay_mark(&replay, n), fresh);
            if (fresh) {
                model.taken[n] = true;
                model.top = n > model.top ? n : model.top;
            }
            assert_int_equal(replay.top, model.top);
        }
    }
}

static void esn_goes_over_the_edge(void **state)
{
    (void)state;
    uint64_t bits[20] = {0};
    struct replay replay;
    replay_init(&replay, 1024, bits);
    assert_int_equal(replay_number(&replay, 1, true), 1);
    assert_int_equal(replay_number(&replay, 0xfffffff0, true), 0xfffffff0);
    assert_true(replay_mark(&replay, 0xfffffff0));
    assert_int_equal(replay_number(&replay, 5, true), UINT64_C(0x100000005));
    assert_int_equal(replay_number(&replay, 5, false), 5);
    assert_true(replay_mark(&replay, UINT64_C(0x100000005)));
    assert_int_equal(replay_number(&replay, 0xfffffff1, true), 0xfffffff1);
    assert_true(replay_mark(&replay, 0xfffffff1));
    assert_false(replay_mark(&replay, 0xfffffff0));
    assert_false(replay_fresh(&replay, 0xfffffff1));
    assert_true(replay_mark(&replay, UINT64_C(0x100000000))); /* low half zero is a number here */
    replay_init(&replay, 1024, bits);
    assert_false(replay_fresh(&replay, 0));
}

static void no_window_takes_all(void **state)
{
    (void)state;
    struct replay replay;
    replay_init(&replay, 0, NULL);
    assert_true(replay_mark(&replay, 9));
    assert_true(replay_mark(&replay, 9));
    assert_true(replay_mark(&replay, 1));
    assert_int_equal(replay.top, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_model),
        cmocka_unit_test(esn_goes_over_the_edge),
        cmocka_unit_test(no_window_takes_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
