/* A client's resolver, by whoever rules it on this host. */
#include "net/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SERVERS_MAX = 4, DOMAINS_MAX = 4, DOMAIN_TEXT = 256, FILE_MAX = 65536 };

static const char *const resolv_conf = "/etc/resolv.conf";

/* Where the old content waits: it must outlive us, should we be killed. Named after the device and
 * the file, which is another one in each network namespace. */
static void kept_path(const char *device, char path[static 64])
{
    struct stat file = {0};
    (void)!stat(resolv_conf, &file);
    snprintf(path, 64, "/run/shrike-resolv.conf.%s.%llx", device, (unsigned long long)file.st_ino);
}

static bool resolved_runs(void)
{
    return access("/run/systemd/resolve/io.systemd.Resolve", F_OK) == 0 &&
           net_has_program("resolvectl");
}

/* "~" in front: for asking there, not for completing short names. */
static int route_domains(const struct net_dns_plan *plan, char *said, size_t size)
{
    const char *argv[4 + DOMAINS_MAX] = {"resolvectl", "domain", plan->device, "~."};
    char names[DOMAINS_MAX][DOMAIN_TEXT];
    for (size_t i = 0; i < plan->domain_count && i < DOMAINS_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "~%s", plan->domains[i]);
        argv[3 + i] = names[i];
    }
    return net_execute(argv, NULL, said, size);
}

static int by_resolved(const struct net_dns_plan *plan, char texts[][ADDR_TEXT], size_t count,
                       char why[static NET_WHY])
{
    const char *set[4 + SERVERS_MAX] = {"resolvectl", "dns", plan->device};
    char said[160];
    for (size_t i = 0; i < count; i++)
        set[3 + i] = texts[i];
    int result = net_execute(set, NULL, said, sizeof(said));
    if (result == 0)
        result = route_domains(plan, said, sizeof(said));
    if (result == 0)
        return 0;
    snprintf(why, NET_WHY, "resolvectl refused the resolvers of the tunnel: %s", said);
    return ERR_SYSTEM;
}

static void make_file(char texts[][ADDR_TEXT], size_t count, char *out, size_t size)
{
    size_t len = (size_t)snprintf(out, size, "# by shrike, for as long as the tunnel is up\n");
    for (size_t i = 0; i < count; i++)
        len += (size_t)snprintf(out + len, size - len, "nameserver %s\n", texts[i]);
}

static int by_resolvconf(const char *device, const char *text, char why[static NET_WHY])
{
    char record[32], said[160];
    snprintf(record, sizeof(record), "%s.shrike", device);
    const char *argv[] = {"resolvconf", "-a", record, NULL};
    if (net_execute(argv, text, said, sizeof(said)) == 0)
        return 0;
    snprintf(why, NET_WHY, "resolvconf refused the resolvers of the tunnel: %s", said);
    return ERR_SYSTEM;
}

static ssize_t read_file(const char *path, char *to, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t got = read(fd, to, size);
    close(fd);
    return got;
}

/* In place, not by rename: the file may be a mount of its own in a network namespace. */
static bool write_file(const char *path, const char *text, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return false;
    bool whole = write(fd, text, len) == (ssize_t)len;
    return (close(fd) == 0) && whole;
}

static int by_file(const char *device, const char *text, char why[static NET_WHY])
{
    char kept[64];
    char *old = malloc(FILE_MAX);
    int result = 0;
    kept_path(device, kept);
    ssize_t len = old ? read_file(resolv_conf, old, FILE_MAX) : -1;
    /* What a killed run left kept is older and truer than what it wrote itself. */
    if (access(kept, F_OK) < 0 && !write_file(kept, old ? old : "", len < 0 ? 0 : (size_t)len))
        result = net_fail(why, errno, "cannot keep a copy of %s", resolv_conf);
    else if (!write_file(resolv_conf, text, strlen(text)))
        result = net_fail(why, errno, "cannot write %s", resolv_conf);
    free(old);
    return result;
}

int net_dns_up(const struct net_dns_plan *plan, char why[static NET_WHY])
{
    char texts[SERVERS_MAX][ADDR_TEXT], file[512];
    size_t count = plan->count < SERVERS_MAX ? plan->count : (size_t)SERVERS_MAX;
    if (count == 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        ip_print(&plan->servers[i], texts[i]);
    if (resolved_runs())
        return by_resolved(plan, texts, count, why);
    make_file(texts, count, file, sizeof(file));
    if (net_has_program("resolvconf"))
        return by_resolvconf(plan->device, file, why);
    return by_file(plan->device, file, why);
}

static void back_to_file(const char *device)
{
    char kept[64];
    kept_path(device, kept);
    char *old = malloc(FILE_MAX);
    ssize_t len = old ? read_file(kept, old, FILE_MAX) : -1;
    if (len >= 0 && write_file(resolv_conf, old, (size_t)len))
        unlink(kept);
    free(old);
}

void net_dns_down(const char *device)
{
    char record[32], said[160];
    if (resolved_runs()) {
        const char *argv[] = {"resolvectl", "revert", device, NULL};
        (void)!net_execute(argv, NULL, said, sizeof(said));
    } else if (net_has_program("resolvconf")) {
        snprintf(record, sizeof(record), "%s.shrike", device);
        const char *argv[] = {"resolvconf", "-d", record, NULL};
        (void)!net_execute(argv, NULL, said, sizeof(said));
    }
    back_to_file(device);
}

void net_dns_sweep(const char *device)
{
    if (!resolved_runs()) /* which forgets a device's resolvers together with the device */
        net_dns_down(device);
}
