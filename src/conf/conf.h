/* conf: the two INI files, one for a gateway, one for a client tunnel, as structs.
 *
 * table   one row per option: section, key, kind of value, default, range, help. Parser, `shrike
 * check`, the commented default file and the manual all come from it. parse   INI to struct, all or
 * nothing; every fault has file, line, the offending text and a suggestion. check   what can be
 * wrong although every line reads well: files that are missing or unreadable, a key that does not
 * match, expired certificates, weak PSKs, pools that overlap, no method of authentication.
 * compare   what a running process would have to change to follow the file, and which rows of the
 * table it cannot follow.
 *
 * The structs below are what the other folders read. `struct conf_tunnel` is all the engine needs;
 * paths of secret files stay paths here and are opened by the process that needs the secret (keys),
 * before its sandbox closes.
 */
#ifndef SHRIKE_CONF_H
#define SHRIKE_CONF_H

#include "crypto/crypto.h"

enum {
    CONF_NAME_MAX = 64,
    CONF_PATH_MAX = 256,
    CONF_PROPOSALS = 8,
    CONF_LEGACY = 16,
    CONF_SELECTORS = 16,
    CONF_CHILDREN = 7, /* beside the first one */
    CONF_ROUTES = 64,  /* selectors of all children together that become routes */
    CONF_DNS = 4,
    CONF_DOMAINS = 4,
    CONF_DOMAIN_MAX = 254,
    CONF_POOLS = 4,
    CONF_CLIENTS_MAX = 16384,
    CONF_LISTEN = 8,
    CONF_TFC_MTU = UINT16_MAX,
    CONF_OPTIONS_MAX = 96, /* rows of the option table */
};

enum conf_auth { CONF_AUTH_PSK = 1, CONF_AUTH_CERT = 2 }; /* bits */
enum conf_encap {
    CONF_ENCAP_UDP,
    CONF_ENCAP_AUTO
}; /* always in UDP; or plain ESP where no NAT is between */

/* Key exchange that withstands quantum computers (ML-KEM). */
enum conf_pq {
    CONF_PQ_PREFER,  /* before all others */
    CONF_PQ_REQUIRE, /* nothing else */
    CONF_PQ_OFF
};

/* What may be negotiated at all: policy.c has what each allows. */
enum conf_policy {
    CONF_POLICY_MODERN, /* all but what only `legacy` names */
    CONF_POLICY_NIST,
    CONF_POLICY_CNSA2,
    CONF_POLICY_BSI
};
const char *conf_policy_name(enum conf_policy policy);

/* A further child SA of a client: [child NAME], or a pair of networks with `children = separate`.
 */
struct conf_child {
    char name[32];
    struct selector local_ts[CONF_SELECTORS], remote_ts[CONF_SELECTORS]; /* as in conf_tunnel */
    uint8_t local_ts_count, remote_ts_count;
    unsigned line; /* of its section in the file, or of `send` */
};

/* What both roles of the engine need for one tunnel (client) or for all tunnels of a gateway
 * (template). */
struct conf_tunnel {
    char name[CONF_NAME_MAX]; /* NAME of the control socket: a gateway's `instance`, a client file's
                                 base name */
    bool initiator;
    struct identity local_id;  /* NONE: taken from the certificate, or the address */
    struct identity remote_id; /* client: what the gateway must prove to be; gateway: NONE = any
                                  whom `keys` admits */
    uint8_t local_auth;  /* client: one of conf_auth; gateway: what it has, and it answers a peer
                            by PSK when that peer came by PSK and PSK is among them */
    uint8_t remote_auth; /* any of conf_auth */
    struct proposal ike[CONF_PROPOSALS];
    struct proposal esp[CONF_PROPOSALS]; /* of child SAs: all for ESP, or all for AH */
    uint8_t ike_count, esp_count;
    bool transport; /* client: children are in transport mode; gateway: granted to who asks */
    enum conf_policy policy;
    struct sign_limits signatures; /* the policy's, of both sides */
    enum conf_pq pq;
    bool childless; /* client: IKE_AUTH makes no child SA where the gateway can (RFC 6023) */
    bool pfs;       /* offer a key exchange when a child SA is rekeyed or created alone */
    /* Traffic selectors as configured. Client: local = 0 entries means "the address I am given";
     * remote = what to send. Gateway: local = the networks behind it that clients may reach; remote
     * = 0 entries means "the address that was leased". */
    struct selector local_ts[CONF_SELECTORS], remote_ts[CONF_SELECTORS];
    uint8_t local_ts_count, remote_ts_count;
    struct conf_child children[CONF_CHILDREN]; /* client */
    uint8_t child_count;
    bool request_ip4, request_ip6; /* client: ask for virtual addresses */
    struct ip dns[CONF_DNS];       /* gateway: handed out */
    uint8_t dns_count;
    char domains[CONF_DOMAINS][CONF_DOMAIN_MAX]; /* gateway: names those resolvers are for */
    uint8_t domain_count;
    bool tell_version;      /* gateway: to peers that ask */
    bool send_from_gateway; /* client: routes by the networks that the gateway names */
    uint32_t ike_lifetime,
        child_lifetime; /* seconds; a rekey starts at 90 % less up to 10 % jitter */
    uint32_t
        reauth; /* client: seconds between proofs of identity; 0 = only when the peer wants it */
    uint64_t child_bytes, child_packets; /* 0 = no limit by volume but the cipher's own */
    uint32_t dpd;        /* seconds that traffic may go out and nothing come in before the peer is
                            asked whether it is there; 0 = never */
    uint32_t idle_check; /* the same for silence both ways; 0 = never */
    bool roam;           /* MOBIKE, RFC 4555 */
    bool refuse_nat;     /* no address translation may be between us (RFC 4555 3.9) */
    uint32_t keepalive;  /* seconds between NAT keepalives when behind NAT */
    uint16_t fragment;   /* largest IP datagram of IKE; 0 = never cut (RFC 7383) */
    uint16_t replay_window;
    uint16_t tfc;     /* octets that inner packets are filled up to, CONF_TFC_MTU; 0 = not */
    uint16_t dummies; /* packets a second that a child SA sends at least; 0 = no matter */
    bool esn;
    enum conf_encap encap;
    bool unique; /* gateway: a new IKE SA of an identity that sent INITIAL_CONTACT replaces the old
                    ones */
    uint32_t
        per_identity;     /* gateway: tunnels of one identity, 0 = no limit; the oldest gives way */
    uint32_t max_tunnels; /* IKE SAs, half-open ones included */
    uint32_t handshakes;  /* gateway, under load: new ones a second of one address; 0 = no limit */
    uint32_t ban; /* gateway: seconds that who failed to authenticate waits at most; 0 = never */
};

/* One peer a gateway knows by name: [client NAME]. */
struct conf_peer {
    char name[CONF_NAME_MAX];
    struct identity id;
    char psk_file[CONF_PATH_MAX];
    char psk[128];               /* inline `psk =`; wiped after it was handed over */
    struct ip ip4, ip6;          /* fixed virtual addresses */
    struct selector networks[4]; /* networks behind that peer (site to site) */
    uint8_t network_count;
    unsigned line; /* of its section in the file */
};

struct conf {
    bool gateway; /* else a client tunnel */
    char file[CONF_PATH_MAX];
    struct conf_tunnel tunnel;

    /* credentials, as paths */
    char cert[CONF_PATH_MAX], key[CONF_PATH_MAX],
        ca[CONF_PATH_MAX]; /* cert: PEM chain or PKCS#12; ca empty = system roots (client) */
    char passphrase_file[CONF_PATH_MAX];
    char state_dir[CONF_PATH_MAX]; /* what outlives a restart */
    char psk_file[CONF_PATH_MAX];  /* client; the gateway has one per peer */
    char psk[128];

    /* gateway */
    struct endpoint listen[CONF_LISTEN]; /* addresses; port 0 = 500 and 4500 */
    uint8_t listen_count;
    struct prefix pools[CONF_POOLS];
    uint8_t pool_count;
    struct conf_peer *peers;
    size_t peer_count;
    bool any_cert;    /* a certificate of our CA is enough, no [client] section needed */
    bool nat;         /* masquerade what leaves by `outside` */
    char outside[16]; /* interface, empty = the default route's */
    bool client_to_client;

    /* client */
    char remote_host[256]; /* name or address */
    uint16_t remote_port;  /* 500; 4500 follows by NAT detection; any other port = UDP-encapsulated
                              there */
    struct prefix except[CONF_SELECTORS]; /* never through the tunnel */
    uint8_t except_count;
    bool dns_from_gateway;
    bool separate; /* one child SA for each pair of networks */

    struct proposal ah[CONF_PROPOSALS]; /* becomes tunnel.esp */
    uint8_t ah_count;
    struct transform legacy[CONF_LEGACY]; /* named one by one: proposals may have them */
    uint8_t legacy_count;

    /* data plane and processes */
    char interface[16]; /* TUN device name */
    uint16_t mtu;       /* 0 = by itself */
    uint16_t workers;   /* 0 = one per core */
    uint32_t uid_base;  /* first of four user ids for the processes */
    char run_dir[CONF_PATH_MAX];
    int log_level;

    unsigned lines[CONF_OPTIONS_MAX]; /* where each option of the table was set; 0 = default */
    char *values[CONF_OPTIONS_MAX];   /* as written there, but for secrets; NULL = default */
    /* Told on the command line, whatever the file says: conf_inherit() keeps it. */
    bool told_level, told_run_dir;
};

/* A fault, in words a person can act on. */
struct conf_fault {
    bool warning; /* worth a line, but it runs */
    char file[CONF_PATH_MAX];
    unsigned line;  /* 0: the file as a whole */
    char text[128]; /* the offending text */
    char what[256]; /* what is wrong */
    char next[256]; /* what to do; may be empty */
};
enum { CONF_FAULTS_MAX = 32 };
struct conf_faults {
    size_t count;    /* may exceed CONF_FAULTS_MAX: only that many are kept */
    size_t warnings; /* of those */
    struct conf_fault at[CONF_FAULTS_MAX];
};

/* Reads a file: which kind it is shows by its first section ([gateway] or [tunnel]). On success
 * *out is to be freed with conf_free(). On failure nothing is left behind and *faults has at least
 * one. ERR_CONFIG. */
int conf_load(const char *file, struct conf **out, struct conf_faults *faults) MUST_USE;
int conf_parse(const char *file_name, struct bytes text, struct conf **out,
               struct conf_faults *faults) MUST_USE;
/* Opens what the file names and looks at it: credentials, pools, addresses. Returns ERR_CONFIG and
 * faults, or 0 (faults may hold warnings). */
int conf_check(const struct conf *conf, int64_t now, struct conf_faults *faults) MUST_USE;
/* The same, with what was found in order, one sentence each (`shrike check` prints them). */
struct conf_notes {
    size_t count;
    char at[16][256];
};
int conf_inspect(const struct conf *conf, int64_t now, struct conf_faults *faults,
                 struct conf_notes *notes) MUST_USE;

/* What is another in `after`, as a running process sees it: the texts of the options (not inline
 * secrets, which the running one has wiped), and the clients. The strings belong to the two. */
enum { CONF_CLIENTS_TOLD = 64 };
struct conf_change {
    const char *section, *key;
    const char *before, *after; /* values as written, or the default's; "" = none */
    unsigned line;              /* in the new file, else 0 */
    bool fixed;
};
enum conf_client_change { CONF_CLIENT_ADDED, CONF_CLIENT_REMOVED, CONF_CLIENT_CHANGED };
struct conf_changes {
    size_t count, fixed; /* options; of those, such as need a restart */
    struct conf_change at[CONF_OPTIONS_MAX];
    size_t clients[3]; /* by conf_client_change */
    size_t told;       /* names of the first ones */
    struct {
        enum conf_client_change what;
        const char *name;
    } client[CONF_CLIENTS_TOLD];
};
/* ERR_MEMORY. */
int conf_compare(const struct conf *before, const struct conf *after,
                 struct conf_changes *out) MUST_USE;
/* What a running process cannot follow, as faults with line, old and new value, and the way out:
 * ERR_CONFIG, or 0. A file of the other kind is such a fault, too. */
int conf_followable(const struct conf *before, const struct conf *after,
                    const struct conf_changes *changes, struct conf_faults *faults) MUST_USE;
/* What the command line said to `before` holds for `after`. */
void conf_inherit(struct conf *after, const struct conf *before);

/* The algorithms of the proposals that are not to be recommended (suite_legacy(), and ENCR_NULL),
 * each once; ENCR 0 stands for AH. How many. */
size_t conf_weak(const struct conf *conf, struct transform out[static CONF_LEGACY]);
/* One sentence on such an algorithm, for `shrike check` and status. */
const char *conf_weak_print(const struct transform *t, char text[static 256]);

/* What the credential paths hold. cert is PEM or PKCS#12; the key may stand in the same file. */
enum { CONF_WANT_CERTS = 1, CONF_WANT_KEY = 2, CONF_WANT_TRUST = 4 };
struct conf_credentials {
    struct cert *chain[CERT_CHAIN_MAX]; /* the leaf first */
    size_t chain_count;
    struct private_key *key;
    struct cert_trust *trust; /* `ca`, or for a client without one the system's roots */
};
/* Opens and reads what `want` names, as far as the configuration has it; the rest stays empty.
 * ERR_CONFIG and faults; conf_credentials_free() in any case. */
int conf_credentials_read(const struct conf *conf, unsigned want, struct conf_credentials *out,
                          struct conf_faults *faults) MUST_USE;
void conf_credentials_free(struct conf_credentials *credentials);
/* The octets of a shared secret as configured: text as it stands, or 0x and hexadecimal digits, or
 * 0s and base64; a file's last newline does not count. `out` is to be wiped. */
enum { CONF_PSK_MAX = 256 };
int conf_psk_decode(struct bytes text, uint8_t out[static CONF_PSK_MAX], size_t *len) MUST_USE;
/* The PSK of a peer (or of the client tunnel: peer NULL), from `psk` or `psk-file`, decoded. `out`
 * is to be wiped. ERR_NOT_FOUND when there is none, ERR_CONFIG and a fault when it cannot be read.
 */
int conf_psk_read(const struct conf *conf, const struct conf_peer *peer,
                  uint8_t out[static CONF_PSK_MAX], size_t *len,
                  struct conf_faults *faults) MUST_USE;
void conf_free(struct conf *conf); /* wipes secrets */
void conf_fault_print(const struct conf_fault *fault, char *text,
                      size_t size); /* FILE:LINE: what "text" - next */
/* The folder of control sockets: SHRIKE_RUN_DIR, or /run/shrike. */
const char *conf_run_dir(void);
/* RUN_DIR/NAME.sock of a configuration. ERR_LIMIT when it is longer than a socket's address may be.
 */
int conf_control_path(const struct conf *conf, char path[static CONF_PATH_MAX]) MUST_USE;
/* A sentence why a PSK is too weak to be used (short, few distinct characters, a word list's word),
 * or NULL when it will do. */
const char *conf_psk_weakness(struct bytes psk);
/* The word nearest to what was typed, or NULL when none is near: "did you mean". */
const char *conf_closest(const char *typed, const char *const *words, size_t count);
/* 90, 30s, 1h30m to seconds. */
bool conf_duration(const char *text, uint64_t *seconds);
/* The commented default file of a kind, malloc'ed. */
char *conf_default_text(bool gateway);

#endif
