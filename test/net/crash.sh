#!/usr/bin/env bash
# A gateway that is killed and started again has its clients back at once (RFC 6290), with the same
# addresses; a client that is killed and started again takes its old place.
#
#   client 192.168.7.2 ------- router ------- 198.51.100.1 server    10.20.0.1 on lo
#          2001:db8:7::2        (NAT)         2001:db8:5::1
#
# The figures are from "status answers" of the restarted gateway to the first reply through the
# tunnel. The aim is one second; the bound here leaves room for a busy machine.

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/shrike.sh"
lab_enter "$@"
shrike_need crash || { lab_summary; exit; }

BOUND=3000 # ms

host client
host router
host server
road client router server
masquerade router wan

# setup OUTSIDE [KEY=VALUE...]
setup()
{
    local outside=$1
    shift
    shrike_conf server gateway id=gateway.example.org listen="$outside" pool=10.99.0.0/24 \
        routes=10.20.0.0/24 peer=client@example.org psk="$LAB_PSK" level=info "$@"
    shrike_conf client client id=client@example.org rid=gateway.example.org remote="$outside" \
        send=10.20.0.0/24 psk="$LAB_PSK" request=ip4 level=info "$@"
    shrike_start server && shrike_up client
}

takedown()
{
    shrike_down client >/dev/null 2>&1
    shrike_stop server
}

# Its children go with the monitor, at the same moment: they have asked the kernel for that.
kill_gateway()
{
    local pid=${SPAWN_PID[server]} children child
    children=$(pgrep -P "$pid")
    { stop server KILL; } 2>/dev/null
    for child in $children; do
        kill -0 "$child" 2>/dev/null && wait_for 2 sh -c "! kill -0 $child" 2>/dev/null
    done
    return 0
}

# revive_gateway WHAT: it dies without a word, and comes again.
revive_gateway()
{
    kill_gateway
    sleep 1
    shrike_start server && return
    fail "$1" 'the gateway does not start'
    return 1
}

now_ms()
{
    echo $((${EPOCHREALTIME/./} / 1000))
}

address()
{
    on client ip -4 -o addr show dev peer 2>/dev/null | awk '{print $4}'
}

# first_reply SINCE SECONDS: ms from then to the next reply of the pings under way
first_reply()
{
    local until=$((${EPOCHREALTIME/./} / 1000 + $2 * 1000)) found
    while [ "$(now_ms)" -lt "$until" ]; do
        found=$(awk -v since="$1" -F'[][]' '/bytes from/ { t = $2 * 1000
            if (t > since) { printf "%d", t - since; exit } }' "$(logfile pings)")
        [ -n "$found" ] && { echo "$found"; return; }
        sleep 0.05
    done
    echo 99999
}

judge()
{
    if [ "$2" -lt "$BOUND" ]; then
        pass "$1: back after $2 ms"
    else
        fail "$1" "not back within $BOUND ms ($2)"
        on client sh -c 'tail -n 8 /run/shrike/peer.log' | sed 's/^/        /'
    fi
}

same_place()
{
    expect "$1: the same address, one tunnel" test "$(address)/$(shrike_status server \
        'len(s["tunnels"])')" = "$2/1"
}

# with_traffic NAME: pings never stop
with_traffic()
{
    local before up
    before=$(address)
    spawn client pings ping -D -n -i 0.05 10.20.0.1
    sleep 11 # a connection that was lost sooner is not begun again at once
    revive_gateway "$1" || return
    up=$(now_ms)
    judge "$1, with traffic" "$(first_reply "$up" 20)"
    stop pings
    same_place "$1, with traffic" "$before"
}

# Nothing but one packet, after the gateway has been up for a while.
one_packet()
{
    local before sent
    before=$(address)
    sleep 11
    revive_gateway "$1" || return
    sleep 2
    sent=$(now_ms)
    spawn client pings ping -D -n -i 0.05 10.20.0.1
    judge "$1, idle until one packet" "$(first_reply "$sent" 20)"
    stop pings
    same_place "$1, idle until one packet" "$before"
}

# Nothing at all: the question whether the gateway lives finds out, every 3 s here.
liveness()
{
    local before up
    before=$(address)
    sleep 11
    revive_gateway "$1" || return
    up=$(now_ms)
    if wait_for 10 eval "[ \"\$(shrike_status server 'len(s[\"tunnels\"])')\" = 1 ]"; then
        pass "$1, idle: back by the liveness check after $(($(now_ms) - up)) ms (dpd is 3 s)"
    else
        fail "$1, idle" 'not back by the liveness check'
    fi
    same_place "$1, idle" "$before"
}

# ike_is_new PID: the gateway's ike process, by its title, is there and is not that one
ike_is_new()
{
    local now
    now=$(gateway_ike)
    [ -n "$now" ] && [ "$now" != "$1" ] && ! kill -0 "$1" 2>/dev/null
}

gateway_ike()
{
    pgrep -P "${SPAWN_PID[server]}" -f '^shrike: ike gateway$'
}

# ike alone: esp goes on, and the IKE SAs come back.
ike_alone()
{
    local pid since
    sleep 11
    pid=$(gateway_ike)
    expect "$1: ike alone is killed" kill -KILL "$pid" || return
    since=$(now_ms)
    expect "$1: there is another ike" wait_for 10 ike_is_new "$pid" || return
    if wait_for 10 eval "[ \"\$(shrike_status server 'len(s[\"tunnels\"])')\" = 1 ]"; then
        pass "$1, ike alone killed: known again after $(($(now_ms) - since)) ms (dpd is 3 s)"
    else
        fail "$1, ike alone killed" 'no tunnel any more'
    fi
}

# It has lost the secret of its tokens, too, so that nobody can tell a crash from a bad network: after
# dpd (3 s) and 10 s without an answer a second IKE SA is tried, long before the first is given up.
forgetful()
{
    local before up ms
    before=$(address)
    spawn client pings ping -D -n -i 0.05 10.20.0.1
    sleep 11
    kill_gateway
    on server rm -f /var/lib/shrike/gateway.crash-secret
    shrike_start server || { fail "$1, without its secret" 'the gateway does not start'; return; }
    up=$(now_ms)
    ms=$(first_reply "$up" 40)
    stop pings
    if [ "$ms" -lt 25000 ]; then
        pass "$1, without its secret: back after $ms ms (dpd is 3 s)"
    else
        fail "$1, without its secret" "not back within 25 s ($ms)"
    fi
    same_place "$1, without its secret" "$before"
    expect "$1, without its secret: the tunnel was never given up" on client \
        sh -c '! grep -q "given up" /run/shrike/peer.log'
}

client_crash()
{
    local before
    before=$(address)
    # Processes of the client: those in its network namespace that are shrike.
    local pid
    for pid in $(pgrep -x shrike); do
        [ "$(readlink "/proc/$pid/ns/net")" = "$(readlink "/proc/${HOST_PID[client]}/ns/net")" ] &&
            kill -KILL "$pid"
    done
    expect "$1: comes up after it was killed" shrike_up client
    same_place "$1, client killed" "$before"
    expect "$1: traffic" on client ping -q -c 2 -i 0.1 -W 2 10.20.0.1
}

for outside in 198.51.100.1 2001:db8:5::1; do
    family=IPv4
    case $outside in *:*) family=IPv6 ;; esac
    setup $outside || { fail "$family" 'does not come up'; continue; }
    secret=$(on server sha256sum /var/lib/shrike/gateway.crash-secret)
    expect "$family: the secret is root's alone" test "$(on server stat -c '%a %u %s' \
        /var/lib/shrike/gateway.crash-secret)" = '600 0 32'
    with_traffic "$family"
    one_packet "$family"
    client_crash "$family"
    expect "$family: the secret is still the same" test "$(on server sha256sum \
        /var/lib/shrike/gateway.crash-secret)" = "$secret"
    takedown
done
if setup 198.51.100.1 dpd=3s; then
    liveness 'IPv4, dpd'
    ike_alone 'IPv4, dpd'
    forgetful 'IPv4, dpd'
else
    fail dpd 'does not come up'
fi
takedown
lab_summary
