/* Random worlds: gateways, clients and sites on a network that lies, all out of one seed.
 *
 *   draw      what there is: hosts, configurations, NAT boxes, the weather
 *   place     where a host is: one or two addresses, behind a NAT box or not
 *   net       how datagrams travel: NAT boxes with mappings that die, links that lose, delay,
 *             duplicate and flip bits, directions that are cut
 *   traffic   inner packets that policy protects, and what becomes of each
 *   blow      what happens: administrators, crashes, moves
 *   hostile   what strangers send: replays, forged first messages, forged notifies, junk
 *   watch     what every datagram that a host sends must be: message IDs and nonces only go up
 *   judge     what must hold at the end, and all the time
 *   tell      the trace
 *   dull      a random source for the crypto library that is the same in every process
 *   toy       a cheap key exchange
 *   life      the life of a world, from its beginning to the judgement
 *   replay    a seed that failed, again, and with fewer blows
 *   main      seeds over processes
 *
 * The run of a world: all clients connect; some dozen blows fall; the weather clears; all must come
 * to one tunnel with equal children at both ends; then both ends rekey, and not one packet may be
 * lost; then all is deleted, and nothing may be held.
 */
#ifndef SHRIKE_TEST_SIM_WORLDS_H
#define SHRIKE_TEST_SIM_WORLDS_H

#include "../sim.h"
#include "dull.h"

enum {
    GATEWAYS = 2,
    CLIENTS = 10,
    NATS = 3,
    MAPPINGS = 64,
    CUTS = 8,
    RING = 40,
    PLACES = 2,
};

/* A NAT box: endpoint-independent mapping, port-restricted filtering when `strict`. */
struct mapping {
    struct endpoint inside, peer; /* peer: the last one written to, for strict */
    uint16_t port;                /* outside; 0 = free */
    time_us used;
};
struct nat {
    struct ip outside;
    time_us life;
    bool strict, keeps_ports;
    struct mapping at[MAPPINGS];
};

struct cut {
    const struct sim_host *from, *to;
    time_us until;
};

/* What becomes of an inner packet. */
enum fate { OFFERED, NO_SA, SENT, LOST, NO_SPI, TOO_LATE, WRONG_SOURCE, DELIVERED, FATES };

/* One address of a host. */
struct place {
    struct ip ip;
    struct nat *nat; /* NULL: in the open */
    bool gone;       /* the host has it no more */
    bool dead;       /* it looks well, and nothing goes through */
};

struct member {
    struct sim_host *host;
    struct sim_host *gateway;    /* NULL: this is one */
    struct place places[PLACES]; /* the best first; host->ip is the first that is not gone */
    size_t place_count;
    struct ip net4, net6; /* inner addresses of a site */
    bool site, wanted;
    bool dialling; /* a new attempt is planned */
    unsigned dials;
    time_us unknown_told; /* of an SPI that is not there */
};

struct message_watch;

struct world {
    struct sim *sim;
    uint64_t dice;
    struct sim_host *gateways[GATEWAYS];
    struct member members[SIM_HOSTS]; /* as sim->hosts */
    size_t gateway_count, member_count;
    uint8_t family; /* outside */
    bool small;     /* one gateway, one client, fewer blows: seven of eight seeds */
    bool certs, short_lives, narrow; /* narrow: gateways let in to their own networks only */
    bool ah, wishes, reauths, besieged;
    unsigned mtu; /* IP datagrams of IKE that are larger get lost; 0 = none does */
    bool roams; /* MOBIKE; its NATs keep what RFC 4787 makes them keep, or the client cannot tell */
    bool meddled;  /* a stranger has brought a message somewhere else than where it was meant for */
    bool narrowed; /* a gateway has let in to fewer networks for a while, and children keep that */
    bool creates;  /* somebody asked for a further child, or the data plane told nonsense */
    unsigned dice_of_suites;
    struct nat nats[NATS];
    size_t nat_count;
    struct cut cuts[CUTS];
    unsigned corrupt;                /* per mille */
    struct sim_datagram *ring[RING]; /* what a stranger on the way has kept */
    uint64_t seen;                   /* datagrams on the way so far */
    uint32_t blows;                  /* bits: which kinds fall here */
    unsigned moves;
    bool strict;                     /* no packet may be lost now */
    uint64_t packets[FATES], copies; /* copies: what was sent, and doubled on the way */
    struct watch *watch;
    struct tally *tally;
};

/* What all worlds of a process went through, so that a run says what it has covered. */
#define TALLY_LIST(X)                                                                              \
    X(worlds)                                                                                      \
    X(established)                                                                                 \
    X(failed)                                                                                      \
    X(down)                                                                                        \
    X(rekeyed_ike)                                                                                 \
    X(rekeyed_child)                                                                               \
    X(refused)                                                                                     \
    X(datagrams)                                                                                   \
    X(corrupted)                                                                                   \
    X(hostile)                                                                                     \
    X(reloads)                                                                                     \
    X(sent_away)                                                                                   \
    X(crashes)                                                                                     \
    X(moves)                                                                                       \
    X(packets)                                                                                     \
    X(delivered)                                                                                   \
    X(integrity)                                                                                   \
    X(replayed)                                                                                    \
    X(fragmented)                                                                                  \
    X(cookies)                                                                                     \
    X(puzzles)                                                                                     \
    X(crash_told)                                                                                  \
    X(crash_heard)                                                                                 \
    X(strays)                                                                                      \
    X(renewed)                                                                                     \
    X(roamed)
struct tally {
#define X(name) uint64_t name;
    TALLY_LIST(X)
#undef X
};

static inline struct world *world_of(const struct sim_host *host)
{
    return host->sim->world;
}
static inline struct member *member_of(const struct sim_host *host)
{
    return host->member;
}
static inline unsigned dice(struct world *w, unsigned limit)
{
    return sim_below(&w->dice, limit);
}
static inline bool chance(struct world *w, unsigned percent)
{
    return sim_below(&w->dice, 100) < percent;
}

/* One world from its beginning to its end; returns the hash of its trace. Bit i of `skip`: its i-th
 * blow does not fall; each has dice of its own, so that the others stay what they are. */
uint64_t world_run(uint64_t seed, uint64_t skip, struct tally *tally);
enum { BLOWS_MAX = 60 };

/* ---- draw */
void draw(struct world *w);
void draw_again(struct world *w, struct member *m);    /* another configuration */
void draw_settings(struct world *w, struct member *m); /* of what no client must begin anew for */
void draw_fewer_networks(struct world *w, struct sim_host *gateway); /* or all of them */
void draw_all_networks(struct world *w, struct sim_host *gateway);
struct ip draw_address(struct world *w, uint8_t family); /* another one, of a host without NAT */
uint8_t draw_networks(struct sim_host *host, const struct identity *peer, struct selector *out);
void draw_credentials(void); /* once per process, and the same in every one */

/* ---- place */
void place_add(struct member *m, struct ip ip, struct nat *nat);
void place_tell(struct world *w, struct member *m); /* as netlink would */
void place_move(struct world *w, struct member *m); /* to another address, or another box */
void place_trouble(struct world *w, struct member *m);
void place_calm(struct world *w, struct member *m);
/* The one that a datagram with this source leaves by; NULL: there is none any more. */
struct place *place_of(struct member *m, const struct ip *ip);
/* From where, and to which of the gateway's addresses, at the turn-th attempt; false: no way. */
bool place_route(const struct member *m, const struct member *to, unsigned turn,
                 struct ike_path *path);

/* ---- net */
void net_carry(struct sim *sim, const struct sim_datagram *datagram);
void net_calm(struct world *w);
void net_free(struct world *w);
void net_forget(struct nat *nat); /* as if it was switched off and on */

/* ---- traffic */
void traffic_start(struct world *w, time_us interval);
void traffic_arrive(struct sim_host *host, const struct sim_datagram *datagram);
bool traffic_is_esp(const struct sim_datagram *datagram);
void traffic_lost(struct world *w, const struct sim_datagram *datagram);

/* ---- blow */
void blow(struct world *w);
void dial(struct world *w, struct member *m, time_us after);
void crash(struct world *w, struct member *m);
void reload(struct world *w, struct member *m); /* m->host->conf holds */
void on_event(struct sim_host *host, const struct ike_event *event);

/* ---- hostile */
void hostile_blow(struct world *w);
void hostile_siege(struct world *w);

/* ---- watch */
struct watch *watch_create(void);
void watch_free(struct watch *watch);
void watch_sent(struct world *w, const struct sim_datagram *datagram);

/* ---- toy */
void toy_kex(bool use);

/* ---- judge */
void judge_always(struct world *w); /* after every blow */
void judge_away(struct world *w);   /* whom a gateway does not let in any more has no tunnel */
bool judge_settled(struct sim *sim);
void judge_unsettled(struct world *w); /* says what is not, and fails */
bool judge_empty(struct sim *sim);
void judge_end(struct world *w);
void judge_counters(struct world *w, const struct sim_host *host); /* before its engine goes */

/* ---- replay */
void replay_show(uint64_t seed);
uint64_t replay_shrink(uint64_t seed, uint64_t skip); /* returns what to skip */

/* ---- tell */
void tell(struct world *w, const char *format, ...) PRINTF_LIKE(2, 3);
void tell_datagram(struct world *w, const struct sim_datagram *datagram, const char *fate);

#endif
