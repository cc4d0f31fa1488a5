#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

enum { TAKEN_BACK = 0xffff };

/* One queued action: the head, then exactly as much as its kind needs. */
struct node {
    struct node *next;
    uint32_t kind;
    struct message *message;  /* SEND */
    uint32_t given;           /* octets of it that were handed out */
    struct ike_ask *question; /* ASK, once handed out */
    uint64_t ticket;          /* ASK; 0 = RELEASE */
    uint64_t stay;            /* ASK: may this tunnel stay? 0 = another question */
    uint64_t body[];
};
struct release {
    uint64_t tunnel, heir;
    struct identity peer;
};

static void *body(struct node *n)
{
    return n->body;
}

struct message *message_reserve(struct ike_engine *e, size_t len)
{
    struct message *m = len > 0 ? malloc(sizeof(*m) + len) : NULL;
    if (!m) {
        e->counters.drop_memory++;
        return NULL;
    }
    m->refs = 1;
    m->len = (uint32_t)len;
    m->part = 0;
    e->message_count++;
    return m;
}

struct message *message_create(struct ike_engine *e, struct bytes octets)
{
    struct message *m = message_reserve(e, octets.len);
    if (m)
        memcpy(m->octets, octets.at, octets.len);
    return m;
}

unsigned message_parts(const struct message *m)
{
    return m->part ? (m->len + m->part - 1u) / m->part : 1;
}

struct message *message_keep(struct message *m)
{
    m->refs++;
    return m;
}

void message_drop(struct ike_engine *e, struct message **at)
{
    struct message *m = *at;
    *at = NULL;
    if (!m || --m->refs > 0)
        return;
    secret_wipe(m->octets, m->len);
    free(m);
    e->message_count--;
}

struct bytes message_bytes(const struct message *m)
{
    return m ? (struct bytes){m->octets, m->len} : (struct bytes){0};
}

static struct node *append(struct ike_engine *e, uint32_t kind, size_t payload)
{
    struct node *n = malloc(sizeof(*n) + payload);
    if (!n) {
        e->counters.drop_memory++;
        return NULL;
    }
    memset(n, 0, sizeof(*n) + payload);
    n->kind = kind;
    if (e->queue_last)
        e->queue_last->next = n;
    else
        e->queue_first = n;
    e->queue_last = n;
    e->action_count++;
    return n;
}

static void question_free(struct ike_ask *ask)
{
    if (!ask)
        return;
    secret_wipe(ask->octets, (size_t)ask->own_len + ask->peer_len);
    secret_wipe(ask->peer_auth, ask->peer_auth_len);
    free(ask);
}

static void node_free(struct ike_engine *e, struct node *n)
{
    if (n->kind == IKE_ESP_ADD)
        secret_wipe(body(n), sizeof(struct ike_child));
    message_drop(e, &n->message);
    question_free(n->question);
    free(n);
}

void queue_begin_call(struct ike_engine *e)
{
    while (e->spent) {
        struct node *n = e->spent;
        e->spent = n->next;
        node_free(e, n);
    }
}

size_t queue_spent_messages(const struct ike_engine *e)
{
    size_t count = 0;
    for (const struct node *n = e->spent; n; n = n->next)
        count += n->message && n->message->refs == 1;
    return count;
}

void queue_free(struct ike_engine *e)
{
    queue_begin_call(e);
    while (e->queue_first) {
        struct node *n = e->queue_first;
        e->queue_first = n->next;
        node_free(e, n);
    }
    e->queue_last = NULL;
    e->action_count = 0;
}

void queue_send(struct ike_engine *e, const struct ike_path *path, struct message *m)
{
    struct node *n = append(e, IKE_SEND, sizeof(*path));
    if (!n)
        return;
    memcpy(body(n), path, sizeof(*path));
    n->message = message_keep(m);
    e->counters.out_datagrams += message_parts(m);
    e->counters.out_fragmented += m->part != 0;
}

struct ike_child *queue_esp_add(struct ike_engine *e)
{
    struct node *n = append(e, IKE_ESP_ADD, sizeof(struct ike_child));
    return n ? body(n) : NULL;
}

void queue_take_back(struct ike_engine *e)
{
    if (e->queue_last->kind == IKE_ESP_ADD)
        secret_wipe(body(e->queue_last), sizeof(struct ike_child));
    e->queue_last->kind = TAKEN_BACK;
}

void queue_esp_del(struct ike_engine *e, uint64_t tunnel, uint32_t spi_in, bool linger)
{
    struct node *n = append(e, IKE_ESP_DEL, sizeof(struct ike_esp_del));
    struct ike_esp_del del = {.tunnel = tunnel, .spi_in = spi_in, .linger = linger};
    if (n)
        memcpy(body(n), &del, sizeof(del));
}

static void add_route(struct ike_net *net, const struct selector *s)
{
    if (net->remote_count < CONF_ROUTES)
        net->remote_ts[net->remote_count++] = *s;
}

static void add_local(struct ike_net *net, const struct selector *s)
{
    for (size_t i = 0; i < net->local_count; i++)
        if (selector_is_subset(s, &net->local_ts[i]))
            return;
    if (net->local_count < CONF_SELECTORS)
        net->local_ts[net->local_count++] = *s;
}

/* A client in transport mode protects what its configuration says, whatever the peer has left of
 * it; a gateway what was agreed on. */
static void add_hosts(const struct ike_engine *e, struct ike_net *net, const struct tunnel *t,
                      const struct child *c)
{
    struct traffic policy = {0};
    net->transport = true;
    for (size_t i = 0; !t->initiator && i < c->local_count; i++)
        add_local(net, &c->selectors[i]);
    for (size_t i = 0; !t->initiator && i < c->remote_count; i++)
        add_route(net, &c->selectors[c->local_count + i]);
    for (uint8_t wish = 0; t->initiator && wish < policy_count(e, t); wish++) {
        traffic_policy(e, t->sa, wish, true, &policy);
        for (size_t i = 0; i < policy.local_count; i++)
            add_local(net, &policy.local[i]);
        for (size_t i = 0; i < policy.remote_count; i++)
            add_route(net, &policy.remote[i]);
    }
}

static void add_routes(const struct ike_engine *e, struct ike_net *net, const struct tunnel *t,
                       const struct child *c)
{
    const struct selector *remote = c->selectors + c->local_count;
    const struct given *g = e->conf->send_from_gateway ? t->given : NULL;
    struct selector common;
    for (size_t i = 0; i < c->remote_count; i++) {
        for (size_t j = 0; g && j < g->subnet_count; j++)
            if (selector_intersect(&remote[i], &g->subnets[j], &common))
                add_route(net, &common);
        if (!g || g->subnet_count == 0)
            add_route(net, &remote[i]);
    }
    for (size_t i = 0; i < t->network_count; i++) /* of a site: it may come for them one by one */
        add_route(net, &t->networks[i]);
    for (uint8_t wish = 0; t->initiator && wish < policy_count(e, t); wish++) {
        struct traffic policy;
        if (wish == c->wish && c->pair == 0)
            continue;
        traffic_policy(e, t->sa, wish, false, &policy);
        for (size_t i = 0; i < policy.remote_count; i++)
            add_route(net, &policy.remote[i]);
    }
}

void queue_net(struct ike_engine *e, uint32_t kind, const struct tunnel *t, const struct child *c)
{
    struct node *n = append(e, kind, sizeof(struct ike_net));
    if (!n)
        return;
    struct ike_net *net = body(n);
    net->tunnel = t->id;
    net->initiator = t->initiator;
    net->ip4 = t->ip4;
    net->ip6 = t->ip6;
    if (t->sa)
        net->path = t->sa->path;
    net->dns_count = t->dns_count;
    for (size_t i = 0; i < t->dns_count; i++)
        net->dns[i] = t->dns[i];
    net->domain_count = t->given ? t->given->domain_count : 0;
    if (net->domain_count > 0)
        memcpy(net->domains, t->given->domains, sizeof(net->domains));
    net->more = kind == IKE_NET_UP && t->net_up;
    if (c && c->hosts)
        add_hosts(e, net, t, c);
    else if (c)
        add_routes(e, net, t, c);
}

void queue_move(struct ike_engine *e, const struct sa *sa)
{
    struct node *n = append(e, IKE_ESP_MOVE, sizeof(struct ike_net));
    if (!n)
        return;
    struct ike_net *net = body(n);
    net->tunnel = sa->tunnel->id;
    net->initiator = sa->tunnel->initiator;
    net->path = *mobike_esp_path(sa, &net->udp);
}

void queue_ask(struct ike_engine *e, uint64_t ticket)
{
    struct node *n = append(e, IKE_ASK, 0);
    if (n)
        n->ticket = ticket;
}

void queue_release(struct ike_engine *e, const struct tunnel *t)
{
    struct node *n = append(e, IKE_ASK, sizeof(struct release));
    if (!n)
        return;
    struct release *release = body(n);
    release->tunnel = t->id;
    release->heir = t->renews && map_get(&e->tunnels, t->renews) ? t->renews : 0;
    tunnel_peer(t, &release->peer);
    if (!t->peer && t->sa && t->sa->handshake) /* keys was asked, and has not yet answered */
        release->peer = t->sa->handshake->peer;
}

void queue_stay(struct ike_engine *e, uint64_t ticket, uint64_t tunnel)
{
    struct node *n = append(e, IKE_ASK, 0);
    if (!n)
        return;
    n->ticket = ticket;
    n->stay = tunnel;
}

struct ike_event *queue_event(struct ike_engine *e, uint32_t kind, const struct tunnel *t,
                              const struct ike_path *path, int err, const char *text)
{
    struct node *n = append(e, IKE_EVENT, sizeof(struct ike_event));
    if (!n)
        return NULL;
    struct ike_event *event = body(n);
    event->kind = kind;
    event->err = err;
    if (t) {
        event->tunnel = t->id;
        tunnel_peer(t, &event->peer);
    }
    if (path)
        event->path = *path;
    if (text)
        strncpy(event->text, text, sizeof(event->text) - 1);
    if (text == e->why) {
        memcpy(event->offered, e->why_offered, sizeof(event->offered));
        memcpy(event->accepted, e->why_accepted, sizeof(event->accepted));
    }
    return event;
}

static bool stay_question(const struct ike_engine *e, const struct node *n, struct ike_ask *ask)
{
    const struct tunnel *t = map_get(&e->tunnels, n->stay);
    if (!t || !t->sa)
        return false;
    ask->ticket = n->ticket;
    stay_fill(e, t, ask);
    return true;
}

/* A question is written when it is taken, straight from the handshake: it is large, and by then the
 * handshake may be gone. */
static struct ike_ask *question(struct ike_engine *e, struct node *n)
{
    struct ike_ask *ask = malloc(sizeof(*ask));
    if (!ask)
        return NULL;
    memset(ask, 0, offsetof(struct ike_ask, octets));
    if (n->ticket == 0) {
        const struct release *release = body(n);
        ask->want = IKE_WANT_RELEASE;
        ask->tunnel = release->tunnel;
        ask->renews = release->heir;
        cert_identity_canonical(&release->peer, &ask->peer);
        return ask;
    }
    if (n->stay && stay_question(e, n, ask))
        return ask;
    struct sa *sa = n->stay ? NULL : map_get(&e->tickets, n->ticket);
    if (sa && ask_fill(e, sa, ask) == 0)
        return ask;
    question_free(ask);
    return NULL;
}

/* The next datagram of a message. */
static struct bytes next_part(struct node *n)
{
    const struct message *m = n->message;
    size_t left = m->len - n->given, len = m->part && m->part < left ? m->part : left;
    struct bytes part = {m->octets + n->given, len};
    n->given += (uint32_t)len;
    return part;
}

static bool has_more(const struct node *n)
{
    return n->kind == IKE_SEND && n->given < n->message->len;
}

/* False when it has come to nothing. */
static bool hand_out(struct ike_engine *e, struct node *n, struct ike_action *action)
{
    action->kind = n->kind;
    switch (n->kind) {
    case IKE_SEND:
        memcpy(&action->send.path, body(n), sizeof(action->send.path));
        action->send.datagram = next_part(n);
        return true;
    case IKE_ESP_ADD:
        memcpy(&action->esp_add, body(n), sizeof(action->esp_add));
        return true;
    case IKE_ESP_DEL:
        memcpy(&action->esp_del, body(n), sizeof(action->esp_del));
        return true;
    case IKE_EVENT:
        memcpy(&action->event, body(n), sizeof(action->event));
        return true;
    case TAKEN_BACK:
        return false;
    case IKE_ASK:
        n->question = question(e, n);
        action->ask = n->question;
        return n->question;
    default:
        memcpy(&action->net, body(n), sizeof(action->net));
        return true;
    }
}

bool ike_next(struct ike_engine *e, struct ike_action *action)
{
    while (e->queue_first) {
        struct node *n = e->queue_first;
        bool good = hand_out(e, n, action);
        if (has_more(n))
            return true;
        e->queue_first = n->next;
        if (!e->queue_first)
            e->queue_last = NULL;
        e->action_count--;
        n->next = e->spent;
        e->spent = n;
        if (good)
            return true;
    }
    return false;
}
