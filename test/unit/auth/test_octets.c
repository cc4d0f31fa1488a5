/* What is signed, and shared keys: known answers computed by another HMAC implementation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "auth/auth.h"

static const struct {
    uint16_t prf;
    const char *octets_sha256, *auth;
} answers[] = {
    {5, "04c71a4c6af7a37a80ab480db2aa8ab96639845ae154e24832ecd9e8509a777a",
     "bdaeb9a9da4f515f071ddf732e8973bdc6315333467d30cb2bd62e3d03b89233"},
    {6, "4b1da8b6743ae689b1c61f15e8ba7f7c61b77e0c4c48c4a6c2ae0813e92fe81f",
     "7705d5563ce1b0282fca95c193faf2b4dfce95708ed142bd1d643a52eafc7f3da02d0414bd35003d9a244d1a0427"
     "b0b3"},
    {7, "4883fec5c180e0aa13eb3ae34ad77813839787bc15798806eb35afef5dba4de1",
     "09a50ac6c5453b4e919fdb0f245292bee0f4b21d21a20f7a8dd40cbfef7b905757eaa5799749b13803380eccd9da"
     "fafd32bfc8729bf586d55e6a031fb0591253"},
};

static const char *hex(const uint8_t *octets, size_t len)
{
    static char text[200];
    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", octets[i]);
    return text;
}

static void known_answers(void **state)
{
    (void)state;
    uint8_t message[200], nonce[32], sk_p[64], out[AUTH_OCTETS_MAX], mac[64], hash[32];
    static const char id_body[] = "\x02\0\0\0vpn.example.com",
                      psk[] = "a shared key of some length";
    for (size_t i = 0; i < sizeof(message); i++)
        message[i] = (uint8_t)i;
    memset(nonce, 0xaa, sizeof(nonce));
    memset(sk_p, 0x11, sizeof(sk_p));
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        const struct prf_alg *alg = suite_prf(answers[i].prf);
        size_t len;
        assert_non_null(alg);
        assert_int_equal(auth_octets(alg, (struct bytes){message, 200}, (struct bytes){nonce, 32},
                                     (struct bytes){sk_p, alg->len},
                                     (struct bytes){(const uint8_t *)id_body, sizeof(id_body) - 1},
                                     (struct bytes){0}, out, &len),
                         0);
        struct bytes octets = {out, len};
        hash_sha256(&octets, 1, hash);
        assert_string_equal(hex(hash, 32), answers[i].octets_sha256);
        assert_int_equal(
            auth_psk(alg, (struct bytes){(const uint8_t *)psk, sizeof(psk) - 1}, octets, mac), 0);
        assert_string_equal(hex(mac, alg->len), answers[i].auth);
    }
}

static void limits(void **state)
{
    (void)state;
    static uint8_t message[AUTH_MESSAGE_MAX + 1], nonce[WIRE_NONCE_MAX + 1];
    uint8_t out[AUTH_OCTETS_MAX];
    size_t len;
    const struct prf_alg *alg = suite_prf(7);
    struct bytes key = {nonce, 64}, id = {nonce, 8};
    assert_int_equal(auth_octets(alg, (struct bytes){message, AUTH_MESSAGE_MAX},
                                 (struct bytes){nonce, WIRE_NONCE_MAX}, key, id,
                                 (struct bytes){nonce, AUTH_INTERMEDIATE_MAX}, out, &len),
                     0);
    assert_int_equal(len, AUTH_OCTETS_MAX);
    assert_memory_equal(out + len - AUTH_INTERMEDIATE_MAX, nonce, AUTH_INTERMEDIATE_MAX);
    assert_int_equal(auth_octets(alg, (struct bytes){message, AUTH_MESSAGE_MAX + 1},
                                 (struct bytes){nonce, 32}, key, id, (struct bytes){0}, out, &len),
                     ERR_LIMIT);
    assert_int_equal(len, 0);
    assert_int_equal(auth_octets(alg, (struct bytes){message, 100},
                                 (struct bytes){nonce, WIRE_NONCE_MAX + 1}, key, id,
                                 (struct bytes){0}, out, &len),
                     ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
