#include <string.h>

#include "ike/gate.h"

#define BIT(state) (1u << IKE_STATE_##state)

/* From each state, where to. Leaving the map altogether is legal from every state. */
static const uint16_t legal_moves[IKE_STATE_COUNT] = {
    [IKE_STATE_NONE] = BIT(INIT_SENT) | BIT(INIT_DONE) | BIT(ESTABLISHED),
    [IKE_STATE_INIT_SENT] = BIT(INTERMEDIATE_SENT) | BIT(AUTH_SENT) | BIT(DELETING),
    [IKE_STATE_INIT_DONE] = BIT(AUTH_ASKED) | BIT(DELETING),
    [IKE_STATE_INTERMEDIATE_SENT] = BIT(AUTH_SENT) | BIT(DELETING),
    [IKE_STATE_AUTH_ASKED] = BIT(ESTABLISHED) | BIT(DELETING),
    [IKE_STATE_AUTH_SENT] = BIT(ESTABLISHED) | BIT(DELETING),
    [IKE_STATE_ESTABLISHED] = BIT(REKEYED) | BIT(DELETING),
    [IKE_STATE_REKEYED] = BIT(DELETING),
    [IKE_STATE_DELETING] = 0,
};

const char *ike_state_name(uint8_t state)
{
    static const char *const names[] = {
#define X(name) #name,
        IKE_STATE_LIST(X)
#undef X
    };
    return state < IKE_STATE_COUNT ? names[state] : "?";
}

void sa_set_state(struct ike_engine *e, struct sa *sa, uint8_t state)
{
    if (sa->state == state)
        return;
    if (!(legal_moves[sa->state] & 1u << state)) {
        if (peer_is_logged(e))
            log_error("ike: illegal move of SA %016llx from %s to %s",
                      (unsigned long long)sa->spi_own, ike_state_name(sa->state),
                      ike_state_name(state));
        e->counters.illegal_moves++;
    }
    bool stranger = sa->handshake && !sa->initiator;
    if (log_wants(LEVEL_DEBUG) && (!stranger || stranger_is_logged(e)))
        log_debug("ike: SA %016llx %s -> %s", (unsigned long long)sa->spi_own,
                  ike_state_name(sa->state), ike_state_name(state));
    sa->state = state;
}

void sa_arm(struct ike_engine *e, struct timer *timer, time_us deadline)
{
    if (deadline == TIME_NEVER) {
        sa_disarm(e, timer);
        return;
    }
    if (timer->place == 0)
        e->timer_count++;
    if (timer_set(&e->timers, timer, deadline) < 0) {
        e->timer_count--;
        e->counters.drop_memory++;
    }
}

void sa_disarm(struct ike_engine *e, struct timer *timer)
{
    if (timer->place != 0)
        e->timer_count--;
    timer_clear(&e->timers, timer);
}

/* A SPI of our own: random, not 0, not in use. */
static int take_spi(struct ike_engine *e, struct sa *sa)
{
    for (int tries = 0; tries < 8; tries++) {
        sa->spi_own = random_u64(e->setup.random);
        if (sa->spi_own == 0)
            continue;
        int err = map_put(&e->sas, sa->spi_own, sa);
        if (err != ERR_EXISTS)
            return err;
    }
    return ERR_FAILED;
}

/* The dead make room for the living. */
static struct sa *take_sa(struct ike_engine *e)
{
    struct sa *sa = slab_take(&e->sa_slab);
    if (!sa && e->linger_first) {
        struct sa *oldest = e->linger_first;
        sa_bury(e, oldest);
        sa_grave_empty(e);
        sa = slab_take(&e->sa_slab);
    }
    return sa;
}

struct sa *sa_create(struct ike_engine *e, bool initiator, const struct ike_path *path)
{
    struct sa *sa = take_sa(e);
    if (!sa || take_spi(e, sa) < 0) {
        if (sa)
            slab_give(&e->sa_slab, sa);
        e->counters.drop_memory++;
        return NULL;
    }
    sa->initiator = initiator;
    sa->path = *path;
    sa->created = sa->last_heard = sa->last_sent = e->now;
    sa->rekey_at = sa->expire_at = sa->childless_at = TIME_NEVER;
    sa->timer_out = (struct timer){.owner = sa, .kind = TIMER_OUT};
    sa->timer_duty = (struct timer){.owner = sa, .kind = TIMER_DUTY};
    return sa;
}

void creation_free(struct ike_engine *e, struct creation **at)
{
    struct creation *c = *at;
    *at = NULL;
    if (!c)
        return;
    if (c->made)
        sa_bury(e, c->made);
    followup_free(e, &c->followup);
    rival_free(&c->rival);
    former_drop(&c->former);
    negotiation_free(&c->n);
    slab_give(&e->creation_slab, c);
}

void handshake_free(struct ike_engine *e, struct sa *sa)
{
    struct handshake *h = sa->handshake;
    ask_close(e, sa);
    gate_leave(e, sa);
    if (!h)
        return;
    sa->handshake = NULL;
    negotiation_free(&h->n);
    intermediate_free(h);
    puzzle_free(h);
    message_drop(e, &h->request);
    message_drop(e, &h->response);
    message_drop(e, &h->inner);
    slab_give(&e->handshake_slab, h);
}

static void linger_unlink(struct ike_engine *e, struct sa *sa)
{
    if (!sa->lingering)
        return;
    sa->lingering = false;
    if (sa->prev_dead)
        sa->prev_dead->next_dead = sa->next_dead;
    else
        e->linger_first = sa->next_dead;
    if (sa->next_dead)
        sa->next_dead->prev_dead = sa->prev_dead;
    else
        e->linger_last = sa->prev_dead;
    sa->next_dead = sa->prev_dead = NULL;
}

/* What only a living SA needs. */
static void let_go(struct ike_engine *e, struct sa *sa)
{
    fragment_drop(e, sa);
    crash_token_free(sa);
    handshake_free(e, sa);
    message_drop(e, &sa->out.request);
    creation_free(e, &sa->out.creation);
    followup_drop(e, sa);
    sa->task_count = 0;
    while (sa->children)
        child_free(e, sa->children);
    sa_disarm(e, &sa->timer_out);
    sa_disarm(e, &sa->timer_duty);
}

void sa_bury(struct ike_engine *e, struct sa *sa)
{
    if (sa->buried)
        return;
    linger_unlink(e, sa);
    let_go(e, sa);
    message_drop(e, &sa->reply);
    map_remove(&e->sas, sa->spi_own);
    if (sa->init_key)
        map_remove(&e->half_open, sa->init_key);
    sa->buried = true;
    sa->next_dead = e->grave;
    e->grave = sa;
}

void sa_linger(struct ike_engine *e, struct sa *sa)
{
    if (sa->buried || sa->lingering)
        return;
    sa_set_state(e, sa, IKE_STATE_DELETING);
    let_go(e, sa);
    if (!sa->reply) {
        sa_bury(e, sa);
        return;
    }
    sa->lingering = true;
    sa->prev_dead = e->linger_last;
    sa->next_dead = NULL;
    if (e->linger_last)
        e->linger_last->next_dead = sa;
    else
        e->linger_first = sa;
    e->linger_last = sa;
    sa_arm(e, &sa->timer_out, e->now + LINGER);
}

void sa_grave_empty(struct ike_engine *e)
{
    while (e->grave) {
        struct sa *sa = e->grave;
        e->grave = sa->next_dead;
        slab_give(&e->sa_slab, sa);
    }
}

static time_us sooner(time_us a, time_us b)
{
    return a < b ? a : b;
}

/* Silence both ways is not suspicious, so an idle tunnel is looked at seldom. */
time_us liveness_at(const struct ike_engine *e, const struct sa *sa)
{
    if (e->conf->idle_check == 0 || sa->out.request)
        return TIME_NEVER;
    time_us wait = e->conf->idle_check * TIME_SECOND;
    /* The client looks first, at a time when it has to send anyway. */
    bool client = sa->tunnel && sa->tunnel->initiator;
    return sa->last_heard + wait + (client ? 0 : wait / 8);
}

void sa_plan_duty(struct ike_engine *e, struct sa *sa)
{
    time_us at = sa->close_now ? e->now : sooner(sa->expire_at, sa->childless_at);
    if (sa->state == IKE_STATE_ESTABLISHED) {
        at = sooner(at, sa->rekey_at);
        at = sooner(at, liveness_at(e, sa));
        at = sooner(at, keepalive_at(e, sa));
        at = sooner(at, roam_at(sa));
        at = sooner(at, task_held_until(e, sa));
        if (sa->tunnel && sa->tunnel->sa == sa)
            at = sooner(at, sooner(sa->tunnel->wish_at, sa->tunnel->wake_at));
        at = sooner(at, sa->tunnel ? sa->tunnel->reauth_at : TIME_NEVER);
    }
    /* What is due and could not be done must not turn into a busy loop. */
    time_us soonest = e->now + 50 * TIME_MILLISECOND;
    sa_arm(e, &sa->timer_duty, at < soonest && !sa->close_now ? soonest : at);
}

/* Soft at 90 % less up to 10 %, so that ten thousand SAs of one minute do not rekey in one. */
time_us soft_after(struct ike_engine *e, uint32_t seconds)
{
    time_us life = seconds * TIME_SECOND;
    time_us jitter = life / 10 * (random_u32(e->setup.random) % 1024) / 1024;
    return life / 10 * 9 - jitter;
}

void sa_established(struct ike_engine *e, struct sa *sa)
{
    sa_set_state(e, sa, IKE_STATE_ESTABLISHED);
    sa->last_heard = e->now;
    if (e->conf->ike_lifetime > 0) {
        sa->rekey_at = e->now + soft_after(e, e->conf->ike_lifetime);
        sa->expire_at = e->now + e->conf->ike_lifetime * TIME_SECOND;
    }
    sa_plan_duty(e, sa);
}
