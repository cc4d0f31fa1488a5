/* `pq`: which proposals there are without a word, in which order, and what is refused. */
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

static struct conf *read_crypto(const char *lines)
{
    char text[512];
    struct conf *conf = NULL;
    memset(&faults, 0, sizeof(faults));
    int len = snprintf(text, sizeof(text), G "%s", lines);
    int err =
        conf_parse("q.conf", (struct bytes){(const uint8_t *)text, (size_t)len}, &conf, &faults);
    assert_int_equal(err == 0, conf != NULL);
    return conf;
}

static bool has_pq(const struct proposal *p)
{
    bool found = false;
    for (size_t i = 0; i < p->count; i++)
        found = found ||
                (transform_is_addke(p->transforms[i].type) && suite_is_pq(p->transforms[i].id));
    return found;
}

static void order(void **state)
{
    static const struct {
        const char *lines, *ike; /* a letter a proposal: p with ML-KEM */
        enum conf_pq pq;
    } cases[] = {
        {"", "pcc", CONF_PQ_PREFER},
        {"pq = prefer\n", "pcc", CONF_PQ_PREFER},
        {"pq = require\n", "p", CONF_PQ_REQUIRE},
        {"pq = off\n", "cc", CONF_PQ_OFF},
        {"policy = nist\n", "pcc", CONF_PQ_PREFER},
        {"policy = nist\npq = require\n", "p", CONF_PQ_REQUIRE},
        {"policy = bsi\npq = off\n", "ccc", CONF_PQ_OFF},
        {"policy = cnsa2\npq = require\n", "p", CONF_PQ_REQUIRE},
        {"ike = aes256gcm16-prfsha384-x25519, aes256gcm16-prfsha384-x25519-ke1_mlkem768\n", "pc",
         CONF_PQ_PREFER},
        {"pq = off\nike = aes256gcm16-prfsha384-x25519-ke1_ecp256\n", "c", CONF_PQ_OFF},
        {"pq = require\nike = aes256gcm16-prfsha384-x25519-ke1_x448-ke2_mlkem768-ke2_mlkem512\n",
         "p", CONF_PQ_REQUIRE},
        {"pq = require\nesp = aes256gcm16\n", "p", CONF_PQ_REQUIRE},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct conf *conf = read_crypto(cases[i].lines);
        if (!conf)
            fail_msg("%s: %s", cases[i].lines, faults.at[0].what);
        const struct conf_tunnel *t = &conf->tunnel;
        char ike[CONF_PROPOSALS + 1] = "";
        for (size_t j = 0; j < t->ike_count; j++)
            ike[j] = has_pq(&t->ike[j]) ? 'p' : 'c';
        assert_string_equal(ike, cases[i].ike);
        assert_int_equal(t->pq, cases[i].pq);
        conf_free(conf);
    }
}

static void refused(void **state)
{
    static const struct {
        const char *lines, *word;
        unsigned line;
    } cases[] = {
        {"pq = maybe\n", "maybe", 5},
        {"pq = off\nike = aes256gcm16-prfsha384-x25519-ke1_mlkem768\n", "ike", 6},
        {"pq = off\nesp = aes256gcm16-x25519-ke1_mlkem768\n", "esp", 6},
        {"pq = require\nike = aes256gcm16-prfsha384-x25519\n", "ike", 6},
        {"pq = require\nike = aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke1_none\n", "ike", 6},
        {"pq = require\nike = aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke1_x448\n", "ike", 6},
        {"pq = require\nesp = aes256gcm16-x25519\n", "esp", 6},
        {"policy = cnsa2\npq = off\n", "ike", 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct conf *conf = read_crypto(cases[i].lines);
        if (conf)
            fail_msg("%s is taken", cases[i].lines);
        assert_true(faults.count > 0);
        assert_string_equal(faults.at[0].text, cases[i].word);
        assert_int_equal(faults.at[0].line, cases[i].line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(order), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
