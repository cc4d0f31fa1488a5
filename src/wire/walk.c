#include "wire/wire.h"

enum { CRITICAL_BIT = 0x80 };

int wire_header_read(struct bytes datagram, struct wire_header *out)
{
    struct reader r = reader_of_bytes(datagram);
    *out = (struct wire_header){0};
    struct wire_header h;
    h.spi_i = reader_u64(&r);
    h.spi_r = reader_u64(&r);
    h.next_payload = reader_u8(&r);
    h.version = reader_u8(&r);
    h.exchange = reader_u8(&r);
    h.flags = reader_u8(&r);
    h.message_id = reader_u32(&r);
    h.length = reader_u32(&r);
    if (r.bad || h.length != datagram.len)
        return ERR_SYNTAX;
    *out = h;
    return 0;
}

/* The generic payload header and the body behind it, RFC 7296 section 3.2. */
static struct wire_payload_view read_payload(struct reader *r, uint8_t type)
{
    struct wire_payload_view view = {.type = type, .next = reader_u8(r)};
    view.critical = (reader_u8(r) & CRITICAL_BIT) != 0; /* the other bits are to be ignored */
    uint16_t length = reader_u16(r);
    if (length < WIRE_PAYLOAD_HEADER_LEN)
        r->bad = true;
    else
        view.body = reader_bytes(r, length - WIRE_PAYLOAD_HEADER_LEN);
    return view;
}

int wire_walk(uint8_t first, struct bytes bytes, struct wire_chain *out)
{
    struct reader r = reader_of_bytes(bytes);
    uint8_t type = first;
    out->count = 0;
    while (type != PAYLOAD_NONE) {
        if (out->count == WIRE_PAYLOADS_MAX) {
            out->count = 0;
            return ERR_LIMIT;
        }
        struct wire_payload_view view = read_payload(&r, type);
        if (r.bad)
            break;
        out->at[out->count++] = view;
        type = type == PAYLOAD_SK || type == PAYLOAD_SKF ? PAYLOAD_NONE : view.next;
    }
    if (reader_done(&r))
        return 0;
    out->count = 0;
    return ERR_SYNTAX;
}

const struct wire_payload_view *wire_find(const struct wire_chain *chain, uint8_t type)
{
    for (size_t i = 0; i < chain->count; i++)
        if (chain->at[i].type == type)
            return &chain->at[i];
    return NULL;
}

size_t wire_count(const struct wire_chain *chain, uint8_t type)
{
    size_t count = 0;
    for (size_t i = 0; i < chain->count; i++)
        count += chain->at[i].type == type;
    return count;
}

static bool known(uint8_t type)
{
    switch (type) {
#define X(name, value) case value:
        WIRE_PAYLOAD_LIST(X)
#undef X
        return true;
    default:
        return false;
    }
}

const struct wire_payload_view *wire_unknown_critical(const struct wire_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++)
        if (chain->at[i].critical && !known(chain->at[i].type))
            return &chain->at[i];
    return NULL;
}
