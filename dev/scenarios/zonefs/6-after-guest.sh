# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

modprobe zonefs
loaded
check "mount after the power cut" mount -t zonefs "$DISK" /mnt
check_synced appends
check "unmount" umount /mnt
equal_kernel_log
