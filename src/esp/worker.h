/* The worker's side of the data plane: what the threads of a process with descriptors call.
 *
 * One esp_out (TUN -> network) and one esp_in (network -> TUN) a worker, each used by one thread
 * that also made it. Both hand their results to callbacks and have kept nothing when a call
 * returns, except an esp_out between esp_out_packet() and esp_out_flush(), and copies of packets
 * that came before their SA (esp_in_early()). Buffers are fixed; what does not fit is sent off,
 * never queued.
 *
 * Quiet points: a side counts as awake from esp_*_awake() to esp_*_asleep(); while awake it must
 * call esp_*_awake() again now and then, between two batches, or memory of removed SAs piles up. It
 * must be awake while it handles packets and should be asleep while it waits.
 */
#ifndef SHRIKE_ESP_WORKER_H
#define SHRIKE_ESP_WORKER_H

#include <sys/socket.h>
#include <sys/uio.h>

enum {
    ESP_FRAME_HEADER = 10,      /* struct virtio_net_hdr before each packet of TUN */
    ESP_FRAME_MAX = 10 + 65535, /* the longest frame */
    ESP_DATAGRAM_MAX = 65536,   /* buffer for one received datagram, or a run of them */
    ESP_RUN_OCTETS = 65507,     /* what one send with UDP_SEGMENT may carry */
    ESP_RUN_SEGMENTS = 128,     /* and in how many datagrams; kernels before 6.9 take 64 */
    ESP_MTU_LEAST = 576,
};

/* ---- out ------------------------------------------------------------------------------------ */

/* ESP packets for one peer, one behind the other, all `stride` octets but the last, which may be
 * shorter: one sendmsg with UDP_SEGMENT. */
struct esp_send {
    const uint8_t *data;
    uint32_t len, stride;
    uint16_t count;
    uint8_t tos; /* outer DSCP and ECN */
    bool udp;    /* else plain ESP, or AH: then over IPv4 with the outer header */
    const struct sockaddr_storage *to;
    socklen_t to_len;
    const struct ip *from; /* local address; family 0 = the kernel's choice */
    uint32_t interface;    /* to leave by; 0 = by route */
    /* What became of them, written by the callback; the rest counts as refused. */
    uint16_t sent, full;
    uint16_t too_big; /* refused for their size: the path's MTU is smaller than thought */
};
struct esp_out_calls {
    void *context;
    void (*send)(void *context, struct esp_send *send);
    /* Writes one frame, virtio header first, back to TUN (packet-too-big answers). */
    bool (*reply)(void *context, const struct iovec *iov, size_t count);
};
struct esp_out;
struct esp_out *esp_out_create(struct esp_plane *plane, uint16_t worker,
                               const struct esp_out_calls *calls);
void esp_out_free(struct esp_out *out);
void esp_out_awake(struct esp_out *out);
void esp_out_asleep(struct esp_out *out);
/* One frame from TUN. It is written to (checksums), and free again on return. */
void esp_out_packet(struct esp_out *out, uint8_t *frame, size_t len, time_us now);
/* Seals and sends what was gathered; at the latest before waiting. */
void esp_out_flush(struct esp_out *out, time_us now);

/* ---- in ------------------------------------------------------------------------------------- */

/* One receive: ESP packets of `stride` octets, the last may be shorter (UDP_GRO). */
struct esp_datagrams {
    uint8_t *data; /* opened in place */
    uint32_t len, stride;
    uint8_t tos;
    bool udp;
    bool ah; /* one whole IP packet with AH inside */
    const struct sockaddr_storage *from;
};
struct esp_in_calls {
    void *context;
    /* Writes one frame to TUN: a virtio header and the pieces of one packet. False: refused. */
    bool (*deliver)(void *context, const struct iovec *iov, size_t count);
};
struct esp_in;
/* uso: TUN takes UDP super-packets. */
struct esp_in *esp_in_create(struct esp_plane *plane, uint16_t worker, bool uso,
                             const struct esp_in_calls *calls);
void esp_in_free(struct esp_in *in);
void esp_in_awake(struct esp_in *in);
void esp_in_asleep(struct esp_in *in);
/* The kernel dropped datagrams before we could receive them. */
void esp_in_lost(struct esp_in *in, uint32_t datagrams);
/* Opens, checks and delivers; the buffers are free again on return. */
void esp_in_receive(struct esp_in *in, struct esp_datagrams *datagrams, size_t count, time_us now);
/* Before waiting: have SAs been added for which packets had come too early? These are opened and
 * delivered. True: others are kept; then look again after *pause milliseconds. */
bool esp_in_early(struct esp_in *in, time_us (*clock)(void), int *pause);

#endif
