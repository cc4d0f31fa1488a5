#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

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

void random_fill(const struct random *random, void *to, size_t len)
{
    random->fill(random->context, to, len);
}

uint32_t random_u32(const struct random *random)
{
    uint32_t v;
    random_fill(random, &v, sizeof(v));
    return v;
}

uint64_t random_u64(const struct random *random)
{
    uint64_t v;
    random_fill(random, &v, sizeof(v));
    return v;
}

/* getrandom(2) fails only when it is not there or not allowed; going on without it would be worse
 * than ending. */
static void system_fill(void *context, void *to, size_t len)
{
    (void)context;
    uint8_t *at = to;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            log_error("getrandom: %s; ending, because keys need it", strerror(errno));
            _exit(1);
        }
        at += got;
        len -= (size_t)got;
    }
}

const struct random random_system = {.fill = system_fill};
