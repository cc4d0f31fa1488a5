/* One table gives dispatch, help and completion. */
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

#define RUN_DIR_OPTION                                                                             \
    {                                                                                              \
        "run-dir", 0, "DIR", "folder of the control sockets (default /run/shrike)"                 \
    }
#define HELP_OPTION                                                                                \
    {                                                                                              \
        "help", 'h', NULL, "show this"                                                             \
    }

static const struct verb_option gateway_options[] = {
    {"config", 'c', "FILE", "the gateway's file (default /etc/shrike/shrike.conf)"},
    {"debug", 0, NULL, "log everything that happens, but no keys"},
    RUN_DIR_OPTION,
    HELP_OPTION,
    {0}};
static const struct verb_option up_options[] = {
    {"wait", 'w', NULL, "return when the tunnel is established or has failed"},
    {"timeout", 't', "TIME", "how long --wait waits (default 75s)"},
    {"foreground", 'f', NULL, "stay, and log to stderr: for service managers"},
    {"debug", 0, NULL, "log everything that happens, but no keys"},
    RUN_DIR_OPTION,
    HELP_OPTION,
    {0}};
static const struct verb_option down_options[] = {RUN_DIR_OPTION, HELP_OPTION, {0}};
static const struct verb_option status_options[] = {
    {"json", 'j', NULL, "the whole state as one JSON object"},
    {"watch", 'w', NULL, "again every second until interrupted"},
    {"interval", 'n', "TIME", "of --watch (default 1s)"},
    RUN_DIR_OPTION,
    HELP_OPTION,
    {0}};
static const struct verb_option rekey_options[] = {
    {"ike", 0, NULL, "only the keys of the IKE SA"},
    {"child", 0, NULL, "only the keys of the traffic"},
    RUN_DIR_OPTION,
    HELP_OPTION,
    {0}};
static const struct verb_option reload_options[] = {
    {"json", 'j', NULL, "what came of it as one JSON object"}, RUN_DIR_OPTION, HELP_OPTION, {0}};
static const struct verb_option explain_options[] = {{"all", 'a', NULL, "not only the last"},
                                                     {"json", 'j', NULL, "as one JSON object"},
                                                     RUN_DIR_OPTION,
                                                     HELP_OPTION,
                                                     {0}};
static const struct verb_option json_options[] = {
    {"json", 'j', NULL, "the same as one JSON object"}, HELP_OPTION, {0}};
static const struct verb_option pki_ca_options[] = {
    {"name", 0, "TEXT", "common name of the authority"},
    {"out", 0, "DIR", "folder to write to (default: this one)"},
    {"days", 0, "N", "how long it holds (default 3650)"},
    {"key", 0, "KIND", "p256 (the default), p384, rsa, ed25519"},
    {"force", 0, NULL, "overwrite"},
    HELP_OPTION,
    {0}};
static const struct verb_option pki_issue_options[] = {
    {"san", 0, "NAME,...", "further names or addresses"},
    {"ca", 0, "DIR", "folder of the authority (default: this one)"},
    {"out", 0, "DIR", "folder to write to (default: this one)"},
    {"days", 0, "N", "how long it holds (default 3650)"},
    {"key", 0, "KIND", "p256 (the default), p384, rsa, ed25519"},
    {"p12", 0, NULL, "also one PKCS#12 file, for phones and PCs"},
    {"passphrase-file", 0, "FILE", "its passphrase, instead of one made up"},
    {"legacy", 0, NULL, "PKCS#12 by old algorithms, for old systems"},
    {"force", 0, NULL, "overwrite"},
    HELP_OPTION,
    {0}};
static const struct verb_option pki_show_options[] = {
    {"json", 0, NULL, "as JSON"},
    {"passphrase-file", 0, "FILE", "the passphrase of a PKCS#12 file"},
    HELP_OPTION,
    {0}};
static const struct verb_option only_help[] = {HELP_OPTION, {0}};

const struct verb verb_table[] = {
    {.name = "gateway",
     .summary = "Run a gateway in the foreground",
     .options = gateway_options,
     .text = "Listens for clients until it is told to stop (SIGTERM, Ctrl-C or `shrike down\n"
             "gateway`). The log goes to stderr. `shrike config gateway` prints a file to start\n"
             "from, `shrike check FILE` says what is wrong with it.",
     .run = verb_gateway},
    {.name = "up",
     .words = "NAME|FILE",
     .summary = "Bring a tunnel up",
     .options = up_options,
     .text = "NAME stands for /etc/shrike/NAME.conf. The tunnel runs in the background and keeps\n"
             "itself up; its log is RUN_DIR/NAME.log. With --wait one line says what was\n"
             "established, or why not; then nothing is left running, and the exit code tells:\n"
             "4 authentication refused, 5 gateway unreachable, 6 wrong configuration, 9 no common\n"
             "algorithms or networks, 10 port in use, 11 no TUN, 1 else.",
     .least = 1,
     .most = 1,
     .kind = WORD_NAME_OR_FILE,
     .run = verb_up},
    {.name = "down",
     .words = "[NAME|FILE]",
     .summary = "Take a tunnel or a gateway down",
     .options = down_options,
     .text = "The peers are told, routes and DNS are put back, the processes end. The name may be\n"
             "left out when only one is running.",
     .most = 1,
     .kind = WORD_NAME,
     .run = verb_down},
    {.name = "status",
     .words = "[NAME|FILE]",
     .summary = "Show what is connected",
     .options = status_options,
     .text = "Without a name: all that run. With --json one object, or, when several run,\n"
             "{\"version\": 1, \"instances\": [...]}. Exit code 3 when nothing runs.",
     .most = 1,
     .kind = WORD_NAME,
     .run = verb_status},
    {.name = "explain",
     .words = "[NAME|last]",
     .summary = "Say why a connection was refused, and what to do",
     .options = explain_options,
     .text = "NAME is a client (its section, its identity or its address) or a running gateway or\n"
             "tunnel. Says what was offered and what is accepted, which step failed, why, and how\n"
             "to fix it; without a name, for the last one. Gateways remember the last refusals,\n"
             "the same one once with a number; strangers are in the log at level debug only.\n"
             "Exit code 3 when nothing runs, 1 when nothing of that name was refused.",
     .most = 1,
     .kind = WORD_NAME_OR_LAST,
     .run = verb_explain},
    {.name = "reload",
     .words = "[NAME|FILE]",
     .summary = "Take a changed configuration without ending tunnels",
     .options = reload_options,
     .text = "Reads the file and all that it names again (SIGHUP does the same). Tunnels that the\n"
             "change does not concern stay as they are; those of clients that are taken out, or\n"
             "whose secret or address is another, end. A fault in the file, or an option that\n"
             "cannot change while it runs, is named with its line, and then nothing has changed\n"
             "(exit code 6). Exit code 1 when something else was in the way.",
     .most = 1,
     .kind = WORD_NAME,
     .run = verb_reload},
    {.name = "rekey",
     .words = "[NAME|FILE]",
     .summary = "Replace the keys of tunnels now",
     .options = rekey_options,
     .text = "Both kinds unless told otherwise. Returns when the new keys are in use; no packet\n"
             "is lost meanwhile.",
     .most = 1,
     .kind = WORD_NAME,
     .run = verb_rekey},
    {.name = "check",
     .words = "FILE|NAME",
     .summary = "Say what is wrong with a configuration",
     .options = json_options,
     .text = "Reads the file and all that it names, and prints one line for each thing that is in\n"
             "order, or every fault with file and line (exit code 6). Changes nothing.",
     .least = 1,
     .most = 1,
     .kind = WORD_FILE,
     .run = verb_check},
    {.name = "config",
     .words = "gateway|client",
     .summary = "Print a commented file to start from",
     .options = only_help,
     .least = 1,
     .most = 1,
     .kind = WORD_ROLE,
     .run = verb_config},
    {.name = "pki ca",
     .words = "--name TEXT",
     .summary = "Make a certificate authority",
     .options = pki_ca_options,
     .raw = verb_pki},
    {.name = "pki issue",
     .words = "gateway|client NAME",
     .summary = "Issue a certificate for a gateway or a client",
     .options = pki_issue_options,
     .raw = verb_pki},
    {.name = "pki show",
     .words = "FILE...",
     .summary = "Show what a certificate says",
     .options = pki_show_options,
     .kind = WORD_FILE,
     .raw = verb_pki},
    {.name = "completion",
     .words = "bash|zsh|fish",
     .summary = "Print completions for a shell",
     .options = only_help,
     .text = "bash:  shrike completion bash > /etc/bash_completion.d/shrike\n"
             "zsh:   shrike completion zsh > \"${fpath[1]}/_shrike\"\n"
             "fish:  shrike completion fish > ~/.config/fish/completions/shrike.fish",
     .least = 1,
     .most = 1,
     .kind = WORD_SHELL,
     .run = verb_completion},
    {.name = "version",
     .summary = "Print the version",
     .options = json_options,
     .run = verb_version},
    {.name = "help",
     .words = "[VERB]",
     .summary = "Show how a verb is used",
     .options = only_help,
     .most = 2,
     .kind = WORD_VERB,
     .run = verb_help},
};
const size_t verb_count = ARRAY_LEN(verb_table);

/* ---- options ---- */

static size_t option_index(const struct verb *verb, const char *name, size_t len)
{
    size_t i = 0;
    for (; verb->options[i].name; i++) {
        const struct verb_option *o = &verb->options[i];
        if (len == 1 ? o->letter == name[0]
                     : strlen(o->name) == len && !strncmp(o->name, name, len))
            return i;
    }
    return VERB_OPTIONS;
}

const char *use_option(const struct use *use, const char *name)
{
    size_t i = option_index(use->verb, name, strlen(name));
    return i < VERB_OPTIONS ? use->given[i] : NULL;
}

static int unknown_option(const struct verb *verb, const char *typed)
{
    const char *names[VERB_OPTIONS];
    size_t count = 0;
    for (; verb->options[count].name; count++)
        names[count] = verb->options[count].name;
    const char *near = conf_closest(typed + strspn(typed, "-"), names, count);
    if (near)
        return say_usage(verb, "unknown option \"%s\" - did you mean \"--%s\"?", typed, near);
    return say_usage(verb, "unknown option \"%s\"", typed);
}

static int set_option(struct use *use, size_t i, const char *value)
{
    const struct verb_option *o = &use->verb->options[i];
    if (use->given[i])
        return say_usage(use->verb, "--%s is given twice", o->name);
    use->given[i] = value;
    return 0;
}

/* --name, --name=value, --name value */
static int take_long(struct use *use, int argc, char **argv, int *at)
{
    const char *name = argv[*at] + 2;
    size_t len = strcspn(name, "="),
           i = len > 1 ? option_index(use->verb, name, len) : VERB_OPTIONS;
    if (i == VERB_OPTIONS)
        return unknown_option(use->verb, argv[*at]);
    const struct verb_option *o = &use->verb->options[i];
    if (!o->value)
        return name[len] ? say_usage(use->verb, "--%s takes no value", o->name)
                         : set_option(use, i, "");
    if (name[len])
        return set_option(use, i, name + len + 1);
    if (*at + 1 == argc)
        return say_usage(use->verb, "--%s needs a %s", o->name, o->value);
    return set_option(use, i, argv[++*at]);
}

/* -a, -ab, -cvalue, -c value */
static int take_short(struct use *use, int argc, char **argv, int *at)
{
    int code = 0;
    for (const char *letter = argv[*at] + 1; *letter && !code; letter++) {
        size_t i = option_index(use->verb, letter, 1);
        if (i == VERB_OPTIONS)
            return unknown_option(use->verb, argv[*at]);
        const struct verb_option *o = &use->verb->options[i];
        if (!o->value) {
            code = set_option(use, i, "");
            continue;
        }
        if (letter[1])
            return set_option(use, i, letter + 1);
        if (*at + 1 == argc)
            return say_usage(use->verb, "-%c needs a %s", o->letter, o->value);
        return set_option(use, i, argv[++*at]);
    }
    return code;
}

static int sort_arguments(struct use *use, int argc, char **argv)
{
    const struct verb *verb = use->verb;
    bool options = true;
    for (int i = 0; i < argc; i++) {
        int code = 0;
        if (options && !strcmp(argv[i], "--"))
            options = false;
        else if (options && argv[i][0] == '-' && argv[i][1])
            code = argv[i][1] == '-' ? take_long(use, argc, argv, &i)
                                     : take_short(use, argc, argv, &i);
        else if (use->words == verb->most)
            code = say_usage(verb, "one word too many: \"%s\"", argv[i]);
        else
            use->word[use->words++] = argv[i];
        if (code)
            return code;
    }
    if (use->words < verb->least && !use_option(use, "help"))
        return say_usage(verb, "needs %s", verb->words);
    return 0;
}

/* ---- dispatch ---- */

static const struct verb *find_verb(int argc, char **argv, int *used)
{
    for (size_t i = 0; i < verb_count; i++) {
        const char *name = verb_table[i].name, *blank = strchr(name, ' ');
        size_t len = blank ? (size_t)(blank - name) : strlen(name);
        if (strlen(argv[0]) != len || strncmp(argv[0], name, len))
            continue;
        *used = blank ? 2 : 1;
        if (!blank || (argc > 1 && !strcmp(argv[1], blank + 1)))
            return &verb_table[i];
    }
    return NULL;
}

static int unknown_verb(int argc, char **argv)
{
    const char *names[32];
    char typed[64];
    size_t count = 0;
    for (; count < verb_count && count < ARRAY_LEN(names); count++)
        names[count] = verb_table[count].name;
    bool two = !strcmp(argv[0], "pki") && argc > 1;
    snprintf(typed, sizeof typed, "%s%s%s", argv[0], two ? " " : "", two ? argv[1] : "");
    const char *near = conf_closest(typed, names, count);
    if (near)
        return say_usage(NULL, "unknown verb \"%s\" - did you mean \"%s\"?", typed, near);
    return say_usage(NULL, "unknown verb \"%s\"", typed);
}

/* "pki" alone, or with --help: what could follow. */
static bool is_group(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--help") != 0 && strcmp(argv[1], "-h") != 0)
        return false;
    for (size_t i = 0; i < verb_count; i++) {
        size_t len = strlen(argv[0]);
        if (!strncmp(verb_table[i].name, argv[0], len) && verb_table[i].name[len] == ' ')
            return true;
    }
    return false;
}

static int help_of_group(int argc, char **argv)
{
    static const struct verb help = {.name = "help", .options = only_help};
    struct use use = {.verb = &help, .word = {argv[0]}, .words = 1};
    int code = verb_help(&use);
    return argc > 1 ? code : EXIT_USAGE;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--"); i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return true;
    }
    return false;
}

static int help_of(const struct verb *verb)
{
    static const struct verb help = {.name = "help", .options = only_help};
    struct use use = {.verb = &help, .word = {verb->name}, .words = 1};
    return verb_help(&use);
}

int cli_main(int argc, char **argv, const struct cli_host *host)
{
    static char help[] = "help", version[] = "version";
    struct use use = {.host = host};
    int used = 1;
    if (argc < 2) {
        verb_help(&use);
        return EXIT_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        argv[1] = help;
    else if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
        argv[1] = version;
    use.verb = find_verb(argc - 1, argv + 1, &used);
    if (!use.verb)
        return is_group(argc - 1, argv + 1) ? help_of_group(argc - 1, argv + 1)
                                            : unknown_verb(argc - 1, argv + 1);
    if (asks_for_help(argc - 1 - used, argv + 1 + used))
        return help_of(use.verb);
    if (use.verb->raw)
        return use.verb->raw(argc - 1, argv + 1);
    int code = sort_arguments(&use, argc - 1 - used, argv + 1 + used);
    return code ? code : use.verb->run(&use);
}
