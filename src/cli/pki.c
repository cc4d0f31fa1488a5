/* shrike pki: a certificate authority of one's own, and certificates that native clients take. */
#include "cli/pki.h"
#include "cli/verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DAYS_MAX = 36500 };

static const char usage_text[] =
    "usage: shrike pki ca --name TEXT [--out DIR] [--days N] [--key KIND] [--force]\n"
    "       shrike pki issue gateway|client NAME [--san NAME,...] [--ca DIR] [--out DIR]\n"
    "                        [--days N] [--key KIND] [--force]\n"
    "                        [--p12 [--passphrase-file FILE] [--legacy]]\n"
    "       shrike pki show [--json] [--passphrase-file FILE] FILE...\n"
    "KIND: p256 (the default), p384, rsa, ed25519\n";

int pki_usage(void)
{
    fputs(usage_text, stderr);
    return EXIT_USAGE;
}

/* ---- options */

static bool parse_days(const char *text, unsigned *out)
{
    char *end;
    errno = 0;
    unsigned long days = strtoul(text, &end, 10);
    if (errno || *text < '0' || *text > '9' || *end || days == 0 || days > DAYS_MAX) {
        complain("--days takes a number from 1 to %d, not \"%s\"", DAYS_MAX, text);
        return false;
    }
    *out = (unsigned)days;
    return true;
}

static bool parse_key(const char *text, enum key_kind *out)
{
    static const enum key_kind offered[] = {KEY_ECDSA_P256, KEY_ECDSA_P384, KEY_RSA, KEY_ED25519};
    for (size_t i = 0; i < ARRAY_LEN(offered); i++) {
        if (strcmp(text, key_kind_name(offered[i])) == 0) {
            *out = offered[i];
            return true;
        }
    }
    complain("--key takes p256, p384, rsa or ed25519, not \"%s\"", text);
    return false;
}

static bool set_value(struct pki_options *o, const char *option, const char *value)
{
    const struct {
        const char *name;
        const char **to;
    } texts[] = {
        {"name", &o->name},
        {"out", &o->out},
        {"ca", &o->ca},
        {"san", &o->san},
        {"passphrase-file", &o->passphrase_file},
    };
    if (strcmp(option, "days") == 0)
        return parse_days(value, &o->days);
    if (strcmp(option, "key") == 0)
        return parse_key(value, &o->key);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (strcmp(option, texts[i].name) == 0)
            *texts[i].to = value;
    }
    return true;
}

static bool set_switch(struct pki_options *o, const char *option)
{
    const struct {
        const char *name;
        bool *to;
    } switches[] = {
        {"p12", &o->p12},
        {"legacy", &o->legacy},
        {"force", &o->force},
        {"json", &o->json},
    };
    for (size_t i = 0; i < ARRAY_LEN(switches); i++) {
        if (strcmp(option, switches[i].name) == 0)
            return *switches[i].to = true;
    }
    return false;
}

/* Is this word (up to its end or `=`) one of the list, which names the options of one verb? */
static bool in_list(const char *option, size_t len, const char *const *list)
{
    for (; *list; list++) {
        if (strlen(*list) == len && strncmp(option, *list, len) == 0)
            return true;
    }
    return false;
}

bool pki_options_parse(int argc, char **argv, const char *const *switches,
                       const char *const *valued, struct pki_options *o)
{
    *o = (struct pki_options){.key = KEY_ECDSA_P256, .days = DAYS_DEFAULT};
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-' || word[1] == '\0') {
            if (o->word_count == PKI_WORDS_MAX) {
                complain("more than %d names at once", PKI_WORDS_MAX);
                return false;
            }
            o->words[o->word_count++] = word;
            continue;
        }
        const char *option = word + (word[1] == '-' ? 2 : 1);
        size_t len = strcspn(option, "=");
        char name[32];
        snprintf(name, sizeof(name), "%.*s", (int)len, option);
        if (word[1] == '-' && option[len] == '\0' && in_list(option, len, switches)) {
            set_switch(o, name);
            continue;
        }
        if (word[1] != '-' || !in_list(option, len, valued)) {
            complain("there is no option \"%s\" here", word);
            return false;
        }
        const char *value = option[len] ? option + len + 1 : i + 1 < argc ? argv[++i] : NULL;
        if (!value || !*value) {
            complain("--%s needs a value", name);
            return false;
        }
        if (!set_value(o, name, value))
            return false;
    }
    return true;
}

/* ---- files */

int pki_exit_code(int err)
{
    return err == ERR_PERMISSION ? EXIT_PERMISSION : EXIT_FAILED;
}

const char *pki_reason(int err)
{
    switch (err) {
    case ERR_SYSTEM:
        return strerror(errno);
    case ERR_PERMISSION:
        return "permission denied";
    case ERR_NOT_FOUND:
        return "it does not exist";
    default:
        return err_sentence(err);
    }
}

int pki_passphrase(const char *path, char out[static PASSPHRASE_MAX])
{
    struct bytes file;
    int rc = keyfile_read(path, &file);
    if (rc < 0) {
        complain("cannot read the passphrase file %s: %s", path, pki_reason(rc));
        return pki_exit_code(rc);
    }
    size_t len = strcspn((const char *)file.at, "\r\n");
    bool fits = len > 0 && len < PASSPHRASE_MAX;
    if (fits)
        snprintf(out, PASSPHRASE_MAX, "%.*s", (int)len, (const char *)file.at);
    else
        complain("the first line of %s must be a passphrase of 1 to %d characters", path,
                 PASSPHRASE_MAX - 1);
    keyfile_free(&file);
    return fits ? EXIT_OK : EXIT_FAILED;
}

int verb_pki(int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "pki") == 0)
        argc--, argv++;
    if (argc > 0 && strcmp(argv[0], "ca") == 0)
        return pki_make_ca(argc - 1, argv + 1);
    if (argc > 0 && strcmp(argv[0], "issue") == 0)
        return pki_make_leaf(argc - 1, argv + 1);
    if (argc > 0 && strcmp(argv[0], "show") == 0)
        return pki_show(argc - 1, argv + 1);
    if (argc > 0)
        complain("shrike pki has no \"%s\"", argv[0]);
    return pki_usage();
}
