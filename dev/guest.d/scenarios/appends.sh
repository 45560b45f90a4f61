# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Many appends in flight, by io_uring; power cuts.
#
# They go to an NVMe namespace, or, through Linux's NVMe target, to a virtio-blk
# disk.
#
# run: appends
# run: nvme-appends device=nvme

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=64M \
        -o zone_size=4M -o zone_capacity=3M -o max_open_zones=6 \
        -o max_active_zones=8
}

# too_many ARGUMENTS...: appends of which some must be refused
too_many() {
    nvme-appends write "$@" >appended || {
        cat appended
        return 1
    }
    cat appended
    ! grep -q ', 0 beyond a zone,' appended &&
        ! grep -q ', 0 to a full one$' appended
}

# nr_full: how many zones are full
nr_full() {
    blkzone report "$DISK" | zone_table | grep -c ' 14 2$'
}

# refused_appends: those for which a zone has no room
refused_appends() {
    check "more than three of them have room for" too_many "$namespace" 4 1 3 32 700
    equal "they are full" 3 "$(nr_full)"
    equal "no full zone is appended to" \
        "0 appended, 0 beyond a zone, 60 to a full one" \
        "$(nvme-appends write "$namespace" 5 1 3 32 60)"
    check "finish a zone that has room" blkzone finish -o $((4 * 8192)) -c 1 "$DISK"
    equal "nor is one that was finished" \
        "0 appended, 0 beyond a zone, 40 to a full one" \
        "$(nvme-appends write "$namespace" 6 4 1 32 40)"
}

# A zone has room for 768 blocks; an append has 1 to 16 of them.
guest_append() {
    namespace=$(namespace_of "$DISK")
    equal "one append after the other" \
        "40 appended, 0 beyond a zone, 0 to a full one" \
        "$(nvme-appends write "$namespace" 1 0 1 1 40)"
    equal "32 in flight, to the same zone" \
        "40 appended, 0 beyond a zone, 0 to a full one" \
        "$(nvme-appends write "$namespace" 2 0 1 32 40)"
    equal "32 in flight, to six others" \
        "300 appended, 0 beyond a zone, 0 to a full one" \
        "$(nvme-appends write "$namespace" 3 1 6 32 300)"
    # Linux's target does not pass on why a disk refuses an append.
    [ "$namespace" != "$DISK" ] || refused_appends
    check "all zones are reset" blkzone reset "$namespace"
    equal_kernel_log
}

cut_load() {
    namespace=$(namespace_of "$DISK")
    check_synced nvme-appends
    load nvme-appends load "$namespace" "$SEED" 2 6 32
    wait
}

guest_again() {
    namespace=$(namespace_of "$DISK")
    loaded
    check_synced nvme-appends
    equal "a closed zone is appended to" \
        "20 appended, 0 beyond a zone, 0 to a full one" \
        "$(nvme-appends write "$namespace" 7 8 1 32 20)"
    equal_kernel_log
}
