/* Packet-too-big, answered by ourselves: ICMPv4 "fragmentation needed" (RFC 1191) and ICMPv6
 * "packet too big" (RFC 4443 3.2). The answer comes from the destination the packet was meant for,
 * which is an address that TUN's routes accept. */
#include <arpa/inet.h>
#include <string.h>

#include "esp/checksum.h"
#include "esp/seal.h"

enum {
    ANSWERS_A_SECOND = 100,
    QUOTE4 = 548, /* RFC 1812 4.3.2.3: 576 octets in all */
    QUOTE6 = 1232,
    ICMP_HEADER = 8,
    ICMP_UNREACHABLE = 3,
    ICMP_FRAGMENTATION_NEEDED = 4,
    ICMP6_TOO_BIG = 2,
};

static bool may_answer(struct esp_out *out, time_us now)
{
    time_us passed = now - out->reply_filled;
    if (passed >= TIME_SECOND / ANSWERS_A_SECOND) {
        out->reply_filled = now;
        out->reply_tokens += passed / (TIME_SECOND / ANSWERS_A_SECOND);
        if (out->reply_tokens > ANSWERS_A_SECOND)
            out->reply_tokens = ANSWERS_A_SECOND;
    }
    if (out->reply_tokens == 0)
        return false;
    out->reply_tokens--;
    return true;
}

/* No errors about errors, later fragments or multicast (RFC 1122 3.2.2, RFC 4443 2.4). */
static bool deserves_answer(const struct inner *inner)
{
    const uint8_t *to = inner_destination(inner);
    const uint8_t *from = inner_source(inner);
    if (inner->protocol == PROTO_ICMP && inner->has_ports && inner->source_port >> 8 != 0 &&
        inner->source_port >> 8 != 8)
        return false;
    if (inner->protocol == PROTO_ICMP6 && inner->has_ports && inner->source_port >> 8 < 128)
        return false;
    if (inner->family == 6)
        return from[0] != 0xff && to[0] != 0xff;
    return (from[0] & 0xf0) != 0xe0 && from[0] != 0 && (to[0] & 0xf0) != 0xe0 &&
           inner->len > inner->head;
}

static size_t build4(uint8_t *at, const struct inner *inner, uint16_t mtu)
{
    size_t quote = inner->len < QUOTE4 ? inner->len : QUOTE4;
    struct ip4_header ip = {.version_ihl = 0x45,
                            .tos = 0xc0,
                            .len = htons((uint16_t)(IP4_HEADER + ICMP_HEADER + quote)),
                            .ttl = 64,
                            .protocol = PROTO_ICMP};
    memcpy(ip.source, inner_destination(inner), 4);
    memcpy(ip.destination, inner_source(inner), 4);
    ip4_header_checksum(&ip, IP4_HEADER);
    struct writer w = writer_of(at, IP4_HEADER + ICMP_HEADER + quote);
    writer_bytes(&w, &ip, sizeof(ip));
    writer_u8(&w, ICMP_UNREACHABLE);
    writer_u8(&w, ICMP_FRAGMENTATION_NEEDED);
    writer_u32(&w, 0); /* checksum, unused */
    writer_u16(&w, mtu);
    writer_bytes(&w, inner->packet, quote);
    uint16_t sum = (uint16_t)~sum_fold(sum_add(0, at + IP4_HEADER, ICMP_HEADER + quote));
    memcpy(at + IP4_HEADER + 2, &sum, sizeof(sum));
    return w.len;
}

static size_t build6(uint8_t *at, const struct inner *inner, uint16_t mtu)
{
    size_t quote = inner->len < QUOTE6 ? inner->len : QUOTE6;
    struct ip6_header ip = {.version_class_flow = htonl(0x60000000),
                            .payload_len = htons((uint16_t)(ICMP_HEADER + quote)),
                            .next = PROTO_ICMP6,
                            .hops = 64};
    memcpy(ip.source, inner_destination(inner), 16);
    memcpy(ip.destination, inner_source(inner), 16);
    struct writer w = writer_of(at, IP6_HEADER + ICMP_HEADER + quote);
    writer_bytes(&w, &ip, sizeof(ip));
    writer_u8(&w, ICMP6_TOO_BIG);
    writer_u8(&w, 0);
    writer_u16(&w, 0);
    writer_u32(&w, mtu);
    writer_bytes(&w, inner->packet, quote);
    uint64_t sum = sum_of_u16(PROTO_ICMP6) + sum_of_u16((uint16_t)(ICMP_HEADER + quote));
    sum = sum_add(sum, at + 8, 32 + ICMP_HEADER + quote);
    uint16_t folded = (uint16_t)~sum_fold(sum);
    memcpy(at + IP6_HEADER + 2, &folded, sizeof(folded));
    return w.len;
}

void toobig_answer(struct esp_out *out, const struct inner *inner, uint16_t mtu, time_us now)
{
    static const uint8_t no_offload[ESP_FRAME_HEADER];
    uint8_t answer[IP6_HEADER + ICMP_HEADER + QUOTE6];
    note(&out->counters->drop_out_too_big, 1);
    if (!deserves_answer(inner) || !may_answer(out, now))
        return;
    size_t len = inner->family == 4 ? build4(answer, inner, mtu) : build6(answer, inner, mtu);
    struct iovec iov[2] = {{.iov_base = (void *)(uintptr_t)no_offload, .iov_len = ESP_FRAME_HEADER},
                           {.iov_base = answer, .iov_len = len}};
    out->calls.reply(out->calls.context, iov, 2);
}
