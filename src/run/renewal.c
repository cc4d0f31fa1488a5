/* Certificates by pieces: see renewal.h. */
#include "run/renewal.h"

#include <stdlib.h>
#include <string.h>

struct renewal *renewal_create(const struct conf *from, const struct ipc_reload *what)
{
    struct renewal *r = calloc(1, sizeof(*r));
    if (r)
        r->piece = malloc(IPC_CERT_OCTETS);
    if (!r || !r->piece) {
        free(r);
        return NULL;
    }
    r->conf = *from;
    r->conf.peers = NULL; /* not ours, and keys' business */
    r->conf.peer_count = 0;
    memset(r->conf.values, 0, sizeof(r->conf.values));
    r->conf.tunnel = what->tunnel;
    r->sites = what->sites;
    return r;
}

void renewal_free(struct renewal *r)
{
    if (!r)
        return;
    conf_credentials_free(&r->credentials);
    free(r->piece);
    secret_wipe(r, sizeof(*r));
    free(r);
}

static int keep(struct renewal *r, enum ipc_cert_kind kind, struct bytes der)
{
    struct conf_credentials *c = &r->credentials;
    struct cert *cert;
    int result = cert_parse(der, &cert);
    if (result)
        return result;
    if (kind == IPC_CERT_OWN) {
        if (c->chain_count < CERT_CHAIN_MAX) {
            c->chain[c->chain_count++] = cert;
            return 0;
        }
        cert_free(cert);
        return ERR_LIMIT;
    }
    if (!c->trust)
        c->trust = cert_trust_create();
    if (!c->trust)
        result = ERR_MEMORY;
    else if (cert_trust_count(c->trust) >= RENEWAL_ANCHORS)
        result = ERR_LIMIT;
    else
        result = cert_trust_add(c->trust, cert);
    cert_free(cert);
    return result;
}

void renewal_cert(struct renewal *r, const struct ipc_cert *cert)
{
    if (r->fault || !r->piece) /* finished: there is no more to come */
        return;
    bool fits = cert->len <= IPC_CERT_PIECE && cert->total <= IPC_CERT_OCTETS &&
                cert->offset == r->filled && cert->len <= cert->total - r->filled && cert->len > 0;
    if (!fits || cert->kind > IPC_CERT_TRUST) {
        r->fault = ERR_SYNTAX;
        return;
    }
    memcpy(r->piece + r->filled, cert->octets, cert->len);
    r->filled += cert->len;
    if (r->filled < cert->total)
        return;
    r->fault = keep(r, (enum ipc_cert_kind)cert->kind, (struct bytes){r->piece, r->filled});
    r->filled = 0;
}

int renewal_finish(struct renewal *r)
{
    if (r->fault == 0 && r->filled > 0)
        r->fault = ERR_SYNTAX;
    free(r->piece);
    r->piece = NULL;
    return r->fault;
}

static bool same_cert(const struct cert *a, const struct cert *b)
{
    struct bytes x = cert_der(a), y = cert_der(b);
    return x.len == y.len && memcmp(x.at, y.at, x.len) == 0;
}

bool renewal_same_own(const struct conf_credentials *a, const struct conf_credentials *b)
{
    for (size_t i = 0; i < a->chain_count && i < b->chain_count; i++)
        if (!same_cert(a->chain[i], b->chain[i]))
            return false;
    return a->chain_count == b->chain_count;
}

bool renewal_same_trust(const struct conf_credentials *a, const struct conf_credentials *b)
{
    size_t x = a->trust ? cert_trust_count(a->trust) : 0;
    size_t y = b->trust ? cert_trust_count(b->trust) : 0;
    for (size_t i = 0; i < x && i < y; i++)
        if (!same_cert(cert_trust_at(a->trust, i), cert_trust_at(b->trust, i)))
            return false;
    return x == y;
}
