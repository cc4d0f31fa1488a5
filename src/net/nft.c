/* A gateway's firewall: forwarding, masquerade, and who may reach whom. */
#include "net/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SCRIPT_MAX = 4096 };

static const char RULES[] = "the gateway's rules", WITHOUT[] = "nat = no";

static int forwarding_on(const char *path, char why[static NET_WHY])
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    char now = 0;
    if (fd < 0 && errno == ENOENT)
        return 0; /* a kernel without that family */
    if (fd < 0 || read(fd, &now, 1) != 1 || (now == '0' && pwrite(fd, "1", 1, 0) != 1)) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        return net_fail(why, error, "cannot switch on forwarding in %s", path);
    }
    close(fd);
    return 0;
}

/* The list of our pools of one family, as `{ a, b }`; false when there is none. */
static bool pool_set(const struct net_gateway_plan *plan, uint8_t family, char *text, size_t size)
{
    size_t len = 0;
    char one[ADDR_TEXT];
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->pools[i].ip.family != family)
            continue;
        prefix_print(&plan->pools[i], one);
        int more = snprintf(text + len, size - len, "%s %s", len ? "," : "{", one);
        if (more < 0 || (size_t)more >= size - len)
            return false;
        len += (size_t)more;
    }
    if (len == 0 || len + 3 > size)
        return false;
    memcpy(text + len, " }", 3);
    return true;
}

static void masquerade(struct nft_script *script, const struct net_gateway_plan *plan)
{
    char set[4 * ADDR_TEXT];
    static const struct {
        uint8_t family;
        const char *word;
    } kinds[] = {{4, "ip"}, {6, "ip6"}};
    nft_say(script, "chain leave { type nat hook postrouting priority 100; policy accept;\n");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (pool_set(plan, kinds[i].family, set, sizeof(set)))
            nft_say(script, "oifname \"%s\" %s saddr %s %s daddr != %s masquerade\n", plan->outside,
                    kinds[i].word, set, kinds[i].word, set);
    nft_say(script, "}\n");
}

int net_gateway_up(const struct net_gateway_plan *plan, char why[static NET_WHY])
{
    static const char *const switches[] = {"/proc/sys/net/ipv4/ip_forward",
                                           "/proc/sys/net/ipv6/conf/all/forwarding"};
    char text[SCRIPT_MAX];
    struct nft_script script = {.at = text, .room = sizeof(text)};
    for (size_t i = 0; i < ARRAY_LEN(switches); i++) {
        bool wanted = false;
        for (size_t p = 0; p < plan->count; p++)
            wanted |= plan->pools[p].ip.family == (i == 0 ? 4 : 6);
        int result = wanted ? forwarding_on(switches[i], why) : 0;
        if (result)
            return result;
    }
    if (!plan->masquerade && plan->between_clients)
        return 0;
    nft_say_table(&script, "", "", plan->device, " {}\n");
    nft_say_table(&script, "delete ", "", plan->device, "\n");
    nft_say_table(&script, "", "", plan->device, " {\n");
    if (plan->masquerade)
        masquerade(&script, plan);
    if (!plan->between_clients)
        nft_say(&script,
                "chain across { type filter hook forward priority 0; policy accept;\n"
                "iifname \"%s\" oifname \"%s\" drop\n}\n",
                plan->device, plan->device);
    nft_say(&script, "}\n");
    return nft_run(&script, RULES, WITHOUT, why);
}

void net_gateway_down(const char *device)
{
    char text[SCRIPT_MAX];
    struct nft_script script = {.at = text, .room = sizeof(text)};
    char why[NET_WHY];
    nft_say_table(&script, "", "", device, " {}\n");
    nft_say_table(&script, "delete ", "", device, "\n");
    (void)!nft_run(&script, RULES, WITHOUT, why);
}
