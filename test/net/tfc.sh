#!/usr/bin/env bash
# Traffic flow confidentiality (RFC 4303 2.6, 2.7): what a listener on the link sees of the length
# and the number of packets. Shrike with Shrike, and with strongSwan 6.1 on either side.
#
#   client 192.168.7.2 ------- router ------- 198.51.100.1 server    10.20.0.1 and fd20::1 on lo
#          virtual 10.99.0.x, fd99::x <=====tunnel=====>
#
#   test/net/tfc.sh [PART...]      parts: own six kernel libre
#
# own: Shrike with itself. six: with strongSwan's user-space data plane, which takes padding off and
# puts none on. kernel: with the kernel's, which does both (tfc_padding). libre: the same by libreswan,
# which can also say that it takes no padding. Where this kernel has no ESP:
# test/net/vm -t 1200 test/net/tfc.sh kernel libre

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/sswan.sh"
. "$LAB_LIB/libre.sh"
. "$LAB_LIB/shrike.sh"
kernel_esp()
{
    [ -n "${SHRIKE_IN_VM:-}" ] || modprobe -q esp4 2>/dev/null
}
[ $$ = 1 ] || [ -z "${SHRIKE_IN_VM:-}" ] ||
    modprobe -aq esp4 esp6 xfrm_user xfrm4_tunnel xfrm6_tunnel tun veth nf_tables nft_chain_nat nft_masq
lab_enter "$@"
shrike_need tfc || { lab_summary; exit; }

INSIDE=10.20.0.0/24,fd20::/64 POOL=10.99.0.0/24 POOL6=fd99::/64
CLIENT=192.168.7.2 SERVER=198.51.100.1
ESP=aes256gcm16-x25519-noesn

lab_number=0
# network CLIENT-KIND SERVER-KIND: own, a root of strongSwan, or libre. No card makes super-packets, so that
# the sniffer sees each packet.
network()
{
    lab_number=$((lab_number + 1))
    client=client$lab_number server=server$lab_number router=router$lab_number
    case $1 in own) host $client ;; libre) libre_host $client libre ;; *) sswan_host $client "$1" ;; esac
    case $2 in own) host $server ;; libre) libre_host $server libre ;; *) sswan_host $server "$2" ;; esac
    host $router
    wire $client eth0 $router lan
    wire $router wan $server eth0
    addr $client eth0 $CLIENT/24
    addr $router lan 192.168.7.1/24
    addr $router wan 198.51.100.2/24
    addr $server eth0 $SERVER/24
    addr $server lo 10.20.0.1/32 fd20::1/128
    route $client default via 192.168.7.1
    route $server 192.168.7.0/24 via 198.51.100.2
    forward $router
    local end
    for end in $client:eth0 $server:eth0 $router:lan $router:wan; do plain_link ${end%:*} ${end#*:}; done
}

shrike_server()
{
    shrike_conf $server gateway id=server.example.org listen=$SERVER pool=$POOL,$POOL6 routes="$INSIDE" \
        peer=client@example.org psk="$LAB_PSK" esp=$ESP "$@" && shrike_start $server
}

shrike_client()
{
    shrike_conf $client client remote=$SERVER id=client@example.org rid=server.example.org \
        send="$INSIDE" psk="$LAB_PSK" esp=$ESP "$@"
}

# began LABEL: the command before it made the tunnel
began()
{
    [ "$2" = 0 ] && return 0
    fail "$1" "does not connect: $(tail -n 2 "$LAB_DIR/connect.out" | paste -sd' ')"
    return 1
}

# Packets of many lengths both ways, and a stream.
traffic()
{
    local size address
    stream_start s $client $server 10.20.0.1 7000 400 900 2
    stream_intact s "$1: a stream, no packet lost"
    for address in 10.20.0.1 fd20::1; do
        for size in 1 100 700 1200 4000; do
            on $client ping -q -c 2 -i 0.05 -W 3 -s $size $address >"$LAB_DIR/ping.out" ||
                fail "$1: ping of $size octets to $address" "$(grep loss "$LAB_DIR/ping.out")"
        done
    done
}

# TCP, whose super-packets are cut and padded one by one; for hosts with curl.
download()
{
    spawn $server web python3 "$LAB_LIB/web.py" 10.20.0.1 80 "$LAB_DIR"
    wait_for 20 on $server curl -s -o /dev/null -r 0-9 http://10.20.0.1/blob
    expect "$1: TCP" on $client curl -s --max-time 60 -o "$LAB_DIR/blob.got" http://10.20.0.1/blob
    expect "$1: it arrives whole" cmp "$LAB_DIR/blob" "$LAB_DIR/blob.got"
    stop web
}

# one_length LABEL CAPTURE SENDER [FILTER]
one_length()
{
    local lengths
    lengths=$(sniff_lengths "$2" "($LAB_ESP) and src $3 ${4:-}")
    if [[ $lengths = *[0-9]* && $lengths != *' '* ]]; then pass "$1: $lengths"; else fail "$1" "lengths ${lengths:-none}"; fi
}

# many_lengths LABEL CAPTURE SENDER: to know that the sniffer would see them.
many_lengths()
{
    local lengths
    lengths=$(sniff_lengths "$2" "($LAB_ESP) and src $3")
    expect "$1" [ "$(wc -w <<<"$lengths")" -ge 5 ]
}

counter()
{
    shrike_status "$1" "s['counters']['esp'].get('$2', 0)"
}

part_own()
{
    local count
    network own own
    shrike_server tfc=mtu >"$LAB_DIR/connect.out" 2>&1
    shrike_client
    shrike_up $client >>"$LAB_DIR/connect.out" 2>&1
    if began 'tfc = mtu' $?; then
        sniff $router wan own
        traffic 'tfc = mtu on one side'
        download 'tfc = mtu on one side'
        sniff_stop own || fail capture 'has holes'
        one_length 'tfc = mtu: all that the gateway sends has one length' own $SERVER
        many_lengths 'without: the client sends what comes' own $CLIENT
        is 'nothing refused on arrival' "$(shrike_status $client "sum(v for k, v in s['counters']['esp'].items() if k.startswith('drop_in'))")" 0
    fi
    shrike_down $client >/dev/null 2>&1
    # At least 500 octets, and dummies in silence.
    shrike_stop $server
    shrike_server tfc=500 dummies=20 >"$LAB_DIR/connect.out" 2>&1
    shrike_client tfc=mtu
    shrike_up $client >>"$LAB_DIR/connect.out" 2>&1
    if began 'dummies = 20' $?; then
        sniff $router wan least
        on $client ping -q -c 20 -i 0.02 -W 2 -s 200 10.20.0.1 >"$LAB_DIR/ping.out"
        grep -q ' 20 received' "$LAB_DIR/ping.out" || fail 'pings among dummies' "$(grep loss "$LAB_DIR/ping.out")"
        sleep 5
        sniff_stop least || fail capture 'has holes'
        one_length 'tfc = 500: pings and dummies have one length' least $SERVER
        one_length 'tfc = mtu of the client' least $CLIENT
        count=$(sniff_count least "($LAB_ESP) and src $SERVER")
        expect "dummies = 20: packets in silence ($count)" [ "$count" -ge 80 ]
        expect 'dummies are counted' [ "$(counter $server out_dummies)" -ge 60 ]
        expect 'and dropped at the other end' [ "$(counter $client drop_in_dummy)" -ge 60 ]
        is 'no dummies where none are asked for' "$(counter $client out_dummies)" 0
        on $client ping -q -c 5 -i 0.2 -W 2 fd20::1 >"$LAB_DIR/ping.out"
        expect 'a rekey of the child among dummies' shrike_rekey $server child
        on $client ping -q -c 5 -i 0.1 -W 2 10.20.0.1 >"$LAB_DIR/ping.out"
        expect 'and pings after it' grep -q ' 5 received' "$LAB_DIR/ping.out"
    fi
    shrike_down $client >/dev/null 2>&1
    shrike_stop $server
}

# strongswan ROLE KIND CHILDMORE: both ends up; ROLE is Shrike's
strongswan()
{
    if [ "$1" = initiator ]; then
        network own six
        sswan_conf $server local=$SERVER id=server.example.org rid=client@example.org lts=$INSIDE \
            pool=$POOL pool6=$POOL6 psk="$LAB_PSK" esp=aes256gcm16-x25519-noesn childmore="$3" &&
            sswan_start $server || return
        shrike_client tfc=mtu dummies=10
        shrike_up $client
    else
        network six own
        shrike_server tfc=mtu dummies=10 || return
        sswan_conf $client remote=$SERVER id=client@example.org rid=server.example.org vips=0.0.0.0,:: \
            rts=$INSIDE psk="$LAB_PSK" esp=aes256gcm16-x25519-noesn childmore="$3" &&
            sswan_start $client && sswan_up $client
    fi
}

# with_strongswan KIND CHILDMORE
with_strongswan()
{
    local role own ours theirs label count
    root_ready six || { skip "strongSwan, $1" 'no root: test/net/roots.sh'; return; }
    for role in initiator responder; do
        label="strongSwan, $1, as $role"
        strongswan $role "$@" >"$LAB_DIR/connect.out" 2>&1
        began "$label" $? || continue
        own=$client ours=$CLIENT theirs=$SERVER
        [ $role = initiator ] || own=$server ours=$SERVER theirs=$CLIENT
        sniff $router wan "$1-$role"
        sleep 3
        traffic "$label"
        sniff_stop "$1-$role" || fail capture 'has holes'
        one_length "$label: all that we send has one length" "$1-$role" $ours
        # The kernel makes one ESP packet of a datagram that is too large, and cuts that.
        [ -z "$2" ] || one_length "$label: and all that it sends, but for what it cuts" "$1-$role" $theirs 'and ip[6:2] & 0x3fff == 0'
        expect "$label: dummies were among it" [ "$(counter $own out_dummies)" -ge 10 ]
        is "$label: nothing refused on arrival" \
            "$(shrike_status $own "sum(v for k, v in s['counters']['esp'].items() if k.startswith('drop_in'))")" 0
        shrike_down $client >/dev/null 2>&1
        sswan_stop $client 2>/dev/null
        sswan_stop $server 2>/dev/null
        shrike_stop $server 2>/dev/null
    done
}

part_six()
{
    with_strongswan user-space ''
}

part_kernel()
{
    if ! kernel_esp; then
        skip 'strongSwan, kernel' 'this kernel has no ESP: test/net/vm test/net/tfc.sh kernel'
        return
    fi
    SSWAN_PLUGINS=${sswan_plugins/kernel-libipsec/}
    with_strongswan kernel 'tfc_padding = mtu'
    SSWAN_PLUGINS=
}

# libreswan ROLE WORDS: both ends up, ROLE is Shrike's; WORDS for libreswan
libreswan()
{
    local words=(ike=aes256gcm16-prfsha256-x25519 esp=aes256gcm16-x25519 psk="$LAB_PSK" more="$2")
    if [ "$1" = initiator ]; then
        network own libre
        addr $client lo 10.30.0.1/32
        route $server 10.30.0.0/24 via 198.51.100.2
        libre_conf $server local=$SERVER id=server.example.org rid=client@example.org lts=10.20.0.0/24 rts=10.30.0.0/24 "${words[@]}" &&
            libre_start $server || return
        shrike_client tfc=mtu send=10.20.0.0/24 local=10.30.0.0/24
        shrike_up $client
    else
        network libre own
        addr $client lo 10.30.0.1/32
        shrike_server tfc=mtu networks=10.30.0.0/24 routes=10.20.0.0/24 pool= || return
        libre_conf $client local=$CLIENT remote=$SERVER id=client@example.org rid=server.example.org lts=10.30.0.0/24 rts=10.20.0.0/24 "${words[@]}" &&
            libre_start $client && libre_up $client
    fi
}

# with_libreswan ROLE yes|no: does it say that it takes no padding? It pads itself in both cases.
with_libreswan()
{
    local label="libreswan, padding not supported: $2, as $1" ours=$CLIENT theirs=$SERVER own size
    libreswan "$1" "tfc=1300 send-no-esp-tfc=$2" >"$LAB_DIR/connect.out" 2>&1
    began "$label" $? || return
    own=$client
    [ "$1" = initiator ] || own=$server ours=$SERVER theirs=$CLIENT
    sniff $router wan "libre-$1-$2"
    for size in 1 100 400 700 1100; do
        on $client ping -q -c 2 -i 0.05 -W 5 -s $size -I 10.30.0.1 10.20.0.1 >"$LAB_DIR/ping.out" ||
            fail "$label: ping of $size octets" "$(grep loss "$LAB_DIR/ping.out")"
    done
    sniff_stop "libre-$1-$2" || fail capture 'has holes'
    one_length "$label: all that it sends has one length" "libre-$1-$2" $theirs
    if [ "$2" = yes ]; then
        many_lengths "$label: and we pad nothing" "libre-$1-$2" $ours
    else
        one_length "$label: and so has what we send" "libre-$1-$2" $ours
    fi
    is "$label: nothing refused on arrival" \
        "$(shrike_status $own "sum(v for k, v in s['counters']['esp'].items() if k.startswith('drop_in'))")" 0
    shrike_down $client >/dev/null 2>&1
    libre_stop $client 2>/dev/null
    libre_stop $server 2>/dev/null
    shrike_stop $server 2>/dev/null
}

part_libre()
{
    local role said
    if ! kernel_esp; then
        skip libreswan 'this kernel has no ESP: test/net/vm test/net/tfc.sh libre'
        return
    fi
    root_ready libre || { skip libreswan 'no root: test/net/roots.sh libre'; return; }
    for role in initiator responder; do
        for said in yes no; do with_libreswan $role $said; done
    done
}

head -c 300000 /dev/urandom >"$LAB_DIR/blob"
parts=("$@")
[ $# -gt 0 ] || parts=(own six kernel libre)
for part in "${parts[@]}"; do
    "part_$part"
done
lab_summary
