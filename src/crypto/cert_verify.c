/* Chains: from a peer's certificate to an anchor of ours. libcrypto walks the chain with settings
 * of our own; what it does not know about IKE is checked before and after. */
#include "crypto/keys.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct cert_trust {
    X509_STORE *store;
    struct cert **anchors;
    size_t count, capacity;
    uint64_t serial;
};

enum { WHY = 256, NAME_IN_WHY = 100, ANCHORS_MAX = 4096 };

static uint64_t next_serial(void)
{
    static atomic_uint_fast64_t last;
    return atomic_fetch_add(&last, 1) + 1;
}

struct cert_trust *cert_trust_create(void)
{
    struct cert_trust *trust = calloc(1, sizeof(*trust));
    if (!trust)
        return NULL;
    trust->store = X509_STORE_new();
    trust->serial = next_serial();
    if (!trust->store) {
        free(trust);
        return NULL;
    }
    return trust;
}

static bool make_room(struct cert_trust *trust)
{
    if (trust->count < trust->capacity)
        return true;
    size_t capacity = trust->capacity ? 2 * trust->capacity : 8;
    struct cert **anchors = reallocarray(trust->anchors, capacity, sizeof(struct cert *));
    if (!anchors)
        return false;
    trust->anchors = anchors;
    trust->capacity = capacity;
    return true;
}

static bool has_anchor(const struct cert_trust *trust, const struct cert *cert)
{
    for (size_t i = 0; i < trust->count; i++) {
        if (bytes_equal(cert_der(trust->anchors[i]), cert_der(cert)))
            return true;
    }
    return false;
}

int cert_trust_add(struct cert_trust *trust, const struct cert *anchor)
{
    if (has_anchor(trust, anchor))
        return 0;
    if (trust->count >= ANCHORS_MAX)
        return ERR_LIMIT;
    if (!make_room(trust) || !X509_up_ref(anchor->x509))
        return ERR_MEMORY;
    struct cert *own;
    int rc = cert_take(anchor->x509, &own);
    if (rc < 0)
        return rc;
    if (!X509_STORE_add_cert(trust->store, own->x509)) {
        cert_free(own);
        return crypto_failed(ERR_CRYPTO);
    }
    trust->anchors[trust->count++] = own;
    trust->serial = next_serial();
    return 0;
}

static int add_bundle(struct cert_trust *trust, struct bytes pem)
{
    struct cert **certs = calloc(ANCHORS_MAX, sizeof(struct cert *));
    if (!certs)
        return ERR_MEMORY;
    int count = cert_parse_pem(pem, certs, ANCHORS_MAX);
    int rc = count < 0 ? count : 0;
    for (int i = 0; i < count; i++) {
        if (rc == 0)
            rc = cert_trust_add(trust, certs[i]);
        cert_free(certs[i]);
    }
    free(certs);
    return rc;
}

static int add_file(struct cert_trust *trust, const char *path)
{
    enum { BUNDLE_MAX = 4 * 1024 * 1024 };
    FILE *file = fopen(path, "re");
    if (!file)
        return ERR_NOT_FOUND;
    uint8_t *text = malloc(BUNDLE_MAX);
    int rc = ERR_MEMORY;
    if (text) {
        size_t len = fread(text, 1, BUNDLE_MAX, file);
        rc = ferror(file) || len == BUNDLE_MAX ? ERR_SYSTEM
                                               : add_bundle(trust, (struct bytes){text, len});
    }
    free(text);
    fclose(file);
    return rc;
}

int cert_trust_add_system(struct cert_trust *trust)
{
    static const char *const bundles[] = {
        "/etc/ssl/certs/ca-certificates.crt", /* Debian, Arch, Alpine */
        "/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora, RHEL */
        "/etc/ssl/ca-bundle.pem",             /* SUSE */
        "/etc/ssl/cert.pem",
    };
    for (size_t i = 0; i < ARRAY_LEN(bundles); i++) {
        int rc = add_file(trust, bundles[i]);
        if (rc != ERR_NOT_FOUND)
            return rc;
    }
    return ERR_NOT_FOUND;
}

size_t cert_trust_count(const struct cert_trust *trust)
{
    return trust->count;
}

const struct cert *cert_trust_at(const struct cert_trust *trust, size_t index)
{
    return index < trust->count ? trust->anchors[index] : NULL;
}

uint64_t cert_trust_serial(const struct cert_trust *trust)
{
    return trust->serial;
}

void cert_trust_free(struct cert_trust *trust)
{
    if (!trust)
        return;
    for (size_t i = 0; i < trust->count; i++)
        cert_free(trust->anchors[i]);
    free(trust->anchors);
    X509_STORE_free(trust->store);
    free(trust);
}

/* ---- verification */

static const char *subject(const X509 *x509, char text[static NAME_IN_WHY])
{
    return name_print(X509_get_subject_name(x509), text, NAME_IN_WHY);
}

/* Before any signature of theirs is computed: keys of a size that cannot hurt us. */
static int check_key(const struct cert *cert, char why[static WHY])
{
    char name[NAME_IN_WHY];
    if (EVP_PKEY_get_base_id(cert->key.pkey) != EVP_PKEY_RSA &&
        EVP_PKEY_get_base_id(cert->key.pkey) != EVP_PKEY_RSA_PSS)
        return 0;
    if (cert->key.sound && cert->key.bits >= RSA_BITS_MIN)
        return 0;
    if (cert->key.bits >= RSA_BITS_MIN && cert->key.bits <= RSA_BITS_MAX)
        snprintf(why, WHY, "the RSA key of certificate \"%s\" has an unusable exponent",
                 subject(cert->x509, name));
    else
        snprintf(why, WHY, "the RSA key of certificate \"%s\" has %u bits; %d to %d are accepted",
                 subject(cert->x509, name), cert->key.bits, RSA_BITS_MIN, RSA_BITS_MAX);
    return ERR_CERT_WEAK;
}

static int reason_of(int error)
{
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return ERR_CERT_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return ERR_CERT_NOT_YET;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
        return ERR_CERT_UNKNOWN_CA;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        return ERR_CERT_WEAK;
    case X509_V_ERR_INVALID_PURPOSE:
        return ERR_CERT_USAGE;
    case X509_V_ERR_CERT_REVOKED:
        return ERR_CERT_REVOKED;
    case X509_V_ERR_OUT_OF_MEM:
        return ERR_MEMORY;
    default:
        return ERR_CERT_CHAIN;
    }
}

static void explain(const X509_STORE_CTX *ctx, int reason, char why[static WHY])
{
    char name[NAME_IN_WHY], issuer[NAME_IN_WHY], date[DATE_TEXT];
    int error = X509_STORE_CTX_get_error(ctx);
    const X509 *at = X509_STORE_CTX_get_current_cert(ctx);
    struct tm tm;
    if (!at) {
        snprintf(why, WHY, "%s", X509_verify_cert_error_string(error));
        return;
    }
    subject(at, name);
    switch (reason) {
    case ERR_CERT_EXPIRED:
        if (ASN1_TIME_to_tm(X509_get0_notAfter(at), &tm))
            snprintf(why, WHY, "certificate \"%s\" ended on %s", name,
                     date_print(timegm(&tm), date));
        break;
    case ERR_CERT_NOT_YET:
        if (ASN1_TIME_to_tm(X509_get0_notBefore(at), &tm))
            snprintf(why, WHY, "certificate \"%s\" begins only on %s; is our clock right?", name,
                     date_print(timegm(&tm), date));
        break;
    case ERR_CERT_UNKNOWN_CA:
        snprintf(why, WHY, "no trusted certificate for \"%s\", the issuer of \"%s\"",
                 name_print(X509_get_issuer_name(at), issuer, sizeof(issuer)), name);
        break;
    default:
        snprintf(why, WHY, "certificate \"%s\": %s", name, X509_verify_cert_error_string(error));
    }
}

/* Extended key usages as bits. */
enum { USE_SERVER = 1, USE_CLIENT = 2, USE_IKE = 4, USE_ANY = 8 };

static unsigned extended_uses(const X509 *x509, bool *present)
{
    /* RFC 5280 4.2.1.12, RFC 4945 5.1.3.12, and Apple's of old */
    static const struct {
        const char *oid;
        unsigned use;
    } known[] = {
        {"1.3.6.1.5.5.7.3.1", USE_SERVER}, {"1.3.6.1.5.5.7.3.2", USE_CLIENT},
        {"1.3.6.1.5.5.7.3.17", USE_IKE},   {"1.3.6.1.5.5.8.2.2", USE_IKE},
        {"2.5.29.37.0", USE_ANY},
    };
    unsigned uses = 0;
    int critical = -1;
    EXTENDED_KEY_USAGE *list = X509_get_ext_d2i(x509, NID_ext_key_usage, &critical, NULL);
    *present = critical != -1;
    for (int i = 0; i < sk_ASN1_OBJECT_num(list); i++) {
        char oid[64];
        OBJ_obj2txt(oid, sizeof(oid), sk_ASN1_OBJECT_value(list, i), 1);
        for (size_t k = 0; k < ARRAY_LEN(known); k++) {
            if (strcmp(oid, known[k].oid) == 0)
                uses |= known[k].use;
        }
    }
    EXTENDED_KEY_USAGE_free(list);
    ERR_clear_error();
    return uses;
}

static bool use_allows(unsigned uses, enum cert_purpose purpose)
{
    switch (purpose) {
    case CERT_FOR_GATEWAY:
        /* IKE alone says nothing about the role, but beside clientAuth it marks a client's. */
        return uses & (USE_SERVER | USE_ANY) || (uses & USE_IKE && !(uses & USE_CLIENT));
    case CERT_FOR_CLIENT:
        return uses & (USE_CLIENT | USE_IKE | USE_ANY);
    case CERT_FOR_ANY:
        return uses != 0;
    }
    return false;
}

/* No DSA, GOST or SM2, whatever libcrypto was built with. */
static int check_kind(const X509 *x509, char why[static WHY])
{
    char name[NAME_IN_WHY];
    const EVP_PKEY *pkey = X509_get0_pubkey(x509);
    static const int known[] = {EVP_PKEY_RSA, EVP_PKEY_RSA_PSS, EVP_PKEY_EC, EVP_PKEY_ED25519,
                                EVP_PKEY_ED448};
    for (size_t i = 0; pkey && i < ARRAY_LEN(known); i++) {
        if (EVP_PKEY_get_base_id(pkey) == known[i])
            return 0;
    }
    snprintf(why, WHY, "certificate \"%s\" has a key of a kind that is not accepted",
             subject(x509, name));
    return ERR_CERT_WEAK;
}

static int check_usage(X509 *x509, bool leaf, enum cert_purpose purpose, char why[static WHY])
{
    static const char *const wanted[] = {
        [CERT_FOR_ANY] = "serverAuth or clientAuth",
        [CERT_FOR_GATEWAY] = "serverAuth",
        [CERT_FOR_CLIENT] = "clientAuth",
    };
    char name[NAME_IN_WHY];
    /* UINT32_MAX when the extension is absent. RFC 4945 5.1.3.2 */
    if (leaf && !(X509_get_key_usage(x509) & (KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION))) {
        snprintf(why, WHY, "certificate \"%s\" may not sign: its key usage lacks digitalSignature",
                 subject(x509, name));
        return ERR_CERT_USAGE;
    }
    bool present;
    unsigned uses = extended_uses(x509, &present);
    if (present && !use_allows(uses, purpose)) {
        snprintf(why, WHY,
                 "certificate \"%s\" is not for this role: its extended key usage lacks %s",
                 subject(x509, name), wanted[purpose]);
        return ERR_CERT_USAGE;
    }
    return 0;
}

/* Kinds of key, the usage of everything but the anchor, and when the whole chain is valid. */
static int check_chain(STACK_OF(X509) * chain, enum cert_purpose purpose, struct cert_span *span,
                       char why[static WHY])
{
    int count = sk_X509_num(chain);
    *span = (struct cert_span){INT64_MIN, INT64_MAX};
    for (int i = 0; i < count; i++) {
        X509 *x509 = sk_X509_value(chain, i);
        bool anchor = i > 0 && i == count - 1;
        int rc = check_kind(x509, why);
        if (rc == 0 && !anchor)
            rc = check_usage(x509, i == 0, purpose, why);
        if (rc < 0)
            return rc;
        struct tm from, until;
        if (!ASN1_TIME_to_tm(X509_get0_notBefore(x509), &from) ||
            !ASN1_TIME_to_tm(X509_get0_notAfter(x509), &until))
            return ERR_CERT_PARSE;
        int64_t start = timegm(&from), end = timegm(&until);
        if (start > span->from)
            span->from = start;
        if (end < span->until)
            span->until = end;
    }
    return 0;
}

static bool configure(X509_STORE_CTX *ctx, int64_t now)
{
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    /* Every anchor is trusted as given, a root or not. Level 2 = 112 bits: no SHA-1, no RSA under
     * 2048. The depth counts what stands between leaf and anchor. */
    X509_VERIFY_PARAM_set_depth(param, CERT_CHAIN_MAX - 2);
    X509_VERIFY_PARAM_set_auth_level(param, 2);
    X509_VERIFY_PARAM_set_time(param, (time_t)now);
    return X509_VERIFY_PARAM_set_flags(param,
                                       X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST);
}

static int walk(const struct cert_trust *trust, const struct cert *leaf, STACK_OF(X509) * others,
                enum cert_purpose purpose, int64_t now, struct cert_span *span,
                char why[static WHY])
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int rc = ERR_MEMORY;
    if (ctx && X509_STORE_CTX_init(ctx, trust->store, leaf->x509, others) && configure(ctx, now)) {
        if (X509_verify_cert(ctx) == 1) {
            rc = check_chain(X509_STORE_CTX_get0_chain(ctx), purpose, span, why);
        } else {
            rc = reason_of(X509_STORE_CTX_get_error(ctx));
            explain(ctx, rc, why);
        }
    }
    X509_STORE_CTX_free(ctx);
    return crypto_failed(rc);
}

int cert_verify_span(const struct cert_trust *trust, const struct cert *leaf,
                     struct cert *const *others, size_t count, enum cert_purpose purpose,
                     int64_t now, struct cert_span *span, char why[static 256])
{
    *span = (struct cert_span){0, 0};
    snprintf(why, WHY, "%s", "");
    if (trust->count == 0) {
        snprintf(why, WHY, "no certificate authority is configured here");
        return ERR_CERT_UNKNOWN_CA;
    }
    int rc = leaf->key.kind == KEY_NONE ? ERR_UNSUPPORTED : check_key(leaf, why);
    if (rc == ERR_UNSUPPORTED)
        snprintf(why, WHY, "the certificate's key is not RSA, ECDSA P-256/384/521 or Ed25519");

    STACK_OF(X509) *stack = sk_X509_new_null();
    if (!stack)
        rc = ERR_MEMORY;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = check_key(others[i], why);
        if (rc == 0 && !sk_X509_push(stack, others[i]->x509))
            rc = ERR_MEMORY;
    }
    if (rc == 0)
        rc = walk(trust, leaf, stack, purpose, now, span, why);
    sk_X509_free(stack);
    if (rc < 0 && why[0] == '\0')
        snprintf(why, WHY, "%s", err_sentence(rc));
    return rc;
}

int cert_verify(const struct cert_trust *trust, const struct cert *leaf, struct cert *const *others,
                size_t count, enum cert_purpose purpose, int64_t now, char why[static 256])
{
    struct cert_span span;
    return cert_verify_span(trust, leaf, others, count, purpose, now, &span, why);
}
