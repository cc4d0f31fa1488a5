#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

/* The payloads of MOBIKE (RFC 4555), and what a gateway does with them. The initiator of RFC 4555
 * is who began the tunnel (tunnel->initiator), whoever rekeyed the IKE SA since.
 *
 * A gateway believes an UPDATE_SA_ADDRESSES about where to send IKE at once, because the answer has
 * to go there anyway; but traffic moves only when the new place has answered a COOKIE2 (3.7): else
 * somebody on the way could rewrite a source and have a stranger flooded. To an address that the
 * peer has never answered from, traffic so comes back after two round trips and not earlier.
 *
 * After one round trip it comes back where the same address has answered within an hour: traffic
 * moves with the update, and goes back when the COOKIE2 that follows stays without an answer for
 * three seconds. A client asks by all its paths once, so that they have answered before they are
 * needed: a request from a place that is not the peer's is answered there, and followed by a
 * COOKIE2 that moves nothing. */

enum { CHECKS_MAX = 4, COOKIE2_LEAST = 8, COOKIE2_MOST = 64 };
#define ROUTABLE_LIFE (3600 * TIME_SECOND)

struct roam *roam_of(struct tunnel *t)
{
    if (!t->roam)
        t->roam = calloc(1, sizeof(*t->roam));
    return t->roam;
}

/* ---- both */

/* An address that only a private network knows is no news to somebody who came from outside. */
static bool is_private(const struct ip *ip)
{
    const uint8_t *o = ip->octets;
    if (ip->family == 6)
        return (o[0] & 0xfe) == 0xfc;
    return o[0] == 10 || (o[0] == 172 && (o[1] & 0xf0) == 16) || (o[0] == 192 && o[1] == 168) ||
           (o[0] == 100 && (o[1] & 0xc0) == 64);
}

/* Our further addresses, or that there are none (RFC 4555 3.4, 3.6). */
static void put_addresses(const struct ike_engine *e, const struct sa *sa, struct wire_builder *b)
{
    const struct ike_addresses *own = &e->addresses;
    bool any = false;
    for (size_t i = 0; i < own->local_count; i++) {
        const struct ip *ip = &own->local[i].at.ip;
        if (ip_equal(ip, &sa->path.local.ip) || (is_private(ip) && !is_private(&sa->path.local.ip)))
            continue;
        any = true;
        wire_put_notify(
            b, ip->family == 6 ? NOTIFY_ADDITIONAL_IP6_ADDRESS : NOTIFY_ADDITIONAL_IP4_ADDRESS,
            (struct bytes){ip->octets, ip_len(ip)});
    }
    if (!any)
        wire_put_notify(b, NOTIFY_NO_ADDITIONAL_ADDRESSES, (struct bytes){0});
}

/* The list of a message takes the place of the one before. False: it has none. */
static bool read_addresses(struct tunnel *t, const struct wire_chain *chain)
{
    struct ip found[ROAM_PEERS];
    uint8_t count = 0;
    bool told = false;
    for (size_t i = 0; i < chain->count; i++) {
        struct wire_notify_view n;
        if (chain->at[i].type != PAYLOAD_NOTIFY || wire_notify_read(chain->at[i].body, &n) < 0)
            continue;
        bool is4 = n.type == NOTIFY_ADDITIONAL_IP4_ADDRESS && n.data.len == 4;
        bool is6 = n.type == NOTIFY_ADDITIONAL_IP6_ADDRESS && n.data.len == 16;
        told |= is4 || is6 || n.type == NOTIFY_NO_ADDITIONAL_ADDRESSES;
        if ((is4 || is6) && count < ROAM_PEERS)
            found[count++] = ip_from_octets(is4 ? 4 : 6, n.data.at);
    }
    if (!told || (count == 0 && !t->roam) || !roam_of(t))
        return false;
    memcpy(t->roam->peer, found, count * sizeof(*found));
    t->roam->peer_count = count;
    return true;
}

void mobike_put_support(struct ike_engine *e, const struct sa *sa, struct wire_builder *b)
{
    if (!e->conf->roam || !sa->nat_peer_aware || sa->path.port != IKE_PORT_NATT)
        return;
    wire_put_notify(b, NOTIFY_MOBIKE_SUPPORTED, (struct bytes){0});
    put_addresses(e, sa, b);
}

void mobike_read_support(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain)
{
    struct wire_notify_view n;
    struct tunnel *t = sa->tunnel;
    t->mobike = e->conf->roam && sa->nat_peer_aware && sa->path.port == IKE_PORT_NATT &&
                wire_notify_find(chain, NOTIFY_MOBIKE_SUPPORTED, &n);
    if (t->mobike)
        (void)read_addresses(t, chain);
}

static void put_no_nats(const struct sa *sa, struct wire_builder *b)
{
    uint8_t octets[2 * 16 + 2 * 2];
    struct writer w = writer_of(octets, sizeof(octets));
    const struct ike_path *p = &sa->path;
    writer_bytes(&w, p->local.ip.octets, ip_len(&p->local.ip));
    writer_bytes(&w, p->remote.ip.octets, ip_len(&p->remote.ip));
    writer_u16(&w, p->local.port);
    writer_u16(&w, p->remote.port);
    wire_put_notify(b, NOTIFY_NO_NATS_ALLOWED, writer_view(&w));
}

/* ---- requests of ours */

static void put_cookie(struct ike_engine *e, struct roam *r, struct wire_builder *b)
{
    random_fill(e->setup.random, r->cookie, sizeof(r->cookie));
    r->checked = r->target;
    wire_put_notify(b, NOTIFY_COOKIE2, (struct bytes){r->cookie, sizeof(r->cookie)});
}

void mobike_put_request(struct ike_engine *e, struct sa *sa, const struct task *task,
                        struct wire_builder *b)
{
    struct roam *r = sa->tunnel && sa->tunnel->sa == sa ? sa->tunnel->roam : NULL;
    uint64_t spi_i = sa->initiator ? sa->spi_own : sa->spi_peer;
    uint64_t spi_r = sa->initiator ? sa->spi_peer : sa->spi_own;
    if (!sa->tunnel || !sa->tunnel->mobike)
        return; /* an empty message asks for a sign of life */
    if (task->kind == TASK_UPDATE && r) {
        r->sent_on = sa->path;
        r->strewn = false;
        wire_put_notify(b, NOTIFY_UPDATE_SA_ADDRESSES, (struct bytes){0});
        if (e->conf->refuse_nat)
            put_no_nats(sa, b);
    }
    bool asks = task->kind == TASK_LIVENESS && sa->tunnel->initiator; /* how the peer sees us */
    if (task->kind == TASK_UPDATE || asks)
        path_put_detection(e, b, spi_i, spi_r, &sa->path);
    if (task->kind == TASK_LIVENESS)
        keepalive_put_request(e, sa, b);
    if (task->kind == TASK_UPDATE || task->kind == TASK_ADDRESSES)
        put_addresses(e, sa, b);
    if (task->kind == TASK_ROUTABILITY && r)
        put_cookie(e, r, b);
}

/* ---- the gateway: return routability */

static bool is_routable(const struct ike_engine *e, const struct roam *r, const struct ip *ip)
{
    for (size_t i = 0; i < ROAM_ROUTABLE; i++)
        if (r->routable[i].at && ip_equal(&r->routable[i].ip, ip))
            return e->now - r->routable[i].at < ROUTABLE_LIFE;
    return false;
}

/* In its own place, or that of the oldest. */
static void note_routable(const struct ike_engine *e, struct roam *r, const struct ip *ip)
{
    struct routable *at = &r->routable[0];
    for (size_t i = 0; i < ROAM_ROUTABLE; i++) {
        if (r->routable[i].at && ip_equal(&r->routable[i].ip, ip)) {
            at = &r->routable[i];
            break;
        }
        if (r->routable[i].at < at->at)
            at = &r->routable[i];
    }
    *at = (struct routable){*ip, e->now ? e->now : 1};
}

static void forget_routable(struct roam *r, const struct ip *ip)
{
    for (size_t i = 0; i < ROAM_ROUTABLE; i++)
        if (ip_equal(&r->routable[i].ip, ip))
            r->routable[i].at = 0;
}

const struct ike_path *mobike_esp_path(const struct sa *sa, bool *udp)
{
    const struct roam *r = sa->tunnel && sa->tunnel->sa == sa ? sa->tunnel->roam : NULL;
    bool elsewhere = r && r->checking && !r->early;
    *udp = elsewhere ? r->safe_udp : sa->udp;
    return elsewhere ? &r->safe : &sa->path;
}

static void ask_again(struct ike_engine *e, struct sa *sa)
{
    if (task_add(e, sa, (struct task){.kind = TASK_ROUTABILITY}) < 0)
        task_first(e, sa, (struct task){.kind = TASK_ROUTABILITY});
}

bool mobike_check(struct ike_engine *e, struct sa *sa, const struct ike_path *target)
{
    struct roam *r = roam_of(sa->tunnel);
    if (!r)
        return false;
    if (r->checking && path_equal(&r->target, target))
        return r->early;
    if (!r->checking) {
        r->safe = *mobike_esp_path(sa, &r->safe_udp);
        r->checking = true;
        note_routable(e, r, &r->safe.remote.ip); /* it has been there until now */
    }
    r->probing = false;
    r->checks = 0;
    r->target = *target;
    r->early = is_routable(e, r, &target->remote.ip);
    ask_again(e, sa);
    return r->early;
}

void mobike_check_delayed(struct ike_engine *e, struct sa *sa)
{
    struct roam *r = sa->tunnel->roam;
    if (!r->checking || !r->early)
        return;
    r->early = false;
    forget_routable(r, &r->target.remote.ip);
    queue_move(e, sa);
}

/* The peer was heard there, and may want to go there. */
static void probe(struct ike_engine *e, struct sa *sa, const struct ike_path *there)
{
    bool udp;
    struct roam *r = sa->tunnel->roam;
    if (ip_equal(&mobike_esp_path(sa, &udp)->remote.ip, &there->remote.ip) ||
        (r && (r->checking || r->probing || is_routable(e, r, &there->remote.ip))))
        return;
    r = roam_of(sa->tunnel);
    if (!r)
        return;
    r->probing = true;
    r->target = *there;
    ask_again(e, sa);
}

static void check_ends(struct ike_engine *e, struct sa *sa, bool good)
{
    struct roam *r = sa->tunnel->roam;
    r->checking = r->early = false;
    sa->path = good ? r->target : r->safe;
    if (good)
        note_routable(e, r, &r->target.remote.ip);
    else
        sa->udp = r->safe_udp;
    queue_move(e, sa);
    if (good)
        queue_event(e, IKE_EVENT_MOVED, sa->tunnel, &sa->path, 0, "the peer has moved");
}

/* It has to come from where it was sent to. When it came from elsewhere, then the peer is there and
 * not where somebody made us believe. */
static void check_answered(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct roam *r = sa->tunnel->roam;
    struct wire_notify_view n;
    struct bytes cookie = {r->cookie, sizeof(r->cookie)};
    if (!wire_notify_find(in->inner, NOTIFY_COOKIE2, &n) || !bytes_equal(n.data, cookie)) {
        tunnel_close(e, sa->tunnel, ERR_AUTH, 0,
                     "the peer did not give back the cookie of an address check (RFC 4555 3.7)");
        return;
    }
    bool same = path_equal(&r->checked, &r->target);
    bool good = same && endpoint_equal(&in->path.remote, &r->target.remote);
    if (r->probing && good)
        note_routable(e, r, &r->target.remote.ip);
    r->probing = false;
    if (!r->checking)
        return;
    if (good) {
        check_ends(e, sa, true);
        return;
    }
    if (++r->checks >= CHECKS_MAX) {
        check_ends(e, sa, false);
        return;
    }
    if (same)
        r->target = in->path;
    ask_again(e, sa);
}

/* ---- the gateway: its own addresses */

static const struct ike_local *own_address(const struct ike_engine *e, const struct ip *ip)
{
    for (size_t i = 0; i < e->addresses.local_count; i++)
        if (ip_equal(&e->addresses.local[i].at.ip, ip))
            return &e->addresses.local[i];
    return NULL;
}

/* To the same place from another address. One of the other family would not do: the client's port
 * there is not known. */
static bool replace_local(const struct ike_engine *e, struct ike_path *path)
{
    for (size_t i = 0; i < e->addresses.local_count; i++) {
        const struct ike_local *own = &e->addresses.local[i];
        if (own->at.ip.family != path->remote.ip.family ||
            (is_private(&own->at.ip) && !is_private(&path->remote.ip)))
            continue;
        path->local = own->at;
        return true;
    }
    return false;
}

/* Which addresses are used is for the client to say (RFC 4555 3.5), but from one that is gone
 * nothing can be sent: what we have to say goes from another one (3.6), and traffic with it. */
void mobike_own_address_gone(struct ike_engine *e, struct sa *sa)
{
    struct roam *r = sa->tunnel->roam;
    if (e->addresses.more || own_address(e, &sa->path.local.ip) || !replace_local(e, &sa->path))
        return;
    if (r && r->checking && !own_address(e, &r->safe.local.ip))
        r->checking = replace_local(e, &r->safe);
    queue_move(e, sa);
    queue_event(e, IKE_EVENT_MOVED, sa->tunnel, &sa->path, 0, "our own address is gone");
    window_hurry(e, sa);
}

/* ---- the gateway: what a request says */

static bool nats_seen(const struct input *in, struct bytes claim)
{
    struct reader r = reader_of_bytes(claim);
    size_t len = ip_len(&in->path.remote.ip);
    if (claim.len != 2 * len + 4)
        return true;
    struct bytes source = reader_bytes(&r, len), destination = reader_bytes(&r, len);
    uint16_t source_port = reader_u16(&r), destination_port = reader_u16(&r);
    return memcmp(source.at, in->path.remote.ip.octets, len) != 0 ||
           memcmp(destination.at, in->path.local.ip.octets, len) != 0 ||
           source_port != in->path.remote.port || destination_port != in->path.local.port;
}

/* Not port 500, and not out of the tunnel itself. */
static bool is_acceptable(const struct sa *sa, const struct ike_path *path)
{
    const struct tunnel *t = sa->tunnel;
    return path->port == IKE_PORT_NATT && path->remote.port != 0 && !ip_is_any(&path->remote.ip) &&
           !ip_equal(&path->remote.ip, &t->ip4) && !ip_equal(&path->remote.ip, &t->ip6);
}

static void moved(struct ike_engine *e, struct sa *sa, const struct input *in,
                  const struct nat_view *view)
{
    bool was_udp;
    struct ike_path was = *mobike_esp_path(sa, &was_udp);
    struct roam *r = sa->tunnel->roam;
    if (!path_equal(&was, &in->path)) {
        /* before the path changes: it keeps the old one */
        bool early = mobike_check(e, sa, &in->path);
        sa->path = in->path;
        path_apply(e, sa, view);
        if (early)
            queue_move(e, sa);
        window_hurry(e, sa);
        return;
    }
    if (r && r->checking && !r->early)
        r->checking = false; /* it has never left */
    sa->path = in->path;
    path_apply(e, sa, view);
    if (sa->udp != was_udp)
        queue_move(e, sa);
}

/* The notify to answer with, or 0 (RFC 4555 3.5, 3.9). */
static uint16_t update(struct ike_engine *e, struct sa *sa, const struct input *in,
                       const struct nat_view *view)
{
    struct wire_notify_view n;
    if (wire_notify_find(in->inner, NOTIFY_NO_NATS_ALLOWED, &n) && nats_seen(in, n.data))
        return NOTIFY_UNEXPECTED_NAT_DETECTED;
    if (!is_acceptable(sa, &in->path) || !roam_of(sa->tunnel))
        return NOTIFY_UNACCEPTABLE_ADDRESSES;
    moved(e, sa, in, view);
    return 0;
}

void mobike_request(struct ike_engine *e, struct sa *sa, const struct input *in,
                    struct wire_builder *b)
{
    struct wire_notify_view n;
    struct nat_view view;
    uint16_t refusal = 0;
    path_look(in, in->inner, &view);
    if (read_addresses(sa->tunnel, in->inner) && sa->tunnel->initiator)
        roam_told(e, sa, &in->path);
    if (!sa->tunnel->initiator && wire_notify_find(in->inner, NOTIFY_UPDATE_SA_ADDRESSES, &n))
        refusal = update(e, sa, in, &view);
    else if (!sa->tunnel->initiator && is_acceptable(sa, &in->path))
        probe(e, sa, &in->path);
    if (refusal)
        wire_put_notify(b, refusal, (struct bytes){0});
    if (view.seen && !refusal)
        path_put_detection(e, b, in->header.spi_i, in->header.spi_r, &in->path);
    keepalive_request(e, sa, in, b);
    if (wire_notify_find(in->inner, NOTIFY_COOKIE2, &n) && n.data.len >= COOKIE2_LEAST &&
        n.data.len <= COOKIE2_MOST)
        wire_put_notify(b, NOTIFY_COOKIE2, n.data);
}

void mobike_response(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    switch (e->done.task.kind) {
    case TASK_ROUTABILITY:
        if (sa->tunnel->roam)
            check_answered(e, sa, in);
        break;
    case TASK_UPDATE:
        roam_updated(e, sa, in);
        break;
    case TASK_LIVENESS:
        keepalive_learn(e, sa, in);
        break;
    case TASK_TRIAL:
        roam_tried(e, sa, &in->path);
        break;
    }
}
