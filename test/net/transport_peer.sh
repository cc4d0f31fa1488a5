#!/usr/bin/env bash
# Transport mode, Shrike with strongSwan and the kernel's ESP: both roles, both families, with and without NAT
# between, child and IKE rekeys by either side; ping, TCP and UDP both ways, and nothing of it readable.
#
#   client 192.168.7.2, 2001:db8:7::2 --- router (NAT or not) --- 198.51.100.1, 2001:db8:5::1 server
#
#   test/net/transport_peer.sh [PATTERN [ROLE [ROOT]]]     rows by name; ROLE: Shrike's; ROOT: six or five
#
# strongSwan's user-space data plane has no transport mode. Where this machine's kernel has no ESP:
# test/net/vm -t 3000 test/net/transport_peer.sh

# name  Shrike is  family  the way  what is on the wire  further options
#   the way: routed; nat: the client is behind one; forward: the server is, and the router lets it be reached
rows='
plain-4       initiator  4  routed   esp            encap=auto rekeys=child,ike esp=aes256gcm16-x25519-esn
plain-6       initiator  6  routed   esp            encap=auto rekeys=child
nat-4         initiator  4  nat      udp_port_4500  encap=auto rekeys=child,ike
nat-6         initiator  6  nat      udp_port_4500  encap=auto rekeys=child
forward-4     initiator  4  forward  udp_port_4500  encap=auto
udp-4         initiator  4  routed   udp_port_4500
udp-6         initiator  6  routed   udp_port_4500
cbc-4         initiator  4  routed   esp            encap=auto esp=aes256-sha256-x25519
ports-4       initiator  4  routed   esp            encap=auto ports=yes
ah-4          initiator  4  routed   ah             esp= ah=sha256-x25519
ah-6          initiator  6  routed   ah             esp= ah=sha512-ecp256 rekeys=child
plain-4       responder  4  routed   esp            encap=auto rekeys=child,ike esp=aes256gcm16-x25519-esn
plain-6       responder  6  routed   esp            encap=auto rekeys=child
nat-4         responder  4  nat      udp_port_4500  encap=auto rekeys=child,ike
nat-6         responder  6  nat      udp_port_4500  encap=auto rekeys=child
forward-4     responder  4  forward  udp_port_4500  encap=auto
udp-4         responder  4  routed   udp_port_4500
udp-6         responder  6  routed   udp_port_4500
cbc-4         responder  4  routed   esp            encap=auto esp=aes256-sha256-x25519
ports-4       responder  4  routed   esp            encap=auto ports=yes
ah-4          responder  4  routed   ah             esp= ah=sha256-x25519
ah-6          responder  6  routed   ah             esp= ah=sha512-ecp256 rekeys=child
'

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/shrike.sh"
. "$LAB_LIB/sswan.sh"
[ $$ = 1 ] || modprobe -qa esp4 esp6 ah4 ah6 xfrm_user tun veth nf_tables nft_chain_nat nft_masq nft_nat 2>/dev/null
lab_enter "$@"
only=${1:-*} roles=${2:-initiator responder} root=${3:-six}
shopt -s extglob

# The first SA of an algorithm loads its modules, which in the virtual machine takes longer than the kernel waits.
kernel_esp()
{
    local key
    key=0x$(printf '%072d' 0)
    for _ in 1 2 3; do
        ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000 mode transport \
            enc 'cbc(aes)' "${key:0:66}" auth-trunc 'hmac(sha256)' "${key:0:66}" 128 2>/dev/null
        ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode transport \
            aead 'rfc4106(gcm(aes))' "$key" 128 2>/dev/null && ip xfrm state flush && return
        [ -n "${SHRIKE_IN_VM:-}" ] && sleep 2
    done
    return 1
}

# Each role has two hosts of its own, and the router in turn.
network()
{
    client=client-$role server=server-$role
    us=$client them=$server
    [ "$role" = initiator ] || { us=$server them=$client; }
    sswan_host "$them" "$root" || return
    host "$us"
    at router ip link del lan 2>/dev/null
    at router ip link del wan 2>/dev/null
    road "$client" router "$server"
    route "$server" 192.168.0.0/16 via 198.51.100.2
    local end
    for end in "$client:eth0" "$server:eth0" router:lan router:wan; do plain_link "${end%:*}" "${end#*:}"; done
    for end in "$client" "$server"; do
        spawn_at "$end" "web-$end" "$PYTHON" "$LAB_LIB/web.py" :: 8000 "$LAB_DIR/web"
        wait_for "${LAB_PATIENCE:-20}" at "$end" sh -c "ss -ltn | grep -q :8000"
    done
    # What strongSwan begins with is of no matter.
    configure_peer && sswan_start "$them"
}

# way KIND: what the router does, and by which address each end knows the other
way()
{
    to=198.51.100.1 back=192.168.7.2
    [ "$family" = 4 ] || { to=2001:db8:5::1 back=2001:db8:7::2; }
    nat routed
    case $1 in
    nat)
        nat nat
        back=198.51.100.2
        [ "$family" = 4 ] || back=2001:db8:5::2
        ;;
    forward)
        to=192.168.7.1
        at router nft -f - <<END
table inet lab_nat {
    chain in {
        type nat hook prerouting priority dstnat;
        iifname "lan" ip daddr 192.168.7.1 udp dport { 500, 4500 } dnat ip to 198.51.100.1
    }
}
END
        ;;
    esac
}

configure_peer()
{
    local words=(esp="$esp" ike=aes256gcm16-prfsha384-x25519 psk="$LAB_PSK"
        childmore="mode = transport ${ah:+
            ah_proposals = $ah}")
    if [ "$role" = initiator ]; then
        words+=(id=server.example.org rid=client@example.org)
        [ -z "${ports:-}" ] || words+=(lts='dynamic[6/8000]' rts='dynamic[6]')
    else
        words+=(id=client@example.org rid=server.example.org remote="${to:-198.51.100.1}")
        [ -z "${ports:-}" ] || words+=(rts='dynamic[6/8000]' lts='dynamic[6]')
    fi
    sswan_conf "$them" "${words[@]}"
}

configure_us()
{
    local words=(psk="$LAB_PSK" mode=transport esp="$esp" ah="$ah" ${encap:+encap="$encap"})
    if [ "$role" = initiator ]; then
        [ -z "${ports:-}" ] || words+=(send='0.0.0.0/0[tcp/8000]')
        shrike_conf "$us" client remote="$to" rid=server.example.org id=client@example.org "${words[@]}"
    else
        shrike_conf "$us" gateway id=server.example.org peer=client@example.org "${words[@]}"
    fi
}

connect()
{
    configure_peer && sswan_load "$them" && configure_us || return
    if [ "$role" = initiator ]; then
        shrike_up "$us"
    else
        shrike_start "$us" && sswan_up "$them"
    fi
}

disconnect()
{
    if [ "$role" = initiator ]; then
        shrike_down "$us"
    else
        sswan_down "$them"
        shrike_stop "$us"
    fi >/dev/null 2>&1
}

# ---- what is looked at

pings()
{
    on "$2" ping -q -c 5 -i 0.2 -W 5 "$3" >"$LAB_DIR/ping.out" 2>&1
    is "$1" "$(grep -oE '[0-9]+ received' "$LAB_DIR/ping.out")" '5 received'
}

tcp()
{
    local url=$3
    [[ $3 != *:* ]] || url="[$3]"
    is "$1" "$(at "$2" curl -s --max-time "$((LAB_PATIENCE > 20 ? LAB_PATIENCE : 20))" "http://$url:8000/file" | sha256sum)" "$SUM"
}

# datagrams FROM TO LABEL SIZE SECONDS: from one of the two to the other
datagrams()
{
    local address=$to port=7000
    [ "$1" = "$client" ] || { address=$back port=7001; }
    stream_start "$3" "$1" "$2" "$address" $port 100 "$4" "$5"
}

carries()
{
    if [ -z "$ports" ]; then
        pings "$1: ping" "$client" "$to"
        pings "$1: ping back" "$server" "$back"
        tcp "$1: 300 kB by TCP to the server's client" "$server" "$back"
        # What the kernel sends larger than its link comes as fragments; what we send so does not leave.
        datagrams "$them" "$us" theirs 3000 2
        stream_intact theirs "$1: UDP from strongSwan, larger than the link"
    fi
    tcp "$1: 300 kB by TCP" "$client" "$to"
}

spi()
{
    case $1 in
    child) shrike_status "$us" "s['tunnels'][0]['children'][0]['spi_in']" ;;
    ike) shrike_status "$us" "s['tunnels'][0]['spi_i']" ;;
    esac
}

is_new()
{
    local now
    now=$(spi "$1")
    [ -n "$now" ] && [ "$now" != "$2" ]
}

counts()
{
    echo "$(shrike_status "$us" "'%d %d' % (len(s['tunnels']), sum(len(t['children']) for t in s['tunnels']))")," \
        "$(sswan_count "$them")"
}

one_each()
{
    [ "$(counts)" = '1 1, 1 1' ]
}

# rekeys LABEL: each kind by each side, while datagrams run that must all come through
rekeys()
{
    local kind by before
    for kind in ${rekeys//,/ }; do
        for by in Shrike strongSwan; do
            before=$(spi $kind)
            [ -n "$ports" ] || { datagrams "$us" "$them" ours 600 8; datagrams "$them" "$us" theirs 600 8; }
            if [ $by = Shrike ]; then shrike_rekey "$us" $kind; else sswan_rekey "$them" $kind; fi >"$LAB_DIR/rekey.out" 2>&1
            wait_for 20 is_new $kind "$before" || fail "$1, $kind rekey by $by" "no other SPI; $(tail -n 1 "$LAB_DIR/rekey.out")"
            [ -n "$ports" ] || {
                stream_intact ours "$1, $kind rekey by $by: UDP from Shrike"
                stream_intact theirs "$1, $kind rekey by $by: UDP from strongSwan"
            }
            wait_for 20 one_each
            is "$1, $kind rekey by $by: SAs here, there" "$(counts)" '1 1, 1 1'
        done
    done
}

# What is cut shows its ports in the first piece only, and in IPv6 to nobody who looks for them by name.
CLEAR='not (udp port 500 or udp port 4500 or esp or ah or arp or (icmp6 and ip6[40] >= 130 and ip6[40] <= 137) or
    (ip6 and ip6[6] = 0) or (ip and ip[6:2] & 0x1fff != 0) or (ip6 and ip6[6] = 44 and (ip6[42:2] & 0xfff8 != 0 or
    ip6[40] = 50 or ip6[40] = 51 or (ip6[40] = 17 and (ip6[48:2] = 4500 or ip6[50:2] = 4500)))))'

unreadable()
{
    sniff_stop wire || fail "$1: capture" 'has holes'
    is "$1: nothing in the clear" "$(sniff_count wire "${ports:+tcp and }$CLEAR")" 0
    [ "$(sniff_count wire "$2")" -gt 200 ]
    is "$1: $2 was seen" $? 0
}

modes()
{
    is "$1: transport mode here" \
        "$(shrike_status "$us" '" ".join(c["mode"] for t in s["tunnels"] for c in t["children"])')" transport
    is "$1: transport mode there" "$(at "$them" ip xfrm state | grep -oE 'mode [a-z]+' | sort -u | paste -sd' ')" 'mode transport'
}

dropped()
{
    is "$1: nothing refused on arrival" \
        "$(shrike_status "$us" "' '.join(f'{k}={v}' for k, v in s['counters']['esp'].items() if k.startswith('drop_') and v)")" ''
}

# row NAME FAMILY WAY FILTER OPTION...
row()
{
    local label="$role, $1" family=$2 filter=${4//_/ } encap='' esp=aes256gcm16-x25519 ah='' ports='' rekeys='' to back option
    # shellcheck disable=SC2254 # the pattern is one
    case $1 in $only) ;; *) return ;; esac
    way "$3"
    for option in "${@:5}"; do local "$option"; done
    if ! connect >"$LAB_DIR/connect.out" 2>&1; then
        fail "$label" "does not connect: $(grep -v 'debug:' "$LAB_DIR/connect.out" | tail -n 2 | paste -sd' ')"
    else
        sniff router wan wire
        modes "$label"
        carries "$label"
        if [ -n "$rekeys" ]; then
            rekeys "$label"
            carries "$label, after rekeys"
            modes "$label, after rekeys"
        fi
        unreadable "$label" "$filter"
        dropped "$label"
    fi
    disconnect
}

part()
{
    local name as rest
    network || { fail "$role" "strongSwan: $(tail -n 2 "$(logfile "$them")" | paste -sd' ')"; return; }
    while read -r name as rest; do
        # shellcheck disable=SC2086 # words
        [ "$as" != "$role" ] || row "$name" $rest
    done <<<"$rows"
}

shrike_need 'transport mode with the kernel' || { lab_summary; exit; }
root_ready "$root" || { skip 'transport mode with the kernel' 'no root: test/net/roots.sh'; lab_summary; exit; }
kernel_esp || { skip 'transport mode with the kernel' 'this kernel has no ESP: test/net/vm test/net/transport_peer.sh'; lab_summary; exit; }
SSWAN_PLUGINS=${sswan_plugins/kernel-libipsec /}
mkdir -p "$LAB_DIR/web"
head -c 300000 /dev/urandom >"$LAB_DIR/web/file"
SUM=$(sha256sum <"$LAB_DIR/web/file")
shrike_judge
host router
for role in $roles; do part; done
lab_summary
