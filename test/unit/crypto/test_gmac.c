/* AES-GMAC (RFC 4543): as a cipher of ESP that encrypts nothing, and as AH's integrity. */
#include "aead_case.h"

static int make_ready(void **state)
{
    (void)state;
    if (crypto_init() != 0)
        return -1;
    for (uint16_t bits = 128; bits <= 256; bits += 64)
        if (suite_ready(&(struct transform){TRANSFORM_ENCR, ENCR_NULL_GMAC, bits}))
            return -1;
    for (uint16_t id = 9; id <= 11; id++)
        if (suite_ready(&(struct transform){TRANSFORM_INTEG, id, 0}))
            return -1;
    return suite_ready(&(struct transform){TRANSFORM_ENCR, ENCR_NULL, 0});
}

static size_t octets_of(const char *hex, uint8_t *out)
{
    size_t len = strlen(hex) / 2;

    for (size_t i = 0; i < len; i++) {
        unsigned v = 0;

        assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
        out[i] = (uint8_t)v;
    }
    return len;
}

/* The one case of draft-mcgrew-gcm-test-01 with this transform: SPI 4321, number 7, a ping. */
static void published_esp(void **state)
{
    uint8_t key[20], aad[8], iv[8], text[64], tag[16];
    struct bytes inner = {text, octets_of("45000030da3a000080"
                                          "01df3bc0a80005c0a800010800c6cd0200070061626364656667"
                                          "68696a6b6c6d6e6f707172737401020201",
                                          text)};
    struct aead_engine *engine = engine_make(FAST);
    struct aead *aead;
    struct packet p;

    (void)state;
    octets_of("4c80cdefbb5d10da906ac73c3613a63422433c64", key);
    octets_of("0000432100000007", aad);
    octets_of("0000000000000000", iv);
    octets_of("f2a9a836e155106aa8dcd618e4099aaa", tag);
    aead = key_make(suite_encr(ENCR_NULL_GMAC, 128), key, NULL, NULL);
    assert_int_equal(aead_iv_len(aead), 8);
    assert_int_equal(aead_icv_len(aead), 16);
    assert_true(aead_iv_counts(aead));
    p = packet_make(aead, (struct bytes){aad, 8}, (struct bytes){iv, 8}, inner);
    aead_seal(engine, &p.op, 1);
    assert_true(p.op.ok);
    assert_memory_equal(p.op.text, text, inner.len); /* nothing is encrypted */
    assert_memory_equal(p.op.icv, tag, 16);
    aead_open(engine, &p.op, 1);
    assert_true(p.op.ok);
    packet_free(&p);
    key_free(aead);
    engine_drop(engine);
}

/* The message is taken as what stands before the inner packet, the packet, and the high half of the
 * sequence number; the IV is not among it. */
static void case_as_ah(uint16_t id, struct bytes key, struct bytes nonce, struct bytes msg,
                       struct bytes tag, bool valid)
{
    uint8_t keymat[36];
    bool esn = msg.len >= 4;
    size_t body = msg.len - (esn ? 4 : 0), aad = body / 3;
    struct aead_engine *engine = engine_make(FAST);
    struct aead *aead;
    struct packet p;

    memcpy(keymat, key.at, key.len);
    memcpy(keymat + key.len, nonce.at, 4);
    aead = key_make(suite_encr(ENCR_NULL, 0), NULL, suite_integ(id), keymat);
    p = packet_make(aead, (struct bytes){msg.at, aad}, (struct bytes){nonce.at + 4, 8},
                    (struct bytes){msg.at + aad, body - aad});
    if (esn) {
        const uint8_t *high = msg.at + body;

        p.op.has_esn_high = true;
        p.op.esn_high =
            (uint32_t)high[0] << 24 | (uint32_t)high[1] << 16 | (uint32_t)high[2] << 8 | high[3];
    }
    memcpy(p.op.icv, tag.at, 16);
    aead_open(engine, &p.op, 1);
    assert_int_equal(p.op.ok, valid);
    aead_seal(engine, &p.op, 1);
    assert_int_equal(memcmp(p.op.icv, tag.at, 16) == 0, valid);
    packet_free(&p);
    key_free(aead);
    engine_drop(engine);
}

static void wycheproof(void **state)
{
    json_t *doc = vectors_load("wycheproof/aes_gmac_test.json"), *group, *test;
    size_t g, t, ran = 0;

    (void)state;
    if (doc == NULL)
        skip();
    json_array_foreach(json_object_get(doc, "testGroups"), g, group)
    {
        if (vectors_int(group, "ivSize") != 96)
            continue; /* RFC 4543 has no other */
        json_array_foreach(json_object_get(group, "tests"), t, test)
        {
            struct bytes key = vectors_hex(test, "key"), iv = vectors_hex(test, "iv");
            struct bytes msg = vectors_hex(test, "msg"), tag = vectors_hex(test, "tag");

            case_as_ah((uint16_t)(key.len / 8 + 7), key, iv, msg, tag,
                       strcmp(vectors_text(test, "result"), "valid") == 0);
            vectors_free(key), vectors_free(iv), vectors_free(msg), vectors_free(tag);
            ran++;
        }
    }
    json_decref(doc);
    assert_int_equal(ran, 207);
}

/* AH's form goes with nothing else, and is no MAC of IKE or ESP. */
static void only_where_it_belongs(void **state)
{
    static _Alignas(16) uint8_t room[512];
    struct aead *aead = (void *)room;
    const uint8_t key[64] = {1};
    struct proposal p;
    struct bytes bad;

    (void)state;
    for (uint16_t id = 9; id <= 11; id++) {
        assert_int_equal(aead_init(aead, NULL, suite_encr(12, 128), key, suite_integ(id), key),
                         ERR_UNSUPPORTED);
        assert_int_equal(suite_integ(id)->key_len, 4 + 16 + 8 * (id - 9));
    }
    assert_int_equal(suite_parse("aes128gmac-x25519", PROTOCOL_AH, &p, &bad), 0);
    assert_int_equal(suite_parse("sha256-aes256gmac", PROTOCOL_AH, &p, &bad), 0);
    assert_int_equal(suite_parse("nullaes256gmac-nullaes128gmac", PROTOCOL_ESP, &p, &bad), 0);
    static const struct {
        const char *text;
        uint8_t protocol;
    } wrong[] = {
        {"aes128-aes128gmac", PROTOCOL_ESP},
        {"null-aes128gmac", PROTOCOL_ESP},
        {"nullaes128gmac-sha256", PROTOCOL_ESP},
        {"nullaes128gmac-aes256gcm16", PROTOCOL_ESP},
        {"aes256gcm16-nullaes128gmac", PROTOCOL_ESP},
        {"aes256-sha256-nullaes128gmac", PROTOCOL_ESP},
        {"null-sha256-nullaes128gmac", PROTOCOL_ESP},
        {"nullaes128gmac-x25519", PROTOCOL_AH},
        {"nullaes128gmac-prfsha256-x25519", PROTOCOL_IKE},
        {"aes128-aes128gmac-prfsha256-x25519", PROTOCOL_IKE},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (suite_parse(wrong[i].text, wrong[i].protocol, &p, &bad) != ERR_SYNTAX)
            fail_msg("%s is taken", wrong[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_esp),
        cmocka_unit_test(wycheproof),
        cmocka_unit_test(only_where_it_belongs),
    };
    return cmocka_run_group_tests(tests, make_ready, NULL);
}
