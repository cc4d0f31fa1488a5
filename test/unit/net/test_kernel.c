/* Addresses, routes, rules, nft and DNS in a network namespace of the test's own. Needs root; says
 * so and skips without. */
#include "net/net.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>
#include <cmocka.h>

static bool ready; /* in a namespace of our own, with a device */
static struct net_tun tun;
static char why[NET_WHY];

enum { MARK = 0x5368abcd };

static struct prefix prefix(const char *text)
{
    struct prefix p;
    assert_true(prefix_parse(text, &p));
    return p;
}

static struct ip address(const char *text)
{
    struct ip ip;
    assert_true(ip_parse(text, &ip));
    return ip;
}

/* What a command says, in one string. */
static const char *said(const char *command)
{
    static char text[8192];
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t len = fread(text, 1, sizeof(text) - 1, pipe);
    text[len] = 0;
    pclose(pipe);
    return text;
}

static bool says(const char *command, const char *what)
{
    const char *text = said(command);
    bool found = strstr(text, what) != NULL;
    if (!found)
        printf("%s does not say \"%s\" but:\n%s", command, what, text);
    return found;
}

static void need_nft(void)
{
    if (system("command -v nft >/dev/null") == 0)
        return;
    printf("skip: there is no nft\n");
    skip();
}

static int set_up(void **state)
{
    (void)state;
    if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0) {
        printf("skip: a network namespace needs root\n");
        return 0;
    }
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -1;
    if (net_tun_open("shrtest", 1, 1400, &tun, why)) {
        printf("skip: %s\n", why);
        return 0;
    }
    ready = true;
    return net_link_up(if_nametoindex("lo"), 0, why) || net_link_up(tun.index, 1300, why);
}

static int tear_down(void **state)
{
    (void)state;
    if (ready)
        net_tun_close(&tun);
    return 0;
}

static void a_second_device_is_refused(void **state)
{
    struct net_tun other;
    (void)state;
    if (!ready)
        skip();
    assert_int_equal(net_tun_open("shrtest", 1, 1400, &other, why), ERR_BUSY);
    assert_non_null(strstr(why, "shrtest"));
}

static void addresses(void **state)
{
    struct prefix own4 = prefix("10.9.0.1/32"), own6 = prefix("fd09::1/128");
    (void)state;
    if (!ready)
        skip();
    assert_int_equal(net_address_add(tun.index, &own4, why), 0);
    assert_int_equal(net_address_add(tun.index, &own4, why), 0); /* again is no fault */
    assert_int_equal(net_address_add(tun.index, &own6, why), 0);
    assert_true(says("ip addr show dev shrtest", "10.9.0.1/32"));
    assert_true(says("ip addr show dev shrtest", "fd09::1/128"));
    assert_true(says("ip link show dev shrtest", "mtu 1300"));
    assert_null(strstr(said("ip addr show dev shrtest"), "tentative"));
    assert_int_equal(net_address_del(tun.index, &own4, why), 0);
    assert_int_equal(net_address_del(tun.index, &own6, why), 0);
    assert_null(strstr(said("ip addr show dev shrtest"), "10.9.0.1"));
    assert_true(net_address_del(tun.index, &own4, why) < 0);
}

static void ways(void **state)
{
    struct prefix own = {.ip = address("192.0.2.7"), .bits = 24},
                  everything = {.ip = {.family = 4}};
    struct ip to = address("198.51.100.9"), source;
    uint32_t interface;
    uint16_t mtu;
    char name[16];
    (void)state;
    if (!ready)
        skip();
    assert_true(net_route_to(&to, 0, &source, &interface, &mtu, why) < 0);
    assert_non_null(strstr(why, "198.51.100.9"));
    assert_int_equal(net_default_interface(4, name), ERR_NOT_FOUND);
    assert_int_equal(net_address_add(tun.index, &own, why), 0);
    assert_int_equal(net_route_add(tun.index, &everything, NULL, 0, why), 0);
    assert_int_equal(net_route_add(tun.index, &everything, NULL, 0, why), ERR_EXISTS);
    assert_int_equal(net_route_to(&to, 0, &source, &interface, &mtu, why), 0);
    assert_true(ip_equal(&source, &own.ip));
    assert_int_equal(interface, tun.index);
    assert_int_equal(mtu, 1300);
    assert_int_equal(net_default_interface(4, name), 0);
    assert_string_equal(name, "shrtest");
    assert_int_equal(net_route_del(tun.index, &everything, 0, why), 0);
    assert_int_equal(net_address_del(tun.index, &own, why), 0);
}

/* A default route, a part of it kept out, and a plain network: each where it belongs, and all of it
 * gone afterwards. */
static void client_routes(void **state)
{
    struct prefix wanted[] = {{.ip = {.family = 4}}, {.ip = {.family = 6}}, prefix("10.7.0.0/16")};
    struct prefix except[] = {prefix("203.0.113.0/24"), prefix("2001:db8:1::/48")};
    struct prefix own4 = prefix("10.9.0.1/32"), own6 = prefix("fd09::1/128");
    struct net_client_plan plan = {.index = tun.index,
                                   .mark = MARK,
                                   .prefixes = wanted,
                                   .count = ARRAY_LEN(wanted),
                                   .except = except,
                                   .except_count = ARRAY_LEN(except),
                                   .outer = address("192.0.2.1"),
                                   .source4 = own4.ip,
                                   .source6 = own6.ip};
    (void)state;
    if (!ready)
        skip();
    assert_int_equal(net_address_add(tun.index, &own4, why), 0);
    assert_int_equal(net_address_add(tun.index, &own6, why), 0);
    struct net_client_routes *routes = net_client_routes_up(&plan, why);
    assert_non_null(routes);
    assert_true(says("ip rule", "not from all fwmark 0x5368abcd lookup main suppress_prefix"));
    assert_true(says("ip rule", "not from all fwmark 0x5368abcd lookup 1399368653"));
    assert_true(says("ip -6 rule", "not from all fwmark 0x5368abcd lookup 1399368653"));
    assert_true(says("ip route show table 1399368653", "default dev shrtest"));
    assert_true(says("ip route show table 1399368653", "throw 203.0.113.0/24"));
    assert_true(says("ip -6 route show table 1399368653", "throw 2001:db8:1::/48"));
    assert_true(says("ip route show table main", "10.7.0.0/16 dev shrtest"));
    assert_true(says("ip route get 8.8.8.8", "dev shrtest"));
    assert_true(says("ip route get 8.8.8.8 mark 0x5368abcd 2>&1", "unreachable"));
    assert_true(says("ip route get 203.0.113.5 2>&1", "unreachable"));
    net_client_routes_down(routes);
    assert_null(strstr(said("ip rule; ip -6 rule"), "fwmark"));
    assert_null(strstr(said("ip route show table all; ip -6 route show table all"), "1399368653"));
    assert_null(strstr(said("ip route"), "10.7"));
    assert_int_equal(net_address_del(tun.index, &own4, why), 0);
    assert_int_equal(net_address_del(tun.index, &own6, why), 0);
}

/* A network that holds the gateway's own address must not catch the tunnel's own packets. */
static void gateway_inside_the_network(void **state)
{
    struct prefix wanted[] = {prefix("192.0.2.0/24")};
    struct net_client_plan plan = {.index = tun.index,
                                   .mark = MARK,
                                   .prefixes = wanted,
                                   .count = 1,
                                   .outer = address("192.0.2.1")};
    (void)state;
    if (!ready)
        skip();
    struct net_client_routes *routes = net_client_routes_up(&plan, why);
    assert_non_null(routes);
    assert_true(says("ip route get 192.0.2.1", "dev shrtest"));
    assert_true(says("ip route get 192.0.2.1 mark 0x5368abcd 2>&1", "unreachable"));
    net_client_routes_down(routes);
}

/* And when the tunnel moves to an address inside: the network goes to the table. */
static void gateway_moves_into_the_network(void **state)
{
    struct prefix wanted[] = {prefix("192.0.2.0/24"), prefix("10.7.0.0/16")};
    struct ip inside = address("192.0.2.1"), outside = address("198.51.100.1");
    struct net_client_plan plan = {
        .index = tun.index, .mark = MARK, .prefixes = wanted, .count = 2, .outer = outside};
    (void)state;
    if (!ready)
        skip();
    struct net_client_routes *routes = net_client_routes_up(&plan, why);
    assert_non_null(routes);
    assert_int_equal(net_client_routes_move(routes, &outside, 0, why), 0);
    assert_true(says("ip route get 192.0.2.1 mark 0x5368abcd 2>&1", "dev shrtest"));
    for (int i = 0; i < 2; i++) { /* again is no fault */
        assert_int_equal(net_client_routes_move(routes, &inside, 0, why), 0);
        assert_true(says("ip route get 192.0.2.1", "dev shrtest"));
        assert_true(says("ip route get 192.0.2.1 mark 0x5368abcd 2>&1", "unreachable"));
        assert_true(says("ip route show table main", "10.7.0.0/16"));
    }
    net_client_routes_down(routes);
    assert_null(strstr(said("ip rule; ip route show table all"), "1399368653"));
    assert_null(strstr(said("ip route show table all"), "10.7.0.0/16"));
}

/* What a killed program left is swept away, and a failure leaves nothing behind. */
static void nothing_stays(void **state)
{
    struct prefix wanted[] = {{.ip = {.family = 4}}, {.ip = {.family = 4}}};
    struct net_client_plan plan = {
        .index = tun.index, .mark = MARK, .prefixes = wanted, .count = 2};
    (void)state;
    if (!ready)
        skip();
    assert_null(net_client_routes_up(&plan, why)); /* the same one twice */
    assert_null(strstr(said("ip rule; ip route show table all"), "1399368653"));
    plan.count = 1;
    struct net_client_routes *routes = net_client_routes_up(&plan, why);
    assert_non_null(routes);
    net_client_routes_sweep(MARK);
    assert_null(strstr(said("ip rule; ip route show table all"), "1399368653"));
    net_client_routes_down(routes); /* finds nothing, and does not mind */
}

static void gateway_rules(void **state)
{
    struct prefix pools[] = {prefix("10.99.0.0/16"), prefix("fd99::/64")};
    struct net_gateway_plan plan = {.device = "shrtest",
                                    .outside = "lo",
                                    .pools = pools,
                                    .count = ARRAY_LEN(pools),
                                    .masquerade = true};
    (void)state;
    if (!ready)
        skip();
    need_nft();
    assert_int_equal(net_gateway_up(&plan, why), 0);
    assert_int_equal(net_gateway_up(&plan, why), 0); /* replaced, not doubled */
    assert_true(says("nft list table inet shrike_shrtest",
                     "oifname \"lo\" ip saddr 10.99.0.0/16 ip daddr != 10.99.0.0/16 masquerade"));
    assert_true(says("nft list table inet shrike_shrtest",
                     "oifname \"lo\" ip6 saddr fd99::/64 ip6 daddr != fd99::/64 masquerade"));
    assert_true(
        says("nft list table inet shrike_shrtest", "iifname \"shrtest\" oifname \"shrtest\" drop"));
    assert_true(says("cat /proc/sys/net/ipv4/ip_forward", "1"));
    assert_true(says("cat /proc/sys/net/ipv6/conf/all/forwarding", "1"));
    net_gateway_down("shrtest");
    assert_null(strstr(said("nft list tables"), "shrike_shrtest"));
}

static struct net_flow flow(const char *local, const char *remote)
{
    struct net_flow f;
    assert_true(selector_parse(local, &f.local));
    assert_true(selector_parse(remote, &f.remote));
    return f;
}

/* Transport mode: what belongs to a flow goes into the device, the rest as before, and marked
 * packets past all of it. */
static void flows(void **state)
{
    struct prefix own4 = prefix("192.0.2.2/32"), own6 = prefix("2001:db8::2/128");
    struct net_flows_plan plan = {.device = "shrtest",
                                  .index = tun.index,
                                  .mark = MARK,
                                  .ports = {500, 4500},
                                  .port_count = 2};
    struct net_flow whole[] = {flow("192.0.2.2", "192.0.2.1"), flow("2001:db8::2", "2001:db8::1")};
    struct net_flow some[] = {flow("192.0.2.2", "192.0.2.9[tcp/443]"),
                              flow("192.0.2.2[udp/1000-65535]", "192.0.2.9")};
    struct net_flow net[] = {flow("192.0.2.2", "192.0.2.8"), flow("192.0.2.2", "192.0.2.0/24")};
    (void)state;
    if (!ready)
        skip();
    need_nft();
    assert_int_equal(net_address_add(if_nametoindex("lo"), &own4, why), 0);
    assert_int_equal(net_address_add(if_nametoindex("lo"), &own6, why), 0);
    struct net_flows *f = net_flows_create(&plan, why);
    assert_non_null(f);
    assert_int_equal(net_flows_add(f, 1, whole, 2, why), 0);
    assert_int_equal(net_flows_add(f, 2, some, 2, why), 0);
    assert_true(says("ip route get 192.0.2.1", "dev shrtest table 1399368653 src 192.0.2.2"));
    assert_true(says("ip route get 2001:db8::1", "dev shrtest table 1399368653"));
    assert_null(strstr(said("ip route get 192.0.2.1 mark 0x5368abcd 2>&1"), "shrtest"));
    assert_true(says("ip route get 192.0.2.9 ipproto tcp dport 443", "dev shrtest"));
    assert_null(strstr(said("ip route get 192.0.2.9 ipproto tcp dport 444 2>&1"), "shrtest"));
    assert_true(says("ip route get 192.0.2.9 ipproto udp sport 1000 dport 7", "dev shrtest"));
    assert_null(
        strstr(said("ip route get 192.0.2.9 ipproto udp sport 999 dport 7 2>&1"), "shrtest"));
    assert_true(says("nft list ruleset", "ip saddr 192.0.2.1 ip daddr 192.0.2.2 drop"));
    assert_true(says("nft list ruleset", "ip saddr 192.0.2.2 ip daddr 192.0.2.1 drop"));
    assert_true(says("nft list ruleset | grep 'saddr 192.0.2.9'", "sport 443 drop"));
    /* What an owner has counts once, and it has no more than its share, all or nothing. */
    struct net_flow many[NET_FLOWS_OWNED + 1];
    for (unsigned i = 0; i < ARRAY_LEN(many); i++) {
        char local[40];
        snprintf(local, sizeof(local), "192.0.2.2[udp/%u]", i + 1);
        many[i] = flow(local, "192.0.2.7");
    }
    assert_int_equal(net_flows_add(f, 2, some, 2, why), 0);
    assert_int_not_equal(net_flows_add(f, 5, many, ARRAY_LEN(many), why), 0);
    assert_null(strstr(said("ip rule; nft list ruleset"), "192.0.2.7"));
    for (int again = 0; again < 2; again++)
        assert_int_equal(net_flows_add(f, 5, many, NET_FLOWS_OWNED, why), 0);
    assert_int_not_equal(net_flows_add(f, 5, whole, 1, why), 0);
    assert_int_equal(net_flows_del(f, 5, why), 0);
    assert_null(strstr(said("ip rule; nft list ruleset"), "192.0.2.7"));
    /* Who comes again takes the place of its former owners, and of no others. */
    assert_int_equal(net_flows_add(f, 6, many, 1, why), 0);
    assert_int_equal(net_flows_add(f, 7, many, 1, why), 0);
    assert_int_equal(net_flows_del_former(f, 7, &many[0].remote.low, why), 0);
    assert_true(says("ip rule; nft list ruleset", "192.0.2.7"));
    assert_true(says("ip route get 192.0.2.9 ipproto tcp dport 443", "dev shrtest"));
    assert_int_equal(net_flows_del(f, 7, why), 0);
    assert_null(strstr(said("ip rule; nft list ruleset"), "192.0.2.7"));
    /* All or nothing, and the same one for two owners. */
    assert_int_not_equal(net_flows_add(f, 3, net, 2, why), 0);
    assert_null(strstr(said("ip rule; nft list ruleset"), "192.0.2.8"));
    assert_int_equal(net_flows_add(f, 4, whole, 1, why), 0);
    assert_int_equal(net_flows_del(f, 1, why), 0);
    assert_true(says("ip route get 192.0.2.1", "dev shrtest"));
    assert_null(strstr(said("ip -6 rule; nft list ruleset"), "2001:db8::1"));
    assert_int_equal(net_flows_del(f, 4, why), 0);
    assert_null(strstr(said("ip route get 192.0.2.1 2>&1"), "shrtest"));
    net_flows_sweep("shrtest", MARK); /* as if killed, with the second still there */
    assert_null(strstr(said("ip rule; ip -6 rule"), "3199"));
    assert_null(strstr(said("nft list tables"), "shrike_flows"));
    net_flows_free(f);
    assert_null(strstr(said("ip route show table all"), "1399368653"));
    assert_int_equal(net_address_del(if_nametoindex("lo"), &own4, why), 0);
    assert_int_equal(net_address_del(if_nametoindex("lo"), &own6, why), 0);
}

/* /etc/resolv.conf as a mount of its own, as in `ip netns exec`. */
static void resolver_file(void **state)
{
    struct ip servers[] = {address("10.9.9.9"), address("fd09::9")};
    struct net_dns_plan dns = {.device = "shrtest", .servers = servers, .count = 2};
    char path[] = "/tmp/shrike-test-resolv-XXXXXX";
    static const char before[] = "nameserver 192.0.2.53\nsearch example.org\n";
    (void)state;
    if (!ready)
        skip();
    if (access("/usr/sbin/resolvconf", X_OK) == 0 || access("/run/systemd/resolve", F_OK) == 0) {
        printf("skip: somebody manages /etc/resolv.conf\n");
        skip();
    }
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, before, sizeof(before) - 1), sizeof(before) - 1);
    close(fd);
    if (mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL) < 0) {
        unlink(path);
        printf("skip: there is no /etc/resolv.conf\n");
        skip();
    }
    assert_int_equal(net_dns_up(&dns, why), 0);
    assert_true(says("cat /etc/resolv.conf", "nameserver 10.9.9.9\nnameserver fd09::9\n"));
    net_dns_down("shrtest");
    assert_string_equal(said("cat /etc/resolv.conf"), before);
    umount("/etc/resolv.conf");
    unlink(path);
}

static void names(void **state)
{
    struct ip found[4];
    char text[ADDR_TEXT];
    (void)state;
    assert_int_equal(net_resolve("192.0.2.9", found, 4, why), 1);
    assert_string_equal(ip_print(&found[0], text), "192.0.2.9");
    assert_int_equal(net_resolve("2001:db8::9", found, 4, why), 1);
    assert_int_equal(net_resolve("no-such-host.invalid", found, 4, why), ERR_NOT_FOUND);
    assert_non_null(strstr(why, "no-such-host.invalid"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_device_is_refused),
        cmocka_unit_test(addresses),
        cmocka_unit_test(ways),
        cmocka_unit_test(client_routes),
        cmocka_unit_test(gateway_inside_the_network),
        cmocka_unit_test(gateway_moves_into_the_network),
        cmocka_unit_test(nothing_stays),
        cmocka_unit_test(gateway_rules),
        cmocka_unit_test(flows),
        cmocka_unit_test(resolver_file),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
