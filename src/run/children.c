/* Making, watching and restarting the children.
 *
 * ike can be made anew alone: esp carries on with the SAs it has. keys and esp take ike with them,
 * because what it knows of leases or SAs would no longer be true. Each pair of neighbours gets a
 * fresh socket pair; the one that lives on is handed its end by IPC_PEER.
 */
#include "run/monitor.h"

#include "run/esp_proc.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    START_SECONDS = 20,
    STABLE_SECONDS = 60, /* who lived so long gets restarted at once again */
    BACKOFF_MAX_SECONDS = 30,
};
#define MASK(role) (1U << (role))

/* The ends that the children of one start get. */
struct ends {
    int monitor[ROLE_COUNT];
    int ike_keys, ike_esp; /* ike's ends */
    int keys_ike, esp_ike; /* the others' */
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_ends(struct ends *ends)
{
    for (size_t i = 0; i < ROLE_COUNT; i++)
        close_fd(&ends->monitor[i]);
    close_fd(&ends->ike_keys);
    close_fd(&ends->ike_esp);
    close_fd(&ends->keys_ike);
    close_fd(&ends->esp_ike);
}

static int pair_with(struct monitor *m, enum run_role role, struct ends *ends)
{
    int pair[2];
    int result = ipc_pair(pair);
    if (result)
        return result;
    close_fd(&m->children[role].fd);
    m->children[role].fd = pair[0];
    ends->monitor[role] = pair[1];
    return monitor_watch(m, pair[0], WATCH_CHILD + role);
}

static int pair_up(int *a, int *b)
{
    int pair[2];
    int result = ipc_pair(pair);
    if (result)
        return result;
    *a = pair[0];
    *b = pair[1];
    return 0;
}

static int make_pairs(struct monitor *m, unsigned mask, struct ends *ends)
{
    int result = pair_up(&ends->ike_keys, &ends->keys_ike);
    if (result == 0)
        result = pair_up(&ends->ike_esp, &ends->esp_ike);
    for (enum run_role role = ROLE_KEYS; role < ROLE_COUNT && result == 0; role++)
        if (mask & MASK(role))
            result = pair_with(m, role, ends);
    return result;
}

/* ---- making one */

static size_t keep_sockets(const struct run_sockets *s, bool workers, uint16_t count, int *keep)
{
    size_t n = 0;
    for (size_t g = 0; g < s->count; g++) {
        if (!workers) {
            keep[n++] = s->group[g].ike_500;
            keep[n++] = s->group[g].ike_natt;
        }
        for (uint16_t w = 0; workers && w < count; w++)
            keep[n++] = s->group[g].worker[w];
    }
    return n;
}

static void forget_secrets(struct conf *conf)
{
    secret_wipe(conf->psk, sizeof(conf->psk));
    for (size_t i = 0; i < conf->peer_count; i++)
        secret_wipe(conf->peers[i].psk, sizeof(conf->peers[i].psk));
}

/* keys has its copy of what the file said, and is made first: nobody who is made later gets one. */
pid_t children_spawn_keys(struct conf *conf, const struct keys_process_args *args)
{
    struct keys_process_args own = *args;
    int keep[3] = {own.monitor_fd, own.ike_fd, own.former_fd};
    size_t count = own.former_fd < 0 ? 2 : 3;
    pid_t pid = run_spawn(ROLE_KEYS, conf->tunnel.name, keep, count, keys_process, &own);
    forget_secrets(conf);
    return pid;
}

static pid_t make_keys(struct monitor *m, const struct ends *ends, bool again)
{
    struct keys_process_args args = {.conf = m->conf,
                                     .monitor_fd = ends->monitor[ROLE_KEYS],
                                     .ike_fd = ends->keys_ike,
                                     .former_fd = -1,
                                     .read_again = again};
    return children_spawn_keys(m->conf, &args);
}

static pid_t make_ike(struct monitor *m, const struct ends *ends)
{
    struct ike_process_args args = {.conf = m->conf,
                                    .monitor_fd = ends->monitor[ROLE_IKE],
                                    .keys_fd = ends->ike_keys,
                                    .esp_fd = ends->ike_esp,
                                    .generation = m->generation,
                                    .sockets = &m->sockets};
    int keep[3 + 2 * RUN_GROUPS] = {args.monitor_fd, args.keys_fd, args.esp_fd};
    size_t count = 3 + keep_sockets(&m->sockets, false, 0, keep + 3);
    return run_spawn(ROLE_IKE, m->conf->tunnel.name, keep, count, ike_process, &args);
}

static size_t keep_esp(const struct monitor *m, const struct esp_process_args *args, int *keep)
{
    size_t count = 0;
    keep[count++] = args->monitor_fd;
    keep[count++] = args->ike_fd;
    for (uint16_t i = 0; i < m->workers; i++) {
        if (m->sockets.plain4)
            keep[count++] = m->sockets.raw4.worker[i];
        if (m->sockets.plain6)
            keep[count++] = m->sockets.raw6.worker[i];
    }
    for (uint16_t i = 0; i < m->tun.queues; i++)
        keep[count++] = m->tun.fd[i];
    return count + keep_sockets(&m->sockets, true, m->workers, keep + count);
}

static pid_t make_esp(struct monitor *m, const struct ends *ends)
{
    static int keep[2 + NET_WORKERS_MAX * (3 + RUN_GROUPS)];
    struct esp_process_args args = {.conf = m->conf,
                                    .monitor_fd = ends->monitor[ROLE_ESP],
                                    .ike_fd = ends->esp_ike,
                                    .workers = m->workers,
                                    .tun = &m->tun,
                                    .sockets = &m->sockets};
    size_t count = keep_esp(m, &args, keep);
    return run_spawn(ROLE_ESP, m->conf->tunnel.name, keep, count, esp_process, &args);
}

static int make(struct monitor *m, enum run_role role, const struct ends *ends, bool again)
{
    struct child *child = &m->children[role];
    pid_t pid = role == ROLE_KEYS  ? make_keys(m, ends, again)
                : role == ROLE_IKE ? make_ike(m, ends)
                                   : make_esp(m, ends);
    if (pid < 0) {
        log_error("cannot make the %s process: %s", run_role_name(role), strerror(errno));
        return ERR_SYSTEM;
    }
    child->pid = pid;
    child->ready = false;
    child->started = run_now();
    child->restart_at = TIME_NEVER;
    return 0;
}

/* Hands a living neighbour its end of the new pair with ike. */
static void hand_over(struct monitor *m, enum run_role role, int fd)
{
    ipc_prepare(&m->message, IPC_PEER, 0);
    m->message.peer = (struct ipc_peer){.role = ROLE_IKE, .generation = m->generation};
    if (ipc_send(m->children[role].fd, &m->message, fd))
        log_warn("%s does not take its new pair", run_role_name(role));
}

static int make_all(struct monitor *m, unsigned mask, bool again)
{
    struct ends ends;
    memset(&ends, 0xff, sizeof(ends)); /* all -1 */
    m->generation++;
    int result = make_pairs(m, mask, &ends);
    for (enum run_role role = ROLE_KEYS; role < ROLE_COUNT && result == 0; role++)
        if (mask & MASK(role))
            result = make(m, role, &ends, again);
    if (result == 0 && !(mask & MASK(ROLE_KEYS)))
        hand_over(m, ROLE_KEYS, ends.keys_ike);
    if (result == 0 && !(mask & MASK(ROLE_ESP)))
        hand_over(m, ROLE_ESP, ends.esp_ike);
    close_ends(&ends);
    return result;
}

/* ---- the first start */

#define TERMINATE(text) ((text)[sizeof(text) - 1] = 0)

/* A child that was taken over may say anything; texts, at least, shall end. */
void children_end_texts(struct ipc_message *message)
{
    switch (message->kind) {
    case IPC_FAULT:
        TERMINATE(message->fault.text);
        break;
    case IPC_EVENT:
        TERMINATE(message->event.what.text);
        TERMINATE(message->event.what.offered);
        TERMINATE(message->event.what.accepted);
        TERMINATE(message->event.who);
        break;
    case IPC_STATUS_IKE:
        TERMINATE(message->status_ike.own);
        TERMINATE(message->status_ike.peer);
        TERMINATE(message->status_ike.peer_name);
        TERMINATE(message->status_ike.suite);
        break;
    case IPC_STATUS_CHILD:
        TERMINATE(message->status_child.suite);
        break;
    }
}

/* One message of a child that starts: 0 when there is nothing yet, 1 ready, else minus its exit
 * code. */
static int first_word(struct monitor *m, enum run_role role)
{
    int result = ipc_receive(m->children[role].fd, &m->in, NULL);
    if (result == ERR_AGAIN)
        return 0;
    if (result == 0 && m->in.kind == IPC_READY)
        return 1;
    if (result == 0 && m->in.kind == IPC_FAULT) {
        children_end_texts(&m->in);
        log_error("%s", m->in.fault.text);
        return m->in.fault.exit_code > 0 ? -m->in.fault.exit_code : -RUN_EXIT_FAILED;
    }
    log_error("the %s process ended while it started", run_role_name(role));
    return -RUN_EXIT_FAILED;
}

static int await_ready(struct monitor *m, enum run_role role, time_us end)
{
    int word;
    while ((word = first_word(m, role)) == 0) {
        struct pollfd fd = {.fd = m->children[role].fd, .events = POLLIN};
        time_us now = run_now();
        if (now >= end || poll(&fd, 1, (int)((end - now) / TIME_MILLISECOND) + 1) <= 0) {
            log_error("the %s process does not get ready", run_role_name(role));
            return RUN_EXIT_FAILED;
        }
    }
    m->children[role].ready = word > 0;
    return word > 0 ? 0 : -word;
}

int children_start(struct monitor *m)
{
    unsigned all = MASK(ROLE_KEYS) | MASK(ROLE_IKE) | MASK(ROLE_ESP);
    time_us end = run_now() + START_SECONDS * TIME_SECOND;
    int code = make_all(m, all, false) ? RUN_EXIT_FAILED : 0;
    for (enum run_role role = ROLE_KEYS; role < ROLE_COUNT && code == 0; role++)
        code = await_ready(m, role, end);
    return code;
}

/* ---- deaths and restarts */

static void bury(struct child *child)
{
    child->pid = 0;
    child->ready = false;
    close_fd(&child->fd);
}

static void kill_now(struct child *child)
{
    if (!child->pid)
        return;
    kill(child->pid, SIGKILL);
    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    bury(child);
}

static void say_death(enum run_role role, int status)
{
    if (WIFSIGNALED(status))
        log_error("the %s process was ended by signal %d (%s)%s", run_role_name(role),
                  WTERMSIG(status), strsignal(WTERMSIG(status)),
                  WTERMSIG(status) == SIGSYS ? ": a system call that it may not make" : "");
    else
        log_error("the %s process ended with status %d", run_role_name(role), WEXITSTATUS(status));
}

static time_us restart_delay(struct child *child, time_us now)
{
    if (now - child->started > STABLE_SECONDS * TIME_SECOND)
        child->failures = 0;
    unsigned failures = child->failures++;
    if (failures == 0)
        return 0;
    time_us seconds = failures < 6 ? (time_us)1 << (failures - 1) : BACKOFF_MAX_SECONDS;
    return seconds * TIME_SECOND;
}

static void died(struct monitor *m, enum run_role role, int status)
{
    struct child *child = &m->children[role];
    time_us now = run_now();
    if (m->serving && !m->stopping)
        children_read(m, role); /* its last words */
    bury(child);
    if (m->stopping)
        return;
    say_death(role, status);
    child->restarts++;
    child->restart_at = now + restart_delay(child, now);
    log_info("%s", role == ROLE_IKE ? "traffic goes on; ike is made anew"
                                    : "it is made anew, and ike with it");
    if (role != ROLE_IKE)
        kill_now(&m->children[ROLE_IKE]);
    reload_died(m, role);
}

void children_drop(struct monitor *m, enum run_role role)
{
    struct child *child = &m->children[role];
    kill_now(child);
    child->restarts++;
    child->restart_at = run_now();
}

void children_reap(struct monitor *m)
{
    for (enum run_role role = ROLE_KEYS; role < ROLE_COUNT; role++) {
        struct child *child = &m->children[role];
        int status;
        if (child->pid && waitpid(child->pid, &status, WNOHANG) == child->pid)
            died(m, role, status);
    }
    reload_reap(m);
}

time_us children_deadline(const struct monitor *m)
{
    time_us next = TIME_NEVER;
    for (enum run_role role = ROLE_KEYS; role < ROLE_COUNT; role++)
        if (!m->children[role].pid && m->children[role].restart_at < next)
            next = m->children[role].restart_at;
    return next;
}

void children_restart_due(struct monitor *m, time_us now)
{
    unsigned dead = 0;
    if (m->stopping || children_deadline(m) > now)
        return;
    for (enum run_role role = ROLE_KEYS; role < ROLE_COUNT; role++)
        if (!m->children[role].pid)
            dead |= MASK(role);
    if (!(dead & MASK(ROLE_IKE))) {
        kill_now(&m->children[ROLE_IKE]);
        dead |= MASK(ROLE_IKE);
    }
    if (make_all(m, dead, true))
        monitor_stop(m, RUN_EXIT_FAILED);
}

void children_end(struct monitor *m)
{
    for (enum run_role role = ROLE_KEYS; role < ROLE_COUNT; role++)
        kill_now(&m->children[role]);
}

int children_send(struct monitor *m, enum run_role role, const struct ipc_message *message)
{
    return m->children[role].fd < 0 ? ERR_CLOSED : ipc_send(m->children[role].fd, message, -1);
}

/* ---- what they say */

static void now_ready(struct monitor *m, enum run_role role)
{
    m->children[role].ready = true;
    log_info("the %s process serves again", run_role_name(role));
    if (role == ROLE_IKE)
        connect_ike_ready(m);
}

/* In transport mode what the two hosts say must not go beside: ike waits for this, and ends the
 * tunnel that could not have it. */
static void network_done(struct monitor *m, uint64_t tunnel, int result)
{
    ipc_prepare(&m->message, IPC_NET_DONE, 0);
    m->message.done = (struct ipc_done){.result = result, .tunnel = tunnel};
    if (children_send(m, ROLE_IKE, &m->message))
        log_warn("the ike process did not hear whether the network is ready, and ends the tunnel");
}

static void network(struct monitor *m, const struct ipc_message *message)
{
    char why[NET_WHY] = "";
    if (message->kind == IPC_NET_UP) {
        int result = net_apply_up(&m->net, &message->net, why);
        if (result)
            log_error("%s %s",
                      message->net.transport ? "the tunnel has to end:" : "the tunnel stands, but",
                      why[0] ? why : err_sentence(result));
        if (message->net.transport)
            network_done(m, message->net.tunnel, result);
    } else {
        net_apply_down(&m->net, message->net.tunnel);
    }
}

static void take(struct monitor *m, enum run_role role)
{
    const struct ipc_message *message = &m->in;
    children_end_texts(&m->in);
    switch (message->kind) {
    case IPC_READY:
        now_ready(m, role);
        break;
    case IPC_FAULT:
        log_error("%s", message->fault.text);
        break;
    case IPC_NET_UP:
    case IPC_NET_DOWN:
        network(m, message);
        break;
    case IPC_EVENT:
        words_log(m, &message->event);
        connect_event(m, &message->event.what);
        control_event(m, &message->event);
        reload_event(m, &message->event);
        break;
    case IPC_RELOAD_DONE:
    case IPC_JUDGED:
    case IPC_TAKEN_OVER:
        reload_take(m, role, message);
        break;
    case IPC_COMMAND_DONE:
        connect_started(m, message);
        control_done(m, message);
        break;
    default:
        status_take(m, message);
    }
}

void children_read(struct monitor *m, enum run_role role)
{
    struct child *child = &m->children[role];
    int result = 0;
    while (child->fd >= 0 && (result = ipc_receive(child->fd, &m->in, NULL)) == 0)
        take(m, role);
    if (result == ERR_CLOSED)
        close_fd(&child->fd); /* its death is told by SIGCHLD */
}
