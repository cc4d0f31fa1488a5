/* What this host can send from: read from the kernel, told to ike when it changes. */
#include "run/monitor.h"

#include <string.h>
#include <time.h>

#define NAP           (3 * TIME_SECOND)  /* sleep that is worth a look at the path */
#define RESOLVE_AGAIN (15 * TIME_SECOND) /* at most so often */
enum { SOURCES = 256 };

int uplinks_open(struct monitor *m)
{
    char why[NET_WHY];
    if (!m->conf->tunnel.roam || m->watch_fd >= 0)
        return 0;
    m->watch_fd = net_watch_open(why);
    if (m->watch_fd >= 0 && monitor_watch(m, m->watch_fd, WATCH_NETWORK) == 0)
        return 0;
    log_error("%s", m->watch_fd < 0 ? why : err_sentence(ERR_SYSTEM));
    return RUN_EXIT_FAILED;
}

static uint16_t port_of(const struct monitor *m, const struct ip *ip)
{
    for (size_t i = 0; i < m->sockets.count; i++)
        if (m->sockets.ip[i].family == ip->family &&
            (ip_is_any(&m->sockets.ip[i]) || ip_equal(&m->sockets.ip[i], ip)))
            return m->sockets.group[i].port_natt;
    return 0;
}

/* The tunnel's own addresses are on its device, which is left out. */
static int find_sources(const struct monitor *m, struct net_source found[static SOURCES],
                        size_t *count)
{
    const struct ip *to = m->outer.family || m->gateway.count <= 0 ? &m->outer : &m->gateway.at[0];
    if (m->conf->gateway)
        return net_sources_all(m->tun.index, found, SOURCES, count);
    return net_sources_to(to, m->net.mark, m->tun.index, found, SOURCES, count);
}

static void add_local(const struct monitor *m, const struct net_source *source,
                      struct ike_addresses *out)
{
    uint16_t port = port_of(m, &source->ip);
    if (port == 0)
        return; /* nobody listens there */
    if (out->local_count == IKE_LOCALS) {
        out->more = true;
        return;
    }
    struct ike_local *local = &out->local[out->local_count++];
    local->at = (struct endpoint){.ip = source->ip, .port = port};
    local->interface = m->conf->gateway ? 0 : source->interface;
    local->rank = m->conf->gateway ? 0 : source->metric;
}

/* False when the kernel does not tell: what was known stays true. */
static bool read_now(const struct monitor *m, struct ike_addresses *out)
{
    struct net_source found[SOURCES];
    size_t count = 0;
    int result = find_sources(m, found, &count);
    if (result == ERR_SYSTEM)
        return false;
    memset(out, 0, sizeof(*out)); /* it is compared as octets */
    out->more = result == ERR_LIMIT;
    for (size_t i = 0; i < count; i++)
        add_local(m, &found[i], out);
    for (int32_t i = 0; i < m->gateway.count && i < IKE_REMOTES; i++)
        out->remote[out->remote_count++] = m->gateway.at[i];
    return true;
}

void uplinks_tell(struct monitor *m, bool doubt)
{
    struct ike_addresses now;
    if (m->watch_fd < 0 || m->stopping || !m->children[ROLE_IKE].ready)
        return;
    if (!read_now(m, &now)) {
        log_debug("the kernel does not tell our addresses");
        return;
    }
    if (!doubt && memcmp(&now, &m->told, sizeof(now)) == 0)
        return;
    m->told = now;
    ipc_prepare(&m->message, IPC_COMMAND, ++m->serial);
    m->message.command.kind = IKE_ADDRESSES;
    m->message.command.addresses = now;
    m->message.command.addresses.doubt = doubt;
    if (children_send(m, ROLE_IKE, &m->message))
        log_debug("ike does not take our addresses");
}

void uplinks_changed(struct monitor *m)
{
    uplinks_tell(m, net_watch_drain(m->watch_fd, m->tun.index));
}

void uplinks_forget(struct monitor *m)
{
    memset(&m->told, 0, sizeof(m->told));
    uplinks_tell(m, false);
}

static time_us clock_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (time_us)t.tv_sec * TIME_SECOND + (time_us)t.tv_nsec / 1000;
}

void uplinks_tick(struct monitor *m)
{
    time_us before = clock_of(CLOCK_MONOTONIC), total = clock_of(CLOCK_BOOTTIME);
    if (nap_taken(&m->nap, before, total, clock_of(CLOCK_MONOTONIC), NAP))
        uplinks_tell(m, true);
}

/* No answer by any path: the gateway may have moved, and its name may say where to. */
static void resolve_again(struct monitor *m)
{
    struct ip literal;
    time_us now = run_now();
    if (m->resolver.pid || now < m->resolved_at + RESOLVE_AGAIN ||
        ip_parse(m->conf->remote_host, &literal))
        return;
    m->resolved_at = now;
    if (resolver_start(&m->resolver, m->conf->remote_host, m->conf->uid_base + ROLE_MONITOR) == 0 &&
        monitor_watch(m, m->resolver.fd, WATCH_RESOLVER) == 0)
        return;
    resolver_cancel(&m->resolver);
}

void uplinks_event(struct monitor *m, const struct ike_event *event)
{
    if (m->conf->gateway)
        return;
    if (event->kind == IKE_EVENT_ESTABLISHED || event->kind == IKE_EVENT_MOVED) {
        char why[NET_WHY] = "";
        if (event->kind == IKE_EVENT_MOVED && event->err == 0 &&
            net_apply_moved(&m->net, &event->path, why))
            log_error("the tunnel has moved, but %s", why);
        m->outer = event->path.remote.ip;
        uplinks_tell(m, false);
    } else if (event->kind == IKE_EVENT_RETRANSMIT && m->tunnel && m->established) {
        resolve_again(m);
    }
}
