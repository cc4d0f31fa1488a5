/* The out side's batch: places for packets in one buffer, sealed together, sent as runs. */
#ifndef SHRIKE_ESP_SEAL_H
#define SHRIKE_ESP_SEAL_H

#include "esp/internal.h"

enum {
    OUT_BUFFER = 256 * 1024,
    OUT_SLACK = 64 * 1024,     /* padding of the last packet */
    TRAILER_MAX = 16 + 2 + 32, /* padding, its length, next header, the longest ICV */
    RANDOM_IVS = 256,
    IV_MAX = 16,
};

/* ESP packets of one stride for one path: a send to be. */
struct run {
    struct sa *sa;
    const struct sa_path *path;
    uint32_t start, len, stride, inner_bytes;
    uint16_t count;
    uint8_t tos;
    bool closed; /* its last packet is shorter than the others */
};

/* Unpredictable IVs for CBC: the keystream of a cipher of our own with a random key. */
struct iv_source {
    struct aead *aead;
    uint64_t nonce;
    size_t left;
    uint8_t stream[8 + 8 + RANDOM_IVS * IV_MAX + 16]; /* aad | iv | text | icv */
};

struct esp_out {
    struct esp_plane *plane;
    struct side *side;
    struct esp_counters *counters;
    struct aead_engine *engine;
    struct esp_out_calls calls;
    struct iv_source ivs;
    uint32_t used; /* octets of buffer */
    uint16_t ops_count, run_count;
    bool dummies;          /* and nothing else goes out here */
    uint64_t reply_tokens; /* packet-too-big answers that may be given now */
    time_us reply_filled;
    struct aead_op ops[AEAD_BATCH];
    uint8_t aad[AEAD_BATCH][12];
    uint8_t ah[AEAD_BATCH][AH_HEADS]; /* what AH's ICV covers before the inner packet */
    struct run runs[AEAD_BATCH];
    uint8_t *buffer;
};

/* What a packet goes out with. */
struct out_to {
    struct sa *sa;
    const struct sa_path *path;
    uint8_t tos;
    uint8_t next_header;
};

struct esp_out *seal_create(struct esp_plane *plane, struct side *side,
                            const struct esp_out_calls *calls);
/* A place for an inner packet of at most `len` octets; flushes first when there is none. Valid
 * until the next call. */
uint8_t *seal_place(struct esp_out *out, const struct sa *sa, uint32_t len, time_us now);
/* The packet of `len` octets stands in the place; it gets this sequence number. */
void seal_take(struct esp_out *out, const struct out_to *to, uint64_t sequence, uint32_t len);
/* The packet of `whole` octets at the end of what is used, with its inner packet of `len`, is ready
 * but for its cipher, whose op it has filled. */
void seal_add(struct esp_out *out, const struct out_to *to, uint32_t whole, uint32_t len);
/* `count` numbers for an SA; false when they are used up. */
bool seal_numbers(struct esp_out *out, struct sa *sa, uint32_t count, uint64_t *first);

/* Fills the packet of `len` octets up to what the SA's packets shall have; the new length. */
uint32_t tfc_fill(const struct sa *sa, uint8_t *packet, uint32_t len);
/* Answers a packet that does not fit `mtu` with ICMP, at most a hundred times a second. */
void toobig_answer(struct esp_out *out, const struct inner *inner, uint16_t mtu, time_us now);

#endif
