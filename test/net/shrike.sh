# Shrike on hosts of the lab, with the same words as sswan.sh so that a test row fits both.
# shellcheck shell=bash
#
#   shrike_conf HOST gateway|client KEY=VALUE...    writes /etc/shrike/shrike.conf or peer.conf
#   shrike_start HOST gateway                       the daemon, until status answers
#   shrike_up HOST                                  the client tunnel "peer", waits for it
#   shrike_rekey HOST ike|child    shrike_status HOST EXPRESSION    shrike_count HOST
#   shrike_down HOST               shrike_stop HOST
#
# On a gateway the daemon's label for spawn, stop and logfile is the host's name.

SHRIKE=${SHRIKE:-$LAB_TOP/${B:-build}/shrike}
LAB_PSK='mimosa-vellum-71-okapi-quartz'

shrike_need()
{
    [ -x "$SHRIKE" ] && return 0
    skip "${1:-shrike}" "there is no $SHRIKE: make"
    return 1
}

# Keys; one that is left out or empty leaves its line out.
#   gateway: id, listen, cert, key, ca, pool, dns, routes (its networks), any_cert, peer (identity
#            of the one client with a shared secret), nat, ban
#   client:  remote (address), id, rid, cert, key, ca, send, request, local, children, interface
#   both:    mode, psk, pq, ike, esp, ah, legacy, pfs, childless, esn, encap, tfc, dummies, fragment, ike_life, child_life, reauth,
#            child_packets, dpd, workers, level
shrike_conf()
{
    local host=$1 role=$2 pair
    local -A c=([level]=debug [dpd]=never)
    shift 2
    for pair; do c[${pair%%=*}]=${pair#*=}; done
    if [ "$role" = gateway ]; then
        shrike_gateway_sections | shrike_write "$host" /etc/shrike/shrike.conf
    else
        shrike_client_sections | shrike_write "$host" /etc/shrike/peer.conf
    fi
}

shrike_write()
{
    on "$1" sh -c 'umask 077; mkdir -p /etc/shrike; cat >"$1"' write "$2"
}

shrike_line()
{
    [ -z "$2" ] || echo "$1 = $2"
}

shrike_gateway_sections()
{
    echo '[gateway]'
    shrike_line name "${c[id]:-}"
    shrike_line listen "${c[listen]:-}"
    shrike_line cert "${c[cert]:-}"
    shrike_line key "${c[key]:-}"
    shrike_line ca "${c[ca]:-}"
    shrike_line workers "${c[workers]:-}"
    echo '[network]'
    shrike_line pool "${c[pool]:-}"
    shrike_line dns "${c[dns]:-}"
    shrike_line routes "${c[routes]:-}"
    shrike_line nat "${c[nat]:-no}"
    shrike_line mode "${c[mode]:-}"
    echo '[auth]'
    shrike_line any-cert "${c[any_cert]:-}"
    shrike_line ban "${c[ban]:-}"
    shrike_common_sections
    if [ -n "${c[peer]:-}" ]; then
        echo "[client ${c[peer]}]"
        shrike_line psk "${c[psk]:-}"
        shrike_line networks "${c[networks]:-}"
    fi
}

shrike_client_sections()
{
    echo '[tunnel]'
    shrike_line gateway "${c[remote]:-}"
    shrike_line identity "${c[id]:-}"
    shrike_line remote-identity "${c[rid]:-}"
    shrike_line cert "${c[cert]:-}"
    shrike_line key "${c[key]:-}"
    shrike_line ca "${c[ca]:-}"
    shrike_line psk "${c[psk]:-}"
    shrike_line workers "${c[workers]:-}"
    echo '[traffic]'
    shrike_line send "${c[send]:-}"
    shrike_line request "${c[request]:-}"
    shrike_line local "${c[local]:-}"
    shrike_line children "${c[children]:-}"
    shrike_line mode "${c[mode]:-}"
    shrike_line interface "${c[interface]:-}"
    shrike_common_sections
}

shrike_common_sections()
{
    echo '[crypto]'
    shrike_line pq "${c[pq]:-}"
    shrike_line ike "${c[ike]:-}"
    shrike_line esp "${c[esp]:-}"
    shrike_line ah "${c[ah]:-}"
    shrike_line legacy "${c[legacy]:-}"
    shrike_line pfs "${c[pfs]:-}"
    shrike_line childless "${c[childless]:-}"
    shrike_line esn "${c[esn]:-}"
    shrike_line encapsulation "${c[encap]:-}"
    shrike_line tfc "${c[tfc]:-}"
    shrike_line dummies "${c[dummies]:-}"
    shrike_line fragment "${c[fragment]:-}"
    echo '[life]'
    shrike_line ike "${c[ike_life]:-}"
    shrike_line child "${c[child_life]:-}"
    shrike_line reauth "${c[reauth]:-}"
    shrike_line child-packets "${c[child_packets]:-}"
    shrike_line dpd "${c[dpd]:-}"
    shrike_line idle-check "${c[idle_check]:-${c[dpd]:-}}"
    echo '[log]'
    shrike_line level "${c[level]:-}"
}

shrike_start()
{
    spawn "$1" "$1" "$SHRIKE" gateway -c /etc/shrike/shrike.conf
    wait_for "${LAB_PATIENCE:-10}" on "$1" "$SHRIKE" status && return 0
    tail -n 5 "$(logfile "$1")"
    return 1
}

shrike_up()
{
    on "$1" timeout $((LAB_PATIENCE > 60 ? LAB_PATIENCE : 60)) "$SHRIKE" up /etc/shrike/peer.conf --wait >"$(logfile "$1-up")" 2>&1 && return 0
    local status=$?
    tail -n 5 "$(logfile "$1-up")"
    on "$1" sh -c 'tail -n 3 /run/shrike/peer.log' 2>/dev/null
    return $status
}

shrike_down()
{
    on "$1" timeout 20 "$SHRIKE" down peer
}

shrike_rekey()
{
    on "$1" timeout 30 "$SHRIKE" rekey "--$2"
}

shrike_stop()
{
    stop "$1"
}

# shrike_status HOST EXPRESSION: python over the status document "s"; empty when that fails. With
# shrike_judge before, one python answers all, which counts where starting a program takes long.
shrike_status()
{
    if [ -n "${SHRIKE_ASK:-}" ]; then
        local answer
        { echo "$2"; on "$1" "$SHRIKE" status --json 2>/dev/null | tr -d '\n'; echo; } >&"$SHRIKE_ASK"
        read -r -t 60 answer <&"$SHRIKE_SAY" && [ -z "$answer" ] || echo "$answer"
    else
        { echo "$2"; on "$1" "$SHRIKE" status --json 2>/dev/null | tr -d '\n'; echo; } | python3 -c "$SHRIKE_JUDGE"
    fi
}

SHRIKE_JUDGE='
import json, sys
for line in sys.stdin:
    document = sys.stdin.readline()
    try:
        s = json.loads(document)
        print(eval(line), flush=True)
    except Exception:
        print(flush=True)
'

shrike_judge()
{
    coproc JUDGE { exec python3 -c "$SHRIKE_JUDGE"; }
    exec {SHRIKE_SAY}<&"${JUDGE[0]}" {SHRIKE_ASK}>&"${JUDGE[1]}"
}

# shrike_psk_pair CLIENT ADDRESS GATEWAY ADDRESS NETWORK: a tunnel with a shared secret
shrike_psk_pair()
{
    shrike_conf "$3" gateway id=gateway.example.org listen="$4" pool=10.99.0.0/24 routes="$5" \
        peer=client@example.org psk="$LAB_PSK" level=info
    shrike_conf "$1" client id=client@example.org rid=gateway.example.org remote="$4" send="$5" \
        psk="$LAB_PSK" request=ip4 level=info
    shrike_start "$3" && shrike_up "$1"
}
