/* What every payload decoder must hold, for unit tests and fuzzers alike: what it accepts, the
 * builder can write, and reading that again gives the same. Broken = abort(). */
#ifndef SHRIKE_TEST_ROUNDTRIP_H
#define SHRIKE_TEST_ROUNDTRIP_H

#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

static uint8_t roundtrip_buffer[70000];

static inline void roundtrip_begin(struct wire_builder *b)
{
    wire_begin_inner(b, roundtrip_buffer, sizeof(roundtrip_buffer));
}

/* The body of the one payload that was built; empty when it did not fit a 16-bit length. */
static inline struct bytes roundtrip_body(struct wire_builder *b)
{
    struct wire_chain chain;
    struct bytes view = wire_finish(b);
    if (view.len == 0)
        return view;
    HOLDS(wire_walk(wire_first(b), view, &chain) == 0 && chain.count == 1);
    return chain.at[0].body;
}

static inline bool proposal_equal(const struct proposal *a, const struct proposal *b)
{
    if (a->protocol != b->protocol || a->spi_len != b->spi_len || a->count != b->count ||
        memcmp(a->spi, b->spi, 8) != 0)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!transform_equal(&a->transforms[i], &b->transforms[i]))
            return false;
    return true;
}

static inline int roundtrip_sa(struct bytes in)
{
    static struct proposal first[PROPOSALS_MAX], second[PROPOSALS_MAX];
    struct wire_builder b;
    int count = wire_sa_read(in, first, PROPOSALS_MAX);
    HOLDS(count <= PROPOSALS_MAX);
    for (int i = 0; i < count; i++) {
        if (first[i].count == 0)
            return count; /* all its transforms had attributes we don't know */
        HOLDS(first[i].count <= PROPOSAL_TRANSFORMS);
        first[i].number = 0; /* dropped ones left holes */
    }
    if (count <= 0)
        return count;
    roundtrip_begin(&b);
    wire_put_sa(&b, first, (size_t)count);
    HOLDS(wire_sa_read(roundtrip_body(&b), second, PROPOSALS_MAX) == count);
    for (int i = 0; i < count; i++)
        HOLDS(proposal_equal(&first[i], &second[i]));
    return count;
}

static inline int roundtrip_ts(struct bytes in)
{
    static struct selector first[WIRE_SELECTORS_MAX], second[WIRE_SELECTORS_MAX];
    struct wire_builder b;
    int count = wire_ts_read(in, first, WIRE_SELECTORS_MAX);
    HOLDS(count <= WIRE_SELECTORS_MAX);
    if (count <= 0)
        return count;
    roundtrip_begin(&b);
    wire_put_ts(&b, PAYLOAD_TSi, first, (size_t)count);
    HOLDS(wire_ts_read(roundtrip_body(&b), second, WIRE_SELECTORS_MAX) == count);
    for (int i = 0; i < count; i++)
        HOLDS(selector_equal(&first[i], &second[i]));
    return count;
}

static inline int roundtrip_ke(struct bytes in)
{
    struct wire_ke first, second;
    struct wire_builder b;
    int err = wire_ke_read(in, &first);
    if (err)
        return err;
    roundtrip_begin(&b);
    wire_put_ke(&b, first.group, first.value);
    HOLDS(wire_ke_read(roundtrip_body(&b), &second) == 0);
    HOLDS(first.group == second.group && bytes_equal(first.value, second.value));
    return 0;
}

static inline int roundtrip_id(struct bytes in)
{
    struct identity first, second;
    struct wire_builder b;
    int err = wire_id_read(in, &first);
    if (err)
        return err;
    roundtrip_begin(&b);
    wire_put_id(&b, PAYLOAD_IDi, &first);
    HOLDS(wire_id_read(roundtrip_body(&b), &second) == 0);
    HOLDS(memcmp(&first, &second, sizeof(first)) == 0);
    return 0;
}

static inline int roundtrip_nonce(struct bytes in)
{
    struct bytes first, second;
    struct wire_builder b;
    int err = wire_nonce_read(in, &first);
    if (err)
        return err;
    roundtrip_begin(&b);
    wire_put_nonce(&b, first);
    HOLDS(wire_nonce_read(roundtrip_body(&b), &second) == 0 && bytes_equal(first, second));
    return 0;
}

static inline int roundtrip_cert(struct bytes in)
{
    struct wire_cert first, second;
    struct wire_builder b;
    int err = wire_cert_read(in, &first);
    if (err)
        return err;
    roundtrip_begin(&b);
    wire_put_cert(&b, first.encoding, first.data);
    HOLDS(wire_cert_read(roundtrip_body(&b), &second) == 0);
    HOLDS(first.encoding == second.encoding && bytes_equal(first.data, second.data));
    return 0;
}

static inline int roundtrip_auth(struct bytes in)
{
    struct wire_auth first, second;
    struct wire_builder b;
    int err = wire_auth_read(in, &first);
    if (err)
        return err;
    roundtrip_begin(&b);
    wire_put_auth(&b, first.method, first.data);
    HOLDS(wire_auth_read(roundtrip_body(&b), &second) == 0);
    HOLDS(first.method == second.method && bytes_equal(first.data, second.data));
    return 0;
}

static inline int roundtrip_notify(struct bytes in)
{
    struct wire_notify_view first, second;
    struct wire_builder b;
    int err = wire_notify_read(in, &first);
    if (err)
        return err;
    roundtrip_begin(&b);
    wire_put_notify_spi(&b, first.protocol, first.spi, first.type, first.data);
    HOLDS(wire_notify_read(roundtrip_body(&b), &second) == 0);
    HOLDS(first.protocol == second.protocol && first.type == second.type);
    HOLDS(bytes_equal(first.spi, second.spi) && bytes_equal(first.data, second.data));
    return 0;
}

static inline int roundtrip_delete(struct bytes in)
{
    static uint32_t spis[UINT16_MAX];
    struct wire_delete first, second;
    struct wire_builder b;
    int err = wire_delete_read(in, &first);
    if (err)
        return err;
    struct reader r = reader_of_bytes(first.spis);
    for (size_t i = 0; i < first.count; i++)
        spis[i] = reader_u32(&r);
    HOLDS(reader_done(&r));
    roundtrip_begin(&b);
    if (first.protocol == PROTOCOL_IKE)
        wire_put_delete_ike(&b);
    else
        wire_put_delete_children(&b, PROTOCOL_ESP, spis, first.count);
    HOLDS(wire_delete_read(roundtrip_body(&b), &second) == 0);
    HOLDS(first.count == second.count && bytes_equal(first.spis, second.spis));
    return 0;
}

static inline int roundtrip_config(struct bytes in)
{
    static struct wire_config first, second;
    struct wire_builder b;
    int err = wire_config_read(in, &first);
    HOLDS(first.count <= WIRE_CONFIG_MAX);
    if (err)
        return err;
    roundtrip_begin(&b);
    wire_put_config(&b, &first);
    HOLDS(wire_config_read(roundtrip_body(&b), &second) == 0);
    HOLDS(first.type == second.type && first.count == second.count);
    for (size_t i = 0; i < first.count; i++)
        HOLDS(first.items[i].type == second.items[i].type &&
              bytes_equal(first.items[i].value, second.items[i].value));
    return 0;
}

/* By payload type; negative = refused, of a type without a decoder too. */
static inline int roundtrip(uint8_t payload, struct bytes in)
{
    switch (payload) {
    case PAYLOAD_SA:
        return roundtrip_sa(in);
    case PAYLOAD_KE:
        return roundtrip_ke(in);
    case PAYLOAD_IDi:
    case PAYLOAD_IDr:
        return roundtrip_id(in);
    case PAYLOAD_CERT:
    case PAYLOAD_CERTREQ:
        return roundtrip_cert(in);
    case PAYLOAD_AUTH:
        return roundtrip_auth(in);
    case PAYLOAD_NONCE:
        return roundtrip_nonce(in);
    case PAYLOAD_NOTIFY:
        return roundtrip_notify(in);
    case PAYLOAD_DELETE:
        return roundtrip_delete(in);
    case PAYLOAD_TSi:
    case PAYLOAD_TSr:
        return roundtrip_ts(in);
    case PAYLOAD_CP:
        return roundtrip_config(in);
    default:
        return ERR_UNSUPPORTED;
    }
}

#endif
