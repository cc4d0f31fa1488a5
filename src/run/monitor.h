/* The monitor's own state, shared by its files:
 *
 *   monitor.c   start, the loop, signals, the end      startup.c   devices and sockets, with
 * reasons children.c  making, watching, restarting children  connect.c   a client's attempts
 *   control.c   the control socket's calls             status.c    collecting the answers for
 * Status words.c     events as lines of the log and as JSON
 *   changeover.c    another configuration while all runs      report.c    what came of that, in
 * words
 */
#ifndef SHRIKE_RUN_MONITOR_H
#define SHRIKE_RUN_MONITOR_H

#include "ctl/ctl.h"
#include "run/internal.h"
#include "run/nap.h"
#include "run/net_apply.h"
#include "run/reconnect.h"
#include "run/refusals.h"
#include "run/resolver.h"
#include "store/store.h"

enum {
    MONITOR_REFUSED = 16, /* refusals shown in status */
    MONITOR_RECENT = 64,  /* tunnels whose handshake's length is remembered */
    CONTROL_CALLS = 64,   /* calls that wait for something */
};

struct monitor;

struct child {
    pid_t pid; /* 0 = not running */
    int fd;    /* our end, or -1 */
    bool ready;
    uint32_t restarts;
    unsigned failures; /* deaths in a row, soon after the start */
    time_us started;
    time_us restart_at; /* TIME_NEVER: not planned */
};

/* A call that is answered later. */
enum waiting_for { WAIT_NOTHING, WAIT_STATUS, WAIT_COMMAND, WAIT_UP, WAIT_EVENTS, WAIT_END };
struct control_call {
    enum waiting_for what;
    struct ctl_client_ref client;
    uint32_t serial;           /* of the command */
    uint64_t after;            /* Status */
    size_t limit;              /* Status */
    bool counters_only;        /* Status */
    unsigned commands, worked; /* Rekey: how many still to be answered, how many did something */
};

/* ---- changeover.c: the file is read again while all runs
 *
 *   CHECKED    the file reads well, and what has changed can be followed: a new keys process (the
 *              heir) is made beside the old one, and reads the secrets
 *   KEYS       it is ready: ike gets the tunnel's options and the certificates
 *   PREPARED   ike has read them; the network has what the new pools need. Until here nothing has
 *              changed, and every failure leaves all as it was.
 *   SWITCHED   ike asks the heir, to whom the old one hands on leases and secrets. A failure from
 *              here on ends keys and ike, and both are made anew as after any death of keys.
 *   JUDGED     both serve; ike asks for each tunnel whether it may stay
 */
enum reload_phase { RELOAD_IDLE, RELOAD_KEYS, RELOAD_PREPARE, RELOAD_SWITCH, RELOAD_JUDGE };
enum { RELOAD_ENDED = 64 }; /* tunnels that the report names */
struct reload {
    enum reload_phase phase;
    time_us deadline, began;
    uint32_t serial; /* of what ike is told and answers */
    bool asked;      /* by `client`, who waits; else by a signal */
    bool again;      /* another signal came meanwhile */
    struct ctl_client_ref client;
    struct conf *conf;  /* the new one, until it is in force */
    pid_t heir, former; /* keys processes that are not (any more) among the children; 0 = none */
    int heir_fd, former_fd;           /* our ends */
    int ike_end, former_end;          /* of the heir's pairs with these two */
    bool in_force, taken, all_judged; /* SWITCHED: what ike and the heir have said */
    struct ipc_reload_done done;
    struct ipc_taken_over leases;
    struct ipc_judged judged;
    uint64_t ended;
    json_t *report;
};
void reload_init(struct monitor *m);
/* client: who waits for the answer, or NULL. */
void reload_begin(struct monitor *m, const struct ctl_client_ref *client);
void reload_read_heir(struct monitor *m);
void reload_take(struct monitor *m, enum run_role role, const struct ipc_message *message);
void reload_event(struct monitor *m, const struct ipc_event *event);
void reload_reap(struct monitor *m);
void reload_died(struct monitor *m, enum run_role role);
void reload_tick(struct monitor *m, time_us now);
time_us reload_deadline(const struct monitor *m);
void reload_end(struct monitor *m);

struct recent {
    uint64_t tunnel;
    uint32_t elapsed_us, messages;
};

/* One collection of everybody's answers. */
struct status_book {
    uint32_t serial;
    bool under_way, ike_done, esp_done;
    time_us give_up_at, collected_at;
    struct ipc_status_ike *ike;
    struct ipc_status_child *child;
    struct esp_sa_status *esp;
    size_t ike_count, child_count, esp_count;
    size_t ike_room, child_room, esp_room;
    struct ipc_end_ike ike_end;
    struct ipc_end_esp esp_end;
};

struct monitor {
    struct conf *conf;
    int epoll, signal_fd, ready_fd;
    uint16_t workers;
    struct net_tun tun;
    struct run_sockets sockets;
    struct net_apply net;
    struct child children[ROLE_COUNT];
    uint32_t generation, serial;
    int64_t since, read_at; /* the configuration */
    struct reload reload;
    bool serving, stopping;
    time_us stop_by;
    int exit_code;
    struct ipc_message in;      /* what a child said, while it is looked at */
    struct ipc_message message; /* what we say */

    struct ctl_server *ctl;
    struct control_call calls[CONTROL_CALLS];
    struct status_book status;
    uint64_t established; /* tunnels that stand now */
    struct recent recent[MONITOR_RECENT];
    size_t recent_next;
    struct refusals refusals; /* gateway: peers; client: our own attempts */
    json_t *last_error;       /* client */
    struct budget refusals_logged, strangers_logged;
    time_us full_said; /* when the log said that no place is free */

    /* client */
    struct reconnect reconnect;
    struct resolver resolver;
    struct resolver_result gateway; /* its addresses; the last ones that were found stay */
    size_t gateway_next;
    uint64_t tunnel;          /* the one that stands or is tried */
    uint32_t initiate_serial; /* of the command under way */

    /* uplinks.c */
    int watch_fd;
    struct ike_addresses told; /* to ike */
    struct ip outer;           /* where the tunnel goes now */
    struct nap nap;
    time_us resolved_at;
};

enum { WATCH_SIGNALS, WATCH_CTL, WATCH_RESOLVER, WATCH_NETWORK, WATCH_HEIR, WATCH_CHILD };

int monitor_watch(struct monitor *m, int fd, uint64_t what) MUST_USE;
/* Ends in good order: ike tells the peers first. */
void monitor_stop(struct monitor *m, int exit_code);

/* startup.c: 0 or an exit code; the reason is in the log. */
int startup_open(struct monitor *m) MUST_USE;
void startup_close(struct monitor *m);

/* children.c */
int children_start(struct monitor *m) MUST_USE; /* 0 or an exit code */
void children_reap(struct monitor *m);          /* after SIGCHLD */
void children_restart_due(struct monitor *m, time_us now);
time_us children_deadline(const struct monitor *m);
void children_end(struct monitor *m); /* the last resort: kills what is left */
void children_read(struct monitor *m, enum run_role role);
int children_send(struct monitor *m, enum run_role role, const struct ipc_message *message);
/* A keys process; the secrets in conf are wiped then. -1 when fork fails. */
pid_t children_spawn_keys(struct conf *conf, const struct keys_process_args *args);
/* Ends it now; it will be made anew. */
void children_drop(struct monitor *m, enum run_role role);
/* What an IPC_FAULT or IPC_EVENT says ends. */
void children_end_texts(struct ipc_message *message);

/* connect.c */
void connect_tick(struct monitor *m, time_us now);
void connect_resolved(struct monitor *m);
void connect_started(struct monitor *m, const struct ipc_message *done);
void connect_event(struct monitor *m, const struct ike_event *event);
void connect_ike_ready(struct monitor *m);

/* uplinks.c: what this host can send from, for ike */
int uplinks_open(struct monitor *m) MUST_USE;
void uplinks_changed(struct monitor *m);          /* netlink has something */
void uplinks_tell(struct monitor *m, bool doubt); /* ike gets the list when it is another */
void uplinks_forget(struct monitor *m);           /* a new ike process knows nothing */
void uplinks_tick(struct monitor *m);             /* has the machine slept? */
void uplinks_event(struct monitor *m, const struct ike_event *event);

/* calls.c */
int control_open(struct monitor *m) MUST_USE; /* 0 or an exit code */
void control_close(struct monitor *m);
void control_event(struct monitor *m, const struct ipc_event *event);
void control_done(struct monitor *m, const struct ipc_message *done);
void control_status_ready(struct monitor *m);

/* status.c */
void status_ask(struct monitor *m, bool follow_up);
void status_take(struct monitor *m, const struct ipc_message *message);
void status_tick(struct monitor *m, time_us now);
json_t *status_json(struct monitor *m, uint64_t after, size_t limit);
json_t *status_counters(const struct monitor *m);
json_t *status_tunnel(struct monitor *m, uint64_t tunnel); /* NULL: not there */
void status_free(struct monitor *m);

/* words.c */
void words_log(struct monitor *m, const struct ipc_event *event);
json_t *words_json(const struct ipc_event *event);
const char *words_event_kind(uint32_t kind);

#endif
