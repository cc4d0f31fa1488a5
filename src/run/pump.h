/* pump: what the engine wants done, handed to whoever does it.
 *
 * SEND to the UDP sockets; ESP_ADD, ESP_DEL and ESP_MOVE to esp; ASK to keys; NET_UP, NET_DOWN and
 * EVENT to the monitor. After an ESP_ADD every datagram is held back until esp has confirmed the
 * SA (at most 400 ms), because the peer may send its first packet as soon as it has our answer, and
 * nobody repeats a lost one. So they are after the NET_UP of a gateway's child in transport mode,
 * until the monitor has seen to it that our side of the talk goes by that child, too; a monitor
 * that does not say so in time has them thrown away: the peer will ask again. The caller feeds the
 * engine a batch, calls pump_drain() after each call into it, and pump_settle() after the batch: so
 * a batch of handshakes waits once, and each neighbour is woken once.
 */
#ifndef SHRIKE_RUN_PUMP_H
#define SHRIKE_RUN_PUMP_H

#include "run/internal.h"
#include "run/outbox.h"

enum { PUMP_FACTS = 1024, PUMP_HELD_OCTETS = 1 << 20, PUMP_NET_WAITS = 64 };

struct pump {
    struct ike_engine *engine;
    const struct conf *conf;
    const struct run_sockets *sockets;
    int keys_fd, esp_fd, monitor_fd;
    uint32_t generation;
    struct outbox outbox;          /* to the monitor */
    struct outbox to_keys, to_esp; /* of one batch: pump_settle() sends them */
    uint64_t lost_events;
    uint32_t questions;   /* asked of keys, not yet answered */
    uint32_t unconfirmed; /* ESP_ADD without an answer */
    /* Tunnels in transport mode whose NET_UP the monitor has not answered yet. */
    uint64_t net_waits[PUMP_NET_WAITS];
    uint32_t net_wait_count;
    time_us net_wait_end;
    bool esp_gone, keys_gone;
    /* Tickets of the last questions whether a peer may stay, and what became of all of them. */
    uint64_t stays[IKE_STAYS];
    uint32_t stay_next;
    struct ipc_judged judged;
    struct budget unsent;  /* lines about datagrams that could not be sent */
    bool forwards_network; /* set by pump_init(): NET_UP and NET_DOWN concern the monitor */
    /* Datagrams held back, each a struct held and its octets. */
    uint8_t *held;
    size_t held_len;
    /* What esp said while we waited for it to confirm. */
    struct esp_fact facts[PUMP_FACTS];
    size_t fact_count;
    struct ipc_message message; /* scratch */
};

/* Descriptors, engine and generation are set by the caller. */
void pump_init(struct pump *pump);
void pump_drain(struct pump *pump);
/* Another keys process is asked from now on; the former one hears that this was the last, and what
 * it has not answered yet is asked again (ike_reload). Returns the descriptor to it, which it will
 * close. */
int pump_change_keys(struct pump *pump, int fd);
/* An answer of keys, for the engine. */
void pump_answer(struct pump *pump, const struct ike_answer *answer);
/* What is for keys and esp goes on its way. */
void pump_hand_over(struct pump *pump);
/* Hands over, waits for esp where needed, sends what was held, and gives the engine esp's facts. */
void pump_settle(struct pump *pump);
/* The monitor has answered a NET_UP in transport mode. */
void pump_net_done(struct pump *pump, const struct ipc_done *done);
/* Reads what esp has to say; the facts are handed on by pump_settle(). */
void pump_read_esp(struct pump *pump);
/* All of the engine's SAs and its counters, as messages to the monitor. */
void pump_report(struct pump *pump, uint32_t serial);

/* From the engine's words to the data plane's (child.c). */
void run_child_config(const struct ike_child *child, const struct conf *conf, uint32_t generation,
                      struct esp_sa_config *out);
void run_child_suite(const struct ike_child *child, char text[static IPC_SUITE_TEXT]);

#endif
