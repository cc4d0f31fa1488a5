/* What there is in a world. Everything comes out of the world's dice, in a fixed order. */
#include "worlds.h"

#define PSK "correct horse battery staple"

static struct sim_link weather(struct world *w)
{
    struct sim_link link = {.delay_min = TIME_MILLISECOND};
    link.delay_max = link.delay_min + (1 + dice(w, 300)) * TIME_MILLISECOND;
    if (chance(w, 70)) {
        link.loss = dice(w, 350);
        link.duplicate = dice(w, 250);
        link.late = dice(w, 150);
        link.late_max = dice(w, 4000) * TIME_MILLISECOND;
    }
    return link;
}

/* AH instead of ESP; there are no NAT boxes then. */
static void propose_ah(struct world *w, struct sim_host *host)
{
    struct bytes bad;
    const char *text = chance(w, 50) ? "sha256-x25519" : "sha256-sha384-x25519-ecp256";
    assert_int_equal(suite_parse(text, PROTOCOL_AH, &host->conf.esp[0], &bad), 0);
}

static void parse(const char *text, uint8_t protocol, struct proposal *out)
{
    struct bytes bad;
    if (suite_parse(text, protocol, out, &bad) != 0)
        fail_msg("%s does not parse", text);
}

/* More key exchanges (RFC 9370), such that who has none still fits: they may be left out, or there
 * is a proposal without them. */
static void add_exchanges(struct world *w, struct sim_host *host)
{
    static const char *const more[] = {
        "-ke1_mlkem768-ke1_none", "-ke1_ecp256-ke1_x448-ke1_none",
        "-ke1_ecp384-ke1_none-ke3_mlkem1024-ke3_none",
        "-ke2_x448-ke2_none-ke4_mlkem512-ke4_none-ke7_ecp521-ke7_none"};
    struct conf_tunnel *c = &host->conf;
    char text[1024], all[512];
    bool must = chance(w, 40);
    snprintf(text, sizeof(text), "%s%s", suite_print_proposal(&c->ike[0], all),
             must ? "-ke1_mlkem768" : more[dice(w, ARRAY_LEN(more))]);
    if (must)
        c->ike[c->ike_count++] = c->ike[0];
    parse(text, PROTOCOL_IKE, &c->ike[0]);
    if (c->esp[0].protocol != PROTOCOL_ESP || !proposal_find(&c->esp[0], TRANSFORM_KE) ||
        chance(w, 30))
        return;
    snprintf(text, sizeof(text), "%s%s", suite_print_proposal(&c->esp[0], all),
             more[dice(w, ARRAY_LEN(more))]);
    parse(text, PROTOCOL_ESP, &c->esp[0]);
}

static void proposals(struct world *w, struct sim_host *host)
{
    static const char *const ike[] = {
        "aes256gcm16-prfsha384-x25519",
        "aes256gcm16-aes128gcm16-prfsha384-prfsha256-x25519-ecp256",
        "aes128gcm16-aes256gcm16-prfsha256-prfsha384-ecp256-x25519",
        "chacha20poly1305-aes256gcm16-prfsha384-x25519",
    };
    static const char *const esp[] = {
        "aes256gcm16",
        "aes256gcm16-x25519",
        "aes128gcm16-aes256gcm16-x25519-ecp256-esn-noesn",
        "chacha20poly1305-aes256gcm16-ecp256-x25519",
    };
    static const char *const old[] = {"aes256-sha256-prfsha256-x25519", "aes256-sha256-x25519"};
    if (w->dice_of_suites == 0)
        sim_proposals(host, old[0], old[1]);
    else if (w->dice_of_suites < 5)
        sim_proposals(host, ike[0], esp[0]);
    else
        sim_proposals(host, ike[dice(w, ARRAY_LEN(ike))], esp[dice(w, ARRAY_LEN(esp))]);
    if (w->ah)
        propose_ah(w, host);
    if (chance(w, 50))
        add_exchanges(w, host);
}

/* Smaller ones than the configuration allows, so that also short messages come in pieces. On a
 * narrow path a client finds the size by itself, a gateway is told. */
static uint16_t fragment(struct world *w, bool client)
{
    enum { LEAST = 240, FLOOR = 576 };
    if (w->mtu > 0 && client && chance(w, 30))
        return chance(w, 50) ? 1280 : 1500;
    unsigned most = w->mtu > 0 ? w->mtu : 1500;
    switch (dice(w, 4)) {
    case 0:
        return (uint16_t)(LEAST + dice(w, most - LEAST + 1));
    case 1:
        return FLOOR;
    case 2:
        return w->mtu > 0 || chance(w, 50) ? (uint16_t)most : 0;
    default:
        return most < 1280 ? (uint16_t)most : 1280;
    }
}

static void timing(struct world *w, struct conf_tunnel *c)
{
    c->pfs = chance(w, 60);
    c->childless = c->initiator && chance(w, 15);
    c->esn = chance(w, 80);
    c->dpd = chance(w, 90) ? 10 + dice(w, 40) : 15;
    c->idle_check = c->dpd;
    c->roam = w->roams;
    c->keepalive = 10 + dice(w, 15);
    c->encap = chance(w, 70) ? CONF_ENCAP_UDP : CONF_ENCAP_AUTO;
    c->fragment = fragment(w, c->initiator);
    c->reauth = w->reauths && c->initiator ? 60 + dice(w, 240) : 0;
    if (!w->short_lives)
        return;
    c->ike_lifetime = 120 + dice(w, 240);
    c->child_lifetime = 60 + dice(w, 120);
}

static void credentials(struct world *w, struct sim_host *host, bool gateway)
{
    char id[64];
    const struct sim_credential *own;
    sim_psk(host, NULL, PSK);
    if (!w->certs)
        return;
    snprintf(id, sizeof(id), "%s.example.org", host->name);
    own = sim_credential(0, id, KEY_ED25519, gateway ? CERT_FOR_GATEWAY : CERT_FOR_CLIENT, false);
    bool psk_too = gateway || chance(w, 40);
    if (!gateway && psk_too)
        return; /* this one proves itself by its shared key */
    sim_use_cert(host, own, sim_trust(0));
    if (gateway)
        host->conf.local_auth = host->conf.remote_auth = CONF_AUTH_CERT | CONF_AUTH_PSK;
}

static struct member *add(struct world *w, struct sim_host *host)
{
    struct member *m = &w->members[w->member_count++];
    m->host = host;
    host->member = m;
    timing(w, &host->conf);
    proposals(w, host);
    host->setup.has_crash_secret = chance(w, 70); /* it outlives the engine */
    random_fill(&host->random, host->setup.crash_secret, sizeof(host->setup.crash_secret));
    return m;
}

static struct ip address(uint8_t family, unsigned net, unsigned n)
{
    char text[ADDR_TEXT];
    struct ip ip;
    if (family == 6)
        snprintf(text, ADDR_TEXT, "2001:db8:%x::%x", net, n);
    else
        snprintf(text, ADDR_TEXT, "192.0.%u.%u", net, n);
    assert_true(ip_parse(text, &ip));
    return ip;
}

struct ip draw_address(struct world *w, uint8_t family)
{
    return address(family, 3, 2 + dice(w, 250));
}

/* A second way into the network. */
static void second_place(struct world *w, struct member *m, unsigned net, unsigned n)
{
    if (w->roams && chance(w, 40))
        place_add(m, address(chance(w, 50) ? w->family : 10 - w->family, net, n), NULL);
}

/* What clients reach; they ask for everything and are given this. */
static void networks(struct conf_tunnel *c)
{
    static const char *const texts[] = {"10.200.0.0/24", "10.201.0.0/16", "fd00:200::/64"};
    struct prefix prefix;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_true(prefix_parse(texts[i], &prefix));
        c->local_ts[i] = selector_from_prefix(&prefix);
    }
    c->local_ts_count = ARRAY_LEN(texts);
}

void draw_fewer_networks(struct world *w, struct sim_host *gateway)
{
    if (!w->narrow)
        return;
    networks(&gateway->conf);
    w->narrowed = true;
    for (uint8_t gone = (uint8_t)dice(w, 3); gone > 0; gone--)
        gateway->conf.local_ts_count--;
}

void draw_all_networks(struct world *w, struct sim_host *gateway)
{
    if (w->narrow)
        networks(&gateway->conf);
}

static void gateway(struct world *w, unsigned n)
{
    static const char *const pools[] = {"10.99.0.0/24", "10.98.0.0/24"};
    static const char *const pools6[] = {"fd00:99::/112", "fd00:98::/112"};
    char name[24], text[ADDR_TEXT];
    struct prefix pool[2];
    snprintf(name, sizeof(name), "gate%u", n);
    struct ip ip = address(w->family, 2, 1 + n);
    struct sim_host *host = sim_gateway(w->sim, name, ip_print(&ip, text));
    struct member *m = add(w, host);
    place_add(m, ip, NULL);
    second_place(w, m, 2, 101 + n);
    w->gateways[w->gateway_count++] = host;
    host->conf.max_tunnels = 2 * (CLIENTS + 2) + 4 + dice(w, 40);
    host->conf.unique = chance(w, 85);
    host->conf.per_identity = chance(w, 20) ? 1 + dice(w, 3) : 0;
    host->conf.handshakes = chance(w, 50) ? dice(w, 12) : 0;
    host->conf.ban = chance(w, 50) ? dice(w, 60) : 0;
    credentials(w, host, true);
    if (w->narrow)
        networks(&host->conf);
    assert_true(prefix_parse(pools[n], &pool[0]) && prefix_parse(pools6[n], &pool[1]));
    host->book = lease_book_create(pool, 2, 200, &host->random);
    assert_non_null(host->book);
    host->networks_of = draw_networks;
    sim_start(host);
}

/* Which networks a site may claim: those that bear its number. */
static struct member *site_of(struct world *w, const struct identity *id)
{
    for (size_t i = 0; i < w->member_count; i++)
        if (w->members[i].site && identity_equal(&w->members[i].host->conf.local_id, id))
            return &w->members[i];
    return NULL;
}

static size_t site_networks(const struct member *m, struct selector *out)
{
    struct prefix p4 = {m->net4, 24}, p6 = {m->net6, 64};
    out[0] = selector_from_prefix(&p4);
    out[1] = selector_from_prefix(&p6);
    return 2;
}

uint8_t draw_networks(struct sim_host *host, const struct identity *peer, struct selector *out)
{
    const struct member *m = site_of(world_of(host), peer);
    return m ? (uint8_t)site_networks(m, out) : 0;
}

static void make_site(struct member *m, unsigned n)
{
    struct conf_tunnel *c = &m->host->conf;
    uint8_t net4[4] = {10, 1, (uint8_t)n, 0}, net6[16] = {0xfd, 0x01, 0, (uint8_t)n};
    m->site = true;
    m->net4 = ip_from_octets(4, net4);
    m->net6 = ip_from_octets(6, net6);
    c->request_ip4 = c->request_ip6 = false;
    c->local_ts_count = (uint8_t)site_networks(m, c->local_ts);
}

/* Networks within what a gateway lets in to, for child SAs beside the first one. */
static void wishes(struct world *w, struct member *m)
{
    static const char *const four[] = {"10.200.0.0/24[tcp/443]", "10.200.0.0/25", "10.201.0.0/16",
                                       "10.200.0.0/24[udp/5000-5010]", "10.200.0.0/24[icmp]"};
    static const char *const six[] = {"fd00:200::/64[tcp]", "fd00:200::/65", "fd00:200::1[udp]"};
    struct conf_tunnel *c = &m->host->conf;
    bool is_four = m->site || c->request_ip4;
    size_t count = is_four ? ARRAY_LEN(four) : ARRAY_LEN(six);
    for (unsigned i = 0, first = dice(w, 5), n = 1 + dice(w, 3); i < n; i++) {
        struct conf_child *child = &c->children[c->child_count++];
        const char *text = is_four ? four[(first + i) % count] : six[(first + i) % count];
        snprintf(child->name, sizeof(child->name), "child%u", i);
        assert_true(selector_parse(text, &child->remote_ts[0]));
        child->remote_ts_count = 1;
        if (m->site)
            child->local_ts_count = (uint8_t)site_networks(m, child->local_ts);
    }
}

void draw_again(struct world *w, struct member *m)
{
    timing(w, &m->host->conf);
    proposals(w, m->host);
    m->host->conf.child_count = 0;
    if (m->gateway && w->wishes && chance(w, 80))
        wishes(w, m);
}

void draw_settings(struct world *w, struct member *m)
{
    struct conf_tunnel was = m->host->conf, *c = &m->host->conf;
    timing(w, c);
    if (!m->gateway && chance(w, 50))
        proposals(w, m->host);
    c->esn = was.esn;
    c->encap = was.encap;
    c->reauth = was.reauth;
}

static void client(struct world *w, unsigned n)
{
    char name[24], text[ADDR_TEXT];
    snprintf(name, sizeof(name), "client%u", n);
    struct ip ip = address(w->family, 3, 2 + n), inside;
    struct sim_host *host = sim_client(w->sim, name, ip_print(&ip, text));
    struct member *m = add(w, host);
    m->gateway = w->gateways[dice(w, (unsigned)w->gateway_count)];
    m->wanted = true;
    credentials(w, host, false);
    host->conf.request_ip4 = chance(w, 80);
    host->conf.request_ip6 = !host->conf.request_ip4 || chance(w, 40);
    if (chance(w, 20))
        make_site(m, n);
    if (w->wishes && chance(w, 80))
        wishes(w, m);
    if (w->nat_count > 0 && chance(w, 60)) {
        snprintf(text, sizeof(text), "10.55.0.%u", 2 + n);
        assert_true(ip_parse(text, &inside));
        place_add(m, inside, &w->nats[dice(w, (unsigned)w->nat_count)]);
    } else {
        place_add(m, ip, NULL);
    }
    second_place(w, m, 3, 101 + n);
    sim_start(host);
}

static void nat(struct world *w, unsigned n)
{
    struct nat *nat = &w->nats[w->nat_count++];
    uint8_t octets[4] = {198, 51, 100, (uint8_t)(1 + n)};
    nat->outside = ip_from_octets(4, octets);
    nat->life = (w->roams ? 121 + dice(w, 60) : 30 + dice(w, 150)) * TIME_SECOND;
    nat->strict = chance(w, 50);
    nat->keeps_ports = chance(w, 50);
}

/* Most worlds are small: two hosts find most of what there is to find, and hundreds of them take a
 * second. */
static unsigned clients(struct world *w)
{
    if (w->small)
        return 1;
    return chance(w, 80) ? 2 + dice(w, 2) : 4 + dice(w, CLIENTS - 3);
}

void draw(struct world *w)
{
    w->sim->link = weather(w);
    w->family = chance(w, 75) ? 4 : 6;
    w->certs = chance(w, 15);
    w->short_lives = chance(w, 40);
    w->narrow = chance(w, 50);
    w->roams = chance(w, 50);
    w->ah = chance(w, 6);
    w->wishes = chance(w, 30);
    w->reauths = chance(w, 25);
    w->besieged = chance(w, 10);
    w->mtu = chance(w, 30) ? 900 + dice(w, 600) : 0;
    w->dice_of_suites = dice(w, 10);
    w->corrupt = chance(w, 40) ? dice(w, 120) : 0;
    w->blows = (uint32_t)sim_random(&w->dice) | (uint32_t)sim_random(&w->dice);
    if (w->family == 4 && !w->ah)
        for (unsigned i = 0, n = dice(w, NATS + 1); i < n; i++)
            nat(w, i);
    for (unsigned i = 0, n = w->small || chance(w, 80) ? 1 : 2; i < n; i++)
        gateway(w, i);
    for (unsigned i = 0, n = clients(w); i < n; i++)
        client(w, i);
}

void draw_credentials(void)
{
    char id[64];
    for (unsigned i = 0; i < GATEWAYS; i++) {
        snprintf(id, sizeof(id), "gate%u.example.org", i);
        (void)sim_credential(0, id, KEY_ED25519, CERT_FOR_GATEWAY, false);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        snprintf(id, sizeof(id), "client%u.example.org", i);
        (void)sim_credential(0, id, KEY_ED25519, CERT_FOR_CLIENT, false);
    }
}
