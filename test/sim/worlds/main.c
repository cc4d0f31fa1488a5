/* worlds N           N seeds over all cores; the exit status says whether one failed
 * SIM_SEED=0x...     one world only, with its trace
 * SIM_SKIP=0x...     bit i: its i-th blow does not fall
 * SIM_SHRINK=1       and: find out which blows are not needed for it to fail
 * SIM_FIRST=n        begin with the n-th seed instead of the first
 * SIM_JOBS=n         processes
 * SIM_SECONDS=n      begin no world after that time
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "worlds.h"

enum { JOBS = 64, SHOWN = 3, PATIENCE = 120 };

struct slot {                 /* of one process, seen by the parent */
    uint64_t next, end, step; /* indexes of seeds */
    double stop;
    struct tally tally;
};

static uint64_t nth_seed(uint64_t n)
{
    return sim_random(&n);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static int prepare(void)
{
    if (crypto_init() < 0)
        return -1;
    dull_random(1);
    draw_credentials();
    return 0;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void work(struct slot *slot)
{
    if (prepare() < 0)
        _exit(2);
    for (; slot->next < slot->end && seconds() < slot->stop; slot->next += slot->step) {
        alarm(PATIENCE); /* a world that hangs has failed */
        slot->tally.worlds++;
        (void)world_run(nth_seed(slot->next), 0, &slot->tally);
    }
    fflush(stdout);
    _exit(0);
}

static pid_t spawn(struct slot *slot)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        work(slot);
    return pid;
}

/* A process that ended before its time was stopped by its seed: the next one goes on after it. */
static bool reap(struct slot *slots, pid_t *pids, size_t jobs, unsigned *failed)
{
    int status;
    pid_t pid = wait(&status);
    for (size_t i = 0; i < jobs; i++) {
        if (pids[i] != pid)
            continue;
        struct slot *slot = &slots[i];
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            pids[i] = 0;
            return true;
        }
        printf("FAIL seed 0x%016llx (number %llu); replay: make sim-replay SIM_SEED=0x%016llx\n",
               (unsigned long long)nth_seed(slot->next), (unsigned long long)slot->next,
               (unsigned long long)nth_seed(slot->next));
        if (++*failed <= SHOWN)
            replay_show(nth_seed(slot->next));
        slot->next += slot->step;
        pids[i] = spawn(slot);
        return true;
    }
    return pid > 0 || errno == EINTR;
}

static uint64_t print_tally(const struct slot *slots, size_t jobs)
{
    struct tally sum = {0};
    for (size_t i = 0; i < jobs; i++) {
#define X(name) sum.name += slots[i].tally.name;
        TALLY_LIST(X)
#undef X
    }
    printf("note: worlds:");
#define X(name) printf(" %s %llu", #name, (unsigned long long)sum.name);
    TALLY_LIST(X)
#undef X
    printf("\n");
    return sum.worlds;
}

static unsigned run_many(uint64_t first, uint64_t count)
{
    size_t jobs = (size_t)number("SIM_JOBS", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
    jobs = jobs < 1 ? 1 : jobs > JOBS ? JOBS : jobs;
    struct slot *slots = mmap(NULL, jobs * sizeof(*slots), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[JOBS] = {0};
    unsigned failed = 0;
    double begun = seconds();
    if (slots == MAP_FAILED)
        return 1;
    for (size_t i = 0; i < jobs; i++) {
        slots[i] = (struct slot){.next = first + i, .end = first + count, .step = jobs};
        slots[i].stop = begun + (double)number("SIM_SECONDS", 1000000);
        pids[i] = spawn(&slots[i]);
    }
    for (bool busy = true; busy;) {
        if (!reap(slots, pids, jobs, &failed))
            break;
        busy = false;
        for (size_t i = 0; i < jobs; i++)
            busy |= pids[i] != 0;
    }
    double took = seconds() - begun;
    count = print_tally(slots, jobs);
    if (count == 0) {
        printf("FAIL no world has been run\n");
        failed++;
    }
    printf("note: worlds: %llu seeds from number %llu, %u failed, %.1f s, %.0f seeds/s\n",
           (unsigned long long)count, (unsigned long long)first, failed, took,
           (double)count / took);
    return failed;
}

/* The same seed, the same world: run twice, in this process and with another in between. */
static unsigned run_twice(uint64_t first)
{
    struct tally tally = {0};
    unsigned failed = 0;
    for (uint64_t n = first; n < first + 5; n++) {
        uint64_t one = world_run(nth_seed(n), 0, &tally),
                 other = world_run(nth_seed(n + 1), 0, &tally);
        if (one != world_run(nth_seed(n), 0, &tally) || one == other) {
            printf("FAIL seed 0x%016llx has two traces\n", (unsigned long long)nth_seed(n));
            failed++;
        }
    }
    return failed;
}

static int one(uint64_t seed)
{
    struct tally tally = {0};
    uint64_t skip = number("SIM_SKIP", 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (prepare() < 0)
        return 2;
    if (number("SIM_SHRINK", 0))
        skip = replay_shrink(seed, skip);
    printf("trace %016llx\n", (unsigned long long)world_run(seed, skip, &tally));
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 0) : 200, first = number("SIM_FIRST", 0);
    if (getenv("SIM_SEED"))
        return one(number("SIM_SEED", 0));
    unsigned failed = run_many(first, count);
    if (failed == 0) {
        if (prepare() < 0)
            return 2;
        failed += run_twice(first);
    }
    printf("%d passed, %u failed\n", failed == 0 ? 2 : 1, failed);
    return failed != 0;
}
