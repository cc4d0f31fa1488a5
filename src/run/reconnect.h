/* reconnect: when a client tries again. A pure state machine: facts and time in, a decision out.
 *
 *   IDLE -> TRYING -> UP -> (lost) TRYING ... ; TRYING -> (failed) WAITING -> TRYING
 *
 * The first attempt after the loss of a tunnel that stood for ten seconds is made at once, then
 * after 1 s, 2 s, 4 s .. 60 s, each with up to a fifth of jitter less, so that a gateway that comes
 * back is not met by all at once. A refusal of our credentials waits 60 s: trying faster helps
 * nobody. A command of the user tries at once.
 */
#ifndef SHRIKE_RUN_RECONNECT_H
#define SHRIKE_RUN_RECONNECT_H

#include "base/base.h"

enum reconnect_state { RECONNECT_IDLE, RECONNECT_TRYING, RECONNECT_UP, RECONNECT_WAITING };
struct reconnect {
    enum reconnect_state state;
    unsigned failures; /* in a row */
    time_us next;      /* WAITING: when to try again */
    time_us since;     /* UP: when that began */
};

/* Now, whatever was being waited for; nothing when it is up or trying already. */
void reconnect_now(struct reconnect *r, time_us now);
void reconnect_up(struct reconnect *r, time_us now);
/* The attempt failed, or the tunnel that stood is gone. */
void reconnect_failed(struct reconnect *r, time_us now, int err, const struct random *random);
void reconnect_lost(struct reconnect *r, time_us now, const struct random *random);
/* True once, when an attempt is due: the state is TRYING then. */
bool reconnect_due(struct reconnect *r, time_us now);
time_us reconnect_deadline(const struct reconnect *r); /* TIME_NEVER when nothing is planned */

#endif
