#include "cases.h"

#define SA(number, want, what, hex)                                                                \
    {                                                                                              \
        number, PAYLOAD_SA, want, what, hex                                                        \
    }
/* ESP: aes256gcm16, esn. */
#define ESP_HEAD "00000020 01 03 04 02 11223344"
#define GCM256   "0300000c 01000014 800e0100"
#define ESN      "00000008 05000001"
#define IKE_SUITE4                                                                                 \
    GCM256 "03000008 02000006"                                                                     \
           "03000008 03000000"                                                                     \
           "00000008 0400001f"

static const struct body_case cases[] = {
    SA(1, 1, "ESP, one cipher, ESN", ESP_HEAD GCM256 ESN),
    SA(2, 1, "IKE without SPI", "0000002c 01 01 00 04" IKE_SUITE4),
    SA(3, 1, "IKE rekey, 8 octets of SPI", "00000034 01 01 08 04 0102030405060708" IKE_SUITE4),
    SA(4, 1, "a response may carry any number", "00000020 07 03 04 02 11223344" GCM256 ESN),
    SA(5, 2, "two proposals",
       "02000020 01 03 04 02 11223344" GCM256 ESN "00000020 02 03 04 02 11223344" GCM256 ESN),
    SA(6, 1, "AH", "0000001c 01 02 04 02 11223344 03000008 0300000c 00000008 05000001"),
    SA(7, 1, "an unknown attribute takes the transform out",
       "0000002c 01 03 04 03 11223344" GCM256 "0300000c 01000014 80100001" ESN),
    SA(8, 1, "an unknown long attribute takes the transform out",
       "00000030 01 03 04 03 11223344" GCM256 "03000010 01000014 0010 0004 01020304" ESN),
    SA(9, 0, "an unknown transform type drops the proposal",
       "00000028 01 03 04 03 11223344" GCM256 "03000008 0d000024" ESN),
    SA(12, 1, "additional key exchanges are known (RFC 9370)",
       "00000030 01 03 04 04 11223344" GCM256 "03000008 06000024"
       "03000008 0c000000" ESN),
    SA(10, 1, "... and keeps the other one",
       "02000028 01 03 04 03 11223344" GCM256 "03000008 0d000024" ESN
       "00000020 02 03 04 02 11223344" GCM256 ESN),
    SA(11, 0, "an unknown protocol drops the proposal", "0000000e 01 09 02 05 a1b2 c3c4c5c6"),
    SA(12, 1, "reserved octets are ignored",
       "00aa0020 01 03 04 02 11223344"
       "03bb000c 01cc0014 800e0100"
       "00dd0008 05ee0001"),
    SA(13, 1, "a transform said twice counts once",
       "0000002c 01 03 04 03 11223344" GCM256 GCM256 ESN),
    SA(14, 1, "a key length of zero takes the transform out",
       "0000002c 01 03 04 03 11223344" GCM256 "0300000c 01000014 800e0000" ESN),
    SA(15, 1, "two key lengths take the transform out",
       "00000030 01 03 04 03 11223344" GCM256 "03000010 01000014 800e0100 800e0080" ESN),

    SA(101, ERR_SYNTAX, "empty", ""),
    SA(102, ERR_SYNTAX, "one octet", "00"),
    SA(103, ERR_SYNTAX, "a proposal of length 0", "00000000 01 03 04 02 11223344" GCM256 ESN),
    SA(104, ERR_SYNTAX, "of length 7", "00000007 01 03 04 02"),
    SA(105, ERR_SYNTAX, "of length 65535", "0000ffff 01 03 04 02 11223344" GCM256 ESN),
    SA(106, ERR_SYNTAX, "one octet short", "00000021 01 03 04 02 11223344" GCM256 ESN),
    SA(107, ERR_SYNTAX, "last says more", "02000020 01 03 04 02 11223344" GCM256 ESN),
    SA(108, ERR_SYNTAX, "more says last",
       "00000020 01 03 04 02 11223344" GCM256 ESN "00000020 02 03 04 02 11223344" GCM256 ESN),
    SA(109, ERR_SYNTAX, "last is neither", "01000020 01 03 04 02 11223344" GCM256 ESN),
    SA(110, ERR_SYNTAX, "numbered from 0",
       "02000020 00 03 04 02 11223344" GCM256 ESN "00000020 01 03 04 02 11223344" GCM256 ESN),
    SA(111, ERR_SYNTAX, "numbered 1, 1",
       "02000020 01 03 04 02 11223344" GCM256 ESN "00000020 01 03 04 02 11223344" GCM256 ESN),
    SA(112, ERR_SYNTAX, "numbered 1, 3",
       "02000020 01 03 04 02 11223344" GCM256 ESN "00000020 03 03 04 02 11223344" GCM256 ESN),
    SA(113, ERR_SYNTAX, "no transforms", "00000010 01 03 04 00 11223344"),
    SA(114, ERR_SYNTAX, "fewer transforms than counted",
       "00000020 01 03 04 03 11223344" GCM256 ESN),
    SA(115, ERR_SYNTAX, "more transforms than counted",
       "00000028 01 03 04 02 11223344" GCM256 "03000008 05000000" ESN),
    SA(116, ERR_SYNTAX, "ESP without SPI", "0000001c 01 03 00 02" GCM256 ESN),
    SA(117, ERR_SYNTAX, "ESP with 8 octets of SPI",
       "00000024 01 03 08 02 1122334455667788" GCM256 ESN),
    SA(118, ERR_SYNTAX, "ESP with SPI 0", "00000020 01 03 04 02 00000000" GCM256 ESN),
    SA(119, ERR_SYNTAX, "IKE with SPI 0", "00000034 01 01 08 04 0000000000000000" IKE_SUITE4),
    SA(120, ERR_SYNTAX, "IKE with 4 octets of SPI", "00000030 01 01 04 04 01020304" IKE_SUITE4),
    SA(121, ERR_SYNTAX, "SPI length 255", "00000020 01 03 ff 02 11223344" GCM256 ESN),
    SA(122, ERR_SYNTAX, "a transform of length 0",
       "00000020 01 03 04 02 11223344 03000000 01000014 800e0100" ESN),
    SA(123, ERR_SYNTAX, "of length 7",
       "00000020 01 03 04 02 11223344 03000007 01000014 800e0100" ESN),
    SA(124, ERR_SYNTAX, "that reaches past the proposal",
       "00000020 01 03 04 02 11223344" GCM256 "00000009 05000001"),
    SA(125, ERR_SYNTAX, "transform: last says more",
       "00000020 01 03 04 02 11223344" GCM256 "03000008 05000001"),
    SA(126, ERR_SYNTAX, "transform: more says last",
       "00000020 01 03 04 02 11223344 0000000c 01000014 800e0100" ESN),
    SA(127, ERR_SYNTAX, "an attribute cut off",
       "0000001e 01 03 04 02 11223344 0300000a 01000014 800e" ESN),
    SA(128, ERR_SYNTAX, "an attribute longer than its transform",
       "00000020 01 03 04 02 11223344 0300000c 01000014 00100001" ESN),
    SA(129, ERR_SYNTAX, "a key length with a length of its own",
       "00000022 01 03 04 02 11223344 0300000e 01000014 000e0002 0100" ESN),
    SA(130, ERR_SYNTAX, "octets after the last proposal",
       "00000020 01 03 04 02 11223344" GCM256 ESN "00"),
    SA(131, ERR_SYNTAX, "CVE 2016-5391's relative: one octet of a second proposal",
       "02000020 01 03 04 02 11223344" GCM256 ESN "00"),
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
    struct proposal p[2];
    struct bytes in = from_hex("00000034 01 01 08 04 0102030405060708" IKE_SUITE4);
    assert_int_equal(wire_sa_read(in, p, 2), 1);
    assert_int_equal(p[0].number, 1);
    assert_int_equal(p[0].protocol, PROTOCOL_IKE);
    assert_int_equal(p[0].spi_len, 8);
    assert_int_equal(p[0].spi[7], 8);
    assert_int_equal(p[0].count, 4);
    assert_int_equal(proposal_find(&p[0], TRANSFORM_ENCR)->key_bits, 256);
    assert_int_equal(proposal_find(&p[0], TRANSFORM_KE)->id, 31);
    release(in);
    in = from_hex("0000002c 01 03 04 03 11223344" GCM256 "0300000c 01000014 80100001" ESN);
    assert_int_equal(wire_sa_read(in, p, 2), 1);
    assert_int_equal(p[0].count, 2); /* the cipher with the strange attribute is not there */
    release(in);
}

static struct bytes build_sa(const struct proposal *p, size_t count)
{
    struct wire_builder b;
    roundtrip_begin(&b);
    wire_put_sa(&b, p, count);
    return wire_finish(&b).len ? roundtrip_body(&b) : (struct bytes){0};
}

static void fill(struct proposal *p, size_t transforms)
{
    *p = (struct proposal){.protocol = PROTOCOL_ESP, .spi_len = 4, .spi = {1, 2, 3, 4}};
    for (size_t i = 0; i < transforms; i++)
        assert_true(proposal_add(p, TRANSFORM_ENCR, (uint16_t)(1 + i), 0));
}

static void test_limits(void **state)
{
    (void)state;
    static struct proposal many[PROPOSALS_MAX + 1], out[PROPOSALS_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        fill(&many[i], PROPOSAL_TRANSFORMS);
    struct bytes full = build_sa(many, PROPOSALS_MAX);
    assert_true(full.len > 0);
    assert_int_equal(wire_sa_read(full, out, PROPOSALS_MAX), PROPOSALS_MAX);
    assert_int_equal(wire_sa_read(full, out, ARRAY_LEN(out)), PROPOSALS_MAX);
    assert_int_equal(wire_sa_read(full, out, PROPOSALS_MAX - 1), ERR_LIMIT);
    assert_int_equal(wire_sa_read(full, out, 0), ERR_LIMIT);
    assert_int_equal(build_sa(many, PROPOSALS_MAX + 1).len, 0);
    assert_int_equal(build_sa(many, 0).len, 0);
}

/* The 33rd proposal and the 65th transform are refused, not dropped. */
static void test_over_limits(void **state)
{
    (void)state;
    static struct proposal out[64];
    static uint8_t octets[64 * 100];
    struct writer w = writer_of(octets, sizeof(octets));
    for (unsigned i = 0; i < 33; i++) {
        writer_u32(&w, (i < 32 ? 0x02000000u : 0) | 20);
        writer_u32(&w, (i + 1) << 24 | 0x030401);
        writer_u32(&w, 7);
        writer_u64(&w, 0x0000000805000001);
    }
    assert_int_equal(wire_sa_read(writer_view(&w), out, 64), ERR_LIMIT);
    w = writer_of(octets, sizeof(octets));
    writer_u32(&w, 12 + 65 * 8);
    writer_u32(&w, 0x01030441);
    writer_u32(&w, 7);
    for (unsigned i = 0; i < 65; i++)
        writer_u64(&w, (i < 64 ? 0x0300000801000000 : 0x0000000801000000) | i);
    assert_int_equal(wire_sa_read(writer_view(&w), out, 64), ERR_LIMIT);
}

static void test_builder_refuses(void **state)
{
    (void)state;
    struct proposal p;
    fill(&p, 1);
    p.spi_len = 9;
    assert_int_equal(build_sa(&p, 1).len, 0);
    fill(&p, 0);
    assert_int_equal(build_sa(&p, 1).len, 0);
    fill(&p, 1);
    p.count = 65;
    assert_int_equal(build_sa(&p, 1).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),           cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_flips),           cmocka_unit_test(test_content),
        cmocka_unit_test(test_limits),          cmocka_unit_test(test_over_limits),
        cmocka_unit_test(test_builder_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
