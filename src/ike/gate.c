#include <stdlib.h>

#include "ike/gate.h"

int gate_open(struct ike_engine *e, size_t tunnels)
{
    struct gate *g = e->gate = calloc(1, sizeof(*g));
    if (!g)
        return ERR_MEMORY;
    /* room for those who finish */
    g->limit = tunnels < 2 * GATE_HALF_OPEN_MAX ? tunnels / 2 + 1 : GATE_HALF_OPEN_MAX;
    g->cookies_from = (g->limit + 1) / 2;
    if (g->cookies_from > GATE_COOKIES_FROM)
        g->cookies_from = GATE_COOKIES_FROM;
    if (source_table_init(&g->addresses, SOURCE_ADDRESSES) < 0 ||
        source_table_init(&g->networks, SOURCE_NETWORKS) < 0 ||
        source_table_init(&g->penalties, SOURCE_PENALTIES) < 0)
        return ERR_MEMORY;
    return 0;
}

void gate_free(struct ike_engine *e)
{
    struct gate *g = e->gate;
    if (!g)
        return;
    source_table_free(&g->addresses);
    source_table_free(&g->networks);
    source_table_free(&g->penalties);
    secret_wipe(g, sizeof(*g));
    free(g);
    e->gate = NULL;
}

size_t gate_half_open(const struct ike_engine *e)
{
    return e->gate ? e->gate->half_open : 0;
}

/* ---- the row of half-open SAs */

static uint16_t network_of(const struct ike_engine *e, const struct ip *ip)
{
    return (uint16_t)(source_key(e, ip, 24, 64) % GATE_NETWORKS);
}

void gate_enter(struct ike_engine *e, struct sa *sa, const struct ip *from)
{
    struct gate *g = e->gate;
    struct handshake *h = sa->handshake;
    sa->half_open = true;
    sa->network = network_of(e, from);
    h->shown = *from;
    h->in_row = true;
    h->row_before = g->last;
    if (g->last)
        g->last->handshake->row_after = sa;
    else
        g->first = sa;
    g->last = sa;
    g->from[sa->network]++;
    g->half_open++;
}

void gate_heard(struct ike_engine *e, struct sa *sa)
{
    struct gate *g = e->gate;
    struct handshake *h = sa->handshake;
    if (!h || !h->in_row)
        return;
    h->in_row = false;
    if (h->row_before)
        h->row_before->handshake->row_after = h->row_after;
    else
        g->first = h->row_after;
    if (h->row_after)
        h->row_after->handshake->row_before = h->row_before;
    else
        g->last = h->row_before;
    h->row_before = h->row_after = NULL;
}

void gate_leave(struct ike_engine *e, struct sa *sa)
{
    if (!sa->half_open)
        return;
    gate_heard(e, sa);
    sa->half_open = false;
    e->gate->from[sa->network]--;
    e->gate->half_open--;
}

static bool is_crowded(const struct gate *g)
{
    return g->half_open >= g->cookies_from;
}

bool gate_is_crowded(const struct ike_engine *e)
{
    return e->gate && is_crowded(e->gate);
}

time_us gate_deadline(const struct ike_engine *e)
{
    const struct gate *g = e->gate;
    if (!g || !g->first)
        return TIME_NEVER;
    return g->first->created + (is_crowded(g) ? GATE_LIFE_CROWDED : GATE_LIFE);
}

void gate_tick(struct ike_engine *e, unsigned most)
{
    while (most-- > 0 && gate_deadline(e) <= e->now)
        window_expired(e, e->gate->first);
}

static bool make_room(struct ike_engine *e)
{
    struct gate *g = e->gate;
    if (g->half_open < g->limit)
        return true;
    if (!g->first || e->now - g->first->created < GATE_LIFE_LEAST)
        return false;
    window_expired(e, g->first);
    return true;
}

/* ---- who failed to authenticate */

static bool is_about_identity(int err)
{
    return err == ERR_AUTH || err == ERR_IDENTITY || err == ERR_UNKNOWN_PEER ||
           (err <= ERR_CERT_PARSE && err >= ERR_CERT_CHAIN) || err == ERR_CERT_REVOKED;
}

/* The address of IKE_SA_INIT counts and not where the failing message came from: only the first has
 * shown that it receives, so nobody can bring another one into disrepute. */
void gate_failed(struct ike_engine *e, const struct sa *sa, int err)
{
    const struct handshake *h = sa->handshake;
    if (!e->gate || e->conf->ban == 0 || !h || h->shown.family == 0 || !is_about_identity(err))
        return;
    uint64_t key = source_key(e, &h->shown, 32, 64);
    struct source *penalty = source_find(&e->gate->penalties, key, true);
    (void)penalty_add(penalty, e->now, e->conf->ban * TIME_SECOND);
}

bool gate_blocks(struct ike_engine *e, const struct ip *from)
{
    if (!e->gate || e->conf->ban == 0)
        return false;
    const struct source *penalty =
        source_find(&e->gate->penalties, source_key(e, from, 32, 64), false);
    if (!penalty || penalty->at <= e->now)
        return false;
    e->counters.drop_banned++;
    return true;
}

/* ---- first requests */

/* At most one step a second: up while the places run out, down again when they do not. */
static void adapt(struct ike_engine *e)
{
    struct gate *g = e->gate;
    uint64_t steps = (e->now - g->adapted) / TIME_SECOND;
    if (steps == 0)
        return;
    g->adapted = e->now;
    if (g->half_open * 4 >= g->limit * 3)
        g->difficulty = g->difficulty == 0            ? PUZZLE_FIRST
                        : g->difficulty < PUZZLE_LAST ? g->difficulty + 1
                                                      : PUZZLE_LAST;
    else if (g->half_open * 2 < g->limit)
        g->difficulty =
            g->difficulty >= PUZZLE_FIRST + steps ? (uint8_t)(g->difficulty - steps) : 0;
}

bool gate_has_cookie(struct ike_engine *e, const struct input *in)
{
    struct exchange_values v;
    uint8_t difficulty;
    return init_values(in->outer, &v) == 0 && cookie_is_right(e, in, v.nonce, &difficulty);
}

void gate_ask_cookie(struct ike_engine *e, const struct input *in)
{
    struct exchange_values v;
    if (init_values(in->outer, &v) < 0)
        return;
    uint8_t cookie[COOKIE_OF_OURS], buffer[WIRE_HEADER_LEN + 64];
    struct wire_builder b;
    struct wire_header header = {.spi_i = in->header.spi_i,
                                 .version = 0x20,
                                 .exchange = EXCHANGE_IKE_SA_INIT,
                                 .flags = FLAG_RESPONSE};
    uint16_t prf_id = e->gate->difficulty ? puzzle_prf(e, in) : 0;
    cookie_make(e, in, v.nonce, e->gate->difficulty, cookie);
    wire_begin(&b, buffer, sizeof(buffer), &header);
    wire_put_notify(&b, NOTIFY_COOKIE, (struct bytes){cookie, sizeof(cookie)});
    if (prf_id)
        puzzle_put(&b, prf_id, e->gate->difficulty);
    e->counters.cookies_asked++;
    e->counters.puzzles_asked += prf_id != 0;
    struct message *m = message_create(e, wire_finish(&b));
    if (m)
        queue_send(e, &in->path, m);
    message_drop(e, &m);
}

/* One bucket for the address, one for its network. */
static bool may_come_again(struct ike_engine *e, const struct ip *from)
{
    struct gate *g = e->gate;
    uint32_t rate = e->conf->handshakes;
    if (rate == 0)
        return true;
    struct source *own = source_find(&g->addresses, source_key(e, from, 32, 64), true);
    struct source *all = source_find(&g->networks, source_key(e, from, 24, 48), true);
    if (source_take(own, e->now, rate, SOURCE_BURST) &&
        source_take(all, e->now, rate * SOURCE_NETWORK_SHARE, SOURCE_BURST * SOURCE_NETWORK_SHARE))
        return true;
    e->counters.drop_rate++;
    return false;
}

/* Who was asked for a solution brings one, or takes what the budget for the others leaves: an older
 * client does not know puzzles, and gets in all the same, only later (RFC 8019 7.1.4). */
static bool has_worked(struct ike_engine *e, const struct input *in, uint8_t difficulty)
{
    const struct wire_payload_view *solution = wire_find(in->outer, PAYLOAD_PS);
    struct wire_notify_view cookie;
    if (difficulty > 0 && solution && wire_notify_find(in->outer, NOTIFY_COOKIE, &cookie) &&
        puzzle_is_solved(puzzle_prf(e, in), cookie.data, solution->body, difficulty))
        return true;
    if (!(difficulty > 0 && solution) &&
        source_take(&e->gate->unsolved, e->now, GATE_UNSOLVED_RATE, GATE_UNSOLVED_RATE))
        return true;
    e->counters.drop_puzzle++;
    return false;
}

static bool is_too_many(const struct ike_engine *e, const struct ip *from)
{
    size_t most = e->gate->limit / 8;
    most = most < GATE_NETWORK_FROM ? GATE_NETWORK_FROM : most;
    return e->gate->from[network_of(e, from)] >= most;
}

bool gate_admits(struct ike_engine *e, const struct input *in)
{
    const struct ip *from = &in->path.remote.ip;
    struct gate *g = e->gate;
    struct exchange_values v;
    uint8_t difficulty = 0;
    adapt(e);
    if (gate_blocks(e, from))
        return false;
    bool busy = e->conf->handshakes > 0 && g->from[network_of(e, from)] >= GATE_NETWORK_FROM;
    if (!is_crowded(g) && !busy)
        return true;
    if (init_values(in->outer, &v) < 0) {
        e->counters.drop_malformed++;
        return false;
    }
    if (!cookie_is_right(e, in, v.nonce, &difficulty) || (difficulty == 0 && g->difficulty > 0)) {
        gate_ask_cookie(e, in);
        return false;
    }
    if (!may_come_again(e, from))
        return false;
    if (g->difficulty > 0 && !has_worked(e, in, difficulty))
        return false;
    if (!is_too_many(e, from) && make_room(e))
        return true;
    e->counters.drop_half_open++;
    return false;
}
