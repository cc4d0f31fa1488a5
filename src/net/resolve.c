/* Names to addresses, by the system's resolver. Blocking: run/ calls it in a process of its own. */
#include "net/internal.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>

static bool known(const struct ip *list, size_t count, const struct ip *ip)
{
    for (size_t i = 0; i < count; i++)
        if (ip_equal(&list[i], ip))
            return true;
    return false;
}

int net_resolve(const char *host, struct ip *out, size_t max, char why[static NET_WHY])
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    size_t count = 0;
    if (max > 0 && ip_parse(host, &out[0]))
        return 1;
    int result = getaddrinfo(host, NULL, &hints, &list);
    if (result) {
        snprintf(why, NET_WHY, "cannot resolve %.128s: %s", host, gai_strerror(result));
        return ERR_NOT_FOUND;
    }
    for (struct addrinfo *a = list; a && count < max; a = a->ai_next) {
        struct sockaddr_storage address = {0};
        struct endpoint e;
        if (a->ai_addrlen > sizeof(address))
            continue;
        memcpy(&address, a->ai_addr, a->ai_addrlen);
        if (endpoint_from_sockaddr(&address, &e) && !known(out, count, &e.ip))
            out[count++] = e.ip;
    }
    freeaddrinfo(list);
    if (count == 0) {
        snprintf(why, NET_WHY, "%.128s has no address", host);
        return ERR_NOT_FOUND;
    }
    return (int)count;
}
