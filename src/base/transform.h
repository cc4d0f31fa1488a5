/* Transforms and proposals as plain numbers (RFC 7296 section 3.3): what wire/ carries, crypto/
 * implements, conf/ names and ike/ selects from. The numbers themselves are listed in wire/wire.h
 * and, with sizes, in crypto/suite. */
#ifndef SHRIKE_BASE_TRANSFORM_H
#define SHRIKE_BASE_TRANSFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum transform_type {
    TRANSFORM_ENCR = 1,
    TRANSFORM_PRF = 2,
    TRANSFORM_INTEG = 3,
    TRANSFORM_KE = 4,
    TRANSFORM_SN = 5,     /* sequence numbers: 0 = 32 bit, 1 = 64 bit (ESN) */
    TRANSFORM_ADDKE1 = 6, /* additional key exchanges, RFC 9370: methods as those of type 4 */
    TRANSFORM_ADDKE7 = 12,
};
enum { ADDKE_MAX = TRANSFORM_ADDKE7 - TRANSFORM_ADDKE1 + 1 };

enum { PROTOCOL_NONE = 0, PROTOCOL_IKE = 1, PROTOCOL_AH = 2, PROTOCOL_ESP = 3 };

struct transform {
    uint8_t type;
    uint16_t id;
    uint16_t key_bits; /* the Key Length attribute; 0 = absent */
};

enum { PROPOSAL_TRANSFORMS = 64, PROPOSALS_MAX = 32 };

/* One proposal: several transforms a type, in order of preference. As a choice: at most one a type.
 */
struct proposal {
    uint8_t number;
    uint8_t protocol;
    uint8_t spi_len; /* 0, 4 or 8 */
    uint8_t spi[8];
    uint8_t count;
    struct transform transforms[PROPOSAL_TRANSFORMS];
};

static inline bool transform_is_addke(uint8_t type)
{
    return type >= TRANSFORM_ADDKE1 && type <= TRANSFORM_ADDKE7;
}
bool transform_equal(const struct transform *a, const struct transform *b);
/* The first transform of that type, or NULL. */
const struct transform *proposal_find(const struct proposal *p, uint8_t type);
bool proposal_has(const struct proposal *p, const struct transform *t);
/* Appends; false when full. Duplicates are dropped silently. */
bool proposal_add(struct proposal *p, uint8_t type, uint16_t id, uint16_t key_bits);

#endif
