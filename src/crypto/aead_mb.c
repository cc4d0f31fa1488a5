/* The fast back end on x86: ipsec-mb. */
#include "crypto/aead_form.h"

bool aead_mb_usable(void)
{
    return false;
}

const char *aead_mb_name(void)
{
    return "";
}

bool aead_mb_create(struct aead_engine *engine)
{
    (void)engine;
    return false;
}

void aead_mb_free(struct aead_engine *engine)
{
    (void)engine;
}

size_t aead_mb_body(enum aead_cipher cipher)
{
    (void)cipher;
    return 0;
}

void aead_mb_key(struct aead_engine *engine, struct aead *aead, const uint8_t *key)
{
    (void)engine, (void)aead, (void)key;
}

void aead_mb_run(struct aead_engine *engine, struct aead_op *ops, size_t count, bool seal)
{
    (void)engine, (void)ops, (void)count, (void)seal;
}
