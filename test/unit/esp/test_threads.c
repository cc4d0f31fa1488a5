/* Four worker threads carry packets while the control thread rekeys without pause: not one packet
 * may be lost, and nothing may be freed under a reader (run it with SAN=thread and SAN=address). */
#include "pair.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

/* LINGER: a rekey takes a second of the plane's clock but a millisecond of ours. */
enum { WORKERS = 2, REKEYS = 1000, PACKETS_A_TURN = 7, LINGER = 400 };

struct station {
    struct esp_plane *plane; /* one plane talks to itself: its outbound SPIs are its inbound ones */
    int wire[WORKERS][2];
    _Atomic bool stop, stop_in;
    _Atomic uint64_t sent, delivered;
};
struct thread {
    struct station *station;
    uint16_t worker;
    pthread_t id;
};

static void send_wire(void *context, struct esp_send *send)
{
    struct thread *thread = context;
    for (uint32_t at = 0; at < send->len; at += send->stride) {
        uint32_t len = send->len - at < send->stride ? send->len - at : send->stride, spi;
        memcpy(&spi, send->data + at, 4);
        int fd = thread->station->wire[ntohl(spi) % WORKERS][0];
        if (write(fd, send->data + at, len) != (ssize_t)len)
            abort();
        send->sent++;
    }
    atomic_fetch_add(&thread->station->sent, send->sent);
}

static bool no_reply(void *context, const struct iovec *iov, size_t count)
{
    (void)context;
    (void)iov;
    return count > 0;
}

static void *out_body(void *context)
{
    struct thread *thread = context;
    struct esp_out_calls calls = {.context = thread, .send = send_wire, .reply = no_reply};
    struct esp_out *out = esp_out_create(thread->station->plane, thread->worker, &calls);
    static const struct make m = {.family = 4, .protocol = PROTO_UDP, .payload = 300};
    uint8_t one[400], copy[400];
    size_t len = make_frame(&m, one);
    for (time_us now = 1; !atomic_load(&thread->station->stop); now++) {
        esp_out_awake(out);
        for (int i = 0; i < PACKETS_A_TURN; i++) {
            memcpy(copy, one, len);
            esp_out_packet(out, copy, len, now);
        }
        esp_out_flush(out, now);
        if (now % 16 == 0)
            esp_out_asleep(out);
    }
    esp_out_asleep(out);
    esp_out_free(out);
    return NULL;
}

static bool count_in(void *context, const struct iovec *iov, size_t count)
{
    struct thread *thread = context;
    uint64_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += iov[i].iov_len;
    atomic_fetch_add(&thread->station->delivered, (len - ESP_FRAME_HEADER - 28) / 300);
    return true;
}

static void *in_body(void *context)
{
    struct thread *thread = context;
    struct station *station = thread->station;
    struct esp_in_calls calls = {.context = thread, .deliver = count_in};
    struct esp_in *in = esp_in_create(station->plane, thread->worker, true, &calls);
    struct pollfd wait = {.fd = station->wire[thread->worker][1], .events = POLLIN};
    struct sockaddr_storage from = {.ss_family = AF_INET};
    static _Thread_local uint8_t buffers[16][2048];
    for (time_us now = 1;; now++) {
        struct esp_datagrams d[16];
        size_t count = 0;
        esp_in_awake(in);
        while (count < 16) {
            ssize_t len = recv(wait.fd, buffers[count], sizeof(buffers[0]), MSG_DONTWAIT);
            if (len <= 0)
                break;
            d[count] = (struct esp_datagrams){
                .data = buffers[count], .len = (uint32_t)len, .udp = true, .from = &from};
            count++;
        }
        if (count > 0) {
            esp_in_receive(in, d, count, now);
            continue;
        }
        if (atomic_load(&station->stop_in))
            break;
        esp_in_asleep(in);
        (void)poll(&wait, 1, 1);
    }
    esp_in_free(in);
    return NULL;
}

/* Child n of a plane that is its own peer. */
static struct esp_sa_config self(uint32_t n)
{
    struct esp_sa_config c = pair_config(n);
    memcpy(c.keymat_out, c.keymat_in, sizeof(c.keymat_out));
    c.spi_in = c.spi_out = 0x1000 + n;
    c.window = 8192;
    c.local_ts[0] = c.remote_ts[0] = selector_any(4);
    c.local_count = c.remote_count = 1;
    return c;
}

static void count_visit(void *context, const struct esp_sa_status *status)
{
    uint64_t *packets = context;
    *packets += status->out_packets;
}

/* What a busy control thread does, rekey by rekey. */
static void rekey_without_pause(struct esp_plane *plane)
{
    for (uint32_t n = 1; n <= REKEYS; n++) {
        struct esp_sa_config c = self(n);
        struct esp_counters counters;
        struct esp_fact fact;
        uint64_t packets = 0;
        time_us now = n * TIME_SECOND;
        c.out_waits = n % 2;
        assert_int_equal(esp_add(plane, &c, now), 0);
        (void)poll(NULL, 0, 1);
        assert_int_equal(esp_remove(plane, 0x1000 + n - 1, now, LINGER * TIME_SECOND), 0);
        if (n % 5 == 0)
            assert_int_equal(esp_move(plane, 1, &c.local, &c.remote, 0, true), 0);
        esp_tick(plane, now);
        while (esp_next_fact(plane, &fact)) {
        }
        esp_walk(plane, count_visit, &packets);
        esp_counters(plane, &counters);
    }
}

static void rekeys_under_load(void **state)
{
    (void)state;
    struct station station = {.stop = false};
    struct esp_plane_config config = {
        .workers = WORKERS, .max_sas = LINGER + 50, .device_mtu = 1438, .random = &random_system};
    struct thread threads[2 * WORKERS];
    station.plane = esp_create(&config);
    struct esp_sa_config first = self(0);
    assert_int_equal(esp_add(station.plane, &first, 0), 0);
    for (uint16_t w = 0; w < WORKERS; w++)
        assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, station.wire[w]), 0);
    for (uint16_t i = 0; i < 2 * WORKERS; i++) {
        threads[i] = (struct thread){.station = &station, .worker = i % WORKERS};
        assert_int_equal(
            pthread_create(&threads[i].id, NULL, i < WORKERS ? out_body : in_body, &threads[i]), 0);
    }
    rekey_without_pause(station.plane);
    atomic_store(&station.stop, true);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i].id, NULL);
    atomic_store(&station.stop_in, true);
    for (int i = WORKERS; i < 2 * WORKERS; i++)
        pthread_join(threads[i].id, NULL);
    struct esp_counters c;
    esp_counters(station.plane, &c);
    assert_true(station.sent > REKEYS);
    assert_int_equal(c.drop_out_no_sa, 0);
    assert_int_equal(c.drop_in_spi, 0);
    assert_int_equal(c.drop_in_replay, 0);
    assert_int_equal(c.drop_in_integrity, 0);
    assert_int_equal(c.out_packets, station.sent);
    assert_int_equal(station.delivered, station.sent);
    esp_tick(station.plane, 1000 * TIME_SECOND);
    assert_null(station.plane->retired);
    for (int w = 0; w < WORKERS; w++) {
        close(station.wire[w][0]);
        close(station.wire[w][1]);
    }
    esp_free(station.plane);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rekeys_under_load)};
    if (crypto_init() != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
