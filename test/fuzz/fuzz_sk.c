/* What an authenticated peer can put inside SK. First two octets: who sends (1), before IKE_AUTH
 * (2), and traits (engine_pair.h). Then messages, each: exchange, flags (1 = response, 2 = another
 * message ID, 4 = time goes by), first payload, 16-bit length, octets. Sealed with the sender's own
 * keys, so every octet reaches the parser behind the cipher. After it all: nothing is held that
 * should not be. */
#include "engine_pair.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_set_level(LEVEL_ERROR);
    return crypto_init();
}

static void send_one(struct engine_pair *p, int from, struct reader *r)
{
    struct ike_engine *e = p->side[from].engine;
    struct sa *sa = pair_sa(e), *target = pair_sa(p->side[!from].engine);
    struct wire_builder b;
    uint8_t exchange = reader_u8(r), flags = reader_u8(r), first = reader_u8(r);
    size_t len = reader_u16(r);
    struct bytes inner = reader_bytes(r, len < r->left ? len : r->left);
    if (!sa || !target)
        return;
    if (exchange < EXCHANGE_IKE_SA_INIT)
        exchange = (uint8_t)(EXCHANGE_IKE_AUTH + exchange % 3);
    bool response = flags & 1;
    uint32_t id = (response ? target->next_out - 1 : target->next_in) + (flags >> 1 & 1);
    sk_begin(e, &b);
    b.first = first;
    writer_bytes(&b.w, inner.at, inner.len);
    struct message *m = sk_seal(e, sa, exchange, response, id, &b);
    if (!m)
        return;
    struct ike_path path = {target->path.local, target->path.remote, 0, target->path.port};
    for (uint32_t at = 0, len; at < m->len; at += len) {
        len = m->part && m->part < m->len - at ? m->part : m->len - at;
        pair_feed(p, !from, &path, (struct bytes){m->octets + at, len});
    }
    message_drop(e, &m);
    pair_settle(p);
    if (flags & 4) {
        pair_tick(p, p->now + 5 * TIME_SECOND);
        pair_settle(p);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct engine_pair p;
    struct reader r = reader_of(data, size);
    unsigned head = reader_u8(&r);
    head |= (unsigned)reader_u8(&r) << 8;
    pair_begin_at(&p, head & 2 ? PAIR_WITHOUT_AUTH : PAIR_UP, head >> 2);
    for (int i = 0; i < 6 && r.left >= 5; i++)
        send_one(&p, head & 1, &r);
    pair_take_down(&p);
    pair_free(&p);
    return 0;
}
