/* status: fetching and printing. */
#include "cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { INSTANCES = 32 };

void print_established(const char *name, const json_t *event, const char *host)
{
    const json_t *t = json_object_get(event, "tunnel_status");
    const json_t *child = json_array_get(json_object_get(t, "children"), 0);
    const char *remote = text_of(t, "remote"), *ip4 = text_of(t, "ip4"), *ip6 = text_of(t, "ip6");
    double ms = json_object_get(event, "elapsed_ms") ? real_of(event, "elapsed_ms")
                                                     : real_of(t, "established_ms");
    uint64_t messages = number_of(event, "messages");
    if (!messages)
        messages = number_of(t, "messages");
    printf("%s: %s %s (%s) in %.1f ms and %llu messages", name,
           json_is_true(json_object_get(event, "already")) ? "connected already to"
                                                           : "connected to",
           host, *remote ? remote : text_of(event, "remote"), ms, (unsigned long long)messages);
    if (*ip4 || *ip6)
        printf(", address %s%s%s", ip4, *ip4 && *ip6 ? " " : "", ip6);
    printf(", IKE %s", text_of(t, "suite"));
    if (child)
        printf(", %s %s%s", strcmp(text_of(child, "protocol"), "ah") ? "ESP" : "AH",
               text_of(child, "suite"), json_is_true(json_object_get(t, "udp")) ? " in UDP" : "");
    printf("\n");
    fflush(stdout);
}

/* ---- text ---- */

static void print_list(const char *head, const json_t *list)
{
    size_t i;
    const json_t *v;
    if (!json_array_size(list))
        return;
    printf("%s", head);
    json_array_foreach(list, i, v) printf("%s%s", i ? ", " : " ", json_string_value(v));
}

static void print_child(const json_t *c, bool udp)
{
    char in[32], out[32];
    const json_t *drops = json_object_get(c, "drops");
    const char *name = text_of(c, "name"); /* of a client's further child */
    printf(
        "  %-5s %s%s%s%s%s%s%s, in %s (%llu packets), out %s (%llu packets)\n",
        strcmp(text_of(c, "protocol"), "ah") ? "ESP" : "AH", name, *name ? ": " : "",
        text_of(c, "suite"), *text_of(c, "ke") ? " " : "", text_of(c, "ke"), udp ? " in UDP" : "",
        strcmp(text_of(c, "mode"), "transport") ? "" : " in transport mode",
        print_octets(number_of(c, "in_bytes"), in), (unsigned long long)number_of(c, "in_packets"),
        print_octets(number_of(c, "out_bytes"), out),
        (unsigned long long)number_of(c, "out_packets"));
    uint64_t replay = number_of(drops, "replay"), integrity = number_of(drops, "integrity"),
             source = number_of(drops, "source");
    if (replay || integrity || source)
        printf("        dropped: %llu replayed, %llu not authentic, %llu with a wrong source\n",
               (unsigned long long)replay, (unsigned long long)integrity,
               (unsigned long long)source);
}

/* Only a NAT before us is certain: where the peer asks for ESP in UDP it says so by looking like
 * one behind a NAT (RFC 7296 section 2.23). */
static void print_nat(const json_t *t)
{
    if (!strcmp(text_of(t, "nat"), "local") || !strcmp(text_of(t, "nat"), "both"))
        printf(", NAT before us");
}

/* One tunnel at length: what a client has. */
static void print_tunnel(const json_t *t)
{
    char span[32];
    size_t i;
    const json_t *c, *rekeys = json_object_get(t, "rekeys");
    bool known = *text_of(t, "peer_id");
    printf("  peer  %s%s%s", text_of(t, "peer_id"), known ? " at " : "", text_of(t, "remote"));
    print_nat(t);
    printf("\n");
    if (*text_of(t, "ip4") || *text_of(t, "ip6"))
        printf("  addr  %s%s%s\n", text_of(t, "ip4"), *text_of(t, "ip4") ? " " : "",
               text_of(t, "ip6"));
    /* nothing is chosen before the first answer */
    bool chosen = strcmp(text_of(t, "state"), "init-sent") != 0;
    printf("  IKE   %s%s%s", chosen ? text_of(t, "suite") : "", chosen ? ", " : "",
           text_of(t, "state"));
    if (json_object_get(t, "age_s"))
        printf(" for %s", print_span(number_of(t, "age_s"), span));
    if (json_object_get(t, "rekey_in_s"))
        printf(", next rekey in %s", print_span(number_of(t, "rekey_in_s"), span));
    printf(", rekeyed %llu (IKE) %llu (ESP)\n", (unsigned long long)number_of(rekeys, "ike"),
           (unsigned long long)number_of(rekeys, "child"));
    json_array_foreach(json_object_get(t, "children"), i, c)
        print_child(c, json_is_true(json_object_get(t, "udp")));
}

static void sum_traffic(const json_t *t, uint64_t *in, uint64_t *out)
{
    size_t i;
    const json_t *c;
    *in = *out = 0;
    json_array_foreach(json_object_get(t, "children"), i, c)
    {
        *in += number_of(c, "in_bytes");
        *out += number_of(c, "out_bytes");
    }
}

/* Many tunnels as a table: what a gateway has. */
static void print_table(const json_t *tunnels)
{
    size_t i;
    const json_t *t;
    printf("  %s%-24s %-22s %-16s %-9s %9s %9s  %s%s\n", bold(), "PEER", "FROM", "ADDRESS", "SINCE",
           "IN", "OUT", "ALGORITHMS", plain());
    json_array_foreach(tunnels, i, t)
    {
        uint64_t in, out;
        char a[32], b[32], span[32];
        sum_traffic(t, &in, &out);
        const char *peer = *text_of(t, "peer") ? text_of(t, "peer") : text_of(t, "peer_id");
        const char *ip = *text_of(t, "ip4") ? text_of(t, "ip4") : text_of(t, "ip6");
        bool up = !strcmp(text_of(t, "state"), "established");
        printf("  %-24s %-22s %-16s %-9s %9s %9s  %s\n", peer, text_of(t, "remote"), ip,
               up ? print_span(number_of(t, "age_s"), span) : text_of(t, "state"),
               print_octets(in, a), print_octets(out, b), text_of(t, "suite"));
    }
}

static void print_pools(const json_t *status)
{
    size_t i;
    const json_t *p;
    json_array_foreach(json_object_get(status, "pools"), i, p)
        printf("%s %s %llu of %llu", i ? "," : "  pool", text_of(p, "prefix"),
               (unsigned long long)number_of(p, "used"), (unsigned long long)number_of(p, "size"));
    if (json_array_size(json_object_get(status, "pools")))
        printf(" in use\n");
}

static void print_event_line(const char *head, const json_t *event)
{
    char when[32] = "";
    time_t at = (time_t)number_of(event, "time");
    struct tm tm;
    if (at && localtime_r(&at, &tm))
        strftime(when, sizeof when, "%d %b %H:%M:%S ", &tm);
    printf("  %s%s%s %s%s%s%s\n", red(), head, plain(), when, text_of(event, "remote"),
           *text_of(event, "remote") ? ": " : "",
           *text_of(event, "text") ? text_of(event, "text") : text_of(event, "error"));
}

/* Counters with this prefix that are not zero, on one line. */
static void print_counters(const json_t *status, const char *head, const char *prefix, bool parts)
{
    const char *name;
    const json_t *part, *value;
    const char *part_name;
    bool some = false;
    size_t len = strlen(prefix);
    json_object_foreach((json_t *)(uintptr_t)json_object_get(status, "counters"), part_name, part)
    {
        json_object_foreach((json_t *)(uintptr_t)part, name, value)
        {
            if (strncmp(name, prefix, len) || json_integer_value(value) <= 0)
                continue;
            printf("%s %s%s%s %lld", some ? "," : head, parts ? part_name : "", parts ? "." : "",
                   name + len, (long long)json_integer_value(value));
            some = true;
        }
    }
    if (some)
        printf("\n");
}

/* Only while there is something to say. */
static void print_flood(const json_t *status)
{
    const json_t *flood = json_object_get(status, "flood");
    uint64_t bits = number_of(flood, "puzzle_bits");
    if (!json_is_true(json_object_get(flood, "cookies")))
        return;
    printf("  flood %llu half-open: strangers need a cookie",
           (unsigned long long)number_of(flood, "half_open"));
    if (bits)
        printf(" and solve a puzzle of %llu bits", (unsigned long long)bits);
    printf("\n");
}

static void print_reading(const json_t *status, time_t now)
{
    char span[32];
    time_t read = (time_t)number_of(status, "config_read");
    if (read)
        printf("  conf  %s, read %s ago\n", text_of(status, "file"),
               print_span(now > read ? (uint64_t)(now - read) : 0, span));
}

void print_status(const json_t *status)
{
    char span[32];
    size_t i;
    const json_t *v, *tunnels = json_object_get(status, "tunnels");
    const char *state = text_of(status, "state");
    bool gateway = !strcmp(text_of(status, "role"), "gateway");
    bool good = !strcmp(state, "established") || !strcmp(state, "serving");
    time_t now = time(NULL), since = (time_t)number_of(status, "since");
    uint64_t count = json_object_get(status, "tunnel_count") ? number_of(status, "tunnel_count")
                                                             : json_array_size(tunnels);
    printf("%s%s%s  %s%s%s  running for %s", bold(), text_of(status, "name"), plain(),
           good ? green() : red(), state, plain(),
           print_span(now > since ? (uint64_t)(now - since) : 0, span));
    if (gateway)
        printf("  %llu tunnel%s", (unsigned long long)count, count == 1 ? "" : "s");
    printf("\n");
    if (gateway && count)
        print_table(tunnels);
    json_array_foreach(gateway ? NULL : tunnels, i, v) print_tunnel(v);
    printf("  dev   %s", text_of(status, "interface"));
    if (number_of(status, "mtu"))
        printf(", MTU %llu", (unsigned long long)number_of(status, "mtu"));
    print_list(", DNS", json_object_get(status, "dns"));
    print_list(", listening on", json_object_get(status, "listen"));
    printf("\n");
    print_reading(status, now);
    print_pools(status);
    print_flood(status);
    print_counters(status, "  drops", "drop_", true);
    print_counters(status, "  refused", "refused_", false);
    if (!good && json_object_get(status, "last_error"))
        print_event_line("last failure", json_object_get(status, "last_error"));
    json_array_foreach(json_object_get(status, "refused"), i, v)
    {
        if (i < 5)
            print_event_line("refused", v);
    }
    if (json_array_size(json_object_get(status, "refused")))
        printf("  shrike explain says more about the last one, shrike explain --all about each\n");
    json_array_foreach(json_object_get(status, "warnings"), i, v)
        printf("  %swarning%s %s\n", red(), plain(), json_string_value(v));
}

/* ---- the verb ---- */

/* The statuses asked for, as an array; NULL with *code set. */
static json_t *fetch(const struct use *use, int *code)
{
    struct place all[INSTANCES];
    size_t count = 1;
    bool named = use->words > 0;
    if (named) {
        if ((*code = place_find(use, use->word[0], &all[0])))
            return NULL;
    } else {
        count = place_list(all, INSTANCES);
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        int err = 0;
        struct ctl_call *call =
            named ? place_connect(&all[i], code) : ctl_connect(all[i].socket, &err);
        if (err == ERR_PERMISSION)
            *code = say_failed(EXIT_PERMISSION, "try with sudo", "%s may not be asked by this user",
                               all[i].name);
        json_t *status = call ? place_status(call, &all[i], code) : NULL;
        if (status)
            json_array_append_new(list, status);
        ctl_hang_up(call);
    }
    if (!json_array_size(list) && !*code && !use_option(use, "json"))
        *code = say_failed(EXIT_NOT_RUNNING, "start one: shrike up NAME, or shrike gateway",
                           "nothing is running (no control socket answers in %s)", conf_run_dir());
    return list;
}

static void print_json(json_t *list, bool watch)
{
    json_t *whole = json_array_size(list) == 1
                        ? json_incref(json_array_get(list, 0))
                        : json_pack("{s:i, s:O}", "version", 1, "instances", list);
    size_t form = watch ? JSON_COMPACT : JSON_INDENT(2);
    json_dumpf(whole, stdout, form | JSON_REAL_PRECISION(15));
    printf("\n");
    json_decref(whole);
}

static int show_once(const struct use *use, bool watch)
{
    int code = 0;
    size_t i;
    const json_t *status;
    json_t *list = fetch(use, &code);
    if (watch && isatty(STDOUT_FILENO) && !use_option(use, "json"))
        printf("\033[H\033[2J");
    if (list && use_option(use, "json")) {
        print_json(list, watch);
        if (!json_array_size(list) && !code)
            code = EXIT_NOT_RUNNING;
    } else {
        json_array_foreach(list, i, status) print_status(status);
    }
    json_decref(list);
    fflush(stdout);
    return code;
}

int verb_status(const struct use *use)
{
    const char *dir = use_option(use, "run-dir"), *interval = use_option(use, "interval");
    uint64_t seconds = 1;
    if (dir)
        setenv("SHRIKE_RUN_DIR", dir, 1);
    if (interval && (!conf_duration(interval, &seconds) || !seconds || seconds > 3600))
        return say_usage(use->verb, "--interval \"%s\" is no time from 1s to 1h", interval);
    int code = show_once(use, use_option(use, "watch"));
    while (use_option(use, "watch") && !code) {
        sleep((unsigned)seconds);
        code = show_once(use, true);
    }
    return code;
}
