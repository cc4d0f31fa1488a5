#!/usr/bin/env bash
# The interop matrix: Shrike with everything that others wrote and that runs here, one line a cell.
#
#   client 192.168.7.2 ---------- router ---------- 198.51.100.1 server
#          2001:db8:7::2       (NAT or not)         2001:db8:5::1
#          10.30.0.1, fd30::1 <======tunnel======> 10.20.0.1, fd20::1
#
#   test/net/matrix.sh                          all, and doc/interop.md from it: about an hour
#   test/net/matrix.sh table DIR                doc/interop.md from the lines in DIR
#   test/net/matrix.sh run PEER ROLE [PATTERN]  these cells, here; lines also to $MATRIX_OUT/PEER-ROLE
#
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
. "$LAB_LIB/matrix_cells.sh"
shopt -s extglob

matrix_title()
{
    case $1 in
    six) echo 'strongSwan 6.1.0' ;;
    five) echo 'strongSwan 5.9.8' ;;
    libre) echo 'libreswan 5.2' ;;
    iked) echo 'OpenIKED 7.4' ;;
    esac
}

# ---- outside the lab: everything, and the table ----

matrix_all()
{
    local dir peer role
    dir=$(mktemp -d) || exit 1
    for peer in six five libre iked; do
        root_need $peer || { echo "matrix: no root '$peer'" >&2; continue; }
        for role in initiator responder; do
            if [ $peer = six ] || [ $peer = five ]; then
                MATRIX_OUT=$dir bash "$0" run $peer $role
            else
                MATRIX_OUT=$dir "$LAB_LIB/vm" -t 3000 -m 3072 -o "$dir" bash "$0" run $peer $role
            fi
        done
    done
    matrix_table "$dir" >"$LAB_TOP/doc/interop.md.new" && mv "$LAB_TOP/doc/interop.md.new" "$LAB_TOP/doc/interop.md"
    rm -rf "$dir"
}

# Lines are "name|what it was|result|detail".
matrix_table()
{
    local dir=$1 peer role file
    cat <<'END'
# Interoperability

Each line is a real run between Shrike and a program that others wrote, made by `test/net/matrix.sh`: connect, ping both
ways through the tunnel, do what the line says while pings run (none may be lost at a rekey), look at the SAs on both sides, ping again.
strongSwan runs with its user-space data plane (kernel-libipsec: always ESP in UDP, no ESN, no AH), libreswan and OpenIKED with the ESP of
Debian 12's kernel in a virtual machine. A client network behind a router that does NAT, unless the line says otherwise.

"refused" means that one side must not or cannot accept, does not, and says why; "fails" is a fault, by whom it says.

END
    awk -F '|' '{n++; r[$3]++} END {printf "%d cells: %d ok, %d refused, %d fail.\n", n, r["ok"], r["refused"], r["fails"]}' "$dir"/*-*
    for peer in six five libre iked; do
        for role in initiator responder; do
            file=$dir/$peer-$role
            [ -s "$file" ] || continue
            printf '\n## %s, Shrike is the %s\n\n| cell | what | result |\n| --- | --- | --- |\n' "$(matrix_title $peer)" $role
            awk -F '|' '{print "| " $1 " | " $2 " | " $3 ($4 != "" ? ": " $4 : "") " |"}' "$file"
        done
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
    wire router wan server eth0
    addr client eth0 192.168.7.2/24 2001:db8:7::2/64
    addr router lan 192.168.7.1/24 2001:db8:7::1/64
    addr router wan 198.51.100.2/24 2001:db8:5::2/64
    addr server eth0 198.51.100.1/24 2001:db8:5::1/64
    addr server lo 10.20.0.1/32 fd20::1/128
    addr client lo 10.30.0.1/32 fd30::1/128
    route client default via 192.168.7.1
    route client default via 2001:db8:7::1
    route server default via 198.51.100.2
    route server default via 2001:db8:5::2
    forward router
}

nat()
{
    at router nft delete table inet lab_nat 2>/dev/null
    [ "$1" = no ] || masquerade router wan
    at router conntrack -F >/dev/null 2>&1 || true
}

make_credentials()
{
    local type
    for type in rsa2048 p256 p384 p521 ed25519; do
        pki_ca "ca-$type" "$type"
        pki_cert "ca-$type" "client-$type" "$type" email:client@example.org
        pki_cert "ca-$type" "server-$type" "$type" DNS:server.example.org
    done
}

# Options of a cell, k[...]: auth ike esp out (4 or 6) in (4, 6 or 46) nat act want peer (lines for
# the peer's file) shrike (further words of shrike_conf)
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
    4) echo $a ;;
    6) echo $b ;;
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
    case $1 in
    rsa* | pss) echo rsa2048 ;;
    *) echo "$1" ;;
    esac
}

configure_shrike()
{
    local words=(ike="${k[ike]}" esp="${k[esp]}") key
    key=$(key_of "${k[auth]}")
    if [ "$key" = psk ]; then
        words+=(psk="${k[psk]}")
    else
        words+=(cert="$PKI/$us-$key.pem" key="$PKI/$us-$key.key" ca="$PKI/ca-$key.pem")
    fi
    if [ "$us" = client ]; then
        local send
        send=$(inside server)
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
        shrike_conf server gateway listen="$(outside)" id=server.example.org routes="$(inside server)" \
            peer=client@example.org "${words[@]}" ${k[shrike]:-}
    fi
}

# Every peer has other words for a way to authenticate.
configure_peer()
{
    local key words other=client
    [ "$them" = client ] && other=server
    key=$(key_of "${k[auth]}")
    words=(id="$(side_id $them)" rid="$(side_id $other)" ike="${k[pike]:-${k[ike]}}" esp="${k[pesp]:-${k[esp]}}" lts="$(inside $them)" rts="$(inside $other)")
    if [ "$key" = psk ]; then
        words+=(psk="$LAB_PSK")
    else
        ${kind}_cert $them "$PKI/$them-$key.pem" "$PKI/$them-$key.key" "$PKI/ca-$key.pem" || return
    fi
    "configure_$kind" && "${kind}_conf" $them "${words[@]}"
}

configure_sswan()
{
    local extra=()
    SSWAN_OPTIONS="${k[options]:-}"
    case ${k[auth]} in
    psk) words+=(auth=psk) ;;
    pss) words+=(auth=ike:rsa/pss-sha256 cert=cert.pem) ;;
    rsaold) SSWAN_OPTIONS='signature_authentication = no' words+=(auth=pubkey cert=cert.pem) ;;
    *) words+=(auth=pubkey cert=cert.pem) ;;
    esac
    if [ $them = client ]; then
        words+=(remote="$(outside)")
        if [ -n "${k[cp]:-}" ]; then
            words+=(lts= vips="$(sed 's/ip4/0.0.0.0/; s/ip6/::/' <<<"${k[cp]}")")
        fi
    else
        words+=(local="$(outside)")
        case ${k[cp]:-} in
        ip4) words+=(rts= pool=10.99.0.0/24) ;;
        ip6) words+=(rts= pool=fd99::/120) ;;
        ?*) words+=(rts= pool=10.99.0.0/24 pool6=fd99::/120) ;;
        esac
    fi
    words+=(${k[peer]:+"${k[peer]}"})
}

configure_libre()
{
    case ${k[auth]} in
    psk) words+=(auth=secret) ;;
    pss) words+=(auth=rsa-sha2 cert=cert) ;;
    rsa2048 | rsaold) words+=(auth=rsa-sha1 cert=cert) ;;
    *) words+=(auth=ecdsa cert=cert) ;;
    esac
    if [ $them = client ]; then
        if [ "${k[out]}" = 4 ]; then words+=(local=192.168.7.2); else words+=(local=2001:db8:7::2); fi
        words+=(remote="$(outside)")
        [ -z "${k[cp]:-}" ] || words+=(lts= vips=yes rts="$(inside server)")
    else
        words+=(local="$(outside)")
        case ${k[cp]:-} in
        ip4) words+=(rts= pool=10.99.0.10-10.99.0.100) ;;
        ip6) words+=(rts= pool=fd99::/112) ;;
        ?*) words+=(rts= pool=10.99.0.10-10.99.0.100,fd99::/112) ;;
        esac
    fi
    [ -n "${k[cp]:-}" ] || k[peer]+=' leftupdown=%disabled'
    words+=(more="${k[peer]:-}")
}

configure_iked()
{
    local word
    case ${k[auth]} in
    psk) words+=(auth=psk) ;;
    *) words+=(auth=rfc7427) ;;
    esac
    if [ $them = client ]; then
        words+=(active=active remote="$(outside)")
        [ -z "${k[cp]:-}" ] || words+=(vips=any)
    else
        words+=(local="$(outside)")
        case ${k[cp]:-} in
        ip4) words+=(pool=10.99.0.0/24 rts=0.0.0.0/0) ;;
        ip6) words+=(pool=fd99::/120 rts=::/0) ;;
        esac
    fi
    words+=(${k[peer]:-})
}

connect()
{
    ${kind}_start $them || return
    if [ "$role" = initiator ]; then
        shrike_up client
    else
        shrike_start server && ${kind}_up client
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

# ---- what a cell looks at ----

why=

# carries: pings of each inner family, from the client and, but with an address given out, back
carries()
{
    local family ends from to
    for family in 4 6; do
        [[ ${k[in]} = *$family* ]] || continue
        ends=(10.30.0.1 10.20.0.1)
        [ $family = 4 ] || ends=(fd30::1 fd20::1)
        [ -z "${k[cp]:-}" ] || ends[0]=
        one_way client "${ends[0]}" "${ends[1]}" || return
        [ -n "${k[cp]:-}" ] || one_way server "${ends[1]}" "${ends[0]}" || return
    done
}

one_way()
{
    on "$1" ping -c 3 -i 0.2 -W 4 ${2:+-I "$2"} "$3" >"$LAB_DIR/log/ping.log" 2>&1
    grep -q ' 3 received' "$LAB_DIR/log/ping.log" && return 0
    why="ping from $1 to $3: $(grep -oE '[0-9]+ received.*loss|.*unreachable.*' "$LAB_DIR/log/ping.log" | tail -n 1)"
    return 1
}

# ESP packets for SPIs that Shrike does not know, so far.
strays()
{
    shrike_status $us "s['counters']['esp']['drop_in_spi']"
}

# A train of pings while something happens; none may be lost. Where the peer answers a rekey and at
# once sends on the new SA, packets may come before that answer, which alone has the nonce that their
# keys need. Those lost so are counted and named in the cell, no others are excused.
train_start()
{
    strays_before=$(strays)
    local from=10.30.0.1 to=10.20.0.1
    [[ ${k[in]} = *4* ]] || from=fd30::1 to=fd20::1
    [ -z "${k[cp]:-}" ] || from=
    spawn client train ping -q -c "${1:-100}" -i 0.05 -W 4 ${from:+-I $from} $to
    sleep 0.5
}

train_end()
{
    local text lost
    finish train
    text=$(grep -oE '[0-9]+ packets transmitted, [0-9]+ received' "$(logfile train)")
    why="pings meanwhile: ${text:-none}"
    [[ $text =~ ^([0-9]+)\ .*\ ([0-9]+)\ received ]] || return
    lost=$((BASH_REMATCH[1] - BASH_REMATCH[2]))
    [ $lost -le $(($(strays) - strays_before)) ] || return
    [ $lost = 0 ] || k[note]="$lost of ${BASH_REMATCH[1]} pings came on the new SA before the answer that tells its keys"
    why=
}

spis()
{
    case $1 in
    child) shrike_status $us "s['tunnels'][0]['children'][0]['spi_in']" ;;
    ike) shrike_status $us "s['tunnels'][0]['spi_i']" ;;
    esac
}

counts()
{
    echo "$(shrike_status $us "'%d %d' % (len(s['tunnels']), sum(len(t['children']) for t in s['tunnels']))"), $(${kind}_count $them)"
}

one_each()
{
    wait_for "${1:-12}" eval '[ "$(counts)" = "1 1, 1 1" ]' || { why="SAs here, there: $(counts)"; return 1; }
}

changed()
{
    [ "$(spis "$1")" != "$2" ] && [ -n "$(spis "$1")" ]
}

rekey()
{
    local by=$1 what=$2 before
    before=$(spis "$what")
    train_start 100
    if [ "$by" = shrike ]; then
        shrike_rekey $us "$what"
    else
        ${kind}_rekey $them "$what"
    fi >"$LAB_DIR/rekey.out" 2>&1 || why="$by: $(tail -n 1 "$LAB_DIR/rekey.out")"
    wait_for 15 changed "$what" "$before" || why="${why:+$why, }the SPI did not change"
    train_end && [ -z "$why" ] && one_each
}

gone()
{
    wait_for 12 eval "[ \"\$($1)\" = '$2' ]" || { why="$1 still says $(eval "$1")"; return 1; }
}

act_none() { one_each; }
act_child_by_shrike() { rekey shrike child; }
act_child_by_peer() { rekey peer child; }
act_ike_by_shrike() { rekey shrike ike; }
act_ike_by_peer() { rekey peer ike; }
act_all_rekeys()
{
    rekey shrike child && rekey peer child && rekey shrike ike && rekey peer ike && rekey shrike child
}

# Lifetimes run out by themselves: what is asked is only that keys change and nothing is lost.
act_lifetime()
{
    local child ike
    child=$(spis child) ike=$(spis ike)
    train_start $((20 * ${k[seconds]:-30}))
    train_end || return
    [ "$(spis child)" != "$child" ] || { why='the child has not been replaced'; return 1; }
    [ "${k[ike_too]:-no}" = no ] || [ "$(spis ike)" != "$ike" ] || { why='the IKE SA has not been replaced'; return 1; }
    one_each
}

act_delete_by_shrike()
{
    if [ $us = client ]; then
        shrike_down client >/dev/null 2>&1
    else
        shrike_stop server
    fi
    gone "${kind}_count $them" '0 0' || return
    k[over]=yes
}

# A client of ours comes back at once; a gateway of ours has nothing left.
act_delete_by_peer()
{
    local before
    before=$(spis ike)
    ${kind}_down $them
    if [ $us = client ]; then
        wait_for 20 changed ike "$before" || { why='the client does not come back'; return 1; }
        wait_for 10 carries
        one_each
    else
        gone 'shrike_status server "len(s[\"tunnels\"])"' 0 && k[over]=yes
    fi
}

act_liveness()
{
    sleep "${k[seconds]:-6}"
    one_each
}

# MTU 600 on the link between: what is larger does not pass, ICMP says so.
act_small_link()
{
    one_each
}

# refused_by WHO: nobody may think that there is a tunnel
stays_down()
{
    local have
    have=$(counts)
    [[ $have = *', 0 0' ]] && { [[ $have = '0 0,'* ]] || [[ $have = ','* ]] || [ -z "${have%%,*}" ]; } && return 0
    why="SAs here, there: $have"
    return 1
}

# ---- one cell ----

what_it_is()
{
    local text="${k[auth]}; ${k[ike]} / ${k[esp]}; IPv${k[in]/46/4 and IPv6} in IPv${k[out]}"
    [ "${k[nat]}" = yes ] || text+='; no NAT'
    [ -z "${k[cp]:-}" ] || text+="; addresses given out: ${k[cp]}"
    [ -z "${k[shrike]:-}" ] || text+="; ${k[shrike]}"
    echo "${k[what]:-$text}"
}

# record RESULT DETAIL
record()
{
    local line
    line="$name|$(what_it_is)|$1|${2//|/ }"
    [ -z "${MATRIX_OUT:-}" ] || echo "$line" >>"$MATRIX_OUT/$peer-$role"
    case $1 in
    fails) fail "$peer, $role, $name" "$2" ;;
    *) pass "$peer, $role, $name${2:+ ($1: $2)}" ;;
    esac
}

run_cell()
{
    why=
    nat "${k[nat]}"
    [ -z "${k[mtu]:-}" ] || { at router ip link set wan mtu "${k[mtu]}"; at server ip link set eth0 mtu "${k[mtu]}"; }
    if ! configure_shrike || ! configure_peer >"$LAB_DIR/conf.out" 2>&1; then
        record fails "cannot be configured: $(tail -n 1 "$LAB_DIR/conf.out")"
    elif ! connect >"$LAB_DIR/connect.out" 2>&1; then
        why=$(grep -vE 'debug:|^$|next attempt' "$LAB_DIR/connect.out" | tail -n 1)
        if [ -n "${k[want]:-}" ] && stays_down; then
            record refused "${k[want]}"
        else
            record fails "does not connect: $why"
        fi
    elif [ -n "${k[want]:-}" ]; then
        record fails "connects, but must not: ${k[want]}"
    elif carries && "act_${k[act]}" && { [ "${k[over]:-}" = yes ] || carries; }; then
        record ok "${k[note]:-}"
    else
        record fails "$why"
        [ -z "${LAB_KEEP:-}" ] || cp "$LAB_DIR"/log/*.log "$LAB_DIR/keep/" 2>/dev/null
    fi
    disconnect
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
    run_cell
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
        export LAB_PATIENCE=60
        modprobe -a esp4 esp6 ah4 ah6 xfrm_user xfrm4_tunnel xfrm6_tunnel af_key tun veth nf_tables nft_chain_nat nft_masq
    fi
    [ -z "${MATRIX_OUT:-}" ] || : >"$MATRIX_OUT/$peer-$role"
    network
    make_credentials
    matrix_cells
    lab_summary
}

case ${1:-all} in
run)
    lab_enter "$@"
    . "$LAB_LIB/pki.sh"
    shift
    matrix_run "$@"
    ;;
table) matrix_table "$2" ;;
all) matrix_all ;;
*) sed -n '2,20p' "$0" >&2; exit 2 ;;
esac
