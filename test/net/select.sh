#!/usr/bin/env bash
# What is negotiated for child SAs, with real traffic: IPv4, IPv6 and both inside either family
# outside; several child SAs with protocols and ports. Shrike with Shrike, and both ways round with
# strongSwan 6.1.
#
#   client 192.168.7.2 ------- router ------- 198.51.100.1 server    10.20.0.1 and fd20::1 on lo
#          2001:db8:7::2                      2001:db8:5::1
#
#   test/net/select.sh [shrike|gateway|client [families|children|separate]]
#
# "gateway" and "client" say which end strongSwan is.

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/sswan.sh"
. "$LAB_LIB/shrike.sh"
lab_enter "$@"
shrike_need select || { lab_summary; exit; }

IKE=aes256gcm16-prfsha256-x25519 ESP=aes256gcm16-x25519
POOL4=10.99.0.0/24 POOL6=fd99::/64

lab_number=0
# network WITH: hosts $client, $router and $server; strongSwan is where WITH says
network()
{
    lab_number=$((lab_number + 1))
    client=client$lab_number server=server$lab_number router=router$lab_number
    if [ "$1" = client ]; then sswan_host $client six; else host $client; fi
    if [ "$1" = gateway ]; then sswan_host $server six; else host $server; fi
    host $router
    road $client $router $server
    route $server 192.168.0.0/16 via 198.51.100.2
}

# configure WITH OUTSIDE INSIDE SEND: INSIDE is the kinds of inner addresses, as `request` has them
configure()
{
    local with=$1 outside=$2 inside=$3 send=$4 vips=
    case $inside in
    ip4) vips=0.0.0.0 ;;
    ip6) vips=:: ;;
    *) vips=0.0.0.0,:: ;;
    esac
    if [ "$with" = gateway ]; then
        sswan_conf $server local="$outside" id=server.example.org rid=client@example.org \
            lts="$send" pool=$POOL4 pool6=$POOL6 ike=$IKE esp=$ESP psk="$LAB_PSK"
    else
        shrike_conf $server gateway listen="$outside" id=server.example.org pool=$POOL4,$POOL6 \
            routes="$send" ike=$IKE esp=$ESP psk="$LAB_PSK" peer=client@example.org
    fi
    if [ "$with" = client ]; then
        sswan_conf $client remote="$outside" id=client@example.org rid=server.example.org \
            vips=$vips rts="$send" ike=$IKE esp=$ESP psk="$LAB_PSK"
    else
        shrike_conf $client client remote="$outside" id=client@example.org \
            rid=server.example.org request="$inside" send="$send" ike=$IKE esp=$ESP psk="$LAB_PSK"
    fi
}

connect()
{
    if [ "$1" = gateway ]; then sswan_start $server; else shrike_start $server; fi || return
    if [ "$1" = client ]; then sswan_start $client && sswan_up $client; else shrike_up $client; fi
}

disconnect()
{
    if [ "$1" = client ]; then
        sswan_down $client
        sswan_stop $client
    else
        shrike_down $client >/dev/null 2>&1
    fi
    if [ "$1" = gateway ]; then sswan_stop $server; else shrike_stop $server; fi
}

# started WITH LABEL
started()
{
    connect "$1" >"$LAB_DIR/connect.out" 2>&1 && return 0
    fail "$2" "does not connect: $(tail -n 2 "$LAB_DIR/connect.out" | paste -sd' ')"
    disconnect "$1"
    return 1
}

answers()
{
    on $client ping -q -c 2 -i 0.05 -W 2 "$1" 2>/dev/null | grep -q ' 2 received'
}

# ---- families

# both_ways LABEL ADDRESS WANTED: whether the address behind the server answers is as it should be
reaches()
{
    if answers "$2"; then is "$1: $2 answers" yes "$3"; else is "$1: $2 answers" no "$3"; fi
}

part_families()
{
    local with=$1 outside inside send label
    for outside in 198.51.100.1 2001:db8:5::1; do
        for inside in ip4 ip6 ip4,ip6; do
            label="$with: $inside in $outside"
            case $inside in
            ip4) send=10.20.0.0/24 ;;
            ip6) send=fd20::/64 ;;
            *) send=10.20.0.0/24,fd20::/64 ;;
            esac
            configure "$with" $outside $inside $send
            sniff $router wan families
            if started "$with" "$label"; then
                reaches "$label" 10.20.0.1 "$([[ $inside = *ip4* ]] && echo yes || echo no)"
                reaches "$label" fd20::1 "$([[ $inside = *ip6* ]] && echo yes || echo no)"
                disconnect "$with"
            fi
            sniff_stop families
            is "$label: what was meant for the tunnel is not in the clear" \
                "$(sniff_count families "$LAB_CLEAR and (net 10.99.0.0/24 or net fd99::/64)")" 0
        done
    done
}

# ---- children

# Web servers on 10.20.0.1, with the python of this machine: a root has none.
serve()
{
    local port
    for port in 80 81; do
        (exec nsenter -t "${HOST_PID[$server]}" --net -- \
            python3 "$LAB_LIB/web.py" 10.20.0.1 $port "$LAB_DIR") >"$(logfile web$port)" 2>&1 </dev/null &
        SPAWN_PID[web$port]=$!
        wait_for 20 at $server curl -s -o /dev/null "http://10.20.0.1:$port/word" ||
            fail "web server on port $port" "$(tail -n 1 "$(logfile web$port)")"
    done
}

gets()
{
    at $client curl -s --max-time 3 "http://10.20.0.1:$1/word" 2>/dev/null | grep -q kestrel
}

child_volume()
{
    shrike_status $client "[c['out_packets'] for c in s['tunnels'][0]['children'] if c.get('name', '') == '$1'][0]"
}

part_children()
{
    local with=$1 label="$1: children" before
    [ "$with" != client ] || return 0
    echo kestrel >"$LAB_DIR/word"
    configure "$with" 198.51.100.1 ip4 '10.20.0.1/32'
    shrike_conf $client client remote=198.51.100.1 id=client@example.org rid=server.example.org \
        request=ip4 send='10.20.0.1[icmp]' ike=$IKE esp=$ESP psk="$LAB_PSK"
    printf '[child web]\nsend = 10.20.0.1[tcp/80]\n[child names]\nsend = 10.20.0.1[udp/53-5353]\n' |
        on $client sh -c 'cat >>/etc/shrike/peer.conf'
    sniff $router wan children
    started "$with" "$label" || { sniff_stop children; return; }
    serve
    wait_for 5 eval "[ \"\$(shrike_status $client 'len(s[\"tunnels\"][0][\"children\"])')\" = 3 ]"
    is "$label: three stand" "$(shrike_status $client "sorted(c.get('name', '') for c in s['tunnels'][0]['children'])")" \
        "['', 'names', 'web']"
    expect "$label: ping through the first" answers 10.20.0.1
    expect "$label: web through its own" gets 80
    is "$label: it went through its own" "$([ "$(child_volume web)" -gt 2 ] && echo yes)" yes
    if gets 81; then fail "$label: another port" 'it passed'; else pass "$label: another port does not pass"; fi
    before=$(shrike_status $client "s['counters']['esp']['drop_out_no_sa']")
    is "$label: it is counted" "$([ "${before:-0}" -gt 0 ] && echo yes)" yes
    expect "$label: all are rekeyed" shrike_rekey $client child
    sleep 1
    expect "$label: ping after that" answers 10.20.0.1
    expect "$label: web after that" gets 80
    expect "$label: the IKE SA is rekeyed" shrike_rekey $client ike
    sleep 1
    expect "$label: web after that too" gets 80
    is "$label: still three" "$(shrike_status $client 'len(s["tunnels"][0]["children"])')" 3
    disconnect "$with"
    stop web80
    stop web81
    sniff_stop children
    is "$label: nothing in the clear" "$(sniff_count children "$LAB_CLEAR")" 0
}

# Two networks at each side, a child SA for each pair.
part_separate()
{
    local with=$1 label="$1: separate" from to
    [ "$with" = shrike ] || return 0
    at $client ip addr add 10.30.0.1/32 dev lo
    at $client ip addr add 10.31.0.1/32 dev lo
    at $server ip addr add 10.21.0.1/32 dev lo
    shrike_conf $server gateway id=server.example.org listen=198.51.100.1 \
        routes=10.20.0.0/24,10.21.0.0/24 peer=client@example.org psk="$LAB_PSK" \
        networks=10.30.0.0/24,10.31.0.0/24
    shrike_conf $client client remote=198.51.100.1 id=client@example.org rid=server.example.org \
        send=10.20.0.0/24,10.21.0.0/24 local=10.30.0.0/24,10.31.0.0/24 psk="$LAB_PSK"
    on $client sed -i 's/^\[traffic\]/&\nchildren = separate/' /etc/shrike/peer.conf
    if started "$with" "$label"; then
        wait_for 5 eval "[ \"\$(shrike_status $client 'len(s[\"tunnels\"][0][\"children\"])')\" = 4 ]"
        is "$label: one for each pair" "$(shrike_status $client 'sorted(len(c["remote_ts"]) for c in s["tunnels"][0]["children"])')" \
            '[1, 1, 1, 1]'
        for from in 10.30.0.1 10.31.0.1; do
            for to in 10.20.0.1 10.21.0.1; do
                expect "$label: $from to $to" on $client ping -q -c 2 -W 2 -I $from $to
                expect "$label: $to to $from" on $server ping -q -c 2 -W 2 -I $to $from
            done
        done
        disconnect "$with"
    fi
}

for with in shrike gateway client; do
    [ -z "${1:-}" ] || [ "$1" = $with ] || continue
    if [ $with != shrike ] && ! root_ready six; then
        skip "strongSwan as $with" 'no root: test/net/roots.sh'
        continue
    fi
    network $with
    for part in families children separate; do
        [ -z "${2:-}" ] || [ "$2" = $part ] || continue
        "part_$part" $with
    done
done
lab_summary
