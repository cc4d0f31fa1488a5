/* ike: the IKEv2 engine, a pure state machine (RFC 7296).
 *
 * Bytes, time and commands go in; one queue of actions comes out. It knows no socket, clock,
 * thread, file or random source: all are passed in. So many engines run in one test on a virtual
 * clock, and a fuzzer starts from an established pair.
 *
 *   ike_input()    a datagram came in on this path
 *   ike_command()  initiate, delete, rekey, ...
 *   ike_reload()   another configuration holds from now on
 *   ike_answer()   what an ASK action was waiting for: things only the keys process can do
 *   ike_fact()     what the data plane saw
 *   ike_tick()     time went by; ike_deadline() says when to call it
 *   ike_next()     drains the queue; call it until it returns false after each of the above
 *   ike_walk()     read-only view for status
 *
 * A *tunnel* is what a user means by a connection: it keeps its id over IKE SA rekeys. An IKE SA
 * belongs to one tunnel; child SAs too. A tunnel whose last child is gone for good ends. A client
 * also keeps it when it authenticates anew, be it because nobody answered any more; to its gateway
 * that is a second tunnel of the same peer, from the same address and port, to which the leases of
 * the first one pass.
 *
 * The way of a datagram: header, SPI map, `window` (message IDs, stored replies), `sk` (verify,
 * decrypt), `walk`, the row of `rules` for exchange, role and state, then the handler. Handlers
 * decide on locals and commit last; unauthenticated bytes change nothing but counters. A handler
 * returns 0, a notify to send (> 0) or a local reason (< 0); one place turns that into reply,
 * delete or silence.
 *
 * States of an IKE SA: INIT_SENT -> (INTERMEDIATE_SENT ->) AUTH_SENT -> ESTABLISHED (initiator);
 * INIT_DONE -> AUTH_ASKED
 * -> ESTABLISHED (responder); ESTABLISHED -> REKEYED (a successor exists, waiting for delete) ->
 * gone; any -> DELETING -> gone. An SA that has ended repeats its last answer for half a minute,
 * for a peer that did not get it.
 *
 * Own requests: one at a time per IKE SA, the others wait as tasks of a few octets. When both sides
 * rekey at once, both requests are answered, and the successor with the lowest nonce is deleted by
 * who began it (RFC 7296 2.8); what cannot be mixed is refused with TEMPORARY_FAILURE and tried
 * again after waits that grow; minutes of it end the tunnel (2.25).
 *
 * Addresses change: IKE_ADDRESSES says what this host has now. A client moves its tunnel (MOBIKE,
 * RFC 4555) or looks for a path that still works; a gateway tells its peers, and moves their
 * traffic when the new place has shown that it receives. ESP_MOVE says where a tunnel's traffic
 * goes.
 *
 * The configuration changes while tunnels stand: ike_reload(). What was not negotiated holds at
 * once, what was by the next exchange, and a suite that is no longer allowed is rekeyed soon. A
 * gateway asks keys, a few at a time, for each peer whether it may stay, ends the tunnels of those
 * who may not, and deletes children for networks that it no longer has, in whose place it asks for
 * one with what is left; networks that are new come to children that are made from then on. A
 * client whose tunnel stands on something else now makes a new IKE SA and then gives up the old
 * one. An exchange of ours that is under way ends by the configuration that it began with, a
 * handshake is judged by the new one. Nothing is sent to a peer whom the change does not concern.
 *
 * Memory is bounded: SAs come from slabs sized by conf_tunnel.max_tunnels; half-open ones have a
 * limit of their own, and gate.h says what strangers must show before they get such a place (2.6,
 * RFC 8019). The queue of
 * actions is bounded by what one call can produce. Stored requests and replies are one exact-size
 * block each. An idle tunnel with one child takes about 1.5 kB.
 */
#ifndef SHRIKE_IKE_H
#define SHRIKE_IKE_H

#include "auth/auth.h"
#include "conf/conf.h"

struct ike_engine;

/* Which socket a datagram uses; the non-ESP marker (RFC 3948) is the caller's business on
 * IKE_PORT_NATT. */
enum ike_port { IKE_PORT_500, IKE_PORT_NATT };
struct ike_path {
    struct endpoint local, remote;
    uint32_t interface; /* index, 0 = by route */
    uint8_t port;       /* enum ike_port */
};

enum { IKE_CERTS_OWN = 4, IKE_LOCALS = 8, IKE_REMOTES = 8 };

/* What the engine needs; pointers stay valid as long as it lives, those of the first block until
 * another one has taken their place (ike_reload). */
struct ike_setup {
    const struct conf_tunnel *tunnel;
    const struct cert_trust *trust;              /* may be NULL when only PSK is used */
    const struct cert *own_certs[IKE_CERTS_OWN]; /* leaf first */
    size_t own_cert_count;
    struct identity own_id; /* resolved: never NONE unless local address is to be used */

    const struct random *random;
    int64_t (*wall_clock)(void *context); /* seconds since 1970, for certificates */
    void *wall_context;
    /* Makes the tokens that tell peers of a restart (RFC 6290); it outlives the process. */
    bool has_crash_secret;
    uint8_t crash_secret[32];
    uint64_t id_base; /* first tunnel id; a restarted process takes another one */
};
struct ike_engine *ike_create(const struct ike_setup *setup, time_us now);
void ike_free(struct ike_engine *engine); /* wipes everything; nothing is sent */

/* Another configuration: `tunnel`, `trust`, `own_certs` and `own_id` of setup hold from now on; the
 * rest of it is not looked at. When it returns 0 the engine uses nothing any more of what those
 * pointers were before. On an error nothing has changed: ERR_ARGUMENT (another role, or another
 * max_tunnels, by which memory was laid out), ERR_MEMORY. Questions that are open are asked again:
 * from here on they go to a keys process that has the new configuration, and whatever the former
 * one still says falls on the floor. Peers that proved themselves by a certificate are closed when
 * a CA of before is no longer trusted, as their chains are not kept; a changed pre-shared key asks
 * nobody for a new proof, unless keys says no to IKE_WANT_STAY. */
int ike_reload(struct ike_engine *engine, time_us now, const struct ike_setup *setup) MUST_USE;

void ike_input(struct ike_engine *engine, time_us now, const struct ike_path *path,
               struct bytes datagram);

enum ike_command_kind {
    IKE_INITIATE,     /* path: where to; a new tunnel */
    IKE_DELETE,       /* tunnel (0 = all): tell the peer and forget */
    IKE_REKEY_IKE,    /* tunnel (0 = all) */
    IKE_REKEY_CHILD,  /* tunnel (0 = all), spi_in (0 = all children) */
    IKE_CREATE_CHILD, /* tunnel: one more child with the configured selectors */
    IKE_DELETE_CHILD, /* tunnel, spi_in */
    IKE_CHECK,        /* tunnel: liveness now */
    IKE_ADDRESSES,    /* what this host has now: addresses; tells and moves whom it concerns */
};
/* Where this host can send from, by rank, as its routes have it. */
struct ike_local {
    struct endpoint at; /* with the port of the socket for IKE_PORT_NATT */
    uint32_t interface; /* index; 0 = by route */
    uint32_t rank;      /* lower is better; equal ones are no reason to move */
};
struct ike_addresses {
    uint8_t local_count, remote_count;
    bool doubt; /* the host slept, or links changed: look whether the path still works */
    bool more;  /* gateway: it has others that found no room here, so none is known to be gone */
    struct ike_local local[IKE_LOCALS];
    struct ip remote[IKE_REMOTES]; /* client: what the gateway's name stands for */
};
struct ike_command {
    uint32_t kind;
    uint32_t spi_in;
    uint64_t tunnel;
    struct ike_path path;
    struct ike_addresses addresses;
};
/* 0, ERR_NOT_FOUND, ERR_STATE, ERR_LIMIT. For IKE_INITIATE *tunnel (may be NULL) gets the new id.
 */
int ike_command(struct ike_engine *engine, time_us now, const struct ike_command *command,
                uint64_t *tunnel) MUST_USE;

/* ---- asking the keys process
 * ---------------------------------------------------------------------------------------------------
 */

enum ike_want {
    IKE_WANT_SIGN = 1, /* make our own AUTH over own_octets, by method and scheme */
    IKE_WANT_VERIFY_PSK =
        2,              /* is peer_auth the PSK MAC over peer_octets for this pair of identities? */
    IKE_WANT_ADMIT = 4, /* may this identity in, and with which addresses? (responder) */
    IKE_WANT_RELEASE = 8, /* the tunnel is gone: its leases are free; no answer comes */
    /* After a reload: may this peer, let in before by `peer_by`, stay, with these addresses? Alone,
     * never with others; at most IKE_STAYS of them are open at a time. */
    IKE_WANT_STAY = 16,
};
enum { IKE_STAYS = 64 };
/* One question, whole: VERIFY comes before ADMIT comes before SIGN, and the first that fails ends
 * it. */
struct ike_ask {
    uint64_t ticket; /* give it back in the answer */
    uint64_t tunnel;
    uint32_t want;
    uint16_t prf;
    uint8_t method; /* of our AUTH */
    uint8_t scheme; /* enum sign_scheme of our AUTH */
    uint8_t
        peer_by; /* enum conf_auth: how the peer proved itself (already done for CONF_AUTH_CERT) */
    bool
        replaces; /* this tunnel takes the place of all others of that identity, and their leases */
    uint64_t renews; /* ADMIT: the peer authenticates anew; what that tunnel has leased passes to
                        this one. RELEASE: the tunnel that gets it back, as it lives on; 0 = none */
    bool ask_ip4, ask_ip6;
    struct ip wanted_ip4, wanted_ip6; /* the client's wish, or family 0; STAY: what it has leased */
    struct identity own, peer;
    uint16_t own_len, peer_len, peer_auth_len;
    uint8_t peer_auth[64];
    /* What we sign, then what the peer has: only so much exists and crosses to keys as is in use.
     */
    uint8_t octets[2 * AUTH_OCTETS_MAX];
};
static inline struct bytes ike_ask_own(const struct ike_ask *ask)
{
    return (struct bytes){ask->octets, ask->own_len};
}
static inline struct bytes ike_ask_peer(const struct ike_ask *ask)
{
    return (struct bytes){ask->octets + ask->own_len, ask->peer_len};
}
struct ike_answer {
    uint64_t ticket;
    int32_t result; /* 0 or enum err; with ERR_ADDRESS the peer is let in without an address. STAY:
                       any error ends the tunnel */
    uint16_t auth_len;
    uint8_t auth[SIGNATURE_MAX]; /* signature or MAC, not yet an AUTH payload */
    struct ip ip4, ip6;          /* leased; family 0 = none. STAY: what it may have; another
                                    address than it has ends the tunnel */
    uint8_t network_count;
    struct selector networks[4]; /* further networks this peer may claim behind it */
    char peer_name[CONF_NAME_MAX];
};
void ike_answer(struct ike_engine *engine, time_us now, const struct ike_answer *answer);

/* ---- what the data plane saw
 * ----------------------------------------------------------------------------------------------------
 */

enum ike_fact_kind {
    IKE_FACT_CHILD_SOFT,  /* volume limit near: rekey */
    IKE_FACT_CHILD_HARD,  /* the child carries nothing any more */
    IKE_FACT_HEARD,       /* authentic traffic came in */
    IKE_FACT_SENT,        /* traffic went out and nothing came in */
    IKE_FACT_STRAYED,     /* an authentic packet was not for its child SA */
    IKE_FACT_UNKNOWN_SPI, /* remote sends ESP with an SPI that is none of ours */
};
enum { IKE_STRAY_MAX = 48 };
struct ike_fact {
    uint32_t kind;
    uint32_t spi_in;
    uint64_t tunnel;
    uint8_t stray_len, stray[IKE_STRAY_MAX]; /* STRAYED: how the packet begins */
    bool sent;                               /* HEARD: traffic went out, too */
    /* HEARD: the newest packet came from here, when this is another place than the child's path
     * says; family 0 = it did not. UNKNOWN_SPI: who sends; port 0: plain ESP */
    struct endpoint remote;
};
void ike_fact(struct ike_engine *engine, time_us now, const struct ike_fact *fact);

/* ICMP says that nobody listens there, and quotes the beginning of our datagram. It is believed
 * only when it quotes the SPI of an attempt of ours, and even then ends it only after some seconds
 * of further tries (RFC 7296 2.21.4). */
void ike_unreachable(struct ike_engine *engine, time_us now, const struct endpoint *remote,
                     struct bytes quoted);

void ike_tick(struct ike_engine *engine, time_us now);
time_us ike_deadline(const struct ike_engine *engine); /* TIME_NEVER when nothing is planned */

/* ---- actions
 * ---------------------------------------------------------------------------------------------------------------------
 */

/* The key exchanges of one SA (RFC 9370): method numbers, 0 = none. */
struct kes {
    uint16_t ke;
    uint8_t add[ADDKE_MAX]; /* additional ones, in order */
};
/* "x25519-ke1_mlkem768"; empty: none. */
const char *ike_kes_print(const struct kes *kes, char text[static 512]);

enum { IKE_KEYMAT_MAX = 128 };
/* A child SA, all the data plane needs. run/ turns it into its esp_sa_config. */
struct ike_child {
    uint64_t tunnel;
    uint32_t spi_in, spi_out;
    uint16_t encr, encr_bits, integ;
    struct kes kes; /* of its own, ke 0 = none: for status */
    bool esn, udp, out_waits, initiator;
    bool ah;        /* RFC 4302 instead of ESP: then encr is 0, and udp never set */
    bool transport; /* between the two hosts alone, RFC 7296 1.3.1 */
    bool no_tfc;    /* the peer takes no TFC padding on it (RFC 7296 3.10.1) */
    uint8_t wish;   /* of the tunnel's initiator: 0 = the first child, n = conf children[n - 1] */
    uint8_t keymat_len; /* of each direction */
    uint8_t keymat_in[IKE_KEYMAT_MAX], keymat_out[IKE_KEYMAT_MAX];
    struct ike_path path;
    uint8_t local_count, remote_count;
    struct selector local_ts[CONF_SELECTORS], remote_ts[CONF_SELECTORS];
    /* Transport mode through NAT: what the two addresses are to the peer, whose checksums are made
     * with them (2.23.1); family 0 = the same. */
    struct ip seen_local, seen_remote;
};
/* What the host has to do for a tunnel: addresses, routes, DNS. */
struct ike_net {
    uint64_t tunnel;
    bool initiator;
    bool udp; /* ESP_MOVE: encapsulated or plain from now on */
    struct ike_path path;
    struct ip ip4, ip6; /* client: ours; gateway: the peer's */
    struct ip dns[CONF_DNS];
    uint8_t dns_count;
    uint8_t domain_count; /* names that these resolvers are for; 0 = all */
    char domains[CONF_DOMAINS][CONF_DOMAIN_MAX];
    /* Where traffic goes: of the first child as negotiated, of a client's further ones and of a
     * site's networks as configured, so that nothing goes beside the tunnel. */
    uint8_t remote_count;
    struct selector remote_ts[CONF_ROUTES];
    /* Transport mode: what goes between these local and those remote selectors, and NET_UP comes
     * for each child that a gateway gets. */
    bool transport, more; /* more: another child of a tunnel that is up */
    uint8_t local_count;
    struct selector local_ts[CONF_SELECTORS];
};
enum { IKE_LIST_TEXT = 240 };
enum ike_event_kind {
    IKE_EVENT_ESTABLISHED,
    IKE_EVENT_FAILED, /* before it was established; err, notify and text say why */
    IKE_EVENT_DOWN,   /* after; err says why */
    IKE_EVENT_REKEYED_IKE,
    IKE_EVENT_REKEYED_CHILD,
    IKE_EVENT_CHILD_UP,
    IKE_EVENT_CHILD_DOWN,
    IKE_EVENT_REFUSED,    /* a handshake or a later request was refused; text: why, what to do */
    IKE_EVENT_RETRANSMIT, /* a request was sent again (diagnosis only) */
    IKE_EVENT_MOVED,      /* the tunnel goes another way now: path */
};
struct ike_event {
    uint32_t kind;
    int32_t err;     /* enum err, 0 = none */
    uint16_t notify; /* the notify that came or was sent, 0 = none */
    uint16_t exchange;
    uint64_t tunnel;
    struct ike_path path;
    struct identity peer;
    uint32_t messages;   /* ESTABLISHED: datagrams sent and received for it */
    uint32_t elapsed_us; /* since the first message */
    char text[384];      /* one sentence: what and why; after the first "; " what next */
    char offered[IKE_LIST_TEXT], accepted[IKE_LIST_TEXT]; /* REFUSED: by the peer, and by us */
};

enum ike_action_kind {
    IKE_SEND,
    IKE_ESP_ADD,
    IKE_ESP_DEL,
    IKE_ESP_MOVE,
    IKE_NET_UP,
    IKE_NET_DOWN,
    IKE_ASK,
    IKE_EVENT
};
struct ike_esp_del {
    uint64_t tunnel;
    uint32_t spi_in;
    bool linger; /* inbound stays a while for packets under way */
};
struct ike_send {
    struct ike_path path;
    struct bytes datagram; /* valid until the next call into the engine other than ike_next's own */
};
struct ike_action {
    uint32_t kind;
    union {
        struct ike_send send;
        struct ike_child esp_add;
        struct ike_esp_del esp_del;
        struct ike_net net; /* NET_UP; NET_DOWN; ESP_MOVE uses tunnel, path and udp */
        struct ike_event event;
        const struct ike_ask *ask; /* valid like datagram; wiped afterwards */
    };
};
/* Takes the next action; false when there is none. Order matters: ESP_ADD of a responder comes
 * before the SEND of its answer. */
bool ike_next(struct ike_engine *engine, struct ike_action *action);

/* ---- looking in
 * -------------------------------------------------------------------------------------------------------------------
 */

#define IKE_STATE_LIST(X)                                                                          \
    X(NONE)                                                                                        \
    X(INIT_SENT)                                                                                   \
    X(INIT_DONE)                                                                                   \
    X(INTERMEDIATE_SENT)                                                                           \
    X(AUTH_ASKED)                                                                                  \
    X(AUTH_SENT)                                                                                   \
    X(ESTABLISHED)                                                                                 \
    X(REKEYED)                                                                                     \
    X(DELETING)
enum ike_state {
#define X(name) IKE_STATE_##name,
    IKE_STATE_LIST(X)
#undef X
        IKE_STATE_COUNT
};
const char *ike_state_name(uint8_t state);

struct ike_status {
    uint64_t tunnel, spi_i, spi_r;
    uint8_t state;
    bool initiator, nat_local, nat_remote, udp, mobike;
    struct ike_path path;
    struct identity own, peer;
    char peer_name[CONF_NAME_MAX];
    struct proposal suite; /* what was chosen */
    time_us created, established, last_heard, rekey_at;
    uint32_t rekeys_ike, rekeys_child, retransmissions;
    struct ip ip4, ip6;
    size_t child_count;
    const struct ike_child *children; /* keymat is zeroed */
};
void ike_walk(const struct ike_engine *engine,
              void (*visit)(void *context, const struct ike_status *status), void *context);

#define IKE_COUNTER_LIST(X)                                                                        \
    X(in_datagrams, "datagrams received")                                                          \
    X(out_datagrams, "datagrams sent")                                                             \
    X(drop_malformed, "header or payload chain malformed")                                         \
    X(drop_version, "another major version")                                                       \
    X(drop_unknown_spi, "no SA with these SPIs")                                                   \
    X(drop_half_open, "too many half-open SAs")                                                    \
    X(drop_rate, "new connections of one source came too often")                                   \
    X(drop_banned, "sources that failed to authenticate and must wait")                            \
    X(drop_puzzle, "puzzles left unsolved, with no place to spare")                                \
    X(cookies_asked, "first requests answered with a cookie")                                      \
    X(puzzles_asked, "and with a puzzle")                                                          \
    X(drop_message_id, "message ID outside the window")                                            \
    X(drop_integrity, "integrity check failed")                                                    \
    X(drop_rule, "no rule allows this message in this state")                                      \
    X(drop_memory, "a limit on memory was reached")                                                \
    X(drop_fragment, "fragment here already, of an older attempt, or not agreed on")               \
    X(in_fragmented, "messages received in fragments")                                             \
    X(out_fragmented, "messages sent in fragments")                                                \
    X(crash_told, "peers told that we do not know their SA")                                       \
    X(crash_heard, "IKE SAs ended because the peer was restarted")                                 \
    X(replayed, "requests answered again from the stored reply")                                   \
    X(retransmitted, "requests sent again")                                                        \
    X(strays_told, "INVALID_SELECTORS sent: a packet came in that was not for its child SA")       \
    X(strays_heard, "INVALID_SELECTORS received: the peer refuses what we send on a child SA")     \
    X(established, "IKE SAs established")                                                          \
    X(refused, "handshakes and requests refused, for the reasons that follow")                     \
    X(refused_algorithms, "no common algorithms")                                                  \
    X(refused_identity, "nobody here has this identity")                                           \
    X(refused_proof, "wrong key or signature")                                                     \
    X(refused_certificate, "a certificate that does not hold")                                     \
    X(refused_address, "no inner address")                                                         \
    X(refused_selectors, "no common traffic selectors")                                            \
    X(refused_unfinished, "begun and not finished")                                                \
    X(refused_full, "all places taken")                                                            \
    X(refused_syntax, "messages that cannot be read")                                              \
    X(refused_other, "something else")                                                             \
    X(failed, "handshakes that failed")                                                            \
    X(illegal_moves, "state changes that must not happen: a fault in the program")
struct ike_counters {
#define X(name, help) uint64_t name;
    IKE_COUNTER_LIST(X)
#undef X
};
const struct ike_counters *ike_counters(const struct ike_engine *engine);
/* For leak checks: IKE SAs, child SAs, stored messages, timers that are held; octets of messages
 * that came in part. */
struct ike_usage {
    size_t sas, children, messages, timers, half_open, actions, fragments;
    bool cookies;   /* so many are half-open that strangers need a cookie */
    uint8_t puzzle; /* difficulty of the puzzle they must solve besides, 0 = none */
    bool judging;   /* after a reload it is not yet known of each peer whether it may stay */
};
void ike_usage(const struct ike_engine *engine, struct ike_usage *out);

#endif
