#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "ike/internal.h"

/* Key derivation: published vectors through our own cutting into keys, and the order of the keys.
 */

static const struct chosen cbc = {.encr = ENCR_AES_CBC, .encr_bits = 256, .integ = 12, .prf = 5};

static struct bytes hex(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    assert_non_null(text);
    size_t len = strlen(text) / 2;
    uint8_t *octets = malloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        unsigned v = 0;
        assert_int_equal(sscanf(text + 2 * i, "%2x", &v), 1);
        octets[i] = (uint8_t)v;
    }
    return (struct bytes){octets, len};
}

static uint64_t spi(const json_t *object, const char *member)
{
    return strtoull(json_string_value(json_object_get(object, member)), NULL, 16);
}

/* Puts the keys together again as they stood in the stream. */
static size_t join(const struct chosen *c, const struct keys *k, uint8_t p[2][SECRET_MAX],
                   uint8_t *out)
{
    struct writer w = writer_of(out, 512);
    size_t prf_len = suite_prf(c->prf)->len;
    size_t a = suite_integ(c->integ)->key_len, e = c->encr_bits / 8u;
    writer_bytes(&w, k->d, prf_len);
    for (int i = 0; i < 2; i++)
        writer_bytes(&w, k->a[i], a);
    for (int i = 0; i < 2; i++)
        writer_bytes(&w, k->e[i], e);
    for (int i = 0; i < 2; i++)
        writer_bytes(&w, p[i], prf_len);
    assert_false(w.bad);
    return w.len;
}

static void same_start(struct bytes expected, const uint8_t *got, size_t len)
{
    assert_memory_equal(expected.at, got, expected.len < len ? expected.len : len);
}

static void one(uint16_t prf_id, uint16_t integ, const json_t *test)
{
    struct chosen c = cbc;
    struct keys keys;
    uint8_t p[2][SECRET_MAX], stream[512], i[IKE_KEYMAT_MAX], r[IKE_KEYMAT_MAX];
    c.prf = prf_id;
    c.integ = integ;
    struct bytes ni = hex(test, "nInit"), nr = hex(test, "nResp"), gir = hex(test, "gir");
    struct bytes again = hex(test, "girNew"), dkm = hex(test, "derivedKeyingMaterial");
    struct bytes child = hex(test, "derivedKeyingMaterialChild");
    struct bytes child_pfs = hex(test, "derivedKeyingMaterialDh");
    struct keymat_input in = {.secret = gir,
                              .nonce_i = ni,
                              .nonce_r = nr,
                              .spi_i = spi(test, "spiInit"),
                              .spi_r = spi(test, "spiResp")};
    assert_int_equal(keymat_ike(&c, &in, &keys, p), 0);
    same_start(dkm, stream, join(&c, &keys, p, stream));

    size_t len = keymat_child_len(&c);
    struct secrets s = {.nonce_i = ni, .nonce_r = nr};
    assert_int_equal(keymat_child(prf_id, keys.d, &c, &s, i, r), 0);
    same_start(child, i, len);
    assert_memory_equal(child.at + len, r, child.len - len < len ? child.len - len : len);
    s.first = again;
    assert_int_equal(keymat_child(prf_id, keys.d, &c, &s, i, r), 0);
    same_start(child_pfs, i, len);
    const struct bytes all[] = {ni, nr, gir, again, dkm, child, child_pfs};
    for (size_t n = 0; n < ARRAY_LEN(all); n++)
        free((void *)(uintptr_t)all[n].at);
}

static void published_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *hash;
        uint16_t prf, integ;
    } hashes[] = {{"SHA-256", 5, 12}, {"SHA-384", 6, 13}, {"SHA-512", 7, 14}};
    const char *root = getenv("SHRIKE_VECTORS");
    char path[512];
    json_t *group, *test;
    size_t n, m, count = 0;
    snprintf(path, sizeof(path), "%s/cavp/ikev2_kdf_sp800_135.json",
             root ? root : "../shared/vectors");
    json_t *doc = json_load_file(path, 0, NULL);
    if (!doc) {
        printf("note: %s is not here, its cases are skipped\n", path);
        skip();
    }
    json_array_foreach(json_object_get(doc, "groups"), n, group)
    {
        const char *name = json_string_value(json_object_get(group, "hashAlg"));
        for (size_t h = 0; h < ARRAY_LEN(hashes); h++) {
            if (strcmp(name, hashes[h].hash) != 0)
                continue;
            json_array_foreach(json_object_get(group, "tests"), m, test)
            {
                one(hashes[h].prf, hashes[h].integ, test);
                count++;
            }
        }
    }
    printf("note: %zu published key derivations\n", count);
    assert_true(count > 100);
    json_decref(doc);
}

/* A rekeyed SA's keys come from the old SK_d and not from the nonces alone. */
static void rekeyed_keys_differ(void **state)
{
    (void)state;
    uint8_t octets[32] = {1}, p[2][SECRET_MAX];
    struct keys first, second;
    struct bytes some = {octets, sizeof(octets)};
    struct keymat_input in = {
        .secret = some, .nonce_i = some, .nonce_r = some, .spi_i = 1, .spi_r = 2};
    assert_int_equal(keymat_ike(&cbc, &in, &first, p), 0);
    in.old_prf = 5;
    in.old_d = (struct bytes){first.d, 32};
    assert_int_equal(keymat_ike(&cbc, &in, &second, p), 0);
    assert_memory_not_equal(first.d, second.d, 32);
    assert_memory_not_equal(second.e[0], second.e[1], 32);
}

static bool is_hex(const uint8_t *octets, const char *text)
{
    char all[2 * IKE_KEYMAT_MAX + 1];
    size_t len = strlen(text) / 2;
    for (size_t i = 0; i < len; i++)
        snprintf(all + 2 * i, 3, "%02x", octets[i]);
    return strcmp(all, text) == 0;
}

/* RFC 9370 2.2.2 and 2.2.4: two additional exchanges in IKE_INTERMEDIATE, then a child and an IKE
 * SA made with two in IKE_FOLLOWUP_KE. The numbers come of a few lines of Python (hmac). */
static void additional_exchanges(void **state)
{
    (void)state;
    static const struct {
        uint8_t octet, len;
        const char *d, *e[2], *p[2];
    } steps[] = {
        {0xa0, 32, NULL, {NULL, NULL}, {NULL, NULL}},
        {0xb1,
         48,
         "88d13afda1929672ca8fd046827e49e22aeef33234c99d40f84a3a1e231fade6f3ab219ef5e280ae2bb6610cd8"
         "fe0c8e",
         {"9b422c6b248938d6f60bac93a1bb205b1ae418480cbd912fb31d287e1f266688ebcd679e",
          "fcc0722a0b805653245686e5c3fa2c3f59c0dd6d35dfe1d33376351309837e18bc630350"},
         {"c29d61efaafb15262876e399648c35a2d3033f58eb2093b1114c386cc9840ed798a9a28e3dfabb8d7ca25c86"
          "89aa5d4a",
          "b8216c5a68d0dc4fb79cb325443b654d8590947ab5b24176a076f0348265444b7059d0ceb6274d7e09156651"
          "41f6afde"}},
        {0xc2,
         66,
         "d6c89c4a278473de62ef214f1fd28a3899393fec30835297a0dba88683abd1e3da98f5cfad6305c17d0c2eb01d"
         "7c8d7e",
         {"85efbd320f68036f02bef00a2cfa6c1564f81e89b4755c2302a07a25696a83b4deb8b65b",
          "92b8dd450e5e2e71c6cb95d9f42944499dcc788ad38bc721546921080f9d06d9e59ed468"},
         {"59bb9af23a610a0cad44fc9cd863ecfb8600e1eb0dc2f4e227c5d87de16fe73ae1f6b4917bd54ce8a0ab8be5"
          "bf4f6805",
          "81d73faa99897a04a4d60b16a0523ccf8ec25b65e305bdb2cf31d49f9521ced11057d97a36c524d127268ed1"
          "fe364824"}},
    };
    const struct chosen gcm = {.encr = ENCR_AES_GCM_16, .encr_bits = 256, .prf = 6};
    uint8_t ni[32], nr[40], p[2][SECRET_MAX], i[IKE_KEYMAT_MAX], r[IKE_KEYMAT_MAX];
    uint8_t secrets[32 + 48 + 66], *at = secrets, d[48];
    struct keys keys;
    for (uint8_t n = 0; n < 40; n++)
        ni[n % 32] = n % 32, nr[n] = (uint8_t)(100 + n);
    struct keymat_input in = {.nonce_i = {ni, 32},
                              .nonce_r = {nr, 40},
                              .spi_i = 0x0102030405060708,
                              .spi_r = 0x1112131415161718};
    for (size_t n = 0; n < ARRAY_LEN(steps); n++) {
        memset(at, steps[n].octet, steps[n].len);
        in.secret = (struct bytes){at, steps[n].len};
        assert_int_equal(keymat_ike(&gcm, &in, &keys, p), 0);
        at += steps[n].len;
        in.old_prf = 6;
        memcpy(d, keys.d, sizeof(d));
        in.old_d = (struct bytes){d, sizeof(d)};
        if (!steps[n].d)
            continue;
        assert_true(is_hex(keys.d, steps[n].d));
        for (size_t side = 0; side < 2; side++) {
            assert_true(is_hex(keys.e[side], steps[n].e[side]));
            assert_true(is_hex(p[side], steps[n].p[side]));
        }
    }
    struct secrets s = {.first = {secrets, 32},
                        .more = {secrets + 32, 48 + 66},
                        .nonce_i = in.nonce_i,
                        .nonce_r = in.nonce_r};
    assert_int_equal(keymat_child(6, keys.d, &gcm, &s, i, r), 0);
    assert_true(
        is_hex(i, "4199860dfe61e749b4b89ef380d3699d08a69e0cb8efc4278380d03eee51beac023464a4"));
    assert_true(
        is_hex(r, "28f54191f9a315b5a1cf6301c2855efe54ad1e9077c4852bd658a27f53700d629c38a0c0"));
    in.secret = s.first;
    in.more = s.more;
    in.spi_i = 0x1112131415161718;
    in.spi_r = 0x0102030405060708;
    assert_int_equal(keymat_ike(&gcm, &in, &keys, p), 0);
    assert_true(is_hex(keys.d,
                       "33bf0ea6f0585bf6434d5c09042eb3d891057108967b768e947e0ff29dbca7d489773"
                       "fc25256eb28afc5890f5062a734"));
    assert_true(is_hex(p[1],
                       "c0646726204ba10406d900aaa6c81a443123af96000b64ee1f50f5ded2b8624acfb508e5"
                       "ff126e43ba1c3ffa4c0024bc"));
}

static void lengths(void **state)
{
    (void)state;
    struct chosen gcm = {.encr = ENCR_AES_GCM_16, .encr_bits = 256};
    struct chosen chacha = {.encr = ENCR_CHACHA20_POLY1305};
    struct chosen unknown = {.encr = 9999};
    assert_int_equal(keymat_child_len(&gcm), 36);
    assert_int_equal(keymat_child_len(&chacha), 36);
    assert_int_equal(keymat_child_len(&cbc), 64);
    assert_int_equal(keymat_child_len(&unknown), 0);
}

static int init(void **state)
{
    (void)state;
    return crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(rekeyed_keys_differ),
        cmocka_unit_test(additional_exchanges),
        cmocka_unit_test(lengths),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
