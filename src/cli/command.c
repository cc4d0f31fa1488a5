/* down, rekey: commands to what runs. */
#include "cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void take_run_dir(const struct use *use)
{
    const char *dir = use_option(use, "run-dir");
    if (dir)
        setenv("SHRIKE_RUN_DIR", dir, 1);
}

int verb_down(const struct use *use)
{
    struct place place;
    int code = 0;
    bool continues;
    json_t *rest = NULL;
    char *error = NULL;
    take_run_dir(use);
    if ((code = place_find(use, use->word[0], &place)))
        return code;
    struct ctl_call *call = place_connect(&place, &code);
    if (!call)
        return code;
    json_t *reply = place_ask(call, &place, "Down", NULL, &code);
    if (reply) {
        /* the connection ends when everything is put back */
        int err = ctl_receive(call, 15000, &rest, &error, &continues);
        uint64_t n = number_of(reply, "tunnels");
        if (err == ERR_TIMEOUT)
            code = say_failed(EXIT_FAILED, "its log says what it waits for",
                              "%s has not ended after 15 seconds", place.name);
        else
            printf("%s is down (%llu tunnel%s closed)\n", place.name, (unsigned long long)n,
                   n == 1 ? "" : "s");
    }
    json_decref(reply);
    json_decref(rest);
    free(error);
    ctl_hang_up(call);
    return code;
}

/* ---- rekey ---- */

struct rekeyed {
    uint64_t ike, child, failed;
};

/* Counts one event; a tunnel that goes down counts as failed. */
static void count_event(const json_t *event, struct rekeyed *n)
{
    const char *kind = text_of(event, "event");
    n->ike += !strcmp(kind, "rekeyed-ike");
    n->child += !strcmp(kind, "rekeyed-child");
    if (!strcmp(kind, "failed") || !strcmp(kind, "down")) {
        n->failed++;
        say("%s", text_of(event, "text"));
    }
}

static struct rekeyed await_rekeys(struct ctl_call *events, uint64_t started)
{
    struct rekeyed n = {0};
    time_t until = time(NULL) + 20;
    while (n.ike + n.child + n.failed < started && time(NULL) < until) {
        json_t *event = NULL;
        char *error = NULL;
        bool continues;
        int err = ctl_receive(events, 1000, &event, &error, &continues);
        if (!err && !error)
            count_event(event, &n);
        json_decref(event);
        free(error);
        if (err && err != ERR_TIMEOUT)
            break;
    }
    return n;
}

/* A second connection, listening before the command goes out, so that no event is missed. */
static struct ctl_call *open_events(const struct place *place, int *code)
{
    json_t *first = NULL;
    char *error = NULL;
    bool continues = false;
    struct ctl_call *events = place_connect(place, code);
    if (!events)
        return NULL;
    int err = ctl_send(events, "Watch", NULL, true);
    if (!err)
        err = ctl_receive(events, 5000, &first, &error, &continues);
    json_decref(first);
    if (err || error) {
        *code = say_failed(EXIT_FAILED, NULL, "%s does not report events: %s", place->name,
                           error ? error : err_sentence(err));
        ctl_hang_up(events);
        events = NULL;
    }
    free(error);
    return events;
}

/* One kind of keys on all tunnels of the instance. */
static int rekey_kind(struct ctl_call *call, struct ctl_call *events, const struct place *place,
                      const char *what, const char *keys)
{
    int code = 0;
    json_t *reply = place_ask(call, place, "Rekey", json_pack("{s:s}", "what", what), &code);
    if (!reply)
        return code;
    uint64_t started = number_of(reply, "started");
    json_decref(reply);
    if (!started)
        return say_failed(EXIT_NOT_RUNNING, NULL, "%s has no tunnel to rekey", place->name);
    struct rekeyed n = await_rekeys(events, started);
    uint64_t done = n.ike + n.child;
    if (done < started)
        return say_failed(EXIT_FAILED, "the old keys stay in use until they end; the log says more",
                          "%s: %llu of %llu rekeys of %s did not finish", place->name,
                          (unsigned long long)(started - done), (unsigned long long)started, keys);
    if (started == 1)
        printf("%s: new keys for %s\n", place->name, keys);
    else
        printf("%s: new keys for %s of %llu tunnels\n", place->name, keys,
               (unsigned long long)started);
    fflush(stdout);
    return EXIT_OK;
}

int verb_rekey(const struct use *use)
{
    struct place place;
    int code = 0;
    take_run_dir(use);
    if ((code = place_find(use, use->word[0], &place)))
        return code;
    bool ike = use_option(use, "ike"), child = use_option(use, "child");
    struct ctl_call *call = place_connect(&place, &code);
    struct ctl_call *events = call ? open_events(&place, &code) : NULL;
    if (events && (child || !ike))
        code = rekey_kind(call, events, &place, "child", "the traffic");
    if (events && !code && (ike || !child))
        code = rekey_kind(call, events, &place, "ike", "the IKE SA");
    ctl_hang_up(call);
    ctl_hang_up(events);
    return code;
}
