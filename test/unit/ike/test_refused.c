/* What is refused is counted by its reason and told in words, and never more than a few times a
 * second: strangers' first messages, and the requests of peers that are let in. */
#include "mangle.h"

/* The whole first message again and again, changed by `change`; how many of n were told. */
static size_t strangers(struct pair *p, void (*change)(struct packet *k), unsigned n)
{
    struct packet first = p->wire[0];
    size_t told = 0;
    change(&first);
    for (unsigned i = 0; i < n; i++) {
        p->queued = 0;
        p->side[1].event_count = 0;
        first.octets[0] ^= (uint8_t)(i + 1); /* another SPI */
        ike_input(p->side[1].engine, p->now, &first.path, (struct bytes){first.octets, first.len});
        pair_drain(p, 1);
        told += pair_event(&p->side[1], IKE_EVENT_REFUSED) != NULL;
    }
    return told;
}

static void as_version_1(struct packet *k)
{
    k->octets[17] = 0x10;
}

static void as_version_3(struct packet *k)
{
    k->octets[17] = 0x30;
}

static void without_a_cipher(struct packet *k)
{
    k->octets[WIRE_HEADER_LEN + 4 + 7] = 0; /* so many transforms has the first proposal */
}

static void with_a_critical_payload(struct packet *k)
{
    uint8_t head[4] = {k->octets[16], 0x80, 0, 4};
    memmove(k->octets + WIRE_HEADER_LEN + 4, k->octets + WIRE_HEADER_LEN, k->len - WIRE_HEADER_LEN);
    memcpy(k->octets + WIRE_HEADER_LEN, head, 4);
    k->octets[16] = 200;
    k->len += 4;
    k->octets[26] = (uint8_t)(k->len >> 8), k->octets[27] = (uint8_t)k->len;
}

static void first_messages(void **state)
{
    (void)state;
    static const struct {
        void (*change)(struct packet *k);
        uint16_t notify;
        const char *word;
    } cases[] = {
        {as_version_1, 0, "version 1 of IKE"},
        {as_version_3, NOTIFY_INVALID_MAJOR_VERSION, "version 3 of IKE"},
        {without_a_cipher, 0, "cannot be read"},
        {with_a_critical_payload, NOTIFY_UNSUPPORTED_CRITICAL_PAYLOAD, "payload 200"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair *p = pair_make();
        pair_start(p);
        assert_int_equal(strangers(p, cases[i].change, 1), 1);
        const struct ike_event *told = pair_event(&p->side[1], IKE_EVENT_REFUSED);
        assert_int_equal(told->err, ERR_SYNTAX);
        assert_int_equal(told->notify, cases[i].notify);
        assert_non_null(strstr(told->text, cases[i].word));
        assert_int_equal(told->path.remote.ip.family, 4);
        const struct ike_counters *c = ike_counters(p->side[1].engine);
        assert_int_equal(c->refused, 1);
        assert_int_equal(c->refused_syntax, 1);
        pair_free(p);
    }
}

static void strangers_are_told_of_seldom(void **state)
{
    (void)state;
    struct pair *p = pair_make();
    pair_start(p);
    assert_int_equal(strangers(p, as_version_1, 200), 10);
    assert_int_equal(ike_counters(p->side[1].engine)->refused_syntax, 200);
    p->now += 2 * TIME_SECOND;
    pair_free(p);
}

/* A request of the client with one payload changed, and what the gateway says of it. */
static const struct ike_event *refuse(struct pair *p, uint8_t type, const uint8_t *body, size_t len)
{
    static struct text t, out;
    struct edit edit;
    mangle_open(p, &t);
    mangle_nothing(&edit);
    edit.at = mangle_index(&t, type);
    edit.body = (struct bytes){body, len};
    mangle_write(&t, &edit, &out);
    mangle_close(p, &out);
    p->side[1].event_count = 0;
    pair_round(p);
    return pair_event(&p->side[1], IKE_EVENT_REFUSED);
}

static void requests_of_peers(void **state)
{
    (void)state;
    static const uint8_t elsewhere[] = {1,   0,   0,  0,  7, 0, 0,  16, 0, 0,
                                        255, 255, 10, 99, 0, 0, 10, 99, 0, 9},
                         unreadable[] = {1, 0, 0, 0, 7},
                         weak[] = {0, 0, 0, 32, 1,    3,  4, 2,   1, 2, 3, 4, 3, 0, 0, 12,
                                   1, 0, 0, 12, 0x80, 14, 0, 128, 0, 0, 0, 8, 5, 0, 0, 0};
    static const struct {
        uint8_t payload;
        const uint8_t *body;
        size_t len;
        int err;
        uint16_t notify;
    } cases[] = {
        {PAYLOAD_TSr, elsewhere, sizeof(elsewhere), ERR_TS, NOTIFY_TS_UNACCEPTABLE},
        {PAYLOAD_TSi, unreadable, sizeof(unreadable), ERR_SYNTAX, NOTIFY_INVALID_SYNTAX},
        {PAYLOAD_SA, weak, sizeof(weak), ERR_NO_PROPOSAL, NOTIFY_NO_PROPOSAL_CHOSEN},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair *p = mangle_reach(CHILD_REQUEST);
        const struct ike_event *told = refuse(p, cases[i].payload, cases[i].body, cases[i].len);
        assert_non_null(told);
        assert_int_equal(told->err, cases[i].err);
        assert_int_equal(told->notify, cases[i].notify);
        assert_int_equal(told->exchange, EXCHANGE_CREATE_CHILD_SA);
        assert_true(told->text[0] != '\0');
        assert_int_equal(told->offered[0] != '\0', cases[i].err != ERR_SYNTAX);
        assert_true(told->tunnel != 0);
        assert_true(told->peer.type != IDENTITY_NONE);
        assert_int_equal(ike_counters(p->side[1].engine)->refused, 1);
        pair_settle(p);
        pair_finish(p);
    }
}

/* What RFC 7296 2.25 lets both sides try again is no refusal. */
static void what_mends_itself_is_not_told(void **state)
{
    (void)state;
    static const uint8_t unknown[] = {3, 4, NOTIFY_REKEY_SA >> 8, (uint8_t)NOTIFY_REKEY_SA, 9, 9,
                                      9, 9};
    struct pair *p = mangle_reach(CHILD_REQUEST);
    assert_null(refuse(p, PAYLOAD_NOTIFY, unknown, sizeof(unknown)));
    assert_int_equal(ike_counters(p->side[1].engine)->refused, 0);
    pair_settle(p);
    pair_finish(p);
}

static void lines_about_peers_are_few(void **state)
{
    (void)state;
    struct pair *p = pair_make();
    pair_start(p);
    struct ike_engine *e = p->side[0].engine;
    for (int second = 0; second < 3; second++) {
        int lines = 0;
        for (int i = 0; i < 100; i++)
            lines += peer_is_logged(e);
        assert_int_equal(lines, 5);
        e->now += 2 * TIME_SECOND;
    }
    pair_free(p);
}

/* A first answer that picks what was never offered is no NO_PROPOSAL_CHOSEN of the peer. */
static void an_answer_of_no_use(void **state)
{
    (void)state;
    static struct text t;
    struct pair *p = mangle_reach(INIT_ANSWER);
    mangle_open(p, &t);
    uint8_t *sa = t.octets + (t.chain.at[mangle_index(&t, PAYLOAD_SA)].body.at - t.octets);
    assert_int_equal(sa[8 + 8], 0x80); /* the cipher's key length */
    sa[8 + 11] = 0x81;
    mangle_close(p, &t);
    pair_round(p);
    for (int i = 0; i < 100; i++) { /* the gateway's answer would be right the next time */
        p->queued = 0;
        p->now += TIME_SECOND;
        ike_tick(p->side[0].engine, p->now);
        pair_drain(p, 0);
    }
    const struct ike_event *failed = pair_event(&p->side[0], IKE_EVENT_FAILED);
    assert_non_null(failed);
    assert_int_equal(failed->err, ERR_NO_PROPOSAL);
    assert_int_equal(failed->notify, 0);
    assert_non_null(strstr(failed->text, "chose algorithms that we did not offer"));
    pair_free(p);
}

/* RFC 7296 2.15: the octets of the identity are covered as they came, RESERVED ones too. */
static void reserved_octets_of_an_identity(void **state)
{
    (void)state;
    static struct text t, out;
    struct pair *p = mangle_reach(AUTH_REQUEST);
    struct ike_engine *e = p->side[0].engine;
    struct wire_header header = mangle_header(&p->wire[0]);
    const struct sa *sa = mangle_sa(e, &header);
    const struct handshake *h = sa->handshake;
    const struct prf_alg *prf = suite_prf(sa->chosen.prf);
    uint8_t octets[AUTH_OCTETS_MAX], body[200], proof[4 + 64] = {AUTH_SHARED_KEY};
    size_t len;
    mangle_open(p, &t);
    struct bytes id = t.chain.at[mangle_index(&t, PAYLOAD_IDi)].body;
    memcpy(body, id.at, id.len);
    memset(body + 1, 0xa5, 3);
    assert_int_equal(auth_octets(prf, message_bytes(h->request),
                                 (struct bytes){h->n.nonce_peer, h->n.nonce_peer_len},
                                 (struct bytes){h->sk_p[0], prf->len}, (struct bytes){body, id.len},
                                 (struct bytes){0}, octets, &len),
                     0);
    struct bytes psk = {(const uint8_t *)p->side[0].psk, strlen(p->side[0].psk)};
    assert_int_equal(auth_psk(prf, psk, (struct bytes){octets, len}, proof + 4), 0);
    struct edit edit;
    mangle_nothing(&edit);
    edit.at = mangle_index(&t, PAYLOAD_AUTH);
    edit.body = (struct bytes){proof, 4 + prf->len};
    memset(t.octets + (id.at - t.octets) + 1, 0xa5, 3);
    mangle_write(&t, &edit, &out);
    mangle_close(p, &out);
    pair_settle(p);
    pair_check_children(p, 1);
    pair_finish(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_messages),
        cmocka_unit_test(strangers_are_told_of_seldom),
        cmocka_unit_test(requests_of_peers),
        cmocka_unit_test(what_mends_itself_is_not_told),
        cmocka_unit_test(lines_about_peers_are_few),
        cmocka_unit_test(an_answer_of_no_use),
        cmocka_unit_test(reserved_octets_of_an_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
