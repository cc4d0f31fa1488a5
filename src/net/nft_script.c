/* A script for nft: written piece by piece, run as one transaction. */
#include "net/internal.h"

#include <stdio.h>

void nft_say(struct nft_script *script, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int len = vsnprintf(script->at + script->len, script->room - script->len, format, list);
    va_end(list);
    if (len < 0 || (size_t)len >= script->room - script->len)
        script->bad = true;
    else
        script->len += (size_t)len;
}

/* A table's name has letters, digits and . _ - only; an interface may have an @. */
void nft_say_table(struct nft_script *script, const char *head, const char *kind,
                   const char *device, const char *tail)
{
    char name[IF_NAMESIZE];
    snprintf(name, sizeof(name), "%s", device);
    for (char *at = name; *at; at++)
        if (*at == '@')
            *at = '_';
    nft_say(script, "%stable inet shrike_%s%s%s", head, kind, name, tail);
}

int nft_run(const struct nft_script *script, const char *whose, const char *without,
            char why[static NET_WHY])
{
    static const char *const argv[] = {"nft", "-f", "-", NULL};
    char said[160];
    int result = script->bad ? ERR_LIMIT : net_execute(argv, script->at, said, sizeof(said));
    if (result == 0)
        return 0;
    if (result == ERR_NOT_FOUND)
        snprintf(why, NET_WHY, "%s need nft: apt install nftables, or %s", whose, without);
    else
        snprintf(why, NET_WHY, "nft refused %s: %s", whose,
                 result == ERR_LIMIT ? "there are too many of them" : said);
    return ERR_SYSTEM;
}
