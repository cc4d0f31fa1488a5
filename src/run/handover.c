/* From one keys process to the next: see keys.h. */
#include "run/keys.h"

#include <string.h>

enum { WAIT_MS = 1000 };

/* ---- the old one */

static int send_leases(int fd, const struct lease_book *book, struct ipc_message *message)
{
    struct lease_walk walk = {0};
    ipc_prepare(message, IPC_LEASE_KEY, 0);
    message->lease_key = lease_key_of(book);
    int result = ipc_send_wait(fd, message, -1, WAIT_MS);
    while (result == 0) {
        ipc_prepare(message, IPC_LEASES, 0);
        struct ipc_leases *leases = &message->leases;
        leases->count = (uint32_t)lease_export(book, &walk, leases->at, IPC_LEASES_MAX);
        if (leases->count == 0)
            break;
        result = ipc_send_wait(fd, message, -1, WAIT_MS);
    }
    return result;
}

static int send_secret(int fd, const struct conf_peer *peer, const struct ring_peer *ring_peer,
                       struct ipc_message *message)
{
    ipc_prepare(message, IPC_SECRET, 0);
    cert_identity_canonical(&peer->id, &message->secret.who);
    message->secret.len = ring_peer->psk_len;
    memcpy(message->secret.psk, ring_peer->psk, ring_peer->psk_len);
    int result = ipc_send_wait(fd, message, -1, WAIT_MS);
    ipc_wipe(message);
    return result;
}

int handover_send(int fd, const struct keyring *ring, const struct lease_book *book)
{
    static struct ipc_message message;
    int result = send_leases(fd, book, &message);
    for (size_t i = 0; i < ring->conf->peer_count && result == 0; i++)
        result = send_secret(fd, &ring->conf->peers[i], &ring->peers[i], &message);
    if (result)
        return result;
    ipc_prepare(&message, IPC_HANDED_OVER, 0);
    return ipc_send_wait(fd, &message, -1, WAIT_MS);
}

/* ---- the new one */

static char same, another; /* what the map of verdicts points to */

static bool equal_secrets(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || secret_equal(a.at, b.at, a.len));
}

static int take_secret(struct handover *h, const struct ipc_secret *secret,
                       const struct keyring *ring)
{
    uint8_t flat[1 + IDENTITY_MAX];
    struct bytes was = {secret->psk, secret->len};
    if (secret->len > CONF_PSK_MAX)
        return ERR_SYNTAX;
    if (secret->who.type == IDENTITY_NONE) {
        h->rest.psk_len = secret->len;
        memcpy(h->rest.psk, secret->psk, secret->len);
        return 0;
    }
    const struct ring_peer *now = ring_find(ring, &secret->who);
    bool equal = equal_secrets(was, ring_psk(ring, now));
    h->sum.secrets += now && !equal;
    uint64_t key = map_hash_bytes(&h->verdicts, flat, identity_flat(&secret->who, flat));
    int result = map_put(&h->verdicts, key, equal ? &same : &another);
    return result == ERR_EXISTS ? 0 : result;
}

/* What the new pools have no room for stays behind: its tunnel will be asked about, and ends. */
static int take_leases(struct handover *h, const struct ipc_leases *leases, struct lease_book *book)
{
    if (leases->count > IPC_LEASES_MAX)
        return ERR_SYNTAX;
    for (uint32_t i = 0; i < leases->count; i++) {
        const struct lease_record *record = &leases->at[i];
        int result = lease_import(book, record);
        h->sum.held += record->owner && result == 0;
        h->sum.left += record->owner && result != 0;
    }
    return 0;
}

int handover_take(struct handover *h, const struct ipc_message *message, const struct keyring *ring,
                  struct lease_book *book)
{
    if (!h->known && map_init(&h->verdicts, CONF_CLIENTS_MAX + 1, &random_system))
        return ERR_MEMORY;
    h->known = true;
    switch (message->kind) {
    case IPC_LEASE_KEY:
        return lease_take_key(book, &message->lease_key);
    case IPC_LEASES:
        return take_leases(h, &message->leases, book);
    case IPC_SECRET:
        return take_secret(h, &message->secret, ring);
    case IPC_HANDED_OVER:
        return 1;
    default:
        return ERR_SYNTAX;
    }
}

bool handover_same_secret(const struct handover *h, const struct keyring *ring,
                          const struct identity *id)
{
    uint8_t flat[1 + IDENTITY_MAX];
    if (!h->known)
        return true;
    uint64_t key = map_hash_bytes(&h->verdicts, flat, identity_flat(id, flat));
    const char *verdict = map_get(&h->verdicts, key);
    if (verdict)
        return verdict == &same;
    struct bytes rest = {h->rest.psk, h->rest.psk_len};
    return equal_secrets(rest, ring_psk(ring, ring_find(ring, id)));
}

void handover_free(struct handover *h)
{
    if (h->known)
        map_free(&h->verdicts);
    secret_wipe(&h->rest, sizeof(h->rest));
    *h = (struct handover){.known = false};
}
