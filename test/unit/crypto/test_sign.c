/* Signatures: Wycheproof, our own key kinds both ways, and AlgorithmIdentifiers that must be
 * refused. */
#include "vectors.h"

#include "crypto/crypto.h"

/* ---- Wycheproof */

struct tally {
    size_t accepted, refused;
};

static void one_case(const struct public_key *key, enum sign_scheme scheme, const json_t *test,
                     struct tally *tally)
{
    struct bytes message = vectors_hex(test, "msg"), signature = vectors_hex(test, "sig");
    const char *want = vectors_text(test, "result");
    int rc = verify(key, scheme, message, signature);
    if (strcmp(want, "valid") == 0 && rc != 0)
        fail_msg("case %d is valid and was refused: %d", (int)vectors_int(test, "tcId"), rc);
    /* "acceptable" is a DigestInfo without NULL or the like: pinned as refused */
    if (strcmp(want, "valid") != 0 && rc != ERR_AUTH)
        fail_msg("case %d is %s and gave %d", (int)vectors_int(test, "tcId"), want, rc);
    tally->accepted += rc == 0;
    tally->refused += rc != 0;
    vectors_free(message);
    vectors_free(signature);
}

static void run_file(const char *name, enum sign_scheme scheme)
{
    char path[128];
    snprintf(path, sizeof(path), "wycheproof/%s_test.json", name);
    json_t *doc = vectors_load(path);
    if (!doc)
        skip();
    struct tally tally = {0, 0};
    size_t g, t;
    json_t *group, *test;
    json_array_foreach(json_object_get(doc, "testGroups"), g, group)
    {
        struct bytes der = vectors_hex(group, "publicKeyDer");
        struct public_key *key;
        assert_int_equal(public_key_parse(der, &key), 0);
        json_array_foreach(json_object_get(group, "tests"), t, test)
            one_case(key, scheme, test, &tally);
        public_key_free(key);
        vectors_free(der);
    }
    assert_int_equal(tally.accepted + tally.refused, vectors_int(doc, "numberOfTests"));
    assert_true(tally.accepted > 0);
    assert_true(tally.refused > 0);
    json_decref(doc);
}

static void wycheproof_ecdsa(void **state)
{
    (void)state;
    run_file("ecdsa_secp256r1_sha256", SIGN_ECDSA_SHA256);
    run_file("ecdsa_secp384r1_sha384", SIGN_ECDSA_SHA384);
    run_file("ecdsa_secp521r1_sha512", SIGN_ECDSA_SHA512);
}

static void wycheproof_ecdsa_raw(void **state)
{
    (void)state;
    run_file("ecdsa_secp256r1_sha256_p1363", SIGN_ECDSA_P256_RAW);
    run_file("ecdsa_secp384r1_sha384_p1363", SIGN_ECDSA_P384_RAW);
    run_file("ecdsa_secp521r1_sha512_p1363", SIGN_ECDSA_P521_RAW);
}

static void wycheproof_ed25519(void **state)
{
    (void)state;
    run_file("ed25519", SIGN_ED25519);
}

static void wycheproof_rsa(void **state)
{
    (void)state;
    run_file("rsa_signature_2048_sha256", SIGN_RSA_PKCS1_SHA256);
    run_file("rsa_signature_3072_sha256", SIGN_RSA_PKCS1_SHA256);
    run_file("rsa_signature_4096_sha256", SIGN_RSA_PKCS1_SHA256);
    run_file("rsa_signature_4096_sha384", SIGN_RSA_PKCS1_SHA384);
    run_file("rsa_signature_4096_sha512", SIGN_RSA_PKCS1_SHA512);
}

static void wycheproof_pss(void **state)
{
    (void)state;
    run_file("rsa_pss_2048_sha256_mgf1_32", SIGN_RSA_PSS_SHA256);
    run_file("rsa_pss_3072_sha256_mgf1_32", SIGN_RSA_PSS_SHA256);
    run_file("rsa_pss_4096_sha256_mgf1_32", SIGN_RSA_PSS_SHA256);
    run_file("rsa_pss_4096_sha384_mgf1_48", SIGN_RSA_PSS_SHA384);
    run_file("rsa_pss_4096_sha512_mgf1_64", SIGN_RSA_PSS_SHA512);
}

static enum sign_scheme pss_scheme(const json_t *group)
{
    static const struct {
        const char *hash;
        int salt;
        enum sign_scheme scheme;
    } known[] = {
        {"SHA-256", 32, SIGN_RSA_PSS_SHA256},
        {"SHA-384", 48, SIGN_RSA_PSS_SHA384},
        {"SHA-512", 64, SIGN_RSA_PSS_SHA512},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(vectors_text(group, "sha"), known[i].hash) == 0 &&
            strcmp(vectors_text(group, "mgfSha"), known[i].hash) == 0 &&
            vectors_int(group, "sLen") == known[i].salt)
            return known[i].scheme;
    }
    return SIGN_NONE;
}

/* All combinations of hash, MGF hash and salt length, each valid by its own parameters. Ours are
 * three of them; every other one must fail under each of ours. */
static void wycheproof_pss_parameters(void **state)
{
    (void)state;
    json_t *doc = vectors_load("wycheproof/rsa_pss_misc_params_test.json");
    if (!doc)
        skip();
    size_t g, ours = 0, others = 0;
    json_t *group;
    json_array_foreach(json_object_get(doc, "testGroups"), g, group)
    {
        const json_t *test = json_array_get(json_object_get(group, "tests"), 0);
        struct bytes pkcs1 = vectors_hex(group, "publicKeyAsn");
        struct bytes message = vectors_hex(test, "msg"), signature = vectors_hex(test, "sig");
        /* The key without its own PSS parameters: rsaEncryption, around the same RSAPublicKey. */
        uint8_t spki[600];
        struct writer w = writer_of(spki, sizeof(spki));
        static const uint8_t head[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                       0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
        writer_u16(&w, 0x3082);
        writer_u16(&w, (uint16_t)(sizeof(head) + 5 + pkcs1.len));
        writer_bytes(&w, head, sizeof(head));
        writer_u16(&w, 0x0382);
        writer_u16(&w, (uint16_t)(pkcs1.len + 1));
        writer_u8(&w, 0);
        writer_bytes(&w, pkcs1.at, pkcs1.len);
        struct public_key *key;
        assert_int_equal(public_key_parse(writer_view(&w), &key), 0);

        enum sign_scheme want = pss_scheme(group);
        for (enum sign_scheme s = SIGN_RSA_PSS_SHA256; s <= SIGN_RSA_PSS_SHA512; s++)
            assert_int_equal(verify(key, s, message, signature), s == want ? 0 : ERR_AUTH);
        ours += want != SIGN_NONE;
        others += want == SIGN_NONE;
        public_key_free(key);
        vectors_free(pkcs1);
        vectors_free(message);
        vectors_free(signature);
    }
    printf("note: rsa_pss_misc_params: %zu are schemes of ours, %zu are refused by design (SHA-1, "
           "SHA-224, SHA-512/t, another MGF hash, another salt length)\n",
           ours, others);
    assert_true(ours > 0);
    json_decref(doc);
}

/* ---- our own keys, both ways */

static const enum key_kind kinds[] = {KEY_RSA, KEY_ECDSA_P256, KEY_ECDSA_P384, KEY_ECDSA_P521,
                                      KEY_ED25519};

static bool fits(enum sign_scheme scheme, enum key_kind kind)
{
    if (scheme >= SIGN_RSA_PKCS1_SHA1 && scheme <= SIGN_RSA_PSS_SHA512)
        return kind == KEY_RSA;
    if (scheme >= SIGN_ECDSA_SHA256 && scheme <= SIGN_ECDSA_SHA512)
        return kind >= KEY_ECDSA_P256 && kind <= KEY_ECDSA_P521;
    switch (scheme) {
    case SIGN_ECDSA_P256_RAW:
        return kind == KEY_ECDSA_P256;
    case SIGN_ECDSA_P384_RAW:
        return kind == KEY_ECDSA_P384;
    case SIGN_ECDSA_P521_RAW:
        return kind == KEY_ECDSA_P521;
    case SIGN_ED25519:
        return kind == KEY_ED25519;
    default:
        return false;
    }
}

static void make_pair(enum key_kind kind, struct private_key **key, struct cert **cert)
{
    struct pki_request request = {.common_name = "sign", .key = kind, .days = 10};
    char *cert_pem, *key_pem;
    assert_int_equal(pki_issue(&request, NULL, NULL, 1800000000, &cert_pem, &key_pem), 0);
    struct bytes pem = {(const uint8_t *)key_pem, strlen(key_pem)};
    assert_int_equal(private_key_parse(pem, key), 0);
    pem = (struct bytes){(const uint8_t *)cert_pem, strlen(cert_pem)};
    assert_int_equal(cert_parse_pem(pem, cert, 1), 1);
    assert_true(cert_matches_key(*cert, *key));
    pki_text_free(cert_pem);
    pki_text_free(key_pem);
}

static void round_trip(const struct private_key *key, const struct public_key *public,
                       enum sign_scheme scheme)
{
    uint8_t message[3000], signature[SIGNATURE_MAX];
    size_t len;
    memset(message, 0x5a, sizeof(message));
    struct bytes text = {message, sizeof(message)};
    assert_int_equal(sign(key, scheme, text, signature, &len), 0);
    struct bytes made = {signature, len};
    assert_int_equal(verify(public, scheme, text, made), 0);
    assert_int_equal(verify(public, scheme, (struct bytes){message, 2999}, made), ERR_AUTH);

    made.len = len - 1;
    assert_int_equal(verify(public, scheme, text, made), ERR_AUTH);
    made.len = 0;
    assert_int_equal(verify(public, scheme, text, made), ERR_AUTH);
    made.len = SIGNATURE_MAX; /* the right one, then zeros */
    memset(signature + len, 0, SIGNATURE_MAX - len);
    assert_int_equal(verify(public, scheme, text, made), ERR_AUTH);
    made.len = len;
    for (size_t at = 0; at < len; at += 7) {
        signature[at] ^= 0x10;
        assert_int_equal(verify(public, scheme, text, made), ERR_AUTH);
        signature[at] ^= 0x10;
    }
    for (enum sign_scheme other = SIGN_NONE; other <= SIGN_ED25519; other++) {
        if (other == scheme)
            continue;
        int want = fits(other, public_key_kind(public)) ? ERR_AUTH : ERR_UNSUPPORTED;
        assert_int_equal(verify(public, other, text, made), want);
    }
    memset(signature, 0, len);
    assert_int_equal(verify(public, scheme, text, made), ERR_AUTH);
}

static void every_key_and_scheme(void **state)
{
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        struct private_key *key;
        struct cert *cert;
        make_pair(kinds[k], &key, &cert);
        const struct public_key *public = cert_public_key(cert);
        assert_int_equal(private_key_kind(key), kinds[k]);
        assert_int_equal(public_key_kind(public), kinds[k]);
        for (enum sign_scheme s = SIGN_NONE; s <= SIGN_ED25519; s++) {
            uint8_t signature[SIGNATURE_MAX];
            size_t len;
            if (fits(s, kinds[k]))
                round_trip(key, public, s);
            else
                assert_int_equal(sign(key, s, (struct bytes){signature, 0}, signature, &len),
                                 ERR_UNSUPPORTED);
        }
        private_key_free(key);
        cert_free(cert);
    }
}

/* ---- keys that must not be accepted */

/* SubjectPublicKeyInfo of an RSA key with this modulus size and exponent; the modulus is odd and
 * of no other merit. */
static struct bytes rsa_spki(uint8_t *out, size_t cap, size_t modulus_len, const uint8_t *e,
                             size_t e_len)
{
    static const uint8_t head[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                   0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
    size_t key_len = 4 + 1 + modulus_len + 2 + e_len;
    struct writer w = writer_of(out, cap);
    writer_u16(&w, 0x3082);
    writer_u16(&w, (uint16_t)(sizeof(head) + 4 + 1 + 4 + key_len));
    writer_bytes(&w, head, sizeof(head));
    writer_u16(&w, 0x0382);
    writer_u16(&w, (uint16_t)(1 + 4 + key_len));
    writer_u8(&w, 0);
    writer_u16(&w, 0x3082);
    writer_u16(&w, (uint16_t)key_len);
    writer_u16(&w, 0x0282);
    writer_u16(&w, (uint16_t)(modulus_len + 1));
    writer_u8(&w, 0);
    uint8_t *modulus = writer_reserve(&w, modulus_len);
    assert_non_null(modulus);
    memset(modulus, 0xc7, modulus_len);
    writer_u8(&w, 2);
    writer_u8(&w, (uint8_t)e_len);
    writer_bytes(&w, e, e_len);
    return writer_view(&w);
}

static int verify_with(size_t modulus_len, const uint8_t *e, size_t e_len)
{
    uint8_t spki[4096], signature[SIGNATURE_MAX] = {1};
    struct public_key *key;
    struct bytes der = rsa_spki(spki, sizeof(spki), modulus_len, e, e_len);
    if (public_key_parse(der, &key) < 0)
        return ERR_KEY_PARSE;
    size_t len = modulus_len < SIGNATURE_MAX ? modulus_len : SIGNATURE_MAX;
    int rc = verify(key, SIGN_RSA_PKCS1_SHA256, (struct bytes){spki, 10},
                    (struct bytes){signature, len});
    public_key_free(key);
    return rc;
}

static void odd_rsa_keys(void **state)
{
    (void)state;
    static const uint8_t zero[] = {0}, one[] = {1}, two[] = {2}, three[] = {3}, f4[] = {1, 0, 1},
                         long_e[] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    assert_int_equal(verify_with(256, f4, 3), ERR_AUTH);
    assert_int_equal(verify_with(256, three, 1), ERR_AUTH);
    assert_int_equal(verify_with(1024, f4, 3), ERR_AUTH); /* 8192 bits */
    assert_int_equal(verify_with(128, f4, 3), ERR_AUTH);  /* 1024 bits: chains refuse it */
    assert_true(verify_with(256, zero, 1) < 0 && verify_with(256, zero, 1) != ERR_AUTH);
    assert_int_equal(verify_with(256, one, 1), ERR_UNSUPPORTED);
    assert_int_equal(verify_with(256, two, 1), ERR_UNSUPPORTED);
    assert_int_equal(verify_with(256, long_e, sizeof(long_e)), ERR_UNSUPPORTED);
    assert_int_equal(verify_with(127, f4, 3), ERR_UNSUPPORTED);
    assert_int_equal(verify_with(1025, f4, 3), ERR_UNSUPPORTED);
    assert_int_equal(verify_with(2048, f4, 3), ERR_UNSUPPORTED); /* 16384 bits */
}

static void unreadable_keys(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "not a key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\n",
        "0",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct private_key *key;
        struct bytes text = {(const uint8_t *)texts[i], strlen(texts[i])};
        assert_int_equal(private_key_parse(text, &key), ERR_KEY_PARSE);
        assert_null(key);
    }
}

/* ---- AlgorithmIdentifiers */

static void identifiers_round_trip(void **state)
{
    (void)state;
    for (enum sign_scheme s = SIGN_NONE; s <= SIGN_ED25519; s++) {
        struct bytes der = sign_scheme_oid(s);
        assert_non_null(sign_scheme_name(s));
        if (der.len == 0)
            continue;
        assert_int_equal(sign_scheme_from_oid(der), s);
        uint8_t copy[128];
        for (size_t len = 0; len < der.len; len++)
            assert_int_equal(sign_scheme_from_oid((struct bytes){der.at, len}), SIGN_NONE);
        memcpy(copy, der.at, der.len);
        copy[der.len] = 0;
        assert_int_equal(sign_scheme_from_oid((struct bytes){copy, der.len + 1}), SIGN_NONE);
        for (size_t bit = 0; bit < 8 * der.len; bit++) {
            copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_not_equal(sign_scheme_from_oid((struct bytes){copy, der.len}), s);
            copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
    assert_string_equal(sign_scheme_name((enum sign_scheme)99), "unknown");
}

#define OID_RSA(last) 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last
#define OID_SHA(last) 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last

static void identifiers_of_others(void **state)
{
    (void)state;
    static const struct {
        enum sign_scheme want;
        uint8_t len;
        uint8_t der[80];
    } cases[] = {
        /* sha256WithRSAEncryption without the NULL: taken (RFC 8017 A.2.4) */
        {SIGN_RSA_PKCS1_SHA256, 13, {0x30, 0x0b, OID_RSA(0x0b)}},
        /* SHA-1, SHA-224, MD5, rsaEncryption */
        {SIGN_NONE, 15, {0x30, 0x0d, OID_RSA(0x05), 5, 0}},
        {SIGN_NONE, 15, {0x30, 0x0d, OID_RSA(0x0e), 5, 0}},
        {SIGN_NONE, 15, {0x30, 0x0d, OID_RSA(0x04), 5, 0}},
        {SIGN_NONE, 15, {0x30, 0x0d, OID_RSA(0x01), 5, 0}},
        /* a NULL that is not empty, and something behind it */
        {SIGN_NONE, 16, {0x30, 0x0e, OID_RSA(0x0b), 5, 1, 0}},
        {SIGN_NONE, 17, {0x30, 0x0f, OID_RSA(0x0b), 5, 0, 5, 0}},
        /* length in long form */
        {SIGN_NONE, 16, {0x30, 0x81, 0x0d, OID_RSA(0x0b), 5, 0}},
        {SIGN_NONE, 17, {0x30, 0x80, OID_RSA(0x0b), 5, 0, 0, 0}},
        /* ECDSA and Ed25519 with parameters */
        {SIGN_NONE, 14, {0x30, 0x0c, 0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2, 5, 0}},
        {SIGN_NONE, 9, {0x30, 0x07, 0x06, 3, 0x2b, 0x65, 0x70, 5, 0}},
        /* ecdsa-with-SHA1, Ed448 */
        {SIGN_NONE, 11, {0x30, 0x09, 0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1}},
        {SIGN_NONE, 7, {0x30, 0x05, 0x06, 3, 0x2b, 0x65, 0x71}},
        /* PSS without parameters, with empty ones (SHA-1), with a hash alone */
        {SIGN_NONE, 13, {0x30, 0x0b, OID_RSA(0x0a)}},
        {SIGN_NONE, 15, {0x30, 0x0d, OID_RSA(0x0a), 5, 0}},
        {SIGN_NONE, 15, {0x30, 0x0d, OID_RSA(0x0a), 0x30, 0}},
        {SIGN_NONE,
         32,
         {0x30, 0x1e, OID_RSA(0x0a), 0x30, 0x11, 0xa0, 0x0f, 0x30, 0x0d, OID_SHA(1), 5, 0}},
        /* PSS with SHA-256 and the hashes' parameters absent: taken (RFC 4055 2.1) */
        {SIGN_RSA_PSS_SHA256, 63, {0x30,       0x3d, OID_RSA(0x0a),
                                   0x30,       0x30, 0xa0,
                                   0x0d,       0x30, 0x0b,
                                   OID_SHA(1), 0xa1, 0x1a,
                                   0x30,       0x18, OID_RSA(0x08),
                                   0x30,       0x0b, OID_SHA(1),
                                   0xa2,       3,    2,
                                   1,          32}},
        /* the same with salt 20, with MGF1 over SHA-512, and with a trailer field written out */
        {SIGN_NONE, 63, {0x30,       0x3d, OID_RSA(0x0a),
                         0x30,       0x30, 0xa0,
                         0x0d,       0x30, 0x0b,
                         OID_SHA(1), 0xa1, 0x1a,
                         0x30,       0x18, OID_RSA(0x08),
                         0x30,       0x0b, OID_SHA(1),
                         0xa2,       3,    2,
                         1,          20}},
        {SIGN_NONE, 63, {0x30,       0x3d, OID_RSA(0x0a),
                         0x30,       0x30, 0xa0,
                         0x0d,       0x30, 0x0b,
                         OID_SHA(1), 0xa1, 0x1a,
                         0x30,       0x18, OID_RSA(0x08),
                         0x30,       0x0b, OID_SHA(3),
                         0xa2,       3,    2,
                         1,          32}},
        {SIGN_NONE, 68, {0x30,       0x42, OID_RSA(0x0a),
                         0x30,       0x35, 0xa0,
                         0x0d,       0x30, 0x0b,
                         OID_SHA(1), 0xa1, 0x1a,
                         0x30,       0x18, OID_RSA(0x08),
                         0x30,       0x0b, OID_SHA(1),
                         0xa2,       3,    2,
                         1,          32,   0xa3,
                         3,          2,    1,
                         1}},
        /* SHA-224 all along */
        {SIGN_NONE, 63, {0x30,       0x3d, OID_RSA(0x0a),
                         0x30,       0x30, 0xa0,
                         0x0d,       0x30, 0x0b,
                         OID_SHA(4), 0xa1, 0x1a,
                         0x30,       0x18, OID_RSA(0x08),
                         0x30,       0x0b, OID_SHA(4),
                         0xa2,       3,    2,
                         1,          28}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum sign_scheme got = sign_scheme_from_oid((struct bytes){cases[i].der, cases[i].len});
        if (got != cases[i].want)
            fail_msg("case %zu gave %s", i, sign_scheme_name(got));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wycheproof_ecdsa),      cmocka_unit_test(wycheproof_ecdsa_raw),
        cmocka_unit_test(wycheproof_ed25519),    cmocka_unit_test(wycheproof_rsa),
        cmocka_unit_test(wycheproof_pss),        cmocka_unit_test(wycheproof_pss_parameters),
        cmocka_unit_test(every_key_and_scheme),  cmocka_unit_test(odd_rsa_keys),
        cmocka_unit_test(unreadable_keys),       cmocka_unit_test(identifiers_round_trip),
        cmocka_unit_test(identifiers_of_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
