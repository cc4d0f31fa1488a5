/* Private to cli/: files with keys and certificates, read whole and written whole. */
#ifndef SHRIKE_CLI_KEYFILE_H
#define SHRIKE_CLI_KEYFILE_H

#include "base/base.h"

enum { KEYFILE_PATH = 512, KEYFILE_MAX = 1024 * 1024 };

/* DIR/NAME + ending; false when it does not fit. */
bool keyfile_path(char path[static KEYFILE_PATH], const char *dir, const char *name,
                  const char *ending);
/* The whole file, NUL-terminated, at most KEYFILE_MAX; free with keyfile_free(). ERR_NOT_FOUND,
 * ERR_PERMISSION, ERR_LIMIT, ERR_SYSTEM (errno tells). */
int keyfile_read(const char *path, struct bytes *out) MUST_USE;
void keyfile_free(struct bytes *file); /* wipes */
/* All or nothing: a temporary file beside it, synced, then renamed over. secret: mode 0600, else
 * 0644. ERR_PERMISSION, ERR_SYSTEM. */
int keyfile_write(const char *path, struct bytes content, bool secret) MUST_USE;
/* Makes the directory (0700) unless it is there. ERR_PERMISSION, ERR_NOT_FOUND (its parent),
 * ERR_EXISTS (something else has the name), ERR_SYSTEM. */
int keyfile_make_dir(const char *dir) MUST_USE;

#endif
