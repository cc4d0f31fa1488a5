#!/usr/bin/env bash
# libreswan 4.10 as a hostile peer: its impair switches make it send what it must not, in both roles,
# while a healthy tunnel of the same gateway, or of the same client, carries pings the whole time.
#
#   healthy client 192.0.2.3 ---+
#   libreswan      192.0.2.2 ---switch--- 192.0.2.1 Shrike's gateway    10.20.0.1 on lo
#   Shrike client  192.0.2.4 ---+         (its second tunnel goes to libreswan, 10.40.0.1)
#
#   test/net/hostile.sh                                   every row in both roles; writes doc/hostile.md, or $HOSTILE_DOC
#   test/net/hostile.sh responder|initiator [PATTERN]     Shrike's role, and which rows
#   test/net/hostile.sh self-test                         do the checks see what they are for?
#
# After each row the healthy tunnel answers, every process of Shrike is the one of the beginning, no
# state has moved as it must not; in the end the healthy tunnel has lost nothing, and a proper
# connection of the same peer works.
#
# libreswan's child SAs are the kernel's. Where it has no ESP, libre_esp.py stands in for it; under a
# kernel that has it (slowly): test/net/vm test/net/hostile.sh responder|initiator [PATTERN]

# What a row says:
#   up     a tunnel that carries, for the same networks
#   less   the same, for fewer networks than before
#   half   a tunnel on our side only: the peer was satisfied by nothing we could see, and its next
#          connection takes its place
#   down   never a tunnel on our side
#   -      libreswan does it in the other role only
# impairments | Shrike as responder | as initiator | once it is up | why, where it needs saying
# Others of its switches concern IKEv1, XAUTH, DNS or TCP.
hostile_rows='
none                                   | up   | up   |          |
bad-ikev2-auth-xchg                    | -    | down |          | the answer is of another exchange
child-key-length-attribute:omit        | down | down |          | AES without a length, RFC 7296 3.3.5
child-key-length-attribute:empty       | down | down |          | libreswan stops itself: it cannot write that
child-key-length-attribute:duplicate   | down | down |          | one length a transform, 3.3.5
child-key-length-attribute:0           | down | down |          | no such AES
child-key-length-attribute:64          | down | down |          | no such AES
child-key-length-attribute:65535       | down | down |          | no such AES
ike-key-length-attribute:omit          | down | down |          | as above, for the IKE SA
ike-key-length-attribute:empty         | down | down |          | libreswan stops itself
ike-key-length-attribute:duplicate     | down | down |          |
ike-key-length-attribute:0             | down | down |          |
ike-key-length-attribute:65535         | down | down |          |
corrupt-encrypted                      | half | down |          | it spoils what it receives, our AUTH answer too
delete-on-retransmit                   | up   | up   |          |
drop-i2                                | up   | up   |          |
emitting                               | up   | up   |          |
ike-initiator-spi:0                    | down | up   |          | no SPI is 0, 3.1; as responder it has no use for the switch
ike-initiator-spi:1                    | up   | up   |          | a rightful SPI
ike-responder-spi:0                    | up   | down |          | the same, the other way round
ike-responder-spi:1                    | up   | up   |          |
v2-proposal-integ:omit                 | up   | up   |          | AES-GCM needs none
v2-proposal-integ:allow-none           | up   | up   |          | and NONE says the same, 3.3.2
v2-proposal-dh:omit                    | down | down |          | an IKE SA without key exchange
v2-proposal-dh:allow-none              | up   | up   |          |
ikev2-add-ike-transform:66535          | up   | down |          | a cipher that nobody has: offered beside ours, and answered as a second choice
ikev2-add-ike-transform:589825         | down | down |          | an unknown type of transform, 3.3.6
ikev2-add-child-transform:66535        | up   | down |          |
ikev2-add-child-transform:589825       | up   | down |          | type 9 is a key exchange (RFC 9370), and in IKE_AUTH there is none
jacob-two-two                          | up   | up   |          | all twice
ke-payload:omit                        | down | down |          |
ke-payload:empty                       | down | down |          |
ke-payload:duplicate                   | up   | up   |          | 4.10 sends it once
ke-payload:0                           | down | down |          | a point of low order
ke-payload:255                         | down | down |          | a point, but not the one it reckons with
major-version-bump                     | down | down |          | 2.5
minor-version-bump                     | up   | up   |          | 2.5
childless-ikev2-supported              | up   | up   |          |
ignore-v2n-signature-hash-algorithms   | up   | up   |          |
omit-v2n-signature-hash-algorithms     | up   | up   |          |
rekey-initiate-supernet                | up   | up   | rekey    | what it asks for is cut to what it may have
rekey-initiate-subnet                  | less | less | rekey    | it may ask for less
rekey-respond-supernet                 | up   | up   | we-rekey | its answer is never more than we offered
rekey-respond-subnet                   | less | less | we-rekey | it must not, 2.9.2; what is left out carries nothing
replay-duplicates                      | up   | up   | rekey    |
replay-encrypted                       | up   | up   | rekey    |
replay-forward                         | up   | up   | rekey    |
replay-backward                        | up   | up   | rekey    |
send-bogus-dcookie                     | up   | up   |          |
send-bogus-isakmp-flag                 | up   | up   |          | flags we do not know are ignored, 3.1
send-bogus-payload-flag                | up   | up   | rekey    |
send-no-delete                         | up   | up   |          |
send-no-ikev2-auth                     | down | down |          | it sends none
send-no-idr                            | up   | up   |          | 3.5: we are free to choose
send-nonzero-reserved                  | up   | up   |          |
send-nonzero-reserved-id               | up   | up   |          | AUTH covers them, 2.15
suppress-retransmits                   | up   | up   |          |
timeout-on-retransmit                  | up   | up   |          |
drop-incoming:1                        | up   | up   |          |
drop-incoming:2                        | up   | up   |          |
drop-outgoing:1                        | up   | up   |          |
drop-outgoing:2                        | up   | up   |          |
add-unknown-v2-payload-to:IKE_SA_INIT  | up   | up   |          | 2.5: not critical, ignored
add-unknown-v2-payload-to:IKE_AUTH     | up   | up   |          |
add-unknown-v2-payload-to-sk:IKE_AUTH  | up   | up   |          |
add-unknown-v2-payload-to-sk:CREATE_CHILD_SA | up | up | rekey  | 4.10 adds it to the first two exchanges only; test/sim/test_payloads.c has the others
add-unknown-v2-payload-to:IKE_SA_INIT,unknown-v2-payload-critical            | down | down | | 2.5: critical, refused
add-unknown-v2-payload-to-sk:IKE_AUTH,unknown-v2-payload-critical            | down | down | |
force-v2-auth-method:RSA               | down | down |          | only the pre-shared key is allowed; the signature is not looked at
force-v2-auth-method:DIGSIG            | down | down |          | libreswan itself gives up
force-v2-auth-method:NULL              | down | down |          | RFC 7619 is not for us
omit-v2-ike-auth-child                 | down | down |          | RFC 6023 was not agreed on
ignore-v2-ike-auth-child               | half | down |          | it takes the IKE SA and forgets the child
sa-creation                            | half | down |          | its kernel refuses, after our answer, and it tells nobody
'

hostile_table()
{
    echo '# Shrike against a hostile peer'
    echo
    echo "libreswan 4.10 with its impair switches, one at a time; written by \`test/net/hostile.sh\`, which says what the words"
    echo "stand for. Sections are those of RFC 7296. All the while a healthy tunnel beside it carried pings: $1."
    echo
    echo '| Shrike as | impairment | then | must be | is | how Shrike tells | why |'
    echo '| --- | --- | --- | --- | --- | --- | --- |'
    sed 's/|/ | /g; s/^/| /; s/$/ |/' "$2"/responder "$2"/initiator
}

# Both roles side by side, each in a lab of its own. The document is written when both came to their ends.
hostile_all()
{
    local out role pids=() line pid dead=0 failed=0
    out=$(mktemp -d) || return
    for role in responder initiator; do
        : >"$out/$role"
        HOSTILE_OUT=$out/$role "$0" "$role" >"$out/$role.log" 2>&1 &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || failed=1
    done
    cat "$out"/responder.log "$out"/initiator.log | grep -vE '^[0-9]+ passed'
    for role in responder initiator; do
        tail -n 1 "$out/$role.log" | grep -qE '^[0-9]+ passed' && [ -s "$out/$role" ] && continue
        echo "FAIL    $role: did not come to its end"
        dead=$((dead + 1))
    done
    line=$(grep -hoE '[0-9]+ packets transmitted, [0-9]+ received' "$out"/responder.log "$out"/initiator.log | paste -sd';' | sed 's/;/ and /')
    [ $dead != 0 ] || hostile_table "$line" "$out" >"${HOSTILE_DOC:-$(dirname "$0")/../../doc/hostile.md}"
    grep -hE '^[0-9]+ passed' "$out"/*.log | awk -v dead=$dead '{p += $1; f += $3; s += $5}
        END {print p + 0 " passed, " f + dead " failed" (s ? ", " s " skipped" : ""); exit !p || f + dead}' || failed=1
    rm -rf "$out"
    return $failed
}

# After this point: inside the lab.
if [ $# = 0 ] && [ $$ != 1 ]; then
    hostile_all
    exit
fi

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/roots.sh"
[ $$ = 1 ] || root_need impair || exit 1
[ $$ = 1 ] || [ -z "${SHRIKE_IN_VM:-}" ] || modprobe -aq esp4 xfrm_user tun veth bridge nf_tables
slow=1 # so many times longer we wait
[ -z "${SHRIKE_IN_VM:-}" ] || slow=4
export LAB_PATIENCE=$((60 * slow))
lab_enter "$@"
. "$LAB_LIB/libre.sh"
. "$LAB_LIB/shrike.sh"
. "$LAB_LIB/pki.sh"
shopt -s extglob
role=$1 only=${2:-*}

# ---- the network and the two daemons

host switch
host good
libre_host bad impair || exit 1
host server
host client
at switch ip link add bridge0 type bridge
number=0
for name in good bad server client; do
    number=$((number + 1))
    wire switch p$number $name eth0
    at switch ip link set p$number master bridge0
done
at switch ip link set bridge0 up
addr server eth0 192.0.2.1/24
addr server lo 10.20.0.1/32
addr bad eth0 192.0.2.2/24
addr bad lo 10.40.0.1/32
addr good eth0 192.0.2.3/24
addr client eth0 192.0.2.4/24
addr client lo 10.30.0.1/32
route bad default via 192.0.2.1
IKE=aes256gcm16-prfsha256-x25519
ESP=aes256gcm16-x25519
modprobe -qn esp4 2>/dev/null && modprobe -q esp4 2>/dev/null || libre_without_esp bad 192.0.2.2 || exit 1

hostile_gateway()
{
    shrike_conf server gateway id=server.example.org listen=192.0.2.1 routes=10.20.0.0/24 pool=10.99.0.0/24 \
        encap=auto ike=$IKE esp=$ESP peer=bad.example.org psk="$LAB_PSK" networks=10.40.0.0/24 ban=never # all rows have one address
    on server sh -c "cat >>/etc/shrike/shrike.conf" <<END
[client good.example.org]
psk = $LAB_PSK
END
    shrike_conf "$healthy" client remote=192.0.2.1 id=good.example.org rid=server.example.org send=10.20.0.0/24 \
        request=ip4 encap=auto ike=$IKE esp=$ESP psk="$LAB_PSK" interface=healthy
    on "$healthy" mv /etc/shrike/peer.conf /etc/shrike/healthy.conf
}

# It has a certificate besides, for methods that want one.
hostile_libreswan()
{
    pki_ca ca rsa2048 && pki_cert ca bad rsa2048 DNS:bad.example.org &&
        libre_cert bad "$PKI/bad.pem" "$PKI/bad.key" "$PKI/ca.pem" || return
    local common=(local=192.0.2.2 id=bad.example.org lts=10.40.0.0/24 ike=$IKE esp=$ESP psk="$LAB_PSK" cert=cert)
    local more='leftupdown=%disabled initial-contact=yes retransmit-timeout=6s'
    if [ "$role" = initiator ]; then
        libre_conf bad "${common[@]}" remote=192.0.2.4 rid=client@example.org rts=10.30.0.0/24 more="$more"
        shrike_conf client client remote=192.0.2.2 id=client@example.org rid=bad.example.org send=10.40.0.0/24 \
            local=10.30.0.0/24 encap=auto ike=$IKE esp=$ESP psk="$LAB_PSK"
    else
        libre_conf bad "${common[@]}" remote=192.0.2.1 rid=server.example.org rts=10.20.0.0/24 more="$more"
    fi
    libre_start bad
}

# ---- what Shrike has

# In four lines: the children of the hostile peer's tunnels, what these cover on its side, how often
# they were rekeyed, and the counters of the engine that are not nought.
look()
{
    local host=server name=
    [ "$role" != initiator ] || host=client name=peer
    on $host "$SHRIKE" status --json $name 2>/dev/null | "$PYTHON" -c '
import json, sys
try:
    s = json.load(sys.stdin)
except ValueError:
    s = {}
tunnels = [t for t in s.get("tunnels", []) if "bad.example.org" in t.get("peer_id", "") and t["children"]]
children = [c for t in tunnels for c in t["children"]]
print(len(children))
print(*sorted({n for c in children for n in c["remote_ts"]}))
print(sum(t["rekeys"]["child"] for t in tunnels))
print(*(f"{k}={v}" for k, v in s.get("counters", {}).get("ike", {}).items() if v))'
}

see()
{
    local line
    mapfile -t line < <(look)
    children=${line[0]:-0} networks=${line[1]:-} rekeys=${line[2]:-0} counters=${line[3]:-}
}

has_children()
{
    see
    [ "$children" != 0 ]
}

has_none()
{
    see
    [ "$children" = 0 ]
}

# The counters that grew since $1, but for those that only say that there was traffic.
grown()
{
    local one name before
    for one in $counters; do
        name=${one%=*}
        case $name in in_* | out_* | established | refused | retransmitted | crash_told) continue ;; esac
        before=$(grep -oE "\\b$name=[0-9]+" <<<"$1")
        before=${before#*=}
        [ "${one#*=}" = "${before:-0}" ] || echo -n " $name"
    done
}

# The processes of one instance: one that died or was made anew has another number.
processes()
{
    pgrep -f "^shrike: [a-z]+ $2\$|^$SHRIKE (gateway|up $2)( |\$)" --ns "${HOST_PID[$1]}" --nslist mnt | paste -sd' '
}

everybody()
{
    echo "server: $(processes server gateway), $healthy: $(processes "$healthy" healthy)"
}

complaints()
{
    {
        cat "$(logfile server)"
        on "$healthy" cat /run/shrike/healthy.log
        on client cat /run/shrike/peer.log
    } 2>/dev/null | grep -E 'was ended by signal|process ended with status|illegal move'
}

# Status 1, and why, when something of ours took harm.
unharmed()
{
    [ "$(everybody)" = "$born" ] || { why="a process of ours was made anew: $(everybody)"; born=$(everybody); return 1; }
    why=$(complaints | tail -n 1)
    [ -z "$why" ] || return 1
    on "$healthy" ping -q -c 1 -W $((4 * slow)) 10.20.0.1 >/dev/null || { why='the healthy tunnel does not answer'; return 1; }
}

# ---- a row

impair()
{
    local one
    on bad ipsec whack --impair none >/dev/null 2>&1
    on bad ipsec whack --impair revival >/dev/null 2>&1 # what failed has failed
    [ "$1" = none ] || for one in ${1//,/ }; do
        on bad ipsec whack --impair "$one" >"$LAB_DIR/impair.out" 2>&1 || return
    done
}

pluto_lives()
{
    on bad ipsec whack --briefstatus >/dev/null 2>&1 && return 0
    stop bad
    libre_start bad
}

# attempt SECONDS: the hostile peer connects, or we to it; status 0 when our side has a tunnel
attempt()
{
    if [ "$role" = initiator ]; then
        on client timeout $(($1 + 5)) "$SHRIKE" up /etc/shrike/peer.conf --wait -t "$1" >"$(logfile client-up)" 2>&1
        has_children
    else
        on bad ipsec whack --initiate --asynchronous --name peer >"$(logfile bad-up)" 2>&1
        wait_for "$1" has_children
    fi
}

disconnect()
{
    [ "$role" != initiator ] || on client timeout 20 "$SHRIKE" down peer >/dev/null 2>&1
    on bad timeout 10 ipsec whack --terminate --name peer >/dev/null 2>&1
    wait_for $((3 * slow)) has_none
}

end_attempt()
{
    impair none
    disconnect && return 0
    # We still have what the peer has not: its next connection says that it knows of no other.
    pluto_lives
    attempt $((10 * slow))
    disconnect || { why="$children child SAs of the peer stay"; return 1; }
}

peer_carries()
{
    local from=server source=10.20.0.1
    [ "$role" != initiator ] || from=client source=10.30.0.1
    on $from ping -q -c 2 -i 0.2 -W $((2 * slow)) -I $source 10.40.0.1 >/dev/null
}

rekey_now()
{
    case $1 in
    rekey) on bad timeout 20 ipsec whack --rekey-ipsec --name peer ;;
    we-rekey) on "$([ "$role" = initiator ] && echo client || echo server)" timeout 20 "$SHRIKE" rekey --child \
        "$([ "$role" = initiator ] && echo peer || echo gateway)" ;;
    esac >>"$LAB_DIR/log/rekeys" 2>&1
    sleep $((2 * slow))
}

# What became of a tunnel: leaves it in "have".
after_up()
{
    local had=$networks times=$rekeys
    have=up
    [ -z "$1" ] || rekey_now "$1"
    see
    if [ "$1" = rekey ] && [ "$rekeys" = "$times" ]; then
        have='up, but not rekeyed'
    elif [ "$networks" != "$had" ]; then
        have="covers $networks"
        [ "$had $networks" != '10.40.0.0/24 10.40.0.0/32' ] || have=less
    elif ! peer_carries; then
        have=half
    elif [ "$1" = we-rekey ]; then
        have=up
        [ "$rekeys" != "$times" ] || words='the rekey was refused'
    fi
}

# row IMPAIRMENT WANT AFTER WHY
hostile_row()
{
    local label="$role, $1" want=$2 after=$3 before patience=6
    have=down words=
    pluto_lives
    see
    before=$counters
    impair "$1" || { skip "$label" "$(tail -n 1 "$LAB_DIR/impair.out")"; return; }
    echo "=== $(date +%T.%N) $label" >>"$LAB_DIR/log/rows"
    [ "$want" = down ] || patience=30
    if attempt $((patience * slow)); then after_up "$after"; else see; fi
    words=$(trim "$(grown "$before") $words")
    [ "$role$have" != initiatordown ] || words=$(sed -n 's/^shrike: peer: //p' "$(logfile client-up)" | head -n 1)
    on client cat /run/shrike/peer.log >>"$LAB_DIR/log/client-peer" 2>/dev/null
    if [ "$have" != "$want" ]; then
        fail "$label" "is '$have', must be '$want' ($words)"
    elif ! end_attempt; then
        fail "$label" "$why"
    elif ! unharmed; then
        fail "$label" "$why"
    else
        pass "$label: $have${words:+ ($words)}"
    fi
    [ -z "${HOSTILE_OUT:-}" ] || echo "$role|$1|$after|$want|$have|${words//|/ }|${4:-}" >>"$HOSTILE_OUT"
    [ "$have" = "$want" ] || end_attempt
}

trim()
{
    local text="${1#"${1%%[! ]*}"}"
    echo "${text%"${text##*[! ]}"}"
}

hostile_start()
{
    healthy=good
    [ "$role" != initiator ] || healthy=client
    hostile_gateway
    expect "$role: the gateway starts" shrike_start server || return
    expect "$role: the healthy tunnel comes up" on $healthy timeout 60 "$SHRIKE" up healthy --wait || return
    spawn $healthy pings ping -i 0.5 -W 10 10.20.0.1
    born=$(everybody)
}

lost_nothing()
{
    stop pings INT
    grep -qE ' 0% packet loss' "$(logfile pings)"
}

hostile_role()
{
    hostile_start || return
    expect "$role: libreswan starts" hostile_libreswan || return
    local name r i after reason want
    while IFS='|' read -r name r i after reason; do
        name=$(trim "$name") want=$(trim "$r")
        # shellcheck disable=SC2254 # the pattern is one
        case $name in '') continue ;; $only) ;; *) continue ;; esac
        [ "$role" != initiator ] || want=$(trim "$i")
        [ "$want" = - ] || hostile_row "$name" "$want" "$(trim "$after")" "$(trim "$reason")" </dev/null
    done <<<"$hostile_rows"
    hostile_row none up '' </dev/null
    if lost_nothing; then
        pass "$role: the healthy tunnel lost nothing: $(grep -oE '[0-9]+ packets.*received' "$(logfile pings)")"
    else
        fail "$role: the healthy tunnel" "$(grep 'packet loss' "$(logfile pings)")"
    fi
    on $healthy "$SHRIKE" down healthy >/dev/null 2>&1
    shrike_stop server
    libre_stop bad
}

# Harm done on purpose: each check must see it, and see nothing before.
self_test()
{
    hostile_start || return
    expect 'nothing has happened: all are unharmed' unharmed
    is 'eight processes are watched' "$(everybody | grep -oE ' [0-9]+' | wc -l)" 8
    sleep 2
    expect 'nothing has happened: no ping was lost' lost_nothing
    spawn $healthy pings ping -i 0.5 -W 10 10.20.0.1
    at $healthy nft -f - <<END
table inet cut {
    chain in {
        type filter hook input priority 0;
        udp sport { 500, 4500 } drop
        ip protocol esp drop
    }
}
END
    sleep 1
    at $healthy nft delete table inet cut
    sleep 2
    if lost_nothing; then fail 'packets are dropped' 'nobody noticed'; else pass "packets are dropped: $(grep 'packet loss' "$(logfile pings)")"; fi
    local name
    for name in ike keys esp; do
        kill_one server $name gateway
    done
    kill_one $healthy esp healthy
}

kill_one()
{
    on "$1" pkill -KILL -f "^shrike: $2 $3\$" --ns "${HOST_PID[$1]}" --nslist mnt
    wait_for 3 eval '[ "$(everybody)" != "$born" ]'
    sleep 1
    if unharmed; then fail "$2 of $3 is killed" 'nobody noticed'; else pass "$2 of $3 is killed: $why"; fi
}

case $role in
responder | initiator) hostile_role ;;
self-test) self_test ;;
*) sed -n '2,20p' "$0" >&2; exit 2 ;;
esac
lab_summary
