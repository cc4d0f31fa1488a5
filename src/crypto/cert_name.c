/* Names: identities against certificates, distinguished names to and from text (RFC 4945 3.1). */
#include "crypto/keys.h"

#include <openssl/objects.h>

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

const char *name_print(const X509_NAME *name, char *text, size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *at = NULL;
    text[0] = '\0';
    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) {
        long len = BIO_get_mem_data(bio, &at);
        if (len <= 0)
            snprintf(text, size, "(empty name)");
        else if ((size_t)len < size)
            snprintf(text, size, "%.*s", (int)len, at);
        else
            snprintf(text, size, "%.*s...", (int)size - 4, at);
    }
    BIO_free(bio);
    ERR_clear_error();
    for (char *c = text; *c; c++) { /* the flags escape already; this is the belt */
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    }
    return text;
}

const char *date_print(int64_t seconds, char text[static DATE_TEXT])
{
    struct tm tm;
    time_t t = (time_t)seconds;
    if (!gmtime_r(&t, &tm) || strftime(text, DATE_TEXT, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        snprintf(text, DATE_TEXT, "an impossible date");
    return text;
}

const char *cert_print_subject(const struct cert *cert, char text[static 256])
{
    return name_print(X509_get_subject_name(cert->x509), text, 256);
}

const char *cert_print_issuer(const struct cert *cert, char text[static 256])
{
    return name_print(X509_get_issuer_name(cert->x509), text, 256);
}

static struct bytes string_bytes(const ASN1_STRING *string)
{
    int len = ASN1_STRING_length(string);
    return (struct bytes){ASN1_STRING_get0_data(string), len > 0 ? (size_t)len : 0};
}

/* The type and octets an entry of subjectAltName has as an identity; IDENTITY_NONE for the kinds
 * that IKE has no use for. */
static uint8_t name_as_identity(const GENERAL_NAME *name, struct bytes *octets)
{
    switch (name->type) {
    case GEN_DNS:
        *octets = string_bytes(name->d.dNSName);
        return IDENTITY_FQDN;
    case GEN_EMAIL:
        *octets = string_bytes(name->d.rfc822Name);
        return IDENTITY_RFC822;
    case GEN_IPADD:
        *octets = string_bytes(name->d.iPAddress);
        return octets->len == 4 ? IDENTITY_IPV4 : octets->len == 16 ? IDENTITY_IPV6 : IDENTITY_NONE;
    default:
        return IDENTITY_NONE;
    }
}

/* A name that may stand for one host or person only: no wildcard, no octet that prints as another
 * name than it compares as. */
static bool is_plain(struct bytes name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.at[i] <= 0x20 || name.at[i] > 0x7e || name.at[i] == '*')
            return false;
    }
    return name.len > 0;
}

static bool same_name(uint8_t type, struct bytes a, struct bytes b)
{
    if (a.len != b.len)
        return false;
    if (type == IDENTITY_IPV4 || type == IDENTITY_IPV6)
        return memcmp(a.at, b.at, a.len) == 0;
    return is_plain(a) && is_plain(b) &&
           strncasecmp((const char *)a.at, (const char *)b.at, a.len) == 0;
}

static X509_NAME *name_from_octets(struct bytes der)
{
    const uint8_t *at = der.at;
    X509_NAME *name = d2i_X509_NAME(NULL, &at, (long)der.len);
    if (name && at != der.at + der.len) {
        X509_NAME_free(name);
        name = NULL;
    }
    ERR_clear_error();
    return name;
}

/* Compared in canonical form: case, blanks and the string type of an attribute do not matter (RFC
 * 5280 7.1). An empty subject stands for nobody. */
static bool subject_is(const struct cert *cert, struct bytes der)
{
    X509_NAME *name = name_from_octets(der);
    bool same = name && X509_NAME_entry_count(name) > 0 &&
                X509_NAME_cmp(name, X509_get_subject_name(cert->x509)) == 0;
    X509_NAME_free(name);
    ERR_clear_error();
    return same;
}

bool cert_has_identity(const struct cert *cert, const struct identity *id)
{
    struct bytes want = {id->octets, id->len};
    if (id->len == 0)
        return false;
    if (id->type == IDENTITY_DN)
        return subject_is(cert, want);
    for (int i = 0; i < sk_GENERAL_NAME_num(cert->names); i++) {
        struct bytes have;
        uint8_t type = name_as_identity(sk_GENERAL_NAME_value(cert->names, i), &have);
        if (type != IDENTITY_NONE && type == id->type && same_name(type, have, want))
            return true;
    }
    return false;
}

static bool first_san(const struct cert *cert, uint8_t type, struct identity *out)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(cert->names); i++) {
        struct bytes name;
        uint8_t have = name_as_identity(sk_GENERAL_NAME_value(cert->names, i), &name);
        if (have != type)
            continue;
        bool text = type == IDENTITY_FQDN || type == IDENTITY_RFC822;
        if ((!text || is_plain(name)) && identity_from_octets(type, name, out))
            return true;
    }
    return false;
}

bool cert_identity(const struct cert *cert, struct identity *out)
{
    static const uint8_t order[] = {IDENTITY_RFC822, IDENTITY_FQDN, IDENTITY_IPV4, IDENTITY_IPV6};
    *out = (struct identity){0};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        if (first_san(cert, order[i], out))
            return true;
    }
    X509_NAME *subject = X509_get_subject_name(cert->x509);
    int len = i2d_X509_NAME(subject, NULL);
    if (X509_NAME_entry_count(subject) == 0 || len <= 0 || len > IDENTITY_MAX)
        return false;
    uint8_t *to = out->octets;
    out->type = IDENTITY_DN;
    out->len = (uint8_t)i2d_X509_NAME(subject, &to);
    return true;
}

/* ---- distinguished names as text */

enum { DN_PARTS = 16, DN_VALUE = 192 };

struct dn_part {
    int nid;
    size_t len;
    char value[DN_VALUE];
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One octet of a value, escapes of RFC 4514 2.4 undone; false when an escape is incomplete. */
static bool value_octet(const char **text, char *out)
{
    const char *at = *text;
    if (*at != '\\') {
        *out = *at;
        *text = at + 1;
        return true;
    }
    if (hex_digit(at[1]) >= 0 && hex_digit(at[2]) >= 0) {
        *out = (char)(hex_digit(at[1]) * 16 + hex_digit(at[2]));
        *text = at + 3;
        return true;
    }
    *out = at[1];
    *text = at + 2;
    return at[1] != '\0';
}

/* By short or long name or dotted OID; short names in any case. */
static int attribute_nid(char *key)
{
    if (strcasecmp(key, "E") == 0 || strcasecmp(key, "email") == 0)
        return NID_pkcs9_emailAddress;
    int nid = OBJ_txt2nid(key);
    for (char *c = key; nid == NID_undef && *c; c++)
        *c = (char)toupper((unsigned char)*c);
    if (nid == NID_undef)
        nid = OBJ_sn2nid(key);
    ERR_clear_error();
    return nid;
}

/* `CN=value` up to the next comma that is not escaped. */
static bool read_part(const char **text, struct dn_part *part)
{
    const char *at = *text;
    at += strspn(at, " ");
    size_t key_len = strcspn(at, "= ,");
    char key[32];
    const char *equals = at + key_len + strspn(at + key_len, " ");
    if (key_len == 0 || key_len >= sizeof(key) || *equals != '=')
        return false;
    snprintf(key, sizeof(key), "%.*s", (int)key_len, at);
    part->nid = attribute_nid(key);
    if (part->nid == NID_undef)
        return false;

    at = equals + 1;
    at += strspn(at, " ");
    size_t kept = 0; /* up to the last character that is not a plain blank at the end */
    for (part->len = 0; *at && *at != ',';) {
        bool blank = *at == ' ';
        if (part->len >= DN_VALUE || !value_octet(&at, &part->value[part->len]))
            return false;
        part->len++;
        if (!blank)
            kept = part->len;
    }
    part->len = kept;
    *text = at;
    return kept > 0;
}

static bool is_leaf_attribute(int nid)
{
    return nid == NID_commonName || nid == NID_pkcs9_emailAddress || nid == NID_userId;
}

static X509_NAME *name_build(const struct dn_part *parts, size_t count)
{
    /* RFC 4514 writes the last part of the DER first. Text that starts with the country and ends
     * with the common name, as other IKE daemons print it, is taken in DER order. */
    bool der_order = is_leaf_attribute(parts[count - 1].nid) && !is_leaf_attribute(parts[0].nid);
    X509_NAME *name = X509_NAME_new();
    for (size_t i = 0; name && i < count; i++) {
        const struct dn_part *part = &parts[der_order ? i : count - 1 - i];
        if (!X509_NAME_add_entry_by_NID(name, part->nid, MBSTRING_UTF8,
                                        (const unsigned char *)part->value, (int)part->len, -1,
                                        0)) {
            X509_NAME_free(name);
            name = NULL;
        }
    }
    ERR_clear_error();
    return name;
}

bool cert_dn_parse(const char *text, struct identity *out)
{
    struct dn_part parts[DN_PARTS];
    size_t count = 0;
    *out = (struct identity){0};
    while (count < DN_PARTS && read_part(&text, &parts[count])) {
        count++;
        if (*text == ',')
            text++;
        else
            break;
    }
    if (count == 0 || *text != '\0' || text[-1] == ',')
        return false;
    X509_NAME *name = name_build(parts, count);
    int len = name ? i2d_X509_NAME(name, NULL) : 0;
    bool fits = len > 0 && len <= IDENTITY_MAX;
    if (fits) {
        uint8_t *to = out->octets;
        out->type = IDENTITY_DN;
        out->len = (uint8_t)i2d_X509_NAME(name, &to);
    }
    X509_NAME_free(name);
    return fits;
}

const char *cert_dn_print(const struct identity *id, char text[static IDENTITY_TEXT])
{
    X509_NAME *name =
        id->type == IDENTITY_DN ? name_from_octets((struct bytes){id->octets, id->len}) : NULL;
    if (name)
        name_print(name, text, IDENTITY_TEXT);
    else
        identity_print(id, text);
    X509_NAME_free(name);
    return text;
}

const char *cert_identity_print(const struct identity *id, char text[static IDENTITY_TEXT])
{
    if (id->type == IDENTITY_DN)
        return cert_dn_print(id, text);
    if (id->type != IDENTITY_NONE)
        return identity_print(id, text);
    snprintf(text, IDENTITY_TEXT, "(none)");
    return text;
}

/* ---- one spelling */

/* Lower case, no blanks at the ends, single ones between; returns the new length. */
static size_t fold_text(uint8_t *text, size_t len)
{
    size_t to = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ' ' && (to == 0 || text[to - 1] == ' '))
            continue;
        text[to++] = text[i] >= 'A' && text[i] <= 'Z' ? (uint8_t)(text[i] + 'a' - 'A') : text[i];
    }
    return to > 0 && text[to - 1] == ' ' ? to - 1 : to;
}

static bool add_folded(X509_NAME *to, const X509_NAME_ENTRY *entry, bool joined)
{
    unsigned char *text = NULL;
    int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
    bool ok = len >= 0 && X509_NAME_add_entry_by_OBJ(
                              to, X509_NAME_ENTRY_get_object(entry), V_ASN1_UTF8STRING, text,
                              (int)fold_text(text, (size_t)len), -1, joined ? -1 : 0);
    OPENSSL_free(text);
    return ok;
}

static bool fold_name(const X509_NAME *name, struct identity *out)
{
    X509_NAME *folded = X509_NAME_new();
    int set = -1;
    bool ok = folded != NULL;
    for (int i = 0; ok && i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
        ok = add_folded(folded, entry, X509_NAME_ENTRY_set(entry) == set);
        set = X509_NAME_ENTRY_set(entry);
    }
    int len = ok ? i2d_X509_NAME(folded, NULL) : 0;
    ok = len > 0 && len <= IDENTITY_MAX;
    if (ok) {
        uint8_t *to = out->octets;
        out->len = (uint8_t)i2d_X509_NAME(folded, &to);
    }
    X509_NAME_free(folded);
    ERR_clear_error();
    return ok;
}

void cert_identity_canonical(const struct identity *id, struct identity *out)
{
    *out = (struct identity){.type = id->type, .len = id->len};
    memcpy(out->octets, id->octets, id->len);
    if (id->type == IDENTITY_FQDN || id->type == IDENTITY_RFC822) {
        for (size_t i = 0; i < id->len; i++)
            out->octets[i] =
                (uint8_t)(id->octets[i] >= 'A' && id->octets[i] <= 'Z' ? id->octets[i] + 'a' - 'A'
                                                                       : id->octets[i]);
    } else if (id->type == IDENTITY_DN) {
        X509_NAME *name = name_from_octets((struct bytes){id->octets, id->len});
        if (name && !fold_name(name, out)) /* what cannot be folded stays as it was */
            memcpy(out->octets, id->octets, id->len);
        X509_NAME_free(name);
    }
}
