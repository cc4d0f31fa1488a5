/* Joining what came in: packets of one TCP or UDP flow become one super-packet for one write. A few
 * flows are open at a time; the pieces stay where they are, in the receive buffers. */
#ifndef SHRIKE_ESP_JOIN_H
#define SHRIKE_ESP_JOIN_H

#include "esp/frame.h"
#include "esp/internal.h"

enum { JOIN_FLOWS = 4, JOIN_PIECES = 128, JOIN_PIECES_UDP = 64, JOIN_OCTETS = 65535 };

struct join_flow {
    struct inner first; /* packet == NULL: free */
    uint32_t head;      /* octets of IP and transport header */
    uint32_t piece;     /* payload octets of the first packet */
    uint32_t len;       /* octets of the whole super-packet so far */
    uint32_t next_sequence;
    uint16_t next_id, count;
    uint16_t pseudo; /* sum of the pseudo header without the length */
    bool push;
    struct frame frame;
    struct iovec iov[1 + JOIN_PIECES];
};

struct joiner {
    struct join_flow flows[JOIN_FLOWS];
    unsigned next; /* to be given up when all are taken */
    bool uso;
    struct esp_counters *counters;
    struct esp_in_calls calls;
};

/* Takes a packet: delivers it, or keeps it for joining until join_flush(). */
void join_packet(struct joiner *joiner, const struct inner *inner);
void join_flush(struct joiner *joiner);

#endif
