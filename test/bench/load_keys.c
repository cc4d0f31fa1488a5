#include <stdio.h>
#include <string.h>

#include "load.h"

static int complain(const struct conf_faults *faults)
{
    char text[1024];
    conf_fault_print(&faults->at[0], text, sizeof(text));
    fprintf(stderr, "shrike-load: %s\n", text);
    return ERR_CONFIG;
}

int load_keys_read(struct load_keys *keys, const struct conf *conf)
{
    struct conf_faults faults = {.count = 0};
    unsigned want = CONF_WANT_CERTS | CONF_WANT_KEY | CONF_WANT_TRUST;
    if (conf_credentials_read(conf, want, &keys->credentials, &faults))
        return complain(&faults);
    int result = conf_psk_read(conf, NULL, keys->psk, &keys->psk_len, &faults);
    return result == 0 || result == ERR_NOT_FOUND ? 0 : complain(&faults);
}

static int mac(const struct load_keys *keys, const struct ike_ask *ask, struct bytes octets,
               uint8_t *out)
{
    const struct prf_alg *alg = suite_prf(ask->prf);
    if (!alg)
        return ERR_UNSUPPORTED;
    return auth_psk(alg, (struct bytes){keys->psk, keys->psk_len}, octets, out);
}

static int verify_peer(const struct load_keys *keys, const struct ike_ask *ask)
{
    uint8_t expected[SECRET_MAX];
    int result = mac(keys, ask, ike_ask_peer(ask), expected);
    if (result == 0 && !secret_equal(expected, ask->peer_auth, ask->peer_auth_len))
        result = ERR_AUTH;
    return result;
}

static int make_own(const struct load_keys *keys, const struct ike_ask *ask,
                    struct ike_answer *answer)
{
    size_t len = 0;
    int result;
    if (ask->method == AUTH_SHARED_KEY) {
        result = mac(keys, ask, ike_ask_own(ask), answer->auth);
        len = suite_prf(ask->prf)->len;
    } else {
        struct bytes octets = ike_ask_own(ask);
        result = keys->credentials.key
                     ? sign(keys->credentials.key, ask->scheme, octets, answer->auth, &len)
                     : ERR_AUTH;
    }
    answer->auth_len = (uint16_t)len;
    return result;
}

void load_keys_answer(const struct load_keys *keys, const struct ike_ask *ask,
                      struct ike_answer *answer)
{
    memset(answer, 0, sizeof(*answer));
    answer->ticket = ask->ticket;
    if (ask->want & IKE_WANT_VERIFY_PSK)
        answer->result = verify_peer(keys, ask);
    if (answer->result == 0 && (ask->want & IKE_WANT_SIGN))
        answer->result = make_own(keys, ask, answer);
}

void load_keys_free(struct load_keys *keys)
{
    conf_credentials_free(&keys->credentials);
    secret_wipe(keys->psk, sizeof(keys->psk));
}
