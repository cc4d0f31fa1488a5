/* Single values: from text into a field, or a fault that says what would have been right. */
#include "conf/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static void store(void *to, uint16_t size, uint64_t v)
{
    uint8_t v8 = (uint8_t)v;
    uint16_t v16 = (uint16_t)v;
    uint32_t v32 = (uint32_t)v;
    switch (size) {
    case 1:
        memcpy(to, &v8, 1);
        break;
    case 2:
        memcpy(to, &v16, 2);
        break;
    case 4:
        memcpy(to, &v32, 4);
        break;
    default:
        memcpy(to, &v, 8);
    }
}

static bool copy_text(struct parser *p, char *to, size_t size, const char *value, const char *what)
{
    size_t n = strlen(value);
    if (!n || n >= size) {
        parser_fault(p, value, NULL, n ? "%s is too long: at most %zu characters" : "%s is empty",
                     what, size - 1);
        return false;
    }
    memcpy(to, value, n + 1);
    return true;
}

void set_path(struct parser *p, const struct option *o, void *to, char *value)
{
    char path[CONF_PATH_MAX];
    const char *slash = strrchr(p->file, '/');
    int n;
    if (value[0] == '/' || !slash)
        n = snprintf(path, sizeof path, "%s", value);
    else
        n = snprintf(path, sizeof path, "%.*s/%s", (int)(slash - p->file), p->file, value);
    if (n < 0 || (size_t)n >= sizeof path)
        parser_fault(p, value, NULL, "the path is longer than %d characters", CONF_PATH_MAX - 1);
    else
        copy_text(p, to, CONF_PATH_MAX, value[0] ? path : value, o->key);
}

void set_psk(struct parser *p, const struct option *o, void *to, char *value)
{
    uint8_t octets[CONF_PSK_MAX];
    size_t len;
    struct bytes text = {(const uint8_t *)value, strlen(value)};
    /* the secret itself is never quoted in a fault */
    if (text.len >= o->size)
        parser_fault(p, NULL, "put it into a file and name that by psk-file",
                     "the shared secret is longer than %d characters", o->size - 1);
    else if (conf_psk_decode(text, octets, &len))
        parser_fault(p, NULL, "0x starts hexadecimal digits, 0s starts base64",
                     "the shared secret cannot be read");
    else
        memcpy(to, value, text.len + 1);
    secret_wipe(octets, sizeof octets);
}

static bool host_name_ok(const char *host)
{
    size_t label = 0;
    for (const char *at = host; *at; at++) {
        if (*at == '.') {
            if (!label)
                return false;
            label = 0;
        } else if (!isalnum((unsigned char)*at) && *at != '-' && *at != '_') {
            return false;
        } else if (++label > 63) {
            return false;
        }
    }
    return *host && strlen(host) < 254;
}

/* host, host:port, address, [v6]:port */
void set_gateway_host(struct parser *p, const struct option *o, void *to, char *value)
{
    (void)o;
    struct conf *conf = p->conf;
    struct ip ip;
    struct endpoint e;
    char text[ADDR_TEXT];
    if (ip_parse(value, &ip)) {
        copy_text(p, to, sizeof conf->remote_host, value, "the gateway");
        return;
    }
    if (value[0] == '[') {
        if (endpoint_parse(value, 500, &e) && e.port) {
            snprintf(conf->remote_host, sizeof conf->remote_host, "%s", ip_print(&e.ip, text));
            conf->remote_port = e.port;
        } else {
            parser_fault(p, value, "write [2001:db8::1] or [2001:db8::1]:4500",
                         "this is no address with a port");
        }
        return;
    }
    char *colon = strchr(value, ':');
    unsigned long port = 500;
    if (colon) {
        if (!number_parse(colon + 1, 65535, &port) || !port) {
            parser_fault(p, colon + 1, "a port is a number from 1 to 65535",
                         "the gateway's port cannot be read");
            return;
        }
        *colon = 0;
    }
    if (!host_name_ok(value)) {
        parser_fault(p, value, "write a host name or an address, such as vpn.example.com",
                     "this is no host");
        return;
    }
    conf->remote_port = (uint16_t)port;
    copy_text(p, to, sizeof conf->remote_host, value, "the gateway");
}

void set_instance(struct parser *p, const struct option *o, void *to, char *value)
{
    for (const char *at = value; *at; at++) {
        if (!isalnum((unsigned char)*at) && (at == value || !strchr("._-@", *at))) {
            parser_fault(p, value, "letters, digits, . _ - and @ may stand in it",
                         "this cannot be the name of an instance");
            return;
        }
    }
    copy_text(p, to, 32, value, o->key);
}

void set_interface(struct parser *p, const struct option *o, void *to, char *value)
{
    if (o->zero && !strcmp(value, o->zero)) {
        *(char *)to = 0;
        return;
    }
    for (const char *at = value; *at; at++) {
        if (!isalnum((unsigned char)*at) && !strchr("._-@", *at)) {
            parser_fault(p, value, "letters, digits, . _ - and @ may stand in it",
                         "this cannot be the name of an interface");
            return;
        }
    }
    if (!strcmp(value, ".") || !strcmp(value, ".."))
        parser_fault(p, value, NULL, "this cannot be the name of an interface");
    else
        copy_text(p, to, 16, value, "the interface's name");
}

void set_identity(struct parser *p, const struct option *o, void *to, char *value)
{
    (void)o;
    struct identity *id = to;
    bool ok = strchr(value, '=') && strncmp(value, "keyid:", 6) ? cert_dn_parse(value, id)
                                                                : identity_parse(value, id);
    if (!ok)
        parser_fault(p, value,
                     "write a host name, an address, name@example.com, keyid:text or CN=name,O=org",
                     "this is no identity");
}

void set_yes(struct parser *p, const struct option *o, void *to, char *value)
{
    static const char *const words[] = {"no", "yes", "off", "on", "false", "true"};
    (void)o;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!strcasecmp(value, words[i])) {
            *(bool *)to = i % 2;
            return;
        }
    }
    parser_fault(p, value, "write yes or no", "this is neither yes nor no");
}

/* What a range looks like to a person: in the units of the option. */
static void print_amount(const struct option *o, uint64_t v, char text[static 32])
{
    static const struct {
        uint64_t seconds;
        char unit;
    } spans[] = {{604800, 'w'}, {86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    if (o->set == set_duration) {
        for (size_t i = 0; i < ARRAY_LEN(spans); i++) {
            if (v % spans[i].seconds == 0) {
                snprintf(text, 32, "%llu%c", (unsigned long long)(v / spans[i].seconds),
                         spans[i].unit);
                return;
            }
        }
    }
    uint64_t step = o->set == set_octets ? 1024 : o->set == set_packets ? 1000 : 0;
    const char *units = "KMGT";
    size_t at = 0;
    while (step && v && v % step == 0 && at < 4) {
        v /= step;
        at++;
    }
    snprintf(text, 32, "%llu%.*s", (unsigned long long)v, at ? 1 : 0, at ? units + at - 1 : "");
}

static void store_ranged(struct parser *p, const struct option *o, void *to, const char *value,
                         bool read, uint64_t v, const char *form)
{
    if (o->zero && !strcmp(value, o->zero)) {
        store(to, o->size, 0);
        return;
    }
    char low[32], high[32], next[160];
    print_amount(o, o->low, low);
    print_amount(o, o->high, high);
    snprintf(next, sizeof next, "write %s from %s to %s%s%s", form, low, high,
             o->zero ? ", or " : "", o->zero ? o->zero : "");
    if (!read)
        parser_fault(p, value, next, "%s cannot be read", o->key);
    else if (v < o->low || v > o->high)
        parser_fault(p, value, next, "%s is out of range", o->key);
    else
        store(to, o->size, v);
}

void set_number(struct parser *p, const struct option *o, void *to, char *value)
{
    unsigned long v = 0;
    bool read = number_parse(value, UINT32_MAX, &v);
    store_ranged(p, o, to, value, read, v, "a number");
}

void set_tfc(struct parser *p, const struct option *o, void *to, char *value)
{
    unsigned long v = 0;
    bool read = number_parse(value, UINT32_MAX, &v);
    if (!strcmp(value, "mtu"))
        store(to, o->size, CONF_TFC_MTU);
    else
        store_ranged(p, o, to, value, read, v, "mtu, or a number");
}

void set_duration(struct parser *p, const struct option *o, void *to, char *value)
{
    uint64_t v = 0;
    bool read = conf_duration(value, &v);
    store_ranged(p, o, to, value, read, v, "a time such as 30s, 10m or 1h30m,");
}

void set_octets(struct parser *p, const struct option *o, void *to, char *value)
{
    uint64_t v = 0;
    bool read = unit_size(value, 1024, &v);
    store_ranged(p, o, to, value, read, v, "a size such as 512M or 64G,");
}

void set_packets(struct parser *p, const struct option *o, void *to, char *value)
{
    uint64_t v = 0;
    bool read = unit_size(value, 1000, &v);
    store_ranged(p, o, to, value, read, v, "a count such as 500K or 100M,");
}

enum { CHOICES = 8 };

static size_t split_words(const char *words, char room[static 96], const char *out[static CHOICES])
{
    size_t count = 0;
    snprintf(room, 96, "%s", words);
    char *save = NULL;
    for (char *w = strtok_r(room, " ", &save); w && count < CHOICES; w = strtok_r(NULL, " ", &save))
        out[count++] = w;
    return count;
}

/* The number of the word, or -1 and a fault. */
static int choose(struct parser *p, const char *words, const char *value)
{
    char room[96], next[160];
    const char *word[CHOICES];
    size_t count = split_words(words, room, word);
    for (size_t i = 0; i < count; i++) {
        if (!strcasecmp(value, word[i]))
            return (int)i;
    }
    const char *near = conf_closest(value, word, count);
    size_t used = 0;
    if (near)
        used = (size_t)snprintf(next, sizeof next, "did you mean \"%s\"? ", near);
    used += (size_t)snprintf(next + used, sizeof next - used, "One of:");
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(next + used, sizeof next - used, " %s", word[i]);
    parser_fault(p, value, next, "unknown word");
    return -1;
}

void set_choice(struct parser *p, const struct option *o, void *to, char *value)
{
    int n = choose(p, o->words, value);
    if (n >= 0)
        store(to, o->size, (uint64_t)n);
}

void set_nat(struct parser *p, const struct option *o, void *to, char *value)
{
    (void)to;
    int n = choose(p, o->words, value);
    if (n >= 0)
        p->nat = n;
}

/* Words of a list that stand for bits: the first word is bit 1. */
static void set_bit(struct parser *p, const char *words, uint8_t *bits, char *value)
{
    int n = choose(p, words, value);
    if (n >= 0)
        *bits |= (uint8_t)(1 << n);
}

/* The items of a comma list, blanks trimmed; NULL at the end. */
static char *next_item(char **rest)
{
    char *item = strsep(rest, ",");
    if (!item)
        return NULL;
    item += strspn(item, " \t");
    size_t n = strlen(item);
    while (n && strchr(" \t", item[n - 1]))
        item[--n] = 0;
    return item;
}

void set_methods(struct parser *p, const struct option *o, void *to, char *value)
{
    uint8_t bits = 0;
    for (char *item; (item = next_item(&value));)
        set_bit(p, o->words, &bits, item);
    *(uint8_t *)to = bits; /* psk = CONF_AUTH_PSK, cert = CONF_AUTH_CERT */
}

void set_request(struct parser *p, const struct option *o, void *to, char *value)
{
    (void)to;
    uint8_t bits = 0;
    if (strcmp(value, "none")) {
        for (char *item; (item = next_item(&value));)
            set_bit(p, o->words, &bits, item);
    }
    p->conf->tunnel.request_ip4 = bits & 1;
    p->conf->tunnel.request_ip6 = bits & 2;
}

void set_addresses(struct parser *p, const struct option *o, void *to, char *value)
{
    (void)o;
    (void)to;
    for (char *item; (item = next_item(&value));) {
        struct ip ip;
        if (!ip_parse(item, &ip) || ip_is_any(&ip)) {
            parser_fault(p, item, "write one IPv4 and/or one IPv6 address, such as 10.99.0.7",
                         "this is no address");
            continue;
        }
        struct ip *slot = ip.family == 4 ? &p->peer->ip4 : &p->peer->ip6;
        if (slot->family)
            parser_fault(p, item, NULL, "a client has one IPv%d address only", ip.family);
        *slot = ip;
    }
}

/* "gateway": all that it will take, and routes for what it names. */
void set_send(struct parser *p, const struct option *o, void *to, char *value)
{
    char all[] = "0.0.0.0/0, ::/0";
    p->conf->tunnel.send_from_gateway = !strcmp(value, "gateway");
    set_list(p, o, to, p->conf->tunnel.send_from_gateway ? all : value);
}

void set_list(struct parser *p, const struct option *o, void *to, char *value)
{
    uint8_t *count = option_home(p, o) + o->count_at;
    *count = 0;
    if (o->zero && !strcmp(value, o->zero))
        return;
    for (char *item; (item = next_item(&value));) {
        if (*count == o->most) {
            parser_fault(p, item, "join neighbours to larger ones", "%s has more than %d items",
                         o->key, o->most);
            return;
        }
        size_t before = p->faults->count;
        o->item(p, o, to, item);
        if (p->faults->count != before)
            continue;
        to = (uint8_t *)to + o->size;
        ++*count;
    }
}
