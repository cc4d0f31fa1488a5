#include <string.h>

#include "ike/gate.h"

/* IKE_SA_INIT (RFC 7296 1.2), both roles. Nothing here is authenticated: an initiator believes an
 * answer only so far as to go on with it, and a responder makes state last. */

/* What passes everywhere: 576 octets (RFC 791 3.1) without the headers of IPv4 and UDP. */
enum { INIT_LEN_MOST = 576 - 28 };
enum { OUR_HASHES = AUTH_HASH_SHA256 | AUTH_HASH_SHA384 | AUTH_HASH_SHA512 | AUTH_HASH_IDENTITY };

int init_values(const struct wire_chain *chain, struct exchange_values *out)
{
    *out = (struct exchange_values){0};
    const struct wire_payload_view *ke = wire_find(chain, PAYLOAD_KE);
    const struct wire_payload_view *nonce = wire_find(chain, PAYLOAD_NONCE);
    if (ke && wire_ke_read(ke->body, &out->ke) < 0)
        return ERR_SYNTAX;
    out->has_ke = ke;
    return nonce ? wire_nonce_read(nonce->body, &out->nonce) : ERR_SYNTAX;
}

static void put_hashes(struct wire_builder *b)
{
    uint8_t data[16];
    struct writer w = writer_of(data, sizeof(data));
    auth_hashes_write(&w, OUR_HASHES);
    wire_put_notify(b, NOTIFY_SIGNATURE_HASH_ALGORITHMS, writer_view(&w));
}

static void put_fragmentation(const struct ike_engine *e, struct wire_builder *b)
{
    if (e->conf->fragment)
        wire_put_notify(b, NOTIFY_IKEV2_FRAGMENTATION_SUPPORTED, (struct bytes){0});
}

static bool may_be_more(const struct ike_engine *e)
{
    for (size_t i = 0; i < e->conf->ike_count; i++)
        if (kes_may_be_more(&e->conf->ike[i]))
            return true;
    return false;
}

static bool knows_intermediate(const struct wire_chain *chain)
{
    struct wire_notify_view n;
    return wire_notify_find(chain, NOTIFY_INTERMEDIATE_EXCHANGE_SUPPORTED, &n);
}

/* Both sides have said that they take fragments (RFC 7383 2.3). */
static void read_fragmentation(const struct ike_engine *e, struct sa *sa,
                               const struct wire_chain *chain)
{
    struct wire_notify_view n;
    if (wire_notify_find(chain, NOTIFY_IKEV2_FRAGMENTATION_SUPPORTED, &n))
        sa->fragment = e->conf->fragment;
}

/* ---- initiator */

static const struct select_wish ike_wish = {.protocol = PROTOCOL_IKE, .with_ke = true};

static struct message *build_request(struct ike_engine *e, const struct sa *sa)
{
    const struct handshake *h = sa->handshake;
    struct wire_header header = {.spi_i = sa->spi_own,
                                 .version = 0x20,
                                 .exchange = EXCHANGE_IKE_SA_INIT,
                                 .flags = FLAG_INITIATOR};
    struct wire_builder b;
    size_t count = select_offer(e->conf, &ike_wish, e->offer);
    wire_begin(&b, e->out_buffer, AUTH_MESSAGE_MAX, &header);
    if (h->cookie_len > 0)
        wire_put_notify(&b, NOTIFY_COOKIE, (struct bytes){h->cookie, h->cookie_len});
    puzzle_put_solution(h, &b);
    wire_put_sa(&b, e->offer, count);
    negotiation_put(&b, &h->n);
    path_put_detection(e, &b, sa->spi_own, 0, &sa->path);
    put_fragmentation(e, &b);
    put_hashes(&b);
    if (may_be_more(e))
        wire_put_notify(&b, NOTIFY_INTERMEDIATE_EXCHANGE_SUPPORTED, (struct bytes){0});
    return message_create(e, wire_finish(&b));
}

static int send_request(struct ike_engine *e, struct sa *sa)
{
    struct message *m = build_request(e, sa);
    if (!m)
        return ERR_MEMORY;
    message_drop(e, &sa->handshake->request);
    sa->handshake->request = message_keep(m);
    window_open(e, sa, (struct task){.kind = TASK_INIT}, m);
    return 0;
}

int init_start(struct ike_engine *e, struct sa *sa)
{
    struct handshake *h = slab_take(&e->handshake_slab);
    if (!h)
        return ERR_LIMIT;
    sa->handshake = h;
    h->group = select_first_group(e->conf->ike, e->conf->ike_count);
    if (h->group == 0)
        return ERR_CONFIG;
    int err = negotiation_create(e, &h->n, h->group, NULL);
    if (err == 0)
        err = send_request(e, sa);
    if (err == 0)
        sa_set_state(e, sa, IKE_STATE_INIT_SENT);
    return err;
}

void init_again(struct ike_engine *e, struct sa *sa)
{
    time_us first = sa->out.first_sent;
    if (send_request(e, sa) == 0)
        sa->out.first_sent = first;
}

/* The responder wants another group: only one we offered, and only twice. */
static bool other_group(struct ike_engine *e, struct sa *sa, const struct wire_notify_view *n)
{
    struct handshake *h = sa->handshake;
    struct reader r = reader_of_bytes(n->data);
    uint16_t group = reader_u16(&r);
    if (!reader_done(&r) || group == h->group || h->ke_count >= KE_RETRIES ||
        !select_offers_group(e->conf->ike, e->conf->ike_count, group))
        return false;
    struct kex *kex;
    if (kex_create(suite_kex(group), e->setup.random, &kex) < 0)
        return false;
    h->ke_count++;
    kex_free(h->n.kex);
    h->n.kex = kex;
    h->group = group;
    init_again(e, sa);
    return true;
}

/* Anyone on the way can forge an error, so it ends nothing at once: the real answer has a few
 * seconds more to come. */
static void remember_error(struct ike_engine *e, struct sa *sa, uint16_t notify, bool unusable)
{
    struct handshake *h = sa->handshake;
    if (h->early_error)
        return;
    h->early_error = notify;
    h->early_unusable = unusable;
    h->early_end = e->now + ERROR_GRACE;
    if (sa->timer_out.place && sa->timer_out.deadline > h->early_end)
        sa_arm(e, &sa->timer_out, h->early_end);
}

static int learn(struct ike_engine *e, struct sa *sa, const struct input *in,
                 struct exchange_values *v, struct chosen *chosen)
{
    const struct wire_payload_view *p = wire_find(in->outer, PAYLOAD_SA);
    int count = p ? wire_sa_read(p->body, e->offered, PROPOSALS_MAX) : ERR_SYNTAX;
    if (count != 1 || init_values(in->outer, v) < 0 || !v->has_ke || in->header.spi_r == 0 ||
        in->datagram.len > AUTH_MESSAGE_MAX)
        return ERR_SYNTAX;
    size_t offers = select_offer(e->conf, &ike_wish, e->offer);
    if (select_check(e->offer, offers, &e->offered[0], SELECT_KE_MUST, e->conf->pq) < 0)
        return ERR_NO_PROPOSAL;
    *chosen = select_chosen(&e->offered[0]);
    if (chosen->kes.ke != sa->handshake->group || v->ke.group != chosen->kes.ke)
        return ERR_KE;
    uint8_t additional[ADDKE_MAX];
    bool agreed = may_be_more(e) && knows_intermediate(in->outer);
    return agreed || kes_additional(&chosen->kes, additional) == 0 ? 0 : ERR_NO_PROPOSAL;
}

static int make_keys(struct ike_engine *e, struct sa *sa, const struct chosen *chosen,
                     const struct exchange_values *v, uint64_t spi_peer)
{
    struct handshake *h = sa->handshake;
    int err = kex_derive(h->n.kex, v->ke.value, e->secret);
    if (err < 0)
        return err;
    struct bytes own = {h->n.nonce_own, NONCE_LEN};
    struct keymat_input k = {
        .secret = {e->secret, kex_alg(h->n.kex)->secret_len},
        .nonce_i = sa->initiator ? own : v->nonce,
        .nonce_r = sa->initiator ? v->nonce : own,
        .spi_i = sa->initiator ? sa->spi_own : spi_peer,
        .spi_r = sa->initiator ? spi_peer : sa->spi_own,
    };
    err = keymat_ike(chosen, &k, &sa->keys, h->sk_p);
    secret_wipe(e->secret, k.secret.len);
    if (err < 0)
        return err;
    sa->chosen = *chosen;
    sa->spi_peer = spi_peer;
    h->n.nonce_peer_len = (uint16_t)v->nonce.len;
    memcpy(h->n.nonce_peer, v->nonce.at, v->nonce.len);
    kex_free(h->n.kex);
    h->n.kex = NULL;
    return 0;
}

static void read_hashes(struct sa *sa, const struct wire_chain *chain)
{
    struct wire_notify_view n;
    if (wire_notify_find(chain, NOTIFY_SIGNATURE_HASH_ALGORITHMS, &n))
        sa->handshake->peer_hashes = auth_hashes_parse(n.data);
}

/* Who authenticates anew makes the new child with it: that is one moment for both. Two hosts alone
 * have to know of each other's addresses first. */
static void read_childless(const struct ike_engine *e, struct sa *sa,
                           const struct wire_chain *chain)
{
    struct wire_notify_view n;
    sa->handshake->childless = e->conf->childless && !e->conf->transport && !sa->tunnel->renews &&
                               wire_notify_find(chain, NOTIFY_CHILDLESS_IKEV2_SUPPORTED, &n);
}

int init_response(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct wire_notify_view n;
    struct exchange_values v;
    struct chosen chosen;
    if (cookie_answer(e, sa, in))
        return 0;
    if (wire_notify_error(in->outer, &n)) {
        if (n.type != NOTIFY_INVALID_KE_PAYLOAD || !other_group(e, sa, &n))
            remember_error(e, sa, n.type, false);
        return 0;
    }
    int err = learn(e, sa, in, &v, &chosen);
    struct message *response = err == 0 ? message_create(e, in->datagram) : NULL;
    if (err == 0 && !response)
        return ERR_MEMORY; /* nothing was changed: the same answer may come again */
    if (err == 0 && may_be_more(e) && knows_intermediate(in->outer))
        err = intermediate_agree(sa, &chosen);
    if (err == 0)
        err = make_keys(e, sa, &chosen, &v, in->header.spi_r); /* last: our kex goes with it */
    if (err < 0) {
        intermediate_free(sa->handshake); /* another answer may yet come */
        message_drop(e, &response);
        e->counters.drop_malformed++;
        remember_error(e, sa,
                       err == ERR_NO_PROPOSAL ? NOTIFY_NO_PROPOSAL_CHOSEN : NOTIFY_INVALID_SYNTAX,
                       true);
        return err;
    }
    struct handshake *h = sa->handshake;
    h->early_error = 0;
    h->closed_port = false;
    h->early_end = 0;
    puzzle_free(h);
    h->response = response;
    e->done = window_close(e, sa);
    read_hashes(sa, in->outer);
    proof_read_methods(sa, in->outer);
    read_childless(e, sa, in->outer);
    read_fragmentation(e, sa, in->outer);
    path_detect(e, sa, in);
    path_float(e, sa);
    return intermediate_go_on(e, sa);
}

/* ---- responder */

static void reply_plain(struct ike_engine *e, const struct input *in, uint16_t notify,
                        struct bytes data)
{
    uint8_t buffer[WIRE_HEADER_LEN + 64];
    struct wire_builder b;
    struct wire_header header = {.spi_i = in->header.spi_i,
                                 .spi_r = in->header.spi_r,
                                 .version = 0x20,
                                 .exchange = in->header.exchange,
                                 .flags = FLAG_RESPONSE | (~in->header.flags & FLAG_INITIATOR),
                                 .message_id = in->header.message_id};
    wire_begin(&b, buffer, sizeof(buffer), &header);
    wire_put_notify(&b, notify, data);
    struct message *m = message_create(e, wire_finish(&b));
    if (!m)
        return;
    queue_send(e, &in->path, m);
    message_drop(e, &m);
}

/* RFC 7296 2.5: a higher one is told ours, only to what could be a first request, and not often. */
void init_other_version(struct ike_engine *e, const struct input *in)
{
    unsigned version = in->header.version >> 4;
    if (!(in->header.flags & FLAG_RESPONSE) && version > 2 && refusal_is_told(e, true))
        reply_plain(e, in, NOTIFY_INVALID_MAJOR_VERSION, (struct bytes){0});
    if (e->conf->initiator || in->header.spi_r != 0)
        return;
    refusal_of_stranger(e, in, version > 2 ? NOTIFY_INVALID_MAJOR_VERSION : 0,
                        explain(e,
                                "the peer speaks version %u of IKE, and we speak 2 only; choose "
                                "IKEv2 on the other side",
                                version));
}

static uint64_t init_key(const struct ike_engine *e, const struct input *in)
{
    uint8_t octets[8 + 1 + 16 + 2];
    struct writer w = writer_of(octets, sizeof(octets));
    writer_u64(&w, in->header.spi_i);
    writer_u8(&w, in->path.remote.ip.family);
    writer_bytes(&w, in->path.remote.ip.octets, ip_len(&in->path.remote.ip));
    writer_u16(&w, in->path.remote.port);
    uint64_t key = map_hash_bytes(&e->half_open, octets, w.len);
    return key ? key : 1;
}

/* Many refusals a second are told only to those who have shown that they receive; they, too, cost a
 * line in somebody's list. */
static void refuse_plain(struct ike_engine *e, const struct input *in, uint16_t notify,
                         size_t offered)
{
    bool shown = gate_has_cookie(e, in), told = refusal_is_told(e, !shown);
    if (!told && !shown) {
        gate_ask_cookie(e, in);
        return;
    }
    refusal_count(e, ERR_NO_PROPOSAL);
    reply_plain(e, in, notify, (struct bytes){0});
    if (!told)
        return;
    struct ike_event *event =
        queue_event(e, IKE_EVENT_REFUSED, NULL, &in->path, ERR_NO_PROPOSAL,
                    explain_proposals(e, e->offered, offered, e->conf->ike, e->conf->ike_count));
    if (event) {
        event->notify = notify;
        event->exchange = EXCHANGE_IKE_SA_INIT;
    }
}

static struct message *build_response(struct ike_engine *e, const struct sa *sa,
                                      const struct input *in, const struct proposal *picked)
{
    const struct handshake *h = sa->handshake;
    struct wire_header header = {.spi_i = in->header.spi_i,
                                 .spi_r = sa->spi_own,
                                 .version = 0x20,
                                 .exchange = EXCHANGE_IKE_SA_INIT,
                                 .flags = FLAG_RESPONSE};
    struct wire_builder b;
    wire_begin(&b, e->out_buffer, AUTH_MESSAGE_MAX, &header);
    wire_put_sa(&b, picked, 1);
    negotiation_put(&b, &h->n);
    path_put_detection(e, &b, in->header.spi_i, sa->spi_own, &in->path);
    proof_put_certreq(e, &b);
    if (sa->fragment)
        put_fragmentation(e, &b);
    if (h->peer_hashes)
        put_hashes(&b);
    if (h->intermediate)
        wire_put_notify(&b, NOTIFY_INTERMEDIATE_EXCHANGE_SUPPORTED, (struct bytes){0});
    wire_put_notify(&b, NOTIFY_CHILDLESS_IKEV2_SUPPORTED, (struct bytes){0});
    (void)proof_put_methods(e, &b, INIT_LEN_MOST); /* nothing cuts this message */
    return message_create(e, wire_finish(&b));
}

/* All that a stranger can make us do and keep: one key exchange, one SA, its two messages. */
static int keep_half(struct ike_engine *e, struct sa *sa, const struct input *in,
                     const struct exchange_values *v)
{
    struct chosen chosen = select_chosen(&e->picked);
    struct handshake *h = sa->handshake = slab_take(&e->handshake_slab);
    if (!h)
        return ERR_LIMIT;
    int err = negotiation_create(e, &h->n, chosen.kes.ke, &v->ke);
    if (err == 0 && knows_intermediate(in->outer))
        err = intermediate_agree(sa, &chosen);
    if (err < 0)
        return err;
    read_hashes(sa, in->outer);
    read_fragmentation(e, sa, in->outer);
    h->response = build_response(e, sa, in, &e->picked);
    h->request = message_create(e, in->datagram);
    if (!h->request || !h->response)
        return ERR_MEMORY;
    err = make_keys(e, sa, &chosen, v, in->header.spi_i);
    if (err < 0)
        return err;
    sa->tunnel = tunnel_create(e, false);
    if (!sa->tunnel)
        return ERR_LIMIT;
    sa->tunnel->sa = sa;
    return 0;
}

/* The peer gets no answer: it may try again, and somebody may have left by then. */
static void tell_full(struct ike_engine *e, const struct input *in)
{
    refusal_count(e, ERR_LIMIT);
    if (refusal_is_told(e, true))
        queue_event(e, IKE_EVENT_REFUSED, NULL, &in->path, ERR_LIMIT,
                    explain(e,
                            "a peer was turned away because %u tunnels are open; raise "
                            "max-tunnels if they are all wanted",
                            e->conf->max_tunnels));
}

static void open_half(struct ike_engine *e, const struct input *in, uint64_t key,
                      const struct exchange_values *v)
{
    struct sa *sa = sa_create(e, false, &in->path);
    if (!sa) {
        tell_full(e, in);
        return;
    }
    int err = map_put(&e->half_open, key, sa);
    if (err == 0) {
        sa->init_key = key;
        err = keep_half(e, sa, in, v);
    }
    if (err < 0) {
        e->counters.drop_malformed += err == ERR_KE;
        e->counters.drop_memory += err != ERR_KE;
        if (err == ERR_LIMIT)
            tell_full(e, in);
        sa_bury(e, sa);
        return;
    }
    path_detect(e, sa, in);
    sa_set_state(e, sa, IKE_STATE_INIT_DONE);
    gate_enter(e, sa, &in->path.remote.ip);
    sa->next_in = 1;
    sa->messages = 1;
    window_send(e, sa, &in->path, sa->handshake->response);
}

/* The same request again gets the same answer; another one under the same SPI gets none. */
static void again(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    const struct handshake *h = sa->handshake;
    if (!h || !h->request || !bytes_equal(message_bytes(h->request), in->datagram)) {
        e->counters.drop_message_id++;
        return;
    }
    e->counters.replayed++;
    queue_send(e, &in->path, h->response);
}

static bool is_first_request(const struct ike_engine *e, const struct input *in)
{
    const struct rule *rule = rules_find(EXCHANGE_IKE_SA_INIT, false, false, IKE_STATE_NONE);
    return !e->conf->initiator && in->header.spi_r == 0 && in->header.spi_i != 0 &&
           in->header.message_id == 0 && (in->header.flags & FLAG_INITIATOR) && rule &&
           rules_payloads(rule, in->outer) == 0 && in->datagram.len <= AUTH_MESSAGE_MAX;
}

static void choose(struct ike_engine *e, const struct input *in, uint64_t key)
{
    struct exchange_values v;
    const struct wire_payload_view *p = wire_find(in->outer, PAYLOAD_SA);
    int count = p ? wire_sa_read(p->body, e->offered, PROPOSALS_MAX) : ERR_SYNTAX;
    if (count < 0 || init_values(in->outer, &v) < 0 || !v.has_ke) {
        e->counters.drop_malformed++;
        refusal_of_stranger(e, in, 0, "the peer's first message cannot be read");
        return;
    }
    uint16_t group;
    struct selection s = {.own = e->conf->ike,
                          .own_count = e->conf->ike_count,
                          .offered = e->offered,
                          .offered_count = (size_t)count,
                          .ke = SELECT_KE_MUST,
                          .pq = e->conf->pq,
                          .ke_sent = v.ke.group,
                          .single = !knows_intermediate(in->outer)};
    int notify = select_proposal(&s, &e->picked, &group);
    if (notify == NOTIFY_INVALID_KE_PAYLOAD) {
        const uint8_t data[2] = {(uint8_t)(group >> 8), (uint8_t)group};
        reply_plain(e, in, NOTIFY_INVALID_KE_PAYLOAD, (struct bytes){data, sizeof(data)});
    } else if (notify != 0) {
        refuse_plain(e, in, (uint16_t)notify, (size_t)count);
    } else {
        open_half(e, in, key, &v);
    }
}

static void refuse_critical(struct ike_engine *e, const struct input *in, uint8_t type)
{
    reply_plain(e, in, NOTIFY_UNSUPPORTED_CRITICAL_PAYLOAD, (struct bytes){&type, 1});
    refusal_of_stranger(
        e, in, NOTIFY_UNSUPPORTED_CRITICAL_PAYLOAD,
        explain(e,
                "the peer's first message holds payload %u, which we do not know and it calls "
                "critical",
                type));
}

void init_request(struct ike_engine *e, const struct input *in)
{
    if (!is_first_request(e, in)) {
        e->counters.drop_rule++;
        return;
    }
    uint64_t key = init_key(e, in);
    struct sa *sa = map_get(&e->half_open, key);
    if (sa) {
        again(e, sa, in);
        return;
    }
    const struct wire_payload_view *unknown = wire_unknown_critical(in->outer);
    if (unknown) {
        refuse_critical(e, in, unknown->type);
        return;
    }
    if (gate_admits(e, in))
        choose(e, in, key);
}
