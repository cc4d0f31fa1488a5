/* Completion scripts for bash, zsh and fish, from the table of verbs. Names of running instances
 * and of files in /etc/shrike are looked up when the key is pressed. */
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

/* The first words of all verbs, each once. */
static void print_first_words(const char *between)
{
    const char *last = "";
    size_t last_len = 0;
    bool first = true;
    for (size_t i = 0; i < verb_count; i++) {
        size_t len = strcspn(verb_table[i].name, " ");
        if (len == last_len && !strncmp(verb_table[i].name, last, len))
            continue;
        last = verb_table[i].name;
        last_len = len;
        printf("%s%.*s", first ? "" : between, (int)len, last);
        first = false;
    }
}

static const char *const shell_names =
    "$(cd \"${SHRIKE_RUN_DIR:-/run/shrike}\" 2>/dev/null && ls -- *.sock 2>/dev/null | sed "
    "'s/\\.sock$//'; cd /etc/shrike 2>/dev/null && ls -- *.conf 2>/dev/null | sed "
    "'s/\\.conf$//')";

/* ---- bash ---- */

static void bash_words(const struct verb *v)
{
    switch (v->kind) {
    case WORD_NAME:
        printf("            words=\"%s\" ;;\n", shell_names);
        break;
    case WORD_NAME_OR_LAST:
        printf("            words=\"last %s\" ;;\n", shell_names);
        break;
    case WORD_NAME_OR_FILE:
    case WORD_FILE:
        printf("            words=\"%s\"; files=1 ;;\n", shell_names);
        break;
    case WORD_ROLE:
        printf("            words=\"gateway client\" ;;\n");
        break;
    case WORD_SHELL:
        printf("            words=\"bash zsh fish\" ;;\n");
        break;
    case WORD_VERB:
        printf("            words=\"");
        print_first_words(" ");
        printf("\" ;;\n");
        break;
    default:
        printf("            files=1 ;;\n");
    }
}

static void bash_options(const struct verb *v)
{
    for (const struct verb_option *o = v->options; o->name; o++)
        printf("%s--%s", o == v->options ? "" : " ", o->name);
}

/* The second words of a group such as pki. */
static void bash_group(size_t from, size_t len)
{
    printf("        '%.*s') words=\"", (int)len, verb_table[from].name);
    for (size_t i = from; i < verb_count; i++) {
        if (!strncmp(verb_table[i].name, verb_table[from].name, len + 1))
            printf("%s%s", i == from ? "" : " ", verb_table[i].name + len + 1);
    }
    printf("\" ;;\n");
}

static void print_bash(void)
{
    printf("# shrike(8) completion for bash, made by `shrike completion bash`\n"
           "_shrike()\n{\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} words= options= files= verb=${COMP_WORDS[1]}\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W \"");
    print_first_words(" ");
    printf("\" -- \"$cur\"))\n        return\n    fi\n"
           "    [ \"$COMP_CWORD\" -gt 2 ] && [ \"$verb\" = pki ] && verb=\"pki ${COMP_WORDS[2]}\"\n"
           "    case $verb in\n");
    size_t group = 0;
    for (size_t i = 0; i < verb_count; i++) {
        const struct verb *v = &verb_table[i];
        const char *blank = strchr(v->name, ' ');
        size_t len = blank ? (size_t)(blank - v->name) : 0;
        if (blank && (!group || strncmp(v->name, verb_table[group].name, len + 1))) {
            group = i;
            bash_group(i, len);
        }
        printf("        '%s')\n            options=\"", v->name);
        bash_options(v);
        printf("\"\n");
        bash_words(v);
    }
    printf("    esac\n"
           "    case $cur in\n"
           "        -*) COMPREPLY=($(compgen -W \"$options\" -- \"$cur\")) ;;\n"
           "        *) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
           "            [ -n \"$files\" ] && COMPREPLY+=($(compgen -f -- \"$cur\")) ;;\n"
           "    esac\n}\ncomplete -o filenames -F _shrike shrike\n");
}

/* ---- zsh ---- */

/* Inside single quotes, and without what _arguments gives a meaning. */
static void print_zsh_text(const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            printf("'\\''");
        else if (strchr("[]:\\", *text))
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

static const char *zsh_word(enum word_kind kind)
{
    switch (kind) {
    case WORD_NAME:
        return "'*:name:_shrike_names'";
    case WORD_NAME_OR_LAST:
        return "'1:name or last:{_shrike_names; compadd last}'";
    case WORD_FILE:
    case WORD_NAME_OR_FILE:
        return "'*:name or file:{_shrike_names; _files}'";
    case WORD_ROLE:
        return "'1:role:(gateway client)'";
    case WORD_SHELL:
        return "'1:shell:(bash zsh fish)'";
    case WORD_VERB:
        return "'1:verb:_shrike_verbs'";
    default:
        return "'*:file:_files'";
    }
}

static void print_zsh_verb(const struct verb *v)
{
    printf("        '%s') _arguments", v->name);
    for (const struct verb_option *o = v->options; o->name; o++) {
        printf(" \\\n            '--%s[", o->name);
        print_zsh_text(o->help);
        printf("]%s%s%s'", o->value ? ":" : "", o->value ? o->value : "",
               !o->value                   ? ""
               : !strcmp(o->value, "FILE") ? ":_files"
               : !strcmp(o->value, "DIR")  ? ":_files -/"
                                           : ": ");
    }
    printf(" \\\n            %s ;;\n", zsh_word(v->kind));
}

static void print_zsh(void)
{
    printf("#compdef shrike\n# shrike(8) completion for zsh, made by `shrike completion zsh`\n"
           "_shrike_names()\n{\n    local -a names\n    names=(%s)\n    compadd -a names\n}\n"
           "_shrike_verbs()\n{\n    local -a verbs\n    verbs=(\n",
           shell_names);
    for (size_t i = 0; i < verb_count; i++) {
        if (strchr(verb_table[i].name, ' '))
            continue;
        printf("        '%s:", verb_table[i].name);
        print_zsh_text(verb_table[i].summary);
        printf("'\n");
    }
    printf("        'pki:Make and show certificates'\n    )\n    _describe verb verbs\n}\n"
           "_shrike()\n{\n    if ((CURRENT == 2)); then\n        _shrike_verbs\n        return\n"
           "    fi\n    local verb=$words[2]\n    shift words\n    ((CURRENT--))\n"
           "    if [[ $verb == pki ]]; then\n        if ((CURRENT == 2)); then\n"
           "            compadd ca issue show\n            return\n        fi\n"
           "        verb=\"pki $words[2]\"\n        shift words\n        ((CURRENT--))\n    fi\n"
           "    case $verb in\n");
    for (size_t i = 0; i < verb_count; i++)
        print_zsh_verb(&verb_table[i]);
    printf("    esac\n}\n_shrike \"$@\"\n");
}

/* ---- fish ---- */

static void print_fish_text(const char *text)
{
    putchar('\'');
    for (; *text; text++) {
        if (strchr("'\\", *text))
            putchar('\\');
        putchar(*text);
    }
    putchar('\'');
}

static void print_fish_words(const struct verb *v, const char *condition)
{
    switch (v->kind) {
    case WORD_NAME_OR_LAST:
        printf("complete -c shrike -n '%s' -a 'last (__shrike_names)'\n", condition);
        break;
    case WORD_NAME:
    case WORD_NAME_OR_FILE:
    case WORD_FILE:
        printf("complete -c shrike -n '%s' -a '(__shrike_names)'%s\n", condition,
               v->kind == WORD_NAME ? "" : " -F");
        break;
    case WORD_ROLE:
        printf("complete -c shrike -n '%s' -a 'gateway client'\n", condition);
        break;
    case WORD_SHELL:
        printf("complete -c shrike -n '%s' -a 'bash zsh fish'\n", condition);
        break;
    case WORD_VERB:
        printf("complete -c shrike -n '%s' -a '", condition);
        print_first_words(" ");
        printf("'\n");
        break;
    default:
        break;
    }
}

static void print_fish_verb(const struct verb *v)
{
    const char *blank = strchr(v->name, ' ');
    char condition[64];
    snprintf(condition, sizeof condition, "__shrike_verb %s", v->name);
    if (blank)
        printf("complete -c shrike -n '__shrike_group %.*s' -a %s -d ", (int)(blank - v->name),
               v->name, blank + 1);
    else
        printf("complete -c shrike -n __fish_use_subcommand -a %s -d ", v->name);
    print_fish_text(v->summary);
    printf("\n");
    for (const struct verb_option *o = v->options; o->name; o++) {
        printf("complete -c shrike -n '%s' -l %s", condition, o->name);
        if (o->letter)
            printf(" -s %c", o->letter);
        printf("%s -d ", o->value ? " -r" : "");
        print_fish_text(o->help);
        printf("\n");
    }
    print_fish_words(v, condition);
}

static void print_fish(void)
{
    printf("# shrike(8) completion for fish, made by `shrike completion fish`\n"
           "function __shrike_names\n"
           "    set -q SHRIKE_RUN_DIR; or set -l SHRIKE_RUN_DIR /run/shrike\n"
           "    for f in $SHRIKE_RUN_DIR/*.sock /etc/shrike/*.conf\n"
           "        string replace -r '.*/(.*)\\.(sock|conf)$' '$1' -- $f\n    end\nend\n"
           "function __shrike_verb\n"
           "    set -l typed (commandline -opc)\n"
           "    test \"$typed[2]\" = $argv[1]; or return 1\n"
           "    test (count $argv) -lt 2; or test \"$typed[3]\" = $argv[2]\nend\n"
           "function __shrike_group\n"
           "    set -l typed (commandline -opc)\n"
           "    test (count $typed) -eq 2; and test \"$typed[2]\" = $argv[1]\nend\n"
           "complete -c shrike -f\n"
           "complete -c shrike -n __fish_use_subcommand -a pki -d 'Make and show certificates'\n");
    for (size_t i = 0; i < verb_count; i++)
        print_fish_verb(&verb_table[i]);
}

int verb_completion(const struct use *use)
{
    const char *shell = use->word[0];
    if (!strcmp(shell, "bash"))
        print_bash();
    else if (!strcmp(shell, "zsh"))
        print_zsh();
    else if (!strcmp(shell, "fish"))
        print_fish();
    else
        return say_usage(use->verb, "\"%s\" is none of bash, zsh, fish", shell);
    return EXIT_OK;
}
