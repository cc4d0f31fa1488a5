/* What outlives a restart, in the state folder: one secret of an instance. It makes the tokens by
 * which peers know that we were restarted (RFC 6290), so it must be the same before and after, and
 * nobody else's: who has it can end tunnels. Read by the ike process before it is confined. */
#include "run/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECRET = 32, PATH_ROOM = 2 * CONF_PATH_MAX };

/* 0; ERR_NOT_FOUND; ERR_SYSTEM when it is there and not as it should be. */
static int read_secret(const char *path, uint8_t out[static SECRET])
{
    uint8_t octets[SECRET + 1];
    struct stat file;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM;
    bool good = fstat(fd, &file) == 0 && S_ISREG(file.st_mode) && file.st_uid == geteuid() &&
                (file.st_mode & 077) == 0 && read(fd, octets, sizeof(octets)) == SECRET;
    close(fd);
    if (good)
        memcpy(out, octets, SECRET);
    secret_wipe(octets, sizeof(octets));
    return good ? 0 : ERR_SYSTEM;
}

/* Whole or not at all, also when the power goes: written beside, then renamed. */
static int write_secret(const char *path, const uint8_t octets[static SECRET])
{
    char beside[PATH_ROOM + 8];
    snprintf(beside, sizeof(beside), "%s.new", path);
    (void)unlink(beside);
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return ERR_SYSTEM;
    bool good = write(fd, octets, SECRET) == SECRET && fsync(fd) == 0;
    close(fd);
    if (good && rename(beside, path) == 0)
        return 0;
    (void)unlink(beside);
    return ERR_SYSTEM;
}

int state_secret(const struct conf *conf, uint8_t out[static SECRET])
{
    const char *dir = conf->state_dir;
    char path[PATH_ROOM];
    snprintf(path, sizeof(path), "%s/%s.crash-secret", dir, conf->tunnel.name);
    errno = 0;
    int result = read_secret(path, out);
    if (result == ERR_NOT_FOUND) {
        (void)mkdir(dir, 0700); /* when it cannot be made, the next says so */
        random_fill(&random_system, out, SECRET);
        result = write_secret(path, out);
    }
    if (result)
        log_warn("%s cannot be used (%s): after a restart peers notice by silence only; let root "
                 "write there, or set state-dir",
                 path, errno ? strerror(errno) : "mode or size");
    return result;
}
