#!/usr/bin/env bash
# Shrike with strongSwan 6.1 and 5.9.8, as initiator and as responder: every way to authenticate,
# every algorithm, both rekeys started by either side under traffic, IPv4 and IPv6.
#
#   client 192.168.7.2 ------- router ------- 198.51.100.1 server    10.20.0.1 and fd20::1 on lo
#          2001:db8:7::2        (NAT)         2001:db8:5::1
#          virtual 10.99.0.x, fd99::x <=====tunnel=====>
#
#   test/net/interop.sh [initiator|responder [six|five [auth|algorithms|rare|rekey|reauth]]]
#
# "initiator" means that Shrike is the client.

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/sswan.sh"
. "$LAB_LIB/shrike.sh"
. "$LAB_LIB/meet.sh"
lab_enter "$@"
. "$LAB_LIB/pki.sh"
shrike_need interop || { lab_summary; exit; }

only_role=${1:-} only_version=${2:-} only_part=${3:-}

# Key type, options for charon, strongSwan's auth, what its log must call both signatures.
# Signatures of RFC 7427 unless "old": then methods 1, 9, 10, 11.
auth_rows='
psk         -    psk                  pre-shared key
rsa2048     -    pubkey               RSA_EMSA_PKCS1_SHA2_
rsa3072     -    ike:rsa/pss-sha256   RSA_EMSA_PSS_SHA2_256
rsa2048     old  pubkey               RSA signature
p256        -    pubkey               ECDSA_WITH_SHA256_DER
p384        -    pubkey               ECDSA_WITH_SHA384_DER
p521        -    pubkey               ECDSA_WITH_SHA512_DER
p256        old  pubkey               ECDSA-256 signature
p384        old  pubkey               ECDSA-384 signature
p521        old  pubkey               ECDSA-521 signature
ed25519     -    pubkey               ED25519
'

# IKE proposal, ESP proposal; each ENCR, INTEG, PRF and KE is in one of them at least.
algorithm_rows='
aes128gcm16-prfsha256-x25519          aes128gcm16-x25519
aes256gcm16-prfsha384-ecp384          aes256gcm16-ecp384
chacha20poly1305-prfsha512-x448       chacha20poly1305-x448
aes128-sha256-prfsha256-modp2048      aes128-sha256-modp2048
aes256-sha384-prfsha384-modp3072      aes256-sha384-modp3072
aes256-sha512-prfsha512-modp4096      aes256-sha512-modp4096
aes128gcm16-prfsha256-ecp256          aes256-sha256-ecp256
aes256gcm16-prfsha512-ecp521          aes128-sha512-ecp521
'
# Outside the defaults: the same, and what has to be named under `legacy`.
rare_rows='
aes192gcm16-prfsha256-modp6144           aes192gcm16-modp6144            -
aes192-sha256-prfsha256-ecp256bp         aes192-sha256-ecp256bp          -
aes256gcm16-prfsha256-ecp384bp           null-sha256-ecp384bp            -
aes256gcm16-prfsha256-ecp512bp           null-sha384-ecp512bp            -
aes128gcm12-prfsha256-x25519             aes128gcm12-x25519              aes128gcm12
aes256gcm8-prfsha256-x25519              aes256gcm8-x25519               aes256gcm8
aes128ccm16-prfsha256-x25519             aes128ccm16-x25519              aes128ccm16
aes192ccm12-prfsha256-x25519             aes256ccm12-x25519              aes192ccm12,aes256ccm12
aes256ccm8-prfsha256-x25519              aes128ccm8-x25519               aes256ccm8,aes128ccm8
aes128ctr-sha256-prfsha256-x25519        aes256ctr-sha256-x25519         aes128ctr,aes256ctr
aes128-aesxcbc-prfaesxcbc-x25519         aes128-aesxcbc-x25519           aesxcbc
aes256-aescmac-prfaescmac-x25519         aes256-aescmac-x25519           aescmac
camellia128-sha256-prfsha256-x25519      camellia256-sha256-x25519       camellia128,camellia256
camellia192ctr-sha256-prfsha256-x25519   camellia128ctr-sha256-x25519    camellia192ctr,camellia128ctr
3des-sha1-prfsha1-modp1024               3des-sha1-modp1024              3des,sha1,modp1024
blowfish128-sha1-prfsha1-modp1536        blowfish256-sha1-modp1536       blowfish128,blowfish256,sha1,modp1536
aes128-sha1-prfsha1-modp2048             aes128-sha1-modp2048            sha1
'
# What the other rows use.
IKE=aes256gcm16-prfsha256-x25519
ESP=aes256gcm16-x25519

make_credentials()
{
    local type
    for type in rsa2048 rsa3072 p256 p384 p521 ed25519; do
        pki_ca "ca-$type" "$type"
        pki_cert "ca-$type" "client-$type" "$type" email:client@example.org
        pki_cert "ca-$type" "server-$type" "$type" DNS:server.example.org
    done
}

# configure ROLE AUTH KEYTYPE IKE ESP OUTSIDE [KEY=VALUE for both]
configure()
{
    local role=$1 auth=$2 type=$3 ike=$4 esp=$5 outside=$6
    shift 6
    local inside=10.20.0.0/24,fd20::/64 pool=10.99.0.0/24 pool6=fd99::/64
    local s=(auth="$auth" ike="$ike" esp="$esp") h=(ike="$ike" esp="$esp") end=server
    [ "$role" = initiator ] && end=client
    if [ "$type" = psk ]; then
        s+=(psk="$LAB_PSK")
        h+=(psk="$LAB_PSK")
        [ "$end" = client ] || h+=(peer=client@example.org)
    else
        local other=server
        [ "$end" = server ] && other=client
        sswan_cert "$peer" "$PKI/$other-$type.pem" "$PKI/$other-$type.key" "$PKI/ca-$type.pem"
        s+=(cert=cert.pem)
        h+=(cert="$PKI/$end-$type.pem" key="$PKI/$end-$type.key" ca="$PKI/ca-$type.pem")
        [ "$end" = client ] || h+=(any_cert=yes)
    fi
    if [ "$role" = initiator ]; then
        sswan_conf "$peer" local="$outside" id=server.example.org rid=client@example.org \
            lts="$inside" pool="$pool" pool6="$pool6" more="${sswan_more:-}" "${s[@]}"
        shrike_conf "$client" client remote="$outside" id=client@example.org \
            rid=server.example.org send="$inside" "${h[@]}" "$@"
    else
        sswan_conf "$peer" remote="$outside" id=client@example.org rid=server.example.org \
            vips=0.0.0.0,:: rts="$inside" more="${sswan_more:-}" "${s[@]}"
        shrike_conf "$server" gateway listen="$outside" id=server.example.org \
            pool="$pool,$pool6" routes="$inside" "${h[@]}" "$@"
    fi
}

# row LABEL ROLE: connect and ping; one line of the score
row()
{
    if connect "$2" >"$LAB_DIR/connect.out" 2>&1; then
        carries "$1"
        return 0
    fi
    fail "$1" "does not connect: $(tail -n 2 "$LAB_DIR/connect.out" | paste -sd' ')"
    return 1
}

part_auth()
{
    local role=$1 version=$2 type old auth scheme label
    while read -r type old auth scheme; do
        [ -n "$type" ] || continue
        label="$role, $version: $type"
        [ "$old" = old ] && label+=', old method'
        [[ $auth = *pss* ]] && label+=', PSS'
        SSWAN_OPTIONS=
        [ "$old" = old ] && SSWAN_OPTIONS='signature_authentication = no'
        configure "$role" "$auth" "$type" "$IKE" "$ESP" 198.51.100.1
        if row "$label" "$role"; then
            sswan_says "$peer" "\(myself\) with $scheme" ||
                fail "$label" "strongSwan did not sign with $scheme"
            sswan_says "$peer" "with $scheme.* successful" ||
                fail "$label" "strongSwan did not verify $scheme"
        fi
        disconnect "$role"
    done <<<"$auth_rows"
    SSWAN_OPTIONS=
}

# Both proposals, and the child rekeyed once so that its key exchange is used.
part_algorithms()
{
    local role=$1 version=$2 rows=${3:-$algorithm_rows} ike esp legacy label
    while read -r ike esp legacy; do
        [ -n "$ike" ] || continue
        label="$role, $version: $ike / $esp"
        configure "$role" psk psk "$ike" "$esp" 198.51.100.1 legacy="${legacy#-}"
        if row "$label" "$role"; then
            if sswan_rekey "$peer" child && sleep 0.3; then
                carries "$label, child rekeyed"
            else
                fail "$label, child rekeyed" "$(tail -n 1 "$LAB_DIR/log/$peer-rekey.log")"
            fi
        fi
        disconnect "$role"
    done <<<"$rows"
}

part_rare()
{
    part_algorithms "$1" "$2" "$rare_rows"
}

rekey_by()
{
    if [ "$1" = strongswan ]; then
        sswan_rekey "$peer" "$2"
    elif [ "$role" = initiator ]; then
        shrike_rekey "$client" "$2"
    else
        shrike_rekey "$server" "$2"
    fi
}

# Over each family outside: both kinds, started by either side, while numbered packets run.
part_rekey()
{
    local role=$1 version=$2 outside by kind label
    for outside in 198.51.100.1 2001:db8:5::1; do
        configure "$role" psk psk "$IKE" "$ESP" "$outside"
        sniff "$router" wan "$role-$version-$outside"
        row "$role, $version: over $outside" "$role" || { disconnect "$role"; continue; }
        for by in shrike strongswan; do
            for kind in child ike; do
                label="$role, $version: over $outside, $kind rekey by $by"
                stream_start s "$client" "$server" 10.20.0.1 7000 1000 800 2
                sleep 0.7
                rekey_by "$by" "$kind" >"$LAB_DIR/rekey.out" 2>&1 ||
                    fail "$label" "$(tail -n 1 "$LAB_DIR/rekey.out")"
                stream_intact s "$label"
            done
        done
        wait_for 5 eval '[ "$(sswan_count "$peer")" = "1 1" ]'
        is "$role, $version: over $outside, one SA of each kind after that" "$(sswan_count "$peer")" '1 1'
        sniff_stop "$role-$version-$outside" || fail "$role, $version: capture" 'has holes'
        is "$role, $version: over $outside, nothing in the clear" \
            "$(sniff_count "$role-$version-$outside" "$LAB_CLEAR")" 0
        disconnect "$role"
    done
}

# Authenticated anew by a client that keeps the tunnel meanwhile, several times under numbered
# packets: because it wants to, and because the gateway says how long its proof holds.
part_reauth()
{
    local role=$1 version=$2 why label address
    for why in gateway own; do
        label="$role, $version: authenticated anew, wish of the ${why/own/client}"
        SSWAN_OPTIONS='make_before_break = yes'
        case $role,$why in
        initiator,own) configure "$role" psk psk "$IKE" "$ESP" 198.51.100.1 reauth=12s ;;
        initiator,gateway) sswan_more='reauth_time = 11s' configure "$role" psk psk "$IKE" "$ESP" 198.51.100.1 ;;
        responder,own) sswan_more='reauth_time = 9s' configure "$role" psk psk "$IKE" "$ESP" 198.51.100.1 ;;
        *) continue ;;
        esac
        row "$label: connects" "$role" || { disconnect "$role"; continue; }
        address=$(inner_address)
        stream_start s "$client" "$server" 10.20.0.1 7000 500 800 26
        stream_intact s "$label, no packet lost"
        is "$label, the same address" "$(inner_address)" "$address"
        expect "$label, at least twice" [ "$(grep -c 'IKE_AUTH response 1 ' "$LAB_DIR/log/$peer-charon.log")" -ge 3 ]
        wait_for 5 eval '[ "$(sswan_count "$peer")" = "1 1" ]'
        is "$label, one SA of each kind after that" "$(sswan_count "$peer")" '1 1'
        disconnect "$role"
    done
    SSWAN_OPTIONS=
}

# What the client was given, as its own device or interface says.
inner_address()
{
    on "$client" ip -4 -o addr | grep -o '10\.99\.[0-9.]*' | head -n 1
}

make_credentials
for version in six five; do
    [ -z "$only_version" ] || [ "$only_version" = $version ] || continue
    if ! root_ready $version; then
        skip "strongSwan $version" 'no root: test/net/roots.sh'
        continue
    fi
    for role in initiator responder; do
        [ -z "$only_role" ] || [ "$only_role" = $role ] || continue
        network $role $version
        for part in auth algorithms rare rekey reauth; do
            [ -z "$only_part" ] || [ "$only_part" = $part ] || continue
            "part_$part" $role $version
        done
    done
done
lab_summary
