/* Certificates and signatures draw on the crypto library's own random source, serial numbers on the
 * kernel's (the linker puts __wrap_getrandom in its place). Here both are the same in every
 * process, so that a seed means the same everywhere. */
#include <openssl/rand.h>
#include <stdint.h>
#include <sys/types.h>

#include "dull.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static uint64_t state;

static uint8_t next(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint8_t)(state >> 56);
}

static int fill(unsigned char *to, int len)
{
    for (int i = 0; i < len; i++)
        to[i] = next();
    return 1;
}

ssize_t __wrap_getrandom(void *to, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *to, size_t len, unsigned flags)
{
    (void)flags;
    (void)fill(to, (int)len);
    return (ssize_t)len;
}

static int always(void)
{
    return 1;
}

void dull_random(uint64_t seed)
{
    static const RAND_METHOD method = {.bytes = fill, .pseudorand = fill, .status = always};
    state = seed;
    RAND_set_rand_method(&method);
}
