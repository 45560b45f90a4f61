# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

modprobe btrfs
check "mkfs.btrfs" mkfs.btrfs -q -O zoned -m single -d single "$DISK"
check "mount" mount -t btrfs "$DISK" /mnt
check "write files" fill first 150 5
check "write others" fill second 150 5
check "sync" sync -f /mnt
check "remove the first ones" rm -r /mnt/first
check "balance" btrfs balance start --full-balance /mnt
check "write again" fill third 250 10
check "sync again" sync -f /mnt
check "scrub" scrub
check "unmount" umount /mnt
check "btrfs check" btrfs check --readonly "$DISK"
check "mount again" mount -t btrfs "$DISK" /mnt
check "the second ones are what was written" verify second
check "the third ones are what was written" verify third
check "unmount again" umount /mnt
equal_kernel_log
