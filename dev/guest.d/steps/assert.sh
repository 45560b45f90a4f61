# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Assertions for scenario steps, in the guest (busybox) and on the host alike.
# Results go to file descriptor 3, one line each: `ok WHAT` or `not ok WHAT`,
# then, after '# ', what was seen instead.

failures=0

pass() {
    echo "ok $1" >&3
}

# fail WHAT <details
fail() {
    echo "not ok $1" >&3
    sed 's/^/# /' >&3
    failures=$((failures + 1))
}

# check WHAT COMMAND...: the command succeeds
check() {
    what=$1
    shift
    if output=$("$@" 2>&1); then
        pass "$what"
    else
        printf '%s\n' "$* failed ($?):" "$output" | fail "$what"
    fi
}

# check_fails WHAT COMMAND...: the command fails
check_fails() {
    what=$1
    shift
    if output=$("$@" 2>&1); then
        printf '%s\n' "$* succeeded:" "$output" | fail "$what"
    else
        pass "$what"
    fi
}

# equal WHAT EXPECTED SEEN
equal() {
    if [ "$2" = "$3" ]; then
        pass "$1"
    else
        printf 'expected: %s\nseen:     %s\n' "$2" "$3" | fail "$1"
    fi
}

# save NAME <data: keep it, for the host and for the guest's later boots
save() {
    echo "save $1 $(base64 | tr -d '\n')" >&3
}

# finish: what the harness puts at the end of each step
finish() {
    exit $((failures > 0))
}
