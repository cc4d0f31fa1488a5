#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ike/internal.h"

/* One sentence: what happened, why, and what to do next. */

const char *explain(struct ike_engine *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(e->why, sizeof(e->why), format, args);
    va_end(args);
    e->why_offered[0] = e->why_accepted[0] = '\0';
    return e->why;
}

/* What goes with the sentence of before, at more length. */
static void with_lists(struct ike_engine *e, const char *offered, const char *accepted)
{
    snprintf(e->why_offered, sizeof(e->why_offered), "%s", offered);
    snprintf(e->why_accepted, sizeof(e->why_accepted), "%s", accepted);
}

void identity_text(const struct identity *id, char text[static IDENTITY_TEXT])
{
    (void)cert_identity_print(id, text);
}

static void list_proposals(const struct proposal *p, size_t count, char *out, size_t size)
{
    char one[512];
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count && at + 8 < size; i++) {
        int n =
            snprintf(out + at, size - at, "%s%s", i ? ", " : "", suite_print_proposal(&p[i], one));
        if (n < 0 || (size_t)n >= size - at) {
            memcpy(out + size - 4, "...", 4);
            return;
        }
        at += (size_t)n;
    }
}

/* All transforms of one type in a list of proposals. */
static struct proposal of_type(const struct proposal *p, size_t count, uint8_t type)
{
    struct proposal all = {0};
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < p[i].count; j++) {
            const struct transform *t = &p[i].transforms[j];
            if (t->type == type && !(type == TRANSFORM_INTEG && t->id == 0))
                (void)proposal_add(&all, type, t->id, t->key_bits);
        }
    return all;
}

/* Do the lists have nothing of that type in common? */
static bool is_missing(const struct proposal *theirs, size_t count, const struct proposal *ours,
                       size_t our_count, uint8_t type)
{
    struct proposal a = of_type(theirs, count, type), b = of_type(ours, our_count, type);
    for (size_t i = 0; i < a.count; i++)
        if (proposal_has(&b, &a.transforms[i]))
            return false;
    return a.count > 0 && b.count > 0;
}

/* Windows offers nothing better than MODP1024 until it is told to. */
static bool only_modp1024(const struct proposal *p, size_t count)
{
    struct proposal groups = of_type(p, count, TRANSFORM_KE);
    return groups.count == 1 && groups.transforms[0].id == 2;
}

/* The one type that stands in the way, or a word for all. */
static const char *obstacle(const struct proposal *theirs, size_t count,
                            const struct proposal *ours, size_t our_count, uint8_t *type)
{
    static const char *const words[] = {[TRANSFORM_ENCR] = "common cipher",
                                        [TRANSFORM_PRF] = "common PRF",
                                        [TRANSFORM_INTEG] = "common integrity algorithm",
                                        [TRANSFORM_KE] = "common key exchange group"};
    static const uint8_t order[] = {TRANSFORM_KE, TRANSFORM_ENCR, TRANSFORM_PRF, TRANSFORM_INTEG};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        *type = order[i];
        if (is_missing(theirs, count, ours, our_count, order[i]))
            return words[order[i]];
    }
    *type = 0;
    return "common algorithms";
}

static bool any_pq(const struct proposal *p, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < p[i].count; j++) {
            const struct transform *t = &p[i].transforms[j];
            if ((t->type == TRANSFORM_KE || transform_is_addke(t->type)) && suite_is_pq(t->id))
                return true;
        }
    return false;
}

static void list_type(const struct proposal *p, size_t count, uint8_t type, char *out, size_t size)
{
    struct proposal one = of_type(p, count, type);
    list_proposals(type ? &one : p, type ? 1 : count, out, size);
}

const char *explain_proposals(struct ike_engine *e, const struct proposal *theirs, size_t count,
                              const struct proposal *ours, size_t our_count)
{
    char a[120], b[120], offered[IKE_LIST_TEXT], accepted[IKE_LIST_TEXT];
    uint8_t type;
    const char *what = obstacle(theirs, count, ours, our_count, &type);
    const char *policy = e->conf->policy ? conf_policy_name(e->conf->policy) : NULL;
    list_proposals(theirs, count, offered, sizeof(offered));
    list_proposals(ours, our_count, accepted, sizeof(accepted));
    list_type(theirs, count, type, a, sizeof(a));
    list_type(ours, our_count, type, b, sizeof(b));
    bool lacks_pq = e->conf->pq == CONF_PQ_REQUIRE && !any_pq(theirs, count);
    if (lacks_pq)
        list_type(theirs, count, TRANSFORM_KE, a, sizeof(a));
    if (lacks_pq)
        explain(e,
                "no common key exchange: peer offered %s, none of it withstands quantum computers, "
                "and `pq = require` accepts nothing else; give the peer a proposal with "
                "ke1_mlkem768, or write pq = prefer here",
                a);
    else if (type == TRANSFORM_KE && only_modp1024(theirs, count))
        explain(e,
                "no common key exchange group: peer offered only MODP1024, which is too weak; on "
                "Windows run Set-VpnConnectionIPsecConfiguration with -DHGroup ECP384, or set the "
                "registry value NegotiateDH2048_AES256 to 2");
    else
        explain(
            e,
            "no %s: peer offered %s and we accept %s%s%s; add one of the peer's to the proposals "
            "here, or one of ours there",
            what, a, b, policy ? " by the policy " : "", policy ? policy : "");
    with_lists(e, offered, accepted);
    return e->why;
}

struct advice {
    uint16_t notify;
    int err;
    const char *sentence;
};
static const struct advice advices[] = {
    {NOTIFY_NO_PROPOSAL_CHOSEN, ERR_NO_PROPOSAL,
     "the gateway accepts none of our algorithms; compare the proposals on both sides"},
    {NOTIFY_INVALID_KE_PAYLOAD, ERR_NO_PROPOSAL,
     "the gateway wants a key exchange group that we do not offer; add one of its groups to "
     "the ike proposal"},
    {NOTIFY_AUTHENTICATION_FAILED, ERR_AUTH,
     "the gateway refused our authentication; check the pre-shared key or certificate and our "
     "identity; the gateway knows the reason (shrike explain there)"},
    {NOTIFY_TS_UNACCEPTABLE, ERR_TS,
     "the gateway accepts none of our traffic selectors; compare the networks on both sides"},
    {NOTIFY_INTERNAL_ADDRESS_FAILURE, ERR_ADDRESS,
     "the gateway has no inner address for us; its pool may be used up"},
    {NOTIFY_FAILED_CP_REQUIRED, ERR_ADDRESS,
     "the gateway wants us to ask for an inner address; turn on request of addresses"},
    {NOTIFY_INVALID_SYNTAX, ERR_PEER,
     "the gateway could not read our message; the versions of both programs "
     "would help in a report"},
    {NOTIFY_INVALID_MAJOR_VERSION, ERR_PEER,
     "the other side does not speak IKEv2; check the address"},
    {NOTIFY_NO_ADDITIONAL_SAS, ERR_PEER, "the peer allows no further SA"},
};

int explain_error(uint16_t notify)
{
    for (size_t i = 0; i < ARRAY_LEN(advices); i++)
        if (advices[i].notify == notify)
            return advices[i].err;
    return ERR_PEER;
}

/* The gateway had said how it lets peers prove themselves, and ours is no such way (RFC 9593). */
static const char *explain_methods(struct ike_engine *e, const struct sa *sa)
{
    char text[AUTH_METHODS_TEXT], where[ADDR_TEXT];
    const struct handshake *h = sa->handshake;
    if (!h || auth_methods_have(h->peer_methods, h->method, h->scheme))
        return NULL;
    return explain(
        e,
        "%s answered AUTHENTICATION_FAILED: it accepts %s, and we came with %s; use what "
        "it accepts",
        endpoint_print(&sa->path.remote, where), auth_methods_print(h->peer_methods, text),
        h->method == AUTH_SHARED_KEY ? "a pre-shared key" : "another signature");
}

static const char *advice_for(const struct ike_engine *e, const struct sa *sa, uint16_t notify)
{
    if (notify == NOTIFY_NO_PROPOSAL_CHOSEN && e->conf->pq == CONF_PQ_REQUIRE)
        return "the gateway accepts none of our algorithms; it may lack ML-KEM, and `pq = "
               "require` offers nothing else";
    /* Many say so, too, to an address for which they have nothing set up. */
    if (notify == NOTIFY_NO_PROPOSAL_CHOSEN && sa->state == IKE_STATE_INIT_SENT)
        return "the gateway accepts none of our algorithms, or has no connection for our address; "
               "compare the proposals and addresses on both sides";
    if (notify == NOTIFY_AUTHENTICATION_FAILED && intermediate_is_idle(sa))
        return "the gateway refused our authentication; check the pre-shared key or certificate "
               "and our identity (shrike explain there); if it is libreswan with intermediate=yes, "
               "take that out, or write `pq = off` here";
    for (size_t i = 0; i < ARRAY_LEN(advices); i++)
        if (advices[i].notify == notify)
            return advices[i].sentence;
    return "the peer refused; its log says why";
}

const char *explain_notify(struct ike_engine *e, const struct sa *sa, uint16_t notify)
{
    char name[WIRE_NAME_TEXT], where[ADDR_TEXT];
    const char *methods = notify == NOTIFY_AUTHENTICATION_FAILED ? explain_methods(e, sa) : NULL;
    if (methods)
        return methods;
    return explain(e, "%s answered %s: %s", endpoint_print(&sa->path.remote, where),
                   wire_notify_name(notify, name), advice_for(e, sa, notify));
}

const char *explain_timeout(struct ike_engine *e, const struct sa *sa)
{
    char where[ADDR_TEXT];
    endpoint_print(&sa->path.remote, where);
    if (sa->handshake && sa->handshake->early_unusable)
        return explain(e, "%s %s; its program may be at fault", where,
                       sa->handshake->early_error == NOTIFY_NO_PROPOSAL_CHOSEN
                           ? "chose algorithms that we did not offer"
                           : "answered with a first message that cannot be used");
    if (sa->handshake && sa->handshake->early_error)
        return explain_notify(e, sa, sa->handshake->early_error);
    if (sa->handshake && sa->handshake->closed_port)
        return explain(e,
                       "nobody listens at %s: its host answers that this UDP port is closed; check "
                       "that the gateway runs there, and the address and port",
                       where);
    if (sa->state == IKE_STATE_INIT_SENT)
        return explain(e,
                       "%s did not answer within 60 s; check the address, that the gateway runs, "
                       "and that UDP 500 and 4500 are open",
                       where);
    if (sa->state == IKE_STATE_AUTH_SENT || sa->state == IKE_STATE_INTERMEDIATE_SENT)
        return explain(e,
                       "%s answered the first message but not the second; check that UDP 4500 is "
                       "open%s",
                       where, sa->fragment ? "" : " and that fragments pass");
    return explain(e, "%s has not answered for 60 s; the connection is given up", where);
}

const char *explain_auth(struct ike_engine *e, const struct sa *sa, int err)
{
    char who[IDENTITY_TEXT], own[IDENTITY_TEXT];
    identity_text(&sa->handshake->peer, who);
    identity_text(&sa->handshake->own, own);
    switch (err) {
    case ERR_AUTH:
        return explain(e,
                       "the pre-shared key of %.100s is not the one we have for it (we are "
                       "%.100s); set the same key on both sides",
                       who, own);
    case ERR_UNKNOWN_PEER:
        return explain(e,
                       "nobody here has the identity %.120s; add a client with this identity, or "
                       "correct the identity on the other side",
                       who);
    case ERR_ADDRESS:
        return explain(e, "there is no free inner address for %.120s; enlarge the pool", who);
    default:
        return explain(e, "%.120s could not be let in: %s", who, err_sentence(err));
    }
}

static void list_selectors(const struct selector *s, size_t count, char *out, size_t size)
{
    char one[SELECTOR_TEXT];
    size_t at = 0;
    snprintf(out, size, "nothing");
    for (size_t i = 0; i < count && at < size; i++) {
        int n = snprintf(out + at, size - at, "%s%s", i ? ", " : "", selector_print(&s[i], one));
        at += n > 0 ? (size_t)n : 0;
    }
}

const char *explain_ts(struct ike_engine *e, const struct selector *theirs, size_t their_count,
                       const struct selector *ours, size_t our_count)
{
    char a[IKE_LIST_TEXT], b[IKE_LIST_TEXT];
    list_selectors(theirs, their_count, a, sizeof(a));
    list_selectors(ours, our_count, b, sizeof(b));
    explain(e,
            "no common traffic selectors: peer wants %.130s and we allow %.130s; make the networks "
            "on both sides agree",
            a, b);
    with_lists(e, a, b);
    return e->why;
}
