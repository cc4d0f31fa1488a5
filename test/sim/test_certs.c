/* Certificates on both sides: every kind of key, and every fault that users meet, with the reason
 * in words on both sides. */
#include "pair.h"

#define CLIENT  "client.example.org"
#define GATEWAY "gateway.example.org"

static struct pair cert_pair(enum key_kind kind)
{
    struct pair p = pair_make();
    sim_use_cert(p.client, sim_credential(0, CLIENT, kind, CERT_FOR_CLIENT, false), sim_trust(0));
    sim_use_cert(p.gateway, sim_credential(0, GATEWAY, kind, CERT_FOR_GATEWAY, false),
                 sim_trust(0));
    assert_true(identity_parse(GATEWAY, &p.client->conf.remote_id));
    return p;
}

static void test_kinds(void **state)
{
    (void)state;
    static const enum key_kind kinds[] = {KEY_RSA, KEY_ECDSA_P256, KEY_ECDSA_P384, KEY_ECDSA_P521,
                                          KEY_ED25519};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct pair p = cert_pair(kinds[i]);
        pair_up(&p);
        assert_int_equal(p.client->last_ask->method, AUTH_DIGITAL_SIGNATURE);
        pair_end(&p);
    }
}

static void test_client_by_psk(void **state)
{
    (void)state;
    struct pair p = cert_pair(KEY_ECDSA_P256);
    p.client->conf.local_auth = CONF_AUTH_PSK;
    p.gateway->conf.remote_auth = CONF_AUTH_PSK | CONF_AUTH_CERT;
    pair_up(&p);
    pair_end(&p);
}

/* A gateway with both means proves itself by the one that the client takes, not by the one that the
 * client came with (RFC 9593). */
static void test_announced_cert(void **state)
{
    (void)state;
    for (int psk = 0; psk < 2; psk++) {
        struct pair p = cert_pair(KEY_ECDSA_P256);
        p.gateway->conf.local_auth = p.gateway->conf.remote_auth = CONF_AUTH_PSK | CONF_AUTH_CERT;
        p.client->conf.local_auth = CONF_AUTH_PSK;
        p.client->conf.remote_auth = psk ? CONF_AUTH_PSK : CONF_AUTH_CERT;
        pair_up(&p);
        assert_int_equal(p.gateway->last_ask->method,
                         psk ? AUTH_SHARED_KEY : AUTH_DIGITAL_SIGNATURE);
        pair_end(&p);
    }
}

/* What the gateway had said it takes stands in the reason, when that was not heeded. */
static void test_announced_other(void **state)
{
    (void)state;
    struct pair p = cert_pair(KEY_ECDSA_P256);
    p.client->conf.local_auth = CONF_AUTH_PSK;
    pair_start(&p);
    sim_run(p.sim, 70 * TIME_SECOND);
    const struct ike_event *failed = sim_event(p.client, IKE_EVENT_FAILED);
    assert_non_null(failed);
    assert_int_equal(failed->notify, NOTIFY_AUTHENTICATION_FAILED);
    assert_non_null(strstr(failed->text, "it accepts Ed25519, ECDSA, RSA-PSS"));
    assert_non_null(strstr(failed->text, "came with a pre-shared key"));
    pair_end(&p);
}

/* The gateway's certificate is at fault: the client says why, and the gateway hears of it. */
static void bad_gateway(const struct sim_credential *credential, int err)
{
    struct pair p = cert_pair(KEY_ECDSA_P256);
    sim_use_cert(p.gateway, credential, sim_trust(0));
    pair_start(&p);
    sim_run(p.sim, 70 * TIME_SECOND);
    const struct ike_event *failed = sim_event(p.client, IKE_EVENT_FAILED);
    assert_non_null(failed);
    if (failed->err != err)
        fail_msg("%s (%s), not %s", err_word(failed->err), failed->text, err_word(err));
    assert_true(strlen(failed->text) > 20);
    assert_null(sim_event(p.client, IKE_EVENT_ESTABLISHED));
    assert_int_equal(p.client->net_ups, 0);
    struct sim_view view;
    sim_view(p.gateway, &view); /* it was told by a notify or a delete */
    assert_int_equal(view.established, 0);
    pair_end(&p);
}

/* The client's certificate is at fault: the gateway says why, the client is told no more than that
 * authentication failed. */
static void bad_client(const struct sim_credential *credential, int err)
{
    struct pair p = cert_pair(KEY_ECDSA_P256);
    sim_use_cert(p.client, credential, sim_trust(0));
    pair_start(&p);
    pair_expect_failure(&p, err, NOTIFY_AUTHENTICATION_FAILED);
}

static void test_expired(void **state)
{
    (void)state;
    bad_gateway(sim_credential(0, GATEWAY, KEY_ECDSA_P256, CERT_FOR_GATEWAY, true),
                ERR_CERT_EXPIRED);
    bad_client(sim_credential(0, CLIENT, KEY_ECDSA_P256, CERT_FOR_CLIENT, true), ERR_CERT_EXPIRED);
}

static void test_unknown_ca(void **state)
{
    (void)state;
    bad_gateway(sim_credential(1, GATEWAY, KEY_ECDSA_P256, CERT_FOR_GATEWAY, false),
                ERR_CERT_UNKNOWN_CA);
    bad_client(sim_credential(1, CLIENT, KEY_ECDSA_P256, CERT_FOR_CLIENT, false),
               ERR_CERT_UNKNOWN_CA);
}

static void test_wrong_name(void **state)
{
    (void)state;
    bad_gateway(sim_credential(0, "liar.example.org", KEY_ECDSA_P256, CERT_FOR_GATEWAY, false),
                ERR_CERT_NAME);
    bad_client(sim_credential(0, "liar.example.org", KEY_ECDSA_P256, CERT_FOR_CLIENT, false),
               ERR_CERT_NAME);
}

/* A good certificate of somebody else's, but the key is not there. */
static void test_key_of_another(void **state)
{
    (void)state;
    const struct sim_credential *own =
        sim_credential(0, CLIENT, KEY_ECDSA_P256, CERT_FOR_CLIENT, false);
    const struct sim_credential *other =
        sim_credential(0, "liar.example.org", KEY_ECDSA_P256, CERT_FOR_CLIENT, false);
    struct sim_credential mixed = {own->cert, other->key};
    bad_client(&mixed, ERR_AUTH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),          cmocka_unit_test(test_client_by_psk),
        cmocka_unit_test(test_announced_cert), cmocka_unit_test(test_announced_other),
        cmocka_unit_test(test_expired),        cmocka_unit_test(test_unknown_ca),
        cmocka_unit_test(test_wrong_name),     cmocka_unit_test(test_key_of_another),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
