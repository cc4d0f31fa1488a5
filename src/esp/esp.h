/* esp: the data plane as a library: packets in, packets out, no descriptor, no clock, no thread of
 * its own (RFC 4303, 3948, 4301, 6040).
 *
 * sad       SPI -> inbound SA. Writers: the control thread. Readers: the workers, without a lock;
 * memory of a removed SA is given back only after every worker has passed a quiet point
 * (esp_worker_quiet()). spd       destination of an inner packet -> outbound SA. One SA per
 * destination range is the newest whose peer is known to be ready. replay    the anti-replay window
 * with ESN (RFC 4303 3.4.3 and appendix A): looked at before the cipher, moved after the tag.
 * segment   super-packets: cuts what TUN gives (GSO) into ESP packets of equal stride for
 * UDP_SEGMENT; joins what was received into super-packets for one TUN write. Inner MSS clamp,
 * packet-too-big answers, ECN and DSCP. seal/open one batch at a time through crypto/aead. ah: the
 * same for AH (RFC 4302), whose packets come and go with their outer header, which the ICV covers.
 * early: packets that came before their SA. transport: packets of two hosts, that travel without
 * their IP header. tfc: padding that hides how long packets are, and dummies that hide silence.
 *
 * Threads: esp_add/esp_remove/esp_move/esp_tick/esp_walk are called by one control thread. Each
 * worker has an out side (TUN -> UDP) and an in side (UDP -> TUN), each called by one thread. An
 * inbound SA belongs to the worker its SPI selects (spi % workers), so its replay window has one
 * writer. An outbound SA may be used by all workers: sequence numbers are taken by one atomic add
 * per batch. Every way a packet can end has a counter with a name (ESP_COUNTER_LIST).
 */
#ifndef SHRIKE_ESP_H
#define SHRIKE_ESP_H

#include "crypto/crypto.h"

enum { ESP_SELECTORS = 16, ESP_KEYMAT_MAX = 128, ESP_WINDOW_MAX = 8192 };

#define ESP_COUNTER_LIST(X)                                                                        \
    X(out_packets, "inner packets sealed and sent")                                                \
    X(out_bytes, "inner octets sealed and sent")                                                   \
    X(in_packets, "inner packets opened and delivered")                                            \
    X(in_bytes, "inner octets opened and delivered")                                               \
    X(out_dummies, "dummy packets sent (next header 59)")                                          \
    X(out_super, "super-packets read from TUN")                                                    \
    X(in_super, "super-packets written to TUN")                                                    \
    X(drop_out_no_sa, "no SA for this destination")                                                \
    X(drop_out_malformed, "inner packet from TUN is malformed")                                    \
    X(drop_out_too_big, "does not fit; packet-too-big was answered")                               \
    X(drop_out_transport, "transport mode: a fragment, or a header with options")                  \
    X(drop_out_sequence, "sequence numbers of the SA are used up")                                 \
    X(drop_out_send, "the UDP socket refused")                                                     \
    X(drop_out_full, "the UDP socket was full")                                                    \
    X(drop_in_full, "the socket's receive buffer was full")                                        \
    X(drop_in_short, "shorter than an ESP packet")                                                 \
    X(drop_in_spi, "unknown SPI")                                                                  \
    X(in_early, "of these, kept and opened when their SA was there")                               \
    X(drop_in_worker, "SPI of another worker")                                                     \
    X(drop_in_replay, "seen before, or behind the window")                                         \
    X(drop_in_integrity, "integrity check failed")                                                 \
    X(drop_in_ah, "AH: outer header with options, or a length that is not this SA's")              \
    X(drop_in_padding, "padding or trailer malformed")                                             \
    X(drop_in_dummy, "dummy packet (next header 59)")                                              \
    X(drop_in_malformed, "inner packet malformed")                                                 \
    X(drop_in_source, "inner source does not belong to the SA")                                    \
    X(drop_in_destination, "inner destination does not belong to the SA")                          \
    X(drop_in_next_header, "neither IPv4 nor IPv6 inside; transport mode: an extension header")    \
    X(drop_in_ecn, "ECN: congestion mark on a packet that cannot carry it (RFC 6040)")             \
    X(drop_in_tun, "TUN refused the write")                                                        \
    X(in_keepalive, "NAT keepalives received")

struct esp_counters {
#define X(name, help) uint64_t name;
    ESP_COUNTER_LIST(X)
#undef X
};

/* Everything the data plane must know of one child SA: fixed size, it crosses a process boundary as
 * it is. */
struct esp_sa_config {
    uint64_t tunnel; /* IKE SA the child belongs to; for status and esp_move */
    uint32_t spi_in, spi_out;
    uint16_t encr, encr_bits, integ;
    bool esn;
    bool udp;        /* UDP-encapsulated (RFC 3948), else plain ESP */
    bool ah;         /* RFC 4302: encr is 0, the key is that of integ, and udp is not looked at */
    bool transport;  /* between two hosts, whose addresses all selectors name */
    bool out_waits;  /* responder: use outbound only after the peer was heard on it, or
                        nothing else is left */
    uint16_t window; /* replay window in packets, 0 = no replay check */
    uint8_t keymat_len_in, keymat_len_out;
    uint8_t keymat_in[ESP_KEYMAT_MAX],
        keymat_out[ESP_KEYMAT_MAX]; /* cipher key | salt | integrity key */
    struct endpoint local, remote;  /* outer */
    /* Transport mode through NAT: what the two addresses are to the peer; family 0 = the same. */
    struct ip seen_local, seen_remote;
    uint32_t interface; /* to leave by; 0 = by route */
    uint8_t local_count, remote_count;
    struct selector local_ts[ESP_SELECTORS], remote_ts[ESP_SELECTORS];
    uint64_t soft_bytes, hard_bytes, soft_packets, hard_packets; /* 0 = none */
    uint32_t hard_seconds; /* the data plane ends the SA by itself even when nobody tells it; 0 =
                              never */
    uint32_t generation;   /* of the ike process; a newer one's SA replaces older ones with the same
                              remote selectors */
    uint16_t mtu;          /* inner MTU of this path, 0 = the device's */
    /* Traffic flow confidentiality (RFC 4303 2.7, 2.6), of ESP in tunnel mode: an inner packet is
     * filled up to `tfc` octets, or to the MTU where that is less; 0 = not. */
    uint16_t tfc;
    bool cover; /* dummy packets when nothing else goes out */
};

/* Facts for the IKE side. */
enum esp_fact_kind {
    ESP_FACT_SOFT,  /* a soft limit by volume was reached */
    ESP_FACT_HARD,  /* a hard limit: the SA no longer carries packets */
    ESP_FACT_HEARD, /* authentic inbound traffic since the last such fact (at most one a second and
                       SA) */
    ESP_FACT_SENT,  /* outbound traffic since the last such fact, nothing heard meanwhile */
    ESP_FACT_UNKNOWN_SPI,
    ESP_FACT_STRAYED, /* an authentic packet was not for its SA (RFC 4301 5.2 step 4) */
};
enum { ESP_STRAY_MAX = 48 };
struct esp_fact {
    uint32_t kind;
    uint32_t spi_in;
    uint64_t tunnel;
    bool sent;                               /* HEARD: traffic went out, too */
    uint8_t stray_len, stray[ESP_STRAY_MAX]; /* STRAYED: how the packet begins */
    struct endpoint remote; /* where an authentic packet came from, when it differs from the SA's
                               (RFC 7296 2.23) */
};

struct esp_plane;
struct esp_out_calls;
struct esp_plane_config {
    uint16_t workers;
    uint32_t max_sas;
    uint16_t device_mtu;
    uint16_t dummies; /* packets a second that SAs with `cover` send at least, 0 = no matter */
    const struct random *random;
    /* Called by a worker when there is a fact that should not wait for the next tick: a limit was
     * reached. At most twice an SA. Must not block; esp_tick() and esp_next_fact() are the answer.
     * NULL = none. */
    void (*urgent)(void *context);
    void *urgent_context;
};
struct esp_plane *esp_create(const struct esp_plane_config *config);
void esp_free(struct esp_plane *plane);

/* Control thread. */
int esp_add(struct esp_plane *plane, const struct esp_sa_config *config, time_us now) MUST_USE;
/* Outbound ends at once (traffic moves to the newest other SA for it); inbound stays `linger`
 * longer for what is still under way. */
int esp_remove(struct esp_plane *plane, uint32_t spi_in, time_us now, time_us linger) MUST_USE;
int esp_move(struct esp_plane *plane, uint64_t tunnel, const struct endpoint *local,
             const struct endpoint *remote, uint32_t interface, bool udp) MUST_USE;
void esp_tick(struct esp_plane *plane,
              time_us now); /* at least once a second: lingering, lifetimes, reclaiming */
bool esp_next_fact(struct esp_plane *plane, struct esp_fact *out);
/* For a plane with `dummies`: how they are sent, before anything else. ERR_MEMORY */
int esp_cover_open(struct esp_plane *plane, const struct esp_out_calls *calls) MUST_USE;
/* Sends the dummies that are due; returns when to call again, TIME_NEVER without `dummies`. */
time_us esp_cover(struct esp_plane *plane, time_us now);

struct esp_sa_status {
    uint64_t tunnel;
    uint32_t spi_in, spi_out;
    bool active_out;
    uint64_t in_packets, in_bytes, out_packets, out_bytes; /* with those of the SAs before it */
    uint64_t out_sequence, in_top;
    uint64_t drop_replay, drop_integrity, drop_source;
    time_us added, last_in, last_out;
    struct endpoint remote;
};
void esp_walk(struct esp_plane *plane,
              void (*visit)(void *context, const struct esp_sa_status *status), void *context);
void esp_counters(struct esp_plane *plane, struct esp_counters *out); /* sum over workers */

/* The worker side (buffers, GSO/GRO shapes) is in esp/worker.h, included here. */
#include "esp/worker.h"

#endif
