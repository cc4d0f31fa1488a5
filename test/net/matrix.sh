#!/usr/bin/env bash
# The interop matrix: Shrike with everything that others wrote and that runs here, one line a cell.
#
#   client 192.168.7.2 ---------- router ---------- 198.51.100.1 server
#          2001:db8:7::2       (NAT or not)         2001:db8:5::1
#          192.168.8.2 and so on: a second link, down at first
#          10.30.0.1, fd30::1 <======tunnel======> 10.20.0.1, fd20::1
#
#   test/net/matrix.sh                           all, and doc/interop.md from it: hours
#   test/net/matrix.sh PEER [ROLE [PATTERN]]     these cells; the others of doc/interop.md stay as they are
#   test/net/matrix.sh missing [PEER [ROLE]]     those that doc/interop.md lacks, or says that they fail
#   test/net/matrix.sh merge [DIR]               doc/interop.md anew, with results in DIR
#   test/net/matrix.sh list                      the cells: PEER|ROLE|NAME|WHAT
#   test/net/matrix.sh run PEER ROLE [PATTERN]   these cells, here; lines also to $MATRIX_OUT/PEER-ROLE
#
# The table is doc/interop.md, or $MATRIX_DOC.
# PEER: six and five (strongSwan 6.1.0, 5.9.8), libre (libreswan 5.2), iked (OpenIKED 7.4).
# ROLE: Shrike's, initiator or responder. PATTERN: of cell names, as the shell's.
#
# A cell connects, sends pings both ways through the tunnel, does what its name says while pings run,
# looks at the state on both sides, and pings again. libreswan and OpenIKED keep their child SAs in
# the kernel, so their cells run in test/net/vm, at a tenth of the speed: times say nothing.

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/sswan.sh"
. "$LAB_LIB/libre.sh"
. "$LAB_LIB/iked.sh"
. "$LAB_LIB/shrike.sh"
. "$LAB_LIB/pki.sh"
. "$LAB_LIB/matrix_peers.sh"
. "$LAB_LIB/matrix_acts.sh"
. "$LAB_LIB/matrix_cells.sh"
shopt -s extglob

# ---- outside the lab: what to run, and the table ----

MATRIX_DOC=${MATRIX_DOC:-$LAB_TOP/doc/interop.md}

# Libreswan's and OpenIKED's child SAs are the kernel's.
matrix_part()
{
    local run=(bash "$0" run "$@") failed=0
    shrike_need matrix && root_need "$1" || { echo "matrix: no root '$1', or no Shrike" >&2; return 1; }
    [ "$1" = six ] || [ "$1" = five ] || [ -n "${SHRIKE_IN_VM:-}" ] ||
        run=("$LAB_LIB/vm" -t 7000 -m 3072 -o "$MATRIX_OUT" "${run[@]}")
    "${run[@]}" || failed=1
    matrix_unfinished "$@" || failed=1
    matrix_merge "$MATRIX_OUT" || failed=1
    return $failed
}

# matrix_unfinished PEER ROLE PATTERN: selected cells without a result have failed.
matrix_unfinished()
{
    local peer=$1 role=$2 pattern=$3 listing=yes out=$MATRIX_OUT/$1-$2 name what
    touch "$out"
    cut -d'|' -f1 "$out" >"$out.names"
    while IFS='|' read -r _ _ name what; do
        grep -qxF "$name" "$out.names" && continue
        echo "FAIL    $peer, $role, $name: did not finish"
        echo "$name|$what|fails|did not finish" >>"$out"
    done < <(matrix_cells)
    rm "$out.names"
    ! grep -q '|fails|did not finish$' "$out"
}

# matrix_some [PEER [ROLE [PATTERN]]]: at most these parts; merged after each. Status 1 when one has failed.
matrix_some()
{
    local peer role failed=0
    MATRIX_OUT=$(mktemp -d) || exit 1
    export MATRIX_OUT MATRIX_PKI=$MATRIX_OUT/pki
    PKI=$MATRIX_PKI make_credentials
    for peer in ${1:-six five libre iked}; do
        for role in ${2:-initiator responder}; do
            matrix_part "$peer" "$role" "${3:-*}" || failed=1
        done
    done
    rm -rf "$MATRIX_OUT"
    return $failed
}

# The names in a list's lines (PEER|ROLE|NAME|WHAT) as one pattern.
matrix_missing()
{
    local peer role names failed=0
    for peer in ${1:-six five libre iked}; do
        for role in ${2:-initiator responder}; do
            names=$(matrix_list | python3 "$LAB_LIB/matrix_table.py" missing "$MATRIX_DOC" "$peer" "$role")
            [ -z "$names" ] || matrix_some "$peer" "$role" "@($names)" || failed=1
        done
    done
    return $failed
}

matrix_merge()
{
    matrix_list | python3 "$LAB_LIB/matrix_table.py" merge "$MATRIX_DOC" "$1"
}

matrix_list()
{
    local peer role pattern='*' listing=yes
    for peer in six five libre iked; do
        for role in initiator responder; do matrix_cells; done
    done
}

# ---- inside: the network and one run ----

network()
{
    if [ "$role" = initiator ]; then
        host client
        ${kind}_host server "$peer"
        them=server us=client
    else
        ${kind}_host client "$peer"
        host server
        them=client us=server
    fi
    host router
    wire client eth0 router lan
    wire client eth1 router other
    wire router wan server eth0
    # In one go for each host: starting a program takes long in a virtual machine.
    at client ip -batch - <<END
address add 192.168.7.2/24 dev eth0
address add 2001:db8:7::2/64 dev eth0 nodad
link set eth1 down
address add 10.30.0.1/32 dev lo
address add fd30::1/128 dev lo nodad
route add default via 192.168.7.1
route add default via 2001:db8:7::1
END
    at router ip -batch - <<END
address add 192.168.7.1/24 dev lan
address add 2001:db8:7::1/64 dev lan nodad
address add 192.168.8.1/24 dev other
address add 2001:db8:8::1/64 dev other nodad
address add 198.51.100.2/24 dev wan
address add 2001:db8:5::2/64 dev wan nodad
END
    at server ip -batch - <<END
address add 198.51.100.1/24 dev eth0
address add 2001:db8:5::1/64 dev eth0 nodad
address add 10.20.0.1/32 dev lo
address add 10.21.0.1/32 dev lo
address add fd20::1/128 dev lo nodad
route add default via 198.51.100.2
route add default via 2001:db8:5::2
END
    forward router
    on client sh -c 'echo 1 >/proc/sys/net/ipv4/conf/all/promote_secondaries'
}

# Certificates are made once, outside of a virtual machine.
make_credentials()
{
    local type side end id
    if [ -e "${MATRIX_PKI:-none}/.complete" ]; then
        cp -r "$MATRIX_PKI" "$PKI"
        return
    fi
    for type in rsa2048 p256 p384 p521 ed25519; do
        pki_ca "ca-$type" "$type"
        for side in client server; do
            [ $side = client ] && id=email:client@example.org || id=DNS:server.example.org
            pki_cert "ca-$type" "$side-$type" "$type" "$id"
        done
    done
    make_large
    make_chain
    cc -O2 -o "$PKI/initflood" "$LAB_LIB/initflood.c"
    : >"$PKI/.complete"
}

# 150 names make a certificate of about 6 kB.
make_large()
{
    local names= i
    for ((i = 100; i < 250; i++)); do names=$names,DNS:a-name-to-make-it-large-$i.example.org; done
    pki_ca ca-large rsa2048
    pki_cert ca-large client-large rsa2048 "email:client@example.org$names"
    pki_cert ca-large server-large rsa2048 "DNS:server.example.org$names"
}

# Both sides know the root alone, and each shows an authority between that the other has never seen.
make_chain()
{
    local side
    pki_ca ca-chain p384
    for side in client server; do
        pki_ca "between-$side" p256 ca-chain
    done
    pki_cert between-client client-chain p256 email:client@example.org
    pki_cert between-server server-chain p256 DNS:server.example.org
    for side in client server; do
        cat "$PKI/$side-chain.pem" "$PKI/between-$side.pem" >"$PKI/$side-chain-full.pem"
    done
}

# Options of a cell, k[...]: auth, ike, esp, ah (then esp is empty), out (4 or 6), in (4, 6 or 46), nat, act, want, peer (lines
# for the peer's file), says (with want: what Shrike says of it, as grep -E), shrike (further words of shrike_conf), cert (kind of certificate, when auth
# does not say it), children (how many child SAs), ready (what is done when the first side has started)
declare -A k

side_id()
{
    if [ "$1" = client ]; then echo client@example.org; else echo server.example.org; fi
}

# inside SIDE: the networks behind it
inside()
{
    local a=10.20.0.0/24 b=fd20::/64
    [ "$1" = server ] || a=10.30.0.0/24 b=fd30::/64
    case ${k[in]} in
    4) echo $a${k[only]:-} ;;
    6) echo $b${k[only]:-} ;;
    46) echo $a,$b ;;
    esac
}

outside()
{
    if [ "${k[out]}" = 4 ]; then echo 198.51.100.1; else echo 2001:db8:5::1; fi
}

# The type of key of a way to authenticate.
key_of()
{
    case ${k[cert]:-$1} in
    rsa* | pss) echo rsa2048 ;;
    *) echo "${k[cert]:-$1}" ;;
    esac
}

configure_shrike()
{
    local words=(ike="${k[ike]}" esp="${k[esp]}" ah="${k[ah]:-}") key cert
    key=$(key_of "${k[auth]}")
    if [ "$key" = psk ]; then
        words+=(psk="${k[psk]}")
    else
        cert=$PKI/$us-$key
        [ "$key" != chain ] || cert+=-full
        words+=(cert="$cert.pem" key="$PKI/$us-$key.key" ca="$PKI/ca-$key.pem")
    fi
    if [ "$us" = client ]; then
        local send
        send=${k[wide]:-$(inside server)}${k[send]:-}
        case ${k[cp]:-} in
        '') words+=(local="$(inside client)") ;;
        *) words+=(request="${k[cp]}") ;;
        esac
        shrike_conf client client remote="$(outside)" id=client@example.org rid=server.example.org \
            send="$send" "${words[@]}" ${k[shrike]:-}
    else
        if [ -z "${k[cp]:-}" ]; then
            words+=(networks="$(inside client)")
        else
            words+=(pool=10.99.0.0/24,fd99::/64)
        fi
        shrike_conf server gateway listen="$(outside)${k[listen]:+,${k[listen]}}" id=server.example.org routes="$(inside server)${k[send]:-}" \
            peer=client@example.org "${words[@]}" ${k[shrike]:-}
    fi
}

connect()
{
    ${kind}_start $them || return
    if [ "$role" = initiator ]; then
        "ready_${k[ready]:-none}" && shrike_up client
    else
        shrike_start server && "ready_${k[ready]:-none}" && ${kind}_up client
    fi
}

disconnect()
{
    if [ "$role" = initiator ]; then
        on client timeout 20 "$SHRIKE" down peer
    else
        ${kind}_down client
        shrike_stop server
    fi >/dev/null 2>&1
    ${kind}_stop $them >/dev/null 2>&1
}

# ---- one cell ----

# In a virtual machine everything takes longer: how much, and milliseconds between two pings.
slow=1 pace=50


what_it_is()
{
    local text="${k[auth]}; ${k[ike]} / ${k[esp]:-AH ${k[ah]:-}}; IPv${k[in]/46/4 and IPv6} in IPv${k[out]}"
    [ "${k[nat]}" = yes ] || text+='; no NAT'
    [ -z "${k[cp]:-}" ] || text+="; addresses given out: ${k[cp]}"
    [ -z "${k[shrike]:-}" ] || text+="; ${k[shrike]}"
    echo "${k[what]:-$text}"
}

# record RESULT DETAIL
record()
{
    local line
    result=$1
    line="$name|$(what_it_is)|$1|${2//|/ }"
    [ -z "${MATRIX_OUT:-}" ] || echo "$line" >>"$MATRIX_OUT/$peer-$role"
    case $1 in
    fails) fail "$peer, $role, $name" "$2" ;;
    *) pass "$peer, $role, $name${2:+ ($1: $2)}" ;;
    esac
}

# What Shrike has said this time of why there is no tunnel, when that is what k[says] expects.
refusal()
{
    local log=server
    [ $us = server ] || log=client-up
    grep -oE "${k[says]}" "$(logfile $log)" | tail -n 1 | grep .
}

# What both sides say when a cell has failed; LAB_KEEP as in lib.sh.
keep_cell()
{
    local dir=$LAB_KEEP/$peer-$role/$name
    mkdir -p "$dir"
    on $us "$SHRIKE" status --json >"$dir/status.json" 2>&1
    on $us sh -c 'cat /run/shrike/*.log' >"$dir/shrike.log" 2>/dev/null
    at $them ip -s xfrm state >"$dir/xfrm" 2>&1
    at $them ip -s xfrm policy >>"$dir/xfrm" 2>&1
    at $them cat /proc/net/xfrm_stat >>"$dir/xfrm" 2>&1
    cp "$LAB_DIR"/log/*.log "$dir"
}

run_cell()
{
    why='' two=no
    if [ "${k[nat]}" = no ]; then nat routed; else nat nat; fi
    [ -z "${k[mtu]:-}" ] || { at router ip link set wan mtu "${k[mtu]}"; at server ip link set eth0 mtu "${k[mtu]}"; }
    if ! configure_shrike || ! configure_peer >"$LAB_DIR/conf.out" 2>&1; then
        record fails "cannot be configured: $(tail -n 1 "$LAB_DIR/conf.out")"
    elif ! connect >"$LAB_DIR/connect.out" 2>&1; then
        why=$(grep -vE 'debug:|^$|next attempt' "$LAB_DIR/connect.out" | tail -n 1)
        if [ -z "${k[want]:-}" ]; then
            record fails "does not connect: $why"
        elif said=$(refusal) && stays_down; then
            record refused "$said"
        else
            record fails "does not say why, or has SAs: $why"
        fi
    elif [ -n "${k[want]:-}" ]; then
        record fails "connects, but must not: ${k[want]}"
    elif carries && saw_"${k[ready]:-none}" && "act_${k[act]}" && { [ "${k[over]:-}" = yes ] || carries; }; then
        record ok "${k[note]:-}"
    else
        # OpenIKED answers a peer with success also where its kernel has refused.
        [ $kind != iked ] || ! iked_says $them pfkey_reply ||
            why+="; OpenIKED: $(grep -o 'pfkey_reply: .*' "$(logfile $them)" | tail -n 1)"
        # Nor does libreswan, for IPv4 inside IPv6.
        [ $kind != libre ] || ! libre_says $them 'MOBIKE update.*FAILED' ||
            why+="; libreswan: $(grep -o 'MOBIKE update.*' "$LAB_DIR/log/$them-pluto.log" | tail -n 1)"
        record fails "$why"
    fi
    [ "$result" != fails ] || [ -z "${LAB_KEEP:-}" ] || keep_cell
    disconnect
    "tidy_${k[ready]:-none}"
    [ -z "${k[mtu]:-}" ] || { at router ip link set wan mtu 1500; at server ip link set eth0 mtu 1500; }
}

# cell NAME KEY=VALUE...
cell()
{
    local pair
    name=$1
    shift
    # shellcheck disable=SC2254 # the pattern is one
    case $name in $pattern) ;; *) return ;; esac
    k=([auth]=psk [ike]=$IKE [esp]=$ESP [out]=4 [in]=4 [nat]=yes [act]=none [psk]=$LAB_PSK)
    for pair; do k[${pair%%=*}]=${pair#*=}; done
    if [ -n "${listing:-}" ]; then
        echo "$peer|$role|$name|$(what_it_is)"
    else
        run_cell
    fi
}

# The first SA of an algorithm loads and tests its modules, which here takes longer than the kernel
# waits: "algorithm not found".
warm_kernel()
{
    local key word i n=0
    key=0x$(printf '%072d' 0)
    for i in 1 2 3 4 5; do
        for word in "aead rfc4106(gcm(aes)) $key 128" "aead rfc7539esp(chacha20,poly1305) $key 128" \
            "enc cbc(aes) ${key:0:66} auth-trunc hmac(sha256) $key 128" \
            "enc cbc(aes) ${key:0:66} auth-trunc hmac(sha384) $key 192" \
            "enc cbc(aes) ${key:0:66} auth-trunc hmac(sha512) $key 256" \
            "enc cbc(des3_ede) ${key:0:50} auth-trunc hmac(sha1) $key 96"; do
            # shellcheck disable=SC2086 # words
            ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x$i$((++n)) mode tunnel $word
        done 2>&1 | grep -q 'not implemented\|No such' || break
    done
    ip xfrm state flush
}

matrix_run()
{
    peer=$1 role=$2 pattern=${3:-*}
    case $peer in
    six | five) kind=sswan ;;
    *) kind=$peer ;;
    esac
    shrike_need matrix && root_ready $peer || { skip "matrix, $peer" 'no root: test/net/roots.sh'; lab_summary; exit; }
    if [ -n "${SHRIKE_IN_VM:-}" ]; then
        slow=${MATRIX_SLOW:-4} pace=100
        modprobe -a esp4 esp6 ah4 ah6 xfrm_user xfrm4_tunnel xfrm6_tunnel af_key tun veth nf_tables nft_chain_nat nft_masq
        warm_kernel
    fi
    [ -z "${MATRIX_OUT:-}" ] || : >"$MATRIX_OUT/$peer-$role"
    network
    make_credentials
    shrike_judge
    matrix_cells
    lab_summary
}

case ${1:-} in
run)
    lab_enter "$@"
    shift
    matrix_run "$@"
    ;;
list) matrix_list ;;
merge) matrix_merge "${2:-/nonexistent}" ;;
missing) matrix_missing "${@:2}" ;;
'' | six | five | libre | iked) matrix_some "$@" ;;
*) sed -n '2,24p' "$0" >&2; exit 2 ;;
esac
