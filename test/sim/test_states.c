/* Every exchange type in every state, from a stranger and from the authenticated peer, as request
 * and as response: nothing crashes, and no state moves unless the table below allows it (past
 * daemons fell to INFORMATIONAL before IKE_AUTH, or called an SA established by a rekey). */
#include "stages.h"

enum { GONE = 1 << IKE_STATE_NONE, EST = 1 << IKE_STATE_ESTABLISHED };

/* Where an authentic message may lead; the state itself is always allowed, anything else is not. */
static unsigned allowed(uint8_t state, uint8_t exchange, bool response)
{
    switch (state) {
    case IKE_STATE_INIT_DONE: /* 1 << AUTH_ASKED, or refused */
        return exchange == EXCHANGE_IKE_AUTH && !response ? 1u << IKE_STATE_AUTH_ASKED | GONE : 0;
    case IKE_STATE_AUTH_SENT:
        return exchange == EXCHANGE_IKE_AUTH && response ? EST | GONE | 1u << IKE_STATE_DELETING
                                                         : 0;
    case IKE_STATE_ESTABLISHED:
        if (exchange == EXCHANGE_INFORMATIONAL && !response)
            return GONE;
        if (exchange == EXCHANGE_IKE_FOLLOWUP_KE && !response)
            return GONE;
        /* what cannot be read ends the SA on both sides, RFC 7296 2.21.3 */
        return exchange == EXCHANGE_CREATE_CHILD_SA && !response ? 1u << IKE_STATE_REKEYED | GONE
                                                                 : 0;
    case IKE_STATE_REKEYED:
    case IKE_STATE_DELETING:
        return exchange == EXCHANGE_INFORMATIONAL ||
                       (exchange == EXCHANGE_CREATE_CHILD_SA && !response) ||
                       (exchange == EXCHANGE_IKE_FOLLOWUP_KE && !response)
                   ? GONE
                   : 0;
    default:
        return 0;
    }
}

/* What lies inside SK, or in the clear. */
static void put_content(struct wire_builder *b, unsigned content)
{
    static const uint8_t some[64] = {1, 2, 3};
    struct bytes none = {0};
    uint32_t spi = 0x01020304;
    switch (content) {
    case 0:
        break;
    case 1:
        wire_put_notify(b, NOTIFY_AUTHENTICATION_FAILED, none);
        break;
    case 2:
        wire_put_delete_ike(b);
        break;
    case 3:
        wire_put(b, PAYLOAD_SA, (struct bytes){some, 40});
        wire_put_nonce(b, (struct bytes){some, 32});
        wire_put_ke(b, 31, (struct bytes){some, 32});
        break;
    case 4:
        wire_put_delete_children(b, PROTOCOL_ESP, &spi, 1);
        wire_put_notify_spi(b, PROTOCOL_ESP, (struct bytes){some, 4}, NOTIFY_REKEY_SA, none);
        break;
    case 5: /* all that IKE_AUTH needs, in kind, and with no proof in it */
        wire_put(b, PAYLOAD_IDi, (struct bytes){some, 12});
        wire_put(b, PAYLOAD_IDr, (struct bytes){some, 12});
        wire_put_auth(b, AUTH_SHARED_KEY, (struct bytes){some, 48});
        wire_put(b, PAYLOAD_SA, (struct bytes){some, 44});
        wire_put(b, PAYLOAD_TSi, (struct bytes){some, 24});
        wire_put(b, PAYLOAD_TSr, (struct bytes){some, 24});
        break;
    case 6:
        wire_put(b, PAYLOAD_SK, (struct bytes){some, 40});
        break;
    default: { /* critical and unknown */
        static const uint8_t critical[] = {0, 0x80, 0, 4};
        b->first = 200;
        writer_bytes(&b->w, critical, sizeof(critical));
    }
    }
}
enum { CONTENTS = 8 };

struct shot {
    uint8_t exchange;
    bool response, authentic;
    unsigned content, id;
};

/* A message of a stranger who knows the SPIs: in the clear, or with junk for SK. */
static struct bytes strange(const struct sa *target, const struct shot *shot, uint8_t *buffer)
{
    struct wire_builder b;
    bool i = target->initiator;
    struct wire_header h = {.spi_i = i ? target->spi_own : target->spi_peer,
                            .spi_r = i ? target->spi_peer : target->spi_own,
                            .exchange = shot->exchange,
                            .flags =
                                (i ? 0 : FLAG_INITIATOR) | (shot->response ? FLAG_RESPONSE : 0),
                            .message_id = shot->id};
    wire_begin(&b, buffer, 4096, &h);
    if (shot->content == CONTENTS - 1)
        wire_put(&b, PAYLOAD_SK, (struct bytes){buffer, 28});
    else
        put_content(&b, shot->content);
    return wire_finish(&b);
}

/* A message of the peer itself, sealed with its own SA. */
static struct bytes authentic(struct sim_host *peer, const struct sa *target,
                              const struct shot *shot, uint8_t *buffer)
{
    struct ike_engine *e = peer->engine;
    struct sa *sa = stage_sa(e, target->spi_own);
    struct wire_builder b;
    struct bytes none = {0};
    if (!sa || sa->chosen.encr == 0)
        return none;
    sk_begin(e, &b);
    put_content(&b, shot->content);
    struct message *m = sk_seal(e, sa, shot->exchange, shot->response, shot->id, &b);
    if (!m)
        return none;
    size_t len = m->len;
    assert_true(len <= 4096);
    memcpy(buffer, m->octets, len);
    message_drop(e, &m);
    return (struct bytes){buffer, len};
}

struct picture { /* what must not change */
    size_t state, sas, children, half_open, plane, events;
};

static struct picture look(const struct sim_host *host, uint64_t spi)
{
    struct ike_usage u;
    const struct sa *sa = map_get(&host->engine->sas, spi);
    ike_usage(host->engine, &u);
    return (struct picture){.state = sa && !sa->lingering ? sa->state : IKE_STATE_NONE,
                            .sas = u.sas,
                            .children = u.children,
                            .half_open = u.half_open,
                            .plane = sim_live_sas(host),
                            .events = host->event_count - sim_events(host, IKE_EVENT_RETRANSMIT)};
}

static void check(const struct stage *stage, const struct shot *shot, const struct picture *before,
                  const struct picture *after)
{
    char name[WIRE_NAME_TEXT];
    const char *what = wire_exchange_name(shot->exchange, name);
    bool same = memcmp(before, after, sizeof(*before)) == 0;
    unsigned may = shot->authentic ? allowed(stage->state, shot->exchange, shot->response) : 0;
    if (before->state != after->state && !(may & 1u << after->state))
        fail_msg("%s: %s %s %s (content %u, id %u) led to %s", stage->name,
                 shot->authentic ? "authentic" : "strange", what,
                 shot->response ? "response" : "request", shot->content, shot->id,
                 ike_state_name((uint8_t)after->state));
    if (!shot->authentic && !same)
        fail_msg("%s: a strange %s %s (content %u, id %u) left a trace", stage->name, what,
                 shot->response ? "response" : "request", shot->content, shot->id);
}

static void shoot(const struct stage *stage, const struct shot *shot)
{
    static uint8_t buffer[4096];
    struct pair p = pair_make();
    uint64_t spi = stage_reach(&p, stage);
    struct sim_host *host = stage->client ? p.client : p.gateway;
    struct sim_host *peer = stage->client ? p.gateway : p.client;
    const struct sa *target = map_get(&host->engine->sas, spi);
    struct shot aimed = *shot;
    aimed.id += shot->response ? target->next_out - (target->next_out > 0) : target->next_in;
    struct ike_path path = target->path;
    struct bytes message =
        shot->authentic ? authentic(peer, target, &aimed, buffer) : strange(target, &aimed, buffer);
    memset(&p.sim->link, 0, sizeof(p.sim->link));
    p.sim->filter = stage_drop; /* nobody else speaks now */
    if (message.len > 0) {
        struct picture before = {0}, after = {0};
        before = look(host, spi);
        ike_input(host->engine, p.sim->now, &path, message);
        sim_drain(host);
        after = look(host, spi);
        check(stage, &aimed, &before, &after);
    }
    p.sim->packets_may_be_lost = true;
    sim_free(p.sim);
}

static const uint8_t exchanges[] = {0,
                                    EXCHANGE_IKE_SA_INIT,
                                    EXCHANGE_IKE_AUTH,
                                    EXCHANGE_CREATE_CHILD_SA,
                                    EXCHANGE_INFORMATIONAL,
                                    EXCHANGE_IKE_SESSION_RESUME,
                                    EXCHANGE_IKE_INTERMEDIATE,
                                    EXCHANGE_IKE_FOLLOWUP_KE,
                                    240};

static void shoot_all(bool by_peer)
{
    for (size_t s = 0; s < STAGES; s++)
        for (size_t x = 0; x < ARRAY_LEN(exchanges); x++)
            for (unsigned response = 0; response < 2; response++)
                for (unsigned content = 0; content < CONTENTS; content++)
                    for (unsigned id = 0; id < 2; id++) {
                        struct shot shot = {exchanges[x], response, by_peer, content, id};
                        shoot(&stages[s], &shot);
                    }
}

static void test_strangers(void **state)
{
    (void)state;
    shoot_all(false);
}

static void test_authentic_peers(void **state)
{
    (void)state;
    shoot_all(true);
}

/* No SA at all: only a whole IKE_SA_INIT request makes one. */
static void test_nothing(void **state)
{
    (void)state;
    struct pair p = pair_make();
    sim_start(p.gateway);
    struct ike_path path = sim_path(p.gateway, p.client, 500);
    static uint8_t buffer[4096];
    for (size_t x = 0; x < ARRAY_LEN(exchanges); x++)
        for (unsigned content = 0; content < CONTENTS; content++)
            for (unsigned bits = 0; bits < 8; bits++) {
                struct sa nobody = {
                    .initiator = bits & 1, .spi_own = bits & 2 ? 77 : 0, .spi_peer = 99};
                struct shot shot = {exchanges[x], bits & 4, false, content, 0};
                ike_input(p.gateway->engine, p.sim->now, &path, strange(&nobody, &shot, buffer));
                sim_drain(p.gateway);
            }
    sim_check_empty(p.sim);
    sim_free(p.sim);
}

/* A replaced IKE SA, and one that we delete, still answer what the peer asks on them (RFC
 * 7296 2.8): it may not have heard yet. */
static void test_old_sa_answers(void **state)
{
    (void)state;
    static uint8_t buffer[4096];
    for (size_t s = 0; s < STAGES; s++) {
        if (stages[s].state != IKE_STATE_REKEYED && stages[s].state != IKE_STATE_DELETING)
            continue;
        struct pair p = pair_make();
        uint64_t spi = stage_reach(&p, &stages[s]);
        struct sim_host *host = stages[s].client ? p.client : p.gateway;
        struct sim_host *peer = stages[s].client ? p.gateway : p.client;
        const struct sa *target = map_get(&host->engine->sas, spi);
        struct ike_path path = target->path;
        uint64_t sent = host->sent;
        for (unsigned n = 0; n < 3; n++) {
            struct shot shot = {EXCHANGE_INFORMATIONAL, false, true, 0, target->next_in};
            struct bytes message = authentic(peer, target, &shot, buffer);
            if (message.len == 0) /* the peer has answered the Delete, and forgotten it */
                break;
            ike_input(host->engine, p.sim->now, &path, message);
            sim_drain(host);
            assert_int_equal(host->sent, sent + n + 1);
            assert_int_equal(target->next_in, shot.id + 1);
            assert_int_equal(target->state, stages[s].state);
        }
        assert_true(host->sent > sent || stages[s].state == IKE_STATE_DELETING);
        p.sim->packets_may_be_lost = true;
        sim_free(p.sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_old_sa_answers),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_authentic_peers),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
