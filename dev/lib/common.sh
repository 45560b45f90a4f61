# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What every dev/ command starts from: where things are, and how to speak.
#
# Sourced, with `set -euo pipefail` already on.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=$ROOT/build
LOG=$BUILD/log

. "$ROOT/dev/lib/versions.sh"

# Output is parsed by scripts and compared by tests: one language, one encoding.
export LC_ALL=C.UTF-8

mkdir -p "$LOG"

say() {
    printf '[%4ds] %s\n' "$SECONDS" "$*"
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# usage FILE: the comment block below the #! line is the help text.
usage() {
    sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$1"
}

# contain ARGUMENT...: the first time, begin this command, whose arguments these
# are, anew below a process that ends what it starts.
contain() {
    [ "${CONTAINED-}" = "$PPID" ] || exec "$ROOT/dev/lib/contained" "$0" "$@"
}

# logged NAME COMMAND...: output goes to build/log/NAME.log; when the command
# fails, the end of it is shown.
logged() {
    local log=$LOG/$1.log
    shift
    "$@" >"$log" 2>&1 </dev/null && return
    tail -n 40 "$log" >&2
    die "failed: $* (whole output: $log)"
}

# Only one command at a time may change build/.
lock_build() {
    exec 9>"$BUILD/.lock"
    flock --nonblock 9 && return
    say "waiting for another dev/build to end"
    flock 9
}
