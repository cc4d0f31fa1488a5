/* What the ciphers, PRFs and key exchanges cost on this machine: one core, batches of 32 packets in
 * cache, the best of several rounds. Ratios mean more than figures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crypto/aead_form.h"
#include "crypto/crypto.h"
#include "crypto/kex_method.h"

enum { BATCH = 32, ROUNDS = 7, SLOT = 9216 };

static double nanoseconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void fatal(const char *what)
{
    fprintf(stderr, "crypto_bench: %s\n", what);
    exit(1);
}

/* ---- ciphers ---- */

static uint8_t *memory;

static void fill(struct aead_op *ops, const struct aead *aead, uint32_t len)
{
    for (size_t i = 0; i < BATCH; i++) {
        uint8_t *at = memory + i * SLOT;

        ops[i] = (struct aead_op){.aead = aead,
                                  .aad = at,
                                  .aad_len = 8,
                                  .iv = at + 8,
                                  .text = at + 8 + aead_iv_len(aead),
                                  .text_len = len / 16 * 16};
        ops[i].icv = ops[i].text + ops[i].text_len;
    }
}

static double time_cipher(struct aead_engine *engine, const struct aead *aead, uint32_t len,
                          size_t batch)
{
    static struct aead_op ops[BATCH];
    double best = 1e18;

    fill(ops, aead, len);
    for (int round = 0; round < ROUNDS; round++) {
        double start = nanoseconds(), took;

        for (int i = 0; i < 40; i++)
            for (size_t at = 0; at < BATCH; at += batch)
                aead_seal(engine, ops + at, batch);
        took = (nanoseconds() - start) / (40 * BATCH);
        if (took < best)
            best = took;
    }
    if (!ops[0].ok)
        fatal("a cipher failed");
    return best;
}

static void cipher_row(const char *how, struct aead_engine *engine, const struct encr_alg *encr,
                       const struct integ_alg *integ, size_t batch)
{
    static const uint32_t lengths[] = {64, 256, 512, 1024, 1408, 8192};
    static const uint8_t key[36] = {1}, integ_key[64] = {2};
    struct aead *aead = aligned_alloc(16, aead_size(encr, integ));

    if (aead == NULL || aead_init(aead, engine, encr, key, integ, integ_key) < 0)
        fatal("no key");
    printf("%-9s %-18s %-7s %3zu", how, encr->name, integ == NULL ? "" : integ->name, batch);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        double ns = time_cipher(engine, aead, lengths[i], batch);

        printf(" %6.0f (%5.1f)", ns, lengths[i] * 8 / ns);
    }
    printf("\n");
    aead_wipe(aead);
    free(aead);
}

static void ciphers(bool portable)
{
    struct aead_engine *engine;
    const char *how = portable || !aead_mb_usable() ? "libcrypto" : "ipsec-mb";

    aead_force_portable(portable);
    engine = aead_engine_create();
    if (engine == NULL)
        fatal("no engine");
    for (size_t batch = 1; batch <= BATCH; batch *= BATCH) {
        cipher_row(how, engine, suite_encr(20, 256), NULL, batch);
        cipher_row(how, engine, suite_encr(20, 128), NULL, batch);
        cipher_row(how, engine, suite_encr(28, 0), NULL, batch);
        cipher_row(how, engine, suite_encr(12, 128), suite_integ(12), batch);
        cipher_row(how, engine, suite_encr(12, 256), suite_integ(14), batch);
    }
    aead_engine_free(engine);
    aead_force_portable(false);
}

/* ---- PRFs and key exchange ---- */

static void prf_row(const struct prf_alg *alg)
{
    uint8_t key[64] = {0}, nonces[96] = {0}, out[300];
    struct bytes seed = {nonces, sizeof(nonces)};
    double start = nanoseconds();
    double one, plus;

    for (int i = 0; i < 5000; i++)
        if (prf(alg, (struct bytes){key, alg->len}, &seed, 1, out) < 0)
            fatal("a prf failed");
    one = (nanoseconds() - start) / 5000;
    start = nanoseconds();
    for (int i = 0; i < 5000; i++)
        if (prf_plus(alg, (struct bytes){key, alg->len}, &seed, 1, out, sizeof(out)) < 0)
            fatal("a prf failed");
    plus = (nanoseconds() - start) / 5000;
    printf("%-10s prf %.2f us, prf+ of 300 octets %.2f us\n", alg->name, one / 1e3, plus / 1e3);
}

/* What who begins does, and who answers: with Diffie-Hellman derive is the same work for both. */
static void kex_row(const struct kex_method *method, const struct kex_alg *alg, const char *by)
{
    uint8_t secret[KEX_SECRET_MAX];
    double best[3] = {1e18, 1e18, 1e18};

    for (int round = 0; round < 40; round++) {
        double at[4];
        struct bytes value;
        struct kex *kex, *answer;

        at[0] = nanoseconds();
        if (kex_make(method, alg, &random_system, NULL, &kex) < 0)
            fatal("a key exchange failed");
        value = kex_value(kex);
        at[1] = nanoseconds();
        if (kex_make(method, alg, &random_system, &value, &answer) < 0)
            fatal("a key exchange failed");
        at[2] = nanoseconds();
        if (kex_derive(kex, kex_value(answer), secret) < 0)
            fatal("a key exchange failed");
        at[3] = nanoseconds();
        kex_free(kex);
        kex_free(answer);
        for (int i = 0; i < 3; i++)
            if (at[i + 1] - at[i] < best[i])
                best[i] = at[i + 1] - at[i];
    }
    printf("%-10s create %.1f us, answer %.1f us, derive %.1f us%s\n", alg->name, best[0] / 1e3,
           best[1] / 1e3, best[2] / 1e3, by);
}

int main(void)
{
    memory = calloc(BATCH, SLOT);
    if (memory == NULL || crypto_init() < 0)
        fatal("crypto_init");
    printf("nanoseconds a packet (Gbit/s) sealed, text of 64 256 512 1024 1408 8192 octets, by "
           "batch\n");
    ciphers(false);
    if (aead_mb_usable())
        ciphers(true);
    for (uint16_t id = 5; id <= 7; id++)
        prf_row(suite_prf(id));
    for (uint16_t id = 14; id <= 32; id++)
        if (suite_kex(id) != NULL)
            kex_row(kex_method_of(id), suite_kex(id), "");
    for (uint16_t id = 35; id <= 37; id++) {
        kex_row(&kex_mlkem, suite_kex(id), ", our own");
        if (kex_mlkem_ossl_has(id))
            kex_row(&kex_mlkem_ossl, suite_kex(id), ", by libcrypto");
    }
    free(memory);
    return 0;
}
