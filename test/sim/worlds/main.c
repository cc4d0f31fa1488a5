/* worlds N           N seeds over all cores; the exit status says whether one failed
 * SIM_SEED=0x...     one world only, with its trace
 * SIM_FIRST=n        begin with the n-th seed instead of the first
 * SIM_JOBS=n         processes
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "worlds.h"

/* DOUBT: in so many seconds everybody has noticed whose peer is gone: the longest liveness
 * interval, and all repetitions. */
enum { JOBS = 64, DOUBT = 115 };

/* ---- one world */

static void run_blows(struct world *w)
{
    unsigned count = 10 + dice(w, 50);
    for (unsigned i = 0; i < count; i++) {
        blow(w);
        judge_always(w);
        sim_run(w->sim, dice(w, chance(w, 10) ? 40000 : 3000) * TIME_MILLISECOND);
        judge_always(w);
    }
}

static void clear_up(struct world *w)
{
    tell(w, "the weather clears");
    net_calm(w);
    for (size_t i = 0; i < w->member_count; i++) {
        struct member *m = &w->members[i];
        m->host->keys_silent = false;
        m->host->admit = 0;
        if (!m->host->engine)
            sim_start(m->host);
        if (m->wanted && m->host->tunnel == 0)
            dial(w, m, 0);
    }
    traffic_start(w, 3 * TIME_SECOND);
    sim_run(w->sim, DOUBT * TIME_SECOND);
    (void)sim_until(w->sim, judge_settled, 700 * TIME_SECOND);
    judge_always(w);
    judge_unsettled(w);
}

/* Further children that people asked for have been looked at; now every tunnel begins anew. */
static void one_child_each(struct world *w)
{
    if (!w->creates)
        return;
    tell(w, "all tunnels begin anew");
    for (size_t i = 0; i < w->member_count; i++)
        if (w->members[i].gateway)
            (void)sim_command(w->members[i].host, IKE_DELETE, 0);
    sim_run(w->sim, 2 * TIME_SECOND);
    w->creates = false;
    (void)sim_until(w->sim, judge_settled, 300 * TIME_SECOND);
    judge_unsettled(w);
}

/* On a good network nothing is lost, whoever rekeys what, and when. */
static void rekey_without_loss(struct world *w)
{
    static const uint32_t kinds[] = {IKE_REKEY_CHILD, IKE_REKEY_CHILD, IKE_REKEY_IKE};
    tell(w, "from here on not one packet may be lost");
    w->strict = true;
    traffic_start(w, 150 * TIME_MILLISECOND);
    for (unsigned i = 0, n = 1 + dice(w, 4); i < n; i++) {
        struct member *m = &w->members[dice(w, (unsigned)w->member_count)];
        (void)sim_command(m->host, kinds[dice(w, 3)], 0);
        if (m->gateway && chance(w, 50)) {
            sim_run(w->sim, dice(w, 40) * TIME_MILLISECOND);
            (void)sim_command(m->gateway, kinds[dice(w, 3)], 0);
        }
        sim_run(w->sim, dice(w, 2500) * TIME_MILLISECOND);
    }
    sim_run(w->sim, TIME_SECOND);
    (void)sim_until(w->sim, judge_settled, 60 * TIME_SECOND);
    judge_unsettled(w);
    traffic_start(w, 0);
    sim_run(w->sim, TIME_SECOND);
    w->strict = false;
}

static void take_down(struct world *w)
{
    tell(w, "all is deleted");
    for (size_t i = 0; i < w->member_count; i++) {
        struct member *m = &w->members[i];
        m->wanted = false;
        if (m->gateway && chance(w, 20))
            crash(w, m); /* the gateway finds out by itself */
        else if (chance(w, m->gateway ? 60 : 30))
            (void)sim_command(m->host, IKE_DELETE, 0);
    }
    sim_run(w->sim, dice(w, 1000) * TIME_MILLISECOND);
    for (size_t i = 0; i < w->member_count; i++)
        if (w->members[i].gateway && w->members[i].host->engine)
            (void)sim_command(w->members[i].host, IKE_DELETE, 0);
    (void)sim_until(w->sim, judge_empty, 400 * TIME_SECOND);
    judge_end(w);
}

uint64_t world_run(uint64_t seed, struct tally *tally)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    dull_random(seed);
    w->dice = seed ^ 0x776f726c64;
    w->sim = sim_create(seed, &sim_good_link);
    w->sim->world = w;
    w->sim->carry = net_carry;
    w->sim->hosts_move = w->sim->packets_may_be_lost = true;
    w->sim->on_event = on_event;
    w->tally = tally;
    w->watch = watch_create();
    draw(w);
    for (size_t i = 0; i < w->member_count; i++)
        if (w->members[i].wanted)
            dial(w, &w->members[i], dice(w, 5000) * TIME_MILLISECOND);
    traffic_start(w, (500 + dice(w, 4000)) * TIME_MILLISECOND);
    sim_run(w->sim, dice(w, 8000) * TIME_MILLISECOND);
    run_blows(w);
    clear_up(w);
    one_child_each(w);
    rekey_without_loss(w);
    take_down(w);
    uint64_t hash = w->sim->trace_hash;
    net_free(w);
    for (size_t i = 0; i < w->gateway_count; i++)
        if (w->gateways[i]->engine)
            sim_stop(w->gateways[i]);
    for (size_t i = 0; i < w->gateway_count; i++) {
        lease_book_free(w->gateways[i]->book);
        w->gateways[i]->book = NULL;
    }
    watch_free(w->watch);
    sim_free(w->sim);
    free(w);
    return hash;
}

/* ---- many */

struct slot {                 /* of one process, seen by the parent */
    uint64_t next, end, step; /* indexes of seeds */
    struct tally tally;
};

static uint64_t nth_seed(uint64_t n)
{
    return sim_random(&n);
}

static uint64_t number(const char *name, uint64_t or)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 0) : or ;
}

static int prepare(void)
{
    if (crypto_init() < 0)
        return -1;
    dull_random(1);
    draw_credentials();
    return 0;
}

static void work(struct slot *slot)
{
    if (prepare() < 0)
        _exit(2);
    for (; slot->next < slot->end; slot->next += slot->step)
        (void)world_run(nth_seed(slot->next), &slot->tally);
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
        ++*failed;
        slot->next += slot->step;
        pids[i] = spawn(slot);
        return true;
    }
    return pid > 0 || errno == EINTR;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print_tally(const struct slot *slots, size_t jobs)
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
    print_tally(slots, jobs);
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
        uint64_t one = world_run(nth_seed(n), &tally), other = world_run(nth_seed(n + 1), &tally);
        if (one != world_run(nth_seed(n), &tally) || one == other) {
            printf("FAIL seed 0x%016llx has two traces\n", (unsigned long long)nth_seed(n));
            failed++;
        }
    }
    return failed;
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 0) : 200, first = number("SIM_FIRST", 0);
    struct tally tally = {0};
    if (getenv("SIM_SEED")) {
        setvbuf(stdout, NULL, _IOLBF, 0);
        if (prepare() < 0)
            return 2;
        printf("trace %016llx\n", (unsigned long long)world_run(number("SIM_SEED", 0), &tally));
        return 0;
    }
    unsigned failed = run_many(first, count);
    if (failed == 0) {
        if (prepare() < 0)
            return 2;
        failed += run_twice(first);
    }
    printf("%d passed, %u failed\n", failed == 0 ? 2 : 1, failed);
    return failed != 0;
}
