/* INI to struct, all or nothing. A line is blank, a comment, [section], or key = value; `#` or `;`
 * at the start of a line and ` #` behind a value begin a comment, "..." keeps everything. Every
 * fault of a file is found in one run: what cannot be read is skipped, never guessed. */
#include "conf/internal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t section_index(const char *name)
{
    size_t i = 0;
    while (i < section_count && strcmp(section_table[i].name, name))
        i++;
    return i;
}

static const char *role_name(uint8_t role)
{
    return role == ROLE_GATEWAY ? "a gateway's" : "a client's";
}

static char *trim(char *text)
{
    text += strspn(text, " \t");
    size_t n = strlen(text);
    while (n && strchr(" \t", text[n - 1]))
        text[--n] = 0;
    return text;
}

static void unknown_section(struct parser *p, const char *name)
{
    const char *names[16];
    char next[128] = "";
    for (size_t i = 0; i < section_count; i++)
        names[i] = section_table[i].name;
    const char *near = conf_closest(name, names, section_count);
    if (near)
        snprintf(next, sizeof next, "did you mean [%s]?", near);
    parser_fault(p, name, next, "unknown section");
}

static struct conf_peer *add_peer(struct parser *p)
{
    struct conf *conf = p->conf;
    if (conf->peer_count == CONF_CLIENTS_MAX) {
        parser_fault(p, NULL, NULL, "more than %d clients", CONF_CLIENTS_MAX);
        return NULL;
    }
    if (conf->peer_count == p->peer_room) {
        size_t room = p->peer_room ? p->peer_room * 2 : 16;
        struct conf_peer *more = calloc(room, sizeof *more);
        if (!more) {
            parser_fault(p, NULL, NULL, "out of memory");
            return NULL;
        }
        if (conf->peer_count)
            memcpy(more, conf->peers, conf->peer_count * sizeof *more);
        if (conf->peers)
            secret_wipe(conf->peers, conf->peer_count * sizeof *more);
        free(conf->peers);
        conf->peers = more;
        p->peer_room = room;
    }
    return &conf->peers[conf->peer_count++];
}

static void open_client(struct parser *p, const char *name)
{
    if (!*name || strlen(name) >= CONF_NAME_MAX) {
        parser_fault(p, name, "write [client NAME], with a name of at most 63 characters",
                     *name ? "the client's name is too long" : "a client needs a name");
        return;
    }
    p->peer = add_peer(p);
    if (!p->peer)
        return;
    snprintf(p->peer->name, sizeof p->peer->name, "%s", name);
    p->peer->line = p->line;
    p->skip = false;
}

static void open_child(struct parser *p, const char *name)
{
    struct conf_tunnel *t = &p->conf->tunnel;
    if (!*name || strlen(name) >= sizeof p->child->name) {
        parser_fault(p, name, "write [child NAME], with a name of at most 31 characters",
                     *name ? "the child's name is too long" : "a child needs a name");
        return;
    }
    if (t->child_count == CONF_CHILDREN) {
        parser_fault(p, name, "join some of them", "more than %d children", CONF_CHILDREN);
        return;
    }
    p->child = &t->children[t->child_count++];
    snprintf(p->child->name, sizeof p->child->name, "%s", name);
    p->child->line = p->line;
    p->skip = false;
}

/* A section that there may be several of, told apart by name. */
static void open_part(struct parser *p, const char *section, char *name)
{
    size_t n = strlen(name);
    if (n > 1 && name[0] == '"' && name[n - 1] == '"') {
        name[n - 1] = 0;
        name++;
    }
    memset(p->part_lines, 0, sizeof p->part_lines);
    snprintf(p->section, sizeof p->section, "%s", section);
    if (!strcmp(section, "client"))
        open_client(p, name);
    else
        open_child(p, name);
}

/* The first section says what kind of file it is. */
static bool section_fits(struct parser *p, const struct section *s)
{
    if (p->role == ROLE_UNKNOWN && (s->role == ROLE_GATEWAY || s->role == ROLE_CLIENT))
        p->role = s->role;
    else if (p->role == ROLE_UNKNOWN)
        parser_fault(p, s->name, "a gateway's file starts with [gateway], a client's with [tunnel]",
                     "this section cannot be the first");
    else if (!(s->role & p->role))
        parser_fault(p, s->name, NULL, "this section belongs into %s file, and this is %s",
                     role_name(s->role), role_name(p->role));
    return s->role & p->role;
}

static void open_section(struct parser *p, char *text)
{
    char *end = strchr(text, ']');
    p->skip = true;
    p->section[0] = 0;
    p->peer = NULL;
    p->child = NULL;
    if (!end || (end[1] && !strchr("#;", *trim(end + 1)))) {
        parser_fault(p, text, "write [section]",
                     end ? "text behind the section" : "\"]\" is missing");
        return;
    }
    *end = 0;
    char *name = trim(text + 1);
    size_t word = strcspn(name, " \t");
    char *rest = name[word] ? trim(name + word + 1) : name + word;
    name[word] = 0;
    size_t at = section_index(name);
    if (at == section_count) {
        unknown_section(p, name);
        return;
    }
    if (!section_fits(p, &section_table[at]))
        return;
    if (!strcmp(name, "client") || !strcmp(name, "child")) {
        open_part(p, name, rest);
        return;
    }
    if (*rest)
        parser_fault(p, rest, NULL, "only [client NAME] and [child NAME] take a name");
    else if (p->section_lines[at])
        parser_fault(p, name, "put its lines there", "the section was opened already in line %u",
                     p->section_lines[at]);
    else {
        p->section_lines[at] = p->line;
        snprintf(p->section, sizeof p->section, "%s", name);
        p->skip = false;
    }
}

static void unknown_key(struct parser *p, const char *key)
{
    const char *names[CONF_OPTIONS_MAX];
    char next[128] = "";
    size_t count = 0;
    for (size_t i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        if (!(o->role & p->role))
            continue;
        if (!strcmp(o->section, p->section)) {
            names[count++] = o->key;
        } else if (!strcmp(o->key, key)) {
            snprintf(next, sizeof next, "it belongs into [%s]", o->section);
            parser_fault(p, key, next, "not a key of [%s]", p->section);
            return;
        }
    }
    const char *near = conf_closest(key, names, count);
    if (near)
        snprintf(next, sizeof next, "did you mean \"%s\"?", near);
    else
        snprintf(next, sizeof next, "`shrike config %s` prints all keys",
                 p->role == ROLE_GATEWAY ? "gateway" : "client");
    parser_fault(p, key, next, "unknown key in [%s]", p->section);
}

/* Takes away a trailing comment or the quotes; NULL when the quotes do not close. */
static char *clean_value(char *value)
{
    if (value[0] == '"') {
        char *end = strchr(value + 1, '"');
        if (!end || (*trim(end + 1) && !strchr("#;", *trim(end + 1))))
            return NULL;
        *end = 0;
        return value + 1;
    }
    for (char *at = value; *at; at++) {
        if ((*at == '#' || *at == ';') && (at == value || strchr(" \t", at[-1]))) {
            *at = 0;
            break;
        }
    }
    return trim(value);
}

static void set_option(struct parser *p, const struct option *o, char *value)
{
    unsigned *lines = o->peer || o->child ? p->part_lines : p->conf->lines;
    if (lines[option_index(o)]) {
        parser_fault(p, o->key,
                     o->set == set_list ? "lists are written in one line, with commas" : NULL,
                     "the key was set already in line %u", lines[option_index(o)]);
        return;
    }
    lines[option_index(o)] = p->line;
    if (!*value) {
        parser_fault(p, o->key, "leave the line out for the default", "the value is missing");
        return;
    }
    if (!o->peer && !o->child && o->set != set_psk)
        p->conf->values[option_index(o)] = strdup(value);
    o->set(p, o, option_home(p, o) + o->at, value);
}

static void read_pair(struct parser *p, char *text)
{
    char *equal = strchr(text, '=');
    if (!p->section[0] && !p->skip) {
        if (equal)
            *equal = 0; /* what stands behind may be a secret */
        parser_fault(p, trim(text), "start with [gateway] or [tunnel]",
                     "a line before the first section");
        p->skip = true; /* say it once */
        return;
    }
    if (p->skip)
        return;
    if (!equal) {
        char *word = text;
        word[strcspn(word, " \t:")] = 0;
        parser_fault(p, word, "write key = value", "\"=\" is missing");
        return;
    }
    *equal = 0;
    char *key = trim(text), *value = clean_value(trim(equal + 1));
    const struct option *o = option_find(p->section, key, p->role);
    if (!o)
        unknown_key(p, key);
    else if (!value)
        parser_fault(p, o->key, "the value ends with another \"", "the quotes do not close");
    else
        set_option(p, o, value);
}

static bool line_readable(struct parser *p, const char *at, size_t len)
{
    char text[24];
    if (len > CONF_LINE_MAX) {
        snprintf(text, sizeof text, "%.20s", at);
        text[strcspn(text, "=")] = 0; /* what stands behind may be a secret */
        parser_fault(p, text, NULL, "the line is longer than %d characters", CONF_LINE_MAX);
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)at[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            snprintf(text, sizeof text, "0x%02x", c);
            parser_fault(p, text, "the file should be plain text (UTF-8)",
                         "a control character in column %zu", i + 1);
            return false;
        }
    }
    return true;
}

static void read_line(struct parser *p, const char *at, size_t len)
{
    char line[CONF_LINE_MAX + 1];
    if (len && at[len - 1] == '\r')
        len--;
    if (!line_readable(p, at, len))
        return;
    memcpy(line, at, len);
    line[len] = 0;
    char *text = trim(line);
    if (*text == '[')
        open_section(p, text);
    else if (*text && *text != '#' && *text != ';')
        read_pair(p, text);
    secret_wipe(line, len);
}

static void read_lines(struct parser *p, struct bytes text)
{
    if (text.len >= 3 && !memcmp(text.at, "\xef\xbb\xbf", 3)) {
        text.at += 3;
        text.len -= 3;
    }
    if (text.len >= 2 && (!memcmp(text.at, "\xff\xfe", 2) || !memcmp(text.at, "\xfe\xff", 2))) {
        p->line = 1;
        parser_fault(p, NULL, "save it as UTF-8", "the file is UTF-16");
        return;
    }
    while (text.len) {
        const uint8_t *end = memchr(text.at, '\n', text.len);
        size_t len = end ? (size_t)(end - text.at) : text.len;
        p->line++;
        read_line(p, (const char *)text.at, len);
        if (p->faults->count >= CONF_FAULTS_MAX)
            return;
        len += end != NULL;
        text.at += len;
        text.len -= len;
    }
}

static int finish(struct parser *p)
{
    size_t faults = p->faults->count - p->faults->warnings;
    p->conf->gateway = p->role == ROLE_GATEWAY;
    p->line = 0;
    if (p->role == ROLE_UNKNOWN && !faults)
        parser_fault(p, NULL,
                     "start with [gateway] or [tunnel]; `shrike config client` prints a file "
                     "to start from",
                     "the file is empty");
    else if (p->role != ROLE_UNKNOWN && p->faults->count < CONF_FAULTS_MAX)
        parser_finish(p);
    return p->faults->count > p->faults->warnings ? ERR_CONFIG : 0;
}

int conf_parse(const char *file_name, struct bytes text, struct conf **out,
               struct conf_faults *faults)
{
    struct parser p = {.faults = faults, .file = file_name};
    *out = NULL;
    if (strlen(file_name) >= CONF_PATH_MAX) {
        fault_add(faults, file_name, 0, NULL, NULL, "the path is longer than %d characters",
                  CONF_PATH_MAX - 1);
        return ERR_CONFIG;
    }
    p.conf = calloc(1, sizeof *p.conf);
    if (!p.conf) {
        fault_add(faults, file_name, 0, NULL, NULL, "out of memory");
        return ERR_MEMORY;
    }
    snprintf(p.conf->file, sizeof p.conf->file, "%s", file_name);
    read_lines(&p, text);
    int err = finish(&p);
    if (err)
        conf_free(p.conf);
    else
        *out = p.conf;
    return err;
}

char *file_read(const char *path, size_t limit, size_t *len, char why[static 128])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    char *text = NULL;
    if (fd < 0 || fstat(fd, &st)) {
        snprintf(why, 128, "%s",
                 errno == ENOENT   ? "there is no such file"
                 : errno == EACCES ? "it may not be read by this user"
                                   : strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        snprintf(why, 128, "it is %s", S_ISDIR(st.st_mode) ? "a folder" : "no regular file");
    } else if ((size_t)st.st_size > limit) {
        snprintf(why, 128, "it is larger than %zu kB", limit >> 10);
    } else if (!(text = malloc((size_t)st.st_size + 1))) {
        snprintf(why, 128, "out of memory");
    } else {
        ssize_t n = 0;
        *len = 0;
        while (*len < (size_t)st.st_size &&
               (n = read(fd, text + *len, (size_t)st.st_size - *len)) > 0)
            *len += (size_t)n;
        text[*len] = 0;
        if (n < 0) {
            snprintf(why, 128, "%s", strerror(errno));
            secret_wipe(text, *len);
            free(text);
            text = NULL;
        }
    }
    if (fd >= 0)
        close(fd);
    return text;
}

int conf_load(const char *file, struct conf **out, struct conf_faults *faults)
{
    char why[128];
    size_t len;
    *out = NULL;
    char *text = file_read(file, CONF_FILE_MAX, &len, why);
    if (!text) {
        bool missing = access(file, F_OK) != 0 && errno == ENOENT;
        fault_add(faults, file, 0, NULL,
                  missing ? "`shrike config gateway` and `shrike config client` print a file to "
                            "start from"
                  : access(file, R_OK) ? "try with sudo"
                                       : NULL,
                  "the configuration cannot be read: %s", why);
        return ERR_CONFIG;
    }
    int err = conf_parse(file, (struct bytes){(uint8_t *)text, len}, out, faults);
    secret_wipe(text, len);
    free(text);
    return err;
}

void conf_free(struct conf *conf)
{
    if (!conf)
        return;
    if (conf->peers)
        secret_wipe(conf->peers, conf->peer_count * sizeof *conf->peers);
    free(conf->peers);
    for (size_t i = 0; i < CONF_OPTIONS_MAX; i++)
        free(conf->values[i]);
    secret_wipe(conf, sizeof *conf);
    free(conf);
}
