/* The algorithms outside the defaults: all of them through the same face as the common ones, with
 * public vectors where there are any. */
#include "aead_case.h"

#include "crypto/aesmac.h"

static uint8_t noise[4096];

static int fill_noise(void **state)
{
    uint64_t seed = 42;

    (void)state;
    seeded_fill(&seed, noise, sizeof(noise));
    return crypto_init();
}

/* Every rare algorithm of a type, made ready. */
static bool next_rare(uint8_t type, size_t *i, struct transform *t)
{
    const char *name;

    while ((name = suite_name(type, (*i)++)) != NULL) {
        assert_true(suite_find(name, t));
        if (suite_rare(t)) {
            assert_int_equal(suite_ready(t), 0);
            return true;
        }
    }
    return false;
}

static void all_are_ready(void **state)
{
    struct transform t;
    size_t seen[TRANSFORM_SN + 1] = {0};

    (void)state;
    for (uint8_t type = TRANSFORM_ENCR; type <= TRANSFORM_KE; type++)
        for (size_t i = 0; next_rare(type, &i, &t);)
            seen[type]++;
    assert_int_equal(seen[TRANSFORM_ENCR], 3 + 6 * 3 + 3 + 3 + 3 + 1 + 3);
    assert_int_equal(seen[TRANSFORM_PRF], 3);
    assert_int_equal(seen[TRANSFORM_INTEG], 6);
    assert_int_equal(seen[TRANSFORM_KE], 7);
    assert_int_equal(suite_ready(&(struct transform){TRANSFORM_ENCR, 20, 256}), 0);
    assert_int_equal(suite_ready(&(struct transform){TRANSFORM_SN, 1, 0}), 0);
}

/* ---- messages ---- */

static void must_fail(struct aead_engine *engine, const struct packet *sealed, size_t at)
{
    struct packet p = *sealed;
    uint8_t octets[512];

    memcpy(octets, sealed->octets, sealed->len);
    octets[at] ^= 0x10;
    p.op.aad = octets;
    p.op.iv = octets + (sealed->op.iv - sealed->octets);
    p.op.text = octets + (sealed->op.text - sealed->octets);
    p.op.icv = octets + (sealed->op.icv - sealed->octets);
    aead_open(engine, &p.op, 1);
    assert_false(p.op.ok);
}

/* Sealed and opened; a flip of any octet, and another high half, are noticed; the neighbour in the
 * batch, of another key and cipher, does not mind. */
static void try_pairing(const struct encr_alg *encr, const struct integ_alg *integ, size_t text_len)
{
    struct aead_engine *engine = engine_make(FAST);
    struct aead *aead = key_make(encr, noise, integ, integ ? noise + 64 : NULL);
    struct aead *common = key_make(suite_encr(20, 256), noise + 128, NULL, NULL);
    struct bytes aad = {noise + 200, 8}, text = {noise + 300, text_len};
    struct bytes iv = {noise + 220, aead_iv_len(aead)};
    struct packet p = packet_make(aead, aad, iv, text);
    struct packet other = packet_make(common, aad, (struct bytes){noise + 230, 8}, text);
    struct aead_op ops[3];

    p.op.has_esn_high = integ != NULL;
    p.op.esn_high = 7;
    ops[0] = other.op, ops[1] = p.op;
    aead_seal(engine, ops, 2);
    assert_true(ops[0].ok && ops[1].ok);
    if (!encr_is_null(encr->id))
        assert_memory_not_equal(p.op.text, text.at, text_len);
    for (size_t at = 0; at < p.len; at++)
        must_fail(engine, &p, at);
    p.op.esn_high = 8;
    if (integ != NULL) {
        must_fail(engine, &p, 0);
        aead_open(engine, &p.op, 1);
        assert_false(p.op.ok);
    }
    ops[0].ok = ops[1].ok = false;
    aead_open(engine, ops, 2);
    assert_true(ops[0].ok && ops[1].ok);
    assert_memory_equal(p.op.text, text.at, text_len);
    assert_memory_equal(other.op.text, text.at, text_len);
    packet_free(&p), packet_free(&other);
    key_free(aead), key_free(common);
    engine_drop(engine);
}

static void messages(void **state)
{
    struct transform t;

    (void)state;
    for (size_t i = 0; next_rare(TRANSFORM_ENCR, &i, &t);) {
        const struct encr_alg *encr = suite_encr(t.id, t.key_bits);

        for (size_t len = encr->block; len <= 80; len += encr->block == 1 ? 13 : encr->block) {
            if (encr->aead)
                try_pairing(encr, NULL, len);
            else
                for (uint16_t id = 1; id <= 14; id++)
                    if (suite_integ(id) != NULL &&
                        (!suite_integ(id)->gmac || encr->id == ENCR_NULL))
                        try_pairing(encr, suite_integ(id), len);
        }
    }
    for (size_t i = 0; next_rare(TRANSFORM_INTEG, &i, &t);)
        try_pairing(suite_integ(t.id)->gmac ? suite_encr(ENCR_NULL, 0) : suite_encr(12, 256),
                    suite_integ(t.id), 64);
}

static void odd_lengths(void **state)
{
    struct aead_engine *engine = engine_make(FAST);
    struct transform t;

    (void)state;
    for (size_t i = 0; next_rare(TRANSFORM_ENCR, &i, &t);) {
        const struct encr_alg *encr = suite_encr(t.id, t.key_bits);

        if (encr->block == 1)
            continue;
        for (size_t len = 0; len < 3u * encr->block; len++) {
            struct aead *aead = key_make(encr, noise, suite_integ(12), noise + 64);
            struct packet p =
                packet_make(aead, (struct bytes){noise, 8}, (struct bytes){noise, encr->iv_len},
                            (struct bytes){noise, len});

            aead_seal(engine, &p.op, 1);
            assert_int_equal(p.op.ok, len > 0 && len % encr->block == 0);
            packet_free(&p);
            key_free(aead);
        }
    }
    engine_drop(engine);
}

/* The IV of a counter mode must count, that of CBC must not. */
static void ivs(void **state)
{
    struct transform t;

    (void)state;
    for (size_t i = 0; next_rare(TRANSFORM_ENCR, &i, &t);) {
        const struct encr_alg *encr = suite_encr(t.id, t.key_bits);
        struct aead *aead = key_make(encr, noise, encr->aead ? NULL : suite_integ(12),
                                     encr->aead ? NULL : noise + 64);

        assert_int_equal(aead_iv_len(aead), encr->iv_len);
        assert_int_equal(aead_block(aead), encr->block);
        assert_int_equal(aead_iv_counts(aead), encr->salt_len > 0);
        key_free(aead);
    }
}

/* RFC 3686 section 6, vectors 1 and 9 (AES-128 and AES-256, one block each). */
static void rfc3686(void **state)
{
    static const struct {
        uint16_t bits;
        const char *key_nonce, *iv, *cipher;
    } cases[] = {
        {128, "ae6852f8121067cc4bf7a5765577f39e00000030", "0000000000000000",
         "e4095d4fb7a7b3792d6175a3261311b8"},
        {256, "776beff2851db06f4c8a0542c8696f6c6a81af1eec96b4d37fc1d689e6c1c10400000060",
         "db5672c97aa8f0b2", "145ad01dbf824ec7560863dc71e3e0c0"},
    };
    struct aead_engine *engine = engine_make(FAST);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *doc = json_pack("{s:s, s:s, s:s}", "key", cases[i].key_nonce, "iv", cases[i].iv,
                                "ct", cases[i].cipher);
        struct bytes key = vectors_hex(doc, "key"), iv = vectors_hex(doc, "iv");
        struct bytes ct = vectors_hex(doc, "ct");
        struct transform t = {TRANSFORM_ENCR, 13, cases[i].bits};
        struct aead *aead;
        struct packet p;

        assert_int_equal(suite_ready(&t), 0);
        aead = key_make(suite_encr(13, cases[i].bits), key.at, suite_integ(12), noise);
        p = packet_make(aead, (struct bytes){noise, 8}, iv,
                        (struct bytes){(const uint8_t *)"Single block msg", 16});
        aead_seal(engine, &p.op, 1);
        assert_true(p.op.ok);
        assert_memory_equal(p.op.text, ct.at, 16);
        packet_free(&p);
        key_free(aead);
        vectors_free(key), vectors_free(iv), vectors_free(ct);
        json_decref(doc);
    }
    engine_drop(engine);
}

/* ---- MACs and PRFs over AES ---- */

/* In all cuts of the message: what is held back at the end must not depend on them. */
static void mac_is(enum aesmac_kind kind, struct bytes key, struct bytes msg,
                   const uint8_t *expected, size_t len, bool equal)
{
    uint8_t out[AESMAC_LEN];
    size_t step = msg.len > 64 ? msg.len / 16 : 1;

    for (size_t cut = 0; cut <= msg.len; cut += step) {
        struct bytes parts[3] = {{msg.at, cut}, {NULL, 0}, {msg.at + cut, msg.len - cut}};

        assert_int_equal(aesmac_prf(kind, key, parts, 3, out), 0);
        assert_int_equal(memcmp(out, expected, len) == 0, equal);
    }
}

static void xcbc(void **state)
{
    json_t *doc = vectors_load("rfc/rfc_vectors.json"), *test;
    size_t i, ran = 0;

    (void)state;
    if (doc == NULL)
        skip();
    json_array_foreach(json_object_get(doc, "rfc3566_aes_xcbc_mac_96"), i, test)
    {
        static const uint8_t zeros[1000];
        bool many = strcmp(vectors_text(test, "message"), "00*1000") == 0;
        struct bytes key = vectors_hex(test, "key"), mac = vectors_hex(test, "mac128");
        struct bytes msg = many ? (struct bytes){zeros, 1000} : vectors_hex(test, "message");

        mac_is(AESMAC_XCBC, key, msg, mac.at, 16, true);
        vectors_free(key), vectors_free(mac);
        if (!many)
            vectors_free(msg);
        ran++;
    }
    json_array_foreach(json_object_get(doc, "rfc4434_prf_aes128_xcbc"), i, test)
    {
        struct bytes key = vectors_hex(test, "key"), msg = vectors_hex(test, "message");
        struct bytes mac = vectors_hex(test, "prf");

        mac_is(AESMAC_XCBC, key, msg, mac.at, 16, true);
        vectors_free(key), vectors_free(msg), vectors_free(mac);
        ran++;
    }
    json_decref(doc);
    assert_true(ran > 8);
}

static void wycheproof_cmac(void **state)
{
    json_t *doc = vectors_load("wycheproof/aes_cmac_test.json"), *group, *test;
    size_t g, t, ran = 0, other = 0;

    (void)state;
    if (doc == NULL)
        skip();
    json_array_foreach(json_object_get(doc, "testGroups"), g, group)
        json_array_foreach(json_object_get(group, "tests"), t, test)
    {
        struct bytes key = vectors_hex(test, "key"), msg = vectors_hex(test, "msg");
        struct bytes tag = vectors_hex(test, "tag");

        if (key.len == 16) {
            mac_is(AESMAC_CMAC, key, msg, tag.at, tag.len,
                   strcmp(vectors_text(test, "result"), "valid") == 0);
            ran++;
        } else {
            other++;
        }
        vectors_free(key), vectors_free(msg), vectors_free(tag);
    }
    json_decref(doc);
    assert_true(ran > 50);
    printf("note: aes_cmac_test.json: %zu cases, %zu with another key length\n", ran, other);
}

/* RFC 4615 section 4. */
static void prf_cmac_keys(void **state)
{
    static const struct {
        const char *key, *out;
    } cases[] = {
        {"000102030405060708090a0b0c0d0e0fedcb", "84a348a4a45d235babfffc0d2b4da09a"},
        {"000102030405060708090a0b0c0d0e0f", "980ae87b5f4c9c5214f5b6a8455e4c2d"},
        {"00010203040506070809", "290d9e112edb09ee141fcf64c0b72f3d"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *doc = json_pack("{s:s, s:s, s:s}", "key", cases[i].key, "out", cases[i].out, "msg",
                                "000102030405060708090a0b0c0d0e0f10111213");
        struct bytes key = vectors_hex(doc, "key"), out = vectors_hex(doc, "out");
        struct bytes msg = vectors_hex(doc, "msg");

        mac_is(AESMAC_CMAC, key, msg, out.at, 16, true);
        vectors_free(key), vectors_free(out), vectors_free(msg);
        json_decref(doc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_ready),   cmocka_unit_test(messages),
        cmocka_unit_test(odd_lengths),     cmocka_unit_test(ivs),
        cmocka_unit_test(rfc3686),         cmocka_unit_test(xcbc),
        cmocka_unit_test(wycheproof_cmac), cmocka_unit_test(prf_cmac_keys),
    };

    return cmocka_run_group_tests(tests, fill_noise, NULL);
}
