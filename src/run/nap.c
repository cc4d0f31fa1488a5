#include "run/nap.h"

static time_us less(time_us a, time_us b)
{
    return a > b ? a - b : 0;
}

bool nap_taken(struct nap *n, time_us before, time_us total, time_us after, time_us least)
{
    bool taken = n->known && less(total, after) > n->most + least;
    n->known = true;
    n->most = less(total, before);
    return taken;
}
