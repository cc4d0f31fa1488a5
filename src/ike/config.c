#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

/* The configuration payload (RFC 7296 2.19, 3.15). Attributes of other makers are ignored. */

static void put(struct wire_config *c, uint16_t type, struct bytes value)
{
    if (c->count < WIRE_CONFIG_MAX)
        c->items[c->count++] = (struct wire_config_item){.type = type, .value = value};
}

void config_request(struct ike_engine *e, struct wire_builder *b)
{
    struct wire_config *c = &e->config;
    *c = (struct wire_config){.type = CONFIG_REQUEST};
    if (e->conf->request_ip4) {
        put(c, CONFIG_INTERNAL_IP4_ADDRESS, (struct bytes){0});
        put(c, CONFIG_INTERNAL_IP4_DNS, (struct bytes){0});
    }
    if (e->conf->request_ip6) {
        put(c, CONFIG_INTERNAL_IP6_ADDRESS, (struct bytes){0});
        put(c, CONFIG_INTERNAL_IP6_DNS, (struct bytes){0});
    }
    if (c->count > 0)
        wire_put_config(b, c);
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

void config_read_request(const struct wire_chain *chain, struct ike_engine *e, struct ike_ask *ask)
{
    if (!read_config(e, chain, CONFIG_REQUEST))
        return;
    for (size_t i = 0; i < e->config.count; i++) {
        const struct wire_config_item *item = &e->config.items[i];
        if (item->type == CONFIG_INTERNAL_IP4_ADDRESS && !ask->ask_ip4) {
            ask->ask_ip4 = true;
            ask->wanted_ip4 = item_ip(item, 4);
        } else if (item->type == CONFIG_INTERNAL_IP6_ADDRESS && !ask->ask_ip6) {
            ask->ask_ip6 = true;
            ask->wanted_ip6 = item_ip(item, 6);
        }
    }
}

static void put_ip6(struct wire_config *c, const struct ip *ip, uint8_t octets[17])
{
    memcpy(octets, ip->octets, 16);
    octets[16] = 128;
    put(c, CONFIG_INTERNAL_IP6_ADDRESS, (struct bytes){octets, 17});
}

void config_reply(struct ike_engine *e, const struct tunnel *t, const struct wire_chain *request,
                  struct wire_builder *b)
{
    uint8_t ip6[17];
    struct wire_config *c = &e->config;
    if (!read_config(e, request, CONFIG_REQUEST))
        return;
    *c = (struct wire_config){.type = CONFIG_REPLY};
    if (t->ip4.family)
        put(c, CONFIG_INTERNAL_IP4_ADDRESS, (struct bytes){t->ip4.octets, 4});
    if (t->ip6.family)
        put_ip6(c, &t->ip6, ip6);
    for (size_t i = 0; c->count > 0 && i < e->conf->dns_count; i++) {
        const struct ip *dns = &e->conf->dns[i];
        if (dns->family == 4)
            put(c, CONFIG_INTERNAL_IP4_DNS, (struct bytes){dns->octets, 4});
        else if (dns->family == 6)
            put(c, CONFIG_INTERNAL_IP6_DNS, (struct bytes){dns->octets, 16});
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
        if (ip.family)
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

int config_read_reply(struct ike_engine *e, const struct wire_chain *chain, struct tunnel *t)
{
    struct ip ip4 = {0}, ip6 = {0}, dns[CONF_DNS];
    bool wanted = e->conf->request_ip4 || e->conf->request_ip6;
    if (!wanted)
        return 0;
    if (!read_config(e, chain, CONFIG_REPLY))
        return ERR_ADDRESS;
    for (size_t i = 0; i < e->config.count; i++) {
        const struct wire_config_item *item = &e->config.items[i];
        if (item->type == CONFIG_INTERNAL_IP4_ADDRESS && e->conf->request_ip4 && !ip4.family)
            ip4 = item_ip(item, 4);
        else if (item->type == CONFIG_INTERNAL_IP6_ADDRESS && e->conf->request_ip6 && !ip6.family)
            ip6 = item_ip(item, 6);
    }
    if (!ip4.family && !ip6.family)
        return ERR_ADDRESS;
    int err = keep_dns(t, dns, collect_dns(&e->config, dns));
    if (err < 0)
        return err;
    t->ip4 = ip4;
    t->ip6 = ip6;
    return 0;
}
