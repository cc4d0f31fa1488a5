/* Tables of numbered cases for the payload decoders, and what is done to every one of them. */
#ifndef SHRIKE_TEST_WIRE_CASES_H
#define SHRIKE_TEST_WIRE_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "roundtrip.h"

struct body_case {
    int number;
    uint8_t payload;
    int want; /* what roundtrip() gives: a count or 0, or the error */
    const char *what;
    const char *hex; /* blanks are ignored; {n xx} is n times xx */
};

/* The octets in memory of exactly that size, so that the sanitizer sees the first one too many. */
static inline struct bytes exact(const void *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    if (len > 0)
        memcpy(copy, data, len);
    return (struct bytes){copy, len};
}

static inline void release(struct bytes bytes)
{
    free((void *)(uintptr_t)bytes.at);
}

static inline struct bytes from_hex(const char *hex)
{
    static uint8_t octets[70000];
    size_t len = 0;
    for (const char *c = hex; *c;) {
        unsigned value, times = 1;
        int used = 0;
        if (*c == ' ') {
            c++;
            continue;
        }
        if (sscanf(c, "{%u %2x}%n", &times, &value, &used) != 2 || used == 0) {
            times = 1;
            used = 2;
            assert_int_equal(sscanf(c, "%2x", &value), 1);
        }
        assert_true(len + times <= sizeof(octets));
        memset(octets + len, (int)value, times);
        len += times;
        c += used;
    }
    return exact(octets, len);
}

/* Each case gives what the table says. */
static inline void check_cases(const struct body_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct bytes in = from_hex(cases[i].hex);
        int got = roundtrip(cases[i].payload, in);
        if (got != cases[i].want)
            fail_msg("case %d (%s): %d, not %d", cases[i].number, cases[i].what, got,
                     cases[i].want);
        release(in);
    }
}

/* Every truncation of every good case is read without a fault; with `refused` none is accepted. */
static inline void check_truncations(const struct body_case *cases, size_t count, bool refused)
{
    for (size_t i = 0; i < count; i++) {
        struct bytes whole = from_hex(cases[i].hex);
        for (size_t len = 0; len < whole.len && cases[i].want >= 0; len++) {
            struct bytes in = exact(whole.at, len);
            int got = roundtrip(cases[i].payload, in);
            if (refused && got >= 0)
                fail_msg("case %d (%s): %zu of %zu octets were accepted", cases[i].number,
                         cases[i].what, len, whole.len);
            release(in);
        }
        release(whole);
    }
}

/* Every octet of every case set to values that lengths and counts go wrong by; every one octet
 * more.
 */
static inline void check_flips(const struct body_case *cases, size_t count)
{
    static const uint8_t values[] = {0, 1, 2, 3, 4, 7, 8, 9, 16, 40, 0x7f, 0x80, 0xfe, 0xff};
    for (size_t i = 0; i < count; i++) {
        struct bytes whole = from_hex(cases[i].hex);
        uint8_t *octets = (uint8_t *)(uintptr_t)whole.at;
        for (size_t at = 0; at < whole.len && at < 400; at++) {
            uint8_t before = octets[at];
            for (size_t v = 0; v < ARRAY_LEN(values) + 2; v++) {
                octets[at] =
                    v < ARRAY_LEN(values) ? values[v] : (uint8_t)(before + (v % 2 ? 1 : -1));
                (void)roundtrip(cases[i].payload, whole); /* holds or aborts */
            }
            octets[at] = before;
        }
        release(whole);
    }
}

#endif
