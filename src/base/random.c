#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/base.h"

/* A handshake takes random octets six times, a few dozen each: they are fetched in one system call
 * and kept in a page that a fork leaves empty in the child, so that no two processes share any.
 * Each octet is wiped as it is given out. One a thread. */
enum { STOCK = 512 };
struct stock {
    size_t left; /* octets[0 .. left) are fresh */
    uint8_t octets[STOCK];
};
static _Thread_local struct stock *stock;
static _Thread_local bool without_stock;

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
static void fetch(uint8_t *at, size_t len)
{
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

static struct stock *make_stock(void)
{
    void *page = mmap(NULL, sizeof(struct stock), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NULL;
    (void)madvise(page, sizeof(struct stock), MADV_DONTDUMP);
    if (madvise(page, sizeof(struct stock), MADV_WIPEONFORK) == 0)
        return page;
    munmap(page, sizeof(struct stock));
    return NULL;
}

static void system_fill(void *context, void *to, size_t len)
{
    (void)context;
    if (!stock && !without_stock) {
        stock = make_stock();
        without_stock = !stock;
    }
    if (!stock || len > STOCK / 4) {
        fetch(to, len);
        return;
    }
    if (stock->left < len) {
        fetch(stock->octets, STOCK);
        stock->left = STOCK;
    }
    stock->left -= len;
    memcpy(to, stock->octets + stock->left, len);
    secret_wipe(stock->octets + stock->left, len);
}

const struct random random_system = {.fill = system_fill};
