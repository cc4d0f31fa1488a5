/* SUPPORTED_AUTH_METHODS (RFC 9593): lists as written, as read, and what they lead to. */
#include "auth/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static const struct sign_limits none;
enum { SHA2 = AUTH_HASH_SHA256 | AUTH_HASH_SHA384 | AUTH_HASH_SHA512, ID = AUTH_HASH_IDENTITY };

static void as_written(void **state)
{
    static const uint8_t psk[] = {2, 2};
    /* length, method 14, no authority, AlgorithmIdentifier of Ed25519 */
    static const uint8_t first[] = {10, 14, 0, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70};
    static const uint8_t last[] = {3, 9, 0, 3, 10, 0, 3, 11, 0, 3, 1, 0, 2, 2};
    uint8_t out[AUTH_ANNOUNCEMENTS_MAX];
    char text[AUTH_METHODS_TEXT];
    (void)state;
    struct bytes list = auth_methods_write(true, NULL, out, sizeof(out));
    assert_int_equal(list.len, sizeof(psk));
    assert_memory_equal(list.at, psk, sizeof(psk));
    assert_string_equal(auth_methods_print(auth_methods_parse(list), text), "a pre-shared key");
    list = auth_methods_write(true, &none, out, sizeof(out));
    assert_memory_equal(list.at, first, sizeof(first));
    assert_memory_equal(list.at + list.len - sizeof(last), last, sizeof(last));
    uint32_t all = auth_methods_parse(list);
    assert_true(all & AUTH_ANNOUNCED);
    for (enum sign_scheme s = SIGN_RSA_PKCS1_SHA256; s <= SIGN_ED25519; s++)
        if (sign_scheme_oid(s).len)
            assert_true(auth_methods_have(all, AUTH_DIGITAL_SIGNATURE, s));
    assert_false(auth_methods_have(all, AUTH_DIGITAL_SIGNATURE, SIGN_NONE));
    assert_false(auth_methods_have(all, AUTH_NULL, SIGN_NONE));
    list = auth_methods_write(false, &none, out, sizeof(out));
    uint32_t certs = auth_methods_parse(list);
    assert_true(auth_methods_have_cert(certs));
    assert_false(auth_methods_have(certs, AUTH_SHARED_KEY, SIGN_NONE));
    assert_string_equal(auth_methods_print(certs, text),
                        "Ed25519, ECDSA, RSA-PSS, RSA PKCS#1 v1.5, ECDSA, RSA");
    assert_int_equal(auth_methods_write(false, NULL, out, sizeof(out)).len, 0);
}

/* Where there is less room the rare ones go first, then all: half a list would mean that RSA is to
 * be had by SHA-1 only. */
static void in_less_room(void **state)
{
    uint8_t out[AUTH_ANNOUNCEMENTS_MAX];
    (void)state;
    size_t whole = auth_methods_write(true, &none, out, sizeof(out)).len;
    for (size_t room = 0; room <= whole; room++) {
        struct bytes list = auth_methods_write(true, &none, out, room);
        uint32_t got = auth_methods_parse(list);
        assert_true(list.len <= room);
        if (list.len == 0)
            continue;
        assert_true(room >= 150);
        assert_true(auth_methods_have(got, AUTH_DIGITAL_SIGNATURE, SIGN_RSA_PSS_SHA256));
        assert_true(auth_methods_have(got, AUTH_DIGITAL_SIGNATURE, SIGN_ECDSA_SHA512));
        assert_int_equal(auth_methods_have(got, AUTH_DIGITAL_SIGNATURE, SIGN_RSA_PKCS1_SHA384),
                         room == whole);
    }
    assert_true(auth_methods_write(true, &none, out, whole - 1).len > 250);
}

/* Unknown methods, other authorities, an AlgorithmIdentifier that means nothing to us. */
static void strange_lists(void **state)
{
    static const uint8_t strange[] = {
        2,  99,                                      /* no such method */
        3,  9,   7,                                  /* for the seventh authority */
        5,  14,  0, 0x30, 0x00,                      /* no algorithm at all */
        4,  14,  0, 1,                               /* nor this */
        3,  14,  0,                                  /* none is named */
        2,  14,                                      /* not even an authority */
        9,  200, 1, 2,    3,    4,    5,    6,    7, /* of the future */
        10, 14,  3, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70,
    };
    static const uint8_t broken[][4] = {{0}, {1, 2}, {3, 2}, {2, 2, 9, 14}};
    static const size_t lengths[] = {1, 2, 2, 4};
    char text[AUTH_METHODS_TEXT];
    (void)state;
    uint32_t got = auth_methods_parse((struct bytes){strange, sizeof(strange)});
    assert_string_equal(auth_methods_print(got, text), "Ed25519, ECDSA");
    assert_true(auth_methods_have(got, AUTH_ECDSA_256, SIGN_ECDSA_P256_RAW));
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
        assert_int_equal(auth_methods_parse((struct bytes){broken[i], lengths[i]}), 0);
    assert_int_equal(auth_methods_parse((struct bytes){NULL, 0}), 0);
    static const uint8_t unknown[] = {2, 99};
    got = auth_methods_parse((struct bytes){unknown, sizeof(unknown)});
    assert_int_equal(got, AUTH_ANNOUNCED);
    assert_false(auth_methods_have_cert(got));
    assert_string_equal(auth_methods_print(got, text), "nothing that we know");
}

static uint32_t list_of(const enum sign_scheme *schemes, size_t count, uint8_t old)
{
    uint8_t out[256];
    struct writer w = writer_of(out, sizeof(out));
    for (size_t i = 0; i < count; i++) {
        struct bytes oid = sign_scheme_oid(schemes[i]);
        writer_u8(&w, (uint8_t)(3 + oid.len));
        writer_u8(&w, AUTH_DIGITAL_SIGNATURE);
        writer_u8(&w, 0);
        writer_bytes(&w, oid.at, oid.len);
    }
    if (old) {
        writer_u8(&w, 3);
        writer_u8(&w, old);
        writer_u8(&w, 0);
    }
    assert_false(w.bad);
    return auth_methods_parse(writer_view(&w));
}

/* Nobody has to guess any more: PSS to who takes it though SHA-1 stands in its hashes, PKCS#1 to
 * who does not, by the hash that is in both lists. */
static void chosen(void **state)
{
    static const struct {
        enum key_kind kind;
        enum sign_scheme list[3];
        size_t count;
        uint8_t old, hashes;
        enum sign_scheme want;
        uint8_t method;
    } cases[] = {
        {KEY_RSA,
         {SIGN_RSA_PKCS1_SHA256, SIGN_RSA_PSS_SHA256},
         2,
         0,
         SHA2 | AUTH_HASH_SHA1,
         SIGN_RSA_PSS_SHA256,
         14},
        {KEY_RSA, {SIGN_RSA_PKCS1_SHA384}, 1, 0, SHA2, SIGN_RSA_PKCS1_SHA384, 14},
        {KEY_RSA,
         {SIGN_RSA_PSS_SHA512, SIGN_RSA_PKCS1_SHA256},
         2,
         0,
         SHA2,
         SIGN_RSA_PSS_SHA512,
         14},
        {KEY_RSA,
         {SIGN_RSA_PSS_SHA512, SIGN_RSA_PKCS1_SHA256},
         2,
         0,
         AUTH_HASH_SHA256,
         SIGN_RSA_PKCS1_SHA256,
         14},
        {KEY_RSA, {SIGN_RSA_PSS_SHA512}, 1, AUTH_RSA, AUTH_HASH_SHA256, SIGN_RSA_PKCS1_SHA1, 1},
        {KEY_RSA, {SIGN_ED25519}, 1, 0, SHA2 | ID, SIGN_NONE, 0},
        {KEY_ECDSA_P256, {SIGN_ECDSA_SHA384}, 1, 0, SHA2, SIGN_ECDSA_SHA384, 14},
        {KEY_ECDSA_P384, {SIGN_ECDSA_SHA256, SIGN_ECDSA_SHA512}, 2, 0, SHA2, SIGN_ECDSA_SHA512, 14},
        {KEY_ECDSA_P256, {SIGN_NONE}, 0, AUTH_ECDSA_256, SHA2, SIGN_ECDSA_P256_RAW, 9},
        {KEY_ECDSA_P521, {SIGN_NONE}, 0, AUTH_ECDSA_256, SHA2, SIGN_NONE, 0},
        {KEY_ED25519, {SIGN_ED25519}, 1, 0, ID, SIGN_ED25519, 14},
        {KEY_ED25519, {SIGN_ECDSA_SHA256}, 1, 0, SHA2 | ID, SIGN_NONE, 0},
        {KEY_ED25519, {SIGN_ED25519}, 1, 0, SHA2, SIGN_NONE, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t method = 0;
        struct auth_peer_wants peer = {cases[i].hashes,
                                       list_of(cases[i].list, cases[i].count, cases[i].old),
                                       SIGN_NONE, &none};
        enum sign_scheme got = auth_choose_scheme(cases[i].kind, &peer, &method);
        if (got != cases[i].want || (got != SIGN_NONE && method != cases[i].method))
            fail_msg("case %zu: %s by method %u", i, sign_scheme_name(got), method);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_written),
        cmocka_unit_test(in_less_room),
        cmocka_unit_test(strange_lists),
        cmocka_unit_test(chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
