# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# QEMU's source, from Debian's source package. Needs common.sh and apt.sh.

# Stable first: its package is still maintained for the base version.
SOURCE_SUITES="$DEBIAN_STABLE $DEBIAN_NEWEST"

# offered_source STATE SERIES: the versions of a series, newest first
offered_source() {
    private_apt "$1" apt-cache showsrc --only-source qemu |
        sed -n "s/^Version: \(.*:$2\..*\)/\1/p" | sort -urV
}

# fetch_source SERIES DIR: unpack the newest version of the series into DIR
fetch_source() {
    local series=$1 dir=$2 suite state version download
    for suite in $SOURCE_SUITES; do
        say "looking for QEMU $series in Debian $suite"
        state=source-$suite
        private_apt_update "$state" deb-src "$suite"
        # A version may be listed and yet not be served; then take the next.
        for version in $(offered_source "$state" "$series"); do
            say "fetching source package qemu $version"
            download=$BUILD/download/${version#*:}
            mkdir -p "$download"
            if (cd "$download" && private_apt "$state" apt-get source \
                --download-only "qemu=$version") >"$LOG/fetch.log" 2>&1
            then
                unpack_source "$download" "$dir"
                return
            fi
        done
    done
    die "no source package of QEMU $series can be fetched (see $LOG/fetch.log)"
}

# unpack_source DOWNLOAD DIR
unpack_source() {
    local new=$2.new
    say "unpacking"
    rm -rf "$new"
    mkdir -p "${2%/*}"
    # apt has checked the signatures already.
    logged unpack dpkg-source --no-check --no-copy -x "$1"/*.dsc "$new"
    mv "$new" "$2"
}

# version_of SOURCE: its series; between two of them, upstream's master
version_of() {
    local major minor micro
    IFS=. read -r major minor micro <"$1/VERSION"
    if ((micro >= 50)); then
        echo master
    else
        echo "$major.$minor"
    fi
}
