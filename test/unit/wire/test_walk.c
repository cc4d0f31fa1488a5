#include "cases.h"

static struct wire_chain chain;

static int walk_hex(uint8_t first, const char *hex)
{
    struct bytes in = from_hex(hex);
    int err = wire_walk(first, in, &chain);
    release(in);
    return err;
}

static const struct {
    int number;
    uint8_t first;
    int want;
    size_t count;
    const char *what, *hex;
} chains[] = {
    {1, 0, 0, 0, "nothing", ""},
    {2, 40, 0, 1, "an empty body", "00000004"},
    {3, 40, 0, 2, "two", "28000005 aa 00000004"},
    {4, 200, 0, 2, "unknown ones are kept", "c9000005 aa 00800004"},
    {5, 46, 0, 1, "SK ends the chain, whatever comes inside", "2900000c {8 00}"},
    {6, 53, 0, 1, "so does SKF", "2300000c {8 00}"},
    {7, 41, 0, 2, "a notify before SK", "2e000004 27000008 {4 00}"},
    {8, 40, 0, 1, "reserved bits are ignored", "007f0004"},

    {101, 0, ERR_SYNTAX, 0, "no payload, but octets", "00"},
    {102, 40, ERR_SYNTAX, 0, "a payload, but no octets", ""},
    {103, 40, ERR_SYNTAX, 0, "three octets", "000000"},
    {104, 40, ERR_SYNTAX, 0, "length 0", "00000000"},
    {105, 40, ERR_SYNTAX, 0, "length 1", "00000001"},
    {106, 40, ERR_SYNTAX, 0, "length 2", "00000002"},
    {107, 40, ERR_SYNTAX, 0, "length 3", "00000003"},
    {108, 40, ERR_SYNTAX, 0, "length 0, which must not loop", "28000000 28000000"},
    {109, 40, ERR_SYNTAX, 0, "one octet short", "00000006 aa"},
    {110, 40, ERR_SYNTAX, 0, "length 65535", "0000ffff aa"},
    {111, 40, ERR_SYNTAX, 0, "octets left over", "00000004 00"},
    {112, 40, ERR_SYNTAX, 0, "the next one missing", "28000004"},
    {113, 46, ERR_SYNTAX, 0, "a payload after SK", "00000008 {4 00} 00000004"},
};

static void test_chains(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(chains); i++) {
        int err = walk_hex(chains[i].first, chains[i].hex);
        if (err != chains[i].want || chain.count != chains[i].count)
            fail_msg("case %d (%s): %d with %zu payloads", chains[i].number, chains[i].what, err,
                     chain.count);
    }
}

static void test_content(void **state)
{
    (void)state;
    struct bytes in = from_hex("c8000005 aa 2e800006 bbcc 27000008 {4 00}");
    assert_int_equal(wire_walk(40, in, &chain), 0);
    assert_int_equal(chain.count, 3);
    assert_int_equal(chain.at[0].type, PAYLOAD_NONCE);
    assert_int_equal(chain.at[0].body.at[0], 0xaa);
    assert_false(chain.at[0].critical);
    assert_int_equal(chain.at[1].type, 200);
    assert_true(chain.at[1].critical);
    assert_int_equal(chain.at[1].body.len, 2);
    assert_int_equal(chain.at[2].type, PAYLOAD_SK);
    assert_int_equal(chain.at[2].next, PAYLOAD_AUTH);
    assert_ptr_equal(wire_unknown_critical(&chain), &chain.at[1]);
    assert_ptr_equal(wire_find(&chain, PAYLOAD_SK), &chain.at[2]);
    assert_null(wire_find(&chain, PAYLOAD_SA));
    assert_int_equal(wire_count(&chain, PAYLOAD_NONCE), 1);
    assert_int_equal(wire_count(&chain, PAYLOAD_KE), 0);
    release(in);
}

/* The critical bit on a payload we know says nothing, RFC 7296 2.5. */
static void test_critical(void **state)
{
    (void)state;
    assert_int_equal(walk_hex(PAYLOAD_NONCE, "29800004 00800004"), 0);
    assert_null(wire_unknown_critical(&chain));
    assert_int_equal(walk_hex(PAYLOAD_NONCE, "ff800004 00000004"), 0);
    assert_null(wire_unknown_critical(&chain)); /* unknown, but not critical */
    for (unsigned type = 1; type < 256; type++) {
        static const uint8_t one[] = {0, 0x80, 0, 4};
        char text[WIRE_NAME_TEXT];
        assert_int_equal(wire_walk((uint8_t)type, (struct bytes){one, 4}, &chain), 0);
        bool known = strncmp(wire_payload_name((uint8_t)type, text), "payload-", 8) != 0;
        assert_int_equal(wire_unknown_critical(&chain) == NULL, known);
    }
}

static void test_payload_limit(void **state)
{
    (void)state;
    static uint8_t octets[200 * 4];
    for (size_t count = 1; count <= 200; count++) { /* 1..200 outer payloads, CVE 2026-12413 */
        memset(octets, 0, sizeof(octets));
        for (size_t i = 0; i < count; i++) {
            octets[4 * i] = i + 1 < count ? 200 : 0;
            octets[4 * i + 3] = 4;
        }
        struct bytes in = exact(octets, 4 * count);
        assert_int_equal(wire_walk(200, in, &chain), count > WIRE_PAYLOADS_MAX ? ERR_LIMIT : 0);
        assert_int_equal(chain.count, count > WIRE_PAYLOADS_MAX ? 0 : count);
        release(in);
    }
}

static void test_header(void **state)
{
    (void)state;
    struct wire_header h;
    struct bytes in =
        from_hex("0102030405060708 1112131415161718 21 20 22 08 01020304 0000001d ff");
    assert_int_equal(wire_header_read(in, &h), 0);
    assert_true(h.spi_i == 0x0102030405060708 && h.spi_r == 0x1112131415161718);
    assert_int_equal(h.next_payload, PAYLOAD_SA);
    assert_int_equal(h.version, 0x20);
    assert_int_equal(h.exchange, EXCHANGE_IKE_SA_INIT);
    assert_int_equal(h.flags, FLAG_INITIATOR);
    assert_int_equal(h.message_id, 0x01020304);
    assert_int_equal(h.length, 29);
    uint8_t *octets = (uint8_t *)(uintptr_t)in.at;
    for (size_t len = 0; len < in.len; len++) { /* also with a length field that agrees */
        struct bytes cut = exact(in.at, len);
        assert_int_equal(wire_header_read(cut, &h), ERR_SYNTAX);
        if (len == WIRE_HEADER_LEN - 1)
            assert_int_equal(h.length, 0);
        release(cut);
    }
    static const uint32_t wrong[] = {0,  1,  2,     3,          4,          27,
                                     28, 30, 65535, 0x7fffffff, 0x8000001d, 0xffffffff};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        for (size_t k = 0; k < 4; k++)
            octets[24 + k] = (uint8_t)(wrong[i] >> (24 - 8 * k));
        assert_int_equal(wire_header_read(in, &h), ERR_SYNTAX);
    }
    release(in);
}

static void test_names(void **state)
{
    (void)state;
    char text[WIRE_NAME_TEXT];
    assert_string_equal(wire_exchange_name(EXCHANGE_CREATE_CHILD_SA, text), "CREATE_CHILD_SA");
    assert_string_equal(wire_exchange_name(200, text), "exchange-200");
    assert_string_equal(wire_payload_name(PAYLOAD_TSr, text), "TSr");
    assert_string_equal(wire_payload_name(0, text), "payload-0");
    assert_string_equal(wire_notify_name(NOTIFY_COOKIE, text), "COOKIE");
    assert_string_equal(wire_notify_name(65535, text), "notify-65535");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chains),   cmocka_unit_test(test_content),
        cmocka_unit_test(test_critical), cmocka_unit_test(test_payload_limit),
        cmocka_unit_test(test_header),   cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
