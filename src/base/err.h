/* Local errors: one number line for the whole program. 0 is success, > 0 is an IKE notify to send
 * (ike/ only), < 0 is one of these. The sentence is what a user sees when nothing more precise is
 * known; `cause` texts elsewhere add names and values. */
#ifndef SHRIKE_BASE_ERR_H
#define SHRIKE_BASE_ERR_H

/* X(name, value, word, sentence); word is stable and machine-readable (logs, JSON). */
#define ERR_LIST(X)                                                                                \
    X(ERR_FAILED, -1, "failed", "the operation failed")                                            \
    X(ERR_SYSTEM, -2, "system", "the operating system refused")                                    \
    X(ERR_MEMORY, -3, "memory", "memory or a configured limit is exhausted")                       \
    X(ERR_ARGUMENT, -4, "argument", "an argument is out of range")                                 \
    X(ERR_NOT_FOUND, -5, "not-found", "there is no such thing")                                    \
    X(ERR_EXISTS, -6, "exists", "it exists already")                                               \
    X(ERR_PERMISSION, -7, "permission", "this needs root, or CAP_NET_ADMIN")                       \
    X(ERR_SYNTAX, -8, "syntax", "the bytes do not have the form they must have")                   \
    X(ERR_UNSUPPORTED, -9, "unsupported", "not supported here")                                    \
    X(ERR_CRYPTO, -10, "crypto", "the crypto library refused")                                     \
    X(ERR_INTEGRITY, -11, "integrity", "the integrity check failed")                               \
    X(ERR_REPLAY, -12, "replay", "a number that was used before, or one behind the window")        \
    X(ERR_STATE, -13, "state", "this is not legal in the present state")                           \
    X(ERR_LIMIT, -14, "limit", "more of them than the limit allows")                               \
    X(ERR_TIMEOUT, -15, "timeout", "the peer did not answer in time")                              \
    X(ERR_NO_PROPOSAL, -16, "no-proposal", "no common set of algorithms")                          \
    X(ERR_AUTH, -17, "auth-failed", "authentication failed")                                       \
    X(ERR_IDENTITY, -18, "identity", "the peer's identity is not the one expected")                \
    X(ERR_CERT_PARSE, -19, "cert-unreadable", "a certificate cannot be read")                      \
    X(ERR_CERT_EXPIRED, -20, "cert-expired", "a certificate has expired")                          \
    X(ERR_CERT_NOT_YET, -21, "cert-not-yet-valid", "a certificate is not valid yet: check clocks") \
    X(ERR_CERT_UNKNOWN_CA, -22, "cert-unknown-ca", "the certificate's issuer is not trusted here") \
    X(ERR_CERT_NAME, -23, "cert-name", "the certificate does not carry the identity claimed")      \
    X(ERR_CERT_USAGE, -24, "cert-usage", "the certificate may not be used for this")               \
    X(ERR_CERT_WEAK, -25, "cert-weak", "the certificate's key is too small")                       \
    X(ERR_CERT_CHAIN, -26, "cert-chain", "the certificate chain does not hold")                    \
    X(ERR_KEY_MISMATCH, -27, "key-mismatch", "the private key does not belong to the certificate") \
    X(ERR_KEY_PARSE, -28, "key-unreadable", "the private key cannot be read")                      \
    X(ERR_TS, -29, "ts-unacceptable", "no common traffic selectors")                               \
    X(ERR_ADDRESS, -30, "no-address", "no inner address could be assigned")                        \
    X(ERR_PEER, -31, "peer-refused", "the peer refused")                                           \
    X(ERR_DELETED, -32, "deleted", "deleted by command or by the peer")                            \
    X(ERR_LIFETIME, -33, "lifetime", "the lifetime ended before a rekey succeeded")                \
    X(ERR_REPLACED, -34, "replaced", "replaced by a newer connection of the same peer")            \
    X(ERR_CONFIG, -35, "config", "the configuration is wrong")                                     \
    X(ERR_BUSY, -36, "busy", "in use by someone else")                                             \
    X(ERR_CLOSED, -37, "closed", "the other side is gone")                                         \
    X(ERR_UNKNOWN_PEER, -38, "unknown-peer", "no configured peer has this identity")               \
    X(ERR_KE, -39, "bad-key-exchange", "the peer's key exchange value is not acceptable")          \
    X(ERR_CERT_REVOKED, -40, "cert-revoked", "a certificate was revoked")                          \
    X(ERR_AGAIN, -41, "again", "nothing to do now")

enum err {
#define X(name, value, word, sentence) name = value,
    ERR_LIST(X)
#undef X
};

/* The stable word / the sentence for a negative error; "ok" / "unknown" otherwise. Never NULL. */
const char *err_word(int err);
const char *err_sentence(int err);

#endif
