/* What is refused: each case with its line, the offending text and what the user is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the four above */
#include <cmocka.h>

#include "conf/conf.h"

#define G "[gateway]\nname = vpn.example.com\ncert = g.pem\n" /* lines 1-3 */
#define C "[tunnel]\ngateway = vpn.example.com\ncert = a.pem\n"

struct fault_case {
    const char *text;
    unsigned line;
    const char *offending, *what, *next; /* what, next: parts of the sentences; NULL = any */
};

static const struct fault_case cases[] = {
    /* sections and keys */
    {"", 0, "", "the file is empty", "[gateway] or [tunnel]"},
    {"# only\n\n; comments\n", 0, "", "the file is empty", NULL},
    {"name = x\n", 1, "name", "before the first section", "[tunnel]"},
    {"[crypto]\npfs = yes\n", 1, "crypto", "cannot be the first", "[tunnel]"},
    {"[gatway]\n", 1, "gatway", "unknown section", "[gateway]"},
    {"[gateway\n", 1, "[gateway", "\"]\" is missing", NULL},
    {"[gateway] name = x\n", 1, NULL, "text behind the section", NULL},
    {"[gateway extra]\n", 1, "extra", "only [client NAME] and", NULL},
    {G "[gateway]\n", 4, "gateway", "opened already in line 1", NULL},
    {G "[traffic]\nsend = 0.0.0.0/0\n", 4, "traffic", "belongs into a client's file", NULL},
    {C "[network]\n", 4, "network", "belongs into a gateway's file", NULL},
    {G "nmae = x\n", 4, "nmae", "unknown key in [gateway]", "did you mean \"name\"?"},
    {G "zzzzzzzz = x\n", 4, "zzzzzzzz", "unknown key", "shrike config gateway"},
    {G "pool = 10.0.0.0/8\n", 4, "pool", "not a key of [gateway]", "belongs into [network]"},
    {G "name = y\n", 4, "name", "set already in line 2", NULL},
    {G "listen\n", 4, "listen", "\"=\" is missing", "key = value"},
    {G "listen: ::\n", 4, "listen", "\"=\" is missing", NULL},
    {G "outside =\n", 4, "outside", "the value is missing", NULL},
    {G "outside = \"eth0\n", 4, "outside", "the quotes do not close", NULL},
    {G "= x\n", 4, "", "unknown key", NULL},
    /* values */
    {G "listen = 1.2.3.4:99999\n", 4, "1.2.3.4:99999", "no address to listen on", NULL},
    {G "listen = a, b, c\n", 4, "a", "no address", NULL},
    {G "outside = a/b\n", 4, "a/b", "cannot be the name of an interface", NULL},
    {G "interface = abcdefghijklmnop\n", 4, NULL, "too long", NULL},
    {G "instance = a b\n", 4, "a b", "cannot be the name", NULL},
    {G "instance = ../x\n", 4, "../x", "cannot be the name", NULL},
    {G "workers = 0\n", 4, "0", "out of range", "from 1 to 64, or auto"},
    {G "workers = 65\n", 4, "65", "out of range", NULL},
    {G "workers = many\n", 4, "many", "cannot be read", NULL},
    {G "workers = 99999999999999999999999\n", 4, NULL, "cannot be read", NULL},
    {G "user-ids = 10\n", 4, "10", "out of range", NULL},
    {G "[network]\npool = 10.99.0.1/16\n", 5, "10.99.0.1/16", "bits behind the prefix",
     "10.99.0.0/16"},
    {G "[network]\npool = 10.0.0.0/4\n", 5, NULL, NULL, NULL},
    {G "[network]\npool = 0.0.0.0/0\n", 5, "0.0.0.0/0", "too large", NULL},
    {G "[network]\npool = banana\n", 5, "banana", "no network", NULL},
    {G "[network]\npool = 10.0.0.0/33\n", 5, "10.0.0.0/33", "no network", NULL},
    {G "[network]\npool = 10.0.0.0/16,\n", 5, "", "no network", NULL},
    {G "[network]\npool = 10.0.0.0/16, 10.1.0.0/16, 10.2.0.0/16, 10.3.0.0/16, 10.4.0.0/16\n", 5,
     "10.4.0.0/16", "more than 4 items", NULL},
    {G "[network]\ndns = 9.9.9\n", 5, "9.9.9", "no address", NULL},
    {G "[network]\ndns = 0.0.0.0\n", 5, "0.0.0.0", "no address", NULL},
    {G "[network]\nnat = yess\n", 5, "yess", "unknown word", "did you mean \"yes\"?"},
    {G "[network]\nmtu = 1279\n", 5, "1279", "out of range", "from 1280"},
    {G "[network]\nclient-to-client = maybe\n", 5, "maybe", "neither yes nor no", NULL},
    {G "[auth]\nmethods = cert, pks\n", 5, "pks", "unknown word", "did you mean \"psk\"?"},
    {G "[crypto]\nike = aes256gcm17-prfsha384-x25519\n", 5, "aes256gcm17", "unknown algorithm",
     "did you mean \"aes256gcm16\"?"},
    {G "[crypto]\nesp = nonsense99\n", 5, "nonsense99", "no proposal", "aes256gcm16-x25519-esn"},
    {G "[crypto]\nike = 3des-sha256-modp2048\n", 5, "3des", "a legacy algorithm: its blocks",
     "write legacy = 3des into [crypto]"},
    {G "[crypto]\nlegacy = 3des\nike = 3des-sha1-modp2048\n", 6, "sha1", "SHA-1 is broken",
     "legacy = sha1"},
    {G "[crypto]\nike = aes128-sha256-prfsha1-modp2048\n", 5, "prfsha1", "SHA-1 is broken",
     "legacy = prfsha1"},
    {G "[crypto]\nesp = aes128-sha1\nlegacy = sha256\n", 6, "sha256", "no legacy algorithm",
     "leave it out"},
    {G "[crypto]\nlegacy = 3dse\n", 5, "3dse", "unknown algorithm", "did you mean \"3des\"?"},
    {G "[crypto]\nlegacy = md5\n", 5, "md5", "unknown algorithm", NULL},
    {G "[crypto]\nesp = aes256-null-sha256\n", 5, "null", "does not fit", NULL},
    {G "[crypto]\nesp = aes256gcm16-modp1024\n", 5, "modp1024", "who has the means", NULL},
    {G "[crypto]\nah = aes256-sha256\n", 5, "aes256", "does not fit", "sha256-x25519-esn"},
    {G "[crypto]\nike = aes256gcm16-prfsha384-x25519-mlkem1024\n", 5, "mlkem1024",
     "its 1568 octets do not fit into", "x25519-ke1_mlkem1024"},
    {G "[crypto]\nah = sha1\n", 5, "sha1", "a legacy algorithm", NULL},
    {G "[crypto]\nah = sha256\nesp = aes256gcm16\n", 5, "ah", "both esp and ah", "keep one"},
    {G "[crypto]\nreplay-window = 16\n", 5, "16", "out of range", NULL},
    {G "[crypto]\ntfc = 10\n", 5, "10", "out of range", "mtu, or a number from 64 to 9200, or off"},
    {G "[crypto]\ntfc = much\n", 5, "much", "cannot be read", "write mtu"},
    {G "[crypto]\ndummies = 101\n", 5, "101", "out of range", "from 1 to 100, or off"},
    {G "[crypto]\nah = sha256\ntfc = mtu\n", 6, "tfc", "not encrypted", "esp"},
    {G "[crypto]\nesp = null-sha256\ntfc = 512\n", 6, "tfc", "not encrypted", "cipher"},
    {G "[crypto]\ndummies = 5\nah = sha256\n", 5, "dummies", "not encrypted", "esp"},
    {G "[crypto]\nencapsulation = tcp\n", 5, "tcp", "unknown word", NULL},
    {G "[life]\nike = 9s\n", 5, "9s", "out of range", "from 10s to 1w"},
    {G "[life]\nike = 30m1h\n", 5, "30m1h", "cannot be read", NULL},
    {G "[life]\nchild = 1x\n", 5, "1x", "cannot be read", "30s, 10m or 1h30m"},
    {G "[life]\nchild = 18446744073709551615h\n", 5, NULL, "cannot be read", NULL},
    {G "[life]\ndpd = 1\n", 5, "1", "out of range", "or never"},
    {G "[life]\nchild-bytes = 1K\n", 5, "1K", "out of range", "from 1M"},
    {G "[life]\nchild-bytes = 9999999999T\n", 5, NULL, "cannot be read", NULL},
    {G "[life]\nchild-packets = 5\n", 5, "5", "out of range", "from 1K"},
    {G "[log]\nlevel = verbose\n", 5, "verbose", "unknown word", "error warn info debug"},
    {C "gateway = x\n", 4, "gateway", "set already in line 2", NULL},
    {"[tunnel]\ngateway = a b\ncert = x\n", 2, "a b", "no host", NULL},
    {"[tunnel]\ngateway = x:0\ncert = x\n", 2, "0", "port", NULL},
    {"[tunnel]\ngateway = x:70000\ncert = x\n", 2, "70000", "port", NULL},
    {"[tunnel]\ngateway = [::1\ncert = x\n", 2, "[::1", "no address with a port", NULL},
    {"[tunnel]\ngateway = a..b\ncert = x\n", 2, "a..b", "no host", NULL},
    {C "[traffic]\nsend = 10.0.0.5/8\n", 5, "10.0.0.5/8", "bits behind", "10.0.0.0/8"},
    {C "[traffic]\nexcept = lan\n", 5, "lan", "no network", NULL},
    {C "[traffic]\nrequest = ip5\n", 5, "ip5", "unknown word", NULL},
    {C "[traffic]\nmode = transprt\n", 5, "transprt", "unknown word",
     "did you mean \"transport\"?"},
    {C "[traffic]\nmode = transport\nsend = 10.0.0.0/8\n", 6, "10.0.0.0/8",
     "between this host and the gateway alone", "mode = tunnel"},
    {"[tunnel]\ngateway = 192.0.2.1\ncert = x\n[traffic]\nmode = transport\nsend = 192.0.2.2\n", 6,
     "192.0.2.2/32", "between this host and the gateway alone", NULL},
    {C "[traffic]\nlocal = 192.168.7.0/24\nmode = transport\n", 5, "192.168.7.0/24",
     "between this host and the gateway alone", NULL},
    {C "[traffic]\nmode = transport\nsend = gateway\n", 6, "gateway", "no networks behind", NULL},
    {C "[traffic]\nmode = transport\nrequest = ip4\n", 6, "request", "no inner addresses",
     "mode = tunnel"},
    {C "[traffic]\nexcept = 10.0.0.0/8\nmode = transport\n", 5, "except",
     "nothing is to be kept out", NULL},
    {C "[traffic]\nmode = transport\n[life]\nroam = yes\n", 7, "roam", "cannot move",
     "mode = tunnel"},
    {C "[traffic]\nmode = transport\n[crypto]\ntfc = mtu\n", 7, "tfc", "cannot hide lengths", NULL},
    {C "[traffic]\nmode = transport\n[crypto]\ndummies = 5\n", 7, "dummies", "no dummy packets",
     NULL},
    {C "[traffic]\nmode = transport\n[child b]\nsend = 10.0.0.0/8[tcp/1]\n", 6, "10.0.0.0/8[tcp/1]",
     "between this host and the gateway alone", NULL},
    {G "[network]\nmode = transport, tunnel\n", 5, NULL, "unknown word", "tunnel transport"},
    {C "[traffic]\ndns = 9.9.9.9\n", 5, "9.9.9.9", "unknown word", "keep gateway"},
    /* what needs several lines */
    {"[gateway]\nname = x\n", 0, "", "no way to authenticate", "cert, key and ca"},
    {"[gateway]\nname = x\n[client alice]\n", 3, "alice", "no shared secret", "psk-file"},
    {"[gateway]\nname = x\n[auth]\nmethods = cert\n[client a]\npsk-file = p\n", 4, "cert",
     "without an own one", NULL},
    {G "[auth]\nmethods = cert\n[client a]\npsk-file = p\n", 5, "", "do not name psk", NULL},
    {G "[client]\n", 4, "", "needs a name", NULL},
    {G "[client a]\n[client a]\nidentity = b\n", 5, "a", "the name is that of [client a] in line 4",
     NULL},
    {G "[client a]\nidentity = X.example\n[client b]\nidentity = x.EXAMPLE\n", 6, "b",
     "the identity is that of [client a]", NULL},
    {G "[client a]\naddress = 10.0.0.1\n[client b]\naddress = 10.0.0.1\n", 6, "b",
     "the IPv4 address is that of [client a]", NULL},
    {G "[client a]\naddress = fd00::1\n[client b]\naddress = fd00::1\n", 6, "b",
     "the IPv6 address is that of [client a]", NULL},
    {G "[client a]\naddress = 10.0.0.1, 10.0.0.2\n", 5, "10.0.0.2", "one IPv4 address only", NULL},
    {G "[client a]\naddress = 0.0.0.0\n", 5, "0.0.0.0", "no address", NULL},
    {G "[client a]\npsk = 1234567890123456\npsk-file = x\n", 4, "a", "both psk and psk-file", NULL},
    {G "[client a]\npsk = 0x123\n", 5, "", "the shared secret cannot be read", NULL},
    {G "[client a]\nidentity = a\tb\n", 5, "a\tb", "no identity", NULL},
    {G "[client a]\nkey = x\n", 5, "key", "not a key of [client]", "belongs into [gateway]"},
    {G "[client \"a b\"]\n", 4, "a b", "no identity", "add a line identity"},
    {"[tunnel]\ncert = x\n", 0, "", "the gateway is missing", "gateway = HOST"},
    {"[tunnel]\ngateway = x\n", 0, "", "no way to authenticate", "psk-file"},
    {C "psk-file = x\n", 3, "cert", "both a certificate and a shared secret", NULL},
    {"[tunnel]\ngateway = x\npsk-file = x\npsk = 1234567890123456\n", 4, "psk",
     "both psk and psk-file", NULL},
    {C
     "run-dir = /a/very/long/folder/of/more/than/a/hundred/characters/which/no/socket/address/has/"
     "room/for/in/its/path\n",
     4, NULL, "too long", "107"},
    {C "[traffic]\nsend = 10.0.0.0/8[tcp/x]\n", 5, "[tcp/x]", "no protocol with ports", "[icmp/8]"},
    {C "[traffic]\nsend = 10.0.0.1/8[tcp]\n", 5, "10.0.0.1/8", "bits behind", "10.0.0.0/8"},
    {G "[network]\ndomains = a..b\n", 5, "a..b", "no domain", NULL},
    {G "[network]\ndomains = -a\n", 5, "-a", "no domain", NULL},
    {C "[child a]\nlocal = 10.0.0.0/8\n", 4, "a", "no destinations", "send ="},
    {C "[child a]\nsend = 10.0.0.0/8\n[child a]\nsend = 10.0.0.0/8\n", 6, "a", "in line 4", NULL},
    {C "[child]\n", 4, "", "needs a name", NULL},
    {G "[child a]\n", 4, "child", "into a client's file", NULL},
    {C "[traffic]\nsend = 10.0.0.0/9, 10.128.0.0/9, 11.0.0.0/8\nlocal = 10.1.0.0/16, 10.2.0.0/16, "
       "10.3.0.0/16\nchildren = separate\n",
     7, "children", "more than 8 child SAs", NULL},
    /* bytes */
    {G "workers = 1\x01\n", 4, "0x01", "control character in column 12", "plain text"},
    {"\xff\xfe[\0", 1, "", "UTF-16", "UTF-8"},
};

static struct conf_faults faults;

static int parse(const char *text, size_t len, struct conf **conf)
{
    memset(&faults, 0, sizeof faults);
    return conf_parse("dir/test.conf", (struct bytes){(const uint8_t *)text, len}, conf, &faults);
}

static bool matches(const struct fault_case *c, const struct conf_fault *f)
{
    char offending[256] = "";
    for (const char *at = c->offending; at && *at; at++) /* as faults print it */
        snprintf(offending + strlen(offending), sizeof offending - strlen(offending),
                 *at == '\t' ? "\\x09" : "%c", *at);
    return f->line == c->line && !strcmp(f->file, "dir/test.conf") &&
           (!c->offending || !strcmp(f->text, offending)) &&
           (!c->what || strstr(f->what, c->what)) && (!c->next || strstr(f->next, c->next));
}

static void refuses_each_case(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct conf *conf = (struct conf *)1;
        int err = parse(cases[i].text, strlen(cases[i].text), &conf);
        bool found = false;
        for (size_t j = 0; j < faults.count; j++)
            found |= matches(&cases[i], &faults.at[j]);
        if (!found || err != ERR_CONFIG || conf) {
            char text[1024] = "no fault";
            if (faults.count)
                conf_fault_print(&faults.at[0], text, sizeof text);
            fail_msg("case %zu: got %d, %zu faults, first: %s\n%s", i, err, faults.count, text,
                     cases[i].text);
        }
    }
}

static void each_case_alone_is_one_fault(void **state)
{
    (void)state;
    /* follow-up noise would bury the cause */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct conf *conf;
        assert_int_not_equal(parse(cases[i].text, strlen(cases[i].text), &conf), 0);
        size_t items = strstr(cases[i].text, "a, b, c") ? 3 : 2;
        if (faults.count > items)
            fail_msg("case %zu has %zu faults", i, faults.count);
    }
}

static void tells_all_faults_at_once(void **state)
{
    (void)state;
    static const char text[] = "[gateway]\nname = vpn\nnam = x\nworkers = 0\n[network]\npool = x\n"
                               "[life]\nike = x\n";
    struct conf *conf;
    assert_int_equal(parse(text, sizeof text - 1, &conf), ERR_CONFIG);
    static const unsigned lines[] = {3, 4, 6, 8};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        assert_int_equal(faults.at[i].line, lines[i]);
}

static void keeps_at_most_32(void **state)
{
    (void)state;
    char text[8192] = "[gateway]\n";
    for (int i = 0; i < 200; i++)
        strcat(text, "no-such-key = 1\n");
    struct conf *conf;
    assert_int_equal(parse(text, strlen(text), &conf), ERR_CONFIG);
    assert_true(faults.count >= CONF_FAULTS_MAX);
    assert_int_equal(faults.at[CONF_FAULTS_MAX - 1].line, 33);
}

static void never_quotes_a_secret(void **state)
{
    (void)state;
    static const char *const texts[] = {
        G "[client a]\npsk = 0xTOPSECRETTOPSECRET\n",
        G "[client a]\npks = TOPSECRETTOPSECRET\n",
        "psk = TOPSECRETTOPSECRET\n",
        G "[client a]\npsk = \"TOPSECRET\n",
        G "[client a]\npsk = TOPSECRETTOPSECRET\npsk = TOPSECRET\n",
        C "psk = TOPSECRETTOPSECRET\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct conf *conf;
        assert_int_equal(parse(texts[i], strlen(texts[i]), &conf), ERR_CONFIG);
        for (size_t j = 0; j < faults.count; j++) {
            char line[1024];
            conf_fault_print(&faults.at[j], line, sizeof line);
            assert_null(strstr(line, "TOPSECRET"));
        }
    }
    char *huge = malloc(70000);
    memset(huge, 'S', 70000);
    memcpy(huge, "[tunnel]\npsk =", 14);
    huge[69999] = 0;
    struct conf *conf;
    assert_int_equal(parse(huge, 69999, &conf), ERR_CONFIG);
    assert_int_equal(faults.at[0].line, 2);
    assert_non_null(strstr(faults.at[0].what, "longer than 4096"));
    assert_null(strstr(faults.at[0].text, "S"));
    free(huge);
}

static void nul_octets_are_seen(void **state)
{
    (void)state;
    static const char text[] = "[gateway]\nname = a\0b\n";
    struct conf *conf;
    assert_int_equal(parse(text, sizeof text - 1, &conf), ERR_CONFIG);
    assert_int_equal(faults.at[0].line, 2);
    assert_string_equal(faults.at[0].text, "0x00");
}

static void prints_file_line_text_and_next(void **state)
{
    (void)state;
    struct conf *conf;
    char line[1024];
    assert_int_equal(parse(G "nmae = x\n", strlen(G "nmae = x\n"), &conf), ERR_CONFIG);
    conf_fault_print(&faults.at[0], line, sizeof line);
    assert_string_equal(line, "dir/test.conf:4: unknown key in [gateway]: \"nmae\" - did you mean "
                              "\"name\"?");
}

static void missing_files_have_a_fault(void **state)
{
    (void)state;
    struct conf *conf;
    memset(&faults, 0, sizeof faults);
    assert_int_equal(conf_load("/nonexistent/x.conf", &conf, &faults), ERR_CONFIG);
    assert_int_equal(faults.count, 1);
    assert_non_null(strstr(faults.at[0].what, "there is no such file"));
    assert_non_null(strstr(faults.at[0].next, "shrike config"));
    memset(&faults, 0, sizeof faults);
    assert_int_equal(conf_load("/tmp", &conf, &faults), ERR_CONFIG);
    assert_non_null(strstr(faults.at[0].what, "a folder"));
    memset(&faults, 0, sizeof faults);
    assert_int_equal(conf_load("/dev/zero", &conf, &faults), ERR_CONFIG);
    assert_null(conf);
}

/* Every prefix of a good file, and every octet of it changed, ends in 0 or in a fault. */
static void truncated_and_flipped_files_end_well(void **state)
{
    (void)state;
    char *text = conf_default_text(true);
    size_t len = strlen(text);
    for (size_t i = 0; i <= len; i++) {
        struct conf *conf;
        int err = parse(text, i, &conf);
        assert_true(err ? faults.count > faults.warnings : conf != NULL);
        conf_free(conf);
    }
    for (size_t i = 0; i < len; i++) {
        static const uint8_t flips[] = {0x01, 0x10, 0x80, 0xff};
        for (size_t j = 0; j < ARRAY_LEN(flips); j++) {
            struct conf *conf;
            text[i] = (char)(text[i] ^ flips[j]);
            int err = parse(text, len, &conf);
            assert_true(err ? faults.count > faults.warnings : conf != NULL);
            conf_free(conf);
            text[i] = (char)(text[i] ^ flips[j]);
        }
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_each_case),
        cmocka_unit_test(each_case_alone_is_one_fault),
        cmocka_unit_test(tells_all_faults_at_once),
        cmocka_unit_test(keeps_at_most_32),
        cmocka_unit_test(never_quotes_a_secret),
        cmocka_unit_test(nul_octets_are_seen),
        cmocka_unit_test(prints_file_line_text_and_next),
        cmocka_unit_test(missing_files_have_a_fault),
        cmocka_unit_test(truncated_and_flipped_files_end_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
