# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# fio's own tests of zoned disks (t/zbd/test-zbd-support).
#
# All of them on four disks, two NVMe namespaces, or three SCSI disks; for dev/check
# some, on one that has a bit of everything.
#
# needs: fio
# run: fio-zbd minutes=30 seconds=1800
# run: nvme-fio-zbd device=nvme minutes=20 seconds=1800
# run: scsi-fio-zbd device=scsi minutes=25 seconds=1800
# run: fio-zbd-short seconds=600

case $DISK in
/dev/sd*) NOT_SCSI= ;;
*) NOT_SCSI=not-scsi ;;
esac

# skipped WHERE...: what fio skips there and why, a line each: NUMBER REASON
skipped() {
    for where; do
        case $where in
        not-scsi) echo "09 $DISK is not a SCSI device
10 $DISK is not a SCSI device" ;;
        anywhere) echo "42 $DISK is not a regular block device
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

# only: fio-zbd-short
host_create_one() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=256M \
        -o zone_size=1M -o zone_capacity=768K -o zone_nr_conv=16 \
        -o max_open_zones=12 -o max_active_zones=12
}

# only: fio-zbd-short
guest_tests() {
    # A sample of those that are quick, with some that need conventional zones (14, 50)
    # or a limit of active zones (66)
    set -- 1 2 4 8 11 12 13 14 16 31 33 46 50 54 58 63 66
    # shellcheck disable=SC2046  # words
    fio_tests -w $(printf -- '-t %s ' "$@")
    equal "skipped" "" "$(cat skipped)"
    equal "number of tests" $# "$(grep -c '^Running test' tests)"
}

# only: fio-zbd scsi-fio-zbd
host_create_unlimited() {
    check "a plain disk" qemu-img create -f zoned plain.zoned -o size=256M \
        -o zone_size=1M
    check "one with conventional zones" qemu-img create -f zoned conv.zoned \
        -o size=256M -o zone_size=1M -o zone_nr_conv=16
}

# only: fio-zbd nvme-fio-zbd
host_create_limited() {
    check "one whose zones do not hold what they measure" qemu-img create -f zoned \
        capacity.zoned -o size=256M -o zone_size=1M -o zone_capacity=768K
    check "one with few open and active zones" qemu-img create -f zoned \
        limits.zoned -o size=256M -o zone_size=1M -o max_open_zones=12 \
        -o max_active_zones=12
}

# only: fio-zbd scsi-fio-zbd
# image: plain.zoned
guest_plain() {
    run_tests "$(skipped $NOT_SCSI anywhere without-conventional without-limit)"
}

# only: fio-zbd scsi-fio-zbd
# image: conv.zoned
guest_conv() {
    run_tests "$(skipped $NOT_SCSI anywhere without-limit)"
}

# only: fio-zbd nvme-fio-zbd
# image: capacity.zoned
guest_capacity() {
    run_tests "$(skipped $NOT_SCSI anywhere without-conventional without-limit)"
}

# only: fio-zbd nvme-fio-zbd
# image: limits.zoned
guest_limits() {
    # -w: zones that other tests have left active do not count.
    run_tests "$(skipped $NOT_SCSI anywhere without-conventional with-limit)" -w
}

# SCSI knows of no active zones.
#
# only: scsi-fio-zbd
host_create_open() {
    check "one with few open zones" qemu-img create -f zoned open.zoned \
        -o size=256M -o zone_size=1M -o max_open_zones=12
}

# only: scsi-fio-zbd
# image: open.zoned
guest_open() {
    run_tests "$(skipped anywhere without-conventional without-limit)"
}
