/* Inside cli/: the table of verbs, and what the verbs share. */
#ifndef SHRIKE_CLI_VERBS_H
#define SHRIKE_CLI_VERBS_H

#include "cli/cli.h"
#include "ctl/ctl.h"

/* ---- the table ---- */

enum { VERB_WORDS = 8, VERB_OPTIONS = 16 };

struct verb_option {
    const char *name;  /* without the dashes; NULL ends the list */
    char letter;       /* 0 = none */
    const char *value; /* what it takes, in words of the help; NULL = nothing */
    const char *help;
};

/* One use of a verb: what was typed, sorted. */
struct use {
    const struct verb *verb;
    const struct cli_host *host;
    const char *word[VERB_WORDS];
    size_t words;
    const char *given[VERB_OPTIONS]; /* by the option's place in the table; "" for a plain flag */
};

/* What a word of a verb is, for completion. */
enum word_kind {
    WORD_NONE,
    WORD_NAME,
    WORD_NAME_OR_LAST,
    WORD_FILE,
    WORD_NAME_OR_FILE,
    WORD_ROLE,
    WORD_SHELL,
    WORD_VERB
};

struct verb {
    const char *name;    /* one word, or two: "pki ca" */
    const char *words;   /* for the help: "NAME|FILE" */
    const char *summary; /* one line */
    const char *text;    /* paragraphs for `shrike help VERB`; may be NULL */
    const struct verb_option *options;
    size_t least, most; /* words */
    enum word_kind kind;
    int (*run)(const struct use *use); /* returns the exit code */
    int (*raw)(int argc, char **argv); /* instead: argv[0] is the verb's first word */
};
extern const struct verb verb_table[];
extern const size_t verb_count;

/* The option's value ("" for a flag), or NULL when it was not given. */
const char *use_option(const struct use *use, const char *name);

int verb_gateway(const struct use *use);
int verb_up(const struct use *use);
int verb_down(const struct use *use);
int verb_status(const struct use *use);
int verb_rekey(const struct use *use);
int verb_reload(const struct use *use);
int verb_explain(const struct use *use);
int verb_check(const struct use *use);
int verb_config(const struct use *use);
int verb_completion(const struct use *use);
int verb_version(const struct use *use);
int verb_help(const struct use *use);
/* argv[0] is "pki", argv[1] what to do: ca, issue or show. Returns the exit code. */
int verb_pki(int argc, char **argv);

/* ---- talking to the user ---- */

/* "shrike: text" on stderr. */
void say(const char *format, ...) PRINTF_LIKE(1, 2);
/* Same, with what to do next on a second line (NULL = none); returns `code`. */
int say_failed(int code, const char *next, const char *format, ...) PRINTF_LIKE(3, 4);
/* Wrong use: exit code 2, points to the help of the verb. */
int say_usage(const struct verb *verb, const char *format, ...) PRINTF_LIKE(2, 3);
/* Faults and warnings to stderr; returns how many were faults. */
size_t say_faults(const struct conf_faults *faults);
/* Escape sequences, or "" when out is no terminal or NO_COLOR is set. */
const char *bold(void), *plain(void), *red(void), *green(void);
/* 12s, 4m 10s, 3h 5m, 2d 7h */
const char *print_span(uint64_t seconds, char text[static 32]);
/* 812, 3.4 kB, 1.2 MB */
const char *print_octets(uint64_t octets, char text[static 32]);

/* ---- running instances ---- */

struct place {
    char name[CONF_NAME_MAX];
    char file[CONF_PATH_MAX]; /* absolute where it exists */
    char socket[CONF_PATH_MAX];
};
/* NAME or FILE to a place; NULL word: the only one that runs. Returns 0 or an exit code, having
 * said why. */
int place_find(const struct use *use, const char *word, struct place *out) MUST_USE;
/* NAME or FILE to the file's path, without looking at it. */
void place_file(const char *word, char file[static CONF_PATH_MAX]);
/* Names of the control sockets in the run folder; returns how many (at most max). */
size_t place_list(struct place *out, size_t max);
/* Connects, or says why not and sets *code. */
struct ctl_call *place_connect(const struct place *place, int *code);
/* One call with one answer; NULL after having said why, with *code set. */
json_t *place_ask(struct ctl_call *call, const struct place *place, const char *method,
                  json_t *parameters, int *code);
/* The whole status, all pages. */
json_t *place_status(struct ctl_call *call, const struct place *place, int *code);
/* The exit code that fits an error word of an event. */
int exit_code_of(const char *error_word);

/* Fields of JSON objects, absent = "" or 0. */
const char *text_of(const json_t *object, const char *key);
uint64_t number_of(const json_t *object, const char *key);
double real_of(const json_t *object, const char *key);

/* Prints one status as text. */
void print_status(const json_t *status);
/* The line about a tunnel that was just established. */
void print_established(const char *name, const json_t *event, const char *host);

#endif
