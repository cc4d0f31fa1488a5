#include <string.h>

#include "ike/internal.h"

/* Two PRFs take keys of 16 octets, for which RFC 7296 2.14 cuts the nonces. */
enum { PRF_AES128_XCBC = 4, PRF_AES128_CMAC = 8, FIXED_KEY_HALF = 8 };

/* SKEYSEED (RFC 7296 2.14; 2.18 for a rekeyed SA). */
static int skeyseed(const struct chosen *chosen, const struct keymat_input *in, uint8_t *out,
                    size_t *len)
{
    if (in->old_prf) {
        const struct prf_alg *old = suite_prf(in->old_prf);
        const struct bytes parts[] = {in->secret, in->nonce_i, in->nonce_r, in->more};
        *len = old->len;
        return prf(old, in->old_d, parts, ARRAY_LEN(parts), out);
    }
    const struct prf_alg *alg = suite_prf(chosen->prf);
    uint8_t nonces[2 * WIRE_NONCE_MAX];
    struct writer w = writer_of(nonces, sizeof(nonces));
    bool fixed_key = chosen->prf == PRF_AES128_XCBC || chosen->prf == PRF_AES128_CMAC;
    size_t len_i = fixed_key ? FIXED_KEY_HALF : in->nonce_i.len;
    size_t len_r = fixed_key ? FIXED_KEY_HALF : in->nonce_r.len;
    if (len_i > in->nonce_i.len || len_r > in->nonce_r.len)
        return ERR_SYNTAX;
    writer_bytes(&w, in->nonce_i.at, len_i);
    writer_bytes(&w, in->nonce_r.at, len_r);
    *len = alg->len;
    return prf(alg, writer_view(&w), &in->secret, 1, out);
}

static void take(const uint8_t **at, void *to, size_t len)
{
    memcpy(to, *at, len);
    *at += len;
}

/* {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} */
static void cut(const uint8_t *at, size_t prf_len, size_t a_len, size_t e_len, struct keys *keys,
                uint8_t sk_p[2][SECRET_MAX])
{
    take(&at, keys->d, prf_len);
    take(&at, keys->a[0], a_len);
    take(&at, keys->a[1], a_len);
    take(&at, keys->e[0], e_len);
    take(&at, keys->e[1], e_len);
    take(&at, sk_p[0], prf_len);
    take(&at, sk_p[1], prf_len);
}

int keymat_ike(const struct chosen *chosen, const struct keymat_input *in, struct keys *keys,
               uint8_t sk_p[2][SECRET_MAX])
{
    const struct prf_alg *alg = suite_prf(chosen->prf);
    const struct encr_alg *encr = suite_encr(chosen->encr, chosen->encr_bits);
    const struct integ_alg *integ = chosen->integ ? suite_integ(chosen->integ) : NULL;
    if (!alg || !encr || (!integ && !encr->aead) || alg->len > SECRET_MAX)
        return ERR_UNSUPPORTED;
    size_t a_len = integ ? integ->key_len : 0, e_len = suite_encr_keymat(encr);
    if (a_len > SECRET_MAX || e_len > sizeof(keys->e[0]))
        return ERR_UNSUPPORTED;

    uint8_t seed[SECRET_MAX], stream[3 * SECRET_MAX + 2 * SECRET_MAX + 2 * sizeof(keys->e[0])];
    uint8_t spis[16];
    struct writer w = writer_of(spis, sizeof(spis));
    writer_u64(&w, in->spi_i);
    writer_u64(&w, in->spi_r);
    size_t seed_len = 0, total = 3 * (size_t)alg->len + 2 * (a_len + e_len);
    int err = skeyseed(chosen, in, seed, &seed_len);
    if (err == 0) {
        const struct bytes parts[] = {in->nonce_i, in->nonce_r, writer_view(&w)};
        err = prf_plus(alg, (struct bytes){seed, seed_len}, parts, ARRAY_LEN(parts), stream, total);
    }
    if (err == 0)
        cut(stream, alg->len, a_len, e_len, keys, sk_p);
    secret_wipe(seed, sizeof(seed));
    secret_wipe(stream, sizeof(stream));
    return err;
}

size_t keymat_child_len(const struct chosen *chosen)
{
    const struct encr_alg *encr = suite_encr(chosen->encr, chosen->encr_bits);
    const struct integ_alg *integ = chosen->integ ? suite_integ(chosen->integ) : NULL;
    if (!encr && chosen->encr != ENCR_NONE)
        return 0;
    return (encr ? suite_encr_keymat(encr) : 0) + (integ ? integ->key_len : 0);
}

/* KEYMAT = prf+(SK_d, [g^ir |] Ni | Nr [| SK(1) ...]), RFC 7296 2.17, RFC 9370 2.2.4. */
int keymat_child(uint16_t prf_id, const uint8_t *d, const struct chosen *chosen,
                 const struct secrets *s, uint8_t *keymat_i, uint8_t *keymat_r)
{
    const struct prf_alg *alg = suite_prf(prf_id);
    size_t len = keymat_child_len(chosen);
    uint8_t stream[2 * IKE_KEYMAT_MAX];
    if (!alg || len == 0 || len > IKE_KEYMAT_MAX)
        return ERR_UNSUPPORTED;
    const struct bytes parts[] = {s->first, s->nonce_i, s->nonce_r, s->more};
    size_t skip = s->first.len > 0 ? 0 : 1;
    int err = prf_plus(alg, (struct bytes){d, alg->len}, parts + skip, ARRAY_LEN(parts) - skip,
                       stream, 2 * len);
    if (err == 0) {
        memcpy(keymat_i, stream, len);
        memcpy(keymat_r, stream + len, len);
    }
    secret_wipe(stream, sizeof(stream));
    return err;
}
