/* The log: one line a fact, to stderr or to a sink the process sets. Peer text must have been
 * escaped by whoever prints it; the log escapes control characters once more. Debug lines cost
 * nothing when debug is off. */
#ifndef SHRIKE_BASE_LOG_H
#define SHRIKE_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LEVEL_ERROR, LEVEL_WARN, LEVEL_INFO, LEVEL_DEBUG };

void log_set_level(enum log_level level);
void log_set_name(const char *process); /* kept, not copied */
bool log_wants(enum log_level level);
void log_at(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define log_error(...) log_at(LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_wants(LEVEL_DEBUG))                                                                \
            log_at(LEVEL_DEBUG, __VA_ARGS__);                                                      \
    } while (0)

#endif
