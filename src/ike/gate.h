/* gate: which strangers may make a responder work (RFC 7296 2.6, RFC 8019).
 *
 * An IKE_SA_INIT request costs us a key exchange and a place among the half-open SAs, and whoever
 * sends it need not even be where it says it is. The order of work, cheapest first:
 *
 *   1. A source that fails to authenticate again and again waits (source.c).
 *   2. With few half-open SAs the door stands open.
 *   3. Else the request must carry a cookie (cookie.c): only who receives at its address has one.
 *      Until then nothing is kept and no public key touched.
 *   4. Then the address is real, and a bucket each for it and for its network says how often it may
 *      come (source.c).
 *   5. With three quarters of the places taken all the same, the peer must work for a place
 *      (puzzle.c); who cannot solve puzzles gets what a small budget leaves.
 *   6. With all places taken the oldest makes room, unless it has hardly begun.
 *
 * Who is established is never touched by any of it. All memory is of fixed size and taken when the
 * engine is made. Half-open SAs stand in one row by age, so that the reaper looks at the first
 * only.
 */
#ifndef SHRIKE_IKE_GATE_H
#define SHRIKE_IKE_GATE_H

#include "ike/internal.h"

enum {
    GATE_COOKIES_FROM = 64, /* half-open SAs in all */
    GATE_NETWORK_FROM = 4,  /* and of one network: /24 or /64 */
    GATE_NETWORKS = 4096,   /* counters of half-open SAs, by hash of the network */
    GATE_HALF_OPEN_MAX = 1000,
    GATE_UNSOLVED_RATE = 32, /* a second, of those who leave puzzles unsolved */
    SOURCE_WAYS = 4,
    SOURCE_ADDRESSES = 8192, /* buckets of addresses, of networks, and penalties */
    SOURCE_NETWORKS = 2048,
    SOURCE_PENALTIES = 65536,
    SOURCE_BURST = 5,
    SOURCE_NETWORK_SHARE = 8, /* a network may have that many times what an address may */
    PUZZLE_FIRST = 8,         /* difficulties in bits: where we begin, and the most we ask */
    PUZZLE_LAST = 18,
};
#define GATE_LIFE         (30 * TIME_SECOND) /* of a half-open SA, until IKE_AUTH comes */
#define GATE_LIFE_CROWDED (10 * TIME_SECOND)
#define GATE_LIFE_LEAST   TIME_SECOND /* before it has to make room */
#define PENALTY_STEP      (5 * TIME_SECOND)

/* What is known of one source. Sets of four; who was idle longest makes room. */
struct source {
    uint64_t key;   /* keyed hash of the address or network; 0 = free */
    time_us at;     /* bucket: of the last filling; penalty: its end */
    uint32_t count; /* bucket: thousandths of a token; penalty: failures */
};
struct source_table {
    struct source *at;
    size_t sets;
};

struct gate {
    size_t half_open, limit, cookies_from;
    uint16_t from[GATE_NETWORKS];
    struct sa *first, *last; /* by age; those whose IKE_AUTH has come are not in the row */
    uint8_t cookie_secret[2][32], cookie_turn;
    time_us cookie_since;
    struct source_table addresses, networks, penalties;
    struct source unsolved; /* one bucket for all who leave puzzles unsolved */
    uint8_t difficulty;     /* of the puzzles we ask now; 0 = none */
    time_us adapted;
};

/* ---- gate.c */
int gate_open(struct ike_engine *e, size_t tunnels) MUST_USE;
void gate_free(struct ike_engine *e);
/* May this IKE_SA_INIT request be worked on? If not, all has been said that there is to say. */
bool gate_admits(struct ike_engine *e, const struct input *in);
/* Does it carry a cookie of ours; the answer that asks for one. */
bool gate_has_cookie(struct ike_engine *e, const struct input *in);
void gate_ask_cookie(struct ike_engine *e, const struct input *in);
/* A half-open SA begins; its IKE_AUTH has come; it is half-open no more. */
void gate_enter(struct ike_engine *e, struct sa *sa, const struct ip *from);
void gate_heard(struct ike_engine *e, struct sa *sa);
void gate_leave(struct ike_engine *e, struct sa *sa);
/* At most `most` half-open SAs whose time is over end. */
void gate_tick(struct ike_engine *e, unsigned most);
time_us gate_deadline(const struct ike_engine *e);
size_t gate_half_open(const struct ike_engine *e);
bool gate_is_crowded(const struct ike_engine *e);
/* Its peer failed to authenticate, at the address that has shown that it receives. */
void gate_failed(struct ike_engine *e, const struct sa *sa, int err);
bool gate_blocks(struct ike_engine *e, const struct ip *from);

/* ---- source.c */
int source_table_init(struct source_table *table, size_t entries) MUST_USE;
void source_table_free(struct source_table *table);
uint64_t source_key(const struct ike_engine *e, const struct ip *ip, unsigned bits4,
                    unsigned bits6);
/* The entry of that key, or NULL; with `make`, a fresh one in place of the oldest of its set. */
struct source *source_find(struct source_table *table, uint64_t key, bool make);
/* Takes one token of `rate` a second, at most `burst` kept. A fresh bucket is full. */
bool source_take(struct source *bucket, time_us now, uint32_t rate, uint32_t burst);
/* One more failure: from the third on a wait, longer each time, at most `most`; forgotten when
 * there was none for so long. Returns the end of the wait. */
time_us penalty_add(struct source *penalty, time_us now, time_us most);

/* ---- cookie.c */
enum { COOKIE_OF_OURS = 2 + 16 }; /* turn of the secret, difficulty, hash */
bool cookie_answer(struct ike_engine *e, struct sa *sa, const struct input *in);
void cookie_make(struct ike_engine *e, const struct input *in, struct bytes nonce,
                 uint8_t difficulty, uint8_t out[static COOKIE_OF_OURS]);
/* And the difficulty of the puzzle that went with it. */
bool cookie_is_right(struct ike_engine *e, const struct input *in, struct bytes nonce,
                     uint8_t *difficulty);

/* ---- puzzle.c */
/* The PRF for puzzles of this peer, out of what it offers; 0 = none that we know. */
uint16_t puzzle_prf(struct ike_engine *e, const struct input *in);
void puzzle_put(struct wire_builder *b, uint16_t prf, uint8_t difficulty);
bool puzzle_is_solved(uint16_t prf, struct bytes cookie, struct bytes solution, uint8_t difficulty);
/* As initiator. False: there is none, or none that we would solve. */
bool puzzle_begin(struct ike_engine *e, struct sa *sa, const struct input *in);
void puzzle_work(struct ike_engine *e, struct sa *sa);
bool puzzle_is_under_way(const struct sa *sa);
void puzzle_put_solution(const struct handshake *h, struct wire_builder *b);
void puzzle_free(struct handshake *h);

#endif
