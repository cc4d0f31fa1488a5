/* So many a second. */
#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void so_many_a_second(void **state)
{
    (void)state;
    struct budget b = {0};
    for (int i = 0; i < 3; i++)
        assert_true(budget_allows(&b, 5 * TIME_SECOND, 3));
    assert_false(budget_allows(&b, 5 * TIME_SECOND, 3));
    assert_false(budget_allows(&b, 6 * TIME_SECOND - 1, 3));
    assert_true(budget_allows(&b, 6 * TIME_SECOND, 3));
    assert_false(budget_allows(&b, 9 * TIME_SECOND, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(so_many_a_second)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
