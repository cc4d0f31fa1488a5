# Shrike and strongSwan with a NAT between them, one as client and one as server: what the labs that let
# them meet in many configurations have in common. Sourced after lib.sh, sswan.sh and shrike.sh.
# shellcheck shell=bash

lab_number=0
# network ROLE VERSION: hosts $client, $server, $router; $peer is the strongSwan one
network()
{
    lab_number=$((lab_number + 1))
    client=client$lab_number server=server$lab_number router=router$lab_number
    if [ "$1" = initiator ]; then
        host $client
        sswan_host $server "$2"
        peer=$server
    else
        sswan_host $client "$2"
        host $server
        peer=$client
    fi
    host $router
    road $client $router $server
    masquerade $router wan
}

# connect ROLE: starts both sides with what configure wrote
connect()
{
    sswan_start "$peer" || return
    if [ "$1" = initiator ]; then
        shrike_up "$client"
    else
        shrike_start "$server" && sswan_up "$client"
    fi
}

disconnect()
{
    if [ "$1" = initiator ]; then
        shrike_down "$client" >/dev/null 2>&1
    else
        sswan_down "$client"
        shrike_stop "$server"
    fi
    sswan_stop "$peer"
}

pings()
{
    on "$client" ping -c 3 -i 0.05 -W 2 "$1" >"$LAB_DIR/log/ping.log" 2>&1
    grep -q ' 3 received' "$LAB_DIR/log/ping.log"
}

# Which of the three were answered, or what ping said.
answers()
{
    grep -oE 'icmp_seq=[0-9]+|[A-Z].* (unreachable|not permitted|failed).*' "$LAB_DIR/log/ping.log" |
        paste -sd' ' | grep . || echo 'no answer'
}

# carries LABEL: both families answer through the tunnel
carries()
{
    local why=
    pings 10.20.0.1 || why="from 10.20.0.1: $(answers)"
    pings fd20::1 || why="${why:+$why, }from fd20::1: $(answers)"
    if [ -z "$why" ]; then pass "$1"; else fail "$1" "$why"; fi
}
