/* What the monitor tells ike of this host's addresses, and when: with real links in a network
 * namespace of the test's own. Needs root; says so and skips without. */
#include "run/monitor.h"

#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static bool ready;
static struct conf conf;
static struct monitor m;
static int ike; /* the other end */
static struct ipc_message got;

static void run(const char *command)
{
    if (system(command) != 0)
        fail_msg("%s", command);
}

static struct ip address(const char *text)
{
    struct ip ip;
    assert_true(ip_parse(text, &ip));
    return ip;
}

static int set_up(void **state)
{
    (void)state;
    if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0 ||
        system("ip link add wifi0 type veth peer name wifi1 && ip link add cell0 type veth peer "
               "name cell1 && for dev in lo wifi0 wifi1 cell0 cell1; do ip link set $dev up; done"
               " && ip addr add 192.168.7.2/24 dev wifi0 && ip addr add 10.64.0.2/24 dev cell0 && "
               "ip route add default via 192.168.7.1 metric 100 && "
               "ip route add default via 10.64.0.1 metric 200") != 0) {
        printf("skip: links of its own need root and a network namespace\n");
        return 0;
    }
    ready = true;
    return 0;
}

static int begin(void **state)
{
    int ends[2];
    char why[NET_WHY];
    (void)state;
    if (!ready)
        return 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    ike = ends[1];
    conf = (struct conf){.tunnel.roam = true};
    snprintf(conf.remote_host, sizeof(conf.remote_host), "198.51.100.1");
    m = (struct monitor){.conf = &conf, .epoll = -1, .net = {.conf = &conf, .tun = &m.tun}};
    m.children[ROLE_IKE] = (struct child){.fd = ends[0], .ready = true};
    m.watch_fd = net_watch_open(why);
    assert_true(m.watch_fd >= 0);
    m.gateway.count = 1;
    m.gateway.at[0] = address("198.51.100.1");
    m.sockets.count = 1;
    m.sockets.ip[0] = (struct ip){.family = 4};
    m.sockets.group[0].port_natt = 4501;
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (!ready)
        return 0;
    close(m.watch_fd);
    close(m.children[ROLE_IKE].fd);
    close(ike);
    return 0;
}

static bool told(void)
{
    if (ipc_receive(ike, &got, NULL))
        return false;
    assert_int_equal(got.kind, IPC_COMMAND);
    assert_int_equal(got.command.kind, IKE_ADDRESSES);
    return true;
}

static void expect_local(size_t i, const char *ip, uint32_t rank)
{
    const struct ike_local *local = &got.command.addresses.local[i];
    struct ip want = address(ip);
    assert_true(i < got.command.addresses.local_count);
    assert_true(ip_equal(&local->at.ip, &want));
    assert_int_equal(local->at.port, 4501);
    assert_int_equal(local->rank, rank);
}

/* By rank, with where to, and once. */
static void client(void **state)
{
    (void)state;
    if (!ready)
        skip();
    uplinks_tell(&m, false);
    assert_true(told());
    assert_int_equal(got.command.addresses.local_count, 2);
    expect_local(0, "192.168.7.2", 0);
    expect_local(1, "10.64.0.2", 201);
    assert_true(got.command.addresses.local[0].interface != 0);
    assert_int_equal(got.command.addresses.remote_count, 1);
    assert_true(ip_equal(&got.command.addresses.remote[0], &m.gateway.at[0]));
    assert_false(got.command.addresses.doubt);
    uplinks_tell(&m, false);
    assert_false(told()); /* nothing new */
    uplinks_tell(&m, true);
    assert_true(told() && got.command.addresses.doubt); /* but now it is to be looked at */
    uplinks_forget(&m);
    assert_true(told()); /* a new ike process knows nothing */
}

/* All its addresses, without interface or rank; not its own device's. */
static void gateway(void **state)
{
    (void)state;
    if (!ready)
        skip();
    conf.gateway = true;
    m.gateway.count = 0;
    m.tun.index = 0;
    uplinks_tell(&m, false);
    assert_true(told());
    assert_int_equal(got.command.addresses.local_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(got.command.addresses.local[i].interface, 0);
        assert_int_equal(got.command.addresses.local[i].rank, 0);
    }
    assert_int_equal(got.command.addresses.remote_count, 0);
    run("ip addr add 10.99.0.1/24 dev cell0");
    uplinks_changed(&m);
    assert_true(told());
    assert_int_equal(got.command.addresses.local_count, 3);
    m.tun.index = if_nametoindex("cell0");
    uplinks_tell(&m, false);
    assert_true(told());
    assert_int_equal(got.command.addresses.local_count, 1);
    expect_local(0, "192.168.7.2", 0);
    run("ip addr del 10.99.0.1/24 dev cell0");
}

/* More than ike can be told: it must not take those left out for gone. What nobody listens on takes
 * no room. */
static void gateway_of_many(void **state)
{
    (void)state;
    if (!ready)
        skip();
    conf.gateway = true;
    m.gateway.count = 0;
    run("for i in 1 2 3 4 5 6 7 8 9; do ip addr add 2001:db8:9::$i/64 dev wifi0 nodad; done");
    uplinks_tell(&m, false);
    assert_true(told());
    assert_int_equal(got.command.addresses.local_count, 2);
    assert_false(got.command.addresses.more);
    run("for i in 1 2 3 4 5 6 7; do ip addr add 10.64.1.$i/32 dev cell0; done");
    uplinks_tell(&m, false);
    assert_true(told());
    assert_int_equal(got.command.addresses.local_count, IKE_LOCALS);
    assert_true(got.command.addresses.more);
    run("for i in 1 2 3 4 5 6 7; do ip addr del 10.64.1.$i/32 dev cell0; done; "
        "ip -6 addr flush dev wifi0 scope global");
}

/* `roam = no` leaves the watch out; a reload that says yes opens it, once. */
static void roam_later(void **state)
{
    (void)state;
    if (!ready)
        skip();
    close(m.watch_fd);
    m.watch_fd = -1;
    m.epoll = epoll_create1(EPOLL_CLOEXEC);
    assert_true(m.epoll >= 0);
    conf.tunnel.roam = false;
    assert_int_equal(uplinks_open(&m), 0);
    assert_int_equal(m.watch_fd, -1);
    uplinks_forget(&m);
    assert_false(told());
    conf.tunnel.roam = true;
    assert_int_equal(uplinks_open(&m), 0);
    int fd = m.watch_fd;
    assert_true(fd >= 0);
    uplinks_forget(&m);
    assert_true(told());
    assert_int_equal(uplinks_open(&m), 0);
    assert_int_equal(m.watch_fd, fd);
    close(m.epoll);
}

/* Nobody listens on IPv6 here, so an IPv6 address is none to send from. */
static void other_family(void **state)
{
    (void)state;
    if (!ready)
        skip();
    run("ip -6 addr add 2001:db8::2/64 dev wifi0 nodad && "
        "ip -6 route add default via 2001:db8::1 metric 7");
    uplinks_tell(&m, false);
    assert_true(told());
    assert_int_equal(got.command.addresses.local_count, 2);
    m.sockets.count = 2;
    m.sockets.ip[1] = (struct ip){.family = 6};
    m.sockets.group[1].port_natt = 4501;
    uplinks_tell(&m, false);
    assert_true(told());
    assert_int_equal(got.command.addresses.local_count, 3);
    /* A socket for one address is none for another. */
    m.sockets.ip[1] = address("2001:db8::9");
    uplinks_tell(&m, false);
    assert_true(told());
    assert_int_equal(got.command.addresses.local_count, 2);
    run("ip -6 addr del 2001:db8::2/64 dev wifi0");
}

static void changes(void **state)
{
    (void)state;
    if (!ready)
        skip();
    uplinks_tell(&m, false);
    assert_true(told());
    run("ip addr add 172.16.0.1/24 dev lo"); /* not a way to anywhere */
    (void)net_watch_drain(m.watch_fd, 0);
    uplinks_changed(&m);
    assert_false(told());
    run("ip route change default via 192.168.7.1 metric 100 && ip route del default via "
        "192.168.7.1 && ip route add default via 192.168.7.1 metric 300");
    uplinks_changed(&m);
    assert_true(told());
    expect_local(0, "10.64.0.2", 0);
    expect_local(1, "192.168.7.2", 301);
    assert_false(got.command.addresses.doubt);
    run("ip link set wifi0 down");
    uplinks_changed(&m);
    assert_true(told());
    assert_int_equal(got.command.addresses.local_count, 1);
    assert_true(got.command.addresses.doubt);
    run("ip link set cell0 down");
    uplinks_changed(&m);
    assert_true(told());
    assert_int_equal(got.command.addresses.local_count, 0); /* that, too, is news */
    run("ip link set wifi0 up; ip link set cell0 up; ip addr del 172.16.0.1/24 dev lo;"
        "ip route add default via 192.168.7.1 metric 100;"
        "ip route add default via 10.64.0.1 metric 200");
}

static void not_now(void **state)
{
    (void)state;
    if (!ready)
        skip();
    m.children[ROLE_IKE].ready = false;
    uplinks_tell(&m, true);
    assert_false(told());
    m.children[ROLE_IKE].ready = true;
    m.stopping = true;
    uplinks_tell(&m, true);
    assert_false(told());
    m.stopping = false;
    int watch = m.watch_fd;
    m.watch_fd = -1; /* roam = no */
    uplinks_tell(&m, true);
    assert_false(told());
    m.watch_fd = watch;
    uplinks_tell(&m, true);
    assert_true(told());
}

/* Where the tunnel goes decides which routes count; a name that is an address is not looked up. */
static void events(void **state)
{
    (void)state;
    if (!ready)
        skip();
    struct ike_event event = {.kind = IKE_EVENT_MOVED};
    event.path.remote.ip = address("10.64.0.77");
    uplinks_event(&m, &event);
    assert_true(told());
    assert_true(ip_equal(&m.outer, &event.path.remote.ip));
    expect_local(0, "10.64.0.2", 0); /* on its own link */
    event.kind = IKE_EVENT_RETRANSMIT;
    m.tunnel = m.established = 1;
    uplinks_event(&m, &event);
    assert_int_equal(m.resolver.pid, 0);
    conf.gateway = true;
    event.kind = IKE_EVENT_MOVED;
    event.path.remote.ip = address("198.51.100.9");
    uplinks_event(&m, &event);
    assert_false(told());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(client, begin, end),
        cmocka_unit_test_setup_teardown(gateway, begin, end),
        cmocka_unit_test_setup_teardown(gateway_of_many, begin, end),
        cmocka_unit_test_setup_teardown(roam_later, begin, end),
        cmocka_unit_test_setup_teardown(other_family, begin, end),
        cmocka_unit_test_setup_teardown(changes, begin, end),
        cmocka_unit_test_setup_teardown(not_now, begin, end),
        cmocka_unit_test_setup_teardown(events, begin, end),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
