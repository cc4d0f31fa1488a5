/* Does the time of our own arithmetic tell what it works on? Valgrind's memcheck says where
 * undefined memory decides a branch or an address: so the secrets are marked undefined, and it must
 * say nothing at all. The program starts itself again under valgrind. */
#include "vectors.h"

#include "crypto/crypto.h"
#include "crypto/mlkem.h"

#include <unistd.h>

#if __has_include(<valgrind/memcheck.h>) && !defined(__SANITIZE_ADDRESS__) &&                      \
    !defined(__SANITIZE_THREAD__)
#include <valgrind/memcheck.h>
#define CAN_LOOK true
#else
#define CAN_LOOK                             false
#define RUNNING_ON_VALGRIND                  0
#define VALGRIND_COUNT_ERRORS                0u
#define VALGRIND_MAKE_MEM_UNDEFINED(at, len) ((void)(at), (void)(len))
#define VALGRIND_MAKE_MEM_DEFINED(at, len)   ((void)(at), (void)(len))
#endif

static void hide(const void *secret, size_t len)
{
    (void)VALGRIND_MAKE_MEM_UNDEFINED(secret, len);
}

static void show(const void *octets, size_t len)
{
    (void)VALGRIND_MAKE_MEM_DEFINED(octets, len);
}

static unsigned complaints;

static void begin(void)
{
    if (!RUNNING_ON_VALGRIND)
        skip();
    complaints = VALGRIND_COUNT_ERRORS;
}

static unsigned end(void)
{
    return VALGRIND_COUNT_ERRORS - complaints;
}

/* The n-th version of our code; false after the last. */
static bool version(uint16_t id, size_t n, struct mlkem *out)
{
    assert_true(mlkem_of(id, out));
    if (n == 1)
        out->code = &poly_code_plain;
    return n < 2;
}

static void draw(uint8_t *to, size_t len)
{
    static uint64_t seed = 2026;

    seeded_fill(&seed, to, len);
}

/* ---- is the method any good? ---- */

static volatile int sink;

static void sees_a_branch(void **state)
{
    uint8_t secret[8];

    (void)state;
    begin();
    draw(secret, sizeof(secret));
    hide(secret, sizeof(secret));
    if (secret[3] & 1)
        sink = 1;
    assert_int_not_equal(end(), 0);
}

static void sees_an_index(void **state)
{
    static const uint8_t table[256] = {1, 2, 3};
    uint8_t secret[8];

    (void)state;
    begin();
    draw(secret, sizeof(secret));
    hide(secret, sizeof(secret));
    sink = *(const volatile uint8_t *)&table[secret[5]];
    assert_int_not_equal(end(), 0);
}

/* ---- ML-KEM ---- */

static void mlkem_keys(void **state)
{
    (void)state;
    begin();
    for (uint16_t id = 35; id <= 37; id++) {
        struct mlkem m;

        for (size_t n = 0; version(id, n, &m); n++) {
            uint8_t rho[32], sigma[32], z[32], ek[MLKEM_EK_MAX], dk[MLKEM_DK_MAX];

            draw(rho, 32), draw(sigma, 32), draw(z, 32);
            hide(sigma, 32), hide(z, 32);
            assert_int_equal(mlkem_expand(&m, rho, sigma, z, ek, dk), 0);
            assert_int_equal(end(), 0);
        }
    }
}

static void mlkem_both_ways(void **state)
{
    (void)state;
    begin();
    for (uint16_t id = 35; id <= 37; id++) {
        struct mlkem m;

        for (size_t n = 0; version(id, n, &m); n++) {
            uint8_t seed[MLKEM_SEED], octets[MLKEM_OCTETS], ek[MLKEM_EK_MAX], dk[MLKEM_DK_MAX];
            uint8_t ct[MLKEM_CT_MAX], ours[MLKEM_OCTETS], theirs[MLKEM_OCTETS];
            const size_t secret_len = (size_t)m.k * POLY_OCTETS;
            const struct bytes e = {ek, mlkem_ek_len(&m)}, d = {dk, mlkem_dk_len(&m)};
            const struct bytes c = {ct, mlkem_ct_len(&m)};

            draw(seed, sizeof(seed)), draw(octets, sizeof(octets));
            assert_int_equal(mlkem_create(&m, seed, ek, dk), 0);
            hide(octets, sizeof(octets));
            assert_int_equal(mlkem_encapsulate(&m, e, octets, ct, ours), 0);
            assert_int_equal(end(), 0);
            show(ct, sizeof(ct)), show(ours, sizeof(ours));
            for (int rejected = 0; rejected < 2; rejected++) {
                ct[7] = (uint8_t)(ct[7] ^ rejected);
                hide(dk, secret_len), hide(dk + d.len - 32, 32);
                assert_int_equal(mlkem_decapsulate(&m, d, c, theirs), 0);
                assert_int_equal(end(), 0);
                show(dk, sizeof(dk)), show(theirs, sizeof(theirs));
                assert_int_equal(memcmp(ours, theirs, sizeof(ours)) != 0, rejected);
            }
        }
    }
}

/* ---- comparing ---- */

static void comparing(void **state)
{
    uint8_t a[67], b[67];
    bool same;

    (void)state;
    begin();
    draw(a, sizeof(a));
    for (size_t len = 0; len <= sizeof(a); len++) {
        memcpy(b, a, sizeof(a));
        if (len > 0)
            b[len / 2] ^= (uint8_t)(len % 2);
        hide(a, sizeof(a)), hide(b, sizeof(b));
        same = secret_equal(a, b, len);
        assert_int_equal(end(), 0);
        show(&same, sizeof(same)), show(a, sizeof(a)), show(b, sizeof(b));
        assert_int_equal(same, len % 2 == 0);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sees_a_branch), cmocka_unit_test(sees_an_index),
        cmocka_unit_test(mlkem_keys),    cmocka_unit_test(mlkem_both_ways),
        cmocka_unit_test(comparing),
    };

    if (CAN_LOOK && argc == 1 && !RUNNING_ON_VALGRIND)
        execlp("valgrind", "valgrind", "-q", argv[0], "under-valgrind", (char *)NULL);
    if (!RUNNING_ON_VALGRIND)
        printf("note: not under valgrind: constant time is not tested\n");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
