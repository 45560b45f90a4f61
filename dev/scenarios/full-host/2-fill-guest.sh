# shellcheck shell=sh
# device: virtio-blk-stop
# The guest must not notice that its host runs out of space: not when it writes
# several zones at once, and not when a file system appends to them.

modprobe btrfs

dd if=/dev/urandom of=data bs=1M count=16 2>/dev/null

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
