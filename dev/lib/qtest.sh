# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the checks of qtests share. Needs check.sh.
. "$ROOT/dev/lib/compile.sh"

# run_qtests TREE DIR: what qtests() names, of a build folder
run_qtests() {
    local dir=$2 test
    local -a tests
    mapfile -t tests < <(qtests "$1")
    export QTEST_QEMU_BINARY=$dir/qemu-system-x86_64 QTEST_QEMU_IMG=$dir/qemu-img
    for test in "${tests[@]}"; do
        say "  ${test##*/} in ${dir#"$ROOT"/}"
        "$dir/$test" --tap || echo "not ok ${test##*/} ended with status $?"
    done
}
