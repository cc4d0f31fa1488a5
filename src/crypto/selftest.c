/* A known answer per algorithm, on every back end this process may use. The inputs are a pattern;
 * the answers were computed with another implementation. */
#include "crypto/aead_form.h"
#include "crypto/kex_method.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER = 16, TEXT_LEN = 80 };

/* The first octets, in hexadecimal: of the ICV of a cipher (with CBC and its like also for the MAC
 * named by `integ`); of T3 of a PRF; for a group of SHA-256 of our public value and, but for MODP,
 * the secret shared with ourselves; for a KEM of SHA-256 of both values and the secret. */
struct known {
    uint8_t type;
    uint16_t id, key_bits;
    uint16_t integ;
    const char *answer;
};

/* Run at every start: the defaults. */
static const struct known common[] = {
    {TRANSFORM_ENCR, 20, 256, 0, "2323fb7fb09ed0cc6cfcc8e8cd44b018"},
    {TRANSFORM_ENCR, 20, 128, 0, "97632767c6fcd2fdc4041bd975cc91ba"},
    {TRANSFORM_ENCR, 28, 0, 0, "cfd1cdd7b478f2079c3b2636c4ffc595"},
    {TRANSFORM_ENCR, 12, 256, 12, "fae4a92e28fd9233f62ab8eb74c70d84"},
    {TRANSFORM_ENCR, 12, 256, 13, "98b6953351c7de4dd9385850b6e8b119"},
    {TRANSFORM_ENCR, 12, 256, 14, "f07fa0c17787625ed04b9b82d3b1102a"},
    {TRANSFORM_ENCR, 12, 128, 12, "e6dcbab030c284e1caabbb861866c6d6"},
    {TRANSFORM_ENCR, 12, 128, 13, "0f3a3dfe6da83fbabd14bb7ef6309324"},
    {TRANSFORM_ENCR, 12, 128, 14, "28fd03a3ee05d399768b0477a468bb94"},
    {TRANSFORM_PRF, 5, 0, 0, "0a7794cc553e8e8a09f8e1ca8a551684"},
    {TRANSFORM_PRF, 6, 0, 0, "3131f60a1536f674244f22a3d36019f9"},
    {TRANSFORM_PRF, 7, 0, 0, "3871bf0e6352a71223f93f51490af9df"},
    {TRANSFORM_KE, 31, 0, 0, "215322625ef557f24baeabb7bda1d813"},
    {TRANSFORM_KE, 32, 0, 0, "bf7d7a1b4dc64253ccef2b6703ac2769"},
    {TRANSFORM_KE, 19, 0, 0, "528226186667b53e083e6a8920d0d13e"},
    {TRANSFORM_KE, 20, 0, 0, "b399b53fdef3294873398a565c705f30"},
    {TRANSFORM_KE, 21, 0, 0, "8c2cf723b2bdef207939e8fd3fd33890"},
    {TRANSFORM_KE, 14, 0, 0, "af5b125578386b0ae2a05678002ff055"},
    {TRANSFORM_KE, 15, 0, 0, "dbcec1ecdde79770dd0421dfbe453817"},
    {TRANSFORM_KE, 16, 0, 0, "28e363710e6bde946d45eda4184ae7c1"},
    {TRANSFORM_KE, 35, 0, 0, "fc643044d6d9ab2855f58afcd42cca7a"},
    {TRANSFORM_KE, 36, 0, 0, "21fa86ce41f54c283db149524b9154a4"},
    {TRANSFORM_KE, 37, 0, 0, "17985f39714e2cf732b4fe47edcbffd5"},
};
/* Run when a configuration names one: suite_ready(). A MAC is tried with AES-128-CBC. */
static const struct known rare[] = {
    {TRANSFORM_ENCR, 19, 128, 0, "97632767c6fcd2fdc4041bd9"},
    {TRANSFORM_ENCR, 18, 128, 0, "97632767c6fcd2fd"},
    {TRANSFORM_ENCR, 16, 128, 0, "2e0067d3be695460fbcb73fadc2f58b7"},
    {TRANSFORM_ENCR, 15, 128, 0, "4bc8eecad98168daf8471803"},
    {TRANSFORM_ENCR, 14, 128, 0, "6605aa31938b0253"},
    {TRANSFORM_ENCR, 23, 128, 12, "449535edf1c3add3995b3d2cd836b67c"},
    {TRANSFORM_ENCR, 13, 128, 12, "8d5e5924ec0b5583d48d61084c4ca7e9"},
    {TRANSFORM_ENCR, 24, 128, 12, "29cabed56de6d936b7762b7c25236784"},
    {TRANSFORM_ENCR, 7, 128, 12, "a580b18e5c2536ea348a39e2215c422e"},
    {TRANSFORM_ENCR, 20, 192, 0, "5434c85900bb78bf2ace4597ca2002ab"},
    {TRANSFORM_ENCR, 19, 192, 0, "5434c85900bb78bf2ace4597"},
    {TRANSFORM_ENCR, 18, 192, 0, "5434c85900bb78bf"},
    {TRANSFORM_ENCR, 16, 192, 0, "2662d14268ebbc4cce30e143fc498512"},
    {TRANSFORM_ENCR, 15, 192, 0, "0524b4412c93d958225b2598"},
    {TRANSFORM_ENCR, 14, 192, 0, "0de01d48cdd02fe9"},
    {TRANSFORM_ENCR, 12, 192, 12, "15f57e3e134e5e03209dd40aba242310"},
    {TRANSFORM_ENCR, 23, 192, 12, "66559bab2c821ff793ddeede8af614cf"},
    {TRANSFORM_ENCR, 13, 192, 12, "f701de11c17c334545b09b945b152df6"},
    {TRANSFORM_ENCR, 24, 192, 12, "0d260498501e66129a6f175b325a71bc"},
    {TRANSFORM_ENCR, 7, 192, 12, "90bd060a25158170fb9ada5f1631b33e"},
    {TRANSFORM_ENCR, 19, 256, 0, "2323fb7fb09ed0cc6cfcc8e8"},
    {TRANSFORM_ENCR, 18, 256, 0, "2323fb7fb09ed0cc"},
    {TRANSFORM_ENCR, 16, 256, 0, "0e826aec79d1cd3521173b58d521ecfb"},
    {TRANSFORM_ENCR, 15, 256, 0, "515f2e309d5a744ca17fc2c4"},
    {TRANSFORM_ENCR, 14, 256, 0, "1cf4adda649e1723"},
    {TRANSFORM_ENCR, 23, 256, 12, "f3601540398972b826fd558a75322df0"},
    {TRANSFORM_ENCR, 13, 256, 12, "b0db5f57b909d4ee11dd139e73072b09"},
    {TRANSFORM_ENCR, 24, 256, 12, "e71ddbf329cd2e89ff08cd252370030a"},
    {TRANSFORM_ENCR, 7, 256, 12, "2a1b989fefcbb615dd710c7318259343"},
    {TRANSFORM_ENCR, 3, 0, 12, "681d36bc58e5217b0486c49204ae0790"},
    {TRANSFORM_ENCR, 11, 0, 12, "f08bf3e89f6802674d97662989770f3e"},
    {TRANSFORM_ENCR, 21, 128, 0, "ae769ccabbb431a8a2b60ef69be4b849"},
    {TRANSFORM_ENCR, 21, 192, 0, "8819ae8c5c8f9b796285678b2431638b"},
    {TRANSFORM_ENCR, 21, 256, 0, "a0d481595b7379f872bbb863b886ac43"},
    {TRANSFORM_INTEG, 2, 0, 0, "8d74326c4134a01b01631323"},
    {TRANSFORM_INTEG, 5, 0, 0, "3e2a77ce185d2312a2b9373b"},
    {TRANSFORM_INTEG, 8, 0, 0, "b0b63422b84e85b92d8573e6"},
    {TRANSFORM_INTEG, 9, 0, 0, "9aeaa05bccba139b6c41ea1582d99b06"},
    {TRANSFORM_INTEG, 10, 0, 0, "95cbed8febd2f2d848773ed8f51100a8"},
    {TRANSFORM_INTEG, 11, 0, 0, "78c05a21cc18abe91d37ca3c921ffe22"},
    {TRANSFORM_PRF, 2, 0, 0, "5afaf8c67ec211a32dbec20ad85319cd"},
    {TRANSFORM_PRF, 4, 0, 0, "5b24b5727bad3c767afd13349bff5ba6"},
    {TRANSFORM_PRF, 8, 0, 0, "81329e62d1f64079ea605521bcf41be4"},
    {TRANSFORM_KE, 2, 0, 0, "3b13c7ebcb0b8f7e08673316b8630772"},
    {TRANSFORM_KE, 5, 0, 0, "f47a6f4e9bcc7589f829d3b2d2b9b50e"},
    {TRANSFORM_KE, 17, 0, 0, "0cbd6a374bb1ed27c83018cea0141e25"},
    {TRANSFORM_KE, 18, 0, 0, "6ef818d69cdeaf95f62daa581a99168e"},
    {TRANSFORM_KE, 28, 0, 0, "f651ffb27d7f196ba94e464fc5ed0764"},
    {TRANSFORM_KE, 29, 0, 0, "3d40f4d3f5ad6207908a6df19c336741"},
    {TRANSFORM_KE, 30, 0, 0, "db78919a889d0428792276eaef1e3c2f"},
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

static bool is_answer(const uint8_t *octets, size_t len, const char *answer)
{
    char text[2 * ANSWER + 1] = "";

    for (size_t i = 0; i < len && i < ANSWER; i++)
        snprintf(text + 2 * i, 3, "%02x", octets[i]);
    return strcmp(text, answer) == 0;
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

static bool try_cipher(struct aead_engine *engine, const struct aead *aead, const char *answer)
{
    bool esn = aead->mac != HASH_NONE;
    struct message m, fresh;

    message_make(&m, aead, esn);
    message_make(&fresh, aead, esn);
    aead_seal(engine, &m.op, 1);
    if (!m.op.ok || !is_answer(m.op.icv, aead_icv_len(aead), answer))
        return false;
    aead_open(engine, &m.op, 1);
    if (!m.op.ok || memcmp(m.op.text, fresh.op.text, TEXT_LEN) != 0)
        return false;
    aead_seal(engine, &m.op, 1);
    m.op.icv[0] ^= 1;
    aead_open(engine, &m.op, 1);
    return !m.op.ok;
}

/* A cipher, or a MAC with the most common of those that need one. */
static bool cipher_ok(struct aead_engine *engine, const struct known *k)
{
    struct aead_engine portable = {0};
    bool mac = k->type == TRANSFORM_INTEG;
    const struct integ_alg *integ = mac             ? suite_integ(k->id)
                                    : k->integ == 0 ? NULL
                                                    : suite_integ(k->integ);
    const struct encr_alg *encr = !mac          ? suite_encr(k->id, k->key_bits)
                                  : integ->gmac ? suite_encr(ENCR_NULL, 0)
                                                : suite_encr(12, 128);
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
           is_answer(out + 2u * alg->len, ANSWER, k->answer);
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
    uint8_t secret[KEX_SECRET_MAX], digest[32];
    struct bytes parts[2] = {{0}, {secret, alg->secret_len}};
    bool modp = k->id < 19;
    struct kex *kex;
    int rc;

    if (kex_create(alg, &random, &kex) < 0)
        return false;
    parts[0] = kex_value(kex);
    rc = modp ? 0 : kex_derive(kex, parts[0], secret);
    hash_sha256(parts, modp ? 1 : 2, digest);
    kex_free(kex);
    return rc == 0 && is_answer(digest, ANSWER, k->answer);
}

static bool kem_ok(const struct known *k)
{
    const struct kex_alg *alg = suite_kex(k->id);
    const struct random random = {pattern_fill, NULL};
    uint8_t secret[KEX_SECRET_MAX], theirs[KEX_SECRET_MAX], digest[32] = {0};
    struct kex *ours = NULL, *answer = NULL;
    bool ok = kex_create(alg, &random, &ours) == 0 &&
              kex_answer(alg, &random, kex_value(ours), &answer) == 0 &&
              kex_derive(ours, kex_value(answer), secret) == 0 &&
              kex_derive(answer, kex_value(ours), theirs) == 0 &&
              memcmp(secret, theirs, alg->secret_len) == 0;

    if (ok)
        hash_sha256((struct bytes[]){kex_value(ours), kex_value(answer), {secret, alg->secret_len}},
                    3, digest);
    kex_free(ours);
    kex_free(answer);
    return ok && is_answer(digest, ANSWER, k->answer);
}

/* ---- all of it, once ---- */

static bool answers(struct aead_engine *engine, const struct known *k)
{
    switch (k->type) {
    case TRANSFORM_PRF:
        return prf_ok(k);
    case TRANSFORM_KE:
        return k->id >= 35 ? kem_ok(k) : group_ok(k);
    default:
        return cipher_ok(engine, k);
    }
}

static const struct known *find_failing(struct aead_engine *engine)
{
    for (size_t i = 0; i < ARRAY_LEN(common); i++)
        if (!answers(engine, &common[i]))
            return &common[i];
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

/* ---- what is rare, when it is asked for ---- */

static bool is_there(const struct known *k)
{
    if (k->type == TRANSFORM_INTEG && suite_integ(k->id)->gmac)
        return aead_ossl_fetch(aead_gmac_of(suite_integ(k->id)));
    if (k->type == TRANSFORM_ENCR)
        return aead_ossl_fetch(aead_cipher_of(suite_encr(k->id, k->key_bits)));
    return k->type != TRANSFORM_KE || k->id < 28 || kex_ecp_has(k->id);
}

static int try_rare(const struct known *k)
{
    struct aead_engine *engine;
    bool ok;
    char text[32];

    if (!is_there(k))
        return ERR_UNSUPPORTED;
    engine = aead_engine_create();
    ok = engine != NULL && answers(engine, k);
    aead_engine_free(engine);
    if (!ok)
        log_error("crypto self-test failed: %s",
                  suite_print(&(struct transform){k->type, k->id, k->key_bits}, text));
    return ok ? 0 : ERR_CRYPTO;
}

int suite_ready(const struct transform *t)
{
    static pthread_mutex_t trying = PTHREAD_MUTEX_INITIALIZER;
    static struct {
        bool tried;
        int result;
    } known[ARRAY_LEN(rare)];
    uint8_t type = transform_is_addke(t->type) ? TRANSFORM_KE : t->type;
    size_t i = 0;
    int rc;

    if (!suite_rare(t))
        return 0;
    while (i < ARRAY_LEN(rare) &&
           (rare[i].type != type || rare[i].id != t->id || rare[i].key_bits != t->key_bits))
        i++;
    if (i == ARRAY_LEN(rare))
        return ERR_UNSUPPORTED;
    pthread_mutex_lock(&trying);
    if (!known[i].tried) {
        known[i].result = try_rare(&rare[i]);
        known[i].tried = true;
    }
    rc = known[i].result;
    pthread_mutex_unlock(&trying);
    return rc;
}
