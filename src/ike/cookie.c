#include <string.h>

#include "ike/gate.h"

/* A responder under load wants to see that we are where we say (RFC 7296 2.6): the same request
 * again, with its cookie in front. Anyone on the way can send this, so only a few times. */
bool cookie_answer(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct handshake *h = sa->handshake;
    struct wire_notify_view n;
    if (!wire_notify_find(in->outer, NOTIFY_COOKIE, &n) || wire_find(in->outer, PAYLOAD_SA))
        return false;
    if (n.data.len == 0 || n.data.len > WIRE_COOKIE_MAX || h->cookie_count >= COOKIE_RETRIES ||
        puzzle_is_under_way(sa))
        return true;
    h->cookie_count++;
    h->cookie_len = (uint8_t)n.data.len;
    memcpy(h->cookie, n.data.at, n.data.len);
    if (!puzzle_begin(e, sa, in))
        init_again(e, sa);
    return true;
}

/* ---- as responder */

/* The secret of before still judges, so that nobody falls into the gap. */
static void turn_secret(struct ike_engine *e)
{
    struct gate *g = e->gate;
    if (g->cookie_since != 0 && e->now - g->cookie_since < COOKIE_LIFE)
        return;
    if (g->cookie_since == 0 || e->now - g->cookie_since >= 2 * COOKIE_LIFE)
        random_fill(e->setup.random, g->cookie_secret, sizeof(g->cookie_secret));
    g->cookie_turn++;
    random_fill(e->setup.random, g->cookie_secret[g->cookie_turn & 1], sizeof(g->cookie_secret[0]));
    g->cookie_since = e->now ? e->now : 1;
}

/* turn | difficulty | prf(secret of the turn, SPIi | address | port | difficulty | Ni), cut to 16
 * octets */
static void make(const struct ike_engine *e, uint8_t turn, const struct input *in,
                 struct bytes nonce, uint8_t difficulty, uint8_t out[static COOKIE_OF_OURS])
{
    enum { HMAC_SHA256 = 5, HASH = COOKIE_OF_OURS - 2 };
    const struct endpoint *from = &in->path.remote;
    uint8_t head[8 + 1 + 16 + 2 + 1], mac[SECRET_MAX];
    struct writer w = writer_of(head, sizeof(head));
    writer_u64(&w, in->header.spi_i);
    writer_u8(&w, from->ip.family);
    writer_bytes(&w, from->ip.octets, ip_len(&from->ip));
    writer_u16(&w, from->port);
    writer_u8(&w, difficulty);
    const struct bytes parts[] = {writer_view(&w), nonce};
    struct bytes key = {e->gate->cookie_secret[turn & 1], sizeof(e->gate->cookie_secret[0])};
    out[0] = turn;
    out[1] = difficulty;
    if (prf(suite_prf(HMAC_SHA256), key, parts, ARRAY_LEN(parts), mac) < 0)
        random_fill(e->setup.random, mac, HASH); /* then it is nobody's */
    memcpy(out + 2, mac, HASH);
}

void cookie_make(struct ike_engine *e, const struct input *in, struct bytes nonce,
                 uint8_t difficulty, uint8_t out[static COOKIE_OF_OURS])
{
    turn_secret(e);
    make(e, e->gate->cookie_turn, in, nonce, difficulty, out);
}

bool cookie_is_right(struct ike_engine *e, const struct input *in, struct bytes nonce,
                     uint8_t *difficulty)
{
    struct wire_notify_view n;
    uint8_t right[COOKIE_OF_OURS];
    if (!wire_notify_find(in->outer, NOTIFY_COOKIE, &n) || n.data.len != COOKIE_OF_OURS)
        return false;
    turn_secret(e);
    struct reader r = reader_of_bytes(n.data);
    uint8_t turn = reader_u8(&r);
    *difficulty = reader_u8(&r);
    if (turn != e->gate->cookie_turn && turn != (uint8_t)(e->gate->cookie_turn - 1))
        return false;
    make(e, turn, in, nonce, *difficulty, right);
    return secret_equal(right, n.data.at, COOKIE_OF_OURS);
}
