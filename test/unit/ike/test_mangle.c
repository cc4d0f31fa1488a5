/* Messages as a hostile or a careless peer would send them: the shapes that brought other daemons
 * down, and what RFC 7296 says about reserved fields, unknown payloads and order. Whatever arrives:
 * no crash, both sides agree in the end, and nothing was accepted that must not be. */
#include "mangle.h"

/* Lets what was begun end, and looks whether both sides hold children of the same SPIs. Their keys
 * may differ where the sender's own idea of its message was not changed along with the message. */
static void agree(struct pair *p, const char *what, enum moment moment, size_t n)
{
    pair_sleep(p, 100 * TIME_SECOND);
    const struct side *a = &p->side[0], *b = &p->side[1];
    /* A client that cannot read the answer to its rekey of the IKE SA, or read another nonce than
     * was sent, cannot tell that on the new one: there the gateway's liveness would find out. */
    bool apart = moment == IKE_REQUEST || moment == IKE_ANSWER;
    if (apart && p->side[1].engine->tunnels.used > 0)
        pair_command(p, 1, IKE_DELETE);
    if (!apart && a->child_count != b->child_count)
        fail_msg("%s %zu of message %d: %zu children here, %zu there", what, n, moment,
                 a->child_count, b->child_count);
    for (size_t i = 0; !apart && i < a->child_count; i++)
        assert_int_equal(a->children[i].spi_in, b->children[i].spi_out);
    for (int w = 0; w < 2; w++)
        assert_int_equal(ike_counters(p->side[w].engine)->illegal_moves, 0);
    pair_finish(p);
}

/* The message of a moment with its payloads cut off after n octets; false when n is too much. */
static bool cut(enum moment moment, size_t n)
{
    static struct text t;
    struct pair *p = mangle_reach(moment);
    mangle_open(p, &t);
    bool more = n < t.len;
    if (more) {
        t.len = n;
        mangle_close(p, &t);
    }
    agree(p, "cut at", moment, n);
    return more;
}

static void every_message_cut_at_every_octet(void **state)
{
    (void)state;
    for (enum moment m = 0; m < MOMENTS; m++)
        for (size_t n = 0; cut(m, n); n++)
            ;
}

/* The whole datagram cut, with and without a length in the header that says so. */
static void first_messages_cut_as_datagrams(void **state)
{
    (void)state;
    for (enum moment m = INIT_REQUEST; m <= AUTH_ANSWER; m++)
        for (size_t n = 0, full = 1; n < full; n++) {
            struct pair *p = mangle_reach(m);
            struct packet *k = &p->wire[0];
            full = k->len;
            k->len = n;
            if (n % 2 && n >= WIRE_HEADER_LEN)
                k->octets[26] = (uint8_t)(n >> 8), k->octets[27] = (uint8_t)n;
            pair_settle(p);
            pair_sleep(p, 10 * TIME_SECOND);
            /* The real one is repeated, or kept as an answer: the tunnel comes up all the same. */
            pair_check_children(p, 1);
            pair_finish(p);
        }
}

static bool changed(enum moment moment, size_t n, bool twice)
{
    static struct text t, out;
    struct edit edit;
    struct pair *p = mangle_reach(moment);
    mangle_open(p, &t);
    bool more = n < t.chain.count;
    mangle_nothing(&edit);
    *(twice ? &edit.twice : &edit.skip) = more ? n : SIZE_MAX;
    uint8_t type = more ? t.chain.at[n].type : 0;
    mangle_write(&t, &edit, &out);
    mangle_close(p, &out);
    pair_settle(p);
    struct ike_usage u;
    ike_usage(p->side[1].engine, &u);
    if (moment == INIT_REQUEST && !twice &&
        (type == PAYLOAD_SA || type == PAYLOAD_KE || type == PAYLOAD_NONCE))
        assert_int_equal(u.sas, 0);
    agree(p, twice ? "payload twice" : "payload missing", moment, n);
    return more;
}

static void every_payload_missing_or_twice(void **state)
{
    (void)state;
    for (enum moment m = 0; m < MOMENTS; m++)
        for (int twice = 0; twice < 2; twice++)
            for (size_t n = 0; changed(m, n, twice); n++)
                ;
}

/* Each body of each payload at each shorter length, the chain around it being right. */
static void every_body_shortened(void **state)
{
    (void)state;
    static struct text t, out;
    for (enum moment m = 0; m < MOMENTS; m++)
        for (size_t n = 0, count = 1; n < count; n++)
            for (size_t len = 0, full = 1; len < full; len++) {
                struct edit edit;
                struct pair *p = mangle_reach(m);
                mangle_open(p, &t);
                count = t.chain.count;
                full = count > n ? t.chain.at[n].body.len : 0;
                mangle_nothing(&edit);
                if (len < full) {
                    edit.at = n;
                    edit.body = (struct bytes){t.chain.at[n].body.at, len};
                }
                mangle_write(&t, &edit, &out);
                mangle_close(p, &out);
                agree(p, "body shortened", m, n);
            }
}

/* Replaces the key exchange data of an IKE_SA_INIT request; says whether that made an SA. */
static bool accepts_ke(const char *proposal, uint16_t group, struct bytes value, uint8_t *answer)
{
    static struct text t, out;
    static uint8_t body[TEXT_MAX];
    struct edit edit;
    struct pair *p = pair_make();
    for (int w = 0; w < 2; w++)
        p->side[w].conf.ike[0] = pair_proposal(PROTOCOL_IKE, proposal);
    mangle_reach_pair(p, INIT_REQUEST);
    mangle_open(p, &t);
    mangle_nothing(&edit);
    edit.at = mangle_index(&t, PAYLOAD_KE);
    body[0] = (uint8_t)(group >> 8), body[1] = (uint8_t)group, body[2] = body[3] = 0;
    memcpy(body + 4, value.at, value.len);
    edit.body = (struct bytes){body, 4 + value.len};
    mangle_write(&t, &edit, &out);
    mangle_close(p, &out);
    pair_round(p);
    *answer = p->queued ? p->wire[0].octets[16] : 0;
    struct ike_usage u;
    ike_usage(p->side[1].engine, &u);
    pair_free(p);
    return u.sas > 0;
}

/* 0, 1 and all ones, as past daemons took them for keys; p - 1, p and p + 1 are in test_kex. */
static void bad_key_exchange_values(void **state)
{
    (void)state;
    static const struct {
        const char *proposal;
        uint16_t group;
        size_t len;
    } groups[] = {
        {"aes256gcm16-prfsha256-x25519", 31, 32},  {"aes256gcm16-prfsha256-x448", 32, 56},
        {"aes256gcm16-prfsha256-ecp256", 19, 64},  {"aes256gcm16-prfsha256-ecp384", 20, 96},
        {"aes256gcm16-prfsha256-ecp521", 21, 132}, {"aes256gcm16-prfsha256-modp2048", 14, 256}};
    uint8_t value[300], answer;
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        size_t len = groups[i].len;
        for (unsigned last = 0; last < 2; last++) { /* 0 and 1: also points of order one or two */
            memset(value, 0, sizeof(value));
            value[groups[i].group == 31 || groups[i].group == 32 ? 0 : len - 1] = (uint8_t)last;
            assert_false(accepts_ke(groups[i].proposal, groups[i].group, (struct bytes){value, len},
                                    &answer));
        }
        memset(value, 0xff, sizeof(value));
        bool montgomery = groups[i].group == 31 || groups[i].group == 32;
        /* All ones is over p, which RFC 7748 reduces; for the others it is no element. */
        if (!montgomery)
            assert_false(accepts_ke(groups[i].proposal, groups[i].group, (struct bytes){value, len},
                                    &answer));
        for (size_t wrong = 0; wrong <= len + 8; wrong++)
            if (wrong != len)
                assert_false(accepts_ke(groups[i].proposal, groups[i].group,
                                        (struct bytes){value, wrong}, &answer));
    }
}

/* Any group but the one chosen is answered with INVALID_KE_PAYLOAD and makes no state. */
static void every_group_number(void **state)
{
    (void)state;
    static struct text t;
    struct pair *p = pair_make();
    struct ike_usage u;
    for (int w = 0; w < 2; w++)
        p->side[w].conf.ike[0] = pair_proposal(PROTOCOL_IKE, "aes256gcm16-prfsha256-x25519");
    mangle_reach_pair(p, INIT_REQUEST);
    mangle_open(p, &t);
    const struct packet request = p->wire[0];
    const uint8_t *ke = t.chain.at[mangle_index(&t, PAYLOAD_KE)].body.at;
    size_t at = WIRE_HEADER_LEN + (size_t)(ke - t.octets);
    for (uint32_t n = 0; n <= 65535; n++) {
        uint32_t group = n < 31 ? n : n < 65535 ? n + 1 : 31; /* the right one last */
        p->wire[0] = request;
        p->wire[0].octets[at] = (uint8_t)(group >> 8);
        p->wire[0].octets[at + 1] = (uint8_t)group;
        p->queued = 1;
        pair_round(p);
        assert_int_equal(p->queued, 1);
        assert_int_equal(p->wire[0].octets[16], group == 31 ? PAYLOAD_SA : PAYLOAD_NOTIFY);
        ike_usage(p->side[1].engine, &u);
        assert_int_equal(u.sas, group == 31);
    }
    pair_free(p);
}

/* What the receiver answered to one changed message: the first error notify inside, 0 for none. */
static uint16_t answer_to(struct pair *p)
{
    static struct text t;
    struct wire_notify_view n;
    pair_round(p);
    if (p->queued == 0)
        return 0;
    mangle_open(p, &t);
    for (size_t i = 0; i < t.chain.count; i++)
        if (t.chain.at[i].type == PAYLOAD_NOTIFY && wire_notify_read(t.chain.at[i].body, &n) == 0 &&
            n.type < 16384)
            return n.type;
    return 0;
}

/* REKEY_SA with another protocol, SPI size or SPI: past daemons aborted. The child stays. */
static void rekey_sa_that_lies(void **state)
{
    (void)state;
    static struct text t, out;
    for (unsigned protocol = 0; protocol < 256; protocol++)
        for (unsigned size = 0; size <= 8; size += 4) {
            uint8_t body[16] = {(uint8_t)protocol,
                                (uint8_t)size,
                                NOTIFY_REKEY_SA >> 8,
                                (uint8_t)NOTIFY_REKEY_SA,
                                0xde,
                                0xad,
                                0xbe,
                                0xef,
                                1,
                                2,
                                3,
                                4};
            struct edit edit;
            struct pair *p = mangle_reach(CHILD_REQUEST);
            mangle_open(p, &t);
            mangle_nothing(&edit);
            edit.at = mangle_index(&t, PAYLOAD_NOTIFY);
            assert_true(edit.at != SIZE_MAX);
            edit.body = (struct bytes){body, 4 + size};
            mangle_write(&t, &edit, &out);
            mangle_close(p, &out);
            uint16_t said = answer_to(p);
            assert_true(said != 0);
            if (protocol == PROTOCOL_ESP && size == 4)
                assert_int_equal(said, NOTIFY_CHILD_SA_NOT_FOUND);
            assert_int_equal(p->side[1].child_count, said == NOTIFY_INVALID_SYNTAX ? 0 : 1);
            /* Told that its child is not there, the client takes it for gone. */
            pair_settle(p);
            pair_finish(p);
        }
}

/* Selectors that contradict themselves, in IKE_AUTH and in CREATE_CHILD_SA. */
static void selectors_that_lie(void **state)
{
    (void)state;
    static struct text t, out;
    static const uint8_t bodies[][4 + 40] = {
        {0, 0, 0, 0},                                                           /* none */
        {255, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255, 10, 0, 0, 0, 10, 0, 0, 1},  /* 255 said */
        {1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255, 10, 0, 0, 9, 10, 0, 0, 1},    /* backwards */
        {1, 0, 0, 0, 7, 0, 0, 16, 0, 9, 0, 1, 10, 0, 0, 0, 10, 0, 0, 1},        /* ports, too */
        {1, 0, 0, 0, 7, 0, 0, 15, 0, 0, 255, 255, 10, 0, 0, 0, 10, 0, 0, 1},    /* one short */
        {1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 0, 10, 0, 0, 1},     /* no length */
        {1, 0, 0, 0, 7, 0, 255, 255, 0, 0, 255, 255, 10, 0, 0, 0, 10, 0, 0, 1}, /* too much */
        {1, 0, 0, 0, 8, 0, 0, 16, 0, 0, 255, 255, 10, 0, 0, 0, 10, 0, 0, 1},    /* IPv6, short */
        {1, 0, 0, 0, 9, 0, 0, 16, 0, 0, 255, 255, 10, 0, 0, 0, 10, 0, 0, 1},    /* unknown type */
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        for (int which = 0; which < 4; which++) {
            enum moment m = which & 1 ? AUTH_REQUEST : CHILD_REQUEST;
            struct edit edit;
            struct pair *p = mangle_reach(m);
            mangle_open(p, &t);
            mangle_nothing(&edit);
            edit.at = mangle_index(&t, which & 2 ? PAYLOAD_TSr : PAYLOAD_TSi);
            edit.body = (struct bytes){bodies[i], i == 0 ? 4 : 20};
            mangle_write(&t, &edit, &out);
            mangle_close(p, &out);
            size_t before = p->side[1].child_count;
            uint16_t said = answer_to(p);
            assert_true(said == NOTIFY_INVALID_SYNTAX || said == NOTIFY_TS_UNACCEPTABLE);
            assert_true(p->side[1].child_count <= before);
            agree(p, "selectors", m, i);
        }
}

/* Identities of any length that a datagram here can hold; none but the right one gets in. */
static void identities_of_any_length(void **state)
{
    (void)state;
    static struct text t, out;
    static uint8_t body[TEXT_MAX];
    for (size_t len = 0; len <= 1500; len += len < 300 ? 1 : 37) {
        struct edit edit;
        struct pair *p = mangle_reach(AUTH_REQUEST);
        mangle_open(p, &t);
        memset(body, 'x', sizeof(body));
        memset(body, 0, 4);
        body[0] = (uint8_t)(len % 13);
        mangle_nothing(&edit);
        edit.at = mangle_index(&t, PAYLOAD_IDi);
        edit.body = (struct bytes){body, len};
        mangle_write(&t, &edit, &out);
        mangle_close(p, &out);
        pair_settle(p);
        assert_int_equal(p->side[1].child_count, 0);
        assert_int_equal(ike_counters(p->side[1].engine)->established, 0);
        agree(p, "identity", AUTH_REQUEST, len);
    }
}

/* ---- what has to be tolerated */

/* Each RESERVED field of 3.2 to 3.15 set, bits of the payload header too. */
static void set_reserved(struct text *t)
{
    for (size_t i = 0; i < t->chain.count; i++) {
        const struct wire_payload_view *v = &t->chain.at[i];
        uint8_t *body = t->octets + (v->body.at - t->octets);
        switch (v->type) {
        case PAYLOAD_SA:
            body[1] = 0xff; /* of the first proposal; its first transform: */
            body[8 + body[6] + 1] = 0xff;
            body[8 + body[6] + 5] = 0xff;
            break;
        case PAYLOAD_KE:
            body[2] = body[3] = 0xff;
            break;
        case PAYLOAD_AUTH:
        case PAYLOAD_TSi:
        case PAYLOAD_TSr:
        case PAYLOAD_CP:
            memset(body + 1, 0xff, 3);
            break;
        }
    }
}

static void reserved_fields_are_ignored(void **state)
{
    (void)state;
    static struct text t, out;
    for (enum moment m = 0; m < MOMENTS; m++) {
        struct edit edit;
        struct pair *p = mangle_reach(m);
        mangle_open(p, &t);
        set_reserved(&t);
        mangle_nothing(&edit);
        edit.critical_bits = 0x7f;
        mangle_write(&t, &edit, &out);
        mangle_close(p, &out);
        if (m <= INIT_ANSWER) { /* both sign it, so it cannot end well; but it is understood */
            pair_round(p);
            assert_int_equal(p->queued, 1);
            assert_int_equal(mangle_header(&p->wire[0]).exchange,
                             m == INIT_REQUEST ? EXCHANGE_IKE_SA_INIT : EXCHANGE_IKE_AUTH);
            assert_int_equal(p->wire[0].octets[16], m == INIT_REQUEST ? PAYLOAD_SA : PAYLOAD_SK);
        } else {
            pair_settle(p);
            pair_check_children(p, 1);
        }
        agree(p, "reserved fields", m, 0);
    }
}

/* The flags and the minor version of the header: X bits ignored, 2.5. */
static void header_bits_are_ignored(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 4; bits++) {
        struct pair *p = mangle_reach(INIT_REQUEST);
        p->wire[0].octets[17] |= bits & 1 ? 0x0f : 0;        /* minor version */
        p->wire[0].octets[19] |= bits & 2 ? 0xc7 | 0x10 : 0; /* reserved, and "can speak higher" */
        pair_round(p);
        assert_int_equal(p->queued, 1);
        assert_int_equal(p->wire[0].octets[16], PAYLOAD_SA);
        assert_int_equal(p->wire[0].octets[17], 0x20);
        assert_int_equal(p->wire[0].octets[19] & ~FLAG_RESPONSE, 0);
        agree(p, "header bits", INIT_REQUEST, bits);
    }
    struct pair *p = mangle_reach(INIT_REQUEST);
    p->wire[0].octets[17] = 0x30;
    pair_round(p);
    struct ike_usage u;
    ike_usage(p->side[1].engine, &u);
    assert_int_equal(u.sas, 0);
    assert_int_equal(ike_counters(p->side[1].engine)->drop_version, 1);
    agree(p, "major version", INIT_REQUEST, 0);
}

static void any_order_is_understood(void **state)
{
    (void)state;
    static struct text t, out;
    for (enum moment m = 0; m < MOMENTS; m++) {
        struct edit edit;
        struct pair *p = mangle_reach(m);
        mangle_open(p, &t);
        mangle_nothing(&edit);
        edit.reverse = true;
        mangle_write(&t, &edit, &out);
        mangle_close(p, &out);
        if (m <= INIT_ANSWER) {
            pair_round(p);
            assert_int_equal(p->queued, 1);
            assert_true(p->wire[0].octets[16] == (m == INIT_REQUEST ? PAYLOAD_SA : PAYLOAD_SK));
        } else {
            pair_settle(p);
            pair_check_children(p, 1);
        }
        agree(p, "order", m, 0);
    }
}

/* Adds one payload in front. */
static void put_before(struct text *t, uint8_t type, uint8_t bits, struct bytes body)
{
    static struct text out;
    uint8_t *next = &out.first;
    out.len = 0;
    mangle_put(&out, &next, type, body, bits);
    for (size_t i = 0; i < t->chain.count; i++)
        mangle_put(&out, &next, t->chain.at[i].type, t->chain.at[i].body, 0);
    if (t->chain.count == 0)
        *next = 0;
    memcpy(t, &out, offsetof(struct text, chain));
}

static void unknown_payloads(void **state)
{
    (void)state;
    static struct text t;
    static const uint8_t some[] = {1, 2, 3, 4, 5};
    for (int critical = 0; critical < 2; critical++)
        for (enum moment m = 0; m < MOMENTS; m++) {
            struct pair *p = mangle_reach(m);
            bool request = m % 2 == 0;
            mangle_open(p, &t);
            put_before(&t, 200, critical ? 0x80 : 0, (struct bytes){some, sizeof(some)});
            mangle_close(p, &t);
            if (m <= INIT_ANSWER && !critical) {
                pair_round(p);
                assert_int_equal(p->queued, 1);
                assert_true(p->wire[0].octets[16] == (request ? PAYLOAD_SA : PAYLOAD_SK));
            } else if (!critical) {
                pair_settle(p);
                pair_check_children(p, 1);
            } else if (m > INIT_ANSWER && request) {
                assert_int_equal(answer_to(p), NOTIFY_UNSUPPORTED_CRITICAL_PAYLOAD);
                assert_true(m != AUTH_REQUEST || p->side[1].child_count == 0);
            } else {
                pair_round(p);
                struct ike_usage u;
                ike_usage(p->side[1].engine, &u);
                assert_true(m != INIT_REQUEST || u.sas == 0);
            }
            agree(p, critical ? "critical" : "unknown", m, 0);
        }
}

/* Unknown notifies: status and errors are ignored in requests, and errors end an exchange in its
 * answer (3.10.1). */
static void unknown_notifies(void **state)
{
    (void)state;
    static struct text t;
    for (int error = 0; error < 2; error++)
        for (enum moment m = AUTH_REQUEST; m < MOMENTS; m++) {
            if (error && m == IKE_ANSWER)
                continue; /* yes and no at once: there is nothing left to agree on */
            uint16_t type = error ? 9000 : 45000;
            uint8_t body[] = {0, 0, (uint8_t)(type >> 8), (uint8_t)type, 7, 7};
            struct pair *p = mangle_reach(m);
            mangle_open(p, &t);
            put_before(&t, PAYLOAD_NOTIFY, 0, (struct bytes){body, sizeof(body)});
            mangle_close(p, &t);
            pair_settle(p);
            if (!error || m % 2 == 0)
                pair_check_children(p, 1);
            agree(p, error ? "unknown error" : "unknown status", m, 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_cut_at_every_octet),
        cmocka_unit_test(first_messages_cut_as_datagrams),
        cmocka_unit_test(every_payload_missing_or_twice),
        cmocka_unit_test(every_body_shortened),
        cmocka_unit_test(bad_key_exchange_values),
        cmocka_unit_test(every_group_number),
        cmocka_unit_test(rekey_sa_that_lies),
        cmocka_unit_test(selectors_that_lie),
        cmocka_unit_test(identities_of_any_length),
        cmocka_unit_test(reserved_fields_are_ignored),
        cmocka_unit_test(header_bits_are_ignored),
        cmocka_unit_test(any_order_is_understood),
        cmocka_unit_test(unknown_payloads),
        cmocka_unit_test(unknown_notifies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
