#include <arpa/inet.h>
#include <string.h>

#include "esp/checksum.h"
#include "esp/inner.h"

enum {
    EXTENSIONS_MAX = 8,
    IP4_OFFSET_MASK = 0x1fff,
    IP4_MORE = 0x2000,
    IP4_DONT = 0x4000,
    TCP_OPTION_END = 0,
    TCP_OPTION_NOP = 1,
    TCP_OPTION_MSS = 2,
};

static uint16_t be16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t be32(const uint8_t *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof(v));
    return ntohl(v);
}

static void read_ports(struct inner *in)
{
    const uint8_t *at = in->packet + in->head;
    uint32_t left = in->len - in->head;
    switch (in->protocol) {
    case PROTO_TCP:
    case PROTO_UDP:
    case PROTO_DCCP:
    case 132: /* SCTP */
    case PROTO_UDP_LITE:
        if (left < 4)
            return;
        in->source_port = be16(at);
        in->destination_port = be16(at + 2);
        in->has_ports = true;
        return;
    case PROTO_ICMP:
    case PROTO_ICMP6:
        if (left < 2)
            return;
        in->source_port = in->destination_port = be16(at);
        in->has_ports = true;
        return;
    case PROTO_MOBILITY: /* its type stands in the upper octet (RFC 7296 3.13.1) */
        if (left < 3)
            return;
        in->source_port = in->destination_port = (uint16_t)(at[2] << 8);
        in->has_ports = true;
    }
}

static bool parse4(size_t room, struct inner *in)
{
    const struct ip4_header *ip = (const void *)in->packet;
    if (room < IP4_HEADER)
        return false;
    in->head = (uint16_t)((ip->version_ihl & 15) * 4);
    in->len = ntohs(ip->len);
    in->tos = ip->tos;
    in->protocol = ip->protocol;
    if (in->head < IP4_HEADER || in->len < in->head || in->len > room)
        return false;
    uint16_t fragment = ntohs(ip->fragment);
    in->plain = in->head == IP4_HEADER && !(fragment & (IP4_OFFSET_MASK | IP4_MORE));
    if (!(fragment & IP4_OFFSET_MASK))
        read_ports(in);
    return true;
}

/* Walks the extension headers to the transport. False when a header does not hold; a chain that is
 * too long or of unknown kind ends as a protocol without ports. */
static bool parse6(size_t room, struct inner *in)
{
    const struct ip6_header *ip = (const void *)in->packet;
    if (room < IP6_HEADER)
        return false;
    in->tos = (uint8_t)(ntohl(ip->version_class_flow) >> 20);
    in->len = IP6_HEADER + (uint32_t)ntohs(ip->payload_len);
    in->protocol = ip->next;
    in->plain = true;
    if (in->len > room)
        return false;
    uint32_t at = IP6_HEADER;
    bool later_fragment = false;
    for (int i = 0; i < EXTENSIONS_MAX && !later_fragment; i++) {
        const uint8_t *next = in->packet + at;
        uint32_t size;
        if (in->protocol != PROTO_HOP_BY_HOP && in->protocol != PROTO_ROUTING &&
            in->protocol != PROTO_OPTIONS && in->protocol != PROTO_FRAGMENT &&
            in->protocol != PROTO_AH)
            break;
        in->plain = false;
        if (in->len - at < 8)
            return false;
        size = in->protocol == PROTO_FRAGMENT ? 8
               : in->protocol == PROTO_AH     ? (next[1] + 2u) * 4
                                              : (next[1] + 1u) * 8;
        if (size > in->len - at)
            return false;
        later_fragment = in->protocol == PROTO_FRAGMENT && (be16(next + 2) & 0xfff8) != 0;
        in->protocol = next[0];
        at += size;
    }
    in->head = (uint16_t)at;
    if (!later_fragment)
        read_ports(in);
    return true;
}

bool inner_parse(uint8_t *packet, size_t room, struct inner *out)
{
    *out = (struct inner){.packet = packet};
    if (room == 0)
        return false;
    if (packet[0] >> 4 == 4) {
        out->family = 4;
        return parse4(room, out);
    }
    if (packet[0] >> 4 == 6) {
        out->family = 6;
        return parse6(room, out);
    }
    return false;
}

bool inner_dont_fragment(const struct inner *inner)
{
    const struct ip4_header *ip = (const void *)inner->packet;
    return inner->family == 6 || (ntohs(ip->fragment) & IP4_DONT);
}

uint64_t inner_pseudo_sum(const struct inner *inner, uint8_t protocol)
{
    return sum_add(sum_of_u16(protocol), inner_source(inner), inner->family == 4 ? 8 : 32);
}

void ip4_header_checksum(struct ip4_header *header, size_t len)
{
    header->checksum = 0;
    header->checksum = (uint16_t)~sum_fold(sum_add(0, header, len));
}

static bool in_range(const struct selector *s, uint8_t family, const uint8_t *address)
{
    if (s->low.family != family)
        return false;
    if (family == 4) {
        uint32_t v = be32(address);
        return v >= be32(s->low.octets) && v <= be32(s->high.octets);
    }
    return memcmp(address, s->low.octets, 16) >= 0 && memcmp(address, s->high.octets, 16) <= 0;
}

static bool port_fits(const struct selector *s, const struct inner *inner, uint16_t port)
{
    if (s->port_low == 0 && s->port_high == UINT16_MAX)
        return true;
    if (!inner->has_ports)
        return selector_is_opaque(s);
    return port >= s->port_low && port <= s->port_high;
}

bool selectors_match(const struct selector *list, size_t count, uint8_t family,
                     const uint8_t *address, const struct inner *inner, uint16_t port)
{
    for (size_t i = 0; i < count; i++) {
        const struct selector *s = &list[i];
        if ((s->protocol == 0 || s->protocol == inner->protocol) && port_fits(s, inner, port) &&
            in_range(s, family, address))
            return true;
    }
    return false;
}

static void set_tos(struct inner *inner, uint8_t tos)
{
    if (inner->family == 4) {
        struct ip4_header *ip = (void *)inner->packet;
        uint16_t before, after;
        memcpy(&before, inner->packet, 2);
        ip->tos = tos;
        memcpy(&after, inner->packet, 2);
        ip->checksum = checksum_adjust(ip->checksum, before, after);
    } else {
        inner->packet[0] = (uint8_t)(0x60 | tos >> 4);
        inner->packet[1] = (uint8_t)(tos << 4 | (inner->packet[1] & 15));
    }
    inner->tos = tos;
}

bool inner_take_ecn(struct inner *inner, uint8_t outer_tos)
{
    uint8_t outer = outer_tos & ECN_MASK, own = inner->tos & ECN_MASK;
    if (outer == own || outer == 0 || outer == ECN_ECT0 || own == ECN_CE)
        return true; /* the inner field stands */
    if (own == 0)
        return outer != ECN_CE; /* not ECN-capable: congestion can only be told by a drop */
    set_tos(inner, (uint8_t)((inner->tos & ~ECN_MASK) | outer)); /* ECT(1) or CE */
    return true;
}

void inner_clamp_mss(const struct inner *inner, uint16_t mtu)
{
    if (inner->protocol != PROTO_TCP || !inner->has_ports ||
        inner->len < (uint32_t)inner->head + TCP_HEADER)
        return;
    struct tcp_header *tcp = (void *)(inner->packet + inner->head);
    uint32_t size = (tcp->offset >> 4) * 4u;
    uint32_t most = (uint32_t)mtu - (inner->family == 4 ? IP4_HEADER : IP6_HEADER) - TCP_HEADER;
    if (!(tcp->flags & TCP_SYN) || size > inner->len - inner->head)
        return;
    uint8_t *option = (uint8_t *)tcp;
    for (uint32_t at = TCP_HEADER; at < size && option[at] != TCP_OPTION_END;) {
        if (option[at] == TCP_OPTION_NOP) {
            at++;
            continue;
        }
        if (size - at < 2 || option[at + 1] < 2 || option[at + 1] > size - at)
            return;
        if (option[at] == TCP_OPTION_MSS && option[at + 1] == 4 && be16(option + at + 2) > most) {
            /* A word at an odd place counts with its octets swapped. */
            uint16_t before = be16(option + at + 2), after = (uint16_t)most;
            option[at + 2] = (uint8_t)(after >> 8);
            option[at + 3] = (uint8_t)after;
            uint16_t old_word = htons(before), new_word = htons(after);
            if (at % 2 != 0) {
                old_word = __builtin_bswap16(old_word);
                new_word = __builtin_bswap16(new_word);
            }
            tcp->checksum = checksum_adjust(tcp->checksum, old_word, new_word);
            return;
        }
        at += option[at + 1];
    }
}
