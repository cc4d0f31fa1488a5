/* What happens to a world between its beginning and the judgement. */
#include "worlds.h"

#include "wire/wire.h"

struct call {
    struct sim_call call;
    struct member *member;
};

static void in(struct sim *sim, time_us after, void (*run)(struct sim *, void *), struct member *m)
{
    struct call *c = malloc(sizeof(*c));
    assert_non_null(c);
    *c = (struct call){{run}, m};
    sim_schedule(sim, sim->now + after, SIM_CALL, NULL, c);
}

/* ---- a client holds on to its tunnel */

static void dial_now(struct sim *sim, void *data)
{
    struct member *m = ((struct call *)data)->member;
    m->dialling = false;
    if (!m->host->engine || !m->wanted || m->host->tunnel != 0)
        return;
    struct ike_command command = {.kind = IKE_INITIATE, .path = sim_path(m->host, m->gateway, 500)};
    uint64_t tunnel = 0;
    int err = ERR_ADDRESS;
    if (place_route(m, member_of(m->gateway), m->dials++, &command.path))
        err = ike_command(m->host->engine, sim->now, &command, &tunnel);
    m->host->tunnel = err == 0 ? tunnel : 0;
    tell(sim->world, "%s: dials%s", m->host->name, err == 0 ? "" : ", and cannot");
    sim_drain(m->host);
    if (err != 0)
        dial(sim->world, m, 5 * TIME_SECOND);
}

void dial(struct world *w, struct member *m, time_us after)
{
    if (m->dialling)
        return;
    m->dialling = true;
    in(w->sim, after, dial_now, m);
}

/* A tunnel ended because the other end is said to have lost it. Does that end still have the
 * children? */
static bool was_lied_to(const struct world *w, const struct sim_host *host, uint64_t tunnel)
{
    for (const struct sim_sa *sa = host->sas; sa; sa = sa->next) {
        if (sa->child.tunnel != tunnel || sa->until != w->sim->now)
            continue; /* not of those that end now */
        for (size_t i = 0; i < w->member_count; i++)
            for (const struct sim_sa *far = w->members[i].host->sas; far; far = far->next)
                if (!far->gone && far->child.spi_in == sa->child.spi_out)
                    return true;
    }
    return false;
}

void on_event(struct sim_host *host, const struct ike_event *event)
{
    struct world *w = world_of(host);
    struct member *m = member_of(host);
    struct tally *t = w->tally;
    switch (event->kind) {
    case IKE_EVENT_ESTABLISHED:
        t->established++;
        break;
    case IKE_EVENT_FAILED:
        t->failed++;
        break;
    case IKE_EVENT_DOWN:
        t->down++;
        t->sent_away += event->err == ERR_UNKNOWN_PEER;
        break;
    case IKE_EVENT_REKEYED_IKE:
        t->rekeyed_ike++;
        t->renewed += event->text[0] != 0;
        break;
    case IKE_EVENT_MOVED:
        t->roamed++;
        break;
    case IKE_EVENT_REKEYED_CHILD:
        t->rekeyed_child++;
        break;
    case IKE_EVENT_REFUSED:
        t->refused++;
        break;
    }
    SIM_CHECK(w->sim,
              event->kind != IKE_EVENT_DOWN || event->notify != NOTIFY_INVALID_IKE_SPI ||
                  !was_lied_to(w, host, event->tunnel),
              "%s: a tunnel ends by a token, and the other end has it still", host->name);
    bool over = event->kind == IKE_EVENT_FAILED || event->kind == IKE_EVENT_DOWN;
    /* To a gateway, who authenticates anew is a second tunnel and the end of the first. Who has
     * moved and hears nothing does so, too, be it because nobody had something to say. */
    bool renews = !m->gateway && (w->reauths || w->roams);
    SIM_CHECK(w->sim, !over || !w->strict || renews, "%s: a tunnel ends: %s", host->name,
              event->text);
    if (!m->gateway || !over || event->tunnel != host->tunnel)
        return;
    host->tunnel = 0;
    if (m->wanted)
        dial(w, m, TIME_SECOND);
}

static void start_now(struct sim *sim, void *data)
{
    struct member *m = ((struct call *)data)->member;
    if (m->host->engine)
        return;
    tell(sim->world, "%s: starts", m->host->name);
    if (chance(sim->world, 50))
        draw_again(sim->world, m);
    sim_start(m->host);
    if (chance(sim->world, 50))
        place_tell(sim->world, m);
    if (m->wanted)
        dial(sim->world, m, 0);
}

void crash(struct world *w, struct member *m)
{
    if (!m->host->engine)
        return;
    tell(w, "%s: is killed", m->host->name);
    judge_counters(w, m->host);
    sim_stop(m->host);
    m->host->tunnel = 0;
    w->tally->crashes++;
}

/* ---- the blows */

static uint64_t some_tunnel(struct world *w, struct sim_host *host)
{
    const struct sim_sa *at = host->sas;
    for (unsigned i = dice(w, 4); at && i > 0 && at->next; i--)
        at = at->next;
    return at ? at->child.tunnel : 0;
}

static uint32_t some_spi(struct world *w, const struct sim_host *host, uint64_t *tunnel)
{
    const struct sim_sa *at = host->sas;
    for (unsigned i = dice(w, 5); at && (i > 0 || at->gone); at = at->next)
        i -= i > 0;
    *tunnel = at ? at->child.tunnel : 4711;
    return at ? at->child.spi_in : 77;
}

static void command(struct world *w, struct member *m, uint32_t kind)
{
    static const char *const words[] = {"initiate",      "delete",         "rekey the IKE SA",
                                        "rekey a child", "create a child", "delete a child",
                                        "check"};
    struct ike_command c = {.kind = kind};
    c.tunnel = some_tunnel(w, m->host);
    if (kind == IKE_DELETE_CHILD || (kind == IKE_REKEY_CHILD && chance(w, 30)))
        c.spi_in = some_spi(w, m->host, &c.tunnel);
    bool all = kind == IKE_DELETE || kind == IKE_REKEY_CHILD || kind == IKE_REKEY_IKE;
    if (all && chance(w, 25))
        c.tunnel = c.spi_in = 0;
    else if (c.tunnel == 0)
        return;
    int err = ike_command(m->host->engine, w->sim->now, &c, NULL);
    tell(w, "%s: command: %s: %s", m->host->name, words[kind], err ? err_word(err) : "ok");
    sim_drain(m->host);
}

static void report(struct world *w, struct member *m, uint32_t kind)
{
    struct ike_fact fact = {.kind = kind};
    fact.spi_in = some_spi(w, m->host, &fact.tunnel);
    fact.stray_len = kind == IKE_FACT_STRAYED ? (uint8_t)dice(w, IKE_STRAY_MAX + 1) : 0;
    tell(w, "%s: the data plane reports %u of SPI %08x", m->host->name, kind, fact.spi_in);
    ike_fact(m->host->engine, w->sim->now, &fact);
    sim_drain(m->host);
}

static void cut(struct world *w, struct member *m)
{
    struct cut *c = &w->cuts[dice(w, CUTS)];
    struct sim_host *far =
        m->gateway ? m->gateway : w->members[dice(w, (unsigned)w->member_count)].host;
    c->until = w->sim->now + (1 + dice(w, 90)) * TIME_SECOND;
    c->from = chance(w, 50) ? m->host : far;
    c->to = c->from == far ? m->host : far;
    tell(w, "cut from %s to %s until %.1f", c->from->name, c->to->name, (double)c->until / 1e6);
}

static void crash_and_start(struct world *w, struct member *m)
{
    crash(w, m);
    in(w->sim, chance(w, 50) ? 0 : dice(w, 60) * TIME_SECOND, start_now, m);
}

static void stop_and_start(struct sim *sim, void *data)
{
    struct member *m = ((struct call *)data)->member;
    crash(sim->world, m);
    in(sim, 0, start_now, m);
}

/* So a changed configuration comes into force: all is closed with a Delete, and begins anew. */
static void restart(struct world *w, struct member *m)
{
    struct ike_command c = {.kind = IKE_DELETE};
    tell(w, "%s: is restarted", m->host->name);
    assert_int_equal(ike_command(m->host->engine, w->sim->now, &c, NULL), 0);
    in(w->sim, dice(w, 1500) * TIME_MILLISECOND, stop_and_start, m);
    sim_drain(m->host);
}

void reload(struct world *w, struct member *m)
{
    if (!m->host->engine)
        return;
    int err = sim_reload(m->host);
    tell(w, "%s: reloads: %s", m->host->name, err ? err_word(err) : "ok");
    assert_int_equal(err, 0);
    w->tally->reloads++;
}

/* Somebody is taken out of a gateway's configuration, or comes back into it. */
static void let_in_or_not(struct world *w, struct sim_host *gateway)
{
    const struct member *m = &w->members[dice(w, (unsigned)w->member_count)];
    bool back = gateway->away.type != IDENTITY_NONE || m->gateway != gateway;
    gateway->away = back ? (struct identity){0} : m->host->conf.local_id;
    tell(w, "%s: %s %s", gateway->name, back ? "lets in" : "does not let in",
         back ? "all" : m->host->name);
}

/* As an administrator who has edited the file, or has not. */
static void edit_and_reload(struct world *w, struct member *m)
{
    if (chance(w, 70))
        draw_again(w, m);
    if (!m->gateway && chance(w, 40))
        draw_fewer_networks(w, m->host);
    if (!m->gateway && chance(w, 50))
        let_in_or_not(w, m->host);
    reload(w, m);
    if (chance(w, 15)) {
        sim_run(w->sim, dice(w, 200) * TIME_MILLISECOND);
        if (chance(w, 50))
            draw_again(w, m);
        reload(w, m);
    }
}

static void keys_trouble(struct world *w)
{
    struct member *m = &w->members[dice(w, (unsigned)w->member_count)];
    if (chance(w, 50)) {
        m->host->keys_silent = !m->host->keys_silent;
        tell(w, "%s: keys %s", m->host->name, m->host->keys_silent ? "say nothing" : "speak");
    } else if (!m->gateway) {
        m->host->admit = m->host->admit ? 0 : ERR_ADDRESS;
        tell(w, "%s: %s", m->host->name, m->host->admit ? "gives no address" : "gives addresses");
    }
}

static void weather(struct world *w)
{
    struct sim_link *link = &w->sim->link;
    link->loss = dice(w, 500);
    link->duplicate = dice(w, 300);
    link->delay_max = link->delay_min + dice(w, 1500) * TIME_MILLISECOND;
}

void blow(struct world *w)
{
    struct member *m = &w->members[dice(w, (unsigned)w->member_count)];
    unsigned kind = dice(w, 27);
    if (!(w->blows & 1u << kind) || !m->host->engine)
        return;
    switch (kind) {
    case 0 ... 3:
        command(w, m, IKE_REKEY_CHILD);
        break;
    case 4 ... 6:
        command(w, m, IKE_REKEY_IKE);
        break;
    case 7: { /* both at once: what section 2.25 is about */
        uint32_t kinds[] = {IKE_REKEY_CHILD, IKE_REKEY_IKE, IKE_DELETE_CHILD, IKE_DELETE};
        if (!m->gateway || !m->gateway->engine)
            return;
        command(w, m, kinds[dice(w, 4)]);
        command(w, member_of(m->gateway), kinds[dice(w, 4)]);
        break;
    }
    case 8:
        w->creates = true;
        command(w, m, IKE_CREATE_CHILD);
        break;
    case 9:
        command(w, m, IKE_DELETE_CHILD);
        break;
    case 10:
        command(w, m, IKE_CHECK);
        break;
    case 11:
        command(w, m, IKE_DELETE);
        break;
    case 12: {
        uint32_t facts[] = {IKE_FACT_CHILD_SOFT, IKE_FACT_CHILD_HARD, IKE_FACT_STRAYED};
        report(w, m, facts[dice(w, ARRAY_LEN(facts))]);
        break;
    }
    case 13:
        cut(w, m);
        break;
    case 14:
        if (m->gateway && chance(w, 70))
            place_move(w, m);
        else
            place_trouble(w, m);
        break;
    case 15:
        if (chance(w, 50))
            crash_and_start(w, m);
        else
            restart(w, m);
        break;
    case 16:
        keys_trouble(w);
        break;
    case 17:
        if (w->nat_count > 0)
            net_forget(&w->nats[dice(w, (unsigned)w->nat_count)]);
        break;
    case 18:
        weather(w);
        break;
    case 19:
        if (w->besieged)
            hostile_siege(w);
        else
            place_trouble(w, m);
        break;
    case 24 ... 25:
        edit_and_reload(w, m);
        break;
    case 26: /* in the middle of something */
        command(w, m, chance(w, 50) ? IKE_REKEY_CHILD : IKE_REKEY_IKE);
        sim_run(w->sim, dice(w, 300) * TIME_MILLISECOND);
        edit_and_reload(w, m->gateway && chance(w, 50) ? member_of(m->gateway) : m);
        break;
    default:
        hostile_blow(w);
    }
}
