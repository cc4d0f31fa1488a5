/* shrike pki show. */
#include "cli/pki.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool is_p12(const char *path)
{
    size_t len = strlen(path);
    return len > 4 &&
           (strcasecmp(path + len - 4, ".p12") == 0 || strcasecmp(path + len - 4, ".pfx") == 0);
}

static int parse_p12(const char *path, struct bytes file, const char *passphrase_file,
                     struct cert **certs)
{
    char passphrase[PASSPHRASE_MAX] = "";
    struct private_key *key = NULL;
    if (passphrase_file && pki_passphrase(passphrase_file, passphrase) != EXIT_OK)
        return ERR_FAILED;
    int count = cert_parse_p12(file, passphrase, &key, certs, CERT_CHAIN_MAX);
    if (count == ERR_INTEGRITY)
        complain("the passphrase does not open %s; name the right one with --passphrase-file FILE",
                 path);
    else if (count == ERR_UNSUPPORTED)
        complain("%s is encrypted in a way of old (RC2) that is not supported; export it again "
                 "with AES or 3DES",
                 path);
    else if (count < 0)
        complain("%s cannot be read as PKCS#12: %s", path, err_sentence(count));
    private_key_free(key);
    secret_wipe(passphrase, sizeof(passphrase));
    return count;
}

static int parse_file(const char *path, const char *passphrase_file, struct cert **certs)
{
    struct bytes file;
    int rc = keyfile_read(path, &file);
    if (rc < 0) {
        complain("cannot read %s: %s", path, pki_reason(rc));
        return rc;
    }
    if (is_p12(path)) {
        rc = parse_p12(path, file, passphrase_file, certs);
    } else {
        rc = cert_parse_pem(file, certs, CERT_CHAIN_MAX);
        if (rc < 0)
            complain("%s holds no readable certificate%s", path,
                     strstr((const char *)file.at, "PRIVATE KEY") ? ": it is a private key" : "");
    }
    keyfile_free(&file);
    return rc;
}

static void show_state(const struct cert *cert)
{
    int64_t from, until, now = time(NULL);
    cert_validity(cert, &from, &until);
    if (now > until)
        printf("state       expired %lld days ago\n", (long long)(now - until) / 86400);
    else if (now < from)
        printf("state       not valid yet\n");
    else
        printf("state       valid, %lld days left\n", (long long)(until - now) / 86400);
}

static json_t *cert_json(const char *path, const struct cert *cert)
{
    char subject[256], issuer[256], id_text[IDENTITY_TEXT] = "";
    struct identity id;
    int64_t from, until;
    cert_validity(cert, &from, &until);
    if (cert_identity(cert, &id))
        cert_dn_print(&id, id_text);
    const struct public_key *key = cert_public_key(cert);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I}", "file", path, "subject",
                     cert_print_subject(cert, subject), "issuer", cert_print_issuer(cert, issuer),
                     "identity", id_text, "key", key_kind_name(public_key_kind(key)), "bits",
                     (int)public_key_bits(key), "not_before", (json_int_t)from, "not_after",
                     (json_int_t)until);
}

static int show_file(const struct pki_options *o, const char *path, json_t *list)
{
    struct cert *certs[CERT_CHAIN_MAX];
    int count = parse_file(path, o->passphrase_file, certs);
    for (int i = 0; i < count; i++) {
        char *text = list ? NULL : pki_describe(certs[i]);
        if (list) {
            json_array_append_new(list, cert_json(path, certs[i]));
        } else if (text) {
            printf("%sfile        %s\n%s", i > 0 || path != o->words[0] ? "\n" : "", path, text);
            show_state(certs[i]);
        }
        free(text);
        cert_free(certs[i]);
    }
    return count < 0 ? pki_exit_code(count) : EXIT_OK;
}

int pki_show(int argc, char **argv)
{
    static const char *const switches[] = {"json", NULL};
    static const char *const valued[] = {"passphrase-file", NULL};
    struct pki_options o;
    if (!pki_options_parse(argc, argv, switches, valued, &o))
        return pki_usage();
    if (o.word_count == 0) {
        complain("name one or more files with certificates");
        return pki_usage();
    }
    json_t *list = o.json ? json_array() : NULL;
    int code = EXIT_OK;
    for (size_t i = 0; i < o.word_count; i++) {
        int one = show_file(&o, o.words[i], list);
        code = one != EXIT_OK ? one : code;
    }
    if (list) {
        json_t *doc = json_pack("{s:i, s:o}", "version", 1, "certificates", list);
        json_dumpf(doc, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(doc);
    }
    return code;
}
