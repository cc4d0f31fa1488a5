#include "crypto/kex_method.h"
#include "crypto/openssl.h"

#include <stdlib.h>
#include <string.h>

const struct kex_method *kex_method_of(uint16_t id)
{
    if (id == 31 || id == 32)
        return &kex_xdh;
    if ((id >= 19 && id <= 21) || (id >= 28 && id <= 30))
        return &kex_ecp;
    if (id == 2 || id == 5 || (id >= 14 && id <= 18))
        return &kex_modp;
    if (id >= 35 && id <= 37)
        return kex_mlkem_ossl_has(id) ? &kex_mlkem_ossl : &kex_mlkem;
    return NULL;
}

static size_t value_len(const struct kex_alg *alg, bool answers)
{
    return answers ? alg->answer_len : alg->public_len;
}

int kex_make(const struct kex_method *method, const struct kex_alg *alg,
             const struct random *random, const struct bytes *peer, struct kex **out)
{
    bool answers = peer != NULL;
    struct kex *kex;
    int rc;

    if (method == NULL)
        return ERR_UNSUPPORTED;
    if (answers && peer->len != alg->public_len)
        return ERR_KE;
    kex = calloc(1, sizeof(*kex) + value_len(alg, answers));
    if (kex == NULL)
        return ERR_MEMORY;
    kex->alg = alg;
    kex->method = method;
    kex->answers = answers;
    if (answers && method->answer != NULL)
        rc = method->answer(kex, random, peer->at);
    else
        rc = method->create(kex, random);
    if (rc < 0) {
        ERR_clear_error();
        kex_free(kex);
        return rc;
    }
    *out = kex;
    return 0;
}

int kex_create(const struct kex_alg *alg, const struct random *random, struct kex **out)
{
    return kex_make(kex_method_of(alg->id), alg, random, NULL, out);
}

int kex_answer(const struct kex_alg *alg, const struct random *random, struct bytes peer,
               struct kex **out)
{
    return kex_make(kex_method_of(alg->id), alg, random, &peer, out);
}

const struct kex_alg *kex_alg(const struct kex *kex)
{
    return kex->alg;
}

struct bytes kex_value(const struct kex *kex)
{
    return (struct bytes){kex->pub, value_len(kex->alg, kex->answers)};
}

int kex_derive(const struct kex *kex, struct bytes peer, uint8_t secret[static KEX_SECRET_MAX])
{
    int rc;

    if (peer.len != value_len(kex->alg, !kex->answers))
        return ERR_KE;
    rc = kex->method->derive(kex, peer.at, secret);
    if (rc < 0) {
        ERR_clear_error();
        secret_wipe(secret, kex->alg->secret_len);
    }
    return rc;
}

void kex_free(struct kex *kex)
{
    if (kex == NULL)
        return;
    if (kex->method->release != NULL)
        kex->method->release(kex);
    secret_wipe(kex, sizeof(*kex));
    free(kex);
}
