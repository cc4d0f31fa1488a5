#include "vectors.h"

#include "crypto/crypto.h"
#include "crypto/hmac.h"

/* ---- HMAC as a PRF, Wycheproof ---- */

static void hmac_file(const char *name, uint16_t prf_id)
{
    json_t *doc = vectors_load(name), *group, *test;
    const struct prf_alg *alg = suite_prf(prf_id);
    size_t g, t, ran = 0;

    if (doc == NULL)
        skip();
    json_array_foreach(json_object_get(doc, "testGroups"), g, group)
    {
        size_t tag_len = (size_t)vectors_int(group, "tagSize") / 8;

        json_array_foreach(json_object_get(group, "tests"), t, test)
        {
            struct bytes key = vectors_hex(test, "key"), msg = vectors_hex(test, "msg");
            struct bytes tag = vectors_hex(test, "tag");
            bool valid = strcmp(vectors_text(test, "result"), "valid") == 0;
            uint8_t out[HASH_MAX];
            size_t cut = msg.len / 3;
            struct bytes parts[3] = {{msg.at, cut}, {NULL, 0}, {msg.at + cut, msg.len - cut}};

            assert_int_equal(prf(alg, key, &msg, 1, out), 0);
            assert_int_equal(memcmp(out, tag.at, tag_len) == 0, valid);
            assert_int_equal(prf(alg, key, parts, 3, out), 0);
            assert_int_equal(memcmp(out, tag.at, tag_len) == 0, valid);
            vectors_free(key), vectors_free(msg), vectors_free(tag);
            ran++;
        }
    }
    json_decref(doc);
    printf("note: %s: %zu cases, 0 skipped\n", name, ran);
}

static void wycheproof_hmac(void **state)
{
    (void)state;
    hmac_file("wycheproof/hmac_sha1_test.json", 2);
    hmac_file("wycheproof/hmac_sha256_test.json", 5);
    hmac_file("wycheproof/hmac_sha384_test.json", 6);
    hmac_file("wycheproof/hmac_sha512_test.json", 7);
}

/* ---- the key derivation of RFC 7296 2.13-2.18, CAVP ---- */

static const struct {
    const char *name;
    enum hash_kind kind;
    uint16_t prf_id; /* 0: no number in the suite, run below prf() */
} hashes[] = {
    {"SHA-1", HASH_SHA1, 2},     {"SHA-224", HASH_SHA224, 0}, {"SHA-256", HASH_SHA256, 5},
    {"SHA-384", HASH_SHA384, 6}, {"SHA-512", HASH_SHA512, 7},
};

static void derive(size_t hash, struct bytes key, const struct bytes *parts, size_t count,
                   struct bytes expected, bool plus)
{
    uint8_t out[1024];

    assert_true(expected.len <= sizeof(out));
    if (hashes[hash].prf_id == 0 && plus) {
        assert_int_equal(hmac_expand(hashes[hash].kind, key, parts, count, out, expected.len), 0);
    } else if (hashes[hash].prf_id == 0) {
        hmac_parts(hashes[hash].kind, key, parts, count, out);
    } else if (plus) {
        assert_int_equal(
            prf_plus(suite_prf(hashes[hash].prf_id), key, parts, count, out, expected.len), 0);
    } else {
        assert_int_equal(prf(suite_prf(hashes[hash].prf_id), key, parts, count, out), 0);
    }
    assert_memory_equal(out, expected.at, expected.len);
}

static void cavp_case(size_t hash, const json_t *test)
{
    struct bytes ni = vectors_hex(test, "nInit"), nr = vectors_hex(test, "nResp");
    struct bytes gir = vectors_hex(test, "gir"), gir_new = vectors_hex(test, "girNew");
    struct bytes spi_i = vectors_hex(test, "spiInit"), spi_r = vectors_hex(test, "spiResp");
    struct bytes skeyseed = vectors_hex(test, "sKeySeed");
    struct bytes keymat = vectors_hex(test, "derivedKeyingMaterial");
    struct bytes child = vectors_hex(test, "derivedKeyingMaterialChild");
    struct bytes child_dh = vectors_hex(test, "derivedKeyingMaterialDh");
    struct bytes rekey = vectors_hex(test, "sKeySeedReKey");
    struct bytes sk_d = {keymat.at, hash_len(hashes[hash].kind)};
    uint8_t *nonces = malloc(ni.len + nr.len);

    assert_non_null(nonces);
    memcpy(nonces, ni.at, ni.len);
    memcpy(nonces + ni.len, nr.at, nr.len);
    derive(hash, (struct bytes){nonces, ni.len + nr.len}, &gir, 1, skeyseed, false);
    derive(hash, skeyseed, (struct bytes[]){ni, nr, spi_i, spi_r}, 4, keymat, true);
    derive(hash, sk_d, (struct bytes[]){ni, nr}, 2, child, true);
    derive(hash, sk_d, (struct bytes[]){gir_new, ni, nr}, 3, child_dh, true);
    derive(hash, sk_d, (struct bytes[]){gir_new, ni, nr}, 3, rekey, false);
    free(nonces);
    vectors_free(ni), vectors_free(nr), vectors_free(gir), vectors_free(gir_new);
    vectors_free(spi_i), vectors_free(spi_r), vectors_free(skeyseed), vectors_free(keymat);
    vectors_free(child), vectors_free(child_dh), vectors_free(rekey);
}

static void cavp_kdf(void **state)
{
    json_t *doc = vectors_load("cavp/ikev2_kdf_sp800_135.json"), *group, *test;
    size_t g, t, ran = 0;

    (void)state;
    if (doc == NULL)
        skip();
    json_array_foreach(json_object_get(doc, "groups"), g, group)
    {
        size_t hash = 0;

        while (strcmp(hashes[hash].name, vectors_text(group, "hashAlg")) != 0)
            assert_true(++hash < ARRAY_LEN(hashes));
        json_array_foreach(json_object_get(group, "tests"), t, test)
        {
            cavp_case(hash, test);
            ran++;
        }
    }
    json_decref(doc);
    assert_int_equal(ran, 280);
    printf("note: CAVP IKEv2 KDF: %zu of 280 (SHA-224 below the suite)\n", ran);
}

/* ---- limits ---- */

static void prf_plus_limits(void **state)
{
    static uint8_t out[255 * 64 + 1], again[255 * 64];
    const struct bytes seed = {(const uint8_t *)"seed", 4}, key = {(const uint8_t *)"key", 3};

    (void)state;
    for (uint16_t id = 2; id <= 8; id++) {
        const struct prf_alg *alg = suite_prf(id);
        if (alg == NULL)
            continue;
        size_t most = 255u * alg->len;

        assert_int_equal(prf_plus(alg, key, &seed, 1, out, most), 0);
        assert_int_equal(prf_plus(alg, key, &seed, 1, again, most + 1), ERR_ARGUMENT);
        for (size_t len = 0; len <= 3u * alg->len; len++) { /* every length is a prefix */
            memset(again, 0xee, sizeof(again));
            assert_int_equal(prf_plus(alg, key, &seed, 1, again, len), 0);
            assert_memory_equal(again, out, len);
            assert_int_equal(again[len], 0xee);
        }
    }
    assert_int_equal(prf(&(struct prf_alg){.id = 9}, key, &seed, 1, out), ERR_UNSUPPORTED);
    assert_int_equal(prf_plus(&(struct prf_alg){.id = 1}, key, &seed, 1, out, 20), ERR_UNSUPPORTED);
}

/* FIPS 180-2 appendix A and B: "abc" and the two-block message. */
static void hashes_known(void **state)
{
    static const char *const text = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static const uint8_t sha1[20] = {0x84, 0x98, 0x3e, 0x44, 0x1c, 0x3b, 0xd2, 0x6e, 0xba, 0xae,
                                     0x4a, 0xa1, 0xf9, 0x51, 0x29, 0xe5, 0xe5, 0x46, 0x70, 0xf1};
    static const uint8_t sha256[32] = {0x24, 0x8d, 0x6a, 0x61, 0xd2, 0x06, 0x38, 0xb8,
                                       0xe5, 0xc0, 0x26, 0x93, 0x0c, 0x3e, 0x60, 0x39,
                                       0xa3, 0x3c, 0xe4, 0x59, 0x64, 0xff, 0x21, 0x67,
                                       0xf6, 0xec, 0xed, 0xd4, 0x19, 0xdb, 0x06, 0xc1};
    uint8_t out[32];

    (void)state;
    for (size_t cut = 0; cut <= strlen(text); cut++) {
        const uint8_t *at = (const uint8_t *)text;
        struct bytes parts[2] = {{at, cut}, {at + cut, strlen(text) - cut}};

        hash_sha1(parts, 2, out);
        assert_memory_equal(out, sha1, 20);
        hash_sha256(parts, 2, out);
        assert_memory_equal(out, sha256, 32);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wycheproof_hmac),
        cmocka_unit_test(cavp_kdf),
        cmocka_unit_test(prf_plus_limits),
        cmocka_unit_test(hashes_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
