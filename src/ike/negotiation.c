#include "ike/internal.h"

/* Key exchange and nonce of one exchange that makes keys (RFC 7296 1.2, 1.3, 2.12). */

int negotiation_create(struct ike_engine *e, struct negotiation *n, uint16_t group,
                       const struct wire_ke *peer)
{
    random_fill(e->setup.random, n->nonce_own, NONCE_LEN);
    if (group == 0)
        return 0;
    const struct kex_alg *alg = suite_kex(group);
    if (!alg)
        return ERR_UNSUPPORTED;
    if (!peer)
        return kex_create(alg, e->setup.random, &n->kex);
    return peer->group == group ? kex_answer(alg, e->setup.random, peer->value, &n->kex) : ERR_KE;
}

void negotiation_free(struct negotiation *n)
{
    kex_free(n->kex);
    n->kex = NULL;
}

void negotiation_put(struct wire_builder *b, const struct negotiation *n)
{
    if (n->kex)
        wire_put_ke(b, kex_alg(n->kex)->id, kex_value(n->kex));
    wire_put_nonce(b, (struct bytes){n->nonce_own, NONCE_LEN});
}
