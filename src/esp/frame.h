/* The virtio header that TUN puts before each packet (struct virtio_net_hdr, native byte order),
 * with names of our own: not every kernel's headers know USO. */
#ifndef SHRIKE_ESP_FRAME_H
#define SHRIKE_ESP_FRAME_H

#include "esp/esp.h"

enum { FRAME_NEEDS_CHECKSUM = 1 };
enum {
    FRAME_WHOLE = 0,
    FRAME_TCP4 = 1,
    FRAME_TCP6 = 4,
    FRAME_UDP = 5, /* UDP_L4: datagrams of equal size, RFC 768 boundaries kept */
    FRAME_ECN = 0x80,
};

struct frame {
    uint8_t flags, kind;
    uint16_t head_len;       /* of a super-packet: headers before the payload */
    uint16_t piece;          /* payload octets of each packet but the last */
    uint16_t checksum_start; /* from the packet's start; the checksum covers from here to the end */
    uint16_t checksum_offset;
};
_Static_assert(sizeof(struct frame) == ESP_FRAME_HEADER, "as the kernel has it");

#endif
