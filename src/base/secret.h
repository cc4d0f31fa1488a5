/* Secrets: wiped by their owner, compared in constant time. */
#ifndef SHRIKE_BASE_SECRET_H
#define SHRIKE_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SECRET_MAX = 64 };

/* A short secret of variable length (SK_*, nonces for keys, shared secrets of up to SECRET_MAX
 * octets). */
struct secret {
    uint8_t len;
    uint8_t octets[SECRET_MAX];
};

void secret_wipe(void *data, size_t len);
bool secret_equal(const void *a, const void *b, size_t len);

/* Random octets are passed in, never taken: the engine under test gets a seeded source, the program
 * gets getrandom(2). */
struct random {
    void (*fill)(void *context, void *to, size_t len);
    void *context;
};
void random_fill(const struct random *random, void *to, size_t len);
uint32_t random_u32(const struct random *random);
uint64_t random_u64(const struct random *random);
/* The kernel's source; does not return without having filled all. */
extern const struct random random_system;

#endif
