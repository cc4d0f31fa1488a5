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
        cmocka_unit_test(lengths),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
