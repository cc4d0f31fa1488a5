/* gateway and up: from a file to a running instance. */
#include "cli/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { READY_MS = 30000, WAIT_SECONDS = 75, LOG_MAX = 4 << 20 };

/* ---- reading the file ---- */

/* The configuration, read and checked; NULL with *code set after all faults were said. */
static struct conf *load(const char *file, int *code)
{
    struct conf *conf = NULL;
    struct conf_faults faults = {0};
    if (crypto_init()) {
        *code = say_failed(EXIT_FAILED, NULL, "%s", err_sentence(ERR_CRYPTO));
        return NULL;
    }
    int err = conf_load(file, &conf, &faults);
    if (!err && (err = conf_check(conf, time(NULL), &faults))) {
        conf_free(conf);
        conf = NULL;
    }
    say_faults(&faults);
    if (err)
        *code = access(file, R_OK) && errno == EACCES ? EXIT_PERMISSION : EXIT_CONFIG;
    return conf;
}

static int need_root(const struct use *use)
{
    if (geteuid() == 0)
        return 0;
    return say_failed(EXIT_PERMISSION, "try with sudo",
                      "%s needs root: it opens a TUN device and sets addresses and routes",
                      use->verb->name);
}

static void apply_options(const struct use *use, struct conf *conf)
{
    const char *dir = use_option(use, "run-dir");
    conf->told_level = use_option(use, "debug");
    conf->told_run_dir = dir;
    if (conf->told_level)
        conf->log_level = LEVEL_DEBUG;
    if (dir)
        snprintf(conf->run_dir, sizeof conf->run_dir, "%s", dir);
}

int verb_gateway(const struct use *use)
{
    char file[CONF_PATH_MAX];
    int code = need_root(use);
    if (code)
        return code;
    const char *given = use_option(use, "config");
    if (given && !access(given, F_OK) && !strchr(given, '/'))
        snprintf(file, sizeof file, "%s", given);
    else
        place_file(given ? given : "gateway", file);
    struct conf *conf = load(file, &code);
    if (!conf)
        return code;
    if (!conf->gateway) {
        conf_free(conf);
        return say_failed(EXIT_USAGE, "shrike up FILE starts it", "%s is a client's file", file);
    }
    apply_options(use, conf);
    return use->host->run_monitor(conf, -1);
}

/* ---- waiting for an established tunnel ---- */

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void take_down(const struct place *place)
{
    int err;
    struct ctl_call *call = ctl_connect(place->socket, &err);
    json_t *reply = NULL;
    char *error = NULL;
    bool continues;
    if (!call || ctl_send(call, "Down", NULL, false))
        return;
    /* the answer, then the end of the connection when all is put back */
    while (!ctl_receive(call, 10000, &reply, &error, &continues)) {
        json_decref(reply);
        free(error);
    }
    ctl_hang_up(call);
}

static void tell_progress(const struct place *place, const json_t *event)
{
    static bool told;
    if (told || strcmp(text_of(event, "event"), "retransmit") || !isatty(STDERR_FILENO))
        return;
    told = true;
    say("%s: no answer yet from %s, trying on", place->name, text_of(event, "remote"));
}

static int report_failure(const struct place *place, const json_t *event)
{
    const char *text = text_of(event, "text"), *error = text_of(event, "error");
    return say_failed(exit_code_of(error), NULL, "%s: %s", place->name,
                      *text    ? text
                      : *error ? error
                               : "the tunnel could not be established");
}

/* Reads events until the last one. -1: the time is over. */
static int follow(struct ctl_call *call, const struct place *place, const char *host,
                  time_t seconds)
{
    time_t until = time(NULL) + seconds;
    while (!interrupted && time(NULL) < until) {
        json_t *event = NULL;
        char *error = NULL;
        bool continues;
        int code = -1, err = ctl_receive(call, 250, &event, &error, &continues);
        if (err == ERR_TIMEOUT)
            continue;
        if (err)
            return say_failed(EXIT_FAILED, NULL, "%s ended while it was starting; its log says why",
                              place->name);
        if (error)
            code = say_failed(EXIT_FAILED, text_of(event, "next"), "%s: %s", place->name,
                              *text_of(event, "what") ? text_of(event, "what") : error);
        else if (!strcmp(text_of(event, "event"), "established")) {
            print_established(place->name, event, host);
            code = EXIT_OK;
        } else if (!strcmp(text_of(event, "event"), "failed") && !continues)
            code = report_failure(place, event);
        else
            tell_progress(place, event);
        json_decref(event);
        free(error);
        if (code >= 0)
            return code;
        if (!continues)
            return say_failed(EXIT_FAILED, NULL, "%s: the events ended early", place->name);
    }
    return -1;
}

static int wait_established(const struct place *place, const char *host, time_t seconds)
{
    int code = 0;
    struct ctl_call *call = place_connect(place, &code);
    if (!call)
        return code;
    catch_signals();
    if (ctl_send(call, "Up", NULL, true))
        code =
            say_failed(EXIT_FAILED, NULL, "%s does not listen on its control socket", place->name);
    else
        code = follow(call, place, host, seconds);
    ctl_hang_up(call);
    if (code == -1)
        code = interrupted ? say_failed(EXIT_FAILED, NULL, "%s: interrupted", place->name)
                           : say_failed(EXIT_UNREACHABLE, "is UDP 500 and 4500 open on the way?",
                                        "%s: not established after %lld seconds", place->name,
                                        (long long)seconds);
    if (code)
        take_down(place);
    return code;
}

/* ---- the background process ---- */

static int open_log(const struct conf *conf, char path[static CONF_PATH_MAX])
{
    struct stat st;
    mkdir(conf->run_dir, 0755); /* when it cannot be made, open() says so */
    if (snprintf(path, CONF_PATH_MAX, "%s/%s.log", conf->run_dir, conf->tunnel.name) >=
        CONF_PATH_MAX)
        return -1;
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && !fstat(fd, &st) && st.st_size > LOG_MAX && ftruncate(fd, 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

static _Noreturn void be_background(const struct cli_host *host, struct conf *conf, int log,
                                    int ready)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    setsid();
    /* It stays in this folder: paths in the file may start here, and a restarted keys process reads
     * them again. */
    if (dup2(null, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
        dup2(log, STDERR_FILENO) < 0)
        _exit(EXIT_FAILED);
    int code = host->run_monitor(conf, ready);
    fflush(NULL);
    _exit(code);
}

/* What the process wrote before it gave up: its reason. */
static void copy_log(int log, off_t from)
{
    char text[4096];
    ssize_t n;
    while ((n = pread(log, text, sizeof text, from)) > 0) {
        from += n;
        if (fwrite(text, 1, (size_t)n, stderr) != (size_t)n)
            return;
    }
}

/* Waits for the octet that says the control socket answers. 0, or the exit code of what died. */
static int await_ready(pid_t child, int ready, int log, off_t log_from, const char *name)
{
    struct pollfd p = {.fd = ready, .events = POLLIN};
    char octet;
    int n, status = 0;
    while ((n = poll(&p, 1, READY_MS)) < 0 && errno == EINTR)
        ;
    if (n == 0) {
        kill(child, SIGTERM);
        return say_failed(EXIT_FAILED, NULL, "%s did not become ready in %d seconds", name,
                          READY_MS / 1000);
    }
    if (read(ready, &octet, 1) == 1)
        return 0;
    copy_log(log, log_from);
    waitpid(child, &status, 0);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
    if (WIFSIGNALED(status))
        say("%s was ended by signal %d", name, WTERMSIG(status));
    return code ? code : EXIT_FAILED;
}

/* Starts conf in the background; frees it. */
static int start(const struct use *use, struct conf *conf)
{
    char path[CONF_PATH_MAX] = "", name[CONF_NAME_MAX];
    int ready[2];
    snprintf(name, sizeof name, "%s", conf->tunnel.name);
    int log = open_log(conf, path);
    if (log < 0 || pipe2(ready, O_CLOEXEC)) {
        int code = errno == EACCES ? EXIT_PERMISSION : EXIT_FAILED;
        say_failed(code, NULL, "the log %s cannot be opened: %s", path, strerror(errno));
        conf_free(conf);
        return code;
    }
    off_t from = lseek(log, 0, SEEK_END);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(ready[0]);
        be_background(use->host, conf, log, ready[1]);
    }
    close(ready[1]);
    conf_free(conf);
    int code = child < 0 ? say_failed(EXIT_FAILED, NULL, "fork: %s", strerror(errno))
                         : await_ready(child, ready[0], log, from, name);
    close(ready[0]);
    close(log);
    return code;
}

/* ---- up ---- */

static bool runs(const struct place *place)
{
    int err;
    struct ctl_call *call = ctl_connect(place->socket, &err);
    ctl_hang_up(call);
    return call != NULL;
}

static int read_timeout(const struct use *use, time_t *seconds)
{
    const char *given = use_option(use, "timeout");
    uint64_t v = WAIT_SECONDS;
    if (given && (!conf_duration(given, &v) || !v || v > 86400))
        return say_usage(use->verb, "--timeout \"%s\" is no time such as 30s or 2m", given);
    *seconds = (time_t)v;
    return 0;
}

static int after_start(const struct use *use, const struct place *place, const char *host,
                       bool already, time_t seconds)
{
    if (use_option(use, "wait") && *host)
        return wait_established(place, host, seconds);
    if (already)
        printf("%s is up already\n", place->name);
    else
        printf("%s is starting; `shrike status %s` shows how it goes\n", place->name, place->name);
    return EXIT_OK;
}

int verb_up(const struct use *use)
{
    struct place place = {0};
    char host[256];
    time_t seconds = 0;
    int code = need_root(use);
    if (code || (code = read_timeout(use, &seconds)))
        return code;
    if (strchr(use->word[0], '/') || access(use->word[0], R_OK))
        place_file(use->word[0], place.file);
    else
        snprintf(place.file, sizeof place.file, "./%.240s", use->word[0]);
    struct conf *conf = load(place.file, &code);
    if (!conf)
        return code;
    apply_options(use, conf);
    snprintf(place.name, sizeof place.name, "%s", conf->tunnel.name);
    snprintf(host, sizeof host, "%s", conf->remote_host);
    if (conf_control_path(conf, place.socket)) {
        conf_free(conf);
        return say_failed(EXIT_CONFIG, NULL, "the control socket's path is too long");
    }
    bool already = runs(&place);
    if (already) {
        conf_free(conf);
        if (use_option(use, "foreground"))
            return say_failed(EXIT_FAILED, "shrike down ends it", "%s is up already", place.name);
    } else if (use_option(use, "foreground")) {
        return use->host->run_monitor(conf, -1);
    } else if ((code = start(use, conf))) {
        return code;
    }
    return after_start(use, &place, host, already, seconds);
}
