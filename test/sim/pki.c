#include "sim.h"

enum { CREDENTIALS = 48, DAY = 86400 };

static struct sim_credential authorities[SIM_CAS];
static struct cert_trust *trusts[SIM_CAS];
static struct {
    unsigned ca;
    char id[64];
    enum key_kind kind;
    enum cert_purpose purpose;
    bool expired;
    struct sim_credential credential;
} made[CREDENTIALS];
static size_t made_count;

static struct bytes text(const char *s)
{
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

static void issue(const struct pki_request *request, const struct sim_credential *issuer,
                  int64_t when, struct sim_credential *out)
{
    char *cert_pem, *key_pem;
    assert_int_equal(pki_issue(request, issuer ? issuer->cert : NULL, issuer ? issuer->key : NULL,
                               when, &cert_pem, &key_pem),
                     0);
    assert_int_equal(cert_parse_pem(text(cert_pem), &out->cert, 1), 1);
    assert_int_equal(private_key_parse(text(key_pem), &out->key), 0);
    free(cert_pem);
    free(key_pem);
}

static const struct sim_credential *authority(unsigned ca)
{
    assert_true(ca < SIM_CAS);
    if (authorities[ca].cert)
        return &authorities[ca];
    struct pki_request request = {
        .common_name = ca ? "Other CA" : "Sim CA", .key = KEY_ECDSA_P256, .days = 3650, .ca = true};
    issue(&request, NULL, SIM_WALL - 400 * DAY, &authorities[ca]);
    trusts[ca] = cert_trust_create();
    assert_non_null(trusts[ca]);
    assert_int_equal(cert_trust_add(trusts[ca], authorities[ca].cert), 0);
    return &authorities[ca];
}

const struct cert_trust *sim_trust(unsigned ca)
{
    (void)authority(ca);
    return trusts[ca];
}

const struct sim_credential *sim_credential(unsigned ca, const char *id, enum key_kind kind,
                                            enum cert_purpose purpose, bool expired)
{
    for (size_t i = 0; i < made_count; i++)
        if (made[i].ca == ca && strcmp(made[i].id, id) == 0 && made[i].kind == kind &&
            made[i].purpose == purpose && made[i].expired == expired)
            return &made[i].credential;
    struct identity name;
    assert_true(made_count < CREDENTIALS);
    assert_true(identity_parse(id, &name));
    struct pki_request request = {.common_name = id,
                                  .names = &name,
                                  .name_count = 1,
                                  .key = kind,
                                  .days = 30,
                                  .purpose = purpose};
    made[made_count].ca = ca;
    snprintf(made[made_count].id, sizeof(made[0].id), "%s", id);
    made[made_count].kind = kind;
    made[made_count].purpose = purpose;
    made[made_count].expired = expired;
    issue(&request, authority(ca), SIM_WALL - (expired ? 31 : 1) * DAY,
          &made[made_count].credential);
    return &made[made_count++].credential;
}

void sim_use_cert(struct sim_host *host, const struct sim_credential *credential,
                  const struct cert_trust *trust)
{
    host->conf.local_auth = CONF_AUTH_CERT;
    host->conf.remote_auth = CONF_AUTH_CERT;
    host->setup.trust = trust;
    host->key = NULL;
    host->setup.own_cert_count = 0;
    if (!credential)
        return;
    host->key = credential->key;
    host->setup.own_certs[0] = credential->cert;
    host->setup.own_cert_count = 1;
}

static void forget(struct sim_credential *credential)
{
    cert_free(credential->cert);
    private_key_free(credential->key);
    *credential = (struct sim_credential){0};
}

void sim_pki_free(void)
{
    for (size_t i = 0; i < made_count; i++)
        forget(&made[i].credential);
    made_count = 0;
    for (size_t i = 0; i < SIM_CAS; i++) {
        if (authorities[i].cert)
            forget(&authorities[i]);
        if (trusts[i])
            cert_trust_free(trusts[i]);
        trusts[i] = NULL;
    }
}
