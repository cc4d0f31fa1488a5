/* What came of reading the configuration again: see report.h. */
#include "run/report.h"

#include <stdio.h>

enum { LINE = 1024 };

static const char *const client_words[] = {[CONF_CLIENT_ADDED] = "added",
                                           [CONF_CLIENT_REMOVED] = "removed",
                                           [CONF_CLIENT_CHANGED] = "changed"};

static size_t kept(const struct conf_faults *faults)
{
    return faults->count < CONF_FAULTS_MAX ? faults->count : CONF_FAULTS_MAX;
}

void report_log_faults(const struct conf_faults *faults)
{
    char text[LINE];
    for (size_t i = 0; i < kept(faults); i++) {
        conf_fault_print(&faults->at[i], text, sizeof(text));
        if (faults->at[i].warning)
            log_warn("%s", text);
        else
            log_error("%s", text);
    }
}

void report_log_changes(const struct conf_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        const struct conf_change *c = &changes->at[i];
        log_info("[%s] %s: \"%s\" becomes \"%s\"", c->section, c->key, c->before, c->after);
    }
    for (size_t i = 0; i < changes->told; i++)
        log_info("client %s: %s", changes->client[i].name, client_words[changes->client[i].what]);
    if (changes->count == 0 && changes->told == 0)
        log_info("nothing has changed in the file; secrets and certificates are read again");
}

json_t *report_faults(const struct conf_faults *faults)
{
    json_t *out = json_array();
    char text[LINE];
    for (size_t i = 0; i < kept(faults); i++) {
        conf_fault_print(&faults->at[i], text, sizeof(text));
        json_array_append_new(out, json_string(text));
    }
    return out;
}

static json_t *options_json(const struct conf_changes *changes)
{
    json_t *out = json_array();
    for (size_t i = 0; i < changes->count; i++) {
        const struct conf_change *c = &changes->at[i];
        json_t *one = json_object();
        json_object_set_new(one, "section", json_string(c->section));
        json_object_set_new(one, "option", json_string(c->key));
        if (c->before[0])
            json_object_set_new(one, "before", json_string(c->before));
        if (c->after[0])
            json_object_set_new(one, "after", json_string(c->after));
        json_array_append_new(out, one);
    }
    return out;
}

static json_t *clients_json(const struct conf_changes *changes)
{
    json_t *out = json_object();
    for (size_t what = 0; what < ARRAY_LEN(client_words); what++) {
        char count[16];
        json_t *names = json_array();
        for (size_t i = 0; i < changes->told; i++)
            if (changes->client[i].what == what)
                json_array_append_new(names, json_string(changes->client[i].name));
        json_object_set_new(out, client_words[what], names);
        snprintf(count, sizeof(count), "%s_count", client_words[what]);
        json_object_set_new(out, count, json_integer((json_int_t)changes->clients[what]));
    }
    return out;
}

json_t *report_changes(const struct conf *conf, const struct conf_changes *changes,
                       const struct conf_faults *warnings)
{
    json_t *out = json_object();
    json_object_set_new(out, "version", json_integer(1));
    json_object_set_new(out, "name", json_string(conf->tunnel.name));
    json_object_set_new(out, "file", json_string(conf->file));
    json_object_set_new(out, "changed", options_json(changes));
    if (conf->gateway)
        json_object_set_new(out, "clients", clients_json(changes));
    json_object_set_new(out, "warnings", report_faults(warnings));
    json_object_set_new(out, "ended_tunnels", json_array());
    return out;
}

void report_ended(json_t *report, const struct ipc_event *event)
{
    json_array_append_new(json_object_get(report, "ended_tunnels"), words_json(event));
}

void report_outcome(json_t *report, const struct reload *reload, time_us took)
{
    json_object_set_new(report, "secrets", json_integer(reload->leases.secrets));
    json_object_set_new(report, "certificate", json_boolean(reload->done.own_changed));
    json_object_set_new(report, "authorities", json_boolean(reload->done.trust_changed));
    json_object_set_new(report, "stayed", json_integer(reload->judged.stayed));
    json_object_set_new(report, "ended", json_integer((json_int_t)reload->ended));
    json_object_set_new(report, "elapsed_ms", json_real((double)took / 1000.0));
}
