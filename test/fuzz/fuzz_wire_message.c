/* A whole datagram: header, chain, every body. The chain is written again payload by payload and
 * must read the same. */
#include "../unit/wire/roundtrip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void rebuild(const struct wire_header *header, const struct wire_chain *chain)
{
    static uint8_t out[WIRE_MESSAGE_MAX];
    static struct wire_chain again;
    struct wire_builder b;
    struct wire_header h;
    wire_begin(&b, out, sizeof(out), header);
    for (size_t i = 0; i < chain->count; i++)
        wire_put(&b, chain->at[i].type, chain->at[i].body);
    struct bytes message = wire_finish(&b);
    HOLDS(message.len > 0 && wire_header_read(message, &h) == 0);
    HOLDS(h.message_id == header->message_id && h.spi_r == header->spi_r);
    HOLDS(wire_walk(h.next_payload, (struct bytes){out + 28, message.len - 28}, &again) == 0);
    HOLDS(again.count == chain->count);
    for (size_t i = 0; i < chain->count; i++)
        HOLDS(again.at[i].type == chain->at[i].type &&
              bytes_equal(again.at[i].body, chain->at[i].body));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wire_chain chain;
    struct wire_header header;
    struct wire_notify_view notify;
    if (size > WIRE_MESSAGE_MAX || wire_header_read((struct bytes){data, size}, &header) != 0)
        return 0;
    struct bytes rest = {data + WIRE_HEADER_LEN, size - WIRE_HEADER_LEN};
    if (wire_walk(header.next_payload, rest, &chain) != 0)
        return 0;
    rebuild(&header, &chain);
    for (size_t i = 0; i < chain.count; i++)
        (void)roundtrip(chain.at[i].type, chain.at[i].body);
    (void)wire_unknown_critical(&chain);
    if (wire_notify_error(&chain, &notify))
        HOLDS(notify.type < NOTIFY_STATUS_FIRST);
    return 0;
}
