/* Signatures in the AUTH payload: method 14 (RFC 7427, RFC 8420) and the old methods 1 (RFC 7296),
 * 9, 10 and 11 (RFC 4754). */
#include "auth/auth.h"

/* SIGNATURE_HASH_ALGORITHMS carries IANA numbers 1 to 5; enum auth_hash is 1 << (number - 1). */
enum { HASH_NUMBERS = 5 };

uint8_t auth_hashes_parse(struct bytes notify_data)
{
    struct reader r = reader_of_bytes(notify_data);
    uint8_t hashes = 0;
    while (r.left > 0) {
        uint16_t number = reader_u16(&r);
        if (number >= 1 && number <= HASH_NUMBERS)
            hashes |= (uint8_t)(1U << (number - 1));
    }
    return r.bad ? 0 : hashes;
}

void auth_hashes_write(struct writer *w, uint8_t hashes)
{
    for (uint16_t number = 1; number <= HASH_NUMBERS; number++) {
        if (hashes & (1U << (number - 1)))
            writer_u16(w, number);
    }
}

static bool is_pkcs1(enum sign_scheme scheme)
{
    return scheme >= SIGN_RSA_PKCS1_SHA1 && scheme <= SIGN_RSA_PKCS1_SHA512;
}

static bool is_pss(enum sign_scheme scheme)
{
    return scheme >= SIGN_RSA_PSS_SHA256 && scheme <= SIGN_RSA_PSS_SHA512;
}

static bool is_ecdsa_der(enum sign_scheme scheme)
{
    return scheme >= SIGN_ECDSA_SHA256 && scheme <= SIGN_ECDSA_SHA512;
}

/* Steps from SHA-256 within a family of schemes: the first of `wanted` that the peer knows, -1 when
 * it knows none. */
static int pick_hash(uint8_t peer_hashes, const uint8_t wanted[static 3])
{
    for (int i = 0; i < 3; i++) {
        if (peer_hashes & wanted[i])
            return wanted[i] == AUTH_HASH_SHA256 ? 0 : wanted[i] == AUTH_HASH_SHA384 ? 1 : 2;
    }
    return -1;
}

static enum sign_scheme old_method(enum key_kind kind, enum sign_scheme peer_scheme,
                                   uint8_t *method)
{
    switch (kind) {
    case KEY_RSA:
        /* Method 1 leaves the hash to a guess, and SHA-1 is what everybody guesses (RFC 7296
         * 3.8), unless the peer has just shown that it knows better. */
        *method = AUTH_RSA;
        return is_pkcs1(peer_scheme) ? peer_scheme : SIGN_RSA_PKCS1_SHA1;
    case KEY_ECDSA_P256:
        *method = AUTH_ECDSA_256;
        return SIGN_ECDSA_P256_RAW;
    case KEY_ECDSA_P384:
        *method = AUTH_ECDSA_384;
        return SIGN_ECDSA_P384_RAW;
    case KEY_ECDSA_P521:
        *method = AUTH_ECDSA_521;
        return SIGN_ECDSA_P521_RAW;
    case KEY_ED25519: /* RFC 8420 has it in method 14 only */
    case KEY_NONE:
        break;
    }
    *method = 0;
    return SIGN_NONE;
}

/* Android verifies nothing but PKCS#1 v1.5 in method 14; it can be told by SHA-1 in its list, which
 * those that know PSS no longer announce. */
static bool wants_pkcs1(uint8_t peer_hashes, enum sign_scheme peer_scheme)
{
    if (is_pss(peer_scheme))
        return false;
    return is_pkcs1(peer_scheme) || peer_hashes & AUTH_HASH_SHA1;
}

/* The hash nearest to the strength of the key comes first. */
static const uint8_t *hashes_for(enum key_kind kind)
{
    static const uint8_t short_first[] = {AUTH_HASH_SHA256, AUTH_HASH_SHA384, AUTH_HASH_SHA512};
    static const uint8_t middle_first[] = {AUTH_HASH_SHA384, AUTH_HASH_SHA512, AUTH_HASH_SHA256};
    static const uint8_t long_first[] = {AUTH_HASH_SHA512, AUTH_HASH_SHA384, AUTH_HASH_SHA256};
    return kind == KEY_ECDSA_P384   ? middle_first
           : kind == KEY_ECDSA_P521 ? long_first
                                    : short_first;
}

static enum sign_scheme guess(enum key_kind kind, const struct auth_peer_wants *peer,
                              uint8_t *method)
{
    *method = AUTH_DIGITAL_SIGNATURE;
    if (kind == KEY_ED25519 && peer->hashes & AUTH_HASH_IDENTITY)
        return SIGN_ED25519;
    int hash = pick_hash(peer->hashes, hashes_for(kind));
    if (hash < 0 || kind == KEY_ED25519 || kind == KEY_NONE)
        return old_method(kind, peer->scheme, method);
    if (kind != KEY_RSA)
        return SIGN_ECDSA_SHA256 + hash;
    return (wants_pkcs1(peer->hashes, peer->scheme) ? SIGN_RSA_PKCS1_SHA256 : SIGN_RSA_PSS_SHA256) +
           hash;
}

/* Of a family of schemes the first that the peer takes; its list of hashes still holds (RFC 9593
 * 3.1). */
static enum sign_scheme announced_hash(const struct auth_peer_wants *peer, enum key_kind kind,
                                       enum sign_scheme family)
{
    const uint8_t *wanted = hashes_for(kind);
    for (int i = 0; i < 3; i++) {
        int hash = pick_hash(peer->hashes & wanted[i], wanted);
        if (hash >= 0 && sign_limits_allow(peer->limits, family + hash) &&
            auth_methods_have(peer->methods, AUTH_DIGITAL_SIGNATURE, family + hash))
            return family + hash;
    }
    return SIGN_NONE;
}

static enum sign_scheme announced(enum key_kind kind, const struct auth_peer_wants *peer,
                                  uint8_t *method)
{
    enum sign_scheme found = SIGN_NONE;
    *method = AUTH_DIGITAL_SIGNATURE;
    if (kind == KEY_ED25519)
        found = peer->hashes & AUTH_HASH_IDENTITY ? SIGN_ED25519 : SIGN_NONE;
    else if (kind != KEY_NONE)
        found =
            announced_hash(peer, kind, kind == KEY_RSA ? SIGN_RSA_PSS_SHA256 : SIGN_ECDSA_SHA256);
    if (found == SIGN_NONE && kind == KEY_RSA)
        found = announced_hash(peer, kind, SIGN_RSA_PKCS1_SHA256);
    if (found == SIGN_NONE)
        found = old_method(kind, peer->scheme, method);
    return auth_methods_have(peer->methods, *method, found) ? found : SIGN_NONE;
}

enum sign_scheme auth_choose_scheme(enum key_kind kind, const struct auth_peer_wants *peer,
                                    uint8_t *method)
{
    enum sign_scheme scheme =
        peer->methods & AUTH_ANNOUNCED ? announced(kind, peer, method) : guess(kind, peer, method);
    if (scheme == SIGN_NONE || sign_limits_allow(peer->limits, scheme))
        return scheme;
    scheme = announced(kind, peer, method); /* what is allowed and may be understood */
    return sign_limits_allow(peer->limits, scheme) ? scheme : SIGN_NONE;
}

/* Does the scheme stand under this method, and can a key of this kind make it? */
static bool scheme_fits(uint8_t method, enum sign_scheme scheme, enum key_kind kind)
{
    switch (method) {
    case AUTH_RSA:
        return kind == KEY_RSA && is_pkcs1(scheme);
    case AUTH_ECDSA_256:
        return kind == KEY_ECDSA_P256 && scheme == SIGN_ECDSA_P256_RAW;
    case AUTH_ECDSA_384:
        return kind == KEY_ECDSA_P384 && scheme == SIGN_ECDSA_P384_RAW;
    case AUTH_ECDSA_521:
        return kind == KEY_ECDSA_P521 && scheme == SIGN_ECDSA_P521_RAW;
    case AUTH_DIGITAL_SIGNATURE:
        if (kind == KEY_RSA)
            return is_pss(scheme) || (is_pkcs1(scheme) && scheme != SIGN_RSA_PKCS1_SHA1);
        if (kind == KEY_ED25519)
            return scheme == SIGN_ED25519;
        return kind != KEY_NONE && is_ecdsa_der(scheme);
    default:
        return false;
    }
}

int auth_signature_write(struct writer *w, uint8_t method, enum sign_scheme scheme,
                         struct bytes signature)
{
    if (method == AUTH_DIGITAL_SIGNATURE) {
        struct bytes oid = sign_scheme_oid(scheme);
        if (oid.len == 0 || oid.len > UINT8_MAX)
            return ERR_UNSUPPORTED;
        writer_u8(w, (uint8_t)oid.len);
        writer_bytes(w, oid.at, oid.len);
    }
    writer_bytes(w, signature.at, signature.len);
    return w->bad ? ERR_LIMIT : 0;
}

int auth_signature_parse(uint8_t method, struct bytes data, enum key_kind kind,
                         enum sign_scheme *scheme, struct bytes *signature)
{
    struct reader r = reader_of_bytes(data);
    *scheme = SIGN_NONE;
    *signature = (struct bytes){NULL, 0};
    switch (method) {
    case AUTH_RSA:
        *scheme = SIGN_RSA_PKCS1_SHA1; /* or SHA-2: only the signature itself tells */
        break;
    case AUTH_ECDSA_256:
        *scheme = SIGN_ECDSA_P256_RAW;
        break;
    case AUTH_ECDSA_384:
        *scheme = SIGN_ECDSA_P384_RAW;
        break;
    case AUTH_ECDSA_521:
        *scheme = SIGN_ECDSA_P521_RAW;
        break;
    case AUTH_DIGITAL_SIGNATURE: {
        struct bytes oid = reader_bytes(&r, reader_u8(&r));
        if (r.bad || oid.len == 0)
            return ERR_SYNTAX;
        *scheme = sign_scheme_from_oid(oid);
        break;
    }
    default:
        return ERR_UNSUPPORTED;
    }
    if (!scheme_fits(method, *scheme, kind)) {
        *scheme = SIGN_NONE;
        return ERR_UNSUPPORTED;
    }
    *signature = reader_rest(&r);
    return signature->len > 0 && signature->len <= SIGNATURE_MAX ? 0 : ERR_SYNTAX;
}
