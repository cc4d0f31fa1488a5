/* How runs of ESP packets leave: UDP_SEGMENT where the kernel and the path allow it, else packet by
 * packet; plain ESP by raw sockets. */
#ifndef SHRIKE_RUN_ESP_SEND_H
#define SHRIKE_RUN_ESP_SEND_H

#include "run/internal.h"

enum { SEND_SOCKETS = RUN_GROUPS };

/* The sockets of one worker; each thread has a sender of its own. */
struct esp_sender {
    size_t count;
    struct {
        struct ip ip;
        int fd;
    } udp[SEND_SOCKETS];
    int raw4, raw6;
    uint16_t most;        /* segments in one send; less than asked for on older kernels */
    uint32_t without_gso; /* sends to go before UDP_SEGMENT is tried again */
};

/* With the sockets of this worker; nothing is opened. */
void esp_send_prepare(struct esp_sender *sender, const struct run_sockets *sockets,
                      const struct net_raw_group *raw4, const struct net_raw_group *raw6,
                      uint16_t worker);
void esp_send_run(struct esp_sender *sender, struct esp_send *send);

#endif
