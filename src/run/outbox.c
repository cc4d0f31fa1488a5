/* A queue of whole messages in one block of memory. */
#include "run/outbox.h"

#include <stdlib.h>
#include <string.h>

/* More than that is given back when the box is empty. */
enum { KEEP_OCTETS = 1 << 18 };

bool outbox_waits(const struct outbox *box)
{
    return box->head < box->len;
}

int outbox_put(struct outbox *box, const struct ipc_message *message)
{
    size_t size = ipc_size(message->kind);
    if (box->head > 0 && box->head == box->len)
        box->head = box->len = 0;
    if (box->len + size > OUTBOX_LIMIT)
        return ERR_LIMIT;
    if (box->len + size > box->capacity) {
        size_t more = box->capacity * 2 + size;
        more = more > OUTBOX_LIMIT ? OUTBOX_LIMIT : more;
        uint8_t *data = realloc(box->data, more);
        if (!data)
            return ERR_MEMORY;
        box->data = data;
        box->capacity = more;
    }
    memcpy(box->data + box->len, message, size);
    box->len += size;
    return 0;
}

int outbox_send(struct outbox *box, int fd, const struct ipc_message *message)
{
    if (!outbox_waits(box)) {
        int result = ipc_send(fd, message, -1);
        if (result != ERR_AGAIN)
            return result;
    }
    return outbox_put(box, message);
}

time_us outbox_due(const struct outbox *box)
{
    return outbox_waits(box) ? box->sent_at + OUTBOX_PAUSE_US : TIME_NEVER;
}

int outbox_flush(struct outbox *box, int fd, time_us now)
{
    static struct ipc_message message;
    while (outbox_waits(box)) {
        memcpy(&message, box->data + box->head, sizeof(uint32_t));
        size_t size = ipc_size(message.kind);
        memcpy(&message, box->data + box->head, size);
        int result = ipc_send(fd, &message, -1);
        if (result)
            return result;
        box->head += size;
        box->sent_at = now;
    }
    box->head = box->len = 0;
    if (box->capacity > KEEP_OCTETS) {
        free(box->data);
        box->data = NULL;
        box->capacity = 0;
    }
    return 0;
}

void outbox_free(struct outbox *box)
{
    free(box->data);
    *box = (struct outbox){0};
}
