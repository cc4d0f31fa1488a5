#include "run/esp_worker.h"

#include "run/esp_send.h"

#include <errno.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    RECEIVE_BATCH = 32,
    /* Buffers of 64 KiB, each shifted by some cache lines: else all heads share one cache set. */
    BUFFER_STRIDE = ESP_DATAGRAM_MAX + 24 * 64,
    CONTROL_OCTETS = 128,
    GATHER_PACKETS = 128,
    SUPER_OCTETS = 4096, /* a frame longer than this is a super-packet: sent without waiting */
    IN_SOCKETS = RUN_GROUPS + 2,
    IP4_LEAST = 20,
    PAUSE_MS = 10,
    LOOK_AT_ALL = 16, /* rounds */
    SIDES = 2,
};

/* A socket the in thread reads. */
struct source {
    int fd;
    bool udp, ah;
    uint8_t family;
    bool busy;     /* had something when it was last looked at */
    uint32_t lost; /* the kernel's count of what did not fit into the buffer */
};

struct worker {
    struct esp_workers *all;
    uint16_t index;
    int tun;
    bool uso;
    struct esp_sender sender;
    size_t source_count;
    struct source sources[IN_SOCKETS];
    pthread_t threads[SIDES];
    int started;
};

struct esp_workers {
    struct esp_plane *plane;
    int stop_fd;
    _Atomic bool stop;
    _Atomic uint32_t ready, failed; /* threads */
    uint16_t count;
    struct worker workers[];
};

static bool stopping(const struct worker *worker)
{
    return atomic_load_explicit(&worker->all->stop, memory_order_relaxed);
}

/* As top -H and perf show it. */
static void name_thread(const struct worker *worker, const char *direction)
{
    char name[16];
    snprintf(name, sizeof(name), "esp-%s-%u", direction, worker->index);
    (void)pthread_setname_np(pthread_self(), name);
}

static void tell_started(struct worker *worker, bool good)
{
    atomic_fetch_add(good ? &worker->all->ready : &worker->all->failed, 1);
}

/* A device that was taken away under us is always "ready": do not spin on it. */
static void sleep_until_ready(struct pollfd *wait, nfds_t count, int ms)
{
    if (poll(wait, count, ms) <= 0)
        return;
    for (nfds_t i = 0; i < count; i++) {
        if ((wait[i].revents & (POLLERR | POLLHUP | POLLNVAL)) && !(wait[i].revents & POLLIN)) {
            (void)poll(NULL, 0, PAUSE_MS);
            return;
        }
    }
}

/* ---- out ------------------------------------------------------------------------------------ */

static void send_run(void *context, struct esp_send *send)
{
    struct worker *worker = context;
    esp_send_run(&worker->sender, send);
}

static bool write_tun(void *context, const struct iovec *iov, size_t count)
{
    const struct worker *worker = context;
    return writev(worker->tun, iov, (int)count) > 0;
}

/* Reads until there is nothing left, or a batch is full; false when there was nothing at all. */
static bool carry_out(struct worker *worker, struct esp_out *out, uint8_t *frame)
{
    time_us now = 0;
    for (int gathered = 0; gathered < GATHER_PACKETS; gathered++) {
        ssize_t len = read(worker->tun, frame, ESP_FRAME_MAX);
        if (len <= 0) {
            esp_out_flush(out, now);
            return gathered > 0;
        }
        if (now == 0)
            now = run_now();
        esp_out_packet(out, frame, (size_t)len, now);
        if (len > SUPER_OCTETS)
            break;
    }
    esp_out_flush(out, now);
    return true;
}

static void *out_thread(void *context)
{
    struct worker *worker = context;
    struct esp_out_calls calls = {.context = worker, .send = send_run, .reply = write_tun};
    struct esp_out *out = esp_out_create(worker->all->plane, worker->index, &calls);
    uint8_t *frame = malloc(ESP_FRAME_MAX);
    struct pollfd wait[2] = {{.fd = worker->tun, .events = POLLIN},
                             {.fd = worker->all->stop_fd, .events = POLLIN}};
    name_thread(worker, "out");
    tell_started(worker, out && frame);
    while (out && frame && !stopping(worker)) {
        esp_out_awake(out);
        if (carry_out(worker, out, frame))
            continue;
        esp_out_asleep(out);
        sleep_until_ready(wait, 2, -1);
    }
    esp_out_free(out);
    free(frame);
    return NULL;
}

/* ---- in ------------------------------------------------------------------------------------- */

/* What one recvmmsg fills. */
struct inbox {
    struct mmsghdr messages[RECEIVE_BATCH];
    struct iovec iov[RECEIVE_BATCH];
    struct sockaddr_storage from[RECEIVE_BATCH];
    _Alignas(struct cmsghdr) uint8_t control[RECEIVE_BATCH][CONTROL_OCTETS];
    struct esp_datagrams datagrams[RECEIVE_BATCH];
    uint8_t *buffers;
};

static void prepare(struct inbox *box, unsigned count, size_t room)
{
    for (unsigned i = 0; i < count; i++) {
        box->iov[i] = (struct iovec){.iov_base = box->buffers + (size_t)i * BUFFER_STRIDE + room,
                                     .iov_len = ESP_DATAGRAM_MAX};
        box->messages[i].msg_hdr = (struct msghdr){.msg_name = &box->from[i],
                                                   .msg_namelen = sizeof(box->from[i]),
                                                   .msg_iov = &box->iov[i],
                                                   .msg_iovlen = 1,
                                                   .msg_control = box->control[i],
                                                   .msg_controllen = CONTROL_OCTETS};
    }
}

static void read_control(struct msghdr *msg, struct esp_datagrams *d, uint32_t *lost)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        int value = 0;
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            memcpy(&value, CMSG_DATA(c), sizeof(value));
            d->stride = (uint32_t)value;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
            d->tos = *CMSG_DATA(c);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
            memcpy(&value, CMSG_DATA(c), sizeof(value));
            d->tos = (uint8_t)value;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            memcpy(lost, CMSG_DATA(c), sizeof(*lost));
        }
    }
}

/* A raw IPv6 socket keeps the outer header, which AH covers: what matters of it is put back into
 * the room before the data. Over 64 KiB there is no such packet. */
static void restore_ip6(struct msghdr *msg, struct esp_datagrams *d)
{
    struct ip6_hdr ip = {.ip6_flow = htonl(6u << 28), .ip6_nxt = IPPROTO_AH};
    if (d->len > UINT16_MAX || d->from->ss_family != AF_INET6) {
        d->len = 0;
        return;
    }
    ip.ip6_plen = htons((uint16_t)d->len);
    ip.ip6_src = ((const struct sockaddr_in6 *)(const void *)d->from)->sin6_addr;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        struct in6_pktinfo info;
        if (c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_PKTINFO)
            continue;
        memcpy(&info, CMSG_DATA(c), sizeof(info));
        ip.ip6_dst = info.ipi6_addr;
    }
    d->data -= sizeof(ip);
    d->len += (uint32_t)sizeof(ip);
    memcpy(d->data, &ip, sizeof(ip));
}

/* AH comes whole: the TOS is in the header, and there is nothing to take off. */
static void keep_ip4(struct esp_datagrams *d)
{
    if (d->len >= IP4_LEAST)
        d->tos = d->data[1];
}

/* A raw IPv4 socket hands over the IP header, too. */
static void strip_ip(struct esp_datagrams *d)
{
    uint32_t head = d->len >= IP4_LEAST ? (d->data[0] & 15u) * 4 : 0;
    if (head < IP4_LEAST || head > d->len) {
        d->len = 0;
        return;
    }
    d->tos = d->data[1];
    d->data += head;
    d->len -= head;
}

/* One receive from one socket; how many messages came. */
static unsigned carry_in(struct esp_in *in, struct inbox *box, struct source *source)
{
    uint32_t lost = source->lost;
    prepare(box, RECEIVE_BATCH, source->ah && source->family == 6 ? sizeof(struct ip6_hdr) : 0);
    int count = recvmmsg(source->fd, box->messages, RECEIVE_BATCH, MSG_DONTWAIT, NULL);
    if (count <= 0)
        return 0;
    for (int i = 0; i < count; i++) {
        struct esp_datagrams *d = &box->datagrams[i];
        *d = (struct esp_datagrams){.data = box->iov[i].iov_base,
                                    .len = box->messages[i].msg_len,
                                    .udp = source->udp,
                                    .ah = source->ah,
                                    .from = &box->from[i]};
        read_control(&box->messages[i].msg_hdr, d, &lost);
        if (source->ah)
            source->family == 4 ? keep_ip4(d) : restore_ip6(&box->messages[i].msg_hdr, d);
        else if (!source->udp && source->family == 4)
            strip_ip(d);
    }
    if (lost != source->lost)
        esp_in_lost(in, lost - source->lost);
    source->lost = lost;
    esp_in_receive(in, box->datagrams, (size_t)count, run_now());
    return (unsigned)count;
}

/* One round over the sockets that are busy, now and then over all: an empty receive costs as much
 * as ten packets. False when none had anything. */
static bool carry_all_in(struct worker *worker, struct esp_in *in, struct inbox *box,
                         unsigned round)
{
    bool any = false;
    for (size_t i = 0; i < worker->source_count; i++) {
        struct source *source = &worker->sources[i];
        if (!source->busy && round % LOOK_AT_ALL != 0)
            continue;
        source->busy = carry_in(in, box, source) > 0;
        any |= source->busy;
    }
    return any;
}

static void wait_in(struct worker *worker, struct pollfd *wait, int ms)
{
    sleep_until_ready(wait, worker->source_count + 1, ms);
    for (size_t i = 0; i < worker->source_count; i++)
        worker->sources[i].busy = wait[i].revents != 0;
}

static void *in_thread(void *context)
{
    struct worker *worker = context;
    struct esp_in_calls calls = {.context = worker, .deliver = write_tun};
    struct esp_in *in = esp_in_create(worker->all->plane, worker->index, worker->uso, &calls);
    struct inbox *box = calloc(1, sizeof(*box));
    struct pollfd wait[IN_SOCKETS + 1];
    bool good = in && box && (box->buffers = malloc((size_t)RECEIVE_BATCH * BUFFER_STRIDE));
    for (size_t i = 0; i < worker->source_count; i++)
        wait[i] = (struct pollfd){.fd = worker->sources[i].fd, .events = POLLIN};
    wait[worker->source_count] = (struct pollfd){.fd = worker->all->stop_fd, .events = POLLIN};
    name_thread(worker, "in");
    tell_started(worker, good);
    for (unsigned round = 1; good && !stopping(worker); round++) {
        esp_in_awake(in);
        if (carry_all_in(worker, in, box, round))
            continue;
        int pause;
        bool early = esp_in_early(in, run_now, &pause);
        esp_in_asleep(in);
        wait_in(worker, wait, early ? pause : -1);
    }
    if (box)
        free(box->buffers);
    free(box);
    esp_in_free(in);
    return NULL;
}

/* ---- start and stop ------------------------------------------------------------------------- */

static void add_source(struct worker *worker, int fd, bool udp, bool ah, uint8_t family)
{
    if (fd >= 0 && worker->source_count < IN_SOCKETS)
        worker->sources[worker->source_count++] =
            (struct source){.fd = fd, .udp = udp, .ah = ah, .family = family};
}

static void give_sockets(struct worker *worker, const struct esp_workers_config *config)
{
    struct esp_sender *sender = &worker->sender;
    esp_send_prepare(sender, config->sockets, config->raw4, config->raw6, worker->index);
    for (size_t i = 0; i < sender->count; i++)
        add_source(worker, sender->udp[i].fd, true, false, sender->udp[i].ip.family);
    add_source(worker, sender->raw4, false, config->sockets->ah, 4);
    add_source(worker, sender->raw6, false, config->sockets->ah, 6);
}

static int start_threads(struct worker *worker)
{
    static void *(*const bodies[SIDES])(void *) = {out_thread, in_thread};
    for (; worker->started < SIDES; worker->started++) {
        if (pthread_create(&worker->threads[worker->started], NULL, bodies[worker->started],
                           worker) != 0)
            return ERR_SYSTEM;
    }
    return 0;
}

/* Threads allocate at their start, and say when they are through with it. */
static int await_threads(struct esp_workers *workers)
{
    uint32_t wanted = (uint32_t)workers->count * SIDES;
    while (atomic_load(&workers->ready) + atomic_load(&workers->failed) < wanted)
        (void)poll(NULL, 0, 1);
    return atomic_load(&workers->failed) ? ERR_MEMORY : 0;
}

int esp_workers_start(const struct esp_workers_config *config, struct esp_workers **out)
{
    struct esp_workers *workers =
        calloc(1, sizeof(*workers) + config->workers * sizeof(struct worker));
    if (!workers)
        return ERR_MEMORY;
    workers->plane = config->plane;
    workers->count = config->workers;
    workers->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int err = workers->stop_fd < 0 ? ERR_SYSTEM : 0;
    for (uint16_t i = 0; i < config->workers && !err; i++) {
        struct worker *worker = &workers->workers[i];
        worker->all = workers;
        worker->index = i;
        worker->tun = config->tun->fd[i];
        worker->uso = config->tun->uso;
        give_sockets(worker, config);
        err = start_threads(worker);
    }
    if (!err)
        err = await_threads(workers);
    if (err) {
        esp_workers_stop(workers);
        return err;
    }
    *out = workers;
    return 0;
}

void esp_workers_stop(struct esp_workers *workers)
{
    if (!workers)
        return;
    uint64_t one = 1;
    atomic_store(&workers->stop, true);
    if (workers->stop_fd >= 0 && write(workers->stop_fd, &one, sizeof(one)) < 0)
        log_error("cannot wake the workers: %s", strerror(errno));
    for (uint16_t i = 0; i < workers->count; i++) {
        for (int side = 0; side < workers->workers[i].started; side++)
            pthread_join(workers->workers[i].threads[side], NULL);
    }
    if (workers->stop_fd >= 0)
        close(workers->stop_fd);
    free(workers);
}
