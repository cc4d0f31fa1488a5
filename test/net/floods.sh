#!/usr/bin/env bash
# Floods of IKE_SA_INIT while somebody connects by rights: sources forged at full rate, then four
# thousand bots that answer cookies. Shrike and strongSwan get in, who is in stays in, memory stays.
#
#   in   192.0.2.2 -----------+
#   late 192.0.2.3 --- switch --- 192.0.2.1 server 198.51.100.1 ----- flooder 198.51.100.2
#   six  192.0.2.4 -----------+   10.20.0.1 on lo                     10.0.0.0/8 is behind it
#
# Prints figures: datagrams a second and how many of them the gateway saw, CPU of ike for each, the
# time of a handshake without and with the flood, memory of ike.

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/sswan.sh"
. "$LAB_LIB/shrike.sh"
lab_enter "$@"
shrike_need floods || { lab_summary; exit; }
FLOOD=$LAB_DIR/initflood
cc -O2 -o "$FLOOD" "$LAB_TOP/test/net/initflood.c" || exit 1

host switch
host in
host late
host server
host flooder
six=
root_ready six && sswan_host six six && six=six
at switch ip link add bridge0 type bridge
port=0
for name in in late server $six; do
    port=$((port + 1))
    wire switch p$port "$name" eth0
    at switch ip link set p$port master bridge0
done
at switch ip link set bridge0 up
wire server flood flooder eth0
addr server eth0 192.0.2.1/24
addr server flood 198.51.100.1/24
addr server lo 10.20.0.1/32
addr in eth0 192.0.2.2/24
addr late eth0 192.0.2.3/24
[ -z "$six" ] || addr six eth0 192.0.2.4/24
addr flooder eth0 198.51.100.2/24
route server 10.0.0.0/8 via 198.51.100.2
at flooder ip route add local 10.66.0.0/20 dev lo
for name in server flooder; do
    on $name sh -c 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done
        echo 0 >/proc/sys/net/ipv4/ip_forward'
done

shrike_conf server gateway id=server.example.org pool=10.99.0.0/24 routes=10.20.0.0/24 \
    peer=client@example.org psk="$LAB_PSK" level=info
on server sed -i 's/^\[auth\]/&\nunique = no/' /etc/shrike/shrike.conf
client_conf()
{
    shrike_conf "$1" client remote=192.0.2.1 id=client@example.org rid=server.example.org \
        psk="$LAB_PSK" send=10.20.0.0/24 level=info
}
client_conf in
client_conf late
expect 'gateway starts' shrike_start server || { lab_summary; exit; }
expect 'a client is in before' shrike_up in || { lab_summary; exit; }
ike=$(pgrep -P "${SPAWN_PID[server]}" | while read -r pid; do
    [ "$(cat "/proc/$pid/comm")" != shrike-ike ] || echo "$pid"; done)

counter() { on server "$SHRIKE" status --json | python3 -c "import json, sys
print(json.load(sys.stdin)['counters']['ike']['$1'])"; }
memory() { awk '/^Pss:/ {print $2}' "/proc/$ike/smaps_rollup"; }
ticks() { awk '{print $14 + $15}' "/proc/$ike/stat"; }
handshake() # HOST: milliseconds of a new connection, or nothing
{
    on "$1" timeout 60 "$SHRIKE" up /etc/shrike/peer.conf --wait 2>"$LAB_DIR/up.err" |
        sed -n 's/.* in \([0-9.]*\) ms and \([0-9]*\) messages.*/\1 ms, \2 messages/p'
    on "$1" "$SHRIKE" down peer >/dev/null 2>&1
}

calm=$(handshake late)
[ -n "$calm" ] && pass "handshake without a flood: $calm" || fail 'handshake without a flood'

# strongswan_connects LABEL KIND: it shows a cookie, so forged sources must not keep it out. It solves no
# puzzles: among bots with real addresses it shares what a small budget leaves, which is a lottery.
strongswan_connects()
{
    local start=${EPOCHREALTIME/./} came=yes
    if [ "$2" = forged ]; then
        expect "$1: strongSwan connects" sswan_up six || came=no
    else
        sswan_up six >/dev/null 2>&1 || came=no
    fi
    echo "        strongSwan came in: $came, after $(((${EPOCHREALTIME/./} - start) / 1000)) ms, swanctl included"
    sswan_down six >/dev/null 2>&1
}

# flood KIND RATE GROWTH: as long as everything else takes (at most 110 s); once the tables are in use (after
# 3 s) the memory of ike may grow by so many kB.
flood()
{
    local kind=$1 label="$1 sources" times='' n before seen cpu memory0 memory1 ms lost
    before=$(counter in_datagrams) cpu=$(ticks) memory0=$(memory)
    spawn flooder "$kind" "$FLOOD" "$kind" 198.51.100.1 110 "$2"
    sleep 3
    memory1=$(memory)
    on in ping -q -c 100 -i 0.1 -W 2 10.20.0.1 >"$(logfile "ping-$kind")" 2>&1 &
    local pinger=$!
    for n in 1 2 3; do
        ms=$(handshake late)
        times+="${times:+; }${ms:-none}"
    done
    on server "$SHRIKE" status | grep '  flood ' | sed 's/^/      /'
    case $times in
    *none*) fail "$label: Shrike connects three times" "$times: $(tail -n 1 "$LAB_DIR/up.err")" ;;
    *) pass "$label: Shrike connects three times ($times)" ;;
    esac
    [ -z "$six" ] || strongswan_connects "$label" "$kind"
    spawned "$kind" && pass "$label: the flood went on all the time" || fail "$label: the flood ended early"
    wait "$pinger"
    lost=$(sed -n 's/.* \([0-9.]*\)% packet loss.*/\1/p' "$(logfile "ping-$kind")")
    is "$label: the tunnel of before lost nothing" "$lost" 0
    stop "$kind"
    cpu=$(($(ticks) - cpu))
    seen=$(($(counter in_datagrams) - before))
    echo "        $(tail -n 1 "$(logfile "$kind")"); ike took $seen of them, $((cpu * 10000 / (seen > 0 ? seen : 1))) us of CPU each"
    echo "        memory of ike: $memory0 kB before, $memory1 kB after 3 s, $(memory) kB at the end"
    [ $(($(memory) - memory1)) -lt "$3" ] && pass "$label: memory of ike stays" ||
        fail "$label: memory of ike stays" "$memory1 kB, then $(memory) kB"
    [ "$seen" -gt 1000 ] && pass "$label: the gateway saw the flood" || fail "$label: the gateway saw the flood" "$seen"
}

if [ -n "$six" ]; then
    sswan_conf six remote=192.0.2.1 id=client@example.org rid=server.example.org vips=0.0.0.0 \
        rts=10.20.0.0/24 auth=psk psk="$LAB_PSK" ike=aes256gcm16-prfsha256-x25519 esp=aes256gcm16
    expect 'strongSwan starts' sswan_start six
else
    skip 'strongSwan under floods' "no root 'six': run test/net/roots.sh"
fi
# What ike can look at; at full rate (FLOOD_RATE=0) its socket overflows, and who comes in is chance.
flood forged "${FLOOD_RATE:-80000}" 512
cookies=$(counter cookies_asked)
[ "$cookies" -gt 1000 ] && pass "cookies were asked for ($cookies)" || fail 'cookies were asked for' "$cookies"
flood bots 3000 3072 # up to a thousand half-open SAs
turned=$(($(counter drop_rate) + $(counter drop_puzzle) + $(counter drop_half_open)))
[ "$turned" -gt 100 ] && pass "bots were turned away ($turned)" || fail 'bots were turned away' "$turned"
is 'nothing about strangers in the log' "$(grep -cE '10\.[0-9]+\.[0-9]+\.[0-9]+:500' "$(logfile server)")" 0
is 'no process was restarted' "$(on server "$SHRIKE" status --json | python3 -c "import json, sys
print(sum(p['restarts'] for p in json.load(sys.stdin)['processes']))")" 0
sleep 12
[ -z "$six" ] || expect 'afterwards strongSwan connects' sswan_up six
expect 'afterwards the gateway is calm' on late timeout 60 "$SHRIKE" up /etc/shrike/peer.conf --wait
lab_summary
