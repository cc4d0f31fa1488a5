/* The threads of the data plane: per worker one that carries TUN to the network and one that
 * carries the network to TUN. Each does all the work on a packet itself, sleeps in poll() when
 * there is none, and never waits for another.
 *
 * Tried and left out, measured with test/bench/plane.sh on two cores: to spin for 40 us before
 * sleeping (on cores that others use too it takes a tenth off and burns more), to ask the scheduler
 * for short turns (no difference), batches of 8 to 32 for the cipher (no difference). */
#ifndef SHRIKE_RUN_ESP_WORKER_H
#define SHRIKE_RUN_ESP_WORKER_H

#include "run/internal.h"

struct esp_workers_config {
    struct esp_plane *plane;
    uint16_t workers;
    const struct net_tun *tun;               /* a queue a worker */
    const struct run_sockets *sockets;       /* their worker[] members are used */
    const struct net_raw_group *raw4, *raw6; /* plain ESP, or AH when sockets->ah; NULL = none */
};
struct esp_workers;

/* ERR_MEMORY, ERR_SYSTEM. All descriptors stay the caller's and must outlive the workers. */
int esp_workers_start(const struct esp_workers_config *config, struct esp_workers **out) MUST_USE;
void esp_workers_stop(struct esp_workers *workers); /* waits for the threads; NULL is fine */

#endif
