/* Messages to another process that wait: for room, because ike and esp never wait for the monitor,
 * and for company, because waking a process costs more than what it does with one message. */
#ifndef SHRIKE_RUN_OUTBOX_H
#define SHRIKE_RUN_OUTBOX_H

#include "run/ipc.h"

struct outbox {
    uint8_t *data;
    size_t head, len, capacity; /* octets; what is between head and len waits */
    time_us sent_at;            /* last time that something went */
};
enum { OUTBOX_LIMIT = 64 << 20, OUTBOX_PAUSE_US = 5000 };

/* Keeps it for outbox_due(). ERR_LIMIT, ERR_MEMORY. */
int outbox_put(struct outbox *box, const struct ipc_message *message) MUST_USE;
/* When what waits should be flushed: at once after a quiet time, else OUTBOX_PAUSE_US after the
 * last time. TIME_NEVER when nothing waits. */
time_us outbox_due(const struct outbox *box);

/* Sends, or keeps it for outbox_flush(). ERR_LIMIT when too much waits, ERR_MEMORY, ERR_CLOSED. */
int outbox_send(struct outbox *box, int fd, const struct ipc_message *message) MUST_USE;
/* `now` is remembered. 0: all gone; ERR_AGAIN: wait for the descriptor to be writable; ERR_CLOSED.
 */
int outbox_flush(struct outbox *box, int fd, time_us now) MUST_USE;
/* Waits for room, at most wait_ms each time; for neighbours who read whatever else they do. */
int outbox_flush_wait(struct outbox *box, int fd, int wait_ms) MUST_USE;
bool outbox_waits(const struct outbox *box);
void outbox_clear(struct outbox *box); /* what waits is forgotten */
void outbox_free(struct outbox *box);

#endif
