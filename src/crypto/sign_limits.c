/* Which keys and schemes of signatures somebody is content with, within what crypto/ takes at all.
 */
#include "crypto/crypto.h"

#include <stdio.h>

bool sign_limits_allow(const struct sign_limits *limits, enum sign_scheme scheme)
{
    return limits->schemes == 0 || limits->schemes & 1U << scheme;
}

bool sign_limits_allow_key(const struct sign_limits *limits, const struct public_key *key,
                           char why[static 128])
{
    enum key_kind kind = public_key_kind(key);
    if (limits->kinds && !(limits->kinds & 1U << kind))
        snprintf(why, 128, "signatures by %s keys are not allowed", key_kind_name(kind));
    else if (kind == KEY_RSA && public_key_bits(key) < limits->rsa_bits)
        snprintf(why, 128, "an RSA key of %u bits is too short, %u are wanted",
                 public_key_bits(key), limits->rsa_bits);
    else
        return true;
    return false;
}
