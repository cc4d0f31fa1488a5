/* Third-party vectors for the tests of crypto: found through SHRIKE_VECTORS, or in
 * ../shared/vectors beside the project; without them a test skips and says so. */
#ifndef SHRIKE_TEST_VECTORS_H
#define SHRIKE_TEST_VECTORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static inline json_t *vectors_load(const char *name)
{
    const char *root = getenv("SHRIKE_VECTORS");
    char path[512];
    json_error_t error;
    json_t *doc;

    snprintf(path, sizeof(path), "%s/%s", root != NULL ? root : "../shared/vectors", name);
    doc = json_load_file(path, 0, &error);
    if (doc == NULL)
        printf("note: %s is not here, its cases are skipped\n", path);
    return doc;
}

/* Octets of a hex string member, malloc'ed even when empty, so that the address sanitizer sees
 * every over-read. */
static inline struct bytes vectors_hex(const json_t *object, const char *member)
{
    const char *hex = json_string_value(json_object_get(object, member));
    size_t len = hex == NULL ? 0 : strlen(hex) / 2;
    uint8_t *octets = malloc(len + 1);

    assert_non_null(octets);
    for (size_t i = 0; i < len; i++) {
        unsigned v = 0;

        assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
        octets[i] = (uint8_t)v;
    }
    return (struct bytes){octets, len};
}

static inline void vectors_free(struct bytes b)
{
    free((void *)(uintptr_t)b.at);
}

static inline int64_t vectors_int(const json_t *object, const char *member)
{
    return json_integer_value(json_object_get(object, member));
}

static inline const char *vectors_text(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));

    return text == NULL ? "" : text;
}

/* A random source that gives back what it was loaded with, so that a vector's private key becomes
 * ours. */
struct script {
    struct bytes octets;
    size_t used;
};

static inline void script_fill(void *context, void *to, size_t len)
{
    struct script *s = context;

    for (size_t i = 0; i < len; i++, s->used++)
        ((uint8_t *)to)[i] = s->octets.len == 0 ? 0 : s->octets.at[s->used % s->octets.len];
}

static inline struct random script_random(struct script *s)
{
    return (struct random){script_fill, s};
}

/* A small generator, equal for equal seeds. */
static inline void seeded_fill(void *context, void *to, size_t len)
{
    uint64_t *x = context;

    for (size_t i = 0; i < len; i++) {
        *x ^= *x << 13;
        *x ^= *x >> 7;
        *x ^= *x << 17;
        ((uint8_t *)to)[i] = (uint8_t)(*x >> 24);
    }
}

#endif
