/* What only another maker's gateway sends: its answers are taken off the wire, opened with the
 * client's keys, changed, and sealed again with the gateway's. */
#include "pair.h"

static struct sa *only_sa(const struct side *s)
{
    size_t cursor = 0;
    const struct tunnel *t = map_next(&s->engine->tunnels, &cursor);
    assert_non_null(t);
    return t->sa;
}

static struct selector ts(const char *text)
{
    struct selector s;
    assert_true(selector_parse(text, &s));
    return s;
}

/* What is inside `k`, opened with the keys of whom it goes to. */
static const struct wire_chain *open_packet(struct pair *p, const struct packet *k)
{
    static struct wire_chain outer, inner;
    struct input in = {.datagram = {k->octets, k->len}, .outer = &outer};
    assert_int_equal(wire_header_read(in.datagram, &in.header), 0);
    struct bytes payloads = {k->octets + WIRE_HEADER_LEN, k->len - WIRE_HEADER_LEN};
    assert_int_equal(wire_walk(in.header.next_payload, payloads, &outer), 0);
    const struct side *to = &p->side[k->to];
    assert_int_equal(sk_open(to->engine, only_sa(to), &in), 0);
    assert_int_equal(wire_walk(in.inner_first, in.inner_octets, &inner), 0);
    return &inner;
}

/* Puts what was inside `k` into `b`, without the child's payloads. */
static void copy_without_child(struct pair *p, const struct packet *k, struct wire_builder *b)
{
    const struct wire_chain *inner = open_packet(p, k);
    for (size_t i = 0; i < inner->count; i++) {
        uint8_t type = inner->at[i].type;
        if (type != PAYLOAD_SA && type != PAYLOAD_TSi && type != PAYLOAD_TSr)
            wire_put(b, type, inner->at[i].body);
    }
}

/* The answer that is on its way to the client becomes a no by `notify`, and the gateway has no
 * child of it. */
static void answer_becomes(struct pair *p, uint16_t notify)
{
    struct side *gateway = &p->side[1];
    struct ike_engine *e = gateway->engine;
    struct sa *sa = only_sa(gateway);
    struct packet *k = &p->wire[p->queued - 1];
    struct wire_header header;
    assert_int_equal(k->to, 0);
    assert_int_equal(wire_header_read((struct bytes){k->octets, k->len}, &header), 0);
    struct wire_builder b;
    sk_begin(e, &b);
    if (header.exchange == EXCHANGE_IKE_AUTH)
        copy_without_child(p, k, &b);
    wire_put_notify(&b, notify, (struct bytes){0});
    struct message *m = sk_seal(e, sa, header.exchange, true, header.message_id, &b);
    assert_non_null(m);
    k->len = m->len;
    memcpy(k->octets, m->octets, m->len);
    message_drop(e, &m);
    assert_non_null(sa->children);
    child_remove(e, sa->children, false, 0); /* the newest */
    pair_drain(p, 1);
}

/* Delivers until the next answer to a request of that exchange is on the wire. */
static void until_answer(struct pair *p, uint8_t exchange)
{
    for (int i = 0; i < 20; i++) {
        const struct packet *k = p->queued ? &p->wire[p->queued - 1] : NULL;
        if (k && k->to == 0 && k->octets[18] == exchange)
            return;
        p->now += TIME_MILLISECOND;
        pair_round(p);
    }
    fail_msg("no answer came");
}

static struct pair *client_of_two_networks(void)
{
    struct pair *p = pair_make();
    p->side[0].conf.remote_ts[0] = ts("10.20.1.0/24");
    p->side[0].conf.remote_ts[1] = ts("10.20.2.0/24[tcp/80]");
    p->side[0].conf.remote_ts_count = 2;
    return p;
}

/* Each network by itself, and each in a child of its own. */
static void check_pairs(const struct pair *p)
{
    pair_check_children(p, 2);
    bool seen[2] = {false};
    for (size_t i = 0; i < 2; i++) {
        const struct ike_child *c = &p->side[0].children[i];
        assert_int_equal(c->remote_count, 1);
        for (size_t j = 0; j < 2; j++)
            seen[j] |= selector_equal(&c->remote_ts[0], &p->side[0].conf.remote_ts[j]);
    }
    assert_true(seen[0] && seen[1]);
}

static void single_pairs_after_ike_auth(void **state)
{
    (void)state;
    struct pair *p = client_of_two_networks();
    pair_start(p);
    until_answer(p, EXCHANGE_IKE_AUTH);
    answer_becomes(p, NOTIFY_SINGLE_PAIR_REQUIRED);
    pair_round(p);
    assert_null(pair_event(&p->side[0], IKE_EVENT_ESTABLISHED)); /* there is no child yet */
    assert_null(pair_event(&p->side[0], IKE_EVENT_FAILED));
    pair_settle(p);
    assert_non_null(pair_event(&p->side[0], IKE_EVENT_ESTABLISHED));
    assert_int_equal(p->side[0].net_up, 1);
    check_pairs(p);
    pair_command(p, 0, IKE_REKEY_CHILD);
    pair_sleep(p, 5 * TIME_SECOND);
    check_pairs(p);
    pair_finish(p);
}

static void single_pairs_of_a_further_child(void **state)
{
    (void)state;
    struct pair *p = pair_make();
    struct conf_child *c = &p->side[0].conf.children[p->side[0].conf.child_count++];
    c->remote_ts[c->remote_ts_count++] = ts("10.20.1.0/24");
    c->remote_ts[c->remote_ts_count++] = ts("10.20.2.0/24");
    pair_start(p);
    until_answer(p, EXCHANGE_CREATE_CHILD_SA);
    answer_becomes(p, NOTIFY_SINGLE_PAIR_REQUIRED);
    pair_settle(p);
    pair_check_children(p, 3);
    pair_finish(p);
}

/* One pair was offered and is not single enough: it is told in words, and the tunnel stands. */
static void a_pair_that_is_refused(void **state)
{
    (void)state;
    struct pair *p = pair_make();
    struct conf_child *c = &p->side[0].conf.children[p->side[0].conf.child_count++];
    c->remote_ts[c->remote_ts_count++] = ts("10.20.1.0/24");
    pair_start(p);
    until_answer(p, EXCHANGE_CREATE_CHILD_SA);
    answer_becomes(p, NOTIFY_SINGLE_PAIR_REQUIRED);
    pair_settle(p);
    pair_check_children(p, 1);
    const struct ike_event *down = pair_event(&p->side[0], IKE_EVENT_CHILD_DOWN);
    assert_non_null(down);
    assert_int_equal(down->notify, NOTIFY_SINGLE_PAIR_REQUIRED);
    assert_true(strlen(down->text) > 40);
    pair_finish(p);
}

static void no_more_children(void **state)
{
    (void)state;
    struct pair *p = client_of_two_networks();
    struct conf_child *c = &p->side[0].conf.children[p->side[0].conf.child_count++];
    c->remote_ts[c->remote_ts_count++] = ts("10.20.3.0/24");
    pair_start(p);
    until_answer(p, EXCHANGE_CREATE_CHILD_SA);
    answer_becomes(p, NOTIFY_NO_ADDITIONAL_SAS);
    pair_settle(p);
    pair_check_children(p, 1);
    assert_int_equal(pair_event(&p->side[0], IKE_EVENT_CHILD_DOWN)->notify,
                     NOTIFY_NO_ADDITIONAL_SAS);
    pair_sleep(p, 610 * TIME_SECOND); /* asked again, and granted */
    pair_check_children(p, 2);
    pair_finish(p);
}

static void temporary_failure_is_soon_tried_again(void **state)
{
    (void)state;
    struct pair *p = pair_make();
    struct conf_child *c = &p->side[0].conf.children[p->side[0].conf.child_count++];
    c->remote_ts[c->remote_ts_count++] = ts("10.20.3.0/24");
    pair_start(p);
    until_answer(p, EXCHANGE_CREATE_CHILD_SA);
    answer_becomes(p, NOTIFY_TEMPORARY_FAILURE);
    pair_settle(p);
    pair_check_children(p, 1);
    pair_sleep(p, 6 * TIME_SECOND);
    pair_check_children(p, 2);
    assert_null(pair_event(&p->side[0], IKE_EVENT_CHILD_DOWN));
    pair_finish(p);
}

/* The request on the wire gains notifies of things that we do not do. */
static void request_gains(struct pair *p, const uint16_t *notifies, size_t count)
{
    static const uint8_t ipcomp[] = {0x12, 0x34, 2}; /* CPI, DEFLATE */
    struct packet *k = &p->wire[p->queued - 1];
    struct ike_engine *e = p->side[0].engine;
    struct wire_builder b;
    uint32_t id = only_sa(&p->side[0])->next_out;
    assert_int_equal(k->to, 1);
    const struct wire_chain *inner = open_packet(p, k);
    sk_begin(e, &b);
    for (size_t i = 0; i < inner->count; i++)
        wire_put(&b, inner->at[i].type, inner->at[i].body);
    for (size_t i = 0; i < count; i++)
        wire_put_notify(&b, notifies[i],
                        notifies[i] == NOTIFY_IPCOMP_SUPPORTED
                            ? (struct bytes){ipcomp, sizeof(ipcomp)}
                            : (struct bytes){0});
    struct message *m = sk_seal(e, only_sa(&p->side[0]), EXCHANGE_CREATE_CHILD_SA, false, id, &b);
    assert_non_null(m);
    k->len = m->len;
    memcpy(k->octets, m->octets, m->len);
    message_drop(e, &m);
}

/* IPcomp is declined by not being mentioned (RFC 7296 2.22), the others change nothing. */
static void wishes_that_are_passed_over(void **state)
{
    (void)state;
    static const uint16_t notifies[] = {NOTIFY_IPCOMP_SUPPORTED, NOTIFY_NON_FIRST_FRAGMENTS_ALSO,
                                        NOTIFY_ESP_TFC_PADDING_NOT_SUPPORTED, 40000};
    struct pair *p = pair_make();
    struct wire_notify_view n;
    pair_start(p);
    pair_settle(p);
    pair_command(p, 0, IKE_CREATE_CHILD);
    request_gains(p, notifies, ARRAY_LEN(notifies));
    until_answer(p, EXCHANGE_CREATE_CHILD_SA);
    const struct wire_chain *answer = open_packet(p, &p->wire[p->queued - 1]);
    assert_non_null(wire_find(answer, PAYLOAD_SA));
    assert_false(wire_notify_error(answer, &n));
    assert_false(wire_notify_find(answer, NOTIFY_IPCOMP_SUPPORTED, &n));
    assert_false(wire_notify_find(answer, NOTIFY_NON_FIRST_FRAGMENTS_ALSO, &n));
    pair_settle(p);
    pair_check_children(p, 2);
    pair_finish(p);
}

/* An error that ends the attempt: the IKE SA, which the gateway has, goes with a Delete. */
static void errors_that_leave_nothing(void **state)
{
    (void)state;
    static const uint16_t notifies[] = {NOTIFY_NO_PROPOSAL_CHOSEN,       NOTIFY_TS_UNACCEPTABLE,
                                        NOTIFY_INTERNAL_ADDRESS_FAILURE, NOTIFY_FAILED_CP_REQUIRED,
                                        NOTIFY_SINGLE_PAIR_REQUIRED,     NOTIFY_NO_ADDITIONAL_SAS};
    for (size_t i = 0; i < ARRAY_LEN(notifies); i++) {
        struct pair *p = pair_make();
        pair_start(p);
        until_answer(p, EXCHANGE_IKE_AUTH);
        answer_becomes(p, notifies[i]);
        pair_settle(p);
        const struct ike_event *failed = pair_event(&p->side[0], IKE_EVENT_FAILED);
        assert_non_null(failed);
        assert_int_equal(failed->notify, notifies[i]);
        assert_true(strlen(failed->text) > 40);
        assert_null(pair_event(&p->side[0], IKE_EVENT_ESTABLISHED));
        assert_int_equal(p->side[1].engine->tunnels.used, 0);
        pair_finish(p);
    }
}

static int init(void **state)
{
    (void)state;
    return crypto_init();
}

/* The client's own request, beside all that its engine does, as the gateway gets it. */
static void inform(struct pair *p, struct wire_builder *b)
{
    struct ike_engine *e = p->side[0].engine;
    struct sa *sa = only_sa(&p->side[0]);
    struct message *m = sk_seal(e, sa, EXCHANGE_INFORMATIONAL, false, sa->next_out, b);
    assert_non_null(m);
    ike_input(p->side[1].engine, p->now, &only_sa(&p->side[1])->path, message_bytes(m));
    message_drop(e, &m);
    pair_drain(p, 1);
}

/* One Delete names three children and one that is none: the answer names ours of the three, and
 * they are gone (RFC 7296 1.4.1, 3.11). */
static void one_delete_of_several(void **state)
{
    (void)state;
    struct pair *p = pair_make();
    pair_start(p);
    pair_settle(p);
    for (int i = 0; i < 2; i++) {
        pair_command(p, 0, IKE_CREATE_CHILD);
        pair_settle(p);
    }
    pair_check_children(p, 3);
    uint32_t spis[4], theirs[3];
    for (size_t i = 0; i < 3; i++) {
        spis[i + (i > 1)] = p->side[0].children[i].spi_in;
        theirs[i] = p->side[0].children[i].spi_out;
    }
    spis[2] = 0xfffffff0;
    struct wire_builder b;
    sk_begin(p->side[0].engine, &b);
    wire_put_delete_children(&b, PROTOCOL_ESP, spis, 4);
    inform(p, &b);
    assert_int_equal(p->side[1].child_count, 0);
    assert_int_equal(p->queued, 1);
    struct wire_delete d;
    const struct wire_payload_view *answer = wire_find(open_packet(p, &p->wire[0]), PAYLOAD_DELETE);
    assert_non_null(answer);
    assert_int_equal(wire_delete_read(answer->body, &d), 0);
    assert_int_equal(d.count, 3);
    struct reader r = reader_of_bytes(d.spis);
    for (size_t i = 0; i < 3; i++) {
        uint32_t spi = reader_u32(&r);
        assert_true(spi == theirs[0] || spi == theirs[1] || spi == theirs[2]);
    }
    p->queued = 0;
    pair_free(p);
}

/* A Delete of a child that we do not know waits while one of ours is being made, and leaves no
 * trace until then; beside a Delete of the IKE SA it does not wait. */
static void deletes_are_looked_at_first(void **state)
{
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        struct pair *p = pair_make();
        pair_start(p);
        pair_settle(p);
        pair_command(p, 1, IKE_REKEY_CHILD);
        p->queued = 0; /* it stays under way */
        uint32_t known = p->side[0].children[0].spi_in, unknown = 0xfffffff0;
        const struct sa *sa = only_sa(&p->side[1]);
        uint32_t id = sa->next_in;
        struct wire_builder b;
        sk_begin(p->side[0].engine, &b);
        wire_put_delete_children(&b, PROTOCOL_ESP, &known, 1);
        if (whole)
            wire_put_delete_ike(&b);
        wire_put_delete_children(&b, PROTOCOL_ESP, &unknown, 1);
        inform(p, &b);
        assert_int_equal(p->queued, whole);
        assert_int_equal(p->side[1].child_count, !whole);
        assert_int_equal(sa->next_in, id + (unsigned)whole);
        assert_int_equal(sa->lingering, whole);
        p->queued = 0;
        pair_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_delete_of_several),
        cmocka_unit_test(deletes_are_looked_at_first),
        cmocka_unit_test(single_pairs_after_ike_auth),
        cmocka_unit_test(single_pairs_of_a_further_child),
        cmocka_unit_test(a_pair_that_is_refused),
        cmocka_unit_test(no_more_children),
        cmocka_unit_test(temporary_failure_is_soon_tried_again),
        cmocka_unit_test(wishes_that_are_passed_over),
        cmocka_unit_test(errors_that_leave_nothing),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
