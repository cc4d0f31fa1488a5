/* Named policies: their defaults keep to what they allow, and a file that does not is refused by
 * line, word and name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the four above */
#include <cmocka.h>

#include "conf/conf.h"

#define G "[gateway]\nname = vpn.example.com\ncert = g.pem\n[crypto]\n" /* lines 1-4 */

static struct conf_faults faults;

static struct conf *read_text(const char *text)
{
    struct conf *conf = NULL;
    memset(&faults, 0, sizeof(faults));
    int err =
        conf_parse("p.conf", (struct bytes){(const uint8_t *)text, strlen(text)}, &conf, &faults);
    assert_int_equal(err == 0, conf != NULL);
    return conf;
}

static struct conf *read_policy(const char *name, const char *more)
{
    char text[512];
    snprintf(text, sizeof(text), G "policy = %s\n%s", name, more);
    return read_text(text);
}

static bool names(const struct proposal *list, size_t count, const char *name)
{
    struct transform t;
    assert_true(suite_find(name, &t));
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < list[i].count; j++) {
            struct transform has = list[i].transforms[j];
            if (transform_is_addke(has.type))
                has.type = TRANSFORM_KE;
            if (transform_equal(&has, &t))
                return true;
        }
    return false;
}

static void defaults(void **state)
{
    static const char *const policies[] = {"modern", "nist", "cnsa2", "bsi"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
        struct conf *conf = read_policy(policies[i], "");
        if (!conf)
            fail_msg("%s: %s", policies[i], faults.at[0].what);
        const struct conf_tunnel *t = &conf->tunnel;
        assert_int_equal(t->policy, i);
        assert_string_equal(conf_policy_name(t->policy), policies[i]);
        assert_true(t->ike_count > 0 && t->esp_count > 0);
        assert_true(names(t->ike, t->ike_count, "aes256gcm16"));
        assert_true(names(t->ike, t->ike_count, "ecp384"));
        assert_int_equal(names(t->ike, t->ike_count, "x25519"), i == CONF_POLICY_MODERN);
        assert_int_equal(names(t->ike, t->ike_count, "aes128gcm16"), i != CONF_POLICY_CNSA2);
        assert_int_equal(names(t->ike, t->ike_count, "modp2048"),
                         i == CONF_POLICY_MODERN || i == CONF_POLICY_NIST);
        if (i > 0)
            assert_true(names(t->ike, t->ike_count, "mlkem1024"));
        conf_free(conf);
    }
    struct conf *conf = read_text(G);
    assert_int_equal(conf->tunnel.policy, CONF_POLICY_MODERN);
    assert_int_equal(conf->tunnel.signatures.rsa_bits, 0);
    conf_free(conf);
    conf = read_policy("bsi", "[life]\nike = 20h\n");
    assert_true(conf->tunnel.child_lifetime <= 4 * 3600);
    assert_int_equal(conf->tunnel.ike_lifetime, 20 * 3600);
    assert_int_equal(conf->tunnel.signatures.rsa_bits, 3000);
    conf_free(conf);
}

static void refused(void **state)
{
    static const struct {
        const char *policy, *more;
        unsigned line;
        const char *text, *what, *next;
    } cases[] = {
        {"modren", "", 5, "modren", NULL, "modern"},
        {"nist", "ike = chacha20poly1305-prfsha256-ecp256\n", 6, "chacha20poly1305",
         "the policy nist does not allow", "aes256gcm16"},
        {"nist", "esp = chacha20poly1305\n", 6, "chacha20poly1305", "nist", NULL},
        {"nist", "esp = null-sha256\n", 6, "null", "nist", NULL},
        {"nist", "pfs = no\n", 6, "pfs", "key exchange at each rekey", NULL},
        {"nist", "ah = sha256\n", 6, "ah", "encrypted", "esp"},
        {"nist", "[life]\nchild = 9h\n", 7, "child", "live so long", "8h"},
        {"nist", "[life]\nike = 25h\n", 7, "ike", "live so long", "24h"},
        {"cnsa2", "ike = aes256gcm16-prfsha384-ecp384\n", 6, "ike", "mlkem1024 as an additional",
         "ke1_mlkem1024"},
        {"cnsa2", "ike = aes256gcm16-prfsha384-ecp384-ke1_mlkem1024-ke1_none\n", 6, "ike",
         "mlkem1024 as an additional", NULL},
        {"cnsa2", "ike = aes256gcm16-prfsha384-ecp384-ke1_mlkem768\n", 6, "ke1_mlkem768",
         "the policy cnsa2 does not allow", "mlkem1024"},
        {"cnsa2", "ike = aes128gcm16-prfsha384-ecp384-ke1_mlkem1024\n", 6, "aes128gcm16", "cnsa2",
         "allowed are aes256gcm16"},
        {"cnsa2", "ike = aes256gcm16-prfsha256-ecp384-ke1_mlkem1024\n", 6, "prfsha256", "cnsa2",
         "prfsha384, prfsha512"},
        {"cnsa2", "esp = aes256-sha384\n", 6, "aes256", "cnsa2", NULL},
        {"bsi", "ike = aes256gcm16-prfsha384-x25519\n", 6, "x25519", "bsi", "ecp256"},
        {"bsi", "ike = aes256gcm16-prfsha384-modp2048\n", 6, "modp2048", "bsi", "modp3072"},
        {"bsi", "ike = aes256gcm16-prfsha384-mlkem768\n", 6, "mlkem768",
         "beside a classical key exchange only", "ecp384-ke1_"},
        {"bsi", "[life]\nchild = 5h\n", 7, "child", "live so long", "4h"},
        {"bsi", "legacy = sha1\nike = aes256-sha1-prfsha1-ecp256\n", 7, "sha1", "bsi", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct conf *conf = read_policy(cases[i].policy, cases[i].more);
        if (conf)
            fail_msg("case %zu was taken", i);
        bool found = false;
        for (size_t k = 0; k < faults.count && k < CONF_FAULTS_MAX; k++) {
            const struct conf_fault *f = &faults.at[k];
            found |= f->line == cases[i].line && !strcmp(f->text, cases[i].text) &&
                     (!cases[i].what || strstr(f->what, cases[i].what)) &&
                     (!cases[i].next || strstr(f->next, cases[i].next));
        }
        if (!found)
            fail_msg("case %zu: line %u \"%s\": %s - %s", i, faults.at[0].line, faults.at[0].text,
                     faults.at[0].what, faults.at[0].next);
    }
}

/* What each allows besides its defaults. */
static void taken(void **state)
{
    static const char *const cases[][2] = {
        {"nist",
         "ike = aes256gcm16-prfsha384-x25519-ke1_mlkem768, mlkem768-aes256gcm16-prfsha256\n"},
        {"nist", "[life]\nchild = 8h\nike = 24h\n"},
        {"cnsa2", "ike = aes256gcm16-prfsha512-modp4096-ke1_mlkem1024\nesp = aes256gcm16-esn\n"},
        {"bsi", "ike = aes128gcm16-prfsha256-ecp256bp-ke1_mlkem768-ke1_none\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct conf *conf = read_policy(cases[i][0], cases[i][1]);
        if (!conf)
            fail_msg("case %zu: \"%s\" %s", i, faults.at[0].text, faults.at[0].what);
        conf_free(conf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(refused),
        cmocka_unit_test(taken),
    };
    return crypto_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
