/* Has the machine slept? */
#include "run/nap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define S TIME_SECOND

static const time_us least = 3 * S;

static void the_first_sleep_counts(void **state)
{
    struct nap n = {0};
    (void)state;
    assert_false(nap_taken(&n, 100 * S, 100 * S, 100 * S, least));
    assert_false(nap_taken(&n, 200 * S, 200 * S, 200 * S, least));
    assert_true(nap_taken(&n, 201 * S, 261 * S, 201 * S, least));
    assert_false(nap_taken(&n, 202 * S, 262 * S, 202 * S, least));
    assert_true(nap_taken(&n, 203 * S, 273 * S, 203 * S, least));
}

static void sleep_before_we_began_does_not(void **state)
{
    struct nap n = {0};
    (void)state;
    assert_false(nap_taken(&n, 100 * S, 9000 * S, 100 * S, least));
    assert_false(nap_taken(&n, 101 * S, 9001 * S, 101 * S, least));
    assert_false(nap_taken(&n, 102 * S, 9004 * S, 102 * S, least));
}

/* However long it takes to read the clocks, and wherever that is interrupted. */
static void slow_clocks_are_no_sleep(void **state)
{
    static const time_us waits[] = {0, 1, 50, 5 * S, 60 * S};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        for (size_t k = 0; k < ARRAY_LEN(waits); k++) {
            struct nap n = {0};
            time_us now = 100 * S;
            for (unsigned look = 0; look < 20; look++) {
                time_us total = now + waits[(i + look) % ARRAY_LEN(waits)];
                time_us after = total + waits[(k + 2 * look) % ARRAY_LEN(waits)];
                assert_false(nap_taken(&n, now, total, after, least));
                now = after;
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_sleep_counts),
        cmocka_unit_test(sleep_before_we_began_does_not),
        cmocka_unit_test(slow_clocks_are_no_sleep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
