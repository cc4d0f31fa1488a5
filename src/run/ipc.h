/* What crosses the process boundaries: one fixed-size struct a message over SOCK_SEQPACKET, same
 * binary on both ends, so no marshalling. On the wire a message is its kind, its serial and the one
 * member of the union that belongs to the kind; a message of any other size is refused.
 *
 * Who talks to whom: monitor - keys, monitor - ike, monitor - esp, ike - keys, ike - esp; and a
 * keys process with its successor, once.
 * Descriptors are non-blocking. Who may wait for room: a sender towards keys or esp (their
 * questions are counted, so both ways together cannot fill up); the monitor towards ike for the
 * moment of a reload, as ike never waits for it; nobody else towards ike or monitor.
 * When the monitor's end of a pair is closed the process ends itself.
 */
#ifndef SHRIKE_RUN_IPC_H
#define SHRIKE_RUN_IPC_H

#include "esp/esp.h"
#include "ike/ike.h"
#include "store/store.h"

/* X(kind, octets of the body that travels with it) */
#define IPC_LIST(X)                                                                                \
    X(IPC_NONE, 0)                                                                                 \
    /* monitor -> any */                                                                           \
    X(IPC_STOP, 0)                         /* end in good order (ike: delete all tunnels first) */ \
    X(IPC_PEER, sizeof(struct ipc_peer))   /* a new pair to a neighbour: descriptor attached */    \
    X(IPC_STATUS_ASK, 0)                   /* answered with the same serial */                     \
    X(IPC_LEVEL, sizeof(struct ipc_level)) /* log so much from now on */                           \
    /* any -> monitor */                                                                           \
    X(IPC_READY, 0)                        /* confined and serving */                              \
    X(IPC_FAULT, sizeof(struct ipc_fault)) /* cannot start: the process ends after this */         \
    X(IPC_STATUS_IKE, sizeof(struct ipc_status_ike))     /* one per IKE SA */                      \
    X(IPC_STATUS_CHILD, sizeof(struct ipc_status_child)) /* one per child SA, after its IKE SA */  \
    X(IPC_STATUS_ESP, sizeof(struct esp_sa_status))      /* one per child SA */                    \
    X(IPC_STATUS_END_IKE, sizeof(struct ipc_end_ike))                                              \
    X(IPC_STATUS_END_ESP, sizeof(struct ipc_end_esp))                                              \
    /* monitor -> ike, and back with the same serial */                                            \
    X(IPC_COMMAND, sizeof(struct ike_command))                                                     \
    X(IPC_COMMAND_DONE, sizeof(struct ipc_done))                                                   \
    /* monitor -> ike: what a changed configuration needs; RELOAD, its certificates, RELOAD_END is \
     * answered by RELOAD_DONE; a PEER that leads to another keys process puts it into force, and  \
     * is answered by a second RELOAD_DONE; when all tunnels are judged, JUDGED follows */         \
    X(IPC_RELOAD, sizeof(struct ipc_reload))                                                       \
    X(IPC_CERT, sizeof(struct ipc_cert)) /* one, or a piece of it */                               \
    X(IPC_RELOAD_END, 0)                                                                           \
    X(IPC_RELOAD_DONE, sizeof(struct ipc_reload_done))                                             \
    X(IPC_JUDGED, sizeof(struct ipc_judged))                                                       \
    /* monitor -> keys: a successor (descriptor attached) gets what this one knows */              \
    X(IPC_HAND_OVER, 0)                                                                            \
    /* keys -> its successor */                                                                    \
    X(IPC_LEASE_KEY, sizeof(struct lease_key))                                                     \
    X(IPC_LEASES, sizeof(struct ipc_leases))                                                       \
    X(IPC_SECRET, sizeof(struct ipc_secret))                                                       \
    X(IPC_HANDED_OVER, 0) /* that was all */                                                       \
    /* the successor -> monitor: it serves now */                                                  \
    X(IPC_TAKEN_OVER, sizeof(struct ipc_taken_over))                                               \
    /* monitor -> ike: what became of a NET_UP in transport mode */                                \
    X(IPC_NET_DONE, sizeof(struct ipc_done))                                                       \
    /* ike -> monitor */                                                                           \
    X(IPC_NET_UP, sizeof(struct ike_net))                                                          \
    X(IPC_NET_DOWN, sizeof(struct ike_net))                                                        \
    X(IPC_EVENT, sizeof(struct ipc_event))                                                         \
    /* ike -> keys, keys -> ike */                                                                 \
    X(IPC_ASK, sizeof(struct ike_ask))                                                             \
    X(IPC_RELEASE, sizeof(struct ipc_release)) /* the tunnel is gone; no answer */                 \
    X(IPC_ANSWER, sizeof(struct ike_answer))                                                       \
    X(IPC_LAST, 0) /* ike asks somebody else from now on */                                        \
    /* ike -> esp */                                                                               \
    X(IPC_ESP_ADD, sizeof(struct esp_sa_config)) /* answered by IPC_ESP_ADDED */                   \
    X(IPC_ESP_DEL, sizeof(struct ipc_esp_del))                                                     \
    X(IPC_ESP_MOVE, sizeof(struct ipc_esp_move))                                                   \
    /* esp -> ike */                                                                               \
    X(IPC_ESP_ADDED, sizeof(struct ipc_added)) /* what became of one or more ESP_ADD */            \
    X(IPC_FACTS, sizeof(struct ipc_facts))

enum ipc_kind {
#define X(kind, size) kind,
    IPC_LIST(X)
#undef X
        IPC_KINDS
};

/* The processes, in the order of their user ids (conf.uid_base + role). */
enum run_role { ROLE_MONITOR, ROLE_KEYS, ROLE_IKE, ROLE_ESP, ROLE_COUNT };

enum {
    IPC_FACTS_MAX = 32,
    IPC_ADDED_MAX = 32,
    IPC_SUITE_TEXT = 128,
    IPC_LEASES_MAX = 64,
    IPC_CERT_PIECE = 8192,
    IPC_CERT_OCTETS = 65536, /* of a whole certificate */
};

struct ipc_peer {
    uint32_t role;       /* who is at the other end */
    uint32_t generation; /* of the ike process */
};
struct ipc_fault {
    int32_t exit_code; /* enum exit_code's number */
    char text[512];    /* one sentence: what, why, what next */
};
/* Identities cross as text: the monitor does not read a stranger's DER. */
struct ipc_event {
    struct ike_event what;
    char who[IDENTITY_TEXT]; /* empty = not known */
};
struct ipc_status_ike {
    uint64_t tunnel, spi_i, spi_r;
    uint8_t state;
    bool initiator, nat_local, nat_remote, udp;
    struct ike_path path;
    char own[IDENTITY_TEXT], peer[IDENTITY_TEXT]; /* empty = not known */
    char peer_name[CONF_NAME_MAX];
    char suite[IPC_SUITE_TEXT];
    /* microseconds from now: into the past; rekey_in into the future (0 = not planned) */
    uint64_t age, established_ago, heard_ago, rekey_in;
    uint32_t rekeys_ike, rekeys_child, retransmissions;
    struct ip ip4, ip6;
    uint32_t children;
};
struct ipc_status_child {
    uint64_t tunnel;
    uint32_t spi_in, spi_out;
    bool esn, udp, ah, transport, initiator;
    char name[32]; /* of a client's further child */
    char suite[IPC_SUITE_TEXT];
    char kes[IPC_SUITE_TEXT]; /* its own key exchanges, empty = none */
    uint8_t local_count, remote_count;
    struct selector local_ts[CONF_SELECTORS], remote_ts[CONF_SELECTORS];
};
struct ipc_end_ike {
    struct ike_counters counters;
    struct ike_usage usage;
    uint64_t lost_events; /* the monitor was too slow to take them */
};
struct ipc_end_esp {
    struct esp_counters counters;
};
struct ipc_done {
    int32_t result; /* 0 or enum err */
    uint64_t tunnel;
};
struct ipc_added {
    uint32_t count;
    struct ipc_added_one {
        int32_t result; /* 0 or enum err */
        uint32_t spi_in;
        uint64_t tunnel;
    } at[IPC_ADDED_MAX];
};
struct ipc_level {
    int32_t level; /* enum log_level */
};
struct ipc_reload {
    struct conf_tunnel tunnel;
    bool sites; /* some peer has networks behind it */
};
enum ipc_cert_kind { IPC_CERT_OWN, IPC_CERT_TRUST };
struct ipc_cert {
    uint32_t kind;               /* enum ipc_cert_kind */
    uint32_t total, offset, len; /* octets of its DER; pieces come in order */
    uint8_t octets[IPC_CERT_PIECE];
};
struct ipc_reload_done {
    int32_t result; /* 0 or enum err: then nothing has changed */
    bool in_force;  /* else it is only prepared */
    bool own_changed, trust_changed;
};
struct ipc_judged {
    uint32_t stayed, ended;
};
struct ipc_leases {
    uint32_t count;
    struct lease_record at[IPC_LEASES_MAX];
};
struct ipc_secret {
    struct identity who; /* NONE: of all who have none of their own */
    uint16_t len;
    uint8_t psk[CONF_PSK_MAX];
};
struct ipc_taken_over {
    uint32_t held, left; /* leases that go on, and held ones that cannot */
    uint32_t secrets;    /* identities whose shared secret is another */
};
struct ipc_release {
    uint64_t tunnel, heir; /* heir: the tunnel that lives on with them, 0 = none */
    struct identity peer;
};
struct ipc_esp_del {
    uint64_t tunnel;
    uint32_t spi_in;
    bool linger;
};
struct ipc_esp_move {
    uint64_t tunnel;
    struct endpoint local, remote;
    uint32_t interface;
    bool udp;
};
struct ipc_facts {
    uint32_t count;
    struct esp_fact at[IPC_FACTS_MAX];
};

struct ipc_message {
    uint32_t kind; /* enum ipc_kind */
    uint32_t serial;
    union {
        struct ipc_peer peer;
        struct ipc_fault fault;
        struct ipc_status_ike status_ike;
        struct ipc_status_child status_child;
        struct esp_sa_status status_esp; /* times as microseconds ago, 0 = never */
        struct ipc_end_ike end_ike;
        struct ipc_end_esp end_esp;
        struct ike_command command;
        struct ipc_done done;
        struct ipc_added added;
        struct ike_net net;
        struct ipc_event event;
        struct ike_ask ask;
        struct ipc_level level;
        struct ipc_reload reload;
        struct ipc_cert cert;
        struct ipc_reload_done reload_done;
        struct ipc_judged judged;
        struct lease_key lease_key;
        struct ipc_leases leases;
        struct ipc_secret secret;
        struct ipc_taken_over taken_over;
        struct ipc_release release;
        struct ike_answer answer;
        struct esp_sa_config esp_add;
        struct ipc_esp_del esp_del;
        struct ipc_esp_move esp_move;
        struct ipc_facts facts;
    };
};

/* A pair with large buffers; [0] and [1] are alike. ERR_SYSTEM. */
int ipc_pair(int pair[static 2]) MUST_USE;
/* Sends one message, with a descriptor when attach >= 0 (the caller keeps it). ERR_AGAIN: no room;
 * ERR_CLOSED: nobody there any more. */
int ipc_send(int fd, const struct ipc_message *message, int attach) MUST_USE;
/* The same, waiting for room for at most wait_ms. */
int ipc_send_wait(int fd, const struct ipc_message *message, int attach, int wait_ms) MUST_USE;
/* Takes one message. *attached (may be NULL: then refused and closed) gets a descriptor the caller
 * owns, or -1. ERR_AGAIN, ERR_CLOSED; ERR_SYNTAX: the message was of no known form and is gone. */
int ipc_receive(int fd, struct ipc_message *message, int *attached) MUST_USE;
/* Kind and serial set, the body of that kind zeroed. */
void ipc_prepare(struct ipc_message *message, enum ipc_kind kind, uint32_t serial);
/* Wipes what a message of this kind carried. */
void ipc_wipe(struct ipc_message *message);
/* Messages that lie in memory, each an ipc_part: as many as there is room for, in one system call.
 * How many went (at least one), or ERR_AGAIN, ERR_CLOSED. */
enum { IPC_PARTS_MAX = 32 };
struct ipc_part {
    const uint8_t *octets;
    size_t len;
};
int ipc_send_parts(int fd, const struct ipc_part *parts, size_t count) MUST_USE;
/* Octets of a message of this kind as it travels, at most; 0 = no such kind. */
size_t ipc_size(uint32_t kind);
/* And of this very message: a question (IPC_ASK) is as long as what it holds. 0 = cannot be. */
size_t ipc_length(const struct ipc_message *message);
const char *ipc_kind_name(uint32_t kind);
const char *run_role_name(enum run_role role);

#endif
