#include "run/refusals.h"

#include <string.h>
#include <strings.h>

#include "run/monitor.h"

enum { LISTED = REFUSALS_NAMED + REFUSALS_NAMELESS };

/* ---- keeping */

static bool same_source(const struct ip *a, const struct ip *b)
{
    size_t len = a->family == 6 ? 8 : ip_len(a);
    return a->family == b->family && memcmp(a->octets, b->octets, len) == 0;
}

static const struct ip *source_of(const struct refusal *r)
{
    return &r->event.what.path.remote.ip;
}

static bool same_story(const struct refusal *r, const struct ipc_event *event)
{
    return r->count > 0 && ip_equal(source_of(r), &event->what.path.remote.ip) &&
           r->event.what.err == event->what.err && strcmp(r->event.who, event->who) == 0 &&
           strcmp(r->event.what.text, event->what.text) == 0;
}

/* Where a new one goes: a free place, the source's own oldest when it has enough, the oldest of
 * those seen once, the oldest of all. */
static struct refusal *place_for(struct refusal *list, size_t count, const struct ip *from)
{
    struct refusal *own = NULL, *once = NULL, *oldest = NULL, *free = NULL;
    size_t owned = 0;
    for (size_t i = 0; i < count; i++) {
        struct refusal *r = &list[i];
        if (r->count == 0) {
            free = r;
            continue;
        }
        if (same_source(source_of(r), from)) {
            owned++;
            own = !own || r->order < own->order ? r : own;
        }
        if (r->count == 1)
            once = !once || r->order < once->order ? r : once;
        oldest = !oldest || r->order < oldest->order ? r : oldest;
    }
    if (owned >= REFUSALS_A_SOURCE)
        return own;
    return free ? free : once ? once : oldest;
}

void refusals_add(struct refusals *r, const struct ipc_event *event, int64_t now)
{
    struct refusal *list = event->who[0] ? r->named : r->nameless, *at = NULL;
    size_t count = event->who[0] ? REFUSALS_NAMED : REFUSALS_NAMELESS;
    for (size_t i = 0; i < count && !at; i++)
        if (same_story(&list[i], event))
            at = &list[i];
    if (!at) {
        at = place_for(list, count, &event->what.path.remote.ip);
        at->count = 0;
        at->first = now;
    }
    at->event = *event;
    at->last = now;
    at->order = ++r->order;
    if (at->count < UINT32_MAX)
        at->count++;
}

size_t refusals_nameless(const struct refusals *r)
{
    size_t count = 0;
    for (size_t i = 0; i < REFUSALS_NAMELESS; i++)
        count += r->nameless[i].count > 0;
    return count;
}

/* ---- telling */

struct lesson {
    int err;
    const char *reason; /* as the counters call it */
    const char *doing;  /* the step that failed */
    const char *fix;    /* when the engine's sentence has none */
};
static const struct lesson lessons[] = {
    {ERR_NO_PROPOSAL, "algorithms", "choosing the algorithms",
     "add one of the peer's algorithms to [crypto] here, or one of ours there"},
    {ERR_UNKNOWN_PEER, "identity", "looking up who the peer says it is",
     "add a [client] section with this identity, or correct the identity on the client"},
    {ERR_IDENTITY, "identity", "looking up who the peer says it is",
     "correct the identity on the client, or the one expected here"},
    {ERR_AUTH, "proof", "proving who the peer is",
     "set the same pre-shared key on both sides, or give the client its certificate anew"},
    {ERR_CERT_EXPIRED, "certificate", "checking the peer's certificate",
     "issue a new one: shrike pki issue client NAME"},
    {ERR_CERT_NOT_YET, "certificate", "checking the peer's certificate",
     "set the clocks of both machines right"},
    {ERR_CERT_UNKNOWN_CA, "certificate", "checking the peer's certificate",
     "issue the client's certificate with our CA, or add its CA to `ca` in [gateway]"},
    {ERR_CERT_NAME, "certificate", "checking the peer's certificate",
     "make the client claim the name in its certificate, or issue one with the name it claims"},
    {ERR_CERT_REVOKED, "certificate", "checking the peer's certificate",
     "issue a new one: shrike pki issue client NAME"},
    {ERR_ADDRESS, "address", "giving out an inner address",
     "enlarge `pool` in [network], or close connections that nobody uses"},
    {ERR_TS, "selectors", "agreeing on the networks", "make the networks on both sides agree"},
    {ERR_TIMEOUT, "unfinished", "waiting for the peer's next message",
     "look whether UDP 4500 and large packets reach this host"},
    {ERR_LIMIT, "full", "finding a free place", "raise max-tunnels if they are all wanted"},
    {ERR_PEER, "other", "proving who we are", "the other side's log says why"},
    {ERR_SYNTAX, "syntax", "reading the peer's message",
     "the versions of both programs would help in a report"},
};

static const struct lesson *lesson_of(int err)
{
    static const struct lesson certificate = {0, "certificate", "checking the peer's certificate",
                                              "shrike pki show FILE says what it is good for"},
                               other = {0, "other", "", ""};
    for (size_t i = 0; i < ARRAY_LEN(lessons); i++)
        if (lessons[i].err == err)
            return &lessons[i];
    return err <= ERR_CERT_PARSE && err >= ERR_CERT_CHAIN ? &certificate : &other;
}

static void set_text(json_t *object, const char *name, const char *text)
{
    if (text && text[0])
        json_object_set_new(object, name, json_string(text));
}

/* A sentence of the engine is "what and why; what next". */
static void put_sentence(json_t *out, const struct ike_event *event, const struct lesson *lesson)
{
    char cause[sizeof(event->text)];
    const char *next = strstr(event->text, "; ");
    snprintf(cause, sizeof(cause), "%.*s", next ? (int)(next - event->text) : 999, event->text);
    set_text(out, "cause", cause[0] ? cause : err_sentence(event->err));
    set_text(out, "fix", next ? next + 2 : lesson->fix);
}

/* The configured client with this identity. */
static const struct conf_peer *client_of(const struct conf *conf, const char *who)
{
    char text[IDENTITY_TEXT];
    for (size_t i = 0; i < conf->peer_count && who[0]; i++)
        if (strcasecmp(cert_identity_print(&conf->peers[i].id, text), who) == 0)
            return &conf->peers[i];
    return NULL;
}

/* Of the configured ones, that is: a slip of the pen, perhaps. */
static void put_closest(json_t *out, const struct conf *conf, const char *who)
{
    enum { LOOKED_AT = 1024 };
    static char texts[LOOKED_AT][64];
    const char *words[LOOKED_AT];
    char text[IDENTITY_TEXT];
    size_t count = 0;
    for (size_t i = 0; i < conf->peer_count && count < LOOKED_AT; i++) {
        snprintf(texts[count], sizeof(texts[0]), "%.63s",
                 cert_identity_print(&conf->peers[i].id, text));
        words[count] = texts[count];
        count++;
    }
    set_text(out, "closest", conf_closest(who, words, count));
}

static json_t *refusal_json(const struct refusal *r, const struct conf *conf)
{
    const struct ike_event *event = &r->event.what;
    const struct lesson *lesson = lesson_of(event->err);
    const struct conf_peer *client = client_of(conf, r->event.who);
    char exchange[WIRE_NAME_TEXT];
    json_t *out = words_json(&r->event);
    json_object_set_new(out, "time", json_integer(r->last));
    json_object_set_new(out, "first", json_integer(r->first));
    json_object_set_new(out, "count", json_integer(r->count));
    if (client)
        set_text(out, "client", client->name);
    if (event->exchange)
        set_text(out, "step", wire_exchange_name((uint8_t)event->exchange, exchange));
    set_text(out, "doing", lesson->doing);
    set_text(out, "reason", lesson->reason);
    set_text(out, "offered", event->offered);
    set_text(out, "accepted", event->accepted);
    put_sentence(out, event, lesson);
    if (event->err == ERR_UNKNOWN_PEER)
        put_closest(out, conf, r->event.who);
    return out;
}

static bool is_about(const struct refusal *r, const struct conf *conf, const char *who)
{
    char address[ADDR_TEXT];
    const struct conf_peer *client = client_of(conf, r->event.who);
    const char *at = strchr(r->event.who, '@');
    size_t len = strlen(who);
    if (len == 0)
        return false;
    return strcasecmp(r->event.who, who) == 0 || (client && strcasecmp(client->name, who) == 0) ||
           (at && (size_t)(at - r->event.who) == len && strncasecmp(r->event.who, who, len) == 0) ||
           strcmp(ip_print(source_of(r), address), who) == 0;
}

/* The newest that is older than `before`. */
static const struct refusal *next_of(const struct refusals *r, uint64_t before)
{
    const struct refusal *best = NULL;
    for (size_t i = 0; i < LISTED; i++) {
        const struct refusal *at =
            i < REFUSALS_NAMED ? &r->named[i] : &r->nameless[i - REFUSALS_NAMED];
        if (at->count > 0 && at->order < before && (!best || at->order > best->order))
            best = at;
    }
    return best;
}

json_t *refusals_json(const struct refusals *r, const struct conf *conf, const char *who,
                      size_t limit)
{
    json_t *out = json_array();
    uint64_t before = UINT64_MAX;
    const struct refusal *at;
    while ((at = next_of(r, before)) && json_array_size(out) < limit) {
        before = at->order;
        if (!who || is_about(at, conf, who))
            json_array_append_new(out, refusal_json(at, conf));
    }
    return out;
}
