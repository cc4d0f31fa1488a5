#!/usr/bin/env bash
# What bad input gets: one sentence that says what, why and what next, on the side that sees it, and
# an exit code of its own kind. Meanwhile a good tunnel to the same gateway goes on.
#
#   good 192.0.2.3 ---+
#                     switch --- 192.0.2.1 server    10.20.0.1 on lo
#   bad  192.0.2.2 ---+

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/shrike.sh"
lab_enter "$@"
. "$LAB_LIB/pki.sh"
shrike_need faults || { lab_summary; exit; }

host switch
host good
host bad
host server
wire switch p1 good eth0
wire switch p2 bad eth0
wire switch p3 server eth0
at switch ip link add bridge0 type bridge
for port in p1 p2 p3; do at switch ip link set $port master bridge0; done
at switch ip link set bridge0 up
addr server eth0 192.0.2.1/24
addr server lo 10.20.0.1/32
addr bad eth0 192.0.2.2/24
addr good eth0 192.0.2.3/24

pki_ca ca p256
pki_ca stranger p256
pki_cert ca server p256 DNS:server.example.org
pki_cert ca good p256 email:good@example.org
pki_cert ca bad p256 email:bad@example.org
pki_cert ca old p256 email:bad@example.org -10
pki_cert stranger alien p256 email:bad@example.org
pki_cert ca oldserver p256 DNS:server.example.org -10
pki_cert ca otherserver p256 DNS:other.example.org
echo 'not a certificate' >"$PKI/garbage.pem"

gateway_conf()
{
    shrike_conf server gateway id=server.example.org listen=192.0.2.1 pool=10.99.0.0/24 \
        routes=10.20.0.0/24 cert="$PKI/server.pem" key="$PKI/server.key" ca="$PKI/ca.pem" \
        any_cert=yes peer=psk@example.org psk="$LAB_PSK" level=info "$@"
}

client_conf()
{
    local host=$1
    shift
    shrike_conf "$host" client remote=192.0.2.1 rid=server.example.org send=10.20.0.0/24 level=info "$@"
}

good_goes_on()
{
    on good ping -q -c 2 -i 0.1 -W 2 10.20.0.1 >/dev/null || fail "$1" 'the good tunnel stopped'
}

declare -A seen=()
# refused LABEL CODES REGEX HOST COMMAND...: fails with one of the codes, and says the words
refused()
{
    local label=$1 codes=$2 words=$3 host=$4 out=$LAB_DIR/refused.out status
    shift 4
    on "$host" timeout 90 "$@" >"$out" 2>&1
    status=$?
    if [ $status = 124 ]; then
        fail "$label" 'still runs after 90 s'
    elif [[ " $codes " != *" $status "* ]]; then
        fail "$label" "exit code $status, not $codes: $(tail -n 1 "$out")"
    elif ! grep -qiE "$words" "$out"; then
        fail "$label" "does not say /$words/: $(tail -n 3 "$out" | paste -sd" ")"
    elif grep -qiE 'assert|abort|segmentation|core dumped|runtime error' "$out"; then
        fail "$label" "$(tail -n 1 "$out")"
    else
        seen[$status]=1
        pass "$label ($status)"
    fi
    good_goes_on "$label"
    on "$host" timeout 10 "$SHRIKE" down peer >/dev/null 2>&1
}

up()
{
    refused "$1" "$2" "$3" bad "$SHRIKE" up /etc/shrike/peer.conf --wait
}

# said LABEL REGEX: on the gateway's side, to who asks for it
said()
{
    local out=$LAB_DIR/explain.out
    on server "$SHRIKE" explain >"$out" 2>&1
    if grep -qiE "$2" "$out" && grep -q '  fix ' "$out"; then
        pass "$1"
    else
        fail "$1" "the gateway does not say /$2/ and what to do: $(paste -sd'|' "$out")"
    fi
}

gateway_conf
client_conf good cert="$PKI/good.pem" key="$PKI/good.key" ca="$PKI/ca.pem"
expect 'gateway starts' shrike_start server || { lab_summary; exit; }
expect 'good client connects' shrike_up good || { lab_summary; exit; }

# ---- seen here, before a packet leaves ----

cert=(cert="$PKI/bad.pem" key="$PKI/bad.key" ca="$PKI/ca.pem")
client_conf bad cert="$PKI/garbage.pem" key="$PKI/bad.key" ca="$PKI/ca.pem"
up 'unreadable certificate' 6 'garbage\.pem'
client_conf bad cert="$PKI/none.pem" key="$PKI/bad.key" ca="$PKI/ca.pem"
up 'missing certificate' 6 'none\.pem'
client_conf bad cert="$PKI/bad.pem" key="$PKI/good.key" ca="$PKI/ca.pem"
up 'key that does not match' 6 'key'
client_conf bad cert="$PKI/old.pem" key="$PKI/old.key" ca="$PKI/ca.pem"
up 'own certificate expired' '6 4' 'expired|ended'
client_conf bad id=psk@example.org psk=secret
up 'weak shared secret' 6 'psk|secret'
client_conf bad "${cert[@]}"
on bad sed -i 's/^\[crypto\]/&\nreplay-windov = 512/' /etc/shrike/peer.conf
up 'unknown option' 6 'peer\.conf:[0-9]+.*replay-windov.*replay-window'
refused 'unknown option, by check' '6 8' 'peer\.conf:[0-9]+.*replay-windov.*replay-window' bad "$SHRIKE" check /etc/shrike/peer.conf
client_conf bad "${cert[@]}" ike=aes999-x25519
up 'unknown algorithm' 6 'peer\.conf:[0-9]+.*aes999'
client_conf bad "${cert[@]}" child_life=2
up 'value out of range' 6 'peer\.conf:[0-9]+'
refused 'no such tunnel' '2 6' 'nowhere' bad "$SHRIKE" up nowhere --wait
refused 'unknown verb' 2 'upp' bad "$SHRIKE" upp
refused 'status without a daemon' 3 'nothing is running' bad "$SHRIKE" status

# ---- refused by the other side ----

client_conf bad cert="$PKI/alien.pem" key="$PKI/alien.key" ca="$PKI/ca.pem"
up 'client of an unknown CA' 4 'authenticat|refused'
said 'client of an unknown CA: the gateway says so' 'issuer|trusted|unknown.*ca|ca.*unknown'
client_conf bad cert="$PKI/bad.pem" key="$PKI/bad.key" ca="$PKI/stranger.pem"
up 'gateway of an unknown CA' 4 'issuer|trusted|unknown.*ca'
client_conf bad id=psk@example.org psk='another-vellum-83-falcon-basalt' ca="$PKI/ca.pem"
up 'wrong shared secret' 4 'authenticat|secret'
said 'wrong shared secret: the gateway says so' 'psk@example.org'
client_conf bad id=nobody@example.org psk="$LAB_PSK" ca="$PKI/ca.pem"
up 'unknown identity' 4 'authenticat|refused|identity'
said 'unknown identity: the gateway names it' 'nobody@example.org'
client_conf bad "${cert[@]}" rid=other.example.org
up 'gateway with another name' 4 'server\.example\.org|other\.example\.org|identity|name'
client_conf bad "${cert[@]}" remote=192.0.2.99
at bad ip neigh add 192.0.2.99 lladdr 02:00:00:00:00:99 dev eth0
up 'a peer that never answers' 5 '192\.0\.2\.99'
client_conf bad "${cert[@]}" remote=192.0.2.3
started=$SECONDS
up 'a host where nobody listens' 5 'closed|listens'
[ $((SECONDS - started)) -le 20 ] && pass 'a closed port is told in time' ||
    fail 'a closed port is told in time' "after $((SECONDS - started)) s"
is 'each process has a title' "$(pgrep -P "${SPAWN_PID[server]}" -a | cut -d' ' -f2-3 | sort | paste -sd,)" \
    'shrike: esp,shrike: ike,shrike: keys'
client_conf bad "${cert[@]}" remote=no-such-host.invalid
up 'a name without an address' '5 6 1' 'no-such-host\.invalid'

# ---- the machine ----

client_conf bad "${cert[@]}"
refused 'not root' 7 'root|CAP_NET_ADMIN|permission' bad setpriv --reuid 65534 --clear-groups \
    "$SHRIKE" up /etc/shrike/peer.conf --wait
refused 'gateway: not root' 7 'root|CAP_NET_ADMIN|permission' bad setpriv --reuid 65534 --clear-groups \
    "$SHRIKE" gateway -c /etc/shrike/peer.conf
spawn bad holder python3 -c '
import socket, time
for port in 500, 4500:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("192.0.2.2", port)); globals()["s%d" % port] = s
time.sleep(600)'
wait_for 10 sh -c "nsenter -t ${HOST_PID[bad]} --net ss -Huln | grep -q 192.0.2.2:4500"
on server cat /etc/shrike/shrike.conf | sed 's/192\.0\.2\.1$/192.0.2.2/' | shrike_write bad /etc/shrike/shrike.conf
refused 'port in use' 10 'port|in use|holds' bad "$SHRIKE" gateway -c /etc/shrike/shrike.conf
stop holder
on bad mount -t tmpfs none /dev/net
up 'no TUN device' 11 '/dev/net/tun'
on bad umount /dev/net

# ---- the gateway's own ----

gateway_faulty()
{
    on server cat /etc/shrike/shrike.conf | sed "s#$PKI/server.pem#$PKI/$2.pem#; s#$PKI/server.key#$PKI/$2.key#" |
        shrike_write bad /etc/shrike/shrike.conf
    refused "$1" "$3" "$4" bad "$SHRIKE" check /etc/shrike/shrike.conf
}
gateway_faulty 'gateway: certificate expired, by check' oldserver 6 'expired|ended'
gateway_faulty 'gateway: certificate for another name, by check' otherserver 6 'does not carry this name'

# Algorithms that do not meet: a gateway of its own, so that the good one need not restart.
shrike_down good >/dev/null 2>&1
shrike_stop server
gateway_conf ike=aes256gcm16-prfsha384-ecp384
expect 'gateway with one proposal starts' shrike_start server
client_conf good cert="$PKI/good.pem" key="$PKI/good.key" ca="$PKI/ca.pem" ike=aes256gcm16-prfsha384-ecp384
expect 'good client connects to it' shrike_up good
client_conf bad "${cert[@]}" ike=chacha20poly1305-prfsha512-modp4096
up 'no common proposal' 9 'proposal|algorithm'
said 'no common proposal: the gateway says what was offered' 'chacha20|modp4096|proposal'
is 'exit codes: usage, not running, authentication, unreachable, configuration, permission, mismatch, in use, no TUN' \
    "${seen[2]:-}${seen[3]:-}${seen[4]:-}${seen[5]:-}${seen[6]:-}${seen[7]:-}${seen[9]:-}${seen[10]:-}${seen[11]:-}" 111111111
shrike_down good >/dev/null 2>&1
shrike_stop server
lab_summary
