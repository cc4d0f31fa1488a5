# What a cell of matrix.sh does with an established tunnel, and what it looks at.
# shellcheck shell=bash disable=SC2034,SC2154

why=

# carries: pings of each inner family, from the client and, but with an address given out, back
carries()
{
    local family ends to
    for family in 4 6; do
        [[ ${k[in]} = *$family* ]] || continue
        ends=(10.30.0.1 10.20.0.1)
        [ $family = 4 ] || ends=(fd30::1 fd20::1)
        [ -z "${k[cp]:-}" ] || ends[0]=
        one_way client "${ends[0]}" "${ends[1]}" || return
        [ -n "${k[cp]:-}" ] || one_way server "${ends[1]}" "${ends[0]}" || return
    done
    [ "${k[children]:-1}" = 1 ] || [ "${two:-no}" = no ] ||
        { one_way client 10.30.0.1 10.21.0.1 && one_way server 10.21.0.1 10.30.0.1; }
}

one_way()
{
    on "$1" ping -c 3 -i 0.2 -W $((4 * slow)) ${2:+-I "$2"} "$3" >"$LAB_DIR/log/ping.log" 2>&1
    grep -q ' 3 received' "$LAB_DIR/log/ping.log" && return 0
    why="ping from $1 to $3: $(grep -oE '[0-9]+ received.*loss|.*unreachable.*' "$LAB_DIR/log/ping.log" | tail -n 1)"
    return 1
}

# A train of pings while something happens; none may be lost, nor those that come on a new SA before
# the answer that has its keys.
train_start()
{
    local from=10.30.0.1 to=10.20.0.1
    [[ ${k[in]} = *4* ]] || from=fd30::1 to=fd20::1
    [ -z "${k[cp]:-}" ] || from=
    spawn client train ping -q -c "${1:-$((50 * slow + 50))}" -i "$(printf 0.%03d "$pace")" -W $((4 * slow)) ${from:+-I $from} $to
    sleep 0.5
}

# Leaves in train_sent and train_lost what it counted.
train_count()
{
    local text
    finish train
    text=$(grep -oE '[0-9]+ packets transmitted, [0-9]+ received' "$(logfile train)")
    why="pings meanwhile: ${text:-none}"
    [[ $text =~ ^([0-9]+)\ .*\ ([0-9]+)\ received ]] || return
    train_sent=${BASH_REMATCH[1]} train_lost=$((BASH_REMATCH[1] - BASH_REMATCH[2]))
}

train_end()
{
    train_count && [ "$train_sent" -gt 0 ] && [ "$train_lost" = 0 ] || return
    why=
}

spis()
{
    case $1 in
    child) shrike_status $us "s['tunnels'][0]['children'][0]['spi_in']" ;;
    ike) shrike_status $us "s['tunnels'][0]['spi_i']" ;;
    esac
}

# Of this side and of the other: "IKE SAs, child SAs" that are established.
counts()
{
    local ours
    ours=$(shrike_status $us "'%d %d' % (sum(t['state'] == 'established' for t in s['tunnels']), sum(len(t['children']) for t in s['tunnels']))")
    echo "${ours:-0 0}, $(${kind}_count $them)"
}

one_each()
{
    local n=${k[children]:-1}
    wait_for $((12 * slow)) eval '[ "$(counts)" = "1 $n, 1 $n" ]' || { why="SAs here, there: $(counts)"; return 1; }
}

changed()
{
    [ "$(spis "$1")" != "$2" ] && [ -n "$(spis "$1")" ]
}

rekey()
{
    local by=$1 what=$2 before
    why=
    before=$(spis "$what")
    train_start
    [ -z "${LAB_KEEP:-}" ] || sniff router wan "rekey-$name"
    if [ "$by" = shrike ]; then
        shrike_rekey $us "$what"
    else
        ${kind}_rekey $them "$what"
    fi >"$LAB_DIR/rekey.out" 2>&1 || why="$by: $(tail -n 1 "$LAB_DIR/rekey.out")"
    wait_for $((15 * slow)) changed "$what" "$before" || why="${why:+$why, }the SPI did not change"
    local said=$why
    train_end || return
    why=$said
    [ -z "${LAB_KEEP:-}" ] || sniff_stop "rekey-$name"
    [ -z "$why" ] && one_each
}

gone()
{
    wait_for $((12 * slow)) eval "[ \"\$($1)\" = '$2' ]" || { why="$1 still says $(eval "$1")"; return 1; }
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
    train_start $((1000 / pace * ${k[seconds]:-30}))
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
        wait_for $((20 * slow)) changed ike "$before" || { why='the client does not come back'; return 1; }
        wait_for $((10 * slow)) carries
        one_each
    else
        gone 'shrike_status server "len(s[\"tunnels\"])"' 0 && k[over]=yes
    fi
}

# INFORMATIONAL on port 4500; a request, or a response.
LIVENESS='udp port 4500 and udp[8:4] == 0 and udp[30] == 37'
LIVENESS_ASKS="$LIVENESS and udp[31] & 0x20 == 0" LIVENESS_ANSWERS="$LIVENESS and udp[31] & 0x20 != 0"

# k[asks] is the side that asks; twice at least in this time, and it is answered.
act_liveness()
{
    local asker=$us from=src asked answered
    [ "${k[asks]}" = shrike ] || asker=$them
    [ "$asker" = client ] && from=dst
    sniff router wan liveness || { why='no sniffer'; return 1; }
    sleep "${k[seconds]:-6}"
    sniff_stop liveness || { why='the sniffer lost packets'; return 1; }
    asked=$(sniff_count liveness "$LIVENESS_ASKS and $from host $(outside)")
    answered=$(sniff_count liveness "$LIVENESS_ANSWERS and not $from host $(outside)")
    why="$asked signs of life were asked for, $answered given"
    [ "$asked" -ge 2 ] && [ "$answered" -ge 2 ] || return
    why=
    one_each
}

# sized FROM SOURCE TO OCTETS [OPTION...]: do some pings of that size, with headers, come back? The first
# ones tell how much the path takes.
sized()
{
    on "$1" ping -c 10 -i 0.5 -W $((2 * slow)) -s $(($4 - 28)) "${@:5}" -I "$2" "$3" >"$LAB_DIR/log/ping.log" 2>&1
    grep -qE ' [1-9][0-9]* received' "$LAB_DIR/log/ping.log" && return 0
    why="ping of $4 octets from $1: $(grep -oE '[0-9]+ received.*loss' "$LAB_DIR/log/ping.log")"
    return 1
}

# Both ways at once for some seconds, in full segments.
transfer()
{
    local call serve
    rm -f "$LAB_DIR/flow.stop"
    spawn_at server serve "$PYTHON" "$LAB_LIB/flow.py" serve 10.20.0.1 7100 100
    wait_for $((10 * slow)) grep -q listening "$(logfile serve)"
    spawn_at client call "$PYTHON" "$LAB_LIB/flow.py" call 10.20.0.1 7100 100 "$LAB_DIR/flow.stop" 10.30.0.1
    sleep $((4 * slow))
    touch "$LAB_DIR/flow.stop"
    wait_for $((10 * slow)) sh -c "! kill -0 ${SPAWN_PID[call]}"
    stop call
    stop serve
    call=$(tail -n 1 "$(logfile call)") serve=$(tail -n 1 "$(logfile serve)")
    why="TCP: the client $call; the server $serve"
    # More than what fits into the buffers of both ends.
    [[ $call =~ ^sent\ ([0-9]+)\ received\ ([0-9]+)\ intact$ ]] && [ "${BASH_REMATCH[1]}" -ge 20 ] &&
        [ "$serve" = "sent ${BASH_REMATCH[2]} received ${BASH_REMATCH[1]} intact" ] && [ "${BASH_REMATCH[2]}" -ge 20 ]
}

# 1,300 octets on the link between: 1,200 fit with what ESP needs around them, 1,400 do not and may be
# fragmented, inside or outside, and TCP arrives whole.
act_small_link()
{
    sized client 10.30.0.1 10.20.0.1 1200 -M 'do' && sized server 10.20.0.1 10.30.0.1 1200 -M 'do' &&
        sized client 10.30.0.1 10.20.0.1 1400 && sized server 10.20.0.1 10.30.0.1 1400 && transfer || return
    why=
    one_each
}

# What is refused leaves no child SA on either side; an IKE SA may stay (RFC 7296 1.2).
stays_down()
{
    local have
    have=$(counts)
    [[ $have = ?' 0, '?' 0' ]] && return 0
    why="SAs here, there: $have"
    return 1
}

# Only a new authentication changes the SPIs here: all lifetimes are long.
act_reauth()
{
    local before
    before=$(spis ike)
    train_start $((24000 / pace))
    train_end || return
    [ "$(spis ike)" != "$before" ] || { why='nobody has authenticated anew'; return 1; }
    one_each
}

# A second child SA beside the first, made by who is the initiator.
act_children()
{
    [ $us = client ] || ${kind}_second client || { why='the second child does not come up'; return 1; }
    one_each || return
    two=yes
    carries && rekey shrike child && rekey shrike ike && carries
}

# ---- before and after the tunnel comes up: ready_X, saw_X, tidy_X ----

ready_none() { :; }
saw_none() { :; }
tidy_none() { :; }

IP_FRAGMENT='(ip and ip[6:2] & 0x3fff != 0) or (ip6 and ip6[6] == 44)'
# Port 4500, the marker, and in the header of IKE the payload SKF.
SKF='udp port 4500 and ((ip and udp[8:4] == 0 and udp[28] == 53)
    or (ip6 and ip6[48:4] == 0 and ip6[68] == 53))'

ready_fragments()
{
    lose_fragments router
    sniff router lan fragments
}

saw_fragments()
{
    local whole from_client from_server
    sniff_stop fragments || { why='the sniffer lost packets'; return 1; }
    whole=$(sniff_count fragments "$IP_FRAGMENT")
    from_server=$(sniff_count fragments "$SKF and src host $(outside)")
    from_client=$(sniff_count fragments "$SKF and dst host $(outside)")
    why="$from_client and $from_server fragments of IKE, $whole of IP"
    [ "$whole" = 0 ] && [ "$from_client" -gt 1 ] && [ "$from_server" -gt 1 ] || return
    k[note]="$from_client and $from_server fragments"
}

tidy_fragments()
{
    stop sniff-fragments
    lose_fragments_none router
}

# So many half-open SAs that whoever comes has to show a cookie. libreswan is told to.
ready_cookies()
{
    sniff router lan cookies || return
    [ "$peer:$role" = libre:initiator ] || at router "$PKI/initflood" forged "$(outside)" 2 1000
}

# The request comes twice, the second time with the cookie in front (RFC 7296 2.6).
saw_cookies()
{
    local asked
    sniff_stop cookies || { why='the sniffer lost packets'; return 1; }
    asked=$(sniff_count cookies "udp port 500 and udp[26] == 34 and udp[24] == 41 and dst host $(outside)")
    [ "$asked" -ge 1 ] || { why='nobody asked for a cookie'; return 1; }
}

tidy_cookies()
{
    stop sniff-cookies
}

# ---- the client moves (RFC 4555) ----

ready_move() { :; }
saw_move() { :; }

# Another address in the same network.
move_address()
{
    addr client eth0 192.168.7.3/24 2001:db8:7::3/64
    at client ip addr del 192.168.7.2/24 dev eth0
    at client ip addr del 2001:db8:7::2/64 dev eth0
}

# Another network: the second link comes up, the first one goes down and its addresses with it.
move_link()
{
    at client ip link set eth1 up
    addr client eth1 192.168.8.2/24 2001:db8:8::2/64
    route client default via 192.168.8.1 metric 50
    route client default via 2001:db8:8::1 metric 50
    sleep 0.2
    at client ip addr flush dev eth0 scope global
    at client ip link set eth0 down
}

move_back()
{
    at client ip link set eth0 up
    addr client eth0 192.168.7.2/24 2001:db8:7::2/64
    route client default via 192.168.7.1
    route client default via 2001:db8:7::1
    sleep 0.2
    at client ip addr flush dev eth1 scope global
    at client ip link set eth1 down
}

# From IPv4 to IPv6.
move_family()
{
    at client ip addr del 192.168.7.2/24 dev eth0
}

tidy_move()
{
    at client ip link set eth1 down
    at client ip link set eth0 up
    at client ip addr flush dev eth0 scope global
    at client ip addr flush dev eth1 scope global
    addr client eth0 192.168.7.2/24 2001:db8:7::2/64
    at client ip route replace default via 192.168.7.1
    at client ip -6 route replace default via 2001:db8:7::1
}

# The tunnel stays the same one, and what is lost is over after five seconds.
act_move()
{
    local before step
    before=$(spis ike)
    for step in ${k[move]}; do
        train_start 240
        sleep 1
        "move_$step"
        train_count && [ "$train_lost" -le 100 ] || return
        k[note]+="${k[note]:+; }$train_lost pings lost, one every $pace ms"
    done
    [ "$(spis ike)" = "$before" ] || { why='the tunnel has been made anew'; return 1; }
    why=
    one_each
}
