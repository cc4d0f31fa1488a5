/* Chains that nobody here made: x509-limbo and NIST PKITS. What is skipped asks for something that
 * IKE's certificates do not have, or that comes with revocation; each with its reason. */
#include "vectors.h"

#include <time.h>

#include "crypto/crypto.h"
#include "crypto/openssl.h"

#include <openssl/evp.h>

struct exception {
    const char *id; /* a prefix when it ends with '*' */
    const char *reason;
};

static const char *excused(const struct exception *list, size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(list[i].id);
        if (list[i].id[len - 1] == '*' ? strncmp(id, list[i].id, len - 1) == 0
                                       : strcmp(id, list[i].id) == 0)
            return list[i].reason;
    }
    return NULL;
}

/* How many were excused for which reason; a reason is known by its address. */
struct excuses {
    const char *reason[16];
    size_t count[16];
};

static void excuse(struct excuses *e, const char *reason)
{
    size_t i = 0;
    while (e->reason[i] && e->reason[i] != reason)
        i++;
    assert_true(i + 1 < ARRAY_LEN(e->reason));
    e->reason[i] = reason;
    e->count[i]++;
}

static void report(const char *what, size_t right, const struct excuses *e)
{
    printf("note: %s: %zu as it says\n", what, right);
    for (size_t i = 0; e->reason[i]; i++)
        printf("note: %s: %zu otherwise: %s\n", what, e->count[i], e->reason[i]);
}

/* ---- x509-limbo */

static const char R_CRL[] = "revocation lists are not read";
static const char R_DEPTH[] = "our depth is fixed, not the case's";
static const char R_CA_LEAF[] = "a CA's key that may only sign certificates does not prove a peer";
static const char R_FORM[] = "a form that RFC 5280 asks of issuers, not of who verifies";
static const char R_WEBPKI[] = "a rule of the CA/Browser Forum for the web";
static const char R_PATH[] = "libcrypto does not try a second path after one failed";
static const char R_EXACT[] = "libcrypto lets a certificate end a second early";
static const char R_WILD[] = "wildcards never match";

static const struct exception limbo_exceptions[] = {
    {"crl::crlnumber-critical", R_CRL},
    {"crl::crlnumber-missing", R_CRL},
    {"crl::issuer-missing-crlsign", R_CRL},
    {"crl::revoked-certificate-with-crl", R_CRL},
    {"pathlen::max-chain-depth-0-exhausted", R_DEPTH},
    {"pathlen::max-chain-depth-1-exhausted", R_DEPTH},
    {"pathlen::validation-ignores-pathlen-in-leaf", R_CA_LEAF},
    {"rfc5280::ca-as-leaf", R_CA_LEAF},
    {"rfc5280::aki::cross-signed-root-missing-aki", R_FORM},
    {"rfc5280::aki::intermediate-missing-aki", R_FORM},
    {"rfc5280::aki::leaf-missing-aki", R_FORM},
    {"rfc5280::ca-empty-subject", R_FORM},
    {"rfc5280::leaf-ku-keycertsign", R_FORM},
    {"rfc5280::nc::invalid-dnsname-leading-period", R_FORM},
    {"rfc5280::nc::nc-permits-invalid-dns-san", R_FORM},
    {"rfc5280::nc::nc-permits-invalid-email-san", R_FORM},
    {"rfc5280::nc::not-allowed-in-ee-critical", R_FORM},
    {"rfc5280::nc::not-allowed-in-ee-noncritical", R_FORM},
    {"rfc5280::nc::permitted-dns-match-noncritical", R_FORM},
    {"rfc5280::pc::ica-noncritical-pc", R_FORM},
    {"rfc5280::root-missing-basic-constraints", R_FORM},
    {"rfc5280::root-non-critical-basic-constraints", R_FORM},
    {"rfc5280::san::noncritical-with-empty-subject", R_FORM},
    {"rfc5280::san::underscore-dns", R_FORM},
    {"rfc5280::serial::negative", R_FORM},
    {"rfc5280::serial::too-long", R_FORM},
    {"rfc5280::serial::zero", R_FORM},
    {"rfc5280::ski::intermediate-missing-ski", R_FORM},
    {"rfc5280::ski::root-missing-ski", R_FORM},
    {"webpki::aki::root-with-aki-all-fields", R_WEBPKI},
    {"webpki::aki::root-with-aki-authoritycertissuer", R_WEBPKI},
    {"webpki::aki::root-with-aki-authoritycertserialnumber", R_WEBPKI},
    {"webpki::aki::root-with-aki-missing-keyidentifier", R_WEBPKI},
    {"webpki::aki::root-with-aki-ski-mismatch", R_WEBPKI},
    {"webpki::cn::case-mismatch", R_WEBPKI},
    {"webpki::cn::ipv4-hex-mismatch", R_WEBPKI},
    {"webpki::cn::ipv4-leading-zeros-mismatch", R_WEBPKI},
    {"webpki::cn::ipv6-non-rfc5952-mismatch", R_WEBPKI},
    {"webpki::cn::ipv6-uncompressed-mismatch", R_WEBPKI},
    {"webpki::cn::ipv6-uppercase-mismatch", R_WEBPKI},
    {"webpki::cn::not-in-san", R_WEBPKI},
    {"webpki::cn::punycode-not-in-san", R_WEBPKI},
    {"webpki::cn::utf8-vs-punycode-mismatch", R_WEBPKI},
    {"webpki::ee-basicconstraints-ca", R_WEBPKI},
    {"webpki::eku::ee-anyeku", R_WEBPKI},
    {"webpki::eku::ee-critical-eku", R_WEBPKI},
    {"webpki::eku::ee-without-eku", R_WEBPKI},
    {"webpki::eku::root-has-eku", R_WEBPKI},
    {"webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf", R_WEBPKI},
    {"webpki::forbidden-rsa-not-divisible-by-8-in-root", R_WEBPKI},
    {"webpki::malformed-aia", R_WEBPKI},
    {"webpki::nc::intermediate-permitted-excluded-subtrees-both-empty-sequences", R_WEBPKI},
    {"webpki::nc::intermediate-permitted-excluded-subtrees-both-null", R_WEBPKI},
    {"webpki::san::san-critical-with-nonempty-subject", R_WEBPKI},
    {"rfc5280::nc::nc-forbids-alternate-chain-ica", R_PATH},
    {"rfc5280::nc::nc-forbids-same-chain-ica", R_PATH},
    {"rfc5280::validity::notafter-exact", R_EXACT},
    {"rfc5280::validity::notafter-fractional", R_EXACT},
    {"webpki::nc::nc-permits-dns-san-pattern", R_WILD},
    {"webpki::san::leftmost-wildcard-san", R_WILD},
};

static int64_t time_of(const char *text)
{
    struct tm tm = {0};
    if (!strptime(text, "%Y-%m-%dT%H:%M:%S", &tm))
        return 1704067200; /* 2024-01-01, when a case does not care */
    return timegm(&tm);
}

static struct cert *cert_of(const json_t *pem)
{
    const char *text = json_string_value(pem);
    struct cert *cert;
    struct bytes bytes = {(const uint8_t *)text, strlen(text)};
    return cert_parse_pem(bytes, &cert, 1) == 1 ? cert : NULL;
}

static bool limbo_holds(const json_t *test, char why[static 256])
{
    enum { OTHERS = 64 };
    struct cert *others[OTHERS], *leaf = cert_of(json_object_get(test, "peer_certificate"));
    struct cert_trust *trust = cert_trust_create();
    size_t i, count = 0;
    json_t *item;
    bool good = leaf != NULL;
    snprintf(why, 256, "unreadable");
    json_array_foreach(json_object_get(test, "trusted_certs"), i, item)
    {
        struct cert *anchor = cert_of(item);
        if (anchor)
            assert_int_equal(cert_trust_add(trust, anchor), 0);
        cert_free(anchor);
    }
    json_array_foreach(json_object_get(test, "untrusted_intermediates"), i, item)
    {
        struct cert *other = cert_of(item);
        if (other && count < OTHERS)
            others[count++] = other;
        else
            cert_free(other);
    }
    bool server = strcmp(vectors_text(test, "validation_kind"), "SERVER") == 0;
    if (good)
        good = cert_verify(trust, leaf, others, count, server ? CERT_FOR_GATEWAY : CERT_FOR_CLIENT,
                           time_of(vectors_text(test, "validation_time")), why) == 0;
    const json_t *name = json_object_get(test, "expected_peer_name");
    struct identity id;
    if (good && json_is_object(name)) {
        good = identity_parse(vectors_text(name, "value"), &id) && cert_has_identity(leaf, &id);
        snprintf(why, 256, "name");
    }
    while (count > 0)
        cert_free(others[--count]);
    cert_free(leaf);
    cert_trust_free(trust);
    return good;
}

static void limbo(void **state)
{
    (void)state;
    json_t *doc = vectors_load("x509/x509_limbo_generated.json"), *test;
    size_t i, right = 0, wrong = 0;
    struct excuses excuses = {0};
    if (!doc)
        skip();
    json_array_foreach(json_object_get(doc, "testcases"), i, test)
    {
        char why[256];
        const char *id = vectors_text(test, "id");
        const char *reason = excused(limbo_exceptions, ARRAY_LEN(limbo_exceptions), id);
        bool want = strcmp(vectors_text(test, "expected_result"), "SUCCESS") == 0;
        bool got = limbo_holds(test, why);
        if (got == want)
            right++;
        else if (reason)
            excuse(&excuses, reason);
        else {
            wrong++;
            printf("wrong: %s: %s\n", id, got ? "was accepted" : why);
        }
    }
    report("x509-limbo", right, &excuses);
    assert_int_equal(wrong, 0);
    json_decref(doc);
}

/* ---- NIST PKITS */

static const char R_DSA[] = "no DSA";
static const char R_POLICY[] = "certificate policies are not asked for";

static const struct exception pkits_exceptions[] = {
    {"4.1.4 *", R_DSA},   {"4.1.5 *", R_DSA},  {"4.4.*", R_CRL},     {"4.5.2 *", R_CRL},
    {"4.5.5 *", R_CRL},   {"4.5.7 *", R_CRL},  {"4.7.4 *", R_CRL},   {"4.7.5 *", R_CRL},
    {"4.8.*", R_POLICY},  {"4.9.*", R_POLICY}, {"4.10.*", R_POLICY}, {"4.11.*", R_POLICY},
    {"4.12.*", R_POLICY}, {"4.14.*", R_CRL},   {"4.15.*", R_CRL},
};

static struct cert *pkits_cert(const json_t *doc, const char *name)
{
    const char *text = vectors_text(json_object_get(doc, "certs_der_b64"), name);
    uint8_t der[CERT_DER_MAX];
    size_t len = strlen(text);
    struct cert *cert;
    assert_true(len > 4 && len / 4 * 3 < sizeof(der));
    int got = EVP_DecodeBlock(der, (const unsigned char *)text, (int)len);
    assert_true(got > 2);
    got -= (text[len - 1] == '=') + (text[len - 2] == '=');
    return cert_parse((struct bytes){der, (size_t)got}, &cert) == 0 ? cert : NULL;
}

static bool pkits_holds(const json_t *doc, const json_t *test, char why[static 256])
{
    enum { CERTS = 16 };
    const int64_t when =
        1420070400; /* 2015-01-01: inside everybody's validity but the dated ones */
    struct cert *certs[CERTS] = {NULL};
    const json_t *names = json_object_get(test, "certs");
    size_t count = json_array_size(names);
    bool good = true;
    assert_true(count >= 2 && count <= CERTS);
    snprintf(why, 256, "unreadable");
    for (size_t i = 0; i < count; i++) {
        certs[i] = pkits_cert(doc, json_string_value(json_array_get(names, i)));
        good = good && certs[i];
    }
    struct cert_trust *trust = cert_trust_create();
    if (good) {
        assert_int_equal(cert_trust_add(trust, certs[0]), 0);
        good = cert_verify(trust, certs[count - 1], certs + 1, count - 2, CERT_FOR_ANY, when,
                           why) == 0;
    }
    cert_trust_free(trust);
    for (size_t i = 0; i < count; i++)
        cert_free(certs[i]);
    return good;
}

static void pkits(void **state)
{
    (void)state;
    json_t *doc = vectors_load("x509/nist_pkits.json"), *test;
    size_t i, right = 0, wrong = 0;
    struct excuses excuses = {0};
    if (!doc)
        skip();
    json_array_foreach(json_object_get(doc, "tests"), i, test)
    {
        char why[256], id[160];
        snprintf(id, sizeof(id), "%s %s", vectors_text(test, "test_number"),
                 vectors_text(test, "name"));
        bool want = json_is_true(json_object_get(test, "should_validate"));
        bool got = pkits_holds(doc, test, why);
        const char *reason = excused(pkits_exceptions, ARRAY_LEN(pkits_exceptions), id);
        if (got == want) {
            right++;
        } else if (reason) {
            excuse(&excuses, reason);
        } else {
            wrong++;
            printf("wrong: %s: %s\n", id, got ? "was accepted" : why);
        }
    }
    report("PKITS", right, &excuses);
    assert_int_equal(wrong, 0);
    json_decref(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limbo),
        cmocka_unit_test(pkits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
