/* nap: has the machine slept? One clock counts sleep and another does not, and they cannot be read
 * at one moment: who is interrupted between the two finds any difference. So the clock that counts
 * is read between two readings of the other, which bounds what was slept from both sides.
 */
#ifndef SHRIKE_RUN_NAP_H
#define SHRIKE_RUN_NAP_H

#include "base/base.h"

struct nap {
    bool known;
    time_us most; /* slept until the last look, at most */
};

/* Since the last look, surely more than `least`? `total` was read after `before` and before
 * `after`, which do not count sleep. */
bool nap_taken(struct nap *n, time_us before, time_us total, time_us after, time_us least);

#endif
