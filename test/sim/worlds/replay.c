/* A seed that failed, again: its trace, and which of its blows it needs to fail. */
#include <sys/wait.h>
#include <unistd.h>

#include "worlds.h"

enum { TAIL = 9000 };

/* In a process of its own, with all that it says in a file. Returns the file at its beginning, or
 * NULL when the world came to a good end. */
static FILE *run(uint64_t seed, uint64_t skip, bool trace)
{
    int status = 0;
    FILE *file = tmpfile();
    if (!file)
        return NULL;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct tally tally = {0};
        alarm(60);
        (void)!dup2(fileno(file), STDOUT_FILENO);
        (void)!dup2(fileno(file), STDERR_FILENO);
        setvbuf(stdout, NULL, _IOLBF, 0);
        trace ? setenv("SIM_SEED", "1", 1) : unsetenv("SIM_SEED");
        (void)world_run(seed, skip, &tally);
        _exit(0);
    }
    bool good = pid < 0 ||
                (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    if (!good)
        return file;
    fclose(file);
    return NULL;
}

void replay_show(uint64_t seed)
{
    static char text[TAIL + 1];
    FILE *file = run(seed, 0, true);
    if (!file) {
        printf("it does not fail when it is alone: something is left from the seed before\n");
        return;
    }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fseek(file, size > TAIL ? size - TAIL : 0, SEEK_SET);
    size_t got = fread(text, 1, TAIL, file);
    text[got] = 0;
    const char *from = size > TAIL ? strchr(text, '\n') : text;
    printf("---- the end of its trace\n%s----\n", from ? from : text);
    fclose(file);
}

/* What a failure is, without its numbers. */
static bool kind_of(uint64_t seed, uint64_t skip, char kind[static 200])
{
    char line[512];
    FILE *file = run(seed, skip, false);
    kind[0] = 0;
    if (!file)
        return false;
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, "ERROR: ", 7) == 0 || strstr(line, "ERROR: AddressSanitizer"))
            snprintf(kind, 200, "%.190s", strchr(line, ' '));
    }
    fclose(file);
    return true;
}

uint64_t replay_shrink(uint64_t seed, uint64_t skip)
{
    char wanted[200], got[200];
    if (!kind_of(seed, skip, wanted)) {
        printf("seed 0x%016llx does not fail\n", (unsigned long long)seed);
        return skip;
    }
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < BLOWS_MAX; i++) {
            uint64_t more = skip | UINT64_C(1) << i;
            if (more != skip && kind_of(seed, more, got) && strcmp(wanted, got) == 0)
                skip = more;
        }
    printf("SIM_SKIP=0x%llx leaves %d blows, and it fails as before\n", (unsigned long long)skip,
           BLOWS_MAX - __builtin_popcountll(skip));
    return skip;
}
