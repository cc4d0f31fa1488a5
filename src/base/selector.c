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

bool selector_is_opaque(const struct selector *s)
{
    return s->port_low == UINT16_MAX && s->port_high == 0;
}

bool selector_any_port(const struct selector *s)
{
    return s->port_low == 0 && s->port_high == UINT16_MAX;
}

/* ANY holds OPAQUE too (RFC 4301 4.4.1.1); no other range does. */
static bool intersect_ports(const struct selector *a, const struct selector *b,
                            struct selector *out)
{
    if (selector_is_opaque(a) || selector_is_opaque(b)) {
        out->port_low = UINT16_MAX;
        out->port_high = 0;
        return (selector_is_opaque(a) || selector_any_port(a)) &&
               (selector_is_opaque(b) || selector_any_port(b));
    }
    out->port_low = a->port_low > b->port_low ? a->port_low : b->port_low;
    out->port_high = a->port_high < b->port_high ? a->port_high : b->port_high;
    return out->port_low <= out->port_high;
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
    };
    if (ip_compare(&s.low, &s.high) > 0 || !intersect_ports(a, b, &s))
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

/* ---- words */

enum { ICMP = 1, ICMP6 = 58, MOBILITY = 135 };

static const struct {
    const char *word;
    uint8_t number;
} protocols[] = {
    {"icmp", ICMP},   {"tcp", 6},   {"udp", 17},   {"gre", 47},
    {"icmp6", ICMP6}, {"ospf", 89}, {"sctp", 132}, {"mh", MOBILITY},
};

/* The two octets of the port stand for type and code (RFC 7296 3.13.1). */
static bool has_types(uint8_t protocol)
{
    return protocol == ICMP || protocol == ICMP6 || protocol == MOBILITY;
}

static bool has_ports(uint8_t protocol)
{
    return protocol == 6 || protocol == 17 || protocol == 33 || protocol == 132 || protocol == 136;
}

/* Cuts `text` behind the first `mark`; NULL when there is none. */
static char *cut(char *text, char mark)
{
    char *at = strchr(text, mark);
    if (!at)
        return NULL;
    *at = 0;
    return at + 1;
}

static bool parse_protocol(const char *text, uint8_t *out)
{
    unsigned long number;
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
        if (strcmp(text, protocols[i].word) == 0) {
            *out = protocols[i].number;
            return true;
        }
    if (!number_parse(text, UINT8_MAX, &number) || number == 0)
        return false;
    *out = (uint8_t)number;
    return true;
}

/* 443, 5000-5010; of ICMP a type, a range of types, or type.code. */
static bool parse_ports(char *text, struct selector *s)
{
    unsigned long low, high, code;
    bool types = has_types(s->protocol);
    unsigned long most = types ? UINT8_MAX : UINT16_MAX;
    if (strcmp(text, "opaque") == 0) {
        s->port_low = UINT16_MAX;
        s->port_high = 0;
        return true;
    }
    const char *to = cut(text, '-'), *of = types && !to ? cut(text, '.') : NULL;
    if (!number_parse(text, most, &low) || !number_parse(to ? to : text, most, &high) ||
        low > high || (of && !number_parse(of, UINT8_MAX, &code)))
        return false;
    s->port_low = (uint16_t)(of ? low << 8 | code : types ? low << 8 : low);
    s->port_high = (uint16_t)(of ? low << 8 | code : types ? high << 8 | UINT8_MAX : high);
    return true;
}

static bool parse_upper(char *text, struct selector *s)
{
    char *ports = cut(text, '/');
    if (!parse_protocol(text, &s->protocol))
        return false;
    if (!ports)
        return true;
    return (has_ports(s->protocol) || has_types(s->protocol)) && parse_ports(ports, s);
}

bool selector_parse(const char *text, struct selector *out)
{
    char room[SELECTOR_TEXT];
    struct prefix prefix;
    struct selector s = {.port_high = UINT16_MAX};
    size_t len = strlen(text);
    if (len >= sizeof(room))
        return false;
    memcpy(room, text, len + 1);
    char *upper = cut(room, '[');
    if (upper && (room[len - 1] != ']' || len < 2))
        return false;
    if (upper)
        room[len - 1] = 0;
    char *high = cut(room, '-');
    if (high) {
        if (!ip_parse(room, &s.low) || !ip_parse(high, &s.high) || s.low.family != s.high.family ||
            ip_compare(&s.low, &s.high) > 0)
            return false;
    } else if (prefix_parse(room, &prefix)) {
        s = selector_from_prefix(&prefix);
    } else {
        return false;
    }
    if (upper && !parse_upper(upper, &s))
        return false;
    *out = s;
    return true;
}

static void print_ports(const struct selector *s, char *out, size_t size)
{
    unsigned low = s->port_low, high = s->port_high;
    out[0] = 0;
    if (selector_is_opaque(s))
        snprintf(out, size, "/opaque");
    else if (selector_any_port(s))
        return;
    else if (!has_types(s->protocol))
        snprintf(out, size, low == high ? "/%u" : "/%u-%u", low, high);
    else if (low == high)
        snprintf(out, size, "/%u.%u", low >> 8, low & UINT8_MAX);
    else if ((low & UINT8_MAX) == 0 && (high & UINT8_MAX) == UINT8_MAX)
        snprintf(out, size, low >> 8 == high >> 8 ? "/%u" : "/%u-%u", low >> 8, high >> 8);
    else /* only a peer can ask for this */
        snprintf(out, size, "/%u.%u-%u.%u", low >> 8, low & UINT8_MAX, high >> 8, high & UINT8_MAX);
}

static void print_upper(const struct selector *s, char *out, size_t size)
{
    char number[8], ports[24];
    const char *word = number;
    out[0] = 0;
    if (s->protocol == 0 && selector_any_port(s))
        return;
    snprintf(number, sizeof(number), "%u", s->protocol);
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
        if (protocols[i].number == s->protocol)
            word = protocols[i].word;
    print_ports(s, ports, sizeof(ports));
    snprintf(out, size, "[%s%s]", word, ports);
}

const char *selector_print(const struct selector *s, char text[static SELECTOR_TEXT])
{
    char low[ADDR_TEXT], high[ADDR_TEXT], upper[40];
    struct prefix p;
    print_upper(s, upper, sizeof(upper));
    if (selector_to_prefix(s, &p))
        snprintf(text, SELECTOR_TEXT, "%s%s", prefix_print(&p, low), upper);
    else
        snprintf(text, SELECTOR_TEXT, "%s-%s%s", ip_print(&s->low, low), ip_print(&s->high, high),
                 upper);
    return text;
}
