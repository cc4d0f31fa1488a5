/* Making a child process that holds nothing it was not given. */
#include "run/internal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { KEEP_MAX = 3 * RUN_GROUPS * NET_WORKERS_MAX };

time_us run_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (time_us)now.tv_sec * TIME_SECOND + (time_us)now.tv_nsec / 1000;
}

int64_t run_wall_clock(void *context)
{
    struct timespec now;
    (void)context;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}

static int compare_ints(const void *a, const void *b)
{
    const int *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Closes everything from 3 on that is not in the list. */
static void close_others(const int *keep, size_t count)
{
    int sorted[KEEP_MAX];
    unsigned from = 3;
    if (count > KEEP_MAX)
        count = KEEP_MAX;
    if (count)
        memcpy(sorted, keep, count * sizeof(*keep));
    qsort(sorted, count, sizeof(*sorted), compare_ints);
    for (size_t i = 0; i < count; i++) {
        if (sorted[i] < (int)from)
            continue;
        if ((unsigned)sorted[i] > from)
            (void)close_range(from, (unsigned)sorted[i] - 1, 0);
        from = (unsigned)sorted[i] + 1;
    }
    (void)close_range(from, ~0U, 0);
}

static void settle(enum run_role role, const int *keep, size_t keep_count)
{
    static const int for_monitor[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
    char name[16];
    sigset_t none;
    for (size_t i = 0; i < ARRAY_LEN(for_monitor); i++)
        signal(for_monitor[i], SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    close_others(keep, keep_count);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        close(null);
    }
    snprintf(name, sizeof(name), "shrike-%s", run_role_name(role));
    (void)prctl(PR_SET_NAME, name, 0, 0, 0);
    log_set_name(run_role_name(role));
}

pid_t run_spawn(enum run_role role, const char *name, const int *keep, size_t keep_count,
                int (*body)(void *), void *args)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent)
        _exit(RUN_EXIT_FAILED);
    run_title(run_role_name(role), name);
    settle(role, keep, keep_count);
    _exit(body(args));
}

int run_fault(int monitor_fd, int exit_code, const char *format, ...)
{
    static struct ipc_message message;
    va_list list;
    ipc_prepare(&message, IPC_FAULT, 0);
    message.fault.exit_code = exit_code;
    va_start(list, format);
    vsnprintf(message.fault.text, sizeof(message.fault.text), format, list);
    va_end(list);
    if (ipc_send_wait(monitor_fd, &message, -1, 1000))
        log_error("%s", message.fault.text);
    return exit_code;
}
