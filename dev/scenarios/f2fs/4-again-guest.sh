# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

loaded
check "mount after the power cut" mount_f2fs
check_synced files
check "unmount" umount /mnt
check "fsck.f2fs finds nothing" fsck
equal_kernel_log
