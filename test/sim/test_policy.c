/* Named policies: who keeps to one is let in, who does not is refused with a reason that names it.
 */
#include "pair.h"

#define CLIENT  "client.example.org"
#define GATEWAY "gateway.example.org"

/* The algorithms and bounds of a gateway's file with this policy. */
static void use_policy(struct sim_host *host, const char *policy)
{
    char text[256];
    struct conf *conf = NULL;
    struct conf_faults faults = {.count = 0};
    int len =
        snprintf(text, sizeof(text),
                 "[gateway]\nname = " GATEWAY "\ncert = g.pem\n[crypto]\npolicy = %s\n", policy);
    assert_int_equal(
        conf_parse("p.conf", (struct bytes){(const uint8_t *)text, (size_t)len}, &conf, &faults),
        0);
    struct conf_tunnel *t = &host->conf;
    memcpy(t->ike, conf->tunnel.ike, sizeof(t->ike));
    memcpy(t->esp, conf->tunnel.esp, sizeof(t->esp));
    t->ike_count = conf->tunnel.ike_count;
    t->esp_count = conf->tunnel.esp_count;
    t->policy = conf->tunnel.policy;
    t->signatures = conf->tunnel.signatures;
    conf_free(conf);
}

static void use_proposal(struct sim_host *host, const char *ike)
{
    struct bytes bad;
    assert_int_equal(suite_parse(ike, PROTOCOL_IKE, &host->conf.ike[0], &bad), 0);
    host->conf.ike[0].number = 1;
    host->conf.ike_count = 1;
}

static struct pair cert_pair(enum key_kind client, enum key_kind gateway)
{
    struct pair p = pair_make();
    sim_use_cert(p.client, sim_credential(0, CLIENT, client, CERT_FOR_CLIENT, false), sim_trust(0));
    sim_use_cert(p.gateway, sim_credential(0, GATEWAY, gateway, CERT_FOR_GATEWAY, false),
                 sim_trust(0));
    assert_true(identity_parse(GATEWAY, &p.client->conf.remote_id));
    return p;
}

static const char *const policies[] = {"modern", "nist", "cnsa2", "bsi"};

/* Both ends keep to it; and a gateway that keeps to it with a client that has the usual defaults
 * and one proposal more. */
static void test_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
        struct pair p = cert_pair(KEY_ECDSA_P384, KEY_ECDSA_P384);
        use_policy(p.client, policies[i]);
        use_policy(p.gateway, policies[i]);
        pair_up(&p);
        pair_end(&p);
    }
}

static void test_off_policy(void **state)
{
    static const struct {
        const char *policy, *ike, *why;
    } cases[] = {
        {"nist", "chacha20poly1305-prfsha384-ecp384", "by the policy nist"},
        {"cnsa2", "aes128gcm16-prfsha384-ecp384-ke1_mlkem1024", "by the policy cnsa2"},
        {"cnsa2", "aes256gcm16-prfsha384-ecp256", "by the policy cnsa2"},
        {"cnsa2", "aes256gcm16-prfsha384-ecp384", "by the policy cnsa2"},
        {"bsi", "aes256gcm16-prfsha384-x25519", "by the policy bsi"},
        {"bsi", "aes256gcm16-prfsha384-modp2048", "by the policy bsi"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair p = cert_pair(KEY_ECDSA_P384, KEY_ECDSA_P384);
        use_policy(p.gateway, cases[i].policy);
        use_proposal(p.client, cases[i].ike);
        pair_start(&p);
        sim_run(p.sim, TIME_SECOND);
        const struct ike_event *event = sim_event(p.gateway, IKE_EVENT_REFUSED);
        if (!event || !strstr(event->text, cases[i].why))
            fail_msg("case %zu: %s", i, event ? event->text : "not refused");
        pair_expect_failure(&p, ERR_NO_PROPOSAL, NOTIFY_NO_PROPOSAL_CHOSEN);
    }
}

/* The peer's key: too short (those of the tests have 3072 bits), or of another kind. */
static void test_off_policy_keys(void **state)
{
    static const struct {
        const char *policy;
        enum key_kind kind;
        uint16_t rsa_bits;
        const char *why;
    } cases[] = {
        {"bsi", KEY_RSA, 4096, "3072 bits is too short, 4096 are wanted"},
        {"bsi", KEY_ED25519, 3000, "keys are not allowed"},
        {"cnsa2", KEY_ECDSA_P256, 3072, "keys are not allowed"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair p = cert_pair(cases[i].kind, KEY_ECDSA_P384);
        use_policy(p.client, cases[i].policy);
        p.client->conf.signatures = (struct sign_limits){0};
        use_policy(p.gateway, cases[i].policy);
        p.gateway->conf.signatures.rsa_bits = cases[i].rsa_bits;
        pair_start(&p);
        sim_run(p.sim, TIME_SECOND);
        const struct ike_event *event = sim_event(p.gateway, IKE_EVENT_REFUSED);
        if (!event || !strstr(event->text, cases[i].why))
            fail_msg("case %zu: %s", i, event ? event->text : "not refused");
        pair_expect_failure(&p, ERR_AUTH, NOTIFY_AUTHENTICATION_FAILED);
    }
}

/* PKCS#1 v1.5 is not for BSI's policy: a peer that takes nothing else gets no signature. */
static void test_own_scheme(void **state)
{
    (void)state;
    struct sign_limits bsi = {.schemes = 1U << SIGN_RSA_PSS_SHA256};
    struct auth_peer_wants android = {AUTH_HASH_SHA1 | AUTH_HASH_SHA256, 0, SIGN_NONE, &bsi};
    uint8_t method;
    assert_int_equal(auth_choose_scheme(KEY_RSA, &android, &method), SIGN_RSA_PSS_SHA256);
    assert_int_equal(method, AUTH_DIGITAL_SIGNATURE);
    android.hashes = 0;
    assert_int_equal(auth_choose_scheme(KEY_RSA, &android, &method), SIGN_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_off_policy),
        cmocka_unit_test(test_off_policy_keys),
        cmocka_unit_test(test_own_scheme),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
