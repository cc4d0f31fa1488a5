/* Reverse path filter.
 *
 * What a peer sends us comes in without our mark; looked up backwards it would have to come out of
 * the tunnel, so a strict filter (1) drops it. Loose (2) asks only for some way back, which is what
 * the rest of the world runs. */
#include "net/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char read_switch(const char *interface)
{
    char path[96], value = 0;
    snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter", interface);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, &value, 1) != 1)
        value = 0;
    if (fd >= 0)
        close(fd);
    return value;
}

static bool write_switch(const char *interface, char value)
{
    char path[96];
    snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter", interface);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, &value, 1) == 1;
    if (fd >= 0)
        close(fd);
    return written;
}

void net_loosen(uint32_t interface, struct net_loose *out)
{
    char name[IF_NAMESIZE];
    if (out->interface[0] || !if_indextoname(interface, name))
        return;
    char own = read_switch(name), all = read_switch("all");
    if ((own != '1' && all != '1') || own == '2' || all == '2')
        return; /* the larger of the two counts */
    if (!write_switch(name, '2'))
        return;
    memcpy(out->interface, name, sizeof(name));
    out->was = own;
}

void net_tighten(struct net_loose *loose)
{
    if (loose->interface[0])
        (void)write_switch(loose->interface, loose->was);
    loose->interface[0] = '\0';
}
