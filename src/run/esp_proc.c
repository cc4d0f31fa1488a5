#include "run/esp_proc.h"

#include "run/esp_send.h"
#include "run/esp_worker.h"
#include "run/outbox.h"
#include "run/sandbox.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    TICK_MS = 250,
    LINGER = 10 * 1000 * 1000, /* microseconds that a removed SA still receives */
    SAS_A_TUNNEL = 4,
    SAS_LEAST = 16,
    DESCRIPTORS = 64,
    IKE_ROUND = 256, /* messages of ike handled before the monitor gets its turn */
};

struct esp_process {
    const struct esp_process_args *args;
    struct esp_plane *plane;
    struct esp_workers *workers;
    struct esp_sender sender; /* of dummy packets, which this thread sends */
    struct outbox outbox;     /* to the monitor, of whom nobody waits */
    int ike_fd;
    int wake_fd; /* workers have urgent facts */
    bool done;
    bool facts_wait; /* `facts` did not fit into the socket yet */
    struct ipc_message in, facts, added;
};

/* ---- ike ------------------------------------------------------------------------------------ */

static void lose_ike(struct esp_process *p)
{
    if (p->ike_fd >= 0)
        close(p->ike_fd);
    p->ike_fd = -1;
    p->facts_wait = false;
    log_debug("the ike process is gone; traffic goes on");
}

/* ike waits for this before it answers its peers; it reads whatever else it does. */
static void confirm(struct esp_process *p)
{
    struct ipc_message *added = &p->added;
    if (added->added.count == 0)
        return;
    if (p->ike_fd >= 0 && ipc_send(p->ike_fd, added, -1) == ERR_CLOSED)
        lose_ike(p);
    ipc_prepare(added, IPC_ESP_ADDED, 0);
}

static void add(struct esp_process *p)
{
    const struct esp_sa_config *sa = &p->in.esp_add;
    struct ipc_added *added = &p->added.added;
    int result = esp_add(p->plane, sa, run_now());
    if (result)
        log_warn("child SA %08x cannot be added: %s", sa->spi_in, err_sentence(result));
    added->at[added->count++] =
        (struct ipc_added_one){.result = result, .spi_in = sa->spi_in, .tunnel = sa->tunnel};
    ipc_wipe(&p->in);
    if (added->count == IPC_ADDED_MAX)
        confirm(p);
}

static void handle_ike(struct esp_process *p)
{
    const struct ipc_esp_move *move = &p->in.esp_move;
    switch (p->in.kind) {
    case IPC_ESP_ADD:
        add(p);
        return;
    case IPC_ESP_DEL: /* it may have ended by itself meanwhile */
        (void)!esp_remove(p->plane, p->in.esp_del.spi_in, run_now(),
                          p->in.esp_del.linger ? LINGER : 0);
        return;
    case IPC_ESP_MOVE:
        if (esp_move(p->plane, move->tunnel, &move->local, &move->remote, move->interface,
                     move->udp))
            log_debug("no child SA to move");
        return;
    default:
        log_warn("ike sent a message that is not for esp: %s", ipc_kind_name(p->in.kind));
    }
}

static void read_ike(struct esp_process *p)
{
    ipc_prepare(&p->added, IPC_ESP_ADDED, 0);
    for (int i = 0; i < IKE_ROUND && p->ike_fd >= 0; i++) {
        int result = ipc_receive(p->ike_fd, &p->in, NULL);
        if (result == ERR_AGAIN)
            break;
        if (result == ERR_CLOSED)
            lose_ike(p);
        else if (result == 0)
            handle_ike(p);
    }
    confirm(p);
}

static void log_fact(const struct esp_fact *fact)
{
    if (fact->kind == ESP_FACT_SOFT || fact->kind == ESP_FACT_HARD)
        log_debug("child SA %08x: the %s limit is reached", fact->spi_in,
                  fact->kind == ESP_FACT_SOFT ? "soft" : "hard");
}

/* Facts leave the plane only when there is room for them. */
static void send_facts(struct esp_process *p)
{
    while (p->ike_fd >= 0) {
        if (!p->facts_wait) {
            ipc_prepare(&p->facts, IPC_FACTS, 0);
            struct ipc_facts *facts = &p->facts.facts;
            while (facts->count < IPC_FACTS_MAX &&
                   esp_next_fact(p->plane, &facts->at[facts->count]))
                log_fact(&facts->at[facts->count++]);
            if (facts->count == 0)
                return;
        }
        int result = ipc_send(p->ike_fd, &p->facts, -1);
        p->facts_wait = result == ERR_AGAIN;
        if (result == ERR_CLOSED)
            lose_ike(p);
        if (result != 0)
            return;
    }
}

/* ---- the monitor ---------------------------------------------------------------------------- */

struct report {
    struct esp_process *p;
    uint32_t serial;
    time_us now;
};

static uint64_t ago(time_us now, time_us then)
{
    return then == 0 || then > now ? 0 : now - then;
}

static void report_sa(void *context, const struct esp_sa_status *status)
{
    static struct ipc_message message;
    const struct report *report = context;
    ipc_prepare(&message, IPC_STATUS_ESP, report->serial);
    message.status_esp = *status;
    message.status_esp.added = ago(report->now, status->added);
    message.status_esp.last_in = ago(report->now, status->last_in);
    message.status_esp.last_out = ago(report->now, status->last_out);
    (void)!outbox_send(&report->p->outbox, report->p->args->monitor_fd, &message);
}

static void report_all(struct esp_process *p, uint32_t serial)
{
    static struct ipc_message end;
    struct report report = {.p = p, .serial = serial, .now = run_now()};
    esp_walk(p->plane, report_sa, &report);
    ipc_prepare(&end, IPC_STATUS_END_ESP, serial);
    esp_counters(p->plane, &end.end_esp.counters);
    (void)!outbox_send(&p->outbox, p->args->monitor_fd, &end);
}

static void take_peer(struct esp_process *p, int fd)
{
    if (p->in.peer.role != ROLE_IKE || fd < 0) {
        if (fd >= 0)
            close(fd);
        return;
    }
    if (p->ike_fd >= 0)
        close(p->ike_fd);
    p->ike_fd = fd;
    p->facts_wait = false;
}

static void read_monitor(struct esp_process *p)
{
    int attached, result;
    while ((result = ipc_receive(p->args->monitor_fd, &p->in, &attached)) == 0) {
        if (p->in.kind == IPC_PEER) {
            take_peer(p, attached);
            continue;
        }
        if (attached >= 0)
            close(attached);
        if (p->in.kind == IPC_STATUS_ASK)
            report_all(p, p->in.serial);
        else if (p->in.kind == IPC_LEVEL)
            log_set_level((enum log_level)p->in.level.level);
        else if (p->in.kind == IPC_STOP)
            p->done = true;
    }
    if (result == ERR_CLOSED)
        p->done = true;
}

/* ---- the loop ------------------------------------------------------------------------------- */

/* Called by a worker; one octet is enough for all of them. */
static void wake(void *context)
{
    const struct esp_process *p = context;
    static const uint64_t one = 1;
    (void)!write(p->wake_fd, &one, sizeof(one));
}

static bool was_woken(const struct esp_process *p, const struct pollfd *wait)
{
    uint64_t count;
    return wait->revents && read(p->wake_fd, &count, sizeof(count)) > 0;
}

static int pause_until(time_us now, time_us due)
{
    time_us pause = due > now ? due - now : 0;
    return pause < TICK_MS * TIME_MILLISECOND
               ? (int)((pause + TIME_MILLISECOND - 1) / TIME_MILLISECOND)
               : TICK_MS;
}

static void serve(struct esp_process *p)
{
    time_us next = run_now(), dummies = next;
    while (!p->done) {
        struct pollfd wait[3] = {{.fd = p->args->monitor_fd, .events = POLLIN},
                                 {.fd = p->ike_fd, .events = POLLIN},
                                 {.fd = p->wake_fd, .events = POLLIN}};
        if (outbox_waits(&p->outbox))
            wait[0].events |= POLLOUT;
        (void)poll(wait, 3, dummies == TIME_NEVER ? TICK_MS : pause_until(run_now(), dummies));
        if (wait[1].revents)
            read_ike(p);
        if (wait[0].revents)
            read_monitor(p);
        if (outbox_waits(&p->outbox) &&
            outbox_flush(&p->outbox, p->args->monitor_fd, run_now()) == ERR_CLOSED)
            p->done = true;
        time_us now = run_now();
        if (now >= next || was_woken(p, &wait[2])) {
            esp_tick(p->plane, now);
            next = now + TICK_MS * TIME_MILLISECOND;
        }
        send_facts(p);
        if (dummies != TIME_NEVER)
            dummies = esp_cover(p->plane, now);
    }
}

/* Child SAs: two a tunnel while one is rekeyed, and what lingers; clients may have several. */
static uint32_t sa_limit(const struct conf *conf)
{
    return conf->tunnel.max_tunnels * SAS_A_TUNNEL + SAS_LEAST;
}

static void send_dummies(void *context, struct esp_send *send)
{
    esp_send_run(context, send);
}

/* By the control thread, with the first worker's sockets. */
static int open_cover(struct esp_process *p, const struct esp_workers_config *with)
{
    struct esp_out_calls calls = {.context = &p->sender, .send = send_dummies};
    if (p->args->conf->tunnel.dummies == 0)
        return 0;
    esp_send_prepare(&p->sender, with->sockets, with->raw4, with->raw6, 0);
    return esp_cover_open(p->plane, &calls);
}

/* Threads are made when privileges are gone and before the filter closes: it may then forbid
 * clone(), and holds for all of them. */
static int start(struct esp_process *p, char why[static 256])
{
    const struct esp_process_args *args = p->args;
    struct esp_plane_config config = {.workers = args->workers,
                                      .max_sas = sa_limit(args->conf),
                                      .device_mtu =
                                          args->conf->mtu ? args->conf->mtu : RUN_DEFAULT_MTU,
                                      .dummies = args->conf->tunnel.dummies,
                                      .random = &random_system,
                                      .urgent = wake,
                                      .urgent_context = p};
    struct esp_workers_config with = {
        .workers = args->workers,
        .tun = args->tun,
        .sockets = args->sockets,
        .raw4 = args->sockets->plain4 ? &args->sockets->raw4 : NULL,
        .raw6 = args->sockets->plain6 ? &args->sockets->raw6 : NULL,
    };
    unsigned descriptors = DESCRIPTORS + args->workers * (3u + RUN_GROUPS);
    snprintf(why, 256, "the data plane cannot start: memory or threads are missing");
    p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->wake_fd < 0)
        return ERR_SYSTEM;
    if (crypto_init())
        return ERR_CRYPTO;
    with.plane = p->plane = esp_create(&config);
    if (!p->plane || open_cover(p, &with))
        return ERR_MEMORY;
    int err = sandbox_drop(ROLE_ESP, args->conf->uid_base + ROLE_ESP, descriptors, why);
    if (!err)
        err = esp_workers_start(&with, &p->workers);
    return err ? err : sandbox_filter(ROLE_ESP, why);
}

int esp_process(void *context)
{
    static struct esp_process p;
    const struct esp_process_args *args = context;
    char why[256];
    p = (struct esp_process){.args = args, .ike_fd = args->ike_fd};
    if (start(&p, why))
        return run_fault(args->monitor_fd, RUN_EXIT_FAILED, "%s", why);
    ipc_prepare(&p.in, IPC_READY, 0);
    if (ipc_send(args->monitor_fd, &p.in, -1) == 0)
        serve(&p);
    esp_workers_stop(p.workers);
    (void)!outbox_flush(&p.outbox, args->monitor_fd, run_now());
    esp_free(p.plane);
    return RUN_EXIT_OK;
}
