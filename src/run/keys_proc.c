/* The keys process: the only one that holds long-term secrets. It answers the ike process: is this
 * shared-key proof right, may this identity in and with which addresses, sign this. */
#include "run/keys.h"
#include "run/outbox.h"
#include "run/sandbox.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct keys {
    struct keyring ring;
    const struct conf *conf;
    struct lease_book *leases;
    int monitor_fd, ike_fd;
    /* While the configuration is read anew there are two of us. The new one answers ike when it has
     * taken over what the former one knows; the former one hands on when ike has asked its last. */
    int former_fd, heir_fd;
    bool last, failed;
    struct handover former;
    struct ipc_message in, out;
    struct outbox answers; /* of one batch of questions: ike is woken once for all */
};

/* prf(prf(PSK, "Key Pad for IKEv2"), octets). An unknown peer costs the same work as a known one.
 */
static int psk_mac(const struct keys *keys, const struct ring_peer *peer, uint16_t prf_id,
                   struct bytes octets, uint8_t out[static SECRET_MAX], uint16_t *out_len)
{
    static const uint8_t nobody[32] = {1};
    const struct prf_alg *alg = suite_prf(prf_id);
    struct bytes psk = ring_psk(&keys->ring, peer);
    if (!alg)
        return ERR_ARGUMENT;
    if (psk.len == 0)
        psk = (struct bytes){nobody, sizeof(nobody)};
    *out_len = alg->len;
    return auth_psk(alg, psk, octets, out);
}

static int verify_psk(const struct keys *keys, const struct ring_peer *peer,
                      const struct ike_ask *ask)
{
    uint8_t mac[SECRET_MAX];
    uint16_t len = 0;
    int result = psk_mac(keys, peer, ask->prf, ike_ask_peer(ask), mac, &len);
    if (result == 0 && (len != ask->peer_auth_len || len > sizeof(ask->peer_auth) ||
                        !secret_equal(mac, ask->peer_auth, len)))
        result = ERR_AUTH;
    secret_wipe(mac, sizeof(mac));
    /* Said after the work, so that the time it takes does not tell who is known. */
    if (ring_psk(&keys->ring, peer).len == 0)
        return peer ? ERR_AUTH : ERR_UNKNOWN_PEER;
    return result;
}

static bool has_pool(const struct conf *conf, uint8_t family)
{
    for (size_t i = 0; i < conf->pool_count; i++)
        if (conf->pools[i].ip.family == family)
            return true;
    return false;
}

static int lease(struct keys *keys, const struct conf_peer *peer, const struct ike_ask *ask,
                 uint8_t family, struct ip *out)
{
    const struct ip *fixed = peer ? (family == 6 ? &peer->ip6 : &peer->ip4) : NULL;
    const struct ip *wanted = family == 6 ? &ask->wanted_ip6 : &ask->wanted_ip4;
    if (!has_pool(keys->conf, family) && !(fixed && fixed->family))
        return 0; /* not a family we hand out: the client gets along with the other */
    return lease_take(keys->leases, family, &ask->peer, ask->tunnel, fixed, wanted, run_now(), out);
}

/* Its name, and the networks it may claim. */
static void describe(const struct conf_peer *peer, const struct identity *id,
                     struct ike_answer *answer)
{
    char text[IDENTITY_TEXT];
    snprintf(answer->peer_name, sizeof(answer->peer_name), "%.*s", CONF_NAME_MAX - 1,
             peer ? peer->name : identity_print(id, text));
    if (peer && peer->network_count <= ARRAY_LEN(answer->networks)) {
        answer->network_count = peer->network_count;
        memcpy(answer->networks, peer->networks, sizeof(answer->networks));
    }
}

static int admit(struct keys *keys, const struct ring_peer *known, const struct ike_ask *ask,
                 struct ike_answer *answer)
{
    const struct conf_peer *peer = ring_conf(&keys->ring, known);
    if (!peer && !(ask->peer_by == CONF_AUTH_CERT && keys->conf->any_cert))
        return ERR_UNKNOWN_PEER;
    describe(peer, &ask->peer, answer);
    if (ask->replaces)
        lease_hand_over(keys->leases, &ask->peer, ask->tunnel);
    lease_move(keys->leases, &ask->peer, ask->renews, ask->tunnel);
    int result4 = ask->ask_ip4 ? lease(keys, peer, ask, 4, &answer->ip4) : 0;
    int result6 = ask->ask_ip6 ? lease(keys, peer, ask, 6, &answer->ip6) : 0;
    /* One of the two kinds is enough (RFC 7296 3.15.4). */
    if (answer->ip4.family || answer->ip6.family)
        return 0;
    return result4 ? result4 : result6;
}

static int make_auth(const struct keys *keys, const struct ring_peer *peer,
                     const struct ike_ask *ask, struct ike_answer *answer)
{
    size_t len = 0;
    if (ask->method == AUTH_SHARED_KEY) {
        if (ring_psk(&keys->ring, peer).len == 0)
            return peer ? ERR_AUTH : ERR_UNKNOWN_PEER;
        return psk_mac(keys, peer, ask->prf, ike_ask_own(ask), answer->auth, &answer->auth_len);
    }
    if (!keys->ring.credentials.key)
        return ERR_AUTH;
    int result =
        sign(keys->ring.credentials.key, ask->scheme, ike_ask_own(ask), answer->auth, &len);
    answer->auth_len = (uint16_t)len;
    return result;
}

/* An address that was leased before holds on when it is the fixed one, or still one of the pools'
 * and nobody else's. */
static bool keeps_address(const struct keys *keys, const struct conf_peer *peer, uint64_t tunnel,
                          const struct ip *has)
{
    const struct ip *fixed = peer ? (has->family == 6 ? &peer->ip6 : &peer->ip4) : NULL;
    if (has->family == 0)
        return true;
    if (fixed && fixed->family)
        return ip_equal(fixed, has);
    return lease_holds(keys->leases, tunnel, has) && !lease_is_reserved(keys->leases, has);
}

/* What admit() and verify_psk() would say today of one who was let in before. */
static int stay(const struct keys *keys, const struct ring_peer *known, const struct ike_ask *ask,
                struct ike_answer *answer)
{
    const struct conf_peer *peer = ring_conf(&keys->ring, known);
    bool by_psk = ask->peer_by & CONF_AUTH_PSK;
    if (!keys->conf->gateway)
        return 0; /* its gateway is asked anew by the next handshake */
    if (!peer && (by_psk || !keys->conf->any_cert))
        return ERR_UNKNOWN_PEER;
    if (!(keys->conf->tunnel.remote_auth & ask->peer_by))
        return ERR_AUTH;
    if (by_psk && (ring_psk(&keys->ring, known).len == 0 ||
                   !handover_same_secret(&keys->former, &keys->ring, &ask->peer)))
        return ERR_AUTH;
    if (!keeps_address(keys, peer, ask->tunnel, &ask->wanted_ip4) ||
        !keeps_address(keys, peer, ask->tunnel, &ask->wanted_ip6))
        return ERR_ADDRESS;
    describe(peer, &ask->peer, answer);
    answer->ip4 = ask->wanted_ip4;
    answer->ip6 = ask->wanted_ip6;
    return 0;
}

static void answer_ask(struct keys *keys, const struct ike_ask *ask, struct ike_answer *answer)
{
    const struct ring_peer *peer = ring_find(&keys->ring, &ask->peer);
    int result = 0;
    answer->ticket = ask->ticket;
    if (ask->want & IKE_WANT_STAY) {
        answer->result = stay(keys, peer, ask, answer);
        return;
    }
    if (ask->want & IKE_WANT_VERIFY_PSK)
        result = verify_psk(keys, peer, ask);
    /* Before anything is leased, and before the leases of another tunnel change hands: what fails
     * here must leave all as it was. */
    if (result == 0 && (ask->want & IKE_WANT_SIGN))
        result = make_auth(keys, peer, ask, answer);
    if (result == 0 && (ask->want & IKE_WANT_ADMIT)) {
        result = admit(keys, peer, ask, answer);
        if (result) /* the former tunnel lives on */
            lease_move(keys->leases, &ask->peer, ask->tunnel, ask->renews);
        if (result)
            lease_release(keys->leases, ask->tunnel, run_now());
    }
    /* A signature for one who is not let in is nobody's business; one for whom there is no address
     * is told so by an answer that is proven. */
    if (result && result != ERR_ADDRESS) {
        secret_wipe(answer->auth, sizeof(answer->auth));
        answer->auth_len = 0;
    }
    answer->result = result;
}

/* A tunnel that was to take another one's place and did not gives back what it got from it. */
static void release(struct keys *keys, const struct ipc_release *what)
{
    lease_move(keys->leases, &what->peer, what->tunnel, what->heir);
    lease_release(keys->leases, what->tunnel, run_now());
}

/* Answers are short and few (RUN_QUESTIONS): there is always room. */
static void serve_ike(struct keys *keys)
{
    int result;
    while ((result = ipc_receive(keys->ike_fd, &keys->in, NULL)) == 0) {
        if (keys->in.kind == IPC_RELEASE)
            release(keys, &keys->in.release);
        if (keys->in.kind == IPC_LAST)
            keys->last = true;
        if (keys->in.kind == IPC_ASK) {
            ipc_prepare(&keys->out, IPC_ANSWER, 0);
            answer_ask(keys, &keys->in.ask, &keys->out.answer);
            if (outbox_put(&keys->answers, &keys->out))
                log_debug("no memory for an answer");
            ipc_wipe(&keys->out);
            ipc_wipe(&keys->in);
        }
    }
    if (outbox_waits(&keys->answers) && outbox_flush_wait(&keys->answers, keys->ike_fd, 1000)) {
        log_debug("answers found no taker");
        outbox_clear(&keys->answers);
    }
    if (result == ERR_CLOSED) {
        close(keys->ike_fd);
        keys->ike_fd = -1; /* the monitor will hand us the next one */
    }
}

/* False when it is time to end. */
static bool serve_monitor(struct keys *keys)
{
    int attached, result;
    while ((result = ipc_receive(keys->monitor_fd, &keys->in, &attached)) == 0) {
        if (keys->in.kind == IPC_STOP)
            return false;
        if (keys->in.kind == IPC_HAND_OVER && attached >= 0 && keys->heir_fd < 0) {
            keys->heir_fd = attached;
        } else if (keys->in.kind == IPC_PEER && attached >= 0) {
            if (keys->ike_fd >= 0)
                close(keys->ike_fd);
            keys->ike_fd = attached;
            /* A new ike process knows none of the tunnels that held these. */
            lease_release_all(keys->leases, run_now());
        } else if (attached >= 0) {
            close(attached);
        }
    }
    return result == ERR_AGAIN || result == ERR_SYNTAX;
}

/* False when the former process ended before it had said all. */
static bool take_over(struct keys *keys)
{
    int result;
    while ((result = ipc_receive(keys->former_fd, &keys->in, NULL)) == 0) {
        result = handover_take(&keys->former, &keys->in, &keys->ring, keys->leases);
        ipc_wipe(&keys->in);
        if (result)
            break;
    }
    if (result == ERR_AGAIN)
        return true;
    close(keys->former_fd);
    keys->former_fd = -1;
    if (result != 1) {
        log_error("the former keys process did not hand over: %s", err_sentence(result));
        return false;
    }
    ipc_prepare(&keys->out, IPC_TAKEN_OVER, 0);
    keys->out.taken_over = keys->former.sum;
    return ipc_send(keys->monitor_fd, &keys->out, -1) == 0;
}

/* False when it is time to end. */
static bool serve_round(struct keys *keys)
{
    bool waits = keys->former_fd >= 0; /* for the former one: ike's questions wait with us */
    struct pollfd fds[] = {{.fd = keys->monitor_fd, .events = POLLIN},
                           {.fd = waits ? -1 : keys->ike_fd, .events = POLLIN},
                           {.fd = keys->former_fd, .events = POLLIN}};
    if (poll(fds, ARRAY_LEN(fds), -1) < 0)
        return true;
    if (fds[2].revents && !take_over(keys)) {
        keys->failed = true;
        return false;
    }
    if (fds[1].revents)
        serve_ike(keys);
    if (fds[0].revents && !serve_monitor(keys))
        return false;
    return keys->heir_fd < 0 || !keys->last;
}

/* Ends in good order, and with what it knows in other hands where there is a successor. */
static int serve(struct keys *keys)
{
    while (serve_round(keys))
        continue;
    if (keys->failed)
        return RUN_EXIT_FAILED;
    if (keys->heir_fd < 0 || !keys->last)
        return RUN_EXIT_OK;
    int result = handover_send(keys->heir_fd, &keys->ring, keys->leases);
    if (result)
        log_error("what this process knows did not reach its successor: %s", err_sentence(result));
    return result ? RUN_EXIT_FAILED : RUN_EXIT_OK;
}

static int open_book(struct keys *keys)
{
    size_t limit = (size_t)keys->conf->tunnel.max_tunnels * 4 + 1024;
    keys->leases =
        lease_book_create(keys->conf->pools, keys->conf->pool_count, limit, &random_system);
    if (!keys->leases)
        return ERR_MEMORY;
    for (size_t i = 0; i < keys->conf->peer_count; i++) {
        const struct conf_peer *peer = &keys->conf->peers[i];
        if (peer->ip4.family && lease_reserve(keys->leases, &peer->ip4))
            return ERR_LIMIT;
        if (peer->ip6.family && lease_reserve(keys->leases, &peer->ip6))
            return ERR_LIMIT;
    }
    return 0;
}

/* A restarted keys process: the monitor has wiped what it had. */
static int read_again(const struct conf **conf, struct conf_faults *faults)
{
    struct conf *fresh;
    int result = conf_load((*conf)->file, &fresh, faults);
    if (result == 0)
        *conf = fresh;
    return result;
}

int keys_process(void *context)
{
    static struct keys keys;
    const struct keys_process_args *args = context;
    struct conf_faults faults = {.count = 0};
    char why[256];
    const struct conf *conf = args->conf;
    keys.monitor_fd = args->monitor_fd;
    keys.ike_fd = args->ike_fd;
    keys.former_fd = args->former_fd;
    keys.heir_fd = -1;
    log_set_level((enum log_level)args->conf->log_level); /* an heir's may be another */
    if (crypto_init())
        return run_fault(args->monitor_fd, RUN_EXIT_FAILED,
                         "the crypto library failed its self-test: reinstall libssl3");
    if ((args->read_again && read_again(&conf, &faults)) || ring_load(&keys.ring, conf, &faults)) {
        conf_fault_print(&faults.at[0], why, sizeof(why));
        return run_fault(args->monitor_fd, RUN_EXIT_CONFIG, "%s", why);
    }
    keys.conf = conf;
    if (open_book(&keys))
        return run_fault(args->monitor_fd, RUN_EXIT_CONFIG,
                         "the pools and fixed addresses do not fit into memory: make them smaller");
    if (sandbox_drop(ROLE_KEYS, args->conf->uid_base + ROLE_KEYS, 16, why) ||
        sandbox_filter(ROLE_KEYS, why))
        return run_fault(args->monitor_fd, RUN_EXIT_FAILED, "%s", why);
    ipc_prepare(&keys.out, IPC_READY, 0);
    if (ipc_send(args->monitor_fd, &keys.out, -1))
        return RUN_EXIT_FAILED;
    int status = serve(&keys);
    outbox_free(&keys.answers);
    handover_free(&keys.former);
    ring_free(&keys.ring);
    return status;
}
