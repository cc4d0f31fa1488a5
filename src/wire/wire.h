/* wire: the protocol on one screen, and bytes <-> bounded views. No crypto, no SA, no policy.
 *
 * Numbers are X-macro lists: one list gives the enum, the names in logs and the words for users, so
 * that they cannot drift (names.c). Reading: wire_header_read() looks at the 28 octets every
 * message starts with; wire_walk() turns a chain of payloads into an array of views, at most
 * WIRE_PAYLOADS_MAX, with the rules that hold for every chain (lengths, critical bit). body.c,
 * proposal.c, ts.c and notify.c decode one payload body each; they accept exactly what the RFC
 * allows plus what its robustness rules ask to ignore, and refuse the rest with ERR_SYNTAX (which
 * the engine answers with INVALID_SYNTAX). Writing: a `struct wire_builder` keeps the next-payload
 * chain and the lengths right by itself (build.c). The same decoders read what the builder wrote:
 * test/unit/wire proves it for every payload. Limits (over = refused, never an abort): see the enum
 * below.
 *
 * RFC 7296 section 3 throughout; other RFCs are named where they come in.
 */
#ifndef SHRIKE_WIRE_H
#define SHRIKE_WIRE_H

#include "base/base.h"

enum {
    WIRE_HEADER_LEN = 28,
    WIRE_PAYLOAD_HEADER_LEN = 4,
    WIRE_MESSAGE_MAX = 65535,
    WIRE_PAYLOADS_MAX = 64,
    WIRE_SELECTORS_MAX = 255,
    WIRE_CERTS_MAX = 16,
    WIRE_NONCE_MIN = 16,
    WIRE_NONCE_MAX = 256,
    WIRE_COOKIE_MAX = 64,
    WIRE_CONFIG_MAX = 64, /* attributes kept of one CP payload */
};

#define WIRE_EXCHANGE_LIST(X)                                                                      \
    X(IKE_SA_INIT, 34)                                                                             \
    X(IKE_AUTH, 35)                                                                                \
    X(CREATE_CHILD_SA, 36)                                                                         \
    X(INFORMATIONAL, 37)                                                                           \
    X(IKE_SESSION_RESUME, 38)                                                                      \
    X(IKE_INTERMEDIATE, 43)                                                                        \
    X(IKE_FOLLOWUP_KE, 44)
#define WIRE_PAYLOAD_LIST(X)                                                                       \
    X(SA, 33)                                                                                      \
    X(KE, 34)                                                                                      \
    X(IDi, 35)                                                                                     \
    X(IDr, 36)                                                                                     \
    X(CERT, 37)                                                                                    \
    X(CERTREQ, 38)                                                                                 \
    X(AUTH, 39)                                                                                    \
    X(NONCE, 40)                                                                                   \
    X(NOTIFY, 41)                                                                                  \
    X(DELETE, 42)                                                                                  \
    X(VENDOR, 43)                                                                                  \
    X(TSi, 44)                                                                                     \
    X(TSr, 45)                                                                                     \
    X(SK, 46)                                                                                      \
    X(CP, 47)                                                                                      \
    X(EAP, 48)                                                                                     \
    X(SKF, 53)                                                                                     \
    X(PS, 54)
#define WIRE_NOTIFY_LIST(X)                                                                        \
    X(UNSUPPORTED_CRITICAL_PAYLOAD, 1)                                                             \
    X(INVALID_IKE_SPI, 4)                                                                          \
    X(INVALID_MAJOR_VERSION, 5)                                                                    \
    X(INVALID_SYNTAX, 7)                                                                           \
    X(INVALID_MESSAGE_ID, 9)                                                                       \
    X(INVALID_SPI, 11)                                                                             \
    X(NO_PROPOSAL_CHOSEN, 14)                                                                      \
    X(INVALID_KE_PAYLOAD, 17)                                                                      \
    X(AUTHENTICATION_FAILED, 24)                                                                   \
    X(SINGLE_PAIR_REQUIRED, 34)                                                                    \
    X(NO_ADDITIONAL_SAS, 35)                                                                       \
    X(INTERNAL_ADDRESS_FAILURE, 36)                                                                \
    X(FAILED_CP_REQUIRED, 37)                                                                      \
    X(TS_UNACCEPTABLE, 38)                                                                         \
    X(INVALID_SELECTORS, 39)                                                                       \
    X(UNACCEPTABLE_ADDRESSES, 40)                                                                  \
    X(UNEXPECTED_NAT_DETECTED, 41)                                                                 \
    X(TEMPORARY_FAILURE, 43)                                                                       \
    X(CHILD_SA_NOT_FOUND, 44)                                                                      \
    X(INVALID_GROUP_ID, 45)                                                                        \
    X(AUTHORIZATION_FAILED, 46)                                                                    \
    X(STATE_NOT_FOUND, 47)                                                                         \
    X(MS_STATUS, 12345)                                                                            \
    X(INITIAL_CONTACT, 16384)                                                                      \
    X(SET_WINDOW_SIZE, 16385)                                                                      \
    X(ADDITIONAL_TS_POSSIBLE, 16386)                                                               \
    X(IPCOMP_SUPPORTED, 16387)                                                                     \
    X(NAT_DETECTION_SOURCE_IP, 16388)                                                              \
    X(NAT_DETECTION_DESTINATION_IP, 16389)                                                         \
    X(COOKIE, 16390)                                                                               \
    X(USE_TRANSPORT_MODE, 16391)                                                                   \
    X(HTTP_CERT_LOOKUP_SUPPORTED, 16392)                                                           \
    X(REKEY_SA, 16393)                                                                             \
    X(ESP_TFC_PADDING_NOT_SUPPORTED, 16394)                                                        \
    X(NON_FIRST_FRAGMENTS_ALSO, 16395)                                                             \
    X(MOBIKE_SUPPORTED, 16396)                                                                     \
    X(ADDITIONAL_IP4_ADDRESS, 16397)                                                               \
    X(ADDITIONAL_IP6_ADDRESS, 16398)                                                               \
    X(NO_ADDITIONAL_ADDRESSES, 16399)                                                              \
    X(UPDATE_SA_ADDRESSES, 16400)                                                                  \
    X(COOKIE2, 16401)                                                                              \
    X(NO_NATS_ALLOWED, 16402)                                                                      \
    X(AUTH_LIFETIME, 16403)                                                                        \
    X(MULTIPLE_AUTH_SUPPORTED, 16404)                                                              \
    X(ANOTHER_AUTH_FOLLOWS, 16405)                                                                 \
    X(REDIRECT_SUPPORTED, 16406)                                                                   \
    X(REDIRECT, 16407)                                                                             \
    X(REDIRECTED_FROM, 16408)                                                                      \
    X(TICKET_LT_OPAQUE, 16409)                                                                     \
    X(TICKET_REQUEST, 16410)                                                                       \
    X(TICKET_ACK, 16411)                                                                           \
    X(TICKET_NACK, 16412)                                                                          \
    X(TICKET_OPAQUE, 16413)                                                                        \
    X(EAP_ONLY_AUTHENTICATION, 16417)                                                              \
    X(CHILDLESS_IKEV2_SUPPORTED, 16418)                                                            \
    X(QUICK_CRASH_DETECTION, 16419)                                                                \
    X(IKEV2_FRAGMENTATION_SUPPORTED, 16430)                                                        \
    X(SIGNATURE_HASH_ALGORITHMS, 16431)                                                            \
    X(PUZZLE, 16434)                                                                               \
    X(USE_PPK, 16435)                                                                              \
    X(PPK_IDENTITY, 16436)                                                                         \
    X(NO_PPK_AUTH, 16437)                                                                          \
    X(INTERMEDIATE_EXCHANGE_SUPPORTED, 16438)                                                      \
    X(IP4_ALLOWED, 16439)                                                                          \
    X(IP6_ALLOWED, 16440)                                                                          \
    X(ADDITIONAL_KEY_EXCHANGE, 16441)                                                              \
    X(USE_AGGFRAG, 16442)                                                                          \
    X(SUPPORTED_AUTH_METHODS, 16443)                                                               \
    X(SA_RESOURCE_INFO, 16444)
#define WIRE_CONFIG_ATTRIBUTE_LIST(X)                                                              \
    X(INTERNAL_IP4_ADDRESS, 1)                                                                     \
    X(INTERNAL_IP4_NETMASK, 2)                                                                     \
    X(INTERNAL_IP4_DNS, 3)                                                                         \
    X(INTERNAL_IP4_NBNS, 4)                                                                        \
    X(INTERNAL_IP4_DHCP, 6)                                                                        \
    X(APPLICATION_VERSION, 7)                                                                      \
    X(INTERNAL_IP6_ADDRESS, 8)                                                                     \
    X(INTERNAL_IP6_DNS, 10)                                                                        \
    X(INTERNAL_IP6_DHCP, 12)                                                                       \
    X(INTERNAL_IP4_SUBNET, 13)                                                                     \
    X(SUPPORTED_ATTRIBUTES, 14)                                                                    \
    X(INTERNAL_IP6_SUBNET, 15)                                                                     \
    X(INTERNAL_DNS_DOMAIN, 25)

enum wire_exchange {
#define X(name, value) EXCHANGE_##name = value,
    WIRE_EXCHANGE_LIST(X)
#undef X
};
enum wire_payload {
    PAYLOAD_NONE = 0,
#define X(name, value) PAYLOAD_##name = value,
    WIRE_PAYLOAD_LIST(X)
#undef X
};
enum wire_notify {
#define X(name, value) NOTIFY_##name = value,
    WIRE_NOTIFY_LIST(X)
#undef X
        NOTIFY_STATUS_FIRST = 16384, /* below: errors */
};
enum wire_config_attribute {
#define X(name, value) CONFIG_##name = value,
    WIRE_CONFIG_ATTRIBUTE_LIST(X)
#undef X
};
enum { CONFIG_REQUEST = 1, CONFIG_REPLY = 2, CONFIG_SET = 3, CONFIG_ACK = 4 };
enum { FLAG_INITIATOR = 0x08, FLAG_VERSION = 0x10, FLAG_RESPONSE = 0x20 };
enum {
    AUTH_RSA = 1,
    AUTH_SHARED_KEY = 2,
    AUTH_ECDSA_256 = 9,
    AUTH_ECDSA_384 = 10,
    AUTH_ECDSA_521 = 11,
    AUTH_NULL = 13, /* RFC 7619: never accepted */
    AUTH_DIGITAL_SIGNATURE = 14
};
enum { CERT_X509_SIGNATURE = 4 };
enum { ENCR_NONE = 0, ENCR_AES_CBC = 12, ENCR_AES_GCM_16 = 20, ENCR_CHACHA20_POLY1305 = 28 };
enum { SN_32 = 0, SN_64 = 1 };

/* Names: the word of the RFC, or "exchange-200" in text. Never NULL. */
enum { WIRE_NAME_TEXT = 48 };
const char *wire_exchange_name(uint8_t exchange, char text[static WIRE_NAME_TEXT]);
const char *wire_payload_name(uint8_t payload, char text[static WIRE_NAME_TEXT]);
const char *wire_notify_name(uint16_t notify, char text[static WIRE_NAME_TEXT]);

/* ---- reading
 * ------------------------------------------------------------------------------------------------------------------
 */

struct wire_header {
    uint64_t spi_i, spi_r;
    uint8_t next_payload, version, exchange, flags; /* version: major << 4 | minor */
    uint32_t message_id, length;
};
/* ERR_SYNTAX when shorter than a header, or when length is not that of the datagram. */
int wire_header_read(struct bytes datagram, struct wire_header *out) MUST_USE;

struct wire_payload_view {
    uint8_t type;
    bool critical;
    struct bytes body; /* without the 4-octet generic header */
    uint8_t
        next; /* the next-payload octet of this payload: for SK and SKF the first payload inside */
};
struct wire_chain {
    size_t count;
    struct wire_payload_view at[WIRE_PAYLOADS_MAX];
};
/* Walks `bytes` whose first payload is `first`. SK and SKF end a chain. Checks lengths and that
 * nothing is left over. Unknown payload types are kept (the caller ignores them, or answers
 * UNSUPPORTED_CRITICAL_PAYLOAD). ERR_SYNTAX, ERR_LIMIT. */
int wire_walk(uint8_t first, struct bytes bytes, struct wire_chain *out) MUST_USE;
const struct wire_payload_view *wire_find(const struct wire_chain *chain,
                                          uint8_t type); /* the first, or NULL */
size_t wire_count(const struct wire_chain *chain, uint8_t type);
/* The first payload with the critical bit whose type we do not know; NULL when there is none. RFC
 * 7296 2.5. */
const struct wire_payload_view *wire_unknown_critical(const struct wire_chain *chain);

/* SA payload: proposals into out (at most max), numbered as the RFC wants (1, 2, ...; a single one
 * in a response may carry any number). A transform we cannot know about (unknown attribute) is kept
 * out of the proposal, and a proposal with an unknown transform type is dropped whole (RFC
 * 7296 3.3.6). Returns how many, or ERR_SYNTAX, ERR_LIMIT. */
int wire_sa_read(struct bytes body, struct proposal *out, size_t max) MUST_USE;

struct wire_ke {
    uint16_t group;
    struct bytes value;
};
int wire_ke_read(struct bytes body, struct wire_ke *out) MUST_USE;
int wire_id_read(struct bytes body, struct identity *out) MUST_USE;
int wire_nonce_read(struct bytes body, struct bytes *out) MUST_USE;

struct wire_fragment {
    uint16_t number, total; /* 1 <= number <= total */
    struct bytes sealed;    /* IV, text, ICV */
};
/* Encrypted fragment (SKF, RFC 7383 2.5). */
int wire_fragment_read(struct bytes body, struct wire_fragment *out) MUST_USE;

struct wire_cert { /* CERT and CERTREQ */
    uint8_t encoding;
    struct bytes data;
};
int wire_cert_read(struct bytes body, struct wire_cert *out) MUST_USE;

struct wire_auth {
    uint8_t method;
    struct bytes data;
};
int wire_auth_read(struct bytes body, struct wire_auth *out) MUST_USE;

struct wire_notify_view {
    uint8_t protocol, spi_len;
    uint16_t type;
    struct bytes spi; /* 0, 4 or 8 octets */
    struct bytes data;
};
int wire_notify_read(struct bytes body, struct wire_notify_view *out) MUST_USE;
/* The first notify of that type in the chain that reads well; false when there is none. */
bool wire_notify_find(const struct wire_chain *chain, uint16_t type, struct wire_notify_view *out);
/* The first error notify (type < 16384). */
bool wire_notify_error(const struct wire_chain *chain, struct wire_notify_view *out);

struct wire_delete {
    uint8_t protocol, spi_len;
    uint16_t count;
    struct bytes spis; /* count * spi_len octets */
};
int wire_delete_read(struct bytes body,
                     struct wire_delete *out) MUST_USE; /* IKE: no SPIs; ESP/AH: 4 octets each */

/* TS payload; selectors of types we do not know are skipped. Returns how many (0 is possible when
 * all were unknown), ERR_SYNTAX when low > high, the list is empty or lengths are off, ERR_LIMIT
 * over max. */
int wire_ts_read(struct bytes body, struct selector *out, size_t max) MUST_USE;

struct wire_config_item {
    uint16_t type;
    struct bytes value; /* empty in most requests */
};
struct wire_config {
    uint8_t type; /* CONFIG_REQUEST ... */
    size_t count;
    struct wire_config_item items[WIRE_CONFIG_MAX];
};
int wire_config_read(struct bytes body, struct wire_config *out) MUST_USE;

/* ---- writing
 * ------------------------------------------------------------------------------------------------------------------
 */

/* Builds a message, or the inside of an SK payload, payload by payload. Errors are sticky in w.bad;
 * the first-payload octet goes into the header (or is asked for with wire_first()). */
struct wire_builder {
    struct writer w;
    size_t next_at;   /* where the next payload's type has to be written; SIZE_MAX = into first */
    size_t length_at; /* open payload's length field, 0 = none open */
    uint8_t first;
    bool has_header;
};
/* Starts a message with its header; message length is written by wire_finish(), the first payload's
 * type by the first wire_open(). A version of 0 stands for 2.0. */
void wire_begin(struct wire_builder *b, void *buffer, size_t cap, const struct wire_header *header);
/* Starts a bare chain (what goes inside SK). */
void wire_begin_inner(struct wire_builder *b, void *buffer, size_t cap);
/* Generic header; then write the body to b->w. For SK and SKF, whose next-payload octet names the
 * first payload inside, patch the octet at b->next_at. */
void wire_open(struct wire_builder *b, uint8_t payload);
void wire_close(struct wire_builder *b); /* patches the length */
/* The finished octets (header length patched); empty when something did not fit. */
struct bytes wire_finish(struct wire_builder *b);
uint8_t wire_first(const struct wire_builder *b);

void wire_put(struct wire_builder *b, uint8_t payload,
              struct bytes body); /* any payload, body as it is */
/* A proposal numbered 0 gets its place in the list. */
void wire_put_sa(struct wire_builder *b, const struct proposal *proposals, size_t count);
void wire_put_ke(struct wire_builder *b, uint16_t group, struct bytes value);
void wire_put_nonce(struct wire_builder *b, struct bytes nonce);
void wire_put_id(struct wire_builder *b, uint8_t payload, const struct identity *id);
void wire_put_cert(struct wire_builder *b, uint8_t encoding, struct bytes der);
void wire_put_certreq(struct wire_builder *b, uint8_t encoding, struct bytes hashes);
void wire_put_auth(struct wire_builder *b, uint8_t method, struct bytes data);
void wire_put_notify(struct wire_builder *b, uint16_t type, struct bytes data);
void wire_put_notify_spi(struct wire_builder *b, uint8_t protocol, struct bytes spi, uint16_t type,
                         struct bytes data);
void wire_put_delete_ike(struct wire_builder *b);
/* protocol: ESP or AH. */
void wire_put_delete_children(struct wire_builder *b, uint8_t protocol, const uint32_t *spis,
                              size_t count);
void wire_put_ts(struct wire_builder *b, uint8_t payload, const struct selector *selectors,
                 size_t count);
void wire_put_config(struct wire_builder *b, const struct wire_config *config);
/* The body of an ID payload as it goes on the wire: type, three zero octets, octets. */
void wire_id_body(struct writer *w, const struct identity *id);

#endif
