/* PKCS#12 files, both ways, and a certificate told to a person. */
#include "crypto/keys.h"

#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The passphrases we make ourselves have 100 bits, so iterations are not what protects them; some
 * clients refuse to wait for more. */
enum { P12_ITERATIONS = 10000, P12_MAX = 256 * 1024 };

/* ---- writing */

static X509 *one_cert(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *x509 = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return x509;
}

static PKCS12 *pack(EVP_PKEY *pkey, X509 *leaf, STACK_OF(X509) * others, const char *name,
                    const char *passphrase, bool legacy)
{
    /* Phones and old Windows read 3DES with a SHA-1 MAC and nothing newer. */
    int cipher = legacy ? NID_pbe_WithSHA1And3_Key_TripleDES_CBC : NID_aes_256_cbc;
    PKCS12 *p12 =
        PKCS12_create(passphrase, name, pkey, leaf, others, cipher, cipher, P12_ITERATIONS, -1, 0);
    if (p12 && !PKCS12_set_mac(p12, passphrase, -1, NULL, 0, P12_ITERATIONS,
                               legacy ? EVP_sha1() : EVP_sha256())) {
        PKCS12_free(p12);
        return NULL;
    }
    return p12;
}

static int encode(PKCS12 *p12, uint8_t **out, size_t *out_len)
{
    uint8_t *der = NULL;
    int len = i2d_PKCS12(p12, &der);
    int rc = ERR_CRYPTO;
    if (len > 0) {
        *out = malloc((size_t)len);
        rc = *out ? 0 : ERR_MEMORY;
    }
    if (rc == 0) {
        memcpy(*out, der, (size_t)len);
        *out_len = (size_t)len;
    }
    OPENSSL_free(der);
    return rc;
}

int pki_p12(const char *cert_pem, const char *key_pem, const char *ca_pem, const char *name,
            const char *passphrase, bool legacy, uint8_t **out, size_t *out_len)
{
    *out = NULL;
    *out_len = 0;
    struct private_key *key;
    int rc = private_key_parse((struct bytes){(const uint8_t *)key_pem, strlen(key_pem)}, &key);
    if (rc < 0)
        return rc;
    X509 *leaf = one_cert(cert_pem), *ca = ca_pem ? one_cert(ca_pem) : NULL;
    STACK_OF(X509) *others = sk_X509_new_null();
    PKCS12 *p12 = NULL;
    if (!leaf || (ca_pem && !ca))
        rc = ERR_CERT_PARSE;
    else if (!others || (ca && !sk_X509_push(others, ca)))
        rc = ERR_MEMORY;
    else if (!X509_check_private_key(leaf, key->pkey))
        rc = ERR_KEY_MISMATCH;
    else
        p12 = pack(key->pkey, leaf, others, name, passphrase, legacy);
    if (rc == 0)
        rc = p12 ? encode(p12, out, out_len) : ERR_CRYPTO;
    PKCS12_free(p12);
    sk_X509_free(others);
    X509_free(ca);
    X509_free(leaf);
    private_key_free(key);
    return crypto_failed(rc);
}

/* ---- reading */

static int collect(X509 *leaf, STACK_OF(X509) * others, struct cert **out, size_t max)
{
    size_t count = 0;
    int rc = max == 0 || !X509_up_ref(leaf) ? ERR_LIMIT : cert_take(leaf, &out[0]);
    count += rc == 0;
    for (int i = 0; rc == 0 && i < sk_X509_num(others); i++) {
        X509 *x509 = sk_X509_value(others, i);
        rc = count >= max || !X509_up_ref(x509) ? ERR_LIMIT : cert_take(x509, &out[count]);
        count += rc == 0;
    }
    if (rc == 0)
        return (int)count;
    while (count > 0)
        cert_free(out[--count]);
    return rc;
}

static int unpack(PKCS12 *p12, const char *passphrase, struct private_key **key, struct cert **out,
                  size_t max)
{
    EVP_PKEY *pkey = NULL;
    X509 *leaf = NULL;
    STACK_OF(X509) *others = NULL;
    if (PKCS12_mac_present(p12) && !PKCS12_verify_mac(p12, passphrase, -1) &&
        (passphrase[0] != '\0' || !PKCS12_verify_mac(p12, NULL, 0)))
        return ERR_INTEGRITY;
    if (!PKCS12_parse(p12, passphrase, &pkey, &leaf, &others))
        return ERR_UNSUPPORTED; /* a cipher of old that libcrypto no longer has: RC2-40 */
    int rc = leaf ? collect(leaf, others, out, max) : ERR_CERT_PARSE;
    if (rc > 0) {
        int key_rc = pkey ? private_key_take(pkey, key) : ERR_KEY_PARSE;
        pkey = NULL;
        if (key_rc < 0) {
            for (int i = 0; i < rc; i++)
                cert_free(out[i]);
            rc = key_rc;
        }
    }
    EVP_PKEY_free(pkey);
    X509_free(leaf);
    sk_X509_pop_free(others, X509_free);
    return rc;
}

int cert_parse_p12(struct bytes p12_octets, const char *passphrase, struct private_key **key,
                   struct cert **out, size_t max)
{
    *key = NULL;
    if (p12_octets.len == 0 || p12_octets.len > P12_MAX)
        return ERR_CERT_PARSE;
    const uint8_t *at = p12_octets.at;
    PKCS12 *p12 = d2i_PKCS12(NULL, &at, (long)p12_octets.len);
    if (!p12)
        return crypto_failed(ERR_CERT_PARSE);
    int rc = unpack(p12, passphrase ? passphrase : "", key, out, max);
    PKCS12_free(p12);
    return crypto_failed(rc);
}

/* ---- telling */

static void describe_key(FILE *to, const struct cert *cert)
{
    switch (cert->key.kind) {
    case KEY_NONE:
        fprintf(to, "key         of a kind that is not supported\n");
        break;
    case KEY_RSA:
        fprintf(to, "key         RSA, %u bits\n", cert->key.bits);
        break;
    case KEY_ED25519:
        fprintf(to, "key         Ed25519\n");
        break;
    default:
        fprintf(to, "key         ECDSA P-%u\n", cert->key.bits);
        break;
    }
}

static void describe_names(FILE *to, const struct cert *cert)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(cert->names); i++) {
        BIO *bio = BIO_new(BIO_s_mem());
        char *at = NULL;
        if (!bio)
            return;
        if (GENERAL_NAME_print(bio, sk_GENERAL_NAME_value(cert->names, i)) > 0) {
            long len = BIO_get_mem_data(bio, &at);
            fprintf(to, "name        ");
            for (long c = 0; c < len; c++)
                fputc(at[c] < 0x20 || at[c] > 0x7e ? '?' : at[c], to);
            fputc('\n', to);
        }
        BIO_free(bio);
    }
}

static void describe_uses(FILE *to, const struct cert *cert)
{
    uint32_t flags = X509_get_extension_flags(cert->x509);
    uint32_t uses = X509_get_extended_key_usage(cert->x509);
    if (X509_check_ca(cert->x509) == 1)
        fprintf(to, "use         certificate authority\n");
    else if (!(flags & EXFLAG_XKUSAGE))
        fprintf(to, "use         any\n");
    else
        fprintf(to, "use        %s%s%s\n", uses & XKU_SSL_SERVER ? " gateway" : "",
                uses & XKU_SSL_CLIENT ? " client" : "", uses & XKU_ANYEKU ? " any" : "");
}

char *pki_describe(const struct cert *cert)
{
    char *text = NULL, name[256], date[DATE_TEXT];
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    if (!to)
        return NULL;
    uint8_t hash[32];
    struct bytes der = cert_der(cert);
    hash_sha256(&der, 1, hash);

    fprintf(to, "subject     %s\n", cert_print_subject(cert, name));
    describe_names(to, cert);
    fprintf(to, "issuer      %s%s\n", cert_print_issuer(cert, name),
            X509_get_extension_flags(cert->x509) & EXFLAG_SI ? " (itself)" : "");
    describe_uses(to, cert);
    describe_key(to, cert);
    fprintf(to, "valid from  %s\n", date_print(cert->not_before, date));
    fprintf(to, "valid until %s\n", date_print(cert->not_after, date));
    fprintf(to, "sha256      ");
    for (size_t i = 0; i < sizeof(hash); i++)
        fprintf(to, "%02x", hash[i]);
    fprintf(to, "\n");
    if (fclose(to) != 0) {
        free(text);
        return NULL;
    }
    ERR_clear_error();
    return text;
}
