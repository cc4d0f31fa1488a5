#include <string.h>

#include "ike/gate.h"

/* The way of a datagram whose SA is known: rules, window, protection, rules again, handler; then
 * the one place where a handler's result becomes an answer, an end or silence. */

void attempt_failed(struct ike_engine *e, struct sa *sa, int err, uint16_t notify, bool tell,
                    const char *text)
{
    struct tunnel *t = sa->tunnel;
    uint16_t said = notify;
    if (t)
        tunnel_end(e, t, IKE_EVENT_FAILED, err, notify, text);
    if (!tell || sa->state != IKE_STATE_AUTH_SENT) {
        sa_bury(e, sa);
        return;
    }
    if (said != NOTIFY_AUTHENTICATION_FAILED)
        said = 0;
    handshake_free(e, sa);
    sa_set_state(e, sa, IKE_STATE_DELETING);
    task_first(e, sa, (struct task){.kind = TASK_DELETE_IKE, .notify = said});
    task_run(e, sa);
}

void attempt_refused(struct ike_engine *e, struct sa *sa, uint8_t exchange, int err,
                     uint16_t notify, const char *text)
{
    sk_begin(e, &e->reply);
    wire_put_notify(&e->reply, notify, (struct bytes){e->notify_data, e->notify_len});
    struct message *m = sk_seal(e, sa, exchange, true, sa->next_in, &e->reply);
    if (m)
        window_answer(e, sa, m, &sa->path);
    if (sa->tunnel) {
        struct tunnel *t = sa->tunnel;
        gate_failed(e, sa, err);
        refusal_budget(e, t, err, false);
        if (!t->peer && sa->handshake && sa->handshake->peer.type != IDENTITY_NONE &&
            tunnel_set_peer(e, t, &sa->handshake->peer) < 0)
            e->counters.drop_memory++;
        tunnel_end(e, t, IKE_EVENT_REFUSED, err, notify, text);
    }
    sa_linger(e, sa);
}

static void send_answer(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct message *m = sk_seal(e, sa, in->header.exchange, true, in->header.message_id, &e->reply);
    if (!m) {
        if (peer_is_logged(e))
            log_error("ike: an answer could not be made; the SA ends");
        if (sa->tunnel && sa->tunnel->sa == sa)
            tunnel_end(e, sa->tunnel, IKE_EVENT_DOWN, ERR_MEMORY, 0, err_sentence(ERR_MEMORY));
        sa_bury(e, sa);
        return;
    }
    sa->request_hash = in->hash;
    window_answer(e, sa, m, &in->path);
}

/* INVALID_SYNTAX about an authentic message ends the SA on both sides (RFC 7296 2.21.3). */
static void answer(struct ike_engine *e, struct sa *sa, const struct input *in, int result)
{
    if (result > 0) {
        sk_begin(e, &e->reply);
        wire_put_notify(&e->reply, (uint16_t)result, (struct bytes){e->notify_data, e->notify_len});
        if (in->header.exchange != EXCHANGE_IKE_AUTH)
            refusal_of_request(e, sa, in->header.exchange, (uint16_t)result);
    }
    send_answer(e, sa, in);
    if (result == NOTIFY_INVALID_SYNTAX) {
        if (sa->tunnel && sa->tunnel->sa == sa)
            tunnel_end(e, sa->tunnel, sa->tunnel->established ? IKE_EVENT_DOWN : IKE_EVENT_REFUSED,
                       ERR_SYNTAX, NOTIFY_INVALID_SYNTAX,
                       "the peer sent a message that cannot be read");
        sa->peer_deleted = true;
    }
    if (sa->peer_deleted) {
        rekey_drop_rival(e, sa);
        sa_linger(e, sa);
    }
}

/* 0 and the chain inside, or a notify. What stands before SK is covered by the same check value,
 * and the same rules (RFC 7296 2.5). */
static int read_inside(struct ike_engine *e, struct input *in, const struct rule *rule)
{
    if (wire_walk(in->inner_first, in->inner_octets, &e->inner_chain) < 0)
        return NOTIFY_INVALID_SYNTAX;
    in->inner = &e->inner_chain;
    const struct wire_payload_view *unknown = wire_unknown_critical(in->outer);
    if (!unknown)
        unknown = wire_unknown_critical(in->inner);
    if (unknown) {
        e->notify_data[0] = unknown->type;
        e->notify_len = 1;
        return NOTIFY_UNSUPPORTED_CRITICAL_PAYLOAD;
    }
    return rules_payloads(rule, in->inner);
}

/* True when there is a whole message to be read. */
static bool open_sealed(struct ike_engine *e, struct sa *sa, struct input *in)
{
    if (!fragment_is_missing(sa, in)) {
        e->counters.drop_fragment++;
        return false;
    }
    if (sk_open(e, sa, in) < 0) {
        e->counters.drop_integrity++;
        return false;
    }
    keepalive_called(e, sa, in);
    sa->last_heard = e->now;
    sa->messages++;
    path_heard(e, sa, in);
    return fragment_take(e, sa, in);
}

/* The answered request once more, cut in another way: only its first fragment is answered, and only
 * when it is authentic (RFC 7383 2.6.1). */
static bool is_recut(struct ike_engine *e, struct sa *sa, struct input *in)
{
    if (in->fragment.number != 1 || sk_open(e, sa, in) < 0)
        return false;
    in->hash = window_hash(e, in->datagram);
    return true;
}

static void answer_again(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    e->counters.replayed++;
    if (sa->replays < SHRINK_TRIES)
        sa->replays++;
    else
        fragment_shrink_reply(e, sa);
    queue_send(e, &in->path, sa->reply);
}

/* False when it is not to be worked on: then it was answered again, or counted. */
static bool is_new(struct ike_engine *e, struct sa *sa, struct input *in)
{
    switch (window_request(e, sa, in)) {
    case WINDOW_NEW:
        return true;
    case WINDOW_AGAIN:
        if (!is_recut(e, sa, in))
            break;
        sa->request_hash = in->hash;
        answer_again(e, sa, in);
        return false;
    case WINDOW_OLD:
        answer_again(e, sa, in);
        return false;
    case WINDOW_DROP:
        break;
    }
    e->counters.drop_message_id++;
    return false;
}

static void request(struct ike_engine *e, struct sa *sa, struct input *in, const struct rule *rule)
{
    if (!is_new(e, sa, in))
        return;
    bool agreed = in->header.exchange != EXCHANGE_IKE_INTERMEDIATE || intermediate_is_agreed(sa);
    if (!rule || !agreed) {
        e->counters.drop_rule++;
        return;
    }
    if (sa->handshake && gate_blocks(e, &sa->handshake->shown))
        return; /* no guess before the wait is over */
    if (!open_sealed(e, sa, in))
        return;
    int result = read_inside(e, in, rule);
    if (result != 0 && sa->handshake) {
        sa->request_hash = in->hash;
        path_settle(sa, &in->path);
        attempt_refused(e, sa, rule->exchange, ERR_SYNTAX, (uint16_t)result,
                        "the peer's message lacks what it must hold or cannot be read");
        return;
    }
    if (rule->exchange == EXCHANGE_IKE_AUTH)
        sa->request_hash = in->hash;
    if (result == 0)
        result = rule->run(e, sa, in);
    if (result == LATER || sa->buried)
        return;
    sa->auth_fresh = false;
    if (result < 0)
        result = result == ERR_SYNTAX ? NOTIFY_INVALID_SYNTAX : NOTIFY_TEMPORARY_FAILURE;
    answer(e, sa, in, result);
    task_run(e, sa);
}

static void broken_answer(struct ike_engine *e, struct sa *sa, int notify)
{
    if (sa->handshake) {
        attempt_failed(e, sa, ERR_SYNTAX, (uint16_t)notify, true,
                       "the gateway's answer cannot be read; its log may say more");
        return;
    }
    if (sa->tunnel && sa->tunnel->sa == sa && sa->state == IKE_STATE_ESTABLISHED)
        tunnel_close(e, sa->tunnel, ERR_SYNTAX, (uint16_t)notify,
                     "the peer sent an answer that cannot be read");
    else
        sa_bury(e, sa);
    rekey_drop_rival(e, sa);
}

/* The peer could not read our request and has ended the SA: no Delete is needed (RFC 7296
 * 2.21.3). */
static bool ended_by_peer(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct wire_notify_view n;
    if (sa->handshake || !wire_notify_find(in->inner, NOTIFY_INVALID_SYNTAX, &n))
        return false;
    if (sa->tunnel && sa->tunnel->sa == sa)
        tunnel_end(e, sa->tunnel, IKE_EVENT_DOWN, ERR_PEER, NOTIFY_INVALID_SYNTAX,
                   "the peer could not read our request and has ended the connection; its log "
                   "may say why");
    rekey_drop_rival(e, sa);
    sa_bury(e, sa);
    return true;
}

static void response(struct ike_engine *e, struct sa *sa, struct input *in, const struct rule *rule)
{
    if (!sa->out.request || in->header.message_id != sa->next_out ||
        in->header.exchange != sa->out.exchange) {
        e->counters.drop_message_id++;
        return;
    }
    if (!rule) {
        e->counters.drop_rule++;
        return;
    }
    if (!rule->protected) {
        sa->messages++;
        if (wire_unknown_critical(in->outer) || rules_payloads(rule, in->outer) != 0 ||
            rule->run(e, sa, in) < 0)
            e->counters.drop_malformed++;
        return;
    }
    if (!open_sealed(e, sa, in))
        return;
    int result = read_inside(e, in, rule);
    e->done = window_close(e, sa);
    reauth_answered(e, sa);
    if (result != 0)
        broken_answer(e, sa, result);
    else if (ended_by_peer(e, sa, in))
        log_debug("ike: the peer calls our request unreadable");
    else if (rule->run(e, sa, in) < 0)
        log_debug("ike: an answer came to nothing");
    creation_free(e, &e->done.creation);
    if (!sa->buried)
        task_run(e, sa);
}

/* A first answer has the responder's SPI still to tell; all others must carry both. */
static bool spis_fit(const struct sa *sa, const struct wire_header *h)
{
    uint64_t peer = sa->initiator ? h->spi_r : h->spi_i;
    bool from_initiator = h->flags & FLAG_INITIATOR;
    return from_initiator != sa->initiator &&
           (sa->state == IKE_STATE_INIT_SENT || peer == sa->spi_peer);
}

void sa_input(struct ike_engine *e, struct sa *sa, struct input *in)
{
    if (!spis_fit(sa, &in->header)) {
        e->counters.drop_unknown_spi++;
        return;
    }
    if (!fragment_read(e, sa, in))
        return;
    bool is_response = in->header.flags & FLAG_RESPONSE;
    if (is_response && in->header.exchange != EXCHANGE_IKE_SA_INIT &&
        !wire_find(in->outer, PAYLOAD_SK) && !in->fragment.number) {
        crash_heard(e, sa, in); /* in the clear */
        return;
    }
    const struct rule *rule =
        rules_find(in->header.exchange, is_response, sa->initiator, sa->state);
    if (is_response)
        response(e, sa, in, rule);
    else
        request(e, sa, in, rule);
}
