/* shrike pki as a user meets it: words in; files, text and an exit code out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

static char dir[] = "/tmp/shrike-pki-XXXXXX";
static char out[16384], err[16384];

static int divert(int fd, const char *path)
{
    int kept = dup(fd), to = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(kept >= 0 && to >= 0);
    dup2(to, fd);
    close(to);
    return kept;
}

static void restore(int fd, int kept, char *text, size_t size)
{
    ssize_t len = pread(fd, text, size - 1, 0);
    text[len > 0 ? len : 0] = '\0';
    dup2(kept, fd);
    close(kept);
}

/* One command line, in `dir`, words parted by blanks; `+` stands for a blank. */
static int run(const char *line)
{
    char text[512], *argv[32], *rest = text, *word;
    int argc = 0;
    snprintf(text, sizeof(text), "shrike pki %s", line);
    while ((word = strsep(&rest, " ")) && argc < 31) {
        for (char *c = word; *c; c++)
            *c = *c == '+' ? ' ' : *c;
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    fflush(stdout);
    fflush(stderr);
    int kept_out = divert(1, "out"), kept_err = divert(2, "err");
    int code = cli_main(argc, argv, NULL);
    fflush(stdout);
    fflush(stderr);
    restore(1, kept_out, out, sizeof(out));
    restore(2, kept_err, err, sizeof(err));
    return code;
}

static void has(const char *text, const char *words)
{
    if (!strstr(text, words))
        fail_msg("no \"%s\" in: %s", words, text);
}

static int mode_of(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (int)(info.st_mode & 0777) : -1;
}

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void from_nothing_to_files(void **state)
{
    (void)state;
    assert_int_equal(run("ca --name My+VPN+CA --out a"), EXIT_OK);
    assert_string_equal(out, "");
    has(err, "wrote a/ca.key (secret)\n");
    has(err, "next: shrike pki issue gateway vpn.example.com --ca a\n");
    assert_int_equal(mode_of("a"), 0700);
    assert_int_equal(mode_of("a/ca.key"), 0600);
    assert_int_equal(mode_of("a/ca.pem"), 0644);

    assert_int_equal(run("issue gateway vpn.example.com --san=192.0.2.1,2001:db8::1 --ca a"),
                     EXIT_OK);
    has(err, "next: in the gateway's file: cert = a/vpn.example.com.pem");
    assert_int_equal(mode_of("a/vpn.example.com.key"), 0600);
    assert_int_equal(run("issue client alice@example.com --ca a --out b --p12"), EXIT_OK);
    assert_int_equal(strlen(out), 25); /* five times four characters: the passphrase, for a pipe */
    assert_int_equal(mode_of("b/alice@example.com.p12"), 0600);
    assert_int_equal(mode_of("a/alice@example.com.p12"), -1);
    put("pass", out);
    assert_int_equal(run("show --passphrase-file pass b/alice@example.com.p12"), EXIT_OK);
    has(out, "name        email:alice@example.com\n");
    has(out, "subject     CN=My VPN CA\n");
    assert_int_equal(run("show a/vpn.example.com.pem a/ca.pem"), EXIT_OK);
    has(out, "name        DNS:192.0.2.1\n");
    has(out, "name        IP Address:192.0.2.1\n");
    has(out, "use         gateway\n");
    has(out, "use         certificate authority\n");
    has(out, "days left\n");
    assert_int_equal(run("show --json a/ca.pem"), EXIT_OK);
    has(out, "\"version\": 1");
    has(out, "\"key\": \"p256\"");
}

static void every_kind(void **state)
{
    (void)state;
    static const char *const kinds[] = {"p256", "p384", "rsa", "ed25519"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        char line[128];
        snprintf(line, sizeof(line), "ca --name CA --out k-%s --key %s --days 30", kinds[i],
                 kinds[i]);
        assert_int_equal(run(line), EXIT_OK);
        snprintf(line, sizeof(line), "issue client c --ca k-%s --key %s --p12 --legacy", kinds[i],
                 kinds[i]);
        assert_int_equal(run(line), EXIT_OK);
        snprintf(line, sizeof(line), "issue gateway g.example --ca k-%s --days 100", kinds[i]);
        assert_int_equal(run(line), EXIT_OK);
        has(err, "note: it ends with its CA, in 30 days instead of 100\n");
    }
}

static void nothing_is_lost(void **state)
{
    (void)state;
    assert_int_equal(run("ca --name One --out f"), EXIT_OK);
    assert_int_equal(run("ca --name Two --out f"), EXIT_FAILED);
    has(err, "f/ca.key exists already and was left alone; --force replaces it");
    assert_int_equal(run("show f/ca.pem"), EXIT_OK);
    has(out, "CN=One");
    assert_int_equal(run("ca --name Two --out f --force"), EXIT_OK);
    assert_int_equal(run("show f/ca.pem"), EXIT_OK);
    has(out, "CN=Two");
    /* one of three files is there: none is written */
    put("f/bob.p12", "mine");
    assert_int_equal(run("issue client bob --ca f --p12"), EXIT_FAILED);
    assert_int_equal(mode_of("f/bob.key"), -1);
    assert_int_equal(mode_of("f/bob.pem"), -1);
}

static void wrong_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int code;
        const char *says;
    } cases[] = {
        {"ca", EXIT_USAGE, "--name \"My VPN CA\""},
        {"ca --name", EXIT_USAGE, "--name needs a value"},
        {"ca My CA", EXIT_USAGE, ""},
        {"ca --name x --days 0", EXIT_USAGE, "not \"0\""},
        {"ca --name x --days 36501", EXIT_USAGE, "from 1 to 36500"},
        {"ca --name x --days 1y", EXIT_USAGE, "not \"1y\""},
        {"ca --name x --key dsa", EXIT_USAGE, "not \"dsa\""},
        {"ca --name x --p12", EXIT_USAGE, "no option \"--p12\""},
        {"ca --name x --out no/such/place", EXIT_FAILED, "the one above it does not exist"},
        {"issue", EXIT_USAGE, "issue gateway NAME"},
        {"issue server x", EXIT_USAGE, "issue gateway NAME"},
        {"issue client", EXIT_USAGE, "issue client NAME"},
        {"issue client ../x", EXIT_USAGE, "\"../x\" cannot be used"},
        {"issue client .x", EXIT_USAGE, "cannot be used"},
        {"issue client ca", EXIT_USAGE, "cannot be used"},
        {"issue client x --legacy", EXIT_USAGE, "--p12"},
        {"issue client x --ca nowhere", EXIT_FAILED, "make one with: shrike pki ca"},
        {"issue client a+b --ca w", EXIT_USAGE, "\"a b\" is not a host name"},
        {"issue client x --san y,,z --ca w", EXIT_USAGE, "is not a host name"},
        {"issue client keyid:x --ca w", EXIT_USAGE, "is not a host name"},
        {"issue client x --ca w --p12 --passphrase-file none", EXIT_FAILED, "cannot read"},
        {"issue client x --ca w --p12 --passphrase-file empty", EXIT_FAILED, "first line"},
        {"issue client x --ca swapped", EXIT_FAILED, "ca.key does not belong to ca.pem"},
        {"issue client x --ca leaf", EXIT_FAILED, "not a certificate authority"},
        {"issue client x --ca garbage", EXIT_FAILED, "no readable certificate"},
        {"issue client x --ca keyless", EXIT_FAILED, "ca.key does not exist"},
        {"show", EXIT_USAGE, "name one or more files"},
        {"show none.pem", EXIT_FAILED, "does not exist"},
        {"show w/ca.key", EXIT_FAILED, "it is a private key"},
        {"show empty", EXIT_FAILED, "no readable certificate"},
        {"show w/p.p12", EXIT_FAILED, "--passphrase-file"},
    };
    assert_int_equal(run("ca --name W --out w"), EXIT_OK);
    assert_int_equal(run("ca --name Other --out swapped"), EXIT_OK);
    assert_int_equal(run("issue client p --ca w --p12"), EXIT_OK);
    assert_int_equal(mkdir("leaf", 0700) | mkdir("garbage", 0700) | mkdir("keyless", 0700), 0);
    assert_int_equal(system("cp w/ca.pem swapped/ca.pem && cp w/p.pem leaf/ca.pem &&"
                            "cp w/p.key leaf/ca.key && cp w/ca.pem keyless/ca.pem"),
                     0);
    put("garbage/ca.pem", "no certificate\n");
    put("empty", "");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int code = run(cases[i].line);
        if (code != cases[i].code)
            fail_msg("%s: %d, %s", cases[i].line, code, err);
        has(err, cases[i].says);
        assert_string_equal(out, "");
    }
    assert_int_equal(mode_of("w/x.key"), -1);
}

static int enter(void **state)
{
    (void)state;
    return mkdtemp(dir) ? chdir(dir) : -1;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static int leave(void **state)
{
    (void)state;
    return chdir("/") | nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_nothing_to_files),
        cmocka_unit_test(every_kind),
        cmocka_unit_test(nothing_is_lost),
        cmocka_unit_test(wrong_lines),
    };

    return cmocka_run_group_tests(tests, enter, leave);
}
