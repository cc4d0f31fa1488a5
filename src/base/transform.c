#include "base/base.h"

bool transform_equal(const struct transform *a, const struct transform *b)
{
    return a->type == b->type && a->id == b->id && a->key_bits == b->key_bits;
}

const struct transform *proposal_find(const struct proposal *p, uint8_t type)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->transforms[i].type == type)
            return &p->transforms[i];
    return NULL;
}

bool proposal_has(const struct proposal *p, const struct transform *t)
{
    for (size_t i = 0; i < p->count; i++)
        if (transform_equal(&p->transforms[i], t))
            return true;
    return false;
}

bool proposal_add(struct proposal *p, uint8_t type, uint16_t id, uint16_t key_bits)
{
    struct transform t = {.type = type, .id = id, .key_bits = key_bits};
    if (proposal_has(p, &t))
        return true;
    if (p->count >= PROPOSAL_TRANSFORMS)
        return false;
    p->transforms[p->count++] = t;
    return true;
}
