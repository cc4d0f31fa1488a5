/* What another reading of the file has changed, and what of it a running process can follow. */
#include "conf/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- options */

static const char *text_of(const struct conf *conf, const struct option *o)
{
    const char *written = conf->values[option_index(o)];
    return written ? written : o->fallback ? o->fallback : "";
}

static bool same_text(const char *a, const char *b)
{
    for (;; a++, b++) {
        a += strspn(a, " \t");
        b += strspn(b, " \t");
        if (*a != *b)
            return false;
        if (!*a)
            return true;
    }
}

/* Written in another way, or a default written out: 60m is 1h. Lists are compared as written. */
static bool same_value(const struct conf *a, const struct conf *b, const struct option *o)
{
    const uint8_t *x = (const uint8_t *)a + o->at, *y = (const uint8_t *)b + o->at;
    if (o->set == set_path || o->set == set_interface || o->set == set_instance)
        return strcmp((const char *)x, (const char *)y) == 0;
    if (o->set == set_identity)
        return identity_equal((const struct identity *)x, (const struct identity *)y);
    if (o->set == set_yes)
        return *(const bool *)x == *(const bool *)y;
    bool scalar = o->set == set_number || o->set == set_duration || o->set == set_octets ||
                  o->set == set_packets || o->set == set_choice || o->set == set_tfc;
    return scalar && o->size && memcmp(x, y, o->size) == 0;
}

static bool is_same(const struct conf *a, const struct conf *b, const struct option *o)
{
    if (o->set == set_psk) /* the running one has wiped what it was */
        return !a->lines[option_index(o)] == !b->lines[option_index(o)];
    return same_text(text_of(a, o), text_of(b, o)) || same_value(a, b, o);
}

static void add(struct conf_changes *out, const struct conf_change *change)
{
    if (out->count == CONF_OPTIONS_MAX)
        return;
    out->at[out->count++] = *change;
    out->fixed += change->fixed;
}

static void compare_options(const struct conf *before, const struct conf *after,
                            struct conf_changes *out)
{
    uint8_t role = after->gateway ? ROLE_GATEWAY : ROLE_CLIENT;
    for (size_t i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        if (!(o->role & role) || o->peer || o->child || is_same(before, after, o))
            continue;
        struct conf_change change = {.section = o->section,
                                     .key = o->key,
                                     .before = text_of(before, o),
                                     .after = text_of(after, o),
                                     .line = after->lines[i],
                                     .fixed = o->fixed};
        add(out, &change);
    }
}

/* ---- a client's further child SAs */

static bool same_selectors(const struct selector *a, size_t a_count, const struct selector *b,
                           size_t b_count)
{
    for (size_t i = 0; i < a_count && i < b_count; i++)
        if (!selector_equal(&a[i], &b[i]))
            return false;
    return a_count == b_count;
}

static bool same_child(const struct conf_child *a, const struct conf_child *b)
{
    return strcmp(a->name, b->name) == 0 &&
           same_selectors(a->local_ts, a->local_ts_count, b->local_ts, b->local_ts_count) &&
           same_selectors(a->remote_ts, a->remote_ts_count, b->remote_ts, b->remote_ts_count);
}

static void compare_children(const struct conf_tunnel *before, const struct conf_tunnel *after,
                             struct conf_changes *out)
{
    uint8_t most =
        before->child_count > after->child_count ? before->child_count : after->child_count;
    for (uint8_t i = 0; i < most; i++) {
        const struct conf_child *a = i < before->child_count ? &before->children[i] : NULL;
        const struct conf_child *b = i < after->child_count ? &after->children[i] : NULL;
        if (a && b && same_child(a, b))
            continue;
        struct conf_change change = {.section = "child",
                                     .key = b ? b->name : a->name,
                                     .before = a ? a->name : "",
                                     .after = b ? b->name : "",
                                     .line = b ? b->line : 0,
                                     .fixed = true};
        add(out, &change);
        return; /* one is enough to say that it needs a new tunnel */
    }
}

/* ---- clients */

static int by_name(const void *a, const void *b)
{
    const struct conf_peer *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static const struct conf_peer **sorted_peers(const struct conf *conf)
{
    const struct conf_peer **list = calloc(conf->peer_count + 1, sizeof(*list));
    for (size_t i = 0; list && i < conf->peer_count; i++)
        list[i] = &conf->peers[i];
    if (list && conf->peer_count)
        qsort(list, conf->peer_count, sizeof(*list), by_name);
    return list;
}

static bool same_peer(const struct conf_peer *a, const struct conf_peer *b)
{
    return identity_equal(&a->id, &b->id) && strcmp(a->psk_file, b->psk_file) == 0 &&
           ip_equal(&a->ip4, &b->ip4) && ip_equal(&a->ip6, &b->ip6) &&
           same_selectors(a->networks, a->network_count, b->networks, b->network_count);
}

static void tell(struct conf_changes *out, enum conf_client_change what, const char *name)
{
    out->clients[what]++;
    if (out->told == CONF_CLIENTS_TOLD)
        return;
    out->client[out->told].what = what;
    out->client[out->told++].name = name;
}

static int compare_clients(const struct conf *before, const struct conf *after,
                           struct conf_changes *out)
{
    const struct conf_peer **old = sorted_peers(before), **new = sorted_peers(after);
    size_t i = 0, j = 0;
    while (old && new && (i < before->peer_count || j < after->peer_count)) {
        int order = i == before->peer_count  ? 1
                    : j == after->peer_count ? -1
                                             : strcmp(old[i]->name, new[j]->name);
        if (order < 0)
            tell(out, CONF_CLIENT_REMOVED, old[i]->name);
        else if (order > 0)
            tell(out, CONF_CLIENT_ADDED, new[j]->name);
        else if (!same_peer(old[i], new[j]))
            tell(out, CONF_CLIENT_CHANGED, new[j]->name);
        i += order <= 0;
        j += order >= 0;
    }
    int result = old && new ? 0 : ERR_MEMORY;
    free(old);
    free(new);
    return result;
}

int conf_compare(const struct conf *before, const struct conf *after, struct conf_changes *out)
{
    memset(out, 0, sizeof(*out));
    if (before->gateway != after->gateway)
        return 0; /* nothing to compare: conf_followable() refuses it */
    compare_options(before, after, out);
    if (!after->gateway) {
        /* those of `children = separate` follow from options that were compared */
        if (out->fixed == 0)
            compare_children(&before->tunnel, &after->tunnel, out);
        return 0;
    }
    return compare_clients(before, after, out);
}

/* ---- what cannot be followed */

static void way_out(const struct conf *running, char text[static 256])
{
    if (running->gateway)
        snprintf(text, 256, "restart the gateway to change it, or take it back");
    else
        snprintf(text, 256, "it takes effect with `shrike down %s` and `shrike up %s`",
                 running->tunnel.name, running->tunnel.name);
}

int conf_followable(const struct conf *before, const struct conf *after,
                    const struct conf_changes *changes, struct conf_faults *faults)
{
    char next[256];
    way_out(before, next);
    if (before->gateway != after->gateway) {
        fault_add(faults, after->file, 0, NULL, next, "the file is %s now, and what runs is %s",
                  after->gateway ? "a gateway's" : "a client's",
                  before->gateway ? "a gateway" : "a client's tunnel");
        return ERR_CONFIG;
    }
    for (size_t i = 0; i < changes->count; i++) {
        const struct conf_change *c = &changes->at[i];
        if (c->fixed)
            fault_add(faults, after->file, c->line, c->after, next,
                      "[%s] %s cannot change while it runs, and was \"%.100s\"", c->section, c->key,
                      c->before[0] ? c->before : "not set");
    }
    return changes->fixed ? ERR_CONFIG : 0;
}

void conf_inherit(struct conf *after, const struct conf *before)
{
    after->told_level = before->told_level;
    after->told_run_dir = before->told_run_dir;
    if (before->told_level)
        after->log_level = before->log_level;
    if (before->told_run_dir)
        snprintf(after->run_dir, sizeof(after->run_dir), "%s", before->run_dir);
}
