/* The esp process: worker threads, and the control loop that adds, moves and ends SAs as ike says
 * (IPC_ESP_*), tells it what happened (IPC_FACTS) and reports to the monitor (IPC_STATUS_ESP).
 *
 * It outlives the ike process: when that one ends, SAs go on carrying traffic until their hard
 * limits; the monitor then sends a fresh pair (IPC_PEER for ROLE_IKE), and SAs of the new
 * generation replace the old ones' as they come. It ends when the monitor says IPC_STOP or closes
 * its end. Needs no privilege: all descriptors are given. */
#ifndef SHRIKE_RUN_ESP_PROC_H
#define SHRIKE_RUN_ESP_PROC_H

#include "run/internal.h"

struct esp_process_args {
    const struct conf *conf;
    int monitor_fd, ike_fd;            /* ike_fd -1: none yet, IPC_PEER will bring one */
    uint16_t workers;                  /* as TUN and the sockets were opened with */
    const struct net_tun *tun;         /* a queue a worker */
    const struct run_sockets *sockets; /* of each group worker[], and the raw ones */
};

/* Returns the exit status. IPC_READY goes to the monitor once it is confined and carries. */
int esp_process(void *args);

#endif
