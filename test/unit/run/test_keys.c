/* The keys process, asked over its socket pair like the ike process asks: who is let in, with which
 * address, by which proof. Confined like the real one, so it needs root; says so and skips without.
 */
#include "run/internal.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static const char gateway_text[] = "[gateway]\n"
                                   "name = gw.example.com\n"
                                   "[network]\n"
                                   "pool = 10.9.0.0/29\n"
                                   "[client alice@example.com]\n"
                                   "psk = mimosa-vellum-71-okapi-quartz\n"
                                   "[client bob]\n"
                                   "identity = bob@example.com\n"
                                   "psk = orchid-marble-99-falcon-basalt\n"
                                   "networks = 10.44.0.0/16\n";
static const char alice_psk[] = "mimosa-vellum-71-okapi-quartz";
static const char bob_psk[] = "orchid-marble-99-falcon-basalt";

static struct keys_test {
    struct conf *conf;
    pid_t pid;
    int monitor_fd, ike_fd;
} keys;
static struct ipc_message out, in;

static int receive(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    if (poll(&wait, 1, 10000) <= 0)
        return ERR_TIMEOUT;
    return ipc_receive(fd, &in, NULL);
}

static int start(void **state)
{
    struct conf_faults faults = {.count = 0};
    int to_monitor[2], to_ike[2];
    (void)state;
    if (geteuid() != 0)
        return 0;
    struct bytes text = {(const uint8_t *)gateway_text, sizeof(gateway_text) - 1};
    if (conf_parse("gateway.conf", text, &keys.conf, &faults)) {
        print_error("%s\n", faults.at[0].what);
        return -1;
    }
    if (crypto_init() || ipc_pair(to_monitor) || ipc_pair(to_ike))
        return -1;
    struct keys_process_args args = {
        .conf = keys.conf, .monitor_fd = to_monitor[1], .ike_fd = to_ike[1], .former_fd = -1};
    int keep[] = {to_monitor[1], to_ike[1]};
    keys.pid = run_spawn(ROLE_KEYS, "test", keep, 2, keys_process, &args);
    keys.monitor_fd = to_monitor[0];
    keys.ike_fd = to_ike[0];
    close(to_monitor[1]);
    close(to_ike[1]);
    if (receive(keys.monitor_fd) || in.kind != IPC_READY) {
        print_error("%s\n", in.kind == IPC_FAULT ? in.fault.text : "not ready");
        return -1;
    }
    return 0;
}

static int stop(void **state)
{
    int status;
    (void)state;
    if (!keys.pid)
        return 0;
    ipc_prepare(&out, IPC_STOP, 0);
    if (ipc_send(keys.monitor_fd, &out, -1))
        return -1;
    if (waitpid(keys.pid, &status, 0) != keys.pid)
        return -1;
    conf_free(keys.conf);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool skipped(void)
{
    if (keys.pid)
        return false;
    printf("skip: the keys process needs root to confine itself\n");
    return true;
}

/* A question of the responder for a peer who proves himself by PSK. */
static void question(const char *who, const char *psk, uint64_t tunnel)
{
    static const uint8_t theirs[] = "message of the initiator, nonce, MAC of its ID";
    static const uint8_t ours[] = "message of the responder, nonce, MAC of its ID";
    const struct prf_alg *alg = suite_prf(5); /* PRF_HMAC_SHA2_256 */
    ipc_prepare(&out, IPC_ASK, 0);
    struct ike_ask *ask = &out.ask;
    ask->ticket = tunnel * 7;
    ask->tunnel = tunnel;
    ask->want = IKE_WANT_VERIFY_PSK | IKE_WANT_ADMIT | IKE_WANT_SIGN;
    ask->prf = alg->id;
    ask->method = 2;
    ask->peer_by = CONF_AUTH_PSK;
    ask->ask_ip4 = true;
    assert_true(identity_parse(who, &ask->peer));
    assert_true(identity_parse("gw.example.com", &ask->own));
    memcpy(ask->octets, ours, sizeof(ours));
    memcpy(ask->octets + sizeof(ours), theirs, sizeof(theirs));
    ask->peer_len = sizeof(theirs);
    ask->own_len = sizeof(ours);
    ask->peer_auth_len = alg->len;
    assert_int_equal(auth_psk(alg, (struct bytes){(const uint8_t *)psk, strlen(psk)},
                              (struct bytes){theirs, sizeof(theirs)}, ask->peer_auth),
                     0);
}

static const struct ike_answer *answer(void)
{
    uint64_t ticket = out.ask.ticket;
    assert_int_equal(ipc_send(keys.ike_fd, &out, -1), 0);
    assert_int_equal(receive(keys.ike_fd), 0);
    assert_int_equal(in.kind, IPC_ANSWER);
    assert_int_equal(in.answer.ticket, ticket);
    return &in.answer;
}

static void right_secret(void **state)
{
    char text[ADDR_TEXT];
    uint8_t mac[SECRET_MAX];
    (void)state;
    if (skipped())
        skip();
    question("alice@example.com", alice_psk, 1);
    const struct ike_answer *a = answer();
    assert_int_equal(a->result, 0);
    assert_string_equal(a->peer_name, "alice@example.com");
    assert_string_equal(ip_print(&a->ip4, text), "10.9.0.2");
    assert_int_equal(a->ip6.family, 0);
    assert_int_equal(a->network_count, 0);
    /* And our own proof is by the same secret. */
    assert_int_equal(a->auth_len, 32);
    assert_int_equal(auth_psk(suite_prf(5),
                              (struct bytes){(const uint8_t *)alice_psk, strlen(alice_psk)},
                              ike_ask_own(&out.ask), mac),
                     0);
    assert_memory_equal(mac, a->auth, 32);
}

static void wrong_secret(void **state)
{
    static const struct {
        const char *who, *psk;
        int result;
    } cases[] = {
        {"alice@example.com", bob_psk, ERR_AUTH},
        {"bob@example.com", alice_psk, ERR_AUTH},
        {"mallory@example.com", alice_psk, ERR_UNKNOWN_PEER},
        {"alice@example.co", alice_psk, ERR_UNKNOWN_PEER},
        {"alice@example.com", "", ERR_AUTH},
    };
    (void)state;
    if (skipped())
        skip();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        question(cases[i].who, cases[i].psk, 100 + i);
        const struct ike_answer *a = answer();
        assert_int_equal(a->result, cases[i].result);
        assert_int_equal(a->ip4.family, 0); /* nothing was leased */
        assert_int_equal(a->auth_len, 0);   /* and nothing signed */
    }
}

/* The MAC must have the length of the PRF: a short one that agrees is refused. */
static void short_proof(void **state)
{
    (void)state;
    if (skipped())
        skip();
    for (uint16_t len = 0; len < 32; len++) {
        question("alice@example.com", alice_psk, 200);
        out.ask.peer_auth_len = len;
        assert_int_equal(answer()->result, ERR_AUTH);
    }
    question("alice@example.com", alice_psk, 200);
    out.ask.peer_auth_len = 60000;
    assert_int_equal(answer()->result, ERR_AUTH);
}

/* A message that is not what it says is dropped; the next one is answered. */
static void lengths_that_lie(void **state)
{
    (void)state;
    if (skipped())
        skip();
    question("alice@example.com", alice_psk, 201);
    size_t len = ipc_length(&out);
    out.ask.peer_len = UINT16_MAX;
    assert_int_equal(send(keys.ike_fd, &out, len, 0), len);
    question("alice@example.com", alice_psk, 201);
    out.ask.prf = 999;
    assert_int_equal(answer()->result, ERR_ARGUMENT);
}

/* A certificate alone does not let anybody in who is not named here. */
static void certificate_of_a_stranger(void **state)
{
    (void)state;
    if (skipped())
        skip();
    question("carol@example.com", alice_psk, 300);
    out.ask.want = IKE_WANT_ADMIT;
    out.ask.peer_by = CONF_AUTH_CERT;
    assert_int_equal(answer()->result, ERR_UNKNOWN_PEER);
    question("alice@example.com", alice_psk, 301);
    out.ask.want = IKE_WANT_SIGN;
    out.ask.method = 14;
    out.ask.scheme = SIGN_ED25519;
    assert_int_equal(answer()->result, ERR_AUTH); /* we have no key of that kind */
}

static void site_and_full_pool(void **state)
{
    char text[ADDR_TEXT];
    uint64_t tunnel = 400;
    (void)state;
    if (skipped())
        skip();
    question("bob@example.com", bob_psk, tunnel++);
    const struct ike_answer *a = answer();
    assert_int_equal(a->result, 0);
    assert_string_equal(a->peer_name, "bob");
    assert_int_equal(a->network_count, 1);
    assert_string_equal(ip_print(&a->networks[0].low, text), "10.44.0.0");
    assert_string_equal(ip_print(&a->ip4, text), "10.9.0.3");
    for (int i = 0; i < 3; i++) { /* 10.9.0.4 to .6 */
        question("bob@example.com", bob_psk, tunnel++);
        assert_int_equal(answer()->result, 0);
    }
    question("bob@example.com", bob_psk, tunnel++);
    a = answer();
    assert_int_equal(a->result, ERR_ADDRESS);
    assert_int_not_equal(a->auth_len, 0); /* bob is told by an answer that is proven */
    ipc_prepare(&out, IPC_RELEASE, 0);
    out.release.tunnel = 402;
    assert_int_equal(ipc_send(keys.ike_fd, &out, -1), 0);
    question("bob@example.com", bob_psk, tunnel++);
    a = answer();
    assert_int_equal(a->result, 0);
    assert_string_equal(ip_print(&a->ip4, text), "10.9.0.5");
}

/* A new ike process knows of no tunnel: all leases are free, and remembered. */
static void new_neighbour(void **state)
{
    char text[ADDR_TEXT];
    int pair[2];
    (void)state;
    if (skipped())
        skip();
    assert_int_equal(ipc_pair(pair), 0);
    ipc_prepare(&out, IPC_PEER, 0);
    out.peer.role = ROLE_IKE;
    assert_int_equal(ipc_send(keys.monitor_fd, &out, pair[1]), 0);
    close(pair[1]);
    close(keys.ike_fd);
    keys.ike_fd = pair[0];
    question("alice@example.com", alice_psk, 900);
    const struct ike_answer *a = answer();
    assert_int_equal(a->result, 0);
    assert_string_equal(ip_print(&a->ip4, text), "10.9.0.2");
}

/* What is no message, or one that is not for keys, does no harm. */
static void nonsense(void **state)
{
    static const uint8_t octets[3] = {1, 2, 3};
    (void)state;
    if (skipped())
        skip();
    assert_int_equal(write(keys.ike_fd, octets, sizeof(octets)), sizeof(octets));
    for (uint32_t kind = IPC_NONE + 1; kind < IPC_KINDS; kind++) {
        if (kind == IPC_ASK || kind == IPC_STOP)
            continue;
        ipc_prepare(&out, kind, 0);
        assert_int_equal(ipc_send(keys.ike_fd, &out, -1), 0);
    }
    question("alice@example.com", alice_psk, 900);
    assert_int_equal(answer()->result, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_secret),
        cmocka_unit_test(wrong_secret),
        cmocka_unit_test(short_proof),
        cmocka_unit_test(lengths_that_lie),
        cmocka_unit_test(certificate_of_a_stranger),
        cmocka_unit_test(site_and_full_pool),
        cmocka_unit_test(new_neighbour),
        cmocka_unit_test(nonsense),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
