/* Leases: sticky, bounded, and the longest unused one goes first. */
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static struct identity named(const char *text)
{
    struct identity id;
    assert_true(identity_parse(text, &id));
    return id;
}

static struct lease_book *book_of(const char *first, const char *second)
{
    struct prefix pools[2];
    size_t count = 1;
    assert_true(prefix_parse(first, &pools[0]));
    if (second) {
        assert_true(prefix_parse(second, &pools[1]));
        count = 2;
    }
    struct lease_book *book = lease_book_create(pools, count, 64, &random_system);
    assert_non_null(book);
    return book;
}

static const char *take(struct lease_book *book, uint8_t family, const char *who, uint64_t owner,
                        const char *fixed, const char *wanted)
{
    static char text[ADDR_TEXT];
    struct identity id = named(who);
    struct ip f, w, out;
    if (fixed)
        assert_true(ip_parse(fixed, &f));
    if (wanted)
        assert_true(ip_parse(wanted, &w));
    int result =
        lease_take(book, family, &id, owner, fixed ? &f : NULL, wanted ? &w : NULL, 1, &out);
    return result ? err_word(result) : ip_print(&out, text);
}

static void sticky(void **state)
{
    (void)state;
    struct lease_book *book = book_of("10.9.0.0/29", "fd00:9::/64");
    assert_string_equal(take(book, 4, "alice@x", 1, NULL, NULL), "10.9.0.2");
    assert_string_equal(take(book, 6, "alice@x", 1, NULL, NULL), "fd00:9::2");
    assert_string_equal(take(book, 4, "bob@x", 2, NULL, NULL), "10.9.0.3");
    assert_string_equal(take(book, 4, "alice@x", 1, NULL, NULL), "10.9.0.2"); /* again */
    assert_int_equal(lease_count(book), 3);
    lease_release(book, 1, 2);
    assert_string_equal(take(book, 4, "carol@x", 3, NULL, NULL), "10.9.0.4");
    assert_string_equal(take(book, 4, "ALICE@X", 4, NULL, NULL), "10.9.0.2");
    assert_string_equal(take(book, 4, "alice@x", 5, NULL, NULL), "10.9.0.5"); /* a second device */
    lease_book_free(book);
}

static void full_then_oldest(void **state)
{
    (void)state;
    struct lease_book *book = book_of("10.9.0.0/29", NULL);
    char name[16];
    for (unsigned i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "c%u@x", i);
        assert_string_not_equal(take(book, 4, name, i + 1, NULL, NULL), "no-address");
    }
    assert_string_equal(take(book, 4, "late@x", 99, NULL, NULL), "no-address");
    assert_string_equal(take(book, 6, "late@x", 99, NULL, NULL), "no-address");
    lease_release(book, 3, 1);
    lease_release(book, 2, 2);
    assert_string_equal(take(book, 4, "late@x", 99, NULL, NULL), "10.9.0.4");
    assert_string_equal(take(book, 4, "c2@x", 100, NULL, NULL), "10.9.0.3"); /* its own is gone */
    assert_int_equal(lease_count(book), 5);
    lease_book_free(book);
}

static void fixed_and_wanted(void **state)
{
    (void)state;
    struct lease_book *book = book_of("10.9.0.0/28", NULL);
    struct ip ip;
    assert_true(ip_parse("10.9.0.2", &ip));
    assert_int_equal(lease_reserve(book, &ip), 0);
    assert_string_equal(take(book, 4, "a@x", 1, NULL, "10.9.0.9"), "10.9.0.9");
    assert_string_equal(take(book, 4, "b@x", 2, NULL, "10.9.0.9"), "10.9.0.3");
    assert_string_equal(take(book, 4, "c@x", 3, NULL, "10.9.0.1"), "10.9.0.4");  /* the gateway's */
    assert_string_equal(take(book, 4, "d@x", 4, NULL, "10.9.0.15"), "10.9.0.5"); /* broadcast */
    assert_string_equal(take(book, 4, "e@x", 5, NULL, "10.9.0.2"), "10.9.0.6");  /* reserved */
    assert_string_equal(take(book, 4, "boss@x", 6, "10.9.0.2", NULL), "10.9.0.2");
    assert_string_equal(take(book, 4, "boss@x", 7, "10.9.0.2", NULL), "10.9.0.2"); /* moved */
    lease_release(book, 6, 1);
    assert_int_equal(lease_count(book), 6);
    assert_string_equal(take(book, 4, "out@x", 8, "192.0.2.7", NULL), "192.0.2.7");
    lease_book_free(book);
}

static void all_at_once(void **state)
{
    (void)state;
    struct lease_book *book = book_of("10.9.0.0/24", NULL);
    char name[16], first[40][ADDR_TEXT];
    for (unsigned i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "c%u@x", i);
        snprintf(first[i], ADDR_TEXT, "%s", take(book, 4, name, i + 1, NULL, NULL));
    }
    lease_release_all(book, 9);
    assert_int_equal(lease_count(book), 0);
    for (unsigned i = 40; i-- > 0;) {
        snprintf(name, sizeof(name), "c%u@x", i);
        assert_string_equal(take(book, 4, name, i + 100, NULL, NULL), first[i]);
    }
    lease_book_free(book);
}

/* A tunnel that replaces another keeps its address, and the end of the old one changes nothing. */
static void handed_over(void **state)
{
    (void)state;
    struct lease_book *book = book_of("10.9.0.0/29", "fd00:9::/64");
    struct identity alice = named("alice@x"), nobody = named("nobody@x");
    assert_string_equal(take(book, 4, "alice@x", 1, NULL, NULL), "10.9.0.2");
    assert_string_equal(take(book, 6, "alice@x", 1, NULL, NULL), "fd00:9::2");
    assert_string_equal(take(book, 4, "bob@x", 2, NULL, NULL), "10.9.0.3");
    lease_hand_over(book, &alice, 3);
    lease_hand_over(book, &nobody, 3);
    lease_release(book, 1, 5);
    assert_int_equal(lease_count(book), 3);
    assert_string_equal(take(book, 4, "alice@x", 3, NULL, NULL), "10.9.0.2");
    assert_string_equal(take(book, 6, "alice@x", 3, NULL, NULL), "fd00:9::2");
    lease_release(book, 3, 6);
    assert_int_equal(lease_count(book), 1);
    lease_book_free(book);
}

/* Two of one identity give way to a third, which needs one address: the other one is free. The same
 * when what is given back finds one there. */
static void one_of_each(void **state)
{
    (void)state;
    struct lease_book *book = book_of("10.9.0.0/29", "fd00:9::/64");
    struct identity alice = named("alice@x");
    for (int wanted = 0; wanted < 2; wanted++) {
        assert_string_equal(take(book, 4, "alice@x", 1, NULL, "10.9.0.2"), "10.9.0.2");
        assert_string_equal(take(book, 4, "alice@x", 2, NULL, "10.9.0.3"), "10.9.0.3");
        lease_hand_over(book, &alice, 3);
        assert_int_equal(lease_count(book), 2);
        const char *want = wanted ? "10.9.0.3" : "10.9.0.2";
        assert_string_equal(take(book, 4, "alice@x", 3, NULL, want), want);
        assert_int_equal(lease_count(book), 1);
        assert_string_equal(take(book, 4, "alice@x", 4, NULL, NULL),
                            wanted ? "10.9.0.2" : "10.9.0.3");
        lease_move(book, &alice, 4, 3);
        assert_int_equal(lease_count(book), 1);
        assert_string_equal(take(book, 4, "alice@x", 3, NULL, NULL), want);
        lease_release(book, 3, 5);
        assert_int_equal(lease_count(book), 0);
    }
    lease_book_free(book);
}

/* A tunnel that another one of the same peer renews: its leases go over, and come back when that
 * one is given up. Nobody else's do. */
static void moved(void **state)
{
    (void)state;
    struct lease_book *book = book_of("10.9.0.0/29", "fd00:9::/64");
    struct identity alice = named("alice@x"), bob = named("bob@x");
    assert_string_equal(take(book, 4, "alice@x", 1, NULL, NULL), "10.9.0.2");
    assert_string_equal(take(book, 6, "alice@x", 1, NULL, NULL), "fd00:9::2");
    assert_string_equal(take(book, 4, "alice@x", 2, NULL, NULL), "10.9.0.3"); /* a twin */
    assert_string_equal(take(book, 4, "bob@x", 3, NULL, NULL), "10.9.0.4");
    lease_move(book, &bob, 1, 4); /* not bob's */
    lease_move(book, &alice, 0, 4);
    lease_release(book, 4, 5);
    assert_int_equal(lease_count(book), 4);
    lease_move(book, &alice, 1, 4);
    lease_release(book, 1, 6); /* the old one ends: nothing is its any more */
    assert_int_equal(lease_count(book), 4);
    assert_string_equal(take(book, 4, "alice@x", 4, NULL, NULL), "10.9.0.2");
    assert_string_equal(take(book, 6, "alice@x", 4, NULL, NULL), "fd00:9::2");
    lease_move(book, &alice, 4, 5); /* and back again from one given up */
    lease_move(book, &alice, 5, 4);
    lease_release(book, 5, 7);
    assert_int_equal(lease_count(book), 4);
    lease_release(book, 4, 8);
    assert_int_equal(lease_count(book), 2);
    lease_book_free(book);
}

/* The limit on entries holds whatever is asked for, and memory does not grow. */
static void bounded(void **state)
{
    (void)state;
    struct lease_book *book = book_of("10.0.0.0/8", "fd00::/16");
    char name[16];
    unsigned given = 0;
    for (unsigned i = 0; i < 500; i++) {
        snprintf(name, sizeof(name), "c%u@x", i);
        given += take(book, i % 2 ? 4 : 6, name, i + 1, NULL, NULL)[0] != 'n';
    }
    assert_int_equal(given, 64);
    lease_book_free(book);
}

static void gateway_addresses(void **state)
{
    (void)state;
    struct prefix p;
    struct ip ip;
    char text[ADDR_TEXT];
    assert_true(prefix_parse("10.9.0.0/16", &p));
    ip = lease_gateway_address(&p);
    assert_string_equal(ip_print(&ip, text), "10.9.0.1");
    assert_int_equal(lease_pool_size(&p), 65533);
    assert_true(prefix_parse("fd00::/64", &p));
    ip = lease_gateway_address(&p);
    assert_string_equal(ip_print(&ip, text), "fd00::1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_of_each),
        cmocka_unit_test(sticky),
        cmocka_unit_test(full_then_oldest),
        cmocka_unit_test(fixed_and_wanted),
        cmocka_unit_test(all_at_once),
        cmocka_unit_test(handed_over),
        cmocka_unit_test(moved),
        cmocka_unit_test(bounded),
        cmocka_unit_test(gateway_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
