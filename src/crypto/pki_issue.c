/* Making keys and certificates of our own, such that all native clients take them. */
#include "crypto/keys.h"

#include <openssl/bn.h>
#include <openssl/pem.h>

#include <stdlib.h>
#include <string.h>

enum { DAY = 86400, DAYS_MAX = 36500, NAME_MAX_CN = 64, NAMES_MAX = 64, SERIAL_LEN = 16 };

static EVP_PKEY *generate(enum key_kind kind)
{
    switch (kind) {
    case KEY_RSA:
        return EVP_RSA_gen(3072U);
    case KEY_ECDSA_P256:
        return EVP_EC_gen("P-256");
    case KEY_ECDSA_P384:
        return EVP_EC_gen("P-384");
    case KEY_ECDSA_P521:
        return EVP_EC_gen("P-521");
    case KEY_ED25519:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    case KEY_NONE:
        break;
    }
    return NULL;
}

static const EVP_MD *digest_for(enum key_kind signer)
{
    switch (signer) {
    case KEY_ECDSA_P384:
        return EVP_sha384();
    case KEY_ECDSA_P521:
        return EVP_sha512();
    case KEY_ED25519:
        return NULL; /* hashes by itself */
    default:
        return EVP_sha256();
    }
}

/* A positive number of 127 random bits: RFC 5280 4.1.2.2 wants it unique, and nobody counts. */
static bool set_serial(X509 *x509)
{
    uint8_t octets[SERIAL_LEN];
    random_fill(&random_system, octets, sizeof(octets));
    octets[0] = (uint8_t)((octets[0] & 0x7f) | 0x40);
    BIGNUM *number = BN_bin2bn(octets, sizeof(octets), NULL);
    bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509));
    BN_free(number);
    return ok;
}

/* It begins a day early for clocks that are behind, and never outlives its issuer. */
static bool set_dates(X509 *x509, const struct pki_request *request, const struct cert *issuer,
                      int64_t now)
{
    int64_t from = now - DAY, until = now + (int64_t)request->days * DAY;
    if (issuer && until > issuer->not_after)
        until = issuer->not_after;
    if (issuer && from < issuer->not_before)
        from = issuer->not_before;
    return from < until && ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)from) &&
           ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)until);
}

static bool set_subject(X509 *x509, const char *common_name)
{
    X509_NAME *name = X509_get_subject_name(x509);
    return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                      (const unsigned char *)common_name, -1, -1, 0);
}

/* One extension by libcrypto's own words; only for constant text. */
static bool add_words(X509 *x509, X509 *issuer, int nid, const char *words)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x509, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, words);
    bool ok = extension && X509_add_ext(x509, extension, -1);
    X509_EXTENSION_free(extension);
    return ok;
}

static bool is_ascii(struct bytes octets)
{
    for (size_t i = 0; i < octets.len; i++) {
        if (octets.at[i] <= 0x20 || octets.at[i] > 0x7e)
            return false;
    }
    return octets.len > 0;
}

static bool add_name(GENERAL_NAMES *names, int type, struct bytes octets)
{
    if (type != GEN_IPADD && !is_ascii(octets))
        return false;
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value =
        ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    if (!name || !value || !ASN1_STRING_set(value, octets.at, (int)octets.len)) {
        GENERAL_NAME_free(name);
        ASN1_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name, type, value);
    if (sk_GENERAL_NAME_push(names, name) > 0)
        return true;
    GENERAL_NAME_free(name);
    return false;
}

/* An address of a gateway is written as dNSName too: Windows and some of Apple's look for the text
 * the user typed there. */
static bool add_identity(GENERAL_NAMES *names, const struct identity *id, bool gateway)
{
    struct bytes octets = {id->octets, id->len};
    char text[ADDR_TEXT];
    switch (id->type) {
    case IDENTITY_FQDN:
        return add_name(names, GEN_DNS, octets);
    case IDENTITY_RFC822:
        return add_name(names, GEN_EMAIL, octets);
    case IDENTITY_IPV4:
    case IDENTITY_IPV6: {
        struct ip ip = ip_from_octets(id->type == IDENTITY_IPV4 ? 4 : 6, id->octets);
        ip_print(&ip, text);
        return add_name(names, GEN_IPADD, octets) &&
               (!gateway ||
                add_name(names, GEN_DNS, (struct bytes){(const uint8_t *)text, strlen(text)}));
    }
    default:
        return false;
    }
}

static bool add_names(X509 *x509, const struct pki_request *request)
{
    if (request->name_count == 0)
        return true;
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    bool ok = names != NULL;
    for (size_t i = 0; ok && i < request->name_count; i++)
        ok = add_identity(names, &request->names[i], request->purpose == CERT_FOR_GATEWAY);
    ok = ok && X509_add1_ext_i2d(x509, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(names);
    return ok;
}

/* 1.3.6.1.5.5.8.2.2 is ikeIntermediate: old macOS asks for it in a gateway's certificate, Windows
 * prefers it among several of a client. */
static const char *extended_uses(enum cert_purpose purpose)
{
    switch (purpose) {
    case CERT_FOR_GATEWAY:
        return "serverAuth,1.3.6.1.5.5.8.2.2";
    case CERT_FOR_CLIENT:
        return "clientAuth,1.3.6.1.5.5.8.2.2";
    default:
        return "serverAuth,clientAuth,1.3.6.1.5.5.8.2.2";
    }
}

static bool add_extensions(X509 *x509, X509 *issuer, const struct pki_request *request)
{
    if (!add_words(x509, issuer, NID_subject_key_identifier, "hash"))
        return false;
    if (request->ca)
        return add_words(x509, issuer, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
               add_words(x509, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
    /* keyEncipherment is what Windows' own templates put beside an RSA key. */
    const char *usage = request->key == KEY_RSA ? "critical,digitalSignature,keyEncipherment"
                                                : "critical,digitalSignature";
    return add_words(x509, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
           add_words(x509, issuer, NID_key_usage, usage) &&
           add_words(x509, issuer, NID_ext_key_usage, extended_uses(request->purpose)) &&
           add_words(x509, issuer, NID_authority_key_identifier,
                     issuer == x509 ? "keyid" : "keyid:always") &&
           add_names(x509, request);
}

static X509 *build(const struct pki_request *request, EVP_PKEY *pkey, const struct cert *issuer,
                   const struct private_key *issuer_key, int64_t now)
{
    X509 *x509 = X509_new();
    X509 *above = issuer ? issuer->x509 : x509;
    const EVP_MD *digest = digest_for(issuer_key ? issuer_key->kind : request->key);
    bool ok = x509 && X509_set_version(x509, X509_VERSION_3) && set_serial(x509) &&
              set_dates(x509, request, issuer, now) && set_subject(x509, request->common_name) &&
              X509_set_issuer_name(x509, X509_get_subject_name(above)) &&
              X509_set_pubkey(x509, pkey) && add_extensions(x509, above, request) &&
              X509_sign(x509, issuer_key ? issuer_key->pkey : pkey, digest) > 0;
    if (ok)
        return x509;
    X509_free(x509);
    return NULL;
}

/* What was written to a memory BIO as text of our own; the BIO's copy is wiped. */
static char *text_of(BIO *bio)
{
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);
    char *text = len > 0 ? malloc((size_t)len + 1) : NULL;
    if (text) {
        memcpy(text, data, (size_t)len);
        text[len] = '\0';
    }
    if (len > 0)
        secret_wipe(data, (size_t)len);
    BIO_free(bio);
    return text;
}

static char *cert_text(X509 *x509)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio && PEM_write_bio_X509(bio, x509))
        return text_of(bio);
    BIO_free(bio);
    return NULL;
}

static char *key_text(EVP_PKEY *pkey)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio && PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL))
        return text_of(bio);
    BIO_free(bio);
    return NULL;
}

static bool is_printable(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    }
    return true;
}

static int check_request(const struct pki_request *request, const struct cert *issuer,
                         const struct private_key *issuer_key)
{
    size_t len = strlen(request->common_name);
    if (len == 0 || len > NAME_MAX_CN || !is_printable(request->common_name) ||
        request->days == 0 || request->days > DAYS_MAX || request->name_count > NAMES_MAX ||
        request->key == KEY_NONE || !issuer != !issuer_key)
        return ERR_ARGUMENT;
    if (!issuer)
        return 0;
    if (X509_check_ca(issuer->x509) != 1 || !(X509_get_key_usage(issuer->x509) & KU_KEY_CERT_SIGN))
        return ERR_CERT_USAGE;
    return cert_matches_key(issuer, issuer_key) ? 0 : ERR_KEY_MISMATCH;
}

int pki_issue(const struct pki_request *request, const struct cert *issuer,
              const struct private_key *issuer_key, int64_t now, char **cert_pem, char **key_pem)
{
    *cert_pem = *key_pem = NULL;
    int rc = check_request(request, issuer, issuer_key);
    if (rc < 0)
        return rc;
    if (issuer && now > issuer->not_after)
        return ERR_CERT_EXPIRED;
    EVP_PKEY *pkey = generate(request->key);
    X509 *x509 = pkey ? build(request, pkey, issuer, issuer_key, now) : NULL;
    if (x509) {
        *cert_pem = cert_text(x509);
        *key_pem = key_text(pkey);
    }
    X509_free(x509);
    EVP_PKEY_free(pkey);
    if (*cert_pem && *key_pem)
        return crypto_failed(0);
    pki_text_free(*cert_pem);
    pki_text_free(*key_pem);
    *cert_pem = *key_pem = NULL;
    return crypto_failed(ERR_CRYPTO);
}

void pki_text_free(char *text)
{
    if (!text)
        return;
    secret_wipe(text, strlen(text));
    free(text);
}
