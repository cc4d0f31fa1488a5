/* Two engines in memory, joined by a queue, up after one call: what a fuzzer starts from. No delay,
 * no loss; the clock moves only when the fuzzer says so. */
#ifndef SHRIKE_FUZZ_ENGINE_PAIR_H
#define SHRIKE_FUZZ_ENGINE_PAIR_H

#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

enum { PAIR_QUEUE = 64 };

struct pair_engine {
    struct conf_tunnel conf;
    struct ike_setup setup;
    struct ike_engine *engine;
    struct ip ip;
    struct ike_answer answer;
    bool answer_waits;
};
struct pair_datagram {
    int to;
    struct ike_path path;
    struct bytes octets;
};
struct engine_pair {
    struct pair_engine side[2]; /* 0: client */
    time_us now;
    uint64_t dice;
    struct random random;
    struct pair_datagram queue[PAIR_QUEUE];
    unsigned queued, taken;
    bool drop_auth; /* the client's IKE_AUTH stays away */
    bool drop_all;  /* so does its IKE_SA_INIT */
};

static inline void pair_fill(void *context, void *to, size_t len)
{
    uint64_t *state = context;
    for (uint8_t *at = to; len-- > 0; at++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        *at = (uint8_t)(*state >> 56);
    }
}

static inline int64_t pair_wall(void *context)
{
    (void)context;
    return 1800000000;
}

static inline void pair_start(struct engine_pair *p, int i)
{
    struct pair_engine *side = &p->side[i];
    side->engine = ike_create(&side->setup, p->now);
    if (!side->engine)
        abort();
}

static inline void pair_configure(struct engine_pair *p, int i)
{
    struct pair_engine *side = &p->side[i];
    struct conf_tunnel *c = &side->conf;
    struct bytes bad;
    side->ip = ip_from_octets(4, (const uint8_t[]){192, 0, 2, (uint8_t)(2 - i)});
    c->initiator = i == 0;
    if (!identity_parse(i ? "gateway" : "client", &c->local_id) ||
        suite_parse("aes128gcm16-prfsha256-x25519", PROTOCOL_IKE, &c->ike[0], &bad) != 0 ||
        suite_parse("aes128gcm16-x25519", PROTOCOL_ESP, &c->esp[0], &bad) != 0)
        abort();
    c->ike_count = c->esp_count = 1;
    c->local_auth = c->remote_auth = CONF_AUTH_PSK;
    c->pfs = c->esn = c->unique = true;
    c->request_ip4 = i == 0;
    struct selector *ts = i ? c->local_ts : c->remote_ts;
    ts[0] = selector_any(4);
    *(i ? &c->local_ts_count : &c->remote_ts_count) = 1;
    c->ike_lifetime = 14400;
    c->child_lifetime = 3600;
    c->dpd = c->idle_check = 30;
    c->max_tunnels = 16;
    c->fragment = 1280;
    side->setup = (struct ike_setup){
        .tunnel = c, .random = &p->random, .own_id = c->local_id, .wall_clock = pair_wall};
    pair_start(p, i);
}

/* From that side to the other. */
static inline struct ike_path pair_path(const struct engine_pair *p, int i)
{
    return (struct ike_path){.local = {p->side[i].ip, 500}, .remote = {p->side[!i].ip, 500}};
}

static inline void pair_answer(struct pair_engine *side, const struct ike_ask *ask)
{
    static const struct bytes psk = {(const uint8_t *)"a shared key for a fuzzer", 25};
    const struct prf_alg *prf_alg = suite_prf(ask->prf);
    uint8_t mac[64];
    if (ask->want & IKE_WANT_RELEASE)
        return;
    side->answer = (struct ike_answer){.ticket = ask->ticket};
    side->answer_waits = true;
    if (ask->want & IKE_WANT_VERIFY_PSK) {
        struct bytes octets = ike_ask_peer(ask);
        if (auth_psk(prf_alg, psk, octets, mac) != 0 || ask->peer_auth_len != prf_alg->len ||
            memcmp(mac, ask->peer_auth, prf_alg->len) != 0)
            side->answer.result = ERR_AUTH;
    }
    side->answer.ip4 = ip_from_octets(4, (const uint8_t[]){10, 9, 0, 1});
    side->answer.auth_len = prf_alg->len;
    if (auth_psk(prf_alg, psk, ike_ask_own(ask), side->answer.auth) != 0)
        abort();
}

static inline void pair_drain(struct engine_pair *p, int i)
{
    static struct ike_action action;
    while (ike_next(p->side[i].engine, &action)) {
        if (action.kind == IKE_ASK)
            pair_answer(&p->side[i], action.ask);
        if (action.kind != IKE_SEND || p->queued == PAIR_QUEUE)
            continue;
        struct bytes d = action.send.datagram;
        uint8_t *copy = malloc(d.len);
        memcpy(copy, d.at, d.len);
        p->queue[p->queued].to = !i;
        p->queue[p->queued].path = (struct ike_path){
            action.send.path.remote, action.send.path.local, 0, action.send.path.port};
        p->queue[p->queued++].octets = (struct bytes){copy, d.len};
    }
}

static inline void pair_feed(struct engine_pair *p, int i, const struct ike_path *path,
                             struct bytes datagram)
{
    ike_input(p->side[i].engine, p->now, path, datagram);
    pair_drain(p, i);
}

/* Gives back what was delivered. */
static inline void pair_recycle(struct engine_pair *p)
{
    if (p->taken < p->queued)
        return;
    for (unsigned i = 0; i < p->queued; i++)
        free((void *)(uintptr_t)p->queue[i].octets.at);
    p->queued = p->taken = 0;
}

/* Delivers and answers until nobody has anything to say. */
static inline void pair_settle(struct engine_pair *p)
{
    for (bool busy = true; busy;) {
        busy = false;
        for (int i = 0; i < 2; i++)
            while (p->side[i].answer_waits) {
                p->side[i].answer_waits = false;
                busy = true;
                ike_answer(p->side[i].engine, p->now, &p->side[i].answer);
                pair_drain(p, i);
            }
        pair_recycle(p);
        while (p->taken < p->queued) {
            unsigned n = p->taken++;
            busy = true;
            bool away =
                p->drop_all || (p->drop_auth && p->queue[n].octets.at[18] == EXCHANGE_IKE_AUTH);
            if (!away)
                pair_feed(p, p->queue[n].to, &p->queue[n].path, p->queue[n].octets);
        }
    }
}

/* Both delete everything, and time goes by: then nothing may be held. */
static inline void pair_take_down(struct engine_pair *p)
{
    struct ike_command all = {.kind = IKE_DELETE};
    p->drop_auth = p->drop_all = false;
    for (int i = 0; i < 2; i++) {
        if (ike_command(p->side[i].engine, p->now, &all, NULL) == 0)
            pair_drain(p, i);
        pair_settle(p);
    }
    for (int turn = 0; turn < 400; turn++) {
        time_us a = ike_deadline(p->side[0].engine), b = ike_deadline(p->side[1].engine);
        time_us next = a < b ? a : b;
        if (next == TIME_NEVER)
            break;
        p->now = next > p->now ? next : p->now;
        for (int i = 0; i < 2; i++) {
            ike_tick(p->side[i].engine, p->now);
            pair_drain(p, i);
        }
        pair_settle(p);
    }
    for (int i = 0; i < 2; i++) {
        struct ike_usage u;
        ike_usage(p->side[i].engine, &u);
        if (u.sas + u.children + u.messages + u.timers + u.half_open + u.actions + u.fragments >
                0 ||
            ike_counters(p->side[i].engine)->illegal_moves > 0)
            abort();
    }
}

static inline void pair_free(struct engine_pair *p)
{
    for (unsigned i = 0; i < p->queued; i++)
        free((void *)(uintptr_t)p->queue[i].octets.at);
    ike_free(p->side[0].engine);
    ike_free(p->side[1].engine);
    memset(p, 0, sizeof(*p));
}

enum pair_stage { PAIR_FIRST_ONLY, PAIR_WITHOUT_AUTH, PAIR_UP };

static inline void pair_begin_at(struct engine_pair *p, enum pair_stage stage)
{
    memset(p, 0, sizeof(*p));
    p->now = TIME_SECOND;
    p->dice = 1;
    p->random = (struct random){pair_fill, &p->dice};
    p->drop_auth = stage == PAIR_WITHOUT_AUTH;
    p->drop_all = stage == PAIR_FIRST_ONLY;
    pair_configure(p, 0);
    pair_configure(p, 1);
    struct ike_command command = {.kind = IKE_INITIATE, .path = pair_path(p, 0)};
    if (ike_command(p->side[0].engine, p->now, &command, NULL) != 0)
        abort();
    pair_drain(p, 0);
    pair_settle(p);
}

/* Any IKE SA of that engine that has keys. */
static inline struct sa *pair_sa(struct ike_engine *e)
{
    size_t cursor = 0;
    struct sa *sa;
    while ((sa = map_next(&e->sas, &cursor)))
        if (!sa->lingering && sa->chosen.encr != 0)
            return sa;
    return NULL;
}

#endif
