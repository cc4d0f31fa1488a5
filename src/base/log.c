#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

static enum log_level limit = LEVEL_INFO;
static const char *process = "shrike";

void log_set_level(enum log_level level)
{
    limit = level;
}

void log_set_name(const char *name)
{
    process = name;
}

bool log_wants(enum log_level level)
{
    return level <= limit;
}

void log_at(enum log_level level, const char *format, ...)
{
    static const char *const word[] = {"error: ", "warning: ", "", "debug: "};
    if (!log_wants(level))
        return;
    char line[1024];
    int head = snprintf(line, sizeof(line), "%s: %s", process, word[level]);
    va_list args;
    va_start(args, format);
    int body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, args);
    va_end(args);
    if (body < 0)
        return;
    size_t len = strlen(line);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    line[len++] = '\n';
    /* One write a line, so that lines of several processes do not mix; a full pipe loses a line,
     * not the process. */
    if (write(STDERR_FILENO, line, len) < 0)
        return;
}
