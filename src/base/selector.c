#include <stdio.h>
#include <string.h>

#include "base/base.h"

static struct selector whole(struct ip low, struct ip high)
{
    return (struct selector){.low = low, .high = high, .port_high = UINT16_MAX};
}

struct selector selector_from_prefix(const struct prefix *p)
{
    return whole(p->ip, prefix_last(p));
}

struct selector selector_from_ip(const struct ip *ip)
{
    return whole(*ip, *ip);
}

struct selector selector_any(uint8_t family)
{
    struct prefix all = {.ip = {.family = family}};
    return selector_from_prefix(&all);
}

bool selector_equal(const struct selector *a, const struct selector *b)
{
    return ip_equal(&a->low, &b->low) && ip_equal(&a->high, &b->high) &&
           a->protocol == b->protocol && a->port_low == b->port_low && a->port_high == b->port_high;
}

bool selector_is_subset(const struct selector *inner, const struct selector *outer)
{
    struct selector common;
    return selector_intersect(inner, outer, &common) && selector_equal(inner, &common);
}

bool selector_intersect(const struct selector *a, const struct selector *b, struct selector *out)
{
    if (a->low.family != b->low.family)
        return false;
    if (a->protocol && b->protocol && a->protocol != b->protocol)
        return false;
    struct selector s = {
        .low = ip_compare(&a->low, &b->low) > 0 ? a->low : b->low,
        .high = ip_compare(&a->high, &b->high) < 0 ? a->high : b->high,
        .protocol = a->protocol ? a->protocol : b->protocol,
        .port_low = a->port_low > b->port_low ? a->port_low : b->port_low,
        .port_high = a->port_high < b->port_high ? a->port_high : b->port_high,
    };
    if (ip_compare(&s.low, &s.high) > 0 || s.port_low > s.port_high)
        return false;
    *out = s;
    return true;
}

bool selector_matches(const struct selector *s, const struct ip *ip, uint8_t protocol,
                      uint16_t port)
{
    return ip->family == s->low.family && ip_compare(ip, &s->low) >= 0 &&
           ip_compare(ip, &s->high) <= 0 && (!s->protocol || s->protocol == protocol) &&
           port >= s->port_low && port <= s->port_high;
}

bool selector_to_prefix(const struct selector *s, struct prefix *out)
{
    struct prefix p = {.ip = s->low};
    for (unsigned bits = 0; bits <= 8 * ip_len(&s->low); bits++) {
        p.bits = (uint8_t)bits;
        struct ip last = prefix_last(&p);
        /* The low end must be the first address of the prefix: then setting no host bit changes it.
         */
        if (ip_equal(&last, &s->high)) {
            char text[ADDR_TEXT];
            struct prefix clean;
            if (!prefix_parse(prefix_print(&p, text), &clean))
                continue;
            *out = p;
            return true;
        }
    }
    return false;
}

const char *selector_print(const struct selector *s, char text[static SELECTOR_TEXT])
{
    char low[ADDR_TEXT], high[ADDR_TEXT], ports[32] = "";
    struct prefix p;
    if (s->protocol || s->port_low > 0 || s->port_high < UINT16_MAX) {
        if (s->port_low == 0 && s->port_high == UINT16_MAX)
            snprintf(ports, sizeof(ports), "[%u]", s->protocol);
        else if (s->port_low == s->port_high)
            snprintf(ports, sizeof(ports), "[%u/%u]", s->protocol, s->port_low);
        else
            snprintf(ports, sizeof(ports), "[%u/%u-%u]", s->protocol, s->port_low, s->port_high);
    }
    if (selector_to_prefix(s, &p))
        snprintf(text, SELECTOR_TEXT, "%s%s", prefix_print(&p, low), ports);
    else
        snprintf(text, SELECTOR_TEXT, "%s-%s%s", ip_print(&s->low, low), ip_print(&s->high, high),
                 ports);
    return text;
}
