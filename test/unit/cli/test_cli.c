/* The verbs as a user sees them: words in; text, text and an exit code out. What runs behind the
 * control socket is a double that plays a part by the tunnel's name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the four above */
#include <cmocka.h>

#include <ftw.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "ctl/ctl.h"

static char dir[] = "/tmp/shrike-cli-XXXXXX";

/* ---- the double ---- */

static struct {
    struct ctl_server *server;
    const struct conf *conf;
    struct ctl_client_ref watcher;
    bool watched, ended;
} fake;

static json_t *fake_tunnel(void)
{
    return json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:i, s:i, s:f, s:i, s:{s:i, s:i},"
                     " s:[{s:s, s:s, s:i, s:i, s:i, s:i, s:{s:i}}]}",
                     "id", 1, "peer_id", "vpn.example.com", "state", "established", "remote",
                     "192.0.2.1:4500", "ip4", "10.99.0.7", "suite", "aes256gcm16-prfsha384-x25519",
                     "udp", 1, "nat", "local", "age_s", 75, "rekey_in_s", 3600, "established_ms",
                     12.5, "messages", 4, "rekeys", "ike", 1, "child", 2, "children", "suite",
                     "aes256gcm16-esn", "ke", "x25519", "in_bytes", 1234567, "in_packets", 1000,
                     "out_bytes", 999, "out_packets", 10, "drops", "replay", 3);
}

static json_t *fake_status(void)
{
    bool gateway = fake.conf->gateway;
    json_t *tunnels = json_array();
    json_array_append_new(tunnels, fake_tunnel());
    return json_pack("{s:i, s:s, s:s, s:s, s:i, s:o, s:s, s:i, s:{s:{s:i, s:i}}, s:[s], s:[s]}",
                     "version", 1, "role", gateway ? "gateway" : "client", "name",
                     fake.conf->tunnel.name, "state", gateway ? "serving" : "established", "since",
                     1000, "tunnels", tunnels, "interface", "shr0", "mtu", 1400, "counters", "esp",
                     "drop_in_replay", 3, "drop_in_spi", 0, "dns", "9.9.9.9", "warnings",
                     "something to look at");
}

/* 600 tunnels, 256 a page. */
static json_t *fake_page(json_t *parameters)
{
    json_int_t after = json_integer_value(json_object_get(parameters, "after"));
    json_t *page = fake_status(), *tunnels = json_object_get(page, "tunnels");
    json_array_clear(tunnels);
    for (json_int_t id = after + 1; id <= 600 && id <= after + 256; id++) {
        json_t *t = fake_tunnel();
        json_object_set_new(t, "id", json_integer(id));
        json_array_append_new(tunnels, t);
    }
    json_object_set_new(page, "tunnel_count", json_integer(600));
    if (after + 256 < 600)
        json_object_set_new(page, "more_tunnels", json_true());
    return page;
}

static void fake_event(const char *kind, bool continues)
{
    if (fake.watched)
        (void)!ctl_reply(fake.server, fake.watcher,
                         json_pack("{s:s, s:i}", "event", kind, "time", 1), continues);
}

static void fake_up(struct ctl_client_ref client)
{
    const char *part = fake.conf->tunnel.name;
    json_t *reply = NULL;
    if (!strcmp(part, "good"))
        reply = json_pack("{s:s, s:f, s:i, s:o}", "event", "established", "elapsed_ms", 12.5,
                          "messages", 4, "tunnel_status", fake_tunnel());
    else if (!strcmp(part, "wrongpsk"))
        reply = json_pack("{s:s, s:s, s:s}", "event", "failed", "error", "auth-failed", "text",
                          "vpn.example.com refused us: is the shared secret the same?");
    else if (!strcmp(part, "silent"))
        reply = json_pack("{s:s, s:s}", "event", "failed", "error", "timeout");
    else if (!strcmp(part, "picky"))
        reply = json_pack("{s:s, s:s}", "event", "failed", "error", "no-proposal");
    if (reply)
        (void)!ctl_reply(fake.server, client, reply, false);
}

static void fake_handler(void *context, struct ctl_client_ref client, const char *method,
                         json_t *parameters, bool more)
{
    (void)context;
    (void)more;
    if (!strcmp(method, "Status"))
        (void)!ctl_reply(
            fake.server, client,
            !strcmp(fake.conf->tunnel.name, "many") ? fake_page(parameters) : fake_status(), false);
    else if (!strcmp(method, "Up"))
        fake_up(client);
    else if (!strcmp(method, "Down")) {
        (void)!ctl_reply(fake.server, client, json_pack("{s:i}", "tunnels", 1), false);
        fake.ended = true;
    } else if (!strcmp(method, "Watch")) {
        fake.watcher = client;
        fake.watched = true;
        fake_event("watching", true);
    } else if (!strcmp(method, "Rekey")) {
        const char *what = json_string_value(json_object_get(parameters, "what"));
        (void)!ctl_reply(fake.server, client, json_pack("{s:i}", "started", 1), false);
        fake_event("child-up", true);
        fake_event(!strcmp(what, "ike") ? "rekeyed-ike" : "rekeyed-child", true);
    } else {
        (void)!ctl_error(fake.server, client, "MethodNotFound", NULL);
    }
}

static int fake_monitor(struct conf *conf, int ready_fd)
{
    char path[CONF_PATH_MAX], why[256];
    fake.conf = conf;
    if (!strcmp(conf->tunnel.name, "broken")) {
        fprintf(stderr, "no TUN device: /dev/net/tun is missing\n");
        return EXIT_PERMISSION;
    }
    if (conf_control_path(conf, path))
        return EXIT_FAILED;
    fake.server = ctl_listen(path, fake_handler, NULL, why);
    if (!fake.server) {
        fprintf(stderr, "%s\n", why);
        return EXIT_FAILED;
    }
    if (ready_fd >= 0 && write(ready_fd, "", 1) != 1)
        return EXIT_FAILED;
    for (int i = 0; i < 2000 && !fake.ended; i++) { /* 20 s at most */
        struct pollfd p = {.fd = ctl_poll_fd(fake.server), .events = POLLIN};
        poll(&p, 1, 10);
        ctl_serve(fake.server);
    }
    ctl_close(fake.server);
    conf_free(conf);
    return EXIT_OK;
}

/* ---- running a verb ---- */

static char out[1 << 17], err[1 << 16];

static void read_file(const char *path, char *to, size_t size)
{
    FILE *in = fopen(path, "r");
    size_t n = in ? fread(to, 1, size - 1, in) : 0;
    to[n] = 0;
    if (in)
        fclose(in);
}

static int run_words(char **argv)
{
    char out_path[64], err_path[64];
    int argc = 0, status;
    snprintf(out_path, sizeof out_path, "%s/out", dir);
    snprintf(err_path, sizeof err_path, "%s/err", dir);
    while (argv[argc])
        argc++;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        static const struct cli_host host = {.run_monitor = fake_monitor};
        if (!freopen(out_path, "w", stdout) || !freopen(err_path, "w", stderr))
            _exit(99);
        int code = cli_main(argc, argv, &host);
        fflush(NULL);
        _exit(code);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    read_file(out_path, out, sizeof out);
    read_file(err_path, err, sizeof err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#define run(...) run_words((char *[]){(char[]){"shrike"}, ##__VA_ARGS__, NULL})
#define W(text)  ((char[]){text})

static void expect(const char *in, const char *part)
{
    if (!strstr(in, part))
        fail_msg("no \"%s\" in:\n%s", part, in);
}

static void put(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    chmod(path, 0600);
}

#define CLIENT "[tunnel]\ngateway = vpn.example.com\npsk = mimosa-vellum-71-okapi-quartz\n"

static int set_up(void **state)
{
    (void)state;
    char run_dir[64];
    assert_non_null(mkdtemp(dir));
    snprintf(run_dir, sizeof run_dir, "%s/run", dir);
    mkdir(run_dir, 0755);
    setenv("SHRIKE_RUN_DIR", run_dir, 1);
    setenv("SHRIKE_CONF_DIR", dir, 1);
    static const char *const parts[] = {"good",  "wrongpsk", "silent", "picky",
                                        "never", "broken",   "other",  "many"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        char name[32];
        snprintf(name, sizeof name, "%s.conf", parts[i]);
        put(name, CLIENT);
    }
    put("bad.conf", "[tunnel]\ngatewya = vpn\npsk = mimosa-vellum-71-okapi-quartz\n");
    put("shrike.conf", "[gateway]\nname = vpn\n[client a]\npsk = mimosa-vellum-71-okapi-quartz\n");
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

static bool is_root(void)
{
    if (geteuid() == 0)
        return true;
    print_message("note: needs root\n");
    return false;
}

/* ---- words ---- */

static void help_lists_every_verb(void **state)
{
    (void)state;
    static const char *const verbs[] = {"gateway", "up",      "down",       "status",    "rekey",
                                        "check",   "config",  "pki ca",     "pki issue", "pki show",
                                        "help",    "version", "completion", "explain"};
    assert_int_equal(run(W("help")), EXIT_OK);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        expect(out, verbs[i]);
    assert_string_equal(err, "");
    assert_int_equal(run(W("--help")), EXIT_OK);
    assert_int_equal(run(W("-h")), EXIT_OK);
    assert_int_equal(run(), EXIT_USAGE);
    assert_int_equal(run(W("help"), W("up")), EXIT_OK);
    expect(out, "--wait");
    assert_int_equal(run(W("up"), W("--help")), EXIT_OK);
    expect(out, "--wait");
    assert_int_equal(run(W("help"), W("pki")), EXIT_OK);
    expect(out, "pki issue");
    assert_int_equal(run(W("help"), W("pki"), W("ca")), EXIT_OK);
    expect(out, "--name");
    assert_int_equal(run(W("help"), W("stauts")), EXIT_USAGE);
    expect(err, "did you mean \"status\"?");
}

static void versions_are_printed(void **state)
{
    (void)state;
    assert_int_equal(run(W("version")), EXIT_OK);
    assert_string_equal(out, "shrike " SHRIKE_VERSION "\n");
    assert_int_equal(run(W("version"), W("--json")), EXIT_OK);
    assert_string_equal(out, "{\"version\": 1, \"program\": \"" SHRIKE_VERSION "\"}\n");
    assert_int_equal(run(W("--version")), EXIT_OK);
    assert_string_equal(out, "shrike " SHRIKE_VERSION "\n");
}

static void wrong_words_are_usage(void **state)
{
    (void)state;
    assert_int_equal(run(W("statsu")), EXIT_USAGE);
    expect(err, "unknown verb \"statsu\" - did you mean \"status\"?");
    assert_string_equal(out, "");
    assert_int_equal(run(W("xyzzy")), EXIT_USAGE);
    expect(err, "`shrike help`");
    assert_int_equal(run(W("pki"), W("isue")), EXIT_USAGE);
    expect(err, "did you mean \"pki issue\"?");
    assert_int_equal(run(W("pki")), EXIT_USAGE);
    assert_int_equal(run(W("status"), W("--jsno")), EXIT_USAGE);
    expect(err, "unknown option \"--jsno\" - did you mean \"--json\"?");
    assert_int_equal(run(W("status"), W("-q")), EXIT_USAGE);
    assert_int_equal(run(W("status"), W("--json"), W("-j")), EXIT_USAGE);
    expect(err, "twice");
    assert_int_equal(run(W("status"), W("--json=yes")), EXIT_USAGE);
    expect(err, "takes no value");
    assert_int_equal(run(W("status"), W("--interval")), EXIT_USAGE);
    expect(err, "--interval needs a TIME");
    assert_int_equal(run(W("status"), W("-jn")), EXIT_USAGE);
    expect(err, "-n needs a TIME");
    assert_int_equal(run(W("status"), W("-jx")), EXIT_USAGE);
    expect(err, "unknown option \"-jx\"");
    assert_int_equal(run(W("status"), W("-jn2s")), EXIT_NOT_RUNNING);
    assert_int_equal(run(W("status"), W("--"), W("--json")), EXIT_NOT_RUNNING);
    assert_int_equal(run(W("status"), W("--interval")), EXIT_USAGE);
    expect(err, "needs a TIME");
    assert_int_equal(run(W("status"), W("--interval=soon")), EXIT_USAGE);
    assert_int_equal(run(W("status"), W("a"), W("b")), EXIT_USAGE);
    expect(err, "one word too many: \"b\"");
    assert_int_equal(run(W("up")), EXIT_USAGE);
    expect(err, "needs NAME|FILE");
    assert_int_equal(run(W("config"), W("gatway")), EXIT_USAGE);
    assert_int_equal(run(W("completion"), W("csh")), EXIT_USAGE);
}

static void completions_are_well_formed(void **state)
{
    (void)state;
    static const char *const shells[] = {"bash", "zsh", "fish"};
    for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
        char shell[8], command[128];
        snprintf(shell, sizeof shell, "%s", shells[i]);
        assert_int_equal(run(W("completion"), shell), EXIT_OK);
        expect(out, "rekey");
        expect(out, i == 1 ? "--timeout" : "timeout");
        expect(out, "pki");
        snprintf(command, sizeof command, "command -v %s >/dev/null && ! %s -n %s/out", shell,
                 shell, dir);
        assert_int_not_equal(system(command), 0);
    }
}

/* ---- files ---- */

static void check_tells_what_is_in_order(void **state)
{
    (void)state;
    assert_int_equal(run(W("check"), W("good")), EXIT_OK);
    expect(out, "ok  every line of ");
    expect(out, "ok  shared secret is there");
    assert_string_equal(err, "");
    assert_int_equal(run(W("check"), W("bad")), EXIT_CONFIG);
    expect(err, "bad.conf:2: unknown key in [tunnel]: \"gatewya\" - did you mean \"gateway\"?");
    assert_int_equal(run(W("check"), W("bad"), W("--json")), EXIT_CONFIG);
    assert_string_equal(err, "");
    json_t *check = json_loads(out, 0, NULL);
    assert_true(json_is_false(json_object_get(check, "good")));
    const json_t *fault = json_array_get(json_object_get(check, "faults"), 0);
    assert_int_equal(json_integer_value(json_object_get(fault, "line")), 2);
    assert_string_equal(json_string_value(json_object_get(fault, "text")), "gatewya");
    json_decref(check);
    assert_int_equal(run(W("check"), W("good"), W("-j")), EXIT_OK);
    expect(out, "\"good\": true");
    assert_int_equal(run(W("check"), W("nowhere")), EXIT_CONFIG);
    expect(err, "there is no such file");
    expect(err, "shrike config");
}

static void printed_configs_read_well(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof path, "%s/out", dir);
    assert_int_equal(run(W("config"), W("gateway")), EXIT_OK);
    expect(out, "[gateway]");
    put("printed.conf", out);
    assert_int_equal(run(W("check"), W("printed")), EXIT_CONFIG);
    expect(err, "vpn.example.com.pem"); /* the files are missing, every line is fine */
    expect(err, "there is no such file");
}

/* ---- instances ---- */

static void nothing_running_is_3(void **state)
{
    (void)state;
    assert_int_equal(run(W("status")), EXIT_NOT_RUNNING);
    expect(err, "nothing is running");
    assert_int_equal(run(W("status"), W("good")), EXIT_NOT_RUNNING);
    expect(err, "good is not running");
    assert_int_equal(run(W("down")), EXIT_NOT_RUNNING);
    assert_int_equal(run(W("down"), W("good")), EXIT_NOT_RUNNING);
    assert_int_equal(run(W("rekey"), W("good")), EXIT_NOT_RUNNING);
    assert_int_equal(run(W("status"), W("--json")), EXIT_NOT_RUNNING);
    json_t *all = json_loads(out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(all, "version")), 1);
    assert_int_equal(json_array_size(json_object_get(all, "instances")), 0);
    json_decref(all);
}

static void up_tells_what_was_established(void **state)
{
    (void)state;
    if (!is_root())
        return;
    assert_int_equal(run(W("up"), W("good"), W("--wait")), EXIT_OK);
    expect(out,
           "good: connected to vpn.example.com (192.0.2.1:4500) in 12.5 ms and 4 messages, "
           "address 10.99.0.7, IKE aes256gcm16-prfsha384-x25519, ESP aes256gcm16-esn in UDP\n");
    assert_int_equal(run(W("up"), W("good")), EXIT_OK);
    expect(out, "good is up already");
    assert_int_equal(run(W("up"), W("good"), W("--foreground")), EXIT_FAILED);
    assert_int_equal(run(W("status")), EXIT_OK);
    expect(out, "good  established");
    expect(out, "aes256gcm16-esn x25519 in UDP, in 1.2 MB (1000 packets), out 999 B (10 packets)");
    expect(out, "NAT before us");
    expect(out, "3 replayed");
    expect(out, "drops esp.in_replay 3");
    expect(out, "something to look at");
    assert_null(strstr(out, "in_spi"));
    assert_null(strchr(out, '\033'));
    assert_int_equal(run(W("status"), W("--json")), EXIT_OK);
    json_t *status = json_loads(out, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(status, "name")), "good");
    assert_int_equal(json_array_size(json_object_get(status, "tunnels")), 1);
    json_decref(status);
    assert_int_equal(run(W("rekey")), EXIT_OK);
    expect(out, "good: new keys for the traffic\ngood: new keys for the IKE SA\n");
    assert_int_equal(run(W("rekey"), W("good"), W("--ike")), EXIT_OK);
    assert_string_equal(out, "good: new keys for the IKE SA\n");
    assert_int_equal(run(W("rekey"), W("--child")), EXIT_OK);
    assert_string_equal(out, "good: new keys for the traffic\n");
    assert_int_equal(run(W("down")), EXIT_OK);
    assert_string_equal(out, "good is down (1 tunnel closed)\n");
    assert_int_equal(run(W("status"), W("good")), EXIT_NOT_RUNNING);
}

static void several_instances_need_a_name(void **state)
{
    (void)state;
    if (!is_root())
        return;
    assert_int_equal(run(W("up"), W("good")), EXIT_OK);
    expect(out, "good is starting");
    assert_int_equal(run(W("up"), W("other")), EXIT_OK);
    assert_int_equal(run(W("down")), EXIT_USAGE);
    expect(err, "several are running");
    assert_int_equal(run(W("status"), W("--json")), EXIT_OK);
    json_t *all = json_loads(out, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(all, "instances")), 2);
    json_decref(all);
    char file[64];
    snprintf(file, sizeof file, "%s/other.conf", dir);
    assert_int_equal(run(W("down"), file), EXIT_OK);
    assert_int_equal(run(W("down"), W("good")), EXIT_OK);
}

static void failures_have_their_own_codes(void **state)
{
    (void)state;
    if (!is_root())
        return;
    assert_int_equal(run(W("up"), W("wrongpsk"), W("--wait")), EXIT_AUTH);
    expect(err, "wrongpsk: vpn.example.com refused us: is the shared secret the same?");
    assert_int_equal(run(W("status"), W("wrongpsk")), EXIT_NOT_RUNNING);
    assert_int_equal(run(W("up"), W("silent"), W("-w")), EXIT_UNREACHABLE);
    assert_int_equal(run(W("up"), W("picky"), W("-w")), EXIT_MISMATCH);
    assert_int_equal(run(W("up"), W("never"), W("-w"), W("-t"), W("1s")), EXIT_UNREACHABLE);
    expect(err, "not established after 1 seconds");
    assert_int_equal(run(W("status"), W("never")), EXIT_NOT_RUNNING);
    assert_int_equal(run(W("up"), W("broken"), W("--wait")), EXIT_PERMISSION);
    expect(err, "/dev/net/tun is missing");
    assert_int_equal(run(W("up"), W("bad")), EXIT_CONFIG);
    expect(err, "did you mean \"gateway\"?");
    assert_int_equal(run(W("up"), W("good"), W("--timeout=never")), EXIT_USAGE);
    assert_int_equal(run(W("gateway"), W("-c"), W("good")), EXIT_USAGE);
    expect(err, "is a client's file");
}

static void a_gateway_file_may_run_in_the_background(void **state)
{
    (void)state;
    if (!is_root())
        return;
    assert_int_equal(run(W("up"), W("gateway")), EXIT_OK);
    assert_int_equal(run(W("status"), W("gateway")), EXIT_OK);
    expect(out, "gateway  serving");
    expect(out, "PEER");
    expect(out, "vpn.example.com");
    assert_int_equal(run(W("down"), W("gateway")), EXIT_OK);
}

static void long_lists_come_in_pages(void **state)
{
    (void)state;
    if (!is_root())
        return;
    assert_int_equal(run(W("up"), W("many")), EXIT_OK);
    assert_int_equal(run(W("status"), W("many"), W("--json")), EXIT_OK);
    char path[64];
    snprintf(path, sizeof path, "%s/out", dir);
    json_t *status = json_load_file(path, 0, NULL), *tunnels = json_object_get(status, "tunnels");
    assert_int_equal(json_array_size(tunnels), 600);
    for (size_t i = 0; i < 600; i++)
        assert_int_equal(json_integer_value(json_object_get(json_array_get(tunnels, i), "id")),
                         i + 1);
    assert_null(json_object_get(status, "more_tunnels"));
    json_decref(status);
    assert_int_equal(run(W("down"), W("many")), EXIT_OK);
}

static void a_socket_nobody_serves_is_not_running(void **state)
{
    (void)state;
    put("run/dead.sock", "");
    assert_int_equal(run(W("status"), W("dead")), EXIT_NOT_RUNNING);
    assert_int_equal(run(W("status")), EXIT_NOT_RUNNING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_lists_every_verb),
        cmocka_unit_test(versions_are_printed),
        cmocka_unit_test(wrong_words_are_usage),
        cmocka_unit_test(completions_are_well_formed),
        cmocka_unit_test(check_tells_what_is_in_order),
        cmocka_unit_test(printed_configs_read_well),
        cmocka_unit_test(nothing_running_is_3),
        cmocka_unit_test(up_tells_what_was_established),
        cmocka_unit_test(several_instances_need_a_name),
        cmocka_unit_test(failures_have_their_own_codes),
        cmocka_unit_test(a_gateway_file_may_run_in_the_background),
        cmocka_unit_test(long_lists_come_in_pages),
        cmocka_unit_test(a_socket_nobody_serves_is_not_running),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
