#include <string.h>

#include "ike/internal.h"

/* NAT detection, the move to port 4500, and peers that move without MOBIKE (RFC 7296 2.23, RFC 3948
 * 4). */

/* SHA-1(SPIi | SPIr | address | port) */
static void detection_hash(uint64_t spi_i, uint64_t spi_r, const struct endpoint *at,
                           uint8_t out[static 20])
{
    uint8_t octets[8 + 8 + 16 + 2];
    struct writer w = writer_of(octets, sizeof(octets));
    writer_u64(&w, spi_i);
    writer_u64(&w, spi_r);
    writer_bytes(&w, at->ip.octets, ip_len(&at->ip));
    writer_u16(&w, at->port);
    struct bytes all = writer_view(&w);
    hash_sha1(&all, 1, out);
}

/* A gateway on a port of its own is reached in UDP only, from the first message on. AH cannot be
 * put into UDP: whoever wants it must not look like a host behind NAT. */
static bool forces_udp(const struct ike_engine *e, const struct ike_path *path)
{
    if (child_protocol(e) == PROTOCOL_AH)
        return false;
    return e->conf->encap == CONF_ENCAP_UDP ||
           (e->conf->initiator && path->port == IKE_PORT_NATT && path->remote.port != NAT_PORT);
}

/* With UDP encapsulation wanted, our source hash is one that no sender matches (port 0): so the
 * peer takes us for a host behind NAT and encapsulates, also where there is none. */
void path_put_detection(struct ike_engine *e, struct wire_builder *b, uint64_t spi_i,
                        uint64_t spi_r, const struct ike_path *path)
{
    uint8_t hash[20];
    struct endpoint source = path->local;
    if (forces_udp(e, path))
        source.port = 0;
    detection_hash(spi_i, spi_r, &source, hash);
    wire_put_notify(b, NOTIFY_NAT_DETECTION_SOURCE_IP, (struct bytes){hash, sizeof(hash)});
    detection_hash(spi_i, spi_r, &path->remote, hash);
    wire_put_notify(b, NOTIFY_NAT_DETECTION_DESTINATION_IP, (struct bytes){hash, sizeof(hash)});
}

/* One of the peer's source hashes must match where the message came from; the peer's destination
 * hash is about our address. The peer's view is the same with the SPIs of this very message. */
void path_look(const struct input *in, const struct wire_chain *chain, struct nat_view *out)
{
    uint8_t theirs[20], ours[20];
    bool source_equal = false, destination_equal = true;
    *out = (struct nat_view){0};
    detection_hash(in->header.spi_i, in->header.spi_r, &in->path.remote, theirs);
    detection_hash(in->header.spi_i, in->header.spi_r, &in->path.local, ours);
    for (size_t i = 0; i < chain->count; i++) {
        struct wire_notify_view n;
        if (chain->at[i].type != PAYLOAD_NOTIFY || wire_notify_read(chain->at[i].body, &n) < 0 ||
            n.data.len != sizeof(theirs))
            continue;
        if (n.type == NOTIFY_NAT_DETECTION_SOURCE_IP) {
            out->seen = true;
            source_equal |= memcmp(n.data.at, theirs, sizeof(theirs)) == 0;
        } else if (n.type == NOTIFY_NAT_DETECTION_DESTINATION_IP) {
            destination_equal = memcmp(n.data.at, ours, sizeof(ours)) == 0;
            memcpy(out->destination, n.data.at, sizeof(out->destination));
        }
    }
    out->remote = out->seen && !source_equal;
    out->local = out->seen && !destination_equal;
}

static bool wants_udp(const struct sa *sa)
{
    return sa->nat_peer_aware && (sa->nat_local || sa->nat_remote || sa->feigns_nat);
}

void path_detect(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct nat_view view;
    path_look(in, in->outer, &view);
    sa->feigns_nat = forces_udp(e, &sa->path);
    sa->nat_peer_aware = view.seen;
    sa->nat_remote = view.remote;
    sa->nat_local = view.local;
}

void path_apply(struct ike_engine *e, struct sa *sa, const struct nat_view *view)
{
    if (!view->seen)
        return;
    sa->nat_remote = view->remote;
    sa->nat_local = view->local;
    sa->feigns_nat = forces_udp(e, &sa->path);
    sa->udp = sa->path.port == IKE_PORT_NATT && wants_udp(sa);
}

bool path_equal(const struct ike_path *a, const struct ike_path *b)
{
    return a->port == b->port && ip_equal(&a->local.ip, &b->local.ip) &&
           endpoint_equal(&a->remote, &b->remote) &&
           (a->interface == b->interface || a->interface == 0 || b->interface == 0);
}

/* Who may have to move begins on port 4500 also where there is no NAT (RFC 4555 3.3): then there
 * may be one on the next path. */
void path_float(struct ike_engine *e, struct sa *sa)
{
    sa->udp = wants_udp(sa);
    bool float_anyway = e->conf->roam && sa->nat_peer_aware;
    if ((!sa->udp && !float_anyway) || sa->path.port != IKE_PORT_500)
        return;
    sa->path.port = IKE_PORT_NATT;
    sa->path.remote.port = NAT_PORT;
    if (sa->path.local.port == IKE_PORT)
        sa->path.local.port = NAT_PORT;
}

/* IKE_AUTH shows where the peer has moved to. ESP goes in UDP only where IKE does. */
void path_settle(struct sa *sa, const struct ike_path *path)
{
    sa->path = *path;
    sa->udp = path->port == IKE_PORT_NATT && wants_udp(sa);
}

/* The peer behind NAT may come from another port after the NAT forgot it: follow, when we are not
 * behind one ourselves (RFC 7296 2.23). */
static bool may_follow(const struct sa *sa)
{
    return sa->nat_remote && !sa->nat_local && sa->state == IKE_STATE_ESTABLISHED && sa->tunnel &&
           sa->tunnel->sa == sa;
}

bool path_bars_ah(const struct ike_engine *e, const struct sa *sa)
{
    return child_protocol(e) == PROTOCOL_AH && (sa->nat_local || sa->nat_remote);
}

/* From port 4500 to our port 500 comes no message of its own accord: somebody on the way gave us
 * IKE_AUTH at another port than the one that it was for. The next request shows the right one. */
static bool was_misled(const struct sa *sa, const struct input *in)
{
    return sa->state == IKE_STATE_ESTABLISHED && sa->path.port == IKE_PORT_500 &&
           sa->path.remote.port != IKE_PORT && in->path.port == IKE_PORT_NATT &&
           !(in->header.flags & FLAG_RESPONSE) &&
           ip_equal(&sa->path.remote.ip, &in->path.remote.ip);
}

/* Only new authentic messages get here. With MOBIKE a message moves nothing unless it says so (RFC
 * 4555 3.8). */
void path_heard(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    if (sa->tunnel && sa->tunnel->initiator && sa->tunnel->sa == sa) {
        if (in->header.flags & FLAG_RESPONSE)
            roam_answered(e, sa, &in->path);
        roam_heard(e, sa, &in->path);
        return;
    }
    if (sa->tunnel && sa->tunnel->sa == sa && was_misled(sa, in)) {
        path_settle(sa, &in->path);
        queue_move(e, sa);
        return;
    }
    if (!may_follow(sa) || sa->tunnel->mobike || sa->path.port != in->path.port ||
        endpoint_equal(&sa->path.remote, &in->path.remote))
        return;
    bool elsewhere = !ip_equal(&sa->path.remote.ip, &in->path.remote.ip);
    sa->path.remote = in->path.remote;
    queue_move(e, sa);
    if (elsewhere)
        hosts_moved(e, sa);
}

/* The data plane tells of the highest sequence number only, so nobody moves a peer by repeating
 * what it once sent. With MOBIKE the new place is asked first. */
void path_esp_heard(struct ike_engine *e, struct sa *sa, const struct endpoint *remote)
{
    bool udp;
    const struct ike_path *now = mobike_esp_path(sa, &udp);
    if (!may_follow(sa) || !udp || now->remote.ip.family != remote->ip.family ||
        endpoint_equal(&now->remote, remote))
        return;
    struct ike_path there = *now;
    there.remote = *remote;
    if (sa->tunnel->mobike) {
        if (mobike_check(e, sa, &there)) {
            sa->path = there;
            queue_move(e, sa);
        }
        task_run(e, sa);
        return;
    }
    bool elsewhere = !ip_equal(&now->remote.ip, &remote->ip);
    sa->path = there;
    queue_move(e, sa);
    if (elsewhere)
        hosts_moved(e, sa);
    task_run(e, sa);
}
