#include "vectors.h"

#include "crypto/crypto.h"

static int parse(const char *text, uint8_t protocol, struct proposal *p, char bad[static 64])
{
    struct bytes word;
    int rc = suite_parse(text, protocol, p, &word);

    snprintf(bad, 64, "%.*s", (int)word.len, (const char *)word.at);
    return rc;
}

static void accepted(void **state)
{
    static const struct {
        const char *text;
        uint8_t protocol;
        const char *print;
    } cases[] = {
        {"aes256gcm16-prfsha384-x25519", PROTOCOL_IKE, "aes256gcm16-prfsha384-x25519"},
        {"x25519-prfsha384-aes256gcm16", PROTOCOL_IKE, "aes256gcm16-prfsha384-x25519"},
        {"AES256GCM16-PrfSHA256-Curve25519", PROTOCOL_IKE, "aes256gcm16-prfsha256-x25519"},
        {"aes128cbc-sha256-ecp256", PROTOCOL_IKE, "aes128-prfsha256-sha256-ecp256"},
        {"aes256-aes128-sha512-sha384-modp2048", PROTOCOL_IKE,
         "aes256-aes128-prfsha512-prfsha384-sha512-sha384-modp2048"},
        {"aes256-sha256-prfsha512-curve448", PROTOCOL_IKE, "aes256-prfsha512-sha256-x448"},
        {"chacha20poly1305-aes256gcm16-prfsha512-ecp521-modp4096", PROTOCOL_IKE,
         "chacha20poly1305-aes256gcm16-prfsha512-ecp521-modp4096"},
        {"aes256gcm16", PROTOCOL_ESP, "aes256gcm16-esn-noesn"},
        {"aes256gcm16-noesn", PROTOCOL_ESP, "aes256gcm16-noesn"},
        {"aes256gcm16-esn", PROTOCOL_ESP, "aes256gcm16-esn"},
        {"noesn-esn-aes128gcm16", PROTOCOL_ESP, "aes128gcm16-noesn-esn"},
        {"aes256gcm16-ecp256-x25519-noesn", PROTOCOL_ESP, "aes256gcm16-ecp256-x25519-noesn"},
        {"aes256cbc-sha256-sha256", PROTOCOL_ESP, "aes256-sha256-esn-noesn"},
        {"null-sha256", PROTOCOL_ESP, "null-sha256-esn-noesn"},
        {"3des-sha1-modp1024", PROTOCOL_IKE, "3des-prfsha1-sha1-modp1024"},
        {"aes128-aesxcbc-aescmac-modp1536", PROTOCOL_IKE,
         "aes128-prfaesxcbc-prfaescmac-aesxcbc-aescmac-modp1536"},
        {"aes128ccm8-aes256ccm16-prfsha256-brainpoolp256r1", PROTOCOL_IKE,
         "aes128ccm8-aes256ccm16-prfsha256-ecp256bp"},
        {"aes256gcm16-prfsha384-KE2_ecp256-x25519-ke7_X448-ke2_none-ke2_curve25519", PROTOCOL_IKE,
         "aes256gcm16-prfsha384-x25519-ke2_ecp256-ke2_none-ke2_x25519-ke7_x448"},
        {"aes256gcm16-x25519-ke1_ecp384", PROTOCOL_ESP, "aes256gcm16-x25519-esn-noesn-ke1_ecp384"},
        {"sha256-x25519-ke1_x448", PROTOCOL_AH, "sha256-x25519-esn-noesn-ke1_x448"},
        {"camellia256ctr-sha512-modp8192", PROTOCOL_ESP,
         "camellia256ctr-sha512-modp8192-esn-noesn"},
    };
    struct proposal p;
    char text[512], bad[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(parse(cases[i].text, cases[i].protocol, &p, bad), 0);
        assert_string_equal(suite_print_proposal(&p, text), cases[i].print);
        assert_int_equal(p.protocol, cases[i].protocol);
        assert_int_equal(p.number, 1);
        assert_int_equal(p.spi_len, 0);
    }
}

static void refused(void **state)
{
    static const struct {
        const char *text;
        uint8_t protocol;
        const char *bad;
    } cases[] = {
        {"", PROTOCOL_IKE, ""},
        {"-", PROTOCOL_IKE, ""},
        {"aes256gcm16-", PROTOCOL_ESP, ""},
        {"aes256gcm16--noesn", PROTOCOL_ESP, ""},
        {"aes257gcm16", PROTOCOL_ESP, "aes257gcm16"},
        {"aes256gcm16,noesn", PROTOCOL_ESP, "aes256gcm16,noesn"},
        {"aes256gcm16 -noesn", PROTOCOL_ESP, "aes256gcm16 "},
        {"aes256gcm1", PROTOCOL_ESP, "aes256gcm1"},
        {"aes256gcm16-3des", PROTOCOL_ESP, "3des"},
        {"aes256gcm16-null", PROTOCOL_ESP, "null"},
        {"aes256-null-sha256", PROTOCOL_ESP, "null"},
        {"null-aes256-sha256", PROTOCOL_ESP, "aes256"},
        {"null", PROTOCOL_ESP, "null"},
        {"null-sha256-modp2048", PROTOCOL_IKE, "null"},
        {"aes128ccm16-sha256", PROTOCOL_ESP, "sha256"},
        {"aes128ctr", PROTOCOL_ESP, "aes128ctr"},
        {"blowfish", PROTOCOL_ESP, "blowfish"},
        {"aes256-none", PROTOCOL_ESP, "none"},
        {"aes256-md5", PROTOCOL_ESP, "md5"},
        {"aes256gcm16-aes256", PROTOCOL_ESP, "aes256"},
        {"aes256-sha256-aes256gcm16", PROTOCOL_ESP, "aes256gcm16"},
        {"aes256gcm16-sha256", PROTOCOL_ESP, "sha256"},
        {"sha256-aes256gcm16", PROTOCOL_ESP, "aes256gcm16"},
        {"aes256gcm16-prfsha256", PROTOCOL_ESP, "prfsha256"},
        {"aes256gcm16-prfsha256-x25519-esn", PROTOCOL_IKE, "esn"},
        {"aes256gcm16-x25519", PROTOCOL_IKE, "aes256gcm16-x25519"},
        {"aes256gcm16-prfsha256", PROTOCOL_IKE, "aes256gcm16-prfsha256"},
        {"aes256-prfsha256-x25519", PROTOCOL_IKE, "aes256-prfsha256-x25519"},
        {"aes256-sha256", PROTOCOL_IKE, "aes256-sha256"},
        {"sha256-x25519", PROTOCOL_IKE, "sha256-x25519"},
        {"aes256", PROTOCOL_ESP, "aes256"},
        {"esn", PROTOCOL_ESP, "esn"},
        {"aes256gcm16-prfsha384-x25519-ke0_x448", PROTOCOL_IKE, "ke0_x448"},
        {"aes256gcm16-prfsha384-x25519-ke8_x448", PROTOCOL_IKE, "ke8_x448"},
        {"aes256gcm16-prfsha384-x25519-ke1_", PROTOCOL_IKE, "ke1_"},
        {"aes256gcm16-prfsha384-x25519-ke1_esn", PROTOCOL_IKE, "ke1_esn"},
        {"aes256gcm16-prfsha384-x25519-ke1x448", PROTOCOL_IKE, "ke1x448"},
        {"aes256gcm16-prfsha384-ke1_x448", PROTOCOL_IKE, "aes256gcm16-prfsha384-ke1_x448"},
        {"aes256gcm16-ke1_x448", PROTOCOL_ESP, "aes256gcm16-ke1_x448"},
    };
    struct proposal p, before;
    char bad[64];

    (void)state;
    memset(&p, 0x5a, sizeof(p));
    before = p;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(parse(cases[i].text, cases[i].protocol, &p, bad), ERR_SYNTAX);
        assert_string_equal(bad, cases[i].bad);
        assert_memory_equal(&p, &before, sizeof(p));
    }
    assert_int_equal(parse("aes256gcm16", PROTOCOL_AH, &p, bad), ERR_SYNTAX);
    assert_int_equal(parse("aes256gcm16", PROTOCOL_NONE, &p, bad), ERR_UNSUPPORTED);
    assert_int_equal(parse("ecp256", PROTOCOL_AH, &p, bad), ERR_SYNTAX);
    assert_int_equal(parse("null-sha256", PROTOCOL_AH, &p, bad), ERR_SYNTAX);
    assert_int_equal(parse("sha256-ecp256", PROTOCOL_AH, &p, bad), 0);
}

/* Everything that can be parsed prints as what can be parsed again. */
static void names(void **state)
{
    size_t total = 0;

    (void)state;
    for (uint8_t type = TRANSFORM_ENCR; type <= TRANSFORM_SN; type++)
        for (size_t i = 0; suite_name(type, i) != NULL; i++, total++)
            ;
    assert_int_equal(total, 39 + 6 + 9 + 18 + 2);
    assert_null(suite_name(TRANSFORM_SN + 1, 0));
    for (size_t i = 0; suite_name(TRANSFORM_ENCR, i) != NULL; i++) {
        struct proposal p;
        char text[128], back[32], bad[64];

        snprintf(text, sizeof(text), "%s", suite_name(TRANSFORM_ENCR, i));
        if (parse(text, PROTOCOL_ESP, &p, bad) < 0) {
            strcat(text, "-sha256");
            assert_int_equal(parse(text, PROTOCOL_ESP, &p, bad), 0);
        }
        assert_string_equal(suite_print(&p.transforms[0], back), suite_name(TRANSFORM_ENCR, i));
        assert_non_null(suite_encr(p.transforms[0].id, p.transforms[0].key_bits));
    }
}

static void unknown_numbers(void **state)
{
    static const struct {
        struct transform t;
        const char *print;
    } cases[] = {
        {{TRANSFORM_ENCR, 25, 128}, "encr-25/128"},
        {{TRANSFORM_ENCR, 3, 0}, "3des"},
        {{TRANSFORM_ENCR, 28, 256}, "encr-28/256"},
        {{TRANSFORM_ENCR, 20, 0}, "encr-20"},
        {{TRANSFORM_PRF, 9, 0}, "prf-9"},
        {{TRANSFORM_INTEG, 0, 0}, "none"},
        {{TRANSFORM_INTEG, 3, 0}, "integ-3"},
        {{TRANSFORM_KE, 36, 0}, "mlkem768"},
        {{TRANSFORM_KE, 38, 0}, "ke-38"},
        {{TRANSFORM_KE, 2, 0}, "modp1024"},
        {{TRANSFORM_SN, 2, 0}, "sn-2"},
        {{TRANSFORM_ADDKE1, 99, 0}, "ke1_99"},
        {{TRANSFORM_ADDKE7, 31, 0}, "ke7_x25519"},
        {{TRANSFORM_ADDKE1 + 1, 0, 0}, "ke2_none"},
        {{13, 36, 0}, "type13-36"},
        {{0, 0, 0}, "type0-0"},
        {{255, 65535, 65535}, "type255-65535/65535"},
        {{TRANSFORM_SN, 1, 0}, "esn"},
    };
    char text[32];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(suite_print(&cases[i].t, text), cases[i].print);
    assert_null(suite_encr(20, 0));
    assert_null(suite_encr(7, 0));
    assert_null(suite_encr(28, 256));
    assert_null(suite_encr(65535, 0));
    assert_null(suite_prf(1));
    assert_null(suite_integ(0));
    assert_null(suite_kex(1));
    assert_null(suite_kex(22));
    assert_null(suite_kex(0));
}

/* What works only where it is named says why, and the defaults have none of it. */
static void legacy(void **state)
{
    static const char *const fine[] = {"aes256gcm16", "aes192",     "null",   "modp6144",
                                       "modp8192",    "ecp512bp",   "sha256", "x25519",
                                       "prfsha512",   "aes192gcm16"};
    static const char *const old[] = {"3des",       "blowfish128", "camellia192", "camellia256ctr",
                                      "aes128ctr",  "aes256ccm8",  "aes128gcm12", "sha1",
                                      "aesxcbc",    "aescmac",     "prfsha1",     "prfaesxcbc",
                                      "prfaescmac", "modp1024",    "modp1536"};
    struct proposal p[4];
    struct transform t;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fine); i++) {
        assert_true(suite_find(fine[i], &t));
        assert_null(suite_legacy(&t));
    }
    for (size_t i = 0; i < ARRAY_LEN(old); i++) {
        assert_true(suite_find(old[i], &t));
        assert_non_null(suite_legacy(&t));
        assert_true(suite_rare(&t));
    }
    assert_false(suite_find("md5", &t));
    assert_false(suite_find("none", &t));
    for (uint8_t protocol = PROTOCOL_IKE; protocol <= PROTOCOL_ESP; protocol += 2) {
        size_t count = suite_defaults(protocol, p, 4);

        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < p[i].count; j++)
                assert_false(suite_rare(&p[i].transforms[j]));
    }
}

static void long_proposals_are_cut(void **state)
{
    struct proposal p = {.protocol = PROTOCOL_IKE};
    char text[512];

    (void)state;
    for (uint16_t i = 0; i < PROPOSAL_TRANSFORMS; i++)
        assert_true(proposal_add(&p, 200, (uint16_t)(10000 + i), 12345));
    suite_print_proposal(&p, text);
    assert_true(strlen(text) < 512);
    assert_string_equal(text + strlen(text) - 4, "-...");
    p.count = 0;
    assert_string_equal(suite_print_proposal(&p, text), "");
}

static void defaults(void **state)
{
    struct proposal p[4];
    char text[512];

    (void)state;
    assert_int_equal(suite_defaults(PROTOCOL_IKE, p, 4), 2);
    assert_string_equal(suite_print_proposal(&p[0], text),
                        "aes256gcm16-aes128gcm16-chacha20poly1305-prfsha384-prfsha256-prfsha512-"
                        "x25519-ecp256-ecp384-x448-ecp521-modp3072-modp4096-modp2048");
    assert_string_equal(suite_print_proposal(&p[1], text),
                        "aes256-aes128-prfsha384-prfsha256-prfsha512-sha256-sha384-sha512-"
                        "x25519-ecp256-ecp384-x448-ecp521-modp3072-modp4096-modp2048");
    assert_int_equal(p[0].number, 1);
    assert_int_equal(p[1].number, 2);
    assert_int_equal(suite_defaults(PROTOCOL_ESP, p, 4), 2);
    assert_string_equal(suite_print_proposal(&p[0], text),
                        "aes256gcm16-aes128gcm16-chacha20poly1305-esn-noesn");
    assert_string_equal(suite_print_proposal(&p[1], text),
                        "aes256-aes128-sha256-sha384-sha512-esn-noesn");
    assert_int_equal(suite_defaults(PROTOCOL_ESP, p, 1), 1);
    assert_int_equal(suite_defaults(PROTOCOL_ESP, p, 0), 0);
}

static void sizes(void **state)
{
    const struct encr_alg *e;

    (void)state;
    e = suite_encr(20, 256);
    assert_int_equal(suite_encr_keymat(e), 36); /* RFC 4106 section 8.1 */
    assert_true(e->aead && e->attribute && e->iv_len == 8 && e->icv_len == 16);
    assert_int_equal(suite_encr_keymat(suite_encr(20, 128)), 20);
    e = suite_encr(28, 0);
    assert_int_equal(suite_encr_keymat(e), 36); /* RFC 7634 section 2 */
    assert_true(e->aead && !e->attribute);
    e = suite_encr(12, 256);
    assert_int_equal(suite_encr_keymat(e), 32);
    assert_true(!e->aead && e->block == 16 && e->iv_len == 16 && e->icv_len == 0);
    assert_int_equal(suite_integ(12)->icv_len, 16);
    assert_int_equal(suite_integ(13)->icv_len, 24);
    assert_int_equal(suite_integ(14)->icv_len, 32);
    assert_int_equal(suite_kex(21)->public_len, 132);
    assert_int_equal(suite_kex(21)->secret_len, 66);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted), cmocka_unit_test(refused),
        cmocka_unit_test(names),    cmocka_unit_test(unknown_numbers),
        cmocka_unit_test(legacy),   cmocka_unit_test(long_proposals_are_cut),
        cmocka_unit_test(defaults), cmocka_unit_test(sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
