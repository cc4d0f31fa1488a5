/* Signatures: making them, checking them, and the keys for both. */
#include "crypto/keys.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <stdlib.h>
#include <string.h>

struct scheme_rule {
    enum key_kind kind; /* KEY_NONE: any ECDSA curve (RFC 7427 does not tie hash and curve) */
    const char *hash;   /* NULL: the scheme hashes by itself */
    int rsa_padding;
    uint8_t raw; /* octets of r and of s in the fixed form of RFC 4754 */
};

static const struct scheme_rule rules[] = {
    [SIGN_RSA_PKCS1_SHA1] = {KEY_RSA, "SHA1", RSA_PKCS1_PADDING, 0},
    [SIGN_RSA_PKCS1_SHA256] = {KEY_RSA, "SHA256", RSA_PKCS1_PADDING, 0},
    [SIGN_RSA_PKCS1_SHA384] = {KEY_RSA, "SHA384", RSA_PKCS1_PADDING, 0},
    [SIGN_RSA_PKCS1_SHA512] = {KEY_RSA, "SHA512", RSA_PKCS1_PADDING, 0},
    [SIGN_RSA_PSS_SHA256] = {KEY_RSA, "SHA256", RSA_PKCS1_PSS_PADDING, 0},
    [SIGN_RSA_PSS_SHA384] = {KEY_RSA, "SHA384", RSA_PKCS1_PSS_PADDING, 0},
    [SIGN_RSA_PSS_SHA512] = {KEY_RSA, "SHA512", RSA_PKCS1_PSS_PADDING, 0},
    [SIGN_ECDSA_SHA256] = {KEY_NONE, "SHA256", 0, 0},
    [SIGN_ECDSA_SHA384] = {KEY_NONE, "SHA384", 0, 0},
    [SIGN_ECDSA_SHA512] = {KEY_NONE, "SHA512", 0, 0},
    [SIGN_ECDSA_P256_RAW] = {KEY_ECDSA_P256, "SHA256", 0, 32},
    [SIGN_ECDSA_P384_RAW] = {KEY_ECDSA_P384, "SHA384", 0, 48},
    [SIGN_ECDSA_P521_RAW] = {KEY_ECDSA_P521, "SHA512", 0, 66},
    [SIGN_ED25519] = {KEY_ED25519, NULL, 0, 0},
};

enum { ECDSA_DER_MAX = 160 };

int crypto_failed(int err)
{
    ERR_clear_error();
    return err;
}

static bool is_ecdsa(enum key_kind kind)
{
    return kind == KEY_ECDSA_P256 || kind == KEY_ECDSA_P384 || kind == KEY_ECDSA_P521;
}

static const struct scheme_rule *rule_for(enum sign_scheme scheme, enum key_kind kind)
{
    if (scheme <= SIGN_NONE || (size_t)scheme >= ARRAY_LEN(rules))
        return NULL;
    const struct scheme_rule *rule = &rules[scheme];
    bool fits = rule->kind == KEY_NONE ? is_ecdsa(kind) : rule->kind == kind;
    return fits ? rule : NULL;
}

static enum key_kind ec_kind(const EVP_PKEY *pkey)
{
    char group[32];
    int explicit_curve = 0;
    if (!EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL))
        return KEY_NONE;
    /* A curve spelled out by its parameters is how CVE-2020-0601 came in. */
    if (EVP_PKEY_get_int_param(pkey, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                               &explicit_curve) &&
        explicit_curve)
        return KEY_NONE;
    if (strcmp(group, "prime256v1") == 0)
        return KEY_ECDSA_P256;
    if (strcmp(group, "secp384r1") == 0)
        return KEY_ECDSA_P384;
    return strcmp(group, "secp521r1") == 0 ? KEY_ECDSA_P521 : KEY_NONE;
}

static enum key_kind kind_of(const EVP_PKEY *pkey)
{
    switch (EVP_PKEY_get_base_id(pkey)) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
        return KEY_RSA;
    case EVP_PKEY_EC:
        return ec_kind(pkey);
    case EVP_PKEY_ED25519:
        return KEY_ED25519;
    default:
        return KEY_NONE;
    }
}

/* The exponents 0, 1 and the even ones of past forgeries, and moduli or exponents made to cost us
 * time. */
static bool rsa_is_sound(const EVP_PKEY *pkey, unsigned bits)
{
    BIGNUM *e = NULL;
    if (bits < RSA_BITS_EVER || bits > RSA_BITS_MAX ||
        !EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e))
        return false;
    bool sound = BN_is_odd(e) && !BN_is_one(e) && BN_num_bits(e) <= 64;
    BN_free(e);
    return sound;
}

void public_key_init(struct public_key *out, EVP_PKEY *pkey)
{
    int bits = EVP_PKEY_get_bits(pkey);
    *out = (struct public_key){
        .pkey = pkey,
        .kind = kind_of(pkey),
        .bits = bits > 0 ? (unsigned)bits : 0,
    };
    out->sound = out->kind == KEY_RSA ? rsa_is_sound(pkey, out->bits) : out->kind != KEY_NONE;
    ERR_clear_error();
}

int public_key_parse(struct bytes spki, struct public_key **out)
{
    *out = NULL;
    const uint8_t *at = spki.at;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &at, (long)spki.len);
    if (!pkey || at != spki.at + spki.len) {
        EVP_PKEY_free(pkey);
        return crypto_failed(ERR_KEY_PARSE);
    }
    struct public_key *key = malloc(sizeof(*key));
    if (!key) {
        EVP_PKEY_free(pkey);
        return ERR_MEMORY;
    }
    public_key_init(key, pkey);
    *out = key;
    return 0;
}

void public_key_free(struct public_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pkey);
    free(key);
}

int private_key_take(EVP_PKEY *pkey, struct private_key **out)
{
    *out = NULL;
    enum key_kind kind = pkey ? kind_of(pkey) : KEY_NONE;
    struct private_key *key = kind != KEY_NONE ? malloc(sizeof(*key)) : NULL;
    if (!key) {
        EVP_PKEY_free(pkey);
        return crypto_failed(kind == KEY_NONE ? ERR_KEY_PARSE : ERR_MEMORY);
    }
    key->pkey = pkey;
    key->kind = kind;
    *out = key;
    return 0;
}

/* An encrypted key is refused; libcrypto left alone would ask at the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *context)
{
    (void)buf, (void)size, (void)writing, (void)context;
    return -1;
}

int private_key_parse(struct bytes pem_or_der, struct private_key **out)
{
    *out = NULL;
    if (pem_or_der.len == 0 || pem_or_der.len > 64 * 1024)
        return ERR_KEY_PARSE;
    EVP_PKEY *pkey;
    if (pem_or_der.at[0] == 0x30) {
        const uint8_t *at = pem_or_der.at;
        pkey = d2i_AutoPrivateKey(NULL, &at, (long)pem_or_der.len);
    } else {
        BIO *bio = BIO_new_mem_buf(pem_or_der.at, (int)pem_or_der.len);
        if (!bio)
            return crypto_failed(ERR_MEMORY);
        pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
        BIO_free(bio);
    }
    int rc = private_key_take(pkey, out);
    ERR_clear_error();
    return rc;
}

void private_key_free(struct private_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pkey); /* wipes its numbers */
    free(key);
}

enum key_kind private_key_kind(const struct private_key *key)
{
    return key->kind;
}

enum key_kind public_key_kind(const struct public_key *key)
{
    return key->kind;
}

unsigned public_key_bits(const struct public_key *key)
{
    return key->bits;
}

const char *key_kind_name(enum key_kind kind)
{
    static const char *const names[] = {
        [KEY_NONE] = "unknown",    [KEY_RSA] = "rsa",         [KEY_ECDSA_P256] = "p256",
        [KEY_ECDSA_P384] = "p384", [KEY_ECDSA_P521] = "p521", [KEY_ED25519] = "ed25519",
    };
    return (size_t)kind < ARRAY_LEN(names) ? names[kind] : "unknown";
}

/* PSS as RFC 8247 3.2.1 has it: salt as long as the hash, MGF1 with the same hash. */
static bool set_padding(EVP_PKEY_CTX *pctx, const struct scheme_rule *rule)
{
    if (rule->kind != KEY_RSA)
        return true;
    if (EVP_PKEY_CTX_set_rsa_padding(pctx, rule->rsa_padding) <= 0)
        return false;
    if (rule->rsa_padding != RSA_PKCS1_PSS_PADDING)
        return true;
    return EVP_PKEY_CTX_set_rsa_mgf1_md_name(pctx, rule->hash, NULL) > 0 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) > 0;
}

static int raw_from_der(const uint8_t *der, size_t der_len, size_t half, uint8_t *out)
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)der_len);
    if (!sig)
        return ERR_CRYPTO;
    bool fits = BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, (int)half) > 0 &&
                BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + half, (int)half) > 0;
    ECDSA_SIG_free(sig);
    return fits ? 0 : ERR_CRYPTO;
}

static int der_from_raw(struct bytes raw, size_t half, uint8_t out[static ECDSA_DER_MAX],
                        size_t *out_len)
{
    if (raw.len != 2 * half)
        return ERR_AUTH;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw.at, (int)half, NULL);
    BIGNUM *s = BN_bin2bn(raw.at + half, (int)half, NULL);
    if (!sig || !r || !s || !ECDSA_SIG_set0(sig, r, s)) {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(sig);
        return crypto_failed(ERR_MEMORY);
    }
    int len = i2d_ECDSA_SIG(sig, NULL);
    if (len > 0 && len <= ECDSA_DER_MAX)
        len = i2d_ECDSA_SIG(sig, &out);
    else
        len = 0;
    ECDSA_SIG_free(sig);
    *out_len = (size_t)len;
    return len > 0 ? 0 : ERR_AUTH;
}

int sign(const struct private_key *key, enum sign_scheme scheme, struct bytes message,
         uint8_t out[static SIGNATURE_MAX], size_t *out_len)
{
    *out_len = 0;
    const struct scheme_rule *rule = rule_for(scheme, key->kind);
    if (!rule || EVP_PKEY_get_size(key->pkey) > SIGNATURE_MAX ||
        (key->kind == KEY_RSA && EVP_PKEY_get_bits(key->pkey) < RSA_BITS_EVER))
        return ERR_UNSUPPORTED;

    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL; /* belongs to ctx */
    size_t len = SIGNATURE_MAX;
    bool ok = ctx && EVP_DigestSignInit_ex(ctx, &pctx, rule->hash, NULL, NULL, key->pkey, NULL) &&
              set_padding(pctx, rule) && EVP_DigestSign(ctx, out, &len, message.at, message.len);
    EVP_MD_CTX_free(ctx);
    if (!ok)
        return crypto_failed(ERR_CRYPTO);
    if (rule->raw) {
        uint8_t der[ECDSA_DER_MAX];
        if (len > sizeof(der))
            return ERR_CRYPTO;
        memcpy(der, out, len);
        int rc = raw_from_der(der, len, rule->raw, out);
        if (rc < 0)
            return crypto_failed(rc);
        len = 2U * rule->raw;
    }
    *out_len = len;
    return 0;
}

int verify(const struct public_key *key, enum sign_scheme scheme, struct bytes message,
           struct bytes signature)
{
    const struct scheme_rule *rule = rule_for(scheme, key->kind);
    if (!rule || !key->sound)
        return ERR_UNSUPPORTED;
    if (signature.len == 0 || signature.len > SIGNATURE_MAX)
        return ERR_AUTH;

    uint8_t der[ECDSA_DER_MAX];
    if (rule->raw) {
        size_t len;
        int rc = der_from_raw(signature, rule->raw, der, &len);
        if (rc < 0)
            return rc;
        signature = (struct bytes){der, len};
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL; /* belongs to ctx */
    bool ready = ctx &&
                 EVP_DigestVerifyInit_ex(ctx, &pctx, rule->hash, NULL, NULL, key->pkey, NULL) &&
                 set_padding(pctx, rule);
    bool good =
        ready && EVP_DigestVerify(ctx, signature.at, signature.len, message.at, message.len) == 1;
    EVP_MD_CTX_free(ctx);
    if (good)
        return 0;
    return crypto_failed(ready ? ERR_AUTH : ERR_UNSUPPORTED);
}
