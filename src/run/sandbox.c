/* Giving up everything a process does not need: see sandbox.h. */
#include "run/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the monitor keeps: addresses, routes and rules; ending its children; and making new ones
 * that drop to their own user ids again. */
static const uint64_t monitor_keeps = 1ULL << CAP_NET_ADMIN | 1ULL << CAP_KILL |
                                      1ULL << CAP_SETUID | 1ULL << CAP_SETGID | 1ULL << CAP_SETPCAP;

static int fail(char why[static 256], const char *what)
{
    snprintf(why, 256, "cannot confine the process: %s: %s", what, strerror(errno));
    return ERR_SYSTEM;
}

/* The bounding set limits what a later execve() could gain. */
static bool drop_bounding_set(uint64_t keep)
{
    for (unsigned capability = 0; capability < 64; capability++) {
        if (keep >> capability & 1)
            continue;
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
            return errno == EINVAL; /* beyond the last one of this kernel */
    }
    return true;
}

static bool set_capabilities(uint64_t keep)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    for (unsigned i = 0; i < 2; i++)
        data[i].permitted = data[i].effective = (uint32_t)(keep >> (32 * i));
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return syscall(SYS_capset, &header, data) == 0;
}

static bool limit(int resource, rlim_t value)
{
    struct rlimit both = {.rlim_cur = value, .rlim_max = value};
    return setrlimit((__rlimit_resource_t)resource, &both) == 0;
}

/* ---- Landlock, by raw system calls: the C library has no wrappers */

enum { LANDLOCK_CREATE = 444, LANDLOCK_RESTRICT = 446, LANDLOCK_ASK_VERSION = 1 };

struct landlock_rules {
    uint64_t files, network, scope;
};

/* Handles every right of the kernel's version and allows none of them. Descriptors that are open
 * stay usable. A kernel without Landlock is no fault: the other walls stand. */
static void landlock_nothing(void)
{
    long version = syscall(LANDLOCK_CREATE, NULL, 0, LANDLOCK_ASK_VERSION);
    if (version < 1)
        return;
    static const unsigned file_rights[] = {0, 13, 14, 15, 15, 16};
    size_t known =
        (size_t)version < ARRAY_LEN(file_rights) ? (size_t)version : ARRAY_LEN(file_rights) - 1;
    struct landlock_rules rules = {.files = (1ULL << file_rights[known]) - 1};
    size_t size = sizeof(rules.files);
    if (version >= 4) {
        rules.network = 3; /* TCP bind and connect */
        size += sizeof(rules.network);
    }
    if (version >= 6) {
        rules.scope = 3; /* abstract sockets and signals */
        size += sizeof(rules.scope);
    }
    long fd = syscall(LANDLOCK_CREATE, &rules, size, 0);
    if (fd < 0)
        return;
    (void)syscall(LANDLOCK_RESTRICT, (int)fd, 0);
    close((int)fd);
}

static int become_user(uint32_t uid, char why[static 256])
{
    if (setgroups(0, NULL) < 0)
        return fail(why, "setgroups");
    if (setresgid(uid, uid, uid) < 0)
        return fail(why, "setresgid");
    if (setresuid(uid, uid, uid) < 0)
        return fail(why, "setresuid");
    return 0;
}

int sandbox_drop(enum run_role role, uint32_t uid, unsigned descriptors, char why[static 256])
{
    bool monitor = role == ROLE_MONITOR;
    uint64_t keep = monitor ? monitor_keeps : 0;
    umask(077);
    if (!drop_bounding_set(keep))
        return fail(why, "bounding set");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return fail(why, "no_new_privs");
    int result = monitor ? 0 : become_user(uid, why);
    if (result)
        return result;
    if (!set_capabilities(keep))
        return fail(why, "capabilities");
    if (!monitor)
        landlock_nothing();
    if (!limit(RLIMIT_CORE, 0) || !limit(RLIMIT_NOFILE, descriptors))
        return fail(why, "limits");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return fail(why, "dumpable");
    /* A change of user id has cleared it. */
    if (!monitor && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return fail(why, "parent's death signal");
    return 0;
}

int sandbox_errand(uint32_t uid, char why[static 256])
{
    if (!drop_bounding_set(0))
        return fail(why, "bounding set");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return fail(why, "no_new_privs");
    int result = become_user(uid, why);
    if (result)
        return result;
    if (!set_capabilities(0))
        return fail(why, "capabilities");
    if (!limit(RLIMIT_CORE, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return fail(why, "limits");
    /* A change of user id has cleared it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return fail(why, "parent's death signal");
    return 0;
}
