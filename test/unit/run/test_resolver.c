/* The errand that looks up the gateway's name: an ordinary user's process with nothing of ours. */
#include "run/resolver.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run/sandbox.h"

#include <cmocka.h>

enum { UID = 71234 };

static void need_root(void)
{
    if (geteuid() == 0)
        return;
    print_message("this test needs root\n");
    skip();
}

static void finds_a_name(void **state)
{
    struct resolver resolver = {.fd = -1};
    struct resolver_result found;
    (void)state;
    need_root();
    assert_int_equal(resolver_start(&resolver, "localhost", UID), 0);
    assert_int_equal(resolver_start(&resolver, "localhost", UID), ERR_BUSY);
    struct pollfd wait = {.fd = resolver.fd, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, 10000), 1);
    resolver_finish(&resolver, &found);
    assert_true(found.count > 0);
    assert_true(found.at[0].family == 4 || found.at[0].family == 6);
    assert_int_equal(resolver.pid, 0);
}

/* An answer that no honest process gives. */
static void distrusts_the_answer(void **state)
{
    struct resolver_result bad, found;
    int ends[2];
    (void)state;
    memset(&bad, 'x', sizeof(bad));
    bad.count = 2;
    bad.at[0].family = 4;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], &bad, sizeof(bad)), sizeof(bad));
    close(ends[1]);
    struct resolver resolver = {.fd = ends[0], .pid = fork()};
    if (resolver.pid == 0)
        _exit(0);
    resolver_finish(&resolver, &found);
    assert_true(found.count < 0);
    assert_true(strlen(found.why) < sizeof(found.why));
}

static bool holds_nothing(void)
{
    char line[256], why[256];
    unsigned long long value;
    bool bare = false;
    if (sandbox_errand(UID, why) || getuid() != UID || geteuid() != UID || getgid() != UID ||
        setuid(0) == 0)
        return false;
    FILE *status = fopen("/proc/self/status", "re");
    while (status && fgets(line, sizeof(line), status))
        if (sscanf(line, "CapPrm: %llx", &value) == 1 || sscanf(line, "CapBnd: %llx", &value) == 1)
            bare = value == 0;
    return bare && open("/etc/hosts", O_RDONLY | O_CLOEXEC) >= 0;
}

static void errand_holds_nothing(void **state)
{
    int status;
    (void)state;
    need_root();
    pid_t pid = fork();
    if (pid == 0)
        _exit(holds_nothing() ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_a_name),
        cmocka_unit_test(distrusts_the_answer),
        cmocka_unit_test(errand_holds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
