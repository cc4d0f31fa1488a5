#include <stdlib.h>
#include <string.h>

#include "ike/gate.h"

/* Puzzles (RFC 8019 section 7), in IKE_SA_INIT only. Of a cookie S the initiator has to find four
 * different keys K so that prf(K, S) ends with so many zero bits; finding takes work, checking does
 * not.
 *
 * An initiator works on it in slices, one a tick, because the engine has no threads and the same
 * process carries other things. It never works longer than the attempt lasts nor on more than
 * PUZZLE_MOST bits (about four million tries, some seconds): anybody on the way can send a puzzle,
 * and a responder serves who brings the cookie without a solution, too, only later. Puzzles of
 * IKE_AUTH (section 7.2) are not answered: as responder we ask for none, and who asks us goes on
 * without.
 */

enum {
    PUZZLE_KEYS = 4,
    KEY_LEN = 4,
    PUZZLE_MOST = 20,
    PUZZLE_FREE_CHOICE = 10, /* difficulty 0: as hard as we like */
    PUZZLE_SLICE = 2048,     /* tries in one tick: one or two milliseconds */
};

struct puzzle {
    uint16_t prf;
    uint8_t difficulty, found;
    uint32_t next;  /* key to try */
    uint64_t tries; /* left */
    uint8_t keys[PUZZLE_KEYS][KEY_LEN];
};

static bool ends_with_zeros(const uint8_t *octets, size_t len, unsigned bits)
{
    for (; bits >= 8; bits -= 8)
        if (len == 0 || octets[--len] != 0)
            return false;
    return bits == 0 || (len > 0 && (octets[len - 1] & ((1u << bits) - 1)) == 0);
}

static bool key_fits(const struct prf_alg *alg, struct bytes key, struct bytes cookie,
                     unsigned difficulty)
{
    uint8_t out[SECRET_MAX];
    return prf(alg, key, &cookie, 1, out) == 0 && ends_with_zeros(out, alg->len, difficulty);
}

/* ---- as responder */

static bool offers(const struct proposal *p, size_t count, uint16_t id)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < p[i].count; k++)
            if (p[i].transforms[k].type == TRANSFORM_PRF && p[i].transforms[k].id == id)
                return true;
    return false;
}

uint16_t puzzle_prf(struct ike_engine *e, const struct input *in)
{
    static const uint16_t known[] = {5, 6, 7}; /* HMAC with SHA2-256, -384, -512 */
    const struct wire_payload_view *p = wire_find(in->outer, PAYLOAD_SA);
    int count = p ? wire_sa_read(p->body, e->offered, PROPOSALS_MAX) : 0;
    for (size_t i = 0; i < ARRAY_LEN(known) && count > 0; i++)
        if (offers(e->offered, (size_t)count, known[i]))
            return known[i];
    return 0;
}

void puzzle_put(struct wire_builder *b, uint16_t prf_id, uint8_t difficulty)
{
    const uint8_t data[] = {(uint8_t)(prf_id >> 8), (uint8_t)prf_id, difficulty};
    wire_put_notify(b, NOTIFY_PUZZLE, (struct bytes){data, sizeof(data)});
}

bool puzzle_is_solved(uint16_t prf_id, struct bytes cookie, struct bytes solution,
                      uint8_t difficulty)
{
    const struct prf_alg *alg = suite_prf(prf_id);
    size_t len = solution.len / PUZZLE_KEYS;
    if (!alg || len == 0 || len > alg->len || solution.len % PUZZLE_KEYS != 0)
        return false;
    for (size_t i = 0; i < PUZZLE_KEYS; i++) {
        struct bytes key = {solution.at + i * len, len};
        for (size_t k = 0; k < i; k++)
            if (memcmp(key.at, solution.at + k * len, len) == 0)
                return false;
        if (!key_fits(alg, key, cookie, difficulty))
            return false;
    }
    return true;
}

/* ---- as initiator */

static bool read_puzzle(const struct wire_chain *chain, struct puzzle *out)
{
    struct wire_notify_view n;
    if (!wire_notify_find(chain, NOTIFY_PUZZLE, &n))
        return false;
    struct reader r = reader_of_bytes(n.data);
    out->prf = reader_u16(&r);
    out->difficulty = reader_u8(&r);
    if (out->difficulty == 0)
        out->difficulty = PUZZLE_FREE_CHOICE;
    return reader_done(&r) && suite_prf(out->prf) && out->difficulty <= PUZZLE_MOST;
}

bool puzzle_begin(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct handshake *h = sa->handshake;
    struct puzzle read = {0};
    puzzle_free(h); /* a solution is for the cookie of before */
    if (!read_puzzle(in->outer, &read))
        return false;
    h->puzzle = malloc(sizeof(*h->puzzle));
    if (!h->puzzle)
        return false;
    *h->puzzle = read;
    h->puzzle->tries = 16ull << read.difficulty; /* four times what it takes on average */
    sa_arm(e, &sa->timer_out, e->now + 1);
    return true;
}

static void try_some(struct puzzle *p, struct bytes cookie)
{
    const struct prf_alg *alg = suite_prf(p->prf);
    for (unsigned i = 0; i < PUZZLE_SLICE && p->found < PUZZLE_KEYS && p->tries > 0; i++) {
        uint8_t *key = p->keys[p->found];
        struct writer w = writer_of(key, KEY_LEN);
        writer_u32(&w, p->next++);
        p->tries--;
        p->found += key_fits(alg, (struct bytes){key, KEY_LEN}, cookie, p->difficulty);
    }
}

void puzzle_work(struct ike_engine *e, struct sa *sa)
{
    struct handshake *h = sa->handshake;
    try_some(h->puzzle, (struct bytes){h->cookie, h->cookie_len});
    if (puzzle_is_under_way(sa) && e->now < sa->out.first_sent + RETRANSMIT_TOTAL) {
        sa_arm(e, &sa->timer_out, e->now + 1); /* not within this tick */
        return;
    }
    if (h->puzzle->found < PUZZLE_KEYS)
        puzzle_free(h);
    init_again(e, sa);
}

bool puzzle_is_under_way(const struct sa *sa)
{
    const struct puzzle *p = sa->handshake ? sa->handshake->puzzle : NULL;
    return p && p->found < PUZZLE_KEYS && p->tries > 0;
}

void puzzle_put_solution(const struct handshake *h, struct wire_builder *b)
{
    const struct puzzle *p = h->puzzle;
    if (p && p->found == PUZZLE_KEYS)
        wire_put(b, PAYLOAD_PS, (struct bytes){p->keys[0], sizeof(p->keys)});
}

void puzzle_free(struct handshake *h)
{
    free(h->puzzle);
    h->puzzle = NULL;
}
