/* The options: one row each. The parser, `shrike check`, the commented default files and the help
 * texts come from here. */
#include "conf/internal.h"

#include <string.h>

#define FIELD(member)  .at = offsetof(struct conf, member)
#define TUNNEL(member) FIELD(tunnel.member), .size = sizeof(((struct conf_tunnel *)0)->member)
#define SIZED(member)  FIELD(member), .size = sizeof(((struct conf *)0)->member)
#define PEER(member)   .peer = true, .at = offsetof(struct conf_peer, member)
#define LIST(kind, array, counter, max)                                                            \
    .set = set_list, .item = kind, .at = offsetof(struct conf, array),                             \
    .size = sizeof(((struct conf *)0)->array[0]), .count_at = offsetof(struct conf, counter),      \
    .most = (max)
#define CHILD_LIST(array, counter)                                                                 \
    .child = true, .set = set_list, .item = item_selector,                                         \
    .at = offsetof(struct conf_child, array), .size = sizeof(struct selector),                     \
    .count_at = offsetof(struct conf_child, counter), .most = CONF_SELECTORS
#define G .role = ROLE_GATEWAY
#define C .role = ROLE_CLIENT
#define B .role = ROLE_BOTH

const struct section section_table[] = {
    {"gateway", ROLE_GATEWAY, "This machine: its name, where it listens, how it proves itself."},
    {"tunnel", ROLE_CLIENT, "Where to connect, who we are, and who the gateway must be."},
    {"network", ROLE_GATEWAY, "What clients get: addresses, DNS, and what they may reach."},
    {"auth", ROLE_GATEWAY, "Who may connect."},
    {"traffic", ROLE_CLIENT, "What goes through the tunnel."},
    {"child", ROLE_CLIENT,
     "One section for each child SA beside that of [traffic]: with keys of its "
     "own, and its own choice of what goes through it."},
    {"crypto", ROLE_BOTH, "Algorithms. The defaults are good; most files do not need this."},
    {"life", ROLE_BOTH, "How long keys live, and how a dead peer is noticed."},
    {"log", ROLE_BOTH, "What is written to the log."},
    {"client", ROLE_GATEWAY, "One section for each client that is known by name."},
};
const size_t section_count = ARRAY_LEN(section_table);

const struct option option_table[] = {
    /* ---- gateway ---- */
    {G, .section = "gateway", .key = "name", .set = set_identity, FIELD(tunnel.local_id),
     .live = true, .example = "vpn.example.com",
     .help = "What clients connect to; the certificate must carry it."},
    {G, .section = "gateway", .key = "cert", .set = set_path, FIELD(cert), .live = true,
     .example = "vpn.example.com.pem",
     .help = "Own certificate: PEM (the leaf first, then its chain) or PKCS#12. Relative paths "
             "start at this file's folder."},
    {G, .section = "gateway", .key = "key", .set = set_path, FIELD(key), .live = true,
     .example = "vpn.example.com.key",
     .help = "Its private key, unless it stands in the same file."},
    {G, .section = "gateway", .key = "ca", .set = set_path, FIELD(ca), .live = true,
     .example = "ca.pem", .help = "The authority whose client certificates are accepted."},
    {G, .section = "gateway", .key = "passphrase-file", .set = set_path, FIELD(passphrase_file),
     .example = "gateway.pass", .help = "The passphrase of a PKCS#12 file."},
    {G, .section = "gateway", .key = "listen", .fixed = true,
     LIST(item_listen, listen, listen_count, CONF_LISTEN),
     .fallback = "0.0.0.0, ::", .help = "Addresses to listen on, UDP ports 500 and 4500."},
    {G, .section = "gateway", .key = "outside", .set = set_interface, FIELD(outside),
     .zero = "auto", .fallback = "auto",
     .help = "Interface towards the internet; auto is the one with the default route."},
    {G, .section = "gateway", .key = "interface", .fixed = true, .set = set_interface,
     FIELD(interface), .example = "shrike0", .help = "Name of the TUN device."},
    {G, .section = "gateway", .key = "instance", .fixed = true, .set = set_instance, TUNNEL(name),
     .fallback = "gateway", .help = "Name for `shrike status NAME`, when several gateways run."},
    {G, .section = "gateway", .key = "workers", .fixed = true, .set = set_number, SIZED(workers),
     .low = 1, .high = 64, .zero = "auto", .fallback = "auto",
     .help = "Threads of the data plane; auto is one for each core."},
    {G, .section = "gateway", .key = "max-tunnels", .fixed = true, .set = set_number,
     TUNNEL(max_tunnels), .low = 1, .high = 1000000, .fallback = "20000",
     .help = "At most so many connections, those being set up included."},
    {G, .section = "gateway", .key = "handshakes", .set = set_number, TUNNEL(handshakes), .low = 1,
     .high = 1000000, .zero = "none", .fallback = "20",
     .help =
         "New connections a second that one address (/32 or /64) may begin while it has several "
         "under way or many others do; none: as many as it likes."},
    {G, .section = "gateway", .key = "tell-version", .set = set_yes, FIELD(tunnel.tell_version),
     .fallback = "no", .help = "Tell clients that ask which program and version this is."},
    {G, .section = "gateway", .key = "run-dir", .fixed = true, .set = set_path, FIELD(run_dir),
     .example = "/run/shrike", .help = "Folder of the control socket."},
    {G, .section = "gateway", .key = "state-dir", .fixed = true, .set = set_path, FIELD(state_dir),
     .example = "/var/lib/shrike",
     .help = "Folder of what outlives a restart: the secret that tells peers of a crash."},
    {G, .section = "gateway", .key = "user-ids", .fixed = true, .set = set_number, SIZED(uid_base),
     .low = 1000, .high = 4000000000, .fallback = "64480",
     .help = "First of four user ids that the processes run under; nobody else should have them."},

    /* ---- tunnel ---- */
    {C, .section = "tunnel", .key = "gateway", .fixed = true, .set = set_gateway_host,
     FIELD(remote_host), .live = true, .example = "vpn.example.com",
     .help = "Host or address, with :PORT when it is not 500 and 4500."},
    {C, .section = "tunnel", .key = "identity", .set = set_identity, FIELD(tunnel.local_id),
     .example = "alice@example.com",
     .help = "Who we say we are; from the certificate when left out."},
    {C, .section = "tunnel", .key = "remote-identity", .set = set_identity, FIELD(tunnel.remote_id),
     .example = "vpn.example.com",
     .help = "Who the gateway must prove to be; the gateway's host when left out."},
    {C, .section = "tunnel", .key = "cert", .set = set_path, FIELD(cert), .live = true,
     .example = "alice@example.com.pem",
     .help = "Own certificate: PEM or PKCS#12. Relative paths start at this file's folder."},
    {C, .section = "tunnel", .key = "key", .set = set_path, FIELD(key), .live = true,
     .example = "alice@example.com.key",
     .help = "Its private key, unless it stands in the same file."},
    {C, .section = "tunnel", .key = "ca", .set = set_path, FIELD(ca), .live = true,
     .example = "ca.pem",
     .help = "The authority of the gateway's certificate; the system's roots when left out."},
    {C, .section = "tunnel", .key = "passphrase-file", .set = set_path, FIELD(passphrase_file),
     .example = "alice.pass", .help = "The passphrase of a PKCS#12 file."},
    {C, .section = "tunnel", .key = "psk-file", .set = set_path, FIELD(psk_file),
     .example = "alice.psk",
     .help = "File with a shared secret, instead of a certificate: then without cert and key."},
    {C, .section = "tunnel", .key = "psk", .set = set_psk, SIZED(psk),
     .example = "mimosa-vellum-71-okapi-quartz",
     .help = "The shared secret itself; then this file must have mode 0600."},
    {C, .section = "tunnel", .key = "workers", .fixed = true, .set = set_number, SIZED(workers),
     .low = 1, .high = 64, .zero = "auto", .fallback = "auto",
     .help = "Threads of the data plane; auto is one for each core."},
    {C, .section = "tunnel", .key = "run-dir", .fixed = true, .set = set_path, FIELD(run_dir),
     .example = "/run/shrike", .help = "Folder of the control socket."},
    {C, .section = "tunnel", .key = "state-dir", .fixed = true, .set = set_path, FIELD(state_dir),
     .example = "/var/lib/shrike",
     .help = "Folder of what outlives a restart: the secret that tells peers of a crash."},
    {C, .section = "tunnel", .key = "user-ids", .fixed = true, .set = set_number, SIZED(uid_base),
     .low = 1000, .high = 4000000000, .fallback = "64480",
     .help = "First of four user ids that the processes run under; nobody else should have them."},

    /* ---- network ---- */
    {G, .section = "network", .key = "pool", LIST(item_prefix, pools, pool_count, CONF_POOLS),
     .low = 8, .live = true, .example = "10.99.0.0/16, fd99:5e1f::/64",
     .help = "Addresses for clients; one network for IPv4, one for IPv6."},
    {G, .section = "network", .key = "dns", LIST(item_ip, tunnel.dns, tunnel.dns_count, CONF_DNS),
     .live = true, .example = "9.9.9.9, 2620:fe::fe", .help = "Resolvers that clients are told."},
    {G, .section = "network", .key = "domains",
     LIST(item_domain, tunnel.domains, tunnel.domain_count, CONF_DOMAINS),
     .example = "corp.example.com",
     .help = "Names that these resolvers are for; when left out, all."},
    {G, .section = "network", .key = "routes",
     LIST(item_selector, tunnel.local_ts, tunnel.local_ts_count, CONF_SELECTORS),
     .fallback = "0.0.0.0/0, ::/0", .help = "Networks that clients may reach through the tunnel."},
    {G, .section = "network", .key = "mode", .fixed = true, .set = set_choice, TUNNEL(transport),
     .words = "tunnel transport", .fallback = "tunnel",
     .help = "transport: clients that ask for transport mode get it, for what they and this host "
             "itself have to say to each other (and `routes` allows); the others get a tunnel."},
    {G, .section = "network", .key = "nat", .set = set_nat, .words = "auto yes no",
     .fallback = "auto",
     .help = "Masquerade what leaves by `outside`; auto does it when a pool is private."},
    {G, .section = "network", .key = "mtu", .fixed = true, .set = set_number, SIZED(mtu),
     .low = 1280, .high = 9200, .zero = "auto", .fallback = "auto",
     .help = "MTU inside the tunnels; auto finds what fits."},
    {G, .section = "network", .key = "client-to-client", .set = set_yes, FIELD(client_to_client),
     .fallback = "no", .help = "May clients reach each other?"},

    /* ---- auth ---- */
    {G, .section = "auth", .key = "methods", .set = set_methods, TUNNEL(remote_auth),
     .words = "psk cert", .example = "cert, psk",
     .help = "How clients may prove themselves; when left out, what this file has the means for."},
    {G, .section = "auth", .key = "any-cert", .set = set_yes, FIELD(any_cert), .fallback = "no",
     .live = true, .example = "yes",
     .help = "Is a certificate of `ca` enough, without a [client] section for its identity?"},
    {G, .section = "auth", .key = "unique", .set = set_yes, FIELD(tunnel.unique), .fallback = "yes",
     .help = "A client that comes again replaces its old connection."},
    {G, .section = "auth", .key = "tunnels-per-client", .set = set_number, TUNNEL(per_identity),
     .low = 1, .high = 100000, .zero = "none", .fallback = "64",
     .help = "Connections of one identity at once; one more ends its oldest. Or none: no limit."},
    {G, .section = "auth", .key = "ban", .set = set_duration, TUNNEL(ban), .low = 5, .high = 86400,
     .zero = "never", .fallback = "10m",
     .help = "An address (/32 or /64) that fails to authenticate again and again has to wait, at "
             "each failure 5 s longer, at most so long; never: no wait."},

    /* ---- traffic ---- */
    {C, .section = "traffic", .key = "send", .fixed = true, .set = set_send, .item = item_selector,
     FIELD(tunnel.remote_ts), .size = sizeof(struct selector),
     .count_at = offsetof(struct conf, tunnel.remote_ts_count), .most = CONF_SELECTORS,
     .live = true, .fallback = "0.0.0.0/0, ::/0",
     .help = "Destinations that go through the tunnel, each with a protocol and ports if need be: "
             "10.0.0.0/8[tcp/443], 10.0.0.5[udp/5000-5010], fd00::/8[icmp6], 10.0.0.0/8[47]. What "
             "else goes to these addresses is dropped, not sent beside the tunnel. Or gateway: the "
             "networks that it names, or all when it names none."},
    {C, .section = "traffic", .key = "except", .fixed = true,
     LIST(item_prefix, except, except_count, CONF_SELECTORS), .example = "192.168.0.0/16",
     .help = "Destinations that never do."},
    {C, .section = "traffic", .key = "local", .fixed = true,
     LIST(item_selector, tunnel.local_ts, tunnel.local_ts_count, CONF_SELECTORS),
     .example = "192.168.7.0/24",
     .help = "Networks behind us that the other side may reach (site to site); else only the "
             "address we are given."},
    {C, .section = "traffic", .key = "mode", .fixed = true, .set = set_choice, TUNNEL(transport),
     .words = "tunnel transport", .fallback = "tunnel",
     .help =
         "transport: only what this host and the gateway itself have to say to each other goes "
         "through, under their own addresses, and the gateway must grant it. `send` and `local` "
         "may then name ports: 0.0.0.0/0[tcp/443]; all else between the two goes as it went."},
    {C, .section = "traffic", .key = "children", .fixed = true, .set = set_choice, SIZED(separate),
     .words = "joined separate", .fallback = "joined",
     .help = "joined: one child SA for all of `send`; separate: one for each of its items (and of "
             "`local`), for peers that take no more than a pair."},
    {C, .section = "traffic", .key = "request", .fixed = true, .set = set_request,
     .words = "ip4 ip6", .example = "ip4, ip6",
     .help = "Inner addresses to ask for, or none; when left out both, but none with `local`."},
    {C, .section = "traffic", .key = "dns", .set = set_choice, SIZED(dns_from_gateway),
     .words = "keep gateway", .fallback = "gateway",
     .help = "Use the gateway's resolvers (gateway) or leave DNS alone (keep)."},
    {C, .section = "traffic", .key = "interface", .fixed = true, .set = set_interface,
     FIELD(interface), .example = "office",
     .help = "Name of the TUN device; this file's name when left out."},
    {C, .section = "traffic", .key = "mtu", .fixed = true, .set = set_number, SIZED(mtu),
     .low = 1280, .high = 9200, .zero = "auto", .fallback = "auto",
     .help = "MTU inside the tunnel; auto finds what fits."},

    /* ---- child ---- */
    {C, .section = "child", .key = "send", .fixed = true, CHILD_LIST(remote_ts, remote_ts_count),
     .example = "10.7.0.0/16[tcp/993]", .help = "Destinations that go through this child SA."},
    {C, .section = "child", .key = "local", .fixed = true, CHILD_LIST(local_ts, local_ts_count),
     .example = "192.168.9.0/24",
     .help = "Networks behind us of this child SA; else the address we are given."},

    /* ---- crypto ---- */
    {B, .section = "crypto", .key = "policy", .set = set_choice, TUNNEL(policy),
     .words = "modern nist cnsa2 bsi", .fallback = "modern",
     .help =
         "What may be negotiated at all, and the defaults: modern, or what NIST SP 800-77, CNSA "
         "2.0 or BSI TR-02102-3 allow."},
    {B, .section = "crypto", .key = "ike",
     LIST(item_ike, tunnel.ike, tunnel.ike_count, CONF_PROPOSALS), .zero = "default",
     .fallback = "default",
     .help =
         "Proposals for IKE, such as aes256gcm16-prfsha384-x25519-ke1_mlkem768: ke1_ to ke7_ are "
         "additional key exchanges (RFC 9370), one of several of the same number is done; "
         "ke1_none: or none."},
    {B, .section = "crypto", .key = "pq", .set = set_choice, TUNNEL(pq),
     .words = "prefer require off", .fallback = "prefer",
     .help = "Key exchange that withstands quantum computers, ML-KEM beside a classical one: "
             "prefer: with every peer that can do it; require: no IKE SA without it, nor a key "
             "exchange of a child SA; off: never."},
    {B, .section = "crypto", .key = "esp",
     LIST(item_esp, tunnel.esp, tunnel.esp_count, CONF_PROPOSALS), .zero = "default",
     .fallback = "default", .help = "Proposals for ESP, such as aes256gcm16-x25519-esn."},
    {B, .section = "crypto", .key = "ah", .fixed = true,
     LIST(item_ah, ah, ah_count, CONF_PROPOSALS), .example = "sha256-x25519",
     .help = "Proposals for AH instead of ESP: nothing is encrypted, and no NAT may be between."},
    {B, .section = "crypto", .key = "legacy", LIST(item_legacy, legacy, legacy_count, CONF_LEGACY),
     .example = "3des, sha1, modp1024",
     .help = "Weak or rare algorithms that the proposals may name, for a peer that has no better."},
    {B, .section = "crypto", .key = "pfs", .set = set_yes, FIELD(tunnel.pfs), .fallback = "yes",
     .help = "A fresh key exchange at every rekey."},
    {C, .section = "crypto", .key = "childless", .set = set_yes, FIELD(tunnel.childless),
     .fallback = "no",
     .help =
         "Connect first and make the first child SA by an exchange of its own, so that its keys "
         "hang on nothing else (RFC 6023); one round trip more. Where the gateway cannot, as "
         "always."},
    {B, .section = "crypto", .key = "esn", .set = set_yes, FIELD(tunnel.esn), .fallback = "yes",
     .help = "64-bit sequence numbers."},
    {B, .section = "crypto", .key = "replay-window", .set = set_number, TUNNEL(replay_window),
     .low = 64, .high = 8192, .fallback = "1024",
     .help = "How far packets may come out of order, in packets."},
    {B, .section = "crypto", .key = "tfc", .set = set_tfc, TUNNEL(tfc), .low = 64, .high = 9200,
     .zero = "off", .fallback = "off",
     .help = "Fills the packets that we send up to so many octets, so that their length says less; "
             "mtu: all to one length, that of the tunnel's MTU. It costs what it adds. ESP that "
             "encrypts, in tunnel mode only."},
    {B, .section = "crypto", .key = "dummies", .fixed = true, .set = set_number, TUNNEL(dummies),
     .low = 1, .high = 100, .zero = "off", .fallback = "off",
     .help = "Dummy packets a second, sent while nothing else goes out, so that silence does not "
             "show; best with `tfc`, as they are as long as that says, and where that works."},
    {B, .section = "crypto", .key = "encapsulation", .fixed = true, .set = set_choice,
     TUNNEL(encap), .words = "udp auto", .fallback = "udp",
     .help = "udp: always ESP in UDP, which is faster here; auto: plain ESP when no NAT is "
             "between."},

    {B, .section = "crypto", .key = "fragment", .set = set_number, TUNNEL(fragment), .low = 576,
     .high = 9000, .zero = "no", .fallback = "1280",
     .help = "Larger IKE messages are cut to IP packets of this size; no: left to IP."},

    /* ---- life ---- */
    {B, .section = "life", .key = "ike", .set = set_duration, TUNNEL(ike_lifetime), .low = 10,
     .high = 604800, .fallback = "4h", .help = "An IKE SA is replaced before this."},
    {B, .section = "life", .key = "child", .set = set_duration, TUNNEL(child_lifetime), .low = 10,
     .high = 604800, .fallback = "1h", .help = "Traffic keys are replaced before this."},
    {C, .section = "life", .key = "reauth", .set = set_duration, TUNNEL(reauth), .low = 10,
     .high = 2592000, .zero = "never", .fallback = "never",
     .help =
         "Both sides prove again who they are, without a break; never: when the gateway wants."},
    {B, .section = "life", .key = "child-bytes", .set = set_octets, TUNNEL(child_bytes),
     .low = 1 << 20, .high = 1ULL << 60, .zero = "none", .fallback = "none",
     .help = "And before so many octets; none: the cipher's own limit."},
    {B, .section = "life", .key = "child-packets", .set = set_packets, TUNNEL(child_packets),
     .low = 1000, .high = 1000000000000000000, .zero = "none", .fallback = "none",
     .help = "And before so many packets; none: the cipher's own limit."},
    {B, .section = "life", .key = "dpd", .set = set_duration, TUNNEL(dpd), .low = 2, .high = 3600,
     .zero = "never", .fallback = "10s",
     .help =
         "How long traffic may go out and nothing come back before the peer is asked whether it "
         "is still there, or never."},
    {B, .section = "life", .key = "idle-check", .set = set_duration, TUNNEL(idle_check), .low = 2,
     .high = 86400, .zero = "never", .fallback = "1h",
     .help = "The same where nothing goes either way; each time wakes a phone's radio."},
    {B, .section = "life", .key = "roam", .set = set_yes, TUNNEL(roam), .fallback = "yes",
     .help = "Keep the tunnel when addresses change (MOBIKE), where the other side can do it too."},
    {B, .section = "life", .key = "refuse-nat", .set = set_yes, TUNNEL(refuse_nat),
     .fallback = "no", .help = "End the tunnel where somebody translates addresses on the way."},
    {B, .section = "life", .key = "keepalive", .set = set_duration, TUNNEL(keepalive), .low = 5,
     .high = 600, .zero = "never", .fallback = "20s",
     .help = "Interval that keeps a NAT router's mapping open, or never."},

    /* ---- log ---- */
    {B, .section = "log", .key = "level", .set = set_choice, SIZED(log_level),
     .words = "error warn info debug", .fallback = "info", .help = "error, warn, info or debug."},

    /* ---- client ---- */
    {G, .section = "client", .key = "identity", .set = set_identity, PEER(id),
     .example = "alice@example.com", .help = "Who it is; the section's name when left out."},
    {G, .section = "client", .key = "psk-file", .set = set_path, PEER(psk_file),
     .example = "alice.psk", .help = "File with its shared secret; without one: by certificate."},
    {G, .section = "client", .key = "psk", .set = set_psk, PEER(psk),
     .size = sizeof(((struct conf_peer *)0)->psk), .example = "mimosa-vellum-71-okapi-quartz",
     .help = "The shared secret itself; then this file must have mode 0600."},
    {G, .section = "client", .key = "address", .set = set_addresses, PEER(ip4),
     .example = "10.99.0.7, fd99:5e1f::7", .help = "Its inner addresses; from the pool else."},
    {G, .section = "client", .key = "networks", .peer = true, .set = set_list,
     .item = item_selector, .at = offsetof(struct conf_peer, networks),
     .size = sizeof(struct selector), .count_at = offsetof(struct conf_peer, network_count),
     .most = 4, .example = "192.168.7.0/24",
     .help = "Networks behind it that we may reach (site to site)."},
};
const size_t option_count = ARRAY_LEN(option_table);
_Static_assert(ARRAY_LEN(option_table) <= CONF_OPTIONS_MAX,
               "struct conf keeps a line for each row");
_Static_assert(ARRAY_LEN(section_table) <= 16, "struct parser keeps a line for each section");
_Static_assert(sizeof(struct proposal) < 1024, "the size of a list's item");

const struct option *option_find(const char *section, const char *key, uint8_t role)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        if (o->role & role && !strcmp(o->section, section) && !strcmp(o->key, key))
            return o;
    }
    return NULL;
}

unsigned option_line(const struct conf *conf, const char *section, const char *key)
{
    const struct option *o = option_find(section, key, conf->gateway ? ROLE_GATEWAY : ROLE_CLIENT);
    return o ? conf->lines[option_index(o)] : 0;
}
