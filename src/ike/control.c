#include "ike/internal.h"

/* What a person or the data plane wants of the engine. Commands for all tunnels only set timers, so
 * that ten thousand of them do not fill the queue of actions in one call. */

static int initiate(struct ike_engine *e, const struct ike_path *path, uint64_t *id)
{
    struct ike_path to = *path;
    if (to.remote.port != IKE_PORT)
        to.port = IKE_PORT_NATT;
    struct tunnel *t = tunnel_create(e, true);
    struct sa *sa = t ? sa_create(e, true, &to) : NULL;
    if (!sa) {
        if (t)
            tunnel_forget(e, t);
        return ERR_LIMIT;
    }
    sa->tunnel = t;
    sa->initial_contact = e->tunnels.used == 1; /* we hold no other tunnel of this identity */
    t->sa = sa;
    int err = init_start(e, sa);
    if (err < 0) {
        tunnel_forget(e, t);
        sa->tunnel = NULL;
        sa_bury(e, sa);
        return err;
    }
    *id = t->id;
    return 0;
}

/* Those for which there is no place among the tasks are due again in a second, and so on. */
static int rekey_children(struct ike_engine *e, struct sa *sa, uint32_t spi_in)
{
    int err = ERR_NOT_FOUND;
    for (struct child *c = sa->children; c; c = c->next) {
        if (c->state != CHILD_UP || (spi_in != 0 && c->spi_in != spi_in))
            continue;
        if (task_add(e, sa, (struct task){.kind = TASK_REKEY_CHILD, .spi_in = c->spi_in}) < 0)
            child_retry(e, c, TIME_SECOND);
        err = 0;
    }
    return err;
}

static int add(struct ike_engine *e, struct sa *sa, uint8_t kind, uint32_t spi_in)
{
    if (kind == TASK_DELETE_CHILD && !child_find(sa, spi_in))
        return ERR_NOT_FOUND;
    return task_add(e, sa, (struct task){.kind = kind, .spi_in = spi_in});
}

static int on_tunnel(struct ike_engine *e, struct tunnel *t, uint32_t kind, uint32_t spi_in)
{
    struct sa *sa = t->sa;
    int err = ERR_ARGUMENT;
    if (kind == IKE_DELETE) {
        tunnel_close(e, t, ERR_DELETED, 0, "closed by command");
        return 0;
    }
    if (!sa || sa->state != IKE_STATE_ESTABLISHED)
        return ERR_STATE;
    switch (kind) {
    case IKE_REKEY_IKE:
        err = add(e, sa, TASK_REKEY_IKE, 0);
        break;
    case IKE_REKEY_CHILD:
        err = rekey_children(e, sa, spi_in);
        break;
    case IKE_CREATE_CHILD:
        err = add(e, sa, TASK_CREATE_CHILD, 0);
        break;
    case IKE_DELETE_CHILD:
        err = add(e, sa, TASK_DELETE_CHILD, spi_in);
        break;
    case IKE_CHECK:
        err = add(e, sa, TASK_LIVENESS, 0);
        break;
    }
    task_run(e, sa);
    return err;
}

/* Due at once, and done by ike_tick() a few at a time. */
static void plan(struct ike_engine *e, struct sa *sa, uint32_t kind)
{
    time_us at = e->now;
    if (kind == IKE_REKEY_CHILD) {
        for (struct child *c = sa->children; c; c = c->next)
            if (c->state == CHILD_UP)
                sa_arm(e, &c->timer, at);
        return;
    }
    if (kind == IKE_DELETE)
        sa->close_now = true;
    else
        sa->rekey_at = at;
    sa_arm(e, &sa->timer_duty, at);
}

static int on_all(struct ike_engine *e, uint32_t kind)
{
    size_t cursor = 0;
    struct tunnel *t;
    if (kind != IKE_DELETE && kind != IKE_REKEY_IKE && kind != IKE_REKEY_CHILD)
        return ERR_ARGUMENT;
    while ((t = map_next(&e->tunnels, &cursor)))
        if (t->sa && (kind == IKE_DELETE || t->sa->state == IKE_STATE_ESTABLISHED))
            plan(e, t->sa, kind);
    return 0;
}

int ike_command(struct ike_engine *e, time_us now, const struct ike_command *command,
                uint64_t *tunnel)
{
    uint64_t id = 0;
    int err;
    engine_begin(e, now);
    if (command->kind == IKE_INITIATE) {
        err = initiate(e, &command->path, &id);
        if (tunnel)
            *tunnel = id;
    } else if (command->kind == IKE_ADDRESSES) {
        err = roam_addresses(e, &command->addresses);
    } else if (command->tunnel == 0) {
        err = on_all(e, command->kind);
    } else {
        struct tunnel *t = map_get(&e->tunnels, command->tunnel);
        err = t ? on_tunnel(e, t, command->kind, command->spi_in) : ERR_NOT_FOUND;
    }
    engine_end(e);
    return err;
}

void ike_fact(struct ike_engine *e, time_us now, const struct ike_fact *fact)
{
    engine_begin(e, now);
    struct child *c = map_get(&e->children, fact->spi_in);
    if (fact->kind == IKE_FACT_UNKNOWN_SPI) {
        if (!c) /* else it was unknown to the data plane only, and for a moment: esp/early.h */
            crash_unknown_spi(e, fact);
        engine_end(e);
        return;
    }
    struct sa *sa = c && c->state != CHILD_CREATING ? c->sa : NULL;
    if (sa && sa->tunnel && sa->tunnel->id == fact->tunnel) {
        switch (fact->kind) {
        case IKE_FACT_CHILD_SOFT:
            child_soft(e, c);
            break;
        case IKE_FACT_CHILD_HARD:
            child_hard(e, c);
            break;
        case IKE_FACT_HEARD:
            sa->last_heard = e->now;
            if (fact->sent)
                sa->last_sent = e->now;
            roam_carried(e, sa);
            if (fact->remote.ip.family)
                path_esp_heard(e, sa, &fact->remote);
            break;
        case IKE_FACT_SENT:
            sa->last_sent = e->now;
            roam_silent(e, sa);
            if (e->conf->dpd > 0 &&
                (e->now - sa->last_heard >= e->conf->dpd * TIME_SECOND || roam_doubts(e, sa)))
                check_liveness(e, sa);
            break;
        case IKE_FACT_STRAYED:
            stray_tell(e, c, fact);
            break;
        }
    }
    engine_end(e);
}
