/* What is accepted, and what it becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the four above */
#include <cmocka.h>

#include "conf/conf.h"

static struct conf *parse_as(const char *file, const char *text)
{
    static struct conf_faults faults;
    struct conf *conf;
    memset(&faults, 0, sizeof faults);
    int err = conf_parse(file, (struct bytes){(const uint8_t *)text, strlen(text)}, &conf, &faults);
    if (err) {
        char line[1024];
        conf_fault_print(&faults.at[0], line, sizeof line);
        fail_msg("%s", line);
    }
    return conf;
}

static struct conf *parse(const char *text)
{
    return parse_as("/etc/shrike/office.conf", text);
}

static void assert_id(const struct identity *id, uint8_t type, const char *text)
{
    char printed[IDENTITY_TEXT];
    assert_int_equal(id->type, type);
    assert_string_equal(identity_print(id, printed), text);
}

static void default_texts_read_well(void **state)
{
    (void)state;
    for (int gateway = 0; gateway < 2; gateway++) {
        char *text = conf_default_text(gateway);
        struct conf *conf = parse(text);
        assert_int_equal(conf->gateway, gateway);
        conf_free(conf);
        free(text);
    }
}

static void assert_same_selectors(struct selector *a, struct selector *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_true(selector_equal(&a[i], &b[i]));
    memset(a, 0, count * sizeof *a);
    memset(b, 0, count * sizeof *b);
}

/* Octet for octet, but for structs with padding, which are compared first and then wiped. */
static void assert_same(struct conf *a, struct conf *b)
{
    memset(a->lines, 0, sizeof a->lines);
    memset(b->lines, 0, sizeof b->lines);
    for (size_t i = 0; i < CONF_OPTIONS_MAX; i++) {
        free(a->values[i]);
        free(b->values[i]);
        a->values[i] = b->values[i] = NULL;
    }
    assert_same_selectors(a->tunnel.local_ts, b->tunnel.local_ts, CONF_SELECTORS);
    assert_same_selectors(a->tunnel.remote_ts, b->tunnel.remote_ts, CONF_SELECTORS);
    for (size_t i = 0; i < CONF_LISTEN; i++)
        assert_true(endpoint_equal(&a->listen[i], &b->listen[i]));
    memset(a->listen, 0, sizeof a->listen);
    memset(b->listen, 0, sizeof b->listen);
    assert_memory_equal(a, b, sizeof *a);
}

/* The commented defaults are the defaults: with every comment taken off the same comes out. */
static void commented_lines_are_the_defaults(void **state)
{
    (void)state;
    static const char *const examples[] = {"passphrase-file",
                                           "key",
                                           "identity",
                                           "psk",
                                           "psk-file",
                                           "except",
                                           "local",
                                           "address",
                                           "networks",
                                           "methods",
                                           "run-dir",
                                           "state-dir",
                                           "interface",
                                           "remote-identity",
                                           "[client",
                                           "request",
                                           "domains",
                                           "legacy",
                                           "ah"};
    for (int gateway = 0; gateway < 2; gateway++) {
        char *text = conf_default_text(gateway), *open = strdup(text);
        const char *child = strstr(open, "#[child"), *next = child ? strstr(child, "\n[") : NULL;
        for (char *at = open; (at = strstr(at, "\n#"));) {
            at += 2;
            bool example = *at == ' ' || (child && at > child && at < next);
            for (size_t i = 0; i < ARRAY_LEN(examples); i++)
                example |= !strncmp(at, examples[i], strcspn(at, " =]"));
            if (!example)
                at[-1] = ' ';
        }
        struct conf *a = parse(text), *b = parse(open);
        assert_same(a, b);
        conf_free(a);
        conf_free(b);
        free(text);
        free(open);
    }
}

static void a_client_has_children(void **state)
{
    (void)state;
    char text[SELECTOR_TEXT];
    struct conf *c =
        parse("[tunnel]\ngateway = vpn.example.com\npsk = aaaaaaaaaa\n"
              "[traffic]\nsend = 10.0.0.0/8[tcp/443], 10.0.0.5-10.0.0.9[icmp/8]\n"
              "[child mail]\nsend = 10.7.0.0/16[tcp/993]\n"
              "[child \"a b\"]\nlocal = 192.168.9.0/24\nsend = fd00::/8, 10.8.0.0/16\n");
    const struct conf_tunnel *t = &c->tunnel;
    assert_int_equal(t->remote_ts_count, 2);
    assert_string_equal(selector_print(&t->remote_ts[0], text), "10.0.0.0/8[tcp/443]");
    assert_string_equal(selector_print(&t->remote_ts[1], text), "10.0.0.5-10.0.0.9[icmp/8]");
    assert_int_equal(t->child_count, 2);
    assert_string_equal(t->children[0].name, "mail");
    assert_int_equal(t->children[0].local_ts_count, 0);
    assert_int_equal(t->children[0].remote_ts_count, 1);
    assert_string_equal(selector_print(&t->children[0].remote_ts[0], text), "10.7.0.0/16[tcp/993]");
    assert_string_equal(t->children[1].name, "a b");
    assert_int_equal(t->children[1].local_ts_count, 1);
    assert_int_equal(t->children[1].remote_ts_count, 2);
    assert_true(t->request_ip4 && t->request_ip6);
    conf_free(c);
}

static void a_gateway_says_what_is_behind_it(void **state)
{
    (void)state;
    struct conf *c = parse("[tunnel]\ngateway = vpn.example.com\npsk = aaaaaaaaaa\n"
                           "[traffic]\nsend = gateway\n");
    assert_true(c->tunnel.send_from_gateway);
    assert_int_equal(c->tunnel.remote_ts_count, 2);
    conf_free(c);
    c = parse("[gateway]\nname = x.example\ncert = g.pem\ntell-version = yes\n"
              "[network]\ndomains = corp.example.com, lab_1.example\n");
    assert_int_equal(c->tunnel.domain_count, 2);
    assert_string_equal(c->tunnel.domains[1], "lab_1.example");
    assert_true(c->tunnel.tell_version);
    conf_free(c);
}

static void networks_become_children(void **state)
{
    (void)state;
    char text[SELECTOR_TEXT];
    struct conf *c = parse("[tunnel]\ngateway = vpn.example.com\npsk = aaaaaaaaaa\n"
                           "[traffic]\nsend = 10.1.0.0/16, 10.2.0.0/16, 10.3.0.0/16\n"
                           "local = 192.168.7.0/24, 192.168.8.0/24\nchildren = separate\n");
    const struct conf_tunnel *t = &c->tunnel;
    assert_int_equal(t->local_ts_count, 1);
    assert_int_equal(t->remote_ts_count, 1);
    assert_int_equal(t->child_count, 5);
    assert_string_equal(selector_print(&t->remote_ts[0], text), "10.1.0.0/16");
    assert_string_equal(selector_print(&t->children[0].local_ts[0], text), "192.168.8.0/24");
    assert_string_equal(selector_print(&t->children[0].remote_ts[0], text), "10.1.0.0/16");
    assert_string_equal(selector_print(&t->children[4].local_ts[0], text), "192.168.8.0/24");
    assert_string_equal(selector_print(&t->children[4].remote_ts[0], text), "10.3.0.0/16");
    assert_string_equal(t->children[4].name, "pair-6");
    assert_false(t->request_ip4 || t->request_ip6);
    conf_free(c);
}

static void a_gateway_has_its_values(void **state)
{
    (void)state;
    struct conf *c =
        parse("[gateway]\n"
              "name = vpn.example.com\n"
              "cert = g.pem\nkey=/abs/g.key\n ca\t=\tsub/ca.pem\n"
              "listen = 192.0.2.1, [2001:db8::1]:4500, ::\n"
              "outside = eth0 # the uplink\n"
              "workers = 3\ninstance = west\nrun-dir = /tmp/x\nuser-ids = 70000\n"
              "[network]\n"
              "pool = 10.99.0.0/16, fd99::/64\ndns = 9.9.9.9,2620:fe::fe\n"
              "routes = 10.0.0.0/8\nmtu = 1400\nclient-to-client = yes\n"
              "[auth]\nmethods = cert, psk\nany-cert = yes\nunique = no\n"
              "[crypto]\nike = aes256gcm16-prfsha384-x25519\nesp = aes128gcm16-esn\n"
              "pfs = no\nreplay-window = 8192\nencapsulation = auto\ntfc = mtu\ndummies = 20\n"
              "[life]\nike = 1h30m\nchild = 600\nchild-bytes = 64G\n"
              "child-packets = 3M\ndpd = never\nkeepalive = 25s\n"
              "[log]\nlevel = debug\n"
              "[client alice@example.com]\naddress = 10.99.0.7, fd99::7\n"
              "[client \"branch 7\"]\nidentity = keyid:branch7\npsk = a b # c\n"
              "networks = 192.168.7.0/24, fd07::/64\n");
    const struct conf_tunnel *t = &c->tunnel;
    assert_true(c->gateway && !t->initiator);
    assert_string_equal(t->name, "west");
    assert_id(&t->local_id, IDENTITY_FQDN, "vpn.example.com");
    assert_int_equal(t->remote_id.type, IDENTITY_NONE);
    assert_string_equal(c->cert, "/etc/shrike/g.pem");
    assert_string_equal(c->key, "/abs/g.key");
    assert_string_equal(c->ca, "/etc/shrike/sub/ca.pem");
    assert_int_equal(c->listen_count, 3);
    assert_int_equal(c->listen[0].port, 0);
    assert_int_equal(c->listen[1].port, 4500);
    assert_int_equal(c->listen[2].ip.family, 6);
    assert_string_equal(c->outside, "eth0");
    assert_int_equal(c->workers, 3);
    assert_int_equal(c->uid_base, 70000);
    assert_string_equal(c->interface, "west");
    assert_int_equal(c->pool_count, 2);
    assert_int_equal(t->dns_count, 2);
    assert_int_equal(t->local_ts_count, 1);
    assert_int_equal(t->remote_ts_count, 0);
    assert_true(c->nat && c->client_to_client && c->any_cert && !t->unique);
    assert_int_equal(c->mtu, 1400);
    assert_int_equal(t->local_auth, CONF_AUTH_CERT | CONF_AUTH_PSK);
    assert_int_equal(t->remote_auth, CONF_AUTH_CERT | CONF_AUTH_PSK);
    assert_int_equal(t->ike_count, 1);
    assert_int_equal(t->esp_count, 1);
    assert_null(proposal_find(&t->esp[0], TRANSFORM_KE));
    assert_int_equal(t->replay_window, 8192);
    assert_int_equal(t->tfc, CONF_TFC_MTU);
    assert_int_equal(t->dummies, 20);
    assert_int_equal(t->encap, CONF_ENCAP_AUTO);
    assert_int_equal(t->ike_lifetime, 5400);
    assert_int_equal(t->child_lifetime, 600);
    assert_true(t->child_bytes == 64ULL << 30);
    assert_true(t->child_packets == 3000000);
    assert_int_equal(t->dpd, 0);
    assert_int_equal(t->keepalive, 25);
    assert_int_equal(c->log_level, LEVEL_DEBUG);
    assert_int_equal(c->peer_count, 2);
    assert_id(&c->peers[0].id, IDENTITY_RFC822, "alice@example.com");
    assert_int_equal(c->peers[0].ip4.family, 4);
    assert_int_equal(c->peers[0].ip6.family, 6);
    assert_string_equal(c->peers[1].name, "branch 7");
    assert_int_equal(c->peers[1].id.type, IDENTITY_KEY_ID);
    assert_string_equal(c->peers[1].psk, "a b");
    assert_int_equal(c->peers[1].network_count, 2);
    char path[CONF_PATH_MAX];
    assert_int_equal(conf_control_path(c, path), 0);
    assert_string_equal(path, "/tmp/x/west.sock");
    conf_free(c);
}

static void a_client_has_its_values(void **state)
{
    (void)state;
    struct conf *c = parse("[tunnel]\ngateway = 192.0.2.1:4501\nidentity = alice@example.com\n"
                           "remote-identity = vpn.example.com\npsk-file = a.psk\n"
                           "[traffic]\nsend = 10.0.0.0/8\nexcept = 10.1.0.0/16\ndns = keep\n"
                           "request = ip4\n[crypto]\nesn = no\n");
    const struct conf_tunnel *t = &c->tunnel;
    assert_true(!c->gateway && t->initiator);
    assert_string_equal(t->name, "office");
    assert_string_equal(c->interface, "office");
    assert_string_equal(c->remote_host, "192.0.2.1");
    assert_int_equal(c->remote_port, 4501);
    assert_id(&t->local_id, IDENTITY_RFC822, "alice@example.com");
    assert_id(&t->remote_id, IDENTITY_FQDN, "vpn.example.com");
    assert_string_equal(c->psk_file, "/etc/shrike/a.psk");
    assert_int_equal(t->local_auth, CONF_AUTH_PSK);
    assert_int_equal(t->remote_auth, CONF_AUTH_PSK);
    assert_int_equal(t->remote_ts_count, 1);
    assert_int_equal(c->except_count, 1);
    assert_false(c->dns_from_gateway);
    assert_true(t->request_ip4 && !t->request_ip6);
    assert_true(t->ike_count > 0 && t->esp_count > 0);
    for (size_t i = 0; i < t->esp_count; i++) {
        const struct transform esn = {TRANSFORM_SN, 1, 0}, plain = {TRANSFORM_SN, 0, 0};
        assert_false(proposal_has(&t->esp[i], &esn));
        assert_true(proposal_has(&t->esp[i], &plain));
    }
    conf_free(c);
}

static void what_is_left_out_follows(void **state)
{
    (void)state;
    struct conf *c = parse("[tunnel]\ngateway = 2001:db8::1\ncert = a.p12\n");
    assert_int_equal(c->remote_port, 500);
    assert_int_equal(c->tunnel.remote_id.type, IDENTITY_IPV6);
    assert_int_equal(c->tunnel.local_id.type, IDENTITY_NONE);
    assert_int_equal(c->tunnel.local_auth, CONF_AUTH_CERT);
    assert_int_equal(c->tunnel.remote_auth, CONF_AUTH_CERT);
    assert_int_equal(c->tunnel.remote_ts_count, 2);
    assert_true(c->tunnel.request_ip4 && c->tunnel.request_ip6 && c->dns_from_gateway);
    assert_true(c->tunnel.pfs && c->tunnel.esn);
    assert_int_equal(c->tunnel.replay_window, 1024);
    assert_int_equal(c->tunnel.tfc, 0);
    assert_int_equal(c->tunnel.dummies, 0);
    assert_int_equal(c->log_level, LEVEL_INFO);
    conf_free(c);
    /* site to site: no address is asked for */
    c = parse("[tunnel]\ngateway = [2001:db8::1]:4500\npsk = abcdefghijklmnop\n"
              "[traffic]\nlocal = 192.168.7.0/24\n");
    assert_int_equal(c->remote_port, 4500);
    assert_false(c->tunnel.request_ip4 || c->tunnel.request_ip6);
    assert_int_equal(c->tunnel.local_ts_count, 1);
    conf_free(c);
    /* a shared secret beside a CA: the gateway has to have a certificate */
    c = parse("[tunnel]\ngateway = vpn\npsk = abcdefghijklmnop\nca = ca.pem\n");
    assert_int_equal(c->tunnel.local_auth, CONF_AUTH_PSK);
    assert_int_equal(c->tunnel.remote_auth, CONF_AUTH_CERT);
    conf_free(c);
    c = parse("[gateway]\nname = vpn\n[client a]\npsk = abcdefghijklmnop\n");
    assert_int_equal(c->tunnel.local_auth, CONF_AUTH_PSK);
    assert_int_equal(c->tunnel.remote_auth, CONF_AUTH_PSK);
    assert_string_equal(c->interface, "shrike0");
    assert_string_equal(c->tunnel.name, "gateway");
    assert_false(c->nat);
    assert_int_equal(c->tunnel.local_ts_count, 2);
    conf_free(c);
}

static void nat_follows_the_pools(void **state)
{
    (void)state;
    static const struct {
        const char *network;
        bool nat;
    } cases[] = {
        {"pool = 10.9.0.0/16\n", true},
        {"pool = 192.0.2.0/24\n", false},
        {"pool = 2001:db8::/64\n", false},
        {"pool = fd00::/64\n", true},
        {"pool = 10.9.0.0/16\nnat = no\n", false},
        {"pool = 192.0.2.0/24\nnat = yes\n", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[256];
        snprintf(text, sizeof text, "[gateway]\ncert = x\n[network]\n%s", cases[i].network);
        struct conf *c = parse(text);
        assert_int_equal(c->nat, cases[i].nat);
        conf_free(c);
    }
}

static void line_ends_and_marks_do_not_matter(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "\xef\xbb\xbf[tunnel]\r\ngateway = vpn\r\ncert = a\r\n",
        "[tunnel]\ngateway = vpn\ncert = a",
        "\n\n  [tunnel]  # here\n\tgateway\t=\tvpn\t; there\n\ncert=a # x\n",
        "[ tunnel ]\ngateway = \"vpn\" # quoted\ncert = \"a\"\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct conf *c = parse(texts[i]);
        assert_string_equal(c->remote_host, "vpn");
        assert_string_equal(c->cert, "/etc/shrike/a");
        conf_free(c);
    }
    struct conf *c = parse("[tunnel]\ngateway = vpn\npsk = \"with # and ; inside\"\n");
    assert_string_equal(c->psk, "with # and ; inside");
    conf_free(c);
    c = parse("[tunnel]\ngateway = vpn\npsk = with#and;inside = all\n");
    assert_string_equal(c->psk, "with#and;inside = all");
    conf_free(c);
}

static void names_come_from_the_file(void **state)
{
    (void)state;
    static const struct {
        const char *file, *name;
    } cases[] = {
        {"office.conf", "office"},
        {"/a/b c.conf", "b_c"},
        {"./x", "x"},
        {"/a/.conf", "_conf"},
        {"/a/very-long-name-of-more-than-thirty-one-letters.conf",
         "very-long-name-of-more-than-thi"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct conf *c = parse_as(cases[i].file, "[tunnel]\ngateway = vpn\ncert = a\n");
        assert_string_equal(c->tunnel.name, cases[i].name);
        assert_true(strlen(c->interface) < 16);
        conf_free(c);
    }
}

static void many_clients_are_fine(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    fprintf(out, "[gateway]\nname = vpn\n");
    for (int i = 0; i < 3000; i++)
        fprintf(out, "[client c%d]\nidentity = c%d@example.com\npsk = secret number %d\n", i, i, i);
    fclose(out);
    struct conf *c = parse(text);
    assert_int_equal(c->peer_count, 3000);
    assert_string_equal(c->peers[2999].psk, "secret number 2999");
    assert_int_equal(c->peers[2999].line, 2 + 2999 * 3 + 1);
    conf_free(c);
    free(text);
}

static void the_run_folder_has_three_sources(void **state)
{
    (void)state;
    setenv("SHRIKE_RUN_DIR", "/tmp/from-env", 1);
    struct conf *c = parse("[tunnel]\ngateway = vpn\ncert = a\n");
    assert_string_equal(c->run_dir, "/tmp/from-env");
    conf_free(c);
    c = parse("[tunnel]\ngateway = vpn\ncert = a\nrun-dir = /tmp/from-file\n");
    assert_string_equal(c->run_dir, "/tmp/from-file");
    conf_free(c);
    unsetenv("SHRIKE_RUN_DIR");
    c = parse("[tunnel]\ngateway = vpn\ncert = a\n");
    assert_string_equal(c->run_dir, "/run/shrike");
    conf_free(c);
}

/* What transport mode takes away by itself, and the words for ports between the two hosts. */
static void transport_mode(void **state)
{
    (void)state;
    struct conf *c =
        parse("[tunnel]\ngateway = 192.0.2.1\ncert = a.pem\n[traffic]\nmode = transport\n"
              "send = 0.0.0.0/0[tcp/443], 192.0.2.1[udp]\nlocal = ::/0\n");
    assert_true(c->tunnel.transport);
    assert_false(c->tunnel.roam || c->tunnel.request_ip4 || c->tunnel.request_ip6);
    assert_int_equal(c->tunnel.remote_ts_count, 2);
    conf_free(c);
    c = parse("[tunnel]\ngateway = vpn.example.com\ncert = a.pem\n");
    assert_true(!c->tunnel.transport && c->tunnel.roam && c->tunnel.request_ip4);
    conf_free(c);
    c = parse("[gateway]\nname = x\ncert = a.pem\n[network]\nmode = transport\n");
    assert_true(c->tunnel.transport && c->tunnel.roam);
    conf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_texts_read_well),
        cmocka_unit_test(commented_lines_are_the_defaults),
        cmocka_unit_test(a_client_has_children),
        cmocka_unit_test(networks_become_children),
        cmocka_unit_test(a_gateway_says_what_is_behind_it),
        cmocka_unit_test(a_gateway_has_its_values),
        cmocka_unit_test(a_client_has_its_values),
        cmocka_unit_test(what_is_left_out_follows),
        cmocka_unit_test(nat_follows_the_pools),
        cmocka_unit_test(line_ends_and_marks_do_not_matter),
        cmocka_unit_test(names_come_from_the_file),
        cmocka_unit_test(many_clients_are_fine),
        cmocka_unit_test(the_run_folder_has_three_sources),
        cmocka_unit_test(transport_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
