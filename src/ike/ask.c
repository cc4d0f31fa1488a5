#include <string.h>

#include "ike/internal.h"

/* Questions to the keys process. One at a time per IKE SA; its ticket is the way back, and an
 * answer to a question that is no longer open falls on the floor. */

int ask_open(struct ike_engine *e, struct sa *sa, uint32_t want)
{
    uint64_t ticket = ++e->next_ticket;
    int err = map_put(&e->tickets, ticket, sa);
    if (err < 0)
        return err;
    sa->ticket = ticket;
    sa->handshake->want = want;
    queue_ask(e, ticket);
    /* Of a responder, too: an SA that ends while keys admits its peer gives back leases of which
     * keys knows no more that another tunnel had them. */
    sa_arm(e, &sa->timer_out, e->now + ASK_LIFE);
    return 0;
}

void ask_close(struct ike_engine *e, struct sa *sa)
{
    if (sa->ticket == 0)
        return;
    map_remove(&e->tickets, sa->ticket);
    sa->ticket = 0;
}

/* What one side signs or MACs (RFC 7296 2.15). */
int ask_octets(struct ike_engine *e, const struct sa *sa, bool own, uint8_t *out, size_t *len)
{
    (void)e;
    const struct handshake *h = sa->handshake;
    const struct prf_alg *alg = suite_prf(sa->chosen.prf);
    bool by_initiator = own == sa->initiator;
    struct bytes peer_nonce = {h->n.nonce_peer, h->n.nonce_peer_len};
    struct bytes own_nonce = {h->n.nonce_own, NONCE_LEN};
    uint8_t body[IDENTITY_MAX + 8], intermediate[AUTH_INTERMEDIATE_MAX];
    struct writer w = writer_of(body, sizeof(body));
    wire_id_body(&w, own ? &h->own : &h->peer);
    if (!own)
        memcpy(body + 1, h->peer_reserved, sizeof(h->peer_reserved));
    return auth_octets(alg, message_bytes(by_initiator ? h->request : h->response),
                       own ? peer_nonce : own_nonce,
                       (struct bytes){h->sk_p[by_initiator ? 0 : 1], alg->len}, writer_view(&w),
                       intermediate_octets(sa, intermediate), out, len);
}

static int fill_peer(struct ike_engine *e, const struct sa *sa, struct ike_ask *ask)
{
    const struct handshake *h = sa->handshake;
    struct wire_auth auth;
    size_t len;
    if (wire_walk(h->inner_first, message_bytes(h->inner), &e->inner_chain) < 0)
        return ERR_SYNTAX;
    if (h->want & IKE_WANT_ADMIT) {
        struct wire_notify_view n;
        config_read_request(&e->inner_chain, e, ask);
        ask->replaces =
            e->conf->unique && wire_notify_find(&e->inner_chain, NOTIFY_INITIAL_CONTACT, &n);
        ask->renews = ask->replaces ? 0 : sa->tunnel->renews;
    }
    if (!(h->want & IKE_WANT_VERIFY_PSK))
        return 0;
    const struct wire_payload_view *p = wire_find(&e->inner_chain, PAYLOAD_AUTH);
    if (!p || wire_auth_read(p->body, &auth) < 0 || auth.data.len > sizeof(ask->peer_auth))
        return ERR_SYNTAX;
    memcpy(ask->peer_auth, auth.data.at, auth.data.len);
    ask->peer_auth_len = (uint16_t)auth.data.len;
    int err = ask_octets(e, sa, false, ask->octets + ask->own_len, &len);
    ask->peer_len = (uint16_t)len;
    return err;
}

int ask_fill(struct ike_engine *e, struct sa *sa, struct ike_ask *ask)
{
    const struct handshake *h = sa->handshake;
    size_t len;
    int err;
    ask->ticket = sa->ticket;
    ask->tunnel = sa->tunnel->id;
    ask->want = h->want;
    ask->prf = sa->chosen.prf;
    ask->method = h->method;
    ask->scheme = h->scheme;
    ask->peer_by = h->peer_by;
    ask->own = h->own;
    /* in the one spelling, so that keys compares octets and never reads a stranger's DER */
    cert_identity_canonical(&h->peer, &ask->peer);
    if (h->want & IKE_WANT_SIGN) {
        err = ask_octets(e, sa, true, ask->octets, &len);
        if (err < 0)
            return err;
        ask->own_len = (uint16_t)len;
    }
    return h->inner ? fill_peer(e, sa, ask) : 0;
}

/* A gateway may have both means: a peer gets the one that it has announced to take; and who came by
 * a shared secret and said nothing expects the same in return. */
static bool proves_by_psk(const struct ike_engine *e, const struct sa *sa)
{
    const struct handshake *h = sa->handshake;
    uint8_t means = e->conf->local_auth;
    if (!(means & CONF_AUTH_CERT))
        return true;
    if (!(means & CONF_AUTH_PSK) || sa->initiator)
        return false;
    bool psk = auth_methods_have(h->peer_methods, AUTH_SHARED_KEY, SIGN_NONE);
    return psk && auth_methods_have_cert(h->peer_methods) ? h->peer_by == CONF_AUTH_PSK : psk;
}

/* How we prove ourselves. ERR_UNSUPPORTED: the peer could not verify what our key can do. */
int ask_choose_method(struct ike_engine *e, struct sa *sa)
{
    struct handshake *h = sa->handshake;
    if (proves_by_psk(e, sa)) {
        h->method = AUTH_SHARED_KEY;
        h->scheme = SIGN_NONE;
        return 0;
    }
    if (e->setup.own_cert_count == 0)
        return ERR_CONFIG;
    enum key_kind kind = public_key_kind(cert_public_key(e->setup.own_certs[0]));
    struct auth_peer_wants peer = {h->peer_hashes, h->peer_methods, h->peer_scheme,
                                   &e->conf->signatures};
    h->scheme = (uint8_t)auth_choose_scheme(kind, &peer, &h->method);
    if (h->scheme == SIGN_NONE && sa->initiator) {
        /* Nobody has proven yet that the list is the gateway's. */
        peer.methods = 0;
        h->scheme = (uint8_t)auth_choose_scheme(kind, &peer, &h->method);
    }
    return h->scheme == SIGN_NONE ? ERR_UNSUPPORTED : 0;
}

void ike_answer(struct ike_engine *e, time_us now, const struct ike_answer *answer)
{
    engine_begin(e, now);
    bool done = stay_answered(e, answer);
    struct sa *sa = done ? NULL : map_get(&e->tickets, answer->ticket);
    if (sa && answer->ticket != 0 && answer->auth_len <= SIGNATURE_MAX) {
        ask_close(e, sa);
        if (sa->initiator)
            auth_response_answered(e, sa, answer);
        else
            auth_request_answered(e, sa, answer);
    }
    engine_end(e);
}
