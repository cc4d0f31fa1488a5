/* "Did you mean": the word nearest to what was typed, by edit distance with neighbours swapped. */
#include "conf/internal.h"

#include <ctype.h>
#include <string.h>

enum { WORD = 40 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static unsigned distance(const char *a, size_t na, const char *b, size_t nb)
{
    unsigned row[3][WORD + 1];
    for (unsigned j = 0; j <= nb; j++)
        row[0][j] = j;
    for (unsigned i = 1; i <= na; i++) {
        unsigned *now = row[i % 3], *before = row[(i + 2) % 3], *older = row[(i + 1) % 3];
        now[0] = i;
        for (unsigned j = 1; j <= nb; j++) {
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            now[j] = least(least(before[j] + 1, now[j - 1] + 1), before[j - 1] + !same);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], older[j - 2] + 1);
        }
    }
    return row[na % 3][nb];
}

const char *conf_closest(const char *typed, const char *const *words, size_t count)
{
    size_t len = strlen(typed);
    if (!len || len > WORD)
        return NULL;
    const char *best = NULL;
    unsigned best_distance = (unsigned)(len < 3 ? 1 : len < 6 ? 2 : len / 3 + 1);
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(words[i]);
        if (!n || n > WORD)
            continue;
        unsigned d = distance(typed, len, words[i], n);
        bool begins = len >= 3 && !strncasecmp(words[i], typed, len); /* "stat" for "status" */
        if (begins && d > 1)
            d = 1;
        if (d <= best_distance && d < n) {
            if (best && d == best_distance)
                continue;
            best = words[i];
            best_distance = d;
        }
    }
    return best;
}
