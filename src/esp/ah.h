/* AH in tunnel mode (RFC 4302): the ICV covers the outer header, too, so packets are written and
 * read with it. Over IPv4 the outer header is ours but for its checksum; over IPv6 the kernel
 * writes it, and what of it the ICV covers (lengths, addresses) is known before.
 *
 * A packet's ICV is made over a copy of the heads in which whatever changes on the way is zero
 * (section 3.3.3.1), then the inner packet where it stands. Outer headers with options or extension
 * headers are not taken: no host puts them around a tunnel, and which of them change on the way is
 * a list without end.
 */
#ifndef SHRIKE_ESP_AH_H
#define SHRIKE_ESP_AH_H

#include "esp/seal.h"

/* Octets before the inner packet, as seal_place() leaves them free. */
uint8_t ah_head_len(uint8_t family, uint8_t icv_len);
/* All that AH adds to an inner packet, the outer header included. */
uint32_t ah_overhead(const struct sa *sa, const struct sa_path *path);
/* An SA's heads have one length: it cannot follow its peer to the other address family. */
bool ah_may_move(const struct sa *sa, const struct endpoint *local, const struct endpoint *remote);
/* seal_take() for AH. */
void ah_take(struct esp_out *out, const struct out_to *to, uint64_t sequence, uint32_t len);

/* What a received packet says before anything is verified. */
struct ah_view {
    uint8_t outer_len; /* 20 or 40 */
    uint8_t next;
    uint16_t head_len; /* of the AH, padding included */
    uint32_t spi, sequence;
};
/* False: no whole AH packet under a plain outer header. */
bool ah_read(const uint8_t *packet, uint32_t len, struct ah_view *out);
/* Does the length of the head fit the SA's ICV? Some peers align to 8 octets over IPv4, too. */
bool ah_fits(const struct ah_view *view, const struct sa *sa);
/* The octets under the ICV before the inner packet, once ah_fits(); how many. */
uint16_t ah_covered(const uint8_t *packet, const struct ah_view *view, const struct sa *sa,
                    uint8_t out[static AH_HEADS]);

#endif
