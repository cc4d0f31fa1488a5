/* What the data plane is told of a child: padding and dummies only where they hide something. */
#include "run/pump.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct conf conf;

static struct esp_sa_config config_of(const struct ike_child *child)
{
    struct esp_sa_config out;
    run_child_config(child, &conf, 1, &out);
    return out;
}

static void lengths_are_hidden(void **state)
{
    (void)state;
    struct ike_child child = {.encr = 20, .encr_bits = 256};
    assert_int_equal(config_of(&child).tfc, 0);
    assert_false(config_of(&child).cover);
    conf.tunnel.tfc = CONF_TFC_MTU;
    conf.tunnel.dummies = 10;
    assert_int_equal(config_of(&child).tfc, CONF_TFC_MTU);
    assert_true(config_of(&child).cover);
    child.no_tfc = true; /* the peer cannot take padding off, but everybody drops a dummy */
    assert_int_equal(config_of(&child).tfc, 0);
    assert_true(config_of(&child).cover);
}

static void nothing_to_hide(void **state)
{
    (void)state;
    struct ike_child null = {.encr = ENCR_NULL, .integ = 12}, ah = {.ah = true, .integ = 12};
    conf.tunnel.tfc = 1400;
    conf.tunnel.dummies = 10;
    assert_int_equal(config_of(&null).tfc, 0);
    assert_false(config_of(&null).cover);
    assert_int_equal(config_of(&ah).tfc, 0);
    assert_false(config_of(&ah).cover);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_are_hidden),
        cmocka_unit_test(nothing_to_hide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
