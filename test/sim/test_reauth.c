/* Reauthentication, make before break: both roles, with traffic that must not notice; what happens
 * when it fails, when it meets other exchanges, and who else may not use that way in. */
#include "ike/internal.h"

#include "pair.h"

static struct tunnel *tunnel_of(const struct sim_host *host)
{
    size_t cursor = 0;
    struct tunnel *t;
    while ((t = map_next(&host->engine->tunnels, &cursor)))
        if (t->established)
            return t;
    return NULL;
}

static struct pair begin(unsigned reauth)
{
    static const char pool4[] = "10.77.0.0/24", pool6[] = "fd77::/64";
    struct prefix pools[2];
    struct pair p = pair_make();
    assert_true(prefix_parse(pool4, &pools[0]) && prefix_parse(pool6, &pools[1]));
    p.gateway->book = lease_book_create(pools, 2, 100, &p.gateway->random);
    assert_non_null(p.gateway->book);
    p.client->conf.reauth = reauth;
    p.sim->traffic = TIME_SECOND / 20;
    pair_up(&p);
    sim_schedule(p.sim, p.sim->now, SIM_TRAFFIC, NULL, NULL);
    return p;
}

static void end(struct pair *p)
{
    struct lease_book *book = p->gateway->book;
    p->client->redial = NULL;
    (void)sim_command(p->client, IKE_DELETE, 0);
    (void)sim_until(p->sim, sim_empty, 200 * TIME_SECOND);
    sim_check_empty(p->sim);
    assert_int_equal(lease_count(book), 0);
    p->gateway->book = NULL;
    lease_book_free(book);
    sim_free(p->sim);
}

/* The same tunnel, address and network as before; not a packet lost; nobody told of an end. */
static void check_unbroken(const struct pair *p, uint64_t tunnel, const struct ip *ip4)
{
    assert_true(tunnel_of(p->client)->id == tunnel);
    assert_true(ip_equal(&tunnel_of(p->client)->ip4, ip4));
    assert_true(ip_equal(&tunnel_of(p->gateway)->ip4, ip4));
    assert_int_equal(p->client->packets_lost + p->gateway->packets_lost, 0);
    assert_null(sim_event(p->client, IKE_EVENT_DOWN));
    assert_null(sim_event(p->client, IKE_EVENT_FAILED));
    assert_int_equal(sim_events(p->client, IKE_EVENT_ESTABLISHED), 1);
    assert_int_equal(p->client->net_ups, 1);
    assert_int_equal(p->client->net_downs, 0);
}

static void test_reauth(void **state)
{
    (void)state;
    struct pair p = begin(100);
    uint64_t tunnel = tunnel_of(p.client)->id, spi = tunnel_of(p.client)->sa->spi_own;
    struct ip ip4 = tunnel_of(p.client)->ip4;
    sim_log_clear(p.sim);
    sim_run(p.sim, 1000 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    check_unbroken(&p, tunnel, &ip4);
    assert_true(tunnel_of(p.client)->sa->spi_own != spi);
    assert_in_range(pair_sent(&p, EXCHANGE_IKE_AUTH, false), 10, 14);
    assert_int_equal(lease_count(p.gateway->book), 2);
    end(&p);
}

/* A new place of the gateway was being asked on the old SA, and traffic waited at the place before:
 * that is nothing to the new one. */
static void test_check_under_way(void **state)
{
    (void)state;
    struct pair p = begin(100);
    const struct sa *sa = tunnel_of(p.client)->sa;
    struct roam *r = roam_of(tunnel_of(p.client));
    uint64_t spi = sa->spi_own;
    r->checking = true;
    r->safe = sa->path;
    r->safe_udp = !sa->udp;
    sim_run(p.sim, 200 * TIME_SECOND);
    assert_true(tunnel_of(p.client)->sa->spi_own != spi);
    sim_check_pair(p.sim, p.client, p.gateway);
    end(&p);
}

/* Also what the client sent on the old SA just before its Delete, and came in after it; and one
 * connection for each client is no hindrance. */
static void test_reauth_loses_nothing(void **state)
{
    (void)state;
    struct pair p = begin(100);
    uint64_t tunnel = tunnel_of(p.client)->id;
    struct ip ip4 = tunnel_of(p.client)->ip4;
    p.gateway->conf.per_identity = 1;
    p.sim->traffic = TIME_MILLISECOND;
    sim_run(p.sim, 300 * TIME_SECOND);
    p.sim->traffic = 0;
    sim_run(p.sim, TIME_SECOND);
    check_unbroken(&p, tunnel, &ip4);
    assert_in_range(sim_events(p.client, IKE_EVENT_REKEYED_IKE), 3, 4);
    assert_true(p.client->packets_sent > 290000);
    assert_int_equal(p.gateway->packets_opened, p.client->packets_sent);
    assert_int_equal(p.client->packets_opened, p.gateway->packets_sent);
    end(&p);
}

/* AUTH_LIFETIME of the gateway, in a later request; it comes before our own wish. */
static void send_lifetime(struct pair *p, uint32_t seconds)
{
    struct ike_engine *e = p->gateway->engine;
    struct sa *sa = tunnel_of(p->gateway)->sa;
    struct wire_builder b;
    uint8_t octets[4];
    struct writer w = writer_of(octets, sizeof(octets));
    writer_u32(&w, seconds);
    sk_begin(e, &b);
    wire_put_notify(&b, NOTIFY_AUTH_LIFETIME, writer_view(&w));
    struct message *m = sk_seal(e, sa, EXCHANGE_INFORMATIONAL, false, sa->next_out++, &b);
    assert_non_null(m);
    struct ike_path path = tunnel_of(p->client)->sa->path;
    ike_input(p->client->engine, p->sim->now, &path, message_bytes(m));
    sim_drain(p->client);
    message_drop(e, &m);
}

static void test_auth_lifetime(void **state)
{
    (void)state;
    struct pair p = begin(0);
    uint64_t tunnel = tunnel_of(p.client)->id;
    struct ip ip4 = tunnel_of(p.client)->ip4;
    sim_run(p.sim, 1000 * TIME_SECOND);
    assert_int_equal(pair_sent(&p, EXCHANGE_IKE_AUTH, false), 1); /* never by itself */
    send_lifetime(&p, 60);
    sim_run(p.sim, 45 * TIME_SECOND);
    assert_int_equal(pair_sent(&p, EXCHANGE_IKE_AUTH, false), 1);
    sim_run(p.sim, 14 * TIME_SECOND);
    assert_int_equal(pair_sent(&p, EXCHANGE_IKE_AUTH, false), 2);
    sim_check_pair(p.sim, p.client, p.gateway);
    check_unbroken(&p, tunnel, &ip4);
    end(&p);
}

/* The gateway's IKE_AUTH answer gets one payload more, and is sealed anew. */
static enum sim_fate add_lifetime(struct sim *sim, struct sim_datagram *d)
{
    static struct wire_chain outer, inner;
    static uint8_t text[4096];
    struct sim_host *client = sim->hosts[0], *gateway = sim->hosts[1];
    struct input in = {.datagram = {d->octets, d->len}, .outer = &outer};
    struct bytes payloads = {d->octets + WIRE_HEADER_LEN, d->len - WIRE_HEADER_LEN};
    if (d->len < WIRE_HEADER_LEN || d->octets[18] != EXCHANGE_IKE_AUTH ||
        !(d->octets[19] & FLAG_RESPONSE))
        return SIM_PASS;
    assert_int_equal(wire_header_read(in.datagram, &in.header), 0);
    assert_int_equal(wire_walk(in.header.next_payload, payloads, &outer), 0);
    struct sa *theirs = map_get(&client->engine->sas, in.header.spi_i);
    struct sa *ours = map_get(&gateway->engine->sas, in.header.spi_r);
    assert_true(theirs && ours && sk_open(client->engine, theirs, &in) == 0);
    size_t len = in.inner_octets.len;
    memcpy(text, in.inner_octets.at, len);
    assert_int_equal(wire_walk(in.inner_first, (struct bytes){text, len}, &inner), 0);
    size_t last = (size_t)(inner.at[inner.count - 1].body.at - text) - WIRE_PAYLOAD_HEADER_LEN;
    text[last] = PAYLOAD_NOTIFY;
    struct wire_builder b;
    uint8_t notify[] = {0, 0, 0, 12, 0, 0, NOTIFY_AUTH_LIFETIME >> 8, NOTIFY_AUTH_LIFETIME & 0xff,
                        0, 0, 0, 50};
    sk_begin(gateway->engine, &b);
    b.first = in.inner_first;
    writer_bytes(&b.w, text, len);
    writer_bytes(&b.w, notify, sizeof(notify));
    struct message *m = sk_seal(gateway->engine, ours, EXCHANGE_IKE_AUTH, true, 1, &b);
    assert_non_null(m);
    sim->filter = NULL;
    sim_inject(sim, &d->from, &d->to, message_bytes(m));
    sim->filter = add_lifetime;
    message_drop(gateway->engine, &m);
    return SIM_DROP;
}

/* It says so in IKE_AUTH, and each time again. */
static void test_auth_lifetime_at_first(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.sim->filter = add_lifetime;
    pair_up(&p);
    uint64_t tunnel = tunnel_of(p.client)->id;
    sim_run(p.sim, 39 * TIME_SECOND);
    assert_int_equal(pair_sent(&p, EXCHANGE_IKE_AUTH, false), 1);
    sim_run(p.sim, 160 * TIME_SECOND);
    assert_in_range(pair_sent(&p, EXCHANGE_IKE_AUTH, false), 5, 6);
    assert_true(tunnel_of(p.client)->id == tunnel);
    assert_null(sim_event(p.client, IKE_EVENT_DOWN));
    p.sim->filter = NULL;
    pair_end(&p);
}

/* The gateway does not let it in again: the tunnel goes on with its own leases, and it is tried
 * again. */
static void test_refused(void **state)
{
    (void)state;
    struct pair p = begin(100);
    uint64_t tunnel = tunnel_of(p.client)->id;
    struct ip ip4 = tunnel_of(p.client)->ip4;
    p.gateway->admit = ERR_UNKNOWN_PEER;
    sim_run(p.sim, 200 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    check_unbroken(&p, tunnel, &ip4);
    assert_int_equal(lease_count(p.gateway->book), 2);
    p.gateway->admit = 0;
    sim_log_clear(p.sim);
    sim_run(p.sim, 70 * TIME_SECOND);
    assert_int_equal(pair_sent(&p, EXCHANGE_IKE_AUTH, false), 1);
    check_unbroken(&p, tunnel, &ip4);
    end(&p);
}

static bool lose_auth_answers;
static enum sim_fate drop_some(struct sim *sim, struct sim_datagram *d)
{
    (void)sim;
    return lose_auth_answers && d->len > 28 && d->octets[18] == EXCHANGE_IKE_AUTH &&
                   (d->octets[19] & FLAG_RESPONSE)
               ? SIM_DROP
               : SIM_PASS;
}

/* The gateway has the new one, the client never hears of it: the gateway's own liveness removes it,
 * and the leases go back to the tunnel that lives. */
static void test_half_lost(void **state)
{
    (void)state;
    struct pair p = begin(100);
    uint64_t tunnel = tunnel_of(p.client)->id;
    struct ip ip4 = tunnel_of(p.client)->ip4;
    lose_auth_answers = true;
    p.sim->filter = drop_some;
    sim_run(p.sim, 160 * TIME_SECOND);
    check_unbroken(&p, tunnel, &ip4);
    lose_auth_answers = false;
    sim_run(p.sim, 400 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    check_unbroken(&p, tunnel, &ip4);
    assert_int_equal(lease_count(p.gateway->book), 2);
    end(&p);
}

/* Closed, or rekeyed, while the new one is being made: after any number of milliseconds. */
static void meets(uint32_t command, bool by_client, unsigned milliseconds)
{
    struct pair p = begin(0);
    uint64_t tunnel = tunnel_of(p.client)->id;
    struct ip ip4 = tunnel_of(p.client)->ip4;
    sim_run(p.sim, 20 * TIME_SECOND);
    reauth_instead(p.client->engine, tunnel_of(p.client));
    sim_run(p.sim, 50 * TIME_MILLISECOND + milliseconds * TIME_MILLISECOND);
    assert_int_equal(sim_command(by_client ? p.client : p.gateway, command, 0), 0);
    sim_run(p.sim, 20 * TIME_SECOND);
    if (command == IKE_DELETE) {
        assert_null(tunnel_of(p.client));
        assert_null(tunnel_of(p.gateway));
    } else {
        sim_check_pair(p.sim, p.client, p.gateway);
        check_unbroken(&p, tunnel, &ip4);
    }
    end(&p);
}

static void test_meets_others(void **state)
{
    (void)state;
    static const uint32_t commands[] = {IKE_DELETE, IKE_REKEY_IKE, IKE_REKEY_CHILD};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        for (int by_client = 0; by_client < 2; by_client++)
            for (unsigned milliseconds = 0; milliseconds < 120; milliseconds += 3)
                meets(commands[i], by_client, milliseconds);
}

/* Another device with the same name: it comes from another address, gets an address of its own,
 * and the first one keeps all. */
static void test_twin(void **state)
{
    (void)state;
    struct pair p = begin(0);
    struct sim_host *twin = sim_client(p.sim, "twin", "192.0.2.3");
    twin->conf.local_id = p.client->conf.local_id;
    sim_psk(twin, NULL, PSK);
    struct ip ip4 = tunnel_of(p.client)->ip4;
    sim_start(twin);
    p.gateway->conf.unique = false; /* it says INITIAL_CONTACT */
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_initiate(twin, p.gateway);
    sim_run(p.sim, 5 * TIME_SECOND);
    assert_non_null(tunnel_of(twin));
    assert_false(ip_equal(&tunnel_of(twin)->ip4, &ip4));
    assert_int_equal(lease_count(p.gateway->book), 4);
    assert_null(sim_event(p.client, IKE_EVENT_DOWN));
    (void)sim_command(twin, IKE_DELETE, 0);
    sim_run(p.sim, 60 * TIME_SECOND);
    end(&p);
}

/* A peer that makes no second child in an IKE SA, and one that rekeys none: a new one is made
 * instead. */
static struct {
    bool ike;
    uint16_t notify;
} refusing;

static enum sim_fate refuse(struct sim *sim, struct sim_datagram *d)
{
    struct sim_host *client = sim->hosts[0], *gateway = sim->hosts[1];
    struct tunnel *t = tunnel_of(gateway);
    if (!t || d->len < 28 || d->octets[18] != EXCHANGE_CREATE_CHILD_SA ||
        !ip_equal(&d->to.ip, &gateway->ip) || d->octets[19] & FLAG_RESPONSE)
        return SIM_PASS;
    struct sa *sa = t->sa;
    struct wire_builder b;
    sk_begin(gateway->engine, &b);
    wire_put_notify(&b, refusing.notify, (struct bytes){0});
    struct message *m =
        sk_seal(gateway->engine, sa, EXCHANGE_CREATE_CHILD_SA, true, sa->next_in++, &b);
    assert_non_null(m);
    sim->filter = NULL;
    sim_inject(sim, &d->to, &d->from, message_bytes(m));
    message_drop(gateway->engine, &m);
    (void)client;
    return SIM_DROP;
}

static void test_instead_of_rekey(void **state)
{
    (void)state;
    static const struct {
        uint32_t command;
        uint16_t notify;
        bool renews;
    } cases[] = {{IKE_REKEY_CHILD, NOTIFY_NO_ADDITIONAL_SAS, true},
                 {IKE_REKEY_IKE, NOTIFY_NO_ADDITIONAL_SAS, true},
                 {IKE_REKEY_IKE, NOTIFY_NO_PROPOSAL_CHOSEN, true},
                 {IKE_CREATE_CHILD, NOTIFY_NO_ADDITIONAL_SAS, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair p = begin(0);
        uint64_t tunnel = tunnel_of(p.client)->id;
        struct ip ip4 = tunnel_of(p.client)->ip4;
        sim_run(p.sim, TIME_SECOND);
        refusing.notify = cases[i].notify;
        sim_log_clear(p.sim);
        p.sim->filter = refuse;
        assert_int_equal(sim_command(p.client, cases[i].command, tunnel), 0);
        sim_run(p.sim, 10 * TIME_SECOND);
        assert_null(p.sim->filter); /* it has refused */
        assert_int_equal(pair_sent(&p, EXCHANGE_IKE_AUTH, false), cases[i].renews);
        sim_check_pair(p.sim, p.client, p.gateway);
        check_unbroken(&p, tunnel, &ip4);
        end(&p);
    }
}

/* A house full of children refuses one more with NO_ADDITIONAL_SAS, and still rekeys each. */
static void test_full_house(void **state)
{
    (void)state;
    struct pair p = begin(0);
    for (int i = 1; i < CHILDREN_PER_SA; i++) {
        assert_int_equal(sim_command(p.client, IKE_CREATE_CHILD, tunnel_of(p.client)->id), 0);
        sim_run(p.sim, TIME_SECOND);
    }
    assert_int_equal(tunnel_of(p.gateway)->sa->child_count, CHILDREN_PER_SA);
    struct sa *client = tunnel_of(p.client)->sa;
    struct child *c = client->children; /* the client forgets that it has one too many */
    bool was = c->replaced;
    c->replaced = true;
    assert_int_equal(sim_command(p.client, IKE_CREATE_CHILD, tunnel_of(p.client)->id), 0);
    sim_run(p.sim, TIME_SECOND);
    c->replaced = was;
    assert_int_equal(client->child_count, CHILDREN_PER_SA); /* refused */
    assert_int_equal(sim_command(p.client, IKE_REKEY_CHILD, 0), 0);
    assert_int_equal(sim_command(p.gateway, IKE_REKEY_CHILD, 0), 0);
    sim_run(p.sim, 60 * TIME_SECOND); /* TEMPORARY_FAILURE and its waits included */
    assert_int_equal(client->child_count, CHILDREN_PER_SA);
    assert_int_equal(tunnel_of(p.gateway)->sa->child_count, CHILDREN_PER_SA);
    assert_in_range(sim_events(p.client, IKE_EVENT_REKEYED_CHILD), CHILDREN_PER_SA,
                    2 * CHILDREN_PER_SA);
    assert_int_equal(p.client->packets_lost + p.gateway->packets_lost, 0);
    end(&p);
}

/* ---- a gateway that does not answer */

static bool gateway_mute, client_mute;
static enum sim_fate mute(struct sim *sim, struct sim_datagram *d)
{
    bool from_gateway = d->sender == sim->hosts[1];
    return (from_gateway ? gateway_mute : client_mute) ? SIM_DROP : SIM_PASS;
}

static struct pair begin_mute(bool gateway, bool client)
{
    struct pair p = begin(0);
    sim_run(p.sim, 15 * TIME_SECOND);
    p.sim->filter = mute;
    p.sim->traffic = 0; /* it would show that somebody is there */
    p.sim->packets_may_be_lost = true;
    gateway_mute = gateway;
    client_mute = client;
    if (gateway || client)
        assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
    return p;
}

static bool is_back(struct sim *sim)
{
    const struct tunnel *near = tunnel_of(sim->hosts[0]);
    const struct tunnel *far = sim->hosts[1]->engine ? tunnel_of(sim->hosts[1]) : NULL;
    return near && far && near->sa->spi_peer == far->sa->spi_own;
}

static size_t sas_of(const struct sim_host *host)
{
    struct sim_view view;
    sim_view(host, &view);
    return view.count;
}

/* It is killed and comes back without its state: the same tunnel, with the same address, is there
 * again after 10 s without an answer. */
static void test_gateway_without_memory(void **state)
{
    (void)state;
    struct pair p = begin_mute(false, false);
    uint64_t tunnel = tunnel_of(p.client)->id;
    struct ip ip4 = tunnel_of(p.client)->ip4;
    sim_run(p.sim, 5 * TIME_SECOND);
    sim_stop(p.gateway);
    sim_run(p.sim, 2 * TIME_SECOND);
    sim_start(p.gateway);
    assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
    sim_run(p.sim, 9 * TIME_SECOND);
    assert_false(is_back(p.sim));
    assert_true(sim_until(p.sim, is_back, 6 * TIME_SECOND));
    assert_int_equal(sas_of(p.gateway), 1);
    check_unbroken(&p, tunnel, &ip4);
    sim_run(p.sim, 100 * TIME_SECOND); /* the old one goes */
    sim_check_pair(p.sim, p.client, p.gateway);
    check_unbroken(&p, tunnel, &ip4);
    end(&p);
}

/* For a while nothing goes through, in one direction or in both. One IKE SA remains at each end,
 * whichever it is, and the tunnel was never down. */
static void silence(bool gateway, bool client, unsigned seconds)
{
    struct pair p = begin_mute(gateway, client);
    uint64_t tunnel = tunnel_of(p.client)->id;
    struct ip ip4 = tunnel_of(p.client)->ip4;
    sim_run(p.sim, seconds * TIME_SECOND);
    gateway_mute = client_mute = false;
    assert_true(sim_until(p.sim, is_back, 12 * TIME_SECOND));
    sim_run(p.sim, 100 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    assert_int_equal(sas_of(p.client), 1);
    assert_int_equal(sas_of(p.gateway), 1);
    p.client->packets_lost = p.gateway->packets_lost = 0;
    check_unbroken(&p, tunnel, &ip4);
    assert_int_equal(lease_count(p.gateway->book), 2);
    end(&p);
}

static void test_silence(void **state)
{
    (void)state;
    for (unsigned seconds = 12; seconds < 50; seconds++) {
        silence(true, true, seconds);
        silence(false, true, seconds);
        silence(true, false, seconds);
    }
}

static enum sim_fate no_init(struct sim *sim, struct sim_datagram *d)
{
    (void)sim;
    return d->len > 28 && d->octets[18] == EXCHANGE_IKE_SA_INIT ? SIM_DROP : SIM_PASS;
}

/* Who answers after all is asked nothing more. */
static void test_answered_in_time(void **state)
{
    (void)state;
    struct pair p = begin_mute(true, true);
    sim_run(p.sim, 15 * TIME_SECOND);
    assert_int_equal(sas_of(p.client), 2);
    p.sim->filter = no_init;
    sim_run(p.sim, 12 * TIME_SECOND);
    assert_int_equal(sas_of(p.client), 1);
    sim_log_clear(p.sim);
    sim_run(p.sim, 60 * TIME_SECOND);
    assert_int_equal(pair_sent(&p, EXCHANGE_IKE_SA_INIT, false), 0);
    assert_int_equal(sim_events(p.client, IKE_EVENT_REKEYED_IKE), 0);
    sim_check_pair(p.sim, p.client, p.gateway);
    end(&p);
}

/* It never comes back: the tunnel ends when it would have ended anyway, and its twin with it. */
static void test_gateway_gone(void **state)
{
    (void)state;
    struct pair p = begin_mute(true, true);
    struct ike_usage usage;
    sim_run(p.sim, 20 * TIME_SECOND);
    assert_null(sim_event(p.client, IKE_EVENT_DOWN));
    ike_usage(p.client->engine, &usage);
    assert_int_equal(usage.sas, 2);
    sim_run(p.sim, 45 * TIME_SECOND);
    assert_int_equal(sim_events(p.client, IKE_EVENT_DOWN), 1);
    assert_null(sim_event(p.client, IKE_EVENT_FAILED));
    ike_usage(p.client->engine, &usage);
    assert_int_equal(usage.sas + usage.children + usage.timers, 0);
    gateway_mute = client_mute = false;
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reauth),
        cmocka_unit_test(test_check_under_way),
        cmocka_unit_test(test_reauth_loses_nothing),
        cmocka_unit_test(test_auth_lifetime),
        cmocka_unit_test(test_auth_lifetime_at_first),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_half_lost),
        cmocka_unit_test(test_twin),
        cmocka_unit_test(test_meets_others),
        cmocka_unit_test(test_full_house),
        cmocka_unit_test(test_instead_of_rekey),
        cmocka_unit_test(test_gateway_without_memory),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_answered_in_time),
        cmocka_unit_test(test_gateway_gone),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
