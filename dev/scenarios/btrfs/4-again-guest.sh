# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

modprobe btrfs
loaded
check "mount after the power cut" mount -t btrfs "$DISK" /mnt
check_synced files
check "scrub after the power cut" scrub
check "unmount" umount /mnt
check "btrfs check" btrfs check --readonly "$DISK"
equal_kernel_log
