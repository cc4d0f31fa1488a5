/* What this host can send from, and when that changes. */
#include "net/internal.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FOUND_MAX = 256 };

int net_watch_open(char why[static NET_WHY])
{
    struct sockaddr_nl self = {.nl_family = AF_NETLINK,
                               .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                                            RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&self, sizeof(self)) == 0)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    return net_fail(why, error, "cannot watch addresses and routes");
}

/* A link went up or down, or lost its carrier: what works need not show in addresses. */
static bool is_flap(const struct nlmsghdr *header, uint32_t except)
{
    const struct ifinfomsg *link = mnl_nlmsg_get_payload(header);
    return mnl_nlmsg_get_payload_len(header) >= sizeof(*link) &&
           (header->nlmsg_type == RTM_NEWLINK || header->nlmsg_type == RTM_DELLINK) &&
           (uint32_t)link->ifi_index != except && link->ifi_change != 0 &&
           (link->ifi_change & (IFF_UP | IFF_RUNNING)) != 0;
}

bool net_watch_drain(int fd, uint32_t except)
{
    _Alignas(struct nlmsghdr) char data[16384];
    bool flap = false;
    for (;;) {
        ssize_t got = recv(fd, data, sizeof(data), MSG_DONTWAIT);
        if (got < 0 && (errno == ENOBUFS || errno == EINTR))
            continue; /* some were lost: the state is read anew anyway */
        if (got <= 0)
            return flap;
        int left = (int)got;
        /* libmnl takes a length of 2^31 and more for a negative one, which fits everywhere. */
        for (const struct nlmsghdr *h = (const void *)data;
             mnl_nlmsg_ok(h, left) && h->nlmsg_len <= (uint32_t)left; h = mnl_nlmsg_next(h, &left))
            flap |= is_flap(h, except);
    }
}

struct collection {
    uint32_t except;
    bool more; /* than have room */
    size_t count;
    struct net_source at[FOUND_MAX];
};

struct dead_links {
    bool more;
    size_t count;
    uint32_t at[FOUND_MAX];
};

/* Of this host, usable, and known beyond its link. */
bool netlink_source(const struct nlmsghdr *header, uint32_t except, struct net_source *out)
{
    const struct ifaddrmsg *body = mnl_nlmsg_get_payload(header);
    const uint8_t unusable = IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED;
    if (header->nlmsg_len < NLMSG_HDRLEN + sizeof(*body) || header->nlmsg_type != RTM_NEWADDR ||
        (body->ifa_family != AF_INET && body->ifa_family != AF_INET6) ||
        body->ifa_scope >= RT_SCOPE_LINK || (body->ifa_flags & unusable) ||
        body->ifa_index == except)
        return false;
    const struct nlattr *a = netlink_find(header, sizeof(*body), IFA_LOCAL);
    struct ip ip = {.family = body->ifa_family == AF_INET6 ? 6 : 4};
    if (!a)
        a = netlink_find(header, sizeof(*body), IFA_ADDRESS);
    if (!a || mnl_attr_get_payload_len(a) != ip_len(&ip))
        return false;
    memcpy(ip.octets, mnl_attr_get_payload(a), ip_len(&ip));
    *out = (struct net_source){.ip = ip, .interface = body->ifa_index};
    return true;
}

static int visit_own(const struct nlmsghdr *header, void *context)
{
    struct collection *c = context;
    struct net_source found;
    if (!netlink_source(header, c->except, &found))
        return MNL_CB_OK;
    if (c->count < FOUND_MAX)
        c->at[c->count++] = found;
    else
        c->more = true;
    return MNL_CB_OK;
}

static bool collect(struct collection *c)
{
    struct netlink_request request;
    struct ifaddrmsg *body = netlink_begin(&request, RTM_GETADDR, NLM_F_DUMP, sizeof(*body));
    body->ifa_family = AF_UNSPEC;
    return netlink_ask(&request, visit_own, c) == 0;
}

static int visit_link(const struct nlmsghdr *header, void *context)
{
    struct dead_links *dead = context;
    const struct ifinfomsg *link = mnl_nlmsg_get_payload(header);
    unsigned alive = IFF_UP | IFF_RUNNING;
    if (header->nlmsg_type != RTM_NEWLINK || (link->ifi_flags & alive) == alive)
        return MNL_CB_OK;
    if (dead->count < FOUND_MAX)
        dead->at[dead->count++] = (uint32_t)link->ifi_index;
    else
        dead->more = true;
    return MNL_CB_OK;
}

static bool is_dead(const struct dead_links *dead, uint32_t interface)
{
    for (size_t i = 0; i < dead->count; i++)
        if (dead->at[i] == interface)
            return true;
    return false;
}

/* An IPv4 address stays on a link that is down. */
int net_sources_all(uint32_t except, struct net_source *out, size_t max, size_t *count)
{
    struct netlink_request request;
    struct collection c = {.except = except};
    struct dead_links dead = {.count = 0};
    struct ifinfomsg *body = netlink_begin(&request, RTM_GETLINK, NLM_F_DUMP, sizeof(*body));
    body->ifi_family = AF_UNSPEC;
    if (netlink_ask(&request, visit_link, &dead) || !collect(&c))
        return ERR_SYSTEM;
    bool more = c.more || dead.more;
    size_t kept = 0;
    for (size_t i = 0; i < c.count; i++) {
        if (is_dead(&dead, c.at[i].interface))
            continue;
        if (kept < max)
            out[kept++] = c.at[i];
        else
            more = true;
    }
    *count = kept;
    return more ? ERR_LIMIT : 0;
}

static bool seen_before(const struct collection *c, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (c->at[k].interface == c->at[i].interface && c->at[k].ip.family == c->at[i].ip.family)
            return true;
    return false;
}

/* Where `to` leads by this interface; to a family's default route when it is of another one. */
static bool leads(const struct collection *c, size_t i, const struct ip *to, uint32_t mark,
                  struct net_source *out)
{
    static const struct ip anywhere[] = {{4, {192, 0, 2, 1}}, {6, {0x20}}};
    const struct net_source *at = &c->at[i];
    const struct ip *target = to->family == at->ip.family ? to : &anywhere[at->ip.family == 6];
    uint32_t preferred = netlink_preferred(target, mark);
    if (!netlink_route_by(target, mark, at->interface, &out->metric, &out->ip))
        return false;
    out->interface = at->interface;
    if (at->interface == preferred)
        out->metric = 0;
    else if (out->metric < UINT32_MAX)
        out->metric++;
    return true;
}

int net_sources_to(const struct ip *to, uint32_t mark, uint32_t except, struct net_source *out,
                   size_t max, size_t *count)
{
    struct collection c = {.except = except};
    size_t kept = 0;
    if (!collect(&c))
        return ERR_SYSTEM;
    for (size_t i = 0; i < c.count; i++) {
        struct net_source found;
        if (seen_before(&c, i) || !leads(&c, i, to, mark, &found))
            continue;
        size_t at = kept < max ? kept++ : max; /* the worst one falls out at the end */
        for (; at > 0 && out[at - 1].metric > found.metric; at--)
            if (at < max)
                out[at] = out[at - 1];
        if (at < max)
            out[at] = found;
    }
    *count = kept;
    return 0;
}
