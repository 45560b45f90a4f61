# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What every check in dev/checks/ starts from. Sourced first, with the check's
# arguments.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
. "$ROOT/dev/lib/apt.sh"
. "$ROOT/dev/lib/packages.sh"

case ${1-} in
-h | --help) usage "$0"; exit ;;
?*) die "unknown argument '$1', see --help" ;;
esac

# expect WHAT COMMAND...: one result, after what the command prints
expect() {
    local what=$1
    shift
    if "$@"; then
        echo "ok $what"
    else
        echo "not ok $what"
    fi
}

# need WHAT COMMAND...: as expect, but without it the check cannot go on
need() {
    local what=$1
    shift
    if ! "$@"; then
        echo "not ok $what"
        exit 1
    fi
    echo "ok $what"
}

# no_reports FILES: no sanitizer has written anything that matters to FILES.*
no_reports() {
    # Files with more in them than what ASan says of any program with
    # coroutines, and of one that exits or throws while it runs in a coroutine
    local about_itself='fully support makecontext' found
    about_itself+='|ignoring requested __asan_handle_no_return'
    about_itself+='|^False positive error reports may follow$'
    about_itself+='|sanitizers/issues/189$'
    mapfile -t found < <(grep -lsvE "$about_itself" "$1".*)
    [ ${#found[@]} = 0 ] || cat "${found[@]}"
    expect "no sanitizer has reported anything" test ${#found[@]} = 0
}

# run_unit DIR [OPTION...]: the project's unit tests of a build folder
run_unit() {
    local dir=$1 source test
    shift
    for source in "$ROOT"/tests/unit/test-{zoned-*,crc32c}.c; do
        test=${source##*/}
        test=${test%.c}
        say "  $test"
        # Results as TAP on standard output; the summary on standard error.
        "$dir/tests/unit/$test" --tap "$@" ||
            echo "not ok $test ended with status $?"
    done
}

project_iotests() {
    local test
    for test in "$ROOT"/tests/qemu-iotests/tests/zoned-*; do
        [[ $test == *.out* ]] || echo "${test##*/}"
    done
}

# iotests_check DIR OPTIONS TEST...: QEMU's runner, one result for each test
iotests_check() {
    local dir=$1 options=$2 log
    shift 2
    log=$TEST_DIR/results
    # The Python that QEMU was configured with, not the first one in PATH; and
    # buffered, so that tests that run at once do not share lines.
    (cd "$dir/tests/qemu-iotests" &&
        PATH=$dir/pyvenv/bin:$PATH PYTHONUNBUFFERED='' \
            "$dir/pyvenv/bin/python3" ./check -tap -zoned \
            ${options:+-o "$options"} -j 2 "$@") </dev/null >"$log" 2>&1 || true
    cat "$log"
    (($(grep -cE '^(not )?ok ' "$log") == $#)) ||
        echo "not ok each of $* has a result"
}

# run_iotests DIR [LEFT-OUT]: the project's iotests, and QEMU's own as far as they
# apply, but for the one left out
run_iotests() {
    local options tests
    need_packages iotests
    # Some tests refuse to work in a folder with a dot in its name.
    TEST_DIR=$(mktemp -d /var/tmp/zoned-iotests-XXXXXX)
    export TEST_DIR
    trap 'rm -rf "$TEST_DIR"' EXIT
    mapfile -t tests < <(project_iotests)
    say "  the project's iotests"
    iotests_check "$1" "" "${tests[@]}"
    say "  generic iotests"
    while IFS=: read -r options tests; do
        read -ra tests <<<"${tests/ ${2-none}/}"
        iotests_check "$1" "$options" "${tests[@]}"
    done < <(grep -v -e '^#' -e '^$' "$ROOT/dev/lib/generic-iotests")
}
