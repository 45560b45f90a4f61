# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

modprobe btrfs

# sectors: how many of the disk were written so far
sectors() {
    awk '{ print $7 }' "$BLOCK/stat"
}

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
