/* Memory that is refused, each time once: at the first request for some, at the second, and so on
 * through a handshake, a rekey of each kind and the end. No crash, nothing is left behind, and the
 * next connection works. Past daemons fell in the paths that handle errors (libreswan
 * CVE-2024-2357, -2022-23094, -2020-1763). Linked with --wrap, see the Makefile; the harness itself
 * is spared. */
#include <stddef.h>
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

static size_t asked, refused_at; /* 0 = none is refused */

static int is_refused(void)
{
    return ++asked == refused_at;
}

void *__wrap_malloc(size_t size)
{
    return is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_refused() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *at, size_t size)
{
    return is_refused() ? NULL : __real_realloc(at, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    return is_refused() ? NULL : __real_aligned_alloc(align, size);
}

#define malloc(size)        __real_malloc(size)
#define calloc(count, size) __real_calloc(count, size)
#include "pair.h"

enum { RELOAD = 100 };

/* A child SA that both data planes hold, with the same keys crosswise. */
static bool carries(const struct pair *p)
{
    const struct side *a = &p->side[0], *b = &p->side[1];
    for (size_t i = 0; i < a->child_count; i++)
        for (size_t j = 0; j < b->child_count; j++)
            if (a->children[i].spi_in == b->children[j].spi_out &&
                a->children[i].spi_out == b->children[j].spi_in &&
                memcmp(a->children[i].keymat_in, b->children[j].keymat_out, 36) == 0)
                return true;
    return false;
}

/* The gateway, or the client with another network, reloads: all or nothing. */
static void reload(struct pair *p, int which)
{
    static struct conf_tunnel next[2];
    struct ike_setup setup = pair_setup(p, which);
    next[which] = p->side[which].conf;
    next[which].remote_ts[0] = which ? next[which].remote_ts[0] : pair_net("10.20.0.0/17");
    setup.tunnel = &next[which];
    int err = ike_reload(p->side[which].engine, p->now, &setup);
    assert_true(err == 0 || err == ERR_MEMORY);
    assert_ptr_equal(p->side[which].engine->conf, err ? &p->side[which].conf : &next[which]);
    pair_drain(p, which);
}

/* One life of a tunnel with the n-th allocation of that command refused; false when n is more than
 * there are. A message that was never made is made again: so it stands in the end, or both know
 * that it does not. */
static bool life(size_t n, uint32_t command, const char *ike, const char *esp)
{
    struct pair *p = pair_make();
    for (int w = 0; w < 2; w++) {
        p->side[w].conf.ike[0] = pair_proposal(PROTOCOL_IKE, ike);
        p->side[w].conf.esp[0] = pair_proposal(PROTOCOL_ESP, esp);
    }
    pair_start(p);
    if (command) {
        pair_settle(p);
        asked = 0, refused_at = n;
        if (command == RELOAD || command == RELOAD + 1)
            reload(p, (int)(command - RELOAD));
        else
            pair_command(p, 0, command);
    } else {
        asked = 0, refused_at = n;
    }
    pair_settle(p);
    bool more = asked >= n;
    refused_at = 0;
    pair_sleep(p, 200 * TIME_SECOND);
    for (int w = 0; w < 2; w++)
        assert_int_equal(ike_counters(p->side[w].engine)->illegal_moves, 0);
    bool both = p->side[0].engine->tunnels.used > 0 && p->side[1].engine->tunnels.used > 0;
    if (both && !carries(p))
        fail_msg("command %u: allocation %zu leaves a tunnel without a child SA", command, n);
    /* Who had no memory to say farewell leaves the other one to its liveness check; and who was not
     * answered may have connected beside that. */
    for (int w = 0; w < 2; w++)
        while (p->side[w].engine->tunnels.used > 0)
            pair_command(p, w, IKE_DELETE);
    pair_sleep(p, 200 * TIME_SECOND);
    for (int w = 0; w < 2; w++) {
        struct ike_usage u;
        ike_usage(p->side[w].engine, &u);
        assert_int_equal(u.sas + u.children + u.messages + u.timers + u.half_open + u.actions, 0);
    }
    pair_free(p);
    return more;
}

static void each_refused_once(void **state)
{
    (void)state;
    static const uint32_t commands[] = {0,         IKE_REKEY_CHILD, IKE_REKEY_IKE, IKE_CREATE_CHILD,
                                        IKE_CHECK, IKE_DELETE,      RELOAD,        RELOAD + 1};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        size_t n = 1;
        while (life(n, commands[i], "aes256gcm16-prfsha256-x25519-ecp256", "aes256gcm16"))
            n++;
        assert_true(n > 3);
    }
}

static void each_of_several_key_exchanges(void **state)
{
    (void)state;
    static const uint32_t commands[] = {0, IKE_REKEY_CHILD, IKE_REKEY_IKE, IKE_CREATE_CHILD};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        size_t n = 1;
        while (life(n, commands[i], "aes256gcm16-prfsha256-x25519-ke1_mlkem768-ke2_ecp256",
                    "aes256gcm16-x25519-ke1_mlkem512"))
            n++;
        assert_true(n > 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_refused_once),
                                       cmocka_unit_test(each_of_several_key_exchanges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
