#!/usr/bin/env bash
# What a handshake costs the responder, and what an established tunnel costs it in memory: our own
# load generator against Shrike and against strongSwan 6, over one veth cable.
#
#   load 192.0.2.1 ---------- 192.0.2.2 responder
#
#   test/bench/handshake.sh [-r shrike|strongswan]... [-a psk|ecdsa]... [-k KEY-EXCHANGES]... [-o FILE]
#
# Environment: TUNNELS (10000), STRONGSWAN_TUNNELS (1000: its user-space data plane searches lists, so
# that its cost grows with their number), PARALLEL (16). CPU is that of all the responder's processes, memory
# their proportional set size after minus before, divided by the number of tunnels.

. "$(dirname "$0")/../net/lib.sh"
. "$LAB_LIB/sswan.sh"
. "$LAB_LIB/shrike.sh"

LOAD=${LOAD:-$LAB_TOP/${B:-build}/shrike-load}
TUNNELS=${TUNNELS:-10000} PARALLEL=${PARALLEL:-16}
responders=() auths=() kes=() out=
while getopts r:a:k:o: option; do
    case $option in
    r) responders+=("$OPTARG") ;;
    a) auths+=("$OPTARG") ;;
    k) kes+=("$OPTARG") ;;
    o) out=$OPTARG ;;
    *) exit 2 ;;
    esac
done
[ ${#responders[@]} -gt 0 ] || responders=(shrike strongswan)
[ ${#auths[@]} -gt 0 ] || auths=(psk ecdsa)
[ ${#kes[@]} -gt 0 ] || kes=(x25519 x25519-ke1_mlkem768)
if [ $$ != 1 ]; then
    root_need six || echo "bench: no Debian testing root, strongSwan is left out" >&2
fi
lab_enter "$@"
. "$LAB_LIB/pki.sh"

ESP=aes256gcm16
number=0

new_pair()
{
    number=$((number + 1))
    from=load$number to=responder$number
    host $from
    host $to "$1"
    wire $from eth0 $to eth0
    addr $from eth0 192.0.2.1/24
    addr $to eth0 192.0.2.2/24
    addr $to lo 10.20.0.1/32
}

load_conf()
{
    local auth=(psk="$LAB_PSK")
    [ "$1" = psk ] || auth=(cert="$PKI/client.pem" key="$PKI/client.key" ca="$PKI/ca.pem")
    shrike_conf "$from" client remote=192.0.2.2 id=client@example.org rid=server.example.org \
        send=10.20.0.0/24 request=ip4 ike=$IKE esp=$ESP level=warn "${auth[@]}"
}

start_shrike()
{
    local auth=(peer=client@example.org psk="$LAB_PSK")
    [ "$1" = psk ] || auth=(cert="$PKI/server.pem" key="$PKI/server.key" ca="$PKI/ca.pem" any_cert=yes)
    new_pair ''
    shrike_conf "$to" gateway id=server.example.org listen=192.0.2.2 pool=10.64.0.0/12 \
        routes=10.20.0.0/24 ike=$IKE esp=$ESP level=warn "${auth[@]}"
    on "$to" sed -i -e 's/^\[auth\]/&\nunique = no\ntunnels-per-client = none/' -e "s/^\[gateway\]/&\nmax-tunnels = $((TUNNELS + 1000))\nhandshakes = none/" \
        /etc/shrike/shrike.conf
    shrike_start "$to" || return
    pids=${SPAWN_PID[$to]}
    pids+=,$(pgrep -P "$pids" -d,)
}

# Tuned as one would for many tunnels; no route for each of them, no limits against floods.
start_strongswan()
{
    local auth=(psk="$LAB_PSK")
    new_pair "$(root_dir six)"
    if [ "$1" != psk ]; then
        auth=(auth=pubkey cert=cert.pem)
        sswan_cert "$to" "$PKI/server.pem" "$PKI/server.key" "$PKI/ca.pem"
    fi
    export SSWAN_OPTIONS='install_routes = no
        dos_protection = no
        cookie_threshold = 0
        block_threshold = 0
        ikesa_table_size = 4096
        ikesa_table_segments = 16'
    sswan_conf "$to" local=192.0.2.2 id=server.example.org rid=client@example.org lts=10.20.0.0/24 \
        pool=10.64.0.0/12 ike=$IKE esp=$ESP more='unique = never' "${auth[@]}"
    sswan_start "$to" || return
    # Messages by the hundred thousand would measure the log.
    on "$to" sed -i 's/default = 1/default = -1/' /etc/strongswan.conf
    on "$to" swanctl --reload-settings >/dev/null 2>&1
    pids=${SPAWN_PID[$to]}
}

report()
{
    [ -z "$out" ] || echo "$1" >>"$out"
    echo "$1"
}

pki_ca ca p256
pki_cert ca client p256 email:client@example.org
pki_cert ca server p256 DNS:server.example.org

report ""
report "| responder, authentication, key exchanges | tunnels | handshakes/s | CPU of the responder, ms each | first / last tenth | memory, kB each |"
report "| --- | --- | --- | --- | --- | --- |"
for responder in "${responders[@]}"; do
    for auth in "${auths[@]}"; do
        for ke in "${kes[@]}"; do
            label="$responder, $auth, $ke" IKE=aes256gcm16-prfsha256-$ke
            if [ "$responder" = strongswan ] && ! root_ready six; then
                report "| $label | no root | | | | |"
                continue
            fi
            if ! "start_$responder" "$auth"; then
                report "| $label | does not start | | | | |"
                continue
            fi
            load_conf "$auth"
            count=$TUNNELS
            [ "$responder" != strongswan ] || count=${STRONGSWAN_TUNNELS:-1000}
            log=$(logfile "load-$number")
            on "$from" timeout 300 "$LOAD" --config /etc/shrike/peer.conf --tunnels "$count" --parallel "$PARALLEL" \
                --step $((count / 10)) --pids "$pids" >"$log" 2>&1
            report "$(awk -v label="$label" '
                / established  / {if (!first) first = $5; last = $5}
                /^established/ {n = $2; rate = cpu = mem = ""
                    for (i = 1; i < NF; i++) {
                        if ($i == "s:") rate = $(i + 1)
                        if ($i == "responder") cpu = $(i + 1)
                        if ($(i + 1) == "kB") mem = $i
                    }
                    printf "| %s | %s | %s | %s | %s / %s | %s |", label, n, rate, cpu, first, last, mem; ok = 1}
                END {if (!ok) printf "| %s | failed | | | | |", label}' "$log")"
            grep -h ' failed, the last' "$log" >&2
            stop "$to"
        done
    done
done
