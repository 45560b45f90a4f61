# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

check "dmzadm --start again" start
check "mount" mount_ext4
cp /saved/third third.notes
check "the third ones are what was written, in another boot" verify third
check "unmount" umount /mnt
check "fsck.ext4 finds nothing" fsck.ext4 -f -n /dev/dm-0
equal_kernel_log
