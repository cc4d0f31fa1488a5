/* Private to cli/: what the pki verbs share. */
#ifndef SHRIKE_CLI_PKI_H
#define SHRIKE_CLI_PKI_H

#include "cli/cli.h"
#include "cli/keyfile.h"

#include <stdio.h>

enum { PKI_WORDS_MAX = 64, PASSPHRASE_MAX = 128, DAYS_DEFAULT = 3650 };

struct pki_options {
    const char *name, *out, *ca, *san, *passphrase_file;
    unsigned days;
    enum key_kind key;
    bool p12, legacy, force, json;
    const char *words[PKI_WORDS_MAX]; /* what is no option */
    size_t word_count;
};

/* switches and valued: the long options of one verb without and with a value, each list ended by
 * NULL. False after having said what is wrong. */
bool pki_options_parse(int argc, char **argv, const char *const *switches,
                       const char *const *valued, struct pki_options *o);
int pki_usage(void); /* prints it; EXIT_USAGE */

int pki_make_ca(int argc, char **argv);
int pki_make_leaf(int argc, char **argv);
int pki_show(int argc, char **argv);

/* For a failure of keyfile_*(): the exit code, and why in words. */
int pki_exit_code(int err);
const char *pki_reason(int err);
/* The first line of a file; an exit code, after having said what is wrong. */
int pki_passphrase(const char *path, char out[static PASSPHRASE_MAX]);

#define complain(...) (fputs("shrike: ", stderr), fprintf(stderr, __VA_ARGS__), fputc('\n', stderr))

#endif
