/* early: packets that came before their SA.
 *
 * The responder of a rekey may send on the new SA as soon as it has sent its answer (RFC 7296 2.8),
 * and some do so before that. The initiator has the keys only when the answer is here, worked on,
 * and brought to the data plane. What comes meanwhile is kept for a moment and looked at again when
 * an SA has been added: a ring of packets for each worker, the oldest gives way. Nothing of such a
 * packet is believed before: it goes the way of every other, with its check and its replay window.
 * Strangers may fill the ring; then others' early packets are lost, as all were without it.
 */
#ifndef SHRIKE_ESP_EARLY_H
#define SHRIKE_ESP_EARLY_H

#include "esp/internal.h"

enum { EARLY_PACKETS = 64, EARLY_OCTETS = 2048 };
#define EARLY_LIFE (2 * TIME_SECOND)

struct early;

struct early *early_create(void);
void early_free(struct early *early);
/* Not what is longer than EARLY_OCTETS, nor between early_next() and early_done(). */
void early_keep(struct early *early, uint32_t spi, const uint8_t *packet, uint32_t len,
                const struct esp_datagrams *from, time_us now);
bool early_any(const struct early *early);
/* Has an SA been added since this was last asked? */
bool early_news(struct early *early, const struct esp_plane *plane);
/* Goes over what is kept, oldest first: the next packet whose SA is there. It is the caller's until
 * early_done(), which forgets those and what is too old. NULL: no more. */
struct esp_datagrams *early_next(struct early *early, const struct esp_plane *plane,
                                 uint32_t *cursor);
void early_done(struct early *early, time_us now);
/* Milliseconds after which another look is worth it, longer each time; -1 = nothing is kept. */
int early_pause(const struct early *early, time_us now);

#endif
