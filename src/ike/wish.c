#include <stdio.h>

#include "ike/internal.h"

/* The children that an initiator wants beside the first one: those that the configuration names,
 * and single pairs of selectors where the peer takes less at once than we offer (RFC 7296 2.9,
 * 3.10.1: SINGLE_PAIR_REQUIRED, ADDITIONAL_TS_POSSIBLE). What is missing is asked for again after a
 * while; what a child got stays with it over its rekeys. */

const char *wish_name(const struct ike_engine *e, uint8_t wish)
{
    return wish > 0 && wish <= e->conf->child_count ? e->conf->children[wish - 1].name : "";
}

static bool want(struct ike_engine *e, struct sa *sa, uint8_t wish, uint16_t pair)
{
    struct task task = {.kind = TASK_CREATE_CHILD, .wish = wish, .pair = pair};
    return task_add(e, sa, task) == 0;
}

void wish_later(struct ike_engine *e, struct sa *sa, time_us after)
{
    struct tunnel *t = sa->tunnel;
    if (!t || !t->initiator || t->sa != sa)
        return;
    if (e->now + after < t->wish_at)
        t->wish_at = e->now + after;
    sa_plan_duty(e, sa);
}

void wish_start(struct ike_engine *e, struct sa *sa)
{
    for (uint8_t wish = 1; wish < policy_count(e, sa->tunnel); wish++)
        if (!want(e, sa, wish, 0))
            wish_later(e, sa, WISH_SOON);
}

static bool fulfilled(const struct sa *sa, uint8_t wish)
{
    for (const struct child *c = sa->children; c; c = c->next)
        if (c->wish == wish && c->state != CHILD_DELETING)
            return true;
    return false;
}

void wish_missing(struct ike_engine *e, struct sa *sa)
{
    sa->tunnel->wish_at = TIME_NEVER;
    for (uint8_t wish = 0; wish < policy_count(e, sa->tunnel); wish++)
        if (!fulfilled(sa, wish) && !want(e, sa, wish, 0))
            wish_later(e, sa, WISH_SOON);
}

static void log_incomplete(struct ike_engine *e, bool complete)
{
    if (!complete && peer_is_logged(e))
        log_warn("ike: too many pairs of networks: some get no child SA of their own");
}

bool wish_pairs(struct ike_engine *e, struct sa *sa, uint8_t wish)
{
    struct traffic all, one;
    traffic_policy(e, sa, wish, e->conf->transport, &all);
    size_t count = all.local_count * all.remote_count;
    bool complete = true;
    if (count < 2)
        return false;
    for (uint16_t pair = 1; pair <= count; pair++) {
        one = all;
        complete &= !traffic_pair(&one, pair) || want(e, sa, wish, pair);
    }
    log_incomplete(e, complete);
    return true;
}

/* Does the list hold what `s` was narrowed to, or all of it? */
static bool answers(const struct selector *list, size_t count, const struct selector *s)
{
    for (size_t i = 0; i < count; i++)
        if (selector_is_subset(&list[i], s) || selector_is_subset(s, &list[i]))
            return true;
    return false;
}

void wish_rest(struct ike_engine *e, struct sa *sa, const struct child *c)
{
    struct traffic all, one;
    bool complete = true;
    if (c->pair > 0)
        return; /* less of one pair is all there is */
    traffic_policy(e, sa, c->wish, c->hosts, &all);
    for (uint16_t pair = 1; pair <= all.local_count * all.remote_count; pair++) {
        one = all;
        if (!traffic_pair(&one, pair) ||
            (answers(c->selectors, c->local_count, &one.local[0]) &&
             answers(c->selectors + c->local_count, c->remote_count, &one.remote[0])))
            continue;
        complete &= want(e, sa, c->wish, pair);
    }
    log_incomplete(e, complete);
}

void wish_refused(struct ike_engine *e, struct sa *sa, const struct task *task, uint16_t notify)
{
    const char *name = wish_name(e, task->wish);
    if (!sa->tunnel->initiator)
        return;
    if (notify == NOTIFY_SINGLE_PAIR_REQUIRED && task->pair == 0 && wish_pairs(e, sa, task->wish))
        return;
    wish_later(e, sa, WISH_LATER);
    char why[200];
    snprintf(why, sizeof(why), "%s", explain_notify(e, sa, notify));
    struct ike_event *event = queue_event(
        e, IKE_EVENT_CHILD_DOWN, sa->tunnel, &sa->path, explain_error(notify),
        explain(e, "child SA %s cannot be made, and will be tried again in 10 minutes: %s",
                name[0] ? name : "of [traffic]", why));
    if (event)
        event->notify = notify;
}
