#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "esp/ah.h"
#include "esp/transport.h"

/* ---- IVs ------------------------------------------------------------------------------------ */

static int iv_source_init(struct iv_source *ivs, struct aead_engine *engine,
                          const struct random *random)
{
    const struct encr_alg *aes = suite_encr(20, 256); /* AES-GCM-16 */
    uint8_t key[64];
    if (!aes || suite_encr_keymat(aes) > sizeof(key))
        return ERR_UNSUPPORTED;
    ivs->aead = aligned_alloc(64, (aead_size(aes, NULL) + 63) / 64 * 64);
    if (!ivs->aead)
        return ERR_MEMORY;
    random_fill(random, key, sizeof(key));
    int err = aead_init(ivs->aead, engine, aes, key, NULL, NULL);
    secret_wipe(key, sizeof(key));
    if (err) {
        free(ivs->aead);
        ivs->aead = NULL;
    }
    return err;
}

static void iv_refill(struct esp_out *out)
{
    struct iv_source *ivs = &out->ivs;
    uint8_t *text = ivs->stream + 16;
    memset(ivs->stream, 0, sizeof(ivs->stream));
    memcpy(ivs->stream + 8, &ivs->nonce, 8);
    ivs->nonce++;
    struct aead_op op = {.aead = ivs->aead,
                         .aad = ivs->stream,
                         .aad_len = 8,
                         .iv = ivs->stream + 8,
                         .text = text,
                         .text_len = RANDOM_IVS * IV_MAX,
                         .icv = text + RANDOM_IVS * IV_MAX};
    aead_seal(out->engine, &op, 1);
    ivs->left = RANDOM_IVS;
}

static void put_iv(struct esp_out *out, const struct sa *sa, uint64_t sequence, uint8_t *at)
{
    if (sa->iv_counts) {
        uint64_t iv = htobe64(sequence);
        memcpy(at, &iv, sizeof(iv));
        return;
    }
    if (out->ivs.left == 0)
        iv_refill(out);
    out->ivs.left--;
    memcpy(at, out->ivs.stream + 16 + out->ivs.left * IV_MAX, sa->iv_len); /* NULL has none */
}

/* ---- the batch ------------------------------------------------------------------------------ */

struct esp_out *seal_create(struct esp_plane *plane, struct side *side,
                            const struct esp_out_calls *calls)
{
    struct esp_out *out = calloc(1, sizeof(*out));
    if (!out)
        return NULL;
    out->plane = plane;
    out->side = side;
    out->counters = &out->side->counters;
    out->calls = *calls;
    out->engine = aead_engine_create();
    out->buffer = aligned_alloc(64, OUT_BUFFER + OUT_SLACK);
    if (!out->engine || !out->buffer ||
        iv_source_init(&out->ivs, out->engine, plane->config.random) != 0) {
        esp_out_free(out);
        return NULL;
    }
    return out;
}

struct esp_out *esp_out_create(struct esp_plane *plane, uint16_t worker,
                               const struct esp_out_calls *calls)
{
    return seal_create(plane, plane_out_side(plane, worker), calls);
}

void esp_out_free(struct esp_out *out)
{
    if (!out)
        return;
    side_asleep(out->side);
    if (out->ivs.aead)
        aead_wipe(out->ivs.aead);
    free(out->ivs.aead);
    if (out->engine)
        aead_engine_free(out->engine);
    free(out->buffer);
    secret_wipe(&out->ivs, sizeof(out->ivs));
    free(out);
}

void esp_out_awake(struct esp_out *out)
{
    if (out->ops_count == 0) /* a batch holds SAs */
        side_awake(out->plane, out->side);
}

void esp_out_asleep(struct esp_out *out)
{
    side_asleep(out->side);
}

bool seal_numbers(struct esp_out *out, struct sa *sa, uint32_t count, uint64_t *first)
{
    uint64_t last = atomic_fetch_add_explicit(&sa->sequence, count, memory_order_relaxed);
    *first = last + 1;
    if (sa->esn || last + count <= UINT32_MAX)
        return true;
    sa_alarm(out->plane, sa, SA_DEAD | SA_SAY_HARD);
    note(&out->counters->drop_out_sequence, count);
    return false;
}

uint8_t *seal_place(struct esp_out *out, const struct sa *sa, uint32_t len, time_us now)
{
    if (out->ops_count == AEAD_BATCH || out->used + sa->head_len + len + TRAILER_MAX > OUT_BUFFER)
        esp_out_flush(out, now);
    return out->buffer + out->used + sa->head_len;
}

ALWAYS_INLINE void add_to_run(struct esp_out *out, const struct out_to *to, uint32_t len,
                              uint32_t inner_len)
{
    struct run *run = out->run_count > 0 ? &out->runs[out->run_count - 1] : NULL;
    if (!run || run->closed || run->path != to->path || run->sa != to->sa || run->tos != to->tos ||
        len > run->stride || run->len + len > ESP_RUN_OCTETS || run->count == ESP_RUN_SEGMENTS) {
        run = &out->runs[out->run_count++];
        *run = (struct run){
            .sa = to->sa, .path = to->path, .start = out->used, .stride = len, .tos = to->tos};
    }
    run->closed = len < run->stride;
    run->len += len;
    run->inner_bytes += inner_len;
    run->count++;
}

ALWAYS_INLINE void add(struct esp_out *out, const struct out_to *to, uint32_t whole, uint32_t len)
{
    add_to_run(out, to, whole, len);
    out->ops_count++;
    out->used += whole;
}

void seal_add(struct esp_out *out, const struct out_to *to, uint32_t whole, uint32_t len)
{
    add(out, to, whole, len);
}

void seal_take(struct esp_out *out, const struct out_to *to, uint64_t sequence, uint32_t len)
{
    const struct sa *sa = to->sa;
    struct out_to bare;
    if (sa->rare) {
        if (sa->transport)
            to = transport_strip(out, to, &bare, &len);
        if (sa->ah) {
            ah_take(out, to, sequence, len);
            return;
        }
        len = tfc_fill(sa, out->buffer + out->used + sa->head_len, len);
    }
    uint8_t *packet = out->buffer + out->used;
    uint8_t *text = packet + sa->head_len;
    uint32_t head[2] = {htonl(sa->spi_out), htonl((uint32_t)sequence)};
    uint32_t text_len = (len + 2u + sa->align - 1) / sa->align * sa->align;
    uint8_t padding = (uint8_t)(text_len - len - 2);
    memcpy(packet, head, sizeof(head));
    put_iv(out, sa, sequence, packet + ESP_HEADER);
    for (uint8_t i = 0; i < padding; i++)
        text[len + i] = (uint8_t)(i + 1);
    text[text_len - 2] = padding;
    text[text_len - 1] = to->next_header;
    struct aead_op *op = &out->ops[out->ops_count];
    *op = (struct aead_op){.aead = sa->aead_out,
                           .aad = packet,
                           .aad_len = ESP_HEADER,
                           .iv = packet + ESP_HEADER,
                           .text = text,
                           .text_len = text_len,
                           .icv = text + text_len};
    if (sa->esn && sa->aead) {
        uint32_t aad[3] = {head[0], htonl((uint32_t)(sequence >> 32)), head[1]};
        op->aad = memcpy(out->aad[out->ops_count], aad, sizeof(aad));
        op->aad_len = sizeof(aad);
    } else if (sa->esn) {
        op->has_esn_high = true;
        op->esn_high = (uint32_t)(sequence >> 32);
    }
    add(out, to, sa->head_len + text_len + sa->icv_len, len);
}

/* ---- sending -------------------------------------------------------------------------------- */

static void account(struct esp_out *out, const struct run *run, const struct esp_send *send,
                    time_us now)
{
    struct esp_counters *c = out->counters;
    struct sa *sa = run->sa;
    uint64_t bytes = run->inner_bytes;
    if (send->sent != run->count) {
        bytes = bytes * send->sent / run->count;
        note(&c->drop_out_full, send->full);
        note(&c->drop_out_too_big, send->too_big);
        note(&c->drop_out_send, (uint64_t)run->count - send->sent - send->full - send->too_big);
        if (send->too_big)
            sa_shrink(sa, run->path, run->stride);
    }
    uint64_t packets =
        send->sent + atomic_fetch_add_explicit(&sa->out_packets, send->sent, memory_order_relaxed);
    uint64_t all = bytes + atomic_fetch_add_explicit(&sa->out_bytes, bytes, memory_order_relaxed);
    if (out->dummies) { /* no traffic that wants an answer */
        note(&c->out_dummies, send->sent);
    } else {
        note(&c->out_packets, send->sent);
        note(&c->out_bytes, bytes);
        put(&sa->last_out, now);
        sa_raise(sa, SA_SAY_SENT);
    }
    sa_check_volume(out->plane, sa, packets, all);
}

void esp_out_flush(struct esp_out *out, time_us now)
{
    if (out->ops_count == 0)
        return;
    aead_seal(out->engine, out->ops, out->ops_count);
    for (size_t i = 0; i < out->run_count; i++) {
        const struct run *run = &out->runs[i];
        struct esp_send send = {.data = out->buffer + run->start,
                                .len = run->len,
                                .stride = run->stride,
                                .count = run->count,
                                .tos = run->tos,
                                .udp = run->path->udp,
                                .to = run->path->to,
                                .to_len = run->path->to_len,
                                .from = &run->path->local,
                                .interface = run->path->interface};
        out->calls.send(out->calls.context, &send);
        account(out, run, &send, now);
    }
    out->ops_count = 0;
    out->run_count = 0;
    out->used = 0;
}
