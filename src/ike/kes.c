#include "ike/internal.h"

/* The key exchanges that make the keys of one SA: that of transform type 4, and up to seven
 * additional ones (RFC 9370 2.2.1). No method may be chosen twice. */

enum { CANDIDATES = 16, STEPS_MAX = 128 };

/* What both have for one of the additional exchanges, in our order of preference. */
struct slot {
    uint8_t count;
    bool none; /* it may be left out */
    uint8_t methods[CANDIDATES];
};

static bool allows_none(const struct proposal *p, uint8_t type)
{
    bool any = false;
    for (size_t i = 0; i < p->count; i++) {
        if (p->transforms[i].type != type)
            continue;
        if (p->transforms[i].id == 0)
            return true;
        any = true;
    }
    return !any;
}

static void fill(const struct proposal *own, const struct proposal *theirs, uint8_t type,
                 struct slot *slot)
{
    *slot = (struct slot){.none = allows_none(own, type) && allows_none(theirs, type)};
    for (size_t i = 0; i < own->count && slot->count < CANDIDATES; i++) {
        const struct transform *t = &own->transforms[i];
        if (t->type == type && t->id > 0 && t->id <= UINT8_MAX && suite_kex(t->id) &&
            proposal_has(theirs, t))
            slot->methods[slot->count++] = (uint8_t)t->id;
    }
}

static bool is_used(const struct kes *kes, size_t before, uint8_t method)
{
    bool used = method == kes->ke;
    for (size_t i = 0; i < before; i++)
        used = used || method == kes->add[i];
    return used;
}

/* One method a slot, none twice: the first way that works. The number of steps is bounded, as a
 * stranger may make up the lists. */
static bool assign(const struct slot slots[static ADDKE_MAX], struct kes *kes)
{
    size_t next[ADDKE_MAX] = {0};
    int at = 0;
    for (int steps = 0; steps < STEPS_MAX && at >= 0 && at < ADDKE_MAX; steps++) {
        const struct slot *slot = &slots[at];
        size_t i = next[at]++;
        if (i < slot->count && !is_used(kes, (size_t)at, slot->methods[i]))
            kes->add[at++] = slot->methods[i];
        else if (i == slot->count && slot->none)
            kes->add[at++] = 0;
        else if (i >= slot->count)
            next[at--] = 0;
    }
    return at == ADDKE_MAX;
}

bool kes_match(const struct proposal *own, const struct proposal *theirs, bool single,
               struct kes *kes)
{
    struct slot slots[ADDKE_MAX];
    for (uint8_t i = 0; i < ADDKE_MAX; i++) {
        fill(own, theirs, (uint8_t)(TRANSFORM_ADDKE1 + i), &slots[i]);
        if (single)
            slots[i].count = 0;
        if (slots[i].count == 0 && !slots[i].none)
            return false;
    }
    return assign(slots, kes);
}

bool kes_are_pq(const struct kes *kes)
{
    bool pq = suite_is_pq(kes->ke);
    for (size_t i = 0; i < ADDKE_MAX; i++)
        pq = pq || suite_is_pq(kes->add[i]);
    return pq;
}

void kes_add(const struct kes *kes, const struct proposal *theirs, struct proposal *out)
{
    proposal_add(out, TRANSFORM_KE, kes->ke, 0);
    for (uint8_t i = 0; i < ADDKE_MAX; i++) {
        uint8_t type = (uint8_t)(TRANSFORM_ADDKE1 + i);
        if (kes->add[i] || (theirs && proposal_find(theirs, type)))
            proposal_add(out, type, kes->add[i], 0);
    }
}

bool kes_answer(const struct proposal *offer, const struct proposal *answer)
{
    struct kes kes = {0};
    const struct transform *ke = proposal_find(answer, TRANSFORM_KE);
    bool one = ke && ke->id != 0;
    kes.ke = one ? ke->id : 0;
    for (uint8_t i = 0; i < ADDKE_MAX; i++) {
        uint8_t type = (uint8_t)(TRANSFORM_ADDKE1 + i);
        size_t count = 0;
        for (size_t j = 0; j < answer->count; j++)
            count += answer->transforms[j].type == type;
        const struct transform *t = proposal_find(answer, type);
        if (count > 1 || (t && t->id > UINT8_MAX))
            return false;
        kes.add[i] = t ? (uint8_t)t->id : 0;
        if (kes.add[i] ? !one || !suite_kex(t->id) || is_used(&kes, i, kes.add[i])
                       : one && !allows_none(offer, type))
            return false;
    }
    return true;
}

bool kes_may_be_one(const struct proposal *p)
{
    bool may = true;
    for (uint8_t type = TRANSFORM_ADDKE1; type <= TRANSFORM_ADDKE7; type++)
        may = may && allows_none(p, type);
    return may;
}

bool kes_may_be_more(const struct proposal *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (transform_is_addke(p->transforms[i].type) && p->transforms[i].id != 0)
            return true;
    return false;
}

size_t kes_additional(const struct kes *kes, uint8_t out[static ADDKE_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < ADDKE_MAX; i++)
        if (kes->add[i])
            out[count++] = kes->add[i];
    return count;
}

const char *ike_kes_print(const struct kes *kes, char text[static 512])
{
    struct proposal p = {0};
    if (kes->ke)
        kes_add(kes, NULL, &p);
    return suite_print_proposal(&p, text);
}
