/* The simulation: whole engines in one process, on a virtual clock, over a network that loses,
 * duplicates, delays and reorders. One 64-bit seed decides everything, so a failing run is printed
 * as a seed and replays.
 *
 * world     clock, queue of things to come, hosts, the loop
 * network   datagrams on their way, NAT, the trace
 * uplink    hosts with several ways into the network, NATs that forget
 * keys      a double of the keys process: PSKs, private keys, leases by a counter
 * plane     a double of the data plane: which SAs there are, which one sends, and whether what is
 *           sent can be opened by the other side when it arrives
 * pki       certificates for the hosts, made once
 *
 * A test is a straight line: make hosts, start them, give commands, let time go by, look. Hosts are
 * engines, or scripts (host->on_datagram) that build datagrams by hand. The network asks
 * sim->filter first, so that a test can drop, hold or copy any datagram.
 *
 * SIM_SEED=0x... runs one seed only and prints every datagram.
 *
 * The random worlds (test/sim/worlds) stand on this, with a network of their own.
 */
#ifndef SHRIKE_TEST_SIM_H
#define SHRIKE_TEST_SIM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ike/ike.h"
#include "store/store.h"

enum { SIM_HOSTS = 16, SIM_PSKS = 4, SIM_LEASES = 1024, SIM_UPLINKS = 4, SIM_WALL = 1800000000 };

/* Conditions of the network; chances per mille. */
struct sim_link {
    unsigned loss, duplicate;
    time_us delay_min, delay_max;
    unsigned late; /* how many come later than that, by up to late_max */
    time_us late_max;
};
extern const struct sim_link sim_good_link, sim_bad_link;

struct sim_datagram {
    struct sim_datagram *next; /* of the log */
    time_us sent;
    struct sim_host *sender;  /* NULL: injected */
    struct endpoint from, to; /* as the receiver sees them */
    bool damaged;             /* bits were turned over */
    bool marked;              /* with the non-ESP marker: between ports 4500 */
    size_t len;
    uint8_t octets[];
};
enum sim_fate { SIM_PASS, SIM_DROP };

/* One child SA in the data plane. */
struct sim_sa {
    struct sim_sa *next; /* newest first */
    struct ike_child child;
    bool gone;                  /* outbound ended */
    time_us until;              /* inbound ends; TIME_NEVER = not yet */
    time_us added, heard, told; /* of the random worlds */
    uint64_t highest;           /* number of a packet that came in; the same */
};

struct sim_packet { /* of ESP */
    uint32_t spi;
    struct endpoint seen, to; /* with uplinks: as the receiver sees them */
    bool routed;
    uint8_t key[IKE_KEYMAT_MAX];
    size_t key_len;
    struct sim_host *from;
    uint64_t from_tunnel;
};

/* One of several ways into the network, behind a NAT or not. A NAT keeps a mapping as long as
 * something goes out by it. */
struct sim_uplink {
    struct ip ip, nat_ip; /* nat_ip family 0: no NAT */
    uint16_t nat_shift;   /* what the NAT adds to a port */
    time_us nat_life;     /* after so much silence the mapping is gone; 0 = never */
    time_us nat_used;
    bool nat_keeps; /* a new mapping has the same port; else the next one */
    bool down;      /* nothing goes through */
};

struct sim_host {
    struct sim *sim;
    char name[24];
    struct ip ip;
    struct ip nat_ip;                       /* family 0: no NAT before this host */
    uint16_t nat_shift;                     /* what the NAT adds to a port */
    struct sim_uplink uplinks[SIM_UPLINKS]; /* with any: instead of the three above */
    size_t uplink_count;
    struct conf_tunnel conf, *running; /* running: what the engine has, a copy of conf */
    struct ike_setup setup;
    struct ike_engine *engine; /* NULL: a script */
    void (*on_datagram)(struct sim_host *host, const struct sim_datagram *datagram);
    struct random random;
    uint64_t random_state;

    /* keys */
    struct identity psk_peer[SIM_PSKS]; /* NONE matches any */
    const char *psk[SIM_PSKS];
    const struct private_key *key;
    struct ike_ask *last_ask;
    bool keys_silent;           /* no answers at all */
    int admit;                  /* what admission says: 0 or an error */
    struct identity away;       /* this one is let in no more; NONE = all are */
    struct ip fixed4;           /* family 0: whoever may stay keeps the address that it has */
    unsigned stays, stays_most; /* questions whether somebody may stay; open at a time */
    struct lease_book *book;    /* NULL: addresses by a counter */
    uint8_t (*networks_of)(struct sim_host *host, const struct identity *peer,
                           struct selector *out); /* at most 4 */
    uint64_t leased[SIM_LEASES];                  /* tunnels that hold one */
    unsigned leases, next_lease;

    /* plane */
    struct sim_sa *sas;
    time_us last_heard_fact;
    uint64_t packets_sent, packets_opened, packets_lost;

    /* what the engine said */
    struct ike_event *events;
    size_t event_count;
    unsigned net_ups, net_downs, esp_moves;
    struct ike_net net;
    struct ike_path esp_path; /* of the last ESP_MOVE */
    uint64_t tunnel;          /* of the last IKE_INITIATE */
    struct sim_host *redial;  /* after FAILED or DOWN, initiate again to this host */
    uint64_t sent;            /* datagrams */
    void *member;             /* of the random worlds */
};

struct sim {
    uint64_t seed;
    time_us now;
    int64_t wall_shift;
    struct sim_link link;
    uint64_t network_state;
    struct sim_host *hosts[SIM_HOSTS];
    size_t host_count;
    struct sim_event *heap;
    size_t heap_count, heap_room;
    uint64_t serial;
    bool trace, changed;
    uint64_t trace_hash;
    enum sim_fate (*filter)(struct sim *sim, struct sim_datagram *datagram);
    void *filter_context;
    void (*carry)(struct sim *sim, const struct sim_datagram *datagram); /* another network */
    bool keep_log;
    struct sim_datagram *log, **log_end;
    size_t log_count;
    time_us traffic; /* interval of test packets, 0 = none */
    bool packets_may_be_lost;
    bool hosts_move; /* a host may send from an address that it has no more: into nothing */
    void (*on_event)(struct sim_host *host, const struct ike_event *event);
    void *world;             /* of the random worlds */
    bool packets_take_paths; /* of their SA, through the hosts' uplinks; else they just arrive */
    unsigned marker_faults;
};

/* ---- world */
struct sim *sim_create(uint64_t seed, const struct sim_link *link);
void sim_free(struct sim *sim);
/* A host with a configuration to be changed before sim_start(): the first address says which kind
 * of IP. client: asks for virtual addresses, sends everything into the tunnel. */
struct sim_host *sim_client(struct sim *sim, const char *name, const char *ip);
struct sim_host *sim_gateway(struct sim *sim, const char *name, const char *ip);
struct sim_host *sim_script(struct sim *sim, const char *name, const char *ip,
                            void (*on_datagram)(struct sim_host *, const struct sim_datagram *));
void sim_start(struct sim_host *host);
/* What is in host->conf and host->setup holds from now on. The former copy is overwritten. */
int sim_reload(struct sim_host *host);
void sim_stop(struct sim_host *host); /* as if killed: the engine is gone, nothing is sent */
void sim_proposals(struct sim_host *host, const char *ike, const char *esp);
/* One step; false when nothing happens before `limit` (the clock stands there then). */
bool sim_step(struct sim *sim, time_us limit);
void sim_run(struct sim *sim, time_us duration);
/* Runs until it is true, at most so long; returns whether it came true. */
bool sim_until(struct sim *sim, bool (*is_true)(struct sim *sim), time_us at_most);
uint64_t sim_initiate(struct sim_host *from, const struct sim_host *to);
/* tunnel 0: all, or the only one where the command wants one. */
int sim_command(struct sim_host *host, uint32_t kind, uint64_t tunnel);
void sim_after(struct sim *sim, time_us delay, struct sim_host *host, uint32_t command);
void sim_drain(struct sim_host *host);
uint64_t sim_random(uint64_t *state);
unsigned sim_below(uint64_t *state, unsigned limit);

struct sim_event;
enum sim_event_kind {
    SIM_DATAGRAM,
    SIM_ANSWER,
    SIM_PACKET,
    SIM_TRAFFIC,
    SIM_COMMAND,
    SIM_CALL,
    SIM_NOTHING
};
struct sim_call { /* the head of a SIM_CALL's data */
    void (*run)(struct sim *sim, void *data);
};
struct sim_event {
    time_us at;
    uint64_t serial;
    enum sim_event_kind kind;
    struct sim_host *host;
    void *data; /* malloc'ed */
};
void sim_schedule(struct sim *sim, time_us at, enum sim_event_kind kind, struct sim_host *host,
                  void *data);

/* ---- network */
void sim_send(struct sim_host *from, const struct ike_path *path, struct bytes datagram);
/* A datagram by hand; goes through filter, loss and delay like any other. */
void sim_inject(struct sim *sim, const struct endpoint *from, const struct endpoint *to,
                struct bytes datagram);
void sim_deliver(struct sim_host *host, struct sim_datagram *datagram);
time_us sim_delay(struct sim *sim);
bool sim_lost(struct sim *sim);
void sim_log_clear(struct sim *sim);
struct ike_path sim_path(const struct sim_host *from, const struct sim_host *to, uint16_t port);

/* ---- uplink */
struct sim_uplink *sim_uplink(struct sim_host *host, const char *ip, const char *nat_ip);
/* What the host has now, the first ones first: IKE_ADDRESSES. gateway: whose addresses are the
 * remote ones; NULL = none are told. */
void sim_addresses(struct sim_host *host, const struct sim_host *gateway);
/* The sender's side: is there such an uplink, and what does the network see? */
bool sim_uplink_out(struct sim_host *from, struct endpoint *local);
/* The receiver's side: *to becomes the host's own address. */
bool sim_uplink_in(struct sim_host *host, struct endpoint *to);

/* ---- keys */
void sim_psk(struct sim_host *host, const struct sim_host *peer, const char *psk);
void sim_keys_ask(struct sim_host *host, const struct ike_ask *ask);

/* ---- plane */
void sim_plane_add(struct sim_host *host, const struct ike_child *child);
void sim_plane_del(struct sim_host *host, const struct ike_esp_del *del);
void sim_plane_move(struct sim_host *host, const struct ike_net *net);
void sim_plane_traffic(struct sim *sim);
void sim_plane_packet(struct sim_host *host, const struct sim_packet *packet);
struct sim_sa *sim_active(const struct sim_host *host); /* what sends now, or NULL */
size_t sim_live_sas(const struct sim_host *host);
void sim_plane_free(struct sim_host *host);

/* ---- pki */
struct sim_credential {
    struct cert *cert;
    struct private_key *key;
};
enum { SIM_CAS = 2 };
const struct cert_trust *sim_trust(unsigned ca);
/* A certificate of that CA for that identity, made once per process; expired: it ended a day
 * before SIM_WALL. */
const struct sim_credential *sim_credential(unsigned ca, const char *id, enum key_kind kind,
                                            enum cert_purpose purpose, bool expired);
void sim_use_cert(struct sim_host *host, const struct sim_credential *credential,
                  const struct cert_trust *trust);
void sim_pki_free(void);

/* ---- looking */
struct sim_view { /* of the IKE SAs of one engine; dead ones that only repeat their last answer
                     are not counted */
    size_t count, established, children;
    struct ike_status last;
};
void sim_view(const struct sim_host *host, struct sim_view *view);
/* All engines: one established IKE SA each, one child each, SPIs and keys match in pairs. */
bool sim_settled(struct sim *sim);
bool sim_empty(struct sim *sim); /* nothing held anywhere */
void sim_check_empty(struct sim *sim);
void sim_check_pair(struct sim *sim, const struct sim_host *a, const struct sim_host *b);
const struct ike_event *sim_event(const struct sim_host *host, uint32_t kind); /* last, or NULL */
size_t sim_events(const struct sim_host *host, uint32_t kind);
void sim_events_clear(struct sim_host *host);

#define SIM_CHECK(sim, condition, ...)                                                             \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("seed 0x%016llx: ", (unsigned long long)(sim)->seed);                           \
            printf(__VA_ARGS__);                                                                   \
            printf(" (at %.3f s)\n", (double)(sim)->now / 1e6);                                    \
            fail_msg("%s", #condition);                                                            \
        }                                                                                          \
    } while (0)

#endif
