# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later

mount_xfs() {
    modprobe xfs
    mount -t xfs "$DISK" /mnt
}
