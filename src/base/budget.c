#include "base/base.h"

bool budget_allows(struct budget *budget, uint64_t now, unsigned most)
{
    if (budget->count == 0 || now - budget->since >= TIME_SECOND)
        *budget = (struct budget){.since = now};
    return budget->count++ < most;
}
