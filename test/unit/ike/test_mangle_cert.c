/* Certificates and signatures in IKE_AUTH as a hostile peer would send them: cut, twice, missing,
 * far too many. Nothing of it gets in, and nothing falls. */
#include "mangle.h"

static struct cert *ca;
static struct private_key *ca_key;
static struct {
    struct cert *cert;
    struct private_key *key;
} leaf[2];

static struct bytes text_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

static void issue(struct pki_request *request, struct cert **cert, struct private_key **key)
{
    char *pem, *key_pem;
    struct cert *made;
    assert_int_equal(pki_issue(request, ca, ca_key, pair_wall(NULL) - 1000, &pem, &key_pem), 0);
    assert_int_equal(cert_parse_pem(text_of(pem), &made, 1), 1);
    assert_int_equal(private_key_parse(text_of(key_pem), key), 0);
    *cert = made;
    free(pem);
    free(key_pem);
}

static int start(void **state)
{
    (void)state;
    struct pki_request request = {
        .common_name = "test CA", .key = KEY_ECDSA_P256, .days = 30, .ca = true};
    struct cert *made;
    struct private_key *key;
    issue(&request, &made, &key);
    ca = made, ca_key = key;
    for (int w = 0; w < 2; w++) {
        struct identity name;
        assert_true(identity_parse(w ? "gw.example.org" : "me@example.org", &name));
        request = (struct pki_request){.common_name = "leaf",
                                       .names = &name,
                                       .name_count = 1,
                                       .key = KEY_ED25519,
                                       .days = 10,
                                       .purpose = w ? CERT_FOR_GATEWAY : CERT_FOR_CLIENT};
        issue(&request, &leaf[w].cert, &leaf[w].key);
    }
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (int w = 0; w < 2; w++) {
        cert_free(leaf[w].cert);
        private_key_free(leaf[w].key);
    }
    cert_free(ca);
    private_key_free(ca_key);
    return 0;
}

static struct pair *reach(enum moment moment)
{
    struct pair *p = pair_make();
    for (int w = 0; w < 2; w++) {
        struct side *s = &p->side[w];
        s->own = leaf[w].cert;
        s->key = leaf[w].key;
        s->trust = cert_trust_create();
        assert_int_equal(cert_trust_add(s->trust, ca), 0);
        s->conf.local_auth = s->conf.remote_auth = CONF_AUTH_CERT;
    }
    return mangle_reach_pair(p, moment);
}

static void leave(struct pair *p)
{
    struct cert_trust *trust[2] = {p->side[0].trust, p->side[1].trust};
    for (int w = 0; w < 2; w++)
        assert_int_equal(ike_counters(p->side[w].engine)->illegal_moves, 0);
    pair_free(p);
    for (int w = 0; w < 2; w++)
        cert_trust_free(trust[w]);
}

static size_t let_in(struct pair *p, enum moment moment)
{
    const struct side *judge = &p->side[moment == AUTH_REQUEST ? 1 : 0];
    pair_round(p);
    size_t count = ike_counters(judge->engine)->established;
    leave(p);
    return count;
}

static void every_cut(void **state)
{
    (void)state;
    static struct text t;
    for (enum moment m = AUTH_REQUEST; m <= AUTH_ANSWER; m++)
        for (size_t n = 0, full = 1; n <= full; n++) {
            struct pair *p = reach(m);
            mangle_open(p, &t);
            full = t.len;
            t.len = n;
            mangle_close(p, &t);
            assert_int_equal(let_in(p, m), n == full);
        }
}

/* The bodies of CERT and AUTH at each shorter length, in a chain that is right. */
static void shorter_bodies(void **state)
{
    (void)state;
    static struct text t, out;
    static const uint8_t types[] = {PAYLOAD_CERT, PAYLOAD_AUTH};
    for (enum moment m = AUTH_REQUEST; m <= AUTH_ANSWER; m++)
        for (size_t i = 0; i < ARRAY_LEN(types); i++)
            for (size_t len = 0, full = 1; len <= full; len++) {
                struct edit edit;
                struct pair *p = reach(m);
                mangle_open(p, &t);
                mangle_nothing(&edit);
                edit.at = mangle_index(&t, types[i]);
                full = t.chain.at[edit.at].body.len;
                edit.body = (struct bytes){t.chain.at[edit.at].body.at, len};
                mangle_write(&t, &edit, &out);
                mangle_close(p, &out);
                assert_int_equal(let_in(p, m), len == full);
            }
}

/* Each octet of the signature flipped, and of the algorithm it names. */
static void flipped_signatures(void **state)
{
    (void)state;
    static struct text t;
    for (enum moment m = AUTH_REQUEST; m <= AUTH_ANSWER; m++)
        for (size_t at = 4, full = 5; at < full; at++) { /* before that: method and RESERVED */
            struct pair *p = reach(m);
            mangle_open(p, &t);
            struct bytes body = t.chain.at[mangle_index(&t, PAYLOAD_AUTH)].body;
            full = body.len;
            t.octets[(size_t)(body.at - t.octets) + at] ^= 1;
            mangle_close(p, &t);
            assert_int_equal(let_in(p, m), 0);
        }
}

/* How many requests are let in whose CERT payload has become `count` of the same and one that
 * cannot be read, before them or behind. */
static size_t let_in_with(size_t count, bool before)
{
    static struct text t, out;
    static const uint8_t junk[] = {CERT_X509_SIGNATURE, 0x30, 0x03, 0x02, 0x01, 0x00};
    struct pair *p = reach(AUTH_REQUEST);
    uint8_t *next = &out.first;
    mangle_open(p, &t);
    out.len = 0;
    for (size_t i = 0; i < t.chain.count; i++) {
        const struct wire_payload_view *v = &t.chain.at[i];
        bool here = v->type == PAYLOAD_CERT;
        if (here && before)
            mangle_put(&out, &next, PAYLOAD_CERT, (struct bytes){junk, sizeof(junk)}, 0);
        for (size_t n = 0; n < (here ? count : 1); n++)
            mangle_put(&out, &next, v->type, v->body, 0);
        if (here && !before)
            mangle_put(&out, &next, PAYLOAD_CERT, (struct bytes){junk, sizeof(junk)}, 0);
    }
    mangle_close(p, &out);
    return let_in(p, AUTH_REQUEST);
}

/* One that cannot be read spoils the request where it is looked at, and the first one is the leaf.
 */
static void many_certificates(void **state)
{
    (void)state;
    for (size_t count = 1; count < WIRE_CERTS_MAX + 4; count++) {
        assert_int_equal(let_in_with(count, false), count >= WIRE_CERTS_MAX);
        assert_int_equal(let_in_with(count, true), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut),
        cmocka_unit_test(shorter_bodies),
        cmocka_unit_test(flipped_signatures),
        cmocka_unit_test(many_certificates),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
