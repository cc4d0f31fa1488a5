/* A child SA in the engine's words, turned into the data plane's. */
#include "run/pump.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)CONF_SELECTORS == (int)ESP_SELECTORS, "one array of selectors is the other");
_Static_assert((int)IKE_KEYMAT_MAX == (int)ESP_KEYMAT_MAX, "one block of keys is the other");
_Static_assert((int)IKE_STRAY_MAX == (int)ESP_STRAY_MAX, "one packet is the other");

enum {
    /* A deleted or expired SA that nobody tells us of must not live on for ever. */
    GRACE_SECONDS = 120,
    /* A batch of packets may be under way when the limit is seen. */
    SEQUENCE_MARGIN = 1 << 16,
    /* Under one key of a cipher with blocks of 64 bits: far from the 32 GB where two blocks are
     * likely to be equal (Sweet32). */
    SMALL_BLOCK_OCTETS = 64 << 20,
};

/* A soft limit at 9/10 of the hard one: time enough for a rekey at any speed. */
static uint64_t soft_of(uint64_t hard)
{
    return hard - hard / 10;
}

/* Without ESN the sequence number ends at 2^32; with it the cipher's own bound is far away, and
 * 2^32 packets (RFC 4106 and 7634 allow more) are a round figure below every one of them. */
static void volume_limits(const struct ike_child *child, const struct conf_tunnel *tunnel,
                          struct esp_sa_config *out)
{
    uint64_t packets = tunnel->child_packets;
    uint64_t bound = (uint64_t)1 << 32;
    if (!child->esn && (packets == 0 || packets > bound - SEQUENCE_MARGIN))
        packets = bound - SEQUENCE_MARGIN;
    if (packets) {
        out->hard_packets = packets;
        out->soft_packets = soft_of(packets);
    } else {
        out->soft_packets = bound;
        out->hard_packets = 2 * bound;
    }
    const struct encr_alg *encr = suite_encr(child->encr, child->encr_bits);
    uint64_t bytes = tunnel->child_bytes;
    if (encr && encr->block == 8 && (bytes == 0 || bytes > SMALL_BLOCK_OCTETS))
        bytes = SMALL_BLOCK_OCTETS;
    if (bytes) {
        out->hard_bytes = bytes;
        out->soft_bytes = soft_of(bytes);
    }
}

/* Padding and dummies hide something only where nobody can read what is inside. */
static void hide_lengths(const struct ike_child *child, const struct conf_tunnel *tunnel,
                         struct esp_sa_config *out)
{
    if (child->ah || encr_is_null(child->encr))
        return;
    out->tfc = child->no_tfc ? 0 : tunnel->tfc;
    out->cover = tunnel->dummies > 0;
}

void run_child_config(const struct ike_child *child, const struct conf *conf, uint32_t generation,
                      struct esp_sa_config *out)
{
    memset(out, 0, sizeof(*out));
    out->tunnel = child->tunnel;
    out->spi_in = child->spi_in;
    out->spi_out = child->spi_out;
    out->encr = child->encr;
    out->encr_bits = child->encr_bits;
    out->integ = child->integ;
    out->ah = child->ah;
    out->transport = child->transport;
    out->seen_local = child->seen_local;
    out->seen_remote = child->seen_remote;
    out->esn = child->esn;
    out->udp = child->udp;
    out->out_waits = child->out_waits;
    out->window = conf->tunnel.replay_window;
    out->keymat_len_in = out->keymat_len_out = child->keymat_len;
    memcpy(out->keymat_in, child->keymat_in, sizeof(out->keymat_in));
    memcpy(out->keymat_out, child->keymat_out, sizeof(out->keymat_out));
    out->local = child->path.local;
    out->remote = child->path.remote;
    out->local_count = child->local_count;
    out->remote_count = child->remote_count;
    memcpy(out->local_ts, child->local_ts, sizeof(out->local_ts));
    memcpy(out->remote_ts, child->remote_ts, sizeof(out->remote_ts));
    volume_limits(child, &conf->tunnel, out);
    out->hard_seconds =
        conf->tunnel.child_lifetime ? conf->tunnel.child_lifetime + GRACE_SECONDS : 0;
    out->generation = generation;
    out->mtu = conf->mtu;
    hide_lengths(child, &conf->tunnel, out);
}

void run_child_suite(const struct ike_child *child, char text[static IPC_SUITE_TEXT])
{
    struct proposal chosen = {.protocol = child->ah ? PROTOCOL_AH : PROTOCOL_ESP};
    char all[512];
    if (!child->ah)
        (void)proposal_add(&chosen, TRANSFORM_ENCR, child->encr, child->encr_bits);
    if (child->integ)
        (void)proposal_add(&chosen, TRANSFORM_INTEG, child->integ, 0);
    (void)proposal_add(&chosen, TRANSFORM_SN, child->esn, 0);
    snprintf(text, IPC_SUITE_TEXT, "%.*s", IPC_SUITE_TEXT - 1, suite_print_proposal(&chosen, all));
}
