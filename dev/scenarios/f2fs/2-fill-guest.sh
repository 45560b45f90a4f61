# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

modprobe f2fs
check "mkfs.f2fs" make_f2fs
check "mount" mount_f2fs
check "write files" fill first 250 8
check "write others" fill second 250 8
check "sync" sync -f /mnt
check "remove the first ones" rm -r /mnt/first
check "sync again" sync -f /mnt
check "garbage collection" collect_garbage
check "it has moved blocks" test "$(moved)" -gt 0
check "write again" fill third 250 8
check "unmount" umount /mnt
check "fsck.f2fs finds nothing" fsck
check "mount again" mount_f2fs
check "the second ones are what was written" verify second
check "the third ones are what was written" verify third
check "unmount again" umount /mnt
equal_kernel_log
