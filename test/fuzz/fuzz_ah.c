/* AH as it comes from the network, and frames from TUN that leave by it. The first octet chooses:
 *   % 3: 0  datagrams as they are: a length of two octets before each
 *        1  the same octets as an outer header, then what AH carries, sealed properly
 *        2  the same octets as frames from TUN, sealed by one end and opened by the other
 *   0x40: over IPv6; 0x80: AES-GMAC instead of HMAC
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "esp/ah.h"

enum { PACKETS = 32, PACKET_MAX = 2000, SPI = 0x2000, SHA256 = 12, GMAC128 = 9 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct esp_plane *plane;
static struct esp_in *in;
static struct esp_out *out;
static struct aead_engine *engine;
static struct endpoint host[2];
static struct sockaddr_storage from[2];
static bool six;

static bool deliver(void *context, const struct iovec *iov, size_t count)
{
    static volatile uint8_t sum;
    (void)context;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < iov[i].iov_len; k++)
            sum = (uint8_t)(sum + ((const uint8_t *)iov[i].iov_base)[k]);
    return true;
}

/* As the kernel hands it over: over IPv6 the header is put before it. */
static void receive_one(const uint8_t *packet, uint32_t len)
{
    uint32_t outer = six ? IP6_HEADER : 0;
    uint8_t *whole = malloc(outer + len + 1);
    if (!whole)
        abort();
    if (six) {
        struct ip6_header ip = {.version_class_flow = htonl(0x60000000),
                                .payload_len = htons((uint16_t)len),
                                .next = PROTO_AH,
                                .hops = 9};
        memcpy(ip.source, host[1].ip.octets, 16);
        memcpy(ip.destination, host[1].ip.octets, 16);
        memcpy(whole, &ip, sizeof(ip));
    }
    memcpy(whole + outer, packet, len);
    struct esp_datagrams d = {.data = whole, .len = outer + len, .ah = true, .from = &from[six]};
    esp_in_receive(in, &d, 1, 2);
    free(whole);
}

/* What one end sends, the other must be able to open, whatever it was. */
static void loop(void *context, struct esp_send *send)
{
    struct esp_counters before, after;
    (void)context;
    esp_counters(plane, &before);
    for (uint32_t at = 0; at < send->len; at += send->stride)
        receive_one(send->data + at, send->len - at < send->stride ? send->len - at : send->stride);
    esp_counters(plane, &after);
    if (after.drop_in_integrity != before.drop_in_integrity ||
        after.drop_in_ah != before.drop_in_ah || after.drop_in_spi != before.drop_in_spi)
        abort();
    send->sent = send->count;
}

static void start(void)
{
    struct esp_plane_config config = {
        .workers = 1, .max_sas = 4, .device_mtu = 1438, .random = &random_system};
    struct esp_in_calls in_calls = {.deliver = deliver};
    struct esp_out_calls out_calls = {.send = loop, .reply = deliver};
    if (crypto_init() != 0 || suite_ready(&(struct transform){TRANSFORM_INTEG, GMAC128, 0}) != 0 ||
        !endpoint_parse("192.0.2.1", 500, &host[0]) ||
        !endpoint_parse("2001:db8::1", 500, &host[1]))
        abort();
    for (size_t i = 0; i < ARRAY_LEN(host); i++)
        (void)endpoint_to_sockaddr(&host[i], &from[i]);
    plane = esp_create(&config);
    in = esp_in_create(plane, 0, true, &in_calls);
    out = esp_out_create(plane, 0, &out_calls);
    engine = aead_engine_create();
}

/* A fresh SA a run, which talks to itself. */
static struct sa *renew(bool gmac)
{
    uint8_t keymat = suite_integ(gmac ? GMAC128 : SHA256)->key_len;
    struct esp_sa_config c = {.spi_in = SPI,
                              .spi_out = SPI,
                              .ah = true,
                              .integ = gmac ? GMAC128 : SHA256,
                              .esn = gmac,
                              .window = 64,
                              .keymat_len_in = keymat,
                              .keymat_len_out = keymat,
                              .local = host[six],
                              .remote = host[six],
                              .local_count = 2,
                              .remote_count = 2};
    c.local_ts[0] = c.remote_ts[0] = selector_any(4);
    c.local_ts[1] = c.remote_ts[1] = selector_any(6);
    (void)!esp_remove(plane, SPI, 0, 0);
    if (esp_add(plane, &c, 0) != 0)
        abort();
    return sad_find(plane, SPI);
}

static uint8_t *copy_of(struct bytes bytes)
{
    uint8_t *copy = malloc(bytes.len + 1);
    if (!copy)
        abort();
    if (bytes.len)
        memcpy(copy, bytes.at, bytes.len);
    return copy;
}

/* Outer header as given but for its kind and lengths; SPI, number and ICV right. */
static void seal(const struct sa *sa, uint8_t *packet, uint32_t len, uint32_t number)
{
    uint8_t covered[AH_HEADS];
    struct ah_view view;
    uint32_t outer = six ? IP6_HEADER : IP4_HEADER, head = sa->head_len - (six ? 0 : IP4_HEADER);
    uint8_t *ah = packet + outer;
    if (len < outer + head)
        return;
    packet[0] = six ? (uint8_t)(0x60 | (packet[0] & 15)) : 0x45;
    uint16_t said = htons((uint16_t)(six ? len - outer : len));
    memcpy(packet + (six ? 4 : 2), &said, sizeof(said));
    packet[six ? 6 : 9] = PROTO_AH;
    ah[1] = (uint8_t)(head / 4 - 2);
    uint32_t words[2] = {htonl(SPI), htonl(number)};
    memcpy(ah + 4, words, sizeof(words));
    if (!ah_read(packet, len, &view) || !ah_fits(&view, sa))
        return;
    struct aead_op op = {.aead = sa->aead_out,
                         .aad = covered,
                         .aad_len = ah_covered(packet, &view, sa, covered),
                         .iv = ah + AH_HEADER,
                         .text = ah + head,
                         .text_len = len - outer - head,
                         .icv = ah + AH_HEADER + sa->iv_len,
                         .has_esn_high = sa->esn};
    aead_seal(engine, &op, 1);
}

static void feed_in(const struct sa *sa, struct reader *r, bool sealed)
{
    struct esp_datagrams datagrams[PACKETS];
    size_t count = 0;
    while (r->left > 2 && count < PACKETS) {
        uint16_t len = reader_u16(r) % PACKET_MAX;
        struct bytes bytes = reader_bytes(r, len < r->left ? len : r->left);
        uint8_t *packet = copy_of(bytes);
        if (sealed)
            seal(sa, packet, (uint32_t)bytes.len, (uint32_t)count + 1);
        datagrams[count++] = (struct esp_datagrams){.data = packet,
                                                    .len = (uint32_t)bytes.len,
                                                    .tos = (uint8_t)len,
                                                    .ah = true,
                                                    .from = &from[six]};
    }
    esp_in_receive(in, datagrams, count, 1);
    for (size_t i = 0; i < count; i++)
        free(datagrams[i].data);
}

static void feed_out(struct reader *r)
{
    while (r->left > 2) {
        uint16_t len = reader_u16(r);
        struct bytes bytes = reader_bytes(r, len < r->left ? len : r->left);
        uint8_t *frame = copy_of(bytes);
        esp_out_packet(out, frame, bytes.len, 1);
        free(frame);
    }
    esp_out_flush(out, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!plane)
        start();
    struct reader r = reader_of(data, size);
    uint8_t choice = reader_u8(&r), mode = (choice & 0x3f) % 3;
    six = choice & 0x40;
    struct sa *sa = renew(choice & 0x80);
    if (mode == 2)
        feed_out(&r);
    else
        feed_in(sa, &r, mode == 1);
    esp_tick(plane, 1);
    return 0;
}
