#include <string.h>

#include "ike/internal.h"

/* A responder under load wants to see that we are where we say (RFC 7296 2.6): the same request
 * again, with its cookie in front. Anyone on the way can send this, so only a few times. */
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

/* ---- as responder */

/* The secret of before still judges, so that nobody falls into the gap. */
static void turn_secret(struct ike_engine *e)
{
    if (e->cookie_since != 0 && e->now - e->cookie_since < COOKIE_LIFE)
        return;
    if (e->cookie_since == 0)
        random_fill(e->setup.random, e->cookie_secret, sizeof(e->cookie_secret));
    e->cookie_turn++;
    random_fill(e->setup.random, e->cookie_secret[e->cookie_turn & 1], sizeof(e->cookie_secret[0]));
    e->cookie_since = e->now ? e->now : 1;
}

/* turn | prf(secret of the turn, SPIi | address | port | Ni), cut to 16 octets */
static void make(const struct ike_engine *e, uint8_t turn, const struct input *in,
                 struct bytes nonce, uint8_t out[static COOKIE_LEN])
{
    enum { HMAC_SHA256 = 5 };
    const struct endpoint *from = &in->path.remote;
    uint8_t head[8 + 1 + 16 + 2], mac[SECRET_MAX];
    struct writer w = writer_of(head, sizeof(head));
    writer_u64(&w, in->header.spi_i);
    writer_u8(&w, from->ip.family);
    writer_bytes(&w, from->ip.octets, ip_len(&from->ip));
    writer_u16(&w, from->port);
    const struct bytes parts[] = {writer_view(&w), nonce};
    struct bytes key = {e->cookie_secret[turn & 1], sizeof(e->cookie_secret[0])};
    out[0] = turn;
    if (prf(suite_prf(HMAC_SHA256), key, parts, ARRAY_LEN(parts), mac) < 0)
        random_fill(e->setup.random, mac, COOKIE_LEN - 1); /* then it is nobody's */
    memcpy(out + 1, mac, COOKIE_LEN - 1);
}

void cookie_make(struct ike_engine *e, const struct input *in, struct bytes nonce,
                 uint8_t out[static COOKIE_LEN])
{
    turn_secret(e);
    make(e, e->cookie_turn, in, nonce, out);
}

bool cookie_is_right(struct ike_engine *e, const struct input *in, struct bytes nonce)
{
    struct wire_notify_view n;
    uint8_t right[COOKIE_LEN];
    if (!wire_notify_find(in->outer, NOTIFY_COOKIE, &n) || n.data.len != COOKIE_LEN)
        return false;
    turn_secret(e);
    uint8_t turn = n.data.at[0];
    if (turn != e->cookie_turn && turn != (uint8_t)(e->cookie_turn - 1))
        return false;
    make(e, turn, in, nonce, right);
    return secret_equal(right, n.data.at, COOKIE_LEN);
}
