/* crypto: the only folder that knows OpenSSL or ipsec-mb.
 *
 * suite   one table row per algorithm: IANA number, name in configuration, sizes. Everything else
 * asks the table. aead    keyed ciphers for IKE's SK payload and for ESP: AEAD, or AES-CBC with
 * HMAC as encrypt-then-MAC, behind one face; in place, and in batches so that ipsec-mb can work on
 * several packets at once. OpenSSL is the portable base. prf     HMAC PRFs and prf+ (RFC 7296
 * section 2.13); secrets in, secrets out. kex     key exchange: X25519, X448 (RFC 8031), ECP (RFC
 * 5903, 6954), MODP (RFC 3526), peer values checked (RFC 6989). sign    signatures: RSA PKCS#1 v1.5
 * and PSS, ECDSA, Ed25519, by the schemes of RFC 7427 and the old methods. cert    X.509: read,
 * identity, chain verification against trust anchors. pki     making keys, certificates and PKCS#12
 * files for `shrike pki`.
 *
 * All functions are pure in the sense that matters for the engine: no clock, no file, no random
 * source of their own (random and wall-clock time are arguments). Objects are owned by the caller;
 * what held a secret wipes itself in its *_free or *_wipe. Threads: an object is used by one thread
 * at a time, except that a keyed `struct aead` may be used by several threads at once, each with
 * its own `struct aead_engine`.
 */
#ifndef SHRIKE_CRYPTO_H
#define SHRIKE_CRYPTO_H

#include "base/base.h"

/* Once per process, before anything else and before the sandbox closes: loads providers, picks the
 * CPU's best code, runs the self-tests (a known answer per algorithm). ERR_CRYPTO names the failing
 * one in the log. */
int crypto_init(void) MUST_USE;

/* ---- suite
 * -------------------------------------------------------------------------------------------------------------------
 */

struct encr_alg {
    uint16_t id, key_bits; /* IANA transform type 1; key_bits as the Key Length attribute */
    bool attribute;        /* the Key Length attribute is sent (not for ChaCha20-Poly1305) */
    bool aead;
    const char *name; /* as in configuration: aes256gcm16, chacha20poly1305, aes128 */
    uint8_t key_len, salt_len, iv_len, icv_len,
        block; /* octets; icv_len 0 when not AEAD; block = padding unit of the cipher (1, 8, 16) */
};
enum {
    ENCR_NULL = 11,      /* RFC 2410: ESP only, and only with integrity */
    ENCR_NULL_GMAC = 21, /* ENCR_NULL_AUTH_AES_GMAC, RFC 4543: ESP only */
};
/* ESP that everybody can read. */
static inline bool encr_is_null(uint16_t id)
{
    return id == ENCR_NULL || id == ENCR_NULL_GMAC;
}
struct prf_alg {
    uint16_t id;
    const char *name; /* prfsha256 */
    uint8_t len;      /* octets of output and preferred key */
};
struct integ_alg {
    uint16_t id;
    const char *name; /* sha256, sha384, sha512 */
    uint8_t key_len, icv_len;
    bool gmac; /* RFC 4543: AH only; the key ends with a salt of 4 octets, and there is an IV */
};
struct kex_alg {
    uint16_t id;
    const char *name;    /* x25519, x448, ecp256, modp2048 */
    uint16_t public_len; /* octets on the wire: the value of the side that begins, */
    uint16_t answer_len; /* and of the side that answers: the same but for a KEM */
    uint16_t secret_len;
};

const struct encr_alg *suite_encr(
    uint16_t id,
    uint16_t key_bits); /* NULL: not implemented. key_bits 0 = only where the length is fixed */
const struct prf_alg *suite_prf(uint16_t id);
const struct integ_alg *suite_integ(uint16_t id);
const struct kex_alg *suite_kex(uint16_t id);
/* A key exchange that withstands quantum computers. */
static inline bool suite_is_pq(uint16_t kex)
{
    return kex >= 35 && kex <= 37; /* ML-KEM */
}
/* A transform's name in configuration and messages ("aes256gcm16", "esn"); unknown ones print as
 * "encr-23/128". */
const char *suite_print(const struct transform *t, char text[static 32]);
/* "aes256gcm16-prfsha384-x25519", comma-free; for status and logs. */
const char *suite_print_proposal(const struct proposal *p, char text[static 512]);
/* One proposal from a word like `aes256gcm16-aes128gcm16-prfsha384-x25519-ecp256` (IKE),
 * `aes256gcm16-ecp256-noesn` (ESP) or `sha256-ecp256` (AH). On failure returns ERR_SYNTAX and
 * points bad_word at the offending piece inside text. Rules: AEAD and non-AEAD ciphers do not mix
 * in one proposal; IKE needs a PRF (derived from integ when absent and not AEAD) and a KE; ESP gets
 * ESN then 32-bit numbers unless told (esn, noesn). */
int suite_parse(const char *text, uint8_t protocol, struct proposal *out,
                struct bytes *bad_word) MUST_USE;
/* The default proposals, most preferred first; returns how many were written (at most max). */
size_t suite_defaults(uint8_t protocol, struct proposal *out, size_t max);
/* Key material octets a child or an IKE direction needs: cipher key + salt (+ integrity key). */
size_t suite_encr_keymat(const struct encr_alg *e);
/* Iteration for help and completion: NULL at the end. */
const char *suite_name(uint8_t transform_type, size_t index);
/* The transform that a word of the configuration names. */
bool suite_find(const char *word, struct transform *out);
/* Half a sentence on what speaks against an algorithm that works only when the configuration names
 * it under `legacy`; NULL for all others. */
const char *suite_legacy(const struct transform *t);
/* Not among the defaults: suite_ready() comes before its use. */
bool suite_rare(const struct transform *t);
/* Makes a rare algorithm usable: takes it from libcrypto, Blowfish from its legacy provider, and
 * runs its self-test. To be called before the sandbox closes, as it may load a library; what a
 * process has made ready its children have, too. 0 also for what needs no such thing.
 * ERR_UNSUPPORTED: this libcrypto does not have it; ERR_CRYPTO: it gives wrong answers. */
int suite_ready(const struct transform *t) MUST_USE;

/* ---- aead
 * --------------------------------------------------------------------------------------------------------------------
 */

/* A keyed cipher for one direction of one SA: the key octets and little else (48 octets, 176 with
 * a MAC), in memory the caller provides: aead_size() octets, aligned to 16 or more. */
struct aead;
/* Per-thread scratch: ipsec-mb's manager, where the CPU is worth it, and the key schedules of the
 * last few dozen keys used, made on first use (0.2 us) and kept until others take their place or
 * the engine is freed. So idle SAs are small and busy ones fast. One engine per thread;
 * aead_engine_create() at thread start. */
struct aead_engine;

struct aead_engine *aead_engine_create(void);
void aead_engine_free(struct aead_engine *engine);

size_t aead_size(const struct encr_alg *encr, const struct integ_alg *integ);
/* key: cipher key then salt, as keymat gives them (RFC 4106, 7634); integ_key only for non-AEAD,
 * else NULL. GMAC as integrity goes with ENCR_NULL only. The engine may be NULL: any engine can
 * work any key. */
int aead_init(struct aead *aead, struct aead_engine *engine, const struct encr_alg *encr,
              const uint8_t *key, const struct integ_alg *integ, const uint8_t *integ_key) MUST_USE;
void aead_wipe(struct aead *aead);
size_t aead_iv_len(const struct aead *aead); /* octets on the wire */
/* The IV must never repeat under one key, so it counts; else it must be unpredictable. */
bool aead_iv_counts(const struct aead *aead);
size_t aead_icv_len(const struct aead *aead);
size_t aead_block(const struct aead *aead); /* plaintext must be a multiple of this */

/* One message. `text` is encrypted or decrypted in place. iv points at the octets on the wire
 * (aead_iv_len; see aead_iv_counts). For AEAD: aad as given. For encrypt-then-MAC: the MAC
 * covers aad, iv, ciphertext, then `esn_high` when has_esn_high (RFC 4303 2.2.1 implicit high half;
 * for AEAD the caller puts it into aad). aad, iv and text of a packet must lie one behind the other
 * in memory (aad | iv | text), which they do in ESP and SK. icv is written by seal and compared by
 * open. With esn_high the fast path needs icv == text + text_len, as it is in ESP: the four octets
 * take its place while the MAC runs, and the ICV is put there, or back there, afterwards. For CBC
 * text_len is a multiple of the block and not 0; anything else comes back with ok = false. */
struct aead_op {
    const struct aead *aead;
    const uint8_t *aad; /* for AEAD with ESN this may point elsewhere (the 12-octet form) */
    const uint8_t *iv;
    uint8_t *text;
    uint8_t *icv;
    uint32_t text_len;
    uint16_t aad_len;
    bool has_esn_high;
    uint32_t esn_high; /* host order */
    bool ok;           /* out: sealed; or opened and authentic */
};
enum { AEAD_BATCH = 128 };
/* Any mix of keys and algorithms; runs of equal algorithm are fastest. On open failure the text is
 * not to be used. */
void aead_seal(struct aead_engine *engine, struct aead_op *ops, size_t count);
void aead_open(struct aead_engine *engine, struct aead_op *ops, size_t count);

/* ---- prf
 * ---------------------------------------------------------------------------------------------------------------------
 */

/* prf(key, parts[0] | parts[1] | ...) into out (alg->len octets). */
int prf(const struct prf_alg *alg, struct bytes key, const struct bytes *parts, size_t count,
        uint8_t *out) MUST_USE;
/* prf+(key, seed) into out, RFC 7296 2.13; out_len at most 255 * alg->len. */
int prf_plus(const struct prf_alg *alg, struct bytes key, const struct bytes *seed, size_t count,
             uint8_t *out, size_t out_len) MUST_USE;
/* SHA-1 (NAT detection, certificate request hashes: RFC 7296 2.23, 3.7) and SHA-256. */
void hash_sha1(const struct bytes *parts, size_t count, uint8_t out[static 20]);
void hash_sha256(const struct bytes *parts, size_t count, uint8_t out[static 32]);

/* ---- kex
 * ---------------------------------------------------------------------------------------------------------------------
 */

/* Our half of an exchange. Who begins makes it with kex_create and sends its value; who answers
 * makes it with kex_answer, of what has come, and sends its value back; both derive the secret from
 * the other's value. With Diffie-Hellman the two do the same thing; a KEM encapsulates in
 * kex_answer. */
struct kex;
enum { KEX_PUBLIC_MAX = 1600, KEX_SECRET_MAX = 1024 };

int kex_create(const struct kex_alg *alg, const struct random *random, struct kex **out) MUST_USE;
/* The peer's value as for kex_derive, which is still to be called. */
int kex_answer(const struct kex_alg *alg, const struct random *random, struct bytes peer,
               struct kex **out) MUST_USE;
const struct kex_alg *kex_alg(const struct kex *kex);
/* What we send: alg->public_len or alg->answer_len octets, as long as kex lives. */
struct bytes kex_value(const struct kex *kex);
/* The peer's value, as in the KE payload; refuses (ERR_KE) wrong length, points off the curve, 0,
 * 1, p-1, >= p, and with X25519 and X448 an all-zero secret. secret receives alg->secret_len
 * octets. */
int kex_derive(const struct kex *kex, struct bytes peer,
               uint8_t secret[static KEX_SECRET_MAX]) MUST_USE;
void kex_free(struct kex *kex); /* wipes; NULL is fine */

/* ---- sign
 * --------------------------------------------------------------------------------------------------------------------
 */

enum key_kind { KEY_NONE, KEY_RSA, KEY_ECDSA_P256, KEY_ECDSA_P384, KEY_ECDSA_P521, KEY_ED25519 };
/* How a signature is made. DER-coded AlgorithmIdentifiers of RFC 7427 map to these and back. */
enum sign_scheme {
    SIGN_NONE,
    SIGN_RSA_PKCS1_SHA1, /* method 1 only, where the peer can do nothing better */
    SIGN_RSA_PKCS1_SHA256,
    SIGN_RSA_PKCS1_SHA384,
    SIGN_RSA_PKCS1_SHA512,
    SIGN_RSA_PSS_SHA256,
    SIGN_RSA_PSS_SHA384,
    SIGN_RSA_PSS_SHA512,
    SIGN_ECDSA_SHA256, /* DER signature, RFC 7427 */
    SIGN_ECDSA_SHA384,
    SIGN_ECDSA_SHA512,
    SIGN_ECDSA_P256_RAW, /* r|s, methods 9, 10, 11 (RFC 4754) */
    SIGN_ECDSA_P384_RAW,
    SIGN_ECDSA_P521_RAW,
    SIGN_ED25519,
};
struct private_key;
struct public_key;
enum { SIGNATURE_MAX = 1024 };

/* PEM (PKCS#8 or traditional, unencrypted) or PKCS#12 with an empty or given passphrase is
 * pki_/cert_ business; here PEM or DER octets. */
int private_key_parse(struct bytes pem_or_der, struct private_key **out) MUST_USE;
void private_key_free(struct private_key *key);
/* DER of a SubjectPublicKeyInfo. ERR_KEY_PARSE */
int public_key_parse(struct bytes spki, struct public_key **out) MUST_USE;
const char *key_kind_name(enum key_kind kind); /* rsa, p256, p384, p521, ed25519 */
enum key_kind private_key_kind(const struct private_key *key);
enum key_kind public_key_kind(const struct public_key *key);
unsigned public_key_bits(const struct public_key *key);
void public_key_free(struct public_key *key);
int sign(const struct private_key *key, enum sign_scheme scheme, struct bytes message,
         uint8_t out[static SIGNATURE_MAX], size_t *out_len) MUST_USE;
/* 0, or ERR_AUTH; ERR_UNSUPPORTED when the scheme does not fit the key. RSA under 1024 bits is
 * always refused. */
int verify(const struct public_key *key, enum sign_scheme scheme, struct bytes message,
           struct bytes signature) MUST_USE;
const char *sign_scheme_name(enum sign_scheme scheme);
/* Bounds narrower than those above; 0 = none. */
struct sign_limits {
    uint16_t rsa_bits; /* at least */
    uint8_t kinds;     /* 1 << enum key_kind each */
    uint32_t schemes;  /* 1 << enum sign_scheme each */
};
bool sign_limits_allow(const struct sign_limits *limits, enum sign_scheme scheme);
/* Could such a key be used at all? When not, why says so in a sentence. */
bool sign_limits_allow_key(const struct sign_limits *limits, const struct public_key *key,
                           char why[static 128]);
/* The DER AlgorithmIdentifier of RFC 7427 appendix A; empty when the scheme has none. Static
 * storage. */
struct bytes sign_scheme_oid(enum sign_scheme scheme);
enum sign_scheme sign_scheme_from_oid(
    struct bytes der); /* SIGN_NONE when unknown; PSS parameters are parsed, defaults refused */

/* ---- cert
 * --------------------------------------------------------------------------------------------------------------------
 */

struct cert;       /* one certificate */
struct cert_trust; /* trust anchors */
enum { CERT_CHAIN_MAX = 8, CERT_DER_MAX = 16384 };

int cert_parse(struct bytes der, struct cert **out) MUST_USE; /* ERR_CERT_PARSE */
/* All certificates of a PEM text, leaf first, as they stand; returns how many or a negative error.
 */
int cert_parse_pem(struct bytes pem, struct cert **out, size_t max) MUST_USE;
/* Key, certificate and further chain of a PKCS#12 file; returns how many certificates.
 * ERR_INTEGRITY: the passphrase is wrong; ERR_UNSUPPORTED: encrypted by something that libcrypto no
 * longer has. */
int cert_parse_p12(struct bytes p12, const char *passphrase, struct private_key **key,
                   struct cert **out, size_t max) MUST_USE;
void cert_free(struct cert *cert);
struct bytes cert_der(const struct cert *cert);
const struct public_key *cert_public_key(const struct cert *cert); /* borrowed */
bool cert_matches_key(const struct cert *cert, const struct private_key *key);
/* Does the certificate carry this identity: SAN dNSName / rfc822Name / iPAddress, or the subject
 * for a DN (RFC 4945 3.1)? A wildcard never matches. A KEY_ID never matches. */
bool cert_has_identity(const struct cert *cert, const struct identity *id);
/* The identity to claim with this certificate: first SAN email, then dNSName, then iPAddress, then
 * the subject DN. */
bool cert_identity(const struct cert *cert, struct identity *out);
const char *cert_print_subject(const struct cert *cert, char text[static 256]);
const char *cert_print_issuer(const struct cert *cert, char text[static 256]);
void cert_validity(const struct cert *cert, int64_t *not_before,
                   int64_t *not_after); /* seconds since 1970 */
void cert_issuer_key_hash(
    const struct cert *ca,
    uint8_t out[static 20]); /* SHA-1 of SubjectPublicKeyInfo: what CERTREQ carries */

/* `CN=x,O=y` to a DN identity; false when it is no distinguished name. */
bool cert_dn_parse(const char *text, struct identity *out);
const char *cert_dn_print(const struct identity *id, char text[static IDENTITY_TEXT]);
/* Any identity, a DN in words; "(none)" when there is none. Reads DER: not where that must not be.
 */
const char *cert_identity_print(const struct identity *id, char text[static IDENTITY_TEXT]);
/* The same identity in the one spelling that all equal ones share (RFC 5280 7.1): in a DN every
 * attribute a UTF8String in lower case with single blanks; names in lower case. For look-ups, never
 * to be sent. */
void cert_identity_canonical(const struct identity *id, struct identity *out);

struct cert_trust *cert_trust_create(void);
int cert_trust_add(struct cert_trust *trust, const struct cert *anchor) MUST_USE;
int cert_trust_add_system(struct cert_trust *trust) MUST_USE; /* the system's roots; opens files */
size_t cert_trust_count(const struct cert_trust *trust);
const struct cert *cert_trust_at(const struct cert_trust *trust, size_t index);
void cert_trust_free(struct cert_trust *trust);

enum cert_purpose { CERT_FOR_ANY, CERT_FOR_GATEWAY, CERT_FOR_CLIENT };
/* Verifies leaf through `others` (untrusted, as sent by the peer) to an anchor at wall-clock time
 * `now`. Depth at most 8, RSA 2048..8192, key usage digitalSignature when present, EKU serverAuth /
 * clientAuth / ikeIntermediate / any when present. Returns 0 or an ERR_CERT_*; `why` gets one
 * sentence with the names (never NULL-terminated peer bytes unescaped). */
int cert_verify(const struct cert_trust *trust, const struct cert *leaf, struct cert *const *others,
                size_t count, enum cert_purpose purpose, int64_t now,
                char why[static 256]) MUST_USE;

/* The same, and when the verdict holds: from the latest notBefore to the earliest notAfter of the
 * chain (seconds since 1970). */
struct cert_span {
    int64_t from, until;
};
int cert_verify_span(const struct cert_trust *trust, const struct cert *leaf,
                     struct cert *const *others, size_t count, enum cert_purpose purpose,
                     int64_t now, struct cert_span *span, char why[static 256]) MUST_USE;
/* A number that no other set of anchors in this process has or had; adding an anchor changes it. */
uint64_t cert_trust_serial(const struct cert_trust *trust);

/* ---- pki
 * ---------------------------------------------------------------------------------------------------------------------
 */

struct pki_request {
    const char *common_name;
    const struct identity *names; /* SAN; an address is written as iPAddress and, for a gateway,
                                     also as dNSName (Windows wants it) */
    size_t name_count;
    enum key_kind key; /* KEY_RSA is 3072 bits */
    unsigned days;
    enum cert_purpose purpose;
    bool ca;
};
/* Makes a key and a certificate: self-signed when issuer is NULL. Text is PEM, malloc'ed,
 * NUL-terminated; the key's must be wiped. */
int pki_issue(const struct pki_request *request, const struct cert *issuer,
              const struct private_key *issuer_key, int64_t now, char **cert_pem,
              char **key_pem) MUST_USE;
void pki_text_free(char *text); /* wipes; NULL is fine */
/* A PKCS#12 file with key, certificate and CA, malloc'ed. legacy: 3DES and SHA-1, which phones and
 * old Windows need. */
int pki_p12(const char *cert_pem, const char *key_pem, const char *ca_pem, const char *name,
            const char *passphrase, bool legacy, uint8_t **out, size_t *out_len) MUST_USE;
/* Several lines for `shrike pki show`, malloc'ed text. */
char *pki_describe(const struct cert *cert);

#endif
