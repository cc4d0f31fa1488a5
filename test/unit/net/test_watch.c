/* What this host can send from, in a network namespace of the test's own (root; else it says so and
 * skips), and what a watcher makes of netlink messages, also of broken ones. */
#include "net/internal.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static bool ready;
static uint32_t wifi, cell;

static struct ip address(const char *text)
{
    struct ip ip;
    assert_true(ip_parse(text, &ip));
    return ip;
}

static void run(const char *command)
{
    if (system(command) != 0)
        fail_msg("%s", command);
}

/* Two uplinks, each with both families; wifi is preferred for IPv4, cell for IPv6. */
static int set_up(void **state)
{
    (void)state;
    if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0) {
        printf("skip: a network namespace needs root\n");
        return 0;
    }
    if (system("ip link add wifi0 type veth peer name wifi1 && ip link add cell0 type veth peer "
               "name cell1 && ip link set lo up") != 0) {
        printf("skip: no veth devices here\n");
        return 0;
    }
    wifi = if_nametoindex("wifi0");
    cell = if_nametoindex("cell0");
    ready = true;
    return 0;
}

static int begin(void **state)
{
    (void)state;
    if (!ready)
        return 0;
    run("for dev in wifi0 wifi1 cell0 cell1; do ip link set $dev up; ip addr flush dev $dev; done;"
        "while ip route del default 2>/dev/null; do :; done;"
        "while ip -6 route del default 2>/dev/null; do :; done");
    run("ip addr add 192.168.7.2/24 dev wifi0; ip addr add 10.64.0.2/24 dev cell0;"
        "ip -6 addr add 2001:db8:7::2/64 dev wifi0 nodad;"
        "ip -6 addr add 2001:db8:8::2/64 dev cell0 nodad;"
        "ip route add default via 192.168.7.1 metric 100;"
        "ip route add default via 10.64.0.1 metric 200;"
        "ip -6 route add default via 2001:db8:7::1 metric 300;"
        "ip -6 route add default via 2001:db8:8::1 metric 200");
    return 0;
}

static bool is(const struct net_source *source, const char *ip, uint32_t interface)
{
    struct ip want = address(ip);
    return ip_equal(&source->ip, &want) && source->interface == interface;
}

static size_t sources_to(const struct ip *to, uint32_t mark, uint32_t except,
                         struct net_source *out, size_t max)
{
    size_t count = 99;
    assert_int_equal(net_sources_to(to, mark, except, out, max, &count), 0);
    return count;
}

static size_t all_sources(uint32_t except, struct net_source *out, size_t max, int result)
{
    size_t count = 99;
    assert_int_equal(net_sources_all(except, out, max, &count), result);
    return count;
}

/* The one the kernel would take comes first, with metric 0, then the others by their route's
 * metric; of the other family the default route counts. */
static void sources_by_rank(void **state)
{
    struct net_source found[8];
    struct ip to4 = address("198.51.100.1"), to6 = address("2001:db8:5::1");
    (void)state;
    if (!ready)
        skip();
    const struct ip *to[] = {&to4, &to6};
    for (size_t i = 0; i < ARRAY_LEN(to); i++) {
        assert_int_equal(sources_to(to[i], 0, 0, found, 8), 4);
        bool first4 = is(&found[0], "192.168.7.2", wifi);
        assert_true(is(&found[first4 ? 0 : 1], "192.168.7.2", wifi));
        assert_true(is(&found[first4 ? 1 : 0], "2001:db8:8::2", cell));
        assert_true(is(&found[2], "10.64.0.2", cell) && is(&found[3], "2001:db8:7::2", wifi));
        assert_int_equal(found[0].metric + found[1].metric, 0);
        assert_int_equal(found[2].metric, 201);
        assert_int_equal(found[3].metric, 301);
    }
    assert_int_equal(sources_to(&to4, 0, 0, found, 3), 3);  /* no more than there is room for */
    assert_int_equal(found[0].metric + found[1].metric, 0); /* and those are the best */
    assert_int_equal(found[2].metric, 201);
    assert_int_equal(sources_to(&to4, 0, wifi, found, 8), 2);
    assert_true(is(&found[0], "2001:db8:8::2", cell) || is(&found[0], "10.64.0.2", cell));
}

static void sources_without_a_way(void **state)
{
    struct net_source found[8];
    struct ip to = address("198.51.100.1");
    (void)state;
    if (!ready)
        skip();
    run("ip route del default via 10.64.0.1 metric 200; ip -6 route flush default");
    assert_int_equal(sources_to(&to, 0, 0, found, 8), 1);
    assert_true(is(&found[0], "192.168.7.2", wifi));
    run("ip link set wifi0 down");
    assert_int_equal(sources_to(&to, 0, 0, found, 8), 0);
}

static bool among(const struct net_source *found, size_t count, const char *ip)
{
    struct ip want = address(ip);
    for (size_t i = 0; i < count; i++)
        if (ip_equal(&found[i].ip, &want))
            return true;
    return false;
}

/* A gateway's: whatever the routes, but not of links that are down, of one link or of lo. */
static void sources_all(void **state)
{
    struct net_source found[8];
    (void)state;
    if (!ready)
        skip();
    assert_int_equal(all_sources(0, found, 8, 0), 4);
    assert_false(among(found, 4, "127.0.0.1"));
    assert_int_equal(all_sources(cell, found, 8, 0), 2);
    assert_true(among(found, 2, "192.168.7.2") && among(found, 2, "2001:db8:7::2"));
    assert_int_equal(all_sources(0, found, 1, ERR_LIMIT), 1);
    run("ip link set wifi0 down"); /* the IPv4 address stays on it */
    assert_int_equal(all_sources(0, found, 8, 0), 2);
    assert_true(among(found, 2, "10.64.0.2") && among(found, 2, "2001:db8:8::2"));
    run("ip link set cell1 down"); /* no carrier */
    assert_int_equal(all_sources(0, found, 8, 0), 0);
    run("ip link set cell1 up; ip link set wifi0 up;"
        "ip -6 addr add 2001:db8:7::9/64 dev wifi0 nodad preferred_lft 0");
    size_t count = all_sources(0, found, 8, 0);
    assert_true(among(found, count, "192.168.7.2"));
    assert_false(among(found, count, "2001:db8:7::9")); /* deprecated */
}

/* A host with many containers: neither dead links nor addresses crowd the others out. */
static void sources_of_many_links(void **state)
{
    struct net_source found[8];
    (void)state;
    if (!ready)
        skip();
    run("for i in $(seq 40); do ip link add d$i type veth peer name e$i && "
        "ip addr add 10.9.$i.1/24 dev d$i; done");
    size_t count = all_sources(0, found, 8, 0);
    assert_true(among(found, count, "192.168.7.2"));
    assert_false(among(found, count, "10.9.40.1"));
    run("for i in $(seq 40); do ip link set d$i up && ip link set e$i up; done");
    assert_int_equal(all_sources(0, found, 8, ERR_LIMIT), 8);
    run("for i in $(seq 40); do ip link del d$i; done");
}

static bool waits(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 1000) == 1;
}

static bool is_quiet(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 200) == 0;
}

/* Whether any of what comes until it is quiet was a flap. */
static bool flapped(int fd, uint32_t except)
{
    bool flap = false;
    assert_true(waits(fd));
    do
        flap |= net_watch_drain(fd, except);
    while (!is_quiet(fd));
    return flap;
}

static void watching(void **state)
{
    char why[NET_WHY];
    (void)state;
    if (!ready)
        skip();
    int fd = net_watch_open(why);
    assert_true(fd >= 0);
    static const struct {
        const char *command;
        bool flap;
    } steps[] = {
        {"ip addr add 192.168.7.9/24 dev wifi0", false},
        {"ip route add 10.5.0.0/16 via 10.64.0.1", false},
        {"ip -6 route del default via 2001:db8:8::1", false},
        {"ip addr del 192.168.7.9/24 dev wifi0", false},
        {"ip link set wifi0 down", true},
        {"ip link set wifi0 up", true},
        {"ip link set cell1 down", true}, /* our end loses its carrier */
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        run(steps[i].command);
        if (flapped(fd, 0) != steps[i].flap)
            fail_msg("%s", steps[i].command);
    }
    /* The one that is left out is our own device. With wifi1 down, wifi0 alone goes and comes. */
    run("ip link set cell1 up; ip link set wifi1 down");
    assert_true(flapped(fd, 0));
    run("ip link set wifi0 down");
    assert_false(flapped(fd, wifi));
    run("ip link set wifi0 up; ip link set wifi0 down");
    assert_true(flapped(fd, cell));
    close(fd);
}

/* ---- messages by hand, over a pair of sockets */

struct link_message {
    struct nlmsghdr header;
    struct ifinfomsg link;
};

static struct link_message link_message(uint16_t type, int index, unsigned change)
{
    return (struct link_message){
        .header = {.nlmsg_len = sizeof(struct link_message), .nlmsg_type = type},
        .link = {.ifi_index = index, .ifi_change = change}};
}

static bool drain(const void *data, size_t len, uint32_t except)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    assert_int_equal(send(ends[0], data, len, 0), (ssize_t)len);
    bool flap = net_watch_drain(ends[1], except);
    char rest;
    assert_true(recv(ends[1], &rest, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN); /* all taken */
    close(ends[0]);
    close(ends[1]);
    return flap;
}

static void messages(void **state)
{
    (void)state;
    static const struct {
        uint16_t type;
        int index;
        unsigned change;
        bool flap;
    } rows[] = {
        {RTM_NEWLINK, 2, IFF_UP, true},
        {RTM_NEWLINK, 2, IFF_RUNNING, true},
        {RTM_DELLINK, 2, IFF_UP | IFF_RUNNING, true},
        {RTM_NEWLINK, 2, ~0U, true},
        {RTM_NEWLINK, 2, IFF_PROMISC, false}, /* somebody listens */
        {RTM_NEWLINK, 2, 0, false},           /* statistics, a name */
        {RTM_NEWLINK, 7, IFF_UP, false},      /* our own device */
        {RTM_NEWADDR, 2, IFF_UP, false},
        {RTM_NEWROUTE, 2, IFF_UP, false},
        {NLMSG_DONE, 2, IFF_UP, false},
        {0xffff, 2, IFF_UP, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct link_message m = link_message(rows[i].type, rows[i].index, rows[i].change);
        if (drain(&m, sizeof(m), 7) != rows[i].flap)
            fail_msg("row %zu", i);
    }
    struct link_message two[] = {link_message(RTM_NEWLINK, 7, IFF_UP),
                                 link_message(RTM_NEWLINK, 2, IFF_UP)};
    assert_true(drain(two, sizeof(two), 7));
}

/* Cut anywhere, with any length: nothing is read that is not there, and nothing believed. */
static void broken_messages(void **state)
{
    (void)state;
    struct link_message m = link_message(RTM_NEWLINK, 2, IFF_UP);
    uint8_t *exact;
    for (size_t len = 0; len < sizeof(m); len++) {
        exact = malloc(len + 1); /* so that a sanitizer sees one octet too many */
        assert_non_null(exact);
        memcpy(exact, &m, len);
        assert_false(drain(exact, len, 0));
        free(exact);
    }
    static const uint32_t lengths[] = {0,  1,  4,   15,   16,       17,        24,
                                       31, 33, 100, 1000, 1U << 31, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        m.header.nlmsg_len = lengths[i];
        assert_false(drain(&m, sizeof(m), 0));
    }
    /* A head alone that says so: there is no body to be looked at. */
    struct nlmsghdr bare[3] = {{.nlmsg_len = sizeof(struct nlmsghdr), .nlmsg_type = RTM_NEWLINK},
                               {.nlmsg_len = UINT32_MAX, .nlmsg_flags = UINT16_MAX},
                               {.nlmsg_seq = UINT32_MAX, .nlmsg_pid = UINT32_MAX}};
    assert_false(drain(bare, sizeof(bare), 0));
}

/* What the kernel says of addresses, cut and with attributes of wrong sizes. */
static void broken_addresses(void **state)
{
    (void)state;
    struct {
        struct nlmsghdr header;
        struct ifaddrmsg body;
        struct nlattr attribute;
        uint8_t octets[16];
    } m = {.header = {.nlmsg_type = RTM_NEWADDR},
           .body = {.ifa_family = AF_INET, .ifa_index = 3},
           .attribute = {.nla_len = 8, .nla_type = IFA_LOCAL},
           .octets = {192, 0, 2, 7}};
    struct net_source found;
    m.header.nlmsg_len = sizeof(m) - 12;
    assert_true(netlink_source(&m.header, 0, &found));
    assert_true(is(&found, "192.0.2.7", 3));
    assert_false(netlink_source(&m.header, 3, &found));
    for (uint32_t len = 0; len <= sizeof(m) - 16; len++) {
        m.header.nlmsg_len = len;
        assert_false(netlink_source(&m.header, 0, &found));
    }
    m.header.nlmsg_len = sizeof(m);
    for (uint16_t len = 0; len < 64; len++) {
        m.attribute.nla_len = len;
        bool good = netlink_source(&m.header, 0, &found);
        assert_int_equal(good, len == 8);
    }
    m.attribute.nla_len = 20;
    m.body.ifa_family = AF_INET6;
    assert_true(netlink_source(&m.header, 0, &found));
    m.body.ifa_flags = IFA_F_TENTATIVE;
    assert_false(netlink_source(&m.header, 0, &found));
    m.body.ifa_flags = 0;
    m.body.ifa_scope = RT_SCOPE_LINK;
    assert_false(netlink_source(&m.header, 0, &found));
    m.body.ifa_scope = 0;
    m.body.ifa_family = AF_UNIX;
    assert_false(netlink_source(&m.header, 0, &found));
    m.body.ifa_family = AF_INET6;
    m.header.nlmsg_type = RTM_DELADDR;
    assert_false(netlink_source(&m.header, 0, &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(sources_by_rank, begin),
        cmocka_unit_test_setup(sources_without_a_way, begin),
        cmocka_unit_test_setup(sources_all, begin),
        cmocka_unit_test_setup(sources_of_many_links, begin),
        cmocka_unit_test_setup(watching, begin),
        cmocka_unit_test(messages),
        cmocka_unit_test(broken_messages),
        cmocka_unit_test(broken_addresses),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
