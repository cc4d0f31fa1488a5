#include "ike/internal.h"

/* INVALID_SELECTORS (RFC 7296 3.10.1, RFC 4301 5.2): packets that are authentic and not for their
 * child SA. Told once in the life of a child SA, and only when no other request is out: a peer that
 * sends such packets by the thousand must not make us do the same. Heard: counted and logged; the
 * SA stays as it is. */

void stray_tell(struct ike_engine *e, struct child *c, const struct ike_fact *fact)
{
    struct sa *sa = c->sa;
    struct wire_builder b;
    uint8_t spi[4];
    struct writer w = writer_of(spi, sizeof(spi));
    bool busy = sa->out.request || sa->task_count > 0;
    if (c->stray_told || c->state != CHILD_UP || sa->state != IKE_STATE_ESTABLISHED || busy ||
        fact->stray_len > IKE_STRAY_MAX)
        return;
    writer_u32(&w, c->spi_in);
    sk_begin(e, &b);
    wire_put_notify_spi(&b, protocol_of(c), writer_view(&w), NOTIFY_INVALID_SELECTORS,
                        (struct bytes){fact->stray, fact->stray_len});
    struct message *m = sk_seal(e, sa, EXCHANGE_INFORMATIONAL, false, sa->next_out, &b);
    if (!m)
        return;
    c->stray_told = true;
    e->counters.strays_told++;
    window_open(e, sa, (struct task){.kind = TASK_LIVENESS}, m);
}

void stray_heard(struct ike_engine *e, const struct sa *sa, const struct wire_chain *chain)
{
    struct wire_notify_view n;
    char where[ADDR_TEXT];
    if (!wire_notify_find(chain, NOTIFY_INVALID_SELECTORS, &n))
        return;
    e->counters.strays_heard++;
    if (peer_is_logged(e))
        log_info("ike: %s refuses packets that we sent to it: they do not fit the selectors of "
                 "their child SA; compare the networks on both sides",
                 endpoint_print(&sa->path.remote, where));
}
