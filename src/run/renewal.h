/* renewal: what the ike process needs of a changed configuration, put together from the monitor's
 * messages, as it opens no files itself. It is complete, and every certificate read, before
 * anything of it is in force; the former one stays until the engine has let go of it. */
#ifndef SHRIKE_RUN_RENEWAL_H
#define SHRIKE_RUN_RENEWAL_H

#include "run/internal.h"

enum { RENEWAL_ANCHORS = 4096 };

/* One configuration with its certificates, for the engine to borrow. */
struct renewal {
    struct conf conf; /* its tunnel, and of the rest what cannot change; no peers */
    bool sites;
    struct conf_credentials credentials;
    uint8_t *piece; /* the certificate that is coming in, of IPC_CERT_OCTETS */
    uint32_t filled;
    int fault; /* the first one: what follows is not looked at */
};

/* NULL: no memory. `from` is what holds until then. */
struct renewal *renewal_create(const struct conf *from, const struct ipc_reload *what);
void renewal_cert(struct renewal *renewal, const struct ipc_cert *cert);
/* All has come: 0, ERR_CERT_PARSE, ERR_MEMORY, ERR_SYNTAX. */
int renewal_finish(struct renewal *renewal) MUST_USE;
void renewal_free(struct renewal *renewal);
bool renewal_same_own(const struct conf_credentials *a, const struct conf_credentials *b);
bool renewal_same_trust(const struct conf_credentials *a, const struct conf_credentials *b);

#endif
