/* Running the system's own tools: nft, resolvectl, resolvconf. No shell, no words from a peer. */
#include "net/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const folders[] = {"/usr/sbin", "/sbin", "/usr/bin", "/bin"};

static bool find_program(const char *name, char path[static 64])
{
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        snprintf(path, 64, "%s/%s", folders[i], name);
        if (access(path, X_OK) == 0)
            return true;
    }
    return false;
}

bool net_has_program(const char *name)
{
    char path[64];
    return find_program(name, path);
}

/* In the child, between fork and exec. */
static void become(const char *path, const char *const *argv, int input, int output)
{
    static char search_path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", locale[] = "LC_ALL=C";
    char *environment[] = {search_path, locale, NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
        _exit(127);
    execve(path, (char *const *)(uintptr_t)argv, environment);
    _exit(127);
}

static void feed(int fd, const char *input)
{
    size_t left = input ? strlen(input) : 0;
    while (left > 0) {
        ssize_t sent = write(fd, input, left);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return;
        input += sent;
        left -= (size_t)sent;
    }
}

static void listen_to(int fd, char *said, size_t size)
{
    size_t len = 0;
    char rest[256];
    for (;;) {
        bool room = len + 1 < size;
        ssize_t got = read(fd, room ? said + len : rest, room ? size - 1 - len : sizeof(rest));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        if (room)
            len += (size_t)got;
    }
    said[len] = 0;
    char *end = strchr(said, '\n'); /* the first line says what is wrong */
    if (end)
        *end = 0;
}

int net_execute(const char *const *argv, const char *input, char *said, size_t said_size)
{
    char path[64];
    int in[2] = {-1, -1}, out[2] = {-1, -1}, status = 0;
    said[0] = 0;
    if (!find_program(argv[0], path))
        return ERR_NOT_FOUND;
    if (pipe2(in, O_CLOEXEC) < 0)
        return ERR_SYSTEM;
    if (pipe2(out, O_CLOEXEC) < 0) {
        close(in[0]);
        close(in[1]);
        return ERR_SYSTEM;
    }
    pid_t pid = fork();
    if (pid == 0)
        become(path, argv, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    if (pid > 0) {
        feed(in[1], input);
        close(in[1]);
        listen_to(out[0], said, said_size);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            continue;
    } else {
        close(in[1]);
    }
    close(out[0]);
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : ERR_SYSTEM;
}
