/* MODP groups 2 (RFC 2409), 5 and 14 to 18 (RFC 3526): safe primes, generator 2, values padded to
 * the prime. */
#include "crypto/kex_method.h"
#include "crypto/openssl.h"

#include <pthread.h>
#include <string.h>

#include <openssl/bn.h>

/* In the order of their numbers, but for 2 and 5. */
static const struct {
    BIGNUM *(*prime)(BIGNUM *);
    /* Octets of the exponent as RFC 3526 section 8 sizes it, the larger estimate rounded up: twice
     * the strength of the group, so that the exponent is not the weaker part. */
    uint8_t exponent;
} sizes[] = {
    {BN_get_rfc3526_prime_2048, 40}, {BN_get_rfc3526_prime_3072, 53},
    {BN_get_rfc3526_prime_4096, 60}, {BN_get_rfc3526_prime_6144, 68},
    {BN_get_rfc3526_prime_8192, 78}, {BN_get_rfc2409_prime_1024, 32},
    {BN_get_rfc3526_prime_1536, 32},
};
enum { GROUPS = ARRAY_LEN(sizes) };

static struct {
    BIGNUM *prime, *top; /* top = p - 1 */
    BIGNUM *two;
    BN_MONT_CTX *mont;
} groups[GROUPS];
static bool groups_ok;
static pthread_once_t groups_once = PTHREAD_ONCE_INIT;

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

    groups_ok = ctx != NULL;
    for (size_t i = 0; i < GROUPS && groups_ok; i++)
        groups_ok = make_group(i, sizes[i].prime(NULL), ctx);
    BN_CTX_free(ctx);
}

bool kex_modp_ready(void)
{
    pthread_once(&groups_once, make_groups);
    return groups_ok;
}

static size_t index_of(uint16_t id)
{
    return id == 2 ? 5 : id == 5 ? 6 : id - 14u;
}

/* out = base ^ our exponent mod p, padded. */
static int power(const struct kex *kex, const BIGNUM *base, uint8_t *out)
{
    size_t i = index_of(kex->alg->id);
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
    size_t i = index_of(kex->alg->id);

    if (!kex_modp_ready())
        return ERR_CRYPTO;
    kex->private_len = sizes[i].exponent;
    random_fill(random, kex->priv, kex->private_len);
    kex->priv[0] |= 0x80; /* full length, never zero */
    return power(kex, groups[i].two, kex->pub);
}

/* RFC 6989 section 2.1: in a group with a safe prime, 1 < r < p - 1 is all there is to check. */
static int derive(const struct kex *kex, const uint8_t *peer, uint8_t *secret)
{
    size_t i = index_of(kex->alg->id);
    BIGNUM *theirs = BN_bin2bn(peer, kex->alg->public_len, NULL);
    int rc = ERR_KE;

    if (theirs == NULL)
        return ERR_MEMORY;
    if (!BN_is_zero(theirs) && !BN_is_one(theirs) && BN_cmp(theirs, groups[i].top) < 0)
        rc = power(kex, theirs, secret);
    BN_free(theirs);
    return rc;
}

const struct kex_method kex_modp = {.create = create, .derive = derive};
