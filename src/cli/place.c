/* From a name or a file to a running instance and its control socket. */
#include "cli/verbs.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *conf_folder(void)
{
    const char *dir = getenv("SHRIKE_CONF_DIR");
    return dir && *dir ? dir : "/etc/shrike";
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static bool is_file_word(const char *word)
{
    return strchr(word, '/') || ends_with(word, ".conf");
}

/* Relative paths inside a file start at its folder, and a background process has no folder: so the
 * path is made absolute at once. */
void place_file(const char *word, char file[static CONF_PATH_MAX])
{
    char real[PATH_MAX];
    int n;
    if (is_file_word(word))
        n = snprintf(file, CONF_PATH_MAX, "%s", word);
    else if (!strcmp(word, "gateway"))
        n = snprintf(file, CONF_PATH_MAX, "%s/shrike.conf", conf_folder());
    else
        n = snprintf(file, CONF_PATH_MAX, "%s/%s.conf", conf_folder(), word);
    if (n >= 0 && n < CONF_PATH_MAX && realpath(file, real) && strlen(real) < CONF_PATH_MAX)
        memcpy(file, real, strlen(real) + 1);
}

static void place_of_name(const char *name, struct place *out)
{
    snprintf(out->name, sizeof out->name, "%s", name);
    snprintf(out->socket, sizeof out->socket, "%.180s/%.63s.sock", conf_run_dir(), out->name);
}

/* The file knows its name and its run folder, if it can be read. */
static bool place_of_file(struct place *out)
{
    struct conf *conf;
    struct conf_faults faults = {0};
    if (conf_load(out->file, &conf, &faults))
        return false;
    snprintf(out->name, sizeof out->name, "%s", conf->tunnel.name);
    bool ok = !conf_control_path(conf, out->socket);
    conf_free(conf);
    return ok;
}

size_t place_list(struct place *out, size_t max)
{
    size_t count = 0;
    DIR *dir = opendir(conf_run_dir());
    if (!dir)
        return 0;
    for (const struct dirent *e; count < max && (e = readdir(dir));) {
        size_t n = strlen(e->d_name);
        if (n <= 5 || n - 5 >= CONF_NAME_MAX || !ends_with(e->d_name, ".sock"))
            continue;
        char name[CONF_NAME_MAX];
        snprintf(name, sizeof name, "%.*s", (int)(n - 5), e->d_name);
        out[count] = (struct place){0};
        place_of_name(name, &out[count++]);
    }
    closedir(dir);
    return count;
}

static int only_one(const struct use *use, struct place *out)
{
    enum { MANY = 32 };
    struct place all[MANY];
    size_t count = place_list(all, MANY), alive = 0;
    char names[256] = "";
    for (size_t i = 0; i < count; i++) {
        int err;
        struct ctl_call *call = ctl_connect(all[i].socket, &err);
        if (!call && err != ERR_PERMISSION)
            continue;
        ctl_hang_up(call);
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, " %.63s", all[i].name);
        *out = all[i];
        alive++;
    }
    if (!alive)
        return say_failed(EXIT_NOT_RUNNING, "start one: shrike up NAME, or shrike gateway",
                          "nothing is running (no control socket answers in %s)", conf_run_dir());
    if (alive > 1)
        return say_usage(use->verb, "several are running, say which:%s", names);
    return 0;
}

int place_find(const struct use *use, const char *word, struct place *out)
{
    *out = (struct place){0};
    if (!word)
        return only_one(use, out);
    if (!is_file_word(word) && strlen(word) < CONF_NAME_MAX) {
        place_of_name(word, out);
        if (!access(out->socket, F_OK))
            return 0;
    }
    struct place named = *out;
    place_file(word, out->file);
    if (place_of_file(out))
        return 0;
    if (named.name[0]) {
        *out = named;
        return 0;
    }
    /* a file that does not read well may still run under its name */
    const char *base = strrchr(out->file, '/');
    char name[CONF_NAME_MAX];
    snprintf(name, sizeof name, "%.63s", base ? base + 1 : out->file);
    if (ends_with(name, ".conf"))
        name[strlen(name) - 5] = 0;
    place_of_name(name, out);
    return 0;
}

struct ctl_call *place_connect(const struct place *place, int *code)
{
    int err;
    struct ctl_call *call = ctl_connect(place->socket, &err);
    if (call)
        return call;
    if (err == ERR_NOT_FOUND)
        *code = say_failed(EXIT_NOT_RUNNING, NULL, "%s is not running (%s does not answer)",
                           place->name, place->socket);
    else if (err == ERR_PERMISSION)
        *code = say_failed(EXIT_PERMISSION, "try with sudo", "%s may not be asked by this user",
                           place->name);
    else
        *code = say_failed(EXIT_FAILED, NULL, "%s: %s", place->socket, err_sentence(err));
    return NULL;
}

static int say_error_reply(const struct place *place, const char *error, const json_t *parameters)
{
    const char *what = text_of(parameters, "what");
    int code = ends_with(error, ".NotConnected") ? EXIT_NOT_RUNNING : EXIT_FAILED;
    return say_failed(code, text_of(parameters, "next"), "%s: %s", place->name,
                      *what ? what : error);
}

enum { ANSWER_MS = 10000 };

json_t *place_ask(struct ctl_call *call, const struct place *place, const char *method,
                  json_t *parameters, int *code)
{
    json_t *reply = NULL;
    char *error = NULL;
    bool continues;
    int err = ctl_send(call, method, parameters, false);
    if (!err)
        err = ctl_receive(call, ANSWER_MS, &reply, &error, &continues);
    if (err) {
        *code = say_failed(err == ERR_CLOSED ? EXIT_NOT_RUNNING : EXIT_FAILED, NULL,
                           "%s did not answer on its control socket: %s", place->name,
                           err_sentence(err));
    } else if (error) {
        *code = say_error_reply(place, error, reply);
        json_decref(reply);
        reply = NULL;
    }
    free(error);
    return err ? NULL : reply;
}

json_t *place_status(struct ctl_call *call, const struct place *place, int *code)
{
    json_t *status = place_ask(call, place, "Status", NULL, code), *page = status;
    json_t *tunnels = json_object_get(status, "tunnels");
    while (page && json_is_true(json_object_get(page, "more_tunnels"))) {
        size_t count = json_array_size(tunnels);
        json_int_t last =
            count ? json_integer_value(json_object_get(json_array_get(tunnels, count - 1), "id"))
                  : 0;
        json_t *next = place_ask(call, place, "Status", json_pack("{s:I}", "after", last), code);
        if (!next || !json_array_size(json_object_get(next, "tunnels"))) {
            json_decref(next);
            break;
        }
        json_array_extend(tunnels, json_object_get(next, "tunnels"));
        if (page != status)
            json_decref(page);
        page = next;
    }
    if (page && page != status)
        json_decref(page);
    json_object_del(status, "more_tunnels");
    return status;
}

int exit_code_of(const char *error_word)
{
    static const struct {
        const char *begin;
        int code;
    } table[] = {
        {"auth-failed", EXIT_AUTH},   {"identity", EXIT_AUTH},
        {"cert-", EXIT_AUTH},         {"key-", EXIT_AUTH},
        {"unknown-peer", EXIT_AUTH},  {"timeout", EXIT_UNREACHABLE},
        {"config", EXIT_CONFIG},      {"permission", EXIT_PERMISSION},
        {"closed", EXIT_NOT_RUNNING}, {"no-proposal", EXIT_MISMATCH},
        {"ts-", EXIT_MISMATCH},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (!strncmp(error_word, table[i].begin, strlen(table[i].begin)))
            return table[i].code;
    }
    return EXIT_FAILED;
}

const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

uint64_t number_of(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    json_int_t n = json_is_real(v) ? (json_int_t)json_real_value(v) : json_integer_value(v);
    return n > 0 ? (uint64_t)n : 0;
}

double real_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}
