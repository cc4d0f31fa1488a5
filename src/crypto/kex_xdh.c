/* X25519 and X448 (RFC 7748) as IKEv2 uses them (RFC 8031): raw little-endian octets. */
#include "crypto/kex_method.h"
#include "crypto/openssl.h"

#include <openssl/evp.h>

static int create(struct kex *kex, const struct random *random)
{
    int type = kex->alg->id == 31 ? EVP_PKEY_X25519 : EVP_PKEY_X448;
    size_t len = kex->alg->public_len;
    uint8_t scalar[KEX_PRIVATE_MAX];

    random_fill(random, scalar, kex->alg->secret_len);
    kex->handle = EVP_PKEY_new_raw_private_key(type, NULL, scalar, kex->alg->secret_len);
    secret_wipe(scalar, sizeof(scalar));
    if (kex->handle == NULL || EVP_PKEY_get_raw_public_key(kex->handle, kex->pub, &len) != 1 ||
        len != kex->alg->public_len)
        return ERR_CRYPTO;
    return 0;
}

/* Points on the twist are computed as any other (RFC 7748 section 5); what must not come out is
 * zero (RFC 8031): libcrypto looks for that, and so does this. (In an ECP group x = 0 is
 * a point like any other.) */
static int derive(const struct kex *kex, const uint8_t *peer, uint8_t *secret)
{
    static const uint8_t zero[KEX_PRIVATE_MAX];
    int type = kex->alg->id == 31 ? EVP_PKEY_X25519 : EVP_PKEY_X448;
    EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key(type, NULL, peer, kex->alg->public_len);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(kex->handle, NULL);
    size_t len = kex->alg->secret_len;
    int rc = ERR_CRYPTO;

    if (theirs != NULL && ctx != NULL && EVP_PKEY_derive_init(ctx) == 1 &&
        EVP_PKEY_derive_set_peer_ex(ctx, theirs, 0) == 1)
        rc = EVP_PKEY_derive(ctx, secret, &len) == 1 && len == kex->alg->secret_len ? 0 : ERR_KE;
    if (rc == 0 && secret_equal(secret, zero, len))
        rc = ERR_KE;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(theirs);
    return rc;
}

static void release(struct kex *kex)
{
    EVP_PKEY_free(kex->handle); /* wipes the private key */
}

const struct kex_method kex_xdh = {.create = create, .derive = derive, .release = release};
