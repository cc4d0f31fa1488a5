/* shrike pki ca, shrike pki issue. */
#include "cli/pki.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NAMES_MAX = 16 };

static int make_dir(const char *dir)
{
    int rc = keyfile_make_dir(dir);
    if (rc == 0)
        return EXIT_OK;
    if (rc == ERR_NOT_FOUND)
        complain("cannot make the directory %s: the one above it does not exist", dir);
    else if (rc == ERR_EXISTS)
        complain("%s is not a directory; choose another with --out", dir);
    else
        complain("cannot make the directory %s: %s", dir, pki_reason(rc));
    return pki_exit_code(rc);
}

/* One file to write. All of a verb's are looked at before the first is written. */
struct output {
    char path[KEYFILE_PATH];
    struct bytes content;
    bool secret;
};

static bool add_output(struct output *output, const char *dir, const char *name, const char *ending,
                       bool secret)
{
    output->secret = secret;
    if (keyfile_path(output->path, dir, name, ending))
        return true;
    complain("the path %s/%s%s is too long", dir, name, ending);
    return false;
}

static bool may_write(const struct output *outputs, size_t count, bool force)
{
    for (size_t i = 0; i < count; i++) {
        if (!force && access(outputs[i].path, F_OK) == 0) {
            complain("%s exists already and was left alone; --force replaces it", outputs[i].path);
            return false;
        }
    }
    return true;
}

static int write_outputs(const struct output *outputs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int rc = keyfile_write(outputs[i].path, outputs[i].content, outputs[i].secret);
        if (rc < 0) {
            complain("cannot write %s: %s", outputs[i].path, pki_reason(rc));
            return pki_exit_code(rc);
        }
        fprintf(stderr, "wrote %s%s\n", outputs[i].path, outputs[i].secret ? " (secret)" : "");
    }
    return EXIT_OK;
}

static struct bytes text_bytes(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

/* ---- ca */

static int report_issue(int rc, const char *name)
{
    switch (rc) {
    case ERR_ARGUMENT:
        complain("\"%s\" cannot be a common name: it takes 1 to 64 printable characters", name);
        return EXIT_USAGE;
    case ERR_KEY_MISMATCH:
        complain("ca.key does not belong to ca.pem: restore the pair from where it was made");
        break;
    case ERR_CERT_USAGE:
        complain("ca.pem is not a certificate authority; make one with: shrike pki ca --name TEXT");
        break;
    case ERR_CERT_EXPIRED:
        complain("the CA's certificate has expired; make a new one with: shrike pki ca --force");
        break;
    default:
        complain("making the certificate failed: %s", err_sentence(rc));
    }
    return EXIT_FAILED;
}

int pki_make_ca(int argc, char **argv)
{
    static const char *const switches[] = {"force", NULL};
    static const char *const valued[] = {"name", "out", "days", "key", NULL};
    struct pki_options o;
    if (!pki_options_parse(argc, argv, switches, valued, &o))
        return pki_usage();
    if (!o.name || o.word_count > 0) {
        complain("%s", o.name
                           ? "the name goes behind --name, in quotes if it has blanks"
                           : "a CA needs a name that people will recognise: --name \"My VPN CA\"");
        return pki_usage();
    }
    const char *dir = o.out ? o.out : ".";
    struct output outputs[2];
    if (!add_output(&outputs[0], dir, "ca", ".key", true) ||
        !add_output(&outputs[1], dir, "ca", ".pem", false))
        return EXIT_FAILED;
    int code = make_dir(dir);
    if (code != EXIT_OK)
        return code;
    if (!may_write(outputs, 2, o.force))
        return EXIT_FAILED;

    struct pki_request request = {.common_name = o.name, .key = o.key, .days = o.days, .ca = true};
    char *cert_pem, *key_pem;
    int rc = pki_issue(&request, NULL, NULL, time(NULL), &cert_pem, &key_pem);
    if (rc < 0)
        return report_issue(rc, o.name);
    outputs[0].content = text_bytes(key_pem);
    outputs[1].content = text_bytes(cert_pem);
    code = write_outputs(outputs, 2);
    pki_text_free(cert_pem);
    pki_text_free(key_pem);
    if (code == EXIT_OK)
        fprintf(stderr,
                "Who has ca.key can make certificates that all your peers trust: keep it off the "
                "gateway.\nnext: shrike pki issue gateway vpn.example.com --ca %s\n",
                dir);
    return code;
}

/* ---- issue */

struct authority {
    struct cert *cert;
    struct private_key *key;
    struct bytes pem; /* of the certificate */
};

static void free_authority(struct authority *ca)
{
    cert_free(ca->cert);
    private_key_free(ca->key);
    keyfile_free(&ca->pem);
}

static int missing_authority(const char *path, const char *dir, int rc)
{
    if (rc == ERR_NOT_FOUND)
        complain("there is no CA in %s: %s does not exist; make one with: shrike pki ca --name "
                 "\"My VPN CA\" --out %s, or name its directory with --ca",
                 dir, path, dir);
    else
        complain("cannot read %s: %s", path, pki_reason(rc));
    return pki_exit_code(rc);
}

static int load_authority(const char *dir, struct authority *ca)
{
    char path[KEYFILE_PATH];
    struct bytes key_pem = {NULL, 0};
    *ca = (struct authority){0};
    if (!keyfile_path(path, dir, "ca", ".pem")) {
        complain("the path %s is too long", dir);
        return EXIT_FAILED;
    }
    int rc = keyfile_read(path, &ca->pem);
    if (rc < 0)
        return missing_authority(path, dir, rc);
    struct cert *certs[CERT_CHAIN_MAX];
    int count = cert_parse_pem(ca->pem, certs, CERT_CHAIN_MAX);
    if (count < 0) {
        complain("%s holds no readable certificate: expected PEM as shrike pki ca writes it", path);
        return EXIT_FAILED;
    }
    ca->cert = certs[0];
    for (int i = 1; i < count; i++)
        cert_free(certs[i]);

    if (!keyfile_path(path, dir, "ca", ".key"))
        return EXIT_FAILED;
    rc = keyfile_read(path, &key_pem);
    if (rc < 0)
        return missing_authority(path, dir, rc);
    rc = private_key_parse(key_pem, &ca->key);
    keyfile_free(&key_pem);
    if (rc < 0) {
        complain("%s holds no readable private key; it must be PEM and not encrypted", path);
        return EXIT_FAILED;
    }
    return EXIT_OK;
}

/* The name is a file's name too. */
static bool is_good_name(const char *name)
{
    if (strchr(name, '/') || name[0] == '.' || strcasecmp(name, "ca") == 0) {
        complain("\"%s\" cannot be used: it would not make a file name of its own", name);
        return false;
    }
    return true;
}

static bool add_name(const char *text, struct identity *names, size_t *count)
{
    if (*count == NAMES_MAX) {
        complain("more than %d names", NAMES_MAX);
        return false;
    }
    struct identity *id = &names[*count];
    if (!identity_parse(text, id) || id->type == IDENTITY_KEY_ID) {
        complain("\"%s\" is not a host name, an address or user@host", text);
        return false;
    }
    for (size_t i = 0; i < *count; i++) {
        if (identity_equal(&names[i], id))
            return true;
    }
    ++*count;
    return true;
}

/* The common name and everything behind --san. */
static bool collect_names(const char *first, const char *list, struct identity *names,
                          size_t *count)
{
    *count = 0;
    if (!add_name(first, names, count))
        return false;
    while (list && *list) {
        char text[IDENTITY_MAX + 1];
        size_t len = strcspn(list, ",");
        snprintf(text, sizeof(text), "%.*s", (int)len, list);
        if (len >= sizeof(text) || !add_name(text, names, count)) {
            if (len >= sizeof(text))
                complain("a name behind --san is too long");
            return false;
        }
        list += len + (list[len] == ',');
    }
    return true;
}

/* 20 characters of 5 bits, without those that are mistaken for others. */
static void make_passphrase(char out[static PASSPHRASE_MAX])
{
    static const char alphabet[] = "abcdefghjkmnpqrstuvwxyz123456789";
    uint8_t octets[20];
    size_t at = 0;
    random_fill(&random_system, octets, sizeof(octets));
    for (size_t i = 0; i < sizeof(octets); i++) {
        if (i > 0 && i % 4 == 0)
            out[at++] = '-';
        out[at++] = alphabet[octets[i] % 32];
    }
    out[at] = '\0';
    secret_wipe(octets, sizeof(octets));
}

static int pack_p12(const struct pki_options *o, const struct authority *ca, const char *cert_pem,
                    const char *key_pem, struct output *output)
{
    char passphrase[PASSPHRASE_MAX];
    uint8_t *p12;
    size_t len;
    if (o->passphrase_file) {
        int code = pki_passphrase(o->passphrase_file, passphrase);
        if (code != EXIT_OK)
            return code;
    } else {
        make_passphrase(passphrase);
    }
    int rc = pki_p12(cert_pem, key_pem, (const char *)ca->pem.at, o->words[1], passphrase,
                     o->legacy, &p12, &len);
    if (rc == 0)
        output->content = (struct bytes){p12, len};
    else
        complain("making the PKCS#12 file failed: %s", err_sentence(rc));
    if (rc == 0 && !o->passphrase_file)
        printf("%s\n", passphrase);
    secret_wipe(passphrase, sizeof(passphrase));
    return rc == 0 ? EXIT_OK : EXIT_FAILED;
}

/* Compares what was asked for with what the CA's own end leaves. */
static void tell_cut(const char *cert_pem, unsigned days)
{
    struct cert *cert;
    int64_t from, until;
    if (cert_parse_pem(text_bytes(cert_pem), &cert, 1) != 1)
        return;
    cert_validity(cert, &from, &until);
    cert_free(cert);
    int64_t left = (until - time(NULL) + 43200) / 86400; /* the nearest */
    if (left < (int64_t)days - 1)
        fprintf(stderr, "note: it ends with its CA, in %lld days instead of %u\n", (long long)left,
                days);
}

static void tell_next(const struct pki_options *o, const char *ca_dir, const char *dir,
                      bool gateway)
{
    const char *name = o->words[1];
    if (o->key == KEY_ED25519)
        fprintf(stderr, "note: phones, macOS and Windows do not read Ed25519 certificates\n");
    if (o->p12 && !o->passphrase_file)
        fprintf(stderr, "The passphrase above opens %s/%s.p12; it is stored nowhere.\n", dir, name);
    if (gateway)
        fprintf(stderr,
                "next: in the gateway's file: cert = %s/%s.pem, key = %s/%s.key, ca = %s/ca.pem\n",
                dir, name, dir, name, ca_dir);
    else
        fprintf(stderr,
                o->p12 ? "next: bring %s.p12 to the client, with ca.pem of %s; in its file: cert = "
                         "%s.p12, passphrase-file = FILE, ca = ca.pem\n"
                       : "next: bring %s.pem and its .key to the client, with ca.pem of %s; in its "
                         "file: cert = %s.pem, key = the .key, ca = ca.pem\n",
                name, ca_dir, name);
}

static int issue(const struct pki_options *o, bool gateway, const struct authority *ca,
                 const char *ca_dir, const char *dir)
{
    struct identity names[NAMES_MAX];
    struct pki_request request = {
        .common_name = o->words[1],
        .names = names,
        .key = o->key,
        .days = o->days,
        .purpose = gateway ? CERT_FOR_GATEWAY : CERT_FOR_CLIENT,
    };
    struct output outputs[3] = {{.secret = false}};
    size_t count = o->p12 ? 3 : 2;
    if (!collect_names(o->words[1], o->san, names, &request.name_count))
        return EXIT_USAGE;
    if (!add_output(&outputs[0], dir, o->words[1], ".key", true) ||
        !add_output(&outputs[1], dir, o->words[1], ".pem", false) ||
        !add_output(&outputs[2], dir, o->words[1], ".p12", true) ||
        !may_write(outputs, count, o->force))
        return EXIT_FAILED;

    char *cert_pem, *key_pem;
    int rc = pki_issue(&request, ca->cert, ca->key, time(NULL), &cert_pem, &key_pem);
    if (rc < 0)
        return report_issue(rc, o->words[1]);
    outputs[0].content = text_bytes(key_pem);
    outputs[1].content = text_bytes(cert_pem);
    int code = o->p12 ? pack_p12(o, ca, cert_pem, key_pem, &outputs[2]) : EXIT_OK;
    if (code == EXIT_OK)
        code = write_outputs(outputs, count);
    if (code == EXIT_OK && o->days != DAYS_DEFAULT)
        tell_cut(cert_pem, o->days);
    if (code == EXIT_OK)
        tell_next(o, ca_dir, dir, gateway);
    keyfile_free(&outputs[2].content);
    pki_text_free(cert_pem);
    pki_text_free(key_pem);
    return code;
}

int pki_make_leaf(int argc, char **argv)
{
    static const char *const switches[] = {"force", "p12", "legacy", NULL};
    static const char *const valued[] = {"san", "ca", "out", "days", "key", "passphrase-file",
                                         NULL};
    struct pki_options o;
    if (!pki_options_parse(argc, argv, switches, valued, &o))
        return pki_usage();
    bool gateway = o.word_count > 0 && strcmp(o.words[0], "gateway") == 0;
    if (o.word_count != 2 || (!gateway && strcmp(o.words[0], "client") != 0)) {
        complain("say for whom: issue gateway NAME, or issue client NAME");
        return pki_usage();
    }
    if (!is_good_name(o.words[1]))
        return EXIT_USAGE;
    if (!o.p12 && (o.legacy || o.passphrase_file)) {
        complain("--legacy and --passphrase-file are about --p12, which is not there");
        return pki_usage();
    }
    const char *ca_dir = o.ca ? o.ca : ".";
    const char *dir = o.out ? o.out : ca_dir;
    struct authority ca;
    int code = load_authority(ca_dir, &ca);
    if (code == EXIT_OK)
        code = make_dir(dir);
    if (code == EXIT_OK)
        code = issue(&o, gateway, &ca, ca_dir, dir);
    free_authority(&ca);
    return code;
}
