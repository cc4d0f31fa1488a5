# strongSwan hosts in the lab: version 6 or 5 in an overlay of its root, with the user-space data plane.
# shellcheck shell=bash
#
#   sswan_host NAME six|five             a host (see lib.sh) with that version; fails when no root
#   sswan_conf NAME KEY=VALUE...         writes its swanctl.conf: one connection "peer", one child "net"
#   sswan_cert NAME CERT KEY CA [BETWEEN] puts credentials from files
#   sswan_start NAME                     charon, and loads the configuration
#   sswan_up NAME [CHILD]                sswan_second NAME         sswan_down NAME
#   sswan_rekey NAME ike|child           sswan_sas NAME            sswan_stop NAME
#   sswan_count NAME                     "IKE-SAs CHILD-SAs" established now
#   sswan_says NAME REGEX                is it in charon's log since the last start?
#
# SSWAN_OPTIONS: further lines for strongswan.conf; SSWAN_PLUGINS: others than these; both read by
# sswan_start.
#
# kernel-libipsec: ESP in user space over a TUN device, always in UDP, tunnel mode, no ESN. It would
# send its own IKE packets into a tunnel whose selectors cover the peer, hence the mark.

# shellcheck source=test/net/roots.sh
. "$LAB_LIB/roots.sh"

# Order matters: the first plugin that has an algorithm gives it, and openssl is the fast one.
sswan_plugins='random nonce openssl aes sha1 sha2 gcm pem pkcs1 pkcs8 x509 pubkey revocation
    constraints kdf hmac curve25519 chapoly xcbc cmac ccm ctr kernel-libipsec kernel-netlink socket-default vici updown
    eap-identity eap-mschapv2 eap-tls md4'

sswan_host()
{
    root_ready "$2" || return
    host "$1" "$(root_dir "$2")"
    # charon's sockets have the default size, which holds 90 packets: a tenth of a second of a busy
    # machine, and a test of zero loss would count what charon's kernel dropped.
    at "$1" sh -c 'echo 8388608 >/proc/sys/net/core/rmem_default' 2>/dev/null || true
}

sswan_write()
{
    on "$1" sh -c 'umask 077; cat >"$1"' write "$2"
}

# Keys, default in brackets. A key given empty leaves its line out.
#   local, remote: addresses [%any]      auth [psk]: psk or pubkey    rauth [auth]
#   id, rid: identities                  cert: file name in /etc/swanctl/x509
#   ike, esp: proposals                  lts, rts: traffic selectors
#   vips: addresses to ask for           pool: range to give out      psk: the secret
#   start [none]: start_action           ike_life, child_life: seconds to rekey
#   dpd: seconds                         more, childmore: further lines
#   second: local,remote: selectors of a child "two" beside it
sswan_conf()
{
    local name=$1 pair
    local -A c=([auth]=psk [remote]=%any [start]=none [psk]='' [ike_life]=4h [child_life]=1h)
    shift
    for pair; do c[${pair%%=*}]=${pair#*=}; done
    {
        echo 'connections { peer {'
        echo 'version = 2'
        sswan_line local_addrs "${c[local]:-}"
        sswan_line remote_addrs "${c[remote]:-}"
        sswan_line proposals "${c[ike]:-}"
        sswan_line vips "${c[vips]:-}"
        sswan_line pools "${c[pool]:+pool4}${c[pool6]:+, pool6}"
        sswan_line dpd_delay "${c[dpd]:-}"
        echo "rekey_time = ${c[ike_life]}"
        echo "local { auth = ${c[auth]}"
        sswan_line id "${c[id]:-}"
        sswan_line certs "${c[cert]:-}"
        echo '}'
        echo "remote { auth = ${c[rauth]:-${c[auth]}}"
        sswan_line id "${c[rid]:-}"
        echo '}'
        echo "${c[more]:-}"
        echo 'children { net {'
        sswan_line esp_proposals "${c[esp]:-}"
        sswan_line local_ts "${c[lts]:-}"
        sswan_line remote_ts "${c[rts]:-}"
        echo "rekey_time = ${c[child_life]}"
        echo "start_action = ${c[start]}"
        echo "${c[childmore]:-}"
        echo '}'
        if [ -n "${c[second]:-}" ]; then
            echo 'two {'
            sswan_line esp_proposals "${c[esp]:-}"
            sswan_line local_ts "${c[second]%,*}"
            sswan_line remote_ts "${c[second]#*,}"
            echo "rekey_time = ${c[child_life]} }"
        fi
        echo '} } }'
        [ -z "${c[psk]}" ] || echo "secrets { ike-peer { secret = \"${c[psk]}\" } }"
        if [ -n "${c[pool]:-}" ]; then
            echo "pools { pool4 { addrs = ${c[pool]}
                dns = ${c[dns]:-192.0.2.53} }"
            [ -z "${c[pool6]:-}" ] || echo "pool6 { addrs = ${c[pool6]} }"
            echo '}'
        fi
    } | sswan_write "$name" /etc/swanctl/swanctl.conf
}

sswan_line()
{
    [ -z "$2" ] || echo "$1 = $2"
}

# sswan_cert NAME CERT KEY CA [BETWEEN]: paths of PEM files; the certificate is then called "cert.pem".
sswan_cert()
{
    on "$1" rm -f /etc/swanctl/x509ca/between.pem
    [ -z "${5:-}" ] || sswan_write "$1" /etc/swanctl/x509ca/between.pem <"$5"
    sswan_write "$1" /etc/swanctl/x509/cert.pem <"$2"
    sswan_write "$1" /etc/swanctl/private/cert.key <"$3"
    sswan_write "$1" /etc/swanctl/x509ca/ca.pem <"$4"
}

# Message headers with payload lists come from the ENC group at level 1.
sswan_start()
{
    local name=$1
    sswan_write "$name" /etc/strongswan.conf <<END
charon-systemd {
    load = $(echo ${SSWAN_PLUGINS:-$sswan_plugins})
    retransmit_base = 1.4
    retransmit_timeout = 0.5
    retransmit_tries = 6
    delete_rekeyed_delay = 2
    ${SSWAN_OPTIONS:-}
    filelog { lab { path = $LAB_DIR/log/$name-charon.log
        default = 1
        flush_line = yes
        time_format = %H:%M:%S } }
    journal { default = -1 }
    plugins {
        kernel-libipsec { allow_peer_ts = yes }
        kernel-netlink { fwmark = !0x42 }
        socket-default { fwmark = 0x42 }
    }
}
END
    on "$name" rm -f /run/charon.vici
    rm -f "$LAB_DIR/log/$name-charon.log"
    spawn "$name" "$name" /usr/sbin/charon-systemd
    wait_for "${LAB_PATIENCE:-10}" on "$name" swanctl --stats ||
        { tail -n 5 "$(logfile "$name")" >&2; return 1; }
    sswan_load "$name"
}

sswan_load()
{
    on "$1" swanctl --load-all --clear >"$LAB_DIR/log/$1-load.log" 2>&1 ||
        { cat "$LAB_DIR/log/$1-load.log" >&2; return 1; }
}

sswan_up()
{
    local patience=$((LAB_PATIENCE > 20 ? LAB_PATIENCE : 20))
    timeout $((patience + 10)) nsenter -t "${HOST_PID[$1]}" --mount --net --uts --root --wd -- \
        swanctl --initiate --child "${2:-net}" --timeout $patience >"$LAB_DIR/log/$1-up.log" 2>&1 ||
        { tail -n 4 "$LAB_DIR/log/$1-up.log"; return 1; }
}

sswan_second()
{
    sswan_up "$1" two
}

sswan_down()
{
    on "$1" swanctl --terminate --ike peer --timeout 10 >/dev/null 2>&1
}

sswan_rekey()
{
    if [ "$2" = ike ]; then
        on "$1" swanctl --rekey --ike peer
    else
        on "$1" swanctl --rekey --child net
    fi >>"$LAB_DIR/log/$1-rekey.log" 2>&1
}

sswan_sas()
{
    on "$1" swanctl --list-sas
}

sswan_count()
{
    sswan_sas "$1" | awk '/^[^ ].*ESTABLISHED/ {i++} /^  .*INSTALLED/ {c++} END {print i+0, c+0}'
}

sswan_says()
{
    grep -qE "$2" "$LAB_DIR/log/$1-charon.log"
}

sswan_stop()
{
    stop "$1"
}
