/* Framing: one object, then a zero octet; everything else ends the connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the four above */
#include <cmocka.h>

#include "ctl/ctl.h"

static int frame(const void *data, size_t len, json_t **message, size_t *used)
{
    /* a copy of exact size, so that a sanitizer sees a read beyond it */
    uint8_t *copy = malloc(len ? len : 1);
    memcpy(copy, data, len);
    int err = ctl_frame((struct bytes){copy, len}, message, used);
    free(copy);
    return err;
}

static const char call[] = "{\"method\":\"org.shrike.Status\",\"parameters\":{\"limit\":7}}";

static void whole_messages_are_found(void **state)
{
    (void)state;
    json_t *message;
    size_t used;
    assert_int_equal(frame(call, sizeof call, &message, &used), 0);
    assert_int_equal(used, sizeof call);
    assert_string_equal(json_string_value(json_object_get(message, "method")), "org.shrike.Status");
    json_decref(message);
    char two[2 * sizeof call];
    memcpy(two, call, sizeof call);
    memcpy(two + sizeof call, call, sizeof call);
    assert_int_equal(frame(two, sizeof two, &message, &used), 0);
    assert_int_equal(used, sizeof call);
    json_decref(message);
}

static void parts_wait_for_more(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof call; len++) {
        json_t *message = (json_t *)1;
        size_t used = 1;
        assert_int_equal(frame(call, len, &message, &used), 0);
        assert_int_equal(used, 0);
        assert_null(message);
    }
}

static void what_is_no_object_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",        " ",
                                      "[]",      "1",
                                      "\"x\"",   "null",
                                      "{",       "{}}",
                                      "{\"a\"}", "{\"a\":1,}",
                                      "{} {}",   "{\"a\":1,\"a\":2}",
                                      "\xff",    "{\"\xc3\":1}",
                                      "true",    "{\"a\":NaN}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *message;
        size_t used;
        assert_int_equal(frame(bad[i], strlen(bad[i]) + 1, &message, &used), ERR_SYNTAX);
        assert_null(message);
    }
}

static void long_and_deep_messages_are_refused(void **state)
{
    (void)state;
    json_t *message;
    size_t used, len = CTL_MESSAGE_MAX + 1;
    char *text = malloc(len + 1);
    memset(text, ' ', len + 1);
    memcpy(text, "{}", 2);
    assert_int_equal(frame(text, len - 1, &message, &used), 0);
    assert_int_equal(used, 0);
    assert_int_equal(frame(text, len, &message, &used), ERR_LIMIT);
    text[len - 1] = 0;
    assert_int_equal(frame(text, len, &message, &used), 0);
    assert_int_equal(used, len);
    json_decref(message);
    memset(text, '[', len);
    memcpy(text, "{\"a\":", 5);
    text[len - 1] = 0;
    assert_int_equal(frame(text, len, &message, &used), ERR_SYNTAX);
    free(text);
}

static void flipped_octets_end_well(void **state)
{
    (void)state;
    char copy[sizeof call];
    for (size_t i = 0; i < sizeof call; i++) {
        for (int flip = 1; flip < 256; flip++) {
            json_t *message;
            size_t used;
            memcpy(copy, call, sizeof call);
            copy[i] = (char)(copy[i] ^ flip);
            int err = frame(copy, sizeof call, &message, &used);
            assert_true(err == 0 || err == ERR_SYNTAX);
            assert_true(used <= sizeof call);
            json_decref(message);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_messages_are_found),
        cmocka_unit_test(parts_wait_for_more),
        cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(long_and_deep_messages_are_refused),
        cmocka_unit_test(flipped_octets_end_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
