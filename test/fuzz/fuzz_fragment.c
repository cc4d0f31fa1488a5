/* A message in pieces (RFC 7383), step by step: pieces of the peer whose number, total, size and
 * message ID the input names, in any order, twice, of older and newer attempts, sealed or forged,
 * requests and answers, whole messages between them, time. First two octets: 1 the gateway
 * sends, 2 before IKE_AUTH, the other bits are traits. Each step: kind, and what it needs.
 *
 * A model beside the engine knows which pieces are held. After every step the engine must hold the
 * same octets, within its bounds, and have joined a message only when the model has all its pieces;
 * what is cut here and arrives whole is answered; a forged piece changes nothing. In the end
 * nothing is held. */
#include "engine_pair.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS = 160, TEXT_MAX = 8192 };

/* What the engine should hold of a message. */
struct model {
    bool begun, response;
    uint32_t id;
    uint16_t total, count;
    size_t octets;
    time_us until;
    bool here[FRAGMENTS_MAX + 1];
};

static struct engine_pair pair;
static struct model model;
static int from;
static uint64_t spi; /* of the receiver */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_set_level(LEVEL_ERROR);
    return crypto_init();
}

static struct ike_engine *receiver(void)
{
    return pair.side[!from].engine;
}

/* NULL when it is gone, or only repeats its last answer. */
static struct sa *receivers_sa(void)
{
    struct sa *sa = map_get(&receiver()->sas, spi);
    return sa && !sa->lingering ? sa : NULL;
}

static size_t held(void)
{
    struct ike_usage u;
    ike_usage(receiver(), &u);
    return u.fragments;
}

static void forget(void)
{
    model = (struct model){0};
}

static void compare(void)
{
    if (model.begun && pair.now >= model.until)
        forget();
    size_t expected = model.begun ? sizeof(struct reassembly) + model.octets : 0;
    pair_must(held() == expected && expected <= FRAGMENT_MEMORY);
}

/* ---- pieces */

struct plan {
    uint16_t number, total;
    uint32_t id;
    bool response, forged;
    uint8_t exchange, first;
    struct bytes text;
};

enum outcome { IGNORED, STORED, WHOLE };

/* Does the engine look at such a message at all? */
static bool is_expected(const struct sa *to, const struct plan *p)
{
    bool in_window =
        p->response
            ? to->out.request && p->id == to->next_out && p->exchange == to->out.exchange
            : p->id == to->next_in && p->id != UINT32_MAX && to->state != IKE_STATE_AUTH_ASKED;
    return in_window && !p->forged &&
           rules_find(p->exchange, p->response, to->initiator, to->state);
}

/* What should become of it (RFC 7383 2.6); the model takes it in. */
static enum outcome predict(const struct sa *to, const struct plan *p)
{
    bool same = model.begun && model.id == p->id && model.response == p->response;
    if (!is_expected(to, p))
        return IGNORED;
    if (p->number == 0 && same) /* not a piece, but all of it */
        forget();
    if (p->number == 0 || p->number > p->total || p->total > FRAGMENTS_MAX || !to->fragment)
        return IGNORED;
    if (same && (p->total < model.total || (p->total == model.total && model.here[p->number])))
        return IGNORED;
    if (!same || p->total > model.total)
        model = (struct model){.begun = true,
                               .id = p->id,
                               .response = p->response,
                               .total = p->total,
                               .until = pair.now + FRAGMENT_LIFE};
    if (model.octets + p->text.len > WIRE_MESSAGE_MAX)
        return STORED; /* begun, but this one is over the bound */
    model.here[p->number] = true;
    model.octets += p->text.len;
    return ++model.count == model.total ? WHOLE : STORED;
}

/* The other end of the receiver's SA; it may have given up. */
static struct sa *senders_sa(void)
{
    const struct sa *to = receivers_sa();
    return to ? map_get(&pair.side[from].engine->sas, to->spi_peer) : NULL;
}

static bool seal_piece(const struct plan *p, uint8_t *out, size_t *len)
{
    struct ike_engine *e = pair.side[from].engine;
    struct sa *sa = senders_sa();
    if (!sa || sa->chosen.encr == 0)
        return false;
    uint8_t flags =
        (uint8_t)((sa->initiator ? FLAG_INITIATOR : 0) | (p->response ? FLAG_RESPONSE : 0));
    struct wire_header h = {.spi_i = sa->initiator ? sa->spi_own : sa->spi_peer,
                            .spi_r = sa->initiator ? sa->spi_peer : sa->spi_own,
                            .version = 0x20,
                            .exchange = p->exchange,
                            .flags = flags,
                            .message_id = p->id};
    struct sk_part part = {
        .first = p->first, .number = p->number, .total = p->total, .text = p->text};
    struct bytes sealed = pair_seal(e, sa, &h, &part);
    *len = sealed.len;
    memcpy(out, sealed.at, sealed.len);
    if (p->forged && sealed.len > 0)
        out[sealed.len - 1 - p->id % 8] ^= 1;
    return sealed.len > 0;
}

static void send_piece(const struct plan *p)
{
    static uint8_t octets[2 * TEXT_MAX];
    size_t len;
    const struct sa *to = receivers_sa();
    if (!seal_piece(p, octets, &len))
        return;
    uint64_t joined = ike_counters(receiver())->in_fragmented;
    struct ike_path path = {to->path.local, to->path.remote, 0, to->path.port};
    bool whole = predict(to, p) == WHOLE;
    pair_feed(&pair, !from, &path, (struct bytes){octets, len});
    pair_must((ike_counters(receiver())->in_fragmented == joined + 1) == whole);
    if (whole)
        forget();
}

static struct plan read_plan(struct reader *r, const struct sa *to)
{
    static const uint8_t exchanges[] = {EXCHANGE_INFORMATIONAL, EXCHANGE_CREATE_CHILD_SA,
                                        EXCHANGE_IKE_AUTH, EXCHANGE_IKE_SA_INIT};
    static uint8_t text[TEXT_MAX];
    uint8_t how = reader_u8(r), numbers = reader_u8(r), totals = reader_u8(r);
    struct plan p = {.number = numbers, .total = totals, .response = how & 1};
    p.forged = (how & 0x1e) == 0x1e;
    p.exchange = exchanges[how >> 6];
    p.id = (p.response ? to->next_out : to->next_in) + (how >> 5 & 1) - (numbers & 0x80 ? 1 : 0);
    p.number &= 0x7f;
    if (how & 2)
        p.total = (uint16_t)(p.total << 8 | numbers);
    p.first = p.number == 1 ? PAYLOAD_NOTIFY : 0;
    if (how & 4) /* of any size, all vendor ID */
        p.text = (struct bytes){text, (size_t)reader_u8(r) << (how >> 3 & 1 ? 5 : 0)};
    else
        p.text = reader_bytes(r, how & 8 ? r->left % 32 : 0);
    if (how & 16)
        p.first = reader_u8(r);
    return p;
}

static void piece(struct reader *r)
{
    const struct sa *to = receivers_sa();
    if (!to)
        return;
    struct plan p = read_plan(r, to);
    send_piece(&p);
}

/* A message that makes sense, in so many pieces from the back: all of them, or all but one. */
static void message(struct reader *r)
{
    static uint8_t inner[TEXT_MAX];
    uint8_t count = reader_u8(r) % (FRAGMENTS_MAX + 1), without = reader_u8(r);
    const struct sa *to = receivers_sa();
    struct wire_builder b;
    if (!to || count == 0)
        return;
    bool answered = !model.begun && to->fragment && senders_sa() &&
                    to->state == IKE_STATE_ESTABLISHED && (without == 0 || without > count);
    uint32_t id = to->next_in;
    wire_begin_inner(&b, inner, sizeof(inner));
    wire_put_notify(&b, 40000, reader_bytes(r, r->left < 64 ? r->left : 64));
    struct bytes all = wire_finish(&b);
    size_t each = (all.len + count - 1u) / count;
    for (uint16_t n = count; n >= 1; n--) {
        size_t at = each * (n - 1u) < all.len ? each * (n - 1u) : all.len, left = all.len - at;
        struct plan p = {.number = n,
                         .total = count,
                         .id = id,
                         .exchange = EXCHANGE_INFORMATIONAL,
                         .first = n == 1 ? PAYLOAD_NOTIFY : 0,
                         .text = {all.at + at, left < each ? left : each}};
        if (n != without)
            send_piece(&p);
    }
    to = receivers_sa();
    pair_must(!answered || (to && to->next_in == id + 1));
}

/* ---- beside them */

static void beside(struct reader *r)
{
    uint8_t octet = reader_u8(r);
    struct ike_command c = {.kind = octet & 1 ? IKE_CHECK : IKE_REKEY_CHILD};
    const struct sa *sa = receivers_sa();
    if (octet & 2)
        pair_tick(&pair, pair.now + (TIME_MILLISECOND << octet / 4 % 18));
    if (octet & 2 || !sa || !sa->tunnel)
        return;
    c.tunnel = sa->tunnel->id;
    if (ike_command(receiver(), pair.now, &c, NULL) == 0)
        pair_drain(&pair, !from);
}

/* All that is under way arrives: whole messages, which may end what came in part. */
static void settle(void)
{
    pair_settle(&pair);
    if (held() == 0)
        forget();
}

static void step(struct reader *r)
{
    uint8_t kind = reader_u8(r) & 7;
    pair_recycle(&pair);
    if (kind < 4)
        piece(r);
    else if (kind < 6)
        message(r);
    else if (kind == 6)
        beside(r);
    else
        settle();
    if (!receivers_sa())
        forget(); /* it has gone, with all of it */
    compare();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(data, size);
    unsigned head = reader_u8(&r);
    head |= (unsigned)reader_u8(&r) << 8;
    from = head & 1;
    pair_begin_at(&pair, head & 2 ? PAIR_WITHOUT_AUTH : PAIR_UP,
                  head >> 2 & ~(unsigned)PAIR_SOON); /* one IKE SA, always the same */
    const struct sa *to = pair_sa(receiver());
    spi = to ? to->spi_own : 0;
    forget();
    for (int i = 0; i < STEPS && r.left > 0; i++)
        step(&r);
    pair_take_down(&pair);
    pair_free(&pair);
    return 0;
}
