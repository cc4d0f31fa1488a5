/* A known answer per algorithm, on every back end this process may use. The inputs are a pattern;
 * the answers were computed with another implementation. */
#include "crypto/aead_form.h"
#include "crypto/kex_method.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER = 16, TEXT_LEN = 80 };

struct known {
    uint8_t type;
    uint16_t id, key_bits;
    uint16_t integ; /* with CBC */
    uint8_t answer[ANSWER];
};

static const struct known ciphers[] = {
    /* the first octets of the ICV */
    {TRANSFORM_ENCR,
     20,
     256,
     0,
     {0x23, 0x23, 0xfb, 0x7f, 0xb0, 0x9e, 0xd0, 0xcc, 0x6c, 0xfc, 0xc8, 0xe8, 0xcd, 0x44, 0xb0,
      0x18}},
    {TRANSFORM_ENCR,
     20,
     128,
     0,
     {0x97, 0x63, 0x27, 0x67, 0xc6, 0xfc, 0xd2, 0xfd, 0xc4, 0x04, 0x1b, 0xd9, 0x75, 0xcc, 0x91,
      0xba}},
    {TRANSFORM_ENCR,
     28,
     0,
     0,
     {0xcf, 0xd1, 0xcd, 0xd7, 0xb4, 0x78, 0xf2, 0x07, 0x9c, 0x3b, 0x26, 0x36, 0xc4, 0xff, 0xc5,
      0x95}},
    {TRANSFORM_ENCR,
     12,
     256,
     12,
     {0xfa, 0xe4, 0xa9, 0x2e, 0x28, 0xfd, 0x92, 0x33, 0xf6, 0x2a, 0xb8, 0xeb, 0x74, 0xc7, 0x0d,
      0x84}},
    {TRANSFORM_ENCR,
     12,
     256,
     13,
     {0x98, 0xb6, 0x95, 0x33, 0x51, 0xc7, 0xde, 0x4d, 0xd9, 0x38, 0x58, 0x50, 0xb6, 0xe8, 0xb1,
      0x19}},
    {TRANSFORM_ENCR,
     12,
     256,
     14,
     {0xf0, 0x7f, 0xa0, 0xc1, 0x77, 0x87, 0x62, 0x5e, 0xd0, 0x4b, 0x9b, 0x82, 0xd3, 0xb1, 0x10,
      0x2a}},
    {TRANSFORM_ENCR,
     12,
     128,
     12,
     {0xe6, 0xdc, 0xba, 0xb0, 0x30, 0xc2, 0x84, 0xe1, 0xca, 0xab, 0xbb, 0x86, 0x18, 0x66, 0xc6,
      0xd6}},
    {TRANSFORM_ENCR,
     12,
     128,
     13,
     {0x0f, 0x3a, 0x3d, 0xfe, 0x6d, 0xa8, 0x3f, 0xba, 0xbd, 0x14, 0xbb, 0x7e, 0xf6, 0x30, 0x93,
      0x24}},
    {TRANSFORM_ENCR,
     12,
     128,
     14,
     {0x28, 0xfd, 0x03, 0xa3, 0xee, 0x05, 0xd3, 0x99, 0x76, 0x8b, 0x04, 0x77, 0xa4, 0x68, 0xbb,
      0x94}},
};
static const struct known prfs[] = {
    /* the first octets of T3 */
    {TRANSFORM_PRF,
     5,
     0,
     0,
     {0x0a, 0x77, 0x94, 0xcc, 0x55, 0x3e, 0x8e, 0x8a, 0x09, 0xf8, 0xe1, 0xca, 0x8a, 0x55, 0x16,
      0x84}},
    {TRANSFORM_PRF,
     6,
     0,
     0,
     {0x31, 0x31, 0xf6, 0x0a, 0x15, 0x36, 0xf6, 0x74, 0x24, 0x4f, 0x22, 0xa3, 0xd3, 0x60, 0x19,
      0xf9}},
    {TRANSFORM_PRF,
     7,
     0,
     0,
     {0x38, 0x71, 0xbf, 0x0e, 0x63, 0x52, 0xa7, 0x12, 0x23, 0xf9, 0x3f, 0x51, 0x49, 0x0a, 0xf9,
      0xdf}},
};
static const struct known groups[] = {
    /* SHA-256 of our public value and, but for MODP, the secret shared with ourselves */
    {TRANSFORM_KE,
     31,
     0,
     0,
     {0x21, 0x53, 0x22, 0x62, 0x5e, 0xf5, 0x57, 0xf2, 0x4b, 0xae, 0xab, 0xb7, 0xbd, 0xa1, 0xd8,
      0x13}},
    {TRANSFORM_KE,
     32,
     0,
     0,
     {0xbf, 0x7d, 0x7a, 0x1b, 0x4d, 0xc6, 0x42, 0x53, 0xcc, 0xef, 0x2b, 0x67, 0x03, 0xac, 0x27,
      0x69}},
    {TRANSFORM_KE,
     19,
     0,
     0,
     {0x52, 0x82, 0x26, 0x18, 0x66, 0x67, 0xb5, 0x3e, 0x08, 0x3e, 0x6a, 0x89, 0x20, 0xd0, 0xd1,
      0x3e}},
    {TRANSFORM_KE,
     20,
     0,
     0,
     {0xb3, 0x99, 0xb5, 0x3f, 0xde, 0xf3, 0x29, 0x48, 0x73, 0x39, 0x8a, 0x56, 0x5c, 0x70, 0x5f,
      0x30}},
    {TRANSFORM_KE,
     21,
     0,
     0,
     {0x8c, 0x2c, 0xf7, 0x23, 0xb2, 0xbd, 0xef, 0x20, 0x79, 0x39, 0xe8, 0xfd, 0x3f, 0xd3, 0x38,
      0x90}},
    {TRANSFORM_KE,
     14,
     0,
     0,
     {0xaf, 0x5b, 0x12, 0x55, 0x78, 0x38, 0x6b, 0x0a, 0xe2, 0xa0, 0x56, 0x78, 0x00, 0x2f, 0xf0,
      0x55}},
    {TRANSFORM_KE,
     15,
     0,
     0,
     {0xdb, 0xce, 0xc1, 0xec, 0xdd, 0xe7, 0x97, 0x70, 0xdd, 0x04, 0x21, 0xdf, 0xbe, 0x45, 0x38,
      0x17}},
    {TRANSFORM_KE,
     16,
     0,
     0,
     {0x28, 0xe3, 0x63, 0x71, 0x0e, 0x6b, 0xde, 0x94, 0x6d, 0x45, 0xed, 0xa4, 0x18, 0x4a, 0xe7,
      0xc1}},
};
static const uint8_t sha1_answer[ANSWER] = {0x5c, 0x84, 0x8a, 0x17, 0xb1, 0x33, 0x1a, 0x4d,
                                            0x59, 0xfb, 0x24, 0xa7, 0x49, 0xdc, 0x68, 0xfe};
static const uint8_t sha256_answer[ANSWER] = {0xc1, 0x20, 0x1a, 0xbc, 0x9e, 0x46, 0xa5, 0xc6,
                                              0x1f, 0xe9, 0xec, 0xf6, 0x37, 0x62, 0xb3, 0x8f};

static void pattern(uint8_t *to, size_t len, uint8_t start)
{
    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)(start + 29 * i);
}

static void pattern_fill(void *context, void *to, size_t len)
{
    (void)context;
    pattern(to, len, 1);
}

/* ---- ciphers ---- */

/* aad | iv | text | icv, as in ESP. */
struct message {
    uint8_t octets[12 + 16 + TEXT_LEN + 32];
    struct aead_op op;
};

static void message_make(struct message *m, const struct aead *aead, bool esn)
{
    uint8_t *iv = m->octets + 12, *text = iv + aead_iv_len(aead);

    pattern(m->octets, 12, 5);
    pattern(iv, aead_iv_len(aead), 3);
    pattern(text, TEXT_LEN, 7);
    m->op = (struct aead_op){.aead = aead,
                             .aad = m->octets,
                             .iv = iv,
                             .text = text,
                             .icv = text + TEXT_LEN,
                             .text_len = TEXT_LEN,
                             .aad_len = 12,
                             .has_esn_high = esn,
                             .esn_high = 0x01020304};
}

static bool try_cipher(struct aead_engine *engine, const struct aead *aead, const uint8_t *answer)
{
    bool esn = aead_block(aead) > 1;
    struct message m, fresh;

    message_make(&m, aead, esn);
    message_make(&fresh, aead, esn);
    aead_seal(engine, &m.op, 1);
    if (!m.op.ok || memcmp(m.op.icv, answer, ANSWER) != 0)
        return false;
    aead_open(engine, &m.op, 1);
    if (!m.op.ok || memcmp(m.op.text, fresh.op.text, TEXT_LEN) != 0)
        return false;
    aead_seal(engine, &m.op, 1);
    m.op.icv[0] ^= 1;
    aead_open(engine, &m.op, 1);
    return !m.op.ok;
}

static bool cipher_ok(struct aead_engine *engine, const struct known *k)
{
    struct aead_engine portable = {0};
    const struct encr_alg *encr = suite_encr(k->id, k->key_bits);
    const struct integ_alg *integ = k->integ == 0 ? NULL : suite_integ(k->integ);
    size_t size = (aead_size(encr, integ) + 63) / 64 * 64;
    struct aead *aead = aligned_alloc(64, size);
    uint8_t key[36], integ_key[64];
    bool ok;

    pattern(key, sizeof(key), 1);
    pattern(integ_key, sizeof(integ_key), 11);
    ok = aead != NULL && aead_init(aead, engine, encr, key, integ, integ_key) == 0 &&
         try_cipher(engine, aead, k->answer) && try_cipher(&portable, aead, k->answer);
    aead_ossl_forget(&portable);
    free(aead);
    return ok;
}

/* ---- PRFs, hashes, groups ---- */

static bool prf_ok(const struct known *k)
{
    const struct prf_alg *alg = suite_prf(k->id);
    uint8_t key[64], text[TEXT_LEN], out[2 * 64 + ANSWER];
    struct bytes seed = {text, sizeof(text)};

    pattern(key, sizeof(key), 1);
    pattern(text, sizeof(text), 7);
    return prf_plus(alg, (struct bytes){key, alg->len}, &seed, 1, out, 2u * alg->len + ANSWER) ==
               0 &&
           memcmp(out + 2u * alg->len, k->answer, ANSWER) == 0;
}

static bool hashes_ok(void)
{
    uint8_t text[TEXT_LEN], sha1[20], sha256[32];
    struct bytes part = {text, sizeof(text)};

    pattern(text, sizeof(text), 7);
    hash_sha1(&part, 1, sha1);
    hash_sha256(&part, 1, sha256);
    return memcmp(sha1, sha1_answer, ANSWER) == 0 && memcmp(sha256, sha256_answer, ANSWER) == 0;
}

/* MODP's two operations are one and the same exponentiation, and slow: the public value will do. */
static bool group_ok(const struct known *k)
{
    const struct kex_alg *alg = suite_kex(k->id);
    const struct random random = {pattern_fill, NULL};
    uint8_t public[KEX_PUBLIC_MAX], secret[KEX_SECRET_MAX], digest[32];
    struct bytes parts[2] = {{public, alg->public_len}, {secret, alg->secret_len}};
    bool modp = k->id < 19;
    struct kex *kex;
    int rc;

    if (kex_create(alg, &random, &kex) < 0)
        return false;
    kex_public(kex, public);
    rc = modp ? 0 : kex_derive(kex, parts[0], secret);
    kex_free(kex);
    hash_sha256(parts, modp ? 1 : 2, digest);
    return rc == 0 && memcmp(digest, k->answer, ANSWER) == 0;
}

/* ---- all of it, once ---- */

static const struct known *find_failing(struct aead_engine *engine)
{
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++)
        if (!cipher_ok(engine, &ciphers[i]))
            return &ciphers[i];
    for (size_t i = 0; i < ARRAY_LEN(prfs); i++)
        if (!prf_ok(&prfs[i]))
            return &prfs[i];
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        if (!group_ok(&groups[i]))
            return &groups[i];
    return NULL;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int result;

static void init(void)
{
    struct aead_engine *engine;
    const struct known *failing;
    char text[32];

    result = ERR_CRYPTO;
    if (!aead_ossl_ready() || !kex_ecp_ready() || !kex_modp_ready()) {
        log_error("libcrypto lacks an algorithm that is needed");
        return;
    }
    engine = aead_engine_create();
    if (engine == NULL) {
        log_error("the crypto library could not be set up");
        return;
    }
    engine->few = true;
    failing = find_failing(engine);
    aead_engine_free(engine);
    if (failing != NULL)
        log_error(
            "crypto self-test failed: %s",
            suite_print(&(struct transform){failing->type, failing->id, failing->key_bits}, text));
    else if (!hashes_ok())
        log_error("crypto self-test failed: SHA-1 or SHA-256");
    else
        result = 0;
    log_debug("ciphers by %s", aead_mb_usable() ? aead_mb_name() : "libcrypto");
}

int crypto_init(void)
{
    pthread_once(&once, init);
    return result;
}
