/* Looking up a name without waiting for it. */
#include "run/resolver.h"

#include "run/sandbox.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWER = 3 };

static void look_up(const char *host, uint32_t uid, int fd)
{
    struct resolver_result result;
    char why[256];
    sigset_t none;
    memset(&result, 0, sizeof(result));
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if ((fd != ANSWER && dup2(fd, ANSWER) < 0) || close_range(ANSWER + 1, ~0U, 0) < 0)
        _exit(1);
    result.count = sandbox_errand(uid, why);
    if (result.count)
        snprintf(result.why, sizeof(result.why), "%.*s", NET_WHY - 1, why);
    else
        result.count = net_resolve(host, result.at, RESOLVER_MAX, result.why);
    _exit(write(ANSWER, &result, sizeof(result)) != sizeof(result));
}

int resolver_start(struct resolver *resolver, const char *host, uint32_t uid)
{
    int ends[2];
    if (resolver->pid)
        return ERR_BUSY;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return ERR_SYSTEM;
    pid_t pid = fork();
    if (pid == 0)
        look_up(host, uid, ends[1]);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return ERR_SYSTEM;
    }
    resolver->pid = pid;
    resolver->fd = ends[0];
    return 0;
}

static void reap(struct resolver *resolver)
{
    close(resolver->fd);
    (void)waitpid(resolver->pid, NULL, 0);
    resolver->pid = 0;
    resolver->fd = -1;
}

void resolver_finish(struct resolver *resolver, struct resolver_result *out)
{
    ssize_t got = read(resolver->fd, out, sizeof(*out));
    if (got != sizeof(*out) || out->count > RESOLVER_MAX) {
        memset(out, 0, sizeof(*out));
        out->count = ERR_FAILED;
        snprintf(out->why, sizeof(out->why), "the name could not be looked up");
    }
    out->why[sizeof(out->why) - 1] = 0; /* whoever wrote it may have been taken over */
    for (int32_t i = 0; i < out->count; i++)
        if (out->at[i].family != 4 && out->at[i].family != 6)
            out->count = ERR_FAILED;
    reap(resolver);
}

void resolver_cancel(struct resolver *resolver)
{
    if (!resolver->pid)
        return;
    kill(resolver->pid, SIGKILL);
    reap(resolver);
}
