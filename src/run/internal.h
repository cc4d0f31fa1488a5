/* What the files of run/ share: sockets as the processes get them, and how a process is made. */
#ifndef SHRIKE_RUN_INTERNAL_H
#define SHRIKE_RUN_INTERNAL_H

#include "conf/conf.h"
#include "net/net.h"
#include "run/ipc.h"
#include "run/run.h"

#include <sys/types.h>

enum {
    RUN_GROUPS = 2 * CONF_LISTEN,
    /* The ike process stops reading datagrams while so many questions to keys are open; see
     * BUFFER_OCTETS in ipc.c. */
    RUN_QUESTIONS = 256,
    RUN_DEFAULT_MTU = 1400,
};

/* The program's exit codes (they belong to cli/, which this folder cannot see). */
enum {
    RUN_EXIT_OK = 0,
    RUN_EXIT_FAILED = 1,
    RUN_EXIT_AUTH = 4,
    RUN_EXIT_UNREACHABLE = 5,
    RUN_EXIT_CONFIG = 6,
    RUN_EXIT_PERMISSION = 7,
    RUN_EXIT_IN_USE = 10,
    RUN_EXIT_LACKING = 11,
};

/* One group of sockets for one local address; ike uses its first two, esp the others. */
struct run_sockets {
    size_t count;
    struct ip ip[RUN_GROUPS];
    struct net_udp_group group[RUN_GROUPS];
    bool plain4, plain6; /* raw4, raw6 are open */
    bool ah;             /* for AH, else plain ESP */
    struct net_raw_group raw4, raw6;
};

/* Monotonic microseconds that go on while the machine sleeps. */
time_us run_now(void);
int64_t run_wall_clock(void *context); /* seconds since 1970 */

/* ---- title.c */
void run_title(const char *role, const char *name);

/* ---- state.c */

/* 32 random octets that stay the same over restarts: read from the state folder, or made there
 * now. ERR_SYSTEM: none, and why is in the log. */
int state_secret(const struct conf *conf, uint8_t out[static 32]) MUST_USE;

/* ---- spawn */

/* Forks; in the child closes all descriptors but 0-2 and `keep`, ignores the signals that are for
 * the monitor, and returns body(args) as its exit status. -1 when fork fails. `name` is the
 * instance's, for ps. */
pid_t run_spawn(enum run_role role, const char *name, const int *keep, size_t keep_count,
                int (*body)(void *), void *args);
/* Tells the monitor why this process cannot start; returns the exit status to end with. */
int run_fault(int monitor_fd, int exit_code, const char *format, ...) PRINTF_LIKE(3, 4);

/* ---- the processes; each returns its exit status */

struct keys_process_args {
    const struct conf *conf;
    int monitor_fd, ike_fd;
    int former_fd;   /* to the keys process whose place this one takes, or -1 */
    bool read_again; /* the secrets in conf were wiped: read the file once more */
};
int keys_process(void *args);

struct ike_process_args {
    const struct conf *conf;
    int monitor_fd, keys_fd, esp_fd;
    uint32_t generation;
    const struct run_sockets *sockets;
};
int ike_process(void *args);

#endif
