/* The monitor: start-up order, the loop, and the end in good order. */
#include "run/monitor.h"

#include "run/sandbox.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { STOP_SECONDS = 5, WAIT_MAX_MS = 60000, DESCRIPTORS = 4096 };

int monitor_watch(struct monitor *m, int fd, uint64_t what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = what};
    return epoll_ctl(m->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? ERR_SYSTEM : 0;
}

static int open_loop(struct monitor *m)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    m->epoll = epoll_create1(EPOLL_CLOEXEC);
    m->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (m->epoll < 0 || m->signal_fd < 0 || monitor_watch(m, m->signal_fd, WATCH_SIGNALS)) {
        log_error("cannot start: %s", strerror(errno));
        return RUN_EXIT_FAILED;
    }
    return 0;
}

void monitor_stop(struct monitor *m, int exit_code)
{
    if (m->stopping)
        return;
    reload_end(m);
    m->stopping = true;
    m->exit_code = exit_code;
    m->stop_by = run_now() + STOP_SECONDS * TIME_SECOND;
    resolver_cancel(&m->resolver);
    ipc_prepare(&m->message, IPC_STOP, 0);
    if (children_send(m, ROLE_IKE, &m->message))
        m->stop_by = run_now();
}

static void take_signals(struct monitor *m)
{
    struct signalfd_siginfo info;
    while (read(m->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD) {
            children_reap(m);
            continue;
        }
        if (info.ssi_signo == SIGHUP) {
            reload_begin(m, NULL);
            continue;
        }
        if (m->stopping && info.ssi_signo == SIGINT)
            m->stop_by = run_now(); /* asked twice: at once */
        if (!m->stopping)
            log_info("stopping");
        monitor_stop(m, RUN_EXIT_OK);
    }
}

static time_us next_deadline(const struct monitor *m)
{
    time_us next = children_deadline(m);
    time_us others[] = {
        m->stopping ? m->stop_by : TIME_NEVER,
        m->status.under_way ? m->status.give_up_at : TIME_NEVER,
        reload_deadline(m),
        m->children[ROLE_IKE].ready ? reconnect_deadline(&m->reconnect) : TIME_NEVER,
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        next = others[i] < next ? others[i] : next;
    return next;
}

static int wait_ms(const struct monitor *m)
{
    time_us now = run_now(), next = next_deadline(m);
    if (next <= now)
        return 0;
    time_us ms = (next - now + 999) / TIME_MILLISECOND;
    return ms > WAIT_MAX_MS ? WAIT_MAX_MS : (int)ms;
}

static void dispatch(struct monitor *m, uint64_t what)
{
    if (what == WATCH_SIGNALS)
        take_signals(m);
    else if (what == WATCH_CTL)
        ctl_serve(m->ctl);
    else if (what == WATCH_RESOLVER && m->resolver.pid)
        connect_resolved(m);
    else if (what == WATCH_NETWORK)
        uplinks_changed(m);
    else if (what == WATCH_HEIR)
        reload_read_heir(m);
    else if (what >= WATCH_CHILD)
        children_read(m, (enum run_role)(what - WATCH_CHILD));
}

/* ike ends itself when the peers have been told; the others have nothing to finish. */
static bool stopped(const struct monitor *m)
{
    return m->stopping && (!m->children[ROLE_IKE].pid || run_now() >= m->stop_by);
}

static void serve(struct monitor *m)
{
    struct epoll_event events[16];
    while (!stopped(m)) {
        int count = epoll_wait(m->epoll, events, ARRAY_LEN(events), wait_ms(m));
        for (int i = 0; i < count; i++)
            dispatch(m, events[i].data.u64);
        time_us now = run_now();
        children_restart_due(m, now);
        reload_tick(m, now);
        status_tick(m, now);
        connect_tick(m, now);
        uplinks_tick(m);
    }
}

static int confine(void)
{
    char why[256];
    if (sandbox_drop(ROLE_MONITOR, 0, DESCRIPTORS, why) || sandbox_filter(ROLE_MONITOR, why)) {
        log_error("%s", why);
        return RUN_EXIT_FAILED;
    }
    return 0;
}

static void say_ready(struct monitor *m)
{
    static const char octet = 1;
    m->serving = true;
    m->since = m->read_at = run_wall_clock(NULL);
    if (m->ready_fd >= 0 && write(m->ready_fd, &octet, 1) != 1)
        log_debug("nobody waits for our readiness");
    if (m->conf->gateway)
        log_info("gateway %s is ready on %s, %u workers", m->conf->tunnel.name, m->tun.name,
                 m->workers);
    else
        reconnect_now(&m->reconnect, run_now());
}

static void close_loop(struct monitor *m)
{
    if (m->signal_fd >= 0)
        close(m->signal_fd);
    if (m->watch_fd >= 0)
        close(m->watch_fd);
    if (m->epoll >= 0)
        close(m->epoll);
}

int run_monitor(struct conf *conf, int ready_fd)
{
    static struct monitor monitor;
    struct monitor *m = &monitor;
    m->conf = conf;
    m->ready_fd = ready_fd;
    m->epoll = m->signal_fd = m->resolver.fd = m->watch_fd = -1;
    for (size_t i = 0; i < ROLE_COUNT; i++)
        m->children[i] = (struct child){.fd = -1, .restart_at = TIME_NEVER};
    reload_init(m);
    log_set_name("shrike");
    log_set_level((enum log_level)conf->log_level);
    int code = open_loop(m);
    if (code == 0)
        code = startup_open(m);
    if (code == 0)
        code = uplinks_open(m);
    if (code == 0)
        code = children_start(m);
    if (code == 0)
        code = confine();
    if (code == 0) {
        uplinks_forget(m);
        say_ready(m);
        serve(m);
        code = m->exit_code;
    }
    children_end(m);
    reload_end(m);
    resolver_cancel(&m->resolver);
    startup_close(m);
    control_close(m);
    close_loop(m);
    return code;
}
