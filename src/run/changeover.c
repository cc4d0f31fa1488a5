/* Another configuration while all runs: monitor.h has the order. What is before SWITCHED fails
 * without a trace; what fails after it is mended as a death of keys is. */
#include "run/monitor.h"

#include "run/report.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEYS_SECONDS = 20, PREPARE_SECONDS = 10, SWITCH_SECONDS = 10, JUDGE_SECONDS = 60 };
enum { ROOM_MS = 1000 };

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void kill_process(pid_t *pid)
{
    if (!*pid)
        return;
    kill(*pid, SIGKILL);
    while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    *pid = 0;
}

void reload_init(struct monitor *m)
{
    m->reload = (struct reload){
        .heir_fd = -1, .former_fd = -1, .ike_end = -1, .former_end = -1, .deadline = TIME_NEVER};
}

/* All that is left of one; the report has been given away. */
static void clear(struct monitor *m)
{
    struct reload *r = &m->reload;
    kill_process(&r->heir);
    kill_process(&r->former);
    close_fd(&r->heir_fd);
    close_fd(&r->former_fd);
    close_fd(&r->ike_end);
    close_fd(&r->former_end);
    conf_free(r->conf);
    json_decref(r->report);
    bool again = r->again;
    reload_init(m);
    r->again = again;
}

static void next_phase(struct monitor *m, enum reload_phase phase, unsigned seconds)
{
    m->reload.phase = phase;
    m->reload.deadline = run_now() + seconds * TIME_SECOND;
}

/* ---- failures */

static void answer_failure(struct monitor *m, const char *error, json_t *parameters)
{
    if (m->reload.asked)
        (void)!ctl_error(m->ctl, m->reload.client, error, parameters); /* it may have gone */
    else
        json_decref(parameters);
}

static void refuse(struct monitor *m, const char *what, const char *next)
{
    log_error("the configuration was not read again: %s; %s", what, next);
    answer_failure(m, "org.shrike.Refused", json_pack("{s:s,s:s}", "what", what, "next", next));
    clear(m);
}

static const char as_it_was[] = "nothing has changed, and all runs as before";

static void refuse_faults(struct monitor *m, const struct conf_faults *faults)
{
    report_log_faults(faults);
    log_error("the configuration was not read again: %s", as_it_was);
    answer_failure(m, "org.shrike.Refused",
                   json_pack("{s:s,s:o,s:b}", "what", as_it_was, "faults", report_faults(faults),
                             "configuration", 1));
    clear(m);
}

/* After the switch: keys and ike know different things now, so both go. */
static void break_down(struct monitor *m, const char *why)
{
    static const char next[] = "keys and ike are made anew with the new configuration, and clients "
                               "connect again";
    log_error("the new configuration could not be handed over: %s; %s", why, next);
    answer_failure(m, "org.shrike.Broken", json_pack("{s:s,s:s}", "what", why, "next", next));
    m->read_at = run_wall_clock(NULL);
    net_apply_settle(&m->net);
    clear(m);
    for (enum run_role role = ROLE_KEYS; role <= ROLE_IKE; role++)
        if (m->children[role].pid)
            children_drop(m, role);
}

/* ---- reading and comparing */

static bool all_serve(const struct monitor *m)
{
    for (enum run_role role = ROLE_KEYS; role < ROLE_COUNT; role++)
        if (!m->children[role].pid || !m->children[role].ready)
            return false;
    return !m->stopping;
}

/* The file's own text, what it names, and whether we can follow: 0, or it was refused. */
static int read_file(struct monitor *m)
{
    static struct conf_faults faults;
    static struct conf_changes changes;
    struct reload *r = &m->reload;
    memset(&faults, 0, sizeof(faults));
    int result = conf_load(m->conf->file, &r->conf, &faults);
    if (result == 0)
        result = conf_check(r->conf, run_wall_clock(NULL), &faults);
    if (result == 0)
        result = conf_compare(m->conf, r->conf, &changes);
    if (result == 0)
        result = conf_followable(m->conf, r->conf, &changes, &faults);
    if (result) {
        refuse_faults(m, &faults);
        return result;
    }
    conf_inherit(r->conf, m->conf);
    report_log_faults(&faults); /* warnings */
    report_log_changes(&changes);
    r->report = report_changes(r->conf, &changes, &faults);
    return 0;
}

/* ---- the heir */

static int make_heir(struct monitor *m)
{
    struct reload *r = &m->reload;
    int ours[2] = {-1, -1}, with_ike[2] = {-1, -1}, with_former[2] = {-1, -1};
    int result = ipc_pair(ours);
    if (result == 0)
        result = ipc_pair(with_ike);
    if (result == 0)
        result = ipc_pair(with_former);
    if (result == 0) {
        struct keys_process_args args = {.conf = r->conf,
                                         .monitor_fd = ours[1],
                                         .ike_fd = with_ike[1],
                                         .former_fd = with_former[1]};
        r->heir = children_spawn_keys(r->conf, &args);
        if (r->heir < 0) {
            r->heir = 0;
            result = ERR_SYSTEM;
        }
    }
    close_fd(&ours[1]);
    close_fd(&with_ike[1]);
    close_fd(&with_former[1]);
    r->heir_fd = ours[0];
    r->ike_end = with_ike[0];
    r->former_end = with_former[0];
    return result ? result : monitor_watch(m, r->heir_fd, WATCH_HEIR);
}

void reload_begin(struct monitor *m, const struct ctl_client_ref *client)
{
    struct reload *r = &m->reload;
    if (r->phase != RELOAD_IDLE) {
        r->again |= client == NULL; /* the file may have been changed since it was read */
        log_warn("the configuration is being read again already%s",
                 client ? "" : "; and will be once more");
        if (client)
            (void)!ctl_error(m->ctl, *client, "org.shrike.InProgress",
                             json_pack("{s:s,s:s}", "what", "a reload is under way", "next",
                                       "try again when it has ended"));
        return;
    }
    clear(m); /* the last one's old process has ended, or had time enough */
    r->again = false;
    r->serial = ++m->serial;
    r->began = run_now();
    r->asked = client != NULL;
    if (client)
        r->client = *client;
    log_info("reading %s again", m->conf->file);
    if (!all_serve(m)) {
        refuse(m, "not every process serves just now", "try again in a moment");
        return;
    }
    if (read_file(m))
        return;
    next_phase(m, RELOAD_KEYS, KEYS_SECONDS);
    if (make_heir(m))
        refuse(m, "a second keys process cannot be made", as_it_was);
}

/* ---- ike gets what it needs */

/* The monitor may wait a little here: ike reads whatever else it does. */
static int to_ike(struct monitor *m, int attach)
{
    int fd = m->children[ROLE_IKE].fd;
    return fd < 0 ? ERR_CLOSED : ipc_send_wait(fd, &m->message, attach, ROOM_MS);
}

static int send_cert(struct monitor *m, enum ipc_cert_kind kind, const struct cert *cert)
{
    struct bytes der = cert_der(cert);
    int result = der.len > IPC_CERT_OCTETS ? ERR_LIMIT : 0;
    for (size_t at = 0; at < der.len && result == 0; at += IPC_CERT_PIECE) {
        size_t len = der.len - at < IPC_CERT_PIECE ? der.len - at : IPC_CERT_PIECE;
        ipc_prepare(&m->message, IPC_CERT, 0);
        struct ipc_cert *piece = &m->message.cert;
        piece->kind = kind;
        piece->total = (uint32_t)der.len;
        piece->offset = (uint32_t)at;
        piece->len = (uint32_t)len;
        memcpy(piece->octets, der.at + at, len);
        result = to_ike(m, -1);
    }
    return result;
}

static int send_credentials(struct monitor *m, const struct conf_credentials *c)
{
    int result = 0;
    for (size_t i = 0; i < c->chain_count && result == 0; i++)
        result = send_cert(m, IPC_CERT_OWN, c->chain[i]);
    size_t anchors = c->trust ? cert_trust_count(c->trust) : 0;
    for (size_t i = 0; i < anchors && result == 0; i++)
        result = send_cert(m, IPC_CERT_TRUST, cert_trust_at(c->trust, i));
    return result;
}

static bool has_sites(const struct conf *conf)
{
    for (size_t i = 0; i < conf->peer_count; i++)
        if (conf->peers[i].network_count)
            return true;
    return false;
}

static int send_to_ike(struct monitor *m, const struct conf_credentials *credentials)
{
    ipc_prepare(&m->message, IPC_RELOAD, m->reload.serial);
    m->message.reload.tunnel = m->reload.conf->tunnel;
    m->message.reload.sites = has_sites(m->reload.conf);
    int result = to_ike(m, -1);
    if (result == 0)
        result = send_credentials(m, credentials);
    if (result)
        return result;
    ipc_prepare(&m->message, IPC_RELOAD_END, 0);
    return to_ike(m, -1);
}

static void prepare_ike(struct monitor *m)
{
    static struct conf_faults faults;
    struct conf_credentials credentials;
    memset(&faults, 0, sizeof(faults));
    next_phase(m, RELOAD_PREPARE, PREPARE_SECONDS);
    int unread = conf_credentials_read(m->reload.conf, CONF_WANT_CERTS | CONF_WANT_TRUST,
                                       &credentials, &faults);
    int unsent = unread ? 0 : send_to_ike(m, &credentials);
    conf_credentials_free(&credentials);
    if (unread)
        refuse_faults(m, &faults);
    else if (unsent)
        refuse(m, "the certificates did not reach the ike process", as_it_was);
}

void reload_read_heir(struct monitor *m)
{
    struct reload *r = &m->reload;
    if (r->heir_fd < 0)
        return;
    int result = ipc_receive(r->heir_fd, &m->in, NULL);
    if (result == ERR_AGAIN)
        return;
    children_end_texts(&m->in);
    if (result == 0 && m->in.kind == IPC_READY && r->phase == RELOAD_KEYS)
        prepare_ike(m);
    else if (result == 0 && m->in.kind == IPC_FAULT)
        refuse(m, m->in.fault.text, as_it_was);
    else
        refuse(m, "the new keys process ended while it started", as_it_was);
}

/* ---- the switch */

/* The heir becomes the child, and the old one is only waited for. */
static void promote(struct monitor *m)
{
    struct reload *r = &m->reload;
    struct child *child = &m->children[ROLE_KEYS];
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = WATCH_CHILD + ROLE_KEYS};
    (void)epoll_ctl(m->epoll, EPOLL_CTL_DEL, child->fd, NULL);
    (void)epoll_ctl(m->epoll, EPOLL_CTL_MOD, r->heir_fd, &event);
    r->former = child->pid;
    r->former_fd = child->fd;
    child->pid = r->heir;
    child->fd = r->heir_fd;
    child->started = run_now();
    r->heir = 0;
    r->heir_fd = -1;
}

static int tell_both(struct monitor *m)
{
    struct reload *r = &m->reload;
    ipc_prepare(&m->message, IPC_HAND_OVER, 0);
    int result = ipc_send_wait(r->former_fd, &m->message, r->former_end, ROOM_MS);
    close_fd(&r->former_end);
    if (result)
        return result;
    ipc_prepare(&m->message, IPC_PEER, 0);
    m->message.peer = (struct ipc_peer){.role = ROLE_KEYS, .generation = m->generation};
    result = to_ike(m, r->ike_end);
    close_fd(&r->ike_end);
    return result;
}

static void take_level(struct monitor *m)
{
    log_set_level((enum log_level)m->conf->log_level);
    ipc_prepare(&m->message, IPC_LEVEL, 0);
    m->message.level.level = m->conf->log_level;
    if (to_ike(m, -1) || children_send(m, ROLE_ESP, &m->message))
        log_debug("the log's level did not reach everybody");
}

static void switch_over(struct monitor *m)
{
    struct reload *r = &m->reload;
    struct conf *former = m->conf;
    char why[NET_WHY] = "";
    int result = net_apply_change(&m->net, r->conf, why);
    if (result) {
        refuse(m, why[0] ? why : err_sentence(result), as_it_was);
        return;
    }
    m->conf = r->conf;
    r->conf = NULL;
    conf_free(former);
    promote(m);
    next_phase(m, RELOAD_SWITCH, SWITCH_SECONDS);
    if (tell_both(m)) {
        break_down(m, "keys or ike do not listen");
        return;
    }
    take_level(m);
    if (m->watch_fd < 0 && uplinks_open(m) == 0) /* `roam = no` had left it out */
        uplinks_forget(m);
}

/* ---- the end */

/* Once: whoever waits hears what has become of it. */
static void announce(struct monitor *m)
{
    struct reload *r = &m->reload;
    json_t *report = r->report;
    if (!report)
        return;
    r->report = NULL;
    m->read_at = run_wall_clock(NULL);
    report_outcome(report, r, run_now() - r->began);
    if (r->asked)
        (void)!ctl_reply(m->ctl, r->client, report, false); /* it may have gone */
    else
        json_decref(report);
    r->asked = false;
}

static void finish(struct monitor *m)
{
    struct reload *r = &m->reload;
    net_apply_settle(&m->net);
    log_info("the new configuration is in force: %u tunnels stay, %llu ended", r->judged.stayed,
             (unsigned long long)r->ended);
    announce(m);
    pid_t former = r->former; /* it may need a moment more to end */
    int former_fd = r->former_fd;
    r->former = 0;
    r->former_fd = -1;
    clear(m);
    r->former = former;
    r->former_fd = former_fd;
}

/* Nobody waits any longer, but no other reload begins before the last tunnel is judged: it would
 * compare with secrets that were never asked about. */
static void go_on_judging(struct monitor *m)
{
    log_warn("not every tunnel is judged yet; `shrike status` shows what stands");
    announce(m);
    m->reload.deadline = TIME_NEVER;
}

static void switched(struct monitor *m)
{
    struct reload *r = &m->reload;
    if (!r->in_force || !r->taken)
        return;
    if (r->all_judged)
        finish(m);
    else if (r->phase != RELOAD_JUDGE)
        next_phase(m, RELOAD_JUDGE, JUDGE_SECONDS);
}

static void take_done(struct monitor *m, const struct ipc_reload_done *done)
{
    struct reload *r = &m->reload;
    if (r->phase == RELOAD_PREPARE && !done->in_force) {
        if (done->result)
            refuse(m, err_sentence(done->result), "the certificates cannot be used");
        else
            switch_over(m);
    } else if (r->phase == RELOAD_SWITCH && done->in_force) {
        r->done = *done;
        r->in_force = true;
        if (done->result)
            break_down(m, err_sentence(done->result));
        else
            switched(m);
    }
}

void reload_take(struct monitor *m, enum run_role role, const struct ipc_message *message)
{
    struct reload *r = &m->reload;
    if (role == ROLE_IKE && message->serial != r->serial)
        return; /* about one that was given up */
    if (role == ROLE_IKE && message->kind == IPC_RELOAD_DONE) {
        take_done(m, &message->reload_done);
    } else if (role == ROLE_KEYS && message->kind == IPC_TAKEN_OVER && r->phase == RELOAD_SWITCH) {
        r->leases = message->taken_over;
        r->taken = true;
        switched(m);
    } else if (role == ROLE_IKE && message->kind == IPC_JUDGED && r->in_force) {
        r->judged = message->judged;
        r->all_judged = true;
        switched(m);
    }
}

void reload_event(struct monitor *m, const struct ipc_event *event)
{
    struct reload *r = &m->reload;
    if ((r->phase != RELOAD_SWITCH && r->phase != RELOAD_JUDGE) || !r->in_force ||
        event->what.kind != IKE_EVENT_DOWN)
        return;
    if (r->ended++ < RELOAD_ENDED && r->report)
        report_ended(r->report, event);
}

/* ---- deaths, and patience */

void reload_reap(struct monitor *m)
{
    struct reload *r = &m->reload;
    int status;
    if (r->heir && waitpid(r->heir, &status, WNOHANG) == r->heir) {
        r->heir = 0;
        reload_read_heir(m); /* its last words */
        if (r->phase != RELOAD_IDLE)
            refuse(m, "the new keys process ended", as_it_was);
    }
    if (r->former && waitpid(r->former, &status, WNOHANG) == r->former) {
        r->former = 0;
        close_fd(&r->former_fd);
        bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (!well && r->phase == RELOAD_SWITCH && !r->taken)
            break_down(m, "the old keys process ended before it had handed over");
    }
}

void reload_died(struct monitor *m, enum run_role role)
{
    char what[128];
    snprintf(what, sizeof(what), "the %s process ended meanwhile", run_role_name(role));
    if (m->reload.phase == RELOAD_KEYS || m->reload.phase == RELOAD_PREPARE)
        refuse(m, what, "try again when it serves");
    else if (m->reload.phase != RELOAD_IDLE)
        break_down(m, what);
}

void reload_tick(struct monitor *m, time_us now)
{
    if (m->reload.phase == RELOAD_IDLE && m->reload.again)
        reload_begin(m, NULL);
    if (now < m->reload.deadline)
        return;
    switch (m->reload.phase) {
    case RELOAD_IDLE:
        break;
    case RELOAD_KEYS:
        refuse(m, "the new keys process does not get ready", as_it_was);
        break;
    case RELOAD_PREPARE:
        refuse(m, "the ike process does not answer", as_it_was);
        break;
    case RELOAD_SWITCH:
        break_down(m, "keys and ike did not change over in time");
        break;
    case RELOAD_JUDGE:
        go_on_judging(m);
        break;
    }
}

time_us reload_deadline(const struct monitor *m)
{
    bool at_once = m->reload.phase == RELOAD_IDLE && m->reload.again;
    return at_once ? run_now() : m->reload.deadline;
}

void reload_end(struct monitor *m)
{
    if (m->reload.phase != RELOAD_IDLE)
        answer_failure(m, "org.shrike.Refused",
                       json_pack("{s:s}", "what", "it is being taken down"));
    clear(m);
}
