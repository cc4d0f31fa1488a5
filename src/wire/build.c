#include "wire/wire.h"

enum { HEADER_NEXT_AT = 16, HEADER_LENGTH_AT = 24, VERSION_2_0 = 0x20 };

void wire_begin(struct wire_builder *b, void *buffer, size_t cap, const struct wire_header *header)
{
    *b = (struct wire_builder){
        .w = writer_of(buffer, cap), .next_at = HEADER_NEXT_AT, .has_header = true};
    writer_u64(&b->w, header->spi_i);
    writer_u64(&b->w, header->spi_r);
    writer_u8(&b->w, PAYLOAD_NONE);
    writer_u8(&b->w, header->version ? header->version : VERSION_2_0);
    writer_u8(&b->w, header->exchange);
    writer_u8(&b->w, header->flags);
    writer_u32(&b->w, header->message_id);
    writer_u32(&b->w, 0);
}

void wire_begin_inner(struct wire_builder *b, void *buffer, size_t cap)
{
    *b = (struct wire_builder){.w = writer_of(buffer, cap), .next_at = SIZE_MAX};
}

void wire_open(struct wire_builder *b, uint8_t payload)
{
    if (b->length_at != 0)
        b->w.bad = true; /* the one before was not closed */
    if (b->next_at != SIZE_MAX)
        writer_patch_u8(&b->w, b->next_at, payload);
    if (b->first == PAYLOAD_NONE)
        b->first = payload;
    b->next_at = b->w.len;
    writer_u8(&b->w, PAYLOAD_NONE);
    writer_u8(&b->w, 0);
    b->length_at = writer_open16(&b->w);
}

void wire_close(struct wire_builder *b)
{
    if (b->length_at == 0)
        b->w.bad = true;
    else
        writer_close16(&b->w, b->length_at, b->length_at - 2);
    b->length_at = 0;
}

struct bytes wire_finish(struct wire_builder *b)
{
    if (b->length_at != 0 || b->w.len > WIRE_MESSAGE_MAX)
        b->w.bad = true;
    if (b->has_header)
        writer_patch_u32(&b->w, HEADER_LENGTH_AT, (uint32_t)b->w.len);
    return writer_view(&b->w);
}

uint8_t wire_first(const struct wire_builder *b)
{
    return b->first;
}

void wire_put(struct wire_builder *b, uint8_t payload, struct bytes body)
{
    wire_open(b, payload);
    writer_bytes(&b->w, body.at, body.len);
    wire_close(b);
}
