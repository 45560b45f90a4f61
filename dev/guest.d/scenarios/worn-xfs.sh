# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Zones that fail below xfs: its data; the metadata is in conventional zones.
#
# kernel: newest
# qemu: -global virtio-blk-device.werror=stop

MIB=$((1024 * 1024))

host_create() {
    check "qemu-img create" qemu-img create -f zoned disk.zoned -o size=1G \
        -o zone_size=16M -o zone_nr_conv=24
}

guest_xfs() {
    modprobe xfs
    check "mkfs.xfs" mkfs.xfs -q -f -r zoned=1 "$DISK"
    fails_below xfs "$DISK"
    check "unmount" umount /mnt
    check "xfs_repair finds nothing" xfs_repair -n "$DISK"
}

meanwhile_xfs() {
    all_fail 40 $((24 * 16 * MIB))
}
