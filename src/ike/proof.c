#include <string.h>

#include "ike/internal.h"

/* Who the peer says it is and how it proves it (RFC 7296 2.15, 3.5 to 3.8). */

static void from_address(const struct ip *ip, struct identity *out)
{
    out->type = ip->family == 4 ? IDENTITY_IPV4 : IDENTITY_IPV6;
    out->len = (uint8_t)ip_len(ip);
    memcpy(out->octets, ip->octets, out->len);
}

static bool cert_is_ours(const struct ike_engine *e, const struct identity *id)
{
    return e->conf->local_auth & CONF_AUTH_CERT && e->setup.own_cert_count > 0 &&
           cert_has_identity(e->setup.own_certs[0], id);
}

/* A peer that asks for one of our names gets that name. */
void proof_own_identity(const struct ike_engine *e, const struct sa *sa,
                        const struct wire_chain *request, struct identity *out)
{
    const struct wire_payload_view *p = request ? wire_find(request, PAYLOAD_IDr) : NULL;
    struct identity wanted;
    if (e->setup.own_id.type == IDENTITY_NONE)
        from_address(&sa->path.local.ip, out);
    else
        *out = e->setup.own_id;
    if (p && wire_id_read(p->body, &wanted) == 0 && cert_is_ours(e, &wanted))
        *out = wanted;
}

void proof_put_certs(struct ike_engine *e, const struct sa *sa, struct wire_builder *b)
{
    if (sa->handshake->method == AUTH_SHARED_KEY)
        return;
    for (size_t i = 0; i < e->setup.own_cert_count; i++)
        wire_put_cert(b, CERT_X509_SIGNATURE, cert_der(e->setup.own_certs[i]));
}

/* Hashes of our anchors; with a whole system's worth of them, none: the peer then sends what it
 * has. */
void proof_put_certreq(struct ike_engine *e, struct wire_builder *b)
{
    uint8_t hashes[CERTREQ_HASHES * 20];
    if (!(e->conf->remote_auth & CONF_AUTH_CERT) || !e->setup.trust)
        return;
    size_t count = cert_trust_count(e->setup.trust);
    if (count > CERTREQ_HASHES)
        count = 0;
    for (size_t i = 0; i < count; i++)
        cert_issuer_key_hash(cert_trust_at(e->setup.trust, i), hashes + 20 * i);
    wire_put_certreq(b, CERT_X509_SIGNATURE, (struct bytes){hashes, 20 * count});
}

/* How the peer may prove itself (RFC 9593 3.1): a responder says so in its first answer, an
 * initiator that has heard it in the request by which it proves itself. most: octets that the
 * message may have for it. False when it cannot be said in so few. */
bool proof_put_methods(const struct ike_engine *e, struct wire_builder *b, size_t most)
{
    enum { NOTIFY_HEAD = 8 };
    uint8_t data[AUTH_ANNOUNCEMENTS_MAX];
    size_t used = b->w.len + NOTIFY_HEAD, room = used < most ? most - used : 0;
    bool certs = e->conf->remote_auth & CONF_AUTH_CERT && e->setup.trust;
    struct bytes list = auth_methods_write(e->conf->remote_auth & CONF_AUTH_PSK,
                                           certs ? &e->conf->signatures : NULL, data,
                                           room < sizeof(data) ? room : sizeof(data));
    if (list.len)
        wire_put_notify(b, NOTIFY_SUPPORTED_AUTH_METHODS, list);
    return list.len > 0;
}

void proof_read_methods(struct sa *sa, const struct wire_chain *chain)
{
    struct wire_notify_view n;
    if (wire_notify_find(chain, NOTIFY_SUPPORTED_AUTH_METHODS, &n))
        sa->handshake->peer_methods = auth_methods_parse(n.data);
}

int proof_put_auth(struct ike_engine *e, const struct sa *sa, struct bytes auth,
                   struct wire_builder *b)
{
    const struct handshake *h = sa->handshake;
    if (h->method == AUTH_SHARED_KEY) {
        wire_put_auth(b, h->method, auth);
        return 0;
    }
    struct writer w = writer_of(e->octets, sizeof(e->octets));
    int err = auth_signature_write(&w, h->method, (enum sign_scheme)h->scheme, auth);
    if (err == 0)
        wire_put_auth(b, h->method, writer_view(&w));
    return err;
}

/* The name the certificate must carry: what the peer claims, unless the configuration wants
 * another. */
static const struct identity *name_to_prove(const struct ike_engine *e, const struct sa *sa)
{
    const struct identity *wanted = &e->conf->remote_id;
    return wanted->type == IDENTITY_NONE ? &sa->handshake->peer : wanted;
}

static int verify_cert(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                       const struct wire_auth *auth, enum cert_purpose purpose)
{
    struct handshake *h = sa->handshake;
    struct bytes certs[WIRE_CERTS_MAX];
    char why[256] = "";
    struct auth_peer_proof proof = {.peer = name_to_prove(e, sa),
                                    .certs = certs,
                                    .method = auth->method,
                                    .data = auth->data,
                                    .purpose = purpose,
                                    .limits = &e->conf->signatures,
                                    .now = e->setup.wall_clock(e->setup.wall_context)};
    for (size_t i = 0; i < chain->count && proof.cert_count < WIRE_CERTS_MAX; i++) {
        struct wire_cert cert;
        if (chain->at[i].type == PAYLOAD_CERT && wire_cert_read(chain->at[i].body, &cert) == 0 &&
            cert.encoding == CERT_X509_SIGNATURE)
            certs[proof.cert_count++] = cert.data;
    }
    if (proof.cert_count == 0) {
        explain(e, "the peer signed but sent no certificate; make it send its certificate");
        return ERR_AUTH;
    }
    size_t len = 0;
    enum sign_scheme scheme = SIGN_NONE;
    int err = ask_octets(e, sa, false, e->octets, &len);
    proof.octets = (struct bytes){e->octets, len};
    if (err == 0)
        err = auth_verify_cert(e->setup.trust, e->certs, &proof, &scheme, why);
    h->peer_scheme = (uint8_t)scheme;
    h->peer_by = CONF_AUTH_CERT;
    /* Only this name is proven: the configured one may stand in the certificate beside the claimed
     * one. */
    if (err == 0)
        h->peer = *proof.peer;
    if (err < 0) {
        char who[IDENTITY_TEXT];
        identity_text(&h->peer, who);
        explain(e, "%.100s could not prove itself: %.240s", who, why[0] ? why : err_sentence(err));
    }
    return err;
}

/* With a pre-shared key the claimed identity is all there is, so it must be the one expected. */
static int check_psk_identity(struct ike_engine *e, const struct sa *sa)
{
    char who[IDENTITY_TEXT], wanted[IDENTITY_TEXT];
    const struct identity *expected = &e->conf->remote_id, *peer = &sa->handshake->peer;
    if (expected->type == IDENTITY_NONE || identity_equal(expected, peer))
        return 0;
    identity_text(peer, who);
    identity_text(expected, wanted);
    explain(e,
            "the peer says it is %.100s, but %.100s is expected; correct the remote identity here "
            "or the peer's own identity",
            who, wanted);
    return ERR_IDENTITY;
}

static int check_method(struct ike_engine *e, const struct wire_auth *auth)
{
    bool psk = auth->method == AUTH_SHARED_KEY;
    if (psk ? e->conf->remote_auth & CONF_AUTH_PSK : e->conf->remote_auth & CONF_AUTH_CERT)
        return 0;
    const char *how = psk                         ? "pre-shared key"
                      : auth->method == AUTH_NULL ? "nothing at all"
                                                  : "signature";
    explain(e,
            "the peer authenticates by %s (method %u), which is not allowed here; change `auth` "
            "on one side",
            how, auth->method);
    return ERR_AUTH;
}

int proof_check(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                enum cert_purpose purpose)
{
    struct handshake *h = sa->handshake;
    const struct wire_payload_view *id =
        wire_find(chain, sa->initiator ? PAYLOAD_IDr : PAYLOAD_IDi);
    const struct wire_payload_view *p = wire_find(chain, PAYLOAD_AUTH);
    struct wire_auth auth;
    if (!id || wire_id_read(id->body, &h->peer) < 0) {
        explain(e, "the peer's identity cannot be read");
        return ERR_SYNTAX;
    }
    struct reader body = reader_of_bytes(id->body);
    reader_skip(&body, 1);
    reader_copy(&body, h->peer_reserved, sizeof(h->peer_reserved));
    if (!p) {
        explain(e, "the peer wants EAP, which is not available here; use a certificate or a "
                   "pre-shared key");
        return ERR_AUTH;
    }
    if (wire_auth_read(p->body, &auth) < 0) {
        explain(e, "the peer's AUTH payload cannot be read");
        return ERR_SYNTAX;
    }
    h->peer_method = auth.method;
    int err = check_method(e, &auth);
    if (err < 0)
        return err;
    if (auth.method != AUTH_SHARED_KEY)
        return verify_cert(e, sa, chain, &auth, purpose);
    h->peer_by = CONF_AUTH_PSK;
    return check_psk_identity(e, sa);
}
