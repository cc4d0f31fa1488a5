/* A client's attempts: name, address, command, event, again. */
#include "run/monitor.h"

#include <stdio.h>
#include <string.h>

/* A failure that the engine knows nothing of, told like one of its own. */
static void fail_here(struct monitor *m, int err, const char *text)
{
    struct ipc_event event = {.what = {.kind = IKE_EVENT_FAILED, .err = err}};
    snprintf(event.what.text, sizeof(event.what.text), "%s", text);
    words_log(m, &event);
    connect_event(m, &event.what);
    control_event(m, &event);
}

/* A port of its own means that everything is UDP-encapsulated there from the first message. */
static struct ike_path path_to(const struct monitor *m, const struct ip *gateway,
                               const struct ip *source)
{
    uint16_t port = m->conf->remote_port ? m->conf->remote_port : 500;
    bool natt = port != 500;
    struct ike_path path = {.local.ip = *source,
                            .remote = {.ip = *gateway, .port = port},
                            .port = natt ? IKE_PORT_NATT : IKE_PORT_500};
    for (size_t i = 0; i < m->sockets.count; i++)
        if (m->sockets.ip[i].family == gateway->family)
            path.local.port = natt ? m->sockets.group[i].port_natt : m->sockets.group[i].port_500;
    return path;
}

/* Tries the next of the gateway's addresses. */
static void initiate(struct monitor *m)
{
    const struct ip *gateway = &m->gateway.at[m->gateway_next++ % (size_t)m->gateway.count];
    struct ip source;
    uint32_t interface;
    uint16_t mtu;
    char why[NET_WHY], text[NET_WHY + 64];
    int result = net_route_to(gateway, m->net.mark, &source, &interface, &mtu, why);
    if (result) {
        snprintf(text, sizeof(text), "%s: is the network up?", why);
        fail_here(m, ERR_TIMEOUT, text);
        return;
    }
    ipc_prepare(&m->message, IPC_COMMAND, ++m->serial);
    m->message.command.kind = IKE_INITIATE;
    m->message.command.path = path_to(m, gateway, &source);
    m->initiate_serial = m->serial;
    if (children_send(m, ROLE_IKE, &m->message))
        fail_here(m, ERR_CLOSED, "the ike process does not listen");
}

/* While the tunnel's routes stand, names would be asked for through a tunnel that is not there; the
 * addresses found before are as good. */
static void start_attempt(struct monitor *m)
{
    m->gateway_next = m->gateway.count > 0 ? m->gateway_next : 0;
    if (m->gateway.count > 0 && m->net.up) {
        initiate(m);
        return;
    }
    if (ip_parse(m->conf->remote_host, &m->gateway.at[0])) {
        m->gateway.count = 1;
        initiate(m);
        return;
    }
    int result =
        resolver_start(&m->resolver, m->conf->remote_host, m->conf->uid_base + ROLE_MONITOR);
    if (result == 0 && monitor_watch(m, m->resolver.fd, WATCH_RESOLVER) == 0)
        return;
    resolver_cancel(&m->resolver);
    fail_here(m, ERR_SYSTEM, "cannot look up the gateway's name");
}

void connect_resolved(struct monitor *m)
{
    struct resolver_result found;
    resolver_finish(&m->resolver, &found);
    if (found.count > 0)
        m->gateway = found;
    if (m->tunnel) { /* it stands, but finds no way: perhaps by another address */
        uplinks_tell(m, true);
        return;
    }
    if (m->gateway.count > 0)
        initiate(m);
    else
        fail_here(m, ERR_TIMEOUT, found.why);
}

void connect_tick(struct monitor *m, time_us now)
{
    bool can = !m->conf->gateway && !m->stopping && m->children[ROLE_IKE].ready;
    if (can && reconnect_due(&m->reconnect, now))
        start_attempt(m);
}

void connect_started(struct monitor *m, const struct ipc_message *done)
{
    if (m->conf->gateway || done->serial != m->initiate_serial)
        return;
    m->initiate_serial = 0;
    if (done->done.result == 0)
        m->tunnel = done->done.tunnel;
    else
        fail_here(m, done->done.result, err_sentence(done->done.result));
}

void connect_event(struct monitor *m, const struct ike_event *event)
{
    time_us now = run_now();
    uplinks_event(m, event);
    if (m->conf->gateway || (event->tunnel && m->tunnel && event->tunnel != m->tunnel))
        return;
    if (event->kind == IKE_EVENT_ESTABLISHED) {
        m->tunnel = event->tunnel;
        m->gateway_next--; /* this address answers: start with it the next time */
        reconnect_up(&m->reconnect, now);
    } else if (event->kind == IKE_EVENT_FAILED) {
        m->tunnel = 0;
        reconnect_failed(&m->reconnect, now, event->err, &random_system);
        if (!m->stopping)
            log_info("next attempt in %u s",
                     (unsigned)((m->reconnect.next - now + TIME_SECOND - 1) / TIME_SECOND));
    } else if (event->kind == IKE_EVENT_DOWN) {
        m->tunnel = 0;
        reconnect_lost(&m->reconnect, now, &random_system);
    }
}

/* A new ike process knows of no tunnel; esp still carries the old one's packets. */
void connect_ike_ready(struct monitor *m)
{
    m->tunnel = 0;
    m->established = 0;
    m->initiate_serial = 0;
    uplinks_forget(m);
    if (m->conf->gateway)
        return;
    m->reconnect.state = RECONNECT_IDLE;
    reconnect_now(&m->reconnect, run_now());
}
