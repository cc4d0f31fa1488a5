#!/usr/bin/env bash
# libreswan 4.10 as a hostile peer: its impair switches make it send what it must not, in both roles,
# while a healthy tunnel of the same gateway, or of the same client, carries pings the whole time.
#
#   healthy client 192.0.2.3 ---+
#   libreswan      192.0.2.2 ---switch--- 192.0.2.1 Shrike's gateway    10.20.0.1 on lo
#   Shrike client  192.0.2.4 ---+         (its second tunnel goes to libreswan, 10.40.0.1)
#
#   test/net/hostile.sh [responder|initiator [PATTERN]]      Shrike's role
#
# A row says how it must end: "up" - a tunnel that carries; "down" - never a tunnel on our side;
# "any" - either, but both ends must agree in the end. After each row the healthy tunnel has lost
# nothing, the processes of Shrike are those of the beginning, and a proper connection of the same
# peer works. libreswan's child SAs need the kernel's ESP: without it this script runs in test/net/vm,
# about half an hour.

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/libre.sh"
. "$LAB_LIB/shrike.sh"
shopt -s extglob

hostile_kernel_has_esp()
{
    [ -n "${SHRIKE_IN_VM:-}" ] && return 0
    modprobe -qn esp4 2>/dev/null && modprobe -q esp4 xfrm_user 2>/dev/null
}

if [ $$ != 1 ] && ! hostile_kernel_has_esp; then
    root_need impair && exec "$LAB_LIB/vm" -t "${HOSTILE_SECONDS:-3600}" bash "$LAB_LIB/hostile.sh" "$@"
    exit 1
fi
[ $$ = 1 ] || modprobe -aq esp4 xfrm_user tun veth bridge nf_tables
export LAB_PATIENCE=60
lab_enter "$@"
only_role=${1:-} only=${2:-*}

# impairments | Shrike as responder | as initiator | what to do once it is up
# "-": libreswan does it in the other role only. Others of its switches concern IKEv1, XAUTH, DNS or TCP.
hostile_rows='
none                                                    up    up    -
bad-ikev2-auth-xchg                                     -     down  -
child-key-length-attribute:omit                         down  down  -
child-key-length-attribute:empty                        down  down  -
child-key-length-attribute:duplicate                    any   any   -
child-key-length-attribute:0                            down  down  -
child-key-length-attribute:64                           down  down  -
child-key-length-attribute:65535                        down  down  -
ike-key-length-attribute:omit                           down  down  -
ike-key-length-attribute:empty                          down  down  -
ike-key-length-attribute:duplicate                      any   any   -
ike-key-length-attribute:0                              down  down  -
ike-key-length-attribute:65535                          down  down  -
corrupt-encrypted                                       down  down  -
delete-on-retransmit                                    up    up    -
drop-i2                                                 any   up    -
emitting                                                up    up    -
ike-initiator-spi:0                                     down  down  -
ike-initiator-spi:1                                     any   down  -
ike-responder-spi:0                                     any   down  -
ike-responder-spi:1                                     any   any   -
v2-proposal-integ:omit                                  any   any   -
v2-proposal-integ:allow-none                            up    up    -
v2-proposal-dh:omit                                     down  down  -
v2-proposal-dh:allow-none                               any   any   -
ikev2-add-ike-transform:66535                           up    down  -
ikev2-add-ike-transform:589825                          any   down  -
ikev2-add-child-transform:66535                         up    down  -
ikev2-add-child-transform:589825                        any   down  -
jacob-two-two                                           up    up    -
ke-payload:omit                                         down  down  -
ke-payload:empty                                        down  down  -
ke-payload:duplicate                                    any   any   -
ke-payload:0                                            down  down  -
ke-payload:255                                          any   any   -
major-version-bump                                      down  down  -
minor-version-bump                                      up    up    -
childless-ikev2-supported                               up    up    -
ignore-v2n-signature-hash-algorithms                    up    up    -
omit-v2n-signature-hash-algorithms                      up    up    -
rekey-initiate-supernet                                 up    up    rekey
rekey-initiate-subnet                                   up    up    rekey
rekey-respond-supernet                                  up    up    we-rekey
rekey-respond-subnet                                    up    up    we-rekey
replay-duplicates                                       up    up    rekey
replay-encrypted                                        up    up    rekey
replay-forward                                          any   any   -
replay-backward                                         any   any   -
send-bogus-dcookie                                      any   up    -
send-bogus-isakmp-flag                                  up    up    -
send-bogus-payload-flag                                 up    up    rekey
send-no-delete                                          up    up    -
send-no-ikev2-auth                                      down  any   -
send-no-idr                                             up    up    -
send-nonzero-reserved                                   up    up    -
send-nonzero-reserved-id                                up    up    -
suppress-retransmits                                    up    up    -
timeout-on-retransmit                                   up    up    -
drop-incoming:1                                         any   up    -
drop-incoming:2                                         any   up    -
drop-outgoing:1                                         up    up    -
drop-outgoing:2                                         up    up    -
add-unknown-v2-payload-to:IKE_SA_INIT                   up    up    -
add-unknown-v2-payload-to:IKE_AUTH                      any   any   -
add-unknown-v2-payload-to-sk:IKE_AUTH                   up    up    -
add-unknown-v2-payload-to-sk:CREATE_CHILD_SA            up    up    rekey
add-unknown-v2-payload-to-sk:INFORMATIONAL              up    up    -
add-unknown-v2-payload-to:IKE_SA_INIT,unknown-v2-payload-critical     down down -
add-unknown-v2-payload-to-sk:IKE_AUTH,unknown-v2-payload-critical     down down -
add-unknown-v2-payload-to-sk:CREATE_CHILD_SA,unknown-v2-payload-critical up up rekey-fails
force-v2-auth-method:RSA                                down  down  -
force-v2-auth-method:NULL                               down  down  -
force-v2-auth-method:DIGSIG                             down  down  -
force-v2-auth-method:ECDSA_SHA2_256_P256                down  down  -
force-v2-auth-method:RESERVED                           down  down  -
omit-v2-ike-auth-child                                  down  down  -
ignore-v2-ike-auth-child                                any   any   -
sa-creation                                             any   any   -
'

host switch
host good
libre_host bad impair || { skip hostile "no root 'impair': test/net/roots.sh impair"; lab_summary; exit; }
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

# $1 responder or initiator: Shrike's role
hostile_configure()
{
    shrike_conf server gateway id=server.example.org listen=192.0.2.1 routes=10.20.0.0/24 pool=10.99.0.0/24 \
        ike=$IKE esp=$ESP peer=bad.example.org psk="$LAB_PSK" networks=10.40.0.0/24
    on server sh -c "cat >>/etc/shrike/shrike.conf" <<END
[client good.example.org]
psk = $LAB_PSK
END
    local from=good
    [ "$1" = responder ] || from=client
    shrike_conf $from client remote=192.0.2.1 id=good.example.org rid=server.example.org send=10.20.0.0/24 \
        request=ip4 ike=$IKE esp=$ESP psk="$LAB_PSK" interface=healthy
    on $from mv /etc/shrike/peer.conf /etc/shrike/healthy.conf
    if [ "$1" = responder ]; then
        libre_conf bad local=192.0.2.2 remote=192.0.2.1 id=bad.example.org rid=server.example.org lts=10.40.0.0/24 \
            rts=10.20.0.0/24 ike=$IKE esp=$ESP psk="$LAB_PSK" more='leftupdown=%disabled retransmit-timeout=6s'
    else
        libre_conf bad local=192.0.2.2 remote=192.0.2.4 id=bad.example.org rid=client@example.org lts=10.40.0.0/24 \
            rts=10.30.0.0/24 ike=$IKE esp=$ESP psk="$LAB_PSK" more='leftupdown=%disabled'
        shrike_conf client client remote=192.0.2.2 id=client@example.org rid=bad.example.org send=10.40.0.0/24 \
            local=10.30.0.0/24 ike=$IKE esp=$ESP psk="$LAB_PSK"
    fi
}

# Tunnels with the hostile peer that Shrike believes in, and their children.
ours()
{
    local host=server name=
    [ "$role" = responder ] || host=client name=peer
    on $host "$SHRIKE" status --json $name 2>/dev/null | python3 -c '
import json, sys
try:
    tunnels = [t for t in json.load(sys.stdin)["tunnels"] if "bad.example.org" in t.get("peer_id", "") and t["children"]]
    print(len(tunnels), sum(len(t["children"]) for t in tunnels))
except Exception:
    print("0 0")'
}

# What the children of the hostile peer cover on its side: it must never grow.
covered()
{
    local host=server name=
    [ "$role" = responder ] || host=client name=peer
    on $host "$SHRIKE" status --json $name 2>/dev/null | python3 -c '
import json, sys
for t in json.load(sys.stdin)["tunnels"]:
    if "bad.example.org" in t.get("peer_id", ""):
        for c in t["children"]:
            print(*c["remote_ts"])' | sort -u | paste -sd' '
}

# The four processes of every instance: who died, or was made anew, has another number.
processes()
{
    on "$1" sh -c 'cat /run/shrike/*.pid 2>/dev/null'
    pgrep -f "$SHRIKE (gateway|up)" --ns "${HOST_PID[$1]}" --nslist mnt 2>/dev/null | sort | paste -sd' '
}

impair()
{
    local one
    on bad ipsec whack --impair none >/dev/null 2>&1
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
    if [ "$role" = responder ]; then
        on bad timeout "$1" ipsec whack --initiate --name peer >"$(logfile bad-up)" 2>&1
    else
        on client timeout "$1" "$SHRIKE" up /etc/shrike/peer.conf --wait -t "$1" >"$(logfile client-up)" 2>&1
    fi
    [ "$(ours)" != '0 0' ]
}

end_attempt()
{
    [ "$role" = responder ] || on client timeout 20 "$SHRIKE" down peer >/dev/null 2>&1
    on bad ipsec whack --impair none >/dev/null 2>&1
    on bad timeout 10 ipsec whack --terminate --name peer >/dev/null 2>&1
    wait_for 10 eval '[ "$(ours)" = "0 0" ]' && return 0
    # One that was told nothing learns it from a new connection, which takes the place of the old.
    return 0
}

peer_carries()
{
    local from=server to=10.40.0.1 source=10.20.0.1
    [ "$role" = responder ] || from=client source=10.30.0.1
    on $from ping -q -c 2 -i 0.2 -W 4 -I $source $to >/dev/null
}

after_up()
{
    local before
    before=$(covered)
    case $1 in
    rekey*) on bad timeout 20 ipsec whack --rekey-ipsec --name peer >/dev/null 2>&1 ;;
    we-rekey) on "$([ "$role" = responder ] && echo server || echo client)" timeout 20 "$SHRIKE" rekey --child \
        "$([ "$role" = responder ] && echo shrike || echo peer)" >/dev/null 2>&1 ;;
    esac
    [ "$1" = - ] || sleep 2
    [ "$(covered)" = "$before" ] || [ -z "$(covered)" ] || { why="its networks were $before, now $(covered)"; return 1; }
    [ "$1" != - ] || peer_carries || { why='the tunnel does not carry'; return 1; }
}

# row IMPAIRMENT WANT AFTER
hostile_row()
{
    local label="$role, $1" want=$2 after=$3 have
    why=
    pluto_lives
    if ! impair "$1"; then
        skip "$label" "$(tail -n 1 "$LAB_DIR/impair.out")"
        return
    fi
    local patience=8
    [ "$want" = up ] && patience=30
    if attempt $patience; then have=up; else have=down; fi
    if [ $want != any ] && [ $have != $want ]; then
        fail "$label" "is $have, must be $want"
    elif [ $have = up ] && ! after_up "$after" && [ "$want" = up ]; then
        fail "$label" "$why"
    else
        pass "$label: $have"
    fi
    end_attempt
    [ "$(processes $ours)" = "$born" ] || [ "$role" = initiator ] || { fail "$label" 'a process of ours was made anew'; born=$(processes $ours); }
    on $healthy ping -q -c 1 -W 4 10.20.0.1 >/dev/null || fail "$label" 'the healthy tunnel does not answer'
}

hostile_role()
{
    role=$1 healthy=good ours=server
    [ "$role" = responder ] || healthy=client ours=client
    hostile_configure "$role"
    expect "$role: the gateway starts" shrike_start server || return
    expect "$role: the healthy tunnel comes up" on $healthy timeout 60 "$SHRIKE" up healthy --wait || return
    expect "$role: libreswan starts" libre_start bad || return
    spawn $healthy pings ping -i 0.5 -W 10 10.20.0.1
    born=$(processes $ours)
    local impairment r i after want
    while read -r impairment r i after; do
        # shellcheck disable=SC2254 # the pattern is one
        case $impairment in '') continue ;; $only) ;; *) continue ;; esac
        want=$r
        [ "$role" = responder ] || want=$i
        [ "$want" = - ] || hostile_row "$impairment" "$want" "$after" </dev/null
    done <<<"$hostile_rows"
    stop pings INT
    if grep -qE ' 0% packet loss' "$(logfile pings)"; then
        pass "$role: the healthy tunnel lost nothing: $(grep -oE '[0-9]+ packets.*received' "$(logfile pings)")"
    else
        fail "$role: the healthy tunnel" "$(grep 'packet loss' "$(logfile pings)")"
    fi
    hostile_row none up - </dev/null
    on $healthy "$SHRIKE" down healthy >/dev/null 2>&1
    shrike_stop server
    libre_stop bad
}

for role in responder initiator; do
    [ -z "$only_role" ] || [ "$only_role" = $role ] || continue
    hostile_role $role
done
lab_summary
