#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ike/internal.h"

/* What is chosen from what is offered: one line a case. */

static struct proposal parse(uint8_t protocol, const char *text, uint8_t number)
{
    struct proposal p;
    struct bytes bad;
    if (suite_parse(text, protocol, &p, &bad) != 0)
        fail_msg("%s: bad word %.*s", text, (int)bad.len, (const char *)bad.at);
    p.number = number;
    return p;
}

struct ike_case {
    const char *own[2], *offered[3];
    uint16_t ke_sent;
    int result;
    uint16_t group;
    const char *chosen;
};

/* Groups: 14 modp2048, 19 ecp256, 31 x25519. */
static const struct ike_case ike_cases[] = {
    {{"aes256gcm16-prfsha384-x25519"},
     {"aes256gcm16-prfsha384-x25519"},
     31,
     0,
     31,
     "aes256gcm16-prfsha384-x25519"},
    /* Our order counts, not the peer's. */
    {{"aes256gcm16-aes128gcm16-prfsha384-prfsha256-x25519"},
     {"aes128gcm16-prfsha256-x25519", "aes256gcm16-prfsha256-x25519"},
     31,
     0,
     31,
     "aes256gcm16-prfsha256-x25519"},
    /* Also across kinds: a phone puts CBC first. */
    {{"aes256gcm16-prfsha256-x25519", "aes256-sha256-x25519"},
     {"aes256-sha256-x25519", "aes256gcm16-prfsha256-x25519"},
     31,
     0,
     31,
     "aes256gcm16-prfsha256-x25519"},
    /* A guessed MODP group is not worth its price... */
    {{"aes256gcm16-prfsha256-x25519-modp2048"},
     {"aes256gcm16-prfsha256-modp2048-x25519"},
     14,
     NOTIFY_INVALID_KE_PAYLOAD,
     31,
     NULL},
    /* ... a guessed curve saves a round trip ... */
    {{"aes256gcm16-prfsha256-x25519-ecp256"},
     {"aes256gcm16-prfsha256-ecp256-x25519"},
     19,
     0,
     19,
     "aes256gcm16-prfsha256-ecp256"},
    /* ... and one we do not have costs it. */
    {{"aes256gcm16-prfsha256-ecp256"},
     {"aes256gcm16-prfsha256-x25519-ecp256"},
     31,
     NOTIFY_INVALID_KE_PAYLOAD,
     19,
     NULL},
    /* Additional exchanges: all that the peer wants, or none; never the same method twice. */
    {{"aes256gcm16-prfsha256-x25519-ke1_ecp256", "aes256gcm16-prfsha256-x25519"},
     {"aes256gcm16-prfsha256-x25519", "aes256gcm16-prfsha256-x25519-ke1_ecp256"},
     31,
     0,
     31,
     "aes256gcm16-prfsha256-x25519-ke1_ecp256"},
    {{"aes256gcm16-prfsha256-x25519"},
     {"aes256gcm16-prfsha256-x25519-ke1_ecp256"},
     31,
     NOTIFY_NO_PROPOSAL_CHOSEN,
     0,
     NULL},
    {{"aes256gcm16-prfsha256-x25519-ke1_ecp256"},
     {"aes256gcm16-prfsha256-x25519-ke1_ecp256-ke2_x448"},
     31,
     NOTIFY_NO_PROPOSAL_CHOSEN,
     0,
     NULL},
    {{"aes256gcm16-prfsha256-x25519-ke3_ecp256"},
     {"aes256gcm16-prfsha256-x25519-ke3_ecp256-ke2_x448-ke2_none"},
     31,
     0,
     31,
     "aes256gcm16-prfsha256-x25519-ke2_none-ke3_ecp256"},
    {{"aes256gcm16-prfsha256-x25519-ke1_x25519-ke1_ecp384-ke1_x448-ke2_ecp384-ke3_x448-ke4_none"},
     {"aes256gcm16-prfsha256-x25519-ke1_x25519-ke1_ecp384-ke1_x448-ke1_ecp256-ke2_ecp384-ke3_x448-"
      "ke3_none"},
     31,
     NOTIFY_NO_PROPOSAL_CHOSEN,
     0,
     NULL},
    {{"aes256gcm16-prfsha256-x25519-ke1_ecp384-ke1_x448-ke2_ecp384-ke3_ecp256-ke3_x448"},
     {"aes256gcm16-prfsha256-x25519-ke1_ecp384-ke1_x448-ke2_ecp384-ke3_ecp256-ke3_x448"},
     31,
     0,
     31,
     "aes256gcm16-prfsha256-x25519-ke1_x448-ke2_ecp384-ke3_ecp256"},
    {{"aes256gcm16-prfsha256-x25519"},
     {"aes256gcm16-prfsha256-modp2048"},
     14,
     NOTIFY_NO_PROPOSAL_CHOSEN,
     0,
     NULL},
    {{"aes256gcm16-prfsha256-x25519"},
     {"aes256-sha256-x25519"},
     31,
     NOTIFY_NO_PROPOSAL_CHOSEN,
     0,
     NULL},
    {{"aes128-sha256-modp2048"},
     {"aes256-sha512-modp2048", "aes128-sha512-modp2048",
      "aes128-sha512-sha256-prfsha512-prfsha256-modp2048"},
     14,
     0,
     14,
     "aes128-sha256-prfsha256-modp2048"},
};

static size_t parse_all(const char *const *texts, size_t max, uint8_t protocol,
                        struct proposal *out)
{
    size_t n = 0;
    for (; n < max && texts[n]; n++)
        out[n] = parse(protocol, texts[n], (uint8_t)(n + 1));
    return n;
}

static void ike_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ike_cases); i++) {
        const struct ike_case *c = &ike_cases[i];
        struct proposal own[2], offered[3], out;
        uint16_t group = 0;
        struct selection s = {.own = own, .offered = offered, .ke_sent = c->ke_sent};
        s.own_count = parse_all(c->own, 2, PROTOCOL_IKE, own);
        s.offered_count = parse_all(c->offered, 3, PROTOCOL_IKE, offered);
        int result = select_proposal(&s, &out, &group);
        if (result != c->result || group != c->group)
            fail_msg("case %zu: result %d group %u", i, result, group);
        if (result != 0)
            continue;
        struct proposal expected = parse(PROTOCOL_IKE, c->chosen, 1);
        assert_int_equal(out.count, expected.count);
        for (size_t j = 0; j < expected.count; j++)
            assert_true(proposal_has(&out, &expected.transforms[j]));
        assert_int_equal(
            select_check(s.offered, s.offered_count, &out, SELECT_KE_MUST, CONF_PQ_PREFER), 0);
    }
}

struct child_case {
    const char *own, *offered;
    enum select_ke ke;
    uint16_t ke_sent;
    bool esn;
    int result;
    uint16_t group;
    int sn;
};
static const struct child_case child_cases[] = {
    /* The child of IKE_AUTH: groups do not count. */
    {"aes256gcm16", "aes256gcm16", SELECT_KE_NEVER, 0, true, 0, 0, SN_64},
    {"aes256gcm16", "aes256gcm16-ecp256", SELECT_KE_NEVER, 0, true, 0, 0, SN_64},
    {"aes256gcm16-x25519", "aes256gcm16", SELECT_KE_NEVER, 0, true, 0, 0, SN_64},
    /* Sequence numbers: ours first, what the peer has. */
    {"aes256gcm16", "aes256gcm16-noesn", SELECT_KE_NEVER, 0, true, 0, 0, SN_32},
    {"aes256gcm16", "aes256gcm16", SELECT_KE_NEVER, 0, false, 0, 0, SN_32},
    {"aes256gcm16-noesn", "aes256gcm16-esn", SELECT_KE_NEVER, 0, true, NOTIFY_NO_PROPOSAL_CHOSEN, 0,
     0},
    /* Rekey: with a group when the peer brings one, without when it does not. */
    {"aes256gcm16", "aes256gcm16-x25519", SELECT_KE_OPTIONAL, 31, true, 0, 31, SN_64},
    {"aes256gcm16", "aes256gcm16", SELECT_KE_OPTIONAL, 0, true, 0, 0, SN_64},
    {"aes256gcm16-x25519", "aes256gcm16", SELECT_KE_OPTIONAL, 0, true, 0, 0, SN_64},
    {"aes256gcm16-ecp256", "aes256gcm16-x25519-ecp256", SELECT_KE_OPTIONAL, 31, true,
     NOTIFY_INVALID_KE_PAYLOAD, 19, 0},
    {"aes256gcm16-ecp256", "aes256gcm16-x25519", SELECT_KE_OPTIONAL, 31, true,
     NOTIFY_NO_PROPOSAL_CHOSEN, 0, 0},
    {"aes256-sha256", "aes256-sha256", SELECT_KE_NEVER, 0, true, 0, 0, SN_64},
    {"aes256-sha256", "aes256-sha512", SELECT_KE_NEVER, 0, true, NOTIFY_NO_PROPOSAL_CHOSEN, 0, 0},
};

static void child_table(void **state)
{
    (void)state;
    struct proposal ike = parse(PROTOCOL_IKE, "aes256gcm16-prfsha256-x25519-ecp256", 1);
    for (size_t i = 0; i < ARRAY_LEN(child_cases); i++) {
        const struct child_case *c = &child_cases[i];
        struct proposal own = parse(PROTOCOL_ESP, c->own, 1);
        struct proposal offered = parse(PROTOCOL_ESP, c->offered, 7), out;
        uint16_t group = 0;
        memcpy(offered.spi, "\1\2\3\4", 4);
        offered.spi_len = 4;
        struct selection s = {.own = &own,
                              .own_count = 1,
                              .offered = &offered,
                              .offered_count = 1,
                              .groups = &ike,
                              .group_count = 1,
                              .ke = c->ke,
                              .ke_sent = c->ke_sent,
                              .esn = c->esn};
        int result = select_proposal(&s, &out, &group);
        if (result != c->result || (result >= 0 && group != c->group))
            fail_msg("case %zu: result %d group %u", i, result, group);
        if (result != 0)
            continue;
        struct chosen chosen = select_chosen(&out);
        assert_int_equal(chosen.sn, c->sn);
        assert_int_equal(chosen.kes.ke, c->group);
        assert_int_equal(out.number, 7);
        assert_int_equal(out.spi_len, 4);
        assert_memory_equal(out.spi, "\1\2\3\4", 4);
    }
}

/* NONE stands for absent (RFC 7296 3.3.3). */
static void none_counts_as_absent(void **state)
{
    (void)state;
    struct proposal own = parse(PROTOCOL_ESP, "aes256gcm16", 1), offered = own, out;
    uint16_t group;
    proposal_add(&offered, TRANSFORM_INTEG, 0, 0);
    proposal_add(&offered, TRANSFORM_KE, 31, 0);
    proposal_add(&offered, TRANSFORM_KE, 0, 0);
    struct selection s = {.own = &own,
                          .own_count = 1,
                          .offered = &offered,
                          .offered_count = 1,
                          .ke = SELECT_KE_OPTIONAL,
                          .esn = true};
    assert_int_equal(select_proposal(&s, &out, &group), 0);
    assert_int_equal(group, 0);
    s.groups = &offered;
    s.group_count = 1;
    s.ke_sent = 31;
    assert_int_equal(select_proposal(&s, &out, &group), 0);
    assert_int_equal(group, 31);
}

static void answers_are_checked(void **state)
{
    (void)state;
    struct proposal offer[3] = {parse(PROTOCOL_IKE, "aes256gcm16-prfsha256-x25519-ecp256", 1),
                                parse(PROTOCOL_IKE, "aes256-sha256-prfsha256-x25519", 2),
                                parse(PROTOCOL_IKE,
                                      "chacha20poly1305-prfsha256-x25519-ke1_x448-ke1_ecp256-"
                                      "ke1_x25519-ke2_ecp256-ke2_none",
                                      3)};
    static const struct {
        const char *text;
        int result;
    } cases[] = {
        {"aes256gcm16-prfsha256-x25519", 0},
        {"aes256-sha256-prfsha256-x25519", 0},
        {"aes128gcm16-prfsha256-x25519", ERR_NO_PROPOSAL},
        {"aes256gcm16-prfsha384-x25519", ERR_NO_PROPOSAL},
        {"aes256gcm16-prfsha256-modp2048", ERR_NO_PROPOSAL},
        {"aes256gcm16-prfsha256-x25519-ecp256", ERR_NO_PROPOSAL}, /* two of one type */
        {"aes256-sha256-prfsha256-ecp256", ERR_NO_PROPOSAL},      /* from two proposals */
        {"aes256gcm16-prfsha256-x25519-ke1_x448", ERR_NO_PROPOSAL},
        {"chacha20poly1305-prfsha256-x25519-ke1_x448", 0},
        {"chacha20poly1305-prfsha256-x25519-ke1_x448-ke2_none", 0},
        {"chacha20poly1305-prfsha256-x25519-ke1_x448-ke2_ecp256", 0},
        {"chacha20poly1305-prfsha256-x25519", ERR_NO_PROPOSAL}, /* ke1 was not to be left out */
        {"chacha20poly1305-prfsha256-x25519-ke2_ecp256", ERR_NO_PROPOSAL},
        {"chacha20poly1305-prfsha256-x25519-ke1_none", ERR_NO_PROPOSAL},
        {"chacha20poly1305-prfsha256-x25519-ke1_ecp256-ke2_ecp256", ERR_NO_PROPOSAL}, /* twice */
        {"chacha20poly1305-prfsha256-x25519-ke1_x25519", ERR_NO_PROPOSAL},            /* twice */
        {"chacha20poly1305-prfsha256-x25519-ke1_x448-ke1_ecp256", ERR_NO_PROPOSAL},
        {"chacha20poly1305-prfsha256-x25519-ke1_x448-ke3_ecp256", ERR_NO_PROPOSAL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct proposal answer = parse(PROTOCOL_IKE, cases[i].text, 1);
        assert_int_equal(select_check(offer, 3, &answer, SELECT_KE_MUST, CONF_PQ_PREFER),
                         cases[i].result);
    }
    struct proposal empty = {.protocol = PROTOCOL_IKE};
    assert_int_equal(select_check(offer, 2, &empty, SELECT_KE_MUST, CONF_PQ_PREFER),
                     ERR_NO_PROPOSAL);
}

static struct selector net(const char *text)
{
    struct selector s;
    assert_true(selector_parse(text, &s));
    return s;
}

static void selectors_are_narrowed(void **state)
{
    (void)state;
    static const struct {
        const char *offered[3], *policy[3], *result[3];
    } cases[] = {
        {{"0.0.0.0/0"}, {"10.0.0.0/8"}, {"10.0.0.0/8"}},
        {{"10.0.0.0/8"}, {"0.0.0.0/0"}, {"10.0.0.0/8"}},
        {{"0.0.0.0/0", "::/0"}, {"10.9.0.5/32"}, {"10.9.0.5/32"}},
        {{"0.0.0.0/0", "::/0"}, {"10.9.0.5/32", "fd00::5/128"}, {"10.9.0.5/32", "fd00::5/128"}},
        {{"10.1.0.0/16", "10.2.0.0/16"}, {"10.0.0.0/8"}, {"10.1.0.0/16", "10.2.0.0/16"}},
        {{"10.1.0.0/16", "10.0.0.0/8"}, {"10.0.0.0/8"}, {"10.0.0.0/8"}}, /* none in another */
        {{"192.168.0.0/16"}, {"10.0.0.0/8"}, {NULL}},
        {{"::/0"}, {"10.0.0.0/8"}, {NULL}},
        {{"10.0.0.5[tcp/443]", "10.0.0.0/8"}, {"10.0.0.0/16[tcp]"}, {"10.0.0.0/16[tcp]"}},
        {{"10.0.0.5[udp/53]", "10.0.0.0/8[tcp]"},
         {"10.0.0.0/8[tcp/80-90]"},
         {"10.0.0.0/8[tcp/80-90]"}},
        {{"10.0.0.0/8[icmp/8]"}, {"10.1.0.0/16[icmp]"}, {"10.1.0.0/16[icmp/8]"}},
        {{"10.0.0.0/8"}, {"10.1.0.0/16[udp/opaque]"}, {"10.1.0.0/16[udp/opaque]"}},
        {{"10.0.0.0/8[udp/53]"}, {"10.1.0.0/16[udp/opaque]"}, {NULL}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct selector offered[3], policy[3], out[CONF_SELECTORS];
        size_t n = 0, m = 0, k = 0;
        for (; n < 3 && cases[i].offered[n]; n++)
            offered[n] = net(cases[i].offered[n]);
        for (; m < 3 && cases[i].policy[m]; m++)
            policy[m] = net(cases[i].policy[m]);
        bool left_out = false;
        size_t count = narrow(offered, n, policy, m, out, &left_out);
        assert_false(left_out);
        for (; k < 3 && cases[i].result[k]; k++) {
            struct selector expected = net(cases[i].result[k]);
            assert_true(k < count && selector_equal(&out[k], &expected));
        }
        assert_int_equal(count, k);
    }
}

/* However long the lists, the result fits. */
static void narrowing_is_bounded(void **state)
{
    (void)state;
    static struct selector many[WIRE_SELECTORS_MAX];
    struct selector out[CONF_SELECTORS], all = selector_any(4);
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        struct ip ip = {.family = 4, .octets = {10, 0, (uint8_t)i, 0}};
        many[i] = selector_from_ip(&ip);
    }
    bool left_out = false;
    assert_int_equal(narrow(many, ARRAY_LEN(many), &all, 1, out, &left_out), CONF_SELECTORS);
    assert_true(left_out);
    assert_true(selector_equal(&out[0], &many[0])); /* that of the packet stays */
}

static int init(void **state)
{
    (void)state;
    return crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ike_table),
        cmocka_unit_test(child_table),
        cmocka_unit_test(none_counts_as_absent),
        cmocka_unit_test(answers_are_checked),
        cmocka_unit_test(selectors_are_narrowed),
        cmocka_unit_test(narrowing_is_bounded),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
