/* Proposals, and which algorithms they may name. */
#include "conf/internal.h"

#include <stdio.h>
#include <string.h>

/* A name of our algorithms near to the bad word, of any type. */
static const char *nearest_algorithm(const char *word)
{
    static const uint8_t types[] = {TRANSFORM_ENCR, TRANSFORM_PRF, TRANSFORM_INTEG, TRANSFORM_KE};
    const char *names[128] = {"esn", "noesn"};
    size_t count = 2;
    for (size_t t = 0; t < ARRAY_LEN(types); t++) {
        const char *name;
        for (size_t i = 0; count < ARRAY_LEN(names) && (name = suite_name(types[t], i)); i++)
            names[count++] = name;
    }
    return conf_closest(word, names, count);
}

static void read_proposal(struct parser *p, uint8_t protocol, struct proposal *to,
                          const char *value)
{
    struct bytes bad = {0};
    struct proposal proposal = {0};
    if (!suite_parse(value, protocol, &proposal, &bad)) {
        *to = proposal;
        return;
    }
    char word[64] = "", next[128];
    if (bad.len && bad.len < sizeof word)
        memcpy(word, bad.at, bad.len);
    const char *near = word[0] ? nearest_algorithm(word) : NULL;
    if (near && strcmp(near, word)) {
        snprintf(next, sizeof next, "did you mean \"%s\"?", near);
        parser_fault(p, word, next, "unknown algorithm");
        return;
    }
    parser_fault(p, word[0] ? word : value,
                 protocol == PROTOCOL_IKE   ? "write for example aes256gcm16-prfsha384-x25519"
                 : protocol == PROTOCOL_ESP ? "write for example aes256gcm16-x25519-esn"
                                            : "write for example sha256-x25519-esn",
                 near ? "this does not fit into the proposal" : "this is no proposal");
}

void item_ike(struct parser *p, const struct option *o, void *to, char *value)
{
    (void)o;
    read_proposal(p, PROTOCOL_IKE, to, value);
}

void item_esp(struct parser *p, const struct option *o, void *to, char *value)
{
    (void)o;
    read_proposal(p, PROTOCOL_ESP, to, value);
}

void item_ah(struct parser *p, const struct option *o, void *to, char *value)
{
    (void)o;
    read_proposal(p, PROTOCOL_AH, to, value);
}

/* ---- legacy algorithms ---- */

void item_legacy(struct parser *p, const struct option *o, void *to, char *value)
{
    struct transform t;
    char next[128] = "";
    (void)o;
    if (!suite_find(value, &t)) {
        const char *near = nearest_algorithm(value);
        if (near)
            snprintf(next, sizeof next, "did you mean \"%s\"?", near);
        parser_fault(p, value, next, "unknown algorithm");
    } else if (!suite_legacy(&t)) {
        parser_fault(p, value, "leave it out here", "this is no legacy algorithm");
    } else {
        *(struct transform *)to = t;
    }
}

/* The PRF of the name of a MAC: prfsha1 and sha1. */
static bool go_together(const struct transform *prf, const struct transform *mac)
{
    char prf_name[32], mac_name[32];
    suite_print(prf, prf_name);
    suite_print(mac, mac_name);
    return prf->type == TRANSFORM_PRF && mac->type == TRANSFORM_INTEG &&
           !strcmp(prf_name + strlen("prf"), mac_name);
}

static bool is_named(const struct conf *conf, const struct transform *t)
{
    for (size_t i = 0; i < conf->legacy_count; i++) {
        if (transform_equal(&conf->legacy[i], t) || go_together(t, &conf->legacy[i]))
            return true;
    }
    return false;
}

/* What is said of the MAC need not be said of its PRF again. */
static bool is_said_already(const struct proposal *p, const struct transform *t)
{
    for (size_t i = 0; i < p->count; i++) {
        if (go_together(t, &p->transforms[i]))
            return true;
    }
    return false;
}

/* IKE_SA_INIT goes in one datagram, as nothing fragments it (RFC 7383 section 2.3): what does not
 * fit between headers, nonce and proposals into the 1500 octets of nearly every path would meet
 * firewalls that drop IP fragments. */
enum { FIRST_VALUE_MAX = 1200 };

static bool check_first_exchange(struct parser *p, const struct proposal *in,
                                 const struct transform *t)
{
    char name[32];
    const struct kex_alg *alg = suite_kex(t->id);
    if (in->protocol != PROTOCOL_IKE || t->type != TRANSFORM_KE || !alg ||
        alg->public_len <= FIRST_VALUE_MAX)
        return true;
    parser_fault(p, suite_print(t, name), "add it to another one, as in x25519-ke1_mlkem1024",
                 "its %u octets do not fit into an IKE SA's first message", alg->public_len);
    return false;
}

/* `legacy` may name what no proposal has: nothing needs to be said then. */
static void check_transform(struct parser *p, const struct proposal *in, const struct transform *t)
{
    char name[32], next[128];
    if (!check_first_exchange(p, in, t))
        return;
    suite_print(t, name);
    const char *against = suite_legacy(t);
    if (against && !is_named(p->conf, t)) {
        if (is_said_already(in, t))
            return;
        snprintf(next, sizeof next, "write legacy = %s into [crypto] if the peer has no better",
                 name);
        parser_fault(p, name, next, "a legacy algorithm: %s", against);
        return;
    }
    int err = suite_ready(t);
    if (err == ERR_UNSUPPORTED)
        parser_fault(p, name,
                     strncmp(name, "blowfish", 8)
                         ? "take it out of the proposal"
                         : "install OpenSSL's legacy provider (legacy.so), or take it out",
                     "the libcrypto of this machine does not have it");
    else if (err)
        parser_fault(p, name, "take it out of the proposal",
                     "it gives wrong answers on this machine");
}

static void check_list(struct parser *p, const char *key, const struct proposal *list, size_t count)
{
    p->line = option_line(p->conf, "crypto", key);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < list[i].count; j++)
            check_transform(p, &list[i], &list[i].transforms[j]);
}

/* Does none of them keep anybody from reading what is inside? */
static bool all_open(const struct proposal *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < list[i].count; j++)
            if (list[i].transforms[j].type == TRANSFORM_ENCR &&
                !encr_is_null(list[i].transforms[j].id))
                return false;
    return true;
}

void proposals_check(struct parser *p)
{
    static const char *const hiding[] = {"tfc", "dummies"};
    if (p->conf->ah_count && option_line(p->conf, "crypto", "esp")) {
        p->line = option_line(p->conf, "crypto", "ah");
        parser_fault(p, "ah", "keep one of them", "both esp and ah are given");
    }
    const struct conf_tunnel *t = &p->conf->tunnel;
    bool open = all_open(t->esp, t->esp_count);
    for (size_t i = 0; open && i < ARRAY_LEN(hiding); i++) {
        p->line = option_line(p->conf, "crypto", hiding[i]);
        if (i == 0 ? t->tfc : t->dummies)
            parser_fault(p, hiding[i], "use esp with a cipher, or take it out",
                         "what is not encrypted cannot be hidden");
    }
    check_list(p, "ike", t->ike, t->ike_count);
    check_list(p, p->conf->ah_count ? "ah" : "esp", t->esp, t->esp_count);
    p->line = 0;
}

static size_t add_weak(const struct proposal *list, size_t count,
                       struct transform out[static CONF_LEGACY], size_t found)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < list[i].count; j++) {
            const struct transform *t = &list[i].transforms[j];
            size_t k = 0;
            if (!suite_legacy(t) && !(t->type == TRANSFORM_ENCR && encr_is_null(t->id)))
                continue;
            while (k < found && !transform_equal(&out[k], t))
                k++;
            if (k == found && found < CONF_LEGACY)
                out[found++] = *t;
        }
    return found;
}

size_t conf_weak(const struct conf *conf, struct transform out[static CONF_LEGACY])
{
    const struct conf_tunnel *t = &conf->tunnel;
    size_t found = add_weak(t->esp, t->esp_count, out, add_weak(t->ike, t->ike_count, out, 0));
    if (conf->ah_count && found < CONF_LEGACY)
        out[found++] = (struct transform){.type = TRANSFORM_ENCR};
    return found;
}

const char *conf_weak_print(const struct transform *t, char text[static 256])
{
    char name[32];
    const char *against = suite_legacy(t);
    suite_print(t, name);
    if (against)
        snprintf(text, 256, "the proposals allow %s: %s", name, against);
    else
        snprintf(text, 256,
                 "%s: traffic is protected against change only, everybody on the way "
                 "can read it",
                 t->id == ENCR_NULL        ? "the proposals allow null"
                 : t->id == ENCR_NULL_GMAC ? "the proposals allow GMAC, which encrypts nothing"
                                           : "child SAs use AH");
    return text;
}
