/* Items of lists: prefixes, addresses, selectors. */
#include "conf/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* A prefix with host bits set gets the prefix it probably meant as a suggestion. */
static bool read_prefix(struct parser *p, const char *value, struct prefix *out)
{
    if (prefix_parse(value, out))
        return true;
    char head[ADDR_TEXT], next[192], text[ADDR_TEXT];
    const char *slash = strchr(value, '/');
    struct prefix meant = {0};
    unsigned long bits;
    if (slash && (size_t)(slash - value) < sizeof head) {
        snprintf(head, sizeof head, "%.*s", (int)(slash - value), value);
        if (ip_parse(head, &meant.ip) &&
            number_parse(slash + 1, meant.ip.family == 4 ? 32 : 128, &bits)) {
            meant.bits = (uint8_t)bits;
            for (size_t i = bits; i < ip_len(&meant.ip) * 8; i++)
                meant.ip.octets[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
            snprintf(next, sizeof next, "did you mean \"%s\"?", prefix_print(&meant, text));
            parser_fault(p, value, next, "the address has bits behind the prefix");
            return false;
        }
    }
    parser_fault(p, value, "write a network such as 10.0.0.0/8 or fd00::/8", "this is no network");
    return false;
}

void item_prefix(struct parser *p, const struct option *o, void *to, char *value)
{
    struct prefix prefix;
    if (!read_prefix(p, value, &prefix))
        return;
    if (prefix.bits < o->low)
        parser_fault(p, value, NULL, "the network is too large here: /%llu at most",
                     (unsigned long long)o->low);
    else
        *(struct prefix *)to = prefix;
}

void item_selector(struct parser *p, const struct option *o, void *to, char *value)
{
    struct prefix prefix;
    (void)o;
    if (selector_parse(value, to))
        return;
    char *upper = strchr(value, '[');
    if (!upper) {
        (void)read_prefix(p, value, &prefix); /* says what is wrong */
        return;
    }
    *upper = 0;
    if (!read_prefix(p, value, &prefix))
        return;
    *upper = '[';
    parser_fault(p, upper, "write for example [tcp/443], [udp/5000-5010], [icmp/8] or [47]",
                 "this is no protocol with ports");
}

void item_ip(struct parser *p, const struct option *o, void *to, char *value)
{
    struct ip ip;
    (void)o;
    if (!ip_parse(value, &ip) || ip_is_any(&ip))
        parser_fault(p, value, "write an address such as 9.9.9.9 or 2620:fe::fe",
                     "this is no address");
    else
        *(struct ip *)to = ip;
}

void item_domain(struct parser *p, const struct option *o, void *to, char *value)
{
    size_t len = strlen(value), label = 0;
    bool good = len > 0 && len < o->size;
    for (size_t i = 0; i < len && good; i++) {
        bool plain =
            isalnum((unsigned char)value[i]) || value[i] == '_' || (value[i] == '-' && label > 0);
        good = plain || (value[i] == '.' && label > 0);
        label = plain ? label + 1 : 0;
        good &= label < 64;
    }
    if (good)
        snprintf(to, o->size, "%s", value);
    else
        parser_fault(p, value, "write a name such as corp.example.com", "this is no domain");
}

void item_listen(struct parser *p, const struct option *o, void *to, char *value)
{
    struct endpoint e;
    (void)o;
    struct ip ip;
    if (ip_parse(value, &ip)) /* also :: without brackets */
        *(struct endpoint *)to = (struct endpoint){.ip = ip};
    else if (endpoint_parse(value, 0, &e))
        *(struct endpoint *)to = e;
    else
        parser_fault(p, value, "write an address such as 0.0.0.0, ::, 192.0.2.1 or [2001:db8::1]",
                     "this is no address to listen on");
}
