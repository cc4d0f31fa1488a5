#!/usr/bin/env bash
# The data plane alone, with static keys, between two hosts:
#
#   one (10.77.1.1) -- TUN sp0, 192.0.2.1 -- veth -- 192.0.2.2, TUN sp0 -- two (10.77.2.1)
#
# plane.sh [SUITE] [WORKERS] [SECONDS]     prints Gbit/s: the link itself, then the tunnel; one TCP
# stream, four, the other way, one stream over a link without segmentation offload, and small UDP.
# OUTER=6 runs it over IPv6, INNER=6 through IPv6, RAW=raw without UDP. ONLY=pattern picks lines.
set -u
. "$(cd "$(dirname "${BASH_SOURCE[0]}")/../net" && pwd)/lib.sh"
B=${B:-build}
lab_enter "$@"
suite=${1:-aes256gcm16} workers=${2:-1} seconds=${3:-5}
plane=$LAB_TOP/$B/shrike-plane
host one
host two
wire one eth0 two eth0
if [ "${OUTER:-4}" = 6 ]; then
    local_one=2001:db8::1 local_two=2001:db8::2 mtu=1418 len=64
else
    local_one=192.0.2.1 local_two=192.0.2.2 mtu=1438 len=24
fi
addr one eth0 $local_one/$len
addr two eth0 $local_two/$len
if [ "${INNER:-4}" = 6 ]; then
    in_one=fd77:1::1 in_two=fd77:2::1 net_one=fd77:1::/64 net_two=fd77:2::/64 bits=64
else
    in_one=10.77.1.1 in_two=10.77.2.1 net_one=10.77.1.0/24 net_two=10.77.2.0/24 bits=24
fi

# iperf3 ADDRESS ARGUMENTS...: Gbit/s received
rate()
{
    local to=$1
    shift
    on one iperf3 -C cubic -J -t "$seconds" -O 1 -c "$to" "$@" 2>/dev/null |
        sed -n '/"sum_received"/,/}/s/.*"bits_per_second":[[:space:]]*\([0-9.e+]*\).*/\1/p' |
        awk '{printf "%.2f", $1 / 1e9}'
}

line()
{
    case "$1" in ${ONLY:-*}) ;; *) return ;; esac
    printf '  %-34s %s Gbit/s\n' "$1" "$(rate "${@:2}")"
}

spawn two iperf iperf3 -s
sleep 0.5
line "link" $local_two
spawn one plane-one "$plane" a sp0 $mtu "$workers" $local_one $local_two $net_one $net_two "$suite" ${RAW:-}
spawn two plane-two "$plane" b sp0 $mtu "$workers" $local_two $local_one $net_two $net_one "$suite" ${RAW:-}
wait_for 5 on one ip link show sp0 >/dev/null
wait_for 5 on two ip link show sp0 >/dev/null
sleep 0.3
for h in one two; do
    eval "a=\$in_$h"
    if [ $h = one ]; then n=$net_two; else n=$net_one; fi
    addr $h sp0 "$a/$bits"
    on $h ip route add $n dev sp0
done
wait_for 5 on one ping -c 1 -W 1 $in_two >/dev/null || echo "  no way through"
line "tunnel, 1 stream" $in_two
line "tunnel, 4 streams" $in_two -P 4
line "tunnel, 1 stream, other way" $in_two -R
line "tunnel, both ways" $in_two --bidir
on one ethtool -K eth0 tso off gso off tx-udp-segmentation off >/dev/null 2>&1
on two ethtool -K eth0 tso off gso off tx-udp-segmentation off gro on >/dev/null 2>&1
line "link, TSO off, GRO on" $local_two
line "tunnel, TSO off, GRO on" $in_two
on one ethtool -K eth0 gro off >/dev/null 2>&1
on two ethtool -K eth0 gro off >/dev/null 2>&1
line "link, TSO and GRO off" $local_two
line "tunnel, TSO and GRO off" $in_two
for h in one two; do
    stop plane-$h
    [ -z "${VERBOSE:-}" ] || sed "s/^/    $h: /" "$LAB_DIR/log/plane-$h"* 2>/dev/null
done
exit 0
