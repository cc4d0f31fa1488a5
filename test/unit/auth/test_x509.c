/* A peer's proof by certificate, whole: chain, identity, signature, and what the cache may keep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "auth/auth.h"

enum { NOW = 1800000000, DAY = 86400, CA_DAYS = 100, LEAF_DAYS = 10 };

struct party {
    struct cert *cert;
    struct private_key *key;
    struct identity id;
};

static struct party issue(const struct party *ca, const char *name, enum key_kind kind,
                          enum cert_purpose purpose)
{
    struct party p;
    char *cert_pem, *key_pem;
    if (!identity_parse(name, &p.id))
        p.id = (struct identity){0};
    struct pki_request request = {.common_name = name,
                                  .names = &p.id,
                                  .name_count = ca ? 1 : 0,
                                  .key = kind,
                                  .days = ca ? LEAF_DAYS : CA_DAYS,
                                  .purpose = purpose,
                                  .ca = !ca};
    assert_int_equal(
        pki_issue(&request, ca ? ca->cert : NULL, ca ? ca->key : NULL, NOW, &cert_pem, &key_pem),
        0);
    struct bytes pem = {(const uint8_t *)cert_pem, strlen(cert_pem)};
    assert_int_equal(cert_parse_pem(pem, &p.cert, 1), 1);
    pem = (struct bytes){(const uint8_t *)key_pem, strlen(key_pem)};
    assert_int_equal(private_key_parse(pem, &p.key), 0);
    pki_text_free(cert_pem);
    pki_text_free(key_pem);
    return p;
}

static void dismiss(struct party *p)
{
    cert_free(p->cert);
    private_key_free(p->key);
}

static struct cert_trust *trust_in(const struct party *ca)
{
    struct cert_trust *trust = cert_trust_create();
    assert_non_null(trust);
    assert_int_equal(cert_trust_add(trust, ca->cert), 0);
    return trust;
}

static const uint8_t octets[] = "what the peer has to sign";
static const struct sign_limits no_limits;

struct proof {
    struct auth_peer_proof p;
    struct bytes certs[WIRE_CERTS_MAX + 1];
    uint8_t data[SIGNATURE_MAX + 128];
};

/* A proof as an honest peer makes it. */
static void prove(struct proof *out, const struct party *party, uint8_t method,
                  enum sign_scheme scheme)
{
    uint8_t signature[SIGNATURE_MAX];
    size_t len;
    struct bytes message = {octets, sizeof(octets)};
    assert_int_equal(sign(party->key, scheme, message, signature, &len), 0);
    struct writer w = writer_of(out->data, sizeof(out->data));
    assert_int_equal(auth_signature_write(&w, method, scheme, (struct bytes){signature, len}), 0);
    out->certs[0] = cert_der(party->cert);
    out->p = (struct auth_peer_proof){.peer = &party->id,
                                      .certs = out->certs,
                                      .cert_count = 1,
                                      .method = method,
                                      .data = writer_view(&w),
                                      .octets = message,
                                      .purpose = CERT_FOR_CLIENT,
                                      .limits = &no_limits,
                                      .now = NOW};
}

static int check(const struct cert_trust *trust, struct auth_cache *cache,
                 const struct proof *proof)
{
    char why[256];
    enum sign_scheme scheme;
    memset(why, 'x', sizeof(why));
    int rc = auth_verify_cert(trust, cache, &proof->p, &scheme, why);
    assert_non_null(memchr(why, 0, sizeof(why)));
    if (rc == 0)
        assert_true(scheme != SIGN_NONE);
    else
        assert_true(scheme == SIGN_NONE && why[0] != '\0');
    return rc;
}

static void every_method(void **state)
{
    (void)state;
    static const struct {
        enum key_kind kind;
        uint8_t method;
        enum sign_scheme scheme;
    } cases[] = {
        {KEY_RSA, 1, SIGN_RSA_PKCS1_SHA1},         {KEY_RSA, 1, SIGN_RSA_PKCS1_SHA256},
        {KEY_RSA, 1, SIGN_RSA_PKCS1_SHA512},       {KEY_RSA, 14, SIGN_RSA_PKCS1_SHA256},
        {KEY_RSA, 14, SIGN_RSA_PKCS1_SHA384},      {KEY_RSA, 14, SIGN_RSA_PSS_SHA256},
        {KEY_RSA, 14, SIGN_RSA_PSS_SHA512},        {KEY_ECDSA_P256, 9, SIGN_ECDSA_P256_RAW},
        {KEY_ECDSA_P256, 14, SIGN_ECDSA_SHA256},   {KEY_ECDSA_P256, 14, SIGN_ECDSA_SHA512},
        {KEY_ECDSA_P384, 10, SIGN_ECDSA_P384_RAW}, {KEY_ECDSA_P384, 14, SIGN_ECDSA_SHA256},
        {KEY_ECDSA_P521, 11, SIGN_ECDSA_P521_RAW}, {KEY_ECDSA_P521, 14, SIGN_ECDSA_SHA512},
        {KEY_ED25519, 14, SIGN_ED25519},
    };
    struct party ca = issue(NULL, "CA", KEY_ECDSA_P256, CERT_FOR_ANY);
    struct cert_trust *trust = trust_in(&ca);
    struct party peer = {NULL, NULL, {0}};
    enum key_kind have = KEY_NONE;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct proof proof;
        enum sign_scheme used;
        char why[256];
        if (cases[i].kind != have) {
            dismiss(&peer);
            peer = issue(&ca, "alice@example.com", cases[i].kind, CERT_FOR_CLIENT);
            have = cases[i].kind;
        }
        prove(&proof, &peer, cases[i].method, cases[i].scheme);
        assert_int_equal(auth_verify_cert(trust, NULL, &proof.p, &used, why), 0);
        assert_int_equal(used, cases[i].scheme);
        proof.data[proof.p.data.len - 1] ^= 1;
        assert_int_equal(check(trust, NULL, &proof), ERR_AUTH);
        proof.data[proof.p.data.len - 1] ^= 1;
        proof.p.octets.len--;
        assert_int_equal(check(trust, NULL, &proof), ERR_AUTH);
        proof.p.octets.len++;
        proof.p.method = cases[i].method == 14 ? 1 : 14;
        assert_true(check(trust, NULL, &proof) < 0);
        proof.p.method = 2;
        assert_int_equal(check(trust, NULL, &proof), ERR_UNSUPPORTED);
    }
    dismiss(&peer);
    cert_trust_free(trust);
    dismiss(&ca);
}

static void what_must_fail(void **state)
{
    (void)state;
    struct party ca = issue(NULL, "CA", KEY_ECDSA_P256, CERT_FOR_ANY);
    struct party stranger_ca = issue(NULL, "CA", KEY_ECDSA_P256, CERT_FOR_ANY);
    struct party alice = issue(&ca, "alice@example.com", KEY_ECDSA_P256, CERT_FOR_CLIENT);
    struct party mallory = issue(&ca, "mallory@example.com", KEY_ECDSA_P256, CERT_FOR_CLIENT);
    struct party fake = issue(&stranger_ca, "alice@example.com", KEY_ECDSA_P256, CERT_FOR_CLIENT);
    struct cert_trust *trust = trust_in(&ca);
    for (int with_cache = 0; with_cache <= 1; with_cache++) {
        struct auth_cache *cache = with_cache ? auth_cache_create(16) : NULL;
        struct proof good, proof;
        prove(&good, &alice, 14, SIGN_ECDSA_SHA256);
        assert_int_equal(check(trust, cache, &good), 0);
        assert_int_equal(check(trust, cache, &good), 0);

        /* Mallory proves herself, and claims to be Alice */
        prove(&proof, &mallory, 14, SIGN_ECDSA_SHA256);
        proof.p.peer = &alice.id;
        assert_int_equal(check(trust, cache, &proof), ERR_CERT_NAME);
        /* Alice's certificate, Mallory's signature */
        prove(&proof, &mallory, 14, SIGN_ECDSA_SHA256);
        proof.certs[0] = cert_der(alice.cert);
        proof.p.peer = &alice.id;
        assert_int_equal(check(trust, cache, &proof), ERR_AUTH);
        /* both certificates, Mallory's second: only the first counts */
        proof.certs[1] = cert_der(mallory.cert);
        proof.p.cert_count = 2;
        assert_int_equal(check(trust, cache, &proof), ERR_AUTH);
        /* another CA of the same name */
        prove(&proof, &fake, 14, SIGN_ECDSA_SHA256);
        assert_true(check(trust, cache, &proof) < 0);
        proof.certs[1] = cert_der(stranger_ca.cert);
        proof.p.cert_count = 2;
        assert_true(check(trust, cache, &proof) < 0);
        /* as a gateway, too late, too early */
        proof = good;
        proof.p.certs = proof.certs;
        proof.p.purpose = CERT_FOR_GATEWAY;
        assert_int_equal(check(trust, cache, &proof), ERR_CERT_USAGE);
        proof.p.purpose = CERT_FOR_CLIENT;
        proof.p.now = NOW + (int64_t)(LEAF_DAYS + 1) * DAY;
        assert_int_equal(check(trust, cache, &proof), ERR_CERT_EXPIRED);
        proof.p.now = NOW - (int64_t)2 * DAY;
        assert_int_equal(check(trust, cache, &proof), ERR_CERT_NOT_YET);
        proof.p.now = NOW;
        /* none, unreadable, too many */
        proof.p.cert_count = 0;
        assert_int_equal(check(trust, cache, &proof), ERR_CERT_PARSE);
        proof.p.cert_count = 1;
        proof.certs[0].len--;
        assert_int_equal(check(trust, cache, &proof), ERR_CERT_PARSE);
        proof.certs[0].len++;
        for (size_t i = 1; i <= WIRE_CERTS_MAX; i++)
            proof.certs[i] = cert_der(ca.cert);
        proof.p.cert_count = WIRE_CERTS_MAX;
        assert_int_equal(check(trust, cache, &proof), 0);
        proof.p.cert_count = WIRE_CERTS_MAX + 1;
        assert_int_equal(check(trust, cache, &proof), ERR_LIMIT);
        assert_int_equal(check(trust, cache, &good), 0);
        auth_cache_free(cache);
    }
    cert_trust_free(trust);
    dismiss(&fake);
    dismiss(&mallory);
    dismiss(&alice);
    dismiss(&stranger_ca);
    dismiss(&ca);
}

/* A verdict counts for the anchors, the role and the span it was made for. */
static void cache_is_no_back_door(void **state)
{
    (void)state;
    struct party ca = issue(NULL, "CA", KEY_ECDSA_P256, CERT_FOR_ANY);
    struct party other_ca = issue(NULL, "Other", KEY_ECDSA_P256, CERT_FOR_ANY);
    struct party alice = issue(&ca, "alice@example.com", KEY_ED25519, CERT_FOR_CLIENT);
    struct auth_cache *cache = auth_cache_create(1);
    struct cert_trust *trust = trust_in(&ca);
    struct proof proof;
    prove(&proof, &alice, 14, SIGN_ED25519);
    assert_int_equal(check(trust, cache, &proof), 0);
    /* the anchors changed: very likely at the same address */
    cert_trust_free(trust);
    trust = trust_in(&other_ca);
    assert_int_equal(check(trust, cache, &proof), ERR_CERT_UNKNOWN_CA);
    assert_int_equal(cert_trust_add(trust, ca.cert), 0);
    assert_int_equal(check(trust, cache, &proof), 0);
    proof.p.purpose = CERT_FOR_ANY;
    assert_int_equal(check(trust, cache, &proof), 0);
    proof.p.purpose = CERT_FOR_GATEWAY;
    assert_int_equal(check(trust, cache, &proof), ERR_CERT_USAGE);
    auth_cache_free(cache);
    cert_trust_free(trust);
    dismiss(&alice);
    dismiss(&other_ca);
    dismiss(&ca);
}

/* More peers than places: still right, and still bounded (the sanitizers count). */
static void cache_churn(void **state)
{
    (void)state;
    enum { PEERS = 40 };
    struct party ca = issue(NULL, "CA", KEY_ED25519, CERT_FOR_ANY), peers[PEERS];
    struct cert_trust *trust = trust_in(&ca);
    struct auth_cache *cache = auth_cache_create(8);
    for (int i = 0; i < PEERS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "peer%d@example.com", i);
        peers[i] = issue(&ca, name, KEY_ED25519, CERT_FOR_CLIENT);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < PEERS; i++) {
            struct proof proof;
            prove(&proof, &peers[i], 14, SIGN_ED25519);
            assert_int_equal(check(trust, cache, &proof), 0);
            proof.p.peer = &peers[(i + 1) % PEERS].id;
            assert_int_equal(check(trust, cache, &proof), ERR_CERT_NAME);
        }
    }
    for (int i = 0; i < PEERS; i++)
        dismiss(&peers[i]);
    auth_cache_free(cache);
    auth_cache_free(NULL);
    cert_trust_free(trust);
    dismiss(&ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method),
        cmocka_unit_test(what_must_fail),
        cmocka_unit_test(cache_is_no_back_door),
        cmocka_unit_test(cache_churn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
