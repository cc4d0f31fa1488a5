/* The secret that outlives a restart: made once, root's alone, and refused when it is anything
 * else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "run/internal.h"

static struct conf conf;
static char path[600];

static int set_up(void **state)
{
    (void)state;
    char dir[] = "/tmp/shrike-state.XXXXXX";
    memset(&conf, 0, sizeof(conf));
    log_set_level(LEVEL_ERROR);
    if (!mkdtemp(dir))
        return -1;
    snprintf(conf.state_dir, sizeof(conf.state_dir), "%s/made", dir);
    snprintf(conf.tunnel.name, sizeof(conf.tunnel.name), "office");
    snprintf(path, sizeof(path), "%s/office.crash-secret", conf.state_dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    rmdir(conf.state_dir); /* it may never have been made */
    *strrchr(conf.state_dir, '/') = 0;
    return rmdir(conf.state_dir);
}

static void made_once(void **state)
{
    (void)state;
    uint8_t first[32] = {0}, again[32] = {1};
    struct stat file;
    assert_int_equal(state_secret(&conf, first), 0);
    assert_int_equal(state_secret(&conf, again), 0);
    assert_memory_equal(first, again, sizeof(first));
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 07777, 0600);
    assert_int_equal(file.st_size, 32);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(state_secret(&conf, again), 0);
    assert_memory_not_equal(first, again, sizeof(first));
}

static void refused_when_odd(void **state)
{
    (void)state;
    uint8_t secret[32];
    assert_int_equal(state_secret(&conf, secret), 0);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(state_secret(&conf, secret), ERR_SYSTEM);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, 31), 0);
    assert_int_equal(state_secret(&conf, secret), ERR_SYSTEM);
    assert_int_equal(truncate(path, 33), 0);
    assert_int_equal(state_secret(&conf, secret), ERR_SYSTEM);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/zero", path), 0);
    assert_int_equal(state_secret(&conf, secret), ERR_SYSTEM);
}

static void no_folder(void **state)
{
    (void)state;
    uint8_t secret[32];
    struct conf other = conf;
    snprintf(other.state_dir, sizeof(other.state_dir), "/nonexistent/folder");
    assert_int_not_equal(state_secret(&other, secret), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(made_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_when_odd, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_folder, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
