/* reload: what runs reads its configuration again, and says what came of it. */
#include "cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longer than what the monitor waits for (run/changeover.c). */
enum { RELOAD_MS = 120000 };

/* ---- what was done */

static void print_options(const json_t *report)
{
    size_t i;
    const json_t *c;
    json_array_foreach(json_object_get(report, "changed"), i, c)
    {
        const char *before = text_of(c, "before"), *after = text_of(c, "after");
        printf("  [%s] %s: %s, was %s\n", text_of(c, "section"), text_of(c, "option"),
               *after ? after : "not set", *before ? before : "not set");
    }
}

static void print_names(const json_t *clients, const char *what)
{
    char key[32];
    size_t i;
    const json_t *name, *names = json_object_get(clients, what);
    snprintf(key, sizeof key, "%s_count", what);
    uint64_t count = number_of(clients, key);
    if (!count)
        return;
    printf("  %s %llu client%s:", what, (unsigned long long)count, count == 1 ? "" : "s");
    json_array_foreach(names, i, name) printf("%s %s", i ? "," : "", json_string_value(name));
    printf("%s\n", count > json_array_size(names) ? " ..." : "");
}

static void print_credentials(const json_t *report)
{
    uint64_t secrets = number_of(report, "secrets");
    if (secrets)
        printf("  %llu shared secret%s other than before\n", (unsigned long long)secrets,
               secrets == 1 ? " is" : "s are");
    if (json_is_true(json_object_get(report, "certificate")))
        printf("  our certificate is another: the next handshakes show it\n");
    if (json_is_true(json_object_get(report, "authorities")))
        printf("  the authorities are other ones: the next handshakes go by them\n");
}

static bool changes_nothing(const json_t *report)
{
    const json_t *clients = json_object_get(report, "clients");
    return !json_array_size(json_object_get(report, "changed")) &&
           !number_of(clients, "added_count") && !number_of(clients, "removed_count") &&
           !number_of(clients, "changed_count") && !number_of(report, "secrets") &&
           !json_is_true(json_object_get(report, "certificate")) &&
           !json_is_true(json_object_get(report, "authorities"));
}

static void print_tunnels(const json_t *report)
{
    size_t i;
    const json_t *event, *list = json_object_get(report, "ended_tunnels");
    uint64_t stayed = number_of(report, "stayed"), ended = number_of(report, "ended");
    if (stayed || ended)
        printf("  %llu tunnel%s stay%s, %llu ended\n", (unsigned long long)stayed,
               stayed == 1 ? "" : "s", stayed == 1 ? "s" : "", (unsigned long long)ended);
    json_array_foreach(list, i, event)
        printf("    %s: %s\n", text_of(event, "peer_id"),
               *text_of(event, "text") ? text_of(event, "text") : text_of(event, "error"));
    if (ended > json_array_size(list))
        printf("    ...; the log has all\n");
}

static void print_report(const json_t *report)
{
    size_t i;
    const json_t *clients = json_object_get(report, "clients"), *warning;
    printf("%s%s%s: %s %s\n", bold(), text_of(report, "name"), plain(),
           changes_nothing(report) ? "nothing has changed in" : "follows", text_of(report, "file"));
    print_options(report);
    print_names(clients, "added");
    print_names(clients, "removed");
    print_names(clients, "changed");
    print_credentials(report);
    print_tunnels(report);
    fflush(stdout);
    json_array_foreach(json_object_get(report, "warnings"), i, warning)
        say("%s", json_string_value(warning));
}

/* ---- why not */

static int print_refusal(const struct place *place, const char *error, const json_t *why)
{
    size_t i;
    const json_t *fault;
    const char *what = *text_of(why, "what") ? text_of(why, "what") : error;
    const char *next = *text_of(why, "next") ? text_of(why, "next") : NULL;
    json_array_foreach(json_object_get(why, "faults"), i, fault)
        say("%s", json_string_value(fault));
    bool configuration = json_is_true(json_object_get(why, "configuration"));
    return say_failed(configuration ? EXIT_CONFIG : EXIT_FAILED, next, "%s: not reloaded: %s",
                      place->name, what);
}

static int print_json(json_t *object, const char *error)
{
    if (error) {
        json_object_set_new(object, "version", json_integer(1));
        json_object_set_new(object, "error", json_string(error));
    }
    json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    printf("\n");
    if (!error)
        return EXIT_OK;
    return json_is_true(json_object_get(object, "configuration")) ? EXIT_CONFIG : EXIT_FAILED;
}

static int tell(const struct use *use, const struct place *place, const char *error, json_t *reply)
{
    if (use_option(use, "json"))
        return print_json(reply, error);
    if (error)
        return print_refusal(place, error, reply);
    print_report(reply);
    return EXIT_OK;
}

int verb_reload(const struct use *use)
{
    struct place place;
    int code = 0;
    bool continues;
    json_t *reply = NULL;
    char *error = NULL;
    const char *dir = use_option(use, "run-dir");
    if (dir)
        setenv("SHRIKE_RUN_DIR", dir, 1);
    if ((code = place_find(use, use->word[0], &place)))
        return code;
    struct ctl_call *call = place_connect(&place, &code);
    if (!call)
        return code;
    int err = ctl_send(call, "Reload", NULL, false);
    if (!err)
        err = ctl_receive(call, RELOAD_MS, &reply, &error, &continues);
    if (err)
        code = say_failed(EXIT_FAILED, "its log says more", "%s did not say what came of it: %s",
                          place.name, err_sentence(err));
    else
        code = tell(use, &place, error, reply);
    json_decref(reply);
    free(error);
    ctl_hang_up(call);
    return code;
}
