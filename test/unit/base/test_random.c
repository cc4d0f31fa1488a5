/* Random octets from the kernel: all of them, never twice, and none shared with a child. */
#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { DRAWS = 4096, DRAW = 12 };

static int order(const void *a, const void *b)
{
    return memcmp(a, b, DRAW);
}

static void never_twice(void **state)
{
    static uint8_t drawn[DRAWS][DRAW];
    (void)state;
    for (size_t i = 0; i < DRAWS; i++)
        random_fill(&random_system, drawn[i], DRAW);
    qsort(drawn, DRAWS, DRAW, order);
    for (size_t i = 1; i < DRAWS; i++)
        assert_memory_not_equal(drawn[i - 1], drawn[i], DRAW);
}

/* Every length is filled to its end: in ten tries no octet stays zero ten times. */
static void all_of_it(void **state)
{
    (void)state;
    for (size_t len = 1; len < 600; len++) {
        uint8_t seen[600] = {0}, octets[601];
        for (int i = 0; i < 10; i++) {
            memset(octets, 0, sizeof(octets));
            random_fill(&random_system, octets, len);
            assert_int_equal(octets[len], 0);
            for (size_t k = 0; k < len; k++)
                seen[k] |= octets[k];
        }
        for (size_t k = 0; k < len; k++)
            assert_int_not_equal(seen[k], 0);
    }
}

static void a_child_draws_its_own(void **state)
{
    uint8_t ours[16], theirs[16] = {0};
    int ends[2], status;
    (void)state;
    random_fill(&random_system, ours, sizeof(ours)); /* now there is a stock */
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        random_fill(&random_system, theirs, sizeof(theirs));
        _exit(write(ends[1], theirs, sizeof(theirs)) == sizeof(theirs) ? 0 : 1);
    }
    random_fill(&random_system, ours, sizeof(ours));
    assert_int_equal(read(ends[0], theirs, sizeof(theirs)), sizeof(theirs));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_memory_not_equal(ours, theirs, sizeof(ours));
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_twice),
        cmocka_unit_test(all_of_it),
        cmocka_unit_test(a_child_draws_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
