/* So many of something a second, and no more: log lines and answers that others can cause. */
#ifndef SHRIKE_BASE_BUDGET_H
#define SHRIKE_BASE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct budget {
    uint64_t since; /* time_us */
    unsigned count;
};

/* One more: false when there were `most` of them in this second. Zeroed = none yet. */
bool budget_allows(struct budget *budget, uint64_t now, unsigned most);

#endif
