/* The trace: one line for every datagram, with what is inside of it, and for all that happens. The
 * engine's own words (moves of states) stand between them. */
#include "worlds.h"

#include "ike/internal.h"

void tell(struct world *w, const char *format, ...)
{
    va_list args;
    if (!w->sim->trace)
        return;
    fprintf(stderr, "%9.3f  ", (double)w->sim->now / 1e6);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static size_t put(char *text, size_t size, size_t at, const char *format, ...) PRINTF_LIKE(4, 5);
static size_t put(char *text, size_t size, size_t at, const char *format, ...)
{
    va_list args;
    if (at >= size)
        return at;
    va_start(args, format);
    at += (size_t)vsnprintf(text + at, size - at, format, args);
    va_end(args);
    return at < size ? at : size;
}

static size_t put_notify(char *text, size_t size, size_t at, struct bytes body)
{
    char name[WIRE_NAME_TEXT];
    struct wire_notify_view n;
    if (wire_notify_read(body, &n) < 0)
        return put(text, size, at, " N(?)");
    struct reader r = reader_of_bytes(n.spi);
    if (n.spi.len == 4)
        return put(text, size, at, " N(%s %08x)", wire_notify_name(n.type, name), reader_u32(&r));
    return put(text, size, at, " N(%s)", wire_notify_name(n.type, name));
}

static size_t put_delete(char *text, size_t size, size_t at, struct bytes body)
{
    struct wire_delete d;
    if (wire_delete_read(body, &d) < 0)
        return put(text, size, at, " D(?)");
    if (d.protocol == PROTOCOL_IKE)
        return put(text, size, at, " D(IKE)");
    struct reader r = reader_of_bytes(d.spis);
    for (unsigned i = 0; i < d.count; i++)
        at = put(text, size, at, " D(%08x)", reader_u32(&r));
    return at;
}

static size_t put_sa(char *text, size_t size, size_t at, struct bytes body)
{
    struct proposal proposals[PROPOSALS_MAX];
    int count = wire_sa_read(body, proposals, PROPOSALS_MAX);
    if (count <= 0)
        return put(text, size, at, " SA");
    struct reader r = reader_of(proposals[0].spi, proposals[0].spi_len);
    uint32_t spi = reader_u32(&r);
    const char *what = proposals[0].protocol == PROTOCOL_IKE ? "IKE" : "ESP";
    return proposals[0].spi_len ? put(text, size, at, " SA(%s %08x)", what, spi)
                                : put(text, size, at, " SA(%s)", what);
}

static size_t put_chain(char *text, size_t size, size_t at, const struct wire_chain *chain)
{
    char name[WIRE_NAME_TEXT];
    for (size_t i = 0; i < chain->count; i++) {
        const struct wire_payload_view *p = &chain->at[i];
        if (p->type == PAYLOAD_NOTIFY)
            at = put_notify(text, size, at, p->body);
        else if (p->type == PAYLOAD_DELETE)
            at = put_delete(text, size, at, p->body);
        else if (p->type == PAYLOAD_SA)
            at = put_sa(text, size, at, p->body);
        else
            at = put(text, size, at, " %s", wire_payload_name(p->type, name));
    }
    return at;
}

/* The sender can open what it has sealed, when it is told to look from the other side. */
static size_t put_inside(char *text, size_t size, size_t at, const struct sim_datagram *d,
                         const struct wire_header *h, const struct wire_chain *outer)
{
    static struct wire_chain inner;
    struct ike_engine *e = d->sender ? d->sender->engine : NULL;
    struct sa *sa = e ? map_get(&e->sas, h->flags & FLAG_INITIATOR ? h->spi_i : h->spi_r) : NULL;
    struct input in = {.header = *h, .datagram = {d->octets, d->len}, .outer = outer};
    if (!sa)
        return put(text, size, at, " {sealed}");
    struct sa twin = *sa;
    twin.initiator = !sa->initiator;
    if (sk_open(e, &twin, &in) < 0 || wire_walk(in.inner_first, in.inner_octets, &inner) < 0)
        return put(text, size, at, " {sealed}");
    at = put(text, size, at, " {");
    at = put_chain(text, size, at, &inner);
    return put(text, size, at, " }");
}

static const char *name_of(struct world *w, const struct endpoint *at, char text[static ADDR_TEXT])
{
    for (size_t i = 0; i < w->member_count; i++)
        if (place_of(&w->members[i], &at->ip) && !place_of(&w->members[i], &at->ip)->nat)
            return w->members[i].host->name;
    return endpoint_print(at, text);
}

void tell_datagram(struct world *w, const struct sim_datagram *d, const char *fate)
{
    static struct wire_chain outer;
    char text[900] = "", name[WIRE_NAME_TEXT], from[ADDR_TEXT], to[ADDR_TEXT];
    struct wire_header h;
    size_t at = 0;
    const char *sender = d->sender ? d->sender->name : "a stranger";
    if (traffic_is_esp(d))
        return;
    if (d->len == 1) {
        tell(w, "%s > %s  keepalive  %s", sender, name_of(w, &d->to, to), fate);
        return;
    }
    if (wire_header_read((struct bytes){d->octets, d->len}, &h) < 0 ||
        wire_walk(h.next_payload,
                  (struct bytes){d->octets + WIRE_HEADER_LEN, d->len - WIRE_HEADER_LEN},
                  &outer) < 0) {
        tell(w, "%s > %s  %zu octets that are no IKE  %s", sender, name_of(w, &d->to, to), d->len,
             fate);
        return;
    }
    at = put(text, sizeof(text), at, "%s %s %u  %08x/%08x ", wire_exchange_name(h.exchange, name),
             h.flags & FLAG_RESPONSE ? "response" : "request", h.message_id,
             (unsigned)(h.spi_i >> 32), (unsigned)(h.spi_r >> 32));
    at = put_chain(text, sizeof(text), at, &outer);
    if (outer.count > 0 && outer.at[outer.count - 1].type == PAYLOAD_SK)
        (void)put_inside(text, sizeof(text), at, d, &h, &outer);
    tell(w, "%s (%s) > %s  %s  %s", sender, endpoint_print(&d->from, from), name_of(w, &d->to, to),
         text, fate);
}
