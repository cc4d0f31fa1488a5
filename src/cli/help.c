/* help, version, config, check: verbs that start nothing. */
#include "cli/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int verb_version(const struct use *use)
{
    if (use_option(use, "json"))
        printf("{\"version\": 1, \"program\": \"%s\"}\n", SHRIKE_VERSION);
    else
        printf("shrike %s\n", SHRIKE_VERSION);
    return EXIT_OK;
}

static int overview(void)
{
    printf("Shrike - IKEv2 VPN for Linux: gateway and client in one program.\n\n"
           "%sUsage:%s shrike VERB [WORDS] [OPTIONS]\n\n",
           bold(), plain());
    for (size_t i = 0; i < verb_count; i++) {
        const struct verb *v = &verb_table[i];
        char head[64];
        snprintf(head, sizeof head, "%s%s%s", v->name, v->words ? " " : "",
                 v->words ? v->words : "");
        printf("  %-30s %s\n", head, v->summary);
    }
    printf("\nFirst steps:  shrike config client > /etc/shrike/office.conf; "
           "shrike check office; shrike up office --wait\n"
           "Manual:       man shrike\n");
    return EXIT_OK;
}

static void print_options(const struct verb *v)
{
    printf("\n%sOptions:%s\n", bold(), plain());
    for (const struct verb_option *o = v->options; o->name; o++) {
        char head[64];
        snprintf(head, sizeof head, "%c%c%s--%s%s%s", o->letter ? '-' : ' ',
                 o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        printf("  %-24s  %s\n", head, o->help);
    }
}

int verb_help(const struct use *use)
{
    if (!use->words)
        return overview();
    char name[64];
    bool found = false;
    snprintf(name, sizeof name, "%s%s%s", use->word[0], use->words > 1 ? " " : "",
             use->words > 1 ? use->word[1] : "");
    size_t len = strlen(name);
    for (size_t i = 0; i < verb_count; i++) {
        const struct verb *v = &verb_table[i];
        bool group = !strncmp(v->name, name, len) && v->name[len] == ' ';
        if (strcmp(v->name, name) && !group)
            continue;
        printf("%s%sshrike %s%s%s%s [OPTIONS]\n  %s.\n", found ? "\n" : "", bold(), v->name,
               plain(), v->words ? " " : "", v->words ? v->words : "", v->summary);
        if (v->text)
            printf("\n%s\n", v->text);
        if (v->options && !group)
            print_options(v);
        found = true;
    }
    if (found)
        return EXIT_OK;
    const char *names[32];
    size_t count = 0;
    for (; count < verb_count && count < ARRAY_LEN(names); count++)
        names[count] = verb_table[count].name;
    const char *near = conf_closest(name, names, count);
    return say_usage(NULL, "unknown verb \"%s\"%s%s%s", name, near ? " - did you mean \"" : "",
                     near ? near : "", near ? "\"?" : "");
}

int verb_config(const struct use *use)
{
    const char *role = use->word[0];
    bool gateway = !strcmp(role, "gateway");
    if (!gateway && strcmp(role, "client"))
        return say_usage(use->verb, "\"%s\" is neither gateway nor client", role);
    char *text = conf_default_text(gateway);
    if (!text)
        return say_failed(EXIT_FAILED, NULL, "%s", err_sentence(ERR_MEMORY));
    fputs(text, stdout);
    free(text);
    return fflush(stdout) ? say_failed(EXIT_FAILED, NULL, "stdout: %s", strerror(errno)) : EXIT_OK;
}

static json_t *fault_json(const struct conf_fault *f)
{
    json_t *out = json_pack("{s:s, s:i, s:s, s:s}", "file", f->file, "line", (int)f->line, "what",
                            f->what, "severity", f->warning ? "warning" : "fault");
    if (out && f->text[0])
        json_object_set_new(out, "text", json_string(f->text));
    if (out && f->next[0])
        json_object_set_new(out, "next", json_string(f->next));
    return out;
}

static void print_check_json(const char *file, bool good, const struct conf_faults *faults,
                             const struct conf_notes *notes)
{
    json_t *ok = json_array(), *bad = json_array();
    for (size_t i = 0; i < notes->count; i++)
        json_array_append_new(ok, json_string(notes->at[i]));
    for (size_t i = 0; i < faults->count && i < CONF_FAULTS_MAX; i++)
        json_array_append_new(bad, fault_json(&faults->at[i]));
    json_t *out = json_pack("{s:i, s:s, s:b, s:o, s:o}", "version", 1, "file", file, "good", good,
                            "notes", ok, "faults", bad);
    json_dumpf(out, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(out);
}

static void print_check(const char *file, bool good, const struct conf_faults *faults,
                        const struct conf_notes *notes)
{
    for (size_t i = 0; i < notes->count; i++)
        printf("%sok%s  %s\n", green(), plain(), notes->at[i]);
    fflush(stdout);
    size_t count = say_faults(faults);
    if (!good)
        say("%s: %zu fault%s", file, count, count == 1 ? "" : "s");
}

int verb_check(const struct use *use)
{
    char file[CONF_PATH_MAX];
    struct conf *conf;
    struct conf_faults faults = {0};
    struct conf_notes notes = {0};
    if (crypto_init())
        return say_failed(EXIT_FAILED, NULL, "%s", err_sentence(ERR_CRYPTO));
    /* any existing path is a file, also one without a slash */
    if (!access(use->word[0], F_OK))
        snprintf(file, sizeof file, "%s", use->word[0]);
    else
        place_file(use->word[0], file);
    int err = conf_load(file, &conf, &faults);
    if (!err) {
        err = conf_inspect(conf, time(NULL), &faults, &notes);
        conf_free(conf);
    }
    if (use_option(use, "json"))
        print_check_json(file, !err, &faults, &notes);
    else
        print_check(file, !err, &faults, &notes);
    return err ? EXIT_CONFIG : EXIT_OK;
}
