/* Payloads that nobody knows, versions, flags and reserved bits (RFC 7296 2.5, 3.1, 3.2): a table
 * generated of every exchange, state and role, request and response, in which the payload stands
 * outside or inside SK and is critical or not. And the errors of 2.21 that end an SA, or do not. */
#include "stages.h"

enum { UNKNOWN_PAYLOAD = 200, MESSAGE_MAX = 4096 };
enum place { NOWHERE, INSIDE, OUTSIDE };

struct shot {
    uint8_t exchange;
    bool response;
    enum place place;
    bool critical;
    uint8_t flags, version; /* what is turned around in the header */
};

static const uint8_t exchanges[] = {EXCHANGE_IKE_SA_INIT, EXCHANGE_IKE_AUTH,
                                    EXCHANGE_CREATE_CHILD_SA, EXCHANGE_INFORMATIONAL,
                                    EXCHANGE_IKE_INTERMEDIATE};

static void put_unknown(struct writer *w, uint8_t next, bool critical)
{
    writer_u8(w, next);
    writer_u8(w, critical ? 0xff : 0x7f); /* the reserved bits are to be ignored */
    writer_u16(w, 4 + 3);
    writer_bytes(w, (const uint8_t *)"abc", 3);
}

/* Seals what was built with the keys of `sa`, as the sender would, with one payload before SK. */
static struct bytes seal(struct ike_engine *e, struct sa *sa, const struct shot *shot, uint32_t id,
                         uint8_t first, struct bytes inner, uint8_t *buffer)
{
    const struct encr_alg *encr = suite_encr(sa->chosen.encr, sa->chosen.encr_bits);
    static _Alignas(64) uint8_t room[16384];
    struct aead *aead = (struct aead *)room;
    assert_true(aead_size(encr, NULL) <= sizeof(room));
    assert_int_equal(
        aead_init(aead, e->aead_engine, encr, sa->keys.e[sa->initiator ? 0 : 1], NULL, NULL), 0);
    size_t iv_len = aead_iv_len(aead), icv_len = aead_icv_len(aead);
    struct writer w = writer_of(buffer, MESSAGE_MAX);
    writer_u64(&w, sa->initiator ? sa->spi_own : sa->spi_peer);
    writer_u64(&w, sa->initiator ? sa->spi_peer : sa->spi_own);
    writer_u8(&w, shot->place == OUTSIDE ? UNKNOWN_PAYLOAD : PAYLOAD_SK);
    writer_u8(&w, (uint8_t)(0x20 ^ shot->version));
    writer_u8(&w, shot->exchange);
    writer_u8(&w, (uint8_t)(((sa->initiator ? FLAG_INITIATOR : 0) |
                             (shot->response ? FLAG_RESPONSE : 0)) ^
                            shot->flags));
    writer_u32(&w, id);
    size_t sk_len = 4 + iv_len + inner.len + 1 + icv_len;
    writer_u32(&w, (uint32_t)(WIRE_HEADER_LEN + (shot->place == OUTSIDE ? 7 : 0) + sk_len));
    if (shot->place == OUTSIDE)
        put_unknown(&w, PAYLOAD_SK, shot->critical);
    writer_u8(&w, first);
    writer_u8(&w, 0);
    writer_u16(&w, (uint16_t)sk_len);
    size_t aad = w.len;
    writer_u64(&w, 0x7465737400000000 + id); /* an IV of its own */
    writer_bytes(&w, inner.at, inner.len);
    writer_u8(&w, 0);
    uint8_t *icv = writer_reserve(&w, icv_len);
    assert_false(w.bad);
    struct aead_op op = {.aead = aead,
                         .aad = buffer,
                         .aad_len = (uint8_t)aad,
                         .iv = buffer + aad,
                         .text = buffer + aad + iv_len,
                         .text_len = (uint32_t)(inner.len + 1),
                         .icv = icv};
    aead_seal(e->aead_engine, &op, 1);
    aead_wipe(aead);
    return (struct bytes){buffer, w.len};
}

/* What the peer itself would send: empty but for the payload nobody knows. */
static struct bytes message(struct sim_host *peer, const struct sa *target, const struct shot *shot,
                            uint32_t id, uint8_t *buffer)
{
    struct sa *sa = stage_sa(peer->engine, target->spi_own);
    uint8_t inner[64];
    struct writer w = writer_of(inner, sizeof(inner));
    if (!sa || sa->chosen.encr == 0)
        return (struct bytes){0};
    if (shot->place == INSIDE)
        put_unknown(&w, 0, shot->critical);
    return seal(peer->engine, sa, shot, id, shot->place == INSIDE ? UNKNOWN_PAYLOAD : 0,
                writer_view(&w), buffer);
}

static struct sim_datagram *last_sent(const struct sim *sim, const struct sim_host *from)
{
    struct sim_datagram *last = NULL;
    for (struct sim_datagram *d = sim->log; d; d = d->next)
        if (ip_equal(&d->from.ip, &from->ip))
            last = d;
    return last;
}

/* The first notify in the answer, opened by the peer; false: no answer, or nothing in it. */
static bool answered(struct pair *p, const struct sim_host *host, struct sim_host *peer,
                     struct wire_notify_view *n, bool *empty)
{
    static struct wire_chain outer, inner;
    const struct sim_datagram *d = last_sent(p->sim, host);
    struct input in = {.outer = &outer};
    *empty = false;
    if (!d)
        return false;
    in.datagram = (struct bytes){d->octets, d->len};
    assert_int_equal(wire_header_read(in.datagram, &in.header), 0);
    assert_int_equal(
        wire_walk(in.header.next_payload,
                  (struct bytes){d->octets + WIRE_HEADER_LEN, d->len - WIRE_HEADER_LEN}, &outer),
        0);
    struct sa *sa = stage_sa(peer->engine,
                             in.header.flags & FLAG_INITIATOR ? in.header.spi_i : in.header.spi_r);
    if (!sa || sk_open(peer->engine, sa, &in) < 0 ||
        wire_walk(in.inner_first, in.inner_octets, &inner) < 0)
        return false;
    *empty = inner.count == 0;
    return inner.count > 0 && inner.at[0].type == PAYLOAD_NOTIFY &&
           wire_notify_read(inner.at[0].body, n) == 0;
}

struct outcome {
    bool sent, silent, empty, unsupported, syntax;
    uint8_t state; /* of the SA afterwards; NONE = gone */
    uint64_t dropped;
};

static uint64_t drops(const struct sim_host *host)
{
    const struct ike_counters *c = ike_counters(host->engine);
    return c->drop_malformed + c->drop_rule + c->drop_integrity + c->drop_message_id +
           c->drop_unknown_spi + c->drop_version;
}

static struct outcome fire(const struct stage *stage, const struct shot *shot)
{
    static uint8_t buffer[MESSAGE_MAX];
    struct outcome o = {0};
    struct pair p = pair_make();
    uint64_t spi = stage_reach(&p, stage);
    struct sim_host *host = stage->client ? p.client : p.gateway;
    struct sim_host *peer = stage->client ? p.gateway : p.client;
    const struct sa *target = map_get(&host->engine->sas, spi);
    struct ike_path path = target->path;
    struct bytes octets =
        message(peer, target, shot, shot->response ? target->next_out : target->next_in, buffer);
    sim_log_clear(p.sim);
    p.sim->filter = stage_drop;
    if (octets.len > 0) {
        o.sent = true;
        uint64_t before = drops(host);
        ike_input(host->engine, p.sim->now, &path, octets);
        sim_drain(host);
        struct wire_notify_view n = {0};
        o.silent = p.sim->log_count == 0;
        if (answered(&p, host, peer, &n, &o.empty)) {
            o.unsupported = n.type == NOTIFY_UNSUPPORTED_CRITICAL_PAYLOAD && n.data.len == 1 &&
                            n.data.at[0] == UNKNOWN_PAYLOAD;
            o.syntax = n.type == NOTIFY_INVALID_SYNTAX;
        }
        const struct sa *sa = map_get(&host->engine->sas, spi);
        o.state = sa && !sa->lingering ? sa->state : IKE_STATE_NONE;
        o.dropped = drops(host) - before;
    }
    p.sim->packets_may_be_lost = true;
    sim_free(p.sim);
    return o;
}

static void expect(bool good, const struct stage *stage, const struct shot *shot, const char *what)
{
    char name[WIRE_NAME_TEXT];
    if (!good)
        fail_msg("%s, %s %s, unknown payload %s%s: %s", stage->name,
                 wire_exchange_name(shot->exchange, name), shot->response ? "response" : "request",
                 shot->place == NOWHERE  ? "nowhere"
                 : shot->place == INSIDE ? "inside SK"
                                         : "outside SK",
                 shot->critical ? ", critical" : "", what);
}

static bool may_come(const struct stage *stage, const struct shot *shot)
{
    const struct rule *rule =
        rules_find(shot->exchange, shot->response, stage->client, stage->state);
    return rule && rule->protected && shot->exchange != EXCHANGE_IKE_SA_INIT &&
           shot->exchange != EXCHANGE_IKE_INTERMEDIATE; /* not agreed on here */
}

/* Is this message the answer to what the SA has asked? */
static bool is_awaited(const struct stage *stage, const struct shot *shot)
{
    return (stage->state == IKE_STATE_AUTH_SENT && shot->exchange == EXCHANGE_IKE_AUTH) ||
           (stage->state == IKE_STATE_DELETING && shot->exchange == EXCHANGE_INFORMATIONAL);
}

static void check_request(const struct stage *stage, const struct shot *shot,
                          const struct outcome *o, const struct outcome *plain)
{
    if (!shot->critical || shot->place == NOWHERE) {
        expect(o->unsupported == false && o->state == plain->state && o->syntax == plain->syntax &&
                   o->empty == plain->empty && o->silent == plain->silent,
               stage, shot, "it is not as if the payload were not there");
        return;
    }
    expect(o->unsupported, stage, shot, "not answered with UNSUPPORTED_CRITICAL_PAYLOAD");
    /* the exchange fails, and only IKE_AUTH takes the SA with it */
    expect(o->state == (shot->exchange == EXCHANGE_IKE_AUTH ? IKE_STATE_NONE : stage->state), stage,
           shot, "the SA is in the wrong state");
}

static void check_response(const struct stage *stage, const struct shot *shot,
                           const struct outcome *o, const struct outcome *plain)
{
    if (!is_awaited(stage, shot)) {
        expect(o->silent && o->state == stage->state && o->dropped == 1, stage, shot,
               "an answer that nobody waits for did something");
        return;
    }
    if (!shot->critical)
        expect(o->state == plain->state && o->silent == plain->silent, stage, shot,
               "it is not as if the payload were not there");
    else
        expect(o->state == IKE_STATE_NONE || o->state == IKE_STATE_DELETING, stage, shot,
               "an answer that must not be read was read");
}

static void check(const struct stage *stage, const struct shot *shot)
{
    struct shot bare = *shot;
    bare.place = NOWHERE;
    struct outcome plain = fire(stage, &bare), o = fire(stage, shot);
    if (!o.sent)
        return; /* the peer has no keys either */
    if (!may_come(stage, shot))
        expect(o.silent && o.state == stage->state && o.dropped == 1, stage, shot,
               "what no rule allows did something");
    else if (shot->response)
        check_response(stage, shot, &o, &plain);
    else
        check_request(stage, shot, &o, &plain);
}

static void test_unknown_payloads(void **state)
{
    (void)state;
    for (size_t s = 0; s < STAGES; s++)
        for (size_t x = 0; x < ARRAY_LEN(exchanges); x++)
            for (unsigned bits = 0; bits < 8; bits++) {
                struct shot shot = {.exchange = exchanges[x],
                                    .response = bits & 1,
                                    .critical = bits & 2,
                                    .place = bits & 4 ? OUTSIDE : INSIDE};
                check(&stages[s], &shot);
            }
}

/* A minor version and the bits nobody has defined are ignored; the flag "I can do more" too. */
static void test_ignored_bits(void **state)
{
    (void)state;
    static const uint8_t flags[] = {0x01, 0x02, 0x04, FLAG_VERSION, 0x40, 0x80, 0xd7};
    for (size_t s = 0; s < STAGES; s++) {
        if (stages[s].state != IKE_STATE_ESTABLISHED)
            continue;
        for (size_t i = 0; i < ARRAY_LEN(flags); i++)
            for (uint8_t minor = 0; minor < 16; minor += 5) {
                struct shot shot = {
                    .exchange = EXCHANGE_INFORMATIONAL, .flags = flags[i], .version = minor};
                struct outcome o = fire(&stages[s], &shot);
                expect(o.empty && o.state == IKE_STATE_ESTABLISHED, &stages[s], &shot,
                       "a bit that is to be ignored was not");
            }
    }
}

/* The two flags that mean something, turned around, and another major version. */
static void test_wrong_flags(void **state)
{
    (void)state;
    static const uint8_t flags[] = {FLAG_INITIATOR, FLAG_RESPONSE, FLAG_INITIATOR | FLAG_RESPONSE};
    for (size_t s = 0; s < STAGES; s++)
        for (size_t x = 1; x < ARRAY_LEN(exchanges); x++)
            for (size_t i = 0; i < ARRAY_LEN(flags) + 1; i++) {
                bool version = i == ARRAY_LEN(flags);
                struct shot shot = {.exchange = exchanges[x],
                                    .flags = version ? 0 : flags[i],
                                    .version = version ? 0x10 : 0}; /* 3.0 */
                struct outcome o = fire(&stages[s], &shot);
                if (!o.sent || (!version && flags[i] == FLAG_RESPONSE))
                    continue; /* a response by right: see above */
                expect(o.state == stages[s].state && o.dropped == 1 && o.silent == !version,
                       &stages[s], &shot, "a wrong flag or version did something");
            }
}

/* INVALID_MAJOR_VERSION: copied IDs, the other Initiator flag, our version in the header. */
static void test_version_answer(void **state)
{
    (void)state;
    for (unsigned initiator = 0; initiator < 2; initiator++) {
        struct pair p = pair_make();
        sim_start(p.gateway);
        uint8_t octets[WIRE_HEADER_LEN];
        struct writer w = writer_of(octets, sizeof(octets));
        writer_u64(&w, 0x1111111111111111);
        writer_u64(&w, 0x2222222222222222);
        writer_u8(&w, 0);
        writer_u8(&w, 0x30);
        writer_u8(&w, 77);
        writer_u8(&w, initiator ? FLAG_INITIATOR : 0);
        writer_u32(&w, 5);
        writer_u32(&w, WIRE_HEADER_LEN);
        struct ike_path path = sim_path(p.gateway, p.client, 500);
        ike_input(p.gateway->engine, p.sim->now, &path, writer_view(&w));
        sim_drain(p.gateway);
        const struct sim_datagram *d = last_sent(p.sim, p.gateway);
        struct wire_header h;
        assert_non_null(d);
        assert_int_equal(wire_header_read((struct bytes){d->octets, d->len}, &h), 0);
        assert_int_equal(h.version, 0x20);
        assert_int_equal(h.exchange, 77);
        assert_int_equal(h.message_id, 5);
        assert_int_equal(h.flags, FLAG_RESPONSE | (initiator ? 0 : FLAG_INITIATOR));
        assert_true(h.spi_i == 0x1111111111111111 && h.spi_r == 0x2222222222222222);
        octets[19] |= FLAG_RESPONSE; /* never an answer to an answer */
        sim_log_clear(p.sim);
        ike_input(p.gateway->engine, p.sim->now, &path, writer_view(&w));
        sim_drain(p.gateway);
        assert_int_equal(p.sim->log_count, 0);
        sim_free(p.sim);
    }
}

/* ---- errors, RFC 7296 2.21 */

static struct sa *only(const struct sim_host *host)
{
    size_t cursor = 0;
    struct tunnel *t = map_next(&host->engine->tunnels, &cursor);
    assert_non_null(t);
    return t->sa;
}

/* From one host to the other, a message with this notify inside SK; the receiver is drained. */
static void tell(struct pair *p, struct sim_host *from, struct sim_host *to, uint8_t exchange,
                 bool response, uint32_t id, uint16_t notify)
{
    struct sa *sa = only(from);
    struct wire_builder b;
    sk_begin(from->engine, &b);
    wire_put_notify(&b, notify, (struct bytes){0});
    struct message *m = sk_seal(from->engine, sa, exchange, response, id, &b);
    assert_non_null(m);
    struct ike_path path = only(to)->path;
    ike_input(to->engine, p->sim->now, &path, message_bytes(m));
    sim_drain(to);
    message_drop(from->engine, &m);
}

static const uint16_t errors[] = {NOTIFY_UNSUPPORTED_CRITICAL_PAYLOAD,
                                  NOTIFY_INVALID_IKE_SPI,
                                  NOTIFY_INVALID_MAJOR_VERSION,
                                  NOTIFY_INVALID_SYNTAX,
                                  NOTIFY_INVALID_MESSAGE_ID,
                                  NOTIFY_INVALID_SPI,
                                  NOTIFY_NO_PROPOSAL_CHOSEN,
                                  NOTIFY_INVALID_KE_PAYLOAD,
                                  NOTIFY_AUTHENTICATION_FAILED,
                                  NOTIFY_SINGLE_PAIR_REQUIRED,
                                  NOTIFY_NO_ADDITIONAL_SAS,
                                  NOTIFY_INTERNAL_ADDRESS_FAILURE,
                                  NOTIFY_FAILED_CP_REQUIRED,
                                  NOTIFY_TS_UNACCEPTABLE,
                                  NOTIFY_INVALID_SELECTORS,
                                  NOTIFY_TEMPORARY_FAILURE,
                                  NOTIFY_CHILD_SA_NOT_FOUND,
                                  8192 /* private */};

/* In a request: right after IKE_AUTH three errors end the SA, later INVALID_SYNTAX alone. */
static void error_in_request(uint16_t notify, bool fresh)
{
    struct pair p = pair_make();
    pair_up(&p);
    if (!fresh) {
        assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
        sim_run(p.sim, TIME_SECOND);
    }
    tell(&p, p.client, p.gateway, EXCHANGE_INFORMATIONAL, false, only(p.client)->next_out, notify);
    bool fatal = notify == NOTIFY_INVALID_SYNTAX ||
                 (fresh && (notify == NOTIFY_AUTHENTICATION_FAILED ||
                            notify == NOTIFY_UNSUPPORTED_CRITICAL_PAYLOAD));
    if (!!sim_event(p.gateway, IKE_EVENT_DOWN) != fatal)
        fail_msg("notify %u in a request: fatal must be %d", notify, fatal);
    p.sim->packets_may_be_lost = true;
    sim_free(p.sim);
}

static void test_errors_in_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        for (int fresh = 0; fresh < 2; fresh++)
            error_in_request(errors[i], fresh);
}

static enum sim_fate drop_all(struct sim *sim, struct sim_datagram *d)
{
    (void)sim, (void)d;
    return SIM_DROP;
}

/* In an answer: the exchange fails, the SA stays, unless our request was unreadable to the peer. */
static void error_in_answer(uint32_t command, uint8_t exchange, uint16_t notify)
{
    struct pair p = pair_make();
    pair_up(&p);
    p.sim->filter = drop_all;
    assert_int_equal(sim_command(p.client, command, only(p.client)->tunnel->id), 0);
    assert_int_equal(only(p.client)->out.exchange, exchange);
    tell(&p, p.gateway, p.client, exchange, true, only(p.client)->next_out, notify);
    bool fatal = notify == NOTIFY_INVALID_SYNTAX;
    if (!!sim_event(p.client, IKE_EVENT_DOWN) != fatal)
        fail_msg("notify %u in an answer to command %u: fatal must be %d", notify, command, fatal);
    if (!fatal) {
        assert_int_equal(only(p.client)->state, IKE_STATE_ESTABLISHED);
        for (const struct child *c = only(p.client)->children; c; c = c->next)
            assert_true(c->state == CHILD_UP || c->state == CHILD_CREATING);
    }
    p.sim->packets_may_be_lost = true;
    sim_free(p.sim);
}

static void test_errors_in_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        error_in_answer(IKE_REKEY_CHILD, EXCHANGE_CREATE_CHILD_SA, errors[i]);
        error_in_answer(IKE_REKEY_IKE, EXCHANGE_CREATE_CHILD_SA, errors[i]);
        error_in_answer(IKE_CREATE_CHILD, EXCHANGE_CREATE_CHILD_SA, errors[i]);
        error_in_answer(IKE_CHECK, EXCHANGE_INFORMATIONAL, errors[i]);
    }
}

/* Errors that anybody could have sent, to each state, as request and as answer: an attempt in
 * IKE_SA_INIT still takes the real answer, all else does not even notice (2.21.4). */
static void unprotected_error(const struct stage *stage, uint16_t notify, bool response)
{
    uint8_t buffer[128];
    struct pair p = pair_make();
    uint64_t spi = stage_reach(&p, stage);
    struct sim_host *host = stage->client ? p.client : p.gateway;
    const struct sa *sa = map_get(&host->engine->sas, spi);
    uint8_t exchange = stage->state == IKE_STATE_INIT_SENT   ? EXCHANGE_IKE_SA_INIT
                       : stage->state == IKE_STATE_AUTH_SENT ? EXCHANGE_IKE_AUTH
                                                             : EXCHANGE_INFORMATIONAL;
    struct wire_header h = {
        .spi_i = sa->initiator ? sa->spi_own : sa->spi_peer,
        .spi_r = sa->initiator ? sa->spi_peer : sa->spi_own,
        .version = 0x20,
        .exchange = exchange,
        .flags = (uint8_t)((sa->initiator ? 0 : FLAG_INITIATOR) | (response ? FLAG_RESPONSE : 0)),
        .message_id = response ? sa->next_out : sa->next_in};
    struct wire_builder b;
    wire_begin(&b, buffer, sizeof(buffer), &h);
    wire_put_notify(&b, notify, (struct bytes){0});
    struct ike_path path = sa->path;
    size_t events = host->event_count;
    ike_input(host->engine, p.sim->now, &path, wire_finish(&b));
    sim_drain(host);
    sa = map_get(&host->engine->sas, spi);
    if (!sa || sa->state != stage->state || host->event_count != events)
        fail_msg("%s: an unprotected notify %u was believed", stage->name, notify);
    if (stage->state == IKE_STATE_INIT_SENT) { /* and the real answer, two seconds later */
        sim_run(p.sim, 2 * TIME_SECOND);
        assert_non_null(sim_event(p.client, IKE_EVENT_ESTABLISHED));
    }
    p.sim->packets_may_be_lost = true;
    sim_free(p.sim);
}

static void test_unprotected_errors(void **state)
{
    (void)state;
    for (size_t s = 0; s < STAGES; s++)
        for (size_t i = 0; i < ARRAY_LEN(errors); i++)
            for (int response = 0; response < 2; response++)
                unprotected_error(&stages[s], errors[i], response);
}

/* ---- windows and message IDs */

/* The peer announces a larger window: we may use it and need not; nothing changes. */
static void test_set_window_size(void **state)
{
    (void)state;
    static const uint8_t sizes[][5] = {{0, 0, 0, 1}, {0, 0, 0, 8}, {0}, {255, 255, 255, 255}};
    static const size_t lens[] = {4, 0, 3, 5};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        for (size_t l = 0; l < ARRAY_LEN(lens); l++) {
            struct pair p = pair_make();
            struct wire_builder b;
            pair_up(&p);
            struct sa *from = only(p.gateway);
            sk_begin(p.gateway->engine, &b);
            wire_put_notify(&b, NOTIFY_SET_WINDOW_SIZE, (struct bytes){sizes[i], lens[l]});
            struct message *m =
                sk_seal(p.gateway->engine, from, EXCHANGE_INFORMATIONAL, false, 0, &b);
            struct ike_path path = only(p.client)->path;
            ike_input(p.client->engine, p.sim->now, &path, message_bytes(m));
            sim_drain(p.client);
            message_drop(p.gateway->engine, &m);
            from->next_out++;
            assert_int_equal(only(p.client)->next_in, 1);
            sim_log_clear(p.sim);
            assert_int_equal(sim_command(p.client, IKE_REKEY_CHILD, p.client->tunnel), 0);
            assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
            assert_int_equal(p.sim->log_count, 1); /* one at a time all the same */
            sim_run(p.sim, 2 * TIME_SECOND);
            sim_check_pair(p.sim, p.client, p.gateway);
            pair_end(&p);
        }
}

static size_t answers(const struct pair *p)
{
    return pair_sent(p, EXCHANGE_INFORMATIONAL, true);
}

/* Which IDs the gateway takes: the next one; the last one only octet by octet; no other, however
 * authentic, also when the peer thinks that it has a window of two. */
static void test_message_ids(void **state)
{
    (void)state;
    struct pair p = pair_make();
    pair_up(&p);
    sim_log_clear(p.sim);
    p.sim->filter = drop_all;
    static const uint32_t wrong[] = {0, 1, 3, 4, 7, 0x7fffffff, 0xfffffffe, 0xffffffff};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        tell(&p, p.client, p.gateway, EXCHANGE_INFORMATIONAL, false, wrong[i], 8192);
    assert_int_equal(answers(&p), 0);
    assert_int_equal(ike_counters(p.gateway->engine)->drop_message_id, ARRAY_LEN(wrong));
    tell(&p, p.client, p.gateway, EXCHANGE_INFORMATIONAL, false, 2, 8192);
    assert_int_equal(answers(&p), 1);
    tell(&p, p.client, p.gateway, EXCHANGE_INFORMATIONAL, false, 2, 8193); /* another message */
    assert_int_equal(answers(&p), 1);
    tell(&p, p.client, p.gateway, EXCHANGE_INFORMATIONAL, false, 3, 8192); /* skipped before */
    assert_int_equal(answers(&p), 2);
    /* and answers: only to the one that is out */
    assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
    for (uint32_t id = 0; id < 6; id++)
        if (id != only(p.client)->next_out)
            tell(&p, p.gateway, p.client, EXCHANGE_INFORMATIONAL, true, id, 8192);
    tell(&p, p.gateway, p.client, EXCHANGE_CREATE_CHILD_SA, true, only(p.client)->next_out, 8192);
    assert_non_null(only(p.client)->out.request);
    p.sim->packets_may_be_lost = true;
    sim_free(p.sim);
}

/* Few IDs are left: the SA is replaced, and the count begins anew. */
static void test_ids_run_out(void **state)
{
    (void)state;
    for (int of_client = 0; of_client < 2; of_client++) {
        struct pair p = pair_make();
        pair_up(&p);
        struct sa *client = only(p.client), *gateway = only(p.gateway);
        uint32_t few = UINT32_MAX - 1000;
        *(of_client ? &client->next_out : &client->next_in) = few;
        *(of_client ? &gateway->next_in : &gateway->next_out) = few;
        assert_int_equal(sim_command(of_client ? p.client : p.gateway, IKE_CHECK, 0), 0);
        sim_run(p.sim, 2 * TIME_SECOND);
        sim_check_pair(p.sim, p.client, p.gateway);
        assert_int_equal(sim_events(p.client, IKE_EVENT_REKEYED_IKE), 1);
        assert_in_range(only(p.client)->next_out, 0, 2);
        pair_end(&p);
    }
}

/* None is left and the rekey does not succeed: the SA ends with the last of them. */
static void test_last_id(void **state)
{
    (void)state;
    struct pair p = pair_make();
    pair_up(&p);
    struct sa *client = only(p.client), *gateway = only(p.gateway);
    gateway->state = IKE_STATE_REKEYED; /* refuses every rekey */
    client->next_out = gateway->next_in = UINT32_MAX - 4;
    assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
    sim_run(p.sim, 60 * TIME_SECOND);
    assert_int_equal(sim_event(p.client, IKE_EVENT_DOWN)->err, ERR_LIFETIME);
    assert_non_null(sim_event(p.gateway, IKE_EVENT_DOWN));
    pair_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_payloads),
        cmocka_unit_test(test_ignored_bits),
        cmocka_unit_test(test_wrong_flags),
        cmocka_unit_test(test_version_answer),
        cmocka_unit_test(test_errors_in_requests),
        cmocka_unit_test(test_errors_in_answers),
        cmocka_unit_test(test_unprotected_errors),
        cmocka_unit_test(test_set_window_size),
        cmocka_unit_test(test_message_ids),
        cmocka_unit_test(test_ids_run_out),
        cmocka_unit_test(test_last_id),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
