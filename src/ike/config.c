#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

/* The configuration payload (RFC 7296 2.19, 3.15, RFC 8598), both sides of it. Attributes that we
 * do not know, or have nothing for, are ignored; CFG_SET is acknowledged and changes nothing. */

static const char version[] = "Shrike " SHRIKE_VERSION;

static void put(struct wire_config *c, uint16_t type, struct bytes value)
{
    if (c->count < WIRE_CONFIG_MAX)
        c->items[c->count++] = (struct wire_config_item){.type = type, .value = value};
}

static void ask(struct wire_config *c, uint16_t type)
{
    put(c, type, (struct bytes){0});
}

static bool read_config(struct ike_engine *e, const struct wire_chain *chain, uint8_t type)
{
    const struct wire_payload_view *p = wire_find(chain, PAYLOAD_CP);
    return p && wire_config_read(p->body, &e->config) == 0 && e->config.type == type;
}

static struct ip item_ip(const struct wire_config_item *item, uint8_t family)
{
    size_t len = family == 4 ? 4 : 16;
    if (item->value.len < len)
        return (struct ip){0};
    struct ip ip = ip_from_octets(family, item->value.at);
    return ip_is_any(&ip) ? (struct ip){0} : ip;
}

/* ---- who answers */

void config_read_request(const struct wire_chain *chain, struct ike_engine *e, struct ike_ask *out)
{
    if (!read_config(e, chain, CONFIG_REQUEST))
        return;
    for (size_t i = 0; i < e->config.count; i++) {
        const struct wire_config_item *item = &e->config.items[i];
        if (item->type == CONFIG_INTERNAL_IP4_ADDRESS && !out->ask_ip4) {
            out->ask_ip4 = true;
            out->wanted_ip4 = item_ip(item, 4);
        } else if (item->type == CONFIG_INTERNAL_IP6_ADDRESS && !out->ask_ip6) {
            out->ask_ip6 = true;
            out->wanted_ip6 = item_ip(item, 6);
        }
    }
}

/* Octets that a reply points to while it is built. */
struct room {
    uint8_t ip6[17], subnets[CONF_SELECTORS][17];
};

static void put_addresses(struct wire_config *c, const struct tunnel *t, struct room *room)
{
    if (t->ip4.family)
        put(c, CONFIG_INTERNAL_IP4_ADDRESS, (struct bytes){t->ip4.octets, 4});
    if (!t->ip6.family)
        return;
    memcpy(room->ip6, t->ip6.octets, 16);
    room->ip6[16] = 128;
    put(c, CONFIG_INTERNAL_IP6_ADDRESS, (struct bytes){room->ip6, sizeof(room->ip6)});
}

static void put_dns(struct wire_config *c, const struct conf_tunnel *conf)
{
    for (size_t i = 0; i < conf->dns_count; i++) {
        const struct ip *dns = &conf->dns[i];
        uint16_t type = dns->family == 4 ? CONFIG_INTERNAL_IP4_DNS : CONFIG_INTERNAL_IP6_DNS;
        put(c, type, (struct bytes){dns->octets, ip_len(dns)});
    }
}

/* Networks of one family behind us; the whole internet is none. */
static void put_subnets(struct wire_config *c, const struct conf_tunnel *conf, uint8_t family,
                        struct room *room)
{
    for (size_t i = 0; i < conf->local_ts_count; i++) {
        struct prefix net;
        uint8_t *at = room->subnets[i];
        if (!selector_to_prefix(&conf->local_ts[i], &net) || net.ip.family != family ||
            net.bits == 0)
            continue;
        memcpy(at, net.ip.octets, ip_len(&net.ip));
        if (family == 6) {
            at[16] = net.bits;
            put(c, CONFIG_INTERNAL_IP6_SUBNET, (struct bytes){at, 17});
            continue;
        }
        uint32_t mask = UINT32_MAX << (32 - net.bits);
        for (int octet = 0; octet < 4; octet++)
            at[4 + octet] = (uint8_t)(mask >> (24 - 8 * octet));
        put(c, CONFIG_INTERNAL_IP4_SUBNET, (struct bytes){at, 8});
    }
}

static void put_domains(struct wire_config *c, const struct conf_tunnel *conf)
{
    for (size_t i = 0; i < conf->domain_count; i++)
        put(c, CONFIG_INTERNAL_DNS_DOMAIN,
            (struct bytes){(const uint8_t *)conf->domains[i], strlen(conf->domains[i])});
}

static const uint8_t supported[] = {0, CONFIG_INTERNAL_IP4_ADDRESS, 0, CONFIG_INTERNAL_IP4_DNS,
                                    0, CONFIG_INTERNAL_IP6_ADDRESS, 0, CONFIG_INTERNAL_IP6_DNS,
                                    0, CONFIG_INTERNAL_IP4_SUBNET,  0, CONFIG_SUPPORTED_ATTRIBUTES,
                                    0, CONFIG_INTERNAL_IP6_SUBNET,  0, CONFIG_INTERNAL_DNS_DOMAIN};

/* What was asked for by name, beside addresses and resolvers. */
static void put_asked(const struct ike_engine *e, uint64_t asked, struct wire_config *c,
                      struct room *room)
{
    if (asked & 1u << CONFIG_INTERNAL_IP4_SUBNET)
        put_subnets(c, e->conf, 4, room);
    if (asked & 1u << CONFIG_INTERNAL_IP6_SUBNET)
        put_subnets(c, e->conf, 6, room);
    if (asked & 1u << CONFIG_INTERNAL_DNS_DOMAIN)
        put_domains(c, e->conf);
    if (asked & 1u << CONFIG_APPLICATION_VERSION && e->conf->tell_version)
        put(c, CONFIG_APPLICATION_VERSION,
            (struct bytes){(const uint8_t *)version, sizeof(version) - 1});
    if (asked & 1u << CONFIG_SUPPORTED_ATTRIBUTES)
        put(c, CONFIG_SUPPORTED_ATTRIBUTES, (struct bytes){supported, sizeof(supported)});
}

void config_reply(struct ike_engine *e, const struct tunnel *t, const struct wire_chain *request,
                  struct wire_builder *b)
{
    struct room room;
    struct wire_config *c = &e->config;
    uint64_t asked = 0;
    if (read_config(e, request, CONFIG_SET)) {
        *c = (struct wire_config){.type = CONFIG_ACK};
        wire_put_config(b, c);
        return;
    }
    if (t->initiator || !read_config(e, request, CONFIG_REQUEST))
        return;
    for (size_t i = 0; i < c->count; i++)
        asked |= c->items[i].type < 64 ? UINT64_C(1) << c->items[i].type : 0;
    *c = (struct wire_config){.type = CONFIG_REPLY};
    put_addresses(c, t, &room);
    if (c->count > 0)
        put_dns(c, e->conf);
    put_asked(e, asked, c, &room);
    if (c->count > 0)
        wire_put_config(b, c);
}

/* ---- who asks */

/* Any address, or the one that we have already. */
static void ask_address(struct wire_config *c, uint16_t type, const struct ip *have,
                        uint8_t octets[17])
{
    size_t len = have && have->family ? ip_len(have) : 0;
    if (len > 0)
        memcpy(octets, have->octets, len);
    octets[16] = 128;
    put(c, type, (struct bytes){octets, len == 16 ? 17 : len});
}

void config_request(struct ike_engine *e, const struct tunnel *former, struct wire_builder *b)
{
    uint8_t ip4[17], ip6[17];
    struct wire_config *c = &e->config;
    const struct conf_tunnel *conf = e->conf;
    *c = (struct wire_config){.type = CONFIG_REQUEST};
    if (conf->request_ip4) {
        ask_address(c, CONFIG_INTERNAL_IP4_ADDRESS, former ? &former->ip4 : NULL, ip4);
        ask(c, CONFIG_INTERNAL_IP4_DNS);
    }
    if (conf->request_ip6) {
        ask_address(c, CONFIG_INTERNAL_IP6_ADDRESS, former ? &former->ip6 : NULL, ip6);
        ask(c, CONFIG_INTERNAL_IP6_DNS);
    }
    if (c->count > 0)
        ask(c, CONFIG_INTERNAL_DNS_DOMAIN);
    if (conf->send_from_gateway) {
        ask(c, CONFIG_INTERNAL_IP4_SUBNET);
        ask(c, CONFIG_INTERNAL_IP6_SUBNET);
    }
    if (c->count > 0)
        wire_put_config(b, c);
}

static size_t collect_dns(const struct wire_config *c, struct ip dns[static CONF_DNS])
{
    size_t n = 0;
    for (size_t i = 0; i < c->count && n < CONF_DNS; i++) {
        struct ip ip = {0};
        if (c->items[i].type == CONFIG_INTERNAL_IP4_DNS)
            ip = item_ip(&c->items[i], 4);
        else if (c->items[i].type == CONFIG_INTERNAL_IP6_DNS)
            ip = item_ip(&c->items[i], 6);
        if (ip_is_host(&ip))
            dns[n++] = ip;
    }
    return n;
}

static int keep_dns(struct tunnel *t, const struct ip *dns, size_t count)
{
    free(t->dns);
    t->dns = NULL;
    t->dns_count = 0;
    if (count == 0)
        return 0;
    t->dns = malloc(count * sizeof(*dns));
    if (!t->dns)
        return ERR_MEMORY;
    memcpy(t->dns, dns, count * sizeof(*dns));
    t->dns_count = (uint8_t)count;
    return 0;
}

/* The bits of a mask that is a prefix's, or -1. */
static int mask_bits(const uint8_t octets[4])
{
    uint32_t mask = (uint32_t)octets[0] << 24 | (uint32_t)octets[1] << 16 |
                    (uint32_t)octets[2] << 8 | octets[3];
    int bits = mask == 0 ? 0 : __builtin_popcount(mask);
    return mask == (bits == 0 ? 0 : UINT32_MAX << (32 - bits)) ? bits : -1;
}

/* A network, its host bits set to zero; false when it is none. */
static bool read_subnet(const struct wire_config_item *item, struct selector *out)
{
    uint8_t family = item->type == CONFIG_INTERNAL_IP4_SUBNET ? 4 : 6;
    struct reader r = reader_of_bytes(item->value);
    uint8_t octets[17] = {0};
    if ((item->type != CONFIG_INTERNAL_IP4_SUBNET && item->type != CONFIG_INTERNAL_IP6_SUBNET) ||
        item->value.len != (family == 4 ? 8u : 17u))
        return false;
    reader_copy(&r, octets, item->value.len);
    int bits = family == 4 ? mask_bits(octets + 4) : octets[16] <= 128 ? octets[16] : -1;
    if (bits < 0)
        return false;
    struct prefix p = {.ip = ip_from_octets(family, octets), .bits = (uint8_t)bits};
    for (size_t i = 0; i < ip_len(&p.ip) * 8; i++)
        if (i >= (size_t)bits)
            p.ip.octets[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
    *out = selector_from_prefix(&p);
    return true;
}

/* A name that may be handed to a resolver: letters, digits, - and _ between dots. */
static bool read_domain(const struct wire_config_item *item, char out[static CONF_DOMAIN_MAX])
{
    size_t len = item->value.len, label = 0;
    const uint8_t *at = item->value.at;
    if (item->type != CONFIG_INTERNAL_DNS_DOMAIN || len == 0 || len >= CONF_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = at[i] | 0x20;
        bool plain = (c >= 'a' && c <= 'z') || (at[i] >= '0' && at[i] <= '9') || at[i] == '_' ||
                     (at[i] == '-' && label > 0);
        if (!plain && (at[i] != '.' || label == 0))
            return false;
        label = plain ? label + 1 : 0;
        if (label > 63)
            return false;
    }
    memcpy(out, at, len);
    out[len] = 0;
    return true;
}

/* Networks and names; both rare, so they live in a block of their own. */
static int keep_given(struct tunnel *t, const struct wire_config *c)
{
    struct given *g = calloc(1, sizeof(*g));
    if (!g)
        return ERR_MEMORY;
    for (size_t i = 0; i < c->count; i++) {
        if (g->subnet_count < CONF_SELECTORS &&
            read_subnet(&c->items[i], &g->subnets[g->subnet_count]))
            g->subnet_count++;
        else if (g->domain_count < CONF_DOMAINS &&
                 read_domain(&c->items[i], g->domains[g->domain_count]))
            g->domain_count++;
    }
    free(t->given);
    t->given = g;
    if (g->subnet_count > 0 || g->domain_count > 0)
        return 0;
    free(g);
    t->given = NULL;
    return 0;
}

int config_read_reply(struct ike_engine *e, const struct wire_chain *chain, struct tunnel *t)
{
    struct ip ip4 = {0}, ip6 = {0}, dns[CONF_DNS];
    bool wanted = e->conf->request_ip4 || e->conf->request_ip6, refused = false;
    if (!read_config(e, chain, CONFIG_REPLY)) {
        explain(e,
                "the gateway gave us no inner address; ask for none, or give the gateway a pool");
        return wanted ? ERR_ADDRESS : 0;
    }
    for (size_t i = 0; i < e->config.count; i++) {
        const struct wire_config_item *item = &e->config.items[i];
        if (item->type == CONFIG_INTERNAL_IP4_ADDRESS && e->conf->request_ip4 && !ip4.family)
            ip4 = item_ip(item, 4);
        else if (item->type == CONFIG_INTERNAL_IP6_ADDRESS && e->conf->request_ip6 && !ip6.family)
            ip6 = item_ip(item, 6);
    }
    refused = (ip4.family && !ip_is_host(&ip4)) || (ip6.family && !ip_is_host(&ip6));
    if (refused || (wanted && !ip4.family && !ip6.family)) {
        explain(e, refused ? "the gateway gave us an inner address that no host can have; correct "
                             "its pool"
                           : "the gateway gave us no inner address; ask for none, or give the "
                             "gateway a pool");
        return ERR_ADDRESS;
    }
    int err = keep_dns(t, dns, wanted ? collect_dns(&e->config, dns) : 0);
    if (err == 0)
        err = keep_given(t, &e->config);
    if (err < 0)
        return err;
    t->ip4 = ip4;
    t->ip6 = ip6;
    return 0;
}
