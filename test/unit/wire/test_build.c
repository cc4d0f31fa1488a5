/* Whole messages: what the builder writes, the walk reads; and what is left of it when it is cut or
 * when its lengths lie. */
#include "cases.h"

static uint8_t buffer[4096];
static const uint8_t some[64] = {1, 2, 3, 4, 5};

static struct bytes build_init(void)
{
    struct wire_builder b;
    struct proposal p = {.protocol = PROTOCOL_IKE};
    assert_true(proposal_add(&p, TRANSFORM_ENCR, ENCR_AES_GCM_16, 256));
    assert_true(proposal_add(&p, TRANSFORM_PRF, 5, 0));
    assert_true(proposal_add(&p, TRANSFORM_KE, 31, 0));
    struct wire_header h = {
        .spi_i = 0x1122, .exchange = EXCHANGE_IKE_SA_INIT, .flags = FLAG_INITIATOR};
    wire_begin(&b, buffer, sizeof(buffer), &h);
    wire_put_sa(&b, &p, 1);
    wire_put_ke(&b, 31, (struct bytes){some, 32});
    wire_put_nonce(&b, (struct bytes){some, 32});
    wire_put_notify(&b, NOTIFY_NAT_DETECTION_SOURCE_IP, (struct bytes){some, 20});
    wire_put_certreq(&b, CERT_X509_SIGNATURE, (struct bytes){some, 40});
    assert_int_equal(wire_first(&b), PAYLOAD_SA);
    return wire_finish(&b);
}

static struct bytes build_inner(uint8_t *first)
{
    struct wire_builder b;
    struct identity id;
    struct wire_config config = {.type = CONFIG_REQUEST, .count = 2};
    config.items[0].type = CONFIG_INTERNAL_IP4_ADDRESS;
    config.items[1].type = CONFIG_INTERNAL_IP6_DNS;
    config.items[1].value = (struct bytes){some, 16};
    struct selector any[2] = {selector_any(4), selector_any(6)};
    uint32_t spis[2] = {0x11223344, 0x55667788};
    assert_true(identity_parse("a@example.org", &id));
    wire_begin_inner(&b, buffer, sizeof(buffer));
    wire_put_id(&b, PAYLOAD_IDi, &id);
    wire_put_cert(&b, CERT_X509_SIGNATURE, (struct bytes){some, 60});
    wire_put_auth(&b, AUTH_SHARED_KEY, (struct bytes){some, 32});
    wire_put_config(&b, &config);
    wire_put_ts(&b, PAYLOAD_TSi, any, 2);
    wire_put_ts(&b, PAYLOAD_TSr, any, 1);
    wire_put_delete_children(&b, PROTOCOL_ESP, spis, 2);
    wire_put_delete_ike(&b);
    wire_put_notify_spi(&b, PROTOCOL_ESP, (struct bytes){some, 4}, NOTIFY_REKEY_SA,
                        (struct bytes){0});
    wire_put(&b, 200, (struct bytes){some, 3});
    *first = wire_first(&b);
    return wire_finish(&b);
}

static void test_message(void **state)
{
    (void)state;
    struct wire_header h;
    struct wire_chain chain;
    struct bytes message = build_init();
    assert_int_equal(wire_header_read(message, &h), 0);
    assert_int_equal(h.version, 0x20);
    assert_true(h.spi_i == 0x1122);
    struct bytes rest = {message.at + WIRE_HEADER_LEN, message.len - WIRE_HEADER_LEN};
    assert_int_equal(wire_walk(h.next_payload, rest, &chain), 0);
    static const uint8_t types[] = {PAYLOAD_SA, PAYLOAD_KE, PAYLOAD_NONCE, PAYLOAD_NOTIFY,
                                    PAYLOAD_CERTREQ};
    assert_int_equal(chain.count, ARRAY_LEN(types));
    for (size_t i = 0; i < chain.count; i++) {
        assert_int_equal(chain.at[i].type, types[i]);
        assert_true(roundtrip(types[i], chain.at[i].body) >= 0);
    }
}

static void test_inner(void **state)
{
    (void)state;
    uint8_t first;
    struct wire_chain chain;
    struct bytes inner = build_inner(&first);
    assert_int_equal(first, PAYLOAD_IDi);
    assert_int_equal(wire_walk(first, inner, &chain), 0);
    assert_int_equal(chain.count, 10);
    for (size_t i = 0; i + 1 < chain.count; i++)
        assert_true(roundtrip(chain.at[i].type, chain.at[i].body) >= 0);
}

static void walk_deep(uint8_t first, struct bytes bytes)
{
    static struct wire_chain chain;
    if (wire_walk(first, bytes, &chain) != 0)
        return;
    for (size_t i = 0; i < chain.count; i++)
        (void)roundtrip(chain.at[i].type, chain.at[i].body);
}

/* Every truncation is refused by header or walk; every octet with every length-like value is read
 * without a fault, the bodies included. */
static void mangle(uint8_t first, struct bytes whole)
{
    static const uint8_t values[] = {0, 1, 2, 3, 4, 5, 8, 28, 0x7f, 0x80, 0xff};
    struct wire_chain chain;
    struct bytes copy = exact(whole.at, whole.len);
    uint8_t *octets = (uint8_t *)(uintptr_t)copy.at;
    for (size_t len = 0; len < copy.len; len++) {
        struct bytes cut = exact(copy.at, len);
        assert_int_equal(wire_walk(first, cut, &chain), ERR_SYNTAX);
        release(cut);
    }
    for (size_t at = 0; at < copy.len; at++) {
        uint8_t before = octets[at];
        for (size_t v = 0; v < ARRAY_LEN(values); v++) {
            octets[at] = values[v];
            walk_deep(first, copy);
        }
        octets[at] = before;
    }
    for (size_t at = 0; at + 1 < copy.len; at++) { /* both octets of a length at once */
        uint8_t before[2] = {octets[at], octets[at + 1]};
        octets[at] = octets[at + 1] = 0xff;
        walk_deep(first, copy);
        octets[at] = octets[at + 1] = 0;
        walk_deep(first, copy);
        octets[at] = before[0];
        octets[at + 1] = before[1];
    }
    release(copy);
}

static void test_mangled(void **state)
{
    (void)state;
    uint8_t first;
    struct bytes message = build_init();
    mangle(PAYLOAD_SA, (struct bytes){message.at + WIRE_HEADER_LEN, message.len - WIRE_HEADER_LEN});
    struct bytes inner = build_inner(&first);
    mangle(first, inner);
}

static void test_sixteen_certificates(void **state)
{
    (void)state;
    struct wire_builder b;
    struct wire_chain chain;
    wire_begin_inner(&b, buffer, sizeof(buffer));
    for (size_t i = 0; i < WIRE_CERTS_MAX; i++)
        wire_put_cert(&b, CERT_X509_SIGNATURE, (struct bytes){some, i});
    assert_int_equal(wire_walk(wire_first(&b), wire_finish(&b), &chain), 0);
    assert_int_equal(wire_count(&chain, PAYLOAD_CERT), WIRE_CERTS_MAX);
}

/* SK: the builder leaves the place of the first payload inside to the caller. */
static void test_sk_next(void **state)
{
    (void)state;
    struct wire_builder b;
    struct wire_chain chain;
    struct wire_header h = {.exchange = EXCHANGE_INFORMATIONAL};
    wire_begin(&b, buffer, sizeof(buffer), &h);
    wire_open(&b, PAYLOAD_SK);
    writer_bytes(&b.w, some, 24);
    wire_close(&b);
    writer_patch_u8(&b.w, b.next_at, PAYLOAD_DELETE);
    struct bytes message = wire_finish(&b);
    assert_int_equal(
        wire_walk(PAYLOAD_SK, (struct bytes){message.at + 28, message.len - 28}, &chain), 0);
    assert_int_equal(chain.at[0].next, PAYLOAD_DELETE);
    assert_int_equal(chain.at[0].body.len, 24);
}

static void test_misuse(void **state)
{
    (void)state;
    struct wire_builder b;
    struct wire_header h = {.exchange = EXCHANGE_INFORMATIONAL};
    for (size_t cap = 0; cap < WIRE_HEADER_LEN + 10; cap++) { /* too small is empty, not past it */
        uint8_t *small = malloc(cap ? cap : 1);
        wire_begin(&b, small, cap, &h);
        wire_put_notify(&b, NOTIFY_INITIAL_CONTACT, (struct bytes){some, 2});
        assert_int_equal(wire_finish(&b).len, cap < WIRE_HEADER_LEN + 10 ? 0 : cap);
        free(small);
    }
    wire_begin_inner(&b, buffer, sizeof(buffer));
    wire_open(&b, PAYLOAD_NONCE);
    assert_int_equal(wire_finish(&b).len, 0); /* left open */
    wire_begin_inner(&b, buffer, sizeof(buffer));
    wire_close(&b);
    assert_int_equal(wire_finish(&b).len, 0); /* never opened */
    static uint8_t large[70000], out[140000];
    wire_begin_inner(&b, out, sizeof(out));
    wire_put(&b, PAYLOAD_VENDOR, (struct bytes){large, 65532});
    assert_int_equal(wire_finish(&b).len, 0); /* a length of 17 bits */
    wire_begin_inner(&b, out, sizeof(out));
    wire_put(&b, PAYLOAD_VENDOR, (struct bytes){large, 40000});
    wire_put(&b, PAYLOAD_VENDOR, (struct bytes){large, 40000});
    assert_int_equal(wire_finish(&b).len, 0); /* over 65,535 in all */
    wire_begin_inner(&b, buffer, sizeof(buffer));
    assert_int_equal(wire_finish(&b).len, 0); /* an empty chain is empty */
    assert_int_equal(wire_first(&b), PAYLOAD_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message), cmocka_unit_test(test_inner),
        cmocka_unit_test(test_mangled), cmocka_unit_test(test_sixteen_certificates),
        cmocka_unit_test(test_sk_next), cmocka_unit_test(test_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
