/* The ike process: the engine, its UDP sockets, and nothing else. One thread, one epoll. */
#include "run/pump.h"
#include "run/renewal.h"
#include "run/sandbox.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    DATAGRAM_MAX = 65536,
    BATCH = 64, /* datagrams of one socket before the others get their turn */
    STOP_SECONDS = 2,
    STOP_LOOKS = 256,
    WAIT_MAX_MS = 60000,
};

/* What an epoll event is about: a socket is its group * 2 + port, above these. */
enum { FROM_MONITOR, FROM_KEYS, FROM_ESP, FROM_SOCKETS };

struct ike_process {
    struct pump pump;
    const struct ike_process_args *args;
    int epoll;
    bool paused; /* too many open questions: no datagrams for now */
    bool room_wanted;
    bool stopping, done;
    time_us stop_by;
    struct renewal *next, *in_force;     /* in_force NULL: the one that this process began with */
    struct conf_credentials credentials; /* of that; the engine borrows them */
    int former_keys_fd;
    bool judging; /* the monitor waits to hear who may stay */
    uint32_t reload_serial;
    struct ipc_message in;
    uint8_t datagram[DATAGRAM_MAX];
};

static int socket_of(const struct ike_process *p, size_t group, unsigned port)
{
    const struct net_udp_group *g = &p->args->sockets->group[group];
    return port == IKE_PORT_NATT ? g->ike_natt : g->ike_500;
}

static void watch(const struct ike_process *p, int operation, int fd, uint32_t events,
                  uint64_t what)
{
    struct epoll_event event = {.events = events, .data.u64 = what};
    if (fd >= 0 && epoll_ctl(p->epoll, operation, fd, &event) < 0)
        log_debug("epoll refused descriptor %d", fd);
}

static void watch_sockets(const struct ike_process *p, int operation, uint32_t events)
{
    for (size_t g = 0; g < p->args->sockets->count; g++)
        for (unsigned port = IKE_PORT_500; port <= IKE_PORT_NATT; port++)
            watch(p, operation, socket_of(p, g, port), events, FROM_SOCKETS + g * 2 + port);
}

/* Backpressure: as many questions as keys may have at once, then the kernel's buffers, then loss.
 */
static void pause_or_go_on(struct ike_process *p)
{
    bool pause =
        p->paused ? p->pump.questions > RUN_QUESTIONS / 2 : p->pump.questions >= RUN_QUESTIONS;
    if (pause == p->paused)
        return;
    p->paused = pause;
    watch_sockets(p, EPOLL_CTL_MOD, pause ? 0 : EPOLLIN);
}

/* An IKE_SA_INIT request: the responder's SPI is not known yet (RFC 7296 section 3.1). */
static bool begins_anew(struct bytes datagram)
{
    struct reader r = reader_of_bytes(datagram);
    reader_skip(&r, 8);
    return reader_u64(&r) == 0;
}

static void take_datagram(struct ike_process *p, size_t group, unsigned port, size_t len,
                          struct ike_path *path)
{
    const struct net_udp_group *g = &p->args->sockets->group[group];
    struct reader r = reader_of(p->datagram, len);
    path->port = (uint8_t)port;
    if (p->args->conf->gateway)
        path->interface = 0; /* it answers by its routes */
    path->local.port = port == IKE_PORT_NATT ? g->port_natt : g->port_500;
    if (port == IKE_PORT_NATT && reader_u32(&r) != 0)
        return; /* a keepalive, or ESP that lost its way */
    struct bytes datagram = reader_rest(&r);
    if (r.bad || datagram.len == 0)
        return;
    /* Who was just told that we end may try again at once: that would keep us here. */
    if (p->stopping && begins_anew(datagram))
        return;
    ike_input(p->pump.engine, run_now(), path, datagram);
    pump_drain(&p->pump);
}

static void read_socket(struct ike_process *p, size_t group, unsigned port)
{
    int fd = socket_of(p, group, port);
    for (unsigned i = 0; i < BATCH && p->pump.questions < RUN_QUESTIONS; i++) {
        struct ike_path path = {.interface = 0};
        size_t len;
        int result = net_receive(fd, p->datagram, sizeof(p->datagram), &len, &path.local,
                                 &path.remote, &path.interface);
        if (result == ERR_AGAIN)
            return;
        if (result == 0)
            take_datagram(p, group, port, len, &path);
    }
}

/* Of a client's socket only: a gateway sends to whoever asks, and hears of closed ports all day. */
static void read_errors(struct ike_process *p, size_t group, unsigned port)
{
    int result;
    for (unsigned i = 0; i < BATCH; i++) {
        struct endpoint remote;
        size_t len;
        result = net_unreachable(socket_of(p, group, port), p->datagram, sizeof(p->datagram), &len,
                                 &remote);
        if (result == ERR_AGAIN)
            return;
        struct reader r = reader_of(p->datagram, len);
        if (result == 0 && (port == IKE_PORT_500 || reader_u32(&r) == 0)) {
            ike_unreachable(p->pump.engine, run_now(), &remote, reader_rest(&r));
            pump_drain(&p->pump);
        }
    }
}

static void hear_errors(const struct ike_process *p)
{
    const struct run_sockets *s = p->args->sockets;
    for (size_t g = 0; g < s->count && !p->args->conf->gateway; g++)
        for (unsigned port = IKE_PORT_500; port <= IKE_PORT_NATT; port++)
            if (socket_of(p, g, port) >= 0 &&
                net_hear_unreachable(socket_of(p, g, port), s->ip[g].family) < 0)
                log_debug("ICMP cannot be heard: a closed port will look like silence");
}

static void read_keys(struct ike_process *p)
{
    int result;
    while ((result = ipc_receive(p->pump.keys_fd, &p->in, NULL)) == 0) {
        if (p->in.kind != IPC_ANSWER)
            continue;
        pump_answer(&p->pump, &p->in.answer);
        ipc_wipe(&p->in);
    }
    if (result == ERR_CLOSED) {
        p->pump.keys_gone = true; /* the monitor restarts both of us */
        watch(p, EPOLL_CTL_DEL, p->pump.keys_fd, 0, 0);
    }
}

/* What it still answers has been asked anew. */
static void read_former_keys(struct ike_process *p)
{
    int result = ERR_CLOSED;
    while (p->former_keys_fd >= 0 && (result = ipc_receive(p->former_keys_fd, &p->in, NULL)) == 0)
        ipc_wipe(&p->in);
    if (result == ERR_CLOSED && p->former_keys_fd >= 0) {
        close(p->former_keys_fd);
        p->former_keys_fd = -1;
    }
}

static void command(struct ike_process *p)
{
    static struct ipc_message reply;
    uint64_t tunnel = p->in.command.tunnel;
    ipc_prepare(&reply, IPC_COMMAND_DONE, p->in.serial);
    reply.done.result = ike_command(p->pump.engine, run_now(), &p->in.command, &tunnel);
    reply.done.tunnel = tunnel;
    if (outbox_send(&p->pump.outbox, p->args->monitor_fd, &reply))
        log_debug("a command's result found no taker");
    pump_drain(&p->pump);
}

static void stop(struct ike_process *p)
{
    struct ike_command all = {.kind = IKE_DELETE};
    if (p->stopping)
        return;
    p->stopping = true;
    p->stop_by = run_now() + STOP_SECONDS * TIME_SECOND;
    (void)!ike_command(p->pump.engine, run_now(), &all, NULL);
    pump_drain(&p->pump);
}

/* ---- a changed configuration */

static void reload_done(struct ike_process *p, const struct ipc_reload_done *what)
{
    static struct ipc_message reply;
    ipc_prepare(&reply, IPC_RELOAD_DONE, p->reload_serial);
    reply.reload_done = *what;
    if (outbox_send(&p->pump.outbox, p->args->monitor_fd, &reply))
        log_debug("the monitor does not hear of the new configuration");
}

static void begin_renewal(struct ike_process *p)
{
    renewal_free(p->next);
    p->reload_serial = p->in.serial;
    p->next = renewal_create(p->pump.conf, &p->in.reload);
}

static void end_renewal(struct ike_process *p)
{
    struct ipc_reload_done done = {.result = p->next ? renewal_finish(p->next) : ERR_MEMORY};
    reload_done(p, &done);
}

static void fill_setup(const struct conf *conf, const struct conf_credentials *credentials,
                       struct ike_setup *setup)
{
    setup->tunnel = &conf->tunnel;
    setup->trust = credentials->trust;
    setup->own_id = conf->tunnel.local_id;
    for (size_t i = 0; i < credentials->chain_count && i < IKE_CERTS_OWN; i++)
        setup->own_certs[setup->own_cert_count++] = credentials->chain[i];
    if (setup->own_id.type == IDENTITY_NONE && setup->own_cert_count)
        (void)cert_identity(setup->own_certs[0], &setup->own_id);
}

/* From here on the engine has the new one, and borrows nothing of the former. */
static void let_go_of_former(struct ike_process *p)
{
    p->pump.conf = &p->next->conf;
    p->pump.forwards_network |= p->next->sites; /* and what stands is still to be taken down */
    if (!p->in_force)
        conf_credentials_free(&p->credentials);
    renewal_free(p->in_force);
    p->in_force = p->next;
    p->next = NULL;
}

/* A new keys process, which has read the new configuration: both are in force from now on. */
static void renew(struct ike_process *p, int keys_fd)
{
    struct ipc_reload_done done = {.in_force = true, .result = ERR_STATE};
    struct ike_setup setup = {.random = &random_system};
    if (!p->next || renewal_finish(p->next)) {
        close(keys_fd);
        reload_done(p, &done);
        return;
    }
    const struct conf_credentials *before =
        p->in_force ? &p->in_force->credentials : &p->credentials;
    done.own_changed = !renewal_same_own(before, &p->next->credentials);
    done.trust_changed = !renewal_same_trust(before, &p->next->credentials);
    read_former_keys(p);
    if (p->former_keys_fd >= 0)
        close(p->former_keys_fd);
    p->former_keys_fd = pump_change_keys(&p->pump, keys_fd);
    watch(p, EPOLL_CTL_ADD, keys_fd, EPOLLIN, FROM_KEYS);
    fill_setup(&p->next->conf, &p->next->credentials, &setup);
    done.result = ike_reload(p->pump.engine, run_now(), &setup);
    if (done.result == 0)
        let_go_of_former(p);
    p->judging = done.result == 0;
    reload_done(p, &done);
    pump_drain(&p->pump);
}

static void take_peer(struct ike_process *p, int fd)
{
    if (fd >= 0 && p->in.peer.role == ROLE_KEYS)
        renew(p, fd);
    else if (fd >= 0)
        close(fd);
}

static void tell_judged(struct ike_process *p)
{
    static struct ipc_message message;
    struct ike_usage usage;
    if (!p->judging)
        return;
    ike_usage(p->pump.engine, &usage);
    if (usage.judging)
        return;
    ipc_prepare(&message, IPC_JUDGED, p->reload_serial);
    message.judged = p->pump.judged;
    p->judging = outbox_send(&p->pump.outbox, p->args->monitor_fd, &message) != 0;
}

static void read_monitor(struct ike_process *p)
{
    int result, attached;
    while ((result = ipc_receive(p->args->monitor_fd, &p->in, &attached)) == 0) {
        if (p->in.kind == IPC_PEER) {
            take_peer(p, attached);
            continue;
        }
        if (attached >= 0)
            close(attached);
        if (p->in.kind == IPC_RELOAD)
            begin_renewal(p);
        else if (p->in.kind == IPC_CERT && p->next)
            renewal_cert(p->next, &p->in.cert);
        else if (p->in.kind == IPC_RELOAD_END)
            end_renewal(p);
        else if (p->in.kind == IPC_LEVEL)
            log_set_level((enum log_level)p->in.level.level);
        else if (p->in.kind == IPC_COMMAND)
            command(p);
        else if (p->in.kind == IPC_NET_DONE)
            pump_net_done(&p->pump, &p->in.done);
        else if (p->in.kind == IPC_STATUS_ASK)
            pump_report(&p->pump, p->in.serial);
        else if (p->in.kind == IPC_STOP)
            stop(p);
    }
    if (result == ERR_CLOSED)
        p->done = true;
}

static void dispatch(struct ike_process *p, const struct epoll_event *event)
{
    uint64_t what = event->data.u64;
    if (what == FROM_MONITOR && (event->events & ~(uint32_t)EPOLLOUT))
        read_monitor(p);
    else if (what == FROM_KEYS) {
        read_former_keys(p);
        read_keys(p);
    } else if (what == FROM_ESP)
        pump_read_esp(&p->pump);
    if (what >= FROM_SOCKETS && (event->events & EPOLLERR))
        read_errors(p, (what - FROM_SOCKETS) / 2, (what - FROM_SOCKETS) % 2);
    if (what >= FROM_SOCKETS)
        read_socket(p, (what - FROM_SOCKETS) / 2, (what - FROM_SOCKETS) % 2);
}

static int wait_ms(const struct ike_process *p)
{
    time_us now = run_now(), next = ike_deadline(p->pump.engine);
    if (p->stopping && p->stop_by < next)
        next = p->stop_by;
    if (!p->room_wanted && outbox_due(&p->pump.outbox) < next)
        next = outbox_due(&p->pump.outbox);
    if (p->pump.net_wait_count > 0 && p->pump.net_wait_end < next)
        next = p->pump.net_wait_end;
    if (next <= now)
        return 0;
    time_us ms = (next - now + 999) / TIME_MILLISECOND;
    return ms > WAIT_MAX_MS ? WAIT_MAX_MS : (int)ms;
}

/* The monitor gets what waits for it; we are called again when there is room. */
static void flush_outbox(struct ike_process *p)
{
    time_us now = run_now();
    /* A client has one tunnel, and somebody who waits for it. */
    if (p->args->conf->gateway && !p->room_wanted && now < outbox_due(&p->pump.outbox) &&
        p->pump.net_wait_count == 0)
        return;
    int result = outbox_flush(&p->pump.outbox, p->args->monitor_fd, now);
    bool wanted = result == ERR_AGAIN;
    if (result == ERR_CLOSED)
        p->done = true;
    if (wanted != p->room_wanted)
        watch(p, EPOLL_CTL_MOD, p->args->monitor_fd, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN,
              FROM_MONITOR);
    p->room_wanted = wanted;
}

static void count_one(void *context, const struct ike_status *status)
{
    size_t *count = context;
    (void)status;
    ++*count;
}

/* SAs that only wait for a request to be repeated are not shown by ike_walk(), and not waited for.
 * Among thousands they are not looked for: a walk at each datagram would take longer. */
static bool stopped(const struct ike_process *p)
{
    struct ike_usage usage;
    if (!p->stopping)
        return false;
    ike_usage(p->pump.engine, &usage);
    size_t count = usage.sas;
    if (count > 0 && count <= STOP_LOOKS) {
        count = 0;
        ike_walk(p->pump.engine, count_one, &count);
    }
    return count == 0 || run_now() >= p->stop_by;
}

static void serve(struct ike_process *p)
{
    struct epoll_event events[16];
    while (!p->done && !stopped(p)) {
        int count = epoll_wait(p->epoll, events, ARRAY_LEN(events), wait_ms(p));
        for (int i = 0; i < count; i++)
            dispatch(p, &events[i]);
        time_us now = run_now();
        if (ike_deadline(p->pump.engine) <= now) {
            ike_tick(p->pump.engine, now);
            pump_drain(&p->pump);
        }
        pump_settle(&p->pump);
        tell_judged(p);
        pause_or_go_on(p);
        flush_outbox(p);
        if (p->pump.esp_gone)
            watch(p, EPOLL_CTL_DEL, p->args->esp_fd, 0, 0);
    }
}

static int make_engine(struct ike_process *p)
{
    const struct conf *conf = p->args->conf;
    struct ike_setup setup = {
        .random = &random_system,
        .wall_clock = run_wall_clock,
        .id_base = ((uint64_t)p->args->generation << 32) + 1,
    };
    fill_setup(conf, &p->credentials, &setup);
    setup.has_crash_secret = state_secret(conf, setup.crash_secret) == 0;
    p->pump.engine = ike_create(&setup, run_now());
    secret_wipe(setup.crash_secret, sizeof(setup.crash_secret));
    return p->pump.engine ? 0 : ERR_MEMORY;
}

static void watch_all(struct ike_process *p)
{
    watch(p, EPOLL_CTL_ADD, p->args->monitor_fd, EPOLLIN, FROM_MONITOR);
    watch(p, EPOLL_CTL_ADD, p->args->keys_fd, EPOLLIN, FROM_KEYS);
    watch(p, EPOLL_CTL_ADD, p->args->esp_fd, EPOLLIN, FROM_ESP);
    watch_sockets(p, EPOLL_CTL_ADD, EPOLLIN);
}

int ike_process(void *context)
{
    static struct ike_process p;
    const struct ike_process_args *args = context;
    struct conf_faults faults = {.count = 0};
    char why[256];
    p.args = args;
    p.former_keys_fd = -1;
    p.pump = (struct pump){.conf = args->conf,
                           .sockets = args->sockets,
                           .keys_fd = args->keys_fd,
                           .esp_fd = args->esp_fd,
                           .monitor_fd = args->monitor_fd,
                           .generation = args->generation};
    pump_init(&p.pump);
    if (crypto_init())
        return run_fault(args->monitor_fd, RUN_EXIT_FAILED,
                         "the crypto library failed its self-test: reinstall libssl3");
    if (conf_credentials_read(args->conf, CONF_WANT_CERTS | CONF_WANT_TRUST, &p.credentials,
                              &faults)) {
        conf_fault_print(&faults.at[0], why, sizeof(why));
        return run_fault(args->monitor_fd, RUN_EXIT_CONFIG, "%s", why);
    }
    p.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (p.epoll < 0 || make_engine(&p))
        return run_fault(args->monitor_fd, RUN_EXIT_FAILED,
                         "the tunnels do not fit into memory: set max-tunnels lower");
    watch_all(&p);
    hear_errors(&p);
    if (sandbox_drop(ROLE_IKE, args->conf->uid_base + ROLE_IKE, 64, why) ||
        sandbox_filter(ROLE_IKE, why))
        return run_fault(args->monitor_fd, RUN_EXIT_FAILED, "%s", why);
    ipc_prepare(&p.in, IPC_READY, 0);
    if (ipc_send(args->monitor_fd, &p.in, -1))
        return RUN_EXIT_FAILED;
    serve(&p);
    (void)!outbox_flush(&p.pump.outbox, args->monitor_fd, run_now());
    ike_free(p.pump.engine);
    return RUN_EXIT_OK;
}
