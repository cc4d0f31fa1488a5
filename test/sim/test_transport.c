/* Transport mode (RFC 7296 1.3.1, 2.23.1): asked for, granted, declined, kept over rekeys, and
 * through NATs on either side. */
#include "relay.h"

static struct ip address(const char *text)
{
    struct ip ip;
    assert_true(ip_parse(text, &ip));
    return ip;
}

static struct selector ts(const char *text)
{
    struct selector s;
    assert_true(selector_parse(text, &s));
    return s;
}

/* Both sides' configuration as conf/ makes it of mode = transport. */
static void in_transport_mode(struct pair *p)
{
    struct conf_tunnel *c = &p->client->conf, *g = &p->gateway->conf;
    c->transport = g->transport = true;
    c->request_ip4 = c->request_ip6 = false;
    c->roam = false;
    c->encap = g->encap = CONF_ENCAP_AUTO;
}

static struct pair transport_pair(void)
{
    struct pair p = pair_make();
    in_transport_mode(&p);
    return p;
}

/* The active child: between these two alone, which are those to the peer. */
static void check_child(const struct sim_host *host, const char *local, const char *remote,
                        const char *seen_local, const char *seen_remote)
{
    const struct ike_child *c = pair_child(host);
    struct selector l = ts(local), r = ts(remote);
    struct ip none = {0}, sl = seen_local ? address(seen_local) : none;
    struct ip sr = seen_remote ? address(seen_remote) : none;
    assert_true(c->transport);
    assert_int_equal(c->local_count, 1);
    assert_int_equal(c->remote_count, 1);
    assert_true(selector_equal(&c->local_ts[0], &l));
    assert_true(selector_equal(&c->remote_ts[0], &r));
    assert_true(ip_equal(&c->seen_local, &sl));
    assert_true(ip_equal(&c->seen_remote, &sr));
}

static void settle(struct pair *p)
{
    assert_true(sim_until(p->sim, sim_settled, 20 * TIME_SECOND));
    sim_check_pair(p->sim, p->client, p->gateway);
}

/* Child and IKE SA rekeyed by each side in turn; after each, `check` looks at both ends. */
static void rekey_all(struct pair *p, void (*check)(const struct pair *p))
{
    static const uint32_t kinds[] = {IKE_REKEY_CHILD, IKE_REKEY_IKE, IKE_REKEY_CHILD};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        for (int side = 0; side < 2; side++) {
            struct sim_host *host = side ? p->gateway : p->client;
            uint32_t before = pair_child(host)->spi_in;
            assert_int_equal(sim_command(host, kinds[i], 0), 0);
            sim_run(p->sim, 2 * TIME_SECOND);
            settle(p);
            if (kinds[i] == IKE_REKEY_CHILD)
                assert_int_not_equal(pair_child(host)->spi_in, before);
            check(p);
        }
}

static void check_plain(const struct pair *p)
{
    check_child(p->client, "192.0.2.2", "192.0.2.1", NULL, NULL);
    check_child(p->gateway, "192.0.2.1", "192.0.2.2", NULL, NULL);
    assert_false(pair_child(p->client)->udp);
}

static void test_negotiated(void **state)
{
    (void)state;
    struct pair p = transport_pair();
    pair_up(&p);
    check_plain(&p);
    for (int side = 0; side < 2; side++) {
        const struct ike_net *net = side ? &p.gateway->net : &p.client->net;
        struct selector own = ts(side ? "192.0.2.1" : "192.0.2.2");
        struct selector peer = ts(side ? "192.0.2.2" : "192.0.2.1");
        assert_true(net->transport);
        assert_int_equal(net->local_count, 1);
        assert_int_equal(net->remote_count, 1);
        assert_true(selector_equal(&net->local_ts[0], &own));
        assert_true(selector_equal(&net->remote_ts[0], &peer));
    }
    /* No more is granted to new ones, and what there is keeps its mode. */
    p.gateway->conf.transport = false;
    rekey_all(&p, check_plain);
    pair_end(&p);
}

static void check_six(const struct pair *p)
{
    check_child(p->client, "2001:db8::2", "2001:db8::1", NULL, NULL);
    check_child(p->gateway, "2001:db8::1", "2001:db8::2", NULL, NULL);
}

static struct pair six_pair(void)
{
    struct pair p = {.sim = sim_create(0x736978, &sim_good_link)};
    p.client = sim_client(p.sim, "client", "2001:db8::2");
    p.gateway = sim_gateway(p.sim, "gateway", "2001:db8::1");
    sim_psk(p.client, NULL, PSK);
    sim_psk(p.gateway, p.client, PSK);
    in_transport_mode(&p);
    return p;
}

static void test_over_ip6(void **state)
{
    (void)state;
    struct pair p = six_pair();
    pair_up(&p);
    check_six(&p);
    rekey_all(&p, check_six);
    pair_end(&p);
}

/* Ports on both sides: what both allow. */
static void test_ports(void **state)
{
    (void)state;
    struct pair p = transport_pair();
    p.client->conf.remote_ts[0] = ts("0.0.0.0/0[tcp/80-443]");
    p.client->conf.remote_ts_count = 1;
    p.gateway->conf.local_ts[0] = ts("0.0.0.0/0[tcp/443-8000]");
    pair_up(&p);
    const struct ike_child *c = pair_child(p.client);
    struct selector want = ts("192.0.2.1[tcp/443]"), asked = ts("192.0.2.1[tcp/80-443]");
    assert_true(selector_equal(&c->remote_ts[0], &want));
    /* The client keeps away from the open net all that it wanted protected. */
    assert_true(selector_equal(&p.client->net.remote_ts[0], &asked));
    assert_true(selector_equal(&p.gateway->net.local_ts[0], &want));
    pair_end(&p);
}

/* A further child of its own: told to the gateway's monitor by a NET_UP of its own. */
static void test_two_children(void **state)
{
    (void)state;
    struct pair p = transport_pair();
    struct conf_tunnel *c = &p.client->conf;
    c->remote_ts[0] = ts("0.0.0.0/0[tcp/443]");
    c->remote_ts_count = 1;
    c->children[0].remote_ts[0] = ts("0.0.0.0/0[udp/53]");
    c->children[0].remote_ts_count = 1;
    c->child_count = 1;
    snprintf(c->children[0].name, sizeof(c->children[0].name), "dns");
    pair_start(&p);
    sim_run(p.sim, 5 * TIME_SECOND);
    assert_int_equal(sim_live_sas(p.client), 2);
    assert_int_equal(sim_live_sas(p.gateway), 2);
    for (const struct sim_sa *sa = p.gateway->sas; sa; sa = sa->next)
        assert_true(sa->child.transport);
    struct selector web = ts("192.0.2.1[tcp/443]"), dns = ts("192.0.2.1[udp/53]");
    assert_int_equal(p.client->net.remote_count, 2);
    assert_true(p.gateway->net.more);
    assert_true(selector_equal(&p.gateway->net.local_ts[0], &dns));
    assert_true(selector_equal(&p.client->net.remote_ts[0], &web));
    assert_true(selector_equal(&p.client->net.remote_ts[1], &dns));
    pair_end(&p);
}

/* ---- declined */

static uint8_t own_address(struct sim_host *host, const struct identity *peer, struct selector *out)
{
    (void)host;
    (void)peer;
    out[0] = ts("192.0.2.2");
    return 1;
}

/* The responder answers in tunnel mode; the initiator wants no such child and deletes it. */
static void test_answered_in_tunnel_mode(void **state)
{
    (void)state;
    struct pair p = transport_pair();
    p.gateway->conf.transport = false;
    p.gateway->networks_of = own_address;
    pair_start(&p);
    sim_run(p.sim, 10 * TIME_SECOND);
    const struct ike_event *failed = sim_event(p.client, IKE_EVENT_FAILED);
    assert_non_null(failed);
    assert_int_equal(failed->err, ERR_TS);
    assert_non_null(strstr(failed->text, "tunnel mode"));
    assert_non_null(sim_event(p.gateway, IKE_EVENT_DOWN)); /* it was told */
    assert_int_equal(sim_live_sas(p.client), 0);
    assert_int_equal(sim_live_sas(p.gateway), 0);
    assert_int_equal(p.client->net_ups, 0);
    pair_end(&p);
}

static void test_refused(void **state)
{
    (void)state;
    struct pair p = transport_pair();
    p.gateway->conf.transport = false;
    pair_start(&p);
    sim_run(p.sim, 40 * TIME_SECOND);
    const struct ike_event *refused = sim_event(p.gateway, IKE_EVENT_REFUSED);
    assert_non_null(refused);
    assert_non_null(strstr(refused->text, "mode = transport"));
    assert_non_null(sim_event(p.client, IKE_EVENT_FAILED));
    pair_end(&p);
}

/* Granted, and the gateway's own address is not among what it lets clients reach. */
static void test_not_this_host(void **state)
{
    (void)state;
    struct pair p = transport_pair();
    p.gateway->conf.local_ts[0] = ts("10.0.0.0/8");
    p.gateway->networks_of = own_address;
    pair_start(&p);
    sim_run(p.sim, 40 * TIME_SECOND);
    assert_non_null(sim_event(p.client, IKE_EVENT_FAILED));
    assert_int_equal(sim_live_sas(p.gateway), 0);
    pair_end(&p);
}

/* Who does not ask gets tunnel mode, also where transport mode is granted. */
static void test_not_asked_for(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.gateway->conf.transport = true;
    pair_up(&p);
    assert_false(pair_child(p.client)->transport || pair_child(p.gateway)->transport);
    assert_false(p.client->net.transport || p.gateway->net.transport);
    pair_end(&p);
}

/* A further child: the gateway has changed its mind, so this one alone is deleted, by who asked. */
static void test_child_declined(void **state)
{
    (void)state;
    struct pair p = transport_pair();
    struct conf_tunnel *c = &p.client->conf;
    c->remote_ts[0] = ts("0.0.0.0/0[tcp/443]");
    c->remote_ts_count = 1;
    p.gateway->networks_of = own_address;
    pair_up(&p);
    p.gateway->conf.transport = false;
    c->remote_ts[0] = ts("0.0.0.0/0[tcp/80]");
    *p.gateway->running = p.gateway->conf; /* by a reload the first one would end */
    *p.client->running = *c;
    assert_int_equal(sim_command(p.client, IKE_CREATE_CHILD, 0), 0);
    sim_run(p.sim, 5 * TIME_SECOND);
    assert_int_equal(sim_live_sas(p.gateway), 1);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_CHILD_DOWN), 1);
    settle(&p);
    assert_true(pair_child(p.client)->transport);
    pair_end(&p);
}

/* MOBIKE moves tunnels, and a tunnel in transport mode cannot be moved. */
static void test_no_mobike(void **state)
{
    (void)state;
    struct pair p = transport_pair();
    struct sim_view view;
    p.client->conf.roam = p.gateway->conf.roam = true;
    pair_up(&p);
    sim_view(p.client, &view);
    assert_false(view.last.mobike);
    sim_view(p.gateway, &view);
    assert_false(view.last.mobike);
    pair_end(&p);
}

/* ---- NAT */

#define CLIENT_NAT  "198.51.100.9"
#define GATEWAY_NAT "203.0.113.5"

/* By the NATs that there are; always in UDP. */
static void check_nats(const struct pair *p)
{
    bool client = p->client->nat_ip.family, gateway = p->gateway->nat_ip.family;
    check_child(p->client, "192.0.2.2", gateway ? GATEWAY_NAT : "192.0.2.1",
                client ? CLIENT_NAT : NULL, gateway ? "192.0.2.1" : NULL);
    check_child(p->gateway, "192.0.2.1", client ? CLIENT_NAT : "192.0.2.2",
                gateway ? GATEWAY_NAT : NULL, client ? "192.0.2.2" : NULL);
    assert_true(pair_child(p->client)->udp && pair_child(p->gateway)->udp);
}

static struct pair behind_nat(void)
{
    struct pair p = transport_pair();
    p.client->nat_ip = address(CLIENT_NAT);
    p.client->nat_shift = 10000;
    return p;
}

/* The client behind one, the gateway, both; or none, but each side has the other believe in one. */
static void test_nats(void **state)
{
    static const struct {
        bool client, gateway;
    } rows[] = {{true, false}, {false, true}, {true, true}, {false, false}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pair p = rows[i].client ? behind_nat() : transport_pair();
        if (rows[i].gateway)
            p.gateway->nat_ip = address(GATEWAY_NAT);
        if (!rows[i].client && !rows[i].gateway)
            p.client->conf.encap = p.gateway->conf.encap = CONF_ENCAP_UDP;
        pair_up(&p);
        check_nats(&p);
        rekey_all(&p, check_nats);
        pair_end(&p);
    }
}

/* Two behind one NAT: the second cannot have what the first one has, unless it is the same peer. */
static void test_neighbours(void **state)
{
    (void)state;
    struct pair p = behind_nat();
    struct sim_host *other = sim_client(p.sim, "other", "192.0.2.3");
    sim_psk(other, NULL, PSK);
    sim_psk(p.gateway, other, PSK);
    uint64_t first;
    other->conf.transport = true;
    other->conf.request_ip4 = other->conf.request_ip6 = other->conf.roam = false;
    other->nat_ip = p.client->nat_ip;
    other->nat_shift = 20000;
    pair_start(&p);
    first = p.client->tunnel;
    sim_run(p.sim, 5 * TIME_SECOND);
    sim_start(other);
    sim_initiate(other, p.gateway);
    sim_run(p.sim, 40 * TIME_SECOND);
    const struct ike_event *refused = sim_event(p.gateway, IKE_EVENT_REFUSED);
    assert_non_null(refused);
    assert_int_equal(refused->notify, NOTIFY_TS_UNACCEPTABLE);
    assert_non_null(strstr(refused->text, "same address"));
    assert_non_null(sim_event(other, IKE_EVENT_FAILED));
    assert_int_equal(sim_live_sas(p.gateway), 1);
    assert_int_equal(p.client->tunnel, first);
    check_nats(&p);
    sim_stop(p.client); /* and comes back from another port, as nobody has closed the first */
    p.client->nat_shift = 30000;
    sim_plane_free(p.client);
    sim_start(p.client);
    sim_initiate(p.client, p.gateway);
    sim_run(p.sim, 5 * TIME_SECOND);
    assert_true(pair_child(p.client)->transport);
    assert_int_equal(pair_child(p.gateway)->spi_in, pair_child(p.client)->spi_out);
    sim_free(p.sim);
}

/* Another port is the same host. Another address is not the one of the selectors: the child ends
 * there, and the client connects again. */
static void test_moved(void **state)
{
    (void)state;
    struct pair p = behind_nat();
    struct sim_view view;
    pair_up(&p);
    p.client->nat_shift = 20000;
    assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
    sim_run(p.sim, 2 * TIME_SECOND);
    sim_view(p.gateway, &view);
    assert_int_equal(view.last.path.remote.port, 24500);
    assert_int_equal(p.gateway->esp_path.remote.port, 24500);
    settle(&p);
    check_nats(&p);
    p.client->redial = p.gateway;
    p.client->nat_ip = address("198.51.100.10");
    assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
    sim_run(p.sim, 60 * TIME_SECOND);
    assert_true(sim_events(p.gateway, IKE_EVENT_CHILD_DOWN) > 0);
    settle(&p);
    check_child(p.client, "192.0.2.2", "192.0.2.1", "198.51.100.10", NULL);
    check_child(p.gateway, "192.0.2.1", "198.51.100.10", NULL, "192.0.2.2");
    pair_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_negotiated),
        cmocka_unit_test(test_over_ip6),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_two_children),
        cmocka_unit_test(test_answered_in_tunnel_mode),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_not_this_host),
        cmocka_unit_test(test_not_asked_for),
        cmocka_unit_test(test_child_declined),
        cmocka_unit_test(test_no_mobike),
        cmocka_unit_test(test_nats),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_moved),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
