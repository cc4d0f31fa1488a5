#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "esp/ah.h"

enum { TTL = 64, DONT_FRAGMENT = 0x4000, CLASS_AND_FLOW = 0x0fffffff };

struct ah_header {
    uint8_t next, words; /* words of 32 bits, less two */
    uint16_t reserved;
    uint32_t spi, sequence;
} __attribute__((packed));
_Static_assert(sizeof(struct ah_header) == AH_HEADER, "RFC 4302 section 2");
_Static_assert(AH_HEADS >= IP6_HEADER + AH_HEADER + 32 + 4, "the longest heads");

/* The whole header is a multiple of 4 octets over IPv4, of 8 over IPv6 (section 3.3.3.2.1). */
static uint8_t padded(uint8_t family, uint8_t icv_len)
{
    unsigned unit = family == 6 ? 8 : 4;
    return (uint8_t)((AH_HEADER + icv_len + unit - 1) / unit * unit);
}

uint8_t ah_head_len(uint8_t family, uint8_t icv_len)
{
    return (uint8_t)(padded(family, icv_len) + (family == 6 ? 0 : IP4_HEADER));
}

uint32_t ah_overhead(const struct sa *sa, const struct sa_path *path)
{
    return sa->head_len + (path->remote.ip.family == 6 ? (uint32_t)IP6_HEADER : 0);
}

bool ah_may_move(const struct sa *sa, const struct endpoint *local, const struct endpoint *remote)
{
    return local->ip.family == remote->ip.family && !ip_is_any(&local->ip) &&
           ah_head_len(remote->ip.family, sa->icv_len) == sa->head_len;
}

/* ---- out ------------------------------------------------------------------------------------ */

/* The number in the outer header is under the ICV, and the kernel would replace a zero. */
static void put_ip4(uint8_t *at, const struct out_to *to, uint64_t sequence, uint32_t len)
{
    struct ip4_header ip = {.version_ihl = 0x45,
                            .tos = to->tos,
                            .len = htons((uint16_t)len),
                            .id = htons((uint16_t)(sequence % UINT16_MAX + 1)),
                            .fragment = htons(DONT_FRAGMENT),
                            .ttl = TTL,
                            .protocol = PROTO_AH};
    memcpy(ip.source, to->path->local.octets, 4);
    memcpy(ip.destination, to->path->remote.ip.octets, 4);
    memcpy(at, &ip, sizeof(ip));
}

static void put_ip6(uint8_t *at, const struct out_to *to, uint32_t len)
{
    struct ip6_header ip = {.version_class_flow = htonl(6u << 28),
                            .payload_len = htons((uint16_t)len),
                            .next = PROTO_AH};
    memcpy(ip.source, to->path->local.octets, 16);
    memcpy(ip.destination, to->path->remote.ip.octets, 16);
    memcpy(at, &ip, sizeof(ip));
}

static void zero_what_changes(uint8_t *outer, uint8_t outer_len)
{
    if (outer_len == IP4_HEADER) {
        struct ip4_header *ip = (void *)outer;
        ip->tos = ip->ttl = 0;
        ip->fragment = ip->checksum = 0;
    } else {
        struct ip6_header *ip = (void *)outer;
        ip->version_class_flow &= htonl(~(uint32_t)CLASS_AND_FLOW);
        ip->hops = 0;
    }
}

void ah_take(struct esp_out *out, const struct out_to *to, uint64_t sequence, uint32_t len)
{
    const struct sa *sa = to->sa;
    bool ip4 = to->path->remote.ip.family == 4;
    uint32_t whole = sa->head_len + len;
    uint8_t *packet = out->buffer + out->used, *head = packet + (ip4 ? IP4_HEADER : 0);
    uint8_t *covered = out->ah[out->ops_count], outer_len = ip4 ? IP4_HEADER : IP6_HEADER;
    uint8_t head_len = (uint8_t)(packet + sa->head_len - head);
    struct ah_header ah = {.next = to->next_header,
                           .words = (uint8_t)(head_len / 4 - 2),
                           .spi = htonl(sa->spi_out),
                           .sequence = htonl((uint32_t)sequence)};
    memset(head, 0, head_len);
    memcpy(head, &ah, sizeof(ah));
    if (ip4) {
        put_ip4(packet, to, sequence, whole);
        memcpy(covered, packet, IP4_HEADER);
    } else {
        put_ip6(covered, to, whole);
    }
    zero_what_changes(covered, outer_len);
    memcpy(covered + outer_len, head, head_len);
    if (sa->iv_len) {
        uint64_t iv = htobe64(sequence);
        memcpy(head + AH_HEADER, &iv, sizeof(iv));
    }
    out->ops[out->ops_count] = (struct aead_op){.aead = sa->aead_out,
                                                .aad = covered,
                                                .aad_len = (uint16_t)(outer_len + head_len),
                                                .iv = head + AH_HEADER,
                                                .text = packet + sa->head_len,
                                                .text_len = len,
                                                .icv = head + AH_HEADER + sa->iv_len,
                                                .has_esn_high = sa->esn,
                                                .esn_high = (uint32_t)(sequence >> 32)};
    seal_add(out, to, whole, len);
}

/* ---- in ------------------------------------------------------------------------------------- */

/* 0: neither a plain IPv4 header nor an IPv6 header directly before AH. */
static uint8_t outer_of(const uint8_t *packet, uint32_t len)
{
    if (len >= IP4_HEADER && packet[0] == 0x45) {
        const struct ip4_header *ip = (const void *)packet;
        bool fragment = (ntohs(ip->fragment) & ~(unsigned)DONT_FRAGMENT) != 0;
        return ip->protocol == PROTO_AH && ntohs(ip->len) == len && !fragment ? IP4_HEADER : 0;
    }
    if (len >= IP6_HEADER && packet[0] >> 4 == 6) {
        const struct ip6_header *ip = (const void *)packet;
        bool whole = ntohs(ip->payload_len) + (uint32_t)IP6_HEADER == len;
        return ip->next == PROTO_AH && whole ? IP6_HEADER : 0;
    }
    return 0;
}

bool ah_read(const uint8_t *packet, uint32_t len, struct ah_view *out)
{
    struct ah_header ah;
    uint8_t outer_len = outer_of(packet, len);
    if (outer_len == 0 || len < (uint32_t)outer_len + AH_HEADER)
        return false;
    memcpy(&ah, packet + outer_len, sizeof(ah));
    *out = (struct ah_view){.outer_len = outer_len,
                            .next = ah.next,
                            .head_len = (uint16_t)((ah.words + 2) * 4),
                            .spi = ntohl(ah.spi),
                            .sequence = ntohl(ah.sequence)};
    return out->head_len >= AH_HEADER && len - outer_len >= out->head_len;
}

bool ah_fits(const struct ah_view *view, const struct sa *sa)
{
    uint8_t family = view->outer_len == IP4_HEADER ? 4 : 6;
    return view->head_len == padded(family, sa->icv_len) ||
           view->head_len == padded(6, sa->icv_len);
}

/* The ICV counts as zeros, the padding behind it as it is. */
uint16_t ah_covered(const uint8_t *packet, const struct ah_view *view, const struct sa *sa,
                    uint8_t out[static AH_HEADS])
{
    uint16_t len = (uint16_t)(view->outer_len + view->head_len);
    memcpy(out, packet, len);
    zero_what_changes(out, view->outer_len);
    memset(out + view->outer_len + AH_HEADER, 0, sa->icv_len);
    return len;
}
