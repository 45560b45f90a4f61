# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

# skipped WHERE...: what fio skips there and why, a line each: NUMBER REASON
skipped() {
    for where; do
        case $where in
        anywhere) echo "09 $DISK is not a SCSI device
10 $DISK is not a SCSI device
42 $DISK is not a regular block device
43 $DISK is not a regular block device
49 $DISK is not a regular block device
56 $DISK is not a regular block device
72 $DISK does not support either badblocks or error injection
73 $DISK does not support either badblocks or error injection
74 $DISK is not null_blk
75 $DISK is not null_blk" ;;
        without-conventional) echo "14 $DISK does not have enough conventional zones
50 $DISK does not have 8 conventional zones
51 $DISK does not have 8 conventional zones
52 $DISK does not have 8 conventional zones
53 $DISK does not have 4 conventional zones" ;;
        without-limit) echo "66 $DISK does not have max_active_zones limit
67 $DISK does not have max_active_zones limit" ;;
        with-limit) echo "71 $DISK has max_active_zones limit" ;;
        esac
    done | sort
}

# fio_tests OPTIONS...: what passes and fails; what is skipped goes to the file
# `skipped`
fio_tests() {
    (cd /fio/t/zbd && bash ./test-zbd-support "$@" "$DISK") >tests 2>&1
    cat tests
    grep -lE 'I/O error|Input/output error' /fio/t/zbd/*.log.*
    touch skipped
    sed -nE 's/^Running test ([0-9]+) .*(PASS|FAIL|SKIP) *(.*)$/\1 \2 \3/p' tests |
    while read -r number result reason; do
        case $result in
        PASS) pass "fio t/zbd $number" ;;
        FAIL) tail -n 40 "/fio/t/zbd/test-zbd-support.log.${number#0}" |
            fail "fio t/zbd $number" ;;
        SKIP) echo "$number $reason" >>skipped ;;
        esac
    done
    equal "nothing has failed" "" "$(grep -E 'FAIL|tests failed' tests)"
}

# run_tests SKIPPED OPTIONS...: all of them. How many there are is known, so that
# none gets lost.
run_tests() {
    expected=$1
    shift
    fio_tests "$@"
    equal "skipped, and why" "$expected" "$(cat skipped)"
    equal "number of tests" 75 "$(grep -c '^Running test' tests)"
}
