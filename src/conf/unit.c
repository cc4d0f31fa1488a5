/* Durations and sizes as people write them. */
#include "conf/internal.h"

#include <ctype.h>

/* Decimal digits; moves *text behind them. False when there are none or they overflow. */
static bool digits(const char **text, uint64_t *out)
{
    const char *at = *text;
    uint64_t n = 0;
    for (; isdigit((unsigned char)*at); at++) {
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *at - '0', &n))
            return false;
    }
    bool some = at != *text;
    *text = at;
    *out = n;
    return some;
}

static uint64_t seconds_of(char unit)
{
    switch (unit) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return 86400;
    case 'w':
        return 7 * 86400;
    default:
        return 0;
    }
}

bool conf_duration(const char *text, uint64_t *out)
{
    uint64_t sum = 0, n, last = UINT64_MAX;
    if (!digits(&text, &n))
        return false;
    if (!*text) {
        *out = n;
        return true;
    }
    for (;;) {
        uint64_t unit = seconds_of(*text);
        /* from the greatest unit to the smallest, each once: 1h30m */
        if (!unit || unit >= last || __builtin_mul_overflow(n, unit, &n) ||
            __builtin_add_overflow(sum, n, &sum))
            return false;
        last = unit;
        if (!*++text)
            break;
        if (!digits(&text, &n))
            return false;
    }
    *out = sum;
    return true;
}

bool unit_size(const char *text, unsigned step, uint64_t *out)
{
    uint64_t n;
    if (!digits(&text, &n))
        return false;
    static const char units[] = "KMGT";
    for (size_t i = 0; *text && i < sizeof units - 1; i++) {
        if (__builtin_mul_overflow(n, step, &n))
            return false;
        if (toupper((unsigned char)*text) == units[i]) {
            text++;
            break;
        }
        if (i == sizeof units - 2)
            return false;
    }
    *out = n;
    return !*text;
}
