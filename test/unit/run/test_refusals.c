/* The list of refusals: who is kept, who has to go, and what is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "run/refusals.h"

static struct refusals list;
static struct conf conf;

static struct ipc_event refused(const char *who, const char *from, int err)
{
    struct ipc_event e = {.what = {.kind = IKE_EVENT_REFUSED, .err = err}};
    e.what.exchange = who[0] ? EXCHANGE_IKE_AUTH : EXCHANGE_IKE_SA_INIT;
    snprintf(e.who, sizeof(e.who), "%s", who);
    snprintf(e.what.text, sizeof(e.what.text), "what and why; what next");
    assert_true(ip_parse(from, &e.what.path.remote.ip));
    e.what.path.remote.port = 500;
    return e;
}

static void add(const char *who, const char *from, int err, int64_t now)
{
    struct ipc_event e = refused(who, from, err);
    refusals_add(&list, &e, now);
}

static size_t count(const char *who)
{
    json_t *all = refusals_json(&list, &conf, who, 1000);
    size_t n = json_array_size(all);
    json_decref(all);
    return n;
}

static const char *field(size_t at, const char *name)
{
    static char text[400];
    json_t *all = refusals_json(&list, &conf, NULL, 1000);
    const json_t *value = json_object_get(json_array_get(all, at), name);
    if (json_is_integer(value))
        snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
    else
        snprintf(text, sizeof(text), "%s", value ? json_string_value(value) : "");
    json_decref(all);
    return text;
}

static int fresh(void **state)
{
    (void)state;
    static struct conf_peer peers[2];
    list = (struct refusals){0};
    conf = (struct conf){.gateway = true, .peers = peers, .peer_count = 2};
    snprintf(peers[0].name, sizeof(peers[0].name), "bob-laptop");
    assert_true(identity_parse("bob@example.com", &peers[0].id));
    snprintf(peers[1].name, sizeof(peers[1].name), "site");
    assert_true(cert_dn_parse("CN=site,O=Example", &peers[1].id));
    return 0;
}

static void same_story_stands_once(void **state)
{
    (void)state;
    add("bob@example.com", "192.0.2.14", ERR_AUTH, 1000);
    add("carol@example.com", "192.0.2.15", ERR_AUTH, 1001);
    add("bob@example.com", "192.0.2.14", ERR_AUTH, 1002);
    assert_int_equal(count(NULL), 2);
    assert_string_equal(field(0, "peer_id"), "bob@example.com");
    assert_string_equal(field(0, "count"), "2");
    assert_string_equal(field(0, "first"), "1000");
    assert_string_equal(field(0, "time"), "1002");
    assert_string_equal(field(0, "client"), "bob-laptop");
    assert_string_equal(field(0, "step"), "IKE_AUTH");
    assert_string_equal(field(0, "reason"), "proof");
    assert_string_equal(field(0, "cause"), "what and why");
    assert_string_equal(field(0, "fix"), "what next");
    add("bob@example.com", "192.0.2.14", ERR_TS, 1003); /* another story */
    assert_int_equal(count(NULL), 3);
    struct ipc_event other = refused("bob@example.com", "192.0.2.14", ERR_TS);
    snprintf(other.what.text, sizeof(other.what.text), "the same error for another cause");
    refusals_add(&list, &other, 1004);
    assert_int_equal(count(NULL), 4);
    assert_string_equal(field(0, "cause"), "the same error for another cause");
}

static void found_by_any_name(void **state)
{
    (void)state;
    add("bob@example.com", "192.0.2.14", ERR_AUTH, 1);
    add("CN=site,O=Example", "192.0.2.20", ERR_AUTH, 2);
    add("", "2001:db8::1", ERR_NO_PROPOSAL, 3);
    assert_int_equal(count("bob@example.com"), 1);
    assert_int_equal(count("BOB@example.com"), 1);
    assert_int_equal(count("bob"), 1);
    assert_int_equal(count("bob-laptop"), 1);
    assert_int_equal(count("192.0.2.14"), 1);
    assert_int_equal(count("2001:db8::1"), 1);
    assert_int_equal(count("site"), 1);
    assert_int_equal(count("bo"), 0);
    assert_int_equal(count("example.com"), 0);
    assert_int_equal(count(""), 0);
    assert_int_equal(refusals_nameless(&list), 1);
}

static void a_slip_of_the_pen(void **state)
{
    (void)state;
    add("bbo@example.com", "192.0.2.14", ERR_UNKNOWN_PEER, 1);
    assert_string_equal(field(0, "closest"), "bob@example.com");
    add("somebody-else.example.net", "192.0.2.15", ERR_UNKNOWN_PEER, 2);
    assert_string_equal(field(0, "closest"), "");
}

/* Strangers by the thousand, and one with a thousand names: who looks for bob finds him. */
static void floods_do_not_wash_out(void **state)
{
    (void)state;
    char from[64], who[64];
    add("bob@example.com", "192.0.2.14", ERR_AUTH, 1);
    add("", "192.0.2.99", ERR_NO_PROPOSAL, 2); /* somebody's phone, which tries twice */
    add("", "192.0.2.99", ERR_NO_PROPOSAL, 3);
    for (unsigned n = 0; n < 5000; n++) {
        snprintf(from, sizeof(from), "10.%u.%u.1", n / 250, n % 250);
        add("", from, ERR_NO_PROPOSAL, 10);
        snprintf(who, sizeof(who), "user%u@example.org", n);
        add(who, "203.0.113.5", ERR_UNKNOWN_PEER, 10);
        snprintf(from, sizeof(from), "2001:db8:1:2::%x", n + 1);
        add(who, from, ERR_UNKNOWN_PEER, 10); /* of one /64 */
    }
    assert_int_equal(count("bob"), 1);
    assert_int_equal(count("192.0.2.99"), 1);
    assert_int_equal(refusals_nameless(&list), REFUSALS_NAMELESS);
    assert_int_equal(count(NULL), REFUSALS_NAMELESS + 1 + 2 * REFUSALS_A_SOURCE);
}

/* Newest first, and no more than asked for. */
static void in_order(void **state)
{
    (void)state;
    char from[64];
    for (unsigned n = 0; n < 10; n++) {
        snprintf(from, sizeof(from), "192.0.2.%u", n);
        add(n % 2 ? "" : "eve@example.org", from, ERR_AUTH, n);
    }
    json_t *all = refusals_json(&list, &conf, NULL, 4);
    assert_int_equal(json_array_size(all), 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(json_integer_value(json_object_get(json_array_get(all, i), "time")),
                         9 - (int)i);
    json_decref(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(same_story_stands_once, fresh),
        cmocka_unit_test_setup(found_by_any_name, fresh),
        cmocka_unit_test_setup(a_slip_of_the_pen, fresh),
        cmocka_unit_test_setup(floods_do_not_wash_out, fresh),
        cmocka_unit_test_setup(in_order, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
