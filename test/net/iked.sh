# OpenIKED hosts in the lab, with the same words as sswan.sh so that a test row fits both.
# shellcheck shell=bash
#
#   iked_host NAME iked                  a host (see lib.sh) with 7.4; fails when no root
#   iked_conf NAME KEY=VALUE...          writes its iked.conf: one policy "peer"
#   iked_cert NAME CERT KEY CA [BETWEEN] puts credentials from files
#   iked_start NAME                      iked, which loads the configuration
#   iked_up NAME                         its policy is active: waits until it is up
#   iked_down NAME     iked_stop NAME    iked_count NAME    iked_says NAME REGEX
#
# Its child SAs are the kernel's: test/net/vm. ikectl cannot start a rekey; lifetimes do.

# shellcheck source=test/net/roots.sh
. "$LAB_LIB/roots.sh"

iked_host()
{
    root_ready "$2" || return
    host "$1" "$(root_dir "$2")"
}

iked_write()
{
    on "$1" sh -c 'umask 077; mkdir -p "$(dirname "$1")"; cat >"$1"' write "$2"
}

# aes256gcm16-prfsha384-x25519 as iked.conf writes it: enc aes-256-gcm prf hmac-sha2-384 group curve25519
iked_proposal()
{
    local word out=
    for word in ${1//-/ }; do
        case $word in
        aes???gcm16) out+=" enc aes-${word:3:3}-gcm" ;;
        aes???) out+=" enc aes-${word:3:3}" ;;
        3des | null) out+=" enc $word" ;;
        chacha20poly1305) out+=' enc chacha20-poly1305' ;;
        sha1) out+=' auth hmac-sha1' ;;
        sha*) out+=" auth hmac-sha2-${word#sha}" ;;
        prfsha1) out+=' prf hmac-sha1' ;;
        prfsha*) out+=" prf hmac-sha2-${word#prfsha}" ;;
        modp* | ecp*) out+=" group $word" ;;
        x25519) out+=' group curve25519' ;;
        esn | noesn) out+=" $word" ;;
        *) echo "iked: '$word' is not to be had" >&2; return 1 ;;
        esac
    done
    echo "$out"
}

# Keys: those of sswan_conf, with these differences:
#   active: active or passive [passive]     lts, rts: one network each
#   auth: psk, rfc7427, rsa, ecdsa256, ecdsa384, ecdsa521 [psk]
#   pool: an address or network to give out vips: any value: ask for an address
#   bytes: limit of a child SA              setup: global lines
iked_conf()
{
    local name=$1 pair ike esp
    local -A c=([auth]=psk [active]=passive [remote]=any)
    shift
    for pair; do c[${pair%%=*}]=${pair#*=}; done
    ike=$(iked_proposal "${c[ike]}") && esp=$(iked_proposal "${c[esp]}") || return
    local auth=${c[auth]}
    [ "$auth" != psk ] || auth="psk \"${c[psk]}\""
    {
        printf '%s\n' 'set fragmentation' "${c[setup]:-}"
        echo "ikev2 \"peer\" ${c[active]} esp from ${c[lts]} to ${c[rts]} \\"
        [ -z "${c[local]:-}" ] || echo "local ${c[local]} \\"
        echo "peer ${c[remote]} ${ike:+ikesa $ike} childsa $esp \\"
        echo "srcid ${c[id]} dstid ${c[rid]} \\"
        echo "${c[ike_life]:+ikelifetime ${c[ike_life]}} ${c[child_life]:+lifetime ${c[child_life]}${c[bytes]:+ bytes ${c[bytes]}}} \\"
        echo "$auth ${c[pool]:+config address ${c[pool]}} ${c[vips]:+request address any}"
    } | sed '/^ *\\$/d' | iked_write "$name" /etc/iked.conf
}

iked_cert()
{
    on "$1" rm -f /etc/iked/ca/between.crt
    # What it shows of its chain it takes from among the authorities.
    [ -z "${5:-}" ] || iked_write "$1" /etc/iked/ca/between.crt <"$5"
    iked_write "$1" /etc/iked/certs/cert.crt <"$2"
    iked_write "$1" /etc/iked/private/local.key <"$3"
    iked_write "$1" /etc/iked/ca/ca.crt <"$4"
    # Its process for certificates is not root.
    on "$1" chown -R _iked:_iked /etc/iked/certs /etc/iked/private /etc/iked/ca
}

iked_start()
{
    rm -f "$(logfile "$1")"
    on "$1" sh -c 'rm -f /run/iked.sock /var/run/iked.sock; grep -q ^_iked /etc/passwd'
    spawn "$1" "$1" /usr/sbin/iked -d -v ${IKED_OPTIONS:-}
    wait_for "${LAB_PATIENCE:-20}" on "$1" ikectl show sa || { tail -n 5 "$(logfile "$1")" >&2; return 1; }
}

iked_up()
{
    wait_for "${2:-$((LAB_PATIENCE > 25 ? LAB_PATIENCE : 25))}" iked_is_up "$1" || { tail -n 3 "$(logfile "$1")"; return 1; }
}

iked_is_up()
{
    [[ $(iked_count "$1") = [1-9]*' '[1-9]* ]]
}

iked_down()
{
    on "$1" ikectl reset sa >/dev/null 2>&1
}

# Two flows and two SAs make one child.
iked_count()
{
    on "$1" ikectl show sa 2>/dev/null | awk '/^iked_sas:.*ESTABLISHED/ {i++} /^  *sa_childsas:.* in .*L.*/ {c++} END {print i + 0, c + 0}'
}

iked_says()
{
    grep -qE "$2" "$(logfile "$1")"
}

iked_stop()
{
    stop "$1"
}
