/* Addresses, endpoints, prefixes and traffic selectors (RFC 7296 section 3.13.1). Ports are in host
 * order. */
#ifndef SHRIKE_BASE_ADDR_H
#define SHRIKE_BASE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* family is 0 (none), 4 or 6; an IPv4 address is in the first four octets and the rest is zero. */
struct ip {
    uint8_t family;
    uint8_t octets[16];
};

struct endpoint {
    struct ip ip;
    uint16_t port;
};

struct prefix {
    struct ip ip;
    uint8_t bits;
};

/* A range of addresses, one protocol (0 = any) and a range of ports. 0-65535 is any; 65535-0 is
 * OPAQUE: packets whose ports do not show, such as later fragments. Of ICMP the upper octet is the
 * type and the lower one the code; of the Mobility Header the upper one is the type. */
struct selector {
    struct ip low, high;
    uint8_t protocol;
    uint16_t port_low, port_high;
};

enum { ADDR_TEXT = 64, SELECTOR_TEXT = 160 };

size_t ip_len(const struct ip *ip); /* 0, 4 or 16 */
bool ip_equal(const struct ip *a, const struct ip *b);
int ip_compare(const struct ip *a, const struct ip *b); /* family first, then octets */
bool ip_is_any(const struct ip *ip);                    /* none or all zero */
/* May a host have it as its own inside a tunnel: no loopback, link-local, multicast, broadcast. */
bool ip_is_host(const struct ip *ip);
struct ip ip_from_octets(uint8_t family, const uint8_t *octets);
struct ip ip_add(struct ip ip, uint64_t n); /* n addresses further */
bool ip_parse(const char *text, struct ip *out);
const char *ip_print(const struct ip *ip, char text[static ADDR_TEXT]);

/* Decimal digits only, at most max. */
bool number_parse(const char *text, unsigned long max, unsigned long *out);

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
bool endpoint_parse(const char *text, uint16_t default_port,
                    struct endpoint *out); /* 1.2.3.4:500 or [::1]:500 */
const char *endpoint_print(const struct endpoint *e,
                           char text[static ADDR_TEXT]); /* 1.2.3.4:500 or [::1]:500 */
socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out);
bool endpoint_from_sockaddr(const struct sockaddr_storage *in,
                            struct endpoint *out); /* v4-mapped becomes IPv4 */

bool prefix_parse(
    const char *text,
    struct prefix *out); /* host bits set are refused; a bare address is /32 or /128 */
const char *prefix_print(const struct prefix *p, char text[static ADDR_TEXT]);
bool prefix_contains(const struct prefix *p, const struct ip *ip);
struct ip prefix_last(const struct prefix *p);

struct selector selector_from_prefix(const struct prefix *p);
struct selector selector_from_ip(const struct ip *ip);
struct selector selector_any(uint8_t family);
bool selector_is_opaque(const struct selector *s);
bool selector_any_port(const struct selector *s);
bool selector_equal(const struct selector *a, const struct selector *b);
bool selector_is_subset(const struct selector *inner, const struct selector *outer);
/* The common part of a and b; false when there is none. RFC 7296 section 2.9. */
bool selector_intersect(const struct selector *a, const struct selector *b, struct selector *out);
bool selector_matches(const struct selector *s, const struct ip *ip, uint8_t protocol,
                      uint16_t port);
/* The smallest prefix when the range is exactly one, else false. */
bool selector_to_prefix(const struct selector *s, struct prefix *out);
/* 10.0.0.0/8, 10.0.0.5-10.0.0.9[udp/5000-5010], fd00::/8[tcp], 10.0.0.0/8[icmp/8] (a type; 3.4 is a
 * type and a code), 10.0.0.1[udp/opaque]. What one prints the other reads. */
const char *selector_print(const struct selector *s, char text[static SELECTOR_TEXT]);
bool selector_parse(const char *text, struct selector *out);

#endif
