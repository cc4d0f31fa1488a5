/* The control socket's calls: see ctl/ctl.h for what they say. */
#include "run/monitor.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE_MAX = 256, WARNING_MAX = 256 };

/* ---- calls that wait */

static struct control_call *wait_for(struct monitor *m, enum waiting_for what,
                                     struct ctl_client_ref client)
{
    for (size_t i = 0; i < CONTROL_CALLS; i++) {
        struct control_call *call = &m->calls[i];
        if (call->what != WAIT_NOTHING && ctl_alive(m->ctl, call->client))
            continue;
        *call = (struct control_call){.what = what, .client = client};
        return call;
    }
    return NULL;
}

static void refuse(struct monitor *m, struct ctl_client_ref client, const char *error,
                   const char *what, const char *next)
{
    json_t *parameters = json_object();
    json_object_set_new(parameters, "what", json_string(what));
    if (next)
        json_object_set_new(parameters, "next", json_string(next));
    (void)!ctl_error(m->ctl, client, error, parameters);
}

static void busy(struct monitor *m, struct ctl_client_ref client)
{
    refuse(m, client, "org.shrike.Internal", "too many calls are waiting", "try again");
}

static void reply(struct monitor *m, struct ctl_client_ref client, json_t *parameters,
                  bool continues)
{
    (void)!ctl_reply(m->ctl, client, parameters, continues); /* who has gone needs no answer */
}

/* ---- Version, Status, Counters */

static void set_text(json_t *object, const char *name, const char *text)
{
    if (text && text[0])
        json_object_set_new(object, name, json_string(text));
}

static json_t *common(const struct monitor *m)
{
    json_t *out = json_object();
    json_object_set_new(out, "version", json_integer(1));
    set_text(out, "program", SHRIKE_VERSION);
    set_text(out, "role", m->conf->gateway ? "gateway" : "client");
    set_text(out, "name", m->conf->tunnel.name);
    json_object_set_new(out, "pid", json_integer(getpid()));
    return out;
}

static const char *state_word(const struct monitor *m)
{
    if (m->stopping)
        return "stopping";
    if (!m->serving)
        return "starting";
    if (m->conf->gateway)
        return "serving";
    return m->reconnect.state == RECONNECT_UP ? "established" : "connecting";
}

static json_t *listen_json(const struct monitor *m)
{
    json_t *out = json_array();
    char text[ADDR_TEXT];
    for (size_t i = 0; i < m->sockets.count; i++) {
        struct endpoint e = {.ip = m->sockets.ip[i], .port = m->sockets.group[i].port_500};
        json_array_append_new(out, json_string(endpoint_print(&e, text)));
        e.port = m->sockets.group[i].port_natt;
        json_array_append_new(out, json_string(endpoint_print(&e, text)));
    }
    return out;
}

static json_t *processes_json(const struct monitor *m)
{
    json_t *out = json_array();
    for (enum run_role role = ROLE_MONITOR; role < ROLE_COUNT; role++) {
        const struct child *child = &m->children[role];
        json_t *one = json_object();
        bool self = role == ROLE_MONITOR;
        set_text(one, "name", run_role_name(role));
        if (self || child->pid)
            json_object_set_new(one, "pid", json_integer(self ? getpid() : child->pid));
        json_object_set_new(one, "uid", json_integer(self ? 0 : m->conf->uid_base + role));
        json_object_set_new(one, "restarts", json_integer(child->restarts));
        json_array_append_new(out, one);
    }
    return out;
}

static json_t *pools_json(const struct monitor *m)
{
    json_t *out = json_array();
    char text[ADDR_TEXT];
    for (size_t i = 0; i < m->conf->pool_count; i++) {
        const struct prefix *pool = &m->conf->pools[i];
        json_t *one = json_object();
        uint64_t used = 0;
        for (size_t s = 0; s < m->status.ike_count; s++)
            used += prefix_contains(pool, &m->status.ike[s].ip4) ||
                    prefix_contains(pool, &m->status.ike[s].ip6);
        set_text(one, "prefix", prefix_print(pool, text));
        json_object_set_new(one, "used", json_integer((json_int_t)used));
        json_object_set_new(one, "size", json_integer((json_int_t)lease_pool_size(pool)));
        json_array_append_new(out, one);
    }
    return out;
}

static json_t *flood_json(const struct ike_usage *usage)
{
    json_t *out = json_object();
    json_object_set_new(out, "half_open", json_integer((json_int_t)usage->half_open));
    json_object_set_new(out, "cookies", json_boolean(usage->cookies));
    json_object_set_new(out, "puzzle_bits", json_integer(usage->puzzle));
    return out;
}

static json_t *warnings_json(const struct monitor *m)
{
    json_t *out = json_array();
    char text[WARNING_MAX];
    for (enum run_role role = ROLE_KEYS; role < ROLE_COUNT; role++) {
        if (!m->children[role].restarts)
            continue;
        snprintf(text, sizeof(text), "the %s process had to be restarted %u times; see the log",
                 run_role_name(role), m->children[role].restarts);
        json_array_append_new(out, json_string(text));
    }
    struct transform weak[CONF_LEGACY];
    size_t count = conf_weak(m->conf, weak);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(out, json_string(conf_weak_print(&weak[i], text)));
    if (m->status.ike_end.lost_events)
        json_array_append_new(out, json_string("some events were lost: the monitor is overloaded"));
    if (!(m->status.ike_done && m->status.esp_done))
        json_array_append_new(out, json_string("not every process answered in time"));
    return out;
}

static json_t *whole_status(struct monitor *m, const struct control_call *call)
{
    json_t *out = common(m), *tunnels = status_json(m, call->after, call->limit);
    char dns[ADDR_TEXT];
    json_object_set_new(out, "since", json_real((double)m->since));
    json_object_set_new(out, "config_read", json_real((double)m->read_at));
    set_text(out, "file", m->conf->file);
    set_text(out, "state", state_word(m));
    if (m->conf->gateway) {
        json_object_set_new(out, "listen", listen_json(m));
        json_object_set_new(out, "pools", pools_json(m));
        json_object_set_new(out, "flood", flood_json(&m->status.ike_end.usage));
        json_object_set_new(out, "refused",
                            refusals_json(&m->refusals, m->conf, NULL, MONITOR_REFUSED));
    } else if (m->last_error) {
        json_object_set(out, "last_error", m->last_error);
    }
    json_object_update(out, tunnels);
    json_decref(tunnels);
    json_object_set_new(out, "processes", processes_json(m));
    set_text(out, "interface", m->tun.name);
    json_object_set_new(out, "mtu", json_integer(m->conf->mtu ? m->conf->mtu : RUN_DEFAULT_MTU));
    json_object_set_new(out, "workers", json_integer(m->workers));
    if (m->net.dns) {
        json_t *servers = json_array();
        for (size_t i = 0; i < m->net.applied.dns_count; i++)
            json_array_append_new(servers, json_string(ip_print(&m->net.applied.dns[i], dns)));
        json_object_set_new(out, "dns", servers);
    }
    json_object_set_new(out, "warnings", warnings_json(m));
    return out;
}

static void established_reply(struct monitor *m, struct control_call *call)
{
    json_t *out = json_object(), *tunnel = status_tunnel(m, m->tunnel);
    set_text(out, "event", "established");
    json_object_set_new(out, "time", json_real((double)run_wall_clock(NULL)));
    json_object_set_new(out, "tunnel", json_integer((json_int_t)m->tunnel));
    if (call->limit == 0) /* it stood when the call came */
        json_object_set_new(out, "already", json_true());
    if (tunnel) {
        static const char *const also[] = {"peer_id", "remote", "messages"};
        for (size_t i = 0; i < ARRAY_LEN(also); i++)
            if (json_object_get(tunnel, also[i]))
                json_object_set(out, also[i], json_object_get(tunnel, also[i]));
        if (json_object_get(tunnel, "established_ms"))
            json_object_set(out, "elapsed_ms", json_object_get(tunnel, "established_ms"));
        json_object_set_new(out, "tunnel_status", tunnel);
    }
    reply(m, call->client, out, false);
}

void control_status_ready(struct monitor *m)
{
    for (size_t i = 0; i < CONTROL_CALLS; i++) {
        struct control_call *call = &m->calls[i];
        if (call->what != WAIT_STATUS)
            continue;
        call->what = WAIT_NOTHING;
        if (call->commands)
            established_reply(m, call);
        else if (call->counters_only) {
            json_t *out = status_counters(m);
            json_object_set_new(out, "version", json_integer(1));
            reply(m, call->client, out, false);
        } else
            reply(m, call->client, whole_status(m, call), false);
    }
}

static uint64_t number(json_t *parameters, const char *name, uint64_t otherwise)
{
    json_t *value = json_object_get(parameters, name);
    return json_is_integer(value) && json_integer_value(value) >= 0
               ? (uint64_t)json_integer_value(value)
               : otherwise;
}

static void call_status(struct monitor *m, struct ctl_client_ref client, json_t *parameters,
                        bool counters_only)
{
    struct control_call *call = wait_for(m, WAIT_STATUS, client);
    if (!call) {
        busy(m, client);
        return;
    }
    call->counters_only = counters_only;
    call->after = number(parameters, "after", 0);
    call->limit = number(parameters, "limit", PAGE_MAX);
    if (call->limit == 0 || call->limit > PAGE_MAX)
        call->limit = PAGE_MAX;
    status_ask(m, call->after > 0);
}

/* ---- Up, Watch */

/* The tunnel's whole status goes with the good news, so it is asked for first. */
static void tell_established(struct monitor *m, struct control_call *call, bool already)
{
    call->what = WAIT_STATUS;
    call->commands = 1;
    call->limit = already ? 0 : 1;
    status_ask(m, false);
}

static void call_up(struct monitor *m, struct ctl_client_ref client)
{
    struct control_call *call;
    if (m->conf->gateway) {
        refuse(m, client, "org.shrike.WrongRole", "a gateway waits for its clients",
               "run shrike up on the client");
        return;
    }
    call = wait_for(m, WAIT_UP, client);
    if (!call) {
        busy(m, client);
        return;
    }
    if (m->reconnect.state == RECONNECT_UP)
        tell_established(m, call, true);
    else
        reconnect_now(&m->reconnect, run_now());
}

static void call_watch(struct monitor *m, struct ctl_client_ref client)
{
    json_t *first = json_object();
    if (!wait_for(m, WAIT_EVENTS, client)) {
        json_decref(first);
        busy(m, client);
        return;
    }
    set_text(first, "event", "watching");
    reply(m, client, first, true);
}

/* The peer was let in, and then did not believe that we are who we say. */
static bool refused_us(const struct ike_event *event)
{
    return event->kind == IKE_EVENT_DOWN && event->notify == NOTIFY_AUTHENTICATION_FAILED;
}

static void remember(struct monitor *m, const struct ipc_event *said, json_t *json)
{
    const struct ike_event *event = &said->what;
    bool ours =
        !m->conf->gateway && (event->kind == IKE_EVENT_FAILED || event->kind == IKE_EVENT_DOWN);
    if (event->kind == IKE_EVENT_ESTABLISHED) {
        m->established++;
        m->recent[m->recent_next++ % MONITOR_RECENT] =
            (struct recent){event->tunnel, event->elapsed_us, event->messages};
    }
    if (event->kind == IKE_EVENT_DOWN && m->established > 0)
        m->established--;
    if (event->kind == IKE_EVENT_REFUSED || event->kind == IKE_EVENT_FAILED || refused_us(event))
        refusals_add(&m->refusals, said, run_wall_clock(NULL));
    if (ours) {
        json_decref(m->last_error);
        m->last_error = json_incref(json);
    }
}

static bool anybody_listens(const struct monitor *m)
{
    for (size_t i = 0; i < CONTROL_CALLS; i++)
        if (m->calls[i].what == WAIT_EVENTS || m->calls[i].what == WAIT_UP)
            return true;
    return false;
}

static void tell(struct monitor *m, struct control_call *call, const struct ike_event *event,
                 json_t *json)
{
    bool last = call->what == WAIT_UP && event->kind == IKE_EVENT_FAILED;
    if (!ctl_alive(m->ctl, call->client)) {
        call->what = WAIT_NOTHING;
        return;
    }
    if (call->what == WAIT_UP && event->kind == IKE_EVENT_ESTABLISHED) {
        tell_established(m, call, false);
        return;
    }
    reply(m, call->client, json_incref(json), !last);
    if (last)
        call->what = WAIT_NOTHING;
}

void control_event(struct monitor *m, const struct ipc_event *said)
{
    const struct ike_event *event = &said->what;
    json_t *json = !m->conf->gateway || anybody_listens(m) ? words_json(said) : NULL;
    remember(m, said, json);
    for (size_t i = 0; i < CONTROL_CALLS && json; i++)
        if (m->calls[i].what == WAIT_EVENTS || m->calls[i].what == WAIT_UP)
            tell(m, &m->calls[i], event, json);
    json_decref(json);
}

/* ---- Explain */

static void call_explain(struct monitor *m, struct ctl_client_ref client, json_t *parameters)
{
    const char *who = json_string_value(json_object_get(parameters, "who"));
    json_t *out = common(m);
    json_object_set_new(out, "refusals", refusals_json(&m->refusals, m->conf, who, PAGE_MAX));
    json_object_set_new(out, "nameless", json_integer((json_int_t)refusals_nameless(&m->refusals)));
    reply(m, client, out, false);
}

/* ---- Down, Rekey */

static bool command(struct monitor *m, enum ike_command_kind kind, uint64_t tunnel, uint32_t serial)
{
    ipc_prepare(&m->message, IPC_COMMAND, serial);
    m->message.command.kind = kind;
    m->message.command.tunnel = tunnel;
    return children_send(m, ROLE_IKE, &m->message) == 0;
}

static void send_commands(struct monitor *m, struct ctl_client_ref client,
                          const enum ike_command_kind *kinds, size_t count, uint64_t tunnel)
{
    struct control_call *call = wait_for(m, WAIT_COMMAND, client);
    if (!call) {
        busy(m, client);
        return;
    }
    call->serial = ++m->serial;
    call->after = tunnel;
    for (size_t i = 0; i < count; i++)
        call->commands += command(m, kinds[i], tunnel, call->serial);
    if (call->commands)
        return;
    call->what = WAIT_NOTHING;
    refuse(m, client, "org.shrike.Internal", "the ike process does not listen", "try again");
}

void control_done(struct monitor *m, const struct ipc_message *done)
{
    for (size_t i = 0; i < CONTROL_CALLS; i++) {
        struct control_call *call = &m->calls[i];
        if (call->what != WAIT_COMMAND || call->serial != done->serial || !call->commands)
            continue;
        call->worked += done->done.result == 0;
        if (--call->commands > 0)
            return;
        call->what = WAIT_NOTHING;
        if (call->worked == 0 && call->after) {
            refuse(m, call->client, "org.shrike.NotFound", "there is no such tunnel",
                   "shrike status lists them");
            return;
        }
        json_t *out = json_object();
        json_int_t all = call->after ? 1 : (json_int_t)m->established;
        json_object_set_new(out, call->limit ? "started" : "tunnels",
                            json_integer(call->worked ? all : 0));
        reply(m, call->client, out, false);
    }
}

static void call_down(struct monitor *m, struct ctl_client_ref client, json_t *parameters)
{
    static const enum ike_command_kind delete[] = {IKE_DELETE};
    uint64_t tunnel = number(parameters, "tunnel", 0);
    if (tunnel) {
        send_commands(m, client, delete, 1, tunnel);
        return;
    }
    json_t *out = json_object();
    json_object_set_new(out, "tunnels", json_integer((json_int_t)m->established));
    reply(m, client, out, false);
    monitor_stop(m, RUN_EXIT_OK);
}

static void call_rekey(struct monitor *m, struct ctl_client_ref client, json_t *parameters)
{
    static const enum ike_command_kind both[] = {IKE_REKEY_CHILD, IKE_REKEY_IKE};
    const char *what = json_string_value(json_object_get(parameters, "what"));
    uint64_t tunnel = number(parameters, "tunnel", 0);
    uint32_t serial = m->serial + 1;
    if (!what || strcmp(what, "all") == 0)
        send_commands(m, client, both, 2, tunnel);
    else if (strcmp(what, "child") == 0)
        send_commands(m, client, both, 1, tunnel);
    else if (strcmp(what, "ike") == 0)
        send_commands(m, client, both + 1, 1, tunnel);
    else {
        json_t *fault = json_object();
        set_text(fault, "parameter", "what");
        set_text(fault, "what", "what is to be rekeyed: ike, child or all");
        (void)!ctl_error(m->ctl, client, "org.shrike.InvalidParameter", fault);
        return;
    }
    for (size_t i = 0; i < CONTROL_CALLS; i++)
        if (m->calls[i].what == WAIT_COMMAND && m->calls[i].serial == serial)
            m->calls[i].limit = 1; /* the reply counts what was started */
}

/* ---- the socket */

/* A new call on a connection ends the stream that was open on it. */
static void end_stream(struct monitor *m, struct ctl_client_ref client)
{
    for (size_t i = 0; i < CONTROL_CALLS; i++) {
        struct control_call *call = &m->calls[i];
        bool stream = call->what == WAIT_EVENTS || call->what == WAIT_UP;
        if (stream && call->client.slot == client.slot && call->client.serial == client.serial)
            call->what = WAIT_NOTHING;
    }
}

static void handle(void *context, struct ctl_client_ref client, const char *method,
                   json_t *parameters, bool more)
{
    static const char prefix[] = "org.shrike.";
    struct monitor *m = context;
    (void)more; /* the methods that stream always do */
    end_stream(m, client);
    if (strncmp(method, prefix, sizeof(prefix) - 1) == 0)
        method += sizeof(prefix) - 1;
    if (strcmp(method, "Version") == 0)
        reply(m, client, common(m), false);
    else if (strcmp(method, "Status") == 0)
        call_status(m, client, parameters, false);
    else if (strcmp(method, "Counters") == 0)
        call_status(m, client, parameters, true);
    else if (strcmp(method, "Explain") == 0)
        call_explain(m, client, parameters);
    else if (strcmp(method, "Up") == 0)
        call_up(m, client);
    else if (strcmp(method, "Watch") == 0)
        call_watch(m, client);
    else if (strcmp(method, "Down") == 0)
        call_down(m, client, parameters);
    else if (strcmp(method, "Rekey") == 0)
        call_rekey(m, client, parameters);
    else if (strcmp(method, "Reload") == 0)
        reload_begin(m, &client);
    else
        refuse(m, client, "org.shrike.MethodNotFound", "there is no such method", NULL);
}

/* The folder may be missing after a boot; only the last part of the path is ours to make. */
static void make_folder(const char *path)
{
    char folder[CONF_PATH_MAX];
    snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return;
    *slash = 0;
    mode_t before = umask(022);
    (void)mkdir(folder, 0755);
    umask(before);
}

int control_open(struct monitor *m)
{
    char path[CONF_PATH_MAX], why[256] = "";
    if (conf_control_path(m->conf, path)) {
        log_error("%s/%s.sock is too long for a socket: give a shorter run-dir", m->conf->run_dir,
                  m->conf->tunnel.name);
        return RUN_EXIT_CONFIG;
    }
    make_folder(path);
    m->ctl = ctl_listen(path, handle, m, why);
    if (m->ctl && monitor_watch(m, ctl_poll_fd(m->ctl), WATCH_CTL) == 0)
        return 0;
    log_error("%s", why[0] ? why : "the control socket cannot be made");
    return RUN_EXIT_FAILED;
}

void control_close(struct monitor *m)
{
    if (m->ctl)
        ctl_close(m->ctl);
    m->ctl = NULL;
    json_decref(m->last_error);
    status_free(m);
}
