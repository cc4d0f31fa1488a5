#!/usr/bin/env bash
# Several key exchanges for one SA with strongSwan 6.1 (RFC 9242, RFC 9370), as initiator and as
# responder: ML-KEM after X25519, two and three in a row, IKE fragments, both rekeys started by
# either side under traffic, IPv4 and IPv6. And with 5.9.8, which knows nothing of it: our defaults.
#
#   client 192.168.7.2 ------- router ------- 198.51.100.1 server    10.20.0.1 and fd20::1 on lo
#          2001:db8:7::2        (NAT)         2001:db8:5::1
#          virtual 10.99.0.x, fd99::x <=====tunnel=====>
#
#   test/net/multike.sh [initiator|responder [kes|require|fallback]]
#
# "initiator" means that Shrike is the client.

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/sswan.sh"
. "$LAB_LIB/shrike.sh"
. "$LAB_LIB/meet.sh"
lab_enter "$@"
shrike_need multike || { lab_summary; exit; }

only_role=${1:-} only_part=${2:-}

# IKE, ESP, family outside, largest IKE datagram of ours, how many additional exchanges each has
kes_rows='
aes256gcm16-prfsha384-x25519-ke1_mlkem768               aes256gcm16-x25519-ke1_mlkem768   4 1280 1 1
aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke2_mlkem1024 aes256gcm16-x25519-ke1_mlkem1024  6 1280 2 1
aes256-sha512-prfsha512-ecp384-ke1_mlkem512-ke3_x25519  aes256gcm16-ecp256-ke2_mlkem768-ke4_x448 4 576 2 2
chacha20poly1305-prfsha256-x25519-ke1_mlkem1024         chacha20poly1305-x25519           6 9000 1 0
'

# configure ROLE OUTSIDE IKE ESP [KEY=VALUE of ours]; IKE and ESP of the peer in PEER_IKE, PEER_ESP
configure()
{
    local role=$1 outside=$2 ike=$3 esp=$4
    shift 4
    local inside=10.20.0.0/24,fd20::/64 pool=10.99.0.0/24 pool6=fd99::/64
    local s=(ike="${PEER_IKE:-$ike}" esp="${PEER_ESP:-$esp}" psk="$LAB_PSK")
    if [ "$role" = initiator ]; then
        sswan_conf "$peer" local="$outside" id=server.example.org rid=client@example.org \
            lts="$inside" pool="$pool" pool6="$pool6" "${s[@]}"
        shrike_conf "$client" client remote="$outside" id=client@example.org \
            rid=server.example.org send="$inside" ike="$ike" esp="$esp" psk="$LAB_PSK" "$@"
    else
        sswan_conf "$peer" remote="$outside" id=client@example.org rid=server.example.org \
            vips=0.0.0.0,:: rts="$inside" "${s[@]}"
        shrike_conf "$server" gateway listen="$outside" id=server.example.org \
            pool="$pool,$pool6" routes="$inside" peer=client@example.org ike="$ike" esp="$esp" \
            psk="$LAB_PSK" "$@"
    fi
}

ours()
{
    if [ "$role" = initiator ]; then echo "$client"; else echo "$server"; fi
}

suite_is()
{
    is "$1" "$(shrike_status "$(ours)" "$2")" "$3"
}

# What follows the group in a proposal: x25519-ke1_mlkem768
kes_of()
{
    echo "$1" | grep -oE '(x25519|x448|ecp[0-9]+)-ke.*'
}

# Requests of that exchange, each once however it was cut.
messages()
{
    grep -E "(generating|parsed) $1 request" "$LAB_DIR/log/$peer-charon.log" | grep -vc 'EF('
}

rekey_by()
{
    if [ "$1" = strongswan ]; then
        sswan_rekey "$peer" "$2"
    else
        shrike_rekey "$(ours)" "$2"
    fi
}

part_kes()
{
    local ike esp family fragment more childmore outside label by kind before
    while read -r ike esp family fragment more childmore; do
        [ -n "$ike" ] || continue
        outside=198.51.100.1
        [ "$family" = 6 ] && outside=2001:db8:5::1
        label="$role: $(kes_of "$ike")"
        configure "$role" "$outside" "$ike" "$esp" fragment="$fragment"
        if ! connect "$role" >"$LAB_DIR/connect.out" 2>&1; then
            fail "$label" "does not connect: $(tail -n 2 "$LAB_DIR/connect.out" | paste -sd' ')"
            disconnect "$role"
            continue
        fi
        carries "$label over IPv$family"
        is "$label: IKE_INTERMEDIATE exchanges" "$(messages IKE_INTERMEDIATE)" "$more"
        suite_is "$label: in our status" "'$(kes_of "$ike")' in s['tunnels'][0]['suite']" True
        [ "$fragment" != 576 ] || expect "$label: our fragments" sswan_says "$peer" 'IKE_INTERMEDIATE re.*EF\(2/'
        for by in shrike strongswan; do
            for kind in child ike; do
                before=$(messages IKE_FOLLOWUP_KE)
                stream_start s "$client" "$server" 10.20.0.1 7000 1000 800 2
                sleep 0.7
                rekey_by "$by" "$kind" >"$LAB_DIR/rekey.out" 2>&1 ||
                    fail "$label: $kind rekey by $by" "$(tail -n 1 "$LAB_DIR/rekey.out")"
                stream_intact s "$label: $kind rekey by $by, no packet lost"
                [ $kind = child ] && n=$childmore || n=$more
                is "$label: $kind rekey by $by, IKE_FOLLOWUP_KE exchanges" \
                    $(($(messages IKE_FOLLOWUP_KE) - before)) "$n"
            done
        done
        [ "$childmore" = 0 ] || suite_is "$label: of the child in our status" \
            "s['tunnels'][0]['children'][0]['ke']" "$(kes_of "$esp")"
        wait_for 5 eval '[ "$(sswan_count "$peer")" = "1 1" ]'
        is "$label: one SA of each kind after that" "$(sswan_count "$peer")" '1 1'
        disconnect "$role"
    done <<<"$kes_rows"
}

says_why()
{
    if [ "$role" = initiator ]; then
        grep -q 'pq = require' "$LAB_DIR/connect.out"
    else
        on "$server" "$SHRIKE" explain 2>&1 | grep -q 'pq = require'
    fi
}

# pq = require: our defaults do with a peer that has ML-KEM, and refuse one that does not.
part_require()
{
    local label="$role: pq = require"
    PEER_IKE=aes256gcm16-prfsha384-x25519-ke1_mlkem768 PEER_ESP=aes256gcm16-x25519-ke1_mlkem768 \
        configure "$role" 198.51.100.1 '' '' pq=require
    if connect "$role" >"$LAB_DIR/connect.out" 2>&1; then
        carries "$label, the peer has it"
        rekey_by shrike child >/dev/null 2>&1
        sleep 1
        suite_is "$label, and the child" "s['tunnels'][0]['children'][0]['ke']" x25519-ke1_mlkem768
    else
        fail "$label, the peer has it" "$(tail -n 2 "$LAB_DIR/connect.out" | paste -sd' ')"
    fi
    disconnect "$role"
    PEER_IKE=aes256gcm16-prfsha384-x25519 PEER_ESP=aes256gcm16-x25519 \
        configure "$role" 198.51.100.1 '' '' pq=require
    if connect "$role" >"$LAB_DIR/connect.out" 2>&1; then
        fail "$label, the peer has it not" 'connects'
    else
        pass "$label, the peer has it not"
        expect "$label, and we say why" says_why
    fi
    disconnect "$role"
}

# strongSwan 5.9.8 does not know of additional key exchanges; six with classical proposals neither.
part_fallback()
{
    local label="$role: defaults" by kind
    PEER_IKE=aes256gcm16-prfsha384-x25519 PEER_ESP=aes256gcm16-x25519 \
        configure "$role" 198.51.100.1 '' ''
    if ! connect "$role" >"$LAB_DIR/connect.out" 2>&1; then
        fail "$label" "$(tail -n 2 "$LAB_DIR/connect.out" | paste -sd' ')"
        disconnect "$role"
        return
    fi
    carries "$label, with a peer of one key exchange"
    for by in shrike strongswan; do
        for kind in child ike; do
            stream_start s "$client" "$server" 10.20.0.1 7000 1000 800 2
            sleep 0.7
            rekey_by "$by" "$kind" >"$LAB_DIR/rekey.out" 2>&1 ||
                fail "$label: $kind rekey by $by" "$(tail -n 1 "$LAB_DIR/rekey.out")"
            stream_intact s "$label: $kind rekey by $by, no packet lost"
        done
    done
    disconnect "$role"
}

for role in initiator responder; do
    [ -z "$only_role" ] || [ "$only_role" = $role ] || continue
    for version in six five; do
        if ! root_ready $version; then
            skip "$role, strongSwan $version" 'no root: test/net/roots.sh'
            continue
        fi
        network $role $version
        for part in kes require fallback; do
            [ -z "$only_part" ] || [ "$only_part" = $part ] || continue
            [ $part = fallback ] && want=five || want=six
            [ $version = $want ] && "part_$part"
        done
    done
done
lab_summary
