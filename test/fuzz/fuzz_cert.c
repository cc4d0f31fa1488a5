/* Certificates and distinguished names of strangers: read, printed, asked for identities, verified.
 * The first octet is the length of an identity's octets, which come before the certificate. */
#include "crypto/crypto.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t size)
{
    if (!memchr(text, 0, size))
        abort();
    for (; *text; text++) {
        if (*text < 0x20 || *text > 0x7e)
            abort();
    }
}

static void ask(const struct cert *cert, const struct identity *wanted)
{
    char text[256];
    struct identity own;
    check_text(cert_print_subject(cert, text), sizeof(text));
    check_text(cert_print_issuer(cert, text), sizeof(text));
    (void)cert_has_identity(cert, wanted);
    if (cert_identity(cert, &own) && !cert_has_identity(cert, &own))
        abort();
    free(pki_describe(cert));
}

static void check_chain(struct cert *cert)
{
    char why[256];
    struct cert_trust *trust = cert_trust_create();
    if (trust && cert_verify(trust, cert, &cert, 1, CERT_FOR_ANY, 1800000000, why) == 0)
        abort(); /* nobody is trusted here */
    if (trust && cert_trust_add(trust, cert) == 0 &&
        cert_verify(trust, cert, &cert, 1, CERT_FOR_GATEWAY, 1800000000, why) < 0)
        check_text(why, sizeof(why));
    cert_trust_free(trust);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size - 2 < data[0])
        return 0;
    struct bytes octets = {data + 2, data[0]};
    struct bytes der = {data + 2 + data[0], size - 2 - data[0]};
    struct identity wanted = {0};
    char text[IDENTITY_TEXT];
    if (identity_from_octets(data[1], octets, &wanted)) {
        struct identity once, twice;
        check_text(cert_dn_print(&wanted, text), sizeof(text));
        cert_identity_canonical(&wanted, &once);
        cert_identity_canonical(&once, &twice);
        if (once.len != twice.len || memcmp(once.octets, twice.octets, once.len) != 0)
            abort();
    }
    struct cert *cert;
    if (cert_parse(der, &cert) < 0)
        return 0;
    ask(cert, &wanted);
    check_chain(cert);
    cert_free(cert);
    return 0;
}
