/* Transport mode (RFC 4303 3.1.1): packets between two hosts, that travel without their IP header.
 *
 * TUN knows whole packets only. What goes out loses its header; what comes in gets one made of the
 * SA's selectors, which name one address on each side, and of the outer TOS. Options, extension
 * headers and fragments would have to travel outside, in a header that is not ours to write: such
 * packets are dropped and counted, both ways. Through NAT the peer has summed TCP and UDP over
 * other addresses than those that are put in here: the difference is one number a SA (RFC 3948
 * 3.1.2). */
#ifndef SHRIKE_ESP_TRANSPORT_H
#define SHRIKE_ESP_TRANSPORT_H

#include "esp/seal.h"

enum { TRANSPORT_ROOM = 256 * 1024 };

/* Where packets get their headers back: they stay here until the joiner has delivered them. */
struct transport_room {
    uint8_t *octets;
    uint32_t used;
};

/* One address on each side, of one family, and the same two in all selectors? */
bool transport_sane(const struct esp_sa_config *config);
/* Its addresses are its selectors: only ports may change. */
static inline bool transport_may_move(const struct sa *sa, const struct endpoint *local,
                                      const struct endpoint *remote)
{
    return ip_equal(&local->ip, &sa->local_ts[0].low) &&
           ip_equal(&remote->ip, &sa->remote_ts[0].low);
}
/* May it go out: does it consist of one plain header and what that says? */
static inline bool transport_carries(const struct inner *inner)
{
    return inner->plain;
}
/* Takes the IP header off the packet in its place; *bare is what is left to go out with. */
const struct out_to *transport_strip(struct esp_out *out, const struct out_to *to,
                                     struct out_to *bare, uint32_t *len);

/* What has to be added to a checksum's sum on the way in, in memory order; 0 = nothing. */
uint16_t transport_shift(const struct esp_sa_config *config);
bool transport_has_room(const struct transport_room *room, uint32_t len);
/* The packet with its header, and its length in *len; NULL when it would be too long to be one. */
uint8_t *transport_restore(struct transport_room *room, const struct sa *sa, uint8_t tos,
                           const uint8_t *payload, uint32_t *len, uint8_t next);

#endif
