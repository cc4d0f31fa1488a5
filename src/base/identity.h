/* Identities: the ID payload's type and octets (RFC 7296 section 3.5). */
#ifndef SHRIKE_BASE_IDENTITY_H
#define SHRIKE_BASE_IDENTITY_H

#include "base/buf.h"

enum identity_type {
    IDENTITY_NONE = 0,
    IDENTITY_IPV4 = 1,
    IDENTITY_FQDN = 2,
    IDENTITY_RFC822 = 3,
    IDENTITY_IPV6 = 5,
    IDENTITY_DN = 9, /* DER of a Name */
    IDENTITY_GN = 10,
    IDENTITY_KEY_ID = 11,
};

enum { IDENTITY_MAX = 255, IDENTITY_TEXT = 320 };

struct identity {
    uint8_t type; /* IDENTITY_NONE: absent, or matches any */
    uint8_t len;
    uint8_t octets[IDENTITY_MAX];
};

/* Text to identity: an address, `a@b` (RFC822), `keyid:text` or `keyid:0xhex`, anything else with
 * the characters of a host name (FQDN). Distinguished names need ASN.1 and are made in crypto/.
 * False when it is empty, too long or has control characters. */
bool identity_parse(const char *text, struct identity *out);
/* False when the octets do not fit the type (wrong address length, empty, over IDENTITY_MAX). */
bool identity_from_octets(uint8_t type, struct bytes octets, struct identity *out);
bool identity_equal(const struct identity *a,
                    const struct identity *b); /* FQDN and RFC822 without regard to case */
/* Type and octets, the same for all that are equal: to be hashed. How many octets. */
size_t identity_flat(const struct identity *id, uint8_t out[static 1 + IDENTITY_MAX]);
/* Printable, with anything but printable ASCII escaped; DER names print as `dn:hex` (crypto/ prints
 * them better). */
const char *identity_print(const struct identity *id, char text[static IDENTITY_TEXT]);

#endif
