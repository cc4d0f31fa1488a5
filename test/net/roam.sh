#!/usr/bin/env bash
# A client that walks about (MOBIKE, RFC 4555): one long TCP connection through the tunnel, both ways, must
# not break and must arrive whole, while the client's uplinks come, go and change, and the gateway's too.
# How long traffic stood still is printed for each move, not judged.
#
#          wifi0 192.168.7.2 --- home (NAT, keeps ports) ------ 203.0.113.2 --+
#   client cell0 10.64.0.2 ----- carrier (NAT, new ports) ---- 203.0.113.18 --+            198.51.100.1 +
#          cable0 203.0.113.34 ------------- no NAT --------------------------+- internet  2001:db8:5::1 + server
#          six0 2001:db8:6::2 -------------- IPv6 only -----------------------+            198.51.101.1 +
#                                                            inside: 10.20.0.1 on lo
#
#   test/net/roam.sh [PART...]    parts: short (all there is without words: in ./check), far, keepalive: some more
#                                 minutes; or one of sswan-gateway, sswan-client (strongSwan 6.1, the root "six")

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/shrike.sh"
. "$LAB_LIB/sswan.sh"
lab_enter "$@"
shrike_need roam || { lab_summary; exit; }

LEVEL=${LEVEL:-info} PATIENCE=${PATIENCE:-16}
UPLINKS='wifi0 cell0 cable0 six0'
declare -A LINK=([wifi0]=home [cell0]=mobile [cable0]=cable [six0]=six) # where the internet sees it
declare -A RANK=([wifi0]=100 [cell0]=200 [cable0]=50 [six0]=300)
declare -A ADDRESS=([wifi0]=192.168.7.2 [cell0]=10.64.0.2 [cable0]=203.0.113.34 [six0]=2001:db8:6::2)
declare -A VIA=([wifi0]=192.168.7.1 [cell0]=10.64.0.1 [cable0]=203.0.113.33 [six0]=2001:db8:6::1)
declare -A BITS=([wifi0]=24 [cell0]=24 [cable0]=28 [six0]=64)

# network [CLIENT-ROOT] [SERVER-ROOT]: "shrike", or a version of strongSwan
network()
{
    if [ "$1" = shrike ]; then host client; else sswan_host client "$1"; fi
    if [ "$2" = shrike ]; then host server; else sswan_host server "$2"; fi
    host home
    host carrier
    host internet
    wire client wifi0 home lan
    wire client cell0 carrier lan
    wire client cable0 internet cable
    wire client six0 internet six
    wire home wan internet home
    wire carrier wan internet mobile
    wire internet gw0 server gw0
    wire internet gw1 server gw1
    addr home lan 192.168.7.1/24
    addr carrier lan 10.64.0.1/24
    addr home wan 203.0.113.2/28
    addr carrier wan 203.0.113.18/28
    addr internet home 203.0.113.1/28
    addr internet mobile 203.0.113.17/28
    addr internet cable 203.0.113.33/28
    addr internet six 2001:db8:6::1/64
    addr internet gw0 198.51.100.2/24 2001:db8:5::2/64
    addr internet gw1 198.51.101.2/24
    addr server gw0 198.51.100.1/24 2001:db8:5::1/64
    addr server gw1 198.51.101.1/24
    addr server lo 10.20.0.1/32
    route home default via 203.0.113.1
    route carrier default via 203.0.113.17
    route server default via 198.51.100.2 metric 100
    route server default via 198.51.101.2 metric 200
    route server default via 2001:db8:5::2
    forward home
    forward carrier
    forward internet
    masquerade home wan
    at carrier nft -f - <<END
table inet lab_nat {
    chain out {
        type nat hook postrouting priority srcnat;
        oifname "wan" meta l4proto udp masquerade to :20000-60000 random
    }
}
END
    local dev
    for dev in $UPLINKS; do at client ip link set "$dev" down; done
}

# ---- what moves

rises()
{
    local dev=$1 address=${2:-${ADDRESS[$1]}}
    at client ip link set "$dev" up
    addr client "$dev" "$address/${BITS[$dev]}" 2>/dev/null
    route client default via "${VIA[$dev]}" dev "$dev" metric "${RANK[$dev]}" 2>/dev/null
    return 0
}

# As when a card is pulled out: the link, its routes and its addresses.
falls()
{
    at client ip link set "$1" down
    at client ip addr flush dev "$1"
}

swaps()
{
    falls "$1"
    rises "$2"
}

# Another lease from the same network.
renumbers()
{
    at client ip addr del "${ADDRESS[$1]}/${BITS[$1]}" dev "$1"
    rises "$1" "$2"
}

ranks()
{
    at client ip route del default dev "$1"
    route client default via "${VIA[$1]}" dev "$1" metric "$2"
}

# The router of the home is restarted: another address outside, all mappings forgotten.
home_restarts()
{
    local old=203.0.113.2 new=203.0.113.3
    at home ip addr show dev wan | grep -q 203.0.113.2/ || old=203.0.113.3 new=203.0.113.2
    at home ip addr del $old/28 dev wan
    addr home wan $new/28
    route home default via 203.0.113.1
    at home conntrack -F 2>/dev/null
    return 0
}

# The access point stays, its own uplink is dead: nothing on the client changes.
home_dies()
{
    at home ip link set wan down
}

home_lives()
{
    at home ip link set wan up
    route home default via 203.0.113.1 2>/dev/null
    return 0
}

gateway_loses()
{
    at server ip link set gw0 down
}

gateway_gets()
{
    at server ip link set gw0 up
    addr server gw0 198.51.100.1/24 2001:db8:5::1/64 2>/dev/null
    route server default via 198.51.100.2 metric 100 2>/dev/null
    route server default via 2001:db8:5::2 2>/dev/null
    return 0
}

both_move()
{
    gateway_loses
    swaps "$1" "$2"
}

# ---- what is watched

now_us()
{
    echo "${EPOCHREALTIME/./}"
}

# stood_still SINCE: the longest time without a reply from then on, in ms
stood_still()
{
    awk -F'[][]' -v since="$1" '/bytes from/ {
            t = $2 * 1000
            if (last && t > since && t - last > most) most = t - last
            last = t
        }
        END { printf "%.0f", most }' "$(logfile "$RUN-pings")"
}

replies_since()
{
    awk -F'[][]' -v since="$1" '/bytes from/ && $2 * 1000 > since {n++} END {exit n < 10}' "$(logfile "$RUN-pings")"
}

# Where the client's IKE SA is: "local remote".
place()
{
    if [ "$CLIENT" = shrike ]; then
        shrike_status client "s['tunnels'][0]['local'] + ' ' + s['tunnels'][0]['remote']"
    else
        sswan_sas client | awk '/ @ / {
                at = $0; sub(/.* @ /, "", at); sub(/\[.*/, "", at)
                if ($1 == "local") own = at; else if ($1 == "remote") peer = at
            }
            END {print own, peer}'
    fi
}

at_place()
{
    local have
    have=$(place)
    case $have in *"$1"*' '*"$2"*) ;; *) return 1 ;; esac
}

# move WHAT UPLINK ADDRESS GATEWAY COMMAND...: after it the tunnel has to be on that uplink, between these.
move()
{
    local what=$1 uplink=$2 own=$3 gateway=$4 began
    shift 4
    began=$(($(now_us) / 1000))
    echo "$began moving" >>"$LAB_DIR/$RUN.phases"
    "$@"
    if ! wait_for "$PATIENCE" at_place "$own" "$gateway" || ! wait_for "$PATIENCE" replies_since $(($(now_us) / 1000)); then
        fail "$RUN: $what" "not on $uplink, or no replies: $(place)"
        return 1
    fi
    # Only now both directions are where they should be.
    echo "$(($(now_us) / 1000)) $uplink" >>"$LAB_DIR/$RUN.phases"
    sleep 0.6
    pass "$RUN: $what: traffic stood still for $(stood_still $((began - 100))) ms"
}

# Between the moves, ESP on the one uplink, and on no other.
judge_ways()
{
    local dev
    echo "$(($(now_us) / 1000)) end" >>"$LAB_DIR/$RUN.phases"
    for dev in $UPLINKS; do
        tcpdump -n -tt -r "$LAB_DIR/$RUN-$dev.pcap" "$LAB_ESP" 2>/dev/null |
            awk -v dev="$dev" '{printf "%.0f %s\n", $1 * 1000, dev}'
    done | sort -n | awk -v phases="$LAB_DIR/$RUN.phases" '
        BEGIN { n = now = 0; while ((getline line < phases) > 0) { split(line, w, " "); at[n] = w[1]; on[n++] = w[2] } }
        {
            while (now + 1 < n && $1 >= at[now + 1]) now++
            if ($1 >= at[now] && on[now] != "moving" && on[now] != "end" && $1 < at[now + 1]) {
                if (on[now] == $2) right[now]++; else wrong[on[now] " but " $2]++
            }
        }
        END {
            for (i = 0; i < n; i++)
                if (on[i] != "moving" && on[i] != "end" && right[i] < 5) print "nothing on " on[i] " (phase " i ")"
            for (what in wrong) print wrong[what] " packets on " what
        }' >"$LAB_DIR/$RUN.wrong"
    is "$RUN: traffic went where it should" "$(paste -sd';' "$LAB_DIR/$RUN.wrong")" ''
}

watch_begins()
{
    local dev
    : >"$LAB_DIR/$RUN.phases"
    rm -f "$LAB_DIR/flow.stop"
    for dev in $UPLINKS; do sniff internet "${LINK[$dev]}" "$RUN-$dev" ''; done
}

# The root of another system need not have python.
traffic_begins()
{
    spawn_at server "$RUN-serve" python3 "$LAB_LIB/flow.py" serve 10.20.0.1 7100 200
    wait_for 5 grep -q listening "$(logfile "$RUN-serve")"
    spawn_at client "$RUN-call" python3 "$LAB_LIB/flow.py" call 10.20.0.1 7100 200 "$LAB_DIR/flow.stop"
    spawn_at client "$RUN-pings" ping -D -n -i 0.02 10.20.0.1
    sleep 0.6
    echo "$(($(now_us) / 1000)) $1" >>"$LAB_DIR/$RUN.phases"
    sleep 0.4
}

# The numbers of blocks sent and received must agree crosswise.
traffic_ends()
{
    local call serve
    touch "$LAB_DIR/flow.stop"
    wait_for 30 sh -c "! kill -0 ${SPAWN_PID[$RUN-call]}"
    stop "$RUN-call"
    wait_for 5 sh -c "! kill -0 ${SPAWN_PID[$RUN-serve]}"
    stop "$RUN-serve"
    call=$(tail -n 1 "$(logfile "$RUN-call")")
    serve=$(tail -n 1 "$(logfile "$RUN-serve")")
    stop "$RUN-pings"
    if [ "$(awk '{print $4, $2, $5}' <<<"$call")" = "$(awk '{print $2, $4, $5}' <<<"$serve")" ] &&
        [ "$(awk '{print $5, ($2 > 0)}' <<<"$call")" = 'intact 1' ]; then
        pass "$RUN: one TCP connection all the time: $call blocks of 8 kB"
    else
        fail "$RUN: one TCP connection all the time" "client: $call; server: $serve"
    fi
}

watch_ends()
{
    local dev clear=
    judge_ways
    for dev in $UPLINKS; do
        sniff_stop "$RUN-$dev" || fail "$RUN: capture on $dev" 'has holes'
        clear+="$(sniff_count "$RUN-$dev" "($LAB_CLEAR) and not icmp[icmptype] == icmp-unreach") "
    done
    is "$RUN: nothing in the clear on any uplink" "$clear" '0 0 0 0 '
}

# ---- the walks: each move begins where the last one ended

W='wifi0 192.168.7' C='cell0 10.64.0.2' S='six0 2001:db8:6::2' L='cable0 203.0.113.34' # as move wants them
G=198.51.100.1 G2=198.51.101.1 G6=2001:db8:5::1

# shellcheck disable=SC2086
walk_short()
{
    move 'wifi lost, to mobile' $C $G falls wifi0
    move 'wifi is back' $W $G rises wifi0
    move 'another address by wifi' $W.9 $G renumbers wifi0 192.168.7.9
    move 'the default route changes' $C $G ranks cell0 10
    move 'and back' $W.9 $G ranks cell0 200
    move 'the NAT router forgets, and has another address' $W.9 $G home_restarts
    falls cell0
    move 'from IPv4 with NAT to IPv6 only' $S $G6 swaps wifi0 six0
    move 'to IPv4 without NAT' $L $G swaps six0 cable0
    move 'to a path with NAT' $C $G swaps cable0 cell0
}

# shellcheck disable=SC2086
walk_far()
{
    move 'wifi comes beside' $W $G rises wifi0
    move 'wifi looks well and leads nowhere' $C $G home_dies
    move 'wifi works again, and is found to' $W $G home_lives
    move "the gateway's address dies" $W $G2 gateway_loses
    gateway_gets
    move 'wifi lost, to mobile' $C 198.51. falls wifi0
    move 'both sides move at once' $W $G2 both_move cell0 wifi0
    gateway_gets
}

# strongSwan asks the routes where to go; the one that it is on stays until it is gone.
# shellcheck disable=SC2086
walk_sswan()
{
    move 'wifi lost, to mobile' $C $G falls wifi0
    move 'back to wifi' $W $G swaps cell0 wifi0
    move 'another address by wifi' $W.9 $G renumbers wifi0 192.168.7.9
    move 'the NAT router forgets, and has another address' $W.9 $G home_restarts
    move 'from IPv4 with NAT to IPv6 only' $S $G6 swaps wifi0 six0
    move 'to IPv4 without NAT' $L $G swaps six0 cable0
    move 'to a path with NAT' $C $G swaps cable0 cell0
}

begin_run()
{
    RUN=$1
    rises wifi0
    rises cell0
    watch_begins
}

# walk_all WALK...: from a tunnel that stands
walk_all()
{
    local walk
    traffic_begins wifi0
    for walk; do "$walk"; done
    traffic_ends
}

end_run()
{
    local dev
    watch_ends
    for dev in $UPLINKS; do falls "$dev"; done
}

shrike_client()
{
    shrike_conf client client id=client@example.org rid=gateway.example.org remote=$G send="$1" \
        psk="$LAB_PSK" request=ip4 level="$LEVEL" dpd=10s idle_check=1h encap="$2"
}

shrike_server()
{
    shrike_conf server gateway id=gateway.example.org pool=10.99.0.0/24 routes="$1" \
        peer=client@example.org psk="$LAB_PSK" level="$LEVEL" dpd=10s idle_check=1h encap="$2"
}

# run_pair NAME SEND WALK...: Shrike with Shrike
run_pair()
{
    local name=$1 send=$2
    CLIENT=shrike
    shift 2
    shrike_server "$send" auto
    shrike_client "$send" auto
    begin_run "$name"
    if shrike_start server && shrike_up client; then
        walk_all "$@"
    else
        fail "$name" 'does not come up'
    fi
    shrike_down client >/dev/null 2>&1
    shrike_stop server
    end_run
}

# All that leaves the client has to go by the tunnel, so what is not for the inside is looked for outside, too.
walk_short_and_stray()
{
    spawn client stray ping -n -i 0.1 198.51.100.2
    walk_short
    spawned stray
    is "$RUN: something was sent past the inside all the time" $? 0
    stop stray INT
    expect "$RUN: and it was sent" grep -qE '^[0-9]{3,} packets transmitted' "$(logfile stray)"
}

part_short()
{
    run_pair full 0.0.0.0/0 walk_short_and_stray
}

part_far()
{
    run_pair split 10.20.0.0/24 walk_short walk_far
}

part_sswan_gateway()
{
    CLIENT=shrike
    sswan_conf server id=gateway.example.org rid=client@example.org pool=10.99.0.0/24 \
        lts=10.20.0.0/24 psk="$LAB_PSK"
    shrike_client 10.20.0.0/24 udp
    begin_run strongswan-gateway
    if sswan_start server && shrike_up client; then
        walk_all walk_short
    else
        fail "$RUN" 'does not come up'
    fi
    shrike_down client >/dev/null 2>&1
    sswan_stop server
    end_run
}

part_sswan_client()
{
    CLIENT=six
    sswan_conf client remote=$G id=client@example.org rid=gateway.example.org vips=0.0.0.0 \
        rts=10.20.0.0/24 psk="$LAB_PSK" dpd=5s
    shrike_server 10.20.0.0/24 udp
    begin_run strongswan-client
    if shrike_start server && sswan_start client && sswan_up client; then
        walk_all walk_sswan
    else
        fail "$RUN" 'does not come up'
    fi
    sswan_down client
    sswan_stop client
    shrike_stop server
    end_run
}

# The home router forgets after 30 s and gives the same port again, so that nobody can see it. The client has
# to find out by being called, and then to speak at least so often: 25 s are proven, 40 refuted.
part_keepalive()
{
    local gaps
    at home sysctl -q -w net.netfilter.nf_conntrack_udp_timeout=30 net.netfilter.nf_conntrack_udp_timeout_stream=30
    shrike_server 10.20.0.0/24 udp
    shrike_client 10.20.0.0/24 udp
    on client sed -i 's/^idle-check.*/&\nkeepalive = 10s/' /etc/shrike/peer.conf
    rises wifi0
    sniff internet home idle 'udp and src host 203.0.113.2'
    if shrike_start server && shrike_up client; then
        sleep 210
        shrike_down client >/dev/null 2>&1
    else
        fail keepalive 'does not come up'
    fi
    shrike_stop server
    sniff_stop idle
    gaps=$(tcpdump -n -tt -r "$LAB_DIR/idle.pcap" 2>/dev/null | awk '{if (last) printf "%.0f ", $1 - last; last = $1}')
    echo "note: the client was silent for so many seconds each: $gaps"
    is 'keepalive: the longest silence tried' "$(tr ' ' '\n' <<<"$gaps" | sort -n | tail -n 1)" 43
    is 'keepalive: and where it stays' "$(tr ' ' '\n' <<<"$gaps" | awk '$1 > 1' | tail -n 4 | head -n 3 | sort -u)" 25
}

parts=("$@")
[ $# -gt 0 ] || parts=(short)
case ${parts[0]} in
sswan-*)
    root_ready six || { skip roam "no root 'six': run test/net/roots.sh"; lab_summary; exit; }
    ;;&
sswan-gateway) network shrike six ;;
sswan-client) network six shrike ;;
*) network shrike shrike ;;
esac
for part in "${parts[@]}"; do
    "part_${part//-/_}"
done
lab_summary
