/* refusals: the last handshakes that came to nothing, for `shrike explain` and status.
 *
 * Who fails again in the same way stands there once, with a number. So that a flood does not wash
 * out what somebody looks for: no address (/32, or /64 for IPv6) has more than a few places; those
 * who never told who they are have a share of their own; and where one has to go, it is the oldest
 * of those seen once. The engine tells of a few tens a second at most, the rest is only counted.
 */
#ifndef SHRIKE_RUN_REFUSALS_H
#define SHRIKE_RUN_REFUSALS_H

#include <jansson.h>

#include "run/ipc.h"

enum { REFUSALS_NAMED = 40, REFUSALS_NAMELESS = 24, REFUSALS_A_SOURCE = 4 };

struct refusal {
    struct ipc_event event;
    int64_t first, last; /* seconds since 1970 */
    uint64_t order;      /* of the last one */
    uint32_t count;      /* 0 = free */
};
struct refusals {
    struct refusal named[REFUSALS_NAMED], nameless[REFUSALS_NAMELESS];
    uint64_t order;
};

void refusals_add(struct refusals *r, const struct ipc_event *event, int64_t now);
/* Newest first, at most `limit`. who: an identity, its part before the @, the name of a [client]
 * section, or an address; NULL = all. conf gives the names and the nearest one to an unknown. */
json_t *refusals_json(const struct refusals *r, const struct conf *conf, const char *who,
                      size_t limit);
size_t refusals_nameless(const struct refusals *r);

#endif
