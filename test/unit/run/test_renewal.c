/* Certificates that come in pieces: whole, or refused. */
#include "run/renewal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct conf conf;
static struct ipc_reload what;
static struct cert *ours;

static int make(void **state)
{
    struct pki_request request = {
        .common_name = "An authority", .key = KEY_ECDSA_P256, .days = 10, .ca = true};
    char *cert, *key;
    (void)state;
    if (crypto_init() || pki_issue(&request, NULL, NULL, 1700000000, &cert, &key))
        return -1;
    int count = cert_parse_pem((struct bytes){(const uint8_t *)cert, strlen(cert)}, &ours, 1);
    pki_text_free(cert);
    pki_text_free(key);
    return count == 1 ? 0 : -1;
}

static struct renewal *fresh(void)
{
    struct renewal *r = renewal_create(&conf, &what);
    assert_non_null(r);
    return r;
}

/* In pieces of `len` octets. */
static void give(struct renewal *r, enum ipc_cert_kind kind, struct bytes der, size_t len)
{
    for (size_t at = 0; at < der.len; at += len) {
        static struct ipc_cert piece;
        piece = (struct ipc_cert){.kind = kind,
                                  .total = (uint32_t)der.len,
                                  .offset = (uint32_t)at,
                                  .len = (uint32_t)(der.len - at < len ? der.len - at : len)};
        memcpy(piece.octets, der.at + at, piece.len);
        renewal_cert(r, &piece);
    }
}

static void pieces(void **state)
{
    static const size_t lengths[] = {1, 7, 100, IPC_CERT_PIECE};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct renewal *r = fresh();
        give(r, IPC_CERT_OWN, cert_der(ours), lengths[i]);
        give(r, IPC_CERT_TRUST, cert_der(ours), lengths[i]);
        assert_int_equal(renewal_finish(r), 0);
        assert_int_equal(r->credentials.chain_count, 1);
        assert_int_equal(cert_trust_count(r->credentials.trust), 1);
        struct renewal *same = fresh();
        give(same, IPC_CERT_OWN, cert_der(ours), 50);
        assert_int_equal(renewal_finish(same), 0);
        assert_true(renewal_same_own(&r->credentials, &same->credentials));
        assert_false(renewal_same_trust(&r->credentials, &same->credentials));
        renewal_free(r);
        renewal_free(same);
    }
}

static void refused(void **state)
{
    static struct ipc_cert piece;
    static const uint8_t nonsense[40] = {0x30, 0x26};
    (void)state;
    static const struct ipc_cert bad[] = {
        {.kind = 7, .total = 10, .len = 10},
        {.kind = IPC_CERT_OWN, .total = 10, .offset = 3, .len = 7},
        {.kind = IPC_CERT_OWN, .total = 10, .len = 11},
        {.kind = IPC_CERT_OWN, .total = 10, .len = 0},
        {.kind = IPC_CERT_OWN, .total = IPC_CERT_OCTETS + 1, .len = 10},
        {.kind = IPC_CERT_OWN, .total = UINT32_MAX, .len = UINT32_MAX},
        {.kind = IPC_CERT_OWN, .total = 20000, .len = IPC_CERT_PIECE + 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct renewal *r = fresh();
        piece = bad[i];
        renewal_cert(r, &piece);
        give(r, IPC_CERT_OWN, cert_der(ours), 100); /* what follows mends nothing */
        assert_int_equal(renewal_finish(r), ERR_SYNTAX);
        assert_int_equal(r->credentials.chain_count, 0);
        renewal_free(r);
    }
    struct renewal *r = fresh();
    give(r, IPC_CERT_TRUST, (struct bytes){nonsense, sizeof(nonsense)}, 40);
    assert_int_equal(renewal_finish(r), ERR_CERT_PARSE);
    renewal_free(r);
    r = fresh();
    struct bytes half = cert_der(ours);
    piece = (struct ipc_cert){.kind = IPC_CERT_OWN, .total = (uint32_t)half.len, .len = 10};
    renewal_cert(r, &piece);
    assert_int_equal(renewal_finish(r), ERR_SYNTAX); /* the rest never came */
    renewal_free(r);
}

static void too_many(void **state)
{
    (void)state;
    struct renewal *r = fresh();
    for (int i = 0; i <= CERT_CHAIN_MAX; i++)
        give(r, IPC_CERT_OWN, cert_der(ours), IPC_CERT_PIECE);
    assert_int_equal(renewal_finish(r), ERR_LIMIT);
    renewal_free(r);
    renewal_free(NULL);
}

static int unmake(void **state)
{
    (void)state;
    cert_free(ours);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces),
        cmocka_unit_test(refused),
        cmocka_unit_test(too_many),
    };
    return cmocka_run_group_tests(tests, make, unmake);
}
