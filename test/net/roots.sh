#!/usr/bin/env bash
# Debian root directories that hold the peers the tests talk to.
#
#   test/net/roots.sh [NAME...]      make what is missing (six and five), say how long it took
#
#   six    Debian testing:  strongSwan 6.1, wireguard-go, OpenSSL 3.6
#   five   Debian 12:       strongSwan 5.9.8
#   libre  Debian testing:  libreswan 5.2
#   iked   Debian testing:  OpenIKED 7.4
#   impair Debian 12:       libreswan 4.10, for its impair switches
#
# They are kept in $SHRIKE_ROOTS (default /var/cache/shrike-test) and never written to afterwards:
# every host of a lab is an overlay with its own upper layer. Remove the directory to start anew.
# A root appears under its name only when it is complete, so an interrupted run leaves no half root.
# libreswan has roots of its own: as a Debian package it conflicts with strongSwan.

SHRIKE_ROOTS=${SHRIKE_ROOTS:-/var/cache/shrike-test}
ROOTS_MIRROR=${ROOTS_MIRROR:-http://deb.debian.org/debian}

roots_strongswan=strongswan-swanctl,charon-systemd,libcharon-extra-plugins
roots_strongswan+=,libstrongswan-extra-plugins,libstrongswan-standard-plugins
roots_tools=openssl,iproute2,iputils-ping,iperf3,procps

# name -> "suite script packages [later]"; debootstrap of Debian 12 has no script for later suites,
# sid's fits. "later" is a package that debootstrap cannot configure in one go; apt can, afterwards.
root_recipe()
{
    case $1 in
    six) echo "forky sid $roots_strongswan,$roots_tools,wireguard-go,wireguard-tools" ;;
    five) echo "bookworm sid $roots_strongswan,$roots_tools" ;;
    libre) echo "forky sid $roots_tools,libnss3-tools libreswan" ;;
    iked) echo "forky sid openiked,$roots_tools" ;;
    impair) echo "bookworm sid $roots_tools,libnss3-tools libreswan" ;;
    *) echo "roots: no recipe called '$1' (there are: six five libre iked impair)" >&2; return 2 ;;
    esac
}

# The finished directory of a root, whether or not it exists yet.
root_dir()
{
    echo "$SHRIKE_ROOTS/$1"
}

root_ready()
{
    [ -e "$SHRIKE_ROOTS/$1/.complete" ]
}

# A mirror may stand still for longer than its list is said to be valid. systemd-tmpfiles wants /proc.
root_later()
{
    # shellcheck disable=SC2016 # the inner shell expands these
    [ -z "$2" ] || DEBIAN_FRONTEND=noninteractive unshare --mount sh -c 'mount -t proc proc "$1/proc" &&
        chroot "$1" apt-get -o Acquire::Check-Valid-Until=false update -q &&
        chroot "$1" apt-get install -y -q --no-install-recommends "$2"' later "$1" "$2"
}

root_build()
{
    local name=$1 suite script packages later dir begun log
    read -r suite script packages later < <(root_recipe "$name") || return 2
    command -v debootstrap >/dev/null || { echo "roots: debootstrap is not installed" >&2; return 1; }
    script=/usr/share/debootstrap/scripts/$script
    dir=$SHRIKE_ROOTS/.$name.$$
    log=$SHRIKE_ROOTS/$name.log
    begun=$SECONDS
    if ! { debootstrap --variant=minbase --include="$packages" "$suite" "$dir" "$ROOTS_MIRROR" \
        "$script" && root_later "$dir" "$later"; } >"$log" 2>&1; then
        rm -rf --one-file-system "$dir"
        echo "roots: debootstrap of $suite failed after $((SECONDS - begun)) s, see $log" >&2
        return 1
    fi
    rm -rf "$dir"/var/cache/apt/archives/*.deb "$dir"/var/lib/apt/lists/*
    date -u +%FT%TZ >"$dir/.complete"
    mv -T "$dir" "$SHRIKE_ROOTS/$name"
    echo "roots: $name ($suite) made in $((SECONDS - begun)) s," \
        "$(du -sm "$SHRIKE_ROOTS/$name" | cut -f1) MB" >&2
}

# root_need NAME: there is such a root afterwards, or status 1 and a sentence on stderr.
# Several labs may ask at once; one builds, the others wait for it.
root_need()
{
    root_ready "$1" && return 0
    mkdir -p "$SHRIKE_ROOTS" || return 1
    (
        flock -w 600 9 || { echo "roots: another run holds the lock of $1" >&2; exit 1; }
        root_ready "$1" || root_build "$1"
    ) 9>"$SHRIKE_ROOTS/.$1.lock"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -u
    status=0
    for name in "${@:-six}"; do
        root_need "$name" || status=1
    done
    [ $# -gt 0 ] || root_need five || status=1
    exit $status
fi
