/* Two engines in one process, a wire between them that loses nothing, a clock that jumps, and a
 * keys process of twenty lines. Messages can be held back, so that both sides' requests cross. */
#ifndef SHRIKE_TEST_IKE_PAIR_H
#define SHRIKE_TEST_IKE_PAIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ike/internal.h"

enum { WIRE_MAX = 64, EVENTS_MAX = 32, CHILDREN_MAX = 16 };

struct packet {
    int to;
    struct ike_path path; /* as the receiver sees it */
    size_t len;
    uint8_t octets[9216];
};

struct side {
    struct conf_tunnel conf;
    struct ike_engine *engine;
    struct ike_child children[CHILDREN_MAX]; /* what the data plane holds */
    size_t child_count;
    struct ike_event events[EVENTS_MAX];
    size_t event_count;
    int net_up, released;
    int stay, stays;      /* may a peer stay: 0 or an error; how often it was asked */
    struct ike_ask asked; /* the last of these questions */
    const char *psk;
    const struct private_key *key;
    struct cert *own;
    struct cert_trust *trust;
};

struct pair {
    struct side side[2]; /* 0 = client, 1 = gateway */
    struct packet wire[WIRE_MAX];
    size_t queued;
    time_us now;
    uint64_t tunnel;
};

static uint64_t pair_dice = 1;
static void pair_random(void *context, void *to, size_t len)
{
    (void)context;
    for (uint8_t *at = to; len > 0; len--) {
        pair_dice = pair_dice * 6364136223846793005u + 1442695040888963407u;
        *at++ = (uint8_t)(pair_dice >> 56);
    }
}
static const struct random pair_source = {.fill = pair_random};

static inline int64_t pair_wall(void *context)
{
    (void)context;
    return 1800000000;
}

static inline void pair_answer(struct side *s, time_us now, const struct ike_ask *ask)
{
    struct ike_answer answer = {.ticket = ask->ticket};
    const struct prf_alg *alg = suite_prf(ask->prf);
    struct bytes psk = {(const uint8_t *)s->psk, s->psk ? strlen(s->psk) : 0};
    uint8_t mac[64];
    size_t len = 0;
    if (ask->want & IKE_WANT_RELEASE) {
        s->released++;
        return;
    }
    if (ask->want & IKE_WANT_VERIFY_PSK) {
        assert_int_equal(auth_psk(alg, psk, ike_ask_peer(ask), mac), 0);
        if (ask->peer_auth_len != alg->len || memcmp(mac, ask->peer_auth, alg->len) != 0)
            answer.result = ERR_AUTH;
    }
    if (ask->want & IKE_WANT_ADMIT && ask->ask_ip4)
        assert_true(ip_parse("10.9.0.5", &answer.ip4));
    if (ask->want & IKE_WANT_STAY) {
        s->asked = *ask;
        s->stays++;
        answer.result = s->stay;
        answer.ip4 = ask->wanted_ip4;
    }
    struct bytes octets = ike_ask_own(ask);
    if (ask->want & IKE_WANT_SIGN && ask->method == AUTH_SHARED_KEY) {
        assert_int_equal(auth_psk(alg, psk, octets, answer.auth), 0);
        answer.auth_len = alg->len;
    } else if (ask->want & IKE_WANT_SIGN) {
        assert_int_equal(sign(s->key, (enum sign_scheme)ask->scheme, octets, answer.auth, &len), 0);
        answer.auth_len = (uint16_t)len;
    }
    ike_answer(s->engine, now, &answer);
}

static inline void pair_send(struct pair *p, int from, const struct ike_send *send)
{
    if (send->datagram.len == 1)
        return;
    assert_true(p->queued < WIRE_MAX && send->datagram.len <= sizeof(p->wire[0].octets));
    struct packet *k = &p->wire[p->queued++];
    k->to = !from;
    k->path = send->path;
    k->path.local = send->path.remote;
    k->path.remote = send->path.local;
    k->len = send->datagram.len;
    memcpy(k->octets, send->datagram.at, k->len);
}

static inline void pair_esp_del(struct side *s, uint32_t spi_in)
{
    for (size_t i = 0; i < s->child_count; i++)
        if (s->children[i].spi_in == spi_in) {
            s->children[i] = s->children[--s->child_count];
            return;
        }
    fail_msg("ESP_DEL for an SPI that was never added");
}

/* Takes all actions of one side; questions are answered at once. */
static inline void pair_drain(struct pair *p, int which)
{
    struct side *s = &p->side[which];
    struct ike_action a;
    struct ike_ask *ask = NULL;
    for (;;) {
        while (ike_next(s->engine, &a)) {
            switch (a.kind) {
            case IKE_SEND:
                pair_send(p, which, &a.send);
                break;
            case IKE_ESP_ADD:
                assert_true(s->child_count < CHILDREN_MAX);
                s->children[s->child_count++] = a.esp_add;
                break;
            case IKE_ESP_DEL:
                pair_esp_del(s, a.esp_del.spi_in);
                break;
            case IKE_EVENT:
                if (s->event_count < EVENTS_MAX)
                    s->events[s->event_count++] = a.event;
                break;
            case IKE_NET_UP:
                s->net_up++;
                break;
            case IKE_NET_DOWN:
                s->net_up--;
                break;
            case IKE_ASK:
                assert_null(ask);
                ask = malloc(sizeof(*ask));
                memcpy(ask, a.ask, sizeof(*ask));
                break;
            default:
                break;
            }
        }
        if (!ask)
            return;
        pair_answer(s, p->now, ask);
        free(ask);
        ask = NULL;
    }
}

/* Delivers what is on the wire now, not what that brings about. */
static inline void pair_round(struct pair *p)
{
    static struct packet now[WIRE_MAX];
    size_t count = p->queued;
    memcpy(now, p->wire, count * sizeof(now[0]));
    p->queued = 0;
    for (size_t i = 0; i < count; i++) {
        struct side *s = &p->side[now[i].to];
        ike_input(s->engine, p->now, &now[i].path, (struct bytes){now[i].octets, now[i].len});
        pair_drain(p, now[i].to);
    }
}

static inline void pair_settle(struct pair *p)
{
    for (int i = 0; i < 20 && p->queued > 0; i++) {
        p->now += TIME_MILLISECOND;
        pair_round(p);
    }
    assert_int_equal(p->queued, 0);
}

/* Lets time go by, with both engines woken when they want to be. */
static inline void pair_sleep(struct pair *p, time_us span)
{
    time_us end = p->now + span;
    for (int i = 0; i < 100000; i++) {
        pair_settle(p);
        time_us next = end;
        for (int w = 0; w < 2; w++)
            if (ike_deadline(p->side[w].engine) < next)
                next = ike_deadline(p->side[w].engine);
        p->now = next > p->now ? next : p->now;
        for (int w = 0; w < 2; w++) {
            ike_tick(p->side[w].engine, p->now);
            pair_drain(p, w);
        }
        if (p->now >= end && p->queued == 0)
            return;
    }
    fail_msg("the engines never sleep");
}

static inline void pair_command(struct pair *p, int which, uint32_t kind)
{
    struct ike_command c = {.kind = kind};
    size_t cursor = 0;
    const struct tunnel *t = map_next(&p->side[which].engine->tunnels, &cursor);
    assert_non_null(t);
    c.tunnel = t->id;
    assert_int_equal(ike_command(p->side[which].engine, p->now, &c, NULL), 0);
    pair_drain(p, which);
}

static inline struct proposal pair_proposal(uint8_t protocol, const char *text)
{
    struct proposal out;
    struct bytes bad;
    assert_int_equal(suite_parse(text, protocol, &out, &bad), 0);
    return out;
}

static inline struct selector pair_net(const char *text)
{
    struct prefix prefix;
    assert_true(prefix_parse(text, &prefix));
    return selector_from_prefix(&prefix);
}

static inline void pair_conf(struct conf_tunnel *c, bool initiator)
{
    *c = (struct conf_tunnel){.initiator = initiator,
                              .local_auth = CONF_AUTH_PSK,
                              .remote_auth = CONF_AUTH_PSK,
                              .ike_count = 1,
                              .esp_count = 1,
                              .pfs = true,
                              .esn = true,
                              .encap = CONF_ENCAP_UDP,
                              .unique = true,
                              .fragment = 1280,
                              .max_tunnels = 64};
    c->ike[0] = pair_proposal(PROTOCOL_IKE, "aes256gcm16-prfsha256-x25519-ecp256");
    c->esp[0] = pair_proposal(PROTOCOL_ESP, "aes256gcm16");
    struct selector net = pair_net("10.20.0.0/16");
    if (initiator) {
        c->request_ip4 = true;
        c->remote_ts[c->remote_ts_count++] = net;
        assert_true(identity_parse("gw.example.org", &c->remote_id));
    } else {
        c->local_ts[c->local_ts_count++] = net;
    }
}

static inline struct pair *pair_make(void)
{
    struct pair *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    p->now = TIME_SECOND;
    pair_conf(&p->side[0].conf, true);
    pair_conf(&p->side[1].conf, false);
    p->side[0].psk = p->side[1].psk = "a long and secret phrase";
    return p;
}

static inline struct ike_setup pair_setup(const struct pair *p, int which)
{
    const struct side *s = &p->side[which];
    struct ike_setup setup = {
        .tunnel = &s->conf, .random = &pair_source, .trust = s->trust, .wall_clock = pair_wall};
    if (s->own) {
        setup.own_certs[0] = s->own;
        setup.own_cert_count = 1;
    }
    assert_true(identity_parse(which ? "gw.example.org" : "me@example.org", &setup.own_id));
    return setup;
}

static inline void pair_start(struct pair *p)
{
    for (int w = 0; w < 2; w++) {
        struct side *s = &p->side[w];
        struct ike_setup setup = pair_setup(p, w);
        s->engine = ike_create(&setup, p->now);
        assert_non_null(s->engine);
    }
    struct ike_command c = {.kind = IKE_INITIATE};
    assert_true(endpoint_parse("192.0.2.1:500", 0, &c.path.local));
    assert_true(endpoint_parse("192.0.2.2:500", 0, &c.path.remote));
    assert_int_equal(ike_command(p->side[0].engine, p->now, &c, &p->tunnel), 0);
    pair_drain(p, 0);
}

static inline const struct ike_event *pair_event(const struct side *s, uint32_t kind)
{
    for (size_t i = 0; i < s->event_count; i++)
        if (s->events[i].kind == kind)
            return &s->events[i];
    return NULL;
}

/* Both data planes hold the same one child, with the same keys crosswise. */
static inline void pair_check_children(const struct pair *p, size_t count)
{
    const struct side *a = &p->side[0], *b = &p->side[1];
    assert_int_equal(a->child_count, count);
    assert_int_equal(b->child_count, count);
    for (size_t i = 0; i < count; i++) {
        size_t j = 0;
        while (j < count && b->children[j].spi_in != a->children[i].spi_out)
            j++;
        assert_true(j < count);
        const struct ike_child *x = &a->children[i], *y = &b->children[j];
        assert_int_equal(x->spi_in, y->spi_out);
        assert_int_equal(x->keymat_len, 36);
        assert_memory_equal(x->keymat_in, y->keymat_out, x->keymat_len);
        assert_memory_equal(x->keymat_out, y->keymat_in, x->keymat_len);
        assert_memory_equal(&x->kes, &y->kes, sizeof(x->kes));
        assert_true(selector_equal(&x->local_ts[0], &y->remote_ts[0]));
        assert_true(selector_equal(&x->remote_ts[0], &y->local_ts[0]));
    }
}

static inline void pair_check_empty(const struct pair *p)
{
    for (int w = 0; w < 2; w++) {
        struct ike_usage u;
        struct ike_engine *e = p->side[w].engine;
        ike_usage(e, &u);
        assert_int_equal(
            u.sas + u.children + u.messages + u.timers + u.half_open + u.actions + u.fragments, 0);
        assert_int_equal(e->tunnels.used + e->identities.used + e->half_open.used +
                             e->tickets.used + e->sa_slab.used + e->handshake_slab.used +
                             e->creation_slab.used,
                         0);
        assert_int_equal(ike_counters(e)->illegal_moves, 0);
        assert_int_equal(p->side[w].child_count, 0);
        assert_int_equal(p->side[w].net_up, 0);
    }
}

static inline void pair_free(struct pair *p)
{
    for (int w = 0; w < 2; w++)
        ike_free(p->side[w].engine);
    free(p);
}

/* Ends what is still there, waits until nobody has to repeat anything, and looks for leaks. */
static inline void pair_finish(struct pair *p)
{
    if (p->side[0].engine->tunnels.used > 0)
        pair_command(p, 0, IKE_DELETE);
    pair_sleep(p, 120 * TIME_SECOND);
    pair_check_empty(p);
    pair_free(p);
}

#endif
