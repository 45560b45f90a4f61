# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

# start: dm-zoned. Its disk is /dev/dm-0.
start() {
    modprobe dm-zoned && dmzadm --start "$DISK" && test -b /dev/dm-0
}

mount_ext4() {
    modprobe ext4
    mount -t ext4 /dev/dm-0 /mnt
}
