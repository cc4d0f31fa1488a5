/* Secrets, units and near words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the four above */
#include <cmocka.h>

#include "conf/conf.h"

static struct bytes text(const char *s)
{
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

static void weak_secrets_are_named(void **state)
{
    (void)state;
    static const char *const weak[] = {
        "",
        "short",
        "fifteen-letters",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "abababababababababababab",
        "abcdefgabcdefgabcdefgabcdefg",
        "passwordpassword12345",
        "Password123456789!",
        "shrike-vpn-secret-2024",
        "changemechangeme12",
        "1234567890123456",
        "abcdefghijklmnopqrstuvwxyz",
        "ThisIsMySharedSecretKey",
    };
    for (size_t i = 0; i < ARRAY_LEN(weak); i++) {
        if (!conf_psk_weakness(text(weak[i])))
            fail_msg("\"%s\" passes", weak[i]);
    }
    static const char *const strong[] = {
        "mimosa-vellum-71-okapi-quartz", "q8Zt0v3LxW9sD2fK",         "a secret of twenty octets",
        "Vb2vT4cJ0e6Wm1xq+R7yHg==",      "0af3c9d1e5b7428896f0aa31",
    };
    for (size_t i = 0; i < ARRAY_LEN(strong); i++) {
        const char *why = conf_psk_weakness(text(strong[i]));
        if (why)
            fail_msg("\"%s\": %s", strong[i], why);
    }
    uint8_t random[32];
    for (int i = 0; i < 1000; i++) {
        random_fill(&random_system, random, sizeof random);
        assert_null(conf_psk_weakness((struct bytes){random, sizeof random}));
    }
}

static void secrets_are_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to; /* to NULL = refused */
    } cases[] = {
        {"plain text", "plain text"},
        {"plain text\n", "plain text"},
        {"plain text\r\n", "plain text"},
        {"two\nlines\n", "two\nlines"},
        {"0x414243", "ABC"},
        {"0X6a6B", "jk"},
        {"0sQUJD", "ABC"},
        {"0sQUI=", "AB"},
        {"0sQUI", "AB"},
        {"0sQQ==\n", "A"},
        {"0x", "0x"},
        {"0x1", NULL},
        {"0xzz", NULL},
        {"0s!!!!", NULL},
        {"0sQ", NULL},
        {"0s=", NULL},
        {"", NULL},
        {"\n", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t out[CONF_PSK_MAX];
        size_t len = 0;
        int err = conf_psk_decode(text(cases[i].from), out, &len);
        assert_int_equal(err == 0, cases[i].to != NULL);
        if (cases[i].to) {
            assert_int_equal(len, strlen(cases[i].to));
            assert_memory_equal(out, cases[i].to, len);
        }
    }
    char long_text[3 + 2 * CONF_PSK_MAX + 3];
    uint8_t out[CONF_PSK_MAX];
    size_t len;
    memset(long_text, '4', sizeof long_text);
    struct bytes b = {(uint8_t *)long_text, CONF_PSK_MAX};
    assert_int_equal(conf_psk_decode(b, out, &len), 0);
    b.len++;
    assert_int_equal(conf_psk_decode(b, out, &len), ERR_LIMIT);
    memcpy(long_text, "0x", 2);
    b.len = 2 + 2 * CONF_PSK_MAX;
    assert_int_equal(conf_psk_decode(b, out, &len), 0);
    assert_int_equal(len, CONF_PSK_MAX);
    b.len += 2;
    assert_int_equal(conf_psk_decode(b, out, &len), ERR_LIMIT);
    memcpy(long_text, "0s", 2);
    assert_int_equal(conf_psk_decode(b, out, &len), ERR_LIMIT);
}

static void durations_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        uint64_t seconds;
    } good[] = {{"90", 90},     {"30s", 30},       {"10m", 600},           {"1h30m", 5400},
                {"2d", 172800}, {"1w", 7 * 86400}, {"1w1d1h1m1s", 694861}, {"0", 0}};
    static const char *const bad[] = {
        "",  "m", "1h1h", "1m1h", "1x", "1h30", "-1", "1.5h", " 1h", "1h ", "99999999999999999999w",
        "1H"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        uint64_t v = 1234567;
        assert_true(conf_duration(good[i].from, &v));
        assert_true(v == good[i].seconds);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint64_t v;
        assert_false(conf_duration(bad[i], &v));
    }
}

static void near_words_are_found(void **state)
{
    (void)state;
    static const char *const words[] = {"gateway", "up",     "down",       "status", "rekey",
                                        "check",   "config", "completion", "pki ca", "help"};
    static const struct {
        const char *typed, *meant;
    } cases[] = {
        {"statsu", "status"},   {"Status", "status"}, {"stat", "status"},
        {"dwon", "down"},       {"u", "up"},          {"hepl", "help"},
        {"gatewya", "gateway"}, {"chekc", "check"},   {"confgi", "config"},
        {"xyzzy", NULL},        {"", NULL},           {"q", NULL},
        {"reload", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *near = conf_closest(cases[i].typed, words, ARRAY_LEN(words));
        if (!near != !cases[i].meant || (near && strcmp(near, cases[i].meant)))
            fail_msg("\"%s\" is near \"%s\"", cases[i].typed, near ? near : "nothing");
    }
    char huge[1000];
    memset(huge, 's', sizeof huge - 1);
    huge[sizeof huge - 1] = 0;
    assert_null(conf_closest(huge, words, ARRAY_LEN(words)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weak_secrets_are_named),
        cmocka_unit_test(secrets_are_decoded),
        cmocka_unit_test(durations_are_read),
        cmocka_unit_test(near_words_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
