/* sandbox: what each process gives up. In two steps, because threads come between them:
 *
 *   sandbox_drop()    user id, groups, capabilities, bounding set, no_new_privs, Landlock (an empty
 *                     ruleset: no file and no TCP), limits, not dumpable. Before threads are made.
 *   sandbox_filter()  the system calls: a seccomp allow-list for the role, on all threads of the
 *                     process (TSYNC); anything else kills it. After threads are made.
 *
 * Every file a process needs is opened before sandbox_drop(); OpenSSL is initialised before it too.
 * The lists stand in sandbox_filter.c, measured by strace on the real processes.
 */
#ifndef SHRIKE_RUN_SANDBOX_H
#define SHRIKE_RUN_SANDBOX_H

#include "run/ipc.h"

/* uid: of this process; group alike. descriptors: RLIMIT_NOFILE. ERR_SYSTEM with `why`. */
int sandbox_drop(enum run_role role, uint32_t uid, unsigned descriptors,
                 char why[static 256]) MUST_USE;
/* For a short errand of the monitor's, which may read public files and open sockets: another user,
 * no capability, nothing that could come back. */
int sandbox_errand(uint32_t uid, char why[static 256]) MUST_USE;
int sandbox_filter(enum run_role role, char why[static 256]) MUST_USE;
/* False in a build with sanitizers: their run time makes calls of its own, so nothing is filtered.
 */
bool sandbox_filters(void);

#endif
