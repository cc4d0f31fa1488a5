/* One certificate: reading it, its key, its dates. */
#include "crypto/keys.h"

#include <openssl/pem.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool seconds_of(const ASN1_TIME *time, int64_t *out)
{
    struct tm tm;
    if (!time || !ASN1_TIME_to_tm(time, &tm))
        return false;
    *out = timegm(&tm);
    return true;
}

/* Everything that can be wrong with the form is found here, so that later look-ups cannot fail. */
static bool load(struct cert *cert)
{
    X509 *x509 = cert->x509;
    uint8_t *der = NULL;
    int der_len = i2d_X509(x509, &der);
    if (der_len <= 0)
        return false;
    cert->der = der;
    cert->der_len = (size_t)der_len;

    EVP_PKEY *pkey = X509_get0_pubkey(x509);
    if (cert->der_len > CERT_DER_MAX || !pkey || X509_get_extension_flags(x509) & EXFLAG_INVALID)
        return false;
    public_key_init(&cert->key, pkey);

    int critical = -1;
    cert->names = X509_get_ext_d2i(x509, NID_subject_alt_name, &critical, NULL);
    if (!cert->names && critical != -1)
        return false; /* there, but malformed or twice */
    return seconds_of(X509_get0_notBefore(x509), &cert->not_before) &&
           seconds_of(X509_get0_notAfter(x509), &cert->not_after);
}

int cert_take(X509 *x509, struct cert **out)
{
    *out = NULL;
    struct cert *cert = calloc(1, sizeof(*cert));
    if (!cert) {
        X509_free(x509);
        return ERR_MEMORY;
    }
    cert->x509 = x509;
    if (!load(cert)) {
        cert_free(cert);
        return crypto_failed(ERR_CERT_PARSE);
    }
    ERR_clear_error();
    *out = cert;
    return 0;
}

int cert_parse(struct bytes der, struct cert **out)
{
    *out = NULL;
    if (der.len == 0 || der.len > CERT_DER_MAX)
        return ERR_CERT_PARSE;
    const uint8_t *at = der.at;
    X509 *x509 = d2i_X509(NULL, &at, (long)der.len);
    if (!x509)
        return crypto_failed(ERR_CERT_PARSE);
    if (at != der.at + der.len) {
        X509_free(x509);
        return ERR_CERT_PARSE;
    }
    return cert_take(x509, out);
}

static bool is_certificate_label(const char *label)
{
    return strcmp(label, PEM_STRING_X509) == 0 || strcmp(label, PEM_STRING_X509_OLD) == 0;
}

/* Certificates of a PEM text; other blocks (a key in the same file) are passed over and wiped. */
static int read_pem(BIO *bio, struct cert **out, size_t max, size_t *count)
{
    char *label, *header;
    unsigned char *data;
    long len;
    int rc = 0;
    while (rc == 0 && PEM_read_bio(bio, &label, &header, &data, &len)) {
        if (is_certificate_label(label)) {
            rc = *count < max ? cert_parse((struct bytes){data, (size_t)len}, &out[*count])
                              : ERR_LIMIT;
            *count += rc == 0;
        }
        OPENSSL_free(label);
        OPENSSL_free(header);
        OPENSSL_clear_free(data, (size_t)len);
    }
    unsigned long last = ERR_peek_last_error();
    if (rc == 0 && last != 0 && ERR_GET_REASON(last) != PEM_R_NO_START_LINE)
        rc = ERR_CERT_PARSE;
    return crypto_failed(rc);
}

int cert_parse_pem(struct bytes pem, struct cert **out, size_t max)
{
    if (pem.len > 0 && pem.at[0] == 0x30) { /* plain DER is as good */
        int rc = max > 0 ? cert_parse(pem, &out[0]) : ERR_LIMIT;
        return rc < 0 ? rc : 1;
    }
    if (pem.len > 16U * 1024 * 1024)
        return ERR_LIMIT;
    BIO *bio = BIO_new_mem_buf(pem.at, (int)pem.len);
    if (!bio)
        return crypto_failed(ERR_MEMORY);
    size_t count = 0;
    int rc = read_pem(bio, out, max, &count);
    BIO_free(bio);
    if (rc == 0 && count == 0)
        rc = ERR_CERT_PARSE;
    if (rc == 0)
        return (int)count;
    while (count > 0)
        cert_free(out[--count]);
    return rc;
}

void cert_free(struct cert *cert)
{
    if (!cert)
        return;
    GENERAL_NAMES_free(cert->names);
    OPENSSL_free(cert->der);
    X509_free(cert->x509);
    free(cert);
}

struct bytes cert_der(const struct cert *cert)
{
    return (struct bytes){cert->der, cert->der_len};
}

const struct public_key *cert_public_key(const struct cert *cert)
{
    return &cert->key;
}

bool cert_matches_key(const struct cert *cert, const struct private_key *key)
{
    bool same = EVP_PKEY_eq(cert->key.pkey, key->pkey) == 1;
    ERR_clear_error();
    return same;
}

void cert_validity(const struct cert *cert, int64_t *not_before, int64_t *not_after)
{
    *not_before = cert->not_before;
    *not_after = cert->not_after;
}

void cert_issuer_key_hash(const struct cert *ca, uint8_t out[static 20])
{
    uint8_t *spki = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(ca->x509), &spki);
    memset(out, 0, 20);
    if (len > 0) {
        struct bytes part = {spki, (size_t)len};
        hash_sha1(&part, 1, out);
    }
    OPENSSL_free(spki);
}
