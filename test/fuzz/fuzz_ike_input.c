/* Datagrams of strangers for an engine in four states. First octet: 0 the gateway knows nobody, 1
 * the client waits for its first answer, 2 the gateway for IKE_AUTH, 3 both are up; the other bits
 * are traits (engine_pair.h). Then datagrams,
 * each: flags, 16-bit length, octets; with flag 1 the SPIs of a living SA are put in, so that the
 * header's gate is passed, with 2 the length field is made right, with 4 it comes from port 4500.
 * Whatever comes: no crash, and an SA that is up stays up. */
#include "engine_pair.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DATAGRAM_MAX = 2048, NOBODY = 0, WAITING = 1, HALF_OPEN = 2, UP = 3 };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_set_level(LEVEL_ERROR);
    return crypto_init();
}

static struct sa *any_sa(struct ike_engine *e)
{
    size_t cursor = 0;
    return map_next(&e->sas, &cursor);
}

static void one(struct engine_pair *p, int to, struct reader *r)
{
    static uint8_t octets[DATAGRAM_MAX];
    uint8_t flags = reader_u8(r);
    size_t len = pair_read_datagram(r, octets, sizeof(octets));
    const struct sa *sa = any_sa(p->side[to].engine);
    struct writer w = writer_of(octets, 16);
    if ((flags & 1) && sa && len >= 16) {
        writer_u64(&w, sa->initiator ? sa->spi_own : sa->spi_peer);
        writer_u64(&w, sa->initiator ? sa->spi_peer : sa->spi_own);
    }
    if ((flags & 2) && len >= WIRE_HEADER_LEN) {
        w = writer_of(octets + 24, 4);
        writer_u32(&w, (uint32_t)len);
    }
    uint16_t port = flags & 4 ? 4500 : 500;
    struct ike_path path = {{p->side[to].ip, port},
                            {p->side[!to].ip, port},
                            0,
                            flags & 4 ? IKE_PORT_NATT : IKE_PORT_500};
    ike_input(p->side[to].engine, p->now, &path, (struct bytes){octets, len});
    pair_drain(p, to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct engine_pair p;
    struct reader r = reader_of(data, size);
    uint8_t head = reader_u8(&r), stage = head & 3;
    int to = stage == WAITING || (stage == UP && size % 2) ? 0 : 1;
    pair_begin_at(&p,
                  stage == NOBODY || stage == WAITING ? PAIR_FIRST_ONLY
                  : stage == HALF_OPEN                ? PAIR_WITHOUT_AUTH
                                                      : PAIR_UP,
                  head >> 2);
    for (int i = 0; i < 8 && r.left >= 4; i++)
        one(&p, to, &r);
    struct sa *sa = any_sa(p.side[to].engine);
    if (stage == UP && (!sa || sa->state != IKE_STATE_ESTABLISHED))
        abort();
    if (ike_counters(p.side[to].engine)->illegal_moves > 0)
        abort();
    pair_free(&p);
    return 0;
}
