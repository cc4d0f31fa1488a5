/* auth: who is this, and how do we prove who we are (RFC 7296 section 2.15).
 *
 * octets  what is signed or MACed: the first message, the other side's nonce, prf(SK_p, ID body).
 * psk     shared key message integrity code, method 2.
 * sig     signatures: method 14 (RFC 7427) and the old methods 1, 9, 10, 11; which scheme to use
 * with which peer; AUTH payload body to scheme + signature and back. x509    from CERT payloads and
 * an identity to a verified public key, with the reason in words when it fails.
 *
 * Nothing here keeps state; the ike process calls it with what it has, the keys process with the
 * secrets only it has.
 */
#ifndef SHRIKE_AUTH_H
#define SHRIKE_AUTH_H

#include "crypto/crypto.h"
#include "wire/wire.h"

/* Longest first message we sign: bounds memory per half-open SA. */
enum {
    AUTH_MESSAGE_MAX = 4096,
    AUTH_INTERMEDIATE_MAX = 2 * 64 + 4, /* IntAuth of RFC 9242 */
    AUTH_OCTETS_MAX = AUTH_MESSAGE_MAX + 256 + 64 + AUTH_INTERMEDIATE_MAX
};

/* message | nonce | prf(SK_p, id_body) | intermediate, where id_body is the ID payload's body as it
 * stood on the wire (type, reserved, octets), and the last is IntAuth of RFC 9242 3.3.2 or empty.
 * out: at least AUTH_OCTETS_MAX. ERR_LIMIT when message is over AUTH_MESSAGE_MAX. */
int auth_octets(const struct prf_alg *alg, struct bytes message, struct bytes nonce,
                struct bytes sk_p, struct bytes id_body, struct bytes intermediate,
                uint8_t out[static AUTH_OCTETS_MAX], size_t *out_len) MUST_USE;

/* prf(prf(PSK, "Key Pad for IKEv2"), octets); out has alg->len octets. */
int auth_psk(const struct prf_alg *alg, struct bytes psk, struct bytes octets,
             uint8_t *out) MUST_USE;

/* What the peer can verify: from SIGNATURE_HASH_ALGORITHMS; 0 = it did not send one, so old methods
 * only. */
enum auth_hash {
    AUTH_HASH_SHA1 = 1,
    AUTH_HASH_SHA256 = 2,
    AUTH_HASH_SHA384 = 4,
    AUTH_HASH_SHA512 = 8,
    AUTH_HASH_IDENTITY = 16
};
uint8_t auth_hashes_parse(struct bytes notify_data);
void auth_hashes_write(struct writer *w, uint8_t hashes);
/* By which methods and schemes a peer lets us prove ourselves, as it has announced (RFC 9593): a
 * set of bits; 0 = it did not say. auth_methods_write() lists what we can verify ourselves; of
 * schemes with certificates those that have room, the common ones at least or nothing. */
enum { AUTH_ANNOUNCED = 1, AUTH_ANNOUNCEMENTS_MAX = 384, AUTH_METHODS_TEXT = 96 };
uint32_t auth_methods_parse(struct bytes notify_data);
/* limits: NULL = no certificates. */
struct bytes auth_methods_write(bool psk, const struct sign_limits *limits, uint8_t *out,
                                size_t room);
bool auth_methods_have(uint32_t methods, uint8_t method, enum sign_scheme scheme);
bool auth_methods_have_cert(uint32_t methods); /* any that goes with a certificate */
const char *auth_methods_print(uint32_t methods, char text[static AUTH_METHODS_TEXT]);
/* What is known of a peer that is to verify our signature. scheme: what it signed with itself,
 * SIGN_NONE when we are first. */
struct auth_peer_wants {
    uint8_t hashes;
    uint32_t methods;
    enum sign_scheme scheme;
    const struct sign_limits *limits; /* ours */
};
/* The scheme and method to sign with for a key of this kind: the best that the peer has announced;
 * without such a list a guess, where an RSA peer that signed by PKCS#1 v1.5 gets the same back.
 * SIGN_NONE: no way the peer could verify it that `limits` allow. */
enum sign_scheme auth_choose_scheme(enum key_kind kind, const struct auth_peer_wants *peer,
                                    uint8_t *method);
/* The AUTH payload's data: for method 14 length, AlgorithmIdentifier, signature; else the signature
 * alone. */
int auth_signature_write(struct writer *w, uint8_t method, enum sign_scheme scheme,
                         struct bytes signature) MUST_USE;
int auth_signature_parse(uint8_t method, struct bytes data, enum key_kind kind,
                         enum sign_scheme *scheme, struct bytes *signature) MUST_USE;

/* Verifies the peer's AUTH by certificate: parses the CERT payloads (X.509 signature encoding, the
 * leaf first), verifies the chain for `purpose`, checks that the leaf carries `peer`, then the
 * signature over octets. Returns 0 or an error, `why` in words. On success *scheme_used is set.
 * Certificates are parsed once and cached by hash inside `cache` (may be NULL). */
struct auth_cache;
struct auth_cache *auth_cache_create(size_t entries);
void auth_cache_free(struct auth_cache *cache);
struct auth_peer_proof {
    const struct identity *peer;
    const struct bytes *certs; /* DER, borrowed */
    size_t cert_count;
    uint8_t method;
    struct bytes data;   /* the AUTH payload's data */
    struct bytes octets; /* what must have been signed */
    enum cert_purpose purpose;
    const struct sign_limits *limits; /* what the leaf's key and its signature must be */
    int64_t now;                      /* seconds since 1970 */
};
int auth_verify_cert(const struct cert_trust *trust, struct auth_cache *cache,
                     const struct auth_peer_proof *proof, enum sign_scheme *scheme_used,
                     char why[static 256]) MUST_USE;

#endif
