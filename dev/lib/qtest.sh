# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the checks of qtests share. Needs check.sh.
. "$ROOT/dev/lib/compile.sh"

# asan_options PROGRAM: whole stacks where QEMU's own leaks (leaks.supp) are to be
# known by them. That is slow.
asan_options() {
    case $1 in
    nvme-plain-test | nvme-zoned-drive-test | nvme-zoned-restart-test)
        echo "${ASAN_OPTIONS-}:fast_unwind_on_malloc=0" ;;
    *) echo "${ASAN_OPTIONS-}" ;;
    esac
}

# named [NAME...]: of the programs in stdin, those that are named; or all
named() {
    local program
    while IFS= read -r program; do
        [[ $# != 0 && " $* " != *" ${program##*/} "* ]] || echo "$program"
    done
}

# run_qtests TREE DIR [NAME...]: those that are named, or what qtests() names, of a
# build folder. The longest takes two minutes, with sanitizers; what hangs is ended.
run_qtests() {
    local dir=$2 test
    local -a tests
    mapfile -t tests < <(qtests "$1" | named "${@:3}")
    (($# == 2 || ${#tests[@]} == $# - 2)) ||
        echo "not ok there are qtests ${*:3}: ${tests[*]}"
    export QTEST_QEMU_BINARY=$dir/qemu-system-x86_64 QTEST_QEMU_IMG=$dir/qemu-img
    for test in "${tests[@]}"; do
        say "  ${test##*/} in ${dir#"$ROOT"/}"
        # What a sanitizer is to know of programs one by one
        ASAN_OPTIONS=$(asan_options "${test##*/}") \
            timeout --foreground 900 "$dir/$test" --tap ||
            echo "not ok ${test##*/} ended with status $?"
    done
}
