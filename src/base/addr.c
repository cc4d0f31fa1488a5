#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

size_t ip_len(const struct ip *ip)
{
    return ip->family == 4 ? 4 : ip->family == 6 ? 16 : 0;
}

bool ip_equal(const struct ip *a, const struct ip *b)
{
    return a->family == b->family && memcmp(a->octets, b->octets, ip_len(a)) == 0;
}

int ip_compare(const struct ip *a, const struct ip *b)
{
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    return memcmp(a->octets, b->octets, ip_len(a));
}

bool ip_is_any(const struct ip *ip)
{
    static const uint8_t zero[16];
    return memcmp(ip->octets, zero, ip_len(ip)) == 0;
}

static bool is_host4(const uint8_t *o)
{
    return o[0] != 0 && o[0] != 127 && o[0] < 224 && !(o[0] == 169 && o[1] == 254);
}

static bool is_host6(const uint8_t *o)
{
    static const uint8_t zero[16];
    bool low = memcmp(o, zero, 10) == 0; /* ::, ::1, and IPv4 in other clothes */
    return !low && o[0] != 0xff && !(o[0] == 0xfe && (o[1] & 0xc0) == 0x80);
}

bool ip_is_host(const struct ip *ip)
{
    return ip->family == 4 ? is_host4(ip->octets) : ip->family == 6 && is_host6(ip->octets);
}

struct ip ip_from_octets(uint8_t family, const uint8_t *octets)
{
    struct ip ip = {.family = family};
    memcpy(ip.octets, octets, ip_len(&ip));
    return ip;
}

struct ip ip_add(struct ip ip, uint64_t n)
{
    for (size_t i = ip_len(&ip); i > 0 && n > 0; i--) {
        n += ip.octets[i - 1];
        ip.octets[i - 1] = (uint8_t)n;
        n >>= 8;
    }
    return ip;
}

bool ip_parse(const char *text, struct ip *out)
{
    struct ip ip = {.family = 4};
    if (inet_pton(AF_INET, text, ip.octets) != 1) {
        ip.family = 6;
        if (inet_pton(AF_INET6, text, ip.octets) != 1)
            return false;
    }
    *out = ip;
    return true;
}

const char *ip_print(const struct ip *ip, char text[static ADDR_TEXT])
{
    if (ip->family == 0 ||
        !inet_ntop(ip->family == 4 ? AF_INET : AF_INET6, ip->octets, text, ADDR_TEXT))
        strcpy(text, "none");
    return text;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
    return a->port == b->port && ip_equal(&a->ip, &b->ip);
}

bool number_parse(const char *text, unsigned long max, unsigned long *out)
{
    if (*text < '0' || *text > '9' || strlen(text) > 10)
        return false;
    char *end;
    unsigned long v = strtoul(text, &end, 10);
    if (*end || v > max)
        return false;
    *out = v;
    return true;
}

bool endpoint_parse(const char *text, uint16_t default_port, struct endpoint *out)
{
    char host[ADDR_TEXT];
    struct endpoint e = {.port = default_port};
    if (ip_parse(text, &e.ip)) {
        *out = e;
        return true;
    }
    const char *colon = strrchr(text, ':');
    bool bracket = text[0] == '[';
    const char *end = bracket ? strchr(text, ']') : colon;
    if (!end || (size_t)(end - text) >= sizeof(host))
        return false;
    size_t len = (size_t)(end - text) - bracket;
    memcpy(host, text + bracket, len);
    host[len] = 0;
    const char *port = bracket ? end + 1 : end;
    unsigned long number = default_port;
    if (*port && (*port != ':' || !number_parse(port + 1, UINT16_MAX, &number)))
        return false;
    e.port = (uint16_t)number;
    if (!ip_parse(host, &e.ip) || (e.ip.family == 6) != bracket)
        return false;
    *out = e;
    return true;
}

const char *endpoint_print(const struct endpoint *e, char text[static ADDR_TEXT])
{
    char ip[ADDR_TEXT];
    ip_print(&e->ip, ip);
    /* The longest is 45 characters of IPv6, brackets and a port. */
    snprintf(text, ADDR_TEXT, e->ip.family == 6 ? "[%.46s]:%u" : "%.46s:%u", ip, e->port);
    return text;
}

socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (e->ip.family == 4) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)out;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(e->port);
        memcpy(&v4->sin_addr, e->ip.octets, 4);
        return sizeof(*v4);
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(e->port);
    memcpy(&v6->sin6_addr, e->ip.octets, 16);
    return sizeof(*v6);
}

bool endpoint_from_sockaddr(const struct sockaddr_storage *in, struct endpoint *out)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (in->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)in;
        out->ip = ip_from_octets(4, (const uint8_t *)&v4->sin_addr);
        out->port = ntohs(v4->sin_port);
        return true;
    }
    if (in->ss_family != AF_INET6)
        return false;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)in;
    bool is_v4 = memcmp(&v6->sin6_addr, mapped, sizeof(mapped)) == 0;
    out->ip = is_v4 ? ip_from_octets(4, v6->sin6_addr.s6_addr + 12)
                    : ip_from_octets(6, v6->sin6_addr.s6_addr);
    out->port = ntohs(v6->sin6_port);
    return true;
}

/* Octet i of a netmask with that many bits. */
static uint8_t mask_octet(unsigned bits, size_t i)
{
    if (bits >= 8 * (i + 1))
        return 0xff;
    return bits <= 8 * i ? 0 : (uint8_t)(0xff00 >> (bits - 8 * i));
}

bool prefix_parse(const char *text, struct prefix *out)
{
    char host[ADDR_TEXT];
    size_t len = strcspn(text, "/");
    if (len >= sizeof(host))
        return false;
    memcpy(host, text, len);
    host[len] = 0;
    struct prefix p;
    if (!ip_parse(host, &p.ip))
        return false;
    unsigned long bits = 8 * ip_len(&p.ip);
    if (text[len] == '/' && !number_parse(text + len + 1, bits, &bits))
        return false;
    p.bits = (uint8_t)bits;
    for (size_t i = 0; i < ip_len(&p.ip); i++)
        if (p.ip.octets[i] & ~mask_octet(p.bits, i))
            return false;
    *out = p;
    return true;
}

const char *prefix_print(const struct prefix *p, char text[static ADDR_TEXT])
{
    char ip[ADDR_TEXT];
    ip_print(&p->ip, ip);
    snprintf(text, ADDR_TEXT, "%.46s/%u", ip, p->bits);
    return text;
}

bool prefix_contains(const struct prefix *p, const struct ip *ip)
{
    if (p->ip.family != ip->family)
        return false;
    for (size_t i = 0; i < ip_len(ip); i++)
        if ((p->ip.octets[i] ^ ip->octets[i]) & mask_octet(p->bits, i))
            return false;
    return true;
}

struct ip prefix_last(const struct prefix *p)
{
    struct ip last = p->ip;
    for (size_t i = 0; i < ip_len(&last); i++)
        last.octets[i] |= (uint8_t)~mask_octet(p->bits, i);
    return last;
}
