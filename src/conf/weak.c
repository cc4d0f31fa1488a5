/* Shared secrets: how they are written, and which are too weak to be used.
 *
 * Who watches one handshake can try PSKs offline for ever (RFC 7296 section 2.15 asks for as much
 * unpredictability as the strongest key), so the bar is what a guesser reaches: length, variety,
 * and a few words that everybody tries. */
#include "conf/internal.h"

#include <ctype.h>
#include <string.h>

static const char *const common_words[] = {
    "password", "passwort",   "secret",  "geheim",  "changeme", "letmein", "welcome",  "qwerty",
    "qwertz",   "asdfgh",     "12345",   "abcdef",  "admin",    "vpn",     "ipsec",    "ikev2",
    "shrike",   "strongswan", "default", "example", "test",     "hunter2", "iloveyou", "psk",
    "shared",   "key",        "the",     "my",      "this",     "pass",    "phrase",   "company",
};

static size_t distinct(struct bytes psk)
{
    bool seen[256] = {false};
    size_t count = 0;
    for (size_t i = 0; i < psk.len; i++) {
        count += !seen[psk.at[i]];
        seen[psk.at[i]] = true;
    }
    return count;
}

/* Length of the common word that psk begins with, ignoring case; 0 = none. */
static size_t word_at(const uint8_t *at, size_t left)
{
    size_t best = 0;
    for (size_t i = 0; i < ARRAY_LEN(common_words); i++) {
        size_t n = strlen(common_words[i]), same = 0;
        while (same < n && same < left && tolower(at[same]) == common_words[i][same])
            same++;
        if (same == n && n > best)
            best = n;
    }
    return best;
}

/* What is left when common words, digits in sequence and repeats are taken away. */
static size_t unguessed(struct bytes psk)
{
    size_t left = 0;
    for (size_t i = 0; i < psk.len;) {
        size_t word = word_at(psk.at + i, psk.len - i);
        if (word) {
            i += word;
            continue;
        }
        bool run = i && (psk.at[i] == psk.at[i - 1] || psk.at[i] == psk.at[i - 1] + 1);
        left += !run && isgraph(psk.at[i]) && !ispunct(psk.at[i]);
        left += !isgraph(psk.at[i]) && psk.at[i] != ' '; /* binary counts */
        i++;
    }
    return left;
}

/* The same piece over and over: abcabcabc. */
static bool repeats(struct bytes psk)
{
    for (size_t period = 1; period <= psk.len / 2; period++) {
        if (psk.len % period == 0 && !memcmp(psk.at, psk.at + period, psk.len - period))
            return true;
    }
    return false;
}

const char *conf_psk_weakness(struct bytes psk)
{
    if (!psk.len)
        return "the shared secret is empty";
    if (psk.len < 16)
        return "the shared secret is shorter than 16 characters";
    if (distinct(psk) < 6)
        return "the shared secret has fewer than 6 different characters";
    if (repeats(psk))
        return "the shared secret repeats one short piece";
    if (unguessed(psk) < 8)
        return "the shared secret is made of words and sequences that everybody tries first";
    return NULL;
}

static int hex_digit(uint8_t c)
{
    return isdigit(c) ? c - '0' : isxdigit(c) ? tolower(c) - 'a' + 10 : -1;
}

static int decode_hex(struct bytes text, uint8_t *out, size_t *len)
{
    if (!text.len || text.len % 2)
        return ERR_SYNTAX;
    if (text.len / 2 > CONF_PSK_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; i < text.len; i += 2) {
        int high = hex_digit(text.at[i]), low = hex_digit(text.at[i + 1]);
        if (high < 0 || low < 0)
            return ERR_SYNTAX;
        out[i / 2] = (uint8_t)(high << 4 | low);
    }
    *len = text.len / 2;
    return 0;
}

static int base64_digit(uint8_t c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

static int decode_base64(struct bytes text, uint8_t *out, size_t *len)
{
    while (text.len && text.at[text.len - 1] == '=')
        text.len--;
    if (!text.len || text.len % 4 == 1)
        return ERR_SYNTAX;
    if (text.len * 3 / 4 > CONF_PSK_MAX)
        return ERR_LIMIT;
    uint32_t bits = 0;
    unsigned have = 0;
    size_t used = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = base64_digit(text.at[i]);
        if (digit < 0)
            return ERR_SYNTAX;
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[used++] = (uint8_t)(bits >> have);
        }
    }
    *len = used;
    return 0;
}

int conf_psk_decode(struct bytes text, uint8_t out[static CONF_PSK_MAX], size_t *len)
{
    if (text.len && text.at[text.len - 1] == '\n')
        text.len--;
    if (text.len && text.at[text.len - 1] == '\r')
        text.len--;
    if (text.len > 2 && text.at[0] == '0' && (text.at[1] == 'x' || text.at[1] == 'X'))
        return decode_hex((struct bytes){text.at + 2, text.len - 2}, out, len);
    if (text.len > 2 && text.at[0] == '0' && text.at[1] == 's')
        return decode_base64((struct bytes){text.at + 2, text.len - 2}, out, len);
    if (!text.len)
        return ERR_SYNTAX;
    if (text.len > CONF_PSK_MAX)
        return ERR_LIMIT;
    memcpy(out, text.at, text.len);
    *len = text.len;
    return 0;
}
