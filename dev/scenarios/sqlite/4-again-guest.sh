# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

modprobe btrfs
loaded
check "mount after the power cut" mount -t btrfs "$DISK" /mnt
for mode in wal delete; do
    check_database $mode
done
equal "scrub" 0 "$(btrfs scrub start -B /mnt >/dev/null; echo $?)"
check "unmount" umount /mnt
equal_kernel_log
