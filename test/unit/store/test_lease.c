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

/* ---- a successor */

static size_t hand_on(const struct lease_book *from, struct lease_book *to)
{
    struct lease_key key = lease_key_of(from);
    struct lease_walk walk = {0};
    struct lease_record records[3];
    size_t count, refused = 0;
    assert_int_equal(lease_take_key(to, &key), 0);
    while ((count = lease_export(from, &walk, records, 3)))
        for (size_t i = 0; i < count; i++)
            refused += lease_import(to, &records[i]) != 0;
    return refused;
}

/* Who holds what, who had what, and whose turn it is to lose his: all as before. */
static void a_successor_goes_on(void **state)
{
    (void)state;
    struct lease_book *book = book_of("10.9.0.0/29", "fd00:9::/64");
    assert_string_equal(take(book, 4, "alice@x", 1, NULL, NULL), "10.9.0.2");
    assert_string_equal(take(book, 6, "alice@x", 1, NULL, NULL), "fd00:9::2");
    assert_string_equal(take(book, 4, "bob@x", 2, NULL, NULL), "10.9.0.3");
    assert_string_equal(take(book, 4, "carol@x", 3, NULL, NULL), "10.9.0.4");
    assert_string_equal(take(book, 4, "dave@x", 4, NULL, NULL), "10.9.0.5");
    lease_release(book, 4, 2); /* dave's is the longest unused */
    lease_release(book, 3, 3);
    struct lease_book *next = book_of("10.9.0.0/29", "fd00:9::/64");
    assert_int_equal(hand_on(book, next), 0);
    assert_int_equal(lease_count(next), 3);
    struct ip ip;
    assert_true(ip_parse("10.9.0.2", &ip));
    assert_true(lease_holds(next, 1, &ip));
    assert_false(lease_holds(next, 2, &ip));
    assert_string_equal(take(next, 4, "alice@x", 1, NULL, NULL), "10.9.0.2");
    assert_string_equal(take(next, 4, "CAROL@x", 9, NULL, NULL), "10.9.0.4");
    assert_string_equal(take(next, 4, "erin@x", 10, NULL, NULL), "10.9.0.6");
    assert_string_equal(take(next, 4, "fred@x", 11, NULL, NULL), "10.9.0.5");
    assert_string_equal(take(next, 4, "gus@x", 12, NULL, NULL), "no-address");
    lease_release(next, 1, 5);
    assert_string_equal(take(next, 4, "gus@x", 12, NULL, NULL), "10.9.0.2");
    struct lease_key key = lease_key_of(book);
    assert_int_equal(lease_take_key(next, &key), ERR_STATE);
    lease_book_free(book);
    lease_book_free(next);
}

/* Fixed addresses have taken room: those who had an address are forgotten, not those who have. */
static void a_successor_has_less_room(void **state)
{
    (void)state;
    struct lease_book *book = book_of("10.9.0.0/29", NULL);
    assert_string_equal(take(book, 4, "alice@x", 1, NULL, NULL), "10.9.0.2");
    assert_string_equal(take(book, 4, "bob@x", 2, NULL, NULL), "10.9.0.3");
    lease_release(book, 1, 2);
    struct prefix pool;
    struct ip fixed, held;
    assert_true(prefix_parse("10.9.0.0/29", &pool) && ip_parse("10.9.0.6", &fixed) &&
                ip_parse("10.9.0.3", &held));
    struct lease_book *next = lease_book_create(&pool, 1, 2, &random_system);
    assert_non_null(next);
    assert_int_equal(lease_reserve(next, &fixed), 0);
    assert_int_equal(hand_on(book, next), 1);
    assert_true(lease_holds(next, 2, &held));
    lease_book_free(book);
    lease_book_free(next);
}

/* What the new pools have not is not taken over; a fixed address is. */
static void other_pools(void **state)
{
    (void)state;
    struct ip fixed, former;
    struct lease_book *book = book_of("10.9.0.0/29", NULL);
    assert_string_equal(take(book, 4, "alice@x", 1, NULL, NULL), "10.9.0.2");
    assert_string_equal(take(book, 4, "bob@x", 2, "10.8.0.7", NULL), "10.8.0.7");
    assert_string_equal(take(book, 4, "carol@x", 3, NULL, NULL), "10.9.0.3");
    lease_release(book, 3, 1);
    struct lease_book *next = book_of("10.10.0.0/29", NULL);
    assert_true(ip_parse("10.8.0.7", &fixed));
    assert_true(ip_parse("10.9.0.2", &former));
    assert_int_equal(lease_reserve(next, &fixed), 0);
    assert_int_equal(hand_on(book, next), 2);
    assert_true(lease_holds(next, 2, &fixed));
    assert_true(lease_is_reserved(next, &fixed));
    assert_false(lease_holds(next, 1, &former));
    assert_false(lease_is_reserved(next, &former));
    assert_int_equal(lease_count(next), 1);
    assert_string_equal(take(next, 4, "alice@x", 1, NULL, NULL), "10.10.0.2");
    struct lease_record twice = {.ip = fixed, .who = 7, .owner = 8}, nobody = {.ip = former};
    assert_int_equal(lease_import(next, &twice), ERR_EXISTS);
    assert_int_equal(lease_import(next, &nobody), ERR_ARGUMENT);
    lease_book_free(book);
    lease_book_free(next);
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
        cmocka_unit_test(a_successor_goes_on),
        cmocka_unit_test(a_successor_has_less_room),
        cmocka_unit_test(other_pools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
