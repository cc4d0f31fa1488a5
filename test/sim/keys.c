#include "sim.h"

void sim_psk(struct sim_host *host, const struct sim_host *peer, const char *psk)
{
    for (size_t i = 0; i < SIM_PSKS; i++) {
        if (host->psk[i])
            continue;
        host->psk[i] = psk;
        if (peer)
            host->psk_peer[i] = peer->conf.local_id;
        return;
    }
    fail_msg("too many shared keys");
}

static const char *find_psk(const struct sim_host *host, const struct identity *peer)
{
    for (size_t i = 0; i < SIM_PSKS && host->psk[i]; i++)
        if (host->psk_peer[i].type == IDENTITY_NONE || peer->type == IDENTITY_NONE ||
            identity_equal(&host->psk_peer[i], peer))
            return host->psk[i];
    return NULL;
}

static int psk_mac(const char *psk, uint16_t prf, struct bytes octets, uint8_t *out)
{
    struct bytes key = {(const uint8_t *)psk, strlen(psk)};
    return auth_psk(suite_prf(prf), key, octets, out);
}

static int verify_psk(const struct sim_host *host, const struct ike_ask *ask)
{
    uint8_t mac[64];
    const char *psk = find_psk(host, &ask->peer);
    const struct prf_alg *alg = suite_prf(ask->prf);
    assert_non_null(alg);
    if (!psk)
        return ERR_UNKNOWN_PEER;
    assert_int_equal(psk_mac(psk, ask->prf, ike_ask_peer(ask), mac), 0);
    bool same = ask->peer_auth_len == alg->len && memcmp(mac, ask->peer_auth, alg->len) == 0;
    return same ? 0 : ERR_AUTH;
}

static bool is_away(const struct sim_host *host, const struct identity *peer)
{
    return host->away.type != IDENTITY_NONE && identity_equal(&host->away, peer);
}

/* As the keys process does it: with the real book of leases. */
static int admit_by_book(struct sim_host *host, const struct ike_ask *ask,
                         struct ike_answer *answer)
{
    int result = 0;
    if (ask->replaces)
        lease_hand_over(host->book, &ask->peer, ask->tunnel);
    lease_move(host->book, &ask->peer, ask->renews, ask->tunnel);
    if (ask->ask_ip4)
        result = lease_take(host->book, 4, &ask->peer, ask->tunnel, NULL, &ask->wanted_ip4,
                            host->sim->now, &answer->ip4);
    if (result == 0 && ask->ask_ip6)
        result = lease_take(host->book, 6, &ask->peer, ask->tunnel, NULL, &ask->wanted_ip6,
                            host->sim->now, &answer->ip6);
    if (host->networks_of)
        answer->network_count = host->networks_of(host, &ask->peer, answer->networks);
    return result;
}

static int admit(struct sim_host *host, const struct ike_ask *ask, struct ike_answer *answer)
{
    uint8_t ip4[4] = {10, 99, 0, 0}, ip6[16] = {0xfd, 0, 0, 0x99};
    if (host->admit)
        return host->admit;
    if (is_away(host, &ask->peer))
        return ERR_UNKNOWN_PEER;
    for (unsigned i = 0; i < host->leases; i++)
        if (host->leased[i] == ask->tunnel) /* asked again, after a reload */
            host->leased[i--] = host->leased[--host->leases];
    assert_true(host->leases < SIM_LEASES);
    host->leased[host->leases++] = ask->tunnel;
    if (host->book)
        return admit_by_book(host, ask, answer);
    host->next_lease++;
    ip4[2] = ip6[14] = (uint8_t)(host->next_lease >> 8);
    ip4[3] = ip6[15] = (uint8_t)host->next_lease;
    if (ask->ask_ip4)
        answer->ip4 = ip_from_octets(4, ip4);
    if (ask->ask_ip6)
        answer->ip6 = ip_from_octets(6, ip6);
    char text[IDENTITY_TEXT];
    snprintf(answer->peer_name, sizeof(answer->peer_name), "%.40s",
             identity_print(&ask->peer, text));
    if (host->networks_of)
        answer->network_count = host->networks_of(host, &ask->peer, answer->networks);
    return 0;
}

/* All that this tunnel holds; a tunnel that was never let in holds none. */
static void release(struct sim_host *host, uint64_t tunnel)
{
    for (unsigned i = host->leases; i > 0; i--)
        if (host->leased[i - 1] == tunnel)
            host->leased[i - 1] = host->leased[--host->leases];
    if (host->book)
        lease_release(host->book, tunnel, host->sim->now);
}

static int make_auth(const struct sim_host *host, const struct ike_ask *ask,
                     struct ike_answer *answer)
{
    size_t len = 0;
    struct bytes octets = ike_ask_own(ask);
    if (ask->method != AUTH_SHARED_KEY) {
        if (!host->key)
            return ERR_NOT_FOUND;
        int err = sign(host->key, (enum sign_scheme)ask->scheme, octets, answer->auth, &len);
        answer->auth_len = (uint16_t)len;
        return err;
    }
    const char *psk = find_psk(host, &ask->peer);
    if (!psk)
        return ERR_UNKNOWN_PEER;
    answer->auth_len = suite_prf(ask->prf)->len;
    return psk_mac(psk, ask->prf, octets, answer->auth);
}

static unsigned open_answers(const struct sim_host *host)
{
    unsigned count = 0;
    for (size_t i = 0; i < host->sim->heap_count; i++)
        count += host->sim->heap[i].kind == SIM_ANSWER && host->sim->heap[i].host == host;
    return count;
}

/* May it stay? Only who holds a lease, or needs none, is asked about. */
static int stay(struct sim_host *host, const struct ike_ask *ask, struct ike_answer *answer)
{
    bool let_in = !ask->ask_ip4 && !ask->ask_ip6;
    for (unsigned i = 0; i < host->leases; i++)
        let_in |= host->leased[i] == ask->tunnel;
    SIM_CHECK(host->sim, let_in, "%s asks about tunnel %llu, which is not let in", host->name,
              (unsigned long long)ask->tunnel);
    host->stays++;
    unsigned open = open_answers(host) + 1;
    host->stays_most = open > host->stays_most ? open : host->stays_most;
    if (is_away(host, &ask->peer) || (ask->peer_by == CONF_AUTH_PSK && !find_psk(host, &ask->peer)))
        return ERR_UNKNOWN_PEER;
    answer->ip4 = host->fixed4.family ? host->fixed4 : ask->wanted_ip4;
    answer->ip6 = ask->wanted_ip6;
    if (host->networks_of)
        answer->network_count = host->networks_of(host, &ask->peer, answer->networks);
    return 0;
}

void sim_keys_ask(struct sim_host *host, const struct ike_ask *ask)
{
    if (ask->want & IKE_WANT_RELEASE) {
        if (host->book)
            lease_move(host->book, &ask->peer, ask->tunnel, ask->renews);
        release(host, ask->tunnel);
        return;
    }
    if (!host->last_ask)
        host->last_ask = malloc(sizeof(*ask));
    assert_non_null(host->last_ask);
    *host->last_ask = *ask;
    if (host->keys_silent)
        return;
    struct ike_answer *answer = calloc(1, sizeof(*answer));
    assert_non_null(answer);
    answer->ticket = ask->ticket;
    if (ask->want & IKE_WANT_VERIFY_PSK)
        answer->result = verify_psk(host, ask);
    if (answer->result == 0 && (ask->want & IKE_WANT_SIGN))
        answer->result = make_auth(host, ask, answer);
    bool admits = answer->result == 0 && (ask->want & IKE_WANT_ADMIT);
    if (admits)
        answer->result = admit(host, ask, answer);
    if (ask->want & IKE_WANT_STAY)
        answer->result = stay(host, ask, answer);
    if (answer->result != 0 && admits && host->book)
        lease_move(host->book, &ask->peer, ask->tunnel, ask->renews);
    if (answer->result != 0 && admits)
        release(host, ask->tunnel);
    if (answer->result != 0 && answer->result != ERR_ADDRESS)
        answer->auth_len = 0;
    time_us delay = 50 + sim_below(&host->sim->network_state, 2000);
    sim_schedule(host->sim, host->sim->now + delay, SIM_ANSWER, host, answer);
}
