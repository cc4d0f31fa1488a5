/* What a host sends must follow the rules of message IDs, looked at from outside (RFC 7296 2.2,
 * 2.3): per SA and direction the IDs of requests, and those of responses, go up by one; under one
 * ID there is one message, octet by octet; and no nonce of the cipher comes twice (RFC 5282 3.1).
 */
#include "worlds.h"

#include "wire/wire.h"

struct line { /* requests, or responses, of one end of one SA */
    uint64_t spi_i, spi_r;
    uint8_t kind;
    bool begun;
    uint32_t id;
    uint64_t hash, iv;
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
static void nonce(struct world *w, const struct sim_datagram *d, const struct wire_header *h)
{
    enum { AT = 32 };
    if (w->dice_of_suites == 0 || d->len < AT + 8)
        return;
    struct reader r = reader_of(d->octets + AT, 8);
    uint64_t iv = reader_u64(&r);
    struct line *l = line(w->watch, h, h->flags & FLAG_INITIATOR);
    SIM_CHECK(w->sim, !l->begun || iv > l->iv, "%s uses a nonce again, or one from before",
              d->sender->name);
    l->begun = true;
    l->iv = iv;
}

void watch_sent(struct world *w, const struct sim_datagram *d)
{
    struct wire_header h;
    if (!d->sender || d->len == 1)
        return;
    SIM_CHECK(w->sim, wire_header_read((struct bytes){d->octets, d->len}, &h) == 0,
              "%s sends what is no IKE", d->sender->name);
    if (h.exchange == EXCHANGE_IKE_SA_INIT || h.next_payload != PAYLOAD_SK)
        return;
    struct line *l = line(w->watch, &h, (h.flags & (FLAG_INITIATOR | FLAG_RESPONSE)) | 1);
    uint64_t now = hash(d);
    if (l->begun && h.message_id == l->id) {
        SIM_CHECK(w->sim, now == l->hash, "%s sends two messages under ID %u", d->sender->name,
                  l->id);
        return;
    }
    uint32_t next = l->begun ? l->id + 1 : h.message_id;
    SIM_CHECK(w->sim, h.message_id == next && (l->begun || next <= 1),
              "%s sends message ID %u after %u", d->sender->name, h.message_id, l->id);
    l->begun = true;
    l->id = h.message_id;
    l->hash = now;
    nonce(w, d, &h);
}
