/* The payloads with a short fixed head: KE, ID, NONCE, CERT, CERTREQ, AUTH, CP (RFC 7296
 * sections 3.4 to 3.9 and 3.15). */
#include "wire/wire.h"

int wire_ke_read(struct bytes body, struct wire_ke *out)
{
    struct reader r = reader_of_bytes(body);
    *out = (struct wire_ke){0};
    uint16_t group = reader_u16(&r);
    reader_skip(&r, 2);
    struct bytes value = reader_rest(&r);
    if (r.bad || value.len == 0)
        return ERR_SYNTAX;
    *out = (struct wire_ke){.group = group, .value = value};
    return 0;
}

/* Names must not carry terminators or other control characters, RFC 7296 section 3.5. */
static bool is_printable(struct bytes octets)
{
    for (size_t i = 0; i < octets.len; i++)
        if (octets.at[i] < ' ' || octets.at[i] == 0x7f)
            return false;
    return true;
}

int wire_id_read(struct bytes body, struct identity *out)
{
    struct reader r = reader_of_bytes(body);
    *out = (struct identity){0};
    uint8_t type = reader_u8(&r);
    reader_skip(&r, 3);
    struct bytes octets = reader_rest(&r);
    if (r.bad)
        return ERR_SYNTAX;
    if (octets.len > IDENTITY_MAX)
        return ERR_LIMIT;
    if ((type == IDENTITY_FQDN || type == IDENTITY_RFC822) && !is_printable(octets))
        return ERR_SYNTAX;
    return identity_from_octets(type, octets, out) ? 0 : ERR_SYNTAX;
}

int wire_fragment_read(struct bytes body, struct wire_fragment *out)
{
    struct reader r = reader_of_bytes(body);
    out->number = reader_u16(&r);
    out->total = reader_u16(&r);
    out->sealed = reader_rest(&r);
    return r.bad || out->number == 0 || out->number > out->total ? ERR_SYNTAX : 0;
}

int wire_nonce_read(struct bytes body, struct bytes *out)
{
    *out = (struct bytes){0};
    if (body.len < WIRE_NONCE_MIN || body.len > WIRE_NONCE_MAX)
        return ERR_SYNTAX;
    *out = body;
    return 0;
}

int wire_cert_read(struct bytes body, struct wire_cert *out)
{
    struct reader r = reader_of_bytes(body);
    *out = (struct wire_cert){0};
    uint8_t encoding = reader_u8(&r);
    if (r.bad)
        return ERR_SYNTAX;
    *out = (struct wire_cert){.encoding = encoding, .data = reader_rest(&r)};
    return 0;
}

int wire_auth_read(struct bytes body, struct wire_auth *out)
{
    struct reader r = reader_of_bytes(body);
    *out = (struct wire_auth){0};
    uint8_t method = reader_u8(&r);
    reader_skip(&r, 3);
    struct bytes data = reader_rest(&r);
    if (r.bad || data.len == 0)
        return ERR_SYNTAX;
    *out = (struct wire_auth){.method = method, .data = data};
    return 0;
}

/* The value's length when it is not empty; 0 = any. An IPv6 address may come without its prefix
 * length: some clients leave it out. */
static bool config_length_fits(uint16_t type, size_t len)
{
    if (len == 0)
        return true;
    switch (type) {
    case CONFIG_INTERNAL_IP4_ADDRESS:
    case CONFIG_INTERNAL_IP4_NETMASK:
    case CONFIG_INTERNAL_IP4_DNS:
    case CONFIG_INTERNAL_IP4_NBNS:
    case CONFIG_INTERNAL_IP4_DHCP:
        return len == 4;
    case CONFIG_INTERNAL_IP6_ADDRESS:
        return len == 17 || len == 16;
    case CONFIG_INTERNAL_IP6_DNS:
    case CONFIG_INTERNAL_IP6_DHCP:
        return len == 16;
    case CONFIG_INTERNAL_IP4_SUBNET:
        return len == 8;
    case CONFIG_INTERNAL_IP6_SUBNET:
        return len == 17;
    case CONFIG_SUPPORTED_ATTRIBUTES:
        return len % 2 == 0;
    default:
        return true;
    }
}

int wire_config_read(struct bytes body, struct wire_config *out)
{
    struct reader r = reader_of_bytes(body);
    out->count = 0;
    out->type = reader_u8(&r);
    reader_skip(&r, 3);
    while (r.left > 0) {
        if (out->count == WIRE_CONFIG_MAX)
            return ERR_LIMIT;
        struct wire_config_item *item = &out->items[out->count];
        item->type = reader_u16(&r) & 0x7fff; /* the top bit is reserved and ignored */
        item->value = reader_bytes(&r, reader_u16(&r));
        if (!config_length_fits(item->type, item->value.len))
            r.bad = true;
        if (!r.bad)
            out->count++;
    }
    if (!r.bad)
        return 0;
    out->count = 0;
    return ERR_SYNTAX;
}

void wire_put_ke(struct wire_builder *b, uint16_t group, struct bytes value)
{
    wire_open(b, PAYLOAD_KE);
    writer_u16(&b->w, group);
    writer_u16(&b->w, 0);
    writer_bytes(&b->w, value.at, value.len);
    wire_close(b);
}

void wire_put_nonce(struct wire_builder *b, struct bytes nonce)
{
    wire_put(b, PAYLOAD_NONCE, nonce);
}

void wire_id_body(struct writer *w, const struct identity *id)
{
    writer_u8(w, id->type);
    writer_reserve(w, 3);
    writer_bytes(w, id->octets, id->len);
}

void wire_put_id(struct wire_builder *b, uint8_t payload, const struct identity *id)
{
    wire_open(b, payload);
    wire_id_body(&b->w, id);
    wire_close(b);
}

static void put_encoded(struct wire_builder *b, uint8_t payload, uint8_t encoding,
                        struct bytes data)
{
    wire_open(b, payload);
    writer_u8(&b->w, encoding);
    writer_bytes(&b->w, data.at, data.len);
    wire_close(b);
}

void wire_put_cert(struct wire_builder *b, uint8_t encoding, struct bytes der)
{
    put_encoded(b, PAYLOAD_CERT, encoding, der);
}

void wire_put_certreq(struct wire_builder *b, uint8_t encoding, struct bytes hashes)
{
    put_encoded(b, PAYLOAD_CERTREQ, encoding, hashes);
}

void wire_put_auth(struct wire_builder *b, uint8_t method, struct bytes data)
{
    wire_open(b, PAYLOAD_AUTH);
    writer_u8(&b->w, method);
    writer_reserve(&b->w, 3);
    writer_bytes(&b->w, data.at, data.len);
    wire_close(b);
}

void wire_put_config(struct wire_builder *b, const struct wire_config *config)
{
    wire_open(b, PAYLOAD_CP);
    if (config->count > WIRE_CONFIG_MAX)
        b->w.bad = true;
    writer_u8(&b->w, config->type);
    writer_reserve(&b->w, 3);
    for (size_t i = 0; i < config->count && !b->w.bad; i++) {
        const struct wire_config_item *item = &config->items[i];
        writer_u16(&b->w, item->type);
        size_t mark = writer_open16(&b->w);
        writer_bytes(&b->w, item->value.at, item->value.len);
        writer_close16(&b->w, mark, mark + 2);
    }
    wire_close(b);
}
