#!/usr/bin/env bash
# Each process of a running gateway has given up what it does not need; a forbidden system call or
# file kills it or fails; the others survive that, and traffic goes on without the ike process.
#
#   client 192.0.2.2 ------- 192.0.2.1 server    10.20.0.1 on lo
#
# The calls are put into the live processes from outside (inject.py), so what judges them is what
# would judge an attacker inside.

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/shrike.sh"
lab_enter "$@"
shrike_need sandbox || { lab_summary; exit; }

UIDS=70000
host client
host server
wire client eth0 server eth0
addr client eth0 192.0.2.2/24
addr server eth0 192.0.2.1/24
addr server lo 10.20.0.1/32

shrike_conf server gateway id=server.example.org listen=192.0.2.1 pool=10.99.0.0/24 \
    routes=10.20.0.0/24 peer=client@example.org psk="$LAB_PSK"
on server sed -i "/^\[gateway\]/a user-ids = $UIDS" /etc/shrike/shrike.conf
on client sh -c 'echo 192.0.2.1 server.example.org >>/etc/hosts'
shrike_conf client client remote=server.example.org id=client@example.org rid=server.example.org \
    send=10.20.0.0/24 psk="$LAB_PSK"

up()
{
    shrike_start server && shrike_up client
}

# In the order of the user ids: monitor 0, keys 1, ike 2, esp 3. The monitor stays root.
role_pid()
{
    local role=$1 uid pid
    case $role in
    monitor) echo "${SPAWN_PID[server]}"; return ;;
    keys) uid=$((UIDS + 1)) ;;
    ike) uid=$((UIDS + 2)) ;;
    esp) uid=$((UIDS + 3)) ;;
    esac
    for pid in $(pgrep -u $uid); do
        echo "$pid"
        return
    done
}

state()
{
    sed -n "s/^$2:[[:space:]]*//p" "/proc/$(role_pid "$1")/status"
}

expect 'gateway and client start' up || { lab_summary; exit; }

for role in keys ike esp; do
    is "$role: no effective capability" "$(state $role CapEff)" 0000000000000000
    is "$role: none permitted" "$(state $role CapPrm)" 0000000000000000
    is "$role: none in the bounding set" "$(state $role CapBnd)" 0000000000000000
    is "$role: no supplementary group" "$(state $role Groups | tr -d ' ')" ''
    is "$role: seccomp filter" "$(state $role Seccomp)" 2
    is "$role: no_new_privs" "$(state $role NoNewPrivs)" 1
    is "$role: no core" "$(awk '/^Max core file size/ {print $5, $6}' "/proc/$(role_pid $role)/limits")" '0 0'
    # The files of a process that is not dumpable belong to root.
    is "$role: not dumpable" "$(stat -c %U "/proc/$(role_pid $role)/stat")" root
done
# memory PID TEXT: how often it stands in what the process has written or may write
memory()
{
    python3 - "$1" "$2" <<'END'
import re, sys
count = 0
with open(f"/proc/{sys.argv[1]}/maps") as maps, open(f"/proc/{sys.argv[1]}/mem", "rb") as mem:
    for line in maps:
        part = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
        if part:
            start, end = (int(x, 16) for x in part.groups())
            try:
                mem.seek(start)
                count += mem.read(end - start).count(sys.argv[2].encode())
            except OSError:
                pass
print(count)
END
}

expect 'keys: holds the shared secret' test "$(memory "$(role_pid keys)" "$LAB_PSK")" -gt 0
for role in monitor ike esp; do
    is "$role: holds no shared secret" "$(memory "$(role_pid $role)" "$LAB_PSK")" 0
done

is 'monitor: no_new_privs' "$(state monitor NoNewPrivs)" 1
is 'monitor: seccomp filter' "$(state monitor Seccomp)" 2
is 'monitor: may not load modules, read all files or trace' "$((0x$(state monitor CapEff) & (1 << 16 | 1 << 1 | 1 << 2 | 1 << 19 | 1 << 21)))" 0

# A child that dies again and again is replaced later each time, so each call gets a gateway of its own.
injected()
{
    shrike_stop server
    shrike_start server >/dev/null || { OUTCOME='the gateway does not start'; return; }
    OUTCOME=$(timeout 10 python3 "$LAB_LIB/inject.py" "$(role_pid "$1")" "$2" 2>&1 | tail -n 1)
}

shrike_down client >/dev/null 2>&1
if [ "$(uname -m)" = x86_64 ]; then
    for role in keys ike esp; do
        for call in open-read open-write socket execve fork ptrace setuid mount bpf; do
            injected $role $call
            is "$role: $call" "$OUTCOME" 'killed by SIGSYS'
        done
        expect "$role: the gateway lives on" wait_for 10 eval '[ -n "$(role_pid '$role')" ] && on server "$SHRIKE" status'
    done
    injected monitor bpf
    is 'monitor: bpf' "$OUTCOME" 'killed by SIGSYS'
    expect 'without the monitor its children end' wait_for 2 eval \
        '[ -z "$(pgrep -u $((UIDS + 1)),$((UIDS + 2)),$((UIDS + 3)))" ]'
else
    skip 'forbidden system calls' 'inject.py knows x86-64 only'
fi

shrike_stop server 2>/dev/null
expect 'a fresh start again' up
stream_start s client server 10.20.0.1 7000 2000 1000 4
sleep 1
old=$(role_pid ike)
kill -KILL "$old"
expect 'ike was killed and came again' wait_for 10 eval '[ -n "$(role_pid ike)" ] && [ "$(role_pid ike)" != '"$old"' ]'
stream_intact s 'ike killed: no packet lost'
expect 'ike killed: traffic goes on' on client ping -q -c 3 -i 0.1 -W 2 10.20.0.1
shrike_down client >/dev/null 2>&1
expect 'ike killed: the client can connect again' shrike_up client
expect 'and has traffic' on client ping -q -c 3 -i 0.1 -W 2 10.20.0.1
shrike_down client >/dev/null 2>&1
shrike_stop server
lab_summary
