/* Events in words: for the log and for readers of the control socket. */
#include "run/monitor.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const kinds[] = {
    [IKE_EVENT_ESTABLISHED] = "established",
    [IKE_EVENT_FAILED] = "failed",
    [IKE_EVENT_DOWN] = "down",
    [IKE_EVENT_REKEYED_IKE] = "rekeyed-ike",
    [IKE_EVENT_REKEYED_CHILD] = "rekeyed-child",
    [IKE_EVENT_CHILD_UP] = "child-up",
    [IKE_EVENT_CHILD_DOWN] = "child-down",
    [IKE_EVENT_REFUSED] = "refused",
    [IKE_EVENT_RETRANSMIT] = "retransmit",
    [IKE_EVENT_MOVED] = "moved",
};

const char *words_event_kind(uint32_t kind)
{
    return kind < ARRAY_LEN(kinds) ? kinds[kind] : "unknown";
}

static bool has_remote(const struct ike_event *event)
{
    return event->path.remote.ip.family != 0;
}

/* The engine's sentence, or the general one of the error. */
static const char *sentence(const struct ike_event *event)
{
    return event->text[0] ? event->text : err_sentence(event->err);
}

/* A gateway knows only that it has let its peer in: whether that one believes who we are is seen
 * when it does not. */
static void log_established(const struct ike_event *event, bool gateway, const char *who,
                            const char *where)
{
    log_info("%s at %s is %s, after %u.%u ms and %u messages (tunnel %llu)", who, where,
             gateway ? "let in" : "connected", event->elapsed_us / 1000,
             event->elapsed_us / 100 % 10, event->messages, (unsigned long long)event->tunnel);
}

static bool begins_with(const char *text, const char *head)
{
    return head[0] && strncmp(text, head, strlen(head)) == 0;
}

/* Many of the engine's sentences begin with the address already. */
static void log_failed(const struct ike_event *event, const char *who, const char *where)
{
    const char *text = sentence(event);
    if (begins_with(text, who))
        log_warn("%s", text);
    else if (!where[0] || begins_with(text, where))
        log_warn("%s: %s", who, text);
    else
        log_warn("%s at %s: %s", who, where, text);
}

/* Only these come after the peer has proven who it is: in IKE_AUTH some, later all. */
static bool is_proven(const struct ike_event *event)
{
    if (event->exchange == EXCHANGE_IKE_AUTH)
        return event->err == ERR_ADDRESS || event->err == ERR_TS || event->err == ERR_NO_PROPOSAL;
    return event->tunnel != 0;
}

/* What a stranger does is for `shrike explain`, and not for the log of a gateway on the internet.
 * That there is no room is about ourselves. */
static void log_refused(struct monitor *m, const struct ike_event *event, const char *who,
                        const char *where)
{
    time_us now = run_now();
    if (event->err == ERR_LIMIT && (m->full_said == 0 || now - m->full_said > 60 * TIME_SECOND)) {
        log_warn("%s", sentence(event));
        m->full_said = now;
    }
    enum log_level level = is_proven(event) ? LEVEL_WARN : LEVEL_DEBUG;
    struct budget *budget = level == LEVEL_WARN ? &m->refusals_logged : &m->strangers_logged;
    if (budget_allows(budget, now, 5)) /* enough to see what goes on */
        log_at(level, "refused %s at %s: %s", who, where, sentence(event));
}

void words_log(struct monitor *m, const struct ipc_event *said)
{
    const struct ike_event *event = &said->what;
    char endpoint[ADDR_TEXT];
    const char *where = has_remote(event) ? endpoint_print(&event->path.remote, endpoint) : "";
    const char *who = said->who[0] ? said->who : m->conf->gateway ? "a peer" : m->conf->remote_host;
    switch ((enum ike_event_kind)event->kind) {
    case IKE_EVENT_ESTABLISHED:
        log_established(event, m->conf->gateway, who, where);
        break;
    case IKE_EVENT_FAILED:
        log_failed(event, who, where);
        break;
    case IKE_EVENT_REFUSED:
        log_refused(m, event, who, where);
        break;
    case IKE_EVENT_DOWN:
        log_info("%s%s%s is gone (tunnel %llu): %s", who, where[0] ? " at " : "", where,
                 (unsigned long long)event->tunnel, sentence(event));
        break;
    case IKE_EVENT_MOVED:
        log_info("%s at %s: %s (tunnel %llu)", who, where, sentence(event),
                 (unsigned long long)event->tunnel);
        break;
    case IKE_EVENT_REKEYED_IKE:
    case IKE_EVENT_REKEYED_CHILD:
    case IKE_EVENT_CHILD_UP:
    case IKE_EVENT_CHILD_DOWN:
    case IKE_EVENT_RETRANSMIT:
        log_debug("tunnel %llu %s %s", (unsigned long long)event->tunnel,
                  words_event_kind(event->kind), event->text);
        break;
    }
}

static void set_text(json_t *object, const char *name, const char *text)
{
    if (text && text[0])
        json_object_set_new(object, name, json_string(text));
}

json_t *words_json(const struct ipc_event *said)
{
    const struct ike_event *event = &said->what;
    char text[ADDR_TEXT], notify[WIRE_NAME_TEXT];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    json_t *out = json_object();
    set_text(out, "event", words_event_kind(event->kind));
    json_object_set_new(out, "time", json_real((double)now.tv_sec + (double)now.tv_nsec / 1e9));
    if (event->tunnel)
        json_object_set_new(out, "tunnel", json_integer((json_int_t)event->tunnel));
    set_text(out, "peer_id", said->who);
    if (has_remote(event))
        set_text(out, "remote", endpoint_print(&event->path.remote, text));
    if (event->err)
        set_text(out, "error", err_word(event->err));
    if (event->notify)
        set_text(out, "notify", wire_notify_name(event->notify, notify));
    set_text(out, "text", event->err && !event->text[0] ? err_sentence(event->err) : event->text);
    if (event->elapsed_us)
        json_object_set_new(out, "elapsed_ms", json_real(event->elapsed_us / 1000.0));
    if (event->messages)
        json_object_set_new(out, "messages", json_integer(event->messages));
    return out;
}
