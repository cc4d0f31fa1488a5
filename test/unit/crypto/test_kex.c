#include "vectors.h"

#include "crypto/crypto.h"
#include "crypto/openssl.h"

#include <openssl/bn.h>

enum { LAST_ID = 37 };

/* Our key pair with the given private octets, then the peer's value: what kex_derive says. */
static int with_private(const struct kex_alg *alg, struct bytes private, struct bytes peer,
                        uint8_t secret[static KEX_SECRET_MAX])
{
    struct script script = {.octets = private};
    struct random random = script_random(&script);
    struct kex *kex;
    int rc;

    assert_int_equal(kex_create(alg, &random, &kex), 0);
    assert_ptr_equal(kex_alg(kex), alg);
    rc = kex_derive(kex, peer, secret);
    kex_free(kex);
    return rc;
}

static void refused(const struct kex_alg *alg, struct bytes private, struct bytes peer)
{
    uint8_t secret[KEX_SECRET_MAX], zero[KEX_SECRET_MAX] = {0};

    memset(secret, 0, sizeof(secret));
    assert_int_equal(with_private(alg, private, peer, secret), ERR_KE);
    assert_memory_equal(secret, zero, sizeof(secret));
}

/* ---- X25519, X448 ---- */

static bool flagged(const json_t *test, const char *flag)
{
    json_t *flags = json_object_get(test, "flags"), *f;
    size_t i;

    json_array_foreach(flags, i, f) if (strcmp(json_string_value(f), flag) == 0) return true;
    return false;
}

static void xdh_file(const char *name, uint16_t id, size_t zero_secrets)
{
    json_t *doc = vectors_load(name), *group, *test;
    const struct kex_alg *alg = suite_kex(id);
    size_t g, t, ran = 0, zero = 0;
    uint8_t secret[KEX_SECRET_MAX];

    if (doc == NULL)
        skip();
    json_array_foreach(json_object_get(doc, "testGroups"), g, group)
    {
        json_array_foreach(json_object_get(group, "tests"), t, test)
        {
            struct bytes public = vectors_hex(test, "public");
            struct bytes private = vectors_hex(test, "private");
            struct bytes shared = vectors_hex(test, "shared");

            if (flagged(test, "ZeroSharedSecret"))
                zero++;
            if (flagged(test, "ZeroSharedSecret") ||
                strcmp(vectors_text(test, "result"), "invalid") == 0) {
                refused(alg, private, public);
            } else {
                assert_int_equal(with_private(alg, private, public, secret), 0);
                assert_int_equal(shared.len, alg->secret_len);
                assert_memory_equal(secret, shared.at, shared.len);
            }
            vectors_free(public), vectors_free(private), vectors_free(shared);
            ran++;
        }
    }
    json_decref(doc);
    assert_int_equal(zero, zero_secrets);
    printf("note: %s: %zu cases, %zu with an all-zero secret refused, 0 skipped\n", name, ran,
           zero);
}

static void wycheproof_xdh(void **state)
{
    (void)state;
    xdh_file("wycheproof/x25519_test.json", 31, 31);
    xdh_file("wycheproof/x448_test.json", 32, 11);
}

/* ---- ECP ---- */

/* The private value, which the file writes as an integer of any length, as the octets we draw. */
static struct bytes scalar_of(struct bytes private, size_t len, uint8_t out[static 72])
{
    memset(out, 0, 72);
    while (private.len > len && private.at[0] == 0)
    private = (struct bytes){private.at + 1, private.len - 1};
    assert_true(private.len <= len);
    memcpy(out + len - private.len, private.at, private.len);
    return (struct bytes){out, len};
}

static void ecp_file(const char *name, uint16_t id)
{
    json_t *doc = vectors_load(name), *group, *test;
    const struct kex_alg *alg = suite_kex(id);
    size_t g, t, ran = 0, skipped = 0;
    uint8_t secret[KEX_SECRET_MAX], scalar[72];

    if (doc == NULL)
        skip();
    json_array_foreach(json_object_get(doc, "testGroups"), g, group)
    {
        json_array_foreach(json_object_get(group, "tests"), t, test)
        {
            struct bytes point = vectors_hex(test, "public");
            struct bytes number = vectors_hex(test, "private");
            struct bytes shared = vectors_hex(test, "shared");
            struct bytes private = scalar_of(number, alg->secret_len, scalar);

            if (point.len > 0 && point.at[0] == 4) {
                struct bytes xy = {point.at + 1, point.len - 1};

                if (strcmp(vectors_text(test, "result"), "valid") == 0) {
                    assert_int_equal(with_private(alg, private, xy, secret), 0);
                    assert_int_equal(shared.len, alg->secret_len);
                    assert_memory_equal(secret, shared.at, shared.len);
                } else {
                    refused(alg, private, xy);
                }
                ran++;
            } else { /* IKE has no compressed form: the length alone refuses it */
                refused(alg, private, point);
                skipped++;
            }
            vectors_free(point), vectors_free(number), vectors_free(shared);
        }
    }
    json_decref(doc);
    printf("note: %s: %zu cases; %zu compressed or empty points refused for their form\n", name,
           ran, skipped);
}

static void wycheproof_ecp(void **state)
{
    (void)state;
    ecp_file("wycheproof/ecdh_secp256r1_ecpoint_test.json", 19);
    ecp_file("wycheproof/ecdh_secp384r1_ecpoint_test.json", 20);
    ecp_file("wycheproof/ecdh_secp521r1_ecpoint_test.json", 21);
}

static void ecp_bad_points(void **state)
{
    uint8_t point[132], secret[KEX_SECRET_MAX];
    uint64_t seed = 99;
    struct random random = {seeded_fill, &seed};
    struct kex *ours, *theirs;

    (void)state;
    for (uint16_t id = 19; id <= 21; id++) {
        const struct kex_alg *alg = suite_kex(id);
        struct bytes peer = {point, alg->public_len};

        assert_int_equal(kex_create(alg, &random, &ours), 0);
        assert_int_equal(kex_create(alg, &random, &theirs), 0);
        for (size_t bit = 0; bit < 8u * alg->public_len; bit += 7) {
            memcpy(point, kex_value(theirs).at, alg->public_len);
            point[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(kex_derive(ours, peer, secret), ERR_KE);
        }
        memset(point, 0, sizeof(point)); /* (0, 0) is on none of the curves */
        assert_int_equal(kex_derive(ours, peer, secret), ERR_KE);
        memset(point, 0xff, sizeof(point)); /* coordinates over p */
        assert_int_equal(kex_derive(ours, peer, secret), ERR_KE);
        kex_free(ours), kex_free(theirs);
    }
}

/* A draw of 0 or of the order is drawn again; a source that gives nothing else ends in an error. */
static void ecp_rejects_scalars(void **state)
{
    uint8_t octets[96], stuck[1] = {0xff};
    struct script script = {.octets = {octets, sizeof(octets)}};
    struct script broken = {.octets = {stuck, sizeof(stuck)}};
    struct random random = script_random(&script), never = script_random(&broken);
    struct kex *first, *second;

    (void)state;
    memset(octets, 0, 32);
    memset(octets + 32, 0xff, 32);
    memset(octets + 64, 0x11, 32);
    assert_int_equal(kex_create(suite_kex(19), &random, &first), 0);
    assert_int_equal(script.used, 96);
    script = (struct script){.octets = {octets + 64, 32}};
    assert_int_equal(kex_create(suite_kex(19), &random, &second), 0);
    assert_true(bytes_equal(kex_value(first), kex_value(second)));
    kex_free(first), kex_free(second);
    assert_int_equal(kex_create(suite_kex(19), &never, &first), ERR_CRYPTO);
}

/* ---- MODP ---- */

static BIGNUM *prime_of(uint16_t id)
{
    return id == 2    ? BN_get_rfc2409_prime_1024(NULL)
           : id == 5  ? BN_get_rfc3526_prime_1536(NULL)
           : id == 14 ? BN_get_rfc3526_prime_2048(NULL)
           : id == 15 ? BN_get_rfc3526_prime_3072(NULL)
           : id == 16 ? BN_get_rfc3526_prime_4096(NULL)
           : id == 17 ? BN_get_rfc3526_prime_6144(NULL)
                      : BN_get_rfc3526_prime_8192(NULL);
}

static void modp_primes(void **state)
{
    json_t *doc = vectors_load("rfc/rfc_vectors.json");

    (void)state;
    if (doc == NULL)
        skip();
    for (uint16_t id = 2; id <= 18; id++) {
        char key[8];
        if (suite_kex(id) == NULL)
            continue;
        BIGNUM *prime = prime_of(id);
        struct bytes listed;
        uint8_t octets[1024];

        snprintf(key, sizeof(key), "%u", id);
        listed = vectors_hex(
            json_object_get(json_object_get(doc, "rfc2409_rfc3526_modp_primes"), key), "prime");
        assert_int_equal(BN_bn2bin(prime, octets), (int)listed.len);
        assert_memory_equal(octets, listed.at, listed.len);
        vectors_free(listed);
        BN_free(prime);
    }
    json_decref(doc);
}

/* p + delta and small values, padded to the group's length. */
static void modp_edge_values(void **state)
{
    uint64_t seed = 7;
    struct random random = {seeded_fill, &seed};
    uint8_t value[1024], secret[KEX_SECRET_MAX];

    (void)state;
    for (uint16_t id = 2; id <= 18; id++) {
        const struct kex_alg *alg = suite_kex(id);
        if (alg == NULL)
            continue;
        struct bytes peer = {value, alg->public_len};
        BIGNUM *prime = prime_of(id), *v = BN_new();
        struct kex *kex;

        assert_int_equal(kex_create(alg, &random, &kex), 0);
        for (int delta = -3; delta <= 3; delta++) { /* p-1 and up are refused, p-2 is a number */
            BN_copy(v, prime);
            assert_int_equal(
                delta < 0 ? BN_sub_word(v, (BN_ULONG)-delta) : BN_add_word(v, (BN_ULONG)delta), 1);
            assert_int_equal(BN_bn2binpad(v, value, alg->public_len), alg->public_len);
            assert_int_equal(kex_derive(kex, peer, secret), delta < -1 ? 0 : ERR_KE);
        }
        for (uint8_t small = 0; small <= 3; small++) {
            memset(value, 0, sizeof(value));
            value[alg->public_len - 1] = small;
            assert_int_equal(kex_derive(kex, peer, secret), small > 1 ? 0 : ERR_KE);
        }
        memset(value, 0xff, sizeof(value)); /* 2^n - 1 is over p */
        assert_int_equal(kex_derive(kex, peer, secret), ERR_KE);
        memset(value, 0, sizeof(value)); /* 2: the secret is our public value */
        value[alg->public_len - 1] = 2;
        assert_int_equal(kex_derive(kex, peer, secret), 0);
        assert_memory_equal(secret, kex_value(kex).at, alg->public_len);
        kex_free(kex), BN_free(v), BN_free(prime);
    }
}

/* The secret keeps its leading zeros: against plain arithmetic, until one begins with a zero. */
static void modp_padding(void **state)
{
    const struct kex_alg *alg = suite_kex(14);
    uint64_t seed = 41;
    struct random random = {seeded_fill, &seed};
    BIGNUM *prime = prime_of(14), *want = BN_new(), *base = BN_new(), *exponent = BN_new();
    BN_CTX *ctx = BN_CTX_new();
    size_t short_ones = 0;

    (void)state;
    for (int i = 0; i < 1500 && short_ones < 2; i++) {
        uint8_t private[40], peer[256], secret[KEX_SECRET_MAX], expected[256];

        random_fill(&random, private, sizeof(private));
        random_fill(&random, peer, sizeof(peer));
        peer[0] &= 0x7f, private[0] |= 0x80;
        BN_bin2bn(peer, sizeof(peer), base);
        BN_bin2bn(private, sizeof(private), exponent);
        BN_mod_exp(want, base, exponent, prime, ctx);
        BN_bn2binpad(want, expected, sizeof(expected));
        if (expected[0] != 0 && i > 2)
            continue;
        short_ones += expected[0] == 0;
        assert_int_equal(with_private(alg, (struct bytes){private, sizeof(private)},
                                      (struct bytes){peer, sizeof(peer)}, secret),
                         0);
        assert_memory_equal(secret, expected, sizeof(expected));
    }
    assert_true(short_ones > 0);
    BN_CTX_free(ctx), BN_free(exponent), BN_free(base), BN_free(want), BN_free(prime);
}

/* ---- all groups ---- */

static void both_sides_agree(void **state)
{
    uint64_t seed = 1;
    struct random random = {seeded_fill, &seed};

    (void)state;
    for (uint16_t id = 1; id <= LAST_ID; id++) {
        const struct kex_alg *alg = suite_kex(id);
        struct kex *a, *b;
        uint8_t sa[KEX_SECRET_MAX], sb[KEX_SECRET_MAX];

        if (alg == NULL)
            continue;
        for (int round = 0; round < 3; round++) {
            assert_int_equal(kex_create(alg, &random, &a), 0);
            assert_int_equal(kex_value(a).len, alg->public_len);
            assert_int_equal(kex_answer(alg, &random, kex_value(a), &b), 0);
            assert_int_equal(kex_value(b).len, alg->answer_len);
            assert_false(bytes_equal(kex_value(a), kex_value(b)));
            assert_int_equal(kex_derive(a, kex_value(b), sa), 0);
            assert_int_equal(kex_derive(b, kex_value(a), sb), 0);
            assert_memory_equal(sa, sb, alg->secret_len);
            kex_free(a), kex_free(b);
        }
    }
    kex_free(NULL);
}

static void same_seed_same_values(void **state)
{
    (void)state;
    for (uint16_t id = 1; id <= LAST_ID; id++) {
        const struct kex_alg *alg = suite_kex(id);
        struct kex *begun[2], *answers[2];

        if (alg == NULL)
            continue;
        for (int i = 0; i < 2; i++) {
            uint64_t seed = 4711;
            struct random random = {seeded_fill, &seed};

            assert_int_equal(kex_create(alg, &random, &begun[i]), 0);
            assert_int_equal(kex_answer(alg, &random, kex_value(begun[i]), &answers[i]), 0);
        }
        assert_true(bytes_equal(kex_value(begun[0]), kex_value(begun[1])));
        assert_true(bytes_equal(kex_value(answers[0]), kex_value(answers[1])));
        for (int i = 0; i < 2; i++)
            kex_free(begun[i]), kex_free(answers[i]);
    }
}

static void wrong_lengths(void **state)
{
    uint64_t seed = 3;
    struct random random = {seeded_fill, &seed};
    uint8_t peer[KEX_PUBLIC_MAX] = {0}, secret[KEX_SECRET_MAX];

    (void)state;
    for (uint16_t id = 1; id <= LAST_ID; id++) {
        const struct kex_alg *alg = suite_kex(id);
        struct kex *a, *b, *none = NULL;

        if (alg == NULL)
            continue;
        assert_int_equal(kex_create(alg, &random, &a), 0);
        assert_int_equal(kex_answer(alg, &random, kex_value(a), &b), 0);
        memcpy(peer, kex_value(b).at, alg->answer_len);
        for (size_t len = 0; len < sizeof(peer); len++)
            if (len != alg->answer_len)
                assert_int_equal(kex_derive(a, (struct bytes){peer, len}, secret), ERR_KE);
        assert_int_equal(kex_derive(a, (struct bytes){peer, alg->answer_len}, secret), 0);
        memcpy(peer, kex_value(a).at, alg->public_len);
        for (size_t len = 0; len < sizeof(peer); len++)
            if (len != alg->public_len) {
                struct bytes wrong = {peer, len};
                assert_int_equal(kex_derive(b, wrong, secret), ERR_KE);
                assert_int_equal(kex_answer(alg, &random, wrong, &none), ERR_KE);
            }
        assert_null(none);
        kex_free(a), kex_free(b);
    }
    assert_int_equal(kex_create(&(struct kex_alg){.id = 22}, &random, &(struct kex *){NULL}),
                     ERR_UNSUPPORTED);
    assert_int_equal(
        kex_answer(&(struct kex_alg){.id = 22}, &random, (struct bytes){0}, &(struct kex *){NULL}),
        ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wycheproof_xdh),        cmocka_unit_test(wycheproof_ecp),
        cmocka_unit_test(ecp_bad_points),        cmocka_unit_test(ecp_rejects_scalars),
        cmocka_unit_test(modp_primes),           cmocka_unit_test(modp_edge_values),
        cmocka_unit_test(modp_padding),          cmocka_unit_test(both_sides_agree),
        cmocka_unit_test(same_seed_same_values), cmocka_unit_test(wrong_lengths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
