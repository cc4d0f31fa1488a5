#include "cases.h"

#define BODY(number, payload, want, what, hex)                                                     \
    {                                                                                              \
        number, PAYLOAD_##payload, want, what, hex                                                 \
    }

static const struct body_case cases[] = {
    BODY(1, NOTIFY, 0, "no SPI, no data", "00004000"),
    BODY(2, NOTIFY, 0, "data", "00004004 {20 01}"),
    BODY(3, NOTIFY, 0, "REKEY_SA", "03044009 11223344"),
    BODY(4, NOTIFY, 0, "an IKE SPI", "01080004 {8 01}"),
    BODY(5, NOTIFY, 0, "a type nobody knows", "0000ffff 01"),
    BODY(6, NOTIFY, 0, "a protocol nobody knows is for the caller to judge", "09000001"),
    BODY(7, DELETE, 0, "IKE", "01000000"),
    BODY(8, DELETE, 0, "one ESP SA", "03040001 11223344"),
    BODY(9, DELETE, 0, "AH", "02040002 11223344 55667788"),
    BODY(10, DELETE, 0, "many", "03040100 {1024 11}"),

    BODY(101, NOTIFY, ERR_SYNTAX, "empty", ""),
    BODY(102, NOTIFY, ERR_SYNTAX, "three octets", "000040"),
    BODY(103, NOTIFY, ERR_SYNTAX, "SPI length 1", "03014009 11"),
    BODY(104, NOTIFY, ERR_SYNTAX, "SPI length 3", "03034009 112233"),
    BODY(105, NOTIFY, ERR_SYNTAX, "SPI length 5", "03054009 1122334455"),
    BODY(106, NOTIFY, ERR_SYNTAX, "SPI length 16", "03104009 {16 11}"),
    BODY(107, NOTIFY, ERR_SYNTAX, "SPI length 255", "03ff4009 {255 11}"),
    BODY(108, NOTIFY, ERR_SYNTAX, "SPI cut off", "03044009 112233"),
    BODY(109, DELETE, ERR_SYNTAX, "empty", ""),
    BODY(110, DELETE, ERR_SYNTAX, "three octets", "030400"),
    BODY(111, DELETE, ERR_SYNTAX, "none counted", "03040000"),
    BODY(112, DELETE, ERR_SYNTAX, "one counted, none there", "03040001"),
    BODY(113, DELETE, ERR_SYNTAX, "one counted, three octets there", "03040001 112233"),
    BODY(114, DELETE, ERR_SYNTAX, "one counted, five octets there", "03040001 1122334455"),
    BODY(115, DELETE, ERR_SYNTAX, "65535 counted, one there", "0304ffff 11223344"),
    BODY(116, DELETE, ERR_SYNTAX, "SPI length 0", "03000001"),
    BODY(117, DELETE, ERR_SYNTAX, "SPI length 0, a million counted", "0300ffff"),
    BODY(118, DELETE, ERR_SYNTAX, "SPI length 8", "03080001 {8 11}"),
    BODY(119, DELETE, ERR_SYNTAX, "SPI length 255", "03ff0001 {255 11}"),
    BODY(120, DELETE, ERR_SYNTAX, "IKE with an SPI", "01080001 {8 11}"),
    BODY(121, DELETE, ERR_SYNTAX, "IKE with a count", "01000001"),
    BODY(122, DELETE, ERR_SYNTAX, "IKE with octets", "01000000 00"),
    BODY(123, DELETE, ERR_SYNTAX, "protocol 0 (CVE 2023-38710's relative)", "00000000"),
    BODY(124, DELETE, ERR_SYNTAX, "protocol 4", "04040001 11223344"),
};

static void test_cases(void **state)
{
    (void)state;
    check_cases(cases, ARRAY_LEN(cases));
}

static void test_truncations(void **state)
{
    (void)state;
    check_truncations(cases, ARRAY_LEN(cases), false);
}

static void test_flips(void **state)
{
    (void)state;
    check_flips(cases, ARRAY_LEN(cases));
}

static void test_find(void **state)
{
    (void)state;
    static const uint8_t broken[] = {0, 3, 0x40, 6, 1, 2, 3}, cookie[] = {7, 8}, nonce[16] = {9};
    struct bytes none = {0};
    struct wire_builder b;
    struct wire_chain chain;
    struct wire_notify_view n;
    roundtrip_begin(&b);
    wire_put(&b, PAYLOAD_NOTIFY, (struct bytes){broken, sizeof(broken)});
    wire_put_nonce(&b, (struct bytes){nonce, 16});
    wire_put_notify(&b, NOTIFY_COOKIE, (struct bytes){cookie, 2});
    wire_put_notify(&b, NOTIFY_INVALID_SYNTAX, none);
    wire_put_notify(&b, NOTIFY_COOKIE, none);
    wire_put_notify(&b, NOTIFY_NO_PROPOSAL_CHOSEN, none);
    assert_int_equal(wire_walk(wire_first(&b), wire_finish(&b), &chain), 0);
    assert_true(wire_notify_find(&chain, NOTIFY_COOKIE, &n)); /* not the broken one */
    assert_int_equal(n.data.len, 2);
    assert_true(wire_notify_error(&chain, &n));
    assert_int_equal(n.type, NOTIFY_INVALID_SYNTAX);
    assert_false(wire_notify_find(&chain, NOTIFY_REKEY_SA, &n));
    assert_int_equal(n.type, 0);
}

static void test_content(void **state)
{
    (void)state;
    struct wire_notify_view n;
    struct bytes in = from_hex("03044009 11223344 aa");
    assert_int_equal(wire_notify_read(in, &n), 0);
    assert_int_equal(n.protocol, PROTOCOL_ESP);
    assert_int_equal(n.type, NOTIFY_REKEY_SA);
    assert_int_equal(n.spi.len, 4);
    assert_int_equal(n.spi.at[3], 0x44);
    assert_int_equal(n.data.len, 1);
    release(in);
    struct wire_delete d;
    in = from_hex("03040002 11223344 55667788");
    assert_int_equal(wire_delete_read(in, &d), 0);
    assert_int_equal(d.count, 2);
    assert_int_equal(d.spis.len, 8);
    release(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),   cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_flips),   cmocka_unit_test(test_find),
        cmocka_unit_test(test_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
