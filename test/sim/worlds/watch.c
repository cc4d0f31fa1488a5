/* What a host sends must follow the rules of message IDs, looked at from outside (RFC 7296 2.2,
 * 2.3): per SA and direction the IDs of requests, and those of responses, go up by one; under one
 * ID there is one message, octet by octet; and no nonce of the cipher comes twice (RFC 5282 3.1).
 * A message may be cut into fragments, and cut again into more and smaller ones (RFC 7383 2.5.1).
 */
#include "worlds.h"

#include "ike/internal.h"

enum { FRAGMENTS = 64, BODY = 32 };

struct line { /* requests, or responses, of one end of one SA */
    uint64_t spi_i, spi_r;
    uint8_t kind;
    bool begun;
    uint32_t id;
    uint16_t total;               /* fragments; 0 = whole */
    uint64_t hash[FRAGMENTS + 1]; /* by fragment number; 0 = not seen */
    uint64_t iv;
};
struct watch {
    struct line *at;
    size_t count, room;
};

struct watch *watch_create(void)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    assert_non_null(watch);
    return watch;
}

void watch_free(struct watch *watch)
{
    free(watch->at);
    free(watch);
}

/* The newest first: old SAs are seldom spoken of. */
static struct line *line(struct watch *watch, const struct wire_header *h, uint8_t kind)
{
    for (size_t i = watch->count; i > 0; i--)
        if (watch->at[i - 1].spi_i == h->spi_i && watch->at[i - 1].spi_r == h->spi_r &&
            watch->at[i - 1].kind == kind)
            return &watch->at[i - 1];
    if (watch->count == watch->room) {
        watch->room = watch->room ? 2 * watch->room : 64;
        watch->at = realloc(watch->at, watch->room * sizeof(*watch->at));
        assert_non_null(watch->at);
    }
    watch->at[watch->count] = (struct line){.spi_i = h->spi_i, .spi_r = h->spi_r, .kind = kind};
    return &watch->at[watch->count++];
}

static uint64_t hash(const struct sim_datagram *d)
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < d->len; i++)
        h = (h ^ d->octets[i]) * 0x100000001b3;
    return h;
}

/* The explicit part of an AEAD's nonce is a counter of ours; of CBC it is random. */
static void nonce(struct world *w, const struct sim_datagram *d, const struct wire_header *h,
                  size_t at)
{
    if (w->dice_of_suites == 0 || d->len < at + 8)
        return;
    struct reader r = reader_of(d->octets + at, 8);
    uint64_t iv = reader_u64(&r);
    struct line *l = line(w->watch, h, h->flags & FLAG_INITIATOR);
    SIM_CHECK(w->sim, !l->begun || iv > l->iv, "%s uses a nonce again, or one from before",
              d->sender->name);
    l->begun = true;
    l->iv = iv;
}

/* Which part of a message this is: number 0 of 0 is a whole one. */
struct part {
    uint16_t number, total;
    size_t iv_at;
};
static struct part part_of(struct world *w, const struct sim_datagram *d,
                           const struct wire_header *h)
{
    if (h->next_payload == PAYLOAD_SK)
        return (struct part){0, 0, BODY};
    struct reader r = reader_of(d->octets, d->len);
    reader_skip(&r, BODY);
    struct part part = {.iv_at = BODY + 4};
    part.number = reader_u16(&r);
    part.total = reader_u16(&r);
    SIM_CHECK(w->sim, part.number >= 1 && part.number <= part.total && part.total <= FRAGMENTS,
              "%s sends fragment %u of %u", d->sender->name, part.number, part.total);
    return part;
}

/* Has this very part gone out before? */
static bool again(struct world *w, struct line *l, const struct sim_datagram *d,
                  const struct wire_header *h, const struct part *part)
{
    if (!l->begun || h->message_id != l->id)
        return false;
    SIM_CHECK(w->sim, part->total >= l->total, "%s cuts a message into larger pieces than before",
              d->sender->name);
    if (part->total > l->total || l->hash[part->number] == 0)
        return false;
    SIM_CHECK(w->sim, hash(d) == l->hash[part->number], "%s sends two messages under ID %u",
              d->sender->name, l->id);
    return true;
}

/* The token of an SA in the clear ends it: only who has lost it may send that (RFC 6290 5). */
static void in_the_clear(struct world *w, const struct sim_datagram *d, const struct wire_header *h)
{
    static struct wire_chain chain;
    struct wire_notify_view n;
    struct bytes payloads = {d->octets + WIRE_HEADER_LEN, d->len - WIRE_HEADER_LEN};
    const struct map *sas = d->sender->engine ? &d->sender->engine->sas : NULL;
    if (!sas || wire_walk(h->next_payload, payloads, &chain) != 0 ||
        !wire_notify_find(&chain, NOTIFY_QUICK_CRASH_DETECTION, &n))
        return;
    SIM_CHECK(w->sim, !map_get(sas, h->spi_i) && !map_get(sas, h->spi_r),
              "%s tells the token of an SA that it holds", d->sender->name);
}

void watch_sent(struct world *w, const struct sim_datagram *d)
{
    struct wire_header h;
    if (!d->sender || d->len == 1)
        return;
    SIM_CHECK(w->sim, wire_header_read((struct bytes){d->octets, d->len}, &h) == 0,
              "%s sends what is no IKE", d->sender->name);
    if (h.exchange == EXCHANGE_IKE_SA_INIT ||
        (h.next_payload != PAYLOAD_SK && h.next_payload != PAYLOAD_SKF)) {
        in_the_clear(w, d, &h);
        return;
    }
    struct part part = part_of(w, d, &h);
    struct line *l = line(w->watch, &h, (h.flags & (FLAG_INITIATOR | FLAG_RESPONSE)) | 1);
    if (again(w, l, d, &h, &part))
        return;
    bool same = l->begun && h.message_id == l->id;
    uint32_t next = l->begun ? l->id + !same : h.message_id;
    SIM_CHECK(w->sim, h.message_id == next && (l->begun || next <= 1),
              "%s sends message ID %u after %u", d->sender->name, h.message_id, l->id);
    if (!same || part.total > l->total)
        memset(l->hash, 0, sizeof(l->hash));
    l->begun = true;
    l->id = h.message_id;
    l->total = part.total;
    l->hash[part.number] = hash(d);
    nonce(w, d, &h, part.iv_at);
}
