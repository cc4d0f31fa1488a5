/* Certificates of every shape, good and bad, made by libcrypto's own words. */
#ifndef SHRIKE_TEST_FORGE_H
#define SHRIKE_TEST_FORGE_H

#include "crypto/crypto.h"
#include "crypto/openssl.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

enum { FORGE_NOW = 1800000000, FORGE_DAY = 86400 };

struct forged {
    X509 *x509;
    EVP_PKEY *pkey;
};

struct forge {
    const char *name; /* common name; NULL: empty subject */
    const char *organization;
    const struct forged *by; /* NULL: itself */
    EVP_PKEY *pkey;          /* borrowed; NULL: a new P-256 key */
    const char *constraints; /* basicConstraints */
    const char *usage, *extended, *names, *name_constraints;
    int from, until; /* days from FORGE_NOW; 0, 0: a day before to a year after */
    const EVP_MD *digest;
};

static inline void forge_extension(X509 *x509, X509 *by, int nid, const char *words)
{
    X509V3_CTX ctx;
    if (!words)
        return;
    X509V3_set_ctx(&ctx, by, x509, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, words);
    assert_non_null(extension);
    X509_add_ext(x509, extension, -1);
    X509_EXTENSION_free(extension);
}

static inline void forge_subject(X509_NAME *name, const struct forge *f)
{
    if (f->organization)
        X509_NAME_add_entry_by_NID(name, NID_organizationName, MBSTRING_UTF8,
                                   (const unsigned char *)f->organization, -1, -1, 0);
    if (f->name)
        X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                   (const unsigned char *)f->name, -1, -1, 0);
}

static inline struct forged forge(struct forge f)
{
    static long serial = 1000;
    struct forged out = {X509_new(), f.pkey};
    if (out.pkey)
        EVP_PKEY_up_ref(out.pkey);
    else
        out.pkey = EVP_EC_gen("P-256");
    assert_non_null(out.x509);
    assert_non_null(out.pkey);
    X509 *by = f.by ? f.by->x509 : out.x509;
    int from = f.from || f.until ? f.from : -1, until = f.from || f.until ? f.until : 365;
    X509_set_version(out.x509, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(out.x509), serial++);
    ASN1_TIME_set(X509_getm_notBefore(out.x509), FORGE_NOW + (time_t)from * FORGE_DAY);
    ASN1_TIME_set(X509_getm_notAfter(out.x509), FORGE_NOW + (time_t)until * FORGE_DAY);
    forge_subject(X509_get_subject_name(out.x509), &f);
    X509_set_issuer_name(out.x509, X509_get_subject_name(by));
    X509_set_pubkey(out.x509, out.pkey);
    forge_extension(out.x509, by, NID_basic_constraints, f.constraints);
    forge_extension(out.x509, by, NID_key_usage, f.usage);
    forge_extension(out.x509, by, NID_ext_key_usage, f.extended);
    forge_extension(out.x509, by, NID_subject_alt_name, f.names);
    forge_extension(out.x509, by, NID_name_constraints, f.name_constraints);
    EVP_PKEY *signer = f.by ? f.by->pkey : out.pkey;
    const EVP_MD *digest = f.digest ? f.digest : EVP_sha256();
    if (EVP_PKEY_get_base_id(signer) == EVP_PKEY_ED25519)
        digest = NULL;
    assert_true(X509_sign(out.x509, signer, digest) > 0);
    return out;
}

static inline struct forged forge_ca(const char *name, const struct forged *by)
{
    return forge((struct forge){.name = name,
                                .by = by,
                                .constraints = "critical,CA:TRUE",
                                .usage = "critical,keyCertSign,cRLSign"});
}

/* Through the parser, as everything of a peer. */
static inline struct cert *forge_cert(const struct forged *f)
{
    unsigned char *der = NULL;
    int len = i2d_X509(f->x509, &der);
    struct cert *cert;
    assert_true(len > 0);
    assert_int_equal(cert_parse((struct bytes){der, (size_t)len}, &cert), 0);
    OPENSSL_free(der);
    return cert;
}

static inline void forge_free(struct forged *f)
{
    X509_free(f->x509);
    EVP_PKEY_free(f->pkey);
}

#endif
