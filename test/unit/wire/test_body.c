#include "cases.h"

#define BODY(number, payload, want, what, hex)                                                     \
    {                                                                                              \
        number, PAYLOAD_##payload, want, what, hex                                                 \
    }

static const struct body_case cases[] = {
    BODY(1, KE, 0, "x25519", "001f0000 {32 09}"),
    BODY(2, KE, 0, "a group nobody knows", "ffff0000 01"),
    BODY(3, KE, 0, "reserved octets are ignored", "001fffff {32 09}"),
    BODY(4, NONCE, 0, "16 octets", "{16 5a}"),
    BODY(5, NONCE, 0, "256 octets", "{256 5a}"),
    BODY(6, IDi, 0, "IPv4", "01000000 0a000001"),
    BODY(7, IDi, 0, "IPv6", "05000000 {16 20}"),
    BODY(8, IDr, 0, "FQDN", "02000000 612e62"),
    BODY(9, IDi, 0, "RFC822", "03aabbcc 614062"),
    BODY(10, IDi, 0, "key id, any octets", "0b000000 00ff0a"),
    BODY(11, IDi, 0, "DN", "09000000 3000"),
    BODY(12, IDi, 0, "255 octets", "0b000000 {255 41}"),
    BODY(13, CERT, 0, "X.509", "04 3082"),
    BODY(14, CERTREQ, 0, "one hash", "04 {20 aa}"),
    BODY(15, CERTREQ, 0, "no hash: some peers send it", "04"),
    BODY(16, AUTH, 0, "shared key", "02000000 {32 11}"),
    BODY(17, AUTH, 0, "reserved octets are ignored", "0effffff 00"),
    BODY(18, CP, 0, "nothing", "01000000"),
    BODY(19, CP, 0, "a request", "01000000 00010000 00080000 00030000 000a0000"),
    BODY(20, CP, 0, "a reply", "02000000 00010004 0a000001 00080011 {16 20} 40"),
    BODY(21, CP, 0, "IPv6 address without prefix length", "02000000 00080010 {16 20}"),
    BODY(22, CP, 0, "the reserved bit is ignored", "01000000 80010000"),
    BODY(23, CP, 0, "a private attribute of any length", "01000000 5ba00003 010203"),
    BODY(24, CP, 0, "subnets", "02000000 000d0008 {8 00} 000f0011 {17 00} 000e0004 00010008"),

    BODY(101, KE, ERR_SYNTAX, "empty", ""),
    BODY(102, KE, ERR_SYNTAX, "three octets", "001f00"),
    BODY(103, KE, ERR_SYNTAX, "no value", "001f0000"),
    BODY(104, NONCE, ERR_SYNTAX, "empty", ""),
    BODY(105, NONCE, ERR_SYNTAX, "15 octets", "{15 5a}"),
    BODY(106, NONCE, ERR_SYNTAX, "257 octets", "{257 5a}"),
    BODY(107, IDi, ERR_SYNTAX, "empty", ""),
    BODY(108, IDi, ERR_SYNTAX, "head only", "02000000"),
    BODY(109, IDi, ERR_SYNTAX, "type 0", "00000000 61"),
    BODY(110, IDi, ERR_SYNTAX, "IPv4 of 3 octets", "01000000 0a0000"),
    BODY(111, IDi, ERR_SYNTAX, "IPv4 of 16 octets", "01000000 {16 0a}"),
    BODY(112, IDi, ERR_SYNTAX, "IPv6 of 4 octets", "05000000 0a000001"),
    BODY(113, IDi, ERR_SYNTAX, "FQDN with a NUL", "02000000 612e6200612e63"),
    BODY(114, IDi, ERR_SYNTAX, "RFC822 with a line end", "03000000 6140620a"),
    BODY(115, IDi, ERR_LIMIT, "256 octets (CVE 2025-9242's shape)", "0b000000 {256 41}"),
    BODY(116, IDi, ERR_LIMIT, "60,000 octets", "02000000 {60000 41}"),
    BODY(117, CERT, ERR_SYNTAX, "empty", ""),
    BODY(118, AUTH, ERR_SYNTAX, "empty", ""),
    BODY(119, AUTH, ERR_SYNTAX, "no data", "02000000"),
    BODY(120, CP, ERR_SYNTAX, "empty", ""),
    BODY(121, CP, ERR_SYNTAX, "three octets", "010000"),
    BODY(122, CP, ERR_SYNTAX, "attribute cut off", "01000000 000100"),
    BODY(123, CP, ERR_SYNTAX, "value cut off", "01000000 00010004 0a0000"),
    BODY(124, CP, ERR_SYNTAX, "length 65535", "01000000 0001ffff 0a000001"),
    BODY(125, CP, ERR_SYNTAX, "IPv4 address of 3", "01000000 00010003 0a0000"),
    BODY(126, CP, ERR_SYNTAX, "IPv4 address of 5", "01000000 00010005 0a00000000"),
    BODY(127, CP, ERR_SYNTAX, "IPv6 address of 18", "01000000 00080012 {18 00}"),
    BODY(128, CP, ERR_SYNTAX, "IPv6 DNS of 17", "01000000 000a0011 {17 00}"),
    BODY(129, CP, ERR_SYNTAX, "IPv4 subnet of 4", "01000000 000d0004 {4 00}"),
    BODY(130, CP, ERR_SYNTAX, "odd list of supported attributes", "01000000 000e0003 {3 00}"),
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

/* Identities of every length a payload can have (CVE 2025-9242): accepted up to 255, never read
 * past. */
static void test_identity_lengths(void **state)
{
    (void)state;
    static uint8_t octets[65532] = {IDENTITY_KEY_ID};
    struct identity id;
    for (size_t len = 0; len <= sizeof(octets); len += len < 600 ? 1 : 997) {
        struct bytes in = exact(octets, len);
        int want = len < 5 ? ERR_SYNTAX : len - 4 > IDENTITY_MAX ? ERR_LIMIT : 0;
        assert_int_equal(wire_id_read(in, &id), want);
        assert_int_equal(id.len, want == 0 ? len - 4 : 0);
        release(in);
    }
}

static void test_config_limit(void **state)
{
    (void)state;
    static struct wire_config config;
    static uint8_t octets[4 + 65 * 4] = {CONFIG_REQUEST};
    for (size_t i = 0; i < 65; i++)
        octets[4 + 4 * i + 1] = 1;
    assert_int_equal(wire_config_read((struct bytes){octets, 4 + 64 * 4}, &config), 0);
    assert_int_equal(config.count, WIRE_CONFIG_MAX);
    assert_int_equal(config.type, CONFIG_REQUEST);
    assert_int_equal(wire_config_read((struct bytes){octets, 4 + 65 * 4}, &config), ERR_LIMIT);
    struct wire_builder b;
    config.count = WIRE_CONFIG_MAX + 1;
    roundtrip_begin(&b);
    wire_put_config(&b, &config);
    assert_int_equal(wire_finish(&b).len, 0);
}

static void test_content(void **state)
{
    (void)state;
    struct wire_ke ke;
    struct bytes in = from_hex("00130000 0102");
    assert_int_equal(wire_ke_read(in, &ke), 0);
    assert_int_equal(ke.group, 19);
    assert_int_equal(ke.value.len, 2);
    assert_ptr_equal(ke.value.at, in.at + 4);
    release(in);
    static struct wire_config config;
    in = from_hex("02000000 80010004 0a000001 00030000");
    assert_int_equal(wire_config_read(in, &config), 0);
    assert_int_equal(config.count, 2);
    assert_int_equal(config.items[0].type, CONFIG_INTERNAL_IP4_ADDRESS);
    assert_int_equal(config.items[0].value.len, 4);
    assert_int_equal(config.items[1].value.len, 0);
    release(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_flips),        cmocka_unit_test(test_identity_lengths),
        cmocka_unit_test(test_config_limit), cmocka_unit_test(test_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
