#!/usr/bin/env bash
# IKE messages larger than a packet (RFC 7383): with large certificates both ways, no IP fragment is
# on the wire, and where a router drops IP fragments the tunnel comes up all the same.
#
#   client 192.168.7.2 ------- router ------- 198.51.100.1 server    10.20.0.1 and fd20::1 on lo
#          2001:db8:7::2        (NAT)         2001:db8:5::1
#
#   test/net/fragments.sh [shrike|six|five]

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/sswan.sh"
. "$LAB_LIB/shrike.sh"
lab_enter "$@"
. "$LAB_LIB/pki.sh"
shrike_need fragments || { lab_summary; exit; }

only=${1:-}
IP_FRAGMENT='(ip and ip[6:2] & 0x3fff != 0) or (ip6 and ip6[6] == 44)'
# Port 4500, the marker, and in the header of IKE the payload SKF.
SKF='udp port 4500 and ((ip and udp[8:4] == 0 and udp[28] == 53)
    or (ip6 and ip6[48:4] == 0 and ip6[68] == 53))'

# Hosts client and server of a kind each: shrike, six or five.
lab_number=0 row_number=0
network()
{
    lab_number=$((lab_number + 1))
    client=client$lab_number server=server$lab_number router=router$lab_number
    client_kind=$1 server_kind=$2
    make_host "$client" "$1" && make_host "$server" "$2" || return
    host $router
    road $client $router $server
    masquerade $router wan
}

make_host()
{
    if [ "$2" = shrike ]; then host "$1"; else sswan_host "$1" "$2"; fi
}

# configure OUTSIDE [KEY=VALUE for both shrikes]
configure()
{
    local outside=$1
    shift
    local inside=10.20.0.0/24,fd20::/64 pool=10.99.0.0/24 pool6=fd99::/64
    if [ "$client_kind" = shrike ]; then
        shrike_conf $client client remote="$outside" id=client@example.org rid=server.example.org \
            send=$inside cert="$PKI/client.pem" key="$PKI/client.key" ca="$PKI/ca.pem" "$@"
    else
        sswan_cert $client "$PKI/client.pem" "$PKI/client.key" "$PKI/ca.pem"
        sswan_conf $client auth=pubkey cert=cert.pem remote="$outside" id=client@example.org \
            rid=server.example.org vips=0.0.0.0,:: rts=$inside
    fi
    if [ "$server_kind" = shrike ]; then
        shrike_conf $server gateway listen="$outside" id=server.example.org pool=$pool,$pool6 \
            routes=$inside cert="$PKI/server.pem" key="$PKI/server.key" ca="$PKI/ca.pem" \
            any_cert=yes "$@"
    else
        sswan_cert $server "$PKI/server.pem" "$PKI/server.key" "$PKI/ca.pem"
        sswan_conf $server auth=pubkey cert=cert.pem local="$outside" id=server.example.org \
            rid=client@example.org lts=$inside pool=$pool pool6=$pool6
    fi
}

up()
{
    if [ "$server_kind" = shrike ]; then shrike_start $server; else sswan_start $server; fi || return
    if [ "$client_kind" = shrike ]; then
        shrike_up $client
    else
        sswan_start $client && sswan_up $client
    fi
}

down()
{
    if [ "$client_kind" = shrike ]; then
        shrike_down $client >/dev/null 2>&1
    else
        sswan_down $client
        sswan_stop $client
    fi
    if [ "$server_kind" = shrike ]; then shrike_stop $server; else sswan_stop $server; fi
}

drop_larger_than()
{
    at $router nft -f - <<END
table inet no_large {
    chain before {
        type filter hook prerouting priority -500;
        meta length > $1 udp dport { 500, 4500 } counter drop
        meta length > $1 udp sport { 500, 4500 } counter drop
    }
}
END
}

count()
{
    sniff_count "$1" "($2)${3:+ and ($3)}"
}

# row NAME OUTSIDE [KEY=VALUE...]: up, and what was on the wire
row()
{
    local name=$1 outside=$2 from_client from_server whole wire
    shift 2
    row_number=$((row_number + 1))
    wire=row$row_number
    configure "$outside" "$@"
    sniff $router lan $wire || { fail "$name" 'no sniffer'; return; }
    if ! up >"$LAB_DIR/log/row.log" 2>&1; then
        fail "$name" "$(tail -n 2 "$LAB_DIR/log/row.log" | paste -sd' ')"
        sniff_stop $wire
        down
        return
    fi
    on $client ping -c 1 -W 2 10.20.0.1 >/dev/null 2>&1 || fail "$name" 'no ping'
    sniff_stop $wire || fail "$name" 'the sniffer lost packets'
    down
    whole=$(count $wire "$IP_FRAGMENT")
    from_client=$(count $wire "$SKF" 'dst port 4500')
    from_server=$(count $wire "$SKF" 'src port 4500 and not dst port 4500')
    # Without NAT the client is at port 4500 too.
    [ "$client_kind" = shrike ] || {
        from_client=$(count $wire "$SKF" "not src host $outside")
        from_server=$(count $wire "$SKF" "src host $outside")
    }
    if [ "$whole" = 0 ] && [ "$from_client" -gt 1 ] && [ "$from_server" -gt 1 ]; then
        pass "$name: $from_client and $from_server fragments of IKE, none of IP"
    else
        fail "$name" "$whole IP fragments, $from_client and $from_server of IKE"
    fi
}

# The control: what the rows above would see if nothing was cut.
without_cutting()
{
    configure 198.51.100.1 fragment=no
    sniff $router lan wire-control
    up >"$LAB_DIR/log/row.log" 2>&1 || fail 'without cutting' 'does not come up'
    sniff_stop wire-control
    down
    expect 'control: fragment = no leaves it to IP' true "$(
        [ "$(count wire-control "$IP_FRAGMENT")" -gt 0 ] && [ "$(count wire-control "$SKF")" = 0 ] &&
            echo true)"
    lose_fragments $router
    shrike_start $server
    if on $client timeout 6 "$SHRIKE" up /etc/shrike/peer.conf --wait >/dev/null 2>&1; then
        fail 'control: fragment = no' 'came up where IP fragments are dropped'
    else
        pass 'control: and then no tunnel comes up where IP fragments are dropped'
    fi
    down
}

# 150 names make a certificate of about 6 kB.
names=
for ((i = 100; i < 250; i++)); do names=$names,DNS:a-name-to-make-it-large-$i.example.org; done
pki_ca ca rsa3072
pki_cert ca client rsa2048 "email:client@example.org$names"
pki_cert ca server rsa2048 "DNS:server.example.org$names"

for pair in 'shrike shrike' 'shrike six' 'six shrike' 'shrike five' 'five shrike'; do
    read -r from to <<<"$pair"
    kind=$from
    [ "$from" = shrike ] && kind=$to
    [ -z "$only" ] || [ "$only" = "$kind" ] || continue
    network "$from" "$to" || { skip "$pair" 'no root for it'; continue; }
    row "$from to $to, IPv4" 198.51.100.1
    row "$from to $to, IPv6" 2001:db8:5::1
    lose_fragments $router
    row "$from to $to, IPv4 without IP fragments" 198.51.100.1
    row "$from to $to, IPv6 without IP fragments" 2001:db8:5::1
done

if [ -z "$only" ] || [ "$only" = shrike ]; then
    network shrike shrike
    without_cutting
    network shrike shrike
    drop_larger_than 700
    row 'shrike to shrike, a path that silently drops more than 700 octets' 198.51.100.1
fi
lab_summary
