/* What each process may not do: every forbidden call and file, tried in a process confined like
 * the real one. Needs root; says so and skips without. */
#include "run/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { UID = 64510, SURVIVED = 7, REFUSED = 8, NOT_CONFINED = 9 };

/* An attempt returns true when it got what it should not get. */
typedef bool attempt_fn(void);

static bool try_open(void)
{
    return open("/etc/hostname", O_RDONLY) >= 0;
}
static bool try_create(void)
{
    return open("/tmp/shrike-test-sandbox", O_RDWR | O_CREAT, 0600) >= 0;
}
static bool try_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) >= 0;
}
static bool try_connect(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(3, (struct sockaddr *)&to, sizeof(to)) == 0 || errno != EBADF;
}
static bool try_bind(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    return bind(3, (struct sockaddr *)&at, sizeof(at)) == 0 || errno != EBADF;
}
static bool try_execve(void)
{
    char *argv[] = {(char[]){"true"}, NULL}, *none[] = {NULL};
    return execve("/bin/true", argv, none) == 0;
}
static bool try_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(SURVIVED);
    return pid > 0;
}
static bool try_ptrace(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}
static bool try_ptrace_parent(void)
{
    return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0;
}
static bool try_io_uring(void)
{
    char parameters[256] = {0};
    return syscall(SYS_io_uring_setup, 4, parameters) >= 0;
}
static bool try_bpf(void)
{
    char attributes[128] = {0};
    return syscall(SYS_bpf, 0, attributes, sizeof(attributes)) >= 0;
}
static bool try_kill(void)
{
    return kill(getppid(), 0) == 0;
}
static bool try_setuid(void)
{
    return setuid(0) == 0;
}
static bool try_mount(void)
{
    return syscall(SYS_mount, "none", "/mnt", "tmpfs", 0, NULL) == 0;
}
static bool try_unshare(void)
{
    return syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */) == 0;
}
static bool try_ioctl(void)
{
    int available;
    return ioctl(0, FIONREAD, &available) == 0;
}
static bool try_prctl(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
}
static bool try_exec_memory(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
           MAP_FAILED;
}
static bool try_exec_protect(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
}
static bool try_vm_read(void)
{
    return syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0) == 0;
}
static bool try_nothing(void)
{
    return true; /* what is allowed goes on working: the test of the test */
}

static const struct trial {
    const char *name;
    attempt_fn *attempt;
} trials[] = {
    {"open", try_open},
    {"create", try_create},
    {"socket", try_socket},
    {"connect", try_connect},
    {"bind", try_bind},
    {"execve", try_execve},
    {"fork", try_fork},
    {"ptrace", try_ptrace},
    {"ptrace of the parent", try_ptrace_parent},
    {"io_uring_setup", try_io_uring},
    {"bpf", try_bpf},
    {"kill", try_kill},
    {"setuid", try_setuid},
    {"mount", try_mount},
    {"unshare", try_unshare},
    {"ioctl", try_ioctl},
    {"prctl", try_prctl},
    {"memory to execute", try_exec_memory},
    {"memory made executable", try_exec_protect},
    {"process_vm_readv", try_vm_read},
};

/* A child confined like this role makes the attempt; returns its wait status. */
static int confined(enum run_role role, bool filter, attempt_fn *attempt)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        char why[256];
        if (sandbox_drop(role, role == ROLE_MONITOR ? 0 : UID, 64, why) ||
            (filter && sandbox_filter(role, why)))
            _exit(NOT_CONFINED);
        _exit(attempt() ? SURVIVED : REFUSED);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static bool skipped(void)
{
    if (geteuid() == 0)
        return false;
    printf("skip: confining a process needs root\n");
    return true;
}

static bool unfiltered(void)
{
    if (sandbox_filters())
        return false;
    printf("skip: a build with sanitizers filters no system calls\n");
    return true;
}

static void each_forbidden_call_kills(void **state)
{
    (void)state;
    if (skipped() || unfiltered())
        skip();
    for (enum run_role role = ROLE_KEYS; role < ROLE_COUNT; role++) {
        int fine = confined(role, true, try_nothing);
        assert_true(WIFEXITED(fine) && WEXITSTATUS(fine) == SURVIVED);
        for (size_t i = 0; i < ARRAY_LEN(trials); i++) {
            int status = confined(role, true, trials[i].attempt);
            if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
                fail_msg("%s: %s gave status 0x%x", run_role_name(role), trials[i].name, status);
        }
    }
}

/* The other walls, each alone, without seccomp before it. */
static void without_seccomp_files_stay_closed(void **state)
{
    static attempt_fn *const walls[] = {try_create, try_setuid, try_ptrace_parent, try_kill};
    (void)state;
    if (skipped())
        skip();
    for (enum run_role role = ROLE_KEYS; role < ROLE_COUNT; role++)
        for (size_t i = 0; i < ARRAY_LEN(walls); i++) {
            int status = confined(role, false, walls[i]);
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), REFUSED);
        }
}

static bool has_landlock(void)
{
    return syscall(444, NULL, 0, 1) > 0;
}

static void landlock_closes_readable_files(void **state)
{
    (void)state;
    if (skipped())
        skip();
    if (!has_landlock()) {
        printf("skip: this kernel has no Landlock\n");
        skip();
    }
    for (enum run_role role = ROLE_KEYS; role < ROLE_COUNT; role++) {
        int status = confined(role, false, try_open);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), REFUSED);
    }
}

static void monitor_is_kept_from_the_worst(void **state)
{
    static attempt_fn *const never[] = {try_ptrace, try_io_uring, try_bpf,
                                        try_mount,  try_unshare,  try_vm_read};
    (void)state;
    if (skipped() || unfiltered())
        skip();
    for (size_t i = 0; i < ARRAY_LEN(never); i++) {
        int status = confined(ROLE_MONITOR, true, never[i]);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSYS);
    }
    int fine = confined(ROLE_MONITOR, true, try_open);
    assert_true(WIFEXITED(fine) && WEXITSTATUS(fine) == SURVIVED);
}

static uint64_t number_after(const char *word)
{
    char line[256];
    uint64_t value = UINT64_MAX;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, word, strlen(word)) == 0)
            value = strtoull(line + strlen(word), NULL, 16);
    if (file)
        fclose(file);
    return value;
}

/* Landlock forbids /proc, so a monitor's view of itself and system calls tell. */
static bool looks_dropped(void)
{
    gid_t groups[8];
    struct rlimit core;
    return getuid() == UID && geteuid() == UID && getgid() == UID && getgroups(8, groups) == 0 &&
           getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0 &&
           prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 &&
           prctl(PR_CAPBSET_READ, 12, 0, 0, 0) == 0;
}
static bool monitor_looks_dropped(void)
{
    uint64_t kept = 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 12;
    return number_after("CapEff:") == kept && number_after("CapBnd:") == kept &&
           number_after("CapPrm:") == kept && number_after("CapInh:") == 0;
}

static void nothing_is_left(void **state)
{
    (void)state;
    if (skipped())
        skip();
    for (enum run_role role = ROLE_KEYS; role < ROLE_COUNT; role++) {
        int status = confined(role, false, looks_dropped);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), SURVIVED);
    }
    int status = confined(ROLE_MONITOR, false, monitor_looks_dropped);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), SURVIVED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_forbidden_call_kills),
        cmocka_unit_test(without_seccomp_files_stay_closed),
        cmocka_unit_test(landlock_closes_readable_files),
        cmocka_unit_test(monitor_is_kept_from_the_worst),
        cmocka_unit_test(nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
