/* SUPPORTED_AUTH_METHODS (RFC 9593): how a side lets the other prove itself, said before it does. A
 * list of announcements, each with its length first: of a method alone (2 octets), of a method with
 * certificates and the authority that it is for (3), and of one that needs an AlgorithmIdentifier
 * besides (more). What cannot be read or is not known is passed over (3.2). */
#include "auth/auth.h"

#include <stdio.h>
#include <string.h>

/* Bit 0 says that a list came at all; 1 to 15 are methods, the others the schemes of method 14. */
enum { SCHEME_BIT = 16, ANY_AUTHORITY = 0 };
_Static_assert(SCHEME_BIT + SIGN_ED25519 < 32, "each scheme has its bit");

/* Our own, what we like best first. Where there is no room for all, the rarest are left out. */
enum rarity { COMMON, RARE, RAREST };
static const struct announcement {
    uint8_t method;
    enum sign_scheme scheme; /* SIGN_NONE: the method says all */
    const char *name;
    enum rarity rarity;
} announcements[] = {
    {AUTH_DIGITAL_SIGNATURE, SIGN_ED25519, "Ed25519", COMMON},
    {AUTH_DIGITAL_SIGNATURE, SIGN_ECDSA_SHA256, "ECDSA", COMMON},
    {AUTH_DIGITAL_SIGNATURE, SIGN_ECDSA_SHA384, "ECDSA", COMMON},
    {AUTH_DIGITAL_SIGNATURE, SIGN_ECDSA_SHA512, "ECDSA", COMMON},
    {AUTH_DIGITAL_SIGNATURE, SIGN_RSA_PSS_SHA256, "RSA-PSS", COMMON},
    {AUTH_DIGITAL_SIGNATURE, SIGN_RSA_PSS_SHA384, "RSA-PSS", RARE},
    {AUTH_DIGITAL_SIGNATURE, SIGN_RSA_PSS_SHA512, "RSA-PSS", RARE},
    {AUTH_DIGITAL_SIGNATURE, SIGN_RSA_PKCS1_SHA256, "RSA PKCS#1 v1.5", COMMON},
    {AUTH_DIGITAL_SIGNATURE, SIGN_RSA_PKCS1_SHA384, "RSA PKCS#1 v1.5", RAREST},
    {AUTH_DIGITAL_SIGNATURE, SIGN_RSA_PKCS1_SHA512, "RSA PKCS#1 v1.5", RAREST},
    {AUTH_ECDSA_256, SIGN_NONE, "ECDSA", COMMON},
    {AUTH_ECDSA_384, SIGN_NONE, "ECDSA", COMMON},
    {AUTH_ECDSA_521, SIGN_NONE, "ECDSA", COMMON},
    {AUTH_RSA, SIGN_NONE, "RSA", COMMON},
    {AUTH_SHARED_KEY, SIGN_NONE, "a pre-shared key", COMMON},
};

static uint32_t bit_of(uint8_t method, enum sign_scheme scheme)
{
    if (method == AUTH_DIGITAL_SIGNATURE)
        return scheme == SIGN_NONE ? 0 : 1U << (SCHEME_BIT + scheme);
    return method > 0 && method < SCHEME_BIT ? 1U << method : 0;
}

/* Of the old methods each stands for one scheme, but that of RSA. */
static bool is_wanted(const struct announcement *a, const struct sign_limits *limits)
{
    static const enum sign_scheme raw[] = {
        [AUTH_ECDSA_256] = SIGN_ECDSA_P256_RAW,
        [AUTH_ECDSA_384] = SIGN_ECDSA_P384_RAW,
        [AUTH_ECDSA_521] = SIGN_ECDSA_P521_RAW,
        [AUTH_RSA] = SIGN_RSA_PKCS1_SHA256,
    };
    return limits && sign_limits_allow(limits, a->scheme ? a->scheme : raw[a->method]);
}

static void write_list(struct writer *w, bool psk, const struct sign_limits *limits,
                       enum rarity most)
{
    for (size_t i = 0; i < ARRAY_LEN(announcements); i++) {
        const struct announcement *a = &announcements[i];
        bool by_psk = a->method == AUTH_SHARED_KEY;
        struct bytes oid = sign_scheme_oid(a->scheme);
        if (a->rarity > most || !(by_psk ? psk : is_wanted(a, limits)))
            continue;
        writer_u8(w, (uint8_t)(by_psk ? 2 : 3 + oid.len));
        writer_u8(w, a->method);
        if (by_psk)
            continue;
        writer_u8(w, ANY_AUTHORITY);
        writer_bytes(w, oid.at, oid.len);
    }
}

struct bytes auth_methods_write(bool psk, const struct sign_limits *limits, uint8_t *out,
                                size_t room)
{
    for (int most = RAREST; most >= COMMON; most--) {
        struct writer w = writer_of(out, room);
        write_list(&w, psk, limits, (enum rarity)most);
        if (!w.bad)
            return writer_view(&w);
    }
    return (struct bytes){0};
}

static uint32_t read_one(struct reader one)
{
    uint8_t method = reader_u8(&one);
    if (method != AUTH_DIGITAL_SIGNATURE)
        return one.bad ? 0 : bit_of(method, SIGN_NONE);
    reader_skip(&one, 1);
    struct bytes oid = reader_rest(&one);
    return one.bad ? 0 : bit_of(method, sign_scheme_from_oid(oid));
}

uint32_t auth_methods_parse(struct bytes data)
{
    struct reader r = reader_of_bytes(data);
    uint32_t methods = 0;
    if (data.len == 0)
        return 0; /* it will come in another exchange */
    while (r.left > 0) {
        uint8_t len = reader_u8(&r);
        if (len < 2 || (size_t)(len - 1) > r.left)
            return 0;
        methods |= read_one(reader_sub(&r, (size_t)(len - 1)));
    }
    return methods | AUTH_ANNOUNCED;
}

bool auth_methods_have(uint32_t methods, uint8_t method, enum sign_scheme scheme)
{
    return !(methods & AUTH_ANNOUNCED) ||
           methods & bit_of(method, method == AUTH_DIGITAL_SIGNATURE ? scheme : SIGN_NONE);
}

bool auth_methods_have_cert(uint32_t methods)
{
    uint32_t others = AUTH_ANNOUNCED | 1U << AUTH_SHARED_KEY | 1U << AUTH_NULL;
    return !(methods & AUTH_ANNOUNCED) || methods & ~others;
}

const char *auth_methods_print(uint32_t methods, char text[static AUTH_METHODS_TEXT])
{
    const char *last = "";
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(announcements); i++) {
        const struct announcement *a = &announcements[i];
        if (!(methods & bit_of(a->method, a->scheme)) || strcmp(a->name, last) == 0)
            continue;
        last = a->name;
        int more = snprintf(text + len, AUTH_METHODS_TEXT - len, "%s%s", len ? ", " : "", a->name);
        len += more > 0 ? (size_t)more : 0;
        if (len >= AUTH_METHODS_TEXT)
            break;
    }
    if (text[0] == '\0')
        snprintf(text, AUTH_METHODS_TEXT, "nothing that we know");
    return text;
}
