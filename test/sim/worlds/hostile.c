/* What strangers send. They see some datagrams on the way and can send from any address, but they
 * hold no key. */
#include "worlds.h"

#include "wire/wire.h"

static struct sim_datagram *old(struct world *w)
{
    return w->ring[dice(w, RING)];
}

static struct endpoint anyone(struct world *w)
{
    struct endpoint at = {.ip = draw_address(w, w->family),
                          .port = (uint16_t)(dice(w, 3) ? 4500 : 500)};
    if (chance(w, 50))
        at.ip = w->members[dice(w, (unsigned)w->member_count)].host->ip;
    if (chance(w, 30))
        at.port = (uint16_t)(1 + dice(w, 65535));
    return at;
}

static void throw(struct world * w, const struct endpoint *from, const struct endpoint *to,
                  struct bytes octets)
{
    w->tally->hostile++;
    sim_inject(w->sim, from, to, octets);
}

/* The same again, now and then from or to somewhere else. */
static void replay(struct world *w)
{
    const struct sim_datagram *d = old(w);
    if (!d)
        return;
    struct endpoint from = chance(w, 60) ? d->from : anyone(w);
    struct endpoint to = chance(w, 80) ? d->to : anyone(w);
    w->meddled |= !endpoint_equal(&from, &d->from) || !endpoint_equal(&to, &d->to);
    throw(w, &from, &to, (struct bytes){d->octets, d->len});
}

static void cripple(struct world *w)
{
    uint8_t buffer[2048] = {0};
    const struct sim_datagram *d = old(w);
    if (!d || d->len > sizeof(buffer) - 64)
        return;
    memcpy(buffer, d->octets, d->len);
    size_t len = chance(w, 50) ? dice(w, (unsigned)d->len) : d->len + dice(w, 64);
    if (len >= 28 && chance(w, 70)) { /* with a length that agrees */
        struct writer writer = writer_of(buffer, sizeof(buffer));
        (void)writer_reserve(&writer, 0);
        writer.len = len;
        writer_patch_u32(&writer, 24, (uint32_t)len);
    }
    for (unsigned i = dice(w, 4); i > 0 && len > 0; i--)
        buffer[dice(w, (unsigned)len)] ^= (uint8_t)(1 << dice(w, 8));
    throw(w, &d->from, &d->to, (struct bytes){buffer, len});
}

/* A protected message with the same SPIs written in another way: nobody may say of it that he knows
 * no such SA while he holds it. */
static void disguise(struct world *w)
{
    enum { FLAGS_AT = 19, SPI_LEN = 8 };
    uint8_t buffer[2048], spi[SPI_LEN];
    const struct sim_datagram *d = old(w);
    if (!d || d->len > sizeof(buffer) || d->len <= FLAGS_AT)
        return;
    memcpy(buffer, d->octets, d->len);
    if (chance(w, 60))
        buffer[FLAGS_AT] ^= FLAG_INITIATOR;
    if (chance(w, 40)) {
        memcpy(spi, buffer, SPI_LEN);
        memcpy(buffer, buffer + SPI_LEN, SPI_LEN);
        memcpy(buffer + SPI_LEN, spi, SPI_LEN);
    }
    buffer[FLAGS_AT] &= (uint8_t)~FLAG_RESPONSE;
    /* by the first one the ring may lose it */
    struct endpoint from = d->from, to = d->to;
    struct bytes octets = {buffer, d->len};
    throw(w, &from, &to, octets);
    throw(w, &to, &from, octets);
}

static const struct sim_datagram *old_init(struct world *w)
{
    struct wire_header h;
    for (int i = 0; i < 8; i++) {
        const struct sim_datagram *d = old(w);
        if (d && wire_header_read((struct bytes){d->octets, d->len}, &h) == 0 &&
            h.exchange == EXCHANGE_IKE_SA_INIT && !(h.flags & FLAG_RESPONSE))
            return d;
    }
    return NULL;
}

/* First messages of nobody: a burst, each with an SPI of its own. */
static void flood(struct world *w)
{
    uint8_t buffer[2048];
    const struct sim_datagram *d = old_init(w);
    if (!d || d->len > sizeof(buffer))
        return;
    memcpy(buffer, d->octets, d->len);
    const struct endpoint sender = d->from, to = d->to;
    const size_t len = d->len; /* what is thrown may push out what was seen */
    for (unsigned i = 0, n = 1 + dice(w, 12); i < n; i++) {
        struct endpoint from = chance(w, 70) ? anyone(w) : sender;
        for (int k = 0; k < 8; k++)
            buffer[k] = (uint8_t)dice(w, 256);
        throw(w, &from, &to, (struct bytes){buffer, len});
    }
}

/* Nothing of this is protected, so nothing of it may end what is established. */
static void forge(struct world *w)
{
    static const uint16_t notifies[] = {
        NOTIFY_NO_PROPOSAL_CHOSEN,    NOTIFY_INVALID_KE_PAYLOAD,
        NOTIFY_AUTHENTICATION_FAILED, NOTIFY_INVALID_SYNTAX,
        NOTIFY_INVALID_MAJOR_VERSION, NOTIFY_COOKIE,
        NOTIFY_INVALID_IKE_SPI,       NOTIFY_TEMPORARY_FAILURE,
        NOTIFY_CHILD_SA_NOT_FOUND,    NOTIFY_UNSUPPORTED_CRITICAL_PAYLOAD};
    static const uint8_t exchanges[] = {EXCHANGE_IKE_SA_INIT, EXCHANGE_IKE_AUTH,
                                        EXCHANGE_CREATE_CHILD_SA, EXCHANGE_INFORMATIONAL};
    uint8_t buffer[256], data[32];
    struct wire_builder b;
    struct wire_header h;
    const struct sim_datagram *d = chance(w, 50) ? old_init(w) : old(w);
    if (!d || wire_header_read((struct bytes){d->octets, d->len}, &h) != 0)
        return;
    h.flags ^= FLAG_INITIATOR;
    if (chance(w, 80))
        h.flags ^= FLAG_RESPONSE;
    if (chance(w, 30))
        h.spi_r = sim_random(&w->dice);
    if (chance(w, 40))
        h.exchange = exchanges[dice(w, ARRAY_LEN(exchanges))];
    if (chance(w, 30))
        h.message_id = dice(w, 4);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)dice(w, 256);
    if (chance(w, 50)) { /* a group that was offered, perhaps */
        data[0] = 0;
        data[1] = (uint8_t)(chance(w, 50) ? 19 : 31);
    }
    wire_begin(&b, buffer, sizeof(buffer), &h);
    wire_put_notify(&b, notifies[dice(w, ARRAY_LEN(notifies))], (struct bytes){data, dice(w, 9)});
    if (chance(w, 20))
        wire_put_delete_ike(&b);
    if (chance(w, 20)) /* a token that is nobody's */
        wire_put_notify_spi(&b, PROTOCOL_IKE, (struct bytes){0}, NOTIFY_QUICK_CRASH_DETECTION,
                            (struct bytes){data, sizeof(data)});
    throw(w, &d->to, &d->from, wire_finish(&b));
}

static void junk(struct world *w)
{
    uint8_t buffer[600];
    size_t len = dice(w, sizeof(buffer));
    for (size_t i = 0; i < len; i++)
        buffer[i] = (uint8_t)dice(w, 256);
    struct endpoint from = anyone(w), to = anyone(w);
    to.ip = w->members[dice(w, (unsigned)w->member_count)].host->ip;
    throw(w, &from, &to, (struct bytes){buffer, len});
}

struct siege {
    struct sim_call call;
    unsigned left;
};

static void assault(struct sim *sim, void *data)
{
    struct siege *s = malloc(sizeof(*s));
    assert_non_null(s);
    *s = *(struct siege *)data;
    flood(sim->world);
    if (s->left-- > 0)
        sim_schedule(sim, sim->now + 100 * TIME_MILLISECOND, SIM_CALL, NULL, s);
    else
        free(s);
}

/* Some seconds of it. */
void hostile_siege(struct world *w)
{
    struct siege first = {{assault}, 10 + dice(w, 50)};
    tell(w, "strangers begin a siege");
    assault(w->sim, &first);
}

void hostile_blow(struct world *w)
{
    switch (dice(w, 9)) {
    case 0 ... 2:
        replay(w);
        break;
    case 3:
        cripple(w);
        break;
    case 4:
        flood(w);
        break;
    case 5 ... 6:
        forge(w);
        break;
    case 7:
        disguise(w);
        break;
    default:
        junk(w);
    }
}
