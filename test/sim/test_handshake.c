/* The handshake written out: what is asked again, what is refused, and who says why. */
#include "pair.h"

static void test_plain(void **state)
{
    (void)state;
    struct pair p = pair_make();
    pair_up(&p);
    assert_int_equal(pair_sent(&p, EXCHANGE_IKE_SA_INIT, false), 1);
    assert_int_equal(pair_sent(&p, EXCHANGE_IKE_AUTH, false), 1);
    const struct ike_event *up = sim_event(p.client, IKE_EVENT_ESTABLISHED);
    assert_int_equal(up->messages, 4);
    assert_in_range(up->elapsed_us, 20 * TIME_MILLISECOND, 100 * TIME_MILLISECOND);
    assert_true(identity_equal(&up->peer, &p.gateway->conf.local_id));
    assert_int_equal(p.client->net_ups, 1);
    assert_int_equal(p.client->net.ip4.family, 4);
    assert_int_equal(p.client->net.ip6.family, 6);
    assert_true(ip_equal(&p.client->net.ip4, &p.gateway->net.ip4));
    struct sim_view view;
    sim_view(p.client, &view);
    assert_true(view.last.initiator);
    assert_int_equal(view.last.state, IKE_STATE_ESTABLISHED);
    assert_int_equal(proposal_find(&view.last.suite, TRANSFORM_KE)->id, 31);
    pair_end(&p);
}

static void test_ipv6(void **state)
{
    (void)state;
    struct pair p = {.sim = sim_create(6, &sim_good_link)};
    p.client = sim_client(p.sim, "client", "2001:db8::2");
    p.gateway = sim_gateway(p.sim, "gateway", "2001:db8::1");
    sim_psk(p.client, NULL, PSK);
    sim_psk(p.gateway, NULL, PSK);
    pair_up(&p);
    assert_int_equal(pair_child(p.client)->path.remote.ip.family, 6);
    pair_end(&p);
}

static void test_invalid_ke(void **state)
{
    (void)state;
    struct pair p = pair_make();
    sim_proposals(p.client, "aes256gcm16-prfsha384-x25519-ecp256", "aes256gcm16-x25519-ecp256");
    sim_proposals(p.gateway, "aes256gcm16-prfsha384-ecp256", "aes256gcm16-ecp256");
    pair_up(&p);
    assert_int_equal(pair_sent(&p, EXCHANGE_IKE_SA_INIT, false), 2);
    struct sim_view view;
    sim_view(p.client, &view);
    assert_int_equal(proposal_find(&view.last.suite, TRANSFORM_KE)->id, 19);
    /* The same inside a CREATE_CHILD_SA. */
    uint32_t before = pair_child(p.client)->spi_in;
    sim_log_clear(p.sim);
    assert_int_equal(sim_command(p.client, IKE_REKEY_CHILD, 0), 0);
    sim_run(p.sim, 5 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    assert_int_not_equal(pair_child(p.client)->spi_in, before);
    assert_int_equal(pair_child(p.client)->kes.ke, 19);
    assert_int_equal(pair_sent(&p, EXCHANGE_CREATE_CHILD_SA, false), 2);
    pair_end(&p);
}

static void test_wrong_psk(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.client->psk[0] = "something else entirely";
    pair_start(&p);
    pair_expect_failure(&p, ERR_AUTH, NOTIFY_AUTHENTICATION_FAILED);
}

static void test_unknown_peer(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.gateway->psk_peer[0].octets[0] ^= 1;
    pair_start(&p);
    pair_expect_failure(&p, ERR_UNKNOWN_PEER, NOTIFY_AUTHENTICATION_FAILED);
}

/* The gateway proves its identity with the right key, but it is not the one the client wants. */
static void test_wrong_gateway(void **state)
{
    (void)state;
    struct pair p = pair_make();
    assert_true(identity_parse("other.example.org", &p.client->conf.remote_id));
    sim_start(p.client);
    sim_start(p.gateway);
    sim_initiate(p.client, p.gateway);
    sim_run(p.sim, 70 * TIME_SECOND);
    const struct ike_event *failed = sim_event(p.client, IKE_EVENT_FAILED);
    assert_non_null(failed);
    assert_true(strlen(failed->text) > 20);
    assert_null(sim_event(p.client, IKE_EVENT_ESTABLISHED));
    assert_int_equal(p.client->net_ups, 0);
    assert_int_equal(sim_live_sas(p.client), 0);
    pair_end(&p);
}

static void test_no_proposal(void **state)
{
    (void)state;
    struct pair p = pair_make();
    sim_proposals(p.client, "aes128gcm16-prfsha256-x25519", "aes256gcm16");
    pair_start(&p);
    sim_run(p.sim, 10 * TIME_SECOND);
    assert_non_null(strstr(sim_event(p.client, IKE_EVENT_FAILED)->text, "for our address"));
    pair_expect_failure(&p, ERR_NO_PROPOSAL, NOTIFY_NO_PROPOSAL_CHOSEN);
}

static void test_no_child_proposal(void **state)
{
    (void)state;
    struct pair p = pair_make();
    sim_proposals(p.client, "aes256gcm16-prfsha384-x25519", "chacha20poly1305");
    pair_start(&p);
    pair_expect_failure(&p, ERR_NO_PROPOSAL, NOTIFY_NO_PROPOSAL_CHOSEN);
}

static struct selector range(const char *prefix)
{
    struct prefix p;
    assert_true(prefix_parse(prefix, &p));
    return selector_from_prefix(&p);
}

static void test_narrowing(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.client->conf.request_ip6 = false;
    p.client->conf.remote_ts[0] = range("10.0.0.0/8");
    p.client->conf.remote_ts[1] = range("172.16.0.0/12");
    p.gateway->conf.local_ts[0] = range("10.1.0.0/16");
    p.gateway->conf.local_ts[1] = range("192.168.0.0/16");
    pair_up(&p);
    const struct ike_child *child = pair_child(p.client);
    struct selector want = range("10.1.0.0/16"), leased = selector_from_ip(&p.client->net.ip4);
    assert_int_equal(child->remote_count, 1);
    assert_true(selector_equal(&child->remote_ts[0], &want));
    assert_int_equal(child->local_count, 1);
    assert_true(selector_equal(&child->local_ts[0], &leased));
    assert_int_equal(sim_command(p.gateway, IKE_REKEY_CHILD, 0), 0);
    sim_run(p.sim, 5 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway); /* and the same again after a rekey */
    assert_true(selector_equal(&pair_child(p.client)->remote_ts[0], &want));
    pair_end(&p);
}

static void test_no_common_selectors(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.client->conf.remote_ts[0] = range("10.0.0.0/8");
    p.client->conf.remote_ts_count = 1;
    p.gateway->conf.local_ts[0] = range("192.168.0.0/16");
    p.gateway->conf.local_ts_count = 1;
    pair_start(&p);
    pair_expect_failure(&p, ERR_TS, NOTIFY_TS_UNACCEPTABLE);
}

static void test_not_admitted(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.gateway->admit = ERR_LIMIT;
    pair_start(&p);
    sim_run(p.sim, 70 * TIME_SECOND);
    assert_non_null(sim_event(p.client, IKE_EVENT_FAILED));
    assert_non_null(sim_event(p.gateway, IKE_EVENT_REFUSED));
    pair_end(&p);
}

/* ---- a responder by hand that wants a cookie */

static struct {
    unsigned requests, with_cookie;
    bool always;
    uint8_t first[4096];
    size_t first_len;
} cookie;

static void answer_with_cookie(struct sim_host *host, const struct sim_datagram *d)
{
    static const uint8_t value[24] = "a cookie of 24 octets ..";
    struct wire_header h;
    struct wire_chain chain;
    struct wire_notify_view n;
    uint8_t buffer[256];
    struct wire_builder b;
    assert_int_equal(wire_header_read((struct bytes){d->octets, d->len}, &h), 0);
    assert_int_equal(wire_walk(h.next_payload, (struct bytes){d->octets + 28, d->len - 28}, &chain),
                     0);
    cookie.requests++;
    if (wire_notify_find(&chain, NOTIFY_COOKIE, &n)) {
        /* First payload, the data as it was given, and behind it the first request unchanged. */
        assert_int_equal(chain.at[0].type, PAYLOAD_NOTIFY);
        assert_int_equal(n.data.len, sizeof(value));
        assert_memory_equal(n.data.at, value, sizeof(value));
        size_t cookie_len = 8 + sizeof(value);
        assert_int_equal(d->len, cookie.first_len + cookie_len);
        assert_memory_equal(d->octets + 28 + cookie_len, cookie.first + 28, cookie.first_len - 28);
        cookie.with_cookie++;
        if (!cookie.always)
            return;
    } else {
        memcpy(cookie.first, d->octets, d->len);
        cookie.first_len = d->len;
    }
    h.flags = FLAG_RESPONSE;
    wire_begin(&b, buffer, sizeof(buffer), &h);
    wire_put_notify(&b, NOTIFY_COOKIE, (struct bytes){value, sizeof(value)});
    sim_inject(host->sim, &d->to, &d->from, wire_finish(&b));
}

static void run_cookie(bool always)
{
    struct pair p = {.sim = sim_create(2, &sim_good_link)};
    memset(&cookie, 0, sizeof(cookie));
    cookie.always = always;
    p.client = sim_client(p.sim, "client", "192.0.2.2");
    p.gateway = sim_script(p.sim, "gateway", "192.0.2.1", answer_with_cookie);
    sim_start(p.client);
    sim_initiate(p.client, p.gateway);
    sim_run(p.sim, TIME_SECOND / 4);
    if (!always)
        assert_int_equal(cookie.requests, 2);
    assert_true(cookie.with_cookie >= 1 && cookie.with_cookie <= 4); /* no ping-pong */
    sim_run(p.sim, 70 * TIME_SECOND);
    assert_in_range(cookie.requests, 5, 40);
    assert_non_null(sim_event(p.client, IKE_EVENT_FAILED));
    assert_int_equal(sim_event(p.client, IKE_EVENT_FAILED)->err, ERR_TIMEOUT);
    pair_end(&p);
}

static void test_cookie(void **state)
{
    (void)state;
    run_cookie(false);
}

static void test_cookie_for_ever(void **state)
{
    (void)state;
    run_cookie(true);
}

/* A cookie, then the way is free: the gateway engine gets the request that carries it. */
static enum sim_fate cookie_first(struct sim *sim, struct sim_datagram *d)
{
    struct wire_header h;
    struct wire_builder b;
    uint8_t buffer[128];
    unsigned *count = sim->filter_context;
    struct wire_chain chain;
    struct wire_notify_view n;
    assert_int_equal(wire_header_read((struct bytes){d->octets, d->len}, &h), 0);
    if (h.exchange != EXCHANGE_IKE_SA_INIT || (h.flags & FLAG_RESPONSE))
        return SIM_PASS;
    assert_int_equal(wire_walk(h.next_payload, (struct bytes){d->octets + 28, d->len - 28}, &chain),
                     0);
    if (wire_notify_find(&chain, NOTIFY_COOKIE, &n) && (*count)++ < 9)
        return SIM_PASS;
    h.flags = FLAG_RESPONSE;
    wire_begin(&b, buffer, sizeof(buffer), &h);
    wire_put_notify(&b, NOTIFY_COOKIE, (struct bytes){(const uint8_t *)"12345678", 8});
    sim_inject(sim, &d->to, &d->from, wire_finish(&b));
    return SIM_DROP;
}

static void test_cookie_then_up(void **state)
{
    (void)state;
    unsigned count = 0;
    struct pair p = pair_make();
    p.sim->filter = cookie_first;
    p.sim->filter_context = &count;
    pair_up(&p); /* AUTH covers the request with the cookie in it */
    assert_int_equal(count, 1);
    pair_end(&p);
}

/* A responder whose cookie depends on the key exchange asks for another one when that is another
 * (RFC 7296 2.6.1); else the one that it gave goes on to count. */
struct cookie_by_group {
    bool by_group;
    unsigned asked;
};

static enum sim_fate cookie_for_group(struct sim *sim, struct sim_datagram *d)
{
    struct cookie_by_group *context = sim->filter_context;
    struct wire_header h;
    struct wire_builder b;
    struct wire_notify_view n;
    struct wire_chain chain;
    uint8_t buffer[128], given[8] = "cookie";
    assert_int_equal(wire_header_read((struct bytes){d->octets, d->len}, &h), 0);
    if (h.exchange != EXCHANGE_IKE_SA_INIT || (h.flags & FLAG_RESPONSE))
        return SIM_PASS;
    assert_int_equal(wire_walk(h.next_payload, (struct bytes){d->octets + 28, d->len - 28}, &chain),
                     0);
    if (context->by_group)
        given[7] = wire_find(&chain, PAYLOAD_KE)->body.at[1];
    if (wire_notify_find(&chain, NOTIFY_COOKIE, &n) && n.data.len == sizeof(given) &&
        memcmp(n.data.at, given, sizeof(given)) == 0) {
        assert_int_equal(h.next_payload, PAYLOAD_NOTIFY); /* it stands in front */
        return SIM_PASS;
    }
    context->asked++;
    h.flags = FLAG_RESPONSE;
    wire_begin(&b, buffer, sizeof(buffer), &h);
    wire_put_notify(&b, NOTIFY_COOKIE, (struct bytes){given, sizeof(given)});
    sim_inject(sim, &d->to, &d->from, wire_finish(&b));
    return SIM_DROP;
}

static void test_cookie_and_group(void **state)
{
    (void)state;
    for (unsigned by_group = 0; by_group < 2; by_group++) {
        struct cookie_by_group context = {.by_group = by_group};
        struct pair p = pair_make();
        sim_proposals(p.client, "aes256gcm16-prfsha384-x25519-ecp256", "aes256gcm16");
        sim_proposals(p.gateway, "aes256gcm16-prfsha384-ecp256", "aes256gcm16");
        p.sim->filter = cookie_for_group;
        p.sim->filter_context = &context;
        pair_up(&p);
        assert_int_equal(context.asked, 1 + by_group);
        assert_int_equal(pair_sent(&p, EXCHANGE_IKE_SA_INIT, false), 3 + by_group);
        struct sim_view view;
        sim_view(p.client, &view);
        assert_int_equal(proposal_find(&view.last.suite, TRANSFORM_KE)->id, 19);
        pair_end(&p);
    }
}

/* Errors that anybody could have sent come before the real answer: they do not end the attempt. */
static enum sim_fate forge_error(struct sim *sim, struct sim_datagram *d)
{
    struct wire_header h;
    struct wire_builder b;
    uint8_t buffer[128];
    const uint16_t *notify = sim->filter_context;
    assert_int_equal(wire_header_read((struct bytes){d->octets, d->len}, &h), 0);
    if (h.exchange != EXCHANGE_IKE_SA_INIT || (h.flags & FLAG_RESPONSE))
        return SIM_PASS;
    static const uint8_t group[2] = {0, 19};
    h.flags = FLAG_RESPONSE;
    wire_begin(&b, buffer, sizeof(buffer), &h);
    wire_put_notify(&b, *notify,
                    (struct bytes){group, *notify == NOTIFY_INVALID_KE_PAYLOAD ? 2 : 0});
    sim->filter = NULL;
    struct sim_link link = sim->link;
    sim->link = (struct sim_link){0}; /* at once */
    sim_inject(sim, &d->to, &d->from, wire_finish(&b));
    sim->link = link;
    return SIM_PASS;
}

static void test_forged_errors(void **state)
{
    (void)state;
    static uint16_t notifies[] = {NOTIFY_NO_PROPOSAL_CHOSEN, NOTIFY_INVALID_SYNTAX,
                                  NOTIFY_AUTHENTICATION_FAILED, NOTIFY_INVALID_MAJOR_VERSION,
                                  NOTIFY_INVALID_KE_PAYLOAD};
    for (size_t i = 0; i < ARRAY_LEN(notifies); i++) {
        struct pair p = pair_make();
        p.sim->filter = forge_error;
        p.sim->filter_context = &notifies[i];
        pair_up(&p);
        pair_end(&p);
    }
}

static void test_initial_contact(void **state)
{
    (void)state;
    struct pair p = pair_make();
    struct sim_host *other = sim_client(p.sim, "other", "192.0.2.3");
    sim_psk(other, NULL, PSK);
    sim_psk(p.gateway, other, PSK);
    sim_start(other);
    pair_start(&p);
    sim_initiate(other, p.gateway);
    sim_run(p.sim, 2 * TIME_SECOND);
    struct sim_view view;
    sim_view(p.gateway, &view);
    assert_int_equal(view.established, 2);
    sim_stop(p.client); /* killed, and back at once */
    sim_start(p.client);
    sim_initiate(p.client, p.gateway);
    sim_run(p.sim, 2 * TIME_SECOND);
    sim_view(p.gateway, &view);
    assert_int_equal(view.established, 2);
    assert_int_equal(sim_live_sas(p.gateway), 2);
    const struct ike_event *down = sim_event(p.gateway, IKE_EVENT_DOWN);
    assert_non_null(down);
    assert_int_equal(down->err, ERR_REPLACED);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_DOWN), 1);
    assert_null(sim_event(other, IKE_EVENT_DOWN));
    sim_view(other, &view);
    assert_int_equal(view.established, 1);
    (void)sim_command(other, IKE_DELETE, 0);
    pair_end(&p);
}

/* Either side closes: one request, one answer, and both have forgotten it (RFC 7296 1.4.1). */
static void test_closed(void **state)
{
    (void)state;
    for (int by = 0; by < 2; by++) {
        struct pair p = pair_make();
        pair_up(&p);
        struct sim_host *closes = by ? p.gateway : p.client, *other = by ? p.client : p.gateway;
        sim_log_clear(p.sim);
        assert_int_equal(sim_command(closes, IKE_DELETE, 0), 0);
        sim_run(p.sim, TIME_SECOND);
        assert_int_equal(p.sim->log_count, 2);
        assert_int_equal(pair_sent(&p, EXCHANGE_INFORMATIONAL, false), 1);
        assert_int_equal(pair_sent(&p, EXCHANGE_INFORMATIONAL, true), 1);
        assert_int_equal(sim_event(other, IKE_EVENT_DOWN)->err, ERR_DELETED);
        assert_int_equal(sim_live_sas(p.client) + sim_live_sas(p.gateway), 0);
        struct sim_view view;
        sim_view(closes, &view);
        assert_int_equal(view.count, 0);
        sim_view(other, &view);
        assert_int_equal(view.count, 0);
        pair_end(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_invalid_ke),
        cmocka_unit_test(test_wrong_psk),
        cmocka_unit_test(test_unknown_peer),
        cmocka_unit_test(test_wrong_gateway),
        cmocka_unit_test(test_no_proposal),
        cmocka_unit_test(test_no_child_proposal),
        cmocka_unit_test(test_narrowing),
        cmocka_unit_test(test_no_common_selectors),
        cmocka_unit_test(test_not_admitted),
        cmocka_unit_test(test_cookie),
        cmocka_unit_test(test_cookie_for_ever),
        cmocka_unit_test(test_cookie_then_up),
        cmocka_unit_test(test_forged_errors),
        cmocka_unit_test(test_initial_contact),
        cmocka_unit_test(test_cookie_and_group),
        cmocka_unit_test(test_closed),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
