/* shrike-load: many initiators in one process, to measure a responder (ours or another's).
 *
 * One engine holds all tunnels; `load.c` pumps it over one pair of UDP sockets, `load_keys.c`
 * answers its questions in place, and `load_proc.c` reads what the responder's processes cost. No
 * data plane: child SAs are negotiated and not used. */
#ifndef SHRIKE_BENCH_LOAD_H
#define SHRIKE_BENCH_LOAD_H

#include "conf/conf.h"
#include "ike/ike.h"

struct load_keys {
    struct conf_credentials credentials;
    uint8_t psk[CONF_PSK_MAX];
    size_t psk_len;
};
int load_keys_read(struct load_keys *keys, const struct conf *conf);
void load_keys_answer(const struct load_keys *keys, const struct ike_ask *ask,
                      struct ike_answer *answer);
void load_keys_free(struct load_keys *keys);

enum { LOAD_PIDS = 16 };
struct load_pids {
    size_t count;
    int at[LOAD_PIDS];
};
bool load_pids_parse(const char *text, struct load_pids *out); /* 12,34,56 */
double load_cpu_seconds(
    const struct load_pids *pids); /* all threads, from schedstat: nanoseconds */
double load_pss_kilobytes(
    const struct load_pids *pids); /* proportional set size, from smaps_rollup */

#endif
