#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "esp/ah.h"
#include "esp/early.h"
#include "esp/join.h"
#include "esp/transport.h"

enum { NAT_KEEPALIVE = 0xff, TRAILER = 2 };

/* One ESP packet on its way through a batch. */
struct arrival {
    struct sa *sa;
    const struct esp_datagrams *from;
    uint64_t number;
};

struct esp_in {
    struct esp_plane *plane;
    struct side *side;
    struct esp_counters *counters;
    struct aead_engine *engine;
    struct joiner joiner;
    struct transport_room room;
    struct early *early;
    uint16_t worker, count;
    struct sa *last;   /* of the packet before: mostly the same again */
    struct sa *fit_sa; /* of the last packet that belonged to its SA, and that packet */
    struct inner fit;
    struct arrival heard; /* the last that heard() looked at: SA and run */
    time_us now;
    struct aead_op ops[AEAD_BATCH];
    struct arrival arrivals[AEAD_BATCH];
    uint8_t aad[AEAD_BATCH][12];
    uint8_t ah[AEAD_BATCH][AH_HEADS];
};

struct esp_in *esp_in_create(struct esp_plane *plane, uint16_t worker, bool uso,
                             const struct esp_in_calls *calls)
{
    struct esp_in *in = calloc(1, sizeof(*in));
    if (!in)
        return NULL;
    in->plane = plane;
    in->worker = worker;
    in->side = plane_in_side(plane, worker);
    in->counters = &in->side->counters;
    in->joiner.uso = uso;
    in->joiner.calls = *calls;
    in->joiner.counters = in->counters;
    in->engine = aead_engine_create();
    in->room.octets = malloc(TRANSPORT_ROOM); /* untouched, and no memory, without such an SA */
    in->early = early_create();
    if (!in->engine || !in->room.octets || !in->early) {
        esp_in_free(in);
        return NULL;
    }
    return in;
}

void esp_in_free(struct esp_in *in)
{
    if (!in)
        return;
    side_asleep(in->side);
    if (in->engine)
        aead_engine_free(in->engine);
    free(in->room.octets);
    early_free(in->early);
    free(in);
}

void esp_in_awake(struct esp_in *in)
{
    side_awake(in->plane, in->side);
}

void esp_in_asleep(struct esp_in *in)
{
    side_asleep(in->side);
}

/* ---- before the cipher ---------------------------------------------------------------------- */

static void unknown_spi(struct esp_in *in, uint32_t spi, const struct esp_datagrams *from)
{
    note(&in->counters->drop_in_spi, 1);
    struct esp_fact fact = {.kind = ESP_FACT_UNKNOWN_SPI, .spi_in = spi};
    if (endpoint_from_sockaddr(from->from, &fact.remote))
        letter_post(&in->side->unknown, &fact);
}

/* What ESP and AH share is small and runs for each packet: with two callers the compiler would make
 * calls of it, which cost every ESP packet more than AH is worth to it. */
ALWAYS_INLINE struct sa *find_sa(struct esp_in *in, uint32_t spi, const struct esp_datagrams *from)
{
    struct sa *sa = in->last;
    if (!sa || sa->spi_in != spi) {
        sa = sad_find(in->plane, spi);
        if (sa && sa->ah != from->ah) /* one protocol's ICV must not pass as the other's */
            sa = NULL;
    }
    if (!sa || (atomic_load_explicit(&sa->flags, memory_order_relaxed) & SA_DEAD)) {
        unknown_spi(in, spi, from);
        return NULL;
    }
    if (sa->worker != in->worker) {
        note(&in->counters->drop_in_worker, 1);
        return NULL;
    }
    in->last = sa;
    return sa;
}

static void open_batch(struct esp_in *in);

ALWAYS_INLINE bool is_fresh(struct esp_in *in, struct sa *sa, uint32_t low, uint64_t *number)
{
    *number = replay_number(&sa->replay, low, sa->esn);
    if (replay_fresh(&sa->replay, *number))
        return true;
    note(&in->counters->drop_in_replay, 1);
    note(&sa->drop_replay, 1);
    return false;
}

ALWAYS_INLINE void add_to_batch(struct esp_in *in, struct sa *sa, const struct esp_datagrams *from,
                                uint64_t number)
{
    in->arrivals[in->count++] = (struct arrival){.sa = sa, .from = from, .number = number};
    if (in->count == AEAD_BATCH)
        open_batch(in);
}

/* There is none yet; one that is dead or another worker's is not waited for. */
static void wait_for_sa(struct esp_in *in, uint32_t spi, const uint8_t *packet, uint32_t len,
                        const struct esp_datagrams *from)
{
    if (!sad_find(in->plane, spi))
        early_keep(in->early, spi, packet, len, from, in->now);
}

/* Puts one packet of AH, a whole IP packet, into the batch, unless it can be refused already. */
static void take_ah(struct esp_in *in, const struct esp_datagrams *from)
{
    struct ah_view view;
    uint64_t number;
    if (!ah_read(from->data, from->len, &view)) {
        note(&in->counters->drop_in_ah, 1);
        return;
    }
    in->last = NULL; /* may be ESP's */
    struct sa *sa = find_sa(in, view.spi, from);
    in->last = NULL;
    if (!sa) {
        wait_for_sa(in, view.spi, from->data, from->len, from);
        return;
    }
    if (!ah_fits(&view, sa)) {
        note(&in->counters->drop_in_ah, 1);
        return;
    }
    if (!is_fresh(in, sa, view.sequence, &number))
        return;
    uint8_t *covered = in->ah[in->count], *head = from->data + view.outer_len;
    uint32_t around = view.outer_len + (uint32_t)view.head_len;
    in->ops[in->count] = (struct aead_op){.aead = sa->aead_in,
                                          .aad = covered,
                                          .aad_len = ah_covered(from->data, &view, sa, covered),
                                          .iv = head + AH_HEADER,
                                          .text = from->data + around,
                                          .text_len = from->len - around,
                                          .icv = head + AH_HEADER + sa->iv_len,
                                          .has_esn_high = sa->esn,
                                          .esn_high = (uint32_t)(number >> 32)};
    add_to_batch(in, sa, from, number);
}

/* The same for ESP. */
ALWAYS_INLINE void take(struct esp_in *in, uint8_t *packet, uint32_t len,
                        const struct esp_datagrams *from)
{
    uint32_t head[2];
    if (len < ESP_HEADER) {
        bool keepalive = len == 1 && packet[0] == NAT_KEEPALIVE;
        note(keepalive ? &in->counters->in_keepalive : &in->counters->drop_in_short, 1);
        return;
    }
    memcpy(head, packet, sizeof(head));
    struct sa *sa = find_sa(in, ntohl(head[0]), from);
    if (!sa) {
        wait_for_sa(in, ntohl(head[0]), packet, len, from);
        return;
    }
    uint32_t around = ESP_HEADER + (uint32_t)sa->iv_len + sa->icv_len;
    if (len < around + TRAILER || (!sa->aead && (len - around) % sa->align != 0)) {
        note(&in->counters->drop_in_short, 1);
        return;
    }
    uint64_t number;
    if (!is_fresh(in, sa, ntohl(head[1]), &number))
        return;
    struct aead_op *op = &in->ops[in->count];
    uint8_t *text = packet + ESP_HEADER + sa->iv_len;
    *op = (struct aead_op){.aead = sa->aead_in,
                           .aad = packet,
                           .aad_len = ESP_HEADER,
                           .iv = packet + ESP_HEADER,
                           .text = text,
                           .text_len = len - around,
                           .icv = text + len - around};
    if (sa->esn && sa->aead) {
        uint32_t aad[3] = {head[0], htonl((uint32_t)(number >> 32)), head[1]};
        op->aad = memcpy(in->aad[in->count], aad, sizeof(aad));
        op->aad_len = sizeof(aad);
    } else if (sa->esn) {
        op->has_esn_high = true;
        op->esn_high = (uint32_t)(number >> 32);
    }
    add_to_batch(in, sa, from, number);
}

/* ---- after the cipher ----------------------------------------------------------------------- */

/* Does this come from where the SA's peer is thought to be? */
static bool from_peer(const struct sa_path *path, const struct esp_datagrams *from)
{
    const struct sockaddr_storage *a = path->to, *b = from->from;
    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *x = (const void *)a, *y = (const void *)b;
        return x->sin_addr.s_addr == y->sin_addr.s_addr &&
               (!from->udp || x->sin_port == y->sin_port);
    }
    const struct sockaddr_in6 *x = (const void *)a, *y = (const void *)b;
    return memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0 &&
           (!from->udp || x->sin6_port == y->sin6_port);
}

/* The SA's packet is authentic and new: the facts that follow from that alone. */
static void heard(struct esp_in *in, const struct arrival *arrival)
{
    struct sa *sa = arrival->sa;
    if (in->heard.sa == sa && in->heard.from == arrival->from)
        return; /* nothing new */
    uint32_t flags = atomic_load_explicit(&sa->flags, memory_order_relaxed);
    put(&sa->last_in, in->now);
    if (flags & SA_OUT_WAITS)
        atomic_fetch_and_explicit(&sa->flags, ~(uint32_t)SA_OUT_WAITS, memory_order_relaxed);
    sa_raise(sa, SA_SAY_HEARD);
    const struct sa_path *path = atomic_load_explicit(&sa->path, memory_order_acquire);
    bool here = from_peer(path, arrival->from);
    if (here)
        in->heard = *arrival;
    if (here || arrival->number != sa->replay.top)
        return;
    struct esp_fact fact = {.kind = ESP_FACT_HEARD, .spi_in = sa->spi_in, .tunnel = sa->tunnel};
    if (endpoint_from_sockaddr(arrival->from->from, &fact.remote))
        letter_post(&in->side->moved, &fact);
}

/* The trailer: next header, and padding 1, 2, 3, ... (RFC 4303 section 2.4). False: counted. */
static bool read_trailer(struct esp_in *in, const struct aead_op *op, uint8_t *next, uint32_t *len)
{
    const uint8_t *end = op->text + op->text_len;
    uint32_t padding = end[-2];
    bool good = padding + TRAILER <= op->text_len;
    for (uint32_t i = 1; good && i <= padding; i++)
        good = end[-2 - (int)i] == (uint8_t)(padding + 1 - i);
    *next = end[-1];
    *len = op->text_len - TRAILER - padding;
    if (!good)
        note(&in->counters->drop_in_padding, 1);
    return good;
}

/* AH has no trailer; the next header stands at its head. */
static bool read_ah(const struct aead_op *op, uint8_t *next, uint32_t *len)
{
    *next = op->iv[-AH_HEADER];
    *len = op->text_len;
    return true;
}

/* The peer's policy is not ours: it should know (RFC 4301 section 5.2, RFC 7296 1.4). */
static void strayed(struct esp_in *in, const struct sa *sa, const struct inner *inner)
{
    struct esp_fact fact = {.kind = ESP_FACT_STRAYED, .spi_in = sa->spi_in, .tunnel = sa->tunnel};
    if (atomic_load_explicit(&in->side->strayed.full, memory_order_relaxed))
        return;
    fact.stray_len = (uint8_t)(inner->len < ESP_STRAY_MAX ? inner->len : ESP_STRAY_MAX);
    memcpy(fact.stray, inner->packet, fact.stray_len);
    letter_post(&in->side->strayed, &fact);
}

/* Inner addresses must be what the SA was made for (RFC 4301 section 5.2 step 4). */
static bool belongs(struct esp_in *in, struct sa *sa, const struct inner *inner)
{
    if (in->fit_sa == sa && inner_same_flow(&in->fit, inner))
        return true;
    if (!selectors_match(sa->remote_ts, sa->remote_count, inner->family, inner_source(inner), inner,
                         inner->source_port)) {
        note(&in->counters->drop_in_source, 1);
        note(&sa->drop_source, 1);
        strayed(in, sa, inner);
        return false;
    }
    if (!selectors_match(sa->local_ts, sa->local_count, inner->family, inner_destination(inner),
                         inner, inner->destination_port)) {
        note(&in->counters->drop_in_destination, 1);
        strayed(in, sa, inner);
        return false;
    }
    in->fit_sa = sa;
    in->fit = *inner;
    return true;
}

/* Transport mode: gets its IP header back, and must then be a plain packet. False: counted. */
static bool restore(struct esp_in *in, const struct arrival *arrival, const uint8_t *payload,
                    uint32_t len, uint8_t next, struct inner *inner)
{
    if (!transport_has_room(&in->room, len)) {
        join_flush(&in->joiner);
        in->room.used = 0;
        in->fit_sa = NULL; /* its packet was there */
    }
    uint8_t *packet =
        transport_restore(&in->room, arrival->sa, arrival->from->tos, payload, &len, next);
    if (!packet || !inner_parse(packet, len, inner)) {
        note(&in->counters->drop_in_malformed, 1);
        return false;
    }
    if (!inner->plain)
        note(&in->counters->drop_in_next_header, 1);
    return inner->plain;
}

/* The packet inside, as it is to be delivered. False: counted. */
static bool read_inner(struct esp_in *in, const struct arrival *arrival, uint8_t *packet,
                       uint32_t len, uint8_t next, struct inner *inner)
{
    if (arrival->sa->transport)
        return restore(in, arrival, packet, len, next, inner);
    if (next != PROTO_IPIP && next != PROTO_IPV6) {
        note(&in->counters->drop_in_next_header, 1);
        return false;
    }
    if (!inner_parse(packet, len, inner) || inner->family != (next == PROTO_IPIP ? 4 : 6)) {
        note(&in->counters->drop_in_malformed, 1);
        return false;
    }
    return true;
}

static void deliver_inner(struct esp_in *in, const struct arrival *arrival, uint8_t *packet,
                          uint32_t len, uint8_t next)
{
    struct sa *sa = arrival->sa;
    struct inner inner;
    if (next == PROTO_NONE) {
        note(&in->counters->drop_in_dummy, 1);
        return;
    }
    if (!read_inner(in, arrival, packet, len, next, &inner) || !belongs(in, sa, &inner))
        return;
    if (!inner_take_ecn(&inner, arrival->from->tos)) {
        note(&in->counters->drop_in_ecn, 1);
        return;
    }
    inner_clamp_mss(&inner, atomic_load_explicit(&sa->out_mtu, memory_order_relaxed));
    note(&sa->in_packets, 1);
    note(&sa->in_bytes, inner.len);
    join_packet(&in->joiner, &inner);
}

static void accept_one(struct esp_in *in, const struct aead_op *op, const struct arrival *arrival)
{
    struct sa *sa = arrival->sa;
    uint8_t next;
    uint32_t len;
    if (!op->ok) {
        note(&in->counters->drop_in_integrity, 1);
        note(&sa->drop_integrity, 1);
        return;
    }
    if (!replay_mark(&sa->replay, arrival->number)) {
        note(&in->counters->drop_in_replay, 1);
        note(&sa->drop_replay, 1);
        return;
    }
    heard(in, arrival);
    if (sa->ah ? read_ah(op, &next, &len) : read_trailer(in, op, &next, &len))
        deliver_inner(in, arrival, op->text, len, next); /* one caller: no call */
    sa_check_volume(in->plane, sa, sa->in_packets, sa->in_bytes);
}

static void open_batch(struct esp_in *in)
{
    if (in->count == 0)
        return;
    aead_open(in->engine, in->ops, in->count);
    for (size_t i = 0; i < in->count; i++)
        accept_one(in, &in->ops[i], &in->arrivals[i]);
    in->count = 0;
}

void esp_in_lost(struct esp_in *in, uint32_t datagrams)
{
    note(&in->counters->drop_in_full, datagrams);
}

static void begin(struct esp_in *in, time_us now)
{
    in->now = now;
    in->last = NULL;
    in->heard.sa = NULL;
    in->fit_sa = NULL;
}

/* Of many datagrams, or of one that was kept. */
static void take_all(struct esp_in *in, const struct esp_datagrams *datagrams, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct esp_datagrams *d = &datagrams[i];
        uint32_t stride = d->stride == 0 ? d->len : d->stride;
        if (d->ah) {
            take_ah(in, d);
            continue;
        }
        for (uint32_t at = 0; at < d->len; at += stride)
            take(in, d->data + at, d->len - at < stride ? d->len - at : stride, d);
    }
}

/* The datagrams are not looked at after this. */
static void finish(struct esp_in *in)
{
    open_batch(in);
    join_flush(&in->joiner);
    in->room.used = 0;
}

static void take_early(struct esp_in *in, time_us now)
{
    struct esp_datagrams *d;
    uint32_t cursor = 0;
    begin(in, now);
    while ((d = early_next(in->early, in->plane, &cursor))) {
        note(&in->counters->in_early, 1);
        take_all(in, d, 1);
    }
    finish(in);
    early_done(in->early, now);
}

bool esp_in_early(struct esp_in *in, time_us (*clock)(void), int *pause)
{
    if (!early_any(in->early))
        return false;
    time_us now = clock();
    if (early_news(in->early, in->plane))
        take_early(in, now);
    else
        early_done(in->early, now);
    *pause = early_pause(in->early, now);
    return early_any(in->early);
}

void esp_in_receive(struct esp_in *in, struct esp_datagrams *datagrams, size_t count, time_us now)
{
    if (early_any(in->early) && early_news(in->early, in->plane))
        take_early(in, now);
    begin(in, now);
    take_all(in, datagrams, count);
    finish(in);
}
