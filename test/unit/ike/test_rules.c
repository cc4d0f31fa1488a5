#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ike/internal.h"

/* The table of rules, looked at from the side: is it whole, and does it say what the RFC says? */

static void rows_are_sane(void **state)
{
    (void)state;
    for (size_t i = 0; i < rules_count(); i++) {
        const struct rule *r = rules_at(i);
        assert_true(r->role >= RULE_INITIATOR && r->role <= RULE_BOTH);
        assert_true(r->states != 0 && r->states < 1u << IKE_STATE_COUNT);
        assert_int_equal(r->need & r->once, 0);
        /* Only the first exchange is in the clear; only its request has no SA yet to handle it. */
        assert_int_equal(r->protected, r->exchange != EXCHANGE_IKE_SA_INIT);
        assert_int_equal(r->run == NULL, r->exchange == EXCHANGE_IKE_SA_INIT && !r->response);
        for (size_t j = 0; j < i; j++) {
            const struct rule *o = rules_at(j);
            assert_false(o->exchange == r->exchange && o->response == r->response &&
                         (o->role & r->role) && (o->states & r->states));
        }
    }
    assert_null(rules_at(rules_count()));
}

/* Every exchange in every state, as it is meant to be. */
static bool expected(uint8_t exchange, bool response, bool initiator, uint8_t s)
{
    bool up = s == IKE_STATE_ESTABLISHED || s == IKE_STATE_REKEYED || s == IKE_STATE_DELETING;
    switch (exchange) {
    case EXCHANGE_IKE_SA_INIT:
        return response ? initiator && s == IKE_STATE_INIT_SENT : !initiator && s == 0;
    case EXCHANGE_IKE_INTERMEDIATE:
        return response ? initiator && s == IKE_STATE_INTERMEDIATE_SENT
                        : !initiator && s == IKE_STATE_INIT_DONE;
    case EXCHANGE_IKE_AUTH:
        return response ? initiator && s == IKE_STATE_AUTH_SENT
                        : !initiator && s == IKE_STATE_INIT_DONE;
    case EXCHANGE_CREATE_CHILD_SA:
    case EXCHANGE_IKE_FOLLOWUP_KE:
    case EXCHANGE_INFORMATIONAL:
        return up;
    default:
        return false;
    }
}

static void nothing_else_is_legal(void **state)
{
    (void)state;
    for (unsigned exchange = 0; exchange < 256; exchange++)
        for (unsigned bits = 0; bits < 4; bits++)
            for (uint8_t s = 0; s < IKE_STATE_COUNT; s++) {
                bool response = bits & 1, initiator = bits & 2;
                const struct rule *r = rules_find((uint8_t)exchange, response, initiator, s);
                assert_int_equal(r != NULL, expected((uint8_t)exchange, response, initiator, s));
            }
}

static struct wire_chain chain_of(const uint8_t *types, size_t count)
{
    struct wire_chain c = {.count = count};
    for (size_t i = 0; i < count; i++)
        c.at[i].type = types[i];
    return c;
}

static int check(uint8_t exchange, bool response, uint8_t s, const uint8_t *types, size_t count)
{
    const struct rule *r = rules_find(exchange, response, response, s);
    assert_non_null(r);
    struct wire_chain c = chain_of(types, count);
    return rules_payloads(r, &c);
}
#define CHECK(exchange, response, state, ...)                                                      \
    check(EXCHANGE_##exchange, response, IKE_STATE_##state, (const uint8_t[]){__VA_ARGS__},        \
          sizeof((const uint8_t[]){__VA_ARGS__}))

static void payloads(void **state)
{
    (void)state;
    enum {
        SA = PAYLOAD_SA,
        KE = PAYLOAD_KE,
        NO = PAYLOAD_NONCE,
        IDI = PAYLOAD_IDi,
        TSI = PAYLOAD_TSi,
        TSR = PAYLOAD_TSr,
        AUTH = PAYLOAD_AUTH,
        V = PAYLOAD_VENDOR,
        CERT = PAYLOAD_CERT,
        CP = PAYLOAD_CP,
        UNKNOWN = 200
    };
    assert_int_equal(CHECK(IKE_SA_INIT, false, NONE, SA, KE, NO, V, V, UNKNOWN), 0);
    assert_int_equal(CHECK(IKE_SA_INIT, false, NONE, SA, KE), NOTIFY_INVALID_SYNTAX);
    assert_int_equal(CHECK(IKE_SA_INIT, false, NONE, SA, SA, KE, NO), NOTIFY_INVALID_SYNTAX);
    assert_int_equal(CHECK(IKE_AUTH, false, INIT_DONE, IDI, AUTH, SA, TSI, TSR, CERT, CERT), 0);
    assert_int_equal(CHECK(IKE_AUTH, false, INIT_DONE, IDI, SA, TSI, TSR), 0); /* wants EAP */
    assert_int_equal(CHECK(IKE_AUTH, false, INIT_DONE, AUTH, SA, TSI, TSR), NOTIFY_INVALID_SYNTAX);
    assert_int_equal(CHECK(IKE_AUTH, false, INIT_DONE, IDI, AUTH, AUTH, SA, TSI, TSR),
                     NOTIFY_INVALID_SYNTAX);
    /* A peer that repeats CP in a rekey is borne with. */
    assert_int_equal(CHECK(CREATE_CHILD_SA, false, ESTABLISHED, SA, NO, TSI, TSR, CP, CP), 0);
    assert_int_equal(CHECK(CREATE_CHILD_SA, false, ESTABLISHED, SA, TSI, TSR),
                     NOTIFY_INVALID_SYNTAX);
}

static void every_move_has_a_name(void **state)
{
    (void)state;
    for (uint8_t s = 0; s < IKE_STATE_COUNT; s++)
        assert_true(ike_state_name(s)[0] >= 'A');
    assert_string_equal(ike_state_name(99), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_sane),
        cmocka_unit_test(nothing_else_is_legal),
        cmocka_unit_test(payloads),
        cmocka_unit_test(every_move_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
