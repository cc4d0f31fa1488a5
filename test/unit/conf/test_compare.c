/* What has changed between two readings of a file, and what a running process can follow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* cmocka.h needs the four above */
#include <cmocka.h>

#include "conf/conf.h"

static const char gateway[] = "[gateway]\n"
                              "name = gw.example.com\n"
                              "listen = 192.0.2.1, 192.0.2.2\n"
                              "[network]\n"
                              "pool = 10.9.0.0/24\n"
                              "dns = 9.9.9.9\n"
                              "[client alice@example.com]\n"
                              "psk-file = alice.psk\n"
                              "[client bob@example.com]\n"
                              "psk-file = bob.psk\n"
                              "address = 10.9.0.9\n"
                              "networks = 10.44.0.0/16\n";
static const char client[] = "[tunnel]\n"
                             "gateway = gw.example.com\n"
                             "psk-file = office.psk\n"
                             "[traffic]\n"
                             "send = 10.0.0.0/8\n"
                             "[child mail]\n"
                             "send = 10.7.0.0/16[tcp/993]\n";

static struct conf_faults faults;

static struct conf *parse(const char *text)
{
    struct conf *conf;
    memset(&faults, 0, sizeof faults);
    if (conf_parse("/etc/shrike/office.conf", (struct bytes){(const uint8_t *)text, strlen(text)},
                   &conf, &faults)) {
        char line[1024];
        conf_fault_print(&faults.at[0], line, sizeof line);
        fail_msg("%s", line);
    }
    return conf;
}

/* The text with each `from` in place of its `to`, as a second file. */
static struct conf *parse_changed(const char *text, const char *from, const char *to)
{
    char changed[2048];
    const char *at = strstr(text, from);
    assert_non_null(at);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return parse(changed);
}

struct pair {
    struct conf *before, *after;
    struct conf_changes changes;
};

static struct pair compare(const char *text, const char *from, const char *to)
{
    struct pair p = {.before = parse(text), .after = parse_changed(text, from, to)};
    assert_int_equal(conf_compare(p.before, p.after, &p.changes), 0);
    return p;
}

static void done(struct pair *p)
{
    conf_free(p->before);
    conf_free(p->after);
}

static void nothing(void **state)
{
    static const struct {
        const char *from, *to;
    } same[] = {
        {"name = gw", "name = gw"},
        {"192.0.2.1, 192.0.2.2", "  192.0.2.1,192.0.2.2   # ours"},
        {"[network]", "workers = auto\nmax-tunnels = 20000\n[network]"},
        {"[network]", "interface = shrike0\n[life]\nchild = 60m\nike = 4h\n[network]"},
        {"[client alice@example.com]", "# a word\n\n[client alice@example.com]"},
        {"address = 10.9.0.9\nnetworks",
         "identity = BOB@example.com\naddress = 10.9.0.9\nnetworks"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        struct pair p = compare(gateway, same[i].from, same[i].to);
        assert_int_equal(p.changes.count, 0);
        assert_int_equal(p.changes.told, 0);
        assert_int_equal(conf_followable(p.before, p.after, &p.changes, &faults), 0);
        done(&p);
    }
}

static void an_option(void **state)
{
    (void)state;
    struct pair p = compare(gateway, "dns = 9.9.9.9", "dns = 1.1.1.1");
    assert_int_equal(p.changes.count, 1);
    assert_int_equal(p.changes.fixed, 0);
    assert_string_equal(p.changes.at[0].section, "network");
    assert_string_equal(p.changes.at[0].key, "dns");
    assert_string_equal(p.changes.at[0].before, "9.9.9.9");
    assert_string_equal(p.changes.at[0].after, "1.1.1.1");
    assert_int_equal(p.changes.at[0].line, 6);
    assert_int_equal(conf_followable(p.before, p.after, &p.changes, &faults), 0);
    done(&p);
    p = compare(gateway, "dns = 9.9.9.9\n", ""); /* back to the default */
    assert_int_equal(p.changes.count, 1);
    assert_string_equal(p.changes.at[0].after, "");
    done(&p);
}

/* Each is refused with where it stands, what it was, and the way out; all are named at once. */
static void fixed_options(void **state)
{
    static const char *const fixed[] = {
        "interface = tun7", "instance = second",  "workers = 2",     "max-tunnels = 100",
        "run-dir = /tmp/x", "state-dir = /tmp/x", "user-ids = 70000"};
    char to[64], line[1024];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        snprintf(to, sizeof to, "%s\n[network]", fixed[i]);
        struct pair p = compare(gateway, "[network]", to);
        assert_true(p.changes.fixed >= 1);
        assert_int_equal(conf_followable(p.before, p.after, &p.changes, &faults), ERR_CONFIG);
        assert_true(faults.count >= 1);
        bool named = false;
        for (size_t f = 0; f < faults.count; f++)
            named |= faults.at[f].line == 4 && strstr(faults.at[f].next, "restart the gateway");
        assert_true(named);
        done(&p);
    }
    struct pair p = compare(gateway, "192.0.2.2", "192.0.2.3");
    assert_int_equal(conf_followable(p.before, p.after, &p.changes, &faults), ERR_CONFIG);
    conf_fault_print(&faults.at[0], line, sizeof line);
    assert_string_equal(line, "/etc/shrike/office.conf:3: [gateway] listen cannot change while it "
                              "runs, and was \"192.0.2.1, 192.0.2.2\": \"192.0.2.1, 192.0.2.3\" - "
                              "restart the gateway to change it, or take it back");
    done(&p);
}

static void clients(void **state)
{
    static const struct {
        const char *from, *to;
        size_t added, removed, changed;
        const char *name;
    } cases[] = {
        {"[client bob", "[client carol@example.com]\npsk-file = c\n[client bob", 1, 0, 0,
         "carol@example.com"},
        {"[client alice@example.com]\npsk-file = alice.psk\n", "", 0, 1, 0, "alice@example.com"},
        {"alice.psk", "alice2.psk", 0, 0, 1, "alice@example.com"},
        {"10.9.0.9", "10.9.0.10", 0, 0, 1, "bob@example.com"},
        {"10.44.0.0/16", "10.44.0.0/16, 10.45.0.0/16", 0, 0, 1, "bob@example.com"},
        {"10.44.0.0/16", "10.45.0.0/16", 0, 0, 1, "bob@example.com"},
        {"address", "identity = b@example.com\naddress", 0, 0, 1, "bob@example.com"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair p = compare(gateway, cases[i].from, cases[i].to);
        assert_int_equal(p.changes.clients[CONF_CLIENT_ADDED], cases[i].added);
        assert_int_equal(p.changes.clients[CONF_CLIENT_REMOVED], cases[i].removed);
        assert_int_equal(p.changes.clients[CONF_CLIENT_CHANGED], cases[i].changed);
        assert_int_equal(p.changes.told, 1);
        assert_string_equal(p.changes.client[0].name, cases[i].name);
        assert_int_equal(conf_followable(p.before, p.after, &p.changes, &faults), 0);
        done(&p);
    }
}

static void a_tunnel(void **state)
{
    (void)state;
    struct pair p = compare(client, "send = 10.0.0.0/8", "send = 10.0.0.0/9");
    assert_int_equal(conf_followable(p.before, p.after, &p.changes, &faults), ERR_CONFIG);
    assert_non_null(strstr(faults.at[0].next, "`shrike down office` and `shrike up office`"));
    done(&p);
    p = compare(client, "tcp/993", "tcp/143");
    assert_int_equal(p.changes.fixed, 1);
    assert_string_equal(p.changes.at[0].section, "child");
    assert_int_equal(conf_followable(p.before, p.after, &p.changes, &faults), ERR_CONFIG);
    assert_int_equal(faults.at[0].line, 6);
    done(&p);
    p = compare(client, "office.psk", "new.psk");
    assert_int_equal(p.changes.count, 1);
    assert_int_equal(p.changes.fixed, 0);
    done(&p);
}

static void another_kind(void **state)
{
    (void)state;
    struct pair p = {.before = parse(gateway), .after = parse(client)};
    assert_int_equal(conf_compare(p.before, p.after, &p.changes), 0);
    assert_int_equal(conf_followable(p.before, p.after, &p.changes, &faults), ERR_CONFIG);
    done(&p);
}

static void the_command_line_stays(void **state)
{
    (void)state;
    struct pair p = compare(gateway, "9.9.9.9", "1.1.1.1");
    p.before->told_level = p.before->told_run_dir = true;
    p.before->log_level = LEVEL_DEBUG;
    snprintf(p.before->run_dir, sizeof p.before->run_dir, "/run/other");
    conf_inherit(p.after, p.before);
    assert_int_equal(p.after->log_level, LEVEL_DEBUG);
    assert_string_equal(p.after->run_dir, "/run/other");
    assert_true(p.after->told_level && p.after->told_run_dir);
    done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing),
        cmocka_unit_test(an_option),
        cmocka_unit_test(fixed_options),
        cmocka_unit_test(clients),
        cmocka_unit_test(a_tunnel),
        cmocka_unit_test(another_kind),
        cmocka_unit_test(the_command_line_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
