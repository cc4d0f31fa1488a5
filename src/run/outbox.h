/* Messages towards the monitor that wait for room: the ike process never waits for it. */
#ifndef SHRIKE_RUN_OUTBOX_H
#define SHRIKE_RUN_OUTBOX_H

#include "run/ipc.h"

struct outbox {
    uint8_t *data;
    size_t head, len, capacity; /* octets; what is between head and len waits */
};
enum { OUTBOX_LIMIT = 64 << 20 };

/* Sends, or keeps it for outbox_flush(). ERR_LIMIT when too much waits, ERR_MEMORY, ERR_CLOSED. */
int outbox_send(struct outbox *box, int fd, const struct ipc_message *message) MUST_USE;
/* 0: all gone; ERR_AGAIN: wait for the descriptor to be writable; ERR_CLOSED. */
int outbox_flush(struct outbox *box, int fd) MUST_USE;
bool outbox_waits(const struct outbox *box);

#endif
