/*
 * A sender and a receiver of UDP datagrams with sequence numbers. One binary for two questions:
 * how many packets a second get through (rate 0: as fast as it goes), and whether any is lost at
 * a steady rate. iperf3 answers neither well: its UDP mode loses its own control connection
 * through slow tunnels, and it knows no packet counts below its own pacing.
 *
 *   udpblast recv PORT
 *   udpblast send ADDRESS PORT PACKETS-PER-SECOND SIZE SECONDS
 *
 * The sender says at the end, in datagrams of another kind and several times, how many it sent.
 * It also counts how often its own kernel refused one, for want of a route: these are not "sent".
 * The receiver then prints one line and ends:
 *   sent N received N lost N duplicated N reordered N gap-ms N.N rate-pps N mbit N.N
 * It gives up 5 s after the last datagram, or when none has come for 30 s.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, LEAST = 16, MOST = 9000, END_REPEATS = 20 };

/* First octets of each datagram; both ends run the same binary, so host order will do. */
struct stamp {
    uint32_t kind; /* KIND_DATA or KIND_END */
    uint32_t run;  /* tells a late datagram of an earlier run */
    uint64_t seq;  /* number from 0, or how many were sent */
};
enum { KIND_DATA = 0x73686b31, KIND_END = 0x73686b32 };

struct tally {
    uint64_t sent, received, duplicated, reordered, top, octets;
    uint8_t *seen; /* one bit per number, grown on demand */
    size_t seen_size;
    uint64_t first_ns, last_ns, gap_ns;
    uint32_t run;
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "udpblast: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* True when the number was not there before. */
static int mark_seen(struct tally *t, uint64_t seq)
{
    size_t at = seq / 8;
    uint8_t bit = (uint8_t)(1u << (seq % 8));

    if (at >= t->seen_size) {
        size_t size = (at + 1) * 2 + 4096;
        uint8_t *grown = realloc(t->seen, size);
        if (!grown)
            die("memory");
        memset(grown + t->seen_size, 0, size - t->seen_size);
        t->seen = grown;
        t->seen_size = size;
    }
    if (t->seen[at] & bit)
        return 0;
    t->seen[at] |= bit;
    return 1;
}

static void count(struct tally *t, const struct stamp *s, size_t octets, uint64_t now)
{
    if (!t->received) {
        t->run = s->run;
        t->first_ns = now;
    } else if (s->run != t->run) {
        return;
    } else if (now - t->last_ns > t->gap_ns) {
        t->gap_ns = now - t->last_ns;
    }
    t->last_ns = now;
    if (s->seq >= (1ull << 34)) /* not ours: no run is that long */
        return;
    if (!mark_seen(t, s->seq)) {
        t->duplicated++;
        return;
    }
    t->received++;
    t->octets += octets;
    if (s->seq < t->top)
        t->reordered++;
    else
        t->top = s->seq + 1;
}

static void report(const struct tally *t)
{
    double seconds = (double)(t->last_ns - t->first_ns) / 1e9;
    double pps = seconds > 0 ? (double)t->received / seconds : 0;
    double mbit = seconds > 0 ? (double)t->octets * 8 / seconds / 1e6 : 0;

    printf("sent %llu received %llu lost %lld duplicated %llu reordered %llu gap-ms %.1f rate-pps "
           "%.0f mbit %.1f\n",
           (unsigned long long)t->sent, (unsigned long long)t->received,
           (long long)(t->sent - t->received), (unsigned long long)t->duplicated,
           (unsigned long long)t->reordered, (double)t->gap_ns / 1e6, pps, mbit);
}

static int socket_at(const char *host, const char *port, int receive)
{
    struct addrinfo want = {.ai_socktype = SOCK_DGRAM, .ai_flags = receive ? AI_PASSIVE : 0};
    struct addrinfo *have;
    int fd, size = 16 << 20, off = 0;

    if (receive)
        want.ai_family = AF_INET6;
    if (getaddrinfo(host, port, &want, &have))
        die("address");
    fd = socket(have->ai_family, SOCK_DGRAM, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    if (receive)
        setsockopt(fd, 41 /* IPPROTO_IPV6 */, 26 /* IPV6_V6ONLY */, &off, sizeof off);
    if ((receive ? bind : connect)(fd, have->ai_addr, have->ai_addrlen))
        die(receive ? "bind" : "connect");
    freeaddrinfo(have);
    return fd;
}

/* One batch from the socket into the tally; true when the sender has said that it is done. */
static int take_batch(int fd, struct tally *t)
{
    static uint8_t data[BATCH][MOST];
    struct iovec iov[BATCH];
    struct mmsghdr msgs[BATCH] = {0};
    int i, n;

    for (i = 0; i < BATCH; i++) {
        iov[i] = (struct iovec){data[i], MOST};
        msgs[i].msg_hdr.msg_iov = &iov[i];
        msgs[i].msg_hdr.msg_iovlen = 1;
    }
    n = recvmmsg(fd, msgs, BATCH, MSG_DONTWAIT, NULL);
    for (i = 0; i < n; i++) {
        struct stamp s;
        if (msgs[i].msg_len < sizeof s)
            continue;
        memcpy(&s, data[i], sizeof s);
        if (s.kind == KIND_DATA)
            count(t, &s, msgs[i].msg_len, now_ns());
        if (s.kind == KIND_END && (!t->received || s.run == t->run)) {
            t->sent = s.seq;
            return 1;
        }
    }
    return 0;
}

static int receive(const char *port)
{
    struct tally t = {0};
    struct pollfd p = {.fd = socket_at(NULL, port, 1), .events = POLLIN};

    while (poll(&p, 1, t.received ? 5000 : 30000) > 0)
        if (take_batch(p.fd, &t))
            break;
    if (!t.sent)
        t.sent = t.top;
    report(&t);
    free(t.seen);
    return t.received ? 0 : 1;
}

/* No route at this moment, or no buffer: the packet never left, so it does not get a number. */
static int passing(int error)
{
    return error == ENOBUFS || error == ECONNREFUSED || error == EAGAIN || error == EINTR ||
           error == ENETUNREACH || error == EHOSTUNREACH;
}

/* Sends up to BATCH numbered datagrams; returns how many the kernel took, < 0 for a refusal. */
static int send_batch(int fd, uint32_t run, uint64_t seq, size_t size, int n)
{
    static uint8_t data[BATCH][MOST];
    struct iovec iov[BATCH];
    struct mmsghdr msgs[BATCH] = {0};
    int i;

    for (i = 0; i < n; i++) {
        struct stamp s = {KIND_DATA, run, seq + (uint64_t)i};
        memcpy(data[i], &s, sizeof s);
        iov[i] = (struct iovec){data[i], size};
        msgs[i].msg_hdr.msg_iov = &iov[i];
        msgs[i].msg_hdr.msg_iovlen = 1;
    }
    n = sendmmsg(fd, msgs, (unsigned)n, 0);
    if (n < 0 && !passing(errno))
        die("send");
    return n;
}

static void send_end(int fd, uint32_t run, uint64_t sent)
{
    struct stamp s = {KIND_END, run, sent};
    int i;

    usleep(300000); /* what is still queued goes first */
    for (i = 0; i < END_REPEATS; i++) {
        if (send(fd, &s, sizeof s, 0) < 0 && errno == ECONNREFUSED && i > 1)
            return; /* the receiver has heard it and left */
        usleep(50000);
    }
}

static int transmit(char **arg)
{
    int fd = socket_at(arg[0], arg[1], 0);
    double rate = atof(arg[2]), seconds = atof(arg[4]);
    size_t size = (size_t)atoi(arg[3]);
    uint64_t begun = now_ns(), sent = 0, refused = 0, now;
    uint32_t run = (uint32_t)begun ^ (uint32_t)getpid() << 16;

    if (size < LEAST || size > MOST || seconds <= 0) {
        fprintf(stderr, "udpblast: size %d to %d, seconds above 0\n", LEAST, MOST);
        return 2;
    }
    while ((now = now_ns()) - begun < (uint64_t)(seconds * 1e9)) {
        uint64_t due = (uint64_t)((double)(now - begun) / 1e9 * rate) + 1;
        uint64_t n = rate > 0 ? due - sent : BATCH;
        if (due <= sent && rate > 0) {
            struct timespec nap = {0, 200000};
            nanosleep(&nap, NULL);
            continue;
        }
        int taken = send_batch(fd, run, sent, size, n > BATCH ? BATCH : (int)n);
        if (taken > 0)
            sent += (uint64_t)taken;
        else {
            refused++;
            usleep(1000);
        }
    }
    send_end(fd, run, sent);
    printf("sent %llu refused %llu\n", (unsigned long long)sent, (unsigned long long)refused);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "recv"))
        return receive(argv[2]);
    if (argc == 7 && !strcmp(argv[1], "send"))
        return transmit(argv + 2);
    fprintf(stderr, "usage: udpblast recv PORT | send ADDRESS PORT PPS SIZE SECONDS\n");
    return 2;
}
