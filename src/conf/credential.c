/* The files that hold certificates, keys and secrets: read once here, for the check and for the
 * processes alike. */
#include "conf/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One credential file with what is needed to speak of it. */
struct source {
    const struct conf *conf;
    struct conf_faults *faults;
    const char *key; /* of the option */
    const char *path;
    char *text;
    size_t len;
};

static unsigned line_of(const struct conf *conf, const char *key)
{
    return option_line(conf, conf->gateway ? "gateway" : "tunnel", key);
}

static int refuse(const struct source *s, const char *next, const char *what)
{
    fault_add(s->faults, s->conf->file, line_of(s->conf, s->key), s->path, next, "%s: %s", s->key,
              what);
    return ERR_CONFIG;
}

static int open_source(struct source *s)
{
    char why[128];
    s->text = file_read(s->path, CONF_CREDENTIAL_MAX, &s->len, why);
    return s->text ? 0 : refuse(s, NULL, why);
}

static void close_source(struct source *s)
{
    if (s->text)
        secret_wipe(s->text, s->len);
    free(s->text);
    s->text = NULL;
}

static bool is_pem(const struct source *s)
{
    return memmem(s->text, s->len, "-----BEGIN ", 11) != NULL;
}

static struct bytes octets(const struct source *s)
{
    return (struct bytes){(const uint8_t *)s->text, s->len};
}

static int read_key_text(struct source *s, struct private_key **key)
{
    if (memmem(s->text, s->len, "ENCRYPTED", 9))
        return refuse(s,
                      "take the passphrase off: openssl pkey -in OLD -out NEW, then chmod 600 NEW",
                      "the private key is encrypted");
    if (private_key_parse(octets(s), key))
        return refuse(s, "it should hold a PEM block -----BEGIN PRIVATE KEY-----",
                      err_sentence(ERR_KEY_PARSE));
    return 0;
}

static int read_passphrase(const struct conf *conf, struct conf_faults *faults,
                           char out[static 256])
{
    out[0] = 0;
    if (!conf->passphrase_file[0])
        return 0;
    struct source s = {conf, faults, "passphrase-file", conf->passphrase_file, NULL, 0};
    int err = open_source(&s);
    if (err)
        return err;
    size_t len = s.len;
    while (len && strchr("\r\n", s.text[len - 1]))
        len--;
    if (len > 255 || memchr(s.text, 0, len)) {
        err = refuse(&s, NULL, "this is no passphrase: one line of at most 255 characters");
    } else {
        memcpy(out, s.text, len);
        out[len] = 0;
    }
    close_source(&s);
    return err;
}

static int read_p12(struct source *s, unsigned want, struct conf_credentials *out)
{
    char passphrase[256];
    struct private_key *key = NULL;
    int n = read_passphrase(s->conf, s->faults, passphrase);
    if (n)
        return n;
    n = cert_parse_p12(octets(s), passphrase, &key, out->chain, CERT_CHAIN_MAX);
    secret_wipe(passphrase, sizeof passphrase);
    if (n <= 0) {
        private_key_free(key);
        return refuse(s,
                      s->conf->passphrase_file[0]
                          ? "look at passphrase-file; the file should be PEM or PKCS#12"
                          : "a PKCS#12 file with a passphrase needs passphrase-file",
                      "neither PEM nor a PKCS#12 file that opens");
    }
    out->chain_count = (size_t)n;
    if (want & CONF_WANT_KEY && !s->conf->key[0])
        out->key = key;
    else
        private_key_free(key);
    return 0;
}

static int read_cert(const struct conf *conf, unsigned want, struct conf_credentials *out,
                     struct conf_faults *faults)
{
    struct source s = {conf, faults, "cert", conf->cert, NULL, 0};
    int err = open_source(&s);
    if (err)
        return err;
    if (!is_pem(&s)) {
        err = read_p12(&s, want, out);
    } else {
        int n = cert_parse_pem(octets(&s), out->chain, CERT_CHAIN_MAX);
        out->chain_count = n > 0 ? (size_t)n : 0;
        if (n <= 0)
            err = refuse(&s, "it should hold a PEM block -----BEGIN CERTIFICATE-----",
                         err_sentence(ERR_CERT_PARSE));
        else if (want & CONF_WANT_KEY && !conf->key[0])
            err = memmem(s.text, s.len, "PRIVATE KEY-----", 16)
                      ? read_key_text(&s, &out->key)
                      : refuse(&s, "add a line key = FILE", "there is no private key in this file");
    }
    close_source(&s);
    return err;
}

static int read_key(const struct conf *conf, struct conf_credentials *out,
                    struct conf_faults *faults)
{
    struct source s = {conf, faults, "key", conf->key, NULL, 0};
    int err = open_source(&s);
    if (!err)
        err = read_key_text(&s, &out->key);
    close_source(&s);
    return err;
}

enum { ANCHORS_MAX = 64 };

static int read_trust(const struct conf *conf, struct conf_credentials *out,
                      struct conf_faults *faults)
{
    out->trust = cert_trust_create();
    if (!out->trust)
        return ERR_MEMORY;
    if (!conf->ca[0] && conf->gateway)
        return 0;
    if (!conf->ca[0]) {
        if (!cert_trust_add_system(out->trust))
            return 0;
        fault_add(faults, conf->file, 0, NULL, "install ca-certificates, or name the CA by `ca`",
                  "the system's root certificates cannot be read");
        return ERR_CONFIG;
    }
    struct source s = {conf, faults, "ca", conf->ca, NULL, 0};
    int err = open_source(&s);
    if (err)
        return err;
    struct cert *anchors[ANCHORS_MAX];
    int n = cert_parse_pem(octets(&s), anchors, ANCHORS_MAX);
    if (n <= 0)
        err = refuse(&s, "it should hold a PEM block -----BEGIN CERTIFICATE-----",
                     err_sentence(ERR_CERT_PARSE));
    for (int i = 0; i < n; i++) {
        if (!err && cert_trust_add(out->trust, anchors[i]))
            err = refuse(&s, NULL, "the certificate cannot be a trust anchor");
        cert_free(anchors[i]);
    }
    close_source(&s);
    return err;
}

int conf_credentials_read(const struct conf *conf, unsigned want, struct conf_credentials *out,
                          struct conf_faults *faults)
{
    int err = 0, one;
    *out = (struct conf_credentials){0};
    if (want & (CONF_WANT_CERTS | CONF_WANT_KEY) && conf->cert[0])
        err = read_cert(conf, want, out, faults);
    if (want & CONF_WANT_KEY && conf->key[0] && (one = read_key(conf, out, faults)))
        err = one;
    bool trust = conf->gateway ? conf->tunnel.remote_auth & CONF_AUTH_CERT || conf->ca[0]
                               : conf->tunnel.remote_auth & CONF_AUTH_CERT;
    if (want & CONF_WANT_TRUST && trust && (one = read_trust(conf, out, faults)))
        err = one;
    if (!err && out->key && out->chain_count && !cert_matches_key(out->chain[0], out->key)) {
        const char *key = conf->key[0] ? "key" : "cert";
        fault_add(faults, conf->file, line_of(conf, key), conf->key[0] ? conf->key : conf->cert,
                  "compare: openssl x509 -pubkey -noout -in CERT; openssl pkey -pubout -in KEY",
                  "%s", err_sentence(ERR_KEY_MISMATCH));
        err = ERR_CONFIG;
    }
    return err;
}

void conf_credentials_free(struct conf_credentials *credentials)
{
    for (size_t i = 0; i < credentials->chain_count; i++)
        cert_free(credentials->chain[i]);
    if (credentials->key)
        private_key_free(credentials->key);
    if (credentials->trust)
        cert_trust_free(credentials->trust);
    *credentials = (struct conf_credentials){0};
}

int conf_psk_read(const struct conf *conf, const struct conf_peer *peer,
                  uint8_t out[static CONF_PSK_MAX], size_t *len, struct conf_faults *faults)
{
    const char *inline_psk = peer ? peer->psk : conf->psk;
    struct source s = {conf, faults, "psk-file", peer ? peer->psk_file : conf->psk_file, NULL, 0};
    if (inline_psk[0])
        return conf_psk_decode((struct bytes){(const uint8_t *)inline_psk, strlen(inline_psk)}, out,
                               len);
    if (!s.path[0])
        return ERR_NOT_FOUND;
    char why[128];
    unsigned line = peer ? peer->line : line_of(conf, "psk-file");
    s.text = file_read(s.path, 4096, &s.len, why);
    int err = s.text ? 0 : ERR_CONFIG;
    if (err)
        fault_add(faults, conf->file, line, s.path, NULL, "psk-file: %s", why);
    else if ((err = conf_psk_decode(octets(&s), out, len)))
        fault_add(faults, conf->file, line, s.path,
                  "one line: text, or 0x and hexadecimal digits, or 0s and base64",
                  "psk-file: the shared secret cannot be read");
    close_source(&s);
    return err ? ERR_CONFIG : 0;
}
