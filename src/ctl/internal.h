/* Inside ctl/: what both sides of a connection share. */
#ifndef SHRIKE_CTL_INTERNAL_H
#define SHRIKE_CTL_INTERNAL_H

#include <sys/socket.h>
#include <sys/un.h>
#include "ctl/ctl.h"

/* Octets that arrive or wait to go; grows up to a limit that the caller keeps. */
struct pile {
    uint8_t *at;
    size_t len, room;
};
bool pile_reserve(struct pile *pile, size_t more);
bool pile_add(struct pile *pile, const void *data, size_t len);
void pile_drop(struct pile *pile, size_t len); /* the first len octets */
void pile_free(struct pile *pile);

/* One object with its zero octet behind; ERR_LIMIT over CTL_MESSAGE_MAX. Does not steal. */
int frame_write(const json_t *object, struct pile *out) MUST_USE;

/* False when the path is longer than a socket address can be. */
bool unix_address(const char *path, struct sockaddr_un *out);

#endif
