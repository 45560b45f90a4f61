# shellcheck shell=sh disable=SC2154  # answer, of steps/beside.sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The image is on a file system that has no room for all that the guest writes.
#
# device: virtio-blk-stop

host_create() {
    mkdir -p small
    check "a small file system" mount -t tmpfs -o size=24m tmpfs small
    ln -s small/disk.zoned disk.zoned
    check "qemu-img create" qemu-img create -f zoned small/disk.zoned -o size=1G \
        -o zone_size=16M
}

write_zone() {
    dd if=data of="$DISK" bs=128k seek=$(($1 * 128)) oflag=direct
}

write_zones() {
    jobs=""
    for zone in 56 57 58 59; do
        write_zone $zone &
        jobs="$jobs $!"
    done
    for job in $jobs; do
        wait "$job" || return 1
    done
}

# The guest must not notice that its host runs out of space: not when it writes
# several zones at once, and not when a file system appends to them.
guest_fill() {
    modprobe btrfs

    dd if=/dev/urandom of=data bs=1M count=16 2>/dev/null

    check "write four zones at once" write_zones
    for zone in 56 57 58 59; do
        equal "zone $zone is what was written" "$(sha256sum <data)" \
            "$(dd if="$DISK" bs=1M skip=$((zone * 16)) count=16 iflag=direct \
                2>/dev/null | sha256sum)"
    done
    check "reset all zones" blkzone reset "$DISK"

    check "mkfs.btrfs" mkfs.btrfs -q -O zoned -m single -d single "$DISK"
    check "mount" mount "$DISK" /mnt
    # Files of one kilobyte less each, so that no two are alike.
    for file in 0 1 2 3 4; do
        tail -c +$((file * 1024 + 1)) data >/mnt/$file &
    done
    wait
    check "sync" sync -f /mnt
    (cd /mnt && sha256sum 0 1 2 3 4) | save sums
    check "unmount" umount /mnt
    check "mount again" mount "$DISK" /mnt
    for file in 0 1 2 3 4; do
        equal "file $file" "$(tail -c +$((file * 1024 + 1)) data | sha256sum)" \
            "$(sha256sum </mnt/$file)"
    done
    check "scrub" btrfs scrub start -B /mnt
    check "unmount again" umount /mnt
    equal "no error in the kernel's log" "" \
        "$(dmesg | grep -iE 'i/o error|blk_update|btrfs.*(error|corrupt)')"
}

# Makes room whenever the VM has stopped for want of it, and lets it go on.
#
# Writes are limited by the device, so that the guest's writers wait for each
# other whatever else the host does: what waits when the VM stops is sent then,
# and fails as well.
meanwhile_fill() {
    qmp block_set_io_throttle id=/machine/peripheral/virtio/virtio-backend \
        bps=0 bps_rd=0 bps_wr=0 iops=0 iops_rd=0 iops_wr=100
    errors=0 nospace=0 stops=0 appends=0 failed=0
    while next_event; do
        case $answer in
        BLOCK_IO_ERROR*)
            errors=$((errors + 1))
            ! says ' nospace=true' || nospace=$((nospace + 1)) ;;
        STOP*)
            stops=$((stops + 1))
            figure disk zone_append_operations
            appends=$answer
            figure disk failed_zone_append_operations
            failed=$answer
            mount -o "remount,size=$((24 + stops * 24))m" small
            qmp cont ;;
        esac
    done
    echo "# $stops stops, $errors errors, $appends appends before the last stop" >&3
    check "the VM stops when the host has no space" test $stops -ge 3
    check "every error is one of space" test $errors -gt 0 -a $errors = $nospace
    check "more than one request fails at once" test $errors -gt $stops
    check "the guest appends, and no append has failed for it" \
        test "$appends" -gt 0 -a "$failed" = 0
}

host_remove() {
    check "qemu-img check" qemu-img check disk.zoned
    check "unmount the small file system" umount small
}
