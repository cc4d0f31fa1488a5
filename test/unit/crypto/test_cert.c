/* Certificates: form, identities, names as text, and chains that must and must not hold. */
#include "vectors.h"

#include "forge.h"

/* ---- form */

static void truncated_and_flipped(void **state)
{
    (void)state;
    struct forged ca = forge_ca("Form CA", NULL);
    struct forged leaf = forge((struct forge){.name = "form",
                                              .by = &ca,
                                              .usage = "critical,digitalSignature",
                                              .extended = "serverAuth",
                                              .names = "DNS:form.example,email:a@b.example"});
    struct cert *cert = forge_cert(&leaf), *other;
    struct bytes der = cert_der(cert);
    uint8_t *copy = malloc(der.len + 1);
    assert_non_null(copy);
    for (size_t len = 0; len < der.len; len++) {
        uint8_t *cut = malloc(len + 1); /* of its own size, for the address sanitizer */
        assert_non_null(cut);
        memcpy(cut, der.at, len);
        assert_int_equal(cert_parse((struct bytes){cut, len}, &other), ERR_CERT_PARSE);
        assert_null(other);
        free(cut);
    }
    memcpy(copy, der.at, der.len);
    copy[der.len] = 0;
    assert_int_equal(cert_parse((struct bytes){copy, der.len + 1}, &other), ERR_CERT_PARSE);
    /* A flipped bit is refused or read as another certificate, and never verifies. */
    struct cert *anchor = forge_cert(&ca);
    struct cert_trust *trust = cert_trust_create();
    assert_int_equal(cert_trust_add(trust, anchor), 0);
    char why[256];
    for (size_t at = 0; at < der.len; at++) {
        copy[at] ^= (uint8_t)(1 << at % 8);
        if (cert_parse((struct bytes){copy, der.len}, &other) == 0) {
            assert_true(cert_verify(trust, other, NULL, 0, CERT_FOR_ANY, FORGE_NOW, why) < 0);
            cert_free(other);
        }
        copy[at] ^= (uint8_t)(1 << at % 8);
    }
    assert_int_equal(cert_verify(trust, cert, NULL, 0, CERT_FOR_ANY, FORGE_NOW, why), 0);
    cert_trust_free(trust);
    free(copy);
    cert_free(cert);
    cert_free(anchor);
    forge_free(&leaf);
    forge_free(&ca);
}

static void pem_bundles(void **state)
{
    (void)state;
    struct forged a = forge_ca("A", NULL), b = forge_ca("B", NULL);
    BIO *bio = BIO_new(BIO_s_mem());
    BIO_puts(bio, "some words first\n");
    PEM_write_bio_X509(bio, a.x509);
    PEM_write_bio_PrivateKey(bio, a.pkey, NULL, NULL, 0, NULL, NULL);
    PEM_write_bio_X509(bio, b.x509);
    char *text;
    size_t len = (size_t)BIO_get_mem_data(bio, &text);
    struct cert *certs[2];
    char name[256];
    struct bytes pem = {(const uint8_t *)text, len};
    assert_int_equal(cert_parse_pem(pem, certs, 2), 2);
    assert_string_equal(cert_print_subject(certs[0], name), "CN=A");
    assert_string_equal(cert_print_subject(certs[1], name), "CN=B");
    struct bytes der = cert_der(certs[0]);
    struct cert *one;
    assert_int_equal(cert_parse_pem(der, &one, 1), 1);
    cert_free(one);
    cert_free(certs[0]);
    cert_free(certs[1]);
    assert_int_equal(cert_parse_pem(pem, certs, 1), ERR_LIMIT);
    assert_int_equal(cert_parse_pem((struct bytes){pem.at, len - 40}, certs, 2), ERR_CERT_PARSE);
    assert_int_equal(cert_parse_pem((struct bytes){pem.at, 10}, certs, 2), ERR_CERT_PARSE);
    assert_int_equal(cert_parse_pem((struct bytes){pem.at, 0}, certs, 2), ERR_CERT_PARSE);
    BIO_free(bio);
    forge_free(&a);
    forge_free(&b);
}

/* ---- identities */

static struct identity id_of(const char *text)
{
    struct identity id;
    struct bytes octets = {(const uint8_t *)text, strlen(text)};
    if (!cert_dn_parse(text, &id) && !identity_parse(text, &id))
        assert_true(identity_from_octets(IDENTITY_FQDN, octets, &id));
    return id;
}

static bool carries(const struct cert *cert, const char *text)
{
    struct identity id = id_of(text);
    return cert_has_identity(cert, &id);
}

static void identities(void **state)
{
    (void)state;
    struct forged f =
        forge((struct forge){.name = "host.example",
                             .organization = "Org",
                             .names = "DNS:Vpn.Example.com,DNS:192.0.2.7,DNS:*.wild.example,"
                                      "email:Alice@Example.com,IP:192.0.2.1,IP:2001:db8::1,"
                                      "URI:https://uri.example"});
    struct cert *cert = forge_cert(&f);
    static const char *const yes[] = {
        "vpn.example.com",
        "VPN.EXAMPLE.COM",
        "alice@example.com",
        "192.0.2.1",
        "2001:db8::1",
        "CN=host.example,O=Org",
        "O=Org, CN=host.example",
        "cn=HOST.example,o=org", /* canonical: case does not matter */
    };
    static const char *const no[] = {
        "host.example", /* a common name is no host name */
        "vpn.example.co",
        "xvpn.example.com",
        "vpn.example.com.",
        "*.wild.example",
        "a.wild.example",
        "wild.example",
        "192.0.2.7", /* is there as dNSName only */
        "2001:db8::2",
        "example.com",
        "bob@example.com",
        "uri.example",
        "keyid:vpn.example.com",
        "CN=host.example",
        "CN=host.example,O=Org,C=DE",
        "CN=host.example2,O=Org",
    };
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        if (!carries(cert, yes[i]))
            fail_msg("%s should match", yes[i]);
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (carries(cert, no[i]))
            fail_msg("%s should not match", no[i]);
    /* Native clients may send an address as a name. */
    struct identity id = {.type = IDENTITY_FQDN, .len = 9, .octets = "192.0.2.7"};
    assert_true(cert_has_identity(cert, &id));
    id = (struct identity){.type = IDENTITY_NONE};
    assert_false(cert_has_identity(cert, &id));
    id = (struct identity){.type = IDENTITY_DN, .len = 2, .octets = {0x30, 0}};
    assert_false(cert_has_identity(cert, &id));
    assert_true(cert_identity(cert, &id));
    assert_int_equal(id.type, IDENTITY_RFC822);
    cert_free(cert);
    forge_free(&f);
}

/* An octet 0 in a name has ended comparisons early elsewhere. */
static void zero_in_name(void **state)
{
    (void)state;
    struct forged f = forge((struct forge){.name = "zero", .names = "DNS:vpn.example.com"});
    int at = X509_get_ext_by_NID(f.x509, NID_subject_alt_name, -1);
    X509_EXTENSION *extension = X509_delete_ext(f.x509, at);
    X509_EXTENSION_free(extension);
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, "vpn.example.com\0.evil.example", 29);
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    sk_GENERAL_NAME_push(names, name);
    assert_int_equal(X509_add1_ext_i2d(f.x509, NID_subject_alt_name, names, 0, 0), 1);
    GENERAL_NAMES_free(names);
    assert_true(X509_sign(f.x509, f.pkey, EVP_sha256()) > 0);
    struct cert *cert = forge_cert(&f);
    assert_false(carries(cert, "vpn.example.com"));
    struct identity id = {.type = IDENTITY_FQDN, .len = 29};
    memcpy(id.octets, "vpn.example.com\0.evil.example", 29);
    assert_false(cert_has_identity(cert, &id));
    assert_true(cert_identity(cert, &id));
    assert_int_equal(id.type, IDENTITY_DN);
    cert_free(cert);
    forge_free(&f);
}

static void identity_to_claim(void **state)
{
    (void)state;
    static const struct {
        const char *names;
        uint8_t type;
    } cases[] = {
        {"IP:192.0.2.1,DNS:a.example,email:x@y.example", IDENTITY_RFC822},
        {"IP:192.0.2.1,DNS:*.example,DNS:a.example", IDENTITY_FQDN},
        {"IP:192.0.2.1,DNS:*.example", IDENTITY_IPV4},
        {"IP:2001:db8::1", IDENTITY_IPV6},
        {"URI:http://x.example", IDENTITY_DN},
        {NULL, IDENTITY_DN},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct forged f = forge((struct forge){.name = "claim", .names = cases[i].names});
        struct cert *cert = forge_cert(&f);
        struct identity id;
        assert_true(cert_identity(cert, &id));
        assert_int_equal(id.type, cases[i].type);
        assert_true(cert_has_identity(cert, &id));
        cert_free(cert);
        forge_free(&f);
    }
    struct forged nobody = forge((struct forge){.name = NULL});
    struct cert *cert = forge_cert(&nobody);
    struct identity id;
    assert_false(cert_identity(cert, &id));
    cert_free(cert);
    forge_free(&nobody);
}

static void names_as_text(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } good[] = {
        {"CN=x,O=y", "CN=x,O=y"},
        {"C=DE, O=Some Where, CN=host", "CN=host,O=Some Where,C=DE"},
        {"CN=a\\, b,O=y", "CN=a\\, b,O=y"},
        {"CN=J\\C3\\BCrgen", "CN=J\\C3\\BCrgen"},
        {"CN=Jürgen", "CN=J\\C3\\BCrgen"},
        {" CN = x , O = y ", "CN=x,O=y"},
        {"E=a@b.example", "emailAddress=a@b.example"},
    };
    static const char *const bad[] = {
        "",     "CN",    "CN=",    "=x",          "CN=x,",     ",CN=x", "CN=x,,O=y",
        "XX=y", "CN=\\", "C=Long", "CN=\xff\xfe", "host.name", "a@b",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct identity id;
        char text[IDENTITY_TEXT];
        if (!cert_dn_parse(good[i].in, &id))
            fail_msg("%s should be a name", good[i].in);
        assert_string_equal(cert_dn_print(&id, text), good[i].out);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct identity id;
        if (cert_dn_parse(bad[i], &id))
            fail_msg("%s should be refused", bad[i]);
    }
    /* What is no DER prints all the same. */
    struct identity id = {.type = IDENTITY_DN, .len = 3, .octets = {0x30, 0x10, 0x31}};
    char text[IDENTITY_TEXT];
    assert_non_null(cert_dn_print(&id, text));
    /* Nothing of a peer reaches a terminal as it is, and long names are cut. */
    char name[64 + 1];
    memset(name, 'n', 64);
    name[64] = '\0';
    memcpy(name, "\x1b[31m\n\"\\", 8);
    struct forged f = forge((struct forge){.name = name, .organization = name});
    struct cert *cert = forge_cert(&f);
    char subject[256];
    for (const char *c = cert_print_subject(cert, subject); *c; c++)
        assert_true(*c >= 0x20 && *c <= 0x7e);
    cert_free(cert);
    forge_free(&f);
}

static void one_spelling(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"CN=Alice  Smith,O=Acme", "cn=alice smith , o=ACME"},
        {"C=DE, O=Acme, CN=x", "CN=X,O=acme,C=de"},
        {"VPN.Example.com", "vpn.example.COM"},
        {"Bob@Example.com", "bob@example.com"},
        {"192.0.2.1", "192.0.2.1"},
    };
    static const char *const other[][2] = {
        {"CN=alice,O=acme", "O=alice,CN=acme"},
        {"CN=a,CN=b", "CN=b,CN=a"},
        {"CN=ab", "CN=a b"},
        {"CN=a", "a"},
        {"192.0.2.1", "192.0.2.2"},
        {"keyid:A", "keyid:a"},
    };
    struct identity a, b;
    for (size_t i = 0; i < ARRAY_LEN(same) + ARRAY_LEN(other); i++) {
        const char *const *pair = i < ARRAY_LEN(same) ? same[i] : other[i - ARRAY_LEN(same)];
        struct identity one = id_of(pair[0]), two = id_of(pair[1]);
        cert_identity_canonical(&one, &a);
        cert_identity_canonical(&two, &b);
        bool equal = a.type == b.type && a.len == b.len && !memcmp(a.octets, b.octets, a.len);
        if (equal != (i < ARRAY_LEN(same)))
            fail_msg("%s and %s", pair[0], pair[1]);
    }
    /* PrintableString, as other tools write it */
    static const uint8_t printable[] = {0x30, 0x0f, 0x31, 0x0d, 0x30, 0x0b, 0x06, 0x03, 0x55,
                                        0x04, 0x03, 0x13, 0x04, 'H',  'o',  's',  't'};
    struct identity from_peer = {.type = IDENTITY_DN, .len = sizeof(printable)};
    memcpy(from_peer.octets, printable, sizeof(printable));
    struct identity configured = id_of("CN=host");
    cert_identity_canonical(&from_peer, &a);
    cert_identity_canonical(&configured, &b);
    assert_true(a.len == b.len && memcmp(a.octets, b.octets, a.len) == 0);
    /* what is no DER stays what it is */
    from_peer.len = 5;
    cert_identity_canonical(&from_peer, &a);
    assert_true(a.len == 5 && memcmp(a.octets, printable, 5) == 0);
}

/* ---- chains */

static int chain_case(const struct forged *anchor, const struct forged *leaf,
                      const struct forged *middle, size_t count, enum cert_purpose purpose,
                      int64_t now, char why[static 256])
{
    struct cert *root = forge_cert(anchor), *end = forge_cert(leaf), *others[16];
    for (size_t i = 0; i < count; i++)
        others[i] = forge_cert(&middle[i]);
    struct cert_trust *trust = cert_trust_create();
    assert_non_null(trust);
    assert_int_equal(cert_trust_add(trust, root), 0);
    assert_int_equal(cert_trust_add(trust, root), 0);
    assert_int_equal(cert_trust_count(trust), 1);
    int rc = cert_verify(trust, end, others, count, purpose, now, why);
    assert_true(rc == 0 || why[0] != '\0');
    cert_trust_free(trust);
    for (size_t i = 0; i < count; i++)
        cert_free(others[i]);
    cert_free(root);
    cert_free(end);
    return rc;
}

static void times(void **state)
{
    (void)state;
    struct forged ca = forge_ca("Time CA", NULL);
    struct forged leaf = forge((struct forge){.name = "timed", .by = &ca, .from = -2, .until = 3});
    char why[256];
    const int64_t now = FORGE_NOW, day = FORGE_DAY;
#define AT(when) chain_case(&ca, &leaf, NULL, 0, CERT_FOR_ANY, when, why)
    assert_int_equal(AT(now), 0);
    assert_int_equal(AT(now + 3 * day - 1), 0);
    assert_int_equal(AT(now + 3 * day + 1), ERR_CERT_EXPIRED);
    assert_string_equal(why, "certificate \"CN=timed\" ended on 2027-01-18 08:00:00 UTC");
    /* the CA itself ended too, and is named first or second: either is an end */
    assert_int_equal(AT(now + 400 * day), ERR_CERT_EXPIRED);
    assert_int_equal(AT(now - 3 * day), ERR_CERT_NOT_YET);
    assert_int_equal(AT(0), ERR_CERT_NOT_YET);
    assert_true(AT(INT32_MAX * (int64_t)4) < 0);
#undef AT
    struct cert *root = forge_cert(&ca), *end = forge_cert(&leaf);
    struct cert_trust *trust = cert_trust_create();
    uint64_t before = cert_trust_serial(trust);
    assert_int_equal(cert_verify(trust, end, NULL, 0, CERT_FOR_ANY, now, why), ERR_CERT_UNKNOWN_CA);
    assert_int_equal(cert_trust_add(trust, root), 0);
    assert_true(cert_trust_serial(trust) != before);
    struct cert_span span;
    assert_int_equal(cert_verify_span(trust, end, NULL, 0, CERT_FOR_ANY, now, &span, why), 0);
    assert_int_equal(span.from, now - day); /* the CA's own begin */
    assert_int_equal(span.until, now + 3 * day);
    cert_trust_free(trust);
    cert_free(root);
    cert_free(end);
    forge_free(&leaf);
    forge_free(&ca);
}

static void unknown_authority(void **state)
{
    (void)state;
    struct forged ca = forge_ca("CA", NULL), twin = forge_ca("CA", NULL);
    struct forged stranger = forge_ca("Stranger", NULL);
    struct forged leaf = forge((struct forge){.name = "leaf", .by = &stranger});
    struct forged fake = forge((struct forge){.name = "fake", .by = &twin});
    struct forged alone = forge((struct forge){.name = "alone"});
    char why[256];
#define TRY(l, m, n) chain_case(&ca, l, m, n, CERT_FOR_ANY, FORGE_NOW, why)
    assert_int_equal(TRY(&leaf, NULL, 0), ERR_CERT_UNKNOWN_CA);
    assert_string_equal(why, "no trusted certificate for \"CN=Stranger\", the issuer of "
                             "\"CN=leaf\"");
    assert_int_equal(TRY(&leaf, &stranger, 1), ERR_CERT_UNKNOWN_CA); /* sent is not trusted */
    assert_int_equal(TRY(&alone, NULL, 0), ERR_CERT_UNKNOWN_CA);
    assert_true(TRY(&fake, NULL, 0) < 0); /* the right name, the wrong key */
    assert_true(TRY(&fake, &twin, 1) < 0);
    assert_int_equal(chain_case(&alone, &alone, NULL, 0, CERT_FOR_ANY, FORGE_NOW, why), 0);
#undef TRY
    forge_free(&alone);
    forge_free(&fake);
    forge_free(&leaf);
    forge_free(&stranger);
    forge_free(&twin);
    forge_free(&ca);
}

static void depth(void **state)
{
    (void)state;
    struct forged line[12];
    char why[256];
    line[0] = forge_ca("Root", NULL);
    for (int i = 1; i < 12; i++) {
        char name[16];
        snprintf(name, sizeof(name), "Step %d", i);
        line[i] = forge_ca(name, &line[i - 1]);
    }
    /* Root, `steps` in between, leaf: at most 8 in all. */
    for (size_t steps = 0; steps < 12; steps++) {
        struct forged leaf = forge((struct forge){.name = "deep", .by = &line[steps]});
        int rc = chain_case(&line[0], &leaf, line + 1, steps, CERT_FOR_ANY, FORGE_NOW, why);
        if (steps + 2 <= CERT_CHAIN_MAX)
            assert_int_equal(rc, 0);
        else
            assert_true(rc < 0);
        /* An anchor in the middle is trusted as given. */
        if (steps == 3)
            assert_int_equal(chain_case(&line[2], &leaf, line + 3, 1, CERT_FOR_ANY, FORGE_NOW, why),
                             0);
        forge_free(&leaf);
    }
    for (int i = 0; i < 12; i++)
        forge_free(&line[i]);
}

/* Two authorities that vouch for each other and for nobody else. */
static void loops(void **state)
{
    (void)state;
    struct forged root = forge_ca("Root", NULL), a = forge_ca("A", NULL);
    struct forged b = forge_ca("B", &a);
    struct forged a2 = forge((struct forge){.name = "A",
                                            .by = &b,
                                            .pkey = a.pkey,
                                            .constraints = "critical,CA:TRUE",
                                            .usage = "keyCertSign"});
    struct forged leaf = forge((struct forge){.name = "leaf", .by = &b});
    struct forged middle[] = {a2, b, a2, b, a2, b, a2, b};
    char why[256];
    assert_true(chain_case(&root, &leaf, middle, 8, CERT_FOR_ANY, FORGE_NOW, why) < 0);
    forge_free(&leaf);
    forge_free(&a2);
    forge_free(&b);
    forge_free(&a);
    forge_free(&root);
}

static void bad_intermediates(void **state)
{
    (void)state;
    struct forged root = forge_ca("Root", NULL);
    static const struct {
        const char *what, *constraints, *usage, *extended;
        int want;
    } cases[] = {
        {"good", "critical,CA:TRUE", "keyCertSign", NULL, 0},
        {"good pathlen", "critical,CA:TRUE,pathlen:0", "keyCertSign", NULL, 0},
        {"no CA", "critical,CA:FALSE", "digitalSignature", NULL, ERR_CERT_CHAIN},
        {"no constraints", NULL, NULL, NULL, ERR_CERT_CHAIN},
        {"may not sign certificates", "critical,CA:TRUE", "digitalSignature", NULL, -1},
        {"for code", "critical,CA:TRUE", "keyCertSign", "codeSigning", ERR_CERT_USAGE},
        {"for servers", "critical,CA:TRUE", "keyCertSign", "serverAuth", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct forged middle = forge((struct forge){.name = "Middle",
                                                    .by = &root,
                                                    .constraints = cases[i].constraints,
                                                    .usage = cases[i].usage,
                                                    .extended = cases[i].extended});
        struct forged leaf = forge((struct forge){.name = "leaf", .by = &middle});
        char why[256];
        int rc = chain_case(&root, &leaf, &middle, 1, CERT_FOR_GATEWAY, FORGE_NOW, why);
        if (cases[i].want == -1 ? rc >= 0 : rc != cases[i].want)
            fail_msg("%s: %d, %s", cases[i].what, rc, why);
        forge_free(&leaf);
        forge_free(&middle);
    }
    forge_free(&root);
}

static void purposes(void **state)
{
    (void)state;
    static const struct {
        const char *usage, *extended;
        bool gateway, client;
    } cases[] = {
        {NULL, NULL, true, true},
        {"digitalSignature", NULL, true, true},
        {"nonRepudiation", NULL, true, true},
        {"keyEncipherment", NULL, false, false},
        {"keyCertSign", NULL, false, false},
        {NULL, "serverAuth", true, false},
        {NULL, "clientAuth", false, true},
        {NULL, "serverAuth,clientAuth", true, true},
        {NULL, "anyExtendedKeyUsage", true, true},
        {NULL, "1.3.6.1.5.5.8.2.2", true, true},
        {NULL, "1.3.6.1.5.5.7.3.17", true, true},
        {NULL, "clientAuth,1.3.6.1.5.5.8.2.2", false, true},
        {NULL, "serverAuth,1.3.6.1.5.5.8.2.2", true, true},
        {NULL, "codeSigning", false, false},
        {NULL, "1.2.3.4", false, false},
    };
    struct forged ca = forge_ca("CA", NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct forged leaf = forge((struct forge){
            .name = "leaf", .by = &ca, .usage = cases[i].usage, .extended = cases[i].extended});
        char why[256];
        int rc = chain_case(&ca, &leaf, NULL, 0, CERT_FOR_GATEWAY, FORGE_NOW, why);
        if (rc != (cases[i].gateway ? 0 : ERR_CERT_USAGE))
            fail_msg("case %zu as gateway: %d, %s", i, rc, why);
        rc = chain_case(&ca, &leaf, NULL, 0, CERT_FOR_CLIENT, FORGE_NOW, why);
        if (rc != (cases[i].client ? 0 : ERR_CERT_USAGE))
            fail_msg("case %zu as client: %d, %s", i, rc, why);
        forge_free(&leaf);
    }
    forge_free(&ca);
}

static void weak_keys_and_hashes(void **state)
{
    (void)state;
    struct forged ca = forge_ca("CA", NULL);
    char why[256];
    static const struct {
        unsigned bits;
        int want;
    } sizes[] = {{1024, ERR_CERT_WEAK}, {1536, ERR_CERT_WEAK}, {2048, 0}};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        EVP_PKEY *pkey = EVP_RSA_gen((size_t)sizes[i].bits);
        struct forged leaf = forge((struct forge){.name = "rsa", .by = &ca, .pkey = pkey});
        assert_int_equal(chain_case(&ca, &leaf, NULL, 0, CERT_FOR_ANY, FORGE_NOW, why),
                         sizes[i].want);
        if (sizes[i].bits == 1024)
            assert_string_equal(why, "the RSA key of certificate \"CN=rsa\" has 1024 bits; 2048 "
                                     "to 8192 are accepted");
        forge_free(&leaf);
        EVP_PKEY_free(pkey);
    }
    struct forged old = forge((struct forge){.name = "sha1", .by = &ca, .digest = EVP_sha1()});
    assert_int_equal(chain_case(&ca, &old, NULL, 0, CERT_FOR_ANY, FORGE_NOW, why), ERR_CERT_WEAK);
    /* A root's own signature says nothing, so it may be of any kind. */
    struct forged old_root = forge(
        (struct forge){.name = "Old", .constraints = "critical,CA:TRUE", .digest = EVP_sha1()});
    struct forged leaf = forge((struct forge){.name = "leaf", .by = &old_root});
    assert_int_equal(chain_case(&old_root, &leaf, NULL, 0, CERT_FOR_ANY, FORGE_NOW, why), 0);
    /* A curve that IKE has no method for. */
    EVP_PKEY *koblitz = EVP_EC_gen("secp256k1");
    struct forged odd = forge((struct forge){.name = "odd", .by = &ca, .pkey = koblitz});
    assert_int_equal(chain_case(&ca, &odd, NULL, 0, CERT_FOR_ANY, FORGE_NOW, why), ERR_UNSUPPORTED);
    forge_free(&odd);
    EVP_PKEY_free(koblitz);
    forge_free(&leaf);
    forge_free(&old_root);
    forge_free(&old);
    forge_free(&ca);
}

static void constrained_names(void **state)
{
    (void)state;
    struct forged root = forge_ca("Root", NULL);
    struct forged middle =
        forge((struct forge){.name = "Constrained",
                             .by = &root,
                             .constraints = "critical,CA:TRUE",
                             .usage = "keyCertSign",
                             .name_constraints = "critical,permitted;DNS:good.example,"
                                                 "permitted;email:good.example,"
                                                 "excluded;DNS:bad.good.example"});
    static const struct {
        const char *names;
        bool good;
    } cases[] = {
        {"DNS:vpn.good.example", true},
        {"DNS:VPN.GOOD.EXAMPLE", true},
        {"DNS:vpn.evil.example", false},
        {"DNS:vpn.bad.good.example", false},
        {"DNS:vpn.BAD.good.example", false},
        {"DNS:vpn.good.example,DNS:vpn.evil.example", false},
        {"email:a@good.example", true},
        {"email:a@GOOD.example", true},
        {"email:a@evil.example", false},
        {"IP:192.0.2.1", true}, /* no constraint on addresses */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct forged leaf =
            forge((struct forge){.organization = "leaf", .by = &middle, .names = cases[i].names});
        char why[256];
        int rc = chain_case(&root, &leaf, &middle, 1, CERT_FOR_ANY, FORGE_NOW, why);
        if (cases[i].good ? rc != 0 : rc != ERR_CERT_CHAIN)
            fail_msg("%s: %d, %s", cases[i].names, rc, why);
        forge_free(&leaf);
    }
    forge_free(&middle);
    forge_free(&root);
}

/* An extension that is critical and unknown to us may change what everything else means. */
static void unknown_critical(void **state)
{
    (void)state;
    struct forged ca = forge_ca("CA", NULL);
    struct forged leaf = forge((struct forge){.name = "leaf", .by = &ca});
    ASN1_OBJECT *oid = OBJ_txt2obj("1.2.3.4.5", 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(value, (const unsigned char *)"\x05\x00", 2);
    X509_EXTENSION *extension = X509_EXTENSION_create_by_OBJ(NULL, oid, 1, value);
    X509_add_ext(leaf.x509, extension, -1);
    assert_true(X509_sign(leaf.x509, ca.pkey, EVP_sha256()) > 0);
    char why[256];
    assert_int_equal(chain_case(&ca, &leaf, NULL, 0, CERT_FOR_ANY, FORGE_NOW, why), ERR_CERT_CHAIN);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(oid);
    forge_free(&leaf);
    forge_free(&ca);
}

static void many_names(void **state)
{
    (void)state;
    char names[12000];
    size_t at = 0;
    for (int i = 0; i < 1000; i++)
        at += (size_t)snprintf(names + at, sizeof(names) - at, "%sDNS:h%d.x", i ? "," : "", i);
    struct forged f = forge((struct forge){.name = "many", .names = names});
    struct cert *cert = forge_cert(&f);
    assert_true(carries(cert, "h999.x"));
    assert_false(carries(cert, "h1000.x"));
    cert_free(cert);
    forge_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truncated_and_flipped),
        cmocka_unit_test(pem_bundles),
        cmocka_unit_test(identities),
        cmocka_unit_test(zero_in_name),
        cmocka_unit_test(identity_to_claim),
        cmocka_unit_test(names_as_text),
        cmocka_unit_test(one_spelling),
        cmocka_unit_test(times),
        cmocka_unit_test(unknown_authority),
        cmocka_unit_test(depth),
        cmocka_unit_test(loops),
        cmocka_unit_test(bad_intermediates),
        cmocka_unit_test(purposes),
        cmocka_unit_test(weak_keys_and_hashes),
        cmocka_unit_test(constrained_names),
        cmocka_unit_test(unknown_critical),
        cmocka_unit_test(many_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
