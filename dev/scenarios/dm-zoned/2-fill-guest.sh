# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

modprobe dm-zoned
check "dmzadm --format" dmzadm --format "$DISK"
check "dmzadm --start" start
check "mkfs.ext4" mkfs.ext4 -q /dev/dm-0
check "mount" mount_ext4
check "write files" fill first 150 5
check "write others" fill second 150 5
check "sync" sync -f /mnt
check "remove the first ones" rm -r /mnt/first
check "write again" fill third 250 10
check "unmount" umount /mnt
check "fsck.ext4 finds nothing" fsck.ext4 -f -n /dev/dm-0
check "mount again" mount_ext4
check "the second ones are what was written" verify second
check "the third ones are what was written" verify third
check "unmount again" umount /mnt
check "stop dm-zoned" dmsetup remove_all
equal_kernel_log
save third <third.notes
