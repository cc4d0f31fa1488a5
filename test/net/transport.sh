#!/usr/bin/env bash
# Transport mode, Shrike with Shrike: both families, with and without NAT on either side, ESP in UDP and plain, AH;
# nothing in the clear either way, while it is up and while it is broken; ports; what is declined.
#
#   client 192.168.7.2, 2001:db8:7::2 --- router (NAT or not) --- 198.51.100.1, 2001:db8:5::1 server
#                                                                 198.51.100.9 neighbour, on the server's own link
#
#   test/net/transport.sh [PART...]     parts: rows nat narrow closed declined

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/shrike.sh"
lab_enter "$@"
shrike_need transport || { lab_summary; exit; }

network()
{
    host client
    host router
    host server
    wire client eth0 router lan
    wire router wan server eth0
    addr client eth0 192.168.7.2/24 2001:db8:7::2/64
    addr router lan 192.168.7.1/24 2001:db8:7::1/64
    addr router wan 198.51.100.2/24 2001:db8:5::2/64
    addr server eth0 198.51.100.1/24 2001:db8:5::1/64
    route client default via 192.168.7.1
    route client default via 2001:db8:7::1
    route server 192.168.0.0/16 via 198.51.100.2
    route server 2001:db8::/32 via 2001:db8:5::2
    forward router
    mkdir -p "$LAB_DIR/web"
    head -c 3000000 /dev/urandom >"$LAB_DIR/web/file"
    SUM=$(sha256sum <"$LAB_DIR/web/file")
}

# configure GATEWAY-HOST CLIENT-HOST ADDRESS [KEY=VALUE for both ends]
configure()
{
    local gateway=$1 client=$2 address=$3
    shift 3
    shrike_conf "$gateway" gateway id=server.example.org peer=client@example.org psk="$LAB_PSK" mode=transport "$@"
    shrike_conf "$client" client remote="$address" rid=server.example.org id=client@example.org psk="$LAB_PSK" \
        mode=transport "$@"
}

# started LABEL GATEWAY-HOST CLIENT-HOST
started()
{
    { shrike_start "$2" && shrike_up "$3"; } >"$LAB_DIR/connect.out" 2>&1 && return 0
    fail "$1" "does not connect: $(tail -n 2 "$LAB_DIR/connect.out" | paste -sd' ')"
    ended "$2" "$3"
    return 1
}

ended()
{
    shrike_down "$2" >/dev/null 2>&1
    shrike_stop "$1"
}

# carries LABEL FROM ADDRESS WEB-HOST: ICMP, and TCP with super-packets, whose octets are right
carries()
{
    local url=$3 got
    [[ $3 != *:* ]] || url="[$3]"
    spawn "$4" web python3 "$LAB_LIB/web.py" "$WEB" 8000 "$LAB_DIR/web"
    wait_for 30 on "$4" sh -c "ss -ltn | grep -q :8000"
    on "$2" ping -q -c 5 -i 0.05 -W 2 "$3" | grep -q ' 5 received'
    is "$1: ping" $? 0
    got=$(on "$2" curl -s --max-time 20 "http://$url:8000/file" | sha256sum)
    is "$1: 3 MB by TCP arrive as they were" "$got" "$SUM"
    stop web
}

CLEAR='not (udp port 500 or udp port 4500 or esp or ah or arp or (icmp6 and ip6[40] >= 133 and ip6[40] <= 137) or
    (ip6 and ip6[6] = 0))'

wire_whole()
{
    sniff_stop wire || fail "$1: capture" 'has holes'
}

# unreadable LABEL FILTER: nothing but that has passed the router, and some of it has (super-packets count as one)
unreadable()
{
    wire_whole "$1"
    is "$1: nothing in the clear" "$(sniff_count wire "$CLEAR")" 0
    [ "$(sniff_count wire "$2")" -gt 40 ]
    is "$1: $2 was seen" $? 0
}

modes()
{
    shrike_status "$1" '" ".join(c["mode"] for t in s["tunnels"] for c in t["children"])'
}

rekeys()
{
    local by kind
    for by in client server; do
        for kind in child ike; do
            stream_start s client server "$2" 7000 1500 1000 2
            sleep 0.5
            shrike_rekey $by $kind >"$LAB_DIR/rekey.out" 2>&1 || fail "$1, $kind rekey by $by" "$(tail -n 1 "$LAB_DIR/rekey.out")"
            stream_intact s "$1, $kind rekey by $by"
        done
    done
    is "$1: transport mode after all rekeys" "$(modes server)" transport
}

rows='
plain-4  198.51.100.1   esp                encap=auto
plain-6  2001:db8:5::1  esp                encap=auto
udp-4    198.51.100.1   udp_port_4500
udp-6    2001:db8:5::1  udp_port_4500
cbc-4    198.51.100.1   esp                encap=auto esp=aes256-sha256-x25519
ah-4     198.51.100.1   ah                 ah=sha256-x25519
ah-6     2001:db8:5::1  ah                 ah=sha256-x25519
'

part_rows()
{
    local label address filter options
    nat routed
    while read -r label address filter options; do
        [ -n "$label" ] || continue
        WEB=$address
        # shellcheck disable=SC2086
        configure server client "$address" $options
        started "$label" server client || continue
        sniff router wan wire
        is "$label: mode at both ends" "$(modes server)" transport
        carries "$label" client "$address" server
        [ "$label" != udp-4 ] || rekeys "$label" "$address"
        unreadable "$label" "${filter//_/ }"
        ended server client
    done <<<"$rows"
}

# The client behind NAT; then the gateway, which the router lets be reached.
part_nat()
{
    nat nat
    WEB=198.51.100.1
    configure server client 198.51.100.1 encap=auto
    if started 'client behind NAT' server client; then
        sniff router wan wire
        carries 'client behind NAT' client 198.51.100.1 server
        rekeys 'client behind NAT' 198.51.100.1
        unreadable 'client behind NAT' 'udp port 4500'
        ended server client
    fi
    nat routed
    at router nft -f - <<END
table inet lab_nat {
    chain in {
        type nat hook prerouting priority dstnat;
        iifname "wan" ip daddr 198.51.100.2 udp dport { 500, 4500 } dnat ip to 192.168.7.2
    }
    chain out {
        type nat hook postrouting priority srcnat;
        oifname "wan" masquerade
    }
}
END
    WEB=192.168.7.2
    configure client server 198.51.100.2 encap=auto
    if started 'gateway behind NAT' client server; then
        sniff router wan wire
        carries 'gateway behind NAT' server 198.51.100.2 client
        unreadable 'gateway behind NAT' 'udp port 4500'
        ended client server
    fi
    nat routed
}

# Only TCP to port 8000 is protected; all else goes as it went. What is protected is not let in in the clear.
part_narrow()
{
    nat routed
    WEB=198.51.100.1
    configure server client 198.51.100.1 encap=auto send='0.0.0.0/0[tcp/8000]'
    started narrow server client || return
    sniff router wan wire
    carries narrow client 198.51.100.1 server
    wire_whole narrow
    is 'narrow: no TCP in the clear' "$(sniff_count wire 'tcp')" 0
    is 'narrow: ping is not protected' "$(sniff_count wire 'icmp')" 10
    spawn server web python3 "$LAB_LIB/web.py" 198.51.100.1 8000 "$LAB_DIR/web"
    wait_for 30 on server sh -c "ss -ltn | grep -q :8000"
    on router python3 -c 'import socket, sys
s = socket.socket()
s.bind(("198.51.100.2", 0))
s.settimeout(2)
s.connect(("198.51.100.1", 8000))'
    is 'narrow: others reach the same port' $? 0
    stop web
    ended server client
}

# forge FROM TO PORT: a datagram in the clear that seems to come from the peer
forge()
{
    at router python3 -c 'import socket, struct, sys
source, to, port = sys.argv[1:]
text = b"forged in the clear"
udp = struct.pack("!HHHH", 999, int(port), 8 + len(text), 0) + text
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 7, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(to))
s.sendto(head + udp, (to, 0))' "$1" "$2" "$3"
}

# heard HOST: does the datagram of the router reach a socket there? 0 yes, 1 no, 2 nobody listened
heard()
{
    local from=192.168.7.2 to=198.51.100.1
    [ "$1" = server ] || { from=198.51.100.1 to=192.168.7.2; }
    spawn "$1" ear timeout 90 python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 6000))
print("ready", flush=True)
print(s.recvfrom(100)[0].decode(), flush=True)'
    wait_for 60 grep -q ready "$(logfile ear)" || return 2
    forge $from $to 6000 || return 2
    wait_for 3 grep -q forged "$(logfile ear)"
    local result=$?
    stop ear
    return $result
}

# leftovers HOST: the lines of Shrike's that stand in its firewall and rules
leftovers()
{
    on "$1" sh -c 'nft list tables; ip rule' | grep -c 'shrike\|goto'
}

# Nothing comes in beside the child, and nothing goes out beside it when it is broken.
part_closed()
{
    nat routed
    configure server client 198.51.100.1 encap=auto
    heard client
    is 'closed: without protection a forged datagram is heard' $? 0
    started closed server client || return
    heard client
    is 'closed: not by the client' $? 1
    heard server
    is 'closed: not by the gateway' $? 1
    sniff router lan wire
    stop server KILL
    sleep 0.5
    on client ping -q -c 3 -i 0.2 -W 1 198.51.100.1 >/dev/null
    wire_whole closed
    is 'closed: nothing in the clear when the gateway is gone' "$(sniff_count wire icmp)" 0
    [ "$(sniff_count wire esp)" -ge 3 ]
    is 'closed: it went out protected' $? 0
    shrike_down client >/dev/null 2>&1
    is 'closed: no rule is left at the client' "$(on client ip rule | grep -cv 'lookup \(local\|main\|default\)')" 0
    is 'closed: no guard is left at the client' "$(on client nft list tables | grep -c shrike)" 0
    [ "$(leftovers server)" -gt 0 ]
    is 'closed: a gateway that was killed leaves its guards' $? 0
    shrike_start server >/dev/null
    is 'closed: which its next start clears up' "$(leftovers server)" 0
    shrike_stop server
}

# A gateway that does not grant it.
part_declined()
{
    nat routed
    configure server client 198.51.100.1
    shrike_conf server gateway id=server.example.org peer=client@example.org psk="$LAB_PSK" networks=192.168.7.2/32
    shrike_start server >/dev/null
    ! shrike_up client >"$LAB_DIR/declined" 2>&1
    is 'declined: up fails' $? 0
    grep -q 'tunnel mode' "$LAB_DIR/declined"
    is 'declined: and says why' $? 0
    ended server client
}

network
parts=("$@")
[ $# -gt 0 ] || parts=(rows nat narrow closed declined)
for part in "${parts[@]}"; do
    "part_$part"
done
lab_summary
