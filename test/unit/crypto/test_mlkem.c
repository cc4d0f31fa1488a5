/* ML-KEM: all that NIST and Wycheproof say, in our own code for each kind of CPU and in libcrypto's
 * where it has it; and what they do not say. */
#include "vectors.h"

#include "crypto/crypto.h"
#include "crypto/kex_method.h"
#include "crypto/mlkem.h"

#define WYCHEPROOF "wycheproof/mlkem_"

/* ---- what can do it ---- */

/* The parameter set of a group of cases, by its name. */
static uint16_t id_of(const json_t *group)
{
    const char *name = vectors_text(group, "parameterSet");

    return strcmp(name, "ML-KEM-512") == 0 ? 35 : strcmp(name, "ML-KEM-768") == 0 ? 36 : 37;
}

/* The n-th version of our own code; false after the last that this CPU has. */
static bool version(uint16_t id, size_t n, struct mlkem *out)
{
    assert_true(mlkem_of(id, out));
    if (n == 0)
        return true;
    if (n > 1 || out->code == &poly_code_plain)
        return false;
    out->code = &poly_code_plain;
    return true;
}

/* The back ends of kex that are here. */
static size_t methods(const struct kex_method *out[2])
{
    size_t n = 0;

    out[n++] = &kex_mlkem;
    if (kex_mlkem_ossl_has(36))
        out[n++] = &kex_mlkem_ossl;
    return n;
}

static void same(struct bytes have, struct bytes want)
{
    assert_int_equal(have.len, want.len);
    assert_memory_equal(have.at, want.at, want.len);
}

/* ---- one case ---- */

/* A seed makes these keys; empty ones are not asked for. */
static void case_create(uint16_t id, struct bytes seed, struct bytes ek, struct bytes dk)
{
    const struct kex_method *by[2];
    struct mlkem m;
    uint8_t e[MLKEM_EK_MAX], d[MLKEM_DK_MAX];
    struct kex *kex;

    for (size_t n = 0; version(id, n, &m); n++) {
        assert_int_equal(mlkem_create(&m, seed.at, e, d), 0);
        same((struct bytes){e, mlkem_ek_len(&m)}, ek);
        if (dk.len > 0)
            same((struct bytes){d, mlkem_dk_len(&m)}, dk);
    }
    for (size_t n = methods(by); n-- > 0;) {
        struct script script = {.octets = seed};
        struct random random = script_random(&script);

        assert_int_equal(kex_make(by[n], suite_kex(id), &random, NULL, &kex), 0);
        assert_int_equal(script.used, MLKEM_SEED);
        same(kex_value(kex), ek);
        kex_free(kex);
    }
}

/* m, ek -> c, K; or with valid = false, ek is refused. */
static void case_encapsulate(uint16_t id, struct bytes octets, struct bytes ek, struct bytes c,
                             struct bytes k, bool valid)
{
    const struct kex_method *by[2];
    struct mlkem m;
    uint8_t ct[MLKEM_CT_MAX], secret[KEX_SECRET_MAX];
    struct kex *kex;

    for (size_t n = 0; version(id, n, &m); n++) {
        assert_int_equal(mlkem_encapsulate(&m, ek, octets.at, ct, secret), valid ? 0 : ERR_KE);
        if (valid) {
            same((struct bytes){ct, mlkem_ct_len(&m)}, c);
            same((struct bytes){secret, MLKEM_OCTETS}, k);
        }
    }
    for (size_t n = methods(by); n-- > 0;) {
        struct script script = {.octets = octets};
        struct random random = script_random(&script);

        assert_int_equal(kex_make(by[n], suite_kex(id), &random, &ek, &kex), valid ? 0 : ERR_KE);
        if (!valid)
            continue;
        same(kex_value(kex), c);
        assert_int_equal(kex_derive(kex, ek, secret), 0);
        same((struct bytes){secret, MLKEM_OCTETS}, k);
        kex_free(kex);
    }
}

static void case_decapsulate(uint16_t id, struct bytes dk, struct bytes c, struct bytes k,
                             bool valid)
{
    struct mlkem m;
    uint8_t secret[MLKEM_OCTETS];

    for (size_t n = 0; version(id, n, &m); n++) {
        assert_int_equal(mlkem_decapsulate(&m, dk, c, secret), valid ? 0 : ERR_KE);
        if (valid)
            same((struct bytes){secret, MLKEM_OCTETS}, k);
    }
}

/* seed, c -> K, as an initiator has it. */
static void case_derive(uint16_t id, struct bytes seed, struct bytes c, struct bytes k, bool valid)
{
    const struct kex_method *by[2];
    uint8_t secret[KEX_SECRET_MAX];
    struct kex *kex;

    for (size_t n = methods(by); n-- > 0;) {
        struct script script = {.octets = seed};
        struct random random = script_random(&script);

        assert_int_equal(kex_make(by[n], suite_kex(id), &random, NULL, &kex), 0);
        assert_int_equal(kex_derive(kex, c, secret), valid ? 0 : ERR_KE);
        if (valid)
            same((struct bytes){secret, MLKEM_OCTETS}, k);
        kex_free(kex);
    }
}

/* ---- NIST ---- */

/* The cases of an ACVP file, which may have a header before them. */
static json_t *groups_of(const json_t *doc)
{
    return json_object_get(json_is_array(doc) ? json_array_get(doc, 1) : doc, "testGroups");
}

/* Each case of a file by itself; so many there must be. */
static void each_case(const char *name, size_t cases,
                      void (*one)(const json_t *group, const json_t *test))
{
    json_t *doc = vectors_load(name), *group, *test;
    size_t g, t, ran = 0;

    if (doc == NULL)
        skip();
    json_array_foreach(groups_of(doc), g, group)
        json_array_foreach(json_object_get(group, "tests"), t, test)
    {
        one(group, test);
        ran++;
    }
    assert_int_equal(ran, cases);
    json_decref(doc);
}

static void created(const json_t *group, const json_t *test)
{
    struct bytes d = vectors_hex(test, "d"), z = vectors_hex(test, "z");
    struct bytes ek = vectors_hex(test, "ek"), dk = vectors_hex(test, "dk");
    uint8_t seed[MLKEM_SEED];

    memcpy(seed, d.at, 32), memcpy(seed + 32, z.at, 32);
    case_create(id_of(group), (struct bytes){seed, sizeof(seed)}, ek, dk);
    vectors_free(d), vectors_free(z), vectors_free(ek), vectors_free(dk);
}

static void acvp_create(void **state)
{
    (void)state;
    each_case("acvp/ML-KEM-keyGen-internalProjection.json", 75, created);
}

static void both_ways(const json_t *group, const json_t *test)
{
    bool in = strcmp(vectors_text(group, "function"), "encapsulation") == 0;
    struct bytes ek = vectors_hex(in ? test : group, "ek");
    struct bytes dk = vectors_hex(in ? test : group, "dk");
    struct bytes c = vectors_hex(test, "c"), k = vectors_hex(test, "k");
    struct bytes m = vectors_hex(test, "m");

    if (in)
        case_encapsulate(id_of(group), m, ek, c, k, true);
    case_decapsulate(id_of(group), dk, c, k, true);
    vectors_free(ek), vectors_free(dk), vectors_free(c), vectors_free(k), vectors_free(m);
}

static void acvp_both_ways(void **state)
{
    (void)state;
    each_case("acvp/ML-KEM-encapDecap-internalProjection.json", 105, both_ways);
}

/* The answers are in a file of their own, in the same order. */
static void acvp_seeds(void **state)
{
    json_t *doc = vectors_load("acvp/ML-KEM-seed.vectors.json"), *group;
    json_t *answers = vectors_load("acvp/ML-KEM-seed.expected.json");
    size_t g, ran = 0;

    (void)state;
    if (doc == NULL || answers == NULL)
        skip();
    json_array_foreach(groups_of(doc), g, group)
    {
        json_t *test = json_array_get(json_object_get(group, "tests"), 0);
        json_t *want =
            json_array_get(json_object_get(json_array_get(groups_of(answers), g), "tests"), 0);
        bool in = strcmp(vectors_text(group, "function"), "encapsulation") == 0;
        struct bytes d = vectors_hex(test, "d"), z = vectors_hex(test, "z");
        struct bytes ek = vectors_hex(test, "ek"), m = vectors_hex(test, "m");
        struct bytes c = vectors_hex(in ? want : test, "c"), k = vectors_hex(want, "k");
        uint8_t seed[MLKEM_SEED];

        assert_int_equal(vectors_int(test, "tcId"), vectors_int(want, "tcId"));
        if (in) {
            case_encapsulate(id_of(group), m, ek, c, k, true);
        } else {
            memcpy(seed, d.at, 32), memcpy(seed + 32, z.at, 32);
            case_derive(id_of(group), (struct bytes){seed, sizeof(seed)}, c, k, true);
        }
        vectors_free(d), vectors_free(z), vectors_free(ek), vectors_free(m);
        vectors_free(c), vectors_free(k);
        ran++;
    }
    assert_int_equal(ran, 4);
    json_decref(doc), json_decref(answers);
}

static void acvp_key_check(void **state)
{
    json_t *doc = vectors_load("acvp/ML-KEM-encap-key-check.vectors.json"), *group, *test;
    json_t *answers = vectors_load("acvp/ML-KEM-encap-key-check.expected.json");
    size_t g, t, ran = 0, good = 0;

    (void)state;
    if (doc == NULL || answers == NULL)
        skip();
    json_array_foreach(groups_of(doc), g, group)
        json_array_foreach(json_object_get(group, "tests"), t, test)
    {
        json_t *want =
            json_array_get(json_object_get(json_array_get(groups_of(answers), g), "tests"), t);
        bool passes = json_is_true(json_object_get(want, "testPassed"));
        struct bytes ek = vectors_hex(test, "ek");
        uint8_t octets[MLKEM_OCTETS] = {0}, ct[MLKEM_CT_MAX], secret[MLKEM_OCTETS];
        struct mlkem m;

        assert_int_equal(vectors_int(test, "tcId"), vectors_int(want, "tcId"));
        for (size_t n = 0; version(id_of(group), n, &m); n++)
            assert_int_equal(mlkem_encapsulate(&m, ek, octets, ct, secret), passes ? 0 : ERR_KE);
        vectors_free(ek);
        ran++, good += passes;
    }
    assert_int_equal(ran, 4);
    assert_int_equal(good, 2);
    json_decref(doc), json_decref(answers);
}

/* ---- Wycheproof ---- */

static bool valid_of(const json_t *test)
{
    return strcmp(vectors_text(test, "result"), "valid") == 0;
}

/* seed -> ek; seed, c -> K. */
static void from_seed(const json_t *group, const json_t *test)
{
    struct bytes seed = vectors_hex(test, "seed"), ek = vectors_hex(test, "ek");
    struct bytes c = vectors_hex(test, "c"), k = vectors_hex(test, "K");

    if (seed.len == MLKEM_SEED) {
        if (ek.len > 0)
            case_create(id_of(group), seed, ek, (struct bytes){0});
        case_derive(id_of(group), seed, c, k, valid_of(test));
    } else {
        assert_false(valid_of(test)); /* ours are drawn, and always as long */
    }
    vectors_free(seed), vectors_free(ek), vectors_free(c), vectors_free(k);
}

static void wycheproof_seeds(void **state)
{
    (void)state;
    each_case(WYCHEPROOF "512_test.json", 193, from_seed);
    each_case(WYCHEPROOF "768_test.json", 193, from_seed);
    each_case(WYCHEPROOF "1024_test.json", 193, from_seed);
}

static void encapsulated(const json_t *group, const json_t *test)
{
    struct bytes m = vectors_hex(test, "m"), ek = vectors_hex(test, "ek");
    struct bytes c = vectors_hex(test, "c"), k = vectors_hex(test, "K");

    assert_int_equal(m.len, MLKEM_OCTETS);
    case_encapsulate(id_of(group), m, ek, c, k, valid_of(test));
    vectors_free(m), vectors_free(ek), vectors_free(c), vectors_free(k);
}

static void wycheproof_encaps(void **state)
{
    (void)state;
    each_case(WYCHEPROOF "768_encaps_test.json", 265, encapsulated);
    each_case(WYCHEPROOF "1024_encaps_test.json", 269, encapsulated);
}

static void decapsulated(const json_t *group, const json_t *test)
{
    struct bytes dk = vectors_hex(test, "dk"), c = vectors_hex(test, "c");
    struct bytes k = vectors_hex(test, "K");

    case_decapsulate(id_of(group), dk, c, k, valid_of(test));
    vectors_free(dk), vectors_free(c), vectors_free(k);
}

static void wycheproof_decaps(void **state)
{
    (void)state;
    each_case(WYCHEPROOF "512_semi_expanded_decaps_test.json", 9, decapsulated);
    each_case(WYCHEPROOF "768_semi_expanded_decaps_test.json", 9, decapsulated);
    each_case(WYCHEPROOF "1024_semi_expanded_decaps_test.json", 9, decapsulated);
}

/* ---- what they do not say ---- */

/* Whoever made them: the same octets, and the same secret. */
static void back_ends_agree(void **state)
{
    const struct kex_method *by[2];
    size_t count = methods(by);

    (void)state;
    for (uint16_t id = 35; id <= 37; id++)
        for (uint64_t round = 1; round <= 100; round++) {
            const struct kex_alg *alg = suite_kex(id);
            struct kex *ours[2], *answers[2];
            uint8_t secrets[4][KEX_SECRET_MAX];

            for (size_t n = 0; n < count; n++) {
                uint64_t seed = round * 77;
                struct random random = {seeded_fill, &seed};
                assert_int_equal(kex_make(by[n], alg, &random, NULL, &ours[n]), 0);
            }
            for (size_t n = 0; n < count; n++) {
                uint64_t seed = round * 99;
                struct random random = {seeded_fill, &seed};
                struct bytes value = kex_value(ours[count - 1 - n]);
                assert_int_equal(kex_make(by[n], alg, &random, &value, &answers[n]), 0);
            }
            for (size_t n = 0; n < count; n++) {
                struct bytes value = kex_value(answers[count - 1 - n]);
                assert_int_equal(kex_derive(ours[n], value, secrets[2 * n]), 0);
                assert_int_equal(kex_derive(answers[n], kex_value(ours[n]), secrets[2 * n + 1]), 0);
                same(kex_value(ours[n]), kex_value(ours[0]));
                same(kex_value(answers[n]), kex_value(answers[0]));
                assert_memory_equal(secrets[2 * n], secrets[0], MLKEM_OCTETS);
                assert_memory_equal(secrets[2 * n + 1], secrets[0], MLKEM_OCTETS);
            }
            for (size_t n = 0; n < count; n++)
                kex_free(ours[n]), kex_free(answers[n]);
        }
    if (count == 1)
        printf("note: this libcrypto has no ML-KEM, ours is compared with itself\n");
}

/* A flipped bit in a ciphertext: another secret, always the same one, and no error. */
static void implicit_rejection(void **state)
{
    uint64_t seed = 5;
    struct random random = {seeded_fill, &seed};
    uint8_t secret[KEX_SECRET_MAX], other[KEX_SECRET_MAX], again[KEX_SECRET_MAX];
    uint8_t ct[MLKEM_CT_MAX];

    (void)state;
    for (uint16_t id = 35; id <= 37; id++) {
        const struct kex_alg *alg = suite_kex(id);
        struct bytes changed = {ct, alg->answer_len};
        struct kex *a, *b;

        assert_int_equal(kex_create(alg, &random, &a), 0);
        assert_int_equal(kex_answer(alg, &random, kex_value(a), &b), 0);
        assert_int_equal(kex_derive(a, kex_value(b), secret), 0);
        for (size_t bit = 0; bit < 8u * alg->answer_len; bit += 61) {
            memcpy(ct, kex_value(b).at, changed.len);
            ct[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(kex_derive(a, changed, other), 0);
            assert_int_equal(kex_derive(a, changed, again), 0);
            assert_memory_not_equal(other, secret, MLKEM_OCTETS);
            assert_memory_equal(other, again, MLKEM_OCTETS);
        }
        kex_free(a), kex_free(b);
    }
}

/* Every coefficient at q and above is refused, in every place. */
static void modulus(void **state)
{
    uint64_t seed = 6;
    struct random random = {seeded_fill, &seed};
    uint8_t ek[MLKEM_EK_MAX], octets[MLKEM_OCTETS] = {1}, ct[MLKEM_CT_MAX], secret[MLKEM_OCTETS];

    (void)state;
    for (uint16_t id = 35; id <= 37; id++) {
        struct kex *kex;
        struct mlkem m;

        assert_int_equal(kex_create(suite_kex(id), &random, &kex), 0);
        for (size_t n = 0; n < POLY_N * (id - 33u); n += 5)
            for (unsigned value = MLKEM_Q - 1; value < 4096; value += 1 + (value > MLKEM_Q) * 383) {
                struct bytes changed = {ek, kex_value(kex).len};
                uint8_t *at = ek + n / 2 * 3;

                memcpy(ek, kex_value(kex).at, changed.len);
                if (n % 2 == 0) {
                    at[0] = (uint8_t)value;
                    at[1] = (uint8_t)((at[1] & 0xf0) | value >> 8);
                } else {
                    at[1] = (uint8_t)((at[1] & 0x0f) | value << 4);
                    at[2] = (uint8_t)(value >> 4);
                }
                assert_true(mlkem_of(id, &m));
                assert_int_equal(mlkem_encapsulate(&m, changed, octets, ct, secret),
                                 value < MLKEM_Q ? 0 : ERR_KE);
            }
        kex_free(kex);
    }
}

/* Against the definition, for every number there is. */
static void compression(void **state)
{
    static const unsigned depths[] = {1, 4, 5, 10, 11};
    struct poly p, back;
    uint8_t octets[32 * 11];

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(depths); k++)
        for (int first = 0; first < MLKEM_Q; first += POLY_N) {
            unsigned d = depths[k];

            for (int i = 0; i < POLY_N; i++)
                p.c[i] = (int16_t)((first + i) % MLKEM_Q);
            poly_compress(&p, octets, d);
            poly_decompress(&back, octets, d);
            for (size_t i = 0; i < POLY_N; i++) {
                unsigned y = ((2u << d) * (unsigned)p.c[i] + MLKEM_Q) / (2 * MLKEM_Q) % (1u << d);
                size_t at = i * d;
                unsigned have = 0;

                for (size_t bit = 0; bit < d; bit++, at++)
                    have |= (octets[at / 8] >> at % 8 & 1u) << bit;
                assert_int_equal(have, y);
                assert_int_equal(back.c[i], (y * 2 * MLKEM_Q + (1u << d)) >> (d + 1));
            }
        }
}

/* The transform and the products against multiplication by the book, at their limits too. */
static void polynomials(void **state)
{
    const struct poly_code *codes[] = {&poly_code_plain, poly_code_best()};
    uint64_t seed = 9;

    (void)state;
    for (size_t round = 0; round < 20; round++) {
        struct poly a[MLKEM_K_MAX], b[MLKEM_K_MAX], sum;
        int64_t want[POLY_N] = {0};

        for (size_t k = 0; k < MLKEM_K_MAX; k++)
            for (size_t i = 0; i < POLY_N; i++) {
                uint16_t r[2];
                seeded_fill(&seed, r, sizeof(r));
                a[k].c[i] = (int16_t)(round < 2 ? (int)round * (MLKEM_Q - 1) : r[0] % MLKEM_Q);
                b[k].c[i] = (int16_t)(round == 0 ? MLKEM_Q - 1 : r[1] % MLKEM_Q);
            }
        for (size_t k = 0; k < MLKEM_K_MAX; k++)
            for (size_t i = 0; i < POLY_N; i++)
                for (size_t j = 0; j < POLY_N; j++)
                    want[(i + j) % POLY_N] +=
                        (i + j < POLY_N ? 1 : -1) * (int64_t)a[k].c[i] * b[k].c[j];
        for (size_t n = 0; n < ARRAY_LEN(codes); n++) {
            struct poly ta[MLKEM_K_MAX], tb[MLKEM_K_MAX];

            memcpy(ta, a, sizeof(a)), memcpy(tb, b, sizeof(b));
            for (size_t k = 0; k < MLKEM_K_MAX; k++) {
                codes[n]->transform(&ta[k]), codes[n]->transform(&tb[k]);
                poly_freeze(&tb[k]);
            }
            codes[n]->product(&sum, ta, tb, MLKEM_K_MAX);
            codes[n]->restore(&sum);
            poly_freeze(&sum);
            for (size_t i = 0; i < POLY_N; i++)
                assert_int_equal(sum.c[i], (want[i] % MLKEM_Q + MLKEM_Q) % MLKEM_Q);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acvp_create),        cmocka_unit_test(acvp_both_ways),
        cmocka_unit_test(acvp_seeds),         cmocka_unit_test(acvp_key_check),
        cmocka_unit_test(wycheproof_seeds),   cmocka_unit_test(wycheproof_encaps),
        cmocka_unit_test(wycheproof_decaps),  cmocka_unit_test(back_ends_agree),
        cmocka_unit_test(implicit_rejection), cmocka_unit_test(modulus),
        cmocka_unit_test(compression),        cmocka_unit_test(polynomials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
