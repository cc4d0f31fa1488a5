#include <string.h>

#include "ike/internal.h"

/* NAT detection, the move to port 4500, keepalives (RFC 7296 2.23, RFC 3948 4). MOBIKE belongs
 * here. */

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
    return e->conf->encap == CONF_ENCAP_UDP || (e->conf->initiator && path->port == IKE_PORT_NATT);
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
void path_detect(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    (void)e;
    uint8_t theirs[20], ours[20];
    bool source_seen = false, source_equal = false, destination_equal = true;
    detection_hash(in->header.spi_i, in->header.spi_r, &in->path.remote, theirs);
    detection_hash(in->header.spi_i, in->header.spi_r, &in->path.local, ours);
    for (size_t i = 0; i < in->outer->count; i++) {
        struct wire_notify_view n;
        if (in->outer->at[i].type != PAYLOAD_NOTIFY ||
            wire_notify_read(in->outer->at[i].body, &n) < 0 || n.data.len != sizeof(theirs))
            continue;
        if (n.type == NOTIFY_NAT_DETECTION_SOURCE_IP) {
            source_seen = true;
            source_equal |= memcmp(n.data.at, theirs, sizeof(theirs)) == 0;
        } else if (n.type == NOTIFY_NAT_DETECTION_DESTINATION_IP) {
            destination_equal = memcmp(n.data.at, ours, sizeof(ours)) == 0;
        }
    }
    sa->nat_peer_aware = source_seen;
    sa->nat_remote = source_seen && !source_equal;
    sa->nat_local = source_seen && !destination_equal;
}

static bool wants_udp(const struct ike_engine *e, const struct sa *sa)
{
    return sa->nat_peer_aware && (sa->nat_local || sa->nat_remote || forces_udp(e, &sa->path));
}

void path_float(struct ike_engine *e, struct sa *sa)
{
    sa->udp = wants_udp(e, sa);
    if (!sa->udp || sa->path.port != IKE_PORT_500)
        return;
    sa->path.port = IKE_PORT_NATT;
    sa->path.remote.port = NAT_PORT;
    if (sa->path.local.port == IKE_PORT)
        sa->path.local.port = NAT_PORT;
}

/* IKE_AUTH shows where the peer has moved to. ESP goes in UDP only where IKE does. */
void path_settle(struct ike_engine *e, struct sa *sa, const struct ike_path *path)
{
    sa->path = *path;
    sa->udp = path->port == IKE_PORT_NATT && wants_udp(e, sa);
}

/* The peer behind NAT may come from another port after the NAT forgot it: follow, when we are not
 * behind one ourselves (RFC 7296 2.23). Only new authentic messages get here. */
void path_heard(struct ike_engine *e, struct sa *sa, const struct ike_path *path)
{
    bool moved = !endpoint_equal(&sa->path.remote, &path->remote);
    if (!moved || !sa->nat_remote || sa->nat_local || sa->path.port != path->port ||
        sa->state < IKE_STATE_ESTABLISHED)
        return;
    sa->path.remote = path->remote;
    if (sa->tunnel && sa->tunnel->sa == sa)
        queue_move(e, sa);
}

bool path_bars_ah(const struct ike_engine *e, const struct sa *sa)
{
    return child_protocol(e) == PROTOCOL_AH && (sa->nat_local || sa->nat_remote);
}

time_us path_keepalive_at(const struct ike_engine *e, const struct sa *sa)
{
    if (!sa->nat_local || sa->path.port != IKE_PORT_NATT || e->conf->keepalive == 0)
        return TIME_NEVER;
    return sa->last_sent + e->conf->keepalive * TIME_SECOND;
}

void path_keepalive(struct ike_engine *e, struct sa *sa)
{
    static const uint8_t keepalive[] = {0xff};
    struct message *m = message_create(e, (struct bytes){keepalive, sizeof(keepalive)});
    sa->last_sent = e->now;
    if (!m)
        return;
    queue_send(e, &sa->path, m);
    message_drop(e, &m);
}
