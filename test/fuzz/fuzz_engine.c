/* Two engines through a life, step by step as the input says, on a virtual clock: messages are
 * delivered, dropped, doubled, swapped, or opened, changed inside and sealed again by their own
 * sender's keys, so that the change reaches the code behind the integrity check; both
 * administrators give commands, the data plane tells facts, addresses come and go, a NAT steps in
 * between or gets another address, time goes by, one side crashes, or reads another configuration.
 * First two octets: 1 the pair is up at the beginning, the other bits are traits (engine_pair.h).
 *
 * Whatever comes: no crash, no illegal move of a state; and when both have deleted everything and
 * time has gone by, nothing is held. */
#include "engine_pair.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS = 96, TEXT_MAX = 8192, COMMANDS = IKE_ADDRESSES };
enum step {
    DELIVER,
    DROP,
    TWICE,
    SWAP,
    CHANGE,
    FLIP,
    WAIT,
    COMMAND,
    FACT,
    ANSWER,
    CRASH,
    SETTLE,
    ADDRESSES,
    NAT,
    UNREACHABLE,
    KINDS,
    RELOAD = 255 /* came later than the corpus */
};

static struct engine_pair pair;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_set_level(LEVEL_ERROR);
    return crypto_init();
}

/* ---- messages */

static void deliver_next(bool keep)
{
    if (pair.taken == pair.queued)
        return;
    unsigned n = pair.taken;
    pair.taken += !keep;
    pair_feed(&pair, pair.queue[n].to, &pair.queue[n].path, pair.queue[n].octets);
}

static void swap_next(void)
{
    if (pair.queued - pair.taken < 2)
        return;
    unsigned n = pair.taken;
    struct pair_datagram first = pair.queue[n];
    pair.queue[n] = pair.queue[n + 1];
    pair.queue[n + 1] = first;
}

static struct sa *sa_of(int side, const struct wire_header *h, bool initiators)
{
    return map_get(&pair.side[side].engine->sas, initiators ? h->spi_i : h->spi_r);
}

/* What the input changes in the text of a message: its length, some octets, what it begins with. */
static size_t change_text(struct reader *r, uint8_t *text, size_t len, uint8_t *first)
{
    uint8_t how = reader_u8(r), count = reader_u8(r) % 8;
    size_t cut = reader_u16(r);
    if (how & 1)
        len = len > 0 ? cut % len : 0;
    for (uint8_t i = 0; i < count && len > 0; i++) {
        uint16_t at = reader_u16(r);
        text[at % len] = reader_u8(r);
    }
    if (how & 2) { /* and what the input has instead, or behind it */
        size_t more = reader_u8(r);
        more = more < r->left ? more : r->left;
        more = more < TEXT_MAX - len ? more : TEXT_MAX - len;
        reader_copy(r, text + len, more);
        len += more;
    }
    if (how & 4)
        *first = reader_u8(r);
    return len;
}

/* The keys of a datagram's two ends; false when it has none, or cannot be opened. */
static bool open_next(const struct pair_datagram *d, struct input *in, struct sa **sender)
{
    struct ike_engine *to = pair.side[d->to].engine;
    if (wire_header_read(d->octets, &in->header) < 0 ||
        wire_walk(in->header.next_payload, pair_payloads(d->octets),
                  (struct wire_chain *)(uintptr_t)in->outer) < 0)
        return false;
    bool by_initiator = in->header.flags & FLAG_INITIATOR;
    struct sa *receiver = sa_of(d->to, &in->header, !by_initiator);
    *sender = sa_of(!d->to, &in->header, by_initiator);
    return *sender && receiver && (*sender)->chosen.encr && receiver->chosen.encr &&
           fragment_read(to, receiver, in) && sk_open(to, receiver, in) == 0 &&
           in->inner_octets.len <= TEXT_MAX;
}

/* Opens the next datagram with its receiver's keys and seals it anew with its sender's. */
static void change_next(struct reader *r)
{
    static struct wire_chain chain;
    static uint8_t text[2 * TEXT_MAX];
    if (pair.taken == pair.queued)
        return;
    struct pair_datagram *d = &pair.queue[pair.taken];
    struct input in = {.datagram = d->octets, .outer = &chain};
    struct sa *sender;
    if (!open_next(d, &in, &sender))
        return;
    memcpy(text, in.inner_octets.at, in.inner_octets.len);
    size_t len = change_text(r, text, in.inner_octets.len, &in.inner_first);
    struct sk_part part = {.first = in.inner_first,
                           .number = in.fragment.number,
                           .total = in.fragment.total,
                           .text = {text, len}};
    struct bytes sealed = pair_seal(pair.side[!d->to].engine, sender, &in.header, &part);
    pair.taken++;
    if (sealed.len > 0)
        pair_feed(&pair, d->to, &d->path, sealed);
}

/* ---- all else */

/* From a millisecond to a day. */
static void let_time_go_by(struct reader *r)
{
    uint8_t octet = reader_u8(r);
    pair_tick(&pair, pair.now + (TIME_MILLISECOND << (octet & 31) % 27) / (1 + octet / 32));
}

static struct child *child_of(const struct sa *sa, unsigned n)
{
    struct child *c = sa ? sa->children : NULL;
    for (; c && c->next && n > 0; n--)
        c = c->next;
    return c;
}

/* Octet: side, kind, which child. */
static void command(struct reader *r)
{
    uint8_t octet = reader_u8(r);
    struct pair_engine *side = &pair.side[octet & 1];
    const struct sa *sa = pair_sa(side->engine);
    const struct child *child = child_of(sa, octet >> 5);
    struct ike_command c = {.kind = octet / 2 % COMMANDS, .path = pair_path(&pair, octet & 1)};
    if (sa && sa->tunnel && octet < 0xe0)
        c.tunnel = sa->tunnel->id;
    if (child)
        c.spi_in = child->spi_in;
    if (ike_command(side->engine, pair.now, &c, NULL) == 0)
        pair_drain(&pair, octet & 1);
}

/* What that side has now: places by bits, the highest one is the best; a client is told of its
 * gateway's, too. */
static void addresses(struct reader *r)
{
    uint8_t octet = reader_u8(r), side = octet & 1;
    struct ike_command c = {.kind = IKE_ADDRESSES};
    struct ike_addresses *now = &c.addresses;
    now->doubt = octet & 2;
    for (unsigned place = PAIR_PLACES; place-- > 0;) {
        if (octet >> 2 & 1u << place)
            now->local[now->local_count++] = (struct ike_local){
                .at = {pair_ip(side, place), NAT_PORT}, .rank = PAIR_PLACES - place};
        if (side == 0 && octet & 0x40)
            now->remote[now->remote_count++] = pair_ip(1, place);
    }
    if (ike_command(pair.side[side].engine, pair.now, &c, NULL) == 0)
        pair_drain(&pair, side);
}

/* Octet: side, kind, which child; a second one: more of it. */
static void fact(struct reader *r)
{
    uint8_t octet = reader_u8(r), more = reader_u8(r);
    struct pair_engine *side = &pair.side[octet & 1];
    const struct sa *sa = pair_sa(side->engine);
    const struct child *child = child_of(sa, octet >> 5);
    if (!child || !sa->tunnel)
        return;
    struct ike_fact f = {.kind = octet / 2 % (IKE_FACT_UNKNOWN_SPI + 1),
                         .spi_in = child->spi_in,
                         .tunnel = sa->tunnel->id,
                         .sent = more & 1};
    if (more & 2)
        f.remote = (struct endpoint){pair_ip(!(octet & 1), more >> 4), (uint16_t)(more << 4)};
    struct bytes stray = reader_bytes(r, more & 4 && r->left > 20 ? 20 : 0);
    f.stray_len = (uint8_t)stray.len;
    if (stray.len > 0)
        memcpy(f.stray, stray.at, stray.len);
    ike_fact(side->engine, pair.now, &f);
    pair_drain(&pair, octet & 1);
}

/* ICMP, with the beginning of what that side sent last. */
static void unreachable(int side)
{
    size_t cursor = 0;
    const struct sa *sa = map_next(&pair.side[side].engine->sas, &cursor);
    uint8_t quoted[8];
    struct writer w = writer_of(quoted, sizeof(quoted));
    if (!sa)
        return;
    writer_u64(&w, sa->spi_own);
    ike_unreachable(pair.side[side].engine, pair.now, &sa->path.remote, writer_view(&w));
    pair_drain(&pair, side);
}

/* The keys process may say no, or have no address. */
static void answer(uint8_t octet)
{
    struct pair_engine *side = &pair.side[octet >> 7];
    if (side->answer_waits && octet / KINDS % 4 == 3)
        side->answer.result = octet & 64 ? ERR_ADDRESS : ERR_AUTH;
    pair_give_answer(&pair, octet >> 7);
}

static void glance(void *context, const struct ike_status *status)
{
    (void)context;
    pair_must(ike_state_name(status->state)[0] && status->child_count <= CHILDREN_LIMIT);
}

static void settle(void)
{
    pair_settle(&pair);
    for (int i = 0; i < 2; i++)
        ike_walk(pair.side[i].engine, glance, NULL);
}

static void crash(int i)
{
    pair_must(ike_counters(pair.side[i].engine)->illegal_moves == 0); /* forgotten with it */
    ike_free(pair.side[i].engine);
    pair.side[i].answer_waits = false;
    pair_start(&pair, i);
}

static void reload(struct reader *r)
{
    uint16_t octets = reader_u16(r);
    int side = octets >> 15;
    pair_reload(&pair, side, octets & PAIR_TRAITS);
    pair_drain(&pair, side);
}

static void step(struct reader *r)
{
    uint8_t octet = reader_u8(r);
    pair_recycle(&pair);
    if (octet == RELOAD) {
        reload(r);
        return;
    }
    switch ((enum step)(octet % KINDS)) {
    case DELIVER:
        deliver_next(false);
        break;
    case DROP:
        pair.taken += pair.taken < pair.queued;
        break;
    case TWICE:
        deliver_next(true);
        break;
    case SWAP:
        swap_next();
        break;
    case CHANGE:
        change_next(r);
        break;
    case FLIP:
        pair_flip(&pair, r);
        deliver_next(false);
        break;
    case WAIT:
        let_time_go_by(r);
        break;
    case COMMAND:
        command(r);
        break;
    case FACT:
        fact(r);
        break;
    case ANSWER:
        answer(octet);
        break;
    case CRASH:
        crash(octet >> 7);
        break;
    case SETTLE:
        settle();
        break;
    case ADDRESSES:
        addresses(r);
        break;
    case NAT:
        pair.mapped = octet / KINDS;
        break;
    case UNREACHABLE:
        unreachable(octet >> 7);
        break;
    case KINDS:
    case RELOAD:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(data, size);
    unsigned head = reader_u8(&r);
    head |= (unsigned)reader_u8(&r) << 8;
    pair_begin_at(&pair, head & 1 ? PAIR_UP : PAIR_FIRST_ONLY, head >> 1);
    pair.drop_all = false;
    for (int i = 0; i < STEPS && r.left > 0; i++)
        step(&r);
    pair_take_down(&pair);
    pair_free(&pair);
    return 0;
}
