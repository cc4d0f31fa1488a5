/* What crosses the process boundaries: one fixed-size struct a message over SOCK_SEQPACKET, same
 * binary on both ends. */
#ifndef SHRIKE_RUN_IPC_H
#define SHRIKE_RUN_IPC_H

#include "esp/esp.h"
#include "ike/ike.h"

enum ipc_kind {
    IPC_NONE,
    /* monitor -> any */
    IPC_STOP,       /* end in good order (ike: delete all tunnels first) */
    IPC_PEER,       /* a new pair to a neighbour: descriptor attached; `process` says to whom */
    IPC_STATUS_ASK, /* serial */
    /* any -> monitor */
    IPC_READY,
    IPC_STATUS_IKE, /* one per IKE SA */
    IPC_STATUS_CHILD,
    IPC_STATUS_ESP, /* one per child SA */
    IPC_STATUS_END, /* with the counters */
    /* monitor -> ike */
    IPC_COMMAND, /* struct ike_command; answered by IPC_COMMAND_DONE */
    /* ike -> monitor */
    IPC_COMMAND_DONE,
    IPC_NET_UP,
    IPC_NET_DOWN,
    IPC_EVENT,
    /* ike -> keys, keys -> ike */
    IPC_ASK,
    IPC_ANSWER,
    /* ike -> esp, esp -> ike */
    IPC_ESP_ADD,
    IPC_ESP_DEL,
    IPC_ESP_MOVE,
    IPC_FACT,
};

#endif
