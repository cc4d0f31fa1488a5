/* ML-KEM (draft-ietf-ipsecme-ikev2-mlkem): who begins sends the encapsulation key, who answers the
 * ciphertext; both as FIPS 203 encodes them. */
#include "crypto/kex_method.h"
#include "crypto/mlkem.h"
#include "crypto/openssl.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

/* Who answers has the secret at once, and keeps it until it is asked for. */
static int give_secret(const struct kex *kex, uint8_t *secret)
{
    memcpy(secret, kex->priv, MLKEM_OCTETS);
    return 0;
}

/* ---- our own ---- */

/* Who begins keeps the decapsulation key in `handle`. */
static int create(struct kex *kex, const struct random *random)
{
    struct mlkem m;
    uint8_t seed[MLKEM_SEED];
    int rc;

    if (!mlkem_of(kex->alg->id, &m))
        return ERR_UNSUPPORTED;
    kex->handle = calloc(1, mlkem_dk_len(&m));
    if (kex->handle == NULL)
        return ERR_MEMORY;
    random_fill(random, seed, sizeof(seed));
    rc = mlkem_create(&m, seed, kex->pub, kex->handle);
    secret_wipe(seed, sizeof(seed));
    return rc;
}

static int answer(struct kex *kex, const struct random *random, const uint8_t *peer)
{
    struct mlkem m;
    uint8_t octets[MLKEM_OCTETS];
    int rc;

    if (!mlkem_of(kex->alg->id, &m))
        return ERR_UNSUPPORTED;
    random_fill(random, octets, sizeof(octets));
    rc = mlkem_encapsulate(&m, (struct bytes){peer, kex->alg->public_len}, octets, kex->pub,
                           kex->priv);
    secret_wipe(octets, sizeof(octets));
    return rc;
}

static int derive(const struct kex *kex, const uint8_t *peer, uint8_t *secret)
{
    struct mlkem m;

    if (kex->answers)
        return give_secret(kex, secret);
    if (!mlkem_of(kex->alg->id, &m))
        return ERR_UNSUPPORTED;
    return mlkem_decapsulate(&m, (struct bytes){kex->handle, mlkem_dk_len(&m)},
                             (struct bytes){peer, kex->alg->answer_len}, secret);
}

static void release(struct kex *kex)
{
    struct mlkem m;

    if (kex->handle != NULL && mlkem_of(kex->alg->id, &m))
        secret_wipe(kex->handle, mlkem_dk_len(&m));
    free(kex->handle);
}

const struct kex_method kex_mlkem = {
    .create = create, .answer = answer, .derive = derive, .release = release};

/* ---- libcrypto's; its parameters by name, as the headers before 3.5 do not have them ---- */

static const char *const names[] = {"ML-KEM-512", "ML-KEM-768", "ML-KEM-1024"};
static bool there[ARRAY_LEN(names)];
static pthread_once_t there_once = PTHREAD_ONCE_INIT;

static void look(void)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        EVP_KEM *kem = EVP_KEM_fetch(NULL, names[i], NULL);

        there[i] = kem != NULL;
        EVP_KEM_free(kem);
    }
    ERR_clear_error();
}

bool kex_mlkem_ossl_has(uint16_t id)
{
    pthread_once(&there_once, look);
    return id >= 35 && id < 35 + ARRAY_LEN(names) && there[id - 35];
}

static EVP_PKEY *ossl_key(const struct kex *kex, const char *param, int selection,
                          const void *octets, size_t len)
{
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(param, (void *)(uintptr_t)octets, len),
                           OSSL_PARAM_construct_end()};
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, names[kex->alg->id - 35], NULL);
    EVP_PKEY *key = NULL;

    if (ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &key, selection, params);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static int ossl_create(struct kex *kex, const struct random *random)
{
    uint8_t seed[MLKEM_SEED];
    size_t len = 0;

    random_fill(random, seed, sizeof(seed));
    kex->handle = ossl_key(kex, "seed", EVP_PKEY_KEYPAIR, seed, sizeof(seed));
    secret_wipe(seed, sizeof(seed));
    if (kex->handle == NULL ||
        EVP_PKEY_get_octet_string_param(kex->handle, OSSL_PKEY_PARAM_PUB_KEY, kex->pub,
                                        kex->alg->public_len, &len) != 1 ||
        len != kex->alg->public_len)
        return ERR_CRYPTO;
    return 0;
}

static int ossl_answer(struct kex *kex, const struct random *random, const uint8_t *peer)
{
    uint8_t octets[MLKEM_OCTETS];
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string("ikme", octets, sizeof(octets)),
                           OSSL_PARAM_construct_end()};
    EVP_PKEY *key =
        ossl_key(kex, OSSL_PKEY_PARAM_PUB_KEY, EVP_PKEY_PUBLIC_KEY, peer, kex->alg->public_len);
    EVP_PKEY_CTX *ctx = key == NULL ? NULL : EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    size_t len = kex->alg->answer_len, secret_len = MLKEM_OCTETS;
    int rc = key == NULL ? ERR_KE : ERR_CRYPTO;

    random_fill(random, octets, sizeof(octets));
    if (ctx != NULL && EVP_PKEY_encapsulate_init(ctx, params) == 1 &&
        EVP_PKEY_encapsulate(ctx, kex->pub, &len, kex->priv, &secret_len) == 1 &&
        len == kex->alg->answer_len && secret_len == MLKEM_OCTETS)
        rc = 0;
    secret_wipe(octets, sizeof(octets));
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    return rc;
}

static int ossl_derive(const struct kex *kex, const uint8_t *peer, uint8_t *secret)
{
    EVP_PKEY_CTX *ctx;
    size_t len = MLKEM_OCTETS;
    int rc = ERR_CRYPTO;

    if (kex->answers)
        return give_secret(kex, secret);
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, kex->handle, NULL);
    if (ctx != NULL && EVP_PKEY_decapsulate_init(ctx, NULL) == 1 &&
        EVP_PKEY_decapsulate(ctx, secret, &len, peer, kex->alg->answer_len) == 1 &&
        len == MLKEM_OCTETS)
        rc = 0;
    EVP_PKEY_CTX_free(ctx);
    return rc;
}

static void ossl_release(struct kex *kex)
{
    EVP_PKEY_free(kex->handle); /* wipes the private key */
}

const struct kex_method kex_mlkem_ossl = {
    .create = ossl_create, .answer = ossl_answer, .derive = ossl_derive, .release = ossl_release};
