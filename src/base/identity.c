#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/base.h"

bool identity_from_octets(uint8_t type, struct bytes octets, struct identity *out)
{
    if (octets.len == 0 || octets.len > IDENTITY_MAX || type == IDENTITY_NONE)
        return false;
    if ((type == IDENTITY_IPV4 && octets.len != 4) || (type == IDENTITY_IPV6 && octets.len != 16))
        return false;
    *out = (struct identity){.type = type, .len = (uint8_t)octets.len};
    memcpy(out->octets, octets.at, octets.len);
    return true;
}

static bool from_text(uint8_t type, const char *text, struct identity *out)
{
    struct bytes octets = {.at = (const uint8_t *)text, .len = strlen(text)};
    return identity_from_octets(type, octets, out);
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;
    return at ? (int)(at - digits) : -1;
}

static bool from_hex(const char *text, struct identity *out)
{
    uint8_t octets[IDENTITY_MAX];
    size_t len = strlen(text);
    if (len % 2 || len / 2 > sizeof(octets))
        return false;
    for (size_t i = 0; i < len / 2; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        octets[i] = (uint8_t)(high << 4 | low);
    }
    return identity_from_octets(IDENTITY_KEY_ID, (struct bytes){octets, len / 2}, out);
}

bool identity_parse(const char *text, struct identity *out)
{
    struct ip ip;
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return false;
    if (strncmp(text, "keyid:0x", 8) == 0)
        return from_hex(text + 8, out);
    if (strncmp(text, "keyid:", 6) == 0)
        return from_text(IDENTITY_KEY_ID, text + 6, out);
    if (ip_parse(text, &ip))
        return identity_from_octets(ip.family == 4 ? IDENTITY_IPV4 : IDENTITY_IPV6,
                                    (struct bytes){ip.octets, ip_len(&ip)}, out);
    if (strchr(text, '@'))
        return from_text(IDENTITY_RFC822, text, out);
    for (const char *c = text; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("-._", *c))
            return false;
    return from_text(IDENTITY_FQDN, text, out);
}

bool identity_equal(const struct identity *a, const struct identity *b)
{
    if (a->type != b->type || a->len != b->len)
        return false;
    if (a->type == IDENTITY_FQDN || a->type == IDENTITY_RFC822)
        return strncasecmp((const char *)a->octets, (const char *)b->octets, a->len) == 0;
    return memcmp(a->octets, b->octets, a->len) == 0;
}

size_t identity_flat(const struct identity *id, uint8_t out[static 1 + IDENTITY_MAX])
{
    bool fold = id->type == IDENTITY_FQDN || id->type == IDENTITY_RFC822;
    out[0] = id->type;
    for (size_t i = 0; i < id->len; i++) {
        uint8_t c = id->octets[i];
        out[1 + i] = fold && c >= 'A' && c <= 'Z' ? (uint8_t)(c + 'a' - 'A') : c;
    }
    return 1 + (size_t)id->len;
}

static void print_hex(const struct identity *id, const char *head, char *text)
{
    size_t at = (size_t)snprintf(text, IDENTITY_TEXT, "%s", head);
    for (size_t i = 0; i < id->len && at + 3 < IDENTITY_TEXT; i++, at += 2)
        snprintf(text + at, 3, "%02x", id->octets[i]);
}

static void print_escaped(const struct identity *id, const char *head, char *text)
{
    size_t at = (size_t)snprintf(text, IDENTITY_TEXT, "%s", head);
    for (size_t i = 0; i < id->len && at + 5 < IDENTITY_TEXT; i++) {
        uint8_t c = id->octets[i];
        bool plain = c > ' ' && c < 0x7f && c != '\\' && c != '"';
        at += (size_t)snprintf(text + at, 5, plain ? "%c" : "\\x%02x", c);
    }
}

static bool is_text(const struct identity *id)
{
    for (size_t i = 0; i < id->len; i++)
        if (id->octets[i] <= ' ' || id->octets[i] >= 0x7f)
            return false;
    return true;
}

const char *identity_print(const struct identity *id, char text[static IDENTITY_TEXT])
{
    struct ip ip;
    switch (id->type) {
    case IDENTITY_NONE:
        strcpy(text, "any");
        break;
    case IDENTITY_IPV4:
    case IDENTITY_IPV6:
        ip = ip_from_octets(id->type == IDENTITY_IPV4 ? 4 : 6, id->octets);
        ip_print(&ip, text);
        break;
    case IDENTITY_FQDN:
    case IDENTITY_RFC822:
        print_escaped(id, "", text);
        break;
    case IDENTITY_KEY_ID:
        if (is_text(id))
            print_escaped(id, "keyid:", text);
        else
            print_hex(id, "keyid:0x", text);
        break;
    case IDENTITY_DN:
        print_hex(id, "dn:", text);
        break;
    default:
        print_hex(id, "id:", text);
        break;
    }
    return text;
}
