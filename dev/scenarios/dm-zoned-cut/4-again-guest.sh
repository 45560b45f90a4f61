# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

loaded
check "dmzadm --start after the power cut" start
check "mount" mount_ext4
check_synced files
check "unmount" umount /mnt
check "fsck.ext4 finds nothing" fsck.ext4 -f -n /dev/dm-0
equal_kernel_log
