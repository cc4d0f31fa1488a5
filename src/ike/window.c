#include <string.h>

#include "ike/gate.h"

/* Message IDs and repetition (RFC 7296 2.1, 2.2, 2.3), window size 1 in both directions.
 *
 * A peer may announce a larger window (SET_WINDOW_SIZE); one request at a time honours any. We
 * announce none: each further place would keep one more reply for every idle SA, requests out of
 * order would have to be fit for any order (a Delete before the rekey it follows), and nothing here
 * waits for a second request to go out. So a peer with a second one waits, and sends it again.
 *
 * A request is a repetition only if it is equal, octet by octet, to the one that was answered (its
 * keyed hash is kept; of a fragmented one that of the first fragment): then the same answer goes
 * out again, to where it came from, and nothing changes. */

uint64_t window_hash(const struct ike_engine *e, struct bytes datagram)
{
    return map_hash_bytes(&e->sas, datagram.at, datagram.len);
}

enum window_verdict window_request(const struct ike_engine *e, const struct sa *sa,
                                   const struct input *in)
{
    uint32_t id = in->header.message_id;
    if (id == UINT32_MAX)
        return WINDOW_DROP; /* after it they would begin again */
    if (id == sa->next_in && !sa->lingering)
        return sa->state == IKE_STATE_AUTH_ASKED ? WINDOW_DROP : WINDOW_NEW;
    if (sa->next_in == 0 || id != sa->next_in - 1 || !sa->reply)
        return WINDOW_DROP;
    return sa->request_hash == window_hash(e, in->datagram) ? WINDOW_OLD : WINDOW_AGAIN;
}

void window_send(struct ike_engine *e, struct sa *sa, const struct ike_path *path,
                 struct message *m)
{
    queue_send(e, path, m);
    sa->messages += message_parts(m);
    if (path_equal(path, &sa->path)) /* another one keeps no mapping of this one */
        sa->last_sent = e->now;
}

/* Under one key no message ID comes twice (RFC 7296 2.2): in good time the SA is replaced, and when
 * that fails it ends while there is one left for its Delete. */
static void watch_ids(struct ike_engine *e, struct sa *sa)
{
    uint32_t next = sa->next_in > sa->next_out ? sa->next_in : sa->next_out;
    if (next < UINT32_MAX - ID_RESERVE || sa->state != IKE_STATE_ESTABLISHED)
        return;
    if (next >= UINT32_MAX - 2)
        sa->expire_at = e->now;
    if (sa->rekey_at > e->now)
        sa->rekey_at = e->now;
    sa_plan_duty(e, sa);
}

/* Takes the reply. */
void window_answer(struct ike_engine *e, struct sa *sa, struct message *reply,
                   const struct ike_path *path)
{
    message_drop(e, &sa->reply);
    sa->reply = reply;
    sa->replays = 0;
    sa->next_in++;
    watch_ids(e, sa);
    window_send(e, sa, path, reply);
}

/* +-10 %, so that many who lost their gateway at once do not come back at once. */
static time_us jittered(struct ike_engine *e, uint32_t interval)
{
    return interval - interval / 10 +
           (uint64_t)interval / 5 * (random_u32(e->setup.random) & 1023) / 1024;
}

static uint8_t exchange_of(uint8_t task)
{
    switch (task) {
    case TASK_INIT:
        return EXCHANGE_IKE_SA_INIT;
    case TASK_INTERMEDIATE:
        return EXCHANGE_IKE_INTERMEDIATE;
    case TASK_AUTH:
        return EXCHANGE_IKE_AUTH;
    case TASK_CREATE_CHILD:
    case TASK_REKEY_CHILD:
    case TASK_REKEY_IKE:
        return EXCHANGE_CREATE_CHILD_SA;
    default:
        return EXCHANGE_INFORMATIONAL;
    }
}

static time_us pause_of(struct ike_engine *e, struct sa *sa)
{
    time_us pause;
    return roam_pause(e, sa, &pause) ? pause : jittered(e, sa->out.interval);
}

void window_hurry(struct ike_engine *e, struct sa *sa)
{
    if (!sa->out.request)
        return;
    sa->out.first_sent = e->now;
    sa->out.interval = RETRANSMIT_FIRST;
    sa->out.tries = 0;
    window_send(e, sa, roam_path(e, sa), sa->out.request);
    sa_arm(e, &sa->timer_out, e->now + pause_of(e, sa));
}

static uint16_t silent_for(const struct ike_engine *e, const struct sa *sa)
{
    time_us seconds = (e->now - sa->last_sent) / TIME_SECOND;
    return (uint16_t)(seconds < UINT16_MAX ? seconds : UINT16_MAX);
}

void window_open(struct ike_engine *e, struct sa *sa, struct task task, struct message *m)
{
    struct creation *creation = sa->out.creation;
    message_drop(e, &sa->out.request);
    sa->out =
        (struct exchange){.task = task,
                          .exchange = creation && creation->followup ? EXCHANGE_IKE_FOLLOWUP_KE
                                                                     : exchange_of(task.kind),
                          .request = m,
                          .creation = creation,
                          .first_sent = e->now,
                          .idle = silent_for(e, sa),
                          .interval = RETRANSMIT_FIRST};
    window_send(e, sa, roam_path(e, sa), m);
    sa_arm(e, &sa->timer_out, e->now + pause_of(e, sa));
    if (sa->state == IKE_STATE_ESTABLISHED)
        sa_plan_duty(e, sa);
}

struct exchange window_close(struct ike_engine *e, struct sa *sa)
{
    struct exchange done = sa->out;
    sa->out = (struct exchange){0};
    message_drop(e, &done.request);
    sa_disarm(e, &sa->timer_out);
    sa->next_out++;
    watch_ids(e, sa);
    return done;
}

/* A replaced SA may still have to repeat the answer that made its successor: to forget it would
 * tell a peer that waits for that answer that we have lost all (crash.c). */
static void give_up_replaced(struct ike_engine *e, struct sa *sa)
{
    if (sa->expire_at != TIME_NEVER && e->now < sa->expire_at)
        sa_arm(e, &sa->timer_out, sa->expire_at);
    else
        sa_linger(e, sa);
}

static void give_up(struct ike_engine *e, struct sa *sa)
{
    if (sa->state == IKE_STATE_REKEYED) {
        give_up_replaced(e, sa);
        return;
    }
    if (sa->tunnel && sa->tunnel->sa == sa) {
        bool up = sa->tunnel->established;
        const struct handshake *h = sa->handshake;
        uint16_t notify = h ? h->early_error : 0;
        tunnel_end(e, sa->tunnel, up ? IKE_EVENT_DOWN : IKE_EVENT_FAILED,
                   notify ? explain_error(notify) : ERR_TIMEOUT,
                   h && h->early_unusable ? 0 : notify, explain_timeout(e, sa));
    }
    rekey_drop_rival(e, sa);
    sa_bury(e, sa);
}

/* When we wait no longer for an answer. An early error shortens that, and never makes it longer. */
static time_us out_end(const struct sa *sa)
{
    time_us end = sa->out.first_sent + RETRANSMIT_TOTAL;
    const struct handshake *h = sa->handshake;
    return h && h->early_end && h->early_end < end ? h->early_end : end;
}

void ike_unreachable(struct ike_engine *e, time_us now, const struct endpoint *remote,
                     struct bytes quoted)
{
    struct reader r = reader_of_bytes(quoted);
    uint64_t spi = reader_u64(&r);
    engine_begin(e, now);
    struct sa *sa = r.bad ? NULL : map_get(&e->sas, spi);
    struct handshake *h = sa && sa->initiator ? sa->handshake : NULL;
    if (h && !h->early_end && sa->out.request && endpoint_equal(&sa->path.remote, remote)) {
        h->closed_port = true;
        h->early_end = e->now + CLOSED_GRACE;
        if (sa->timer_out.deadline > h->early_end)
            sa_arm(e, &sa->timer_out, h->early_end);
    }
    engine_end(e);
}

static void repeat(struct ike_engine *e, struct sa *sa)
{
    sa->out.tries++;
    uint64_t next = (uint64_t)sa->out.interval * 9 / 5;
    sa->out.interval = (uint32_t)(next < RETRANSMIT_CAP ? next : RETRANSMIT_CAP);
    if (sa->out.tries >= SHRINK_TRIES)
        fragment_shrink(e, sa);
    roam_repeats(e, sa);
    window_send(e, sa, roam_path(e, sa), sa->out.request);
    e->counters.retransmitted++;
    if (sa->tunnel)
        sa->tunnel->retransmissions++;
    if (sa->tunnel && sa->out.tries >= 3)
        queue_event(e, IKE_EVENT_RETRANSMIT, sa->tunnel, &sa->path, 0,
                    explain(e, "no answer yet, asking again (try %u)", sa->out.tries + 1u));
    time_us again = e->now + pause_of(e, sa), end = roam_end(e, sa, out_end(sa));
    sa_arm(e, &sa->timer_out, again < end ? again : end);
    reauth_doubt(e, sa);
}

/* Something makes it likely that there would be an answer now. */
void window_urge(struct ike_engine *e, struct sa *sa)
{
    if (!sa->out.request || e->now - sa->last_sent < TIME_SECOND)
        return;
    window_send(e, sa, &sa->path, sa->out.request);
    e->counters.retransmitted++;
}

/* Also the reaper of lingering SAs and of questions that nobody answers: one timer says how long an
 * SA may stay as it is. Half-open ones stand in a row of their own (gate.c). */
void window_timer(struct ike_engine *e, struct sa *sa)
{
    if (sa->lingering) {
        sa_bury(e, sa);
        return;
    }
    if (!sa->out.request) {
        window_expired(e, sa);
        return;
    }
    if (puzzle_is_under_way(sa)) {
        puzzle_work(e, sa);
        return;
    }
    if (e->now >= roam_end(e, sa, out_end(sa)))
        give_up(e, sa);
    else
        repeat(e, sa);
}

/* A half-open SA whose time is over, or the keys process did not answer. */
void window_expired(struct ike_engine *e, struct sa *sa)
{
    if (sa->tunnel) {
        bool ours = sa->tunnel->initiator || sa->state == IKE_STATE_AUTH_ASKED;
        if (!sa->tunnel->initiator)
            refusal_budget(e, sa->tunnel, ERR_TIMEOUT, true);
        tunnel_end(e, sa->tunnel, sa->tunnel->initiator ? IKE_EVENT_FAILED : IKE_EVENT_REFUSED,
                   ERR_TIMEOUT, 0,
                   ours ? "the keys process did not answer; look at its log"
                        : "the peer began a handshake and did not finish it within 30 s; if this "
                          "is one of yours, look whether UDP 4500 and fragments reach this host");
    }
    sa_bury(e, sa);
}

static bool same_task(const struct task *a, const struct task *b)
{
    return a->kind == b->kind && a->spi_in == b->spi_in && a->wish == b->wish &&
           a->pair == b->pair && (a->kind != TASK_CREATE_CHILD || a->wish > 0 || a->pair > 0);
}

int task_add(struct ike_engine *e, struct sa *sa, struct task task)
{
    (void)e;
    if (sa->out.request && same_task(&sa->out.task, &task))
        return 0;
    for (size_t i = 0; i < sa->task_count; i++)
        if (same_task(&sa->tasks[i], &task))
            return 0;
    if (sa->task_count >= TASKS_MAX)
        return ERR_LIMIT;
    sa->tasks[sa->task_count++] = task;
    return 0;
}

bool task_waits(const struct sa *sa, uint8_t kind, uint32_t spi_in)
{
    struct task task = {.kind = kind, .spi_in = spi_in};
    for (size_t i = 0; i < sa->task_count; i++)
        if (same_task(&sa->tasks[i], &task))
            return true;
    return false;
}

void task_first(struct ike_engine *e, struct sa *sa, struct task task)
{
    (void)e;
    if (sa->task_count >= TASKS_MAX)
        sa->task_count = TASKS_MAX - 1;
    memmove(sa->tasks + 1, sa->tasks, sa->task_count * sizeof(task));
    sa->tasks[0] = task;
    sa->task_count++;
}

static int start(struct ike_engine *e, struct sa *sa, struct task task)
{
    switch (task.kind) {
    case TASK_CREATE_CHILD:
    case TASK_REKEY_CHILD:
        return create_start(e, sa, task);
    case TASK_REKEY_IKE:
        return rekey_ike_start(e, sa, task);
    default:
        return info_start(e, sa, task);
    }
}

static bool makes_sa(const struct task *task)
{
    return exchange_of(task->kind) == EXCHANGE_CREATE_CHILD_SA;
}

/* RFC 7296 2.25: never again at once, as the peer has first to finish what kept it. The waits grow
 * from seconds to a minute, with half as much chance in them, or two who refuse each other would do
 * so for ever. A peer that stays so for minutes is out of step, and the SA is closed. */
void task_hold(struct ike_engine *e, struct sa *sa, struct task task)
{
    if (sa->busy_count >= BUSY_MAX) {
        tunnel_close(e, sa->tunnel, ERR_PEER, 0,
                     "the peer has refused for minutes, as if for a moment, to rekey or to make a "
                     "child SA; the two ends no longer agree, so connect again");
        return;
    }
    time_us wait = BUSY_FIRST << sa->busy_count++;
    wait = wait < BUSY_CAP ? wait : BUSY_CAP;
    sa->busy_until = e->now + wait + random_u32(e->setup.random) % (wait / 2);
    if (sa->childless_at != TIME_NEVER)
        sa->childless_at = sa->busy_until + CHILDLESS_LIFE;
    if (task_add(e, sa, task) < 0)
        e->counters.drop_memory++;
}

/* While the peer's rekey of the IKE SA is unfinished no child is deleted, as it would move away
 * from under the Delete. */
static bool is_to_wait(const struct ike_engine *e, const struct sa *sa, const struct task *task)
{
    if (makes_sa(task))
        return e->now < sa->busy_until || sa->followup;
    return task->kind == TASK_DELETE_CHILD && followup_makes_ike(sa);
}

/* What it waited for may have gone without a message or a timer that would begin it: then at once.
 */
time_us task_held_until(const struct ike_engine *e, const struct sa *sa)
{
    time_us until = TIME_NEVER;
    for (size_t i = 0; i < sa->task_count && !sa->out.request; i++) {
        if (!is_to_wait(e, sa, &sa->tasks[i]))
            return e->now;
        if (makes_sa(&sa->tasks[i]) && !sa->followup)
            until = sa->busy_until;
    }
    return until;
}

static bool take_task(const struct ike_engine *e, struct sa *sa, struct task *task)
{
    for (size_t i = 0; i < sa->task_count; i++) {
        if (is_to_wait(e, sa, &sa->tasks[i]))
            continue;
        *task = sa->tasks[i];
        sa->task_count--;
        memmove(sa->tasks + i, sa->tasks + i + 1, (sa->task_count - i) * sizeof(*task));
        return true;
    }
    return false;
}

/* A task that has become pointless (its child is gone) is skipped. */
void task_run(struct ike_engine *e, struct sa *sa)
{
    struct task task;
    while (!sa->out.request && !sa->buried && !sa->lingering && take_task(e, sa, &task)) {
        int err = start(e, sa, task);
        if (err < 0)
            log_debug("ike: task %u of SA %016llx: %s", task.kind, (unsigned long long)sa->spi_own,
                      err_word(err));
        if (err < 0 && task.kind == TASK_DELETE_IKE)
            sa_bury(e, sa);
    }
    if (!sa->out.request && sa->state == IKE_STATE_ESTABLISHED && !sa->buried)
        sa_plan_duty(e, sa);
}

void task_move(struct ike_engine *e, struct sa *from, struct sa *to)
{
    for (size_t i = 0; i < from->task_count; i++) {
        struct task task = from->tasks[i];
        if (task.kind != TASK_REKEY_IKE && task.kind != TASK_DELETE_IKE &&
            task_add(e, to, task) < 0)
            e->counters.drop_memory++;
    }
    from->task_count = 0;
    to->busy_until = from->busy_until;
    /* Whatever comes of it on the old SA: the peer must know on the new one. */
    if (from->out.request &&
        (from->out.task.kind == TASK_UPDATE || from->out.task.kind == TASK_ROUTABILITY))
        task_first(e, to, from->out.task);
}
