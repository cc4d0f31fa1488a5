#include "load.h"

#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/net.h"

struct options {
    const char *file;
    unsigned tunnels, parallel, step;
    unsigned hold; /* seconds to keep the tunnels before they are deleted */
    struct load_pids pids;
};
struct load {
    struct options options;
    struct conf *conf;
    struct load_keys keys;
    struct net_udp_group sockets;
    struct ike_engine *engine;
    struct endpoint remote;
    unsigned started, established, failed, reported;
    double cpu_before, memory_before;
    double step_cpu;
    time_us step_time;
    char last_failure[384];
};

static time_us now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (time_us)t.tv_sec * TIME_SECOND + (time_us)t.tv_nsec / 1000;
}

static int64_t wall(void *context)
{
    (void)context;
    return (int64_t)time(NULL);
}

static void send_datagram(struct load *load, const struct ike_send *send)
{
    static const uint8_t marker[4];
    bool natt = send->path.port == IKE_PORT_NATT;
    struct bytes head = {marker, natt && send->datagram.len > 1 ? sizeof(marker) : 0};
    int fd = natt ? load->sockets.ike_natt : load->sockets.ike_500;
    /* A full socket is a lost datagram: the engine sends it again. */
    if (net_send(fd, head, send->datagram, &send->path.local, &send->path.remote, 0))
        log_debug("a datagram could not be sent");
}

static void note_event(struct load *load, const struct ike_event *event)
{
    if (event->kind == IKE_EVENT_ESTABLISHED)
        load->established++;
    if (event->kind == IKE_EVENT_FAILED || event->kind == IKE_EVENT_DOWN) {
        load->failed++;
        snprintf(load->last_failure, sizeof(load->last_failure), "%s", event->text);
    }
}

static void drain(struct load *load)
{
    static struct ike_action action;
    static struct ike_answer answer;
    while (ike_next(load->engine, &action)) {
        if (action.kind == IKE_SEND) {
            send_datagram(load, &action.send);
        } else if (action.kind == IKE_EVENT) {
            note_event(load, &action.event);
        } else if (action.kind == IKE_ASK && !(action.ask->want & IKE_WANT_RELEASE)) {
            load_keys_answer(&load->keys, action.ask, &answer);
            ike_answer(load->engine, now_us(), &answer);
        }
    }
}

static void receive(struct load *load, int fd, enum ike_port port)
{
    static uint8_t buffer[WIRE_MESSAGE_MAX];
    size_t marker = port == IKE_PORT_NATT ? 4 : 0;
    for (unsigned i = 0; i < 64; i++) {
        struct ike_path path = {.port = (uint8_t)port};
        size_t len;
        if (net_receive(fd, buffer, sizeof(buffer), &len, &path.local, &path.remote,
                        &path.interface))
            return;
        if (len <= marker)
            continue;
        ike_input(load->engine, now_us(), &path, (struct bytes){buffer + marker, len - marker});
        drain(load);
    }
}

static void start_some(struct load *load)
{
    const struct options *o = &load->options;
    while (load->started < o->tunnels &&
           load->started - load->established - load->failed < o->parallel) {
        struct ike_command command = {.kind = IKE_INITIATE, .path = {.remote = load->remote}};
        command.path.local.ip.family = load->remote.ip.family;
        command.path.local.port = load->sockets.port_500;
        load->started++;
        if (ike_command(load->engine, now_us(), &command, NULL)) {
            load->failed++;
            snprintf(load->last_failure, sizeof(load->last_failure),
                     "the engine would not start one more");
        }
        drain(load);
    }
}

static void report_step(struct load *load)
{
    unsigned step = load->options.step;
    if (step == 0 || load->established < load->reported + step)
        return;
    double cpu = load_cpu_seconds(&load->options.pids);
    time_us now = now_us();
    unsigned count = load->established - load->reported;
    printf("%8u established  %7.0f handshakes/s  %.3f ms responder CPU each\n", load->established,
           count / ((double)(now - load->step_time) / 1e6), (cpu - load->step_cpu) * 1e3 / count);
    load->reported = load->established;
    load->step_cpu = cpu;
    load->step_time = now;
}

static void turn(struct load *load)
{
    struct pollfd fds[] = {{.fd = load->sockets.ike_500, .events = POLLIN},
                           {.fd = load->sockets.ike_natt, .events = POLLIN}};
    time_us now = now_us(), deadline = ike_deadline(load->engine);
    time_us wait = deadline <= now ? 0 : deadline - now;
    poll(fds, ARRAY_LEN(fds), wait > TIME_SECOND ? 1000 : (int)(wait / 1000) + (wait > 0));
    if (fds[0].revents)
        receive(load, fds[0].fd, IKE_PORT_500);
    if (fds[1].revents)
        receive(load, fds[1].fd, IKE_PORT_NATT);
    ike_tick(load->engine, now_us());
    drain(load);
}

static void run(struct load *load)
{
    time_us begin = now_us();
    load->cpu_before = load->step_cpu = load_cpu_seconds(&load->options.pids);
    load->memory_before = load_pss_kilobytes(&load->options.pids);
    load->step_time = begin;
    while (load->established + load->failed < load->options.tunnels) {
        start_some(load);
        turn(load);
        report_step(load);
    }
    double seconds = (double)(now_us() - begin) / 1e6;
    double cpu = load_cpu_seconds(&load->options.pids) - load->cpu_before;
    double memory = load_pss_kilobytes(&load->options.pids) - load->memory_before;
    unsigned count = load->established ? load->established : 1;
    printf("established %u of %u in %.2f s: %.0f handshakes/s", load->established,
           load->options.tunnels, seconds, load->established / seconds);
    if (load->options.pids.count > 0)
        printf(", responder %.3f ms CPU each, %.1f kB memory each", cpu * 1e3 / count,
               memory / count);
    printf("\n");
    if (load->failed)
        printf("%u failed, the last because: %s\n", load->failed, load->last_failure);
    fflush(stdout);
}

static void hold_and_delete(struct load *load)
{
    time_us end = now_us() + load->options.hold * TIME_SECOND;
    while (now_us() < end)
        turn(load);
    struct ike_command all = {.kind = IKE_DELETE};
    if (ike_command(load->engine, now_us(), &all, NULL))
        return;
    drain(load);
    struct ike_usage usage;
    end = now_us() + 20 * TIME_SECOND;
    do {
        turn(load);
        ike_usage(load->engine, &usage);
    } while (usage.sas > 0 && now_us() < end);
}

static int open_all(struct load *load)
{
    struct conf_faults faults = {.count = 0};
    char why[NET_WHY];
    if (crypto_init())
        return ERR_CRYPTO;
    if (conf_load(load->options.file, &load->conf, &faults)) {
        conf_fault_print(&faults.at[0], why, sizeof(why));
        fprintf(stderr, "shrike-load: %s\n", why);
        return ERR_CONFIG;
    }
    load->remote.port = load->conf->remote_port ? load->conf->remote_port : 500;
    if (load_keys_read(&load->keys, load->conf) ||
        net_resolve(load->conf->remote_host, &load->remote.ip, 1, why) < 1)
        return ERR_CONFIG;
    struct ip any = {.family = load->remote.ip.family};
    int result = net_udp_open(&any, 0, 0, 1, 0, &load->sockets, why);
    if (result)
        fprintf(stderr, "shrike-load: %s\n", why);
    return result;
}

static int make_engine(struct load *load)
{
    struct conf_tunnel *tunnel = &load->conf->tunnel;
    tunnel->max_tunnels = load->options.tunnels + 16;
    struct ike_setup setup = {
        .tunnel = tunnel,
        .random = &random_system,
        .trust = load->keys.credentials.trust,
        .own_cert_count = load->keys.credentials.chain_count,
        .own_id = tunnel->local_id,
        .wall_clock = wall,
        .id_base = 1,
    };
    for (size_t i = 0; i < setup.own_cert_count && i < IKE_CERTS_OWN; i++)
        setup.own_certs[i] = load->keys.credentials.chain[i];
    if (setup.own_cert_count > IKE_CERTS_OWN)
        setup.own_cert_count = IKE_CERTS_OWN;
    if (setup.own_id.type == IDENTITY_NONE && setup.own_cert_count > 0 &&
        !cert_identity(setup.own_certs[0], &setup.own_id))
        return ERR_IDENTITY;
    load->engine = ike_create(&setup, now_us());
    return load->engine ? 0 : ERR_MEMORY;
}

static int usage(void)
{
    fprintf(
        stderr,
        "usage: shrike-load --config CLIENT.conf [--tunnels N] [--parallel N] [--step N] [--hold SECONDS] [--pids A,B,...]\n"
        "Sets up N tunnels as the client file says and prints what a handshake costs.\n");
    return 2;
}

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"tunnels", required_argument, NULL, 'n'},
        {"parallel", required_argument, NULL, 'p'},
        {"step", required_argument, NULL, 's'},
        {"hold", required_argument, NULL, 'h'},
        {"pids", required_argument, NULL, 'i'},
        {NULL, 0, NULL, 0},
    };
    *o = (struct options){.tunnels = 1000, .parallel = 16};
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        switch (c) {
        case 'c':
            o->file = optarg;
            break;
        case 'n':
            o->tunnels = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'p':
            o->parallel = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            o->step = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'h':
            o->hold = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'i':
            if (!load_pids_parse(optarg, &o->pids))
                return false;
            break;
        default:
            return false;
        }
    }
    return o->file && optind == argc && o->tunnels > 0 && o->tunnels <= 1000000 && o->parallel > 0;
}

int main(int argc, char **argv)
{
    static struct load load;
    if (!parse(argc, argv, &load.options))
        return usage();
    log_set_name("shrike-load");
    if (open_all(&load) || make_engine(&load))
        return 1;
    run(&load);
    hold_and_delete(&load);
    bool good = load.established == load.options.tunnels;
    ike_free(load.engine);
    load_keys_free(&load.keys);
    net_udp_close(&load.sockets);
    conf_free(load.conf);
    return good ? 0 : 1;
}
