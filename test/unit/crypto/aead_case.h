/* One message through the keyed ciphers, for the tests: the packet lies as in ESP, aad | iv | text
 * | icv, in memory of exactly that size. */
#ifndef SHRIKE_TEST_AEAD_CASE_H
#define SHRIKE_TEST_AEAD_CASE_H

#include "vectors.h"

#include "crypto/aead_form.h"
#include "crypto/crypto.h"

/* Who works the key: what the machine has, or libcrypto alone. */
enum backend { FAST, PORTABLE, BACKENDS };

static inline struct aead *key_make(const struct encr_alg *encr, const uint8_t *key,
                                    const struct integ_alg *integ, const uint8_t *integ_key)
{
    struct aead *aead = aligned_alloc(16, aead_size(encr, integ));

    assert_non_null(aead);
    assert_int_equal(aead_init(aead, NULL, encr, key, integ, integ_key), 0);
    return aead;
}

static inline void key_free(struct aead *aead)
{
    aead_wipe(aead);
    free(aead);
}

static inline struct aead_engine *engine_make(enum backend backend)
{
    struct aead_engine *engine;

    aead_force_portable(backend == PORTABLE);
    engine = aead_engine_create();
    assert_non_null(engine);
    engine->few = true;
    return engine;
}

static inline void engine_drop(struct aead_engine *engine)
{
    aead_engine_free(engine);
    aead_force_portable(false);
}

struct packet {
    uint8_t *octets;
    size_t len;
    struct aead_op op;
};

static inline struct packet packet_make(const struct aead *aead, struct bytes aad, struct bytes iv,
                                        struct bytes text)
{
    size_t icv_len = aead_icv_len(aead);
    struct packet p = {.len = aad.len + iv.len + text.len + icv_len};

    p.octets = calloc(1, p.len);
    assert_non_null(p.octets);
    if (aad.len > 0)
        memcpy(p.octets, aad.at, aad.len);
    memcpy(p.octets + aad.len, iv.at, iv.len);
    if (text.len > 0)
        memcpy(p.octets + aad.len + iv.len, text.at, text.len);
    p.op = (struct aead_op){
        .aead = aead,
        .aad = p.octets,
        .iv = p.octets + aad.len,
        .text = p.octets + aad.len + iv.len,
        .icv = p.octets + aad.len + iv.len + text.len,
        .text_len = (uint32_t)text.len,
        .aad_len = (uint16_t)aad.len,
    };
    return p;
}

static inline void packet_free(struct packet *p)
{
    free(p->octets);
}

/* Every cipher with every MAC it can have. */
struct pairing {
    const struct encr_alg *encr;
    const struct integ_alg *integ;
};
enum { PAIRINGS = 9 };

static inline void pairings(struct pairing out[static PAIRINGS])
{
    size_t n = 0;

    out[n++] = (struct pairing){suite_encr(20, 128), NULL};
    out[n++] = (struct pairing){suite_encr(20, 256), NULL};
    out[n++] = (struct pairing){suite_encr(28, 0), NULL};
    for (uint16_t bits = 128; bits <= 256; bits += 128)
        for (uint16_t integ = 12; integ <= 14; integ++)
            out[n++] = (struct pairing){suite_encr(12, bits), suite_integ(integ)};
    assert_int_equal(n, PAIRINGS);
}

#endif
