/* resolver: the gateway's name to addresses, in a process of its own, because the system's resolver
 * may block for many seconds and the monitor may not; and because it reads what strangers answer,
 * which root should not: the process is an ordinary user's, and holds none of our descriptors. */
#ifndef SHRIKE_RUN_RESOLVER_H
#define SHRIKE_RUN_RESOLVER_H

#include "run/internal.h"

enum { RESOLVER_MAX = 8 };
struct resolver_result {
    int32_t count; /* > 0, or a negative enum err */
    struct ip at[RESOLVER_MAX];
    char why[NET_WHY];
};
struct resolver {
    pid_t pid; /* 0 = nothing under way */
    int fd;
};

/* An answer comes by the descriptor resolver.fd. uid: whose the process is. ERR_SYSTEM; ERR_BUSY
 * when one is under way. */
int resolver_start(struct resolver *resolver, const char *host, uint32_t uid) MUST_USE;
/* When the descriptor is readable. */
void resolver_finish(struct resolver *resolver, struct resolver_result *out);
void resolver_cancel(struct resolver *resolver);

#endif
