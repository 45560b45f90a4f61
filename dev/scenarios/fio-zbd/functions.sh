# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

# run_tests EXPECTED OPTIONS...: all of them. What is skipped is EXPECTED, a line
# each: NUMBER REASON. How many there are is known, so that none gets lost.
run_tests() {
    expected=$1
    shift
    (cd /fio/t/zbd && bash ./test-zbd-support "$@" "$DISK") >tests 2>&1
    cat tests
    grep -lE 'I/O error|Input/output error' /fio/t/zbd/*.log.*
    sed -nE 's/^Running test ([0-9]+) .*(PASS|FAIL|SKIP) *(.*)$/\1 \2 \3/p' tests |
    while read -r number result reason; do
        case $result in
        PASS) pass "fio t/zbd $number" ;;
        FAIL) tail -n 40 "/fio/t/zbd/test-zbd-support.log.${number#0}" |
            fail "fio t/zbd $number" ;;
        SKIP) echo "$number $reason" >>skipped ;;
        esac
    done
    equal "skipped, and why" "$expected" "$(cat skipped)"
    equal "nothing has failed" "" "$(grep -E 'FAIL|tests failed' tests)"
    equal "number of tests" 75 "$(grep -c '^Running test' tests)"
}
