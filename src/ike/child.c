#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

/* A SPI for what will come in: random, over 255 (RFC 4303 2.1), not in use. */
static int take_spi(struct ike_engine *e, struct child *c)
{
    for (int tries = 0; tries < 8; tries++) {
        c->spi_in = random_u32(e->setup.random);
        if (c->spi_in <= 255)
            continue;
        int err = map_put(&e->children, c->spi_in, c);
        if (err != ERR_EXISTS)
            return err;
    }
    return ERR_FAILED;
}

/* A full house must still be able to rekey, also when both sides begin at once. */
static bool has_room(const struct sa *sa, const struct child *old)
{
    size_t carrying = 0;
    for (const struct child *c = sa->children; c; c = c->next)
        carrying += !c->replaced;
    return sa->child_count < CHILDREN_LIMIT && (old || carrying < CHILDREN_PER_SA);
}

struct child *child_create(struct ike_engine *e, struct sa *sa, const struct child *old)
{
    if (!has_room(sa, old))
        return NULL;
    struct child *c = slab_take(&e->child_slab);
    if (!c || take_spi(e, c) < 0) {
        if (c)
            slab_give(&e->child_slab, c);
        e->counters.drop_memory++;
        return NULL;
    }
    c->timer = (struct timer){.owner = c, .kind = TIMER_CHILD};
    c->hard = TIME_NEVER;
    c->ah = child_protocol(e) == PROTOCOL_AH;
    c->sa = sa;
    c->next = sa->children;
    sa->children = c;
    sa->child_count++;
    return c;
}

struct child *child_find(const struct sa *sa, uint32_t spi_in)
{
    struct child *c = sa->children;
    while (c && c->spi_in != spi_in)
        c = c->next;
    return c;
}

struct child *child_find_out(const struct sa *sa, uint32_t spi_out)
{
    struct child *c = sa->children;
    while (c && (c->spi_out != spi_out || c->state == CHILD_CREATING))
        c = c->next;
    return c;
}

static void unlink_child(struct child *c)
{
    struct child **at = &c->sa->children;
    while (*at && *at != c)
        at = &(*at)->next;
    if (*at) {
        *at = c->next;
        c->sa->child_count--;
    }
}

void rival_free(struct rival **at)
{
    free(*at);
    *at = NULL;
}

void child_free(struct ike_engine *e, struct child *c)
{
    unlink_child(c);
    map_remove(&e->children, c->spi_in);
    sa_disarm(e, &c->timer);
    if (c->hosts)
        hosts_end(e, c);
    free(c->selectors);
    slab_give(&e->child_slab, c);
}

void child_remove(struct ike_engine *e, struct child *c, bool linger, int err)
{
    const struct tunnel *t = c->sa->tunnel;
    if (c->state != CHILD_CREATING && t) {
        if (!c->mute)
            queue_esp_del(e, t->id, c->spi_in, linger);
        if (err < 0)
            queue_event(e, IKE_EVENT_CHILD_DOWN, t, &c->sa->path, err, NULL);
    }
    child_free(e, c);
}

/* Two Deletes crossed: what goes out ends now, what comes in with the answer to ours (RFC 7296
 * 1.4.1), for which the data plane lets that way linger. */
void child_mute(struct ike_engine *e, struct child *c)
{
    if (c->mute || !c->sa->tunnel)
        return;
    queue_esp_del(e, c->sa->tunnel->id, c->spi_in, true);
    c->mute = true;
}

void child_move(struct child *c, struct sa *to)
{
    unlink_child(c);
    c->sa = to;
    c->next = to->children;
    to->children = c;
    to->child_count++;
}

int child_set_selectors(struct child *c, const struct selector *local, size_t local_count,
                        const struct selector *remote, size_t remote_count)
{
    if (local_count == 0 || remote_count == 0 || local_count > CONF_SELECTORS ||
        remote_count > CONF_SELECTORS)
        return ERR_TS;
    struct selector *block = malloc((local_count + remote_count) * sizeof(*block));
    if (!block)
        return ERR_MEMORY;
    memcpy(block, local, local_count * sizeof(*block));
    memcpy(block + local_count, remote, remote_count * sizeof(*block));
    free(c->selectors);
    c->selectors = block;
    c->local_count = (uint8_t)local_count;
    c->remote_count = (uint8_t)remote_count;
    return 0;
}

bool child_has_successor(const struct child *c)
{
    for (const struct child *at = c->sa->children; at; at = at->next)
        if (at != c && at->state == CHILD_UP && at->local_count == c->local_count &&
            at->remote_count == c->remote_count &&
            memcmp(at->selectors, c->selectors,
                   (size_t)(c->local_count + c->remote_count) * sizeof(*c->selectors)) == 0)
            return true;
    return false;
}

/* What the peer says of the child beside algorithms and selectors. */
void child_heed(struct ike_engine *e, struct child *c, const struct wire_chain *chain)
{
    struct wire_notify_view n;
    char where[ADDR_TEXT];
    c->no_tfc = wire_notify_find(chain, NOTIFY_ESP_TFC_PADDING_NOT_SUPPORTED, &n);
    if (c->no_tfc && e->conf->tfc && peer_is_logged(e))
        log_info("ike: %s takes no packets that are filled up; `tfc` is off with it",
                 endpoint_print(&c->sa->path.remote, where));
}

/* All of a child but its keys. */
void child_describe(const struct child *c, struct ike_child *out)
{
    out->tunnel = c->sa->tunnel ? c->sa->tunnel->id : 0;
    out->spi_in = c->spi_in;
    out->spi_out = c->spi_out;
    out->encr = c->chosen.encr;
    out->encr_bits = c->chosen.encr_bits;
    out->integ = c->chosen.integ;
    out->ah = c->ah;
    out->no_tfc = c->no_tfc;
    out->kes = c->chosen.kes;
    out->esn = c->chosen.sn == SN_64;
    out->out_waits = c->out_waits;
    out->initiator = c->initiator;
    out->wish = c->wish;
    hosts_describe(c, out);
    out->path = *mobike_esp_path(c->sa, &out->udp);
    out->local_count = c->local_count;
    out->remote_count = c->remote_count;
    if (!c->selectors)
        return;
    memcpy(out->local_ts, c->selectors, c->local_count * sizeof(struct selector));
    memcpy(out->remote_ts, c->selectors + c->local_count,
           c->remote_count * sizeof(struct selector));
}

int child_install(struct ike_engine *e, struct child *c, const struct secrets *s)
{
    struct ike_child *add = queue_esp_add(e);
    if (!add)
        return ERR_MEMORY;
    child_describe(c, add);
    add->keymat_len = (uint8_t)keymat_child_len(&c->chosen);
    uint8_t *first = c->initiator ? add->keymat_out : add->keymat_in;
    uint8_t *second = c->initiator ? add->keymat_in : add->keymat_out;
    int err = keymat_child(c->sa->chosen.prf, c->sa->keys.d, &c->chosen, s, first, second);
    if (err < 0) {
        queue_take_back(e);
        return err;
    }
    c->state = CHILD_UP;
    child_timer(e, c);
    return 0;
}

void child_timer(struct ike_engine *e, struct child *c)
{
    if (e->conf->child_lifetime == 0)
        return;
    c->hard = e->now + e->conf->child_lifetime * TIME_SECOND;
    sa_arm(e, &c->timer, e->now + soft_after(e, e->conf->child_lifetime));
}

/* Another try for what could not be done now. */
void child_retry(struct ike_engine *e, struct child *c, time_us after)
{
    time_us at = e->now + after + random_u32(e->setup.random) % (after / 2 + 1);
    sa_arm(e, &c->timer, at < c->hard ? at : c->hard);
}

static bool any_other(const struct child *c)
{
    for (const struct child *at = c->sa->children; at; at = at->next)
        if (at != c && at->state != CHILD_CREATING)
            return true;
    return false;
}

/* The end of a child that nobody replaced. The last one takes the tunnel with it: a tunnel that
 * carries nothing only looks like one. */
void child_hard(struct ike_engine *e, struct child *c)
{
    struct sa *sa = c->sa;
    if (!sa->tunnel)
        return;
    if (c->state == CHILD_UP && !any_other(c)) {
        tunnel_close(e, sa->tunnel, ERR_LIFETIME, 0,
                     "the child SA reached the end of its life before a rekey succeeded; connect "
                     "again, and look for a peer that refuses to rekey");
        return;
    }
    struct task task = {.kind = TASK_DELETE_CHILD, .spi_in = c->spi_in};
    if (task_add(e, sa, task) == 0)
        task_run(e, sa);
    else
        child_remove(e, c, false, ERR_LIFETIME);
}

static bool expired_now(const struct ike_engine *e, const struct child *c)
{
    return c->hard != TIME_NEVER && e->now >= c->hard;
}

void child_time(struct ike_engine *e, struct child *c)
{
    if (expired_now(e, c)) {
        child_hard(e, c);
        return;
    }
    if (c->state != CHILD_UP)
        return;
    sa_arm(e, &c->timer, c->hard);
    child_soft(e, c);
}

void child_soft(struct ike_engine *e, struct child *c)
{
    if (c->state != CHILD_UP || c->sa->state != IKE_STATE_ESTABLISHED)
        return;
    if (task_add(e, c->sa, (struct task){.kind = TASK_REKEY_CHILD, .spi_in = c->spi_in}) < 0)
        child_retry(e, c, 5 * TIME_SECOND);
    task_run(e, c->sa);
}

static struct bytes lower(struct bytes a, struct bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = memcmp(a.at, b.at, len);
    return order < 0 || (order == 0 && a.len <= b.len) ? a : b;
}

struct rival *rival_create(struct bytes nonce_a, struct bytes nonce_b)
{
    struct rival *r = calloc(1, sizeof(*r));
    struct bytes low = lower(nonce_a, nonce_b);
    if (!r || low.len > sizeof(r->low)) {
        free(r);
        return NULL;
    }
    r->low_len = (uint16_t)low.len;
    memcpy(r->low, low.at, low.len);
    return r;
}

bool rival_is_higher(const struct rival *r, struct bytes nonce_a, struct bytes nonce_b)
{
    struct bytes theirs = {r->low, r->low_len};
    struct bytes ours = lower(nonce_a, nonce_b);
    return lower(ours, theirs).at == ours.at;
}
