#include <stdlib.h>
#include <string.h>

#include "ike/gate.h"

/* IKE_AUTH (RFC 7296 1.2, 2.15 to 2.21.2), both roles, with the first child SA. */

/* Payloads that fit into a datagram of 576 octets, sealed. */
enum { INNER_WHOLE = 576 - 28 - 4 - WIRE_HEADER_LEN - 4 - 16 - 32 };

static struct bytes nonce_of(const struct sa *sa, bool initiators)
{
    const struct handshake *h = sa->handshake;
    if (initiators == sa->initiator)
        return (struct bytes){h->n.nonce_own, NONCE_LEN};
    return (struct bytes){h->n.nonce_peer, h->n.nonce_peer_len};
}

static int install(struct ike_engine *e, const struct sa *sa, struct child *c)
{
    struct secrets s = {.nonce_i = nonce_of(sa, true), .nonce_r = nonce_of(sa, false)};
    return child_install(e, c, &s);
}

/* All that was only for the handshake goes. The caller has told of it. */
static void established(struct ike_engine *e, struct sa *sa)
{
    sa_established(e, sa);
    sa->auth_fresh = !sa->initiator;
    handshake_free(e, sa);
}

/* ---- initiator */

int auth_begin(struct ike_engine *e, struct sa *sa)
{
    proof_own_identity(e, sa, NULL, &sa->handshake->own);
    sa->handshake->peer = e->conf->remote_id;
    int err = ask_choose_method(e, sa);
    if (err == 0)
        err = ask_open(e, sa, IKE_WANT_SIGN);
    if (err < 0)
        attempt_failed(e, sa, err, 0, false,
                       explain(e, "we cannot prove who we are to this gateway: %s",
                               err == ERR_UNSUPPORTED
                                   ? "it cannot verify signatures of our kind of key"
                                   : err_sentence(err)));
    return 0;
}

/* What is wanted of the IKE SA, and of its first child when it is to have one at once. */
static void put_wishes(struct ike_engine *e, struct sa *sa, struct child *c, struct wire_builder *b)
{
    uint8_t spi[4];
    struct writer w = writer_of(spi, sizeof(spi));
    const struct tunnel *t = sa->tunnel;
    config_request(e, t->renews ? map_get(&e->tunnels, t->renews) : NULL, b);
    if (sa->initial_contact)
        wire_put_notify(b, NOTIFY_INITIAL_CONTACT, (struct bytes){0});
    if (c) {
        writer_u32(&w, c->spi_in);
        struct select_wish wish = {.protocol = child_protocol(e), .spi = writer_view(&w)};
        hosts_put(c, b);
        size_t count = select_offer(e->conf, &wish, e->offer);
        wire_put_sa(b, e->offer, count);
        terms_offer_ts(e, sa, c, NULL, b);
    }
    if (!c || !c->hosts)
        mobike_put_support(e, sa, b);
}

/* NULL and 0: there is to be none yet. */
static int begin_child(struct ike_engine *e, struct sa *sa, struct child **out)
{
    *out = NULL;
    if (sa->handshake->childless)
        return 0;
    struct child *c = child_create(e, sa, NULL);
    if (!c)
        return ERR_LIMIT;
    c->initiator = true;
    sa->handshake->spi_in = c->spi_in;
    *out = c;
    return hosts_wanted(e, sa, NULL) ? hosts_begin(e, c) : 0;
}

static int send_request(struct ike_engine *e, struct sa *sa, struct bytes auth)
{
    struct handshake *h = sa->handshake;
    struct wire_builder b;
    struct child *c;
    int err = begin_child(e, sa, &c);
    if (err < 0)
        return err;
    sk_begin(e, &b);
    wire_put_id(&b, PAYLOAD_IDi, &h->own);
    proof_put_certs(e, sa, &b);
    proof_put_certreq(e, &b);
    if (e->conf->remote_id.type != IDENTITY_NONE)
        wire_put_id(&b, PAYLOAD_IDr, &e->conf->remote_id);
    err = proof_put_auth(e, sa, auth, &b);
    if (err < 0)
        return err;
    put_wishes(e, sa, c, &b);
    crash_put_token(e, sa, &b);
    /* not so long that for its sake fragments are needed, where that can be */
    if (h->peer_methods & AUTH_ANNOUNCED && !proof_put_methods(e, &b, INNER_WHOLE))
        (void)proof_put_methods(e, &b, SIZE_MAX);
    struct message *m = sk_seal(e, sa, EXCHANGE_IKE_AUTH, false, sa->next_out, &b);
    if (!m)
        return ERR_MEMORY;
    sa_set_state(e, sa, IKE_STATE_AUTH_SENT);
    window_open(e, sa, (struct task){.kind = TASK_AUTH}, m);
    return 0;
}

/* The first child out of the response; the IKE SA itself is proven by now. */
static int finish_child(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                        struct child *c)
{
    int err = config_read_reply(e, chain, sa->tunnel);
    if (err < 0)
        return err;
    err = terms_accept(e, sa, c, NULL, chain, SELECT_KE_NEVER, 0);
    struct sa *old = NULL;
    if (err == 0 && sa->tunnel->renews)
        err = reauth_take_over(e, sa, &old);
    if (err < 0)
        return err;
    err = install(e, sa, c);
    if (old)
        reauth_retire(e, old);
    return err;
}

/* The IKE SA stands without its first child (RFC 7296 1.2): that is worth keeping when another
 * child may succeed, one for a single pair of selectors or one of those configured beside it. */
static bool finish_childless(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                             uint16_t notify)
{
    bool others = e->conf->child_count > 0 && notify == NOTIFY_TS_UNACCEPTABLE;
    struct child *c = child_find(sa, sa->handshake->spi_in);
    if ((notify != NOTIFY_SINGLE_PAIR_REQUIRED && !others) || sa->tunnel->renews)
        return false;
    if (config_read_reply(e, chain, sa->tunnel) < 0 ||
        (notify == NOTIFY_SINGLE_PAIR_REQUIRED && !wish_pairs(e, sa, 0)) ||
        tunnel_set_peer(e, sa->tunnel, &sa->handshake->peer) < 0)
        return false;
    if (c)
        child_free(e, c);
    wish_start(e, sa);
    sa->childless_at = e->now + CHILDLESS_LIFE;
    established(e, sa);
    task_run(e, sa);
    return true;
}

/* As we wanted it: the IKE SA stands, and all children come by exchanges of their own. */
static int stand_alone(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain)
{
    int err = config_read_reply(e, chain, sa->tunnel);
    if (err == 0)
        err = tunnel_set_peer(e, sa->tunnel, &sa->handshake->peer);
    if (err < 0)
        return err;
    mobike_read_support(e, sa, chain);
    wish_missing(e, sa);
    sa->childless_at = e->now + CHILDLESS_LIFE;
    reauth_begin(e, sa->tunnel, chain);
    established(e, sa);
    roam_settle(e, sa);
    task_run(e, sa);
    return 0;
}

static void finish(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain)
{
    struct wire_notify_view n;
    struct child *c = child_find(sa, sa->handshake->spi_in);
    if (path_bars_ah(e, sa)) { /* which the peer may have refused already, with fewer words */
        attempt_failed(e, sa, terms_explain_nat(e), 0, true, e->why);
        return;
    }
    crash_read_token(e, sa, chain); /* the peer is proven */
    if (wire_notify_error(chain, &n)) {
        if (finish_childless(e, sa, chain, n.type))
            return;
        attempt_failed(e, sa, explain_error(n.type), n.type, true, explain_notify(e, sa, n.type));
        return;
    }
    bool childless = sa->handshake->childless;
    int err = childless ? stand_alone(e, sa, chain)
                        : tunnel_set_peer(e, sa->tunnel, &sa->handshake->peer);
    if (err == 0 && !childless)
        err = c ? finish_child(e, sa, chain, c) : ERR_STATE;
    if (err < 0)
        attempt_failed(e, sa, err, 0, true, e->why);
    if (err < 0 || childless)
        return;
    wish_start(e, sa);
    if (wire_notify_find(chain, NOTIFY_ADDITIONAL_TS_POSSIBLE, &n))
        wish_rest(e, sa, c);
    if (!c->hosts)
        mobike_read_support(e, sa, chain);
    tunnel_up(e, sa->tunnel, c);
    reauth_begin(e, sa->tunnel, chain); /* the chain goes with the handshake */
    established(e, sa);
    roam_settle(e, sa);
    task_run(e, sa);
}

int auth_response(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct handshake *h = sa->handshake;
    struct wire_notify_view n;
    if (!sa->tunnel) { /* given up meanwhile */
        attempt_failed(e, sa, ERR_DELETED, 0, wire_find(in->inner, PAYLOAD_AUTH), NULL);
        return 0;
    }
    if (!wire_find(in->inner, PAYLOAD_AUTH)) {
        uint16_t type = wire_notify_error(in->inner, &n) ? n.type : 0;
        attempt_failed(e, sa, explain_error(type), type, false, explain_notify(e, sa, type));
        return 0;
    }
    int err = proof_check(e, sa, in->inner, CERT_FOR_GATEWAY);
    if (err < 0) {
        attempt_failed(e, sa, err, NOTIFY_AUTHENTICATION_FAILED, true, e->why);
        return 0;
    }
    if (h->peer_by == CONF_AUTH_CERT) {
        finish(e, sa, in->inner);
        return 0;
    }
    h->inner = message_create(e, in->inner_octets);
    h->inner_first = in->inner_first;
    err = h->inner ? ask_open(e, sa, IKE_WANT_VERIFY_PSK) : ERR_MEMORY;
    if (err < 0)
        attempt_failed(e, sa, err, 0, true, err_sentence(err));
    return 0;
}

void auth_response_answered(struct ike_engine *e, struct sa *sa, const struct ike_answer *answer)
{
    struct handshake *h = sa->handshake;
    sa_disarm(e, &sa->timer_out);
    bool signing = h->want == IKE_WANT_SIGN;
    if (answer->result < 0) {
        attempt_failed(e, sa, answer->result, signing ? 0 : NOTIFY_AUTHENTICATION_FAILED, !signing,
                       signing ? explain(e, "we could not sign: %s", err_sentence(answer->result))
                               : explain_auth(e, sa, answer->result));
        return;
    }
    if (signing) {
        int err = send_request(e, sa, (struct bytes){answer->auth, answer->auth_len});
        if (err < 0)
            attempt_failed(e, sa, err, 0, false, e->why[0] ? e->why : err_sentence(err));
        return;
    }
    if (wire_walk(h->inner_first, message_bytes(h->inner), &e->inner_chain) < 0)
        attempt_failed(e, sa, ERR_SYNTAX, 0, true, err_sentence(ERR_SYNTAX));
    else
        finish(e, sa, &e->inner_chain);
}

/* ---- responder */

/* What we can judge without keys. */
static int judge(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain)
{
    if (!reload_allows(e, sa)) {
        explain(e, "the configuration was changed during this handshake, and its algorithms are no "
                   "longer allowed; the peer may begin again");
        return ERR_NO_PROPOSAL;
    }
    proof_own_identity(e, sa, chain, &sa->handshake->own);
    proof_read_methods(sa, chain);
    int err = proof_check(e, sa, chain, CERT_FOR_CLIENT);
    if (err < 0)
        return err;
    err = ask_choose_method(e, sa);
    if (err < 0)
        explain(e, "the peer cannot verify signatures of our kind of key; give the gateway an "
                   "RSA or ECDSA certificate as well");
    return err;
}

static uint16_t notify_of(int err)
{
    return err == ERR_SYNTAX        ? NOTIFY_INVALID_SYNTAX
           : err == ERR_NO_PROPOSAL ? NOTIFY_NO_PROPOSAL_CHOSEN
                                    : NOTIFY_AUTHENTICATION_FAILED;
}

/* The IKE_AUTH request is in h->inner, and `chain` is what it holds. */
static void judge_and_ask(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain)
{
    struct handshake *h = sa->handshake;
    int err = judge(e, sa, chain);
    if (err < 0) {
        attempt_refused(e, sa, EXCHANGE_IKE_AUTH, err, notify_of(err), e->why);
        return;
    }
    /* Not another device with the same name: that one has another address or port. */
    const struct tunnel *former = tunnel_find(e, &h->peer, &sa->path.remote);
    sa->tunnel->renews = former ? former->id : 0;
    uint32_t want = IKE_WANT_ADMIT | IKE_WANT_SIGN;
    if (h->peer_by == CONF_AUTH_PSK)
        want |= IKE_WANT_VERIFY_PSK;
    err = h->inner ? ask_open(e, sa, want) : ERR_MEMORY;
    sa->tunnel->admitted |= err == 0; /* from here on there may be leases */
    if (err < 0)
        attempt_refused(e, sa, EXCHANGE_IKE_AUTH, err, NOTIFY_TEMPORARY_FAILURE, err_sentence(err));
}

int auth_request(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct handshake *h = sa->handshake;
    path_settle(sa, &in->path);
    gate_heard(e, sa);
    if (intermediate_is_due(sa)) {
        attempt_refused(e, sa, EXCHANGE_IKE_AUTH, ERR_SYNTAX, NOTIFY_INVALID_SYNTAX,
                        "the peer left out an additional key exchange that was agreed on");
        return LATER;
    }
    intermediate_end(sa, in->header.message_id);
    sa_set_state(e, sa, IKE_STATE_AUTH_ASKED);
    h->inner = message_create(e, in->inner_octets);
    h->inner_first = in->inner_first;
    judge_and_ask(e, sa, in->inner);
    return LATER;
}

void auth_ask_again(struct ike_engine *e, struct sa *sa)
{
    struct handshake *h = sa->handshake;
    ask_close(e, sa);
    if (!sa->initiator && wire_walk(h->inner_first, message_bytes(h->inner), &e->inner_chain) == 0)
        judge_and_ask(e, sa, &e->inner_chain);
    else if (!sa->initiator)
        attempt_refused(e, sa, EXCHANGE_IKE_AUTH, ERR_SYNTAX, NOTIFY_INVALID_SYNTAX,
                        err_sentence(ERR_SYNTAX));
    else if (ask_open(e, sa, h->want) < 0)
        attempt_failed(e, sa, ERR_MEMORY, 0, true, err_sentence(ERR_MEMORY));
}

static int keep_networks(struct tunnel *t, const struct ike_answer *answer)
{
    size_t count = answer->network_count;
    if (count == 0 || count > ARRAY_LEN(answer->networks))
        return count == 0 ? 0 : ERR_ARGUMENT;
    t->networks = malloc(count * sizeof(*t->networks));
    if (!t->networks)
        return ERR_MEMORY;
    memcpy(t->networks, answer->networks, count * sizeof(*t->networks));
    t->network_count = (uint8_t)count;
    return 0;
}

static int admit(struct ike_engine *e, struct sa *sa, const struct ike_answer *answer)
{
    struct tunnel *t = sa->tunnel;
    t->ip4 = answer->ip4;
    t->ip6 = answer->ip6;
    t->peer_by = sa->handshake->peer_by;
    if (answer->peer_name[0]) {
        t->peer_name = strndup(answer->peer_name, CONF_NAME_MAX - 1);
        if (!t->peer_name)
            return ERR_MEMORY;
    }
    int err = keep_networks(t, answer);
    return err < 0 ? err : tunnel_set_peer(e, t, &sa->handshake->peer);
}

/* Returns the child, or NULL and *notify. Its failure leaves the IKE SA whole (RFC 7296 1.2). */
static struct child *first_child(struct ike_engine *e, struct sa *sa,
                                 const struct wire_chain *chain, int *notify)
{
    struct child *c = NULL;
    *notify = terms_choose(e, sa, chain, NULL, SELECT_KE_NEVER, 0, &c);
    if (*notify == 0 && install(e, sa, c) < 0) {
        child_free(e, c);
        *notify = NOTIFY_NO_ADDITIONAL_SAS;
    }
    return *notify == 0 ? c : NULL;
}

/* The IKE SA stands, and the peer may ask for a child once more; to us it has come to nothing. */
static void refuse_child(struct ike_engine *e, struct sa *sa, uint16_t notify,
                         struct wire_builder *b)
{
    wire_put_notify(b, notify, (struct bytes){0});
    struct ike_event *event =
        queue_event(e, IKE_EVENT_REFUSED, sa->tunnel, &sa->path, explain_error(notify), e->why);
    if (event) {
        event->notify = notify;
        event->exchange = EXCHANGE_IKE_AUTH;
    }
    refusal_count(e, explain_error(notify));
    sa->tunnel->refused = true;
    sa->childless_at = e->now + CHILDLESS_LIFE;
}

/* notify: why there can be no child, or 0. */
static void answer_request(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                           struct bytes auth, int notify)
{
    struct wire_builder *b = &e->reply;
    struct wire_notify_view n;
    sk_begin(e, b);
    wire_put_id(b, PAYLOAD_IDr, &sa->handshake->own);
    proof_put_certs(e, sa, b);
    if (proof_put_auth(e, sa, auth, b) < 0) {
        attempt_refused(e, sa, EXCHANGE_IKE_AUTH, ERR_CRYPTO, NOTIFY_AUTHENTICATION_FAILED,
                        err_sentence(ERR_CRYPTO));
        return;
    }
    if (e->conf->unique && wire_notify_find(chain, NOTIFY_INITIAL_CONTACT, &n))
        tunnel_replace_others(e, sa->tunnel);
    bool wanted = wire_find(chain, PAYLOAD_SA);
    struct child *c = notify == 0 && wanted ? first_child(e, sa, chain, &notify) : NULL;
    config_reply(e, sa->tunnel, chain, b); /* it is the IKE SA's, with or without a child */
    if (c)
        terms_put(e, c, NULL, b);
    else if (notify)
        refuse_child(e, sa, (uint16_t)notify, b);
    else
        sa->childless_at = e->now + CHILDLESS_LIFE; /* RFC 6023 */
    if (c ? !c->hosts : notify == 0 && !e->conf->transport)
        mobike_read_support(e, sa, chain);
    if (notify == 0 && sa->tunnel->mobike)
        mobike_put_support(e, sa, b);
    crash_put_token(e, sa, b);
    crash_read_token(e, sa, chain);
    struct message *m = sk_seal(e, sa, EXCHANGE_IKE_AUTH, true, sa->next_in, b);
    if (!m) {
        tunnel_end(e, sa->tunnel, IKE_EVENT_REFUSED, ERR_MEMORY, 0, err_sentence(ERR_MEMORY));
        sa_bury(e, sa);
        return;
    }
    sa_disarm(e, &sa->timer_out);
    window_answer(e, sa, m, &sa->path);
    if (c) {
        tunnel_up(e, sa->tunnel, c);
        reauth_stands(e, sa->tunnel);
    }
    established(e, sa);
    tunnel_limit_others(e, sa->tunnel);
}

void auth_request_answered(struct ike_engine *e, struct sa *sa, const struct ike_answer *answer)
{
    struct handshake *h = sa->handshake;
    /* It is proven, though there is no address for it: the IKE SA stands, the child does not (RFC
     * 7296 3.15.4), and what it says of its former tunnels holds. */
    bool no_address = answer->result == ERR_ADDRESS && answer->auth_len > 0;
    int err = no_address ? 0 : answer->result;
    if (err == 0)
        err = admit(e, sa, answer);
    /* Nothing was leased, unless it was asked twice: a reload came between. */
    if (answer->result < 0 && (e->reloaded_at == 0 || sa->created > e->reloaded_at))
        sa->tunnel->admitted = false;
    if (err < 0) {
        attempt_refused(e, sa, EXCHANGE_IKE_AUTH, err, NOTIFY_AUTHENTICATION_FAILED,
                        explain_auth(e, sa, err));
        return;
    }
    if (wire_walk(h->inner_first, message_bytes(h->inner), &e->inner_chain) < 0) {
        attempt_refused(e, sa, EXCHANGE_IKE_AUTH, ERR_SYNTAX, NOTIFY_INVALID_SYNTAX,
                        err_sentence(ERR_SYNTAX));
        return;
    }
    if (no_address)
        explain_auth(e, sa, ERR_ADDRESS);
    answer_request(e, sa, &e->inner_chain, (struct bytes){answer->auth, answer->auth_len},
                   no_address ? NOTIFY_INTERNAL_ADDRESS_FAILURE : 0);
}
