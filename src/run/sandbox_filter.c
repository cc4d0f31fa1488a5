/* One process needs these system calls. What is not on its list kills it. */
#include "run/sandbox.h"

#include <errno.h>
#include <linux/fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER
#endif
#endif

/* No file, no socket, no process: memory without execution, time, random octets, and messages over
 * descriptors that are there already. */
static const int for_all[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(close),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(futex),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};
static const int for_ike[] = {
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_ctl),
};
static const int for_esp[] = {
    SCMP_SYS(readv),       SCMP_SYS(writev),          SCMP_SYS(recvmmsg),
    SCMP_SYS(sched_yield), SCMP_SYS(clock_nanosleep),
};
/* The monitor runs nft and resolvers, whose needs are not ours to list: so the other way round, the
 * calls nobody there has any business with. */
static const int monitor_never[] = {
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsmount),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(reboot),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    SCMP_SYS(personality),
};

static int allow(scmp_filter_ctx filter, const int *calls, size_t count)
{
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    return result;
}

/* Memory, but never memory to execute; descriptors' flags, but nothing else of fcntl. */
static int allow_with_conditions(scmp_filter_ctx filter)
{
    struct scmp_arg_cmp no_exec = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    struct scmp_arg_cmp get_flags = SCMP_A1(SCMP_CMP_EQ, F_GETFL, 0);
    int result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, no_exec);
    if (result == 0)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, no_exec);
    if (result == 0)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, get_flags);
    return result;
}

static int rules_for(enum run_role role, scmp_filter_ctx filter)
{
    int result = allow(filter, for_all, ARRAY_LEN(for_all));
    if (result == 0)
        result = allow_with_conditions(filter);
    if (result == 0 && role == ROLE_IKE)
        result = allow(filter, for_ike, ARRAY_LEN(for_ike));
    if (result == 0 && role == ROLE_ESP)
        result = allow(filter, for_esp, ARRAY_LEN(for_esp));
    return result;
}

static int rules_for_monitor(scmp_filter_ctx filter)
{
    int result = 0;
    for (size_t i = 0; i < ARRAY_LEN(monitor_never) && result == 0; i++)
        result = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, monitor_never[i], 0);
    return result;
}

bool sandbox_filters(void)
{
#ifdef UNDER_SANITIZER
    return false;
#else
    return true;
#endif
}

int sandbox_filter(enum run_role role, char why[static 256])
{
    bool monitor = role == ROLE_MONITOR;
    if (!sandbox_filters())
        return 0;
    scmp_filter_ctx filter = seccomp_init(monitor ? SCMP_ACT_ALLOW : SCMP_ACT_KILL_PROCESS);
    int result = filter ? 0 : -ENOMEM;
    if (result == 0)
        result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0); /* is set already */
    if (result == 0 && !monitor)
        result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (result == 0)
        result = monitor ? rules_for_monitor(filter) : rules_for(role, filter);
    if (result == 0)
        result = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    if (result == 0)
        return 0;
    snprintf(why, 256, "cannot confine the process: seccomp: %s", strerror(-result));
    return ERR_SYSTEM;
}
