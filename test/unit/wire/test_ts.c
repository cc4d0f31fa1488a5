#include "cases.h"

#define TS(number, want, what, hex)                                                                \
    {                                                                                              \
        number, PAYLOAD_TSi, want, what, hex                                                       \
    }
#define ANY4 "07000010 0000ffff 00000000 ffffffff"
#define ANY6 "08000028 0000ffff {16 00} {16 ff}"

static const struct body_case cases[] = {
    TS(1, 1, "all of IPv4", "01000000" ANY4),
    TS(2, 1, "all of IPv6", "01000000" ANY6),
    TS(3, 2, "both", "02000000" ANY4 ANY6),
    TS(4, 1, "one address, UDP 53", "01000000 07110010 00350035 0a000001 0a000001"),
    TS(5, 1, "reserved octets are ignored", "01aabbcc" ANY4),
    TS(6, 1, "an unknown type is skipped", "02000000 09000008 01020304" ANY4),
    TS(7, 0, "only unknown types", "01000000 0a000004"),
    TS(8, 1, "opaque ports", "01000000 07060010 ffff0000 00000000 ffffffff"),
    TS(9, 1, "the last port only", "01000000 07060010 ffffffff 00000000 ffffffff"),

    TS(101, ERR_SYNTAX, "empty", ""),
    TS(102, ERR_SYNTAX, "no selectors", "00000000"),
    TS(103, ERR_SYNTAX, "no selectors, but octets", "00000000" ANY4),
    TS(104, ERR_SYNTAX, "fewer than counted", "02000000" ANY4),
    TS(105, ERR_SYNTAX, "more than counted", "01000000" ANY4 ANY4),
    TS(106, ERR_SYNTAX, "255 counted, one there", "ff000000" ANY4),
    TS(107, ERR_SYNTAX, "length 0", "01000000 07000000 0000ffff 00000000 ffffffff"),
    TS(108, ERR_SYNTAX, "length 3", "01000000 07000003 0000ffff 00000000 ffffffff"),
    TS(109, ERR_SYNTAX, "length 4", "01000000 07000004 0000ffff 00000000 ffffffff"),
    TS(110, ERR_SYNTAX, "length 4 alone (CVE 2023-23009's shape)", "01000000 07000004"),
    TS(111, ERR_SYNTAX, "length 15", "01000000 0700000f 0000ffff 00000000 ffffff"),
    TS(112, ERR_SYNTAX, "length 17", "01000000 07000011 0000ffff 00000000 ffffffff 00"),
    TS(113, ERR_SYNTAX, "length 65535", "01000000 0700ffff 0000ffff 00000000 ffffffff"),
    TS(114, ERR_SYNTAX, "IPv6 with IPv4's length", "01000000 08000010 0000ffff 00000000 ffffffff"),
    TS(115, ERR_SYNTAX, "IPv4 with IPv6's length", "01000000 07000028 0000ffff {16 00} {16 ff}"),
    TS(116, ERR_SYNTAX, "addresses the wrong way round",
       "01000000 07000010 0000ffff 0a000002 0a000001"),
    TS(117, ERR_SYNTAX, "IPv6 addresses the wrong way round",
       "01000000 08000028 0000ffff {16 ff} {16 00}"),
    TS(118, ERR_SYNTAX, "ports the wrong way round",
       "01000000 07060010 00350034 00000000 ffffffff"),
    TS(119, ERR_SYNTAX, "opaque ports and wrong addresses",
       "01000000 07060010 ffff0000 0a000002 0a000001"),
    TS(120, ERR_SYNTAX, "an unknown type of length 0", "02000000 09000000" ANY4),
    TS(121, ERR_SYNTAX, "octets after the last", "01000000" ANY4 "00"),
};

static void test_cases(void **state)
{
    (void)state;
    check_cases(cases, ARRAY_LEN(cases));
}

static void test_truncations(void **state)
{
    (void)state;
    check_truncations(cases, ARRAY_LEN(cases), true);
}

static void test_flips(void **state)
{
    (void)state;
    check_flips(cases, ARRAY_LEN(cases));
}

static void test_content(void **state)
{
    (void)state;
    char text[SELECTOR_TEXT];
    struct selector s[2];
    struct bytes in = from_hex("01000000 07110010 00350035 0a000001 0a0000ff");
    assert_int_equal(wire_ts_read(in, s, 2), 1);
    assert_int_equal(s[0].protocol, 17);
    assert_int_equal(s[0].port_low, 53);
    assert_int_equal(s[0].low.family, 4);
    assert_int_equal(s[0].high.octets[3], 255);
    assert_non_null(selector_print(&s[0], text));
    release(in);
}

static void test_limits(void **state)
{
    (void)state;
    static struct selector many[256], out[256];
    static uint8_t octets[64 + 256 * 16];
    struct wire_builder b;
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = selector_any(i % 2 ? 4 : 6);
    roundtrip_begin(&b);
    wire_put_ts(&b, PAYLOAD_TSr, many, WIRE_SELECTORS_MAX);
    struct bytes body = roundtrip_body(&b);
    assert_int_equal(wire_ts_read(body, out, 256), WIRE_SELECTORS_MAX);
    assert_int_equal(wire_ts_read(body, out, 254), ERR_LIMIT);
    wire_begin_inner(&b, octets, sizeof(octets));
    wire_put_ts(&b, PAYLOAD_TSr, many, 256);
    assert_int_equal(wire_finish(&b).len, 0);
    wire_begin_inner(&b, octets, sizeof(octets));
    wire_put_ts(&b, PAYLOAD_TSr, many, 0);
    assert_int_equal(wire_finish(&b).len, 0);
    many[0].low.family = 0;
    wire_begin_inner(&b, octets, sizeof(octets));
    wire_put_ts(&b, PAYLOAD_TSr, many, 1);
    assert_int_equal(wire_finish(&b).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),  cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_flips),  cmocka_unit_test(test_content),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
