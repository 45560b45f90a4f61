# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

loaded
check "mount after the power cut" mount_xfs
check_synced files
check "unmount" umount /mnt
check "xfs_repair finds nothing" xfs_repair -n "$DISK"
equal_kernel_log
