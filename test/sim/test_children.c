/* What is negotiated for child SAs: several of them, their selectors, and what is refused; message
 * by message where the RFC says what must come (RFC 7296 1.2, 2.9, 3.10.1, 3.15.4). */
#include "pair.h"

static struct selector ts(const char *text)
{
    struct selector s;
    if (!selector_parse(text, &s))
        fail_msg("%s", text);
    return s;
}

static void add_child(struct sim_host *host, const char *name, const char *remote)
{
    struct conf_child *c = &host->conf.children[host->conf.child_count++];
    snprintf(c->name, sizeof(c->name), "%s", name);
    c->remote_ts[c->remote_ts_count++] = ts(remote);
}

/* A client that wants three, and a gateway that has them. */
static struct pair three(void)
{
    struct pair p = pair_make();
    p.client->conf.request_ip6 = false;
    p.client->conf.remote_ts[0] = ts("10.1.0.0/16");
    p.client->conf.remote_ts_count = 1;
    add_child(p.client, "web", "10.2.0.0/16[tcp/443]");
    add_child(p.client, "names", "10.2.0.53[udp/53]");
    p.gateway->conf.local_ts[0] = ts("10.0.0.0/8");
    p.gateway->conf.local_ts_count = 1;
    return p;
}

static const struct ike_child *child_for(const struct sim_host *host, const char *remote)
{
    struct selector want = ts(remote);
    for (const struct sim_sa *sa = host->sas; sa; sa = sa->next)
        if (!sa->gone && sa->child.remote_count == 1 &&
            selector_equal(&sa->child.remote_ts[0], &want))
            return &sa->child;
    return NULL;
}

/* `count` children at both ends, SPIs, keys and selectors crosswise. */
static void check_children(const struct pair *p, size_t count)
{
    struct sim_view client, gateway;
    sim_view(p->client, &client);
    sim_view(p->gateway, &gateway);
    assert_int_equal(client.children, count);
    assert_int_equal(gateway.children, count);
    assert_int_equal(sim_live_sas(p->client), count);
    assert_int_equal(sim_live_sas(p->gateway), count);
    for (const struct sim_sa *a = p->client->sas; a; a = a->next) {
        const struct sim_sa *b = p->gateway->sas;
        while (b && (b->gone || b->child.spi_in != a->child.spi_out))
            b = b->next;
        if (a->gone)
            continue;
        assert_non_null(b);
        assert_memory_equal(a->child.keymat_in, b->child.keymat_out, a->child.keymat_len);
        assert_int_equal(a->child.local_count, b->child.remote_count);
        assert_int_equal(a->child.remote_count, b->child.local_count);
        for (size_t i = 0; i < a->child.local_count; i++)
            assert_true(selector_equal(&a->child.local_ts[i], &b->child.remote_ts[i]));
        for (size_t i = 0; i < a->child.remote_count; i++)
            assert_true(selector_equal(&a->child.remote_ts[i], &b->child.local_ts[i]));
    }
}

static void start(struct pair *p)
{
    pair_start(p);
    sim_run(p->sim, 5 * TIME_SECOND);
}

static void order_child(struct sim_host *host, uint32_t kind, const struct ike_child *child)
{
    struct ike_command command = {.kind = kind, .tunnel = child->tunnel, .spi_in = child->spi_in};
    assert_int_equal(ike_command(host->engine, host->sim->now, &command, NULL), 0);
    sim_drain(host);
}

static void command_child(struct sim_host *host, uint32_t kind, const struct ike_child *child)
{
    order_child(host, kind, child);
    sim_run(host->sim, 15 * TIME_SECOND);
}

static void several_children(void **state)
{
    (void)state;
    struct pair p = three();
    start(&p);
    check_children(&p, 3);
    assert_int_equal(pair_sent(&p, EXCHANGE_IKE_AUTH, false), 1);
    assert_int_equal(pair_sent(&p, EXCHANGE_CREATE_CHILD_SA, false), 2);
    assert_int_equal(sim_events(p.client, IKE_EVENT_ESTABLISHED), 1);
    assert_int_equal(sim_events(p.client, IKE_EVENT_CHILD_UP), 2);
    assert_int_equal(child_for(p.client, "10.1.0.0/16")->wish, 0);
    assert_int_equal(child_for(p.client, "10.2.0.0/16[tcp/443]")->wish, 1);
    assert_int_equal(child_for(p.client, "10.2.0.53/32[udp/53]")->wish, 2);
    /* the routes of all of them from the start, so that nothing goes beside the tunnel */
    assert_int_equal(p.client->net_ups, 1);
    assert_int_equal(p.client->net.remote_count, 3);
    pair_end(&p);
}

/* Each by itself, by either side: the others keep their SPIs. */
static void each_is_rekeyed_alone(void **state)
{
    (void)state;
    static const char *const nets[] = {"10.1.0.0/16", "10.2.0.0/16[tcp/443]",
                                       "10.2.0.53/32[udp/53]"};
    struct pair p = three();
    start(&p);
    for (size_t side = 0; side < 2; side++)
        for (size_t i = 0; i < 3; i++) {
            uint32_t before[3];
            for (size_t j = 0; j < 3; j++)
                before[j] = child_for(p.client, nets[j])->spi_in;
            const struct sim_sa *sa = p.gateway->sas;
            while (sa && sa->child.spi_out != before[i])
                sa = sa->next;
            assert_non_null(sa);
            if (side == 0)
                command_child(p.client, IKE_REKEY_CHILD, child_for(p.client, nets[i]));
            else
                command_child(p.gateway, IKE_REKEY_CHILD, &sa->child);
            check_children(&p, 3);
            for (size_t j = 0; j < 3; j++) {
                const struct ike_child *now = child_for(p.client, nets[j]);
                assert_non_null(now);
                assert_int_equal(now->spi_in != before[j], i == j);
                assert_int_equal(now->wish, j);
            }
        }
    /* and all move to the next IKE SA */
    assert_int_equal(sim_command(p.client, IKE_REKEY_IKE, 0), 0);
    sim_run(p.sim, 5 * TIME_SECOND);
    check_children(&p, 3);
    assert_int_equal(p.client->net_ups, 1);
    pair_end(&p);
}

/* The gateway deletes one: the client asks for it again after a while, and for that one only. */
static void a_missing_one_comes_back(void **state)
{
    (void)state;
    struct pair p = three();
    start(&p);
    const struct ike_child *web = child_for(p.client, "10.2.0.0/16[tcp/443]");
    uint32_t spi = web->spi_in, other = child_for(p.client, "10.1.0.0/16")->spi_in;
    const struct sim_sa *sa = p.gateway->sas;
    while (sa && sa->child.spi_out != spi)
        sa = sa->next;
    assert_non_null(sa);
    command_child(p.gateway, IKE_DELETE_CHILD, &sa->child);
    check_children(&p, 2);
    sim_log_clear(p.sim);
    sim_run(p.sim, 30 * TIME_SECOND);
    check_children(&p, 3);
    assert_int_equal(pair_sent(&p, EXCHANGE_CREATE_CHILD_SA, false), 1);
    assert_int_not_equal(child_for(p.client, "10.2.0.0/16[tcp/443]")->spi_in, spi);
    assert_int_equal(child_for(p.client, "10.1.0.0/16")->spi_in, other);
    pair_end(&p);
}

/* One that the gateway will not have: the others stand, the reason is told, and it is tried again
 * only much later. */
static void a_refused_one_harms_no_other(void **state)
{
    (void)state;
    struct pair p = three();
    p.client->conf.children[0].remote_ts[0] = ts("172.16.0.0/12");
    start(&p);
    check_children(&p, 2);
    const struct ike_event *down = sim_event(p.client, IKE_EVENT_CHILD_DOWN);
    assert_non_null(down);
    assert_int_equal(down->notify, NOTIFY_TS_UNACCEPTABLE);
    assert_int_equal(down->err, ERR_TS);
    assert_non_null(strstr(down->text, "web"));
    assert_int_equal(sim_events(p.client, IKE_EVENT_CHILD_DOWN), 1);
    sim_log_clear(p.sim);
    sim_run(p.sim, 300 * TIME_SECOND);
    assert_int_equal(pair_sent(&p, EXCHANGE_CREATE_CHILD_SA, false), 0);
    p.gateway->conf.local_ts[1] = ts("172.16.0.0/16"); /* somebody mends it */
    p.gateway->conf.local_ts_count = 2;
    assert_int_equal(sim_reload(p.gateway), 0);
    sim_run(p.sim, 310 * TIME_SECOND);
    check_children(&p, 3);
    assert_non_null(child_for(p.client, "172.16.0.0/16"));
    pair_end(&p);
}

/* The first one is refused in IKE_AUTH, and the further ones carry the tunnel. */
static void the_first_one_may_fail(void **state)
{
    (void)state;
    struct pair p = three();
    p.client->conf.remote_ts[0] = ts("172.16.0.0/12");
    start(&p);
    check_children(&p, 2);
    assert_int_equal(sim_events(p.client, IKE_EVENT_ESTABLISHED), 1);
    assert_int_equal(p.client->net_ups, 1);
    pair_end(&p);
}

/* ---- many selectors */

static void more_selectors_than_are_kept(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.client->conf.request_ip6 = false;
    p.client->conf.remote_ts_count = CONF_SELECTORS;
    p.gateway->conf.local_ts_count = 2;
    for (size_t i = 0; i < CONF_SELECTORS; i++) {
        char text[64];
        snprintf(text, sizeof(text), "10.%zu.0.0/16", 2 * i);
        p.client->conf.remote_ts[i] = ts(text);
    }
    p.client->conf.remote_ts[0] = ts("10.0.0.0/8[tcp/22]"); /* does not hold the others */
    p.gateway->conf.local_ts[0] = ts("10.0.0.0/9[tcp]");
    p.gateway->conf.local_ts[1] = ts("10.0.0.0/9[udp]");
    start(&p);
    check_children(&p, 1 + 8); /* 31 do not fit into 16: what is left comes in pairs */
    for (size_t i = 1; i < CONF_SELECTORS; i++) {
        struct ip ip = {.family = 4, .octets = {10, (uint8_t)(2 * i), 1, 1}};
        bool found = false;
        for (const struct sim_sa *sa = p.client->sas; sa; sa = sa->next)
            for (size_t j = 0; j < sa->child.remote_count; j++)
                found |= selector_matches(&sa->child.remote_ts[j], &ip, 17, 53);
        assert_true(found);
    }
    pair_end(&p);
}

/* ---- a gateway that takes one pair at a time, and one that says no in other ways */

/* Answers IKE_SA_INIT and IKE_AUTH by a real engine whose answers are changed on their way would
 * need its keys; so the engine itself is told to be such a peer by what it is offered: a filter
 * cannot open SK payloads, and a policy can say it all. The notifies that no policy of ours sends
 * are tested with the engine from inside, in test/unit/ike/test_child.c. */

static void no_address_leaves_the_ike_sa(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.gateway->admit = ERR_ADDRESS;
    start(&p);
    const struct ike_event *failed = sim_event(p.client, IKE_EVENT_FAILED);
    const struct ike_event *refused = sim_event(p.gateway, IKE_EVENT_REFUSED);
    assert_non_null(failed);
    assert_int_equal(failed->err, ERR_ADDRESS);
    assert_int_equal(failed->notify, NOTIFY_INTERNAL_ADDRESS_FAILURE);
    assert_non_null(refused);
    assert_int_equal(refused->err, ERR_ADDRESS);
    assert_int_equal(refused->notify, NOTIFY_INTERNAL_ADDRESS_FAILURE);
    /* the client has ended it by a Delete inside the IKE SA */
    assert_int_equal(pair_sent(&p, EXCHANGE_INFORMATIONAL, false), 1);
    assert_int_equal(pair_sent(&p, EXCHANGE_INFORMATIONAL, true), 1);
    pair_end(&p);
}

static void addresses_must_be_asked_for(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.client->conf.request_ip4 = p.client->conf.request_ip6 = false;
    start(&p);
    const struct ike_event *failed = sim_event(p.client, IKE_EVENT_FAILED);
    assert_non_null(failed);
    assert_int_equal(failed->notify, NOTIFY_FAILED_CP_REQUIRED);
    assert_int_equal(failed->err, ERR_ADDRESS);
    assert_non_null(strstr(failed->text, "request"));
    assert_int_equal(sim_event(p.gateway, IKE_EVENT_REFUSED)->notify, NOTIFY_FAILED_CP_REQUIRED);
    pair_end(&p);
}

/* The gateway names its networks: the SA stays as wide as it is, routes go there only. */
static void routes_by_the_gateways_networks(void **state)
{
    (void)state;
    struct pair p = pair_make();
    p.client->conf.send_from_gateway = true;
    p.gateway->conf.local_ts[0] = ts("0.0.0.0/0");
    p.gateway->conf.local_ts[1] = ts("10.20.0.0/16");
    p.gateway->conf.local_ts[2] = ts("fd20::/64");
    p.gateway->conf.local_ts_count = 3;
    snprintf(p.gateway->conf.domains[p.gateway->conf.domain_count++], CONF_DOMAIN_MAX,
             "corp.example");
    pair_up(&p);
    assert_int_equal(p.client->net.remote_count, 2);
    struct selector want4 = ts("10.20.0.0/16"), want6 = ts("fd20::/64"), all = ts("0.0.0.0/0");
    assert_true(selector_equal(&p.client->net.remote_ts[0], &want4));
    assert_true(selector_equal(&p.client->net.remote_ts[1], &want6));
    assert_true(selector_equal(&pair_child(p.client)->remote_ts[0], &all));
    assert_int_equal(p.client->net.domain_count, 1);
    assert_string_equal(p.client->net.domains[0], "corp.example");
    pair_end(&p);
}

/* ---- packets that are not for their SA */

static void strays_are_told_once(void **state)
{
    (void)state;
    struct pair p = pair_make();
    pair_up(&p);
    const struct ike_child *child = pair_child(p.gateway);
    struct ike_fact fact = {.kind = IKE_FACT_STRAYED,
                            .spi_in = child->spi_in,
                            .tunnel = child->tunnel,
                            .stray_len = 40};
    sim_log_clear(p.sim);
    for (int i = 0; i < 20; i++) {
        ike_fact(p.gateway->engine, p.sim->now, &fact);
        sim_drain(p.gateway);
        sim_run(p.sim, TIME_SECOND);
    }
    assert_int_equal(pair_sent(&p, EXCHANGE_INFORMATIONAL, false), 1);
    assert_int_equal(ike_counters(p.gateway->engine)->strays_told, 1);
    assert_int_equal(ike_counters(p.client->engine)->strays_heard, 1);
    sim_check_pair(p.sim, p.client, p.gateway);
    pair_end(&p);
}

/* ---- families */

/* Inside IPv4, IPv6 or both, outside IPv4 or IPv6. */
static void every_family_in_every_other(void **state)
{
    (void)state;
    for (int out = 0; out < 2; out++)
        for (int in = 1; in < 4; in++) {
            bool ip4 = in & 1, ip6 = in & 2;
            struct pair p = {.sim =
                                 sim_create(0x66616d + (uint64_t)(8 * out + in), &sim_good_link)};
            p.client = sim_client(p.sim, "client", out ? "2001:db8::2" : "192.0.2.2");
            p.gateway = sim_gateway(p.sim, "gateway", out ? "2001:db8::1" : "192.0.2.1");
            sim_psk(p.client, NULL, PSK);
            sim_psk(p.gateway, NULL, PSK);
            p.client->conf.request_ip4 = ip4;
            p.client->conf.request_ip6 = ip6;
            pair_up(&p);
            const struct ike_child *child = pair_child(p.client);
            assert_int_equal(child->path.remote.ip.family, out ? 6 : 4);
            assert_int_equal(p.client->net.ip4.family, ip4 ? 4 : 0);
            assert_int_equal(p.client->net.ip6.family, ip6 ? 6 : 0);
            assert_true(ip_equal(&p.client->net.ip4, &p.gateway->net.ip4));
            assert_true(ip_equal(&p.client->net.ip6, &p.gateway->net.ip6));
            assert_int_equal(child->local_count, ip4 + ip6);
            for (size_t i = 0; i < child->local_count; i++) {
                const struct ip *own =
                    child->local_ts[i].low.family == 4 ? &p.client->net.ip4 : &p.client->net.ip6;
                struct selector want = selector_from_ip(own);
                assert_true(selector_equal(&child->local_ts[i], &want));
            }
            assert_int_equal(sim_command(p.gateway, IKE_REKEY_CHILD, 0), 0);
            assert_int_equal(sim_command(p.client, IKE_REKEY_IKE, 0), 0);
            sim_run(p.sim, 15 * TIME_SECOND);
            sim_check_pair(p.sim, p.client, p.gateway);
            assert_int_equal(pair_child(p.client)->local_count, ip4 + ip6);
            pair_end(&p);
        }
}

/* More than there are places for waiting tasks, and each gets its turn. */
static void all_of_many_are_rekeyed(void **state)
{
    (void)state;
    enum { MANY = 15 };
    uint32_t before[MANY], left = 0;
    struct pair p = three();
    start(&p);
    for (size_t i = 3; i < MANY; i++) {
        assert_int_equal(sim_command(p.client, IKE_CREATE_CHILD, 0), 0);
        sim_run(p.sim, TIME_SECOND);
    }
    check_children(&p, MANY);
    size_t count = 0;
    for (const struct sim_sa *sa = p.client->sas; sa; sa = sa->next)
        if (!sa->gone)
            before[count++] = sa->child.spi_in;
    assert_int_equal(count, MANY);
    sim_events_clear(p.client);
    command_child(p.client, IKE_REKEY_CHILD,
                  &(struct ike_child){.tunnel = p.client->sas->child.tunnel});
    sim_run(p.sim, 15 * TIME_SECOND);
    check_children(&p, MANY);
    assert_int_equal(sim_events(p.client, IKE_EVENT_REKEYED_CHILD), MANY);
    for (const struct sim_sa *sa = p.client->sas; sa; sa = sa->next)
        for (size_t i = 0; !sa->gone && i < MANY; i++)
            left += sa->child.spi_in == before[i];
    assert_int_equal(left, 0);
    pair_end(&p);
}

/* The gateway has none of the algorithms that a further child, or a rekey, is to have: it says so,
 * and what stands goes on standing (RFC 7296 1.3, 2.21.3). */
static void algorithms_that_the_gateway_has_not(void **state)
{
    (void)state;
    static const uint32_t kinds[] = {IKE_CREATE_CHILD, IKE_REKEY_CHILD, IKE_REKEY_IKE};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct pair p = three();
        p.client->conf.child_count = 0;
        start(&p);
        check_children(&p, 1);
        sim_proposals(p.client, "aes128-sha256-x25519", "chacha20poly1305");
        *p.client->running = p.client->conf; /* by a reload it would make a new IKE SA */
        sim_log_clear(p.sim);
        uint32_t before = pair_child(p.gateway)->spi_in;
        assert_int_equal(sim_command(p.client, kinds[i], 0), 0);
        sim_run(p.sim, 2 * TIME_SECOND);
        assert_true(pair_sent(&p, EXCHANGE_CREATE_CHILD_SA, true) >= 1);
        check_children(&p, 1);
        assert_int_equal(pair_child(p.gateway)->spi_in, before);
        const struct ike_event *told = sim_event(p.client, IKE_EVENT_CHILD_DOWN);
        assert_int_equal(told ? told->notify : 0,
                         kinds[i] == IKE_CREATE_CHILD ? NOTIFY_NO_PROPOSAL_CHOSEN : 0);
        assert_null(sim_event(p.client, IKE_EVENT_DOWN));
        assert_null(sim_event(p.gateway, IKE_EVENT_DOWN));
        pair_end(&p);
    }
}

/* The last child goes while another one was put off by TEMPORARY_FAILURE: that one comes, so the
 * tunnel stays, and the one that went is wanted again. */
static bool put_off;

static enum sim_fate gateway_rekeys_in_vain(struct sim *sim, struct sim_datagram *d)
{
    bool response = d->octets[19] & FLAG_RESPONSE;
    if (d->octets[18] != EXCHANGE_CREATE_CHILD_SA || d->sender != sim->hosts[1])
        return SIM_PASS;
    put_off |= response;
    return response ? SIM_PASS : SIM_DROP;
}

static void last_child_goes(void **state)
{
    (void)state;
    struct pair p = three();
    p.client->conf.child_count = 1;
    start(&p);
    command_child(p.client, IKE_DELETE_CHILD, child_for(p.client, "10.2.0.0/16[tcp/443]"));
    put_off = false;
    p.sim->filter = gateway_rekeys_in_vain;
    assert_int_equal(sim_command(p.gateway, IKE_REKEY_IKE, 0), 0);
    for (int i = 0; i < 4000 && !put_off; i++)
        sim_run(p.sim, 10 * TIME_MILLISECOND);
    assert_true(put_off);
    order_child(p.client, IKE_DELETE_CHILD, child_for(p.client, "10.1.0.0/16"));
    sim_run(p.sim, TIME_SECOND);
    assert_int_equal(sim_live_sas(p.client), 0);
    p.sim->filter = NULL;
    sim_run(p.sim, 60 * TIME_SECOND);
    check_children(&p, 2);
    pair_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_many_are_rekeyed),
        cmocka_unit_test(algorithms_that_the_gateway_has_not),
        cmocka_unit_test(several_children),
        cmocka_unit_test(last_child_goes),
        cmocka_unit_test(each_is_rekeyed_alone),
        cmocka_unit_test(a_missing_one_comes_back),
        cmocka_unit_test(a_refused_one_harms_no_other),
        cmocka_unit_test(the_first_one_may_fail),
        cmocka_unit_test(more_selectors_than_are_kept),
        cmocka_unit_test(no_address_leaves_the_ike_sa),
        cmocka_unit_test(addresses_must_be_asked_for),
        cmocka_unit_test(routes_by_the_gateways_networks),
        cmocka_unit_test(strays_are_told_once),
        cmocka_unit_test(every_family_in_every_other),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
