/* The guard of transport mode: what belongs into the device does not leave beside it, and is not
 * believed when it comes in beside it (RFC 4301 5.1, 5.2). Routing alone could do the first, but
 * not while rules change, and nothing of the second: a socket does not know how a packet came. */
#include "net/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEAD_ROOM = 2048, FLOW_ROOM = 768 };

static void say_ports(struct nft_script *script, const char *word, const struct selector *s)
{
    if (selector_any_port(s) || selector_is_opaque(s))
        return;
    nft_say(script, " th %s %u", word, s->port_low);
    if (s->port_high != s->port_low)
        nft_say(script, "-%u", s->port_high);
}

/* As it comes in, or as it goes out. */
static void say_flow(struct nft_script *script, const struct net_flow *flow, bool in)
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
        nft_say(script, "ip6 saddr %s ip6 daddr %s exthdr frag exists drop\n", source, destination);
    nft_say(script, "%s saddr %s %s daddr %s", ip, source, ip, destination);
    if (match.protocol)
        nft_say(script, " meta l4proto %u", match.protocol);
    if (match.ports) {
        say_ports(script, "sport", from);
        say_ports(script, "dport", to);
    }
    nft_say(script, " drop\n");
}

static void say_neighbours(struct nft_script *script)
{
    nft_say(script, "icmpv6 type { 133, 134, 135, 136, 137 } ip6 hoplimit 255 accept\n");
}

static void say_in(struct nft_script *script, const struct net_flows_plan *plan,
                   const struct flow_entry *list, size_t count)
{
    nft_say(script, "chain in { type filter hook input priority -10; policy accept;\n");
    nft_say(script, "iifname \"%s\" accept\nmeta l4proto { 50, 51 } accept\n", plan->device);
    for (size_t i = 0; i < plan->port_count; i++)
        nft_say(script, "udp dport %u accept\n", plan->ports[i]);
    say_neighbours(script);
    for (size_t i = 0; i < count; i++)
        say_flow(script, &list[i].flow, true);
    nft_say(script, "}\n");
}

static void say_out(struct nft_script *script, const struct net_flows_plan *plan,
                    const struct flow_entry *list, size_t count)
{
    nft_say(script, "chain out { type filter hook output priority -10; policy accept;\n");
    nft_say(script, "oifname \"%s\" accept\nmeta mark %u accept\n", plan->device, plan->mark);
    say_neighbours(script);
    for (size_t i = 0; i < count; i++)
        say_flow(script, &list[i].flow, false);
    nft_say(script, "}\n");
}

int guard_set(const struct net_flows_plan *plan, const struct flow_entry *list, size_t count,
              char why[static NET_WHY])
{
    struct nft_script script = {.room = HEAD_ROOM + count * FLOW_ROOM};
    script.at = malloc(script.room);
    if (!script.at)
        return net_fail(why, ENOMEM, "cannot write the guard of transport mode");
    nft_say_table(&script, "", "flows_", plan->device, " {}\n");
    nft_say_table(&script, "delete ", "flows_", plan->device, "\n");
    if (count > 0) {
        nft_say_table(&script, "", "flows_", plan->device, " {\n");
        say_in(&script, plan, list, count);
        say_out(&script, plan, list, count);
        nft_say(&script, "}\n");
    }
    int result = nft_run(&script, "the guard rules of transport mode", "mode = tunnel", why);
    free(script.at);
    return result;
}
