/* A responder before authentication, in every state: nobody known, many half-open SAs (a cookie is
 * asked for, a puzzle), IKE_SA_INIT answered, IKE_AUTH come in part, the keys process asked and not
 * heard yet, refused and repeating its answer, the source banned. How it gets there the input says,
 * step by step: a client begins, its datagrams are delivered, dropped, doubled, bent, sent from
 * elsewhere; a stranger sends anything; whoever has made an SA by its first message has keys, and
 * seals with them what the input holds, whole or as a fragment; keys answers yes or no; time goes
 * by. First two octets: traits.
 *
 * Whatever comes: no crash, nobody is in without a yes of the keys process, the half-open SAs stay
 * within their limit, and when time has gone by nothing is held. */
#include "engine_pair.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS = 96, DATAGRAM_MAX = 4096 };
enum step { BEGIN, DELIVER, DROP, AGAIN, BEND, STRANGER, SEALED, PIECE, YES, NO, WAIT, WORK, LIST };

static struct engine_pair pair;
static struct ike_engine *gateway;
static struct endpoint origin; /* where the next datagrams come from; family 0 = where they do */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_set_level(LEVEL_ERROR);
    return crypto_init();
}

static void feed(struct bytes datagram, const struct ike_path *as_it_came)
{
    struct ike_path path = *as_it_came;
    if (origin.ip.family)
        path.remote = origin;
    pair_feed(&pair, 1, &path, datagram);
}

/* The n-th SA of the gateway, dead ones that repeat their answer among them; NULL = there is none.
 */
static struct sa *sa_of(uint8_t n)
{
    size_t cursor = 0;
    struct sa *sa = NULL, *next;
    for (unsigned i = 0; i <= n % 8u && (next = map_next(&gateway->sas, &cursor)); i++)
        sa = next;
    return sa;
}

/* ---- the client's own datagrams */

static void deliver(bool keep)
{
    if (pair.taken == pair.queued)
        return;
    const struct pair_datagram d = pair.queue[pair.taken];
    pair.taken += !keep;
    if (d.to == 1)
        feed(d.octets, &d.path);
    else
        pair_feed(&pair, 0, &d.path, d.octets);
}

/* ---- strangers */

static struct ike_path path_of(const struct sa *sa, bool natt)
{
    uint16_t port = natt ? NAT_PORT : IKE_PORT;
    if (sa)
        return (struct ike_path){sa->path.local, sa->path.remote, 0, sa->path.port};
    return (struct ike_path){
        {pair.side[1].ip, port}, {pair.side[0].ip, port}, 0, natt ? IKE_PORT_NATT : IKE_PORT_500};
}

/* Any octets; the SPIs of an SA put in (1), the length made right (2), on port 4500 (4). */
static void stranger(struct reader *r)
{
    static uint8_t octets[DATAGRAM_MAX];
    uint8_t how = reader_u8(r);
    size_t len = pair_read_datagram(r, octets, sizeof(octets));
    const struct sa *sa = how & 1 ? sa_of(how >> 5) : NULL;
    struct writer w = writer_of(octets, 16);
    if (sa && len >= 16) {
        writer_u64(&w, sa->spi_peer);
        writer_u64(&w, sa->spi_own);
    }
    w = writer_of(octets + 24, 4);
    if ((how & 2) && len >= WIRE_HEADER_LEN)
        writer_u32(&w, (uint32_t)len);
    struct ike_path path = path_of(sa, how & 4);
    feed((struct bytes){octets, len}, &path);
}

/* The peer's end of that SA: who made it has its keys. */
static struct bytes seal_as_peer(struct sa *sa, const struct wire_header *h,
                                 const struct sk_part *part)
{
    struct ike_engine *e = pair.side[0].engine;
    struct sa *peer = map_get(&e->sas, sa->spi_peer);
    if (!peer || peer->chosen.encr == 0 || peer->spi_peer != sa->spi_own)
        return (struct bytes){0};
    return pair_seal(e, peer, h, part);
}

/* SA, exchange, flags, first payload, numbers of a fragment, length, octets. */
static void sealed(struct reader *r, bool in_pieces)
{
    static const uint8_t exchanges[] = {EXCHANGE_IKE_AUTH, EXCHANGE_IKE_AUTH,
                                        EXCHANGE_CREATE_CHILD_SA, EXCHANGE_INFORMATIONAL};
    uint8_t how = reader_u8(r), first = reader_u8(r);
    uint16_t number = in_pieces ? reader_u8(r) : 0, total = in_pieces ? reader_u8(r) : 0;
    struct sa *sa = sa_of(how);
    size_t len = reader_u16(r);
    struct bytes text = reader_bytes(r, len < r->left ? len : r->left);
    if (!sa)
        return;
    struct wire_header h = {.spi_i = sa->spi_peer,
                            .spi_r = sa->spi_own,
                            .version = 0x20,
                            .exchange = exchanges[how >> 3 & 3],
                            .flags = how & 0x20 ? FLAG_INITIATOR | FLAG_RESPONSE : FLAG_INITIATOR,
                            .message_id = sa->next_in + (how >> 6)};
    struct sk_part part = {.first = first, .number = number, .total = total, .text = text};
    struct bytes datagram = seal_as_peer(sa, &h, &part);
    struct ike_path path = path_of(sa, false);
    if (datagram.len > 0)
        feed(datagram, &path);
}

/* ---- all else */

static void answer(int i, bool yes)
{
    if (pair.side[i].answer_waits && !yes)
        pair.side[i].answer.result = ERR_UNKNOWN_PEER;
    pair_give_answer(&pair, i);
}

static void elsewhere(uint8_t octet)
{
    origin = (struct endpoint){0};
    if (octet >= 0x40)
        origin = (struct endpoint){pair_ip(0, octet >> 4 & 3), octet};
}

static void step(struct reader *r)
{
    uint8_t octet = reader_u8(r);
    pair_recycle(&pair);
    switch ((enum step)(octet % (LIST + 1))) {
    case BEGIN:
        pair_initiate(&pair);
        break;
    case DELIVER:
        deliver(false);
        break;
    case DROP:
        pair.taken += pair.taken < pair.queued;
        break;
    case AGAIN:
        deliver(true);
        break;
    case BEND:
        pair_flip(&pair, r);
        deliver(false);
        break;
    case STRANGER:
        stranger(r);
        break;
    case SEALED:
        sealed(r, false);
        break;
    case PIECE:
        sealed(r, true);
        break;
    case YES:
        answer(octet >> 7, true);
        break;
    case NO:
        answer(octet >> 7, false);
        break;
    case WAIT:
        pair_tick(&pair, pair.now + (TIME_MILLISECOND << octet / (LIST + 1)));
        break;
    case WORK:
        pair_work(&pair);
        break;
    case LIST:
        elsewhere(octet);
        break;
    }
}

static void look(void)
{
    const struct ike_counters *c = ike_counters(gateway);
    const struct gate *gate = gateway->gate;
    pair_must(c->illegal_moves == 0 && c->established <= pair.side[1].admitted);
    pair_must(gate->half_open <= gate->limit);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(data, size);
    unsigned traits = reader_u8(&r);
    traits |= (unsigned)reader_u8(&r) << 8;
    pair_make(&pair, traits);
    gateway = pair.side[1].engine;
    origin = (struct endpoint){0};
    for (int i = 0; i < STEPS && r.left > 0; i++) {
        step(&r);
        look();
    }
    pair_take_down(&pair);
    pair_free(&pair);
    return 0;
}
