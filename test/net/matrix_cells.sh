# The cells of matrix.sh: what is tried with which peer, in which role.
# shellcheck shell=bash disable=SC2154
#
# A peer has what its authors built: strongSwan's user-space data plane takes no ESN; libreswan has
# no X448; OpenIKED on Linux speaks PF_KEY to the kernel, which knows no AEAD there, and Debian's
# build knows HMAC-SHA2-384 and -512 but not -256.

matrix_cells()
{
    IKE=aes256gcm16-prfsha256-x25519
    ESP=aes256gcm16-x25519
    [ "$peer" != iked ] || ESP=aes256-sha512-x25519
    cells_auth
    cells_algorithms
    cells_ah
    cells_paths
    cells_addresses
    cells_rekey
    cells_messages
    cells_selectors
    cells_moves
    cells_end
    cells_refused
}

cells_auth()
{
    local auth
    for auth in psk rsa2048 pss rsaold p256 p384 p521 ed25519; do
        case $peer:$auth in
        # OpenIKED takes no Ed25519 keys ("failed to serialize private key").
        # libreswan's only PKCS#1 v1.5 is method 1; its name for that, rsa-sha1, is both rows'.
        libre:rsa2048 | libre:ed25519 | iked:pss | iked:rsaold | iked:ed25519) continue ;;
        esac
        cell "auth-$auth" auth=$auth
    done
}

# Each place of a proposal has every value that both sides have in one row at least.
cells_algorithms()
{
    local rows row ike esp
    rows='aes128gcm16-prfsha256-x25519:aes128gcm16-x25519 aes256gcm16-prfsha384-ecp384:aes256gcm16-ecp384
        aes256gcm16-prfsha512-ecp521:aes256-sha512-ecp521 aes128gcm16-prfsha256-ecp256:aes256-sha256-ecp256
        aes128-sha256-prfsha256-modp2048:aes128-sha256-modp2048 aes256-sha384-prfsha384-modp3072:aes256-sha384-modp3072
        aes256-sha512-prfsha512-modp4096:aes256-sha512-modp4096'
    case $peer in
    six | five) rows+=' chacha20poly1305-prfsha512-x448:chacha20poly1305-x448 aes256-sha512-prfsha512-modp8192:aes128-sha512-modp6144' ;;
    libre) rows+=' aes256gcm16-prfsha512-modp8192:chacha20poly1305-modp6144' ;;
    iked) rows='aes128gcm16-prfsha256-x25519:aes128-sha512-x25519 aes256gcm16-prfsha384-ecp384:aes256-sha384-ecp384
        aes256gcm16-prfsha512-ecp521:aes128-sha384-ecp521 aes128-sha256-prfsha256-ecp256:aes256-sha512-ecp256
        aes128-sha256-prfsha256-modp2048:aes128-sha512-modp2048 aes256-sha384-prfsha384-modp3072:aes256-sha384-modp3072
        aes256-sha512-prfsha512-modp4096:aes256-sha512-modp4096' ;;
    esac
    [ "$peer" != six ] || rows+=' aes256gcm16-prfsha384-mlkem768:aes256gcm16-mlkem1024 aes128gcm16-prfsha256-mlkem512:aes128gcm16-mlkem768'
    # A rekey by Shrike uses the group that the child has of its own.
    for row in $rows; do
        ike=${row%:*} esp=${row#*:}
        cell "alg-$ike" "ike=$ike" "esp=$esp" act=child_by_shrike
    done
    local loose=
    [ "$peer" != libre ] || loose=pfs=no
    # Shrike then offers ML-KEM first (RFC 9370), of which libreswan and OpenIKED know nothing. OpenIKED's kernel: see above.
    if [ "$peer" = iked ]; then
        cell defaults ike= act=ike_by_shrike what='neither side is told an IKE proposal'
    else
        cell defaults ike= esp= act=ike_by_shrike what='neither side is told a proposal'
    fi
    cell alg-no-pfs esp="${ESP%-*}" shrike=pfs=no peer=$loose act=child_by_shrike
    case $peer:$role in
    six:initiator | five:initiator) cell childless shrike=childless=yes act=child_by_shrike what='IKE_AUTH without a child SA (RFC 6023)' ;;
    six:responder | five:responder) cell childless peer='more=childless = force' act=child_by_shrike what='IKE_AUTH without a child SA (RFC 6023)' ;;
    esac
    case $peer in
    libre) cell alg-esn esp=aes256gcm16-x25519-esn pesp=aes256gcm16-x25519 peer=esn=yes
        cell alg-no-esn esp=aes256gcm16-x25519-noesn pesp=aes256gcm16-x25519 peer=esn=no ;;
    esac
    cells_legacy
}

# What is off unless it is named.
cells_legacy()
{
    case $peer in
    six | five)
        cell legacy-3des ike=3des-sha1-prfsha1-modp1024 esp=3des-sha1 shrike=legacy=3des,sha1,modp1024
        cell legacy-modp1536 ike=aes128-sha1-prfsha1-modp1536 esp=aes128-sha1 shrike=legacy=sha1,modp1536
        ;;
    libre) cell legacy-3des ike=3des-sha1-prfsha1-modp1536 esp=3des-sha1 shrike=legacy=3des,sha1,modp1536 ;;
    iked) cell legacy-3des ike=3des-sha1-prfsha1-modp1024 esp=3des-sha1 shrike=legacy=3des,sha1,modp1024
        cell legacy-sha1 ike=aes128-sha1-prfsha1-modp1536 esp=aes128-sha1 shrike=legacy=sha1,modp1536 ;;
    esac
}

# No NAT can be between. libreswan has no GMAC for AH, but ESP with it. Having rekeyed an AH child it
# deletes the old one by an SPI of zero (5.2, 4.10), and 5.2 ends the IKE SA when the answer does not
# name it: so children are rekeyed by Shrike only.
cells_ah()
{
    [ "$peer" = libre ] || return 0
    cell ah-sha256 esp= ah=sha256-x25519 nat=no act=child_by_shrike
    cell ah-sha512 esp= ah=sha512-ecp256 nat=no in=46 act=ike_by_shrike
    cell ah-over-6 esp= ah=sha256-x25519 nat=no out=6 in=6 act=child_by_shrike
    cell ah-over-6-no-esn esp= ah=sha384-x25519 nat=no out=6 shrike=esn=no act=ike_by_peer
    cell ah-behind-nat esp= ah=sha256-x25519 want='AH cannot pass a NAT' says='AH cannot pass the NAT between the two sides'
    cell alg-null-gmac esp=nullaes128gmac-x25519 act=child_by_shrike
    cell alg-null-gmac-256 esp=nullaes256gmac-x25519-noesn pesp=nullaes256gmac-x25519 out=6 act=child_by_peer
}

cells_paths()
{
    cell path-no-nat nat=no
    [ "$peer" = six ] || [ "$peer" = five ] || cell path-plain-esp nat=no shrike=encap=auto act=child_by_shrike
    cell path-6-in-4 in=6
    cell path-4-in-6 out=6
    cell path-6-in-6 out=6 in=6 act=ike_by_shrike
    # OpenIKED's file takes one pair of networks a flow; libreswan's 5.2 lists of both families.
    [ "$peer" = iked ] || cell path-both-in-4 in=46
    [ "$peer" = iked ] || cell path-both-in-6 in=46 out=6
    cell path-no-nat-6 out=6 nat=no
    cell path-small-link mtu=1300 act=small_link what='link of MTU 1300 on the way'
}

cells_addresses()
{
    # An OpenIKED client needs a device of its own for the address and takes one family.
    if [ "$peer" != iked ] || [ "$role" = initiator ]; then
        cell address-4 cp=ip4
        [ "$peer" != iked ] && cell address-6 cp=ip6 in=6
    fi
    case $peer in six | five) cell address-both cp=ip4,ip6 in=46 act=all_rekeys ;; esac
}

cells_rekey()
{
    cell rekey-child-by-shrike act=child_by_shrike
    cell rekey-ike-by-shrike act=ike_by_shrike
    if [ "$peer" != iked ]; then
        cell rekey-child-by-peer act=child_by_peer
        cell rekey-ike-by-peer act=ike_by_peer
        cell rekey-all act=all_rekeys
        cell rekey-all-over-6 act=all_rekeys out=6 in=6
        cell rekey-all-certificates act=all_rekeys auth=p256
    fi
    cell lifetime-of-shrike act=lifetime shrike='child_life=12 ike_life=20' ike_too=yes what='lifetimes of 12 s (child) and 20 s (IKE) on this side'
}

# Messages that need more than one datagram, certificates that need more than one, and a cookie first.
cells_messages()
{
    cell fragments-4 auth=rsa2048 cert=large ready=fragments what='certificates of 6 kB; a router that drops IP fragments'
    cell fragments-6 auth=rsa2048 cert=large ready=fragments out=6 what='the same over IPv6'
    cell fragments-small auth=rsa2048 cert=large ready=fragments shrike=fragment=576 what='the same with packets of 576 octets by Shrike'
    cell chain auth=p256 cert=chain what='certificates with an authority between that the other side has never seen'
    case $peer:$role in
    six:* | five:*) cell cookie ready=cookies nat=no options='cookie_threshold = 1' what='a cookie is asked for first' ;;
    libre:*) cell cookie ready=cookies nat=no setup=ddos-mode=busy what='a cookie is asked for first' ;;
    iked:responder) cell cookie ready=cookies nat=no what='a cookie is asked for first' ;;
    esac
    case $peer:$role in
    *:initiator) cell reauth-by-shrike act=reauth shrike=reauth=12s what='authenticated anew every 12 s, the new IKE SA before the old one goes' ;;
    six:* | five:*) cell reauth-by-peer act=reauth peer='more=reauth_time = 9s' options='make_before_break = yes' what='authenticated anew every 9 s, the new IKE SA before the old one goes' ;;
    esac
}

cells_selectors()
{
    cell narrowed wide=10.20.0.0/16 what='the initiator asks for 10.20.0.0/16, the responder allows 10.20.0.0/24'
    case $peer in
    six | five) cell selectors-icmp only='[1]' what='selectors for ICMP alone' ;;
    libre) cell selectors-icmp only='[icmp]' peer='leftprotoport=icmp rightprotoport=icmp' what='selectors for ICMP alone' ;;
    esac
    if [ "$peer" != iked ]; then
        local separate=
        [ "$role" = responder ] || separate=children=separate
        cell children children=2 send=,10.21.0.0/24 shrike=$separate act=children what='two child SAs, both rekeyed, then the IKE SA'
    fi
}

# The client's addresses change under a running ping.
cells_moves()
{
    local more=
    [ "$peer" != libre ] || more=mobike=yes
    # OpenIKED does not move by itself.
    [ "$peer:$role" != iked:responder ] || return 0
    cell mobike-address ready=move act=move move=address peer=$more what='another address in the same network'
    cell mobike-address-no-nat ready=move act=move move=address nat=no peer=$more what='the same without NAT'
    cell mobike-address-6 ready=move act=move move=address out=6 nat=no peer=$more what='the same over IPv6'
    cell mobike-link ready=move act=move move=link peer=$more what='another link, the first one goes down'
    cell mobike-link-and-back ready=move act=move move='link back' nat=no peer=$more what='another link and back, without NAT'
    case $peer in six | five) cell mobike-4-to-6 ready=move act=move move=family listen=2001:db8:5::1 what='the IPv4 address goes, IPv6 stays' ;; esac
}

cells_end()
{
    cell delete-by-shrike act=delete_by_shrike
    cell delete-by-peer act=delete_by_peer
    cell liveness-by-shrike act=liveness asks=shrike shrike=dpd=2 what='this side asks for a sign of life'
    case $peer in six | five) cell liveness-by-peer act=liveness asks=peer peer=dpd=2 what='the peer asks for a sign of life' ;; esac
    [ "$peer" != libre ] || cell liveness-by-peer act=liveness asks=peer peer='dpddelay=2s dpdtimeout=10s' what='the peer asks for a sign of life'
}

# says: what Shrike has to say of it, as responder or as initiator, which knows the exchange by the port.
cells_refused()
{
    local none='no common [a-z ]+: peer offered [^;]+'
    cell refused-secret psk=another-vellum-83-falcon-basalt want='the secrets differ' what='another shared secret on each side' \
        says='the pre-shared key of [^ ]+ is not the one we have for it|[^ ]+:4500 answered AUTHENTICATION_FAILED'
    cell refused-ike pike=aes128-sha256-prfsha256-modp2048 want='no IKE proposal in common' what='no IKE proposal in common' \
        says="$none|[^ ]+:500 answered NO_PROPOSAL_CHOSEN"
    cell refused-esp pesp=aes128-sha384-x25519 want='no ESP proposal in common' what='no ESP proposal in common' \
        says="$none|[^ ]+:4500 answered NO_PROPOSAL_CHOSEN"
}
