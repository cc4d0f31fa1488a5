#include "crypto/crypto.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* IANA numbers as in RFC 7296 section 3.3.2 and the registry; sizes by RFC 4106, 7634, 3602, 4868,
 * 8031, 5903 and 3526. Order is the order of help and completion. */
static const struct encr_alg encrs[] = {
    {.id = 20,
     .key_bits = 256,
     .attribute = true,
     .aead = true,
     .name = "aes256gcm16",
     .key_len = 32,
     .salt_len = 4,
     .iv_len = 8,
     .icv_len = 16,
     .block = 1},
    {.id = 20,
     .key_bits = 128,
     .attribute = true,
     .aead = true,
     .name = "aes128gcm16",
     .key_len = 16,
     .salt_len = 4,
     .iv_len = 8,
     .icv_len = 16,
     .block = 1},
    {.id = 28,
     .aead = true,
     .name = "chacha20poly1305",
     .key_len = 32,
     .salt_len = 4,
     .iv_len = 8,
     .icv_len = 16,
     .block = 1},
    {.id = 12,
     .key_bits = 256,
     .attribute = true,
     .name = "aes256",
     .key_len = 32,
     .iv_len = 16,
     .block = 16},
    {.id = 12,
     .key_bits = 128,
     .attribute = true,
     .name = "aes128",
     .key_len = 16,
     .iv_len = 16,
     .block = 16},
};
static const struct prf_alg prfs[] = {
    {.id = 5, .name = "prfsha256", .len = 32},
    {.id = 6, .name = "prfsha384", .len = 48},
    {.id = 7, .name = "prfsha512", .len = 64},
};
static const struct integ_alg integs[] = {
    {.id = 12, .name = "sha256", .key_len = 32, .icv_len = 16},
    {.id = 13, .name = "sha384", .key_len = 48, .icv_len = 24},
    {.id = 14, .name = "sha512", .key_len = 64, .icv_len = 32},
};
static const struct kex_alg kexs[] = {
    {.id = 31, .name = "x25519", .public_len = 32, .secret_len = 32},
    {.id = 32, .name = "x448", .public_len = 56, .secret_len = 56},
    {.id = 19, .name = "ecp256", .public_len = 64, .secret_len = 32},
    {.id = 20, .name = "ecp384", .public_len = 96, .secret_len = 48},
    {.id = 21, .name = "ecp521", .public_len = 132, .secret_len = 66},
    {.id = 14, .name = "modp2048", .public_len = 256, .secret_len = 256},
    {.id = 15, .name = "modp3072", .public_len = 384, .secret_len = 384},
    {.id = 16, .name = "modp4096", .public_len = 512, .secret_len = 512},
};

/* Every word a configuration may use, and, for display only, the common ones that peers offer and
 * this program does not have: a refusal that names "3des" is understood, "encr-3" is not. */
enum word_use { WORD_NAME, WORD_ALIAS, WORD_DISPLAY };
struct word {
    struct transform transform;
    const char *name;
    enum word_use use;
};
#define WORD(t, i, bits, text, how)                                                                \
    {                                                                                              \
        {.type = (t), .id = (i), .key_bits = (bits)}, text, how                                    \
    }
static const struct word words[] = {
    WORD(TRANSFORM_ENCR, 20, 256, "aes256gcm16", WORD_NAME),
    WORD(TRANSFORM_ENCR, 20, 128, "aes128gcm16", WORD_NAME),
    WORD(TRANSFORM_ENCR, 28, 0, "chacha20poly1305", WORD_NAME),
    WORD(TRANSFORM_ENCR, 12, 256, "aes256", WORD_NAME),
    WORD(TRANSFORM_ENCR, 12, 128, "aes128", WORD_NAME),
    WORD(TRANSFORM_ENCR, 12, 256, "aes256cbc", WORD_ALIAS),
    WORD(TRANSFORM_ENCR, 12, 128, "aes128cbc", WORD_ALIAS),
    WORD(TRANSFORM_ENCR, 20, 256, "aes256gcm", WORD_ALIAS),
    WORD(TRANSFORM_ENCR, 20, 128, "aes128gcm", WORD_ALIAS),
    WORD(TRANSFORM_ENCR, 3, 0, "3des", WORD_DISPLAY),
    WORD(TRANSFORM_ENCR, 11, 0, "null", WORD_DISPLAY),
    WORD(TRANSFORM_ENCR, 12, 192, "aes192", WORD_DISPLAY),
    WORD(TRANSFORM_ENCR, 20, 192, "aes192gcm16", WORD_DISPLAY),
    WORD(TRANSFORM_PRF, 5, 0, "prfsha256", WORD_NAME),
    WORD(TRANSFORM_PRF, 6, 0, "prfsha384", WORD_NAME),
    WORD(TRANSFORM_PRF, 7, 0, "prfsha512", WORD_NAME),
    WORD(TRANSFORM_PRF, 1, 0, "prfmd5", WORD_DISPLAY),
    WORD(TRANSFORM_PRF, 2, 0, "prfsha1", WORD_DISPLAY),
    WORD(TRANSFORM_PRF, 4, 0, "prfaesxcbc", WORD_DISPLAY),
    WORD(TRANSFORM_PRF, 8, 0, "prfaescmac", WORD_DISPLAY),
    WORD(TRANSFORM_INTEG, 12, 0, "sha256", WORD_NAME),
    WORD(TRANSFORM_INTEG, 13, 0, "sha384", WORD_NAME),
    WORD(TRANSFORM_INTEG, 14, 0, "sha512", WORD_NAME),
    WORD(TRANSFORM_INTEG, 0, 0, "none", WORD_DISPLAY),
    WORD(TRANSFORM_INTEG, 1, 0, "md5", WORD_DISPLAY),
    WORD(TRANSFORM_INTEG, 2, 0, "sha1", WORD_DISPLAY),
    WORD(TRANSFORM_INTEG, 5, 0, "aesxcbc", WORD_DISPLAY),
    WORD(TRANSFORM_INTEG, 8, 0, "aescmac", WORD_DISPLAY),
    WORD(TRANSFORM_KE, 31, 0, "x25519", WORD_NAME),
    WORD(TRANSFORM_KE, 32, 0, "x448", WORD_NAME),
    WORD(TRANSFORM_KE, 19, 0, "ecp256", WORD_NAME),
    WORD(TRANSFORM_KE, 20, 0, "ecp384", WORD_NAME),
    WORD(TRANSFORM_KE, 21, 0, "ecp521", WORD_NAME),
    WORD(TRANSFORM_KE, 14, 0, "modp2048", WORD_NAME),
    WORD(TRANSFORM_KE, 15, 0, "modp3072", WORD_NAME),
    WORD(TRANSFORM_KE, 16, 0, "modp4096", WORD_NAME),
    WORD(TRANSFORM_KE, 31, 0, "curve25519", WORD_ALIAS),
    WORD(TRANSFORM_KE, 32, 0, "curve448", WORD_ALIAS),
    WORD(TRANSFORM_KE, 0, 0, "none", WORD_DISPLAY),
    WORD(TRANSFORM_KE, 1, 0, "modp768", WORD_DISPLAY),
    WORD(TRANSFORM_KE, 2, 0, "modp1024", WORD_DISPLAY),
    WORD(TRANSFORM_KE, 5, 0, "modp1536", WORD_DISPLAY),
    WORD(TRANSFORM_KE, 17, 0, "modp6144", WORD_DISPLAY),
    WORD(TRANSFORM_KE, 18, 0, "modp8192", WORD_DISPLAY),
    WORD(TRANSFORM_KE, 22, 0, "modp1024s160", WORD_DISPLAY),
    WORD(TRANSFORM_KE, 23, 0, "modp2048s224", WORD_DISPLAY),
    WORD(TRANSFORM_KE, 24, 0, "modp2048s256", WORD_DISPLAY),
    WORD(TRANSFORM_SN, 1, 0, "esn", WORD_NAME),
    WORD(TRANSFORM_SN, 0, 0, "noesn", WORD_NAME),
};

const struct encr_alg *suite_encr(uint16_t id, uint16_t key_bits)
{
    for (size_t i = 0; i < ARRAY_LEN(encrs); i++)
        if (encrs[i].id == id && encrs[i].key_bits == key_bits)
            return &encrs[i];
    return NULL;
}

const struct prf_alg *suite_prf(uint16_t id)
{
    for (size_t i = 0; i < ARRAY_LEN(prfs); i++)
        if (prfs[i].id == id)
            return &prfs[i];
    return NULL;
}

const struct integ_alg *suite_integ(uint16_t id)
{
    for (size_t i = 0; i < ARRAY_LEN(integs); i++)
        if (integs[i].id == id)
            return &integs[i];
    return NULL;
}

const struct kex_alg *suite_kex(uint16_t id)
{
    for (size_t i = 0; i < ARRAY_LEN(kexs); i++)
        if (kexs[i].id == id)
            return &kexs[i];
    return NULL;
}

size_t suite_encr_keymat(const struct encr_alg *e)
{
    return (size_t)e->key_len + e->salt_len;
}

const char *suite_name(uint8_t transform_type, size_t index)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (words[i].use == WORD_NAME && words[i].transform.type == transform_type && index-- == 0)
            return words[i].name;
    return NULL;
}

/* ---- printing ---- */

const char *suite_print(const struct transform *t, char text[static 32])
{
    static const char *const kinds[] = {
        [TRANSFORM_ENCR] = "encr", [TRANSFORM_PRF] = "prf", [TRANSFORM_INTEG] = "integ",
        [TRANSFORM_KE] = "ke",     [TRANSFORM_SN] = "sn",
    };
    char kind[16], bits[8] = "";

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (words[i].use != WORD_ALIAS && transform_equal(&words[i].transform, t)) {
            snprintf(text, 32, "%s", words[i].name);
            return text;
        }
    if (t->type < ARRAY_LEN(kinds) && kinds[t->type] != NULL)
        snprintf(kind, sizeof(kind), "%s", kinds[t->type]);
    else
        snprintf(kind, sizeof(kind), "type%u", t->type);
    if (t->key_bits != 0)
        snprintf(bits, sizeof(bits), "/%u", t->key_bits);
    snprintf(text, 32, "%s-%u%s", kind, t->id, bits);
    return text;
}

const char *suite_print_proposal(const struct proposal *p, char text[static 512])
{
    char word[32];
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < p->count && i < PROPOSAL_TRANSFORMS; i++) {
        suite_print(&p->transforms[i], word);
        if (used + strlen(word) + 8 > 512) {
            snprintf(text + used, 512 - used, "-...");
            break;
        }
        used += (size_t)snprintf(text + used, 512 - used, "%s%s", i == 0 ? "" : "-", word);
    }
    return text;
}

/* ---- parsing ---- */

static const struct transform *find_word(struct bytes piece)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (words[i].use != WORD_DISPLAY && strlen(words[i].name) == piece.len &&
            strncasecmp(words[i].name, (const char *)piece.at, piece.len) == 0)
            return &words[i].transform;
    return NULL;
}

/* What a proposal holds so far. */
struct gathered {
    bool aead, classic, integ, prf, ke, sn;
};

/* May this word stand here, after what was read before? */
static bool fits(const struct transform *t, uint8_t protocol, struct gathered *seen)
{
    switch (t->type) {
    case TRANSFORM_ENCR:
        if (suite_encr(t->id, t->key_bits)->aead)
            seen->aead = true;
        else
            seen->classic = true;
        break;
    case TRANSFORM_INTEG:
        seen->integ = true;
        break;
    case TRANSFORM_PRF:
        seen->prf = true;
        return protocol == PROTOCOL_IKE;
    case TRANSFORM_KE:
        seen->ke = true;
        return true;
    default:
        seen->sn = true;
        return protocol == PROTOCOL_ESP;
    }
    return !(seen->aead && (seen->classic || seen->integ));
}

static bool derive_prf(struct proposal *p)
{
    uint8_t given = p->count;

    for (uint8_t i = 0; i < given; i++)
        if (p->transforms[i].type == TRANSFORM_INTEG) /* 12, 13, 14 go with PRF 5, 6, 7 */
            if (!proposal_add(p, TRANSFORM_PRF, (uint16_t)(p->transforms[i].id - 7), 0))
                return false;
    return true;
}

/* Adds what may be left out and refuses what must not. */
static int complete(struct proposal *p, const struct gathered *seen)
{
    if (!seen->aead && !(seen->classic && seen->integ))
        return ERR_SYNTAX;
    if (p->protocol == PROTOCOL_IKE) {
        if (!seen->ke || (seen->aead && !seen->prf))
            return ERR_SYNTAX;
        return seen->prf || derive_prf(p) ? 0 : ERR_LIMIT;
    }
    if (!seen->sn && (!proposal_add(p, TRANSFORM_SN, 1, 0) || !proposal_add(p, TRANSFORM_SN, 0, 0)))
        return ERR_LIMIT;
    return 0;
}

/* Sorted by type, order of preference within a type kept: what goes to the wire and to status. */
static void group_by_type(struct proposal *p)
{
    struct proposal sorted = *p;

    sorted.count = 0;
    for (uint8_t type = TRANSFORM_ENCR; type <= TRANSFORM_SN; type++)
        for (uint8_t i = 0; i < p->count; i++)
            if (p->transforms[i].type == type)
                sorted.transforms[sorted.count++] = p->transforms[i];
    *p = sorted;
}

int suite_parse(const char *text, uint8_t protocol, struct proposal *out, struct bytes *bad_word)
{
    struct proposal p = {.number = 1, .protocol = protocol};
    struct gathered seen = {0};
    const char *at = text;
    int rc;

    *bad_word = (struct bytes){(const uint8_t *)text, strlen(text)};
    if (protocol != PROTOCOL_IKE && protocol != PROTOCOL_ESP)
        return ERR_UNSUPPORTED;
    for (;;) {
        struct bytes piece = {(const uint8_t *)at, strcspn(at, "-")};
        const struct transform *t = find_word(piece);

        if (t == NULL || !fits(t, protocol, &seen)) {
            *bad_word = piece;
            return ERR_SYNTAX;
        }
        if (!proposal_add(&p, t->type, t->id, t->key_bits)) {
            *bad_word = piece;
            return ERR_LIMIT;
        }
        at += piece.len;
        if (*at == '\0')
            break;
        at++;
    }
    rc = complete(&p, &seen);
    if (rc < 0)
        return rc;
    group_by_type(&p);
    *out = p;
    return 0;
}

size_t suite_defaults(uint8_t protocol, struct proposal *out, size_t max)
{
#define PRFS_AND_GROUPS                                                                            \
    "-prfsha384-prfsha256-prfsha512"                                                               \
    "-x25519-ecp256-ecp384-x448-ecp521-modp3072-modp4096-modp2048"
    static const char *const ike[] = {
        "aes256gcm16-aes128gcm16-chacha20poly1305" PRFS_AND_GROUPS,
        "aes256-aes128-sha256-sha384-sha512" PRFS_AND_GROUPS,
    };
    static const char *const esp[] = {
        "aes256gcm16-aes128gcm16-chacha20poly1305",
        "aes256-aes128-sha256-sha384-sha512",
    };
    const char *const *from = protocol == PROTOCOL_IKE ? ike : esp;
    struct bytes bad;
    size_t n = 0;

    for (; n < max && n < ARRAY_LEN(ike); n++) {
        if (suite_parse(from[n], protocol, &out[n], &bad) < 0)
            break;
        out[n].number = (uint8_t)(n + 1);
    }
    return n;
}
