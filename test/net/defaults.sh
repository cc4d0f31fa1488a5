#!/usr/bin/env bash
# Defaults with defaults: neither Shrike nor libreswan 5.2 is told a proposal. libreswan knows of no additional
# key exchanges (RFC 9370), with which our offer begins: it must take what follows, whoever begins.
#
#   client 192.0.2.2 ------- 192.0.2.1 server
#   10.30.0.1 on lo          10.20.0.1 on lo
#
#   test/net/defaults.sh [initiator|responder [PATTERN]]     Shrike's role, and which rows
#
# libreswan's child SAs are the kernel's. libre_esp.py stands in for one that has no ESP; it answers
# pings and sends none, so all pings are Shrike's.

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/libre.sh"
. "$LAB_LIB/shrike.sh"
lab_enter "$@"
shrike_need defaults || { lab_summary; exit; }
only_role=${1:-} only_row=${2:-*}

# The first datagram cannot be cut (RFC 7383 2.5): it has to pass where IPv6 passes, 1280 less IPv6 and UDP.
SMALL=1232

# name; our pq; what libreswan is told: ike, a line of its conn, a line of "config setup"
#   intermediate    it says that it knows IKE_INTERMEDIATE. As initiator it holds one, with nothing in it; as
#                   responder it takes our AUTH only if we have held one, and we have no use for it
#   off             what we then advise
#   largest         our largest first message: it wants a cookie, and another group than we guessed
rows='
plain         -    -                               -                 -
intermediate  -    -                               intermediate=yes  -
off           off  -                               intermediate=yes  -
largest       -    aes256gcm16-prfsha512-modp4096  -                 ddos-mode=busy
'

# network ROLE: a pair of hosts, $us and $them
network()
{
    client=client_$1 server=server_$1
    if [ "$1" = initiator ]; then
        us=$client them=$server
        host $client
        libre_host $server libre || return
    else
        us=$server them=$client
        libre_host $client libre || return
        host $server
    fi
    wire $client eth0 $server eth0
    addr $client eth0 192.0.2.2/24
    addr $server eth0 192.0.2.1/24
    addr $client lo 10.30.0.1/32
    addr $server lo 10.20.0.1/32
    route $client default via 192.0.2.1
    route $server default via 192.0.2.2
    modprobe -qn esp4 2>/dev/null && modprobe -q esp4 2>/dev/null || libre_without_esp $them "$(address_of $them)"
}

address_of()
{
    if [ "$1" = "$client" ]; then echo 192.0.2.2; else echo 192.0.2.1; fi
}

# configure ROLE PQ IKE CONN SETUP
configure()
{
    local told=(local="$(address_of $them)" remote="$(address_of $us)" psk="$LAB_PSK" ike="${3#-}" setup="${5#-}")
    told+=(more="leftupdown=%disabled ${4#-}")
    if [ "$1" = initiator ]; then
        shrike_conf $client client remote=192.0.2.1 id=client@example.org rid=server.example.org \
            local=10.30.0.0/24 send=10.20.0.0/24 psk="$LAB_PSK" encap=auto pq="${2#-}"
        libre_conf $server id=server.example.org rid=client@example.org lts=10.20.0.0/24 rts=10.30.0.0/24 "${told[@]}"
    else
        shrike_conf $server gateway listen=192.0.2.1 id=server.example.org routes=10.20.0.0/24 \
            peer=client@example.org networks=10.30.0.0/24 psk="$LAB_PSK" encap=auto pq="${2#-}"
        libre_conf $client id=client@example.org rid=server.example.org lts=10.30.0.0/24 rts=10.20.0.0/24 "${told[@]}"
    fi
}

connect()
{
    libre_start $them || return
    if [ "$1" = initiator ]; then
        shrike_up $client
    else
        shrike_start $server && libre_up $client
    fi
}

disconnect()
{
    if [ "$1" = initiator ]; then
        shrike_down $client
    else
        libre_down $client
        shrike_stop $server
    fi >/dev/null 2>&1
    libre_stop $them
}

carries()
{
    local from=10.30.0.1 to=10.20.0.1
    [ $us = $client ] || from=10.20.0.1 to=10.30.0.1
    expect "$1" on $us ping -q -c 3 -i 0.1 -W 3 -I $from $to
}

# Both kinds, by either side; libreswan takes a second to remove the old one.
rekeys()
{
    local kind
    for kind in child ike; do
        expect "$1, $kind rekey by shrike" shrike_rekey $us $kind
        wait_for 5 one_each || fail "$1, $kind rekey by shrike" "libreswan has $(libre_count $them)"
        carries "$1, $kind rekey by shrike, carries"
        expect "$1, $kind rekey by libreswan" libre_rekey $them $kind
        wait_for 5 one_each || fail "$1, $kind rekey by libreswan" "libreswan has $(libre_count $them)"
        carries "$1, $kind rekey by libreswan, carries"
    done
}

one_each()
{
    [ "$(libre_count $them)" = '1 1' ]
}

# The largest of our IKE_SA_INIT messages (exchange type 34), as UDP payload.
first_length()
{
    tcpdump -n -v -r "$LAB_DIR/$1.pcap" "udp port 500 and src $(address_of $us) and udp[26] = 34" 2>/dev/null |
        sed -n 's/.*proto UDP.*length \([0-9]*\).*/\1/p' | awk '$1 - 28 > most {most = $1 - 28} END {print most + 0}'
}

first_is_small()
{
    local most
    most=$(first_length "$1")
    if [ "$most" = 0 ] || [ "$most" -gt $SMALL ]; then
        fail "$2: our IKE_SA_INIT fits" "$most octets"
    else
        pass "$2: our IKE_SA_INIT fits: $most octets"
    fi
}

# We say what it may be when libreswan does not take our AUTH.
refused_with_advice()
{
    grep -q 'AUTHENTICATION_FAILED.*intermediate=yes.*pq = off' "$(logfile $client-up)"
}

# row ROLE NAME PQ IKE CONN SETUP
row()
{
    local role=$1 name=$2 label="$1, $2"
    configure "$role" "$3" "$4" "$5" "$6"
    sniff $us eth0 "$role-$name" udp
    connect "$role" >"$LAB_DIR/connect.out" 2>&1
    if [ "$role-$name" = initiator-intermediate ]; then
        expect "$label: refused, with advice" refused_with_advice
    elif has_tunnel; then
        carries "$label: connects"
        is "$label: no ML-KEM" "$(shrike_status $us "'mlkem' in s['tunnels'][0]['suite']")" False
        [ "$name" != plain ] || rekeys "$label"
    else
        fail "$label: connects" "$(tail -n 2 "$LAB_DIR/connect.out" | paste -sd' ')"
    fi
    disconnect "$role"
    sniff_stop "$role-$name" || fail "$label: capture" 'has holes'
    first_is_small "$role-$name" "$label"
}

has_tunnel()
{
    [ "$(shrike_status $us "len(s['tunnels'][0]['children'])" 2>/dev/null)" = 1 ] && one_each
}

if root_ready libre; then
    for role in initiator responder; do
        [ -z "$only_role" ] || [ "$only_role" = $role ] || continue
        network $role || { fail "$role: network" 'not to be had'; continue; }
        while read -r name pq ike conn setup; do
            # shellcheck disable=SC2254 # the pattern is one
            case $name in '') continue ;; $only_row) row $role "$name" "$pq" "$ike" "$conn" "$setup" </dev/null ;; esac
        done <<<"$rows"
    done
else
    skip 'libreswan 5.2' 'no root: test/net/roots.sh libre'
fi
lab_summary
