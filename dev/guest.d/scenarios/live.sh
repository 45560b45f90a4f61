# shellcheck shell=sh disable=SC2154  # answer, of steps/beside.sh
# SPDX-License-Identifier: GPL-2.0-or-later
# While a guest runs: hot-plug, reset, throttling, figures, what is refused.

# wait_disk NAME YES-OR-NO: until the disk is there, or is not
wait_disk() {
    for _ in $(seq 1 150); do
        if [ -b "/dev/$1" ]; then there=yes; else there=no; fi
        [ $there = "$2" ] && return
        sleep 0.2
    done
    return 1
}

# pattern NUMBER MEBIBYTES
pattern() {
    yes "$(printf %015d "$1")" | head -c $(($2 * 1048576))
}

# write_zone DISK ZONE MEBIBYTES: its pattern, from the start of the zone
write_zone() {
    zone_mib=$(($(cat "/sys/block/${1#/dev/}/queue/chunk_sectors") / 2048))
    pattern "$2" "$3" | dd of="$1" bs=128k iflag=fullblock \
        seek=$(($2 * zone_mib * 8)) oflag=direct conv=notrunc
}

# has_pattern DISK ZONE MEBIBYTES
has_pattern() {
    zone_mib=$(($(cat "/sys/block/${1#/dev/}/queue/chunk_sectors") / 2048))
    equal "zone $2 of $1 is what was written" \
        "$(pattern "$2" "$3" | sha256sum)" \
        "$(dd if="$1" bs=1M skip=$(($2 * zone_mib)) count="$3" iflag=direct \
            2>/dev/null | sha256sum)"
}

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=512M \
        -o zone_size=8M
    check "a second disk" qemu-img create -f zoned second.zoned -o size=160M \
        -o zone_size=4M -o zone_capacity=3M -o zone_nr_conv=4 -o max_open_zones=8
}

# qemu: -blockdev driver=zoned,node-name=second,file.driver=file,file.filename=second.zoned -device virtio-blk-pci,drive=second
guest_two() {
    equal "the second disk has its own geometry" "40 8192 8" "$(cd \
        /sys/block/vdb/queue && cat nr_zones chunk_sectors max_open_zones |
        tr '\n' ' ' | sed 's/ $//')"
    for zone in 10 11 12; do
        write_zone /dev/vda $zone 8 &
        write_zone /dev/vdb $zone 3 &
    done
    wait
    for zone in 10 11 12; do
        has_pattern /dev/vda $zone 8
        has_pattern /dev/vdb $zone 3
    done
    check "reset a zone of one" blkzone reset -o $((11 * 8192)) -c 1 /dev/vdb
    equal "it is empty" "$((11 * 8192)) 8192 6144 0 1 2" \
        "$(blkzone report -o $((11 * 8192)) -c 1 /dev/vdb | zone_table)"
    has_pattern /dev/vda 11 8
}

# qemu: -device pcie-root-port,id=slot1,chassis=1,slot=1
guest_hotplug() {
    equal "the second disk is not there" no "$(wait_disk vdb no && echo no)"
    tell_host "plug the disk"
    check "it is plugged" wait_disk vdb yes
    equal "it is zoned" host-managed "$(cat /sys/block/vdb/queue/zoned)"
    has_pattern /dev/vdb 10 3
    check "write a zone" write_zone /dev/vdb 20 2
    sync /dev/vdb
    tell_host "unplug the disk"
    check "it is unplugged" wait_disk vdb no
    tell_host "plug it again"
    check "it is plugged again" wait_disk vdb yes
    has_pattern /dev/vdb 20 2
    equal "the zone is closed now" "$((20 * 8192)) 8192 6144 4096 4 2" \
        "$(blkzone report -o $((20 * 8192)) -c 1 /dev/vdb | zone_table)"
    check "write another zone" write_zone /dev/vdb 21 3
    (
        while [ -b /dev/vdb ]; do
            write_zone /dev/vdb 22 3
            blkzone reset -o $((22 * 8192)) -c 1 /dev/vdb
        done
    ) &
    tell_host "unplug it while it is written"
    check "it is unplugged again" wait_disk vdb no
    wait
    check "the other disk goes on" write_zone /dev/vda 20 1
}

# plug: as a user would
plug() {
    qmp blockdev-add driver=zoned node-name=second file.driver=file \
        file.filename=second.zoned
    qmp device_add driver=virtio-blk-pci id=plugged bus=slot1 drive=second
}

# unplug: the disk goes when the guest has let go of it
unplug() {
    qmp device_del id=plugged
    wait_event DEVICE_DELETED device=plugged
    qmp blockdev-del node-name=second
}

meanwhile_hotplug() {
    hear "plug the disk"
    go_on
    plug
    hear "unplug the disk"
    go_on
    unplug
    hear "plug it again"
    go_on
    plug
    hear "unplug it while it is written"
    go_on
    unplug
    pass "the disk was plugged and unplugged twice"
    wait_end
}

# sectors: how many of the disk were written so far
sectors() {
    awk '{ print $7 }' "$BLOCK/stat"
}

guest_figures() {
    modprobe btrfs

    tell_host "what is refused"
    check "the disk is as large as before" test "$(cat "$BLOCK/size")" = 1048576
    check "mkfs.btrfs" mkfs.btrfs -q -f -O zoned -m single -d single "$DISK"
    check "mount" mount -t btrfs "$DISK" /mnt
    check "a file" dd if=/dev/urandom of=/mnt/file bs=1M count=24 conv=fsync
    check "unmount" umount /mnt
    tell_host "sectors $(sectors)"

    check "all zones are reset" blkzone reset "$DISK"
    tell_host "throttle writes"
    started=$(date +%s)
    check "write a throttled zone" write_zone "$DISK" 30 8
    check "it takes its time" test $(($(date +%s) - started)) -ge 3
    has_pattern "$DISK" 30 8
    tell_host "throttle no more"
    check "write another zone" write_zone "$DISK" 31 8
    has_pattern "$DISK" 31 8
}

# throttle BYTES: of writes in a second, by a group of the device
throttle() {
    qmp block_set_io_throttle id=/machine/peripheral/virtio/virtio-backend \
        group=slow bps=0 bps_rd=0 "bps_wr=$1" iops=0 iops_rd=0 iops_wr=0
}

# What QEMU counts, throttles and refuses while the guest uses the disk.
meanwhile_figures() {
    hear "what is refused"
    refused block_resize node-name=disk size=1073741824
    check "block_resize is refused: $answer" says "permissions 'resize'"
    qmp human-monitor-command command-line="savevm snapshot"
    check "savevm is refused: $answer" says "does not support snapshots"
    refused blockdev-snapshot-internal-sync device=disk name=snapshot
    check "an internal snapshot is refused: $answer" says "not support"
    go_on

    hear sectors
    sectors=$answer
    figure disk wr_bytes zone_append_bytes
    equal "QEMU has counted the $sectors sectors that the guest has written" \
        $((sectors * 512)) "$answer"
    figure disk zone_append_operations
    check "$answer of them were appends" test "$answer" -gt 0
    figure disk failed_zone_append_operations failed_wr_operations \
        failed_flush_operations
    check "$answer have failed" test "$answer" = 0
    go_on

    hear "throttle writes"
    throttle 2097152
    go_on
    hear "throttle no more"
    throttle 0
    go_on
    wait_end
}

# used ZONE: something is in it
used() {
    ! blkzone report -o $(($1 * 16384)) -c 1 "$DISK" | zone_table | grep -q ' 1 2$'
}

# The VM is reset while the guest writes, and the guest boots another time by
# itself. This runs once in each of the three boots.
#
# seconds: 400
guest_reset() {
    if ! used 40; then
        check "reset all zones" blkzone reset "$DISK"
        for zone in 1 2 40; do
            check "write zone $zone" write_zone "$DISK" $zone 8
        done
        check "flush" sync "$DISK"
        for zone in 50 51 52 53; do
            while :; do
                write_zone "$DISK" $zone 8
                blkzone reset -o $((zone * 16384)) -c 1 "$DISK"
            done &
        done
        sleep 1
        tell_host "reset the machine"
        sleep 1000
    elif ! used 41; then
        for zone in 1 2 40; do
            has_pattern "$DISK" $zone 8
        done
        for zone in 50 51 52 53; do
            blkzone report -o $((zone * 16384)) -c 1 "$DISK" | zone_table |
            while read -r _ _ _ pointer _; do
                [ "$pointer" -le 16384 ] || pointer=16384
                pattern $zone 8 | head -c $((pointer * 512)) >expected
                dd if="$DISK" bs=512 skip=$((zone * 16384)) count="$pointer" \
                    2>/dev/null >seen
                check "zone $zone, its $pointer sectors, after the reset" cmp \
                    expected seen
            done
        done
        check "reset those zones" blkzone reset -o $((50 * 16384)) -c 4 "$DISK"
        check "write them again" write_zone "$DISK" 50 8
        check "write zone 41" write_zone "$DISK" 41 1
        reboot -f
    else
        has_pattern "$DISK" 50 8
        has_pattern "$DISK" 41 1
    fi
}

meanwhile_reset() {
    qmp set-action reboot=reset
    hear "reset the machine"
    qmp system_reset
    reasons=
    while next_event; do
        case $answer in
        RESET*)
            answer=${answer##*reason=}
            reasons="$reasons${answer%% *} " ;;
        esac
    done
    equal "the machine was reset, by the host and by the guest" \
        "guest-reset host-qmp-system-reset" \
        "$(echo "${reasons% }" | tr ' ' '\n' | sort -u | paste -sd ' ')"
}

host_agree() {
    check "qemu-img check" qemu-img check disk.zoned
    check "qemu-img check of the second disk" qemu-img check second.zoned
}
