#include "mangle.h"

/* Two engines: handshake, both rekeys by both sides, collisions, delete; and nothing left behind.
 */

static struct pair *up(void)
{
    struct pair *p = pair_make();
    pair_start(p);
    pair_settle(p);
    assert_non_null(pair_event(&p->side[0], IKE_EVENT_ESTABLISHED));
    assert_non_null(pair_event(&p->side[1], IKE_EVENT_ESTABLISHED));
    pair_check_children(p, 1);
    return p;
}

static void psk_handshake(void **state)
{
    (void)state;
    struct pair *p = up();
    const struct ike_event *e = pair_event(&p->side[0], IKE_EVENT_ESTABLISHED);
    assert_int_equal(e->messages, 4);
    assert_true(e->elapsed_us > 0);
    assert_int_equal(p->side[0].net_up, 1);
    assert_int_equal(p->side[1].net_up, 1);
    assert_true(p->side[0].children[0].udp && p->side[0].children[0].esn);
    assert_int_equal(p->side[0].children[0].path.remote.port, 4500);
    char text[SELECTOR_TEXT];
    assert_string_equal(selector_print(&p->side[0].children[0].local_ts[0], text), "10.9.0.5/32");
    assert_string_equal(selector_print(&p->side[0].children[0].remote_ts[0], text), "10.20.0.0/16");
    pair_finish(p);
}

static void wrong_psk_is_told_precisely(void **state)
{
    (void)state;
    struct pair *p = pair_make();
    p->side[1].psk = "another long phrase";
    pair_start(p);
    pair_settle(p);
    const struct ike_event *client = pair_event(&p->side[0], IKE_EVENT_FAILED);
    const struct ike_event *gateway = pair_event(&p->side[1], IKE_EVENT_REFUSED);
    assert_true(client && gateway);
    assert_int_equal(client->notify, NOTIFY_AUTHENTICATION_FAILED);
    assert_int_equal(gateway->err, ERR_AUTH);
    assert_non_null(strstr(gateway->text, "pre-shared key of me@example.org"));
    assert_int_equal(p->side[1].released, 0);
    pair_finish(p);
}

static void no_common_proposal_shows_both_lists(void **state)
{
    (void)state;
    struct pair *p = pair_make();
    p->side[1].conf.ike[0] = pair_proposal(PROTOCOL_IKE, "aes128-sha256-modp2048");
    pair_start(p);
    pair_sleep(p, 10 * TIME_SECOND); /* far less than the 60 s of silence */
    const struct ike_event *client = pair_event(&p->side[0], IKE_EVENT_FAILED);
    const struct ike_event *gateway = pair_event(&p->side[1], IKE_EVENT_REFUSED);
    assert_true(client && gateway);
    assert_int_equal(client->err, ERR_NO_PROPOSAL);
    /* the sentence names what stands in the way, the lists hold all */
    assert_non_null(strstr(gateway->text, "no common key exchange group"));
    assert_non_null(strstr(gateway->text, "x25519-ecp256"));
    assert_non_null(strstr(gateway->text, "modp2048"));
    assert_non_null(strstr(gateway->text, "; "));
    assert_string_equal(gateway->offered, "aes256gcm16-prfsha256-x25519-ecp256");
    assert_string_equal(gateway->accepted, "aes128-prfsha256-sha256-modp2048");
    const struct ike_counters *c = ike_counters(p->side[1].engine);
    assert_true(c->refused_algorithms > 0 && c->refused_algorithms == c->refused);
    pair_finish(p);
}

static void another_group_costs_one_round(void **state)
{
    (void)state;
    struct pair *p = pair_make();
    p->side[1].conf.ike[0] = pair_proposal(PROTOCOL_IKE, "aes256gcm16-prfsha256-ecp256");
    pair_start(p);
    pair_settle(p);
    const struct ike_event *e = pair_event(&p->side[0], IKE_EVENT_ESTABLISHED);
    assert_non_null(e);
    assert_int_equal(e->messages, 6);
    pair_finish(p);
}

static void rekeys(int side, uint32_t kind, uint32_t event)
{
    struct pair *p = up();
    uint32_t before = p->side[0].children[0].spi_in;
    for (int i = 0; i < 3; i++) {
        pair_command(p, side, kind);
        pair_settle(p);
        pair_check_children(p, 1);
    }
    assert_non_null(pair_event(&p->side[0], event));
    assert_non_null(pair_event(&p->side[1], event));
    assert_null(pair_event(&p->side[0], IKE_EVENT_CHILD_DOWN));
    assert_null(pair_event(&p->side[1], IKE_EVENT_CHILD_DOWN));
    bool same = p->side[0].children[0].spi_in == before;
    assert_true(same == (kind == IKE_REKEY_IKE));
    if (kind == IKE_REKEY_CHILD)
        assert_int_equal(p->side[0].children[0].kes.ke, 31);
    /* The old IKE SAs are gone, at the latest when nobody can repeat a request to them any more. */
    pair_sleep(p, 40 * TIME_SECOND);
    assert_int_equal(p->side[0].engine->sas.used, 1);
    assert_int_equal(p->side[1].engine->sas.used, 1);
    pair_finish(p);
}

static void client_rekeys_child(void **state)
{
    (void)state;
    rekeys(0, IKE_REKEY_CHILD, IKE_EVENT_REKEYED_CHILD);
}

static void gateway_rekeys_child(void **state)
{
    (void)state;
    rekeys(1, IKE_REKEY_CHILD, IKE_EVENT_REKEYED_CHILD);
}

static void client_rekeys_ike(void **state)
{
    (void)state;
    rekeys(0, IKE_REKEY_IKE, IKE_EVENT_REKEYED_IKE);
}

static void gateway_rekeys_ike(void **state)
{
    (void)state;
    rekeys(1, IKE_REKEY_IKE, IKE_EVENT_REKEYED_IKE);
}

/* Every pair of requests that cross on the wire ends with one child and one IKE SA. */
static void crossing_requests(void **state)
{
    (void)state;
    static const uint32_t kinds[] = {IKE_REKEY_CHILD, IKE_REKEY_IKE, IKE_CHECK};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        for (size_t j = 0; j < ARRAY_LEN(kinds); j++)
            for (int turn = 0; turn < 4; turn++) { /* other nonces, other winners */
                struct pair *p = up();
                pair_command(p, 0, kinds[i]);
                pair_command(p, 1, kinds[j]);
                pair_settle(p);
                pair_sleep(p, 40 * TIME_SECOND); /* TEMPORARY_FAILURE is tried again */
                pair_check_children(p, 1);
                assert_int_equal(p->side[0].engine->sas.used, 1);
                assert_int_equal(p->side[1].engine->sas.used, 1);
                pair_finish(p);
            }
}

static void crossing_deletes(void **state)
{
    (void)state;
    struct pair *p = up();
    pair_command(p, 0, IKE_DELETE);
    pair_command(p, 1, IKE_DELETE);
    pair_settle(p);
    pair_finish(p);
    p = up();
    pair_command(p, 0, IKE_REKEY_IKE);
    pair_command(p, 1, IKE_DELETE);
    pair_settle(p);
    pair_finish(p);
    p = up();
    pair_command(p, 0, IKE_DELETE);
    pair_command(p, 1, IKE_REKEY_CHILD);
    pair_settle(p);
    pair_finish(p);
}

static void second_child_comes_and_goes(void **state)
{
    (void)state;
    struct pair *p = up();
    pair_command(p, 0, IKE_CREATE_CHILD);
    pair_settle(p);
    pair_check_children(p, 2);
    assert_non_null(pair_event(&p->side[0], IKE_EVENT_CHILD_UP));
    struct ike_command c = {
        .kind = IKE_DELETE_CHILD, .tunnel = p->tunnel, .spi_in = p->side[0].children[1].spi_in};
    assert_int_equal(ike_command(p->side[0].engine, p->now, &c, NULL), 0);
    pair_drain(p, 0);
    pair_settle(p);
    pair_check_children(p, 1);
    assert_non_null(pair_event(&p->side[1], IKE_EVENT_CHILD_DOWN));
    pair_finish(p);
}

static void lifetimes_rekey_by_themselves(void **state)
{
    (void)state;
    struct pair *p = pair_make();
    for (int w = 0; w < 2; w++) {
        p->side[w].conf.ike_lifetime = 600;
        p->side[w].conf.child_lifetime = 120;
        p->side[w].conf.dpd = p->side[w].conf.idle_check = 30;
    }
    pair_start(p);
    pair_settle(p);
    pair_sleep(p, 3600 * TIME_SECOND);
    pair_check_children(p, 1);
    struct tunnel *t = map_get(&p->side[0].engine->tunnels, p->tunnel);
    assert_in_range(t->rekeys_ike, 5, 14);
    assert_in_range(t->rekeys_child, 30, 80);
    assert_null(pair_event(&p->side[0], IKE_EVENT_DOWN));
    pair_finish(p);
}

static void soft_limit_rekeys(void **state)
{
    (void)state;
    struct pair *p = up();
    struct side *s = &p->side[1];
    struct ike_fact fact = {.kind = IKE_FACT_CHILD_SOFT,
                            .spi_in = s->children[0].spi_in,
                            .tunnel = s->children[0].tunnel};
    uint32_t before = fact.spi_in;
    ike_fact(s->engine, p->now, &fact);
    pair_drain(p, 1);
    pair_settle(p);
    pair_check_children(p, 1);
    assert_true(s->children[0].spi_in != before);
    pair_finish(p);
}

static void silence_ends_it(void **state)
{
    (void)state;
    struct pair *p = pair_make();
    p->side[0].conf.dpd = p->side[0].conf.idle_check = 10;
    pair_start(p);
    pair_settle(p);
    for (int i = 0; i < 200 && !pair_event(&p->side[0], IKE_EVENT_DOWN); i++) {
        p->now += TIME_SECOND;
        ike_tick(p->side[0].engine, p->now);
        pair_drain(p, 0);
        p->queued = 0; /* the gateway is gone */
    }
    const struct ike_event *down = pair_event(&p->side[0], IKE_EVENT_DOWN);
    assert_non_null(down);
    assert_int_equal(down->err, ERR_TIMEOUT);
    assert_int_equal(p->side[0].net_up, 0);
    pair_command(p, 1, IKE_DELETE);
    pair_finish(p);
}

/* The message on the wire asks for certificates of that CA. */
static void check_certreq(struct pair *p, const struct cert *ca)
{
    static struct text t;
    uint8_t body[1 + 20] = {CERT_X509_SIGNATURE};
    cert_issuer_key_hash(ca, body + 1);
    mangle_open(p, &t);
    const struct wire_payload_view *asks = wire_find(&t.chain, PAYLOAD_CERTREQ);
    assert_non_null(asks);
    assert_int_equal(asks->body.len, sizeof(body));
    assert_memory_equal(asks->body.at, body, sizeof(body));
}

static void certificate_handshake(enum key_kind kind)
{
    struct pair *p = pair_make();
    struct identity names[2];
    char *ca_pem, *ca_key_pem, *pem[2], *key_pem[2];
    struct cert *ca;
    struct private_key *ca_key, *key[2];
    struct pki_request request = {
        .common_name = "test CA", .key = KEY_ECDSA_P256, .days = 30, .ca = true};
    int64_t now = pair_wall(NULL) - 1000;
    assert_int_equal(pki_issue(&request, NULL, NULL, now, &ca_pem, &ca_key_pem), 0);
    struct bytes text = {(const uint8_t *)ca_pem, strlen(ca_pem)};
    assert_int_equal(cert_parse_pem(text, &ca, 1), 1);
    text = (struct bytes){(const uint8_t *)ca_key_pem, strlen(ca_key_pem)};
    assert_int_equal(private_key_parse(text, &ca_key), 0);
    for (int w = 0; w < 2; w++) {
        assert_true(identity_parse(w ? "gw.example.org" : "me@example.org", &names[w]));
        request = (struct pki_request){.common_name = "leaf",
                                       .names = &names[w],
                                       .name_count = 1,
                                       .key = kind,
                                       .days = 10,
                                       .purpose = w ? CERT_FOR_GATEWAY : CERT_FOR_CLIENT};
        assert_int_equal(pki_issue(&request, ca, ca_key, now, &pem[w], &key_pem[w]), 0);
        struct side *s = &p->side[w];
        text = (struct bytes){(const uint8_t *)pem[w], strlen(pem[w])};
        assert_int_equal(cert_parse_pem(text, &s->own, 1), 1);
        text = (struct bytes){(const uint8_t *)key_pem[w], strlen(key_pem[w])};
        assert_int_equal(private_key_parse(text, &key[w]), 0);
        s->key = key[w];
        s->trust = cert_trust_create();
        assert_int_equal(cert_trust_add(s->trust, ca), 0);
        s->conf.local_auth = s->conf.remote_auth = CONF_AUTH_CERT;
        s->conf.fragment = kind == KEY_RSA ? 1280 : 0;
    }
    pair_start(p);
    pair_round(p); /* IKE_SA_INIT is answered: the gateway asks */
    check_certreq(p, ca);
    pair_round(p); /* IKE_AUTH: so does the client, in a fragment where the key is large */
    if (kind != KEY_RSA)
        check_certreq(p, ca);
    pair_settle(p);
    if (!pair_event(&p->side[0], IKE_EVENT_ESTABLISHED))
        fail_msg("%s / %s", p->side[0].events[0].text, p->side[1].events[0].text);
    pair_check_children(p, 1);
    struct side sides[2] = {p->side[0], p->side[1]};
    pair_finish(p);
    for (int w = 0; w < 2; w++) {
        cert_trust_free(sides[w].trust);
        cert_free(sides[w].own);
        private_key_free(key[w]);
        free(pem[w]);
        free(key_pem[w]);
    }
    cert_free(ca);
    private_key_free(ca_key);
    free(ca_pem);
    free(ca_key_pem);
}

static void certificates(void **state)
{
    (void)state;
    certificate_handshake(KEY_ECDSA_P256);
    certificate_handshake(KEY_ED25519);
    certificate_handshake(KEY_RSA);
}

/* ---- groups at rekey: optional, negotiated, never a reason to lose a tunnel */

static struct pair *up_with(const char *client_esp, const char *gateway_esp)
{
    struct pair *p = pair_make();
    p->side[0].conf.esp[0] = pair_proposal(PROTOCOL_ESP, client_esp);
    p->side[1].conf.esp[0] = pair_proposal(PROTOCOL_ESP, gateway_esp);
    pair_start(p);
    pair_settle(p);
    pair_check_children(p, 1);
    assert_int_equal(p->side[0].children[0].kes.ke, 0);
    return p;
}

static void rekey_gives_group(struct pair *p, int side, uint16_t group)
{
    uint32_t before = p->side[0].children[0].spi_in;
    pair_command(p, side, IKE_REKEY_CHILD);
    pair_settle(p);
    pair_check_children(p, 1);
    assert_true(p->side[0].children[0].spi_in != before);
    assert_int_equal(p->side[0].children[0].kes.ke, group);
}

static void groups_at_rekey(void **state)
{
    (void)state;
    struct pair *p = up_with("aes256gcm16-x25519-ecp256", "aes256gcm16-ecp256");
    rekey_gives_group(p, 0, 19); /* by INVALID_KE_PAYLOAD */
    rekey_gives_group(p, 1, 19);
    pair_finish(p);
    p = up_with("aes256gcm16", "aes256gcm16");
    p->side[0].conf.pfs = false;
    rekey_gives_group(p, 0, 0);
    rekey_gives_group(p, 1, 31); /* the gateway's wish is granted */
    pair_finish(p);
    p = up_with("aes256gcm16-modp2048", "aes256gcm16");
    rekey_gives_group(p, 0, 0); /* none in common: without, rather than not at all */
    pair_finish(p);
}

static void lost_child_is_made_anew(void **state)
{
    (void)state;
    struct pair *p = up();
    struct side *gateway = &p->side[1];
    size_t cursor = 0;
    struct child *c = map_next(&gateway->engine->children, &cursor);
    child_free(gateway->engine, c); /* as if it had been forgotten there */
    gateway->child_count = 0;
    uint32_t before = p->side[0].children[0].spi_in;
    pair_command(p, 0, IKE_REKEY_CHILD);
    pair_settle(p);
    pair_check_children(p, 1);
    assert_true(p->side[0].children[0].spi_in != before);
    pair_finish(p);
}

static void refusals(void **state)
{
    (void)state;
    struct pair *p = pair_make();
    p->side[0].conf.remote_ts[0] = pair_net("172.16.0.0/12");
    pair_start(p);
    pair_settle(p);
    const struct ike_event *failed = pair_event(&p->side[0], IKE_EVENT_FAILED);
    const struct ike_event *refused = pair_event(&p->side[1], IKE_EVENT_REFUSED);
    assert_true(failed && refused);
    assert_int_equal(failed->err, ERR_TS);
    assert_int_equal(refused->err, ERR_TS);
    assert_non_null(strstr(refused->text, "172.16.0.0/12"));
    assert_non_null(strstr(refused->text, "10.20.0.0/16"));
    pair_finish(p);
    p = pair_make();
    p->side[0].conf.request_ip4 = false;
    pair_start(p);
    pair_settle(p);
    refused = pair_event(&p->side[1], IKE_EVENT_REFUSED);
    assert_non_null(refused);
    assert_non_null(strstr(refused->text, "asked for no inner address"));
    pair_finish(p);
    p = pair_make();
    assert_true(identity_parse("other.example.org", &p->side[0].conf.remote_id));
    pair_start(p);
    pair_settle(p);
    failed = pair_event(&p->side[0], IKE_EVENT_FAILED);
    assert_non_null(failed);
    assert_int_equal(failed->err, ERR_IDENTITY);
    assert_non_null(strstr(failed->text, "gw.example.org"));
    assert_non_null(pair_event(&p->side[1], IKE_EVENT_DOWN)); /* it was told */
    pair_finish(p);
}

static void the_last_child_takes_the_tunnel_along(void **state)
{
    (void)state;
    struct pair *p = up();
    struct ike_command c = {
        .kind = IKE_DELETE_CHILD, .tunnel = p->tunnel, .spi_in = p->side[0].children[0].spi_in};
    assert_int_equal(ike_command(p->side[0].engine, p->now, &c, NULL), 0);
    pair_drain(p, 0);
    pair_settle(p);
    assert_int_equal(p->side[0].child_count, 0);
    pair_sleep(p, 35 * TIME_SECOND);
    assert_non_null(pair_event(&p->side[0], IKE_EVENT_DOWN));
    assert_non_null(pair_event(&p->side[1], IKE_EVENT_DOWN));
    pair_finish(p);
}

static void all_at_once(void **state)
{
    (void)state;
    struct pair *p = up();
    struct ike_command c = {.kind = IKE_REKEY_IKE};
    assert_int_equal(ike_command(p->side[1].engine, p->now, &c, NULL), 0);
    pair_sleep(p, TIME_SECOND);
    assert_non_null(pair_event(&p->side[0], IKE_EVENT_REKEYED_IKE));
    c.kind = IKE_DELETE;
    assert_int_equal(ike_command(p->side[1].engine, p->now, &c, NULL), 0);
    pair_sleep(p, TIME_SECOND);
    const struct ike_event *down = pair_event(&p->side[0], IKE_EVENT_DOWN);
    assert_non_null(down);
    assert_int_equal(down->err, ERR_DELETED);
    assert_int_equal(p->side[1].released, 1);
    c.tunnel = p->tunnel;
    assert_int_equal(ike_command(p->side[0].engine, p->now, &c, NULL), ERR_NOT_FOUND);
    pair_finish(p);
}

static void keepalives_behind_nat(void **state)
{
    (void)state;
    struct pair *p = up();
    struct ike_engine *e = p->side[0].engine;
    struct tunnel *t = map_get(&e->tunnels, p->tunnel);
    assert_false(t->sa->nat_local); /* the forced encapsulation is no NAT of ours */
    assert_true(keepalive_at(e, t->sa) == TIME_NEVER);
    t->sa->nat_local = true;
    p->side[0].conf.keepalive = 20;
    sa_plan_duty(e, t->sa);
    struct ike_action a;
    int seen = 0;
    for (int i = 0; i < 100; i++) {
        p->now += TIME_SECOND;
        ike_tick(e, p->now);
        while (ike_next(e, &a))
            if (a.kind == IKE_SEND && a.send.datagram.len == 1 && a.send.datagram.at[0] == 0xff)
                seen++;
    }
    assert_in_range(seen, 4, 5);
    pair_finish(p);
}

/* The user gives up while IKE_AUTH is out: the gateway must not keep what it then establishes. */
static void given_up_half_way(void **state)
{
    (void)state;
    struct pair *p = pair_make();
    pair_start(p);
    pair_round(p);
    pair_round(p);
    pair_command(p, 0, IKE_DELETE);
    assert_non_null(pair_event(&p->side[0], IKE_EVENT_FAILED));
    pair_settle(p);
    assert_non_null(pair_event(&p->side[1], IKE_EVENT_ESTABLISHED));
    assert_non_null(pair_event(&p->side[1], IKE_EVENT_DOWN));
    pair_finish(p);
}

static int init(void **state)
{
    (void)state;
    return crypto_init();
}

static void unreachable(struct pair *p, uint64_t spi, const char *from)
{
    struct endpoint remote;
    uint8_t quoted[8];
    struct writer w = writer_of(quoted, sizeof(quoted));
    writer_u64(&w, spi);
    assert_true(endpoint_parse(from, 500, &remote));
    ike_unreachable(p->side[0].engine, p->now, &remote, writer_view(&w));
    pair_drain(p, 0);
}

/* ICMP for another SPI or another address changes nothing; for ours it shortens the attempt, which
 * still goes on for a while. A real answer is worth more. */
static void a_closed_port_is_a_hint(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        struct pair *p = pair_make();
        pair_start(p);
        struct packet request = p->wire[0];
        uint64_t spi = 0;
        for (int i = 0; i < 8; i++)
            spi = spi << 8 | request.octets[i];
        p->queued = 0;
        unreachable(p, spi + 1, "192.0.2.2:500");
        unreachable(p, spi, "192.0.2.3:500");
        unreachable(p, spi, "192.0.2.2:501");
        struct ike_engine *e = p->side[0].engine;
        const struct sa *sa = map_get(&e->sas, spi);
        assert_int_equal(sa->handshake->early_end, 0);
        unreachable(p, spi, "192.0.2.2:500");
        time_us end = p->now + CLOSED_GRACE;
        assert_int_equal(sa->handshake->early_end, end);
        size_t asked = 0;
        while (p->now < end - 1) {
            p->now = ike_deadline(e) < end - 1 ? ike_deadline(e) : end - 1;
            unreachable(p, spi, "192.0.2.2:500"); /* again and again: no longer, no shorter */
            ike_tick(e, p->now);
            pair_drain(p, 0);
            asked += p->queued;
            if (!late || p->now < end - 1)
                p->queued = 0;
        }
        assert_true(asked >= 3);
        assert_null(pair_event(&p->side[0], IKE_EVENT_FAILED));
        if (late) { /* the gateway is there after all */
            p->wire[0] = request;
            p->queued = 1;
            pair_sleep(p, 10 * TIME_SECOND);
            assert_non_null(pair_event(&p->side[0], IKE_EVENT_ESTABLISHED));
        } else {
            ike_tick(e, p->now = end);
            pair_drain(p, 0);
            const struct ike_event *failed = pair_event(&p->side[0], IKE_EVENT_FAILED);
            assert_non_null(failed);
            assert_int_equal(failed->err, ERR_TIMEOUT);
            assert_non_null(strstr(failed->text, "closed"));
        }
        pair_finish(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(psk_handshake),
        cmocka_unit_test(wrong_psk_is_told_precisely),
        cmocka_unit_test(no_common_proposal_shows_both_lists),
        cmocka_unit_test(another_group_costs_one_round),
        cmocka_unit_test(client_rekeys_child),
        cmocka_unit_test(gateway_rekeys_child),
        cmocka_unit_test(client_rekeys_ike),
        cmocka_unit_test(gateway_rekeys_ike),
        cmocka_unit_test(crossing_requests),
        cmocka_unit_test(crossing_deletes),
        cmocka_unit_test(second_child_comes_and_goes),
        cmocka_unit_test(lifetimes_rekey_by_themselves),
        cmocka_unit_test(soft_limit_rekeys),
        cmocka_unit_test(silence_ends_it),
        cmocka_unit_test(certificates),
        cmocka_unit_test(groups_at_rekey),
        cmocka_unit_test(lost_child_is_made_anew),
        cmocka_unit_test(refusals),
        cmocka_unit_test(a_closed_port_is_a_hint),
        cmocka_unit_test(the_last_child_takes_the_tunnel_along),
        cmocka_unit_test(all_at_once),
        cmocka_unit_test(keepalives_behind_nat),
        cmocka_unit_test(given_up_half_way),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
