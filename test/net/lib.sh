# The lab: hosts, cables, routers, sniffers and a score, for the scripts in this directory and ./demo.
# shellcheck shell=bash disable=SC2034
#
# A script calls lab_enter "$@" first. That runs the script again as process 1 of new PID, mount,
# network, UTS and IPC namespaces and waits for it. Whatever the script starts, mounts or creates
# belongs to those namespaces, so the kernel removes all of it when process 1 ends: at the end of
# the script, at Ctrl-C, and also when somebody kills the outer script with SIGKILL. Nothing shows
# on the machine, so names need not be unique and several labs run side by side. For the same
# reason the inside can do no harm outside, but it also has no network: install things before.
#
# A host is a process that sleeps in a network, mount and UTS namespace of its own; commands enter
# these with "on NAME COMMAND". /run is empty and private to it, /etc and /var/lib are writable
# copies, so two hosts may run the same daemon with the same paths. With a root directory (see
# roots.sh) the whole file system of the host is an overlay of that root. $LAB_DIR is the same
# directory everywhere.
#
#   lab_enter "$@"                   then lab_summary at the end
#   host NAME [ROOTDIR]              wire HOST IF HOST IF        addr HOST IF ADDR/LEN...
#   route HOST DEST via GW           forward HOST                masquerade HOST OUTIF
#   road CLIENT ROUTER SERVER
#   nat nat|routed                   the host "router" masquerades by "wan", or not
#   on HOST COMMAND...  at HOST ...  spawn HOST LABEL COMMAND... stop LABEL   spawned LABEL
#                                    spawn_at HOST LABEL COMMAND...
#   lose HOST PERCENT [MATCH]        lose_none HOST
#   sniff HOST IF LABEL [FILTER]     sniff_stop LABEL            sniff_count LABEL FILTER
#   wait_for SECONDS COMMAND...      stream_start/stream_end     pass/fail/skip/expect
#
# Environment: LAB_KEEP=DIR copies logs, captures and configurations there at the end.
#              LAB_VERBOSE=1 prints each step of the lab.
#              LAB_PATIENCE=SECONDS for a host to start, 10 when left out.
#              LAB_POLL=SECONDS between two looks of wait_for, 0.05 when left out.

LAB_LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LAB_TOP=$(cd "$LAB_LIB/../.." && pwd)
PYTHON=/usr/bin/python3 # Debian's own: it has the packages that test/packages installs
LAB_PASSED=0 LAB_FAILED=0 LAB_SKIPPED=0
declare -A HOST_PID=() SPAWN_PID=()

# ---- outside: run the script again inside, wait, remove the directory ----

# A shell that starts a script in the background makes it ignore SIGINT, for good. Undo that, so
# that "kill -INT" works however the script was started.
lab_hear_interrupt()
{
    local ignored
    ignored=$(sed -n 's/^SigIgn:[[:space:]]*//p' "/proc/$$/status")
    if (((0x$ignored & 2) != 0)); then
        exec env --default-signal=INT bash "$0" "$@"
    fi
}

lab_enter()
{
    if [ $$ = 1 ] && [ -n "${LAB_DIR:-}" ]; then
        lab_inside
        return
    fi
    [ "$(id -u)" = 0 ] || { echo "${0##*/}: needs root, for network namespaces" >&2; exit 7; }
    lab_hear_interrupt "$@"
    local child status
    LAB_DIR=$(mktemp -d "${TMPDIR:-/tmp}/shrike-lab.XXXXXX") || exit 1
    export LAB_DIR
    # If this shell is killed outright, unshare gets SIGKILL too, and with it the inner process 1.
    setpriv --pdeathsig KILL unshare --mount --net --uts --ipc --pid --fork --mount-proc \
        --kill-child bash "$0" "$@" <&0 &
    child=$!
    trap 'lab_interrupt "$child" 130' INT
    trap 'lab_interrupt "$child" 143' TERM HUP
    wait "$child"
    status=$?
    rmdir "$LAB_DIR" 2>/dev/null
    exit "$status"
}

# Process 1 of the PID namespace cannot refuse SIGKILL from here, and unshare, its parent, reaps it.
lab_interrupt()
{
    trap '' INT TERM HUP
    local inner
    inner=$(ps -o pid= --ppid "$1" | tr -d ' ')
    [ -z "$inner" ] || kill -KILL "$inner" 2>/dev/null
    wait "$1" 2>/dev/null
    rmdir "$LAB_DIR" 2>/dev/null
    echo "${0##*/}: interrupted, everything it made is gone" >&2
    exit "$2"
}

# ---- inside ----

lab_inside()
{
    hash -r
    mount -t tmpfs -o mode=755 lab "$LAB_DIR" || exit 1
    mount -t sysfs sysfs /sys 2>/dev/null
    mkdir -p "$LAB_DIR/log"
    ip link set lo up
    trap lab_keep EXIT
}

lab_keep()
{
    local status=$?
    if [ -n "${LAB_KEEP:-}" ]; then
        mkdir -p "$LAB_KEEP"
        local name
        for name in "${!HOST_PID[@]}"; do
            on "$name" sh -c 'cat /run/shrike/*.log' >"$(logfile "$name-client")" 2>/dev/null
            on "$name" sh -c 'cat /etc/shrike/*.conf' >"$(logfile "$name-conf")" 2>/dev/null
        done
        (cd "$LAB_DIR" && find . -xdev -type f -size -20M ! -path './host/*' -print0 |
            tar --null -cf - -T - 2>/dev/null) | tar -C "$LAB_KEEP" -xf -
    fi
    exit "$status"
}

lab_say()
{
    [ -z "${LAB_VERBOSE:-}" ] || echo "    $*" >&2
}

# Runs in the new namespaces of a host: prepares its file system, then sleeps until the lab ends.
# $1 name, $2 root directory or empty
lab_holder()
{
    local dir=$LAB_DIR/host/$1 root=$2 name=$1
    hostname "$name" 2>/dev/null || true
    ip link set lo up
    mkdir -p "$dir/upper" "$dir/work"
    if [ -n "$root" ]; then
        lab_holder_root
        echo $$ >"$dir/pid"
        exec chroot "$dir/root" /bin/sleep infinity
    fi
    local at
    for at in etc var/lib; do
        mkdir -p "$dir/upper/$at" "$dir/work/$at"
        mount -t overlay -o "lowerdir=/$at,upperdir=$dir/upper/$at,workdir=$dir/work/$at" \
            lab "/$at" || exit 1
    done
    mount -t tmpfs -o mode=755 lab /run
    mount -t sysfs sysfs /sys 2>/dev/null
    cd /
    echo $$ >"$dir/pid"
    exec sleep infinity
}

lab_holder_root()
{
    local to=$dir/root
    mkdir -p "$to"
    mount -t overlay -o "lowerdir=$root,upperdir=$dir/upper,workdir=$dir/work" lab "$to" || exit 1
    mount -t proc proc "$to/proc"
    mount -t sysfs sysfs "$to/sys"
    mount --rbind /dev "$to/dev"
    mount -t tmpfs -o mode=755 lab "$to/run"
    mount -t tmpfs -o mode=1777 lab "$to/tmp"
    mkdir -p "$to$LAB_DIR"
    mount --rbind "$LAB_DIR" "$to$LAB_DIR"
    echo "$name" >"$to/etc/hostname"
    cd "$to" || exit 1
}

# host NAME [ROOTDIR]: a new machine without cables.
host()
{
    local name=$1 root=${2:-} holder
    mkdir -p "$LAB_DIR/host/$name"
    (
        export -f lab_holder lab_holder_root
        # shellcheck disable=SC2016 # the inner shell expands these
        exec unshare --mount --net --uts bash -c 'lab_holder "$@"' holder "$name" "$root"
    ) >"$LAB_DIR/log/host-$name.log" 2>&1 &
    holder=$!
    wait_for "${LAB_PATIENCE:-10}" test -s "$LAB_DIR/host/$name/pid" ||
        { echo "lab: host $name does not start:" >&2; cat "$LAB_DIR/log/host-$name.log" >&2; exit 1; }
    HOST_PID[$name]=$holder
    # Where a machine has bbr as default every stream is paced by timers, also one that asks for cubic
    # later. What Debian has; or reno, which a namespace may always choose.
    at "$name" sh -c 'cd /proc/sys/net/ipv4 && { echo cubic || echo reno; } >tcp_congestion_control' 2>/dev/null
    on "$name" sh -c 'cd /proc/sys/net/ipv6/conf && echo 0 >all/accept_dad && echo 0 >default/accept_dad
        echo 0 >default/router_solicitations' 2>/dev/null
    lab_say "host $name"
}

# What has to be written before a command so that it runs on a host.
lab_prefix()
{
    LAB_PREFIX=(nsenter -t "${HOST_PID[$1]}" --mount --net --uts --root --wd --)
}

on()
{
    lab_prefix "$1"
    shift
    "${LAB_PREFIX[@]}" "$@"
}

# at HOST COMMAND...: in its network only, with the tools of this machine. A root need not have them.
at()
{
    local name=$1
    shift
    nsenter -t "${HOST_PID[$name]}" --net -- "$@"
}

# spawn HOST LABEL COMMAND...: in the background, output to $LAB_DIR/log/LABEL.log
spawn()
{
    local label=$2
    lab_prefix "$1"
    shift 2
    (exec "${LAB_PREFIX[@]}" "$@") >"$LAB_DIR/log/$label.log" 2>&1 </dev/null &
    SPAWN_PID[$label]=$!
}

# spawn_at: the same in its network only, as "at".
spawn_at()
{
    local host=$1 label=$2
    shift 2
    (exec nsenter -t "${HOST_PID[$host]}" --net -- "$@") >"$LAB_DIR/log/$label.log" 2>&1 </dev/null &
    SPAWN_PID[$label]=$!
}

spawned()
{
    kill -0 "${SPAWN_PID[$1]:-none}" 2>/dev/null
}

# stop LABEL [SIGNAL]: ends it, at the latest after 5 s, and returns its status.
stop()
{
    local pid=${SPAWN_PID[$1]:-} i
    [ -n "$pid" ] || return 0
    unset "SPAWN_PID[$1]"
    kill -"${2:-TERM}" "$pid" 2>/dev/null
    for ((i = 0; i < 100; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    kill -KILL "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
}

# finish LABEL: waits for a command that ends by itself and returns its status.
finish()
{
    local pid=${SPAWN_PID[$1]}
    unset "SPAWN_PID[$1]"
    wait "$pid"
}

logfile()
{
    echo "$LAB_DIR/log/$1.log"
}

wait_for()
{
    local until=$((${EPOCHREALTIME/./} + $1 * 1000000))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "${EPOCHREALTIME/./}" -lt "$until" ] || return 1
        sleep "${LAB_POLL:-0.05}"
    done
}

# ---- network ----

wire()
{
    ip link add "$2" netns "${HOST_PID[$1]}" type veth peer name "$4" netns "${HOST_PID[$3]}" || return
    at "$1" ip link set "$2" up
    at "$3" ip link set "$4" up
    lab_say "wire $1:$2 - $3:$4"
}

addr()
{
    local host=$1 dev=$2 a
    shift 2
    for a; do
        case $a in
        *:*) at "$host" ip -6 addr add "$a" dev "$dev" nodad ;;
        *) at "$host" ip addr add "$a" dev "$dev" ;;
        esac || return
    done
}

# route HOST DEST via GATEWAY [...]
route()
{
    local host=$1 family=-4
    shift
    case "$*" in *:*) family=-6 ;; esac
    at "$host" ip "$family" route add "$@"
}

forward()
{
    on "$1" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward
        echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
}

# road CLIENT ROUTER SERVER: the three hosts, joined; both families everywhere. The server has networks
# behind it, and knows the way back for IPv6.
#
#   CLIENT eth0 192.168.7.2 -- .1 lan ROUTER wan 198.51.100.2 -- .1 eth0 SERVER lo 10.20.0.1
#          2001:db8:7::2 -- ::1       2001:db8:5::2 -- ::1            fd20::1
road()
{
    wire "$1" eth0 "$2" lan
    wire "$2" wan "$3" eth0
    addr "$1" eth0 192.168.7.2/24 2001:db8:7::2/64
    addr "$2" lan 192.168.7.1/24 2001:db8:7::1/64
    addr "$2" wan 198.51.100.2/24 2001:db8:5::2/64
    addr "$3" eth0 198.51.100.1/24 2001:db8:5::1/64
    addr "$3" lo 10.20.0.1/32 fd20::1/128
    route "$1" default via 192.168.7.1
    route "$1" default via 2001:db8:7::1
    route "$3" 2001:db8:7::/64 via 2001:db8:5::2
    forward "$2"
}

# masquerade HOST OUTIF: what leaves by OUTIF takes that interface's address, as a home router does.
masquerade()
{
    at "$1" nft -f - <<END
table inet lab_nat {
    chain out {
        type nat hook postrouting priority srcnat;
        oifname "$2" masquerade
    }
}
END
}

# nat nat|routed: what "router" does with what leaves by "wan"; what it knew of flows goes.
nat()
{
    at router nft delete table inet lab_nat 2>/dev/null
    [ "$1" != nat ] || masquerade router wan
    at router conntrack -F >/dev/null 2>&1 || true
}

# lose HOST PERCENT [MATCH]: the router HOST drops that share of what it forwards and matches.
lose()
{
    lose_none "$1"
    at "$1" nft -f - <<END
table inet lab_loss {
    chain through {
        type filter hook forward priority 0;
        ${3:-} numgen random mod 100 < $2 counter drop
    }
}
END
}

lose_none()
{
    at "$1" nft delete table inet lab_loss 2>/dev/null || true
}

# lose_fragments HOST: it drops IP fragments, before it puts them together for its NAT.
lose_fragments()
{
    at "$1" nft -f - <<END
table inet lab_fragments {
    chain before {
        type filter hook prerouting priority -500;
        ip frag-off & 0x3fff != 0 counter drop
        exthdr frag exists counter drop
    }
}
END
}

lose_fragments_none()
{
    at "$1" nft delete table inet lab_fragments
}

# plain_link HOST IF [gro]: a link that carries no super-packets, as a network card without offload.
plain_link()
{
    at "$1" ethtool -K "$2" tso off gso off tx-udp-segmentation off >/dev/null 2>&1
    [ "${3:-}" = gro ] && at "$1" ethtool -K "$2" gro on >/dev/null 2>&1
    return 0
}

# ---- sniffers ----

# Neighbour discovery, router discovery and multicast listener reports are the link's own talk.
LAB_LINK_TALK='arp or (icmp6 and ip6[40] >= 130 and ip6[40] <= 137)
    or (ip6[6] == 0 and ip6[40] == 58 and ip6[48] == 143)'
# Everything else that is neither IKE nor ESP must not be on an outside link.
LAB_CLEAR="not (udp port 500 or udp port 4500 or ip proto 50 or ip6 proto 50 or $LAB_LINK_TALK)"
# The marker of four zero octets tells IKE on port 4500; a NAT keepalive is one octet 0xff.
LAB_KEEPALIVE='(udp port 4500 and ((ip and udp[4:2] == 9) or (ip6 and ip6[44:2] == 9)))'
LAB_IKE='udp port 500 or (udp port 4500 and
    ((ip and udp[4:2] > 12 and udp[8:4] == 0) or (ip6 and ip6[44:2] > 12 and ip6[48:4] == 0)))'
LAB_ESP='ip proto 50 or ip6 proto 50 or (udp port 4500 and
    ((ip and udp[4:2] > 12 and udp[8:4] != 0) or (ip6 and ip6[44:2] > 12 and ip6[48:4] != 0)))'

# sniff HOST IF LABEL [FILTER] [SNAPLEN]: capture from now on; 128 octets show all headers.
sniff()
{
    spawn_at "$1" "sniff-$3" tcpdump -n -i "$2" -s "${5:-128}" -B 65536 -Z root -w "$LAB_DIR/$3.pcap" ${4:+"$4"}
    wait_for "${LAB_PATIENCE:-5}" grep -q 'listening on' "$(logfile "sniff-$3")"
}

# Ends a capture. Fails when the kernel could not hand on every packet: then counts mean nothing.
sniff_stop()
{
    sleep 1.2 # the kernel hands on its blocks once a second; what is in the last one would be lost
    stop "sniff-$1"
    grep -q '^0 packets dropped by kernel' "$(logfile "sniff-$1")"
}

# Says "error", which is no number, where the capture or the filter cannot be read.
sniff_count()
{
    local count
    if count=$(set -o pipefail; tcpdump -n -r "$LAB_DIR/$1.pcap" "$2" 2>/dev/null | wc -l); then
        echo "$count"
    else
        echo error
        return 1
    fi
}

# sniff_lengths LABEL FILTER: the lengths that those packets have, each once.
sniff_lengths()
{
    tcpdump -n -r "$LAB_DIR/$1.pcap" "$2" 2>/dev/null | sed -n 's/.*, length \([0-9]*\).*/\1/p' | sort -nu | paste -sd' '
}

sniff_show()
{
    tcpdump -n -r "$LAB_DIR/$1.pcap" -c "${3:-10}" "$2" 2>/dev/null
}

# ---- a stream with sequence numbers, for "zero packets lost" ----

lab_blast()
{
    local tool=${SHRIKE_BLAST:-$LAB_DIR/udpblast}
    [ -x "$tool" ] || cc -O2 -o "$tool" "$LAB_TOP/test/bench/udpblast.c" || return
    LAB_BLAST=$tool
}

# stream_start LABEL FROM TO ADDRESS PORT PPS SIZE SECONDS
stream_start()
{
    lab_blast || return
    spawn "$3" "$1-recv" "$LAB_BLAST" recv "$5"
    wait_for "${LAB_PATIENCE:-5}" at "$3" grep -q ":$(printf %04X "$5") " /proc/net/udp /proc/net/udp6
    spawn "$2" "$1-send" "$LAB_BLAST" send "$4" "$5" "$6" "$7" "$8"
}

# stream_end LABEL: waits for the end and leaves the receiver's line in STREAM, see udpblast.c.
# Not for $(...): a subshell cannot wait for its parent's children.
stream_end()
{
    finish "$1-send" || stop "$1-recv"
    [ -z "${SPAWN_PID[$1-recv]:-}" ] || finish "$1-recv"
    STREAM=$(tail -q -n 1 "$(logfile "$1-recv")" "$(logfile "$1-send")" | paste -sd' ')
}

# What the kernels of all hosts dropped for want of buffer space, since they exist.
lab_drops()
{
    local name
    for name in "${!HOST_PID[@]}"; do
        at "$name" awk -v name="$name" '/^Udp: [0-9]/ && $6 {printf " %s dropped %s", name, $6}' /proc/net/snmp
        at "$name" awk -v name="$name" '/^Udp6RcvbufErrors/ && $2 {printf " %s dropped %s (IPv6)", name, $2}' /proc/net/snmp6
    done
}

# stream_intact LABEL NAME: ends the stream; passes when every packet arrived once.
stream_intact()
{
    stream_end "$1"
    case $STREAM in
    '' | *'received 0 '*) fail "$2" "${STREAM:-no stream}" ;;
    *' lost 0 duplicated 0 '*) pass "$2" ;;
    *) fail "$2" "$STREAM$(lab_drops)" ;;
    esac
}

# ---- the score ----

pass()
{
    LAB_PASSED=$((LAB_PASSED + 1))
    echo "ok      $1"
}

# fail NAME [WHY]
fail()
{
    LAB_FAILED=$((LAB_FAILED + 1))
    echo "FAIL    $1${2:+: $2}"
}

skip()
{
    LAB_SKIPPED=$((LAB_SKIPPED + 1))
    echo "skip    $1: $2"
}

# expect NAME COMMAND...: passes when the command does; shows the end of its output when not.
expect()
{
    local name=$1 out=$LAB_DIR/expect.out
    shift
    if "$@" >"$out" 2>&1; then
        pass "$name"
    else
        fail "$name" "status $? from: $*"
        tail -n 5 "$out" | sed 's/^/        /'
        return 1
    fi
}

# is NAME HAVE WANT
is()
{
    if [ "$2" = "$3" ]; then
        pass "$1"
    else
        fail "$1" "have '$2', want '$3'"
    fi
}

lab_summary()
{
    local skipped=
    [ "$LAB_SKIPPED" = 0 ] || skipped=", $LAB_SKIPPED skipped"
    echo "$LAB_PASSED passed, $LAB_FAILED failed$skipped"
    [ "$LAB_FAILED" = 0 ]
}
