#include "ike/gate.h"

/* Refused handshakes: all are counted, by reason; how many of them may be told is bounded, because
 * strangers cause them. */

static void new_second(struct ike_engine *e)
{
    if (e->now - e->told_since <= TIME_SECOND)
        return;
    e->told_since = e->now;
    e->told[0] = e->told[1] = e->logged = 0;
}

bool refusal_is_told(struct ike_engine *e, bool stranger)
{
    new_second(e);
    return e->told[stranger]++ < (stranger ? 10 : 50);
}

bool stranger_is_logged(struct ike_engine *e)
{
    new_second(e);
    return e->logged++ < 5;
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
