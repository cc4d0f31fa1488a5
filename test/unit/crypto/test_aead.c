#include "aead_case.h"

#include <pthread.h>

static uint8_t keymat[64], mac_key[64], noise[70000];

static int fill_noise(void **state)
{
    uint64_t seed = 20240;

    (void)state;
    seeded_fill(&seed, keymat, sizeof(keymat));
    seeded_fill(&seed, mac_key, sizeof(mac_key));
    seeded_fill(&seed, noise, sizeof(noise));
    return 0;
}

static struct aead *make(struct pairing p, size_t at)
{
    return key_make(p.encr, keymat + at, p.integ, p.integ == NULL ? NULL : mac_key);
}

static struct packet packet_of(const struct aead *aead, size_t aad_len, size_t text_len)
{
    return packet_make(aead, (struct bytes){noise, aad_len},
                       (struct bytes){noise + 300, aead_iv_len(aead)},
                       (struct bytes){noise + 400, text_len});
}

static void set_esn(struct packet *p, uint32_t high)
{
    p->op.has_esn_high = true;
    p->op.esn_high = high;
}

static bool run_one(struct aead_engine *engine, struct packet *p, bool seal)
{
    p->op.ok = !seal;
    (seal ? aead_seal : aead_open)(engine, &p->op, 1);
    return p->op.ok;
}

/* ---- the back ends agree ---- */

static void agree_on(struct aead_engine *engines[static BACKENDS], struct pairing pair,
                     size_t aad_len, size_t text_len, bool esn)
{
    struct aead *key = make(pair, 0);
    struct packet packets[BACKENDS];

    for (enum backend b = 0; b < BACKENDS; b++) {
        packets[b] = packet_of(key, aad_len, text_len);
        if (esn)
            set_esn(&packets[b], 0x01020304);
        assert_true(run_one(engines[b], &packets[b], true));
        assert_memory_equal(packets[b].octets, packets[0].octets, packets[0].len);
    }
    for (enum backend b = 0; b < BACKENDS; b++) {
        uint8_t icv[64];

        memcpy(icv, packets[b].op.icv, aead_icv_len(key));
        assert_true(run_one(engines[b], &packets[b], false));
        assert_memory_equal(packets[b].op.text, noise + 400, text_len);
        assert_memory_equal(icv, packets[b].op.icv, aead_icv_len(key));
        packet_free(&packets[b]);
    }
    key_free(key);
}

static void back_ends_agree(void **state)
{
    static const size_t far[] = {1023, 1400, 1424, 4096, 8192, 9000, 16384, 64976, 65008, 65520};
    struct aead_engine *engines[BACKENDS] = {engine_make(FAST), engine_make(PORTABLE)};
    struct pairing pairs[PAIRINGS];

    (void)state;
    pairings(pairs);
    for (size_t i = 0; i < PAIRINGS; i++) {
        size_t block = pairs[i].encr->block;

        for (size_t len = block == 1 ? 0 : 16; len < 600; len += block)
            agree_on(engines, pairs[i], len % 37, len, block != 1 && len % 32 == 0);
        for (size_t j = 0; j < ARRAY_LEN(far); j++)
            agree_on(engines, pairs[i], 8, far[j] / block * block, block != 1 && j % 2 == 0);
        agree_on(engines, pairs[i], 300, 64, false);
        agree_on(engines, pairs[i], 0, 64, false);
    }
    engine_drop(engines[FAST]), engine_drop(engines[PORTABLE]);
}

/* Encrypt-then-MAC against its definition: ICV = HMAC(aad | iv | ciphertext | high half). */
static void mac_covers(void **state)
{
    struct pairing pairs[PAIRINGS];

    (void)state;
    pairings(pairs);
    for (enum backend b = 0; b < BACKENDS; b++) {
        struct aead_engine *engine = engine_make(b);

        for (size_t i = 3; i < PAIRINGS; i++) {
            struct aead *aead = make(pairs[i], 0);
            const struct prf_alg *alg = suite_prf((uint16_t)(pairs[i].integ->id - 7));
            struct packet p = packet_of(aead, 8, 160);
            uint8_t high[4] = {0xfe, 0xdc, 0xba, 0x98}, full[64];
            struct bytes parts[2] = {{p.octets, 8 + 16 + 160}, {high, 4}};

            for (size_t esn = 0; esn < 2; esn++) {
                if (esn == 1)
                    set_esn(&p, 0xfedcba98);
                assert_true(run_one(engine, &p, true));
                assert_int_equal(prf(alg, (struct bytes){mac_key, pairs[i].integ->key_len}, parts,
                                     1 + esn, full),
                                 0);
                assert_memory_equal(p.op.icv, full, pairs[i].integ->icv_len);
            }
            packet_free(&p);
            key_free(aead);
        }
        engine_drop(engine);
    }
}

/* The ICV may lie elsewhere, and the AAD of an AEAD as well. */
static void scattered(void **state)
{
    struct pairing pairs[PAIRINGS];

    (void)state;
    pairings(pairs);
    for (enum backend b = 0; b < BACKENDS; b++) {
        struct aead_engine *engine = engine_make(b);

        for (size_t i = 0; i < PAIRINGS; i++) {
            struct aead *aead = make(pairs[i], 0);
            struct packet here = packet_of(aead, 12, 96), there = packet_of(aead, 12, 96);
            uint8_t icv[64], aad[12], iv[16];

            memcpy(aad, there.op.aad, 12);
            memcpy(iv, there.op.iv, aead_iv_len(aead));
            there.op.icv = icv, there.op.aad = aad, there.op.iv = iv;
            if (pairs[i].integ != NULL) {
                set_esn(&here, 77);
                set_esn(&there, 77);
            }
            assert_true(run_one(engine, &here, true));
            assert_true(run_one(engine, &there, true));
            assert_memory_equal(here.op.text, there.op.text, 96);
            assert_memory_equal(here.op.icv, icv, aead_icv_len(aead));
            assert_true(run_one(engine, &there, false));
            assert_memory_equal(there.op.text, noise + 400, 96);
            packet_free(&here), packet_free(&there);
            key_free(aead);
        }
        engine_drop(engine);
    }
}

/* ---- what must not open ---- */

static void bad_bits_on(struct aead_engine *engine, struct aead *aead, bool esn)
{
    struct packet sealed = packet_of(aead, 12, 64);
    uint8_t *octets = malloc(sealed.len);

    assert_non_null(octets);
    if (esn)
        set_esn(&sealed, 5);
    assert_true(run_one(engine, &sealed, true));
    memcpy(octets, sealed.octets, sealed.len);
    for (size_t bit = 0; bit < 8 * sealed.len; bit++) {
        memcpy(sealed.octets, octets, sealed.len);
        sealed.octets[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(run_one(engine, &sealed, false));
    }
    for (size_t bit = 0; esn && bit < 32; bit++) {
        memcpy(sealed.octets, octets, sealed.len);
        sealed.op.esn_high = 5 ^ (1u << bit);
        assert_false(run_one(engine, &sealed, false));
    }
    sealed.op.esn_high = 5;
    memcpy(sealed.octets, octets, sealed.len);
    assert_true(run_one(engine, &sealed, false));
    assert_memory_equal(sealed.op.text, noise + 400, 64);
    free(octets);
    packet_free(&sealed);
}

static void every_flipped_bit(void **state)
{
    struct pairing pairs[PAIRINGS];

    (void)state;
    pairings(pairs);
    for (enum backend b = 0; b < BACKENDS; b++) {
        struct aead_engine *engine = engine_make(b);

        for (size_t i = 0; i < PAIRINGS; i++) {
            struct aead *aead = make(pairs[i], 0);

            bad_bits_on(engine, aead, false);
            if (pairs[i].integ != NULL)
                bad_bits_on(engine, aead, true);
            key_free(aead);
        }
        engine_drop(engine);
    }
}

/* Another key, another salt, another MAC key, a shorter text, none of the right form. */
static void wrong_keys_and_lengths(void **state)
{
    struct pairing pairs[PAIRINGS];

    (void)state;
    pairings(pairs);
    for (enum backend b = 0; b < BACKENDS; b++) {
        struct aead_engine *engine = engine_make(b);

        for (size_t i = 0; i < PAIRINGS; i++) {
            struct aead *right = make(pairs[i], 0), *wrong = make(pairs[i], 1);
            struct packet p = packet_of(right, 8, 64);

            assert_true(run_one(engine, &p, true));
            if (pairs[i].integ == NULL) { /* the MAC key is the same */
                p.op.aead = wrong;
                assert_false(run_one(engine, &p, false));
                p.op.aead = right;
            }
            for (uint32_t len = 0; len < 64; len++) {
                p.op.text_len = len;
                assert_false(run_one(engine, &p, false));
                if (pairs[i].integ != NULL && (len % 16 != 0 || len == 0))
                    assert_false(run_one(engine, &p, true));
            }
            packet_free(&p);
            key_free(right), key_free(wrong);
        }
        engine_drop(engine);
    }
}

static void wrong_arguments(void **state)
{
    struct aead_engine *engine = engine_make(FAST);
    struct pairing gcm = {suite_encr(20, 256), NULL}, cbc = {suite_encr(12, 128), suite_integ(12)};
    struct aead *aead = make(gcm, 0);

    (void)state;
    assert_int_equal(aead_init(aead, engine, gcm.encr, keymat, cbc.integ, mac_key), ERR_ARGUMENT);
    assert_int_equal(aead_init(aead, engine, cbc.encr, keymat, NULL, NULL), ERR_ARGUMENT);
    assert_int_equal(aead_init(aead, engine, cbc.encr, keymat, cbc.integ, NULL), ERR_ARGUMENT);
    free(aead);
    engine_drop(engine);
    aead_engine_free(NULL);
}

/* ---- batches ---- */

enum { MANY = 3 * AEAD_BATCH + 17, KEYS = 20 * PAIRINGS };

/* More keys than an engine keeps schedules for, so that slots change hands within a batch. */
static void many_keys(struct aead *keys[static KEYS])
{
    struct pairing pairs[PAIRINGS];

    pairings(pairs);
    for (size_t i = 0; i < KEYS; i++)
        keys[i] = make(pairs[i % PAIRINGS], i % 20);
}

/* Any mix in one call, some of it forged: exactly the forged ones fail. `runs` neighbours have the
 * same key. */
static void mixed_batch(enum backend b, size_t runs, bool few)
{
    struct aead_engine *engine = engine_make(b);
    struct aead *keys[KEYS];
    struct packet *packets = calloc(MANY, sizeof(*packets));
    struct aead_op *ops = calloc(MANY, sizeof(*ops));

    assert_true(packets != NULL && ops != NULL);
    engine->few = few;
    many_keys(keys);
    for (size_t i = 0; i < MANY; i++) {
        const struct aead *key = keys[i / runs % KEYS];

        packets[i] = packet_of(key, 8, 16 + (i * 48) % 1500 / 16 * 16);
        if (aead_block(key) == 16 && i % 3 == 0)
            set_esn(&packets[i], (uint32_t)i);
        ops[i] = packets[i].op;
    }
    aead_seal(engine, ops, MANY);
    for (size_t i = 0; i < MANY; i++) {
        assert_true(ops[i].ok);
        if (i % 7 == 0)
            packets[i].octets[i % packets[i].len] ^= 0x10;
    }
    aead_open(engine, ops, MANY);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(ops[i].ok, i % 7 != 0);
        if (ops[i].ok)
            assert_memory_equal(ops[i].text, noise + 400, ops[i].text_len);
        packet_free(&packets[i]);
    }
    aead_seal(engine, ops, 0);
    for (size_t i = 0; i < KEYS; i++)
        key_free(keys[i]);
    free(packets), free(ops);
    engine_drop(engine);
}

static void batches(void **state)
{
    (void)state;
    for (enum backend b = 0; b < BACKENDS; b++) {
        for (size_t few = 0; few < 2; few++) {
            mixed_batch(b, 1, few);
            mixed_batch(b, 5, few);
            mixed_batch(b, MANY, few);
        }
    }
}

/* ---- threads: one key, several engines ---- */

static void *worker(void *argument)
{
    struct aead *aead = argument;
    struct aead_engine *engine = aead_engine_create();
    size_t good = 0;

    for (int i = 0; engine != NULL && i < 200; i++) {
        struct packet p = packet_of(aead, 8, 1408);

        good += run_one(engine, &p, true) && run_one(engine, &p, false);
        packet_free(&p);
    }
    aead_engine_free(engine);
    return (void *)(uintptr_t)good;
}

static void shared_by_threads(void **state)
{
    struct pairing pairs[PAIRINGS];

    (void)state;
    pairings(pairs);
    for (enum backend b = 0; b < BACKENDS; b++) {
        struct aead_engine *engine = engine_make(b);

        for (size_t i = 0; i < PAIRINGS; i++) {
            struct aead *aead = make(pairs[i], 0);
            pthread_t threads[3];
            void *good;

            for (size_t t = 0; t < ARRAY_LEN(threads); t++)
                assert_int_equal(pthread_create(&threads[t], NULL, worker, aead), 0);
            for (size_t t = 0; t < ARRAY_LEN(threads); t++) {
                assert_int_equal(pthread_join(threads[t], &good), 0);
                assert_int_equal((uintptr_t)good, 200);
            }
            key_free(aead);
        }
        engine_drop(engine);
    }
}

/* ---- memory ---- */

static void sizes(void **state)
{
    struct pairing pairs[PAIRINGS];

    (void)state;
    pairings(pairs);
    for (size_t i = 0; i < PAIRINGS; i++) {
        size_t size = aead_size(pairs[i].encr, pairs[i].integ);
        struct aead *aead = make(pairs[i], 0);

        assert_int_equal(size, pairs[i].integ == NULL ? 48 : 176);
        assert_int_equal(aead_iv_len(aead), pairs[i].encr->iv_len);
        assert_int_equal(aead_block(aead), pairs[i].encr->block);
        assert_int_equal(aead_icv_len(aead),
                         pairs[i].integ == NULL ? pairs[i].encr->icv_len : pairs[i].integ->icv_len);
        aead_wipe(aead);
        for (size_t k = 0; k < size; k++)
            assert_int_equal(((uint8_t *)aead)[k], 0);
        free(aead);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(back_ends_agree),
        cmocka_unit_test(mac_covers),
        cmocka_unit_test(scattered),
        cmocka_unit_test(every_flipped_bit),
        cmocka_unit_test(wrong_keys_and_lengths),
        cmocka_unit_test(wrong_arguments),
        cmocka_unit_test(batches),
        cmocka_unit_test(shared_by_threads),
        cmocka_unit_test(sizes),
    };

    return cmocka_run_group_tests(tests, fill_noise, NULL);
}
