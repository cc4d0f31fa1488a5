#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

/* A peer that lost its state (RFC 6290), both roles.
 *
 * Maker: in IKE_AUTH, and anew at each IKE rekey, the peer gets a token that only our secret and
 * the SPIs of the SA give. A request that is protected with SPIs we do not know is answered,
 * without any state, by INVALID_IKE_SPI and the token of these SPIs: only who lost the SA says
 * that. The token of an SA that stands must never leave us in the clear, whichever way its SPIs are
 * written.
 *
 * Taker: the token ends the SA at once. All else that is not protected is a hint at most: then we
 * ask the peer whether it lives, unless it was just heard. */

enum {
    TOKEN_LEN = 32, /* of ours */
    TOKEN_MIN = 16,
    TOKEN_MAX = 128,
    ANSWERS_A_SECOND = 1000,
    DOUBTS_A_SECOND = 100,
    SAS_LOOKED_AT = 64, /* for an outbound SPI that somebody tells us of */
};

/* ---- maker */

static int make_token(const struct ike_engine *e, uint64_t spi_i, uint64_t spi_r,
                      uint8_t out[static TOKEN_LEN])
{
    enum { HMAC_SHA256 = 5 };
    uint8_t spis[16];
    struct writer w = writer_of(spis, sizeof(spis));
    writer_u64(&w, spi_i);
    writer_u64(&w, spi_r);
    const struct bytes part = writer_view(&w);
    struct bytes key = {e->setup.crash_secret, sizeof(e->setup.crash_secret)};
    return prf(suite_prf(HMAC_SHA256), key, &part, 1, out);
}

static void put(const struct ike_engine *e, uint64_t spi_i, uint64_t spi_r, struct wire_builder *b)
{
    uint8_t token[TOKEN_LEN];
    if (make_token(e, spi_i, spi_r, token) == 0)
        wire_put_notify_spi(b, PROTOCOL_IKE, (struct bytes){0}, NOTIFY_QUICK_CRASH_DETECTION,
                            (struct bytes){token, sizeof(token)});
    secret_wipe(token, sizeof(token));
}

void crash_put_token(const struct ike_engine *e, const struct sa *sa, struct wire_builder *b)
{
    if (e->setup.has_crash_secret)
        put(e, sa->initiator ? sa->spi_own : sa->spi_peer,
            sa->initiator ? sa->spi_peer : sa->spi_own, b);
}

/* Who begins a rekey does not know the SPIs in time to send its token along (RFC 6290 4.3). */
void crash_send_token(struct ike_engine *e, struct sa *sa)
{
    if (e->setup.has_crash_secret && sa->tunnel && sa->tunnel->sa == sa &&
        task_add(e, sa, (struct task){.kind = TASK_TOKEN}) < 0)
        e->counters.drop_memory++;
}

static bool is_protected(const struct wire_chain *chain)
{
    uint8_t last = chain->count ? chain->at[chain->count - 1].type : PAYLOAD_NONE;
    return last == PAYLOAD_SK || last == PAYLOAD_SKF;
}

/* The flags are the sender's: both SPIs could be one of ours. */
static bool is_strange(const struct ike_engine *e, const struct wire_header *h)
{
    return h->spi_i != 0 && h->spi_r != 0 && !map_get(&e->sas, h->spi_i) &&
           !map_get(&e->sas, h->spi_r);
}

static void send_plain(struct ike_engine *e, const struct ike_path *path, struct wire_builder *b)
{
    struct message *m = message_create(e, wire_finish(b));
    if (!m)
        return;
    queue_send(e, path, m);
    message_drop(e, &m);
}

void crash_unknown_sa(struct ike_engine *e, const struct input *in)
{
    const struct wire_header *h = &in->header;
    uint8_t buffer[WIRE_HEADER_LEN + 64];
    struct wire_builder b;
    if (!e->setup.has_crash_secret || h->flags & FLAG_RESPONSE || !is_protected(in->outer) ||
        !is_strange(e, h) || !budget_allows(&e->crash_answers, e->now, ANSWERS_A_SECOND))
        return;
    struct wire_header answer = {.spi_i = h->spi_i,
                                 .spi_r = h->spi_r,
                                 .version = 0x20,
                                 .exchange = h->exchange,
                                 .flags = (uint8_t)(FLAG_RESPONSE | (~h->flags & FLAG_INITIATOR)),
                                 .message_id = h->message_id};
    wire_begin(&b, buffer, sizeof(buffer), &answer);
    wire_put_notify(&b, NOTIFY_INVALID_IKE_SPI, (struct bytes){0});
    put(e, h->spi_i, h->spi_r, &b);
    send_plain(e, &in->path, &b);
    e->counters.crash_told++;
}

/* ESP with an SPI that we do not know: without an IKE SA to say it in, it is said in the clear,
 * and header SPIs of zero mean none (RFC 7296 1.5). */
void crash_unknown_spi(struct ike_engine *e, const struct ike_fact *fact)
{
    uint8_t buffer[WIRE_HEADER_LEN + 32], spi[4];
    struct writer w = writer_of(spi, sizeof(spi));
    struct wire_builder b;
    struct ike_path path = {.remote = fact->remote, .port = IKE_PORT_NATT};
    if (!budget_allows(&e->crash_answers, e->now, ANSWERS_A_SECOND))
        return;
    path.local.ip.family = fact->remote.ip.family;
    path.local.port = NAT_PORT;
    if (path.remote.port == 0) { /* plain ESP */
        path.port = IKE_PORT_500;
        path.local.port = path.remote.port = IKE_PORT;
    }
    struct wire_header h = {
        .version = 0x20, .exchange = EXCHANGE_INFORMATIONAL, .flags = FLAG_INITIATOR};
    writer_u32(&w, fact->spi_in);
    wire_begin(&b, buffer, sizeof(buffer), &h);
    wire_put_notify(&b, NOTIFY_INVALID_SPI, writer_view(&w));
    send_plain(e, &path, &b);
    e->counters.crash_told++;
}

/* ---- taker */

void crash_token_free(struct sa *sa)
{
    if (sa->token)
        secret_wipe(sa->token->octets, sa->token->len);
    free(sa->token);
    sa->token = NULL;
}

void crash_read_token(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain)
{
    struct wire_notify_view n;
    if (!wire_notify_find(chain, NOTIFY_QUICK_CRASH_DETECTION, &n) || n.data.len < TOKEN_MIN ||
        n.data.len > TOKEN_MAX)
        return;
    struct crash_token *token = malloc(sizeof(*token) + n.data.len);
    if (!token) {
        e->counters.drop_memory++;
        return;
    }
    token->len = (uint8_t)n.data.len;
    memcpy(token->octets, n.data.at, n.data.len);
    crash_token_free(sa);
    sa->token = token;
}

/* Somebody says that the peer knows us no more. It is asked, when it was silent for a while. */
static void doubt(struct ike_engine *e, struct sa *sa)
{
    if (e->now - sa->last_heard < TIME_SECOND ||
        !budget_allows(&e->crash_doubts, e->now, DOUBTS_A_SECOND))
        return;
    window_urge(e, sa);
    check_liveness(e, sa);
}

static bool proves_crash(const struct sa *sa, const struct wire_chain *chain)
{
    const struct crash_token *token = sa->token;
    for (size_t i = 0; token && i < chain->count; i++) {
        struct wire_notify_view n;
        if (chain->at[i].type == PAYLOAD_NOTIFY && wire_notify_read(chain->at[i].body, &n) == 0 &&
            n.type == NOTIFY_QUICK_CRASH_DETECTION && n.data.len == token->len &&
            secret_equal(n.data.at, token->octets, token->len))
            return true;
    }
    return false;
}

void crash_heard(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct wire_notify_view n;
    bool stands = sa->state >= IKE_STATE_ESTABLISHED && !sa->lingering;
    if (!stands || !proves_crash(sa, in->outer)) {
        e->counters.drop_integrity++;
        if (stands && wire_notify_find(in->outer, NOTIFY_INVALID_IKE_SPI, &n))
            doubt(e, sa);
        return;
    }
    e->counters.crash_heard++;
    if (sa->tunnel && sa->tunnel->sa == sa)
        tunnel_end(e, sa->tunnel, IKE_EVENT_DOWN, ERR_PEER, NOTIFY_INVALID_IKE_SPI,
                   "the peer was restarted and knows this connection no more");
    rekey_drop_rival(e, sa);
    sa_bury(e, sa);
}

static bool sends_to(const struct sa *sa, const struct ip *from, uint32_t spi_out)
{
    if (sa->state != IKE_STATE_ESTABLISHED || !ip_equal(&sa->path.remote.ip, from))
        return false;
    for (const struct child *c = sa->children; c; c = c->next)
        if (c->spi_out == spi_out && c->state != CHILD_CREATING)
            return true;
    return false;
}

/* A gateway with many SAs does not look for it: a stranger could make it look all day, and a
 * client that lost its state comes again by itself. */
bool crash_heard_spi(struct ike_engine *e, const struct input *in)
{
    const struct wire_header *h = &in->header;
    struct wire_notify_view n;
    if (h->exchange != EXCHANGE_INFORMATIONAL || h->spi_r != 0 || h->flags & FLAG_RESPONSE ||
        !wire_notify_find(in->outer, NOTIFY_INVALID_SPI, &n))
        return false;
    struct reader r = reader_of_bytes(n.data);
    uint32_t spi = reader_u32(&r);
    size_t cursor = 0;
    struct sa *sa;
    if (!reader_done(&r) || e->sas.used > SAS_LOOKED_AT)
        return true;
    while ((sa = map_next(&e->sas, &cursor)))
        if (sends_to(sa, &in->path.remote.ip, spi)) {
            doubt(e, sa);
            break;
        }
    return true;
}
