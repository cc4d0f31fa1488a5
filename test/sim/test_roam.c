/* Roaming: MOBIKE (RFC 4555) as client and gateway, NATs that forget, and peers that move without
 * MOBIKE (RFC 7296 2.23). */
#include "pair.h"

/* A laptop with wifi behind one NAT and mobile behind another; the gateway has both families. */
static struct pair roaming(void)
{
    struct pair p = pair_make();
    sim_uplink(p.client, "192.168.1.7", "198.51.100.9");
    sim_uplink(p.client, "10.64.0.7", "203.0.113.77");
    sim_uplink(p.client, "2001:db8:c::7", NULL);
    sim_uplink(p.gateway, "192.0.2.1", NULL);
    sim_uplink(p.gateway, "2001:db8:9::1", NULL);
    p.client->uplinks[1].down = p.client->uplinks[2].down = true;
    p.client->uplinks[1].nat_shift = 20000;
    p.client->conf.encap = p.gateway->conf.encap = CONF_ENCAP_AUTO;
    p.client->conf.idle_check = p.gateway->conf.idle_check = 3600;
    p.sim->packets_take_paths = true;
    return p;
}

static void up(struct pair *p)
{
    sim_start(p->client);
    sim_start(p->gateway);
    sim_addresses(p->gateway, NULL);
    sim_addresses(p->client, p->gateway);
    sim_initiate(p->client, p->gateway);
    assert_true(sim_until(p->sim, sim_settled, 5 * TIME_SECOND));
}

static struct ike_status status_of(const struct sim_host *host)
{
    struct sim_view view;
    sim_view(host, &view);
    assert_int_equal(view.established, 1);
    return view.last;
}

static void change(struct pair *p, size_t down, size_t goes_up)
{
    p->client->uplinks[down].down = true;
    p->client->uplinks[goes_up].down = false;
    sim_addresses(p->client, p->gateway);
}

static const struct sim_datagram *last_info(const struct pair *p, bool response)
{
    const struct sim_datagram *last = NULL;
    for (const struct sim_datagram *d = p->sim->log; d; d = d->next)
        if (d->len > 28 && d->octets[18] == EXCHANGE_INFORMATIONAL &&
            !!(d->octets[19] & FLAG_RESPONSE) == response)
            last = d;
    return last;
}

/* Both ends of the child are on that uplink of the client. */
static void expect_on(const struct pair *p, size_t uplink, const char *gateway_ip)
{
    const struct sim_uplink *u = &p->client->uplinks[uplink];
    const struct ike_child *client = pair_child(p->client), *gateway = pair_child(p->gateway);
    struct ip there;
    assert_true(ip_parse(gateway_ip, &there));
    assert_true(ip_equal(&client->path.local.ip, &u->ip));
    assert_true(ip_equal(&client->path.remote.ip, &there));
    assert_true(ip_equal(&gateway->path.local.ip, &there));
    assert_true(ip_equal(&gateway->path.remote.ip, u->nat_ip.family ? &u->nat_ip : &u->ip));
    assert_int_equal(client->udp, gateway->udp);
    assert_int_equal(client->udp, u->nat_ip.family != 0);
    struct ike_status s = status_of(p->client);
    assert_true(ip_equal(&s.path.local.ip, &u->ip));
}

/* Both say so, and begin on port 4500 where there is no NAT. */
static void test_agreed(void **state)
{
    (void)state;
    struct pair p = roaming();
    p.client->uplinks[0].nat_ip.family = 0;
    p.client->uplinks[0].nat_shift = 0;
    up(&p);
    assert_true(status_of(p.client).mobike && status_of(p.gateway).mobike);
    assert_int_equal(status_of(p.gateway).path.remote.port, 4500);
    assert_false(pair_child(p.client)->udp || pair_child(p.gateway)->udp);
    pair_end(&p);
}

static void test_not_agreed(void **state)
{
    (void)state;
    for (int who = 0; who < 2; who++) {
        struct pair p = roaming();
        (who ? p.client : p.gateway)->conf.roam = false;
        up(&p);
        assert_false(status_of(p.client).mobike || status_of(p.gateway).mobike);
        pair_end(&p);
    }
}

/* Wifi lost, mobile there: the request goes at once, traffic upwards too, and downwards when the
 * new place has answered the gateway's cookie. States are looked at between the messages. */
static void test_wifi_to_mobile(void **state)
{
    (void)state;
    struct pair p = roaming();
    up(&p);
    sim_run(p.sim, 3 * TIME_SECOND);
    expect_on(&p, 0, "192.0.2.1");
    p.sim->link.delay_min = p.sim->link.delay_max = 50 * TIME_MILLISECOND;
    unsigned client_moves = p.client->esp_moves, gateway_moves = p.gateway->esp_moves;
    sim_log_clear(p.sim);
    change(&p, 0, 1);
    assert_int_equal(p.client->esp_moves, client_moves + 1);
    assert_true(ip_equal(&pair_child(p.client)->path.local.ip, &p.client->uplinks[1].ip));
    assert_true(pair_child(p.client)->udp);
    assert_int_equal(p.sim->log_count, 1); /* UPDATE_SA_ADDRESSES is on its way */

    sim_run(p.sim, 60 * TIME_MILLISECOND); /* it is there: IKE has moved, traffic not */
    assert_int_equal(p.sim->log_count, 3); /* the answer, and COOKIE2 */
    struct ike_status s = status_of(p.gateway);
    assert_true(ip_equal(&s.path.remote.ip, &p.client->uplinks[1].nat_ip));
    assert_int_equal(p.gateway->esp_moves, gateway_moves);
    assert_true(ip_equal(&pair_child(p.gateway)->path.remote.ip, &p.client->uplinks[0].nat_ip));

    sim_run(p.sim, 50 * TIME_MILLISECOND); /* the client has the answer and COOKIE2, and answers */
    assert_int_equal(p.sim->log_count, 4);
    assert_int_equal(p.gateway->esp_moves, gateway_moves);

    sim_run(p.sim, 50 * TIME_MILLISECOND);
    assert_int_equal(p.gateway->esp_moves, gateway_moves + 1);
    expect_on(&p, 1, "192.0.2.1");
    assert_int_equal(pair_child(p.gateway)->path.remote.port, 24500);
    sim_run(p.sim, 5 * TIME_SECOND);
    assert_int_equal(p.sim->log_count, 4);
    sim_check_pair(p.sim, p.client, p.gateway);
    assert_int_equal(sim_events(p.client, IKE_EVENT_DOWN), 0);

    change(&p, 1, 0);
    sim_run(p.sim, TIME_SECOND);
    expect_on(&p, 0, "192.0.2.1");
    pair_end(&p);
}

/* Both uplinks are there: the second one is asked once, and has answered the gateway's cookie
 * before it is needed. Then traffic is back after one round trip. */
static void test_standby(void **state)
{
    (void)state;
    struct pair p = roaming();
    p.client->uplinks[1].down = false;
    up(&p);
    p.sim->link.delay_min = p.sim->link.delay_max = 50 * TIME_MILLISECOND;
    sim_run(p.sim, 3 * TIME_SECOND);
    expect_on(&p, 0, "192.0.2.1"); /* to be asked moves nothing */
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_MOVED), 0);
    sim_log_clear(p.sim);
    sim_run(p.sim, 5 * TIME_SECOND);
    assert_int_equal(p.sim->log_count, 0); /* once is enough */

    unsigned gateway_moves = p.gateway->esp_moves;
    p.client->uplinks[0].down = true;
    sim_addresses(p.client, p.gateway);
    sim_run(p.sim, 60 * TIME_MILLISECOND); /* the update is there, its answer is not */
    assert_int_equal(p.gateway->esp_moves, gateway_moves + 1);
    expect_on(&p, 1, "192.0.2.1");
    assert_int_equal(p.sim->log_count, 3); /* it, the answer, and COOKIE2 all the same */
    sim_run(p.sim, TIME_SECOND);
    assert_int_equal(sim_events(p.gateway, IKE_EVENT_MOVED), 1);
    expect_on(&p, 1, "192.0.2.1");
    sim_check_pair(p.sim, p.client, p.gateway);

    /* Wifi has been in use, and is as good. */
    p.client->uplinks[0].down = false;
    p.client->uplinks[1].down = true;
    gateway_moves = p.gateway->esp_moves;
    sim_addresses(p.client, p.gateway);
    sim_run(p.sim, 60 * TIME_MILLISECOND);
    assert_int_equal(p.gateway->esp_moves, gateway_moves + 1);
    expect_on(&p, 0, "192.0.2.1");

    /* Not for ever. */
    sim_run(p.sim, 3700 * TIME_SECOND);
    change(&p, 0, 1);
    sim_run(p.sim, 60 * TIME_MILLISECOND);
    assert_true(ip_equal(&pair_child(p.gateway)->path.remote.ip, &p.client->uplinks[0].nat_ip));
    sim_run(p.sim, TIME_SECOND);
    expect_on(&p, 1, "192.0.2.1");
    pair_end(&p);
}

static struct ip deaf;
static enum sim_fate nothing_arrives(struct sim *sim, struct sim_datagram *d)
{
    (void)sim;
    return ip_equal(&d->to.ip, &deaf) ? SIM_DROP : SIM_PASS;
}

/* An address that answered an hour ago and is now somebody else's: three seconds, and no more. */
static void test_standby_is_deaf(void **state)
{
    (void)state;
    struct pair p = roaming();
    p.client->uplinks[1].down = false;
    up(&p);
    sim_run(p.sim, 3 * TIME_SECOND);
    deaf = p.client->uplinks[1].nat_ip;
    p.sim->filter = nothing_arrives;
    p.client->uplinks[0].down = true;
    sim_addresses(p.client, p.gateway);
    sim_run(p.sim, TIME_SECOND);
    assert_true(ip_equal(&pair_child(p.gateway)->path.remote.ip, &deaf));
    sim_run(p.sim, 4 * TIME_SECOND);
    assert_false(ip_equal(&pair_child(p.gateway)->path.remote.ip, &deaf));
    p.sim->filter = NULL;
    sim_run(p.sim, 20 * TIME_SECOND);
    expect_on(&p, 1, "192.0.2.1");
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* A standby that leads nowhere holds nothing up for long, and least of all a move. */
static void test_standby_leads_nowhere(void **state)
{
    (void)state;
    struct pair p = roaming();
    p.client->uplinks[1].down = p.client->uplinks[2].down = false;
    deaf = p.client->uplinks[1].nat_ip;
    p.sim->filter = nothing_arrives;
    up(&p);
    sim_run(p.sim, 200 * TIME_MILLISECOND);
    p.client->uplinks[0].down = true;
    sim_addresses(p.client, p.gateway);
    sim_run(p.sim, 2 * TIME_SECOND);
    expect_on(&p, 2, "2001:db8:9::1");
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* NAT on one path and not on the other, IPv4 to IPv6 and back: encapsulation follows. */
static void test_to_ip6_and_back(void **state)
{
    (void)state;
    struct pair p = roaming();
    up(&p);
    assert_true(pair_child(p.client)->udp);
    change(&p, 0, 2);
    sim_run(p.sim, TIME_SECOND);
    expect_on(&p, 2, "2001:db8:9::1");
    assert_false(status_of(p.gateway).nat_remote || status_of(p.client).nat_local);
    change(&p, 2, 0);
    sim_run(p.sim, TIME_SECOND);
    expect_on(&p, 0, "192.0.2.1");
    assert_true(status_of(p.gateway).nat_remote && status_of(p.client).nat_local);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* The gateway's other address is known from the gateway alone. */
static void test_told_addresses(void **state)
{
    (void)state;
    struct pair p = roaming();
    sim_start(p.client);
    sim_start(p.gateway);
    sim_addresses(p.gateway, NULL);
    sim_addresses(p.client, NULL);
    sim_initiate(p.client, p.gateway);
    assert_true(sim_until(p.sim, sim_settled, 5 * TIME_SECOND));
    p.client->uplinks[0].down = true;
    p.client->uplinks[2].down = false;
    sim_addresses(p.client, NULL);
    sim_run(p.sim, TIME_SECOND);
    expect_on(&p, 2, "2001:db8:9::1");
    pair_end(&p);
}

/* And when it changes later: now it has IPv6. */
static void test_told_later(void **state)
{
    (void)state;
    struct pair p = roaming();
    p.gateway->uplinks[1].down = true;
    sim_start(p.client);
    sim_start(p.gateway);
    sim_addresses(p.gateway, NULL);
    sim_addresses(p.client, NULL);
    sim_initiate(p.client, p.gateway);
    assert_true(sim_until(p.sim, sim_settled, 5 * TIME_SECOND));
    p.gateway->uplinks[1].down = false;
    sim_addresses(p.gateway, NULL);
    sim_run(p.sim, TIME_SECOND);
    p.client->uplinks[0].down = true;
    p.client->uplinks[2].down = false;
    sim_addresses(p.client, NULL);
    sim_run(p.sim, TIME_SECOND);
    expect_on(&p, 2, "2001:db8:9::1");
    pair_end(&p);
}

/* The gateway loses the address that is in use: it says so from another one, and goes on sending
 * from there; the client's update follows. */
static void test_gateway_moves(void **state)
{
    (void)state;
    for (int nat = 0; nat < 2; nat++) {
        struct pair p = roaming();
        sim_uplink(p.gateway, "192.0.2.200", NULL);
        if (!nat) {
            p.client->uplinks[0].nat_ip.family = 0;
            p.client->uplinks[0].nat_shift = 0;
        }
        up(&p);
        sim_run(p.sim, TIME_SECOND);
        expect_on(&p, 0, "192.0.2.1");
        p.sim->link.delay_min = p.sim->link.delay_max = 50 * TIME_MILLISECOND;
        unsigned gateway_moves = p.gateway->esp_moves, client_moves = p.client->esp_moves;
        p.gateway->uplinks[0].down = true;
        sim_addresses(p.gateway, NULL);
        assert_int_equal(p.gateway->esp_moves, gateway_moves + 1);
        sim_run(p.sim, 110 * TIME_MILLISECOND);
        assert_true(p.client->esp_moves > client_moves);
        sim_run(p.sim, TIME_SECOND);
        expect_on(&p, 0, "192.0.2.200");
        sim_check_pair(p.sim, p.client, p.gateway);
        pair_end(&p);
    }
}

/* A gateway with more addresses than can be told: one that is not in the list is not gone. */
static void test_gateway_of_many(void **state)
{
    struct pair p = roaming();
    struct ike_command command = {.kind = IKE_ADDRESSES, .addresses = {.more = true}};
    struct ike_addresses *a = &command.addresses;
    (void)state;
    up(&p);
    a->local_count = 1;
    a->local[0].at.port = 4500;
    assert_true(ip_parse("192.0.2.200", &a->local[0].at.ip));
    unsigned moves = p.gateway->esp_moves;
    assert_int_equal(ike_command(p.gateway->engine, p.sim->now, &command, NULL), 0);
    sim_drain(p.gateway);
    sim_run(p.sim, TIME_SECOND);
    assert_int_equal(p.gateway->esp_moves, moves);
    expect_on(&p, 0, "192.0.2.1");
    pair_end(&p);
}

/* One copy of the update comes over the gateway's second address, and its answer is lost; the next
 * copy comes over the first, and that is where the client takes its place to be. */
static bool second_has_it;
static enum sim_fate scattered(struct sim *sim, struct sim_datagram *d)
{
    struct ip second;
    assert_true(ip_parse("192.0.2.200", &second));
    bool client = d->sender == sim->hosts[0], response = d->octets[19] & FLAG_RESPONSE;
    if (client && ip_equal(&d->to.ip, &second)) {
        second_has_it = true;
        return SIM_PASS;
    }
    if (client)
        return second_has_it || response ? SIM_PASS : SIM_DROP;
    return response && ip_equal(&d->from.ip, &second) ? SIM_DROP : SIM_PASS;
}

static void test_scattered_update(void **state)
{
    (void)state;
    struct pair p = roaming();
    sim_uplink(p.gateway, "192.0.2.200", NULL);
    up(&p);
    sim_run(p.sim, TIME_SECOND);
    second_has_it = false;
    p.sim->filter = scattered;
    change(&p, 0, 1);
    sim_run(p.sim, 3 * TIME_SECOND);
    p.sim->filter = NULL;
    sim_run(p.sim, 5 * TIME_SECOND);
    assert_true(second_has_it);
    expect_on(&p, 1, "192.0.2.1");
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

static struct ip quiet_nat;
static enum sim_fate no_wifi(struct sim *sim, struct sim_datagram *d)
{
    (void)sim;
    return ip_equal(&d->from.ip, &quiet_nat) || ip_equal(&d->to.ip, &quiet_nat) ? SIM_DROP
                                                                                : SIM_PASS;
}

/* The interface looks well and leads nowhere: the next request finds the other one. */
static void test_dead_uplink(void **state)
{
    (void)state;
    struct pair p = roaming();
    p.client->uplinks[1].down = false;
    up(&p);
    sim_run(p.sim, TIME_SECOND);
    expect_on(&p, 0, "192.0.2.1");
    quiet_nat = p.client->uplinks[0].nat_ip;
    p.sim->filter = no_wifi;
    time_us began = p.sim->now;
    assert_int_equal(sim_command(p.client, IKE_CHECK, 0), 0);
    while (p.client->esp_moves == 0 && p.sim->now < began + 10 * TIME_SECOND)
        (void)sim_step(p.sim, p.sim->now + TIME_SECOND);
    assert_true(p.sim->now - began < 2500 * TIME_MILLISECOND);
    sim_run(p.sim, TIME_SECOND);
    expect_on(&p, 1, "192.0.2.1");
    pair_end(&p);
}

/* Wifi comes back but leads nowhere: we stay where we are, and try again later. */
static void test_captive_wifi(void **state)
{
    (void)state;
    struct pair p = roaming();
    up(&p);
    change(&p, 0, 1);
    sim_run(p.sim, TIME_SECOND);
    expect_on(&p, 1, "192.0.2.1");
    quiet_nat = p.client->uplinks[0].nat_ip;
    p.sim->filter = no_wifi;
    p.client->uplinks[0].down = false;
    unsigned moves = p.client->esp_moves;
    sim_addresses(p.client, p.gateway);
    sim_run(p.sim, 8 * TIME_SECOND);
    assert_int_equal(p.client->esp_moves, moves);
    expect_on(&p, 1, "192.0.2.1");
    p.sim->filter = NULL;
    sim_run(p.sim, 30 * TIME_SECOND);
    expect_on(&p, 0, "192.0.2.1");
    pair_end(&p);
}

/* A request is out when the address changes: it is repeated over the new path, and the update
 * follows as soon as the window is free. */
static void test_change_during_exchange(void **state)
{
    (void)state;
    struct pair p = roaming();
    up(&p);
    sim_run(p.sim, TIME_SECOND);
    assert_int_equal(sim_command(p.client, IKE_REKEY_CHILD, 0), 0);
    change(&p, 0, 1);
    sim_run(p.sim, 2 * TIME_SECOND);
    expect_on(&p, 1, "192.0.2.1");
    sim_check_pair(p.sim, p.client, p.gateway);
    assert_int_equal(status_of(p.client).rekeys_child, 1);
    /* Again and again, faster than an answer can come. */
    for (int i = 0; i < 6; i++) {
        change(&p, i % 2 ? 0 : 1, i % 2 ? 1 : 0);
        sim_run(p.sim, 7 * TIME_MILLISECOND);
    }
    sim_run(p.sim, 3 * TIME_SECOND);
    expect_on(&p, 1, "192.0.2.1");
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* The gateway rekeys the IKE SA while our update is out. */
static void test_rekey_meanwhile(void **state)
{
    (void)state;
    struct pair p = roaming();
    up(&p);
    sim_run(p.sim, TIME_SECOND);
    assert_int_equal(sim_command(p.gateway, IKE_REKEY_IKE, 0), 0);
    sim_run(p.sim, 3 * TIME_MILLISECOND);
    change(&p, 0, 1);
    sim_run(p.sim, 70 * TIME_SECOND);
    expect_on(&p, 1, "192.0.2.1");
    sim_check_pair(p.sim, p.client, p.gateway);
    change(&p, 1, 0);
    sim_run(p.sim, TIME_SECOND);
    expect_on(&p, 0, "192.0.2.1");
    pair_end(&p);
}

/* Somebody on the way copies the update to the gateway under another source and is faster: traffic
 * must not go there (attacks.md row 12). */
static struct endpoint thief;
static enum sim_fate forge(struct sim *sim, struct sim_datagram *d)
{
    struct ip mobile;
    assert_true(ip_parse("203.0.113.77", &mobile));
    if (thief.port && ip_equal(&d->from.ip, &mobile) && d->octets[18] == EXCHANGE_INFORMATIONAL &&
        !(d->octets[19] & FLAG_RESPONSE)) {
        struct endpoint from = thief;
        thief.port = 0;
        time_us min = sim->link.delay_min, max = sim->link.delay_max;
        sim->link.delay_min = sim->link.delay_max = TIME_MILLISECOND;
        sim_inject(sim, &from, &d->to, (struct bytes){d->octets, d->len});
        sim->link.delay_min = min;
        sim->link.delay_max = max;
    }
    return SIM_PASS;
}

static void test_forged_source(void **state)
{
    (void)state;
    struct pair p = roaming();
    up(&p);
    sim_run(p.sim, TIME_SECOND);
    assert_true(ip_parse("233.252.0.66", &thief.ip));
    struct ip victim = thief.ip;
    thief.port = 4500;
    p.sim->filter = forge;
    p.client->uplinks[0].nat_life = 0;
    change(&p, 0, 1);
    for (int i = 0; i < 400; i++) {
        sim_run(p.sim, 50 * TIME_MILLISECOND);
        assert_false(ip_equal(&pair_child(p.gateway)->path.remote.ip, &victim));
    }
    assert_int_equal(thief.port, 0);
    assert_int_equal(status_of(p.client).mobike, 1);
    pair_end(&p);
}

/* No address at all for ten minutes: the tunnel waits and goes on. */
static void test_offline(void **state)
{
    (void)state;
    struct pair p = roaming();
    p.gateway->conf.dpd = 0;
    up(&p);
    p.client->uplinks[0].down = true;
    sim_addresses(p.client, p.gateway);
    sim_run(p.sim, 600 * TIME_SECOND);
    assert_int_equal(sim_events(p.client, IKE_EVENT_DOWN), 0);
    p.client->uplinks[0].down = false;
    sim_addresses(p.client, p.gateway);
    sim_run(p.sim, 2 * TIME_SECOND);
    expect_on(&p, 0, "192.0.2.1");
    change(&p, 0, 1);
    sim_run(p.sim, 2 * TIME_SECOND);
    expect_on(&p, 1, "192.0.2.1");
    pair_end(&p);
}

static size_t count_sent(const struct pair *p, size_t *keepalives)
{
    size_t by_client = 0;
    *keepalives = 0;
    for (const struct sim_datagram *d = p->sim->log; d; d = d->next) {
        *keepalives += d->len == 1;
        by_client += d->sender == p->client;
    }
    return by_client;
}

/* What the client sends in an idle hour, after an hour and a half of learning; and whether the
 * gateway could have reached it at each moment of that hour. */
static size_t idle_hour(struct pair *p, const char *what)
{
    struct sim_uplink *wifi = &p->client->uplinks[0];
    sim_run(p->sim, 5400 * TIME_SECOND);
    sim_log_clear(p->sim);
    for (int i = 0; i < 3600; i++) {
        sim_run(p->sim, TIME_SECOND);
        assert_true(wifi->nat_life == 0 || p->sim->now <= wifi->nat_used + wifi->nat_life);
    }
    size_t keepalives, all = count_sent(p, &keepalives);
    printf("idle hour, %s: the client sent %zu packets, %zu of them keepalives\n", what, all,
           keepalives);
    return all;
}

/* A NAT that forgets after two minutes: one packet in each 119 s and the answer to one look,
 * whether it gives new ports or the same ones. 3600 / 120 is 30, so there is no less. */
static void test_idle_hour(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct pair p = roaming();
        p.client->uplinks[0].nat_life = 120 * TIME_SECOND;
        p.client->uplinks[0].nat_keeps = keeps;
        up(&p);
        assert_in_range(idle_hour(&p, keeps ? "120 s, same port" : "120 s, new ports"), 30, 34);
        assert_in_range(status_of(p.gateway).path.remote.port, 14500, 14500 + 1 - keeps);
        pair_end(&p);
    }
}

/* What lives longer is kept with less. */
static void test_long_mapping(void **state)
{
    (void)state;
    struct pair p = roaming();
    p.client->uplinks[0].nat_life = 1000 * TIME_SECOND;
    up(&p);
    sim_run(p.sim, 7200 * TIME_SECOND);
    assert_in_range(idle_hour(&p, "1000 s"), 12, 15);
    assert_int_equal(status_of(p.gateway).path.remote.port, 14500); /* never lost */
    pair_end(&p);
}

/* And one that forgets after a minute is not believed to remember for longer, though its ports stay
 * the same. */
static void test_short_mapping(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct pair p = roaming();
        p.client->uplinks[0].nat_life = 57 * TIME_SECOND;
        p.client->uplinks[0].nat_keeps = keeps;
        up(&p);
        size_t all = idle_hour(&p, keeps ? "57 s, same port" : "57 s, new ports");
        assert_in_range(all, 3600 / 57, 3600 / (57 - 15) + 2);
        uint16_t port = status_of(p.gateway).path.remote.port;
        assert_int_equal(port, 14500 + 1 - keeps); /* lost once, for less than a step and 3 s */
        assert_int_equal(pair_child(p.gateway)->path.remote.port, port);
        pair_end(&p);
    }
}

/* The NAT changes its mind: noticed within an hour, and learnt anew. */
static void test_mapping_gets_shorter(void **state)
{
    (void)state;
    struct pair p = roaming();
    p.client->uplinks[0].nat_life = 150 * TIME_SECOND;
    p.client->uplinks[0].nat_keeps = true;
    up(&p);
    sim_run(p.sim, 3600 * TIME_SECOND);
    p.client->uplinks[0].nat_life = 57 * TIME_SECOND;
    sim_run(p.sim, 3600 * TIME_SECOND);
    (void)idle_hour(&p, "150 s, then 57 s");
    pair_end(&p);
}

/* Other traffic keeps the mapping by itself. */
static void test_busy_hour(void **state)
{
    (void)state;
    struct pair p = roaming();
    p.client->uplinks[0].nat_life = 120 * TIME_SECOND;
    up(&p);
    p.sim->traffic = 10 * TIME_SECOND;
    sim_plane_traffic(p.sim);
    sim_log_clear(p.sim);
    sim_run(p.sim, 1800 * TIME_SECOND);
    assert_int_equal(p.sim->log_count, 0);
    pair_end(&p);
}

/* Without MOBIKE: the mapping changes, and ESP alone makes the gateway follow. */
static void test_follow_esp(void **state)
{
    (void)state;
    struct pair p = roaming();
    p.gateway->conf.roam = false;
    up(&p);
    p.client->conf.keepalive = 0;
    p.client->uplinks[0].nat_shift = 30000;
    p.sim->traffic = TIME_SECOND;
    sim_plane_traffic(p.sim);
    sim_run(p.sim, 3 * TIME_SECOND);
    assert_int_equal(pair_child(p.gateway)->path.remote.port, 34500);
    assert_int_equal(status_of(p.gateway).path.remote.port, 34500);
    p.sim->traffic = 0;
    pair_end(&p);
}

/* With MOBIKE it is asked first, then followed. */
static void test_follow_esp_checked(void **state)
{
    (void)state;
    struct pair p = roaming();
    up(&p);
    p.client->conf.keepalive = 0;
    sim_run(p.sim, 3 * TIME_SECOND);
    p.client->uplinks[0].nat_shift = 30000;
    sim_log_clear(p.sim);
    p.sim->traffic = TIME_SECOND;
    sim_plane_traffic(p.sim);
    sim_run(p.sim, 3 * TIME_SECOND);
    assert_int_equal(pair_child(p.gateway)->path.remote.port, 34500);
    assert_non_null(last_info(&p, true));
    p.sim->traffic = 0;
    pair_end(&p);
}

/* Without MOBIKE and with a new address: a gateway that takes us for a host behind NAT follows. */
static void test_move_without_mobike(void **state)
{
    (void)state;
    struct pair p = roaming();
    p.gateway->conf.roam = false;
    up(&p);
    change(&p, 0, 1);
    sim_run(p.sim, 3 * TIME_SECOND);
    expect_on(&p, 1, "192.0.2.1");
    pair_end(&p);
}

/* And where it does not, the tunnel ends at once, to be made anew. */
static void test_anew_without_mobike(void **state)
{
    (void)state;
    struct pair p = roaming();
    p.gateway->conf.roam = false;
    p.client->uplinks[0].nat_ip.family = 0;
    p.client->uplinks[0].nat_shift = 0;
    up(&p);
    change(&p, 0, 1);
    assert_int_equal(sim_events(p.client, IKE_EVENT_DOWN), 1);
    assert_int_equal(sim_command(p.gateway, IKE_DELETE, 0), 0); /* it has not been told */
    pair_end(&p);
}

/* The gateway does not take a place that is inside its own tunnel: the client goes to the next one,
 * and without one the tunnel stays as it is (RFC 4555 3.5). */
static void test_unacceptable(void **state)
{
    (void)state;
    for (int more = 0; more < 2; more++) {
        struct pair p = roaming();
        up(&p);
        sim_run(p.sim, TIME_SECOND);
        p.client->uplinks[1].nat_ip = status_of(p.client).ip4;
        p.client->uplinks[2].down = !more;
        unsigned moves = p.gateway->esp_moves;
        change(&p, 0, 1);
        sim_run(p.sim, 2 * TIME_SECOND);
        if (more)
            expect_on(&p, 2, "2001:db8:9::1");
        else
            assert_int_equal(p.gateway->esp_moves, moves);
        assert_int_equal(sim_events(p.client, IKE_EVENT_DOWN), 0);
        change(&p, 1, 0);
        sim_run(p.sim, 2 * TIME_SECOND);
        expect_on(&p, 0, "192.0.2.1");
        sim_check_pair(p.sim, p.client, p.gateway);
        pair_end(&p);
    }
}

/* A second of what the client's data plane may say after a move. */
static void say(struct pair *p, enum ike_fact_kind kind)
{
    struct ike_fact fact = {.kind = kind,
                            .spi_in = pair_child(p->client)->spi_in,
                            .tunnel = status_of(p->client).tunnel};
    ike_fact(p->client->engine, p->sim->now, &fact);
    sim_drain(p->client);
    sim_run(p->sim, TIME_SECOND);
}

/* The gateway agrees to the move, and its child SAs stay where they were. */
static void test_children_stay_behind(void **state)
{
    (void)state;
    struct pair p = roaming();
    up(&p);
    uint64_t spi = status_of(p.client).spi_i;
    say(&p, IKE_FACT_SENT); /* one way only, and not after a move */
    for (int i = 0; i < 10; i++)
        say(&p, IKE_FACT_SENT);
    assert_int_equal(status_of(p.client).spi_i, spi);
    change(&p, 0, 1);
    sim_run(p.sim, TIME_SECOND / 2);
    say(&p, IKE_FACT_HEARD); /* what came before the move */
    for (int i = 0; i < 3; i++)
        say(&p, IKE_FACT_SENT);
    assert_int_equal(status_of(p.client).spi_i, spi);
    for (int i = 0; i < 3; i++)
        say(&p, IKE_FACT_SENT);
    assert_true(sim_until(p.sim, sim_settled, 10 * TIME_SECOND));
    assert_int_not_equal(status_of(p.client).spi_i, spi);
    expect_on(&p, 1, "192.0.2.1");
    spi = status_of(p.client).spi_i;
    for (int i = 0; i < 20; i++) /* once a move */
        say(&p, IKE_FACT_SENT);
    assert_int_equal(status_of(p.client).spi_i, spi);
    pair_end(&p);
}

/* They follow: what is sent and not answered later is the peer's affair. */
static void test_children_follow(void **state)
{
    (void)state;
    struct pair p = roaming();
    up(&p);
    uint64_t spi = status_of(p.client).spi_i;
    change(&p, 0, 1);
    sim_run(p.sim, 3 * TIME_SECOND);
    say(&p, IKE_FACT_SENT);
    say(&p, IKE_FACT_HEARD);
    for (int i = 0; i < 20; i++)
        say(&p, IKE_FACT_SENT);
    assert_int_equal(status_of(p.client).spi_i, spi);
    pair_end(&p);
}

/* refuse-nat: wifi without NAT, then mobile with one (RFC 4555 3.9). */
static void test_no_nats_allowed(void **state)
{
    (void)state;
    struct pair p = roaming();
    p.client->uplinks[0].nat_ip.family = 0;
    p.client->uplinks[0].nat_shift = 0;
    p.client->conf.refuse_nat = true;
    up(&p);
    change(&p, 0, 1);
    sim_run(p.sim, TIME_SECOND);
    assert_non_null(sim_event(p.client, IKE_EVENT_DOWN));
    assert_int_equal(sim_event(p.client, IKE_EVENT_DOWN)->notify, NOTIFY_UNEXPECTED_NAT_DETECTED);
    pair_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agreed),
        cmocka_unit_test(test_not_agreed),
        cmocka_unit_test(test_wifi_to_mobile),
        cmocka_unit_test(test_standby),
        cmocka_unit_test(test_standby_is_deaf),
        cmocka_unit_test(test_standby_leads_nowhere),
        cmocka_unit_test(test_to_ip6_and_back),
        cmocka_unit_test(test_told_addresses),
        cmocka_unit_test(test_told_later),
        cmocka_unit_test(test_gateway_moves),
        cmocka_unit_test(test_gateway_of_many),
        cmocka_unit_test(test_scattered_update),
        cmocka_unit_test(test_dead_uplink),
        cmocka_unit_test(test_captive_wifi),
        cmocka_unit_test(test_change_during_exchange),
        cmocka_unit_test(test_rekey_meanwhile),
        cmocka_unit_test(test_forged_source),
        cmocka_unit_test(test_offline),
        cmocka_unit_test(test_idle_hour),
        cmocka_unit_test(test_long_mapping),
        cmocka_unit_test(test_short_mapping),
        cmocka_unit_test(test_mapping_gets_shorter),
        cmocka_unit_test(test_busy_hour),
        cmocka_unit_test(test_follow_esp),
        cmocka_unit_test(test_follow_esp_checked),
        cmocka_unit_test(test_move_without_mobike),
        cmocka_unit_test(test_anew_without_mobike),
        cmocka_unit_test(test_unacceptable),
        cmocka_unit_test(test_children_stay_behind),
        cmocka_unit_test(test_children_follow),
        cmocka_unit_test(test_no_nats_allowed),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
