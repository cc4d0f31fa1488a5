#!/usr/bin/env bash
# The lab itself, without Shrike: strongSwan 6 behind a NAT router to strongSwan 5, both ways to
# authenticate, traffic, both rekeys. When this fails, look here before looking at Shrike.
#
#   left (six) 10.1.0.2 --- router 10.1.0.1 | 198.51.100.2 --- right (five) 198.51.100.1
#   virtual address 10.9.0.x <===================================> 10.2.0.1 on lo of right

. "$(dirname "$0")/lib.sh"
. "$LAB_LIB/sswan.sh"
lab_enter "$@"
. "$LAB_LIB/pki.sh"

for version in six five; do
    root_ready $version || { skip "peers" "no root '$version': run test/net/roots.sh"; lab_summary; exit; }
done

sswan_host left six
sswan_host right five
host router
wire left eth0 router in
wire router out right eth0
addr left eth0 10.1.0.2/24
addr router in 10.1.0.1/24
addr router out 198.51.100.2/24
addr right eth0 198.51.100.1/24
addr right lo 10.2.0.1/32
route left default via 10.1.0.1
forward router
masquerade router out

pair()
{
    local label=$1
    shift
    sswan_conf left remote=198.51.100.1 id=left@example.org rid=right.example.org vips=0.0.0.0 \
        rts=10.2.0.0/24 "$@"
    sswan_conf right local=198.51.100.1 id=right.example.org rid=left@example.org pool=10.9.0.0/24 \
        lts=10.2.0.0/24 "$@"
    sniff router out "$label"
    expect "$label: left starts" sswan_start left
    expect "$label: right starts" sswan_start right
    expect "$label: connects" sswan_up left
    expect "$label: ping" on left ping -q -c 20 -i 0.02 -W 2 10.2.0.1
    stream_start "$label" left right 10.2.0.1 7000 500 1000 6
    sleep 1
    expect "$label: child rekey" sswan_rekey left child
    sleep 1.5
    expect "$label: ike rekey" sswan_rekey left ike
    stream_intact "$label" "$label: no packet lost at rekey"
    sleep 1
    is "$label: one SA of each kind" "$(sswan_count left)" "1 1"
    expect "$label: capture is complete" sniff_stop "$label"
    is "$label: nothing clear outside" "$(sniff_count "$label" "$LAB_CLEAR")" 0
    sswan_down left
    sswan_stop left
    sswan_stop right
}

pair psk auth=psk psk='correct horse battery staple 42'
pki_ca ca p256
pki_cert ca left p256 email:left@example.org
pki_cert ca right p256 DNS:right.example.org
sswan_cert left "$PKI/left.pem" "$PKI/left.key" "$PKI/ca.pem"
sswan_cert right "$PKI/right.pem" "$PKI/right.key" "$PKI/ca.pem"
pair ecdsa auth=pubkey cert=cert.pem
lab_summary
