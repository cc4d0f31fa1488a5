/* Every cipher, integrity, PRF and key exchange at least once, for IKE and for ESP, with a rekey of
 * both kinds each. */
#include "pair.h"

static const char *const ciphers[] = {"aes128gcm16",   "aes256gcm16",   "chacha20poly1305",
                                      "aes128-sha256", "aes256-sha256", "aes128-sha384",
                                      "aes256-sha384", "aes128-sha512", "aes256-sha512"};
static const char *const prfs[] = {"prfsha256", "prfsha384", "prfsha512"};
static const char *const groups[] = {"x25519",   "x448",     "ecp256",   "ecp384",
                                     "ecp521",   "modp2048", "modp3072", "modp4096",
                                     "mlkem512", "mlkem768", "mlkem1024"};

/* Those outside the defaults, each once: IKE and ESP take the same. */
static const char *const rare[] = {
    "aes192gcm16-prfsha256-ecp256bp",     "aes192-sha256-prfsha256-ecp384bp",
    "aes128gcm12-prfsha1-ecp512bp",       "aes256gcm8-prfsha1-modp1024",
    "aes128ccm16-prfaesxcbc-modp1536",    "aes192ccm12-prfaescmac-x25519",
    "aes256ccm8-prfaesxcbc-x25519",       "aes128ctr-sha1-prfsha1-x25519",
    "aes256ctr-aesxcbc-prfsha1-x25519",   "camellia128-aescmac-prfaescmac-x25519",
    "camellia256-sha1-prfsha1-x25519",    "camellia192ctr-sha256-prfsha256-x25519",
    "3des-sha1-prfsha1-modp1024",         "blowfish128-sha1-prfsha1-modp1024",
    "blowfish256-sha256-prfsha256-x25519"};

static void make_ready(const struct sim_host *host)
{
    for (size_t i = 0; i < host->conf.ike[0].count; i++)
        assert_int_equal(suite_ready(&host->conf.ike[0].transforms[i]), 0);
}

/* Both rekeys by both sides, and a message under the last keys. */
static void through_life(struct pair *p)
{
    assert_int_equal(pair_child(p->client)->esn, p->client->conf.esn);
    assert_int_equal(pair_child(p->client)->kes.ke, 0);
    for (int by = 0; by < 2; by++) {
        uint32_t before = pair_child(p->client)->spi_in;
        assert_int_equal(sim_command(by ? p->client : p->gateway, IKE_REKEY_CHILD, 0), 0);
        sim_run(p->sim, 2 * TIME_SECOND);
        sim_check_pair(p->sim, p->client, p->gateway);
        assert_int_not_equal(pair_child(p->client)->spi_in, before);
        assert_int_not_equal(pair_child(p->client)->kes.ke, 0);
        assert_int_equal(sim_command(by ? p->gateway : p->client, IKE_REKEY_IKE, 0), 0);
        sim_run(p->sim, 2 * TIME_SECOND);
        sim_check_pair(p->sim, p->client, p->gateway);
        assert_int_equal(sim_events(p->client, IKE_EVENT_REKEYED_IKE), 1 + by);
        assert_int_equal(sim_command(p->client, IKE_CHECK, 0), 0); /* the new IKE SA's keys work */
        sim_run(p->sim, TIME_SECOND);
        sim_check_pair(p->sim, p->client, p->gateway);
    }
    pair_end(p);
}

static void use_ah(struct sim_host *host, const char *child)
{
    struct bytes bad;
    sim_proposals(host, "aes256gcm16-prfsha256-x25519", "aes256gcm16");
    assert_int_equal(suite_parse(child, PROTOCOL_AH, &host->conf.esp[0], &bad), 0);
}

static void run(const char *cipher, const char *prf, const char *group, const char *sn)
{
    char ike[96], esp[96];
    struct pair p = pair_make();
    snprintf(ike, sizeof(ike), "%s-%s-%s", cipher, prf, group);
    snprintf(esp, sizeof(esp), "%s-%s%s", cipher, group, sn);
    sim_proposals(p.client, ike, esp);
    sim_proposals(p.gateway, ike, esp);
    p.client->conf.esn = p.gateway->conf.esn = *sn == 0;
    pair_up(&p);
    through_life(&p);
}

static void test_ciphers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++)
        run(ciphers[i], prfs[i % ARRAY_LEN(prfs)], "x25519", i % 2 ? "-noesn" : "");
}

static void test_rare(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rare); i++) {
        char esp[96] = "", *prf;
        struct pair p = pair_make();
        snprintf(esp, sizeof(esp), "%s", rare[i]);
        prf = strstr(esp, "-prf");
        memmove(prf, strchr(prf + 1, '-'), strlen(strchr(prf + 1, '-')) + 1);
        sim_proposals(p.client, rare[i], esp);
        sim_proposals(p.gateway, rare[i], esp);
        make_ready(p.client);
        pair_up(&p);
        through_life(&p);
    }
}

/* NULL protects ESP; the IKE SA has a cipher in any case. */
static void test_null(void **state)
{
    (void)state;
    struct pair p = pair_make();
    sim_proposals(p.client, "aes256gcm16-prfsha256-x25519", "null-sha256-x25519");
    sim_proposals(p.gateway, "aes256gcm16-prfsha256-x25519", "null-sha256-x25519");
    pair_up(&p);
    through_life(&p);
}

/* What the client says of an attempt that must fail. */
static const char *fails(struct pair *p)
{
    pair_start(p);
    sim_run(p->sim, 5 * TIME_SECOND);
    assert_int_equal(sim_events(p->client, IKE_EVENT_ESTABLISHED), 0);
    assert_int_equal(sim_events(p->client, IKE_EVENT_FAILED), 1);
    return sim_event(p->client, IKE_EVENT_FAILED)->text;
}

/* AH in all of a tunnel's life; its SPIs are deleted and rekeyed as AH's. */
static void test_ah(void **state)
{
    (void)state;
    static const char *const children[] = {"sha256-x25519", "sha512-ecp256"};
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        struct pair p = pair_make();
        use_ah(p.client, children[i]);
        use_ah(p.gateway, children[i]);
        p.client->conf.esn = p.gateway->conf.esn = i == 0;
        pair_up(&p);
        assert_true(pair_child(p.client)->ah && pair_child(p.gateway)->ah);
        assert_false(pair_child(p.client)->udp);
        assert_int_equal(pair_child(p.client)->encr, 0);
        assert_int_equal(pair_child(p.client)->keymat_len, i == 0 ? 32 : 64);
        through_life(&p);
    }
}

/* One side wants AH, the other ESP: no child SA. */
static void test_ah_and_esp(void **state)
{
    (void)state;
    struct pair p = pair_make();
    use_ah(p.client, "sha256");
    sim_proposals(p.gateway, "aes256gcm16-prfsha256-x25519", "aes256-sha256");
    p.client->conf.encap = p.gateway->conf.encap = CONF_ENCAP_AUTO;
    assert_null(strstr(fails(&p), "AH cannot pass"));
    pair_end(&p);
}

/* A NAT on either side: refused by who sees it, and both say why. */
static void test_ah_behind_nat(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct pair p = pair_make();
        use_ah(p.client, "sha256");
        use_ah(p.gateway, "sha256");
        assert_true(ip_parse("203.0.113.5", side == 0 ? &p.client->nat_ip : &p.gateway->nat_ip));
        assert_non_null(strstr(fails(&p), "AH cannot pass the NAT"));
        assert_int_equal(sim_events(p.gateway, IKE_EVENT_ESTABLISHED), 0);
        pair_end(&p);
    }
}

static void test_prfs(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(prfs); i++) {
        run("aes256gcm16", prfs[i], "x25519", "");
        run("aes256-sha512", prfs[i], "ecp256", "");
    }
}

static void test_groups(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        run("aes256gcm16", "prfsha384", groups[i], "");
}

/* Our own preference decides, over all proposals of the peer. */
static void test_preference(void **state)
{
    (void)state;
    struct pair p = pair_make();
    struct bytes bad;
    sim_proposals(p.client, "aes128gcm16-prfsha256-x25519", "aes128gcm16-aes256gcm16");
    assert_int_equal(suite_parse("aes256gcm16-prfsha384-ecp256-x25519", PROTOCOL_IKE,
                                 &p.client->conf.ike[1], &bad),
                     0);
    p.client->conf.ike_count = 2;
    sim_proposals(p.gateway, "aes256gcm16-aes128gcm16-prfsha384-prfsha256-x25519-ecp256",
                  "aes256gcm16-aes128gcm16");
    pair_up(&p);
    struct sim_view view;
    sim_view(p.gateway, &view);
    assert_int_equal(proposal_find(&view.last.suite, TRANSFORM_ENCR)->key_bits, 256);
    assert_int_equal(proposal_find(&view.last.suite, TRANSFORM_PRF)->id, 6);
    assert_int_equal(pair_child(p.gateway)->encr_bits, 256);
    pair_end(&p);
}

/* A rekey may choose another PRF: SKEYSEED is made with the old one, and all that follows with the
 * new one (RFC 7296 2.18). */
static void test_prf_changes(void **state)
{
    (void)state;
    static const struct {
        const char *ike;
        uint16_t prf;
    } steps[] = {{"aes256gcm16-prfsha512-x25519", 7},
                 {"aes128-sha256-prfsha256-ecp256", 5},
                 {"chacha20poly1305-prfsha384-x25519", 6}};
    for (int by = 0; by < 2; by++) {
        struct pair p = pair_make();
        pair_up(&p);
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
            struct sim_view view;
            sim_proposals(p.client, steps[i].ike, "aes256gcm16-x25519");
            sim_proposals(p.gateway, steps[i].ike, "aes256gcm16-x25519");
            *p.client->running = p.client->conf; /* a reload would make a new IKE SA */
            *p.gateway->running = p.gateway->conf;
            assert_int_equal(sim_command(by ? p.gateway : p.client, IKE_REKEY_IKE, 0), 0);
            sim_run(p.sim, TIME_SECOND);
            sim_view(p.gateway, &view);
            assert_int_equal(view.count, 1);
            assert_int_equal(proposal_find(&view.last.suite, TRANSFORM_PRF)->id, steps[i].prf);
            uint32_t before = pair_child(p.client)->spi_in; /* its keys come from the new SK_d */
            assert_int_equal(sim_command(p.client, IKE_REKEY_CHILD, 0), 0);
            sim_run(p.sim, TIME_SECOND);
            assert_int_not_equal(pair_child(p.client)->spi_in, before);
            sim_check_pair(p.sim, p.client, p.gateway);
        }
        pair_end(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ciphers),    cmocka_unit_test(test_prfs),
        cmocka_unit_test(test_groups),     cmocka_unit_test(test_rare),
        cmocka_unit_test(test_null),       cmocka_unit_test(test_ah),
        cmocka_unit_test(test_ah_and_esp), cmocka_unit_test(test_ah_behind_nat),
        cmocka_unit_test(test_preference), cmocka_unit_test(test_prf_changes),
    };
    return cmocka_run_group_tests(tests, pair_group_start, pair_group_end);
}
