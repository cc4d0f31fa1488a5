/* Two engines in memory, joined by a queue, up after one call: what a fuzzer starts from. No delay,
 * no loss; the clock moves only when the fuzzer says so. What the two have and want is drawn, too:
 * traits. A message is changed inside by opening it and sealing it again with its own sender's
 * keys: that reaches all the code behind the integrity check, and leaves the check in. */
#ifndef SHRIKE_FUZZ_ENGINE_PAIR_H
#define SHRIKE_FUZZ_ENGINE_PAIR_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ike/gate.h"

enum { PAIR_QUEUE = 256, PAIR_PLACES = 4 };

enum pair_trait {
    PAIR_NO_PFS = 1,
    PAIR_SOON = 2,      /* lifetimes of a minute: rekeying begins early */
    PAIR_LARGE = 4,     /* many selectors and small datagrams: messages come in fragments */
    PAIR_ROAMS = 8,     /* MOBIKE */
    PAIR_CHILDREN = 16, /* three children more */
    PAIR_GROUP = 32,    /* the gateway takes another group than the client's first */
    PAIR_BUSY = 64,     /* the gateway has many half-open SAs: cookies, and puzzles */
    PAIR_CERTS = 128,
    PAIR_AH = 256,
    PAIR_AGAIN = 512,   /* the client authenticates anew after 40 s */
    PAIR_STRICT = 1024, /* NAT is refused; the gateway takes one network only */
    PAIR_CBC = 2048,    /* a cipher and a MAC in place of AES-GCM */
    PAIR_KES = 4096,    /* additional key exchanges */
    PAIR_TRAITS = 8191,
};

struct pair_engine {
    struct conf_tunnel conf, *reloaded; /* reloaded: in place of conf, or NULL */
    struct ike_setup setup;
    struct ike_engine *engine;
    struct ip ip;
    struct ike_answer answer;
    bool answer_waits;
    unsigned admitted; /* answers without an error */
};
struct pair_datagram {
    int to;
    struct ike_path path;
    struct bytes octets;
};
struct engine_pair {
    struct pair_engine side[2]; /* 0: client */
    time_us now;
    uint64_t dice;
    struct random random;
    struct pair_datagram queue[PAIR_QUEUE];
    unsigned queued, taken;
    unsigned traits;
    uint8_t mapped;         /* which NAT the client is behind, 0 = none */
    struct endpoint behind; /* the client's own, as it last sent */
    bool drop_auth;         /* the client's IKE_AUTH stays away */
    bool drop_all;          /* so does its IKE_SA_INIT */
};

/* ---- what makes an engine dear (--wrap): the manager of ciphers, tables for a large gateway, and
 * wiping what is freed next anyway */

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=16:allocator_release_to_os_interval_ms=-1:max_malloc_fill_size=0";
}

struct aead_engine *__real_aead_engine_create(void);
struct aead_engine *__wrap_aead_engine_create(void);
void __wrap_aead_engine_free(struct aead_engine *engine);
int __real_source_table_init(struct source_table *table, size_t entries);
int __wrap_source_table_init(struct source_table *table, size_t entries);
void __real_secret_wipe(void *at, size_t len);
void __wrap_secret_wipe(void *at, size_t len);

static struct aead_engine *pair_aead_engines[4];

struct aead_engine *__wrap_aead_engine_create(void)
{
    for (size_t i = 0; i < ARRAY_LEN(pair_aead_engines); i++) {
        struct aead_engine *kept = pair_aead_engines[i];
        pair_aead_engines[i] = NULL;
        if (kept)
            return kept;
    }
    return __real_aead_engine_create();
}

void __wrap_aead_engine_free(struct aead_engine *engine)
{
    for (size_t i = 0; i < ARRAY_LEN(pair_aead_engines); i++) {
        if (pair_aead_engines[i])
            continue;
        pair_aead_engines[i] = engine;
        return;
    }
    abort();
}

int __wrap_source_table_init(struct source_table *table, size_t entries)
{
    return __real_source_table_init(table, entries / 64);
}

void __wrap_secret_wipe(void *at, size_t len)
{
    if (len < 16384)
        __real_secret_wipe(at, len);
}

/* ---- what the engines see of the world */

static inline void pair_fill(void *context, void *to, size_t len)
{
    uint64_t *state = context;
    for (uint8_t *at = to; len-- > 0; at++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        *at = (uint8_t)(*state >> 56);
    }
}

static inline int64_t pair_wall(void *context)
{
    (void)context;
    return 1800000000;
}

#define pair_must(claim)                                                                           \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #claim);                    \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* ---- certificates, made once */

struct pair_credential {
    struct cert *cert;
    struct private_key *key;
};
static struct pair_credential pair_ca, pair_ends[2];
static struct cert_trust *pair_trust;

static inline void pair_issue(const char *name, const struct pair_credential *issuer,
                              struct pair_credential *out)
{
    char *cert, *key;
    struct identity id;
    pair_must(identity_parse(name, &id));
    struct pki_request request = {.common_name = name,
                                  .names = &id,
                                  .name_count = issuer ? 1 : 0,
                                  .key = KEY_ED25519,
                                  .days = 3650,
                                  .purpose = out == pair_ends ? CERT_FOR_CLIENT : CERT_FOR_GATEWAY,
                                  .ca = !issuer};
    pair_must(pki_issue(&request, issuer ? issuer->cert : NULL, issuer ? issuer->key : NULL,
                        1800000000 - 86400, &cert, &key) == 0);
    pair_must(cert_parse_pem((struct bytes){(uint8_t *)cert, strlen(cert)}, &out->cert, 1) == 1);
    pair_must(private_key_parse((struct bytes){(uint8_t *)key, strlen(key)}, &out->key) == 0);
    free(cert);
    free(key);
}

static inline void pair_use_certs(struct pair_engine *side, int i)
{
    if (!pair_trust) {
        pair_issue("ca", NULL, &pair_ca);
        pair_issue("client", &pair_ca, &pair_ends[0]);
        pair_issue("gateway", &pair_ca, &pair_ends[1]);
        pair_trust = cert_trust_create();
        pair_must(pair_trust && cert_trust_add(pair_trust, pair_ca.cert) == 0);
    }
    side->setup.trust = pair_trust;
    side->setup.own_certs[0] = pair_ends[i].cert;
    side->setup.own_cert_count = 1;
}

/* ---- configuration */

static inline struct ip pair_ip(int side, unsigned place)
{
    static const uint8_t ip6[15] = {0x20, 0x01, 0x0d, 0xb8};
    uint8_t octets[16], last = (uint8_t)(2 - side + 16 * place);
    memcpy(octets, ip6, sizeof(ip6));
    octets[15] = last;
    return place % 4 == 3 ? ip_from_octets(6, octets)
                          : ip_from_octets(4, (const uint8_t[]){192, 0, 2, last});
}

static inline void pair_start(struct engine_pair *p, int i)
{
    struct pair_engine *side = &p->side[i];
    side->engine = ike_create(&side->setup, p->now);
    pair_must(side->engine);
    if (i == 1 && (p->traits & PAIR_BUSY)) /* by others: they do not go, and it gets no worse */
        side->engine->gate->half_open = 6, side->engine->gate->difficulty = PUZZLE_FIRST;
}

static inline void pair_suites(struct conf_tunnel *c, unsigned traits)
{
    struct bytes bad;
    bool cbc = traits & PAIR_CBC, other = (traits & PAIR_GROUP) && !c->initiator;
    uint8_t protocol = traits & PAIR_AH ? PROTOCOL_AH : PROTOCOL_ESP;
    const char *ike = cbc     ? "aes256-sha256-x25519-ecp256"
                      : other ? "aes128gcm16-prfsha256-ecp256"
                              : "aes128gcm16-prfsha256-x25519-ecp256";
    const char *child = traits & PAIR_AH ? "sha256-x25519"
                        : cbc            ? "aes256-sha256-x25519"
                        : other          ? "aes128gcm16-ecp256-x25519"
                                         : "aes128gcm16-x25519-ecp256";
    char text[256];
    const char *more = traits & PAIR_KES ? "-ke1_mlkem512-ke2_x448-ke2_none" : "";
    snprintf(text, sizeof(text), "%s%s", ike, more);
    pair_must(suite_parse(text, PROTOCOL_IKE, &c->ike[0], &bad) == 0);
    snprintf(text, sizeof(text), "%s%s", child, more);
    pair_must(suite_parse(text, protocol, &c->esp[0], &bad) == 0);
    c->ike_count = c->esp_count = 1;
}

/* 10.n.0.0/16, or of IPv6 fd00:n::/32 */
static inline struct selector pair_network(unsigned n, bool ip6)
{
    struct prefix net = {.bits = ip6 ? 32 : 16};
    const uint8_t octets[16] = {ip6 ? 0xfd : 10, ip6 ? 0 : (uint8_t)n, 0, ip6 ? (uint8_t)n : 0};
    net.ip = ip_from_octets(ip6 ? 6 : 4, octets);
    return selector_from_prefix(&net);
}

static inline void pair_traffic(struct conf_tunnel *c, unsigned traits)
{
    bool large = traits & PAIR_LARGE, narrow = (traits & PAIR_STRICT) && !c->initiator;
    struct selector *ts = c->initiator ? c->remote_ts : c->local_ts;
    uint8_t *count = c->initiator ? &c->remote_ts_count : &c->local_ts_count;
    ts[(*count)++] = narrow ? pair_network(1, false) : selector_any(4);
    for (unsigned n = 1; large && *count < CONF_SELECTORS; n++)
        ts[(*count)++] = pair_network(n, true);
    c->request_ip4 = c->initiator;
    c->request_ip6 = c->initiator && large;
    if (c->initiator || !large)
        return;
    c->dns[c->dns_count++] = pair_ip(1, 0);
    c->dns[c->dns_count++] = pair_ip(1, 3);
    strcpy(c->domains[c->domain_count++], "example.org");
    c->tell_version = true;
}

static inline void pair_children(struct conf_tunnel *c)
{
    for (unsigned n = 0; n < 3; n++) {
        struct conf_child *child = &c->children[c->child_count++];
        child->name[0] = (char)('a' + n);
        child->remote_ts[child->remote_ts_count++] = pair_network(n, false);
        if (n == 1)
            child->remote_ts[child->remote_ts_count++] = pair_network(9, false);
        if (n == 2) {
            child->remote_ts[0].protocol = 17;
            child->remote_ts[0].port_low = child->remote_ts[0].port_high = 53;
        }
    }
}

static inline void pair_settings(struct conf_tunnel *c, int i, unsigned traits)
{
    c->initiator = i == 0;
    pair_must(identity_parse(i ? "gateway" : "client", &c->local_id));
    pair_suites(c, traits);
    pair_traffic(c, traits);
    if (i == 0 && (traits & PAIR_CHILDREN))
        pair_children(c);
    c->local_auth = c->remote_auth = traits & PAIR_CERTS ? CONF_AUTH_CERT : CONF_AUTH_PSK;
    c->pfs = !(traits & PAIR_NO_PFS);
    c->esn = c->unique = true;
    c->ike_lifetime = traits & PAIR_SOON ? 50 : 14400;
    c->child_lifetime = traits & PAIR_SOON ? 20 : 3600;
    c->reauth = traits & PAIR_AGAIN ? 40 : 0;
    c->dpd = c->idle_check = 30;
    c->keepalive = 20;
    c->roam = traits & PAIR_ROAMS;
    c->refuse_nat = traits & PAIR_STRICT;
    c->encap = traits & (PAIR_STRICT | PAIR_AH) ? CONF_ENCAP_AUTO : CONF_ENCAP_UDP;
    c->max_tunnels = i ? 16 : 24;
    c->per_identity = traits & PAIR_STRICT ? 0 : 4;
    c->handshakes = 20;
    c->ban = 60;
    c->fragment = traits & PAIR_LARGE ? 576 : 1280;
}

static inline void pair_configure(struct engine_pair *p, int i)
{
    struct pair_engine *side = &p->side[i];
    struct conf_tunnel *c = &side->conf;
    side->ip = pair_ip(i, 0);
    pair_settings(c, i, p->traits);
    side->setup = (struct ike_setup){
        .tunnel = c, .random = &p->random, .own_id = c->local_id, .wall_clock = pair_wall};
    side->setup.has_crash_secret = true;
    memset(side->setup.crash_secret, 'a' + i, sizeof(side->setup.crash_secret));
    if (p->traits & PAIR_CERTS)
        pair_use_certs(side, i);
    pair_start(p, i);
}

/* Other traits, but for how both prove themselves. */
static inline void pair_reload(struct engine_pair *p, int i, unsigned traits)
{
    struct pair_engine *side = &p->side[i];
    struct conf_tunnel *next = calloc(1, sizeof(*next));
    pair_must(next);
    pair_settings(next, i, (traits & ~(unsigned)PAIR_CERTS) | (p->traits & PAIR_CERTS));
    side->setup.tunnel = next;
    pair_must(ike_reload(side->engine, p->now, &side->setup) == 0);
    memset(&side->conf, 0xdd, sizeof(side->conf));
    free(side->reloaded);
    side->reloaded = next;
}

/* From that side to the other. */
static inline struct ike_path pair_path(const struct engine_pair *p, int i)
{
    return (struct ike_path){.local = {p->side[i].ip, 500}, .remote = {p->side[!i].ip, 500}};
}

/* ---- the keys process */

static inline int pair_prove(const struct ike_ask *ask, int side, struct ike_answer *out)
{
    static const struct bytes psk = {(const uint8_t *)"a shared key for a fuzzer", 25};
    const struct prf_alg *prf_alg = suite_prf(ask->prf);
    size_t len = 0;
    if (ask->method == AUTH_SHARED_KEY) {
        out->auth_len = prf_alg->len;
        return auth_psk(prf_alg, psk, ike_ask_own(ask), out->auth);
    }
    int err =
        sign(pair_ends[side].key, (enum sign_scheme)ask->scheme, ike_ask_own(ask), out->auth, &len);
    out->auth_len = (uint16_t)len;
    return err;
}

static inline void pair_answer(struct pair_engine *side, const struct ike_ask *ask, int i)
{
    static const struct bytes psk = {(const uint8_t *)"a shared key for a fuzzer", 25};
    const struct prf_alg *prf_alg = suite_prf(ask->prf);
    uint8_t mac[64];
    if (ask->want & IKE_WANT_RELEASE)
        return;
    side->answer = (struct ike_answer){.ticket = ask->ticket};
    side->answer_waits = true;
    if (ask->want & IKE_WANT_VERIFY_PSK) {
        struct bytes octets = ike_ask_peer(ask);
        if (auth_psk(prf_alg, psk, octets, mac) != 0 || ask->peer_auth_len != prf_alg->len ||
            memcmp(mac, ask->peer_auth, prf_alg->len) != 0)
            side->answer.result = ERR_AUTH;
    }
    side->answer.ip4 = ip_from_octets(4, (const uint8_t[]){10, 9, 0, 1});
    if (ask->ask_ip6)
        side->answer.ip6 = pair_network(9, true).low;
    if ((ask->want & IKE_WANT_SIGN) && pair_prove(ask, i, &side->answer) != 0)
        side->answer.result = side->answer.result ? side->answer.result : ERR_CRYPTO;
}

/* ---- the network */

/* How the other end sees what goes out here, and where that one's answers arrive. */
static inline struct ike_path pair_arrival(struct engine_pair *p, int from,
                                           const struct ike_path *sent)
{
    struct ike_path at = {sent->remote, sent->local, 0, sent->port};
    if (!p->mapped)
        return at;
    const uint8_t nat[4] = {198, 51, 100, p->mapped};
    if (from == 0) {
        p->behind = sent->local;
        at.remote = (struct endpoint){ip_from_octets(4, nat), (uint16_t)(40000 + p->mapped)};
    } else if (p->behind.ip.family) {
        at.local = p->behind;
    }
    return at;
}

static inline void pair_drain(struct engine_pair *p, int i)
{
    static struct ike_action action;
    while (ike_next(p->side[i].engine, &action)) {
        if (action.kind == IKE_ASK)
            pair_answer(&p->side[i], action.ask, i);
        if (action.kind != IKE_SEND || p->queued == PAIR_QUEUE)
            continue;
        struct bytes d = action.send.datagram;
        uint8_t *copy = malloc(d.len ? d.len : 1);
        memcpy(copy, d.at, d.len);
        p->queue[p->queued].to = !i;
        p->queue[p->queued].path = pair_arrival(p, i, &action.send.path);
        p->queue[p->queued++].octets = (struct bytes){copy, d.len};
    }
}

static inline void pair_feed(struct engine_pair *p, int i, const struct ike_path *path,
                             struct bytes datagram)
{
    ike_input(p->side[i].engine, p->now, path, datagram);
    pair_drain(p, i);
}

/* A datagram of any octets, its length before them; no more than `most`. */
static inline size_t pair_read_datagram(struct reader *r, uint8_t *octets, size_t most)
{
    size_t len = reader_u16(r);
    len = len < r->left ? len : r->left;
    len = len < most ? len : most;
    reader_copy(r, octets, len);
    return len;
}

/* One octet of the next datagram, where and by which bits the input says. */
static inline void pair_flip(struct engine_pair *p, struct reader *r)
{
    uint16_t at = reader_u16(r);
    uint8_t mask = reader_u8(r);
    if (p->taken == p->queued)
        return;
    struct bytes octets = p->queue[p->taken].octets;
    if (octets.len > 0)
        ((uint8_t *)(uintptr_t)octets.at)[at % octets.len] ^= mask;
}

static inline void pair_give_answer(struct engine_pair *p, int i)
{
    struct pair_engine *side = &p->side[i];
    if (!side->answer_waits)
        return;
    side->answer_waits = false;
    side->admitted += side->answer.result == 0;
    ike_answer(side->engine, p->now, &side->answer);
    pair_drain(p, i);
}

/* Gives back what was delivered. */
static inline void pair_recycle(struct engine_pair *p)
{
    if (p->taken < p->queued)
        return;
    for (unsigned i = 0; i < p->queued; i++)
        free((void *)(uintptr_t)p->queue[i].octets.at);
    p->queued = p->taken = 0;
}

/* Delivers and answers until nobody has anything to say. */
static inline void pair_settle(struct engine_pair *p)
{
    for (bool busy = true; busy;) {
        busy = false;
        for (int i = 0; i < 2; i++)
            while (p->side[i].answer_waits) {
                busy = true;
                pair_give_answer(p, i);
            }
        pair_recycle(p);
        while (p->taken < p->queued) {
            unsigned n = p->taken++;
            busy = true;
            const struct bytes *d = &p->queue[n].octets;
            bool away =
                p->drop_all || (p->drop_auth && d->len > 18 && d->at[18] == EXCHANGE_IKE_AUTH);
            if (!away)
                pair_feed(p, p->queue[n].to, &p->queue[n].path, *d);
        }
    }
}

static inline void pair_tick(struct engine_pair *p, time_us now)
{
    p->now = now > p->now ? now : p->now;
    for (int i = 0; i < 2; i++) {
        ike_tick(p->side[i].engine, p->now);
        pair_drain(p, i);
    }
}

static inline time_us pair_deadline(const struct engine_pair *p)
{
    time_us a = ike_deadline(p->side[0].engine), b = ike_deadline(p->side[1].engine);
    return a < b ? a : b;
}

/* The others have gone: the gateway counts its own half-open SAs again. */
static inline void pair_calm(struct engine_pair *p)
{
    struct gate *gate = p->side[1].engine->gate;
    if (p->traits & PAIR_BUSY)
        gate->half_open -= 6;
    p->traits &= ~(unsigned)PAIR_BUSY;
    gate->difficulty = 0;
}

/* Nothing may be held, and no state has moved where it must not. */
static inline void pair_must_be_empty(struct engine_pair *p)
{
    for (int i = 0; i < 2; i++) {
        struct ike_usage u;
        ike_usage(p->side[i].engine, &u);
        pair_must(u.sas + u.children + u.messages + u.timers + u.half_open + u.actions +
                      u.fragments ==
                  0);
        pair_must(ike_counters(p->side[i].engine)->illegal_moves == 0);
    }
}

/* Both delete everything, and time goes by: then nothing may be held. */
static inline void pair_take_down(struct engine_pair *p)
{
    struct ike_command all = {.kind = IKE_DELETE};
    p->drop_auth = p->drop_all = false;
    pair_calm(p);
    for (int i = 0; i < 2; i++) {
        if (ike_command(p->side[i].engine, p->now, &all, NULL) == 0)
            pair_drain(p, i);
        pair_settle(p);
    }
    for (int turn = 0; turn < 1000 && pair_deadline(p) != TIME_NEVER; turn++) {
        pair_tick(p, pair_deadline(p));
        pair_settle(p);
    }
    pair_must_be_empty(p);
}

static inline void pair_free(struct engine_pair *p)
{
    p->taken = p->queued;
    pair_recycle(p);
    ike_free(p->side[0].engine);
    ike_free(p->side[1].engine);
    free(p->side[0].reloaded);
    free(p->side[1].reloaded);
    memset(p, 0, sizeof(*p));
}

/* ---- beginnings */

enum pair_stage { PAIR_FIRST_ONLY, PAIR_WITHOUT_AUTH, PAIR_UP };

static inline void pair_make(struct engine_pair *p, unsigned traits)
{
    memset(p, 0, sizeof(*p));
    p->now = TIME_SECOND;
    p->dice = 1;
    p->traits = traits & PAIR_TRAITS;
    p->random = (struct random){pair_fill, &p->dice};
    pair_configure(p, 0);
    pair_configure(p, 1);
}

static inline void pair_initiate(struct engine_pair *p)
{
    struct ike_command command = {.kind = IKE_INITIATE, .path = pair_path(p, 0)};
    if (ike_command(p->side[0].engine, p->now, &command, NULL) == 0)
        pair_drain(p, 0);
}

/* A client that is asked for a solution works on it, a little at each tick. */
static inline void pair_work(struct engine_pair *p)
{
    for (int i = 0; i < 200 && pair_deadline(p) <= p->now + 1; i++) {
        pair_tick(p, p->now + 1);
        pair_settle(p);
    }
}

static inline void pair_begin_at(struct engine_pair *p, enum pair_stage stage, unsigned traits)
{
    pair_make(p, traits);
    p->drop_auth = stage == PAIR_WITHOUT_AUTH;
    p->drop_all = stage == PAIR_FIRST_ONLY;
    pair_initiate(p);
    pair_settle(p);
    pair_work(p);
}

/* ---- looking */

/* Any IKE SA of that engine that has keys. */
static inline struct sa *pair_sa(struct ike_engine *e)
{
    size_t cursor = 0;
    struct sa *sa;
    while ((sa = map_next(&e->sas, &cursor)))
        if (!sa->lingering && sa->chosen.encr != 0)
            return sa;
    return NULL;
}

static inline struct bytes pair_payloads(struct bytes datagram)
{
    return (struct bytes){datagram.at + WIRE_HEADER_LEN, datagram.len - WIRE_HEADER_LEN};
}

/* One datagram of that SA by hand: `part` whole or a fragment, sealed with the sender's keys. Valid
 * until its engine makes another. */
static inline struct bytes pair_seal(struct ike_engine *e, struct sa *sa,
                                     const struct wire_header *header, const struct sk_part *part)
{
    const struct encr_alg *encr = suite_encr(sa->chosen.encr, sa->chosen.encr_bits);
    const struct integ_alg *integ = sa->chosen.integ ? suite_integ(sa->chosen.integ) : NULL;
    unsigned direction = sa->initiator ? 0 : 1;
    size_t size = (aead_size(encr, integ) + 63) / 64 * 64;
    if (size > e->aead_cap) {
        free(e->aead);
        e->aead = aligned_alloc(64, size);
        e->aead_cap = size;
    }
    if (aead_init(e->aead, e->aead_engine, encr, sa->keys.e[direction], integ,
                  integ ? sa->keys.a[direction] : NULL) < 0)
        return (struct bytes){0};
    return sk_seal_part(e, sa, header, part);
}

#endif
