/* Which scheme for which peer, and AUTH payloads both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"

enum {
    SHA1 = AUTH_HASH_SHA1,
    S256 = AUTH_HASH_SHA256,
    S384 = AUTH_HASH_SHA384,
    S512 = AUTH_HASH_SHA512,
    ID = AUTH_HASH_IDENTITY,
    SHA2 = S256 | S384 | S512,
};

static void choices(void **state)
{
    (void)state;
    static const struct {
        enum key_kind kind;
        uint8_t hashes;
        enum sign_scheme peer, want;
        uint8_t method;
    } cases[] = {
        /* strongSwan, libreswan: SHA-2 and identity */
        {KEY_RSA, SHA2 | ID, SIGN_NONE, SIGN_RSA_PSS_SHA256, 14},
        {KEY_RSA, SHA2 | ID, SIGN_RSA_PKCS1_SHA512, SIGN_RSA_PKCS1_SHA256, 14},
        {KEY_RSA, SHA2 | ID, SIGN_RSA_PSS_SHA384, SIGN_RSA_PSS_SHA256, 14},
        {KEY_RSA, SHA2 | ID, SIGN_ECDSA_SHA256, SIGN_RSA_PSS_SHA256, 14},
        {KEY_RSA, S512, SIGN_NONE, SIGN_RSA_PSS_SHA512, 14},
        {KEY_ECDSA_P256, SHA2 | ID, SIGN_NONE, SIGN_ECDSA_SHA256, 14},
        {KEY_ECDSA_P384, SHA2 | ID, SIGN_NONE, SIGN_ECDSA_SHA384, 14},
        {KEY_ECDSA_P521, SHA2 | ID, SIGN_NONE, SIGN_ECDSA_SHA512, 14},
        {KEY_ECDSA_P384, S256, SIGN_NONE, SIGN_ECDSA_SHA256, 14},
        {KEY_ECDSA_P256, S384, SIGN_NONE, SIGN_ECDSA_SHA384, 14},
        {KEY_ED25519, SHA2 | ID, SIGN_NONE, SIGN_ED25519, 14},
        {KEY_ED25519, ID, SIGN_RSA_PSS_SHA256, SIGN_ED25519, 14},
        /* Android: SHA-1 in the list, PKCS#1 v1.5 only, whether it or we come first */
        {KEY_RSA, SHA1 | SHA2, SIGN_NONE, SIGN_RSA_PKCS1_SHA256, 14},
        {KEY_RSA, SHA1 | SHA2, SIGN_RSA_PKCS1_SHA256, SIGN_RSA_PKCS1_SHA256, 14},
        {KEY_RSA, SHA1 | SHA2, SIGN_RSA_PSS_SHA256, SIGN_RSA_PSS_SHA256, 14},
        /* Windows, iOS: no list */
        {KEY_RSA, 0, SIGN_NONE, SIGN_RSA_PKCS1_SHA1, 1},
        {KEY_RSA, 0, SIGN_RSA_PKCS1_SHA1, SIGN_RSA_PKCS1_SHA1, 1},
        {KEY_RSA, 0, SIGN_RSA_PKCS1_SHA256, SIGN_RSA_PKCS1_SHA256, 1},
        {KEY_RSA, 0, SIGN_ECDSA_P256_RAW, SIGN_RSA_PKCS1_SHA1, 1},
        {KEY_ECDSA_P256, 0, SIGN_NONE, SIGN_ECDSA_P256_RAW, 9},
        {KEY_ECDSA_P384, 0, SIGN_NONE, SIGN_ECDSA_P384_RAW, 10},
        {KEY_ECDSA_P521, 0, SIGN_NONE, SIGN_ECDSA_P521_RAW, 11},
        {KEY_ED25519, 0, SIGN_NONE, SIGN_NONE, 0},
        /* lists that do not help: never SHA-1 in method 14 */
        {KEY_RSA, SHA1, SIGN_NONE, SIGN_RSA_PKCS1_SHA1, 1},
        {KEY_RSA, ID, SIGN_NONE, SIGN_RSA_PKCS1_SHA1, 1},
        {KEY_ECDSA_P256, SHA1, SIGN_NONE, SIGN_ECDSA_P256_RAW, 9},
        {KEY_ECDSA_P384, ID, SIGN_NONE, SIGN_ECDSA_P384_RAW, 10},
        {KEY_ED25519, SHA2, SIGN_NONE, SIGN_NONE, 0},
        {KEY_NONE, SHA2 | ID, SIGN_NONE, SIGN_NONE, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t method;
        struct sign_limits none = {0};
        struct auth_peer_wants peer = {cases[i].hashes, 0, cases[i].peer, &none};
        enum sign_scheme got = auth_choose_scheme(cases[i].kind, &peer, &method);
        if (got != cases[i].want || method != cases[i].method)
            fail_msg("case %zu: %s by method %u", i, sign_scheme_name(got), method);
    }
}

static void hash_lists(void **state)
{
    (void)state;
    static const uint8_t all[] = {0, 1, 0, 2, 0, 3, 0, 4, 0, 5};
    static const uint8_t strange[] = {0, 0, 1, 2, 0, 6, 0xff, 0xff, 0, 3};
    uint8_t out[16];
    for (unsigned hashes = 0; hashes < 32; hashes++) {
        struct writer w = writer_of(out, sizeof(out));
        auth_hashes_write(&w, (uint8_t)hashes);
        assert_false(w.bad);
        assert_int_equal(auth_hashes_parse(writer_view(&w)), hashes);
    }
    struct writer w = writer_of(out, sizeof(out));
    auth_hashes_write(&w, SHA1 | SHA2 | ID);
    assert_memory_equal(out, all, sizeof(all));
    assert_int_equal(auth_hashes_parse((struct bytes){strange, sizeof(strange)}), S384);
    assert_int_equal(auth_hashes_parse((struct bytes){all, 3}), 0); /* half a number */
    assert_int_equal(auth_hashes_parse((struct bytes){NULL, 0}), 0);
}

static enum key_kind some_kind(enum sign_scheme scheme)
{
    if (scheme <= SIGN_RSA_PSS_SHA512)
        return KEY_RSA;
    if (scheme == SIGN_ED25519)
        return KEY_ED25519;
    return scheme == SIGN_ECDSA_SHA384   ? KEY_ECDSA_P384
           : scheme == SIGN_ECDSA_SHA512 ? KEY_ECDSA_P521
                                         : KEY_ECDSA_P256;
}

static void method_14(void **state)
{
    (void)state;
    static const uint8_t signature[] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint8_t data[256];
    for (enum sign_scheme s = SIGN_NONE; s <= SIGN_ED25519; s++) {
        struct writer w = writer_of(data, sizeof(data));
        int rc = auth_signature_write(&w, 14, s, (struct bytes){signature, sizeof(signature)});
        if (sign_scheme_oid(s).len == 0) {
            assert_int_equal(rc, ERR_UNSUPPORTED);
            continue;
        }
        assert_int_equal(rc, 0);
        size_t oid_len = sign_scheme_oid(s).len;
        assert_int_equal(data[0], oid_len);
        enum sign_scheme scheme;
        struct bytes found, whole = writer_view(&w);
        assert_int_equal(auth_signature_parse(14, whole, some_kind(s), &scheme, &found), 0);
        assert_int_equal(scheme, s);
        assert_true(bytes_equal(found, (struct bytes){signature, sizeof(signature)}));
        for (enum key_kind k = KEY_NONE; k <= KEY_ED25519; k++) {
            bool ecdsa = k >= KEY_ECDSA_P256 && k <= KEY_ECDSA_P521;
            bool ecdsa_scheme = s >= SIGN_ECDSA_SHA256 && s <= SIGN_ECDSA_SHA512;
            bool want = ecdsa_scheme ? ecdsa : k == some_kind(s);
            rc = auth_signature_parse(14, whole, k, &scheme, &found);
            assert_int_equal(rc, want ? 0 : ERR_UNSUPPORTED);
        }
        /* every truncation, in memory of its own size */
        for (size_t len = 0; len < whole.len; len++) {
            uint8_t *cut = malloc(len + 1);
            assert_non_null(cut);
            memcpy(cut, data, len);
            rc = auth_signature_parse(14, (struct bytes){cut, len}, some_kind(s), &scheme, &found);
            assert_int_equal(rc, len <= oid_len + 1 ? ERR_SYNTAX : 0);
            free(cut);
        }
        /* every other length of the identifier */
        for (unsigned len = 0; len < 256; len++) {
            data[0] = (uint8_t)len;
            rc = auth_signature_parse(14, whole, some_kind(s), &scheme, &found);
            assert_true(len == oid_len ? rc == 0 : rc < 0);
        }
    }
}

static void old_methods(void **state)
{
    (void)state;
    static const uint8_t signature[SIGNATURE_MAX + 1] = {1};
    static const struct {
        uint8_t method;
        enum key_kind kind;
        enum sign_scheme scheme;
    } good[] = {
        {1, KEY_RSA, SIGN_RSA_PKCS1_SHA1},
        {9, KEY_ECDSA_P256, SIGN_ECDSA_P256_RAW},
        {10, KEY_ECDSA_P384, SIGN_ECDSA_P384_RAW},
        {11, KEY_ECDSA_P521, SIGN_ECDSA_P521_RAW},
    };
    for (unsigned method = 0; method < 256; method++) {
        for (enum key_kind k = KEY_NONE; k <= KEY_ED25519; k++) {
            enum sign_scheme scheme, want = SIGN_NONE;
            struct bytes found;
            if (method == 14)
                continue;
            for (size_t i = 0; i < ARRAY_LEN(good); i++)
                if (good[i].method == method && good[i].kind == k)
                    want = good[i].scheme;
            int rc = auth_signature_parse((uint8_t)method, (struct bytes){signature, 64}, k,
                                          &scheme, &found);
            assert_int_equal(rc, want != SIGN_NONE ? 0 : ERR_UNSUPPORTED);
            assert_int_equal(scheme, want);
        }
    }
    enum sign_scheme scheme;
    struct bytes found;
    assert_int_equal(
        auth_signature_parse(1, (struct bytes){signature, 0}, KEY_RSA, &scheme, &found),
        ERR_SYNTAX);
    assert_int_equal(auth_signature_parse(1, (struct bytes){signature, SIGNATURE_MAX + 1}, KEY_RSA,
                                          &scheme, &found),
                     ERR_SYNTAX);
    uint8_t small[4];
    struct writer w = writer_of(small, sizeof(small));
    assert_int_equal(auth_signature_write(&w, 1, SIGN_RSA_PKCS1_SHA1, (struct bytes){signature, 5}),
                     ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices),
        cmocka_unit_test(hash_lists),
        cmocka_unit_test(method_14),
        cmocka_unit_test(old_methods),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
