/* Inside conf/: the option table, the parser's state, and the setters that the table's rows name.
 */
#ifndef SHRIKE_CONF_INTERNAL_H
#define SHRIKE_CONF_INTERNAL_H

#include "conf/conf.h"

enum {
    CONF_LINE_MAX = 4096,
    CONF_FILE_MAX = 16 << 20,
    CONF_CREDENTIAL_MAX = 1 << 20,
};

enum conf_role { ROLE_UNKNOWN = 0, ROLE_GATEWAY = 1, ROLE_CLIENT = 2, ROLE_BOTH = 3 };

struct parser;
struct option;
/* Reads value into *to; what is wrong goes to parser_fault(). value may be written to. */
typedef void option_setter(struct parser *p, const struct option *o, void *to, char *value);

struct option {
    const char *section, *key;
    uint8_t role;
    bool peer;     /* `at` counts from struct conf_peer, */
    bool child;    /* from struct conf_child, else from struct conf */
    bool live;     /* stands uncommented in the default file */
    bool fixed;    /* a running process cannot follow a change of it: conf_compare() */
    uint16_t size; /* octets of a number or a text field, or of a list's item */
    uint8_t most;  /* items of a list */
    option_setter *set;
    option_setter *item; /* of a list */
    size_t at, count_at;
    uint64_t low, high;
    const char *zero;     /* the word for 0: never, none, auto */
    const char *words;    /* of a choice, separated by blanks, in the order of their numbers */
    const char *fallback; /* NULL = none */
    const char *example;  /* for the default file, when there is no fallback or a better one */
    const char *help;
};
extern const struct option option_table[];
extern const size_t option_count;
/* The row, or NULL. */
const struct option *option_find(const char *section, const char *key, uint8_t role);
static inline size_t option_index(const struct option *o)
{
    return (size_t)(o - option_table);
}
/* The line an option was set in, 0 when it has its default. */
unsigned option_line(const struct conf *conf, const char *section, const char *key);

struct parser {
    struct conf *conf;
    struct conf_faults *faults;
    const char *file;
    unsigned line;
    uint8_t role;
    char section[16]; /* empty: in none, or in one that is unknown */
    bool skip;        /* lines of a section that was refused */
    struct conf_peer *peer;
    struct conf_child *child;
    size_t peer_room;
    unsigned part_lines[CONF_OPTIONS_MAX]; /* of the present peer or child */
    unsigned section_lines[16];            /* by section_index() */
    bool clean;                            /* every line read well: only then is it worth saying
                                              what is missing, which may be a line that did not */
    int nat;                               /* 0 auto, 1 yes, 2 no */
};
/* Where the row's values live. */
static inline uint8_t *option_home(const struct parser *p, const struct option *o)
{
    return o->peer ? (uint8_t *)p->peer : o->child ? (uint8_t *)p->child : (uint8_t *)p->conf;
}
__attribute__((format(printf, 4, 5))) void parser_fault(struct parser *p, const char *text,
                                                        const char *next, const char *what, ...);

/* The names of sections with their roles. */
struct section {
    const char *name;
    uint8_t role;
    const char *help;
};
extern const struct section section_table[];
extern const size_t section_count;

/* A fault of the file at a line. text may be NULL. next may be NULL. */
__attribute__((format(printf, 6, 7))) void fault_add(struct conf_faults *faults, const char *file,
                                                     unsigned line, const char *text,
                                                     const char *next, const char *what, ...);
__attribute__((format(printf, 6, 7))) void warning_add(struct conf_faults *faults, const char *file,
                                                       unsigned line, const char *text,
                                                       const char *next, const char *what, ...);

/* What needs more than one line to be known: defaults, methods of authentication, names. */
void parser_finish(struct parser *p);
/* What a proposal may name only under `legacy`, and what this machine's libcrypto lacks. */
/* policy.c: what the policy gives where the file says nothing, and what it forbids. */
void policy_defaults(struct conf *conf);
void policy_check(struct parser *p);
/* quantum.c: the same of `pq`, and the order of the proposals. */
void pq_defaults(struct conf_tunnel *t, bool ike_given);
void pq_check(struct parser *p);
void proposals_check(struct parser *p);
/* Applies a row's default to conf. */
void option_default(struct parser *p, const struct option *o);

/* 4096, 64K, 4G -> octets (step 1024) or packets (1000). */
bool unit_size(const char *text, unsigned step, uint64_t *out);

/* setters (value.c, list.c) */
option_setter set_path, set_text, set_psk, set_gateway_host, set_instance, set_interface,
    set_identity, set_yes, set_number, set_tfc, set_duration, set_octets, set_packets, set_choice,
    set_nat, set_list, set_send, set_methods, set_request, set_addresses;
option_setter item_selector, item_prefix, item_ip, item_domain, item_listen, item_ike, item_esp,
    item_ah, item_legacy;

/* A file's octets, malloc'ed with a NUL behind; at most `limit`. NULL and a sentence. */
char *file_read(const char *path, size_t limit, size_t *len, char why[static 128]);

#endif
