/* explain: a refused connection as a story a person can act on. */
#include "cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { INSTANCES = 32 };

struct findings {
    json_t *refusals; /* newest first, of all instances */
    size_t asked;     /* instances that answered */
    uint64_t nameless;
    int code;
};

/* ---- asking */

static void take_in(struct findings *f, const json_t *reply)
{
    size_t i;
    json_t *r;
    f->asked++;
    f->nameless += number_of(reply, "nameless");
    json_array_foreach(json_object_get(reply, "refusals"), i, r)
    {
        json_object_set(r, "role", json_object_get(reply, "role"));
        json_object_set(r, "instance", json_object_get(reply, "name"));
        size_t at = 0;
        while (at < json_array_size(f->refusals) &&
               number_of(json_array_get(f->refusals, at), "time") >= number_of(r, "time"))
            at++;
        json_array_insert(f->refusals, at, r);
    }
}

static void ask(struct findings *f, const struct place *place, const char *who)
{
    int err;
    struct ctl_call *call = ctl_connect(place->socket, &err);
    if (!call && err == ERR_PERMISSION)
        f->code = say_failed(EXIT_PERMISSION, "try with sudo", "%s may not be asked by this user",
                             place->name);
    if (!call)
        return;
    json_t *parameters = who ? json_pack("{s:s}", "who", who) : NULL;
    json_t *reply = place_ask(call, place, "Explain", parameters, &f->code);
    if (reply)
        take_in(f, reply);
    json_decref(reply);
    ctl_hang_up(call);
}

/* A word is the name of something that runs, or of somebody that it refused. */
static void look(struct findings *f, const char *word)
{
    struct place all[INSTANCES];
    size_t count = place_list(all, INSTANCES);
    const char *who = word && strcmp(word, "last") ? word : NULL;
    for (size_t i = 0; i < count && who; i++) {
        if (strcmp(all[i].name, who))
            continue;
        ask(f, &all[i], NULL);
        return;
    }
    for (size_t i = 0; i < count; i++)
        ask(f, &all[i], who);
}

/* ---- telling */

static const char *print_time(uint64_t at, bool with_day, char text[static 32])
{
    time_t t = (time_t)at;
    struct tm tm = {0};
    size_t len = 0;
    if (localtime_r(&t, &tm))
        len =
            with_day ? strftime(text, 32, "%d %b %H:%M:%S", &tm) : strftime(text, 32, "%H:%M", &tm);
    text[len] = 0;
    return text;
}

static void print_row(const char *head, const char *text)
{
    if (*text)
        printf("  %s%-9s%s %s\n", bold(), head, plain(), text);
}

/* Lists can be long: one proposal a line. */
static void print_lines(const char *head, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, ",");
        printf("  %s%-9s%s %.*s\n", bold(), head, plain(), (int)len, text);
        text += len;
        text += strspn(text, ", ");
        head = "";
    }
}

static void print_story(const json_t *r)
{
    char when[32], since[32];
    bool ours = strcmp(text_of(r, "role"), "gateway") != 0;
    const char *remote = text_of(r, "remote"), *step = text_of(r, "step");
    printf("%s%s %s%s%s%s%s%s", print_time(number_of(r, "time"), true, when), red(),
           ours ? "failed" : "refused", plain(), *step ? " at " : "", step,
           *remote ? (ours ? ", to " : ", from ") : "", remote);
    if (number_of(r, "count") > 1)
        printf(" (%llu times since %s)", (unsigned long long)number_of(r, "count"),
               print_time(number_of(r, "first"), false, since));
    printf("\n");
    if (*text_of(r, "client") && strcmp(text_of(r, "client"), text_of(r, "peer_id")))
        printf("  %s%-9s%s %s (%s)\n", bold(), "peer", plain(), text_of(r, "client"),
               text_of(r, "peer_id"));
    else
        print_row("peer", *text_of(r, "peer_id") ? text_of(r, "peer_id")
                          : ours                 ? ""
                                                 : "has not said yet who it is");
    print_row("step", text_of(r, "doing"));
    print_lines("offered", text_of(r, "offered"));
    print_lines("accepted", text_of(r, "accepted"));
    print_row("cause", text_of(r, "cause"));
    if (*text_of(r, "closest"))
        printf("  %s%-9s%s there is a client %s: is that the one?\n", bold(), "near", plain(),
               text_of(r, "closest"));
    print_row("fix", text_of(r, "fix"));
}

static int nothing_found(const struct findings *f, const char *word)
{
    if (f->code)
        return f->code;
    if (!f->asked)
        return say_failed(EXIT_NOT_RUNNING, "what was refused is forgotten at its end",
                          "nothing is running (no control socket answers in %s)", conf_run_dir());
    if (!word || !strcmp(word, "last"))
        return say_failed(EXIT_FAILED,
                          "a client that sees no answer at all does not reach this host: look at "
                          "UDP 500 and 4500",
                          "nothing was refused");
    if (f->nameless)
        return say_failed(EXIT_FAILED, "shrike explain --all shows them",
                          "nobody called %s was refused, but %llu before they said who they are",
                          word, (unsigned long long)f->nameless);
    return say_failed(EXIT_FAILED, NULL, "nobody called %s was refused", word);
}

static void print_all(const struct use *use, const struct findings *f, bool all)
{
    size_t i;
    const json_t *r;
    if (use_option(use, "json")) {
        json_t *whole = json_pack("{s:i, s:O}", "version", 1, "refusals", f->refusals);
        json_dumpf(whole, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
        printf("\n");
        json_decref(whole);
        return;
    }
    json_array_foreach(f->refusals, i, r)
    {
        if (i > 0 && !all)
            break;
        if (i > 0)
            printf("\n");
        print_story(r);
    }
}

int verb_explain(const struct use *use)
{
    const char *dir = use_option(use, "run-dir"), *word = use->word[0];
    struct findings f = {.refusals = json_array()};
    bool all = use_option(use, "all");
    if (dir)
        setenv("SHRIKE_RUN_DIR", dir, 1);
    look(&f, word);
    while (!all && json_array_size(f.refusals) > 1)
        json_array_remove(f.refusals, json_array_size(f.refusals) - 1);
    if (json_array_size(f.refusals) || use_option(use, "json"))
        print_all(use, &f, all);
    int code = json_array_size(f.refusals) ? EXIT_OK : nothing_found(&f, word);
    json_decref(f.refusals);
    return code;
}
