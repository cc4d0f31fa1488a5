/* The commented default files, from the option table. */
#include "conf/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 78 };

/* A comment of several lines. */
static void comment(FILE *out, const char *text)
{
    while (*text) {
        size_t n = strlen(text);
        if (n > WIDTH - 2) {
            n = WIDTH - 2;
            while (n > 20 && text[n] != ' ')
                n--;
        }
        fprintf(out, "# %.*s\n", (int)n, text);
        text += n;
        text += strspn(text, " ");
    }
}

static void print_section(FILE *out, const struct section *s, uint8_t role)
{
    bool client = !strcmp(s->name, "client"), child = !strcmp(s->name, "child");
    fputc('\n', out);
    comment(out, s->help);
    fprintf(out, client ? "#[client alice]\n" : child ? "#[child mail]\n" : "[%s]\n", s->name);
    for (size_t i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        if (!(o->role & role) || strcmp(o->section, s->name))
            continue;
        const char *value = o->live && o->example ? o->example
                            : o->fallback         ? o->fallback
                                                  : o->example;
        comment(out, o->help);
        if (o->fixed)
            comment(out, role == ROLE_GATEWAY ? "(A change needs a restart: reload refuses it.)"
                                              : "(A change needs down and up: reload refuses it.)");
        fprintf(out, "%s%s = %s\n", o->live ? "" : "#", o->key, value);
    }
}

char *conf_default_text(bool gateway)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    uint8_t role = gateway ? ROLE_GATEWAY : ROLE_CLIENT;
    comment(out, gateway
                     ? "Shrike gateway. Put it at /etc/shrike/shrike.conf, look at it with `shrike "
                       "check`, start it with `shrike gateway`."
                     : "Shrike tunnel. Put it at /etc/shrike/NAME.conf, look at it with `shrike "
                       "check`, start it with `shrike up NAME`.");
    comment(
        out,
        "Lines that begin with # show defaults or examples. Times: 30s, 10m, 1h30m. Sizes: 64K, "
        "4G. Lists: commas.");
    for (size_t i = 0; i < section_count; i++) {
        if (section_table[i].role & role)
            print_section(out, &section_table[i], role);
    }
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    return text;
}
