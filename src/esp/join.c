#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

#include "esp/checksum.h"
#include "esp/join.h"

enum { IP4_DONT = 0x4000 };

static const struct tcp_header *tcp_of(const struct inner *inner)
{
    return (const void *)(inner->packet + inner->head);
}

static const struct udp_header *udp_of(const struct inner *inner)
{
    return (const void *)(inner->packet + inner->head);
}

static void deliver(struct joiner *joiner, const struct iovec *iov, size_t count, uint64_t packets,
                    uint64_t bytes)
{
    if (!joiner->calls.deliver(joiner->calls.context, iov, count)) {
        note(&joiner->counters->drop_in_tun, packets);
        return;
    }
    note(&joiner->counters->in_packets, packets);
    note(&joiner->counters->in_bytes, bytes);
}

static void deliver_whole(struct joiner *joiner, uint8_t *packet, uint32_t len)
{
    struct frame frame = {0};
    struct iovec iov[2] = {{.iov_base = &frame, .iov_len = sizeof(frame)},
                           {.iov_base = packet, .iov_len = len}};
    deliver(joiner, iov, 2, 1, len);
}

/* ---- may it be joined ----------------------------------------------------------------------- */

/* Octets of both headers, 0 when the packet is not of a kind that can be joined. */
static uint32_t joinable(const struct joiner *joiner, const struct inner *inner)
{
    if (!inner->plain || !inner->has_ports)
        return 0;
    uint32_t left = inner->len - inner->head, head = 0;
    if (inner->protocol == PROTO_TCP && left > TCP_HEADER) {
        const struct tcp_header *tcp = tcp_of(inner);
        head = (tcp->offset >> 4) * 4u;
        if (head < TCP_HEADER || (tcp->flags & ~TCP_PSH) != TCP_ACK || tcp->urgent != 0)
            return 0;
    } else if (inner->protocol == PROTO_UDP && left > UDP_HEADER && joiner->uso) {
        const struct udp_header *udp = udp_of(inner);
        head = UDP_HEADER;
        if (udp->checksum == 0 || ntohs(udp->len) != left)
            return 0;
    }
    return head != 0 && head < left ? inner->head + head : 0;
}

static bool checksum_right(const struct join_flow *flow, const struct inner *inner)
{
    uint32_t len = inner->len - inner->head;
    uint64_t sum = flow->pseudo + sum_of_u16((uint16_t)len);
    return sum_fold(sum_add(sum, inner->packet + inner->head, len)) == UINT16_MAX;
}

static bool same_ip(const struct join_flow *flow, const struct inner *inner)
{
    const uint8_t *a = flow->first.packet, *b = inner->packet;
    if (inner->family == 6)
        return memcmp(a, b, 4) == 0 && a[7] == b[7];
    const struct ip4_header *x = (const void *)a, *y = (const void *)b;
    bool alike = x->tos == y->tos && x->ttl == y->ttl && x->fragment == y->fragment;
    /* Cutting it again counts the ID up; where fragments cannot be, it does not matter. */
    return alike && ((y->fragment & htons(IP4_DONT)) || ntohs(y->id) == flow->next_id);
}

static bool same_tcp(const struct join_flow *flow, const struct inner *inner)
{
    const struct tcp_header *a = tcp_of(&flow->first), *b = tcp_of(inner);
    return ntohl(b->sequence) == flow->next_sequence && a->acknowledged == b->acknowledged &&
           a->window == b->window && a->offset == b->offset &&
           memcmp(a + 1, b + 1, flow->head - flow->first.head - TCP_HEADER) == 0;
}

/* Is this packet the next piece of the flow? */
static bool continues(struct join_flow *flow, const struct inner *inner, uint32_t head)
{
    uint32_t payload = inner->len - head;
    uint16_t most = inner->protocol == PROTO_TCP ? JOIN_PIECES : JOIN_PIECES_UDP;
    if (head != flow->head || payload > flow->piece || flow->count == most ||
        flow->len + payload > JOIN_OCTETS || !same_ip(flow, inner))
        return false;
    if (inner->protocol == PROTO_TCP && !same_tcp(flow, inner))
        return false;
    return (flow->count > 1 || checksum_right(flow, &flow->first)) && checksum_right(flow, inner);
}

/* ---- open flows ----------------------------------------------------------------------------- */

/* The headers of the first packet become those of the whole; the checksum is left to whoever cuts
 * it again, as the frame says. */
static void finish_headers(struct join_flow *flow)
{
    struct inner *first = &flow->first;
    uint16_t left = (uint16_t)(flow->len - first->head);
    if (first->family == 4) {
        struct ip4_header *ip = (void *)first->packet;
        ip->len = htons((uint16_t)flow->len);
        ip4_header_checksum(ip, IP4_HEADER);
    } else {
        ((struct ip6_header *)(void *)first->packet)->payload_len =
            htons((uint16_t)(flow->len - IP6_HEADER));
    }
    uint16_t pseudo = sum_fold(flow->pseudo + sum_of_u16(left));
    flow->frame = (struct frame){.flags = FRAME_NEEDS_CHECKSUM,
                                 .head_len = (uint16_t)flow->head,
                                 .piece = (uint16_t)flow->piece,
                                 .checksum_start = first->head};
    if (first->protocol == PROTO_TCP) {
        struct tcp_header *tcp = (void *)(first->packet + first->head);
        tcp->checksum = pseudo;
        if (flow->push)
            tcp->flags |= TCP_PSH;
        flow->frame.kind = first->family == 4 ? FRAME_TCP4 : FRAME_TCP6;
        flow->frame.checksum_offset = offsetof(struct tcp_header, checksum);
    } else {
        struct udp_header *udp = (void *)(first->packet + first->head);
        udp->checksum = pseudo;
        udp->len = htons(left);
        flow->frame.kind = FRAME_UDP;
        flow->frame.checksum_offset = offsetof(struct udp_header, checksum);
    }
}

static void flush_flow(struct joiner *joiner, struct join_flow *flow)
{
    if (!flow->first.packet)
        return;
    if (flow->count == 1) {
        deliver_whole(joiner, flow->first.packet, flow->len);
    } else {
        uint64_t bytes = flow->len + (uint64_t)(flow->count - 1) * flow->head;
        finish_headers(flow);
        flow->iov[0] = (struct iovec){.iov_base = &flow->frame, .iov_len = sizeof(flow->frame)};
        deliver(joiner, flow->iov, 1u + flow->count, flow->count, bytes);
        note(&joiner->counters->in_super, 1);
    }
    flow->first.packet = NULL;
}

void join_flush(struct joiner *joiner)
{
    for (size_t i = 0; i < JOIN_FLOWS; i++)
        flush_flow(joiner, &joiner->flows[i]);
}

static void open_flow(struct join_flow *flow, const struct inner *inner, uint32_t head)
{
    flow->first = *inner;
    flow->head = head;
    flow->piece = inner->len - head;
    flow->len = inner->len;
    flow->count = 1;
    flow->push = false;
    flow->pseudo = sum_fold(inner_pseudo_sum(inner, inner->protocol));
    flow->iov[1] = (struct iovec){.iov_base = inner->packet, .iov_len = inner->len};
    if (inner->protocol == PROTO_TCP)
        flow->next_sequence = ntohl(tcp_of(inner)->sequence) + flow->piece;
    if (inner->family == 4)
        flow->next_id =
            (uint16_t)(ntohs(((const struct ip4_header *)(const void *)inner->packet)->id) + 1);
}

static void append(struct joiner *joiner, struct join_flow *flow, const struct inner *inner)
{
    uint32_t payload = inner->len - flow->head;
    flow->count++;
    flow->iov[flow->count] =
        (struct iovec){.iov_base = inner->packet + flow->head, .iov_len = payload};
    flow->len += payload;
    flow->next_sequence += payload;
    flow->next_id++;
    flow->push = inner->protocol == PROTO_TCP && (tcp_of(inner)->flags & TCP_PSH);
    if (flow->push || payload < flow->piece)
        flush_flow(joiner, flow);
}

static struct join_flow *find_flow(struct joiner *joiner, const struct inner *inner)
{
    for (size_t i = 0; i < JOIN_FLOWS; i++) {
        const struct inner *first = &joiner->flows[i].first;
        if (first->packet && inner_same_flow(first, inner))
            return &joiner->flows[i];
    }
    return NULL;
}

static struct join_flow *take_flow(struct joiner *joiner)
{
    for (size_t i = 0; i < JOIN_FLOWS; i++) {
        if (!joiner->flows[i].first.packet)
            return &joiner->flows[i];
    }
    struct join_flow *flow = &joiner->flows[joiner->next++ % JOIN_FLOWS];
    flush_flow(joiner, flow);
    return flow;
}

void join_packet(struct joiner *joiner, const struct inner *inner)
{
    uint32_t head = joinable(joiner, inner);
    struct join_flow *flow = find_flow(joiner, inner);
    if (flow && head != 0 && continues(flow, inner, head)) {
        append(joiner, flow, inner);
        return;
    }
    if (flow)
        flush_flow(joiner, flow); /* the order within a flow stays */
    if (head == 0 || (inner->protocol == PROTO_TCP && (tcp_of(inner)->flags & TCP_PSH)))
        deliver_whole(joiner, inner->packet, inner->len);
    else
        open_flow(flow ? flow : take_flow(joiner), inner, head);
}
