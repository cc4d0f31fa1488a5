/* The configuration payload: what a gateway answers, what a client takes (RFC 7296 2.19, 3.15). */
#include <stdio.h>

#include "pair.h"

static uint8_t octets[4096];

/* A chain with one CP payload of these attributes. */
static const struct wire_chain *chain_of(const struct wire_config *config)
{
    static struct wire_chain chain;
    struct wire_builder b;
    wire_begin_inner(&b, octets, sizeof(octets));
    wire_put_config(&b, config);
    struct bytes inner = wire_finish(&b);
    assert_true(inner.len > 0);
    assert_int_equal(wire_walk(PAYLOAD_CP, inner, &chain), 0);
    return &chain;
}

/* What the engine answers; false when it says nothing. */
static bool answer(struct ike_engine *e, const struct tunnel *t, const struct wire_config *request,
                   struct wire_config *reply)
{
    static uint8_t room[4096];
    static struct wire_chain chain;
    struct wire_builder b;
    wire_begin_inner(&b, room, sizeof(room));
    config_reply(e, t, chain_of(request), &b);
    struct bytes inner = wire_finish(&b);
    if (inner.len == 0)
        return false;
    assert_int_equal(wire_walk(PAYLOAD_CP, inner, &chain), 0);
    assert_int_equal(chain.count, 1);
    assert_int_equal(wire_config_read(chain.at[0].body, reply), 0);
    return true;
}

static const struct wire_config_item *find(const struct wire_config *c, uint16_t type)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->items[i].type == type)
            return &c->items[i];
    return NULL;
}

static struct pair *open_pair(void)
{
    struct pair *p = pair_make();
    struct conf_tunnel *c = &p->side[1].conf;
    c->local_ts[c->local_ts_count++] = pair_net("fd20::/64");
    c->local_ts[c->local_ts_count++] = pair_net("0.0.0.0/0");
    snprintf(c->domains[c->domain_count++], CONF_DOMAIN_MAX, "corp.example");
    pair_start(p);
    pair_settle(p);
    return p;
}

static struct wire_config asking(size_t count, const uint16_t *types)
{
    struct wire_config c = {.type = CONFIG_REQUEST, .count = count};
    for (size_t i = 0; i < count; i++)
        c.items[i].type = types[i];
    return c;
}

static void what_is_asked_is_answered(void **state)
{
    (void)state;
    struct pair *p = open_pair();
    struct ike_engine *e = p->side[1].engine;
    struct tunnel t = {.ip4 = {4, {10, 9, 0, 5}}};
    struct wire_config reply;
    static const uint16_t types[] = {CONFIG_INTERNAL_IP4_ADDRESS, CONFIG_INTERNAL_IP4_SUBNET,
                                     CONFIG_INTERNAL_IP6_SUBNET,  CONFIG_INTERNAL_DNS_DOMAIN,
                                     CONFIG_APPLICATION_VERSION,  CONFIG_SUPPORTED_ATTRIBUTES,
                                     CONFIG_INTERNAL_IP4_NBNS,    23456};
    struct wire_config request = asking(ARRAY_LEN(types), types);
    assert_true(answer(e, &t, &request, &reply));
    assert_int_equal(reply.type, CONFIG_REPLY);
    static const uint8_t net4[] = {10, 20, 0, 0, 255, 255, 0, 0};
    static const uint8_t net6[] = {0xfd, 0x20, [16] = 64};
    const struct wire_config_item *item = find(&reply, CONFIG_INTERNAL_IP4_SUBNET);
    assert_non_null(item);
    assert_int_equal(item->value.len, sizeof(net4));
    assert_memory_equal(item->value.at, net4, sizeof(net4));
    item = find(&reply, CONFIG_INTERNAL_IP6_SUBNET);
    assert_non_null(item);
    assert_int_equal(item->value.len, sizeof(net6));
    assert_memory_equal(item->value.at, net6, sizeof(net6));
    item = find(&reply, CONFIG_INTERNAL_DNS_DOMAIN);
    assert_int_equal(item->value.len, 12);
    assert_memory_equal(item->value.at, "corp.example", 12);
    item = find(&reply, CONFIG_SUPPORTED_ATTRIBUTES);
    assert_true(item->value.len >= 8 && item->value.len % 2 == 0);
    assert_null(find(&reply, CONFIG_APPLICATION_VERSION)); /* nobody's business, as configured */
    assert_null(find(&reply, CONFIG_INTERNAL_IP4_NBNS));
    assert_null(find(&reply, 23456));
    assert_int_equal(reply.count, 5);
    p->side[1].conf.tell_version = true;
    assert_true(answer(e, &t, &request, &reply));
    item = find(&reply, CONFIG_APPLICATION_VERSION);
    assert_non_null(item);
    assert_memory_equal(item->value.at, "Shrike ", 7);
    /* what is not asked is not said */
    request = asking(1, types);
    assert_true(answer(e, &t, &request, &reply));
    assert_int_equal(reply.count, 1);
    pair_finish(p);
}

static void set_is_acknowledged_with_nothing(void **state)
{
    (void)state;
    struct pair *p = open_pair();
    struct tunnel t = {.ip4 = {4, {10, 9, 0, 5}}};
    static const uint8_t address[] = {10, 0, 0, 1};
    struct wire_config reply, set = {.type = CONFIG_SET, .count = 1};
    set.items[0] = (struct wire_config_item){CONFIG_INTERNAL_IP4_ADDRESS, {address, 4}};
    for (int side = 0; side < 2; side++) {
        assert_true(answer(p->side[side].engine, &t, &set, &reply));
        assert_int_equal(reply.type, CONFIG_ACK);
        assert_int_equal(reply.count, 0);
    }
    set.type = CONFIG_ACK; /* answers to nothing */
    assert_false(answer(p->side[1].engine, &t, &set, &reply));
    set.type = CONFIG_REPLY;
    assert_false(answer(p->side[1].engine, &t, &set, &reply));
    pair_finish(p);
}

/* An address that no host can have is refused, whoever gives it. */
static void addresses_are_looked_at(void **state)
{
    (void)state;
    static const struct {
        const char *ip;
        int result;
    } cases[] = {
        {"10.9.0.5", 0},
        {"100.64.0.1", 0},
        {"203.0.113.9", 0},
        {"0.0.0.5", ERR_ADDRESS},
        {"127.0.0.1", ERR_ADDRESS},
        {"169.254.1.1", ERR_ADDRESS},
        {"224.0.0.1", ERR_ADDRESS},
        {"240.0.0.1", ERR_ADDRESS},
        {"255.255.255.255", ERR_ADDRESS},
        {"fd00::5", 0},
        {"2001:db8::5", 0},
        {"::1", ERR_ADDRESS},
        {"fe80::1", ERR_ADDRESS},
        {"ff02::1", ERR_ADDRESS},
        {"::ffff:10.0.0.1", ERR_ADDRESS},
    };
    struct pair *p = open_pair();
    struct ike_engine *e = p->side[0].engine;
    p->side[0].conf.request_ip6 = true;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tunnel t = {.initiator = true};
        struct ip ip;
        uint8_t value[17];
        assert_true(ip_parse(cases[i].ip, &ip));
        memcpy(value, ip.octets, 16);
        value[16] = 128;
        struct wire_config reply = {.type = CONFIG_REPLY, .count = 1};
        reply.items[0].type =
            ip.family == 4 ? CONFIG_INTERNAL_IP4_ADDRESS : CONFIG_INTERNAL_IP6_ADDRESS;
        reply.items[0].value = (struct bytes){value, ip.family == 4 ? 4 : 17};
        if (config_read_reply(e, chain_of(&reply), &t) != cases[i].result)
            fail_msg("%s", cases[i].ip);
        assert_int_equal(t.ip4.family + t.ip6.family, cases[i].result ? 0 : ip.family);
    }
    pair_finish(p);
}

/* Networks, resolvers and domains: what is not sound is passed over. */
static void the_rest_is_read_with_care(void **state)
{
    (void)state;
    struct pair *p = open_pair();
    struct tunnel t = {.initiator = true};
    static const uint8_t own[] = {10, 9, 0, 5}, loop[] = {127, 0, 0, 53}, dns[] = {10, 20, 0, 53},
                         net[] = {10, 20, 1, 7, 255, 255, 255, 0},
                         gap[] = {10, 0, 0, 0, 255, 0, 255, 0},
                         net6[] = {0xfd, 0x20, [15] = 9, [16] = 64}, long6[] = {0xfd, [16] = 129};
    static const struct wire_config_item items[] = {
        {CONFIG_INTERNAL_IP4_ADDRESS, {own, 4}},
        {CONFIG_INTERNAL_IP4_DNS, {loop, 4}},
        {CONFIG_INTERNAL_IP4_DNS, {dns, 4}},
        {CONFIG_INTERNAL_IP4_SUBNET, {gap, 8}},
        {CONFIG_INTERNAL_IP4_SUBNET, {net, 8}},
        {CONFIG_INTERNAL_IP6_SUBNET, {long6, 17}},
        {CONFIG_INTERNAL_IP6_SUBNET, {net6, 17}},
        {CONFIG_INTERNAL_DNS_DOMAIN, {(const uint8_t *)"a b", 3}},
        {CONFIG_INTERNAL_DNS_DOMAIN, {(const uint8_t *)"-x", 2}},
        {CONFIG_INTERNAL_DNS_DOMAIN, {(const uint8_t *)"a..b", 4}},
        {CONFIG_INTERNAL_DNS_DOMAIN, {(const uint8_t *)"Corp.example", 12}},
        {CONFIG_INTERNAL_DNS_DOMAIN, {NULL, 0}},
    };
    struct wire_config reply = {.type = CONFIG_REPLY, .count = ARRAY_LEN(items)};
    memcpy(reply.items, items, sizeof(items));
    assert_int_equal(config_read_reply(p->side[0].engine, chain_of(&reply), &t), 0);
    assert_int_equal(t.dns_count, 1);
    assert_int_equal(t.dns[0].octets[3], 53);
    assert_non_null(t.given);
    assert_int_equal(t.given->subnet_count, 2);
    struct selector want4 = pair_net("10.20.1.0/24"), want6 = pair_net("fd20::/64");
    assert_true(selector_equal(&t.given->subnets[0], &want4));
    assert_true(selector_equal(&t.given->subnets[1], &want6));
    assert_int_equal(t.given->domain_count, 1);
    assert_string_equal(t.given->domains[0], "Corp.example");
    free(t.given);
    free(t.dns);
    pair_finish(p);
}

static int init(void **state)
{
    (void)state;
    return crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_asked_is_answered),
        cmocka_unit_test(set_is_acknowledged_with_nothing),
        cmocka_unit_test(addresses_are_looked_at),
        cmocka_unit_test(the_rest_is_read_with_care),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
