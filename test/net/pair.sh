#!/usr/bin/env bash
# Shrike with Shrike: keys and certificates, both families outside and inside, with and without NAT,
# plain ESP, rekeys under traffic, loss, small links, two clients behind one address, networks on
# both sides.
#
#   client 192.168.7.2 -------+
#          2001:db8:7::2      router ------- 198.51.100.1 server    10.20.0.1 and fd20::1 on lo
#   second 192.168.7.3 -------+ (NAT or not) 2001:db8:5::1
#
#   test/net/pair.sh [PART...]     parts: rows plain ah loss small two site lifetime canary

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/shrike.sh"
lab_enter "$@"
shrike_need pair || { lab_summary; exit; }

network()
{
    host client
    host second
    host router
    host server
    wire client eth0 router lan
    wire second eth0 router lan2
    wire router wan server eth0
    addr client eth0 192.168.7.2/24 2001:db8:7::2/64
    addr second eth0 192.168.8.2/24 2001:db8:8::2/64
    addr router lan 192.168.7.1/24 2001:db8:7::1/64
    addr router lan2 192.168.8.1/24 2001:db8:8::1/64
    addr router wan 198.51.100.2/24 2001:db8:5::2/64
    addr server eth0 198.51.100.1/24 2001:db8:5::1/64
    addr server lo 10.20.0.1/32 fd20::1/128
    route client default via 192.168.7.1
    route client default via 2001:db8:7::1
    route second default via 192.168.8.1
    route second default via 2001:db8:8::1
    route server 192.168.0.0/16 via 198.51.100.2
    route server 2001:db8::/32 via 2001:db8:5::2
    forward router
}

INSIDE=10.20.0.0/24,fd20::/64 POOL=10.99.0.0/24,fd99::/64

# configure AUTH OUTSIDE [KEY=VALUE for both ends]
configure()
{
    local auth=$1 outside=$2 at_server=() at_client=()
    shift 2
    if [ "$auth" = cert ]; then
        at_server=(cert="$LAB_DIR/pki/server.example.org.pem" key="$LAB_DIR/pki/server.example.org.key"
            ca="$LAB_DIR/pki/ca.pem" any_cert=yes)
        at_client=(cert="$LAB_DIR/pki/client@example.org.pem" key="$LAB_DIR/pki/client@example.org.key"
            ca="$LAB_DIR/pki/ca.pem")
    else
        at_server=(peer=client@example.org psk="$LAB_PSK")
        at_client=(id=client@example.org psk="$LAB_PSK")
    fi
    shrike_conf server gateway id=server.example.org listen="$outside" pool="$POOL" routes="$INSIDE" \
        "${at_server[@]}" "$@"
    shrike_conf client client remote="$outside" rid=server.example.org send="$INSIDE" "${at_client[@]}" "$@"
}

connect()
{
    shrike_start server && shrike_up client
}

disconnect()
{
    shrike_down client >/dev/null 2>&1
    shrike_stop server
}

# carries LABEL [HOST]: both families answer through the tunnel
carries()
{
    local why='' address
    for address in 10.20.0.1 fd20::1; do
        on "${2:-client}" ping -q -c 3 -i 0.05 -W 2 $address | grep -q ' 3 received' ||
            why="${why:+$why, }no answer from $address"
    done
    if [ -z "$why" ]; then pass "$1"; else fail "$1" "$why"; fi
}

started()
{
    connect >"$LAB_DIR/connect.out" 2>&1 && return 0
    fail "$1" "does not connect: $(tail -n 2 "$LAB_DIR/connect.out" | paste -sd' ')"
    disconnect
    return 1
}

# During a numbered stream either side rekeys; no packet may be missing.
rekeys()
{
    local label=$1 kind by
    for by in client server; do
        for kind in child ike; do
            stream_start s client server 10.20.0.1 7000 2000 1000 2
            sleep 0.7
            shrike_rekey $by $kind >"$LAB_DIR/rekey.out" 2>&1 ||
                fail "$label, $kind rekey by $by" "$(tail -n 1 "$LAB_DIR/rekey.out")"
            stream_intact s "$label, $kind rekey by $by"
        done
    done
}

# Authentication, address outside, NAT between.
rows='
psk   198.51.100.1    nat
psk   198.51.100.1    routed
psk   2001:db8:5::1   routed
cert  198.51.100.1    nat
cert  2001:db8:5::1   nat
'

part_rows()
{
    local auth outside between label
    mkdir -p "$LAB_DIR/pki"
    on server sh -c 'cd "$2" && "$1" pki ca --name "Lab CA" --out . && "$1" pki issue gateway server.example.org --ca . --out . &&
        "$1" pki issue client client@example.org --ca . --out .' pki "$SHRIKE" "$LAB_DIR/pki" >"$(logfile pki)" 2>&1 ||
        fail 'shrike pki' "$(tail -n 1 "$(logfile pki)")"
    while read -r auth outside between; do
        [ -n "$auth" ] || continue
        label="$auth, $outside, $between"
        nat "$between"
        configure "$auth" "$outside"
        sniff router wan row
        if started "$label"; then
            carries "$label"
            rekeys "$label"
            disconnect
        fi
        sniff_stop row || fail "$label: capture" 'has holes'
        is "$label: nothing in the clear" "$(sniff_count row "$LAB_CLEAR")" 0
    done <<<"$rows"
}

# Where no NAT is between and the configuration allows it, ESP goes without UDP.
part_plain()
{
    local outside
    for outside in 198.51.100.1 2001:db8:5::1; do
        nat routed
        configure psk $outside encap=auto
        sniff router wan plain
        if started "plain ESP, $outside"; then
            carries "plain ESP, $outside"
            rekeys "plain ESP, $outside"
            disconnect
        fi
        sniff_stop plain
        is "plain ESP, $outside: it is plain" "$(sniff_count plain "udp port 4500 and not ($LAB_IKE or $LAB_KEEPALIVE)")" 0
        is "plain ESP, $outside: nothing in the clear" "$(sniff_count plain "$LAB_CLEAR")" 0
    done
    nat nat
    configure psk 198.51.100.1 encap=auto
    if started 'encapsulation = auto behind NAT'; then
        carries 'encapsulation = auto behind NAT'
        disconnect
    fi
}

# AH: integrity and no secrecy, the outer header included; where a NAT changes that, it is refused.
part_ah()
{
    local outside esn ah why
    while read -r outside ah esn; do
        nat routed
        configure psk $outside ah=$ah-x25519 esn=$esn
        sniff router wan ah
        if started "AH, $ah, $outside"; then
            carries "AH, $ah, $outside"
            rekeys "AH, $ah, $outside"
            expect "AH, $ah, $outside: ping of 8000 octets" on client ping -q -c 2 -W 2 -s 8000 10.20.0.1
            is "AH, $ah, $outside: status names it" "$(shrike_status server "s['tunnels'][0]['children'][0]['protocol']")" ah
            is "AH, $ah, $outside: nothing refused on arrival" \
                "$(shrike_status server "sum(v for k, v in s['counters']['esp'].items() if k.startswith('drop_in'))")" 0
            disconnect
        fi
        sniff_stop ah
        is "AH, $ah, $outside: nothing beside it" \
            "$(sniff_count ah "not (udp port 500 or $LAB_IKE or ip proto 51 or ip6 proto 51 or $LAB_LINK_TALK)")" 0
    done <<'END'
198.51.100.1 sha256 yes
2001:db8:5::1 sha256 no
198.51.100.1 aes256gmac no
2001:db8:5::1 aes128gmac yes
END
    nat nat
    configure psk 198.51.100.1 ah=sha256
    shrike_start server >/dev/null
    on client timeout 30 "$SHRIKE" up /etc/shrike/peer.conf --wait --timeout 8 >"$LAB_DIR/connect.out" 2>&1
    why=$(grep -o 'AH cannot pass the NAT' "$LAB_DIR/connect.out" | head -n 1)
    is 'AH behind NAT: refused, and why' "$why" 'AH cannot pass the NAT'
    disconnect
}

part_loss()
{
    nat nat
    configure psk 198.51.100.1
    lose router 25
    if started 'a quarter of all packets lost'; then
        pass 'a quarter of all packets lost: connects'
        shrike_rekey client ike >/dev/null 2>&1
        shrike_rekey client child >/dev/null 2>&1
        lose_none router
        wait_for 10 on client ping -c 1 -W 1 10.20.0.1
        carries 'a quarter of all packets lost: carries after both rekeys'
        disconnect
    fi
    lose_none router
}

# A link of 1300 octets on the way: the inner packets must get small by themselves.
part_small()
{
    nat nat
    configure psk 198.51.100.1
    head -c 3000000 /dev/urandom >"$LAB_DIR/small"
    if started 'small link'; then
        spawn server web python3 "$LAB_LIB/web.py" 10.20.0.1 80 "$LAB_DIR"
        wait_for 5 on server curl -s -o /dev/null -r 0-9 http://10.20.0.1/small
        expect 'TCP through the tunnel' on client curl -s --max-time 20 -o "$LAB_DIR/small.got" http://10.20.0.1/small
        expect 'it arrives whole' cmp "$LAB_DIR/small" "$LAB_DIR/small.got"
        expect 'ping of 8000 octets' on client ping -q -c 2 -W 2 -s 8000 10.20.0.1
        if on client ping -q -c 1 -W 2 -M 'do' -s 1472 10.20.0.1 >"$LAB_DIR/df.out" 2>&1; then
            fail 'packet too big' 'a packet larger than the tunnel passed'
        else
            pass 'packet too big is said, not swallowed'
        fi
        at router ip link set wan mtu 1300
        at server ip link set eth0 mtu 1300
        expect 'TCP over a link of 1300 octets' on client curl -s --max-time 30 -o "$LAB_DIR/small.got" http://10.20.0.1/small
        expect 'it arrives whole there too' cmp "$LAB_DIR/small" "$LAB_DIR/small.got"
        at router ip link set wan mtu 1500
        at server ip link set eth0 mtu 1500
        stop web
        disconnect
    fi
}

part_two()
{
    nat nat
    configure psk 198.51.100.1
    printf '[client second@example.org]\npsk = %s\n' "$LAB_PSK" |
        on server sh -c 'cat >>/etc/shrike/shrike.conf'
    shrike_conf second client remote=198.51.100.1 id=second@example.org rid=server.example.org \
        send="$INSIDE" psk="$LAB_PSK"
    if started 'two clients behind one address: first'; then
        expect 'two clients behind one address: second connects' shrike_up second
        carries 'two clients behind one address: the first carries'
        carries 'two clients behind one address: the second carries' second
        shrike_down second >/dev/null 2>&1
        carries 'the first carries after the second has left'
        disconnect
    fi
}

# A network behind either side, no virtual addresses.
part_site()
{
    nat nat
    at client ip addr add 10.30.0.1/32 dev lo
    shrike_conf server gateway id=server.example.org listen=198.51.100.1 routes=10.20.0.0/24 \
        peer=client@example.org psk="$LAB_PSK" networks=10.30.0.0/24
    shrike_conf client client remote=198.51.100.1 id=client@example.org rid=server.example.org \
        send=10.20.0.0/24 local=10.30.0.0/24 psk="$LAB_PSK"
    if started 'site to site'; then
        expect 'site to site: out' on client ping -q -c 2 -W 2 -I 10.30.0.1 10.20.0.1
        expect 'site to site: in' on server ping -q -c 2 -W 2 -I 10.20.0.1 10.30.0.1
        disconnect
    fi
    at client ip addr del 10.30.0.1/32 dev lo
}

# Lifetimes run out several times during a stream.
part_lifetime()
{
    nat nat
    configure psk 198.51.100.1 child_life=12 ike_life=20
    if started 'short lifetimes'; then
        stream_start s client server 10.20.0.1 7000 1000 600 40
        stream_intact s 'short lifetimes: no packet lost in 40 s'
        carries 'short lifetimes: carries after that'
        disconnect
    fi
    configure psk 198.51.100.1 child_packets=5000
    if started 'limit by packets'; then
        stream_start s client server 10.20.0.1 7000 4000 600 6
        stream_intact s 'limit by packets: no packet lost'
        disconnect
    fi
}

# What goes in must not come out on the link, whole packets captured.
part_canary()
{
    nat nat
    configure psk 198.51.100.1
    local word=kestrel-hovers-over-the-stubble
    yes "$word" | head -c 200000 >"$LAB_DIR/canary"
    sniff router wan canary '' 65535
    if started canary; then
        spawn server web python3 "$LAB_LIB/web.py" 10.20.0.1 80 "$LAB_DIR"
        wait_for 5 on server curl -s -o /dev/null -r 0-9 http://10.20.0.1/canary
        expect 'canary: arrives' on client curl -s --max-time 20 -o "$LAB_DIR/canary.got" http://10.20.0.1/canary
        is 'canary: is readable inside' "$(grep -c $word "$LAB_DIR/canary.got")" "$(grep -c $word "$LAB_DIR/canary")"
        stop web
        disconnect
    fi
    sniff_stop canary
    is 'canary: is not readable outside' "$(grep -ac $word "$LAB_DIR/canary.pcap")" 0
}

network
parts=("$@")
[ $# -gt 0 ] || parts=(rows plain ah loss small two site lifetime canary)
for part in "${parts[@]}"; do
    "part_$part"
done
lab_summary
