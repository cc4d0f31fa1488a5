/* The guard of transport mode: what belongs into the device does not leave beside it, and is not
 * believed when it comes in beside it (RFC 4301 5.1, 5.2). Routing alone could do the first, but
 * not while rules change, and nothing of the second: a socket does not know how a packet came. */
#include "net/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEAD_ROOM = 2048, FLOW_ROOM = 768 };

struct text {
    char *at;
    size_t len, room;
    bool bad;
};

static void say(struct text *text, const char *format, ...) PRINTF_LIKE(2, 3);
static void say(struct text *text, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int len = vsnprintf(text->at + text->len, text->room - text->len, format, list);
    va_end(list);
    if (len < 0 || (size_t)len >= text->room - text->len)
        text->bad = true;
    else
        text->len += (size_t)len;
}

static void say_ports(struct text *text, const char *word, const struct selector *s)
{
    if (selector_any_port(s) || selector_is_opaque(s))
        return;
    say(text, " th %s %u", word, s->port_low);
    if (s->port_high != s->port_low)
        say(text, "-%u", s->port_high);
}

/* As it comes in, or as it goes out. */
static void say_flow(struct text *text, const struct net_flow *flow, bool in)
{
    const struct selector *from = in ? &flow->remote : &flow->local;
    const struct selector *to = in ? &flow->local : &flow->remote;
    const char *ip = from->low.family == 6 ? "ip6" : "ip";
    char source[ADDR_TEXT], destination[ADDR_TEXT];
    struct flow_match match = {0};
    (void)flow_match(flow, &match);
    ip_print(&from->low, source);
    ip_print(&to->low, destination);
    /* IPv6 fragments are put together only behind this hook: their ports do not show. */
    if (match.protocol && from->low.family == 6)
        say(text, "ip6 saddr %s ip6 daddr %s exthdr frag exists drop\n", source, destination);
    say(text, "%s saddr %s %s daddr %s", ip, source, ip, destination);
    if (match.protocol)
        say(text, " meta l4proto %u", match.protocol);
    if (match.ports) {
        say_ports(text, "sport", from);
        say_ports(text, "dport", to);
    }
    say(text, " drop\n");
}

static void say_neighbours(struct text *text)
{
    say(text, "icmpv6 type { 133, 134, 135, 136, 137 } ip6 hoplimit 255 accept\n");
}

static void say_in(struct text *text, const struct net_flows_plan *plan,
                   const struct flow_entry *list, size_t count)
{
    say(text, "chain in { type filter hook input priority -10; policy accept;\n");
    say(text, "iifname \"%s\" accept\nmeta l4proto { 50, 51 } accept\n", plan->device);
    for (size_t i = 0; i < plan->port_count; i++)
        say(text, "udp dport %u accept\n", plan->ports[i]);
    say_neighbours(text);
    for (size_t i = 0; i < count; i++)
        say_flow(text, &list[i].flow, true);
    say(text, "}\n");
}

static void say_out(struct text *text, const struct net_flows_plan *plan,
                    const struct flow_entry *list, size_t count)
{
    say(text, "chain out { type filter hook output priority -10; policy accept;\n");
    say(text, "oifname \"%s\" accept\nmeta mark %u accept\n", plan->device, plan->mark);
    say_neighbours(text);
    for (size_t i = 0; i < count; i++)
        say_flow(text, &list[i].flow, false);
    say(text, "}\n");
}

static int run(const struct text *text, char why[static NET_WHY])
{
    static const char *const argv[] = {"nft", "-f", "-", NULL};
    char said[160];
    int result = text->bad ? ERR_LIMIT : net_execute(argv, text->at, said, sizeof(said));
    if (result == 0)
        return 0;
    if (result == ERR_NOT_FOUND)
        snprintf(why, NET_WHY,
                 "transport mode needs nft to keep clear text out: apt install "
                 "nftables, or mode = tunnel");
    else
        snprintf(why, NET_WHY, "nft refused the guard of transport mode: %s",
                 result == ERR_LIMIT ? "too many flows" : said);
    return ERR_SYSTEM;
}

int guard_set(const struct net_flows_plan *plan, const struct flow_entry *list, size_t count,
              char why[static NET_WHY])
{
    struct text text = {.room = HEAD_ROOM + count * FLOW_ROOM};
    text.at = malloc(text.room);
    if (!text.at)
        return net_fail(why, ENOMEM, "cannot write the guard of transport mode");
    say(&text, "table inet shrike_flows_%s {}\ndelete table inet shrike_flows_%s\n", plan->device,
        plan->device);
    if (count > 0) {
        say(&text, "table inet shrike_flows_%s {\n", plan->device);
        say_in(&text, plan, list, count);
        say_out(&text, plan, list, count);
        say(&text, "}\n");
    }
    int result = run(&text, why);
    free(text.at);
    return result;
}
