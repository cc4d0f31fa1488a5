/* Framing: a JSON object, then a zero octet. */
#include "ctl/internal.h"

#include <stdlib.h>
#include <string.h>

bool pile_reserve(struct pile *pile, size_t more)
{
    if (pile->room - pile->len >= more)
        return true;
    size_t room = pile->room ? pile->room : 512;
    while (room - pile->len < more)
        room *= 2;
    uint8_t *at = realloc(pile->at, room);
    if (!at)
        return false;
    pile->at = at;
    pile->room = room;
    return true;
}

bool pile_add(struct pile *pile, const void *data, size_t len)
{
    if (!pile_reserve(pile, len))
        return false;
    memcpy(pile->at + pile->len, data, len);
    pile->len += len;
    return true;
}

void pile_drop(struct pile *pile, size_t len)
{
    pile->len -= len;
    if (pile->len)
        memmove(pile->at, pile->at + len, pile->len);
    if (!pile->len && pile->room > 65536)
        pile_free(pile); /* one large answer should not stay for ever */
}

void pile_free(struct pile *pile)
{
    free(pile->at);
    *pile = (struct pile){0};
}

int frame_write(const json_t *object, struct pile *out)
{
    size_t size = json_dumpb(object, NULL, 0, JSON_COMPACT);
    if (!size)
        return ERR_MEMORY;
    if (size > CTL_MESSAGE_MAX)
        return ERR_LIMIT;
    if (!pile_reserve(out, size + 1))
        return ERR_MEMORY;
    if (json_dumpb(object, (char *)out->at + out->len, size, JSON_COMPACT) != size)
        return ERR_MEMORY;
    out->len += size;
    out->at[out->len++] = 0;
    return 0;
}

int ctl_frame(struct bytes bytes, json_t **message, size_t *used)
{
    *message = NULL;
    *used = 0;
    size_t look = bytes.len < CTL_MESSAGE_MAX + 1 ? bytes.len : CTL_MESSAGE_MAX + 1;
    const uint8_t *end = look ? memchr(bytes.at, 0, look) : NULL;
    if (!end)
        return bytes.len > CTL_MESSAGE_MAX ? ERR_LIMIT : 0;
    size_t len = (size_t)(end - bytes.at);
    json_t *object = json_loadb((const char *)bytes.at, len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(object)) {
        json_decref(object);
        return ERR_SYNTAX;
    }
    *message = object;
    *used = len + 1;
    return 0;
}

bool unix_address(const char *path, struct sockaddr_un *out)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (!n || n >= sizeof out->sun_path)
        return false;
    memcpy(out->sun_path, path, n + 1);
    return true;
}
