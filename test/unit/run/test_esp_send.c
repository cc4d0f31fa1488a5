/* Runs of ESP packets through real sockets: joined, split, one by one, and too big for the path. */
#include "run/esp_send.h"

#include <net/if.h>
#include <netinet/in.h>
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

static struct net_udp_group group;
static struct esp_sender sender;
static struct sockaddr_storage to;
static struct ip from;
static int receiver;
static uint8_t data[ESP_RUN_OCTETS + 1500];

static void open_all(const char *where)
{
    char why[NET_WHY];
    struct endpoint e = {.port = 0};
    assert_true(ip_parse(where, &e.ip));
    assert_int_equal(net_udp_open(&e.ip, 0, 0, 1, 0, &group, why), 0);
    from = e.ip;
    sender = (struct esp_sender){.count = 1, .raw4 = -1, .raw6 = -1, .most = ESP_RUN_SEGMENTS};
    sender.udp[0].ip = e.ip;
    sender.udp[0].fd = group.worker[0];
    socklen_t len = endpoint_to_sockaddr(&e, &to);
    receiver = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(receiver, (struct sockaddr *)&to, len), 0);
    len = sizeof(to);
    assert_int_equal(getsockname(receiver, (struct sockaddr *)&to, &len), 0);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i / 100);
}

static void close_all(void)
{
    close(receiver);
    net_udp_close(&group);
}

static struct esp_send run_of(uint16_t count, uint32_t stride, uint32_t last)
{
    return (struct esp_send){.data = data,
                             .len = (count - 1u) * stride + last,
                             .stride = stride,
                             .count = count,
                             .tos = 0x2a,
                             .udp = true,
                             .to = &to,
                             .to_len = to.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                                : sizeof(struct sockaddr_in),
                             .from = &from};
}

/* Takes what arrived and compares it with the run, packet by packet. */
static void arrived(const struct esp_send *send, uint16_t first)
{
    uint8_t buffer[65536];
    for (uint16_t i = first; i < send->count; i++) {
        struct pollfd p = {.fd = receiver, .events = POLLIN};
        (void)poll(&p, 1, 1000);
        ssize_t len = recv(receiver, buffer, sizeof(buffer), MSG_DONTWAIT);
        uint32_t at = i * send->stride;
        uint32_t want = send->len - at < send->stride ? send->len - at : send->stride;
        assert_int_equal(len, want);
        assert_memory_equal(buffer, data + at, want);
    }
    assert_true(recv(receiver, buffer, sizeof(buffer), MSG_DONTWAIT) < 0);
}

static void runs_arrive(void **state)
{
    (void)state;
    static const struct {
        uint16_t count;
        uint32_t stride, last;
    } runs[] = {{1, 100, 100}, {2, 100, 100}, {10, 1400, 7}, {44, 1472, 1472}, {128, 90, 60}};
    static const char *const where[] = {"127.0.0.1", "::1"};
    for (size_t w = 0; w < ARRAY_LEN(where); w++) {
        if (w == 1 && access("/proc/net/if_inet6", R_OK) != 0)
            continue;
        open_all(where[w]);
        for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
            struct esp_send send = run_of(runs[i].count, runs[i].stride, runs[i].last);
            esp_send_run(&sender, &send);
            assert_int_equal(send.sent, send.count);
            arrived(&send, 0);
            /* The same without help of the kernel. */
            send = run_of(runs[i].count, runs[i].stride, runs[i].last);
            sender.without_gso = 1;
            esp_send_run(&sender, &send);
            assert_int_equal(send.sent, send.count);
            arrived(&send, 0);
            /* And from a socket that is bound to no address. */
            send = run_of(runs[i].count, runs[i].stride, runs[i].last);
            sender.without_gso = 0;
            memset(sender.udp[0].ip.octets, 0, sizeof(sender.udp[0].ip.octets));
            esp_send_run(&sender, &send);
            assert_int_equal(send.sent, send.count);
            arrived(&send, 0);
        }
        close_all();
    }
}

static void no_socket_no_send(void **state)
{
    (void)state;
    open_all("127.0.0.1");
    struct esp_send send = run_of(3, 100, 100);
    sender.count = 0;
    esp_send_run(&sender, &send);
    assert_int_equal(send.sent + send.full + send.too_big, 0);
    send = run_of(3, 100, 100);
    send.udp = false;
    esp_send_run(&sender, &send);
    assert_int_equal(send.sent + send.full + send.too_big, 0);
    close_all();
}

static bool ready; /* is there a network of our own? */

static bool small_network(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0)
        return false;
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    bool good = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    request.ifr_mtu = 1300;
    good &= ioctl(fd, SIOCSIFMTU, &request) == 0;
    close(fd);
    return good;
}

/* The long ones are refused by size, the short last one goes. */
static void too_big_for_the_path(void **state)
{
    (void)state;
    if (!ready)
        skip();
    open_all("127.0.0.1");
    struct esp_send send = run_of(4, 1400, 50);
    esp_send_run(&sender, &send);
    assert_int_equal(send.too_big, 3);
    assert_int_equal(send.sent, 1);
    assert_int_equal(sender.without_gso, 0);
    arrived(&send, 3);
    send = run_of(4, 1200, 50);
    esp_send_run(&sender, &send);
    assert_int_equal(send.sent, 4);
    arrived(&send, 0);
    close_all();
}

int main(void)
{
    const struct CMUnitTest anyone[] = {cmocka_unit_test(runs_arrive),
                                        cmocka_unit_test(no_socket_no_send)};
    const struct CMUnitTest root[] = {cmocka_unit_test(too_big_for_the_path)};
    int failed = cmocka_run_group_tests(anyone, NULL, NULL);
    ready = small_network();
    if (!ready)
        printf("skip: a path that is too small: needs root\n");
    return failed + cmocka_run_group_tests(root, NULL, NULL);
}
