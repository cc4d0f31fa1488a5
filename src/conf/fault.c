/* Faults: what is wrong, where, and what to do about it. */
#include "conf/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Peer or file octets into a terminal: only printable ASCII and well-formed-looking UTF-8 pass. */
static void copy_printable(char *to, size_t size, const char *from)
{
    size_t used = 0;
    for (; from && *from && used + 5 < size; from++) {
        unsigned char c = (unsigned char)*from;
        if (c >= 0x20 && c != 0x7f)
            to[used++] = (char)c;
        else
            used += (size_t)snprintf(to + used, size - used, "\\x%02x", c);
    }
    to[used] = 0;
}

static __attribute__((format(printf, 7, 0))) void add(struct conf_faults *faults, bool warning,
                                                      const char *file, unsigned line,
                                                      const char *text, const char *next,
                                                      const char *what, va_list args)
{
    if (warning)
        faults->warnings++;
    if (faults->count++ >= CONF_FAULTS_MAX)
        return;
    struct conf_fault *f = &faults->at[faults->count - 1];
    *f = (struct conf_fault){.warning = warning, .line = line};
    copy_printable(f->file, sizeof f->file, file);
    copy_printable(f->text, sizeof f->text, text);
    copy_printable(f->next, sizeof f->next, next);
    char sentence[sizeof f->what];
    vsnprintf(sentence, sizeof sentence, what, args);
    copy_printable(f->what, sizeof f->what, sentence);
}

void fault_add(struct conf_faults *faults, const char *file, unsigned line, const char *text,
               const char *next, const char *what, ...)
{
    va_list args;
    va_start(args, what);
    add(faults, false, file, line, text, next, what, args);
    va_end(args);
}

void warning_add(struct conf_faults *faults, const char *file, unsigned line, const char *text,
                 const char *next, const char *what, ...)
{
    va_list args;
    va_start(args, what);
    add(faults, true, file, line, text, next, what, args);
    va_end(args);
}

void parser_fault(struct parser *p, const char *text, const char *next, const char *what, ...)
{
    va_list args;
    va_start(args, what);
    add(p->faults, false, p->file, p->line, text, next, what, args);
    va_end(args);
}

void conf_fault_print(const struct conf_fault *fault, char *text, size_t size)
{
    char line[16] = "", quoted[140] = "";
    if (fault->line)
        snprintf(line, sizeof line, "%u:", fault->line);
    if (fault->text[0])
        snprintf(quoted, sizeof quoted, ": \"%s\"", fault->text);
    snprintf(text, size, "%s:%s %s%s%s%s%s", fault->file, line, fault->warning ? "warning: " : "",
             fault->what, quoted, fault->next[0] ? " - " : "", fault->next);
}
