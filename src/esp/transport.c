#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

#include "esp/checksum.h"
#include "esp/transport.h"

enum {
    TTL = 64,
    DONT_FRAGMENT = 0x4000,
    ALIGN = 16,
    NO_CHECKSUM = UINT16_MAX,
};

static bool one_address(const struct selector *list, uint8_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!ip_equal(&list[i].low, &list[0].low) || !ip_equal(&list[i].high, &list[0].low))
            return false;
    return count > 0;
}

static bool fits(const struct ip *seen, uint8_t family)
{
    return seen->family == 0 || seen->family == family;
}

bool transport_sane(const struct esp_sa_config *config)
{
    uint8_t family = config->local_ts[0].low.family;
    return one_address(config->local_ts, config->local_count) &&
           one_address(config->remote_ts, config->remote_count) &&
           config->remote_ts[0].low.family == family && fits(&config->seen_local, family) &&
           fits(&config->seen_remote, family);
}

/* ---- out ------------------------------------------------------------------------------------ */

const struct out_to *transport_strip(struct esp_out *out, const struct out_to *to,
                                     struct out_to *bare, uint32_t *len)
{
    uint8_t *text = out->buffer + out->used + to->sa->head_len;
    bool ip4 = text[0] >> 4 == 4;
    uint32_t head = ip4 ? IP4_HEADER : IP6_HEADER;
    *bare = *to;
    bare->next_header = ip4 ? ((const struct ip4_header *)(const void *)text)->protocol
                            : ((const struct ip6_header *)(const void *)text)->next;
    *len -= head;
    memmove(text, text + head, *len);
    return bare;
}

/* ---- in ------------------------------------------------------------------------------------- */

static const struct ip *seen_or(const struct ip *seen, const struct ip *real)
{
    return seen->family ? seen : real;
}

/* The two sums differ by what the addresses differ (RFC 1624): minus theirs, plus ours. */
uint16_t transport_shift(const struct esp_sa_config *config)
{
    const struct ip *local = &config->local_ts[0].low, *remote = &config->remote_ts[0].low;
    const struct ip *theirs_local = seen_or(&config->seen_local, local);
    const struct ip *theirs_remote = seen_or(&config->seen_remote, remote);
    if (ip_equal(local, theirs_local) && ip_equal(remote, theirs_remote))
        return 0;
    size_t len = ip_len(local);
    uint16_t theirs =
        sum_fold(sum_add(sum_add(0, theirs_local->octets, len), theirs_remote->octets, len));
    uint64_t ours = sum_add(sum_add(0, local->octets, len), remote->octets, len);
    return sum_fold(ours + (uint16_t)~theirs);
}

/* Where the checksum over addresses stands in each protocol that has one. */
static size_t checksum_place(uint8_t protocol)
{
    switch (protocol) {
    case PROTO_TCP:
        return offsetof(struct tcp_header, checksum);
    case PROTO_UDP:
    case PROTO_UDP_LITE:
    case PROTO_DCCP:
        return offsetof(struct udp_header, checksum);
    case PROTO_ICMP6:
        return 2;
    default:
        return NO_CHECKSUM;
    }
}

/* A wrong checksum stays wrong: the receiver's stack is to see it. UDP's zero says that there is
 * none (RFC 768), so it never becomes one. */
static void shift_checksum(uint8_t *payload, uint32_t len, uint8_t protocol, uint16_t shift)
{
    size_t at = checksum_place(protocol);
    uint16_t checksum;
    if (at + sizeof(checksum) > len)
        return;
    memcpy(&checksum, payload + at, sizeof(checksum));
    if (protocol == PROTO_UDP && checksum == 0)
        return;
    checksum = (uint16_t)~sum_fold((uint64_t)(uint16_t)~checksum + shift);
    if (protocol == PROTO_UDP && checksum == 0)
        checksum = UINT16_MAX;
    memcpy(payload + at, &checksum, sizeof(checksum));
}

static void put_ip4(uint8_t *at, const struct sa *sa, uint8_t tos, uint32_t len, uint8_t next)
{
    struct ip4_header ip = {.version_ihl = 0x45,
                            .tos = tos,
                            .len = htons((uint16_t)len),
                            .fragment = htons(DONT_FRAGMENT),
                            .ttl = TTL,
                            .protocol = next};
    memcpy(ip.source, sa->remote_ts[0].low.octets, 4);
    memcpy(ip.destination, sa->local_ts[0].low.octets, 4);
    ip4_header_checksum(&ip, sizeof(ip));
    memcpy(at, &ip, sizeof(ip));
}

static void put_ip6(uint8_t *at, const struct sa *sa, uint8_t tos, uint32_t len, uint8_t next)
{
    struct ip6_header ip = {.version_class_flow = htonl(6u << 28 | (uint32_t)tos << 20),
                            .payload_len = htons((uint16_t)len),
                            .next = next,
                            .hops = TTL};
    memcpy(ip.source, sa->remote_ts[0].low.octets, 16);
    memcpy(ip.destination, sa->local_ts[0].low.octets, 16);
    memcpy(at, &ip, sizeof(ip));
}

bool transport_has_room(const struct transport_room *room, uint32_t len)
{
    return room->used + len + IP6_HEADER + ALIGN <= TRANSPORT_ROOM;
}

uint8_t *transport_restore(struct transport_room *room, const struct sa *sa, uint8_t tos,
                           const uint8_t *payload, uint32_t *len, uint8_t next)
{
    bool ip4 = sa->local_ts[0].low.family == 4;
    uint32_t head = ip4 ? IP4_HEADER : IP6_HEADER, whole = head + *len;
    uint8_t *packet = room->octets + room->used;
    if ((ip4 ? whole : *len) > UINT16_MAX || !transport_has_room(room, *len))
        return NULL;
    if (ip4)
        put_ip4(packet, sa, tos, whole, next);
    else
        put_ip6(packet, sa, tos, *len, next);
    memcpy(packet + head, payload, *len);
    if (sa->checksum_shift)
        shift_checksum(packet + head, *len, next, sa->checksum_shift);
    room->used += (whole + ALIGN - 1) / ALIGN * ALIGN;
    *len = whole;
    return packet;
}
