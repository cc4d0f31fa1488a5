/* Devices, sockets and addresses, before there are children; each failure with its reason. */
#include "run/monitor.h"

#include <errno.h>
#include <string.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PORT_IKE = 500, PORT_NATT = 4500 };

static uint16_t cores(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return (uint16_t)(count > NET_WORKERS_MAX ? NET_WORKERS_MAX : count);
}

static int exit_code_of(int err)
{
    return err == ERR_PERMISSION    ? RUN_EXIT_PERMISSION
           : err == ERR_BUSY        ? RUN_EXIT_IN_USE
           : err == ERR_UNSUPPORTED ? RUN_EXIT_LACKING
                                    : RUN_EXIT_FAILED;
}

static int open_device(struct monitor *m)
{
    char why[NET_WHY] = "";
    uint16_t mtu = m->conf->mtu ? m->conf->mtu : RUN_DEFAULT_MTU;
    int result = net_tun_open(m->conf->interface, m->workers, mtu, &m->tun, why);
    if (result == 0)
        return 0;
    log_error("%s", why[0] ? why : err_sentence(result));
    return exit_code_of(result);
}

static int open_group(struct monitor *m, const struct ip *ip, uint16_t port_500, uint16_t port_natt,
                      char why[static NET_WHY])
{
    struct run_sockets *s = &m->sockets;
    if (s->count == RUN_GROUPS)
        return ERR_LIMIT;
    int result =
        net_udp_open(ip, port_500, port_natt, m->workers, m->net.mark, &s->group[s->count], why);
    if (result == 0)
        s->ip[s->count++] = *ip;
    return result;
}

/* All addresses of a family that this host has not are no fault as long as the other is there. */
static bool may_be_missing(const struct ip *ip, int result)
{
    return ip_is_any(ip) && result != ERR_BUSY && result != ERR_PERMISSION;
}

static int open_some(struct monitor *m, const struct endpoint *at, size_t count, uint16_t port_500,
                     uint16_t port_natt, char why[static NET_WHY])
{
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        /* A port given: everything is UDP-encapsulated there, and 500 stays as it is. */
        uint16_t port = at[i].port ? at[i].port : port_natt;
        result = open_group(m, &at[i].ip, port_500, port, why);
        if (result && may_be_missing(&at[i].ip, result)) {
            log_info("%s", why);
            result = 0;
        }
    }
    return result == 0 && m->sockets.count == 0 ? ERR_SYSTEM : result;
}

static int open_udp(struct monitor *m, char why[static NET_WHY])
{
    static const struct endpoint any[] = {{.ip = {.family = 4}}, {.ip = {.family = 6}}};
    const struct conf *conf = m->conf;
    if (!conf->gateway)
        return open_some(m, any, ARRAY_LEN(any), 0, 0, why);
    if (conf->listen_count == 0)
        return open_some(m, any, ARRAY_LEN(any), PORT_IKE, PORT_NATT, why);
    return open_some(m, conf->listen, conf->listen_count, PORT_IKE, PORT_NATT, why);
}

static int open_sockets(struct monitor *m)
{
    char why[NET_WHY] = "";
    int result = open_udp(m, why);
    bool ah = m->conf->tunnel.esp[0].protocol == PROTOCOL_AH;
    if (result == 0 && (ah || m->conf->tunnel.encap == CONF_ENCAP_AUTO)) {
        char unused[NET_WHY];
        struct run_sockets *s = &m->sockets;
        s->ah = ah;
        s->plain4 = !net_raw_open_group(4, ah, m->workers, m->net.mark, &s->raw4, unused);
        s->plain6 = !net_raw_open_group(6, ah, m->workers, m->net.mark, &s->raw6, unused);
    }
    if (result == 0)
        return 0;
    log_error("%s", why[0] ? why : err_sentence(result));
    return exit_code_of(result);
}

static int open_network(struct monitor *m)
{
    char why[NET_WHY] = "";
    int result = net_apply_open(&m->net, why);
    if (result == 0)
        return 0;
    log_error("%s", why[0] ? why : err_sentence(result));
    return exit_code_of(result);
}

int startup_open(struct monitor *m)
{
    if (geteuid() != 0) {
        log_error("this needs root: it makes a network device, sets routes and gives its processes "
                  "users of their own; use sudo");
        return RUN_EXIT_PERMISSION;
    }
    m->workers = m->conf->workers ? m->conf->workers : cores();
    m->net.conf = m->conf;
    m->net.tun = &m->tun;
    int code = control_open(m); /* first: it notices another one of this name */
    if (code == 0)
        code = open_device(m);
    if (code == 0) {
        bool marked = !m->conf->gateway || m->conf->tunnel.transport;
        m->net.mark = marked ? net_apply_mark(m->tun.name) : 0;
        m->net.sockets = &m->sockets;
        code = open_sockets(m);
    }
    return code ? code : open_network(m);
}

void startup_close(struct monitor *m)
{
    net_apply_close(&m->net);
    for (size_t i = 0; i < m->sockets.count; i++)
        net_udp_close(&m->sockets.group[i]);
    if (m->sockets.plain4)
        net_raw_close(&m->sockets.raw4);
    if (m->sockets.plain6)
        net_raw_close(&m->sockets.raw6);
    m->sockets = (struct run_sockets){.count = 0};
    if (m->tun.queues)
        net_tun_close(&m->tun);
    m->tun.queues = 0;
}
