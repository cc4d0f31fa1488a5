/* Another configuration while tunnels stand: whom it does not concern hears nothing of it, and who
 * may not stay goes (ike_reload). */
#include "pair.h"

static void traffic(struct sim *sim)
{
    sim->traffic = TIME_SECOND / 4;
    sim_schedule(sim, sim->now, SIM_TRAFFIC, NULL, NULL);
}

static struct selector ts(const char *text)
{
    struct selector s;
    if (!selector_parse(text, &s))
        fail_msg("%s", text);
    return s;
}

/* Without what time brings of its own: keepalives, liveness. */
static struct pair quiet_pair(void)
{
    struct pair p = pair_make();
    p.client->conf.idle_check = p.gateway->conf.idle_check = 0;
    p.client->conf.keepalive = p.gateway->conf.keepalive = 0;
    return p;
}

/* ---- nothing that concerns it */

static void test_unchanged(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    traffic(p.sim);
    pair_up(&p);
    sim_log_clear(p.sim);
    uint32_t spi = sim_active(p.client)->child.spi_in;
    p.gateway->conf.handshakes = 7;
    p.gateway->conf.dpd = 20;
    assert_int_equal(sim_reload(p.gateway), 0);
    assert_int_equal(sim_reload(p.client), 0);
    sim_run(p.sim, 100 * TIME_SECOND);
    assert_int_equal(p.sim->log_count, 0);
    assert_int_equal(p.gateway->stays, 1);
    assert_int_equal(p.client->packets_lost + p.gateway->packets_lost, 0);
    assert_int_equal(sim_active(p.client)->child.spi_in, spi);
    assert_int_equal(p.client->net_ups, 1);
    assert_int_equal(p.gateway->net_ups, 1);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

static void test_refused_reload(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    pair_up(&p);
    p.gateway->conf.max_tunnels++;
    assert_int_equal(sim_reload(p.gateway), ERR_ARGUMENT);
    p.gateway->conf.max_tunnels--;
    p.gateway->conf.initiator = true;
    assert_int_equal(sim_reload(p.gateway), ERR_ARGUMENT);
    p.gateway->conf.initiator = false;
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* ---- who may stay */

/* Two clients; hosts[0] and hosts[1], which the packets go between, are the one that stays. */
static void test_client_removed(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    traffic(p.sim);
    struct sim_host *other = sim_client(p.sim, "other", "192.0.2.3");
    sim_psk(other, NULL, PSK);
    sim_psk(p.gateway, other, PSK);
    pair_up(&p);
    sim_start(other);
    sim_initiate(other, p.gateway);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_non_null(sim_event(other, IKE_EVENT_ESTABLISHED));
    p.gateway->packets_sent = p.client->packets_opened = 0;
    p.gateway->away = other->conf.local_id;
    sim_log_clear(p.sim);
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 10 * TIME_SECOND);
    const struct ike_event *down = sim_event(p.gateway, IKE_EVENT_DOWN);
    assert_non_null(down);
    assert_int_equal(down->err, ERR_UNKNOWN_PEER);
    assert_non_null(strstr(down->text, "the configuration does not let it in any more"));
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_DOWN), 1);
    assert_non_null(sim_event(other, IKE_EVENT_DOWN));
    assert_null(sim_event(p.client, IKE_EVENT_DOWN));
    assert_int_equal(sim_live_sas(other), 0);
    assert_int_equal(sim_live_sas(p.gateway), 1);
    assert_int_equal(p.gateway->leases, 1);
    assert_int_equal(p.gateway->net_downs, 1);
    assert_int_equal(p.sim->log_count, 2); /* the Delete and its answer */
    /* It does not come in again, and then it does. */
    sim_initiate(other, p.gateway);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_non_null(sim_event(other, IKE_EVENT_FAILED));
    p.gateway->away = (struct identity){0};
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_initiate(other, p.gateway);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_int_equal(sim_live_sas(other), 1);
    assert_int_equal(sim_command(other, IKE_DELETE, 0), 0);
    sim_run(p.sim, TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* Keys that say nothing are asked again until they speak. */
static void test_keys_silent(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    pair_up(&p);
    p.gateway->keys_silent = true;
    p.gateway->away = p.client->conf.local_id;
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 100 * TIME_SECOND);
    assert_int_equal(sim_live_sas(p.gateway), 1);
    p.gateway->keys_silent = false;
    sim_run(p.sim, 31 * TIME_SECOND);
    assert_int_equal(sim_live_sas(p.gateway), 0);
    assert_int_equal(sim_live_sas(p.client), 0);
    pair_end(&p);
}

/* ---- what was negotiated */

static uint16_t suite_of(const struct sim_host *host)
{
    struct sim_view view;
    sim_view(host, &view);
    return view.last.suite.transforms[0].id;
}

static void two_suites(struct sim_host *host)
{
    sim_proposals(host, "aes256-sha256-prfsha256-x25519", "aes256-sha256-x25519");
    host->conf.ike[1] = host->conf.ike[0];
    host->conf.esp[1] = host->conf.esp[0];
    sim_proposals(host, "aes256gcm16-prfsha384-x25519", "aes256gcm16-x25519");
    host->conf.ike_count = host->conf.esp_count = 2;
}

/* The client takes both; the gateway stops taking the one in use. */
static void test_suite_forbidden(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    traffic(p.sim);
    two_suites(p.client);
    pair_up(&p);
    assert_int_equal(suite_of(p.gateway), ENCR_AES_GCM_16);
    sim_proposals(p.gateway, "aes256-sha256-prfsha256-x25519", "aes256-sha256-x25519");
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 70 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    assert_int_equal(suite_of(p.gateway), ENCR_AES_CBC);
    assert_int_equal(sim_active(p.gateway)->child.encr, ENCR_AES_CBC);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_IKE), 1);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_CHILD), 1);
    assert_int_equal(p.client->packets_lost + p.gateway->packets_lost, 0);
    pair_end(&p);
}

/* Nothing in common any more: what stands lives out its time, and no new one comes. */
static void test_no_suite_left(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    p.gateway->conf.child_lifetime = p.gateway->conf.ike_lifetime = 300;
    pair_up(&p);
    sim_proposals(p.gateway, "aes256-sha256-prfsha256-x25519", "aes256-sha256-x25519");
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 200 * TIME_SECOND);
    assert_int_equal(sim_live_sas(p.gateway), 1);
    sim_run(p.sim, 110 * TIME_SECOND);
    assert_int_equal(sim_live_sas(p.gateway), 0);
    assert_int_equal(sim_event(p.gateway, IKE_EVENT_DOWN)->err, ERR_LIFETIME);
    pair_end(&p);
}

/* A shorter life than what has gone by already: rekeyed soon, without loss. */
static void test_shorter_life(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    traffic(p.sim);
    pair_up(&p);
    sim_run(p.sim, 1000 * TIME_SECOND);
    p.gateway->conf.child_lifetime = 600;
    p.gateway->conf.ike_lifetime = 900;
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 70 * TIME_SECOND);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_IKE), 1);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_CHILD), 1);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

static void test_longer_life(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    p.gateway->conf.child_lifetime = p.gateway->conf.ike_lifetime = 300;
    pair_up(&p);
    p.gateway->conf.child_lifetime = p.gateway->conf.ike_lifetime = 0;
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 1000 * TIME_SECOND);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_IKE), 0);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_CHILD), 0);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* A network behind the gateway goes: the child that reached it ends at once, another one comes. */
static void test_network_removed(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    p.client->conf.request_ip6 = false;
    p.client->conf.remote_ts_count = 1;
    p.gateway->conf.local_ts[0] = ts("10.1.0.0/16");
    p.gateway->conf.local_ts[1] = ts("10.2.0.0/16");
    pair_up(&p);
    assert_int_equal(sim_active(p.client)->child.remote_count, 2);
    p.gateway->conf.local_ts_count = 1;
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 3 * TIME_MILLISECOND); /* keys have answered, the client has not */
    assert_int_equal(sim_live_sas(p.gateway), 0);
    const struct ike_event *gone = sim_event(p.gateway, IKE_EVENT_CHILD_DOWN);
    assert_non_null(gone);
    assert_non_null(strstr(gone->text, "configuration"));
    sim_run(p.sim, 60 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    assert_int_equal(sim_active(p.client)->child.remote_count, 1);
    assert_true(
        selector_equal(&sim_active(p.client)->child.remote_ts[0], &p.gateway->conf.local_ts[0]));
    assert_null(sim_event(p.client, IKE_EVENT_DOWN));
    pair_end(&p);
}

/* ---- a client */

/* What it wants through the tunnel changes: a new IKE SA first, then the old one goes. */
static void test_client_selectors(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    traffic(p.sim);
    p.client->conf.request_ip6 = false;
    p.client->conf.remote_ts[0] = ts("10.1.0.0/16");
    p.client->conf.remote_ts_count = 1;
    struct prefix pool;
    assert_true(prefix_parse("10.99.0.0/24", &pool));
    p.gateway->book = lease_book_create(&pool, 1, 100, &p.gateway->random);
    pair_up(&p);
    uint64_t tunnel = p.client->tunnel;
    p.client->conf.remote_ts[0] = ts("10.2.0.0/16");
    sim_log_clear(p.sim);
    assert_int_equal(sim_reload(p.client), 0);
    sim_run(p.sim, 10 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    assert_true(
        selector_equal(&sim_active(p.client)->child.remote_ts[0], &p.client->conf.remote_ts[0]));
    assert_int_equal(sim_active(p.client)->child.tunnel, tunnel);
    assert_null(sim_event(p.client, IKE_EVENT_DOWN));
    assert_int_equal(p.client->packets_lost + p.gateway->packets_lost, 0);
    assert_true(selector_equal(&p.client->net.remote_ts[0], &p.client->conf.remote_ts[0]));
    assert_true(p.client->net.more && p.client->net_downs == 0);
    struct lease_book *book = p.gateway->book;
    pair_end(&p);
    lease_book_free(book);
}

/* The gateway has nothing of what is wanted now: the old IKE SA goes on, and a reload mends it. */
static void test_client_selectors_refused(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    traffic(p.sim);
    p.client->conf.remote_ts[0] = ts("10.1.0.0/16");
    p.client->conf.remote_ts_count = 1;
    p.gateway->conf.local_ts[0] = ts("10.0.0.0/8");
    pair_up(&p);
    p.client->conf.remote_ts[0] = ts("172.16.0.0/16");
    assert_int_equal(sim_reload(p.client), 0);
    sim_run(p.sim, 70 * TIME_SECOND);
    assert_null(sim_event(p.client, IKE_EVENT_DOWN));
    assert_int_equal(sim_live_sas(p.client), 1);
    p.client->conf.remote_ts[0] = ts("10.2.0.0/16");
    assert_int_equal(sim_reload(p.client), 0);
    sim_run(p.sim, 70 * TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    assert_true(
        selector_equal(&sim_active(p.client)->child.remote_ts[0], &p.client->conf.remote_ts[0]));
    assert_null(sim_event(p.client, IKE_EVENT_DOWN));
    assert_int_equal(p.client->packets_lost + p.gateway->packets_lost, 0);
    pair_end(&p);
}

/* Fewer further children than before: tasks and children that name them by number find nothing. */
static void test_client_children(void **state)
{
    (void)state;
    for (time_us at = 0; at < 80 * TIME_MILLISECOND; at += 4 * TIME_MILLISECOND) {
        struct pair p = pair_make();
        struct conf_tunnel *c = &p.client->conf;
        c->remote_ts[0] = ts("10.1.0.0/16");
        c->remote_ts_count = 1;
        for (c->child_count = 0; c->child_count < 3; c->child_count++) {
            c->children[c->child_count].remote_ts[0] = ts("10.2.0.0/16");
            c->children[c->child_count].remote_ts_count = 1;
        }
        p.client->redial = p.gateway;
        pair_start(&p);
        sim_run(p.sim, at);
        memset(c->children, 0, sizeof(c->children));
        c->child_count = 0;
        assert_int_equal(sim_reload(p.client), 0);
        sim_run(p.sim, 60 * TIME_SECOND);
        sim_check_pair(p.sim, p.client, p.gateway);
        pair_end(&p);
    }
}

/* ---- certificates */

static void test_ca_removed(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    const struct sim_credential *g =
        sim_credential(0, "gateway.example.org", KEY_ED25519, CERT_FOR_GATEWAY, false);
    const struct sim_credential *c =
        sim_credential(0, "client.example.org", KEY_ED25519, CERT_FOR_CLIENT, false);
    sim_use_cert(p.gateway, g, sim_trust(0));
    sim_use_cert(p.client, c, sim_trust(0));
    pair_up(&p);
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    p.gateway->setup.trust = sim_trust(1);
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, TIME_SECOND);
    assert_int_equal(sim_event(p.gateway, IKE_EVENT_DOWN)->err, ERR_CERT_CHAIN);
    assert_int_equal(sim_live_sas(p.client) + sim_live_sas(p.gateway), 0);
    sim_initiate(p.client, p.gateway);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_int_equal(sim_live_sas(p.client) + sim_live_sas(p.gateway), 0);
    pair_end(&p);
}

/* ---- what a peer has from keys */

static void test_address_of_another(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    pair_up(&p);
    p.gateway->fixed4 = sim_active(p.gateway)->child.remote_ts[0].low;
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, TIME_SECOND);
    sim_check_pair(p.sim, p.client, p.gateway);
    p.gateway->fixed4.octets[3] ^= 0x80;
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, TIME_SECOND);
    const struct ike_event *down = sim_event(p.gateway, IKE_EVENT_DOWN);
    assert_int_equal(down->err, ERR_ADDRESS);
    assert_non_null(strstr(down->text, "configuration"));
    assert_int_equal(sim_live_sas(p.client) + sim_live_sas(p.gateway), 0);
    pair_end(&p);
}

static const char *site[4];
static uint8_t networks_of_site(struct sim_host *host, const struct identity *peer,
                                struct selector *out)
{
    (void)host;
    (void)peer;
    uint8_t n = 0;
    for (; n < 4 && site[n]; n++)
        out[n] = ts(site[n]);
    return n;
}

/* A network of a site comes: its route follows, nothing else happens. One goes: its child, too. */
static void test_site_networks(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    site[0] = "10.11.0.0/24";
    site[1] = NULL;
    p.gateway->networks_of = networks_of_site;
    p.client->conf.request_ip4 = p.client->conf.request_ip6 = false;
    p.client->conf.local_ts[0] = ts("10.11.0.0/24");
    p.client->conf.local_ts[1] = ts("10.12.0.0/24");
    p.client->conf.local_ts_count = 2;
    pair_up(&p);
    assert_int_equal(p.gateway->net.remote_count, 2); /* of the child, and of the site */
    site[1] = "10.12.0.0/24";
    sim_log_clear(p.sim);
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, TIME_SECOND);
    assert_int_equal(p.sim->log_count, 0);
    assert_int_equal(p.gateway->net.remote_count, 3);
    assert_int_equal(p.gateway->net_downs, 0);
    site[0] = "10.12.0.0/24";
    site[1] = NULL;
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_int_equal(p.gateway->net_downs, 1);
    sim_check_pair(p.sim, p.client, p.gateway);
    struct selector want = ts("10.12.0.0/24");
    assert_true(selector_equal(&sim_active(p.gateway)->child.remote_ts[0], &want));
    pair_end(&p);
}

/* ---- handshakes */

/* The question goes to the keys of now; what those of before say falls on the floor. */
static void test_question_asked_again(void **state)
{
    (void)state;
    for (int removed = 0; removed < 3; removed++) {
        struct pair p = quiet_pair();
        p.gateway->keys_silent = true;
        pair_start(&p);
        sim_run(p.sim, 200 * TIME_MILLISECOND);
        uint64_t ticket = p.gateway->last_ask->ticket;
        p.gateway->keys_silent = false;
        if (removed) /* those of before had let it in; what they leased is given back */
            p.gateway->leased[p.gateway->leases++] = p.gateway->last_ask->tunnel;
        if (removed == 1)
            p.gateway->away = p.client->conf.local_id;
        if (removed == 2)
            p.gateway->psk[0] = "another secret now";
        assert_int_equal(sim_reload(p.gateway), 0);
        assert_true(p.gateway->last_ask->ticket != ticket);
        assert_int_equal(p.gateway->last_ask->want & IKE_WANT_STAY, 0);
        struct ike_answer late = {.ticket = ticket, .auth_len = 32};
        ike_answer(p.gateway->engine, p.sim->now, &late);
        sim_drain(p.gateway);
        assert_int_equal(sim_live_sas(p.gateway), 0);
        sim_run(p.sim, 100 * TIME_MILLISECOND);
        assert_int_equal(sim_live_sas(p.gateway), removed ? 0 : 1);
        assert_int_equal(sim_live_sas(p.client), removed ? 0 : 1);
        assert_int_equal(p.gateway->leases, removed ? 0 : 1);
        assert_int_equal(p.gateway->stays, 0);
        pair_end(&p);
    }
}

/* One for whom there was no address stands without a lease, and is asked about like the others. */
static void test_removed_without_address(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    p.gateway->keys_silent = true;
    pair_start(&p);
    sim_run(p.sim, 200 * TIME_MILLISECOND);
    struct ike_answer answer = {
        .ticket = p.gateway->last_ask->ticket, .result = ERR_ADDRESS, .auth_len = 32};
    ike_answer(p.gateway->engine, p.sim->now, &answer);
    sim_drain(p.gateway);
    struct ike_usage usage;
    ike_usage(p.gateway->engine, &usage);
    assert_int_equal(usage.sas, 1);
    p.gateway->keys_silent = false;
    p.gateway->away = p.client->conf.local_id;
    assert_int_equal(sim_reload(p.gateway), 0);
    assert_int_equal(p.gateway->stays, 1);
    size_t sent = p.sim->log_count;
    sim_run(p.sim, 5 * TIME_MILLISECOND); /* by its own Delete, not by the client's */
    assert_true(p.sim->log_count > sent);
    pair_end(&p);
}

static void nothing(struct pair *p)
{
    assert_int_equal(sim_reload(p->gateway), 0);
    assert_int_equal(sim_reload(p->client), 0);
}

static void gateway_takes_the_other(struct pair *p)
{
    sim_proposals(p->gateway, "aes256-sha256-prfsha256-x25519", "aes256-sha256-x25519");
    assert_int_equal(sim_reload(p->gateway), 0);
}

static void client_takes_the_other(struct pair *p)
{
    sim_proposals(p->client, "aes256-sha256-prfsha256-x25519", "aes256-sha256-x25519");
    assert_int_equal(sim_reload(p->client), 0);
}

static void client_wants_another_network(struct pair *p)
{
    p->client->conf.remote_ts[0] = ts("10.0.0.0/9");
    assert_int_equal(sim_reload(p->client), 0);
}

static void gateway_has_fewer_networks(struct pair *p)
{
    p->gateway->conf.local_ts[0] = ts("10.0.0.0/9");
    assert_int_equal(sim_reload(p->gateway), 0);
}

static void there_and_back(struct pair *p)
{
    struct conf_tunnel was = p->gateway->conf;
    gateway_takes_the_other(p);
    sim_run(p->sim, 4 * TIME_MILLISECOND);
    p->gateway->conf = was;
    assert_int_equal(sim_reload(p->gateway), 0);
    was = p->client->conf;
    client_wants_another_network(p);
    p->client->conf = was;
    assert_int_equal(sim_reload(p->client), 0);
}

static void both_at_once(struct pair *p)
{
    gateway_takes_the_other(p);
    client_takes_the_other(p);
}

static void (*const changes[])(struct pair *p) = {
    nothing,        gateway_takes_the_other,      client_takes_the_other,
    both_at_once,   client_wants_another_network, gateway_has_fewer_networks,
    there_and_back,
};

static struct pair flexible_pair(uint64_t seed)
{
    struct pair p = pair_make_seeded(seed);
    two_suites(p.client);
    two_suites(p.gateway);
    p.client->redial = p.gateway;
    return p;
}

/* Both ends have what the configuration of now says. */
static void check_end(struct pair *p, void (*change)(struct pair *p))
{
    bool other = change == gateway_takes_the_other || change == client_takes_the_other ||
                 change == both_at_once;
    bool less = change == client_wants_another_network || change == gateway_has_fewer_networks;
    struct selector want = ts("10.0.0.0/9");
    sim_check_pair(p->sim, p->client, p->gateway);
    assert_int_equal(suite_of(p->gateway), other ? ENCR_AES_CBC : ENCR_AES_GCM_16);
    assert_int_equal(sim_active(p->client)->child.encr, other ? ENCR_AES_CBC : ENCR_AES_GCM_16);
    assert_int_equal(selector_equal(&sim_active(p->client)->child.remote_ts[0], &want), less);
}

/* In every moment of a handshake. */
static void test_during_handshake(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(changes); i++)
        for (time_us at = 0; at < 60 * TIME_MILLISECOND; at += 2 * TIME_MILLISECOND) {
            struct pair p = flexible_pair(at + i);
            pair_start(&p);
            sim_run(p.sim, at);
            changes[i](&p);
            sim_run(p.sim, 70 * TIME_SECOND);
            check_end(&p, changes[i]);
            pair_end(&p);
        }
}

/* In every moment of exchanges that one or both sides began, and not one packet is lost, but for
 * those to a network that is no longer there. */
static void test_during_exchanges(void **state)
{
    (void)state;
    static const uint32_t kinds[] = {0, IKE_REKEY_CHILD, IKE_REKEY_IKE, IKE_CHECK};
    for (size_t i = 0; i < ARRAY_LEN(changes); i++)
        for (unsigned k = 1; k < 16; k++)
            for (time_us at = 0; at < 50 * TIME_MILLISECOND; at += 3 * TIME_MILLISECOND) {
                struct pair p = flexible_pair(at + 16 * i + k);
                p.client->redial = NULL;
                traffic(p.sim);
                p.sim->traffic = TIME_SECOND / 50;
                pair_up(&p);
                p.sim->packets_may_be_lost = changes[i] == gateway_has_fewer_networks;
                if (k / 4)
                    assert_int_equal(sim_command(p.client, kinds[k / 4], 0), 0);
                if (k % 4)
                    assert_int_equal(sim_command(p.gateway, kinds[k % 4], 0), 0);
                sim_run(p.sim, at);
                changes[i](&p);
                sim_run(p.sim, 3 * TIME_SECOND);
                p.sim->traffic = 10 * TIME_SECOND;
                sim_run(p.sim, 70 * TIME_SECOND);
                check_end(&p, changes[i]);
                assert_null(sim_event(p.client, IKE_EVENT_DOWN));
                pair_end(&p);
            }
}

/* ---- found by random worlds */

static struct pair narrowing_pair(uint64_t seed)
{
    struct pair p = pair_make_seeded(seed);
    p.client->conf.request_ip6 = false;
    p.client->conf.remote_ts_count = 1;
    p.gateway->conf.local_ts[0] = ts("10.1.0.0/16");
    p.gateway->conf.local_ts[1] = ts("10.2.0.0/16");
    return p;
}

static void check_narrow(struct pair *p)
{
    struct selector want = ts("10.1.0.0/16");
    sim_check_pair(p->sim, p->client, p->gateway);
    assert_int_equal(sim_active(p->gateway)->child.local_count, 1);
    assert_true(selector_equal(&sim_active(p->gateway)->child.local_ts[0], &want));
}

/* A rekey stands in line before the Delete, and would bring all back. */
static void test_rekey_stands_before(void **state)
{
    (void)state;
    struct pair p = narrowing_pair(1);
    pair_up(&p);
    assert_int_equal(sim_command(p.gateway, IKE_CHECK, 0), 0);
    assert_int_equal(sim_command(p.gateway, IKE_REKEY_CHILD, 0), 0);
    p.gateway->conf.local_ts_count = 1;
    assert_int_equal(sim_reload(p.gateway), 0);
    assert_int_equal(sim_live_sas(p.gateway), 0);
    for (unsigned i = 0; i < 100; i++) {
        sim_run(p.sim, TIME_MILLISECOND);
        const struct sim_sa *sa = sim_active(p.gateway);
        assert_true(!sa || sa->child.local_count == 1);
    }
    check_narrow(&p);
    pair_end(&p);
}

/* The client asks for a child while the gateway does: one stays. */
static void test_both_ask(void **state)
{
    (void)state;
    for (unsigned at = 0; at < 40; at++)
        for (int first = 0; first < 2; first++) {
            struct pair p = narrowing_pair(at);
            pair_up(&p);
            p.gateway->conf.local_ts_count = 1;
            if (first)
                assert_int_equal(sim_command(p.client, IKE_CREATE_CHILD, 0), 0);
            else
                assert_int_equal(sim_reload(p.gateway), 0);
            sim_run(p.sim, at * TIME_MILLISECOND);
            if (first)
                assert_int_equal(sim_reload(p.gateway), 0);
            else
                assert_int_equal(sim_command(p.client, IKE_CREATE_CHILD, 0), 0);
            sim_run(p.sim, 40 * TIME_SECOND);
            check_narrow(&p);
            pair_end(&p);
        }
}

/* What was feigned in IKE_SA_INIT counts for both, also when the configuration feigns no more. */
static void test_feigned_nat(void **state)
{
    (void)state;
    for (unsigned at = 0; at < 60; at += 2) {
        struct pair p = pair_make_seeded(at);
        p.client->conf.encap = CONF_ENCAP_AUTO;
        p.client->redial = p.gateway;
        pair_start(&p);
        sim_run(p.sim, at * TIME_MILLISECOND);
        p.gateway->conf.encap = CONF_ENCAP_AUTO;
        assert_int_equal(sim_reload(p.gateway), 0);
        sim_run(p.sim, 5 * TIME_SECOND);
        sim_check_pair(p.sim, p.client, p.gateway);
        assert_int_equal(sim_active(p.client)->child.udp, sim_active(p.gateway)->child.udp);
        pair_end(&p);
    }
}

/* ---- many */

enum { MANY = 1000 };

static void test_many_are_paced(void **state)
{
    (void)state;
    struct pair p = quiet_pair();
    p.sim->keep_log = false;
    p.client->conf.max_tunnels = p.gateway->conf.max_tunnels = 2 * MANY;
    p.client->conf.ike_lifetime = p.client->conf.child_lifetime = 0;
    sim_start(p.client);
    sim_start(p.gateway);
    for (unsigned i = 0; i < MANY; i++) {
        (void)sim_initiate(p.client, p.gateway);
        sim_run(p.sim, 20 * TIME_MILLISECOND);
    }
    sim_run(p.sim, 3 * TIME_SECOND);
    assert_int_equal(p.gateway->leases, MANY);
    p.gateway->conf.dpd = 77;
    uint64_t sent = p.gateway->sent;
    assert_int_equal(sim_reload(p.gateway), 0);
    assert_int_equal(p.gateway->stays, IKE_STAYS); /* and no more in the first call */
    sim_run(p.sim, 20 * TIME_MILLISECOND);
    assert_int_equal(sim_reload(p.gateway), 0); /* again, in the middle */
    p.gateway->stays = p.gateway->stays_most = 0;
    sim_run(p.sim, TIME_SECOND);
    assert_in_range(p.gateway->stays, MANY - IKE_STAYS, MANY);
    assert_in_range(p.gateway->stays_most, 2, 2 * IKE_STAYS); /* those of before still answer */
    assert_int_equal(p.gateway->sent, sent);
    /* Who all rekey soon do so over a minute and more. */
    p.gateway->conf.child_lifetime = 300;
    sim_run(p.sim, 400 * TIME_SECOND);
    assert_int_equal(sim_reload(p.gateway), 0);
    size_t before = sim_events(p.gateway, IKE_EVENT_REKEYED_CHILD);
    sim_run(p.sim, 10 * TIME_SECOND);
    assert_in_range(sim_events(p.gateway, IKE_EVENT_REKEYED_CHILD) - before, 1, MANY / 4);
    sim_run(p.sim, 140 * TIME_SECOND);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_REKEYED_CHILD) - before, MANY);
    /* And all go. */
    p.gateway->away = p.client->conf.local_id;
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 2 * TIME_SECOND);
    assert_int_equal(sim_live_sas(p.gateway), 0);
    assert_int_equal(p.gateway->leases, 0);
    pair_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unchanged),
        cmocka_unit_test(test_refused_reload),
        cmocka_unit_test(test_client_removed),
        cmocka_unit_test(test_keys_silent),
        cmocka_unit_test(test_suite_forbidden),
        cmocka_unit_test(test_no_suite_left),
        cmocka_unit_test(test_shorter_life),
        cmocka_unit_test(test_longer_life),
        cmocka_unit_test(test_network_removed),
        cmocka_unit_test(test_client_selectors),
        cmocka_unit_test(test_client_selectors_refused),
        cmocka_unit_test(test_client_children),
        cmocka_unit_test(test_ca_removed),
        cmocka_unit_test(test_address_of_another),
        cmocka_unit_test(test_site_networks),
        cmocka_unit_test(test_question_asked_again),
        cmocka_unit_test(test_removed_without_address),
        cmocka_unit_test(test_during_handshake),
        cmocka_unit_test(test_during_exchanges),
        cmocka_unit_test(test_rekey_stands_before),
        cmocka_unit_test(test_both_ask),
        cmocka_unit_test(test_feigned_nat),
        cmocka_unit_test(test_many_are_paced),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
