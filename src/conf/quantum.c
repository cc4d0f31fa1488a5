/* Key exchange that withstands quantum computers: where it comes in the proposals, by `pq`. */
#include "conf/internal.h"

#include <string.h>

/* X25519 and then ML-KEM, for those who can do additional key exchanges (RFC 9370). */
#define FIRST                                                                                      \
    "aes256gcm16-aes128gcm16-chacha20poly1305-prfsha384-prfsha256-prfsha512"                       \
    "-x25519-ecp256-ecp384-x448-ecp521-ke1_mlkem768-ke1_mlkem1024"

static bool is_pq(const struct transform *t)
{
    return (t->type == TRANSFORM_KE || transform_is_addke(t->type)) && suite_is_pq(t->id);
}

static bool names_pq(const struct proposal *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (is_pq(&p->transforms[i]))
            return true;
    return false;
}

/* One of its key exchanges has nothing but ML-KEM to choose from. */
static bool ensures_pq(const struct proposal *p)
{
    for (uint8_t type = TRANSFORM_KE; type <= TRANSFORM_ADDKE7; type++) {
        size_t all = 0, pq = 0;
        for (size_t i = 0; i < p->count; i++) {
            all += p->transforms[i].type == type;
            pq += p->transforms[i].type == type && is_pq(&p->transforms[i]);
        }
        if (pq > 0 && pq == all)
            return true;
    }
    return false;
}

static void drop_pq(struct proposal *p)
{
    uint8_t count = 0;
    for (uint8_t i = 0; i < p->count; i++)
        if (!is_pq(&p->transforms[i]))
            p->transforms[count++] = p->transforms[i];
    p->count = count;
}

/* Those for which keep() says so, in their order. */
static uint8_t take(const struct proposal *from, size_t count,
                    bool (*keep)(const struct proposal *), bool wanted, struct proposal *to,
                    uint8_t at)
{
    for (size_t i = 0; i < count; i++)
        if (keep(&from[i]) == wanted)
            to[at++] = from[i];
    return at;
}

static void put_first(struct proposal *list, size_t count)
{
    struct proposal sorted[CONF_PROPOSALS];
    uint8_t at = take(list, count, names_pq, true, sorted, 0);
    (void)take(list, count, names_pq, false, sorted, at);
    memcpy(list, sorted, count * sizeof *list);
}

/* Defaults that nobody wrote, of the program or of a policy. */
void pq_defaults(struct conf_tunnel *t, bool ike_given)
{
    struct proposal all[CONF_PROPOSALS];
    struct bytes bad;
    if (ike_given)
        return;
    if (t->ike_count == 0) {
        bool first =
            t->pq != CONF_PQ_OFF && suite_parse(FIRST, PROTOCOL_IKE, &t->ike[0], &bad) == 0;
        t->ike_count = first;
        t->ike_count +=
            (uint8_t)suite_defaults(PROTOCOL_IKE, t->ike + first, (size_t)CONF_PROPOSALS - first);
    }
    for (size_t i = 0; t->pq == CONF_PQ_OFF && i < t->ike_count; i++)
        drop_pq(&t->ike[i]);
    if (t->pq == CONF_PQ_REQUIRE) {
        memcpy(all, t->ike, sizeof all);
        t->ike_count = take(all, t->ike_count, ensures_pq, true, t->ike, 0);
    }
}

static void check_list(struct parser *p, const char *key, const struct proposal *list, size_t count)
{
    enum conf_pq pq = p->conf->tunnel.pq;
    p->line = option_line(p->conf, "crypto", key);
    for (size_t i = 0; i < count; i++) {
        bool exchanges = proposal_find(&list[i], TRANSFORM_KE);
        if (pq == CONF_PQ_OFF && names_pq(&list[i]))
            parser_fault(p, key, "take it out, or write pq = prefer",
                         "a proposal names ML-KEM, and pq = off");
        if (pq == CONF_PQ_REQUIRE && exchanges && !ensures_pq(&list[i]))
            parser_fault(p, key, "add ke1_mlkem768 with nothing beside it, or write pq = prefer",
                         "pq = require, and a proposal can do without ML-KEM");
    }
}

void pq_check(struct parser *p)
{
    struct conf_tunnel *t = &p->conf->tunnel;
    check_list(p, "ike", t->ike, t->ike_count);
    check_list(p, p->conf->ah_count ? "ah" : "esp", t->esp, t->esp_count);
    p->line = 0;
    if (t->pq == CONF_PQ_PREFER) {
        put_first(t->ike, t->ike_count);
        put_first(t->esp, t->esp_count);
    }
}
