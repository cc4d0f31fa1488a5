/* AUTH payload data, AlgorithmIdentifiers and hash lists: the first octet says what follows. */
#include "auth/auth.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_auth(const uint8_t *data, size_t size)
{
    if (size < 2)
        return;
    enum sign_scheme scheme;
    struct bytes signature;
    enum key_kind kind = data[1] % (KEY_ED25519 + 1);
    struct bytes all = {data + 2, size - 2};
    if (auth_signature_parse(data[0], all, kind, &scheme, &signature) < 0)
        return;
    /* What was understood is written back the same, but for the two spellings of a hash. */
    uint8_t out[2048];
    struct writer w = writer_of(out, sizeof(out));
    if (auth_signature_write(&w, data[0], scheme, signature) < 0)
        abort();
    enum sign_scheme again;
    struct bytes same;
    if (auth_signature_parse(data[0], writer_view(&w), kind, &again, &same) < 0 ||
        again != scheme || !bytes_equal(same, signature))
        abort();
}

static void parse_identifier(struct bytes der)
{
    enum sign_scheme scheme = sign_scheme_from_oid(der);
    if (scheme != SIGN_NONE && sign_scheme_from_oid(sign_scheme_oid(scheme)) != scheme)
        abort();
}

static void parse_hashes(struct bytes data)
{
    uint8_t out[16], hashes = auth_hashes_parse(data);
    struct writer w = writer_of(out, sizeof(out));
    auth_hashes_write(&w, hashes);
    if (w.bad || auth_hashes_parse(writer_view(&w)) != hashes)
        abort();
    for (enum key_kind kind = KEY_NONE; kind <= KEY_ED25519; kind++) {
        uint8_t method;
        static const struct sign_limits none;
        struct auth_peer_wants peer = {.hashes = hashes, .limits = &none};
        (void)auth_choose_scheme(kind, &peer, &method);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct bytes rest = {data + 1, size - 1};
    if (data[0] % 3 == 0)
        parse_auth(rest.at, rest.len);
    else if (data[0] % 3 == 1)
        parse_identifier(rest);
    else
        parse_hashes(rest);
    return 0;
}
