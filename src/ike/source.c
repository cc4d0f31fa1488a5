#include <stdlib.h>
#include <string.h>

#include "ike/gate.h"

/* What is remembered of addresses that come from outside: so much and no more, whoever they are.
 * The hash is keyed, so that nobody can choose whose place to take. */

int source_table_init(struct source_table *table, size_t entries)
{
    table->sets = entries / SOURCE_WAYS;
    table->at = calloc(entries, sizeof(*table->at)); /* pages come when they are written to */
    return table->at ? 0 : ERR_MEMORY;
}

void source_table_free(struct source_table *table)
{
    free(table->at);
    *table = (struct source_table){0};
}

uint64_t source_key(const struct ike_engine *e, const struct ip *ip, unsigned bits4, unsigned bits6)
{
    uint8_t octets[17] = {ip->family};
    size_t len = (ip->family == 6 ? bits6 : bits4) / 8;
    memcpy(octets + 1, ip->octets, len);
    uint64_t key = map_hash_bytes(&e->half_open, octets, 1 + len);
    return key ? key : 1;
}

struct source *source_find(struct source_table *table, uint64_t key, bool make)
{
    struct source *set = table->at + key % table->sets * SOURCE_WAYS, *oldest = set;
    for (size_t i = 0; i < SOURCE_WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
        if (set[i].at < oldest->at)
            oldest = &set[i];
    }
    if (!make)
        return NULL;
    *oldest = (struct source){.key = key};
    return oldest;
}

bool source_take(struct source *bucket, time_us now, uint32_t rate, uint32_t burst)
{
    enum { TOKEN = 1000 };
    uint64_t most = (uint64_t)burst * TOKEN, have = most, gain = most;
    if (bucket->at != 0 && now - bucket->at < 3600 * TIME_SECOND) {
        gain = (now - bucket->at) * rate / (TIME_SECOND / TOKEN);
        have = bucket->count + gain < most ? bucket->count + gain : most;
    }
    bool good = have >= TOKEN;
    bucket->count = (uint32_t)(good ? have - TOKEN : have);
    if (gain > 0) /* or who asks all the time would never get one */
        bucket->at = now ? now : 1;
    return good;
}

time_us penalty_add(struct source *penalty, time_us now, time_us most)
{
    enum { FREE = 2, FAILURES_MAX = 100000 };
    if (now > penalty->at && now - penalty->at >= most)
        penalty->count = 0;
    if (penalty->count < FAILURES_MAX)
        penalty->count++;
    time_us wait = penalty->count > FREE ? (penalty->count - FREE) * PENALTY_STEP : 0;
    penalty->at = now + (wait < most ? wait : most);
    return penalty->at;
}
