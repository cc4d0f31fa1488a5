/* The engine from inside: what an IKE SA, a child, a tunnel and the engine consist of. What its
 * files do for one another is parts.h and exchanges.h.
 *
 *   engine   the way of a datagram; time; the look inside
 *   queue    actions on their way out; messages are counted references, never copied
 *   sa       life and death of SAs, tunnels and children; the state setter
 *   rules    which message is legal when, and who handles it
 *   window   message IDs, replayed answers, own requests and their repetition, tasks that wait
 *   sk       protection of messages
 *   fragment messages in pieces: cutting, collecting, and finding what the path carries
 *   init, intermediate, ikeauth, create, followup, rekey, info      one exchange each, both roles
 *   reauth   a new IKE SA beside the old one, and who takes over what
 *   reload   another configuration, and what it means for what stands or is under way
 *   stay     who was let in before: may it stay, and with which networks?
 *   ask      questions to the keys process and their answers
 *   path, keepalive, mobike, roam     where a peer is, and how we get there
 *   select, kes, terms, narrow, hosts, wish, config, keymat, explain     one noun each
 *   crash    a peer, or we ourselves, came back without state
 *   gate, source, cookie, puzzle      strangers, and what they may cost (gate.h)
 *
 * Memory of one established tunnel with one child is struct sa + struct tunnel + struct child + the
 * last reply + the selectors; all that only a handshake needs is in struct handshake and goes with
 * it. Objects that end within a call stay readable until the call is over (engine->grave).
 */
#ifndef SHRIKE_IKE_INTERNAL_H
#define SHRIKE_IKE_INTERNAL_H

#include "ike/ike.h"

#define NAT_PORT 4500
#define IKE_PORT 500

enum {
    NONCE_LEN = 32,
    CHILDREN_PER_SA = 16,                 /* that carry traffic */
    CHILDREN_LIMIT = 2 * CHILDREN_PER_SA, /* with their successors while they are rekeyed */
    TASKS_MAX = 12,
    OFFERS_MAX = 2 * CONF_PROPOSALS,
    COOKIE_RETRIES = 3,
    KE_RETRIES = 2,
    TICK_TIMERS = 64, /* timers handled by one ike_tick(): bounds the queue of actions */
    CERT_CACHE = 256,
    CERTREQ_HASHES = 16,
    INNER_MAX = 16384, /* octets inside SK that we write */
    FRAGMENTS_MAX = 64,
    SHRINK_TRIES = 2,          /* repetitions after which a path is believed to carry less */
    FRAGMENT_FLOOR = 576,      /* IP datagram that every path carries, near enough */
    FRAGMENT_COMMON = 1280,    /* and nearly every path; with IPv6 each one */
    FRAGMENT_MEMORY = 1 << 24, /* octets of all pieces; half of it for those not yet proven */
    SENTENCE = 384,
    ID_RESERVE = 1 << 16, /* message IDs left when an SA is replaced for want of them */
    BUSY_MAX = 8,         /* waits in a row, some five minutes: the two ends no longer agree */
    ROAM_PEERS = 8,       /* further addresses of a peer that we remember */
    ROAM_PATHS = 16,      /* pairs of addresses that are tried */
    ROAM_COOKIE = 16,     /* octets of COOKIE2 */
    ROAM_ROUTABLE = 4,    /* addresses of a peer that answered, remembered */
};

#define RETRANSMIT_FIRST (TIME_SECOND / 2)
#define RETRANSMIT_CAP   (10 * TIME_SECOND)
#define RETRANSMIT_TOTAL (60 * TIME_SECOND)
#define ERROR_GRACE      (3 * TIME_SECOND) /* after an unauthenticated error */
#define CLOSED_GRACE     (8 * TIME_SECOND) /* after ICMP: a gateway that restarts is back by then */
#define ASK_LIFE         (30 * TIME_SECOND) /* the keys process must answer in this time */
#define COOKIE_LIFE      (60 * TIME_SECOND) /* a secret makes cookies so long, and judges twice */
#define LINGER           (30 * TIME_SECOND) /* a dead SA still repeats its last answer */
#define REKEYED_LIFE     (60 * TIME_SECOND) /* replaced, and the peer does not delete it */
#define FOLLOWUP_LIFE    (60 * TIME_SECOND) /* the peer repeats its request for so long */
#define CHILDLESS_LIFE   (30 * TIME_SECOND)
#define BUSY_FIRST       (4 * TIME_SECOND) /* after TEMPORARY_FAILURE; twice as long each time */
#define BUSY_CAP         (60 * TIME_SECOND)
#define WISH_SOON        (4 * TIME_SECOND)   /* after there was no room for the task */
#define WISH_AGAIN       (30 * TIME_SECOND)  /* after the peer deleted a child that we want */
#define WISH_LATER       (600 * TIME_SECOND) /* after any other no */
#define FRAGMENT_LIFE    (60 * TIME_SECOND)  /* no peer repeats a message for longer */

/* A handler's result: 0 = answered or done, > 0 a notify to send, < 0 a local reason, or: */
enum { LATER = 0x10000 /* the answer follows when the keys process has spoken */ };

/* One message, shared by whoever keeps it: the action queue, the window, the handshake. In
 * fragments it is several datagrams of `part` octets, the last one shorter; else part is 0. */
struct message {
    uint32_t refs, len;
    uint16_t part;
    uint8_t octets[];
};

/* What was negotiated: transform numbers, 0 = none. */
struct chosen {
    uint16_t encr, encr_bits, integ, prf;
    struct kes kes;
    uint8_t sn;
};

/* Keys of an IKE SA; [0] protects what the SA's initiator sends, [1] what its responder sends. */
struct keys {
    uint8_t d[SECRET_MAX];
    uint8_t e[2][40];
    uint8_t a[2][SECRET_MAX];
};

/* What the keys of an SA are made of. */
struct secrets {
    struct bytes first, more; /* SK(0), SK(1) and so on (RFC 9370); may be empty */
    struct bytes nonce_i, nonce_r;
};

/* Key exchange and nonces of one exchange that makes keys. */
struct negotiation {
    struct kex *kex;
    uint8_t nonce_own[NONCE_LEN];
    uint16_t nonce_peer_len;
    uint8_t nonce_peer[WIRE_NONCE_MAX];
};

/* All that is needed only until an IKE SA is established. */
struct handshake {
    struct message *request, *response; /* IKE_SA_INIT as sent and received: both are signed */
    struct message *inner; /* the opened IKE_AUTH message that waits for the keys process */
    uint8_t inner_first;
    struct negotiation n;
    struct intermediate *intermediate; /* NULL: not agreed on */
    uint8_t sk_p[2][SECRET_MAX];
    uint8_t peer_hashes;   /* enum auth_hash bits */
    bool childless;        /* initiator: IKE_AUTH makes no child SA (RFC 6023) */
    uint32_t peer_methods; /* as announced (RFC 9593); 0 = they were not */
    uint8_t cookie_len, cookie[WIRE_COOKIE_MAX];
    uint8_t cookie_count, ke_count;
    struct puzzle *puzzle; /* of a responder under load, and its solution; puzzle.c */
    /* Responder: the row of half-open SAs (gate.c). */
    struct sa *row_before, *row_after;
    bool in_row;
    struct ip shown;      /* has shown that it receives, once IKE_AUTH is here */
    uint16_t group;       /* whose public value our request carries */
    uint16_t early_error; /* an unauthenticated notify: an explanation, not a fact */
    bool early_unusable;  /* no notify came, but an answer for which we would send this one */
    bool closed_port;     /* ICMP says so: the same */
    time_us early_end;    /* how long we wait for a better answer; 0 = nothing was heard */
    uint8_t method, peer_method;
    uint8_t scheme;      /* enum sign_scheme */
    uint8_t peer_scheme; /* what the peer signed with */
    uint8_t peer_by;     /* enum conf_auth */
    uint32_t want;       /* of the question that is open */
    uint32_t spi_in;     /* of the first child */
    struct identity peer, own;
    uint8_t peer_reserved[3]; /* of its ID payload, as they came: AUTH covers them */
};

enum timer_kind { TIMER_OUT, TIMER_DUTY, TIMER_CHILD, TIMER_FRAGMENTS, TIMER_FOLLOWUP, TIMER_STAY };

/* The configuration that exchanges began with which were under way when it changed. */
struct former {
    uint32_t refs;
    struct conf_tunnel conf;
};

/* An exchange of our own that makes keys (CREATE_CHILD_SA as initiator). */
struct creation {
    struct negotiation n;
    uint32_t spi_in; /* new child */
    struct sa *made; /* new IKE SA, not usable yet */
    uint16_t group;  /* 0 = no key exchange */
    uint8_t ke_count;
    struct followup *followup; /* NULL: not (yet) in IKE_FOLLOWUP_KE */
    struct rival *rival;       /* what the peer made at the same time in place of the same SA */
    struct former *former;     /* NULL: it began with the configuration of now */
};

enum { STOPGAP = 1 }; /* as spi_in of CREATE_CHILD: see struct child */
enum task_kind {
    TASK_NONE,
    TASK_INIT,
    TASK_INTERMEDIATE,
    TASK_AUTH,
    TASK_CREATE_CHILD,
    TASK_REKEY_CHILD,
    TASK_REKEY_IKE,
    TASK_DELETE_CHILD,
    TASK_DELETE_IKE,
    TASK_LIVENESS,
    TASK_UPDATE,      /* UPDATE_SA_ADDRESSES: the path is another one now */
    TASK_TRIAL,       /* does a path work that we would rather have? */
    TASK_ADDRESSES,   /* our further addresses changed */
    TASK_ROUTABILITY, /* COOKIE2: does the peer receive where it says it is? */
    TASK_TOKEN,       /* ours, of an IKE SA that we made in place of another */
};
struct task {
    uint8_t kind;
    uint8_t wish; /* CREATE_CHILD: whose policy it gets */
    union {
        uint16_t notify; /* DELETE_IKE: an error that goes with it */
        uint16_t pair;   /* CREATE_CHILD: which pair of its selectors, 0 = all */
    };
    uint32_t spi_in;
};

/* The one request of ours that is out (window 1). */
struct exchange {
    struct task task;
    uint8_t exchange;        /* enum wire_exchange */
    struct message *request; /* NULL = none is out */
    struct creation *creation;
    time_us first_sent;
    uint32_t interval;
    uint16_t idle; /* seconds that we had been silent before */
    uint8_t tries;
};

/* What only a child in transport mode has; all of an engine stand in a row. */
struct hosts {
    struct hosts *next;
    const struct child *child;
    struct ip seen_local, seen_remote; /* the two addresses as the peer has them (2.23.1) */
};

enum child_state { CHILD_CREATING, CHILD_UP, CHILD_REKEYED, CHILD_DELETING };
struct child {
    struct sa *sa;
    struct child *next;
    uint32_t spi_in, spi_out;
    struct chosen chosen;
    uint8_t state;
    bool initiator, out_waits;
    bool no_tfc;     /* ESP_TFC_PADDING_NOT_SUPPORTED came with it */
    bool stray_told; /* INVALID_SELECTORS was sent about it */
    bool replaced;   /* another one carries its traffic, so its end is no news */
    bool mute;       /* deleted by both sides at once: out has ended, in ends with our exchange */
    bool ah;         /* RFC 4302, and stays so when the configuration changes */
    bool stopgap;    /* a gateway asked for it itself, in place of one that it had to end */
    uint8_t local_count, remote_count;
    uint8_t wish;               /* whose policy it was made for, and which pair of it (0 = all) */
    uint16_t pair;              /* both only told apart by an initiator of the tunnel */
    struct selector *selectors; /* local ones, then remote ones; one block of exact size */
    struct hosts *hosts;        /* transport mode; NULL = tunnel mode */
    struct timer timer;         /* soft, then hard lifetime */
    time_us hard;
};

/* Simultaneous rekeying (RFC 7296 2.8.1): the successor the peer started, and its lower nonce. */
struct rival {
    uint64_t spi; /* our own one of that IKE SA or child; 0 when it was adopted or dropped. Not a
                     pointer: the peer may delete it before our own rekey is answered */
    uint16_t low_len; /* the lower of its two nonces */
    uint8_t low[WIRE_NONCE_MAX];
};

/* The message of the peer that comes in fragments now: opened and authentic pieces. */
struct reassembly {
    struct timer timer;
    uint32_t id;
    bool response;
    uint8_t first; /* payload type, out of the first fragment */
    uint16_t total, count;
    uint32_t octets;
    uint32_t largest; /* datagram */
    uint64_t hash;    /* of the first fragment as it came */
    struct piece {
        uint8_t *at; /* NULL = not here yet */
        uint16_t len;
    } pieces[FRAGMENTS_MAX];
};

/* What the peer will say of this SA when it has lost it (RFC 6290). */
struct crash_token {
    uint8_t len;
    uint8_t octets[];
};

struct sa {
    uint64_t spi_own, spi_peer;
    struct tunnel *tunnel; /* NULL: the tunnel is gone, or lives on in a successor */
    struct sa *next_dead;  /* grave, or chain of lingering SAs */
    struct sa *prev_dead;
    uint8_t state;
    bool initiator; /* of this IKE SA (it changes sides by rekeying) */
    bool nat_local, nat_remote, udp, nat_peer_aware;
    bool lingering, buried, half_open;
    bool initial_contact, peer_deleted, close_now;
    bool feigns_nat; /* what we last told the peer, whatever the configuration says since */
    bool auth_fresh; /* the peer's first request after IKE_AUTH is still to come */
    struct ike_path path;
    struct chosen chosen;
    struct keys keys;
    uint64_t iv;
    uint32_t next_out, next_in; /* message IDs */
    uint64_t request_hash;      /* of the last request that we answered, or are answering */
    struct message *reply;
    struct exchange out;
    struct task tasks[TASKS_MAX];
    uint8_t task_count, child_count;
    uint8_t busy_count; /* waits in a row because of TEMPORARY_FAILURE */
    uint8_t replays;    /* how often the last request has come again */
    time_us busy_until; /* what makes SAs waits so long */
    struct child *children;
    struct handshake *handshake;
    struct reassembly *reassembly;
    struct crash_token *token;
    struct followup *followup; /* what the peer has begun, and not finished */
    uint64_t init_key;         /* in engine->half_open */
    uint16_t network;          /* where the gate counts it */
    uint16_t fragment;         /* largest IP datagram we send; 0 = the peer takes no fragments */
    uint64_t ticket;           /* of the question that is open, 0 = none */
    struct timer timer_out, timer_duty;
    time_us created, last_heard, last_sent;
    time_us rekey_at, expire_at, childless_at;
    uint32_t messages;
};

/* What a gateway has told a client beside addresses and resolvers. */
struct given {
    uint8_t subnet_count, domain_count;
    struct selector subnets[CONF_SELECTORS];
    char domains[CONF_DOMAINS][CONF_DOMAIN_MAX];
};

/* A tunnel that roams (RFC 4555). A client that uses MOBIKE has one; at a gateway only a peer that
 * has told of further addresses, or whose new place is being checked. */
struct roam {
    struct ip peer[ROAM_PEERS]; /* further addresses of the peer */
    uint8_t peer_count;

    /* gateway: `target` must answer before traffic goes there instead of to `safe` */
    bool checking, safe_udp;
    bool early;   /* but it is there already: the address has answered not long ago */
    bool probing; /* `target` is asked, and nothing moves: the peer was heard there */
    uint8_t checks;
    struct ike_path target, checked, safe;
    uint8_t cookie[ROAM_COOKIE];
    struct routable {
        struct ip ip;
        time_us at;            /* 0 = free */
    } routable[ROAM_ROUTABLE]; /* where the peer has shown that it receives */

    /* client */
    bool searching;                /* requests go round all paths until one answers */
    bool offline;                  /* no path at all: wait */
    bool unsure;                   /* without MOBIKE: will the gateway follow? */
    uint8_t next;                  /* of the paths, and of the rounds */
    time_us since;                 /* when the search began */
    struct ike_path sent_on;       /* that the UPDATE under way was made for */
    bool strewn;                   /* and it went over others, too */
    struct ike_path trial, round;  /* round: the last that was tried in a search */
    struct ip standby[IKE_LOCALS]; /* our addresses beside the one in use that were tried */
    uint8_t standby_count;
    time_us trial_again, trial_pause; /* the better path did not answer: once more */
    time_us agreed_at; /* the gateway agreed to our move; 0 = its children have followed */
    bool moved;        /* to another path, and it has not agreed yet */
    uint8_t unheard;   /* since then, how often we have sent on a child and nothing came */

    /* keepalive.c */
    uint16_t proven, refuted; /* seconds the mapping outlives for certain, and does not; 0 = ? */
    uint16_t wish, awaited;   /* seconds: the call to be asked for, and that was asked for */
    bool deaf;                /* the gateway does not know such calls */
    time_us awaited_since, proven_at;
    uint64_t baseline_spi; /* of the IKE SA that `baseline` is about; 0 = there is none */
    uint8_t baseline[20];  /* how the peer sees us: NAT_DETECTION_DESTINATION_IP */
};

struct tunnel {
    uint64_t id;
    struct sa *sa; /* the IKE SA that carries it now */
    bool initiator, established, net_up, admitted;
    bool mobike;       /* both sides can (RFC 4555 3.1) */
    bool refused;      /* told already that it came to nothing, or not to be told of */
    bool renewing;     /* another one is being made to take its place; at a gateway: stands */
    bool spare;        /* it is made because the one that it renews is not answered */
    uint64_t renews;   /* the tunnel whose place this one takes: ours to finish, or the peer's */
    time_us reauth_at; /* initiator: when to authenticate anew */
    uint64_t former;   /* SPI of the IKE SA before the present one */
    struct roam *roam; /* NULL: none yet */
    struct identity *peer; /* exact size: only type, len and octets[0..len) exist */
    char *peer_name;       /* NULL = none */
    struct ip ip4, ip6;
    struct ip *dns;
    struct given *given;       /* NULL = nothing */
    struct selector *networks; /* further ones this peer may claim */
    uint8_t dns_count, network_count;
    uint8_t peer_by;          /* responder: enum conf_auth */
    bool stale;               /* initiator: made by another configuration, so to be made anew */
    struct tunnel *same_next; /* tunnels of the same identity */
    uint64_t identity_key;
    time_us created, established_at;
    time_us wish_at; /* initiator: when to ask again for children that are missing */
    time_us wake_at; /* responder: when the peer wants to be called (keepalive.c) */
    uint32_t rekeys_ike, rekeys_child, retransmissions;
};

/* One datagram on its way in. */
struct input {
    struct ike_path path;
    struct wire_header header;
    struct bytes datagram;
    const struct wire_chain *outer;
    const struct wire_chain *inner; /* NULL until SK was opened */
    uint8_t inner_first;
    struct bytes inner_octets;
    struct wire_fragment fragment; /* number 0: not one */
    uint64_t hash; /* of the datagram, or of the first fragment; once the message is open */
};

struct node;   /* queue.c */
struct puzzle; /* puzzle.c */
struct gate;   /* gate.h */
struct sweep;  /* stay.c */

struct ike_engine {
    struct ike_setup setup;
    const struct conf_tunnel *conf; /* = setup.tunnel */
    time_us now;
    struct map sas;        /* by our SPI */
    struct map half_open;  /* by initiator's SPI and address */
    struct map tunnels;    /* by id */
    struct map identities; /* by hash of the peer's identity; a chain of tunnels */
    struct map children;   /* by inbound SPI */
    struct map tickets;
    struct slab sa_slab, tunnel_slab, child_slab, handshake_slab, creation_slab;
    struct timer_heap timers;
    size_t timer_count;
    struct ike_counters counters;
    uint64_t next_tunnel, next_ticket;
    size_t message_count, action_count, fragment_octets; /* the last: in all reassemblies */
    struct gate *gate;                                   /* of a responder */
    struct node *queue_first, *queue_last, *spent;
    struct sa *grave, *linger_first, *linger_last;
    struct sa *woken; /* has inherited work in this call */
    struct hosts *hosts;
    struct sweep *sweep; /* NULL: all peers were asked about */
    bool anchor_lost;    /* the configuration no longer trusts a CA that one before did */
    time_us reloaded_at;
    struct aead_engine *aead_engine;
    struct aead *aead;
    size_t aead_cap;
    struct auth_cache *certs;
    struct ike_addresses addresses; /* of this host */
    struct budget crash_answers, crash_doubts;
    /* Events about refused peers and strangers; lines about the same. */
    struct budget peers_told, strangers_told, peers_logged, strangers_logged;

    /* Scratch: valid within one call. */
    struct input input;
    struct wire_chain outer_chain, inner_chain;
    struct exchange done;      /* our exchange that the message at hand has answered */
    struct wire_builder reply; /* the inside of the answer under construction */
    uint8_t notify_data[8];    /* of the notify a handler returns */
    uint8_t notify_len;
    bool ts_left_out; /* of the child that is negotiated: the peer may ask for more in another */
    struct proposal offered[PROPOSALS_MAX], offer[OFFERS_MAX], picked;
    struct selector ts_i[WIRE_SELECTORS_MAX], ts_r[WIRE_SELECTORS_MAX];
    struct wire_config config;
    char why[SENTENCE];
    /* Belong to `why`; empty = it is not about lists. */
    char why_offered[IKE_LIST_TEXT], why_accepted[IKE_LIST_TEXT];
    uint8_t octets[AUTH_OCTETS_MAX];
    uint8_t secret[KEX_SECRET_MAX];
    uint8_t inner_buffer[INNER_MAX];
    uint8_t in_buffer[WIRE_MESSAGE_MAX + 1], out_buffer[WIRE_MESSAGE_MAX + 1];
};

#include "ike/parts.h"
#include "ike/exchanges.h"

#endif
