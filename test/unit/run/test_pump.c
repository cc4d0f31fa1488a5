/* The pump between a real engine and everybody else, who are played by the test: above all, that no
 * answer leaves before the data plane has the SA that the answer promises. */
#include "run/pump.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static const char gateway_text[] = "[gateway]\n"
                                   "name = gw.example.com\n"
                                   "[network]\n"
                                   "pool = 10.9.0.0/24\n"
                                   "[client alice@example.com]\n"
                                   "psk = mimosa-vellum-71-okapi-quartz\n";
static const char client_text[] = "[tunnel]\n"
                                  "gateway = 127.0.0.1\n"
                                  "identity = alice@example.com\n"
                                  "remote-identity = gw.example.com\n"
                                  "psk = mimosa-vellum-71-okapi-quartz\n";
static const struct bytes psk = {(const uint8_t *)"mimosa-vellum-71-okapi-quartz", 29};

/* The other ends of what the pump holds, and a client without processes. */
static struct pump_test {
    struct conf *gateway, *client;
    struct run_sockets sockets;
    struct pump pump;
    int keys_fd, esp_fd, monitor_fd;
    struct ike_engine *peer;
    int peer_fd;
    struct endpoint peer_at, gateway_at;
} t;
static struct ipc_message in, out;

static struct conf *parsed(const char *text)
{
    struct conf_faults faults = {.count = 0};
    struct conf *conf = NULL;
    struct bytes bytes = {(const uint8_t *)text, strlen(text)};
    if (conf_parse("test.conf", bytes, &conf, &faults))
        fail_msg("%s", faults.at[0].what);
    return conf;
}

static struct ike_engine *engine_of(const struct conf *conf)
{
    struct ike_setup setup = {.tunnel = &conf->tunnel,
                              .random = &random_system,
                              .own_id = conf->tunnel.local_id,
                              .wall_clock = run_wall_clock,
                              .id_base = 1};
    struct ike_engine *engine = ike_create(&setup, run_now());
    assert_non_null(engine);
    return engine;
}

static int own_end(int *other)
{
    int pair[2];
    assert_int_equal(ipc_pair(pair), 0);
    *other = pair[1];
    return pair[0];
}

static void open_peer(void)
{
    struct sockaddr_storage at;
    socklen_t len;
    struct endpoint any = {.port = 0};
    assert_true(ip_parse("127.0.0.1", &any.ip));
    t.peer_fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_true(t.peer_fd >= 0);
    len = endpoint_to_sockaddr(&any, &at);
    assert_int_equal(bind(t.peer_fd, (struct sockaddr *)&at, len), 0);
    len = sizeof(at);
    assert_int_equal(getsockname(t.peer_fd, (struct sockaddr *)&at, &len), 0);
    assert_true(endpoint_from_sockaddr(&at, &t.peer_at));
}

static int set_up(void **state)
{
    char why[NET_WHY];
    (void)state;
    memset(&t, 0, sizeof(t));
    assert_int_equal(crypto_init(), 0);
    t.gateway = parsed(gateway_text);
    t.client = parsed(client_text);
    open_peer();
    t.sockets.count = 1;
    t.sockets.ip[0] = t.peer_at.ip;
    assert_int_equal(net_udp_open(&t.peer_at.ip, 0, 0, 1, 0, &t.sockets.group[0], why), 0);
    t.gateway_at = (struct endpoint){t.peer_at.ip, t.sockets.group[0].port_natt};
    t.pump = (struct pump){.conf = t.gateway,
                           .sockets = &t.sockets,
                           .keys_fd = own_end(&t.keys_fd),
                           .esp_fd = own_end(&t.esp_fd),
                           .monitor_fd = own_end(&t.monitor_fd),
                           .generation = 3,
                           .engine = engine_of(t.gateway)};
    pump_init(&t.pump);
    t.peer = engine_of(t.client);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    int fds[] = {t.pump.keys_fd, t.pump.esp_fd, t.pump.monitor_fd, t.keys_fd,
                 t.esp_fd,       t.monitor_fd,  t.peer_fd};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    net_udp_close(&t.sockets.group[0]);
    ike_free(t.pump.engine);
    ike_free(t.peer);
    outbox_free(&t.pump.outbox);
    outbox_free(&t.pump.to_keys);
    outbox_free(&t.pump.to_esp);
    free(t.pump.held);
    conf_free(t.gateway);
    conf_free(t.client);
    return 0;
}

/* ---- the client's side */

static void answer_own(const struct ike_ask *ask)
{
    struct ike_answer answer = {.ticket = ask->ticket};
    const struct prf_alg *alg = suite_prf(ask->prf);
    answer.auth_len = alg->len;
    if (ask->want & IKE_WANT_SIGN)
        assert_int_equal(auth_psk(alg, psk, ike_ask_own(ask), answer.auth), 0);
    ike_answer(t.peer, run_now(), &answer);
}

/* Until the client has nothing more to do: its datagrams go into the gateway's engine. */
static void run_peer(void)
{
    struct ike_action action;
    while (ike_next(t.peer, &action)) {
        if (action.kind == IKE_ASK) {
            answer_own(action.ask);
        } else if (action.kind == IKE_SEND) {
            struct ike_path path = {
                .local = t.gateway_at, .remote = t.peer_at, .port = IKE_PORT_NATT};
            ike_input(t.pump.engine, run_now(), &path, action.send.datagram);
            pump_drain(&t.pump);
        }
    }
}

/* Whether something has come to the client by the network; it is given to its engine. */
static bool peer_hears(int wait_ms)
{
    static uint8_t buffer[65536];
    struct pollfd wait = {.fd = t.peer_fd, .events = POLLIN};
    if (poll(&wait, 1, wait_ms) <= 0)
        return false;
    ssize_t got = recv(t.peer_fd, buffer, sizeof(buffer), 0);
    struct ike_path path = {.local = t.peer_at, .remote = t.gateway_at, .port = IKE_PORT_NATT};
    assert_true(got > 4);
    assert_memory_equal(buffer, "\0\0\0\0", 4); /* the non-ESP marker */
    ike_input(t.peer, run_now(), &path, (struct bytes){buffer + 4, (size_t)got - 4});
    return true;
}

/* ---- the handshake up to the question to keys */

static void connect_until_asked(void)
{
    struct ike_command command = {
        .kind = IKE_INITIATE,
        .path = {.local = t.peer_at, .remote = t.gateway_at, .port = IKE_PORT_NATT}};
    assert_int_equal(ike_command(t.peer, run_now(), &command, NULL), 0);
    run_peer();
    pump_settle(&t.pump);
    for (unsigned i = 0; i < 8 && t.pump.questions == 0; i++) {
        assert_true(peer_hears(1000)); /* IKE_SA_INIT, and the further key exchanges */
        run_peer();
        pump_settle(&t.pump);
    }
    assert_int_equal(t.pump.questions, 1);
    assert_int_equal(ipc_receive(t.keys_fd, &in, NULL), 0);
    assert_int_equal(in.kind, IPC_ASK);
}

static void answer_question(void)
{
    const struct ike_ask *ask = &in.ask;
    const struct prf_alg *alg = suite_prf(ask->prf);
    struct ike_answer answer = {.ticket = ask->ticket, .auth_len = alg->len};
    uint8_t expected[SECRET_MAX];
    assert_int_equal(auth_psk(alg, psk, ike_ask_peer(ask), expected), 0);
    assert_memory_equal(expected, ask->peer_auth, alg->len);
    assert_int_equal(auth_psk(alg, psk, ike_ask_own(ask), answer.auth), 0);
    assert_true(ip_parse("10.9.0.2", &answer.ip4));
    snprintf(answer.peer_name, sizeof(answer.peer_name), "alice");
    pump_answer(&t.pump, &answer);
    pump_hand_over(&t.pump);
}

static void expect_added(void)
{
    char text[ADDR_TEXT];
    assert_int_equal(ipc_receive(t.esp_fd, &in, NULL), 0);
    assert_int_equal(in.kind, IPC_ESP_ADD);
    const struct esp_sa_config *sa = &in.esp_add;
    assert_int_equal(in.serial, sa->spi_in);
    assert_int_equal(sa->generation, 3);
    assert_true(sa->udp);
    assert_int_equal(sa->local.port, t.gateway_at.port);
    assert_int_equal(sa->remote.port, t.peer_at.port);
    assert_true(sa->keymat_len_in > 0);
    assert_true(sa->soft_packets > 0 && sa->soft_packets < sa->hard_packets);
    assert_true(sa->hard_seconds > t.gateway->tunnel.child_lifetime);
    assert_int_equal(sa->remote_count, 1);
    assert_string_equal(ip_print(&sa->remote_ts[0].low, text), "10.9.0.2");
}

static void confirm(int result)
{
    uint64_t tunnel = in.esp_add.tunnel;
    ipc_prepare(&out, IPC_ESP_ADDED, 0);
    out.added.count = 1;
    out.added.at[0] =
        (struct ipc_added_one){.result = result, .spi_in = in.esp_add.spi_in, .tunnel = tunnel};
    assert_int_equal(ipc_send(t.esp_fd, &out, -1), 0);
}

static bool peer_stands(void)
{
    return ike_counters(t.peer)->established == 1;
}

/* ---- the tests */

static void answer_waits_for_the_data_plane(void **state)
{
    (void)state;
    connect_until_asked();
    answer_question();
    expect_added();
    assert_int_equal(t.pump.unconfirmed, 1);
    assert_false(peer_hears(20));
    confirm(0);
    pump_settle(&t.pump);
    assert_int_equal(t.pump.unconfirmed, 0);
    assert_true(peer_hears(1000));
    run_peer();
    assert_true(peer_stands());
}

static void but_not_for_ever(void **state)
{
    (void)state;
    connect_until_asked();
    answer_question();
    time_us before = run_now();
    pump_settle(&t.pump);
    assert_true(run_now() - before < TIME_SECOND);
    assert_true(peer_hears(1000));
}

static void a_refused_child_is_ended(void **state)
{
    (void)state;
    connect_until_asked();
    answer_question();
    expect_added();
    confirm(ERR_LIMIT);
    pump_settle(&t.pump);
    assert_int_equal(t.pump.fact_count, 0); /* it was told that the child carries nothing */
    assert_true(peer_hears(1000));
}

static void facts_that_came_meanwhile_are_kept(void **state)
{
    (void)state;
    connect_until_asked();
    answer_question();
    expect_added();
    uint32_t spi = in.serial;
    uint64_t tunnel = in.esp_add.tunnel;
    ipc_prepare(&out, IPC_FACTS, 0);
    out.facts.count = UINT32_MAX; /* one that lies about its length is read as full */
    out.facts.at[0] = (struct esp_fact){.kind = ESP_FACT_SOFT, .spi_in = spi, .tunnel = tunnel};
    for (size_t i = 1; i < IPC_FACTS_MAX; i++)
        out.facts.at[i].kind = 99;
    assert_int_equal(ipc_send(t.esp_fd, &out, -1), 0);
    confirm(0);
    pump_settle(&t.pump);
    assert_true(peer_hears(1000)); /* IKE_AUTH */
    run_peer();
    assert_true(peer_stands());
    assert_true(peer_hears(1000)); /* and at once the rekey of the child */
}

static void events_reach_the_monitor(void **state)
{
    bool established = false;
    (void)state;
    connect_until_asked();
    answer_question();
    expect_added();
    confirm(0);
    pump_settle(&t.pump);
    assert_int_equal(outbox_flush(&t.pump.outbox, t.pump.monitor_fd, run_now()), 0);
    while (ipc_receive(t.monitor_fd, &in, NULL) == 0) {
        assert_int_not_equal(in.kind, IPC_NET_UP); /* nobody has a network of his own here */
        established |= in.kind == IPC_EVENT && in.event.what.kind == IKE_EVENT_ESTABLISHED;
    }
    assert_true(established);
    pump_report(&t.pump, 77);
    uint32_t kinds[] = {IPC_STATUS_IKE, IPC_STATUS_CHILD, IPC_STATUS_END_IKE};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        assert_int_equal(ipc_receive(t.monitor_fd, &in, NULL), 0);
        assert_int_equal(in.kind, kinds[i]);
        assert_int_equal(in.serial, 77);
    }
}

/* Neighbours that are gone do not stop the engine. */
static void without_neighbours(void **state)
{
    (void)state;
    connect_until_asked();
    close(t.esp_fd);
    answer_question();
    pump_settle(&t.pump);
    assert_true(peer_hears(1000));
    assert_int_equal(t.pump.unconfirmed, 0);
    t.esp_fd = dup(t.peer_fd); /* for tear_down() */
}

/* The former process gets its last word, and the next question finds the new one. */
static void change_keys(void)
{
    struct ike_setup setup = {.tunnel = &t.gateway->tunnel,
                              .random = &random_system,
                              .own_id = t.gateway->tunnel.local_id,
                              .wall_clock = run_wall_clock};
    int pair[2], before = t.pump.keys_fd;
    assert_int_equal(ipc_pair(pair), 0);
    assert_int_equal(pump_change_keys(&t.pump, pair[0]), before);
    assert_int_equal(ike_reload(t.pump.engine, run_now(), &setup), 0);
    pump_drain(&t.pump);
    pump_hand_over(&t.pump);
    assert_int_equal(ipc_receive(t.keys_fd, &in, NULL), 0);
    assert_int_equal(in.kind, IPC_LAST);
    assert_int_equal(ipc_receive(t.keys_fd, &in, NULL), ERR_AGAIN);
    close(before);
    close(t.keys_fd);
    t.keys_fd = pair[1];
}

static bool judging(void)
{
    struct ike_usage usage;
    ike_usage(t.pump.engine, &usage);
    return usage.judging;
}

/* What the old one was asked and has not answered the new one is asked again; then it is asked
 * about who is in. */
static void another_keys_process(void **state)
{
    (void)state;
    connect_until_asked();
    change_keys();
    assert_int_equal(t.pump.questions, 1);
    assert_int_equal(ipc_receive(t.keys_fd, &in, NULL), 0);
    assert_int_equal(in.kind, IPC_ASK);
    answer_question();
    expect_added();
    confirm(0);
    pump_settle(&t.pump);
    assert_true(peer_hears(1000));
    run_peer();
    assert_true(peer_stands());
    assert_false(judging());

    for (int result = 0; result >= ERR_AUTH; result += ERR_AUTH) {
        change_keys();
        assert_true(judging());
        assert_int_equal(ipc_receive(t.keys_fd, &in, NULL), 0);
        assert_int_equal(in.ask.want, IKE_WANT_STAY);
        struct ike_answer answer = {
            .ticket = in.ask.ticket, .result = result, .ip4 = in.ask.wanted_ip4};
        snprintf(answer.peer_name, sizeof(answer.peer_name), "alice");
        pump_answer(&t.pump, &answer);
        assert_false(judging());
        assert_int_equal(t.pump.judged.stayed, result == 0);
        assert_int_equal(t.pump.judged.ended, result != 0);
        assert_int_equal(t.pump.questions, 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(answer_waits_for_the_data_plane),
        TEST(but_not_for_ever),
        TEST(a_refused_child_is_ended),
        TEST(facts_that_came_meanwhile_are_kept),
        TEST(events_reach_the_monitor),
        TEST(without_neighbours),
        TEST(another_keys_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
