# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

check "mkfs.xfs" mkfs.xfs -f -r zoned=1 "$DISK"
check "mount" mount_xfs
check "write files" fill first 300 8
check "write others" fill second 300 8
check "sync" sync -f /mnt
check "remove the first ones" rm -r /mnt/first
check "write again, so that zones are reclaimed" fill third 400 20
check "unmount" umount /mnt
check "xfs_repair finds nothing" xfs_repair -n "$DISK"
check "mount again" mount_xfs
check "the second ones are what was written" verify second
check "the third ones are what was written" verify third
check "unmount again" umount /mnt
equal_kernel_log
