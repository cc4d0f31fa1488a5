/* What can be wrong although every line reads well. */
#include "conf/internal.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct inspection {
    const struct conf *conf;
    int64_t now;
    struct conf_faults *faults;
    struct conf_notes *notes; /* may be NULL */
};

static __attribute__((format(printf, 2, 3))) void note(struct inspection *in, const char *format,
                                                       ...)
{
    if (!in->notes || in->notes->count == ARRAY_LEN(in->notes->at))
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(in->notes->at[in->notes->count++], sizeof in->notes->at[0], format, args);
    va_end(args);
}

static unsigned line_of(const struct inspection *in, const char *key)
{
    return option_line(in->conf, in->conf->gateway ? "gateway" : "tunnel", key);
}

/* ---- files with secrets ---- */

static void check_mode(struct inspection *in, const char *path, unsigned line, const char *what)
{
    struct stat st;
    char next[sizeof(((struct conf_fault *)0)->next)];
    if (!path[0] || stat(path, &st))
        return; /* that it is missing is said by whoever reads it */
    snprintf(next, sizeof next, "chmod 600 %s", path);
    if (st.st_mode & 007)
        fault_add(in->faults, in->conf->file, line, path, next,
                  "%s can be read or written by every user (mode %04o)", what, st.st_mode & 07777);
    else if (st.st_mode & 070 && st.st_gid != 0)
        warning_add(in->faults, in->conf->file, line, path, next,
                    "%s can be read by a group (mode %04o)", what, st.st_mode & 07777);
}

static void check_modes(struct inspection *in)
{
    const struct conf *conf = in->conf;
    bool inline_psk = conf->psk[0];
    unsigned line = line_of(in, "psk");
    for (size_t i = 0; i < conf->peer_count; i++) {
        const struct conf_peer *peer = &conf->peers[i];
        check_mode(in, peer->psk_file, peer->line, "the file with the shared secret");
        if (peer->psk[0] && !inline_psk) {
            inline_psk = true;
            line = peer->line;
        }
    }
    if (inline_psk)
        check_mode(in, conf->file, line, "this file has a shared secret inside, and");
    check_mode(in, conf->key, line_of(in, "key"), "the private key");
    check_mode(in, conf->psk_file, line_of(in, "psk-file"), "the file with the shared secret");
    check_mode(in, conf->passphrase_file, line_of(in, "passphrase-file"), "the passphrase");
    if (conf->cert[0] && !conf->key[0])
        check_mode(in, conf->cert, line_of(in, "cert"), "the file with the private key");
}

/* ---- certificates ---- */

static long days(int64_t seconds)
{
    return (long)(seconds / 86400);
}

static void check_validity(struct inspection *in, const struct cert *cert, const char *key,
                           const char *path)
{
    int64_t from, until;
    char subject[256];
    cert_validity(cert, &from, &until);
    cert_print_subject(cert, subject);
    if (until <= in->now)
        fault_add(in->faults, in->conf->file, line_of(in, key), path,
                  "issue a new one: `shrike pki issue`",
                  "the certificate of %.100s ended %ld day%s ago", subject, days(in->now - until),
                  days(in->now - until) == 1 ? "" : "s");
    else if (from > in->now)
        fault_add(in->faults, in->conf->file, line_of(in, key), path,
                  "is this machine's clock right? See `date`",
                  "the certificate of %.100s begins in %ld days only", subject,
                  days(from - in->now) + 1);
    else if (until - in->now < 30 * 86400)
        warning_add(in->faults, in->conf->file, line_of(in, key), path,
                    "issue a new one soon: `shrike pki issue`",
                    "the certificate of %.100s ends in %ld days", subject, days(until - in->now));
}

static void check_names(struct inspection *in, const struct cert *leaf)
{
    const struct identity *id = &in->conf->tunnel.local_id;
    char text[IDENTITY_TEXT];
    if (!id->type || cert_has_identity(leaf, id))
        return;
    if (id->type == IDENTITY_DN)
        cert_dn_print(id, text);
    else
        identity_print(id, text);
    const char *key = in->conf->gateway ? "name" : "identity";
    fault_add(in->faults, in->conf->file, line_of(in, key), text,
              in->conf->gateway
                  ? "clients would refuse it: issue one with this name, or change `name`"
                  : "the gateway would refuse it: issue one with it, or leave `identity` out",
              "the certificate does not carry this %s", key);
}

/* Does our own chain hold for the CA of the file? For a gateway that is what its clients check. */
static void check_chain(struct inspection *in, const struct conf_credentials *c)
{
    char why[256] = "";
    if (!c->trust || !in->conf->ca[0] || !cert_trust_count(c->trust))
        return;
    int err = cert_verify(c->trust, c->chain[0], c->chain + 1, c->chain_count - 1,
                          in->conf->gateway ? CERT_FOR_GATEWAY : CERT_FOR_CLIENT, in->now, why);
    if (err && err != ERR_CERT_EXPIRED && err != ERR_CERT_NOT_YET)
        warning_add(
            in->faults, in->conf->file, line_of(in, "cert"), in->conf->cert,
            err == ERR_CERT_UNKNOWN_CA ? "that is fine when the other side trusts its issuer" : "",
            "the own certificate does not hold by the CA of this file (%.150s)", why);
}

static void check_policy(struct inspection *in, const struct cert *leaf)
{
    const struct conf_tunnel *t = &in->conf->tunnel;
    char why[128];
    if (!sign_limits_allow_key(&t->signatures, cert_public_key(leaf), why))
        fault_add(in->faults, in->conf->file, line_of(in, "cert"), in->conf->cert,
                  "issue a certificate with another key, or choose another policy",
                  "the policy %s does not let the certificate's key sign: %s",
                  conf_policy_name(t->policy), why);
    else if (t->policy == CONF_POLICY_CNSA2)
        warning_add(in->faults, in->conf->file, option_line(in->conf, "crypto", "policy"), "cnsa2",
                    "",
                    "CNSA 2.0 wants signatures by ML-DSA-87, which this program does not have "
                    "yet: those of CNSA 1.0 are used");
}

static void check_own_cert(struct inspection *in, const struct conf_credentials *c)
{
    char subject[256], issuer[256];
    int64_t from, until;
    for (size_t i = 0; i < c->chain_count; i++)
        check_validity(in, c->chain[i], "cert", in->conf->cert);
    check_names(in, c->chain[0]);
    check_policy(in, c->chain[0]);
    check_chain(in, c);
    cert_validity(c->chain[0], &from, &until);
    if (until > in->now)
        note(in, "certificate %.80s, issued by %.80s, ends in %ld days",
             cert_print_subject(c->chain[0], subject), cert_print_issuer(c->chain[0], issuer),
             days(until - in->now));
    if (c->key)
        note(in, "private key belongs to the certificate");
}

static bool wants_client_certs(const struct conf *conf)
{
    bool some = conf->any_cert;
    for (size_t i = 0; i < conf->peer_count; i++)
        some |= !conf->peers[i].psk[0] && !conf->peers[i].psk_file[0];
    return some && conf->tunnel.remote_auth & CONF_AUTH_CERT;
}

static void check_trust(struct inspection *in, const struct conf_credentials *c)
{
    size_t count = c->trust ? cert_trust_count(c->trust) : 0;
    char subject[256];
    if (in->conf->gateway && !in->conf->ca[0]) {
        if (wants_client_certs(in->conf))
            fault_add(in->faults, in->conf->file, line_of(in, "ca"), "ca",
                      "add a line ca = FILE to [gateway]",
                      "clients by certificate cannot be verified without their authority");
        return;
    }
    if (!count)
        return;
    if (!in->conf->ca[0]) {
        note(in, "gateway is verified by the system's %zu root certificates", count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        check_validity(in, cert_trust_at(c->trust, i), "ca", in->conf->ca);
    note(in, "%s trusted by %zu authorit%s, first %.120s",
         in->conf->gateway ? "clients are" : "the gateway is", count, count == 1 ? "y" : "ies",
         cert_print_subject(cert_trust_at(c->trust, 0), subject));
}

static void check_credentials(struct inspection *in)
{
    struct conf_credentials c;
    size_t before = in->faults->count;
    if (!conf_credentials_read(in->conf, CONF_WANT_CERTS | CONF_WANT_KEY | CONF_WANT_TRUST, &c,
                               in->faults)) {
        if (c.chain_count)
            check_own_cert(in, &c);
        check_trust(in, &c);
    } else if (in->faults->count == before) {
        fault_add(in->faults, in->conf->file, 0, NULL, NULL, "the certificates cannot be read");
    }
    conf_credentials_free(&c);
}

/* ---- shared secrets ---- */

static bool check_psk(struct inspection *in, const struct conf_peer *peer)
{
    uint8_t psk[CONF_PSK_MAX];
    size_t len = 0;
    int err = conf_psk_read(in->conf, peer, psk, &len, in->faults);
    const char *weak = err ? NULL : conf_psk_weakness((struct bytes){psk, len});
    secret_wipe(psk, sizeof psk);
    if (weak) {
        bool file = peer ? peer->psk_file[0] : in->conf->psk_file[0];
        unsigned line = peer ? peer->line : line_of(in, file ? "psk-file" : "psk");
        fault_add(in->faults, in->conf->file, line, peer ? peer->name : NULL,
                  "make one: openssl rand -base64 24", "%s", weak);
    }
    return !err;
}

static void check_psks(struct inspection *in)
{
    size_t count = 0;
    if (!in->conf->gateway) {
        if (in->conf->tunnel.local_auth == CONF_AUTH_PSK && check_psk(in, NULL))
            note(in, "shared secret is there and not a weak one");
        return;
    }
    for (size_t i = 0; i < in->conf->peer_count; i++) {
        const struct conf_peer *peer = &in->conf->peers[i];
        if (peer->psk[0] || peer->psk_file[0])
            count += check_psk(in, peer);
    }
    if (count)
        note(in, "%zu shared secret%s looked at", count, count == 1 ? "" : "s");
}

/* ---- networks ---- */

static bool overlap(const struct prefix *a, const struct prefix *b)
{
    return prefix_contains(a, &b->ip) || prefix_contains(b, &a->ip);
}

static struct prefix interface_net(const struct ifaddrs *at)
{
    struct sockaddr_storage address = {0}, mask = {0};
    struct endpoint e, m;
    size_t len = at->ifa_addr && at->ifa_addr->sa_family == AF_INET    ? sizeof(struct sockaddr_in)
                 : at->ifa_addr && at->ifa_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                                       : 0;
    struct prefix p = {0};
    if (!len || !at->ifa_netmask)
        return p;
    memcpy(&address, at->ifa_addr, len);
    memcpy(&mask, at->ifa_netmask, len);
    mask.ss_family = at->ifa_addr->sa_family;
    if (!endpoint_from_sockaddr(&address, &e) || !endpoint_from_sockaddr(&mask, &m))
        return p;
    p.ip = e.ip;
    for (size_t i = 0; i < ip_len(&m.ip); i++) {
        p.ip.octets[i] &= m.ip.octets[i];
        p.bits = (uint8_t)(p.bits + __builtin_popcount(m.ip.octets[i]));
    }
    return p;
}

/* A pool that is also a network of this machine eats its LAN. */
static void check_interfaces(struct inspection *in, const struct prefix *pool)
{
    struct ifaddrs *list;
    char text[ADDR_TEXT], net[ADDR_TEXT];
    if (getifaddrs(&list))
        return;
    for (const struct ifaddrs *at = list; at; at = at->ifa_next) {
        struct prefix p = interface_net(at);
        if (p.ip.family && strcmp(at->ifa_name, in->conf->interface) &&
            !(at->ifa_flags & IFF_LOOPBACK) && overlap(&p, pool))
            warning_add(in->faults, in->conf->file, option_line(in->conf, "network", "pool"),
                        prefix_print(pool, text), "choose another network for the pool",
                        "the pool overlaps %s of the interface %s", prefix_print(&p, net),
                        at->ifa_name);
    }
    freeifaddrs(list);
}

static void note_pool(struct inspection *in, const struct prefix *pool)
{
    char text[ADDR_TEXT];
    unsigned host_bits = (unsigned)(ip_len(&pool->ip) * 8) - pool->bits;
    if (host_bits > 32)
        note(in, "pool %s has more addresses than there can be clients", prefix_print(pool, text));
    else if (host_bits < 2)
        note(in, "pool %s has %u address%s", prefix_print(pool, text), 1U << host_bits,
             host_bits ? "es" : "");
    else
        note(in, "pool %s has %llu addresses", prefix_print(pool, text),
             (1ULL << host_bits) - (pool->ip.family == 4 ? 2 : 1));
}

static bool in_pools(const struct conf *conf, const struct ip *ip)
{
    bool some = false;
    for (size_t i = 0; i < conf->pool_count; i++) {
        if (conf->pools[i].ip.family != ip->family)
            continue;
        some = true;
        if (prefix_contains(&conf->pools[i], ip))
            return true;
    }
    return !some;
}

static void check_fixed(struct inspection *in, const struct conf_peer *peer, const struct ip *ip)
{
    char text[ADDR_TEXT];
    if (ip->family && !in_pools(in->conf, ip))
        warning_add(in->faults, in->conf->file, peer->line, ip_print(ip, text),
                    "take one of the pool, or route it to this gateway yourself",
                    "the address of [client %s] is in no pool", peer->name);
}

static void check_networks(struct inspection *in)
{
    const struct conf *conf = in->conf;
    unsigned line = option_line(conf, "network", "pool");
    char text[ADDR_TEXT], other[ADDR_TEXT];
    for (size_t i = 0; i < conf->pool_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (overlap(&conf->pools[i], &conf->pools[j]))
                fault_add(in->faults, conf->file, line, prefix_print(&conf->pools[i], text), NULL,
                          "the pool overlaps the pool %s", prefix_print(&conf->pools[j], other));
        }
        check_interfaces(in, &conf->pools[i]);
        note_pool(in, &conf->pools[i]);
    }
    for (size_t i = 0; i < conf->peer_count; i++) {
        check_fixed(in, &conf->peers[i], &conf->peers[i].ip4);
        check_fixed(in, &conf->peers[i], &conf->peers[i].ip6);
    }
}

static bool sends_all(const struct conf *conf, uint8_t family)
{
    for (size_t i = 0; i < conf->tunnel.remote_ts_count; i++) {
        const struct selector *s = &conf->tunnel.remote_ts[i];
        struct selector any = selector_any(family);
        if (s->low.family == family && selector_is_subset(&any, s))
            return true;
    }
    return false;
}

static void check_traffic(struct inspection *in)
{
    bool all4 = sends_all(in->conf, 4), all6 = sends_all(in->conf, 6);
    if (all4 != all6)
        warning_add(in->faults, in->conf->file, option_line(in->conf, "traffic", "send"),
                    all4 ? "0.0.0.0/0" : "::/0",
                    all4 ? "add ::/0 to `send` to have IPv6 inside too"
                         : "add 0.0.0.0/0 to `send` to have IPv4 inside too",
                    "only IPv%d goes through the tunnel, IPv%d goes beside it", all4 ? 4 : 6,
                    all4 ? 6 : 4);
}

static void check_algorithms(struct inspection *in)
{
    struct transform weak[CONF_LEGACY];
    size_t count = conf_weak(in->conf, weak);
    char text[256], name[32];
    for (size_t i = 0; i < count; i++) {
        bool ah = weak[i].id == 0, old = suite_legacy(&weak[i]);
        unsigned line = option_line(in->conf, "crypto", ah ? "ah" : old ? "legacy" : "esp");
        suite_print(&weak[i], name);
        warning_add(in->faults, in->conf->file, line, ah ? "ah" : name,
                    "use it only for a peer that has no better", "%s",
                    conf_weak_print(&weak[i], text));
    }
}

static void check_somebody(struct inspection *in)
{
    const struct conf *conf = in->conf;
    bool any = conf->any_cert && conf->tunnel.remote_auth & CONF_AUTH_CERT;
    if (!conf->peer_count && !any)
        fault_add(in->faults, conf->file, option_line(conf, "auth", "any-cert"), NULL,
                  "add [client NAME] sections, or any-cert = yes to [auth]",
                  "nobody could connect: no client is named and any-cert is no");
    if (conf->peer_count)
        note(in, "%zu client%s known by name", conf->peer_count,
             conf->peer_count == 1 ? " is" : "s are");
    if (any)
        note(in, "whoever has a certificate of the authority may connect");
}

int conf_inspect(const struct conf *conf, int64_t now, struct conf_faults *faults,
                 struct conf_notes *notes)
{
    struct inspection in = {conf, now, faults, notes};
    size_t before = faults->count - faults->warnings;
    note(&in, "every line of %.200s reads well", conf->file);
    check_modes(&in);
    if (conf->cert[0] || conf->tunnel.remote_auth & CONF_AUTH_CERT)
        check_credentials(&in);
    check_psks(&in);
    check_algorithms(&in);
    if (conf->gateway) {
        check_networks(&in);
        check_somebody(&in);
    } else if (!conf->tunnel.transport) {
        check_traffic(&in);
    }
    return faults->count - faults->warnings > before ? ERR_CONFIG : 0;
}

int conf_check(const struct conf *conf, int64_t now, struct conf_faults *faults)
{
    return conf_inspect(conf, now, faults, NULL);
}
