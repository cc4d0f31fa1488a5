#include <string.h>

#include "ike/internal.h"

/* Choosing algorithms (RFC 7296 2.7, 3.3). Ours is the preference, over all proposals of the peer:
 * phones put what suits them first, and some hide the good proposal as the eleventh. */

enum { TYPES = 6, NOT_FOUND = UINT16_MAX };

/* What a pair of proposals would give: per type the index of our transform, then lower is better.
 * The cipher weighs most. */
struct match {
    const struct transform *picked[TYPES];
    uint16_t rank[TYPES];
    const struct proposal *theirs;
};

static const uint8_t order[] = {TRANSFORM_ENCR, TRANSFORM_INTEG, TRANSFORM_PRF, TRANSFORM_SN,
                                TRANSFORM_KE};

/* MODP costs ten times what the curves do, so a guess of MODP is not taken as it is. */
static bool is_costly(uint16_t group)
{
    return group == 1 || group == 2 || group == 5 || (group >= 14 && group <= 18) ||
           (group >= 22 && group <= 24);
}

/* NONE (id 0) of integrity and key exchange counts as absent, RFC 7296 3.3.3. */
static bool is_none(const struct transform *t)
{
    return t->id == 0 && (t->type == TRANSFORM_INTEG || t->type == TRANSFORM_KE);
}

static bool has_type(const struct proposal *p, uint8_t type)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->transforms[i].type == type && !is_none(&p->transforms[i]))
            return true;
    return false;
}

static bool allows_none(const struct proposal *p, uint8_t type)
{
    bool any = false;
    for (size_t i = 0; i < p->count; i++) {
        if (p->transforms[i].type != type)
            continue;
        any = true;
        if (is_none(&p->transforms[i]))
            return true;
    }
    return !any;
}

static bool pick(const struct proposal *own, const struct proposal *theirs, uint8_t type, bool esn,
                 struct match *m)
{
    uint16_t rank = 0;
    for (size_t i = 0; i < own->count; i++) {
        const struct transform *t = &own->transforms[i];
        if (t->type != type || is_none(t))
            continue;
        bool usable = type != TRANSFORM_SN || esn || t->id == SN_32;
        if (usable && proposal_has(theirs, t)) {
            m->picked[type] = t;
            m->rank[type] = rank;
            return true;
        }
        rank++;
    }
    /* A peer that says nothing of sequence numbers means 32-bit ones. */
    if (type == TRANSFORM_SN)
        return !has_type(theirs, type);
    return !has_type(own, type) && allows_none(theirs, type);
}

/* The group this pair would use, 0 = none in common. Groups we accept are those of the proposal
 * itself, or of the IKE proposals when it names none. Linear in what the peer sent: strangers send
 * it. */
static uint16_t common_group(const struct selection *s, const struct proposal *own,
                             const struct proposal *theirs, uint16_t *rank)
{
    bool listed = has_type(own, TRANSFORM_KE);
    const struct proposal *from = listed ? own : s->groups;
    size_t count = listed ? 1 : s->group_count;
    uint16_t best = 0, at = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < from[i].count; j++) {
            const struct transform *t = &from[i].transforms[j];
            if (t->type != TRANSFORM_KE || is_none(t))
                continue;
            at++;
            if (!proposal_has(theirs, t) || !suite_kex(t->id))
                continue;
            if (best == 0)
                best = t->id, *rank = at;
            /* Another round trip is worth it only to get away from MODP. */
            if (t->id == s->ke_sent && (!is_costly(t->id) || is_costly(best)))
                return t->id;
        }
    return best;
}

static bool match_group(const struct selection *s, const struct proposal *own,
                        const struct proposal *theirs, uint16_t *group, uint16_t *rank)
{
    *group = 0;
    if (s->ke == SELECT_KE_NEVER)
        return true;
    if (s->ke == SELECT_KE_OPTIONAL && s->ke_sent == 0 && allows_none(theirs, TRANSFORM_KE))
        return true;
    *group = common_group(s, own, theirs, rank);
    if (*group != 0)
        return true;
    return s->ke == SELECT_KE_OPTIONAL && allows_none(theirs, TRANSFORM_KE);
}

static bool match_pair(const struct selection *s, const struct proposal *own,
                       const struct proposal *theirs, struct match *m, uint16_t *group)
{
    *m = (struct match){.theirs = theirs};
    if (own->protocol != theirs->protocol)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        if (order[i] != TRANSFORM_KE && !pick(own, theirs, order[i], s->esn, m))
            if (!(order[i] == TRANSFORM_PRF && own->protocol != PROTOCOL_IKE) &&
                !(order[i] == TRANSFORM_SN && own->protocol == PROTOCOL_IKE))
                return false;
    uint8_t main = own->protocol == PROTOCOL_AH ? TRANSFORM_INTEG : TRANSFORM_ENCR;
    return m->picked[main] && match_group(s, own, theirs, group, &m->rank[TRANSFORM_KE]);
}

static bool better(const struct match *a, const struct match *b)
{
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        if (a->rank[order[i]] != b->rank[order[i]])
            return a->rank[order[i]] < b->rank[order[i]];
    return false;
}

static void build(const struct match *m, uint16_t group, struct proposal *out)
{
    *out = (struct proposal){.number = m->theirs->number,
                             .protocol = m->theirs->protocol,
                             .spi_len = m->theirs->spi_len};
    memcpy(out->spi, m->theirs->spi, sizeof(out->spi));
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        const struct transform *t = m->picked[order[i]];
        if (t)
            proposal_add(out, t->type, t->id, t->key_bits);
    }
    if (group)
        proposal_add(out, TRANSFORM_KE, group, 0);
}

int select_proposal(const struct selection *s, struct proposal *out, uint16_t *group)
{
    struct match best = {0}, m;
    uint16_t best_group = 0, g = 0;
    *group = 0;
    for (size_t i = 0; i < s->own_count && !best.theirs; i++)
        for (size_t j = 0; j < s->offered_count; j++)
            if (match_pair(s, &s->own[i], &s->offered[j], &m, &g) &&
                (!best.theirs || better(&m, &best))) {
                best = m;
                best_group = g;
            }
    if (!best.theirs)
        return NOTIFY_NO_PROPOSAL_CHOSEN;
    *group = best_group;
    if (best_group != 0 && best_group != s->ke_sent)
        return NOTIFY_INVALID_KE_PAYLOAD;
    build(&best, best_group, out);
    return 0;
}

static size_t count_type(const struct proposal *p, uint8_t type)
{
    size_t n = 0;
    for (size_t i = 0; i < p->count; i++)
        n += p->transforms[i].type == type && !is_none(&p->transforms[i]);
    return n;
}

static bool inside(const struct proposal *offer, const struct proposal *answer)
{
    if (offer->protocol != answer->protocol)
        return false;
    for (size_t i = 0; i < answer->count; i++)
        if (!is_none(&answer->transforms[i]) && !proposal_has(offer, &answer->transforms[i]))
            return false;
    return has_type(offer, TRANSFORM_INTEG) == has_type(answer, TRANSFORM_INTEG);
}

int select_check(const struct proposal *offer, size_t count, const struct proposal *answer,
                 enum select_ke ke)
{
    bool ike = answer->protocol == PROTOCOL_IKE, ah = answer->protocol == PROTOCOL_AH;
    size_t groups = count_type(answer, TRANSFORM_KE), macs = count_type(answer, TRANSFORM_INTEG);
    if (count_type(answer, TRANSFORM_ENCR) != (ah ? 0 : 1) || macs > 1 || (ah && macs == 0) ||
        count_type(answer, TRANSFORM_PRF) != (ike ? 1 : 0) || groups > 1 ||
        count_type(answer, TRANSFORM_SN) > 1 || (ke == SELECT_KE_MUST && groups != 1) ||
        (ke == SELECT_KE_NEVER && groups != 0))
        return ERR_NO_PROPOSAL;
    for (size_t i = 0; i < count; i++)
        if (inside(&offer[i], answer))
            return 0;
    return ERR_NO_PROPOSAL;
}

struct chosen select_chosen(const struct proposal *p)
{
    struct chosen c = {0};
    for (size_t i = 0; i < p->count; i++) {
        const struct transform *t = &p->transforms[i];
        switch (t->type) {
        case TRANSFORM_ENCR:
            c.encr = t->id;
            c.encr_bits = t->key_bits;
            break;
        case TRANSFORM_INTEG:
            c.integ = t->id;
            break;
        case TRANSFORM_PRF:
            c.prf = t->id;
            break;
        case TRANSFORM_KE:
            c.ke = t->id;
            break;
        case TRANSFORM_SN:
            c.sn = (uint8_t)t->id;
            break;
        }
    }
    return c;
}

static void add_groups(const struct conf_tunnel *conf, uint16_t first, struct proposal *p)
{
    if (has_type(p, TRANSFORM_KE))
        return;
    if (first)
        proposal_add(p, TRANSFORM_KE, first, 0);
    for (size_t i = 0; i < conf->ike_count; i++)
        for (size_t j = 0; j < conf->ike[i].count; j++)
            if (conf->ike[i].transforms[j].type == TRANSFORM_KE)
                proposal_add(p, TRANSFORM_KE, conf->ike[i].transforms[j].id, 0);
}

static void copy_some(const struct proposal *from, bool with_ke, bool esn, struct proposal *to)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct transform *t = &from->transforms[i];
        if ((t->type == TRANSFORM_KE && !with_ke) ||
            (t->type == TRANSFORM_SN && t->id != SN_32 && !esn))
            continue;
        proposal_add(to, t->type, t->id, t->key_bits);
    }
}

size_t select_offer(const struct conf_tunnel *conf, uint8_t protocol, struct bytes spi,
                    bool with_ke, uint16_t first_group, struct proposal *out)
{
    bool ike = protocol == PROTOCOL_IKE;
    const struct proposal *from = ike ? conf->ike : conf->esp;
    size_t count = ike ? conf->ike_count : conf->esp_count;
    for (size_t i = 0; i < count; i++) {
        out[i] = (struct proposal){.number = (uint8_t)(i + 1), .protocol = protocol};
        out[i].spi_len = (uint8_t)spi.len;
        if (spi.len > 0)
            memcpy(out[i].spi, spi.at, spi.len);
        copy_some(&from[i], with_ke, conf->esn || ike, &out[i]);
        if (!ike && with_ke)
            add_groups(conf, first_group, &out[i]);
    }
    return count;
}

bool select_offers_group(const struct proposal *proposals, size_t count, uint16_t group)
{
    const struct transform t = {.type = TRANSFORM_KE, .id = group};
    for (size_t i = 0; i < count; i++)
        if (proposal_has(&proposals[i], &t))
            return suite_kex(group);
    return false;
}

uint16_t select_first_group(const struct proposal *proposals, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < proposals[i].count; j++) {
            const struct transform *t = &proposals[i].transforms[j];
            if (t->type == TRANSFORM_KE && !is_none(t) && suite_kex(t->id))
                return t->id;
        }
    return 0;
}
