/* Notify and Delete payloads, RFC 7296 sections 3.10 and 3.11. */
#include "wire/wire.h"

int wire_notify_read(struct bytes body, struct wire_notify_view *out)
{
    struct reader r = reader_of_bytes(body);
    *out = (struct wire_notify_view){0};
    struct wire_notify_view n;
    n.protocol = reader_u8(&r);
    n.spi_len = reader_u8(&r);
    n.type = reader_u16(&r);
    if (n.spi_len != 0 && n.spi_len != 4 && n.spi_len != 8)
        return ERR_SYNTAX;
    n.spi = reader_bytes(&r, n.spi_len);
    n.data = reader_rest(&r);
    if (r.bad)
        return ERR_SYNTAX;
    *out = n;
    return 0;
}

/* The first notify that reads well and has the type wanted, or (error) any type below the status
 * ones. */
static bool find(const struct wire_chain *chain, bool error, uint16_t type,
                 struct wire_notify_view *out)
{
    for (size_t i = 0; i < chain->count; i++) {
        if (chain->at[i].type != PAYLOAD_NOTIFY || wire_notify_read(chain->at[i].body, out) != 0)
            continue;
        if (error ? out->type < NOTIFY_STATUS_FIRST : out->type == type)
            return true;
    }
    *out = (struct wire_notify_view){0};
    return false;
}

bool wire_notify_find(const struct wire_chain *chain, uint16_t type, struct wire_notify_view *out)
{
    return find(chain, false, type, out);
}

bool wire_notify_error(const struct wire_chain *chain, struct wire_notify_view *out)
{
    return find(chain, true, 0, out);
}

int wire_delete_read(struct bytes body, struct wire_delete *out)
{
    struct reader r = reader_of_bytes(body);
    *out = (struct wire_delete){0};
    struct wire_delete d;
    d.protocol = reader_u8(&r);
    d.spi_len = reader_u8(&r);
    d.count = reader_u16(&r);
    d.spis = reader_rest(&r);
    if (r.bad || d.spis.len != (size_t)d.count * d.spi_len)
        return ERR_SYNTAX;
    bool whole = d.protocol == PROTOCOL_IKE && d.spi_len == 0 && d.count == 0;
    bool child =
        (d.protocol == PROTOCOL_ESP || d.protocol == PROTOCOL_AH) && d.spi_len == 4 && d.count > 0;
    if (!whole && !child)
        return ERR_SYNTAX;
    *out = d;
    return 0;
}

static void notify(struct wire_builder *b, uint8_t protocol, struct bytes spi, uint16_t type,
                   struct bytes data)
{
    wire_open(b, PAYLOAD_NOTIFY);
    if (spi.len != 0 && spi.len != 4 && spi.len != 8)
        b->w.bad = true;
    writer_u8(&b->w, protocol);
    writer_u8(&b->w, (uint8_t)spi.len);
    writer_u16(&b->w, type);
    writer_bytes(&b->w, spi.at, spi.len);
    writer_bytes(&b->w, data.at, data.len);
    wire_close(b);
}

void wire_put_notify(struct wire_builder *b, uint16_t type, struct bytes data)
{
    notify(b, PROTOCOL_NONE, (struct bytes){0}, type, data);
}

void wire_put_notify_spi(struct wire_builder *b, uint8_t protocol, struct bytes spi, uint16_t type,
                         struct bytes data)
{
    notify(b, protocol, spi, type, data);
}

static void put_delete(struct wire_builder *b, uint8_t protocol, uint8_t spi_len,
                       const uint32_t *spis, size_t count)
{
    wire_open(b, PAYLOAD_DELETE);
    if (count > UINT16_MAX)
        b->w.bad = true;
    writer_u8(&b->w, protocol);
    writer_u8(&b->w, spi_len);
    writer_u16(&b->w, (uint16_t)count);
    for (size_t i = 0; i < count && !b->w.bad; i++)
        writer_u32(&b->w, spis[i]);
    wire_close(b);
}

void wire_put_delete_ike(struct wire_builder *b)
{
    put_delete(b, PROTOCOL_IKE, 0, NULL, 0);
}

void wire_put_delete_children(struct wire_builder *b, uint8_t protocol, const uint32_t *spis,
                              size_t count)
{
    if (count == 0)
        b->w.bad = true;
    put_delete(b, protocol, 4, spis, count);
}
