/* A gateway's firewall: forwarding, masquerade, and who may reach whom. */
#include "net/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SCRIPT_MAX = 4096 };

struct script {
    char text[SCRIPT_MAX];
    size_t len;
    bool bad;
};

static void say(struct script *script, const char *format, ...) PRINTF_LIKE(2, 3);
static void say(struct script *script, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int len = vsnprintf(script->text + script->len, SCRIPT_MAX - script->len, format, list);
    va_end(list);
    if (len < 0 || (size_t)len >= SCRIPT_MAX - script->len)
        script->bad = true;
    else
        script->len += (size_t)len;
}

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

static void masquerade(struct script *script, const struct net_gateway_plan *plan)
{
    char set[4 * ADDR_TEXT];
    static const struct {
        uint8_t family;
        const char *word;
    } kinds[] = {{4, "ip"}, {6, "ip6"}};
    say(script, "chain leave { type nat hook postrouting priority 100; policy accept;\n");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (pool_set(plan, kinds[i].family, set, sizeof(set)))
            say(script, "oifname \"%s\" %s saddr %s %s daddr != %s masquerade\n", plan->outside,
                kinds[i].word, set, kinds[i].word, set);
    say(script, "}\n");
}

static int run_script(const struct script *script, char why[static NET_WHY])
{
    static const char *const argv[] = {"nft", "-f", "-", NULL};
    char said[160];
    int result = script->bad ? ERR_LIMIT : net_execute(argv, script->text, said, sizeof(said));
    if (result == 0)
        return 0;
    if (result == ERR_NOT_FOUND)
        snprintf(why, NET_WHY, "nft is not installed: apt install nftables, or nat = no");
    else
        snprintf(why, NET_WHY, "nft refused the gateway's rules: %s", said);
    return ERR_SYSTEM;
}

int net_gateway_up(const struct net_gateway_plan *plan, char why[static NET_WHY])
{
    static const char *const switches[] = {"/proc/sys/net/ipv4/ip_forward",
                                           "/proc/sys/net/ipv6/conf/all/forwarding"};
    struct script script = {.len = 0};
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
    say(&script, "table inet shrike_%s {}\ndelete table inet shrike_%s\n", plan->device,
        plan->device);
    say(&script, "table inet shrike_%s {\n", plan->device);
    if (plan->masquerade)
        masquerade(&script, plan);
    if (!plan->between_clients)
        say(&script,
            "chain across { type filter hook forward priority 0; policy accept;\n"
            "iifname \"%s\" oifname \"%s\" drop\n}\n",
            plan->device, plan->device);
    say(&script, "}\n");
    return run_script(&script, why);
}

void net_gateway_down(const char *device)
{
    struct script script = {.len = 0};
    char why[NET_WHY];
    say(&script, "table inet shrike_%s {}\ndelete table inet shrike_%s\n", device, device);
    (void)!run_script(&script, why);
}
