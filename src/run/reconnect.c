/* When a client tries again: see reconnect.h. */
#include "run/reconnect.h"

enum {
    FIRST_SECONDS = 1,
    LAST_SECONDS = 60,
    ADDRESS_SECONDS = 180, /* no inner address: several minutes (RFC 7296 3.15.4) */
    STOOD_SECONDS = 10,
    JITTER_PART = 5,
};

void reconnect_now(struct reconnect *r, time_us now)
{
    if (r->state == RECONNECT_UP || r->state == RECONNECT_TRYING)
        return;
    r->state = RECONNECT_WAITING;
    r->next = now;
}

void reconnect_up(struct reconnect *r, time_us now)
{
    r->state = RECONNECT_UP;
    r->since = now;
}

/* Another try with the same credentials would be refused again. */
static bool is_refusal(int err)
{
    return err == ERR_AUTH || err == ERR_IDENTITY || err == ERR_UNKNOWN_PEER ||
           (err <= ERR_CERT_PARSE && err >= ERR_KEY_PARSE) || err == ERR_CERT_REVOKED;
}

static time_us delay_of(unsigned failures, int err, const struct random *random)
{
    time_us seconds = LAST_SECONDS;
    if (!is_refusal(err) && failures < 7)
        seconds = (time_us)FIRST_SECONDS << (failures - 1);
    if (seconds > LAST_SECONDS)
        seconds = LAST_SECONDS;
    if (err == ERR_ADDRESS)
        seconds = ADDRESS_SECONDS;
    time_us delay = seconds * TIME_SECOND;
    return delay - random_u64(random) % (delay / JITTER_PART);
}

void reconnect_failed(struct reconnect *r, time_us now, int err, const struct random *random)
{
    if (r->failures < LAST_SECONDS)
        r->failures++;
    r->state = RECONNECT_WAITING;
    r->next = now + delay_of(r->failures, err, random);
}

void reconnect_lost(struct reconnect *r, time_us now, const struct random *random)
{
    if (now - r->since < STOOD_SECONDS * TIME_SECOND) {
        reconnect_failed(r, now, ERR_DELETED, random);
        return;
    }
    r->failures = 0;
    r->state = RECONNECT_WAITING;
    r->next = now;
}

bool reconnect_due(struct reconnect *r, time_us now)
{
    if (r->state != RECONNECT_WAITING || r->next > now)
        return false;
    r->state = RECONNECT_TRYING;
    return true;
}

time_us reconnect_deadline(const struct reconnect *r)
{
    return r->state == RECONNECT_WAITING ? r->next : TIME_NEVER;
}
