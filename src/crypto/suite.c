#include "crypto/crypto.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* IANA numbers as in RFC 7296 section 3.3.2 and the registry; sizes by RFC 4106, 4309, 7634, 3602,
 * 3686, 2451, 4312, 5529, 4543, 4868, 2404, 3566, 4494, 8031, 5903, 6954, 3526 and 2409. Order is
 * the order of help and completion. */
#define AEAD(i, bits, text, key, salt, icv)                                                        \
    {                                                                                              \
        .id = (i), .key_bits = (bits), .attribute = (bits) != 0, .aead = true, .name = (text),     \
        .key_len = (key), .salt_len = (salt), .iv_len = 8, .icv_len = (icv), .block = 1            \
    }
#define AEADS(i, text, salt, icv)                                                                  \
    AEAD(i, 128, "aes128" text, 16, salt, icv), AEAD(i, 192, "aes192" text, 24, salt, icv),        \
        AEAD(i, 256, "aes256" text, 32, salt, icv)
#define CBC(i, bits, text, key, unit)                                                              \
    {                                                                                              \
        .id = (i), .key_bits = (bits), .attribute = (bits) != 0, .name = (text), .key_len = (key), \
        .iv_len = (unit), .block = (unit)                                                          \
    }
#define CTR(i, bits, text, key)                                                                    \
    {                                                                                              \
        .id = (i), .key_bits = (bits), .attribute = true, .name = (text), .key_len = (key),        \
        .salt_len = 4, .iv_len = 8, .block = 1                                                     \
    }
static const struct encr_alg encrs[] = {
    AEAD(20, 256, "aes256gcm16", 32, 4, 16),
    AEAD(20, 128, "aes128gcm16", 16, 4, 16),
    AEAD(28, 0, "chacha20poly1305", 32, 4, 16),
    CBC(12, 256, "aes256", 32, 16),
    CBC(12, 128, "aes128", 16, 16),
    AEAD(20, 192, "aes192gcm16", 24, 4, 16),
    CBC(12, 192, "aes192", 24, 16),
    AEADS(19, "gcm12", 4, 12),
    AEADS(18, "gcm8", 4, 8),
    AEADS(16, "ccm16", 3, 16),
    AEADS(15, "ccm12", 3, 12),
    AEADS(14, "ccm8", 3, 8),
    CTR(13, 128, "aes128ctr", 16),
    CTR(13, 192, "aes192ctr", 24),
    CTR(13, 256, "aes256ctr", 32),
    CBC(23, 128, "camellia128", 16, 16),
    CBC(23, 192, "camellia192", 24, 16),
    CBC(23, 256, "camellia256", 32, 16),
    CTR(24, 128, "camellia128ctr", 16),
    CTR(24, 192, "camellia192ctr", 24),
    CTR(24, 256, "camellia256ctr", 32),
    CBC(3, 0, "3des", 24, 8),
    CBC(7, 128, "blowfish128", 16, 8),
    CBC(7, 192, "blowfish192", 24, 8),
    CBC(7, 256, "blowfish256", 32, 8),
    {.id = ENCR_NULL, .name = "null", .block = 1},
    AEAD(ENCR_NULL_GMAC, 128, "nullaes128gmac", 16, 4, 16),
    AEAD(ENCR_NULL_GMAC, 192, "nullaes192gmac", 24, 4, 16),
    AEAD(ENCR_NULL_GMAC, 256, "nullaes256gmac", 32, 4, 16),
};
static const struct prf_alg prfs[] = {
    {.id = 5, .name = "prfsha256", .len = 32},  {.id = 6, .name = "prfsha384", .len = 48},
    {.id = 7, .name = "prfsha512", .len = 64},  {.id = 2, .name = "prfsha1", .len = 20},
    {.id = 4, .name = "prfaesxcbc", .len = 16}, {.id = 8, .name = "prfaescmac", .len = 16},
};
static const struct integ_alg integs[] = {
    {.id = 12, .name = "sha256", .key_len = 32, .icv_len = 16},
    {.id = 13, .name = "sha384", .key_len = 48, .icv_len = 24},
    {.id = 14, .name = "sha512", .key_len = 64, .icv_len = 32},
    {.id = 2, .name = "sha1", .key_len = 20, .icv_len = 12},
    {.id = 5, .name = "aesxcbc", .key_len = 16, .icv_len = 12},
    {.id = 8, .name = "aescmac", .key_len = 16, .icv_len = 12},
    {.id = 9, .name = "aes128gmac", .key_len = 20, .icv_len = 16, .gmac = true},
    {.id = 10, .name = "aes192gmac", .key_len = 28, .icv_len = 16, .gmac = true},
    {.id = 11, .name = "aes256gmac", .key_len = 36, .icv_len = 16, .gmac = true},
};
#define DH(i, text, value, secret)                                                                 \
    {                                                                                              \
        .id = (i), .name = (text), .public_len = (value), .answer_len = (value),                   \
        .secret_len = (secret)                                                                     \
    }
#define KEM(i, text, key, ciphertext)                                                              \
    {                                                                                              \
        .id = (i), .name = (text), .public_len = (key), .answer_len = (ciphertext),                \
        .secret_len = 32                                                                           \
    }
static const struct kex_alg kexs[] = {
    DH(31, "x25519", 32, 32),        DH(32, "x448", 56, 56),
    DH(19, "ecp256", 64, 32),        DH(20, "ecp384", 96, 48),
    DH(21, "ecp521", 132, 66),       DH(14, "modp2048", 256, 256),
    DH(15, "modp3072", 384, 384),    DH(16, "modp4096", 512, 512),
    DH(17, "modp6144", 768, 768),    DH(18, "modp8192", 1024, 1024),
    DH(28, "ecp256bp", 64, 32),      DH(29, "ecp384bp", 96, 48),
    DH(30, "ecp512bp", 128, 64),     KEM(35, "mlkem512", 800, 768),
    KEM(36, "mlkem768", 1184, 1088), KEM(37, "mlkem1024", 1568, 1568),
    DH(2, "modp1024", 128, 128),     DH(5, "modp1536", 192, 192),
};

/* Every word a configuration may use, and, for display only, the common ones that peers offer and
 * this program does not have: a refusal that names "md5" is understood, "integ-1" is not.
 * WORD_RARE is sound but not in the defaults; WORD_LEGACY works only where it is named under
 * `legacy` as well, and `why` says what speaks against it. */
enum word_use { WORD_NAME, WORD_RARE, WORD_LEGACY, WORD_ALIAS, WORD_DISPLAY };
struct word {
    struct transform transform;
    const char *name;
    enum word_use use;
    const char *why;
};
#define WORD(t, i, bits, text, how)                                                                \
    {                                                                                              \
        {.type = (t), .id = (i), .key_bits = (bits)}, text, how, NULL                              \
    }
#define OLD(t, i, bits, text, reason)                                                              \
    {                                                                                              \
        {.type = (t), .id = (i), .key_bits = (bits)}, text, WORD_LEGACY, reason                    \
    }
#define OLD_ENCRS(i, before, after, reason)                                                        \
    OLD(TRANSFORM_ENCR, i, 128, before "128" after, reason),                                       \
        OLD(TRANSFORM_ENCR, i, 192, before "192" after, reason),                                   \
        OLD(TRANSFORM_ENCR, i, 256, before "256" after, reason)
#define SHORT_TAG   "its short tag is easier to forge"
#define CCM         "it is slower than AES-GCM and no safer"
#define BARE_CTR    "an IV used twice under one key gives the text away"
#define CAMELLIA    "it is rare, slow, and not constant in time"
#define SMALL_BLOCK "its blocks of 64 bits repeat after some gigabytes"
#define WEAK_HASH   "SHA-1 is broken as a hash, and what still asks for it is old"
#define SHORT_MAC   "it is rare, and its tag has 96 bits only"
#define SHORT_PRIME "who has the means can break it"
static const struct word words[] = {
    WORD(TRANSFORM_ENCR, 20, 256, "aes256gcm16", WORD_NAME),
    WORD(TRANSFORM_ENCR, 20, 128, "aes128gcm16", WORD_NAME),
    WORD(TRANSFORM_ENCR, 28, 0, "chacha20poly1305", WORD_NAME),
    WORD(TRANSFORM_ENCR, 12, 256, "aes256", WORD_NAME),
    WORD(TRANSFORM_ENCR, 12, 128, "aes128", WORD_NAME),
    WORD(TRANSFORM_ENCR, 12, 256, "aes256cbc", WORD_ALIAS),
    WORD(TRANSFORM_ENCR, 12, 192, "aes192cbc", WORD_ALIAS),
    WORD(TRANSFORM_ENCR, 12, 128, "aes128cbc", WORD_ALIAS),
    WORD(TRANSFORM_ENCR, 20, 256, "aes256gcm", WORD_ALIAS),
    WORD(TRANSFORM_ENCR, 20, 192, "aes192gcm", WORD_ALIAS),
    WORD(TRANSFORM_ENCR, 20, 128, "aes128gcm", WORD_ALIAS),
    WORD(TRANSFORM_ENCR, 20, 192, "aes192gcm16", WORD_RARE),
    WORD(TRANSFORM_ENCR, 12, 192, "aes192", WORD_RARE),
    WORD(TRANSFORM_ENCR, ENCR_NULL, 0, "null", WORD_RARE),
    WORD(TRANSFORM_ENCR, ENCR_NULL_GMAC, 128, "nullaes128gmac", WORD_RARE),
    WORD(TRANSFORM_ENCR, ENCR_NULL_GMAC, 192, "nullaes192gmac", WORD_RARE),
    WORD(TRANSFORM_ENCR, ENCR_NULL_GMAC, 256, "nullaes256gmac", WORD_RARE),
    OLD_ENCRS(19, "aes", "gcm12", SHORT_TAG),
    OLD_ENCRS(18, "aes", "gcm8", SHORT_TAG),
    OLD_ENCRS(16, "aes", "ccm16", CCM),
    OLD_ENCRS(15, "aes", "ccm12", SHORT_TAG),
    OLD_ENCRS(14, "aes", "ccm8", SHORT_TAG),
    OLD_ENCRS(13, "aes", "ctr", BARE_CTR),
    OLD_ENCRS(23, "camellia", "", CAMELLIA),
    OLD_ENCRS(24, "camellia", "ctr", CAMELLIA),
    OLD_ENCRS(7, "blowfish", "", SMALL_BLOCK),
    OLD(TRANSFORM_ENCR, 3, 0, "3des", SMALL_BLOCK),
    WORD(TRANSFORM_PRF, 5, 0, "prfsha256", WORD_NAME),
    WORD(TRANSFORM_PRF, 6, 0, "prfsha384", WORD_NAME),
    WORD(TRANSFORM_PRF, 7, 0, "prfsha512", WORD_NAME),
    OLD(TRANSFORM_PRF, 2, 0, "prfsha1", WEAK_HASH),
    OLD(TRANSFORM_PRF, 4, 0, "prfaesxcbc", SHORT_MAC),
    OLD(TRANSFORM_PRF, 8, 0, "prfaescmac", SHORT_MAC),
    WORD(TRANSFORM_PRF, 1, 0, "prfmd5", WORD_DISPLAY),
    WORD(TRANSFORM_INTEG, 12, 0, "sha256", WORD_NAME),
    WORD(TRANSFORM_INTEG, 13, 0, "sha384", WORD_NAME),
    WORD(TRANSFORM_INTEG, 14, 0, "sha512", WORD_NAME),
    OLD(TRANSFORM_INTEG, 2, 0, "sha1", WEAK_HASH),
    OLD(TRANSFORM_INTEG, 5, 0, "aesxcbc", SHORT_MAC),
    OLD(TRANSFORM_INTEG, 8, 0, "aescmac", SHORT_MAC),
    WORD(TRANSFORM_INTEG, 9, 0, "aes128gmac", WORD_RARE),
    WORD(TRANSFORM_INTEG, 10, 0, "aes192gmac", WORD_RARE),
    WORD(TRANSFORM_INTEG, 11, 0, "aes256gmac", WORD_RARE),
    WORD(TRANSFORM_INTEG, 0, 0, "none", WORD_DISPLAY),
    WORD(TRANSFORM_INTEG, 1, 0, "md5", WORD_DISPLAY),
    WORD(TRANSFORM_KE, 31, 0, "x25519", WORD_NAME),
    WORD(TRANSFORM_KE, 32, 0, "x448", WORD_NAME),
    WORD(TRANSFORM_KE, 19, 0, "ecp256", WORD_NAME),
    WORD(TRANSFORM_KE, 20, 0, "ecp384", WORD_NAME),
    WORD(TRANSFORM_KE, 21, 0, "ecp521", WORD_NAME),
    WORD(TRANSFORM_KE, 14, 0, "modp2048", WORD_NAME),
    WORD(TRANSFORM_KE, 15, 0, "modp3072", WORD_NAME),
    WORD(TRANSFORM_KE, 16, 0, "modp4096", WORD_NAME),
    WORD(TRANSFORM_KE, 36, 0, "mlkem768", WORD_NAME),
    WORD(TRANSFORM_KE, 37, 0, "mlkem1024", WORD_NAME),
    WORD(TRANSFORM_KE, 35, 0, "mlkem512", WORD_NAME),
    WORD(TRANSFORM_KE, 31, 0, "curve25519", WORD_ALIAS),
    WORD(TRANSFORM_KE, 32, 0, "curve448", WORD_ALIAS),
    WORD(TRANSFORM_KE, 17, 0, "modp6144", WORD_RARE),
    WORD(TRANSFORM_KE, 18, 0, "modp8192", WORD_RARE),
    WORD(TRANSFORM_KE, 28, 0, "ecp256bp", WORD_RARE),
    WORD(TRANSFORM_KE, 29, 0, "ecp384bp", WORD_RARE),
    WORD(TRANSFORM_KE, 30, 0, "ecp512bp", WORD_RARE),
    WORD(TRANSFORM_KE, 28, 0, "brainpoolp256r1", WORD_ALIAS),
    WORD(TRANSFORM_KE, 29, 0, "brainpoolp384r1", WORD_ALIAS),
    WORD(TRANSFORM_KE, 30, 0, "brainpoolp512r1", WORD_ALIAS),
    OLD(TRANSFORM_KE, 2, 0, "modp1024", SHORT_PRIME),
    OLD(TRANSFORM_KE, 5, 0, "modp1536", SHORT_PRIME),
    WORD(TRANSFORM_KE, 0, 0, "none", WORD_DISPLAY),
    WORD(TRANSFORM_KE, 1, 0, "modp768", WORD_DISPLAY),
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
        if (words[i].use < WORD_ALIAS && words[i].transform.type == transform_type && index-- == 0)
            return words[i].name;
    return NULL;
}

/* Of an additional key exchange it is the word of its method. */
static const struct word *word_of(const struct transform *t)
{
    struct transform as = *t;

    if (transform_is_addke(as.type))
        as.type = TRANSFORM_KE;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (words[i].use != WORD_ALIAS && transform_equal(&words[i].transform, &as))
            return &words[i];
    return NULL;
}

const char *suite_legacy(const struct transform *t)
{
    const struct word *word = word_of(t);

    return word != NULL ? word->why : NULL;
}

bool suite_rare(const struct transform *t)
{
    const struct word *word = word_of(t);

    return word != NULL && (word->use == WORD_RARE || word->use == WORD_LEGACY);
}

/* ---- printing ---- */

const char *suite_print(const struct transform *t, char text[static 32])
{
    static const char *const kinds[] = {
        [TRANSFORM_ENCR] = "encr", [TRANSFORM_PRF] = "prf", [TRANSFORM_INTEG] = "integ",
        [TRANSFORM_KE] = "ke",     [TRANSFORM_SN] = "sn",
    };
    char kind[16], bits[8] = "";
    size_t used = 0;

    const struct word *word = word_of(t);

    if (transform_is_addke(t->type))
        used = (size_t)snprintf(text, 32, "ke%u_", t->type - TRANSFORM_ADDKE1 + 1u);
    if (word != NULL) {
        snprintf(text + used, 32 - used, "%s", word->name);
        return text;
    }
    if (transform_is_addke(t->type))
        kind[0] = '\0';
    else if (t->type < ARRAY_LEN(kinds) && kinds[t->type] != NULL)
        snprintf(kind, sizeof(kind), "%s-", kinds[t->type]);
    else
        snprintf(kind, sizeof(kind), "type%u-", t->type);
    if (t->key_bits != 0)
        snprintf(bits, sizeof(bits), "/%u", t->key_bits);
    snprintf(text + used, 32 - used, "%s%u%s", kind, t->id, bits);
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

static bool is_word(const char *name, struct bytes piece)
{
    return strlen(name) == piece.len && strncasecmp(name, (const char *)piece.at, piece.len) == 0;
}

static bool find_word(struct bytes piece, struct transform *out)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (words[i].use != WORD_DISPLAY && is_word(words[i].name, piece)) {
            *out = words[i].transform;
            return true;
        }
    return false;
}

/* `ke1_mlkem768`, up to ke7_: an additional key exchange; `ke1_none`: or do without. */
static bool find_additional(struct bytes piece, struct transform *out)
{
    const char *at = (const char *)piece.at;

    if (piece.len < 5 || strncasecmp(at, "ke", 2) != 0 || at[2] < '1' || at[2] > '7' ||
        at[3] != '_')
        return false;
    struct bytes method = {piece.at + 4, piece.len - 4};
    if (is_word("none", method))
        *out = (struct transform){0};
    else if (!find_word(method, out) || out->type != TRANSFORM_KE)
        return false;
    out->type = (uint8_t)(TRANSFORM_ADDKE1 + at[2] - '1');
    return true;
}

bool suite_find(const char *word, struct transform *out)
{
    struct bytes piece = {(const uint8_t *)word, strlen(word)};

    return find_word(piece, out) || find_additional(piece, out);
}

/* What a proposal holds so far. */
struct gathered {
    bool aead, classic, null, gmac, integ, prf, ke, sn, more;
};

/* May this word stand here, after what was read before? */
static bool fits(const struct transform *t, uint8_t protocol, struct gathered *seen)
{
    switch (t->type) {
    case TRANSFORM_ENCR:
        if (t->id == ENCR_NULL_GMAC)
            seen->gmac = true;
        else if (suite_encr(t->id, t->key_bits)->aead)
            seen->aead = true;
        else if (t->id == ENCR_NULL)
            seen->null = true;
        else
            seen->classic = true;
        if (protocol == PROTOCOL_AH)
            return false;
        if ((seen->null || seen->gmac) &&
            (protocol == PROTOCOL_IKE || seen->classic || (seen->gmac && seen->aead)))
            return false; /* nobody gets it by falling back from a cipher */
        break;
    case TRANSFORM_INTEG:
        seen->integ = true;
        if (suite_integ(t->id)->gmac && protocol != PROTOCOL_AH)
            return false;
        break;
    case TRANSFORM_PRF:
        seen->prf = true;
        return protocol == PROTOCOL_IKE;
    case TRANSFORM_KE:
        seen->ke = true;
        return true;
    case TRANSFORM_SN:
        seen->sn = true;
        return protocol != PROTOCOL_IKE;
    default:
        seen->more = true;
        return true;
    }
    return !((seen->aead || seen->gmac) && (seen->classic || seen->null || seen->integ));
}

/* The PRF made of the same hash or cipher. */
static uint16_t prf_of_integ(uint16_t integ)
{
    static const uint8_t prf[] = {[2] = 2, [5] = 4, [8] = 8, [12] = 5, [13] = 6, [14] = 7};

    return prf[integ];
}

static bool derive_prf(struct proposal *p)
{
    uint8_t given = p->count;

    for (uint8_t i = 0; i < given; i++)
        if (p->transforms[i].type == TRANSFORM_INTEG)
            if (!proposal_add(p, TRANSFORM_PRF, prf_of_integ(p->transforms[i].id), 0))
                return false;
    return true;
}

/* Adds what may be left out and refuses what must not. */
static int complete(struct proposal *p, const struct gathered *seen)
{
    if (seen->more && !seen->ke)
        return ERR_SYNTAX; /* additional to what? */
    if (p->protocol == PROTOCOL_AH
            ? !seen->integ
            : !seen->aead && !seen->gmac && !((seen->classic || seen->null) && seen->integ))
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
    for (uint8_t type = TRANSFORM_ENCR; type <= TRANSFORM_ADDKE7; type++)
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
    if (protocol < PROTOCOL_IKE || protocol > PROTOCOL_ESP)
        return ERR_UNSUPPORTED;
    for (;;) {
        struct bytes piece = {(const uint8_t *)at, strcspn(at, "-")};
        struct transform t;

        if ((!find_word(piece, &t) && !find_additional(piece, &t)) || !fits(&t, protocol, &seen)) {
            *bad_word = piece;
            return ERR_SYNTAX;
        }
        if (!proposal_add(&p, t.type, t.id, t.key_bits)) {
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
