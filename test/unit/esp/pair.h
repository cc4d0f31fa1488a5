/* Two planes that know each other: what `a` sends, `b` can open. Callbacks gather what comes out.
 */
#ifndef SHRIKE_TEST_UNIT_ESP_PAIR_H
#define SHRIKE_TEST_UNIT_ESP_PAIR_H

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "esp/frame.h"
#include "esp/internal.h"

enum { WIRE_MAX = 4 << 20, FRAMES_MAX = 4096, SENDS_MAX = 4096 };

struct sent {
    size_t at;
    uint32_t len, stride;
    uint16_t count;
    uint8_t tos;
    struct sockaddr_storage to;
};
struct got {
    size_t at, len; /* with virtio header */
};
struct end {
    struct esp_plane *plane;
    struct esp_out *out;
    struct esp_in *in;
    uint8_t *wire;
    size_t wire_len;
    struct sent sends[SENDS_MAX];
    size_t send_count;
    uint8_t *tun;
    size_t tun_len;
    struct got frames[FRAMES_MAX];
    size_t frame_count;
    uint16_t refuse_over; /* datagrams longer than this are too big; 0 = none */
};
struct pair {
    struct end a, b;
    uint64_t seed;
};

static inline uint32_t pair_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

static inline void end_send(void *context, struct esp_send *send)
{
    struct end *end = context;
    assert_true(end->wire_len + send->len <= WIRE_MAX && end->send_count < SENDS_MAX);
    if (end->refuse_over && send->stride > end->refuse_over) {
        send->too_big = send->count;
        return;
    }
    struct sent *sent = &end->sends[end->send_count++];
    *sent = (struct sent){.at = end->wire_len,
                          .len = send->len,
                          .stride = send->stride,
                          .count = send->count,
                          .tos = send->tos};
    memcpy(&sent->to, send->to, send->to_len);
    memcpy(end->wire + end->wire_len, send->data, send->len);
    end->wire_len += send->len;
    send->sent = send->count;
}

static inline bool end_tun(void *context, const struct iovec *iov, size_t count)
{
    struct end *end = context;
    struct got *got = &end->frames[end->frame_count++];
    assert_true(end->frame_count <= FRAMES_MAX);
    got->at = end->tun_len;
    for (size_t i = 0; i < count; i++) {
        assert_true(end->tun_len + iov[i].iov_len <= WIRE_MAX);
        memcpy(end->tun + end->tun_len, iov[i].iov_base, iov[i].iov_len);
        end->tun_len += iov[i].iov_len;
    }
    got->len = end->tun_len - got->at;
    return true;
}

static inline void end_clear(struct end *end)
{
    end->wire_len = end->tun_len = end->send_count = end->frame_count = 0;
}

static inline void end_open(struct end *end, uint16_t device_mtu)
{
    struct esp_plane_config config = {
        .workers = 1, .max_sas = 100, .device_mtu = device_mtu, .random = &random_system};
    struct esp_out_calls out = {.context = end, .send = end_send, .reply = end_tun};
    struct esp_in_calls in = {.context = end, .deliver = end_tun};
    end->plane = esp_create(&config);
    assert_non_null(end->plane);
    end->out = esp_out_create(end->plane, 0, &out);
    end->in = esp_in_create(end->plane, 0, true, &in);
    end->wire = malloc(WIRE_MAX);
    end->tun = malloc(WIRE_MAX);
    assert_true(end->out && end->in && end->wire && end->tun);
}

static inline void end_close(struct end *end)
{
    esp_in_free(end->in);
    esp_out_free(end->out);
    esp_free(end->plane);
    free(end->wire);
    free(end->tun);
}

static inline struct pair *pair_open(void)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    assert_non_null(pair);
    pair->seed = 7;
    end_open(&pair->a, 1438);
    end_open(&pair->b, 1438);
    return pair;
}

static inline void pair_close(struct pair *pair)
{
    end_close(&pair->a);
    end_close(&pair->b);
    free(pair);
}

/* Number n of a's children: a is 10.0.0.1 / fd00::1 at 192.0.2.1, b's inside is 10.1.0.0/16 and
 * fd01::/64. */
static inline struct esp_sa_config pair_config(uint32_t n)
{
    struct esp_sa_config c = {.tunnel = 1,
                              .spi_in = 0x1000 + n,
                              .spi_out = 0x2000 + n,
                              .encr = 20,
                              .encr_bits = 256,
                              .esn = true,
                              .udp = true,
                              .window = 1024,
                              .keymat_len_in = 36,
                              .keymat_len_out = 36,
                              .local_count = 2,
                              .remote_count = 2};
    struct prefix p;
    memset(c.keymat_in, (int)(n * 2 + 1), sizeof(c.keymat_in));
    memset(c.keymat_out, (int)(n * 2 + 2), sizeof(c.keymat_out));
    assert_true(endpoint_parse("192.0.2.1", 4500, &c.local));
    assert_true(endpoint_parse("192.0.2.2", 4500, &c.remote));
    assert_true(prefix_parse("10.0.0.1", &p));
    c.local_ts[0] = selector_from_prefix(&p);
    assert_true(prefix_parse("fd00::1", &p));
    c.local_ts[1] = selector_from_prefix(&p);
    assert_true(prefix_parse("10.1.0.0/16", &p));
    c.remote_ts[0] = selector_from_prefix(&p);
    assert_true(prefix_parse("fd01::/64", &p));
    c.remote_ts[1] = selector_from_prefix(&p);
    return c;
}

/* The same child as the other end has it. */
static inline struct esp_sa_config pair_mirror(const struct esp_sa_config *c)
{
    struct esp_sa_config m = *c;
    m.spi_in = c->spi_out;
    m.spi_out = c->spi_in;
    m.local = c->remote;
    m.remote = c->local;
    memcpy(m.keymat_in, c->keymat_out, sizeof(m.keymat_in));
    memcpy(m.keymat_out, c->keymat_in, sizeof(m.keymat_out));
    memcpy(m.local_ts, c->remote_ts, sizeof(m.local_ts));
    memcpy(m.remote_ts, c->local_ts, sizeof(m.remote_ts));
    m.local_count = c->remote_count;
    m.remote_count = c->local_count;
    return m;
}

static inline void pair_child(struct pair *pair, const struct esp_sa_config *c)
{
    struct esp_sa_config m = pair_mirror(c);
    assert_int_equal(esp_add(pair->a.plane, c, 0), 0);
    assert_int_equal(esp_add(pair->b.plane, &m, 0), 0);
}

/* Hands everything `from` sent to `to`, as one receive. */
static inline void pair_carry_tos(struct end *from, struct end *to, int tos)
{
    static struct esp_datagrams datagrams[SENDS_MAX];
    struct sockaddr_storage source;
    struct endpoint e;
    assert_true(endpoint_parse("192.0.2.1", 4500, &e));
    (void)endpoint_to_sockaddr(&e, &source);
    for (size_t i = 0; i < from->send_count; i++)
        datagrams[i] = (struct esp_datagrams){.data = from->wire + from->sends[i].at,
                                              .len = from->sends[i].len,
                                              .stride = from->sends[i].stride,
                                              .tos = tos < 0 ? from->sends[i].tos : (uint8_t)tos,
                                              .udp = true,
                                              .from = &source};
    esp_in_receive(to->in, datagrams, from->send_count, TIME_SECOND);
}

static inline void pair_carry(struct end *from, struct end *to)
{
    pair_carry_tos(from, to, -1);
}

/* Puts a frame in at `end`, and flushes. */
static inline void end_put(struct end *end, const void *frame, size_t len)
{
    uint8_t *copy = malloc(len);
    assert_non_null(copy);
    memcpy(copy, frame, len);
    esp_out_packet(end->out, copy, len, TIME_SECOND);
    free(copy);
    esp_out_flush(end->out, TIME_SECOND);
}

static inline struct esp_counters end_counters(const struct end *end)
{
    struct esp_counters c;
    esp_counters(end->plane, &c);
    return c;
}

/* ---- packets -------------------------------------------------------------------------------- */

struct make {
    uint8_t family, protocol, tos;
    uint16_t payload, piece; /* piece 0: no super-packet */
    uint16_t source_port, destination_port;
    uint32_t sequence;
    uint8_t flags, options; /* TCP options: octets of NOP */
    bool fragmentable, partial;
    uint8_t last; /* last octet of both addresses' hosts; 0 = 1 */
};

/* A naive checksum, octet by octet: the judge of the fast one. */
static inline uint16_t slow_sum(uint32_t sum, const uint8_t *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum += i % 2 ? at[i] : (uint32_t)at[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* Sum over pseudo header and transport; 0xffff when the checksum in it is right. */
static inline uint16_t transport_sum(uint8_t *packet)
{
    struct inner in;
    assert_true(inner_parse(packet, 65535, &in));
    uint32_t len = in.len - in.head;
    uint32_t sum = slow_sum(in.protocol + len, inner_source(&in), in.family == 4 ? 8 : 32);
    return slow_sum(sum, packet + in.head, len);
}

/* Writes virtio header and packet; returns the length of both. */
static inline size_t make_frame(const struct make *m, uint8_t *out)
{
    struct frame frame = {0};
    uint8_t *packet = out + ESP_FRAME_HEADER;
    size_t head = m->family == 4 ? IP4_HEADER : IP6_HEADER;
    size_t transport = m->protocol == PROTO_TCP   ? TCP_HEADER + (size_t)m->options
                       : m->protocol == PROTO_UDP ? UDP_HEADER
                                                  : 8;
    size_t len = head + transport + m->payload;
    memset(packet, 0, head + transport);
    for (size_t i = 0; i < m->payload; i++)
        packet[head + transport + i] = (uint8_t)(i * 7 + i / 251);
    uint8_t last = m->last ? m->last : 1;
    if (m->family == 4) {
        struct ip4_header *ip = (void *)packet;
        *ip = (struct ip4_header){.version_ihl = 0x45,
                                  .tos = m->tos,
                                  .len = htons((uint16_t)len),
                                  .id = htons(77),
                                  .fragment = htons(m->fragmentable ? 0 : 0x4000),
                                  .ttl = 64,
                                  .protocol = m->protocol,
                                  .source = {10, 0, 0, 1},
                                  .destination = {10, 1, 0, last}};
        ip4_header_checksum(ip, IP4_HEADER);
    } else {
        struct ip6_header *ip = (void *)packet;
        *ip = (struct ip6_header){.version_class_flow = htonl(0x60012345u | (uint32_t)m->tos << 20),
                                  .payload_len = htons((uint16_t)(len - IP6_HEADER)),
                                  .next = m->protocol,
                                  .hops = 64,
                                  .source = {0xfd, 0, [15] = 1},
                                  .destination = {0xfd, 1, [15] = last}};
    }
    size_t checksum = 0;
    if (m->protocol == PROTO_TCP) {
        struct tcp_header *tcp = (void *)(packet + head);
        *tcp = (struct tcp_header){.source = htons(m->source_port),
                                   .destination = htons(m->destination_port),
                                   .sequence = htonl(m->sequence),
                                   .acknowledged = htonl(99),
                                   .offset = (uint8_t)(transport / 4 << 4),
                                   .flags = m->flags,
                                   .window = htons(500)};
        memset(tcp + 1, 1, m->options);
        checksum = head + 16;
    } else if (m->protocol == PROTO_UDP) {
        struct udp_header *udp = (void *)(packet + head);
        *udp = (struct udp_header){.source = htons(m->source_port),
                                   .destination = htons(m->destination_port),
                                   .len = htons((uint16_t)(UDP_HEADER + m->payload))};
        checksum = head + 6;
    }
    if (checksum) {
        uint32_t pseudo = slow_sum((uint32_t)(m->protocol + len - head),
                                   packet + (m->family == 4 ? 12 : 8), m->family == 4 ? 8 : 32);
        bool partial = m->partial || m->piece;
        uint16_t sum =
            partial ? (uint16_t)pseudo : (uint16_t)~slow_sum(pseudo, packet + head, len - head);
        sum = htons(sum);
        memcpy(packet + checksum, &sum, 2);
        if (partial)
            frame = (struct frame){.flags = FRAME_NEEDS_CHECKSUM,
                                   .checksum_start = (uint16_t)head,
                                   .checksum_offset = (uint16_t)(checksum - head)};
    }
    if (m->piece) {
        frame.kind = m->protocol == PROTO_UDP ? FRAME_UDP
                     : m->family == 4         ? FRAME_TCP4
                                              : FRAME_TCP6;
        frame.piece = m->piece;
        frame.head_len = (uint16_t)(head + transport);
    }
    memcpy(out, &frame, sizeof(frame));
    return ESP_FRAME_HEADER + len;
}

#endif
