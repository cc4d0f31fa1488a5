/* The data plane alone, with static keys: what it can do before there is any IKE.
 *
 *   plane a|b TUN MTU WORKERS LOCAL REMOTE LOCAL-TS REMOTE-TS [SUITE [raw]]
 *
 * Both ends run it with the same suite, one as a, one as b. It runs until a signal ends it, and
 * then prints the counters that are not zero.
 */
#include "run/esp_worker.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "plane: %s: %s\n", what, why);
    exit(1);
}

static void usage(void)
{
    fputs("usage: plane a|b TUN MTU WORKERS LOCAL REMOTE LOCAL-TS REMOTE-TS [SUITE [raw]]\n",
          stderr);
    exit(2);
}

static struct selector selector_of(const char *text)
{
    struct prefix p;
    if (!prefix_parse(text, &p))
        die(text, "not a prefix");
    return selector_from_prefix(&p);
}

static void set_suite(struct esp_sa_config *c, const char *text)
{
    struct proposal p;
    struct bytes bad;
    if (suite_parse(text, PROTOCOL_ESP, &p, &bad) != 0)
        die(text, "not a suite");
    const struct transform *encr = proposal_find(&p, TRANSFORM_ENCR);
    const struct transform *integ = proposal_find(&p, TRANSFORM_INTEG);
    const struct transform *sn = proposal_find(&p, TRANSFORM_SN);
    const struct encr_alg *e = encr ? suite_encr(encr->id, encr->key_bits) : NULL;
    const struct integ_alg *i = integ && integ->id ? suite_integ(integ->id) : NULL;
    if (!e)
        die(text, "no cipher");
    c->encr = encr->id;
    c->encr_bits = encr->key_bits;
    c->integ = i ? i->id : 0;
    c->esn = sn && sn->id == 1;
    c->keymat_len_in = c->keymat_len_out = (uint8_t)(suite_encr_keymat(e) + (i ? i->key_len : 0));
}

static struct esp_sa_config configure(char **argv, int argc)
{
    bool a = strcmp(argv[1], "a") == 0;
    struct esp_sa_config c = {.tunnel = 1,
                              .spi_in = a ? 0x10000 : 0x20001,
                              .spi_out = a ? 0x20001 : 0x10000,
                              .udp = argc < 11 || strcmp(argv[10], "raw") != 0,
                              .window = 1024,
                              .local_count = 1,
                              .remote_count = 1};
    memset(c.keymat_in, a ? 1 : 2, sizeof(c.keymat_in));
    memset(c.keymat_out, a ? 2 : 1, sizeof(c.keymat_out));
    set_suite(&c, argc > 9 ? argv[9] : "aes256gcm16");
    if (!endpoint_parse(argv[5], 4500, &c.local) || !endpoint_parse(argv[6], 4500, &c.remote))
        die("address", "cannot be read");
    c.local_ts[0] = selector_of(argv[7]);
    c.remote_ts[0] = selector_of(argv[8]);
    return c;
}

static void report(struct esp_plane *plane)
{
    struct esp_counters c;
    esp_counters(plane, &c);
#define X(name, help)                                                                              \
    if (c.name)                                                                                    \
        printf("%s %llu\n", #name, (unsigned long long)c.name);
    ESP_COUNTER_LIST(X)
#undef X
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                 (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    printf("cpu seconds %.2f, Gbit per cpu second %.2f\n", cpu,
           (double)(c.in_bytes + c.out_bytes) * 8e-9 / cpu);
}

int main(int argc, char **argv)
{
    if (argc < 9)
        usage();
    char why[NET_WHY] = "";
    struct net_tun tun;
    static struct run_sockets sockets;
    struct net_raw_group raw = {0};
    struct esp_sa_config sa = configure(argv, argc);
    uint16_t mtu = (uint16_t)atoi(argv[3]), workers = (uint16_t)atoi(argv[4]);
    struct esp_plane_config config = {
        .workers = workers, .max_sas = 16, .device_mtu = mtu, .random = &random_system};
    if (crypto_init() != 0)
        die("crypto", "self-test");
    if (net_tun_open(argv[2], workers, mtu, &tun, why) != 0 ||
        net_link_up(tun.index, mtu, why) != 0)
        die("tun", why);
    sockets.count = 1;
    sockets.ip[0] = sa.local.ip;
    if (net_udp_open(&sa.local.ip, 500, 4500, workers, 0, &sockets.group[0], why) != 0)
        die("udp", why);
    if (!sa.udp && net_raw_open_group(sa.local.ip.family, false, workers, 0, &raw, why) != 0)
        die("raw", why);
    struct esp_plane *plane = esp_create(&config);
    struct esp_workers *threads = NULL;
    struct esp_workers_config with = {.plane = plane,
                                      .workers = workers,
                                      .tun = &tun,
                                      .sockets = &sockets,
                                      .raw4 = !sa.udp && sa.local.ip.family == 4 ? &raw : NULL,
                                      .raw6 = !sa.udp && sa.local.ip.family == 6 ? &raw : NULL};
    if (!plane || esp_add(plane, &sa, run_now()) != 0 || esp_workers_start(&with, &threads) != 0)
        die("plane", "cannot start");
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    printf("ready\n");
    fflush(stdout);
    while (!ended) {
        struct esp_fact fact;
        (void)poll(NULL, 0, 200);
        esp_tick(plane, run_now());
        while (esp_next_fact(plane, &fact)) {
        }
    }
    esp_workers_stop(threads);
    report(plane);
    esp_free(plane);
    return 0;
}
