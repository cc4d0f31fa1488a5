/* Two engines through a life, step by step as the input says, on a virtual clock: messages are
 * delivered, dropped, doubled, swapped, or opened, changed inside and sealed again by their own
 * sender's keys, so that the change reaches the code behind the integrity check; both
 * administrators give commands, the data plane tells facts, time goes by, one side crashes. First
 * octet: 1 the pair is up at the beginning, 2 without PFS, 4 rekeying begins early.
 *
 * Whatever comes: no crash, no illegal move of a state; and when both have deleted everything and
 * time has gone by, nothing is held. */
#include "engine_pair.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS = 64, TEXT_MAX = 8192, COMMANDS = IKE_CHECK + 1 };
enum step { DELIVER, DROP, TWICE, SWAP, CHANGE, FLIP, WAIT, COMMAND, FACT, ANSWER, CRASH, KINDS };

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

static void flip_next(struct reader *r)
{
    uint16_t at = reader_u16(r);
    uint8_t mask = reader_u8(r);
    if (pair.taken == pair.queued)
        return;
    struct bytes octets = pair.queue[pair.taken].octets;
    if (octets.len > 0)
        ((uint8_t *)(uintptr_t)octets.at)[at % octets.len] ^= mask;
    deliver_next(false);
}

static struct sa *sa_of(int side, const struct wire_header *h, bool initiators)
{
    return map_get(&pair.side[side].engine->sas, initiators ? h->spi_i : h->spi_r);
}

static struct bytes behind_header(struct bytes datagram)
{
    return (struct bytes){datagram.at + WIRE_HEADER_LEN, datagram.len - WIRE_HEADER_LEN};
}

/* What the input changes in the text of a message: its length, then some octets. */
static size_t change_text(struct reader *r, uint8_t *text, size_t len)
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
    return len;
}

/* Opens the next message with its receiver's keys and seals it anew with its sender's. */
static void change_next(struct reader *r)
{
    static struct wire_chain chain;
    static uint8_t text[TEXT_MAX];
    if (pair.taken == pair.queued)
        return;
    struct pair_datagram *d = &pair.queue[pair.taken];
    struct input in = {.datagram = d->octets, .outer = &chain};
    struct ike_engine *from = pair.side[!d->to].engine, *to = pair.side[d->to].engine;
    if (wire_header_read(d->octets, &in.header) < 0 ||
        wire_walk(in.header.next_payload, behind_header(d->octets), &chain) < 0)
        return;
    bool by_initiator = in.header.flags & FLAG_INITIATOR;
    struct sa *sender = sa_of(!d->to, &in.header, by_initiator);
    struct sa *receiver = sa_of(d->to, &in.header, !by_initiator);
    if (!sender || !receiver || !sender->chosen.encr || !receiver->chosen.encr ||
        sk_open(to, receiver, &in) < 0 || in.inner_octets.len > TEXT_MAX)
        return;
    memcpy(text, in.inner_octets.at, in.inner_octets.len);
    size_t len = change_text(r, text, in.inner_octets.len);
    struct wire_builder b;
    sk_begin(from, &b);
    b.first = in.inner_first;
    writer_bytes(&b.w, text, len);
    struct message *m = sk_seal(from, sender, in.header.exchange, in.header.flags & FLAG_RESPONSE,
                                in.header.message_id, &b);
    if (!m)
        return;
    pair.taken++;
    pair_feed(&pair, d->to, &d->path, message_bytes(m));
    message_drop(from, &m);
}

/* ---- all else */

static void tick(time_us by)
{
    pair.now += by;
    for (int i = 0; i < 2; i++) {
        ike_tick(pair.side[i].engine, pair.now);
        pair_drain(&pair, i);
    }
}

/* From a millisecond to a day. */
static void let_time_go_by(struct reader *r)
{
    uint8_t octet = reader_u8(r);
    tick((TIME_MILLISECOND << (octet & 31) % 27) / (1 + octet / 32));
}

static void command(struct reader *r)
{
    uint8_t octet = reader_u8(r);
    struct pair_engine *side = &pair.side[octet & 1];
    const struct sa *sa = pair_sa(side->engine);
    struct ike_command c = {.kind = octet / 2 % COMMANDS};
    if (sa && sa->tunnel)
        c.tunnel = sa->tunnel->id;
    if (sa && sa->children)
        c.spi_in = sa->children->spi_in;
    c.path = pair_path(&pair, octet & 1);
    if (ike_command(side->engine, pair.now, &c, NULL) == 0)
        pair_drain(&pair, octet & 1);
}

static void fact(struct reader *r)
{
    uint8_t octet = reader_u8(r);
    struct pair_engine *side = &pair.side[octet & 1];
    const struct sa *sa = pair_sa(side->engine);
    if (!sa || !sa->tunnel || !sa->children)
        return;
    struct ike_fact f = {.kind = octet / 2 % (IKE_FACT_SENT + 1),
                         .spi_in = sa->children->spi_in,
                         .tunnel = sa->tunnel->id};
    ike_fact(side->engine, pair.now, &f);
    pair_drain(&pair, octet & 1);
}

static void answer(int i)
{
    if (!pair.side[i].answer_waits)
        return;
    pair.side[i].answer_waits = false;
    ike_answer(pair.side[i].engine, pair.now, &pair.side[i].answer);
    pair_drain(&pair, i);
}

static void crash(int i)
{
    ike_free(pair.side[i].engine);
    pair.side[i].answer_waits = false;
    pair_start(&pair, i);
}

static void step(struct reader *r)
{
    uint8_t octet = reader_u8(r);
    pair_recycle(&pair);
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
        flip_next(r);
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
        answer(octet >> 7);
        break;
    case CRASH:
        crash(octet >> 7);
        break;
    case KINDS:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(data, size);
    uint8_t head = reader_u8(&r);
    pair_begin_at(&pair, head & 1 ? PAIR_UP : PAIR_FIRST_ONLY);
    for (int i = 0; i < 2; i++) {
        pair.side[i].conf.pfs = !(head & 2);
        if (head & 4)
            pair.side[i].conf.child_lifetime = 20, pair.side[i].conf.ike_lifetime = 50;
    }
    pair.drop_all = false;
    for (int i = 0; i < STEPS && r.left > 0; i++)
        step(&r);
    pair_take_down(&pair);
    pair_free(&pair);
    return 0;
}
