/* When a client tries again. */
#include "run/reconnect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define S TIME_SECOND

static void backs_off(void **state)
{
    static const unsigned seconds[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    struct reconnect r = {.state = RECONNECT_IDLE};
    time_us now = 100 * S;
    (void)state;
    assert_false(reconnect_due(&r, now));
    reconnect_now(&r, now);
    assert_true(reconnect_due(&r, now));
    assert_false(reconnect_due(&r, now));
    for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
        reconnect_failed(&r, now, ERR_TIMEOUT, &random_system);
        time_us wait = reconnect_deadline(&r) - now;
        assert_in_range(wait, seconds[i] * S * 4 / 5, seconds[i] * S);
        assert_false(reconnect_due(&r, now + wait - 1));
        now += wait;
        assert_true(reconnect_due(&r, now));
    }
}

static void refusals_wait_long(void **state)
{
    static const int errors[] = {ERR_AUTH, ERR_IDENTITY, ERR_CERT_EXPIRED, ERR_CERT_UNKNOWN_CA,
                                 ERR_CERT_NAME};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        struct reconnect r = {.state = RECONNECT_TRYING};
        reconnect_failed(&r, 0, errors[i], &random_system);
        assert_in_range(reconnect_deadline(&r), 48 * S, 60 * S);
    }
}

static void a_command_does_not_wait(void **state)
{
    struct reconnect r = {.state = RECONNECT_TRYING};
    (void)state;
    reconnect_now(&r, 5);
    assert_int_equal(r.state, RECONNECT_TRYING);
    reconnect_failed(&r, 5, ERR_AUTH, &random_system);
    reconnect_now(&r, 6);
    assert_true(reconnect_due(&r, 6));
    reconnect_up(&r, 7);
    reconnect_now(&r, 8);
    assert_int_equal(reconnect_deadline(&r), TIME_NEVER);
}

static void a_loss_is_mended_at_once(void **state)
{
    struct reconnect r = {.state = RECONNECT_TRYING};
    (void)state;
    reconnect_up(&r, 100 * S);
    reconnect_lost(&r, 200 * S, &random_system);
    assert_true(reconnect_due(&r, 200 * S));
    /* But not when it goes up and down and up again. */
    reconnect_up(&r, 201 * S);
    reconnect_lost(&r, 202 * S, &random_system);
    assert_false(reconnect_due(&r, 202 * S));
    time_us first = reconnect_deadline(&r) - 202 * S;
    assert_true(reconnect_due(&r, 210 * S));
    reconnect_up(&r, 210 * S);
    reconnect_lost(&r, 211 * S, &random_system);
    assert_true(reconnect_deadline(&r) - 211 * S > first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backs_off),
        cmocka_unit_test(refusals_wait_long),
        cmocka_unit_test(a_command_does_not_wait),
        cmocka_unit_test(a_loss_is_mended_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
