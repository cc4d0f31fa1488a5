/* Named policies: what may be negotiated at all, as data. One is a choice of defaults and a bound
 * on what the file may name; the engine then offers and accepts nothing else. */
#include "conf/internal.h"

#include <stdio.h>
#include <string.h>

#define SCHEME(name) (1U << SIGN_##name)
#define PSS          (SCHEME(RSA_PSS_SHA256) | SCHEME(RSA_PSS_SHA384) | SCHEME(RSA_PSS_SHA512))
#define PKCS1        (SCHEME(RSA_PKCS1_SHA256) | SCHEME(RSA_PKCS1_SHA384) | SCHEME(RSA_PKCS1_SHA512))
#define ECDSA                                                                                      \
    (SCHEME(ECDSA_SHA256) | SCHEME(ECDSA_SHA384) | SCHEME(ECDSA_SHA512) | SCHEME(ECDSA_P256_RAW) | \
     SCHEME(ECDSA_P384_RAW) | SCHEME(ECDSA_P521_RAW))
#define EC_KEYS  (1U << KEY_ECDSA_P256 | 1U << KEY_ECDSA_P384 | 1U << KEY_ECDSA_P521)
#define HOURS(n) ((n)*3600U)

enum { MLKEM_1024 = 37, PROPOSALS = 3 };

static const struct policy {
    const char *name;
    const char *ike[PROPOSALS], *esp[PROPOSALS];
    const char *allows;            /* names of transforms, in order of preference; NULL = all */
    uint16_t additional;           /* an additional key exchange that each IKE proposal must have */
    bool pq_added;                 /* ML-KEM beside another exchange only */
    bool pfs;                      /* a key exchange at each rekey */
    uint32_t ike_most, child_most; /* lifetimes in seconds, 0 = as one likes */
    struct sign_limits signatures;
} policies[] = {
    [CONF_POLICY_MODERN] = {.name = "modern"},
    /* NIST SP 800-77r1 with SP 800-56A, FIPS 186-5 and FIPS 203: 112 bits and more, an IKE SA for a
     * day and a child SA for eight hours at most. */
    [CONF_POLICY_NIST] =
        {.name = "nist",
         .ike = {"aes256gcm16-aes128gcm16-prfsha384-prfsha256-prfsha512-ecp384-ecp256-ke1_mlkem768-"
                 "ke1_mlkem1024",
                 "aes256gcm16-aes128gcm16-prfsha384-prfsha256-prfsha512-ecp384-ecp256-ecp521-"
                 "modp3072-modp4096-modp2048",
                 "aes256-aes128-sha256-sha384-sha512-prfsha384-prfsha256-prfsha512-ecp384-ecp256-"
                 "ecp521-modp3072-modp4096-modp2048"},
         .esp = {"aes256gcm16-aes128gcm16-esn-noesn",
                 "aes256-aes128-sha256-sha384-sha512-esn-noesn"},
         .allows = "aes256gcm16 aes192gcm16 aes128gcm16 aes256 aes192 aes128 prfsha256 prfsha384 "
                   "prfsha512 sha256 sha384 sha512 ecp256 ecp384 ecp521 modp2048 modp3072 modp4096 "
                   "modp6144 modp8192 x25519 x448 mlkem512 mlkem768 mlkem1024",
         .pfs = true,
         .ike_most = HOURS(24),
         .child_most = HOURS(8),
         .signatures = {.rsa_bits = 2048, .schemes = PSS | PKCS1 | ECDSA | SCHEME(ED25519)}},
    /* draft-guthrie-cnsa2-ipsec-profile: ECP-384 or MODP of 3072 bits and more first, ML-KEM-1024
     * added to it. Signatures are to be ML-DSA-87; until then those of CNSA 1.0. */
    [CONF_POLICY_CNSA2] =
        {.name = "cnsa2",
         .ike = {"aes256gcm16-prfsha384-prfsha512-ecp384-modp3072-modp4096-ke1_mlkem1024"},
         .esp = {"aes256gcm16-esn-noesn"},
         .allows = "aes256gcm16 prfsha384 prfsha512 ecp384 modp3072 modp4096 modp6144 modp8192 "
                   "mlkem1024",
         .additional = MLKEM_1024,
         .pq_added = true,
         .pfs = true,
         .signatures = {.rsa_bits = 3072,
                        .kinds = 1U << KEY_RSA | 1U << KEY_ECDSA_P384,
                        .schemes = SCHEME(ECDSA_SHA384) | SCHEME(ECDSA_P384_RAW) |
                                   SCHEME(RSA_PSS_SHA384) | SCHEME(RSA_PSS_SHA512) |
                                   SCHEME(RSA_PKCS1_SHA384) | SCHEME(RSA_PKCS1_SHA512)}},
    /* BSI TR-02102-3: 120 bits and more, an IKE SA for a day and a child SA for four hours at most,
     * post-quantum methods only beside classical ones, RSA from 3000 bits and by PSS. */
    [CONF_POLICY_BSI] =
        {.name = "bsi",
         .ike = {"aes256gcm16-aes128gcm16-prfsha384-prfsha256-prfsha512-ecp384-ecp256-ke1_mlkem768-"
                 "ke1_mlkem1024",
                 "aes256gcm16-aes128gcm16-prfsha384-prfsha256-prfsha512-ecp384-ecp256-ecp521-"
                 "ecp384bp-ecp256bp-ecp512bp-modp3072-modp4096",
                 "aes256-aes128-sha256-sha384-sha512-prfsha384-prfsha256-prfsha512-ecp384-ecp256-"
                 "ecp521-ecp384bp-ecp256bp-ecp512bp-modp3072-modp4096"},
         .esp = {"aes256gcm16-aes128gcm16-esn-noesn",
                 "aes256-aes128-sha256-sha384-sha512-esn-noesn"},
         .allows = "aes256gcm16 aes192gcm16 aes128gcm16 aes256 aes192 aes128 prfsha256 prfsha384 "
                   "prfsha512 sha256 sha384 sha512 ecp256 ecp384 ecp521 ecp256bp ecp384bp ecp512bp "
                   "modp3072 modp4096 mlkem768 mlkem1024",
         .pq_added = true,
         .pfs = true,
         .ike_most = HOURS(24),
         .child_most = HOURS(4),
         .signatures = {.rsa_bits = 3000,
                        .kinds = 1U << KEY_RSA | EC_KEYS,
                        .schemes = PSS | ECDSA}},
};

const char *conf_policy_name(enum conf_policy policy)
{
    return (size_t)policy < ARRAY_LEN(policies) ? policies[policy].name : "unknown";
}

/* ---- defaults */

static uint8_t parse_all(const char *const from[static PROPOSALS], uint8_t protocol,
                         struct proposal *out)
{
    uint8_t count = 0;
    struct bytes bad;
    for (size_t i = 0; i < PROPOSALS && from[i]; i++) {
        if (suite_parse(from[i], protocol, &out[count], &bad) < 0)
            break;
        out[count].number = (uint8_t)(count + 1);
        count++;
    }
    return count;
}

/* A default that is too long becomes what is allowed; 0 is for ever. */
static void shorten(const struct conf *conf, const char *key, uint32_t *seconds, uint32_t most)
{
    if (most && (*seconds == 0 || *seconds > most) && !option_line(conf, "life", key))
        *seconds = most;
}

void policy_defaults(struct conf *conf)
{
    struct conf_tunnel *t = &conf->tunnel;
    const struct policy *policy = &policies[t->policy];
    t->signatures = policy->signatures;
    if (!policy->allows)
        return;
    if (!t->ike_count)
        t->ike_count = parse_all(policy->ike, PROTOCOL_IKE, t->ike);
    if (!t->esp_count && !conf->ah_count)
        t->esp_count = parse_all(policy->esp, PROTOCOL_ESP, t->esp);
    shorten(conf, "ike", &t->ike_lifetime, policy->ike_most);
    shorten(conf, "child", &t->child_lifetime, policy->child_most);
}

/* ---- what the file may say */

/* The same algorithm, whatever exchange it is for. */
static bool is_allowed(const struct policy *policy, const struct transform *t)
{
    struct transform bare = *t, allowed;
    char word[32];
    const char *at = policy->allows;
    int used;
    if (t->type == TRANSFORM_SN || t->id == 0)
        return t->type != TRANSFORM_ENCR;
    if (transform_is_addke(t->type))
        bare.type = TRANSFORM_KE;
    for (; sscanf(at, "%31s%n", word, &used) == 1; at += used)
        if (suite_find(word, &allowed) && transform_equal(&allowed, &bare))
            return true;
    return false;
}

/* The names of that kind of transform that are allowed, for the sentence that refuses another. */
static void list_allowed(const struct policy *policy, uint8_t type, char *out, size_t size)
{
    struct transform t;
    char word[32];
    const char *at = policy->allows;
    size_t len = 0;
    int used;
    snprintf(out, size, "take it out");
    if (transform_is_addke(type))
        type = TRANSFORM_KE;
    for (; sscanf(at, "%31s%n", word, &used) == 1 && len < size; at += used)
        if (suite_find(word, &t) && t.type == type)
            len +=
                (size_t)snprintf(out + len, size - len, "%s%s", len ? ", " : "allowed are ", word);
}

static void check_transforms(struct parser *p, const struct policy *policy,
                             const struct proposal *in)
{
    char name[32], next[200];
    for (size_t i = 0; i < in->count; i++) {
        const struct transform *t = &in->transforms[i];
        bool alone = policy->pq_added && t->type == TRANSFORM_KE && suite_is_pq(t->id);
        list_allowed(policy, t->type, next, sizeof(next));
        if (!is_allowed(policy, t))
            parser_fault(p, suite_print(t, name), next, "the policy %s does not allow this",
                         policy->name);
        else if (alone)
            parser_fault(
                p, suite_print(t, name), "add it to another exchange, as in ecp384-ke1_...",
                "the policy %s allows it beside a classical key exchange only", policy->name);
    }
}

/* One that none of its alternatives lets a peer leave out. */
static bool has_additional(const struct proposal *in, uint16_t id)
{
    for (uint8_t type = TRANSFORM_ADDKE1; type <= TRANSFORM_ADDKE7; type++) {
        size_t others = 0, found = 0;
        for (size_t i = 0; i < in->count; i++) {
            found += in->transforms[i].type == type && in->transforms[i].id == id;
            others += in->transforms[i].type == type && in->transforms[i].id != id;
        }
        if (found && !others)
            return true;
    }
    return false;
}

static void check_proposals(struct parser *p, const struct policy *policy, const char *key,
                            const struct proposal *list, size_t count)
{
    bool ike = !strcmp(key, "ike");
    p->line = option_line(p->conf, "crypto", key);
    for (size_t i = 0; i < count; i++) {
        check_transforms(p, policy, &list[i]);
        if (ike && policy->additional && !has_additional(&list[i], policy->additional)) {
            struct transform t = {.type = TRANSFORM_KE, .id = policy->additional};
            char name[32];
            parser_fault(p, key, "write for example aes256gcm16-prfsha384-ecp384-ke1_mlkem1024",
                         "the policy %s wants %s as an additional key exchange in each proposal",
                         policy->name, suite_print(&t, name));
        }
    }
}

static void check_lifetime(struct parser *p, const struct policy *policy, const char *key,
                           uint32_t seconds, uint32_t most)
{
    char next[64];
    p->line = option_line(p->conf, "life", key);
    if (!p->line || !most || (seconds && seconds <= most))
        return;
    snprintf(next, sizeof(next), "write %s = %uh or less", key, most / 3600);
    parser_fault(p, key, next, "the policy %s does not let keys live so long", policy->name);
}

void policy_check(struct parser *p)
{
    const struct conf_tunnel *t = &p->conf->tunnel;
    const struct policy *policy = &policies[t->policy];
    if (!policy->allows)
        return;
    if (p->conf->ah_count) {
        p->line = option_line(p->conf, "crypto", "ah");
        parser_fault(p, "ah", "write esp", "the policy %s wants traffic to be encrypted",
                     policy->name);
    } else {
        check_proposals(p, policy, "esp", t->esp, t->esp_count);
    }
    check_proposals(p, policy, "ike", t->ike, t->ike_count);
    check_lifetime(p, policy, "ike", t->ike_lifetime, policy->ike_most);
    check_lifetime(p, policy, "child", t->child_lifetime, policy->child_most);
    p->line = option_line(p->conf, "crypto", "pfs");
    if (policy->pfs && !t->pfs)
        parser_fault(p, "pfs", "take this line out",
                     "the policy %s wants a key exchange at each rekey", policy->name);
    p->line = 0;
}
