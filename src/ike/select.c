#include <string.h>

#include "ike/internal.h"

/* Choosing algorithms (RFC 7296 2.7, 3.3). Ours is the preference, over all proposals of the peer:
 * phones put what suits them first, and some hide the good proposal as the eleventh. */

enum { TYPES = 6 };

/* What a pair of proposals would give: per type the index of our transform, then lower is better.
 * ML-KEM weighs most, then the cipher. */
struct match {
    const struct transform *picked[TYPES];
    uint16_t rank[TYPES];
    const struct proposal *theirs;
    struct kes kes;
    bool pq;
};

static const uint8_t order[] = {TRANSFORM_ENCR, TRANSFORM_INTEG, TRANSFORM_PRF, TRANSFORM_SN,
                                TRANSFORM_KE};

/* MODP costs ten times what the curves do, so a guess of MODP is not taken as it is. */
static bool is_costly(uint16_t group)
{
    return group == 1 || group == 2 || group == 5 || (group >= 14 && group <= 18) ||
           (group >= 22 && group <= 24);
}

/* NONE (id 0) of integrity and key exchange counts as absent, RFC 7296 3.3.3, RFC 9370 2.2.1. */
static bool is_none(const struct transform *t)
{
    return t->id == 0 &&
           (t->type == TRANSFORM_INTEG || t->type == TRANSFORM_KE || transform_is_addke(t->type));
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

/* The group out of `from` that this pair would use, 0 = none in common. Linear in what the peer
 * sent: strangers send it. */
static uint16_t common_group(const struct selection *s, const struct proposal *from,
                             const struct proposal *theirs, uint16_t *at)
{
    uint16_t best = 0, rank = *at;
    for (size_t j = 0; j < from->count; j++) {
        const struct transform *t = &from->transforms[j];
        if (t->type != TRANSFORM_KE || is_none(t))
            continue;
        (*at)++;
        if (!proposal_has(theirs, t) || !suite_kex(t->id))
            continue;
        if (best == 0)
            best = t->id, rank = *at;
        /* Another round trip is worth it only to get away from MODP. */
        if (t->id == s->ke_sent && (!is_costly(t->id) || is_costly(best))) {
            best = t->id;
            break;
        }
    }
    *at = rank;
    return best;
}

/* Groups we accept are those of the proposal itself, or of the IKE proposals when it names none;
 * and with each go its additional key exchanges. */
static bool match_kes(const struct selection *s, const struct proposal *own,
                      const struct proposal *theirs, struct match *m)
{
    bool listed = has_type(own, TRANSFORM_KE), found = false;
    const struct proposal *from = listed ? own : s->groups;
    size_t count = listed ? 1 : s->group_count;
    uint16_t at = 0;
    for (size_t i = 0; i < count; i++) {
        struct kes kes = {.ke = common_group(s, &from[i], theirs, &at)};
        if (kes.ke == 0 || !kes_match(&from[i], theirs, s->single, &kes))
            continue;
        bool pq = kes_are_pq(&kes), guessed = kes.ke == s->ke_sent && m->kes.ke != s->ke_sent;
        if ((s->pq == CONF_PQ_REQUIRE && !pq) ||
            (found && (m->pq > pq || !guessed || is_costly(kes.ke))))
            continue;
        m->kes = kes;
        m->pq = pq;
        m->rank[TRANSFORM_KE] = at;
        found = true;
    }
    return found;
}

/* Without a key exchange of its own there is none to add to. */
static bool allows_no_kes(const struct proposal *p)
{
    bool any = true;
    for (uint8_t type = TRANSFORM_ADDKE1; type <= TRANSFORM_ADDKE7; type++)
        any = any && allows_none(p, type);
    return any && allows_none(p, TRANSFORM_KE);
}

static bool match_group(const struct selection *s, const struct proposal *own,
                        const struct proposal *theirs, struct match *m)
{
    if (s->ke == SELECT_KE_NEVER)
        return true;
    bool optional = s->ke == SELECT_KE_OPTIONAL && allows_no_kes(theirs);
    if (optional && s->ke_sent == 0)
        return true;
    return match_kes(s, own, theirs, m) || optional;
}

static bool match_pair(const struct selection *s, const struct proposal *own,
                       const struct proposal *theirs, struct match *m)
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
    return m->picked[main] && match_group(s, own, theirs, m);
}

static bool better(const struct match *a, const struct match *b)
{
    if (a->pq != b->pq)
        return a->pq;
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        if (a->rank[order[i]] != b->rank[order[i]])
            return a->rank[order[i]] < b->rank[order[i]];
    return false;
}

static void build(const struct match *m, struct proposal *out)
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
    if (m->kes.ke)
        kes_add(&m->kes, m->theirs, out);
}

int select_proposal(const struct selection *s, struct proposal *out, uint16_t *group)
{
    struct match best = {0}, m;
    *group = 0;
    for (size_t i = 0; i < s->own_count && !best.theirs; i++)
        for (size_t j = 0; j < s->offered_count; j++)
            if (match_pair(s, &s->own[i], &s->offered[j], &m) &&
                (!best.theirs || better(&m, &best)))
                best = m;
    if (!best.theirs)
        return NOTIFY_NO_PROPOSAL_CHOSEN;
    *group = best.kes.ke;
    if (*group != 0 && *group != s->ke_sent)
        return NOTIFY_INVALID_KE_PAYLOAD;
    build(&best, out);
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
    return has_type(offer, TRANSFORM_INTEG) == has_type(answer, TRANSFORM_INTEG) &&
           kes_answer(offer, answer);
}

int select_check(const struct proposal *offer, size_t count, const struct proposal *answer,
                 enum select_ke ke, enum conf_pq pq)
{
    bool ike = answer->protocol == PROTOCOL_IKE, ah = answer->protocol == PROTOCOL_AH;
    size_t groups = count_type(answer, TRANSFORM_KE), macs = count_type(answer, TRANSFORM_INTEG);
    if (count_type(answer, TRANSFORM_ENCR) != (ah ? 0 : 1) || macs > 1 || (ah && macs == 0) ||
        count_type(answer, TRANSFORM_PRF) != (ike ? 1 : 0) || groups > 1 ||
        count_type(answer, TRANSFORM_SN) > 1 || (ke == SELECT_KE_MUST && groups != 1) ||
        (ke == SELECT_KE_NEVER && groups != 0))
        return ERR_NO_PROPOSAL;
    struct chosen chosen = select_chosen(answer);
    if (pq == CONF_PQ_REQUIRE && groups != 0 && !kes_are_pq(&chosen.kes))
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
            c.kes.ke = t->id;
            break;
        case TRANSFORM_SN:
            c.sn = (uint8_t)t->id;
            break;
        default:
            if (transform_is_addke(t->type))
                c.kes.add[t->type - TRANSFORM_ADDKE1] = (uint8_t)t->id;
            break;
        }
    }
    return c;
}

/* With no groups of its own a child's proposal gets those of the IKE proposals: of the first one
 * with additional exchanges and these, or of all without. */
static void add_groups(const struct conf_tunnel *conf, uint16_t first, const struct proposal *more,
                       struct proposal *p)
{
    if (first)
        proposal_add(p, TRANSFORM_KE, first, 0);
    for (size_t i = 0; i < conf->ike_count; i++)
        for (size_t j = 0; j < conf->ike[i].count; j++) {
            const struct transform *t = &conf->ike[i].transforms[j];
            bool wanted = more ? more == &conf->ike[i] : kes_may_be_one(&conf->ike[i]);
            if (wanted && (t->type == TRANSFORM_KE || (more && transform_is_addke(t->type))))
                proposal_add(p, t->type, t->id, 0);
        }
}

static void copy_some(const struct proposal *from, bool with_ke, bool esn, struct proposal *to)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct transform *t = &from->transforms[i];
        bool ke = t->type == TRANSFORM_KE || transform_is_addke(t->type);
        if ((ke && !with_ke) || (t->type == TRANSFORM_SN && t->id != SN_32 && !esn))
            continue;
        proposal_add(to, t->type, t->id, t->key_bits);
    }
}

static bool knows_one(const struct conf_tunnel *conf)
{
    bool one = false;
    for (size_t i = 0; i < conf->ike_count; i++)
        one = one || kes_may_be_one(&conf->ike[i]);
    return one;
}

/* All proposals once, with groups of their own or (more NULL) of what may be one exchange. */
static size_t offer_all(const struct conf_tunnel *conf, const struct select_wish *w,
                        const struct proposal *more, size_t at, struct proposal *out)
{
    bool ike = w->protocol == PROTOCOL_IKE;
    const struct proposal *from = ike ? conf->ike : conf->esp;
    size_t count = ike ? conf->ike_count : conf->esp_count;
    for (size_t i = 0; i < count; i++) {
        bool listed = has_type(&from[i], TRANSFORM_KE), needs = w->with_ke && !ike && !listed;
        if (more ? !needs : needs && !knows_one(conf))
            continue;
        struct proposal *p = &out[at];
        *p = (struct proposal){.number = (uint8_t)(at + 1), .protocol = w->protocol};
        p->spi_len = (uint8_t)w->spi.len;
        if (w->spi.len > 0)
            memcpy(p->spi, w->spi.at, w->spi.len);
        copy_some(&from[i], w->with_ke, conf->esn || ike, p);
        if (needs)
            add_groups(conf, w->first_group, more, p);
        at++;
    }
    return at;
}

size_t select_offer(const struct conf_tunnel *conf, const struct select_wish *w,
                    struct proposal out[static OFFERS_MAX])
{
    size_t at = 0;
    bool more = w->with_ke && (w->more || !knows_one(conf)); /* an IKE SA from before a reload */
    for (size_t i = 0; more && i < conf->ike_count && at == 0; i++)
        if (kes_may_be_more(&conf->ike[i]))
            at = offer_all(conf, w, &conf->ike[i], at, out);
    return offer_all(conf, w, NULL, at, out);
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
