# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# fio on the disk: queues, verification, resets, open zones; power cuts.
#
# needs: fio
# run: fio
# run: nvme-fio device=nvme minutes=1

# run_fio NAME OPTIONS...: one job on the disk
run_fio() {
    name=$1
    shift
    fio --name="$name" --filename="$DISK" --direct=1 --zonemode=zbd \
        --group_reporting --verify_fatal=1 "$@" >"$name" 2>&1 || {
        cat "$name"
        return 1
    }
}

# nr_zones CONDITION: how many zones there are that are in it
nr_zones() {
    blkzone report "$DISK" | zone_table | grep -c " $1 2\$"
}

# at N: where the N-th piece of 2 zones is
at() {
    echo --offset=$(($1 * 8))M --size=8M
}

# write_zones: piece after piece, one of them with a flush at its end
write_zones() {
    for turn in 1 2 3 4 5 6 7 8 9; do
        for piece in $(seq 0 31); do
            echo "add synced R $piece"
            # shellcheck disable=SC2046  # words
            run_fio piece $(at "$piece") --rw=write --ioengine=io_uring \
                --iodepth=8 --bs=32k --end_fsync=1 --verify=crc32c \
                --do_verify=0 --randseed="$SEED$turn" || exit 1
            echo "add synced S $piece"
        done
    done
}

# verify_zones verify <NOTES: pieces that were not written again are there
verify_zones() {
    awk '{ last[$2] = $1 } END { for (p in last) if (last[p] == "S") print p }' |
    while read -r piece; do
        # shellcheck disable=SC2046  # words
        run_fio verify $(at "$piece") --rw=read --ioengine=io_uring \
            --iodepth=8 --bs=32k --verify=crc32c --verify_header_seed=0 ||
            exit 1
        echo "count verified 6291456"
    done
}

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=256M \
        -o zone_size=4M -o zone_capacity=3M -o max_open_zones=8 \
        -o max_active_zones=12
}

# resets NAME: how many zones the job has reset
resets() {
    sed -nE 's/^ *write:.*; ([0-9]+) zone resets$/\1/p' "$1"
}

guest_jobs() {
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
}

cut_load() {
    check_synced verify_zones
    load write_zones
    wait
}

guest_again() {
    loaded
    check_synced verify_zones
    check "fio writes and verifies all zones" run_fio again --ioengine=io_uring \
        --iodepth=16 --rw=write --bs=64k --size=256M --verify=crc32c
    equal_kernel_log
}
