# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

# resets NAME: how many zones the job has reset
resets() {
    sed -nE 's/^ *write:.*; ([0-9]+) zone resets$/\1/p' "$1"
}

for engine in io_uring libaio; do
    check "$engine: write 16 zones and verify them" run_fio "$engine-seq" \
        --ioengine=$engine --iodepth=16 --rw=write --bs=64k --size=64M \
        --verify=crc32c
    equal "$engine: they are full" 16 "$(nr_zones 14)"
    check "$engine: four processes write zones and verify them" \
        run_fio "$engine-jobs" --ioengine=$engine --iodepth=8 --rw=write \
        --bs=32k --numjobs=4 --offset_increment=32M --size=32M --verify=crc32c
    check "$engine: random writes go to 6 zones at a time" \
        run_fio "$engine-random" --ioengine=$engine --iodepth=8 --rw=randwrite \
        --bs=16k --size=64M --io_size=24M --max_open_zones=6 --verify=crc32c \
        --verify_backlog=64
    check "all zones are reset" blkzone reset "$DISK"
    check "$engine: write more than there is, so that zones are reset" \
        run_fio "$engine-again" --ioengine=$engine --iodepth=8 --rw=randwrite \
        --bs=64k --size=32M --io_size=72M --max_open_zones=8
    check "zones were reset" test "$(resets "$engine-again")" -gt 8
    check "$engine: read and write, resetting zones that are half full" \
        run_fio "$engine-mixed" --ioengine=$engine --iodepth=8 --rw=randrw \
        --bs=16k --size=64M --io_size=32M --max_open_zones=8 \
        --zone_reset_threshold=0.5 --zone_reset_frequency=0.5
done
check "fill some zones" run_fio fill --ioengine=libaio --rw=write --bs=1M \
    --size=64M
# Not with io_uring: fio sends the first trim as a discard, which does nothing.
check "trim is reset" run_fio trim --ioengine=libaio --rw=trim --bs=4M --size=64M
equal "the trimmed zones are empty" "" \
    "$(blkzone report -c 16 "$DISK" | zone_table | grep -v ' 0 1 2$')"
check_fails "not more open zones than the disk has" run_fio too-many \
    --rw=randwrite --bs=4k --size=64M --io_size=1M --max_open_zones=9
check "all zones are reset at the end" blkzone reset "$DISK"
equal_kernel_log
