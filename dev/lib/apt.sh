# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian packages that the machine's own apt sources do not offer.
#
# Each use has an apt state of its own below build/apt/, so that the machine's
# sources, lists and pins stay as they are. The mirror is the machine's own.

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# The mirror that serves Debian's main archive to this machine.
debian_mirror() {
    local targets release
    # shellcheck source=/dev/null
    release=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
    # shellcheck disable=SC2016  # apt-get's own placeholders
    targets=$(apt-get indextargets \
        --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)' |
        awk '$3 == "main" && $2 !~ /-security$|\/updates$/')
    # Other vendors name their suites after Debian's releases too; the origin
    # is known once apt-get update has run.
    awk -v release="$release" '
        $4 == "Debian" { debian = debian ? debian : $1 }
        $2 == release || $2 == "stable" || $2 == "testing" || $2 == "sid" ||
            $2 == "unstable" { named = named ? named : $1 }
        END { print debian ? debian : named }' <<<"$targets" | grep . ||
        die "no Debian mirror among this machine's apt sources"
}

# private_apt STATE COMMAND ARGS...: apt-get or apt-cache on build/apt/STATE. A
# mirror that has fallen behind still has the versions that are wanted.
private_apt() {
    local dir=$BUILD/apt/$1 command=$2
    shift 2
    "$command" -o Dir::Etc::sourcelist="$dir/sources.list" \
        -o Dir::Etc::sourceparts=- -o Dir::Etc::preferences=/dev/null \
        -o Dir::Etc::preferencesparts="$dir/preferences.d" \
        -o Dir::State::lists="$dir/lists" -o Dir::Cache="$dir/cache" \
        -o APT::Sandbox::User="" -o Acquire::Retries=3 \
        -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false "$@"
}

# private_apt_update STATE TYPE SUITE: make build/apt/STATE list TYPE (deb or
# deb-src) of SUITE
private_apt_update() {
    local dir=$BUILD/apt/$1 options='' mirror
    mirror=$(debian_mirror)
    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" \
        "$dir/preferences.d"
    [ -e "$KEYRING" ] && options="[signed-by=$KEYRING] "
    echo "$2 $options$mirror $3 main" >"$dir/sources.list"
    logged "apt-$1" private_apt "$1" apt-get update --error-on=any
}
