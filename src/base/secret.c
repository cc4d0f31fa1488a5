#include <string.h>

#include "base/base.h"

void secret_wipe(void *data, size_t len)
{
    if (len > 0)
        explicit_bzero(data, len);
}

/* Eight octets at a time, because every ESP packet comes here. The empty asm keeps the compiler
 * from leaving the loop early. */
bool secret_equal(const void *a, const void *b, size_t len)
{
    const uint8_t *x = a, *y = b;
    uint64_t differ = 0;
    for (; len > 0;) {
        uint64_t left = 0, right = 0;
        size_t part = len < sizeof(left) ? len : sizeof(left);
        memcpy(&left, x, part);
        memcpy(&right, y, part);
        differ |= left ^ right;
        __asm__("" : "+r"(differ));
        x += part, y += part, len -= part;
    }
    return differ == 0;
}
