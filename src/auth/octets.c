/* What is signed or MACed: RFC 7296 section 2.15. */
#include "auth/auth.h"

enum { PRF_LEN_MAX = 64 };

int auth_octets(const struct prf_alg *alg, struct bytes message, struct bytes nonce,
                struct bytes sk_p, struct bytes id_body, struct bytes intermediate,
                uint8_t out[static AUTH_OCTETS_MAX], size_t *out_len)
{
    uint8_t mac[PRF_LEN_MAX];
    *out_len = 0;
    if (message.len > AUTH_MESSAGE_MAX || nonce.len > WIRE_NONCE_MAX)
        return ERR_LIMIT;
    int rc = prf(alg, sk_p, &id_body, 1, mac);
    if (rc < 0)
        return rc;
    struct writer w = writer_of(out, AUTH_OCTETS_MAX);
    writer_bytes(&w, message.at, message.len);
    writer_bytes(&w, nonce.at, nonce.len);
    writer_bytes(&w, mac, alg->len);
    writer_bytes(&w, intermediate.at, intermediate.len);
    if (w.bad)
        return ERR_LIMIT;
    *out_len = w.len;
    return 0;
}
