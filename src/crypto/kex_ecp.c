/* ECP groups 19, 20, 21 (RFC 5903) and brainpool 28, 29, 30 (RFC 6954): the public value is x | y,
 * the secret is x. */
#include "crypto/kex_method.h"
#include "crypto/openssl.h"

#include <pthread.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>

enum { FIELD_MAX = 66, SCALAR_TRIES = 64 };

static EC_GROUP *groups[6];
static pthread_once_t groups_once = PTHREAD_ONCE_INIT;

static void make_groups(void)
{
    groups[0] = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    groups[1] = EC_GROUP_new_by_curve_name(NID_secp384r1);
    groups[2] = EC_GROUP_new_by_curve_name(NID_secp521r1);
    groups[3] = EC_GROUP_new_by_curve_name(NID_brainpoolP256r1);
    groups[4] = EC_GROUP_new_by_curve_name(NID_brainpoolP384r1);
    groups[5] = EC_GROUP_new_by_curve_name(NID_brainpoolP512r1);
    ERR_clear_error(); /* some builds of libcrypto have no brainpool */
}

bool kex_ecp_ready(void)
{
    pthread_once(&groups_once, make_groups);
    return groups[0] != NULL && groups[1] != NULL && groups[2] != NULL;
}

static const EC_GROUP *group_by_id(uint16_t id)
{
    return kex_ecp_ready() ? groups[id >= 28 ? id - 25 : id - 19] : NULL;
}

static const EC_GROUP *group_of(const struct kex *kex)
{
    return group_by_id(kex->alg->id);
}

bool kex_ecp_has(uint16_t id)
{
    return group_by_id(id) != NULL;
}

/* A scalar in 1..n-1 by rejection: no bias, and for these orders hardly ever a second try. */
static int draw_scalar(struct kex *kex, const EC_GROUP *group, const struct random *random,
                       BIGNUM *scalar)
{
    const BIGNUM *order = EC_GROUP_get0_order(group);
    int bits = BN_num_bits(order);

    kex->private_len = (uint8_t)((bits + 7) / 8);
    for (int i = 0; i < SCALAR_TRIES; i++) {
        random_fill(random, kex->priv, kex->private_len);
        if (bits % 8 != 0)
            kex->priv[0] &= (uint8_t)((1u << (bits % 8)) - 1);
        if (BN_bin2bn(kex->priv, kex->private_len, scalar) == NULL)
            return ERR_MEMORY;
        if (!BN_is_zero(scalar) && BN_cmp(scalar, order) < 0)
            return 0;
    }
    return ERR_CRYPTO;
}

/* Uncompressed encoding: 04 | x | y. */
static int create(struct kex *kex, const struct random *random)
{
    const EC_GROUP *group = group_of(kex);
    BIGNUM *scalar = BN_secure_new();
    EC_POINT *point = group == NULL ? NULL : EC_POINT_new(group);
    uint8_t encoded[1 + 2 * FIELD_MAX];
    size_t len = 1 + (size_t)kex->alg->public_len;
    int rc = ERR_CRYPTO;

    if (scalar != NULL && point != NULL) {
        BN_set_flags(scalar, BN_FLG_CONSTTIME);
        rc = draw_scalar(kex, group, random, scalar);
    }
    if (rc == 0 && (EC_POINT_mul(group, point, scalar, NULL, NULL, NULL) != 1 ||
                    EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, encoded, len,
                                       NULL) != len))
        rc = ERR_CRYPTO;
    if (rc == 0)
        memcpy(kex->pub, encoded + 1, kex->alg->public_len);
    EC_POINT_free(point);
    BN_clear_free(scalar);
    return rc;
}

/* RFC 6989 section 2.3: coordinates below p and on the curve, which oct2point checks; the cofactor
 * is 1, so there is no small subgroup, and infinity has no encoding of this length. */
static int derive(const struct kex *kex, const uint8_t *peer, uint8_t *secret)
{
    const EC_GROUP *group = group_of(kex);
    EC_POINT *point = group == NULL ? NULL : EC_POINT_new(group);
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *scalar = BN_secure_new(), *x = BN_secure_new();
    uint8_t encoded[1 + 2 * FIELD_MAX];
    int rc = ERR_CRYPTO;

    encoded[0] = POINT_CONVERSION_UNCOMPRESSED;
    memcpy(encoded + 1, peer, kex->alg->public_len);
    if (point == NULL || ctx == NULL || scalar == NULL || x == NULL ||
        BN_bin2bn(kex->priv, kex->private_len, scalar) == NULL)
        goto out;
    BN_set_flags(scalar, BN_FLG_CONSTTIME);
    rc = ERR_KE;
    if (EC_POINT_oct2point(group, point, encoded, 1 + (size_t)kex->alg->public_len, ctx) == 1 &&
        EC_POINT_mul(group, point, NULL, point, scalar, ctx) == 1 &&
        EC_POINT_is_at_infinity(group, point) == 0 &&
        EC_POINT_get_affine_coordinates(group, point, x, NULL, ctx) == 1 &&
        BN_bn2binpad(x, secret, kex->alg->secret_len) == kex->alg->secret_len)
        rc = 0;
out:
    BN_clear_free(x);
    BN_clear_free(scalar);
    BN_CTX_free(ctx);
    EC_POINT_clear_free(point);
    return rc;
}

const struct kex_method kex_ecp = {.create = create, .derive = derive};
