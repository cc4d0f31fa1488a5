#include "cli/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int err_of_errno(void)
{
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_PERMISSION;
    default:
        return ERR_SYSTEM;
    }
}

bool keyfile_path(char path[static KEYFILE_PATH], const char *dir, const char *name,
                  const char *ending)
{
    int len = snprintf(path, KEYFILE_PATH, "%s/%s%s", dir, name, ending);
    return len > 0 && len < KEYFILE_PATH;
}

static int read_all(int fd, uint8_t *to, size_t cap, size_t *len)
{
    *len = 0;
    while (*len < cap) {
        ssize_t got = read(fd, to + *len, cap - *len);
        if (got == 0)
            return 0;
        if (got < 0 && errno != EINTR)
            return err_of_errno();
        if (got > 0)
            *len += (size_t)got;
    }
    return ERR_LIMIT;
}

int keyfile_read(const char *path, struct bytes *out)
{
    *out = (struct bytes){NULL, 0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_of_errno();
    uint8_t *text = malloc(KEYFILE_MAX + 1);
    size_t len = 0;
    int rc = text ? read_all(fd, text, KEYFILE_MAX, &len) : ERR_MEMORY;
    close(fd);
    if (rc < 0) {
        if (text)
            secret_wipe(text, len);
        free(text);
        return rc;
    }
    text[len] = '\0';
    *out = (struct bytes){text, len};
    return 0;
}

void keyfile_free(struct bytes *file)
{
    uint8_t *text = (uint8_t *)(uintptr_t)file->at;
    if (text)
        secret_wipe(text, file->len);
    free(text);
    *file = (struct bytes){NULL, 0};
}

static int write_all(int fd, struct bytes content)
{
    while (content.len > 0) {
        ssize_t put = write(fd, content.at, content.len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return err_of_errno();
        content.at += put;
        content.len -= (size_t)put;
    }
    return fsync(fd) < 0 ? err_of_errno() : 0;
}

int keyfile_write(const char *path, struct bytes content, bool secret)
{
    char temporary[KEYFILE_PATH + 16];
    snprintf(temporary, sizeof(temporary), "%s.%ld~", path, (long)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, secret ? 0600 : 0644);
    if (fd < 0)
        return err_of_errno();
    int rc = write_all(fd, content);
    if (close(fd) < 0 && rc == 0)
        rc = err_of_errno();
    if (rc == 0 && rename(temporary, path) < 0)
        rc = err_of_errno();
    if (rc < 0) {
        int kept = errno;
        unlink(temporary);
        errno = kept;
    }
    return rc;
}

int keyfile_make_dir(const char *dir)
{
    struct stat info;
    if (mkdir(dir, 0700) == 0)
        return 0;
    if (errno != EEXIST)
        return err_of_errno();
    if (stat(dir, &info) < 0)
        return err_of_errno();
    return S_ISDIR(info.st_mode) ? 0 : ERR_EXISTS;
}
