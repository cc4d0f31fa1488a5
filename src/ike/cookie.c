#include <string.h>

#include "ike/internal.h"

/* A responder under load wants to see that we are where we say (RFC 7296 2.6): the same request
 * again, with its cookie in front. Anyone on the way can send this, so only a few times. Our own
 * cookies as responder belong here. */
bool cookie_answer(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct handshake *h = sa->handshake;
    struct wire_notify_view n;
    if (!wire_notify_find(in->outer, NOTIFY_COOKIE, &n) || wire_find(in->outer, PAYLOAD_SA))
        return false;
    if (n.data.len == 0 || n.data.len > WIRE_COOKIE_MAX || h->cookie_count >= COOKIE_RETRIES)
        return true;
    h->cookie_count++;
    h->cookie_len = (uint8_t)n.data.len;
    memcpy(h->cookie, n.data.at, n.data.len);
    init_again(e, sa);
    return true;
}
