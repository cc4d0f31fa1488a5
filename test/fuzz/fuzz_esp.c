/* ESP as it comes from the network, and frames as they come from TUN. The first octet chooses:
 *   0  datagrams as they are: a length of two octets before each; nearly all fail the tag
 *   1  the same octets as inner packets with trailers, sealed properly, so that the inside is met
 *   2  the same octets as frames from TUN, cut and sealed by one end, opened and joined by the
 *      other
 *   3  as 2, with padding of each packet, and dummies between the frames
 *   4  as 1, in transport mode: the octets are what the IP header was taken from
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "esp/internal.h"

enum { PACKETS = 64, PACKET_MAX = 4000, SPI = 0x2000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct esp_plane *plane;
static struct esp_in *in;
static struct esp_out *out;
static struct aead_engine *engine;
static struct sockaddr_storage from;
enum mode { AS_THEY_ARE, SEALED, FROM_TUN, PADDED, TRANSPORT, MODES };

static void touch(const struct iovec *iov, size_t count)
{
    static volatile uint8_t sum;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at = iov[i].iov_base;
        for (size_t k = 0; k < iov[i].iov_len; k++)
            sum = (uint8_t)(sum + at[k]);
    }
}

static bool deliver(void *context, const struct iovec *iov, size_t count)
{
    (void)context;
    size_t len = 0;
    touch(iov, count);
    for (size_t i = 0; i < count; i++)
        len += iov[i].iov_len;
    if (len > ESP_FRAME_MAX || len <= ESP_FRAME_HEADER || count > 1024)
        abort();
    return true;
}

/* What one end sends, the other must be able to open, whatever it was. */
static void loop(void *context, struct esp_send *send)
{
    (void)context;
    uint8_t *copy = malloc(send->len);
    struct esp_counters before, after;
    if (!copy)
        abort();
    memcpy(copy, send->data, send->len);
    struct esp_datagrams d = {
        .data = copy, .len = send->len, .stride = send->stride, .udp = true, .from = &from};
    esp_counters(plane, &before);
    esp_in_receive(in, &d, 1, 2);
    esp_counters(plane, &after);
    if (after.drop_in_integrity != before.drop_in_integrity ||
        after.drop_in_short != before.drop_in_short ||
        after.drop_in_padding != before.drop_in_padding)
        abort();
    free(copy);
    send->sent = send->count;
}

static void start(void)
{
    struct esp_plane_config config = {
        .workers = 1, .max_sas = 4, .device_mtu = 1438, .dummies = 100, .random = &random_system};
    struct esp_in_calls in_calls = {.deliver = deliver};
    struct esp_out_calls out_calls = {.send = loop, .reply = deliver};
    struct endpoint peer;
    if (crypto_init() != 0 || !endpoint_parse("192.0.2.1", 4500, &peer))
        abort();
    (void)endpoint_to_sockaddr(&peer, &from);
    plane = esp_create(&config);
    in = esp_in_create(plane, 0, true, &in_calls);
    out = esp_out_create(plane, 0, &out_calls);
    engine = aead_engine_create();
    if (esp_cover_open(plane, &out_calls) != 0)
        abort();
}

/* A fresh SA a run, which talks to itself: a run must not depend on those before it. */
static struct sa *renew(enum mode mode, uint16_t tfc)
{
    struct esp_sa_config c = {.spi_in = SPI,
                              .spi_out = SPI,
                              .encr = 20,
                              .encr_bits = 128,
                              .udp = true,
                              .window = 64,
                              .keymat_len_in = 20,
                              .keymat_len_out = 20,
                              .local_count = 2,
                              .remote_count = 2,
                              .transport = mode == TRANSPORT,
                              .tfc = mode == PADDED ? tfc : 0,
                              .cover = mode == PADDED};
    (void)endpoint_parse("192.0.2.2", 4500, &c.local);
    (void)endpoint_parse("192.0.2.1", 4500, &c.remote);
    c.local_ts[0] = c.remote_ts[0] = selector_any(4);
    c.local_ts[1] = c.remote_ts[1] = selector_any(6);
    if (mode == TRANSPORT) {
        struct prefix one;
        (void)prefix_parse("192.0.2.1", &one);
        c.local_ts[0] = c.remote_ts[0] = c.local_ts[1] = c.remote_ts[1] =
            selector_from_prefix(&one);
        c.seen_remote = c.local.ip; /* as through NAT: checksums change */
    }
    (void)!esp_remove(plane, SPI, 0, 0);
    if (esp_add(plane, &c, 0) != 0)
        abort();
    return sad_find(plane, SPI);
}

static uint32_t seal(struct sa *sa, uint8_t *at, uint32_t number, const uint8_t *text, uint32_t len)
{
    uint32_t head[2] = {htonl(SPI), htonl(number)};
    memcpy(at, head, 8);
    memset(at + 8, (int)number, 8);
    memcpy(at + 16, text, len);
    struct aead_op op = {.aead = sa->aead_out,
                         .aad = at,
                         .aad_len = 8,
                         .iv = at + 8,
                         .text = at + 16,
                         .text_len = len,
                         .icv = at + 16 + len};
    aead_seal(engine, &op, 1);
    return 16 + len + 16;
}

static void feed_in(struct sa *sa, struct reader *r, bool sealed)
{
    struct esp_datagrams datagrams[PACKETS];
    size_t count = 0;
    while (r->left > 2 && count < PACKETS) {
        uint16_t len = reader_u16(r) % PACKET_MAX;
        struct bytes bytes = reader_bytes(r, len < r->left ? len : r->left);
        uint8_t *packet = malloc(sealed ? bytes.len + 32 : bytes.len + 1);
        if (!packet)
            abort();
        uint32_t size = (uint32_t)bytes.len;
        if (sealed && bytes.len >= 2)
            size = seal(sa, packet, (uint32_t)count + 1, bytes.at, size);
        else if (size)
            memcpy(packet, bytes.at, size);
        datagrams[count++] = (struct esp_datagrams){.data = packet,
                                                    .len = size,
                                                    .stride = len % 7 ? 0 : 40,
                                                    .tos = (uint8_t)len,
                                                    .udp = true,
                                                    .from = &from};
    }
    esp_in_receive(in, datagrams, count, 1);
    for (size_t i = 0; i < count; i++)
        free(datagrams[i].data);
}

/* In silence each call is due that comes 15 ms after the one before. */
static void cover(void)
{
    static time_us now = 1;
    esp_out_flush(out, 1);
    now += 20 * TIME_MILLISECOND;
    (void)esp_cover(plane, now);
}

static void feed_out(struct reader *r, bool padded)
{
    static const uint8_t blank[ESP_FRAME_MAX];
    while (r->left > 2) {
        uint16_t len = reader_u16(r);
        struct bytes bytes = reader_bytes(r, len < r->left ? len : r->left);
        /* Longer frames than the input has octets for: the rest is zero. */
        size_t size = len;
        uint8_t *octets = malloc(size + 1);
        if (!octets)
            abort();
        memcpy(octets, blank, size);
        if (bytes.len)
            memcpy(octets, bytes.at, bytes.len < size ? bytes.len : size);
        esp_out_packet(out, octets, size, 1);
        free(octets);
        if (padded && len % 3 == 0)
            cover();
    }
    esp_out_flush(out, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!plane)
        start();
    struct reader r = reader_of(data, size);
    enum mode mode = reader_u8(&r) % MODES;
    struct sa *sa = renew(mode, mode == PADDED ? reader_u16(&r) : 0);
    if (mode == FROM_TUN || mode == PADDED)
        feed_out(&r, mode == PADDED);
    else
        feed_in(sa, &r, mode != AS_THEY_ARE);
    esp_tick(plane, 1);
    return 0;
}
