#include "aead_case.h"

/* Seals and opens one vector on all back ends. */
static void aead_case(const struct encr_alg *encr, struct bytes key, struct bytes iv,
                      struct bytes aad, struct bytes msg, struct bytes ct, struct bytes tag,
                      bool valid)
{
    uint8_t keymat[36];
    struct transform rare = {TRANSFORM_ENCR, encr->id, encr->key_bits};

    assert_int_equal(suite_ready(&rare), 0);
    memcpy(keymat, key.at, key.len);
    memcpy(keymat + key.len, iv.at, encr->salt_len);
    iv = (struct bytes){iv.at + encr->salt_len, 8};
    for (enum backend b = 0; b < BACKENDS; b++) {
        struct aead_engine *engine = engine_make(b);
        struct aead *aead = key_make(encr, keymat, NULL, NULL);
        struct packet sealed = packet_make(aead, aad, iv, msg);
        struct packet opened = packet_make(aead, aad, iv, ct);

        aead_seal(engine, &sealed.op, 1);
        assert_true(sealed.op.ok);
        if (valid) {
            assert_memory_equal(sealed.op.text, ct.at, ct.len);
            assert_memory_equal(sealed.op.icv, tag.at, 16);
        }
        memcpy(opened.op.icv, tag.at, 16);
        aead_open(engine, &opened.op, 1);
        assert_int_equal(opened.op.ok, valid);
        if (valid)
            assert_memory_equal(opened.op.text, msg.at, msg.len);
        packet_free(&sealed), packet_free(&opened);
        key_free(aead);
        engine_drop(engine);
    }
}

static void aead_file(const char *name, uint16_t id)
{
    json_t *doc = vectors_load(name), *group, *test;
    size_t g, t, ran = 0, odd = 0;

    if (doc == NULL)
        skip();
    json_array_foreach(json_object_get(doc, "testGroups"), g, group)
    {
        uint16_t bits = id == 28 ? 0 : (uint16_t)vectors_int(group, "keySize");
        const struct encr_alg *encr = suite_encr(id, bits);
        size_t count = json_array_size(json_object_get(group, "tests"));

        if (encr == NULL || vectors_int(group, "ivSize") != (encr->salt_len + 8) * 8 ||
            vectors_int(group, "tagSize") != encr->icv_len * 8) {
            odd += count;
            continue;
        }
        json_array_foreach(json_object_get(group, "tests"), t, test)
        {
            struct bytes key = vectors_hex(test, "key"), iv = vectors_hex(test, "iv");
            struct bytes aad = vectors_hex(test, "aad"), msg = vectors_hex(test, "msg");
            struct bytes ct = vectors_hex(test, "ct"), tag = vectors_hex(test, "tag");

            aead_case(encr, key, iv, aad, msg, ct, tag,
                      strcmp(vectors_text(test, "result"), "valid") == 0);
            vectors_free(key), vectors_free(iv), vectors_free(aad);
            vectors_free(msg), vectors_free(ct), vectors_free(tag);
            ran++;
        }
    }
    json_decref(doc);
    assert_true(ran > 0);
    printf("note: %s: %zu cases on each back end; skipped %zu with a nonce or tag of another "
           "length\n",
           name, ran, odd);
}

static void wycheproof_aead(void **state)
{
    (void)state;
    aead_file("wycheproof/aes_gcm_test.json", 20);
    aead_file("wycheproof/chacha20_poly1305_test.json", 28);
    aead_file("wycheproof/aes_ccm_test.json", 16);
}

/* ---- CBC: the vectors' PKCS#5 padding is put on here; ESP and SK have their own ---- */

static void cbc_case(const struct encr_alg *encr, struct bytes key, struct bytes iv,
                     struct bytes padded, struct bytes ct)
{
    uint8_t mac_key[32] = {1, 2, 3};

    for (enum backend b = 0; b < BACKENDS; b++) {
        struct aead_engine *engine = engine_make(b);
        struct aead *aead = key_make(encr, key.at, suite_integ(12), mac_key);
        struct packet p = packet_make(aead, (struct bytes){mac_key, 8}, iv, padded);

        aead_seal(engine, &p.op, 1);
        assert_true(p.op.ok);
        assert_memory_equal(p.op.text, ct.at, ct.len);
        aead_open(engine, &p.op, 1);
        assert_true(p.op.ok);
        assert_memory_equal(p.op.text, padded.at, padded.len);
        packet_free(&p);
        key_free(aead);
        engine_drop(engine);
    }
}

static void wycheproof_cbc(void **state)
{
    json_t *doc = vectors_load("wycheproof/aes_cbc_pkcs5_test.json"), *group, *test;
    size_t g, t, ran = 0, padding = 0;

    (void)state;
    if (doc == NULL)
        skip();
    json_array_foreach(json_object_get(doc, "testGroups"), g, group)
    {
        const struct encr_alg *encr = suite_encr(12, (uint16_t)vectors_int(group, "keySize"));
        struct transform rare = {TRANSFORM_ENCR, 12, (uint16_t)vectors_int(group, "keySize")};

        assert_int_equal(suite_ready(&rare), 0);

        json_array_foreach(json_object_get(group, "tests"), t, test)
        {
            struct bytes key = vectors_hex(test, "key"), iv = vectors_hex(test, "iv");
            struct bytes msg = vectors_hex(test, "msg"), ct = vectors_hex(test, "ct");
            uint8_t *padded = malloc(msg.len + 16);
            size_t pad = 16 - msg.len % 16;

            assert_non_null(padded);
            memcpy(padded, msg.at, msg.len);
            memset(padded + msg.len, (int)pad, pad);
            if (strcmp(vectors_text(test, "result"), "valid") != 0) {
                padding++;
            } else {
                cbc_case(encr, key, iv, (struct bytes){padded, msg.len + pad}, ct);
                ran++;
            }
            free(padded);
            vectors_free(key), vectors_free(iv), vectors_free(msg), vectors_free(ct);
        }
    }
    json_decref(doc);
    printf(
        "note: aes_cbc_pkcs5_test.json: %zu cases on each back end; skipped %zu that test PKCS#5 "
        "padding\n",
        ran, padding);
}

/* ---- INTEG: the vector's message is taken as aad | iv | text, and opened ---- */

static void integ_case(const struct integ_alg *integ, struct bytes key, struct bytes msg,
                       struct bytes tag, bool valid)
{
    size_t aad_len = msg.len % 16;
    uint8_t cipher_key[16] = {0};

    for (enum backend b = 0; b < BACKENDS; b++) {
        struct aead_engine *engine = engine_make(b);
        struct aead *aead = key_make(suite_encr(12, 128), cipher_key, integ, key.at);
        struct packet p =
            packet_make(aead, (struct bytes){msg.at, aad_len}, (struct bytes){msg.at + aad_len, 16},
                        (struct bytes){msg.at + aad_len + 16, msg.len - aad_len - 16});

        memcpy(p.op.icv, tag.at, integ->icv_len);
        aead_open(engine, &p.op, 1);
        assert_int_equal(p.op.ok, valid);
        packet_free(&p);
        key_free(aead);
        engine_drop(engine);
    }
}

static void integ_file(const char *name, uint16_t id)
{
    json_t *doc = vectors_load(name), *group, *test;
    const struct integ_alg *integ = suite_integ(id);
    size_t g, t, ran = 0, brief = 0, odd_key = 0;

    if (doc == NULL)
        skip();
    json_array_foreach(json_object_get(doc, "testGroups"), g, group)
    {
        json_array_foreach(json_object_get(group, "tests"), t, test)
        {
            struct bytes key = vectors_hex(test, "key"), msg = vectors_hex(test, "msg");
            struct bytes tag = vectors_hex(test, "tag");

            if (key.len != integ->key_len || tag.len != integ->icv_len) {
                odd_key++;
            } else if (msg.len < 32) {
                brief++;
            } else {
                integ_case(integ, key, msg, tag,
                           strcmp(vectors_text(test, "result"), "valid") == 0);
                ran++;
            }
            vectors_free(key), vectors_free(msg), vectors_free(tag);
        }
    }
    json_decref(doc);
    printf("note: %s as INTEG: %zu cases on each back end; skipped %zu with another key or tag "
           "length, %zu too short for a CBC packet (all run as PRF)\n",
           name, ran, odd_key, brief);
}

static void wycheproof_integ(void **state)
{
    (void)state;
    integ_file("wycheproof/hmac_sha256_test.json", 12);
    integ_file("wycheproof/hmac_sha384_test.json", 13);
    integ_file("wycheproof/hmac_sha512_test.json", 14);
}

/* ---- RFC 7634 appendix A and B ---- */

static void rfc7634_case(const json_t *vector, struct bytes aad, struct bytes plain,
                         struct bytes message)
{
    struct bytes keymat = vectors_hex(vector, "keymat"), iv = vectors_hex(vector, "iv");

    for (enum backend b = 0; b < BACKENDS; b++) {
        struct aead_engine *engine = engine_make(b);
        struct aead *aead = key_make(suite_encr(28, 0), keymat.at, NULL, NULL);
        struct packet p = packet_make(aead, aad, iv, plain);

        aead_seal(engine, &p.op, 1);
        assert_true(p.op.ok);
        assert_int_equal(p.len, message.len);
        assert_memory_equal(p.octets, message.at, message.len);
        aead_open(engine, &p.op, 1);
        assert_true(p.op.ok);
        assert_memory_equal(p.op.text, plain.at, plain.len);
        packet_free(&p);
        key_free(aead);
        engine_drop(engine);
    }
    vectors_free(keymat), vectors_free(iv);
}

static void rfc7634(void **state)
{
    json_t *doc = vectors_load("rfc/rfc_vectors.json"), *a, *b;
    struct bytes plain, message, aad;

    (void)state;
    if (doc == NULL)
        skip();
    a = json_object_get(doc, "rfc7634_A_esp_chacha20poly1305");
    b = json_object_get(doc, "rfc7634_B_ikev2_sk_payload");
    plain = vectors_hex(a, "plaintext_with_trailer");
    message = vectors_hex(a, "esp_packet");
    rfc7634_case(a, (struct bytes){message.at, 8}, plain, message);
    vectors_free(plain), vectors_free(message);
    plain = vectors_hex(b, "plaintext");
    message = vectors_hex(b, "message");
    aad = vectors_hex(b, "aad_header_plus_sk_header");
    rfc7634_case(b, aad, plain, message);
    vectors_free(plain), vectors_free(message), vectors_free(aad);
    json_decref(doc);
}

static int report(void **state)
{
    (void)state;
    printf("note: the default back end is %s\n", aead_mb_usable() ? aead_mb_name() : "libcrypto");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wycheproof_aead),
        cmocka_unit_test(wycheproof_cbc),
        cmocka_unit_test(wycheproof_integ),
        cmocka_unit_test(rfc7634),
    };

    return cmocka_run_group_tests(tests, report, NULL);
}
