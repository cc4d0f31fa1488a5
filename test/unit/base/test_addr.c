#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

static struct selector range(const char *low, const char *high)
{
    struct selector s = {.port_high = UINT16_MAX};
    assert_true(ip_parse(low, &s.low) && ip_parse(high, &s.high));
    return s;
}

static void prefixes_parse_or_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"10.0.0.0/8", true},    {"10.0.0.1", true},
        {"::/0", true},          {"fd00::/64", true},
        {"0.0.0.0/0", true},     {"10.0.0.1/8", false},
        {"10.0.0.0/33", false},  {"10.0.0.0/", false},
        {"fd00::1/64", false},   {"", false},
        {"/8", false},           {"10.0.0/8", false},
        {"10.0.0.0/-1", false},  {"10.0.0.0/ 8", false},
        {"::/129", false},       {"10.0.0.0/8x", false},
        {"10.0.0.128/25", true}, {"10.0.0.64/25", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct prefix p;
        char text[ADDR_TEXT];
        assert_int_equal(prefix_parse(cases[i].text, &p), cases[i].good);
        if (cases[i].good && strchr(cases[i].text, '/'))
            assert_string_equal(prefix_print(&p, text), cases[i].text);
    }
}

static void endpoints_parse_or_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *print;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1:500"},
        {"192.0.2.1:4500", "192.0.2.1:4500"},
        {"::1", "[::1]:500"},
        {"[::1]:4500", "[::1]:4500"},
        {"[::1]", "[::1]:500"},
        {"192.0.2.1:", NULL},
        {"192.0.2.1:70000", NULL},
        {"[192.0.2.1]:1", NULL},
        {"[::1", NULL},
        {"name:500", NULL},
        {"[::1]x", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct endpoint e;
        char text[ADDR_TEXT];
        assert_int_equal(endpoint_parse(cases[i].text, 500, &e), cases[i].print != NULL);
        if (cases[i].print)
            assert_string_equal(endpoint_print(&e, text), cases[i].print);
    }
}

static void selectors_intersect(void **state)
{
    (void)state;
    struct selector a = range("10.0.0.0", "10.0.0.255"), b = range("10.0.0.128", "10.0.1.0"), out;
    assert_true(selector_intersect(&a, &b, &out));
    struct selector want = range("10.0.0.128", "10.0.0.255");
    assert_true(selector_equal(&out, &want));
    assert_true(selector_is_subset(&out, &a) && selector_is_subset(&out, &b));
    assert_false(selector_is_subset(&a, &b));
    struct selector six = selector_any(6);
    assert_false(selector_intersect(&a, &six, &out));
    a.protocol = 17, a.port_low = 53, a.port_high = 53;
    assert_true(selector_intersect(&a, &b, &out));
    assert_int_equal(out.protocol, 17);
    assert_int_equal(out.port_low, 53);
    b.protocol = 6;
    assert_false(selector_intersect(&a, &b, &out));
}

static void ranges_become_prefixes_only_when_they_are(void **state)
{
    (void)state;
    static const struct {
        const char *low, *high, *print;
    } cases[] = {
        {"10.0.0.0", "10.0.0.255", "10.0.0.0/24"},
        {"10.0.0.1", "10.0.0.1", "10.0.0.1/32"},
        {"10.0.0.1", "10.0.0.255", "10.0.0.1-10.0.0.255"},
        {"10.0.0.0", "10.0.0.254", "10.0.0.0-10.0.0.254"},
        {"0.0.0.0", "255.255.255.255", "0.0.0.0/0"},
        {"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct selector s = range(cases[i].low, cases[i].high);
        char text[SELECTOR_TEXT];
        assert_string_equal(selector_print(&s, text), cases[i].print);
    }
}

static void selectors_have_words(void **state)
{
    (void)state;
    static const struct {
        const char *text, *print; /* print NULL: refused */
        uint8_t protocol;
        uint16_t low, high;
    } cases[] = {
        {"10.0.0.0/8", "10.0.0.0/8", 0, 0, 65535},
        {"10.0.0.5", "10.0.0.5/32", 0, 0, 65535},
        {"10.0.0.5-10.0.0.9", "10.0.0.5-10.0.0.9", 0, 0, 65535},
        {"10.0.0.0/8[tcp]", "10.0.0.0/8[tcp]", 6, 0, 65535},
        {"10.0.0.0/8[6/443]", "10.0.0.0/8[tcp/443]", 6, 443, 443},
        {"fd00::/8[udp/5000-5010]", "fd00::/8[udp/5000-5010]", 17, 5000, 5010},
        {"10.0.0.0-10.0.0.2[udp/0-65535]", "10.0.0.0-10.0.0.2[udp]", 17, 0, 65535},
        {"10.0.0.0/8[icmp]", "10.0.0.0/8[icmp]", 1, 0, 65535},
        {"10.0.0.0/8[icmp/8]", "10.0.0.0/8[icmp/8]", 1, 0x800, 0x8ff},
        {"10.0.0.0/8[icmp/3.4]", "10.0.0.0/8[icmp/3.4]", 1, 0x304, 0x304},
        {"fd00::/8[icmp6/128-129]", "fd00::/8[icmp6/128-129]", 58, 0x8000, 0x81ff},
        {"10.0.0.1[tcp/opaque]", "10.0.0.1/32[tcp/opaque]", 6, 65535, 0},
        {"10.0.0.1[gre]", "10.0.0.1/32[gre]", 47, 0, 65535},
        {"10.0.0.1[200]", "10.0.0.1/32[200]", 200, 0, 65535},
        {"10.0.0.1[0]", NULL, 0, 0, 0},
        {"10.0.0.1[256]", NULL, 0, 0, 0},
        {"10.0.0.1[gre/5]", NULL, 0, 0, 0},
        {"10.0.0.1[tcp/65536]", NULL, 0, 0, 0},
        {"10.0.0.1[tcp/9-8]", NULL, 0, 0, 0},
        {"10.0.0.1[tcp/1.2]", NULL, 0, 0, 0},
        {"10.0.0.1[icmp/256]", NULL, 0, 0, 0},
        {"10.0.0.1[icmp/3.256]", NULL, 0, 0, 0},
        {"10.0.0.1[]", NULL, 0, 0, 0},
        {"10.0.0.1[tcp", NULL, 0, 0, 0},
        {"10.0.0.1[tcp/]", NULL, 0, 0, 0},
        {"10.0.0.1[", NULL, 0, 0, 0},
        {"[tcp]", NULL, 0, 0, 0},
        {"10.0.0.9-10.0.0.5", NULL, 0, 0, 0},
        {"10.0.0.9-fd00::1", NULL, 0, 0, 0},
        {"10.0.0.1/8", NULL, 0, 0, 0},
        {"", NULL, 0, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct selector s, again;
        char text[SELECTOR_TEXT];
        if (selector_parse(cases[i].text, &s) != (cases[i].print != NULL))
            fail_msg("%s", cases[i].text);
        if (!cases[i].print)
            continue;
        assert_int_equal(s.protocol, cases[i].protocol);
        assert_int_equal(s.port_low, cases[i].low);
        assert_int_equal(s.port_high, cases[i].high);
        assert_string_equal(selector_print(&s, text), cases[i].print);
        assert_true(selector_parse(text, &again) && selector_equal(&s, &again));
    }
}

/* RFC 4301 4.4.1.1: ANY holds OPAQUE, a range of ports does not. */
static void opaque_ports_are_in_any(void **state)
{
    (void)state;
    struct selector any, opaque, range, out;
    assert_true(selector_parse("10.0.0.0/8[tcp]", &any));
    assert_true(selector_parse("10.0.0.1[tcp/opaque]", &opaque));
    assert_true(selector_parse("10.0.0.0/8[tcp/1-65535]", &range));
    assert_true(selector_intersect(&any, &opaque, &out) && selector_equal(&out, &opaque));
    assert_true(selector_intersect(&opaque, &opaque, &out) && selector_is_opaque(&out));
    assert_true(selector_is_subset(&opaque, &any));
    assert_false(selector_is_subset(&any, &opaque));
    assert_false(selector_intersect(&range, &opaque, &out));
    assert_false(selector_intersect(&opaque, &range, &out));
}

static void addresses_count_upwards(void **state)
{
    (void)state;
    struct ip ip;
    char text[ADDR_TEXT];
    assert_true(ip_parse("10.0.255.255", &ip));
    ip = ip_add(ip, 2);
    assert_string_equal(ip_print(&ip, text), "10.1.0.1");
}

static void identities_have_the_type_they_look_like(void **state)
{
    (void)state;
    static const struct {
        const char *text, *print;
        uint8_t type;
    } cases[] = {
        {"vpn.example.com", "vpn.example.com", IDENTITY_FQDN},
        {"a@b", "a@b", IDENTITY_RFC822},
        {"192.0.2.1", "192.0.2.1", IDENTITY_IPV4},
        {"2001:db8::1", "2001:db8::1", IDENTITY_IPV6},
        {"keyid:box-7", "keyid:box-7", IDENTITY_KEY_ID},
        {"keyid:0x00FF", "keyid:0x00ff", IDENTITY_KEY_ID},
        {"keyid:0x0", NULL, 0},
        {"", NULL, 0},
        {"a b", NULL, 0},
        {"a\x01", NULL, 0},
        {"a/b", NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct identity id;
        char text[IDENTITY_TEXT];
        assert_int_equal(identity_parse(cases[i].text, &id), cases[i].print != NULL);
        if (!cases[i].print)
            continue;
        assert_int_equal(id.type, cases[i].type);
        assert_string_equal(identity_print(&id, text), cases[i].print);
    }
    struct identity a, b;
    assert_true(identity_parse("VPN.example.com", &a) && identity_parse("vpn.EXAMPLE.com", &b));
    assert_true(identity_equal(&a, &b));
    uint8_t flat[2][1 + IDENTITY_MAX];
    assert_int_equal(identity_flat(&a, flat[0]), 16);
    assert_int_equal(identity_flat(&b, flat[1]), 16);
    assert_memory_equal(flat[0], flat[1], 16);
    assert_memory_equal(flat[0] + 1, "vpn.example.com", 15);
    assert_true(identity_parse("keyid:A", &a) && identity_parse("keyid:a", &b));
    assert_false(identity_equal(&a, &b));
    identity_flat(&a, flat[0]), identity_flat(&b, flat[1]);
    assert_memory_not_equal(flat[0], flat[1], 2);
}

static void peer_bytes_print_escaped(void **state)
{
    (void)state;
    struct identity id;
    char text[IDENTITY_TEXT];
    uint8_t evil[IDENTITY_MAX];
    memset(evil, 0x1b, sizeof(evil));
    assert_true(identity_from_octets(IDENTITY_FQDN, (struct bytes){evil, sizeof(evil)}, &id));
    identity_print(&id, text);
    for (const char *c = text; *c; c++)
        assert_true(*c >= ' ' && *c < 0x7f);
    assert_false(identity_from_octets(IDENTITY_IPV4, (struct bytes){evil, 5}, &id));
    assert_false(identity_from_octets(IDENTITY_FQDN, (struct bytes){evil, 0}, &id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes_parse_or_are_refused),
        cmocka_unit_test(endpoints_parse_or_are_refused),
        cmocka_unit_test(selectors_intersect),
        cmocka_unit_test(selectors_have_words),
        cmocka_unit_test(opaque_ports_are_in_any),
        cmocka_unit_test(ranges_become_prefixes_only_when_they_are),
        cmocka_unit_test(addresses_count_upwards),
        cmocka_unit_test(identities_have_the_type_they_look_like),
        cmocka_unit_test(peer_bytes_print_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
