/* Written with pointers instead of cursors, as it runs for every packet: each length is checked
 * once, before anything behind it is read.
 *
 * The packets inside the tunnel, as far as the data plane must understand them: addresses, protocol
 * and ports for the selectors (RFC 4301), ECN and DSCP (RFC 6040), the MSS of a TCP SYN. */
#ifndef SHRIKE_ESP_INNER_H
#define SHRIKE_ESP_INNER_H

#include <string.h>

#include "esp/esp.h"

enum {
    PROTO_HOP_BY_HOP = 0,
    PROTO_ICMP = 1,
    PROTO_IPIP = 4,
    PROTO_TCP = 6,
    PROTO_UDP = 17,
    PROTO_DCCP = 33,
    PROTO_IPV6 = 41,
    PROTO_ROUTING = 43,
    PROTO_FRAGMENT = 44,
    PROTO_AH = 51,
    PROTO_ICMP6 = 58,
    PROTO_NONE = 59,
    PROTO_OPTIONS = 60,
    PROTO_MOBILITY = 135,
    PROTO_UDP_LITE = 136,
    IP4_HEADER = 20,
    IP6_HEADER = 40,
    TCP_HEADER = 20,
    UDP_HEADER = 8,
    ECN_MASK = 3,
    ECN_ECT1 = 1,
    ECN_ECT0 = 2,
    ECN_CE = 3,
};
enum { TCP_FIN = 0x01, TCP_SYN = 0x02, TCP_PSH = 0x08, TCP_ACK = 0x10, TCP_CWR = 0x80 };

/* Headers as they stand in memory; all members in network order. Packed: they lie anywhere. */
struct ip4_header {
    uint8_t version_ihl, tos;
    uint16_t len, id, fragment;
    uint8_t ttl, protocol;
    uint16_t checksum;
    uint8_t source[4], destination[4];
} __attribute__((packed));
struct ip6_header {
    uint32_t version_class_flow;
    uint16_t payload_len;
    uint8_t next, hops;
    uint8_t source[16], destination[16];
} __attribute__((packed));
struct tcp_header {
    uint16_t source, destination;
    uint32_t sequence, acknowledged;
    uint8_t offset, flags;
    uint16_t window, checksum, urgent;
} __attribute__((packed));
struct udp_header {
    uint16_t source, destination, len, checksum;
} __attribute__((packed));

/* What one look found. Host order. */
struct inner {
    uint8_t *packet;
    uint32_t len;  /* by the IP header; what follows it is TFC padding */
    uint16_t head; /* octets before the transport header */
    uint8_t family, protocol, tos;
    bool plain;     /* neither options nor extension headers nor fragment */
    bool has_ports; /* not so in later fragments and for protocols without ports */
    uint16_t source_port, destination_port; /* both type << 8 | code for ICMP */
};

/* False when the headers do not hold or claim more than `room` octets. */
bool inner_parse(uint8_t *packet, size_t room, struct inner *out);
static inline const uint8_t *inner_source(const struct inner *inner)
{
    return inner->packet + (inner->family == 4 ? 12 : 8);
}
static inline const uint8_t *inner_destination(const struct inner *inner)
{
    return inner->packet + (inner->family == 4 ? 16 : 24);
}
/* Same addresses, protocol and ports, or both without ports. */
static inline bool inner_same_flow(const struct inner *a, const struct inner *b)
{
    if (a->family != b->family || a->protocol != b->protocol || a->has_ports != b->has_ports ||
        a->source_port != b->source_port || a->destination_port != b->destination_port)
        return false;
    if (a->family == 4) /* of constant size: no call */
        return memcmp(inner_source(a), inner_source(b), 8) == 0;
    return memcmp(inner_source(a), inner_source(b), 32) == 0;
}
bool inner_dont_fragment(const struct inner *inner);
/* The pseudo header without the length (RFC 9293 3.1, RFC 8200 8.1). */
uint64_t inner_pseudo_sum(const struct inner *inner, uint8_t protocol);
void ip4_header_checksum(struct ip4_header *header, size_t len);

/* May this address, protocol and port be: does one of the selectors cover it? */
bool selectors_match(const struct selector *list, size_t count, uint8_t family,
                     const uint8_t *address, const struct inner *inner, uint16_t port);

/* RFC 6040 section 4.2: the outer ECN field goes into the inner header. False: must be dropped. */
bool inner_take_ecn(struct inner *inner, uint8_t outer_tos);
/* Lowers the MSS option of a TCP SYN to what fits `mtu`. */
void inner_clamp_mss(const struct inner *inner, uint16_t mtu);

#endif
