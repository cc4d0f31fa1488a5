# libreswan hosts in the lab, with the same words as sswan.sh so that a test row fits both.
# shellcheck shell=bash
#
#   libre_host NAME libre|impair         a host (see lib.sh) with 5.2 or 4.10; fails when no root
#   libre_conf NAME KEY=VALUE...         writes its ipsec.conf: one connection "peer"
#   libre_cert NAME CERT KEY CA [BETWEEN] puts credentials from files; the certificate is then "cert"
#   libre_start NAME                     pluto, and loads the configuration
#   libre_up NAME      libre_second NAME      libre_down NAME   libre_rekey NAME ike|child    libre_stop NAME
#   libre_count NAME                     "IKE-SAs CHILD-SAs" established now
#   libre_says NAME REGEX                is it in pluto's log since the last start?
#
# Its child SAs are the kernel's. Where it has no ESP only the IKE half works: test/net/vm; or, with AES-GCM,
#   libre_without_esp NAME ADDRESS       before libre_start: a stand-in that answers pings

# shellcheck source=test/net/roots.sh
. "$LAB_LIB/roots.sh"

libre_host()
{
    root_ready "$2" || return
    host "$1" "$(root_dir "$2")"
}

libre_write()
{
    on "$1" sh -c 'umask 077; cat >"$1"' write "$2"
}

# aes256gcm16-prfsha384-x25519 as libreswan writes it: aes_gcm256-sha2_384-dh31
# $1 proposal, $2 ike, esp or ah
libre_proposal()
{
    local word cipher= integ= prf= dh=
    for word in ${1//-/ }; do
        case $word in
        nullaes???gmac) cipher=null_auth_aes_gmac_${word:7:3} ;;
        aes???gcm16) cipher=aes_gcm${word:3:3} ;;
        aes???ccm16) cipher=aes_ccm_c${word:3:3} ;;
        aes???) cipher=aes${word:3:3} ;;
        aes???ctr) cipher=aes_ctr${word:3:3} ;;
        3des | null) cipher=$word ;;
        camellia???) cipher=camellia${word:8:3} ;;
        chacha20poly1305) cipher=chacha20_poly1305 ;;
        sha1) integ=sha1 ;;
        sha256) integ=sha2_256 ;;
        sha384) integ=sha2_384 ;;
        sha512) integ=sha2_512 ;;
        aesxcbc) integ=aes_xcbc ;;
        aescmac) integ=aes_cmac ;;
        prfsha1) prf=sha1 ;;
        prfsha*) prf=sha2_${word#prfsha} ;;
        modp1024) dh=dh2 ;;
        modp1536) dh=dh5 ;;
        modp2048) dh=dh14 ;;
        modp3072) dh=dh15 ;;
        modp4096) dh=dh16 ;;
        modp6144) dh=dh17 ;;
        modp8192) dh=dh18 ;;
        ecp256) dh=dh19 ;;
        ecp384) dh=dh20 ;;
        ecp521) dh=dh21 ;;
        x25519) dh=dh31 ;;
        esn | noesn) ;;
        *) echo "libre: '$word' is not to be had" >&2; return 1 ;;
        esac
    done
    # For IKE the second place is integrity and PRF in one.
    if [ "$2" = ike ]; then
        integ=${prf:-$integ}
    elif [[ $cipher = *gcm* || $cipher = *gmac* || $cipher = *chacha* || $cipher = *ccm* ]]; then
        integ=none
    fi
    cipher+=${integ:+-$integ}${dh:+${integ:+-}$dh}
    echo "${cipher#-}"
}

# Keys, default in brackets; those of sswan_conf, with these differences:
#   lts, rts: one network each           vips: any value: ask for an address
#   ah: proposals for AH in place of esp
#   pool: first-last                     auth: secret, rsa-sha2, rsa-sha1, ecdsa [secret]
#   more: further lines of the conn      setup: of "config setup"
#   second: local,remote: networks of a conn "two" beside it
#   rightca: who must have issued the other certificate, empty: any of ours [%same: who issued mine]
libre_conf()
{
    local name=$1 pair
    local -A c=([auth]=secret [local]=%defaultroute [remote]=%any [ike_life]=8h [child_life]=8h)
    shift
    for pair; do c[${pair%%=*}]=${pair#*=}; done
    local proposal ike= esp= ah=
    for proposal in ${c[ike]//,/ }; do ike+="${ike:+,}$(libre_proposal "$proposal" ike)" || return; done
    for proposal in ${c[esp]//,/ }; do esp+="${esp:+,}$(libre_proposal "$proposal" esp)" || return; done
    for proposal in ${c[ah]//,/ }; do ah+="${ah:+,}$(libre_proposal "$proposal" ah)" || return; done
    {
        echo 'config setup'
        echo "    logfile=$LAB_DIR/log/$name-pluto.log"
        printf '    %s\n' "${c[setup]:-uniqueids=yes}"
        libre_conn peer "${c[lts]:-}" "${c[rts]:-}"
        [ -z "${c[second]:-}" ] || libre_conn two "${c[second]%,*}" "${c[second]#*,}"
    } | libre_write "$name" /etc/ipsec.conf
    [ -z "${c[psk]:-}" ] ||
        echo "$(libre_id "${c[id]}") $(libre_id "${c[rid]}") : PSK \"${c[psk]}\"" | libre_write "$name" /etc/ipsec.secrets
}

# One conn of libre_conf, whose words c[...] are; the second of them may not say "also": it has other networks.
libre_conn()
{
    echo "conn $1"
    libre_line left "${c[local]}"
    libre_line leftid "$(libre_id "${c[id]:-}")"
    libre_line leftcert "${c[cert]:-}"
    [ -z "${c[cert]:-}" ] || libre_line leftsendcert always
    libre_line leftsubnet "$2"
    libre_line right "${c[remote]}"
    libre_line rightid "$(libre_id "${c[rid]:-}")"
    libre_line rightsubnet "$3"
    libre_line rightaddresspool "${c[pool]:-}"
    if [ -n "${c[pool]:-}" ]; then
        printf '    %s\n' leftmodecfgserver=yes rightmodecfgclient=yes 'modecfgdns=192.0.2.53'
    elif [ -n "${c[vips]:-}" ]; then
        printf '    %s\n' leftmodecfgclient=yes rightmodecfgserver=yes
    fi
    [ -z "${c[cert]:-}" ] || libre_line rightca "${c[rightca]-%same}"
    libre_line authby "${c[auth]}"
    libre_line ike "$ike"
    libre_line esp "$esp"
    [ -z "$ah" ] || printf '    %s\n' phase2=ah "ah=$ah"
    libre_line ikelifetime "${c[ike_life]}"
    libre_line salifetime "${c[child_life]}"
    printf '    %s\n' ikev2=insist narrowing=yes fragmentation=yes rekey=yes auto=add
    printf '    %s\n' ${c[more]:-}
}

libre_line()
{
    [ -z "$2" ] || echo "    $1=$2"
}

# A name without @ would be looked up in DNS; one with an @ inside is an e-mail address.
libre_id()
{
    case $1 in
    '' | *@* | *[0-9].[0-9]* | *:*) echo "$1" ;;
    *) echo "@$1" ;;
    esac
}

libre_nss=/var/lib/ipsec/nss

libre_cert()
{
    local p12=$LAB_DIR/libre-$1.p12
    openssl pkcs12 -export -in "$2" -inkey "$3" -name cert ${5:+-certfile "$5"} -passout pass: -out "$p12" || return
    on "$1" rm -rf "$libre_nss"
    on "$1" mkdir -p "$libre_nss"
    libre_database "$1" || return
    on "$1" pk12util -i "$p12" -d "sql:$libre_nss" -W '' >/dev/null &&
        on "$1" certutil -A -d "sql:$libre_nss" -n ca -t CT,, -i "$4"
}

libre_database()
{
    on "$1" sh -c "[ -e $libre_nss/cert9.db ] || certutil -N -d sql:$libre_nss --empty-password"
}

libre_without_esp()
{
    LIBRE_PRELOAD=$LAB_DIR/libre_xfrm.so
    cc -O2 -shared -fPIC -o "$LIBRE_PRELOAD" "$LAB_LIB/libre_xfrm.c" || return
    spawn_at "$1" "$1-esp" "$PYTHON" "$LAB_LIB/libre_esp.py" "$2"
    wait_for 10 at "$1" grep -q '@xfrm' /proc/net/unix
}

libre_start()
{
    libre_database "$1" || return
    rm -f "$LAB_DIR/log/$1-pluto.log"
    on "$1" sh -c 'mkdir -p /run/pluto; rm -f /run/pluto/*; touch /etc/ipsec.secrets'
    # shellcheck disable=SC2086 # words
    spawn "$1" "$1" ${LIBRE_PRELOAD:+env LD_PRELOAD="$LIBRE_PRELOAD"} /usr/libexec/ipsec/pluto --config /etc/ipsec.conf --nofork ${LIBRE_OPTIONS:-}
    wait_for "${LAB_PATIENCE:-20}" on "$1" ipsec whack --status ||
        { tail -n 5 "$(logfile "$1")" "$(logfile "$1-pluto")" >&2; return 1; }
    on "$1" ipsec whack --listen >/dev/null 2>&1
    libre_load "$1"
}

# addconn says what it does not understand and goes on: a conn that it has added is what counts.
libre_load()
{
    on "$1" /usr/libexec/ipsec/addconn --ctlsocket /run/pluto/pluto.ctl --addall >"$(logfile "$1-load")" 2>&1
    on "$1" ipsec whack --status | grep -q '"peer":' ||
        { cat "$(logfile "$1-load")" >&2; tail -n 3 "$(logfile "$1-pluto")" >&2; return 1; }
}

libre_up()
{
    on "$1" timeout "${2:-$((LAB_PATIENCE > 25 ? LAB_PATIENCE : 25))}" ipsec whack --initiate --name peer >"$(logfile "$1-up")" 2>&1
    wait_for $((LAB_PATIENCE > 25 ? 20 : 2)) libre_is_up "$1" || { tail -n 3 "$(logfile "$1-up")"; return 1; }
}

libre_second()
{
    on "$1" timeout 25 ipsec whack --initiate --name two >>"$(logfile "$1-up")" 2>&1
}

libre_is_up()
{
    [[ $(libre_count "$1") = [1-9]*' '[1-9]* ]]
}

libre_down()
{
    on "$1" timeout 10 ipsec whack --terminate --name peer >/dev/null 2>&1
}

# 4.10 calls a child "ipsec".
libre_rekey()
{
    local what=$2
    [ "$2" = ike ] || ! on "$1" ipsec whack --help 2>&1 | grep -q -- --rekey-ipsec || what=ipsec
    on "$1" timeout $((LAB_PATIENCE > 20 ? 60 : 20)) ipsec whack "--rekey-$what" --name peer >>"$(logfile "$1-rekey")" 2>&1
}

libre_count()
{
    on "$1" ipsec whack --showstates |
        awk '/ESTABLISHED_IKE_SA/ {i++} /ESTABLISHED_CHILD_SA/ {c++} END {print i + 0, c + 0}'
}

libre_says()
{
    grep -qE "$2" "$LAB_DIR/log/$1-pluto.log"
}

libre_stop()
{
    on "$1" timeout 5 ipsec whack --shutdown >/dev/null 2>&1
    stop "$1"
}
