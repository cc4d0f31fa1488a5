#!/usr/bin/env bash
# A running gateway takes its changed configuration: `shrike reload` and SIGHUP. Whom a change does not
# concern loses no packet and sends no IKE message; whom it concerns ends, and is told why; what cannot
# be taken is refused and leaves no trace.
#
#   alice 192.168.1.2 --\
#   bob   192.168.2.2 ---\
#   carol 192.168.3.2 ----- router ------- 198.51.100.1 server    10.20.0.1 on lo
#   dave  192.168.4.2 ---/
#   erin  192.168.5.2 --/
#
# alice, bob and erin are Shrike with a shared secret, carol with a certificate, dave is strongSwan 6.1
# with a shared secret. Each step pings from all that stand, a hundred times a second.

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/pki.sh"
. "$LAB_LIB/sswan.sh"
. "$LAB_LIB/shrike.sh"
lab_enter "$@"
shrike_need reload || { lab_summary; exit; }

SECRET_alice=mimosa-vellum-71-okapi-quartz
SECRET_bob=orchid-marble-99-falcon-basalt
SECRET_dave=juniper-velvet-45-otter-flint
SECRET_erin=saffron-willow-83-badger-slate
IKE=aes256gcm16-prfsha256-x25519 ESP=aes256gcm16-x25519

host router
host server
wire router wan server eth0
addr router wan 198.51.100.2/24
addr server eth0 198.51.100.1/24
addr server lo 10.20.0.1/32
route server default via 198.51.100.2
forward router

# station NAME NUMBER: a host 192.168.NUMBER.2 behind the router
station()
{
    if [ "$1" = dave ]; then
        sswan_host dave six || return
    else
        host "$1"
    fi
    wire "$1" eth0 router "lan$2"
    addr "$1" eth0 "192.168.$2.2/24"
    addr router "lan$2" "192.168.$2.1/24"
    route "$1" default via "192.168.$2.1"
    eval "ADDRESS_$1=192.168.$2.2"
}

station alice 1
station bob 2
station carol 3
station erin 5
PEERS='alice bob carol'
if station dave 4; then
    PEERS='alice bob carol dave'
else
    skip 'reload with strongSwan' 'test/net/roots.sh six has not made its root'
fi

pki_ca ca p256
pki_ca other p256
pki_cert ca gateway p256 DNS:gateway.example.org
pki_cert other renewed p256 DNS:gateway.example.org
pki_cert ca carol p256 email:carol@example.org
cat "$PKI/ca.pem" "$PKI/other.pem" >"$PKI/both.pem"

# ---- the gateway's file, of parts that the steps change

POOL='10.99.0.0/24, fd99:1::/112' DNS=192.0.2.53 CLIENTS='alice bob carol dave' EXTRA='' CERT=gateway WORKERS=1

client_section()
{
    local secret=SECRET_$1
    echo "[client $1@example.org]"
    case $1 in
    alice) echo 'psk-file = alice.psk' ;;
    carol) ;;
    *) echo "psk = ${!secret:-sable-harbour-66-lichen-tundra}" ;;
    esac
}

write_gateway()
{
    local name
    on server sh -c 'umask 077; mkdir -p /etc/shrike; cat >/etc/shrike/alice.psk' <<<"$SECRET_alice"
    on server cp "$PKI/$CERT.pem" /etc/shrike/gateway.pem
    on server cp "$PKI/$CERT.key" /etc/shrike/gateway.key
    on server cp "$PKI/ca.pem" /etc/shrike/ca.pem
    {
        printf '%s\n' '[gateway]' 'name = gateway.example.org' 'listen = 198.51.100.1' 'cert = gateway.pem' \
            'key = gateway.key' 'ca = ca.pem' "workers = $WORKERS" 'handshakes = none' \
            '[network]' "pool = $POOL" "dns = $DNS" 'routes = 10.20.0.0/24' 'nat = yes' \
            '[auth]' 'ban = never' 'tunnels-per-client = none' '[life]' 'dpd = never' 'idle-check = never' '[log]' 'level = info'
        printf '%s' "$EXTRA"
        for name in $CLIENTS; do client_section "$name"; done
    } | shrike_write server /etc/shrike/shrike.conf
}

# ---- clients

start_client()
{
    local secret=SECRET_$1
    case $1 in
    dave)
        sswan_conf dave remote=198.51.100.1 id=dave@example.org rid=gateway.example.org vips=0.0.0.0 \
            rts=10.20.0.0/24 ike=$IKE esp=$ESP psk="$SECRET_dave"
        sswan_start dave && sswan_up dave
        ;;
    carol)
        on carol mkdir -p /etc/shrike
        on carol cp "$PKI/carol.pem" "$PKI/carol.key" "$PKI/ca.pem" "$PKI/other.pem" "$PKI/both.pem" /etc/shrike
        shrike_conf carol client id=carol@example.org rid=gateway.example.org remote=198.51.100.1 \
            send=10.20.0.0/24 request=ip4 level=info cert=carol.pem key=carol.key ca="${CAROL_CA:-ca.pem}"
        shrike_up carol
        ;;
    *)
        shrike_conf "$1" client id="$1@example.org" rid=gateway.example.org remote=198.51.100.1 \
            send=10.20.0.0/24 request=ip4 level=info psk="${!secret}"
        shrike_up "$1"
        ;;
    esac
}

stands()
{
    on "$1" ping -q -c 1 -W 1 10.20.0.1
}

tunnels()
{
    shrike_status server 's["tunnel_count"]'
}

# ---- one step: whom it does not concern is watched

# watch LABEL NAME...: pings from each, and a look at all IKE messages
watch()
{
    local label=$1 name
    shift
    sniff server eth0 "$label" "$LAB_IKE"
    for name; do
        spawn "$name" "ping-$label-$name" ping -q -i 0.01 -c "${PINGS:-400}" -W 2 10.20.0.1
    done
    sleep 0.3
}

# unharmed LABEL WHAT NAME...: none of them has lost a packet or had an IKE message
unharmed()
{
    local label=$1 what=$2 name address lost count
    shift 2
    for name; do
        finish "ping-$label-$name"
        lost=$(sed -n 's/^\([0-9]*\) packets transmitted, \([0-9]*\) received.*/\1 \2/p' \
            "$(logfile "ping-$label-$name")" | awk '{print $1 - $2 " of " $1}')
        case $lost in
        "0 of ${PINGS:-400}") pass "$what: $name lost $lost pings" ;;
        *) fail "$what: $name lost pings" "${lost:-no ping at all}" ;;
        esac
    done
    sniff_stop "$label"
    for name; do
        address=ADDRESS_$name
        count=$(sniff_count "$label" "host ${!address}")
        if [ "$count" = 0 ]; then
            pass "$what: no IKE message with $name"
        else
            fail "$what: IKE messages with $name" "$count"
        fi
    done
}

# reload NAME [CODE] [REGEX]: what it says, and the exit code
reload()
{
    local what=$1 code=${2:-0} regex=${3:-.} got
    on server timeout 60 "$SHRIKE" reload >"$(logfile reload)" 2>&1
    got=$?
    [ -z "${LAB_VERBOSE:-}" ] || sed 's/^/    /' "$(logfile reload)" >&2
    if [ "$got" = "$code" ] && grep -qE "$regex" "$(logfile reload)"; then
        pass "$what"
    else
        fail "$what" "exit code $got: $(cat "$(logfile reload)")"
    fi
}

says()
{
    expect "$1" grep -qE "$2" "$(logfile reload)"
}

# ---- all up

write_gateway
shrike_start server || { fail 'the gateway starts'; lab_summary; exit; }
for name in $PEERS; do
    expect "$name connects" start_client "$name"
done
ALL=$(wc -w <<<"$PEERS")

unchanged()
{
    watch same $PEERS
    reload 'the same file' 0 'nothing has changed in'
    says 'all tunnels stay' "^  $ALL tunnels stay, 0 ended"
    unharmed same 'the same file' $PEERS
}

added()
{
    expect 'erin is not let in before' not start_client erin
    watch added $PEERS
    CLIENTS="$CLIENTS erin"
    write_gateway
    reload 'a client is added' 0 'added 1 client: erin@example.org'
    expect 'erin connects' start_client erin
    expect 'erin has traffic' stands erin
    unharmed added 'a client is added' $PEERS
    shrike_down erin >/dev/null
}

not()
{
    ! "$@"
}

removed()
{
    local rest=${PEERS/bob /}
    watch removed $rest
    CLIENTS=${CLIENTS/bob /}
    write_gateway
    reload 'a client is removed' 0 'removed 1 client: bob@example.org'
    says 'its tunnel ended, by name' '^    bob@example.org: .'
    says 'the others stay' "^  $((ALL - 1)) tunnels? stays?, 1 ended"
    expect 'bob has no traffic any more' not stands bob
    expect 'bob is told' wait_for 5 on bob grep -qE 'ended|deleted|refus' /run/shrike/peer.log
    unharmed removed 'a client is removed' $rest
    shrike_down bob >/dev/null
    CLIENTS="$CLIENTS bob"
    write_gateway
    reload 'it is added again' 0 'added 1 client: bob@example.org'
    expect 'bob connects again' start_client bob
}

other_secret()
{
    local rest=${PEERS/alice /}
    watch secret $rest
    SECRET_alice=another-vellum-71-okapi-quartz
    write_gateway
    reload 'a secret is another' 0 '1 shared secret is other than before'
    says 'its tunnel ended' '^    alice@example.org: .'
    unharmed secret 'a secret is another' $rest
    expect 'the old secret does not do' not stands alice
    shrike_down alice >/dev/null
    expect 'alice connects with the new one' start_client alice
}

renewed()
{
    watch renewed $PEERS
    CERT=renewed
    write_gateway
    reload 'a renewed certificate' 0 'our certificate is another'
    says 'all tunnels stay' "^  $ALL tunnels stay, 0 ended"
    unharmed renewed 'a renewed certificate' $PEERS
    shrike_down carol >/dev/null
    expect 'the former authority does not vouch for it' not start_client carol
    shrike_down carol >/dev/null 2>&1
    CAROL_CA=other.pem
    expect 'a new handshake shows the new one' start_client carol
}

other_pool()
{
    POOL='10.98.0.0/24, fd99:1::/112' DNS=192.0.2.54
    write_gateway
    reload 'another pool' 0 '\[network\] pool: 10.98.0.0/24, fd99:1::/112, was 10.99.0.0/24'
    says 'and other resolvers' '\[network\] dns: 192.0.2.54, was 192.0.2.53'
    says 'all tunnels ended' "^  0 tunnels stay, $ALL ended"
    expect 'the gateway has an address of the new pool' \
        at server sh -c 'ip -4 -o addr show dev shrike0 | grep -q 10.98.0.1/24'
    expect 'and none of the old one' \
        not at server sh -c 'ip -4 -o addr show dev shrike0 | grep -q 10.99.0.1'
    expect 'its rules are those of the new pool' \
        at server sh -c 'nft list ruleset | grep -q 10.98.0.0/24 && ! nft list ruleset | grep -q 10.99.0.0/24'
    local name
    for name in alice bob carol; do
        expect "$name comes again" wait_for 20 stands "$name"
        expect "$name has an address of the new pool" \
            on "$name" sh -c 'ip -4 -o addr show dev peer | grep -q 10.98.0.'
    done
    case $PEERS in *dave*)
        sswan_down dave
        expect 'dave comes again' sswan_up dave ;;
    esac
    # the new one beside the old one, where nothing of the old one goes
    watch wider $PEERS
    POOL='10.98.0.0/23, fd99:1::/64'
    write_gateway
    reload 'a wider pool' 0 '\[network\] pool'
    expect 'the gateway has its addresses with the new lengths' at server sh -c \
        'test "$(ip -o addr show dev shrike0 | grep -oE "(10.98|fd99:1:)[^ ]*/[0-9]+" | sort | paste -sd" ")" = \
        "10.98.0.1/23 fd99:1::1/64"'
    expect 'and no other route than theirs' at server sh -c \
        'test "$(ip -6 route show dev shrike0 | grep -c fd99:1:)" = 1'
    says 'all tunnels stay' "^  $ALL tunnels stay, 0 ended"
    unharmed wider 'a wider pool' $PEERS
}

refused()
{
    local read
    read=$(shrike_status server 's["config_read"]')
    watch refused $PEERS
    EXTRA=$'[crypto]\nesp = aes257gcm16\n'
    write_gateway
    reload 'a broken file' 6 '/etc/shrike/shrike.conf:[0-9]*: .*aes257gcm16'
    EXTRA='' WORKERS=2
    write_gateway
    reload 'an option that cannot change' 6 'shrike.conf:7: \[gateway\] workers cannot change while it runs, and was "1": "2" - restart'
    WORKERS=1
    write_gateway
    on server rm /etc/shrike/gateway.key
    reload 'a key that is missing' 6 'gateway.key'
    on server cp "$PKI/ca.key" /etc/shrike/gateway.key
    reload 'a key that does not match' 6 'key'
    on server rm /etc/shrike/alice.psk
    reload 'a secret that is missing' 6 'alice.psk'
    CLIENTS="$CLIENTS alice"
    write_gateway
    reload 'a client that stands there twice' 6 'alice@example.org'
    CLIENTS=${CLIENTS% alice}
    write_gateway
    unharmed refused 'refused' $PEERS
    if [ "$(shrike_status server 's["config_read"]')" = "$read" ]; then
        pass 'status knows that nothing was read'
    else
        fail 'status says that it was read'
    fi
}

# Twenty, each with another set of clients, while one connects again and again.
many()
{
    local i stop=$LAB_DIR/many.stop bad=0
    rm -f "$stop"
    case " $CLIENTS " in *' erin '*) ;; *) CLIENTS="$CLIENTS erin" ;; esac
    write_gateway
    reload 'before twenty of them'
    (
        n=0 failed=0
        while [ ! -e "$stop" ]; do
            n=$((n + 1))
            start_client erin >/dev/null 2>&1 || failed=$((failed + 1))
            shrike_down erin >/dev/null 2>&1
        done
        echo "$n $failed" >"$LAB_DIR/many.result"
    ) &
    local connecting=$!
    PINGS=1500 watch many alice carol
    for ((i = 0; i < 20; i++)); do
        case " $CLIENTS " in
        *' frank '*) CLIENTS=${CLIENTS/ frank/} ;;
        *) CLIENTS="$CLIENTS frank" ;;
        esac
        write_gateway
        on server timeout 30 "$SHRIKE" reload >"$(logfile "reload-$i")" 2>&1 ||
            { bad=$((bad + 1)); cat "$(logfile "reload-$i")"; }
    done
    touch "$stop"
    wait "$connecting"
    if [ "$bad" = 0 ]; then pass 'twenty reloads'; else fail 'twenty reloads' "$bad failed"; fi
    PINGS=1500 unharmed many 'twenty reloads' alice carol
    if awk '{exit !($1 >= 3 && $2 == 0)}' "$LAB_DIR/many.result"; then
        pass "a client connected again and again meanwhile ($(cat "$LAB_DIR/many.result") failed)"
    else
        fail 'a client connects again and again meanwhile' "$(cat "$LAB_DIR/many.result") failed"
    fi
}

process()
{
    shrike_status server "[p['pid'] for p in s['processes'] if p['name'] == '$1'][0]"
}

serves()
{
    shrike_down erin >/dev/null 2>&1
    start_client erin && stands erin
}

# Whoever dies in the middle: afterwards the gateway serves, by the one file or the other.
killed()
{
    local who delay pid
    case " $CLIENTS " in *' erin '*) ;; *) CLIENTS="$CLIENTS erin" ;; esac
    write_gateway
    reload 'before processes are killed'
    for who in keys ike; do
        for delay in 0 0.02 0.1; do
            pid=$(process $who)
            on server timeout 60 "$SHRIKE" reload >"$(logfile "killed-$who-$delay")" 2>&1 &
            local call=$!
            sleep "$delay"
            kill -KILL "$pid" 2>/dev/null
            wait $call
            expect "$who killed after $delay s: a client is let in" wait_for 40 serves
        done
    done
    expect 'and another reload works' wait_for 10 on server "$SHRIKE" reload
}

two_at_once()
{
    local a b
    on server timeout 60 "$SHRIKE" reload >"$(logfile twice-a)" 2>&1 &
    a=$!
    on server timeout 60 "$SHRIKE" reload >"$(logfile twice-b)" 2>&1 &
    b=$!
    wait $a
    wait $b
    expect 'one of two at once is done' grep -q 'nothing has changed' "$(logfile twice-a)" "$(logfile twice-b)"
    expect 'every reload has ended' wait_for 10 on server "$SHRIKE" reload
}

by_signal()
{
    local read
    case " $CLIENTS " in *' erin '*) ;; *) CLIENTS="$CLIENTS erin" ;; esac
    write_gateway
    on server "$SHRIKE" reload >"$(logfile reload)"
    read=$(shrike_status server 's["config_read"]')
    sleep 1
    CLIENTS=${CLIENTS/ erin/}
    write_gateway
    shrike_down erin >/dev/null 2>&1
    kill -HUP "${SPAWN_PID[server]}"
    expect 'SIGHUP: the log says what has changed' wait_for 10 grep -q 'client erin@example.org: removed' "$(logfile server)"
    expect 'SIGHUP: and that it is in force' wait_for 10 sh -c \
        "tail -n 5 '$(logfile server)' | grep -q 'the new configuration is in force'"
    expect 'SIGHUP: status says when' sh -c "[ '$read' != '$(shrike_status server 's["config_read"]')' ]"
    expect 'SIGHUP: who was taken out is not let in' not start_client erin
    shrike_down erin >/dev/null 2>&1
    # another edit while the first one is being read is not forgotten
    for _ in 1 2 3 4 5; do
        CLIENTS="$CLIENTS erin"
        write_gateway
        kill -HUP "${SPAWN_PID[server]}"
        CLIENTS=${CLIENTS/ erin/}
        write_gateway
        kill -HUP "${SPAWN_PID[server]}"
        sleep 1
        on server "$SHRIKE" reload >"$(logfile reload)" 2>&1
        grep -q 'nothing has changed' "$(logfile reload)" || break
    done
    expect 'SIGHUP: the last of two edits is in force' grep -q 'nothing has changed' "$(logfile reload)"
}

# A client's own: its resolvers, its certificate, and what it cannot follow.
a_client()
{
    on alice sh -c 'sed -i "s/^dpd.*/dpd = 30s/" /etc/shrike/peer.conf'
    spawn alice ping-own ping -q -i 0.01 -c 200 -W 2 10.20.0.1
    on alice "$SHRIKE" reload peer >"$(logfile reload)" 2>&1
    says 'a client follows' '\[life\] dpd: 30s, was never'
    finish ping-own
    expect 'and loses nothing' grep -q '200 received' "$(logfile ping-own)"
    on alice sh -c 'sed -i "s/^send.*/send = 10.21.0.0\/24/" /etc/shrike/peer.conf'
    on alice "$SHRIKE" reload peer >"$(logfile reload)" 2>&1
    says 'what it cannot follow it says' 'send cannot change while it runs.*shrike down peer'
    expect 'and goes on' stands alice
}

# Many tunnels: each is judged, and the leases of all change hands.
crowd()
{
    local stood erins
    [ -x "${SHRIKE%/*}/shrike-load" ] || { skip crowd 'there is no shrike-load: make'; return; }
    POOL='10.96.0.0/16'
    case " $CLIENTS " in *' erin '*) ;; *) CLIENTS="$CLIENTS erin" ;; esac
    write_gateway
    reload 'before a crowd'
    shrike_conf erin client id=erin@example.org rid=gateway.example.org remote=198.51.100.1 \
        send=10.20.0.0/24 request=ip4 level=info psk="$SECRET_erin"
    spawn erin crowd "${SHRIKE%/*}/shrike-load" --config /etc/shrike/peer.conf --tunnels "$CROWD" \
        --parallel 8 --hold 600
    wait_for 100 crowd_stands
    # All have one identity and come at once, so that one may have taken another's address with its
    # INITIAL_CONTACT: the first judgement finds that.
    reload 'a crowd is judged' 0 'nothing has changed'
    stood=$(tunnels)
    reload "a crowd of $CROWD and the same file" 0 "^  $stood tunnels stay, 0 ended"
    echo "note: it took $(on server "$SHRIKE" reload --json | sed -n 's/^ *"elapsed_ms": //p') ms"
    erins=$(shrike_status server 'sum(t["peer_id"] == "erin@example.org" for t in s["tunnels"])')
    CLIENTS=${CLIENTS/ erin/}
    write_gateway
    reload 'a crowd is taken out' 0 ", $erins ended"
    if [ "$erins" -gt $((CROWD * 9 / 10)) ]; then pass 'and it was one'; else fail 'there was no crowd' "$erins"; fi
    stop crowd KILL
}

crowd_stands()
{
    [ "$(tunnels)" -ge "$CROWD" ]
}
CROWD=${CROWD:-1000}

STEPS=${*:-unchanged added removed other_secret renewed other_pool refused many two_at_once a_client by_signal crowd killed}
for step in $STEPS; do
    "$step"
done
expect 'no state was left by a wrong move' \
    test "$(shrike_status server 's["counters"]["ike"]["illegal_moves"]')" = 0
lab_summary
