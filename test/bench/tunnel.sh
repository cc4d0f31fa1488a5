#!/usr/bin/env bash
# How fast do packets go through a tunnel between two hosts on this machine? All candidates in one
# run, the plain cable first and last, so that a busy machine shows.
#
#   a 192.0.2.1 ---------- 192.0.2.2 b          outside: one veth cable
#     10.8.0.1 <==tunnel==> 10.8.0.2            inside
#
#   test/bench/tunnel.sh [-l veth|plain|gro]... [-c CANDIDATE]... [-o FILE]
#
#   veth   the cable as it is: it carries super-packets of 64 KB
#   gro    super-packets off (TSO, GSO, UDP segmentation), the receiver joins (GRO): a network card
#   plain  the same without GRO
#
# Environment: SHRIKE (binary), RUNS (1; the median counts), SECONDS_EACH (4).
# Columns: TCP Gbit/s with 1 and 4 streams; UDP received, thousand packets a second, for 64 octets
# of payload and for packets of 1400 octets. Sender, receiver and both tunnel ends share all cores.

. "$(dirname "$0")/../net/lib.sh"
. "$LAB_LIB/sswan.sh"
. "$LAB_LIB/shrike.sh"

SHRIKE=${SHRIKE:-$LAB_TOP/${B:-build}/shrike}
RUNS=${RUNS:-1} SECONDS_EACH=${SECONDS_EACH:-4}
links=() candidates=() out=
while getopts l:c:o: option; do
    case $option in
    l) links+=("$OPTARG") ;;
    c) candidates+=("$OPTARG") ;;
    o) out=$OPTARG ;;
    *) exit 2 ;;
    esac
done
[ ${#links[@]} -gt 0 ] || links=(veth gro)
[ ${#candidates[@]} -gt 0 ] || candidates=(none shrike wireguard-go openvpn strongswan none)

# Installing and fetching needs the network, which the lab does not have.
if [ $$ != 1 ]; then
    root_need six || echo "bench: no Debian testing root, wireguard-go and strongSwan are left out" >&2
fi
lab_enter "$@"

# ---- the candidates: up_X brings a tunnel between hosts a and b up, INSIDE_B is b's address in it ----

pair_number=0
# new_pair ROOT LINK: fresh hosts A and B with a cable
new_pair()
{
    pair_number=$((pair_number + 1))
    A=a$pair_number B_=b$pair_number
    host "$A" "$1"
    host "$B_" "$1"
    wire "$A" eth0 "$B_" eth0
    addr "$A" eth0 192.0.2.1/24
    addr "$B_" eth0 192.0.2.2/24
    case $2 in
    gro) plain_link "$A" eth0 gro; plain_link "$B_" eth0 gro ;;
    plain) plain_link "$A" eth0; plain_link "$B_" eth0; at "$A" ethtool -K eth0 gro off
        at "$B_" ethtool -K eth0 gro off ;;
    esac
}

up_none()
{
    new_pair '' "$1"
    INSIDE_B=192.0.2.2
}

up_shrike()
{
    [ -x "$SHRIKE" ] || { why='not built'; return 1; }
    new_pair '' "$1"
    addr "$B_" lo 10.8.0.2/32
    shrike_psk_pair "$A" 192.0.2.1 "$B_" 192.0.2.2 10.8.0.2/32 || { why='no tunnel'; return 1; }
    INSIDE_B=10.8.0.2
}

up_wireguard-go()
{
    root_ready six || { why='no root'; return 1; }
    new_pair "$(root_dir six)" "$1"
    local host other n=1
    for host in "$A" "$B_"; do
        spawn "$host" "wg-$host" wireguard-go -f wg0
        wait_for 5 on "$host" test -S /var/run/wireguard/wg0.sock || { why='no socket'; return 1; }
        on "$host" sh -c 'umask 077; wg genkey >/etc/wg.key; wg pubkey </etc/wg.key >"$1"' sh \
            "$LAB_DIR/wg-$host.pub"
    done
    for host in "$A" "$B_"; do
        other=$([ "$host" = "$A" ] && echo "$B_" || echo "$A")
        on "$host" wg set wg0 private-key /etc/wg.key listen-port 51820 peer \
            "$(cat "$LAB_DIR/wg-$other.pub")" allowed-ips "10.8.0.$((3 - n))/32" \
            endpoint "192.0.2.$((3 - n)):51820"
        addr "$host" wg0 "10.8.0.$n/24"
        at "$host" ip link set wg0 mtu 1420 up
        n=$((n + 1))
    done
    INSIDE_B=10.8.0.2
}

up_openvpn()
{
    command -v openvpn >/dev/null || { why='not installed'; return 1; }
    new_pair '' "$1"
    local host n
    for host in "$A" "$B_"; do
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$host" \
            -days 30 -keyout "$LAB_DIR/ovpn-$host.key" -out "$LAB_DIR/ovpn-$host.pem" 2>/dev/null
        openssl x509 -in "$LAB_DIR/ovpn-$host.pem" -noout -fingerprint -sha256 |
            cut -d= -f2 >"$LAB_DIR/ovpn-$host.print"
    done
    openvpn_end "$B_" "$A" 2 --tls-server --dh none
    openvpn_end "$A" "$B_" 1 --tls-client
    INSIDE_B=10.8.0.2
}

openvpn_end()
{
    local host=$1 other=$2 n=$3
    shift 3
    spawn "$host" "ovpn-$host" openvpn --dev tun0 --proto udp --local "192.0.2.$n" \
        --remote "192.0.2.$((3 - n))" --port 1194 --ifconfig "10.8.0.$n" "10.8.0.$((3 - n))" \
        --cert "$LAB_DIR/ovpn-$host.pem" --key "$LAB_DIR/ovpn-$host.key" --disable-dco \
        --peer-fingerprint "$(cat "$LAB_DIR/ovpn-$other.print")" --data-ciphers AES-256-GCM "$@"
}

up_strongswan()
{
    root_ready six || { why='no root'; return 1; }
    new_pair "$(root_dir six)" "$1"
    addr "$A" lo 10.8.0.1/32
    addr "$B_" lo 10.8.0.2/32
    local common=(psk='a secret of twenty octets' esp=aes256gcm16-x25519 ike=aes256gcm16-prfsha256-x25519)
    sswan_conf "$A" local=192.0.2.1 remote=192.0.2.2 lts=10.8.0.1/32 rts=10.8.0.2/32 "${common[@]}"
    sswan_conf "$B_" local=192.0.2.2 remote=192.0.2.1 lts=10.8.0.2/32 rts=10.8.0.1/32 "${common[@]}"
    sswan_start "$A" && sswan_start "$B_" && sswan_up "$A" || { why='no tunnel'; return 1; }
    INSIDE_B=10.8.0.2
}

# ---- measuring ----

# tcp STREAMS: Gbit/s as the receiver counts
tcp()
{
    spawn "$B_" iperf-server iperf3 -s -1
    wait_for 5 on "$B_" sh -c "ss -ltn 2>/dev/null | grep -q :5201 || grep -qi ':1451 ' /proc/net/tcp6"
    on "$A" iperf3 -c "$INSIDE_B" -t "$SECONDS_EACH" -O 1 -P "$1" -C cubic -J >"$LAB_DIR/iperf.json" 2>&1
    stop iperf-server
    python3 -c '
import json, sys
try: print("%.2f" % (json.load(open(sys.argv[1]))["end"]["sum_received"]["bits_per_second"] / 1e9))
except Exception: print("-")' "$LAB_DIR/iperf.json"
}

# udp PAYLOAD: thousand packets a second received
udp()
{
    stream_start blast "$A" "$B_" "$INSIDE_B" 7000 0 "$1" "$SECONDS_EACH"
    stream_end blast
    echo "$STREAM" | awk '{for (i = 1; i < NF; i++) if ($i == "rate-pps") {printf "%.0f\n", $(i + 1) / 1000; exit}}
        END {if (!NR) print "-"}' >"$LAB_DIR/udp.result"
}

median()
{
    tr ' ' '\n' | grep -v '^$' | sort -n | awk '{v[NR] = $1} END {print NR ? v[int((NR + 1) / 2)] : "-"}'
}

# measure: four numbers in RESULT, each the median of RUNS
measure()
{
    local i t1='' t4='' u1='' u2=''
    for ((i = 0; i < RUNS; i++)); do
        t1+=" $(tcp 1)"
        t4+=" $(tcp 4)"
        udp 64
        u1+=" $(cat "$LAB_DIR/udp.result")"
        udp 1372
        u2+=" $(cat "$LAB_DIR/udp.result")"
    done
    RESULT="$(median <<<"$t1") $(median <<<"$t4") $(median <<<"$u1") $(median <<<"$u2")"
}

down_all()
{
    local label
    for label in "${!SPAWN_PID[@]}"; do
        stop "$label"
    done
}

report()
{
    if [ -n "$out" ]; then
        echo "$1" >>"$out"
    fi
    echo "$1"
}

lab_blast || exit 1
for link in "${links[@]}"; do
    report ""
    report "| link: $link | TCP 1 stream, Gbit/s | TCP 4 streams, Gbit/s | UDP 64 B, kpps | UDP 1400 B, kpps |"
    report "| --- | --- | --- | --- | --- |"
    for candidate in "${candidates[@]}"; do
        why=
        if "up_$candidate" "$link" && wait_for 15 on "$A" ping -c 1 -W 1 "$INSIDE_B"; then
            measure
            report "| $candidate | ${RESULT// / | } |"
        else
            report "| $candidate | ${why:-no answer through the tunnel} | | | |"
        fi
        down_all
    done
done
