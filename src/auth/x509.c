/* From CERT payloads and a claimed identity to a verified signature, with the reason in words. */
#include "auth/auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WHY = 256, WAYS = 4, CACHE_MAX = 65536 };

/* A leaf whose chain held under these anchors, for this purpose, during this span. Only leaves that
 * also proved themselves get in, so a stranger cannot push others out. */
struct cached {
    uint8_t hash[32]; /* SHA-256 of the DER */
    struct cert *leaf;
    uint64_t trust;
    enum cert_purpose purpose;
    struct cert_span span;
    uint64_t used;
};

struct auth_cache {
    size_t sets; /* each of WAYS entries */
    uint64_t clock;
    struct cached entries[];
};

struct auth_cache *auth_cache_create(size_t entries)
{
    if (entries > CACHE_MAX)
        entries = CACHE_MAX;
    size_t sets = (entries + WAYS - 1) / WAYS;
    if (sets == 0)
        sets = 1;
    struct auth_cache *cache = calloc(1, sizeof(*cache) + sets * WAYS * sizeof(struct cached));
    if (cache)
        cache->sets = sets;
    return cache;
}

void auth_cache_free(struct auth_cache *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < cache->sets * WAYS; i++)
        cert_free(cache->entries[i].leaf);
    free(cache);
}

static struct cached *cache_set(struct auth_cache *cache, const uint8_t hash[static 32])
{
    uint64_t key;
    memcpy(&key, hash, sizeof(key));
    return &cache->entries[key % cache->sets * WAYS];
}

static struct cached *cache_find(struct auth_cache *cache, const uint8_t hash[static 32],
                                 uint64_t trust, enum cert_purpose purpose, int64_t now)
{
    struct cached *set = cache_set(cache, hash);
    for (size_t i = 0; i < WAYS; i++) {
        struct cached *at = &set[i];
        if (at->leaf && memcmp(at->hash, hash, 32) == 0 && at->trust == trust &&
            at->purpose == purpose && now >= at->span.from && now < at->span.until) {
            at->used = ++cache->clock;
            return at;
        }
    }
    return NULL;
}

/* Takes the leaf over. The one unused for longest gives way, or the same certificate's old entry.
 */
static void cache_keep(struct auth_cache *cache, const struct cached *entry)
{
    struct cached *set = cache_set(cache, entry->hash);
    struct cached *victim = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        bool same = set[i].leaf && set[i].purpose == entry->purpose &&
                    memcmp(set[i].hash, entry->hash, 32) == 0;
        if (same) {
            victim = &set[i];
            break;
        }
        if (set[i].used < victim->used)
            victim = &set[i];
    }
    cert_free(victim->leaf);
    *victim = *entry;
    victim->used = ++cache->clock;
}

/* ---- one proof */

static int read_chain(const struct auth_peer_proof *proof, struct cert **certs, size_t *count,
                      char why[static WHY])
{
    *count = 0;
    for (size_t i = 0; i < proof->cert_count; i++) {
        int rc = cert_parse(proof->certs[i], &certs[i]);
        if (rc < 0) {
            snprintf(why, WHY, "certificate %zu of %zu that the peer sent cannot be read", i + 1,
                     proof->cert_count);
            return rc;
        }
        *count = i + 1;
    }
    return 0;
}

/* Reads what the peer sent and verifies the chain; on success entry->leaf is the caller's. */
static int verify_chain(const struct cert_trust *trust, const struct auth_peer_proof *proof,
                        struct cached *entry, char why[static WHY])
{
    struct cert *certs[WIRE_CERTS_MAX];
    size_t count;
    int rc = read_chain(proof, certs, &count, why);
    if (rc == 0)
        rc = cert_verify_span(trust, certs[0], certs + 1, count - 1, proof->purpose, proof->now,
                              &entry->span, why);
    for (size_t i = rc == 0 ? 1 : 0; i < count; i++)
        cert_free(certs[i]);
    if (rc < 0)
        return rc;
    entry->leaf = certs[0];
    entry->trust = cert_trust_serial(trust);
    entry->purpose = proof->purpose;
    return 0;
}

static int check_identity(const struct cert *leaf, const struct identity *peer,
                          char why[static WHY])
{
    char subject[256], id[IDENTITY_TEXT];
    if (cert_has_identity(leaf, peer))
        return 0;
    snprintf(why, WHY, "certificate \"%.100s\" does not carry the identity \"%.100s\"",
             cert_print_subject(leaf, subject), cert_dn_print(peer, id));
    return ERR_CERT_NAME;
}

/* Method 1 does not say which hash was used: SHA-1 is tried first, then SHA-2. */
static int verify_rsa_old(const struct public_key *key, struct bytes octets, struct bytes signature,
                          enum sign_scheme *scheme)
{
    int rc = ERR_AUTH;
    for (enum sign_scheme s = SIGN_RSA_PKCS1_SHA1; rc == ERR_AUTH && s <= SIGN_RSA_PKCS1_SHA512;
         s++) {
        *scheme = s;
        rc = verify(key, s, octets, signature);
    }
    return rc;
}

static int check_signature(const struct cert *leaf, const struct auth_peer_proof *proof,
                           enum sign_scheme *scheme_used, char why[static WHY])
{
    const struct public_key *key = cert_public_key(leaf);
    char refused[128];
    enum sign_scheme scheme;
    struct bytes signature;
    int rc =
        auth_signature_parse(proof->method, proof->data, public_key_kind(key), &scheme, &signature);
    if (rc < 0) {
        snprintf(why, WHY,
                 "the peer's %s key was used with authentication method %u in a form that is not "
                 "accepted",
                 key_kind_name(public_key_kind(key)), proof->method);
        return rc;
    }
    if (proof->method == AUTH_RSA)
        rc = verify_rsa_old(key, proof->octets, signature, &scheme);
    else
        rc = verify(key, scheme, proof->octets, signature);
    if (rc < 0) {
        snprintf(why, WHY, "the peer's signature (%s) does not verify", sign_scheme_name(scheme));
        return rc;
    }
    if (!sign_limits_allow_key(proof->limits, key, refused)) {
        snprintf(why, WHY, "the policy here does not accept the peer's key: %s", refused);
        return ERR_AUTH;
    }
    if (!sign_limits_allow(proof->limits, scheme)) {
        snprintf(why, WHY, "the policy here does not accept a signature by %s",
                 sign_scheme_name(scheme));
        return ERR_AUTH;
    }
    *scheme_used = scheme;
    return 0;
}

int auth_verify_cert(const struct cert_trust *trust, struct auth_cache *cache,
                     const struct auth_peer_proof *proof, enum sign_scheme *scheme_used,
                     char why[static 256])
{
    *scheme_used = SIGN_NONE;
    why[0] = '\0';
    if (proof->cert_count == 0) {
        snprintf(why, WHY, "the peer sent no certificate");
        return ERR_CERT_PARSE;
    }
    if (proof->cert_count > WIRE_CERTS_MAX) {
        snprintf(why, WHY, "the peer sent more than %d certificates", WIRE_CERTS_MAX);
        return ERR_LIMIT;
    }
    struct cached fresh = {.leaf = NULL};
    struct cached *known = NULL;
    if (cache) {
        hash_sha256(&proof->certs[0], 1, fresh.hash);
        known = cache_find(cache, fresh.hash, cert_trust_serial(trust), proof->purpose, proof->now);
    }
    int rc = known ? 0 : verify_chain(trust, proof, &fresh, why);
    const struct cert *leaf = known ? known->leaf : fresh.leaf;
    if (rc == 0)
        rc = check_identity(leaf, proof->peer, why);
    if (rc == 0)
        rc = check_signature(leaf, proof, scheme_used, why);
    if (rc == 0 && cache && !known)
        cache_keep(cache, &fresh);
    else
        cert_free(fresh.leaf);
    return rc;
}
