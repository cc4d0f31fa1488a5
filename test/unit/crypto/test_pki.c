/* Making certificates and PKCS#12 files: what comes out is what the other side of this library, and
 * native clients, take. */
#include "vectors.h"

#include "crypto/crypto.h"

enum { NOW = 1800000000, DAY = 86400 };

struct made {
    char *cert_pem, *key_pem;
    struct cert *cert;
    struct private_key *key;
};

static struct bytes of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

static struct made make(const struct pki_request *request, const struct made *ca)
{
    struct made m;
    assert_int_equal(
        pki_issue(request, ca ? ca->cert : NULL, ca ? ca->key : NULL, NOW, &m.cert_pem, &m.key_pem),
        0);
    assert_int_equal(cert_parse_pem(of(m.cert_pem), &m.cert, 1), 1);
    assert_int_equal(private_key_parse(of(m.key_pem), &m.key), 0);
    assert_true(cert_matches_key(m.cert, m.key));
    return m;
}

static void unmake(struct made *m)
{
    pki_text_free(m->cert_pem);
    pki_text_free(m->key_pem);
    cert_free(m->cert);
    private_key_free(m->key);
}

static struct made make_ca(enum key_kind kind)
{
    struct pki_request request = {.common_name = "My CA", .key = kind, .days = 3650, .ca = true};
    return make(&request, NULL);
}

static const enum key_kind kinds[] = {KEY_ECDSA_P256, KEY_ECDSA_P384, KEY_ECDSA_P521, KEY_ED25519,
                                      KEY_RSA};

static void every_kind_under_every_kind(void **state)
{
    (void)state;
    struct identity name;
    assert_true(identity_parse("vpn.example.com", &name));
    for (size_t c = 0; c < ARRAY_LEN(kinds); c++) {
        struct made ca = make_ca(kinds[c]);
        struct cert_trust *trust = cert_trust_create();
        assert_int_equal(cert_trust_add(trust, ca.cert), 0);
        for (size_t k = 0; k + (c > 0) < ARRAY_LEN(kinds); k++) { /* RSA leaves under one CA */
            struct pki_request request = {.common_name = "vpn.example.com",
                                          .names = &name,
                                          .name_count = 1,
                                          .key = kinds[k],
                                          .days = 3650,
                                          .purpose = CERT_FOR_GATEWAY};
            struct made leaf = make(&request, &ca);
            char why[256];
            assert_int_equal(cert_verify(trust, leaf.cert, NULL, 0, CERT_FOR_GATEWAY, NOW, why), 0);
            assert_int_equal(
                cert_verify(trust, leaf.cert, NULL, 0, CERT_FOR_CLIENT, NOW - DAY / 2, why), 0);
            assert_int_equal(public_key_kind(cert_public_key(leaf.cert)), kinds[k]);
            assert_true(cert_has_identity(leaf.cert, &name));
            assert_false(cert_matches_key(leaf.cert, ca.key));
            unmake(&leaf);
        }
        cert_trust_free(trust);
        unmake(&ca);
    }
}

static void names_and_roles(void **state)
{
    (void)state;
    struct made ca = make_ca(KEY_ECDSA_P256);
    struct identity names[4];
    assert_true(identity_parse("vpn.example.com", &names[0]));
    assert_true(identity_parse("192.0.2.1", &names[1]));
    assert_true(identity_parse("2001:db8::1", &names[2]));
    assert_true(identity_parse("ops@example.com", &names[3]));
    struct pki_request request = {.common_name = "vpn.example.com",
                                  .names = names,
                                  .name_count = 4,
                                  .key = KEY_ECDSA_P256,
                                  .days = 30,
                                  .purpose = CERT_FOR_GATEWAY};
    struct made gateway = make(&request, &ca);
    request.purpose = CERT_FOR_CLIENT;
    struct made client = make(&request, &ca);
    struct identity as_text = {.type = IDENTITY_FQDN, .len = 9, .octets = "192.0.2.1"};
    for (size_t i = 0; i < 4; i++) {
        assert_true(cert_has_identity(gateway.cert, &names[i]));
        assert_true(cert_has_identity(client.cert, &names[i]));
    }
    assert_true(cert_has_identity(gateway.cert, &as_text));
    assert_false(cert_has_identity(client.cert, &as_text));

    struct cert_trust *trust = cert_trust_create();
    char why[256];
    assert_int_equal(cert_trust_add(trust, ca.cert), 0);
    assert_int_equal(cert_verify(trust, client.cert, NULL, 0, CERT_FOR_CLIENT, NOW, why), 0);
    assert_int_equal(cert_verify(trust, client.cert, NULL, 0, CERT_FOR_GATEWAY, NOW, why),
                     ERR_CERT_USAGE);
    /* The CA's own key signs certificates and nothing else. */
    assert_int_equal(cert_verify(trust, ca.cert, NULL, 0, CERT_FOR_ANY, NOW, why), ERR_CERT_USAGE);
    cert_trust_free(trust);

    char *text = pki_describe(gateway.cert);
    assert_non_null(text);
    assert_non_null(strstr(text, "subject     CN=vpn.example.com\n"));
    assert_non_null(strstr(text, "issuer      CN=My CA\n"));
    assert_non_null(strstr(text, "use         gateway\n"));
    assert_non_null(strstr(text, "valid until 2027-02-14 08:00:00 UTC\n"));
    free(text);
    unmake(&client);
    unmake(&gateway);
    unmake(&ca);
}

static void dates(void **state)
{
    (void)state;
    struct made ca = make_ca(KEY_ECDSA_P256);
    struct pki_request request = {
        .common_name = "x", .key = KEY_ECDSA_P256, .days = 36500, .purpose = CERT_FOR_CLIENT};
    struct made leaf = make(&request, &ca);
    int64_t ca_from, ca_until, from, until;
    cert_validity(ca.cert, &ca_from, &ca_until);
    cert_validity(leaf.cert, &from, &until);
    assert_int_equal(ca_from, NOW - DAY);
    assert_int_equal(ca_until, NOW + (int64_t)3650 * DAY);
    assert_int_equal(until, ca_until); /* does not outlive its CA */
    char *cert_pem, *key_pem;
    assert_int_equal(pki_issue(&request, ca.cert, ca.key, ca_until + 1, &cert_pem, &key_pem),
                     ERR_CERT_EXPIRED);
    unmake(&leaf);
    unmake(&ca);
}

static void wrong_requests(void **state)
{
    (void)state;
    struct made ca = make_ca(KEY_ECDSA_P256), other = make_ca(KEY_ECDSA_P256);
    struct identity key_id, strange = {.type = IDENTITY_FQDN, .len = 3, .octets = "a\x80z"};
    assert_true(identity_parse("keyid:abc", &key_id));
    char long_name[80];
    memset(long_name, 'x', 65);
    long_name[65] = '\0';
    const struct pki_request good = {.common_name = "x", .key = KEY_ECDSA_P256, .days = 10};
    struct pki_request r[7];
    for (size_t i = 0; i < ARRAY_LEN(r); i++)
        r[i] = good;
    r[0].common_name = "";
    r[1].common_name = long_name;
    r[2].common_name = "a\nb";
    r[3].days = 0;
    r[4].key = KEY_NONE;
    r[5].names = &key_id, r[5].name_count = 1;
    r[6].names = &strange, r[6].name_count = 1;
    char *cert_pem, *key_pem;
    for (size_t i = 0; i < ARRAY_LEN(r); i++) {
        int rc = pki_issue(&r[i], ca.cert, ca.key, NOW, &cert_pem, &key_pem);
        if (rc != (i < 5 ? ERR_ARGUMENT : ERR_CRYPTO))
            fail_msg("request %zu: %d", i, rc);
        assert_null(cert_pem);
        assert_null(key_pem);
    }
    assert_int_equal(pki_issue(&good, ca.cert, other.key, NOW, &cert_pem, &key_pem),
                     ERR_KEY_MISMATCH);
    assert_int_equal(pki_issue(&good, ca.cert, NULL, NOW, &cert_pem, &key_pem), ERR_ARGUMENT);
    struct made leaf = make(&good, &ca);
    assert_int_equal(pki_issue(&good, leaf.cert, leaf.key, NOW, &cert_pem, &key_pem),
                     ERR_CERT_USAGE);
    unmake(&leaf);
    unmake(&other);
    unmake(&ca);
}

static void p12(void **state)
{
    (void)state;
    struct made ca = make_ca(KEY_ECDSA_P256);
    struct pki_request request = {
        .common_name = "alice", .key = KEY_ECDSA_P384, .days = 10, .purpose = CERT_FOR_CLIENT};
    struct made leaf = make(&request, &ca);
    for (int legacy = 0; legacy <= 1; legacy++) {
        uint8_t *file;
        size_t len;
        assert_int_equal(pki_p12(leaf.cert_pem, leaf.key_pem, ca.cert_pem, "alice", "pass phrase",
                                 legacy, &file, &len),
                         0);
        struct private_key *key;
        struct cert *certs[3];
        struct bytes octets = {file, len};
        assert_int_equal(cert_parse_p12(octets, "wrong", &key, certs, 3), ERR_INTEGRITY);
        assert_int_equal(cert_parse_p12(octets, "", &key, certs, 3), ERR_INTEGRITY);
        assert_int_equal(cert_parse_p12(octets, NULL, &key, certs, 3), ERR_INTEGRITY);
        assert_int_equal(cert_parse_p12(octets, "pass phrase", &key, certs, 1), ERR_LIMIT);
        assert_null(key);
        assert_int_equal(cert_parse_p12(octets, "pass phrase", &key, certs, 3), 2);
        assert_true(bytes_equal(cert_der(certs[0]), cert_der(leaf.cert)));
        assert_true(bytes_equal(cert_der(certs[1]), cert_der(ca.cert)));
        assert_true(cert_matches_key(certs[0], key));
        cert_free(certs[0]);
        cert_free(certs[1]);
        private_key_free(key);
        for (size_t cut = 0; cut < len; cut += 13)
            assert_true(cert_parse_p12((struct bytes){file, cut}, "pass phrase", &key, certs, 3) <
                        0);
        free(file);
    }
    uint8_t *file;
    size_t len;
    assert_int_equal(pki_p12(ca.cert_pem, leaf.key_pem, NULL, "x", "y", false, &file, &len),
                     ERR_KEY_MISMATCH);
    assert_int_equal(pki_p12("no", leaf.key_pem, NULL, "x", "y", false, &file, &len),
                     ERR_CERT_PARSE);
    assert_int_equal(pki_p12(ca.cert_pem, "no", NULL, "x", "y", false, &file, &len), ERR_KEY_PARSE);
    unmake(&leaf);
    unmake(&ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_under_every_kind),
        cmocka_unit_test(names_and_roles),
        cmocka_unit_test(dates),
        cmocka_unit_test(wrong_requests),
        cmocka_unit_test(p12),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
