# What the peers of matrix.sh are told about a cell: k[...] in their own words.
# shellcheck shell=bash disable=SC2154

# Every peer has other words for a way to authenticate.
configure_peer()
{
    local key words other=client
    [ "$them" = client ] && other=server
    key=$(key_of "${k[auth]}")
    words=(id="$(side_id $them)" rid="$(side_id $other)" ike="${k[pike]:-${k[ike]}}" esp="${k[pesp]:-${k[esp]}}" ah="${k[ah]:-}" lts="$(inside $them)" rts="$(inside $other)")
    if [ "$key" = psk ]; then
        words+=(psk="$LAB_PSK")
    else
        local between=
        [ "$key" != chain ] || between=$PKI/between-$them.pem
        ${kind}_cert $them "$PKI/$them-$key.pem" "$PKI/$them-$key.key" "$PKI/ca-$key.pem" $between || return
    fi
    [ $them = server ] || [ -z "${k[wide]:-}" ] || words+=(rts="${k[wide]}")
    if [ "${k[children]:-1}" = 2 ]; then
        if [ $them = client ]; then
            words+=(second=10.30.0.0/24,10.21.0.0/24)
        else
            words+=(second=10.21.0.0/24,10.30.0.0/24)
        fi
    fi
    "configure_$kind" && "${kind}_conf" $them "${words[@]}"
}

configure_sswan()
{
    local extra=()
    SSWAN_OPTIONS="${k[options]:-}"
    case ${k[auth]} in
    psk) words+=(auth=psk) ;;
    pss) words+=(auth=ike:rsa/pss-sha256 cert=cert.pem) ;;
    rsaold) SSWAN_OPTIONS='signature_authentication = no' words+=(auth=pubkey cert=cert.pem) ;;
    *) words+=(auth=pubkey cert=cert.pem) ;;
    esac
    if [ $them = client ]; then
        words+=(remote="$(outside)")
        if [ -n "${k[cp]:-}" ]; then
            words+=(lts= vips="$(sed 's/ip4/0.0.0.0/; s/ip6/::/' <<<"${k[cp]}")")
        fi
    else
        words+=(local="$(outside)${k[listen]:+,${k[listen]}}")
        case ${k[cp]:-} in
        ip4) words+=(rts= pool=10.99.0.0/24) ;;
        ip6) words+=(rts= pool=fd99::/120) ;;
        ?*) words+=(rts= pool=10.99.0.0/24 pool6=fd99::/120) ;;
        esac
    fi
    words+=(${k[peer]:+"${k[peer]}"})
}

configure_libre()
{
    case ${k[auth]} in
    psk) words+=(auth=secret) ;;
    pss) words+=(auth=rsa-sha2 cert=cert) ;;
    rsa2048 | rsaold) words+=(auth=rsa-sha1 cert=cert) ;;
    *) words+=(auth=ecdsa cert=cert) ;;
    esac
    # By itself it shows nothing but its own certificate.
    [ "${k[cert]:-}" != chain ] || { words+=(rightca=); k[peer]+=' sendca=all'; }
    if [ $them = client ]; then
        # It moves only from where the default route takes it.
        if [ "${k[act]}" = move ]; then
            [ "${k[out]}" = 4 ] || k[peer]+=' hostaddrfamily=ipv6'
        elif [ "${k[out]}" = 4 ]; then
            words+=(local=192.168.7.2)
        else
            words+=(local=2001:db8:7::2)
        fi
        words+=(remote="$(outside)")
        # It asks for what it has itself, not for "what I shall get", unless it is told to ask for all.
        case ${k[cp]:-} in
        ip4) words+=(lts=0.0.0.0/0 vips=yes) ;;
        ip6) words+=(lts=::/0 vips=yes) ;;
        esac
    else
        words+=(local="$(outside)")
        case ${k[cp]:-} in
        ip4) words+=(rts= pool=10.99.0.10-10.99.0.100) ;;
        ip6) words+=(rts= pool=fd99::/112) ;;
        ?*) words+=(rts= pool=10.99.0.10-10.99.0.100,fd99::/112) ;;
        esac
    fi
    [ -n "${k[cp]:-}" ] || k[peer]+=' leftupdown=%disabled'
    # libreswan names ports of one protocol beside the networks.
    [ -z "${k[only]:-}" ] ||
        words+=(lts="$(inside $them | sed 's/\[.*//')" rts="$(inside $other | sed 's/\[.*//')")
    words+=(more="${k[peer]:-}" ${k[setup]:+setup="${k[setup]}"})
}

configure_iked()
{
    local word
    case ${k[auth]} in
    psk) words+=(auth=psk) ;;
    *) words+=(auth=rfc7427) ;;
    esac
    if [ $them = client ]; then
        words+=(active=active remote="$(outside)")
        [ -z "${k[cp]:-}" ] || words+=(vips=any)
    else
        words+=(local="$(outside)")
        case ${k[cp]:-} in
        ip4) words+=(pool=10.99.0.0/24 rts=0.0.0.0/0) ;;
        ip6) words+=(pool=fd99::/120 rts=::/0) ;;
        esac
    fi
    words+=(${k[peer]:-})
}
