/* MODP groups 14, 15, 16 (RFC 3526): safe primes, generator 2, values padded to the prime. */
#include "crypto/kex_method.h"
#include "crypto/openssl.h"

#include <pthread.h>
#include <string.h>

#include <openssl/bn.h>

enum { GROUPS = 3 };

static struct {
    BIGNUM *prime, *top; /* top = p - 1 */
    BIGNUM *two;
    BN_MONT_CTX *mont;
} groups[GROUPS];
static bool groups_ok;
static pthread_once_t groups_once = PTHREAD_ONCE_INIT;

/* Exponents as RFC 3526 section 8 sizes them, the larger estimate rounded up to octets: twice the
 * strength of the group, so that the exponent is not the weaker part. */
static const uint8_t exponent_len[GROUPS] = {40, 53, 60};

static bool make_group(size_t i, BIGNUM *prime, BN_CTX *ctx)
{
    groups[i].prime = prime;
    groups[i].top = BN_dup(prime);
    groups[i].two = BN_new();
    groups[i].mont = BN_MONT_CTX_new();
    return prime != NULL && groups[i].top != NULL && groups[i].two != NULL &&
           groups[i].mont != NULL && BN_sub_word(groups[i].top, 1) == 1 &&
           BN_set_word(groups[i].two, 2) == 1 && BN_MONT_CTX_set(groups[i].mont, prime, ctx) == 1;
}

static void make_groups(void)
{
    BN_CTX *ctx = BN_CTX_new();

    groups_ok = ctx != NULL && make_group(0, BN_get_rfc3526_prime_2048(NULL), ctx) &&
                make_group(1, BN_get_rfc3526_prime_3072(NULL), ctx) &&
                make_group(2, BN_get_rfc3526_prime_4096(NULL), ctx);
    BN_CTX_free(ctx);
}

bool kex_modp_ready(void)
{
    pthread_once(&groups_once, make_groups);
    return groups_ok;
}

/* out = base ^ our exponent mod p, padded. */
static int power(const struct kex *kex, const BIGNUM *base, uint8_t *out)
{
    size_t i = (size_t)kex->alg->id - 14;
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *exponent = BN_bin2bn(kex->priv, kex->private_len, BN_secure_new());
    BIGNUM *result = BN_secure_new();
    int rc = ERR_CRYPTO;

    if (ctx != NULL && exponent != NULL && result != NULL) {
        BN_set_flags(exponent, BN_FLG_CONSTTIME);
        if (BN_mod_exp_mont_consttime(result, base, exponent, groups[i].prime, ctx,
                                      groups[i].mont) == 1 &&
            BN_bn2binpad(result, out, kex->alg->public_len) == kex->alg->public_len)
            rc = 0;
    }
    BN_clear_free(result);
    BN_clear_free(exponent);
    BN_CTX_free(ctx);
    return rc;
}

static int create(struct kex *kex, const struct random *random)
{
    size_t i = (size_t)kex->alg->id - 14;

    if (!kex_modp_ready())
        return ERR_CRYPTO;
    kex->private_len = exponent_len[i];
    random_fill(random, kex->priv, kex->private_len);
    kex->priv[0] |= 0x80; /* full length, never zero */
    return power(kex, groups[i].two, kex->pub);
}

/* RFC 6989 section 2.1: in a group with a safe prime, 1 < r < p - 1 is all there is to check. */
static int derive(const struct kex *kex, const uint8_t *peer, uint8_t *secret)
{
    size_t i = (size_t)kex->alg->id - 14;
    BIGNUM *theirs = BN_bin2bn(peer, kex->alg->public_len, NULL);
    int rc = ERR_KE;

    if (theirs == NULL)
        return ERR_MEMORY;
    if (!BN_is_zero(theirs) && !BN_is_one(theirs) && BN_cmp(theirs, groups[i].top) < 0)
        rc = power(kex, theirs, secret);
    BN_free(theirs);
    return rc;
}

const struct kex_method kex_modp = {create, derive, NULL};
