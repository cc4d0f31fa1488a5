/* What TUN gives, cut into packets that fit: TCP and UDP super-packets, single packets with an
 * unfinished checksum, and IPv4 packets that may be fragmented. */
#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

#include "esp/checksum.h"
#include "esp/frame.h"
#include "esp/transport.h"

enum { IP4_OFFSET = 0x1fff, IP4_MORE = 0x2000 };

/* One cut: the headers that are repeated, and the sums that stay the same. */
struct cut {
    struct out_to to;
    struct inner inner;
    uint32_t head, payload, piece, count; /* octets, octets, octets, packets */
    uint64_t first;                       /* sequence number of the first ESP packet */
    uint32_t pseudo;                      /* sum of the pseudo header without the length */
};

static void malformed(struct esp_out *out)
{
    note(&out->counters->drop_out_malformed, 1);
}

static void fix_ip(uint8_t *packet, const struct inner *inner, uint32_t len, uint32_t index)
{
    if (inner->family == 4) {
        struct ip4_header *ip = (void *)packet;
        ip->len = htons((uint16_t)len);
        ip->id = htons((uint16_t)(ntohs(ip->id) + index));
        ip4_header_checksum(ip, (ip->version_ihl & 15u) * 4);
    } else {
        struct ip6_header *ip = (void *)packet;
        ip->payload_len = htons((uint16_t)(len - IP6_HEADER));
    }
}

static void fix_tcp(uint8_t *packet, const struct cut *cut, uint32_t index, uint32_t len,
                    uint64_t payload_sum)
{
    struct tcp_header *tcp = (void *)(packet + cut->inner.head);
    uint32_t tcp_len = cut->head - cut->inner.head;
    tcp->sequence = htonl(ntohl(tcp->sequence) + index * cut->piece);
    if (index != cut->count - 1)
        tcp->flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    if (index != 0)
        tcp->flags &= (uint8_t)~TCP_CWR;
    tcp->checksum = 0;
    uint64_t sum = cut->pseudo + sum_of_u16((uint16_t)(tcp_len + len)) + sum_fold(payload_sum);
    tcp->checksum = (uint16_t)~sum_fold(sum_add(sum, tcp, tcp_len));
}

static uint16_t udp_checksum(uint64_t sum)
{
    uint16_t checksum = (uint16_t)~sum_fold(sum);
    return checksum == 0 ? UINT16_MAX : checksum; /* zero means none, RFC 768 */
}

static void fix_udp(uint8_t *packet, const struct cut *cut, uint32_t len, uint64_t payload_sum)
{
    struct udp_header *udp = (void *)(packet + cut->inner.head);
    udp->len = htons((uint16_t)(UDP_HEADER + len));
    udp->checksum = 0;
    uint64_t sum = cut->pseudo + udp->len + sum_fold(payload_sum);
    udp->checksum = udp_checksum(sum_add(sum, udp, UDP_HEADER));
}

/* The pieces of a super-packet; a payload is summed while it is copied. */
static void cut_all(struct esp_out *out, struct cut *cut, time_us now)
{
    cut->count = cut->payload == 0 ? 1 : (cut->payload + cut->piece - 1) / cut->piece;
    cut->pseudo = sum_fold(inner_pseudo_sum(&cut->inner, cut->inner.protocol));
    if (!seal_numbers(out, cut->to.sa, cut->count, &cut->first))
        return;
    const uint8_t *payload = cut->inner.packet + cut->head;
    uint32_t left = cut->payload;
    for (uint32_t i = 0; i < cut->count; i++) {
        uint32_t len = left < cut->piece ? left : cut->piece;
        uint8_t *place = seal_place(out, cut->to.sa, cut->head + len, now);
        memcpy(place, cut->inner.packet, cut->head);
        uint64_t sum = sum_copy(0, place + cut->head, payload, len);
        fix_ip(place, &cut->inner, cut->head + len, i);
        if (cut->inner.protocol == PROTO_TCP)
            fix_tcp(place, cut, i, len, sum);
        else
            fix_udp(place, cut, len, sum);
        seal_take(out, &cut->to, cut->first + i, cut->head + len);
        payload += len;
        left -= len;
    }
    note(&out->counters->out_super, 1);
}

static void cut_tcp(struct esp_out *out, struct cut *cut, const struct frame *frame, uint16_t mtu,
                    time_us now)
{
    const struct inner *inner = &cut->inner;
    const struct tcp_header *tcp = (const void *)(inner->packet + inner->head);
    if (inner->protocol != PROTO_TCP || !inner->has_ports ||
        inner->len - inner->head < TCP_HEADER || frame->piece == 0) {
        malformed(out);
        return;
    }
    cut->head = inner->head + (tcp->offset >> 4) * 4u;
    if (cut->head < (uint32_t)inner->head + TCP_HEADER || cut->head > inner->len ||
        cut->head >= mtu) {
        malformed(out);
        return;
    }
    /* TCP may be cut anywhere: a path with a smaller MTU needs no answer. */
    cut->payload = inner->len - cut->head;
    cut->piece = frame->piece < mtu - cut->head ? frame->piece : mtu - cut->head;
    cut_all(out, cut, now);
}

static void cut_udp(struct esp_out *out, struct cut *cut, const struct frame *frame, uint16_t mtu,
                    time_us now)
{
    const struct inner *inner = &cut->inner;
    cut->head = inner->head + UDP_HEADER;
    if (inner->protocol != PROTO_UDP || !inner->has_ports || inner->len < cut->head ||
        frame->piece == 0) {
        malformed(out);
        return;
    }
    cut->payload = inner->len - cut->head;
    cut->piece = frame->piece;
    if (cut->head + cut->piece > mtu)
        toobig_answer(out, inner, mtu, now);
    else
        cut_all(out, cut, now);
}

/* RFC 791: fragments of a packet that allows it. */
static void cut_fragments(struct esp_out *out, const struct out_to *to, const struct inner *inner,
                          uint16_t mtu, time_us now)
{
    uint32_t piece = (mtu - (uint32_t)IP4_HEADER) & ~7u;
    uint32_t payload = inner->len - IP4_HEADER;
    uint64_t sequence;
    if (!seal_numbers(out, to->sa, (payload + piece - 1) / piece, &sequence))
        return;
    for (uint32_t at = 0; at < payload; at += piece) {
        uint32_t len = payload - at < piece ? payload - at : piece;
        uint8_t *place = seal_place(out, to->sa, IP4_HEADER + len, now);
        memcpy(place, inner->packet, IP4_HEADER);
        memcpy(place + IP4_HEADER, inner->packet + IP4_HEADER + at, len);
        struct ip4_header *ip = (void *)place;
        uint16_t fragment = ntohs(ip->fragment);
        uint16_t offset = (uint16_t)((fragment & IP4_OFFSET) + at / 8);
        bool more = at + len < payload || (fragment & IP4_MORE);
        ip->fragment = htons((uint16_t)(offset | (more ? IP4_MORE : 0)));
        fix_ip(place, inner, IP4_HEADER + len, 0);
        seal_take(out, to, sequence++, IP4_HEADER + len);
    }
}

/* What the stack left to the hardware. */
static bool finish_checksum(const struct inner *inner, const struct frame *frame)
{
    uint32_t start = frame->checksum_start, at = start + frame->checksum_offset;
    if (start < inner->head || at + 2 > inner->len)
        return false;
    uint64_t sum = sum_add(0, inner->packet + start, inner->len - start);
    uint16_t checksum = inner->protocol == PROTO_UDP ? udp_checksum(sum) : (uint16_t)~sum_fold(sum);
    memcpy(inner->packet + at, &checksum, sizeof(checksum));
    return true;
}

static void send_whole(struct esp_out *out, const struct out_to *to, const struct inner *inner,
                       const struct frame *frame, uint16_t mtu, time_us now)
{
    uint64_t sequence;
    if ((frame->flags & FRAME_NEEDS_CHECKSUM) && !finish_checksum(inner, frame)) {
        malformed(out);
        return;
    }
    if (inner->len > mtu) {
        if (inner_dont_fragment(inner) || inner->head != IP4_HEADER || to->sa->transport)
            toobig_answer(out, inner, mtu, now);
        else
            cut_fragments(out, to, inner, mtu, now);
        return;
    }
    inner_clamp_mss(inner, mtu);
    if (!seal_numbers(out, to->sa, 1, &sequence))
        return;
    uint8_t *place = seal_place(out, to->sa, inner->len, now);
    memcpy(place, inner->packet, inner->len);
    seal_take(out, to, sequence, inner->len);
}

void esp_out_packet(struct esp_out *out, uint8_t *octets, size_t len, time_us now)
{
    struct frame frame;
    struct cut cut;
    if (len < sizeof(frame) ||
        !inner_parse(octets + sizeof(frame), len - sizeof(frame), &cut.inner)) {
        malformed(out);
        return;
    }
    memcpy(&frame, octets, sizeof(frame));
    struct sa *sa = spd_find(out->plane, &cut.inner);
    if (!sa) {
        note(&out->counters->drop_out_no_sa, 1);
        return;
    }
    if (sa->transport && !transport_carries(&cut.inner)) {
        note(&out->counters->drop_out_transport, 1);
        return;
    }
    uint16_t mtu = atomic_load_explicit(&sa->out_mtu, memory_order_relaxed);
    cut.to = (struct out_to){.sa = sa,
                             .path = atomic_load_explicit(&sa->path, memory_order_acquire),
                             .tos = cut.inner.tos,
                             .next_header = cut.inner.family == 4 ? PROTO_IPIP : PROTO_IPV6};
    switch (frame.kind & ~FRAME_ECN) {
    case FRAME_WHOLE:
        send_whole(out, &cut.to, &cut.inner, &frame, mtu, now);
        return;
    case FRAME_TCP4:
    case FRAME_TCP6:
        cut_tcp(out, &cut, &frame, mtu, now);
        return;
    case FRAME_UDP:
        cut_udp(out, &cut, &frame, mtu, now);
        return;
    default:
        malformed(out);
    }
}
