/* The group of sockets on one port: who gets what. And, as root in a namespace of our own, raw
 * sockets and TUN. */
#include "net/net.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { WORKERS = 3 };

static struct net_udp_group group;
static char why[NET_WHY];

static struct ip address(const char *text)
{
    struct ip ip;
    assert_true(ip_parse(text, &ip));
    return ip;
}

static int client_of(const struct ip *ip, uint16_t port)
{
    struct sockaddr_storage to;
    struct endpoint e = {.ip = *ip, .port = port};
    socklen_t len = endpoint_to_sockaddr(&e, &to);
    int fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, len), 0);
    return fd;
}

/* Octets waiting at a socket, -1 when there is nothing. */
static ssize_t waiting(int fd)
{
    uint8_t buffer[70000];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    (void)poll(&p, 1, 20);
    return recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
}

static void selector_splits(const char *where)
{
    struct ip ip = address(where);
    assert_int_equal(net_udp_open(&ip, 0, 0, WORKERS, 0, &group, why), 0);
    assert_int_not_equal(group.port_natt, 0);
    assert_int_not_equal(group.port_500, group.port_natt);
    int fd = client_of(&ip, group.port_natt);
    for (uint32_t spi = 0; spi < 20; spi++) {
        uint8_t packet[40] = {0, 0, 1, (uint8_t)spi};
        assert_int_equal(send(fd, packet, sizeof(packet), 0), sizeof(packet));
        for (uint32_t w = 0; w < WORKERS; w++)
            assert_int_equal(waiting(group.worker[w]) > 0, (0x100 + spi) % WORKERS == w);
        assert_int_equal(waiting(group.ike_natt), -1);
    }
    static const uint8_t ike[30] = {0, 0, 0, 0, 1, 2, 3};
    assert_int_equal(send(fd, ike, sizeof(ike), 0), sizeof(ike));
    assert_int_equal(waiting(group.ike_natt), sizeof(ike));
    for (uint8_t len = 0; len < 4; len++) { /* keepalives, and what is too short for anything */
        assert_int_equal(send(fd, "\xff\xff\xff\xff", len, 0), len);
        assert_int_equal(waiting(group.ike_natt), len);
    }
    close(fd);
    net_udp_close(&group);
}

static void selector_splits4(void **state)
{
    (void)state;
    selector_splits("127.0.0.1");
}

static void selector_splits6(void **state)
{
    (void)state;
    if (access("/proc/net/if_inet6", R_OK) != 0)
        skip();
    selector_splits("::1");
}

/* What the kernel joined comes one by one, with addresses. */
static void joined_datagrams(void **state)
{
    (void)state;
    struct ip ip = address("127.0.0.1");
    struct endpoint local, remote;
    uint32_t interface;
    uint8_t data[1000] = {0}, got[2000];
    size_t len;
    int stride = 300;
    assert_int_equal(net_udp_open(&ip, 0, 0, 1, 0, &group, why), 0);
    int fd = client_of(&ip, group.port_natt);
    assert_int_equal(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &stride, sizeof(stride)), 0);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = i % 300 < 4 ? 0 : (uint8_t)(i / 300 + 1);
    assert_int_equal(send(fd, data, sizeof(data), 0), sizeof(data));
    for (int i = 0; i < 4; i++) {
        assert_int_equal(
            net_receive(group.ike_natt, got, sizeof(got), &len, &local, &remote, &interface), 0);
        assert_int_equal(len, i < 3 ? 300 : 100);
        assert_memory_equal(got, data + 300 * i, len);
        assert_int_equal(local.port, group.port_natt);
        assert_true(ip_equal(&local.ip, &ip));
        assert_true(ip_equal(&remote.ip, &ip));
        assert_int_equal(interface, if_nametoindex("lo"));
    }
    assert_int_equal(
        net_receive(group.ike_natt, got, sizeof(got), &len, &local, &remote, &interface),
        ERR_AGAIN);
    /* And back, from the very address it came to. */
    struct bytes a = {data, 4}, b = {data + 10, 20};
    assert_int_equal(net_send(group.ike_natt, a, b, &local, &remote, 0), 0);
    assert_int_equal(waiting(fd), 24);
    assert_int_equal(net_send(group.ike_natt, a, b, NULL, &remote, 0), 0);
    assert_int_equal(waiting(fd), 24);
    close(fd);
    net_udp_close(&group);
}

static void port_in_use(void **state)
{
    (void)state;
    struct net_udp_group other;
    struct ip ip = address("127.0.0.1");
    char name[40];
    assert_int_equal(net_udp_open(&ip, 0, 0, 1, 0, &group, why), 0);
    assert_int_equal(net_udp_open(&ip, 0, group.port_natt, 1, 0, &other, why), ERR_BUSY);
    snprintf(name, sizeof(name), "(pid %d)", getpid());
    assert_non_null(strstr(why, name));
    assert_int_equal(net_udp_open(&ip, group.port_500, 0, 1, 0, &other, why), ERR_BUSY);
    assert_int_equal(other.ike_500, -1);
    net_udp_close(&group);
    assert_int_equal(net_udp_open(&ip, 0, 0, 0, 0, &group, why), ERR_ARGUMENT);
    assert_int_equal(net_udp_open(&ip, 0, 0, 65, 0, &group, why), ERR_ARGUMENT);
}

static bool ready; /* is there a network of our own? */

/* Loopback up, in a network of our own. */
static bool own_network(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0)
        return false;
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    bool up = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    close(fd);
    return up;
}

static void raw_sockets_split(void **state)
{
    (void)state;
    if (!ready)
        skip();
    for (uint8_t family = 4; family <= 6; family += 2) {
        struct net_raw_group raw;
        struct sockaddr_storage to;
        struct endpoint e = {.ip = address(family == 4 ? "127.0.0.1" : "::1")};
        assert_int_equal(net_raw_open_group(family, false, WORKERS, 0, &raw, why), 0);
        socklen_t len = endpoint_to_sockaddr(&e, &to);
        for (uint32_t spi = 0; spi < 9; spi++) {
            uint8_t packet[40] = {0, 0, 2, (uint8_t)spi};
            assert_int_equal(
                sendto(raw.worker[0], packet, sizeof(packet), 0, (struct sockaddr *)&to, len), 40);
            for (uint32_t w = 0; w < WORKERS; w++)
                assert_int_equal(waiting(raw.worker[w]), (0x200 + spi) % WORKERS != w ? -1
                                                         : family == 4                ? 60
                                                                                      : 40);
        }
        net_raw_close(&raw);
        assert_int_equal(raw.worker[0], -1);
    }
}

static void tun_has_queues(void **state)
{
    (void)state;
    if (!ready)
        skip();
    struct net_tun tun, other;
    if (access("/dev/net/tun", R_OK) != 0)
        skip();
    assert_int_equal(net_tun_open("shtest0", 2, 1438, &tun, why), 0);
    assert_string_equal(tun.name, "shtest0");
    assert_int_equal(tun.queues, 2);
    assert_int_equal(tun.index, if_nametoindex("shtest0"));
    assert_int_not_equal(net_tun_open("shtest0", 1, 1438, &other, why), 0);
    assert_int_not_equal(why[0], 0);
    net_tun_close(&tun);
    assert_int_equal(if_nametoindex("shtest0"), 0);
    assert_int_equal(net_tun_open("shtest0", 0, 1438, &tun, why), ERR_ARGUMENT);
    assert_int_equal(net_tun_open("a-name-that-is-too-long", 1, 1438, &tun, why), ERR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest anyone[] = {
        cmocka_unit_test(selector_splits4),
        cmocka_unit_test(selector_splits6),
        cmocka_unit_test(joined_datagrams),
        cmocka_unit_test(port_in_use),
    };
    const struct CMUnitTest root[] = {
        cmocka_unit_test(raw_sockets_split),
        cmocka_unit_test(tun_has_queues),
    };
    int failed = cmocka_run_group_tests(anyone, NULL, NULL);
    ready = own_network();
    if (!ready)
        printf("skip: raw sockets and TUN: they need root\n");
    return failed + cmocka_run_group_tests(root, NULL, NULL);
}
