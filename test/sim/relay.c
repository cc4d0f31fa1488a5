#include <ctype.h>

#include "relay.h"

static struct relay *current; /* the filter has no better way to it */

static enum sim_fate hold(struct sim *sim, struct sim_datagram *d)
{
    (void)sim;
    if (d->len < WIRE_HEADER_LEN)
        return SIM_DROP; /* keepalives */
    assert_true(current->count < RELAY_HELD);
    struct sim_datagram *copy = malloc(sizeof(*copy) + d->len);
    assert_non_null(copy);
    memcpy(copy, d, sizeof(*copy) + d->len);
    current->held[current->count++] = copy;
    return SIM_DROP;
}

void relay_begin(struct relay *relay, struct pair *pair)
{
    *relay = (struct relay){.pair = pair};
    current = relay;
    pair->sim->filter = hold;
}

static struct sim_datagram *take(struct relay *relay, int at)
{
    struct sim_datagram *d = relay->held[at];
    relay->count--;
    memmove(relay->held + at, relay->held + at + 1,
            (relay->count - (size_t)at) * sizeof(relay->held[0]));
    return d;
}

void relay_end(struct relay *relay)
{
    while (relay->count > 0)
        free(take(relay, 0));
    relay->pair->sim->filter = NULL;
    current = NULL;
}

int relay_find(const struct relay *relay, const struct sim_host *from, bool response)
{
    for (size_t i = 0; i < relay->count; i++) {
        const struct sim_datagram *d = relay->held[i];
        if (ip_equal(&d->from.ip, &from->ip) && !!(d->octets[19] & FLAG_RESPONSE) == response)
            return (int)i;
    }
    return -1;
}

static struct sim_host *receiver(const struct relay *relay, const struct sim_datagram *d)
{
    struct pair *p = relay->pair;
    return ip_equal(&d->to.ip, &p->client->ip) ? p->client : p->gateway;
}

void relay_deliver(struct relay *relay, int at)
{
    struct sim_datagram *d = take(relay, at);
    struct sim_host *to = receiver(relay, d);
    sim_deliver(to, d);
    sim_drain(to);
    free(d);
}

void relay_lose(struct relay *relay, int at)
{
    free(take(relay, at));
}

/* Opens it with the keys of its receiver, who does not notice. */
static bool look_inside(const struct relay *relay, int at, struct wire_chain *chain)
{
    const struct sim_datagram *d = relay->held[at];
    struct ike_engine *e = receiver(relay, d)->engine;
    static struct wire_chain outer;
    struct input in = {.datagram = {d->octets, d->len}, .outer = &outer};
    struct bytes payloads = {d->octets + WIRE_HEADER_LEN, d->len - WIRE_HEADER_LEN};
    *chain = (struct wire_chain){0};
    if (wire_header_read(in.datagram, &in.header) < 0 ||
        wire_walk(in.header.next_payload, payloads, &outer) < 0)
        return false;
    const struct sa *sa =
        map_get(&e->sas, in.header.flags & FLAG_INITIATOR ? in.header.spi_r : in.header.spi_i);
    return sa && sk_open(e, sa, &in) == 0 && wire_walk(in.inner_first, in.inner_octets, chain) == 0;
}

static void append(char text[static RELAY_TEXT], const char *word)
{
    size_t len = strlen(text);
    snprintf(text + len, RELAY_TEXT - len, "%s%s", len > 0 ? " " : "", word);
}

void relay_text(const struct relay *relay, int at, char text[static RELAY_TEXT])
{
    static struct wire_chain chain;
    text[0] = 0;
    if (!look_inside(relay, at, &chain)) {
        append(text, "sealed");
        return;
    }
    for (size_t i = 0; i < chain.count; i++) {
        char name[WIRE_NAME_TEXT];
        struct wire_notify_view n;
        if (chain.at[i].type == PAYLOAD_SA)
            append(text, "SA");
        else if (chain.at[i].type == PAYLOAD_DELETE)
            append(text, "DELETE");
        else if (chain.at[i].type == PAYLOAD_NOTIFY && wire_notify_read(chain.at[i].body, &n) == 0)
            append(text, wire_notify_name(n.type, name));
    }
}

bool relay_nonce(const struct relay *relay, int at, uint8_t nonce[static WIRE_NONCE_MAX],
                 size_t *len)
{
    static struct wire_chain chain;
    struct bytes value;
    if (!look_inside(relay, at, &chain))
        return false;
    const struct wire_payload_view *p = wire_find(&chain, PAYLOAD_NONCE);
    if (!p || wire_nonce_read(p->body, &value) < 0)
        return false;
    memcpy(nonce, value.at, value.len);
    *len = value.len;
    return true;
}

static char child_letter(const struct sim_host *host, const struct child *c)
{
    static const char letters[] = {
        [CHILD_CREATING] = 'c', [CHILD_UP] = 'u', [CHILD_REKEYED] = 'r', [CHILD_DELETING] = 'd'};
    const struct sim_sa *sends = sim_active(host);
    char letter = c->mute ? 'm' : letters[c->state];
    return sends && sends->child.spi_in == c->spi_in ? (char)toupper(letter) : letter;
}

static char sa_letter(const struct sa *sa)
{
    switch (sa->state) {
    case IKE_STATE_NONE:
        return 'n';
    case IKE_STATE_ESTABLISHED:
        return sa->tunnel ? 'E' : 'e';
    case IKE_STATE_REKEYED:
        return 'R';
    case IKE_STATE_DELETING:
        return 'D';
    default:
        return '?';
    }
}

static int by_letter(const void *a, const void *b)
{
    return tolower(*(const char *)a) - tolower(*(const char *)b);
}

static void sa_text(const struct sim_host *host, const struct sa *sa, char *text, size_t *len)
{
    size_t at = *len;
    text[at++] = sa_letter(sa);
    if (sa->children) {
        text[at++] = '(';
        size_t first = at;
        for (const struct child *c = sa->children; c && at < RELAY_TEXT - 8; c = c->next)
            text[at++] = child_letter(host, c);
        qsort(text + first, at - first, 1, by_letter);
        text[at++] = ')';
    }
    *len = at;
}

void relay_state(const struct sim_host *host, char text[static RELAY_TEXT])
{
    static const char order[] = "E?eRDn";
    size_t len = 0;
    for (const char *letter = order; *letter; letter++) {
        size_t cursor = 0;
        const struct sa *sa;
        while ((sa = map_next(&host->engine->sas, &cursor)))
            if (!sa->lingering && sa_letter(sa) == *letter && len < RELAY_TEXT - 40)
                sa_text(host, sa, text, &len);
    }
    if (len == 0)
        text[len++] = '-';
    text[len] = 0;
}

static bool opens(const struct sim_host *to, const struct sim_sa *sa)
{
    for (const struct sim_sa *at = to->sas; at; at = at->next)
        if (at->child.spi_in == sa->child.spi_out)
            return (!at->gone || to->sim->now <= at->until) &&
                   at->child.keymat_len == sa->child.keymat_len &&
                   memcmp(at->child.keymat_in, sa->child.keymat_out, sa->child.keymat_len) == 0;
    return false;
}

static bool carries(const struct sim_host *from, const struct sim_host *to)
{
    const struct sim_sa *sa = sim_active(from);
    return !sa || sa->child.out_waits || to->engine->tunnels.used == 0 || opens(to, sa);
}

bool relay_carries(const struct pair *p)
{
    return carries(p->client, p->gateway) && carries(p->gateway, p->client);
}
