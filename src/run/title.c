/* What ps shows for a child: four processes of one name are hard to tell apart. The text goes where
 * the arguments of the command line stood, in the child's own copy of that memory. */
#include "run/internal.h"

#include <stdio.h>
#include <string.h>

static char *room;
static size_t room_len;

void run_title_room(int argc, char **argv)
{
    char *end = argc > 0 ? argv[0] : NULL;
    for (int i = 0; i < argc && argv[i] == end; i++)
        end += strlen(end) + 1;
    room = argc > 0 ? argv[0] : NULL;
    room_len = room ? (size_t)(end - room) : 0;
}

void run_title(const char *role, const char *name)
{
    if (room_len == 0)
        return;
    memset(room, 0, room_len);
    snprintf(room, room_len, "shrike: %s %s", role, name);
}
