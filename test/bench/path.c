/* What the data plane's own code costs a packet, in instructions: no descriptor, no thread, one
 * tunnel that talks to itself. For valgrind --tool=callgrind, where time says nothing and counts
 * are the same on every machine (doc/performance.md).
 *
 *   path [ROUNDS [small]]     super-packets of 42 segments; small: single packets of 64 octets
 */
#include "esp/esp.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEGMENTS = 42, PIECE = 1360, IP_AND_TCP = 40, SMALL = 64, BATCH = 32 };

static struct esp_in *in;
static struct sockaddr_storage from;
static uint64_t delivered;

static bool deliver(void *context, const struct iovec *iov, size_t count)
{
    (void)context;
    for (size_t i = 0; i < count; i++)
        delivered += iov[i].iov_len;
    return true;
}

static void loop(void *context, struct esp_send *send)
{
    (void)context;
    struct esp_datagrams d = {.data = (uint8_t *)(uintptr_t)send->data,
                              .len = send->len,
                              .stride = send->stride,
                              .udp = true,
                              .from = &from};
    esp_in_receive(in, &d, 1, 1);
    send->sent = send->count;
}

static struct esp_plane *make_plane(void)
{
    struct esp_plane_config config = {
        .workers = 1, .max_sas = 4, .device_mtu = 1400, .random = &random_system};
    struct esp_sa_config c = {.spi_in = 0x2000,
                              .spi_out = 0x2000,
                              .encr = 20,
                              .encr_bits = 256,
                              .esn = true,
                              .udp = true,
                              .window = 1024,
                              .keymat_len_in = 36,
                              .keymat_len_out = 36,
                              .local_count = 1,
                              .remote_count = 1};
    struct esp_plane *plane = esp_create(&config);
    c.local_ts[0] = c.remote_ts[0] = selector_any(4);
    if (!endpoint_parse("192.0.2.1", 4500, &c.local) || crypto_init() != 0 || !plane)
        exit(1);
    c.remote = c.local;
    (void)endpoint_to_sockaddr(&c.local, &from);
    return esp_add(plane, &c, 1) == 0 ? plane : NULL;
}

/* A TCP super-packet with the virtio header, or one small packet. */
static size_t make_frame(uint8_t *at, bool small)
{
    size_t len = small ? SMALL : IP_AND_TCP + SEGMENTS * PIECE;
    uint16_t piece = PIECE;
    uint8_t *ip = at + ESP_FRAME_HEADER, *tcp = ip + 20;
    memset(at, 0, ESP_FRAME_HEADER + len);
    at[0] = 1;             /* the checksum is not done */
    at[1] = small ? 0 : 1; /* TCP over IPv4 */
    at[2] = IP_AND_TCP;    /* heads */
    memcpy(at + 4, &piece, sizeof(piece));
    at[6] = 20; /* the checksum covers from here, and stands at: */
    at[8] = 16;
    ip[0] = 0x45;
    ip[2] = (uint8_t)(len >> 8), ip[3] = (uint8_t)len;
    ip[6] = 0x40, ip[8] = 64, ip[9] = 6;
    ip[12] = ip[16] = 10, ip[19] = 1;
    tcp[0] = tcp[2] = 9;
    tcp[12] = 0x50, tcp[13] = 0x10;
    return ESP_FRAME_HEADER + len;
}

int main(int argc, char **argv)
{
    static uint8_t frame[ESP_FRAME_MAX];
    bool small = argc > 2;
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 200;
    struct esp_plane *plane = make_plane();
    struct esp_in_calls in_calls = {.deliver = deliver};
    struct esp_out_calls out_calls = {.send = loop, .reply = deliver};
    struct esp_out *out = plane ? esp_out_create(plane, 0, &out_calls) : NULL;
    in = plane ? esp_in_create(plane, 0, true, &in_calls) : NULL;
    if (!in || !out)
        return 1;
    for (unsigned i = 0; i < rounds; i++) {
        for (unsigned k = 0; k < (small ? BATCH : 1); k++) {
            size_t len = make_frame(frame, small);
            esp_out_packet(out, frame, len, 1);
        }
        esp_out_flush(out, 1);
    }
    struct esp_counters c;
    esp_counters(plane, &c);
    printf("%llu packets out, %llu in, %llu octets delivered\n", (unsigned long long)c.out_packets,
           (unsigned long long)c.in_packets, (unsigned long long)delivered);
    esp_in_free(in);
    esp_out_free(out);
    esp_free(plane);
    return c.in_packets == c.out_packets ? 0 : 1;
}
