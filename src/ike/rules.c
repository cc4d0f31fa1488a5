#include "ike/internal.h"

/* Which message is legal when (RFC 7296 sections 1 and 2): the engine looks here before it spends a
 * cycle on a message, and again before a handler sees it. A combination without a row cannot reach
 * code. Payloads in no column are ignored, as the RFC's robustness rules ask (2.5); notifies and
 * vendor IDs may come any number of times. IKE_SESSION_RESUME will be rows here. */

#define S(state) (1u << IKE_STATE_##state)
#define P(name)  PAYLOAD_BIT(PAYLOAD_##name)

static const struct rule rules[] = {
    /* IKE_SA_INIT requests make an SA; what they must hold is checked before there is one. */
    {EXCHANGE_IKE_SA_INIT, .response = false, .role = RULE_RESPONDER, .states = S(NONE),
     .need = P(SA) | P(KE) | P(NONCE)},
    {EXCHANGE_IKE_SA_INIT, .response = true, .role = RULE_INITIATOR, .states = S(INIT_SENT),
     .notify_may_stand_alone = true, .need = P(SA) | P(KE) | P(NONCE), .run = init_response},

    {EXCHANGE_IKE_INTERMEDIATE, .response = false, .role = RULE_RESPONDER, .states = S(INIT_DONE),
     .protected = true, .once = P(KE), .run = intermediate_request},
    {EXCHANGE_IKE_INTERMEDIATE, .response = true, .role = RULE_INITIATOR,
     .states = S(INTERMEDIATE_SENT), .protected = true, .notify_may_stand_alone = true,
     .once = P(KE), .run = intermediate_response},

    {EXCHANGE_IKE_AUTH, .response = false, .role = RULE_RESPONDER, .states = S(INIT_DONE),
     .protected = true, .need = P(IDi), .once = P(IDr) | P(AUTH) | P(CP),
     .together = P(SA) | P(TSi) | P(TSr), .run = auth_request},
    {EXCHANGE_IKE_AUTH, .response = true, .role = RULE_INITIATOR, .states = S(AUTH_SENT),
     .protected = true, .notify_may_stand_alone = true, .need = P(IDr) | P(AUTH),
     .once = P(SA) | P(TSi) | P(TSr) | P(CP), .run = auth_response},

    {EXCHANGE_CREATE_CHILD_SA, .response = false, .role = RULE_BOTH,
     .states = S(ESTABLISHED) | S(REKEYED) | S(DELETING), .protected = true,
     .need = P(SA) | P(NONCE), .once = P(KE) | P(TSi) | P(TSr), .run = create_request},
    {EXCHANGE_CREATE_CHILD_SA, .response = true, .role = RULE_BOTH,
     .states = S(ESTABLISHED) | S(REKEYED) | S(DELETING), .protected = true,
     .notify_may_stand_alone = true, .need = P(SA) | P(NONCE), .once = P(KE) | P(TSi) | P(TSr),
     .run = create_response},

    {EXCHANGE_IKE_FOLLOWUP_KE, .response = false, .role = RULE_BOTH,
     .states = S(ESTABLISHED) | S(REKEYED) | S(DELETING), .protected = true, .need = P(KE),
     .run = followup_request},
    {EXCHANGE_IKE_FOLLOWUP_KE, .response = true, .role = RULE_BOTH,
     .states = S(ESTABLISHED) | S(REKEYED) | S(DELETING), .protected = true,
     .notify_may_stand_alone = true, .need = P(KE), .run = followup_response},

    {EXCHANGE_INFORMATIONAL, .response = false, .role = RULE_BOTH,
     .states = S(ESTABLISHED) | S(REKEYED) | S(DELETING), .protected = true, .run = info_request},
    {EXCHANGE_INFORMATIONAL, .response = true, .role = RULE_BOTH,
     .states = S(ESTABLISHED) | S(REKEYED) | S(DELETING), .protected = true,
     .notify_may_stand_alone = true, .run = info_response},
};

size_t rules_count(void)
{
    return ARRAY_LEN(rules);
}

const struct rule *rules_at(size_t index)
{
    return index < ARRAY_LEN(rules) ? &rules[index] : NULL;
}

const struct rule *rules_find(uint8_t exchange, bool response, bool initiator, uint8_t state)
{
    uint8_t role = initiator ? RULE_INITIATOR : RULE_RESPONDER;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        const struct rule *r = &rules[i];
        if (r->exchange == exchange && r->response == response && (r->role & role) &&
            (r->states & 1u << state))
            return r;
    }
    return NULL;
}

/* An error, or the wish for a cookie, comes without what a full answer has. */
static bool stands_alone(const struct wire_chain *chain)
{
    struct wire_notify_view n;
    return wire_notify_error(chain, &n) || wire_notify_find(chain, NOTIFY_COOKIE, &n);
}

int rules_payloads(const struct rule *rule, const struct wire_chain *chain)
{
    uint32_t seen = 0, twice = 0;
    for (size_t i = 0; i < chain->count; i++) {
        uint8_t type = chain->at[i].type;
        if (type < 33 || type > 64)
            continue;
        uint32_t bit = PAYLOAD_BIT(type);
        twice |= seen & bit;
        seen |= bit;
    }
    uint32_t some = seen & rule->together;
    if (some && some != rule->together)
        return NOTIFY_INVALID_SYNTAX;
    if (twice & (rule->need | rule->once | rule->together))
        return NOTIFY_INVALID_SYNTAX;
    if (rule->notify_may_stand_alone && stands_alone(chain))
        return 0;
    return (seen & rule->need) == rule->need ? 0 : NOTIFY_INVALID_SYNTAX;
}
