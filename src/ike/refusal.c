#include "ike/gate.h"

/* Refused handshakes: all are counted, by reason; how many of them may be told is bounded, because
 * strangers cause them. */

bool refusal_is_told(struct ike_engine *e, bool stranger)
{
    return stranger ? budget_allows(&e->strangers_told, e->now, 10)
                    : budget_allows(&e->peers_told, e->now, 50);
}

bool stranger_is_logged(struct ike_engine *e)
{
    return budget_allows(&e->strangers_logged, e->now, 5);
}

bool peer_is_logged(struct ike_engine *e)
{
    return budget_allows(&e->peers_logged, e->now, 5);
}

void refusal_budget(struct ike_engine *e, struct tunnel *t, int err, bool stranger)
{
    if (refusal_is_told(e, stranger))
        return;
    t->refused = true; /* ends in silence */
    refusal_count(e, err);
}

static bool is_about_a_certificate(int err)
{
    return (err <= ERR_CERT_PARSE && err >= ERR_CERT_CHAIN) || err == ERR_CERT_REVOKED;
}

static uint64_t *reason_of(struct ike_counters *c, int err)
{
    switch (err) {
    case ERR_NO_PROPOSAL:
        return &c->refused_algorithms;
    case ERR_IDENTITY:
    case ERR_UNKNOWN_PEER:
        return &c->refused_identity;
    case ERR_AUTH:
        return &c->refused_proof;
    case ERR_ADDRESS:
        return &c->refused_address;
    case ERR_TS:
        return &c->refused_selectors;
    case ERR_TIMEOUT:
        return &c->refused_unfinished;
    case ERR_LIMIT:
        return &c->refused_full;
    case ERR_SYNTAX:
        return &c->refused_syntax;
    default:
        return is_about_a_certificate(err) ? &c->refused_certificate : &c->refused_other;
    }
}

void refusal_count(struct ike_engine *e, int err)
{
    e->counters.refused++;
    ++*reason_of(&e->counters, err);
}

void refusal_of_stranger(struct ike_engine *e, const struct input *in, uint16_t notify,
                         const char *text)
{
    refusal_count(e, ERR_SYNTAX);
    if (!refusal_is_told(e, true))
        return;
    struct ike_event *event = queue_event(e, IKE_EVENT_REFUSED, NULL, &in->path, ERR_SYNTAX, text);
    if (event) {
        event->notify = notify;
        event->exchange = in->header.exchange;
    }
}

/* 0: it is no refusal, the peer goes on and both sides are content. */
static int error_of(uint16_t notify)
{
    switch (notify) {
    case NOTIFY_NO_PROPOSAL_CHOSEN:
        return ERR_NO_PROPOSAL;
    case NOTIFY_TS_UNACCEPTABLE:
        return ERR_TS;
    case NOTIFY_INTERNAL_ADDRESS_FAILURE:
    case NOTIFY_FAILED_CP_REQUIRED:
        return ERR_ADDRESS;
    case NOTIFY_INVALID_SYNTAX:
    case NOTIFY_UNSUPPORTED_CRITICAL_PAYLOAD:
        return ERR_SYNTAX;
    case NOTIFY_NO_ADDITIONAL_SAS:
        return ERR_LIMIT;
    default:
        return 0;
    }
}

static const char *sentence_of(struct ike_engine *e, uint8_t exchange, uint16_t notify)
{
    char name[WIRE_NAME_TEXT];
    (void)wire_exchange_name(exchange, name);
    if (notify == NOTIFY_INVALID_SYNTAX)
        return explain(e, "the peer's %s request cannot be read, or lacks what it must hold", name);
    if (notify == NOTIFY_UNSUPPORTED_CRITICAL_PAYLOAD)
        return explain(e,
                       "the peer's %s request holds payload %u, which we do not know and it calls "
                       "critical",
                       name, e->notify_data[0]);
    if (notify == NOTIFY_NO_ADDITIONAL_SAS)
        return explain(e, "the peer wants more child SAs than one connection may have here");
    return e->why;
}

void refusal_of_request(struct ike_engine *e, const struct sa *sa, uint8_t exchange,
                        uint16_t notify)
{
    int err = error_of(notify);
    if (err == 0)
        return;
    const char *text = sentence_of(e, exchange, notify);
    refusal_count(e, err);
    if (!refusal_is_told(e, false))
        return;
    struct ike_event *event = queue_event(e, IKE_EVENT_REFUSED, sa->tunnel, &sa->path, err, text);
    if (event) {
        event->notify = notify;
        event->exchange = exchange;
    }
}
