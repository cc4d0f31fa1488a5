/* What is wrong although every line reads well: real files in a folder of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the four above */
#include <cmocka.h>

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"

static const int64_t NOW = 1800000000;
static char dir[] = "/tmp/shrike-check-XXXXXX";
static struct conf_faults faults;
static struct conf_notes notes;

static const char *put(const char *name, const char *text, mode_t mode)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

static int check(const char *text, mode_t mode)
{
    struct conf *conf;
    const char *path = put("test.conf", text, mode);
    memset(&faults, 0, sizeof faults);
    memset(&notes, 0, sizeof notes);
    int err = conf_load(path, &conf, &faults);
    if (err) {
        char line[1024];
        conf_fault_print(&faults.at[0], line, sizeof line);
        fail_msg("%s", line);
    }
    err = conf_inspect(conf, NOW, &faults, &notes);
    size_t count = faults.count - faults.warnings;
    memset(&faults, 0, sizeof faults);
    assert_int_equal(conf_check(conf, NOW, &faults), err);
    assert_int_equal(faults.count - faults.warnings, count);
    conf_free(conf);
    return err;
}

static const struct conf_fault *fault_with(const char *what)
{
    for (size_t i = 0; i < faults.count && i < CONF_FAULTS_MAX; i++) {
        if (strstr(faults.at[i].what, what))
            return &faults.at[i];
    }
    for (size_t i = 0; i < faults.count && i < CONF_FAULTS_MAX; i++)
        print_message("have: %s\n", faults.at[i].what);
    fail_msg("no fault with \"%s\"", what);
    return NULL;
}

static void expect_fault(const char *text, unsigned line, const char *what, const char *next)
{
    assert_int_equal(check(text, 0600), ERR_CONFIG);
    const struct conf_fault *f = fault_with(what);
    assert_int_equal(f->line, line);
    assert_false(f->warning);
    if (next && !strstr(f->next, next))
        fail_msg("next is \"%s\"", f->next);
}

static void expect_warning(const char *text, unsigned line, const char *what)
{
    if (check(text, 0600))
        fail_msg("refused: %s", faults.at[0].what);
    const struct conf_fault *f = fault_with(what);
    assert_int_equal(f->line, line);
    assert_true(f->warning);
}

static bool has_note(const char *part)
{
    for (size_t i = 0; i < notes.count; i++) {
        if (strstr(notes.at[i], part))
            return true;
    }
    return false;
}

/* ---- credentials ---- */

struct made {
    char *cert, *key;
    struct cert *parsed;
    struct private_key *private;
};

static struct made make(const char *cn, const char *name, enum cert_purpose purpose,
                        const struct made *issuer, unsigned days, int64_t now)
{
    struct made m = {0};
    struct identity id;
    struct pki_request r = {
        .common_name = cn, .key = KEY_ECDSA_P256, .days = days, .purpose = purpose, .ca = !issuer};
    if (name) {
        assert_true(identity_parse(name, &id));
        r.names = &id;
        r.name_count = 1;
    }
    assert_int_equal(pki_issue(&r, issuer ? issuer->parsed : NULL, issuer ? issuer->private : NULL,
                               now, &m.cert, &m.key),
                     0);
    assert_int_equal(
        cert_parse_pem((struct bytes){(uint8_t *)m.cert, strlen(m.cert)}, &m.parsed, 1), 1);
    assert_int_equal(private_key_parse((struct bytes){(uint8_t *)m.key, strlen(m.key)}, &m.private),
                     0);
    return m;
}

static void unmake(struct made *m)
{
    free(m->cert);
    free(m->key);
    cert_free(m->parsed);
    private_key_free(m->private);
}

static void write_p12(const struct made *m, const struct made *ca, const char *name,
                      const char *passphrase)
{
    uint8_t *p12;
    size_t len;
    char path[512];
    assert_int_equal(pki_p12(m->cert, m->key, ca->cert, "alice", passphrase, false, &p12, &len), 0);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *out = fopen(path, "w");
    assert_int_equal(fwrite(p12, 1, len, out), len);
    fclose(out);
    chmod(path, 0600);
    free(p12);
}

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(crypto_init(), 0);
    struct made ca = make("Test CA", NULL, CERT_FOR_ANY, NULL, 3650, NOW - 400 * 86400);
    struct made other = make("Other CA", NULL, CERT_FOR_ANY, NULL, 3650, NOW - 86400);
    struct made gw = make("gw", "vpn.example.com", CERT_FOR_GATEWAY, &ca, 365, NOW - 86400);
    struct made soon = make("soon", "vpn.example.com", CERT_FOR_GATEWAY, &ca, 11, NOW - 86400);
    struct made old = make("old", "vpn.example.com", CERT_FOR_GATEWAY, &ca, 10, NOW - 20 * 86400);
    struct made future = make("new", "vpn.example.com", CERT_FOR_GATEWAY, &ca, 10, NOW + 5 * 86400);
    struct made alice = make("alice", "alice@example.com", CERT_FOR_CLIENT, &ca, 365, NOW - 86400);
    put("ca.pem", ca.cert, 0644);
    put("other.pem", other.cert, 0644);
    put("gw.pem", gw.cert, 0644);
    put("gw.key", gw.key, 0600);
    put("soon.pem", soon.cert, 0644);
    put("soon.key", soon.key, 0600);
    put("old.pem", old.cert, 0644);
    put("old.key", old.key, 0600);
    put("new.pem", future.cert, 0644);
    put("new.key", future.key, 0600);
    put("alice.pem", alice.cert, 0644);
    put("alice.key", alice.key, 0600);
    char *both = NULL;
    assert_true(asprintf(&both, "%s%s", alice.cert, alice.key) > 0);
    put("both.pem", both, 0600);
    free(both);
    write_p12(&alice, &ca, "alice.p12", "coral-anvil-73");
    put("alice.pass", "coral-anvil-73\n", 0600);
    put("wrong.pass", "nothing\n", 0600);
    put("good.psk", "mimosa-vellum-71-okapi-quartz\n", 0600);
    put("weak.psk", "secret\n", 0600);
    put("open.psk", "mimosa-vellum-71-okapi-quartz\n", 0644);
    put("garbage", "this is no credential\n", 0600);
    put("empty", "", 0600);
    put("locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE "
        "KEY-----\n",
        0600);
    struct made *all[] = {&ca, &other, &gw, &soon, &old, &future, &alice};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        unmake(all[i]);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

#define GATEWAY(cert, key)                                                                         \
    "[gateway]\nname = vpn.example.com\ncert = " cert "\nkey = " key "\nca = ca.pem\n"             \
    "[network]\npool = 10.231.0.0/16, fd99:5e1f::/64\n[auth]\nany-cert = yes\n"
#define GOOD          GATEWAY("gw.pem", "gw.key")
#define CLIENT(lines) "[tunnel]\ngateway = vpn.example.com\nca = ca.pem\n" lines

static void good_files_pass(void **state)
{
    (void)state;
    assert_int_equal(check(GOOD, 0644), 0);
    assert_int_equal(faults.count, 0);
    assert_true(has_note("certificate CN=gw"));
    assert_true(has_note("ends in 364 days"));
    assert_true(has_note("private key belongs"));
    assert_true(has_note("trusted by 1 authority"));
    assert_true(has_note("10.231.0.0/16 has 65534 addresses"));
    assert_true(has_note("whoever has a certificate"));
    static const char *const clients[] = {
        CLIENT("cert = alice.pem\nkey = alice.key\n"),
        CLIENT("cert = both.pem\n"),
        CLIENT("cert = alice.p12\npassphrase-file = alice.pass\n"),
        CLIENT("cert = alice.pem\nkey = alice.key\nidentity = alice@example.com\n"),
        "[tunnel]\ngateway = vpn\npsk-file = good.psk\n",
        "[tunnel]\ngateway = vpn\npsk = mimosa-vellum-71-okapi-quartz\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        int err = check(clients[i], 0600);
        if (err || faults.count)
            fail_msg("client %zu: %s", i, faults.at[0].what);
    }
}

static void bad_credentials_have_their_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned line;
        const char *what, *next;
    } cases[] = {
        {GATEWAY("none.pem", "gw.key"), 3, "cert: there is no such file", NULL},
        {GATEWAY("gw.pem", "none.key"), 4, "key: there is no such file", NULL},
        {GATEWAY("gw.pem", "soon.key"), 4, "does not belong to the certificate", "openssl"},
        {GATEWAY("garbage", "gw.key"), 3, "neither PEM nor a PKCS#12", "passphrase-file"},
        {GATEWAY("empty", "gw.key"), 3, "neither PEM", NULL},
        {GATEWAY("gw.key", "gw.key"), 3, "certificate cannot be read", "BEGIN CERTIFICATE"},
        {GATEWAY("gw.pem", "gw.pem"), 4, "private key cannot be read", "BEGIN PRIVATE KEY"},
        {GATEWAY("gw.pem", "garbage"), 4, "private key cannot be read", NULL},
        {GATEWAY("gw.pem", "locked.key"), 4, "the private key is encrypted", "openssl pkey"},
        {GATEWAY("old.pem", "old.key"), 3, "ended 10 days ago", "pki issue"},
        {GATEWAY("new.pem", "new.key"), 3, "days only", "clock"},
        {GATEWAY(".", "gw.key"), 3, "cert: it is a folder", NULL},
        {"[gateway]\nname = other.example.com\ncert = gw.pem\nkey = gw.key\nca = ca.pem\n"
         "[auth]\nany-cert = yes\n",
         2, "does not carry this name", "clients would refuse it"},
        {"[gateway]\ncert = gw.pem\nkey = gw.key\nca = none.pem\n[auth]\nany-cert = yes\n", 4,
         "ca: there is no such file", NULL},
        {"[gateway]\ncert = gw.pem\nkey = gw.key\nca = garbage\n[auth]\nany-cert = yes\n", 4,
         "ca: a certificate cannot be read", NULL},
        {"[gateway]\ncert = gw.pem\nkey = gw.key\n[auth]\nany-cert = yes\n", 0,
         "cannot be verified without their authority", "ca = FILE"},
        {"[gateway]\ncert = gw.pem\nkey = gw.key\n[client a]\n", 0,
         "cannot be verified without their authority", NULL},
        {"[gateway]\ncert = gw.pem\n[auth]\nany-cert = yes\n", 2,
         "there is no private key in this file", "key = FILE"},
        {CLIENT("cert = alice.p12\n"), 4, "nor a PKCS#12 file that opens", "passphrase-file"},
        {CLIENT("cert = alice.p12\npassphrase-file = wrong.pass\n"), 4,
         "nor a PKCS#12 file that opens", "look at passphrase-file"},
        {CLIENT("cert = alice.p12\npassphrase-file = none\n"), 5, "passphrase-file: there is no",
         NULL},
        {CLIENT("cert = alice.pem\nkey = alice.key\nidentity = bob@example.com\n"), 6,
         "does not carry this identity", "leave `identity` out"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        expect_fault(cases[i].text, cases[i].line, cases[i].what, cases[i].next);
    }
}

static void the_name_that_is_missing_is_quoted(void **state)
{
    (void)state;
    assert_int_equal(check("[gateway]\nname = other.example.com\ncert = gw.pem\nkey = gw.key\n"
                           "ca = ca.pem\n[auth]\nany-cert = yes\n",
                           0600),
                     ERR_CONFIG);
    assert_string_equal(fault_with("does not carry this name")->text, "other.example.com");
    assert_int_equal(check(CLIENT("cert = both.pem\nidentity = CN=bob\n"), 0600), ERR_CONFIG);
    assert_non_null(strstr(fault_with("does not carry this identity")->text, "bob"));
}

static void both_ends_of_a_pair_are_told(void **state)
{
    (void)state;
    assert_int_equal(check(GATEWAY("none.pem", "none.key"), 0600), ERR_CONFIG);
    fault_with("cert: there is no such file");
    fault_with("key: there is no such file");
}

static void what_ends_soon_is_a_warning(void **state)
{
    (void)state;
    expect_warning(GATEWAY("soon.pem", "soon.key"), 3, "ends in 10 days");
    expect_warning("[gateway]\ncert = gw.pem\nkey = gw.key\nca = other.pem\n"
                   "[auth]\nany-cert = yes\n",
                   2, "does not hold by the CA of this file");
}

/* ---- shared secrets and modes ---- */

static void bad_secrets_have_their_line(void **state)
{
    (void)state;
    expect_fault("[gateway]\nname = vpn\n[client a]\npsk-file = weak.psk\n", 3, "shorter than 16",
                 "openssl rand");
    expect_fault("[gateway]\nname = vpn\n[client a]\npsk = passwordpassword\n", 3, "repeats", NULL);
    expect_fault("[gateway]\nname = vpn\n[client a]\npsk-file = none\n", 3, "there is no such file",
                 NULL);
    expect_fault("[gateway]\nname = vpn\n[client a]\npsk-file = empty\n", 3, "cannot be read",
                 "0x and hexadecimal");
    expect_fault("[tunnel]\ngateway = vpn\npsk-file = weak.psk\n", 3, "shorter than 16", NULL);
    expect_fault("[tunnel]\ngateway = vpn\npsk-file = none\n", 3, "there is no such file", NULL);
    expect_fault("[tunnel]\ngateway = vpn\npsk = short\n", 3, "shorter than 16", NULL);
}

static void open_modes_are_refused(void **state)
{
    (void)state;
    expect_fault("[tunnel]\ngateway = vpn\npsk-file = open.psk\n", 3, "by every user (mode 0644)",
                 "chmod 600 ");
    expect_fault("[gateway]\nname = vpn\n[client a]\npsk-file = open.psk\n", 3, "by every user",
                 "open.psk");
    assert_int_equal(check("[tunnel]\ngateway = vpn\npsk = mimosa-vellum-71-okapi-quartz\n", 0644),
                     ERR_CONFIG);
    assert_int_equal(fault_with("has a shared secret inside")->line, 3);
    assert_non_null(strstr(fault_with("has a shared secret inside")->next, "test.conf"));
    assert_int_equal(
        check("[gateway]\nname = vpn\n[client a]\npsk = mimosa-vellum-71-okapi\n", 0604),
        ERR_CONFIG);
    assert_int_equal(fault_with("has a shared secret inside")->line, 3);
    char path[512];
    snprintf(path, sizeof path, "%s/gw.key", dir);
    chmod(path, 0644);
    expect_fault(GOOD, 4, "the private key can be read", "chmod 600");
    chmod(path, 0600);
    snprintf(path, sizeof path, "%s/both.pem", dir);
    chmod(path, 0602);
    expect_fault(CLIENT("cert = both.pem\n"), 4, "with the private key can be read or written",
                 NULL);
    chmod(path, 0600);
}

/* ---- networks and people ---- */

static void networks_and_people_are_looked_at(void **state)
{
    (void)state;
    expect_fault("[gateway]\ncert = gw.pem\nkey = gw.key\nca = ca.pem\n", 0, "nobody could connect",
                 "any-cert = yes");
    expect_fault("[gateway]\nname = vpn\n[network]\npool = 10.231.0.0/16, 10.231.4.0/24\n"
                 "[client a]\npsk-file = good.psk\n",
                 4, "the pool overlaps the pool 10.231.0.0/16", NULL);
    expect_warning("[gateway]\nname = vpn\n[network]\npool = 10.231.0.0/16\n"
                   "[client a]\npsk-file = good.psk\naddress = 10.9.9.9\n",
                   5, "is in no pool");
    expect_warning(CLIENT("cert = both.pem\n[traffic]\nsend = 0.0.0.0/0\n"), 6,
                   "IPv6 goes beside it");
    expect_warning(CLIENT("cert = both.pem\n[traffic]\nsend = ::/0, 10.0.0.0/8\n"), 6,
                   "IPv4 goes beside it");
}

static void weak_algorithms_are_pointed_out(void **state)
{
    (void)state;
    expect_warning(CLIENT("cert = both.pem\n[crypto]\nesp = 3des-sha1, aes256gcm16\n"
                          "legacy = 3des, sha1\n"),
                   7, "the proposals allow 3des: its blocks of 64 bits");
    assert_non_null(fault_with("the proposals allow sha1: SHA-1 is broken"));
    expect_warning(CLIENT("cert = both.pem\n[crypto]\nike = aes256-sha1-modp1024\n"
                          "legacy = modp1024, sha1\n"),
                   7, "the proposals allow prfsha1");
    expect_warning(CLIENT("cert = both.pem\n[crypto]\nesp = nullaes128gmac\n"), 6,
                   "the proposals allow GMAC, which encrypts nothing: traffic is protected");
    expect_warning(CLIENT("cert = both.pem\n[crypto]\nesp = null-sha256\n"), 6,
                   "the proposals allow null: traffic is protected against change only");
    expect_warning(CLIENT("cert = both.pem\n[crypto]\nah = sha256\n"), 6,
                   "child SAs use AH: traffic is protected against change only");
    /* sound ones need no word */
    assert_int_equal(check(CLIENT("cert = both.pem\n[crypto]\n"
                                  "ike = aes192gcm16-prfsha256-modp8192-ecp512bp\n"
                                  "esp = aes192-sha384-modp6144\n"),
                           0600),
                     0);
    assert_int_equal(faults.warnings, 0);
    assert_int_equal(check(CLIENT("cert = both.pem\n[crypto]\n"
                                  "ike = aes256gcm16-prfsha384-mlkem768-mlkem512\n"
                                  "esp = aes256gcm16-mlkem1024\n"),
                           0600),
                     0);
    assert_int_equal(faults.warnings, 0);
}

static void credentials_can_be_had_apart(void **state)
{
    (void)state;
    struct conf *conf;
    struct conf_credentials c;
    memset(&faults, 0, sizeof faults);
    assert_int_equal(conf_load(put("test.conf", GOOD, 0600), &conf, &faults), 0);
    assert_int_equal(conf_credentials_read(conf, CONF_WANT_CERTS | CONF_WANT_TRUST, &c, &faults),
                     0);
    assert_int_equal(c.chain_count, 1);
    assert_null(c.key);
    assert_int_equal(cert_trust_count(c.trust), 1);
    conf_credentials_free(&c);
    assert_int_equal(conf_credentials_read(conf, CONF_WANT_KEY, &c, &faults), 0);
    assert_non_null(c.key);
    assert_null(c.trust);
    conf_credentials_free(&c);
    uint8_t psk[CONF_PSK_MAX];
    size_t len;
    assert_int_equal(conf_psk_read(conf, NULL, psk, &len, &faults), ERR_NOT_FOUND);
    conf_free(conf);
    assert_int_equal(conf_load(put("test.conf",
                                   "[gateway]\nname = vpn\n[client a]\npsk-file = "
                                   "good.psk\n",
                                   0600),
                               &conf, &faults),
                     0);
    assert_int_equal(conf_psk_read(conf, &conf->peers[0], psk, &len, &faults), 0);
    assert_int_equal(len, strlen("mimosa-vellum-71-okapi-quartz"));
    conf_free(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files_pass),
        cmocka_unit_test(bad_credentials_have_their_line),
        cmocka_unit_test(the_name_that_is_missing_is_quoted),
        cmocka_unit_test(both_ends_of_a_pair_are_told),
        cmocka_unit_test(what_ends_soon_is_a_warning),
        cmocka_unit_test(bad_secrets_have_their_line),
        cmocka_unit_test(open_modes_are_refused),
        cmocka_unit_test(networks_and_people_are_looked_at),
        cmocka_unit_test(weak_algorithms_are_pointed_out),
        cmocka_unit_test(credentials_can_be_had_apart),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
