#include "crypto/aead_form.h"
#include "crypto/kex_method.h"

int crypto_init(void)
{
    if (!aead_ossl_ready() || !kex_ecp_ready() || !kex_modp_ready()) {
        log_error("libcrypto lacks an algorithm that is needed");
        return ERR_CRYPTO;
    }
    return 0;
}
