/* Words for people: stderr is talk, stdout is data. */
#include "cli/verbs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("shrike: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

int say_failed(int code, const char *next, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("shrike: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    if (next && *next)
        fprintf(stderr, "        %s\n", next);
    va_end(args);
    return code;
}

int say_usage(const struct verb *verb, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "shrike%s%s: ", verb ? " " : "", verb ? verb->name : "");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n        `shrike help%s%s` shows how\n", verb ? " " : "",
            verb ? verb->name : "");
    va_end(args);
    return EXIT_USAGE;
}

size_t say_faults(const struct conf_faults *faults)
{
    size_t kept = faults->count < CONF_FAULTS_MAX ? faults->count : CONF_FAULTS_MAX;
    for (size_t i = 0; i < kept; i++) {
        char text[sizeof(struct conf_fault) + 64];
        conf_fault_print(&faults->at[i], text, sizeof text);
        fprintf(stderr, "%s\n", text);
    }
    if (faults->count > kept)
        fprintf(stderr, "and %zu more\n", faults->count - kept);
    return faults->count - faults->warnings;
}

static bool colour(void)
{
    static int known = -1;
    if (known < 0) {
        const char *none = getenv("NO_COLOR"), *term = getenv("TERM");
        known = isatty(STDOUT_FILENO) && !(none && *none) && term && strcmp(term, "dumb");
    }
    return known;
}

const char *bold(void)
{
    return colour() ? "\033[1m" : "";
}

const char *plain(void)
{
    return colour() ? "\033[0m" : "";
}

const char *red(void)
{
    return colour() ? "\033[31m" : "";
}

const char *green(void)
{
    return colour() ? "\033[32m" : "";
}

const char *print_span(uint64_t seconds, char text[static 32])
{
    unsigned long long s = seconds;
    if (s < 60)
        snprintf(text, 32, "%llus", s);
    else if (s < 3600)
        snprintf(text, 32, "%llum %llus", s / 60, s % 60);
    else if (s < 86400)
        snprintf(text, 32, "%lluh %llum", s / 3600, s / 60 % 60);
    else
        snprintf(text, 32, "%llud %lluh", s / 86400, s / 3600 % 24);
    return text;
}

const char *print_octets(uint64_t octets, char text[static 32])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double v = (double)octets;
    size_t unit = 0;
    while (v >= 999.5 && unit + 1 < ARRAY_LEN(units)) {
        v /= 1000;
        unit++;
    }
    snprintf(text, 32, unit && v < 99.95 ? "%.1f %s" : "%.0f %s", v, units[unit]);
    return text;
}
