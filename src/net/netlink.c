/* Links, addresses and routes by rtnetlink, one request at a time over a socket of its own: these
 * calls are rare, and a socket that lives for one call cannot hold stale answers. */
#include "net/internal.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

uint8_t netlink_family(uint8_t family)
{
    return family == 6 ? AF_INET6 : AF_INET;
}

int net_fail(char why[static NET_WHY], int error, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int len = vsnprintf(why, NET_WHY, format, list);
    va_end(list);
    if (error && len >= 0 && len < NET_WHY)
        snprintf(why + len, (size_t)(NET_WHY - len), ": %s", strerror(error));
    switch (error) {
    case EPERM:
    case EACCES:
        return ERR_PERMISSION;
    case EEXIST:
        return ERR_EXISTS;
    case ENOENT:
    case ESRCH:
    case ENODEV:
        return ERR_NOT_FOUND;
    default:
        return ERR_SYSTEM;
    }
}

void *netlink_begin(struct netlink_request *request, uint16_t type, uint16_t flags, size_t extra)
{
    request->header = mnl_nlmsg_put_header(request->buffer);
    request->header->nlmsg_type = type;
    request->header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    request->header->nlmsg_seq = 1;
    return mnl_nlmsg_put_extra_header(request->header, extra);
}

void netlink_put_ip(struct netlink_request *request, uint16_t attribute, const struct ip *ip)
{
    mnl_attr_put(request->header, attribute, ip_len(ip), ip->octets);
}

/* Not by libmnl's own loop, which does not survive -Wconversion. */
const struct nlattr *netlink_find(const struct nlmsghdr *header, size_t extra, uint16_t type)
{
    const struct nlattr *a = mnl_nlmsg_get_payload_offset(header, extra);
    const char *end = mnl_nlmsg_get_payload_tail(header);
    while (mnl_attr_ok(a, (int)(end - (const char *)a))) {
        if (mnl_attr_get_type(a) == type)
            return a;
        a = mnl_attr_next(a);
    }
    return NULL;
}

int netlink_ask(struct netlink_request *request, mnl_cb_t visit, void *context)
{
    char answer[16384];
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (!socket)
        return -errno;
    int result = -EIO;
    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0 &&
        mnl_socket_sendto(socket, request->header, request->header->nlmsg_len) >= 0) {
        ssize_t got;
        do {
            got = mnl_socket_recvfrom(socket, answer, sizeof(answer));
            result = got < 0 ? -1
                             : mnl_cb_run(answer, (size_t)got, 1, mnl_socket_get_portid(socket),
                                          visit, context);
        } while (got > 0 && result > MNL_CB_STOP);
        result = result < 0 ? -errno : 0;
    }
    mnl_socket_close(socket);
    return result;
}

int netlink_do(struct netlink_request *request)
{
    request->header->nlmsg_flags |= NLM_F_ACK;
    return netlink_ask(request, NULL, NULL);
}

int net_link_up(uint32_t index, uint16_t mtu, char why[static NET_WHY])
{
    struct netlink_request request;
    struct ifinfomsg *link = netlink_begin(&request, RTM_NEWLINK, 0, sizeof(*link));
    link->ifi_family = AF_UNSPEC;
    link->ifi_index = (int)index;
    link->ifi_change = link->ifi_flags = IFF_UP;
    if (mtu)
        mnl_attr_put_u32(request.header, IFLA_MTU, mtu);
    int result = netlink_do(&request);
    return result ? net_fail(why, -result, "cannot bring the device up") : 0;
}

static int change_address(uint16_t type, uint16_t flags, uint32_t index,
                          const struct prefix *address)
{
    struct netlink_request request;
    struct ifaddrmsg *body = netlink_begin(&request, type, flags, sizeof(*body));
    body->ifa_family = netlink_family(address->ip.family);
    body->ifa_prefixlen = address->bits;
    body->ifa_index = index;
    body->ifa_scope = RT_SCOPE_UNIVERSE;
    /* An address on a tunnel is ours alone: duplicate detection would only delay its first use. */
    if (address->ip.family == 6)
        body->ifa_flags = IFA_F_NODAD;
    netlink_put_ip(&request, IFA_LOCAL, &address->ip);
    netlink_put_ip(&request, IFA_ADDRESS, &address->ip);
    return netlink_do(&request);
}

int net_address_add(uint32_t index, const struct prefix *address, char why[static NET_WHY])
{
    char text[ADDR_TEXT];
    int result = change_address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, address);
    return result
               ? net_fail(why, -result, "cannot set the address %s", ip_print(&address->ip, text))
               : 0;
}

int net_address_del(uint32_t index, const struct prefix *address, char why[static NET_WHY])
{
    char text[ADDR_TEXT];
    int result = change_address(RTM_DELADDR, 0, index, address);
    return result ? net_fail(why, -result, "cannot remove the address %s",
                             ip_print(&address->ip, text))
                  : 0;
}

struct address_search {
    const struct prefix *network;
    struct ip *out;
    bool found;
};

static int visit_address(const struct nlmsghdr *header, void *context)
{
    struct address_search *search = context;
    const struct ifaddrmsg *body = mnl_nlmsg_get_payload(header);
    const struct nlattr *a = netlink_find(header, sizeof(*body), IFA_LOCAL);
    if (!a)
        a = netlink_find(header, sizeof(*body), IFA_ADDRESS);
    struct ip ip = {.family = search->network->ip.family};
    /* addresses of the loopback device and of one link are no source for what leaves it */
    if (search->found || !a || body->ifa_scope >= RT_SCOPE_LINK ||
        body->ifa_family != netlink_family(ip.family) || mnl_attr_get_payload_len(a) != ip_len(&ip))
        return MNL_CB_OK;
    memcpy(ip.octets, mnl_attr_get_payload(a), ip_len(&ip));
    if (prefix_contains(search->network, &ip)) {
        *search->out = ip;
        search->found = true;
    }
    return MNL_CB_OK;
}

int net_address_within(const struct prefix *network, struct ip *out)
{
    struct netlink_request request;
    struct address_search search = {.network = network, .out = out};
    struct ifaddrmsg *body = netlink_begin(&request, RTM_GETADDR, NLM_F_DUMP, sizeof(*body));
    body->ifa_family = netlink_family(network->ip.family);
    int result = netlink_ask(&request, visit_address, &search);
    return result == 0 && search.found ? 0 : ERR_NOT_FOUND;
}

static int visit_statistics(const struct nlmsghdr *header, void *context)
{
    struct rtnl_link_stats64 statistics;
    const struct nlattr *a = netlink_find(header, sizeof(struct ifinfomsg), IFLA_STATS64);
    if (a && mnl_attr_get_payload_len(a) >= sizeof(statistics)) {
        memcpy(&statistics, mnl_attr_get_payload(a), sizeof(statistics));
        *(uint64_t *)context = statistics.tx_dropped;
    }
    return MNL_CB_OK;
}

uint64_t net_link_dropped(uint32_t index)
{
    struct netlink_request request;
    uint64_t dropped = 0;
    struct ifinfomsg *link = netlink_begin(&request, RTM_GETLINK, NLM_F_ACK, sizeof(*link));
    link->ifi_family = AF_UNSPEC;
    link->ifi_index = (int)index;
    return netlink_ask(&request, visit_statistics, &dropped) ? 0 : dropped;
}

static struct rtmsg *begin_route(struct netlink_request *request, uint16_t type, uint16_t flags,
                                 const struct prefix *to, uint32_t table)
{
    struct rtmsg *route = netlink_begin(request, type, flags, sizeof(*route));
    route->rtm_family = netlink_family(to->ip.family);
    route->rtm_dst_len = to->bits;
    route->rtm_table = RT_TABLE_UNSPEC;
    route->rtm_protocol = RTPROT_STATIC;
    route->rtm_type = RTN_UNICAST;
    mnl_attr_put_u32(request->header, RTA_TABLE, table ? table : (uint32_t)RT_TABLE_MAIN);
    if (to->bits)
        netlink_put_ip(request, RTA_DST, &to->ip);
    return route;
}

int net_route_add(uint32_t index, const struct prefix *to, const struct ip *source, uint32_t table,
                  char why[static NET_WHY])
{
    struct netlink_request request;
    struct rtmsg *route = begin_route(&request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, to, table);
    if (index) {
        route->rtm_scope = RT_SCOPE_LINK;
        mnl_attr_put_u32(request.header, RTA_OIF, index);
        if (source && source->family == to->ip.family)
            netlink_put_ip(&request, RTA_PREFSRC, source);
    } else {
        route->rtm_type = RTN_THROW;
    }
    int result = netlink_do(&request);
    char text[ADDR_TEXT];
    return result ? net_fail(why, -result, "cannot set the route to %s", prefix_print(to, text))
                  : 0;
}

int net_route_del(uint32_t index, const struct prefix *to, uint32_t table, char why[static NET_WHY])
{
    struct netlink_request request;
    struct rtmsg *route = begin_route(&request, RTM_DELROUTE, 0, to, table);
    route->rtm_scope = RT_SCOPE_NOWHERE;
    if (index)
        mnl_attr_put_u32(request.header, RTA_OIF, index);
    else
        route->rtm_type = RTN_THROW;
    int result = netlink_do(&request);
    char text[ADDR_TEXT];
    return result ? net_fail(why, -result, "cannot remove the route to %s", prefix_print(to, text))
                  : 0;
}

struct found_route {
    uint8_t family;
    bool any;
    uint32_t oif;
    uint32_t metric; /* lowest wins */
    struct ip source;
};

static void read_route(const struct nlmsghdr *header, struct found_route *out)
{
    size_t extra = sizeof(struct rtmsg);
    const struct nlattr *oif = netlink_find(header, extra, RTA_OIF);
    const struct nlattr *metric = netlink_find(header, extra, RTA_PRIORITY);
    const struct nlattr *source = netlink_find(header, extra, RTA_PREFSRC);
    if (oif)
        out->oif = mnl_attr_get_u32(oif);
    if (metric)
        out->metric = mnl_attr_get_u32(metric);
    if (source && mnl_attr_get_payload_len(source) == (out->family == 6 ? 16 : 4))
        out->source = ip_from_octets(out->family, mnl_attr_get_payload(source));
}

static int visit_answer(const struct nlmsghdr *header, void *context)
{
    struct found_route *out = context;
    if (header->nlmsg_type == RTM_NEWROUTE) {
        read_route(header, out);
        out->any = true;
    }
    return MNL_CB_STOP; /* a look-up has one answer and no end mark */
}

uint16_t net_link_mtu(uint32_t index)
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool known = fd >= 0 && if_indextoname(index, request.ifr_name) &&
                 ioctl(fd, SIOCGIFMTU, &request) == 0 && request.ifr_mtu > 0;
    if (fd >= 0)
        close(fd);
    if (!known)
        return 0;
    return request.ifr_mtu > UINT16_MAX ? UINT16_MAX : (uint16_t)request.ifr_mtu;
}

static int look_up(const struct ip *to, uint32_t mark, uint32_t interface, uint32_t flags,
                   struct found_route *found)
{
    struct netlink_request request;
    struct rtmsg *route = netlink_begin(&request, RTM_GETROUTE, 0, sizeof(*route));
    *found = (struct found_route){.family = to->family};
    route->rtm_family = netlink_family(to->family);
    route->rtm_dst_len = (uint8_t)(ip_len(to) * 8);
    route->rtm_flags = flags;
    netlink_put_ip(&request, RTA_DST, to);
    if (mark)
        mnl_attr_put_u32(request.header, RTA_MARK, mark);
    if (interface)
        mnl_attr_put_u32(request.header, RTA_OIF, interface);
    int result = netlink_ask(&request, visit_answer, found);
    return result == 0 && !found->any ? -ENETUNREACH : result;
}

uint32_t netlink_preferred(const struct ip *to, uint32_t mark)
{
    struct found_route found;
    return look_up(to, mark, 0, 0, &found) == 0 ? found.oif : 0;
}

/* Without a look at the table's entry, IPv4 takes everything to be on the link of the interface. */
bool netlink_route_by(const struct ip *to, uint32_t mark, uint32_t interface, uint32_t *metric,
                      struct ip *source)
{
    struct found_route entry, found;
    if (look_up(to, mark, interface, RTM_F_FIB_MATCH, &entry) != 0 || entry.oif != interface ||
        look_up(to, mark, interface, 0, &found) != 0 || found.source.family == 0)
        return false;
    *metric = entry.metric;
    *source = found.source;
    return true;
}

int net_route_to(const struct ip *to, uint32_t mark, struct ip *source, uint32_t *interface,
                 uint16_t *mtu, char why[static NET_WHY])
{
    struct netlink_request request;
    struct found_route found = {.family = to->family};
    struct rtmsg *route = netlink_begin(&request, RTM_GETROUTE, 0, sizeof(*route));
    char text[ADDR_TEXT];
    route->rtm_family = netlink_family(to->family);
    route->rtm_dst_len = (uint8_t)(ip_len(to) * 8);
    netlink_put_ip(&request, RTA_DST, to);
    if (mark)
        mnl_attr_put_u32(request.header, RTA_MARK, mark);
    int result = netlink_ask(&request, visit_answer, &found);
    if (result || !found.any || found.source.family == 0)
        return net_fail(why, result ? -result : ENETUNREACH, "there is no route to %s",
                        ip_print(to, text));
    *source = found.source;
    *interface = found.oif;
    *mtu = net_link_mtu(found.oif);
    return 0;
}

static int visit_default(const struct nlmsghdr *header, void *context)
{
    struct found_route *best = context;
    const struct rtmsg *route = mnl_nlmsg_get_payload(header);
    if (header->nlmsg_type != RTM_NEWROUTE || route->rtm_dst_len ||
        route->rtm_type != RTN_UNICAST || route->rtm_table != RT_TABLE_MAIN)
        return MNL_CB_OK;
    struct found_route this = {.family = best->family, .any = true};
    read_route(header, &this);
    if (this.oif && (!best->any || this.metric < best->metric))
        *best = this;
    return MNL_CB_OK;
}

int net_default_interface(uint8_t family, char name[static 16])
{
    struct netlink_request request;
    struct found_route best = {.family = family};
    struct rtmsg *route = netlink_begin(&request, RTM_GETROUTE, NLM_F_DUMP, sizeof(*route));
    route->rtm_family = netlink_family(family);
    if (netlink_ask(&request, visit_default, &best) || !best.any)
        return ERR_NOT_FOUND;
    return if_indextoname(best.oif, name) ? 0 : ERR_NOT_FOUND;
}
