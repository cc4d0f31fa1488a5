#!/usr/bin/env bash
# What strangers send, a few hundred datagrams a second of each wrong kind: all is counted by its
# reason, some of it explained, nothing said above debug, and at debug no more than a few lines a second.
#
#   stranger 192.0.2.9 --- 192.0.2.1 gateway 10.20.0.1        client 192.0.2.3, with a tunnel meanwhile
#
#   test/net/garbage.sh

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/shrike.sh"
lab_enter "$@"

GARBAGE_SECONDS=6 GARBAGE_RATE=2000

host server
host client
host stranger
host switch
at switch ip link add bridge0 type bridge
for name in server client stranger; do
    wire switch "$name" $name eth0
    at switch ip link set "$name" master bridge0
done
at switch ip link set bridge0 up
addr server eth0 192.0.2.1/24
addr server lo 10.20.0.1/32
addr client eth0 192.0.2.3/24
addr stranger eth0 192.0.2.9/24

counter()
{
    shrike_status server "s['counters']['ike']['$1']"
}

more_than()
{
    local have
    have=$(counter "$2")
    if [ "${have:-0}" -gt "$3" ]; then pass "$1: $have"; else fail "$1" "$2 is '$have', must be over $3"; fi
}

garbage()
{
    before=$(stat -c %s "$(logfile server)")
    SENT=$(at stranger "$PYTHON" "$LAB_LIB/garbage.py" 192.0.2.1 $GARBAGE_SECONDS $GARBAGE_RATE)
    sleep 1
    tail -c +$((before + 1)) "$(logfile server)" >"$LAB_DIR/said"
}

shrike_conf server gateway id=gateway.example.org listen=192.0.2.1 pool=10.99.0.0/24 routes=10.20.0.0/24 \
    peer=client@example.org psk="$LAB_PSK" level=debug
shrike_conf client client id=client@example.org rid=gateway.example.org remote=192.0.2.1 send=10.20.0.0/24 \
    psk="$LAB_PSK" request=ip4 level=info
expect 'the gateway starts' shrike_start server
expect 'a client comes in' shrike_up client
spawn client pings ping -i 0.2 -W 5 10.20.0.1
garbage
lines=$(wc -l <"$LAB_DIR/said")
loud=$(grep -vc 'debug: ' "$LAB_DIR/said")
is "$SENT datagrams: nothing above debug" "$loud" 0
most=$((20 * (GARBAGE_SECONDS + 2)))
if [ "$lines" -gt 0 ] && [ "$lines" -le $most ]; then
    pass "$SENT datagrams: $lines lines at debug in $GARBAGE_SECONDS s"
else
    fail "$SENT datagrams" "$lines lines at debug in $GARBAGE_SECONDS s, must be 1 to $most"
fi
more_than 'unreadable ones are counted' drop_malformed 500
more_than 'and those of another version' drop_version 500
more_than 'and those for SAs that are none' drop_unknown_spi 500
more_than 'first messages that were refused' refused_syntax 500
stop pings INT
expect 'the client lost nothing' grep -q ' 0% packet loss' "$(logfile pings)"

# One address has four places, so that it cannot wash out what others did: the four newest causes.
is 'the causes are told apart, with what to do' \
    "$(shrike_status server "len({r['cause'] for r in s['refused'] if r['fix']})")" 4
expect 'explain last tells of the newest' on server "$SHRIKE" explain last

on client "$SHRIKE" down peer >/dev/null 2>&1
shrike_stop server
lab_summary
