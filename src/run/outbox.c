/* A queue of whole messages in one block of memory. */
#include "run/outbox.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* More than that is given back when the box is empty. */
enum { KEEP_OCTETS = 1 << 18 };

bool outbox_waits(const struct outbox *box)
{
    return box->head < box->len;
}

/* A message waits behind its length. */
static size_t length_at(const struct outbox *box, size_t at)
{
    uint32_t len;
    memcpy(&len, box->data + at, sizeof(len));
    return len;
}

/* What lies here is often a key: no copy of it stays behind. */
static int make_room(struct outbox *box, size_t more)
{
    if (box->len + more > OUTBOX_LIMIT)
        return ERR_LIMIT;
    if (box->len + more <= box->capacity)
        return 0;
    size_t capacity = box->capacity * 2 + more;
    capacity = capacity > OUTBOX_LIMIT ? OUTBOX_LIMIT : capacity;
    uint8_t *data = malloc(capacity);
    if (!data)
        return ERR_MEMORY;
    if (box->data) {
        memcpy(data, box->data, box->len);
        secret_wipe(box->data, box->len);
        free(box->data);
    }
    box->data = data;
    box->capacity = capacity;
    return 0;
}

int outbox_put(struct outbox *box, const struct ipc_message *message)
{
    uint32_t len = (uint32_t)ipc_length(message);
    if (box->head > 0 && box->head == box->len)
        box->head = box->len = 0;
    int err = make_room(box, sizeof(len) + len);
    if (err)
        return err;
    memcpy(box->data + box->len, &len, sizeof(len));
    memcpy(box->data + box->len + sizeof(len), message, len);
    box->len += sizeof(len) + len;
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

/* One system call's worth. */
static int flush_some(struct outbox *box, int fd)
{
    struct ipc_part parts[IPC_PARTS_MAX];
    size_t count = 0, end = box->head;
    for (; end < box->len && count < IPC_PARTS_MAX; count++) {
        parts[count].len = length_at(box, end);
        parts[count].octets = box->data + end + sizeof(uint32_t);
        end += sizeof(uint32_t) + parts[count].len;
    }
    int sent = ipc_send_parts(fd, parts, count);
    for (int i = 0; i < sent; i++) {
        size_t whole = sizeof(uint32_t) + parts[i].len;
        secret_wipe(box->data + box->head, whole);
        box->head += whole;
    }
    return sent < 0 ? sent : 0;
}

int outbox_flush(struct outbox *box, int fd, time_us now)
{
    while (outbox_waits(box)) {
        int result = flush_some(box, fd);
        if (result)
            return result;
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

int outbox_flush_wait(struct outbox *box, int fd, int wait_ms)
{
    int result;
    while ((result = outbox_flush(box, fd, 0)) == ERR_AGAIN) {
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        if (poll(&room, 1, wait_ms) <= 0)
            return ERR_AGAIN;
    }
    return result;
}

void outbox_clear(struct outbox *box)
{
    if (box->data)
        secret_wipe(box->data + box->head, box->len - box->head);
    box->head = box->len = 0;
}

void outbox_free(struct outbox *box)
{
    outbox_clear(box);
    free(box->data);
    *box = (struct outbox){0};
}
