/* Shared keys: the MAC of method 2, RFC 7296 section 2.15. */
#include "auth/auth.h"

enum { PRF_LEN_MAX = 64 };

int auth_psk(const struct prf_alg *alg, struct bytes psk, struct bytes octets, uint8_t *out)
{
    static const char pad[] = "Key Pad for IKEv2"; /* RFC 7296 2.15, without the NUL */
    uint8_t key[PRF_LEN_MAX];
    struct bytes pad_bytes = {(const uint8_t *)pad, sizeof(pad) - 1};
    int rc = prf(alg, psk, &pad_bytes, 1, key);
    if (rc == 0)
        rc = prf(alg, (struct bytes){key, alg->len}, &octets, 1, out);
    secret_wipe(key, sizeof(key));
    return rc;
}
