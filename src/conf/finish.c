/* What needs the whole file to be known: defaults, names, and what depends on several options. */
#include "conf/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *conf_run_dir(void)
{
    const char *dir = getenv("SHRIKE_RUN_DIR");
    return dir && *dir ? dir : "/run/shrike";
}

int conf_control_path(const struct conf *conf, char path[static CONF_PATH_MAX])
{
    /* sun_path has 108 octets */
    int n = snprintf(path, CONF_PATH_MAX, "%s/%s.sock", conf->run_dir, conf->tunnel.name);
    return n < 0 || n >= 108 ? ERR_LIMIT : 0;
}

void option_default(struct parser *p, const struct option *o)
{
    char value[64];
    snprintf(value, sizeof value, "%s", o->fallback);
    o->set(p, o, (uint8_t *)p->conf + o->at, value);
}

static void apply_defaults(struct parser *p)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        if (o->role & p->role && !o->peer && !o->child && o->fallback && !p->conf->lines[i])
            option_default(p, o);
    }
}

/* /etc/shrike/office.conf is called office; what a socket's name cannot have becomes '_'. */
static void name_from_file(struct conf *conf)
{
    const char *slash = strrchr(conf->file, '/'), *base = slash ? slash + 1 : conf->file;
    size_t n = strlen(base);
    if (n > 5 && !strcmp(base + n - 5, ".conf"))
        n -= 5;
    if (n > 31)
        n = 31;
    char *name = conf->tunnel.name;
    snprintf(name, sizeof conf->tunnel.name, "%.*s", (int)n, base);
    for (char *at = name; *at; at++) {
        if (!isalnum((unsigned char)*at) && (at == name || !strchr("._-@", *at)))
            *at = '_';
    }
    if (!*name)
        snprintf(name, sizeof conf->tunnel.name, "tunnel");
}

static void finish_places(struct parser *p)
{
    struct conf *conf = p->conf;
    char path[CONF_PATH_MAX];
    if (!conf->gateway)
        name_from_file(conf);
    if (!conf->run_dir[0])
        snprintf(conf->run_dir, sizeof conf->run_dir, "%s", conf_run_dir());
    if (!conf->state_dir[0])
        snprintf(conf->state_dir, sizeof conf->state_dir, "/var/lib/shrike");
    if (conf_control_path(conf, path)) {
        p->line = option_line(conf, conf->gateway ? "gateway" : "tunnel", "run-dir");
        parser_fault(p, conf->run_dir, "a socket's path has at most 107 characters",
                     "the control socket's path is too long");
    }
    if (!conf->interface[0])
        snprintf(conf->interface, sizeof conf->interface, "%.15s",
                 conf->gateway && !strcmp(conf->tunnel.name, "gateway") ? "shrike0"
                                                                        : conf->tunnel.name);
}

/* Keeps the transforms of a type for which keep() says so. */
static void filter(struct proposal *p, bool (*drop)(const struct transform *t))
{
    uint8_t count = 0;
    for (uint8_t i = 0; i < p->count; i++) {
        if (!drop(&p->transforms[i]))
            p->transforms[count++] = p->transforms[i];
    }
    p->count = count;
}

static bool is_ke(const struct transform *t)
{
    return t->type == TRANSFORM_KE || transform_is_addke(t->type);
}

static bool is_esn(const struct transform *t)
{
    return t->type == TRANSFORM_SN && t->id == 1;
}

static void finish_proposals(struct conf *conf)
{
    struct conf_tunnel *t = &conf->tunnel;
    if (conf->ah_count) {
        memcpy(t->esp, conf->ah, sizeof t->esp);
        t->esp_count = conf->ah_count;
    }
    bool ike_given = t->ike_count > 0;
    policy_defaults(conf);
    pq_defaults(t, ike_given);
    if (!t->esp_count)
        t->esp_count = (uint8_t)suite_defaults(PROTOCOL_ESP, t->esp, CONF_PROPOSALS);
    for (size_t i = 0; i < t->esp_count; i++) {
        if (!t->pfs)
            filter(&t->esp[i], is_ke);
        if (!t->esn) {
            filter(&t->esp[i], is_esn);
            if (!proposal_find(&t->esp[i], TRANSFORM_SN))
                proposal_add(&t->esp[i], TRANSFORM_SN, 0, 0);
        }
    }
}

/* ---- gateway ---- */

static int by_name(const void *a, const void *b)
{
    const struct conf_peer *x = *(const struct conf_peer *const *)a;
    const struct conf_peer *y = *(const struct conf_peer *const *)b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

static int by_id(const void *a, const void *b)
{
    const struct conf_peer *x = *(const struct conf_peer *const *)a;
    const struct conf_peer *y = *(const struct conf_peer *const *)b;
    if (x->id.type != y->id.type)
        return x->id.type - y->id.type;
    if (x->id.len != y->id.len)
        return x->id.len - y->id.len;
    for (size_t i = 0; i < x->id.len; i++) {
        /* names are compared without regard to case */
        int cx = x->id.octets[i], cy = y->id.octets[i];
        if (x->id.type == IDENTITY_FQDN || x->id.type == IDENTITY_RFC822) {
            cx = tolower(cx);
            cy = tolower(cy);
        }
        if (cx != cy)
            return cx - cy;
    }
    return (x->line > y->line) - (x->line < y->line);
}

static int by_ip4(const void *a, const void *b)
{
    const struct conf_peer *x = *(const struct conf_peer *const *)a;
    const struct conf_peer *y = *(const struct conf_peer *const *)b;
    int order = ip_compare(&x->ip4, &y->ip4);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

static int by_ip6(const void *a, const void *b)
{
    const struct conf_peer *x = *(const struct conf_peer *const *)a;
    const struct conf_peer *y = *(const struct conf_peer *const *)b;
    int order = ip_compare(&x->ip6, &y->ip6);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

static void duplicate(struct parser *p, const struct conf_peer *first,
                      const struct conf_peer *second, const char *what)
{
    p->line = second->line;
    parser_fault(p, second->name, "change or take out one of the two",
                 "%s is that of [client %s] in line %u", what, first->name, first->line);
}

static void find_duplicates(struct parser *p, const struct conf_peer **sorted)
{
    size_t n = p->conf->peer_count;
    qsort(sorted, n, sizeof *sorted, by_name);
    for (size_t i = 1; i < n; i++) {
        if (!strcmp(sorted[i - 1]->name, sorted[i]->name))
            duplicate(p, sorted[i - 1], sorted[i], "the name");
    }
    qsort(sorted, n, sizeof *sorted, by_id);
    for (size_t i = 1; i < n; i++) {
        if (sorted[i]->id.type && identity_equal(&sorted[i - 1]->id, &sorted[i]->id))
            duplicate(p, sorted[i - 1], sorted[i], "the identity");
    }
    qsort(sorted, n, sizeof *sorted, by_ip4);
    for (size_t i = 1; i < n; i++) {
        if (sorted[i]->ip4.family && ip_equal(&sorted[i - 1]->ip4, &sorted[i]->ip4))
            duplicate(p, sorted[i - 1], sorted[i], "the IPv4 address");
    }
    qsort(sorted, n, sizeof *sorted, by_ip6);
    for (size_t i = 1; i < n; i++) {
        if (sorted[i]->ip6.family && ip_equal(&sorted[i - 1]->ip6, &sorted[i]->ip6))
            duplicate(p, sorted[i - 1], sorted[i], "the IPv6 address");
    }
}

static void finish_peer(struct parser *p, struct conf_peer *peer, uint8_t *means)
{
    p->line = peer->line;
    if (peer->psk[0] && peer->psk_file[0])
        parser_fault(p, peer->name, "keep one of them", "both psk and psk-file are given");
    if (!peer->id.type) {
        bool ok = strchr(peer->name, '=') ? cert_dn_parse(peer->name, &peer->id)
                                          : identity_parse(peer->name, &peer->id);
        if (!ok)
            parser_fault(p, peer->name, "add a line identity = name@example.com",
                         "the client's name is no identity");
    }
    bool psk = peer->psk[0] || peer->psk_file[0];
    if (!psk && !p->conf->cert[0] && p->clean)
        parser_fault(p, peer->name, "add psk-file here, or cert, key and ca to [gateway]",
                     "the client has no shared secret, and the gateway no certificate");
    *means |= psk ? CONF_AUTH_PSK : CONF_AUTH_CERT;
}

static void finish_methods(struct parser *p, uint8_t means)
{
    struct conf *conf = p->conf;
    struct conf_tunnel *t = &conf->tunnel;
    p->line = option_line(conf, "auth", "methods");
    if (!p->line)
        t->remote_auth = (uint8_t)((means & CONF_AUTH_PSK) | (conf->cert[0] ? CONF_AUTH_CERT : 0));
    else if (t->remote_auth & CONF_AUTH_CERT && !conf->cert[0])
        parser_fault(p, "cert", "add cert, key and ca to [gateway]",
                     "clients cannot be met by certificate without an own one");
    else if (means & CONF_AUTH_PSK && !(t->remote_auth & CONF_AUTH_PSK))
        parser_fault(p, NULL, "add psk to methods, or take the secrets out",
                     "a client has a shared secret, and the methods do not name psk");
    t->local_auth = (uint8_t)((conf->cert[0] ? CONF_AUTH_CERT : 0) | (means & CONF_AUTH_PSK));
    if (p->faults->count == p->faults->warnings && !t->local_auth)
        parser_fault(p, NULL, "add cert, key and ca to [gateway], or a [client NAME] with psk-file",
                     "there is no way to authenticate: neither a certificate nor a shared secret");
}

static bool private_pool(const struct prefix *p)
{
    static const char *const nets[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
                                       "100.64.0.0/10", "fc00::/7"};
    for (size_t i = 0; i < ARRAY_LEN(nets); i++) {
        struct prefix net;
        if (prefix_parse(nets[i], &net) && p->bits >= net.bits && prefix_contains(&net, &p->ip))
            return true;
    }
    return false;
}

static void finish_gateway(struct parser *p)
{
    struct conf *conf = p->conf;
    uint8_t means = 0;
    for (size_t i = 0; i < conf->peer_count; i++)
        finish_peer(p, &conf->peers[i], &means);
    if (conf->peer_count > 1) {
        const struct conf_peer **sorted = calloc(conf->peer_count, sizeof(struct conf_peer *));
        for (size_t i = 0; sorted && i < conf->peer_count; i++)
            sorted[i] = &conf->peers[i];
        if (sorted)
            find_duplicates(p, sorted);
        else
            parser_fault(p, NULL, NULL, "out of memory");
        free(sorted);
    }
    finish_methods(p, means);
    conf->nat = p->nat == 1;
    for (size_t i = 0; p->nat == 0 && i < conf->pool_count; i++)
        conf->nat |= private_pool(&conf->pools[i]);
}

/* ---- client ---- */

static void finish_credentials(struct parser *p)
{
    struct conf *conf = p->conf;
    bool psk = conf->psk[0] || conf->psk_file[0];
    if (conf->psk[0] && conf->psk_file[0]) {
        p->line = option_line(conf, "tunnel", "psk");
        parser_fault(p, "psk", "keep one of them", "both psk and psk-file are given");
    } else if (psk && conf->cert[0]) {
        p->line = option_line(conf, "tunnel", "cert");
        parser_fault(p, "cert", "keep one of them",
                     "both a certificate and a shared secret are given");
    } else if (!psk && !conf->cert[0] && p->clean) {
        parser_fault(p, NULL, "add cert and key, or psk-file",
                     "there is no way to authenticate: neither a certificate nor a shared secret");
    }
    conf->tunnel.local_auth = psk ? CONF_AUTH_PSK : CONF_AUTH_CERT;
    /* with a group's secret every member could play the gateway: a CA beside it asks for more */
    conf->tunnel.remote_auth = psk && !conf->ca[0] ? CONF_AUTH_PSK : CONF_AUTH_CERT;
}

/* One child SA for each pair of a local network and a destination: some peers take no more. */
static void separate(struct parser *p)
{
    struct conf_tunnel *t = &p->conf->tunnel;
    size_t locals = t->local_ts_count ? t->local_ts_count : 1, pairs = locals * t->remote_ts_count;
    p->line = option_line(p->conf, "traffic", "children");
    if (pairs + t->child_count > CONF_CHILDREN + 1) {
        parser_fault(p, "children", "join neighbours to larger networks",
                     "more than %d child SAs would be needed", CONF_CHILDREN + 1);
        return;
    }
    for (size_t i = 1; i < pairs; i++) {
        struct conf_child *c = &t->children[t->child_count++];
        *c = (struct conf_child){.line = p->line, .remote_ts_count = 1};
        snprintf(c->name, sizeof c->name, "pair-%zu", i + 1);
        c->remote_ts[0] = t->remote_ts[i / locals];
        if (t->local_ts_count)
            c->local_ts[c->local_ts_count++] = t->local_ts[i % locals];
    }
    t->remote_ts_count = 1;
    t->local_ts_count = t->local_ts_count ? 1 : 0;
}

static void finish_children(struct parser *p)
{
    struct conf_tunnel *t = &p->conf->tunnel;
    size_t routes = t->remote_ts_count;
    for (size_t i = 0; i < t->child_count; i++) {
        struct conf_child *c = &t->children[i];
        p->line = c->line;
        routes += c->remote_ts_count;
        if (!c->remote_ts_count)
            parser_fault(p, c->name, "add a line send = 10.0.0.0/8",
                         "the child has no destinations");
        for (size_t j = 0; j < i; j++)
            if (!strcmp(t->children[j].name, c->name))
                parser_fault(p, c->name, "give it another name",
                             "a child of this name stands in line %u", t->children[j].line);
    }
    if (routes > CONF_ROUTES)
        parser_fault(p, NULL, "join neighbours to larger ones",
                     "the children have more than %d destinations together", CONF_ROUTES);
}

/* ---- transport mode */

static bool is_any(const struct selector *s)
{
    struct selector any = selector_any(s->low.family);
    return ip_equal(&s->low, &any.low) && ip_equal(&s->high, &any.high);
}

/* Each item is "any address", which stands for the one host that it can be, or that host. */
static void check_hosts(struct parser *p, const struct selector *list, size_t count,
                        const struct ip *host)
{
    char text[SELECTOR_TEXT];
    for (size_t i = 0; i < count; i++) {
        bool one = ip_equal(&list[i].low, &list[i].high);
        if (is_any(&list[i]) || (one && (!host || ip_equal(&list[i].low, host))))
            continue;
        selector_print(&list[i], text);
        parser_fault(p, text, "write 0.0.0.0/0 or ::/0, with ports if need be, or mode = tunnel",
                     "transport mode is between this host and the gateway alone");
    }
}

static void refuse_option(struct parser *p, const char *section, const char *key, const char *what)
{
    p->line = option_line(p->conf, section, key);
    if (p->line)
        parser_fault(p, key, "take this line out, or set mode = tunnel", "%s", what);
}

static void finish_transport(struct parser *p)
{
    struct conf *conf = p->conf;
    struct conf_tunnel *t = &conf->tunnel;
    struct ip literal;
    const struct ip *gateway = ip_parse(conf->remote_host, &literal) ? &literal : NULL;
    p->line = option_line(conf, "traffic", "send");
    if (t->send_from_gateway)
        parser_fault(p, "gateway", "take this line out, or set mode = tunnel",
                     "there are no networks behind a gateway in transport mode");
    check_hosts(p, t->remote_ts, t->remote_ts_count, gateway);
    p->line = option_line(conf, "traffic", "local");
    check_hosts(p, t->local_ts, t->local_ts_count, NULL);
    for (size_t i = 0; i < t->child_count; i++) {
        p->line = t->children[i].line;
        check_hosts(p, t->children[i].remote_ts, t->children[i].remote_ts_count, gateway);
        check_hosts(p, t->children[i].local_ts, t->children[i].local_ts_count, NULL);
    }
    if (t->request_ip4 || t->request_ip6)
        refuse_option(p, "traffic", "request", "there are no inner addresses in transport mode");
    refuse_option(p, "traffic", "except", "nothing is to be kept out of it in transport mode");
    if (t->roam)
        refuse_option(p, "life", "roam", "a tunnel in transport mode cannot move");
    if (t->tfc)
        refuse_option(p, "crypto", "tfc", "transport mode cannot hide lengths");
    if (t->dummies)
        refuse_option(p, "crypto", "dummies", "transport mode sends no dummy packets");
    t->roam = t->request_ip4 = t->request_ip6 = false;
}

static void finish_client(struct parser *p)
{
    struct conf *conf = p->conf;
    struct conf_tunnel *t = &conf->tunnel;
    t->initiator = true;
    t->max_tunnels = 16;
    if (!conf->remote_port)
        conf->remote_port = 500;
    p->line = option_line(conf, "tunnel", "gateway");
    if (!p->line && p->clean) {
        parser_fault(p, NULL, "add gateway = HOST to [tunnel]", "the gateway is missing");
    } else if (!t->remote_id.type && conf->remote_host[0] &&
               !identity_parse(conf->remote_host, &t->remote_id)) {
        parser_fault(p, conf->remote_host, "add a line remote-identity", "this is no identity");
    }
    p->line = 0;
    finish_credentials(p);
    if (!option_line(conf, "traffic", "request"))
        t->request_ip4 = t->request_ip6 = !t->local_ts_count && !t->transport;
    if (t->transport)
        finish_transport(p);
    finish_children(p);
    if (conf->separate)
        separate(p);
}

void parser_finish(struct parser *p)
{
    p->clean = p->faults->count == p->faults->warnings;
    apply_defaults(p);
    finish_places(p);
    finish_proposals(p->conf);
    proposals_check(p);
    policy_check(p);
    pq_check(p);
    if (p->conf->gateway)
        finish_gateway(p);
    else
        finish_client(p);
}
