/* Two keys processes, of which the second takes the first one's place with another configuration:
 * leases go on, and who is asked about stays or not. Confined like the real ones, so it needs root.
 */
#include "run/keys.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static const char before_text[] = "[gateway]\n"
                                  "name = gw.example.com\n"
                                  "[network]\n"
                                  "pool = 10.9.0.0/24\n"
                                  "[client alice@example.com]\n"
                                  "psk = mimosa-vellum-71-okapi-quartz\n"
                                  "[client bob@example.com]\n"
                                  "psk = orchid-marble-99-falcon-basalt\n"
                                  "[client carol@example.com]\n"
                                  "psk = thistle-copper-12-heron-gravel\n"
                                  "[client dave@example.com]\n"
                                  "psk = juniper-velvet-45-otter-flint\n"
                                  "networks = 10.44.0.0/16\n"
                                  "[client erin@example.com]\n"
                                  "psk = saffron-willow-83-badger-slate\n"
                                  "address = 10.9.0.200\n";
/* Alice as she was; Bob's secret is another; Carol is gone; Dave has other networks; Erin and Alice
 * as before, but Erin's address is another; Frank is new, and has Dave's address. */
static const char after_text[] = "[gateway]\n"
                                 "name = gw.example.com\n"
                                 "[network]\n"
                                 "pool = 10.9.0.0/24\n"
                                 "[client alice@example.com]\n"
                                 "psk = mimosa-vellum-71-okapi-quartz\n"
                                 "[client bob@example.com]\n"
                                 "psk = another-marble-99-falcon-basalt\n"
                                 "[client dave@example.com]\n"
                                 "psk = juniper-velvet-45-otter-flint\n"
                                 "networks = 10.45.0.0/16\n"
                                 "[client erin@example.com]\n"
                                 "psk = saffron-willow-83-badger-slate\n"
                                 "address = 10.9.0.201\n";

struct process {
    struct conf *conf;
    pid_t pid;
    int monitor_fd, ike_fd;
};
static struct ipc_message out, in;

static int receive(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    if (poll(&wait, 1, 10000) <= 0)
        return ERR_TIMEOUT;
    return ipc_receive(fd, &in, NULL);
}

static struct process begin(const char *text, int former_fd)
{
    static struct conf_faults faults;
    struct process p;
    int to_monitor[2], to_ike[2];
    memset(&faults, 0, sizeof(faults));
    assert_int_equal(conf_parse("gateway.conf", (struct bytes){(const uint8_t *)text, strlen(text)},
                                &p.conf, &faults),
                     0);
    assert_int_equal(ipc_pair(to_monitor), 0);
    assert_int_equal(ipc_pair(to_ike), 0);
    struct keys_process_args args = {
        .conf = p.conf, .monitor_fd = to_monitor[1], .ike_fd = to_ike[1], .former_fd = former_fd};
    int keep[] = {to_monitor[1], to_ike[1], former_fd};
    p.pid = run_spawn(ROLE_KEYS, "test", keep, former_fd < 0 ? 2 : 3, keys_process, &args);
    p.monitor_fd = to_monitor[0];
    p.ike_fd = to_ike[0];
    close(to_monitor[1]);
    close(to_ike[1]);
    assert_int_equal(receive(p.monitor_fd), 0);
    assert_int_equal(in.kind, IPC_READY);
    return p;
}

static int status_of(struct process *p)
{
    int status = -1;
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    close(p->monitor_fd);
    close(p->ike_fd);
    conf_free(p->conf);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void end(struct process *p)
{
    ipc_prepare(&out, IPC_STOP, 0);
    assert_int_equal(ipc_send(p->monitor_fd, &out, -1), 0);
    assert_int_equal(status_of(p), 0);
}

static const struct ike_answer *ask(const struct process *p, uint32_t want, const char *who,
                                    uint64_t tunnel, const char *address)
{
    ipc_prepare(&out, IPC_ASK, 0);
    struct ike_ask *ask = &out.ask;
    ask->ticket = tunnel * 3;
    ask->tunnel = tunnel;
    ask->want = want;
    ask->peer_by = CONF_AUTH_PSK;
    ask->ask_ip4 = true;
    assert_true(identity_parse(who, &ask->peer));
    if (address)
        assert_true(ip_parse(address, &ask->wanted_ip4));
    assert_int_equal(ipc_send(p->ike_fd, &out, -1), 0);
    assert_int_equal(receive(p->ike_fd), 0);
    assert_int_equal(in.kind, IPC_ANSWER);
    assert_int_equal(in.answer.ticket, tunnel * 3);
    return &in.answer;
}

static void admit(const struct process *p, const char *who, uint64_t tunnel, const char *address)
{
    char text[ADDR_TEXT];
    const struct ike_answer *a = ask(p, IKE_WANT_ADMIT, who, tunnel, NULL);
    assert_int_equal(a->result, 0);
    assert_string_equal(ip_print(&a->ip4, text), address);
}

static int stays(const struct process *p, const char *who, uint64_t tunnel, const char *address)
{
    const struct ike_answer *a = ask(p, IKE_WANT_STAY, who, tunnel, address);
    if (a->result == 0)
        assert_true(ip_equal(&a->ip4, &out.ask.wanted_ip4));
    return a->result;
}

/* The first one is asked its last question; the other one begins to serve. */
static void change_over(struct process *old, struct process *heir, const int pair[static 2])
{
    ipc_prepare(&out, IPC_HAND_OVER, 0);
    assert_int_equal(ipc_send(old->monitor_fd, &out, pair[0]), 0);
    close(pair[0]);
    ipc_prepare(&out, IPC_LAST, 0);
    assert_int_equal(ipc_send(old->ike_fd, &out, -1), 0);
    assert_int_equal(receive(heir->monitor_fd), 0);
    assert_int_equal(in.kind, IPC_TAKEN_OVER);
    struct ipc_taken_over sum = in.taken_over;
    assert_int_equal(status_of(old), 0);
    in.taken_over = sum;
}

static void the_heir_knows_all(void **state)
{
    int pair[2];
    (void)state;
    struct process old = begin(before_text, -1);
    admit(&old, "alice@example.com", 1, "10.9.0.2");
    admit(&old, "bob@example.com", 2, "10.9.0.3");
    admit(&old, "carol@example.com", 3, "10.9.0.4");
    admit(&old, "dave@example.com", 4, "10.9.0.5");
    admit(&old, "erin@example.com", 5, "10.9.0.200");
    assert_int_equal(ipc_pair(pair), 0);
    struct process heir = begin(after_text, pair[1]);
    close(pair[1]);
    admit(&old, "alice@example.com", 6, "10.9.0.6"); /* the old one still serves */
    change_over(&old, &heir, pair);
    assert_int_equal(in.taken_over.held, 6);
    assert_int_equal(in.taken_over.left, 0);
    assert_int_equal(in.taken_over.secrets, 1);

    assert_int_equal(stays(&heir, "alice@example.com", 1, "10.9.0.2"), 0);
    assert_int_equal(stays(&heir, "ALICE@example.com", 6, "10.9.0.6"), 0);
    assert_int_equal(stays(&heir, "alice@example.com", 1, NULL), 0);
    assert_int_equal(stays(&heir, "alice@example.com", 1, "10.9.0.6"), ERR_ADDRESS);
    assert_int_equal(stays(&heir, "bob@example.com", 2, "10.9.0.3"), ERR_AUTH);
    assert_int_equal(stays(&heir, "carol@example.com", 3, "10.9.0.4"), ERR_UNKNOWN_PEER);
    assert_int_equal(stays(&heir, "erin@example.com", 5, "10.9.0.200"), ERR_ADDRESS);
    char text[ADDR_TEXT];
    const struct ike_answer *a = ask(&heir, IKE_WANT_STAY, "dave@example.com", 4, "10.9.0.5");
    assert_int_equal(a->result, 0);
    assert_int_equal(a->network_count, 1);
    assert_string_equal(ip_print(&a->networks[0].low, text), "10.45.0.0");
    assert_string_equal(a->peer_name, "dave@example.com");

    /* nobody's address is given to another */
    admit(&heir, "alice@example.com", 7, "10.9.0.7");
    admit(&heir, "erin@example.com", 8, "10.9.0.201");
    end(&heir);
}

/* Other pools: what was leased does not hold on, and each gets one of the new ones. */
static void another_pool(void **state)
{
    static const char text[] = "[gateway]\n"
                               "name = gw.example.com\n"
                               "[network]\n"
                               "pool = 10.10.0.0/24\n"
                               "[auth]\n"
                               "ban = never\n"
                               "[client alice@example.com]\n"
                               "psk = mimosa-vellum-71-okapi-quartz\n"
                               "[client erin@example.com]\n"
                               "psk = saffron-willow-83-badger-slate\n"
                               "address = 10.9.0.200\n";
    int pair[2];
    (void)state;
    struct process old = begin(before_text, -1);
    admit(&old, "alice@example.com", 1, "10.9.0.2");
    admit(&old, "erin@example.com", 5, "10.9.0.200");
    assert_int_equal(ipc_pair(pair), 0);
    struct process heir = begin(text, pair[1]);
    close(pair[1]);
    change_over(&old, &heir, pair);
    assert_int_equal(in.taken_over.held, 1);
    assert_int_equal(in.taken_over.left, 1);
    assert_int_equal(in.taken_over.secrets, 0);
    assert_int_equal(stays(&heir, "alice@example.com", 1, "10.9.0.2"), ERR_ADDRESS);
    assert_int_equal(stays(&heir, "erin@example.com", 5, "10.9.0.200"), 0);
    admit(&heir, "alice@example.com", 2, "10.10.0.2");
    end(&heir);
}

/* The old one dies before it has said all: the heir does not serve with half of it. */
static void half_a_handover(void **state)
{
    int pair[2];
    (void)state;
    struct process old = begin(before_text, -1);
    assert_int_equal(ipc_pair(pair), 0);
    struct process heir = begin(after_text, pair[1]);
    close(pair[1]);
    kill(old.pid, SIGKILL);
    assert_int_equal(status_of(&old), -1);
    ipc_prepare(&out, IPC_LEASE_KEY, 0);
    out.lease_key.word[0] = 7;
    assert_int_equal(ipc_send(pair[0], &out, -1), 0);
    close(pair[0]);
    assert_int_equal(receive(heir.monitor_fd), ERR_CLOSED);
    assert_int_not_equal(status_of(&heir), 0);
}

static int as_root(void **state)
{
    (void)state;
    return crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_heir_knows_all),
        cmocka_unit_test(another_pool),
        cmocka_unit_test(half_a_handover),
    };
    if (geteuid() != 0) {
        printf("skip: the keys process needs root to confine itself\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, as_root, NULL);
}
