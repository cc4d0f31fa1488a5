/* libcrypto's types.h and err.h, with its ERR_STATE out of the way of base/err.h's. Include this
 * before any other header of libcrypto. */
#ifndef SHRIKE_CRYPTO_OPENSSL_H
#define SHRIKE_CRYPTO_OPENSSL_H

#define ERR_STATE OPENSSL_ERR_STATE
#include <openssl/types.h>
#include <openssl/err.h>
#undef ERR_STATE

#endif
