#include <string.h>

#include "ike/internal.h"

/* A client whose addresses change (RFC 4555 3.5, 3.10).
 *
 * Our address is gone: traffic and IKE go over the best other path at once, with an
 * UPDATE_SA_ADDRESSES; while no answer comes, the request goes over all other paths too, a fraction
 * of a second after each other, and the first answer decides. The responder takes the path that it
 * saw first; when that is not the one we settle on, the update that follows corrects it, so the
 * order of arrival does not matter.
 *
 * A better address has come while ours still works: the new path is tried first (an ordinary
 * message moves nothing), and only what has answered is moved to.
 *
 * Requests that stay unanswered go over all paths, too: the interface may look well and lead
 * nowhere. Without any address we wait, and nothing is given up.
 *
 * Without MOBIKE: a gateway that takes us for a host behind NAT may follow our packets (RFC 7296
 * 2.23): it is asked for some seconds. Else the tunnel ends, so that it can be made anew. */

#define STAGGER     (200 * TIME_MILLISECOND)
#define ROUND_FIRST (TIME_SECOND / 2)
#define ROUND_CAP   (5 * TIME_SECOND)
#define UNSURE      (5 * TIME_SECOND)
#define DOUBT       (3 * TIME_SECOND)
#define STALE       (2 * TIME_SECOND)
#define FOLLOW      (5 * TIME_SECOND)
#define TRIAL_FIRST (10 * TIME_SECOND)
#define TRIAL_CAP   (600 * TIME_SECOND)
enum { TUNNELS_OF_CLIENT = 4, SEARCH_AFTER = 2, TRIAL_TRIES = 3, ELSEWHERE_AFTER = 3, UNHEARD = 3 };

static struct roam *client(const struct sa *sa)
{
    const struct tunnel *t = sa->tunnel;
    return t && t->sa == sa && t->initiator ? t->roam : NULL;
}

/* ---- the paths there are */

static bool add_once(struct ip *list, size_t *count, const struct ip *ip, uint8_t family)
{
    if (ip->family != family || *count >= IKE_REMOTES + ROAM_PEERS + 1)
        return false;
    for (size_t i = 0; i < *count; i++)
        if (ip_equal(&list[i], ip))
            return false;
    list[(*count)++] = *ip;
    return true;
}

/* The gateway's addresses of a family: the present one, its name's, what it told. */
static size_t remotes(const struct ike_engine *e, const struct sa *sa, uint8_t family,
                      struct ip out[static IKE_REMOTES + ROAM_PEERS + 1])
{
    const struct roam *r = sa->tunnel->roam;
    size_t count = 0;
    add_once(out, &count, &sa->path.remote.ip, family);
    for (size_t i = 0; i < e->addresses.remote_count; i++)
        add_once(out, &count, &e->addresses.remote[i], family);
    for (size_t i = 0; r && sa->tunnel->mobike && i < r->peer_count; i++)
        add_once(out, &count, &r->peer[i], family);
    return count;
}

/* All locals with their first remote, then with their second, and so on. */
static size_t paths(const struct ike_engine *e, const struct sa *sa,
                    struct ike_path out[static ROAM_PATHS])
{
    struct ip to[IKE_REMOTES + ROAM_PEERS + 1];
    size_t count = 0;
    for (size_t turn = 0; turn < ARRAY_LEN(to); turn++) {
        for (size_t i = 0; i < e->addresses.local_count && count < ROAM_PATHS; i++) {
            const struct ike_local *own = &e->addresses.local[i];
            if (turn >= remotes(e, sa, own->at.ip.family, to))
                continue;
            out[count++] = (struct ike_path){.local = own->at,
                                             .remote = {to[turn], sa->path.remote.port},
                                             .interface = own->interface,
                                             .port = sa->path.port};
        }
    }
    return count;
}

static const struct ike_local *own_of(const struct ike_engine *e, const struct ike_path *path)
{
    for (size_t i = 0; i < e->addresses.local_count; i++) {
        const struct ike_local *own = &e->addresses.local[i];
        if (ip_equal(&own->at.ip, &path->local.ip) &&
            (path->interface == 0 || path->interface == own->interface))
            return own;
    }
    return NULL;
}

/* ---- moving */

void roam_update(struct ike_engine *e, struct sa *sa)
{
    const struct roam *r = sa->tunnel->roam;
    if (sa->out.request && sa->out.task.kind == TASK_UPDATE && path_equal(&r->sent_on, &sa->path))
        return;
    for (size_t i = 0; i < sa->task_count; i++)
        if (sa->tasks[i].kind == TASK_UPDATE)
            return;
    task_first(e, sa, (struct task){.kind = TASK_UPDATE});
}

static bool is_standby(const struct roam *r, const struct ip *ip)
{
    for (size_t i = 0; i < r->standby_count; i++)
        if (ip_equal(&r->standby[i], ip))
            return true;
    return false;
}

static void note_standby(struct roam *r, const struct ip *ip)
{
    if (r->standby_count < IKE_LOCALS && !is_standby(r, ip))
        r->standby[r->standby_count++] = *ip;
}

/* There may be a NAT on a path that we do not know yet; a gateway that cannot be told goes on as
 * before. */
static void adopt(struct ike_engine *e, struct sa *sa, const struct ike_path *path)
{
    char own[ADDR_TEXT];
    struct ip left = sa->path.local.ip;
    sa->path = *path;
    if (sa->tunnel->mobike)
        sa->udp =
            sa->nat_peer_aware && path->port == IKE_PORT_NATT && child_protocol(e) != PROTOCOL_AH;
    if (sa->tunnel->roam) {
        note_standby(sa->tunnel->roam, &left); /* the gateway has just heard us there */
        keepalive_reset(sa->tunnel->roam);
        sa->tunnel->roam->trial_again = 0;
        sa->tunnel->roam->moved = true;
    }
    queue_move(e, sa);
    queue_event(e, IKE_EVENT_MOVED, sa->tunnel, &sa->path, 0,
                explain(e, "our side goes over %s now", ip_print(&path->local.ip, own)));
    if (sa->tunnel->mobike)
        roam_update(e, sa);
}

static void search(struct ike_engine *e, struct sa *sa, const struct ike_path *best)
{
    struct roam *r = sa->tunnel->roam;
    r->searching = true;
    r->next = 0;
    adopt(e, sa, best);
    window_hurry(e, sa);
    task_run(e, sa);
}

/* The old path is gone and the gateway cannot be told. */
static void without_mobike(struct ike_engine *e, struct sa *sa, const struct ike_path *best)
{
    struct roam *r = sa->tunnel->roam;
    if (!sa->nat_local || sa->path.port != IKE_PORT_NATT) {
        tunnel_end(e, sa->tunnel, IKE_EVENT_DOWN, ERR_TIMEOUT, 0,
                   "our address changed, and the gateway cannot follow because it does not do "
                   "MOBIKE; connecting anew");
        sa_bury(e, sa);
        return;
    }
    r->unsure = true;
    r->since = e->now;
    adopt(e, sa, best);
    window_hurry(e, sa);
    if (task_add(e, sa, (struct task){.kind = TASK_LIVENESS}) == 0)
        task_run(e, sa);
}

/* One at a time; the next one follows when it is answered. */
static bool try_path(struct ike_engine *e, struct sa *sa, const struct ike_path *path)
{
    bool trying =
        (sa->out.request && sa->out.task.kind == TASK_TRIAL) || task_waits(sa, TASK_TRIAL, 0);
    if (trying || !sa->tunnel->mobike || task_add(e, sa, (struct task){.kind = TASK_TRIAL}) < 0)
        return false;
    sa->tunnel->roam->trial = *path;
    return true;
}

static void forget_standby(const struct ike_engine *e, struct roam *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->standby_count; i++) {
        struct ike_path path = {.local.ip = r->standby[i]};
        if (own_of(e, &path))
            r->standby[kept++] = r->standby[i];
    }
    r->standby_count = (uint8_t)kept;
}

/* Once over each path beside the one in use: the gateway sees that we receive there, so that
 * traffic can move at once when it must. Its NAT gets a mapping, too, and forgets it; the address
 * stays the same. */
static void try_standby(struct ike_engine *e, struct sa *sa)
{
    struct roam *r = sa->tunnel->roam;
    struct ike_path all[ROAM_PATHS];
    size_t count = paths(e, sa, all);
    for (size_t i = 0; i < count; i++) {
        const struct ip *own = &all[i].local.ip;
        if (ip_equal(own, &sa->path.local.ip) || is_standby(r, own))
            continue;
        if (try_path(e, sa, &all[i]))
            note_standby(r, own);
        return;
    }
}

/* A better path first, unless it has to wait. */
static void try_next(struct ike_engine *e, struct sa *sa)
{
    struct ike_path all[ROAM_PATHS];
    const struct ike_local *here = own_of(e, &sa->path);
    if (!here || paths(e, sa, all) == 0)
        return;
    if (e->addresses.local[0].rank >= here->rank)
        sa->tunnel->roam->trial_again = 0;
    else if (sa->tunnel->roam->trial_again == 0 && try_path(e, sa, &all[0]))
        return;
    try_standby(e, sa);
}

/* Is there a better path than the present one, and does that one still exist? */
static void reconsider(struct ike_engine *e, struct sa *sa)
{
    struct roam *r = sa->tunnel->roam;
    struct ike_path all[ROAM_PATHS];
    size_t count = paths(e, sa, all);
    const struct ike_local *here = own_of(e, &sa->path);
    bool was_offline = r->offline;
    r->offline = count == 0;
    forget_standby(e, r);
    if (count == 0)
        return;
    if (!here) {
        if (sa->tunnel->mobike)
            search(e, sa, &all[0]);
        else
            without_mobike(e, sa, &all[0]);
        return;
    }
    r->trial_again = 0;
    try_next(e, sa);
    if (was_offline || e->addresses.doubt) {
        window_hurry(e, sa);
        if (!sa->out.request && task_add(e, sa, (struct task){.kind = TASK_LIVENESS}) < 0)
            e->counters.drop_memory++;
    }
    task_run(e, sa);
}

static void tunnel_addresses(struct ike_engine *e, struct tunnel *t, bool changed)
{
    struct sa *sa = t->sa;
    bool up = sa && sa->state == IKE_STATE_ESTABLISHED;
    if (up && !t->initiator && t->mobike)
        mobike_own_address_gone(e, sa);
    if (up && changed && t->mobike && (!t->initiator || own_of(e, &sa->path)) &&
        task_add(e, sa, (struct task){.kind = TASK_ADDRESSES}) == 0)
        sa_arm(e, &sa->timer_duty, e->now); /* of many tunnels, a few at a time */
    if (!sa || !t->initiator)
        return;
    if (up && t->roam)
        reconsider(e, sa);
    else if (!t->established && e->addresses.local_count > 0 && !own_of(e, &sa->path))
        attempt_failed(e, sa, ERR_TIMEOUT, 0, false, "our address went away meanwhile");
}

static bool same_list(const struct ike_addresses *a, const struct ike_addresses *b)
{
    bool same = a->local_count == b->local_count;
    for (size_t i = 0; same && i < a->local_count; i++)
        same = ip_equal(&a->local[i].at.ip, &b->local[i].at.ip);
    return same;
}

int roam_addresses(struct ike_engine *e, const struct ike_addresses *now)
{
    if (now->local_count > IKE_LOCALS || now->remote_count > IKE_REMOTES)
        return ERR_ARGUMENT;
    bool changed = !same_list(&e->addresses, now);
    size_t cursor = 0;
    struct tunnel *t;
    e->addresses = *now;
    if (!e->conf->initiator) {
        while ((t = map_next(&e->tunnels, &cursor)))
            tunnel_addresses(e, t, changed);
        return 0;
    }
    /* A client's may end by this, and one with another, so they are found first. */
    uint64_t own[TUNNELS_OF_CLIENT];
    size_t count = 0;
    while (count < TUNNELS_OF_CLIENT && (t = map_next(&e->tunnels, &cursor)))
        own[count++] = t->id;
    for (size_t i = 0; i < count; i++)
        if ((t = map_get(&e->tunnels, own[i])))
            tunnel_addresses(e, t, changed);
    return 0;
}

void roam_settle(struct ike_engine *e, struct sa *sa)
{
    /* A list without the address that has just worked is behind the times. */
    if (e->conf->roam && roam_of(sa->tunnel) && own_of(e, &sa->path))
        reconsider(e, sa);
}

/* ---- requests on their way */

/* A gateway's request that stays unanswered goes to the peer's further addresses, too; and a check
 * of a new place to the old one: perhaps the peer never left it. */
static const struct ike_path *gateway_path(const struct sa *sa, struct roam *r)
{
    unsigned tries = sa->out.tries;
    bool check = sa->out.task.kind == TASK_ROUTABILITY && (r->checking || r->probing);
    const struct ike_path *path = check ? &r->target : &sa->path;
    if (tries < ELSEWHERE_AFTER || tries % 2 == 0)
        return path;
    if (check)
        return r->checking ? &r->safe : &sa->path;
    const struct ip *other = r->peer_count ? &r->peer[tries / 2 % r->peer_count] : NULL;
    if (!other || other->family != path->remote.ip.family)
        return path;
    r->round = *path;
    r->round.remote.ip = *other;
    return &r->round;
}

void roam_repeats(struct ike_engine *e, struct sa *sa)
{
    const struct tunnel *t = sa->tunnel;
    if (t && t->sa == sa && t->mobike && !t->initiator && t->roam &&
        sa->out.task.kind == TASK_ROUTABILITY && sa->out.tries >= ELSEWHERE_AFTER)
        mobike_check_delayed(e, sa);
}

const struct ike_path *roam_path(struct ike_engine *e, struct sa *sa)
{
    struct ike_path all[ROAM_PATHS];
    struct tunnel *t = sa->tunnel;
    struct roam *r = t && t->sa == sa && t->mobike ? t->roam : NULL;
    if (!r || !sa->out.request)
        return &sa->path;
    if (!t->initiator)
        return gateway_path(sa, r);
    if (sa->out.task.kind == TASK_TRIAL && sa->out.tries < TRIAL_TRIES && !r->searching)
        return &r->trial;
    if (!r->searching && sa->out.tries >= SEARCH_AFTER) {
        r->searching = true;
        r->next = 0;
    }
    size_t count = r->searching ? paths(e, sa, all) : 0;
    if (count == 0)
        return &sa->path;
    r->round = all[r->next++ % count];
    if (sa->out.task.kind == TASK_UPDATE && !path_equal(&r->round, &r->sent_on))
        r->strewn = true;
    return &r->round;
}

bool roam_pause(struct ike_engine *e, struct sa *sa, time_us *pause)
{
    struct ike_path all[ROAM_PATHS];
    struct roam *r = client(sa);
    size_t count = r && r->searching ? paths(e, sa, all) : 0;
    if (count == 0)
        return false;
    unsigned rounds = (unsigned)(r->next / count);
    *pause = STAGGER;
    if (r->next % count == 0)
        *pause = rounds < 5 ? ROUND_FIRST << (rounds > 0 ? rounds - 1 : 0) : ROUND_CAP;
    return true;
}

time_us roam_end(const struct ike_engine *e, const struct sa *sa, time_us usual)
{
    const struct roam *r = client(sa);
    if (!r)
        return usual;
    if (r->offline)
        return e->now + RETRANSMIT_TOTAL;
    return r->unsure && r->since + UNSURE < usual ? r->since + UNSURE : usual;
}

bool roam_doubts(const struct ike_engine *e, const struct sa *sa)
{
    struct ike_path all[ROAM_PATHS];
    return client(sa) && sa->tunnel->mobike && e->now - sa->last_heard >= DOUBT &&
           paths(e, sa, all) > 1;
}

/* ---- answers */

/* We are on a path that we would rather not use: what led nowhere may work again. */
static void look_back(struct ike_engine *e, struct sa *sa)
{
    struct roam *r = sa->tunnel->roam;
    const struct ike_local *here = own_of(e, &sa->path);
    if (!here || e->addresses.local[0].rank >= here->rank)
        return;
    r->trial_pause = TRIAL_FIRST;
    r->trial_again = e->now + TRIAL_FIRST;
}

void roam_answered(struct ike_engine *e, struct sa *sa, const struct ike_path *path)
{
    struct ike_path all[ROAM_PATHS];
    struct roam *r = client(sa);
    if (ip_equal(&path->local.ip, &sa->path.local.ip) && path->port == sa->path.port)
        sa->path.local.port = path->local.port; /* now we know which the socket has */
    if (!r)
        return;
    r->unsure = false;
    if (!r->searching)
        return;
    r->searching = false;
    if (path_equal(path, &sa->path))
        return;
    size_t count = paths(e, sa, all);
    for (size_t i = 0; i < count; i++) {
        if (path_equal(path, &all[i])) {
            adopt(e, sa, &all[i]);
            look_back(e, sa);
            return;
        }
    }
}

/* The next one after the refused one; with none other the tunnel stays as it is. */
static void refused(struct ike_engine *e, struct sa *sa)
{
    struct ike_path all[ROAM_PATHS];
    size_t count = paths(e, sa, all), at = 0;
    while (at < count && !path_equal(&all[at], &sa->path))
        at++;
    queue_event(e, IKE_EVENT_MOVED, sa->tunnel, &sa->path, ERR_ADDRESS,
                "the gateway does not accept our new address");
    if (at + 1 < count)
        adopt(e, sa, &all[at + 1]);
}

/* The gateway's new and authentic message reached us at another address than the one that we send
 * from. When that one is not known to be ours any more, what we send goes nowhere: the new one
 * takes its place. Else an address on which somebody chose to hand us a message changes nothing. */
void roam_heard(struct ike_engine *e, struct sa *sa, const struct ike_path *at)
{
    struct ike_path here = sa->path;
    if (sa->state != IKE_STATE_ESTABLISHED || at->port != here.port ||
        at->local.ip.family != here.remote.ip.family || ip_equal(&at->local.ip, &here.local.ip) ||
        own_of(e, &here))
        return;
    here.local = at->local;
    here.interface = at->interface;
    adopt(e, sa, &here);
    e->woken = sa; /* an update may have to be sent */
}

/* The gateway has told its addresses, by a message that came this way. When the one that we use is
 * not among them any more, the one that it came from is as good as any (RFC 4555 3.6). */
void roam_told(struct ike_engine *e, struct sa *sa, const struct ike_path *from)
{
    struct roam *r = client(sa);
    if (!r || ip_equal(&from->remote.ip, &sa->path.remote.ip))
        return;
    for (size_t i = 0; i < r->peer_count; i++)
        if (ip_equal(&r->peer[i], &sa->path.remote.ip))
            return;
    if (own_of(e, from)) {
        adopt(e, sa, from);
        window_hurry(e, sa);
    }
}

void roam_updated(struct ike_engine *e, struct sa *sa, const struct input *in)
{
    struct roam *r = client(sa);
    struct wire_notify_view n;
    struct nat_view view;
    bool udp = sa->udp;
    if (!r)
        return;
    if (r->strewn || !path_equal(&r->sent_on, &sa->path)) {
        /* We have moved since; or the gateway may have taken a copy that came over another path
         * for our place, and answered one that came over this. */
        r->strewn = false;
        roam_update(e, sa);
        return;
    }
    if (wire_notify_find(in->inner, NOTIFY_UNEXPECTED_NAT_DETECTED, &n)) {
        tunnel_close(e, sa->tunnel, ERR_ADDRESS, n.type,
                     "somebody translates addresses on the way, and refuse-nat forbids that");
        return;
    }
    if (wire_notify_find(in->inner, NOTIFY_UNACCEPTABLE_ADDRESSES, &n)) {
        refused(e, sa);
        return;
    }
    path_look(in, in->inner, &view);
    path_apply(e, sa, &view);
    keepalive_learn(e, sa, in);
    if (sa->udp != udp)
        queue_move(e, sa);
    if (r->moved) {
        r->moved = false;
        r->agreed_at = e->now;
        r->unheard = 0;
    }
}

/* Some gateways agree to a move that their kernel then refuses, and their child SAs stay where they
 * were (OpenIKED on Linux, libreswan for IPv4 inside IPv6). IKE is answered, so nothing else would
 * ever find out: connect anew beside it, once a move. What the data plane says may be a second old,
 * and of before the move. */
void roam_carried(struct ike_engine *e, struct sa *sa)
{
    struct roam *r = client(sa);
    if (!r || r->agreed_at == 0)
        return;
    r->unheard = 0;
    if (e->now - r->agreed_at >= STALE)
        r->agreed_at = 0;
}

void roam_silent(struct ike_engine *e, struct sa *sa)
{
    char where[ADDR_TEXT];
    struct roam *r = client(sa);
    if (!r || r->agreed_at == 0 || ++r->unheard < UNHEARD || e->now - r->agreed_at < FOLLOW)
        return;
    r->agreed_at = 0;
    if (peer_is_logged(e))
        log_warn("ike: %s agreed to our move and sends nothing there: connecting anew",
                 endpoint_print(&sa->path.remote, where));
    reauth_instead(e, sa->tunnel);
}

/* Where the IKE SA before this one was to go, and what was asked there, is its own affair. */
void roam_forget(struct roam *r)
{
    r->searching = r->unsure = false;
    r->checking = r->early = r->probing = false;
    r->standby_count = 0; /* the gateway has forgotten where it was answered, too */
    r->agreed_at = 0;
    r->moved = false;
}

static bool is_better(const struct ike_engine *e, const struct sa *sa, const struct ike_path *path)
{
    const struct ike_local *here = own_of(e, &sa->path), *there = own_of(e, path);
    return there && (!here || there->rank < here->rank);
}

void roam_tried(struct ike_engine *e, struct sa *sa, const struct ike_path *path)
{
    struct roam *r = client(sa);
    if (!r)
        return;
    bool better = !path_equal(&sa->path, &r->trial) && is_better(e, sa, &r->trial);
    if (better && path_equal(path, &r->trial)) {
        r->trial_pause = 0;
        adopt(e, sa, &r->trial);
    } else if (better) {
        time_us pause = r->trial_pause ? 2 * r->trial_pause : TRIAL_FIRST;
        r->trial_pause = pause < TRIAL_CAP ? pause : TRIAL_CAP;
        r->trial_again = e->now + r->trial_pause;
    }
    try_next(e, sa);
}

time_us roam_at(const struct sa *sa)
{
    const struct roam *r = client(sa);
    return r && r->trial_again ? r->trial_again : TIME_NEVER;
}

void roam_time(struct ike_engine *e, struct sa *sa)
{
    sa->tunnel->roam->trial_again = 0;
    reconsider(e, sa);
}
