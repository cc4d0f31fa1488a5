/* Where a host is: one address or two, each in the open or behind a NAT box; hosts move, and links
 * come, go, or only look as if they were there. */
#include "worlds.h"

/* Which one the host would take for something new: the best that it has. */
static void choose(struct member *m)
{
    for (size_t i = m->place_count; i > 0; i--)
        if (!m->places[i - 1].gone)
            m->host->ip = m->places[i - 1].ip;
}

void place_add(struct member *m, struct ip ip, struct nat *nat)
{
    assert_true(m->place_count < PLACES);
    m->places[m->place_count++] = (struct place){.ip = ip, .nat = nat};
    choose(m);
}

struct place *place_of(struct member *m, const struct ip *ip)
{
    for (size_t i = 0; i < m->place_count; i++)
        if (!m->places[i].gone && ip_equal(&m->places[i].ip, ip))
            return &m->places[i];
    return NULL;
}

bool place_route(const struct member *m, const struct member *to, unsigned turn,
                 struct ike_path *path)
{
    path->remote.ip = to->places[turn % to->place_count].ip;
    for (size_t i = 0; i < m->place_count; i++) {
        path->local.ip = m->places[i].ip;
        if (!m->places[i].gone && path->local.ip.family == path->remote.ip.family)
            return true;
    }
    return false;
}

void place_tell(struct world *w, struct member *m)
{
    struct ike_command command = {.kind = IKE_ADDRESSES};
    struct ike_addresses *a = &command.addresses;
    const struct member *far = m->gateway ? member_of(m->gateway) : NULL;
    if (!m->host->engine || !(w->roams || m->gateway))
        return;
    for (size_t i = 0; i < m->place_count; i++)
        if (!m->places[i].gone)
            a->local[a->local_count++] =
                (struct ike_local){.at = {m->places[i].ip, 4500}, .rank = (uint32_t)i};
    for (size_t i = 0; far && i < far->place_count; i++)
        a->remote[a->remote_count++] = far->places[i].ip;
    a->doubt = chance(w, 20);
    assert_int_equal(ike_command(m->host->engine, w->sim->now, &command, NULL), 0);
    sim_drain(m->host);
}

static bool is_taken(struct world *w, const struct place *p)
{
    for (size_t i = 0; i < w->member_count; i++)
        for (size_t k = 0; k < w->members[i].place_count; k++)
            if (&w->members[i].places[k] != p && ip_equal(&w->members[i].places[k].ip, &p->ip))
                return true;
    return false;
}

void place_move(struct world *w, struct member *m)
{
    struct place *p = &m->places[dice(w, (unsigned)m->place_count)];
    struct ip was = p->ip;
    char text[ADDR_TEXT];
    if (p->nat && chance(w, 50)) {
        p->nat = NULL; /* from behind a box into the open, or to another box */
    } else if (p->ip.family == 4 && w->nat_count > 0 && chance(w, 50)) {
        p->nat = &w->nats[dice(w, (unsigned)w->nat_count)];
    }
    do
        p->ip = draw_address(w, p->ip.family);
    while (is_taken(w, p) || (!w->roams && ip_equal(&p->ip, &was)));
    choose(m);
    w->tally->moves++;
    tell(w, "%s: has moved to %s", m->host->name, ip_print(&p->ip, text));
    place_tell(w, m);
}

/* A client may be without any address for a while; a gateway keeps one that is well. */
void place_trouble(struct world *w, struct member *m)
{
    struct place *p = &m->places[dice(w, (unsigned)m->place_count)];
    char text[ADDR_TEXT];
    if (!m->gateway && p == &m->places[0])
        return;
    if (p->gone || p->dead) {
        p->gone = p->dead = false;
    } else {
        p->gone = chance(w, 60);
        p->dead = !p->gone;
    }
    choose(m);
    w->tally->moves++;
    tell(w, "%s: %s is %s now", m->host->name, ip_print(&p->ip, text),
         p->gone   ? "gone"
         : p->dead ? "dead"
                   : "well");
    if (!p->dead && chance(w, 80))
        place_tell(w, m);
}

void place_calm(struct world *w, struct member *m)
{
    for (size_t i = 0; i < m->place_count; i++)
        m->places[i].gone = m->places[i].dead = false;
    choose(m);
    place_tell(w, m);
}
