/* Signature schemes and their AlgorithmIdentifiers (RFC 7427 appendix A, RFC 8420). */
#include "crypto/crypto.h"

#define OID_RSA_ENCRYPTION 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01
#define OID_SHA2           0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02
#define OID_ECDSA_SHA2     0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03

#define PKCS1_DER(last)                                                                            \
    {                                                                                              \
        0x30, 0x0d, 0x06, 0x09, OID_RSA_ENCRYPTION, last, 0x05, 0x00                               \
    }
#define ECDSA_DER(last)                                                                            \
    {                                                                                              \
        0x30, 0x0a, 0x06, 0x08, OID_ECDSA_SHA2, last                                               \
    }
#define HASH_DER(last) 0x30, 0x0d, 0x06, 0x09, OID_SHA2, last, 0x05, 0x00
#define PSS_DER(hash, salt)                                                                        \
    {                                                                                              \
        0x30, 0x41, 0x06, 0x09, OID_RSA_ENCRYPTION, 0x0a, 0x30, 0x34, /* RSASSA-PSS-params */      \
            0xa0, 0x0f, HASH_DER(hash), 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, OID_RSA_ENCRYPTION,    \
            0x08, HASH_DER(hash), 0xa2, 0x03, 0x02, 0x01, salt                                     \
    }

static const uint8_t der_pkcs1_sha256[] = PKCS1_DER(0x0b);
static const uint8_t der_pkcs1_sha384[] = PKCS1_DER(0x0c);
static const uint8_t der_pkcs1_sha512[] = PKCS1_DER(0x0d);
static const uint8_t der_pss_sha256[] = PSS_DER(0x01, 32);
static const uint8_t der_pss_sha384[] = PSS_DER(0x02, 48);
static const uint8_t der_pss_sha512[] = PSS_DER(0x03, 64);
static const uint8_t der_ecdsa_sha256[] = ECDSA_DER(0x02);
static const uint8_t der_ecdsa_sha384[] = ECDSA_DER(0x03);
static const uint8_t der_ecdsa_sha512[] = ECDSA_DER(0x04);
static const uint8_t der_ed25519[] = {0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70};

static const uint8_t oid_pkcs1_prefix[] = {OID_RSA_ENCRYPTION}; /* 11, 12, 13: SHA-256, 384, 512 */
static const uint8_t oid_pss[] = {OID_RSA_ENCRYPTION, 0x0a};
static const uint8_t oid_mgf1[] = {OID_RSA_ENCRYPTION, 0x08};
static const uint8_t oid_hash_prefix[] = {OID_SHA2};
static const uint8_t oid_ecdsa_prefix[] = {OID_ECDSA_SHA2};
static const uint8_t oid_ed25519[] = {0x2b, 0x65, 0x70};

static const struct {
    const char *name;
    struct bytes der;
} schemes[] = {
    [SIGN_NONE] = {"none", {NULL, 0}},
    [SIGN_RSA_PKCS1_SHA1] = {"rsa-sha1", {NULL, 0}},
#define WITH(der)                                                                                  \
    {                                                                                              \
        der, sizeof(der)                                                                           \
    }
    [SIGN_RSA_PKCS1_SHA256] = {"rsa-sha256", WITH(der_pkcs1_sha256)},
    [SIGN_RSA_PKCS1_SHA384] = {"rsa-sha384", WITH(der_pkcs1_sha384)},
    [SIGN_RSA_PKCS1_SHA512] = {"rsa-sha512", WITH(der_pkcs1_sha512)},
    [SIGN_RSA_PSS_SHA256] = {"rsa-pss-sha256", WITH(der_pss_sha256)},
    [SIGN_RSA_PSS_SHA384] = {"rsa-pss-sha384", WITH(der_pss_sha384)},
    [SIGN_RSA_PSS_SHA512] = {"rsa-pss-sha512", WITH(der_pss_sha512)},
    [SIGN_ECDSA_SHA256] = {"ecdsa-sha256", WITH(der_ecdsa_sha256)},
    [SIGN_ECDSA_SHA384] = {"ecdsa-sha384", WITH(der_ecdsa_sha384)},
    [SIGN_ECDSA_SHA512] = {"ecdsa-sha512", WITH(der_ecdsa_sha512)},
#undef WITH
    [SIGN_ECDSA_P256_RAW] = {"ecdsa-256", {NULL, 0}},
    [SIGN_ECDSA_P384_RAW] = {"ecdsa-384", {NULL, 0}},
    [SIGN_ECDSA_P521_RAW] = {"ecdsa-521", {NULL, 0}},
    [SIGN_ED25519] = {"ed25519", {der_ed25519, sizeof(der_ed25519)}},
};

const char *sign_scheme_name(enum sign_scheme scheme)
{
    return (size_t)scheme < ARRAY_LEN(schemes) ? schemes[scheme].name : "unknown";
}

struct bytes sign_scheme_oid(enum sign_scheme scheme)
{
    return (size_t)scheme < ARRAY_LEN(schemes) ? schemes[scheme].der : (struct bytes){NULL, 0};
}

/* One DER element with this tag. Everything here is under 128 octets, so a length in long form is
 * never minimal and is refused with the rest. */
static struct reader element(struct reader *r, uint8_t tag)
{
    if (reader_u8(r) != tag)
        r->bad = true;
    uint8_t len = reader_u8(r);
    if (len >= 0x80)
        r->bad = true;
    return reader_sub(r, len);
}

static bool is_oid(struct bytes oid, const uint8_t *want, size_t len)
{
    return bytes_equal(oid, (struct bytes){want, len});
}

/* The last octet of an OID of the form prefix.x, 0 when it is another one. */
static uint8_t oid_below(struct bytes oid, const uint8_t *prefix, size_t len)
{
    if (oid.len != len + 1 || !is_oid((struct bytes){oid.at, len}, prefix, len))
        return 0;
    return oid.at[len];
}

static bool absent_or_null(struct reader *r)
{
    if (r->left == 0)
        return !r->bad;
    struct reader null = element(r, 0x05);
    return reader_done(&null) && reader_done(r);
}

/* AlgorithmIdentifier of a hash; RFC 4055 2.1 has receivers take both NULL and absent parameters.
 * Returns 1, 2, 3 for SHA-256, 384, 512. */
static uint8_t read_hash(struct reader *r)
{
    struct reader id = element(r, 0x30);
    struct reader oid = element(&id, 0x06);
    uint8_t hash = oid_below(reader_rest(&oid), oid_hash_prefix, sizeof(oid_hash_prefix));
    if (!absent_or_null(&id) || hash > 3)
        return 0;
    return hash;
}

/* RSASSA-PSS-params with all of hash, mask generation and salt length written out: what is left
 * out would mean SHA-1 (RFC 4055 3.1), which RFC 8247 3.2.1 rules out. */
static enum sign_scheme read_pss(struct reader *id)
{
    struct reader params = element(id, 0x30);
    struct reader hash_field = element(&params, 0xa0);
    uint8_t hash = read_hash(&hash_field);

    struct reader mgf_field = element(&params, 0xa1);
    struct reader mgf = element(&mgf_field, 0x30);
    struct reader mgf_oid = element(&mgf, 0x06);
    bool is_mgf1 = is_oid(reader_rest(&mgf_oid), oid_mgf1, sizeof(oid_mgf1));
    uint8_t mgf_hash = read_hash(&mgf);

    struct reader salt_field = element(&params, 0xa2);
    struct reader salt = element(&salt_field, 0x02);
    uint8_t salt_len = reader_u8(&salt);

    bool whole = reader_done(&hash_field) && reader_done(&mgf) && reader_done(&mgf_field) &&
                 reader_done(&salt) && reader_done(&salt_field) && reader_done(&params) &&
                 reader_done(id);
    if (!whole || !is_mgf1 || hash == 0 || mgf_hash != hash || salt_len != 16 * (hash + 1))
        return SIGN_NONE;
    return SIGN_RSA_PSS_SHA256 + (hash - 1);
}

enum sign_scheme sign_scheme_from_oid(struct bytes der)
{
    struct reader r = reader_of_bytes(der);
    struct reader id = element(&r, 0x30);
    struct reader oid_field = element(&id, 0x06);
    struct bytes oid = reader_rest(&oid_field);
    if (!reader_done(&r) || id.bad || oid_field.bad)
        return SIGN_NONE;

    uint8_t pkcs1 = oid_below(oid, oid_pkcs1_prefix, sizeof(oid_pkcs1_prefix));
    if (pkcs1 >= 11 && pkcs1 <= 13)
        return absent_or_null(&id) ? SIGN_RSA_PKCS1_SHA256 + (pkcs1 - 11) : SIGN_NONE;
    if (is_oid(oid, oid_pss, sizeof(oid_pss)))
        return read_pss(&id);

    /* RFC 5758 3.2 and RFC 8410 3: parameters are absent. */
    uint8_t ecdsa = oid_below(oid, oid_ecdsa_prefix, sizeof(oid_ecdsa_prefix));
    if (ecdsa >= 2 && ecdsa <= 4)
        return reader_done(&id) ? SIGN_ECDSA_SHA256 + (ecdsa - 2) : SIGN_NONE;
    if (is_oid(oid, oid_ed25519, sizeof(oid_ed25519)))
        return reader_done(&id) ? SIGN_ED25519 : SIGN_NONE;
    return SIGN_NONE;
}
